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
#include <time.h>

#include <cmocka.h>

#include "mr/calendar.h"

static void test_known_days(void **state)
{
    static const struct {
        const char *text;
        int32_t day;
    } known[] = {{"1970-01-01", 0}, {"1970-03-01", 59}, {"1972-02-29", 789},
        {"2000-01-01", 10957}, {"2000-02-29", 11016}, {"2024-02-29", 19782},
        {"2100-03-01", 47541}, {"2199-12-31", MR_DAY_END - 1}};
    char text[MR_DAY_TEXT];
    size_t i;
    int32_t day;

    (void)state;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        mr_day_format(known[i].day, text);
        assert_string_equal(text, known[i].text);
        assert_true(mr_day_parse(known[i].text, 10, &day));
        assert_int_equal(day, known[i].day);
    }
}

/* West of Greenwich the first event of 1970 is of 1969. */
static void test_day_before_the_first(void **state)
{
    char text[MR_DAY_TEXT];
    int y, m, d;

    (void)state;
    mr_day_format(-1, text);
    assert_string_equal(text, "1969-12-31");
    mr_day_to_civil(MR_DAY_END, &y, &m, &d);
    assert_int_equal(y, 2200);
    assert_int_equal(m, 1);
    assert_int_equal(d, 1);
}

/* Every day there is, against the C library. */
static void test_all_days(void **state)
{
    char text[MR_DAY_TEXT], want[40];
    int32_t day, again;

    (void)state;
    for (day = -719528; day < MR_DAY_END; day++) { /* from 0000-01-01 */
        time_t t = (time_t)day * 86400;
        struct tm tm;

        gmtime_r(&t, &tm);
        snprintf(want, sizeof(want), "%04d-%02d-%02d", tm.tm_year + 1900,
            tm.tm_mon + 1, tm.tm_mday);
        mr_day_format(day, text);
        assert_string_equal(text, want);
        assert_true(mr_day_from_civil(
            tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, &again));
        assert_int_equal(again, day);
        snprintf(want, sizeof(want), "%04d%02d%02d", tm.tm_year + 1900,
            tm.tm_mon + 1, tm.tm_mday);
        assert_true(mr_day_parse(want, 8, &again));
        assert_int_equal(again, day);
    }
}

static void test_no_such_day(void **state)
{
    static const char *const bad[] = {"", "2024-02-30", "2023-02-29",
        "2100-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "2024-04-31",
        "2024-1-011", "2024/01/01", "24-01-01", "20240230", "2024-0101",
        "+2024-01-1", "2024-01-1 ", " 2024011", "20240101 ", "2024-01-011",
        "abcdefgh", "2024010a", "-2024-1-1"};
    size_t i;
    int32_t day = 77;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (mr_day_parse(bad[i], strlen(bad[i]), &day))
            fail_msg("'%s' was read as a day", bad[i]);
        assert_int_equal(day, 77);
    }
    assert_false(mr_day_from_civil(2023, 2, 29, &day));
    assert_false(mr_day_from_civil(-1, 2, 2, &day));
    assert_int_equal(day, 77);
}

/* Folders may name days that no event can have. */
static void test_far_days(void **state)
{
    int32_t day;

    (void)state;
    assert_true(mr_day_parse("1969-12-31", 10, &day));
    assert_int_equal(day, -1);
    assert_true(mr_day_parse("2200-01-01", 10, &day));
    assert_int_equal(day, MR_DAY_END);
    assert_true(mr_day_from_civil(0, 3, 1, &day));
    assert_int_equal(day, -719468);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0}, {"-0", 0}, {"-0.000e7", 0}, {"0e99999999999999", 0},
        {"1700000000000", 1700000000000}, {"1700000000000.999", 1700000000000},
        {"0.9999999999999999999999", 0}, {"1.7e12", 1700000000000},
        {"1.7E+12", 1700000000000}, {"17000000000000e-1", 1700000000000},
        {"0.0017e15", 1700000000000}, {"1e-400", 0}, {"123456789e-5", 1234},
        {"1e0", 1}, {"5e00001", 50}, {"7258118399999", 7258118399999},
        {"7258118399999.9999", 7258118399999},
        {"0.00000000000000000000000000001e30", 10},
        {"700719925474099300000e-8", 7007199254740},
        {"1700000000000.0000000000000000000000000000000000", 1700000000000}};
    size_t i;
    int64_t ms;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ms = -7;
        if (!mr_time_parse_ms(good[i].text, strlen(good[i].text), &ms))
            fail_msg("'%s' was refused", good[i].text);
        assert_int_equal(ms, good[i].ms);
    }
}

static void test_no_times(void **state)
{
    static const char *const bad[] = {"", "-", "+1", "01", "00", "-01", "1.",
        ".5", "1e", "1e+", "1e-", "1.e3", "1e1.5", " 1", "1 ", "1,5", "0x10",
        "NaN", "Infinity", "1_000", "-1", "-0.1", "-1e-300", "7258118400000",
        "7.2581184e12", "99999999999999999999999999", "1e13", "1e300",
        "1e99999999999999999999999999", "999999999999999", "1a", "a", "12-",
        "1e1e1", "--1", "1.5.5"};
    size_t i;
    int64_t ms = -7;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (mr_time_parse_ms(bad[i], strlen(bad[i]), &ms))
            fail_msg("'%s' was read as a time", bad[i]);
        assert_int_equal(ms, -7);
    }
}

/* Every cut of a long number is judged without reading on. */
static void test_ends_where_told(void **state)
{
    int64_t ms;

    (void)state;
    assert_true(mr_time_parse_ms("1234567", 3, &ms));
    assert_int_equal(ms, 123);
    assert_false(mr_time_parse_ms("12.5", 3, &ms));
    assert_true(mr_time_parse_ms("12e34", 2, &ms));
    assert_int_equal(ms, 12);
}

/* Numbers of each length, by the C library; and with any byte that is none of
 * a number in each place of one. */
static void test_digits(void **state)
{
    static const char pattern[] = "918273645546372";
    char text[20];
    size_t n, at;
    int64_t ms;
    int c;

    (void)state;
    for (n = 1; n < sizeof(pattern); n++) {
        int64_t want;

        memcpy(text, pattern, n);
        text[n] = '\0';
        want = strtoll(text, NULL, 10);
        ms = -7;
        assert_int_equal(mr_time_parse_ms(text, n, &ms), want < MR_TIME_END_MS);
        assert_int_equal(ms, want < MR_TIME_END_MS ? want : -7);
        for (at = 0; at < n; at++) {
            for (c = 0; c < 256; c++) {
                if (strchr("0123456789.eE", c) != NULL && c != 0)
                    continue;
                memcpy(text, pattern, n);
                text[at] = (char)c;
                if (at == 0 && c == '-')
                    continue;
                assert_false(mr_time_parse_ms(text, n, &ms));
            }
        }
    }
}

/* The same number as s, ms, us and ns: digits cut off are not rounded. */
static void test_units(void **state)
{
    static const struct {
        const char *text;
        int exponent;
        int64_t ms; /* -7: refused */
    } known[] = {{"1700000000", 3, 1700000000000},
        {"1700000000.1234", 3, 1700000000123}, {"1.7e9", 3, 1700000000000},
        {"7258118399", 3, 7258118399000}, {"7258118400", 3, -7},
        {"999999999999999", 3, -7}, {"-1", 3, -7}, {"-0", 3, 0}, {"", 3, -7},
        {"1700000000000", 0, 1700000000000},
        {"1700000000123999", -3, 1700000000123}, {"999", -3, 0},
        {"7258118399999999", -3, 7258118399999}, {"7258118400000000", -3, -7},
        {"170000000012399x", -3, -7}, {"0700000000123999", -3, -7},
        {"1700000000123999999", -6, 1700000000123},
        {"17000000001239999.99e2", -6, 1700000000123}, {"-1", -6, -7},
        {"1700000000123 99999", -6, -7}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        int64_t ms = -7;

        assert_int_equal(mr_time_parse(known[i].text, strlen(known[i].text),
                             known[i].exponent, &ms),
            known[i].ms != -7);
        assert_int_equal(ms, known[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_days),
        cmocka_unit_test(test_day_before_the_first),
        cmocka_unit_test(test_all_days),
        cmocka_unit_test(test_no_such_day),
        cmocka_unit_test(test_far_days),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_no_times),
        cmocka_unit_test(test_ends_where_told),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_units),
    };

    return cmocka_run_group_tests_name("calendar", tests, NULL, NULL);
}
