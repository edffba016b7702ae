// The table of peers against a scan over all of them.
#include "../engine/peers.h"

#include <errno.h>

#include "check.h"
#include "oracle.h"
#include "random.h"

enum { VNI = 77, PORT = 8472, MANY = 65536 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 9};

static struct ky_ip v4(uint32_t address) {
    uint8_t bytes[4];
    oracle_put32(bytes, address);
    return ky_ip4(bytes);
}

static struct ky_ip v6(uint64_t high, uint64_t low) {
    uint8_t bytes[16];
    oracle_put32(bytes, (uint32_t)(high >> 32));
    oracle_put32(bytes + 4, (uint32_t)high);
    oracle_put32(bytes + 8, (uint32_t)(low >> 32));
    oracle_put32(bytes + 12, (uint32_t)low);
    return ky_ip6(bytes);
}

// Whether the first `bits` bits are the same: whole bytes, then bit by bit.
static bool covers(struct ky_ip prefix, unsigned bits, struct ky_ip ip) {
    uint8_t a[16], b[16];
    memcpy(a, prefix.w, 16);
    memcpy(b, ip.w, 16);
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    for (unsigned i = bits / 8 * 8; i < bits; i++)
        if (((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8) != 0)
            return false;
    return true;
}

static long scan(const struct ky_peer_spec *peers, size_t count, struct ky_ip ip) {
    long best = -1;
    for (size_t i = 0; i < count; i++)
        if (ky_ip_is4(peers[i].prefix) == ky_ip_is4(ip) &&
            covers(peers[i].prefix, peers[i].bits, ip) &&
            (best < 0 || peers[i].bits > peers[best].bits))
            best = (long)i;
    return best;
}

static int build(const struct ky_peer_spec *peers, size_t count, const struct ky_prefix *locals,
                 size_t local_count, struct ky_peers **out, size_t *duplicate) {
    static uint32_t slots[MANY];
    for (size_t i = 0; i < count; i++)
        slots[i] = (uint32_t)(3 * i + 1);
    struct ky_peers_spec spec = {.peers = peers,
                                 .slots = slots,
                                 .count = count,
                                 .locals = locals,
                                 .local_count = local_count,
                                 .vni = VNI,
                                 .port = PORT};
    memcpy(spec.mac, our_mac, 6);
    *duplicate = (size_t)-1;
    return ky_peers_build(&spec, out, duplicate);
}

static void check_peer(const struct ky_peers *t, size_t i, const struct ky_peer_spec *s) {
    const struct ky_peer *p = ky_peers_at(t, i);
    CHECK_EQ(p->bits, s->bits);
    CHECK_EQ(p->slot, 3 * i + 1);
    CHECK(covers(s->prefix, s->bits, p->prefix));
    CHECK(ky_ip_equal(ky_ip_mask(p->prefix, p->bits), p->prefix)); // host bits are gone
    CHECK(ky_ip_equal(p->outer, s->outer));
    CHECK_EQ(oracle_get32(p->encap), 0x08000000);
    CHECK_EQ(oracle_get32(p->encap + 4), VNI << 8);
    CHECK_MEM(p->encap + 8, s->mac, 6);
    CHECK_MEM(p->encap + 14, our_mac, 6);
    uint8_t outer[16];
    memcpy(outer, s->outer.w, 16);
    if (ky_ip_is4(s->outer)) {
        CHECK_EQ(p->to_len, sizeof(struct sockaddr_in));
        CHECK_EQ(p->to.in.sin_family, AF_INET);
        CHECK_EQ(ntohs(p->to.in.sin_port), PORT);
        CHECK_MEM(&p->to.in.sin_addr, outer + 12, 4);
    } else {
        CHECK_EQ(p->to_len, sizeof(struct sockaddr_in6));
        CHECK_EQ(p->to.in6.sin6_family, AF_INET6);
        CHECK_EQ(ntohs(p->to.in6.sin6_port), PORT);
        CHECK_MEM(&p->to.in6.sin6_addr, outer, 16);
    }
    CHECK(ky_peers_find_exact(t, s->prefix, s->bits) == p);
    CHECK(ky_peers_has_outer(t, s->outer));
}

// A small world, so that prefixes nest and addresses often fall into them.
static struct ky_ip some_address(struct random *r) {
    if (random_one_in(r, 2))
        return v4(0x0a000000u | (random_below(r, 4) << 16) | (random_below(r, 4) << 8) |
                  (random_below(r, 4) << 6) | random_below(r, 4));
    uint64_t high = 0xfd00000000000000ULL | (uint64_t)random_below(r, 4) << 48 | random_below(r, 4);
    return v6(high, (uint64_t)random_below(r, 4) << 62 | random_below(r, 4));
}

static void test_random_tables(struct random *r) {
    enum { PEERS_MAX = 40 };
    for (int round = 0; round < 1500; round++) {
        struct ky_peer_spec peers[PEERS_MAX];
        size_t count = random_below(r, PEERS_MAX + 1), kept = 0;
        for (size_t i = 0; i < count; i++) {
            struct ky_peer_spec s = {.prefix = some_address(r), .outer = some_address(r)};
            bool is4 = ky_ip_is4(s.prefix);
            s.bits = (uint8_t)(is4 ? KY_V4_BITS + random_range(r, 0, 32) : random_range(r, 0, 128));
            random_fill(r, s.mac, 6);
            bool taken = false;
            for (size_t k = 0; k < kept; k++)
                taken |= peers[k].bits == s.bits && ky_ip_is4(peers[k].prefix) == is4 &&
                         covers(peers[k].prefix, s.bits, s.prefix);
            if (!taken)
                peers[kept++] = s;
        }
        struct ky_peers *t;
        size_t duplicate;
        check_case("table %d of %zu", round, kept);
        REQUIRE(CHECK_EQ(build(peers, kept, NULL, 0, &t, &duplicate), 0));
        CHECK_EQ(ky_peers_count(t), kept);
        for (size_t i = 0; i < kept; i++)
            check_peer(t, i, &peers[i]);
        for (int k = 0; k < 200; k++) {
            struct ky_ip ip = some_address(r);
            long want = scan(peers, kept, ip);
            const struct ky_peer *got = ky_peers_find(t, ip);
            CHECK_EQ(got == NULL ? -1 : got - ky_peers_at(t, 0), want);
            bool outer = false;
            for (size_t p = 0; p < kept; p++)
                outer |= ky_ip_equal(peers[p].outer, ip);
            CHECK_EQ(ky_peers_has_outer(t, ip), outer);
        }
        ky_peers_free(t);
    }
}

static void test_duplicates(void) {
    struct ky_peer_spec peers[4] = {
        {.prefix = v4(0x0a010000), .outer = v4(1), .bits = KY_V4_BITS + 24},
        {.prefix = v4(0x0a010000), .outer = v4(2), .bits = KY_V4_BITS + 25},
        {.prefix = v6(0x0a01000000000000, 0), .outer = v4(3), .bits = 24},
        {.prefix = v4(0x0a0100ff), .outer = v4(4), .bits = KY_V4_BITS + 24}};
    struct ky_peers *t;
    size_t duplicate;
    check_case("the same subnet written in two ways");
    CHECK_EQ(build(peers, 4, NULL, 0, &t, &duplicate), -EEXIST);
    CHECK_EQ(duplicate, 3);
    check_case("other length, other family");
    REQUIRE(CHECK_EQ(build(peers, 3, NULL, 0, &t, &duplicate), 0));
    ky_peers_free(t);
    peers[1] = peers[0];
    check_case("the same peer twice");
    CHECK_EQ(build(peers, 3, NULL, 0, &t, &duplicate), -EEXIST);
    CHECK_EQ(duplicate, 1);
}

// One node may hold several subnets: one outer address, several prefixes.
static void test_shared_outer(void) {
    struct ky_peer_spec peers[3] = {
        {.prefix = v4(0x0a010000), .outer = v4(0xc0000201), .bits = KY_V4_BITS + 24},
        {.prefix = v4(0x0a020000), .outer = v4(0xc0000201), .bits = KY_V4_BITS + 24},
        {.prefix = v6(0xfd00ULL << 48, 0), .outer = v4(0xc0000201), .bits = 64}};
    struct ky_peers *t;
    size_t duplicate;
    check_case("shared outer address");
    REQUIRE(CHECK_EQ(build(peers, 3, NULL, 0, &t, &duplicate), 0));
    for (size_t i = 0; i < 3; i++)
        check_peer(t, i, &peers[i]);
    CHECK(!ky_peers_has_outer(t, v4(0xc0000202)));
    ky_peers_free(t);
}

static void test_bad_lengths(void) {
    struct ky_peers *t;
    size_t duplicate;
    struct ky_peer_spec peer = {.prefix = v4(0x0a010000), .outer = v4(1), .bits = KY_V4_BITS - 1};
    check_case("an IPv4 prefix shorter than its mapping");
    CHECK_EQ(build(&peer, 1, NULL, 0, &t, &duplicate), -EINVAL);
    peer.bits = 129;
    check_case("129 bits");
    CHECK_EQ(build(&peer, 1, NULL, 0, &t, &duplicate), -EINVAL);
    peer.prefix = v6(1, 1);
    CHECK_EQ(build(&peer, 1, NULL, 0, &t, &duplicate), -EINVAL);
    peer.bits = 255;
    CHECK_EQ(build(&peer, 1, NULL, 0, &t, &duplicate), -EINVAL);
    peer.bits = 24;
    struct ky_prefix local = {.ip = v4(0x0a020000), .bits = KY_V4_BITS - 1};
    check_case("a local IPv4 prefix shorter than its mapping");
    if (!CHECK_EQ(build(&peer, 1, &local, 1, &t, &duplicate), -EINVAL))
        ky_peers_free(t);
    local.bits = 200;
    check_case("a local prefix of 200 bits");
    if (!CHECK_EQ(build(&peer, 1, &local, 1, &t, &duplicate), -EINVAL))
        ky_peers_free(t);
}

static void test_empty(void) {
    struct ky_peers *t;
    size_t duplicate;
    check_case("empty table");
    REQUIRE(CHECK_EQ(build(NULL, 0, NULL, 0, &t, &duplicate), 0));
    CHECK_EQ(ky_peers_count(t), 0);
    CHECK(ky_peers_find(t, v4(0x0a000001)) == NULL);
    CHECK(ky_peers_find(t, v6(0, 0)) == NULL);
    CHECK(ky_peers_find_exact(t, v4(0), KY_V4_BITS) == NULL);
    CHECK(!ky_peers_has_outer(t, v4(0)));
    CHECK(!ky_peers_is_local(t, v4(0)));
    ky_peers_free(t);
    ky_peers_free(NULL);
}

static void test_locals(struct random *r) {
    for (int round = 0; round < 300; round++) {
        struct ky_prefix locals[4];
        size_t count = random_below(r, 5), duplicate;
        for (size_t i = 0; i < count; i++) {
            locals[i].ip = some_address(r);
            locals[i].bits = (uint8_t)(ky_ip_is4(locals[i].ip) ? KY_V4_BITS + random_range(r, 0, 32)
                                                               : random_range(r, 1, 128));
        }
        struct ky_peers *t;
        check_case("locals %d", round);
        REQUIRE(CHECK_EQ(build(NULL, 0, locals, count, &t, &duplicate), 0));
        for (int k = 0; k < 100; k++) {
            struct ky_ip ip = some_address(r);
            bool want = false;
            for (size_t i = 0; i < count; i++)
                want |= ky_ip_is4(locals[i].ip) == ky_ip_is4(ip) &&
                        covers(locals[i].ip, locals[i].bits, ip);
            CHECK_EQ(ky_peers_is_local(t, ip), want);
        }
        ky_peers_free(t);
    }
}

// "All of IPv6" is not "all of IPv4", though the one is kept inside the other.
static void test_defaults(void) {
    struct ky_peers *t;
    size_t duplicate;
    struct ky_prefix local = {.ip = v6(0, 0), .bits = 0};
    struct ky_peer_spec peer = {.prefix = v6(0, 0), .outer = v4(1), .bits = 0};
    check_case("::/0");
    REQUIRE(CHECK_EQ(build(&peer, 1, &local, 1, &t, &duplicate), 0));
    CHECK(ky_peers_find(t, v6(0x20010db8ULL << 32, 1)) != NULL);
    CHECK(ky_peers_find(t, v4(0x0a000001)) == NULL);
    CHECK(ky_peers_is_local(t, v6(0x20010db8ULL << 32, 1)));
    CHECK(!ky_peers_is_local(t, v4(0x0a000001)));
    ky_peers_free(t);
    local = (struct ky_prefix){.ip = v4(0), .bits = KY_V4_BITS};
    peer.prefix = v4(0), peer.bits = KY_V4_BITS;
    check_case("0.0.0.0/0");
    REQUIRE(CHECK_EQ(build(&peer, 1, &local, 1, &t, &duplicate), 0));
    CHECK(ky_peers_find(t, v4(0xffffffff)) != NULL);
    CHECK(ky_peers_find(t, v6(0x20010db8ULL << 32, 1)) == NULL);
    CHECK(!ky_peers_is_local(t, v6(0x20010db8ULL << 32, 1)));
    ky_peers_free(t);
}

static void test_many(struct random *r) {
    struct ky_peer_spec *peers = calloc(MANY, sizeof *peers);
    REQUIRE(peers != NULL);
    for (uint32_t i = 0; i < MANY; i++) {
        bool is4 = i % 2 == 0;
        peers[i] = (struct ky_peer_spec){
            .prefix = is4 ? v4(0x0a000000u | i << 7) : v6(0xfd00ULL << 48 | i, 0),
            .outer = is4 ? v4(0xac100000u + i) : v6(0xfd01ULL << 48, i),
            .bits = is4 ? KY_V4_BITS + 24 : 64};
    }
    struct ky_peers *t;
    size_t duplicate;
    check_case("65536 peers");
    REQUIRE(CHECK_EQ(build(peers, MANY, NULL, 0, &t, &duplicate), 0));
    for (uint32_t i = 0; i < MANY; i++) {
        struct ky_ip inside = ky_ip_is4(peers[i].prefix)
                                  ? v4((0x0a000000u | i << 7) + 1 + random_below(r, 254))
                                  : v6(0xfd00ULL << 48 | i, random_next(r));
        CHECK(ky_peers_find(t, inside) == ky_peers_at(t, i));
        CHECK(ky_peers_has_outer(t, peers[i].outer));
    }
    CHECK(ky_peers_find(t, v4(0x0a000000u + (MANY << 7))) == NULL);
    CHECK(ky_peers_find(t, v6(0xfd00ULL << 48 | MANY, 0)) == NULL);
    CHECK(!ky_peers_has_outer(t, v4(0xac100000u + MANY)));
    ky_peers_free(t);
    peers[MANY - 1] = peers[12];
    CHECK_EQ(build(peers, MANY, NULL, 0, &t, &duplicate), -EEXIST);
    CHECK_EQ(duplicate, MANY - 1);
    free(peers);
}

// The same number with prefixes of 24 lengths, which lie in one another, in no order.
static void test_many_mixed(struct random *r) {
    static const uint8_t lengths4[] = {12, 16, 18, 20, 21, 22, 23, 24, 25, 26, 28, 30, 31, 32};
    static const uint8_t lengths6[] = {24, 32, 40, 48, 56, 64, 65, 80, 112, 128};
    enum { L4 = sizeof lengths4, L6 = sizeof lengths6, LOOKUPS = 800 };
    struct ky_peer_spec *peers = calloc(MANY, sizeof *peers);
    uint32_t next[L4 + L6] = {0};
    REQUIRE(peers != NULL);
    for (uint32_t i = 0; i < MANY;) {
        unsigned length = random_below(r, L4 + L6);
        bool is4 = length < L4;
        uint8_t bits = is4 ? lengths4[length] : lengths6[length - L4];
        uint32_t room = (uint32_t)bits - (is4 ? 8 : 16), number = next[length];
        if (room < 20 && number >= 1u << room)
            continue; // all of this length are there
        next[length]++;
        // An odd factor permutes the numbers of so many bits: no prefix comes twice.
        uint64_t at = (uint64_t)number * 0x9e3779b1u & (room < 20 ? (1u << room) - 1 : 0xfffff);
        peers[i++] = (struct ky_peer_spec){
            .prefix = is4          ? v4(0x0a000000u | (uint32_t)(at << (32 - bits)))
                      : bits <= 64 ? v6(0xfd00ULL << 48 | at << (64 - bits), 0)
                                   : v6(0xfd00ULL << 48 | at >> 1, at << (128 - bits)),
            .outer = v4(0xac100000u + random_below(r, 5000)),
            .bits = (uint8_t)(bits + (is4 ? KY_V4_BITS : 0))};
    }
    struct ky_peers *t;
    size_t duplicate, hits = 0;
    check_case("65536 peers of many prefix lengths");
    REQUIRE(CHECK_EQ(build(peers, MANY, NULL, 0, &t, &duplicate), 0));
    for (unsigned i = 0; i < LOOKUPS; i++) {
        struct ky_ip ip = peers[random_below(r, MANY)].prefix;
        uint64_t low = random_next(r);
        if (ky_ip_is4(ip))
            ip = v4(ky_ip_v4(ip) ^ (uint32_t)(low & (0xffffffffu >> random_range(r, 5, 31))));
        else
            ip.w[1] ^= htobe64(low >> random_below(r, 64));
        long want = scan(peers, MANY, ip);
        const struct ky_peer *got = ky_peers_find(t, ip);
        CHECK(got == (want < 0 ? NULL : ky_peers_at(t, (size_t)want)));
        hits += want >= 0;
    }
    CHECK(hits > LOOKUPS / 4 && hits < LOOKUPS); // both answers were asked for
    ky_peers_free(t);
    free(peers);
}

int main(void) {
    struct random r = {.state = 4};
    test_empty();
    test_duplicates();
    test_shared_outer();
    test_bad_lengths();
    test_locals(&r);
    test_defaults();
    test_random_tables(&r);
    test_many(&r);
    test_many_mixed(&r);
    return check_report();
}
