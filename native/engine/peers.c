#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct ky_ip key;
    uint32_t bits; // prefix length
    uint32_t peer; // index + 1; 0 is a free entry
};

struct ky_peers {
    struct ky_peer *peer;
    size_t count;
    struct ky_prefix *local;
    size_t local_count;
    struct entry *by_prefix;
    struct entry *by_outer;
    uint32_t mask;        // both tables have mask + 1 entries, at least twice the peers
    uint8_t bits[2][129]; // distinct lengths, longest first: [0] IPv6, [1] IPv4
    unsigned bits_count[2];
};

static uint32_t start_of(const struct ky_peers *t, struct ky_ip key, uint32_t bits) {
    return (uint32_t)ky_ip_hash(key, bits) & t->mask;
}

// The entry that holds (key, bits), or the free one where it belongs.
static struct entry *probe(const struct ky_peers *t, struct entry *table, struct ky_ip key,
                           uint32_t bits) {
    for (uint32_t at = start_of(t, key, bits);; at = (at + 1) & t->mask) {
        struct entry *e = &table[at];
        if (e->peer == 0 || (e->bits == bits && ky_ip_equal(e->key, key)))
            return e;
    }
}

static void add_length(struct ky_peers *t, bool v4, uint8_t bits) {
    uint8_t *list = t->bits[v4];
    unsigned *n = &t->bits_count[v4];
    unsigned at = 0;
    while (at < *n && list[at] > bits)
        at++;
    if (at < *n && list[at] == bits)
        return;
    memmove(list + at + 1, list + at, *n - at);
    list[at] = bits;
    ++*n;
}

static void set_sockaddr(struct ky_peer *p, uint16_t port) {
    if (ky_ip_is4(p->outer)) {
        p->to.in = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(ky_ip_v4(p->outer))};
        p->to_len = sizeof p->to.in;
    } else {
        p->to.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&p->to.in6.sin6_addr, p->outer.w, 16);
        p->to_len = sizeof p->to.in6;
    }
}

static bool is_length(struct ky_ip prefix, uint8_t bits) {
    return bits <= 128 && (!ky_ip_is4(prefix) || bits >= KY_V4_BITS);
}

static int add_peer(struct ky_peers *t, const struct ky_peers_spec *spec, size_t i) {
    const struct ky_peer_spec *s = &spec->peers[i];
    bool v4 = ky_ip_is4(s->prefix);
    if (!is_length(s->prefix, s->bits))
        return -EINVAL;
    struct ky_peer *p = &t->peer[i];
    *p = (struct ky_peer){.bits = s->bits,
                          .slot = spec->slots[i],
                          .prefix = ky_ip_mask(s->prefix, s->bits),
                          .outer = s->outer};
    ky_vxlan_template(p->encap, spec->vni, s->mac, spec->mac);
    set_sockaddr(p, spec->port);
    struct entry *e = probe(t, t->by_prefix, p->prefix, p->bits);
    if (e->peer != 0)
        return -EEXIST;
    *e = (struct entry){.key = p->prefix, .bits = p->bits, .peer = (uint32_t)i + 1};
    e = probe(t, t->by_outer, p->outer, 128);
    *e = (struct entry){.key = p->outer, .bits = 128, .peer = (uint32_t)i + 1};
    add_length(t, v4, p->bits);
    return 0;
}

int ky_peers_build(const struct ky_peers_spec *spec, struct ky_peers **out, size_t *duplicate) {
    struct ky_peers *t = calloc(1, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    uint32_t size = 4;
    while (size < 2 * spec->count)
        size *= 2;
    t->mask = size - 1;
    t->count = spec->count;
    t->local_count = spec->local_count;
    t->peer = calloc(spec->count + 1, sizeof *t->peer);
    t->local = calloc(spec->local_count + 1, sizeof *t->local);
    t->by_prefix = calloc(size, sizeof *t->by_prefix);
    t->by_outer = calloc(size, sizeof *t->by_outer);
    int err = t->peer && t->local && t->by_prefix && t->by_outer ? 0 : -ENOMEM;
    for (size_t i = 0; i < spec->local_count && err == 0; i++) {
        if (!is_length(spec->locals[i].ip, spec->locals[i].bits))
            err = -EINVAL;
        t->local[i].bits = spec->locals[i].bits;
        t->local[i].ip = ky_ip_mask(spec->locals[i].ip, spec->locals[i].bits);
    }
    for (size_t i = 0; i < spec->count && err == 0; i++) {
        err = add_peer(t, spec, i);
        if (err == -EEXIST)
            *duplicate = i;
    }
    if (err != 0) {
        ky_peers_free(t);
        return err;
    }
    *out = t;
    return 0;
}

void ky_peers_free(struct ky_peers *t) {
    if (t == NULL)
        return;
    free(t->peer);
    free(t->local);
    free(t->by_prefix);
    free(t->by_outer);
    free(t);
}

const struct ky_peer *ky_peers_find(const struct ky_peers *t, struct ky_ip ip) {
    bool v4 = ky_ip_is4(ip);
    for (unsigned i = 0; i < t->bits_count[v4]; i++) {
        uint32_t bits = t->bits[v4][i];
        const struct entry *e = probe(t, t->by_prefix, ky_ip_mask(ip, bits), bits);
        if (e->peer != 0)
            return &t->peer[e->peer - 1];
    }
    return NULL;
}

const struct ky_peer *ky_peers_find_exact(const struct ky_peers *t, struct ky_ip prefix,
                                          uint8_t bits) {
    const struct entry *e = probe(t, t->by_prefix, ky_ip_mask(prefix, bits), bits);
    return e->peer != 0 ? &t->peer[e->peer - 1] : NULL;
}

bool ky_peers_has_outer(const struct ky_peers *t, struct ky_ip outer) {
    return probe(t, t->by_outer, outer, 128)->peer != 0;
}

bool ky_peers_is_local(const struct ky_peers *t, struct ky_ip ip) {
    bool v4 = ky_ip_is4(ip); // no IPv6 prefix, be it ::/0, holds an IPv4 address
    for (size_t i = 0; i < t->local_count; i++)
        if (ky_ip_is4(t->local[i].ip) == v4 &&
            ky_ip_equal(ky_ip_mask(ip, t->local[i].bits), t->local[i].ip))
            return true;
    return false;
}

size_t ky_peers_count(const struct ky_peers *t) {
    return t->count;
}

const struct ky_peer *ky_peers_at(const struct ky_peers *t, size_t i) {
    return &t->peer[i];
}
