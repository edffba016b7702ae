// A segment larger than the MTU makes the whole UDP_SEGMENT send fail with EMSGSIZE, also when the
// socket allows fragments (IP_PMTUDISC_DONT); a plain send of that size is fragmented.
#include "platform.h"

int main(void) {
    own_network();
    ip("link set lo mtu 1500");
    struct loopback l = open_loopback();
    int dont = IP_PMTUDISC_DONT;
    NEED(setsockopt(l.from, IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof dont) == 0);
    static uint8_t data[4000], got[4096];
    int gro;
    int err = send_segments(&l, data, sizeof data, 1473);
    if (err != EMSGSIZE)
        FAIL("segments of 1473 at MTU 1500: %s", strerror(err));
    if ((err = send_segments(&l, data, sizeof data, 1472)) != 0)
        FAIL("segments of 1472 at MTU 1500: %s", strerror(err));
    for (int i = 0; i < 3; i++)
        receive(l.to, got, sizeof got, &gro);
    if (sendto(l.from, data, 1473, 0, (struct sockaddr *)&l.address, sizeof l.address) != 1473 ||
        receive(l.to, got, sizeof got, &gro) != 1473)
        FAIL("a plain datagram of 1473 at MTU 1500 was not fragmented");
    SO("EMSGSIZE for segments above the MTU, plain datagrams are fragmented");
}
