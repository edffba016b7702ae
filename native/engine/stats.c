#include "stats.h"

const char *const ky_drop_names[KY_DROP_COUNT] = {
#define KY_NAME(id, name, text) name,
    KY_DROP_LIST(KY_NAME)
#undef KY_NAME
};

const char *const ky_drop_texts[KY_DROP_COUNT] = {
#define KY_TEXT(id, name, text) text,
    KY_DROP_LIST(KY_TEXT)
#undef KY_TEXT
};

const char *const ky_counter_names[KY_COUNTER_COUNT] = {
#define KY_NAME(name, text) #name,
    KY_COUNTER_LIST(KY_NAME)
#undef KY_NAME
};

const char *const ky_counter_texts[KY_COUNTER_COUNT] = {
#define KY_TEXT(name, text) text,
    KY_COUNTER_LIST(KY_TEXT)
#undef KY_TEXT
};

_Static_assert(sizeof(struct ky_counters) == sizeof(uint64_t) * (KY_COUNTER_COUNT + KY_DROP_COUNT),
               "counters are one array of 64-bit numbers");
