// Life cycle of the engine, and the one place where the table of peers is replaced.
//
// Memory is taken here, at open and at set_peers, and nowhere on the packet path. Per-peer counters
// live in arrays indexed by a peer's slot, which a peer keeps as long as its prefix stays in the
// table; a freed slot is given out again only after no worker can still count into it.
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "choose.h"
#include "steer.h"
#include "tun.h"
#include "worker.h"

// Twice the peers: a table may be replaced by one of as many others, and both hold their slots until
// the swap is over.
enum { SLOTS = 2 * KY_PEERS_MAX };

struct ky_engine {
    struct ky_engine_config config;
    struct ky_probe probe;
    struct ky_shared shared;
    char underlay[IFNAMSIZ];  // the device that holds config.local
    struct ky_worker *worker; // config.workers of them
    unsigned opened;          // workers whose sockets are open
    struct ky_peers *peers;   // the current snapshot, as the control thread sees it
    uint32_t free_slots[SLOTS];
    uint32_t free_count;
};

static bool on(const struct ky_engine *e, enum ky_feature f) {
    return e->probe.feature[f].on;
}

// ---- open ----

// A packet begins on a cache line, behind the room that injection needs.
enum { PACKET_AT = (KY_INJECT_HEADROOM + 63) / 64 * 64 };

static int take_counters(struct ky_peer_counters **out) {
    // Zero pages, taken from the kernel when first counted into.
    void *p = mmap(NULL, sizeof(struct ky_peer_counters) * SLOTS, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    *out = p;
    return 0;
}

static void release_counters(struct ky_peer_counters *p) {
    if (p != NULL)
        munmap(p, sizeof(struct ky_peer_counters) * SLOTS);
}

static int init_memory(struct ky_engine *e, struct ky_worker *w) {
    struct ky_sender *s = &w->sender;
    struct ky_receiver *r = &w->receiver;
    uint16_t frames =
        on(e, KY_FEATURE_UDP_GSO) && on(e, KY_FEATURE_BATCH) ? e->probe.frames_max : 1;
    s->memory = malloc(PACKET_AT + KY_TUN_PACKET_MAX);
    int err = s->memory == NULL ? -ENOMEM : 0;
    s->packet = s->memory + PACKET_AT;
    if (err == 0)
        err = ky_runs_init(&s->encap.runs, frames, ky_udp_send, &w->udp);
    if (err == 0)
        err = take_counters(&s->encap.peer_counters);
    if (err == 0)
        err = take_counters(&r->decap.peer_counters);
    if (err != 0)
        return err;
    return ky_receive_init(&r->receive, on(e, KY_FEATURE_BATCH),
                           e->config.mtu + ky_wire_header(e->config.wire));
}

// Injection is a shortcut: where it is not to be had, runs serve, and the feature says why. Offloaded flows look up
// their routes by its device, also where the engine itself sends nothing by it.
static void open_inject(struct ky_engine *e, struct ky_worker *w) {
    char name[IFNAMSIZ];
    const char *step;
    snprintf(name, sizeof name, "kersey%u-%u", if_nametoindex(e->config.device) % 100000,
             (unsigned)(w - e->worker) % 100);
    int err = ky_inject_open(&w->inject, name, e->config.local, &step);
    if (err != 0) {
        ky_switch_off(&e->probe, KY_FEATURE_TUNNEL_GSO, "%s: %s", step, strerrorname_np(-err));
        return;
    }
    w->inject.source_ports = w->udp.send_port;
    w->injects = true;
    if (on(e, KY_FEATURE_TUNNEL_GSO))
        w->sender.encap.inject = &w->inject;
}

// Past that one, for flows that have been seen.
static void open_flows(struct ky_engine *e, struct ky_worker *w) {
    if (!w->injects) {
        ky_switch_off(&e->probe, KY_FEATURE_FLOW_OFFLOAD, "needs tunnel-gso");
        return;
    }
    const struct ky_engine_config *c = &e->config;
    struct ky_flows_config config = {.ifindex = if_nametoindex(c->device),
                                     .forwarder = w->inject.ifindex,
                                     .local = c->local,
                                     .mtu = c->mtu,
                                     .port = c->port,
                                     .source_ports = w->udp.send_port,
                                     .peers = SLOTS};
    const char *step;
    int err = ky_flows_open(&w->flows, &config, &step);
    if (err == 0)
        w->sender.encap.flows = &w->flows;
    else
        ky_switch_off(&e->probe, KY_FEATURE_FLOW_OFFLOAD, "%s: %s", step, strerrorname_np(-err));
}

// Another shortcut: where it is not to be had, the socket serves.
static void open_ring(struct ky_engine *e, struct ky_worker *w) {
    const struct ky_engine_config *c = &e->config;
    uint32_t outer = (ky_ip_is4(c->local) ? 20 : 40) + 8;
    struct ky_ring_filter filter = {.ifindex = if_nametoindex(e->underlay),
                                    .local = c->local,
                                    .port = c->port,
                                    .largest = outer + KY_ENCAP_LEN + c->mtu,
                                    .flows = w->sender.encap.flows,
                                    .payload = w->sender.encap.flows != NULL &&
                                               on(e, KY_FEATURE_FLOW_RECEIVE)};
    const char *step;
    int err = ky_ring_open(&w->ring, &filter, &step);
    if (err == 0)
        w->receiver.ring = &w->ring;
    else
        ky_switch_off(&e->probe, KY_FEATURE_RECEIVE_RING, "%s: %s", step, strerrorname_np(-err));
}

// As BBR is: it sizes its window by the shortest round trip, which offload makes shorter. Where acknowledgements
// go on waiting for a thread that is slower than no offload (docs/adr/0015-flow-offload.md).
static bool paced_by_round_trips(void) {
    char name[16] = "";
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_congestion_control", "re");
    if (f == NULL)
        return false;
    (void)!fgets(name, sizeof name, f);
    fclose(f);
    return strncmp(name, "bbr", 3) == 0;
}

static void judge_flows(struct ky_engine *e, struct ky_worker *w) {
    if (w->sender.encap.flows == NULL || w->receiver.ring != NULL || !paced_by_round_trips())
        return;
    w->sender.encap.flows = NULL;
    ky_flows_close(&w->flows);
    ky_switch_off(&e->probe, KY_FEATURE_FLOW_OFFLOAD,
                  "needs receive-ring where net.ipv4.tcp_congestion_control is bbr");
}

// Source ports of a worker.
static uint8_t ports_of(const struct ky_engine_config *c) {
    return (uint8_t)(c->wire == KY_WIRE_VXLAN ? KY_PORTS_MAX / c->workers : 1);
}

static int init_worker(struct ky_engine *e, struct ky_worker *w, int tun_fd,
                       struct ky_fault *fault) {
    const struct ky_engine_config *c = &e->config;
    struct ky_udp_config udp = {.local = c->local,
                                .port = c->port,
                                .wire = c->wire,
                                .ports = ports_of(c),
                                .reuse = c->workers > 1,
                                .gso = on(e, KY_FEATURE_UDP_GSO),
                                .gro = on(e, KY_FEATURE_UDP_GRO),
                                .batch = on(e, KY_FEATURE_BATCH)};
    w->shared = &e->shared;
    w->tun_fd = tun_fd;
    w->home_cpu = on(e, KY_FEATURE_HOME_CPU);
    int err = ky_udp_open(&w->udp, &udp, fault);
    if (err != 0)
        return err;
    e->opened++;
    err = init_memory(e, w);
    if (err != 0)
        return ky_fail(fault, "memory", err);
    if (on(e, KY_FEATURE_TUNNEL_GSO) || on(e, KY_FEATURE_FLOW_OFFLOAD))
        open_inject(e, w);
    if (on(e, KY_FEATURE_FLOW_OFFLOAD))
        open_flows(e, w);
    if (on(e, KY_FEATURE_RECEIVE_RING))
        open_ring(e, w);
    judge_flows(e, w);
    if (on(e, KY_FEATURE_FLOW_RECEIVE) &&
        (w->sender.encap.flows == NULL || w->receiver.ring == NULL))
        ky_switch_off(&e->probe, KY_FEATURE_FLOW_RECEIVE, "needs flow-offload and receive-ring");
    w->sender.encap.wire = c->wire;
    w->sender.encap.mtu = c->mtu;
    w->sender.encap.ports = udp.ports;
    w->sender.encap.counters = &w->sender.counters;
    struct ky_decap *d = &w->receiver.decap;
    d->wire = c->wire;
    d->vni = c->vni;
    d->mtu = c->mtu;
    memcpy(d->mac, c->mac, 6);
    d->allow_unknown_sources = c->allow_unknown_sources;
    d->no_inner_source_check = c->no_inner_source_check;
    d->counters = &w->receiver.counters;
    w->receiver.gro.counters = &w->receiver.counters;
    w->receiver.gro.tcp = on(e, KY_FEATURE_COALESCE);
    w->receiver.gro.udp = on(e, KY_FEATURE_COALESCE_UDP);
    return 0;
}

static unsigned offload_of(const struct ky_engine *e) {
    unsigned bits = on(e, KY_FEATURE_TUN_CSUM) ? KY_TUN_F_CSUM : 0;
    if (on(e, KY_FEATURE_TUN_TSO))
        bits |= KY_TUN_F_TSO;
    return on(e, KY_FEATURE_TUN_USO) ? bits | KY_TUN_F_USO : bits;
}

// With SO_REUSEPORT a second engine would silently share the port with a first; so the port is tried
// once without.
static int port_is_free(const struct ky_engine_config *c, struct ky_fault *fault) {
    struct ky_udp udp;
    struct ky_udp_config config = {.local = c->local, .port = c->port};
    int err = ky_udp_open(&udp, &config, fault);
    if (err == 0)
        ky_udp_close(&udp);
    return err;
}

static void steer(struct ky_engine *e, int tun_fd) {
    int err = ky_tun_steer(tun_fd);
    if (err != 0)
        ky_switch_off(&e->probe, KY_FEATURE_TUN_STEERING, "the kernel refused: %s",
                      strerrorname_np(-err));
}

static int open_workers(struct ky_engine *e, struct ky_fault *fault) {
    const struct ky_engine_config *c = &e->config;
    int fds[KY_WORKERS_MAX];
    int err = port_is_free(c, fault);
    if (err == 0)
        err = ky_tun_open(c->device, c->workers, offload_of(e), fds, fault);
    if (err != 0)
        return err;
    if (c->workers > 1 && on(e, KY_FEATURE_TUN_STEERING))
        steer(e, fds[0]);
    for (unsigned i = 0; i < c->workers; i++)
        e->worker[i].tun_fd = fds[i];
    for (unsigned i = 0; i < c->workers && err == 0; i++)
        err = init_worker(e, &e->worker[i], fds[i], fault);
    for (unsigned i = 0; i < c->workers && err == 0; i++) {
        err = ky_worker_start(&e->worker[i], i);
        if (err != 0)
            ky_fail(fault, "thread", err);
    }
    return err;
}

int ky_engine_open(const struct ky_engine_config *config, struct ky_engine **out,
                   struct ky_fault *fault) {
    if (config->workers < 1 || config->workers > KY_WORKERS_MAX || config->vni > KY_VNI_MAX ||
        config->mtu < KY_MTU_MIN || config->mtu > KY_TUN_PACKET_MAX)
        return ky_fail(fault, "config", -EINVAL);
    struct ky_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return ky_fail(fault, "memory", -ENOMEM);
    e->config = *config;
    e->shared.stop_fd = -1;
    e->worker = aligned_alloc(64, sizeof *e->worker * config->workers);
    if (e->worker != NULL)
        memset(e->worker, 0, sizeof *e->worker * config->workers);
    for (unsigned i = 0; e->worker != NULL && i < config->workers; i++)
        e->worker[i].tun_fd = -1;
    struct ky_peers_spec none = {0};
    size_t duplicate;
    int err = e->worker == NULL ? -ENOMEM : ky_peers_build(&none, &e->peers, &duplicate);
    if (err == 0 && (e->shared.stop_fd = eventfd(0, EFD_CLOEXEC)) < 0)
        err = -errno;
    if (err != 0) {
        ky_engine_close(e);
        return ky_fail(fault, "memory", err);
    }
    atomic_store(&e->shared.peers, e->peers);
    while (e->free_count < SLOTS) {
        e->free_slots[e->free_count] = SLOTS - 1 - e->free_count;
        e->free_count++;
    }
    err = ky_probe_run(&e->probe, ky_choose_no_flows(config) == NULL);
    if (err != 0) {
        ky_engine_close(e);
        return ky_fail(fault, "thread", err);
    }
    ky_choose(config, &e->probe, e->underlay);
    err = open_workers(e, fault);
    if (err != 0) {
        ky_engine_close(e);
        return err;
    }
    *out = e;
    return 0;
}

void ky_engine_close(struct ky_engine *e) {
    if (e == NULL)
        return;
    atomic_store(&e->shared.stop, true);
    uint64_t one = 1;
    if (e->shared.stop_fd >= 0)
        (void)!write(e->shared.stop_fd, &one, sizeof one);
    for (unsigned i = 0; e->worker != NULL && i < e->config.workers; i++)
        ky_worker_join(&e->worker[i]);
    for (unsigned i = 0; e->worker != NULL && i < e->config.workers; i++) {
        struct ky_worker *w = &e->worker[i];
        if (w->tun_fd >= 0)
            close(w->tun_fd);
        if (w->sender.encap.flows != NULL)
            ky_flows_close(&w->flows);
        if (w->injects)
            ky_inject_close(&w->inject);
        if (w->receiver.ring != NULL)
            ky_ring_close(&w->ring);
        if (i < e->opened)
            ky_udp_close(&w->udp);
        free(w->sender.memory);
        ky_runs_free(&w->sender.encap.runs);
        release_counters(w->sender.encap.peer_counters);
        release_counters(w->receiver.decap.peer_counters);
        ky_receive_free(&w->receiver.receive);
    }
    if (e->shared.stop_fd >= 0)
        close(e->shared.stop_fd);
    ky_peers_free(e->peers);
    free(e->worker);
    free(e);
}

// ---- peers ----

static void clear_slot(struct ky_engine *e, uint32_t slot) {
    for (unsigned i = 0; i < e->config.workers; i++) {
        memset(&e->worker[i].sender.encap.peer_counters[slot], 0, sizeof(struct ky_peer_counters));
        memset(&e->worker[i].receiver.decap.peer_counters[slot], 0,
               sizeof(struct ky_peer_counters));
        if (e->worker[i].sender.encap.flows != NULL)
            ky_flows_clear(&e->worker[i].flows, slot);
    }
}

// Gives every peer of the new table its slot: its old one where the prefix was there before. `kept`
// is set for the peers of the old table that stay. Returns how many free slots were used.
static uint32_t assign_slots(const struct ky_engine *e, const struct ky_peer_spec *peers,
                             size_t count, uint32_t *slots, bool *kept) {
    uint32_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ky_peer *old = ky_peers_find_exact(e->peers, peers[i].prefix, peers[i].bits);
        if (old != NULL) {
            slots[i] = old->slot;
            kept[old - ky_peers_at(e->peers, 0)] = true;
        } else {
            slots[i] = e->free_slots[e->free_count - 1 - used++];
        }
    }
    return used;
}

int ky_engine_set_peers(struct ky_engine *e, const struct ky_peer_spec *peers, size_t count,
                        const struct ky_prefix *locals, size_t local_count, size_t *duplicate) {
    size_t old_count = ky_peers_count(e->peers);
    if (count > KY_PEERS_MAX)
        return -E2BIG;
    uint32_t *slots = malloc(sizeof *slots * (count + 1));
    bool *kept = calloc(old_count + 1, sizeof *kept);
    struct ky_peers *next = NULL, *old = e->peers;
    uint32_t used = 0;
    int err = slots == NULL || kept == NULL ? -ENOMEM : 0;
    if (err == 0) {
        used = assign_slots(e, peers, count, slots, kept);
        struct ky_peers_spec spec = {.peers = peers,
                                     .slots = slots,
                                     .count = count,
                                     .locals = locals,
                                     .local_count = local_count,
                                     .vni = e->config.vni,
                                     .port = e->config.port};
        memcpy(spec.mac, e->config.mac, 6);
        err = ky_peers_build(&spec, &next, duplicate);
    }
    if (err == 0) {
        e->free_count -= used;
        atomic_store(&e->shared.peers, next);
        e->peers = next;
        for (unsigned i = 0; i < e->config.workers; i++) {
            ky_reader_wait(&e->worker[i].sender.thread.reader);
            ky_reader_wait(&e->worker[i].receiver.thread.reader);
            if (e->worker[i].sender.encap.flows != NULL)
                ky_flows_review(&e->worker[i].flows, next);
        }
        for (size_t i = 0; i < old_count; i++) {
            if (kept[i])
                continue;
            clear_slot(e, ky_peers_at(old, i)->slot);
            e->free_slots[e->free_count++] = ky_peers_at(old, i)->slot;
        }
        ky_peers_free(old);
    }
    free(slots);
    free(kept);
    return err;
}

// ---- stats ----

static void add_counters(struct ky_engine_stats *out, const struct ky_counters *c) {
    const _Atomic uint64_t *all = (const _Atomic uint64_t *)c; // see the assertion in stats.c
    for (unsigned i = 0; i < KY_COUNTER_COUNT; i++)
        out->counters[i] += ky_get(&all[i]);
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        out->drops[i] += ky_get(&c->drops[i]);
}

static void add_offloaded(struct ky_engine_stats *out, const struct ky_flow_totals *c) {
    out->counters[KY_COUNTER_INDEX_tx_packets] += ky_get(&c->of.sent.packets);
    out->counters[KY_COUNTER_INDEX_tx_bytes] += ky_get(&c->of.sent.bytes);
    out->counters[KY_COUNTER_INDEX_tx_offloaded] += ky_get(&c->sends);
    out->counters[KY_COUNTER_INDEX_rx_packets] += ky_get(&c->of.received.packets);
    out->counters[KY_COUNTER_INDEX_rx_bytes] += ky_get(&c->of.received.bytes);
    out->counters[KY_COUNTER_INDEX_rx_offloaded] += ky_get(&c->of.received.packets);
    out->drops[KY_DROP_TX_SEND_ERROR] += ky_get(&c->lost);
}

void ky_engine_stats_read(struct ky_engine *e, struct ky_engine_stats *out) {
    memset(out, 0, sizeof *out);
    memcpy(out->features, e->probe.feature, sizeof out->features);
    for (unsigned i = 0; i < e->config.workers; i++) {
        struct ky_worker *w = &e->worker[i];
        add_counters(out, &w->sender.counters);
        add_counters(out, &w->receiver.counters);
        if (w->injects)
            out->drops[KY_DROP_TX_NO_ROUTE] += ky_inject_no_route(&w->inject);
        if (w->sender.encap.flows != NULL)
            add_offloaded(out, w->flows.totals);
        int err = atomic_load(&w->udp.gso_errno);
        if (err != 0) {
            out->features[KY_FEATURE_UDP_GSO].on = false;
            strcpy(out->features[KY_FEATURE_UDP_GSO].reason,
                   "switched itself off: the underlay answered EIO");
        }
    }
    out->failed = atomic_load(&e->shared.failed);
}

int ky_engine_failed(const struct ky_engine *e) {
    return atomic_load(&e->shared.failed);
}

size_t ky_engine_peer_count(const struct ky_engine *e) {
    return ky_peers_count(e->peers);
}

void ky_engine_peer_stats(const struct ky_engine *e, size_t i, struct ky_peer_stats *out) {
    const struct ky_peer *p = ky_peers_at(e->peers, i);
    *out = (struct ky_peer_stats){.prefix = p->prefix, .outer = p->outer, .bits = p->bits};
    for (unsigned w = 0; w < e->config.workers; w++) {
        const struct ky_peer_counters *tx = &e->worker[w].sender.encap.peer_counters[p->slot];
        const struct ky_peer_counters *rx = &e->worker[w].receiver.decap.peer_counters[p->slot];
        out->tx_packets += ky_get(&tx->packets);
        out->tx_bytes += ky_get(&tx->bytes);
        if (e->worker[w].sender.encap.flows != NULL) {
            const struct ky_flow_counters *flows = ky_flows_of(&e->worker[w].flows, p->slot);
            out->tx_packets += ky_get(&flows->sent.packets);
            out->tx_bytes += ky_get(&flows->sent.bytes);
            out->rx_packets += ky_get(&flows->received.packets);
            out->rx_bytes += ky_get(&flows->received.bytes);
        }
        out->rx_packets += ky_get(&rx->packets);
        out->rx_bytes += ky_get(&rx->bytes);
    }
}
