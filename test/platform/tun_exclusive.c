// IFF_TUN_EXCL: attaching to a TUN that exists is EBUSY, instead of sharing it.
#include "platform.h"

int main(void) {
    own_network();
    int flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    int first = tun_open("ky0", flags | IFF_TUN_EXCL);
    int second = tun_attach("ky0", flags | IFF_TUN_EXCL);
    if (second != -EBUSY)
        FAIL("a second one: %s", second < 0 ? strerror(-second) : "attached");
    close(first);
    // A device that outlives its process must not be joined either.
    ip("tuntap add ky1 mode tun");
    int third = tun_attach("ky1", flags | IFF_TUN_EXCL);
    if (third != -EBUSY)
        FAIL("a persistent one: %s", third < 0 ? strerror(-third) : "attached");
    SO("EBUSY for a device that is in use and for one that is not");
}
