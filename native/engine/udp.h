// The underlay: one receiving socket on the VXLAN port, and a bank of sending sockets whose
// ephemeral ports give the flows their entropy (a UDP socket has one source port, and no cmsg
// changes it). Batches are in the signatures; the send ladder is UDP_SEGMENT, sendmmsg, sendmsg.
//
// Sockets belong to one worker. Sending and receiving may happen on two threads, for they share
// nothing that changes.
#ifndef KY_UDP_H
#define KY_UDP_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "decap.h"
#include "fault.h"
#include "ip.h"
#include "runs.h"
#include "stats.h"

enum {
    KY_PORTS_MAX = 16,
    KY_SEND_BATCH = 64,
    KY_RECEIVE_BATCH = 64,
    // What a batch aims to hold: more buffers than L2 takes cost more than the calls they save
    // (measured: 4 x 64 KB buffers 9.0 Gbit/s, 64 x 64 KB 5.8).
    KY_RECEIVE_BYTES = 64 * 1024,
};

struct ky_udp_config {
    struct ky_ip local; // the address frames leave from and are received on
    uint16_t port;
    uint8_t ports; // size of the bank
    bool reuse;    // several workers share the port
    bool gso, gro, batch;
};

struct ky_udp {
    int receive_fd;
    int send_fd[KY_PORTS_MAX];
    uint16_t send_port[KY_PORTS_MAX]; // what they are bound to
    uint8_t ports;
    bool v6;
    bool batch;
    atomic_bool gso;        // cleared for good when the kernel answers EIO
    atomic_int gso_errno;   // why it was cleared
    int stop_fd;            // readable when the worker must end; set by the worker
    struct ky_counters *tx; // of the sending thread
};

int ky_udp_open(struct ky_udp *udp, const struct ky_udp_config *config, struct ky_fault *fault);
void ky_udp_close(struct ky_udp *udp);

// Sends the runs in order; ctx is the ky_udp. The signature is that of ky_runs.send.
void ky_udp_send(void *ctx, const struct ky_run *runs, unsigned count);

// Receive buffers, one set per receiving thread.
struct ky_receive {
    struct mmsghdr msg[KY_RECEIVE_BATCH];
    struct iovec iov[KY_RECEIVE_BATCH];
    struct sockaddr_in6 from[KY_RECEIVE_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[KY_RECEIVE_BATCH][64];
    uint8_t *memory;
    unsigned want; // messages to ask for next; follows the size of what arrives
};

int ky_receive_init(struct ky_receive *r, bool batch); // 0 or -ENOMEM
void ky_receive_free(struct ky_receive *r);

// Receives without blocking what is there. Returns the number of datagrams or trains, 0 when there
// was none, or -errno.
int ky_udp_receive(const struct ky_udp *udp, struct ky_receive *r);

// The i-th of them.
void ky_receive_at(const struct ky_receive *r, unsigned i, struct ky_datagram *datagram);

#endif
