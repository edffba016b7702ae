// Flannel's udp wire in both directions: bare IPv4 packets, a hop at either end, and each reason to refuse
// that VXLAN does not have, or has in another place. What both wires share is in encap_test and decap_test.
#include "../engine/rawip.h"

#include "../engine/decap.h"
#include "../engine/encap.h"
#include "check.h"
#include "oracle.h"
#include "random.h"
#include "sink.h"

enum { MTU = 1472, FRAMES = 128, RUNS = 64, SLOTS = 2, ARENA = 8 << 20 };

static struct ky_encap encap;
static struct ky_decap decap;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[SLOTS];
static struct ky_gro gro;
static struct ky_peers *there, *here; // the sender's table and the receiver's
static struct sink *sink;
static struct ky_ip sender_ip, stranger_ip;
static uint8_t packet[ORACLE_PACKET_MAX], payload[ORACLE_PACKET_MAX], arena[ARENA];

static struct run {
    uint8_t *bytes;
    uint32_t len;
    uint16_t frame;
    uint8_t tos;
} runs[RUNS];
static unsigned run_count;
static size_t arena_used;

static void take(void *ctx, const struct ky_run *given, unsigned count) {
    (void)ctx;
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(run_count < RUNS && arena_used + given[i].len <= ARENA);
        runs[run_count++] = (struct run){memcpy(arena + arena_used, given[i].buf, given[i].len),
                                         given[i].len, given[i].frame, given[i].tos};
        arena_used += given[i].len;
    }
}

// 10.1.0.0/24 is the sender's, 10.2.0.0/24 the receiver's.
static void build_peers(void) {
    static const uint8_t a[4] = {10, 1, 0, 0}, b[4] = {10, 2, 0, 0}, any6[16];
    static const uint8_t outer_a[4] = {192, 0, 2, 1}, outer_b[4] = {192, 0, 2, 2};
    static const uint8_t stranger[4] = {192, 0, 2, 99};
    static const uint32_t slots[] = {0, 1};
    sender_ip = ky_ip4(outer_a);
    stranger_ip = ky_ip4(stranger);
    struct ky_peer_spec to_b[] = {
        {.prefix = ky_ip4(b), .outer = ky_ip4(outer_b), .bits = KY_V4_BITS + 24},
        {.prefix = ky_ip6(any6), .outer = ky_ip4(outer_b), .bits = 0}};
    struct ky_peer_spec to_a[] = {
        {.prefix = ky_ip4(a), .outer = sender_ip, .bits = KY_V4_BITS + 24}};
    struct ky_prefix local = {ky_ip4(b), KY_V4_BITS + 24};
    struct ky_peers_spec spec = {.peers = to_b, .slots = slots, .count = 2, .port = 8285};
    size_t duplicate;
    REQUIRE(ky_peers_build(&spec, &there, &duplicate) == 0);
    spec = (struct ky_peers_spec){.peers = to_a,
                                  .slots = slots,
                                  .count = 1,
                                  .locals = &local,
                                  .local_count = 1,
                                  .port = 8285};
    REQUIRE(ky_peers_build(&spec, &here, &duplicate) == 0);
}

static void reset(void) {
    memset(&counters, 0, sizeof counters);
    memset(peer_counters, 0, sizeof peer_counters);
    memset(&gro, 0, sizeof gro);
    gro.write = sink_take;
    gro.ctx = sink;
    gro.counters = &counters;
    sink_clear(sink);
    encap.wire = KY_WIRE_RAWIP;
    encap.mtu = MTU;
    encap.ports = 1;
    encap.counters = &counters;
    encap.peer_counters = peer_counters;
    decap = (struct ky_decap){
        .wire = KY_WIRE_RAWIP, .mtu = MTU, .counters = &counters, .peer_counters = peer_counters};
    run_count = 0;
    arena_used = 0;
}

static struct oracle_spec plain(uint8_t proto, size_t payload_len) {
    struct oracle_spec s = oracle_plain(4, proto, payload_len);
    s.payload = payload;
    return s;
}

static enum ky_drop push(const struct oracle_spec *s, struct ky_vnet vnet) {
    struct ky_inner in;
    size_t len = oracle_build(packet, s);
    enum ky_drop reason = ky_encap_packet(&encap, there, &vnet, packet, len, &in);
    ky_runs_flush(&encap.runs);
    return reason;
}

static const struct ky_vnet no_offload = {0};

// From a copy without a byte to spare.
static void receive_from(struct ky_ip from, const void *bytes, size_t len, uint16_t train,
                         uint8_t tos) {
    uint8_t *exact = malloc(len + 1);
    REQUIRE(exact != NULL);
    memcpy(exact + 1, bytes, len);
    struct ky_datagram d = {
        .buf = exact + 1, .len = (uint32_t)len, .gro = train, .tos = tos, .from = from};
    ky_decap_datagram(&decap, here, &d, &gro);
    ky_gro_flush(&gro);
    free(exact);
}

static void receive(const void *bytes, size_t len) {
    receive_from(sender_ip, bytes, len, 0, 0);
}

static void check_only_drop(enum ky_drop reason, uint64_t count) {
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        CHECK_EQ(ky_get(&counters.drops[i]), i == reason ? count : 0);
    if (reason != KY_DROP_NONE) {
        CHECK_EQ(sink->count, 0);
        CHECK_EQ(ky_get(&counters.rx_packets), 0);
        CHECK_EQ(ky_get(&peer_counters[0].packets), 0);
    }
}

// ---- both ways ----

// What leaves the TUN of one node comes out of the other's with a TTL of two less and is otherwise the
// same; between them it is the bare packet, with one less.
static void test_two_hops(void) {
    static const uint8_t protos[] = {ORACLE_TCP, ORACLE_UDP, ORACLE_ICMP, 132, 50};
    for (unsigned p = 0; p < sizeof protos; p++)
        for (unsigned size = 0; size <= 1400; size += 100)
            for (unsigned options = 0; options <= 40; options += 20) {
                struct oracle_spec s = plain(protos[p], size);
                s.ip_options = (uint8_t)options;
                s.payload_len = size > options ? size - options : 0;
                s.ttl = (uint8_t)(3 + (size * 7 + p) % 253);
                reset();
                check_case("protocol %u, %u bytes, %u of options", protos[p], size, options);
                CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
                s.ttl--;
                size_t len = oracle_build(packet, &s);
                if (!CHECK_EQ(run_count, 1) || !CHECK_EQ(runs[0].len, len))
                    continue;
                CHECK_MEM(runs[0].bytes, packet, len);
                CHECK_EQ(ky_get(&counters.tx_bytes), len);
                receive(runs[0].bytes, len);
                check_only_drop(KY_DROP_NONE, 0);
                s.ttl--;
                oracle_build(packet, &s);
                if (!CHECK_EQ(sink->count, 1) || !CHECK_EQ(sink->write[0].len, len))
                    continue;
                CHECK_MEM(sink->write[0].packet, packet, len);
                CHECK_EQ(ky_get(&counters.rx_bytes), len);
                CHECK_EQ(ky_get(&peer_counters[0].packets), 2); // one sent, one received
            }
}

// Every TTL with every protocol: the checksum follows by difference, across all its carries.
static void test_ttl(void) {
    for (unsigned proto = 0; proto < 256; proto += 5)
        for (unsigned ttl = 0; ttl < 256; ttl++) {
            struct oracle_spec s = plain((uint8_t)proto, 8);
            s.id = (uint16_t)(ttl * 257 + proto);
            s.ttl = (uint8_t)ttl;
            reset();
            check_case("protocol %u, TTL %u", proto, ttl);
            CHECK_EQ(push(&s, no_offload), ttl <= 1 ? KY_DROP_TX_TTL : KY_DROP_NONE);
            if (CHECK_EQ(run_count, ttl > 1) && ttl > 1) {
                CHECK_EQ(runs[0].bytes[8], ttl - 1);
                CHECK(oracle_ip_sum_ok(runs[0].bytes));
            }
            size_t len = oracle_build(packet, &s);
            reset();
            receive(packet, len);
            check_only_drop(ttl <= 1 ? KY_DROP_RX_TTL : KY_DROP_NONE, 1);
            if (CHECK_EQ(sink->count, ttl > 1) && ttl > 1) {
                CHECK_EQ(sink->write[0].packet[8], ttl - 1);
                CHECK(oracle_ip_sum_ok(sink->write[0].packet));
            }
        }
}

// A header whose checksum is wrong is not made right on the way.
static void test_bad_sum_stays(void) {
    struct oracle_spec s = plain(ORACLE_UDP, 100);
    s.bad_ip_sum = true;
    reset();
    check_case("a wrong header checksum");
    CHECK_EQ(push(&s, no_offload), KY_DROP_NONE);
    REQUIRE(run_count == 1);
    CHECK(!oracle_ip_sum_ok(runs[0].bytes));
    receive(runs[0].bytes, runs[0].len);
    if (CHECK_EQ(sink->count, 1))
        CHECK(!oracle_ip_sum_ok(sink->write[0].packet));
}

struct expected {
    unsigned run;
    uint32_t at;
};

static void compare(void *ctx, const uint8_t *want, size_t len) {
    struct expected *e = ctx;
    uint8_t got[ORACLE_PACKET_MAX];
    if (e->run < run_count && e->at == runs[e->run].len)
        e->run++, e->at = 0;
    if (!CHECK(e->run < run_count && e->at + len <= runs[e->run].len))
        return;
    memcpy(got, runs[e->run].bytes + e->at, len);
    e->at += (uint32_t)len;
    oracle_complete(got, len); // TCP's zero may be spelled 0xffff
    CHECK_MEM(got, want, len);
}

// A superpacket leaves as one run of packets that each have made the hop, and as the train that it is
// comes in again as one superpacket.
static void test_superpackets(void) {
    for (unsigned udp = 0; udp < 2; udp++)
        for (size_t size = 2 * MTU; size <= 60000; size += 9497) {
            struct oracle_spec s = plain(udp ? ORACLE_UDP : ORACLE_TCP, size);
            s.ttl = 64;
            s.tos = 1; // ECT(1): the outer TOS is not to follow it
            s.check = ORACLE_PARTIAL;
            uint16_t mss = (uint16_t)(MTU - (udp ? 28 : 40));
            struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM,
                                .gso_type = udp ? KY_VNET_GSO_UDP_L4 : KY_VNET_GSO_TCPV4,
                                .gso_size = mss,
                                .csum_start = 20,
                                .csum_offset = udp ? 6 : 16};
            reset();
            gro.tcp = gro.udp = true;
            check_case("%s, %zu bytes", udp ? "UDP" : "TCP", size);
            CHECK_EQ(push(&s, v), KY_DROP_NONE);
            CHECK_EQ(ky_get(&counters.tx_packets), (size + mss - 1) / mss);
            s.ttl--;
            size_t len = oracle_build(packet, &s);
            struct expected e = {0};
            CHECK(oracle_segment(packet, len, mss, compare, &e));
            if (!CHECK_EQ(run_count, 1))
                continue;
            CHECK_EQ(e.at, runs[0].len);
            CHECK_EQ(runs[0].frame, MTU);
            CHECK_EQ(runs[0].tos, 0);
            receive_from(sender_ip, runs[0].bytes, runs[0].len, runs[0].frame, 0);
            check_only_drop(KY_DROP_NONE, 0);
            CHECK_EQ(ky_get(&counters.rx_packets), (size + mss - 1) / mss);
            if (!CHECK_EQ(sink->count, 1) || !CHECK_EQ(sink->write[0].len, len))
                continue;
            CHECK_EQ(sink->write[0].vnet.gso_size, mss);
            CHECK_EQ(sink->write[0].packet[8], 62);
            CHECK_MEM(sink->write[0].packet + len - size, payload, size);
        }
}

// Packets of many flows and one size are one run: flannel's proxy has one port, and so has this wire.
static void test_one_run(void) {
    reset();
    check_case("equal packets of many flows");
    for (unsigned flow = 0; flow < 40; flow++) {
        struct oracle_spec s = plain(ORACLE_UDP, 100);
        s.sport = (uint16_t)(1000 + flow);
        s.tos = (uint8_t)(flow & 3);
        struct ky_inner in;
        size_t len = oracle_build(packet, &s);
        CHECK_EQ(ky_encap_packet(&encap, there, &no_offload, packet, len, &in), KY_DROP_NONE);
    }
    ky_runs_flush(&encap.runs);
    CHECK_EQ(run_count, 1);
    CHECK_EQ(runs[0].len, 40 * 128);
    CHECK_EQ(runs[0].frame, 128);
}

// ---- what is refused ----

static void test_sending_refused(void) {
    static const uint8_t to_all[16] = {0xff, 2}, to_one[16] = {0xfd, 9};
    struct oracle_spec s = oracle_plain(6, ORACLE_UDP, 10);
    reset();
    check_case("IPv6, though there is a peer for it");
    memcpy(s.dst, to_one, 16);
    CHECK_EQ(push(&s, no_offload), KY_DROP_TX_NOT_IPV4);
    check_case("IPv6 multicast");
    memcpy(s.dst, to_all, 16);
    CHECK_EQ(push(&s, no_offload), KY_DROP_TX_MULTICAST);
    check_case("no peer");
    s = plain(ORACLE_UDP, 10);
    s.dst[1] = 9;
    s.ttl = 1; // flannel asks its routes first
    CHECK_EQ(push(&s, no_offload), KY_DROP_TX_NO_PEER);
    CHECK_EQ(run_count, 0);
    for (unsigned df = 0; df < 2; df++)
        for (size_t len = MTU; len <= MTU + 1; len++) {
            s = plain(ORACLE_UDP, len - 28);
            s.df = df;
            check_case("%zu bytes, DF %u", len, df);
            CHECK_EQ(push(&s, no_offload), len > MTU && df ? KY_DROP_TX_TOO_BIG : KY_DROP_NONE);
        }
    encap.mtu = 65535;
    for (size_t len = KY_RUN_BYTES; len <= KY_RUN_BYTES + 1; len++) {
        s = plain(ORACLE_UDP, len - 28);
        check_case("%zu bytes", len);
        CHECK_EQ(push(&s, no_offload), len > KY_RUN_BYTES ? KY_DROP_TX_TOO_BIG : KY_DROP_NONE);
    }
}

// What could not be sent is unchanged: an ICMP error quotes it.
static void test_refused_is_unchanged(void) {
    struct oracle_spec s = plain(ORACLE_UDP, 10);
    uint8_t before[64];
    s.ttl = 1;
    size_t len = oracle_build(before, &s);
    check_case("a used-up packet");
    reset();
    CHECK_EQ(push(&s, no_offload), KY_DROP_TX_TTL);
    CHECK_MEM(packet, before, len);
}

static void test_receiving_refused(void) {
    struct oracle_spec s = plain(ORACLE_UDP, 100), with;
    size_t len = oracle_build(packet, &s);
    for (size_t cut = 0; cut < len; cut++) {
        reset();
        check_case("cut to %zu", cut);
        receive(packet, cut);
        check_only_drop(cut < 20 ? KY_DROP_RX_SHORT : KY_DROP_RX_INNER_MALFORMED, 1);
    }
    reset();
    check_case("a byte behind the packet");
    receive(packet, len + 1);
    check_only_drop(KY_DROP_RX_INNER_MALFORMED, 1);
    for (unsigned version = 0; version < 16; version++) {
        len = oracle_build(packet, &s);
        packet[0] = (uint8_t)(version << 4 | 5);
        reset();
        check_case("version %u", version);
        receive(packet, len);
        check_only_drop(version == 4 ? KY_DROP_NONE : KY_DROP_RX_NOT_IPV4, 1);
    }
    packet[0] = 0x44;
    reset();
    check_case("a header of 16 bytes");
    receive(packet, len);
    check_only_drop(KY_DROP_RX_INNER_MALFORMED, 1);
    packet[0] = 0x45;
    reset();
    check_case("an outer source without a lease");
    receive_from(stranger_ip, packet, len, 0, 0);
    check_only_drop(KY_DROP_RX_UNKNOWN_SOURCE, 1);
    with = s, with.src[1] = 7;
    len = oracle_build(packet, &with);
    reset();
    check_case("a source outside the peer's subnet");
    receive(packet, len);
    check_only_drop(KY_DROP_RX_INNER_SOURCE, 1);
    with = s, with.dst[1] = 7;
    len = oracle_build(packet, &with);
    reset();
    check_case("a destination outside ours");
    receive(packet, len);
    check_only_drop(KY_DROP_RX_NOT_LOCAL, 1);
    with = s, with.src[0] = 127;
    len = oracle_build(packet, &with);
    reset();
    check_case("a source of 127/8");
    receive(packet, len);
    check_only_drop(KY_DROP_RX_MARTIAN, 1);
}

// A train's first packet cannot swallow the others by the length it gives itself: that sign of a
// superpacket is VXLAN's. Nor is a checksum field that holds the pseudo-header's sum one of a kernel.
static void test_not_from_a_kernel(void) {
    struct oracle_spec s = plain(ORACLE_UDP, 100);
    size_t len = oracle_build(packet, &s);
    oracle_build(packet + len, &s);
    oracle_put16(packet + 2, (unsigned)(2 * len));
    reset();
    check_case("a first packet as long as its train");
    receive_from(sender_ip, packet, 2 * len, (uint16_t)len, 0);
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_RX_INNER_MALFORMED]), 1);
    CHECK_EQ(ky_get(&counters.rx_packets), 1);
    oracle_build(packet, &s);
    packet[KY_ENCAP_LEN] = 0x45;
    oracle_put16(packet + KY_ENCAP_LEN + 2, (unsigned)(2 * len - KY_ENCAP_LEN));
    reset();
    check_case("a first packet that looks like a VXLAN frame as long as its train");
    receive_from(sender_ip, packet, 2 * len, (uint16_t)len, 0);
    check_only_drop(KY_DROP_NONE, 0);
    CHECK_EQ(ky_get(&counters.rx_packets), 2);
    s.check = ORACLE_PARTIAL;
    len = oracle_build(packet, &s);
    reset();
    check_case("a checksum that was left open");
    receive(packet, len);
    CHECK_EQ(ky_get(&counters.rx_partial), 0);
    if (CHECK_EQ(sink->count, 1)) {
        CHECK_EQ(sink->write[0].vnet.flags, 0); // the kernel judges it, and drops it
        CHECK_EQ(oracle_get16(sink->write[0].packet + 26), oracle_get16(packet + 26));
    }
}

// RFC 6040 figure 4. Flannel's proxy sends outer 0, which changes nothing.
static void test_ecn(void) {
    for (unsigned outer = 0; outer < 4; outer++)
        for (unsigned inner = 0; inner < 4; inner++) {
            struct oracle_spec s = plain(ORACLE_UDP, 10);
            s.tos = (uint8_t)inner;
            size_t len = oracle_build(packet, &s);
            reset();
            check_case("ECN %u outside, %u inside", outer, inner);
            receive_from(sender_ip, packet, len, 0, (uint8_t)outer);
            if (outer == 3 && inner == 0) {
                check_only_drop(KY_DROP_RX_ECN, 1);
                continue;
            }
            check_only_drop(KY_DROP_NONE, 0);
            if (!CHECK_EQ(sink->count, 1))
                continue;
            CHECK_EQ(sink->write[0].packet[1], outer == 3                 ? 3
                                               : outer == 1 && inner == 2 ? 1
                                                                          : inner);
            CHECK(oracle_ip_sum_ok(sink->write[0].packet));
        }
}

int main(void) {
    struct random r = {.state = 17};
    random_fill(&r, payload, sizeof payload);
    build_peers();
    sink = sink_new();
    REQUIRE(sink != NULL && ky_runs_init(&encap.runs, 128, take, NULL) == 0);
    test_two_hops();
    test_ttl();
    test_bad_sum_stays();
    test_superpackets();
    test_one_run();
    test_sending_refused();
    test_refused_is_unchanged();
    test_receiving_refused();
    test_not_from_a_kernel();
    test_ecn();
    ky_runs_free(&encap.runs);
    ky_peers_free(there);
    ky_peers_free(here);
    sink_free(sink);
    return check_report();
}
