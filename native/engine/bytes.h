// Unaligned big-endian access to packet bytes. Packets have no alignment; memcpy compiles to a load.
#ifndef KY_BYTES_H
#define KY_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t ky_be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t ky_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void ky_put_be16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void ky_put_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

// 16 bits as they lie in memory: what checksums are summed over and stored as.
static inline uint16_t ky_load16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void ky_store16(uint8_t *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

#endif
