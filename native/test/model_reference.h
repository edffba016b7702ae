// The slow, obvious second implementation of encap and decap for model_test: tables are lists that
// are scanned, packets are copied and taken apart by the oracle. Written from the contracts in the
// engine's headers and from linux-dataplane's rules, not from its code.
#ifndef KY_TEST_MODEL_REFERENCE_H
#define KY_TEST_MODEL_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/counter.h"
#include "../engine/drop.h"
#include "../engine/vnet.h"

enum {
    MODEL_NODES = 5,
    MODEL_PREFIXES = 4, // of one node
    MODEL_PEERS = MODEL_NODES * MODEL_PREFIXES,
    MODEL_ITEMS = 16384, // packets or frames of one batch
    MODEL_BYTES = 48 << 20,
};

struct model_address {
    unsigned version;
    uint8_t bytes[16];
};

struct model_prefix {
    struct model_address base;
    unsigned length;
};

struct model_node {
    struct model_address outer;
    uint8_t mac[6];
    struct model_prefix own[MODEL_PREFIXES];
    unsigned own_count;
    // The table: what the others own, and which node that is.
    struct model_prefix peer[MODEL_PEERS];
    unsigned peer_node[MODEL_PEERS];
    unsigned peer_count;
    // What is expected to have been counted.
    uint64_t drops[KY_DROP_COUNT];
    uint64_t counters[KY_COUNTER_COUNT];
    uint64_t peer_tx_packets[MODEL_PEERS], peer_tx_bytes[MODEL_PEERS];
    uint64_t peer_rx_packets[MODEL_PEERS], peer_rx_bytes[MODEL_PEERS];
};

struct model_world {
    struct model_node node[MODEL_NODES];
    unsigned nodes;
    uint32_t vni;
    uint32_t mtu;
    bool allow_unknown_sources, no_inner_source_check;
};

// Packets or frames in order, with what is known of each.
struct model_item {
    const uint8_t *bytes;
    uint32_t len;
    uint32_t to;       // node
    uint8_t tos;       // a frame's outer one
    bool partial;      // a received packet's checksum is to be completed
    uint16_t gso_size; // a received packet is a superpacket of segments of this size
    uint64_t flow;     // hash of addresses, protocol and, of what is no fragment, ports
};

struct model_list {
    struct model_item item[MODEL_ITEMS];
    unsigned count;
    uint8_t *memory;
    size_t used;
};

void model_list_init(struct model_list *list);
void model_list_free(struct model_list *list);
void model_list_clear(struct model_list *list);
// Appends a copy; returns the item.
struct model_item *model_list_add(struct model_list *list, const uint8_t *bytes, size_t len);

uint64_t model_flow(const uint8_t *packet, size_t len);
bool model_contains(const struct model_prefix *prefix, const struct model_address *address);
// The peer with the longest prefix, -1 when there is none.
int model_find(const struct model_node *node, const struct model_address *address);
void model_frame(const struct model_world *world, unsigned from, unsigned to, uint8_t header[22],
                 unsigned version);

// Sends the packet from the node: appends frames, and counts.
void model_encap(struct model_world *world, unsigned node, const struct ky_vnet *vnet,
                 const uint8_t *packet, size_t len, struct model_list *frames);

struct model_datagram {
    const uint8_t *bytes;
    size_t len;
    size_t gro; // what UDP_GRO says, 0: nothing
    unsigned tos;
    unsigned to; // node
    bool truncated;
    struct model_address from;
};

// Receives the datagram at the node: appends what is to be written, and counts.
void model_decap(struct model_world *world, unsigned node, const struct model_datagram *datagram,
                 struct model_list *arrivals);

#endif
