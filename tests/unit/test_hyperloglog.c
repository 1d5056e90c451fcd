#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "mr/hyperloglog.h"

/* splitmix64 (Sebastiano Vigna): a different, well mixed number for every
 * number that goes in, standing for the hash of user i. */
static uint64_t hash_of(uint64_t i)
{
    i = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    i = (i ^ i >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    i = (i ^ i >> 27) * UINT64_C(0x94D049BB133111EB);
    return i ^ i >> 31;
}

static void add_range(struct mr_hll *h, uint64_t first, uint64_t n)
{
    uint64_t i;

    for (i = first; i < first + n; i++)
        assert_int_equal(mr_hll_add(h, hash_of(i)), MR_OK);
}

static struct mr_buffer encoded(const struct mr_hll *h)
{
    struct mr_buffer b = {0};

    assert_int_equal(mr_hll_encode(h, &b), MR_OK);
    return b;
}

static void assert_same(const struct mr_hll *a, const struct mr_hll *b)
{
    struct mr_buffer x = encoded(a), y = encoded(b);

    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.p, y.p, x.n);
    mr_buffer_release(&x);
    mr_buffer_release(&y);
}

/* The example of the header's opening comment, worked out by hand. */
static void test_example(void **state)
{
    static const uint8_t want[] = {0, 3, 1, 1, 3, 3, 9, 1};
    struct mr_hll h;
    struct mr_buffer b;
    double estimate;

    (void)state;
    mr_hll_init(&h, 4);
    assert_true(mr_hll_estimate(&h) == 0);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x1C) << 56), MR_OK);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x1A) << 56), MR_OK);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x52) << 56), MR_OK);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0xF8) << 56), MR_OK);
    estimate = mr_hll_estimate(&h);
    assert_true(estimate > 3.3125 && estimate < 3.3135);
    /* Three registers of 16 are more than an eighth: dense. */
    b = encoded(&h);
    assert_int_equal(b.n, 17);
    assert_int_equal(b.p[0], 1);
    assert_int_equal(b.p[1 + 1], 1);
    assert_int_equal(b.p[1 + 5], 3);
    assert_int_equal(b.p[1 + 15], 1);
    mr_buffer_release(&b);
    mr_hll_release(&h);
    /* The same registers of 32 are fewer: sparse. */
    mr_hll_init(&h, 5);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x0C) << 56), MR_OK);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x29) << 56), MR_OK);
    assert_int_equal(mr_hll_add(&h, UINT64_C(0x7C) << 56), MR_OK);
    b = encoded(&h);
    assert_int_equal(b.n, sizeof(want));
    assert_memory_equal(b.p, want, sizeof(want));
    mr_buffer_release(&b);
    mr_hll_release(&h);
}

/* Every rank from 1 to the cap, in every precision. */
static void test_ranks(void **state)
{
    unsigned p, rank;

    (void)state;
    for (p = MR_HLL_BITS_MIN; p <= MR_HLL_BITS_MAX; p++) {
        for (rank = 1; rank <= 64 - p + 1; rank++) {
            uint64_t hash = rank > 64 - p ? 0 : UINT64_C(1) << (64 - p - rank);
            struct mr_buffer b;
            struct mr_hll h;

            hash |= UINT64_C(1) << 63; /* the register in the middle */
            mr_hll_init(&h, p);
            assert_int_equal(mr_hll_add(&h, hash), MR_OK);
            b = encoded(&h);
            assert_int_equal(b.p[0], 0);
            assert_int_equal(b.p[1], 1);
            assert_int_equal(b.p[b.n - 1], rank);
            mr_buffer_release(&b);
            mr_hll_release(&h);
        }
    }
}

/* The figure stays within three standard errors at every decade.  The users
 * are fixed, so this either always holds or never does. */
static void test_error_by_decade(void **state)
{
    static const unsigned bits[] = {12, 14, 16};
    uint64_t seed, n, i;
    struct mr_hll h[3];
    size_t k;

    (void)state;
    for (seed = 0; seed < 4; seed++) {
        for (k = 0; k < 3; k++)
            mr_hll_init(&h[k], bits[k]);
        for (n = 10, i = 0; n <= 10000000; n *= 10) {
            for (; i < n; i++) {
                for (k = 0; k < 3; k++)
                    assert_true(
                        mr_hll_add(&h[k], hash_of(seed << 40 | i)) == MR_OK);
            }
            for (k = 0; k < 3; k++) {
                double estimate = mr_hll_estimate(&h[k]);
                double share = estimate / (double)n - 1;

                if (fabs(share) > 3 * mr_hll_standard_error(bits[k]))
                    fail_msg("p %u, %llu users: estimate %.1f", bits[k],
                        (unsigned long long)n, estimate);
            }
        }
        for (k = 0; k < 3; k++)
            mr_hll_release(&h[k]);
    }
}

/* The mean error over many sketches is far below one sketch's error: there
 * is no bias, not even where older estimators switched formulas. */
static void test_no_bias(void **state)
{
    static const uint64_t users[] = {500, 1500, 2600, 5000, 12000, 40000};
    size_t k;

    (void)state;
    for (k = 0; k < sizeof(users) / sizeof(users[0]); k++) {
        double sum = 0, squares = 0, error = mr_hll_standard_error(10);
        unsigned seed;

        for (seed = 0; seed < 100; seed++) {
            struct mr_hll h;
            double share;

            mr_hll_init(&h, 10);
            add_range(&h, (uint64_t)(seed + 100) << 32, users[k]);
            share = mr_hll_estimate(&h) / (double)users[k] - 1;
            sum += share;
            squares += share * share;
            mr_hll_release(&h);
        }
        /* Four standard errors of a mean of 100. */
        assert_true(fabs(sum / 100) < 4 * error / 10);
        assert_true(sqrt(squares / 100) < 1.3 * error);
    }
}

/* A sketch that was made dense at once and one that grew are the same. */
static void test_sparse_equals_dense(void **state)
{
    static const unsigned bits[] = {4, 5, 9, 14, 18};
    size_t k;
    uint64_t n;

    (void)state;
    for (k = 0; k < sizeof(bits) / sizeof(bits[0]); k++) {
        for (n = 0; n < 20000; n = n * 3 / 2 + 1) {
            struct mr_hll grown, dense;

            mr_hll_init(&grown, bits[k]);
            mr_hll_init(&dense, bits[k]);
            assert_int_equal(mr_hll_densify(&dense), MR_OK);
            add_range(&grown, 7, n);
            add_range(&grown, 7, n);
            add_range(&dense, 7, n);
            assert_same(&grown, &dense);
            assert_true(mr_hll_estimate(&grown) == mr_hll_estimate(&dense));
            mr_hll_release(&grown);
            mr_hll_release(&dense);
        }
    }
}

/* Few users take little memory: the table of the opening comment. */
static void test_size_held(void **state)
{
    static const struct {
        uint64_t users, table;
    } want[] = {{3, 4}, {100, 256}, {1000, 2048}};
    size_t k;
    struct mr_hll h;

    (void)state;
    for (k = 0; k < sizeof(want) / sizeof(want[0]); k++) {
        mr_hll_init(&h, 14);
        add_range(&h, 0, want[k].users);
        assert_null(h.dense);
        assert_true(UINT64_C(1) << h.log_cap <= want[k].table);
        mr_hll_release(&h);
    }
    mr_hll_init(&h, 14);
    add_range(&h, 0, 10000);
    assert_non_null(h.dense);
    assert_null(h.sparse);
    mr_hll_release(&h);
}

/* Any order, grouping and repetition of merging gives the same bytes as
 * adding everything to one sketch. */
static void test_merge_laws(void **state)
{
    static const uint64_t size[][3] = {{0, 0, 5}, {3, 700, 4}, {900, 900, 900},
        {2100, 10, 0}, {30, 5000, 5000}, {20000, 3, 40000}};
    size_t k, i;

    (void)state;
    for (k = 0; k < sizeof(size) / sizeof(size[0]); k++) {
        struct mr_hll part[3], left, right, whole;

        mr_hll_init(&left, 14);
        mr_hll_init(&right, 14);
        mr_hll_init(&whole, 14);
        for (i = 0; i < 3; i++) { /* neighbours share some users */
            mr_hll_init(&part[i], 14);
            add_range(&part[i], 400 * i, size[k][i]);
            add_range(&whole, 400 * i, size[k][i]);
        }
        assert_int_equal(mr_hll_merge(&left, &part[0]), MR_OK);
        assert_int_equal(mr_hll_merge(&left, &part[1]), MR_OK);
        assert_int_equal(mr_hll_merge(&left, &part[2]), MR_OK);
        assert_int_equal(mr_hll_merge(&right, &part[2]), MR_OK);
        assert_int_equal(mr_hll_merge(&right, &part[1]), MR_OK);
        assert_int_equal(mr_hll_merge(&part[0], &right), MR_OK);
        assert_same(&left, &whole);
        assert_same(&part[0], &whole);
        assert_int_equal(mr_hll_merge(&left, &part[0]), MR_OK);
        assert_int_equal(mr_hll_merge(&left, &left), MR_OK);
        assert_int_equal(mr_hll_merge(&left, &part[1]), MR_OK);
        assert_same(&left, &whole);
        for (i = 0; i < 3; i++)
            mr_hll_release(&part[i]);
        mr_hll_release(&left);
        mr_hll_release(&right);
        mr_hll_release(&whole);
    }
}

static void test_merge_unlike(void **state)
{
    struct mr_hll a, b;

    (void)state;
    mr_hll_init(&a, 14);
    mr_hll_init(&b, 13);
    add_range(&b, 0, 10);
    assert_int_equal(mr_hll_merge(&a, &b), MR_MISMATCH);
    assert_true(mr_hll_estimate(&a) == 0);
    mr_hll_release(&b);
}

static void test_round_trip(void **state)
{
    unsigned p;
    uint64_t n;

    (void)state;
    for (p = MR_HLL_BITS_MIN; p <= MR_HLL_BITS_MAX; p++) {
        for (n = 0; n < 100000; n = n * 4 + 1) {
            struct mr_hll h, again;
            struct mr_buffer b;
            struct mr_reader r;
            size_t cut;

            mr_hll_init(&h, p);
            add_range(&h, n, n);
            b = encoded(&h);
            r = (struct mr_reader){b.p, b.n, false};
            assert_int_equal(mr_hll_decode(&again, &r, p), MR_OK);
            assert_int_equal(r.n, 0);
            assert_same(&h, &again);
            mr_hll_release(&again);
            for (cut = 0; cut < b.n; cut += 1 + b.n / 50) {
                r = (struct mr_reader){b.p, cut, false};
                assert_int_equal(mr_hll_decode(&again, &r, p), MR_FORMAT);
                assert_null(again.dense);
                assert_null(again.sparse);
            }
            mr_hll_release(&h);
            mr_buffer_release(&b);
        }
    }
}

static enum mr_status decode_bytes(const char *bytes, size_t n, unsigned p)
{
    struct mr_reader r = {(const uint8_t *)bytes, n, false};
    struct mr_hll h;
    enum mr_status status = mr_hll_decode(&h, &r, p);

    mr_hll_release(&h);
    return status;
}

#define DECODE(text, p) decode_bytes(text, sizeof(text) - 1, p)

static void test_hostile(void **state)
{
    char dense[17] = {1, 1, 1, 61};

    (void)state;
    assert_int_equal(DECODE("", 6), MR_FORMAT);
    assert_int_equal(DECODE("\0\0", 6), MR_OK);
    assert_int_equal(DECODE("\0\1\77\1", 6), MR_OK);
    assert_int_equal(DECODE("\2\1\77\1", 6), MR_FORMAT);  /* no such form */
    assert_int_equal(DECODE("\0\1\100\1", 6), MR_FORMAT); /* register 64 */
    assert_int_equal(DECODE("\0\2\77\1\0\1", 6), MR_FORMAT);
    assert_int_equal(DECODE("\0\2\76\1\0\1", 6), MR_OK);
    assert_int_equal(DECODE("\0\1\1\0", 6), MR_FORMAT); /* rank 0 */
    assert_int_equal(DECODE("\0\1\1\073", 6), MR_OK);   /* rank 59 */
    assert_int_equal(DECODE("\0\1\1\074", 6), MR_FORMAT);
    assert_int_equal(DECODE("\0\1\x81\0\1", 6), MR_FORMAT); /* long varint */
    /* A gap that would wrap around 64 bits. */
    assert_int_equal(
        DECODE("\0\2\1\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1", 6),
        MR_FORMAT);
    /* More entries than bytes; more than an eighth of the registers. */
    assert_int_equal(DECODE("\0\x80\x10\1\1", 18), MR_FORMAT);
    assert_int_equal(DECODE("\0\2\0\1\0\1", 4), MR_OK);
    assert_int_equal(DECODE("\0\3\0\1\0\1\0\1", 4), MR_FORMAT);
    /* Dense with three registers of 16; a rank too high; too few. */
    assert_int_equal(decode_bytes(dense, 17, 4), MR_OK);
    assert_int_equal(decode_bytes(dense, 16, 4), MR_FORMAT);
    dense[3] = 62;
    assert_int_equal(decode_bytes(dense, 17, 4), MR_FORMAT);
    dense[3] = 0;
    assert_int_equal(decode_bytes(dense, 17, 4), MR_FORMAT);
}

/* Every byte at every register, between those of any other rank. */
static void test_hostile_ranks(void **state)
{
    static const struct {
        unsigned p, most;
    } precision[] = {{4, 61}, {5, 60}, {14, 51}};
    static char bytes[1 + (1 << 14)];

    (void)state;
    for (size_t k = 0; k < sizeof precision / sizeof *precision; k++) {
        unsigned p = precision[k].p, most = precision[k].most;
        size_t m = (size_t)1 << p;

        bytes[0] = MR_HLL_DENSE;
        for (size_t i = 0; i < m; i++)
            bytes[1 + i] = (char)(i % 3 == 0 ? most : i % 3);
        for (unsigned rank = 0; rank < 256; rank++)
            for (size_t i = 0; i < 17; i++) {
                size_t at = 1 + (i < 16 ? i : m - 1);
                char before = bytes[at];

                bytes[at] = (char)rank;
                assert_int_equal(decode_bytes(bytes, 1 + m, p),
                    rank <= most ? MR_OK : MR_FORMAT);
                bytes[at] = before;
            }
        /* Just more than an eighth of the registers, and just an eighth. */
        memset(bytes + 1, 0, m);
        memset(bytes + 1 + m / 2, (int)most, m / 8 + 1);
        assert_int_equal(decode_bytes(bytes, 1 + m, p), MR_OK);
        bytes[1 + m / 2] = 0;
        assert_int_equal(decode_bytes(bytes, 1 + m, p), MR_FORMAT);
    }
}

/* The corrections at both ends, against their series summed up with 50
 * decimal digits. */
static void test_corrections(void **state)
{
    (void)state;
    assert_true(mr_hll_sigma(0) == 0);
    assert_true(fabs(mr_hll_sigma(0.5) - 0.890747074037790300) < 1e-14);
    assert_true(mr_hll_tau(0) == 0);
    assert_true(mr_hll_tau(1) == 0);
    assert_true(fabs(mr_hll_tau(0.5) - 0.149929495864088093) < 1e-14);
}

/* A sketch with every register at the highest rank is legal, and infinite
 * by the formula. */
static void test_full(void **state)
{
    char dense[17];
    struct mr_reader r = {(const uint8_t *)dense, 17, false};
    struct mr_hll h;

    (void)state;
    memset(dense, 61, sizeof(dense));
    dense[0] = 1;
    assert_int_equal(mr_hll_decode(&h, &r, 4), MR_OK);
    assert_true(mr_hll_estimate(&h) == 0x1p64);
    h.dense[3] = 60;
    assert_true(mr_hll_estimate(&h) <= 0x1p64);
    assert_true(mr_hll_estimate(&h) > 0x1p60);
    mr_hll_release(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_error_by_decade),
        cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_sparse_equals_dense),
        cmocka_unit_test(test_size_held),
        cmocka_unit_test(test_merge_laws),
        cmocka_unit_test(test_merge_unlike),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_ranks),
        cmocka_unit_test(test_corrections),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests_name("hyperloglog", tests, NULL, NULL);
}
