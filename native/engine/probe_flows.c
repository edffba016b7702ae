// Tries flow offload: a superpacket of a flow that the engine has just taken into the table goes to the TUN,
// the same one goes to the underlay once that is said to be sent; each packet that comes out is looked at.
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "flows.h"
#include "inject.h"
#include "probe.h"
#include "probe_super.h"
#include "tun.h"

// As a program's TCP would, to a device without addresses.
static int send_super(unsigned ifindex, uint8_t *pkt) {
    int on = 1, err = 0, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)ifindex};
    struct ky_vnet vnet = ky_probe_vnet;
    struct iovec iov[2] = {{&vnet, sizeof vnet}, {pkt, KY_PROBE_SUPER}};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = iov, .msg_iovlen = 2};
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 || sendmsg(fd, &m, 0) < 0)
        err = -errno;
    close(fd);
    return err;
}

static bool is_left(int fd, const uint8_t *pkt) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct ky_vnet vnet;
    uint8_t memory[sizeof vnet + 1024], *got = memory + sizeof vnet;
    while (poll(&ready, 1, 100) > 0) {
        long n = ky_tun_read(fd, &vnet, got, 1024);
        if (n > 0 && got[0] >> 4 == 4) // not the device's own IPv6 noise
            return n == KY_PROBE_SUPER && memcmp(got, pkt, KY_PROBE_SUPER) == 0;
    }
    return false;
}

// One peer, to which the packet goes. Returns 0 or -errno.
static int make_peers(const struct ky_inner *in, struct ky_peers **out) {
    const struct ky_peer_spec peer = {
        .prefix = in->dst, .outer = ky_ip4(ky_probe_peer), .mac = {2}, .bits = KY_V4_BITS + 32};
    const struct ky_prefix local = {in->src, KY_V4_BITS + 32};
    const uint32_t slot = 0;
    size_t duplicate;
    struct ky_peers_spec spec = {.peers = &peer,
                                 .slots = &slot,
                                 .count = 1,
                                 .locals = &local,
                                 .local_count = 1,
                                 .vni = 1,
                                 .mac = {2}};
    return ky_peers_build(&spec, out, &duplicate);
}

// Returns what is wrong, NULL when nothing is.
static const char *try_flow(struct ky_flows *flows, int tun, int underlay) {
    uint8_t pkt[KY_PROBE_SUPER];
    ky_probe_write_super(pkt);
    struct ky_inner in;
    struct ky_peers *peers;
    if (ky_inner_parse(pkt, sizeof pkt, &in) != 0 || make_peers(&in, &peers) != 0)
        return "no flow can be made of the superpacket";
    ky_flows_sending(flows, peers, pkt, &in, ky_peers_find(peers, in.dst), 0);
    ky_peers_free(peers);
    if (send_super(flows->config.ifindex, pkt) != 0)
        return "a packet socket cannot send a superpacket";
    if (!is_left(tun, pkt))
        return "what is not decided did not come to the TUN";
    ky_flows_sent(flows);
    if (send_super(flows->config.ifindex, pkt) != 0 || !ky_probe_segments_come_out(underlay))
        return "what was offloaded came out wrong, or not at all";
    return NULL;
}

void ky_probe_flows(struct ky_feature_state *state, const struct ky_inject *inject, int underlay) {
    static const char device[] = "kersey-probe-o";
    struct ky_fault fault;
    struct ky_flows *flows = malloc(sizeof *flows);
    const char *step = "device", *wrong = NULL;
    int tun = -1;
    int err = flows == NULL ? -ENOMEM
                            : ky_tun_open(device, 1, KY_TUN_F_CSUM | KY_TUN_F_TSO, &tun, &fault);
    if (err == 0)
        err = ky_probe_set_up(device);
    if (err == 0) {
        struct ky_flows_config config = {.ifindex = if_nametoindex(device),
                                         .forwarder = inject->ifindex,
                                         .local = inject->local,
                                         .mtu = 1000,
                                         .port = 8472,
                                         .source_ports = inject->source_ports,
                                         .peers = 1};
        err = ky_flows_open(flows, &config, &step);
    }
    if (err == 0) {
        wrong = try_flow(flows, tun, underlay);
        ky_flows_close(flows);
    }
    state->on = err == 0 && wrong == NULL;
    if (err != 0)
        snprintf(state->reason, sizeof state->reason, "%s: %s", step, strerrorname_np(-err));
    else
        snprintf(state->reason, sizeof state->reason, "%s", wrong != NULL ? wrong : "works");
    if (tun >= 0)
        close(tun);
    free(flows);
}
