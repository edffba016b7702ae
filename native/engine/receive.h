// Receiving: many datagrams, or trains of them (UDP_GRO), in one recvmmsg.
//
// Two sets of buffers, chosen by the size of what arrived last. Frames of one MTU go into slots that
// lie close together: 64 of them fill 24 pages, where buffers for whole trains would lie on 64 pages of
// their own and miss the TLB in the kernel's copy and again in ours (measured: 600 ns a datagram
// instead of 790-910). A datagram that does not fit its slot continues in the large buffer of the same
// index and is put together there. Trains and superpackets go straight into large buffers.
#ifndef KY_RECEIVE_H
#define KY_RECEIVE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "decap.h"

enum {
    KY_RECEIVE_BATCH = 128,
    // What a batch aims to hold: buffers that L2 has no room for cost more than the calls they save
    // (measured: 4 x 64 KB buffers 9.0 Gbit/s, 64 x 64 KB 5.8).
    KY_RECEIVE_BYTES = 192 * 1024,
    // Larger ones are taken singly, to be written to the TUN while they are in the cache.
    KY_RECEIVE_LARGE = 32 * 1024,
};

struct ky_receive {
    struct mmsghdr msg[KY_RECEIVE_BATCH];
    struct iovec iov[KY_RECEIVE_BATCH][2]; // slot and what follows it, or the large buffer
    struct sockaddr_in6 from[KY_RECEIVE_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[KY_RECEIVE_BATCH][64];
    uint8_t *memory;
    uint8_t *large;    // in memory, behind the slots
    uint32_t slot;     // bytes of a slot
    unsigned count;    // of buffers: KY_RECEIVE_BATCH, or 1 without batches
    unsigned want;     // messages to ask for
    unsigned received; // by the last call
    bool in_slots;     // which buffers the messages point to
};

// frame is the length of the largest datagram that is usual. Returns 0 or -ENOMEM.
int ky_receive_init(struct ky_receive *r, bool batch, uint32_t frame);
void ky_receive_free(struct ky_receive *r);

// Receives without blocking what is there. Returns the number of datagrams or trains, 0 when there
// was none, or -errno.
int ky_receive_batch(struct ky_receive *r, int fd);

// The i-th of them; valid until the next call of ky_receive_batch.
void ky_receive_at(const struct ky_receive *r, unsigned i, struct ky_datagram *datagram);

#endif
