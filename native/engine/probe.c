#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "checksum.h"
#include "inner.h"
#include "probe_super.h"
#include "steer.h"
#include "tun.h"
#include "vnet.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

const char *const ky_feature_names[KY_FEATURE_COUNT] = {
#define KY_NAME(id, name, text) name,
    KY_FEATURE_LIST(KY_NAME)
#undef KY_NAME
};

const char *const ky_feature_texts[KY_FEATURE_COUNT] = {
#define KY_TEXT(id, name, text) text,
    KY_FEATURE_LIST(KY_TEXT)
#undef KY_TEXT
};

__attribute__((format(printf, 4, 5))) static void set(struct ky_probe *p, enum ky_feature f,
                                                      bool on, const char *format, ...) {
    va_list args;
    va_start(args, format);
    p->feature[f].on = on;
    vsnprintf(p->feature[f].reason, sizeof p->feature[f].reason, format, args);
    va_end(args);
}

static const char *name_of(int err) {
    const char *name = strerrorname_np(err);
    return name != NULL ? name : "unknown error";
}

// ---- UDP_SEGMENT and UDP_GRO over loopback ----

struct pair {
    int from, to;
    struct sockaddr_in address;
};

static int open_pair(struct pair *p) {
    socklen_t len = sizeof p->address;
    p->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    p->from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    p->to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->from < 0 || p->to < 0 || bind(p->to, (struct sockaddr *)&p->address, len) < 0 ||
        getsockname(p->to, (struct sockaddr *)&p->address, &len) < 0)
        return errno;
    return 0;
}

static void close_pair(const struct pair *p) {
    if (p->from >= 0)
        close(p->from);
    if (p->to >= 0)
        close(p->to);
}

static int send_segments(const struct pair *p, const uint8_t *data, size_t len, uint16_t segment) {
    struct iovec iov = {(void *)data, len};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof segment)] = {0};
    struct msghdr m = {.msg_name = (void *)&p->address,
                       .msg_namelen = sizeof p->address,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    return sendmsg(p->from, &m, 0) < 0 ? errno : 0;
}

// Receives one datagram within 100 ms. Returns its length or -errno; *gro is the cmsg, 0 without.
static long receive(const struct pair *p, uint8_t *buf, size_t cap, int *gro) {
    struct pollfd ready = {.fd = p->to, .events = POLLIN};
    if (poll(&ready, 1, 100) <= 0)
        return -ETIMEDOUT;
    struct iovec iov = {buf, cap};
    _Alignas(struct cmsghdr) uint8_t control[64];
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(p->to, &m, 0);
    *gro = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); n >= 0 && c != NULL; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(gro, CMSG_DATA(c), sizeof *gro);
    return n < 0 ? -errno : n;
}

enum { SEGMENT = 100 };

// Whether len bytes sent in segments arrive as the right datagrams with the right bytes. Kernels
// 7.0-rc1 to 7.1.4 mangled runs whose last segment is of full size (tailscale#19777).
static bool segments_arrive(const struct pair *p, const uint8_t *data, size_t len) {
    uint8_t got[256];
    int gro;
    for (size_t at = 0; at < len; at += SEGMENT) {
        size_t want = len - at < SEGMENT ? len - at : SEGMENT;
        if (receive(p, got, sizeof got, &gro) != (long)want || memcmp(got, data + at, want) != 0)
            return false;
    }
    return true;
}

static void drain(const struct pair *p) {
    uint8_t byte;
    while (recv(p->to, &byte, 1, MSG_TRUNC) >= 0)
        ;
}

static void probe_udp_gso(struct ky_probe *probe, const struct pair *p) {
    uint8_t data[3 * SEGMENT];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 1);
    int err = send_segments(p, data, sizeof data, SEGMENT);
    if (err != 0) {
        set(probe, KY_FEATURE_UDP_GSO, false, "the kernel refused UDP_SEGMENT: %s", name_of(err));
        return;
    }
    bool equal = segments_arrive(p, data, sizeof data);
    bool shorter = send_segments(p, data, sizeof data - SEGMENT / 2, SEGMENT) == 0 &&
                   segments_arrive(p, data, sizeof data - SEGMENT / 2);
    if (!equal || !shorter) {
        drain(p);
        set(probe, KY_FEATURE_UDP_GSO, false, "a run with %s last datagram arrived wrong",
            equal ? "a shorter" : "an equal");
        return;
    }
    static const uint16_t limits[] = {128, 64, 63}; // UDP_MAX_SEGMENTS; 63: headers were counted
    static const uint8_t many[128] = {0};
    for (unsigned i = 0; i < 3; i++) {
        probe->frames_max = limits[i];
        if (send_segments(p, many, limits[i], 1) == 0)
            break;
    }
    drain(p);
    set(probe, KY_FEATURE_UDP_GSO, true, "works, %u datagrams a send", probe->frames_max);
}

static void probe_udp_gro(struct ky_probe *probe, const struct pair *p) {
    int on = 1, gro = 0;
    socklen_t len = sizeof on;
    // Readable since 5.12; before that UDP_GRO exists but merges wrongly (wireguard-go c92064f).
    if (setsockopt(p->to, SOL_UDP, UDP_GRO, &on, sizeof on) < 0 ||
        getsockopt(p->to, SOL_UDP, UDP_GRO, &on, &len) < 0) {
        set(probe, KY_FEATURE_UDP_GRO, false, "the kernel refused UDP_GRO: %s", name_of(errno));
        return;
    }
    if (!probe->feature[KY_FEATURE_UDP_GSO].on) {
        set(probe, KY_FEATURE_UDP_GRO, true, "accepted; without udp-gso it cannot be tried");
        return;
    }
    static const uint8_t data[3 * SEGMENT] = {1};
    uint8_t got[4 * SEGMENT];
    long n = send_segments(p, data, sizeof data, SEGMENT) == 0 ? receive(p, got, sizeof got, &gro)
                                                               : -EIO;
    if (n == (long)sizeof data && gro == SEGMENT)
        set(probe, KY_FEATURE_UDP_GRO, true, "works");
    else
        set(probe, KY_FEATURE_UDP_GRO, false, "a train of 3 x %d arrived as %ld bytes of %d",
            SEGMENT, n, gro);
}

static void probe_udp(struct ky_probe *probe) {
    struct pair p = {-1, -1, {0}};
    int err = open_pair(&p);
    if (err == 0) {
        probe_udp_gso(probe, &p);
        probe_udp_gro(probe, &p);
    } else {
        set(probe, KY_FEATURE_UDP_GSO, false, "no loopback to try it on: %s", name_of(err));
        set(probe, KY_FEATURE_UDP_GRO, false, "no loopback to try it on: %s", name_of(err));
    }
    close_pair(&p);
}

// ---- the TUN's offloads ----

// Writes a superpacket of 2.5 segments. Kernel 6.6.44 refused those with a short tail
// (tailscale#13041). Returns 0 or -errno.
static int write_superpacket(int fd, uint8_t proto) {
    enum { MSS = 100, PAYLOAD = 250 };
    uint8_t pkt[20 + 20 + PAYLOAD] = {0x45};
    uint16_t l4_hdr = proto == IPPROTO_TCP ? 20 : 8;
    uint16_t len = (uint16_t)(20 + l4_hdr + PAYLOAD);
    static const uint8_t from[] = {192, 0, 2, 1}, to[] = {192, 0, 2, 2}; // TEST-NET-1, RFC 5737
    ky_put_be16(pkt + 2, len);
    pkt[8] = 64;
    pkt[9] = proto;
    memcpy(pkt + 12, from, 4);
    memcpy(pkt + 16, to, 4);
    ky_store16(pkt + 10, (uint16_t)~ky_fold(ky_sum(pkt, 20, 0)));
    if (proto == IPPROTO_TCP) {
        pkt[20 + 12] = 5 << 4;
        pkt[20 + 13] = 0x10;
    } else {
        ky_put_be16(pkt + 20 + 4, (uint16_t)(len - 20));
    }
    struct ky_inner in = {.version = 4, .proto = proto};
    ky_store16(pkt + 20 + ky_l4_check_offset(proto), ky_pseudo(pkt, &in, len - 20u));
    struct ky_vnet vnet = {.flags = KY_VNET_NEEDS_CSUM,
                           .gso_type =
                               proto == IPPROTO_TCP ? KY_VNET_GSO_TCPV4 : KY_VNET_GSO_UDP_L4,
                           .hdr_len = (uint16_t)(20 + l4_hdr),
                           .gso_size = MSS,
                           .csum_start = 20,
                           .csum_offset = ky_l4_check_offset(proto)};
    struct iovec iov[2] = {{&vnet, sizeof vnet}, {pkt, len}};
    return ky_tun_write(fd, iov, 2);
}

static void probe_offload(struct ky_probe *probe, int fd, enum ky_feature f, unsigned bits) {
    // TUNSETOFFLOAD refuses bits it does not know: its documented way of asking.
    if (ioctl(fd, _IOW('T', 208, unsigned int), (unsigned long)bits) == 0)
        set(probe, f, true, "works");
    else
        set(probe, f, false, "TUNSETOFFLOAD 0x%x: %s", bits, name_of(errno));
}

static void probe_steering(struct ky_probe *probe, int fd) {
    int err = ky_tun_steer(fd);
    if (err == 0)
        set(probe, KY_FEATURE_TUN_STEERING, true, "works; of use with several workers");
    else
        set(probe, KY_FEATURE_TUN_STEERING, false, "the kernel refused: %s", name_of(-err));
}

static void probe_coalesce(struct ky_probe *probe, int fd, enum ky_feature f, uint8_t proto) {
    int err = write_superpacket(fd, proto);
    if (err == 0)
        set(probe, f, true, "works");
    else
        set(probe, f, false, "the TUN refused a superpacket: %s", name_of(-err));
}

static void probe_tun(struct ky_probe *probe) {
    static const char device[] = "kersey-probe";
    struct ky_fault fault;
    int fd;
    int err = ky_tun_open(device, 1, 0, &fd, &fault);
    if (err != 0) {
        for (enum ky_feature f = KY_FEATURE_TUN_CSUM; f <= KY_FEATURE_TUN_STEERING; f++)
            set(probe, f, false, "no TUN to try it on: %s", name_of(-err));
        set(probe, KY_FEATURE_COALESCE, false, "no TUN to try it on: %s", name_of(-err));
        set(probe, KY_FEATURE_COALESCE_UDP, false, "no TUN to try it on: %s", name_of(-err));
        return;
    }
    if (probe->isolated)
        (void)ky_probe_set_up(device); // a TUN that is down takes no writes
    unsigned csum = KY_TUN_F_CSUM, tso = csum | KY_TUN_F_TSO;
    probe_offload(probe, fd, KY_FEATURE_TUN_CSUM, csum);
    probe_offload(probe, fd, KY_FEATURE_TUN_TSO, tso);
    probe_offload(probe, fd, KY_FEATURE_TUN_USO, tso | KY_TUN_F_USO);
    probe_steering(probe, fd);
    if (probe->isolated) {
        probe_coalesce(probe, fd, KY_FEATURE_COALESCE, IPPROTO_TCP);
        probe_coalesce(probe, fd, KY_FEATURE_COALESCE_UDP, IPPROTO_UDP);
    } else {
        bool uso = probe->feature[KY_FEATURE_TUN_USO].on;
        set(probe, KY_FEATURE_COALESCE, true, "not tried: no namespace to try it in");
        set(probe, KY_FEATURE_COALESCE_UDP, uso, "taken from tun-uso: no namespace to try it in");
    }
    close(fd);
}

static void *run(void *arg) {
    struct ky_probe *probe = arg;
    probe->isolated = unshare(CLONE_NEWNET) == 0;
    if (probe->isolated)
        (void)ky_probe_set_up("lo");
    probe_udp(probe);
    probe_tun(probe);
    if (probe->isolated) {
        ky_probe_inject(&probe->feature[KY_FEATURE_TUNNEL_GSO],
                        &probe->feature[KY_FEATURE_FLOW_OFFLOAD], probe->try_flows);
        ky_probe_ring(&probe->feature[KY_FEATURE_RECEIVE_RING]);
    } else {
        set(probe, KY_FEATURE_FLOW_OFFLOAD, false, "not tried: no namespace to try it in");
        set(probe, KY_FEATURE_TUNNEL_GSO, false, "not tried: no namespace to try it in");
        set(probe, KY_FEATURE_RECEIVE_RING, false, "not tried: no namespace to try it in");
    }
    // Of what these two do, and judged with the devices there are (engine.c).
    set(probe, KY_FEATURE_FLOW_RECEIVE, true, "works where flow-offload and receive-ring do");
    set(probe, KY_FEATURE_BATCH, true, "works");
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
    set(probe, KY_FEATURE_HOME_CPU, count > 1, "%d CPUs may be used", count);
    return NULL;
}

int ky_probe_run(struct ky_probe *probe, bool flows) {
    memset(probe, 0, sizeof *probe);
    probe->try_flows = flows;
    probe->frames_max = 1;
    pthread_t thread;
    int err = pthread_create(&thread, NULL, run, probe);
    if (err != 0)
        return -err;
    pthread_join(thread, NULL);
    return 0;
}
