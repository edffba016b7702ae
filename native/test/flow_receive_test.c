// Packets of offloaded flows that come in past the engine, acknowledgements and payload: which do, that they are what
// was sent, counted, in order with what takes the engine's way, and that all that the engine would refuse it still
// refuses.
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "netns.h"
#include "random.h"
#include "threads.h"
#include "traffic.h"

enum {
    SETTLE_MAX = 5000,
    ROUNDS = 800,
    VNI_AT = 4,
    DST_MAC_AT = 8,
    SRC_MAC_AT = 14,
    FRAME = 8 + 14,
    FULL = HOSTS_MTU - 40 // what the engine takes a superpacket's segments to hold
};

static struct host hosts[2];
static uint8_t payload[ORACLE_PACKET_MAX];

static uint64_t came_in(void) {
    return hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_offloaded);
}

static struct oracle_spec data(uint16_t sport, size_t len) {
    struct oracle_spec s = hosts_plain(4, ORACLE_TCP, len, false);
    s.sport = sport;
    s.payload = payload;
    s.flags = ORACLE_ACK;
    return s;
}

// Of what goes out by `s`.
static struct oracle_spec answer(const struct oracle_spec *s) {
    struct oracle_spec back = hosts_plain(4, ORACLE_TCP, 0, true);
    back.sport = s->dport;
    back.dport = s->sport;
    back.flags = ORACLE_ACK;
    back.payload = payload;
    return back;
}

static void send_one(struct oracle_spec *s) {
    traffic_send(&hosts[0], s, 0);
    traffic_check(&hosts[1]);
    s->seq += (uint32_t)s->payload_len;
    s->id++;
}

static void send_back(struct oracle_spec *back, uint16_t mss) {
    traffic_send(&hosts[1], back, mss);
    back->ack += 1000;
    back->seq += (uint32_t)back->payload_len;
}

static void answer_one(struct oracle_spec *back) {
    send_back(back, 0);
    traffic_check(&hosts[0]);
}

// Both until an answer comes in past the engine, which has to sleep then.
static bool settle(struct oracle_spec *s, struct oracle_spec *back) {
    uint64_t before = came_in();
    for (unsigned i = 0; i < SETTLE_MAX && came_in() == before; i++) {
        send_one(s);
        threads_rest();
        answer_one(back);
    }
    return came_in() > before;
}

static bool open_hosts(uint32_t disable) {
    return hosts_open_both(hosts, disable,
                           (1u << KY_FEATURE_FLOW_OFFLOAD | 1u << KY_FEATURE_RECEIVE_RING |
                            1u << KY_FEATURE_FLOW_RECEIVE) &
                               ~disable);
}

static void close_hosts(void) {
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

// ---- which, and how they are counted ----

static void test_counted(void) {
    check_case("an acknowledgement is counted as any packet is");
    struct oracle_spec s = data(1000, 500), back = answer(&s);
    CHECK(settle(&s, &back));
    uint64_t packets = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets),
             bytes = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_bytes), direct = came_in(),
             writes = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_writes);
    struct ky_peer_stats before = hosts_peer_stats(&hosts[0]);
    const uint8_t options[] = {0, 12, 40};
    for (unsigned i = 0; i < 3; i++) {
        back.tcp_options = options[i];
        threads_rest();
        answer_one(&back);
    }
    struct ky_peer_stats after = hosts_peer_stats(&hosts[0]);
    CHECK_EQ(came_in() - direct, 3);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_writes) - writes, 0);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets) - packets, 3);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_bytes) - bytes, 40 + 52 + 80);
    CHECK_EQ(after.rx_packets - before.rx_packets, 3);
    CHECK_EQ(after.rx_bytes - before.rx_bytes, 40 + 52 + 80);
}

static void stays(const char *what, struct oracle_spec back) {
    check_case("%s takes the engine's way", what);
    uint64_t before = came_in();
    for (unsigned i = 0; i < 10; i++) {
        threads_rest();
        answer_one(&back);
    }
    CHECK_EQ(came_in() - before, 0);
}

static void test_others(void) {
    struct oracle_spec s = data(1100, 500), back = answer(&s), other;
    CHECK(settle(&s, &back));
    other = back;
    other.payload_len = 1;
    stays("payload with more behind it", other);
    const uint8_t flags[] = {ORACLE_FIN, ORACLE_SYN, ORACLE_RST, ORACLE_PSH,
                             ORACLE_URG, 0x40,       0x80};
    for (unsigned i = 0; i < sizeof flags; i++) {
        other = back;
        other.flags |= flags[i];
        stays("a packet with another flag", other);
    }
    other = back;
    other.flags = 0;
    stays("a packet without ACK", other);
    other.flags = ORACLE_PSH;
    other.payload_len = 1;
    stays("payload without ACK", other);
    other = back;
    other.payload_len = 100;
    other.flags = ORACLE_ACK | ORACLE_PSH | ORACLE_FIN;
    stays("the last payload of all", other);
    other = back;
    other.ip_options = 4;
    stays("a packet with IPv4 options", other);
    other = back;
    other.dport++;
    stays("an unknown flow", other);
    other = back;
    other.src[3]++;
    stays("another address", other);
    check_case("and after all these");
    CHECK(settle(&s, &back));
}

// ---- payload ----

static void test_payload(void) {
    struct oracle_spec s = data(1500, 500), back = answer(&s);
    const struct {
        const char *what;
        size_t len;
        uint16_t mss;
        uint8_t flags, options;
        unsigned packets;
    } some[] = {{"the last packet of what a program sent", 700, 0, ORACLE_PSH, 0, 1},
                {"one byte", 1, 0, ORACLE_PSH, 12, 1},
                {"a superpacket", 10 * FULL, FULL, 0, 0, 10},
                {"a superpacket with a short end", 3 * FULL + 1, FULL, ORACLE_PSH, 0, 4},
                {"a superpacket of smaller segments", 20000, 1000, 0, 12, 20},
                {"the largest superpacket", 65000, FULL, 0, 0, 47}};
    for (unsigned i = 0; i < sizeof some / sizeof *some; i++) {
        check_case("%s comes in past the engine and is counted", some[i].what);
        back.payload_len = 0;
        back.flags = ORACLE_ACK;
        back.tcp_options = 0;
        CHECK(settle(&s, &back));
        uint64_t packets = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets),
                 bytes = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_bytes), past = came_in(),
                 writes = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_writes);
        back.payload_len = some[i].len;
        back.flags |= some[i].flags;
        back.tcp_options = some[i].options;
        threads_rest();
        send_back(&back, some[i].mss);
        traffic_check(&hosts[0]);
        CHECK_EQ(came_in() - past, some[i].packets);
        CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_writes) - writes, 0);
        CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets) - packets, some[i].packets);
        CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_bytes) - bytes,
                 some[i].len + some[i].packets * (40u + some[i].options));
    }
}

static void test_payload_switched_off(void) {
    struct oracle_spec s = data(1600, 500), back = answer(&s), other;
    CHECK(settle(&s, &back));
    other = back;
    other.payload_len = 100;
    other.flags |= ORACLE_PSH;
    stays("payload, where it is switched off,", other);
    check_case("a superpacket, where that is switched off, takes the engine's way");
    uint64_t before = came_in();
    other.payload_len = 10 * FULL;
    threads_rest();
    send_back(&other, FULL);
    traffic_check(&hosts[0]);
    CHECK_EQ(came_in(), before);
}

// ---- what the engine refuses ----

// Sends one frame from the peer's address as any program there could.
static void send_frame(const uint8_t *frame, size_t len, uint8_t tos) {
    netns_set(hosts[1].ns);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), value = tos;
    uint32_t from = htonl(ky_ip_v4(hosts[1].underlay)), to = htonl(ky_ip_v4(hosts[0].underlay));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {from}};
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    REQUIRE(setsockopt(fd, IPPROTO_IP, IP_TOS, &value, sizeof value) == 0);
    at = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(HOSTS_PORT), .sin_addr = {to}};
    REQUIRE(sendto(fd, frame, len, 0, (struct sockaddr *)&at, sizeof at) == (ssize_t)len);
    close(fd);
    netns_set(hosts[0].ns);
}

static size_t build_frame(uint8_t *frame, const struct oracle_spec *back) {
    memset(frame, 0, FRAME);
    frame[0] = 0x08;
    frame[VNI_AT + 1] = (uint8_t)(HOSTS_VNI >> 8);
    frame[VNI_AT + 2] = (uint8_t)HOSTS_VNI;
    frame[VNI_AT + 0] = (uint8_t)(HOSTS_VNI >> 16);
    memcpy(frame + DST_MAC_AT, hosts[0].mac, 6);
    memcpy(frame + SRC_MAC_AT, hosts[1].mac, 6);
    oracle_put16(frame + 20, 0x0800);
    return FRAME + oracle_build(frame + FRAME, back);
}

// Whether a frame, sent until something came of it, came in past the engine.
static bool passes(const uint8_t *frame, size_t len, uint8_t tos, const struct oracle_spec *back) {
    uint64_t before = came_in(),
             datagrams = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_datagrams);
    struct ky_vnet v;
    if (back != NULL)
        (void)traffic_build((uint8_t[256]){0}, back, 0, &v); // expects it
    threads_rest();
    send_frame(frame, len, tos);
    if (back != NULL)
        traffic_check(&hosts[0]);
    while (came_in() == before &&
           hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_datagrams) == datagrams)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    threads_rest(); // it is counted as what it was
    return came_in() > before;
}

static void test_frames(void) {
    struct oracle_spec s = data(1200, 500), back = answer(&s);
    uint8_t frame[256];
    CHECK(settle(&s, &back));
    size_t len = build_frame(frame, &back);
    check_case("a good frame");
    bool seen = false;
    for (unsigned i = 0; i < SETTLE_MAX && !seen; i++)
        seen = passes(frame, len, 0, &back);
    CHECK(seen);
    check_case("a frame of the outer packet's ECN");
    CHECK(passes(frame, len, 2, &back)); // ECT(0) changes nothing
    const struct {
        const char *what;
        unsigned at;
        enum ky_drop reason;
    } wrong[] = {{"flags", 0, KY_DROP_RX_FLAGS},
                 {"a reserved bit", 7, KY_DROP_RX_FLAGS},
                 {"a VNI", VNI_AT + 2, KY_DROP_RX_WRONG_VNI},
                 {"a MAC", DST_MAC_AT + 5, KY_DROP_RX_INNER_MAC},
                 {"an EtherType", 21, KY_DROP_RX_INNER_TYPE},
                 {"an inner version", FRAME, KY_DROP_RX_INNER_MALFORMED},
                 {"an inner length", FRAME + 3, KY_DROP_RX_INNER_MALFORMED},
                 {"an inner source", FRAME + 13, KY_DROP_RX_INNER_SOURCE},
                 {"an inner destination", FRAME + 17, KY_DROP_RX_NOT_LOCAL}};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        check_case("%s that is not right", wrong[i].what);
        uint8_t copy[256];
        memcpy(copy, frame, len);
        copy[wrong[i].at] ^= 0x40;
        uint64_t drops = hosts_drop(&hosts[0], wrong[i].reason);
        CHECK(!passes(copy, len, 0, NULL));
        CHECK_EQ(hosts_drop(&hosts[0], wrong[i].reason) - drops, 1);
    }
    check_case("congestion met on the way is handed on by the engine");
    struct oracle_spec capable = back;
    capable.tos = 2;
    len = build_frame(frame, &capable);
    capable.tos = 3;
    CHECK(!passes(frame, len, 3, &capable));
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_ecn_marked), 1);
}

// ---- what changes ----

static void test_peers(void) {
    struct ky_peer_spec specs[2];
    size_t duplicate;
    struct oracle_spec s = data(1300, 500), back = answer(&s);
    CHECK(settle(&s, &back));
    check_case("a peer that went");
    hosts_specs(&hosts[1], false, specs);
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs + 1, 1, hosts[0].own, 2, &duplicate) == 0);
    uint8_t frame[256];
    size_t len = build_frame(frame, &back);
    uint64_t drops = hosts_drops(&hosts[0]);
    CHECK(!passes(frame, len, 0, NULL));
    CHECK_EQ(hosts_drops(&hosts[0]) - drops, 1);
    check_case("and came back");
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs, 2, hosts[0].own, 2, &duplicate) == 0);
    CHECK(settle(&s, &back));
    check_case("a prefix that is not ours any more");
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs, 2, hosts[0].own + 1, 1, &duplicate) == 0);
    drops = hosts_drop(&hosts[0], KY_DROP_RX_NOT_LOCAL);
    CHECK(!passes(frame, len, 0, NULL));
    CHECK_EQ(hosts_drop(&hosts[0], KY_DROP_RX_NOT_LOCAL) - drops, 1);
    uint64_t before = came_in();
    for (unsigned i = 0; i < 10; i++) {
        send_one(&s);
        CHECK(!passes(frame, len, 0, NULL));
    }
    CHECK_EQ(came_in(), before);
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs, 2, hosts[0].own, 2, &duplicate) == 0);
    CHECK(settle(&s, &back));
}

// ---- order ----

// Bursts of acknowledgements with a packet among them that the engine has to handle.
static void test_order(void) {
    check_case("acknowledgements and what is no acknowledgement");
    struct oracle_spec s = data(1400, 500), back = answer(&s);
    struct random r = {.state = 7};
    CHECK(settle(&s, &back));
    uint64_t before = came_in();
    for (unsigned round = 0; round < ROUNDS; round++) {
        send_one(&s);            // the flow may have been abandoned
        if (round >= ROUNDS / 2) // from then on most come in one datagram
            threads_rest();
        for (unsigned i = 0; i < 4; i++) {
            back.payload_len = i == round % 3 ? 1 + random_below(&r, 1300) : 0;
            traffic_send(&hosts[1], &back, 0);
            back.seq += (uint32_t)back.payload_len;
            back.ack += 1000;
        }
        traffic_check(&hosts[0]);
        answer_one(&back);
    }
    printf("%lu of %u came in past the engine\n", (unsigned long)(came_in() - before), ROUNDS * 4);
    CHECK(came_in() > before);
}

// The same with payload of all kinds, in bursts: some of it the engine has to handle.
static void test_payload_order(void) {
    check_case("payload by both ways");
    struct oracle_spec s = data(1700, 500), back = answer(&s);
    struct random r = {.state = 11};
    CHECK(settle(&s, &back));
    uint64_t before = came_in(), packets = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets);
    for (unsigned round = 0; round < ROUNDS; round++) {
        send_one(&s); // the flow may have been abandoned
        if (random_below(&r, 2) == 0)
            threads_rest();
        unsigned burst = 1 + random_below(&r, 12);
        for (unsigned i = 0; i < burst; i++) {
            unsigned kind = random_below(&r, 4);
            back.flags = kind == 1 ? ORACLE_ACK | ORACLE_PSH : ORACLE_ACK;
            back.payload_len = kind == 0   ? FULL + 1 + random_below(&r, 20000)
                               : kind == 3 ? 0
                                           : 1 + random_below(&r, 1300);
            send_back(&back, kind == 0 ? FULL : 0);
        }
        traffic_check(&hosts[0]);
    }
    packets = hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets) - packets;
    printf("%lu of %lu came in past the engine\n", (unsigned long)(came_in() - before),
           (unsigned long)packets);
    CHECK(came_in() > before && came_in() - before < packets);
}

int main(void) {
    struct random r = {.state = 19};
    random_fill(&r, payload, sizeof payload);
    hosts_make(hosts);
    traffic_begin();
    struct footprint before = hosts_footprint(hosts);
    bool serves = open_hosts(0);
    if (serves) {
        test_counted();
        test_others();
        test_payload();
        test_order();
        test_payload_order();
        CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
        test_frames();
        test_peers();
    }
    close_hosts();
    if (serves) {
        CHECK(open_hosts(1u << KY_FEATURE_FLOW_RECEIVE));
        test_payload_switched_off();
        close_hosts();
    }
    hosts_check_footprint(hosts, &before);
    traffic_end();
    return serves ? check_report() : check_report() != 0 ? 1 : CHECK_SKIP;
}
