// What every fuzz target has. A target is one C file with LLVMFuzzerTestOneInput and fuzz_seeds. With
// -DKERSEY_FUZZ=ON (clang) libFuzzer drives it; otherwise replay.c does, over the seeds and a fixed
// number of mutations of them, so that ctest runs every target with any compiler.
#ifndef KY_FUZZ_H
#define KY_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void fuzz_add(const uint8_t *data, size_t size);

// Hands well-formed inputs to add: what mutation begins with.
void fuzz_seeds(fuzz_add *add);

enum { FUZZ_SIZE_MAX = 1 << 17 };

// A copy of the input that ends where no memory is: reading a byte more is a fault, under any
// compiler and without an allocation per input. There is one such place; the next copy replaces it.
uint8_t *fuzz_exact(const uint8_t *data, size_t size);

// An invariant of the target. abort() is what libFuzzer and ctest take for a finding.
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

// Reads all bytes, as a kernel that is handed them would.
void fuzz_touch(const void *data, size_t size);

#endif
