#include "encap.h"

#include <string.h>

#include "bytes.h"
#include "ecn.h"
#include "gso.h"
#include "rawip.h"

static bool is_multicast(const struct ky_inner *in) {
    if (in->version == 4)
        return ky_ip_v4(in->dst) >= 0xe0000000u; // 224/4, and 255.255.255.255
    return (be64toh(in->dst.w[0]) >> 56) == 0xff;
}

// A packet larger than the MTU goes only where the kernel may fragment its datagram for it: IPv4
// without DF. (The TUN's own MTU normally keeps such packets away.)
static bool too_big(const struct ky_encap *e, const uint8_t *pkt, const struct ky_inner *in,
                    uint32_t len) {
    if (len > KY_RUN_BYTES - ky_wire_header(e->wire))
        return true; // no datagram holds it, whatever the MTU
    if (len <= e->mtu)
        return false;
    return in->version == 6 || (ky_be16(pkt + 6) & 0x4000) != 0;
}

static uint8_t *reserve(struct ky_encap *e, const struct ky_peer *peer, const struct ky_inner *in,
                        uint8_t port, uint32_t len) {
    // Outer ECN stays 0 on flannel's udp wire: its proxy does not hand on what congestion is marked there,
    // and towards such an egress RFC 6040 4.1 wants the outer packet to be one that is not marked.
    if (e->wire == KY_WIRE_RAWIP)
        return ky_runs_reserve(&e->runs, peer, port, KY_NOT_ECT, len);
    uint8_t *frame =
        ky_runs_reserve(&e->runs, peer, port, ky_ecn_outer(in->tos), KY_ENCAP_LEN + len);
    memcpy(frame, peer->encap, KY_ENCAP_LEN);
    ky_vxlan_set_version(frame, in->version);
    return frame + KY_ENCAP_LEN;
}

static void count_sent(struct ky_encap *e, const struct ky_peer *peer, uint64_t packets,
                       uint64_t bytes) {
    ky_add(&e->counters->tx_packets, packets);
    ky_add(&e->counters->tx_bytes, bytes);
    ky_add(&e->peer_counters[peer->slot].packets, packets);
    ky_add(&e->peer_counters[peer->slot].bytes, bytes);
}

// Sends a superpacket whole. What waits in the runs goes first, so that a flow stays in order.
static bool inject(struct ky_encap *e, const struct ky_peer *peer, const struct ky_inner *in,
                   const struct ky_vnet *vnet, uint8_t *pkt, uint8_t port) {
    ky_runs_flush(&e->runs);
    if (ky_inject_send(e->inject, peer, in, vnet, pkt, port, ky_ecn_outer(in->tos)) != 0) {
        ky_add(&e->counters->tx_inject_fallbacks, 1);
        return false;
    }
    ky_add(&e->counters->tx_injected, 1);
    return true;
}

enum ky_drop ky_encap_packet(struct ky_encap *e, const struct ky_peers *peers,
                             const struct ky_vnet *vnet, uint8_t *pkt, size_t len,
                             struct ky_inner *in) {
    if (ky_inner_parse(pkt, len, in) != 0)
        return KY_DROP_TX_NOT_IP;
    if (!ky_wire_carries(e->wire, in->version))
        return is_multicast(in) ? KY_DROP_TX_MULTICAST : KY_DROP_TX_NOT_IPV4;
    const struct ky_peer *peer = ky_peers_find(peers, in->dst);
    if (peer == NULL || ky_inner_mapped(in))
        return is_multicast(in) ? KY_DROP_TX_MULTICAST : KY_DROP_TX_NO_PEER;
    // Before anything else is found wrong with it: an ICMP error may quote a TTL that is decremented
    // already (RFC 1812 4.3.2.3).
    if (e->wire == KY_WIRE_RAWIP && ky_rawip_send(pkt) != KY_DROP_NONE)
        return KY_DROP_TX_TTL;
    uint8_t port = (uint8_t)(ky_inner_flow(pkt, in) % e->ports);

    if (vnet->gso_type != KY_VNET_GSO_NONE) {
        struct ky_gso gso;
        if (ky_gso_open(&gso, pkt, in, vnet) != 0)
            return KY_DROP_TX_BAD_OFFLOAD;
        if (too_big(e, pkt, in, ky_gso_len(&gso, 0)))
            return KY_DROP_TX_TOO_BIG;
        ky_add(&e->counters->tx_superpackets, 1);
        if (e->flows != NULL)
            ky_flows_sending(e->flows, peers, pkt, in, peer, port);
        if (e->inject != NULL && gso.count > 1 && inject(e, peer, in, vnet, pkt, port)) {
            count_sent(e, peer, gso.count, gso.payload + (uint64_t)gso.count * gso.hdr);
            return KY_DROP_NONE;
        }
        for (uint32_t i = 0; i < gso.count; i++)
            ky_gso_write(&gso, i, reserve(e, peer, in, port, ky_gso_len(&gso, i)));
        count_sent(e, peer, gso.count, gso.payload + (uint64_t)gso.count * gso.hdr);
        return KY_DROP_NONE;
    }
    if (too_big(e, pkt, in, in->len))
        return KY_DROP_TX_TOO_BIG;
    if ((vnet->flags & KY_VNET_NEEDS_CSUM) &&
        (vnet->csum_start < in->l4 || ky_checksum_complete(pkt, in->len, vnet) != 0))
        return KY_DROP_TX_BAD_OFFLOAD;
    if (e->flows != NULL)
        ky_flows_sending(e->flows, peers, pkt, in, peer, port);
    memcpy(reserve(e, peer, in, port, in->len), pkt, in->len);
    count_sent(e, peer, 1, in->len);
    return KY_DROP_NONE;
}
