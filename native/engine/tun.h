// The TUN device: opening its queues, and one packet or superpacket per call (the driver has no
// batch interface). Every packet travels behind a struct ky_vnet.
#ifndef KY_TUN_H
#define KY_TUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "fault.h"
#include "vnet.h"

enum {
    // A superpacket: an IP packet of at most 65535 bytes.
    KY_TUN_PACKET_MAX = 65535,
    // TUNSETOFFLOAD bits (include/uapi/linux/if_tun.h).
    KY_TUN_F_CSUM = 0x01,
    KY_TUN_F_TSO = 0x02 | 0x04 | 0x08, // TSO4, TSO6, TSO_ECN
    KY_TUN_F_USO = 0x20 | 0x40,        // USO4, USO6; Linux 6.2
};

// Creates the device `name` with `queues` queues and fills fds. The device is down and vanishes with
// the last fd. An existing device of that name is never attached to. Returns 0 or -errno with *fault
// set; then no fd is left open.
int ky_tun_open(const char *name, unsigned queues, unsigned offload, int *fds,
                struct ky_fault *fault);

// Reads one packet of at most cap bytes to pkt, before which there are sizeof *vnet writable bytes.
// Returns its length, or -errno: -EAGAIN when there is none, -EBADFD when the
// device was deleted.
long ky_tun_read(int fd, struct ky_vnet *vnet, uint8_t *pkt, size_t cap);

// Writes vnet header and packet, iov[0] being the header. Returns 0 or -errno: -EIO when the device
// is down, -EINVAL when the kernel refuses the superpacket.
int ky_tun_write(int fd, const struct iovec *iov, int n);

#endif
