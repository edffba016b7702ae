#include "bpf.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attr) {
    long result = syscall(SYS_bpf, command, attr, sizeof *attr);
    return result < 0 ? -errno : (int)result;
}

void ky_bpf_append(struct ky_bpf_program *p, const struct bpf_insn *insns, unsigned count) {
    // What does not fit is refused by ky_bpf_load.
    if (p->count + count <= KY_BPF_MAX)
        memcpy(p->insn + p->count, insns, count * sizeof *insns);
    p->count += count;
}

static bool jumps(const struct bpf_insn *i) {
    unsigned kind = i->code & 7u, op = i->code & 0xf0u;
    return (kind == BPF_JMP || kind == BPF_JMP32) && op != BPF_CALL && op != BPF_EXIT;
}

// Takes the labels out and puts distances in the place of their numbers.
static int resolve(struct ky_bpf_program *p) {
    if (p->count > KY_BPF_MAX)
        return -E2BIG;
    int at[KY_BPF_MAX];
    unsigned out = 0;
    memset(at, -1, sizeof at);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->insn[i].code == KY_BPF_LABEL)
            at[p->insn[i].imm] = (int)out;
        else
            p->insn[out++] = p->insn[i];
    }
    p->count = out;
    for (unsigned i = 0; i < out; i++) {
        struct bpf_insn *insn = &p->insn[i];
        if (!jumps(insn))
            continue;
        if (at[insn->off] <= (int)i)
            return -EINVAL;
        insn->off = (int16_t)(at[insn->off] - (int)i - 1);
    }
    return 0;
}

int ky_bpf_load(struct ky_bpf_program *p, enum bpf_prog_type type, const char *license) {
    int err = resolve(p);
    if (err != 0)
        return err;
    union bpf_attr attr = {.prog_type = type};
    attr.insns = (uintptr_t)p->insn;
    attr.insn_cnt = p->count;
    attr.license = (uintptr_t)license;
    return bpf(BPF_PROG_LOAD, &attr);
}

int ky_bpf_map(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries,
               uint32_t flags) {
    union bpf_attr attr = {.map_type = type,
                           .key_size = key,
                           .value_size = value,
                           .max_entries = entries,
                           .map_flags = flags};
    return bpf(BPF_MAP_CREATE, &attr);
}

int ky_bpf_attach(int program_fd, unsigned ifindex, int where) {
    union bpf_attr attr = {0};
    attr.link_create.prog_fd = (uint32_t)program_fd;
    attr.link_create.target_ifindex = ifindex;
    attr.link_create.attach_type = (uint32_t)where;
    return bpf(BPF_LINK_CREATE, &attr);
}

int ky_bpf_lookup(int map_fd, const void *key, void *value) {
    union bpf_attr attr = {.map_fd = (uint32_t)map_fd};
    attr.key = (uintptr_t)key;
    attr.value = (uintptr_t)value;
    return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

int ky_bpf_update(int map_fd, const void *key, const void *value) {
    union bpf_attr attr = {.map_fd = (uint32_t)map_fd};
    attr.key = (uintptr_t)key;
    attr.value = (uintptr_t)value;
    return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}
