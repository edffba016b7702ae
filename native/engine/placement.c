#include "placement.h"

void ky_placement_init(struct ky_placement *p, unsigned index) {
    if (!p->wanted || sched_getaffinity(0, sizeof p->allowed, &p->allowed) < 0)
        return;
    unsigned count = (unsigned)CPU_COUNT(&p->allowed);
    if (count < 2)
        return;
    unsigned skip = index % count;
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (CPU_ISSET((unsigned)cpu, &p->allowed) && skip-- == 0) {
            p->home = cpu;
            p->movable = true;
            return;
        }
    }
}

// Only from the policy that threads have by themselves, and back.
static void set_policy(int from, int to) {
    struct sched_param zero = {0};
    if (sched_getscheduler(0) == from)
        (void)sched_setscheduler(0, to, &zero);
}

static void go_home(struct ky_placement *p) {
    cpu_set_t home;
    CPU_ZERO(&home);
    CPU_SET((unsigned)p->home, &home);
    // Where the CPU was taken from us since (a cpuset), the scheduler goes on deciding.
    p->movable = sched_setaffinity(0, sizeof home, &home) == 0;
    p->at_home = p->movable;
    set_policy(SCHED_OTHER, SCHED_BATCH);
}

void ky_placement_review(struct ky_placement *p, uint64_t whole, uint64_t all) {
    if (!p->movable)
        return;
    uint64_t moved = all - p->all, superpackets = whole - p->whole;
    p->whole = whole;
    p->all = all;
    if (!p->at_home && superpackets * 3 > moved) { // the rest are mostly acknowledgements
        go_home(p);
    } else if (p->at_home && superpackets * 5 < moved) {
        p->at_home = false;
        set_policy(SCHED_BATCH, SCHED_OTHER);
        p->movable = sched_setaffinity(0, sizeof p->allowed, &p->allowed) == 0;
    }
}
