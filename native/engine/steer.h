// Which of a TUN's queues a packet is read from. By itself the kernel learns: a flow moves to the
// queue that the other direction was last written to, and when it moves it is overtaken, and leaves
// from another source port. A program of ours makes the choice instead, by the flow alone.
#ifndef KY_STEER_H
#define KY_STEER_H

// Without it a flow that changes its queue may be overtaken. Returns 0, or -errno where there is no TUNSETSTEERINGEBPF (before Linux 4.16) or no right to it.
int ky_tun_steer(int tun_fd);

#endif
