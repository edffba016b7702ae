// The second opinion: packets built, taken apart, summed and segmented slowly and obviously, from the
// RFCs. It shares no code with the engine; struct ky_vnet is only the kernel's layout.
#ifndef KY_TEST_ORACLE_H
#define KY_TEST_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/vnet.h"

enum {
    ORACLE_PACKET_MAX = 65535,
    ORACLE_TCP = 6,
    ORACLE_UDP = 17,
    ORACLE_ICMP = 1,
    ORACLE_ICMP6 = 58,
    ORACLE_FIN = 0x01,
    ORACLE_SYN = 0x02,
    ORACLE_RST = 0x04,
    ORACLE_PSH = 0x08,
    ORACLE_ACK = 0x10,
    ORACLE_URG = 0x20,
    ORACLE_ECE = 0x40,
    ORACLE_CWR = 0x80,
};

// ---- sums ----

// The ones' complement sum of 16-bit big-endian words (RFC 1071), begun with `start`; an odd last
// byte is the high half of a word.
uint16_t oracle_sum(const void *bytes, size_t len, uint16_t start);

unsigned oracle_get16(const uint8_t *p);
void oracle_put16(uint8_t *p, unsigned value);
uint32_t oracle_get32(const uint8_t *p);
void oracle_put32(uint8_t *p, uint32_t value);

// ---- taking apart ----

struct oracle_ip {
    unsigned version;
    size_t len;   // of the packet, by its header
    size_t l4;    // where the header after IP and its extension headers begins
    int proto;    // of what begins there; 59 (no next header) where the chain breaks off
    unsigned tos; // or traffic class
    bool fragment;
    bool later;               // a fragment other than the first
    bool extended;            // IPv4 options or IPv6 extension headers
    uint8_t src[16], dst[16]; // IPv4: the first four bytes
};

// Whether p holds a whole, well-formed packet; padding behind it is allowed.
bool oracle_parse(const uint8_t *p, size_t len, struct oracle_ip *ip);

// Where the checksum of TCP or UDP lies, 0 when the packet has none (fragment, other protocol, cut).
size_t oracle_check_at(const uint8_t *p, const struct oracle_ip *ip);

// The sum over the pseudo-header, not inverted.
uint16_t oracle_pseudo(const struct oracle_ip *ip, int proto, size_t l4_len);

// Whether the IPv4 header checksum holds; true for IPv6.
bool oracle_ip_sum_ok(const uint8_t *p);

// Whether the TCP or UDP checksum holds (UDP over IPv4 without one counts as holding).
bool oracle_l4_sum_ok(const uint8_t *p, const struct oracle_ip *ip);

// Whether the checksum field holds only the sum over the pseudo-header.
bool oracle_is_partial(const uint8_t *p, const struct oracle_ip *ip);

// Bytes of IP and L4 header of a TCP or UDP packet; 0 when they are cut or contradict themselves.
size_t oracle_headers(const uint8_t *p, const struct oracle_ip *ip);

// ---- building ----

enum oracle_check {
    ORACLE_COMPLETE,
    ORACLE_PARTIAL, // the sum over the pseudo-header only
    ORACLE_BAD,     // wrong by one
    ORACLE_NONE,    // 0
};

struct oracle_spec {
    unsigned version;
    uint8_t src[16], dst[16]; // IPv4: the first four bytes
    uint8_t proto;
    uint8_t tos, ttl;
    uint16_t id; // IPv4
    bool df, mf;
    uint16_t offset;     // of a fragment, in units of 8 bytes
    uint32_t flow_label; // IPv6
    uint8_t ip_options;  // IPv4: bytes of options, a multiple of 4
    uint8_t
        extensions[4]; // IPv6: types of extension headers, 0xff is the end; fragment: from above
    unsigned extension_count;
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint8_t flags;
    uint8_t tcp_options; // bytes, a multiple of 4
    uint8_t tcp_option_value;
    uint16_t window;
    const uint8_t *payload; // NULL: zeros
    size_t payload_len;
    enum oracle_check check;
    bool bad_ip_sum;
};

// Writes the packet; returns its length.
size_t oracle_build(uint8_t *out, const struct oracle_spec *spec);

// A plain IPv4 or IPv6 packet between 10.1.0.1 and 10.2.0.1, or fd01::1 and fd02::1, to change.
struct oracle_spec oracle_plain(unsigned version, uint8_t proto, size_t payload_len);

// ---- segmentation ----

typedef void oracle_emit(void *ctx, const uint8_t *packet, size_t len);

// Cuts a TCP or UDP superpacket into packets of at most `mss` bytes of payload with complete
// checksums (RFC 9293: SEQ counts payload, FIN and PSH belong to the last, CWR (RFC 3168 6.1.2) to the
// first; RFC 791/6864: consecutive identification). Returns whether it could.
bool oracle_segment(const uint8_t *p, size_t len, unsigned mss, oracle_emit *emit, void *ctx);

// Fills in the L4 checksum of a packet that has one.
void oracle_complete(uint8_t *p, size_t len);

// What the kernel makes of a write to the TUN: the packets it stands for. Returns false when vnet
// asks for something that the packet is not; *why then says what.
bool oracle_unfold(const struct ky_vnet *vnet, const uint8_t *p, size_t len, oracle_emit *emit,
                   void *ctx, const char **why);

#endif
