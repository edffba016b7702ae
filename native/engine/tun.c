#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

// An existing device of the name makes TUNSETIFF fail with EBUSY instead of being shared
// (test/platform: tun-exclusive). Not in Debian 12's kernel headers under every name.
#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

static int open_queue(const char *name, unsigned flags, unsigned offload, int *out,
                      struct ky_fault *fault) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return ky_fail(fault, "tun-open", -errno);
    struct ifreq ifr = {0};
    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    ifr.ifr_flags = (short)flags;
    const char *step = "tun-name";
    if (ioctl(fd, TUNSETIFF, &ifr) == 0) {
        step = "tun-offload";
        if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) == 0) {
            *out = fd;
            return 0;
        }
    }
    int err = -errno;
    close(fd);
    return ky_fail(fault, step, err);
}

int ky_tun_open(const char *name, unsigned queues, unsigned offload, int *fds,
                struct ky_fault *fault) {
    unsigned flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (queues > 1)
        flags |= IFF_MULTI_QUEUE;
    for (unsigned i = 0; i < queues; i++) {
        // Only the first queue creates the device; the others join it.
        unsigned exclusive = i == 0 ? IFF_TUN_EXCL : 0;
        int err = open_queue(name, flags | exclusive, offload, &fds[i], fault);
        if (err != 0) {
            while (i-- > 0)
                close(fds[i]);
            return err;
        }
    }
    return 0;
}

long ky_tun_read(int fd, struct ky_vnet *vnet, uint8_t *pkt, size_t cap) {
    // One buffer instead of two spares the kernel an iovec and a split copy.
    uint8_t *start = pkt - sizeof *vnet;
    ssize_t n = read(fd, start, sizeof *vnet + cap);
    if (n < 0)
        return -errno;
    if (n < (ssize_t)sizeof *vnet)
        return -EBADMSG;
    memcpy(vnet, start, sizeof *vnet);
    return n - (ssize_t)sizeof *vnet;
}

int ky_tun_write(int fd, const struct iovec *iov, int n) {
    return writev(fd, iov, n) < 0 ? -errno : 0;
}
