#include "underlay.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int ky_underlay_device(struct ky_ip local, char device[IFNAMSIZ]) {
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return -errno;
    int err = -ENODEV;
    for (const struct ifaddrs *a = all; a != NULL && err != 0; a = a->ifa_next) {
        if (a->ifa_addr == NULL)
            continue;
        struct ky_ip ip;
        if (a->ifa_addr->sa_family == AF_INET)
            ip = ky_ip4((const uint8_t *)&((const struct sockaddr_in *)a->ifa_addr)->sin_addr);
        else if (a->ifa_addr->sa_family == AF_INET6)
            ip = ky_ip6((const uint8_t *)&((const struct sockaddr_in6 *)a->ifa_addr)->sin6_addr);
        else
            continue;
        if (ky_ip_equal(ip, local)) {
            strncpy(device, a->ifa_name, IFNAMSIZ - 1);
            device[IFNAMSIZ - 1] = '\0';
            err = 0;
        }
    }
    freeifaddrs(all);
    return err;
}

// ---- what it can do, asked of the kernel's ethtool interface ----

static int ethtool(int fd, const char *device, void *command) {
    struct ifreq ifr = {.ifr_data = command};
    strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
    return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

// The number of a feature by its name, which is all that user space is promised.
static int feature_number(int fd, const char *device, const char *name, uint32_t *count) {
    struct {
        struct ethtool_sset_info info;
        uint32_t count;
    } set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
    int err = ethtool(fd, device, &set);
    if (err != 0)
        return err;
    *count = set.count;
    struct ethtool_gstrings *names = calloc(1, sizeof *names + (size_t)set.count * ETH_GSTRING_LEN);
    if (names == NULL)
        return -ENOMEM;
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = set.count;
    err = ethtool(fd, device, names);
    int found = err != 0 ? err : -ENOENT;
    for (uint32_t i = 0; err == 0 && i < names->len; i++)
        if (strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, name,
                    ETH_GSTRING_LEN) == 0)
            found = (int)i;
    free(names);
    return found;
}

static int feature_active(int fd, const char *device, const char *name) {
    uint32_t count = 0;
    int number = feature_number(fd, device, name, &count);
    if (number < 0)
        return number;
    uint32_t blocks = (count + 31) / 32;
    struct ethtool_gfeatures *all =
        calloc(1, sizeof *all + blocks * sizeof(struct ethtool_get_features_block));
    if (all == NULL)
        return -ENOMEM;
    all->cmd = ETHTOOL_GFEATURES;
    all->size = blocks;
    int err = ethtool(fd, device, all);
    int active = err != 0 ? err : (int)(all->features[number / 32].active >> (number % 32) & 1);
    free(all);
    return active;
}

static int ask(const char *device, const char *feature) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int active = feature_active(fd, device, feature);
    close(fd);
    return active;
}

int ky_underlay_segments_tunnels(const char *device) {
    return ask(device, "tx-udp_tnl-segmentation");
}

int ky_underlay_segments_udp(const char *device) {
    return ask(device, "tx-udp-segmentation");
}

// Devices that stand on a bus tell which; virtual ones have none.
static bool is_hardware(int fd, const char *device) {
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    return ethtool(fd, device, &info) == 0 && info.bus_info[0] != '\0';
}

int ky_underlay_hardware_tunnels(char device[IFNAMSIZ]) {
    struct if_nameindex *all = if_nameindex();
    if (all == NULL)
        return -errno;
    int found = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        found = -errno;
    for (const struct if_nameindex *i = all; found == 0 && i->if_index != 0; i++) {
        if (!is_hardware(fd, i->if_name) ||
            feature_active(fd, i->if_name, "tx-udp_tnl-segmentation") == 0)
            continue;
        strncpy(device, i->if_name, IFNAMSIZ - 1);
        device[IFNAMSIZ - 1] = '\0';
        found = 1;
    }
    if (fd >= 0)
        close(fd);
    if_freenameindex(all);
    return found;
}
