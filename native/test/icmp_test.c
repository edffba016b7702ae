// ICMP errors: when none may be sent, what one holds, how many there are.
#include "../engine/icmp.h"

#include "check.h"
#include "oracle.h"

enum { FRAGMENT = 44, SECOND = 1000000000 };

static uint8_t packet[ORACLE_PACKET_MAX], error[KY_ICMP_MAX];

static size_t build(enum ky_icmp kind, const struct oracle_spec *s, uint32_t mtu, size_t *len) {
    struct ky_inner in;
    *len = oracle_build(packet, s);
    REQUIRE(ky_inner_parse(packet, *len, &in) == 0);
    return ky_icmp_build(error, kind, packet, &in, mtu);
}

static void check_v4(const struct oracle_spec *s, enum ky_icmp kind, size_t quoted) {
    size_t len, got = build(kind, s, 1450, &len);
    if (!CHECK_EQ(got, 28 + quoted))
        return;
    struct oracle_ip ip;
    CHECK(oracle_parse(error, got, &ip));
    CHECK_EQ(ip.len, got);
    CHECK_EQ(ip.l4, 20);
    CHECK_EQ(ip.proto, ORACLE_ICMP);
    CHECK(!ip.fragment);
    CHECK(oracle_ip_sum_ok(error));
    CHECK(error[8] > 0);
    CHECK_MEM(ip.src, s->dst, 4); // see icmp.h
    CHECK_MEM(ip.dst, s->src, 4);
    CHECK_EQ(error[20], kind == KY_ICMP_TIME_EXCEEDED ? 11 : 3); // RFC 792 ...
    CHECK_EQ(error[21], kind == KY_ICMP_TOO_BIG ? 4 : 0);
    CHECK_EQ(oracle_get16(error + 24), 0);
    CHECK_EQ(oracle_get16(error + 26), kind == KY_ICMP_TOO_BIG ? 1450 : 0); // ... RFC 1191 4
    CHECK_EQ(oracle_sum(error + 20, got - 20, 0), 0xffff);
    CHECK_MEM(error + 28, packet, quoted);
}

static void check_v6(const struct oracle_spec *s, enum ky_icmp kind, size_t quoted) {
    size_t len, got = build(kind, s, 1430, &len);
    if (!CHECK_EQ(got, 48 + quoted))
        return;
    struct oracle_ip ip;
    CHECK(oracle_parse(error, got, &ip));
    CHECK_EQ(ip.len, got);
    CHECK_EQ(ip.proto, ORACLE_ICMP6);
    CHECK(error[7] > 0);
    CHECK_MEM(ip.src, s->dst, 16);
    CHECK_MEM(ip.dst, s->src, 16);
    static const uint8_t types[] = {1, 2, 3}; // RFC 4443 3.1, 3.2, 3.3
    CHECK_EQ(error[40], types[kind]);
    CHECK_EQ(error[41], 0);
    CHECK_EQ(oracle_get32(error + 44), kind == KY_ICMP_TOO_BIG ? 1430 : 0);
    CHECK_EQ(oracle_sum(error + 40, got - 40, oracle_pseudo(&ip, ORACLE_ICMP6, got - 40)), 0xffff);
    CHECK_MEM(error + 48, packet, quoted);
}

static void test_quoted_lengths(void) {
    for (size_t payload = 0; payload < 1600; payload++)
        for (unsigned kind = KY_ICMP_NET_UNREACHABLE; kind <= KY_ICMP_TIME_EXCEEDED; kind++) {
            struct oracle_spec s = oracle_plain(4, ORACLE_UDP, payload);
            size_t len = 28 + payload;
            check_case("IPv4 %zu bytes, kind %u", len, kind);
            check_v4(&s, (enum ky_icmp)kind, len < 548 ? len : 548);
            s = oracle_plain(6, ORACLE_UDP, payload);
            len = 48 + payload;
            check_case("IPv6 %zu bytes, kind %u", len, kind);
            check_v6(&s, (enum ky_icmp)kind, len < 1232 ? len : 1232);
        }
}

static void test_mtu(void) {
    struct oracle_spec s = oracle_plain(4, ORACLE_UDP, 2000);
    static const uint32_t mtus[] = {68, 1280, 1450, 8951, 65535};
    for (unsigned i = 0; i < sizeof mtus / sizeof *mtus; i++) {
        size_t len;
        check_case("MTU %u", mtus[i]);
        REQUIRE(build(KY_ICMP_TOO_BIG, &s, mtus[i], &len) > 0);
        CHECK_EQ(oracle_get16(error + 26), mtus[i]);
    }
}

static bool answers(const struct oracle_spec *s) {
    size_t len, unreachable = build(KY_ICMP_NET_UNREACHABLE, s, 1450, &len);
    size_t too_big = build(KY_ICMP_TOO_BIG, s, 1450, &len);
    CHECK_EQ(unreachable > 0, too_big > 0);
    return too_big > 0;
}

// RFC 1122 3.2.2: no error about an error.
static void test_v4_types(void) {
    for (unsigned type = 0; type < 256; type++) {
        uint8_t header[8] = {(uint8_t)type};
        struct oracle_spec s = oracle_plain(4, ORACLE_ICMP, sizeof header);
        s.payload = header;
        bool is_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
        check_case("about ICMP type %u", type);
        CHECK_EQ(answers(&s), !is_error);
    }
    struct oracle_spec s = oracle_plain(4, ORACLE_ICMP, 0);
    check_case("about an ICMP packet with nothing in it");
    CHECK(!answers(&s));
}

// RFC 4443 2.4 e.1, e.2: nor about a redirect, which is not below 128.
static void test_v6_types(void) {
    for (unsigned type = 0; type < 256; type++)
        for (unsigned extended = 0; extended < 2; extended++) {
            uint8_t header[8] = {(uint8_t)type};
            struct oracle_spec s = oracle_plain(6, ORACLE_ICMP6, sizeof header);
            s.payload = header;
            s.extensions[0] = 60;
            s.extension_count = extended;
            check_case("about ICMPv6 type %u%s", type,
                       extended ? " behind an extension header" : "");
            CHECK_EQ(answers(&s), type >= 128 && type != 137);
        }
    struct oracle_spec s = oracle_plain(6, ORACLE_ICMP6, 0);
    check_case("about an ICMPv6 packet with nothing in it");
    CHECK(!answers(&s));
}

static void test_v4_fragments(void) {
    struct oracle_spec s = oracle_plain(4, ORACLE_UDP, 64);
    s.df = false;
    s.mf = true;
    check_case("about a first fragment");
    CHECK(answers(&s));
    s.offset = 1;
    check_case("about a later fragment");
    CHECK(!answers(&s));
    s.mf = false;
    CHECK(!answers(&s));
}

// RFC 1122 3.2.2: a source that is not one host; a destination that is many.
static void test_v4_addresses(void) {
    static const struct {
        uint8_t address[4];
        bool as_source, as_destination;
    } cases[] = {{{0, 0, 0, 0}, false, true},        {{127, 0, 0, 1}, false, true},
                 {{224, 0, 0, 1}, false, false},     {{239, 255, 255, 255}, false, false},
                 {{240, 0, 0, 1}, false, false},     {{255, 255, 255, 255}, false, false},
                 {{192, 0, 2, 1}, true, true},       {{10, 0, 0, 1}, true, true},
                 {{223, 255, 255, 255}, true, true}, {{126, 255, 255, 255}, true, true},
                 {{128, 0, 0, 0}, true, true}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s = oracle_plain(4, ORACLE_TCP, 10);
        memcpy(s.src, cases[i].address, 4);
        check_case("from %u.%u.%u.%u", s.src[0], s.src[1], s.src[2], s.src[3]);
        CHECK_EQ(answers(&s), cases[i].as_source);
        s = oracle_plain(4, ORACLE_TCP, 10);
        memcpy(s.dst, cases[i].address, 4);
        check_case("to %u.%u.%u.%u", s.dst[0], s.dst[1], s.dst[2], s.dst[3]);
        CHECK_EQ(answers(&s), cases[i].as_destination);
    }
}

static void test_v6_addresses(void) {
    struct oracle_spec s = oracle_plain(6, ORACLE_TCP, 10);
    check_case("IPv6 addresses");
    CHECK(answers(&s));
    memset(s.src, 0, 16); // unspecified
    CHECK(!answers(&s));
    s = oracle_plain(6, ORACLE_TCP, 10);
    s.src[0] = 0xff;
    CHECK(!answers(&s));
    s = oracle_plain(6, ORACLE_TCP, 10);
    s.dst[0] = 0xff;
    CHECK(!answers(&s));
}

static void test_rate(void) {
    struct ky_icmp_limit limit = {0};
    uint64_t now = 5ULL * SECOND;
    unsigned allowed = 0;
    for (int i = 0; i < 1000; i++)
        allowed += (unsigned)ky_icmp_allow(&limit, now);
    check_case("a burst at the start");
    CHECK_EQ(allowed, KY_ICMP_BURST);
    allowed = 0;
    for (int i = 1; i <= 10000; i++) // ten seconds of 1000 a second
        allowed += (unsigned)ky_icmp_allow(&limit, now + (uint64_t)i * (SECOND / 1000));
    check_case("a steady stream");
    CHECK(allowed >= 10 * KY_ICMP_RATE - 1 && allowed <= 10 * KY_ICMP_RATE + 1);
    now += 3600ULL * SECOND;
    allowed = 0;
    for (int i = 0; i < 1000; i++)
        allowed += (unsigned)ky_icmp_allow(&limit, now);
    check_case("an hour's rest earns no more than a burst");
    CHECK_EQ(allowed, KY_ICMP_BURST);
    check_case("one token");
    CHECK_EQ(ky_icmp_allow(&limit, now + SECOND / KY_ICMP_RATE - 1), 0);
    CHECK_EQ(ky_icmp_allow(&limit, now + SECOND / KY_ICMP_RATE), 1);
    CHECK_EQ(ky_icmp_allow(&limit, now + SECOND / KY_ICMP_RATE), 0);
}

int main(void) {
    test_quoted_lengths();
    test_mtu();
    test_v4_types();
    test_v6_types();
    test_v4_fragments();
    test_v4_addresses();
    test_v6_addresses();
    test_rate();
    return check_report();
}
