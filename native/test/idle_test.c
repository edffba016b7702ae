// An engine with nothing to do does nothing: with 1,000 peers, before any traffic and after it, its
// threads stay asleep. Seen from two sides: its own count of wake-ups, and the kernel's of how often
// each thread was put on a processor.
#include <time.h>

#include "check.h"
#include "threads.h"
#include "traffic.h"

enum { PEERS = 1000, LOOK_MS = 700, ALLOWED = 2 };

static struct host hosts[2];

static void look_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static uint64_t wakeups(void) {
    return hosts_counter(&hosts[0], KY_COUNTER_INDEX_wakeups) +
           hosts_counter(&hosts[1], KY_COUNTER_INDEX_wakeups);
}

static void settle(void) {
    for (int i = 0; i < 100; i++) {
        uint64_t woken = wakeups();
        unsigned long switched = threads_look().switches;
        look_ms(20);
        if (wakeups() == woken && threads_look().switches == switched)
            return;
    }
    check_fail(__FILE__, __LINE__, "the engine does not come to rest");
}

static void check_idle(const char *when, unsigned workers) {
    check_case("%u workers, %s", workers, when);
    settle();
    uint64_t woken = wakeups();
    unsigned long switched = threads_look().switches;
    look_ms(LOOK_MS);
    woken = wakeups() - woken;
    switched = threads_look().switches - switched;
    printf("%u workers, %s: %llu wake-ups, %lu switches in %d ms\n", workers, when,
           (unsigned long long)woken, switched, LOOK_MS);
    CHECK(woken <= ALLOWED);
    CHECK(switched <= ALLOWED);
}

static void set_peers(unsigned host) {
    struct ky_peer_spec peers[PEERS];
    size_t duplicate;
    hosts_specs(&hosts[1 - host], false, peers);
    for (uint32_t i = 2; i < PEERS; i++) {
        uint8_t inner[4] = {100, (uint8_t)(i >> 8), (uint8_t)i, 0};
        uint8_t outer[4] = {198, 18, (uint8_t)(i >> 8), (uint8_t)i};
        peers[i] = (struct ky_peer_spec){
            .prefix = ky_ip4(inner), .outer = ky_ip4(outer), .bits = KY_V4_BITS + 24};
    }
    REQUIRE(ky_engine_set_peers(hosts[host].engine, peers, PEERS, hosts[host].own, 2, &duplicate) ==
            0);
}

static void run(unsigned workers) {
    struct ky_fault fault;
    unsigned before = threads_look().count;
    for (unsigned i = 0; i < 2; i++) {
        struct ky_engine_config c = hosts_config(&hosts[i]);
        c.workers = workers;
        REQUIRE(hosts_open(&hosts[i], &c, &fault) == 0);
        set_peers(i);
    }
    CHECK(threads_look().count - before >= workers); // what is counted is there
    check_idle("before any traffic", workers);
    uint64_t woken = wakeups();
    for (unsigned i = 0; i < 50; i++) {
        struct oracle_spec s = hosts_plain(4, ORACLE_UDP, 100, i % 2 != 0);
        traffic_send(&hosts[i % 2], &s, 0);
        traffic_check(&hosts[1 - i % 2]);
    }
    CHECK(wakeups() - woken > ALLOWED); // and it is counted
    check_idle("after some", workers);
    CHECK_EQ(hosts_drops(&hosts[0]) + hosts_drops(&hosts[1]), 0);
    hosts_close(&hosts[0]);
    hosts_close(&hosts[1]);
}

int main(void) {
    hosts_make(hosts);
    traffic_begin();
    run(1);
    run(4);
    traffic_end();
    return check_report();
}
