// Flow offload: which packets leave directly, that they are on the wire what the engine would have made of them, that
// all of them are counted, and that a new table of peers is obeyed at once. That flows stay in order is shown by
// order_test and swap_test.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "netns.h"
#include "random.h"
#include "traffic.h"

enum {
    OUTER = 20 + 8 + 8 + 14,
    SETTLE_MAX = 200,
    FULL = HOSTS_MTU - 40, // the receiver takes a superpacket's segments to be as large as the MTU
};

static struct host hosts[2];
static uint8_t payload[ORACLE_PACKET_MAX];

static uint64_t offloaded(void) {
    return hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_offloaded);
}

static struct oracle_spec tcp(size_t len) {
    struct oracle_spec s = hosts_plain(4, ORACLE_TCP, len, false);
    s.payload = payload;
    s.flags = ORACLE_ACK;
    return s;
}

// Sends one and waits for it at the other host.
static void send_one(struct oracle_spec *s, uint16_t mss) {
    traffic_send(&hosts[0], s, mss);
    traffic_check(&hosts[1]);
    s->seq += (uint32_t)s->payload_len;
    s->id++;
}

// Sends packets of the flow until one leaves directly.
static bool settle(struct oracle_spec *s) {
    uint64_t before = offloaded();
    for (unsigned i = 0; i < SETTLE_MAX; i++) {
        send_one(s, 0);
        if (offloaded() > before)
            return true;
    }
    return false;
}

static bool open_hosts(uint32_t disable) {
    return hosts_open_both(hosts, disable, 1u << KY_FEATURE_FLOW_OFFLOAD);
}

static void close_hosts(void) {
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

// ---- which, and how they are counted ----

static void test_counted(void) {
    check_case("superpackets and small packets are counted alike, whichever way they went");
    struct oracle_spec s = tcp(500);
    CHECK(settle(&s));
    uint64_t packets = hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_packets),
             bytes = hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_bytes), direct = offloaded(),
             reads = hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_reads);
    struct ky_peer_stats before = hosts_peer_stats(&hosts[0]);
    s.payload_len = 60000;
    send_one(&s, FULL); // 43 segments
    s.payload_len = 0;
    send_one(&s, 0);
    s.payload_len = 2 * (FULL - 12) + 1;
    s.tcp_options = 12;
    send_one(&s, FULL - 12); // 3 segments
    uint64_t more_bytes = 60000 + 43 * 40 + 40 + 2 * (FULL - 12) + 1 + 3 * 52;
    struct ky_peer_stats after = hosts_peer_stats(&hosts[0]);
    CHECK_EQ(offloaded() - direct, 3);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_reads) - reads, 0);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_packets) - packets, 43 + 1 + 3);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_bytes) - bytes, more_bytes);
    CHECK_EQ(after.tx_packets - before.tx_packets, 43 + 1 + 3);
    CHECK_EQ(after.tx_bytes - before.tx_bytes, more_bytes);
}

static void stays(const char *what, struct oracle_spec s, uint16_t mss) {
    check_case("%s is left to the engine", what);
    uint64_t before = offloaded();
    s.payload = payload;
    for (unsigned i = 0; i < 20; i++)
        send_one(&s, mss);
    CHECK_EQ(offloaded() - before, 0);
}

static void test_others(void) {
    struct oracle_spec s = tcp(300);
    s.ip_options = 4;
    s.sport = 2001;
    stays("a packet with IPv4 options", s, 0);
    s = tcp(304);
    s.mf = true;
    s.df = false;
    s.sport = 2002;
    stays("a fragment", s, 0);
    stays("UDP", hosts_plain(4, ORACLE_UDP, 300, false), 0);
    s = hosts_plain(6, ORACLE_TCP, 3000, false);
    s.flags = ORACLE_ACK;
    stays("IPv6", s, FULL - 20);
}

// More flows than slots, each by turns with the others.
static void test_many(void) {
    check_case("3,000 flows");
    for (unsigned round = 0; round < 4; round++) {
        for (uint16_t i = 0; i < 3000; i++) {
            struct oracle_spec s = tcp(100);
            s.sport = (uint16_t)(3000 + i);
            s.seq = round * 100;
            s.id = (uint16_t)round;
            send_one(&s, 0);
        }
    }
}

// ---- the wire ----

// Taps get a packet before the receive ring takes it away from the stack (ring.h).
static int listen_on_wire(void) {
    netns_set(hosts[1].ns);
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex("underlay")};
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

// Waits for the packet to the engine's port with this inner TCP sequence number, and takes its headers.
static bool wait_on_wire(int fd, uint32_t seq, uint8_t outer[OUTER]) {
    static uint8_t packet[1 << 17];
    struct oracle_ip ip;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, TRAFFIC_WAIT_MS) == 1) {
        ssize_t n = recv(fd, packet, sizeof packet, 0);
        if (n < OUTER + 40 || !oracle_parse(packet, (size_t)n, &ip) || ip.proto != ORACLE_UDP ||
            oracle_get16(packet + ip.l4 + 2) != HOSTS_PORT)
            continue;
        CHECK(oracle_ip_sum_ok(packet));
        CHECK_EQ(oracle_get16(packet + 2), n);
        CHECK_EQ(oracle_get16(packet + 24), n - 20);
        memcpy(outer, packet, OUTER);
        if (oracle_get32(packet + OUTER + 24) == seq)
            return true;
    }
    return false;
}

// Sends one, and takes its headers from the wire.
static void send_seen(int fd, struct oracle_spec *s, uint16_t mss, uint8_t outer[OUTER]) {
    uint8_t before;
    uint32_t seq = s->seq;
    while (recv(fd, &before, 1, 0) >= 0)
        ; // or the socket has no room left
    send_one(s, mss);
    CHECK(wait_on_wire(fd, seq, outer));
}

// Everything but what must differ: identification and checksums.
static void compare_headers(uint8_t *direct, uint8_t *engine) {
    CHECK_EQ(oracle_get16(direct + 26), 0); // RFC 7348 5
    uint8_t *both[] = {direct, engine};
    for (unsigned i = 0; i < 2; i++) {
        oracle_put16(both[i] + 4, 0);
        oracle_put16(both[i] + 10, 0);
        oracle_put16(both[i] + 26, 0);
    }
    CHECK_MEM(direct, engine, OUTER);
}

static void test_headers(void) {
    int fd = listen_on_wire();
    uint8_t engine[OUTER], direct[OUTER];
    unsigned id = 0;
    for (unsigned ecn = 0; ecn < 4; ecn++) {
        check_case("the headers of a packet with TOS 0x%x", 0xb8 | ecn);
        struct oracle_spec s = tcp(700);
        s.tos = (uint8_t)(0xb8 | ecn);
        s.sport = (uint16_t)(1000 + ecn);
        send_seen(fd, &s, 0, engine);
        CHECK(settle(&s));
        send_seen(fd, &s, 0, direct);
        compare_headers(direct, engine);
        for (unsigned i = 0; i < 3; i++) {
            s.payload_len = FULL * (i + 1u);
            send_seen(fd, &s, i == 0 ? 0 : FULL, direct);
            // One for each segment before.
            CHECK_EQ(i == 0 ? 0 : (oracle_get16(direct + 4) - id) & 0xffff, i);
            id = oracle_get16(direct + 4);
        }
    }
    close(fd);
}

// ---- what changes ----

static void set_peer(uint8_t last_byte_of_outer, uint8_t bits) {
    struct ky_peer_spec specs[2];
    size_t duplicate;
    hosts_specs(&hosts[1], false, specs);
    uint32_t outer = htonl((ky_ip_v4(specs[0].outer) & 0xffffff00u) | last_byte_of_outer);
    specs[0].outer = ky_ip4((const uint8_t *)&outer);
    specs[0].bits = (uint8_t)(KY_V4_BITS + bits);
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs, 2, hosts[0].own, 2, &duplicate) == 0);
}

static void test_peers(void) {
    struct oracle_spec s = tcp(600);
    uint8_t right = (uint8_t)ky_ip_v4(hosts[1].underlay), header[OUTER];
    s.sport = 1100;
    CHECK(settle(&s));
    check_case("a peer that moves away takes its flows along, with the return of set_peers");
    int fd = listen_on_wire();
    REQUIRE(netns_add_ip4("underlay:9", "192.0.2.9", 24) == 0); // the engine does not listen there
    set_peer(9, 24);
    uint64_t before = offloaded();
    traffic_send(&hosts[0], &s, 0);
    traffic_forget();
    CHECK(wait_on_wire(fd, s.seq, header));
    CHECK_EQ(header[19], 9);
    CHECK_EQ(offloaded(), before);
    close(fd);
    check_case("and back");
    set_peer(right, 24);
    CHECK(settle(&s));
    check_case("a flow whose peer is the same by another prefix is decided anew");
    before = offloaded();
    set_peer(right, 25);
    send_one(&s, 0);
    CHECK_EQ(offloaded(), before);
    CHECK(settle(&s));
    check_case("one whose peer stays goes on");
    set_peer(right, 25);
    before = offloaded();
    send_one(&s, 0);
    CHECK_EQ(offloaded() - before, 1);
}

// The engine has the kernel fragment them.
static void test_smaller_mtu(void) {
    check_case("what the underlay must fragment is left to the engine");
    struct oracle_spec s = tcp(1400);
    s.sport = 1200;
    CHECK(settle(&s));
    netns_set(hosts[0].ns);
    REQUIRE(netns_link_mtu("underlay", 1300) == 0);
    uint64_t before = offloaded();
    for (unsigned i = 0; i < 10; i++)
        send_one(&s, 0);
    CHECK_EQ(offloaded(), before);
    REQUIRE(netns_link_mtu("underlay", 1500) == 0);
    CHECK(settle(&s));
}

int main(void) {
    struct random r = {.state = 13};
    random_fill(&r, payload, sizeof payload);
    hosts_make(hosts);
    traffic_begin();
    struct footprint before = hosts_footprint(hosts);
    bool serves = open_hosts(0);
    if (serves) {
        test_counted();
        test_others();
        test_many();
        test_headers();
        test_peers();
        test_smaller_mtu();
    }
    close_hosts();
    netns_set(hosts[0].ns);
    if (serves && netns_congestion("bbr") == 0) {
        check_case("where TCP uses BBR nothing is offloaded that acknowledgements do not follow");
        CHECK(open_hosts(0));
        close_hosts();
        CHECK(!open_hosts(1u << KY_FEATURE_RECEIVE_RING));
        close_hosts();
        netns_set(hosts[0].ns);
    }
    REQUIRE(netns_congestion("reno") == 0);
    CHECK(!open_hosts(1u << KY_FEATURE_FLOW_OFFLOAD));
    stays("everything, where it is switched off,", tcp(500), 0);
    close_hosts();
    hosts_check_footprint(hosts, &before);
    traffic_end();
    return serves ? check_report() : check_report() != 0 ? 1 : CHECK_SKIP;
}
