#include "checksum.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__) || !defined(__GNUC__)
#define NO_VECTORS
#else
#define NO_VECTORS __attribute__((optimize("no-tree-vectorize")))
#endif

INLINE uint64_t sum_tail(const uint8_t *p, size_t len, uint64_t sum) {
    uint32_t last = 0;
    memcpy(&last, p, len); // len < 4; the missing bytes count as zero
    return sum + last;
}

// One body for all widths: 32-bit words into a 64-bit sum vectorises as widening adds.
INLINE uint64_t sum_body(const uint8_t *p, size_t len, uint64_t sum) {
    size_t words = len / 4;
    for (size_t i = 0; i < words; i++) {
        uint32_t w;
        memcpy(&w, p + 4 * i, 4);
        sum += w;
    }
    return sum_tail(p + 4 * words, len % 4, sum);
}

INLINE uint64_t sum_copy_body(uint8_t *restrict dst, const uint8_t *restrict p, size_t len,
                              uint64_t sum) {
    size_t words = len / 4;
    for (size_t i = 0; i < words; i++) {
        uint32_t w;
        memcpy(&w, p + 4 * i, 4);
        memcpy(dst + 4 * i, &w, 4);
        sum += w;
    }
    memcpy(dst + 4 * words, p + 4 * words, len % 4);
    return sum_tail(p + 4 * words, len % 4, sum);
}

NO_VECTORS uint64_t ky_sum_scalar(const void *data, size_t len, uint64_t sum) {
    return sum_body(data, len, sum);
}

NO_VECTORS uint64_t ky_sum_copy_scalar(void *__restrict dst, const void *__restrict data,
                                       size_t len, uint64_t sum) {
    return sum_copy_body(dst, data, len, sum);
}

// SSE2 on x86-64 and NEON on arm64 are part of the baseline.
static uint64_t sum_baseline(const void *data, size_t len, uint64_t sum) {
    return sum_body(data, len, sum);
}

static uint64_t sum_copy_baseline(void *__restrict dst, const void *__restrict data, size_t len,
                                  uint64_t sum) {
    return sum_copy_body(dst, data, len, sum);
}

static uint64_t (*sum_chosen)(const void *, size_t, uint64_t) = sum_baseline;
static uint64_t (*sum_copy_chosen)(void *restrict, const void *restrict, size_t,
                                   uint64_t) = sum_copy_baseline;
static const char *variant = "baseline";

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t sum_avx2(const void *data, size_t len,
                                                         uint64_t sum) {
    return sum_body(data, len, sum);
}

__attribute__((target("avx2"))) static uint64_t
sum_copy_avx2(void *__restrict dst, const void *__restrict data, size_t len, uint64_t sum) {
    return sum_copy_body(dst, data, len, sum);
}

__attribute__((constructor)) static void choose(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        sum_chosen = sum_avx2;
        sum_copy_chosen = sum_copy_avx2;
        variant = "avx2";
    }
}
#endif

uint64_t ky_sum_long(const void *data, size_t len, uint64_t sum) {
    return sum_chosen(data, len, sum);
}

uint64_t ky_sum_copy(void *__restrict dst, const void *__restrict data, size_t len, uint64_t sum) {
    return sum_copy_chosen(dst, data, len, sum);
}

const char *ky_sum_variant(void) {
    return variant;
}
