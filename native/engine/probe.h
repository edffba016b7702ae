// What this kernel can do, each found by doing it: in a network namespace of its own, on a thread
// that ends afterwards, so that nothing of it is ever visible on the host.
#ifndef KY_PROBE_H
#define KY_PROBE_H

#include <stdint.h>

#include "feature.h"

struct ky_probe {
    struct ky_feature_state feature[KY_FEATURE_COUNT];
    uint16_t frames_max; // datagrams in one UDP_SEGMENT send
    bool try_flows;      // asked for by the caller
    bool isolated;       // false: no namespace of our own was to be had, so the probes ran here
};

// Parts of it, tunnel-GSO injection (probe_inject.c), flow offload (probe_flows.c) and the receive ring
// (probe_ring.c), in the calling thread's namespace, which is a new one.
// The first goes on to the second, with an injection that works and its underlay, where that is wanted.
void ky_probe_inject(struct ky_feature_state *inject, struct ky_feature_state *flows,
                     bool try_flows);
struct ky_inject;
void ky_probe_flows(struct ky_feature_state *state, const struct ky_inject *inject, int underlay);
void ky_probe_ring(struct ky_feature_state *state);

// Takes a tenth of a second, and as much again with flow offload. Returns 0, or -errno when no thread could be
// started.
int ky_probe_run(struct ky_probe *probe, bool flows);

#endif
