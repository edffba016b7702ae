// The Internet checksum: every version against 16-bit words added one by one.
#include "../engine/checksum.h"

#include "../engine/bytes.h"
#include "check.h"
#include "oracle.h"
#include "random.h"

enum { LENGTHS = 301, OFFSETS = 32, LARGE = 65536 };

// In the byte order of memory, as ky_fold gives it; 0 and 0xffff are the same number, and a sum is 0
// only when everything added is.
static uint16_t in_memory(uint16_t sum) {
    uint8_t bytes[2] = {(uint8_t)(sum >> 8), (uint8_t)sum};
    return ky_load16(bytes);
}

static void check_all(const uint8_t *data, size_t len, uint64_t start) {
    static uint8_t copy[LARGE + 8];
    uint8_t start_bytes[2];
    ky_store16(start_bytes, (uint16_t)start);
    uint16_t want = in_memory(oracle_sum(data, len, (uint16_t)oracle_get16(start_bytes)));
    CHECK_EQ(ky_fold(ky_sum(data, len, start)), want);
    CHECK_EQ(ky_fold(ky_sum_long(data, len, start)), want);
    CHECK_EQ(ky_fold(ky_sum_scalar(data, len, start)), want);
    memset(copy, 0xa5, len + 8);
    CHECK_EQ(ky_fold(ky_sum_copy(copy, data, len, start)), want);
    CHECK_MEM(copy, data, len);
    CHECK_EQ(copy[len], 0xa5);
    memset(copy, 0xa5, len + 8);
    CHECK_EQ(ky_fold(ky_sum_copy_scalar(copy, data, len, start)), want);
    CHECK_MEM(copy, data, len);
    CHECK_EQ(copy[len], 0xa5);
}

static void test_lengths_and_offsets(struct random *r) {
    static uint8_t data[LENGTHS + OFFSETS];
    for (size_t len = 0; len < LENGTHS; len++)
        for (size_t offset = 0; offset < OFFSETS; offset++) {
            check_case("len %zu offset %zu", len, offset);
            random_fill(r, data, sizeof data);
            check_all(data + offset, len, 0);
        }
}

static void test_ends_of_buffers(struct random *r) {
    for (size_t len = 0; len < LENGTHS; len++) { // a read beyond the end is the sanitizer's to see
        uint8_t *data = malloc(len + 1);
        REQUIRE(data != NULL);
        check_case("len %zu", len);
        random_fill(r, data + 1, len);
        check_all(data + 1, len, 0);
        free(data);
    }
}

static void test_large(struct random *r) {
    static uint8_t data[LARGE];
    for (int i = 0; i < 20; i++) {
        size_t len = i == 0 ? LARGE : random_range(r, LARGE / 2, LARGE);
        check_case("large %zu", len);
        random_fill(r, data, len);
        check_all(data, len, random_below(r, 65536));
    }
    memset(data, 0xff, sizeof data);
    check_case("64 KB of 0xff");
    check_all(data, LARGE, 0xffff);
    memset(data, 0, sizeof data);
    check_case("64 KB of 0");
    check_all(data, LARGE, 0);
    CHECK_EQ(ky_fold(ky_sum(data, LARGE, 0)), 0);
}

// Sums of pieces are the sum of the whole, as long as only the last piece is odd.
static void test_pieces(struct random *r) {
    uint8_t data[600];
    for (int i = 0; i < 2000; i++) {
        size_t len = random_below(r, sizeof data),
               first = random_below(r, (uint32_t)len / 2 + 1) * 2;
        check_case("%zu of %zu", first, len);
        random_fill(r, data, len);
        CHECK_EQ(ky_fold(ky_sum(data + first, len - first, ky_sum(data, first, 0))),
                 ky_fold(ky_sum(data, len, 0)));
    }
}

static void test_fold(struct random *r) {
    static const uint64_t edges[] = {0,
                                     1,
                                     0xffff,
                                     0x10000,
                                     0xffffffff,
                                     0xffff0000,
                                     0x1fffeffff,
                                     0x100000000,
                                     ~0ULL,
                                     ~0ULL - 1,
                                     1ULL << 63,
                                     0xfffffffe00000001,
                                     0xffffffff00000000};
    for (size_t i = 0; i < sizeof edges / sizeof *edges + 10000; i++) {
        uint64_t sum = i < sizeof edges / sizeof *edges ? edges[i] : random_next(r);
        check_case("fold 0x%llx", (unsigned long long)sum);
        uint16_t folded = ky_fold(sum);
        CHECK_EQ(folded % 0xffff, sum % 0xffff); // folding is arithmetic modulo 2^16 - 1 ...
        CHECK_EQ(folded == 0, sum == 0);         // ... in which 0xffff stands for 0
    }
}

// RFC 1071 3: 00 01 f2 03 f4 f5 f6 f7 sums to 2ddf0, folded ddf2.
static void test_rfc1071(void) {
    static const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t out[2];
    check_case("RFC 1071 3");
    ky_store16(out, ky_fold(ky_sum(data, sizeof data, 0)));
    CHECK_EQ(oracle_get16(out), 0xddf2);
    check_all(data, sizeof data, 0);
}

// RFC 1624 4: HC = dd2f, m = 5555, m' = 3285 gives 0000 and not ffff.
static void test_rfc1624(void) {
    uint8_t hc[2], m[2], m2[2], out[2];
    check_case("RFC 1624 4");
    oracle_put16(hc, 0xdd2f);
    oracle_put16(m, 0x5555);
    oracle_put16(m2, 0x3285);
    ky_store16(out, ky_checksum_replace(ky_load16(hc), ky_load16(m), ky_load16(m2)));
    CHECK_EQ(oracle_get16(out), 0x0000);
}

static void test_replace(struct random *r) {
    for (int i = 0; i < 20000; i++) {
        uint8_t header[20];
        random_fill(r, header, sizeof header);
        ky_store16(header + 10, 0);
        ky_store16(header + 10, (uint16_t)~ky_fold(ky_sum(header, 20, 0)));
        uint16_t before = ky_load16(header);
        header[random_below(r, 2)] = (uint8_t)random_next(r);
        ky_store16(header + 10,
                   ky_checksum_replace(ky_load16(header + 10), before, ky_load16(header)));
        check_case("replace %d", i);
        CHECK_EQ(oracle_sum(header, 20, 0), 0xffff);
    }
}

int main(void) {
    struct random r = {.state = 1};
    printf("ky_sum_long runs: %s\n", ky_sum_variant());
    test_rfc1071();
    test_rfc1624();
    test_fold(&r);
    test_lengths_and_offsets(&r);
    test_ends_of_buffers(&r);
    test_large(&r);
    test_pieces(&r);
    test_replace(&r);
    return check_report();
}
