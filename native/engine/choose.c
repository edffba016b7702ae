#include "choose.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "underlay.h"

struct choice {
    const struct ky_engine_config *config;
    struct ky_probe *probe;
    char *underlay;
};

static bool on(const struct choice *c, enum ky_feature f) {
    return c->probe->feature[f].on;
}

void ky_switch_off(struct ky_probe *probe, enum ky_feature f, const char *format, ...) {
    struct ky_feature_state *state = &probe->feature[f];
    va_list args;
    va_start(args, format);
    vsnprintf(state->reason, sizeof state->reason, format, args);
    va_end(args);
    state->on = false;
}

static void apply_switches(struct choice *c) {
    for (unsigned i = 0; i < KY_FEATURE_COUNT; i++) {
        struct ky_feature_state *f = &c->probe->feature[i];
        if (f->on && (c->config->disable >> i & 1)) {
            f->on = false;
            strcpy(f->reason, "switched off by option");
        }
    }
}

// A feature that builds on another is off with it.
static void apply_dependencies(struct choice *c) {
    static const enum ky_feature needs[][2] = {
        {KY_FEATURE_TUN_TSO, KY_FEATURE_TUN_CSUM},
        {KY_FEATURE_TUN_USO, KY_FEATURE_TUN_TSO},
        {KY_FEATURE_TUNNEL_GSO, KY_FEATURE_TUN_TSO},
        {KY_FEATURE_RECEIVE_RING, KY_FEATURE_BATCH},
        {KY_FEATURE_FLOW_OFFLOAD, KY_FEATURE_TUNNEL_GSO},
    };
    for (unsigned i = 0; i < sizeof needs / sizeof *needs; i++) {
        struct ky_feature_state *f = &c->probe->feature[needs[i][0]];
        if (f->on && !c->probe->feature[needs[i][1]].on) {
            f->on = false;
            strcpy(f->reason, "needs ");
            strcat(f->reason, ky_feature_names[needs[i][1]]);
        }
    }
}

const char *ky_choose_no_flows(const struct ky_engine_config *config) {
    if ((config->disable >> KY_FEATURE_FLOW_OFFLOAD & 1) != 0)
        return "switched off by option";
    if (!ky_ip_is4(config->local))
        return "serves an IPv4 underlay";
    if (config->workers > 1)
        return "serves one worker, there are more";
    return NULL;
}

// Shortcuts do not serve flannel's udp wire: injection and flow offload write VXLAN headers, and the ring's memory is
// read-only while the TTL of every packet changes.
static void judge_wire(struct choice *c) {
    if (c->config->wire == KY_WIRE_VXLAN)
        return;
    if (on(c, KY_FEATURE_TUNNEL_GSO))
        ky_switch_off(c->probe, KY_FEATURE_TUNNEL_GSO, "made for VXLAN, the wire is flannel's udp");
    if (on(c, KY_FEATURE_FLOW_OFFLOAD))
        ky_switch_off(c->probe, KY_FEATURE_FLOW_OFFLOAD,
                      "made for VXLAN, the wire is flannel's udp");
    if (on(c, KY_FEATURE_RECEIVE_RING))
        ky_switch_off(c->probe, KY_FEATURE_RECEIVE_RING,
                      "the TTL must change on flannel's udp wire, the ring is read-only");
}

// Injection pays where the underlay segments tunnels (inject.h). Where it segments nothing, the kernel's segmentation
// of what a flow's program hands over is cheaper than what the engine makes of a superpacket (ADR 17). The ring
// has one reader.
static void judge_underlay(struct choice *c) {
    int found = ky_underlay_device(c->config->local, c->underlay);
    int segments = found != 0 ? found : ky_underlay_segments_tunnels(c->underlay);
    if (on(c, KY_FEATURE_FLOW_OFFLOAD) && segments < 0)
        ky_switch_off(c->probe, KY_FEATURE_FLOW_OFFLOAD,
                      "the underlay's features cannot be read: %s", strerrorname_np(-segments));
    else if (on(c, KY_FEATURE_FLOW_OFFLOAD) && segments == 0 &&
             ky_underlay_segments_udp(c->underlay) != 0)
        ky_switch_off(c->probe, KY_FEATURE_FLOW_OFFLOAD,
                      "%s segments UDP and no tunnels, so UDP_SEGMENT is cheaper", c->underlay);
    if (on(c, KY_FEATURE_TUNNEL_GSO) && segments == 0)
        ky_switch_off(c->probe, KY_FEATURE_TUNNEL_GSO, "%s does not segment tunnels (ethtool -k)",
                      c->underlay);
    else if (on(c, KY_FEATURE_TUNNEL_GSO) && segments < 0)
        ky_switch_off(c->probe, KY_FEATURE_TUNNEL_GSO, "the underlay's features cannot be read: %s",
                      strerrorname_np(-segments));
    if (on(c, KY_FEATURE_RECEIVE_RING) && found != 0)
        ky_switch_off(c->probe, KY_FEATURE_RECEIVE_RING, "no device holds the underlay address");
    else if (on(c, KY_FEATURE_RECEIVE_RING) && c->config->workers > 1)
        ky_switch_off(c->probe, KY_FEATURE_RECEIVE_RING, "serves one worker, there are %u",
                      c->config->workers);
}

// What comes in past the engine keeps the mark of a tunnel packet (flows.h), which the hardware that it is forwarded to
// would take at its word.
static void judge_hardware(struct choice *c) {
    struct ky_feature_state *f = &c->probe->feature[KY_FEATURE_FLOW_RECEIVE];
    char device[IFNAMSIZ];
    int hardware = f->on ? ky_underlay_hardware_tunnels(device) : 0;
    if (hardware > 0)
        ky_switch_off(c->probe, KY_FEATURE_FLOW_RECEIVE,
                      "%s has tunnel offloads in hardware (ethtool -k)", device);
    else if (hardware < 0)
        ky_switch_off(c->probe, KY_FEATURE_FLOW_RECEIVE, "the devices cannot be listed: %s",
                      strerrorname_np(-hardware));
}

void ky_choose(const struct ky_engine_config *config, struct ky_probe *probe,
               char underlay[IFNAMSIZ]) {
    struct choice c = {config, probe, underlay};
    const char *obstacle = ky_choose_no_flows(config);
    apply_switches(&c);
    apply_dependencies(&c);
    judge_wire(&c);
    judge_underlay(&c);
    judge_hardware(&c);
    if (obstacle != NULL)
        ky_switch_off(probe, KY_FEATURE_FLOW_OFFLOAD, "%s", obstacle);
}
