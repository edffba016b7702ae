// Segmentation of a superpacket read from the TUN: one header for up to 64 KB of payload becomes the
// packets it stands for, as Linux's tcp_gso_segment and __udp_gso_segment make them.
#ifndef KY_GSO_H
#define KY_GSO_H

#include <stddef.h>
#include <stdint.h>

#include "inner.h"
#include "vnet.h"

struct ky_gso {
    const uint8_t *pkt; // borrowed for as long as segments are written
    uint32_t payload;   // bytes of L4 payload in all
    uint32_t count;     // segments, at least 1
    uint16_t hdr;       // bytes of IP and L4 header that every segment repeats
    uint16_t l4;        // offset of the L4 header
    uint16_t mss;       // payload of every segment but the last
    uint16_t pseudo;    // folded pseudo-header sum without the length
    uint8_t version;
    uint8_t proto;
};

// Prepares pkt, described by inner, for segmentation as vnet asks. Returns 0, or -EINVAL when the
// headers contradict the request; then nothing may be written.
int ky_gso_open(struct ky_gso *gso, const uint8_t *pkt, const struct ky_inner *inner,
                const struct ky_vnet *vnet);

// Bytes of segment i, headers included.
static inline uint32_t ky_gso_len(const struct ky_gso *gso, uint32_t i) {
    return i + 1 < gso->count ? (uint32_t)gso->hdr + gso->mss
                              : gso->hdr + gso->payload - i * gso->mss;
}

// Writes segment i with complete checksums to dst, which has room for ky_gso_len(gso, i) bytes.
void ky_gso_write(const struct ky_gso *gso, uint32_t i, uint8_t *dst);

// Completes the checksum that vnet's NEEDS_CSUM leaves open. Returns 0 or -EINVAL (out of bounds).
int ky_checksum_complete(uint8_t *pkt, size_t len, const struct ky_vnet *vnet);

#endif
