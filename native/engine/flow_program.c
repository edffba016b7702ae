// The program of flow offload, see flows.h.
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf.h"
#include "flow_program.h"

// Each leads out of the program: PASS to the TUN, ABANDON the flow and then pass, LOST counts and drops.
enum { PASS, ABANDON, LOST, DIRECT, KEEP_CE, SINGLE, COUNTED, TOTALLED, DROPPED };

enum {
    ETH_LEN = 14,
    // On the stack: IPv4 and TCP header of the packet, without options.
    HEAD = -44,
    TOS = HEAD + 1,
    ADDRESSES = HEAD + 12,
    TCP = HEAD + 20,
    HEAD_LEN = 40,
    INDEX = -48,
    BYTES = -56, // of the inner packets, after segmentation
    SIZE = -64,  // of the largest outer packet
    HEADER = SIZE - 8 * KY_FLOW_WORDS,
    // struct bpf_fib_lookup
    FIB = HEADER - 64,
    FIB_PROTO = FIB + 1,
    FIB_SPORT = FIB + 2,
    FIB_TOT_LEN = FIB + 6,
    FIB_IFINDEX = FIB + 8,
    FIB_SRC = FIB + 16,
    FIB_DST = FIB + 32,
    FIB_SKIP_NEIGH = 4,
    REDIRECT_NEIGH = 152, // helpers, include/uapi/linux/bpf.h
    CSUM_DIFF = 28,
    // bpf_skb_adjust_room
    ROOM_MAC = 1,
    ROOM_FIXED_GSO = 1,
    ROOM_IPV4 = 2,
    ROOM_UDP = 16,
    ROOM_ETH = 64,
    DROP = 2,  // TCX_DROP
    NEXT = -1, // TCX_NEXT
};

#define COUNT(field) ((int)offsetof(struct ky_peer_counters, field))
#define TOTAL(field) ((int)offsetof(struct ky_flow_totals, field))
#define TO_BE16(d) FROM_BE16(d)

// r6 = the skb, r7 = the flow, r8 = its state, r9 = the fingerprint, later the number of segments.

static void load_head(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, MOV_REG(6, 1), LOAD(BPF_W, 1, 6, SKB(protocol)),
                JUMP(BPF_JNE, 1, htons(ETH_P_IP), PASS), LOAD_BYTES(0, HEAD, HEAD_LEN),
                JUMP(BPF_JNE, 0, 0, PASS));
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD), JUMP(BPF_JNE, 1, 0x45, PASS),
                LOAD(BPF_B, 1, 10, HEAD + 9), JUMP(BPF_JNE, 1, IPPROTO_TCP, PASS),
                LOAD(BPF_H, 1, 10, HEAD + 6), JUMP(BPF_JSET, 1, htons(0x3fff), PASS));
}

void ky_flows_emit_find(struct ky_bpf_program *p, const struct ky_flows *f, int addresses,
                        int ports, int index, int state, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 10, ports), CONST64(2, KY_FLOW_PRINT), ALU_REG(BPF_MUL, 1, 2),
                LOAD(BPF_DW, 2, 10, addresses), ALU_REG(BPF_XOR, 1, 2), CONST64(2, KY_FLOW_HASH),
                ALU_REG(BPF_MUL, 1, 2), ALU(BPF_RSH, 1, 64 - KY_FLOWS_BITS),
                STORE_REG(BPF_W, 10, 1, index));
    KY_BPF_EMIT(p, MAP(1, f->flows_fd), MOV_REG(2, 10), ALU(BPF_ADD, 2, index),
                CALL(BPF_FUNC_map_lookup_elem), JUMP(BPF_JEQ, 0, 0, no), MOV_REG(7, 0),
                MOV(state, 0), ATOMIC(BPF_DW, BPF_OR | BPF_FETCH, 7, state));
    KY_BPF_EMIT(p, LOAD(BPF_DW, 1, 10, addresses), LOAD(BPF_DW, 2, 7, FLOW(addresses)),
                JUMP_REG(BPF_JNE, 1, 2, no), LOAD(BPF_W, 1, 10, ports),
                LOAD(BPF_W, 2, 7, FLOW(ports)), JUMP_REG(BPF_JNE, 1, 2, no));
}

// A pending flow becomes direct when the last packet left to the TUN is the last one sent.
static void settle(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, MOV_REG(1, 8), ALU(BPF_AND, 1, KY_FLOW_KIND),
                JUMP(BPF_JEQ, 1, KY_FLOW_DIRECT, DIRECT), JUMP(BPF_JNE, 1, KY_FLOW_PENDING, PASS));
    KY_BPF_EMIT(p, LOAD(BPF_DW, 9, 10, TCP), CONST64(2, KY_FLOW_PRINT), ALU_REG(BPF_MUL, 9, 2),
                LOAD(BPF_DW, 1, 10, TCP + 8), ALU_REG(BPF_XOR, 9, 1), ALU_REG(BPF_MUL, 9, 2),
                LOAD(BPF_W, 1, 10, HEAD + 4), ALU_REG(BPF_XOR, 9, 1), ALU_REG(BPF_MUL, 9, 2),
                LOAD(BPF_W, 1, 10, HEAD), ALU_REG(BPF_XOR, 9, 1), ALU(BPF_OR, 9, 1));
    KY_BPF_EMIT(p, LOAD(BPF_DW, 1, 7, FLOW(left)), LOAD(BPF_DW, 2, 7, FLOW(sent)),
                STORE_REG(BPF_DW, 7, 9, FLOW(left)), JUMP(BPF_JEQ, 1, 0, PASS),
                JUMP_REG(BPF_JNE, 1, 2, PASS), MOV_REG(0, 8), MOV_REG(1, 8),
                ALU(BPF_ADD, 1, KY_FLOW_DIRECT - KY_FLOW_PENDING),
                ATOMIC(BPF_DW, BPF_CMPXCHG, 7, 1), JUMP_REG(BPF_JNE, 0, 8, PASS),
                ALU(BPF_ADD, 8, KY_FLOW_DIRECT - KY_FLOW_PENDING), LABEL(DIRECT));
}

// Leaves the number of segments in r9, the bytes of all and the size of one on the stack. What is larger than
// the MTU is the engine's to judge.
static void measure(struct ky_bpf_program *p, const struct ky_flows *f) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 3, 6, SKB(len)), JUMP(BPF_JGT, 3, 0xffff - KY_FLOW_HEADER, ABANDON),
                MOV(9, 1), MOV_REG(2, 3), LOAD(BPF_W, 1, 6, SKB(gso_size)),
                JUMP(BPF_JEQ, 1, 0, SINGLE));
    // The segments after the first have headers of their own. Their number is not taken from the skb, where
    // it may be missing (packets of virtual machines).
    KY_BPF_EMIT(p, LOAD(BPF_B, 2, 10, TCP + 12), ALU(BPF_RSH, 2, 4), ALU(BPF_LSH, 2, 2),
                ALU(BPF_ADD, 2, 20), JUMP_REG(BPF_JLE, 3, 2, ABANDON), MOV_REG(9, 3),
                ALU_REG(BPF_SUB, 9, 2), ALU_REG(BPF_ADD, 9, 1), ALU(BPF_SUB, 9, 1),
                ALU_REG(BPF_DIV, 9, 1), MOV_REG(4, 9), ALU(BPF_SUB, 4, 1), ALU_REG(BPF_MUL, 4, 2),
                ALU_REG(BPF_ADD, 3, 4), ALU_REG(BPF_ADD, 2, 1));
    KY_BPF_EMIT(p, LABEL(SINGLE), JUMP(BPF_JGT, 2, (int)f->config.mtu, PASS),
                STORE_REG(BPF_DW, 10, 3, BYTES), ALU(BPF_ADD, 2, KY_FLOW_HEADER),
                STORE_REG(BPF_DW, 10, 2, SIZE));
}

// The headers, and the state again behind them.
static void load_header(struct ky_bpf_program *p) {
    for (int i = 0; i < KY_FLOW_WORDS; i++)
        KY_BPF_EMIT(p, LOAD(BPF_DW, 1, 7, FLOW(header) + 8 * i),
                    STORE_REG(BPF_DW, 10, 1, HEADER + 8 * i));
    KY_BPF_EMIT(p, MOV(1, 0), ATOMIC(BPF_DW, BPF_OR | BPF_FETCH, 7, 1),
                JUMP_REG(BPF_JNE, 1, 8, PASS));
}

// As in inject.c. What the underlay would have to fragment is not sent this way.
static void find_route(struct ky_bpf_program *p, const struct ky_flows *f) {
    for (int at = FIB; at < FIB + 64; at += 8)
        KY_BPF_EMIT(p, STORE(BPF_DW, 10, at, 0));
    KY_BPF_EMIT(p, STORE(BPF_B, 10, FIB, AF_INET), STORE(BPF_B, 10, FIB_PROTO, IPPROTO_UDP),
                STORE(BPF_W, 10, FIB_IFINDEX, (int)f->config.forwarder), LOAD(BPF_DW, 1, 10, SIZE),
                STORE_REG(BPF_H, 10, 1, FIB_TOT_LEN), LOAD(BPF_H, 1, 10, HEADER + 20),
                STORE_REG(BPF_H, 10, 1, FIB_SPORT), LOAD(BPF_H, 1, 10, HEADER + 22),
                STORE_REG(BPF_H, 10, 1, FIB_SPORT + 2), LOAD(BPF_W, 1, 10, HEADER + 12),
                STORE_REG(BPF_W, 10, 1, FIB_SRC), LOAD(BPF_W, 1, 10, HEADER + 16),
                STORE_REG(BPF_W, 10, 1, FIB_DST));
    KY_BPF_EMIT(p, MOV_REG(1, 6), MOV_REG(2, 10), ALU(BPF_ADD, 2, FIB), MOV(3, 64),
                MOV(4, FIB_SKIP_NEIGH), CALL(BPF_FUNC_fib_lookup), JUMP(BPF_JNE, 0, 0, ABANDON));
}

// What differs from packet to packet: lengths, identification (one a segment), ECN as in ecn.h, checksum.
static void complete_header(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 6, SKB(len)), MOV_REG(2, 1), ALU(BPF_ADD, 1, KY_FLOW_HEADER),
                TO_BE16(1), STORE_REG(BPF_H, 10, 1, HEADER + 2),
                ALU(BPF_ADD, 2, KY_FLOW_HEADER - 20), TO_BE16(2),
                STORE_REG(BPF_H, 10, 2, HEADER + 24));
    KY_BPF_EMIT(p, MOV_REG(1, 9), ATOMIC_AT(BPF_W, BPF_ADD | BPF_FETCH, 7, 1, FLOW(ip_id)),
                TO_BE16(1), STORE_REG(BPF_H, 10, 1, HEADER + 4));
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, TOS), ALU(BPF_AND, 1, 3), JUMP(BPF_JNE, 1, 3, KEEP_CE),
                MOV(1, 2), LABEL(KEEP_CE), STORE_REG(BPF_B, 10, 1, HEADER + 1));
    KY_BPF_EMIT(p, MOV(1, 0), MOV(2, 0), MOV_REG(3, 10), ALU(BPF_ADD, 3, HEADER), MOV(4, 20),
                MOV(5, 0), CALL(CSUM_DIFF));
    for (int i = 0; i < 2; i++)
        KY_BPF_EMIT(p, MOV_REG(1, 0), ALU(BPF_RSH, 1, 16), ALU(BPF_AND, 1, 0xffff),
                    ALU(BPF_AND, 0, 0xffff), ALU_REG(BPF_ADD, 0, 1));
    KY_BPF_EMIT(p, ALU(BPF_XOR, 0, 0xffff), STORE_REG(BPF_H, 10, 0, HEADER + 10));
}

static void prepend(struct ky_bpf_program *p) {
    const uint64_t flags = ROOM_FIXED_GSO | ROOM_IPV4 | ROOM_UDP | ROOM_ETH |
                           (uint64_t)ETH_LEN << BPF_ADJ_ROOM_ENCAP_L2_SHIFT;
    KY_BPF_EMIT(p, MOV_REG(1, 6), MOV(2, KY_FLOW_HEADER), MOV(3, ROOM_MAC), CONST64(4, flags),
                CALL(BPF_FUNC_skb_adjust_room), JUMP(BPF_JNE, 0, 0, ABANDON));
    KY_BPF_EMIT(p, MOV_REG(1, 6), MOV(2, 0), MOV_REG(3, 10), ALU(BPF_ADD, 3, HEADER),
                MOV(4, KY_FLOW_HEADER), MOV(5, 0), CALL(BPF_FUNC_skb_store_bytes),
                JUMP(BPF_JNE, 0, 0, LOST));
    // Room for the underlay's Ethernet header, which the neighbour layer writes.
    KY_BPF_EMIT(p, MOV_REG(1, 6), MOV(2, ETH_LEN), MOV(3, 0), CALL(BPF_FUNC_skb_change_head),
                JUMP(BPF_JNE, 0, 0, LOST));
}

void ky_flows_emit_count(struct ky_bpf_program *p, int map_fd, int index, int bytes, int direction,
                         int no) {
    KY_BPF_EMIT(
        p, MAP(1, map_fd), MOV_REG(2, 10), ALU(BPF_ADD, 2, index), CALL(BPF_FUNC_map_lookup_elem),
        JUMP(BPF_JEQ, 0, 0, no), ATOMIC_AT(BPF_DW, BPF_ADD, 0, 9, direction + COUNT(packets)),
        LOAD(BPF_DW, 1, 10, bytes), ATOMIC_AT(BPF_DW, BPF_ADD, 0, 1, direction + COUNT(bytes)));
}

static void redirect(struct ky_bpf_program *p, const struct ky_flows *f) {
    KY_BPF_EMIT(p, MOV(1, 1), ATOMIC_AT(BPF_DW, BPF_ADD, 7, 1, FLOW(sends)),
                LOAD(BPF_W, 1, 7, FLOW(peer)), STORE_REG(BPF_W, 10, 1, INDEX));
    ky_flows_emit_count(p, f->counters_fd, INDEX, BYTES, KY_FLOW_SENT, COUNTED);
    KY_BPF_EMIT(p, LABEL(COUNTED), STORE(BPF_W, 10, INDEX, 0));
    ky_flows_emit_count(p, f->totals_fd, INDEX, BYTES, KY_FLOW_SENT, TOTALLED);
    KY_BPF_EMIT(p, MOV(1, 1), ATOMIC_AT(BPF_DW, BPF_ADD, 0, 1, TOTAL(sends)), LABEL(TOTALLED));
    // struct bpf_redir_neigh as in inject.c
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, FIB), STORE_REG(BPF_W, 10, 1, FIB_DST - 4),
                LOAD(BPF_W, 1, 10, FIB_IFINDEX), MOV_REG(2, 10), ALU(BPF_ADD, 2, FIB_DST - 4),
                MOV(3, 20), MOV(4, 0), CALL(REDIRECT_NEIGH), EXIT);
}

static void leave(struct ky_bpf_program *p, const struct ky_flows *f) {
    KY_BPF_EMIT(p, LABEL(LOST), STORE(BPF_W, 10, INDEX, 0), MAP(1, f->totals_fd), MOV_REG(2, 10),
                ALU(BPF_ADD, 2, INDEX), CALL(BPF_FUNC_map_lookup_elem),
                JUMP(BPF_JEQ, 0, 0, DROPPED), MOV(1, 1),
                ATOMIC_AT(BPF_DW, BPF_ADD, 0, 1, TOTAL(lost)), LABEL(DROPPED), MOV(0, DROP), EXIT);
    KY_BPF_EMIT(p, LABEL(ABANDON), MOV_REG(0, 8), MOV(1, KY_FLOW_EMPTY),
                ATOMIC(BPF_DW, BPF_CMPXCHG, 7, 1), LABEL(PASS), MOV(0, NEXT), EXIT);
}

static int load(const struct ky_flows *f) {
    struct ky_bpf_program p = {0};
    load_head(&p);
    ky_flows_emit_find(&p, f, ADDRESSES, TCP, INDEX, 8, PASS);
    settle(&p);
    measure(&p, f);
    load_header(&p);
    find_route(&p, f);
    complete_header(&p);
    prepend(&p);
    redirect(&p, f);
    leave(&p, f);
    // See inject.c for the licence.
    return ky_bpf_load(&p, BPF_PROG_TYPE_SCHED_CLS, "GPL");
}

int ky_flows_attach(const struct ky_flows *f, const char **step) {
    *step = "program";
    int program = load(f);
    if (program < 0)
        return program;
    *step = "attach";
    int link = ky_bpf_attach(program, f->config.ifindex, KY_TCX_EGRESS);
    close(program); // the link holds it
    return link;
}
