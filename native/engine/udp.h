// The underlay: one receiving socket on the wire's port, and a bank of sending sockets whose
// ephemeral ports give the flows their entropy (a UDP socket has one source port, and no cmsg
// changes it). On flannel's udp wire the bank is the receiving socket alone: flannel's proxy sends from
// the port it receives on, and the firewalls and NATs on the way let the answers of such a pair through
// without a rule of their own. Batches are in the signatures; the send ladder is UDP_SEGMENT, sendmmsg, sendmsg.
//
// Sockets belong to one worker. Receiving is receive.h's.
#ifndef KY_UDP_H
#define KY_UDP_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fault.h"
#include "ip.h"
#include "runs.h"
#include "stats.h"
#include "wire.h"

enum {
    KY_PORTS_MAX = 16,
    KY_SEND_BATCH = 64,
};

struct ky_udp_config {
    struct ky_ip local; // the address frames leave from and are received on
    uint16_t port;
    enum ky_wire wire;
    uint8_t ports; // size of the bank; on flannel's udp wire at most 1
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
    struct ky_counters *tx; // of the worker
};

int ky_udp_open(struct ky_udp *udp, const struct ky_udp_config *config, struct ky_fault *fault);
void ky_udp_close(struct ky_udp *udp);

// Sends the runs in order; ctx is the ky_udp. The signature is that of ky_runs.send.
void ky_udp_send(void *ctx, const struct ky_run *runs, unsigned count);

#endif
