#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/zone.h"
#include "tests/unit/random.h"

#define S INT64_C(1000)
#define HOUR (3600 * S)

/* The system's zone; a test of one that is not there is not run. */
static struct mr_zone *load(const char *name)
{
    struct mr_zone *zone = NULL;
    struct mr_error err;
    char text[1200];

    if (mr_zone_load(name, &zone, &err) != MR_OK) {
        mr_error_format(&err, text, sizeof(text));
        if (err.status != MR_USAGE)
            fail_msg("%s", text);
        print_message("%s\n", text);
        skip();
    }
    return zone;
}

/* UTC ms of a date and time. */
static int64_t at(int y, int m, int d, int hour, int minute, int second)
{
    int32_t day;

    assert_true(mr_day_from_civil(y, m, d, &day));
    return day * MR_MS_PER_DAY + hour * HOUR + minute * 60 * S + second * S;
}

static int32_t day_of(int y, int m, int d)
{
    return (int32_t)(at(y, m, d, 0, 0, 0) / MR_MS_PER_DAY);
}

static void test_utc(void **state)
{
    struct mr_zone *zone = NULL;
    struct mr_zone_span span = {0};
    int64_t first, end;

    (void)state;
    assert_int_equal(mr_zone_load("UTC", &zone, NULL), MR_OK);
    assert_int_equal(mr_zone_offset_ms(zone, 0), 0);
    assert_int_equal(mr_zone_offset_ms(zone, MR_TIME_END_MS - 1), 0);
    assert_int_equal(mr_zone_to_utc(zone, 1234567890123), 1234567890123);
    assert_false(mr_zone_span_has(&span, 0));
    mr_zone_day_span(zone, at(2017, 2, 2, 20, 21, 22), &span);
    assert_int_equal(span.day, day_of(2017, 2, 2));
    assert_int_equal(span.hour, 0);
    assert_int_equal(span.start_ms, at(2017, 2, 2, 0, 0, 0));
    assert_int_equal(span.end_ms, at(2017, 2, 3, 0, 0, 0));
    assert_true(mr_zone_span_has(&span, span.start_ms));
    assert_true(mr_zone_span_has(&span, span.end_ms - 1));
    assert_false(mr_zone_span_has(&span, span.end_ms));
    assert_false(mr_zone_span_has(&span, span.start_ms - 1));
    mr_zone_hour_span(zone, at(2017, 2, 2, 20, 21, 22), &span);
    assert_int_equal(span.hour, 20);
    assert_int_equal(span.end_ms, at(2017, 2, 2, 21, 0, 0));
    mr_zone_range(zone, &first, &end);
    assert_int_equal(first, 0);
    assert_int_equal(end, MR_TIME_END_MS);
    mr_zone_free(zone);
}

/* Documented changes of the clock: the last ms before each has the one
 * offset, the first behind it the other. */
static void test_changes(void **state)
{
    static const struct {
        const char *zone;
        int date[6];       /* UTC */
        int before, after; /* seconds */
    } known[] = {
        /* The European Union: last Sundays of March and October, 01:00 UTC. */
        {"Europe/Madrid", {2024, 3, 31, 1, 0, 0}, 3600, 7200},
        {"Europe/Madrid", {2024, 10, 27, 1, 0, 0}, 7200, 3600},
        {"Europe/Madrid", {2150, 3, 29, 1, 0, 0}, 3600, 7200},
        /* The United States: second Sunday of March, first of November. */
        {"America/New_York", {2024, 3, 10, 7, 0, 0}, -18000, -14400},
        {"America/New_York", {2024, 11, 3, 6, 0, 0}, -14400, -18000},
        {"America/New_York", {2199, 3, 10, 7, 0, 0}, -18000, -14400},
        /* By half an hour, at 02:00. */
        {"Australia/Lord_Howe", {2024, 4, 6, 15, 0, 0}, 39600, 37800},
        {"Australia/Lord_Howe", {2024, 10, 5, 15, 30, 0}, 37800, 39600},
        /* The date line moved: 29 December 24:00 was 31 December 00:00. */
        {"Pacific/Apia", {2011, 12, 30, 10, 0, 0}, -36000, 50400},
        /* From 05:30 to 05:45 at the beginning of 1986. */
        {"Asia/Kathmandu", {1985, 12, 31, 18, 30, 0}, 19800, 20700},
        /* Standard time is of the month of Ramadan only. */
        {"Africa/Casablanca", {2024, 3, 10, 2, 0, 0}, 3600, 0},
        {"Africa/Casablanca", {2024, 4, 14, 2, 0, 0}, 0, 3600},
        /* The last summer time: skipped midnight, and came back at it. */
        {"America/Sao_Paulo", {2018, 11, 4, 3, 0, 0}, -10800, -7200},
        {"America/Sao_Paulo", {2019, 2, 17, 2, 0, 0}, -7200, -10800},
        /* Offsets with seconds. */
        {"Africa/Monrovia", {1972, 1, 7, 0, 44, 30}, -2670, 0},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const int *d = known[i].date;
        int64_t when = at(d[0], d[1], d[2], d[3], d[4], d[5]);
        struct mr_zone *zone = load(known[i].zone);

        assert_int_equal(
            mr_zone_offset_ms(zone, when - 1), known[i].before * S);
        assert_int_equal(mr_zone_offset_ms(zone, when), known[i].after * S);
        mr_zone_free(zone);
    }
}

/* Skipped times are as if nothing had changed; of two the first counts. */
static void test_to_utc(void **state)
{
    struct mr_zone *madrid = load("Europe/Madrid");
    struct mr_zone *samoa = load("Pacific/Apia");

    (void)state;
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 3, 31, 1, 59, 59)),
        at(2024, 3, 31, 0, 59, 59));
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 3, 31, 2, 0, 0)),
        at(2024, 3, 31, 1, 0, 0));
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 3, 31, 2, 30, 0)),
        at(2024, 3, 31, 1, 30, 0));
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 3, 31, 3, 30, 0)),
        at(2024, 3, 31, 1, 30, 0));
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 10, 27, 2, 30, 0)),
        at(2024, 10, 27, 0, 30, 0));
    assert_int_equal(mr_zone_to_utc(madrid, at(2024, 10, 27, 3, 0, 0)),
        at(2024, 10, 27, 2, 0, 0));
    /* 12:00 of the day that never was, by the clock of the day before. */
    assert_int_equal(mr_zone_to_utc(samoa, at(2011, 12, 30, 12, 0, 0)),
        at(2011, 12, 30, 22, 0, 0));
    mr_zone_free(madrid);
    mr_zone_free(samoa);
}

static int32_t day_at(const struct mr_zone *zone, int64_t time_ms)
{
    struct mr_zone_span span;

    mr_zone_day_span(zone, time_ms, &span);
    assert_true(mr_zone_span_has(&span, time_ms));
    return span.day;
}

/* From the first ms of a day to the one after its last. */
static void check_bounds(
    const char *name, const int date[3], int64_t start, int64_t end)
{
    struct mr_zone *zone = load(name);
    int32_t day = day_of(date[0], date[1], date[2]);

    if (start < end) {
        assert_int_equal(day_at(zone, start), day);
        assert_int_equal(day_at(zone, start + (end - start) / 2), day);
        assert_int_equal(day_at(zone, end - 1), day);
    }
    assert_int_not_equal(day_at(zone, start - 1), day);
    assert_int_not_equal(day_at(zone, end), day);
    mr_zone_free(zone);
}

static void test_days(void **state)
{
    (void)state;
    /* 24, 23 and 25 hours. */
    check_bounds("Europe/Madrid", (int[]){2024, 7, 1},
        at(2024, 6, 30, 22, 0, 0), at(2024, 7, 1, 22, 0, 0));
    check_bounds("Europe/Madrid", (int[]){2024, 3, 31},
        at(2024, 3, 30, 23, 0, 0), at(2024, 3, 31, 22, 0, 0));
    check_bounds("Europe/Madrid", (int[]){2024, 10, 27},
        at(2024, 10, 26, 22, 0, 0), at(2024, 10, 27, 23, 0, 0));
    /* Half an hour more. */
    check_bounds("Australia/Lord_Howe", (int[]){2024, 4, 7},
        at(2024, 4, 6, 13, 0, 0), at(2024, 4, 7, 13, 30, 0));
    /* A day that begins at 01:00, and one whose last hour comes twice. */
    check_bounds("America/Sao_Paulo", (int[]){2018, 11, 4},
        at(2018, 11, 4, 3, 0, 0), at(2018, 11, 5, 2, 0, 0));
    check_bounds("America/Sao_Paulo", (int[]){2019, 2, 16},
        at(2019, 2, 16, 2, 0, 0), at(2019, 2, 17, 3, 0, 0));
    /* The day that never was, and its neighbours. */
    check_bounds("Pacific/Apia", (int[]){2011, 12, 29},
        at(2011, 12, 29, 10, 0, 0), at(2011, 12, 30, 10, 0, 0));
    check_bounds("Pacific/Apia", (int[]){2011, 12, 30},
        at(2011, 12, 30, 10, 0, 0), at(2011, 12, 30, 10, 0, 0));
    check_bounds("Pacific/Apia", (int[]){2011, 12, 31},
        at(2011, 12, 30, 10, 0, 0), at(2011, 12, 31, 10, 0, 0));
}

/* At 00:01 of 7 November 2010 Newfoundland went back to 23:01 of the 6th. */
static void test_day_of_two_stretches(void **state)
{
    struct mr_zone *zone = load("America/St_Johns");
    int64_t change = at(2010, 11, 7, 2, 31, 0);
    struct mr_zone_span span;

    (void)state;
    assert_int_equal(day_at(zone, change - 60 * S - 1), day_of(2010, 11, 6));
    mr_zone_day_span(zone, change - 1, &span);
    assert_int_equal(span.day, day_of(2010, 11, 7));
    assert_int_equal(span.start_ms, change - 60 * S);
    assert_int_equal(span.end_ms, change);
    mr_zone_day_span(zone, change, &span);
    assert_int_equal(span.day, day_of(2010, 11, 6));
    assert_int_equal(span.start_ms, change);
    assert_int_equal(span.end_ms, change + 59 * 60 * S);
    assert_int_equal(
        day_at(zone, at(2010, 11, 6, 2, 30, 0)), day_of(2010, 11, 6));
    assert_int_equal(
        day_at(zone, at(2010, 11, 6, 2, 30, 0) - 1), day_of(2010, 11, 5));
    assert_int_equal(day_at(zone, change + 59 * 60 * S), day_of(2010, 11, 7));
    assert_int_equal(
        day_at(zone, at(2010, 11, 8, 3, 30, 0) - 1), day_of(2010, 11, 7));
    mr_zone_free(zone);
}

static void check_hour(
    const struct mr_zone *zone, int64_t when, int hour, int64_t minutes)
{
    struct mr_zone_span span;

    mr_zone_hour_span(zone, when, &span);
    assert_int_equal(span.hour, hour);
    assert_int_equal((span.end_ms - span.start_ms) / (60 * S), minutes);
    assert_true(mr_zone_span_has(&span, when));
}

static void test_hours(void **state)
{
    struct mr_zone *madrid = load("Europe/Madrid");
    struct mr_zone *howe = load("Australia/Lord_Howe");
    struct mr_zone *nepal = load("Asia/Kathmandu");

    (void)state;
    check_hour(madrid, at(2024, 10, 27, 0, 30, 0), 2, 120);
    check_hour(madrid, at(2024, 10, 27, 1, 30, 0), 2, 120);
    check_hour(madrid, at(2024, 10, 27, 2, 0, 0), 3, 60);
    check_hour(madrid, at(2024, 3, 31, 0, 59, 0), 1, 60);
    check_hour(madrid, at(2024, 3, 31, 1, 0, 0), 3, 60);
    check_hour(howe, at(2024, 4, 6, 14, 59, 0), 1, 90);
    check_hour(howe, at(2024, 10, 5, 15, 30, 0), 2, 30);
    check_hour(nepal, at(2024, 1, 1, 18, 15, 0), 0, 60);
    check_hour(nepal, at(2024, 1, 1, 18, 14, 59), 23, 60);
    mr_zone_free(madrid);
    mr_zone_free(howe);
    mr_zone_free(nepal);
}

/* West of Greenwich it was still 1969 when 1970 began. */
static void test_ends_of_time(void **state)
{
    struct mr_zone *west = load("America/New_York");
    struct mr_zone *east = load("Asia/Kathmandu");
    int64_t first, end;

    (void)state;
    assert_int_equal(day_at(west, 0), -1);
    assert_int_equal(day_at(west, MR_TIME_END_MS - 1), MR_DAY_END - 1);
    mr_zone_range(west, &first, &end);
    assert_int_equal(first, 5 * HOUR);
    assert_int_equal(end, MR_TIME_END_MS);
    assert_int_equal(day_at(east, 0), 0);
    assert_int_equal(day_at(east, MR_TIME_END_MS - 1), MR_DAY_END);
    mr_zone_range(east, &first, &end);
    assert_int_equal(first, 0);
    assert_int_equal(end, MR_TIME_END_MS - 5 * HOUR - 45 * 60 * S);
    mr_zone_free(west);
    mr_zone_free(east);
    /* Offsets of other times do not count. */
    east = load("Europe/Madrid");
    mr_zone_range(east, &first, &end);
    assert_int_equal(first, 0);
    assert_int_equal(end, MR_TIME_END_MS - HOUR);
    mr_zone_free(east);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "/etc/passwd", "../zoneinfo/UTC",
        "Europe/../UTC", "Europe/./Madrid", "Europe//Madrid", "Europe/",
        "Europe", ".hidden", "Europe/.x", "Nowhere/City", "Europe/Madrid/x",
        "Europe\\Madrid", "Europe/Madrid ", "localtime", "posixrules",
        "Europe/Madr\xc3\xad", "%s",
        "A/very/long/name/that/no/zone/has/because/it/is/far/too/long/for/one"};
    struct mr_zone *zone = NULL;
    struct mr_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (mr_zone_load(bad[i], &zone, &err) != MR_USAGE)
            fail_msg("'%s' was taken for a zone", bad[i]);
        assert_null(zone);
        assert_non_null(strstr(err.cause, "no zone"));
    }
    assert_int_equal(setenv("TZDIR", "/nonexistent", 1), 0);
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    zone = load("Europe/Madrid");
    assert_int_equal(mr_zone_offset_ms(zone, 0), HOUR);
    mr_zone_free(zone);
}

/* --- files made here ---------------------------------------------------- */

struct file {
    uint8_t b[4000];
    size_t n;
};

static void add(struct file *f, const void *p, size_t n)
{
    assert_true(f->n + n <= sizeof(f->b));
    memcpy(f->b + f->n, p, n);
    f->n += n;
}

static void add_big(struct file *f, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        uint8_t byte = (uint8_t)(value >> 8 * bytes);

        add(f, &byte, 1);
    }
}

static void add_header(
    struct file *f, char version, uint32_t times, uint32_t types)
{
    add(f, "TZif", 4);
    add(f, &version, 1);
    add(f, (const char[15]){0}, 15);
    add_big(f, 0, 4);
    add_big(f, 0, 4);
    add_big(f, 0, 4);
    add_big(f, times, 4);
    add_big(f, types, 4);
    add_big(f, 4, 4);
}

static void add_types(struct file *f, const int32_t *offset_s, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        add_big(f, (uint32_t)offset_s[i], 4);
        add_big(f, 0, 2);
    }
    add(f, "ABC", 4);
}

/* A file of one type, no changes, and a rule. */
static struct file ruled(char version, const char *rule)
{
    struct file f = {.n = 0};

    add_header(&f, version, 0, 1);
    add_types(&f, (const int32_t[]){0}, 1);
    add_header(&f, version, 0, 1);
    add_types(&f, (const int32_t[]){0}, 1);
    add(&f, "\n", 1);
    add(&f, rule, strlen(rule));
    add(&f, "\n", 1);
    return f;
}

static enum mr_status decode(
    const struct file *f, struct mr_zone **zone, struct mr_error *err)
{
    /* Of just its size, so that tools see any overrun. */
    uint8_t *p = malloc(f->n + (f->n == 0));
    enum mr_status status;

    assert_non_null(p);
    memcpy(p, f->b, f->n);
    status = mr_zone_decode((struct mr_span){p, f->n}, zone, err);
    free(p);
    return status;
}

static int64_t offset_in(const char *rule, int64_t when)
{
    struct file f = ruled('3', rule);
    struct mr_zone *zone;
    int64_t offset;

    if (decode(&f, &zone, NULL) != MR_OK)
        fail_msg("the rule '%s' was refused", rule);
    offset = mr_zone_offset_ms(zone, when);
    mr_zone_free(zone);
    return offset;
}

static void test_rules(void **state)
{
    const char *madrid = "CET-1CEST,M3.5.0,M10.5.0/3";
    const char *all_year = "XXX3EDT4,0/0,J365/23"; /* RFC 8536's own */
    const char *nuuk = "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1";
    const char *julian = "ABC0DEF,J60/0,59/0";
    int year;

    (void)state;
    assert_int_equal(offset_in("UTC0", 0), 0);
    assert_int_equal(offset_in("<+0545>-5:45", 0), 20700 * S);
    assert_int_equal(offset_in("ABC+1:02:03", 0), -3723 * S);
    assert_int_equal(offset_in(madrid, at(2100, 3, 28, 0, 59, 59)), HOUR);
    assert_int_equal(offset_in(madrid, at(2100, 3, 28, 1, 0, 0)), 2 * HOUR);
    assert_int_equal(offset_in(madrid, at(2100, 10, 31, 0, 59, 59)), 2 * HOUR);
    assert_int_equal(offset_in(madrid, at(2100, 10, 31, 1, 0, 0)), HOUR);
    for (year = 1970; year < 2200; year++) {
        assert_int_equal(
            offset_in(all_year, at(year, 1, 1, 3, 0, 0)), -4 * HOUR);
        assert_int_equal(
            offset_in(all_year, at(year, 12, 31, 23, 59, 59)), -4 * HOUR);
    }
    /* RFC 8536's example of times before midnight: 22:00 of Saturday. */
    assert_int_equal(offset_in(nuuk, at(2030, 3, 31, 0, 59, 59)), -3 * HOUR);
    assert_int_equal(offset_in(nuuk, at(2030, 3, 31, 1, 0, 0)), -2 * HOUR);
    /* J60 is 1 March in any year; 59 is so but in leap years. */
    assert_int_equal(offset_in(julian, at(2024, 3, 1, 0, 0, 0)), HOUR);
    assert_int_equal(offset_in(julian, at(2024, 2, 28, 22, 0, 0)), HOUR);
    assert_int_equal(offset_in(julian, at(2024, 2, 29, 1, 0, 0)), 0);
    /* Week 5 is the last, be it the fourth. */
    assert_int_equal(
        offset_in("ABC0DEF,M2.5.0/0,M2.5.1/0", at(2025, 2, 23, 12, 0, 0)),
        HOUR);
}

static void test_bad_rules(void **state)
{
    static const char *const bad[] = {"A0", "AB0", "ABC", "ABC25", "ABC1:60",
        "ABC1:2:60", "<AB>0", "<ABC0", "ABC0DEF", "ABC0DEF,", "ABC0DEF,M1.1.1",
        "ABC0DEF,M1.1.1,", "ABC0DEF,M1.1.1,M2.1", "ABC0DEF,M13.1.1,M2.1.1",
        "ABC0DEF,M0.1.1,M2.1.1", "ABC0DEF,M1.6.1,M2.1.1",
        "ABC0DEF,M1.0.1,M2.1.1", "ABC0DEF,M1.1.7,M2.1.1", "ABC0DEF,J0,J1",
        "ABC0DEF,J366,J1", "ABC0DEF,366,J1", "ABC0DEF,J1/168,J2",
        "ABC0DEF,J1,J2x", "ABC0DEF,J1,J2,J3", "ABC0 ", ":ABC0", "ABC--1",
        "ABC0DEF25,J1,J2", "ABC99999999999999999999"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct file f = ruled('2', bad[i]);
        struct mr_zone *zone = NULL;
        struct mr_error err;

        if (decode(&f, &zone, &err) != MR_FORMAT)
            fail_msg("the rule '%s' was taken", bad[i]);
        assert_null(zone);
        assert_string_equal(err.cause, "the rule for later years is malformed");
    }
}

/* What the offset becomes later says nothing of when 1970 began. */
static void test_range_of_the_first_day(void **state)
{
    struct file f = ruled('2', "ABC-1DEF3,M7.1.0,M8.1.0");
    struct mr_zone *zone;
    int64_t first, end;

    (void)state;
    assert_int_equal(decode(&f, &zone, NULL), MR_OK);
    mr_zone_range(zone, &first, &end);
    assert_int_equal(first, 0);
    assert_int_equal(end, MR_TIME_END_MS - HOUR);
    mr_zone_free(zone);
}

/* Version 1: 32 bits and no rule; the last offset holds on. */
static void test_version_1(void **state)
{
    struct file f = {.n = 0};
    struct mr_zone *zone;

    (void)state;
    add_header(&f, 0, 2, 2);
    add_big(&f, (uint32_t)-100, 4);
    add_big(&f, 1000, 4);
    add(&f, (const uint8_t[]){1, 0}, 2);
    add_types(&f, (const int32_t[]){3600, -3600}, 2);
    assert_int_equal(decode(&f, &zone, NULL), MR_OK);
    assert_int_equal(mr_zone_offset_ms(zone, -100 * S - 1), HOUR);
    assert_int_equal(mr_zone_offset_ms(zone, -100 * S), -HOUR);
    assert_int_equal(mr_zone_offset_ms(zone, 1000 * S), HOUR);
    assert_int_equal(mr_zone_offset_ms(zone, MR_TIME_END_MS), HOUR);
    mr_zone_free(zone);
    f.n--;
    assert_int_equal(decode(&f, &zone, NULL), MR_FORMAT);
    f.n += 2;
    assert_int_equal(decode(&f, &zone, NULL), MR_FORMAT);
}

/* A version 1 file with one byte put to something else. */
static void refuse_byte(
    const struct file *good, size_t where, uint8_t byte, const char *cause)
{
    struct file f = *good;
    struct mr_zone *zone = NULL;
    struct mr_error err;

    f.b[where] = byte;
    assert_int_equal(decode(&f, &zone, &err), MR_FORMAT);
    assert_null(zone);
    if (strstr(err.cause, cause) == NULL)
        fail_msg("'%s' where '%s' was to be said", err.cause, cause);
}

static void test_bad_values(void **state)
{
    struct file f = {.n = 0};

    (void)state;
    add_header(&f, 0, 2, 2);
    add_big(&f, 500, 4);
    add_big(&f, 1000, 4);
    add(&f, (const uint8_t[]){1, 0}, 2);
    add_types(&f, (const int32_t[]){3600, -3600}, 2);
    refuse_byte(&f, 0, 'X', "not a TZif file");
    refuse_byte(&f, 4, '9', "unknown version");
    refuse_byte(&f, 4, '2', "too short for a TZif header");
    refuse_byte(&f, 23, 1, "shorter than");
    refuse_byte(&f, 24, 255, "a count in the header");
    refuse_byte(&f, 31, 1, "shorter than");
    refuse_byte(&f, 39, 0, "do not fit");
    refuse_byte(&f, 43, 3, "malformed");
    refuse_byte(&f, 43, 5, "shorter than");
    refuse_byte(&f, 44, 1, "not in order");
    refuse_byte(&f, 52, 2, "none of");
    refuse_byte(&f, 54, 1, "26 hours");
    refuse_byte(&f, 58, 2, "malformed");
    refuse_byte(&f, 59, 4, "malformed");
    refuse_byte(&f, f.n - 1, 'D', "malformed");
}

/* The rule must begin where the changes end. */
static void test_rule_that_does_not_fit(void **state)
{
    int32_t late;

    (void)state;
    for (late = 3600; late <= 7200; late += 3600) {
        struct file f = {.n = 0};
        struct mr_zone *zone = NULL;

        add_header(&f, '2', 0, 1);
        add_types(&f, (const int32_t[]){0}, 1);
        add_header(&f, '2', 1, 2);
        add_big(&f, 1000, 8);
        add(&f, (const uint8_t[]){1}, 1);
        add_types(&f, (const int32_t[]){0, late}, 2);
        add(&f, "\nABC-1\n", 7);
        assert_int_equal(
            decode(&f, &zone, NULL), late == 3600 ? MR_OK : MR_FORMAT);
        mr_zone_free(zone);
    }
}

/* Equal where zones are: whatever the file's version, or a rule with names of
 * its own. */
static void test_digest(void **state)
{
    static const char *const rule[] = {"CET-1CEST,M3.5.0,M10.5.0/3",
        "<+01>-1<+02>-2,M3.5.0/2,M10.5.0/3:00", "CET-1CEST,M3.5.0,M10.5.0/2",
        "CET-1", "UTC0"};
    struct mr_digest digest[5], utc;
    struct mr_zone *zone;
    size_t i, j;

    (void)state;
    for (i = 0; i < 5; i++) {
        struct file f = ruled(i == 1 ? '3' : '2', rule[i]);

        assert_int_equal(decode(&f, &zone, NULL), MR_OK);
        digest[i] = mr_zone_digest(zone);
        mr_zone_free(zone);
        for (j = 0; j < i; j++)
            assert_int_equal(memcmp(&digest[i], &digest[j], sizeof(utc)) == 0,
                i == 1 && j == 0);
    }
    assert_int_equal(mr_zone_load("UTC", &zone, NULL), MR_OK);
    utc = mr_zone_digest(zone);
    mr_zone_free(zone);
    assert_memory_equal(&utc, &digest[4], sizeof(utc));
}

/* Every bit of a file turned, and the file cut at every byte: refused, or a
 * zone whose functions still hold. */
static void check_damaged(const struct file *f)
{
    struct mr_zone *zone = NULL;
    struct mr_zone_span span;
    int64_t when;

    if (decode(f, &zone, NULL) != MR_OK) {
        assert_null(zone);
        return;
    }
    for (when = 0; when < MR_TIME_END_MS; when += MR_TIME_END_MS / 97) {
        mr_zone_day_span(zone, when, &span);
        assert_true(mr_zone_span_has(&span, when));
        (void)mr_zone_to_utc(zone, when);
    }
    mr_zone_free(zone);
}

static void test_damage(void **state)
{
    struct file f = {.n = 0}, damaged;
    size_t i;

    (void)state;
    add_header(&f, '2', 0, 1);
    add_types(&f, (const int32_t[]){0}, 1);
    add_header(&f, '2', 3, 2);
    add_big(&f, (uint64_t)-5000000000, 8);
    add_big(&f, 500000000, 8);
    add_big(&f, 1000000000, 8);
    add(&f, (const uint8_t[]){1, 0, 1}, 3);
    add_types(&f, (const int32_t[]){-7200, 3600}, 2);
    add(&f, "\nCET-1CEST,M10.5.0,M3.5.0/3\n", 28);
    for (i = 0; i < f.n * 8; i += 8 / rounds(8)) {
        damaged = f;
        damaged.b[i / 8] ^= (uint8_t)(1u << i % 8);
        check_damaged(&damaged);
    }
    for (i = 0; i < f.n; i++) {
        struct mr_zone *zone;

        damaged = f;
        damaged.n = i;
        assert_int_equal(decode(&damaged, &zone, NULL), MR_FORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utc),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_to_utc),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_day_of_two_stretches),
        cmocka_unit_test(test_hours),
        cmocka_unit_test(test_ends_of_time),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_range_of_the_first_day),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_rule_that_does_not_fit),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
