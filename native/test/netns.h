// A network namespace of the test's own, and the few things done in it.
#ifndef KY_TEST_NETNS_H
#define KY_TEST_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Moves the calling thread (and threads it starts later) into a new network namespace with `lo` up.
// Without the right to, the program ends as skipped with the reason.
void netns_enter(void);

// Ends the program as skipped when /dev/net/tun cannot be used.
void netns_need_tun(void);

// Each returns 0 or -errno.
int netns_link_up(const char *device);
int netns_link_mtu(const char *device, int mtu);
int netns_add_ip6(const char *device, const char *address, int bits);

// A packet socket on the device: what is sent goes out through it past routing, what comes in
// through it is received. Packets begin with the IP header; received ones with a struct ky_vnet
// before it. Returns the fd or -errno.
int netns_packet_socket(const char *device);
int netns_packet_send(int fd, const char *device, const void *packet, size_t len);

int netns_count(const char *directory); // entries of e.g. /proc/self/fd
bool netns_has_link(const char *device);

#endif
