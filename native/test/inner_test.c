// The decoder of inner packets: what it says of well-formed ones, and that lies do not pass.
#include "../engine/inner.h"

#include <errno.h>

#include "../engine/bytes.h"
#include "check.h"
#include "oracle.h"
#include "random.h"

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, NO_NEXT = 59, DESTINATION = 60 };

static uint8_t packet[ORACLE_PACKET_MAX + 1];

// A copy without a byte to spare, so that the sanitizer sees a read beyond it.
static int parse_exact(const uint8_t *p, size_t len, struct ky_inner *in) {
    uint8_t *copy = malloc(len + 1);
    REQUIRE(copy != NULL);
    memcpy(copy + 1, p, len);
    int err = ky_inner_parse(copy + 1, len, in);
    if (err == 0) {
        (void)ky_inner_flow(copy + 1, in);
        (void)ky_pseudo(copy + 1, in, in->len - in->l4);
    }
    free(copy);
    return err;
}

static void check_same(const uint8_t *p, size_t len) {
    struct ky_inner in;
    struct oracle_ip ip;
    bool want = oracle_parse(p, len, &ip);
    if (!CHECK_EQ(parse_exact(p, len, &in), want ? 0 : -EINVAL) || !want)
        return;
    CHECK_EQ(in.version, ip.version);
    CHECK_EQ(in.len, ip.len);
    CHECK_EQ(in.l4, ip.l4);
    CHECK_EQ(in.proto, ip.proto);
    CHECK_EQ(in.tos, ip.tos);
    CHECK_EQ(in.fragment, ip.fragment);
    CHECK_EQ(in.extended, ip.extended);
    struct ky_ip src = ip.version == 4 ? ky_ip4(ip.src) : ky_ip6(ip.src);
    struct ky_ip dst = ip.version == 4 ? ky_ip4(ip.dst) : ky_ip6(ip.dst);
    CHECK(ky_ip_equal(in.src, src));
    CHECK(ky_ip_equal(in.dst, dst));
    CHECK_EQ(ky_ip_is4(in.src), ip.version == 4);
    uint8_t stored[2];
    ky_store16(stored, ky_pseudo(p, &in, in.len - in.l4));
    CHECK_EQ(oracle_get16(stored), oracle_pseudo(&ip, ip.proto, ip.len - ip.l4));
}

static void test_v4_options(void) {
    for (unsigned options = 0; options <= 40; options += 4) {
        struct oracle_spec s = oracle_plain(4, ORACLE_TCP, 10);
        s.ip_options = (uint8_t)options;
        s.tos = 0xb9;
        size_t len = oracle_build(packet, &s);
        check_case("options %u", options);
        check_same(packet, len);
        struct ky_inner in;
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(in.l4, 20 + options);
        CHECK_EQ(in.proto, 6);
        CHECK_EQ(in.tos, 0xb9);
        CHECK_EQ(in.extended, options > 0);
    }
}

static void test_v4_lies(void) {
    struct oracle_spec s = oracle_plain(4, ORACLE_UDP, 30);
    size_t len = oracle_build(packet, &s);
    struct ky_inner in;
    check_case("as built");
    CHECK_EQ(parse_exact(packet, len, &in), 0);
    for (unsigned ihl = 0; ihl < 16; ihl++) {
        check_case("IHL %u", ihl);
        packet[0] = (uint8_t)(0x40 + ihl);
        check_same(packet, len);
        CHECK_EQ(ky_inner_parse(packet, len, &in), ihl < 5 || ihl * 4 > len ? -EINVAL : 0);
    }
    packet[0] = 0x45;
    for (unsigned total = 0; total < 100; total++) {
        check_case("total length %u of %zu", total, len);
        oracle_put16(packet + 2, total);
        check_same(packet, len);
        CHECK_EQ(ky_inner_parse(packet, len, &in), total < 20 || total > len ? -EINVAL : 0);
    }
    oracle_put16(packet + 2, 65535);
    check_case("total length 65535");
    CHECK_EQ(ky_inner_parse(packet, len, &in), -EINVAL);
}

static void test_truncated(unsigned version) {
    struct oracle_spec s = oracle_plain(version, ORACLE_TCP, 20);
    size_t len = oracle_build(packet, &s);
    struct ky_inner in;
    for (size_t cut = 0; cut < len; cut++) {
        check_case("IPv%u cut to %zu", version, cut);
        CHECK_EQ(parse_exact(packet, cut, &in), -EINVAL);
    }
    for (size_t pad = 0; pad < 40; pad++) {
        check_case("IPv%u and %zu bytes of padding", version, pad);
        CHECK_EQ(parse_exact(packet, len + pad, &in), 0);
        CHECK_EQ(in.len, len);
    }
}

static void test_versions(void) {
    struct oracle_spec s = oracle_plain(4, ORACLE_TCP, 40);
    size_t len = oracle_build(packet, &s);
    struct ky_inner in;
    for (unsigned version = 0; version < 16; version++) {
        packet[0] = (uint8_t)(version << 4 | 5);
        check_case("version %u", version);
        if (version != 4 && version != 6)
            CHECK_EQ(ky_inner_parse(packet, len, &in), -EINVAL);
        check_same(packet, len);
    }
    check_case("nothing");
    CHECK_EQ(ky_inner_parse(packet, 0, &in), -EINVAL);
}

static void test_v4_fragments(void) {
    static const struct {
        bool df, mf;
        uint16_t offset;
        bool fragment;
    } cases[] = {{false, false, 0, false}, {true, false, 0, false},  {false, true, 0, true},
                 {false, false, 1, true},  {false, true, 100, true}, {true, false, 0x1fff, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s = oracle_plain(4, ORACLE_UDP, 16);
        s.df = cases[i].df;
        s.mf = cases[i].mf;
        s.offset = cases[i].offset;
        size_t len = oracle_build(packet, &s);
        check_case("fragment case %zu", i);
        check_same(packet, len);
        struct ky_inner in;
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(in.fragment, cases[i].fragment);
    }
}

static void test_v6_chains(void) {
    static const uint8_t kinds[] = {HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT};
    for (unsigned count = 0; count <= 4; count++)
        for (unsigned pick = 0; pick < 1u << (2 * count); pick++) {
            struct oracle_spec s = oracle_plain(6, ORACLE_TCP, 5);
            bool fragment = false;
            s.extension_count = count;
            s.mf = true; // first fragments: what follows their header is still a chain
            for (unsigned i = 0; i < count; i++) {
                s.extensions[i] = kinds[pick >> (2 * i) & 3];
                fragment |= s.extensions[i] == FRAGMENT;
            }
            size_t len = oracle_build(packet, &s);
            check_case("%u extension headers, choice %u", count, pick);
            check_same(packet, len);
            struct ky_inner in;
            REQUIRE(ky_inner_parse(packet, len, &in) == 0);
            CHECK_EQ(in.l4, 40 + 8 * count);
            CHECK_EQ(in.proto, 6);
            CHECK_EQ(in.extended, count > 0);
            CHECK_EQ(in.fragment, fragment);
            for (size_t cut = 40; cut < len; cut++) { // a chain that runs out of the packet
                oracle_put16(packet + 4, (unsigned)(cut - 40));
                check_case("%u extension headers, choice %u, payload length %zu", count, pick,
                           cut - 40);
                check_same(packet, cut);
            }
        }
}

static void test_v6_extension_length(void) {
    for (unsigned length = 0; length < 256; length++) {
        struct oracle_spec s = oracle_plain(6, ORACLE_UDP, 64);
        s.extensions[0] = DESTINATION;
        s.extension_count = 1;
        size_t len = oracle_build(packet, &s);
        packet[41] = (uint8_t)length;
        check_case("header extension length %u", length);
        check_same(packet, len);
    }
}

static void test_v6_later_fragment(void) {
    struct oracle_spec s = oracle_plain(6, DESTINATION, 32);
    s.extensions[0] = FRAGMENT;
    s.extension_count = 1;
    s.offset = 181;
    size_t len = oracle_build(packet, &s);
    struct ky_inner in;
    check_case("a later fragment's payload is not a header");
    check_same(packet, len);
    REQUIRE(ky_inner_parse(packet, len, &in) == 0);
    CHECK_EQ(in.l4, 48);
    CHECK(in.fragment);
}

// More headers than anybody sends: the packet passes, and offsets stay inside.
static void test_v6_long_chain(void) {
    for (unsigned count = 5; count < 200; count++) {
        struct oracle_spec s = oracle_plain(6, NO_NEXT, 8u * count);
        size_t len = oracle_build(packet, &s);
        packet[6] = DESTINATION;
        for (unsigned i = 0; i < count; i++) {
            packet[40 + 8 * i] = i + 1 < count ? DESTINATION : ORACLE_UDP;
            packet[41 + 8 * i] = 0;
        }
        struct ky_inner in;
        check_case("chain of %u", count);
        CHECK_EQ(parse_exact(packet, len, &in), 0);
        CHECK(in.l4 <= in.len);
        CHECK(in.proto == NO_NEXT || in.l4 == 40 + 8 * count);
    }
}

static void test_v6_lengths(void) {
    struct ky_inner in;
    struct oracle_spec s = oracle_plain(6, HOP_BY_HOP, 0);
    size_t len = oracle_build(packet, &s);
    check_case("jumbogram");
    CHECK_EQ(ky_inner_parse(packet, len + 100, &in), -EINVAL);
    s.proto = NO_NEXT;
    len = oracle_build(packet, &s);
    check_case("no payload");
    CHECK_EQ(ky_inner_parse(packet, len, &in), 0);
    CHECK_EQ(in.len, 40);
    s = oracle_plain(6, ORACLE_UDP, 65535 - 48);
    len = oracle_build(packet, &s);
    check_case("65535 bytes in all");
    CHECK_EQ(len, 65535);
    CHECK_EQ(parse_exact(packet, len, &in), 0);
    oracle_put16(packet + 4, 65535 - 39);
    check_case("65536 bytes in all");
    CHECK_EQ(parse_exact(packet, 65536, &in), -EINVAL);
    oracle_put16(packet + 4, 65535);
    check_case("payload length 65535");
    CHECK_EQ(parse_exact(packet, 65536, &in), -EINVAL);
}

static void test_flow(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        struct oracle_spec s = oracle_plain(version, ORACLE_TCP, 100);
        struct ky_inner in;
        size_t len = oracle_build(packet, &s);
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        uint32_t flow = ky_inner_flow(packet, &in);
        check_case("IPv%u flow", version);
        s.seq += 1000, s.ack++, s.id++, s.tos = 3, s.payload_len = 7, s.flags = 0x18, s.ttl = 3;
        s.window++, s.tcp_options = 12;
        len = oracle_build(packet, &s);
        REQUIRE(ky_inner_parse(packet, len, &in) == 0);
        CHECK_EQ(ky_inner_flow(packet, &in), flow);
        unsigned differ = 0;
        for (unsigned i = 0; i < 64; i++) {
            s.sport = (uint16_t)(1024 + i);
            len = oracle_build(packet, &s);
            REQUIRE(ky_inner_parse(packet, len, &in) == 0);
            differ += ky_inner_flow(packet, &in) % 16 != flow % 16;
        }
        CHECK(differ > 40); // ports spread flows over the bank: 60 of 64 are expected to differ
    }
}

static void test_fragments_share_a_flow(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        uint32_t flow[3];
        for (unsigned i = 0; i < 3; i++) { // first, middle, last
            struct oracle_spec s = oracle_plain(version, ORACLE_UDP, 64);
            s.extensions[0] = FRAGMENT;
            s.extension_count = version == 6;
            s.df = false;
            s.mf = i < 2;
            s.offset = (uint16_t)(9 * i);
            struct ky_inner in;
            size_t len = oracle_build(packet, &s);
            REQUIRE(ky_inner_parse(packet, len, &in) == 0);
            flow[i] = ky_inner_flow(packet, &in);
        }
        check_case("IPv%u fragments", version);
        CHECK_EQ(flow[1], flow[0]);
        CHECK_EQ(flow[2], flow[0]);
    }
}

static void test_garbage(struct random *r) {
    for (int i = 0; i < 200000; i++) {
        size_t len = random_below(r, 120);
        random_fill(r, packet, len);
        if (len > 8 && !random_one_in(r, 8)) {
            static const uint8_t next[] = {0, 43, 44, 60, 6, 17, 58, 59};
            bool v4 = random_one_in(r, 2);
            packet[0] = v4 ? (uint8_t)(0x40 + random_below(r, 16)) : 0x60;
            oracle_put16(packet + (v4 ? 2 : 4), random_below(r, 130));
            if (!v4)
                for (size_t at = 6; at < len; at += at == 6 ? 34 : 8) {
                    packet[at] = next[random_below(r, sizeof next)];
                    if (at >= 40 && at + 1 < len)
                        packet[at + 1] = (uint8_t)random_below(r, 3);
                }
        }
        check_case("garbage %d", i);
        struct oracle_ip ip;
        // Chains longer than the oracle is asked about are test_v6_long_chain's.
        if (oracle_parse(packet, len, &ip) && ip.l4 > 40 + 8 * 7)
            continue;
        check_same(packet, len);
    }
}

int main(void) {
    struct random r = {.state = 2};
    test_v4_options();
    test_v4_lies();
    test_truncated(4);
    test_truncated(6);
    test_versions();
    test_v4_fragments();
    test_v6_chains();
    test_v6_extension_length();
    test_v6_later_fragment();
    test_v6_long_chain();
    test_v6_lengths();
    test_flow();
    test_fragments_share_a_flow();
    test_garbage(&r);
    return check_report();
}
