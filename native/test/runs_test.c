// How frames are gathered into runs: order, shape, sizes, and what bounds them.
#include "../engine/runs.h"

#include "check.h"
#include "oracle.h"
#include "random.h"

enum { FRAMES_MAX = 20000, FLOWS = 12 };

// What came out of the send callback, frame by frame. The first 8 bytes of every frame are its
// number and its flow.
static struct {
    struct {
        uint32_t number, flow, len;
    } frame[FRAMES_MAX];
    unsigned frames, sends, runs;
    uint16_t frames_max;
    bool verbatim; // frames are numbered
} out;

static void check_shape(const struct ky_run *run) {
    CHECK(run->count > 0);
    CHECK(run->count <= out.frames_max);
    CHECK(run->len <= KY_RUN_BYTES);
    CHECK_EQ((run->len + run->frame - 1u) / run->frame, run->count);
    if (run->count > 1)
        CHECK(run->len > (run->count - 1u) * run->frame);
}

static void take(void *ctx, const struct ky_run *runs, unsigned count) {
    (void)ctx;
    CHECK(count > 0 && count <= KY_RUNS);
    out.sends++;
    for (unsigned i = 0; i < count; i++) {
        const struct ky_run *run = &runs[i];
        out.runs++;
        check_shape(run);
        for (uint32_t at = 0; at < run->len && out.verbatim; at += run->frame) {
            REQUIRE(out.frames < FRAMES_MAX);
            uint32_t len = run->len - at < run->frame ? run->len - at : run->frame;
            out.frame[out.frames].number = oracle_get32(run->buf + at);
            out.frame[out.frames].flow = oracle_get32(run->buf + at + 4);
            out.frame[out.frames++].len = len;
            uint32_t fill = oracle_get32(run->buf + at + len - 4);
            CHECK_EQ(fill, 0xfeedf00d);
        }
    }
}

static void start(struct ky_runs *runs, uint16_t frames_max) {
    memset(&out, 0, sizeof out);
    out.frames_max = frames_max;
    out.verbatim = true;
    REQUIRE(ky_runs_init(runs, frames_max, take, NULL) == 0);
}

static void put(struct ky_runs *runs, const struct ky_peer *peer, uint8_t port, uint8_t tos,
                uint32_t len, uint32_t number, uint32_t flow) {
    uint8_t *frame = ky_runs_reserve(runs, peer, port, tos, len);
    memset(frame, 0, len);
    oracle_put32(frame + len - 4, 0xfeedf00d);
    oracle_put32(frame, number);
    oracle_put32(frame + 4, flow);
}

static struct ky_peer peers[FLOWS];

static void test_one_run(void) {
    struct ky_runs runs;
    start(&runs, 64);
    check_case("equal frames and a shorter last");
    for (uint32_t i = 0; i < 10; i++)
        put(&runs, &peers[0], 3, 1, i == 9 ? 500 : 1472, i, 0);
    CHECK_EQ(out.sends, 0);
    ky_runs_flush(&runs);
    CHECK_EQ(out.runs, 1);
    CHECK_EQ(out.frames, 10);
    ky_runs_flush(&runs);
    CHECK_EQ(out.sends, 1); // nothing is not sent
    ky_runs_free(&runs);
}

// Each of these makes a second frame begin a second run.
static void test_borders(void) {
    static const struct {
        const char *what;
        unsigned peer, port, tos;
        uint32_t first, second;
        unsigned runs;
    } cases[] = {{"the same", 0, 0, 0, 100, 100, 1},      {"shorter", 0, 0, 0, 100, 99, 1},
                 {"longer", 0, 0, 0, 100, 101, 2},        {"other peer", 1, 0, 0, 100, 100, 2},
                 {"other port", 0, 1, 0, 100, 100, 2},    {"other TOS", 0, 0, 2, 100, 100, 2},
                 {"too much", 0, 0, 0, 40000, 40000, 2},  {"largest", 0, 0, 0, 65507, 65507, 2},
                 {"just fits", 0, 0, 0, 32754, 32753, 1}, {"just not", 0, 0, 0, 32754, 32754, 2}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ky_runs runs;
        start(&runs, 64);
        check_case("%s", cases[i].what);
        put(&runs, &peers[0], 0, 0, cases[i].first, 0, 0);
        put(&runs, &peers[cases[i].peer], (uint8_t)cases[i].port, (uint8_t)cases[i].tos,
            cases[i].second, 1, 0);
        ky_runs_flush(&runs);
        CHECK_EQ(out.runs, cases[i].runs);
        CHECK_EQ(out.frames, 2);
        CHECK_EQ(out.frame[0].number, 0);
        CHECK_EQ(out.frame[1].number, 1);
        ky_runs_free(&runs);
    }
    struct ky_runs runs;
    start(&runs, 64);
    check_case("nothing follows a shorter one");
    put(&runs, &peers[0], 0, 0, 100, 0, 0);
    put(&runs, &peers[0], 0, 0, 60, 1, 0);
    put(&runs, &peers[0], 0, 0, 60, 2, 0);
    ky_runs_flush(&runs);
    CHECK_EQ(out.runs, 2);
    ky_runs_free(&runs);
}

static void test_frames_max(void) {
    static const uint16_t limits[] = {1, 2, 63, 64, 128};
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct ky_runs runs;
        start(&runs, limits[i]);
        check_case("at most %u frames", limits[i]);
        for (uint32_t k = 0; k < 512; k++)
            put(&runs, &peers[0], 0, 0, 100, k, 0);
        ky_runs_flush(&runs);
        CHECK_EQ(out.runs, (512 + limits[i] - 1) / limits[i]);
        CHECK_EQ(out.frames, 512);
        for (uint32_t k = 0; k < out.frames; k++)
            CHECK_EQ(out.frame[k].number, k);
        ky_runs_free(&runs);
    }
}

// A flow is a peer and a port; its packets may change their ECN bits at any time.
static void test_tos_keeps_order(void) {
    struct ky_runs runs;
    start(&runs, 64);
    check_case("a flow with changing TOS");
    static const uint8_t tos[] = {0, 2, 0, 2, 2, 0, 1, 0};
    for (uint32_t i = 0; i < sizeof tos; i++)
        put(&runs, &peers[0], 0, tos[i], 100, i, 0);
    ky_runs_flush(&runs);
    CHECK_EQ(out.frames, sizeof tos);
    for (uint32_t i = 0; i < out.frames; i++)
        CHECK_EQ(out.frame[i].number, i);
    ky_runs_free(&runs);
}

static void check_order(uint32_t sent) {
    uint32_t next[FLOWS] = {0};
    CHECK_EQ(out.frames, sent);
    for (unsigned i = 0; i < out.frames; i++) {
        REQUIRE(out.frame[i].flow < FLOWS);
        CHECK(out.frame[i].number >= next[out.frame[i].flow]);
        next[out.frame[i].flow] = out.frame[i].number + 1;
    }
}

static void test_random(struct random *r) {
    for (int round = 0; round < 300; round++) {
        struct ky_runs runs;
        start(&runs, (uint16_t)random_range(r, 1, 128));
        uint32_t total = random_below(r, 2000), waiting = 0;
        bool constant_tos = random_one_in(r, 2);
        check_case("random %d, %s TOS", round, constant_tos ? "constant" : "changing");
        for (uint32_t i = 0; i < total; i++) {
            uint32_t flow = random_below(r, FLOWS);
            uint32_t len = random_one_in(r, 3) ? random_range(r, 12, 1472) : 1472;
            uint8_t tos = constant_tos ? 0 : (uint8_t)random_below(r, 3);
            put(&runs, &peers[flow / 3], (uint8_t)(flow % 3), tos, len, i, flow);
            waiting = runs.bytes > waiting ? runs.bytes : waiting;
            if (random_one_in(r, 100))
                ky_runs_flush(&runs);
        }
        ky_runs_flush(&runs);
        check_order(total);
        CHECK(waiting <= KY_RUNS_BUDGET + KY_RUNS * KY_RUN_BYTES);
        ky_runs_free(&runs);
    }
}

static void test_budget(void) {
    struct ky_runs runs;
    start(&runs, 64);
    check_case("the budget of one flow");
    for (uint32_t i = 0; i < 2000; i++) {
        put(&runs, &peers[0], 0, 0, 1472, i, 0);
        CHECK(runs.bytes <= KY_RUNS_BUDGET + KY_RUN_BYTES);
    }
    CHECK(out.sends >= 2000u * 1472 / (KY_RUNS_BUDGET + KY_RUN_BYTES));
    ky_runs_flush(&runs);
    check_order(2000);
    ky_runs_free(&runs);
}

static void test_all_runs_in_use(void) {
    struct ky_runs runs;
    start(&runs, 64);
    check_case("one more kind than runs");
    for (unsigned i = 0; i < KY_RUNS; i++)
        put(&runs, &peers[0], (uint8_t)i, 0, 100, i, 0);
    CHECK_EQ(out.sends, 0);
    put(&runs, &peers[0], KY_RUNS, 0, 100, KY_RUNS, 0);
    CHECK_EQ(out.sends, 1);
    CHECK_EQ(out.runs, KY_RUNS);
    ky_runs_flush(&runs);
    CHECK_EQ(out.frames, KY_RUNS + 1);
    ky_runs_free(&runs);
}

int main(void) {
    struct random r = {.state = 5};
    test_one_run();
    test_borders();
    test_frames_max();
    test_tos_keeps_order();
    test_budget();
    test_all_runs_in_use();
    test_random(&r);
    return check_report();
}
