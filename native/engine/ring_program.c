// The program of the receive ring, see ring.h. It says what it is sure of and leaves all else to the
// kernel: the checks of ip_rcv and udp_rcv that it repeats are those without which a datagram could be
// taken for another one; the UDP checksum is verified where the datagram is read.
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "bpf.h"
#include "flow_program.h"
#include "ring.h"

enum { NEXT, DETOUR, DISCARD, SUBMIT_RECORD, NOT_PAST, WHOLE };

enum {
    ETH_LEN = 14,
    HEAD = -48, // IP and UDP header on the stack
    KEY = HEAD - 8,
    TAKEN = 2,     // TCX_DROP
    LEFT = -1,     // TCX_NEXT
    NO_WAKEUP = 1, // BPF_RB_NO_WAKEUP
    FORCE_WAKEUP = 2,
    FRAGMENT = 44,  // IPv6 next header
    CSUM_DIFF = 28, // helpers, include/uapi/linux/bpf.h
    RESERVE = 131,
    SUBMIT = 132,
    DISCARD_RECORD = 133,
};

#define STATE(field) ((int)offsetof(struct ky_ring_state, field))

// r6 = the skb, r7 = the packet's length from the IP header on, r8 = the state, r9 = the record.

static void is_addressed4(struct ky_bpf_program *p, const struct ky_ring_filter *f) {
    int local = (int)htonl(ky_ip_v4(f->local));
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD + 9), JUMP(BPF_JNE, 1, IPPROTO_UDP, NEXT),
                LOAD(BPF_W, 1, 10, HEAD + 16), JUMP32(BPF_JNE, 1, local, NEXT));
}

static void is_addressed6(struct ky_bpf_program *p, const struct ky_ring_filter *f) {
    int word[4];
    memcpy(word, f->local.w, sizeof word);
    for (int i = 0; i < 4; i++)
        KY_BPF_EMIT(p, LOAD(BPF_W, 1, 10, HEAD + 24 + 4 * i), JUMP32(BPF_JNE, 1, word[i], NEXT));
}

static void load_state(struct ky_bpf_program *p, const struct ky_ring *ring) {
    KY_BPF_EMIT(p, STORE(BPF_W, 10, KEY, 0), MAP(1, ring->state_fd), MOV_REG(2, 10),
                ALU(BPF_ADD, 2, KEY), CALL(BPF_FUNC_map_lookup_elem), JUMP(BPF_JEQ, 0, 0, NEXT),
                MOV_REG(8, 0));
}

// Fragments and options hide the port, so they may be ours.
static void has_port4(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD), JUMP(BPF_JNE, 1, 0x45, DETOUR),
                LOAD(BPF_H, 1, 10, HEAD + 6), JUMP(BPF_JSET, 1, htons(0x3fff), DETOUR));
}

static void has_port6(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD + 6), JUMP(BPF_JEQ, 1, FRAGMENT, DETOUR),
                JUMP(BPF_JNE, 1, IPPROTO_UDP, NEXT));
}

// Leaves the packet's length in r7.
static void is_plain4(struct ky_bpf_program *p, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD + 1), JUMP(BPF_JSET, 1, 1, no), // ECT(1), CE
                LOAD(BPF_H, 7, 10, HEAD + 2), FROM_BE16(7));
    // The header's checksum, as ip_rcv verifies it.
    KY_BPF_EMIT(p, MOV(1, 0), MOV(2, 0), MOV_REG(3, 10), ALU(BPF_ADD, 3, HEAD), MOV(4, 20),
                MOV(5, 0), CALL(CSUM_DIFF));
    for (int i = 0; i < 2; i++)
        KY_BPF_EMIT(p, MOV_REG(1, 0), ALU(BPF_RSH, 1, 16), ALU(BPF_AND, 1, 0xffff),
                    ALU(BPF_AND, 0, 0xffff), ALU_REG(BPF_ADD, 0, 1));
    KY_BPF_EMIT(p, JUMP(BPF_JNE, 0, 0xffff, no));
}

static void is_plain6(struct ky_bpf_program *p, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_B, 1, 10, HEAD + 1), JUMP(BPF_JSET, 1, 0x10, no), // ECT(1), CE
                LOAD(BPF_H, 1, 10, HEAD + 46), JUMP(BPF_JEQ, 1, 0, no),       // no checksum
                LOAD(BPF_H, 7, 10, HEAD + 4), FROM_BE16(7), ALU(BPF_ADD, 7, 40));
}

// UDP's length is the rest of the packet, which is all there.
static void is_whole(struct ky_bpf_program *p, int ip, int no) {
    KY_BPF_EMIT(p, JUMP(BPF_JLT, 7, ip + 8, no), LOAD(BPF_W, 1, 6, SKB(len)),
                ALU(BPF_SUB, 1, ETH_LEN), JUMP_REG(BPF_JLT, 1, 7, no),
                LOAD(BPF_H, 1, 10, HEAD + ip + 4), FROM_BE16(1), ALU(BPF_ADD, 1, ip),
                JUMP_REG(BPF_JNE, 1, 7, no));
}

static void fits(struct ky_bpf_program *p, const struct ky_ring_filter *f, int no) {
    KY_BPF_EMIT(p, LOAD(BPF_W, 1, 6, SKB(gso_size)), JUMP(BPF_JNE, 1, 0, no),
                JUMP(BPF_JGT, 7, (int)f->largest, no));
}

static void is_admitted(struct ky_bpf_program *p, const struct ky_ring *ring, int source, int no) {
    KY_BPF_EMIT(p, MAP(1, ring->admitted_fd), MOV_REG(2, 10), ALU(BPF_ADD, 2, source),
                CALL(BPF_FUNC_map_lookup_elem), JUMP(BPF_JEQ, 0, 0, no), LOAD(BPF_DW, 9, 0, 0),
                CALL(BPF_FUNC_ktime_get_ns), JUMP_REG(BPF_JGT, 0, 9, no));
}

// The state is read again once the record is reserved: the engine writes it and then looks for
// records, so one of the two sees the other.
static void take(struct ky_bpf_program *p, const struct ky_ring *ring,
                 const struct ky_ring_filter *f) {
    KY_BPF_EMIT(p, MAP(1, ring->ring_fd), MOV(2, (int)(KY_RING_PACKET_AT + f->largest)), MOV(3, 0),
                CALL(RESERVE), JUMP(BPF_JEQ, 0, 0, DETOUR), MOV_REG(9, 0), MOV(1, 0),
                ATOMIC(BPF_DW, BPF_ADD | BPF_FETCH, 8, 1),
                JUMP(BPF_JSET, 1, KY_RING_DETOUR, DISCARD), STORE_REG(BPF_DW, 10, 1, KEY));
    KY_BPF_EMIT(p, STORE_REG(BPF_W, 9, 7, KY_RING_LEN_AT), MOV_REG(1, 6), MOV(2, ETH_LEN),
                MOV_REG(3, 9), ALU(BPF_ADD, 3, KY_RING_PACKET_AT), MOV_REG(4, 7),
                CALL(BPF_FUNC_skb_load_bytes), JUMP(BPF_JNE, 0, 0, DISCARD));
    // One wake-up is enough for a sleep.
    KY_BPF_EMIT(p, MOV(2, NO_WAKEUP), LOAD(BPF_DW, 1, 10, KEY), ALU(BPF_AND, 1, KY_RING_ASLEEP),
                JUMP(BPF_JEQ, 1, 0, SUBMIT_RECORD), MOV(2, FORCE_WAKEUP), MOV(1, ~KY_RING_ASLEEP),
                ATOMIC(BPF_DW, BPF_AND, 8, 1), LABEL(SUBMIT_RECORD), MOV_REG(1, 9), CALL(SUBMIT),
                MOV(0, TAKEN), EXIT);
}

// Counted first: whoever ends the detour in between notices.
static void leave(struct ky_bpf_program *p) {
    KY_BPF_EMIT(p, LABEL(DISCARD), MOV_REG(1, 9), MOV(2, NO_WAKEUP), CALL(DISCARD_RECORD));
    KY_BPF_EMIT(p, LABEL(DETOUR), MOV(1, KY_RING_LEFT_ONE), ATOMIC(BPF_DW, BPF_ADD, 8, 1),
                MOV(1, KY_RING_DETOUR), ATOMIC(BPF_DW, BPF_OR, 8, 1));
    KY_BPF_EMIT(p, LABEL(NEXT), MOV(0, LEFT), EXIT);
}

// Packets of flows go to the TUN while the engine sleeps.
static void pass_by(struct ky_bpf_program *p, const struct ky_ring *ring,
                    const struct ky_ring_filter *f) {
    KY_BPF_EMIT(p, LOAD(BPF_DW, 1, 8, STATE(quiet)), LOAD(BPF_DW, 2, 8, STATE(now)),
                JUMP_REG(BPF_JNE, 1, 2, NOT_PAST));
    is_plain4(p, NOT_PAST);
    if (f->payload)
        KY_BPF_EMIT(p, LOAD(BPF_W, 1, 6, SKB(gso_size)), JUMP(BPF_JNE, 1, 0, WHOLE));
    fits(p, f, NOT_PAST);
    KY_BPF_EMIT(p, LABEL(WHOLE));
    is_whole(p, 20, NOT_PAST);
    is_admitted(p, ring, HEAD + 12, NOT_PAST);
    ky_flows_emit_receive(p, f->flows, f->payload, HEAD + 12, NOT_PAST);
    KY_BPF_EMIT(p, LABEL(NOT_PAST));
}

static int load(const struct ky_ring *ring, const struct ky_ring_filter *f) {
    struct ky_bpf_program p = {0};
    int ip = ring->v6 ? 40 : 20;
    KY_BPF_EMIT(&p, MOV_REG(6, 1), LOAD(BPF_W, 1, 6, SKB(protocol)),
                JUMP(BPF_JNE, 1, htons(ring->v6 ? ETH_P_IPV6 : ETH_P_IP), NEXT),
                LOAD(BPF_W, 1, 6, SKB(pkt_type)), JUMP(BPF_JNE, 1, 0 /* PACKET_HOST */, NEXT),
                LOAD(BPF_W, 1, 6, SKB(vlan_present)), JUMP(BPF_JNE, 1, 0, NEXT));
    KY_BPF_EMIT(&p, LOAD_BYTES(ETH_LEN, HEAD, ip + 8), JUMP(BPF_JNE, 0, 0, NEXT));
    (ring->v6 ? is_addressed6 : is_addressed4)(&p, f);
    load_state(&p, ring);
    (ring->v6 ? has_port6 : has_port4)(&p);
    KY_BPF_EMIT(&p, LOAD(BPF_H, 1, 10, HEAD + ip + 2), JUMP(BPF_JNE, 1, htons(f->port), NEXT));
    if (f->flows != NULL)
        pass_by(&p, ring, f);
    KY_BPF_EMIT(&p, LOAD(BPF_DW, 1, 8, STATE(now)), JUMP(BPF_JSET, 1, KY_RING_DETOUR, DETOUR));
    (ring->v6 ? is_plain6 : is_plain4)(&p, DETOUR);
    fits(&p, f, DETOUR);
    is_whole(&p, ip, DETOUR);
    is_admitted(&p, ring, ring->v6 ? HEAD + 8 : HEAD + 12, DETOUR);
    take(&p, ring, f);
    leave(&p);
    // Helpers used here are for programs of any licence; see inject.c for this one's.
    return ky_bpf_load(&p, BPF_PROG_TYPE_SCHED_CLS, "Apache-2.0");
}

int ky_ring_attach(const struct ky_ring *ring, const struct ky_ring_filter *filter,
                   const char **step) {
    *step = "program";
    int program = load(ring, filter);
    if (program < 0)
        return program;
    *step = "attach";
    int link = ky_bpf_attach(program, filter->ifindex, KY_TCX_INGRESS);
    close(program); // the link holds it
    return link;
}
