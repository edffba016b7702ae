// An IPv4 or IPv6 address as two 64-bit words in network byte order; IPv4 is kept as the mapped
// address ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so that one comparison and one table serve both.
#ifndef KY_IP_H
#define KY_IP_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct ky_ip {
    uint64_t w[2];
};

// An IPv4 prefix length n is kept as KY_V4_BITS + n.
enum { KY_V4_BITS = 96 };

static inline struct ky_ip ky_ip4(const uint8_t bytes[4]) {
    uint32_t v;
    memcpy(&v, bytes, 4);
    return (struct ky_ip){{0, htobe64(0xffff00000000ULL | be32toh(v))}};
}

static inline struct ky_ip ky_ip6(const uint8_t bytes[16]) {
    struct ky_ip ip;
    memcpy(ip.w, bytes, 16);
    return ip;
}

static inline bool ky_ip_is4(struct ky_ip ip) {
    return ip.w[0] == 0 && (ip.w[1] & htobe64(0xffffffff00000000ULL)) == htobe64(0xffff00000000ULL);
}

// The IPv4 address in host byte order.
static inline uint32_t ky_ip_v4(struct ky_ip ip) {
    return (uint32_t)be64toh(ip.w[1]);
}

static inline bool ky_ip_equal(struct ky_ip a, struct ky_ip b) {
    return ((a.w[0] ^ b.w[0]) | (a.w[1] ^ b.w[1])) == 0;
}

static inline struct ky_ip ky_ip_mask(struct ky_ip ip, unsigned bits) {
    uint64_t hi = bits >= 64 ? ~0ULL : bits == 0 ? 0 : ~0ULL << (64 - bits);
    uint64_t lo = bits >= 128 ? ~0ULL : bits <= 64 ? 0 : ~0ULL << (128 - bits);
    return (struct ky_ip){{ip.w[0] & htobe64(hi), ip.w[1] & htobe64(lo)}};
}

// 64 bits well mixed (the finaliser of MurmurHash3, public domain): table index and flow hash.
static inline uint64_t ky_mix(uint64_t h) {
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

static inline uint64_t ky_ip_hash(struct ky_ip ip, uint64_t seed) {
    return ky_mix(ip.w[1] ^ ky_mix(ip.w[0] ^ seed));
}

#endif
