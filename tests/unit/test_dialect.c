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

#include "mr/dialect.h"
#include "mr/text.h"
#include "tests/unit/random.h"

static struct mr_dialect_record record;

/* Memory of just that size, so that tools see any overrun. */
static struct mr_span exactly(struct mr_span text)
{
    uint8_t *copy = malloc(text.n > 0 ? text.n : 1);

    assert_non_null(copy);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    return (struct mr_span){copy, text.n};
}

/* Delimiter, quote or '0', escape ('\\' or '2'), spaces ('s' or '-'). */
struct sample {
    const char *dialect, *text;
};

static void dialects_are_told(void **state)
{
    static const struct sample samples[] = {
        {",\"2-", "a,b\n1,2\n"},
        {",\"2-", "\"a\",b\r\n\"1, x\",2"},
        {";\"2-", "a;b,b;c\n1;2,0;3\n4;5,5;6\n"},
        {"\t02-", "a\tb\n1, 2\t3, 4\n"},
        {"|\"2-", "a|b|c\n1|2|\n||\n"},
        {",'2s", "'1', 'a, b', 'c'\n'2', 'd', 'it''s'"},
        {",'2-", "'1','a, b','c'\n'2','d',''\n"},
        {",\"\\-", "\"a\\\"b\",2\n\"c, \\\"d\\\" e\",3\n"},
        {",\"2-", "\"a\"\"b\",2\n\"c\"\"\",3\n"},
        /* A line feed in quotes; commas in all of a column's quotes. */
        {",\"2-", "\"a,\nb\",2\n\"c,d\",3\n"},
        /* An apostrophe is no quote. */
        {",\"2-", "'tis,1\n'twas,2\n"},
        /* An inch is none, either. */
        {",02-", "\"3\" pipe,1\n\"4\" pipe,2\n"},
        {"0", ""},
        {"0", "one\ntwo\n"},
        {"0", "one,two\nthree\nfour,five,six\nseven\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        struct mr_span text = exactly(mr_text_span(samples[i].text));
        struct mr_csv_rules rules = {.delimiter = 0};
        char got[5] = "0";

        if (mr_dialect_tell(text, &record, &rules))
            snprintf(got, sizeof(got), "%c%c%c%c", rules.delimiter,
                rules.quote == 0 ? '0' : rules.quote,
                rules.backslash ? '\\' : '2', rules.skip_spaces ? 's' : '-');
        if (strcmp(got, samples[i].dialect) != 0)
            fail_msg("'%s' for %s", got, samples[i].text);
        free((void *)(uintptr_t)text.p);
    }
}

static void assert_field(size_t i, const char *want, bool quoted)
{
    const struct mr_dialect_field *f = &record.field[i];

    assert_true(i < record.n);
    assert_int_equal(f->text.n, strlen(want));
    assert_memory_equal(f->text.p, want, f->text.n);
    assert_int_equal(f->quoted, quoted);
}

static void records_are_parted(void **state)
{
    const struct mr_csv_rules rules = {
        .delimiter = ',', .quote = '\'', .skip_spaces = true};
    struct mr_span rest =
        mr_text_span("\n\r\n'a', b ,'c''d' \r\n,'\n,'\n''\n'open, ");

    (void)state;
    /* Empty lines are passed over, those of a carriage return, too. */
    assert_true(mr_dialect_next(&rules, &rest, &record));
    assert_int_equal(record.n, 3);
    assert_field(0, "a", true);
    assert_field(1, "b ", false);
    assert_field(2, "c''d", true);
    assert_true(record.field[2].escaped && record.field[2].spoiled);
    assert_true(mr_dialect_next(&rules, &rest, &record));
    assert_int_equal(record.n, 2);
    assert_field(0, "", false);
    assert_field(1, "\n,", true);
    assert_true(mr_dialect_next(&rules, &rest, &record));
    assert_int_equal(record.n, 1);
    assert_field(0, "", true);
    assert_true(mr_dialect_next(&rules, &rest, &record));
    assert_field(0, "open, ", true);
    assert_false(mr_dialect_next(&rules, &rest, &record));
}

/* Any text is gone through to its end, and nothing beyond it is read. */
static void any_text_is_gone_through(void **state)
{
    static const char bytes[] = "a1,;\t|'\"\\ \r\n\n,'\"";

    (void)state;
    for (unsigned round = 0; round < rounds(20000); round++) {
        uint8_t text[24];
        struct mr_span copy, rest;
        struct mr_csv_rules rules;
        size_t n;

        for (n = 0; n < sizeof(text); n++) {
            if (any(25) == 0)
                break;
            text[n] = (uint8_t)bytes[any(sizeof(bytes) - 1)];
        }
        copy = rest = exactly((struct mr_span){text, n});
        if (mr_dialect_tell(copy, &record, &rules))
            while (mr_dialect_next(&rules, &rest, &record))
                for (size_t i = 0; i < record.n; i++)
                    assert_true(
                        record.field[i].text.p >= copy.p &&
                        record.field[i].text.p + record.field[i].text.n <=
                            copy.p + copy.n);
        free((void *)(uintptr_t)copy.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialects_are_told),
        cmocka_unit_test(records_are_parted),
        cmocka_unit_test(any_text_is_gone_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
