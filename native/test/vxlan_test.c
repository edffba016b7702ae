// The VXLAN header as RFC 7348 5 draws it, and the frames that Linux's vxlan_rcv refuses.
#include "../engine/vxlan.h"

#include "check.h"
#include "oracle.h"
#include "random.h"

static const uint8_t our_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t peer_mac[6] = {0x06, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};

enum { VNI = 0x123456 };

// A good frame towards us, as a peer's template makes it.
static void good(uint8_t frame[KY_ENCAP_LEN], uint8_t version) {
    ky_vxlan_template(frame, VNI, our_mac, peer_mac);
    ky_vxlan_set_version(frame, version);
}

static enum ky_drop check(const uint8_t *frame, size_t len, uint8_t *version) {
    return ky_vxlan_check(frame, len, VNI, our_mac, version);
}

static void test_template(void) {
    uint8_t frame[KY_ENCAP_LEN];
    static const uint8_t want[KY_ENCAP_LEN] = {0x08, 0,    0,    0,    0x12, 0x34, 0x56, 0,
                                               0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x06, 0xaa,
                                               0xbb, 0xcc, 0xdd, 0xee, 0x08, 0x00};
    good(frame, 4);
    check_case("template");
    CHECK_MEM(frame, want, sizeof frame);
    good(frame, 6);
    CHECK_EQ(oracle_get16(frame + 20), 0x86dd);
    ky_vxlan_template(frame, KY_VNI_MAX, our_mac, peer_mac);
    CHECK_EQ(oracle_get32(frame + 4), 0xffffff00);
}

static void test_good(void) {
    uint8_t frame[KY_ENCAP_LEN], version = 0;
    for (uint8_t v = 4; v <= 6; v += 2) {
        good(frame, v);
        check_case("good IPv%u", v);
        CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_NONE);
        CHECK_EQ(version, v);
    }
}

static void test_reserved_bits(void) {
    unsigned reserved = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint8_t frame[KY_ENCAP_LEN], version;
        if (bit == 4 || (bit >= 32 && bit < 56)) // the I flag, the VNI
            continue;
        good(frame, 4);
        frame[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        check_case("reserved bit %u", bit);
        CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_FLAGS);
        reserved++;
    }
    CHECK_EQ(reserved, 39);
    uint8_t frame[KY_ENCAP_LEN], version;
    good(frame, 4);
    frame[0] = 0;
    check_case("no I flag");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_FLAGS);
}

static void test_vni(void) {
    for (unsigned bit = 32; bit < 56; bit++) {
        uint8_t frame[KY_ENCAP_LEN], version;
        good(frame, 4);
        frame[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        check_case("VNI bit %u", bit);
        CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_WRONG_VNI);
    }
    static const uint32_t edges[] = {0, 1, KY_VNI_MAX};
    for (unsigned i = 0; i < 3; i++) {
        uint8_t frame[KY_ENCAP_LEN], version;
        ky_vxlan_template(frame, edges[i], our_mac, peer_mac);
        ky_vxlan_set_version(frame, 6);
        check_case("VNI %u", edges[i]);
        CHECK_EQ(ky_vxlan_check(frame, sizeof frame, edges[i], our_mac, &version), KY_DROP_NONE);
    }
}

static void test_macs(void) {
    for (unsigned bit = 0; bit < 48; bit++) {
        uint8_t frame[KY_ENCAP_LEN], version;
        good(frame, 4);
        frame[8 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        check_case("destination MAC bit %u", bit);
        CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_INNER_MAC);
        good(frame, 4);
        frame[14 + bit / 8] ^= (uint8_t)(1 << bit % 8); // any source MAC but ours is a peer's
        check_case("source MAC bit %u", bit);
        CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_NONE);
    }
    uint8_t frame[KY_ENCAP_LEN], version;
    good(frame, 4);
    memset(frame + 8, 0xff, 6);
    check_case("broadcast");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_INNER_MAC);
    good(frame, 4);
    memcpy(frame + 14, our_mac, 6);
    check_case("loop");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_INNER_LOOP);
}

static void test_ethertypes(void) {
    for (unsigned type = 0; type < 65536; type++) {
        uint8_t frame[KY_ENCAP_LEN], version = 0;
        good(frame, 4);
        oracle_put16(frame + 20, type);
        check_case("EtherType 0x%04x", type);
        enum ky_drop got = check(frame, sizeof frame, &version);
        CHECK_EQ(got, type == 0x0800 || type == 0x86dd ? KY_DROP_NONE : KY_DROP_RX_INNER_TYPE);
        if (got == KY_DROP_NONE)
            CHECK_EQ(version, type == 0x0800 ? 4 : 6);
    }
}

static void test_lengths(void) {
    for (size_t len = 0; len <= KY_ENCAP_LEN; len++) {
        uint8_t frame[KY_ENCAP_LEN], version;
        good(frame, 4);
        uint8_t *exact = malloc(len + 1); // no byte to spare: an overread is the sanitizer's to see
        REQUIRE(exact != NULL);
        memcpy(exact + 1, frame, len);
        check_case("length %zu", len);
        CHECK_EQ(check(exact + 1, len, &version),
                 len < KY_ENCAP_LEN ? KY_DROP_RX_SHORT : KY_DROP_NONE);
        free(exact);
    }
}

// The first reason in the order of the list is the one that counts.
static void test_several_faults(void) {
    uint8_t frame[KY_ENCAP_LEN], version;
    memset(frame, 0xff, sizeof frame);
    check_case("all ones");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_FLAGS);
    good(frame, 4);
    frame[5] ^= 1, frame[8] ^= 1, frame[20] ^= 1;
    check_case("VNI, MAC and type");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_WRONG_VNI);
    good(frame, 4);
    frame[8] ^= 1, frame[20] ^= 1;
    check_case("MAC and type");
    CHECK_EQ(check(frame, sizeof frame, &version), KY_DROP_RX_INNER_MAC);
}

int main(void) {
    test_template();
    test_good();
    test_reserved_bits();
    test_vni();
    test_macs();
    test_ethertypes();
    test_lengths();
    test_several_faults();
    return check_report();
}
