// A TUN of a name that a device of another kind has: EINVAL, or EBUSY with IFF_TUN_EXCL; never attached.
#include "platform.h"

int main(void) {
    own_network();
    ip("link add ky0 type veth peer name ky1");
    int plain = tun_attach("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    int exclusive = tun_attach("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (plain != -EINVAL)
        FAIL("without IFF_TUN_EXCL: %s", plain < 0 ? strerror(-plain) : "attached");
    if (exclusive != -EINVAL && exclusive != -EBUSY)
        FAIL("with IFF_TUN_EXCL: %s", exclusive < 0 ? strerror(-exclusive) : "attached");
    SO("EINVAL, and %s with IFF_TUN_EXCL", exclusive == -EBUSY ? "EBUSY" : "EINVAL");
}
