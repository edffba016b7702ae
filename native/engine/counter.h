// The list of counters that are not drops. C counts them under these names, and `kersey status` and the
// metrics show them under the same.
#ifndef KY_COUNTER_H
#define KY_COUNTER_H

// Bytes are those of inner IP packets. "packets" are inner packets as they are on the wire, that is
// after segmentation (tx) and before coalescing (rx).
#define KY_COUNTER_LIST(X)                                                                         \
    X(tx_packets, "inner packets sent, after segmentation")                                        \
    X(tx_bytes, "bytes of inner packets sent")                                                     \
    X(tx_reads, "packets and superpackets read from the TUN")                                      \
    X(tx_superpackets, "of these, GSO superpackets")                                               \
    X(tx_datagrams, "sends handed to the kernel; a UDP_SEGMENT run is one")                        \
    X(tx_syscalls, "system calls made to send them")                                               \
    X(tx_injected, "superpackets that left whole, by tunnel-gso")                                  \
    X(tx_inject_fallbacks, "superpackets that tunnel-gso refused and that left as runs")           \
    X(tx_offloaded, "packets and superpackets that left by flow-offload, not read from the TUN")   \
    X(tx_gso_fallbacks, "runs sent one datagram at a time after UDP_SEGMENT failed")               \
    X(rx_packets, "inner packets received")                                                        \
    X(rx_bytes, "bytes of inner packets received")                                                 \
    X(rx_datagrams, "receives taken from the kernel; a UDP_GRO train is one")                      \
    X(rx_ring, "of these, by the receive ring")                                                    \
    X(rx_offloaded, "packets that came in by flow-offload or flow-receive, past the engine")       \
    X(rx_syscalls, "system calls made to receive them")                                            \
    X(rx_superpackets, "whole superpackets received from a kernel VXLAN peer on a virtual link")   \
    X(rx_partial, "packets that arrived with their checksum left to be filled in")                 \
    X(rx_coalesced, "packets merged into a preceding one")                                         \
    X(rx_writes, "packets and superpackets written to the TUN")                                    \
    X(rx_write_fallbacks, "superpackets written packet by packet after the TUN refused them")      \
    X(rx_ecn_marked, "inner packets whose ECN field took over the outer one's")                    \
    X(icmp_sent, "ICMP errors written into the TUN")                                               \
    X(icmp_suppressed, "ICMP errors not sent: rate limit, or not allowed for this packet")         \
    X(wakeups, "times a worker thread slept and was woken")

enum {
#define KY_COUNTER_ONE(name, text) KY_COUNTER_INDEX_##name,
    KY_COUNTER_LIST(KY_COUNTER_ONE)
#undef KY_COUNTER_ONE
        KY_COUNTER_COUNT
};

extern const char *const ky_counter_names[KY_COUNTER_COUNT];
extern const char *const ky_counter_texts[KY_COUNTER_COUNT];

#endif
