// TUN -> underlay without system calls: one packet or superpacket becomes frames in runs.
#ifndef KY_ENCAP_H
#define KY_ENCAP_H

#include "flows.h"
#include "inject.h"
#include "inner.h"
#include "peers.h"
#include "runs.h"
#include "stats.h"
#include "vnet.h"
#include "wire.h"

struct ky_encap {
    enum ky_wire wire;
    uint32_t mtu;  // the largest inner packet
    uint8_t ports; // size of the bank of source ports
    struct ky_runs runs;
    struct ky_inject *inject; // NULL: superpackets leave as runs
    struct ky_flows *flows;   // NULL: every packet of a flow comes here
    struct ky_counters *counters;
    struct ky_peer_counters *peer_counters; // indexed by ky_peer.slot
};

// Encapsulates the packet at pkt, as read from the TUN behind *vnet; pkt may be changed, and with
// inject set the KY_INJECT_HEADROOM bytes before it. Returns
// KY_DROP_NONE, or the reason why nothing was sent; then the caller counts it, and for
// KY_DROP_TX_NO_PEER, KY_DROP_TX_TOO_BIG and KY_DROP_TX_TTL answers with ICMP. *inner is valid unless the reason is
// KY_DROP_TX_NOT_IP.
enum ky_drop ky_encap_packet(struct ky_encap *encap, const struct ky_peers *peers,
                             const struct ky_vnet *vnet, uint8_t *pkt, size_t len,
                             struct ky_inner *inner);

#endif
