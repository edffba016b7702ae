// The whole engine: opening and its faults, tables, traffic between two hosts, ICMP, a device that
// is taken away, and that nothing is left behind.
#include "../engine/engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "hosts.h"
#include "netns.h"
#include "random.h"
#include "traffic.h"

enum { WAIT_MS = 3000 };

static struct host hosts[2];
static uint8_t packet[ORACLE_PACKET_MAX], payload[ORACLE_PACKET_MAX];
static const struct ky_vnet no_offload = {0};

// ---- opening ----

static void test_open_close(void) {
    struct footprint before = hosts_footprint(hosts);
    struct ky_engine_config c = hosts_config(&hosts[0]);
    struct ky_engine *e;
    struct ky_fault fault;
    check_case("open and close");
    REQUIRE(CHECK_EQ(ky_engine_open(&c, &e, &fault), 0));
    CHECK(netns_has_link("overlay"));
    CHECK(!netns_link_is_up("overlay"));
    CHECK_EQ(ky_engine_peer_count(e), 0);
    CHECK_EQ(ky_engine_failed(e), 0);
    ky_engine_close(e);
    CHECK(!netns_has_link("overlay"));
    ky_engine_close(NULL);
    hosts_check_footprint(hosts, &before);
}

static void check_fault(const char *what, const struct ky_engine_config *c, const char *step,
                        int error) {
    struct footprint before = hosts_footprint(hosts);
    struct ky_engine *e = NULL;
    struct ky_fault fault = {0};
    check_case("%s", what);
    int err = ky_engine_open(c, &e, &fault);
    CHECK_EQ(err, -error);
    CHECK_EQ(fault.err, -error);
    if (CHECK(fault.step != NULL) && strcmp(fault.step, step) != 0)
        check_fail(__FILE__, __LINE__, "step \"%s\" instead of \"%s\"", fault.step, step);
    if (err == 0)
        ky_engine_close(e);
    hosts_check_footprint(hosts, &before);
}

static void test_faults(void) {
    struct ky_fault fault;
    struct ky_engine_config good = hosts_config(&hosts[0]), c = good;
    REQUIRE(hosts_open(&hosts[0], &good, &fault) == 0);
    c.port++;
    check_fault("the device's name is taken", &c, "tun-name", EBUSY);
    c.workers = 4;
    check_fault("the device's name is taken, 4 workers", &c, "tun-name", EBUSY);
    c = good;
    strcpy(c.device, "other");
    check_fault("the port is taken", &c, "udp-bind", EADDRINUSE);
    c.workers = 2;
    check_fault("the port is taken, 2 workers", &c, "udp-bind", EADDRINUSE);
    hosts_close(&hosts[0]);
    c = good;
    c.local = hosts[1].underlay;
    check_fault("the address is another's", &c, "udp-bind", EADDRNOTAVAIL);
    c.local = hosts[1].underlay6;
    check_fault("the IPv6 address is another's", &c, "udp-bind", EADDRNOTAVAIL);
    c = good;
    strcpy(c.device, "lo");
    check_fault("a device that is no TUN has the name", &c, "tun-name", EBUSY);
    strcpy(c.device, "a/b");
    check_fault("an impossible name", &c, "tun-name", EINVAL);
    struct ky_engine_config bad[7] = {good, good, good, good, good, good, good};
    bad[0].workers = 0;
    bad[1].workers = KY_WORKERS_MAX + 1;
    bad[2].vni = KY_VNI_MAX + 1;
    bad[3].mtu = KY_MTU_MIN - 1;
    bad[4].mtu = 65536;
    bad[5].workers = 1u << 31;
    bad[6].mtu = 0;
    for (unsigned i = 0; i < 7; i++)
        check_fault("a bad configuration", &bad[i], "config", EINVAL);
}

static void test_features(void) {
    for (unsigned f = 0; f <= KY_FEATURE_COUNT; f++) {
        struct ky_engine_config c = hosts_config(&hosts[0]);
        struct ky_engine_stats stats;
        struct ky_fault fault;
        check_case("without %s", f < KY_FEATURE_COUNT ? ky_feature_names[f] : "nothing");
        c.disable = f < KY_FEATURE_COUNT ? 1u << f : 0;
        REQUIRE(hosts_open(&hosts[0], &c, &fault) == 0);
        ky_engine_stats_read(hosts[0].engine, &stats);
        for (unsigned i = 0; i < KY_FEATURE_COUNT; i++) {
            CHECK(stats.features[i].reason[0] != '\0'); // each says why
            CHECK(memchr(stats.features[i].reason, '\0', sizeof stats.features[i].reason) != NULL);
            if (f == KY_FEATURE_COUNT)
                printf("%-13s %s (%s)\n", ky_feature_names[i], stats.features[i].on ? "on" : "off",
                       stats.features[i].reason);
        }
        if (f < KY_FEATURE_COUNT)
            CHECK(!stats.features[f].on);
        hosts_close(&hosts[0]);
    }
}

// ---- tables ----

static struct ky_peer_spec some_peer(uint32_t i, uint8_t second) {
    uint8_t inner[4] = {second, (uint8_t)(i >> 8), (uint8_t)i, 0}, outer[4] = {172, 16, 0, 0};
    struct ky_peer_spec s = {
        .prefix = ky_ip4(inner), .outer = ky_ip4(outer), .bits = KY_V4_BITS + 24};
    s.mac[5] = second;
    return s;
}

static void test_set_peers(void) {
    struct ky_engine_config c = hosts_config(&hosts[0]);
    struct ky_fault fault;
    struct ky_peer_stats stats;
    size_t count = KY_PEERS_MAX + 1, duplicate;
    struct ky_peer_spec *peers = calloc(count, sizeof *peers);
    REQUIRE(peers != NULL && hosts_open(&hosts[0], &c, &fault) == 0);
    struct ky_engine *e = hosts[0].engine;
    for (uint32_t round = 0; round < 4; round++) { // each table is all of other peers
        for (uint32_t i = 0; i < KY_PEERS_MAX; i++)
            peers[i] = some_peer(i, (uint8_t)(20 + round));
        check_case("65536 peers, round %u", round);
        REQUIRE(CHECK_EQ(ky_engine_set_peers(e, peers, KY_PEERS_MAX, NULL, 0, &duplicate), 0));
        CHECK_EQ(ky_engine_peer_count(e), KY_PEERS_MAX);
        ky_engine_peer_stats(e, KY_PEERS_MAX - 1, &stats);
        CHECK(ky_ip_equal(stats.prefix, peers[KY_PEERS_MAX - 1].prefix));
        CHECK_EQ(stats.bits, KY_V4_BITS + 24);
    }
    check_case("one more");
    peers[KY_PEERS_MAX] = some_peer(0, 99);
    CHECK_EQ(ky_engine_set_peers(e, peers, count, NULL, 0, &duplicate), -E2BIG);
    check_case("a peer twice");
    peers[1000] = peers[30000];
    CHECK_EQ(ky_engine_set_peers(e, peers, KY_PEERS_MAX, NULL, 0, &duplicate), -EEXIST);
    CHECK_EQ(duplicate, 30000);
    check_case("an impossible length");
    peers[1000] = some_peer(1000, 23);
    peers[1000].bits = 200;
    CHECK_EQ(ky_engine_set_peers(e, peers, KY_PEERS_MAX, NULL, 0, &duplicate), -EINVAL);
    check_case("the old table stays");
    CHECK_EQ(ky_engine_peer_count(e), KY_PEERS_MAX);
    check_case("none");
    CHECK_EQ(ky_engine_set_peers(e, NULL, 0, NULL, 0, &duplicate), 0);
    CHECK_EQ(ky_engine_peer_count(e), 0);
    free(peers);
    hosts_close(&hosts[0]);
}

// ---- traffic ----

// Packets of all sizes, and superpackets of segments that fill the MTU: the segment size of TCP does
// not travel with a whole superpacket, and the receiver takes the MTU's.
static void exchange(const char *what, unsigned from, uint32_t mtu) {
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned udp = 0; udp < 2; udp++) {
            struct oracle_spec s =
                hosts_plain(version, udp ? ORACLE_UDP : ORACLE_TCP, 0, from == 1);
            uint16_t full = (uint16_t)(mtu - (version == 4 ? 20 : 40) - (udp ? 8 : 20));
            const size_t sizes[] = {1, 2, 63, 64, 500, 1200, full};
            s.payload = payload;
            check_case("%s: from host %u, IPv%u, %s", what, from, version, udp ? "UDP" : "TCP");
            for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                s.payload_len = sizes[i];
                traffic_send(&hosts[from], &s, 0);
                s.seq += (uint32_t)s.payload_len;
            }
            traffic_check(&hosts[1 - from]);
            for (unsigned i = 0; i < 5; i++) {
                s.payload_len = 1500 + 9000 * i;
                traffic_send(&hosts[from], &s, full);
                s.seq += (uint32_t)s.payload_len;
            }
            traffic_check(&hosts[1 - from]);
        }
}

static void run_traffic(const char *what, uint32_t disable, unsigned workers, bool v6) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.disable = disable;
        c.workers = workers;
        if (v6)
            c.local = hosts[i].underlay6, c.mtu = HOSTS_MTU - 20;
        check_case("open: %s", what);
        REQUIRE(CHECK_EQ(hosts_open(&hosts[i], &c, &fault), 0));
    }
    hosts_introduce(hosts, v6);
    exchange(what, 0, v6 ? HOSTS_MTU - 20 : HOSTS_MTU);
    exchange(what, 1, v6 ? HOSTS_MTU - 20 : HOSTS_MTU);
    check_case("%s: counters", what);
    for (unsigned i = 0; i < 2; i++) {
        struct ky_peer_stats mine = {0}, one;
        CHECK_EQ(hosts_drops(&hosts[i]), 0);
        for (size_t k = 0; k < ky_engine_peer_count(hosts[i].engine); k++) {
            ky_engine_peer_stats(hosts[i].engine, k, &one);
            mine.tx_packets += one.tx_packets, mine.tx_bytes += one.tx_bytes;
            mine.rx_packets += one.rx_packets, mine.rx_bytes += one.rx_bytes;
        }
        CHECK(mine.tx_packets > 0 && mine.rx_packets > 0);
        CHECK_EQ(mine.tx_packets, hosts_counter(&hosts[i], KY_COUNTER_INDEX_tx_packets));
        CHECK_EQ(mine.tx_bytes, hosts_counter(&hosts[i], KY_COUNTER_INDEX_tx_bytes));
        CHECK_EQ(mine.rx_packets, hosts_counter(&hosts[i], KY_COUNTER_INDEX_rx_packets));
        CHECK_EQ(mine.rx_bytes, hosts_counter(&hosts[i], KY_COUNTER_INDEX_rx_bytes));
        CHECK_EQ(ky_engine_failed(hosts[i].engine), 0);
    }
    printf("%s: %llu superpackets out, %llu of them whole; %llu in whole, %llu packets merged\n",
           what, (unsigned long long)hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_superpackets),
           (unsigned long long)hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_injected),
           (unsigned long long)hosts_counter(&hosts[1], KY_COUNTER_INDEX_rx_superpackets),
           (unsigned long long)hosts_counter(&hosts[1], KY_COUNTER_INDEX_rx_coalesced));
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

static void test_traffic(void) {
    run_traffic("all features", 0, 1, false);
    run_traffic("no features", ~0u, 1, false);
    run_traffic("IPv6 underlay", 0, 1, true);
    run_traffic("IPv6 underlay, no features", ~0u, 1, true);
    for (unsigned f = 0; f < KY_FEATURE_COUNT; f++) {
        char what[64];
        snprintf(what, sizeof what, "without %s", ky_feature_names[f]);
        run_traffic(what, 1u << f, 1, false);
    }
}

// With several workers the order of packets over all flows is anyone's, that of a flow is not.
static void test_workers(void) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.workers = 3;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    for (unsigned flow = 0; flow < 12; flow++) {
        struct oracle_spec s = hosts_plain(flow % 2 ? 4 : 6, ORACLE_UDP, 700, false);
        s.sport = (uint16_t)(3000 + flow);
        check_case("3 workers, flow %u", flow);
        for (unsigned i = 0; i < 30; i++) {
            s.payload = payload + i;
            traffic_send(&hosts[0], &s, 0);
        }
        traffic_check(&hosts[1]);
    }
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

static void test_peer_counters_live_on(void) {
    struct ky_fault fault;
    struct ky_peer_spec peers[3], again[3];
    struct ky_peer_stats stats;
    size_t duplicate;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 100, false);
    check_case("counters over a new table");
    for (unsigned i = 0; i < 10; i++)
        traffic_send(&hosts[0], &s, 0);
    traffic_check(&hosts[1]);
    hosts_specs(&hosts[1], false, peers);
    again[0] = some_peer(1, 77); // now another index
    again[1] = peers[1];
    again[2] = peers[0];
    again[2].mac[0] = 0x0e; // another VTEP, the same subnet
    struct ky_engine *e = hosts[0].engine;
    REQUIRE(ky_engine_set_peers(e, again, 3, hosts[0].own, 2, &duplicate) == 0);
    ky_engine_peer_stats(e, 2, &stats);
    CHECK_EQ(stats.tx_packets, 10);
    CHECK_EQ(stats.tx_bytes, 1280);
    ky_engine_peer_stats(e, 0, &stats);
    CHECK_EQ(stats.tx_packets, 0);
    check_case("a subnet that went and came back begins at 0");
    REQUIRE(ky_engine_set_peers(e, again, 2, hosts[0].own, 2, &duplicate) == 0);
    REQUIRE(ky_engine_set_peers(e, again, 3, hosts[0].own, 2, &duplicate) == 0);
    for (unsigned i = 0; i < 3; i++) {
        ky_engine_peer_stats(e, i, &stats);
        CHECK_EQ(stats.tx_packets + stats.tx_bytes + stats.rx_packets + stats.rx_bytes, 0);
    }
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_packets), 10);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

// ---- errors ----

static void open_one(void) {
    struct ky_engine_config c = hosts_config(&hosts[0]);
    struct ky_fault fault;
    struct ky_peer_spec specs[2];
    size_t duplicate;
    REQUIRE(hosts_open(&hosts[0], &c, &fault) == 0);
    hosts_specs(&hosts[1], false, specs);
    REQUIRE(ky_engine_set_peers(hosts[0].engine, specs, 2, hosts[0].own, 2, &duplicate) == 0);
}

static void await_drop(enum ky_drop reason, uint64_t count) {
    for (int i = 0; i < WAIT_MS && hosts_drop(&hosts[0], reason) < count; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_EQ(hosts_drop(&hosts[0], reason), count);
}

static void await_counter(unsigned index, uint64_t count) {
    for (int i = 0; i < WAIT_MS && hosts_counter(&hosts[0], index) < count; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_EQ(hosts_counter(&hosts[0], index), count);
}

static void check_icmp(const struct oracle_spec *s, unsigned type, unsigned code) {
    struct ky_vnet v;
    struct oracle_ip ip;
    size_t len = oracle_build(packet, s);
    CHECK_EQ(hosts_send(&hosts[0], &no_offload, packet, len), 0);
    long n = hosts_receive(&hosts[0], WAIT_MS, &v, packet, sizeof packet);
    if (!CHECK(n > 0) || !CHECK(oracle_parse(packet, (size_t)n, &ip)))
        return;
    CHECK_EQ(ip.proto, s->version == 4 ? ORACLE_ICMP : ORACLE_ICMP6);
    CHECK_EQ(packet[ip.l4], type);
    CHECK_EQ(packet[ip.l4 + 1], code);
    CHECK_MEM(ip.dst, s->src, s->version == 4 ? 4 : 16);
}

static void test_icmp(void) {
    open_one();
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 100, false);
    s.dst[1] = 9;
    check_case("nobody holds the destination");
    check_icmp(&s, 3, 0);
    await_drop(KY_DROP_TX_NO_PEER, 1);
    s = hosts_plain(6, ORACLE_UDP, 100, false);
    s.dst[1] = 9;
    check_icmp(&s, 1, 0);
    await_drop(KY_DROP_TX_NO_PEER, 2);
    check_case("too big");
    s = hosts_plain(4, ORACLE_UDP, 2000, false);
    check_icmp(&s, 3, 4);
    CHECK_EQ(oracle_get16(packet + 26), HOSTS_MTU);
    await_drop(KY_DROP_TX_TOO_BIG, 1);
    s = hosts_plain(6, ORACLE_UDP, 2000, false);
    check_icmp(&s, 2, 0);
    CHECK_EQ(oracle_get32(packet + 44), HOSTS_MTU);
    await_drop(KY_DROP_TX_TOO_BIG, 2);
    await_counter(KY_COUNTER_INDEX_icmp_sent, 4); // counted when it is already there to be read
    check_case("multicast gets no answer");
    s = hosts_plain(4, ORACLE_UDP, 100, false);
    s.dst[0] = 224;
    struct ky_vnet v;
    CHECK_EQ(hosts_send(&hosts[0], &no_offload, packet, oracle_build(packet, &s)), 0);
    await_drop(KY_DROP_TX_MULTICAST, 1);
    CHECK(hosts_receive(&hosts[0], 0, &v, packet, sizeof packet) < 0);
    hosts_close(&hosts[0]);
}

static void test_icmp_rate(void) {
    open_one();
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 10, false);
    s.dst[1] = 9;
    size_t len = oracle_build(packet, &s);
    check_case("the rate of ICMP errors");
    for (unsigned i = 0; i < 300; i++)
        CHECK_EQ(hosts_send(&hosts[0], &no_offload, packet, len), 0);
    await_drop(KY_DROP_TX_NO_PEER, 300);
    uint64_t answers = hosts_counter(&hosts[0], KY_COUNTER_INDEX_icmp_sent);
    CHECK(answers >= 50 && answers < 200);
    for (int i = 0;
         i < WAIT_MS && hosts_counter(&hosts[0], KY_COUNTER_INDEX_icmp_sent) +
                                hosts_counter(&hosts[0], KY_COUNTER_INDEX_icmp_suppressed) <
                            300;
         i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_icmp_sent) +
                 hosts_counter(&hosts[0], KY_COUNTER_INDEX_icmp_suppressed),
             300);
    hosts_close(&hosts[0]);
}

// What strangers and peers send to the port, through a real socket.
static void test_bad_datagrams(void) {
    open_one();
    netns_set(hosts[1].ns);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(HOSTS_PORT)};
    inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
    uint8_t frame[22 + 200];
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 100, true);
    ky_vxlan_template(frame, HOSTS_VNI, hosts[0].mac, hosts[1].mac);
    ky_vxlan_set_version(frame, 4);
    size_t len = 22 + oracle_build(frame + 22, &s);
    static const struct {
        unsigned at;
        uint8_t flip;
        enum ky_drop reason;
    } cases[] = {{0, 0x80, KY_DROP_RX_FLAGS},
                 {5, 1, KY_DROP_RX_WRONG_VNI},
                 {12, 1, KY_DROP_RX_INNER_MAC},
                 {20, 1, KY_DROP_RX_INNER_TYPE},
                 {22, 0xf0, KY_DROP_RX_INNER_MALFORMED},
                 {35, 7, KY_DROP_RX_INNER_SOURCE},
                 {39, 9, KY_DROP_RX_NOT_LOCAL}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case("%s", ky_drop_names[cases[i].reason]);
        frame[cases[i].at] ^= cases[i].flip;
        CHECK_EQ(sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof to), (long)len);
        await_drop(cases[i].reason, 1);
        frame[cases[i].at] ^= cases[i].flip;
    }
    check_case("an empty datagram");
    CHECK_EQ(sendto(fd, "", 0, 0, (struct sockaddr *)&to, sizeof to), 0);
    await_drop(KY_DROP_RX_SHORT, 1);
    check_case("a stranger");
    CHECK_EQ(netns_add_ip4("underlay", "192.0.2.77", 24), 0);
    CHECK_EQ(sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof to), (long)len);
    await_drop(KY_DROP_RX_UNKNOWN_SOURCE, 1);
    CHECK_EQ(netns_add_ip4("underlay", "192.0.2.2", 24), 0);
    struct ky_vnet v;
    CHECK(hosts_receive(&hosts[0], 0, &v, packet, sizeof packet) < 0);
    CHECK_EQ(hosts_counter(&hosts[0], KY_COUNTER_INDEX_rx_packets), 0);
    close(fd);
    hosts_close(&hosts[0]);
}

// The device is deleted under the engine: it says so, and can be closed and opened again.
static void test_device_deleted(void) {
    struct footprint before = hosts_footprint(hosts);
    open_one();
    check_case("the device is deleted");
    CHECK_EQ(ky_engine_failed(hosts[0].engine), 0);
    CHECK_EQ(netns_link_delete("overlay"), 0);
    for (int i = 0; i < WAIT_MS && ky_engine_failed(hosts[0].engine) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK(ky_engine_failed(hosts[0].engine) != 0);
    struct ky_engine_stats stats;
    ky_engine_stats_read(hosts[0].engine, &stats);
    CHECK_EQ(stats.failed, ky_engine_failed(hosts[0].engine));
    struct ky_peer_spec specs[2];
    size_t duplicate;
    hosts_specs(&hosts[1], false, specs);
    CHECK_EQ(ky_engine_set_peers(hosts[0].engine, specs, 1, NULL, 0, &duplicate), 0);
    hosts_close(&hosts[0]);
    hosts_check_footprint(hosts, &before);
    open_one();
    hosts_close(&hosts[0]);
}

// A device that is down: what comes in is counted so, and flows again when it is up.
static void test_device_down(void) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    check_case("the device is down");
    netns_set(hosts[0].ns);
    REQUIRE(netns_link_down(hosts[0].device) == 0);
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 100, true);
    for (unsigned i = 0; i < 5; i++)
        traffic_send(&hosts[1], &s, 0);
    await_drop(KY_DROP_RX_TUN_DOWN, 5);
    traffic_forget();
    check_case("the device is up again");
    netns_set(hosts[0].ns);
    REQUIRE(netns_link_up(hosts[0].device) == 0);
    struct ky_vnet v;
    while (hosts_receive(&hosts[0], 0, &v, packet, sizeof packet) != -EAGAIN)
        ; // the packet socket's own ENETDOWN
    for (unsigned i = 0; i < 5; i++)
        traffic_send(&hosts[1], &s, 0);
    traffic_check(&hosts[0]);
    CHECK_EQ(ky_engine_failed(hosts[0].engine), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

// Superpackets and single packets of one flow take different ways out, and stay in order.
static void test_mixed_order(void) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    for (unsigned version = 4; version <= 6; version += 2) {
        struct oracle_spec s = hosts_plain(version, ORACLE_TCP, 0, false);
        uint16_t full = (uint16_t)(HOSTS_MTU - (version == 4 ? 40 : 60));
        s.payload = payload;
        check_case("superpackets among packets, IPv%u", version);
        for (unsigned i = 0; i < 60; i++) {
            s.payload_len = i % 3 == 0 ? full * (1 + i % 7) + i : i % 3 == 1 ? full : 10 + i;
            s.flags = i % 5 == 4 ? ORACLE_ACK | ORACLE_PSH : ORACLE_ACK;
            s.tos = i % 4 == 3 ? 0 : 2;
            traffic_send(&hosts[0], &s, s.payload_len > full ? full : 0);
            s.seq += (uint32_t)s.payload_len;
        }
        traffic_check(&hosts[1]);
    }
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

static void test_names(void) {
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        for (unsigned k = 0; k < i; k++) {
            check_case("%s", ky_drop_names[i]);
            CHECK(strcmp(ky_drop_names[i], ky_drop_names[k]) != 0);
        }
    for (unsigned i = 0; i < KY_COUNTER_COUNT; i++)
        CHECK(ky_counter_names[i][0] != '\0' && ky_counter_texts[i][0] != '\0');
}

int main(void) {
    struct random r = {.state = 8};
    random_fill(&r, payload, sizeof payload);
    hosts_make(hosts);
    traffic_begin();
    test_names();
    test_open_close();
    test_faults();
    test_features();
    test_set_peers();
    test_traffic();
    test_workers();
    test_mixed_order();
    test_peer_counters_live_on();
    test_icmp();
    test_icmp_rate();
    test_bad_datagrams();
    test_device_down();
    test_device_deleted();
    traffic_end();
    return check_report();
}
