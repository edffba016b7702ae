#include "model_reference.h"

#include "check.h"
#include "oracle.h"

enum { FRAME_HEADER = 22, DATAGRAM_MAX = 65507 };

// ---- lists ----

void model_list_init(struct model_list *list) {
    list->memory = malloc(MODEL_BYTES);
    REQUIRE(list->memory != NULL);
    model_list_clear(list);
}

void model_list_free(struct model_list *list) {
    free(list->memory);
}

void model_list_clear(struct model_list *list) {
    list->count = 0;
    list->used = 0;
}

struct model_item *model_list_add(struct model_list *list, const uint8_t *bytes, size_t len) {
    REQUIRE(list->count < MODEL_ITEMS && list->used + len <= MODEL_BYTES);
    struct model_item *item = &list->item[list->count++];
    *item = (struct model_item){.bytes = list->memory + list->used, .len = (uint32_t)len};
    memcpy(list->memory + list->used, bytes, len);
    list->used += len;
    return item;
}

// ---- addresses ----

static struct model_address address_of(unsigned version, const uint8_t *bytes) {
    struct model_address a = {.version = version};
    memcpy(a.bytes, bytes, version == 4 ? 4 : 16);
    return a;
}

bool model_contains(const struct model_prefix *p, const struct model_address *a) {
    if (p->base.version != a->version)
        return false;
    for (unsigned i = 0; i < p->length; i++)
        if (((p->base.bytes[i / 8] ^ a->bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
            return false;
    return true;
}

static bool same_address(const struct model_address *a, const struct model_address *b) {
    return a->version == b->version && memcmp(a->bytes, b->bytes, 16) == 0;
}

int model_find(const struct model_node *n, const struct model_address *a) {
    int best = -1;
    for (unsigned i = 0; i < n->peer_count; i++)
        if (model_contains(&n->peer[i], a) &&
            (best < 0 || n->peer[i].length > n->peer[best].length))
            best = (int)i;
    return best;
}

uint64_t model_flow(const uint8_t *packet, size_t len) {
    struct oracle_ip ip;
    uint8_t key[40] = {0};
    if (oracle_parse(packet, len, &ip)) {
        memcpy(key, ip.src, 16);
        memcpy(key + 16, ip.dst, 16);
        key[32] = (uint8_t)ip.version;
        key[33] = (uint8_t)ip.proto;
        bool ports = ip.proto == ORACLE_TCP || ip.proto == ORACLE_UDP || ip.proto == 132;
        if (ports && !ip.fragment && ip.l4 + 4 <= ip.len)
            memcpy(key + 34, packet + ip.l4, 4);
    }
    uint64_t h = 0xcbf29ce484222325ULL; // FNV-1a
    for (unsigned i = 0; i < sizeof key; i++)
        h = (h ^ key[i]) * 0x100000001b3ULL;
    return h;
}

// ---- sending ----

void model_frame(const struct model_world *w, unsigned from, unsigned to, uint8_t header[22],
                 unsigned version) {
    oracle_put32(header, 0x08000000);
    oracle_put32(header + 4, w->vni * 256);
    memcpy(header + 8, w->node[to].mac, 6);
    memcpy(header + 14, w->node[from].mac, 6);
    oracle_put16(header + 20, version == 4 ? 0x0800 : 0x86dd);
}

static bool offload_holds(const struct ky_vnet *v, const uint8_t *p, const struct oracle_ip *ip) {
    unsigned type = v->gso_type & ~KY_VNET_GSO_ECN;
    if (v->flags != KY_VNET_NEEDS_CSUM || v->gso_size == 0 || v->csum_start != ip->l4)
        return false;
    if (oracle_headers(p, ip) == 0)
        return false;
    if (ip->proto == ORACLE_UDP)
        return type == KY_VNET_GSO_UDP_L4;
    return type == (ip->version == 4 ? KY_VNET_GSO_TCPV4 : KY_VNET_GSO_TCPV6);
}

static bool too_big(const struct model_world *w, const uint8_t *p, size_t len) {
    if (len > DATAGRAM_MAX - FRAME_HEADER)
        return true;
    bool may_fragment = p[0] / 16 == 4 && (p[6] & 0x40) == 0;
    return len > w->mtu && !may_fragment;
}

struct sending {
    struct model_world *world;
    unsigned node;
    int peer;
    struct model_list *frames;
};

static void send_one(void *ctx, const uint8_t *packet, size_t len) {
    static const uint8_t outer_ecn[4] = {0, 1, 2, 2}; // CE goes out as ECT(0)
    struct sending *s = ctx;
    struct model_node *n = &s->world->node[s->node];
    static uint8_t frame[FRAME_HEADER + ORACLE_PACKET_MAX];
    struct oracle_ip ip;
    REQUIRE(oracle_parse(packet, len, &ip));
    model_frame(s->world, s->node, n->peer_node[s->peer], frame, ip.version);
    memcpy(frame + FRAME_HEADER, packet, len);
    struct model_item *item = model_list_add(s->frames, frame, FRAME_HEADER + len);
    item->to = n->peer_node[s->peer];
    item->tos = outer_ecn[ip.tos % 4];
    item->flow = model_flow(packet, len);
    n->counters[KY_COUNTER_INDEX_tx_packets]++;
    n->counters[KY_COUNTER_INDEX_tx_bytes] += len;
    n->peer_tx_packets[s->peer]++;
    n->peer_tx_bytes[s->peer] += len;
}

static enum ky_drop send_superpacket(struct sending *s, const struct ky_vnet *v, const uint8_t *p,
                                     const struct oracle_ip *ip) {
    struct model_node *n = &s->world->node[s->node];
    if (!offload_holds(v, p, ip))
        return KY_DROP_TX_BAD_OFFLOAD;
    size_t headers = oracle_headers(p, ip), first = headers + v->gso_size;
    if (too_big(s->world, p, first < ip->len ? first : ip->len))
        return KY_DROP_TX_TOO_BIG;
    REQUIRE(oracle_segment(p, ip->len, v->gso_size, send_one, s));
    n->counters[KY_COUNTER_INDEX_tx_superpackets]++;
    return KY_DROP_NONE;
}

static enum ky_drop send_packet(struct sending *s, const struct ky_vnet *v, const uint8_t *p,
                                const struct oracle_ip *ip) {
    static uint8_t copy[ORACLE_PACKET_MAX];
    if (too_big(s->world, p, ip->len))
        return KY_DROP_TX_TOO_BIG;
    memcpy(copy, p, ip->len);
    if (v->flags & KY_VNET_NEEDS_CSUM) {
        size_t field = (size_t)v->csum_start + v->csum_offset;
        if (v->csum_start < ip->l4 || field + 2 > ip->len)
            return KY_DROP_TX_BAD_OFFLOAD;
        unsigned sum = oracle_sum(copy + v->csum_start, ip->len - v->csum_start, 0);
        oracle_put16(copy + field, sum == 0xffff ? 0xffff : 0xffff - sum);
    }
    send_one(s, copy, ip->len);
    return KY_DROP_NONE;
}

void model_encap(struct model_world *w, unsigned node, const struct ky_vnet *v, const uint8_t *p,
                 size_t len, struct model_list *frames) {
    struct model_node *n = &w->node[node];
    struct oracle_ip ip;
    enum ky_drop reason;
    if (!oracle_parse(p, len, &ip)) {
        n->drops[KY_DROP_TX_NOT_IP]++;
        return;
    }
    struct model_address to = address_of(ip.version, ip.dst);
    struct sending s = {w, node, model_find(n, &to), frames};
    if (s.peer < 0)
        reason = to.bytes[0] >= (ip.version == 4 ? 224 : 255) ? KY_DROP_TX_MULTICAST
                                                              : KY_DROP_TX_NO_PEER;
    else
        reason = v->gso_type != 0 ? send_superpacket(&s, v, p, &ip) : send_packet(&s, v, p, &ip);
    if (reason != KY_DROP_NONE)
        n->drops[reason]++;
}

// ---- receiving ----

// Linux's vxlan_rcv; where a frame has several faults, the first here is the one that counts.
static enum ky_drop check_header(const struct model_world *w, const struct model_node *n,
                                 const uint8_t *f, size_t len) {
    if (len < FRAME_HEADER)
        return KY_DROP_RX_SHORT;
    if (oracle_get32(f) != 0x08000000 || f[7] != 0)
        return KY_DROP_RX_FLAGS;
    if (oracle_get32(f + 4) / 256 != w->vni)
        return KY_DROP_RX_WRONG_VNI;
    if (memcmp(f + 14, n->mac, 6) == 0)
        return KY_DROP_RX_INNER_LOOP;
    if (memcmp(f + 8, n->mac, 6) != 0)
        return KY_DROP_RX_INNER_MAC;
    unsigned type = oracle_get16(f + 20);
    return type == 0x0800 || type == 0x86dd ? KY_DROP_NONE : KY_DROP_RX_INNER_TYPE;
}

static bool is_martian(const struct model_address *a) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t zero[15] = {0};
    if (a->version == 4)
        return a->bytes[0] == 0 || a->bytes[0] == 127 || a->bytes[0] >= 224;
    return a->bytes[0] == 0xff || (memcmp(a->bytes, zero, 15) == 0 && a->bytes[15] <= 1) ||
           memcmp(a->bytes, mapped, 12) == 0;
}

static bool is_peer(const struct model_world *w, const struct model_node *n,
                    const struct model_address *outer) {
    for (unsigned i = 0; i < n->peer_count; i++)
        if (same_address(&w->node[n->peer_node[i]].outer, outer))
            return true;
    return false;
}

// The peer by whom the packet is counted is *owner, -1 when there is none.
static enum ky_drop admit(const struct model_world *w, const struct model_node *n,
                          const struct model_address *from, const struct oracle_ip *ip,
                          int *owner) {
    struct model_address src = address_of(ip->version, ip->src);
    struct model_address dst = address_of(ip->version, ip->dst);
    if (is_martian(&src))
        return KY_DROP_RX_MARTIAN;
    int holder = model_find(n, &src);
    bool theirs = holder >= 0 && same_address(&w->node[n->peer_node[holder]].outer, from);
    bool free_stranger = holder < 0 && w->allow_unknown_sources && !is_peer(w, n, from);
    if (!theirs && !free_stranger && !w->no_inner_source_check)
        return KY_DROP_RX_INNER_SOURCE;
    *owner = theirs ? holder : -1;
    for (unsigned i = 0; i < n->own_count; i++)
        if (model_contains(&n->own[i], &dst))
            return KY_DROP_NONE;
    return KY_DROP_RX_NOT_LOCAL;
}

// Changes the ECN field where the table of RFC 6040 as Linux has it says so. False: to be dropped.
static bool merge_ecn(unsigned outer, uint8_t *p, const struct oracle_ip *ip, bool *marked) {
    unsigned before = ip->tos % 4, after = before;
    outer %= 4;
    if (outer == 3 && before == 0)
        return false;
    if (outer == 3)
        after = 3;
    else if (outer == 1 && before == 2)
        after = 1;
    *marked = after != before;
    if (!*marked)
        return true;
    if (ip->version == 6) {
        p[1] = (uint8_t)((p[1] & 0xcf) | after << 4);
        return true;
    }
    unsigned sum = oracle_get16(p + 10); // a wrong sum stays as wrong as it was
    bool ok = oracle_ip_sum_ok(p);
    p[1] = (uint8_t)(p[1] - before + after);
    if (ok) {
        oracle_put16(p + 10, 0);
        sum = 0xffffu - oracle_sum(p, ip->l4, 0);
    } else if (after > before) { // ones' complement: sum - (after - before)
        unsigned added = after - before;
        sum = sum >= added ? sum - added : sum + 0xffff - added;
    } else {
        sum += before - after;
        if (sum >= 0xffff)
            sum -= 0xffff;
    }
    oracle_put16(p + 10, sum);
    return true;
}

static uint16_t segment_size(const struct model_world *w, const struct model_datagram *d,
                             const uint8_t *p, const struct oracle_ip *ip) {
    size_t headers = oracle_headers(p, ip);
    if (ip->proto == ORACLE_UDP) {
        size_t payload = ip->len - ip->l4 - 8;
        return d->gro != 0 && d->gro < payload ? (uint16_t)d->gro : 0;
    }
    bool super = headers != 0 && ip->len > w->mtu && headers < w->mtu && headers < ip->len;
    return super ? (uint16_t)(w->mtu - headers) : 0;
}

static enum ky_drop receive_frame(struct model_world *w, struct model_node *n,
                                  const struct model_datagram *d, const uint8_t *f, size_t len,
                                  bool whole, struct model_list *arrivals) {
    static uint8_t p[ORACLE_PACKET_MAX];
    struct oracle_ip ip;
    int owner;
    bool marked;
    enum ky_drop reason = check_header(w, n, f, len);
    if (reason != KY_DROP_NONE)
        return reason;
    if (!oracle_parse(f + FRAME_HEADER, len - FRAME_HEADER, &ip) ||
        ip.version != (oracle_get16(f + 20) == 0x0800 ? 4 : 6))
        return KY_DROP_RX_INNER_MALFORMED;
    if ((reason = admit(w, n, &d->from, &ip, &owner)) != KY_DROP_NONE)
        return reason;
    memcpy(p, f + FRAME_HEADER, ip.len);
    if (!merge_ecn(d->tos, p, &ip, &marked))
        return KY_DROP_RX_ECN;
    struct model_item *item = model_list_add(arrivals, p, ip.len);
    item->to = (uint32_t)(n - w->node);
    item->partial = oracle_is_partial(p, &ip);
    item->gso_size = whole && item->partial ? segment_size(w, d, p, &ip) : 0;
    size_t headers = oracle_headers(p, &ip), packets = 1;
    if (item->gso_size != 0)
        packets = (ip.len - headers + item->gso_size - 1) / item->gso_size;
    size_t all = ip.len + (packets - 1) * headers;
    n->counters[KY_COUNTER_INDEX_rx_packets] += packets;
    n->counters[KY_COUNTER_INDEX_rx_bytes] += all;
    n->counters[KY_COUNTER_INDEX_rx_partial] += item->partial;
    n->counters[KY_COUNTER_INDEX_rx_superpackets] += item->gso_size != 0;
    n->counters[KY_COUNTER_INDEX_rx_ecn_marked] += marked;
    if (owner >= 0) {
        n->peer_rx_packets[owner] += packets;
        n->peer_rx_bytes[owner] += all;
    }
    return KY_DROP_NONE;
}

void model_decap(struct model_world *w, unsigned node, const struct model_datagram *d,
                 struct model_list *arrivals) {
    struct model_node *n = &w->node[node];
    struct oracle_ip ip;
    if (d->truncated) {
        n->drops[KY_DROP_RX_TRUNCATED]++;
        return;
    }
    bool fills = d->len > FRAME_HEADER &&
                 oracle_parse(d->bytes + FRAME_HEADER, d->len - FRAME_HEADER, &ip) &&
                 ip.len == d->len - FRAME_HEADER;
    bool whole = fills || d->gro == 0 || d->gro >= d->len;
    size_t at = 0, size = whole ? d->len : d->gro;
    do {
        size_t len = d->len - at < size ? d->len - at : size;
        enum ky_drop reason = !w->allow_unknown_sources && !is_peer(w, n, &d->from)
                                  ? KY_DROP_RX_UNKNOWN_SOURCE
                                  : receive_frame(w, n, d, d->bytes + at, len, whole, arrivals);
        if (reason != KY_DROP_NONE)
            n->drops[reason]++;
        at += len;
    } while (at < d->len);
}
