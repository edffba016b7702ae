#include "traffic.h"

#include <errno.h>
#include <time.h>

#include "check.h"

enum { ARENA = 4 << 20 };

// Packets as bytes, one after the other.
static struct stream {
    uint8_t *bytes;
    size_t used;
    unsigned count;
} sent, got;

void traffic_begin(void) {
    sent.bytes = malloc(ARENA);
    got.bytes = malloc(ARENA);
    REQUIRE(sent.bytes != NULL && got.bytes != NULL);
    traffic_forget();
}

void traffic_end(void) {
    free(sent.bytes);
    free(got.bytes);
}

void traffic_forget(void) {
    sent.used = sent.count = 0;
    got.used = got.count = 0;
}

static void append(void *ctx, const uint8_t *p, size_t len) {
    struct stream *s = ctx;
    struct oracle_ip ip;
    REQUIRE(s->used + len + 4 <= ARENA);
    uint8_t *at = s->bytes + s->used;
    oracle_put32(at, (uint32_t)len);
    memcpy(at + 4, p, len);
    REQUIRE(oracle_parse(at + 4, len, &ip));
    CHECK(oracle_ip_sum_ok(at + 4));
    CHECK(oracle_l4_sum_ok(at + 4, &ip));
    if (ip.version == 4) { // DF: the identification means nothing
        oracle_put16(at + 8, 0);
        oracle_put16(at + 14, 0);
    }
    oracle_complete(at + 4, len);
    s->used += len + 4;
    s->count++;
}

struct ky_vnet traffic_offload(const struct oracle_spec *s, uint16_t mss) {
    bool tcp = s->proto == ORACLE_TCP;
    struct ky_vnet v = {.flags = KY_VNET_NEEDS_CSUM,
                        .csum_start = s->version == 4 ? 20 : 40,
                        .csum_offset = tcp ? 16 : 6};
    v.hdr_len = (uint16_t)(v.csum_start + (tcp ? 20 + s->tcp_options : 8));
    if (mss != 0) {
        v.gso_size = mss;
        v.gso_type = !tcp              ? KY_VNET_GSO_UDP_L4
                     : s->version == 4 ? KY_VNET_GSO_TCPV4
                                       : KY_VNET_GSO_TCPV6;
    }
    return v;
}

size_t traffic_build(uint8_t *out, const struct oracle_spec *spec, uint16_t mss,
                     struct ky_vnet *vnet) {
    struct oracle_spec s = *spec;
    const char *why;
    *vnet = (struct ky_vnet){0};
    if (mss != 0) {
        s.check = ORACLE_PARTIAL;
        *vnet = traffic_offload(&s, mss);
    }
    size_t len = oracle_build(out, &s);
    if (!oracle_unfold(vnet, out, len, append, &sent, &why))
        check_fail(__FILE__, __LINE__, "%s", why);
    return len;
}

void traffic_send(const struct host *from, const struct oracle_spec *spec, uint16_t mss) {
    static uint8_t packet[ORACLE_PACKET_MAX];
    struct ky_vnet v;
    size_t len = traffic_build(packet, spec, mss, &v);
    int err;
    while ((err = hosts_send(from, &v, packet, len)) == -ENOBUFS || err == -EAGAIN)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_EQ(err, 0);
}

bool traffic_receive(const struct host *at, int wait_ms, oracle_emit *emit, void *ctx) {
    static _Thread_local uint8_t packet[ORACLE_PACKET_MAX];
    struct ky_vnet v;
    struct oracle_ip ip;
    const char *why = "cut";
    long n = hosts_receive(at, wait_ms, &v, packet, sizeof packet);
    if (n <= 0)
        return false;
    v.flags &= KY_VNET_NEEDS_CSUM; // the kernel says more, e.g. that it verified
    if (v.flags == 0)
        v.csum_start = v.csum_offset = 0;
    if (v.gso_type != 0 && oracle_parse(packet, (size_t)n, &ip))
        v.hdr_len = (uint16_t)oracle_headers(packet, &ip);
    if (!oracle_unfold(&v, packet, (size_t)n, emit, ctx, &why))
        check_fail(__FILE__, __LINE__, "received: %s", why);
    return true;
}

void traffic_check(const struct host *at) {
    while (got.count < sent.count)
        if (!CHECK(traffic_receive(at, TRAFFIC_WAIT_MS, append, &got)))
            break;
    CHECK_EQ(got.count, sent.count);
    if (CHECK_EQ(got.used, sent.used))
        CHECK_MEM(got.bytes, sent.bytes, sent.used);
    traffic_forget();
}
