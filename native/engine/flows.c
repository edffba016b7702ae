#include "flows.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf.h"
#include "bytes.h"

// ---- the table ----

// Makes an array that the program shares with us. Returns NULL with *err set.
static void *take(size_t size, uint32_t count, int *fd, int *err) {
    if (*err != 0)
        return NULL;
    *fd = ky_bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), (uint32_t)size, count, BPF_F_MMAPABLE);
    if (*fd < 0) {
        *err = *fd;
        return NULL;
    }
    void *at = mmap(NULL, size * count, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (at != MAP_FAILED)
        return at;
    *err = -errno;
    return NULL;
}

int ky_flows_open(struct ky_flows *f, const struct ky_flows_config *config, const char **step) {
    int err = 0;
    memset(f, 0, sizeof *f);
    f->config = *config;
    f->flows_fd = f->counters_fd = f->totals_fd = f->link_fd = -1;
    *step = "maps";
    f->flow = take(sizeof *f->flow, KY_FLOWS, &f->flows_fd, &err);
    f->counters = take(sizeof *f->counters, config->peers, &f->counters_fd, &err);
    f->totals = take(sizeof *f->totals, 1, &f->totals_fd, &err);
    if (err == 0) {
        f->link_fd = ky_flows_attach(f, step);
        err = f->link_fd < 0 ? f->link_fd : 0;
    }
    if (err != 0)
        ky_flows_close(f);
    return err;
}

void ky_flows_close(struct ky_flows *f) {
    int *fds[] = {&f->link_fd, &f->totals_fd, &f->counters_fd, &f->flows_fd};
    for (unsigned i = 0; i < 4; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    if (f->flow != NULL)
        munmap(f->flow, sizeof *f->flow * KY_FLOWS);
    if (f->counters != NULL)
        munmap(f->counters, sizeof *f->counters * f->config.peers);
    if (f->totals != NULL)
        munmap(f->totals, sizeof *f->totals);
    f->flow = NULL;
    f->counters = NULL;
    f->totals = NULL;
}

// ---- deciding ----

enum { ENCAP = 28 }; // where in the headers VXLAN begins

static uint64_t get(const _Atomic uint64_t *word) {
    return atomic_load_explicit((_Atomic uint64_t *)word, memory_order_relaxed);
}

static void put(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

struct key {
    uint64_t addresses;
    uint32_t ports;
};

static struct key key_of(const uint8_t *pkt) {
    struct key key;
    memcpy(&key.addresses, pkt + 12, 8);
    memcpy(&key.ports, pkt + 20, 4);
    return key;
}

static uint32_t slot_of(struct key key) {
    return (uint32_t)((key.addresses ^ key.ports * KY_FLOW_PRINT) * KY_FLOW_HASH >>
                      (64 - KY_FLOWS_BITS));
}

static uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// Of what tells a flow's packets apart: sequence, acknowledgement, window, flags, identification, length.
static uint64_t fingerprint_of(const uint8_t *pkt) {
    uint64_t h = load64(pkt + 20) * KY_FLOW_PRINT;
    h = (h ^ load64(pkt + 28)) * KY_FLOW_PRINT;
    h = (h ^ load32(pkt + 4)) * KY_FLOW_PRINT;
    return (h ^ load32(pkt)) | 1;
}

static bool serves(const uint8_t *pkt, const struct ky_inner *in, const struct ky_peer *peer) {
    return in->version == 4 && in->proto == IPPROTO_TCP && !in->fragment && !in->extended &&
           in->len >= 40 && pkt[0] == 0x45 && ky_ip_is4(peer->outer);
}

union header {
    uint8_t byte[8 * KY_FLOW_WORDS];
    uint64_t word[KY_FLOW_WORDS];
};

static void make_header(const struct ky_flows *f, const struct ky_peer *peer, uint8_t port,
                        union header *h) {
    uint32_t src = htonl(ky_ip_v4(f->config.local)), dst = htonl(ky_ip_v4(peer->outer));
    memset(h, 0, sizeof *h);
    h->byte[0] = 0x45; // DF unset, as kernel VXLAN's
    h->byte[8] = 64;
    h->byte[9] = IPPROTO_UDP;
    memcpy(h->byte + 12, &src, 4);
    memcpy(h->byte + 16, &dst, 4);
    ky_put_be16(h->byte + 20, f->config.source_ports[port]);
    ky_put_be16(h->byte + 22, f->config.port);
    memcpy(h->byte + ENCAP, peer->encap, KY_ENCAP_LEN);
    ky_vxlan_set_version(h->byte + ENCAP, 4);
}

// Whether the slot may be given to another flow: the one that has it sent nothing, by either way, since this
// was last asked.
static bool idle(struct ky_flows *f, uint32_t slot) {
    uint64_t seen = get(&f->flow[slot].sends) ^ get(&f->flow[slot].left);
    bool same = seen == f->seen[slot];
    f->seen[slot] = seen;
    return same;
}

static void install(struct ky_flows *f, uint32_t slot, struct key key, const struct ky_peer *peer,
                    uint8_t port) {
    struct ky_flow *flow = &f->flow[slot];
    union header header;
    make_header(f, peer, port, &header);
    atomic_store(&flow->state, KY_FLOW_EMPTY);
    atomic_thread_fence(memory_order_seq_cst);
    put(&flow->addresses, key.addresses);
    atomic_store_explicit(&flow->ports, key.ports, memory_order_relaxed);
    atomic_store_explicit(&flow->peer, peer->slot, memory_order_relaxed);
    put(&flow->left, 0);
    put(&flow->sent, 0);
    put(&flow->sends, 0);
    for (unsigned i = 0; i < KY_FLOW_WORDS; i++)
        put(&flow->header[i], header.word[i]);
    f->seen[slot] = 0;
    f->version += KY_FLOW_VERSION;
    atomic_store(&flow->state, f->version | KY_FLOW_PENDING);
}

static bool holds(const struct ky_flow *flow, struct key key) {
    return get(&flow->addresses) == key.addresses &&
           atomic_load_explicit(&flow->ports, memory_order_relaxed) == key.ports;
}

void ky_flows_sending(struct ky_flows *f, const struct ky_peers *peers, const uint8_t *pkt,
                      const struct ky_inner *in, const struct ky_peer *peer, uint8_t port) {
    if (!serves(pkt, in, peer))
        return;
    struct key key = key_of(pkt);
    uint32_t slot = slot_of(key);
    struct ky_flow *flow = &f->flow[slot];
    bool taken = (atomic_load(&flow->state) & KY_FLOW_KIND) != KY_FLOW_EMPTY;
    if (!taken || !holds(flow, key)) {
        if ((taken && !idle(f, slot)) || !ky_peers_is_local(peers, in->src))
            return;
        install(f, slot, key, peer, port);
    }
    // What does not fit is not remembered: the flow stays PENDING a little longer.
    if (f->sending_count == KY_FLOWS_SENDING)
        return;
    f->sending[f->sending_count].slot = slot;
    f->sending[f->sending_count++].fingerprint = fingerprint_of(pkt);
}

void ky_flows_sent(struct ky_flows *f) {
    for (unsigned i = 0; i < f->sending_count; i++)
        atomic_store_explicit(&f->flow[f->sending[i].slot].sent, f->sending[i].fingerprint,
                              memory_order_release);
    f->sending_count = 0;
}

// ---- a new table of peers ----

static bool still_goes(const struct ky_flow *flow, const struct ky_peers *peers) {
    uint64_t addresses = get(&flow->addresses);
    union header h;
    for (unsigned i = 0; i < KY_FLOW_WORDS; i++)
        h.word[i] = get(&flow->header[i]);
    const struct ky_peer *peer = ky_peers_find(peers, ky_ip4((const uint8_t *)&addresses + 4));
    return ky_peers_is_local(peers, ky_ip4((const uint8_t *)&addresses)) && peer != NULL &&
           peer->slot == atomic_load_explicit(&flow->peer, memory_order_relaxed) &&
           ky_ip_equal(ky_ip4(h.byte + 16), peer->outer) &&
           // Without the EtherType, which is the flow's.
           memcmp(h.byte + ENCAP, peer->encap, KY_ENCAP_LEN - 2) == 0;
}

void ky_flows_review(struct ky_flows *f, const struct ky_peers *peers) {
    for (uint32_t slot = 0; slot < KY_FLOWS; slot++) {
        struct ky_flow *flow = &f->flow[slot];
        uint64_t state = atomic_load(&flow->state);
        // A flow that the sending thread puts here meanwhile was decided by the new peers.
        while ((state & KY_FLOW_KIND) != KY_FLOW_EMPTY && !still_goes(flow, peers))
            if (atomic_compare_exchange_strong(&flow->state, &state, KY_FLOW_EMPTY))
                break;
    }
}

// ---- counters ----

const struct ky_flow_counters *ky_flows_of(const struct ky_flows *f, uint32_t peer) {
    return &f->counters[peer];
}

void ky_flows_clear(struct ky_flows *f, uint32_t peer) {
    memset(&f->counters[peer], 0, sizeof *f->counters);
}
