// Frames on their way to the underlay, gathered into runs.
//
// Words: a *frame* is one inner packet with its 22 bytes of VXLAN and Ethernet header: one datagram
// on the wire. A *run* is frames of equal size, the last of which may be shorter, to one peer from
// one source port with one TOS, contiguous in memory: one UDP_SEGMENT send. The frames of a flow
// always have the same source port, and runs are sent in the order in which they were begun, so a
// flow's packets leave in order.
//
// A run is open until a frame does not fit its shape; up to KY_RUNS are open or waiting, and when
// they or the byte budget are used up, all are flushed. Nothing waits longer than the batch that
// one wake-up reads.
#ifndef KY_RUNS_H
#define KY_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peers.h"

enum {
    KY_RUNS = 16,
    KY_RUN_BYTES = 65507, // the largest UDP payload over IPv4: 65535 - 20 - 8
    // UDP_MAX_SEGMENTS since Linux 6.9; 64 before (net/ipv4/udp.c). The probe finds which.
    KY_RUN_FRAMES_MAX = 128,
    // Flushed when this much waits: what was written is then still in L2 when the kernel reads it.
    KY_RUNS_BUDGET = 128 * 1024,
};

struct ky_run {
    const struct ky_peer *peer; // valid while the thread holds the snapshot it came from
    uint8_t *buf;
    uint32_t len;
    uint16_t frame; // size of every frame but a shorter last one
    uint16_t count;
    uint8_t port; // index into the bank of source ports
    uint8_t tos;
    bool closed;
};

struct ky_runs {
    struct ky_run run[KY_RUNS];
    unsigned count;
    uint32_t bytes;
    uint16_t frames_max; // frames in one run; 1 makes every frame its own run
    // Sends all runs. Whatever comes of it, the runs are empty afterwards.
    void (*send)(void *ctx, const struct ky_run *runs, unsigned count);
    void *ctx;
};

// Room for one frame of len <= KY_RUN_BYTES bytes, to be filled by the caller at once. May flush
// others first. The memory is the runs' own.
uint8_t *ky_runs_reserve(struct ky_runs *runs, const struct ky_peer *peer, uint8_t port,
                         uint8_t tos, uint32_t len);

void ky_runs_flush(struct ky_runs *runs);

// Takes memory once, at start. Returns 0 or -ENOMEM; free with ky_runs_free.
int ky_runs_init(struct ky_runs *runs, uint16_t frames_max,
                 void (*send)(void *, const struct ky_run *, unsigned), void *ctx);
void ky_runs_free(struct ky_runs *runs);

#endif
