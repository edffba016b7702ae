// A worker moves packets for one TUN queue and one set of underlay sockets, with two threads that
// share nothing that changes: one drains the TUN and sends, the other receives and writes the TUN
// (docs/adr/0001-two-threads-a-worker.md).
#ifndef KY_WORKER_H
#define KY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "decap.h"
#include "encap.h"
#include "gro.h"
#include "icmp.h"
#include "moderation.h"
#include "peers.h"
#include "placement.h"
#include "receive.h"
#include "ring.h"
#include "udp.h"

// What all workers of an engine share.
struct ky_shared {
    _Atomic(struct ky_peers *) peers;
    atomic_bool stop;
    int stop_fd;       // an eventfd, written once to wake everybody for stopping
    atomic_int failed; // errno for which a thread gave up, 0 while all is well
};

// How the control thread learns that a thread no longer uses an old snapshot: the count is odd from
// before the snapshot is loaded until the last use of what was found in it. A count that is even, or
// has changed, was quiescent since. All accesses are sequentially consistent: the thread's "count,
// then load pointer" and the control thread's "store pointer, then read count" must not both miss.
struct ky_reader {
    _Alignas(64) atomic_uint count;
};

static inline const struct ky_peers *ky_reader_begin(struct ky_reader *r, struct ky_shared *s) {
    atomic_fetch_add(&r->count, 1);
    return atomic_load(&s->peers);
}

static inline void ky_reader_end(struct ky_reader *r) {
    atomic_fetch_add(&r->count, 1);
}

// Blocks until the thread behind r has let go of whatever it held when this was called.
void ky_reader_wait(struct ky_reader *r);

// One direction's thread.
struct ky_thread {
    struct ky_worker *worker;
    pthread_t id;
    bool started;
    struct ky_reader reader;
    struct ky_placement placement;
    struct ky_moderation moderation;
};

struct ky_sender {
    struct ky_thread thread;
    struct ky_encap encap;
    struct ky_icmp_limit icmp_limit;
    struct ky_counters counters;
    struct ky_vnet vnet;
    uint8_t *memory;
    uint8_t *packet; // KY_TUN_PACKET_MAX bytes in memory, behind KY_INJECT_HEADROOM
    unsigned burst;  // packets to read before sending; follows what the TUN had
};

struct ky_receiver {
    struct ky_thread thread;
    struct ky_decap decap;
    struct ky_receive receive;
    struct ky_ring *ring; // NULL: everything comes by the socket
    struct ky_gro gro;
    struct ky_counters counters;
};

struct ky_worker {
    struct ky_shared *shared;
    unsigned index;
    bool home_cpu; // keep the threads on one CPU while superpackets move, see placement.h
    int tun_fd;
    struct ky_udp udp;
    struct ky_inject inject;
    bool injects; // inject is open
    struct ky_ring ring;
    struct ky_flows flows;
    struct ky_sender sender;
    struct ky_receiver receiver;
};

// Starts the threads named "kersey-tx<index>" and "kersey-rx<index>"; everything but the threads is
// set. Returns 0 or -errno; then ky_worker_join ends what was started.
int ky_worker_start(struct ky_worker *worker, unsigned index);

// Waits for the threads to end, which the caller has asked for by shared->stop and stop_fd.
void ky_worker_join(struct ky_worker *worker);

#endif
