#include "gro.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

enum { TCP_ACK = 0x10, TCP_PSH = 0x08 };

static bool ip_header_valid(const uint8_t *p, uint8_t version) {
    return version == 6 || ky_fold(ky_sum(p, 20, 0)) == 0xffff;
}

static bool l4_valid(const uint8_t *pkt, uint32_t len, uint16_t l4, uint16_t pseudo) {
    return ky_fold(ky_sum(pkt + l4, len - l4, pseudo)) == 0xffff;
}

// Bytes of IP and L4 header when the packet is of a kind that may be coalesced, else 0.
static uint16_t mergeable(const struct ky_gro *g, const uint8_t *pkt, const struct ky_inner *in) {
    if (in->fragment || in->extended)
        return 0;
    const uint8_t *l4 = pkt + in->l4;
    uint32_t l4_len = in->len - in->l4;
    if (in->proto == IPPROTO_TCP && g->tcp && l4_len > 20) {
        uint32_t hdr = (l4[12] >> 4) * 4u;
        bool plain = (l4[13] & ~TCP_PSH) == TCP_ACK && (l4[12] & 0x0f) == 0;
        return plain && hdr >= 20 && hdr < l4_len ? (uint16_t)(in->l4 + hdr) : 0;
    }
    if (in->proto == IPPROTO_UDP && g->udp && l4_len > 8)
        return ky_be16(l4 + 4) == l4_len && ky_load16(l4 + 6) != 0 ? (uint16_t)(in->l4 + 8) : 0;
    return 0;
}

// Whether the IP headers differ only in length, checksum and consecutive ID.
static bool same_ip(const struct ky_gro_entry *e, const uint8_t *pkt) {
    const uint8_t *a = e->pkt;
    if (e->version == 6) // traffic class and flow label; next header and hop limit; addresses
        return memcmp(a, pkt, 4) == 0 && memcmp(a + 6, pkt + 6, 34) == 0;
    bool df = (a[6] & 0x40) != 0;
    return memcmp(a, pkt, 2) == 0 && memcmp(a + 6, pkt + 6, 4) == 0 &&
           memcmp(a + 12, pkt + 12, 8) == 0 &&
           (df || (uint16_t)(ky_be16(a + 4) + e->segs) == ky_be16(pkt + 4));
}

static bool same_l4(const struct ky_gro_entry *e, const uint8_t *pkt) {
    const uint8_t *a = e->pkt + e->l4, *b = pkt + e->l4;
    if (memcmp(a, b, 4) != 0)
        return false;
    if (e->proto == IPPROTO_UDP)
        return true;
    return ky_be32(b + 4) == e->next_seq && memcmp(a + 8, b + 8, 5) == 0 && // ACK, data offset
           memcmp(a + 14, b + 14, 2) == 0 &&                                // window
           memcmp(a + 20, b + 20, (size_t)(e->hdr - e->l4 - 20)) == 0;      // options
}

// Whether the packet may be appended to e, as far as headers say.
static bool continues(const struct ky_gro_entry *e, const uint8_t *pkt, const struct ky_inner *in,
                      uint16_t hdr) {
    return hdr == e->hdr && in->version == e->version && in->proto == e->proto &&
           in->len - hdr <= e->mss && e->len + (in->len - hdr) <= UINT16_MAX &&
           e->segs < KY_GRO_SEGS && same_ip(e, pkt) && same_l4(e, pkt);
}

static bool entry_verified(struct ky_gro_entry *e) {
    if (!e->verified) // then it is still one packet
        e->verified = ip_header_valid(e->pkt, e->version) &&
                      (e->partial || l4_valid(e->pkt, e->len, e->l4, e->pseudo));
    return e->verified;
}

static void append(struct ky_gro_entry *e, const uint8_t *pkt, const struct ky_inner *in) {
    uint32_t payload = in->len - e->hdr;
    e->iov[2 + e->segs] = (struct iovec){(void *)(pkt + e->hdr), payload};
    e->segs++;
    e->len += payload;
    e->next_seq += payload;
    bool psh = e->proto == IPPROTO_TCP && (pkt[e->l4 + 13] & TCP_PSH) != 0;
    if (psh)
        e->hdr_copy[e->l4 + 13] |= TCP_PSH;
    if (psh || payload < e->mss)
        e->mss = 0; // complete: no payload is <= 0 bytes long
}

static void begin(struct ky_gro *g, const uint8_t *pkt, const struct ky_inner *in, uint16_t hdr,
                  struct ky_arrival how, uint8_t *bucket) {
    struct ky_gro_entry *e = &g->entry[g->count++];
    *bucket = (uint8_t)g->count;
    e->vnet = (struct ky_vnet){0};
    e->pkt = pkt;
    e->len = in->len;
    e->hdr = hdr;
    e->segs = 1;
    e->l4 = in->l4;
    e->pseudo = how.pseudo;
    e->version = in->version;
    e->proto = in->proto;
    e->partial = how.partial;
    e->verified = false;
    if (how.partial)
        e->vnet = (struct ky_vnet){.flags = KY_VNET_NEEDS_CSUM,
                                   .csum_start = in->l4,
                                   .csum_offset = ky_l4_check_offset(in->proto)};
    if (how.gso_size != 0) {
        e->hdr = 0;
        e->vnet.gso_size = how.gso_size;
        e->vnet.gso_type = in->proto == IPPROTO_UDP ? KY_VNET_GSO_UDP_L4
                           : in->version == 4       ? KY_VNET_GSO_TCPV4
                                                    : KY_VNET_GSO_TCPV6;
        e->vnet.hdr_len = (uint16_t)(in->l4 + ky_l4_header(pkt, in));
    }
    if (e->hdr == 0)
        return;
    e->mss = (uint16_t)(in->len - hdr);
    bool tcp = in->proto == IPPROTO_TCP;
    if (tcp && (pkt[in->l4 + 13] & TCP_PSH) != 0)
        e->hdr = 0;
    e->next_seq = tcp ? ky_be32(pkt + in->l4 + 4) + e->mss : 0;
    e->iov[2] = (struct iovec){(void *)(pkt + hdr), e->mss};
    memcpy(e->hdr_copy, pkt, hdr);
}

void ky_gro_add(struct ky_gro *g, const uint8_t *pkt, const struct ky_inner *in,
                struct ky_arrival how) {
    if (g->count == KY_GRO_ENTRIES)
        ky_gro_flush(g);
    uint16_t hdr = how.gso_size == 0 ? mergeable(g, pkt, in) : 0;
    uint8_t *bucket = &g->bucket[ky_inner_flow(pkt, in) % KY_GRO_BUCKETS];
    if (hdr != 0 && *bucket != 0) {
        struct ky_gro_entry *e = &g->entry[*bucket - 1];
        if (e->hdr != 0 && continues(e, pkt, in, hdr) && e->partial == how.partial &&
            entry_verified(e) && ip_header_valid(pkt, in->version) &&
            (how.partial || l4_valid(pkt, in->len, in->l4, how.pseudo))) {
            append(e, pkt, in);
            ky_add(&g->counters->rx_coalesced, 1);
            return;
        }
    }
    begin(g, pkt, in, hdr, how, bucket);
}

static void complete_headers(struct ky_gro_entry *e) {
    uint8_t *h = e->hdr_copy, *l4 = h + e->l4;
    uint16_t l4_len = (uint16_t)(e->len - e->l4);
    bool tcp = e->proto == IPPROTO_TCP;
    if (e->version == 4) {
        ky_put_be16(h + 2, (uint16_t)e->len);
        ky_store16(h + 10, 0);
        ky_store16(h + 10, (uint16_t)~ky_fold(ky_sum(h, 20, 0)));
    } else {
        ky_put_be16(h + 4, (uint16_t)(e->len - 40));
    }
    if (!tcp)
        ky_put_be16(l4 + 4, l4_len);
    struct ky_inner in = {.version = e->version, .proto = e->proto};
    ky_store16(l4 + (tcp ? 16 : 6), ky_pseudo(h, &in, l4_len));
    e->vnet = (struct ky_vnet){.flags = KY_VNET_NEEDS_CSUM,
                               .gso_type = !tcp              ? KY_VNET_GSO_UDP_L4
                                           : e->version == 4 ? KY_VNET_GSO_TCPV4
                                                             : KY_VNET_GSO_TCPV6,
                               .hdr_len = e->hdr,
                               .gso_size = (uint16_t)e->iov[2].iov_len,
                               .csum_start = e->l4,
                               .csum_offset = tcp ? 16 : 6};
}

static void count_failed(struct ky_gro *g, int err, uint64_t packets) {
    // tun_get_user returns -EIO when the device is not up.
    ky_drop(g->counters, err == -EIO ? KY_DROP_RX_TUN_DOWN : KY_DROP_RX_TUN_ERROR, packets);
}

static uint64_t packets_in(const struct ky_vnet *vnet, size_t len) {
    return vnet->gso_size == 0 ? 1 : (len - vnet->hdr_len + vnet->gso_size - 1) / vnet->gso_size;
}

static void write_single(struct ky_gro *g, struct ky_vnet *vnet, const uint8_t *pkt, size_t len) {
    struct iovec iov[2] = {{vnet, sizeof *vnet}, {(void *)pkt, len}};
    int err = g->write(g->ctx, iov, 2);
    if (err == 0)
        ky_add(&g->counters->rx_writes, 1);
    else
        count_failed(g, err, packets_in(vnet, len));
}

// Kernels have refused superpackets they should take (6.6.44, a short tail; tailscale#13041). The
// packets it was made of still lie in the receive buffers, each right before its payload.
static void write_apart(struct ky_gro *g, struct ky_gro_entry *e) {
    ky_add(&g->counters->rx_write_fallbacks, 1);
    for (unsigned i = 0; i < e->segs; i++) {
        struct ky_vnet vnet = {0};
        if (e->partial)
            vnet = (struct ky_vnet){.flags = KY_VNET_NEEDS_CSUM,
                                    .csum_start = e->l4,
                                    .csum_offset = ky_l4_check_offset(e->proto)};
        const struct iovec *payload = &e->iov[2 + i];
        write_single(g, &vnet, (const uint8_t *)payload->iov_base - e->hdr,
                     payload->iov_len + e->hdr);
    }
}

static void write_entry(struct ky_gro *g, struct ky_gro_entry *e) {
    if (e->segs == 1) {
        write_single(g, &e->vnet, e->pkt, e->len);
        return;
    }
    complete_headers(e);
    e->iov[0] = (struct iovec){&e->vnet, sizeof e->vnet};
    e->iov[1] = (struct iovec){e->hdr_copy, e->hdr};
    int err = g->write(g->ctx, e->iov, 2 + e->segs);
    if (err == 0)
        ky_add(&g->counters->rx_writes, 1);
    else if (err == -EINVAL)
        write_apart(g, e);
    else
        count_failed(g, err, e->segs);
}

void ky_gro_flush(struct ky_gro *g) {
    for (unsigned i = 0; i < g->count; i++)
        write_entry(g, &g->entry[i]);
    if (g->count > 0)
        memset(g->bucket, 0, sizeof g->bucket);
    g->count = 0;
}
