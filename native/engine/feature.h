// What the engine does only where it can and may: mostly optional kernel features. Each is probed by
// use at start (probe.c), can be switched off by its name, and is shown with the reason for its state.
#ifndef KY_FEATURE_H
#define KY_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

#define KY_FEATURE_LIST(X)                                                                         \
    X(TUN_CSUM, "tun-csum", "the TUN leaves L4 checksums to the engine")                           \
    X(TUN_TSO, "tun-tso", "the TUN hands over TCP superpackets")                                   \
    X(TUN_USO, "tun-uso", "the TUN hands over UDP superpackets (Linux 6.2)")                       \
    X(TUN_STEERING, "tun-steering", "a flow keeps to one queue of the TUN (Linux 4.16)")           \
    X(UDP_GSO, "udp-gso", "UDP_SEGMENT: one send for a run of equal datagrams (Linux 4.18)")       \
    X(UDP_GRO, "udp-gro", "UDP_GRO: one receive for a train of equal datagrams (Linux 5.0)")       \
    X(TUNNEL_GSO, "tunnel-gso", "superpackets leave whole, the kernel segments them (Linux 6.17)") \
    X(FLOW_OFFLOAD, "flow-offload",                                                                \
      "TCP flows known to the engine leave without a copy, their acknowledgements come in "        \
      "without a thread (Linux 6.17)")                                                             \
    X(FLOW_RECEIVE, "flow-receive",                                                                \
      "the payload of such flows comes in without a thread, too, where a device's tunnel "         \
      "offloads "                                                                                  \
      "cannot take it for a tunnel's")                                                             \
    X(RECEIVE_RING, "receive-ring", "unmerged datagrams arrive without a system call (Linux 6.6)") \
    X(BATCH, "batch", "sendmmsg and recvmmsg of more than one message")                            \
    X(COALESCE, "coalesce", "received TCP packets are written to the TUN as superpackets")         \
    X(COALESCE_UDP, "coalesce-udp", "the same for UDP (Linux 6.2)")                                \
    X(HOME_CPU, "home-cpu", "threads that move superpackets stay on one CPU")

enum ky_feature {
#define KY_FEATURE_ENUM(id, name, text) KY_FEATURE_##id,
    KY_FEATURE_LIST(KY_FEATURE_ENUM)
#undef KY_FEATURE_ENUM
        KY_FEATURE_COUNT
};

extern const char *const ky_feature_names[KY_FEATURE_COUNT];
extern const char *const ky_feature_texts[KY_FEATURE_COUNT];

struct ky_feature_state {
    bool on;
    char reason[112]; // one clause: what the probe saw, or who switched it off
};

#endif
