// Coalescing of received packets into superpackets before they are written to the TUN: a write costs
// the host about 1.6 us whatever its size, so 44 packets in one write are 40 writes saved.
//
// Packets are queued in order of arrival; one that continues the last queued packet of its flow is
// appended to it. A queue entry that nothing was appended to is written verbatim and the kernel
// judges its checksum. What is appended to was verified here first (or arrived as CHECKSUM_PARTIAL
// from a kernel on the same machine, see decap.h), because a superpacket's checksum is the kernel's
// to make: an unverified packet in it would come out with a good one.
//
// The rules are those of Linux's inet_gro_receive, tcp4_gro_receive and udp_gro_receive: same
// addresses, ports, TOS, TTL, DF and options; no fragments, IP options or extension headers;
// consecutive IPv4 IDs unless DF is set; TCP: consecutive sequence numbers, same ACK and window, no
// flag but ACK and PSH, PSH ends; UDP: same size, a shorter one ends, checksum present.
//
// Packets are borrowed until ky_gro_flush: the caller keeps the receive buffers until then.
#ifndef KY_GRO_H
#define KY_GRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "inner.h"
#include "stats.h"
#include "vnet.h"

enum {
    KY_GRO_ENTRIES = 64,
    KY_GRO_SEGS = 64,     // UDP_MAX_SEGMENTS of kernels before 6.9; 46 packets of 1450 fill 64 KB
    KY_GRO_HDR_MAX = 100, // IPv6 and TCP with all options: 40 + 60
    KY_GRO_BUCKETS = 128,
};

// How a packet came out of its datagram.
struct ky_arrival {
    uint16_t pseudo;   // its folded pseudo-header sum, where it has a checksum that we know
    bool partial;      // its L4 checksum field holds only that sum
    uint16_t gso_size; // not 0: a superpacket already, of segments with this much payload
};

struct ky_gro_entry {
    struct ky_vnet vnet;
    struct iovec iov[2 + KY_GRO_SEGS]; // vnet, header copy, payloads; a single packet uses two
    uint8_t hdr_copy[KY_GRO_HDR_MAX];
    const uint8_t *pkt; // the first packet, untouched
    uint32_t len;       // of the superpacket so far
    uint32_t next_seq;
    uint16_t hdr; // bytes of IP and L4 header; 0: nothing may be appended
    uint16_t mss;
    uint16_t segs;
    uint16_t l4;
    uint16_t pseudo; // of the first packet
    uint8_t version, proto;
    bool partial;
    bool verified;
};

struct ky_gro {
    // Writes one vnet header and packet to the TUN. Returns 0 or -errno.
    int (*write)(void *ctx, const struct iovec *iov, int n);
    void *ctx;
    struct ky_counters *counters;
    bool tcp, udp; // what may be coalesced
    unsigned count;
    uint8_t bucket[KY_GRO_BUCKETS]; // flow hash -> last entry of the flow + 1
    struct ky_gro_entry entry[KY_GRO_ENTRIES];
};

// Queues the packet at pkt, described by inner. Flushes first when the queue is full.
void ky_gro_add(struct ky_gro *gro, const uint8_t *pkt, const struct ky_inner *inner,
                struct ky_arrival arrival);

// Writes everything that is queued, in order.
void ky_gro_flush(struct ky_gro *gro);

#endif
