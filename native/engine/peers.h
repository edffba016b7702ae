// The table of peers: an immutable snapshot that workers read without locks and the control thread
// replaces as a whole (engine.c says how the old one is freed).
//
// Lookup by inner address is longest-prefix match over one hash table: the distinct prefix lengths
// are tried longest first. All leases of a flannel network share one length, so the usual lookup is
// a single probe. IPv4 is held as mapped IPv6 (ip.h). A second table answers "does this underlay
// address hold a lease?" for what comes in.
#ifndef KY_PEERS_H
#define KY_PEERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip.h"
#include "vxlan.h"

// What the control plane says of a peer. An IPv4 prefix has KY_V4_BITS added to its length.
struct ky_peer_spec {
    struct ky_ip prefix;
    struct ky_ip outer;
    uint8_t mac[6];
    uint8_t bits;
};

struct ky_prefix {
    struct ky_ip ip;
    uint8_t bits;
};

struct ky_peer {
    uint8_t encap[KY_ENCAP_LEN]; // VXLAN and inner Ethernet header, EtherType open
    uint8_t bits;
    uint32_t slot; // index of this peer's counters; kept while the prefix stays in the table
    struct ky_ip prefix;
    struct ky_ip outer;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } to;
    socklen_t to_len;
};

struct ky_peers_spec {
    const struct ky_peer_spec *peers;
    const uint32_t *slots; // one per peer
    size_t count;
    const struct ky_prefix *locals; // prefixes of this node: what may come in
    size_t local_count;
    uint32_t vni;
    uint16_t port;
    uint8_t mac[6];
};

struct ky_peers;

// Builds a snapshot. Returns 0; -ENOMEM; -EEXIST when two peers have the same prefix, and then
// *duplicate is the index of the second; -EINVAL when a prefix length or address family is wrong.
int ky_peers_build(const struct ky_peers_spec *spec, struct ky_peers **out, size_t *duplicate);
void ky_peers_free(struct ky_peers *peers);

// The peer whose prefix holds ip, longest match first; NULL when none does.
const struct ky_peer *ky_peers_find(const struct ky_peers *peers, struct ky_ip ip);

// The peer of exactly this prefix, NULL when there is none.
const struct ky_peer *ky_peers_find_exact(const struct ky_peers *peers, struct ky_ip prefix,
                                          uint8_t bits);

// Whether any peer's underlay address is `outer`.
bool ky_peers_has_outer(const struct ky_peers *peers, struct ky_ip outer);

// Whether ip lies in one of this node's own prefixes.
bool ky_peers_is_local(const struct ky_peers *peers, struct ky_ip ip);

size_t ky_peers_count(const struct ky_peers *peers);
const struct ky_peer *ky_peers_at(const struct ky_peers *peers, size_t i);

#endif
