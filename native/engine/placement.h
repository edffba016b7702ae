// Where a thread of a worker runs. While it moves mostly superpackets it stays on its worker's home CPU:
// its time then goes into copying 64 KB at a time, and those bytes, the buffers and the pages that the
// kernel frees and takes again are still in that core's cache. Moving small packets or segments, its
// time goes into work for each packet, which gains more from whatever CPU is idle: then the scheduler
// decides. docs/adr/0008-home-cpu.md has the measurement.
//
// At home it is also scheduled as SCHED_BATCH: being woken, it lets the thread that wakes it finish what
// it has in hand, and finds more in one go.
//
// The home of worker i is the i-th CPU from the end of those that the process may use, because the
// first ones usually take the interrupts. Only the calling thread is moved, and never to a CPU that
// it was not allowed to use when the worker began.
#ifndef KY_PLACEMENT_H
#define KY_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct ky_placement {
    bool wanted; // by configuration; all zero otherwise is a worker that is never moved
    bool movable;
    bool at_home;
    int home;
    cpu_set_t allowed;   // to the thread when it began
    uint64_t whole, all; // what was counted at the last review
};

// Finds the home of worker `index`. Called by the worker's thread. A machine with one CPU for us, or
// with more than CPU_SETSIZE (1024), leaves the placement to the scheduler.
void ky_placement_init(struct ky_placement *placement, unsigned index);

// Decides anew: `whole` superpackets of `all` sends and receives were moved since the worker began.
void ky_placement_review(struct ky_placement *placement, uint64_t whole, uint64_t all);

#endif
