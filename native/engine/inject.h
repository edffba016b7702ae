// Tunnel-GSO injection: the cheapest way out for a superpacket. Header and superpacket are written
// whole into a TAP of our own, with a vnet header that tells the kernel where the tunnel's and the
// inner headers are; it stays one skb up to the device that can segment it, as kernel VXLAN's do
// (Linux 6.17: virtio_net_hdr_v1_hash_tunnel). Nothing is copied or summed here.
//
// From the TAP it reaches the underlay by an eBPF program at the TAP's ingress (TCX, Linux 6.6): it
// asks the routing table for the outgoing device and redirects there, and the kernel resolves the
// neighbour (bpf_fib_lookup, bpf_redirect_neigh). So routes, gateways and neighbours are followed by
// the kernel itself; no tc command, no sysctl of the host, no netfilter rule is involved. The one
// sysctl set is `forwarding` of the TAP itself, without which bpf_fib_lookup refuses. Closing the
// descriptors removes everything.
//
// It pays where the outgoing device segments UDP tunnels (real NICs with tx-udp_tnl-segmentation,
// veth, virtio). Where it does not, runs with UDP_SEGMENT are used: their segments can be merged
// again by UDP_GRO on the other side of a virtual link, those of tunnel-GSO cannot.
#ifndef KY_INJECT_H
#define KY_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "inner.h"
#include "peers.h"
#include "vnet.h"

// What ky_inject_send writes before a packet: vnet, Ethernet, IPv6, UDP, VXLAN and inner Ethernet.
enum { KY_INJECT_HEADROOM = 24 + 14 + 40 + 8 + KY_ENCAP_LEN };

struct ky_inject {
    int tap_fd;
    int map_fd;  // one counter: superpackets for which there was no route
    int link_fd; // the program's attachment
    unsigned ifindex;
    struct ky_ip local;
    const uint16_t *source_ports; // of the bank of sending sockets, so that a flow keeps its port
    uint16_t ip_id;
};

// Makes the TAP `name` and attaches the program. Returns 0 or -errno with *step naming what failed
// ("tap", "tunnel offload", "link up", "forwarding", "map", "program", "attach").
int ky_inject_open(struct ky_inject *inject, const char *name, struct ky_ip local,
                   const char **step);
void ky_inject_close(struct ky_inject *inject);

// Sends the superpacket at pkt, described by inner and its own vnet header, to the peer. There are
// KY_INJECT_HEADROOM writable bytes before pkt. Returns 0, or -errno with the packet unchanged and
// still the caller's to send otherwise.
int ky_inject_send(struct ky_inject *inject, const struct ky_peer *peer,
                   const struct ky_inner *inner, const struct ky_vnet *vnet, uint8_t *pkt,
                   uint8_t port, uint8_t tos);

// Superpackets that were dropped because there was no route to the peer.
uint64_t ky_inject_no_route(const struct ky_inject *inject);

#endif
