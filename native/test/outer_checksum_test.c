// The outer UDP checksum of datagrams that did not come through the kernel's UDP: good ones are let in
// and wrong ones are not, whatever the inner packet says of itself. The sums are made here byte by byte.
#include <arpa/inet.h>

#include "../engine/decap.h"
#include "check.h"
#include "oracle.h"
#include "random.h"
#include "sink.h"

enum { VNI = 42, UDP_HDR = 8, FRAME_MAX = KY_ENCAP_LEN + ORACLE_PACKET_MAX };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t outer_src[4] = {192, 0, 2, 1}, outer_dst[4] = {192, 0, 2, 2};

static struct ky_decap decap;
static struct ky_counters counters;
static struct ky_peer_counters peer_counters[2];
static struct ky_gro gro;
static struct ky_peers *peers;
static struct sink *sink;
static uint8_t payload[ORACLE_PACKET_MAX];

static void build_peers(void) {
    static const uint8_t a4[4] = {10, 1, 0, 0}, a6[16] = {0xfd, 1}, us4[4] = {10, 2, 0, 0},
                         us6[16] = {0xfd, 2};
    static const uint32_t slots[] = {0, 1};
    struct ky_peer_spec specs[] = {
        {.prefix = ky_ip4(a4), .outer = ky_ip4(outer_src), .bits = KY_V4_BITS + 24},
        {.prefix = ky_ip6(a6), .outer = ky_ip4(outer_src), .bits = 64}};
    struct ky_prefix locals[] = {{ky_ip4(us4), KY_V4_BITS + 24}, {ky_ip6(us6), 64}};
    struct ky_peers_spec spec = {
        .peers = specs, .slots = slots, .count = 2, .locals = locals, .local_count = 2, .vni = VNI};
    size_t duplicate;
    REQUIRE(ky_peers_build(&spec, &peers, &duplicate) == 0);
}

static uint16_t add(const uint8_t *p, size_t len, uint32_t sum) {
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

// The datagram around a frame: RFC 768's sum of pseudo-header, UDP header and data.
static struct ky_datagram datagram(uint8_t *frame, size_t len, const uint8_t *summed) {
    uint8_t head[12 + UDP_HDR] = {0};
    memcpy(head, outer_src, 4);
    memcpy(head + 4, outer_dst, 4);
    head[9] = ORACLE_UDP;
    oracle_put16(head + 10, (unsigned)(UDP_HDR + len));
    oracle_put16(head + 12, 50000);
    oracle_put16(head + 14, 8472);
    oracle_put16(head + 16, (unsigned)(UDP_HDR + len));
    uint16_t check = (uint16_t)~add(summed, len, add(head, sizeof head, 0));
    oracle_put16(head + 18, check);
    return (struct ky_datagram){.buf = frame,
                                .len = (uint32_t)len,
                                .from = ky_ip4(outer_src),
                                .unverified = true,
                                .outer_sum = htons(add(head, sizeof head, 0))};
}

static bool let_in(struct ky_datagram d) {
    memset(&counters, 0, sizeof counters);
    memset(&gro, 0, sizeof gro);
    gro = (struct ky_gro){.write = sink_take, .ctx = sink, .counters = &counters};
    sink_clear(sink);
    ky_decap_datagram(&decap, peers, &d, &gro);
    ky_gro_flush(&gro);
    CHECK_EQ(ky_get(&counters.rx_packets) + ky_get(&counters.drops[KY_DROP_RX_CHECKSUM]), 1);
    return ky_get(&counters.rx_packets) == 1;
}

static size_t build(uint8_t *frame, const struct oracle_spec *s, enum oracle_check check) {
    struct oracle_spec with = *s;
    with.check = check;
    ky_vxlan_template(frame, VNI, our_mac, peer_mac);
    ky_vxlan_set_version(frame, (uint8_t)s->version);
    return KY_ENCAP_LEN + oracle_build(frame + KY_ENCAP_LEN, &with);
}

static void check_kind(unsigned version, uint8_t proto, size_t payload_len, const char *name) {
    static uint8_t frame[FRAME_MAX], other[FRAME_MAX];
    struct oracle_spec s = oracle_plain(version, proto, payload_len);
    s.payload = payload;
    bool has_check = proto == ORACLE_TCP || proto == ORACLE_UDP;

    check_case("%s over IPv%u, %zu bytes: a good checksum", name, version, payload_len);
    size_t len = build(frame, &s, ORACLE_COMPLETE);
    CHECK(let_in(datagram(frame, len, frame)));

    check_case("%s over IPv%u, %zu bytes: padding behind the packet", name, version, payload_len);
    memset(frame + len, 0xa5, 7);
    CHECK(let_in(datagram(frame, len + 7, frame)));

    check_case("%s over IPv%u, %zu bytes: a byte of the headers changed", name, version,
               payload_len);
    len = build(frame, &s, ORACLE_COMPLETE);
    memcpy(other, frame, len);
    other[KY_ENCAP_LEN + (version == 4 ? 4 : 3)] ^= 1; // identification, flow label
    CHECK(!let_in(datagram(frame, len, other)));

    if (has_check) {
        check_case("%s over IPv%u, %zu bytes: inner checksum to be filled in", name, version,
                   payload_len);
        // A device that segments writes the outer sum of what the inner packet will be.
        memcpy(other, frame, len);
        build(frame, &s, ORACLE_PARTIAL);
        CHECK(let_in(datagram(frame, len, other)));
    }
    if (payload_len > 0 && (!has_check || (proto == ORACLE_UDP && version == 4))) {
        check_case("%s over IPv%u, %zu bytes: no inner checksum, payload changed", name, version,
                   payload_len);
        build(frame, &s, ORACLE_NONE);
        memcpy(other, frame, len);
        other[len - 1] ^= 1;
        CHECK(let_in(datagram(frame, len, frame)));
        CHECK(!let_in(datagram(frame, len, other)));
    }
}

int main(void) {
    static const size_t lengths[] = {0, 1, 2, 63, 64, 65, 1000, 1389};
    struct random r = {.state = 2};
    random_fill(&r, payload, sizeof payload);
    sink = sink_new();
    decap = (struct ky_decap){
        .vni = VNI, .mtu = 1450, .counters = &counters, .peer_counters = peer_counters};
    memcpy(decap.mac, our_mac, 6);
    build_peers();
    for (unsigned version = 4; version <= 6; version += 2)
        for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            check_kind(version, ORACLE_TCP, lengths[i], "TCP");
            check_kind(version, ORACLE_UDP, lengths[i], "UDP");
            check_kind(version, 132, lengths[i], "SCTP");
        }
    ky_peers_free(peers);
    sink_free(sink);
    return check_report();
}
