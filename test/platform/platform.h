// Shared by the platform programs: each checks one thing that the engine takes for granted about the
// kernel, so that a kernel which differs is found by name and not by lost packets.
//
// A program ends with 0 (it is so), 77 (cannot be tried here, and why) or 1 (it is not so, and how).
#ifndef KY_PLATFORM_H
#define KY_PLATFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

__attribute__((format(printf, 2, 3), noreturn)) static inline void end(int code, const char *format,
                                                                       ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stdout, format, args);
    fputc('\n', stdout);
    va_end(args);
    exit(code);
}

#define SKIP(...) end(77, "skip: " __VA_ARGS__)
#define FAIL(...) end(1, "not so: " __VA_ARGS__)
#define SO(...) end(0, "so: " __VA_ARGS__)

// For steps that are not the question: a failure leaves it unanswered.
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            SKIP("%s: %s", #condition, strerror(errno));                                           \
    } while (0)

// A network namespace of our own, with lo up.
static inline void own_network(void);

static inline void set_up(const char *device) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    NEED(fd >= 0);
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    NEED(ioctl(fd, SIOCGIFFLAGS, &ifr) == 0);
    ifr.ifr_flags |= IFF_UP;
    NEED(ioctl(fd, SIOCSIFFLAGS, &ifr) == 0);
    close(fd);
}

static inline void own_network(void) {
    if (unshare(CLONE_NEWNET) != 0)
        SKIP("unshare(CLONE_NEWNET): %s", strerror(errno));
    set_up("lo");
}

// Runs an iproute2 command; skips when it fails.
__attribute__((format(printf, 1, 2))) static inline void ip(const char *format, ...) {
    char command[512] = "ip ";
    va_list args;
    va_start(args, format);
    vsnprintf(command + 3, sizeof command - 3, format, args);
    va_end(args);
    if (system(command) != 0)
        SKIP("%s", command);
}

// TUNSETIFF. Returns the fd or -errno.
static inline int tun_attach(const char *name, int flags) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        SKIP("/dev/net/tun: %s", strerror(errno));
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    ifr.ifr_flags = (short)flags;
    if (ioctl(fd, TUNSETIFF, &ifr) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

static inline int tun_open(const char *name, int flags) {
    int fd = tun_attach(name, flags);
    if (fd < 0)
        SKIP("TUNSETIFF %s: %s", name, strerror(-fd));
    return fd;
}

// The ten bytes before every packet on a TUN with IFF_VNET_HDR.
struct vnet {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
enum { NEEDS_CSUM = 1, DATA_VALID = 2, GSO_TCPV4 = 1, GSO_UDP_L4 = 5 };

// A bound UDP socket on loopback and one that sends to it.
struct loopback {
    int from, to;
    struct sockaddr_in address;
};

static inline struct loopback open_loopback(void) {
    struct loopback l = {
        .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof l.address;
    l.from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    l.to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    NEED(l.from >= 0 && l.to >= 0);
    NEED(bind(l.to, (struct sockaddr *)&l.address, len) == 0);
    NEED(getsockname(l.to, (struct sockaddr *)&l.address, &len) == 0);
    return l;
}

// One sendmsg with a UDP_SEGMENT cmsg. Returns 0 or the errno.
static inline int send_segments(const struct loopback *l, const void *data, size_t len,
                                uint16_t segment) {
    struct iovec iov = {(void *)data, len};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof segment)] = {0};
    struct msghdr m = {.msg_name = (void *)&l->address,
                       .msg_namelen = sizeof l->address,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    return sendmsg(l->from, &m, 0) < 0 ? errno : 0;
}

// One datagram within a second, -1 when none comes. *gro is the UDP_GRO cmsg, 0 without.
static inline ssize_t receive(int fd, void *buf, size_t cap, int *gro) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    *gro = 0;
    if (poll(&ready, 1, 1000) <= 0)
        return -1;
    struct iovec iov = {buf, cap};
    _Alignas(struct cmsghdr) uint8_t control[256];
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, 0);
    for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(gro, CMSG_DATA(c), sizeof *gro);
    return n;
}

static inline void fill(uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 8));
}

// Two namespaces joined by a veth pair: a socket with UDP_GRO on port 8472 stays in the one, with
// 192.0.2.2; the caller ends up in the other, with 192.0.2.1 on the device u1. Returns the socket.
static inline int receiver_behind_veth(void) {
    own_network();
    int network = open("/proc/thread-self/ns/net", O_RDONLY);
    ip("link add u2 type veth peer name u1");
    ip("address add 192.0.2.2/24 dev u2");
    ip("link set u2 up");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8472)};
    int udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    NEED(network >= 0 && udp >= 0 && bind(udp, (struct sockaddr *)&address, sizeof address) == 0);
    if (setsockopt(udp, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
        SKIP("UDP_GRO: %s", strerror(errno));
    own_network();
    char fetch[256];
    snprintf(fetch, sizeof fetch,
             "nsenter --net=/proc/%d/fd/%d ip link set u1 netns /proc/%d/ns/net", (int)getpid(),
             network, (int)getpid());
    if (system(fetch) != 0)
        SKIP("%s", fetch);
    ip("address add 192.0.2.1/24 dev u1");
    ip("link set u1 up");
    return udp;
}

// ---- packets ----

static inline void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline uint32_t sum16(const uint8_t *data, size_t len, uint32_t sum) {
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    if (len & 1)
        sum += (uint32_t)data[len - 1] << 8;
    return sum;
}

static inline uint16_t fold(uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

// The folded sum of the IPv4 pseudo header, not inverted: what a partial checksum holds.
static inline uint16_t pseudo4(const uint8_t *ip4, unsigned l4_len) {
    return fold(sum16(ip4 + 12, 8, ip4[9] + l4_len));
}

// An IPv4 header of 20 bytes, its checksum filled in.
static inline void put_ipv4(uint8_t *at, unsigned total, uint8_t proto, const char *from,
                            const char *to) {
    memset(at, 0, 20);
    at[0] = 0x45;
    put16(at + 2, total);
    at[8] = 64;
    at[9] = proto;
    NEED(inet_pton(AF_INET, from, at + 12) == 1 && inet_pton(AF_INET, to, at + 16) == 1);
    put16(at + 10, (uint16_t)~fold(sum16(at, 20, 0)));
}

#endif
