// The VXLAN wire format (RFC 7348 5) with its inner Ethernet header: one encoder, one decoder.
//
//   0               8                14               20         22
//   | flags 0  VNI 0 | inner dst MAC  | inner src MAC  | EtherType | inner IP packet ...
//
// The decoder takes what Linux 6.18's vxlan_rcv takes: I flag set and every other bit of the first
// word and the last byte zero (RFC 7348 would ignore them; the kernel drops, and so do we).
#ifndef KY_VXLAN_H
#define KY_VXLAN_H

#include <stddef.h>
#include <stdint.h>

#include "drop.h"

enum {
    KY_VXLAN_LEN = 8,
    KY_ENCAP_LEN = 8 + 14, // VXLAN and inner Ethernet header
    KY_VNI_MAX = 0xffffff,
};

// Writes the header that precedes every packet to a peer; the EtherType is left for
// ky_vxlan_set_version.
void ky_vxlan_template(uint8_t out[KY_ENCAP_LEN], uint32_t vni, const uint8_t dst_mac[6],
                       const uint8_t src_mac[6]);

static inline void ky_vxlan_set_version(uint8_t header[KY_ENCAP_LEN], uint8_t version) {
    header[20] = version == 4 ? 0x08 : 0x86;
    header[21] = version == 4 ? 0x00 : 0xdd;
}

// Checks the header of the frame at p for this VTEP. Returns KY_DROP_NONE and the IP version the
// EtherType promises, or the reason to drop the frame.
enum ky_drop ky_vxlan_check(const uint8_t *p, size_t len, uint32_t vni, const uint8_t mac[6],
                            uint8_t *version);

#endif
