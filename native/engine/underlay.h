// The device under us.
#ifndef KY_UNDERLAY_H
#define KY_UNDERLAY_H

#include <net/if.h>

#include "ip.h"

// The name of the device that holds the address. Returns 0 or -errno.
int ky_underlay_device(struct ky_ip local, char device[IFNAMSIZ]);

// Whether it segments UDP tunnels (tx-udp_tnl-segmentation): 0, 1, or -errno when that cannot be found
// out.
int ky_underlay_segments_tunnels(const char *device);

#endif
