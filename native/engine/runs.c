#include "runs.h"

#include <errno.h>
#include <stdlib.h>

// Buffers of KY_RUN_BYTES at a distance that is no power of two: at 64 KB apart the beginnings of
// all runs would compete for the same cache sets.
enum { STRIDE = 65536 + 1024 };

int ky_runs_init(struct ky_runs *r, uint16_t frames_max,
                 void (*send)(void *, const struct ky_run *, unsigned), void *ctx) {
    uint8_t *memory = aligned_alloc(64, (size_t)STRIDE * KY_RUNS);
    if (memory == NULL)
        return -ENOMEM;
    *r = (struct ky_runs){.frames_max = frames_max, .send = send, .ctx = ctx};
    for (unsigned i = 0; i < KY_RUNS; i++)
        r->run[i].buf = memory + (size_t)STRIDE * i;
    return 0;
}

void ky_runs_free(struct ky_runs *r) {
    free(r->run[0].buf);
    r->run[0].buf = NULL;
}

void ky_runs_flush(struct ky_runs *r) {
    if (r->count > 0)
        r->send(r->ctx, r->run, r->count);
    r->count = 0;
    r->bytes = 0;
}

static struct ky_run *begin(struct ky_runs *r, const struct ky_peer *peer, uint8_t port,
                            uint8_t tos, uint32_t len) {
    if (r->count == KY_RUNS || r->bytes >= KY_RUNS_BUDGET)
        ky_runs_flush(r);
    struct ky_run *run = &r->run[r->count++];
    *run = (struct ky_run){
        .buf = run->buf, .peer = peer, .frame = (uint16_t)len, .port = port, .tos = tos};
    return run;
}

// The open run that takes the next frame to this peer from this port. Only the last of them may: the
// frames of a flow share a port but not always a TOS (its ECN bits change from packet to packet), and
// one that was put into an earlier run would overtake those of the later one.
static struct ky_run *find_open(struct ky_runs *r, const struct ky_peer *peer, uint8_t port,
                                uint8_t tos) {
    for (unsigned i = r->count; i-- > 0;) {
        struct ky_run *run = &r->run[i];
        if (run->peer == peer && run->port == port)
            return run->closed || run->tos != tos ? NULL : run;
    }
    return NULL;
}

uint8_t *ky_runs_reserve(struct ky_runs *r, const struct ky_peer *peer, uint8_t port, uint8_t tos,
                         uint32_t len) {
    struct ky_run *run = find_open(r, peer, port, tos);
    if (run != NULL && (len > run->frame || run->len + len > KY_RUN_BYTES)) {
        run->closed = true;
        run = NULL;
    }
    if (run == NULL)
        run = begin(r, peer, port, tos, len);
    uint8_t *at = run->buf + run->len;
    run->len += len;
    run->count++;
    run->closed = len < run->frame || run->count >= r->frames_max;
    r->bytes += len;
    return at;
}
