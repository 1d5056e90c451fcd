#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/csv.h"
#include "mr/kernels.h"
#include "tests/unit/random.h"

/*
 * The reader against a plain one that goes byte by byte and builds every
 * field, at every level; and against records as people write them down.
 */

static const struct mr_csv_rules rfc = {.delimiter = ',', .quote = '"'};

/* ---- the plain reader ---- */

#define MOST_FIELDS 400

struct text {
    uint8_t p[70000];
    size_t n;
};

struct plain {
    struct mr_span line;
    enum mr_verdict verdict;
    size_t n_fields;
    struct {
        size_t at, n; /* in bytes */
        bool quoted, marks;
    } field[MOST_FIELDS];
    struct text bytes;
};

/* How many bytes the character at p has, by the table of RFC 3629. */
static size_t character(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t low[4], high[4];
        size_t n;
    } row[] = {
        {{0x01}, {0x7F}, 1},
        {{0xC2, 0x80}, {0xDF, 0xBF}, 2},
        {{0xE0, 0xA0, 0x80}, {0xE0, 0xBF, 0xBF}, 3},
        {{0xE1, 0x80, 0x80}, {0xEC, 0xBF, 0xBF}, 3},
        {{0xED, 0x80, 0x80}, {0xED, 0x9F, 0xBF}, 3},
        {{0xEE, 0x80, 0x80}, {0xEF, 0xBF, 0xBF}, 3},
        {{0xF0, 0x90, 0x80, 0x80}, {0xF0, 0xBF, 0xBF, 0xBF}, 4},
        {{0xF1, 0x80, 0x80, 0x80}, {0xF3, 0xBF, 0xBF, 0xBF}, 4},
        {{0xF4, 0x80, 0x80, 0x80}, {0xF4, 0x8F, 0xBF, 0xBF}, 4},
    };

    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        size_t i = 0;

        while (i < row[r].n && i < n && p[i] >= row[r].low[i] &&
               p[i] <= row[r].high[i])
            i++;
        if (i == row[r].n)
            return i;
    }
    return 0;
}

static bool is_text(struct mr_span s)
{
    size_t n;

    for (; s.n > 0; s.p += n, s.n -= n)
        if ((n = character(s.p, s.n)) == 0)
            return false;
    return true;
}

/* A line's end begins here: LF, CRLF, at the text's end nothing or CR. */
static size_t line_end(struct mr_span s, size_t at)
{
    if (at == s.n)
        return 1;
    if (s.p[at] == '\r' && at + 1 == s.n)
        return 2;
    if (s.p[at] == '\r' && s.p[at + 1] == '\n')
        return 2;
    return s.p[at] == '\n';
}

/* Read one field from *at on; false if it is none. */
static bool plain_field(const struct mr_csv_rules *rules, struct mr_span s,
    size_t *at, struct plain *out)
{
    size_t i = *at, k = out->n_fields;
    bool good = true, quoted = false, open = false;

    assert_true(k < MOST_FIELDS);
    while (rules->skip_spaces && i < s.n && s.p[i] == ' ' &&
           rules->delimiter != ' ')
        i++;
    out->field[k].at = out->bytes.n;
    out->field[k].marks = false;
    if (rules->quote && i < s.n && s.p[i] == (uint8_t)rules->quote) {
        quoted = open = true;
        for (i++; i < s.n; i++) {
            if (rules->backslash && s.p[i] == '\\' && i + 1 < s.n) {
                out->field[k].marks = true;
                i++;
            } else if (s.p[i] == (uint8_t)rules->quote) {
                if (rules->backslash || i + 1 == s.n || s.p[i + 1] != s.p[i]) {
                    i++;
                    open = false;
                    break;
                }
                out->field[k].marks = true;
                i++;
            }
            out->bytes.p[out->bytes.n++] = s.p[i];
        }
        good = !open &&
               (line_end(s, i) != 0 || s.p[i] == (uint8_t)rules->delimiter);
    }
    while (!open && line_end(s, i) == 0 && s.p[i] != (uint8_t)rules->delimiter)
        out->bytes.p[out->bytes.n++] = s.p[i++];
    out->field[k].n = out->bytes.n - out->field[k].at;
    out->field[k].quoted = quoted;
    out->n_fields++;
    *at = i;
    return good;
}

/* Read the record at *at. */
static void plain_record(const struct mr_csv_rules *rules, uint64_t most,
    struct mr_span s, size_t *at, struct plain *out)
{
    size_t start = *at, i = start, end;
    bool good = true, more = true;

    out->n_fields = out->bytes.n = 0;
    while (more) {
        good = plain_field(rules, s, &i, out) && good;
        more = line_end(s, i) == 0; /* at a delimiter */
        i += more;
    }
    end = i;
    i += line_end(s, i);
    *at = i < s.n ? i : s.n;
    /* In a quote that is not closed a last CR is told apart by nobody. */
    if (end == s.n && end > start && s.p[end - 1] == '\r')
        end--;
    out->line = (struct mr_span){s.p + start, end - start};
    out->verdict = MR_LINE_VALUE;
    if (out->line.n > most)
        out->verdict = MR_LINE_TOO_LONG;
    else if (!good || !is_text(out->line))
        out->verdict = MR_LINE_INVALID;
    else if (out->line.n == 0)
        out->verdict = MR_LINE_BLANK;
}

/* ---- comparing ---- */

static bool is_word(
    const struct mr_csv_rules *rules, const uint8_t *p, size_t n)
{
    for (unsigned i = 0; i < rules->n_nulls; i++)
        if (n == strlen(rules->null[i]) && !memcmp(p, rules->null[i], n))
            return true;
    return false;
}

static void check_value(const struct mr_csv_rules *rules,
    const struct plain *want, size_t k, const struct mr_value *value)
{
    static uint8_t out[70000];
    const uint8_t *p;
    size_t n;

    if (k >= want->n_fields) {
        assert_int_equal(value->kind, MR_KIND_NONE);
        return;
    }
    p = want->bytes.p + want->field[k].at;
    n = want->field[k].n;
    if (!want->field[k].quoted && is_word(rules, p, n))
        assert_int_equal(value->kind, MR_KIND_NULL);
    else
        assert_int_equal(value->kind, MR_KIND_STRING);
    assert_int_equal(value->escaped, want->field[k].marks);
    if (value->escaped) {
        assert_int_equal(
            mr_csv_unescape(rules, value->text, out, sizeof out), n);
        assert_memory_equal(out, p, n);
    } else {
        assert_int_equal(value->text.n, n);
        if (n > 0)
            assert_memory_equal(value->text.p, p, n);
    }
}

/* All records of a text, which is copied so that tools see overruns. */
static void compare(const struct mr_csv_plan *plan, const void *text, size_t n)
{
    static struct plain want;
    static struct mr_record got;
    uint8_t *copy = malloc(n > 0 ? n : 1);
    struct mr_span s = {copy, n};
    struct mr_csv_reader *reader;

    assert_non_null(copy);
    if (n > 0)
        memcpy(copy, text, n);
    for (int level = 0; level < MR_KERNEL_LEVELS; level++) {
        size_t at = 0;

        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        assert_int_equal(mr_csv_reader_new(&reader, NULL), MR_OK);
        /* Twice: nothing is left from the first time. */
        for (int time = 0; time < 2; time++) {
            mr_csv_reader_set(reader, plan, s);
            for (at = 0; at < n;) {
                plain_record(&plan->rules, plan->max_line_bytes, s, &at, &want);
                mr_csv_next(reader, &got);
                assert_int_equal(got.verdict, want.verdict);
                assert_ptr_equal(got.line.p, want.line.p);
                assert_int_equal(got.line.n, want.line.n);
                for (size_t i = 0;
                     got.verdict == MR_LINE_VALUE && i < plan->n_wanted; i++)
                    check_value(&plan->rules, &want,
                        (size_t)plan->column[i] - 1, &got.value[i]);
            }
            mr_csv_next(reader, &got);
            assert_int_equal(got.verdict, MR_LINE_END);
        }
        mr_csv_reader_free(reader);
    }
    free(copy);
}

static struct mr_csv_plan plan_of(const struct mr_csv_rules *rules)
{
    static const char *const columns[] = {"1", "2", "3", "5", "2", "", "40"};
    struct mr_csv_plan plan;

    assert_int_equal(
        mr_csv_plan_init(&plan, rules, columns, 7, 1 << 20, NULL), MR_OK);
    return plan;
}

/* ---- rules ---- */

/* Read a text and write down what was found: | between fields, ~ for none,
 * 0 for null, each record with its verdict and in a line. */
static void describe(
    const struct mr_csv_plan *plan, const char *text, char *out)
{
    struct mr_span s = {(const uint8_t *)text, strlen(text)};
    struct mr_csv_reader *reader;
    struct mr_record record;
    uint8_t plain[200];

    *out = '\0';
    assert_int_equal(mr_csv_reader_new(&reader, NULL), MR_OK);
    mr_csv_reader_set(reader, plan, s);
    for (;;) {
        mr_csv_next(reader, &record);
        if (record.verdict == MR_LINE_END)
            break;
        out += sprintf(out, "%s",
            record.verdict == MR_LINE_VALUE     ? ""
            : record.verdict == MR_LINE_BLANK   ? "blank"
            : record.verdict == MR_LINE_INVALID ? "bad"
                                                : "long");
        for (size_t i = 0;
             record.verdict == MR_LINE_VALUE && i < plan->n_wanted; i++) {
            struct mr_value v = record.value[i];

            if (v.escaped) {
                v.text.n =
                    mr_csv_unescape(&plan->rules, v.text, plain, sizeof plain);
                v.text.p = plain;
            }
            out += sprintf(out, "%s%s", i > 0 ? "|" : "",
                v.kind == MR_KIND_NONE   ? "~"
                : v.kind == MR_KIND_NULL ? "0"
                                         : "");
            if (v.kind == MR_KIND_STRING)
                out +=
                    sprintf(out, "%.*s", (int)v.text.n, (const char *)v.text.p);
        }
        out += sprintf(out, "\n");
    }
    mr_csv_reader_free(reader);
}

static void expect(
    const struct mr_csv_rules *rules, const char *text, const char *want)
{
    static const char *const columns[] = {"1", "2", "3"};
    struct mr_csv_plan plan;
    char got[1000];

    assert_int_equal(
        mr_csv_plan_init(&plan, rules, columns, 3, 30, NULL), MR_OK);
    for (int level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        describe(&plan, text, got);
        assert_string_equal(got, want);
    }
}

static void fields_and_records(void **state)
{
    (void)state;
    expect(&rfc, "", "");
    expect(&rfc, "a,b,c\n1,2,3\n", "a|b|c\n1|2|3\n");
    expect(&rfc, "a,b,c\r\n1,2,3", "a|b|c\n1|2|3\n"); /* no last end */
    expect(&rfc, "a,b,c\r\n1,2,3\r", "a|b|c\n1|2|3\n");
    expect(&rfc, "a,b,\"c\"\r", "a|b|c\n");
    expect(&rfc, "a\rb,\rc,d\r\n", "a\rb|\rc|d\n"); /* a lone CR is data */
    expect(&rfc, ",,\n,\n", "||\n||~\n");
    expect(&rfc, "a\n1,2,3,4,5\n", "a|~|~\n1|2|3\n"); /* ragged */
    expect(&rfc, "\n\r\na,b,c\n\n", "blank\nblank\na|b|c\nblank\n");
    expect(&rfc, "\r", "blank\n");
    expect(&rfc, " a , b ,c \n", " a | b |c \n");
    expect(&rfc, "12345678901234567890,12345678,\nx\n",
        "12345678901234567890|12345678|\nx|~|~\n");
    expect(&rfc, "12345678901234567890,12345678,x\nx\n", "long\nx|~|~\n");
    /* The end does not count. */
    expect(&rfc, "12345678901234567890,12345678,\r\n",
        "12345678901234567890|12345678|\n");
}

static void quotes(void **state)
{
    (void)state;
    expect(&rfc, "\"a\",\"b,c\",\"\"\n", "a|b,c|\n");
    expect(&rfc, "\"a\nb\",\"\r\n\",c\nd\n", "a\nb|\r\n|c\nd|~|~\n");
    expect(&rfc, "\"a\"\"b\",\"\"\"\",\"\"\"\"\"\"\n", "a\"b|\"|\"\"\n");
    expect(&rfc, "1,\"2\"\r\n\"3\",4\r\n", "1|2|~\n3|4|~\n");
    /* Within an unquoted field a quote is data. */
    expect(&rfc, "5\" pipe,6\"\"\n\"7\",8\"9\"\n",
        "5\" pipe|6\"\"|~\n7|8\"9\"|~\n");
    expect(&rfc, "a\"b\nc\"d,e\n", "a\"b|~|~\nc\"d|e|~\n");
    expect(&rfc, " \"a\",b\n", " \"a\"|b|~\n");
    /* Text behind a closing quote; the record after it is found. */
    expect(&rfc, "\"a\"b,c\nd,e\n", "bad\nd|e|~\n");
    expect(&rfc, "\"a\" ,c\nd,e\n", "bad\nd|e|~\n");
    expect(&rfc, "\"a\"b\"\nd,\"e\"\n", "bad\nd|e|~\n");
    expect(&rfc, "\"a\"\rb\nd,\"e\"\n", "bad\nd|e|~\n");
    expect(&rfc, "\"a\"\r\r\nd\n", "bad\nd|~|~\n");
    expect(&rfc, "\"a\"\r,b\nd\n", "bad\nd|~|~\n");
    /* A quote that is not closed takes the next line, up to its quote. */
    expect(&rfc, "\"a,b\n\"c\",d\ne,f\n", "bad\ne|f|~\n");
    expect(&rfc, "a\n\"b\nc,d\n", "a|~|~\nbad\n");
    expect(&rfc, "a\n\"", "a|~|~\nbad\n");
    /* Backslashes are data. */
    expect(&rfc, "\"a\\\",b\n\\\"c\n", "a\\|b|~\n\\\"c|~|~\n");
}

static void other_rules(void **state)
{
    struct mr_csv_rules rules = {.delimiter = ';', .quote = '\''};

    (void)state;
    expect(&rules, "'a;''b';\"c;d\n", "a;'b|\"c|d\n");
    rules.delimiter = '\t';
    expect(&rules, "a,b\t'c\td'\n", "a,b|c\td|~\n");
    rules.quote = 0;
    expect(&rules, "'a\t\"b\tc\"\n\"\n", "'a|\"b|c\"\n\"|~|~\n");
    rules = rfc;
    rules.backslash = true;
    expect(&rules, "\"a\\\"b\",\"\\\\\",\"\\n\"\n", "a\"b|\\|n\n");
    expect(&rules, "\"a\"\"b\",c\nd\n", "bad\nd|~|~\n");
    expect(&rules, "\\\"a\",b\\,c\n", "\\\"a\"|b\\|c\n");
    expect(&rules, "\"a\\\nb\",c\n", "a\nb|c|~\n");
    expect(&rules, "\"a\\\",b\nc\\", "bad\n");
    rules = rfc;
    rules.skip_spaces = true;
    expect(&rules, "  a , \"b\",   \n \"c\"\n", "a |b|\nc|~|~\n");
    expect(&rules, "a , \"b,\n\"\n", "a |b,\n|~\n");
    expect(&rules, "  \nx\n", "|~|~\nx|~|~\n");
    rules.delimiter = ' ';
    expect(&rules, "a  \"b\"\n", "a||b\n");
    rules = rfc;
    rules.n_nulls = 2;
    strcpy(rules.null[0], "NULL");
    strcpy(rules.null[1], "\\N");
    expect(&rules, "NULL,\\N,\"NULL\"\nnull,NULLS, NULL\n",
        "0|0|NULL\nnull|NULLS| NULL\n");
    expect(&rules, "a,b,NULL\r\nNULL", "a|b|0\n0|~|~\n");
    rules.null[1][0] = '\0';
    expect(&rules, "a,,\"\"\n", "a|0|\n");
}

static void what_is_no_text(void **state)
{
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xc3", "\xe2\x82",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xe0\x80\x80"};
    char text[300];

    (void)state;
    expect(&rfc, "\xc3\xa4,\xe2\x82\xac,\xf0\x9f\x98\x80\n",
        "\xc3\xa4|\xe2\x82\xac|\xf0\x9f\x98\x80\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sprintf(text, "a\n%s\nb\n", bad[i]);
        expect(&rfc, text, "a|~|~\nbad\nb|~|~\n");
        sprintf(text, "a\nb,\"%s", bad[i]);
        expect(&rfc, text, "a|~|~\nbad\n");
        sprintf(text, "a\nb,%s", bad[i]);
        expect(&rfc, text, "a|~|~\nbad\n");
    }
    /* A character that goes on behind the line's end. */
    expect(&rfc, "\xe2\x82\n\xac\na\n", "bad\nbad\na|~|~\n");
    expect(&rfc, "\xf0\n\x9f\x98\na\n", "bad\nbad\na|~|~\n");
    for (size_t at = 60; at < 68; at++) {
        struct mr_csv_plan plan = plan_of(&rfc);

        memset(text, 'x', sizeof text);
        memcpy(text + at, "\xe2\xe2\n\xac\n", 5);
        compare(&plan, text, sizeof text);
    }
    for (size_t at = 0; at < 200; at++) {
        struct mr_csv_plan plan = plan_of(&rfc);

        memset(text, 'x', sizeof text);
        for (size_t i = 20; i < sizeof text; i += 20)
            text[i] = i % 60 == 0 ? '\n' : ',';
        text[at] = '\0';
        compare(&plan, text, sizeof text);
        text[at] = (char)0xE4;
        compare(&plan, text, sizeof text);
    }
}

static void plans(void **state)
{
    static const char *const wrong[] = {
        "0", "01", "x", "1x", "-1", " 1", "65536", "99999999999999999999"};
    static const char *many[MR_FIELDS_MAX + 1];
    struct mr_csv_plan plan;
    struct mr_error err;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(
            mr_csv_plan_init(&plan, &rfc, wrong + i, 1, 1, &err), MR_USAGE);
    for (size_t i = 0; i <= MR_FIELDS_MAX; i++)
        many[i] = "65535";
    assert_int_equal(
        mr_csv_plan_init(&plan, &rfc, many, MR_FIELDS_MAX, 1, NULL), MR_OK);
    assert_int_equal(plan.column[MR_FIELDS_MAX - 1], 65535);
    assert_int_equal(
        mr_csv_plan_init(&plan, &rfc, many, MR_FIELDS_MAX + 1, 1, &err),
        MR_USAGE);
}

/* Wide records, longer than a chunk, with the last column there is. */
static void wide_records(void **state)
{
    static const char *const columns[] = {"65535", "1", "9000", "8999"};
    static char text[400000];
    struct mr_csv_plan plan;
    struct mr_csv_reader *reader;
    struct mr_record record;
    size_t n = 0;

    (void)state;
    for (int k = 1; k <= 65535; k++)
        n += (size_t)sprintf(text + n, "%s%d", k > 1 ? "," : "a", k % 1000);
    n += (size_t)sprintf(text + n, ",more\nb1,2\n");
    assert_int_equal(
        mr_csv_plan_init(&plan, &rfc, columns, 4, 1 << 20, NULL), MR_OK);
    assert_int_equal(mr_csv_reader_new(&reader, NULL), MR_OK);
    mr_csv_reader_set(reader, &plan, (struct mr_span){(uint8_t *)text, n});
    mr_csv_next(reader, &record);
    assert_int_equal(record.verdict, MR_LINE_VALUE);
    assert_int_equal(record.value[0].text.n, 3);
    assert_memory_equal(record.value[0].text.p, "535", 3);
    assert_memory_equal(record.value[1].text.p, "a1,", 3);
    assert_int_equal(record.value[2].text.n, 1);
    assert_memory_equal(record.value[3].text.p, "999,0", 5);
    mr_csv_next(reader, &record);
    assert_int_equal(record.verdict, MR_LINE_VALUE);
    assert_int_equal(record.value[0].kind, MR_KIND_NONE);
    assert_memory_equal(record.value[1].text.p, "b1,2", 4);
    mr_csv_next(reader, &record);
    assert_int_equal(record.verdict, MR_LINE_END);
    mr_csv_reader_free(reader);
}

static void unescaping_stops_at_characters(void **state)
{
    const struct mr_span text = {(const uint8_t *)"a\"\"\xe2\x82\xac\"\"b", 9};
    const char want[] = "a\"\xe2\x82\xac\"b";
    uint8_t out[8];

    (void)state;
    for (size_t cap = 0; cap < sizeof out; cap++) {
        size_t fits = cap < 7 ? cap : 7;

        memset(out, '#', sizeof out);
        assert_int_equal(mr_csv_unescape(&rfc, text, out, cap), 7);
        if (fits == 3 || fits == 4)
            fits = 2;
        assert_memory_equal(out, want, fits);
        assert_int_equal(out[fits], '#');
    }
}

/* ---- headers ---- */

static enum mr_status header(const struct mr_csv_rules *rules, const char *text,
    const char *const *columns, size_t n, struct mr_csv_header *found,
    struct mr_csv_plan *plan, struct mr_error *err)
{
    struct mr_csv_reader *reader;
    enum mr_status status;

    assert_int_equal(mr_csv_reader_new(&reader, NULL), MR_OK);
    status = mr_csv_header(reader, rules, columns, n, 1000,
        (struct mr_span){(const uint8_t *)text, strlen(text)}, found, plan,
        err);
    mr_csv_reader_free(reader);
    return status;
}

static void headers(void **state)
{
    static const char *const columns[] = {"b \"x\"", "a", "", "3", "a", "4"};
    struct mr_csv_header found;
    struct mr_csv_plan plan;
    struct mr_error err;

    (void)state;
    assert_int_equal(header(&rfc, "\n\r\na,\"b \"\"x\"\"\",c,3,a\r\n1,2,3\n",
                         columns, 6, &found, &plan, &err),
        MR_OK);
    assert_true(found.found);
    assert_int_equal(found.blank, 2);
    assert_int_equal(found.bytes, 3 + 19);
    assert_int_equal(plan.n_wanted, 6);
    assert_int_equal(plan.column[0], 2);
    assert_int_equal(plan.column[1], 1); /* the first of two */
    assert_int_equal(plan.column[2], 0);
    assert_int_equal(plan.column[3], 4); /* a name before a number */
    assert_int_equal(plan.column[4], 1);
    assert_int_equal(plan.column[5], 4); /* a number */
    assert_int_equal(plan.last, 4);
    assert_int_equal(plan.max_line_bytes, 1000);
    /* No end, nothing behind it. */
    assert_int_equal(
        header(&rfc, "x,a", columns + 1, 1, &found, &plan, &err), MR_OK);
    assert_int_equal(found.bytes, 3);
    assert_int_equal(plan.column[0], 2);
    /* Empty lines alone. */
    assert_int_equal(
        header(&rfc, "\n\n", columns, 1, &found, &plan, &err), MR_OK);
    assert_false(found.found);
    assert_int_equal(found.bytes, 2);
    assert_int_equal(found.blank, 2);
}

static void headers_that_will_not_do(void **state)
{
    static const char *const columns[] = {"user_id", "9"};
    static char text[2000];
    struct mr_csv_header found;
    struct mr_csv_plan plan;
    struct mr_error err;

    (void)state;
    assert_int_equal(
        header(&rfc, "a,User_id\n1,2\n", columns, 1, &found, &plan, &err),
        MR_FORMAT);
    assert_non_null(strstr(err.cause, "'user_id'"));
    assert_int_equal(
        header(&rfc, "a,user_id\n1,2\n", columns, 2, &found, &plan, &err),
        MR_FORMAT);
    assert_non_null(strstr(err.cause, "'9'"));
    assert_int_equal(
        header(&rfc, "\"user_id\"x\n", columns, 1, &found, &plan, &err),
        MR_FORMAT);
    assert_int_equal(
        header(&rfc, "user_id,\"x\n", columns, 1, &found, &plan, &err),
        MR_FORMAT);
    assert_int_equal(
        header(&rfc, "user_id,\xff\n", columns, 1, &found, &plan, &err),
        MR_FORMAT);
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "user_id,", 8);
    assert_int_equal(
        header(&rfc, text, columns, 1, &found, &plan, &err), MR_FORMAT);
}

/* ---- at random ---- */

static struct mr_csv_rules any_rules(void)
{
    struct mr_csv_rules rules = {.delimiter = ",;\t |"[any(5)],
        .quote = "\"\"'\0"[any(4)],
        .backslash = any(3) == 0,
        .skip_spaces = any(3) == 0};

    if (any(4) == 0) {
        rules.n_nulls = 2;
        strcpy(rules.null[0], "null");
        strcpy(rules.null[1], any(2) ? "" : "a");
    }
    return rules;
}

static void add(struct text *t, const char *s)
{
    memcpy(t->p + t->n, s, strlen(s));
    t->n += strlen(s);
}

/* Fields that are mostly as they should be, or marks in any order. */
static void any_text(
    const struct mr_csv_rules *rules, struct text *t, size_t most)
{
    static const char *const some[] = {"a", "null", " ", "\r", "\n", "\r\n",
        "\"", "'", "\\", ",", ";", "\xc3\xa4", "\xe2\x82\xac",
        "text of a field", "\"\"", "\t", "|", "\xe4", "\\\"", "",
        "https://example.com/some/path/of/usual/length?x=1&y=2",
        "1549650668000"};
    const char quote[2] = {rules->quote, '\0'};
    const char delimiter[2] = {rules->delimiter, '\0'};
    size_t chaos = any(3) == 0 ? 2 : any(2) == 0 ? 40 : 1000000;
    size_t fault = any(2) ? 1000000 : 60;

    for (t->n = 0; t->n < most;) {
        bool quoted = rules->quote != 0 && any(2);
        size_t n = any(4);

        if (any(chaos) == 0) {
            add(t, some[any(22)]);
            continue;
        }
        if (quoted)
            add(t, quote);
        for (; n > 0; n--) {
            size_t k = quoted ? any(22) : any(22) * (any(4) == 0);
            const char *s = some[k];

            if (any(fault) != 0 &&
                (k == 6 || k == 7 || k == 8 || k == 14 || k == 17 || k == 18))
                s = quoted && !rules->backslash ? quote : "b";
            add(t, s);
            if (quoted && s == quote)
                add(t, quote);
        }
        if (quoted && any(fault) != 0)
            add(t, quote);
        add(t, any(5) ? delimiter : any(3) ? "\n" : "\r\n");
        if (rules->skip_spaces && any(3) == 0)
            add(t, "   ");
    }
    if (any(100) == 0 && t->n > 0)
        t->p[any(t->n)] = (uint8_t)any(256);
}

static void texts_at_random(void **state)
{
    static struct text t;

    (void)state;
    for (unsigned round = 0; round < rounds(20000); round++) {
        struct mr_csv_rules rules = any_rules();
        struct mr_csv_plan plan = plan_of(&rules);

        any_text(&rules, &t, any(any(50) == 0 ? 3000 : 300));
        if (any(4) == 0)
            plan.max_line_bytes = any(100);
        compare(&plan, t.p, t.n);
    }
}

/* A stretch of every kind at every place of the words and chunks. */
static void borders(void **state)
{
    static const char *const stretch[] = {"\"a\"\"b\"", ",\"x\r\ny\",",
        "\"q\"\r\n", "a\"b,\"c\"", ",  \"s\"", "\"a\\\"b\\\\\"", "\xe2\x82\xac",
        "\"a\"\rb\n", "\"a\"x,\"b\n", "\"\"\"\"", "\",\"", "\xe2\x82"};
    static struct text t;

    (void)state;
    for (unsigned form = 0; form < 4; form++) {
        struct mr_csv_rules rules = rfc;
        struct mr_csv_plan plan;

        rules.backslash = form & 1;
        rules.skip_spaces = form >> 1;
        plan = plan_of(&rules);
        for (size_t k = 0; k < sizeof stretch / sizeof *stretch; k++) {
            for (size_t at = 0; at < 140; at++) {
                /* Around the end of a word, of a chunk, of the text. */
                size_t before = at < 70 ? at : MR_CSV_SCAN_BYTES - 140 + at;

                t.n = 0;
                for (; t.n < before; t.n++)
                    t.p[t.n] = t.n % 90 == 89 ? '\n' : t.n % 9 ? 'x' : ',';
                if (t.n > 0)
                    t.p[t.n - 1] = ',';
                add(&t, stretch[k]);
                compare(&plan, t.p, t.n);
                add(&t, ",z\n1,2,\"3\"\n");
                compare(&plan, t.p, t.n);
            }
        }
    }
}

/* Records that are longer than one chunk, or two. */
static void long_records(void **state)
{
    static struct text t;

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct mr_csv_rules rules = any_rules();
        struct mr_csv_plan plan;
        static struct text part;

        rules.quote = '"';
        plan = plan_of(&rules);
        any_text(&rules, &t, 300);
        add(&t, "\n\"");
        memset(t.p + t.n, round % 3 ? 'x' : '\n', 20000);
        t.n += 10000 + any(10000);
        if (round % 2)
            t.p[t.n - 9000] = 0xFF;
        add(&t, "\",b\n");
        any_text(&rules, &part, 300);
        memcpy(t.p + t.n, part.p, part.n);
        t.n += part.n;
        compare(&plan, t.p, t.n);
    }
}

/* ---- csv-spectrum ---- */

static size_t load(const char *name, char *out, size_t cap)
{
    const char *shared = getenv("MR_SHARED_DATA");
    const char *srcdir = getenv("srcdir");
    char path[PATH_MAX];
    size_t n;
    FILE *f;

    if (shared)
        snprintf(path, sizeof path, "%s/csv-spectrum/%s", shared, name);
    else
        snprintf(path, sizeof path, "%s/../shared/data/csv-spectrum/%s",
            srcdir ? srcdir : ".", name);
    f = fopen(path, "rb");
    if (f == NULL)
        return 0;
    n = fread(out, 1, cap - 1, f);
    fclose(f);
    out[n] = '\0';
    return n;
}

/* The next string of flat JSON, without its escapes; false at the end. */
static bool next_string(const char **at, char *out)
{
    const char *p = strchr(*at, '"');

    if (p == NULL)
        return false;
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++, *out++ = (char)(*p == 'n' ? '\n' : *p == 'r' ? '\r' : *p);
        else
            *out++ = *p;
    }
    *out = '\0';
    *at = p + 1;
    return true;
}

/* Where files of CRLF have lost their CR on the way. */
static size_t restore_crlf(char *text, size_t n)
{
    char copy[2000];
    size_t m = 0;

    if (strchr(text, '\r') != NULL)
        return n;
    memcpy(copy, text, n);
    for (size_t i = 0; i < n; i++) {
        if (copy[i] == '\n')
            text[m++] = '\r';
        text[m++] = copy[i];
    }
    text[m] = '\0';
    return m;
}

/* Each field is found by its name, and its text is the twin's. */
static void compare_twin(const char *csv, size_t n, const char *json)
{
    struct mr_csv_reader *reader;
    struct mr_csv_header found;
    struct mr_csv_plan plan;
    struct mr_record record;
    char name[100], want[300];
    const char *column = name;
    size_t n_compared = 0;

    assert_int_equal(mr_csv_reader_new(&reader, NULL), MR_OK);
    record.verdict = MR_LINE_END;
    for (const char *at = json; next_string(&at, name); n_compared++) {
        uint8_t plain[300];
        struct mr_value v;
        size_t record_number = 0;

        assert_true(next_string(&at, want));
        for (const char *p = json; p < at; p++)
            record_number += *p == '{' && p[-1] != '"'; /* no text's */
        assert_int_equal(
            mr_csv_header(reader, &rfc, &column, 1, 1000,
                (struct mr_span){(const uint8_t *)csv, n}, &found, &plan, NULL),
            MR_OK);
        mr_csv_reader_set(reader, &plan,
            (struct mr_span){
                (const uint8_t *)csv + found.bytes, n - found.bytes});
        while (record_number-- > 0)
            mr_csv_next(reader, &record);
        assert_int_equal(record.verdict, MR_LINE_VALUE);
        v = record.value[0];
        if (v.escaped) {
            v.text.n = mr_csv_unescape(&rfc, v.text, plain, sizeof plain);
            v.text.p = plain;
        }
        assert_int_equal(v.text.n, strlen(want));
        assert_memory_equal(v.text.p, want, v.text.n);
    }
    assert_true(n_compared > 0);
    mr_csv_next(reader, &record); /* the last field is of the last record */
    assert_int_equal(record.verdict, MR_LINE_END);
    mr_csv_reader_free(reader);
}

static void csv_spectrum(void **state)
{
    static const char *const names[] = {"comma_in_quotes", "empty",
        "empty_crlf", "escaped_quotes", "json", "newlines", "newlines_crlf",
        "quotes_and_newlines", "simple", "simple_crlf", "utf8"};
    char path[100], csv[2000], json[2000];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n;

        snprintf(path, sizeof path, "csvs/%s.csv", names[i]);
        n = load(path, csv, sizeof csv);
        if (n == 0) {
            print_message("no ../shared/data/csv-spectrum\n");
            skip();
        }
        if (strstr(names[i], "crlf") != NULL)
            n = restore_crlf(csv, n);
        snprintf(path, sizeof path, "json/%s.json", names[i]);
        assert_true(load(path, json, sizeof json) > 0);
        compare_twin(csv, n, json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_records),
        cmocka_unit_test(quotes),
        cmocka_unit_test(other_rules),
        cmocka_unit_test(what_is_no_text),
        cmocka_unit_test(plans),
        cmocka_unit_test(wide_records),
        cmocka_unit_test(unescaping_stops_at_characters),
        cmocka_unit_test(headers),
        cmocka_unit_test(headers_that_will_not_do),
        cmocka_unit_test(texts_at_random),
        cmocka_unit_test(borders),
        cmocka_unit_test(long_records),
        cmocka_unit_test(csv_spectrum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
