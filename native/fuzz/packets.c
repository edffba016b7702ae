#include "packets.h"

#include <string.h>

#include "../test/oracle.h"

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };

size_t packets_make(unsigned kind, size_t payload, uint8_t out[PACKETS_MAX]) {
    static const uint8_t protos[] = {ORACLE_TCP, ORACLE_UDP, ORACLE_ICMP};
    unsigned version = kind % 2 ? 6 : 4;
    struct oracle_spec s = oracle_plain(version, protos[kind / 2 % 3], payload);
    if (version == 6 && s.proto == ORACLE_ICMP)
        s.proto = ORACLE_ICMP6;
    switch (kind / 6) {
    case 0:
        s.tcp_options = 12, s.tcp_option_value = 1;
        break;
    case 1:
        s.df = false, s.mf = true;
        s.extensions[0] = FRAGMENT, s.extension_count = 1;
        break;
    default:
        s.ip_options = 8;
        s.extensions[0] = HOP_BY_HOP, s.extensions[1] = ROUTING, s.extensions[2] = DESTINATION;
        s.extension_count = 3;
    }
    return oracle_build(out, &s);
}

void packets_advance(uint8_t *p, size_t len, uint32_t payload) {
    struct oracle_ip ip;
    if (!oracle_parse(p, len, &ip))
        return;
    if (ip.version == 4)
        oracle_put16(p + 4, (oracle_get16(p + 4) + 1) % 65536);
    if (ip.proto == ORACLE_TCP && oracle_check_at(p, &ip) != 0)
        oracle_put32(p + ip.l4 + 4, oracle_get32(p + ip.l4 + 4) + payload);
    packets_repair(p, len, PACKETS_COMPLETE);
}

void packets_repair(uint8_t *p, size_t len, enum packets_repair how) {
    struct oracle_ip ip;
    if (how == PACKETS_AS_IS || !oracle_parse(p, len, &ip))
        return;
    if (ip.version == 4) {
        oracle_put16(p + 10, 0);
        oracle_put16(p + 10, 0xffffu - oracle_sum(p, ip.l4, 0));
    }
    size_t at = oracle_check_at(p, &ip);
    if (at == 0)
        return;
    if (how == PACKETS_PARTIAL)
        oracle_put16(p + at, oracle_pseudo(&ip, ip.proto, ip.len - ip.l4));
    else
        oracle_complete(p, len);
}
