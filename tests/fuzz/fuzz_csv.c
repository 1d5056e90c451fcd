#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/csv.h"
#include "mr/kernels.h"
#include "mr/text.h"

/*
 * Any bytes as CSV, the first telling its rules: at every level the records
 * must be those that are found byte by byte, every value must lie within its
 * record, unescaping it must not make it longer, and a record read alone must
 * be what it is among others.  The last end of a record must be found, too.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* The end of the record at p, its line feed or the text's end; whether its
 * quotes are as they must be. */
static const uint8_t *record_end(const struct mr_csv_rules *rules,
    const uint8_t *p, const uint8_t *end, bool *good)
{
    enum { BEGIN, WITHIN, QUOTED, ESCAPED, CLOSED, CR } place = BEGIN;
    uint8_t quote = (uint8_t)rules->quote;

    *good = true;
    for (; p < end; p++) {
        if (place == QUOTED) {
            if (*p == quote)
                place = CLOSED;
            else if (*p == '\\' && rules->backslash)
                place = ESCAPED;
        } else if (place == ESCAPED) {
            place = QUOTED;
        } else if (*p == '\n') {
            return p;
        } else if (place == CLOSED && *p == quote && !rules->backslash) {
            place = QUOTED;
        } else if (place == CLOSED && *p == '\r') {
            place = CR;
        } else {
            if (place == CR || (place == CLOSED && *p != rules->delimiter))
                *good = false;
            if (*p == rules->delimiter)
                place = BEGIN;
            else if (place == BEGIN && quote != 0 && *p == quote)
                place = QUOTED;
            else if (place != BEGIN || *p != ' ' || !rules->skip_spaces)
                place = WITHIN;
        }
    }
    *good = *good && place != QUOTED && place != ESCAPED;
    return end;
}

static void check_value(const struct mr_csv_rules *rules,
    const struct mr_value *value, struct mr_span line)
{
    uint8_t *plain;

    if (value->kind == MR_KIND_NONE)
        return;
    demand(value->text.p >= line.p && value->text.p <= line.p + line.n &&
           value->text.n <= (size_t)(line.p + line.n - value->text.p));
    plain = malloc(value->text.n + 1);
    demand(plain != NULL);
    demand(mr_csv_unescape(rules, value->text, plain, value->text.n) <=
           value->text.n);
    free(plain);
}

static bool same(const struct mr_value *a, const struct mr_value *b)
{
    return a->kind == b->kind && a->text.p == b->text.p &&
           a->text.n == b->text.n && a->escaped == b->escaped;
}

static enum mr_verdict wanted_verdict(
    const struct mr_csv_plan *plan, struct mr_span line, bool good)
{
    if (line.n > plan->max_line_bytes)
        return MR_LINE_TOO_LONG;
    if (!good || !mr_text_is_utf8(line) ||
        (line.n > 0 && memchr(line.p, '\0', line.n)))
        return MR_LINE_INVALID;
    return line.n == 0 ? MR_LINE_BLANK : MR_LINE_VALUE;
}

static void check_records(const struct mr_csv_plan *plan, struct mr_span block,
    struct mr_csv_reader *reader, struct mr_csv_reader *other)
{
    static struct mr_record record, alone;
    const uint8_t *p = block.p, *end = block.p + block.n;

    mr_csv_reader_set(reader, plan, block);
    while (p < end) {
        bool good;
        const uint8_t *feed = record_end(&plan->rules, p, end, &good);
        struct mr_span line = {p, (size_t)(feed - p)};
        size_t n = line.n + (feed < end);

        if (line.n > 0 && p[line.n - 1] == '\r')
            line.n--;
        mr_csv_next(reader, &record);
        demand(record.line.p == line.p && record.line.n == line.n);
        demand(record.verdict == wanted_verdict(plan, line, good));
        mr_csv_reader_set(other, plan, (struct mr_span){p, n});
        mr_csv_next(other, &alone);
        demand(alone.verdict == record.verdict);
        for (size_t i = 0;
             record.verdict == MR_LINE_VALUE && i < plan->n_wanted; i++) {
            check_value(&plan->rules, &record.value[i], line);
            demand(same(&record.value[i], &alone.value[i]));
        }
        mr_csv_next(other, &alone);
        demand(alone.verdict == MR_LINE_END);
        p += n;
    }
    mr_csv_next(reader, &record);
    demand(record.verdict == MR_LINE_END);
}

static void check_ends(const struct mr_csv_rules *rules, struct mr_span text)
{
    const uint8_t *p = text.p, *end = text.p + text.n;
    struct mr_csv_carry carry = {0};
    size_t first = 0, last = 0, first_found, last_found;
    bool good;

    while (p < end && (p = record_end(rules, p, end, &good)) < end) {
        last = (size_t)(++p - text.p);
        first = first > 0 ? first : last;
    }
    last_found =
        mr_kernels()->csv_ends(rules, &carry, text.p, text.n, &first_found);
    demand(last == last_found && first == first_found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const columns[] = {"1", "2", "7", "", "3"};
    uint8_t form = size > 0 ? data[0] : 0;
    struct mr_csv_rules rules = {.delimiter = ",;\t "[form & 3],
        .quote = "\"\"'\0"[form >> 2 & 3],
        .backslash = form >> 4 & 1,
        .skip_spaces = form >> 5 & 1,
        .n_nulls = form >> 6 & 1,
        .null = {"null"}};
    struct mr_span text = {data + (size > 0), size - (size > 0)};
    struct mr_csv_plan plan;
    struct mr_csv_reader *reader, *other;

    demand(mr_csv_plan_init(&plan, &rules, columns, 5, 5000, NULL) == MR_OK);
    for (int level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        demand(mr_csv_reader_new(&reader, NULL) == MR_OK);
        demand(mr_csv_reader_new(&other, NULL) == MR_OK);
        check_records(&plan, text, reader, other);
        check_ends(&rules, text);
        mr_csv_reader_free(reader);
        mr_csv_reader_free(other);
    }
    return 0;
}
