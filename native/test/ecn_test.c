// ECN across the tunnel: all combinations against Linux's include/net/inet_ecn.h.
#include "../engine/ecn.h"

#include "check.h"

enum { NOT_ECT, ECT_1, ECT_0, CE };

// INET_ECN_encapsulate with the tunnel's TOS 0: [inner] -> outer.
static const uint8_t outer_of[4] = {NOT_ECT, ECT_1, ECT_0, ECT_0};

// INET_ECN_decapsulate: [outer][inner] -> inner. Of not-ECT with ECT(0) or ECT(1) outside it only
// warns; test/interop/ecn.test.ts asks the running kernel.
static const int decap[4][4] = {
    [NOT_ECT] = {NOT_ECT, ECT_1, ECT_0, CE},
    [ECT_1] = {NOT_ECT, ECT_1, ECT_1, CE},
    [ECT_0] = {NOT_ECT, ECT_1, ECT_0, CE},
    [CE] = {KY_ECN_DROP, CE, CE, CE},
};

int main(void) {
    for (unsigned inner = 0; inner < 256; inner++) {
        check_case("inner TOS 0x%02x", inner);
        CHECK_EQ(ky_ecn_outer((uint8_t)inner), outer_of[inner & 3]); // DSCP is not carried outside
        for (unsigned outer = 0; outer < 256; outer++) {
            check_case("outer TOS 0x%02x, inner 0x%02x", outer, inner);
            int got = ky_ecn_decap((uint8_t)outer, (uint8_t)inner);
            CHECK_EQ(got, decap[outer & 3][inner & 3]);
        }
    }
    return check_report();
}
