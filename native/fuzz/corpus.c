// Under libFuzzer: puts the seeds into the corpus directory (the first argument that is no option),
// under names that runs of libFuzzer do not use.
#include "fuzz.h"

static const char *directory;
static unsigned written;

static void write_seed(const uint8_t *data, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/seed-%03u", directory, written++);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

__attribute__((visibility("default"))) int LLVMFuzzerInitialize(int *argc, char ***argv) {
    for (int i = 1; i < *argc && directory == NULL; i++)
        if ((*argv)[i][0] != '-')
            directory = (*argv)[i];
    if (directory != NULL)
        fuzz_seeds(write_seed);
    return 0;
}
