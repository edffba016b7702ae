// Segmentation against a slow segmenter written from the RFCs.
#include "../engine/gso.h"

#include <errno.h>

#include "check.h"
#include "oracle.h"
#include "random.h"

enum { ROUTING = 43, DESTINATION = 60, FRAGMENT = 44 };

static uint8_t packet[ORACLE_PACKET_MAX], payload[ORACLE_PACKET_MAX];
static uint8_t made[ORACLE_PACKET_MAX + 16];

static struct ky_vnet vnet_for(const struct oracle_spec *s, size_t l4, uint16_t mss) {
    bool tcp = s->proto == ORACLE_TCP;
    return (struct ky_vnet){.flags = KY_VNET_NEEDS_CSUM,
                            .gso_type = !tcp              ? KY_VNET_GSO_UDP_L4
                                        : s->version == 4 ? KY_VNET_GSO_TCPV4
                                                          : KY_VNET_GSO_TCPV6,
                            .hdr_len = 0xffff, // not to be trusted
                            .gso_size = mss,
                            .csum_start = (uint16_t)l4,
                            .csum_offset = tcp ? 16 : 6};
}

struct compare {
    const struct ky_gso *gso;
    uint32_t i;
    uint32_t bytes;
};

// TCP's two zeros: an engine may store 0xffff where the sum is 0 (RFC 1624 3), both verify.
static void same_zero(uint8_t *p, size_t len) {
    struct oracle_ip ip;
    size_t at;
    if (oracle_parse(p, len, &ip) && (at = oracle_check_at(p, &ip)) != 0 &&
        ip.proto == ORACLE_TCP && oracle_get16(p + at) == 0xffff)
        oracle_put16(p + at, 0);
}

static void compare_segment(void *ctx, const uint8_t *want, size_t len) {
    struct compare *c = ctx;
    static uint8_t expected[ORACLE_PACKET_MAX];
    uint32_t i = c->i++;
    if (!CHECK(i < c->gso->count) || !CHECK_EQ(ky_gso_len(c->gso, i), len))
        return;
    memset(made, 0xa5, len + 16);
    ky_gso_write(c->gso, i, made);
    CHECK_EQ(made[len], 0xa5); // nothing behind the segment
    struct oracle_ip ip;
    if (CHECK(oracle_parse(made, len, &ip)))
        CHECK(oracle_l4_sum_ok(made, &ip) && oracle_ip_sum_ok(made));
    if (ip.proto == ORACLE_UDP)
        CHECK(oracle_get16(made + ip.l4 + 6) != 0); // 0 would say that there is no checksum
    memcpy(expected, want, len);
    same_zero(expected, len);
    same_zero(made, len);
    CHECK_MEM(made, expected, len);
    c->bytes += (uint32_t)len;
}

// The superpacket of the spec, cut at mss by both; the middle and last segments first, for segments
// may be written in any order.
static void check_cut(const struct oracle_spec *s, uint16_t mss, bool ecn) {
    size_t len = oracle_build(packet, s);
    struct ky_inner in;
    struct ky_gso gso;
    REQUIRE(ky_inner_parse(packet, len, &in) == 0);
    struct ky_vnet vnet = vnet_for(s, in.l4, mss);
    vnet.gso_type |= ecn ? KY_VNET_GSO_ECN : 0;
    if (!CHECK_EQ(ky_gso_open(&gso, packet, &in, &vnet), 0))
        return;
    CHECK_EQ(gso.payload, s->payload_len);
    if (gso.count > 2) {
        ky_gso_write(&gso, gso.count - 1, made);
        ky_gso_write(&gso, gso.count / 2, made);
    }
    struct compare c = {.gso = &gso};
    REQUIRE(oracle_segment(packet, len, mss, compare_segment, &c));
    CHECK_EQ(c.i, gso.count);
    CHECK_EQ(c.bytes, gso.payload + gso.count * gso.hdr);
}

static struct oracle_spec super(unsigned version, uint8_t proto, size_t payload_len) {
    struct oracle_spec s = oracle_plain(version, proto, payload_len);
    s.payload = payload;
    s.check = ORACLE_PARTIAL;
    return s;
}

static void test_sizes(void) {
    static const uint16_t sizes[] = {1, 2, 7, 99, 100, 1398, 1399, 8961};
    static const uint8_t protos[] = {ORACLE_TCP, ORACLE_UDP};
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < 2; p++)
            for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                uint16_t mss = sizes[i];
                const size_t lengths[] = {
                    0, 1, mss - 1u, mss, mss + 1u, 2u * mss, 2u * mss + 1, 5u * mss - 1, 7u * mss};
                for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
                    struct oracle_spec s = super(version, protos[p], lengths[k]);
                    check_case("IPv%u protocol %u, %zu by %u", version, protos[p], lengths[k], mss);
                    check_cut(&s, mss, false);
                }
            }
}

static void test_largest(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        struct oracle_spec s = super(version, ORACLE_TCP, 65535 - (version == 4 ? 40 : 60));
        check_case("IPv%u, 65535 bytes", version);
        check_cut(&s, 1398, false);
        check_cut(&s, 1, false);
        check_cut(&s, 65535, false);
        s = super(version, ORACLE_UDP, 65535 - (version == 4 ? 28 : 48));
        check_cut(&s, 1200, false);
        check_cut(&s, 1199, false);
    }
}

static void test_tcp_flags(void) {
    for (unsigned flags = 0; flags < 256; flags++)
        for (unsigned segments = 1; segments <= 3; segments++) {
            struct oracle_spec s = super(4, ORACLE_TCP, 100 * segments);
            s.flags = (uint8_t)flags;
            s.tos = 2;
            check_case("flags 0x%02x on %u segments", flags, segments);
            check_cut(&s, 100, (flags & ORACLE_CWR) != 0);
        }
}

// What the flags come to, said outright instead of by the oracle.
static void test_tcp_flags_by_hand(void) {
    struct oracle_spec s = super(4, ORACLE_TCP, 300);
    s.flags = ORACLE_ACK | ORACLE_PSH | ORACLE_FIN | ORACLE_CWR | ORACLE_ECE;
    size_t len = oracle_build(packet, &s);
    struct ky_inner in;
    struct ky_gso gso;
    struct ky_vnet vnet = vnet_for(&s, 20, 100);
    REQUIRE(ky_inner_parse(packet, len, &in) == 0 && ky_gso_open(&gso, packet, &in, &vnet) == 0);
    static const uint8_t want[] = {ORACLE_ACK | ORACLE_CWR | ORACLE_ECE, ORACLE_ACK | ORACLE_ECE,
                                   ORACLE_ACK | ORACLE_ECE | ORACLE_PSH | ORACLE_FIN};
    for (unsigned i = 0; i < 3; i++) {
        check_case("segment %u", i);
        ky_gso_write(&gso, i, made);
        CHECK_EQ(made[20 + 13], want[i]);
        CHECK_EQ(oracle_get32(made + 24), 1000000 + 100 * i);
        CHECK_EQ(oracle_get16(made + 4), 1000 + i);
        CHECK_EQ(oracle_get16(made + 2), 140);
    }
}

static void test_wraps(void) {
    struct oracle_spec s = super(4, ORACLE_TCP, 1000);
    s.id = 0xfffd;
    s.seq = 0xffffff00;
    check_case("identification and sequence number wrap");
    check_cut(&s, 100, false);
    for (unsigned ip_options = 0; ip_options <= 40; ip_options += 8)
        for (unsigned tcp_options = 0; tcp_options <= 40; tcp_options += 4) {
            s.ip_options = (uint8_t)ip_options;
            s.tcp_options = (uint8_t)tcp_options;
            s.tcp_option_value = 1;
            s.df = tcp_options & 8;
            check_case("IP options %u, TCP options %u", ip_options, tcp_options);
            check_cut(&s, 101, false);
        }
}

static void test_v6_extensions(void) {
    static const uint8_t kinds[] = {0, ROUTING, DESTINATION};
    for (unsigned pick = 0; pick < 27; pick++)
        for (unsigned p = 0; p < 2; p++) {
            struct oracle_spec s = super(6, p ? ORACLE_UDP : ORACLE_TCP, 777);
            s.extension_count = 3;
            s.extensions[0] = kinds[pick % 3];
            s.extensions[1] = kinds[pick / 3 % 3];
            s.extensions[2] = kinds[pick / 9];
            s.flow_label = 0xbeef1;
            s.tos = 0xff;
            check_case("extensions %u, protocol %u", pick, s.proto);
            check_cut(&s, 250, false);
        }
}

// With segments left in a routing header the checksum is over the final destination (RFC 8200 8.1),
// which the engine need not know: it is in the sum that the field holds.
static void test_v6_final_destination(void) {
    struct oracle_spec s = super(6, ORACLE_TCP, 500);
    s.extensions[0] = ROUTING;
    s.extension_count = 1;
    size_t len = oracle_build(packet, &s);
    struct oracle_ip ip;
    struct ky_inner in;
    struct ky_gso gso;
    REQUIRE(oracle_parse(packet, len, &ip));
    ip.dst[0] = 0x20, ip.dst[1] = 0x01;
    oracle_put16(packet + ip.l4 + 16, oracle_pseudo(&ip, ORACLE_TCP, len - ip.l4));
    struct ky_vnet vnet = vnet_for(&s, ip.l4, 200);
    REQUIRE(ky_inner_parse(packet, len, &in) == 0);
    check_case("routing header");
    if (!CHECK_EQ(ky_gso_open(&gso, packet, &in, &vnet), 0))
        return;
    for (unsigned i = 0; i < gso.count; i++) {
        struct oracle_ip got;
        ky_gso_write(&gso, i, made);
        REQUIRE(oracle_parse(made, ky_gso_len(&gso, i), &got));
        memcpy(got.dst, ip.dst, 16);
        CHECK(oracle_l4_sum_ok(made, &got));
    }
}

static void test_random(struct random *r) {
    for (int i = 0; i < 20000; i++) {
        struct oracle_spec s =
            super(random_one_in(r, 2) ? 4 : 6, random_one_in(r, 2) ? ORACLE_TCP : ORACLE_UDP,
                  random_below(r, random_one_in(r, 50) ? 60000 : 3000));
        uint16_t mss = (uint16_t)random_range(r, s.payload_len > 5000 ? 200 : 1, 2000);
        s.id = (uint16_t)random_next(r);
        s.seq = (uint32_t)random_next(r);
        s.flags = (uint8_t)random_next(r);
        s.tos = (uint8_t)random_next(r);
        s.tcp_options = (uint8_t)(random_below(r, 11) * 4);
        check_case("random %d", i);
        check_cut(&s, mss, false);
    }
}

static void refused(const char *what, const struct oracle_spec *s, const struct ky_vnet *vnet) {
    size_t len = oracle_build(packet, s);
    struct ky_inner in;
    struct ky_gso gso;
    check_case("%s", what);
    REQUIRE(ky_inner_parse(packet, len, &in) == 0);
    CHECK_EQ(ky_gso_open(&gso, packet, &in, vnet), -EINVAL);
}

static void test_contradictions(void) {
    struct oracle_spec tcp = super(4, ORACLE_TCP, 500), tcp6 = super(6, ORACLE_TCP, 500);
    struct oracle_spec udp = super(4, ORACLE_UDP, 500);
    struct ky_vnet v = vnet_for(&tcp, 20, 100);
    v.gso_size = 0;
    refused("gso_size 0", &tcp, &v);
    v = vnet_for(&tcp, 20, 100);
    v.flags = 0;
    refused("no NEEDS_CSUM", &tcp, &v);
    v = vnet_for(&tcp, 24, 100);
    refused("csum_start not at the L4 header", &tcp, &v);
    v = vnet_for(&tcp6, 20, 100);
    refused("TCPv6 on IPv4", &tcp, &v);
    v = vnet_for(&tcp, 40, 100);
    refused("TCPv4 on IPv6", &tcp6, &v);
    v = vnet_for(&udp, 20, 100);
    refused("UDP on TCP", &tcp, &v);
    v = vnet_for(&tcp, 20, 100);
    refused("TCP on UDP", &udp, &v);
    v.gso_type = 3;
    refused("UFO", &udp, &v);
    v.gso_type = 0x40;
    refused("an unknown gso_type", &udp, &v);
    v = vnet_for(&tcp, 20, 100);
    tcp.mf = true;
    tcp.df = false;
    refused("a fragment", &tcp, &v);
    struct oracle_spec icmp = super(4, ORACLE_ICMP, 500);
    refused("ICMP", &icmp, &v);
}

static void test_cut_headers(void) {
    struct oracle_spec s = super(4, ORACLE_TCP, 0);
    struct ky_vnet v = vnet_for(&s, 20, 100);
    oracle_build(packet, &s);
    for (unsigned len = 20; len < 40; len++) {
        struct ky_inner in;
        struct ky_gso gso;
        oracle_put16(packet + 2, len);
        check_case("TCP header cut to %u", len - 20);
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(ky_gso_open(&gso, packet, &in, &v), -EINVAL);
    }
    for (unsigned words = 0; words < 16; words++) {
        struct ky_inner in;
        struct ky_gso gso;
        size_t len = oracle_build(packet, &s);
        packet[32] = (uint8_t)(words << 4);
        check_case("data offset %u in a packet of 20 bytes of TCP", words);
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(ky_gso_open(&gso, packet, &in, &v), words == 5 ? 0 : -EINVAL);
    }
    s = super(4, ORACLE_UDP, 0);
    v = vnet_for(&s, 20, 100);
    oracle_build(packet, &s);
    for (unsigned len = 20; len < 28; len++) {
        struct ky_inner in;
        struct ky_gso gso;
        oracle_put16(packet + 2, len);
        check_case("UDP header cut to %u", len - 20);
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(ky_gso_open(&gso, packet, &in, &v), -EINVAL);
    }
}

static void test_complete(struct random *r) {
    for (int i = 0; i < 5000; i++) {
        struct oracle_spec s =
            super(random_one_in(r, 2) ? 4 : 6, random_one_in(r, 2) ? ORACLE_TCP : ORACLE_UDP,
                  random_below(r, 1500));
        size_t len = oracle_build(packet, &s);
        struct oracle_ip ip;
        REQUIRE(oracle_parse(packet, len, &ip));
        struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM,
                            .csum_start = (uint16_t)ip.l4,
                            .csum_offset = s.proto == ORACLE_TCP ? 16 : 6};
        check_case("complete %d", i);
        CHECK_EQ(ky_checksum_complete(packet, len, &v), 0);
        CHECK(oracle_l4_sum_ok(packet, &ip));
        CHECK(oracle_get16(packet + oracle_check_at(packet, &ip)) != 0);
    }
}

// The sum may come out as 0; then 0xffff is stored, which for UDP makes all the difference.
static void test_complete_to_zero(void) {
    struct oracle_spec s = super(4, ORACLE_UDP, 2);
    payload[0] = payload[1] = 0;
    size_t len = oracle_build(packet, &s);
    oracle_complete(packet, len);
    unsigned rest = oracle_get16(packet + 26); // ~sum: as payload it makes the sum 0xffff
    oracle_put16(packet + 28, rest);
    struct oracle_ip ip;
    REQUIRE(oracle_parse(packet, len, &ip));
    oracle_put16(packet + 26, oracle_pseudo(&ip, ORACLE_UDP, len - 20));
    struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM, .csum_start = 20, .csum_offset = 6};
    check_case("a checksum of zero");
    CHECK_EQ(ky_checksum_complete(packet, len, &v), 0);
    CHECK_EQ(oracle_get16(packet + 26), 0xffff);
}

static void test_complete_bounds(void) {
    for (unsigned start = 0; start < 70; start++)
        for (unsigned offset = 0; offset < 70; offset++) {
            uint8_t *exact = calloc(1, 64);
            REQUIRE(exact != NULL);
            struct ky_vnet v = {
                .flags = 1, .csum_start = (uint16_t)start, .csum_offset = (uint16_t)offset};
            check_case("csum_start %u, csum_offset %u of 64", start, offset);
            CHECK_EQ(ky_checksum_complete(exact, 64, &v), start + offset + 2 <= 64 ? 0 : -EINVAL);
            free(exact);
        }
    uint8_t bytes[64];
    struct ky_vnet v = {.flags = 1, .csum_start = 65535, .csum_offset = 65535};
    check_case("csum_start and csum_offset 65535");
    CHECK_EQ(ky_checksum_complete(bytes, 64, &v), -EINVAL);
}

int main(void) {
    struct random r = {.state = 3};
    random_fill(&r, payload, sizeof payload);
    test_sizes();
    test_largest();
    test_tcp_flags();
    test_tcp_flags_by_hand();
    test_wraps();
    test_v6_extensions();
    test_v6_final_destination();
    test_random(&r);
    test_contradictions();
    test_cut_headers();
    test_complete(&r);
    test_complete_to_zero();
    test_complete_bounds();
    return check_report();
}
