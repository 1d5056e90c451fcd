#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/csv.h"

#include <stdlib.h>

#include "mr/kernels.h"
#include "mr/text.h"

/*
 * The kernel lists where the fields of a chunk end, so that a record's k-th
 * field is found by counting, however many columns lie before it.  Of a record
 * that goes on beyond the chunk the list is kept as far as columns are wanted,
 * and the next chunk's is appended.
 */

struct mr_csv_reader {
    const struct mr_kernels *kernels;
    const struct mr_csv_plan *plan;
    struct mr_span block;
    size_t base;     /* offsets count from there, the start of a record */
    size_t scanned;  /* of the block */
    bool all;        /* stops of the block's end have been found */
    size_t row;      /* begin of the next record, from base */
    size_t first;    /* its first stop */
    size_t next_end; /* what has not been taken yet */
    size_t next_bad;
    size_t next_suspect;
    bool bad; /* the record at base is, before the chunk at hand */
    bool suspect;
    struct mr_csv_stops stops;
};

/* ---- plans ---- */

/* A number from 1 to MR_CSV_COLUMNS_MAX, or 0. */
static uint32_t parse_number(const char *text)
{
    uint32_t number = 0;

    if (*text == '0')
        return 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        number = 10 * number + (uint32_t)(*text - '0');
        if (number > MR_CSV_COLUMNS_MAX)
            return 0;
    }
    return *text == '\0' ? number : 0;
}

static enum mr_status begin_plan(struct mr_csv_plan *plan,
    const struct mr_csv_rules *rules, size_t n, uint64_t max_line_bytes,
    struct mr_error *err)
{
    if (n > MR_FIELDS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "%zu columns are wanted, more than %d", n, MR_FIELDS_MAX);
    memset(plan, 0, sizeof *plan);
    plan->rules = *rules;
    plan->max_line_bytes = max_line_bytes;
    plan->n_wanted = n;
    return MR_OK;
}

static void want(struct mr_csv_plan *plan, size_t i, uint32_t column)
{
    plan->column[i] = column;
    if (column > plan->last)
        plan->last = column;
}

enum mr_status mr_csv_plan_init(struct mr_csv_plan *plan_out,
    const struct mr_csv_rules *rules, const char *const *columns, size_t n,
    uint64_t max_line_bytes, struct mr_error *err)
{
    struct mr_csv_plan plan;
    enum mr_status status = begin_plan(&plan, rules, n, max_line_bytes, err);

    for (size_t i = 0; status == MR_OK && i < n; i++) {
        uint32_t column = parse_number(columns[i]);

        if (column == 0 && columns[i][0] != '\0')
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "without a header row, columns are numbers from 1 on",
                "'%s' is no column's number", columns[i]);
        want(&plan, i, column);
    }
    if (status == MR_OK)
        *plan_out = plan;
    return status;
}

/* ---- the reader ---- */

enum mr_status mr_csv_reader_new(
    struct mr_csv_reader **reader_out, struct mr_error *err)
{
    struct mr_csv_reader *r = calloc(1, sizeof *r);

    if (r == NULL)
        return mr_fail_nomem(err);
    r->kernels = mr_kernels();
    r->stops.pos[0] = UINT32_MAX; /* as if a stop stood before the text */
    *reader_out = r;
    return MR_OK;
}

void mr_csv_reader_free(struct mr_csv_reader *reader)
{
    free(reader);
}

void mr_csv_reader_set(struct mr_csv_reader *reader,
    const struct mr_csv_plan *plan, struct mr_span block)
{
    reader->plan = plan;
    reader->block = block;
    reader->base = reader->scanned = 0;
    reader->all = block.n == 0;
    reader->row = reader->first = 0;
    reader->next_end = reader->next_bad = reader->next_suspect = 0;
    reader->bad = reader->suspect = false;
    reader->stops.n = reader->stops.n_ends = 0;
    reader->stops.n_bad = reader->stops.n_suspect = 0;
    memset(&reader->stops.carry, 0, sizeof reader->stops.carry);
}

/* Scan the next chunk, keeping what is known of the record at hand. */
static void refill(struct mr_csv_reader *r)
{
    struct mr_csv_stops *t = &r->stops;
    size_t n = t->n - r->first;
    size_t at;

    if (n > r->plan->last)
        n = r->plan->last;
    for (size_t i = 0; i < n; i++)
        t->pos[1 + i] = t->pos[1 + r->first + i] - (uint32_t)r->row;
    t->n = n;
    r->bad |= r->next_bad < t->n_bad;
    r->suspect |= r->next_suspect < t->n_suspect;
    r->base += r->row;
    r->row = r->first = 0;
    r->next_end = r->next_bad = r->next_suspect = 0;
    at = r->scanned - r->base;
    r->kernels->csv_stops(
        &r->plan->rules, t, r->block.p + r->base, at, r->block.n - r->base);
    r->all = r->block.n - r->scanned <= MR_CSV_SCAN_BYTES;
    r->scanned = r->all ? r->block.n : r->scanned + MR_CSV_SCAN_BYTES;
}

/* A record, as stops. */
struct row {
    size_t start, end; /* from base; end: of its line feed */
    size_t first;      /* stop */
    size_t n_fields;   /* or of those that are kept */
    bool bad;
};

/* Whether a list of what is wrong has something of the record that ends at an
 * offset; what it has is passed. */
static inline bool has_marks(
    const uint32_t *list, size_t n, size_t *next, size_t end)
{
    size_t first = *next;

    while (__builtin_expect(*next < n, 0) && list[*next] <= end)
        ++*next;
    return *next > first;
}

/* The record's text without its end. */
static inline struct mr_span text_of(
    const struct mr_csv_reader *r, const struct row *row)
{
    const uint8_t *p = r->block.p + r->base;
    size_t end = row->end;

    if (end > row->start && p[end - 1] == '\r')
        end--;
    return (struct mr_span){p + row->start, end - row->start};
}

static bool is_text(struct mr_span text)
{
    return memchr(text.p, '\0', text.n) == NULL && mr_text_is_utf8(text);
}

/* The next record; false if there is none. */
static inline bool next_row(struct mr_csv_reader *r, struct row *row)
{
    const struct mr_csv_stops *t = &r->stops;
    size_t n;

    while (r->next_end == t->n_ends && !r->all)
        refill(r);
    n = r->block.n - r->base;
    row->start = r->row;
    if (row->start >= n)
        return false;
    row->first = r->first;
    row->bad = r->bad;
    if (__builtin_expect(r->next_end == t->n_ends, 0)) {
        /* A quote is never closed. */
        row->end = n;
        row->n_fields = 0;
        row->bad = true;
    } else {
        size_t end = t->end[r->next_end++];

        row->end = t->pos[1 + end];
        row->n_fields = end + 1 - row->first;
        r->first = end + 1;
    }
    row->bad |= has_marks(t->bad, t->n_bad, &r->next_bad, row->end);
    r->suspect |=
        has_marks(t->suspect, t->n_suspect, &r->next_suspect, row->end);
    if (__builtin_expect(r->suspect, 0) && !is_text(text_of(r, row)))
        row->bad = true;
    r->bad = r->suspect = false;
    r->row = row->end + 1;
    return true;
}

static bool is_null(const struct mr_csv_rules *rules, struct mr_span text)
{
    for (unsigned i = 0; i < rules->n_nulls; i++)
        if (strlen(rules->null[i]) == text.n &&
            memcmp(rules->null[i], text.p, text.n) == 0)
            return true;
    return false;
}

/* A field of a valid record: text is all that stands between stops, without
 * the record's end. */
static inline struct mr_value make_value(
    const struct mr_csv_rules *rules, struct mr_span text)
{
    struct mr_value value = {.kind = MR_KIND_STRING};

    if (rules->skip_spaces) {
        while (text.n > 0 && *text.p == ' ') {
            text.p++;
            text.n--;
        }
    }
    if (rules->quote != 0 && text.n > 0 && *text.p == (uint8_t)rules->quote) {
        text.p++;
        text.n -= 2;
        value.escaped =
            text.n > 0 && memchr(text.p, rules->backslash ? '\\' : rules->quote,
                              text.n) != NULL;
    } else if (rules->n_nulls > 0 && is_null(rules, text)) {
        value.kind = MR_KIND_NULL;
    }
    value.text = text;
    return value;
}

/* Field number k, from 0 on, of a record that has as many. */
static inline struct mr_value field(const struct mr_csv_reader *r,
    const struct row *row, struct mr_span text, size_t k)
{
    const uint32_t *pos = r->stops.pos + 1 + row->first + k;
    size_t start = (uint32_t)(pos[-1] + 1);
    size_t end = *pos;

    if (end == row->end)
        end = row->start + text.n;
    return make_value(&r->plan->rules,
        (struct mr_span){text.p + (start - row->start), end - start});
}

void mr_csv_next(struct mr_csv_reader *reader, struct mr_record *record_out)
{
    const struct mr_csv_plan *plan = reader->plan;
    struct row row;
    struct mr_span text;

    if (!next_row(reader, &row)) {
        record_out->verdict = MR_LINE_END;
        return;
    }
    text = record_out->line = text_of(reader, &row);
    record_out->verdict = text.n > plan->max_line_bytes ? MR_LINE_TOO_LONG
                          : row.bad                     ? MR_LINE_INVALID
                          : text.n == 0                 ? MR_LINE_BLANK
                                                        : MR_LINE_VALUE;
    if (record_out->verdict != MR_LINE_VALUE)
        return;
    for (size_t i = 0; i < plan->n_wanted; i++) {
        /* No column is number 0 - 1. */
        uint32_t k = plan->column[i] - 1;

        if (k < row.n_fields)
            record_out->value[i] = field(reader, &row, text, k);
        else
            record_out->value[i] =
                (struct mr_value){{NULL, 0}, MR_KIND_NONE, false};
    }
}

/* ---- headers ---- */

/* Whether a field of the header row is what a column is called. */
static bool is_named(const struct mr_csv_rules *rules,
    const struct mr_value *field, const char *name)
{
    uint8_t plain[MR_FIELDS_PATH_MAX];
    struct mr_span text = field->text;

    if (field->escaped) {
        text.n = mr_csv_unescape(rules, text, plain, sizeof plain);
        text.p = plain;
        if (text.n > sizeof plain)
            return false;
    }
    return strlen(name) == text.n && memcmp(name, text.p, text.n) == 0;
}

static enum mr_status find_columns(struct mr_csv_reader *r,
    const struct row *row, struct mr_span text, const char *const *columns,
    struct mr_csv_plan *plan, struct mr_error *err)
{
    uint32_t column[MR_FIELDS_MAX] = {0};
    size_t n_fields =
        row->n_fields < MR_CSV_COLUMNS_MAX ? row->n_fields : MR_CSV_COLUMNS_MAX;

    for (size_t k = 0; k < n_fields; k++) {
        struct mr_value name = field(r, row, text, k);

        for (size_t i = 0; i < plan->n_wanted; i++)
            if (column[i] == 0 && is_named(&plan->rules, &name, columns[i]))
                column[i] = (uint32_t)k + 1;
    }
    for (size_t i = 0; i < plan->n_wanted; i++) {
        uint32_t number = parse_number(columns[i]);

        if (columns[i][0] == '\0')
            continue;
        if (column[i] == 0 && number <= n_fields)
            column[i] = number;
        if (column[i] == 0)
            return mr_fail(err, MR_FORMAT, MR_NOWHERE,
                "check the spec's columns and its csv settings",
                "the header row has no column '%s'", columns[i]);
        want(plan, i, column[i]);
    }
    return MR_OK;
}

enum mr_status mr_csv_header(struct mr_csv_reader *reader,
    const struct mr_csv_rules *rules, const char *const *columns, size_t n,
    uint64_t max_line_bytes, struct mr_span block,
    struct mr_csv_header *header_out, struct mr_csv_plan *plan_out,
    struct mr_error *err)
{
    struct mr_csv_header header = {false, block.n, 0};
    struct mr_csv_plan plan;
    enum mr_status status = begin_plan(&plan, rules, n, max_line_bytes, err);
    struct row row;

    if (status != MR_OK)
        return status;
    plan.last = MR_CSV_COLUMNS_MAX; /* keep all stops */
    mr_csv_reader_set(reader, &plan, block);
    while (status == MR_OK && !header.found && next_row(reader, &row)) {
        struct mr_span text = text_of(reader, &row);

        if (text.n == 0 && !row.bad) {
            header.blank++;
            continue;
        }
        header.found = true;
        header.bytes = reader->base + row.end + 1;
        if (header.bytes > block.n)
            header.bytes = block.n;
        plan.last = 0;
        if (row.bad || text.n > max_line_bytes)
            status = mr_fail(err, MR_FORMAT, MR_NOWHERE,
                "check the file and the spec's csv settings",
                row.bad ? "the header row is not valid CSV"
                        : "the header row is longer than max_line_bytes");
        else
            status = find_columns(reader, &row, text, columns, &plan, err);
    }
    /* The plan is about to go. */
    mr_csv_reader_set(reader, NULL, (struct mr_span){NULL, 0});
    if (status != MR_OK)
        return status;
    *header_out = header;
    if (header.found)
        *plan_out = plan;
    return MR_OK;
}

/* ---- escapes ---- */

size_t mr_csv_unescape(const struct mr_csv_rules *rules, struct mr_span text,
    uint8_t *out, size_t cap)
{
    uint8_t mark = rules->backslash ? '\\' : (uint8_t)rules->quote;
    size_t n = 0, at = 0;
    bool fits = true;

    while (at < text.n) {
        size_t length;

        if (text.p[at] == mark && text.n - at > 1)
            at++;
        length = mr_text_character(text.p + at, text.n - at);
        length = length > 0 ? length : 1;
        fits = fits && length <= cap - n;
        if (fits)
            memcpy(out + n, text.p + at, length);
        at += length;
        n += length;
    }
    return n;
}
