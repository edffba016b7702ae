#include "hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "netns.h"

static struct ky_ip ip(const char *text) {
    uint8_t raw[16];
    if (strchr(text, ':')) {
        REQUIRE(inet_pton(AF_INET6, text, raw) == 1);
        return ky_ip6(raw);
    }
    REQUIRE(inet_pton(AF_INET, text, raw) == 1);
    return ky_ip4(raw);
}

static void address(struct host *h, unsigned i) {
    char text[4][32];
    snprintf(text[0], 32, "192.0.2.%u", i + 1);
    snprintf(text[1], 32, "fd99::%u", i + 1);
    snprintf(text[2], 32, "10.%u.0.0", i + 1);
    snprintf(text[3], 32, "fd0%u::", i + 1);
    h->underlay = ip(text[0]);
    h->underlay6 = ip(text[1]);
    h->own[0] = (struct ky_prefix){ip(text[2]), KY_V4_BITS + 24};
    h->own[1] = (struct ky_prefix){ip(text[3]), 64};
    h->mac[0] = 2;
    h->mac[5] = (uint8_t)(i + 1);
    netns_set(h->ns);
    REQUIRE(netns_congestion("reno") == 0); // BBR's pacing helps no test; reno every kernel has
    REQUIRE(netns_link_up("underlay") == 0);
    REQUIRE(netns_add_ip4("underlay", text[0], 24) == 0);
    REQUIRE(netns_add_ip6("underlay", text[1], 64) == 0);
}

static void *nothing(void *arg) {
    return arg;
}

void hosts_make(struct host hosts[2]) {
    pthread_t first; // from the first thread on, the thread sanitizer keeps one of its own
    REQUIRE(pthread_create(&first, NULL, nothing, NULL) == 0 && pthread_join(first, NULL) == 0);
    memset(hosts, 0, 2 * sizeof *hosts);
    netns_enter();
    netns_need_tun();
    hosts[0].ns = netns_self();
    hosts[1].ns = netns_new();
    hosts[0].packets = hosts[1].packets = -1;
    int err = netns_veth("underlay", "underlay", hosts[1].ns);
    if (err != 0) {
        printf("skipped: no veth pair: %s\n", strerror(-err));
        exit(CHECK_SKIP);
    }
    address(&hosts[0], 0);
    address(&hosts[1], 1);
    netns_set(hosts[0].ns);
}

struct ky_engine_config hosts_config(const struct host *h) {
    struct ky_engine_config c = {.device = "overlay",
                                 .local = h->underlay,
                                 .vni = HOSTS_VNI,
                                 .mtu = HOSTS_MTU,
                                 .port = HOSTS_PORT,
                                 .workers = 1};
    memcpy(c.mac, h->mac, 6);
    return c;
}

int hosts_open(struct host *h, const struct ky_engine_config *c, struct ky_fault *fault) {
    netns_set(h->ns);
    int err = ky_engine_open(c, &h->engine, fault);
    if (err != 0) {
        h->engine = NULL;
        return err;
    }
    snprintf(h->device, sizeof h->device, "%s", c->device);
    REQUIRE(netns_link_mtu(h->device, 9000) == 0); // so that the engine meets packets too big
    REQUIRE(netns_link_up(h->device) == 0);
    h->index = if_nametoindex(h->device);
    h->packets = netns_packet_socket(h->device);
    REQUIRE(h->packets >= 0);
    return 0;
}

void hosts_close(struct host *h) {
    netns_set(h->ns);
    if (h->packets >= 0)
        close(h->packets);
    h->packets = -1;
    ky_engine_close(h->engine);
    h->engine = NULL;
}

void hosts_specs(const struct host *peer, bool v6_underlay, struct ky_peer_spec specs[2]) {
    for (unsigned i = 0; i < 2; i++) {
        specs[i] = (struct ky_peer_spec){.prefix = peer->own[i].ip,
                                         .outer = v6_underlay ? peer->underlay6 : peer->underlay,
                                         .bits = peer->own[i].bits};
        memcpy(specs[i].mac, peer->mac, 6);
    }
}

void hosts_introduce(struct host hosts[2], bool v6_underlay) {
    for (unsigned i = 0; i < 2; i++) {
        struct ky_peer_spec specs[2];
        size_t duplicate;
        hosts_specs(&hosts[1 - i], v6_underlay, specs);
        REQUIRE(ky_engine_set_peers(hosts[i].engine, specs, 2, hosts[i].own, 2, &duplicate) == 0);
    }
}

bool hosts_open_both(struct host hosts[2], uint32_t disable, uint32_t features) {
    struct ky_fault fault;
    struct ky_engine_stats stats;
    bool all = true;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.disable = disable;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
    }
    hosts_introduce(hosts, false);
    ky_engine_stats_read(hosts[0].engine, &stats);
    for (unsigned f = 0; f < KY_FEATURE_COUNT; f++) {
        if ((features >> f & 1) == 0 || stats.features[f].on)
            continue;
        printf("%s is off: %s\n", ky_feature_names[f], stats.features[f].reason);
        all = false;
    }
    return all;
}

struct oracle_spec hosts_plain(unsigned version, uint8_t proto, size_t payload_len, bool back) {
    struct oracle_spec s = oracle_plain(version, proto, payload_len);
    s.src[1] = back ? 2 : 1;
    s.dst[1] = back ? 1 : 2;
    s.src[version == 4 ? 3 : 15] = s.dst[version == 4 ? 3 : 15] = 1;
    return s;
}

int hosts_send(const struct host *h, const struct ky_vnet *vnet, const void *packet, size_t len) {
    return netns_packet_send(h->packets, h->index, vnet, packet, len);
}

long hosts_receive(const struct host *h, int wait_ms, struct ky_vnet *vnet, uint8_t *packet,
                   size_t cap) {
    return netns_packet_receive(h->packets, wait_ms, vnet, packet, cap);
}

static struct ky_engine_stats *stats_of(const struct host *h) {
    static struct ky_engine_stats stats;
    ky_engine_stats_read(h->engine, &stats);
    return &stats;
}

uint64_t hosts_counter(const struct host *h, unsigned index) {
    return stats_of(h)->counters[index];
}

uint64_t hosts_drop(const struct host *h, enum ky_drop reason) {
    return stats_of(h)->drops[reason];
}

struct ky_peer_stats hosts_peer_stats(const struct host *h) {
    struct ky_peer_stats sum = {0}, one;
    for (size_t i = 0; i < ky_engine_peer_count(h->engine); i++) {
        ky_engine_peer_stats(h->engine, i, &one);
        sum.tx_packets += one.tx_packets;
        sum.tx_bytes += one.tx_bytes;
        sum.rx_packets += one.rx_packets;
        sum.rx_bytes += one.rx_bytes;
    }
    return sum;
}

uint64_t hosts_drops(const struct host *h) {
    const struct ky_engine_stats *s = stats_of(h);
    uint64_t sum = 0;
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        sum += s->drops[i];
    return sum;
}

struct footprint hosts_footprint(const struct host hosts[2]) {
    struct footprint f = {netns_count("/proc/self/fd"), netns_count("/proc/self/task"), {0}};
    for (unsigned i = 0; i < 2; i++) {
        netns_set(hosts[i].ns);
        f.links[i] = netns_count("/proc/thread-self/net/dev_snmp6");
    }
    netns_set(hosts[0].ns);
    return f;
}

void hosts_check_footprint(const struct host hosts[2], const struct footprint *before) {
    struct footprint now = hosts_footprint(hosts);
    // A joined thread may still be listed for a moment.
    for (int i = 0; i < 100 && now.threads != before->threads; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        now = hosts_footprint(hosts);
    }
    CHECK_EQ(now.fds, before->fds);
    CHECK_EQ(now.threads, before->threads);
    CHECK_EQ(now.links[0], before->links[0]);
    CHECK_EQ(now.links[1], before->links[1]);
}
