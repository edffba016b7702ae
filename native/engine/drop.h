// The one closed list of reasons for which a packet is not forwarded.
//
// C counts them, `kersey status`, the metrics and docs/reference/drops.md show them under the same
// names. A new reason is added here and nowhere else: the addon hands the list to TypeScript.
// "tx" is TUN -> underlay, "rx" is underlay -> TUN. Every count is of packets, except for
// rx_truncated, rx_checksum, rx_flags .. rx_unknown_source, which count datagrams' frames.
#ifndef KY_DROP_H
#define KY_DROP_H

#define KY_DROP_LIST(X)                                                                            \
    X(TX_NOT_IP, "tx_not_ip", "the TUN gave a packet that is not well-formed IPv4 or IPv6")        \
    X(TX_BAD_OFFLOAD, "tx_bad_offload", "the packet contradicts its virtio_net_hdr")               \
    X(TX_MULTICAST, "tx_multicast", "multicast or broadcast; an overlay of leases has none")       \
    X(TX_NO_PEER, "tx_no_peer",                                                                    \
      "no lease holds the inner destination (ICMP net unreachable sent)")                          \
    X(TX_NOT_IPV4, "tx_not_ipv4", "an IPv6 packet, which flannel's udp wire does not carry")       \
    X(TX_TTL, "tx_ttl",                                                                            \
      "the TTL is used up, flannel's udp wire being a hop (ICMP time exceeded sent)")              \
    X(TX_TOO_BIG, "tx_too_big", "larger than the MTU with DF set (ICMP too big sent)")             \
    X(TX_NO_ROUTE, "tx_no_route",                                                                  \
      "the underlay has no route to the peer (counted by superpacket)")                            \
    X(TX_BACKPRESSURE, "tx_backpressure", "the underlay took nothing for too long")                \
    X(TX_SEND_ERROR, "tx_send_error", "the underlay refused the datagram (no route, filtered)")    \
    X(RX_TRUNCATED, "rx_truncated", "the datagram was larger than the largest UDP datagram")       \
    X(RX_CHECKSUM, "rx_checksum", "the outer UDP checksum is wrong")                               \
    X(RX_SHORT, "rx_short", "shorter than the headers that every frame of the wire has")           \
    X(RX_FLAGS, "rx_flags", "VXLAN I flag missing or a reserved bit set")                          \
    X(RX_WRONG_VNI, "rx_wrong_vni", "VNI of another network")                                      \
    X(RX_UNKNOWN_SOURCE, "rx_unknown_source", "the outer source holds no lease")                   \
    X(RX_INNER_MAC, "rx_inner_mac", "the inner destination MAC is not this VTEP's")                \
    X(RX_INNER_LOOP, "rx_inner_loop", "the inner source MAC is this VTEP's own")                   \
    X(RX_INNER_TYPE, "rx_inner_type", "the inner EtherType is neither IPv4 nor IPv6")              \
    X(RX_NOT_IPV4, "rx_not_ipv4", "not an IPv4 packet, and flannel's udp wire carries no other")   \
    X(RX_INNER_MALFORMED, "rx_inner_malformed", "the inner IP header contradicts the frame")       \
    X(RX_ECN, "rx_ecn", "outer CE on an inner packet that is not ECN-capable (RFC 6040)")          \
    X(RX_MARTIAN, "rx_martian", "inner source is loopback, multicast, unspecified or broadcast")   \
    X(RX_INNER_SOURCE, "rx_inner_source", "inner source lies outside the sending peer's subnet")   \
    X(RX_NOT_LOCAL, "rx_not_local", "inner destination lies outside this node's subnet")           \
    X(RX_TTL, "rx_ttl", "the TTL is used up, flannel's udp wire being a hop")                      \
    X(RX_TUN_DOWN, "rx_tun_down", "the TUN device is down")                                        \
    X(RX_TUN_ERROR, "rx_tun_error", "the TUN device refused the packet")

enum ky_drop {
#define KY_DROP_ENUM(id, name, text) KY_DROP_##id,
    KY_DROP_LIST(KY_DROP_ENUM)
#undef KY_DROP_ENUM
        KY_DROP_COUNT,
    KY_DROP_NONE = KY_DROP_COUNT, // "not dropped", as a return value
};

extern const char *const ky_drop_names[KY_DROP_COUNT];
extern const char *const ky_drop_texts[KY_DROP_COUNT];

#endif
