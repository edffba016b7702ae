// Eight workers on however many processors there are: many flows of TCP and UDP at once, both ways.
// Every flow's bytes come out as they went in, in order, none lost and none twice, and every count
// adds up: both ends', the peers' and the device's own.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "netns.h"
#include "random.h"
#include "traffic.h"

enum {
    WORKERS = 8,
    TCP_FLOWS = 16,
    FLOWS = 64, // those behind the TCP flows are UDP
    PACKETS = 12000,
    WINDOW = 256, // on the way at once, so that no queue overflows
    IDLE_MS = 3000,
    NOISE = 65521, // what a flow sends repeats after so many bytes; a prime
};

static struct host hosts[2];
static uint8_t noise[NOISE + ORACLE_PACKET_MAX];

// One direction: host `from` sends to the other.
static struct way {
    unsigned from;
    pthread_t sender, receiver;
    atomic_uint sent, received; // packets, as the wire has them
    atomic_bool done;
    unsigned long bytes; // of inner packets
    uint32_t next_sent[FLOWS], next_received[FLOWS];
    unsigned wrong, misplaced, unknown;
} ways[2];

// What a flow sends at this place of it.
static const uint8_t *bytes_at(unsigned flow, uint32_t place) {
    return noise + (flow * 977 + (uint64_t)place) % NOISE;
}

static unsigned long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

// ---- sending ----

// A packet, or a superpacket of `count`, of a flow. TCP counts bytes; UDP numbers its datagrams, and
// each begins with its number. A superpacket's segments fill the MTU.
static size_t build(struct way *w, struct random *r, unsigned flow, unsigned count, uint8_t *out,
                    struct ky_vnet *vnet) {
    static _Thread_local uint8_t payload[ORACLE_PACKET_MAX];
    unsigned version = flow % 2 ? 6 : 4;
    bool tcp = flow < TCP_FLOWS, back = w->from == 1;
    uint32_t *next = &w->next_sent[flow];
    struct oracle_spec s = hosts_plain(version, tcp ? ORACLE_TCP : ORACLE_UDP, 0, back);
    uint16_t full = (uint16_t)(HOSTS_MTU - (version == 4 ? 20 : 40) - (tcp ? 20 : 8));
    uint16_t here = (uint16_t)(3000 + flow), there = (uint16_t)(4000 + flow);
    s.sport = back ? there : here; // the way back is the same flow's
    s.dport = back ? here : there;
    s.flags = ORACLE_ACK;
    s.payload_len = count > 1 ? (size_t)full * count : random_range(r, 4, full);
    s.seq = *next;
    s.payload = payload;
    if (tcp) {
        memcpy(payload, bytes_at(flow, *next), s.payload_len);
        *next += (uint32_t)s.payload_len;
    } else {
        for (size_t at = 0; at < s.payload_len; at += full, ++*next) {
            size_t left = s.payload_len - at, len = left < full ? left : full;
            memcpy(payload + at, bytes_at(flow, *next), len);
            oracle_put32(payload + at, *next);
        }
    }
    *vnet = (struct ky_vnet){0};
    if (count > 1) {
        s.check = ORACLE_PARTIAL;
        *vnet = traffic_offload(&s, full);
    }
    size_t len = oracle_build(out, &s);
    w->bytes += s.payload_len + count * (len - s.payload_len);
    return len;
}

static void *send_loop(void *arg) {
    static _Thread_local uint8_t packet[ORACLE_PACKET_MAX];
    struct way *w = arg;
    struct random r = {.state = 20 + w->from};
    while (atomic_load(&w->sent) < PACKETS) {
        unsigned count = random_one_in(&r, 4) ? random_range(&r, 2, 20) : 1;
        struct ky_vnet vnet;
        size_t len = build(w, &r, random_below(&r, FLOWS), count, packet, &vnet);
        for (unsigned long begin = now_ms();
             atomic_load(&w->sent) - atomic_load(&w->received) > WINDOW &&
             now_ms() - begin < IDLE_MS;)
            nap();
        atomic_fetch_add(&w->sent, count);
        while (hosts_send(&hosts[w->from], &vnet, packet, len) != 0)
            nap();
    }
    atomic_store(&w->done, true);
    return NULL;
}

// ---- receiving ----

static void take(void *ctx, const uint8_t *packet, size_t len) {
    struct way *w = ctx;
    struct oracle_ip ip;
    if (!oracle_parse(packet, len, &ip) || !oracle_l4_sum_ok(packet, &ip)) {
        w->unknown++;
        return;
    }
    unsigned flow = oracle_get16(packet + ip.l4 + (w->from == 1 ? 2 : 0)) - 3000u;
    bool tcp = ip.proto == ORACLE_TCP;
    size_t header = oracle_headers(packet, &ip), payload_len = ip.len - header;
    if (flow >= FLOWS || tcp != (flow < TCP_FLOWS) || payload_len < 4) {
        w->unknown++;
        return;
    }
    const uint8_t *payload = packet + header;
    uint32_t place = oracle_get32(tcp ? packet + ip.l4 + 4 : payload);
    size_t skip = tcp ? 0 : 4;
    w->misplaced += place != w->next_received[flow];
    w->wrong += memcmp(payload + skip, bytes_at(flow, place) + skip, payload_len - skip) != 0;
    w->next_received[flow] = place + (tcp ? (uint32_t)payload_len : 1);
    atomic_fetch_add(&w->received, 1);
}

static void *receive_loop(void *arg) {
    struct way *w = arg;
    for (unsigned long last = now_ms(); now_ms() - last < IDLE_MS;) {
        if (atomic_load(&w->done) && atomic_load(&w->received) == atomic_load(&w->sent))
            break;
        if (traffic_receive(&hosts[1 - w->from], 100, take, w))
            last = now_ms();
    }
    return NULL;
}

// ---- counts ----

// Packets that the host's stack handed to the device, and took from it.
static void device_packets(const struct host *h, unsigned long *tx, unsigned long *rx) {
    char line[512];
    netns_set(h->ns);
    FILE *f = fopen("/proc/thread-self/net/dev", "re");
    REQUIRE(f != NULL);
    *tx = *rx = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, "overlay:");
        if (at != NULL)
            sscanf(at, "overlay: %*u %lu %*u %*u %*u %*u %*u %*u %*u %lu", rx, tx);
    }
    fclose(f);
}

// A packet is here before the engine has counted that it wrote it.
static void await_counted(const struct host *h) {
    unsigned long tx, rx, begin = now_ms();
    do {
        nap();
        device_packets(h, &tx, &rx);
    } while (hosts_counter(h, KY_COUNTER_INDEX_rx_writes) != rx && now_ms() - begin < IDLE_MS);
}

static void check_counts(unsigned i) {
    const struct host *h = &hosts[i];
    const struct way *out = &ways[i], *in = &ways[1 - i];
    struct ky_peer_stats sum = {0}, one;
    unsigned long tx, rx;
    check_case("counts of host %u", i);
    await_counted(h);
    for (size_t k = 0; k < ky_engine_peer_count(h->engine); k++) {
        ky_engine_peer_stats(h->engine, k, &one);
        sum.tx_packets += one.tx_packets, sum.tx_bytes += one.tx_bytes;
        sum.rx_packets += one.rx_packets, sum.rx_bytes += one.rx_bytes;
    }
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_tx_packets), atomic_load(&out->sent));
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_tx_bytes), out->bytes);
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_rx_packets), atomic_load(&in->sent));
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_rx_bytes), in->bytes);
    CHECK_EQ(sum.tx_packets, atomic_load(&out->sent));
    CHECK_EQ(sum.tx_bytes, out->bytes);
    CHECK_EQ(sum.rx_packets, hosts_counter(h, KY_COUNTER_INDEX_rx_packets));
    CHECK_EQ(sum.rx_bytes, in->bytes);
    device_packets(h, &tx, &rx);
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_tx_reads), tx);
    CHECK_EQ(hosts_counter(h, KY_COUNTER_INDEX_rx_writes), rx);
    CHECK_EQ(hosts_drops(h), 0);
    CHECK_EQ(ky_engine_failed(h->engine), 0);
}

static void start(struct way *w, unsigned from) {
    w->from = from;
    REQUIRE(pthread_create(&w->receiver, NULL, receive_loop, w) == 0);
    REQUIRE(pthread_create(&w->sender, NULL, send_loop, w) == 0);
}

static void check_way(const struct way *w) {
    check_case("from host %u", w->from);
    CHECK_EQ(atomic_load(&w->received), atomic_load(&w->sent));
    CHECK_EQ(w->misplaced, 0);
    CHECK_EQ(w->wrong, 0);
    CHECK_EQ(w->unknown, 0);
}

static void run(unsigned directions, uint32_t disable) {
    struct ky_fault fault;
    memset(ways, 0, sizeof ways);
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.workers = WORKERS;
        c.disable = disable;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    for (unsigned i = 0; i < directions; i++)
        start(&ways[i], i);
    for (unsigned i = 0; i < directions; i++) {
        pthread_join(ways[i].sender, NULL);
        pthread_join(ways[i].receiver, NULL);
        check_way(&ways[i]);
    }
    for (unsigned i = 0; i < 2; i++)
        check_counts(i);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

int main(void) {
    struct random r = {.state = 12};
    random_fill(&r, noise, NOISE);
    for (size_t i = NOISE; i < sizeof noise; i++)
        noise[i] = noise[i - NOISE];
    hosts_make(hosts);
    run(1, 0);
    run(2, 0);
    run(2, 1u << KY_FEATURE_TUNNEL_GSO);
    return check_report();
}
