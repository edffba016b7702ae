// The wire format of flannel's udp backend: a datagram is one bare inner IPv4 packet, with no header
// before it and nothing behind it. One encoder, one decoder.
//
// Every node on the way is a hop: the TTL is one less when the packet leaves the sender's TUN, and again
// before it reaches the receiver's. The header checksum follows by its difference (RFC 1624), never
// anew: one that was wrong stays wrong, and the receiving kernel sees it.
//
// Flannel's proxy takes the TTL of what comes in from 0 to 255; here 0 is used up, as is 1. Where a
// packet ends because of it, flannel is silent; we answer with ICMP on the sending side.
#ifndef KY_RAWIP_H
#define KY_RAWIP_H

#include <stddef.h>
#include <stdint.h>

#include "drop.h"
#include "inner.h"

// Makes of the IPv4 packet at pkt, as read from the TUN, what goes on the wire. Returns KY_DROP_NONE, or
// the reason to drop it and then it is as it was. A superpacket passes it once: segmentation repeats its
// header.
enum ky_drop ky_rawip_send(uint8_t *pkt);

// Checks that the datagram at p is one whole IPv4 packet. Returns KY_DROP_NONE and *inner, or the reason
// to drop it.
enum ky_drop ky_rawip_check(const uint8_t *p, size_t len, struct ky_inner *inner);

// Makes of the checked and admitted packet at pkt what goes into the TUN. Returns KY_DROP_NONE or the
// reason to drop it.
enum ky_drop ky_rawip_deliver(uint8_t *pkt);

#endif
