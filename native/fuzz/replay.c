// Drives a target without libFuzzer:
//
//   fuzz_<target> [inputs [seed]]    the seeds, and so many mutations of them
//   fuzz_<target> FILE...            these inputs, e.g. what libFuzzer found
#include "fuzz.h"

#include <ctype.h>

#include "../test/random.h"

enum { SEEDS_MAX = 256, INPUT_MAX = 1 << 16, DEFAULT_INPUTS = 300000 };

static struct {
    uint8_t *data;
    size_t size;
} seeds[SEEDS_MAX];
static unsigned seed_count;

static void keep(const uint8_t *data, size_t size) {
    FUZZ_CHECK(seed_count < SEEDS_MAX && size <= INPUT_MAX);
    seeds[seed_count].data = malloc(size + 1);
    FUZZ_CHECK(seeds[seed_count].data != NULL);
    memcpy(seeds[seed_count].data, data, size);
    seeds[seed_count++].size = size;
}

static size_t mutate_once(struct random *r, uint8_t *data, size_t size) {
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 0x45, 0x60, 4, 6, 17, 44, 5, 0x08};
    uint32_t at = size == 0 ? 0 : random_below(r, (uint32_t)size);
    switch (size == 0 ? 4 : random_below(r, 8)) {
    case 0:
        data[at] ^= (uint8_t)(1 << random_below(r, 8));
        return size;
    case 1:
        data[at] = (uint8_t)random_next(r);
        return size;
    case 2:
        data[at] = odd[random_below(r, sizeof odd)];
        return size;
    case 3: // cut out
        memmove(data + at, data + at + 1, size - at - 1);
        return size - 1;
    case 4: // put in
        if (size == INPUT_MAX)
            return size;
        memmove(data + at + 1, data + at, size - at);
        data[at] = (uint8_t)random_next(r);
        return size + 1;
    case 5: // shorten
        return at;
    case 6: { // copy within
        size_t len = random_below(r, (uint32_t)(size - at) + 1),
               from = random_below(r, (uint32_t)size);
        memmove(data + at, data + from, len < size - from ? len : size - from);
        return size;
    }
    default: { // put another seed behind
        unsigned i = random_below(r, seed_count);
        size_t len = seeds[i].size < INPUT_MAX - size ? seeds[i].size : INPUT_MAX - size;
        memcpy(data + size, seeds[i].data, len);
        return random_one_in(r, 4) ? size + len : size;
    }
    }
}

static void run_mutations(unsigned long inputs, uint64_t seed) {
    static uint8_t data[INPUT_MAX];
    struct random r = {.state = seed};
    for (unsigned long i = 0; i < inputs; i++) {
        unsigned which = random_below(&r, seed_count);
        size_t size = seeds[which].size;
        memcpy(data, seeds[which].data, size);
        for (uint32_t n = random_range(&r, 1, 6); n > 0; n--)
            size = mutate_once(&r, data, size);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%u seeds and %lu mutations, seed %llu\n", seed_count, inputs, (unsigned long long)seed);
}

static void run_file(const char *path) {
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    printf("%s: no finding\n", path);
}

int main(int argc, char **argv) {
    if (argc > 1 && !isdigit((unsigned char)argv[1][0])) {
        for (int i = 1; i < argc; i++)
            run_file(argv[i]);
        return 0;
    }
    fuzz_seeds(keep);
    for (unsigned i = 0; i < seed_count; i++)
        LLVMFuzzerTestOneInput(seeds[i].data, seeds[i].size);
    run_mutations(argc > 1 ? strtoul(argv[1], NULL, 0) : DEFAULT_INPUTS,
                  argc > 2 ? strtoull(argv[2], NULL, 0) : 1);
    for (unsigned i = 0; i < seed_count; i++)
        free(seeds[i].data);
    return 0;
}
