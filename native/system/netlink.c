#ifndef _GNU_SOURCE
#define _GNU_SOURCE // SO_RCVBUFFORCE
#endif
#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

enum {
    ANSWER_TIMEOUT_MS = 5000,
    DUMP_ATTEMPTS = 8,
    RECEIVE_BUFFER = 1 << 20,
};

int ky_netlink_open(int protocol, uint32_t groups, int *fd_out) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    const int on = 1;
    const int size = RECEIVE_BUFFER;
    // Wishes, not needs: capped acks (no echo of the request) are Linux 4.3, extended acks 4.12,
    // strict checks 4.20, and a larger buffer only makes the loss of events rarer (FORCE needs
    // CAP_NET_ADMIN, the other is capped by rmem_max).
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    const struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (bind(fd, (const struct sockaddr *)&self, sizeof self) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *fd_out = fd;
    return 0;
}

// Unique within the process, so that a late answer to a request given up on matches no later one.
static uint32_t take_sequences(uint32_t n) {
    static _Atomic uint32_t next = 1;
    return atomic_fetch_add_explicit(&next, n, memory_order_relaxed);
}

// Length of the message at p, or 0 if there is no whole one in the `left` bytes.
static size_t message_length(const uint8_t *p, size_t left) {
    struct nlmsghdr h;
    if (left < sizeof h)
        return 0;
    memcpy(&h, p, sizeof h);
    return h.nlmsg_len >= sizeof h && h.nlmsg_len <= left ? h.nlmsg_len : 0;
}

// The last message of a datagram need not be padded.
static size_t step(size_t length, size_t left) {
    size_t aligned = NLMSG_ALIGN(length);
    return aligned < left ? aligned : left;
}

static int count_messages(const uint8_t *req, size_t len, uint32_t *count) {
    uint32_t n = 0;
    for (size_t at = 0; at < len; n++) {
        size_t length = message_length(req + at, len - at);
        if (length == 0)
            return -EINVAL;
        at += step(length, len - at);
    }
    if (n == 0)
        return -EINVAL;
    if (n > KY_NETLINK_BATCH_MAX)
        return -E2BIG;
    *count = n;
    return 0;
}

static void stamp(uint8_t *req, size_t len, uint32_t sequence) {
    for (size_t at = 0; at < len; sequence++) {
        struct nlmsghdr h;
        memcpy(&h, req + at, sizeof h);
        h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
        h.nlmsg_seq = sequence;
        h.nlmsg_pid = 0; // the kernel answers to the port the datagram came from
        memcpy(req + at, &h, sizeof h);
        at += step(h.nlmsg_len, len - at);
    }
}

static int send_request(int fd, const void *req, size_t len) {
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    for (;;) {
        ssize_t n =
            sendto(fd, req, len, MSG_NOSIGNAL, (const struct sockaddr *)&kernel, sizeof kernel);
        if (n >= 0)
            return (size_t)n == len ? 0 : -EPROTO;
        if (errno != EINTR)
            return -errno;
    }
}

// One datagram from the kernel; any process may send to a netlink port, and what it sends is
// skipped.
static int receive_datagram(int fd, void *buf, size_t cap, size_t *len) {
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {.iov_base = buf, .iov_len = cap};
        struct msghdr m = {
            .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (m.msg_namelen != sizeof from || from.nl_pid != 0)
            continue;
        if (m.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        *len = (size_t)n;
        return 0;
    }
}

static int await_datagram(int fd, void *buf, size_t cap, size_t *len) {
    for (;;) {
        int error = receive_datagram(fd, buf, cap, len);
        if (error != -EAGAIN)
            return error;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, ANSWER_TIMEOUT_MS);
        if (ready == 0)
            return -ETIMEDOUT;
        if (ready < 0 && errno != EINTR)
            return -errno;
    }
}

struct answer {
    uint8_t *bytes;
    size_t len, cap;
    uint32_t first, count; // the sequence numbers asked under
    uint32_t open;         // requests whose answer has not ended
    bool overtaken;        // NLM_F_DUMP_INTR was seen
};

static int append(struct answer *a, const uint8_t *message, size_t length) {
    size_t padded = NLMSG_ALIGN(length);
    if (a->cap - a->len < padded) {
        size_t cap = a->cap * 2 > a->len + padded ? a->cap * 2 : a->len + padded;
        uint8_t *grown = realloc(a->bytes, cap);
        if (grown == NULL)
            return -ENOMEM;
        a->bytes = grown;
        a->cap = cap;
    }
    memcpy(a->bytes + a->len, message, length);
    memset(a->bytes + a->len + length, 0, padded - length);
    a->len += padded;
    return 0;
}

static int take_datagram(struct answer *a, const uint8_t *p, size_t left) {
    while (left > 0) {
        struct nlmsghdr h;
        size_t length = message_length(p, left);
        if (length == 0)
            return -EPROTO;
        memcpy(&h, p, sizeof h);
        uint32_t index = h.nlmsg_seq - a->first;
        if (index < a->count) {
            if (h.nlmsg_flags & NLM_F_DUMP_INTR)
                a->overtaken = true;
            int error = append(a, p, length);
            if (error)
                return error;
            memcpy(a->bytes + a->len - NLMSG_ALIGN(length) + offsetof(struct nlmsghdr, nlmsg_seq),
                   &index, sizeof index);
            if ((h.nlmsg_type == NLMSG_ERROR || h.nlmsg_type == NLMSG_DONE) && a->open > 0)
                a->open--;
        }
        size_t next = step(length, left);
        p += next;
        left -= next;
    }
    return 0;
}

static int exchange(int fd, uint8_t *req, size_t len, struct answer *a) {
    a->first = take_sequences(a->count);
    a->open = a->count;
    a->len = 0;
    a->overtaken = false;
    stamp(req, len, a->first);
    int error = send_request(fd, req, len);
    if (error)
        return error;
    uint8_t *datagram = malloc(KY_NETLINK_DATAGRAM_MAX);
    if (datagram == NULL)
        return -ENOMEM;
    while (a->open > 0 && error == 0) {
        size_t got = 0;
        error = await_datagram(fd, datagram, KY_NETLINK_DATAGRAM_MAX, &got);
        if (error == 0)
            error = take_datagram(a, datagram, got);
    }
    free(datagram);
    if (error)
        return error;
    return a->overtaken ? -EAGAIN : 0;
}

int ky_netlink_request(int fd, const void *req, size_t len, uint8_t **reply, size_t *reply_len) {
    struct answer a = {0};
    if (len > KY_NETLINK_REQUEST_MAX)
        return -E2BIG;
    int error = count_messages(req, len, &a.count);
    if (error)
        return error;
    uint8_t *copy = malloc(len);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, req, len);
    // Only a dump can be overtaken, and a dump changes nothing, so asking again is harmless.
    for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
        error = exchange(fd, copy, len, &a);
        if (error != -EAGAIN)
            break;
    }
    free(copy);
    if (error) {
        free(a.bytes);
        return error;
    }
    *reply = a.bytes;
    *reply_len = a.len;
    return 0;
}

int ky_netlink_receive(int fd, void *buf, size_t cap, size_t *len) {
    int error = receive_datagram(fd, buf, cap, len);
    if (error == -EAGAIN) {
        *len = 0;
        return 0;
    }
    return error;
}
