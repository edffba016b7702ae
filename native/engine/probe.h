// What this kernel can do, each found by doing it: in a network namespace of its own, on a thread
// that ends afterwards, so that nothing of it is ever visible on the host.
#ifndef KY_PROBE_H
#define KY_PROBE_H

#include <stdint.h>

#include "feature.h"

struct ky_probe {
    struct ky_feature_state feature[KY_FEATURE_COUNT];
    uint16_t frames_max; // datagrams in one UDP_SEGMENT send
    bool isolated;       // false: no namespace of our own was to be had, so the probes ran here
};

// Parts of it, tunnel-GSO injection (probe_inject.c) and the receive ring (probe_ring.c), in the
// calling thread's namespace, which is a new one.
void ky_probe_inject(struct ky_feature_state *state);
void ky_probe_ring(struct ky_feature_state *state);

// Takes a few milliseconds. Returns 0, or -errno when no thread could be started.
int ky_probe_run(struct ky_probe *probe);

#endif
