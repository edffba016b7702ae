// The one decoder of inner IP packets, used in both directions. Everything after it trusts the
// offsets in `struct ky_inner`, so every bound is checked here, once.
#ifndef KY_INNER_H
#define KY_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip.h"

struct ky_inner {
    struct ky_ip src, dst;
    uint32_t len;    // of the packet by its IP header; <= the length given to ky_inner_parse
    uint16_t l4;     // offset of the header after IP and its IPv6 extension headers; <= len
    uint8_t version; // 4 or 6
    uint8_t proto; // what stands at l4 (IPPROTO_*); IPPROTO_NONE when the chain cannot be followed
    uint8_t tos;   // TOS or traffic class; the low two bits are ECN
    bool fragment; // a fragment, first or later: l4 may not hold a whole header
    bool extended; // IPv4 options or IPv6 extension headers are present
};

// Fills *inner from the IP packet at p. Returns 0, or -EINVAL when p does not hold a whole,
// well-formed IPv4 or IPv6 packet; bytes beyond the packet's own length (Ethernet padding) are
// allowed. IPv6 jumbograms (RFC 2675) are refused.
int ky_inner_parse(const uint8_t *p, size_t len, struct ky_inner *inner);

// Whether this is an IPv6 packet to an IPv4-mapped address. Such addresses belong on no wire (the
// kernel drops them as sources), and in our tables, which keep IPv4 that way, they would be found.
static inline bool ky_inner_mapped(const struct ky_inner *inner) {
    return inner->version == 6 && ky_ip_is4(inner->dst);
}

// A hash that is equal for all packets of a flow, fragments included only by address and protocol.
uint32_t ky_inner_flow(const uint8_t *p, const struct ky_inner *inner);

// Offset from the start of the L4 header of its checksum, or 0 when the protocol has none we fill.
static inline uint16_t ky_l4_check_offset(uint8_t proto) {
    return proto == 6 /* TCP */ ? 16 : proto == 17 /* UDP */ ? 6 : 0;
}

// The smallest L4 header of the protocol, 0 when unknown.
static inline uint16_t ky_l4_min(uint8_t proto) {
    return proto == 6 ? 20 : proto == 17 ? 8 : 0;
}

// Bytes of the L4 header of a UDP or TCP packet, as it says itself.
static inline uint32_t ky_l4_header(const uint8_t *p, const struct ky_inner *inner) {
    return inner->proto == 17 ? 8 : (p[inner->l4 + 12] >> 4) * 4u;
}

// The folded pseudo-header sum (RFC 9293 3.1, RFC 8200 8.1) for l4_len bytes of L4.
uint16_t ky_pseudo(const uint8_t *p, const struct ky_inner *inner, uint32_t l4_len);

#endif
