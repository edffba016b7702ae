#include "moderation.h"

bool ky_moderation_review(struct ky_moderation *m, uint64_t now, uint64_t packets) {
    m->looks++;
    uint64_t elapsed = now - m->since;
    if (elapsed >= KY_MODERATION_WINDOW_NS) {
        uint64_t moved = packets - m->packets;
        bool fast = moved * 1000000 >= KY_MODERATION_RATE * elapsed;
        // Once it is on, batches are what a sleep makes of the rate, and say nothing.
        m->on = fast && (m->on || moved < (uint64_t)KY_MODERATION_BATCH * m->looks);
        m->since = now;
        m->packets = packets;
        m->looks = 0;
    }
    return m->on;
}
