// Which devices have tunnel offloads in hardware: a veth has the offloads, and ioctl is made to say that it stands on
// a bus.
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../engine/underlay.h"
#include "check.h"
#include "hosts.h"
#include "netns.h"

static const char *on_a_bus; // the device that is said to be
static bool without_offloads;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    int result = __real_ioctl(fd, request, arg);
    if (request != SIOCETHTOOL || result < 0)
        return result;
    const struct ifreq *ifr = arg;
    struct ethtool_drvinfo *info = (void *)ifr->ifr_data;
    bool chosen = on_a_bus != NULL && strcmp(ifr->ifr_name, on_a_bus) == 0;
    if (info->cmd == ETHTOOL_GDRVINFO && chosen)
        strcpy(info->bus_info, "0000:00:03.0");
    struct ethtool_gfeatures *features = (void *)ifr->ifr_data;
    if (features->cmd == ETHTOOL_GFEATURES && without_offloads)
        for (unsigned i = 0; i < features->size; i++)
            features->features[i].active = 0;
    return result;
}

static bool receives(struct host *host) {
    struct ky_engine_config c = hosts_config(host);
    struct ky_engine_stats stats;
    struct ky_fault fault;
    REQUIRE(hosts_open(host, &c, &fault) == 0);
    ky_engine_stats_read(host->engine, &stats);
    const struct ky_feature_state *f = &stats.features[KY_FEATURE_FLOW_RECEIVE];
    if (!f->on)
        printf("flow-receive is off: %s\n", f->reason);
    hosts_close(host);
    return f->on;
}

int main(void) {
    struct host hosts[2];
    char device[IFNAMSIZ] = "";
    hosts_make(hosts);
    netns_set(hosts[0].ns);
    check_case("virtual devices");
    CHECK_EQ(ky_underlay_segments_tunnels("underlay"), 1);
    CHECK_EQ(ky_underlay_hardware_tunnels(device), 0);
    bool serves = receives(&hosts[0]);
    check_case("one on a bus");
    on_a_bus = "underlay";
    CHECK_EQ(ky_underlay_hardware_tunnels(device), 1);
    CHECK(strcmp(device, "underlay") == 0);
    CHECK(!receives(&hosts[0]));
    check_case("one on a bus that has no such offloads");
    without_offloads = true;
    CHECK_EQ(ky_underlay_hardware_tunnels(device), 0);
    CHECK_EQ(ky_underlay_segments_tunnels("underlay"), 0);
    CHECK_EQ(ky_underlay_segments_udp("underlay"), 0);
    CHECK_EQ(receives(&hosts[0]), serves);
    return check_report();
}
