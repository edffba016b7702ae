// The decoder of inner packets, against the oracle's.
#include "../engine/inner.h"

#include "../test/oracle.h"
#include "fuzz.h"
#include "packets.h"

enum { NO_NEXT = 59, FOLLOWED = 8 };

static void compare(const struct ky_inner *in, const struct oracle_ip *ip) {
    FUZZ_CHECK(in->version == ip->version);
    FUZZ_CHECK(in->len == ip->len);
    FUZZ_CHECK(in->tos == ip->tos);
    FUZZ_CHECK(in->l4 <= in->len);
    // The decoder gives up after so many extension headers, and says so; the oracle never does.
    if (in->proto == NO_NEXT && ip->l4 >= 40 + 8 * FOLLOWED)
        return;
    FUZZ_CHECK(in->l4 == ip->l4);
    FUZZ_CHECK(in->proto == ip->proto);
    FUZZ_CHECK(in->fragment == ip->fragment);
    FUZZ_CHECK(in->extended == ip->extended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > PACKETS_MAX)
        return 0;
    const uint8_t *packet = fuzz_exact(data, size);
    struct ky_inner in;
    struct oracle_ip ip;
    int err = ky_inner_parse(packet, size, &in);
    FUZZ_CHECK((err == 0) == oracle_parse(packet, size, &ip));
    if (err != 0)
        return 0;
    compare(&in, &ip);
    (void)ky_inner_flow(packet, &in);
    (void)ky_pseudo(packet, &in, in.len - in.l4);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    uint8_t packet[PACKETS_MAX];
    for (unsigned kind = 0; kind < PACKETS_KINDS; kind++)
        add(packet, packets_make(kind, 8, packet));
}
