#include "icmp.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

enum { V4_MAX = 576, TTL = 64 };

// Types that are errors, and ICMPv6's redirect: about none of them may an error be sent (RFC 1122
// 3.2.2; RFC 4443 2.1 and 2.4 e).
static bool is_icmp_error(const uint8_t *pkt, const struct ky_inner *in) {
    if (in->l4 >= in->len)
        return in->proto == IPPROTO_ICMP || in->proto == IPPROTO_ICMPV6;
    uint8_t type = pkt[in->l4];
    if (in->version == 6)
        return in->proto == IPPROTO_ICMPV6 && (type < 128 || type == 137);
    return in->proto == IPPROTO_ICMP &&
           (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

static bool is_answerable(const uint8_t *pkt, const struct ky_inner *in) {
    if (is_icmp_error(pkt, in))
        return false;
    if (in->version == 6) {
        uint64_t hi = be64toh(in->src.w[0]), lo = be64toh(in->src.w[1]);
        return pkt[24] != 0xff && hi >> 56 != 0xff && (hi | lo) != 0;
    }
    uint32_t src = ky_ip_v4(in->src);
    bool later = (ky_be16(pkt + 6) & 0x1fff) != 0;
    return !later && ky_ip_v4(in->dst) < 0xe0000000u && src != 0 && src >> 24 != 127 &&
           src < 0xe0000000u;
}

static size_t build4(uint8_t *out, enum ky_icmp kind, const uint8_t *pkt, const struct ky_inner *in,
                     uint32_t mtu) {
    size_t quoted = in->len < V4_MAX - 28u ? in->len : V4_MAX - 28u;
    size_t len = 28 + quoted;
    memset(out, 0, 28);
    out[0] = 0x45;
    out[1] = 0xc0; // precedence 6, internetwork control (RFC 1812 4.3.2.5)
    ky_put_be16(out + 2, (uint16_t)len);
    out[8] = TTL;
    out[9] = IPPROTO_ICMP;
    memcpy(out + 12, pkt + 16, 4);
    memcpy(out + 16, pkt + 12, 4);
    ky_store16(out + 10, (uint16_t)~ky_fold(ky_sum(out, 20, 0)));
    out[20] = kind == KY_ICMP_TIME_EXCEEDED ? 11 : 3; // or destination unreachable
    out[21] = kind == KY_ICMP_TOO_BIG ? 4 : 0;
    if (kind == KY_ICMP_TOO_BIG)
        ky_put_be16(out + 26, (uint16_t)mtu);
    memcpy(out + 28, pkt, quoted);
    ky_store16(out + 22, (uint16_t)~ky_fold(ky_sum(out + 20, len - 20, 0)));
    return len;
}

static size_t build6(uint8_t *out, enum ky_icmp kind, const uint8_t *pkt, const struct ky_inner *in,
                     uint32_t mtu) {
    size_t quoted = in->len < KY_ICMP_MAX - 48u ? in->len : KY_ICMP_MAX - 48u;
    uint32_t l4_len = (uint32_t)(8 + quoted);
    memset(out, 0, 48);
    out[0] = 0x60;
    ky_put_be16(out + 4, (uint16_t)l4_len);
    out[6] = IPPROTO_ICMPV6;
    out[7] = TTL;
    memcpy(out + 8, pkt + 24, 16);
    memcpy(out + 24, pkt + 8, 16);
    out[40] = kind == KY_ICMP_TIME_EXCEEDED ? 3 : kind == KY_ICMP_TOO_BIG ? 2 : 1;
    if (kind == KY_ICMP_TOO_BIG)
        ky_put_be32(out + 44, mtu);
    memcpy(out + 48, pkt, quoted);
    struct ky_inner self = {.version = 6, .proto = IPPROTO_ICMPV6};
    uint16_t sum = ky_fold(ky_sum(out + 40, l4_len, ky_pseudo(out, &self, l4_len)));
    ky_store16(out + 42, (uint16_t)~sum);
    return 40 + l4_len;
}

size_t ky_icmp_build(uint8_t out[KY_ICMP_MAX], enum ky_icmp kind, const uint8_t *pkt,
                     const struct ky_inner *in, uint32_t mtu) {
    if (!is_answerable(pkt, in))
        return 0;
    return in->version == 4 ? build4(out, kind, pkt, in, mtu) : build6(out, kind, pkt, in, mtu);
}

int ky_icmp_allow(struct ky_icmp_limit *l, uint64_t now_ns) {
    const uint64_t token = 1000000000ULL / KY_ICMP_RATE, full = token * KY_ICMP_BURST;
    uint64_t credit = l->last_ns == 0 ? full : l->tokens_ns + (now_ns - l->last_ns);
    if (credit > full)
        credit = full;
    l->last_ns = now_ns;
    int allowed = credit >= token;
    l->tokens_ns = allowed ? credit - token : credit;
    return allowed;
}
