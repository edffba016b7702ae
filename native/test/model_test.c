// Random nodes, peers and packets through the engine's packet path, and through a slow reference:
//
//   packets -> ky_encap_packet -> runs -> datagrams, trains, or a kernel's whole superpackets,
//   disturbed on the way -> ky_decap_datagram -> ky_gro -> writes to the TUN -> packets
//
// After every batch the frames, the packets (as multisets, and in order within each flow), all
// counters and all drop reasons must be the reference's.
//
//   model_test [seed [batches]]      without a seed, one is made and printed
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../engine/decap.h"
#include "../engine/encap.h"
#include "check.h"
#include "model_injected.h"
#include "model_traffic.h"
#include "model_wire.h"

enum { PORTS_SEEN = 1 << 16, BATCHES_PER_WORLD = 40, DEFAULT_BATCHES = 1200 };

// The engine's side of a node.
struct engine_node {
    struct ky_peers *peers;
    struct ky_encap encap;
    struct ky_decap decap;
    struct ky_gro gro;
    struct ky_counters tx, rx;
    struct ky_peer_counters tx_peer[MODEL_PEERS], rx_peer[MODEL_PEERS];
    struct ky_inject inject;
    int injected; // what was written to the inject's TAP is read here; -1 without injection
    unsigned index;
};

static struct model_world world;
static struct engine_node *engine;
static struct traffic_flow flows[TRAFFIC_FLOWS];
static struct model_list want_frames, got_frames, arrivals, want_packets, got_packets;
static struct model_wire wire;
static struct random rng;
static unsigned long batch;
static int refuse_super, refuse_all; // what the TUN answers in this batch

static struct {
    uint64_t flow;
    uint8_t port; // + 1
} ports_seen[PORTS_SEEN];

// ---- sending ----

static unsigned node_of_peer(unsigned from, const struct ky_peer *peer) {
    unsigned i = (unsigned)(peer - ky_peers_at(engine[from].peers, 0));
    REQUIRE(i < world.node[from].peer_count);
    return world.node[from].peer_node[i];
}

static void check_port(uint64_t flow, uint8_t port) {
    uint64_t at = flow % PORTS_SEEN;
    while (ports_seen[at].port != 0 && ports_seen[at].flow != flow)
        at = (at + 1) % PORTS_SEEN;
    if (ports_seen[at].port == 0) {
        ports_seen[at].flow = flow;
        ports_seen[at].port = (uint8_t)(port + 1);
    }
    CHECK_EQ(port, ports_seen[at].port - 1);
}

static void take_frame(const struct ky_run *run, unsigned to, uint32_t at, uint32_t len) {
    struct model_item *item = model_list_add(&got_frames, run->buf + at, len);
    item->to = to;
    item->tos = run->tos;
    item->flow =
        len > KY_ENCAP_LEN ? model_flow(item->bytes + KY_ENCAP_LEN, len - KY_ENCAP_LEN) : 0;
    CHECK(run->port < 16);
    check_port(item->flow, run->port);
}

static void take_run(unsigned from, const struct ky_run *run) {
    unsigned to = node_of_peer(from, run->peer);
    CHECK(run->count >= 1 && run->count <= engine[from].encap.runs.frames_max);
    CHECK(run->len <= KY_RUN_BYTES);
    CHECK_EQ((run->len + run->frame - 1) / run->frame, run->count);
    for (uint32_t at = 0; at < run->len; at += run->frame)
        take_frame(run, to, at, run->len - at < run->frame ? run->len - at : run->frame);
    uint32_t at = 0;
    while (at < run->len) { // now frame by frame, now as trains that UDP_GRO might make
        uint32_t frames = random_one_in(&rng, 2) ? 1 : random_range(&rng, 2, 64);
        uint32_t len = run->len - at < frames * run->frame ? run->len - at : frames * run->frame;
        size_t gro = len > run->frame ? run->frame : 0;
        model_wire_send(&wire, from, to, run->buf + at, len, run->tos, gro);
        at += len;
    }
}

static void take_runs(void *ctx, const struct ky_run *runs, unsigned count) {
    const struct engine_node *n = ctx;
    CHECK(count >= 1 && count <= KY_RUNS);
    for (unsigned i = 0; i < count; i++)
        take_run(n->index, &runs[i]);
}

// ---- tunnel-GSO injection: a socket pair takes the TAP's place ----

static const uint16_t source_ports[16] = {40000, 40001, 40002, 40003, 40004, 40005, 40006, 40007,
                                          40008, 40009, 40010, 40011, 40012, 40013, 40014, 40015};

struct segments {
    const struct model_injected *injected;
    bool deliver; // one by one
};

static void take_segment(void *ctx, const uint8_t *packet, size_t len) {
    static uint8_t frame[KY_ENCAP_LEN + ORACLE_PACKET_MAX];
    const struct segments *s = ctx;
    const struct model_injected *i = s->injected;
    memcpy(frame, i->encap, KY_ENCAP_LEN);
    memcpy(frame + KY_ENCAP_LEN, packet, len);
    struct model_item *item = model_list_add(&got_frames, frame, KY_ENCAP_LEN + len);
    item->to = i->to;
    item->tos = (uint8_t)i->tos;
    item->flow = model_flow(packet, len);
    check_port(item->flow, (uint8_t)(i->source_port - source_ports[0]));
    if (s->deliver)
        model_wire_send(&wire, i->from, i->to, frame, KY_ENCAP_LEN + len, i->tos, 0);
}

// A device that segments makes frames of it; else, as on a virtual link, it arrives whole.
static void take_injected(unsigned from, const uint8_t *bytes, size_t len) {
    struct model_injected i;
    model_injected_check(&world, from, bytes, len, &i);
    CHECK(i.source_port >= source_ports[0] && i.source_port <= source_ports[15]);
    struct segments s = {&i, random_one_in(&rng, 2)};
    CHECK(oracle_segment(i.packet, i.len, i.mss, take_segment, &s));
    if (!s.deliver)
        model_wire_send(&wire, from, i.to, i.encap, KY_ENCAP_LEN + i.len, i.tos, i.udp ? i.mss : 0);
}

static void drain_injected(struct engine_node *n) {
    static uint8_t bytes[KY_INJECT_HEADROOM + ORACLE_PACKET_MAX];
    ssize_t len;
    while (n->injected >= 0 && (len = recv(n->injected, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        take_injected(n->index, bytes, (size_t)len);
}

static void open_inject(struct engine_node *n) {
    int pair[2], size = 1 << 20;
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    const struct model_address *outer = &world.node[n->index].outer;
    n->inject = (struct ky_inject){.tap_fd = pair[0], .source_ports = source_ports};
    n->inject.local = outer->version == 4 ? ky_ip4(outer->bytes) : ky_ip6(outer->bytes);
    n->injected = pair[1];
    n->encap.inject = &n->inject;
}

static void close_inject(struct engine_node *n) {
    if (n->injected < 0)
        return;
    close(n->inject.tap_fd);
    close(n->injected);
}

// ---- packets ----

// A VXLAN device on a virtual link: the packet leaves as the host gave it, whole and partial.
static void send_as_kernel(unsigned node, const struct traffic_packet *p) {
    static uint8_t frame[KY_ENCAP_LEN + ORACLE_PACKET_MAX];
    struct oracle_ip ip;
    if (!oracle_parse(p->bytes, p->len, &ip) || KY_ENCAP_LEN + ip.len > 65507)
        return;
    struct model_address dst = {.version = ip.version};
    memcpy(dst.bytes, ip.dst, 16);
    int peer = model_find(&world.node[node], &dst);
    if (peer < 0)
        return;
    unsigned to = world.node[node].peer_node[peer];
    if (random_one_in(&rng, 60)) // a stale table
        to = world.node[node].peer_node[random_below(&rng, world.node[node].peer_count)];
    model_frame(&world, node, to, frame, ip.version);
    memcpy(frame + KY_ENCAP_LEN, p->bytes, ip.len);
    size_t gro = p->vnet.gso_type != 0 && ip.proto == ORACLE_UDP ? p->vnet.gso_size : 0;
    model_wire_send(&wire, node, to, frame, KY_ENCAP_LEN + ip.len, ip.tos % 4, gro);
}

static void send_packet(struct traffic_flow *f) {
    static uint8_t memory[KY_INJECT_HEADROOM + ORACLE_PACKET_MAX + 200];
    uint8_t *bytes = memory + KY_INJECT_HEADROOM;
    struct traffic_packet p;
    struct ky_inner inner;
    struct engine_node *n = &engine[f->node];
    traffic_next(&rng, &world, f, &p);
    if (f->kernel) {
        send_as_kernel(f->node, &p);
        return;
    }
    model_encap(&world, f->node, &p.vnet, p.bytes, p.len, &want_frames);
    memcpy(bytes, p.bytes, p.len);
    int tap = n->inject.tap_fd;
    if (random_one_in(&rng, 8))
        n->inject.tap_fd = -1; // refused: it leaves as a run
    enum ky_drop reason = ky_encap_packet(&n->encap, n->peers, &p.vnet, bytes, p.len, &inner);
    if (reason != KY_DROP_NONE)
        ky_drop(&n->tx, reason, 1);
    n->inject.tap_fd = tap;
    drain_injected(n);
}

// ---- receiving ----

struct receiver {
    struct model_list *list;
    unsigned node;
};

static void take_packet(void *ctx, const uint8_t *packet, size_t len) {
    const struct receiver *r = ctx;
    struct model_item *item = model_list_add(r->list, packet, len);
    item->to = r->node;
    item->flow = model_flow(packet, len);
}

static int take_write(void *ctx, const struct iovec *iov, int n) {
    static uint8_t bytes[2 * ORACLE_PACKET_MAX];
    const struct engine_node *node = ctx;
    struct receiver r = {&got_packets, node->index};
    struct ky_vnet vnet;
    const char *why;
    size_t len = 0;
    memcpy(&vnet, iov[0].iov_base, sizeof vnet);
    if (refuse_all != 0 || (refuse_super != 0 && vnet.gso_type != 0))
        return refuse_all != 0 ? refuse_all : refuse_super;
    for (int i = 1; i < n; i++) {
        REQUIRE(len + iov[i].iov_len <= sizeof bytes);
        memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    if (!oracle_unfold(&vnet, bytes, len, take_packet, &r, &why))
        check_fail(__FILE__, __LINE__, "a write that no kernel takes: %s", why);
    return 0;
}

static struct ky_vnet vnet_of(const struct model_item *item) {
    struct oracle_ip ip;
    struct ky_vnet v = {0};
    REQUIRE(oracle_parse(item->bytes, item->len, &ip));
    bool udp = ip.proto == ORACLE_UDP;
    if (item->partial)
        v = (struct ky_vnet){
            .flags = 1, .csum_start = (uint16_t)ip.l4, .csum_offset = udp ? 6 : 16};
    if (item->gso_size != 0) {
        v.gso_size = item->gso_size;
        v.gso_type = udp               ? KY_VNET_GSO_UDP_L4
                     : ip.version == 4 ? KY_VNET_GSO_TCPV4
                                       : KY_VNET_GSO_TCPV6;
        v.hdr_len = (uint16_t)oracle_headers(item->bytes, &ip);
    }
    return v;
}

// What the reference let in, as packets; or as drops, where the TUN refuses them in this batch.
static void unfold_arrivals(void) {
    for (unsigned i = 0; i < arrivals.count; i++) {
        const struct model_item *item = &arrivals.item[i];
        struct receiver r = {&want_packets, item->to};
        struct ky_vnet v = vnet_of(item);
        const char *why;
        uint64_t packets = 1;
        if (item->gso_size != 0)
            packets = (item->len - v.hdr_len + item->gso_size - 1) / item->gso_size;
        if (refuse_all != 0)
            world.node[item->to].drops[KY_DROP_RX_TUN_DOWN] += packets;
        else if (refuse_super != 0 && item->gso_size != 0)
            world.node[item->to].drops[KY_DROP_RX_TUN_ERROR] += packets;
        else if (!oracle_unfold(&v, item->bytes, item->len, take_packet, &r, &why))
            check_fail(__FILE__, __LINE__, "the reference contradicts itself: %s", why);
    }
}

static void receive_all(void) {
    for (unsigned i = 0; i < wire.count; i++) {
        const struct model_datagram *d = &wire.datagram[i];
        struct engine_node *n = &engine[d->to];
        model_decap(&world, d->to, d, &arrivals);
        struct ky_datagram dg = {.buf = (uint8_t *)d->bytes,
                                 .len = (uint32_t)d->len,
                                 .gro = (uint16_t)d->gro,
                                 .tos = (uint8_t)d->tos,
                                 .truncated = d->truncated};
        dg.from = d->from.version == 4 ? ky_ip4(d->from.bytes) : ky_ip6(d->from.bytes);
        ky_decap_datagram(&n->decap, n->peers, &dg, &n->gro);
        if (random_one_in(&rng, 30))
            ky_gro_flush(&n->gro);
    }
    for (unsigned n = 0; n < world.nodes; n++)
        ky_gro_flush(&engine[n].gro);
}

// ---- comparing ----

static int by_flow(const void *a, const void *b) {
    const struct model_item *x = *(const struct model_item *const *)a;
    const struct model_item *y = *(const struct model_item *const *)b;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    if (x->flow != y->flow)
        return x->flow < y->flow ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void sort(const struct model_list *list, const struct model_item **out) {
    for (unsigned i = 0; i < list->count; i++)
        out[i] = &list->item[i];
    qsort(out, list->count, sizeof *out, by_flow);
}

// Takes out what may differ: the identification where DF says that it means nothing, and which of
// ones' complement's two zeros a checksum is.
static void neutral(uint8_t *p, size_t len) {
    struct oracle_ip ip;
    if (!oracle_parse(p, len, &ip))
        return;
    if (ip.version == 4 && (p[6] & 0x40) != 0 && oracle_ip_sum_ok(p)) {
        oracle_put16(p + 4, 0);
        oracle_put16(p + 10, 0);
    }
    size_t at = oracle_check_at(p, &ip);
    if (at != 0 && oracle_get16(p + at) != 0 && oracle_l4_sum_ok(p, &ip))
        oracle_complete(p, len);
}

static bool same_lists(const char *what, const struct model_list *want,
                       const struct model_list *got, size_t headers) {
    static const struct model_item *a[MODEL_ITEMS], *b[MODEL_ITEMS];
    sort(want, a);
    sort(got, b);
    check_case("batch %lu, %s", batch, what);
    bool same = CHECK_EQ(got->count, want->count);
    for (unsigned i = 0; same && i < want->count; i++) {
        check_case("batch %lu, %s %u, flow %llx to node %u, %u bytes", batch, what, i,
                   (unsigned long long)a[i]->flow, a[i]->to, a[i]->len);
        same = CHECK_EQ(b[i]->to, a[i]->to) && CHECK_EQ(b[i]->flow, a[i]->flow) &&
               CHECK_EQ(b[i]->len, a[i]->len) && CHECK_EQ(b[i]->tos, a[i]->tos);
        if (!same)
            break;
        neutral((uint8_t *)a[i]->bytes + headers, a[i]->len - headers);
        neutral((uint8_t *)b[i]->bytes + headers, b[i]->len - headers);
        same = CHECK_MEM(b[i]->bytes, a[i]->bytes, a[i]->len);
    }
    return same;
}

static void same_counters(unsigned i) {
    static const unsigned compared[] = {
        KY_COUNTER_INDEX_tx_packets,      KY_COUNTER_INDEX_tx_bytes,
        KY_COUNTER_INDEX_tx_superpackets, KY_COUNTER_INDEX_rx_packets,
        KY_COUNTER_INDEX_rx_bytes,        KY_COUNTER_INDEX_rx_superpackets,
        KY_COUNTER_INDEX_rx_partial,      KY_COUNTER_INDEX_rx_ecn_marked};
    const struct model_node *want = &world.node[i];
    const struct engine_node *got = &engine[i];
    for (unsigned k = 0; k < KY_DROP_COUNT; k++) {
        check_case("batch %lu, node %u, %s", batch, i, ky_drop_names[k]);
        CHECK_EQ(ky_get(&got->tx.drops[k]) + ky_get(&got->rx.drops[k]), want->drops[k]);
    }
    for (unsigned k = 0; k < sizeof compared / sizeof *compared; k++) {
        unsigned c = compared[k];
        check_case("batch %lu, node %u, %s", batch, i, ky_counter_names[c]);
        CHECK_EQ(ky_get((const _Atomic uint64_t *)&got->tx + c) +
                     ky_get((const _Atomic uint64_t *)&got->rx + c),
                 want->counters[c]);
    }
    for (unsigned k = 0; k < want->peer_count; k++) {
        check_case("batch %lu, node %u, peer %u", batch, i, k);
        CHECK_EQ(ky_get(&got->tx_peer[k].packets), want->peer_tx_packets[k]);
        CHECK_EQ(ky_get(&got->tx_peer[k].bytes), want->peer_tx_bytes[k]);
        CHECK_EQ(ky_get(&got->rx_peer[k].packets), want->peer_rx_packets[k]);
        CHECK_EQ(ky_get(&got->rx_peer[k].bytes), want->peer_rx_bytes[k]);
    }
}

// ---- worlds ----

static struct ky_ip ip_of(const struct model_address *a) {
    return a->version == 4 ? ky_ip4(a->bytes) : ky_ip6(a->bytes);
}

static uint8_t bits_of(const struct model_prefix *p) {
    return (uint8_t)(p->length + (p->base.version == 4 ? KY_V4_BITS : 0));
}

static void build_peers(unsigned i) {
    const struct model_node *n = &world.node[i];
    struct ky_peer_spec specs[MODEL_PEERS];
    struct ky_prefix locals[MODEL_PREFIXES];
    uint32_t slots[MODEL_PEERS];
    for (unsigned k = 0; k < n->peer_count; k++) {
        const struct model_node *peer = &world.node[n->peer_node[k]];
        slots[k] = k;
        specs[k] = (struct ky_peer_spec){.prefix = ip_of(&n->peer[k].base),
                                         .outer = ip_of(&peer->outer),
                                         .bits = bits_of(&n->peer[k])};
        memcpy(specs[k].mac, peer->mac, 6);
    }
    for (unsigned k = 0; k < n->own_count; k++)
        locals[k] = (struct ky_prefix){ip_of(&n->own[k].base), bits_of(&n->own[k])};
    struct ky_peers_spec spec = {.peers = specs,
                                 .slots = slots,
                                 .count = n->peer_count,
                                 .locals = locals,
                                 .local_count = n->own_count,
                                 .vni = world.vni,
                                 .port = 8472};
    memcpy(spec.mac, n->mac, 6);
    size_t duplicate;
    REQUIRE(ky_peers_build(&spec, &engine[i].peers, &duplicate) == 0);
}

static void open_node(unsigned i, bool tcp, bool udp, bool inject) {
    static const uint16_t limits[] = {128, 64, 63, 1};
    struct engine_node *n = &engine[i];
    memset(n, 0, sizeof *n);
    n->index = i;
    build_peers(i);
    REQUIRE(ky_runs_init(&n->encap.runs, limits[random_below(&rng, 4)], take_runs, n) == 0);
    n->encap.mtu = world.mtu;
    n->encap.ports = 16;
    n->encap.counters = &n->tx;
    n->encap.peer_counters = n->tx_peer;
    n->decap.vni = world.vni;
    n->decap.mtu = world.mtu;
    memcpy(n->decap.mac, world.node[i].mac, 6);
    n->decap.allow_unknown_sources = world.allow_unknown_sources;
    n->decap.no_inner_source_check = world.no_inner_source_check;
    n->decap.counters = &n->rx;
    n->decap.peer_counters = n->rx_peer;
    n->gro.write = take_write;
    n->gro.ctx = n;
    n->gro.counters = &n->rx;
    n->gro.tcp = tcp;
    n->gro.udp = udp;
    n->injected = -1;
    if (inject)
        open_inject(n);
}

static void open_world(void) {
    traffic_world(&rng, &world);
    bool tcp = !random_one_in(&rng, 5), udp = !random_one_in(&rng, 5),
         inject = random_one_in(&rng, 2);
    for (unsigned i = 0; i < world.nodes; i++)
        open_node(i, tcp, udp, inject);
    for (unsigned i = 0; i < TRAFFIC_FLOWS; i++)
        traffic_flow(&rng, &world, &flows[i]);
    memset(ports_seen, 0, sizeof ports_seen);
}

// Over all worlds.
static uint64_t total_counters[KY_COUNTER_COUNT], total_drops[KY_DROP_COUNT];

static void close_world(void) {
    for (unsigned i = 0; i < world.nodes; i++) {
        const struct ky_counters *sides[] = {&engine[i].tx, &engine[i].rx};
        for (unsigned k = 0; k < 2; k++) {
            for (unsigned c = 0; c < KY_COUNTER_COUNT; c++)
                total_counters[c] += ky_get((const _Atomic uint64_t *)sides[k] + c);
            for (unsigned d = 0; d < KY_DROP_COUNT; d++)
                total_drops[d] += ky_get(&sides[k]->drops[d]);
        }
        close_inject(&engine[i]);
        ky_runs_free(&engine[i].encap.runs);
        ky_peers_free(engine[i].peers);
    }
}

static void run_batch(void) {
    model_list_clear(&want_frames);
    model_list_clear(&got_frames);
    model_list_clear(&arrivals);
    model_list_clear(&want_packets);
    model_list_clear(&got_packets);
    model_wire_clear(&wire);
    refuse_super = random_one_in(&rng, 10) ? -EINVAL : 0;
    refuse_all = random_one_in(&rng, 40) ? -EIO : 0;
    if (random_one_in(&rng, 3))
        traffic_flow(&rng, &world, &flows[random_below(&rng, TRAFFIC_FLOWS)]);
    struct traffic_flow *f = flows;
    for (unsigned i = random_below(&rng, 64); i > 0; i--) {
        if (!random_one_in(&rng, 3)) // mostly the same again: then there is something to merge
            f = &flows[random_below(&rng, random_one_in(&rng, 2) ? 3 : TRAFFIC_FLOWS)];
        send_packet(f);
    }
    for (unsigned n = 0; n < world.nodes; n++)
        ky_runs_flush(&engine[n].encap.runs);
    receive_all();
    unfold_arrivals();
    same_lists("frame", &want_frames, &got_frames, KY_ENCAP_LEN);
    same_lists("packet", &want_packets, &got_packets, 0);
    for (unsigned n = 0; n < world.nodes; n++)
        same_counters(n);
}

static void report(void) {
    printf("%llu packets sent, %llu received, %llu of them merged\ndrops:",
           (unsigned long long)total_counters[KY_COUNTER_INDEX_tx_packets],
           (unsigned long long)total_counters[KY_COUNTER_INDEX_rx_packets],
           (unsigned long long)total_counters[KY_COUNTER_INDEX_rx_coalesced]);
    for (unsigned d = 0; d < KY_DROP_COUNT; d++)
        if (total_drops[d] != 0)
            printf(" %s %llu", ky_drop_names[d], (unsigned long long)total_drops[d]);
    printf("\n");
}

// That the traffic is random does not mean that it reaches everything; a run of the usual length must.
static void check_reach(void) {
    // udp_test, outer_checksum_test, and rawip_test for what only flannel's udp wire has
    static const enum ky_drop elsewhere[] = {
        KY_DROP_TX_BACKPRESSURE, KY_DROP_TX_SEND_ERROR, KY_DROP_RX_CHECKSUM, KY_DROP_TX_NOT_IPV4,
        KY_DROP_TX_TTL,          KY_DROP_RX_NOT_IPV4,   KY_DROP_RX_TTL};
    for (unsigned d = 0; d < KY_DROP_COUNT; d++) {
        bool expected = strncmp(ky_drop_names[d], "tx_no_route", 11) != 0; // the kernel's to find
        for (unsigned i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
            expected &= d != elsewhere[i];
        check_case("%s was never met", ky_drop_names[d]);
        CHECK(!expected || total_drops[d] > 0);
    }
    static const unsigned counters[] = {
        KY_COUNTER_INDEX_tx_superpackets,     KY_COUNTER_INDEX_tx_injected,
        KY_COUNTER_INDEX_tx_inject_fallbacks, KY_COUNTER_INDEX_rx_superpackets,
        KY_COUNTER_INDEX_rx_partial,          KY_COUNTER_INDEX_rx_coalesced,
        KY_COUNTER_INDEX_rx_ecn_marked,       KY_COUNTER_INDEX_rx_write_fallbacks};
    for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++) {
        check_case("%s stayed 0", ky_counter_names[counters[i]]);
        CHECK(total_counters[counters[i]] > 0);
    }
}

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed =
        argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec;
    unsigned long batches = argc > 2 ? strtoul(argv[2], NULL, 0) : DEFAULT_BATCHES;
    printf("seed %llu, %lu batches\n", (unsigned long long)seed, batches);
    fflush(stdout);
    rng.state = seed;
    wire.world = &world;
    wire.random = &rng;
    struct model_list *lists[] = {&want_frames,  &got_frames,  &arrivals,
                                  &want_packets, &got_packets, &wire.bytes};
    for (unsigned i = 0; i < 6; i++)
        model_list_init(lists[i]);
    engine = calloc(MODEL_NODES, sizeof *engine);
    REQUIRE(engine != NULL);
    for (batch = 0; batch < batches && check_failures() == 0; batch++) {
        if (batch % BATCHES_PER_WORLD == 0)
            open_world();
        run_batch();
        if (batch % BATCHES_PER_WORLD == BATCHES_PER_WORLD - 1 || batch + 1 == batches)
            close_world();
    }
    if (check_failures() > 0) {
        close_world();
        printf("again: model_test %llu %lu\n", (unsigned long long)seed, batch);
    }
    report();
    if (check_failures() == 0 && batches >= DEFAULT_BATCHES)
        check_reach();
    free(engine);
    for (unsigned i = 0; i < 6; i++)
        model_list_free(lists[i]);
    return check_report();
}
