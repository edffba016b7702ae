// ICMP errors about packets that cannot be forwarded, to be written back into the TUN.
//
// Their source is the address that could not be reached, not one of ours: Linux drops a packet that
// comes in with one of its own addresses as source (fib_validate_source), and the unreachable
// address is the one that is sure to pass reverse-path filtering, since its route points here.
#ifndef KY_ICMP_H
#define KY_ICMP_H

#include <stddef.h>
#include <stdint.h>

#include "inner.h"

enum ky_icmp { KY_ICMP_NET_UNREACHABLE, KY_ICMP_TOO_BIG, KY_ICMP_TIME_EXCEEDED };

// RFC 4443 2.4 (c): no IPv6 error is larger than 1280 bytes. IPv4 errors stop at 576 (RFC 1812
// 4.3.2.3).
enum { KY_ICMP_MAX = 1280 };

// Writes into out the error of the kind about the packet at pkt, which inner describes; mtu is what
// a too-big error reports. Returns its length, or 0 where none may be sent (RFC 1122 3.2.2, RFC 4443
// 2.4 e): about an ICMP error, a later fragment, multicast, or an unspecified or multicast source.
size_t ky_icmp_build(uint8_t out[KY_ICMP_MAX], enum ky_icmp kind, const uint8_t *pkt,
                     const struct ky_inner *inner, uint32_t mtu);

// Rate limit: a token bucket of KY_ICMP_BURST errors, refilled by KY_ICMP_RATE a second.
enum { KY_ICMP_BURST = 50, KY_ICMP_RATE = 100 };

struct ky_icmp_limit {
    uint64_t tokens_ns; // credit in nanoseconds, worth one token per 1e9 / KY_ICMP_RATE
    uint64_t last_ns;
};

// Takes a token at monotonic time now_ns. Returns whether there was one.
int ky_icmp_allow(struct ky_icmp_limit *limit, uint64_t now_ns);

#endif
