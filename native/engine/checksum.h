// The Internet checksum (RFC 1071), summed in the byte order of memory.
//
// Sums are 64-bit accumulators of 32-bit words, so a 64 KB packet cannot overflow one. "Folded" is a
// sum reduced to 16 bits, not inverted; what a header stores is ~folded. The vector versions are the
// same C body compiled for wider registers; which one runs is chosen once, when the library loads.
#ifndef KY_CHECKSUM_H
#define KY_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Adds len bytes to sum. When len is odd the last byte counts as if a zero byte followed, so only
// the last piece of a packet may be odd.
uint64_t ky_sum_long(const void *data, size_t len, uint64_t sum);

// Headers are too short for vector registers to pay: up to this many bytes are summed in line.
enum { KY_SUM_SHORT = 64 };

static inline uint64_t ky_sum(const void *data, size_t len, uint64_t sum) {
    if (len > KY_SUM_SHORT)
        return ky_sum_long(data, len, sum);
    const uint8_t *p = (const uint8_t *)data;
    uint32_t word;
    for (; len >= 4; len -= 4, p += 4) {
        memcpy(&word, p, 4);
        sum += word;
    }
    word = 0;
    memcpy(&word, p, len);
    return sum + word;
}

// The same while copying data to dst; the ranges must not overlap.
uint64_t ky_sum_copy(void *__restrict dst, const void *__restrict data, size_t len, uint64_t sum);

// The versions without vector instructions: the oracle of tests and the baseline of benches.
uint64_t ky_sum_scalar(const void *data, size_t len, uint64_t sum);
uint64_t ky_sum_copy_scalar(void *__restrict dst, const void *__restrict data, size_t len,
                            uint64_t sum);

// Names what ky_sum_long runs: "avx2", "baseline".
const char *ky_sum_variant(void);

static inline uint16_t ky_fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    uint32_t s = (uint32_t)sum;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

// Replaces the 16-bit word `from` by `to` under a stored checksum (RFC 1624, equation 3). All three
// are as they lie in memory.
static inline uint16_t ky_checksum_replace(uint16_t check, uint16_t from, uint16_t to) {
    return (uint16_t)~ky_fold((uint64_t)(uint16_t)~check + (uint16_t)~from + to);
}

#endif
