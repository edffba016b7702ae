// The dataplane's public API. Knows nothing of Node, JSON, etcd or leases.
//
// Threads: open, set_peers, stats and close are called by one control thread; packets move on the
// engine's own threads. Every function returns 0 or -errno; out-parameters are valid only on 0.
//
// Linking note: nothing here prints, exits, or changes process-wide state.
#ifndef KY_ENGINE_H
#define KY_ENGINE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counter.h"
#include "drop.h"
#include "fault.h"
#include "feature.h"
#include "ip.h"
#include "peers.h"
#include "probe.h"
#include "wire.h"

enum {
    KY_WORKERS_MAX = 16,
    KY_PEERS_MAX = 65536,
    KY_MTU_MIN = 68, // RFC 791; the control plane sets its own, higher floor
};

struct ky_engine_config {
    char device[IFNAMSIZ];
    struct ky_ip local; // underlay address: frames leave from it and are received on it
    enum ky_wire wire;
    uint32_t vni; // of VXLAN alone, as is mac
    uint32_t mtu; // largest inner packet
    uint16_t port;
    uint8_t mac[6]; // this node's VtepMAC
    unsigned workers;
    uint32_t disable; // bit i switches ky_feature i off
    bool allow_unknown_sources;
    bool no_inner_source_check;
};

struct ky_engine;

// Probes the kernel, creates the device (down, without address) and the sockets, and starts the
// workers with an empty table of peers. On failure *fault names the step and nothing is left.
int ky_engine_open(const struct ky_engine_config *config, struct ky_engine **out,
                   struct ky_fault *fault);

// Replaces the whole table of peers and own prefixes. The change is one atomic swap: a packet sees
// the old table or the new one. Counters of a peer live on while its prefix stays. Returns once no
// worker uses the old table (microseconds; a batch at most). -EEXIST: *duplicate is the index of a
// peer whose prefix occurs twice; -E2BIG: more than KY_PEERS_MAX. On failure the old table stays.
int ky_engine_set_peers(struct ky_engine *engine, const struct ky_peer_spec *peers, size_t count,
                        const struct ky_prefix *locals, size_t local_count, size_t *duplicate);

struct ky_engine_stats {
    uint64_t counters[KY_COUNTER_COUNT];
    uint64_t drops[KY_DROP_COUNT];
    struct ky_feature_state features[KY_FEATURE_COUNT];
    int failed; // errno for which the workers gave up (the device was deleted), 0 while running
};

void ky_engine_stats_read(struct ky_engine *engine, struct ky_engine_stats *stats);

// The same `failed`, without the rest.
int ky_engine_failed(const struct ky_engine *engine);

struct ky_peer_stats {
    struct ky_ip prefix;
    struct ky_ip outer;
    uint8_t bits;
    uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
};

size_t ky_engine_peer_count(const struct ky_engine *engine);
void ky_engine_peer_stats(const struct ky_engine *engine, size_t i, struct ky_peer_stats *stats);

// Stops the workers, removes device and sockets, frees everything.
void ky_engine_close(struct ky_engine *engine);

#endif
