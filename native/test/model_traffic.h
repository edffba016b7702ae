// Random worlds, flows and packets for model_test.
#ifndef KY_TEST_MODEL_TRAFFIC_H
#define KY_TEST_MODEL_TRAFFIC_H

#include "model_reference.h"
#include "oracle.h"
#include "random.h"

enum { TRAFFIC_FLOWS = 24 };

struct traffic_flow {
    unsigned node; // the sender
    bool kernel;   // sends as Linux's VXLAN device does over a virtual link, not through the engine
    struct oracle_spec spec;
    size_t each; // bytes of payload of a full packet
};

struct traffic_packet {
    struct ky_vnet vnet;
    const uint8_t *bytes;
    size_t len;
};

void traffic_world(struct random *r, struct model_world *world);
void traffic_flow(struct random *r, const struct model_world *world, struct traffic_flow *flow);

// The flow's next packet or superpacket; it is good until the next call.
void traffic_next(struct random *r, const struct model_world *world, struct traffic_flow *flow,
                  struct traffic_packet *packet);

struct model_address traffic_address_in(struct random *r, const struct model_prefix *prefix);

#endif
