// What of all that the kernel can do an engine uses: what is switched off, what builds on that, and what does not serve
// its wire, its underlay, the devices beside it or its number of workers. Each with its reason.
#ifndef KY_CHOOSE_H
#define KY_CHOOSE_H

#include <net/if.h>

#include "engine.h"
#include "probe.h"

// Switches features of the probe off; `underlay` is set to the name of the device that holds config->local, where there
// is one.
void ky_choose(const struct ky_engine_config *config, struct ky_probe *probe,
               char underlay[IFNAMSIZ]);

// Why no flow can be offloaded, whatever the kernel can do; NULL when some may be.
const char *ky_choose_no_flows(const struct ky_engine_config *config);

// One feature, with the reason as a printf format.
void ky_switch_off(struct ky_probe *probe, enum ky_feature feature, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
