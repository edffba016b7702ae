// Seeded pseudo-random numbers (splitmix64, public domain): the same seed gives the same test.
#ifndef KY_TEST_RANDOM_H
#define KY_TEST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static inline uint32_t random_below(struct random *r, uint32_t n) {
    return (uint32_t)((random_next(r) >> 32) * n >> 32);
}

// Inclusive on both sides.
static inline uint32_t random_range(struct random *r, uint32_t from, uint32_t to) {
    return from + random_below(r, to - from + 1);
}

static inline bool random_one_in(struct random *r, uint32_t n) {
    return random_below(r, n) == 0;
}

static inline void random_fill(struct random *r, void *out, size_t len) {
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(random_next(r) >> 56);
}

#endif
