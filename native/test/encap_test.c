// What goes out: the frame's header, segmentation, ECN, source ports, and each reason to refuse.
#include "../engine/encap.h"

#include <arpa/inet.h>

#include "check.h"
#include "oracle.h"
#include "random.h"

enum { VNI = 42, MTU = 1450, PORTS = 16, FRAMES = 2048, SLOTS = 4, ARENA = 8 << 20 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, mac_b[6] = {2, 0, 0, 0, 0, 0x0b};
static const uint8_t mac_c[6] = {2, 0, 0, 0, 0, 0x0c};

static struct ky_encap encap;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[SLOTS];
static struct ky_peers *peers;
static uint8_t packet[ORACLE_PACKET_MAX], payload[ORACLE_PACKET_MAX], arena[ARENA];

static struct frame {
    const struct ky_peer *peer;
    const uint8_t *bytes;
    uint32_t len;
    uint8_t port, tos;
} frames[FRAMES];
static unsigned frame_count;
static size_t arena_used;

static void take(void *ctx, const struct ky_run *runs, unsigned count) {
    (void)ctx;
    for (unsigned i = 0; i < count; i++)
        for (uint32_t at = 0; at < runs[i].len; at += runs[i].frame) {
            uint32_t left = runs[i].len - at, len = left < runs[i].frame ? left : runs[i].frame;
            REQUIRE(frame_count < FRAMES && arena_used + len <= ARENA);
            memcpy(arena + arena_used, runs[i].buf + at, len);
            frames[frame_count++] =
                (struct frame){runs[i].peer, arena + arena_used, len, runs[i].port, runs[i].tos};
            arena_used += len;
        }
}

// 10.2.0.0/24 and fd02::/64 behind B; 10.2.0.128/25, inside it, behind C. C's underlay is IPv6.
static void build_peers(void) {
    static const uint8_t b4[4] = {10, 2, 0, 0}, c4[4] = {10, 2, 0, 128}, b6[16] = {0xfd, 2};
    static const uint8_t outer_b[4] = {192, 0, 2, 2}, outer_c[16] = {0x20, 1, 0x0d, 0xb8};
    static const uint32_t slots[] = {0, 1, 2};
    struct ky_peer_spec specs[] = {
        {.prefix = ky_ip4(b4), .outer = ky_ip4(outer_b), .bits = KY_V4_BITS + 24},
        {.prefix = ky_ip6(b6), .outer = ky_ip4(outer_b), .bits = 64},
        {.prefix = ky_ip4(c4), .outer = ky_ip6(outer_c), .bits = KY_V4_BITS + 25}};
    memcpy(specs[0].mac, mac_b, 6);
    memcpy(specs[1].mac, mac_b, 6);
    memcpy(specs[2].mac, mac_c, 6);
    struct ky_peers_spec spec = {
        .peers = specs, .slots = slots, .count = 3, .vni = VNI, .port = 8472};
    memcpy(spec.mac, our_mac, 6);
    size_t duplicate;
    REQUIRE(ky_peers_build(&spec, &peers, &duplicate) == 0);
}

static void reset(void) {
    memset(&counters, 0, sizeof counters);
    memset(peer_counters, 0, sizeof peer_counters);
    encap.mtu = MTU;
    encap.ports = PORTS;
    encap.counters = &counters;
    encap.peer_counters = peer_counters;
    frame_count = 0;
    arena_used = 0;
}

static struct oracle_spec plain(unsigned version, uint8_t proto, size_t payload_len) {
    struct oracle_spec s = oracle_plain(version, proto, payload_len);
    s.payload = payload;
    return s;
}

// Encapsulates a copy without a byte to spare, and flushes.
static enum ky_drop push_bytes(const uint8_t *bytes, size_t len, struct ky_vnet vnet) {
    struct ky_inner in;
    uint8_t *exact = malloc(len + 1);
    REQUIRE(exact != NULL);
    memcpy(exact + 1, bytes, len);
    enum ky_drop reason = ky_encap_packet(&encap, peers, &vnet, exact + 1, len, &in);
    ky_runs_flush(&encap.runs);
    free(exact);
    return reason;
}

static enum ky_drop push(const struct oracle_spec *s, struct ky_vnet vnet) {
    return push_bytes(packet, oracle_build(packet, s), vnet);
}

static const struct ky_vnet no_offload = {0};

static void check_frame(const struct frame *f, const uint8_t *want, size_t len,
                        const uint8_t mac[6]) {
    if (!CHECK_EQ(f->len, KY_ENCAP_LEN + len))
        return;
    CHECK_EQ(oracle_get32(f->bytes), 0x08000000);
    CHECK_EQ(oracle_get32(f->bytes + 4), VNI << 8);
    CHECK_MEM(f->bytes + 8, mac, 6);
    CHECK_MEM(f->bytes + 14, our_mac, 6);
    CHECK_EQ(oracle_get16(f->bytes + 20), want[0] >> 4 == 4 ? 0x0800 : 0x86dd);
    CHECK_MEM(f->bytes + KY_ENCAP_LEN, want, len);
}

static void test_plain(void) {
    static const uint8_t protos[] = {ORACLE_TCP, ORACLE_UDP, ORACLE_ICMP, 132, 50};
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < sizeof protos; p++)
            for (unsigned size = 0; size <= 1390; size += 139) {
                struct oracle_spec s = plain(version, protos[p], size);
                reset();
                check_case("IPv%u, protocol %u, %u bytes", version, protos[p], size);
                CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
                size_t len = oracle_build(packet, &s);
                if (CHECK_EQ(frame_count, 1))
                    check_frame(&frames[0], packet, len, mac_b);
                unsigned slot = version == 6;
                CHECK_EQ(ky_get(&counters.tx_packets), 1);
                CHECK_EQ(ky_get(&counters.tx_bytes), len);
                CHECK_EQ(ky_get(&peer_counters[slot].packets), 1);
                CHECK_EQ(ky_get(&peer_counters[slot].bytes), len);
            }
}

static void test_longest_prefix(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP, 10);
    s.dst[3] = 130;
    reset();
    check_case("the longer prefix's peer");
    CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
    size_t len = oracle_build(packet, &s);
    if (CHECK_EQ(frame_count, 1)) {
        check_frame(&frames[0], packet, len, mac_c);
        CHECK_EQ(frames[0].peer->to.sa.sa_family, AF_INET6);
    }
    CHECK_EQ(ky_get(&peer_counters[2].packets), 1);
}

static void test_padding(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP, 10);
    size_t len = oracle_build(packet, &s);
    memset(packet + len, 0xee, 20);
    reset();
    check_case("bytes behind the packet are not sent");
    CHECK_EQ(push_bytes(packet, len + 20, no_offload), KY_DROP_NONE);
    if (CHECK_EQ(frame_count, 1))
        check_frame(&frames[0], packet, len, mac_b);
}

static void test_partial(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned udp = 0; udp < 2; udp++) {
            struct oracle_spec s = plain(version, udp ? ORACLE_UDP : ORACLE_TCP, 333);
            struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM,
                                .csum_start = version == 4 ? 20 : 40,
                                .csum_offset = udp ? 6 : 16};
            s.check = ORACLE_PARTIAL;
            reset();
            check_case("IPv%u, %s, checksum to be completed", version, udp ? "UDP" : "TCP");
            CHECK_EQ(push(&s, v), KY_DROP_NONE);
            s.check = ORACLE_COMPLETE;
            size_t len = oracle_build(packet, &s);
            if (CHECK_EQ(frame_count, 1))
                check_frame(&frames[0], packet, len, mac_b);
        }
}

static void test_ecn(void) {
    static const uint8_t outer[4] = {0, 1, 2, 2}; // see ecn_test
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned tos = 0; tos < 256; tos++) {
            struct oracle_spec s = plain(version, ORACLE_UDP, 10);
            s.tos = (uint8_t)tos;
            reset();
            check_case("IPv%u, TOS 0x%02x", version, tos);
            CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
            if (CHECK_EQ(frame_count, 1)) {
                CHECK_EQ(frames[0].tos, outer[tos & 3]);
                struct oracle_ip ip;
                CHECK(oracle_parse(frames[0].bytes + KY_ENCAP_LEN, frames[0].len - KY_ENCAP_LEN,
                                   &ip));
                CHECK_EQ(ip.tos, tos); // the inner one is as it was
            }
        }
}

// All packets of a flow leave by one port, segmented or not; flows spread over all ports.
static void test_ports(void) {
    unsigned used[PORTS] = {0};
    for (unsigned flow = 0; flow < 400; flow++) {
        struct oracle_spec s = plain(flow % 2 ? 4 : 6, ORACLE_TCP, 100);
        s.sport = (uint16_t)(1000 + flow);
        reset();
        check_case("flow %u", flow);
        CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
        s.tos = 3, s.flags = ORACLE_PSH | ORACLE_ACK, s.ttl = 1;
        CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
        s.payload_len = 5000, s.check = ORACLE_PARTIAL;
        struct ky_vnet v = {.flags = 1,
                            .gso_type = flow % 2 ? KY_VNET_GSO_TCPV4 : KY_VNET_GSO_TCPV6,
                            .gso_size = 1000,
                            .csum_start = flow % 2 ? 20 : 40,
                            .csum_offset = 16};
        CHECK_EQ(push(&s, v), KY_DROP_NONE);
        CHECK_EQ(frame_count, 7);
        for (unsigned i = 0; i < frame_count; i++) {
            CHECK(frames[i].port < PORTS);
            CHECK_EQ(frames[i].port, frames[0].port);
        }
        used[frames[0].port]++;
    }
    for (unsigned i = 0; i < PORTS; i++) {
        check_case("port %u", i);
        CHECK(used[i] > 5 && used[i] < 60); // 25 expected
    }
}

struct expected {
    unsigned i;
};

static void compare(void *ctx, const uint8_t *want, size_t len) {
    struct expected *e = ctx;
    uint8_t got[ORACLE_PACKET_MAX];
    if (!CHECK(e->i < frame_count))
        return;
    const struct frame *f = &frames[e->i++];
    struct oracle_ip ip;
    if (!CHECK_EQ(f->len, KY_ENCAP_LEN + len))
        return;
    memcpy(got, f->bytes + KY_ENCAP_LEN, len);
    REQUIRE(oracle_parse(got, len, &ip));
    CHECK(oracle_l4_sum_ok(got, &ip));
    oracle_complete(got, len); // TCP's zero may be spelled 0xffff
    CHECK_MEM(got, want, len);
}

static void test_superpackets(void) {
    static const size_t sizes[] = {1399, 1398, 10000, 60000, 65000};
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned udp = 0; udp < 2; udp++)
            for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                struct oracle_spec s = plain(version, udp ? ORACLE_UDP : ORACLE_TCP, sizes[i]);
                uint16_t mss = (uint16_t)(MTU - (version == 4 ? 20 : 40) - (udp ? 8 : 20));
                struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM,
                                    .gso_type = udp            ? KY_VNET_GSO_UDP_L4
                                                : version == 4 ? KY_VNET_GSO_TCPV4
                                                               : KY_VNET_GSO_TCPV6,
                                    .gso_size = mss,
                                    .csum_start = version == 4 ? 20 : 40,
                                    .csum_offset = udp ? 6 : 16};
                s.check = ORACLE_PARTIAL;
                reset();
                check_case("IPv%u, %s, %zu bytes", version, udp ? "UDP" : "TCP", sizes[i]);
                CHECK_EQ(push(&s, v), KY_DROP_NONE);
                size_t len = oracle_build(packet, &s), bytes = 0;
                struct expected e = {0};
                CHECK(oracle_segment(packet, len, mss, compare, &e));
                CHECK_EQ(e.i, frame_count);
                for (unsigned k = 0; k < frame_count; k++)
                    bytes += frames[k].len - KY_ENCAP_LEN;
                CHECK_EQ(ky_get(&counters.tx_superpackets), 1);
                CHECK_EQ(ky_get(&counters.tx_packets), frame_count);
                CHECK_EQ(ky_get(&counters.tx_bytes), bytes);
                CHECK_EQ(ky_get(&peer_counters[version == 6].packets), frame_count);
                CHECK_EQ(ky_get(&peer_counters[version == 6].bytes), bytes);
                v.gso_size++; // segments larger than the MTU
                reset();
                CHECK_EQ(push(&s, v), sizes[i] < mss + 1u ? KY_DROP_NONE : KY_DROP_TX_TOO_BIG);
            }
}

static void test_refusals(void) {
    static const struct {
        const char *to;
        enum ky_drop reason;
    } cases[] = {
        {"10.9.0.1", KY_DROP_TX_NO_PEER},          {"fd09::1", KY_DROP_TX_NO_PEER},
        {"::ffff:10.2.0.1", KY_DROP_TX_NO_PEER}, // IPv6, though written like B's
        {"224.0.0.1", KY_DROP_TX_MULTICAST},       {"239.255.255.255", KY_DROP_TX_MULTICAST},
        {"255.255.255.255", KY_DROP_TX_MULTICAST}, {"ff02::1", KY_DROP_TX_MULTICAST}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s = plain(strchr(cases[i].to, ':') ? 6 : 4, ORACLE_UDP, 10);
        REQUIRE(inet_pton(s.version == 4 ? AF_INET : AF_INET6, cases[i].to, s.dst) == 1);
        reset();
        check_case("to %s", cases[i].to);
        CHECK_EQ(push(&s, no_offload), cases[i].reason);
        CHECK_EQ(frame_count, 0);
        CHECK_EQ(ky_get(&counters.tx_packets), 0);
    }
    struct oracle_spec s = plain(4, ORACLE_UDP, 10);
    size_t len = oracle_build(packet, &s);
    reset();
    for (size_t cut = 0; cut < len; cut++) {
        check_case("cut to %zu", cut);
        CHECK_EQ(push_bytes(packet, cut, no_offload), KY_DROP_TX_NOT_IP);
    }
    packet[0] = 0x55;
    check_case("version 5");
    CHECK_EQ(push_bytes(packet, len, no_offload), KY_DROP_TX_NOT_IP);
    CHECK_EQ(frame_count, 0);
}

static void test_bad_offload(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP, 3000);
    struct ky_vnet good = {
        .flags = 1, .gso_type = 1, .gso_size = 1000, .csum_start = 20, .csum_offset = 16};
    struct ky_vnet bad[7] = {good, good, good, good, good, {0}, {0}};
    bad[0].gso_size = 0;
    bad[1].gso_type = KY_VNET_GSO_TCPV6;
    bad[2].gso_type = KY_VNET_GSO_UDP_L4;
    bad[3].csum_start = 24;
    bad[4].flags = 0;
    bad[5] = (struct ky_vnet){.flags = 1, .csum_start = 1400, .csum_offset = 49};
    bad[6] = (struct ky_vnet){.flags = 1, .csum_start = 0, .csum_offset = 2}; // in the IP header
    for (unsigned i = 0; i < 7; i++) {
        if (i == 5)
            s.payload_len = MTU - 40;
        reset();
        check_case("offload %u", i);
        CHECK_EQ(push(&s, bad[i]), KY_DROP_TX_BAD_OFFLOAD);
        CHECK_EQ(frame_count, 0);
        CHECK_EQ(ky_get(&counters.tx_packets), 0);
        CHECK_EQ(ky_get(&counters.tx_superpackets), 0);
    }
}

static void test_too_big(void) {
    static const struct {
        unsigned version;
        bool df;
        size_t len;
        enum ky_drop reason;
    } cases[] = {{4, true, MTU, KY_DROP_NONE},
                 {4, true, MTU + 1, KY_DROP_TX_TOO_BIG},
                 {4, false, MTU + 1, KY_DROP_NONE}, // the datagram may be fragmented
                 {4, false, 65507 - KY_ENCAP_LEN, KY_DROP_NONE},
                 {4, false, 65507 - KY_ENCAP_LEN + 1, KY_DROP_TX_TOO_BIG},
                 {4, false, 65535, KY_DROP_TX_TOO_BIG},
                 {6, false, MTU, KY_DROP_NONE},
                 {6, false, MTU + 1, KY_DROP_TX_TOO_BIG}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s =
            plain(cases[i].version, ORACLE_UDP, cases[i].len - (cases[i].version == 4 ? 28 : 48));
        s.df = cases[i].df;
        reset();
        check_case("IPv%u, %zu bytes, DF %d", cases[i].version, cases[i].len, cases[i].df);
        CHECK_EQ(push(&s, no_offload), cases[i].reason);
        CHECK_EQ(frame_count, cases[i].reason == KY_DROP_NONE);
    }
}

// Whatever the MTU, no frame is larger than a datagram can be.
static void test_largest_mtu(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (size_t len = 65480; len <= 65535; len++) {
            struct oracle_spec s = plain(version, ORACLE_UDP, len - (version == 4 ? 28 : 48));
            bool fits = KY_ENCAP_LEN + len <= KY_RUN_BYTES;
            reset();
            encap.mtu = 65535;
            check_case("MTU 65535, IPv%u, %zu bytes", version, len);
            CHECK_EQ(push(&s, no_offload), fits ? KY_DROP_NONE : KY_DROP_TX_TOO_BIG);
            CHECK_EQ(frame_count, fits);
            if (frame_count == 1)
                CHECK_EQ(frames[0].len, KY_ENCAP_LEN + len);
        }
}

static void test_fragments(void) {
    for (unsigned i = 0; i < 4; i++) {
        struct oracle_spec s = plain(i < 2 ? 4 : 6, ORACLE_UDP, 800);
        s.df = false;
        s.mf = i % 2 == 0;
        s.offset = s.mf ? 0 : 100;
        s.extensions[0] = 44;
        s.extension_count = 1;
        reset();
        check_case("fragment %u", i);
        CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
        size_t len = oracle_build(packet, &s);
        if (CHECK_EQ(frame_count, 1))
            check_frame(&frames[0], packet, len, mac_b);
    }
}

// Batches of several packets: order within a flow, nothing lost, over any number of flushes.
static void test_batches(struct random *r) {
    enum { FLOWS = 9 };
    for (int round = 0; round < 200; round++) {
        uint32_t sent[FLOWS] = {0}, got[FLOWS] = {0}, total = 0;
        reset();
        check_case("batch %d", round);
        for (unsigned i = 0, n = random_below(r, 150); i < n; i++) {
            unsigned flow = random_below(r, FLOWS);
            struct oracle_spec s = plain(flow % 2 ? 4 : 6, ORACLE_TCP, 0);
            s.sport = (uint16_t)(100 + flow);
            s.seq = sent[flow]++;
            s.payload_len = random_one_in(r, 2) ? 1000 : random_below(r, 1000);
            s.tos = (uint8_t)random_below(r, 4);
            struct ky_inner in;
            size_t len = oracle_build(packet, &s);
            CHECK_EQ(ky_encap_packet(&encap, peers, &no_offload, packet, len, &in), KY_DROP_NONE);
            total++;
        }
        ky_runs_flush(&encap.runs);
        CHECK_EQ(frame_count, total);
        for (unsigned i = 0; i < frame_count; i++) {
            struct oracle_ip ip;
            const uint8_t *p = frames[i].bytes + KY_ENCAP_LEN;
            REQUIRE(oracle_parse(p, frames[i].len - KY_ENCAP_LEN, &ip));
            unsigned flow = oracle_get16(p + ip.l4) - 100;
            REQUIRE(flow < FLOWS);
            CHECK_EQ(oracle_get32(p + ip.l4 + 4), got[flow]);
            got[flow]++;
        }
    }
}

int main(void) {
    struct random r = {.state = 7};
    random_fill(&r, payload, sizeof payload);
    build_peers();
    REQUIRE(ky_runs_init(&encap.runs, 64, take, NULL) == 0);
    test_plain();
    test_longest_prefix();
    test_padding();
    test_partial();
    test_ecn();
    test_ports();
    test_superpackets();
    test_refusals();
    test_bad_offload();
    test_too_big();
    test_largest_mtu();
    test_fragments();
    test_batches(&r);
    ky_runs_free(&encap.runs);
    ky_peers_free(peers);
    return check_report();
}
