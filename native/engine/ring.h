// The receive ring: datagrams that the kernel did not merge reach the engine through memory that both
// map, without a system call each, and without the way through IP, UDP and the socket. Measured with
// frames from a kernel VXLAN peer that arrive one by one: about 2 us a datagram by the socket, 0.5 by
// the ring (docs/adr/0012-receive-ring.md).
//
// An eBPF program at the underlay device's ingress (TCX, Linux 6.6; ring_program.c) copies whole
// datagrams of ours into a BPF ring buffer and ends their way there. Everything else about our port
// takes the kernel's way to the socket: superpackets and trains, fragments, what is larger than a
// frame of our MTU, and what would have to be changed (ECN).
//
// The host's firewall still decides. The program takes only what comes from an *admitted* address:
// one from which a datagram has come through the socket, that is through the kernel's checks and
// netfilter, within the last second. So a rule that is added later takes effect within a second.
//
// Order. A datagram that takes the kernel's way sets the *detour*: from then on all do, so that
// whatever is in the ring is older. The engine reads the socket only during a detour, which it begins
// itself where something came unseen (by another interface), and only once the ring is empty. It ends
// the detour when the socket is empty too and has given it as many datagrams as the program let pass;
// what differs for longer was dropped on the way (by a firewall), or joined from fragments.
//
// Sleep. A program wakes the reader of a ring by an interrupt that the CPU sends itself, 2 us and an exit
// from a virtual machine; a socket does it without. So where few datagrams come between two sleeps
// (acknowledgements, a conversation), each sleep is a detour.
//
// Not handled: more than one worker (the socket's steering has no twin here).
#ifndef KY_RING_H
#define KY_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decap.h"

struct ky_flows;

enum { KY_RING_SOURCES = 1024 };

struct ky_ring_filter {
    unsigned ifindex; // of the underlay device
    struct ky_ip local;
    uint16_t port;
    uint32_t largest;             // datagram that is taken, from the IP header on
    const struct ky_flows *flows; // whose acknowledgements pass by the engine; may be NULL
    bool payload;                 // their payload, too
};

struct ky_ring {
    int ring_fd, state_fd, admitted_fd, link_fd;
    size_t page;
    uint32_t size; // of the data, a power of two
    bool v6;
    uint64_t at;      // consumer's position
    uint64_t arrived; // datagrams that came by the socket
    int64_t missing;  // of those let pass, when that last changed
    uint64_t missing_since;
    uint64_t datagrams; // received before the last sleep
    uint64_t recent;    // WEIGHT times the running mean of datagrams between two sleeps
    uint8_t *consumer;  // page of the consumer's position
    uint8_t *producer;  // page of the producer's position, and the data twice behind it
    struct ky_ring_state *state;
    struct {
        struct ky_ip ip;
        uint64_t until;
    } seen[KY_RING_SOURCES]; // sources admitted lately, by hash; what falls out is admitted again
};

// On failure *step names what was refused, and nothing is left. Returns 0 or -errno.
int ky_ring_open(struct ky_ring *ring, const struct ky_ring_filter *filter, const char **step);
void ky_ring_close(struct ky_ring *ring);

// Whether there is anything in the ring, whole or not.
bool ky_ring_waits(const struct ky_ring *ring);
// The next datagram, which stays until ky_ring_release and must not be written to. Returns whether
// there was one.
bool ky_ring_next(struct ky_ring *ring, struct ky_datagram *datagram);
// Gives back what was taken so far.
void ky_ring_release(struct ky_ring *ring);

// Whether datagrams take the kernel's way. To be asked before ky_ring_waits: then an empty ring stays
// empty until ky_ring_resume.
bool ky_ring_detoured(const struct ky_ring *ring);
void ky_ring_detour(struct ky_ring *ring);
// Ends the detour when that keeps the order. The ring and the socket were found empty, the socket after
// it gave `arrived` datagrams since the last call. now is CLOCK_MONOTONIC in ns.
void ky_ring_resume(struct ky_ring *ring, uint64_t arrived, uint64_t now);

// Around a sleep, which a datagram in the ring ends by making ring_fd readable, or which is a detour. All that
// was received is written to the TUN before. Returns false, and the engine must not sleep, when something is
// in the ring already. `datagrams` were received since the ring was opened.
bool ky_ring_sleep(struct ky_ring *ring, uint64_t datagrams);
void ky_ring_wake(struct ky_ring *ring);

// A datagram of a known peer came by the socket.
void ky_ring_admit(struct ky_ring *ring, struct ky_ip from, uint64_t now);

// The program and its attachment, given the maps (ring_program.c). Returns the link's descriptor or
// -errno; *step says at what.
int ky_ring_attach(const struct ky_ring *ring, const struct ky_ring_filter *filter,
                   const char **step);

// Shared with the program.
struct ky_ring_state {
    // Bits, and above them how many datagrams it let pass.
    _Atomic uint64_t now;
    // The state as it was when the engine went to sleep with nothing in its hands; KY_RING_BUSY otherwise. While
    // both are the same nothing can be overtaken (flows.h).
    _Atomic uint64_t quiet;
};

#define KY_RING_BUSY (~(uint64_t)0)
enum { KY_RING_DETOUR = 1, KY_RING_ASLEEP = 2, KY_RING_LEFT_SHIFT = 8, KY_RING_LEFT_ONE = 1 << 8 };

// How a datagram lies in the ring.
enum { KY_RING_LEN_AT = 0, KY_RING_PACKET_AT = 8 }; // uint32_t; the packet from its IP header on

#endif
