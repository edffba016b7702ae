// Interrupt moderation for a thread that has no interrupts: what network cards do with adaptive
// coalescing. When small packets come fast enough, waking up for every one or two of them costs three
// times what the packets cost; then the thread sleeps KY_MODERATION_NS between two looks, and finds
// them by the dozen. It waits for nobody below KY_MODERATION_RATE packets a millisecond, nor where
// batches are large by themselves (trains, floods). docs/adr/0010-moderation.md has the measurement.
#ifndef KY_MODERATION_H
#define KY_MODERATION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KY_MODERATION_NS = 100 * 1000,
    KY_MODERATION_RATE = 64,  // packets a millisecond
    KY_MODERATION_BATCH = 16, // packets a look
    KY_MODERATION_WINDOW_NS = 1000 * 1000,
};

struct ky_moderation {
    bool on;
    unsigned looks;   // in this window
    uint64_t since;   // when it began, monotonic ns
    uint64_t packets; // what had been moved by then
};

// Called when there was nothing more to move: whether to sleep KY_MODERATION_NS before looking again,
// instead of until something comes. `packets` were moved since the thread began.
bool ky_moderation_review(struct ky_moderation *moderation, uint64_t now, uint64_t packets);

#endif
