// struct virtio_net_hdr, which precedes every packet on a TUN opened with IFF_VNET_HDR
// (include/uapi/linux/virtio_net.h). Own copy: Debian 12's headers are older than GSO_UDP_L4.
// Fields are in host byte order (TUNSETVNETLE is not set).
#ifndef KY_VNET_H
#define KY_VNET_H

#include <stdint.h>

struct ky_vnet {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len; // not trusted on read: forwarded packets carry the whole first packet here
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

_Static_assert(sizeof(struct ky_vnet) == 10, "TUNGETVNETHDRSZ's default");

enum {
    KY_VNET_NEEDS_CSUM = 1, // the L4 checksum field holds the folded pseudo-header sum
    KY_VNET_GSO_NONE = 0,
    KY_VNET_GSO_TCPV4 = 1,
    KY_VNET_GSO_TCPV6 = 4,
    KY_VNET_GSO_UDP_L4 = 5, // Linux 6.2
    KY_VNET_GSO_ECN = 0x80,
};

#endif
