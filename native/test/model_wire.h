// The wire between the nodes of model_test: datagrams in order, some of them disturbed on the way.
#ifndef KY_TEST_MODEL_WIRE_H
#define KY_TEST_MODEL_WIRE_H

#include "model_reference.h"
#include "random.h"

struct model_wire {
    const struct model_world *world;
    struct random *random;
    struct model_datagram datagram[MODEL_ITEMS];
    unsigned count;
    struct model_list bytes;
};

void model_wire_clear(struct model_wire *wire);

// Sends a copy of the bytes from node to node. `gro` is the size that UDP_GRO will give, 0 for none.
void model_wire_send(struct model_wire *wire, unsigned from, unsigned to, const uint8_t *bytes,
                     size_t len, unsigned tos, size_t gro);

#endif
