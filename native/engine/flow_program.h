// Parts of the programs of flow offload (flow_program.c, flow_receive.c). Jumps go to the label `no` when
// something is not so.
#ifndef KY_FLOW_PROGRAM_H
#define KY_FLOW_PROGRAM_H

#include <stddef.h>

#include "bpf.h"
#include "flows.h"

#define FLOW(field) ((int)offsetof(struct ky_flow, field))

enum {
    // The receive ring's program leaves the stack below, and labels from here on, to these.
    KY_FLOW_STACK = -56,
    KY_FLOW_LABEL = 16,
    // Where a direction's counters lie among those of a peer and of all.
    KY_FLOW_SENT = offsetof(struct ky_flow_counters, sent),
    KY_FLOW_RECEIVED = offsetof(struct ky_flow_counters, received),
};

// Leaves in r7 the flow with the addresses and ports that are on the stack, and its state in a register.
// Uses four bytes on the stack at `index`.
void ky_flows_emit_find(struct ky_bpf_program *program, const struct ky_flows *flows, int addresses,
                        int ports, int index, int state, int no);

// Adds r9 packets, and the bytes that are on the stack, to the counters of a map at an index on the stack,
// which r0 points to then.
void ky_flows_emit_count(struct ky_bpf_program *program, int map_fd, int index, int bytes,
                         int direction, int no);

// Ends the way of a packet of a flow: r6 is the skb, which has the flow's port and is plain, r7 the length of the
// outer packet, whose source address is on the stack at `source`. Without `payload` only acknowledgements.
// Changes r7 and r9.
void ky_flows_emit_receive(struct ky_bpf_program *program, const struct ky_flows *flows,
                           bool payload, int source, int no);

#endif
