// The two loops. Each wake-up handles a batch: it takes the snapshot of peers, moves what is there,
// lets go of the snapshot, and sleeps in poll() when nothing is left. Nothing waits to fill a batch,
// nothing is allocated, locked or logged here, and every refusal is a counter.
//
// A thread gives up only when its descriptor is gone for good (the TUN was deleted by somebody);
// it then sets shared->failed, and the control plane, which looks at it, opens a new engine.
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "tun.h"

enum { TUN_BATCH = 64 }; // packets read before sending, when packets are small

void ky_reader_wait(struct ky_reader *r) {
    unsigned seen = atomic_load(&r->count);
    const struct timespec pause = {.tv_nsec = 20000};
    while ((seen & 1) != 0 && atomic_load(&r->count) == seen)
        nanosleep(&pause, NULL);
}

// Sleeps until fd is readable. Returns false when the worker must end.
static bool await(struct ky_worker *w, int fd, struct ky_counters *counters) {
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                          {.fd = w->shared->stop_fd, .events = POLLIN}};
    (void)poll(p, 2, -1);
    ky_add(&counters->wakeups, 1);
    return !atomic_load_explicit(&w->shared->stop, memory_order_relaxed);
}

static void fail(struct ky_worker *w, int err) {
    int none = 0;
    atomic_compare_exchange_strong(&w->shared->failed, &none, err);
}

// ---- TUN -> underlay ----

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

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
}

// Moves one batch. Returns 1 when more may be waiting, 0 when the TUN is empty, or -errno.
static long drain_tun(struct ky_worker *w, const struct ky_peers *peers) {
    struct ky_sender *s = &w->sender;
    unsigned batch = w->udp.batch ? TUN_BATCH : 1;
    long n = 0;
    for (unsigned i = 0; i < batch; i++) {
        n = ky_tun_read(w->tun_fd, &s->vnet, s->packet, KY_TUN_PACKET_MAX);
        if (n < 0)
            break;
        send_packet(w, peers, (size_t)n);
    }
    ky_runs_flush(&s->encap.runs);
    return n >= 0 ? 1 : n == -EAGAIN || n == -EINTR ? 0 : n;
}

static void *send_loop(void *arg) {
    struct ky_worker *w = arg;
    struct ky_sender *s = &w->sender;
    do {
        long more;
        do {
            const struct ky_peers *peers = ky_reader_begin(&s->reader, w->shared);
            more = drain_tun(w, peers);
            ky_reader_end(&s->reader);
        } while (more > 0 && !atomic_load_explicit(&w->shared->stop, memory_order_relaxed));
        if (more < 0) {
            fail(w, (int)-more);
            break;
        }
    } while (await(w, w->tun_fd, &s->counters));
    return NULL;
}

// ---- underlay -> TUN ----

static int write_tun(void *ctx, const struct iovec *iov, int n) {
    const struct ky_worker *w = ctx;
    return ky_tun_write(w->tun_fd, iov, n);
}

static bool drain_udp(struct ky_worker *w, const struct ky_peers *peers) {
    struct ky_receiver *r = &w->receiver;
    bool full = false;
    int n = ky_udp_receive(&w->udp, &r->receive, &full);
    ky_add(&r->counters.rx_syscalls, 1);
    if (n <= 0)
        return n == -EINTR;
    ky_add(&r->counters.rx_datagrams, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        struct ky_datagram datagram;
        ky_receive_at(&r->receive, (unsigned)i, &datagram);
        ky_decap_datagram(&r->decap, peers, &datagram, &r->gro);
    }
    ky_gro_flush(&r->gro);
    return full;
}

static void *receive_loop(void *arg) {
    struct ky_worker *w = arg;
    struct ky_receiver *r = &w->receiver;
    while (await(w, w->udp.receive_fd, &r->counters)) {
        bool more;
        do {
            const struct ky_peers *peers = ky_reader_begin(&r->reader, w->shared);
            more = drain_udp(w, peers);
            ky_reader_end(&r->reader);
        } while (more && !atomic_load_explicit(&w->shared->stop, memory_order_relaxed));
    }
    return NULL;
}

// ---- life cycle ----

static int start_thread(pthread_t *thread, void *(*loop)(void *), struct ky_worker *w,
                        const char *kind, unsigned index) {
    // Signals belong to the program's main thread.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, NULL, loop, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    char name[16];
    snprintf(name, sizeof name, "kersey-%s%u", kind, index % 1000);
    (void)pthread_setname_np(*thread, name);
    w->threads++;
    return 0;
}

int ky_worker_start(struct ky_worker *w, unsigned index) {
    w->udp.stop_fd = w->shared->stop_fd;
    w->udp.tx = &w->sender.counters;
    w->receiver.gro.write = write_tun;
    w->receiver.gro.ctx = w;
    int err = start_thread(&w->sender.thread, send_loop, w, "tx", index);
    return err != 0 ? err : start_thread(&w->receiver.thread, receive_loop, w, "rx", index);
}

void ky_worker_join(struct ky_worker *w) {
    if (w->threads > 0)
        pthread_join(w->sender.thread, NULL);
    if (w->threads > 1)
        pthread_join(w->receiver.thread, NULL);
    w->threads = 0;
}
