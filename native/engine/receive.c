#include "receive.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    // Large buffers lie at a distance that is no power of two (cache sets), see runs.c.
    STRIDE = 65536 + 1024,
    DATAGRAM_MAX = 65535,
};

static uint8_t *large_at(const struct ky_receive *r, unsigned i) {
    return r->large + (size_t)STRIDE * i;
}

static void point_to(struct ky_receive *r, bool slots) {
    r->in_slots = slots;
    for (unsigned i = 0; i < r->count; i++) {
        if (slots) {
            r->iov[i][0] = (struct iovec){r->memory + (size_t)r->slot * i, r->slot};
            r->iov[i][1] = (struct iovec){large_at(r, i) + r->slot, DATAGRAM_MAX - r->slot};
        } else {
            r->iov[i][0] = (struct iovec){large_at(r, i), DATAGRAM_MAX};
        }
        r->msg[i].msg_hdr.msg_iovlen = slots ? 2 : 1;
    }
}

// Sets again what a receive into the first n messages has changed.
static void renew(struct ky_receive *r, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        r->msg[i].msg_hdr.msg_namelen = sizeof r->from[i];
        r->msg[i].msg_hdr.msg_controllen = sizeof r->control[i];
    }
}

int ky_receive_init(struct ky_receive *r, bool batch, uint32_t frame) {
    *r = (struct ky_receive){.count = batch ? KY_RECEIVE_BATCH : 1, .want = 1};
    r->slot = (frame + 63) / 64 * 64 + 64;
    if (r->slot > DATAGRAM_MAX / 2)
        r->slot = DATAGRAM_MAX / 2 / 64 * 64;
    // Pages are taken from the kernel when first written to, so what never arrives costs nothing.
    size_t slots = ((size_t)r->slot * r->count + 4095) / 4096 * 4096;
    r->memory = aligned_alloc(4096, slots + (size_t)STRIDE * r->count / 4096 * 4096 + 4096);
    if (r->memory == NULL)
        return -ENOMEM;
    r->large = r->memory + slots;
    for (unsigned i = 0; i < r->count; i++)
        r->msg[i].msg_hdr = (struct msghdr){
            .msg_name = &r->from[i], .msg_iov = r->iov[i], .msg_control = r->control[i]};
    renew(r, r->count);
    point_to(r, false);
    return 0;
}

void ky_receive_free(struct ky_receive *r) {
    free(r->memory);
    r->memory = NULL;
}

// Chooses buffers for the next batch by the mean size in the last one.
static void adapt(struct ky_receive *r) {
    if (r->received == 0)
        return;
    uint32_t size = 0;
    for (unsigned i = 0; i < r->received; i++)
        size += r->msg[i].msg_len;
    size /= r->received;
    bool slots = size <= r->slot;
    if (slots != r->in_slots)
        point_to(r, slots);
    unsigned fit = size > KY_RECEIVE_LARGE ? 1 : KY_RECEIVE_BYTES / (size + 1);
    r->want = fit < r->count ? fit : r->count;
}

int ky_receive_batch(struct ky_receive *r, int fd) {
    adapt(r);
    renew(r, r->received);
    int n = recvmmsg(fd, r->msg, r->want, MSG_DONTWAIT, NULL);
    r->received = n < 0 ? 0 : (unsigned)n;
    return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
}

static void read_cmsgs(const struct msghdr *m, struct ky_datagram *d) {
    struct msghdr *h = (struct msghdr *)m; // CMSG_NXTHDR wants it, and changes nothing
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        int value = 0;
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            d->gro = (uint16_t)value;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            d->tos = *CMSG_DATA(c); // one byte
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            d->tos = (uint8_t)value;
        }
    }
}

void ky_receive_at(const struct ky_receive *r, unsigned i, struct ky_datagram *d) {
    const struct msghdr *m = &r->msg[i].msg_hdr;
    *d = (struct ky_datagram){.buf = r->iov[i][0].iov_base,
                              .len = r->msg[i].msg_len,
                              .truncated = (m->msg_flags & MSG_TRUNC) != 0};
    if (r->in_slots && d->len > r->slot)
        d->buf = memcpy(large_at(r, i), d->buf, r->slot); // what follows is there already
    const struct sockaddr_in *in = m->msg_name;
    if (in->sin_family == AF_INET)
        d->from = ky_ip4((const uint8_t *)&in->sin_addr);
    else
        d->from = ky_ip6((const uint8_t *)&((const struct sockaddr_in6 *)m->msg_name)->sin6_addr);
    read_cmsgs(m, d);
}
