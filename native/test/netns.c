#include "netns.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../system/netlink.h"
#include "check.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { ETHERTYPE_ALL = 3, ETHERTYPE_4 = 0x0800, ETHERTYPE_6 = 0x86dd };

__attribute__((noreturn)) static void skip(const char *what) {
    printf("skipped: %s: %s\n", what, strerror(errno));
    exit(CHECK_SKIP);
}

static bool write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

// Not root: root in a user namespace of our own.
static void enter_as_user(void) {
    char uids[32], gids[32];
    snprintf(uids, sizeof uids, "0 %u 1", (unsigned)getuid());
    snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        skip("no network namespace to be had");
    (void)write_file("/proc/self/setgroups", "deny");
    if (!write_file("/proc/self/uid_map", uids) || !write_file("/proc/self/gid_map", gids))
        skip("no user namespace to be had");
}

static void prepare(void) {
    if (netns_link_up("lo") != 0)
        skip("lo does not come up");
    // Devices made from here on are silent: no router solicitations, no multicast listener reports.
    (void)write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

void netns_enter(void) {
    if (unshare(CLONE_NEWNET) != 0)
        enter_as_user();
    prepare();
}

void netns_need_tun(void) {
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        skip("/dev/net/tun");
    close(fd);
}

int netns_self(void) {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        skip("/proc/thread-self/ns/net");
    return fd;
}

void netns_set(int fd) {
    if (setns(fd, CLONE_NEWNET) != 0)
        skip("setns");
}

int netns_new(void) {
    int before = netns_self();
    if (unshare(CLONE_NEWNET) != 0)
        skip("no second network namespace to be had");
    prepare();
    int fd = netns_self();
    netns_set(before);
    close(before);
    return fd;
}

// ---- links and addresses ----

static int request(int family, unsigned long code, void *arg) {
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int err = fd < 0 || ioctl(fd, code, arg) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return err;
}

static struct ifreq named(const char *device) {
    struct ifreq ifr = {0};
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", device);
    return ifr;
}

static int set_up(const char *device, bool up) {
    struct ifreq ifr = named(device);
    int err = request(AF_INET, SIOCGIFFLAGS, &ifr);
    ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
    return err != 0 ? err : request(AF_INET, SIOCSIFFLAGS, &ifr);
}

int netns_link_up(const char *device) {
    return set_up(device, true);
}

int netns_link_down(const char *device) {
    return set_up(device, false);
}

bool netns_link_is_up(const char *device) {
    struct ifreq ifr = named(device);
    return request(AF_INET, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_UP) != 0;
}

int netns_link_mtu(const char *device, int mtu) {
    struct ifreq ifr = named(device);
    ifr.ifr_mtu = mtu;
    return request(AF_INET, SIOCSIFMTU, &ifr);
}

bool netns_has_link(const char *device) {
    return if_nametoindex(device) != 0;
}

int netns_congestion(const char *name) {
    int fd = open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = write(fd, name, strlen(name)) < 0 ? -errno : 0;
    close(fd);
    return err;
}

int netns_add_ip4(const char *device, const char *address, int bits) {
    struct ifreq ifr = named(device);
    struct sockaddr_in in = {.sin_family = AF_INET};
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&ifr.ifr_addr, &in, sizeof in);
    int err = request(AF_INET, SIOCSIFADDR, &ifr);
    in.sin_addr.s_addr = htonl(bits == 0 ? 0 : ~0u << (32 - bits));
    memcpy(&ifr.ifr_netmask, &in, sizeof in);
    return err != 0 ? err : request(AF_INET, SIOCSIFNETMASK, &ifr);
}

int netns_add_ip6(const char *device, const char *address, int bits) {
    char path[80];
    struct { // struct in6_ifreq of linux/ipv6.h, which does not go together with netinet/in.h
        struct in6_addr addr;
        uint32_t prefixlen;
        int ifindex;
    } ifr = {.prefixlen = (uint32_t)bits, .ifindex = (int)if_nametoindex(device)};
    inet_pton(AF_INET6, address, &ifr.addr);
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_dad", device);
    (void)write_file(path, "0"); // usable at once
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", device);
    (void)write_file(path, "0");
    return request(AF_INET6, SIOCSIFADDR, &ifr);
}

// ---- netlink: what ioctl cannot do ----

struct message {
    _Alignas(struct nlmsghdr) uint8_t bytes[512];
    size_t len;
};

static void put(struct message *m, const void *data, size_t len) {
    REQUIRE(m->len + NLMSG_ALIGN(len) <= sizeof m->bytes);
    if (len > 0)
        memcpy(m->bytes + m->len, data, len);
    m->len += NLMSG_ALIGN(len);
}

// Returns where it begins, for end_nest.
static size_t attribute(struct message *m, uint16_t type, const void *data, size_t len) {
    struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};
    size_t at = m->len;
    put(m, &a, sizeof a);
    put(m, data, len);
    return at;
}

static void end_nest(struct message *m, size_t at) {
    uint16_t len = (uint16_t)(m->len - at);
    memcpy(m->bytes + at, &len, sizeof len);
}

static void begin_link(struct message *m, uint16_t type, uint16_t flags, unsigned index) {
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags};
    struct ifinfomsg info = {.ifi_index = (int)index};
    m->len = 0;
    put(m, &h, sizeof h);
    put(m, &info, sizeof info);
}

static int send_message(struct message *m) {
    struct nlmsghdr h;
    struct nlmsgerr answer;
    uint8_t *reply;
    size_t reply_len;
    int fd, err;
    memcpy(&h, m->bytes, sizeof h);
    h.nlmsg_len = (uint32_t)m->len;
    memcpy(m->bytes, &h, sizeof h);
    if ((err = ky_netlink_open(NETLINK_ROUTE, 0, &fd)) != 0)
        return err;
    err = ky_netlink_request(fd, m->bytes, m->len, &reply, &reply_len);
    close(fd);
    if (err != 0)
        return err;
    memcpy(&h, reply, sizeof h);
    memcpy(&answer, reply + sizeof h, sizeof answer.error);
    free(reply);
    return h.nlmsg_type == NLMSG_ERROR ? answer.error : -EPROTO;
}

int netns_link_delete(const char *device) {
    struct message m;
    begin_link(&m, RTM_DELLINK, 0, if_nametoindex(device));
    return send_message(&m);
}

int netns_veth(const char *here, const char *there, int there_fd) {
    struct message m;
    struct ifinfomsg peer = {0};
    begin_link(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
    attribute(&m, IFLA_IFNAME, here, strlen(here) + 1);
    size_t info = attribute(&m, IFLA_LINKINFO, NULL, 0);
    attribute(&m, IFLA_INFO_KIND, "veth", 4);
    size_t data = attribute(&m, IFLA_INFO_DATA, NULL, 0);
    size_t nest = attribute(&m, VETH_INFO_PEER, &peer, sizeof peer);
    attribute(&m, IFLA_IFNAME, there, strlen(there) + 1);
    attribute(&m, IFLA_NET_NS_FD, &there_fd, sizeof there_fd);
    end_nest(&m, nest);
    end_nest(&m, data);
    end_nest(&m, info);
    return send_message(&m);
}

// ---- packet sockets ----

int netns_packet_socket(const char *device) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int size = 32 << 20, on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    (void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETHERTYPE_ALL),
                                  .sll_ifindex = (int)if_nametoindex(device)};
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int netns_packet_send(int fd, unsigned index, const struct ky_vnet *vnet, const void *packet,
                      size_t len) {
    uint16_t type = *(const uint8_t *)packet >> 4 == 4 ? ETHERTYPE_4 : ETHERTYPE_6;
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(type), .sll_ifindex = (int)index};
    struct iovec iov[2] = {{(void *)vnet, sizeof *vnet}, {(void *)packet, len}};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = iov, .msg_iovlen = 2};
    return sendmsg(fd, &m, 0) < 0 ? -errno : 0;
}

long netns_packet_receive(int fd, int wait_ms, struct ky_vnet *vnet, void *packet, size_t cap) {
    struct iovec iov[2] = {{vnet, sizeof *vnet}, {packet, cap}};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (wait_ms > 0 && poll(&p, 1, wait_ms) < 0)
        return -errno;
    ssize_t n = readv(fd, iov, 2);
    return n < 0 ? -errno : n - (ssize_t)sizeof *vnet;
}

int netns_count(const char *directory) {
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return -errno;
    int n = 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}
