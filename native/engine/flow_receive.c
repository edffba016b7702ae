// Packets of flows come in as the flows go out, see flows.h: the part of the receive ring's program
// (ring_program.c) that takes their headers away and hands them to the TUN.
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stddef.h>

#include "bpf.h"
#include "flow_program.h"

enum { COUNTED = KY_FLOW_LABEL, TOTALLED, SINGLE, ACKNOWLEDGES, MEASURED };

enum {
    ETH_LEN = 14,
    OUTER_LEN = KY_FLOW_HEADER, // from the outer IP header to the inner one
    ACK = 0x10,                 // TCP flags
    PSH = 0x08,
    // On the stack: VXLAN and inner Ethernet header, inner IPv4 and TCP header without options, and what is
    // looked up by them.
    ENCAP = KY_FLOW_STACK - 24,
    INNER = ENCAP - 40,
    TCP = INNER + 20,
    ADDRESSES = INNER - 8,
    PORTS = ADDRESSES - 4,
    INDEX = PORTS - 4,
    BYTES = INDEX - 8, // of the inner packets, after segmentation
    PACKETS = BYTES - 8,
    // In a flow's header, and in an outer packet.
    PEER = 16,
    VXLAN = 28,
    PEER_MAC = VXLAN + 8,
    OWN_MAC = PEER_MAC + 6,
    // bpf_skb_adjust_room, bpf_redirect
    ROOM_MAC = 1,
    ROOM_FIXED_GSO = 1, // the size of segments is the inner ones'
    INGRESS = 1,
};

// r6 = the skb, r7 = the outer packet's length, later the flow, r9 = the flow's state.

// TCP over plain IPv4, with ACK and perhaps PSH, all that the outer packet holds. Leaves the length of the inner
// packet in r7, that of its headers in r1 and its flags in r2.
static void is_plain_tcp(struct ky_bpf_program *p, int no) {
    KY_BPF_EMIT(p, LOAD_BYTES(ETH_LEN + VXLAN, ENCAP, KY_ENCAP_LEN), JUMP(BPF_JNE, 0, 0, no),
                LOAD_BYTES(ETH_LEN + OUTER_LEN, INNER, 40), JUMP(BPF_JNE, 0, 0, no));
    KY_BPF_EMIT(p, LOAD(BPF_H, 1, 10, ENCAP + 20), JUMP(BPF_JNE, 1, htons(ETH_P_IP), no),
                LOAD(BPF_B, 1, 10, INNER), JUMP(BPF_JNE, 1, 0x45, no),
                LOAD(BPF_B, 1, 10, INNER + 9), JUMP(BPF_JNE, 1, IPPROTO_TCP, no),
                LOAD(BPF_H, 1, 10, INNER + 6), JUMP(BPF_JSET, 1, htons(0x3fff), no));
    KY_BPF_EMIT(p, LOAD(BPF_B, 2, 10, TCP + 13), MOV_REG(1, 2), ALU(BPF_AND, 1, ~PSH & 0xff),
                JUMP(BPF_JNE, 1, ACK, no), ALU(BPF_SUB, 7, OUTER_LEN),
                LOAD(BPF_H, 1, 10, INNER + 2), FROM_BE16(1), JUMP_REG(BPF_JNE, 1, 7, no),
                LOAD(BPF_B, 1, 10, TCP + 12), ALU(BPF_RSH, 1, 4), JUMP(BPF_JLT, 1, 5, no),
                ALU(BPF_LSH, 1, 2), ALU(BPF_ADD, 1, 20), JUMP_REG(BPF_JLT, 7, 1, no));
}

// Single packets: acknowledgements, and the last one of what a program has sent. Others have more behind them,
// which the engine merges. Writes what is to be counted.
static void is_worth_it(struct ky_bpf_program *p, bool payload, int no) {
    KY_BPF_EMIT(p, MOV_REG(3, 7), MOV(4, 1));
    if (payload) {
        // The segments after the first have headers of their own. Their number is not taken from the skb, see
        // flow_program.c.
        KY_BPF_EMIT(p, LOAD(BPF_W, 5, 6, SKB(gso_size)), JUMP(BPF_JEQ, 5, 0, SINGLE), MOV_REG(4, 7),
                    ALU_REG(BPF_SUB, 4, 1), ALU_REG(BPF_ADD, 4, 5), ALU(BPF_SUB, 4, 1),
                    ALU_REG(BPF_DIV, 4, 5), JUMP(BPF_JEQ, 4, 0, no), MOV_REG(5, 4),
                    ALU(BPF_SUB, 5, 1), ALU_REG(BPF_MUL, 5, 1), ALU_REG(BPF_ADD, 3, 5),
                    GOTO(MEASURED));
        KY_BPF_EMIT(p, LABEL(SINGLE), JUMP_REG(BPF_JEQ, 7, 1, ACKNOWLEDGES),
                    JUMP(BPF_JEQ, 2, ACK, no), GOTO(MEASURED));
    }
    KY_BPF_EMIT(p, LABEL(ACKNOWLEDGES), JUMP(BPF_JNE, 2, ACK, no), JUMP_REG(BPF_JNE, 7, 1, no),
                LABEL(MEASURED), STORE_REG(BPF_DW, 10, 3, BYTES),
                STORE_REG(BPF_DW, 10, 4, PACKETS));
}

// The flow to which it belongs: addresses and ports the other way round.
static void find(struct ky_bpf_program *p, const struct ky_flows *f, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 10, INNER + 16), STORE_REG(BPF_W, 10, 1, ADDRESSES),
                LOAD(BPF_W, 1, 10, INNER + 12), STORE_REG(BPF_W, 10, 1, ADDRESSES + 4),
                LOAD(BPF_H, 1, 10, TCP + 2), STORE_REG(BPF_H, 10, 1, PORTS),
                LOAD(BPF_H, 1, 10, TCP), STORE_REG(BPF_H, 10, 1, PORTS + 2));
    ky_flows_emit_find(p, f, ADDRESSES, PORTS, INDEX, 9, no);
    KY_BPF_EMIT(p, MOV_REG(1, 9), ALU(BPF_AND, 1, KY_FLOW_KIND),
                JUMP(BPF_JEQ, 1, KY_FLOW_EMPTY, no));
}

// It comes from where the flow goes, in the very headers that a peer writes; and the state again behind them.
static void comes_from_peer(struct ky_bpf_program *p, int source, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 10, source), LOAD(BPF_W, 2, 7, FLOW(header) + PEER),
                JUMP_REG(BPF_JNE, 1, 2, no));
    for (int i = 0; i < 8; i += 4)
        KY_BPF_EMIT(p, LOAD(BPF_W, 1, 10, ENCAP + i), LOAD(BPF_W, 2, 7, FLOW(header) + VXLAN + i),
                    JUMP_REG(BPF_JNE, 1, 2, no));
    for (int i = 0; i < 6; i += 2)
        KY_BPF_EMIT(p, LOAD(BPF_H, 1, 10, ENCAP + 8 + i),
                    LOAD(BPF_H, 2, 7, FLOW(header) + OWN_MAC + i), JUMP_REG(BPF_JNE, 1, 2, no),
                    LOAD(BPF_H, 1, 10, ENCAP + 14 + i),
                    LOAD(BPF_H, 2, 7, FLOW(header) + PEER_MAC + i), JUMP_REG(BPF_JNE, 1, 2, no));
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 7, FLOW(peer)), STORE_REG(BPF_W, 10, 1, INDEX), MOV(1, 0),
                ATOMIC(BPF_DW, BPF_OR | BPF_FETCH, 7, 1), JUMP_REG(BPF_JNE, 1, 9, no));
}

static void deliver(struct ky_bpf_program *p, const struct ky_flows *f, int no) {
    KY_BPF_EMIT(p, MOV_REG(1, 6), MOV(2, -OUTER_LEN), MOV(3, ROOM_MAC), MOV(4, ROOM_FIXED_GSO),
                CALL(BPF_FUNC_skb_adjust_room), JUMP(BPF_JNE, 0, 0, no),
                LOAD(BPF_DW, 9, 10, PACKETS));
    ky_flows_emit_count(p, f->counters_fd, INDEX, BYTES, KY_FLOW_RECEIVED, COUNTED);
    KY_BPF_EMIT(p, LABEL(COUNTED), STORE(BPF_W, 10, INDEX, 0));
    ky_flows_emit_count(p, f->totals_fd, INDEX, BYTES, KY_FLOW_RECEIVED, TOTALLED);
    KY_BPF_EMIT(p, LABEL(TOTALLED), MOV(1, (int)f->config.ifindex), MOV(2, INGRESS),
                CALL(BPF_FUNC_redirect), EXIT);
}

void ky_flows_emit_receive(struct ky_bpf_program *p, const struct ky_flows *f, bool payload,
                           int source, int no) {
    is_plain_tcp(p, no);
    is_worth_it(p, payload, no);
    find(p, f, no);
    comes_from_peer(p, source, no);
    deliver(p, f, no);
}
