#include "model_traffic.h"

#include "check.h"

enum { FRAGMENT = 44 };

static uint8_t payload[2 * ORACLE_PACKET_MAX];

// ---- the world ----

struct model_address traffic_address_in(struct random *r, const struct model_prefix *p) {
    struct model_address a = {.version = p->base.version};
    random_fill(r, a.bytes, a.version == 4 ? 4 : 16);
    for (unsigned i = 0; i < p->length; i++) {
        uint8_t bit = (uint8_t)(0x80 >> i % 8);
        a.bytes[i / 8] = (uint8_t)((a.bytes[i / 8] & ~bit) | (p->base.bytes[i / 8] & bit));
    }
    return a;
}

// From a small space, so that prefixes nest: 10.[0-3].[0-3].0, fd0[0-3]::[0-3].
static struct model_prefix some_prefix(struct random *r, bool usual) {
    struct model_prefix p = {.base.version = random_one_in(r, 2) ? 4 : 6};
    uint8_t *b = p.base.bytes;
    bool v4 = p.base.version == 4;
    b[0] = v4 ? 10 : 0xfd;
    b[1] = (uint8_t)random_below(r, 4);
    b[2] = (uint8_t)random_below(r, 4);
    if (usual)
        p.length = v4 ? 24 : 64;
    else
        p.length = v4 ? random_range(r, 8, 32) : random_range(r, 16, 128);
    return p;
}

static bool same_prefix(const struct model_prefix *a, const struct model_prefix *b) {
    return a->length == b->length && model_contains(a, &b->base);
}

static bool is_taken(const struct model_world *w, const struct model_prefix *p) {
    for (unsigned n = 0; n < w->nodes; n++)
        for (unsigned i = 0; i < w->node[n].own_count; i++)
            if (same_prefix(&w->node[n].own[i], p))
                return true;
    return false;
}

static void some_node(struct random *r, struct model_world *w, unsigned n, bool v6, bool usual) {
    struct model_node *node = &w->node[n];
    node->outer.version = v6 ? 6 : 4;
    node->outer.bytes[0] = v6 ? 0x20 : 192;
    node->outer.bytes[v6 ? 15 : 3] = (uint8_t)(n + 1);
    random_fill(r, node->mac, 6);
    node->mac[0] = (uint8_t)(2 + 4 * n);
    unsigned count = random_range(r, 1, MODEL_PREFIXES);
    while (node->own_count < count) {
        struct model_prefix p = some_prefix(r, usual);
        if (!is_taken(w, &p))
            node->own[node->own_count++] = p;
    }
}

void traffic_world(struct random *r, struct model_world *w) {
    static const uint32_t mtus[] = {600, 1280, 1430, 1450, 8951, 65485, 65535};
    memset(w, 0, sizeof *w);
    random_fill(r, payload, sizeof payload);
    bool v6 = random_one_in(r, 2), usual = random_one_in(r, 2);
    w->vni = (uint32_t)random_next(r) & 0xffffff;
    w->mtu = random_one_in(r, 4) ? mtus[random_below(r, 7)] : 1450;
    w->allow_unknown_sources = random_one_in(r, 4);
    w->no_inner_source_check = random_one_in(r, 4);
    unsigned nodes = random_range(r, 2, MODEL_NODES);
    for (unsigned n = 0; n < nodes; n++) {
        w->nodes = n + 1;
        some_node(r, w, n, v6, usual);
    }
    for (unsigned n = 0; n < nodes; n++)
        for (unsigned m = 0; m < nodes; m++)
            for (unsigned i = 0; m != n && i < w->node[m].own_count; i++) {
                struct model_node *node = &w->node[n];
                node->peer_node[node->peer_count] = m;
                node->peer[node->peer_count++] = w->node[m].own[i];
            }
}

// ---- flows ----

static struct model_address odd_address(struct random *r, unsigned version) {
    static const char odd4[][4] = {{0, 0, 0, 0},     {127, 0, 0, 1},        {(char)224, 0, 0, 5},
                                   {-1, -1, -1, -1}, {(char)172, 16, 0, 1}, {11, 0, 0, 1}};
    static const uint8_t odd6[][16] = {{0},
                                       {[15] = 1},
                                       {0xff, 2, [15] = 1},
                                       {[10] = 0xff, 0xff, 10, 1, 1, 1},
                                       {0x20, 1, 0x0d, 0xb8},
                                       {0xfe, 0x80, [15] = 1}};
    struct model_address a = {.version = version};
    if (version == 4)
        memcpy(a.bytes, odd4[random_below(r, 6)], 4);
    else
        memcpy(a.bytes, odd6[random_below(r, 6)], 16);
    return a;
}

static struct model_address own_address(struct random *r, const struct model_node *n,
                                        unsigned version) {
    for (unsigned i = 0, at = random_below(r, n->own_count); i < n->own_count; i++) {
        const struct model_prefix *p = &n->own[(at + i) % n->own_count];
        if (p->base.version == version)
            return traffic_address_in(r, p);
    }
    return odd_address(r, version);
}

void traffic_flow(struct random *r, const struct model_world *w, struct traffic_flow *f) {
    static const uint8_t protos[] = {ORACLE_TCP, ORACLE_TCP, ORACLE_TCP,
                                     ORACLE_UDP, ORACLE_UDP, 132};
    f->node = random_below(r, w->nodes);
    f->kernel = random_one_in(r, 3);
    unsigned to = random_below(r, w->nodes);
    const struct model_prefix *p = &w->node[to].own[random_below(r, w->node[to].own_count)];
    unsigned version = p->base.version;
    struct model_address dst =
        random_one_in(r, 12) ? odd_address(r, version) : traffic_address_in(r, p);
    struct model_address src =
        random_one_in(r, 12)
            ? odd_address(r, version)
            : own_address(r, &w->node[random_one_in(r, 15) ? to : f->node], version);
    f->spec = oracle_plain(version, protos[random_below(r, sizeof protos)], 0);
    if (random_one_in(r, 12))
        f->spec.proto = version == 4 ? ORACLE_ICMP : ORACLE_ICMP6;
    memcpy(f->spec.src, src.bytes, 16);
    memcpy(f->spec.dst, dst.bytes, 16);
    f->spec.sport = (uint16_t)random_next(r);
    f->spec.dport = (uint16_t)random_next(r);
    f->spec.seq = (uint32_t)random_next(r);
    f->spec.id = (uint16_t)random_next(r);
    f->spec.ttl = (uint8_t)random_range(r, 1, 255);
    f->spec.df = !random_one_in(r, 3);
    f->spec.flow_label = random_below(r, 1 << 20);
    f->spec.tcp_options = random_one_in(r, 2) ? 12 : 0;
    f->spec.tcp_option_value = 1;
    size_t headers = version == 4 ? 20 : 40;
    headers += f->spec.proto == ORACLE_TCP ? 20u + f->spec.tcp_options : 8;
    size_t full = (w->mtu < 3000 ? w->mtu : 3000) - headers;
    f->each = random_one_in(r, 3) ? random_range(r, 1, (uint32_t)full) : full;
}

// ---- packets ----

static void garbage(struct random *r, struct traffic_packet *p, uint8_t *bytes) {
    p->len = random_below(r, 100);
    random_fill(r, bytes, p->len);
    if (random_one_in(r, 2))
        bytes[0] = random_one_in(r, 2) ? 0x45 : 0x60;
}

static void disturb(struct random *r, struct oracle_spec *s) {
    switch (random_below(r, 10)) {
    case 0:
        s->check = ORACLE_BAD;
        break;
    case 1:
        s->bad_ip_sum = true;
        break;
    case 2:
        s->check = s->proto == ORACLE_UDP ? ORACLE_NONE : s->check;
        break;
    case 3:
        s->tos = (uint8_t)random_next(r);
        break;
    case 4:
        s->flags = (uint8_t)random_next(r);
        break;
    case 5:
        s->ip_options = 8;
        s->extensions[0] = 60;
        s->extension_count = 1;
        break;
    case 6: // fragments: payload in units of 8 bytes
        s->df = false;
        s->extensions[0] = FRAGMENT;
        s->extension_count = 1;
        s->mf = random_one_in(r, 2);
        s->offset = s->mf && random_one_in(r, 2) ? 0 : (uint16_t)random_range(r, 1, 100);
        break;
    case 7:
        s->ack++;
        break;
    case 8:
        s->ttl--;
        break;
    default:
        s->seq += random_below(r, 3);
    }
}

static bool is_plain(const struct oracle_spec *s) {
    return !s->mf && s->offset == 0 && (s->proto == ORACLE_TCP || s->proto == ORACLE_UDP);
}

static void offload(struct random *r, const struct traffic_flow *f, const struct oracle_spec *s,
                    size_t l4, struct traffic_packet *p) {
    bool tcp = s->proto == ORACLE_TCP;
    p->vnet = (struct ky_vnet){
        .flags = KY_VNET_NEEDS_CSUM, .csum_start = (uint16_t)l4, .csum_offset = tcp ? 16 : 6};
    if (s->payload_len > f->each) {
        p->vnet.gso_type = !tcp              ? KY_VNET_GSO_UDP_L4
                           : s->version == 4 ? KY_VNET_GSO_TCPV4
                                             : KY_VNET_GSO_TCPV6;
        p->vnet.gso_size = (uint16_t)f->each;
        p->vnet.hdr_len = (uint16_t)random_next(r);
        if (tcp && (s->flags & ORACLE_CWR))
            p->vnet.gso_type |= KY_VNET_GSO_ECN;
    }
    if (!random_one_in(r, 60))
        return;
    switch (random_below(r, 5)) { // a header that contradicts its packet
    case 0:
        p->vnet.csum_start = (uint16_t)(p->vnet.csum_start + (p->vnet.gso_type != 0 ? 1 : 60000));
        break;
    case 1:
        p->vnet.gso_type = p->vnet.gso_type ? (uint8_t)(p->vnet.gso_type ^ 5) : 0;
        break;
    case 2:
        p->vnet.flags = p->vnet.gso_type ? 0 : p->vnet.flags;
        break;
    case 3:
        p->vnet.gso_size = 0;
        break;
    default:
        p->vnet.gso_type = p->vnet.gso_type ? 3 : 0;
    }
}

static size_t payload_len(struct random *r, const struct traffic_flow *f, size_t room) {
    size_t n = f->each;
    if (random_one_in(r, 4)) {
        n = n * random_range(r, 1, random_one_in(r, 8) ? 60 : 8);
        if (random_one_in(r, 2))
            n += random_below(r, (uint32_t)f->each);
    } else if (random_one_in(r, 6)) {
        n = random_below(r, (uint32_t)f->each + 1);
    } else if (random_one_in(r, 50)) {
        n = random_below(r, 3000); // now and then too big
    }
    return n < room ? n : room;
}

void traffic_next(struct random *r, const struct model_world *w, struct traffic_flow *f,
                  struct traffic_packet *p) {
    static uint8_t bytes[ORACLE_PACKET_MAX + 200];
    (void)w;
    p->bytes = bytes;
    p->vnet = (struct ky_vnet){0};
    if (random_one_in(r, 100)) {
        garbage(r, p, bytes);
        return;
    }
    struct oracle_spec s = f->spec;
    s.payload = payload + random_below(r, ORACLE_PACKET_MAX);
    if (random_one_in(r, 6))
        s.flags |= ORACLE_PSH;
    if (random_one_in(r, 6))
        s.tos = (uint8_t)random_below(r, 4);
    if (random_one_in(r, 5))
        disturb(r, &s);
    s.payload_len = payload_len(r, f, 65000);
    bool partial = is_plain(&s) && s.check == ORACLE_COMPLETE &&
                   (s.payload_len > f->each || random_one_in(r, 3));
    if (!partial && s.payload_len > f->each)
        s.payload_len = f->each;
    if (s.mf || s.offset != 0)
        s.payload_len = s.payload_len / 8 * 8;
    if (partial)
        s.check = ORACLE_PARTIAL;
    p->len = oracle_build(bytes, &s);
    struct oracle_ip ip;
    if (partial && oracle_parse(bytes, p->len, &ip))
        offload(r, f, &s, ip.l4, p);
    f->spec.seq += (uint32_t)s.payload_len;
    f->spec.id = (uint16_t)(f->spec.id + 1 + s.payload_len / (f->each + 1));
    if (random_one_in(r, 60)) { // padding
        random_fill(r, bytes + p->len, 100);
        p->len += random_below(r, 100);
    } else if (p->vnet.gso_type == 0 && random_one_in(r, 60)) { // a dishonest length
        oracle_put16(bytes + (s.version == 4 ? 2 : 4), random_below(r, (uint32_t)p->len + 20));
    }
}
