#include "inner.h"

#include <errno.h>
#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"

// More extension headers than this are not followed; such a packet still passes, without an L4.
enum { EXTENSIONS_MAX = 8 };

static int parse4(const uint8_t *p, size_t len, struct ky_inner *in) {
    if (len < 20)
        return -EINVAL;
    unsigned ihl = (p[0] & 0x0f) * 4u;
    unsigned total = ky_be16(p + 2);
    if (ihl < 20 || total < ihl || total > len)
        return -EINVAL;
    unsigned frag = ky_be16(p + 6);
    *in = (struct ky_inner){.src = ky_ip4(p + 12),
                            .dst = ky_ip4(p + 16),
                            .len = total,
                            .l4 = (uint16_t)ihl,
                            .version = 4,
                            .proto = p[9],
                            .tos = p[1],
                            .fragment = (frag & 0x3fff) != 0, // MF or an offset
                            .extended = ihl > 20};
    return 0;
}

// Walks the extension headers (RFC 8200 4). A chain that runs past the packet ends the walk with
// IPPROTO_NONE: forwarding needs no L4, and the end host judges the packet.
static void walk6(const uint8_t *p, struct ky_inner *in) {
    unsigned at = 40;
    uint8_t next = p[6];
    for (int i = 0; i < EXTENSIONS_MAX; i++) {
        unsigned size;
        switch (next) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_DSTOPTS:
            if (at + 8 > in->len)
                goto lost;
            size = (p[at + 1] + 1u) * 8;
            break;
        case IPPROTO_FRAGMENT:
            if (at + 8 > in->len)
                goto lost;
            in->fragment = true;
            size = 8;
            break;
        default:
            in->l4 = (uint16_t)at;
            in->proto = next;
            return;
        }
        in->extended = true;
        bool later = next == IPPROTO_FRAGMENT && (ky_be16(p + at + 2) & 0xfff8) != 0;
        next = p[at];
        if (at + size > in->len)
            goto lost;
        at += size;
        if (later) { // what follows is payload, not the header that `next` names
            in->l4 = (uint16_t)at;
            in->proto = next;
            return;
        }
    }
lost:
    in->l4 = (uint16_t)at;
    in->proto = IPPROTO_NONE;
}

static int parse6(const uint8_t *p, size_t len, struct ky_inner *in) {
    if (len < 40)
        return -EINVAL;
    unsigned payload = ky_be16(p + 4);
    if (payload + 40u > len || payload + 40u > UINT16_MAX)
        return -EINVAL;
    if (payload == 0 && p[6] == IPPROTO_HOPOPTS)
        return -EINVAL; // jumbogram
    *in = (struct ky_inner){.src = ky_ip6(p + 8),
                            .dst = ky_ip6(p + 24),
                            .len = payload + 40,
                            .version = 6,
                            .tos = (uint8_t)((p[0] & 0x0f) << 4 | p[1] >> 4)};
    walk6(p, in);
    return 0;
}

int ky_inner_parse(const uint8_t *p, size_t len, struct ky_inner *in) {
    if (len < 1)
        return -EINVAL;
    switch (p[0] >> 4) {
    case 4:
        return parse4(p, len, in);
    case 6:
        return parse6(p, len, in);
    default:
        return -EINVAL;
    }
}

uint32_t ky_inner_flow(const uint8_t *p, const struct ky_inner *in) {
    uint64_t ports = 0;
    if (!in->fragment && in->l4 + 4u <= in->len &&
        (in->proto == IPPROTO_TCP || in->proto == IPPROTO_UDP || in->proto == IPPROTO_SCTP))
        ports = ky_be32(p + in->l4);
    uint64_t h = ky_ip_hash(in->dst, ky_ip_hash(in->src, ports << 8 | in->proto));
    return (uint32_t)(h ^ h >> 32);
}

uint16_t ky_pseudo(const uint8_t *p, const struct ky_inner *in, uint32_t l4_len) {
    uint8_t words[4] = {0, in->proto, (uint8_t)(l4_len >> 8), (uint8_t)l4_len};
    uint64_t sum = in->version == 4 ? ky_sum(p + 12, 8, 0) : ky_sum(p + 8, 32, 0);
    return ky_fold(ky_sum(words, 4, sum));
}
