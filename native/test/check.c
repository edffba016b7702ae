#include "check.h"

#include <stdarg.h>

enum { SHOW_MAX = 25 }; // failures printed before giving up

static unsigned long checks, failures;
static char case_text[192];

void check_case(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(case_text, sizeof case_text, format, args);
    va_end(args);
}

int check_report(void) {
    if (failures > 0)
        fprintf(stderr, "%lu of %lu checks failed\n", failures, checks);
    else
        printf("%lu checks\n", checks);
    return failures > 0;
}

unsigned long check_failures(void) {
    return failures;
}

void check_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    failures++;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (case_text[0] != '\0')
        fprintf(stderr, " [%s]", case_text);
    fputc('\n', stderr);
    if (failures >= SHOW_MAX) {
        fprintf(stderr, "too many failures\n");
        exit(1);
    }
}

bool check_true(const char *file, int line, const char *what, bool holds) {
    checks++;
    if (!holds)
        check_fail(file, line, "%s", what);
    return holds;
}

bool check_equal(const char *file, int line, const char *what, long long got, long long want) {
    checks++;
    if (got == want)
        return true;
    check_fail(file, line, "%s: %lld (0x%llx) instead of %lld (0x%llx)", what, got, got, want,
               want);
    return false;
}

bool check_bytes(const char *file, int line, const char *what, const void *got, const void *want,
                 size_t len) {
    const uint8_t *a = got, *b = want;
    checks++;
    if (memcmp(a, b, len) == 0)
        return true;
    size_t i = 0;
    while (a[i] == b[i])
        i++;
    check_fail(file, line, "%s: byte %zu of %zu is 0x%02x instead of 0x%02x", what, i, len, a[i],
               b[i]);
    return false;
}
