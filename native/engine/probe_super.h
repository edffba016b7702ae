// A superpacket to try the ways out with, and an underlay that shows what came of it: a TUN without any
// offload, so that the kernel must segment and make every checksum.
#ifndef KY_PROBE_SUPER_H
#define KY_PROBE_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "vnet.h"

enum {
    KY_PROBE_MSS = 100,
    KY_PROBE_SEGMENTS = 3, // the last of half the size
    KY_PROBE_PAYLOAD = KY_PROBE_MSS * KY_PROBE_SEGMENTS - KY_PROBE_MSS / 2,
    KY_PROBE_HDR = 40, // IPv4 and TCP
    KY_PROBE_SUPER = KY_PROBE_HDR + KY_PROBE_PAYLOAD,
    KY_PROBE_SOURCE_PORT = 49152,
};

// Of the underlay, and of a peer beyond it.
extern const uint8_t ky_probe_address[4], ky_probe_peer[4];

// The vnet header of the superpacket.
extern const struct ky_vnet ky_probe_vnet;

// Gives the TUN its address and sets it up. Returns 0 or -errno.
int ky_probe_underlay(const char *device);

// Sets a device up. Returns 0 or -errno.
int ky_probe_set_up(const char *device);

void ky_probe_write_super(uint8_t pkt[KY_PROBE_SUPER]);

// Whether the superpacket comes out of the underlay within 100 ms in segments with VXLAN headers, from
// KY_PROBE_SOURCE_PORT, each whole and with good checksums.
bool ky_probe_segments_come_out(int fd);

#endif
