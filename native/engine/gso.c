#include "gso.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

static uint8_t proto_of(uint8_t gso_type, uint8_t version) {
    switch (gso_type & ~KY_VNET_GSO_ECN) {
    case KY_VNET_GSO_TCPV4:
        return version == 4 ? IPPROTO_TCP : 0;
    case KY_VNET_GSO_TCPV6:
        return version == 6 ? IPPROTO_TCP : 0;
    case KY_VNET_GSO_UDP_L4:
        return IPPROTO_UDP;
    default:
        return 0;
    }
}

int ky_gso_open(struct ky_gso *g, const uint8_t *pkt, const struct ky_inner *in,
                const struct ky_vnet *vnet) {
    uint8_t proto = proto_of(vnet->gso_type, in->version);
    if (proto == 0 || in->proto != proto || in->fragment || vnet->gso_size == 0 ||
        !(vnet->flags & KY_VNET_NEEDS_CSUM) || vnet->csum_start != in->l4)
        return -EINVAL;
    if (in->l4 + ky_l4_min(proto) > in->len)
        return -EINVAL;
    uint32_t l4_hdr = ky_l4_header(pkt, in);
    if (l4_hdr < ky_l4_min(proto) || in->l4 + l4_hdr > in->len)
        return -EINVAL;
    uint32_t l4_len = in->len - in->l4;
    uint16_t check = ky_load16(pkt + in->l4 + ky_l4_check_offset(proto));
    uint32_t payload = l4_len - l4_hdr;
    *g = (struct ky_gso){
        .pkt = pkt,
        .payload = payload,
        .count = payload == 0 ? 1 : (payload + vnet->gso_size - 1u) / vnet->gso_size,
        .hdr = (uint16_t)(in->l4 + l4_hdr),
        .l4 = in->l4,
        .mss = vnet->gso_size,
        // Taken from the field instead of the addresses, as the kernel does: it then also holds
        // where a routing header makes the destination of the sum another one.
        .pseudo = ky_fold((uint64_t)check + (uint16_t)~htons((uint16_t)l4_len)),
        .version = in->version,
        .proto = proto,
    };
    return 0;
}

static void write_ip(const struct ky_gso *g, uint32_t i, uint32_t len, uint8_t *ip) {
    if (g->version == 6) {
        ky_put_be16(ip + 4, (uint16_t)(len - 40));
        return;
    }
    ky_put_be16(ip + 2, (uint16_t)len);
    ky_put_be16(ip + 4, (uint16_t)(ky_be16(ip + 4) + i));
    ky_store16(ip + 10, 0);
    ky_store16(ip + 10, (uint16_t)~ky_fold(ky_sum(ip, (ip[0] & 0x0f) * 4u, 0)));
}

static uint16_t or_mangled_zero(uint16_t check) {
    return check == 0 ? 0xffff : check; // 0 would mean "no checksum" in UDP; kernel: CSUM_MANGLED_0
}

void ky_gso_write(const struct ky_gso *g, uint32_t i, uint8_t *dst) {
    uint32_t len = ky_gso_len(g, i);
    uint8_t *l4 = dst + g->l4;
    memcpy(dst, g->pkt, g->hdr);
    write_ip(g, i, len, dst);
    uint8_t *check = l4 + ky_l4_check_offset(g->proto);
    if (g->proto == IPPROTO_TCP) {
        ky_put_be32(l4 + 4, ky_be32(l4 + 4) + i * g->mss);
        if (i + 1 < g->count)
            l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
        if (i > 0)
            l4[13] &= (uint8_t)~TCP_CWR;
    } else {
        ky_put_be16(l4 + 4, (uint16_t)(len - g->l4));
    }
    ky_store16(check, 0);
    uint64_t sum = (uint64_t)g->pseudo + htons((uint16_t)(len - g->l4));
    sum = ky_sum(l4, (uint32_t)(g->hdr - g->l4), sum);
    sum = ky_sum_copy(dst + g->hdr, g->pkt + g->hdr + (size_t)i * g->mss, len - g->hdr, sum);
    ky_store16(check, or_mangled_zero((uint16_t)~ky_fold(sum)));
}

int ky_checksum_complete(uint8_t *pkt, size_t len, const struct ky_vnet *vnet) {
    size_t field = (size_t)vnet->csum_start + vnet->csum_offset;
    if (vnet->csum_start >= len || field + 2 > len)
        return -EINVAL;
    uint16_t sum = ky_fold(ky_sum(pkt + vnet->csum_start, len - vnet->csum_start, 0));
    ky_store16(pkt + field, or_mangled_zero((uint16_t)~sum));
    return 0;
}
