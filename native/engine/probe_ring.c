// Tries the receive ring on loopback: a datagram of an admitted address comes by the ring, one during a
// detour by the socket.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"
#include "ring.h"

static const uint8_t loopback[4] = {127, 0, 0, 1}, message[] = "kersey receive ring";

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static bool comes_by_socket(int fd) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint8_t got[64];
    return poll(&ready, 1, 100) > 0 && recv(fd, got, sizeof got, 0) == (ssize_t)sizeof message &&
           memcmp(got, message, sizeof message) == 0;
}

// Loopback delivers within the send.
static bool comes_by_ring(struct ky_ring *ring) {
    struct ky_datagram d;
    bool came = ky_ring_next(ring, &d) && d.len == sizeof message &&
                memcmp(d.buf, message, sizeof message) == 0;
    ky_ring_release(ring);
    return came;
}

static const char *try_ring(struct ky_ring *ring, int fd, const struct sockaddr_in *to) {
    socklen_t len = sizeof *to;
    if (sendto(fd, message, sizeof message, 0, (const struct sockaddr *)to, len) < 0 ||
        !comes_by_socket(fd))
        return "a datagram on a detour did not arrive";
    ky_ring_admit(ring, ky_ip4(loopback), now_ns());
    ky_ring_resume(ring, 1, now_ns());
    if (sendto(fd, message, sizeof message, 0, (const struct sockaddr *)to, len) < 0 ||
        !comes_by_ring(ring))
        return "a datagram did not arrive in the ring";
    return NULL;
}

void ky_probe_ring(struct ky_feature_state *state) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct ky_ring ring;
    const char *step = "socket", *wrong = NULL;
    int err = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        err = -errno;
    if (err == 0) {
        struct ky_ring_filter filter = {.ifindex = 1, // lo, in a new namespace
                                        .local = ky_ip4(loopback),
                                        .port = ntohs(at.sin_port),
                                        .largest = 1500};
        err = ky_ring_open(&ring, &filter, &step);
    }
    if (err == 0) {
        wrong = try_ring(&ring, fd, &at);
        ky_ring_close(&ring);
    }
    state->on = err == 0 && wrong == NULL;
    if (err != 0)
        snprintf(state->reason, sizeof state->reason, "%s: %s", step, strerrorname_np(-err));
    else
        snprintf(state->reason, sizeof state->reason, "%s", wrong != NULL ? wrong : "works");
    if (fd >= 0)
        close(fd);
}
