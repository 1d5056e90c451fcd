#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/covered.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mr/calendar.h"

/* ---- a coverage and a manifest, by hand ---- */

static struct mr_coverage coverage;

static void read_partition(
    const char *name, const char *second, uint64_t bytes, const char *content)
{
    char *both[] = {(char *)(uintptr_t)name, (char *)(uintptr_t)second};
    struct mr_partition from = {
        .digest = mr_digest_bytes(content, strlen(content)),
        .name = both,
        .n_names = second != NULL ? 2 : 1,
        .stored_bytes = bytes,
        .text_bytes = bytes,
        .lines = bytes > 0};
    struct mr_partition p;

    assert_int_equal(mr_partition_copy(&from, &p), MR_OK);
    assert_int_equal(mr_coverage_add(&coverage, &p), MR_OK);
}

static void fail_partition(const char *name, const char *cause)
{
    assert_int_equal(
        mr_coverage_add_failure(&coverage, name, MR_NOWHERE, cause), MR_OK);
}

static struct mr_manifest_entry entries[32];
static struct mr_manifest manifest;

static void list(const char *name, uint64_t bytes)
{
    entries[manifest.n++] = (struct mr_manifest_entry){name, bytes};
    manifest.entry = entries;
    manifest.bytes += bytes;
}

static int begin_anew(void **state)
{
    (void)state;
    memset(&coverage, 0, sizeof coverage);
    memset(&manifest, 0, sizeof manifest);
    return 0;
}

static struct mr_covered compare(void)
{
    struct mr_covered c;
    struct mr_error err;

    assert_int_equal(mr_coverage_settle(&coverage), MR_OK);
    assert_int_equal(mr_covered_compare(&coverage, &manifest, &c, &err), MR_OK);
    return c;
}

static void done(struct mr_covered *c)
{
    mr_covered_release(c);
    mr_coverage_release(&coverage);
}

static void assert_failure(
    const struct mr_covered *c, size_t i, const char *name, const char *cause)
{
    assert_true(i < c->n_failures);
    assert_string_equal(c->failure[i].name, name);
    assert_string_equal(c->failure[i].cause, cause);
    assert_true(c->failure[i].offset == MR_NOWHERE);
}

static void assert_total(const struct mr_covered *c, uint64_t partitions,
    uint64_t covered, uint64_t bytes, uint64_t covered_bytes)
{
    assert_int_equal(c->total.partitions, partitions);
    assert_int_equal(c->total.covered, covered);
    assert_int_equal(c->total.bytes, bytes);
    assert_int_equal(c->total.covered_bytes, covered_bytes);
}

static void test_whole(void **state)
{
    struct mr_covered c;

    (void)state;
    list("a", 1);
    list("b", 2);
    list("c", 0);
    read_partition("a", NULL, 1, "a");
    read_partition("b", NULL, 2, "b");
    read_partition("c", NULL, 0, ""); /* an empty file */
    c = compare();
    assert_int_equal(c.n_failures, 0);
    assert_int_equal(c.unlisted, 0);
    assert_false(c.has_archives);
    assert_total(&c, 3, 3, 3, 3);
    done(&c);
}

static void test_missing(void **state)
{
    struct mr_covered c;

    (void)state;
    list("date=2024-01-01/type=a/1", 10);
    list("date=2024-01-01/type=a/2", 20);
    list("date=2024-01-01/type=b/1", 40);
    list("z", 80);
    read_partition("date=2024-01-01/type=a/2", NULL, 20, "2");
    fail_partition("date=2024-01-01/type=b/1", "truncated");
    fail_partition("date=2024-01-01/type=a/1x", "not in the manifest");
    fail_partition("zz", "at the end");
    c = compare();
    assert_int_equal(c.n_failures, 5);
    assert_failure(&c, 0, "date=2024-01-01/type=a/1", MR_CAUSE_MISSING);
    assert_failure(&c, 1, "date=2024-01-01/type=a/1x", "not in the manifest");
    assert_failure(&c, 2, "date=2024-01-01/type=b/1", "truncated");
    assert_failure(&c, 3, "z", MR_CAUSE_MISSING);
    assert_failure(&c, 4, "zz", "at the end");
    assert_int_equal(c.missing, 2);
    assert_int_equal(c.changed, 0);
    assert_total(&c, 4, 1, 150, 20);
    assert_int_equal(c.places.n, 3);
    assert_false(c.places.row[0].has_day);
    assert_int_equal(c.places.row[0].covered, 0);
    assert_int_equal(c.places.row[1].partitions, 2);
    assert_int_equal(c.places.row[1].covered, 1);
    assert_int_equal(c.places.row[1].covered_bytes, 20);
    assert_int_equal(c.places.row[2].covered_bytes, 0);
    done(&c);
}

static void test_nothing_listed_or_read(void **state)
{
    struct mr_covered c;

    (void)state;
    read_partition("b", NULL, 1, "b");
    read_partition("a", NULL, 1, "a");
    fail_partition("f", "cause");
    c = compare();
    assert_int_equal(c.n_failures, 1);
    assert_failure(&c, 0, "f", "cause");
    assert_int_equal(c.unlisted, 2);
    assert_string_equal(c.first_unlisted, "a");
    assert_total(&c, 0, 0, 0, 0);
    done(&c);
    begin_anew(state);
    list("a", 5);
    c = compare();
    assert_failure(&c, 0, "a", MR_CAUSE_MISSING);
    assert_total(&c, 1, 0, 5, 0);
    done(&c);
}

static void test_changed(void **state)
{
    struct mr_covered c;

    (void)state;
    list("a", 5);
    list("b", 5);
    list("c", 5);
    list("d", 5);
    read_partition("a", NULL, 7, "a");
    /* Two contents of one name: one is as large as it must be. */
    read_partition("b", NULL, 7, "b1");
    read_partition("b", NULL, 5, "b2");
    /* None is: the smaller is told, whatever the digests' order. */
    read_partition("c", NULL, 9, "c1");
    read_partition("c", NULL, 8, "c2");
    read_partition("c", NULL, 9, "c3");
    read_partition("d", NULL, 0, ""); /* a file that is empty now */
    c = compare();
    assert_int_equal(c.changed, 3);
    assert_int_equal(c.missing, 0);
    assert_failure(
        &c, 0, "a", MR_CAUSE_CHANGED ": 7 bytes were read, it lists 5");
    assert_failure(
        &c, 1, "c", MR_CAUSE_CHANGED ": 8 bytes were read, it lists 5");
    assert_failure(
        &c, 2, "d", MR_CAUSE_CHANGED ": 0 bytes were read, it lists 5");
    assert_total(&c, 4, 1, 20, 5);
    assert_int_equal(c.unlisted, 0);
    done(&c);
}

/* Bytes that were read under two names cover both. */
static void test_two_names(void **state)
{
    struct mr_covered c;

    (void)state;
    list("b", 5);
    list("c", 5);
    read_partition("a", "b", 5, "x");
    read_partition("c", "d", 5, "y");
    c = compare();
    assert_int_equal(c.n_failures, 0);
    assert_total(&c, 2, 2, 10, 10);
    assert_int_equal(c.unlisted, 0);
    done(&c);
}

/* An archive is read by its name; its members are none of the manifest's. */
static void test_archives(void **state)
{
    struct mr_covered c;

    (void)state;
    list("a.tar", 10240);
    list("b.tar", 10240);
    read_partition("a.tar", NULL, 0, "digests of members");
    read_partition("a.tar/sub/member", NULL, 5, "m");
    read_partition("a.tart", NULL, 6, "n");
    read_partition("b.tar/member", NULL, 7, "o");
    fail_partition("b.tar", "truncated");
    c = compare();
    assert_true(c.has_archives);
    assert_int_equal(c.n_failures, 1);
    assert_failure(&c, 0, "b.tar", "truncated");
    assert_int_equal(c.unlisted, 1);
    assert_string_equal(c.first_unlisted, "a.tart");
    assert_total(&c, 2, 1, 20480, 10240);
    done(&c);
}

/* An archive may have nothing in it that could be read.  What is just empty
 * has changed. */
static void test_archives_of_nothing(void **state)
{
    struct mr_covered c;

    (void)state;
    list("a.tar", 10240);
    list("b.tar", 10240);
    list("c.tar", 10240);
    read_partition("a.tar", NULL, 0, "the digest of nothing");
    read_partition("b.tar", NULL, 0, "");
    read_partition("c.tar", NULL, 0, "the digests of others");
    fail_partition("c.tar/member", "cause");
    c = compare();
    assert_int_equal(c.changed, 1);
    assert_int_equal(c.n_failures, 2);
    assert_failure(&c, 1, "c.tar/member", "cause");
    assert_total(&c, 3, 2, 30720, 20480);
    done(&c);
}

/* ---- holes ---- */

static void read_hour(const char *type, int hour)
{
    char name[96], content[96];

    snprintf(name, sizeof name, "type=%s/date=2024-01-%02d/hour=%02d/x", type,
        1 + hour / 24, hour % 24);
    snprintf(content, sizeof content, "%s%d", type, hour);
    read_partition(name, NULL, 1, content);
}

static struct mr_holes find(void)
{
    struct mr_holes h;
    struct mr_error err;

    assert_int_equal(mr_coverage_settle(&coverage), MR_OK);
    assert_int_equal(mr_holes_find(&coverage, &h, &err), MR_OK);
    return h;
}

static void found(struct mr_holes *h)
{
    mr_holes_release(h);
    mr_coverage_release(&coverage);
}

static void test_no_holes(void **state)
{
    struct mr_holes h;

    (void)state;
    for (int hour = 5; hour < 40; hour++) {
        read_hour("a", hour);
        /* The data may end, and begin, within their first and last hours. */
        if (hour > 5 && hour < 39)
            read_hour("b", hour);
        /* A rare type. */
        if (hour % 3 == 0)
            read_hour("rare", hour);
    }
    read_partition("type=c/date=2024-01-01/x", NULL, 1, "c");
    read_partition("x", NULL, 1, "x");
    h = find();
    assert_int_equal(h.n, 0);
    found(&h);
}

static void test_holes(void **state)
{
    struct mr_holes h;

    (void)state;
    /* From 05 of the first day to 15 of the next: 33 hours between. */
    for (int hour = 5; hour < 40; hour++) {
        if (hour != 24 && hour != 30)
            read_hour("a", hour);
        if (hour != 6)
            read_hour("b", hour);
        if (hour < 38)
            read_hour("c", hour);
        read_hour("whole", hour);
        read_hour("whole", hour); /* several files of an hour */
        if (hour % 8 != 0)        /* 29 of the 33 are there: 7/8 and a bit */
            read_hour("most", hour);
        if (hour % 7 != 0) /* 28 of the 33 are not */
            read_hour("some", hour);
    }
    h = find();
    assert_int_equal(h.hours, 33);
    assert_int_equal(h.first_hour, 5);
    assert_int_equal(h.last_hour, 15);
    assert_int_equal(h.last_day, h.first_day + 1);
    assert_int_equal(h.n, 4);
    assert_int_equal(h.hole[0].holes, 2);
    assert_int_equal(h.hole[0].hour, 0);
    assert_int_equal(h.hole[0].day, h.first_day + 1);
    assert_true(strncmp(h.hole[0].name, "type=a/", 7) == 0);
    assert_int_equal(h.hole[1].holes, 1);
    assert_int_equal(h.hole[1].hour, 6);
    assert_int_equal(h.hole[1].day, h.first_day);
    assert_int_equal(h.hole[2].holes, 1); /* 14; 15 is the last hour */
    assert_int_equal(h.hole[2].hour, 14);
    assert_true(strncmp(h.hole[3].name, "type=most/", 10) == 0);
    assert_int_equal(h.hole[3].holes, 4);
    found(&h);
}

/* Folders that late events alone have made, before and after the others: no
 * hours that the other types lack. */
static void test_late_hours(void **state)
{
    static const char *const types[] = {"a", "b", "c", "d", "e"};
    struct mr_holes h;

    (void)state;
    for (int n_late = 2; n_late <= 3; n_late++) {
        begin_anew(state);
        for (int i = 0; i < 5; i++)
            for (int hour = i < n_late ? 0 : 4; hour < 60; hour++)
                if (hour < 50 || i < n_late)
                    read_hour(types[i], hour);
        h = find();
        /* Two of five types are fewer than half of them, three are not. */
        assert_int_equal(h.hours, n_late == 2 ? 44 : 58);
        assert_int_equal(h.first_hour, n_late == 2 ? 4 : 0);
        assert_int_equal(h.n, 0);
        found(&h);
    }
    begin_anew(state);
    for (int i = 0; i < 5; i++)
        for (int hour = 0; hour < (i == 0 ? 60 : 50); hour++)
            if (i != 3 || hour != 7)
                read_hour(types[i], hour);
    h = find();
    assert_int_equal(h.hours, 48);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.hole[0].hour, 7);
    found(&h);
}

/* What failed is named anyway. */
static void test_failure_is_no_hole(void **state)
{
    struct mr_holes h;

    (void)state;
    for (int hour = 0; hour < 24; hour++)
        if (hour != 9)
            read_hour("a", hour);
    fail_partition("type=a/date=2024-01-01/hour=09/x", "truncated");
    h = find();
    assert_int_equal(h.n, 0);
    found(&h);
}

/* Too few hours to tell. */
static void test_short_data(void **state)
{
    struct mr_holes h;

    (void)state;
    for (int last = 8; last <= 9; last++) {
        begin_anew(state);
        for (int hour = 0; hour <= last; hour++)
            if (hour != 4)
                read_hour("a", hour);
        h = find();
        assert_int_equal(h.n, last == 9);
        found(&h);
    }
    begin_anew(state);
    h = find();
    assert_int_equal(h.n, 0);
    found(&h);
}

/* Days of any year, and thousands of years between: no matter. */
static void test_far_apart(void **state)
{
    struct mr_holes h;

    (void)state;
    read_partition("date=0000-01-01/hour=0/x", NULL, 1, "1");
    read_partition("date=9999-12-31/hour=23/x", NULL, 1, "2");
    read_partition("date=1969-12-31/hour=1/x", NULL, 1, "3");
    h = find();
    assert_int_equal(h.n, 0);
    assert_int_equal(h.first_hour, 0);
    assert_int_equal(h.last_hour, 23);
    found(&h);
}

/* Before 1970 hours are counted as after it. */
static void test_before_1970(void **state)
{
    struct mr_holes h;
    char name[64];

    (void)state;
    for (int hour = 0; hour < 24; hour++) {
        if (hour == 13)
            continue;
        snprintf(name, sizeof name, "date=1969-12-30/hour=%d/x", hour);
        read_partition(name, NULL, 1, name);
    }
    h = find();
    assert_int_equal(h.n, 1);
    assert_int_equal(h.hole[0].day, -2);
    assert_int_equal(h.hole[0].hour, 13);
    found(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_whole, begin_anew),
        cmocka_unit_test_setup(test_missing, begin_anew),
        cmocka_unit_test_setup(test_nothing_listed_or_read, begin_anew),
        cmocka_unit_test_setup(test_changed, begin_anew),
        cmocka_unit_test_setup(test_two_names, begin_anew),
        cmocka_unit_test_setup(test_archives, begin_anew),
        cmocka_unit_test_setup(test_archives_of_nothing, begin_anew),
        cmocka_unit_test_setup(test_no_holes, begin_anew),
        cmocka_unit_test_setup(test_holes, begin_anew),
        cmocka_unit_test_setup(test_late_hours, begin_anew),
        cmocka_unit_test_setup(test_failure_is_no_hole, begin_anew),
        cmocka_unit_test_setup(test_short_data, begin_anew),
        cmocka_unit_test_setup(test_far_apart, begin_anew),
        cmocka_unit_test_setup(test_before_1970, begin_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
