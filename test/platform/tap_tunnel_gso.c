// Tunnel GSO (Linux 6.17): a TAP with a vnet header of 24 bytes takes a whole inner superpacket behind its
// outer and VXLAN headers in one write, and it crosses a veth as one packet, inner checksum partial, like
// those of kernel vxlan. A TUN refuses the same with EINVAL, so the probe on a TAP is the one that counts.
#include <linux/if_ether.h>
#include <net/if_arp.h>

#include "platform.h"

enum { ETH = 14, PAYLOAD = 30000, MSS = 1398, GSO_TUNNEL4 = 0x20, UDP_TUNNEL_CSUM = 8 };
enum {
    INNER_IP = ETH + 20 + 8 + 8 + ETH,
    INNER_TCP = INNER_IP + 20,
    FRAME = INNER_TCP + 20 + PAYLOAD
};

// virtio_net_hdr_v1_hash_tunnel, offsets from the Ethernet header.
struct tunnel_vnet {
    struct vnet v;
    uint16_t num_buffers, hash[4], outer_th_offset, inner_nh_offset;
};
_Static_assert(sizeof(struct tunnel_vnet) == 24, "the size that turns tunnel GSO on");

static uint8_t frame[FRAME];

static void build(const uint8_t *tap_mac) {
    memcpy(frame, tap_mac, 6);
    put16(frame + 12, ETH_P_IP);
    // From an address that is not ours: the packet is routed, not sent.
    put_ipv4(frame + ETH, FRAME - ETH, IPPROTO_UDP, "198.51.100.1", "192.0.2.2");
    uint8_t *udp = frame + ETH + 20, *inner = frame + INNER_IP, *tcp = frame + INNER_TCP;
    put16(udp, 40000);
    put16(udp + 2, 8472);
    put16(udp + 4, FRAME - ETH - 20);
    put16(udp + 6, pseudo4(frame + ETH, FRAME - ETH - 20));
    udp[8] = 0x08; // VXLAN: the I flag
    udp[14] = 1;   // VNI 1
    memset(udp + 16, 2, 12);
    put16(udp + 28, ETH_P_IP);
    put_ipv4(inner, FRAME - INNER_IP, IPPROTO_TCP, "10.0.1.0", "10.0.2.0");
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    put16(tcp + 16, pseudo4(inner, FRAME - INNER_TCP));
    fill(tcp + 20, PAYLOAD);
}

// Without its first `skip` bytes: ETH for a TUN, which takes IP packets.
static ssize_t write_frame(int fd, uint16_t skip) {
    struct tunnel_vnet h = {.v = {.flags = NEEDS_CSUM | UDP_TUNNEL_CSUM,
                                  .gso_type = GSO_TCPV4 | GSO_TUNNEL4,
                                  .hdr_len = (uint16_t)(INNER_TCP + 20 - skip),
                                  .gso_size = MSS,
                                  .csum_start = (uint16_t)(INNER_TCP - skip),
                                  .csum_offset = 16},
                            .outer_th_offset = (uint16_t)(ETH + 20 - skip),
                            .inner_nh_offset = (uint16_t)(INNER_IP - skip)};
    struct iovec iov[2] = {{&h, sizeof h}, {frame + skip, sizeof frame - skip}};
    return writev(fd, iov, 2);
}

static int open_device(const char *name, int kind) {
    int fd = tun_open(name, kind | IFF_NO_PI | IFF_VNET_HDR), size = sizeof(struct tunnel_vnet);
    NEED(ioctl(fd, TUNSETVNETHDRSZ, &size) == 0);
    set_up(name);
    return fd;
}

int main(void) {
    int udp = receiver_behind_veth();
    int tap = open_device("tap0", IFF_TAP), tun = open_device("tun0", IFF_TUN);
    // CSUM, TSO4, UDP_TUNNEL_GSO, UDP_TUNNEL_GSO_CSUM
    if (ioctl(tap, TUNSETOFFLOAD, 0x1 | 0x2 | 0x80 | 0x100UL) != 0)
        SKIP("this kernel has no tunnel GSO: TUNSETOFFLOAD: %s", strerror(errno));
    if (system("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 "
               "net.ipv4.conf.tap0.rp_filter=0") != 0)
        SKIP("sysctl");
    // The neighbour must be known: a forwarded packet that waits for ARP would do as well, but later.
    if (system("ping -q -c 1 192.0.2.2 > /dev/null") != 0)
        SKIP("ping");
    struct ifreq ifr = {.ifr_name = "tap0"};
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(any >= 0 && ioctl(any, SIOCGIFHWADDR, &ifr) == 0);
    build((const uint8_t *)ifr.ifr_hwaddr.sa_data);
    if (write_frame(tap, 0) != (ssize_t)(sizeof(struct tunnel_vnet) + FRAME))
        FAIL("the TAP refuses it: %s", strerror(errno));
    static uint8_t got[65536];
    int gro;
    ssize_t n = receive(udp, got, sizeof got, &gro);
    if (n != FRAME - ETH - 28)
        FAIL("%d bytes arrived as %zd", FRAME - ETH - 28, n);
    if (gro != 0 || memcmp(got, frame + ETH + 28, (size_t)n) != 0)
        FAIL("it was changed on the way");
    if (write_frame(tun, ETH) >= 0 || errno != EINVAL)
        FAIL("a TUN does not refuse it with EINVAL");
    SO("a superpacket of %d bytes crosses in one piece; a TUN refuses it", FRAME);
}
