// A sequence of packets into the coalescer: every write lies in the packets and the header copy, no
// byte is lost, and nothing is merged whose checksums were not good.
//
// Input: options | packets, each: options, length in 2 bytes, bytes
#include "../engine/gro.h"

#include <errno.h>

#include "../engine/bytes.h"
#include "../test/oracle.h"
#include "fuzz.h"
#include "packets.h"

enum { INPUT_MAX = 8192, REFUSE_SUPER = 4, REFUSE_ALL = 8 };

static struct ky_gro gro;
static struct ky_counters counters;
static const uint8_t *begin_of_input, *end_of_input;
static uint8_t refuse;
static uint64_t bytes_in, bytes_out, packets_out;
static uint64_t superpacket; // packets that the last one added stands for

static uint64_t packets_in(const struct ky_vnet *vnet, size_t len) {
    return vnet->gso_size == 0 ? 1 : (len - vnet->hdr_len + vnet->gso_size - 1) / vnet->gso_size;
}

static void check_merged(const uint8_t *packet, size_t len, bool partial) {
    struct oracle_ip ip;
    FUZZ_CHECK(oracle_parse(packet, len, &ip) && ip.len == len && !ip.fragment && !ip.extended);
    FUZZ_CHECK(oracle_ip_sum_ok(packet));
    FUZZ_CHECK(partial ? oracle_is_partial(packet, &ip) : oracle_l4_sum_ok(packet, &ip));
}

static int take(void *ctx, const struct iovec *iov, int n) {
    (void)ctx;
    struct ky_vnet vnet;
    size_t len = 0;
    FUZZ_CHECK(n >= 2 && n <= 2 + KY_GRO_SEGS && iov[0].iov_len == sizeof vnet);
    memcpy(&vnet, iov[0].iov_base, sizeof vnet);
    for (int i = 1; i < n; i++) {
        const uint8_t *p = iov[i].iov_base;
        bool header = n > 2 && i == 1;
        FUZZ_CHECK(header || (p >= begin_of_input && p + iov[i].iov_len <= end_of_input));
        fuzz_touch(p, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    FUZZ_CHECK(len <= 65535);
    FUZZ_CHECK(vnet.flags <= KY_VNET_NEEDS_CSUM && (vnet.gso_type == 0) == (vnet.gso_size == 0));
    FUZZ_CHECK(vnet.gso_type == 0 || vnet.flags == KY_VNET_NEEDS_CSUM);
    FUZZ_CHECK(vnet.flags == 0 || vnet.csum_start + vnet.csum_offset + 2u <= len);
    if ((refuse & REFUSE_ALL) != 0 || ((refuse & REFUSE_SUPER) != 0 && vnet.gso_type != 0))
        return refuse & REFUSE_ALL ? -EIO : -EINVAL;
    size_t header = n > 2 ? iov[1].iov_len : 0, segments = n > 2 ? (size_t)n - 2 : 1;
    for (int i = 2; i < n; i++) {
        const uint8_t *packet = (const uint8_t *)iov[i].iov_base - header;
        struct oracle_ip ip;
        FUZZ_CHECK(packet >= begin_of_input);
        FUZZ_CHECK(oracle_parse(packet, header + iov[i].iov_len, &ip));
        check_merged(packet, header + iov[i].iov_len, oracle_is_partial(packet, &ip));
        FUZZ_CHECK(i + 1 == n ? iov[i].iov_len <= vnet.gso_size : iov[i].iov_len == vnet.gso_size);
    }
    bytes_out += len + (segments - 1) * header;
    packets_out += n > 2 ? segments : packets_in(&vnet, len);
    return 0;
}

static void add_packet(uint8_t options, uint8_t *packet, size_t len) {
    struct ky_inner in;
    struct oracle_ip ip;
    struct ky_arrival how = {0};
    packets_repair(packet, len, (enum packets_repair)(options % 3));
    if (ky_inner_parse(packet, len, &in) != 0 || !oracle_parse(packet, len, &ip))
        return;
    uint8_t pseudo[2] = {0};
    if (oracle_check_at(packet, &ip) != 0)
        oracle_put16(pseudo, oracle_pseudo(&ip, ip.proto, ip.len - ip.l4));
    how.pseudo = ky_load16(pseudo);
    how.partial = oracle_is_partial(packet, &ip);
    if (how.partial && (options & 0x40) != 0)
        how.gso_size = (uint16_t)(options >> 2 & 15) + 1u;
    bytes_in += in.len;
    superpacket = 1;
    if (how.gso_size != 0) {
        size_t headers = in.l4 + (in.proto == 17 ? 8u : (packet[in.l4 + 12] >> 4) * 4u);
        superpacket = (in.len - headers + how.gso_size - 1) / how.gso_size;
    }
    ky_gro_add(&gro, packet, &in, how);
    if (options & 0x80)
        ky_gro_flush(&gro);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX)
        return 0;
    uint8_t *p = fuzz_exact(data, size);
    memset(&counters, 0, sizeof counters);
    begin_of_input = p;
    end_of_input = p + size;
    bytes_in = bytes_out = packets_out = 0;
    gro.write = take;
    gro.counters = &counters;
    gro.tcp = (p[0] & 1) == 0;
    gro.udp = (p[0] & 2) == 0;
    refuse = p[0];
    uint64_t all_in = 0;
    for (size_t at = 1; at + 3 <= size;) {
        size_t len = oracle_get16(p + at + 1), left = size - at - 3;
        uint64_t before = bytes_in;
        len = len < left ? len : left;
        add_packet(p[at], p + at + 3, len);
        all_in += bytes_in != before ? superpacket : 0;
        at += 3 + len;
    }
    ky_gro_flush(&gro);
    uint64_t dropped = ky_get(&counters.drops[KY_DROP_RX_TUN_ERROR]) +
                       ky_get(&counters.drops[KY_DROP_RX_TUN_DOWN]);
    FUZZ_CHECK(packets_out + dropped == all_in);
    FUZZ_CHECK(dropped == 0 ? bytes_out == bytes_in : refuse != 0);
    FUZZ_CHECK(gro.count == 0);
    return 0;
}

static void add_flow(fuzz_add *add, uint8_t options, unsigned kind, unsigned count, uint8_t each) {
    uint8_t input[INPUT_MAX], packet[PACKETS_MAX];
    size_t at = 1, len = packets_make(kind, 40, packet);
    input[0] = options;
    for (unsigned i = 0; i < count; i++) {
        input[at] = each;
        oracle_put16(input + at + 1, (unsigned)len);
        memcpy(input + at + 3, packet, len);
        at += 3 + len;
        packets_advance(packet, len, 40);
    }
    add(input, at);
}

void fuzz_seeds(fuzz_add *add) {
    for (unsigned kind = 0; kind < PACKETS_KINDS; kind++)
        for (uint8_t each = PACKETS_AS_IS; each <= PACKETS_PARTIAL; each++)
            add_flow(add, 0, kind, 4, each);
    add_flow(add, REFUSE_SUPER, 0, 4, PACKETS_COMPLETE);
    add_flow(add, REFUSE_ALL, 3, 4, PACKETS_PARTIAL);
    add_flow(add, 0, 0, 3, 0x40 | 9 << 2 | 2);
    add_flow(add, 0, 2, 70, PACKETS_COMPLETE);
}
