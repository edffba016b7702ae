#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static uint8_t *end; // of the readable part

static void take(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(NULL, FUZZ_SIZE_MAX + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(memory != MAP_FAILED);
    end = memory + FUZZ_SIZE_MAX;
    FUZZ_CHECK(mprotect(end, page, PROT_NONE) == 0);
}

uint8_t *fuzz_exact(const uint8_t *data, size_t size) {
    if (end == NULL)
        take();
    FUZZ_CHECK(size <= FUZZ_SIZE_MAX);
    return size == 0 ? end : memcpy(end - size, data, size);
}

void fuzz_touch(const void *data, size_t size) {
    const volatile uint8_t *p = data; // volatile: reading is the point
    for (size_t i = 0; i < size; i++)
        (void)p[i];
}
