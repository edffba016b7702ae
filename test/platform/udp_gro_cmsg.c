// A socket with UDP_GRO gets a train of equal datagrams as one, with their size in a cmsg of type int;
// a lone datagram comes without a cmsg.
#include "platform.h"

int main(void) {
    own_network();
    struct loopback l = open_loopback();
    int on = 1, gro;
    if (setsockopt(l.to, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
        SKIP("UDP_GRO: %s", strerror(errno));
    static uint8_t data[450], got[65536];
    fill(data, sizeof data);
    NEED(send_segments(&l, data, sizeof data, 100) == 0);
    ssize_t n = receive(l.to, got, sizeof got, &gro);
    if (n != sizeof data || gro != 100 || memcmp(got, data, sizeof data) != 0)
        FAIL("4.5 datagrams of 100 arrived as %zd bytes, cmsg %d", n, gro);
    NEED(sendto(l.from, data, 77, 0, (struct sockaddr *)&l.address, sizeof l.address) == 77);
    n = receive(l.to, got, sizeof got, &gro);
    if (n != 77 || gro != 0)
        FAIL("a lone datagram of 77 arrived as %zd bytes, cmsg %d", n, gro);
    SO("a train comes whole with its segment size, a lone datagram without");
}
