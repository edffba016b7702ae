// Checks for the test programs. A failed one prints file, line and both values and the program goes
// on, so that one run shows all that is wrong; check_report() gives the exit status.
#ifndef KY_TEST_CHECK_H
#define KY_TEST_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHECK_SKIP = 77,     // ctest's SKIP_RETURN_CODE
    CHECK_SHOW_MAX = 25, // failures printed before giving up
};

static unsigned long check_count, check_failures;
static char check_case_text[192];

// Names the case that the following checks belong to; shown when one fails.
__attribute__((format(printf, 1, 2), unused)) static void check_case(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(check_case_text, sizeof check_case_text, format, args);
    va_end(args);
}

__attribute__((unused)) static int check_report(void) {
    if (check_failures > 0)
        fprintf(stderr, "%lu of %lu checks failed\n", check_failures, check_count);
    else
        printf("%lu checks\n", check_count);
    return check_failures > 0;
}

__attribute__((format(printf, 3, 4), unused)) static void check_fail(const char *file, int line,
                                                                     const char *format, ...) {
    va_list args;
    check_failures++;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "%s%s%s\n", check_case_text[0] ? " [" : "", check_case_text,
            check_case_text[0] ? "]" : "");
    if (check_failures >= CHECK_SHOW_MAX) {
        fprintf(stderr, "too many failures\n");
        exit(1);
    }
}

__attribute__((unused)) static bool check_equal(const char *file, int line, const char *what,
                                                long long got, long long want) {
    check_count++;
    if (got == want)
        return true;
    check_fail(file, line, "%s: %lld (0x%llx) instead of %lld (0x%llx)", what, got, got, want,
               want);
    return false;
}

__attribute__((unused)) static bool check_bytes(const char *file, int line, const char *what,
                                                const void *got, const void *want, size_t len) {
    const uint8_t *a = got, *b = want;
    check_count++;
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i]) {
            check_fail(file, line, "%s: byte %zu of %zu is 0x%02x instead of 0x%02x", what, i, len,
                       a[i], b[i]);
            return false;
        }
    return true;
}

#define CHECK(condition)                                                                           \
    (check_count++, (condition) ? true : (check_fail(__FILE__, __LINE__, "%s", #condition), false))
#define CHECK_EQ(got, want)                                                                        \
    check_equal(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define CHECK_MEM(got, want, len) check_bytes(__FILE__, __LINE__, #got, got, want, len)

// For what a test cannot go on without; not itself under test.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_fail(__FILE__, __LINE__, "cannot go on without %s", #condition);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif
