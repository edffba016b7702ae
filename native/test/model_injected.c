#include "model_injected.h"

#include "check.h"
#include "oracle.h"

enum { TUNNEL_VNET = 24, ETHERNET = 14, UDP = 8, ENCAP = 22 };

static unsigned host16(const uint8_t *p) { // in the byte order of this machine
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

static void check_outer(const uint8_t *frame, size_t len, const struct model_address *from,
                        struct oracle_ip *outer) {
    REQUIRE(oracle_parse(frame + ETHERNET, len - ETHERNET, outer));
    CHECK_EQ(outer->version, from->version);
    CHECK_EQ(oracle_get16(frame + 12), outer->version == 4 ? 0x0800 : 0x86dd);
    CHECK_EQ(outer->len, len - ETHERNET);
    CHECK_EQ(outer->proto, ORACLE_UDP);
    CHECK(!outer->fragment && !outer->extended);
    CHECK(oracle_ip_sum_ok(frame + ETHERNET));
    CHECK(oracle_is_partial(frame + ETHERNET, outer));
    CHECK_MEM(outer->src, from->bytes, 16);
    const uint8_t *udp = frame + ETHERNET + outer->l4;
    CHECK_EQ(oracle_get16(udp + 2), 8472);
    CHECK_EQ(oracle_get16(udp + 4), outer->len - outer->l4);
}

static void check_vnet(const uint8_t *v, const struct oracle_ip *outer, const uint8_t *packet,
                       const struct oracle_ip *ip) {
    unsigned type = ip->proto == ORACLE_UDP ? 5 : ip->version == 4 ? 1 : 4;
    unsigned inner_at = (unsigned)(ETHERNET + outer->l4 + UDP + ENCAP);
    CHECK_EQ(v[0], 1 | 8); // the inner checksum is to be filled in, and the outer
    CHECK_EQ(v[1] & 0x7f, type | (outer->version == 4 ? 0x20u : 0x40u));
    CHECK_EQ(host16(v + 2), inner_at + oracle_headers(packet, ip));
    CHECK(host16(v + 4) > 0);
    CHECK_EQ(host16(v + 6), inner_at + ip->l4);
    CHECK_EQ(host16(v + 8), ip->proto == ORACLE_UDP ? 6 : 16);
    CHECK_EQ(host16(v + 20), ETHERNET + outer->l4);
    CHECK_EQ(host16(v + 22), inner_at);
    CHECK(oracle_is_partial(packet, ip));
}

static unsigned node_of(const struct model_world *w, const uint8_t outer[16]) {
    for (unsigned i = 0; i < w->nodes; i++)
        if (memcmp(w->node[i].outer.bytes, outer, 16) == 0)
            return i;
    check_fail(__FILE__, __LINE__, "injected to nobody");
    return 0;
}

void model_injected_check(const struct model_world *w, unsigned from, const uint8_t *bytes,
                          size_t len, struct model_injected *out) {
    struct oracle_ip outer, ip;
    const uint8_t *frame = bytes + TUNNEL_VNET;
    check_outer(frame, len - TUNNEL_VNET, &w->node[from].outer, &outer);
    const uint8_t *encap = frame + ETHERNET + outer.l4 + UDP, *packet = encap + ENCAP;
    size_t packet_len = (size_t)(bytes + len - packet);
    REQUIRE(oracle_parse(packet, packet_len, &ip));
    CHECK_EQ(ip.len, packet_len);
    check_vnet(bytes, &outer, packet, &ip);
    *out = (struct model_injected){.encap = encap,
                                   .packet = packet,
                                   .len = packet_len,
                                   .from = from,
                                   .to = node_of(w, outer.dst),
                                   .tos = outer.tos,
                                   .mss = host16(bytes + 4),
                                   .source_port = oracle_get16(encap - UDP),
                                   .udp = ip.proto == ORACLE_UDP};
}
