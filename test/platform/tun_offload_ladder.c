// TUNSETOFFLOAD takes each step of the ladder and refuses what it does not know with EINVAL, which is
// how the engine asks for a feature.
#include "platform.h"

enum { CSUM = 0x01, TSO = 0x02 | 0x04 | 0x08, USO4 = 0x20, USO6 = 0x40, UNKNOWN = 1 << 30 };

static int offload(int fd, unsigned bits) {
    return ioctl(fd, TUNSETOFFLOAD, (unsigned long)bits) == 0 ? 0 : errno;
}

int main(void) {
    own_network();
    int fd = tun_open("ky0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    if (offload(fd, 0) != 0 || offload(fd, CSUM) != 0 || offload(fd, CSUM | TSO) != 0)
        FAIL("checksum and TCP segmentation are refused");
    if (offload(fd, CSUM | UNKNOWN) != EINVAL)
        FAIL("an unknown bit is not EINVAL");
    int uso = offload(fd, CSUM | TSO | USO4 | USO6);
    if (uso != 0 && uso != EINVAL)
        FAIL("USO: %s", strerror(uso));
    if (uso == 0 && offload(fd, CSUM | TSO | USO4) != EINVAL)
        FAIL("USO4 without USO6 is taken");
    SO("every step is taken, unknown bits are EINVAL, USO %s", uso == 0 ? "too" : "is not known");
}
