#include "decap.h"

#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"
#include "ecn.h"
#include "rawip.h"
#include "vxlan.h"

static bool is_martian(struct ky_ip ip, uint8_t version) {
    if (version == 4) {
        uint32_t v4 = ky_ip_v4(ip);
        return v4 >> 24 == 0 || v4 >> 24 == 127 || v4 >= 0xe0000000u; // 0/8, 127/8, 224/3
    }
    uint64_t hi = be64toh(ip.w[0]), lo = be64toh(ip.w[1]);
    return hi >> 56 == 0xff || (hi == 0 && lo <= 1) || ky_ip_is4(ip);
}

// The peer that sent the packet, when policy lets it in; otherwise NULL and the reason.
static const struct ky_peer *admit(const struct ky_decap *d, const struct ky_peers *peers,
                                   struct ky_ip from, const struct ky_inner *in,
                                   enum ky_drop *reason) {
    if (is_martian(in->src, in->version)) {
        *reason = KY_DROP_RX_MARTIAN;
        return NULL;
    }
    const struct ky_peer *peer = ky_peers_find(peers, in->src);
    bool from_owner = peer != NULL && ky_ip_equal(peer->outer, from);
    // Strangers, where they are allowed, may use any address that no lease holds.
    bool stranger_free =
        peer == NULL && d->allow_unknown_sources && !ky_peers_has_outer(peers, from);
    if (!from_owner && !stranger_free && !d->no_inner_source_check) {
        *reason = KY_DROP_RX_INNER_SOURCE;
        return NULL;
    }
    *reason = ky_peers_is_local(peers, in->dst) && !ky_inner_mapped(in) ? KY_DROP_NONE
                                                                        : KY_DROP_RX_NOT_LOCAL;
    return from_owner ? peer : NULL;
}

static void set_ecn(uint8_t *pkt, uint8_t version, uint8_t ecn) {
    if (version == 6) {
        pkt[1] = (uint8_t)((pkt[1] & ~(KY_ECN_MASK << 4)) | ecn << 4);
        return;
    }
    uint16_t before = ky_load16(pkt);
    pkt[1] = (uint8_t)((pkt[1] & ~KY_ECN_MASK) | ecn);
    ky_store16(pkt + 10, ky_checksum_replace(ky_load16(pkt + 10), before, ky_load16(pkt)));
}

static struct ky_arrival arrival_of(const struct ky_decap *d, const uint8_t *pkt,
                                    const struct ky_inner *in) {
    uint16_t offset = ky_l4_check_offset(in->proto);
    if (offset == 0 || in->fragment || in->l4 + ky_l4_min(in->proto) > in->len)
        return (struct ky_arrival){0};
    uint16_t pseudo = ky_pseudo(pkt, in, in->len - in->l4);
    return (struct ky_arrival){.pseudo = pseudo,
                               .partial = d->wire == KY_WIRE_VXLAN &&
                                          ky_load16(pkt + in->l4 + offset) == pseudo};
}

// See the head of decap.h. Only a partial checksum makes a superpacket: a packet that is merely
// larger than our MTU, from a peer with a larger one, has a complete checksum and stays as it is.
static struct ky_arrival classify(const struct ky_decap *d, const struct ky_datagram *dg,
                                  const uint8_t *pkt, const struct ky_inner *in) {
    struct ky_arrival how = arrival_of(d, pkt, in);
    if (!how.partial)
        return how;
    uint32_t hdr = in->l4 + ky_l4_header(pkt, in);
    if (in->proto == IPPROTO_UDP) {
        if (dg->gro != 0 && dg->gro < in->len - hdr)
            how.gso_size = dg->gro;
        return how;
    }
    if (in->len > d->mtu && hdr >= in->l4 + 20u && hdr < d->mtu && hdr < in->len)
        how.gso_size = (uint16_t)(d->mtu - hdr);
    return how;
}

// Counts a superpacket as its sender did and as another link would carry it: packets that each have
// headers of their own.
static void count_received(const struct ky_decap *d, const struct ky_peer *peer, const uint8_t *pkt,
                           const struct ky_inner *in, struct ky_arrival how) {
    uint64_t packets = 1, bytes = in->len;
    if (how.gso_size != 0) {
        uint32_t hdr = in->l4 + ky_l4_header(pkt, in);
        packets = (in->len - hdr + how.gso_size - 1) / how.gso_size;
        bytes += (packets - 1) * hdr;
    }
    ky_add(&d->counters->rx_packets, packets);
    ky_add(&d->counters->rx_bytes, bytes);
    ky_add(&d->counters->rx_partial, how.partial);
    ky_add(&d->counters->rx_superpackets, how.gso_size != 0);
    if (peer != NULL) {
        ky_add(&d->peer_counters[peer->slot].packets, packets);
        ky_add(&d->peer_counters[peer->slot].bytes, bytes);
    }
}

// Whether the outer UDP checksum is good. Where the inner packet has a checksum of its own, its payload
// need not be summed here: with a good inner checksum it sums to the complement of the inner
// pseudo-header (Local Checksum Offload, Documentation/networking/checksum-offloads.rst), and whoever
// takes the inner packet verifies that one. So it is also right where the inner checksum is still to
// be filled in.
static bool outer_checksum_good(const struct ky_datagram *dg, const uint8_t *pkt,
                                const struct ky_inner *in, struct ky_arrival how) {
    bool covered = how.pseudo != 0 && dg->len == KY_ENCAP_LEN + in->len &&
                   ky_load16(pkt + in->l4 + ky_l4_check_offset(in->proto)) != 0;
    uint64_t sum = dg->outer_sum + (covered ? (uint16_t)~how.pseudo : 0u);
    uint32_t len = covered ? KY_ENCAP_LEN + in->l4 : dg->len;
    return ky_fold(ky_sum(dg->buf, len, sum)) == 0xffff;
}

// Finds the inner packet of a frame. Returns KY_DROP_NONE and *in, or the reason to drop it.
static enum ky_drop open_frame(const struct ky_decap *d, const uint8_t *frame, uint32_t len,
                               struct ky_inner *in) {
    if (d->wire == KY_WIRE_RAWIP)
        return ky_rawip_check(frame, len, in);
    uint8_t version;
    enum ky_drop reason = ky_vxlan_check(frame, len, d->vni, d->mac, &version);
    if (reason != KY_DROP_NONE)
        return reason;
    bool good =
        ky_inner_parse(frame + KY_ENCAP_LEN, len - KY_ENCAP_LEN, in) == 0 && in->version == version;
    return good ? KY_DROP_NONE : KY_DROP_RX_INNER_MALFORMED;
}

static enum ky_drop decap_frame(const struct ky_decap *d, const struct ky_peers *peers,
                                const struct ky_datagram *dg, uint8_t *frame, uint32_t len,
                                bool whole, struct ky_gro *gro) {
    struct ky_inner in;
    enum ky_drop reason = open_frame(d, frame, len, &in);
    if (reason != KY_DROP_NONE)
        return reason;
    uint8_t *pkt = frame + ky_wire_header(d->wire);
    struct ky_arrival how = whole ? classify(d, dg, pkt, &in) : arrival_of(d, pkt, &in);
    if (dg->unverified && !outer_checksum_good(dg, pkt, &in, how))
        return KY_DROP_RX_CHECKSUM;
    const struct ky_peer *peer = admit(d, peers, dg->from, &in, &reason);
    if (reason != KY_DROP_NONE)
        return reason;
    int ecn = ky_ecn_decap(dg->tos, in.tos);
    if (ecn == KY_ECN_DROP)
        return KY_DROP_RX_ECN;
    if (ecn != (in.tos & KY_ECN_MASK)) {
        set_ecn(pkt, in.version, (uint8_t)ecn);
        in.tos = (uint8_t)((in.tos & ~KY_ECN_MASK) | ecn);
        ky_add(&d->counters->rx_ecn_marked, 1);
    }
    if (d->wire == KY_WIRE_RAWIP && ky_rawip_deliver(pkt) != KY_DROP_NONE)
        return KY_DROP_RX_TTL;
    count_received(d, peer, pkt, &in, how);
    ky_gro_add(gro, pkt, &in, how);
    return KY_DROP_NONE;
}

// Whether the first frame fills the datagram: then it is the only one.
static bool is_one_frame(const struct ky_datagram *dg) {
    struct ky_inner in;
    return dg->len > KY_ENCAP_LEN &&
           ky_inner_parse(dg->buf + KY_ENCAP_LEN, dg->len - KY_ENCAP_LEN, &in) == 0 &&
           KY_ENCAP_LEN + in.len == dg->len;
}

void ky_decap_datagram(const struct ky_decap *d, const struct ky_peers *peers,
                       const struct ky_datagram *dg, struct ky_gro *gro) {
    if (dg->truncated) {
        ky_drop(d->counters, KY_DROP_RX_TRUNCATED, 1);
        return;
    }
    bool whole =
        dg->gro == 0 || dg->gro >= dg->len || (d->wire == KY_WIRE_VXLAN && is_one_frame(dg));
    uint32_t size = whole ? dg->len : dg->gro;
    if (!d->allow_unknown_sources && !ky_peers_has_outer(peers, dg->from)) {
        ky_drop(d->counters, KY_DROP_RX_UNKNOWN_SOURCE,
                size == 0 ? 1 : (dg->len + size - 1) / size);
        return;
    }
    uint32_t at = 0;
    do { // an empty datagram is one frame too: a short one
        uint32_t len = dg->len - at < size ? dg->len - at : size;
        enum ky_drop reason = decap_frame(d, peers, dg, dg->buf + at, len, whole, gro);
        if (reason != KY_DROP_NONE)
            ky_drop(d->counters, reason, 1);
        at += len;
    } while (at < dg->len);
}
