// One UDP_SEGMENT send holds up to 128 datagrams (64 before Linux 6.9), and one more is refused with
// EINVAL, not cut off.
#include "platform.h"

int main(void) {
    own_network();
    struct loopback l = open_loopback();
    static const uint8_t data[129];
    int most = 0;
    for (int n = 2; n <= 129; n++) {
        int err = send_segments(&l, data, (size_t)n, 1);
        if (err == 0)
            most = n;
        else if (err != EINVAL)
            FAIL("%d segments: %s", n, strerror(err));
        else
            break;
    }
    if (most != 128 && most != 64 && most != 63)
        FAIL("the limit is %d segments, not 128, 64 or 63", most);
    SO("%d segments a send, EINVAL above", most);
}
