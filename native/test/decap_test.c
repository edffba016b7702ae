// What comes in: each reason to drop produced once and alone, the admission rules, ECN, and how
// trains, single frames and whole superpackets are told apart.
#include "../engine/decap.h"

#include <arpa/inet.h>
#include "check.h"
#include "oracle.h"
#include "sink.h"

enum { VNI = 42, MTU = 1450, BUFFER = 1 << 17, SLOTS = 8, FRAGMENT = 44 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t outer_a[4] = {192, 0, 2, 1}, outer_b[4] = {192, 0, 2, 3};
static const uint8_t outer_stranger[4] = {192, 0, 2, 99};

static struct ky_decap decap;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[SLOTS];
static struct ky_gro gro;
static struct ky_peers *peers;
static struct sink *sink;
static uint8_t buffer[BUFFER], payload[ORACLE_PACKET_MAX];

// Slot 0: 10.1.0.0/24 and slot 1: fd01::/64 behind A, slot 2: 10.3.0.0/24 and, inside A's subnet,
// slot 3: 10.1.0.128/25 behind B. We are 10.2.0.0/24 and fd02::/64.
static void build_peers(void) {
    static const uint8_t a4[4] = {10, 1, 0, 0}, b4[4] = {10, 3, 0, 0}, nested[4] = {10, 1, 0, 128};
    static const uint8_t a6[16] = {0xfd, 1}, us4[4] = {10, 2, 0, 0}, us6[16] = {0xfd, 2};
    static const uint32_t slots[] = {0, 1, 2, 3};
    struct ky_peer_spec specs[] = {
        {.prefix = ky_ip4(a4), .outer = ky_ip4(outer_a), .bits = KY_V4_BITS + 24},
        {.prefix = ky_ip6(a6), .outer = ky_ip4(outer_a), .bits = 64},
        {.prefix = ky_ip4(b4), .outer = ky_ip4(outer_b), .bits = KY_V4_BITS + 24},
        {.prefix = ky_ip4(nested), .outer = ky_ip4(outer_b), .bits = KY_V4_BITS + 25}};
    struct ky_prefix locals[] = {{ky_ip4(us4), KY_V4_BITS + 24}, {ky_ip6(us6), 64}};
    struct ky_peers_spec spec = {.peers = specs,
                                 .slots = slots,
                                 .count = 4,
                                 .locals = locals,
                                 .local_count = 2,
                                 .vni = VNI,
                                 .port = 8472};
    size_t duplicate;
    REQUIRE(ky_peers_build(&spec, &peers, &duplicate) == 0);
}

static void reset(void) {
    memset(&counters, 0, sizeof counters);
    memset(peer_counters, 0, sizeof peer_counters);
    memset(&gro, 0, sizeof gro);
    gro.write = sink_take;
    gro.ctx = sink;
    gro.counters = &counters;
    sink_clear(sink);
    decap = (struct ky_decap){
        .vni = VNI, .mtu = MTU, .counters = &counters, .peer_counters = peer_counters};
    memcpy(decap.mac, our_mac, 6);
}

static size_t frame_bytes(uint8_t *out, const uint8_t *packet, size_t len) {
    ky_vxlan_template(out, VNI, our_mac, peer_mac);
    ky_vxlan_set_version(out, packet[0] >> 4);
    memmove(out + KY_ENCAP_LEN, packet, len);
    return KY_ENCAP_LEN + len;
}

static size_t frame(uint8_t *out, const struct oracle_spec *s) {
    static uint8_t packet[ORACLE_PACKET_MAX];
    return frame_bytes(out, packet, oracle_build(packet, s));
}

static struct oracle_spec plain(unsigned version, uint8_t proto, size_t payload_len) {
    struct oracle_spec s = oracle_plain(version, proto, payload_len);
    s.payload = payload;
    return s;
}

static struct ky_datagram datagram(size_t len) {
    return (struct ky_datagram){.buf = buffer, .len = (uint32_t)len, .from = ky_ip4(outer_a)};
}

// Receives it, from a copy without a byte to spare on either side of it.
static void receive(struct ky_datagram d) {
    uint8_t *exact = malloc(d.len + 1u);
    REQUIRE(exact != NULL);
    memcpy(exact + 1, d.buf, d.len);
    d.buf = exact + 1;
    ky_decap_datagram(&decap, peers, &d, &gro);
    ky_gro_flush(&gro);
    free(exact);
}

static uint64_t drops(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        sum += ky_get(&counters.drops[i]);
    return sum;
}

// Packets that the writes stand for.
static uint64_t written(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < sink->count; i++) {
        const struct sink_write *w = &sink->write[i];
        struct oracle_ip ip;
        size_t size = w->vnet.gso_size;
        if (size != 0 && CHECK(oracle_parse(w->packet, w->len, &ip)))
            sum += (w->len - oracle_headers(w->packet, &ip) + size - 1) / size;
        else
            sum++;
    }
    return sum;
}

// `count` frames were dropped, for this reason alone, and nothing was written.
static void check_dropped(enum ky_drop reason, uint64_t count) {
    if (reason == KY_DROP_NONE) {
        CHECK_EQ(drops(), 0);
        CHECK(sink->count <= count);
        CHECK_EQ(ky_get(&counters.rx_packets), written());
        return;
    }
    CHECK_EQ(ky_get(&counters.drops[reason]), count);
    CHECK_EQ(drops(), count);
    CHECK_EQ(sink->count, 0);
    CHECK_EQ(ky_get(&counters.rx_packets), 0);
    CHECK_EQ(ky_get(&counters.rx_bytes), 0);
    CHECK_EQ(ky_get(&peer_counters[0].packets), 0);
}

// ---- the reasons ----

static void test_good(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        struct oracle_spec s = plain(version, ORACLE_UDP, 100);
        reset();
        check_case("a good IPv%u packet", version);
        size_t len = frame(buffer, &s);
        receive(datagram(len));
        CHECK_EQ(drops(), 0);
        CHECK_EQ(ky_get(&counters.rx_packets), 1);
        CHECK_EQ(ky_get(&counters.rx_bytes), len - KY_ENCAP_LEN);
        CHECK_EQ(ky_get(&peer_counters[version == 6].packets), 1);
        CHECK_EQ(ky_get(&peer_counters[version == 6].bytes), len - KY_ENCAP_LEN);
        if (!CHECK_EQ(sink->count, 1))
            continue;
        CHECK_EQ(sink->write[0].len, len - KY_ENCAP_LEN);
        CHECK_MEM(sink->write[0].packet, buffer + KY_ENCAP_LEN, len - KY_ENCAP_LEN);
        static const struct ky_vnet nothing = {0};
        CHECK_MEM(&sink->write[0].vnet, &nothing, sizeof nothing);
    }
}

static void test_header_reasons(void) {
    static const struct {
        const char *what;
        unsigned at;
        uint8_t flip;
        enum ky_drop reason;
    } cases[] = {{"no I flag", 0, 0x08, KY_DROP_RX_FLAGS},
                 {"a reserved flag", 0, 0x01, KY_DROP_RX_FLAGS},
                 {"a reserved bit behind the VNI", 7, 0x80, KY_DROP_RX_FLAGS},
                 {"another VNI", 6, 0x01, KY_DROP_RX_WRONG_VNI},
                 {"another destination MAC", 13, 0x04, KY_DROP_RX_INNER_MAC},
                 {"our own source MAC", 19, 0x03, KY_DROP_RX_INNER_LOOP},
                 {"ARP", 21, 0x06, KY_DROP_RX_INNER_TYPE},
                 {"an EtherType that contradicts the packet", 20, 0, KY_DROP_RX_INNER_MALFORMED},
                 {"IP version 5", 22, 0x10, KY_DROP_RX_INNER_MALFORMED},
                 {"a total length beyond the frame", 24, 0x01, KY_DROP_RX_INNER_MALFORMED},
                 {"a header length beyond the packet", 22, 0x0a, KY_DROP_RX_INNER_MALFORMED}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s = plain(4, ORACLE_UDP, 10);
        reset();
        size_t len = frame(buffer, &s);
        buffer[cases[i].at] ^= cases[i].flip;
        if (cases[i].flip == 0)
            oracle_put16(buffer + 20, 0x86dd);
        check_case("%s", cases[i].what);
        receive(datagram(len));
        check_dropped(cases[i].reason, 1);
    }
}

static void test_short(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP, 10);
    size_t len = frame(buffer, &s);
    for (size_t cut = 0; cut < len; cut++) {
        reset();
        check_case("cut to %zu", cut);
        receive(datagram(cut));
        check_dropped(cut < KY_ENCAP_LEN ? KY_DROP_RX_SHORT : KY_DROP_RX_INNER_MALFORMED, 1);
    }
}

static void test_truncated(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP, 10);
    reset();
    struct ky_datagram d = datagram(frame(buffer, &s));
    d.truncated = true;
    check_case("truncated");
    receive(d);
    check_dropped(KY_DROP_RX_TRUNCATED, 1);
}

static void test_padding(void) {
    for (unsigned pad = 1; pad < 30; pad++) {
        struct oracle_spec s = plain(4, ORACLE_UDP, 1);
        reset();
        size_t len = frame(buffer, &s);
        memset(buffer + len, 0xee, pad);
        check_case("%u bytes of padding", pad);
        receive(datagram(len + pad));
        check_dropped(KY_DROP_NONE, 1);
        if (CHECK_EQ(sink->count, 1))
            CHECK_EQ(sink->write[0].len, len - KY_ENCAP_LEN); // padding ends here
    }
}

// ---- admission ----

static struct oracle_spec from_to(const char *src, const char *dst) {
    struct oracle_spec s = plain(strchr(src, ':') ? 6 : 4, ORACLE_UDP, 10);
    REQUIRE(inet_pton(s.version == 4 ? AF_INET : AF_INET6, src, s.src) == 1);
    REQUIRE(inet_pton(s.version == 4 ? AF_INET : AF_INET6, dst, s.dst) == 1);
    return s;
}

#define SRC4 "10.1.0.1"
#define DST4 "10.2.0.1"
#define SRC6 "fd01::1"
#define DST6 "fd02::1"

struct admission {
    const char *what;
    const uint8_t *outer;
    const char *src, *dst;
    enum ky_drop strict, open, unchecked; // default; unknown sources allowed; no inner source check
};

static const struct admission admissions[] = {
    {"a peer", outer_a, SRC4, DST4, KY_DROP_NONE, KY_DROP_NONE, KY_DROP_NONE},
    {"a peer, IPv6", outer_a, SRC6, DST6, KY_DROP_NONE, KY_DROP_NONE, KY_DROP_NONE},
    {"the peer's VTEP address", outer_a, "10.1.0.0", DST4, KY_DROP_NONE, KY_DROP_NONE,
     KY_DROP_NONE},
    {"our VTEP address", outer_a, SRC4, "10.2.0.0", KY_DROP_NONE, KY_DROP_NONE, KY_DROP_NONE},
    {"a stranger", outer_stranger, SRC4, DST4, KY_DROP_RX_UNKNOWN_SOURCE, KY_DROP_RX_INNER_SOURCE,
     KY_DROP_RX_UNKNOWN_SOURCE},
    {"a stranger with an address nobody holds", outer_stranger, "10.9.0.1", DST4,
     KY_DROP_RX_UNKNOWN_SOURCE, KY_DROP_NONE, KY_DROP_RX_UNKNOWN_SOURCE},
    {"a peer with another's address", outer_a, "10.3.0.1", DST4, KY_DROP_RX_INNER_SOURCE,
     KY_DROP_RX_INNER_SOURCE, KY_DROP_NONE},
    {"a peer with nobody's address", outer_a, "10.9.0.1", DST4, KY_DROP_RX_INNER_SOURCE,
     KY_DROP_RX_INNER_SOURCE, KY_DROP_NONE},
    {"a peer with our address", outer_a, "10.2.0.7", DST4, KY_DROP_RX_INNER_SOURCE,
     KY_DROP_RX_INNER_SOURCE, KY_DROP_NONE},
    {"a peer in what another holds of its subnet", outer_a, "10.1.0.200", DST4,
     KY_DROP_RX_INNER_SOURCE, KY_DROP_RX_INNER_SOURCE, KY_DROP_NONE},
    {"the other, which holds it", outer_b, "10.1.0.200", DST4, KY_DROP_NONE, KY_DROP_NONE,
     KY_DROP_NONE},
    {"IPv6 that the peer does not hold", outer_b, SRC6, DST6, KY_DROP_RX_INNER_SOURCE,
     KY_DROP_RX_INNER_SOURCE, KY_DROP_NONE},
    {"for another subnet", outer_a, SRC4, "10.3.0.1", KY_DROP_RX_NOT_LOCAL, KY_DROP_RX_NOT_LOCAL,
     KY_DROP_RX_NOT_LOCAL},
    {"for nobody, IPv6", outer_a, SRC6, "fd09::1", KY_DROP_RX_NOT_LOCAL, KY_DROP_RX_NOT_LOCAL,
     KY_DROP_RX_NOT_LOCAL},
    {"multicast", outer_a, SRC4, "224.0.0.1", KY_DROP_RX_NOT_LOCAL, KY_DROP_RX_NOT_LOCAL,
     KY_DROP_RX_NOT_LOCAL},
    {"IPv6 for an IPv4-mapped address", outer_a, SRC6, "::ffff:10.2.0.1", KY_DROP_RX_NOT_LOCAL,
     KY_DROP_RX_NOT_LOCAL, KY_DROP_RX_NOT_LOCAL},
};

static void test_admission(void) {
    for (unsigned i = 0; i < sizeof admissions / sizeof *admissions; i++)
        for (unsigned mode = 0; mode < 3; mode++) {
            const struct admission *a = &admissions[i];
            enum ky_drop want = mode == 0 ? a->strict : mode == 1 ? a->open : a->unchecked;
            struct oracle_spec s = from_to(a->src, a->dst);
            reset();
            decap.allow_unknown_sources = mode == 1;
            decap.no_inner_source_check = mode == 2;
            struct ky_datagram d = datagram(frame(buffer, &s));
            d.from = ky_ip4(a->outer);
            check_case("%s, mode %u", a->what, mode);
            receive(d);
            check_dropped(want, 1);
        }
}

static void test_martians(void) {
    static const char *const sources[] = {"0.0.0.0",
                                          "0.1.2.3",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "224.0.0.1",
                                          "239.1.1.1",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "ff02::1",
                                          "ff0e::1",
                                          "::ffff:10.1.0.1"};
    for (unsigned i = 0; i < sizeof sources / sizeof *sources; i++)
        for (unsigned mode = 0; mode < 4; mode++) {
            struct oracle_spec s = from_to(sources[i], strchr(sources[i], ':') ? DST6 : DST4);
            reset();
            decap.allow_unknown_sources = mode & 1;
            decap.no_inner_source_check = mode & 2;
            check_case("from %s, mode %u", sources[i], mode);
            receive(datagram(frame(buffer, &s)));
            check_dropped(KY_DROP_RX_MARTIAN, 1);
        }
}

// ---- ECN ----

static void test_ecn(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned outer = 0; outer < 4; outer++)
            for (unsigned inner = 0; inner < 4; inner++) {
                struct oracle_spec s = plain(version, ORACLE_TCP, 10);
                s.tos = (uint8_t)(0xb8 | inner);
                reset();
                struct ky_datagram d = datagram(frame(buffer, &s));
                d.tos = (uint8_t)(0x20 | outer);
                check_case("IPv%u, ECN outside %u, inside %u", version, outer, inner);
                receive(d);
                bool drop = outer == 3 && inner == 0;
                unsigned after = outer == 3 ? 3 : outer == 1 && inner == 2 ? 1 : inner;
                bool mark = !drop && after != inner;
                check_dropped(drop ? KY_DROP_RX_ECN : KY_DROP_NONE, 1);
                CHECK_EQ(ky_get(&counters.rx_ecn_marked), mark);
                struct oracle_ip ip;
                if (drop || !CHECK_EQ(sink->count, 1) ||
                    !CHECK(oracle_parse(sink->write[0].packet, sink->write[0].len, &ip)))
                    continue;
                CHECK_EQ(ip.tos, 0xb8u | after);
                CHECK(oracle_ip_sum_ok(sink->write[0].packet));
                CHECK(oracle_l4_sum_ok(sink->write[0].packet, &ip));
            }
    struct oracle_spec s = plain(4, ORACLE_TCP, 10);
    s.tos = 2;
    s.bad_ip_sum = true;
    reset();
    struct ky_datagram d = datagram(frame(buffer, &s));
    d.tos = 3;
    check_case("marking does not mend a bad header checksum");
    receive(d);
    if (CHECK_EQ(sink->count, 1))
        CHECK(!oracle_ip_sum_ok(sink->write[0].packet));
}

// ---- trains, frames, superpackets ----

// count frames of `each` bytes of payload, the last with `last`.
static size_t train(const struct oracle_spec *base, unsigned count, size_t each, size_t last) {
    struct oracle_spec s = *base;
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        s.payload_len = i + 1 < count ? each : last;
        s.seq = base->seq + (uint32_t)(i * each);
        s.id = (uint16_t)(base->id + i);
        at += frame(buffer + at, &s);
    }
    return at;
}

static void test_trains(void) {
    static const struct {
        unsigned count;
        size_t each, last;
    } cases[] = {{2, 100, 100}, {2, 100, 1},  {10, 1398, 1398},
                 {45, 1398, 5}, {64, 10, 10}, {64, 1, 1}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned partial = 0; partial < 2; partial++) {
            struct oracle_spec s = plain(4, ORACLE_TCP, 0);
            s.check = partial ? ORACLE_PARTIAL : ORACLE_COMPLETE;
            reset();
            struct ky_datagram d =
                datagram(train(&s, cases[i].count, cases[i].each, cases[i].last));
            d.gro = (uint16_t)(KY_ENCAP_LEN + 40 + cases[i].each);
            check_case("%u frames of %zu, last %zu%s", cases[i].count, cases[i].each, cases[i].last,
                       partial ? ", partial" : "");
            receive(d);
            check_dropped(KY_DROP_NONE, cases[i].count);
            CHECK_EQ(sink->count, cases[i].count);
            CHECK_EQ(ky_get(&counters.rx_superpackets), 0);
            CHECK_EQ(ky_get(&counters.rx_partial), partial ? cases[i].count : 0);
            for (unsigned k = 0; k < sink->count; k++)
                CHECK_EQ(sink->write[k].vnet.flags, partial);
        }
}

// Only a whole datagram can be a superpacket: frames of a train are packets, however large.
static void test_train_of_large_frames(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP, 0);
    s.check = ORACLE_PARTIAL;
    reset();
    struct ky_datagram d = datagram(train(&s, 3, 3000, 3000));
    d.gro = KY_ENCAP_LEN + 40 + 3000;
    check_case("a train of frames larger than the MTU, partial");
    receive(d);
    check_dropped(KY_DROP_NONE, 3);
    CHECK_EQ(ky_get(&counters.rx_superpackets), 0);
    for (unsigned i = 0; i < sink->count; i++)
        CHECK_EQ(sink->write[i].vnet.gso_size, 0);
}

// A bad frame costs itself, and not the train.
static void test_bad_frame_in_train(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP, 0);
    reset();
    struct ky_datagram d = datagram(train(&s, 10, 100, 100));
    d.gro = KY_ENCAP_LEN + 140;
    buffer[3 * d.gro] = 0;
    buffer[5 * d.gro + 20] = 0;
    buffer[7 * d.gro + 22] = 0;
    check_case("three bad frames of ten");
    receive(d);
    CHECK_EQ(drops(), 3);
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_RX_FLAGS]), 1);
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_RX_INNER_TYPE]), 1);
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_RX_INNER_MALFORMED]), 1);
    CHECK_EQ(ky_get(&counters.rx_packets), 7);
    CHECK_EQ(sink->count, 7);
}

static void test_train_from_stranger(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP, 0);
    reset();
    struct ky_datagram d = datagram(train(&s, 10, 100, 5));
    d.gro = KY_ENCAP_LEN + 140;
    d.from = ky_ip4(outer_stranger);
    check_case("every frame of a stranger's train counts");
    receive(d);
    check_dropped(KY_DROP_RX_UNKNOWN_SOURCE, 10);
}

// linux-dataplane 2.6, from the table: what the datagram is, and what is written for it.
struct classified {
    const char *what;
    unsigned version;
    uint8_t proto;
    size_t payload_len;
    uint16_t gro;
    enum oracle_check check;
    uint16_t gso_size; // of the write, 0: a plain packet
};

static const struct classified classes[] = {
    {"TCP, small", 4, ORACLE_TCP, 100, 0, ORACLE_COMPLETE, 0},
    {"TCP, small, partial", 4, ORACLE_TCP, 100, 0, ORACLE_PARTIAL, 0},
    {"TCP, as large as the MTU, partial", 4, ORACLE_TCP, MTU - 40, 0, ORACLE_PARTIAL, 0},
    {"TCP superpacket", 4, ORACLE_TCP, 60000, 0, ORACLE_PARTIAL, MTU - 40},
    {"TCP superpacket, just one more byte", 4, ORACLE_TCP, MTU - 39, 0, ORACLE_PARTIAL, MTU - 40},
    {"TCP6 superpacket", 6, ORACLE_TCP, 60000, 0, ORACLE_PARTIAL, MTU - 60},
    {"TCP superpacket with a segment size", 4, ORACLE_TCP, 5000, 1000, ORACLE_PARTIAL, MTU - 40},
    {"TCP larger than the MTU but complete", 4, ORACLE_TCP, 5000, 0, ORACLE_COMPLETE, 0},
    {"UDP, small", 4, ORACLE_UDP, 100, 0, ORACLE_COMPLETE, 0},
    {"UDP, small, partial", 4, ORACLE_UDP, 100, 0, ORACLE_PARTIAL, 0},
    {"UDP superpacket", 4, ORACLE_UDP, 12000, 1200, ORACLE_PARTIAL, 1200},
    {"UDP superpacket with a short last", 4, ORACLE_UDP, 12001, 1200, ORACLE_PARTIAL, 1200},
    {"UDP6 superpacket", 6, ORACLE_UDP, 12000, 1200, ORACLE_PARTIAL, 1200},
    {"small UDP superpacket", 4, ORACLE_UDP, 300, 100, ORACLE_PARTIAL, 100},
    {"UDP, whole, with its own size as cmsg", 4, ORACLE_UDP, 300, 350, ORACLE_COMPLETE, 0},
    {"UDP, whole, partial, with its own size as cmsg", 4, ORACLE_UDP, 300, 350, ORACLE_PARTIAL, 0},
    {"UDP without a checksum", 4, ORACLE_UDP, 300, 0, ORACLE_NONE, 0},
};

static void test_classes(void) {
    for (unsigned i = 0; i < sizeof classes / sizeof *classes; i++) {
        const struct classified *c = &classes[i];
        struct oracle_spec s = plain(c->version, c->proto, c->payload_len);
        s.check = c->check;
        reset();
        struct ky_datagram d = datagram(frame(buffer, &s));
        d.gro = c->gro;
        check_case("%s", c->what);
        receive(d);
        check_dropped(KY_DROP_NONE, 1);
        CHECK_EQ(ky_get(&counters.rx_superpackets), c->gso_size != 0);
        CHECK_EQ(ky_get(&counters.rx_partial), c->check == ORACLE_PARTIAL);
        if (!CHECK_EQ(sink->count, 1))
            continue;
        const struct ky_vnet *v = &sink->write[0].vnet;
        bool v4 = c->version == 4, udp = c->proto == ORACLE_UDP;
        CHECK_EQ(sink->write[0].len, d.len - KY_ENCAP_LEN);
        CHECK_EQ(v->gso_size, c->gso_size);
        CHECK_EQ(v->flags, c->check == ORACLE_PARTIAL ? KY_VNET_NEEDS_CSUM : 0);
        CHECK_EQ(v->csum_start, c->check == ORACLE_PARTIAL ? (v4 ? 20 : 40) : 0);
        CHECK_EQ(v->csum_offset, c->check == ORACLE_PARTIAL ? (udp ? 6 : 16) : 0);
        CHECK_EQ(v->gso_type, c->gso_size == 0 ? KY_VNET_GSO_NONE
                              : udp            ? KY_VNET_GSO_UDP_L4
                              : v4             ? KY_VNET_GSO_TCPV4
                                               : KY_VNET_GSO_TCPV6);
    }
}

static void test_no_checksum_to_be_partial(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP, 3000);
    s.df = false, s.mf = true;
    s.check = ORACLE_PARTIAL;
    reset();
    check_case("a fragment has no checksum of its own");
    size_t len = frame(buffer, &s);
    struct oracle_ip ip;
    REQUIRE(oracle_parse(buffer + KY_ENCAP_LEN, len - KY_ENCAP_LEN, &ip));
    oracle_put16(buffer + KY_ENCAP_LEN + 26, oracle_pseudo(&ip, ORACLE_UDP, ip.len - ip.l4));
    receive(datagram(len));
    check_dropped(KY_DROP_NONE, 1);
    if (CHECK_EQ(sink->count, 1))
        CHECK_EQ(sink->write[0].vnet.flags, 0);
    for (size_t cut = 0; cut < 20; cut++) { // TCP and UDP headers that are not whole
        s = plain(4, cut < 8 ? ORACLE_UDP : ORACLE_TCP, 0);
        reset();
        len = frame(buffer, &s);
        oracle_put16(buffer + KY_ENCAP_LEN + 2, (unsigned)(20 + cut));
        check_case("an L4 header of %zu bytes", cut);
        receive(datagram(KY_ENCAP_LEN + 20 + cut));
        check_dropped(KY_DROP_NONE, 1);
        if (CHECK_EQ(sink->count, 1))
            CHECK_EQ(sink->write[0].vnet.flags, 0);
    }
}

// A TCP header length that is a lie must not come out as a superpacket of nonsense.
static void test_tcp_header_lies(void) {
    for (unsigned words = 0; words < 16; words++) {
        struct oracle_spec s = plain(4, ORACLE_TCP, 4000);
        s.check = ORACLE_PARTIAL;
        reset();
        size_t len = frame(buffer, &s);
        buffer[KY_ENCAP_LEN + 32] = (uint8_t)(words << 4);
        check_case("data offset %u", words);
        receive(datagram(len));
        check_dropped(KY_DROP_NONE, 1);
        if (CHECK_EQ(sink->count, 1))
            CHECK_EQ(sink->write[0].vnet.gso_size, words < 5 ? 0 : MTU - 20 - 4 * words);
    }
}

static void test_strange_sizes(void) {
    static const uint16_t sizes[] = {1, 21, 22, 23, 149, 150, 151, 299, 65535};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct oracle_spec s = plain(4, ORACLE_UDP, 100);
        reset();
        struct ky_datagram d = datagram(train(&s, 2, 100, 100));
        d.gro = sizes[i];
        check_case("a train of 2 x 150 with size %u", sizes[i]);
        receive(d);
        uint64_t frames = sizes[i] >= d.len ? 1 : (d.len + sizes[i] - 1u) / sizes[i];
        CHECK_EQ(drops() + ky_get(&counters.rx_packets), frames);
        CHECK_EQ(sink->count, ky_get(&counters.rx_packets));
    }
}

static void test_largest(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        size_t headers = version == 4 ? 40 : 60;
        struct oracle_spec s = plain(version, ORACLE_TCP, 65535 - KY_ENCAP_LEN - headers);
        s.check = ORACLE_PARTIAL;
        reset();
        size_t len = frame(buffer, &s);
        check_case("65535 bytes, IPv%u", version);
        CHECK_EQ(len, 65535);
        receive(datagram(len));
        check_dropped(KY_DROP_NONE, 1);
        if (CHECK_EQ(sink->count, 1))
            CHECK_EQ(sink->write[0].vnet.gso_size, MTU - headers);
    }
}

int main(void) {
    sink = sink_new();
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 31 + i / 256);
    build_peers();
    test_good();
    test_header_reasons();
    test_short();
    test_truncated();
    test_padding();
    test_admission();
    test_martians();
    test_ecn();
    test_trains();
    test_train_of_large_frames();
    test_bad_frame_in_train();
    test_train_from_stranger();
    test_classes();
    test_no_checksum_to_be_partial();
    test_tcp_header_lies();
    test_strange_sizes();
    test_largest();
    ky_peers_free(peers);
    sink_free(sink);
    return check_report();
}
