#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mr/place.h"
#include "mr/calendar.h"

/* 2024-01-02 is day 19724. */
static void test_names(void **state)
{
    static const struct {
        const char *name;
        int32_t day; /* -1: none */
        int hour;    /* -1: none */
        const char *type;
    } table[] = {
        {"file", -1, -1, NULL},
        {"date=2024-01-02/file", 19724, -1, NULL},
        {"day=20240102/hr=5/file", 19724, 5, NULL},
        {"dt=2024-01-02/hour=23/type=a%2fb/f", 19724, 23, "a/b"},
        {"event_type=x/hour=24/f", -1, -1, "x"},
        {"hour=/f", -1, -1, NULL},
        {"hour=007/f", -1, -1, NULL},
        {"hour=1x/f", -1, -1, NULL},
        {"hour=3/hour=99/f", -1, 3, NULL},
        {"date=2024-01-02/date=2024-02-30/f", 19724, -1, NULL},
        {"date=2024-01-01/date=2024-01-02/f", 19724, -1, NULL},
        {"type=a/type=/f", -1, -1, "a"},
        {"type=a/type=b/f", -1, -1, "b"},
        {"type=%zz/f", -1, -1, "%zz"},
        {"hour=05", -1, -1, NULL}, /* the file's own name */
        {"", -1, -1, NULL},
    };
    struct mr_buffer scratch = {0};
    struct mr_place place;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(mr_place_of(table[i].name, &scratch, &place), MR_OK);
        assert_int_equal(place.has_day, table[i].day >= 0);
        if (place.has_day)
            assert_int_equal(place.day, table[i].day);
        assert_int_equal(place.has_hour, table[i].hour >= 0);
        if (place.has_hour)
            assert_int_equal(place.hour, table[i].hour);
        assert_int_equal(place.type.p != NULL, table[i].type != NULL);
        if (place.type.p == NULL)
            continue;
        assert_int_equal(place.type.n, strlen(table[i].type));
        assert_memory_equal(place.type.p, table[i].type, place.type.n);
    }
    mr_buffer_release(&scratch);
}

/* A type that is too long is none, and one before it stands. */
static void test_long_type(void **state)
{
    struct mr_buffer scratch = {0};
    struct mr_place place;
    char name[5000] = "type=a/type=";
    size_t n = strlen(name);

    (void)state;
    memset(name + n, 'x', 1025);
    strcpy(name + n + 1025, "/f");
    assert_int_equal(mr_place_of(name, &scratch, &place), MR_OK);
    assert_int_equal(place.type.n, 1);
    assert_memory_equal(place.type.p, "a", 1);
    strcpy(name + n + 1024, "/f");
    assert_int_equal(mr_place_of(name, &scratch, &place), MR_OK);
    assert_int_equal(place.type.n, 1024);
    /* It is the decoded one that counts. */
    for (size_t i = 0; i < 1024; i++)
        memcpy(name + n + 3 * i, "%41", 3);
    strcpy(name + n + 3 * 1024, "/f");
    assert_int_equal(mr_place_of(name, &scratch, &place), MR_OK);
    assert_int_equal(place.type.n, 1024);
    assert_int_equal(place.type.p[1023], 'A');
    mr_buffer_release(&scratch);
}

/* Any day that a name can tell can be written. */
static void test_days_of_any_year(void **state)
{
    static const char *const days[] = {
        "0000-01-01", "0000-03-01", "0001-12-31", "1969-12-31", "9999-12-31"};
    struct mr_buffer scratch = {0};
    struct mr_place place;
    char name[64], text[MR_DAY_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        snprintf(name, sizeof name, "day=%s/f", days[i]);
        assert_int_equal(mr_place_of(name, &scratch, &place), MR_OK);
        assert_true(place.has_day);
        mr_day_format(place.day, text);
        assert_string_equal(text, days[i]);
    }
    mr_buffer_release(&scratch);
}

static void add(
    struct mr_places *p, const char *name, uint64_t bytes, bool read)
{
    assert_int_equal(mr_places_add(p, name, bytes, read), MR_OK);
}

static void assert_row(const struct mr_places *p, size_t i, const char *day,
    const char *type, uint64_t partitions, uint64_t bytes, uint64_t covered,
    uint64_t covered_bytes)
{
    const struct mr_place_row *row = &p->row[i];
    char text[MR_DAY_TEXT] = "-";

    if (row->has_day)
        mr_day_format(row->day, text);
    assert_string_equal(text, day);
    assert_int_equal(row->type.p != NULL, type != NULL);
    if (type != NULL) {
        assert_int_equal(row->type.n, strlen(type));
        assert_memory_equal(row->type.p, type, row->type.n);
    }
    assert_int_equal(row->partitions, partitions);
    assert_int_equal(row->bytes, bytes);
    assert_int_equal(row->covered, covered);
    assert_int_equal(row->covered_bytes, covered_bytes);
}

static void test_table(void **state)
{
    struct mr_places p = {.n = 0};

    (void)state;
    add(&p, "date=2024-01-02/type=b/1", 10, true);
    add(&p, "date=2024-01-02/type=b/2", 20, false);
    add(&p, "type=b/3", 1, true);
    add(&p, "4", 2, false);
    add(&p, "date=2024-01-02/5", 3, true);
    add(&p, "date=2024-01-01/type=z/6", 4, true);
    add(&p, "date=2024-01-02/type=a/7", 5, true);
    add(&p, "dt=20240102/event_type=b/8", 30, true);
    add(&p, "date=1970-01-01/9", 6, false); /* day 0 is a day */
    mr_places_sort(&p);
    assert_int_equal(p.n, 7);
    assert_row(&p, 0, "-", NULL, 1, 2, 0, 0);
    assert_row(&p, 1, "-", "b", 1, 1, 1, 1);
    assert_row(&p, 2, "1970-01-01", NULL, 1, 6, 0, 0);
    assert_row(&p, 3, "2024-01-01", "z", 1, 4, 1, 4);
    assert_row(&p, 4, "2024-01-02", NULL, 1, 3, 1, 3);
    assert_row(&p, 5, "2024-01-02", "a", 1, 5, 1, 5);
    assert_row(&p, 6, "2024-01-02", "b", 3, 60, 2, 40);
    mr_places_release(&p);
}

/* Enough rows for the table to grow several times. */
static void test_many_rows(void **state)
{
    struct mr_places p = {.n = 0};
    char name[64];

    (void)state;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "type=t%04d/f%d", i * 7 % 5000, round);
            add(&p, name, 1, round == 0);
        }
    mr_places_sort(&p);
    assert_int_equal(p.n, 5000);
    for (size_t i = 0; i < p.n; i++) {
        snprintf(name, sizeof name, "t%04d", (int)i);
        assert_row(&p, i, "-", name, 3, 3, 1, 1);
    }
    mr_places_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_type),
        cmocka_unit_test(test_days_of_any_year),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_many_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
