// One packet from the TUN, with any virtio_net_hdr before it: what leaves are whole frames of whole
// packets, in runs of the right shape or as an injected superpacket, and the counters agree.
//
// Input: options | wire | virtio_net_hdr, 10 bytes | packet
#include "../engine/encap.h"

#include <fcntl.h>

#include "../engine/rawip.h"
#include "../test/oracle.h"
#include "fuzz.h"
#include "packets.h"

enum { HEADER = 12, VNI = 7, SEGMENTS_MAX = 400 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

static struct ky_encap encap;
static struct ky_inject inject;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[2];
static struct ky_peers *everything, *subnets;
static struct {
    unsigned frames;
    uint64_t bytes;
} out;

static void take(void *ctx, const struct ky_run *runs, unsigned count) {
    (void)ctx;
    FUZZ_CHECK(count > 0 && count <= KY_RUNS);
    for (unsigned i = 0; i < count; i++) {
        const struct ky_run *run = &runs[i];
        unsigned frames = 0;
        FUZZ_CHECK(run->len > 0 && run->len <= KY_RUN_BYTES && run->port < encap.ports);
        for (uint32_t at = 0; at < run->len; at += run->frame, frames++) {
            uint32_t len = run->len - at < run->frame ? run->len - at : run->frame;
            const uint8_t *frame = run->buf + at;
            struct ky_inner in;
            uint8_t version;
            if (encap.wire == KY_WIRE_RAWIP) {
                FUZZ_CHECK(ky_rawip_check(frame, len, &in) == KY_DROP_NONE && frame[8] > 0);
                FUZZ_CHECK(run->tos == 0);
            } else {
                FUZZ_CHECK(ky_vxlan_check(frame, len, VNI, peer_mac, &version) == KY_DROP_NONE);
                FUZZ_CHECK(ky_inner_parse(frame + KY_ENCAP_LEN, len - KY_ENCAP_LEN, &in) == 0);
                FUZZ_CHECK(in.version == version && in.len == len - KY_ENCAP_LEN);
                FUZZ_CHECK(run->tos <= 2);
            }
            out.frames++;
            out.bytes += in.len;
        }
        FUZZ_CHECK(frames == run->count && frames <= encap.runs.frames_max);
    }
}

static void build(struct ky_peers **table, uint8_t bits4, uint8_t bits6) {
    static const uint8_t inner4[4] = {10, 2, 0, 0}, inner6[16] = {0xfd, 2},
                         outer[4] = {192, 0, 2, 2};
    static const uint32_t slots[] = {0, 1};
    struct ky_peer_spec peers[] = {
        {.prefix = ky_ip4(inner4), .outer = ky_ip4(outer), .bits = (uint8_t)(KY_V4_BITS + bits4)},
        {.prefix = ky_ip6(inner6), .outer = ky_ip4(outer), .bits = bits6}};
    memcpy(peers[0].mac, peer_mac, 6);
    memcpy(peers[1].mac, peer_mac, 6);
    struct ky_peers_spec spec = {.peers = peers, .slots = slots, .count = 2, .vni = VNI};
    memcpy(spec.mac, our_mac, 6);
    size_t duplicate;
    FUZZ_CHECK(ky_peers_build(&spec, table, &duplicate) == 0);
}

static void init(void) {
    static const uint8_t local[4] = {192, 0, 2, 1};
    static const uint16_t ports[16];
    inject = (struct ky_inject){.local = ky_ip4(local), .source_ports = ports};
    inject.tap_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    build(&everything, 0, 0);
    build(&subnets, 24, 64);
    FUZZ_CHECK(ky_runs_init(&encap.runs, 64, take, NULL) == 0);
    encap.counters = &counters;
    encap.peer_counters = peer_counters;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t mtus[] = {68, 600, 1450, 65535};
    static const uint16_t limits[] = {1, 63, 64, 128};
    if (encap.counters == NULL)
        init();
    if (size < HEADER || size > PACKETS_MAX)
        return 0;
    struct ky_vnet vnet;
    struct ky_inner in;
    memcpy(&vnet, data + 2, sizeof vnet);
    if (vnet.gso_size != 0 && size / vnet.gso_size > SEGMENTS_MAX)
        return 0; // only slow: segments of few bytes are met with smaller packets
    size -= HEADER;
    uint8_t *packet = fuzz_exact(data + HEADER, size);
    memset(&counters, 0, sizeof counters);
    out.frames = 0, out.bytes = 0;
    encap.mtu = mtus[data[0] & 3];
    encap.runs.frames_max = limits[data[0] >> 2 & 3];
    encap.ports = data[0] & 0x20 ? 16 : 1;
    encap.wire = data[1] & 1 ? KY_WIRE_RAWIP : KY_WIRE_VXLAN;
    encap.inject = data[0] & 0x80 && encap.wire == KY_WIRE_VXLAN ? &inject : NULL;
    if (data[0] & 0x40)
        packets_repair(packet, size, PACKETS_PARTIAL);
    enum ky_drop reason =
        ky_encap_packet(&encap, data[0] & 0x10 ? subnets : everything, &vnet, packet, size, &in);
    ky_runs_flush(&encap.runs);
    bool injected = ky_get(&counters.tx_injected) > 0;
    FUZZ_CHECK((reason == KY_DROP_NONE) == (injected || out.frames > 0));
    FUZZ_CHECK(!injected || (out.frames == 0 && ky_get(&counters.tx_packets) > 1));
    FUZZ_CHECK(injected || ky_get(&counters.tx_packets) == out.frames);
    FUZZ_CHECK(injected || ky_get(&counters.tx_bytes) == out.bytes);
    FUZZ_CHECK(reason == KY_DROP_TX_NOT_IP || in.len <= size);
    return 0;
}

// The same on either wire.
static void add_superpacket(fuzz_add *add, unsigned kind, uint8_t options, uint16_t mss) {
    uint8_t input[PACKETS_MAX], packet[PACKETS_MAX];
    size_t len = packets_make(kind, mss == 0 ? 100 : 1000, packet);
    struct oracle_ip ip;
    struct ky_vnet vnet = {0};
    FUZZ_CHECK(oracle_parse(packet, len, &ip));
    bool tcp = ip.proto == ORACLE_TCP;
    if (options & 0x40)
        vnet = (struct ky_vnet){.flags = KY_VNET_NEEDS_CSUM,
                                .gso_size = mss,
                                .csum_start = (uint16_t)ip.l4,
                                .csum_offset = tcp ? 16 : 6};
    if (mss != 0)
        vnet.gso_type = !tcp              ? KY_VNET_GSO_UDP_L4
                        : ip.version == 4 ? KY_VNET_GSO_TCPV4
                                          : KY_VNET_GSO_TCPV6;
    input[0] = options;
    memcpy(input + 2, &vnet, sizeof vnet);
    memcpy(input + HEADER, packet, len);
    for (input[1] = 0; input[1] < 2; input[1]++)
        add(input, HEADER + len);
}

void fuzz_seeds(fuzz_add *add) {
    for (unsigned kind = 0; kind < PACKETS_KINDS; kind++) {
        add_superpacket(add, kind, 0x2a, 0);
        add_superpacket(add, kind, 0x6e, 0);
        add_superpacket(add, kind, 0x6a, 300);
        add_superpacket(add, kind, 0xea, 300);
        add_superpacket(add, kind, 0x72, 1);
    }
}
