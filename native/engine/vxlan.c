#include "vxlan.h"

#include <string.h>

#include "bytes.h"

static const uint32_t FLAG_I = 0x08000000; // RFC 7348 5: the only flag; all others are reserved

void ky_vxlan_template(uint8_t out[KY_ENCAP_LEN], uint32_t vni, const uint8_t dst_mac[6],
                       const uint8_t src_mac[6]) {
    ky_put_be32(out, FLAG_I);
    ky_put_be32(out + 4, vni << 8);
    memcpy(out + 8, dst_mac, 6);
    memcpy(out + 14, src_mac, 6);
    ky_put_be16(out + 20, 0);
}

enum ky_drop ky_vxlan_check(const uint8_t *p, size_t len, uint32_t vni, const uint8_t mac[6],
                            uint8_t *version) {
    if (len < KY_ENCAP_LEN)
        return KY_DROP_RX_SHORT;
    uint32_t vni_word = ky_be32(p + 4);
    if (ky_be32(p) != FLAG_I || (vni_word & 0xff) != 0)
        return KY_DROP_RX_FLAGS;
    if (vni_word >> 8 != vni)
        return KY_DROP_RX_WRONG_VNI;
    if (memcmp(p + 14, mac, 6) == 0)
        return KY_DROP_RX_INNER_LOOP;
    if (memcmp(p + 8, mac, 6) != 0)
        return KY_DROP_RX_INNER_MAC;
    switch (ky_be16(p + 20)) {
    case 0x0800:
        *version = 4;
        return KY_DROP_NONE;
    case 0x86dd:
        *version = 6;
        return KY_DROP_NONE;
    default:
        return KY_DROP_RX_INNER_TYPE;
    }
}
