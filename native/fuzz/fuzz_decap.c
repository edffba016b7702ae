// Datagrams and trains of any content from any source, up to the writes to the TUN.
//
// Input: options | datagrams, each: length in 2 bytes, UDP_GRO in 2 bytes, TOS, options, bytes
#include "../engine/decap.h"

#include <errno.h>

#include "../test/oracle.h"
#include "fuzz.h"
#include "packets.h"

enum { INPUT_MAX = 8192, HEADER = 6, VNI = 7, FRAMES_MAX = 300 };

// Of the input and of a datagram.
enum {
    NO_TCP = 1,
    NO_UDP = 2,
    ANY_SOURCE = 4,
    ANY_INNER = 8,
    REFUSE_SUPER = 16,
    REFUSE_ALL = 32,
    RAWIP = 64,
};
enum { REPAIR = 3, FROM = 12, TRUNCATED = 16, REPAIR_VXLAN = 32, FLUSH = 64, UNVERIFIED = 128 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};

static struct ky_gro gro;
static struct ky_decap decap;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[4];
static struct ky_peers *peers;
static const uint8_t *begin_of_input, *end_of_input;
static uint8_t refuse;
static uint64_t packets_out;

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
    const uint8_t *first = iov[1].iov_base; // the IP header lies in one piece
    unsigned version = first[0] >> 4;
    FUZZ_CHECK(version == 4 || version == 6);
    FUZZ_CHECK(len == (version == 4 ? oracle_get16(first + 2) : 40 + oracle_get16(first + 4)));
    FUZZ_CHECK(vnet.flags <= KY_VNET_NEEDS_CSUM && (vnet.gso_type == 0) == (vnet.gso_size == 0));
    FUZZ_CHECK(vnet.gso_type == 0 || vnet.flags == KY_VNET_NEEDS_CSUM);
    FUZZ_CHECK(vnet.flags == 0 || vnet.csum_start + vnet.csum_offset + 2u <= len);
    FUZZ_CHECK(vnet.gso_type == 0 || vnet.hdr_len < len);
    if ((refuse & REFUSE_ALL) != 0 || ((refuse & REFUSE_SUPER) != 0 && vnet.gso_type != 0))
        return refuse & REFUSE_ALL ? -EIO : -EINVAL;
    if (n > 2)
        packets_out += (uint64_t)n - 2;
    else if (vnet.gso_size == 0)
        packets_out++;
    else // a superpacket that came whole
        packets_out += (len - vnet.hdr_len + vnet.gso_size - 1) / vnet.gso_size;
    return 0;
}

static void init(void) {
    static const uint8_t inner4[4] = {10, 1, 0, 0}, inner6[16] = {0xfd, 1}, b4[4] = {10, 3, 0, 0};
    static const uint8_t a[4] = {192, 0, 2, 1}, b[4] = {192, 0, 2, 3};
    static const uint8_t us4[4] = {10, 2, 0, 0}, us6[16] = {0xfd, 2};
    static const uint32_t slots[] = {0, 1, 2};
    struct ky_peer_spec specs[] = {
        {.prefix = ky_ip4(inner4), .outer = ky_ip4(a), .bits = KY_V4_BITS + 16},
        {.prefix = ky_ip6(inner6), .outer = ky_ip4(a), .bits = 16},
        {.prefix = ky_ip4(b4), .outer = ky_ip4(b), .bits = KY_V4_BITS + 24}};
    struct ky_prefix locals[] = {{ky_ip4(us4), KY_V4_BITS + 16}, {ky_ip6(us6), 16}};
    struct ky_peers_spec spec = {
        .peers = specs, .slots = slots, .count = 3, .locals = locals, .local_count = 2, .vni = VNI};
    size_t duplicate;
    FUZZ_CHECK(ky_peers_build(&spec, &peers, &duplicate) == 0);
    decap = (struct ky_decap){
        .vni = VNI, .mtu = 150, .counters = &counters, .peer_counters = peer_counters};
    memcpy(decap.mac, our_mac, 6);
    gro.write = take;
    gro.counters = &counters;
}

// Headers and checksums of the frames, as asked for; the rest is the fuzzer's.
static void repair(uint8_t *p, size_t len, size_t frame, uint8_t options) {
    uint32_t header = ky_wire_header(decap.wire);
    for (size_t at = 0; at + header < len; at += frame) {
        size_t size = len - at < frame ? len - at : frame;
        if (size <= header)
            return;
        if ((options & REPAIR_VXLAN) != 0 && header != 0) {
            ky_vxlan_template(p + at, VNI, our_mac, peer_mac);
            ky_vxlan_set_version(p + at, p[at + KY_ENCAP_LEN] >> 4);
        }
        packets_repair(p + at + header, size - header, (enum packets_repair)(options & REPAIR) % 3);
    }
}

static uint64_t dropped_by_decap(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        if (i != KY_DROP_RX_TUN_DOWN && i != KY_DROP_RX_TUN_ERROR)
            sum += ky_get(&counters.drops[i]);
    return sum;
}

static void receive(const uint8_t *header, uint8_t *bytes, size_t len) {
    static const uint8_t sources[4][4] = {
        {192, 0, 2, 1}, {192, 0, 2, 3}, {192, 0, 2, 9}, {10, 0, 0, 1}};
    uint16_t size = (uint16_t)oracle_get16(header + 2);
    uint8_t options = header[5];
    struct ky_datagram d = {.buf = bytes,
                            .len = (uint32_t)len,
                            .gro = size,
                            .tos = header[4],
                            .truncated = (options & TRUNCATED) != 0,
                            .from = ky_ip4(sources[(options & FROM) / 4]),
                            .unverified = size == 0 && (options & UNVERIFIED) != 0 &&
                                          decap.wire == KY_WIRE_VXLAN, // by the ring only
                            .outer_sum = (uint16_t)(header[4] << 8)};
    if (size != 0 && len / size > FRAMES_MAX)
        return; // only slow
    repair(bytes, len, size != 0 ? size : len, options);
    uint64_t before = dropped_by_decap() + ky_get(&counters.rx_packets);
    uint64_t whole = ky_get(&counters.rx_superpackets);
    ky_decap_datagram(&decap, peers, &d, &gro);
    uint64_t frames = dropped_by_decap() + ky_get(&counters.rx_packets) - before;
    whole = ky_get(&counters.rx_superpackets) - whole;
    FUZZ_CHECK(whole == 0 || decap.wire == KY_WIRE_VXLAN);
    FUZZ_CHECK(frames == 1 || (whole == 1 && frames <= len) ||
               (size != 0 && frames == (len + size - 1) / size));
    if (options & FLUSH)
        ky_gro_flush(&gro);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (peers == NULL)
        init();
    if (size < 1 || size > INPUT_MAX)
        return 0;
    uint8_t *p = fuzz_exact(data, size);
    memset(&counters, 0, sizeof counters);
    begin_of_input = p;
    end_of_input = p + size;
    packets_out = 0;
    refuse = p[0];
    gro.tcp = (p[0] & NO_TCP) == 0;
    gro.udp = (p[0] & NO_UDP) == 0;
    decap.allow_unknown_sources = (p[0] & ANY_SOURCE) != 0;
    decap.no_inner_source_check = (p[0] & ANY_INNER) != 0;
    decap.wire = p[0] & RAWIP ? KY_WIRE_RAWIP : KY_WIRE_VXLAN;
    for (size_t at = 1; at + HEADER <= size;) {
        size_t len = oracle_get16(p + at), left = size - at - HEADER;
        len = len < left ? len : left;
        receive(p + at, p + at + HEADER, len);
        at += HEADER + len;
    }
    ky_gro_flush(&gro);
    uint64_t refused = ky_get(&counters.drops[KY_DROP_RX_TUN_ERROR]) +
                       ky_get(&counters.drops[KY_DROP_RX_TUN_DOWN]);
    FUZZ_CHECK(packets_out + refused == ky_get(&counters.rx_packets));
    FUZZ_CHECK(refused == 0 || (refuse & (REFUSE_SUPER | REFUSE_ALL)) != 0);
    return 0;
}

static size_t put_frame(uint8_t *out, const uint8_t *packet, size_t len, bool rawip) {
    if (rawip) {
        memcpy(out, packet, len);
        return len;
    }
    ky_vxlan_template(out, VNI, our_mac, peer_mac);
    ky_vxlan_set_version(out, packet[0] >> 4);
    memcpy(out + KY_ENCAP_LEN, packet, len);
    return KY_ENCAP_LEN + len;
}

// `frames` frames in one train, or one datagram each.
static void add_train_on(fuzz_add *add, bool rawip, unsigned kind, unsigned frames, bool train,
                         size_t payload, uint8_t tos, uint8_t options) {
    uint8_t input[INPUT_MAX], packet[PACKETS_MAX];
    size_t at = 1, len = packets_make(kind, payload, packet);
    size_t frame = len + (rawip ? 0 : KY_ENCAP_LEN);
    input[0] = rawip ? RAWIP : 0;
    for (unsigned i = 0; i < frames; i++) {
        if (!train || i == 0) {
            oracle_put16(input + at, (unsigned)(train ? frames * frame : frame));
            oracle_put16(input + at + 2, train ? (unsigned)frame : 0);
            input[at + 4] = tos;
            input[at + 5] = options;
            at += HEADER;
        }
        at += put_frame(input + at, packet, len, rawip);
        packets_advance(packet, len, (uint32_t)payload);
    }
    add(input, at);
}

static void add_train(fuzz_add *add, unsigned kind, unsigned frames, bool train, size_t payload,
                      uint8_t tos, uint8_t options) {
    add_train_on(add, false, kind, frames, train, payload, tos, options);
    add_train_on(add, true, kind, frames, train, payload, tos, options);
}

void fuzz_seeds(fuzz_add *add) {
    for (unsigned kind = 0; kind < PACKETS_KINDS; kind++) {
        add_train(add, kind, 4, true, 50, 0, REPAIR_VXLAN | PACKETS_COMPLETE);
        add_train(add, kind, 3, false, 50, 3, REPAIR_VXLAN | PACKETS_COMPLETE);
        add_train(add, kind, 1, false, 500, 2, PACKETS_PARTIAL); // larger than the MTU above
        add_train(add, kind, 2, false, 10, 0, 0);
    }
    uint8_t input[INPUT_MAX], packet[PACKETS_MAX];
    size_t len = packets_make(2, 500, packet); // a UDP superpacket
    oracle_put16(input + 1, (unsigned)(KY_ENCAP_LEN + len));
    oracle_put16(input + 3, 100);
    input[0] = input[5] = 0;
    input[6] = PACKETS_PARTIAL;
    put_frame(input + 7, packet, len, false);
    add(input, 7 + KY_ENCAP_LEN + len);
}
