#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mr/timeform.h"

#define REFUSED (-1)

static struct mr_zone *load(const char *name)
{
    struct mr_zone *zone = NULL;

    if (mr_zone_load(name, &zone, NULL) != MR_OK) {
        print_message("no time zone %s here\n", name);
        skip();
    }
    return zone;
}

static void expect(const struct mr_timeform *form, const char *text,
    bool is_number, int64_t want)
{
    int64_t got = REFUSED;

    if (mr_timeform_parse(form, text, strlen(text), is_number, &got) !=
        (want != REFUSED))
        fail_msg("'%s' was %s", text, want == REFUSED ? "read" : "refused");
    if (got != want)
        fail_msg(
            "'%s' is %lld, not %lld", text, (long long)got, (long long)want);
}

/* One text under one form, in UTC. */
static void expect_once(
    enum mr_time_kind kind, const char *pattern, const char *text, int64_t want)
{
    struct mr_zone *utc = load("UTC");
    struct mr_timeform form;
    struct mr_error err;

    if (mr_timeform_init(&form, kind, pattern, utc, &err) != MR_OK)
        fail_msg("'%s': %s", pattern, err.cause);
    expect(&form, text, false, want);
    mr_zone_free(utc);
}

static void test_epochs(void **state)
{
    static const struct {
        enum mr_time_kind kind;
        const char *text;
        int64_t ms;
    } known[] = {
        {MR_TIME_EPOCH_MS, "1486066882123", 1486066882123},
        {MR_TIME_EPOCH_S, "1486066882", 1486066882000},
        {MR_TIME_EPOCH_S, "1486066882.1239999", 1486066882123},
        {MR_TIME_EPOCH_S, "1.486066882e9", 1486066882000},
        {MR_TIME_EPOCH_S, "0.0009999", 0},
        {MR_TIME_EPOCH_S, "0.001", 1},
        {MR_TIME_EPOCH_S, "7258118399.9999", 7258118399999},
        {MR_TIME_EPOCH_S, "7258118400", REFUSED},
        {MR_TIME_EPOCH_S, "999999999999999", REFUSED},
        {MR_TIME_EPOCH_S, "-1", REFUSED},
        {MR_TIME_EPOCH_S, "01486066882", REFUSED},
        {MR_TIME_EPOCH_S, "", REFUSED},
        {MR_TIME_EPOCH_US, "1486066882123999", 1486066882123},
        {MR_TIME_EPOCH_US, "1486066882123999.9", 1486066882123},
        {MR_TIME_EPOCH_US, "999", 0},
        {MR_TIME_EPOCH_US, "1000", 1},
        {MR_TIME_EPOCH_US, "7258118399999999", 7258118399999},
        {MR_TIME_EPOCH_US, "7258118400000000", REFUSED},
        {MR_TIME_EPOCH_US, "14860668821a3999", REFUSED},
        {MR_TIME_EPOCH_US, "148606688212399x", REFUSED},
        {MR_TIME_EPOCH_US, "x486066882123999", REFUSED},
        {MR_TIME_EPOCH_NS, "1486066882123999999", 1486066882123},
        {MR_TIME_EPOCH_NS, "999999", 0},
        {MR_TIME_EPOCH_NS, "1000000", 1},
        {MR_TIME_EPOCH_NS, "1e6", 1},
        {MR_TIME_EPOCH_NS, "7258118399999999999", 7258118399999},
        {MR_TIME_EPOCH_NS, "7258118400000000000", REFUSED},
        {MR_TIME_EPOCH_NS, "1486066882123 99999", REFUSED},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        expect_once(known[i].kind, "", known[i].text, known[i].ms);
}

/* Every cut of a number of 25 digits, by long arithmetic. */
static void test_epoch_lengths(void **state)
{
    static const char digits[] = "1486066882123456789012345";
    static const struct {
        enum mr_time_kind kind;
        int down; /* digits below a ms */
    } kinds[] = {{MR_TIME_EPOCH_S, -3}, {MR_TIME_EPOCH_MS, 0},
        {MR_TIME_EPOCH_US, 3}, {MR_TIME_EPOCH_NS, 6}};
    char text[30];
    size_t i;
    int n, j;

    (void)state;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (n = 1; n <= 25; n++) {
            int64_t want = 0;

            for (j = 0; j < n - kinds[i].down && j < 15; j++)
                want = want * 10 + (j < n ? digits[j] - '0' : 0);
            snprintf(text, sizeof(text), "%.*s", n, digits);
            expect_once(kinds[i].kind, "", text,
                want < MR_TIME_END_MS ? want : REFUSED);
        }
}

static const struct {
    const char *text;
    int64_t ms;
} iso_texts[] = {
    /* RFC 3339 section 5.8; its last is of 1937. */
    {"1985-04-12T23:20:50.52Z", 482196050520},
    {"1996-12-19T16:39:57-08:00", 851042397000},
    {"1990-12-31T23:59:60Z", 662688000000},
    {"1990-12-31T15:59:60-08:00", 662688000000},
    {"1937-01-01T12:00:27.87+00:20", REFUSED},
    {"2015-09-12T00:46:58.771Z", 1442018818771},
    {"2017-02-02T20:21:22", 1486066882000},
    {"2017-02-02 20:21:22", 1486066882000},
    {"2017-02-02t20:21:22z", 1486066882000},
    {"2017-02-02T20:21", 1486066860000},
    {"2017-02-02T20:21Z", 1486066860000},
    {"2017-02-02T20:21+01:00", 1486063260000},
    {"2017-02-02", 1485993600000},
    {"20170202", 1485993600000},
    {"20170202T202122", 1486066882000},
    {"20170202T202122Z", 1486066882000},
    {"20170202 2021", 1486066860000},
    {"20170202T202122,5+0100", 1486063282500},
    {"2017-02-02T20:21:22,123456789Z", 1486066882123},
    {"2017-02-02T20:21:22.9999999999999999999999999", 1486066882999},
    {"2017-02-02T20:21:22+01", 1486063282000},
    {"2017-02-02T20:21:22+0530", 1486047082000},
    {"2017-02-02T20:21:22-00:44:30", 1486069552000},
    {"2017-02-02T20:21:22-004430", 1486069552000},
    {"2016-12-31T23:59:60.5", 1483228800500},
    {"1970-01-01", 0},
    {"1970-01-01T00:30:00+01:00", REFUSED},
    {"1969-12-31T23:30:00-01:00", 1800000},
    {"2199-12-31T23:59:59.999Z", 7258118399999},
    {"2200-01-01", REFUSED},
    {"2200-01-01T00:30:00+01:00", 7258116600000},
    {"2024-02-29T00:00:00", 1709164800000},
    {"2023-02-29T00:00:00", REFUSED},
    {"2100-02-29", REFUSED},
    {"2017-02-02T24:00:00", REFUSED},
    {"2017-02-02T24:00", REFUSED},
    {"2017-02-02T20:60:00", REFUSED},
    {"2017-02-02T20:21:61", REFUSED},
    {"2017-00-02", REFUSED},
    {"2017-13-02", REFUSED},
    {"2017-02-00", REFUSED},
    {"2017-2-2", REFUSED},
    {"17-02-02", REFUSED},
    {"2017-0202", REFUSED},
    {"201702-02", REFUSED},
    {"2017-02", REFUSED},
    {"2017", REFUSED},
    {"", REFUSED},
    {"2017-02-02Z", REFUSED},
    {"2017-02-02T", REFUSED},
    {"2017-02-02T20", REFUSED},
    {"2017-02-02T20:", REFUSED},
    {"2017-02-02T2021", REFUSED},
    {"20170202T20:21", REFUSED},
    {"2017-02-02T20:21:", REFUSED},
    {"2017-02-02T20:21.5", REFUSED},
    {"2017-02-02T20:21:22.", REFUSED},
    {"2017-02-02T20:21:22.Z", REFUSED},
    {"2017-02-02T20:21:22 Z", REFUSED},
    {"2017-02-02T20:21:22+1", REFUSED},
    {"2017-02-02T20:21:22+01:", REFUSED},
    {"2017-02-02T20:21:22+01:0", REFUSED},
    {"2017-02-02T20:21:22+010", REFUSED},
    {"2017-02-02T20:21:22+24:00", REFUSED},
    {"2017-02-02T20:21:22+01:60", REFUSED},
    {"2017-02-02T20:21:22ZZ", REFUSED},
    {"2017-02-02  20:21:22", REFUSED},
    {" 2017-02-02T20:21:22", REFUSED},
    {"2017-02-02T20:21:22 ", REFUSED},
    {"2017-02-02T-1:21:22", REFUSED},
    {"+2017-02-02T20:21:22", REFUSED},
    {"1486066882123", REFUSED},
};

static void test_iso(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(iso_texts) / sizeof(iso_texts[0]); i++)
        expect_once(MR_TIME_ISO8601, "", iso_texts[i].text, iso_texts[i].ms);
}

/* Any byte in any place of what the fast way reads. */
static void test_iso_bytes(void **state)
{
    static const char good[] = "2017-02-02T20:21:22";
    struct mr_zone *utc = load("UTC");
    struct mr_timeform form;
    char text[sizeof(good)];
    size_t at;
    int c;

    (void)state;
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_ISO8601, "", utc, NULL), MR_OK);
    for (at = 0; at + 1 < sizeof(good); at++)
        for (c = 0; c < 256; c++) {
            bool digit = good[at] >= '0' && good[at] <= '9';
            int64_t ms;

            memcpy(text, good, sizeof(good));
            text[at] = (char)c;
            if ((digit && c >= '0' && c <= '9') || c == good[at] ||
                (at == 10 && (c == ' ' || c == 't')) ||
                (at == 16 && (c == '+' || c == '-')))
                continue;
            if (mr_timeform_parse(&form, text, sizeof(good) - 1, false, &ms))
                fail_msg("'%s' was read", text);
        }
    /* 20:21 at an offset of 22 hours. */
    expect(&form, "2017-02-02T20:21+22", false, 1485987660000);
    mr_zone_free(utc);
}

static void test_local(void **state)
{
    struct mr_zone *madrid = load("Europe/Madrid");
    struct mr_zone *paulo = load("America/Sao_Paulo");
    struct mr_timeform form;

    (void)state;
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_ISO8601, "", madrid, NULL), MR_OK);
    expect(&form, "2024-07-01T00:00:00", false, 1719784800000);
    expect(&form, "2024-07-01T00:00:00Z", false, 1719792000000);
    expect(&form, "2024-03-31T02:30:00", false, 1711848600000);
    expect(&form, "2024-03-31T03:30:00", false, 1711848600000);
    expect(&form, "2024-10-27T02:30:00", false, 1729989000000);
    expect(&form, "2024-10-27T02:30:00+01:00", false, 1729992600000);
    expect(&form, "1970-01-01T00:59:59", false, REFUSED);
    expect(&form, "1970-01-01T01:00:00", false, 0);
    assert_int_equal(mr_timeform_init(&form, MR_TIME_PATTERN, "%d/%m/%Y %H:%M",
                         madrid, NULL),
        MR_OK);
    expect(&form, "01/07/2024 00:00", false, 1719784800000);
    /* A date alone is when its day begins: here at 01:00. */
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_ISO8601, "", paulo, NULL), MR_OK);
    expect(&form, "2018-11-04", false, 1541300400000);
    mr_zone_free(madrid);
    mr_zone_free(paulo);
}

static const struct {
    const char *pattern, *text;
    int64_t ms;
} pattern_texts[] = {
    {"%d/%m/%Y %H:%M:%S", "02/02/2017 20:21:22", 1486066882000},
    {"%d/%m/%Y %H:%M:%S", "2/2/2017 20:21:22", 1486066882000},
    {"%d/%m/%Y %H:%M:%S", "13/02/2017 20:21:22", 1487017282000},
    {"%d/%m/%Y %H:%M:%S", "02/13/2017 20:21:22", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "02/02/2017 20:21", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "02/02/2017 20:21:22 ", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "02/02/17 20:21:22", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "02/02/2017\t 20:21:22", 1486066882000},
    {"%d/%m/%Y %H:%M:%S", "02/02/201720:21:22", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "02/02/2017 24:00:00", REFUSED},
    {"%d/%m/%Y %H:%M:%S", "31/12/2016 23:59:60", 1483228800000},
    {"%d/%m/%Y %H:%M:%S", "", REFUSED},
    {"%D %T", "02/03/17 20:21:22", 1486153282000},
    {"%F %R", "2017-02-02 20:21", 1486066860000},
    {"%Y%m%d%H%M%S", "20170202202122", 1486066882000},
    {"%Y%m%d", "2017112", REFUSED}, /* January or November? */
    {"%Y%m%d", "20170112", 1484179200000},
    {"%d.%m.%y", "2.2.17", 1485993600000},
    {"%d.%m.%y", "31.12.68", 3124137600000},
    {"%d.%m.%y", "01.01.69", REFUSED}, /* 1969 */
    {"%d.%m.%y", "01.01.70", 0},
    {"%d/%b/%Y:%H:%M:%S %z", "02/Feb/2017:20:21:22 +0100", 1486063282000},
    {"%d/%b/%Y:%H:%M:%S %z", "02/feb/2017:20:21:22 Z", 1486066882000},
    {"%d/%b/%Y:%H:%M:%S %z", "02/Fev/2017:20:21:22 +0100", REFUSED},
    {"%d/%b/%Y:%H:%M:%S %z", "02/February/2017:20:21:22 +0100", REFUSED},
    {"%B %e, %Y", "FEBRUARY 2, 2017", 1485993600000},
    {"%B %e, %Y", "Feb 2, 2017", REFUSED},
    {"%b%e %Y", "Feb 2 2017", 1485993600000},
    {"%b%e %Y", "Feb12 2017", 1486857600000},
    {"%b %e %H:%M:%S %Y", "Feb  2 20:21:22 2017", 1486066882000},
    {"%a, %d %b %Y", "Thu, 02 Feb 2017", 1485993600000},
    {"%a, %d %b %Y", "Fri, 02 Feb 2017", REFUSED},
    {"%A %d %b %Y", "thursday 02 Feb 2017", 1485993600000},
    {"%A %d %b %Y", "Thu 02 Feb 2017", REFUSED},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 08:21 PM", 1486066860000},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 8:21 pm", 1486066860000},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 12:00 AM", 1485993600000},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 12:00 PM", 1486036800000},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 13:00 PM", REFUSED},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 00:00 AM", REFUSED},
    {"%m/%d/%Y %I:%M %p", "02/02/2017 08:21 XM", REFUSED},
    {"%Y-%j", "2017-033", 1485993600000},
    {"%Y-%j", "2017-33", 1485993600000},
    {"%Y-%j", "2016-366", 1483142400000},
    {"%Y-%j", "2017-366", REFUSED},
    {"%Y-%j", "2017-0", REFUSED},
    {"%Y%j", "2017033", 1485993600000},
    {"%Y%j", "201733", REFUSED},
    {"%s", "1486066882", 1486066882000},
    {"%s", "99999999999999999999999999999", REFUSED},
    {"%s", "-5", REFUSED},
    {"[%s.%f]", "[1486066882.1239]", 1486066882123},
    {"%F %T.%f", "2017-02-02 20:21:22.5", 1486066882500},
    {"%F %T.%f", "2017-02-02 20:21:22.", REFUSED},
    {"%F %T,%f UTC", "2017-02-02 20:21:22,123456 UTC", 1486066882123},
    {"%Y%m%d%H%M%S%f", "20170202202122123", 1486066882123},
    {"%F %T %Z", "2017-02-02 20:21:22 UTC", 1486066882000},
    {"%F %T %Z", "2017-02-02 20:21:22 GMT", 1486066882000},
    {"%F %T %Z", "2017-02-02 20:21:22 Z", 1486066882000},
    {"%F %T %Z", "2017-02-02 20:21:22 CET", REFUSED},
    {"%F%n%T%t%z", "2017-02-02 \n 20:21:22\t-01:00", 1486070482000},
    {"100%% %F", "100% 2017-02-02", 1485993600000},
    {"%Y\xc2\xb7%m\xc2\xb7%d",
        "2017\xc2\xb7"
        "02\xc2\xb7"
        "02",
        1485993600000},
    {"%Y-%m-%d", "2017-02-30", REFUSED},
    {"%Y-%m-%d", "-017-02-03", REFUSED},
    {"%Y-%m-%d", "2017- 2-03", REFUSED},
};

static void test_patterns(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(pattern_texts) / sizeof(pattern_texts[0]); i++)
        expect_once(MR_TIME_PATTERN, pattern_texts[i].pattern,
            pattern_texts[i].text, pattern_texts[i].ms);
}

static const struct {
    const char *pattern, *said; /* what the sentence must name */
} bad_patterns[] = {
    {"%H:%M", "%Y"},
    {"", "%Y"},
    {"%Y-%m", "%d"},
    {"%Y", "%m"},
    {"%Y-%d", "%m"},
    {"%m-%d", "%Y"},
    {"%Y-%m-%d %Q", "%Q"},
    {"%Y-%m-%d %", "single %"},
    {"%Y-%m-%d %Ey", "%E"},
    {"%Y-%m-%d %d", "%d"},
    {"%Y-%m-%d %e", "%e"},
    {"%F %Y", "%Y"},
    {"%F %y", "%y"},
    {"%F %b", "%b"},
    {"%F %j", "%j"},
    {"%F %a %A", "%A"},
    {"%F %T %H", "%H"},
    {"%F %I:%M", "%I"},
    {"%F %H:%M %p", "%p"},
    {"%F %p", "%p"},
    {"%F %M", "%M"},
    {"%F %H:%S", "%S"},
    {"%F %H:%M.%f", "%f"},
    {"%F %z %Z", "%Z"},
    {"%s %H", "%H"},
    {"%s %F", "%Y"},
    {"%s%s", "%s"},
    {"%s5", "%s"},
    {"%F %H:%M:%S.%f0", "%f"},
    {"%F %T%z0", "%z"},
    {"%Y-%m-%d %H:%M:%S                                           2", NULL},
    {"%Y-%m-%d %H:%M:%S %z ..........................................", NULL},
};

static void test_bad_patterns(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad_patterns) / sizeof(bad_patterns[0]); i++) {
        struct mr_timeform form = {.n_steps = 77};
        struct mr_error err = {0};
        enum mr_status status = mr_timeform_init(
            &form, MR_TIME_PATTERN, bad_patterns[i].pattern, NULL, &err);

        if (bad_patterns[i].said == NULL) {
            assert_int_equal(status,
                strlen(bad_patterns[i].pattern) > 64 ? MR_USAGE : MR_OK);
            continue;
        }
        if (status != MR_USAGE)
            fail_msg("'%s' was taken", bad_patterns[i].pattern);
        if (strstr(err.cause, bad_patterns[i].said) == NULL)
            fail_msg("'%s': %s", bad_patterns[i].pattern, err.cause);
        assert_int_equal(form.n_steps, 77);
    }
}

/* As long as can be, and each two bytes as many steps as can be. */
static void test_long_patterns(void **state)
{
    struct mr_timeform form;
    char pattern[100] = "%F%T";
    size_t i;

    (void)state;
    memset(pattern + 4, '.', 60);
    pattern[64] = '\0';
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_PATTERN, pattern, NULL, NULL), MR_OK);
    for (i = 0; i < 64; i++)
        pattern[i] = i % 2 ? 'T' : '%';
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_PATTERN, pattern, NULL, NULL),
        MR_USAGE);
    pattern[64] = '.';
    pattern[65] = '\0';
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_PATTERN, pattern, NULL, NULL),
        MR_USAGE);
}

/* A number where a string is usual. */
static void test_json_numbers(void **state)
{
    struct mr_zone *utc = load("UTC");
    struct mr_timeform form;

    (void)state;
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_ISO8601, "", utc, NULL), MR_OK);
    expect(&form, "20170202", true, REFUSED);
    expect(&form, "20170202", false, 1485993600000);
    assert_int_equal(
        mr_timeform_init(&form, MR_TIME_PATTERN, "%Y%m%d", utc, NULL), MR_OK);
    expect(&form, "20170202", true, 1485993600000);
    mr_zone_free(utc);
}

static void expect_text(const char *pattern, const struct mr_zone *zone,
    int64_t time_ms, const char *want)
{
    char text[MR_TIMEFORM_TEXT];

    assert_int_equal(mr_timeform_check(pattern, NULL), MR_OK);
    assert_int_equal(
        mr_timeform_format(pattern, zone, time_ms, text, sizeof(text)),
        strlen(want));
    assert_string_equal(text, want);
}

static void test_format(void **state)
{
    struct mr_zone *utc = load("UTC");
    struct mr_zone *madrid = load("Europe/Madrid");
    struct mr_zone *york = load("America/New_York");
    struct mr_zone *monrovia = load("Africa/Monrovia");
    const int64_t t = 1486066882123; /* 2017-02-02T20:21:22.123Z */

    (void)state;
    expect_text("", utc, t, "2017-02-02T20:21:22.123Z");
    expect_text("", utc, 0, "1970-01-01T00:00:00.000Z");
    expect_text("", utc, MR_TIME_END_MS - 1, "2199-12-31T23:59:59.999Z");
    expect_text("", madrid, t, "2017-02-02T21:21:22.123+01:00");
    expect_text("", madrid, 1719792000007, "2024-07-01T02:00:00.007+02:00");
    expect_text("", york, 0, "1969-12-31T19:00:00.000-05:00");
    expect_text("", monrovia, 0, "1969-12-31T23:15:30.000-00:44:30");
    expect_text("%z", monrovia, 0, "-004430");
    expect_text("%z", utc, 0, "+0000");
    expect_text("%a %j", york, 0, "Wed 365");
    expect_text(MR_TIMEFORM_HOUR, utc, t, "2017020220");
    expect_text(MR_TIMEFORM_DAY, utc, t, "2017-02-02");
    expect_text("%d/%m/%Y %H:%M:%S", madrid, t, "02/02/2017 21:21:22");
    expect_text("%A %a %B %b %e %y %D %R", utc, t,
        "Thursday Thu February Feb  2 17 02/02/17 20:21");
    expect_text(
        "%I %p|%j|%s.%f%%%n%t", utc, t, "08 PM|033|1486066882.123%\n\t");
    expect_text("%I%p", utc, 0, "12AM");
    expect_text("%I%p", utc, 43200000, "12PM");
    mr_zone_free(utc);
    mr_zone_free(madrid);
    mr_zone_free(york);
    mr_zone_free(monrovia);
}

static void test_format_room(void **state)
{
    struct mr_zone *utc = load("UTC");
    char text[30] = "x";
    struct mr_error err;
    size_t cap;

    (void)state;
    for (cap = 0; cap <= 25; cap++) {
        memset(text, '#', sizeof(text));
        assert_int_equal(
            mr_timeform_format("", utc, 0, text, cap), cap == 25 ? 24 : 0);
        assert_int_equal(text[cap], '#');
        if (cap > 0 && cap < 25)
            assert_int_equal(text[0], '\0');
    }
    assert_int_equal(mr_timeform_format("%Z", utc, 0, text, 30), 0);
    assert_int_equal(mr_timeform_format("a%", utc, 0, text, 30), 0);
    assert_int_equal(mr_timeform_check("%Z", &err), MR_USAGE);
    assert_non_null(strstr(err.cause, "%Z"));
    assert_int_equal(mr_timeform_check("%H%", &err), MR_USAGE);
    assert_int_equal(mr_timeform_check("%H:%M", &err), MR_OK);
    mr_zone_free(utc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_epoch_lengths),
        cmocka_unit_test(test_iso),
        cmocka_unit_test(test_iso_bytes),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_bad_patterns),
        cmocka_unit_test(test_long_patterns),
        cmocka_unit_test(test_json_numbers),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_room),
    };

    return cmocka_run_group_tests_name("timeform", tests, NULL, NULL);
}
