#include "steer.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Mnemonics are those of the kernel's bpf instruction set document. LOAD reads the packet at an
// offset into r0, and ends the program with 0, the first queue, where the packet is shorter.
#define LOAD(size, at) {.code = BPF_LD | BPF_ABS | (size), .imm = (at)}
#define LOAD_BEHIND(reg, size) {.code = BPF_LD | BPF_IND | (size), .src_reg = (reg)}
#define MOV_REG(d, s) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define ALU(op, d, i) {.code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (d), .imm = (i)}
#define ADD_REG(d, s) {.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define JUMP(op, d, i, o) {.code = BPF_JMP | (op) | BPF_K, .dst_reg = (d), .off = (o), .imm = (i)}
#define GOTO(o) {.code = BPF_JMP | BPF_JA, .off = (o)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}
// The hash is r7: multiply by an odd number, add the next word.
#define MIX(at) ALU(BPF_MUL, 7, 0x01000193), LOAD(BPF_W, at), ADD_REG(7, 0)

// r6 = the packet, r7 = the hash, r8 = protocol, r9 = where the ports are.
static int load_program(void) {
    struct bpf_insn program[] = {
        MOV_REG(6, 1),
        ALU(BPF_MOV, 7, 0),
        LOAD(BPF_B, 0),
        MOV_REG(9, 0),
        ALU(BPF_RSH, 0, 4),
        JUMP(BPF_JEQ, 0, 6, 14), // to IPv6
        MIX(12),
        MIX(16),
        LOAD(BPF_B, 9),
        MOV_REG(8, 0),
        LOAD(BPF_H, 6),
        ALU(BPF_AND, 0, 0x3fff),
        JUMP(BPF_JNE, 0, 0, 36), // a fragment: addresses only
        ALU(BPF_AND, 9, 15),
        ALU(BPF_LSH, 9, 2),
        GOTO(27), // to ports
        // IPv6
        MIX(8),
        MIX(12),
        MIX(16),
        MIX(20),
        MIX(24),
        MIX(28),
        MIX(32),
        MIX(36),
        LOAD(BPF_B, 6),
        MOV_REG(8, 0),
        ALU(BPF_MOV, 9, 40),
        // ports
        JUMP(BPF_JEQ, 8, IPPROTO_TCP, 2),
        JUMP(BPF_JEQ, 8, IPPROTO_UDP, 1),
        JUMP(BPF_JNE, 8, IPPROTO_SCTP, 3),
        ALU(BPF_MUL, 7, 0x01000193),
        LOAD_BEHIND(9, BPF_W),
        ADD_REG(7, 0),
        // spread the low bits, which differ most, over the result
        {.code = BPF_ALU | BPF_MUL | BPF_K, .dst_reg = 7, .imm = (int)0x9e3779b1},
        MOV_REG(0, 7),
        ALU(BPF_RSH, 0, 16),
        EXIT,
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
    attr.insns = (uintptr_t)program;
    attr.insn_cnt = sizeof program / sizeof *program;
    attr.license = (uintptr_t)"Apache-2.0";
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    return fd < 0 ? -errno : (int)fd;
}

int ky_tun_steer(int tun_fd) {
    int program = load_program();
    if (program < 0)
        return program;
    int err = ioctl(tun_fd, TUNSETSTEERINGEBPF, &program) < 0 ? -errno : 0;
    close(program); // the device holds it
    return err;
}
