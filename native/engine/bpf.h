// eBPF programs written by hand: mnemonics, labels, and the bpf(2) calls. The programs are as long as
// a page each, and a compiler for them would be a build dependency. Mnemonics are those of the
// kernel's bpf instruction set document (RFC 9669).
#ifndef KY_BPF_H
#define KY_BPF_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#define MOV(d, i) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (d), .imm = (i)}
#define MOV_REG(d, s) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define ALU(op, d, i) {.code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (d), .imm = (i)}
#define ALU_REG(op, d, s) {.code = BPF_ALU64 | (op) | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define ALU32(op, d, i) {.code = BPF_ALU | (op) | BPF_K, .dst_reg = (d), .imm = (i)}
// From network order to the host's; the result is of that width.
#define FROM_BE16(d) {.code = BPF_ALU | BPF_END | BPF_TO_BE, .dst_reg = (d), .imm = 16}
#define LOAD(size, d, s, o)                                                                        \
    {.code = BPF_LDX | BPF_MEM | (size), .dst_reg = (d), .src_reg = (s), .off = (int16_t)(o)}
#define STORE(size, d, o, i)                                                                       \
    {.code = BPF_ST | BPF_MEM | (size), .dst_reg = (d), .off = (o), .imm = (i)}
#define STORE_REG(size, d, s, o)                                                                   \
    {.code = BPF_STX | BPF_MEM | (size), .dst_reg = (d), .src_reg = (s), .off = (int16_t)(o)}
// op with BPF_FETCH leaves the old value in s, and is a full barrier.
#define ATOMIC(size, op, d, s) ATOMIC_AT(size, op, d, s, 0)
#define ATOMIC_AT(size, op, d, s, o)                                                               \
    {.code = BPF_STX | 0xc0 | (size),                                                              \
     .dst_reg = (d),                                                                               \
     .src_reg = (s),                                                                               \
     .off = (int16_t)(o),                                                                          \
     .imm = (op)}
#define CONST64(d, v)                                                                              \
    {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = (d), .imm = (int)(uint32_t)(v)}, {              \
        .imm = (int)(uint32_t)((uint64_t)(v) >> 32)                                                \
    }
// Legacy loads: the packet (r6) at an offset into r0; beyond its end the program returns 0.
#define LOAD_ABS(size, at) {.code = BPF_LD | BPF_ABS | (size), .imm = (at)}
#define LOAD_IND(size, s) {.code = BPF_LD | BPF_IND | (size), .src_reg = (s)}
#define MAP(d, fd)                                                                                 \
    {.code = BPF_LD | BPF_DW | BPF_IMM,                                                            \
     .dst_reg = (d),                                                                               \
     .src_reg = BPF_PSEUDO_MAP_FD,                                                                 \
     .imm = (fd)},                                                                                 \
        {0}
#define CALL(f) {.code = BPF_JMP | BPF_CALL, .imm = (f)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}
// Bytes of the frame (r6 = the skb) to the stack. r0 is 0 when there are so many.
#define LOAD_BYTES(from, to, length)                                                               \
    MOV_REG(1, 6), MOV(2, from), MOV_REG(3, 10), ALU(BPF_ADD, 3, to), MOV(4, length),              \
        CALL(BPF_FUNC_skb_load_bytes)
#define SKB(field) ((int)offsetof(struct __sk_buff, field))

// Jumps go forward to labels, which are small numbers.
#define LABEL(n) {.code = KY_BPF_LABEL, .imm = (n)}
#define JUMP(op, d, i, label)                                                                      \
    {.code = BPF_JMP | (op) | BPF_K, .dst_reg = (d), .off = (int16_t)(label), .imm = (i)}
#define JUMP_REG(op, d, s, label)                                                                  \
    {.code = BPF_JMP | (op) | BPF_X, .dst_reg = (d), .src_reg = (s), .off = (int16_t)(label)}
#define JUMP32(op, d, i, label)                                                                    \
    {.code = BPF_JMP32 | (op) | BPF_K, .dst_reg = (d), .off = (int16_t)(label), .imm = (i)}
#define GOTO(label) {.code = BPF_JMP | BPF_JA, .off = (int16_t)(label)}

enum {
    KY_BPF_LABEL = 0xff, // no instruction has this code
    KY_BPF_MAX = 512,
    KY_TCX_INGRESS = 46, // BPF_TCX_INGRESS, Linux 6.6
    KY_TCX_EGRESS = 47,
};

struct ky_bpf_program {
    unsigned count;
    struct bpf_insn insn[KY_BPF_MAX];
};

void ky_bpf_append(struct ky_bpf_program *program, const struct bpf_insn *insns, unsigned count);
#define KY_BPF_EMIT(program, ...)                                                                  \
    ky_bpf_append(program, (const struct bpf_insn[]){__VA_ARGS__},                                 \
                  sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn))

// Each returns a descriptor or -errno.
int ky_bpf_load(struct ky_bpf_program *program, enum bpf_prog_type type, const char *license);
int ky_bpf_map(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries,
               uint32_t flags);
// Attaches the program to what comes in (KY_TCX_INGRESS) or goes out (KY_TCX_EGRESS) through the device,
// behind what is attached already. The descriptor holds both.
int ky_bpf_attach(int program_fd, unsigned ifindex, int where);

// Each returns 0 or -errno.
int ky_bpf_lookup(int map_fd, const void *key, void *value);
int ky_bpf_update(int map_fd, const void *key, const void *value);

#endif
