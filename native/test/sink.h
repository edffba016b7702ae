// Takes the place of the TUN behind a ky_gro: keeps what is written, and refuses what it is told to.
#ifndef KY_TEST_SINK_H
#define KY_TEST_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "../engine/gro.h"

enum { SINK_WRITES = 4096, SINK_BYTES = 64 << 20 };

struct sink_write {
    struct ky_vnet vnet;
    const uint8_t *packet;
    size_t len;
};

struct sink {
    struct sink_write write[SINK_WRITES];
    unsigned count;
    int refuse_super; // -errno for writes with a gso_type, 0 to take them
    int refuse;       // -errno for all writes
    unsigned refused;
    size_t used;
    uint8_t *bytes;
};

struct sink *sink_new(void);
void sink_free(struct sink *sink);
void sink_clear(struct sink *sink); // forgets the writes, keeps the refusals

// Of the signature of ky_gro.write; ctx is the sink.
int sink_take(void *ctx, const struct iovec *iov, int n);

#endif
