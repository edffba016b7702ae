// The packets of one flow, superpackets among small ones, which take different ways out: they leave in
// order and from one source port, as the wire shows, and arrive in order. The engine finds each burst
// waiting in its queue as a whole, so that whatever it gathers it has reason to gather.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "netns.h"
#include "paused.h"
#include "random.h"
#include "traffic.h"

enum { BURST = 120, ARENA = 4 << 20, ENCAP = 8 + 8 + 14 };

static struct host hosts[2];
static uint8_t payload[ORACLE_PACKET_MAX];

// ---- a burst ----

static struct burst {
    uint8_t *bytes;
    size_t used;
    unsigned count;
    struct {
        struct ky_vnet vnet;
        size_t at, len;
    } packet[BURST];
} burst;

static void add(const struct oracle_spec *s, uint16_t mss) {
    REQUIRE(burst.count < BURST && burst.used + ORACLE_PACKET_MAX <= ARENA);
    size_t len = traffic_build(burst.bytes + burst.used, s, mss, &burst.packet[burst.count].vnet);
    burst.packet[burst.count].at = burst.used;
    burst.packet[burst.count++].len = len;
    burst.used += len;
}

static bool send_burst(void *ctx) {
    (void)ctx;
    for (unsigned i = 0; i < burst.count; i++)
        if (hosts_send(&hosts[0], &burst.packet[i].vnet, burst.bytes + burst.packet[i].at,
                       burst.packet[i].len) != 0)
            return false;
    return true;
}

// ---- the wire ----

// Sees what comes in through the underlay, superpackets as they are, from the outer IP header on.
static int listen_on_wire(void) {
    netns_set(hosts[1].ns);
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = 32 << 20;
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex("underlay")};
    REQUIRE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0);
    REQUIRE(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

// Where a packet stands in its flow: TCP's sequence number, or the number a UDP payload begins with.
static uint32_t place_of(const uint8_t *inner, const struct oracle_ip *ip) {
    return oracle_get32(inner + ip->l4 + (ip->proto == ORACLE_TCP ? 4 : 8));
}

static struct wire {
    unsigned seen, superpackets, ports, backwards;
    uint32_t place;
    unsigned port;
} wire;

static void watch(const uint8_t *outer, size_t len) {
    struct oracle_ip ip, in;
    if (!oracle_parse(outer, len, &ip) || ip.proto != ORACLE_UDP || ip.len < ip.l4 + ENCAP)
        return;
    const uint8_t *udp = outer + ip.l4, *inner = udp + ENCAP;
    if (oracle_get16(udp + 2) != HOSTS_PORT)
        return;
    // A run holds more than its first packet: what lies behind that is padding to the oracle.
    REQUIRE(oracle_parse(inner, (size_t)(outer + len - inner), &in));
    wire.superpackets += in.len > HOSTS_MTU;
    wire.backwards += wire.seen > 0 && (int32_t)(place_of(inner, &in) - wire.place) < 0;
    wire.ports += wire.seen == 0 || wire.port != oracle_get16(udp);
    wire.place = place_of(inner, &in);
    wire.port = oracle_get16(udp);
    wire.seen++;
}

static void check_wire(int fd, const char *what) {
    static uint8_t packet[1 << 17];
    ssize_t n;
    wire = (struct wire){0};
    while ((n = recv(fd, packet, sizeof packet, 0)) > 0)
        watch(packet, (size_t)n);
    CHECK(wire.seen > 0);
    CHECK_EQ(wire.backwards, 0);
    CHECK_EQ(wire.ports, 1); // one source port
    printf("%s: %u on the wire, %u of them superpackets\n", what, wire.seen, wire.superpackets);
}

// ---- the bursts ----

// What packet i of a burst is: a superpacket unless it is at most `full`.
typedef size_t shape(unsigned i, uint16_t full);

static size_t one_by_one(unsigned i, uint16_t full) {
    return i % 2 == 0 ? (size_t)full * (2 + i % 5) : 40 + i;
}

static size_t clusters(unsigned i, uint16_t full) {
    return i % 10 < 7 ? (i % 3 == 0 ? full : 600) : (size_t)full * 3 + i;
}

static size_t growing(unsigned i, uint16_t full) {
    return i % 12 == 11 ? (size_t)full * 8 : 100 * (i % 12) + 50;
}

static void run_burst(int wire_fd, unsigned version, uint8_t proto, shape *of, uint32_t mtu,
                      const char *what) {
    struct oracle_spec s = hosts_plain(version, proto, 0, false);
    bool tcp = proto == ORACLE_TCP;
    uint16_t full = (uint16_t)(mtu - (version == 4 ? 20 : 40) - (tcp ? 20 : 8));
    uint32_t number = 1;
    char name[120];
    snprintf(name, sizeof name, "%s, %s over IPv%u", what, tcp ? "TCP" : "UDP", version);
    check_case("%s", name);
    burst.used = burst.count = 0;
    s.payload = payload;
    s.flags = ORACLE_ACK;
    for (unsigned i = 0; i < BURST; i++) {
        s.payload_len = of(i, full);
        for (size_t at = 0; at + 4 <= s.payload_len && !tcp; at += full)
            oracle_put32(payload + at, number++);
        add(&s, s.payload_len > full ? full : 0);
        s.seq += (uint32_t)s.payload_len;
    }
    CHECK(while_paused(send_burst, NULL));
    traffic_check(&hosts[1]);
    check_wire(wire_fd, name);
}

static void open_hosts(uint32_t disable, bool v6, uint32_t mtu) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.disable = disable;
        c.mtu = mtu;
        c.local = v6 ? hosts[i].underlay6 : hosts[i].underlay;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, v6);
}

static void run(const char *what, uint32_t disable, bool v6) {
    static shape *const shapes[] = {one_by_one, clusters, growing};
    struct ky_engine_stats stats;
    uint32_t mtu = v6 ? HOSTS_MTU - 20 : HOSTS_MTU;
    open_hosts(disable, v6, mtu);
    int fd = listen_on_wire();
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (unsigned version = 4; version <= 6; version += 2) {
            run_burst(fd, version, ORACLE_TCP, shapes[i], mtu, what);
            run_burst(fd, version, ORACLE_UDP, shapes[i], mtu, what);
        }
    check_case("%s: both ways were taken", what);
    ky_engine_stats_read(hosts[0].engine, &stats);
    CHECK_EQ(stats.counters[KY_COUNTER_INDEX_tx_superpackets] > 0, true);
    if (stats.features[KY_FEATURE_TUNNEL_GSO].on) {
        CHECK(stats.counters[KY_COUNTER_INDEX_tx_injected] > 0);
        CHECK(stats.counters[KY_COUNTER_INDEX_tx_datagrams] > 0);
    } else {
        printf("tunnel-gso is off: %s\n", stats.features[KY_FEATURE_TUNNEL_GSO].reason);
        CHECK_EQ(stats.counters[KY_COUNTER_INDEX_tx_injected], 0);
    }
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    close(fd);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

// The underlay's MTU shrinks under a running engine: UDP_SEGMENT refuses its runs (EMSGSIZE), and they
// leave frame by frame, each of which the kernel fragments, in their place among all others.
static void run_smaller_mtu(uint32_t disable, bool v6) {
    uint32_t mtu = v6 ? HOSTS_MTU - 20 : HOSTS_MTU;
    open_hosts(disable, v6, mtu);
    struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 0, false);
    uint16_t full = (uint16_t)(mtu - 28);
    s.payload = payload;
    for (unsigned round = 0; round < 3; round++) { // as it was, smaller, and as it was again
        int underlay = round == 1 ? 1300 : 1500;
        netns_set(hosts[0].ns);
        REQUIRE(netns_link_mtu("underlay", underlay) == 0);
        uint64_t before = hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_gso_fallbacks);
        check_case("an underlay of IPv%d, MTU %d, %s tunnel-gso", v6 ? 6 : 4, underlay,
                   disable == 0 ? "with" : "without");
        burst.used = burst.count = 0;
        for (unsigned i = 0; i < BURST; i++) {
            s.payload_len = i % 4 == 3 ? 50 + i : i % 7 == 6 ? (size_t)full * 4 : full;
            oracle_put32(payload, i);
            add(&s, s.payload_len > full ? full : 0);
        }
        CHECK(while_paused(send_burst, NULL));
        traffic_check(&hosts[1]);
        uint64_t fallbacks = hosts_counter(&hosts[0], KY_COUNTER_INDEX_tx_gso_fallbacks) - before;
        CHECK_EQ(fallbacks > 0, round == 1);
    }
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

int main(void) {
    struct random r = {.state = 11};
    random_fill(&r, payload, sizeof payload);
    hosts_make(hosts);
    burst.bytes = malloc(ARENA);
    REQUIRE(burst.bytes != NULL);
    traffic_begin();
    run("all features", 0, false);
    run("IPv6 underlay", 0, true);
    run("without tunnel-gso", 1u << KY_FEATURE_TUNNEL_GSO, false);
    run("without udp-gso", 1u << KY_FEATURE_TUNNEL_GSO | 1u << KY_FEATURE_UDP_GSO, false);
    run("without tunnel-gso, one at a time", 1u << KY_FEATURE_TUNNEL_GSO | 1u << KY_FEATURE_BATCH,
        false);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        run_smaller_mtu(0, v6 != 0);
        run_smaller_mtu(1u << KY_FEATURE_TUNNEL_GSO, v6 != 0);
    }
    traffic_end();
    free(burst.bytes);
    return check_report();
}
