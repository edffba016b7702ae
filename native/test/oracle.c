#include "oracle.h"

#include <string.h>

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, NO_NEXT = 59, DESTINATION = 60 };

// ---- sums ----

unsigned oracle_get16(const uint8_t *p) {
    return (unsigned)p[0] * 256 + p[1];
}

void oracle_put16(uint8_t *p, unsigned value) {
    p[0] = (uint8_t)(value / 256);
    p[1] = (uint8_t)(value % 256);
}

uint32_t oracle_get32(const uint8_t *p) {
    return (uint32_t)oracle_get16(p) * 65536 + oracle_get16(p + 2);
}

void oracle_put32(uint8_t *p, uint32_t value) {
    oracle_put16(p, value / 65536);
    oracle_put16(p + 2, value % 65536);
}

uint16_t oracle_sum(const void *bytes, size_t len, uint16_t start) {
    const uint8_t *p = bytes;
    uint32_t sum = start;
    for (size_t i = 0; i < len; i += 2) {
        sum += (uint32_t)p[i] * 256 + (i + 1 < len ? p[i + 1] : 0);
        if (sum > 0xffff) // end-around carry
            sum = sum - 0x10000 + 1;
    }
    return (uint16_t)sum;
}

// ---- taking apart ----

static bool parse4(const uint8_t *p, size_t len, struct oracle_ip *ip) {
    if (len < 20)
        return false;
    ip->l4 = (size_t)(p[0] % 16) * 4;
    ip->len = oracle_get16(p + 2);
    if (ip->l4 < 20 || ip->len < ip->l4 || ip->len > len)
        return false;
    ip->tos = p[1];
    ip->proto = p[9];
    unsigned flags = p[6] / 32, offset = oracle_get16(p + 6) % 8192;
    ip->later = offset != 0;
    ip->fragment = offset != 0 || (flags & 1) != 0;
    ip->extended = ip->l4 > 20;
    memcpy(ip->src, p + 12, 4);
    memcpy(ip->dst, p + 16, 4);
    return true;
}

static bool parse6(const uint8_t *p, size_t len, struct oracle_ip *ip) {
    if (len < 40)
        return false;
    size_t payload = oracle_get16(p + 4);
    ip->len = 40 + payload;
    if (ip->len > len || ip->len > ORACLE_PACKET_MAX)
        return false;
    if (payload == 0 && p[6] == HOP_BY_HOP)
        return false; // only a jumbogram says so (RFC 2675 3)
    ip->tos = oracle_get16(p) / 16 % 256;
    memcpy(ip->src, p + 8, 16);
    memcpy(ip->dst, p + 24, 16);
    ip->l4 = 40;
    ip->proto = p[6];
    while (!ip->later && (ip->proto == HOP_BY_HOP || ip->proto == ROUTING ||
                          ip->proto == DESTINATION || ip->proto == FRAGMENT)) {
        const uint8_t *header = p + ip->l4;
        size_t size = 0;
        if (ip->l4 + 8 <= ip->len) {
            size = ip->proto == FRAGMENT ? 8 : (header[1] + (size_t)1) * 8;
            if (ip->proto == FRAGMENT) {
                ip->fragment = true;
                ip->later = oracle_get16(header + 2) / 8 != 0;
            }
        }
        if (size != 0)
            ip->extended = true;
        if (size == 0 || ip->l4 + size > ip->len) {
            ip->proto = NO_NEXT;
            return true;
        }
        ip->proto = header[0];
        ip->l4 += size;
    }
    return true;
}

bool oracle_parse(const uint8_t *p, size_t len, struct oracle_ip *ip) {
    memset(ip, 0, sizeof *ip);
    ip->version = len == 0 ? 0 : p[0] / 16;
    return ip->version == 4 ? parse4(p, len, ip) : ip->version == 6 && parse6(p, len, ip);
}

size_t oracle_check_at(const uint8_t *p, const struct oracle_ip *ip) {
    (void)p;
    if (ip->fragment)
        return 0;
    if (ip->proto == ORACLE_TCP && ip->l4 + 20 <= ip->len)
        return ip->l4 + 16;
    if (ip->proto == ORACLE_UDP && ip->l4 + 8 <= ip->len)
        return ip->l4 + 6;
    return 0;
}

uint16_t oracle_pseudo(const struct oracle_ip *ip, int proto, size_t l4_len) {
    uint8_t header[40] = {0};
    if (ip->version == 4) { // RFC 9293 3.1
        memcpy(header, ip->src, 4);
        memcpy(header + 4, ip->dst, 4);
        header[9] = (uint8_t)proto;
        oracle_put16(header + 10, (unsigned)l4_len);
        return oracle_sum(header, 12, 0);
    }
    memcpy(header, ip->src, 16); // RFC 8200 8.1
    memcpy(header + 16, ip->dst, 16);
    oracle_put32(header + 32, (uint32_t)l4_len);
    header[39] = (uint8_t)proto;
    return oracle_sum(header, 40, 0);
}

bool oracle_ip_sum_ok(const uint8_t *p) {
    return p[0] / 16 != 4 || oracle_sum(p, (size_t)(p[0] % 16) * 4, 0) == 0xffff;
}

bool oracle_l4_sum_ok(const uint8_t *p, const struct oracle_ip *ip) {
    size_t at = oracle_check_at(p, ip);
    if (at == 0)
        return true;
    if (ip->proto == ORACLE_UDP && ip->version == 4 && oracle_get16(p + at) == 0)
        return true;
    size_t l4_len = ip->len - ip->l4;
    return oracle_sum(p + ip->l4, l4_len, oracle_pseudo(ip, ip->proto, l4_len)) == 0xffff;
}

bool oracle_is_partial(const uint8_t *p, const struct oracle_ip *ip) {
    size_t at = oracle_check_at(p, ip);
    return at != 0 && oracle_get16(p + at) == oracle_pseudo(ip, ip->proto, ip->len - ip->l4);
}

size_t oracle_headers(const uint8_t *p, const struct oracle_ip *ip) {
    if (oracle_check_at(p, ip) == 0)
        return 0;
    size_t l4_header = ip->proto == ORACLE_UDP ? 8 : (size_t)(p[ip->l4 + 12] / 16) * 4;
    bool whole = l4_header >= (ip->proto == ORACLE_UDP ? 8 : 20) && ip->l4 + l4_header <= ip->len;
    return whole ? ip->l4 + l4_header : 0;
}

// ---- building ----

struct oracle_spec oracle_plain(unsigned version, uint8_t proto, size_t payload_len) {
    struct oracle_spec s = {.version = version,
                            .proto = proto,
                            .ttl = 64,
                            .id = 1000,
                            .df = true,
                            .sport = 40000,
                            .dport = 443,
                            .seq = 1000000,
                            .ack = 2000000,
                            .flags = ORACLE_ACK,
                            .window = 501,
                            .payload_len = payload_len};
    static const uint8_t src4[] = {10, 1, 0, 1}, dst4[] = {10, 2, 0, 1};
    if (version == 4) {
        memcpy(s.src, src4, 4);
        memcpy(s.dst, dst4, 4);
    } else {
        s.src[0] = s.dst[0] = 0xfd;
        s.src[1] = 1;
        s.dst[1] = 2;
        s.src[15] = s.dst[15] = 1;
    }
    return s;
}

static size_t build_l4(uint8_t *out, const struct oracle_spec *s) {
    size_t header = 0;
    if (s->offset != 0) { // a later fragment has no L4 header
    } else if (s->proto == ORACLE_TCP) {
        header = 20u + s->tcp_options;
        memset(out, s->tcp_option_value, header);
        oracle_put16(out, s->sport);
        oracle_put16(out + 2, s->dport);
        oracle_put32(out + 4, s->seq);
        oracle_put32(out + 8, s->ack);
        out[12] = (uint8_t)(header / 4 * 16);
        out[13] = s->flags;
        oracle_put16(out + 14, s->window);
        oracle_put32(out + 16, 0);
    } else if (s->proto == ORACLE_UDP) {
        header = 8;
        oracle_put16(out, s->sport);
        oracle_put16(out + 2, s->dport);
        oracle_put16(out + 4, (unsigned)(8 + s->payload_len));
        oracle_put16(out + 6, 0);
    }
    if (s->payload != NULL)
        memcpy(out + header, s->payload, s->payload_len);
    else
        memset(out + header, 0, s->payload_len);
    return header + s->payload_len;
}

static void build_check(uint8_t *packet, size_t len, const struct oracle_spec *s) {
    struct oracle_ip ip;
    size_t at;
    if (!oracle_parse(packet, len, &ip) || (at = oracle_check_at(packet, &ip)) == 0)
        return;
    switch (s->check) {
    case ORACLE_PARTIAL:
        oracle_put16(packet + at, oracle_pseudo(&ip, ip.proto, ip.len - ip.l4));
        break;
    case ORACLE_NONE:
        oracle_put16(packet + at, 0);
        break;
    case ORACLE_COMPLETE:
    case ORACLE_BAD:
        oracle_complete(packet, len);
        if (s->check == ORACLE_BAD) // + 1, but neither 0 nor the other zero
            oracle_put16(packet + at, oracle_get16(packet + at) % 0xfffe + 1);
        break;
    }
}

static size_t build4(uint8_t *out, const struct oracle_spec *s) {
    size_t header = 20u + s->ip_options;
    memset(out, 1, header); // option 1: no operation
    size_t len = header + build_l4(out + header, s);
    out[0] = (uint8_t)(0x40 + header / 4);
    out[1] = s->tos;
    oracle_put16(out + 2, (unsigned)len);
    oracle_put16(out + 4, s->id);
    oracle_put16(out + 6, (s->df ? 0x4000u : 0) + (s->mf ? 0x2000u : 0) + s->offset);
    out[8] = s->ttl;
    out[9] = s->proto;
    oracle_put16(out + 10, 0);
    memcpy(out + 12, s->src, 4);
    memcpy(out + 16, s->dst, 4);
    oracle_put16(out + 10, 0xffffu - oracle_sum(out, header, 0));
    if (s->bad_ip_sum)
        out[10] ^= 0x55;
    return len;
}

static size_t build6(uint8_t *out, const struct oracle_spec *s) {
    memset(out, 0, 40);
    oracle_put32(out, 6u << 28 | (uint32_t)s->tos << 20 | s->flow_label);
    out[7] = s->ttl;
    memcpy(out + 8, s->src, 16);
    memcpy(out + 24, s->dst, 16);
    size_t at = 40, next = 6; // where the type of the next header is to be written
    for (unsigned i = 0; i < s->extension_count; i++) {
        memset(out + at, 0, 8);
        out[next] = s->extensions[i];
        if (s->extensions[i] == FRAGMENT) {
            oracle_put16(out + at + 2, s->offset * 8u + s->mf);
            oracle_put32(out + at + 4, s->id);
        } else {
            out[at + 2] = 1; // PadN over the rest; for a routing header: type 1, none left
            out[at + 3] = s->extensions[i] == ROUTING ? 0 : 4;
        }
        next = at;
        at += 8;
    }
    out[next] = s->proto;
    size_t len = at + build_l4(out + at, s);
    oracle_put16(out + 4, (unsigned)(len - 40));
    return len;
}

size_t oracle_build(uint8_t *out, const struct oracle_spec *s) {
    size_t len = s->version == 4 ? build4(out, s) : build6(out, s);
    build_check(out, len, s);
    return len;
}

// ---- segmentation ----

void oracle_complete(uint8_t *p, size_t len) {
    struct oracle_ip ip;
    if (!oracle_parse(p, len, &ip))
        return;
    size_t at = oracle_check_at(p, &ip);
    if (at == 0)
        return;
    size_t l4_len = ip.len - ip.l4;
    oracle_put16(p + at, 0);
    unsigned check = 0xffffu - oracle_sum(p + ip.l4, l4_len, oracle_pseudo(&ip, ip.proto, l4_len));
    if (check == 0 && ip.proto == ORACLE_UDP)
        check = 0xffff; // RFC 768: zero means that there is none
    oracle_put16(p + at, check);
}

bool oracle_segment(const uint8_t *p, size_t len, unsigned mss, oracle_emit *emit, void *ctx) {
    static _Thread_local uint8_t out[ORACLE_PACKET_MAX];
    struct oracle_ip ip;
    if (!oracle_parse(p, len, &ip) || mss == 0)
        return false;
    size_t headers = oracle_headers(p, &ip);
    if (headers == 0)
        return false;
    for (size_t done = 0, i = 0; i == 0 || headers + done < ip.len; i++) {
        size_t payload = ip.len - headers - done;
        bool last = payload <= mss;
        if (!last)
            payload = mss;
        memcpy(out, p, headers);
        memcpy(out + headers, p + headers + done, payload);
        size_t size = headers + payload;
        if (ip.version == 4) {
            oracle_put16(out + 2, (unsigned)size);
            oracle_put16(out + 4, (unsigned)((oracle_get16(p + 4) + i) % 65536));
            oracle_put16(out + 10, 0);
            oracle_put16(out + 10, 0xffffu - oracle_sum(out, (size_t)(out[0] % 16) * 4, 0));
        } else {
            oracle_put16(out + 4, (unsigned)(size - 40));
        }
        uint8_t *l4 = out + ip.l4;
        if (ip.proto == ORACLE_TCP) {
            oracle_put32(l4 + 4, oracle_get32(l4 + 4) + (uint32_t)done);
            if (!last)
                l4[13] &= (uint8_t)~(ORACLE_FIN + ORACLE_PSH);
            if (i > 0)
                l4[13] &= (uint8_t)~ORACLE_CWR;
        } else {
            oracle_put16(l4 + 4, (unsigned)(8 + payload));
        }
        oracle_complete(out, size);
        emit(ctx, out, size);
        done += payload;
    }
    return true;
}

static const char *contradiction(const struct ky_vnet *v, const uint8_t *p, size_t len,
                                 const struct oracle_ip *ip) {
    unsigned type = v->gso_type & ~KY_VNET_GSO_ECN;
    size_t headers = oracle_headers(p, ip);
    if (len != ip->len)
        return "the write is not as long as its packet";
    if ((v->flags & ~KY_VNET_NEEDS_CSUM) != 0)
        return "unknown flags";
    if (v->flags == 0)
        return type == 0 ? NULL : "segmentation without NEEDS_CSUM";
    if (oracle_check_at(p, ip) == 0)
        return "NEEDS_CSUM for a packet without checksum";
    if (v->csum_start != ip->l4 || v->csum_start + v->csum_offset != oracle_check_at(p, ip))
        return "csum_start or csum_offset is not where the checksum is";
    if (!oracle_is_partial(p, ip))
        return "NEEDS_CSUM, but the field does not hold the pseudo-header's sum";
    if (type == 0)
        return v->gso_size == 0 ? NULL : "gso_size without gso_type";
    if (v->gso_size == 0)
        return "gso_type without gso_size";
    if (ip->proto == ORACLE_UDP
            ? type != KY_VNET_GSO_UDP_L4
            : type != (ip->version == 4 ? KY_VNET_GSO_TCPV4 : KY_VNET_GSO_TCPV6))
        return "gso_type of another protocol";
    if (headers != 0 && v->hdr_len != headers)
        return "hdr_len is not the length of the headers";
    return NULL;
}

bool oracle_unfold(const struct ky_vnet *v, const uint8_t *p, size_t len, oracle_emit *emit,
                   void *ctx, const char **why) {
    static _Thread_local uint8_t out[ORACLE_PACKET_MAX];
    struct oracle_ip ip;
    *why = "not an IP packet";
    if (!oracle_parse(p, len, &ip) || (*why = contradiction(v, p, len, &ip)) != NULL)
        return false;
    if (v->gso_type != 0 && oracle_headers(p, &ip) != 0)
        return oracle_segment(p, len, v->gso_size, emit, ctx);
    memcpy(out, p, len);
    if (v->flags & KY_VNET_NEEDS_CSUM)
        oracle_complete(out, len);
    emit(ctx, out, len);
    return true;
}
