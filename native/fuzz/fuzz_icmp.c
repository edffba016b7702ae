// ICMP errors about any packet: never too long, always well-formed.
//
// Input: kind | MTU, 4 bytes | packet
#include "../engine/icmp.h"

#include "../test/oracle.h"
#include "fuzz.h"
#include "packets.h"

enum { OPTIONS = 5 };

static void check_error(const uint8_t *error, size_t len, const uint8_t *packet,
                        const struct ky_inner *in) {
    struct oracle_ip ip;
    size_t header = in->version == 4 ? 20 : 40;
    FUZZ_CHECK(len > header + 8 && len <= (in->version == 4 ? 576 : 1280));
    FUZZ_CHECK(oracle_parse(error, len, &ip) && ip.len == len && ip.l4 == header);
    FUZZ_CHECK(ip.version == in->version && oracle_ip_sum_ok(error));
    size_t quoted = len - header - 8;
    FUZZ_CHECK(quoted <= in->len && memcmp(error + header + 8, packet, quoted) == 0);
    uint16_t pseudo = in->version == 4 ? 0 : oracle_pseudo(&ip, ORACLE_ICMP6, len - header);
    FUZZ_CHECK(oracle_sum(error + header, len - header, pseudo) == 0xffff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < OPTIONS || size > PACKETS_MAX)
        return 0;
    const uint8_t *packet = fuzz_exact(data + OPTIONS, size - OPTIONS);
    uint8_t error[KY_ICMP_MAX];
    struct ky_inner in;
    if (ky_inner_parse(packet, size - OPTIONS, &in) != 0)
        return 0;
    enum ky_icmp kind = (enum ky_icmp)(data[0] % (KY_ICMP_TIME_EXCEEDED + 1));
    size_t len = ky_icmp_build(error, kind, packet, &in, oracle_get32(data + 1));
    if (len != 0)
        check_error(error, len, packet, &in);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    uint8_t input[PACKETS_MAX] = {0, 0, 0, 5, 0xaa}, packet[PACKETS_MAX];
    for (unsigned kind = 0; kind < PACKETS_KINDS; kind++)
        for (unsigned large = 0; large < 2; large++) {
            size_t len = packets_make(kind, large ? 1300 : 8, packet);
            input[0] = (uint8_t)large;
            memcpy(input + OPTIONS, packet, len);
            add(input, OPTIONS + len);
        }
}
