// A hundred engines, one after the other, leave no descriptor, thread or device behind.
#include "check.h"
#include "hosts.h"

int main(void) {
    struct host hosts[2];
    hosts_make(hosts);
    struct footprint before = hosts_footprint(hosts);
    struct ky_engine_config c = hosts_config(&hosts[0]);
    for (unsigned i = 0; i < 100; i++) {
        struct ky_fault fault;
        check_case("cycle %u", i);
        c.workers = i % 10 == 9 ? 3 : 1;
        REQUIRE(CHECK_EQ(hosts_open(&hosts[0], &c, &fault), 0));
        hosts_close(&hosts[0]);
    }
    hosts_check_footprint(hosts, &before);
    return check_report();
}
