#include "probe_super.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "checksum.h"
#include "inner.h"
#include "tun.h"
#include "vxlan.h"

enum { OUTER = 20 + 8 + KY_ENCAP_LEN };

// TEST-NET-1 and TEST-NET-2, RFC 5737
const uint8_t ky_probe_address[4] = {192, 0, 2, 1}, ky_probe_peer[4] = {192, 0, 2, 2};
static const uint8_t inner_src[4] = {198, 51, 100, 1}, inner_dst[4] = {198, 51, 100, 2};

const struct ky_vnet ky_probe_vnet = {.flags = KY_VNET_NEEDS_CSUM,
                                      .gso_type = KY_VNET_GSO_TCPV4,
                                      .hdr_len = KY_PROBE_HDR,
                                      .gso_size = KY_PROBE_MSS,
                                      .csum_start = 20,
                                      .csum_offset = 16};

int ky_probe_set_up(const char *device) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    int err = ioctl(fd, SIOCGIFFLAGS, &ifr) < 0 ? -errno : 0;
    ifr.ifr_flags |= IFF_UP;
    if (err == 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        err = -errno;
    close(fd);
    return err;
}

static int set_address(int fd, const char *device, unsigned long request, uint32_t address) {
    struct ifreq ifr = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    memcpy(&ifr.ifr_addr, &in, sizeof in);
    return ioctl(fd, request, &ifr) < 0 ? -errno : 0;
}

int ky_probe_underlay(const char *device) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    ifr.ifr_flags = IFF_UP | IFF_NOARP;
    int err = set_address(fd, device, SIOCSIFADDR, ky_be32(ky_probe_address));
    if (err == 0)
        err = set_address(fd, device, SIOCSIFNETMASK, 0xffffff00);
    if (err == 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        err = -errno;
    close(fd);
    return err;
}

void ky_probe_write_super(uint8_t *pkt) {
    memset(pkt, 0, KY_PROBE_SUPER);
    pkt[0] = 0x45;
    ky_put_be16(pkt + 2, KY_PROBE_SUPER);
    pkt[8] = 64;
    pkt[9] = IPPROTO_TCP;
    memcpy(pkt + 12, inner_src, 4);
    memcpy(pkt + 16, inner_dst, 4);
    ky_store16(pkt + 10, (uint16_t)~ky_fold(ky_sum(pkt, 20, 0)));
    pkt[20 + 12] = 5 << 4;
    pkt[20 + 13] = 0x10;
    for (unsigned i = 0; i < KY_PROBE_PAYLOAD; i++)
        pkt[KY_PROBE_HDR + i] = (uint8_t)(i * 7 + 1);
    struct ky_inner in = {.version = 4, .proto = IPPROTO_TCP};
    ky_store16(pkt + 20 + 16, ky_pseudo(pkt, &in, KY_PROBE_SUPER - 20));
}

static bool l4_valid(const uint8_t *pkt, const struct ky_inner *in) {
    uint32_t len = in->len - in->l4;
    return ky_fold(ky_sum(pkt + in->l4, len, ky_pseudo(pkt, in, len))) == 0xffff;
}

// Whether the packet read from the underlay is segment i, whole and with good checksums.
static bool is_segment(const uint8_t *pkt, size_t len, unsigned i) {
    struct ky_inner outer, inner;
    size_t payload = i + 1 < KY_PROBE_SEGMENTS ? KY_PROBE_MSS : KY_PROBE_MSS / 2;
    if (len != OUTER + KY_PROBE_HDR + payload || ky_inner_parse(pkt, len, &outer) != 0 ||
        ky_inner_parse(pkt + OUTER, len - OUTER, &inner) != 0)
        return false;
    // Without a checksum the outer datagram is valid, too.
    bool valid = ky_load16(pkt + 26) == 0 || l4_valid(pkt, &outer);
    return valid && l4_valid(pkt + OUTER, &inner) && ky_be16(pkt + 20) == KY_PROBE_SOURCE_PORT &&
           ky_be32(pkt + OUTER + 24) == i * KY_PROBE_MSS &&
           pkt[OUTER + KY_PROBE_HDR] == (uint8_t)(i * KY_PROBE_MSS * 7 + 1);
}

bool ky_probe_segments_come_out(int fd) {
    struct ky_vnet vnet;
    uint8_t memory[sizeof vnet + 1024], *pkt = memory + sizeof vnet;
    for (unsigned i = 0; i < KY_PROBE_SEGMENTS;) {
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
