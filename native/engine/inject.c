#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf.h"
#include "bytes.h"
#include "checksum.h"
#include "tun.h"

enum {
    // include/uapi/linux/virtio_net.h and if_tun.h of Linux 6.17; newer than Debian 12's headers.
    VNET_UDP_TUNNEL_CSUM = 8,
    VNET_GSO_UDP_TUNNEL_IPV4 = 0x20,
    VNET_GSO_UDP_TUNNEL_IPV6 = 0x40,
    TUN_F_UDP_TUNNEL_GSO = 0x80,
    TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100,
    FIB_SKIP_NEIGH = 4,
    ETH_LEN = 14,
    UDP_LEN = 8,
};

// struct virtio_net_hdr_v1_hash_tunnel
struct tunnel_vnet {
    struct ky_vnet vnet;
    uint16_t num_buffers;
    uint16_t hash[4];
    uint16_t outer_th_offset;
    uint16_t inner_nh_offset;
};

_Static_assert(sizeof(struct tunnel_vnet) == 24, "virtio_net_hdr_v1_hash_tunnel");

// ---- the program ----

// struct bpf_fib_lookup on the stack, at r10 - 64.
enum {
    FIB = -64,
    FIB_FAMILY = FIB,
    FIB_PROTO = FIB + 1,
    FIB_SPORT = FIB + 2, // and dport
    FIB_TOT_LEN = FIB + 6,
    FIB_IFINDEX = FIB + 8,
    FIB_SRC = FIB + 16,
    FIB_DST = FIB + 32,
    KEY = FIB - 8,
};

enum { NO_ROUTE, DROP };

static int load_program(int map_fd, unsigned ifindex, bool v6) {
    int ip = ETH_LEN, sizes = v6 ? 16 : 4;
    int src = ip + (v6 ? 8 : 12), dst = src + sizes, ports = ip + (v6 ? 40 : 20);
    struct ky_bpf_program program = {0};
    KY_BPF_EMIT(&program, MOV_REG(6, 1));
    for (int at = KEY; at < FIB + 64; at += 8)
        KY_BPF_EMIT(&program, STORE(BPF_DW, 10, at, 0));
    KY_BPF_EMIT(&program, LOAD_BYTES(ports, FIB_SPORT, 4), // for the choice among equal-cost routes
                LOAD_BYTES(src, FIB_SRC, sizes), LOAD_BYTES(dst, FIB_DST, sizes),
                STORE(BPF_B, 10, FIB_FAMILY, v6 ? AF_INET6 : AF_INET),
                STORE(BPF_B, 10, FIB_PROTO, IPPROTO_UDP),
                STORE(BPF_W, 10, FIB_IFINDEX, (int)ifindex));
    KY_BPF_EMIT(&program, MOV_REG(1, 6), MOV_REG(2, 10), ALU(BPF_ADD, 2, FIB), MOV(3, 64),
                MOV(4, FIB_SKIP_NEIGH), CALL(BPF_FUNC_fib_lookup), JUMP(BPF_JNE, 0, 0, NO_ROUTE));
    // The next hop is known now, so bpf_redirect_neigh need not ask the routing table again: struct
    // bpf_redir_neigh is a family in 4 bytes, which lie before the next hop here.
    KY_BPF_EMIT(&program, LOAD(BPF_B, 1, 10, FIB_FAMILY), STORE_REG(BPF_W, 10, 1, FIB_DST - 4),
                LOAD(BPF_W, 1, 10, FIB_IFINDEX), MOV_REG(2, 10), ALU(BPF_ADD, 2, FIB_DST - 4),
                MOV(3, 20), MOV(4, 0), CALL(152 /* bpf_redirect_neigh */), EXIT);
    // Count and drop.
    KY_BPF_EMIT(&program, LABEL(NO_ROUTE), MAP(1, map_fd), MOV_REG(2, 10), ALU(BPF_ADD, 2, KEY),
                CALL(BPF_FUNC_map_lookup_elem), JUMP(BPF_JEQ, 0, 0, DROP), MOV(1, 1),
                ATOMIC(BPF_DW, BPF_ADD, 0, 1), LABEL(DROP), MOV(0, 2 /* TC_ACT_SHOT */), EXIT);
    // bpf_fib_lookup is for GPL-compatible programs. This one, the instructions above, is offered
    // under either licence: SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only.
    return ky_bpf_load(&program, BPF_PROG_TYPE_SCHED_CLS, "GPL");
}

uint64_t ky_inject_no_route(const struct ky_inject *in) {
    uint32_t key = 0;
    uint64_t value = 0;
    return ky_bpf_lookup(in->map_fd, &key, &value) == 0 ? value : 0;
}

// ---- the device ----

static int write_sysctl(const char *family, const char *device, const char *name,
                        const char *value) {
    char path[96];
    snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", family, device, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = write(fd, value, strlen(value)) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int set_up(const char *device) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    ifr.ifr_flags = IFF_UP | IFF_NOARP;
    int err = ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int open_tap(const char *name, int *out, const char **step) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    *step = "tap";
    if (fd < 0)
        return -errno;
    struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)};
    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    int size = sizeof(struct tunnel_vnet);
    int err = ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
    if (err == 0) {
        *step = "tunnel offload";
        unsigned bits = KY_TUN_F_CSUM | KY_TUN_F_TSO | KY_TUN_F_USO | TUN_F_UDP_TUNNEL_GSO |
                        TUN_F_UDP_TUNNEL_GSO_CSUM;
        if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
            ioctl(fd, TUNSETOFFLOAD, (unsigned long)bits) < 0)
            err = -errno;
    }
    if (err != 0) {
        close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

// The TAP only takes what we write; it needs no address and no discovery. For bpf_fib_lookup it has
// to count as a router's device, in the family of the underlay.
static int prepare(const char *name, bool v6, const char **step) {
    if (v6) {
        (void)write_sysctl("ipv6", name, "addr_gen_mode", "1"); // none
        (void)write_sysctl("ipv6", name, "accept_ra", "0");
        (void)write_sysctl("ipv6", name, "accept_dad", "0");
    } else {
        (void)write_sysctl("ipv6", name, "disable_ipv6", "1");
    }
    *step = "link up";
    int err = set_up(name);
    if (err != 0)
        return err;
    *step = "forwarding";
    return write_sysctl(v6 ? "ipv6" : "ipv4", name, "forwarding", "1");
}

int ky_inject_open(struct ky_inject *in, const char *name, struct ky_ip local, const char **step) {
    bool v6 = !ky_ip_is4(local);
    *in = (struct ky_inject){.tap_fd = -1, .map_fd = -1, .link_fd = -1, .local = local};
    int program = -1;
    int err = open_tap(name, &in->tap_fd, step);
    if (err == 0)
        err = prepare(name, v6, step);
    if (err == 0) {
        *step = "map";
        in->map_fd = ky_bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(uint64_t), 1, 0);
        err = in->map_fd < 0 ? in->map_fd : 0;
    }
    in->ifindex = if_nametoindex(name);
    if (err == 0) {
        *step = "program";
        program = load_program(in->map_fd, in->ifindex, v6);
        err = program < 0 ? program : 0;
    }
    if (err == 0) {
        *step = "attach";
        in->link_fd = ky_bpf_attach(program, in->ifindex, KY_TCX_INGRESS);
        err = in->link_fd < 0 ? in->link_fd : 0;
    }
    if (program >= 0)
        close(program); // the link holds it
    if (err != 0)
        ky_inject_close(in);
    return err;
}

void ky_inject_close(struct ky_inject *in) {
    int *fds[] = {&in->link_fd, &in->map_fd, &in->tap_fd};
    for (unsigned i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

// ---- sending ----

static uint16_t write_ip4(uint8_t *ip, const struct ky_inject *in, const struct ky_peer *peer,
                          uint32_t len, uint8_t tos) {
    uint32_t src = htonl(ky_ip_v4(in->local)), dst = htonl(ky_ip_v4(peer->outer));
    memset(ip, 0, 20); // DF unset, as kernel VXLAN's
    ip[0] = 0x45;
    ip[1] = tos;
    ky_put_be16(ip + 2, (uint16_t)(20 + len));
    ky_put_be16(ip + 4, in->ip_id);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, &src, 4);
    memcpy(ip + 16, &dst, 4);
    ky_store16(ip + 10, (uint16_t)~ky_fold(ky_sum(ip, 20, 0)));
    struct ky_inner self = {.version = 4, .proto = IPPROTO_UDP};
    return ky_pseudo(ip, &self, len);
}

static uint16_t write_ip6(uint8_t *ip, const struct ky_inject *in, const struct ky_peer *peer,
                          uint32_t len, uint8_t tos) {
    memset(ip, 0, 8);
    ip[0] = (uint8_t)(0x60 | tos >> 4);
    ip[1] = (uint8_t)(tos << 4);
    ky_put_be16(ip + 4, (uint16_t)len);
    ip[6] = IPPROTO_UDP;
    ip[7] = 64;
    memcpy(ip + 8, in->local.w, 16);
    memcpy(ip + 24, peer->outer.w, 16);
    struct ky_inner self = {.version = 6, .proto = IPPROTO_UDP};
    return ky_pseudo(ip, &self, len);
}

int ky_inject_send(struct ky_inject *in, const struct ky_peer *peer, const struct ky_inner *inner,
                   const struct ky_vnet *vnet, uint8_t *pkt, uint8_t port, uint8_t tos) {
    bool v6 = !ky_ip_is4(in->local);
    uint32_t ip_len = v6 ? 40 : 20;
    uint32_t udp_len = UDP_LEN + KY_ENCAP_LEN + inner->len;
    if (v6 == ky_ip_is4(peer->outer) || udp_len + (v6 ? 0 : ip_len) > UINT16_MAX)
        return -EMSGSIZE;
    uint8_t *encap = pkt - KY_ENCAP_LEN, *udp = encap - UDP_LEN, *ip = udp - ip_len;
    uint8_t *eth = ip - ETH_LEN;
    memcpy(encap, peer->encap, KY_ENCAP_LEN);
    ky_vxlan_set_version(encap, inner->version);
    ky_put_be16(udp, in->source_ports[port]);
    memcpy(udp + 2, &peer->to.in.sin_port, 2); // at the same place in a sockaddr_in6
    ky_put_be16(udp + 4, (uint16_t)udp_len);
    ky_store16(udp + 6, (v6 ? write_ip6 : write_ip4)(ip, in, peer, udp_len, tos));
    memset(eth, 0, 12); // the kernel writes the underlay's own
    ky_put_be16(eth + 12, v6 ? 0x86dd : 0x0800);
    uint16_t inner_nh = (uint16_t)(ETH_LEN + ip_len + UDP_LEN + KY_ENCAP_LEN);
    struct tunnel_vnet header = {
        .vnet = {.flags = KY_VNET_NEEDS_CSUM | VNET_UDP_TUNNEL_CSUM,
                 .gso_type = (uint8_t)(vnet->gso_type |
                                       (v6 ? VNET_GSO_UDP_TUNNEL_IPV6 : VNET_GSO_UDP_TUNNEL_IPV4)),
                 .hdr_len = (uint16_t)(inner_nh + vnet->csum_start + ky_l4_header(pkt, inner)),
                 .gso_size = vnet->gso_size,
                 .csum_start = (uint16_t)(inner_nh + vnet->csum_start),
                 .csum_offset = vnet->csum_offset},
        .outer_th_offset = (uint16_t)(ETH_LEN + ip_len),
        .inner_nh_offset = inner_nh};
    uint8_t *start = eth - sizeof header;
    memcpy(start, &header, sizeof header);
    ssize_t n = write(in->tap_fd, start, (size_t)(pkt + inner->len - start));
    if (n < 0)
        return -errno;
    uint32_t segments = inner->len / vnet->gso_size + 1;
    in->ip_id = (uint16_t)(in->ip_id + segments); // the kernel counts up from it, one a segment
    return 0;
}
