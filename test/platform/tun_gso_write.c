// A TUN takes a superpacket in one write, for TCP and (Linux 6.2) UDP, with a last segment that is
// equal or shorter, and the stack cuts or delivers it with every byte. (6.6.44 refused short tails.)
#include "platform.h"

enum { MSS = 1000, PORT = 4242 };

// Writes a UDP superpacket to a local socket, which gets it as datagrams of MSS bytes.
static void try_udp(int tun, int socket, size_t payload) {
    static uint8_t pkt[20 + 8 + 8 * MSS];
    unsigned len = (unsigned)(28 + payload);
    fill(pkt + 28, payload);
    put_ipv4(pkt, len, IPPROTO_UDP, "192.0.2.2", "192.0.2.1");
    put16(pkt + 20, 999);
    put16(pkt + 22, PORT);
    put16(pkt + 24, len - 20);
    put16(pkt + 26, pseudo4(pkt, len - 20));
    struct vnet h = {NEEDS_CSUM, GSO_UDP_L4, 28, MSS, 20, 6};
    struct iovec iov[2] = {{&h, sizeof h}, {pkt, len}};
    if (writev(tun, iov, 2) != (ssize_t)(sizeof h + len))
        FAIL("a UDP superpacket of %zu bytes: %s", payload, strerror(errno));
    for (size_t at = 0; at < payload; at += MSS) {
        uint8_t got[2 * MSS];
        int gro;
        size_t want = payload - at < MSS ? payload - at : MSS;
        if (receive(socket, got, sizeof got, &gro) != (ssize_t)want ||
            memcmp(got, pkt + 28 + at, want) != 0)
            FAIL("bytes %zu.. of %zu did not arrive", at, payload);
    }
}

static void try_tcp(int tun, size_t payload) {
    static uint8_t pkt[20 + 20 + 8 * MSS];
    unsigned len = (unsigned)(40 + payload);
    put_ipv4(pkt, len, IPPROTO_TCP, "192.0.2.2", "192.0.2.1");
    memset(pkt + 20, 0, 20);
    pkt[20 + 12] = 5 << 4;
    pkt[20 + 13] = 0x10;
    put16(pkt + 20 + 16, pseudo4(pkt, len - 20));
    struct vnet h = {NEEDS_CSUM, GSO_TCPV4, 40, MSS, 20, 16};
    struct iovec iov[2] = {{&h, sizeof h}, {pkt, len}};
    if (writev(tun, iov, 2) != (ssize_t)(sizeof h + len))
        FAIL("a TCP superpacket of %zu bytes: %s", payload, strerror(errno));
}

int main(void) {
    own_network();
    int tun = tun_open("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    set_up("ky0");
    ip("address add 192.0.2.1/24 dev ky0");
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(udp >= 0 && bind(udp, (struct sockaddr *)&any, sizeof any) == 0);
    static const size_t sizes[] = {2 * MSS, 2 * MSS + 1, 3 * MSS - 1, 8 * MSS};
    for (unsigned i = 0; i < 4; i++)
        try_tcp(tun, sizes[i]);
    // Whether UDP is taken at all is older or newer than Linux 6.2: the question of the ladder.
    if (ioctl(tun, TUNSETOFFLOAD, 0x6fUL) != 0)
        SO("TCP superpackets are taken; this kernel has no USO");
    for (unsigned i = 0; i < 4; i++)
        try_udp(tun, udp, sizes[i]);
    SO("TCP and UDP superpackets are taken, with equal and with shorter last segments");
}
