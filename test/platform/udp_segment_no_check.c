// UDP_SEGMENT on a socket that sends no checksums (SO_NO_CHECK) is EINVAL: the outer checksum must be
// there for GSO.
#include "platform.h"

int main(void) {
    own_network();
    struct loopback l = open_loopback();
    int on = 1;
    NEED(setsockopt(l.from, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0);
    static const uint8_t data[300];
    int err = send_segments(&l, data, sizeof data, 100);
    if (err != EINVAL)
        FAIL("it answered %s", err == 0 ? "as if all were well" : strerror(err));
    SO("EINVAL");
}
