// TOS and traffic class travel as cmsgs: sent as an int (IP_TOS, IPV6_TCLASS), received as one byte
// (IP_TOS) or an int (IPV6_TCLASS), all eight bits of them; and a socket filter that answers 0 keeps a
// datagram out of the receive buffer.
#include <linux/filter.h>

#include "platform.h"

struct case_ {
    int family, level, receive, type;
    size_t size; // of the received cmsg
};

static int seen_tos(const struct case_ *c, const struct msghdr *m) {
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR((struct msghdr *)m, h)) {
        if (h->cmsg_level != c->level || h->cmsg_type != c->type)
            continue;
        if (h->cmsg_len != CMSG_LEN(c->size))
            FAIL("the received cmsg holds %zu bytes", (size_t)h->cmsg_len - CMSG_LEN(0));
        int value = 0;
        memcpy(&value, CMSG_DATA(h), c->size); // little endian or one byte: the low byte is first
        return c->size == 1 ? *CMSG_DATA(h) : value;
    }
    return -1;
}

static void try(const struct case_ *c, int tos) {
    struct sockaddr_in6 address = {.sin6_family = (sa_family_t)c->family};
    if (c->family == AF_INET)
        ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.sin6_addr = in6addr_loopback;
    socklen_t len = c->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof address;
    int from = socket(c->family, SOCK_DGRAM, 0), to = socket(c->family, SOCK_DGRAM, 0), on = 1;
    NEED(from >= 0 && to >= 0 && bind(to, (struct sockaddr *)&address, len) == 0);
    NEED(getsockname(to, (struct sockaddr *)&address, &len) == 0);
    NEED(setsockopt(to, c->level, c->receive, &on, sizeof on) == 0);
    uint8_t byte = 0;
    struct iovec iov = {&byte, 1};
    _Alignas(struct cmsghdr) uint8_t control[64] = {0};
    struct msghdr m = {.msg_name = &address,
                       .msg_namelen = len,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE(sizeof tos)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){
        .cmsg_level = c->level, .cmsg_type = c->type, .cmsg_len = CMSG_LEN(sizeof tos)};
    memcpy(CMSG_DATA(h), &tos, sizeof tos);
    if (sendmsg(from, &m, 0) != 1)
        FAIL("sending with TOS 0x%02x: %s", (unsigned)tos, strerror(errno));
    m.msg_controllen = sizeof control;
    NEED(recvmsg(to, &m, 0) == 1);
    int seen = seen_tos(c, &m);
    if (seen != tos)
        FAIL("TOS 0x%02x arrived as 0x%02x", (unsigned)tos, (unsigned)seen);
    close(from);
    close(to);
}

static void try_filter(void) {
    struct loopback l = open_loopback();
    struct sock_filter ret0 = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog program = {.len = 1, .filter = &ret0};
    NEED(setsockopt(l.to, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
    NEED(sendto(l.from, "x", 1, 0, (struct sockaddr *)&l.address, sizeof l.address) == 1);
    char byte;
    if (recv(l.to, &byte, 1, 0) >= 0 || errno != EAGAIN)
        FAIL("a filter of 0 bytes let a datagram in");
}

int main(void) {
    own_network();
    static const struct case_ cases[] = {
        {AF_INET, IPPROTO_IP, IP_RECVTOS, IP_TOS, 1},
        {AF_INET6, IPPROTO_IPV6, IPV6_RECVTCLASS, IPV6_TCLASS, sizeof(int)},
    };
    for (unsigned i = 0; i < 2; i++)
        for (int tos = 0; tos < 256; tos++)
            try(&cases[i], tos);
    try_filter();
    SO("all 256 values both ways; a filter of 0 bytes keeps datagrams out");
}
