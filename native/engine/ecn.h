// ECN across the tunnel (RFC 6040), as Linux's include/net/inet_ecn.h does it.
#ifndef KY_ECN_H
#define KY_ECN_H

#include <stdbool.h>
#include <stdint.h>

enum { KY_ECN_MASK = 3, KY_NOT_ECT = 0, KY_ECT_1 = 1, KY_ECT_0 = 2, KY_CE = 3 };

// The outer TOS for an inner one when the tunnel's own TOS is 0: the ECN field, with CE sent as
// ECT(0) (INET_ECN_encapsulate: congestion met before the tunnel is not congestion in it).
static inline uint8_t ky_ecn_outer(uint8_t inner_tos) {
    uint8_t ecn = inner_tos & KY_ECN_MASK;
    return ecn == KY_CE ? KY_ECT_0 : ecn;
}

enum ky_ecn { KY_ECN_KEEP, KY_ECN_SET_CE, KY_ECN_DROP };

// What to do with an inner packet, given both fields (INET_ECN_decapsulate).
static inline enum ky_ecn ky_ecn_decap(uint8_t outer_tos, uint8_t inner_tos) {
    if ((outer_tos & KY_ECN_MASK) != KY_CE)
        return KY_ECN_KEEP;
    switch (inner_tos & KY_ECN_MASK) {
    case KY_NOT_ECT:
        return KY_ECN_DROP;
    case KY_CE:
        return KY_ECN_KEEP;
    default:
        return KY_ECN_SET_CE;
    }
}

#endif
