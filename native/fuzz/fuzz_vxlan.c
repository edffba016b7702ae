// The check of the VXLAN header, against its rules one by one.
#include "../engine/vxlan.h"

#include "fuzz.h"

enum { VNI = 0x123456 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};

static enum ky_drop expected(const uint8_t *p, size_t size) {
    if (size < 22)
        return KY_DROP_RX_SHORT;
    if (p[0] != 8 || p[1] != 0 || p[2] != 0 || p[3] != 0 || p[7] != 0)
        return KY_DROP_RX_FLAGS;
    if (p[4] != 0x12 || p[5] != 0x34 || p[6] != 0x56)
        return KY_DROP_RX_WRONG_VNI;
    if (memcmp(p + 14, our_mac, 6) == 0)
        return KY_DROP_RX_INNER_LOOP;
    if (memcmp(p + 8, our_mac, 6) != 0)
        return KY_DROP_RX_INNER_MAC;
    unsigned type = p[20] * 256u + p[21];
    return type == 0x0800 || type == 0x86dd ? KY_DROP_NONE : KY_DROP_RX_INNER_TYPE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 64)
        return 0;
    const uint8_t *frame = fuzz_exact(data, size);
    uint8_t version = 0;
    enum ky_drop got = ky_vxlan_check(frame, size, VNI, our_mac, &version);
    FUZZ_CHECK(got == expected(frame, size));
    FUZZ_CHECK(got != KY_DROP_NONE || version == (frame[20] == 0x08 ? 4 : 6));
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    uint8_t frame[KY_ENCAP_LEN];
    for (uint8_t version = 4; version <= 6; version += 2) {
        ky_vxlan_template(frame, VNI, our_mac, peer_mac);
        ky_vxlan_set_version(frame, version);
        add(frame, sizeof frame);
        add(frame, 8);
    }
    memcpy(frame + 14, our_mac, 6);
    add(frame, sizeof frame);
}
