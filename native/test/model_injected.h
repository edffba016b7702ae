// What ky_inject_send writes to its TAP, taken apart and checked: Linux's
// virtio_net_hdr_v1_hash_tunnel and the whole frame (linux-dataplane 2.2).
#ifndef KY_TEST_MODEL_INJECTED_H
#define KY_TEST_MODEL_INJECTED_H

#include "model_reference.h"

struct model_injected {
    const uint8_t *encap; // VXLAN and inner Ethernet header, which every segment repeats
    const uint8_t *packet;
    size_t len; // of the packet
    unsigned from, to;
    unsigned tos, mss, source_port;
    bool udp;
};

// Every departure from what a kernel would take, and from what the node should send, is a failed check.
void model_injected_check(const struct model_world *world, unsigned from, const uint8_t *bytes,
                          size_t len, struct model_injected *out);

#endif
