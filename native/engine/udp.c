#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IPV6_AUTOFLOWLABEL
#define IPV6_AUTOFLOWLABEL 70
#endif

enum { SOCKET_BUFFER = 8 << 20 };

static socklen_t address_of(struct ky_ip ip, uint16_t port, struct sockaddr_in6 *out) {
    if (ky_ip_is4(ip)) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        *in = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ky_ip_v4(ip))};
        return sizeof *in;
    }
    *out = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&out->sin6_addr, ip.w, 16);
    return sizeof *out;
}

static int set(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

// Larger buffers than net.core.*mem_max where we are root; as large as allowed where not.
static void set_buffers(int fd, int force, int option) {
    if (set(fd, SOL_SOCKET, force, SOCKET_BUFFER) != 0)
        (void)set(fd, SOL_SOCKET, option, SOCKET_BUFFER);
}

static int open_bound(const struct ky_udp_config *c, uint16_t port, const char *step, int *out,
                      struct ky_fault *fault) {
    bool v6 = !ky_ip_is4(c->local);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ky_fail(fault, step, -errno);
    if (c->reuse && port != 0)
        (void)set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    // Kernel VXLAN leaves DF unset and fragments where it must; so do we. Flannel's proxy has Linux's default,
    // DF on what fits the path. With runs that is not to be had: they are longer than the path's MTU, and
    // the kernel leaves DF unset for their segments.
    if (v6) {
        (void)set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        (void)set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
        (void)set(fd, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0); // vxlan's flow label is 0
    } else {
        (void)set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    }
    struct sockaddr_in6 address;
    socklen_t len = address_of(c->local, port, &address);
    if (bind(fd, (struct sockaddr *)&address, len) < 0) {
        int err = -errno;
        close(fd);
        return ky_fail(fault, step, err);
    }
    *out = fd;
    return 0;
}

// The bank only sends. What others send to its ports is dropped by a filter that accepts 0 bytes,
// before it can fill the receive buffer.
static void drop_all(int fd) {
    struct sock_filter ret0 = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog program = {.len = 1, .filter = &ret0};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static uint16_t port_of(int fd) {
    struct sockaddr_in6 address = {0}; // sin_port lies at the same place
    socklen_t len = sizeof address;
    (void)getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.sin6_port);
}

static int open_receiver(struct ky_udp *u, const struct ky_udp_config *c, struct ky_fault *fault) {
    int err = open_bound(c, c->port, "udp-bind", &u->receive_fd, fault);
    if (err != 0)
        return err;
    set_buffers(u->receive_fd, SO_RCVBUFFORCE, SO_RCVBUF);
    err = u->v6 ? set(u->receive_fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
                : set(u->receive_fd, IPPROTO_IP, IP_RECVTOS, 1);
    if (err == 0 && c->gro)
        err = set(u->receive_fd, SOL_UDP, UDP_GRO, 1);
    return err == 0 ? 0 : ky_fail(fault, "udp-option", err);
}

// One of the bank: a socket whose port is the kernel's choice, or the receiving one once more.
static int open_sender(const struct ky_udp *u, const struct ky_udp_config *c, int *out,
                       struct ky_fault *fault) {
    if (c->wire == KY_WIRE_RAWIP) {
        *out = fcntl(u->receive_fd, F_DUPFD_CLOEXEC, 0);
        return *out >= 0 ? 0 : ky_fail(fault, "send-bind", -errno);
    }
    int err = open_bound(c, 0, "send-bind", out, fault);
    if (err == 0)
        drop_all(*out);
    return err;
}

int ky_udp_open(struct ky_udp *u, const struct ky_udp_config *c, struct ky_fault *fault) {
    *u = (struct ky_udp){
        .receive_fd = -1, .stop_fd = -1, .v6 = !ky_ip_is4(c->local), .batch = c->batch};
    atomic_store(&u->gso, c->gso);
    int err = open_receiver(u, c, fault);
    while (err == 0 && u->ports < c->ports) {
        err = open_sender(u, c, &u->send_fd[u->ports], fault);
        if (err == 0) {
            set_buffers(u->send_fd[u->ports], SO_SNDBUFFORCE, SO_SNDBUF);
            u->send_port[u->ports] = port_of(u->send_fd[u->ports]);
            u->ports++;
        }
    }
    if (err != 0)
        ky_udp_close(u);
    return err;
}

void ky_udp_close(struct ky_udp *u) {
    if (u->receive_fd >= 0)
        close(u->receive_fd);
    while (u->ports > 0)
        close(u->send_fd[--u->ports]);
    u->receive_fd = -1;
}

// ---- sending ----

// Messages of one socket, gathered until the port changes or the array is full.
struct outgoing {
    struct ky_udp *udp;
    struct mmsghdr msg[KY_SEND_BATCH];
    struct iovec iov[KY_SEND_BATCH];
    _Alignas(struct cmsghdr)
        uint8_t control[KY_SEND_BATCH][CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))];
    const struct ky_run *run[KY_SEND_BATCH];
    unsigned count;
    uint8_t port;
};

static struct cmsghdr *put_cmsg(struct msghdr *m, struct cmsghdr *at, int level, int type,
                                const void *data, size_t size) {
    at->cmsg_level = level;
    at->cmsg_type = type;
    at->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(at), data, size);
    m->msg_controllen += CMSG_SPACE(size);
    return (struct cmsghdr *)((uint8_t *)at + CMSG_SPACE(size));
}

static void send_messages(struct outgoing *o);

// Adds len bytes of the run at offset; segment is the UDP_SEGMENT size, 0 for one datagram.
static void add(struct outgoing *o, const struct ky_run *run, uint32_t offset, uint32_t len,
                uint16_t segment) {
    if (o->count == KY_SEND_BATCH || (o->count > 0 && (o->port != run->port || !o->udp->batch)))
        send_messages(o);
    unsigned i = o->count++;
    o->port = run->port;
    o->run[i] = run;
    o->iov[i] = (struct iovec){run->buf + offset, len};
    struct msghdr *m = &o->msg[i].msg_hdr;
    *m = (struct msghdr){.msg_name = (void *)&run->peer->to,
                         .msg_namelen = run->peer->to_len,
                         .msg_iov = &o->iov[i],
                         .msg_iovlen = 1};
    struct cmsghdr *at = (struct cmsghdr *)o->control[i];
    if (segment != 0)
        at = put_cmsg(m, at, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    if (run->tos != 0) {
        int tos = run->tos;
        put_cmsg(m, at, o->udp->v6 ? IPPROTO_IPV6 : IPPROTO_IP, o->udp->v6 ? IPV6_TCLASS : IP_TOS,
                 &tos, sizeof tos);
    }
    if (m->msg_controllen > 0)
        m->msg_control = o->control[i];
}

static void add_frames(struct outgoing *o, const struct ky_run *run) {
    for (uint32_t at = 0; at < run->len; at += run->frame) {
        uint32_t len = run->len - at < run->frame ? run->len - at : run->frame;
        add(o, run, at, len, 0);
    }
}

// Frames that a message holds.
static uint32_t frames_in(const struct outgoing *o, unsigned i) {
    return (uint32_t)((o->iov[i].iov_len + o->run[i]->frame - 1) / o->run[i]->frame);
}

// Waits until the socket takes more, the worker must end, or time is up. Returns whether to retry.
static bool wait_writable(const struct ky_udp *u, int fd) {
    struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = u->stop_fd, .events = POLLIN}};
    return poll(p, 2, 100) > 0 && (p[1].revents & POLLIN) == 0;
}

static bool refuses_gso(int err) {
    // EIO: no checksum offload on the route (kernels up to 6.10), xfrm. EMSGSIZE: a frame above the
    // path MTU, which plain sends may fragment. EINVAL: more segments than this kernel takes.
    return err == EIO || err == EMSGSIZE || err == EINVAL || err == EOPNOTSUPP;
}

// Deals with the message that failed. Returns true to try it again.
static bool on_error(struct outgoing *o, unsigned i, int err, unsigned *tries) {
    struct ky_udp *u = o->udp;
    if (err == EINTR)
        return true;
    if ((err == EAGAIN || err == ENOBUFS) && ++*tries <= 3 && wait_writable(u, u->send_fd[o->port]))
        return true;
    bool busy = err == EAGAIN || err == ENOBUFS;
    ky_drop(u->tx, busy ? KY_DROP_TX_BACKPRESSURE : KY_DROP_TX_SEND_ERROR, frames_in(o, i));
    return false;
}

// Sends one run's frames one by one after its UDP_SEGMENT send failed. Order holds: the messages
// before it are gone, those after it wait.
static void send_apart(struct ky_udp *u, const struct ky_run *run, int err) {
    struct outgoing o;
    o.udp = u;
    o.count = 0;
    ky_add(&u->tx->tx_gso_fallbacks, 1);
    if (err == EIO) {
        atomic_store_explicit(&u->gso_errno, err, memory_order_relaxed);
        atomic_store_explicit(&u->gso, false, memory_order_relaxed);
    }
    add_frames(&o, run);
    if (o.count > 0)
        send_messages(&o);
}

static void send_messages(struct outgoing *o) {
    struct ky_udp *u = o->udp;
    unsigned sent = 0, tries = 0;
    while (sent < o->count) {
        int n = sendmmsg(u->send_fd[o->port], o->msg + sent, o->count - sent, 0);
        ky_add(&u->tx->tx_syscalls, 1);
        if (n > 0) {
            ky_add(&u->tx->tx_datagrams, (uint64_t)n);
            sent += (unsigned)n;
            tries = 0;
            continue;
        }
        int err = errno;
        if (frames_in(o, sent) > 1 && refuses_gso(err)) {
            send_apart(u, o->run[sent], err);
            sent++;
        } else if (!on_error(o, sent, err, &tries)) {
            sent++;
            tries = 0;
        }
    }
    o->count = 0;
}

void ky_udp_send(void *ctx, const struct ky_run *runs, unsigned count) {
    struct ky_udp *u = ctx;
    struct outgoing o;
    o.udp = u;
    o.count = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct ky_run *run = &runs[i];
        if (run->count == 1 || atomic_load_explicit(&u->gso, memory_order_relaxed))
            add(&o, run, 0, run->len, run->count > 1 ? run->frame : 0);
        else
            add_frames(&o, run);
    }
    if (o.count > 0)
        send_messages(&o);
}
