// The wire formats an engine can speak. It speaks one, chosen when it is opened; 0 is VXLAN.
#ifndef KY_WIRE_H
#define KY_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "vxlan.h"

enum ky_wire {
    KY_WIRE_VXLAN,
    KY_WIRE_RAWIP, // flannel's udp backend, see rawip.h
};

// Whether its frames can hold packets of this IP version.
static inline bool ky_wire_carries(enum ky_wire wire, uint8_t version) {
    return wire == KY_WIRE_VXLAN || version == 4;
}

// Bytes of a frame before its inner packet.
static inline uint32_t ky_wire_header(enum ky_wire wire) {
    return wire == KY_WIRE_VXLAN ? KY_ENCAP_LEN : 0;
}

#endif
