// A network namespace of the test's own, and the few things done in it.
#ifndef KY_TEST_NETNS_H
#define KY_TEST_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/vnet.h"

// Moves the calling thread (and threads it starts later) into a new network namespace with `lo` up.
// Without the right to, the program ends as skipped with the reason.
void netns_enter(void);

// Ends the program as skipped when /dev/net/tun cannot be used.
void netns_need_tun(void);

// A further namespace, with lo up, and the calling thread back in the one it was in. Returns its fd.
int netns_new(void);
int netns_self(void);
void netns_set(int fd);

// Sets the congestion control of TCP in the calling thread's namespace. Returns 0 or -errno.
int netns_congestion(const char *name);

// Each returns 0 or -errno.
int netns_link_up(const char *device);
int netns_link_down(const char *device);
int netns_link_mtu(const char *device, int mtu);
int netns_link_delete(const char *device);
int netns_add_ip4(const char *device, const char *address, int bits);
int netns_add_ip6(const char *device, const char *address, int bits);
int netns_veth(const char *here, const char *there, int there_fd);

bool netns_has_link(const char *device);
bool netns_link_is_up(const char *device);

// A packet socket on the device: what is sent goes out through it past routing, and what comes in
// through it is received. Packets begin with the IP header, behind a struct ky_vnet; the device may
// leave checksums and segmentation to the reader. Returns the fd or -errno.
int netns_packet_socket(const char *device);
int netns_packet_send(int fd, unsigned index, const struct ky_vnet *vnet, const void *packet,
                      size_t len);
// Waits up to so many milliseconds. Returns the packet's length, or -errno.
long netns_packet_receive(int fd, int wait_ms, struct ky_vnet *vnet, void *packet, size_t cap);

int netns_count(const char *directory); // entries of e.g. /proc/self/fd

#endif
