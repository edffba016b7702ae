// Tries tunnel-GSO injection: a superpacket is injected, and each packet that comes out is looked at.
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"
#include "probe.h"
#include "probe_super.h"
#include "tun.h"

static int send_super(struct ky_inject *inject) {
    static const uint8_t mac[6] = {2};
    struct ky_peer peer = {.outer = ky_ip4(ky_probe_peer),
                           .to.in = {.sin_family = AF_INET, .sin_port = htons(8472)}};
    ky_vxlan_template(peer.encap, 1, mac, mac);
    uint8_t memory[KY_INJECT_HEADROOM + KY_PROBE_SUPER], *pkt = memory + KY_INJECT_HEADROOM;
    ky_probe_write_super(pkt);
    struct ky_inner in;
    if (ky_inner_parse(pkt, KY_PROBE_SUPER, &in) != 0)
        return -EINVAL;
    return ky_inject_send(inject, &peer, &in, &ky_probe_vnet, pkt, 0, 0);
}

void ky_probe_inject(struct ky_feature_state *state, struct ky_feature_state *flows,
                     bool try_flows) {
    static const char underlay[] = "kersey-probe-u", tap[] = "kersey-probe-i";
    static const uint16_t source_ports[1] = {KY_PROBE_SOURCE_PORT};
    struct ky_fault fault;
    struct ky_inject inject;
    const char *step = "underlay";
    int fd;
    state->on = flows->on = false;
    strcpy(flows->reason, "needs tunnel-gso");
    int err = ky_tun_open(underlay, 1, 0, &fd, &fault);
    if (err != 0) {
        snprintf(state->reason, sizeof state->reason, "no TUN to try it on: %s",
                 strerrorname_np(-err));
        return;
    }
    err = ky_probe_underlay(underlay);
    if (err == 0)
        err = ky_inject_open(&inject, tap, ky_ip4(ky_probe_address), &step);
    if (err == 0) {
        inject.source_ports = source_ports;
        step = "write";
        err = send_super(&inject);
        state->on = err == 0 && ky_probe_segments_come_out(fd);
        if (state->on && try_flows)
            ky_probe_flows(flows, &inject, fd);
        ky_inject_close(&inject);
    }
    if (err != 0)
        snprintf(state->reason, sizeof state->reason, "%s: %s", step, strerrorname_np(-err));
    else
        strcpy(state->reason,
               state->on ? "works" : "what was injected came out wrong, or not at all");
    close(fd);
}
