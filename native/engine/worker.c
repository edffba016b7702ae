// The two loops. A turn waits for something to be there, takes the snapshot of peers, moves a batch, and
// lets go of the snapshot. Nothing waits to fill a batch (but see moderation.h), nothing is allocated,
// locked or logged here, and every refusal is a counter.
//
// A turn moves one superpacket or a burst of small packets, so that what was read is still in the cache
// when it is written.
//
// A thread gives up only when its descriptor is gone for good (the TUN was deleted by somebody);
// it then sets shared->failed, and the control plane, which looks at it, opens a new engine.
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

#include "tun.h"

enum {
    TUN_BURST = 64,        // packets read before sending, when packets are small
    TUN_BYTES = 48 * 1024, // and bytes: about a superpacket
    RING_BURST = 64,       // datagrams of the ring before the TUN is written
    REVIEW_TURNS = 1024,
    TIMER_SLACK_NS = 5000, // the default of 50 us would double KY_MODERATION_NS
};

void ky_reader_wait(struct ky_reader *r) {
    unsigned seen = atomic_load(&r->count);
    const struct timespec pause = {.tv_nsec = 20000};
    while ((seen & 1) != 0 && atomic_load(&r->count) == seen)
        nanosleep(&pause, NULL);
}

static bool stopping(const struct ky_worker *w) {
    return atomic_load_explicit(&w->shared->stop, memory_order_relaxed);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void begin(struct ky_thread *t) {
    t->placement.wanted = t->worker->home_cpu;
    ky_placement_init(&t->placement, t->worker->index);
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
}

// Sleeps until fd is readable or something is in the ring (which may be NULL), the worker must end, or
// it is time to look again. packets were moved so far.
static void await(struct ky_thread *t, int fd, struct ky_ring *ring, struct ky_counters *counters,
                  uint64_t packets) {
    if (ky_moderation_review(&t->moderation, now_ns(), packets)) {
        nanosleep(&(struct timespec){.tv_nsec = KY_MODERATION_NS}, NULL);
        return;
    }
    struct pollfd p[3] = {{.fd = fd, .events = POLLIN},
                          {.fd = t->worker->shared->stop_fd, .events = POLLIN},
                          {.fd = ring != NULL ? ring->ring_fd : -1, .events = POLLIN}};
    // Whoever is about to give us more may be waiting for this very CPU.
    sched_yield();
    if (ring != NULL && !ky_ring_sleep(ring, packets))
        return;
    (void)poll(p, ring != NULL ? 3 : 2, -1);
    if (ring != NULL) {
        ky_ring_wake(ring);
        if (p[0].revents != 0)
            ky_ring_detour(ring);
    }
    ky_add(&counters->wakeups, 1);
}

static void fail(struct ky_worker *w, int err) {
    int none = 0;
    atomic_compare_exchange_strong(&w->shared->failed, &none, err);
}

// ---- TUN -> underlay ----

static void answer(struct ky_worker *w, enum ky_icmp kind, const struct ky_inner *inner) {
    struct ky_sender *s = &w->sender;
    uint8_t error[KY_ICMP_MAX];
    size_t len = ky_icmp_build(error, kind, s->packet, inner, s->encap.mtu);
    if (len == 0 || !ky_icmp_allow(&s->icmp_limit, now_ns())) {
        ky_add(&s->counters.icmp_suppressed, 1);
        return;
    }
    struct ky_vnet vnet = {0};
    struct iovec iov[2] = {{&vnet, sizeof vnet}, {error, len}};
    if (ky_tun_write(w->tun_fd, iov, 2) == 0)
        ky_add(&s->counters.icmp_sent, 1);
}

static void send_packet(struct ky_worker *w, const struct ky_peers *peers, size_t len) {
    struct ky_sender *s = &w->sender;
    struct ky_inner inner;
    ky_add(&s->counters.tx_reads, 1);
    enum ky_drop reason = ky_encap_packet(&s->encap, peers, &s->vnet, s->packet, len, &inner);
    if (reason == KY_DROP_NONE)
        return;
    ky_drop(&s->counters, reason, 1);
    if (reason == KY_DROP_TX_NO_PEER)
        answer(w, KY_ICMP_NET_UNREACHABLE, &inner);
    else if (reason == KY_DROP_TX_TOO_BIG)
        answer(w, KY_ICMP_TOO_BIG, &inner);
    else if (reason == KY_DROP_TX_TTL)
        answer(w, KY_ICMP_TIME_EXCEEDED, &inner);
}

// Moves one batch. It is as long as the last one was, and twice that when there was more: then a lone
// packet does not wait for the read that finds nothing behind it. Returns 1 when more may be there, 0
// when the TUN was empty, or -errno when it is gone.
static int drain_tun(struct ky_worker *w, const struct ky_peers *peers) {
    struct ky_sender *s = &w->sender;
    unsigned i = 0;
    long n = 0, bytes = 0;
    while (i < s->burst && bytes < TUN_BYTES) {
        n = ky_tun_read(w->tun_fd, &s->vnet, s->packet, KY_TUN_PACKET_MAX);
        if (n < 0)
            break;
        bytes += n;
        i++;
        send_packet(w, peers, (size_t)n);
    }
    ky_runs_flush(&s->encap.runs);
    if (s->encap.flows != NULL)
        ky_flows_sent(s->encap.flows);
    if (n >= 0) {
        if (i == s->burst && w->udp.batch)
            s->burst = i < TUN_BURST / 2 ? 2 * i : TUN_BURST;
        return 1;
    }
    s->burst = i > 1 ? i : 1;
    return n == -EAGAIN || n == -EINTR ? 0 : (int)n;
}

static void *send_loop(void *arg) {
    struct ky_thread *t = arg;
    struct ky_worker *w = t->worker;
    struct ky_counters *counters = &w->sender.counters;
    begin(t);
    for (unsigned turn = 1; !stopping(w); turn++) {
        const struct ky_peers *peers = ky_reader_begin(&t->reader, w->shared);
        int more = drain_tun(w, peers);
        ky_reader_end(&t->reader);
        if (more < 0) {
            fail(w, -more);
            break;
        }
        if (turn % REVIEW_TURNS == 0) {
            // Also where superpackets only come in: then it sends their acknowledgements.
            const struct ky_counters *rx = &w->receiver.counters;
            uint64_t injected = ky_get(&counters->tx_injected);
            ky_placement_review(&t->placement, injected + ky_get(&rx->rx_superpackets),
                                injected + ky_get(&counters->tx_datagrams) +
                                    ky_get(&rx->rx_datagrams));
        }
        if (more == 0)
            await(t, w->tun_fd, NULL, counters, ky_get(&counters->tx_reads));
    }
    return NULL;
}

// ---- underlay -> TUN ----

static int write_tun(void *ctx, const struct iovec *iov, int n) {
    const struct ky_worker *w = ctx;
    return ky_tun_write(w->tun_fd, iov, n);
}

static void admit(struct ky_ring *ring, const struct ky_peers *peers,
                  const struct ky_datagram *datagram, uint64_t now) {
    if (ky_peers_has_outer(peers, datagram->from))
        ky_ring_admit(ring, datagram->from, now);
}

// Returns how many datagrams it was; *more says whether more may be there.
static unsigned drain_socket(struct ky_worker *w, const struct ky_peers *peers, bool *more) {
    struct ky_receiver *r = &w->receiver;
    int n = ky_receive_batch(&r->receive, w->udp.receive_fd);
    ky_add(&r->counters.rx_syscalls, 1);
    *more = n == -EINTR || n == (int)r->receive.want;
    if (n <= 0)
        return 0;
    ky_add(&r->counters.rx_datagrams, (uint64_t)n);
    uint64_t now = r->ring != NULL ? now_ns() : 0;
    for (int i = 0; i < n; i++) {
        struct ky_datagram datagram;
        ky_receive_at(&r->receive, (unsigned)i, &datagram);
        if (r->ring != NULL)
            admit(r->ring, peers, &datagram, now);
        ky_decap_datagram(&r->decap, peers, &datagram, &r->gro);
    }
    ky_gro_flush(&r->gro);
    return (unsigned)n;
}

static void drain_ring(struct ky_worker *w, const struct ky_peers *peers) {
    struct ky_receiver *r = &w->receiver;
    struct ky_datagram datagram;
    unsigned n = 0;
    while (n < RING_BURST && ky_ring_next(r->ring, &datagram)) {
        n++;
        ky_decap_datagram(&r->decap, peers, &datagram, &r->gro);
    }
    ky_add(&r->counters.rx_datagrams, n);
    ky_add(&r->counters.rx_ring, n);
    ky_gro_flush(&r->gro);
    ky_ring_release(r->ring);
}

// Ring and socket in the order that ring.h tells. Returns whether more may be there.
static bool drain_underlay(struct ky_worker *w, const struct ky_peers *peers) {
    struct ky_ring *ring = w->receiver.ring;
    bool detoured = ring == NULL || ky_ring_detoured(ring), more;
    if (ring != NULL && ky_ring_waits(ring)) {
        drain_ring(w, peers);
        return true;
    }
    if (!detoured)
        return false;
    unsigned n = drain_socket(w, peers, &more);
    if (ring != NULL && !more)
        ky_ring_resume(ring, n, now_ns());
    else if (ring != NULL)
        ring->arrived += n;
    return more;
}

static void *receive_loop(void *arg) {
    struct ky_thread *t = arg;
    struct ky_worker *w = t->worker;
    struct ky_counters *counters = &w->receiver.counters;
    begin(t);
    for (unsigned turn = 1; !stopping(w); turn++) {
        const struct ky_peers *peers = ky_reader_begin(&t->reader, w->shared);
        bool more = drain_underlay(w, peers);
        ky_reader_end(&t->reader);
        // Not where superpackets only go out: what it receives then, acknowledgements, it can write to
        // the TUN on any CPU while the home CPU copies.
        if (turn % REVIEW_TURNS == 0)
            ky_placement_review(&t->placement, ky_get(&counters->rx_superpackets),
                                ky_get(&counters->rx_datagrams));
        if (!more)
            await(t, w->udp.receive_fd, w->receiver.ring, counters,
                  ky_get(&counters->rx_datagrams));
    }
    return NULL;
}

// ---- life cycle ----

static int start(struct ky_worker *w, struct ky_thread *t, void *(*loop)(void *),
                 const char *kind) {
    t->worker = w;
    // Signals belong to the program's main thread.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&t->id, NULL, loop, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    t->started = true;
    char name[16];
    snprintf(name, sizeof name, "kersey-%s%u", kind, w->index % 1000);
    (void)pthread_setname_np(t->id, name);
    return 0;
}

int ky_worker_start(struct ky_worker *w, unsigned index) {
    w->udp.stop_fd = w->shared->stop_fd;
    w->udp.tx = &w->sender.counters;
    w->receiver.gro.write = write_tun;
    w->receiver.gro.ctx = w;
    w->sender.burst = 1;
    w->index = index;
    int err = start(w, &w->sender.thread, send_loop, "tx");
    return err != 0 ? err : start(w, &w->receiver.thread, receive_loop, "rx");
}

void ky_worker_join(struct ky_worker *w) {
    struct ky_thread *threads[] = {&w->sender.thread, &w->receiver.thread};
    for (unsigned i = 0; i < 2; i++) {
        if (threads[i]->started)
            pthread_join(threads[i]->id, NULL);
        threads[i]->started = false;
    }
}
