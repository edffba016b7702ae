// Underlay -> TUN without system calls: one received datagram becomes checked inner packets, queued
// for the TUN in a ky_gro.
//
// What the kernel hands to a plain UDP socket is not always one datagram of the wire:
//   - with UDP_GRO, a train of equal datagrams (the last may be shorter) and their size as a cmsg;
//   - from a kernel VXLAN device on the same machine (veth, virtio), a whole *tunnel superpacket*:
//     one VXLAN header and one inner TCP or UDP packet of up to 64 KB, whose L4 checksum holds only
//     the pseudo-header sum; for inner UDP the cmsg then gives the *inner* segment size, which must
//     not be used to split the datagram;
//   - from the same, single packets with such a partial checksum.
// They are told apart by the inner length T = 22 + inner packet: T equal to the datagram means one
// frame whatever the cmsg says. (test/platform/ has a program for each of these.) On flannel's udp wire
// (rawip.h) no kernel sends, so there are only trains and single packets with complete checksums.
#ifndef KY_DECAP_H
#define KY_DECAP_H

#include <stdbool.h>

#include "gro.h"
#include "peers.h"
#include "stats.h"
#include "wire.h"

struct ky_decap {
    enum ky_wire wire;
    uint32_t vni;
    uint32_t mtu; // the TUN's: it gives the segment size of TCP superpackets, which travels nowhere
    uint8_t mac[6];
    bool allow_unknown_sources;
    bool no_inner_source_check;
    struct ky_counters *counters;
    struct ky_peer_counters *peer_counters; // indexed by ky_peer.slot
};

struct ky_datagram {
    uint8_t *buf; // changed only by outer ECN and by rawip.h; must stay until ky_gro_flush
    uint32_t len;
    uint16_t gro;      // the UDP_GRO cmsg, 0 when there was none
    uint8_t tos;       // outer TOS or traffic class
    bool truncated;    // MSG_TRUNC
    struct ky_ip from; // outer source
    // One frame whose outer UDP checksum nobody has looked at: with the sum of what comes before buf.
    bool unverified;
    uint16_t outer_sum;
};

void ky_decap_datagram(const struct ky_decap *decap, const struct ky_peers *peers,
                       const struct ky_datagram *datagram, struct ky_gro *gro);

#endif
