#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/forecast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- the choice ---- */

enum { MOST = 1000 };
static struct mr_input inputs[MOST];
static char one_name[] = "x";
static size_t chosen[MOST];

static struct mr_listing make_listing(size_t n, uint64_t size)
{
    for (size_t i = 0; i < n; i++)
        inputs[i] = (struct mr_input){one_name, one_name, size};
    return (struct mr_listing){.inputs = inputs, .n = n};
}

static uint64_t sum(size_t n)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || chosen[i - 1] < chosen[i]);
        bytes += inputs[chosen[i]].size;
    }
    return bytes;
}

static void test_choose_all(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 130; n++) {
        struct mr_listing listing = make_listing(n, 10);
        size_t got = 1;

        assert_int_equal(
            mr_forecast_choose(&listing, 10 * n, 1, chosen, &got), 10 * n);
        assert_int_equal(got, n);
        assert_int_equal(sum(got), 10 * n);
    }
}

/* As many as fit, and spread over all: none of ten stretches has much more
 * than its share. */
static void test_choose_spread(void **state)
{
    struct mr_listing listing = make_listing(MOST, 7);
    size_t n, in_tenth[10] = {0};

    (void)state;
    assert_int_equal(
        mr_forecast_choose(&listing, 7 * 100 + 6, 1, chosen, &n), 700);
    assert_int_equal(n, 100);
    assert_int_equal(sum(n), 700);
    for (size_t i = 0; i < n; i++)
        in_tenth[chosen[i] / 100]++;
    for (size_t i = 0; i < 10; i++)
        assert_in_range(in_tenth[i], 7, 13);
}

static void test_choose_least(void **state)
{
    struct mr_listing listing = make_listing(20, 1000);
    size_t n;

    (void)state;
    assert_int_equal(mr_forecast_choose(&listing, 1, 4, chosen, &n), 4000);
    assert_int_equal(n, 4);
    assert_int_equal(mr_forecast_choose(&listing, 0, 0, chosen, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(mr_forecast_choose(&listing, 1, 50, chosen, &n), 20000);
    assert_int_equal(n, 20);
}

/* What has no bytes might be a pipe; what is too large does not keep others
 * out. */
static void test_choose_sizes(void **state)
{
    struct mr_listing listing = make_listing(50, 0);
    size_t n;

    (void)state;
    assert_int_equal(mr_forecast_choose(&listing, 1000, 2, chosen, &n), 0);
    assert_int_equal(n, 0);
    for (size_t i = 0; i < 50; i += 2)
        inputs[i].size = i % 4 == 0 ? 1000000 : 3;
    assert_int_equal(mr_forecast_choose(&listing, 1000, 0, chosen, &n), 36);
    assert_int_equal(n, 12);
    assert_int_equal(sum(n), 36);
}

/* ---- estimates ---- */

#define GB UINT64_C(1000000000)

static void test_estimate(void **state)
{
    struct mr_forecast f = {.partitions = 1000,
        .bytes = 50 * GB,
        .threads = 2,
        .sample = {.inputs = 10,
            .bytes = GB,
            .seconds = 4,
            .events = 1000000,
            .users = 30000,
            .cells = 20,
            .state_bytes = 2000000}};

    (void)state;
    mr_forecast_estimate(&f);
    assert_true(f.is_known);
    assert_true(f.bytes_per_second == 250e6);
    assert_true(mr_forecast_seconds(&f, 50 * GB) == 200);
    assert_true(mr_forecast_seconds(&f, 0) == 0);
    assert_int_equal(f.users.least, 30000);
    assert_int_equal(f.users.most, 1500000);
    assert_int_equal(f.state_bytes.least, 2000000);
    assert_int_equal(f.state_bytes.most, 100000000);
    /* Threads, partitions, sketches; users, each of one day and type. */
    assert_int_equal(f.memory.least,
        2 * 4194304 + 1000 * 300 + 20 * 16384 + 30000 * 40 + 30000 * 4);
    /* 50 million events of 4 bytes are more than 20 bits for each user. */
    assert_int_equal(f.memory.most, 2 * 10485760 + 1000 * 300 + 20 * 16384 +
                                        67108864 + 1500000 * 56 +
                                        1500000 * 20 / 8);
}

/* The names may tell of more days and types than the sample has. */
static void test_cells_of_names(void **state)
{
    struct mr_forecast a = {.bytes = 100,
        .threads = 1,
        .sample = {.bytes = 10, .seconds = 1, .cells = 2}};
    struct mr_forecast b = a;
    char name[64];

    (void)state;
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "date=2024-01-%02d/type=a/x", 1 + i % 10);
        assert_int_equal(mr_places_add(&b.places, name, 1, false), MR_OK);
    }
    assert_int_equal(mr_places_add(&b.places, "type=a/x", 1, false), MR_OK);
    mr_forecast_estimate(&a);
    mr_forecast_estimate(&b);
    assert_int_equal(b.memory.least - a.memory.least, 8 * 16384);
    mr_forecast_release(&b);
}

static void test_whole_sample(void **state)
{
    struct mr_forecast f = {.partitions = 3,
        .bytes = 1000,
        .threads = 1,
        .sample = {.inputs = 3,
            .bytes = 1000,
            .seconds = 0.5,
            .events = 20,
            .users = 7,
            .cells = 1,
            .state_bytes = 900}};

    (void)state;
    mr_forecast_estimate(&f);
    assert_int_equal(f.users.least, 7);
    assert_int_equal(f.users.most, 7);
    assert_int_equal(f.state_bytes.most, 900);
    assert_true(f.memory.least < f.memory.most);
    assert_true(mr_forecast_seconds(&f, 1000) == 0.5);
}

static void test_unknown(void **state)
{
    struct mr_forecast none = {.partitions = 1, .threads = 1};
    struct mr_forecast cut = {.partitions = 1,
        .bytes = 9 * GB,
        .threads = 1,
        .sample = {.bytes = GB, .seconds = 2, .is_cut = true}};

    (void)state;
    mr_forecast_estimate(&none);
    assert_false(none.is_known);
    assert_true(mr_forecast_seconds(&none, 5) == 0);
    mr_forecast_estimate(&cut);
    assert_false(cut.is_known);
    assert_true(mr_forecast_seconds(&cut, cut.bytes) == 18);
}

/* ---- text ---- */

static void assert_text(
    enum mr_status (*make)(const struct mr_forecast *, struct mr_buffer *),
    const struct mr_forecast *f, const char *want)
{
    struct mr_buffer out = {0};

    assert_int_equal(make(f, &out), MR_OK);
    assert_int_equal(mr_buffer_add(&out, "", 1), MR_OK);
    assert_string_equal((char *)out.p, want);
    mr_buffer_release(&out);
}

static struct mr_forecast_part parts[] = {{2, 3000000000}, {1, 1000}};

static struct mr_forecast make_forecast(void)
{
    struct mr_forecast f = {.partitions = 3,
        .bytes = 3000001000,
        .threads = 4,
        .sample = {.inputs = 1,
            .bytes = 1000000,
            .seconds = 0.5,
            .text_bytes = 5000000,
            .events = 100,
            .rejected = 2,
            .users = 10,
            .days = 1,
            .types = 1,
            .cells = 1,
            .state_bytes = 1000},
        .part = parts,
        .n_parts = 2};

    assert_int_equal(
        mr_places_add(&f.places, "day=2024-01-01/type=a%01/1", 1000, false), 0);
    assert_int_equal(
        mr_places_add(&f.places, "day=2024-01-02/type=b/2", 3000000000, false),
        0);
    assert_int_equal(mr_places_add(&f.places, "day=2024-01-02/3", 0, false), 0);
    mr_places_sort(&f.places);
    f.is_known = true;
    f.bytes_per_second = 2e6;
    f.users = (struct mr_range64){10, 30000};
    f.memory = (struct mr_range64){1500, 2000000};
    f.state_bytes = (struct mr_range64){1000, 1000};
    return f;
}

static void test_table(void **state)
{
    struct mr_forecast f = make_forecast();

    (void)state;
    assert_text(mr_forecast_table, &f,
        "partitions  3, 3000001000 bytes stored (3.0 GB)\n"
        "days        2 by folder names\n"
        "types       2 by folder names; not told by all names\n"
        "sample      1 of 3 partitions, 1.0 MB stored, 5.0 MB of events: 100 "
        "events, 2 rejected lines, 10 users\n"
        "            mapped in 0.50 s with 4 threads: 2.0 MB stored a second\n"
        "time        about 25 min on this machine, if it reads all as fast as "
        "the sample\n"
        "users       from 10 to 30000\n"
        "memory      from 1.5 kB to 2.0 MB for one machine that maps all\n"
        "state       1.0 kB on disk\n"
        "            the least is for the sample's users alone, the most for "
        "as many\n"
        "            more as there are bytes more\n"
        "\n"
        "day         partitions             bytes  types\n"
        "2024-01-01           1              1000      1\n"
        "2024-01-02           2        3000000000      1\n"
        "\n"
        "partitions             bytes  type\n"
        "         1        3000000000  b\n"
        "         1              1000  a?\n"
        "         1                 0  -\n"
        "\n"
        "shard        partitions             bytes      time\n"
        "1/2                   2        3000000000    25 min\n"
        "2/2                   1              1000     0.0 s\n");
    f.part = NULL;
    mr_forecast_release(&f);
}

static void test_json(void **state)
{
    struct mr_forecast f = make_forecast();

    (void)state;
    f.n_parts = 1;
    f.is_known = false;
    f.sample.is_cut = true;
    assert_text(mr_forecast_json, &f,
        "{\n\"schema\": \"mr-plan\",\n\"schema_version\": 1,\n"
        "\"partitions\": 3,\n\"bytes\": 3000001000,\n"
        "\"days\": [\n"
        "  {\"day\": \"2024-01-01\", \"partitions\": 1, \"bytes\": 1000, "
        "\"types\": 1},\n"
        "  {\"day\": \"2024-01-02\", \"partitions\": 2, \"bytes\": 3000000000, "
        "\"types\": 1}\n],\n"
        "\"types\": [\n"
        "  {\"type\": null, \"partitions\": 1, \"bytes\": 0, \"days\": 1},\n"
        "  {\"type\": \"a\\u0001\", \"partitions\": 1, \"bytes\": 1000, "
        "\"days\": 1},\n"
        "  {\"type\": \"b\", \"partitions\": 1, \"bytes\": 3000000000, "
        "\"days\": 1}\n],\n"
        "\"sample\": {\"partitions\": 1, \"bytes\": 1000000, \"seconds\": "
        "0.500, \"threads\": 4, \"ended_early\": true},\n"
        "\"estimate\": {\"seconds\": 1500.001,\n"
        "  \"users\": null,\n  \"memory_bytes\": null,\n"
        "  \"state_bytes\": null},\n"
        "\"shards\": [\n"
        "  {\"shard\": \"1/1\", \"partitions\": 2, \"bytes\": 3000000000, "
        "\"seconds\": 1500.000}\n]\n}\n");
    f.part = NULL;
    mr_forecast_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose_all),
        cmocka_unit_test(test_choose_spread),
        cmocka_unit_test(test_choose_least),
        cmocka_unit_test(test_choose_sizes),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_cells_of_names),
        cmocka_unit_test(test_whole_sample),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
