// Tries tunnel-GSO injection on an underlay of its own: a TUN without any offload, so that the kernel
// must segment what was injected and make every checksum; then looks at each packet that comes out.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "checksum.h"
#include "inject.h"
#include "probe.h"
#include "tun.h"

enum {
    MSS = 100,
    SEGMENTS = 3, // the last of half the size
    PAYLOAD = MSS * SEGMENTS - MSS / 2,
    HDR = 40, // IPv4 and TCP
    SUPER = HDR + PAYLOAD,
    OUTER = 20 + 8 + KY_ENCAP_LEN,
    SOURCE_PORT = 49152,
};

// TEST-NET-1 and TEST-NET-2, RFC 5737
static const uint8_t our_address[4] = {192, 0, 2, 1}, peer_address[4] = {192, 0, 2, 2};
static const uint8_t inner_src[4] = {198, 51, 100, 1}, inner_dst[4] = {198, 51, 100, 2};

static int set_address(int fd, const char *device, unsigned long request, uint32_t address) {
    struct ifreq ifr = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    memcpy(&ifr.ifr_addr, &in, sizeof in);
    return ioctl(fd, request, &ifr) < 0 ? -errno : 0;
}

static int configure(const char *device) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    ifr.ifr_flags = IFF_UP | IFF_NOARP;
    int err = set_address(fd, device, SIOCSIFADDR, ky_be32(our_address));
    if (err == 0)
        err = set_address(fd, device, SIOCSIFNETMASK, 0xffffff00);
    if (err == 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        err = -errno;
    close(fd);
    return err;
}

static void write_super(uint8_t *pkt) {
    memset(pkt, 0, SUPER);
    pkt[0] = 0x45;
    ky_put_be16(pkt + 2, SUPER);
    pkt[8] = 64;
    pkt[9] = IPPROTO_TCP;
    memcpy(pkt + 12, inner_src, 4);
    memcpy(pkt + 16, inner_dst, 4);
    ky_store16(pkt + 10, (uint16_t)~ky_fold(ky_sum(pkt, 20, 0)));
    pkt[20 + 12] = 5 << 4;
    pkt[20 + 13] = 0x10;
    for (unsigned i = 0; i < PAYLOAD; i++)
        pkt[HDR + i] = (uint8_t)(i * 7 + 1);
    struct ky_inner in = {.version = 4, .proto = IPPROTO_TCP};
    ky_store16(pkt + 20 + 16, ky_pseudo(pkt, &in, SUPER - 20));
}

static int send_super(struct ky_inject *inject) {
    static const uint8_t mac[6] = {2};
    struct ky_peer peer = {.outer = ky_ip4(peer_address),
                           .to.in = {.sin_family = AF_INET, .sin_port = htons(8472)}};
    ky_vxlan_template(peer.encap, 1, mac, mac);
    uint8_t memory[KY_INJECT_HEADROOM + SUPER], *pkt = memory + KY_INJECT_HEADROOM;
    write_super(pkt);
    struct ky_vnet vnet = {.flags = KY_VNET_NEEDS_CSUM,
                           .gso_type = KY_VNET_GSO_TCPV4,
                           .hdr_len = HDR,
                           .gso_size = MSS,
                           .csum_start = 20,
                           .csum_offset = 16};
    struct ky_inner in;
    if (ky_inner_parse(pkt, SUPER, &in) != 0)
        return -EINVAL;
    return ky_inject_send(inject, &peer, &in, &vnet, pkt, 0, 0);
}

static bool l4_valid(const uint8_t *pkt, const struct ky_inner *in) {
    uint32_t len = in->len - in->l4;
    return ky_fold(ky_sum(pkt + in->l4, len, ky_pseudo(pkt, in, len))) == 0xffff;
}

// Whether the packet read from the underlay is segment i, whole and with good checksums.
static bool is_segment(const uint8_t *pkt, size_t len, unsigned i) {
    struct ky_inner outer, inner;
    size_t payload = i + 1 < SEGMENTS ? MSS : MSS / 2;
    if (len != OUTER + HDR + payload || ky_inner_parse(pkt, len, &outer) != 0 ||
        ky_inner_parse(pkt + OUTER, len - OUTER, &inner) != 0)
        return false;
    return l4_valid(pkt, &outer) && l4_valid(pkt + OUTER, &inner) &&
           ky_be16(pkt + 20) == SOURCE_PORT && ky_be32(pkt + OUTER + 24) == i * MSS &&
           pkt[OUTER + HDR] == (uint8_t)(i * MSS * 7 + 1);
}

static bool segments_come_out(int fd) {
    struct ky_vnet vnet;
    uint8_t memory[sizeof vnet + 1024], *pkt = memory + sizeof vnet;
    for (unsigned i = 0; i < SEGMENTS;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 100) <= 0)
            return false;
        long n = ky_tun_read(fd, &vnet, pkt, 1024);
        if (n > 0 && pkt[0] >> 4 == 4 && pkt[9] == IPPROTO_UDP) { // not the device's own IPv6 noise
            if (!is_segment(pkt, (size_t)n, i))
                return false;
            i++;
        }
    }
    return true;
}

void ky_probe_inject(struct ky_feature_state *state) {
    static const char underlay[] = "kersey-probe-u", tap[] = "kersey-probe-i";
    static const uint16_t source_ports[1] = {SOURCE_PORT};
    struct ky_fault fault;
    struct ky_inject inject;
    const char *step = "underlay";
    int fd;
    state->on = false;
    int err = ky_tun_open(underlay, 1, 0, &fd, &fault);
    if (err != 0) {
        snprintf(state->reason, sizeof state->reason, "no TUN to try it on: %s",
                 strerrorname_np(-err));
        return;
    }
    err = configure(underlay);
    if (err == 0)
        err = ky_inject_open(&inject, tap, ky_ip4(our_address), &step);
    if (err == 0) {
        inject.source_ports = source_ports;
        step = "write";
        err = send_super(&inject);
        state->on = err == 0 && segments_come_out(fd);
        ky_inject_close(&inject);
    }
    if (err != 0)
        snprintf(state->reason, sizeof state->reason, "%s: %s", step, strerrorname_np(-err));
    else
        strcpy(state->reason,
               state->on ? "works" : "what was injected came out wrong, or not at all");
    close(fd);
}
