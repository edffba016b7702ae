// The home CPU of a worker: where it is, when a thread goes there and leaves it, on the CPUs that this
// process may use.
#include "../engine/placement.h"

#include "check.h"

static cpu_set_t all;

static cpu_set_t now(void) {
    cpu_set_t set;
    REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
    return set;
}

static bool everywhere(void) {
    cpu_set_t set = now();
    return CPU_EQUAL(&set, &all) && sched_getscheduler(0) == SCHED_OTHER;
}

static bool only_on(int cpu) {
    cpu_set_t set = now();
    return CPU_COUNT(&set) == 1 && CPU_ISSET((unsigned)cpu, &set);
}

static bool at_home(int cpu) {
    return only_on(cpu) && sched_getscheduler(0) == SCHED_BATCH;
}

// The n-th CPU of ours from the end.
static int from_the_end(unsigned n) {
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET((unsigned)cpu, &all) && n-- == 0)
            return cpu;
    return -1;
}

static void test_shares(void) {
    struct ky_placement p = {.wanted = true};
    ky_placement_init(&p, 0);
    uint64_t whole = 0, count = 0;
    const struct {
        unsigned whole, of;
        bool home;
    } steps[] = {
        {0, 0, false},      {0, 1000, false},  {300, 1000, false}, {340, 1000, true},
        {250, 1000, true},  {210, 1000, true}, {190, 1000, false}, {250, 1000, false},
        {1000, 1000, true}, {0, 0, true},      {0, 1, false},
    };
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        check_case("step %u: %u of %u", i, steps[i].whole, steps[i].of);
        whole += steps[i].whole;
        count += steps[i].of;
        ky_placement_review(&p, whole, count);
        CHECK(steps[i].home ? at_home(from_the_end(0)) : everywhere());
    }
}

static void test_homes(void) {
    unsigned cpus = (unsigned)CPU_COUNT(&all);
    for (unsigned index = 0; index < 2 * cpus; index++) {
        check_case("worker %u", index);
        struct ky_placement p = {.wanted = true};
        ky_placement_init(&p, index);
        ky_placement_review(&p, 10, 10);
        CHECK(at_home(from_the_end(index % cpus)));
        ky_placement_review(&p, 10, 100);
        CHECK(everywhere());
    }
}

static void test_never_moved(void) {
    check_case("not wanted");
    struct ky_placement p = {0};
    ky_placement_init(&p, 0);
    ky_placement_review(&p, 10, 10);
    CHECK(everywhere());
    check_case("one CPU for us");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)from_the_end(1), &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    p = (struct ky_placement){.wanted = true};
    ky_placement_init(&p, 0);
    ky_placement_review(&p, 10, 10);
    CHECK(only_on(from_the_end(1)));
    REQUIRE(sched_setaffinity(0, sizeof all, &all) == 0);
}

int main(void) {
    all = now();
    if (CPU_COUNT(&all) < 2) {
        printf("skipped: one CPU only\n");
        return 77;
    }
    test_shares();
    test_homes();
    test_never_moved();
    return check_report();
}
