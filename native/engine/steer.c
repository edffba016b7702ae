#include "steer.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bpf.h"

// The hash is r7: multiply by an odd number, add the next word.
#define MIX(at) ALU(BPF_MUL, 7, 0x01000193), LOAD_ABS(BPF_W, at), ALU_REG(BPF_ADD, 7, 0)

enum { IPV6, PORTS, HASH_PORTS, DONE };

// r6 = the packet, r7 = the hash, r8 = protocol, r9 = where the ports are.
static int load_program(void) {
    struct ky_bpf_program program = {0};
    KY_BPF_EMIT(&program, MOV_REG(6, 1), MOV(7, 0), LOAD_ABS(BPF_B, 0), MOV_REG(9, 0),
                ALU(BPF_RSH, 0, 4), JUMP(BPF_JEQ, 0, 6, IPV6));
    KY_BPF_EMIT(&program, MIX(12), MIX(16), LOAD_ABS(BPF_B, 9), MOV_REG(8, 0), LOAD_ABS(BPF_H, 6),
                ALU(BPF_AND, 0, 0x3fff), JUMP(BPF_JNE, 0, 0, DONE), // a fragment: addresses only
                ALU(BPF_AND, 9, 15), ALU(BPF_LSH, 9, 2), GOTO(PORTS));
    KY_BPF_EMIT(&program, LABEL(IPV6), MIX(8), MIX(12), MIX(16), MIX(20), MIX(24), MIX(28), MIX(32),
                MIX(36), LOAD_ABS(BPF_B, 6), MOV_REG(8, 0), MOV(9, 40));
    KY_BPF_EMIT(&program, LABEL(PORTS), JUMP(BPF_JEQ, 8, IPPROTO_TCP, HASH_PORTS),
                JUMP(BPF_JEQ, 8, IPPROTO_UDP, HASH_PORTS), JUMP(BPF_JNE, 8, IPPROTO_SCTP, DONE),
                LABEL(HASH_PORTS), ALU(BPF_MUL, 7, 0x01000193), LOAD_IND(BPF_W, 9),
                ALU_REG(BPF_ADD, 7, 0));
    // Spread the low bits, which differ most, over the result.
    KY_BPF_EMIT(&program, LABEL(DONE), ALU32(BPF_MUL, 7, (int)0x9e3779b1), MOV_REG(0, 7),
                ALU(BPF_RSH, 0, 16), EXIT);
    return ky_bpf_load(&program, BPF_PROG_TYPE_SOCKET_FILTER, "Apache-2.0");
}

int ky_tun_steer(int tun_fd) {
    int program = load_program();
    if (program < 0)
        return program;
    int err = ioctl(tun_fd, TUNSETSTEERINGEBPF, &program) < 0 ? -errno : 0;
    close(program); // the device holds it
    return err;
}
