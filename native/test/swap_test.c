// The whole table of 10,000 peers is replaced again and again, on both hosts, while packets flow
// between them, by one worker and by four: none is lost, none comes twice, none overtakes another of
// its flow, and a replacement is cheap. Meant for the thread sanitizer too (-DKERSEY_THREAD=ON).
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "hosts.h"
#include "random.h"
#include "traffic.h"

enum {
    PEERS = 10000,
    SWAPS = 60, // of each host
    WINDOW = 256,
    PACKETS_MAX = 1 << 22,
    IDLE_MS = 3000,
    FLOWS = 3,
};

// Processor time of the thread that replaces a table. How long it takes by the clock is printed only: it
// waits for the workers, which wait for a processor.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
static const double LIMIT_MS = 2000;
#else
static const double LIMIT_MS = 50;
#endif

static struct host hosts[2];
static atomic_uint sent, received;
static atomic_bool stop;
static uint8_t *seen;
static unsigned twice, unknown, out_of_order;
static unsigned expected[FLOWS];

static double clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double now_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

// ---- traffic ----

// The flows: TCP over IPv4, which may be offloaded, and UDP. Whole superpackets of TCP come out of the other
// host's TUN in segments of the MTU.
static const struct {
    unsigned version;
    uint8_t proto;
    uint16_t segment;
} flows[FLOWS] = {{4, ORACLE_TCP, HOSTS_MTU - 40}, {4, ORACLE_UDP, 600}, {6, ORACLE_UDP, 600}};

// `count` packets in one, each beginning with its number.
static size_t build(uint8_t *packet, unsigned flow, unsigned first, unsigned count,
                    struct ky_vnet *vnet) {
    static uint8_t payload[32 * HOSTS_MTU];
    uint16_t segment = flows[flow].segment;
    for (unsigned i = 0; i < count; i++)
        oracle_put32(payload + (size_t)i * segment, first + i);
    struct oracle_spec s =
        hosts_plain(flows[flow].version, flows[flow].proto, (size_t)count * segment, false);
    s.payload = payload;
    s.seq = first * segment;
    s.flags = ORACLE_ACK;
    *vnet = (struct ky_vnet){0};
    if (count > 1) {
        s.check = ORACLE_PARTIAL;
        *vnet = traffic_offload(&s, segment);
    }
    return oracle_build(packet, &s);
}

static void *send_loop(void *arg) {
    static uint8_t packet[ORACLE_PACKET_MAX];
    struct random r = {.state = 9};
    (void)arg;
    while (!atomic_load(&stop)) {
        unsigned next = atomic_load(&sent),
                 count = random_one_in(&r, 4) ? random_range(&r, 2, 30) : 1;
        if (next - atomic_load(&received) > WINDOW || next + count > PACKETS_MAX) {
            nap();
            continue;
        }
        struct ky_vnet vnet;
        size_t len = build(packet, random_below(&r, FLOWS), next, count, &vnet);
        if (hosts_send(&hosts[0], &vnet, packet, len) == 0)
            atomic_fetch_add(&sent, count);
        else
            nap();
    }
    return NULL;
}

static void take(void *ctx, const uint8_t *packet, size_t len) {
    struct oracle_ip ip;
    (void)ctx;
    size_t header = oracle_parse(packet, len, &ip) ? oracle_headers(packet, &ip) : 0;
    unsigned flow = 0;
    while (flow < FLOWS && (flows[flow].version != ip.version || flows[flow].proto != ip.proto))
        flow++;
    if (header == 0 || flow == FLOWS || ip.len != header + flows[flow].segment) {
        unknown++;
        return;
    }
    unsigned number = oracle_get32(packet + header);
    if (number >= PACKETS_MAX) {
        unknown++;
        return;
    }
    twice += seen[number];
    seen[number] = 1;
    out_of_order += number < expected[flow];
    expected[flow] = number + 1;
    atomic_fetch_add(&received, 1);
}

static void *receive_loop(void *arg) {
    (void)arg;
    for (double last = now_ms(); now_ms() - last < IDLE_MS;) {
        if (atomic_load(&stop) && atomic_load(&received) == atomic_load(&sent))
            break;
        if (traffic_receive(&hosts[1], 100, take, NULL))
            last = now_ms();
    }
    return NULL;
}

// ---- tables ----

// The real peer's two prefixes at some place among 10,000, of which half change from table to table. So does the
// first of the real ones, by its length: what was decided by the other is to be decided again.
static void make_table(struct random *r, unsigned host, unsigned round,
                       struct ky_peer_spec *peers) {
    struct ky_peer_spec real[2];
    hosts_specs(&hosts[1 - host], false, real);
    real[0].bits = (uint8_t)(real[0].bits + round % 2);
    for (uint32_t i = 0; i < PEERS; i++) {
        uint8_t inner[4] = {(uint8_t)(i % 2 ? 100 : 101 + round % 100), (uint8_t)(i >> 8),
                            (uint8_t)i, 0};
        uint8_t outer[4] = {198, 18, (uint8_t)(i >> 8), (uint8_t)i};
        peers[i] = (struct ky_peer_spec){
            .prefix = ky_ip4(inner), .outer = ky_ip4(outer), .bits = KY_V4_BITS + 24};
    }
    uint32_t at = random_below(r, PEERS - 1);
    peers[at] = real[0];
    peers[at + 1] = real[1];
}

static double worst, total, worst_cpu;

static void swap(struct random *r, unsigned host, unsigned round, struct ky_peer_spec *peers) {
    size_t duplicate;
    make_table(r, host, round, peers);
    double begin = now_ms(), cpu = clock_ms(CLOCK_THREAD_CPUTIME_ID);
    CHECK_EQ(ky_engine_set_peers(hosts[host].engine, peers, PEERS, hosts[host].own, 2, &duplicate),
             0);
    double took = now_ms() - begin;
    cpu = clock_ms(CLOCK_THREAD_CPUTIME_ID) - cpu;
    worst_cpu = cpu > worst_cpu ? cpu : worst_cpu;
    total += took;
    worst = took > worst ? took : worst;
}

static void run_swaps(void) {
    struct random r = {.state = 10};
    struct ky_peer_spec *peers = calloc(PEERS, sizeof *peers);
    REQUIRE(peers != NULL);
    for (unsigned round = 0; round < SWAPS; round++) {
        unsigned before = atomic_load(&received);
        swap(&r, 0, round, peers);
        swap(&r, 1, round, peers);
        // Packets flow between any two tables: otherwise this would prove nothing.
        for (double begin = now_ms();
             atomic_load(&received) == before && now_ms() - begin < IDLE_MS;)
            nap();
        CHECK(atomic_load(&received) != before);
    }
    free(peers);
}

static void run(unsigned workers) {
    pthread_t sender, receiver;
    struct ky_fault fault;
    struct ky_engine_stats stats;
    check_case("%u workers", workers);
    atomic_store(&sent, 0);
    atomic_store(&received, 0);
    atomic_store(&stop, false);
    memset(seen, 0, PACKETS_MAX);
    memset(expected, 0, sizeof expected);
    twice = unknown = out_of_order = 0;
    worst = total = worst_cpu = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.workers = workers;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    REQUIRE(pthread_create(&receiver, NULL, receive_loop, NULL) == 0);
    REQUIRE(pthread_create(&sender, NULL, send_loop, NULL) == 0);
    run_swaps();
    atomic_store(&stop, true);
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
    printf("%u workers: %u packets over %d swaps of %d peers: worst %.1f ms, %.1f of a processor, "
           "mean %.1f ms\n",
           workers, atomic_load(&sent), 2 * SWAPS, PEERS, worst, worst_cpu, total / (2 * SWAPS));
    CHECK_EQ(atomic_load(&received), atomic_load(&sent));
    CHECK_EQ(twice, 0);
    CHECK_EQ(unknown, 0);
    CHECK_EQ(out_of_order, 0);
    CHECK(worst_cpu < LIMIT_MS);
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    ky_engine_stats_read(hosts[0].engine, &stats);
    const struct ky_feature_state *offload = &stats.features[KY_FEATURE_FLOW_OFFLOAD];
    uint64_t offloaded = stats.counters[KY_COUNTER_INDEX_tx_offloaded];
    printf("%u workers: %llu offloaded, flow-offload: %s\n", workers, (unsigned long long)offloaded,
           offload->reason);
    CHECK_EQ(offloaded > SWAPS, offload->on);
    CHECK_EQ(ky_engine_peer_count(hosts[0].engine), PEERS);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

int main(void) {
    hosts_make(hosts);
    seen = malloc(PACKETS_MAX);
    REQUIRE(seen != NULL);
    run(1);
    run(4);
    free(seen);
    return check_report();
}
