// Packets between two hosts: what goes into one host's TUN has to come out of the other's, packet by
// packet and byte by byte, in order, however it was segmented and merged on the way.
#ifndef KY_TEST_TRAFFIC_H
#define KY_TEST_TRAFFIC_H

#include "hosts.h"

enum { TRAFFIC_WAIT_MS = 3000 };

void traffic_begin(void); // takes memory
void traffic_end(void);

// The vnet header of a superpacket with segments of `mss` bytes, or of a packet with its checksum left
// open when mss is 0.
struct ky_vnet traffic_offload(const struct oracle_spec *spec, uint16_t mss);

// Builds the packet, a superpacket unless mss is 0, and expects what it stands for. Returns its length.
size_t traffic_build(uint8_t *out, const struct oracle_spec *spec, uint16_t mss,
                     struct ky_vnet *vnet);

// The same, and sends it from this host.
void traffic_send(const struct host *from, const struct oracle_spec *spec, uint16_t mss);

// Waits for all that is expected at this host, compares, and forgets it.
void traffic_check(const struct host *at);
void traffic_forget(void);

// Receives the next packet or superpacket and hands over the packets it stands for. Returns whether
// there was one; one that contradicts itself fails the test.
bool traffic_receive(const struct host *at, int wait_ms, oracle_emit *emit, void *ctx);

#endif
