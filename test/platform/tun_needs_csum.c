// Writing to a TUN: with NEEDS_CSUM the kernel takes a partial L4 checksum as it is and delivers;
// without it a wrong checksum is dropped; DATA_VALID changes nothing, so it cannot be used to vouch.
#include "platform.h"

enum { PORT = 4242, LEN = 20 + 8 + 5 };

// Whether a datagram with this checksum field arrives.
static int arrives(int tun, int udp, uint8_t flags, int partial) {
    uint8_t pkt[LEN];
    put_ipv4(pkt, LEN, IPPROTO_UDP, "192.0.2.2", "192.0.2.1");
    put16(pkt + 20, 999);
    put16(pkt + 22, PORT);
    put16(pkt + 24, LEN - 20);
    put16(pkt + 26, 0);
    memcpy(pkt + 28, "hello", 5);
    uint16_t pseudo = pseudo4(pkt, LEN - 20);
    uint16_t full = (uint16_t)~fold(sum16(pkt + 20, LEN - 20, pseudo));
    put16(pkt + 26, partial ? pseudo : full);
    struct vnet h = {flags, 0, 0, 0, (flags & NEEDS_CSUM) ? 20 : 0, (flags & NEEDS_CSUM) ? 6 : 0};
    struct iovec iov[2] = {{&h, sizeof h}, {pkt, LEN}};
    NEED(writev(tun, iov, 2) == (ssize_t)(sizeof h + LEN));
    char got[16];
    // The write ran the receive path to its end: what is not here now never comes.
    return recv(udp, got, sizeof got, MSG_DONTWAIT) == 5 && memcmp(got, "hello", 5) == 0;
}

int main(void) {
    own_network();
    int tun = tun_open("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    set_up("ky0");
    ip("address add 192.0.2.1/24 dev ky0");
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(udp >= 0 && bind(udp, (struct sockaddr *)&any, sizeof any) == 0);
    if (!arrives(tun, udp, 0, 0))
        FAIL("a datagram with a full checksum does not arrive");
    if (!arrives(tun, udp, NEEDS_CSUM, 1))
        FAIL("a partial checksum with NEEDS_CSUM is not trusted");
    if (arrives(tun, udp, 0, 1))
        FAIL("a wrong checksum is let through");
    if (arrives(tun, udp, DATA_VALID, 1))
        FAIL("DATA_VALID makes the kernel skip the check");
    SO("NEEDS_CSUM is trusted, DATA_VALID is not");
}
