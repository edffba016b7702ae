// ECN across the tunnel (RFC 6040), as Linux's include/net/inet_ecn.h does it.
#ifndef KY_ECN_H
#define KY_ECN_H

#include <stdint.h>

enum { KY_ECN_MASK = 3, KY_NOT_ECT = 0, KY_ECT_1 = 1, KY_ECT_0 = 2, KY_CE = 3 };

// The outer TOS for an inner one when the tunnel's own TOS is 0: the ECN field, with CE sent as
// ECT(0) (INET_ECN_encapsulate: congestion met before the tunnel is not congestion in it).
static inline uint8_t ky_ecn_outer(uint8_t inner_tos) {
    uint8_t ecn = inner_tos & KY_ECN_MASK;
    return ecn == KY_CE ? KY_ECT_0 : ecn;
}

enum { KY_ECN_DROP = -1 };

// The inner ECN field after the tunnel, given both, or KY_ECN_DROP (INET_ECN_decapsulate of Linux
// 6.18; RFC 6040 figure 4): congestion met in the tunnel is handed on, and so is ECT(1).
static inline int ky_ecn_decap(uint8_t outer_tos, uint8_t inner_tos) {
    uint8_t outer = outer_tos & KY_ECN_MASK, inner = inner_tos & KY_ECN_MASK;
    if (outer == KY_CE)
        return inner == KY_NOT_ECT ? KY_ECN_DROP : KY_CE;
    return outer == KY_ECT_1 && inner == KY_ECT_0 ? KY_ECT_1 : inner;
}

#endif
