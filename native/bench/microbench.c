#include "microbench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/bytes.h"
#include "../engine/checksum.h"
#include "../engine/decap.h"
#include "../engine/encap.h"
#include "../engine/peers.h"

enum {
    MSS = 1398, // inner TCP payload at MTU 1450 with timestamps
    SEGMENTS = 43,
    TCP_HDR = 52, // IPv4 and TCP with timestamps
    SUPER = TCP_HDR + MSS * SEGMENTS,
    FRAME = KY_ENCAP_LEN + TCP_HDR + MSS,
    SMALL = 28 + 64, // UDP of 64 bytes
};

static struct state {
    struct ky_peers *one, *many;
    struct ky_encap encap;
    struct ky_decap decap;
    struct ky_gro gro;
    struct ky_counters counters;
    struct ky_peer_counters peer_counters[65536];
    uint8_t super[SUPER], small[SMALL];
    uint8_t train[FRAME * SEGMENTS];
} *state;

static void no_send(void *ctx, const struct ky_run *runs, unsigned count) {
    (void)ctx;
    (void)runs;
    (void)count;
}

static int no_write(void *ctx, const struct iovec *iov, int n) {
    (void)ctx;
    (void)iov;
    (void)n;
    return 0;
}

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

// 10.x.y.0/24 for every peer, each behind 192.168.x.y.
static int build(struct ky_peers **out, uint32_t count, struct ky_ip local) {
    struct ky_peer_spec *peers = calloc(count, sizeof *peers);
    uint32_t *slots = calloc(count, sizeof *slots);
    if (peers == NULL || slots == NULL) {
        free(peers);
        free(slots);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t inner[4] = {10, (uint8_t)(i >> 8), (uint8_t)i, 0};
        uint8_t outer[4] = {192, 168, (uint8_t)(i >> 8), (uint8_t)i};
        slots[i] = i;
        peers[i] = (struct ky_peer_spec){
            .prefix = ky_ip4(inner), .outer = ky_ip4(outer), .bits = KY_V4_BITS + 24};
        memcpy(peers[i].mac, peer_mac, 6);
    }
    struct ky_prefix locals = {.ip = local, .bits = KY_V4_BITS + 24};
    struct ky_peers_spec spec = {.peers = peers,
                                 .slots = slots,
                                 .count = count,
                                 .locals = &locals,
                                 .local_count = 1,
                                 .vni = 1,
                                 .port = 8472};
    memcpy(spec.mac, our_mac, 6);
    size_t duplicate;
    int err = ky_peers_build(&spec, out, &duplicate);
    free(peers);
    free(slots);
    return err;
}

static void write_ipv4(uint8_t *p, uint16_t len, uint8_t proto) {
    static const uint8_t src[4] = {10, 0, 9, 9}, dst[4] = {10, 0, 0, 5};
    memset(p, 0, 20);
    p[0] = 0x45;
    ky_put_be16(p + 2, len);
    p[6] = 0x40;
    p[8] = 64;
    p[9] = proto;
    memcpy(p + 12, src, 4);
    memcpy(p + 16, dst, 4);
    ky_store16(p + 10, (uint16_t)~ky_fold(ky_sum(p, 20, 0)));
}

static void write_partial(uint8_t *p, uint16_t len, uint8_t proto) {
    struct ky_inner in = {.version = 4, .proto = proto};
    ky_store16(p + 20 + ky_l4_check_offset(proto), ky_pseudo(p, &in, len - 20u));
}

static const struct ky_vnet super_vnet = {.flags = KY_VNET_NEEDS_CSUM,
                                          .gso_type = KY_VNET_GSO_TCPV4,
                                          .hdr_len = TCP_HDR,
                                          .gso_size = MSS,
                                          .csum_start = 20,
                                          .csum_offset = 16};

static void keep_train(void *ctx, const struct ky_run *runs, unsigned count) {
    (void)count;
    memcpy(((struct state *)ctx)->train, runs[0].buf, sizeof state->train);
}

static void write_packets(struct state *s) {
    write_ipv4(s->super, SUPER, IPPROTO_TCP);
    s->super[20 + 12] = (TCP_HDR - 20) / 4 << 4;
    s->super[20 + 13] = 0x10;
    write_partial(s->super, SUPER, IPPROTO_TCP);
    write_ipv4(s->small, SMALL, IPPROTO_UDP);
    ky_put_be16(s->small + 24, SMALL - 20);
    write_partial(s->small, SMALL, IPPROTO_UDP);
}

// What a peer would send us: our own encapsulation, readdressed.
static void write_train(struct state *s) {
    struct ky_inner inner;
    s->encap.runs.send = keep_train;
    s->encap.runs.ctx = s;
    ky_encap_packet(&s->encap, s->one, &super_vnet, s->super, SUPER, &inner);
    ky_runs_flush(&s->encap.runs);
    s->encap.runs.send = no_send;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        memcpy(s->train + i * FRAME + 8, our_mac, 6);
        memcpy(s->train + i * FRAME + 14, peer_mac, 6);
    }
}

int ky_microbench_init(void) {
    if (state != NULL)
        return 0;
    struct state *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    static const uint8_t to[4] = {10, 0, 0, 0};
    int err = build(&s->one, 1, ky_ip4(to));
    if (err == 0)
        err = build(&s->many, 65536, ky_ip4(to));
    if (err == 0)
        err = ky_runs_init(&s->encap.runs, KY_RUN_FRAMES_MAX, no_send, NULL);
    if (err != 0)
        return err;
    s->encap.mtu = 1450;
    s->encap.ports = 16;
    s->encap.counters = &s->counters;
    s->encap.peer_counters = s->peer_counters;
    s->decap = (struct ky_decap){.vni = 1,
                                 .mtu = 1450,
                                 .no_inner_source_check = true,
                                 .counters = &s->counters,
                                 .peer_counters = s->peer_counters};
    memcpy(s->decap.mac, our_mac, 6);
    s->gro.write = no_write;
    s->gro.counters = &s->counters;
    s->gro.tcp = s->gro.udp = true;
    state = s;
    write_packets(s);
    write_train(s);
    return 0;
}

static void run_sum(uint32_t n) {
    volatile uint16_t sink;
    for (uint32_t i = 0; i < n; i++)
        sink = ky_fold(ky_sum(state->super, SUPER, i));
    (void)sink;
}

static void run_sum_scalar(uint32_t n) {
    volatile uint16_t sink;
    for (uint32_t i = 0; i < n; i++)
        sink = ky_fold(ky_sum_scalar(state->super, SUPER, i));
    (void)sink;
}

static void run_find(const struct ky_peers *peers, uint32_t n, uint32_t mask) {
    volatile const struct ky_peer *sink;
    uint32_t x = 1;
    for (uint32_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u; // Numerical Recipes' LCG
        uint32_t peer = x >> 16 & mask;
        uint8_t ip[4] = {10, (uint8_t)(peer >> 8), (uint8_t)peer, 7};
        sink = ky_peers_find(peers, ky_ip4(ip));
    }
    (void)sink;
}

static void run_find_one(uint32_t n) {
    run_find(state->one, n, 0);
}

static void run_find_many(uint32_t n) {
    run_find(state->many, n, 0xffff);
}

static void run_encap(uint8_t *pkt, size_t len, const struct ky_vnet *vnet, uint32_t n) {
    struct ky_inner inner;
    for (uint32_t i = 0; i < n; i++)
        ky_encap_packet(&state->encap, state->one, vnet, pkt, len, &inner);
    ky_runs_flush(&state->encap.runs);
}

static void run_encap_super(uint32_t n) {
    run_encap(state->super, SUPER, &super_vnet, n);
}

static void run_encap_small(uint32_t n) {
    static const struct ky_vnet none = {0};
    run_encap(state->small, SMALL, &none, n);
}

static void run_decap(uint32_t n) {
    static const uint8_t from[4] = {192, 168, 0, 0};
    struct ky_datagram d = {
        .buf = state->train, .len = sizeof state->train, .gro = FRAME, .from = ky_ip4(from)};
    for (uint32_t i = 0; i < n; i++) {
        ky_decap_datagram(&state->decap, state->one, &d, &state->gro);
        ky_gro_flush(&state->gro);
    }
}

const struct ky_microbench ky_microbenches[] = {
    {"checksum 60 KB", SUPER, run_sum},
    {"checksum 60 KB, scalar", SUPER, run_sum_scalar},
    {"lookup, 1 peer", 0, run_find_one},
    {"lookup, 65536 peers", 0, run_find_many},
    {"encap 60 KB TCP superpacket into 43 frames", SUPER, run_encap_super},
    {"encap 64 B UDP packet", SMALL, run_encap_small},
    {"decap and coalesce a train of 43 TCP frames", SUPER, run_decap},
};

const unsigned ky_microbench_count = sizeof ky_microbenches / sizeof *ky_microbenches;
