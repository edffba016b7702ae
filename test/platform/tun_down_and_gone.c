// What a TUN's fd answers: EIO when writing while the device is down, EAGAIN when there is nothing to
// read, EBADFD once the device was deleted, and poll wakes up then.
#include "platform.h"

int main(void) {
    own_network();
    int tun = tun_open("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    uint8_t pkt[10 + 20] = {0};
    put_ipv4(pkt + 10, 20, 253, "192.0.2.2", "192.0.2.1");
    if (write(tun, pkt, sizeof pkt) >= 0 || errno != EIO)
        FAIL("writing while down is not EIO");
    ip("link set ky0 addrgenmode none up"); // no IPv6 packets of its own
    if (write(tun, pkt, sizeof pkt) != (ssize_t)sizeof pkt)
        FAIL("writing while up: %s", strerror(errno));
    uint8_t buf[2048];
    while (read(tun, buf, sizeof buf) >= 0)
        ;
    if (errno != EAGAIN)
        FAIL("nothing to read is %s", strerror(errno));
    ip("link delete ky0");
    struct pollfd ready = {.fd = tun, .events = POLLIN};
    if (poll(&ready, 1, 1000) != 1)
        FAIL("poll does not wake up when the device is deleted");
    if (read(tun, buf, sizeof buf) >= 0 || errno != EBADFD)
        FAIL("reading from a deleted device is not EBADFD");
    SO("EIO while down, EAGAIN when empty, EBADFD and a wake-up when deleted");
}
