// A netlink socket for JavaScript, which has none: requests and their answers, and events.
//
// The codec is in src/netlink; this file knows only the 16-byte nlmsghdr. A refusal by the kernel
// is not an error here: the answer then holds an NLMSG_ERROR with the errno and, in its
// extended-ack attributes, the kernel's own words. All functions return 0 or -errno and keep no
// state of their own.
//
// The kernel answers inside sendmsg and, for a dump, inside each recvmsg, so a request does not
// wait for anything outside the kernel and may run on the main thread.
#ifndef KY_NETLINK_H
#define KY_NETLINK_H

#include <stddef.h>
#include <stdint.h>

enum {
    // A request may hold several messages (a batch), up to this many bytes in all ...
    KY_NETLINK_REQUEST_MAX = 32768,
    // ... and this many messages, so that their ACKs fit the default receive buffer.
    KY_NETLINK_BATCH_MAX = 128,
    // No datagram the kernel sends us is longer: dumps are built in 32 KiB at most.
    KY_NETLINK_DATAGRAM_MAX = 65536,
};

// Opens a bound, close-on-exec netlink socket. `groups` is the bit mask of multicast groups (bit
// n-1 is group n); a socket for requests joins none, because an event may carry the sequence number
// of the request that caused it.
int ky_netlink_open(int protocol, uint32_t groups, int *fd_out);

// Sends the messages at req and gathers every message of the kernel's answers, each request's
// answer ending in its NLMSG_ERROR (errno 0 is the ACK) or NLMSG_DONE. Sequence number, port id,
// NLM_F_REQUEST and NLM_F_ACK of the requests are set here; message i of the batch is answered
// under nlmsg_seq i. The kernel carries on after a message it refuses. A dump is sent alone.
//
// *reply is malloc'ed; the caller frees it. On an error nothing is left to free, and it is not
// known which of the requests the kernel carried out.
// - -EINVAL: req is not a sequence of whole messages
// - -E2BIG: longer than KY_NETLINK_REQUEST_MAX, or more than KY_NETLINK_BATCH_MAX messages
// - -EAGAIN: a dump was overtaken by changes (NLM_F_DUMP_INTR) each of several times it was begun
// - -ENOBUFS: an answer was lost
// - -ETIMEDOUT, -EMSGSIZE, -EPROTO, -ENOMEM, and what sendmsg and recvmsg say
int ky_netlink_request(int fd, const void *req, size_t len, uint8_t **reply, size_t *reply_len);

// Reads one datagram of events without waiting; *len is 0 when there is none. cap should be
// KY_NETLINK_DATAGRAM_MAX. -ENOBUFS and -EMSGSIZE mean that events were lost and the socket still
// works: the caller compares everything anew.
int ky_netlink_receive(int fd, void *buf, size_t cap, size_t *len);

#endif
