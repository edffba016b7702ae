// The packet path's inner loops, one at a time, for `npm run bench -- micro`.
#ifndef KY_MICROBENCH_H
#define KY_MICROBENCH_H

#include <stdint.h>

// One line per benchmark: name, bytes one iteration handles (0: not about bytes).
struct ky_microbench {
    const char *name;
    uint32_t bytes;
    void (*run)(uint32_t iterations);
};

extern const struct ky_microbench ky_microbenches[];
extern const unsigned ky_microbench_count;

// Takes the memory that the benchmarks need, once. Returns 0 or -ENOMEM.
int ky_microbench_init(void);

#endif
