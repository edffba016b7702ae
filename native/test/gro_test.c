// Coalescing: for every rule a packet that follows it and is merged, and one that breaks it and is
// not; and whatever is merged, the same packets come out as went in, in order.
#include "../engine/gro.h"

#include <errno.h>

#include "../engine/bytes.h"
#include "check.h"
#include "oracle.h"
#include "random.h"
#include "sink.h"

enum { QUEUE_MAX = 4096, ARENA = 16 << 20, FRAGMENT = 44, DESTINATION = 60 };

static struct ky_gro gro;
static struct ky_counters counters;
static struct sink *sink;
static uint8_t arena[ARENA], payload[ORACLE_PACKET_MAX];
static size_t arena_used;

// What went in, as it is expected to come out.
static struct {
    const uint8_t *packet;
    size_t len;
    uint16_t gso_size;
    bool partial;
} queued[QUEUE_MAX];
static unsigned queued_count;

static void reset(void) {
    memset(&counters, 0, sizeof counters);
    memset(&gro, 0, sizeof gro);
    gro.write = sink_take;
    gro.ctx = sink;
    gro.counters = &counters;
    gro.tcp = gro.udp = true;
    sink->refuse = sink->refuse_super = 0;
    sink_clear(sink);
    arena_used = 0;
    queued_count = 0;
}

static uint16_t pseudo_of(const uint8_t *packet, size_t len) {
    struct oracle_ip ip;
    uint8_t in_memory[2];
    REQUIRE(oracle_parse(packet, len, &ip));
    if (oracle_check_at(packet, &ip) == 0)
        return 0;
    oracle_put16(in_memory, oracle_pseudo(&ip, ip.proto, ip.len - ip.l4));
    return ky_load16(in_memory);
}

static void add_bytes(uint8_t *packet, size_t len, struct ky_arrival how) {
    struct ky_inner in;
    REQUIRE(ky_inner_parse(packet, len, &in) == 0);
    REQUIRE(queued_count < QUEUE_MAX);
    queued[queued_count].packet = packet;
    queued[queued_count].len = len;
    queued[queued_count].gso_size = how.gso_size;
    queued[queued_count++].partial = how.partial;
    how.pseudo = pseudo_of(packet, len);
    ky_gro_add(&gro, packet, &in, how);
}

static void add_as(const struct oracle_spec *s, struct ky_arrival how) {
    uint8_t *packet = arena + arena_used;
    size_t len = oracle_build(packet, s);
    arena_used += len + 7; // packets lie apart, at any alignment
    REQUIRE(arena_used + ORACLE_PACKET_MAX < ARENA);
    add_bytes(packet, len, how);
}

static void add(const struct oracle_spec *s) {
    add_as(s, (struct ky_arrival){.partial = s->check == ORACLE_PARTIAL});
}

// ---- what went in comes out ----

struct stream {
    uint8_t *bytes; // one packet after the other, each with its length before it
    size_t used;
    unsigned count;
};

static struct stream in_stream, out_stream;

// Identification may change where DF says that it means nothing (RFC 6864 4.1), and with it the
// header's sum; TCP's zero checksum has two spellings.
static void neutral(uint8_t *p, size_t len) {
    struct oracle_ip ip;
    REQUIRE(oracle_parse(p, len, &ip));
    if (ip.version == 4 && (p[6] & 0x40) != 0 && oracle_ip_sum_ok(p)) {
        oracle_put16(p + 4, 0);
        oracle_put16(p + 10, 0);
    }
    size_t at = oracle_check_at(p, &ip);
    if (at != 0 && oracle_get16(p + at) != 0 && oracle_l4_sum_ok(p, &ip))
        oracle_complete(p, len);
}

static void append(void *ctx, const uint8_t *packet, size_t len) {
    struct stream *s = ctx;
    REQUIRE(s->used + len + 4 <= ARENA);
    oracle_put32(s->bytes + s->used, (uint32_t)len);
    memcpy(s->bytes + s->used + 4, packet, len);
    neutral(s->bytes + s->used + 4, len);
    s->used += len + 4;
    s->count++;
}

static struct ky_vnet vnet_of(unsigned i) {
    struct oracle_ip ip;
    struct ky_vnet v = {0};
    REQUIRE(oracle_parse(queued[i].packet, queued[i].len, &ip));
    bool udp = ip.proto == ORACLE_UDP;
    if (queued[i].partial)
        v = (struct ky_vnet){
            .flags = 1, .csum_start = (uint16_t)ip.l4, .csum_offset = udp ? 6 : 16};
    if (queued[i].gso_size != 0) {
        v.gso_type = udp               ? KY_VNET_GSO_UDP_L4
                     : ip.version == 4 ? KY_VNET_GSO_TCPV4
                                       : KY_VNET_GSO_TCPV6;
        v.gso_size = queued[i].gso_size;
        v.hdr_len = (uint16_t)oracle_headers(queued[i].packet, &ip);
    }
    return v;
}

static void check_streams(void) {
    const char *why;
    in_stream.used = in_stream.count = 0;
    out_stream.used = out_stream.count = 0;
    for (unsigned i = 0; i < queued_count; i++) {
        struct ky_vnet v = vnet_of(i);
        if (!oracle_unfold(&v, queued[i].packet, queued[i].len, append, &in_stream, &why))
            check_fail(__FILE__, __LINE__, "packet %u: %s", i, why);
    }
    for (unsigned i = 0; i < sink->count; i++) {
        const struct sink_write *w = &sink->write[i];
        if (!oracle_unfold(&w->vnet, w->packet, w->len, append, &out_stream, &why))
            check_fail(__FILE__, __LINE__, "write %u: %s", i, why);
    }
    CHECK_EQ(out_stream.count, in_stream.count);
    if (CHECK_EQ(out_stream.used, in_stream.used))
        CHECK_MEM(out_stream.bytes, in_stream.bytes, in_stream.used);
}

// Flushes, and checks that so many writes came of it.
static void flush(unsigned writes) {
    ky_gro_flush(&gro);
    CHECK_EQ(sink->count, writes);
    CHECK_EQ(ky_get(&counters.rx_writes), sink->count);
    CHECK_EQ(ky_get(&counters.rx_coalesced), queued_count - writes);
    check_streams();
}

// ---- the rules ----

static struct oracle_spec plain(unsigned version, uint8_t proto) {
    struct oracle_spec s = oracle_plain(version, proto, 100);
    s.payload = payload;
    return s;
}

// The packet that continues s.
static struct oracle_spec next_of(const struct oracle_spec *s) {
    struct oracle_spec n = *s;
    n.seq += (uint32_t)s->payload_len;
    n.id++;
    n.payload = s->payload + s->payload_len;
    return n;
}

typedef void change(struct oracle_spec *s);

static void c_nothing(struct oracle_spec *s) {
    (void)s;
}
static void c_src(struct oracle_spec *s) {
    s->src[3]++;
}
static void c_dst(struct oracle_spec *s) {
    s->dst[3]++;
}
static void c_sport(struct oracle_spec *s) {
    s->sport++;
}
static void c_dport(struct oracle_spec *s) {
    s->dport++;
}
static void c_tos(struct oracle_spec *s) {
    s->tos ^= 4;
}
static void c_ecn(struct oracle_spec *s) {
    s->tos ^= 3;
}
static void c_ttl(struct oracle_spec *s) {
    s->ttl--;
}
static void c_label(struct oracle_spec *s) {
    s->flow_label++;
}
static void c_df(struct oracle_spec *s) {
    s->df = !s->df;
}
static void c_id(struct oracle_spec *s) {
    s->id++;
}
static void c_options(struct oracle_spec *s) {
    s->ip_options = 4;
}
static void c_extension(struct oracle_spec *s) {
    s->extensions[0] = DESTINATION, s->extension_count = 1;
}
static void c_first_fragment(struct oracle_spec *s) {
    s->mf = true, s->df = false;
}
static void c_later_fragment(struct oracle_spec *s) {
    s->offset = 64, s->df = false;
}
static void c_v6_fragment(struct oracle_spec *s) {
    s->extensions[0] = FRAGMENT, s->extension_count = 1;
}
static void c_shorter(struct oracle_spec *s) {
    s->payload_len--;
}
static void c_longer(struct oracle_spec *s) {
    s->payload_len++;
}
static void c_empty(struct oracle_spec *s) {
    s->payload_len = 0;
}
static void c_one(struct oracle_spec *s) {
    s->payload_len = 1;
}
static void c_seq_gap(struct oracle_spec *s) {
    s->seq++;
}
static void c_seq_back(struct oracle_spec *s) {
    s->seq -= (uint32_t)s->payload_len;
}
static void c_ack(struct oracle_spec *s) {
    s->ack++;
}
static void c_window(struct oracle_spec *s) {
    s->window++;
}
static void c_psh(struct oracle_spec *s) {
    s->flags |= ORACLE_PSH;
}
static void c_no_ack(struct oracle_spec *s) {
    s->flags = 0;
}
static void c_fin(struct oracle_spec *s) {
    s->flags |= ORACLE_FIN;
}
static void c_syn(struct oracle_spec *s) {
    s->flags |= ORACLE_SYN;
}
static void c_rst(struct oracle_spec *s) {
    s->flags |= ORACLE_RST;
}
static void c_urg(struct oracle_spec *s) {
    s->flags |= ORACLE_URG;
}
static void c_ece(struct oracle_spec *s) {
    s->flags |= ORACLE_ECE;
}
static void c_cwr(struct oracle_spec *s) {
    s->flags |= ORACLE_CWR;
}
static void c_more_options(struct oracle_spec *s) {
    s->tcp_options += 4;
}
static void c_option_value(struct oracle_spec *s) {
    s->tcp_option_value++;
}
static void c_bad(struct oracle_spec *s) {
    s->check = ORACLE_BAD;
}
static void c_none(struct oracle_spec *s) {
    s->check = ORACLE_NONE;
}
static void c_partial(struct oracle_spec *s) {
    s->check = ORACLE_PARTIAL;
}
static void c_bad_ip(struct oracle_spec *s) {
    s->bad_ip_sum = true;
}

enum { ANY, V4, V6 };

struct rule {
    const char *what;
    change *apply; // to the second packet, which otherwise continues the first
    int version;
    bool tcp, udp; // whether the rule is about them
    bool merges;
};

static const struct rule rules[] = {
    {"the next packet", c_nothing, ANY, true, true, true},
    {"another source", c_src, ANY, true, true, false},
    {"another destination", c_dst, ANY, true, true, false},
    {"another source port", c_sport, ANY, true, true, false},
    {"another destination port", c_dport, ANY, true, true, false},
    {"another DSCP", c_tos, ANY, true, true, false},
    {"another ECN", c_ecn, ANY, true, true, false},
    {"another TTL", c_ttl, ANY, true, true, false},
    {"another flow label", c_label, V6, true, true, false},
    {"DF gone", c_df, V4, true, true, false},
    {"an identification skipped, with DF", c_id, V4, true, true, true},
    {"IP options", c_options, V4, true, true, false},
    {"an extension header", c_extension, V6, true, true, false},
    {"a first fragment", c_first_fragment, V4, true, true, false},
    {"a later fragment", c_later_fragment, V4, true, true, false},
    {"a fragment header", c_v6_fragment, V6, true, true, false},
    {"a shorter payload", c_shorter, ANY, true, true, true},
    {"one byte of payload", c_one, ANY, true, true, true},
    {"a longer payload", c_longer, ANY, true, true, false},
    {"no payload", c_empty, ANY, true, true, false},
    {"a gap in the sequence", c_seq_gap, ANY, true, false, false},
    {"a retransmission", c_seq_back, ANY, true, false, false},
    {"another ACK", c_ack, ANY, true, false, false},
    {"another window", c_window, ANY, true, false, false},
    {"PSH", c_psh, ANY, true, false, true},
    {"no ACK", c_no_ack, ANY, true, false, false},
    {"FIN", c_fin, ANY, true, false, false},
    {"SYN", c_syn, ANY, true, false, false},
    {"RST", c_rst, ANY, true, false, false},
    {"URG", c_urg, ANY, true, false, false},
    {"ECE", c_ece, ANY, true, false, false},
    {"CWR", c_cwr, ANY, true, false, false},
    {"more TCP options", c_more_options, ANY, true, false, false},
    {"another TCP option", c_option_value, ANY, true, false, false},
    {"a bad L4 checksum", c_bad, ANY, true, true, false},
    {"no UDP checksum", c_none, ANY, false, true, false},
    {"a partial checksum behind a complete one", c_partial, ANY, true, true, false},
    {"a bad IP header checksum", c_bad_ip, V4, true, true, false},
};

static const uint8_t protos[] = {ORACLE_TCP, ORACLE_UDP};

static bool about(const struct rule *rule, unsigned version, uint8_t proto) {
    return (proto == ORACLE_TCP ? rule->tcp : rule->udp) &&
           (rule->version == ANY || (rule->version == V4) == (version == 4));
}

// The second packet breaks the rule; the first must not be merged with it, nor a third that the
// first would fit (order!).
static void test_rules_second(void) {
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        for (unsigned version = 4; version <= 6; version += 2)
            for (unsigned p = 0; p < 2; p++) {
                if (!about(&rules[i], version, protos[p]))
                    continue;
                struct oracle_spec first = plain(version, protos[p]);
                first.tcp_options = protos[p] == ORACLE_TCP ? 12 : 0;
                struct oracle_spec second = next_of(&first);
                rules[i].apply(&second);
                reset();
                check_case("%s, IPv%u, protocol %u", rules[i].what, version, protos[p]);
                add(&first);
                add(&second);
                flush(rules[i].merges ? 1 : 2);
            }
}

// Both packets are of the kind that may not be merged.
static void test_rules_both(void) {
    static const struct rule kinds[] = {
        {"IP options", c_options, V4, true, true, false},
        {"an extension header", c_extension, V6, true, true, false},
        {"fragments", c_later_fragment, V4, true, true, false},
        {"first fragments", c_first_fragment, V4, true, true, false},
        {"fragment headers", c_v6_fragment, V6, true, true, false},
        {"PSH on the first", c_psh, ANY, true, false, false},
        {"no ACK", c_no_ack, ANY, true, false, false},
        {"FIN", c_fin, ANY, true, false, false},
        {"SYN", c_syn, ANY, true, false, false},
        {"URG", c_urg, ANY, true, false, false},
        {"ECE", c_ece, ANY, true, false, false},
        {"CWR", c_cwr, ANY, true, false, false},
        {"no payload", c_empty, ANY, true, true, false},
        {"bad L4 checksums", c_bad, ANY, true, true, false},
        {"no UDP checksums", c_none, V4, false, true, false},
        {"bad IP header checksums", c_bad_ip, V4, true, true, false},
        {"partial checksums", c_partial, ANY, true, true, true},
        {"TOS", c_tos, ANY, true, true, true},
        {"TCP options", c_more_options, ANY, true, false, true},
    };
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (unsigned version = 4; version <= 6; version += 2)
            for (unsigned p = 0; p < 2; p++) {
                if (!about(&kinds[i], version, protos[p]))
                    continue;
                struct oracle_spec first = plain(version, protos[p]);
                kinds[i].apply(&first);
                struct oracle_spec second = next_of(&first);
                reset();
                check_case("both with %s, IPv%u, protocol %u", kinds[i].what, version, protos[p]);
                add(&first);
                add(&second);
                flush(kinds[i].merges ? 1 : 2);
            }
}

// A first packet with a bad checksum must not get a good one from being merged with a second.
static void test_first_is_bad(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < 2; p++)
            for (unsigned what = 0; what < 3; what++) {
                struct oracle_spec first = plain(version, protos[p]);
                struct oracle_spec second = next_of(&first);
                if (what == 0) {
                    first.check = ORACLE_BAD;
                } else if (version == 6) {
                    continue;
                } else {
                    first.bad_ip_sum = true;
                    first.check = second.check = what == 2 ? ORACLE_PARTIAL : ORACLE_COMPLETE;
                }
                static const char *const names[] = {"L4 checksum", "IP header checksum",
                                                    "IP header checksum, L4 partial"};
                reset();
                check_case("a first packet with a bad %s, IPv%u, protocol %u", names[what], version,
                           protos[p]);
                add(&first);
                add(&second);
                flush(2);
            }
}

// Identification counts on where DF does not say that it means nothing, also over its wrap.
static void test_identification(void) {
    for (unsigned p = 0; p < 2; p++) {
        struct oracle_spec s = plain(4, protos[p]);
        s.df = false;
        s.id = 0xfffe;
        reset();
        check_case("identifications in a row, protocol %u", protos[p]);
        for (int i = 0; i < 5; i++) {
            add(&s);
            s = next_of(&s);
        }
        flush(1);
        reset();
        check_case("one skipped, protocol %u", protos[p]);
        add(&s);
        s = next_of(&s);
        add(&s);
        s = next_of(&s);
        s.id++;
        add(&s);
        flush(2);
        reset();
        check_case("the same again, protocol %u", protos[p]);
        add(&s);
        s = next_of(&s);
        s.id--;
        add(&s);
        flush(2);
    }
}

static void test_ends(void) {
    for (unsigned version = 4; version <= 6; version += 2) {
        struct oracle_spec s = plain(version, ORACLE_TCP);
        reset();
        check_case("PSH ends, IPv%u", version);
        for (int i = 0; i < 6; i++) {
            s.flags = i == 2 ? ORACLE_ACK | ORACLE_PSH : ORACLE_ACK;
            add(&s);
            s = next_of(&s);
        }
        flush(2);
        if (CHECK_EQ(sink->count, 2)) {
            CHECK_EQ(sink->write[0].packet[(version == 4 ? 20 : 40) + 13], ORACLE_ACK | ORACLE_PSH);
            CHECK_EQ(sink->write[1].packet[(version == 4 ? 20 : 40) + 13], ORACLE_ACK);
        }
        for (unsigned p = 0; p < 2; p++) {
            s = plain(version, protos[p]);
            reset();
            check_case("a shorter one ends, IPv%u, protocol %u", version, protos[p]);
            for (int i = 0; i < 6; i++) {
                s.payload_len = i == 2 ? 60 : 100;
                add(&s);
                s = next_of(&s);
            }
            flush(2);
        }
    }
}

static void test_sizes(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < 2; p++) {
            struct oracle_spec s = plain(version, protos[p]);
            reset();
            check_case("at most %d packets, IPv%u, protocol %u", KY_GRO_SEGS, version, protos[p]);
            for (int i = 0; i < 2 * KY_GRO_SEGS + 1; i++) {
                add(&s);
                s = next_of(&s);
            }
            flush(3);
            s = plain(version, protos[p]);
            s.payload_len = 1398;
            reset();
            check_case("at most 64 KB, IPv%u, protocol %u", version, protos[p]);
            for (int i = 0; i < 92; i++) {
                add(&s);
                s = next_of(&s);
                s.payload = payload;
            }
            flush(2);
            s.payload_len = 32700; // twice this and headers is too much or just fits
            reset();
            check_case("large packets, IPv%u, protocol %u", version, protos[p]);
            add(&s);
            s = next_of(&s);
            s.payload = payload;
            add(&s);
            flush(1);
            size_t headers = (version == 4 ? 20 : 40) + (protos[p] == ORACLE_TCP ? 20u : 8u);
            for (unsigned over = 0; over < 2; over++) {
                s.payload_len = 65535 - headers - 32767 + over;
                reset();
                check_case("%u bytes in all, IPv%u, protocol %u", 65535 + over, version, protos[p]);
                s.payload_len = 32768;
                add(&s);
                s = next_of(&s);
                s.payload = payload;
                s.payload_len = 65535 - headers - 32768 + over;
                add(&s);
                flush(over ? 2 : 1);
            }
        }
}

static void test_options_fill_the_header(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned options = 0; options <= 40; options += 4) {
            struct oracle_spec s = plain(version, ORACLE_TCP);
            s.tcp_options = (uint8_t)options;
            s.tcp_option_value = 1;
            reset();
            check_case("%u bytes of TCP options, IPv%u", options, version);
            for (int i = 0; i < 4; i++) {
                add(&s);
                s = next_of(&s);
            }
            flush(1);
        }
}

static void test_reserved_bits(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP);
    reset();
    check_case("TCP's reserved bits");
    for (int i = 0; i < 2; i++) {
        uint8_t *packet = arena + arena_used;
        size_t len = oracle_build(packet, &s);
        packet[32] |= 1; // AE, RFC 9768
        oracle_complete(packet, len);
        arena_used += len + 1;
        add_bytes(packet, len, (struct ky_arrival){0});
        s = next_of(&s);
    }
    flush(2);
}

// Fragments whose bytes happen to sum up as a whole packet's would.
static void test_fragments_that_sum_up(void) {
    for (unsigned p = 0; p < 2; p++) {
        struct oracle_spec s = plain(4, protos[p]);
        c_first_fragment(&s);
        reset();
        check_case("fragments that sum up, protocol %u", protos[p]);
        for (int i = 0; i < 2; i++) {
            uint8_t *packet = arena + arena_used, *check = packet + (p ? 26 : 36);
            size_t len = oracle_build(packet, &s);
            oracle_put16(check, 0);
            oracle_put16(check, 0xffffu - oracle_sum(packet + 20, len - 20, 0));
            arena_used += len + 1;
            add_bytes(packet, len, (struct ky_arrival){0});
            s = next_of(&s);
        }
        flush(2);
    }
}

static void test_udp_length_lies(void) {
    for (int lie = -1; lie <= 1; lie++) {
        struct oracle_spec s = plain(4, ORACLE_UDP);
        reset();
        check_case("UDP length %d off", lie);
        for (int i = 0; i < 2; i++) {
            uint8_t *packet = arena + arena_used;
            size_t len = oracle_build(packet, &s);
            oracle_put16(packet + 24, (unsigned)((int)oracle_get16(packet + 24) + lie));
            oracle_complete(packet, len);
            arena_used += len + 1;
            add_bytes(packet, len, (struct ky_arrival){0});
            s = next_of(&s);
        }
        flush(lie == 0 ? 1 : 2);
    }
}

static void test_padding(void) {
    struct oracle_spec s = plain(4, ORACLE_UDP);
    reset();
    check_case("Ethernet padding is not payload");
    for (int i = 0; i < 3; i++) {
        uint8_t *packet = arena + arena_used;
        size_t len = oracle_build(packet, &s);
        memset(packet + len, 0xee, 10);
        struct ky_inner in;
        REQUIRE(ky_inner_parse(packet, len + 10, &in) == 0);
        arena_used += len + 10;
        queued[queued_count].packet = packet;
        queued[queued_count].len = len;
        queued[queued_count].gso_size = 0;
        queued[queued_count++].partial = false;
        ky_gro_add(&gro, packet, &in, (struct ky_arrival){.pseudo = pseudo_of(packet, len)});
        s = next_of(&s);
    }
    flush(1);
}

static void test_switches(void) {
    for (unsigned p = 0; p < 2; p++)
        for (unsigned on = 0; on < 4; on++) {
            struct oracle_spec s = plain(4, protos[p]);
            reset();
            gro.tcp = on & 1;
            gro.udp = on & 2;
            check_case("TCP %s, UDP %s, protocol %u", gro.tcp ? "on" : "off",
                       gro.udp ? "on" : "off", protos[p]);
            add(&s);
            s = next_of(&s);
            add(&s);
            flush((protos[p] == ORACLE_TCP ? gro.tcp : gro.udp) ? 1 : 2);
        }
}

static void test_superpackets(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < 2; p++) {
            struct oracle_spec s = plain(version, protos[p]);
            s.check = ORACLE_PARTIAL;
            s.payload_len = 1000;
            reset();
            check_case("superpackets stay apart, IPv%u, protocol %u", version, protos[p]);
            struct ky_arrival how = {.partial = true, .gso_size = 100};
            add_as(&s, how);
            s = next_of(&s);
            add_as(&s, how);
            s = next_of(&s);
            s.payload_len = 100;
            add(&s); // a plain one behind it
            s = next_of(&s);
            add(&s);
            s = next_of(&s);
            s.payload_len = 1000;
            add_as(&s, how);
            flush(4);
            if (sink->count == 4) {
                CHECK_EQ(sink->write[0].vnet.gso_size, 100);
                CHECK_EQ(sink->write[0].len,
                         oracle_get16(sink->write[0].packet + (version == 4 ? 2 : 4)) +
                             (version == 4 ? 0 : 40));
            }
        }
}

static void test_interleaved_flows(void) {
    enum { FLOWS = 20, EACH = 30 };
    struct oracle_spec s[FLOWS];
    reset();
    check_case("interleaved flows");
    for (unsigned f = 0; f < FLOWS; f++) {
        s[f] = plain(f % 3 ? 4 : 6, protos[f % 2]);
        s[f].sport = (uint16_t)(2000 + f);
    }
    for (int i = 0; i < EACH; i++)
        for (unsigned f = 0; f < FLOWS; f++) {
            add(&s[f]);
            s[f] = next_of(&s[f]);
        }
    ky_gro_flush(&gro);
    CHECK(sink->count < FLOWS * EACH / 2); // flows in one bucket hinder each other
    CHECK_EQ(ky_get(&counters.rx_coalesced), FLOWS * EACH - sink->count);
}

static void test_table_full(void) {
    reset();
    check_case("more flows than entries");
    for (unsigned i = 0; i < 3 * KY_GRO_ENTRIES; i++) {
        struct oracle_spec s = plain(4, ORACLE_UDP);
        s.sport = (uint16_t)(5000 + i);
        add(&s);
        CHECK(gro.count <= KY_GRO_ENTRIES);
        CHECK_EQ(sink->count, i / KY_GRO_ENTRIES * KY_GRO_ENTRIES);
    }
    flush(3 * KY_GRO_ENTRIES);
    reset();
    check_case("a full table still takes what continues"); // or flushes first: both are right
    struct oracle_spec s = plain(4, ORACLE_TCP);
    for (unsigned i = 0; i < KY_GRO_ENTRIES; i++) {
        struct oracle_spec other = plain(4, ORACLE_UDP);
        other.sport = (uint16_t)(5000 + i);
        add(i == 0 ? &s : &other);
    }
    s = next_of(&s);
    add(&s);
    ky_gro_flush(&gro);
    check_streams();
}

static void test_flush_forgets(void) {
    struct oracle_spec s = plain(4, ORACLE_TCP);
    reset();
    check_case("nothing is merged across a flush");
    add(&s);
    ky_gro_flush(&gro);
    CHECK_EQ(sink->count, 1);
    s = next_of(&s);
    add(&s);
    ky_gro_flush(&gro);
    CHECK_EQ(sink->count, 2);
    ky_gro_flush(&gro);
    CHECK_EQ(sink->count, 2);
    check_streams();
}

// EINVAL for superpackets: the packets it was made of are written one by one, as they came.
static void test_refused_superpackets(void) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned p = 0; p < 2; p++)
            for (unsigned partial = 0; partial < 2; partial++) {
                struct oracle_spec s = plain(version, protos[p]);
                s.check = partial ? ORACLE_PARTIAL : ORACLE_COMPLETE;
                reset();
                sink->refuse_super = -EINVAL;
                check_case("EINVAL, IPv%u, protocol %u%s", version, protos[p],
                           partial ? ", partial" : "");
                for (int i = 0; i < 7; i++) {
                    s.payload_len = i == 6 ? 50 : 100;
                    add(&s);
                    s = next_of(&s);
                }
                ky_gro_flush(&gro);
                CHECK_EQ(sink->refused, 1);
                CHECK_EQ(sink->count, 7);
                CHECK_EQ(ky_get(&counters.rx_writes), 7);
                CHECK_EQ(ky_get(&counters.rx_write_fallbacks), 1);
                CHECK_EQ(ky_get(&counters.drops[KY_DROP_RX_TUN_ERROR]), 0);
                check_streams();
                for (unsigned i = 0; i < 7; i++)
                    CHECK_MEM(sink->write[i].packet, queued[i].packet, queued[i].len);
            }
}

static void test_refusals(void) {
    static const struct {
        int err;
        enum ky_drop reason;
    } cases[] = {{-EIO, KY_DROP_RX_TUN_DOWN},
                 {-ENOMEM, KY_DROP_RX_TUN_ERROR},
                 {-EINVAL, KY_DROP_RX_TUN_ERROR},
                 {-EAGAIN, KY_DROP_RX_TUN_ERROR}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oracle_spec s = plain(4, ORACLE_TCP), other = plain(6, ORACLE_UDP);
        reset();
        sink->refuse = cases[i].err;
        check_case("every write answers %d", cases[i].err);
        for (int k = 0; k < 5; k++) {
            add(&s);
            s = next_of(&s);
        }
        add(&other);
        ky_gro_flush(&gro);
        for (unsigned d = 0; d < KY_DROP_COUNT; d++)
            CHECK_EQ(ky_get(&counters.drops[d]),
                     d == cases[i].reason ? 6 : 0); // packets, not writes
        CHECK_EQ(ky_get(&counters.rx_writes), 0);
        sink->refuse = 0;
        add(&other); // and the queue still works
        ky_gro_flush(&gro);
        CHECK_EQ(ky_get(&counters.rx_writes), 1);
    }
}

// Random packets of few flows, mostly in sequence: per flow, what comes out is what went in.
static void test_random(struct random *r) {
    enum { FLOWS = 6 };
    for (int round = 0; round < 1500; round++) {
        struct oracle_spec flow[FLOWS];
        reset();
        for (unsigned f = 0; f < FLOWS; f++) {
            flow[f] = plain(random_one_in(r, 2) ? 4 : 6, protos[random_below(r, 2)]);
            flow[f].df = random_one_in(r, 2);
            flow[f].seq = (uint32_t)random_next(r);
        }
        // One flow at a time: then the order over all is the order within each.
        unsigned f = random_below(r, FLOWS);
        check_case("random %d", round);
        for (unsigned i = 0, n = random_below(r, 200); i < n; i++) {
            struct oracle_spec s = flow[f];
            s.payload_len = random_one_in(r, 4) ? random_below(r, 150) : 100;
            s.payload = payload + random_below(r, 1000);
            s.check = random_one_in(r, 10)  ? ORACLE_BAD
                      : random_one_in(r, 4) ? ORACLE_PARTIAL
                                            : s.check;
            s.bad_ip_sum = random_one_in(r, 20);
            if (random_one_in(r, 5))
                s.flags |= (uint8_t)(1 << random_below(r, 8));
            if (random_one_in(r, 10))
                s.tos = (uint8_t)random_next(r);
            if (random_one_in(r, 10))
                s.ack++;
            add(&s);
            flow[f].seq += (uint32_t)s.payload_len;
            flow[f].id++;
            if (random_one_in(r, 40))
                ky_gro_flush(&gro);
            if (random_one_in(r, 60)) {
                ky_gro_flush(&gro);
                f = random_below(r, FLOWS);
            }
        }
        ky_gro_flush(&gro);
        check_streams();
    }
}

int main(void) {
    struct random r = {.state = 6};
    sink = sink_new();
    in_stream.bytes = malloc(ARENA);
    out_stream.bytes = malloc(ARENA);
    REQUIRE(in_stream.bytes != NULL && out_stream.bytes != NULL);
    random_fill(&r, payload, sizeof payload);
    test_rules_second();
    test_rules_both();
    test_first_is_bad();
    test_identification();
    test_ends();
    test_sizes();
    test_options_fill_the_header();
    test_reserved_bits();
    test_fragments_that_sum_up();
    test_udp_length_lies();
    test_padding();
    test_switches();
    test_superpackets();
    test_interleaved_flows();
    test_table_full();
    test_flush_forgets();
    test_refused_superpackets();
    test_refusals();
    test_random(&r);
    free(in_stream.bytes);
    free(out_stream.bytes);
    sink_free(sink);
    return check_report();
}
