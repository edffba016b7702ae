// Per-thread counters. Each block has one writer, its worker thread; any thread may read. Adding is
// a relaxed load and store, not a locked instruction: only the owner writes.
#ifndef KY_STATS_H
#define KY_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "counter.h"
#include "drop.h"

struct ky_counters {
#define KY_COUNTER_FIELD(name, text) _Atomic uint64_t name;
    KY_COUNTER_LIST(KY_COUNTER_FIELD)
#undef KY_COUNTER_FIELD
    _Atomic uint64_t drops[KY_DROP_COUNT];
};

// What one thread sent to, or received from, one peer.
struct ky_peer_counters {
    _Atomic uint64_t packets;
    _Atomic uint64_t bytes;
};

static inline void ky_add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t ky_get(const _Atomic uint64_t *counter) {
    return atomic_load_explicit((_Atomic uint64_t *)counter, memory_order_relaxed);
}

static inline void ky_drop(struct ky_counters *c, enum ky_drop reason, uint64_t n) {
    ky_add(&c->drops[reason], n);
}

#endif
