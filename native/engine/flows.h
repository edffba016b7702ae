// Flow offload: what the engine has decided about a TCP flow, an eBPF program repeats.
//
// The engine sees a flow's first packet as always: it looks up the peer, chooses the source port, sends. It
// also writes the outcome, the headers of 50 bytes that go before the flow's packets, into a table that it
// shares with a program at the TUN's egress (TCX). The program puts those headers before the flow's further
// packets and hands them to the underlay as kernel VXLAN does, whole superpackets included: no copy into
// this process, none out of it, no wake-up. Whatever the program is not sure of goes to the TUN.
//
// Words: a *slot* is a flow's place in the table, found by a hash of addresses and ports; a flow that finds
// its slot taken by one that is alive is not offloaded. A slot is EMPTY, PENDING or DIRECT.
//
// Order: behind the packet that brought a flow into the table others may wait in the TUN. So it is PENDING
// first: the program notes a fingerprint of each packet that it leaves to the TUN, the engine one of each
// packet that it has sent, and when the two are the same at the flow's next packet nothing is on the way
// any more and the flow becomes DIRECT. A flow that leaves the table may go on by the TUN at once: what went
// directly is out.
//
// Threads: one sending thread decides (so there is one worker); the control thread drops what a new table of
// peers contradicts. Either ends a slot's content by compare-and-swap of its state, which carries a
// version, and the program, which may run on several CPUs, reads the state again behind what it took
// from the slot. So it never uses a mixture of two flows' content.
//
// Packets of a flow that come from its peer come in the same way: the receive ring's program takes the headers away
// and hands the rest to the TUN, when they are the very headers that the flow's peer writes, its address is
// admitted (ring.h), and the engine sleeps with nothing of any flow in its hands, so that nothing is overtaken.
// What is not compared is verified with the inner packet: the inner checksums cover it. Something that comes right
// behind such a packet and goes to the engine may overtake it, because it waits for its turn on the CPU
// (flow_receive_test has never seen it); TCP puts that right.
//
// Which packets: acknowledgements without payload; superpackets, which a virtual link delivers; and the last
// packet of what a program sent (PSH). Others have more behind them, which the engine merges into one. Payload is
// a feature of its own (flow-receive), because what comes in so keeps the mark of a tunnel packet: a veth and the
// kernel's own segmentation do not mind (test/interop/pods.test.ts), hardware with offloads for tunnels would.
//
// Not offloaded: IPv6 (inside or outside: the program cannot have the kernel compute the outer checksum
// that IPv6 demands; over IPv4 it is 0, RFC 7348 5), UDP (equal datagrams are cheaper by UDP_SEGMENT), IPv4
// options and fragments.
#ifndef KY_FLOWS_H
#define KY_FLOWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "inner.h"
#include "peers.h"
#include "stats.h"

enum {
    KY_FLOWS_BITS = 10,
    KY_FLOWS = 1 << KY_FLOWS_BITS,
    // Headers before a flow's packet: IPv4, UDP, VXLAN and inner Ethernet.
    KY_FLOW_HEADER = 20 + 8 + KY_ENCAP_LEN,
    KY_FLOW_WORDS = (KY_FLOW_HEADER + 7) / 8,
    // Packets of which it can be remembered that they are about to be sent.
    KY_FLOWS_SENDING = 64,
};

// The state of a slot: a version, and in its low bits what the content is good for.
enum { KY_FLOW_EMPTY, KY_FLOW_PENDING, KY_FLOW_DIRECT, KY_FLOW_KIND = 3, KY_FLOW_VERSION = 4 };

// Shared with the program. Addresses, ports and headers are as in the packet.
struct ky_flow {
    _Alignas(128) _Atomic uint64_t state;
    _Atomic uint64_t addresses;
    _Atomic uint32_t ports;
    _Atomic uint32_t peer;  // index of the peer's counters
    _Atomic uint64_t left;  // fingerprint of the last packet left to the TUN, 0: none yet
    _Atomic uint64_t sent;  // of the last packet that the engine sent
    _Atomic uint64_t sends; // that went directly
    // KY_FLOW_HEADER bytes; TOS, identification, checksum of IP and the lengths are 0.
    _Atomic uint64_t header[KY_FLOW_WORDS];
    _Atomic uint32_t ip_id;
};

// What the programs count of each peer.
struct ky_flow_counters {
    struct ky_peer_counters sent; // after segmentation
    struct ky_peer_counters received;
};

// And of all.
struct ky_flow_totals {
    struct ky_flow_counters of;
    _Atomic uint64_t sends; // packets and superpackets
    _Atomic uint64_t lost;  // for want of memory
};

struct ky_flows_config {
    unsigned ifindex;   // the TUN
    unsigned forwarder; // a device with `forwarding`, as from which routes are looked up (inject.h)
    struct ky_ip local;
    uint32_t mtu;
    uint16_t port;
    const uint16_t *source_ports;
    uint32_t peers; // counters of so many peers
};

struct ky_flows {
    struct ky_flows_config config;
    int flows_fd, counters_fd, totals_fd, link_fd;
    struct ky_flow *flow; // KY_FLOWS of them
    struct ky_flow_counters *counters;
    struct ky_flow_totals *totals;
    uint64_t version;
    uint64_t seen[KY_FLOWS]; // how far a flow was when another one last wanted its slot
    struct {
        uint32_t slot;
        uint64_t fingerprint;
    } sending[KY_FLOWS_SENDING];
    unsigned sending_count;
};

// Returns 0 or -errno with *step naming what failed ("maps", "memory", "program", "attach").
int ky_flows_open(struct ky_flows *flows, const struct ky_flows_config *config, const char **step);
void ky_flows_close(struct ky_flows *flows);

// Of the sending thread: the packet is about to be sent to the peer from the source port. Takes its flow
// into the table where it can, and where answers to it would be let in.
void ky_flows_sending(struct ky_flows *flows, const struct ky_peers *peers, const uint8_t *pkt,
                      const struct ky_inner *inner, const struct ky_peer *peer, uint8_t port);

// Of the sending thread: all of these are sent.
void ky_flows_sent(struct ky_flows *flows);

// Of the control thread: takes every flow out of the table that goes elsewhere by the new peers. No thread
// uses the old ones any more. What a CPU is about to hand over at this moment still goes the old way.
void ky_flows_review(struct ky_flows *flows, const struct ky_peers *peers);

// What the programs counted of the peer with counters of that index.
const struct ky_flow_counters *ky_flows_of(const struct ky_flows *flows, uint32_t peer);
void ky_flows_clear(struct ky_flows *flows, uint32_t peer);

// Loads and attaches the program (flow_program.c). Returns a descriptor or -errno.
int ky_flows_attach(const struct ky_flows *flows, const char **step);

// Constants of the hash and the fingerprint, which the program computes as well.
#define KY_FLOW_HASH 0x9e3779b97f4a7c15ULL
#define KY_FLOW_PRINT 0xff51afd7ed558ccdULL

#endif
