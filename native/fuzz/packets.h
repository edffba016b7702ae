// Seeds that are packets, and the repair of mutated ones: without it every mutation would end at a
// checksum.
#ifndef KY_FUZZ_PACKETS_H
#define KY_FUZZ_PACKETS_H

#include <stddef.h>
#include <stdint.h>

enum { PACKETS_KINDS = 18, PACKETS_MAX = 2048 };

// Writes the packet of this kind (below PACKETS_KINDS) with so much payload; returns its length.
size_t packets_make(unsigned kind, size_t payload, uint8_t out[PACKETS_MAX]);

// The next packet of a flow: the sequence number and identification go on.
void packets_advance(uint8_t *packet, size_t len, uint32_t payload);

enum packets_repair {
    PACKETS_AS_IS,
    PACKETS_COMPLETE, // IP header and L4 checksum made to hold
    PACKETS_PARTIAL,  // the L4 checksum field holds the pseudo-header's sum
};

// Repairs the packet in these bytes, as far as it is one.
void packets_repair(uint8_t *packet, size_t len, enum packets_repair how);

#endif
