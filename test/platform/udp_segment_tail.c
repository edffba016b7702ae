// UDP_SEGMENT cuts a send into datagrams with the right bytes, whether the last one is shorter than
// the others or as long. (Linux 7.0-rc1 to 7.1.4 mangled the second case on some drivers.)
#include "platform.h"

enum { SEGMENT = 1000 };

static void try(const struct loopback *l, const uint8_t *data, size_t len) {
    int err = send_segments(l, data, len, SEGMENT);
    if (err != 0)
        FAIL("a send of %zu bytes in segments of %d: %s", len, SEGMENT, strerror(err));
    for (size_t at = 0; at < len; at += SEGMENT) {
        uint8_t got[2 * SEGMENT];
        int gro;
        size_t want = len - at < SEGMENT ? len - at : SEGMENT;
        ssize_t n = receive(l->to, got, sizeof got, &gro);
        if (n != (ssize_t)want || memcmp(got, data + at, want) != 0)
            FAIL("bytes %zu.. of %zu arrived as a datagram of %zd", at, len, n);
    }
}

int main(void) {
    own_network();
    struct loopback l = open_loopback();
    static uint8_t data[8 * SEGMENT];
    fill(data, sizeof data);
    try(&l, data, sizeof data);
    try(&l, data, sizeof data - 1);
    try(&l, data, 7 * SEGMENT + 1);
    try(&l, data, SEGMENT);
    SO("equal and shorter last segments arrive whole");
}
