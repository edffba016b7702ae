// A model of the proxy inside flannel's udp backend, written from a description of its behaviour, not from
// its source: the peer that the engine's udp wire is tried against. It has the original's ways, bugs
// included, because a peer that is better behaved would prove less:
//
//   - one thread, poll on TUN and socket, then in turn one packet from the TUN and one from the socket for
//     as long as either had one; one system call a packet in each direction
//   - a datagram is one bare IPv4 packet; it is sent from and to the one port, on a socket without options
//   - routes are searched in the order of a table in which every hit moves to the front; no longest match
//   - the TTL is one less in each direction, its checksum patched (RFC 1624); used up, the packet vanishes;
//     an incoming TTL of 0 becomes 255
//   - the buffer is as large as the MTU: more is cut off, and what is left is passed on
//   - what comes in is not checked, but for its 20 bytes
//   - without a route: ICMP net unreachable from the subnet's first address, with a TTL of 8
//
// Left out: its control socket. Routes are arguments instead, and never change.
//
//   flannel-proxy DEVICE MTU SUBNET-BASE LOCAL PORT [NET/LEN=NEXT-HOP]...
//
// It makes the device, prints "ready", and goes on until it is ended by a signal.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUTES = 64, IP_HEADER = 20, ICMP_HEADER = 8, QUOTED = 8 };

struct route {
    uint32_t net, mask; // network order
    struct sockaddr_in hop;
};

static struct route routes[ROUTES];
static unsigned route_count;
static int tun, sock;
static uint8_t *packet;
static size_t mtu;
static struct in_addr base;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint16_t sum_of(const uint8_t *p, size_t len) {
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

// The TTL is the high byte of its word of the header, so the sum grows by 0x0100 (RFC 1624).
static bool hop(uint8_t *p) {
    p[8]--;
    uint32_t check = ((uint32_t)p[10] << 8 | p[11]) + 0x0100;
    put16(p + 10, (uint16_t)(check + (check >> 16)));
    return p[8] > 0;
}

static const struct route *find(uint32_t to) {
    for (unsigned i = 0; i < route_count; i++)
        if ((to & routes[i].mask) == routes[i].net) {
            struct route hit = routes[i];
            routes[i] = routes[0];
            routes[0] = hit;
            return &routes[0];
        }
    return NULL;
}

static void unreachable(const uint8_t *p) {
    size_t header = (p[0] & 15u) * 4u;
    bool later = ((p[6] & 0x1f) | p[7]) != 0;
    if (header >= 60 || p[9] == 1 || later)
        return;
    uint8_t error[IP_HEADER + ICMP_HEADER + 60 + QUOTED] = {0x45};
    size_t len = IP_HEADER + ICMP_HEADER + header + QUOTED;
    put16(error + 2, (uint16_t)len);
    error[8] = 8;
    error[9] = 1;
    memcpy(error + 12, &base, 4);
    memcpy(error + 16, p + 12, 4);
    put16(error + 10, sum_of(error, IP_HEADER));
    error[IP_HEADER] = 3;
    memcpy(error + IP_HEADER + ICMP_HEADER, p, header + QUOTED);
    put16(error + IP_HEADER + 2, sum_of(error + IP_HEADER, len - IP_HEADER));
    (void)!write(tun, error, len);
}

static bool tun_to_udp(void) {
    ssize_t n = read(tun, packet, mtu);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("read");
    if (n <= 0)
        return false;
    if (n < IP_HEADER)
        return true;
    uint32_t to;
    memcpy(&to, packet + 16, 4);
    const struct route *route = find(to);
    if (route == NULL)
        unreachable(packet);
    else if (hop(packet))
        (void)!sendto(sock, packet, (size_t)n, 0, (const struct sockaddr *)&route->hop,
                      sizeof route->hop);
    return true;
}

static bool udp_to_tun(void) {
    ssize_t n = recv(sock, packet, mtu, MSG_DONTWAIT);
    if (n < 0)
        return false;
    if (n < IP_HEADER || !hop(packet))
        return true;
    while (write(tun, packet, (size_t)n) < 0 && errno == EAGAIN)
        ;
    return true;
}

static void open_tun(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0)
        die("/dev/net/tun");
}

static void open_socket(const char *local, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (inet_pton(AF_INET, local, &address.sin_addr) != 1 || sock < 0 ||
        bind(sock, (const struct sockaddr *)&address, sizeof address) < 0)
        die(local);
}

static void add_route(char *text, uint16_t port) {
    char *net = strtok(text, "/"), *len = strtok(NULL, "="), *next = strtok(NULL, "");
    struct route *r = &routes[route_count++];
    r->hop = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    if (route_count > ROUTES || len == NULL || next == NULL ||
        inet_pton(AF_INET, net, &r->net) != 1 || inet_pton(AF_INET, next, &r->hop.sin_addr) != 1)
        die("route");
    r->mask = htonl((uint32_t)(0xffffffff00000000ULL >> atoi(len)));
}

int main(int argc, char **argv) {
    if (argc < 6)
        return 2;
    mtu = (size_t)atoi(argv[2]);
    packet = malloc(mtu < 64 ? 64 : mtu);
    uint16_t port = (uint16_t)atoi(argv[5]);
    if (packet == NULL || inet_pton(AF_INET, argv[3], &base) != 1)
        die("arguments");
    open_tun(argv[1]);
    open_socket(argv[4], port);
    for (int i = 6; i < argc; i++)
        add_route(argv[i], port);
    puts("ready");
    fflush(stdout);
    struct pollfd p[2] = {{.fd = tun, .events = POLLIN}, {.fd = sock, .events = POLLIN}};
    while (poll(p, 2, -1) >= 0 || errno == EINTR) {
        bool more;
        do {
            more = tun_to_udp();
            more |= udp_to_tun();
        } while (more);
    }
    die("poll");
}
