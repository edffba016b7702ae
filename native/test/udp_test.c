// Real sockets over loopback: the send ladder with its fallbacks, TOS, trains, and what is refused.
// sendmmsg is wrapped (see CMakeLists.txt), so that the kernel's refusals can be had at will.
#include "../engine/receive.h"
#include "../engine/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "netns.h"
#include "oracle.h"
#include "random.h"

enum { FRAMES = 4096, BUFFER = 4 << 20, STEPS = 16, PORT = 8472 };

// ---- the wrapped system call ----

// What the next calls do: 0: as the kernel says; n > 0: send no more than n messages; n < 0: fail with
// -n. After the steps, `always` holds.
static int steps[STEPS], step_count, step_at, always;

// When set, every call is in trouble of some kind that costs nothing but time. GSO_TROUBLE is what
// UDP_SEGMENT may answer, and only that: EIO once, which ends it for good.
static struct random *trouble;
static int gso_trouble;
static unsigned troubles;

static bool is_run(const struct mmsghdr *msg) {
    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg->msg_hdr);
    return c != NULL && c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT;
}

static int some_trouble(const struct mmsghdr *msg) {
    static const int passing[] = {-EAGAIN, -ENOBUFS, -EINTR};
    static bool passed; // never two in a row: that many would be given up
    troubles++;
    passed = !passed && random_one_in(trouble, 2);
    if (passed && is_run(msg) && gso_trouble != 0 && random_one_in(trouble, 2))
        return -gso_trouble;
    return passed ? passing[random_below(trouble, 3)] : (int)random_range(trouble, 1, 3);
}

int __real_sendmmsg(int fd, struct mmsghdr *msg, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msg, unsigned n, int flags);

__attribute__((visibility("default"))) int __wrap_sendmmsg(int fd, struct mmsghdr *msg, unsigned n,
                                                           int flags) {
    int step = trouble != NULL        ? some_trouble(msg)
               : step_at < step_count ? steps[step_at++]
                                      : always;
    if (step < 0) {
        errno = -step;
        return -1;
    }
    return __real_sendmmsg(fd, msg, step > 0 && (unsigned)step < n ? (unsigned)step : n, flags);
}

static void plan(int a, int b, int c, int then) {
    steps[0] = a, steps[1] = b, steps[2] = c;
    step_count = 3;
    step_at = 0;
    always = then;
}

// ---- both ends ----

static struct ky_udp from, to;
static struct ky_receive receive_buffers;
static struct ky_counters counters;
static struct ky_peers *peers;
static struct ky_ip from_ip, to_ip;

static struct ky_run runs[64];
static unsigned run_count;
static uint8_t *bytes;
static size_t used;

static struct frame {
    const uint8_t *bytes;
    size_t len;
    uint8_t tos;
} sent[FRAMES], got[FRAMES];
static unsigned sent_count, got_count, trains;

static struct ky_ip ip(const char *text) {
    uint8_t raw[16];
    if (strchr(text, ':')) {
        REQUIRE(inet_pton(AF_INET6, text, raw) == 1);
        return ky_ip6(raw);
    }
    REQUIRE(inet_pton(AF_INET, text, raw) == 1);
    return ky_ip4(raw);
}

static void build_peer(void) {
    static const uint8_t inner[4] = {10, 2, 0, 0};
    static const uint32_t slot = 0;
    struct ky_peer_spec spec = {.prefix = ky_ip4(inner), .outer = to_ip, .bits = KY_V4_BITS + 24};
    struct ky_peers_spec all = {.peers = &spec, .slots = &slot, .count = 1, .vni = 1, .port = PORT};
    size_t duplicate;
    REQUIRE(ky_peers_build(&all, &peers, &duplicate) == 0);
}

static void open_both(bool v6, bool gso, bool gro, bool batch) {
    struct ky_fault fault;
    from_ip = ip(v6 ? "fd00::1" : "127.0.0.1");
    to_ip = ip(v6 ? "fd00::2" : "127.0.0.2");
    struct ky_udp_config c = {
        .local = from_ip, .port = PORT, .ports = 4, .gso = gso, .gro = gro, .batch = batch};
    REQUIRE(ky_udp_open(&from, &c, &fault) == 0);
    c.local = to_ip;
    REQUIRE(ky_udp_open(&to, &c, &fault) == 0);
    REQUIRE(ky_receive_init(&receive_buffers, batch, 1472) == 0);
    memset(&counters, 0, sizeof counters);
    from.tx = &counters;
    build_peer();
    sent_count = got_count = run_count = trains = 0;
    used = 0;
    plan(0, 0, 0, 0);
    step_count = 0;
}

static void close_both(void) {
    ky_udp_close(&from);
    ky_udp_close(&to);
    ky_receive_free(&receive_buffers);
    ky_peers_free(peers);
}

// A run of `count` frames, the last of `last` bytes. Every frame begins with its number.
static void add_run(uint8_t port, uint8_t tos, unsigned count, uint16_t frame, uint16_t last) {
    struct ky_run *run = &runs[run_count++];
    *run = (struct ky_run){.peer = ky_peers_at(peers, 0),
                           .buf = bytes + used,
                           .frame = frame,
                           .count = (uint16_t)count,
                           .port = port,
                           .tos = tos};
    for (unsigned i = 0; i < count; i++) {
        uint16_t len = i + 1 < count ? frame : last;
        uint8_t *p = bytes + used;
        REQUIRE(used + len <= BUFFER && sent_count < FRAMES && len >= 4);
        memset(p, (int)(sent_count & 0xff), len);
        oracle_put32(p, sent_count);
        sent[sent_count++] = (struct frame){p, len, tos};
        used += len;
        run->len += len;
    }
    run->frame = count == 1 ? last : frame;
}

static void send_all(void) {
    ky_udp_send(&from, runs, run_count);
    run_count = 0;
}

static void take(const struct ky_datagram *d) {
    uint32_t size = d->gro != 0 ? d->gro : d->len;
    CHECK(ky_ip_equal(d->from, from_ip));
    CHECK(!d->truncated);
    trains += d->gro != 0;
    for (uint32_t at = 0; at < d->len; at += size) {
        uint32_t len = d->len - at < size ? d->len - at : size;
        uint8_t *copy = bytes + used;
        REQUIRE(got_count < FRAMES && used + len <= BUFFER);
        memcpy(copy, d->buf + at, len);
        used += len;
        got[got_count++] = (struct frame){copy, len, d->tos};
    }
}

// Receives until so many frames are there, or nothing comes any more.
static void receive(unsigned frames) {
    struct pollfd p = {.fd = to.receive_fd, .events = POLLIN};
    while (got_count < frames && poll(&p, 1, 2000) > 0) {
        int n = ky_receive_batch(&receive_buffers, to.receive_fd);
        REQUIRE(n >= 0 && n <= KY_RECEIVE_BATCH);
        for (int i = 0; i < n; i++) {
            struct ky_datagram d;
            ky_receive_at(&receive_buffers, (unsigned)i, &d);
            take(&d);
        }
    }
}

static void check_silence(void) {
    CHECK_EQ(ky_receive_batch(&receive_buffers, to.receive_fd), 0);
}

// Everything that was sent is there; in order, unless it left from several ports.
static void check_arrived(void) {
    receive(sent_count);
    if (!CHECK_EQ(got_count, sent_count))
        return;
    for (unsigned i = 0; i < sent_count; i++) {
        if (!CHECK_EQ(got[i].len, sent[i].len))
            return;
        CHECK_MEM(got[i].bytes, sent[i].bytes, sent[i].len);
        CHECK_EQ(got[i].tos, sent[i].tos);
    }
    check_silence();
}

static uint64_t drops(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < KY_DROP_COUNT; i++)
        sum += ky_get(&counters.drops[i]);
    return sum;
}

// ---- the ladder ----

static void test_ladder(void) {
    for (unsigned mode = 0; mode < 16; mode++) {
        bool v6 = mode & 1, gso = mode & 2, gro = mode & 4, batch = mode & 8;
        check_case("IPv%d, gso %d, gro %d, batch %d", v6 ? 6 : 4, gso, gro, batch);
        open_both(v6, gso, gro, batch);
        add_run(0, 0, 1, 100, 100);
        add_run(0, 0, 10, 1472, 1472);
        add_run(0, 2, 10, 1472, 9);
        add_run(0, 1, 64, 50, 50);
        add_run(0, 0, 44, 1480, 1480);
        add_run(0, 0, 1, 65507, 65507);
        add_run(0, 2, 2, 30000, 29999);
        unsigned messages = gso ? 7 : sent_count;
        send_all();
        CHECK_EQ(ky_get(&counters.tx_datagrams), messages);
        CHECK_EQ(ky_get(&counters.tx_syscalls),
                 !batch ? messages : (messages + KY_SEND_BATCH - 1) / KY_SEND_BATCH);
        CHECK_EQ(ky_get(&counters.tx_gso_fallbacks), 0);
        check_arrived();
        CHECK_EQ(drops(), 0);
        CHECK_EQ(trains, gso && gro ? 5 : 0);
        close_both();
    }
}

static void test_ports(void) {
    open_both(false, true, true, true);
    check_case("source ports");
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < i; k++)
            CHECK(from.send_port[i] != from.send_port[k]);
    int plain = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0); // sees the ports
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT + 1)};
    inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
    REQUIRE(plain >= 0 && bind(plain, (struct sockaddr *)&address, sizeof address) == 0);
    struct ky_peer peer = *ky_peers_at(peers, 0);
    peer.to.in.sin_port = htons(PORT + 1);
    static const uint8_t order[] = {0, 1, 1, 3, 2, 0, 3};
    for (unsigned i = 0; i < sizeof order; i++) {
        add_run(order[i], 0, 1, 100, 100);
        runs[i].peer = &peer;
    }
    send_all();
    for (unsigned i = 0; i < sizeof order; i++) {
        struct sockaddr_in source = {0};
        socklen_t len = sizeof source;
        uint8_t frame[200];
        CHECK_EQ(recvfrom(plain, frame, sizeof frame, 0, (struct sockaddr *)&source, &len), 100);
        CHECK_EQ(ntohs(source.sin_port), from.send_port[order[i]]);
        CHECK_EQ(oracle_get32(frame), i);
    }
    close(plain);
    close_both();
}

// What strangers send to the sending sockets is dropped, and not kept.
static void test_bank_is_deaf(void) {
    open_both(false, true, true, true);
    check_case("the sending sockets do not listen");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(from.send_port[0])};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(sendto(to.send_fd[0], "hello", 5, 0, (struct sockaddr *)&address, sizeof address),
                 5);
    uint8_t frame[16];
    CHECK_EQ(recv(from.send_fd[0], frame, sizeof frame, MSG_DONTWAIT), -1);
    close_both();
}

// Flannel's udp wire: one port to send from and to receive on, each way.
static void test_one_port(void) {
    int before = netns_count("/proc/self/fd");
    struct ky_fault fault;
    struct ky_udp_config c = {.wire = KY_WIRE_RAWIP, .port = PORT, .ports = 1, .gso = true};
    open_both(false, true, true, true);
    ky_udp_close(&from);
    ky_udp_close(&to);
    c.local = from_ip;
    REQUIRE(ky_udp_open(&from, &c, &fault) == 0);
    c.local = to_ip;
    REQUIRE(ky_udp_open(&to, &c, &fault) == 0);
    from.tx = &counters;
    check_case("one port for both ways");
    add_run(0, 0, 10, 1472, 1472);
    send_all();
    struct sockaddr_in source = {0};
    socklen_t len = sizeof source;
    uint8_t frame[2000];
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(recvfrom(to.receive_fd, frame, sizeof frame, MSG_DONTWAIT,
                          (struct sockaddr *)&source, &len),
                 1472);
        CHECK_EQ(ntohs(source.sin_port), PORT);
    }
    CHECK_EQ(sendto(to.send_fd[0], "answer", 6, 0, (struct sockaddr *)&source, len), 6);
    CHECK_EQ(recv(from.receive_fd, frame, sizeof frame, MSG_DONTWAIT), 6);
    close_both();
    CHECK_EQ(netns_count("/proc/self/fd"), before);
}

// ---- refusals ----

// The kernel refuses UDP_SEGMENT: the run leaves frame by frame, in its place.
static void test_fallback(void) {
    static const int errors[] = {EIO, EMSGSIZE, EINVAL, EOPNOTSUPP};
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        open_both(false, true, true, true);
        check_case("UDP_SEGMENT answers %s", strerrorname_np(errors[i]));
        add_run(0, 0, 1, 100, 100);
        add_run(0, 0, 10, 500, 77);
        add_run(0, 0, 5, 300, 300);
        plan(1, -errors[i], 0, 0); // the first message leaves, the second is refused
        send_all();
        CHECK_EQ(ky_get(&counters.tx_gso_fallbacks), 1);
        CHECK_EQ(atomic_load(&from.gso), errors[i] != EIO);
        CHECK_EQ(atomic_load(&from.gso_errno), errors[i] == EIO ? EIO : 0);
        add_run(0, 0, 6, 200, 200);
        send_all();
        check_arrived();
        CHECK_EQ(drops(), 0);
        if (errors[i] == EIO) // off for good: message by message
            CHECK_EQ(ky_get(&counters.tx_datagrams), 1 + 10 + 1 + 6);
        close_both();
    }
}

// The same from the kernel itself: segments above the MTU. Plain datagrams may be fragmented.
static void test_larger_than_mtu(void) {
    REQUIRE(netns_link_mtu("lo", 1500) == 0);
    open_both(false, true, true, true);
    check_case("frames above the path MTU");
    add_run(0, 2, 4, 3000, 2000);
    add_run(0, 0, 4, 1472, 1472);
    send_all();
    CHECK_EQ(ky_get(&counters.tx_gso_fallbacks), 1);
    check_arrived();
    CHECK_EQ(drops(), 0);
    close_both();
    REQUIRE(netns_link_mtu("lo", 65536) == 0);
}

static void check_refused(int error, enum ky_drop reason, unsigned frames) {
    for (unsigned count = 1; count <= frames; count += frames - 1) {
        open_both(false, true, true, true);
        check_case("%s for %u frames", strerrorname_np(error), count);
        add_run(0, 0, count, 500, 500);
        sent_count = 0;
        plan(-error, -error, -error, -error);
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        send_all();
        clock_gettime(CLOCK_MONOTONIC, &end);
        CHECK_EQ(ky_get(&counters.drops[reason]), count);
        CHECK_EQ(drops(), count);
        CHECK(end.tv_sec - begin.tv_sec <= 1);
        plan(0, 0, 0, 0);
        add_run(0, 0, 3, 200, 200); // and what follows leaves
        for (unsigned i = 0; i < sent_count; i++)
            oracle_put32((uint8_t *)sent[i].bytes, i);
        send_all();
        check_arrived();
        close_both();
    }
}

static void test_refusals(void) {
    check_refused(EPERM, KY_DROP_TX_SEND_ERROR, 10);
    check_refused(ENETUNREACH, KY_DROP_TX_SEND_ERROR, 10);
    check_refused(EAGAIN, KY_DROP_TX_BACKPRESSURE, 10);
    check_refused(ENOBUFS, KY_DROP_TX_BACKPRESSURE, 10);
}

static void test_single_too_long(void) {
    open_both(false, true, true, true);
    check_case("one datagram too long");
    add_run(0, 0, 1, 500, 500);
    sent_count = 0;
    plan(-EMSGSIZE, 0, 0, 0);
    send_all();
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_TX_SEND_ERROR]), 1);
    CHECK_EQ(ky_get(&counters.tx_gso_fallbacks), 0);
    check_silence();
    close_both();
}

// A passing difficulty costs nothing.
static void test_retries(void) {
    static const int errors[] = {EAGAIN, ENOBUFS, EINTR};
    for (unsigned i = 0; i < 3; i++) {
        open_both(false, true, true, true);
        check_case("%s twice", strerrorname_np(errors[i]));
        add_run(0, 0, 3, 500, 500);
        add_run(0, 0, 3, 500, 400);
        plan(-errors[i], -errors[i], 0, 0);
        send_all();
        check_arrived();
        CHECK_EQ(drops(), 0);
        close_both();
    }
}

// The kernel takes some of the messages, or one in the middle is refused: the others leave once.
static void test_partial(void) {
    open_both(false, true, true, true);
    check_case("three messages a call");
    for (unsigned i = 0; i < 20; i++)
        add_run(0, 0, 1 + i % 3, 100, 100);
    plan(3, 1, 2, 3);
    send_all();
    check_arrived();
    CHECK_EQ(ky_get(&counters.tx_datagrams), 20);
    close_both();
    open_both(false, true, true, true);
    check_case("the third message is refused");
    for (unsigned i = 0; i < 5; i++)
        add_run(0, 0, 4, 100, 100);
    plan(2, -EPERM, 0, 0);
    send_all();
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_TX_SEND_ERROR]), 4);
    receive(16);
    CHECK_EQ(got_count, 16);
    for (unsigned i = 0; i < got_count; i++)
        CHECK_EQ(oracle_get32(got[i].bytes), i < 8 ? i : i + 4);
    close_both();
}

// Frames of one port leave in order and once, whatever the calls answer: only some of the messages,
// nothing for now, no UDP_SEGMENT for this run, or no UDP_SEGMENT ever again.
static void test_order_in_trouble(struct random *r) {
    static const int errors[] = {0, EMSGSIZE, EINVAL, EIO};
    for (unsigned round = 0; round < 40; round++) {
        static uint8_t port_of[FRAMES];
        uint32_t next[4] = {0};
        gso_trouble = errors[round % 4];
        open_both(round % 8 > 3, true, true, round % 3 != 0);
        check_case("round %u, UDP_SEGMENT may answer %s", round,
                   gso_trouble == 0 ? "nothing" : strerrorname_np(gso_trouble));
        troubles = 0;
        for (unsigned batch = 0; batch < 6; batch++) {
            for (unsigned i = 0; i < 12; i++) {
                unsigned before = sent_count, count = random_range(r, 1, 9);
                uint16_t frame = (uint16_t)random_range(r, 60, 1400);
                uint8_t port = (uint8_t)random_below(r, 4);
                add_run(port, 0, count, frame, (uint16_t)random_range(r, 4, frame));
                memset(port_of + before, port, sent_count - before);
            }
            trouble = r;
            send_all();
            trouble = NULL;
            receive(sent_count);
        }
        CHECK(troubles > 0);
        CHECK_EQ(got_count, sent_count);
        CHECK_EQ(drops(), 0);
        if (gso_trouble == 0)
            CHECK_EQ(ky_get(&counters.tx_gso_fallbacks), 0);
        else
            CHECK(ky_get(&counters.tx_gso_fallbacks) > 0);
        CHECK_EQ(atomic_load(&from.gso), gso_trouble != EIO);
        for (unsigned i = 0; i < got_count; i++) {
            uint32_t number = oracle_get32(got[i].bytes);
            if (!CHECK(number < sent_count) || !CHECK_EQ(got[i].len, sent[number].len))
                break;
            CHECK_MEM(got[i].bytes, sent[number].bytes, got[i].len);
            CHECK(number >= next[port_of[number]]); // each number comes once, so none is missing
            next[port_of[number]] = number + 1;
        }
        close_both();
    }
}

// A device's queue stays full: what is given up is counted frame by frame, and the rest leaves in order.
static void test_given_up(void) {
    static const int plans[][8] = {
        {1, -ENOBUFS, -ENOBUFS, -ENOBUFS, -ENOBUFS},               // the second run
        {1, -EMSGSIZE, 2, -ENOBUFS, -ENOBUFS, -ENOBUFS, -ENOBUFS}, // one of its frames, sent apart
        {-EIO, 1, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN}};            // the first run's second frame
    static const unsigned lost_from[] = {4, 6, 1}, lost_to[] = {8, 7, 2};
    for (unsigned i = 0; i < 3; i++) {
        open_both(false, true, true, true);
        check_case("given up, plan %u", i);
        for (unsigned k = 0; k < 4; k++)
            add_run(0, 0, 4, 300, 200);
        memcpy(steps, plans[i], sizeof plans[i]);
        for (step_count = 0, step_at = 0; step_count < 8 && steps[step_count] != 0;)
            step_count++;
        always = 0;
        send_all();
        unsigned lost = lost_to[i] - lost_from[i];
        CHECK_EQ(ky_get(&counters.drops[KY_DROP_TX_BACKPRESSURE]), lost);
        CHECK_EQ(drops(), lost);
        receive(16 - lost);
        CHECK_EQ(got_count, 16 - lost);
        for (unsigned k = 0; k < got_count; k++)
            CHECK_EQ(oracle_get32(got[k].bytes), k < lost_from[i] ? k : k + lost);
        check_silence();
        close_both();
    }
}

// While it waits for the underlay, a worker can still be stopped.
static void test_stop(void) {
    open_both(false, true, true, true);
    check_case("stopped while waiting");
    from.stop_fd = eventfd(1, EFD_CLOEXEC);
    REQUIRE(from.stop_fd >= 0);
    add_run(0, 0, 3, 500, 500);
    plan(-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN);
    send_all();
    CHECK_EQ(ky_get(&counters.drops[KY_DROP_TX_BACKPRESSURE]), 3);
    CHECK_EQ(ky_get(&counters.tx_syscalls), 1);
    close(from.stop_fd);
    close_both();
}

static void test_many_messages(void) {
    open_both(false, false, false, true);
    check_case("more messages than one call takes");
    for (unsigned i = 0; i < 60; i++)
        add_run((uint8_t)(i / 30), 0, 5, 100, 100);
    send_all();
    CHECK_EQ(ky_get(&counters.tx_datagrams), 300);
    CHECK_EQ(ky_get(&counters.tx_syscalls), 6); // two ports, 64 at most in a call
    receive(300);
    CHECK_EQ(got_count, 300);
    close_both();
}

// ---- receiving ----

// Small datagrams are taken many at a time, large ones singly.
static void test_batch_follows_size(void) {
    open_both(false, true, false, true);
    check_case("batch size");
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 30; i++)
            add_run(0, 0, 10, 100, 100);
        send_all();
        unsigned taken = 0;
        for (int n = 1; n > 0; taken += (unsigned)n) {
            n = ky_receive_batch(&receive_buffers, to.receive_fd);
            REQUIRE(n >= 0);
        }
        CHECK_EQ(taken, 300);
    }
    CHECK_EQ(receive_buffers.want, KY_RECEIVE_BATCH);
    for (unsigned i = 0; i < 8; i++) {
        add_run(0, 0, 1, 60000, 60000);
        send_all();
        used = 0;
        CHECK_EQ(ky_receive_batch(&receive_buffers, to.receive_fd), 1);
    }
    CHECK_EQ(receive_buffers.want, 1);
    close_both();
}

// Datagrams that do not fit a slot, among others that do, arrive whole; so do those that fit just so.
static void test_slots(void) {
    open_both(false, true, false, true);
    check_case("slots");
    add_run(0, 0, 20, 100, 100);
    send_all();
    receive(20);
    CHECK(receive_buffers.received > 0);
    uint16_t slot = (uint16_t)receive_buffers.slot;
    const uint16_t sizes[] = {100, slot - 1, 100, slot, slot + 1, 9000, 4, 60000, 100};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        add_run(0, 0, 1, sizes[i], sizes[i]);
    send_all();
    REQUIRE(ky_receive_batch(&receive_buffers, to.receive_fd) > 0);
    CHECK(receive_buffers.in_slots);
    for (unsigned i = 0; i < receive_buffers.received; i++) {
        struct ky_datagram d;
        ky_receive_at(&receive_buffers, i, &d);
        take(&d);
    }
    check_arrived();
    close_both();
}

static void test_one_at_a_time(void) {
    open_both(false, true, true, false);
    check_case("no batches");
    for (unsigned i = 0; i < 10; i++)
        add_run(0, 0, 1, 100, 100);
    send_all();
    CHECK_EQ(ky_get(&counters.tx_syscalls), 10);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(ky_receive_batch(&receive_buffers, to.receive_fd), 1);
    }
    check_silence();
    close_both();
}

static void test_empty_datagram(void) {
    open_both(false, true, true, true);
    check_case("an empty datagram");
    const struct sockaddr *address = &ky_peers_at(peers, 0)->to.sa;
    CHECK_EQ(sendto(from.send_fd[0], "", 0, 0, address, ky_peers_at(peers, 0)->to_len), 0);
    if (CHECK_EQ(ky_receive_batch(&receive_buffers, to.receive_fd), 1)) {
        struct ky_datagram d;
        ky_receive_at(&receive_buffers, 0, &d);
        CHECK_EQ(d.len, 0);
        CHECK_EQ(d.gro, 0);
        CHECK_EQ(d.tos, 0);
    }
    close_both();
}

// TOS of one datagram must not stick to the next.
static void test_tos_is_per_datagram(void) {
    for (unsigned v6 = 0; v6 < 2; v6++) {
        open_both(v6, true, true, true);
        check_case("TOS, IPv%d", v6 ? 6 : 4);
        for (unsigned i = 0; i < 40; i++)
            add_run(0, (uint8_t)(i % 3), i % 2 + 1, 100, 100);
        send_all();
        check_arrived();
        close_both();
    }
}

// ---- opening ----

static void check_open_fails(const char *local, const char *step, int error) {
    struct ky_udp u;
    struct ky_fault fault = {0};
    struct ky_udp_config c = {
        .local = ip(local), .port = PORT, .ports = 4, .gso = true, .gro = true};
    int before = netns_count("/proc/self/fd");
    check_case("open on %s", local);
    CHECK_EQ(ky_udp_open(&u, &c, &fault), -error);
    CHECK_EQ(fault.err, -error);
    if (CHECK(fault.step != NULL))
        CHECK(strcmp(fault.step, step) == 0);
    CHECK_EQ(netns_count("/proc/self/fd"), before);
}

static void test_open(void) {
    int before = netns_count("/proc/self/fd");
    open_both(false, true, true, true);
    check_open_fails("127.0.0.1", "udp-bind", EADDRINUSE);
    check_open_fails("192.0.2.1", "udp-bind", EADDRNOTAVAIL);
    check_open_fails("2001:db8::1", "udp-bind", EADDRNOTAVAIL);
    close_both();
    check_case("all is closed");
    CHECK_EQ(netns_count("/proc/self/fd"), before);
    struct ky_udp a, b;
    struct ky_fault fault;
    struct ky_udp_config c = {.local = ip("127.0.0.1"), .port = PORT, .ports = 1, .reuse = true};
    check_case("two workers share the port");
    REQUIRE(CHECK_EQ(ky_udp_open(&a, &c, &fault), 0));
    if (CHECK_EQ(ky_udp_open(&b, &c, &fault), 0))
        ky_udp_close(&b);
    ky_udp_close(&a);
    CHECK_EQ(netns_count("/proc/self/fd"), before);
}

int main(void) {
    struct random r = {.state = 13};
    netns_enter();
    REQUIRE(netns_add_ip6("lo", "fd00::1", 128) == 0 && netns_add_ip6("lo", "fd00::2", 128) == 0);
    bytes = malloc(BUFFER);
    REQUIRE(bytes != NULL);
    test_open();
    test_ladder();
    test_ports();
    test_bank_is_deaf();
    test_one_port();
    test_fallback();
    test_larger_than_mtu();
    test_refusals();
    test_single_too_long();
    test_retries();
    test_partial();
    test_order_in_trouble(&r);
    test_given_up();
    test_stop();
    test_many_messages();
    test_batch_follows_size();
    test_slots();
    test_one_at_a_time();
    test_empty_datagram();
    test_tos_is_per_datagram();
    free(bytes);
    return check_report();
}
