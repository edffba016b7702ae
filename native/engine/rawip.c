#include "rawip.h"

#include <stdbool.h>

#include "bytes.h"
#include "checksum.h"

// Takes one from the TTL, unless that used it up. TTL and protocol are one word of the header's sum.
static bool hop(uint8_t *pkt) {
    if (pkt[8] <= 1)
        return false;
    uint16_t before = ky_load16(pkt + 8);
    pkt[8]--;
    ky_store16(pkt + 10, ky_checksum_replace(ky_load16(pkt + 10), before, ky_load16(pkt + 8)));
    return true;
}

enum ky_drop ky_rawip_send(uint8_t *pkt) {
    return hop(pkt) ? KY_DROP_NONE : KY_DROP_TX_TTL;
}

enum ky_drop ky_rawip_check(const uint8_t *p, size_t len, struct ky_inner *inner) {
    if (len < 20)
        return KY_DROP_RX_SHORT;
    if (p[0] >> 4 != 4)
        return KY_DROP_RX_NOT_IPV4;
    if (ky_inner_parse(p, len, inner) != 0 || inner->len != len)
        return KY_DROP_RX_INNER_MALFORMED;
    return KY_DROP_NONE;
}

enum ky_drop ky_rawip_deliver(uint8_t *pkt) {
    return hop(pkt) ? KY_DROP_NONE : KY_DROP_RX_TTL;
}
