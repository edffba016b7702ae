// When a thread that found nothing more sleeps for a moment instead of until something comes.
#include "../engine/moderation.h"

#include "check.h"

enum { MS = 1000 * 1000 };

static struct ky_moderation m;
static uint64_t now, packets;

// One millisecond of so many looks, which found so many packets altogether.
static bool millisecond(unsigned looks, uint64_t found) {
    bool on = false;
    for (unsigned i = 0; i < looks; i++) {
        now += MS / looks;
        packets += found / looks;
        on = ky_moderation_review(&m, now, packets);
    }
    return on;
}

static void begin(const char *name) {
    check_case("%s", name);
    m = (struct ky_moderation){.since = now, .packets = packets};
}

int main(void) {
    now = (uint64_t)1000 * MS;
    begin("a first look long after the start");
    m = (struct ky_moderation){0};
    CHECK(!ky_moderation_review(&m, now, 1));
    begin("a lone packet now and then");
    for (unsigned i = 0; i < 20; i++)
        CHECK(!millisecond(10, 10));
    begin("just below the rate");
    CHECK(!millisecond(20, 60));
    begin("many small batches");
    CHECK(millisecond(50, 150));
    check_case("... which are larger when it sleeps");
    CHECK(millisecond(5, 150));
    CHECK(millisecond(1, 200));
    check_case("... until they become fewer");
    CHECK(!millisecond(10, 30));
    begin("large batches need no sleep");
    CHECK(!millisecond(8, 200));
    CHECK(!millisecond(5, 10000));
    begin("a pause is no rate");
    CHECK(millisecond(50, 150));
    now += (uint64_t)5000 * MS;
    CHECK(!ky_moderation_review(&m, now, packets + 1000));
    return check_report();
}
