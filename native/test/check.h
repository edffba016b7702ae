// Checks for the test programs. A failed one prints file, line and both values and the program goes
// on, so that one run shows all that is wrong; check_report() gives the exit status.
#ifndef KY_TEST_CHECK_H
#define KY_TEST_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_SKIP = 77 }; // ctest's SKIP_RETURN_CODE

// Names the case that the following checks belong to; shown when one fails.
__attribute__((format(printf, 1, 2))) void check_case(const char *format, ...);

// Prints what came of the checks so far; the program's exit status.
int check_report(void);

unsigned long check_failures(void);

#define CHECK(condition) check_true(__FILE__, __LINE__, #condition, (condition))
#define CHECK_EQ(got, want)                                                                        \
    check_equal(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define CHECK_MEM(got, want, len) check_bytes(__FILE__, __LINE__, #got, got, want, len)

// For what a test cannot go on without; not itself under test.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_fail(__FILE__, __LINE__, "cannot go on without %s", #condition);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

// Each returns whether it held.
bool check_true(const char *file, int line, const char *what, bool holds);
bool check_equal(const char *file, int line, const char *what, long long got, long long want);
bool check_bytes(const char *file, int line, const char *what, const void *got, const void *want,
                 size_t len);
__attribute__((format(printf, 3, 4))) void check_fail(const char *file, int line,
                                                      const char *format, ...);

#endif
