// What a kernel vxlan sender delivers over a veth to a plain UDP socket that has UDP_GRO. The engine's
// receive rules rest on this:
//   an inner TCP superpacket   whole: one VXLAN header and up to 64 KB in one datagram, no UDP_GRO cmsg
//   an inner UDP superpacket   whole as well, but with a cmsg that holds the INNER segment size
//   a small inner packet       alone
// and in each the inner L4 checksum only started, that is, holding the pseudo-header sum.
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "platform.h"

enum { ETH = 14, VXLAN = 8, BIGGEST = 30000 };

struct packet {
    const char *what;
    uint8_t proto, gso_type;
    unsigned payload, gso_size;
};

static uint8_t frame[ETH + 40 + BIGGEST];

// Hands the vxlan device an Ethernet frame as the kernel's own TCP and UDP would; returns its length.
static unsigned hand_over(int fd, const struct packet *p) {
    unsigned l4 = p->proto == IPPROTO_TCP ? 20 : 8, check = p->proto == IPPROTO_TCP ? 16 : 6;
    unsigned len = ETH + 20 + l4 + p->payload;
    uint8_t *at = frame + ETH + 20;
    memset(frame, 2, 12); // both MACs 02:02:02:02:02:02
    put16(frame + 12, ETH_P_IP);
    put_ipv4(frame + ETH, len - ETH, p->proto, "10.0.1.0", "10.0.2.0");
    memset(at, 0, l4);
    if (p->proto == IPPROTO_TCP) {
        at[12] = 5 << 4;
        at[13] = 0x10;
    } else {
        put16(at + 4, l4 + p->payload);
    }
    put16(at + check, pseudo4(frame + ETH, l4 + p->payload));
    fill(at + l4, p->payload);
    struct vnet h = {NEEDS_CSUM, p->gso_type,    (uint16_t)(ETH + 20 + l4), (uint16_t)p->gso_size,
                     ETH + 20,   (uint16_t)check};
    struct iovec iov[2] = {{&h, sizeof h}, {frame, len}};
    NEED(writev(fd, iov, 2) == (ssize_t)(sizeof h + len));
    return len;
}

static void try(int packet, int udp, const struct packet *p) {
    static uint8_t got[65536];
    unsigned len = hand_over(packet, p);
    int gro, want = p->proto == IPPROTO_UDP ? (int)p->gso_size : 0;
    ssize_t n = receive(udp, got, sizeof got, &gro);
    if (n != (ssize_t)(VXLAN + len))
        FAIL("%s: %u bytes arrived as %zd", p->what, VXLAN + len, n);
    if (gro != want)
        FAIL("%s: the UDP_GRO cmsg is %d, not %d", p->what, gro, want);
    if (memcmp(got + VXLAN, frame, len) != 0)
        FAIL("%s: its bytes were changed on the way", p->what);
}

// A vxlan device towards the receiver, and a packet socket on it.
static int make_sender(void) {
    ip("link add vx0 type vxlan id 1 dstport 8472 local 192.0.2.1 dev u1 nolearning");
    ip("link set vx0 address 02:01:01:01:01:01 up");
    if (system("bridge fdb replace 02:02:02:02:02:02 dev vx0 dst 192.0.2.2 self permanent") != 0)
        SKIP("bridge fdb replace");
    int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
    NEED(fd >= 0);
    NEED(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) == 0);
    struct sockaddr_ll device = {.sll_family = AF_PACKET,
                                 .sll_protocol = htons(ETH_P_IP),
                                 .sll_ifindex = (int)if_nametoindex("vx0")};
    NEED(bind(fd, (struct sockaddr *)&device, sizeof device) == 0);
    return fd;
}

int main(void) {
    int udp = receiver_behind_veth(), packet = make_sender();
    static const struct packet packets[] = {
        {"a TCP superpacket", IPPROTO_TCP, GSO_TCPV4, BIGGEST, 1398},
        {"a UDP superpacket", IPPROTO_UDP, GSO_UDP_L4, 12000, 1200},
        {"a small TCP packet", IPPROTO_TCP, 0, 10, 0},
        {"a small UDP packet", IPPROTO_UDP, 0, 10, 0},
    };
    for (unsigned i = 0; i < sizeof packets / sizeof *packets; i++)
        try(packet, udp, &packets[i]);
    SO("whole, checksums partial, a cmsg for UDP superpackets alone");
}
