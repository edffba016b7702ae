// The device under us.
#ifndef KY_UNDERLAY_H
#define KY_UNDERLAY_H

#include <net/if.h>

#include "ip.h"

// The name of the device that holds the address. Returns 0 or -errno.
int ky_underlay_device(struct ky_ip local, char device[IFNAMSIZ]);

// Whether it segments UDP tunnels (tx-udp_tnl-segmentation), and UDP itself (tx-udp-segmentation): 0, 1, or -errno
// when that cannot be found out.
int ky_underlay_segments_tunnels(const char *device);
int ky_underlay_segments_udp(const char *device);

// Whether a hardware device of this network namespace has offloads for UDP tunnels: 1 with its name, 0 when none
// has, or -errno.
int ky_underlay_hardware_tunnels(char device[IFNAMSIZ]);

#endif
