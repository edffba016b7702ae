// The receive ring: what comes that way, what does not, and that the two ways together are one: every
// packet arrives whole and in order, also when the ring overflows. Frames leave one by one here, so that
// the kernel has nothing to merge.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../engine/ring.h"
#include "../engine/vxlan.h"
#include "check.h"
#include "netns.h"
#include "paused.h"
#include "random.h"
#include "traffic.h"

enum {
    TCX_INGRESS = 46,
    MANY = 2500,
    SMALL = 300,
    AT_ONCE = 32,
    ONE_BY_ONE = 1u << KY_FEATURE_TUNNEL_GSO | 1u << KY_FEATURE_UDP_GSO
};

static struct host hosts[2];
static uint8_t payload[ORACLE_PACKET_MAX];

// Programs at the ingress of the underlay, as the kernel counts them.
static unsigned programs(const struct host *host) {
    netns_set(host->ns);
    union bpf_attr attr = {0};
    attr.query.target_fd = if_nametoindex("underlay"); // the same place as target_ifindex
    attr.query.attach_type = TCX_INGRESS;
    REQUIRE(syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof attr) == 0);
    return attr.query.prog_cnt;
}

static void open_hosts(uint32_t sender, uint32_t receiver, bool v6) {
    struct ky_fault fault;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.disable = i == 0 ? sender : receiver;
        c.mtu = v6 ? HOSTS_MTU - 20 : HOSTS_MTU;
        c.local = v6 ? hosts[i].underlay6 : hosts[i].underlay;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, v6);
}

static void close_hosts(void) {
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

static uint64_t by_ring(void) {
    return hosts_counter(&hosts[1], KY_COUNTER_INDEX_rx_ring);
}

static uint64_t datagrams(void) {
    return hosts_counter(&hosts[1], KY_COUNTER_INDEX_rx_datagrams);
}

static bool has_ring(void) {
    struct ky_engine_stats stats;
    ky_engine_stats_read(hosts[1].engine, &stats);
    return stats.features[KY_FEATURE_RECEIVE_RING].on;
}

// So many packets of this kind at once, so often, each time when the last ones have arrived.
static void converse(const struct oracle_spec *kind, unsigned at_once, unsigned count) {
    struct oracle_spec s = *kind;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < at_once; k++) {
            s.id = (uint16_t)(i * at_once + k);
            traffic_send(&hosts[0], &s, 0);
        }
        traffic_check(&hosts[1]);
    }
}

// Packets of this kind, many at once, until one came by the ring. A detour that the next find still
// going on may take a few of them.
static void converse_by_ring(const struct oracle_spec *kind) {
    uint64_t before = by_ring();
    for (unsigned i = 0; i < 3 || (i < 300 && has_ring() && by_ring() == before); i++)
        converse(kind, AT_ONCE, 1);
    CHECK_EQ(by_ring() > before, has_ring());
}

static struct oracle_spec kind_of(unsigned version, uint8_t proto, size_t len) {
    struct oracle_spec s = hosts_plain(version, proto, len, false);
    s.payload = payload;
    s.flags = ORACLE_ACK;
    return s;
}

// The first datagram of a peer comes by the socket, which is the firewall's word; then the ring serves.
static void takes_what_is_plain(bool v6) {
    struct ky_engine_stats stats;
    open_hosts(ONE_BY_ONE, 0, v6);
    ky_engine_stats_read(hosts[1].engine, &stats);
    printf("receive-ring: %s\n", stats.features[KY_FEATURE_RECEIVE_RING].reason);
    CHECK_EQ(programs(&hosts[1]), has_ring());
    static const size_t lengths[] = {0, 1, 17, 100, 1000, 1350};
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            check_case("%zu bytes over IPv%u, underlay IPv%d", lengths[i], version, v6 ? 6 : 4);
            struct oracle_spec tcp = kind_of(version, ORACLE_TCP, lengths[i]);
            struct oracle_spec udp = kind_of(version, ORACLE_UDP, lengths[i]);
            if (datagrams() == 0) {
                converse(&tcp, 1, 1);
                CHECK_EQ(by_ring(), 0);
            }
            converse_by_ring(&tcp);
            converse_by_ring(&udp);
            udp.check = ORACLE_NONE;
            if (version == 4)
                converse_by_ring(&udp);
        }
    close_hosts();
    CHECK_EQ(programs(&hosts[1]), 0);
}

// ECN would have to be written into the packet, which the ring does not allow.
static void leaves_the_rest(void) {
    open_hosts(ONE_BY_ONE, 0, false);
    struct oracle_spec plain = kind_of(4, ORACLE_TCP, 100), ect1 = plain;
    ect1.tos = 1;
    check_case("plain packets, then ECT(1)");
    converse_by_ring(&plain);
    uint64_t before = by_ring();
    converse(&ect1, 1, 4);
    CHECK_EQ(by_ring(), before);
    check_case("and plain packets again");
    converse_by_ring(&plain);
    close_hosts();
}

// How the engine sleeps after `datagrams` more: the state's bits, 0 when it must not. A ring without a
// kernel: two pages of memory, of which the positions are all that counts.
static uint64_t sleep_after(struct ky_ring *ring, uint64_t *datagrams, unsigned more) {
    *datagrams += more;
    ky_ring_wake(ring);
    atomic_fetch_and(&ring->state->now, ~(uint64_t)KY_RING_DETOUR);
    return ky_ring_sleep(ring, *datagrams) ? atomic_load(&ring->state->now) : 0;
}

static void chooses_how_to_sleep(void) {
    static struct ky_ring_state state;
    static uint64_t producer;
    struct ky_ring ring = {.state = &state, .producer = (uint8_t *)&producer};
    uint64_t datagrams = 0;
    check_case("few datagrams between two sleeps");
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(sleep_after(&ring, &datagrams, i % 4), KY_RING_DETOUR);
    check_case("many");
    unsigned turns = 0;
    while (sleep_after(&ring, &datagrams, 20) != KY_RING_ASLEEP && turns < 100)
        turns++;
    CHECK(turns < 10);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(sleep_after(&ring, &datagrams, 6), KY_RING_ASLEEP);
    check_case("few again");
    for (turns = 0; sleep_after(&ring, &datagrams, 1) != KY_RING_DETOUR && turns < 100;)
        turns++;
    CHECK(turns < 10);
    check_case("something is in the ring");
    producer = 8;
    CHECK_EQ(sleep_after(&ring, &datagrams, 1), 0);
}

// When acknowledgements may pass by the engine.
static void says_when_it_is_quiet(void) {
    static struct ky_ring_state state;
    static uint64_t producer;
    struct ky_ring ring = {.state = &state, .producer = (uint8_t *)&producer};
    uint64_t datagrams = 0;
    check_case("asleep with nothing in its hands");
    uint64_t asleep = sleep_after(&ring, &datagrams, 0);
    CHECK_EQ(atomic_load(&state.quiet), asleep);
    check_case("a datagram that was let pass since");
    atomic_fetch_add(&state.now, KY_RING_LEFT_ONE);
    CHECK(atomic_load(&state.quiet) != atomic_load(&state.now));
    check_case("awake");
    ky_ring_wake(&ring);
    CHECK_EQ(atomic_load(&state.quiet), KY_RING_BUSY);
    check_case("asleep while that datagram is on its way");
    (void)sleep_after(&ring, &datagrams, 0);
    CHECK_EQ(atomic_load(&state.quiet), KY_RING_BUSY);
    ring.arrived++;
    asleep = sleep_after(&ring, &datagrams, 1);
    CHECK_EQ(atomic_load(&state.quiet), asleep);
    check_case("something is in the ring");
    producer = 8;
    (void)sleep_after(&ring, &datagrams, 0);
    CHECK_EQ(atomic_load(&state.quiet), KY_RING_BUSY);
    ring.at = 8;
    check_case("between two sleeps of many");
    for (unsigned turns = 0;
         sleep_after(&ring, &datagrams, 20) & KY_RING_DETOUR && CHECK(turns < 100); turns++)
        ;
    CHECK_EQ(atomic_load(&state.quiet), atomic_load(&state.now));
}

static void is_off(const char *why, uint32_t disable) {
    check_case("%s", why);
    open_hosts(ONE_BY_ONE, disable, false);
    struct oracle_spec s = kind_of(4, ORACLE_TCP, 100);
    converse(&s, AT_ONCE, 5);
    CHECK_EQ(by_ring(), 0);
    CHECK_EQ(programs(&hosts[1]), 0);
    close_hosts();
}

// ---- overflow ----

static struct {
    size_t len;
    uint8_t frame[KY_ENCAP_LEN + SMALL + 100];
} burst[MANY];

// A socket of the other host's, which sends frames that the engine there did not make.
static int other_sender(void) {
    uint32_t v4 = htonl(ky_ip_v4(hosts[1].underlay));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(HOSTS_PORT)};
    memcpy(&to.sin_addr, &v4, 4);
    netns_set(hosts[0].ns);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static bool send_burst(void *ctx) {
    for (unsigned i = 0; i < MANY; i++)
        if (send(*(int *)ctx, burst[i].frame, burst[i].len, 0) != (ssize_t)burst[i].len)
            return false;
    return true;
}

// More than the ring holds arrives while nobody reads it: nothing is lost, nothing overtakes.
static void overflows(void) {
    open_hosts(ONE_BY_ONE, 0, false);
    struct oracle_spec s = kind_of(4, ORACLE_UDP, 100);
    converse_by_ring(&s);
    check_case("%d packets at once", MANY);
    struct random r = {.state = 3};
    struct ky_vnet none;
    for (unsigned i = 0; i < MANY; i++) {
        s.payload_len = 4 + random_below(&r, SMALL);
        oracle_put32(payload, i);
        ky_vxlan_template(burst[i].frame, HOSTS_VNI, hosts[1].mac, hosts[0].mac);
        ky_vxlan_set_version(burst[i].frame, 4);
        burst[i].len = KY_ENCAP_LEN + traffic_build(burst[i].frame + KY_ENCAP_LEN, &s, 0, &none);
    }
    uint64_t before = by_ring(), all = datagrams();
    int fd = other_sender();
    CHECK(while_paused(send_burst, &fd));
    traffic_check(&hosts[1]);
    CHECK_EQ(datagrams() - all, MANY);
    CHECK_EQ(by_ring() > before, has_ring());
    CHECK(by_ring() - before < MANY); // some found it full
    close(fd);
    close_hosts();
}

int main(void) {
    struct random r = {.state = 5};
    random_fill(&r, payload, sizeof payload);
    hosts_make(hosts);
    traffic_begin();
    chooses_how_to_sleep();
    says_when_it_is_quiet();
    takes_what_is_plain(false);
    takes_what_is_plain(true);
    leaves_the_rest();
    is_off("switched off", 1u << KY_FEATURE_RECEIVE_RING);
    is_off("without batches", 1u << KY_FEATURE_BATCH);
    overflows();
    traffic_end();
    return check_report();
}
