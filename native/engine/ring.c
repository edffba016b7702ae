#include "ring.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf.h"
#include "bytes.h"
#include "checksum.h"

enum {
    // Of the largest datagrams; and of an MTU of 1500, about 300.
    RECORDS_MIN = 128,
    SIZE_MIN = 2048 * 1024,
    // The kernel's: a record begins with its length and two flags, and takes whole words.
    RECORD_HDR = 8,
    ADMITTED_NS = 1000 * 1000 * 1000,
    // From the program to the socket it takes about a microsecond; more when a hypervisor takes the CPU
    // away meanwhile (50 us were exceeded in one of six runs of order_test).
    ON_THE_WAY_NS = 20 * 1000 * 1000,
    BULK = 4, // datagrams between two sleeps, on average
    WEIGHT = 8,
};

static const uint32_t busy = 1u << 31,
                      discarded = 1u << 30; // BPF_RINGBUF_BUSY_BIT and _DISCARD_BIT

static int map_pages(int fd, size_t len, off_t offset, int protection, uint8_t **out) {
    void *p = mmap(NULL, len, protection, MAP_SHARED, fd, offset);
    if (p == MAP_FAILED)
        return -errno;
    *out = p;
    return 0;
}

static int create_maps(struct ky_ring *r) {
    uint32_t key = r->v6 ? 16 : 4;
    r->ring_fd = ky_bpf_map(BPF_MAP_TYPE_RINGBUF, 0, 0, r->size, 0);
    if (r->ring_fd < 0)
        return r->ring_fd;
    r->state_fd = ky_bpf_map(BPF_MAP_TYPE_ARRAY, 4, sizeof *r->state, 1, BPF_F_MMAPABLE);
    if (r->state_fd < 0)
        return r->state_fd;
    // The least recently used goes when it is full, and is admitted anew when it sends.
    r->admitted_fd = ky_bpf_map(BPF_MAP_TYPE_LRU_HASH, key, 8, 4 * KY_RING_SOURCES, 0);
    return r->admitted_fd < 0 ? r->admitted_fd : 0;
}

static int map_memory(struct ky_ring *r) {
    int rw = PROT_READ | PROT_WRITE;
    uint8_t *state;
    int err = map_pages(r->state_fd, r->page, 0, rw, &state);
    if (err == 0)
        r->state = (struct ky_ring_state *)state;
    if (err == 0)
        err = map_pages(r->ring_fd, r->page, 0, rw, &r->consumer);
    if (err == 0)
        err = map_pages(r->ring_fd, r->page + 2 * (size_t)r->size, (off_t)r->page, PROT_READ,
                        &r->producer);
    return err;
}

static _Atomic uint64_t *word(uint8_t *page) {
    return (_Atomic uint64_t *)page;
}

static _Atomic uint64_t *state(const struct ky_ring *r) {
    return &r->state->now;
}

int ky_ring_open(struct ky_ring *r, const struct ky_ring_filter *f, const char **step) {
    *r = (struct ky_ring){.ring_fd = -1,
                          .state_fd = -1,
                          .admitted_fd = -1,
                          .link_fd = -1,
                          .page = (size_t)sysconf(_SC_PAGESIZE),
                          .size = SIZE_MIN,
                          .v6 = !ky_ip_is4(f->local)};
    while (r->size < RECORDS_MIN * (f->largest + KY_RING_PACKET_AT + RECORD_HDR))
        r->size *= 2;
    *step = "maps";
    int err = create_maps(r);
    if (err == 0)
        err = map_memory(r);
    if (err == 0) {
        atomic_store(state(r), KY_RING_DETOUR); // until the engine has found the socket empty
        atomic_store(&r->state->quiet, KY_RING_BUSY);
        r->link_fd = ky_ring_attach(r, f, step);
        err = r->link_fd < 0 ? r->link_fd : 0;
    }
    if (err != 0)
        ky_ring_close(r);
    return err;
}

void ky_ring_close(struct ky_ring *r) {
    int *fds[] = {&r->link_fd, &r->admitted_fd, &r->state_fd, &r->ring_fd};
    for (unsigned i = 0; i < 4; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    if (r->state != NULL)
        munmap(r->state, r->page);
    if (r->consumer != NULL)
        munmap(r->consumer, r->page);
    if (r->producer != NULL)
        munmap(r->producer, r->page + 2 * (size_t)r->size);
    r->state = NULL;
    r->consumer = r->producer = NULL;
}

// ---- reading ----

bool ky_ring_waits(const struct ky_ring *r) {
    return atomic_load_explicit(word(r->producer), memory_order_acquire) != r->at;
}

// The record at the consumer's position that was not discarded, NULL when there is none (yet).
static uint8_t *next_record(struct ky_ring *r) {
    uint64_t end = atomic_load_explicit(word(r->producer), memory_order_acquire);
    while (r->at < end) {
        uint8_t *at = r->producer + r->page + (r->at & (r->size - 1));
        uint32_t len = atomic_load_explicit((_Atomic uint32_t *)at, memory_order_acquire);
        if ((len & busy) != 0)
            return NULL;
        r->at += ((len & ~discarded) + RECORD_HDR + 7) / 8 * 8;
        if ((len & discarded) == 0)
            return at + RECORD_HDR;
    }
    return NULL;
}

// What of the outer checksum is to be verified. One that holds the pseudo-header's sum alone is what
// the kernel leaves on a virtual link for a device to fill in that never comes.
static void judge_checksum(const uint8_t *packet, const struct ky_inner *outer, uint32_t udp_len,
                           struct ky_datagram *d) {
    const uint8_t *udp = packet + outer->l4;
    uint16_t pseudo = ky_pseudo(packet, outer, udp_len), check = ky_load16(udp + 6);
    d->unverified = check != 0 && check != pseudo;
    d->outer_sum = ky_fold(ky_sum(udp, 8, pseudo));
}

bool ky_ring_next(struct ky_ring *r, struct ky_datagram *d) {
    uint8_t *record = next_record(r);
    if (record == NULL)
        return false;
    uint8_t *packet = record + KY_RING_PACKET_AT;
    uint32_t len;
    memcpy(&len, record + KY_RING_LEN_AT, sizeof len);
    struct ky_inner outer = {.version = r->v6 ? 6 : 4, .proto = IPPROTO_UDP, .l4 = r->v6 ? 40 : 20};
    *d = (struct ky_datagram){.buf = packet + outer.l4 + 8,
                              .len = len - outer.l4 - 8,
                              .tos = r->v6 ? (uint8_t)(ky_be16(packet) >> 4) : packet[1],
                              .from = r->v6 ? ky_ip6(packet + 8) : ky_ip4(packet + 12)};
    judge_checksum(packet, &outer, len - outer.l4, d);
    return true;
}

void ky_ring_release(struct ky_ring *r) {
    atomic_store_explicit(word(r->consumer), r->at, memory_order_release);
}

// ---- order ----

bool ky_ring_detoured(const struct ky_ring *r) {
    return (atomic_load(state(r)) & KY_RING_DETOUR) != 0;
}

void ky_ring_detour(struct ky_ring *r) {
    atomic_fetch_or(state(r), KY_RING_DETOUR);
}

void ky_ring_resume(struct ky_ring *r, uint64_t arrived, uint64_t now) {
    r->arrived += arrived;
    uint64_t seen = atomic_load(state(r));
    int64_t missing = (int64_t)((seen >> KY_RING_LEFT_SHIFT) - r->arrived);
    if (missing != r->missing) {
        r->missing = missing;
        r->missing_since = now;
    }
    if (missing != 0 && now - r->missing_since < ON_THE_WAY_NS)
        return;
    r->arrived += (uint64_t)missing;
    r->missing = 0;
    // Fails when one more was let pass meanwhile.
    atomic_compare_exchange_strong(state(r), &seen, seen & ~(uint64_t)KY_RING_DETOUR);
}

static bool bulk(struct ky_ring *r, uint64_t datagrams) {
    r->recent += datagrams - r->datagrams - r->recent / WEIGHT;
    r->datagrams = datagrams;
    return r->recent >= BULK * WEIGHT;
}

// The state is read before the ring: a record that is not seen there changes it, and so does a datagram that is
// on its way to the socket.
static void be_quiet(struct ky_ring *r) {
    uint64_t now = atomic_load(state(r));
    if (!ky_ring_waits(r) && now >> KY_RING_LEFT_SHIFT == r->arrived)
        atomic_store(&r->state->quiet, now);
}

bool ky_ring_sleep(struct ky_ring *r, uint64_t datagrams) {
    if (bulk(r, datagrams)) {
        // Whoever polls ring_fd then is told of what is there already, so nothing is missed.
        atomic_fetch_or(state(r), KY_RING_ASLEEP);
        be_quiet(r);
        return true;
    }
    ky_ring_detour(r);
    be_quiet(r);
    return !ky_ring_waits(r);
}

void ky_ring_wake(struct ky_ring *r) {
    atomic_store(&r->state->quiet, KY_RING_BUSY);
    atomic_fetch_and(state(r), ~(uint64_t)KY_RING_ASLEEP);
}

void ky_ring_admit(struct ky_ring *r, struct ky_ip from, uint64_t now) {
    unsigned i = (unsigned)(ky_ip_hash(from, 0) % KY_RING_SOURCES);
    if (ky_ip_equal(r->seen[i].ip, from) && now + ADMITTED_NS / 2 < r->seen[i].until)
        return;
    uint32_t v4 = htonl(ky_ip_v4(from));
    uint64_t until = now + ADMITTED_NS;
    if (ky_bpf_update(r->admitted_fd, r->v6 ? (const void *)from.w : &v4, &until) == 0) {
        r->seen[i].ip = from;
        r->seen[i].until = until;
    }
}
