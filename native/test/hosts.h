// Two hosts for tests of the whole engine: two network namespaces joined by a veth pair, each with a
// TUN of an engine and a packet socket on it. Nothing outside of them is touched.
#ifndef KY_TEST_HOSTS_H
#define KY_TEST_HOSTS_H

#include "../engine/engine.h"
#include "oracle.h"

enum { HOSTS_MTU = 1450, HOSTS_VNI = 5, HOSTS_PORT = 8472 };

struct host {
    int ns;
    struct ky_ip underlay, underlay6;
    uint8_t mac[6];
    struct ky_prefix own[2]; // 10.1.0.0/24 and fd01::/64; 10.2.0.0/24 and fd02::/64
    struct ky_engine *engine;
    char device[16];
    unsigned index; // of the device
    int packets;    // the packet socket
};

// Makes both namespaces, or ends the program as skipped.
void hosts_make(struct host hosts[2]);

struct ky_engine_config hosts_config(const struct host *host);

// Opens the engine in the host's namespace, its device up. Returns 0 or -errno.
int hosts_open(struct host *host, const struct ky_engine_config *config, struct ky_fault *fault);
void hosts_close(struct host *host);

// Tells each of the other.
void hosts_introduce(struct host hosts[2], bool v6_underlay);
// Opens both, with features disabled, and introduces them. Returns whether the first has all of these, or says
// which it has not.
bool hosts_open_both(struct host hosts[2], uint32_t disable, uint32_t features);
void hosts_specs(const struct host *peer, bool v6_underlay, struct ky_peer_spec specs[2]);

// A packet between the hosts; from 0 to 1 unless `back`.
struct oracle_spec hosts_plain(unsigned version, uint8_t proto, size_t payload_len, bool back);

int hosts_send(const struct host *host, const struct ky_vnet *vnet, const void *packet, size_t len);
// The next packet that comes in and is none of the kernel's own; -EAGAIN after so many milliseconds.
long hosts_receive(const struct host *host, int wait_ms, struct ky_vnet *vnet, uint8_t *packet,
                   size_t cap);

uint64_t hosts_counter(const struct host *host, unsigned index);
uint64_t hosts_drop(const struct host *host, enum ky_drop reason);
uint64_t hosts_drops(const struct host *host);                  // all of them
struct ky_peer_stats hosts_peer_stats(const struct host *host); // the sum over its peers

// What the process and both namespaces hold; for "nothing is left behind".
struct footprint {
    int fds, threads, links[2];
};

struct footprint hosts_footprint(const struct host hosts[2]);
void hosts_check_footprint(const struct host hosts[2], const struct footprint *before);

#endif
