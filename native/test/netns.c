#include "netns.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

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

void netns_enter(void) {
    if (unshare(CLONE_NEWNET) != 0)
        enter_as_user();
    if (netns_link_up("lo") != 0)
        skip("lo does not come up");
}

void netns_need_tun(void) {
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        skip("/dev/net/tun");
    close(fd);
}

static int request(unsigned long code, void *arg) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int err = fd < 0 || ioctl(fd, code, arg) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return err;
}

int netns_link_up(const char *device) {
    struct ifreq ifr = {0};
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", device);
    int err = request(SIOCGIFFLAGS, &ifr);
    ifr.ifr_flags |= IFF_UP;
    return err != 0 ? err : request(SIOCSIFFLAGS, &ifr);
}

int netns_link_mtu(const char *device, int mtu) {
    struct ifreq ifr = {.ifr_mtu = mtu};
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", device);
    return request(SIOCSIFMTU, &ifr);
}

int netns_add_ip6(const char *device, const char *address, int bits) {
    struct { // struct in6_ifreq of linux/ipv6.h, which does not go together with netinet/in.h
        struct in6_addr addr;
        uint32_t prefixlen;
        int ifindex;
    } ifr = {.prefixlen = (uint32_t)bits, .ifindex = (int)if_nametoindex(device)};
    inet_pton(AF_INET6, address, &ifr.addr);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int err = fd < 0 || ioctl(fd, SIOCSIFADDR, &ifr) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return err;
}

int netns_packet_socket(const char *device) {
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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

int netns_packet_send(int fd, const char *device, const void *packet, size_t len) {
    uint8_t vnet[10] = {0};
    uint16_t type = *(const uint8_t *)packet >> 4 == 4 ? ETHERTYPE_4 : ETHERTYPE_6;
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(type),
                             .sll_ifindex = (int)if_nametoindex(device)};
    struct iovec iov[2] = {{vnet, sizeof vnet}, {(void *)packet, len}};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = iov, .msg_iovlen = 2};
    return sendmsg(fd, &m, 0) < 0 ? -errno : 0;
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

bool netns_has_link(const char *device) {
    return if_nametoindex(device) != 0;
}
