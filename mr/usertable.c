#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/usertable.h"

#include <stdio.h>
#include <stdlib.h>

#include "mr/source.h"
#include "mr/text.h"

/*
 * The table is open addressing with linear probing.  A slot is a hash and the
 * numbers of its columns, so that one line of memory answers a look-up as a
 * rule.  The home of a hash goes up with it: a larger table is filled from a
 * smaller one in order, and its size need be no power of two, so that it can
 * grow by half.
 */

#define HASH_BYTES 8
#define SLOTS_BEGIN 1024
/* Homes are made of 32 bits. */
#define SLOTS_MAX UINT32_MAX
#define FIELDS_MAX 65536

/* ---- rows ---- */

struct field {
    struct mr_span text; /* between the quotes, if it has any */
    bool quoted;
    bool escaped; /* quoted, with something to be unescaped */
};

struct rows {
    const struct mr_csv_rules *rules;
    const uint8_t *p, *end; /* what is left of the file */
    uint64_t line;          /* of p, from 1 on */
    uint64_t row_line;      /* where the row at hand begins */
    struct field *field;
    size_t n, cap;
    bool at_end; /* of the row */
};

static enum mr_status fail_row(
    const struct rows *r, struct mr_error *err, const char *cause)
{
    return mr_fail(err, MR_FORMAT, MR_NOWHERE,
        "check the file, and csv of users_table in the spec", "line %llu: %s",
        (unsigned long long)r->row_line, cause);
}

static enum mr_status add_field(
    struct rows *r, const struct field *field, struct mr_error *err)
{
    if (r->n == FIELDS_MAX)
        return mr_fail(err, MR_LIMIT, MR_NOWHERE, "check its delimiter",
            "line %llu: more than %d columns", (unsigned long long)r->row_line,
            FIELDS_MAX);
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 32 : 2 * r->cap;
        struct field *grown = realloc(r->field, cap * sizeof *grown);

        if (grown == NULL)
            return mr_fail_nomem(err);
        r->field = grown;
        r->cap = cap;
    }
    r->field[r->n++] = *field;
    return MR_OK;
}

/* Pass the delimiter or the row's end behind a field; false if there is
 * neither. */
static bool pass_end(struct rows *r)
{
    const uint8_t *p = r->p;

    if (p < r->end && *p == (uint8_t)r->rules->delimiter) {
        r->p++;
        return true;
    }
    if (p < r->end && *p == '\r')
        p++;
    if (p < r->end && *p != '\n')
        return false;
    r->at_end = true;
    r->line++;
    r->p = p < r->end ? p + 1 : p;
    return true;
}

static void read_plain(struct rows *r, struct field *field)
{
    uint8_t delimiter = (uint8_t)r->rules->delimiter;
    const uint8_t *p = r->p;

    while (p < r->end && *p != delimiter && *p != '\n')
        p++;
    field->text = (struct mr_span){r->p, (size_t)(p - r->p)};
    /* A CR is the row end's only there. */
    if (field->text.n > 0 && p[-1] == '\r' && (p == r->end || *p == '\n')) {
        field->text.n--;
        p--;
    }
    r->p = p;
}

/* From behind the opening quote to behind the closing one. */
static bool read_quoted(struct rows *r, struct field *field)
{
    uint8_t quote = (uint8_t)r->rules->quote;
    uint8_t escape = r->rules->backslash ? '\\' : quote;
    const uint8_t *begin = r->p, *p = begin;

    field->quoted = true;
    for (; p < r->end; p++) {
        if (*p == '\n') {
            r->line++;
        } else if (*p == escape && p + 1 < r->end &&
                   (r->rules->backslash || p[1] == quote)) {
            field->escaped = true;
            p++;
            r->line += *p == '\n';
        } else if (*p == quote) {
            field->text = (struct mr_span){begin, (size_t)(p - begin)};
            r->p = p + 1;
            return true;
        }
    }
    return false;
}

static void skip_spaces(struct rows *r)
{
    while (r->rules->skip_spaces && r->p < r->end && *r->p == ' ')
        r->p++;
}

/* The next row that is not blank; none is left when it has no fields. */
static enum mr_status next_row(struct rows *r, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    r->n = 0;
    r->at_end = true;
    while (status == MR_OK && (!r->at_end || r->p < r->end)) {
        struct field field = {.quoted = false};

        if (r->at_end) {
            r->n = 0;
            r->at_end = false;
            r->row_line = r->line;
        }
        skip_spaces(r);
        if (r->rules->quote != 0 && r->p < r->end &&
            *r->p == (uint8_t)r->rules->quote) {
            r->p++;
            if (!read_quoted(r, &field))
                return fail_row(r, err, "a quote that is never closed");
            skip_spaces(r);
        } else {
            read_plain(r, &field);
        }
        if (!pass_end(r))
            return fail_row(r, err, "text behind a closing quote");
        status = add_field(r, &field, err);
        if (r->at_end && (r->n > 1 || field.text.n > 0 || field.quoted))
            return status;
        if (r->at_end)
            r->n = 0;
    }
    return status;
}

static bool is_null(const struct mr_csv_rules *rules, struct mr_span text)
{
    for (unsigned i = 0; i < rules->n_nulls; i++)
        if (mr_span_compare(text, mr_text_span(rules->null[i])) == 0)
            return true;
    return false;
}

/* The text of a row's field, in the file or in scratch; empty if it is no
 * value. */
static enum mr_status field_text(const struct rows *r, size_t i,
    struct mr_buffer *scratch, struct mr_span *text_out)
{
    const struct field *field = &r->field[i];
    enum mr_status status;

    *text_out = (struct mr_span){NULL, 0};
    if (i >= r->n || (!field->quoted && is_null(r->rules, field->text)))
        return MR_OK;
    *text_out = field->text;
    if (!field->escaped)
        return MR_OK;
    status = mr_buffer_reserve(scratch, field->text.n);
    if (status != MR_OK)
        return status;
    scratch->n = 0;
    /* Whatever stands behind a byte that escapes stands for itself. */
    for (size_t k = 0; k < field->text.n; k++) {
        uint8_t c = field->text.p[k];

        if (c == (r->rules->backslash ? '\\' : (uint8_t)r->rules->quote))
            c = field->text.p[++k];
        scratch->p[scratch->n++] = c;
    }
    *text_out = (struct mr_span){scratch->p, scratch->n};
    return MR_OK;
}

/* ---- values ---- */

struct mr_usertable_column {
    mr_name name;
    size_t at;             /* which field of a row, from 0 on */
    bool ranged;           /* then the values are the ranges */
    struct mr_buffer text; /* of all values */
    uint32_t *end;         /* where in it each ends, by number; end[0] is 0 */
    size_t n, cap;         /* values */
    uint16_t *index;       /* by hash, open addressing: numbers, 0 if free */
    size_t mask;
};

static struct mr_span value_text(const struct mr_usertable_column *c, size_t n)
{
    return (struct mr_span){
        c->text.p + c->end[n - 1], c->end[n] - c->end[n - 1]};
}

/* The place of a text in the index, or where it would be. */
static uint16_t *value_place(
    const struct mr_usertable_column *c, struct mr_span text)
{
    size_t i = (size_t)mr_hash_fast(text.p, text.n) & c->mask;

    while (c->index[i] != 0 &&
           mr_span_compare(value_text(c, c->index[i]), text) != 0)
        i = (i + 1) & c->mask;
    return &c->index[i];
}

/* Make room for one value more; the index stays at most half full. */
static enum mr_status grow_values(struct mr_usertable_column *c)
{
    size_t cap = c->cap == 0 ? 32 : 2 * c->cap;
    uint16_t *index;
    uint32_t *end;

    if (c->n < c->cap)
        return MR_OK;
    end = realloc(c->end, (cap + 1) * sizeof *end);
    if (end == NULL)
        return MR_NOMEM;
    c->end = end;
    end[0] = 0;
    index = calloc(2 * cap, sizeof *index);
    if (index == NULL)
        return MR_NOMEM;
    free(c->index);
    c->index = index;
    c->mask = 2 * cap - 1;
    c->cap = cap;
    for (size_t n = 1; n <= c->n; n++)
        *value_place(c, value_text(c, n)) = (uint16_t)n;
    return MR_OK;
}

/* The number of a value, new or known; MR_LIMIT if there are too many. */
static enum mr_status value_number(
    struct mr_usertable_column *c, struct mr_span text, uint16_t *number_out)
{
    enum mr_status status = grow_values(c);
    uint16_t *place;

    if (status != MR_OK)
        return status;
    place = value_place(c, text);
    if (*place == 0) {
        if (c->n == MR_USERTABLE_VALUES_MAX)
            return MR_LIMIT;
        status = mr_buffer_add(&c->text, text.p, text.n);
        if (status != MR_OK)
            return status;
        c->end[++c->n] = (uint32_t)c->text.n;
        *place = (uint16_t)c->n;
    }
    *number_out = *place;
    return MR_OK;
}

/* ---- ranges ---- */

static void pass_blanks(struct mr_span *s)
{
    while (s->n > 0 && *s->p == ' ') {
        s->p++;
        s->n--;
    }
}

static bool pass_number(struct mr_span *s, uint32_t *v_out)
{
    uint64_t v = 0;
    size_t n = 0;

    for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++) {
        v = v * 10 + s->p[n] - '0';
        if (v > UINT32_MAX)
            return false;
    }
    *v_out = (uint32_t)v;
    *s = (struct mr_span){s->p + n, s->n - n};
    pass_blanks(s);
    return n > 0;
}

/* The number, from 1 on, of the range that a value lies in, or 0. */
static unsigned range_of(const struct mr_users_table *rules, struct mr_span s)
{
    uint32_t low, high;

    pass_blanks(&s);
    if (!pass_number(&s, &low))
        return 0;
    high = low;
    if (s.n > 0 && *s.p == '-') {
        s = (struct mr_span){s.p + 1, s.n - 1};
        pass_blanks(&s);
        if (!pass_number(&s, &high))
            return 0;
    }
    if (s.n > 0 || low > high)
        return 0;
    for (unsigned i = 0; i < rules->n_ranges; i++)
        if (low >= rules->range[i].low && high <= rules->range[i].high)
            return i + 1;
    return 0;
}

/* The ranges are the values, whether anybody is in them or not. */
static enum mr_status add_ranges(
    const struct mr_users_table *rules, struct mr_usertable_column *c)
{
    enum mr_status status = MR_OK;
    uint16_t number;
    char text[32];

    c->ranged = true;
    for (unsigned i = 0; i < rules->n_ranges && status == MR_OK; i++) {
        (void)snprintf(text, sizeof text, "%lu-%lu",
            (unsigned long)rules->range[i].low,
            (unsigned long)rules->range[i].high);
        status = value_number(c, mr_text_span(text), &number);
    }
    return status;
}

/* ---- slots ---- */

static uint64_t slot_hash(const uint8_t *slot)
{
    return mr_get_u64(slot);
}

/* The slot of a hash, not 0, or the free one where it would be. */
static uint8_t *find_slot(const struct mr_usertable *t, uint64_t hash)
{
    size_t i = mr_usertable_home(t, hash);

    for (;;) {
        uint8_t *slot = t->slot + i * t->slot_bytes;
        uint64_t found = slot_hash(slot);

        if (found == hash || found == 0)
            return slot;
        if (++i == t->n_slots)
            i = 0;
    }
}

static uint8_t *zero_slot(const struct mr_usertable *t)
{
    return t->slot + t->n_slots * t->slot_bytes;
}

/* Make room for one user more: at most four fifths of the slots are taken. */
static enum mr_status grow_slots(struct mr_usertable *t, struct mr_error *err)
{
    struct mr_usertable grown = *t;

    if (t->counts.users + 1 <= t->n_slots / 5 * 4)
        return MR_OK;
    grown.n_slots = t->n_slots == 0 ? SLOTS_BEGIN : t->n_slots / 2 * 3;
    if (grown.n_slots > SLOTS_MAX)
        return mr_fail(err, MR_LIMIT, MR_NOWHERE, NULL, "too many users");
    grown.slot = calloc(grown.n_slots + 1, t->slot_bytes);
    if (grown.slot == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < t->n_slots; i++) {
        const uint8_t *slot = t->slot + i * t->slot_bytes;

        if (slot_hash(slot) != 0)
            memcpy(find_slot(&grown, slot_hash(slot)), slot, t->slot_bytes);
    }
    if (t->slot != NULL)
        memcpy(zero_slot(&grown), zero_slot(t), t->slot_bytes);
    free(t->slot);
    *t = grown;
    return MR_OK;
}

/* A user and the numbers of their values, as little-endian bytes. */
static enum mr_status add_user(struct mr_usertable *t, uint64_t hash,
    const uint8_t *numbers, struct mr_error *err)
{
    size_t n = t->slot_bytes - HASH_BYTES;
    enum mr_status status = grow_slots(t, err);
    uint8_t *slot;

    if (status != MR_OK)
        return status;
    slot = hash == 0 ? zero_slot(t) : find_slot(t, hash);
    if (hash == 0 ? t->has_zero : slot_hash(slot) == hash) {
        t->counts.repeated++;
        t->counts.differing += memcmp(slot + HASH_BYTES, numbers, n) != 0;
        return MR_OK;
    }
    t->counts.users++;
    t->has_zero |= hash == 0;
    mr_put_u64(slot, hash);
    memcpy(slot + HASH_BYTES, numbers, n);
    return MR_OK;
}

/* ---- loading ---- */

struct loading {
    const struct mr_users_table *rules;
    struct mr_usertable *t;
    struct rows rows;
    size_t id_at;
    struct mr_buffer scratch;
};

static void want_columns(
    struct mr_usertable *t, const struct mr_column *column, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const char *name = column[i].text;

        if (column[i].from == MR_FROM_TABLE && mr_usertable_column(t, name) < 0)
            (void)snprintf(
                t->column[t->n_columns++].name, sizeof(mr_name), "%s", name);
    }
}

static enum mr_status new_table(
    const struct mr_spec *spec, struct mr_usertable **table_out)
{
    struct mr_usertable *t = calloc(1, sizeof *t);
    enum mr_status status = MR_OK;

    *table_out = t;
    if (t == NULL)
        return MR_NOMEM;
    t->column = calloc(MR_USERTABLE_COLUMNS_MAX, sizeof *t->column);
    if (t->column == NULL)
        return MR_NOMEM;
    for (unsigned i = 0; i < spec->n_rollups; i++)
        want_columns(t, spec->rollup[i].by, spec->rollup[i].n_by);
    want_columns(t, spec->segments_by, spec->n_segments_by);
    want_columns(t, spec->rows, spec->n_rows);
    for (unsigned i = 0; i < t->n_columns && status == MR_OK; i++)
        if (strcmp(t->column[i].name, spec->users_table.ranged) == 0)
            status = add_ranges(&spec->users_table, &t->column[i]);
    t->slot_bytes = HASH_BYTES + 2 * (size_t)t->n_columns;
    return status;
}

/* A number from 1 on, or 0. */
static size_t column_number(const char *name)
{
    size_t v = 0;

    for (; *name >= '0' && *name <= '9' && v < FIELDS_MAX; name++)
        v = v * 10 + (size_t)(*name - '0');
    return *name == '\0' ? v : 0;
}

/* Look a name up in the header, the row at hand. */
static enum mr_status find_name(struct loading *l, const char *name,
    size_t *at_out, unsigned *n_found, struct mr_error *err)
{
    *n_found = 0;
    for (size_t i = 0; i < l->rows.n; i++) {
        struct mr_span text;

        if (field_text(&l->rows, i, &l->scratch, &text) != MR_OK)
            return mr_fail_nomem(err);
        if (mr_span_compare(text, mr_text_span(name)) != 0)
            continue;
        *at_out = i;
        ++*n_found;
    }
    return MR_OK;
}

/* Which field of a row a column is, the first row being at hand. */
static enum mr_status find_column(
    struct loading *l, const char *name, size_t *at_out, struct mr_error *err)
{
    size_t number = column_number(name);
    unsigned n_found = 0;

    if (l->rules->csv.header) {
        enum mr_status status = find_name(l, name, at_out, &n_found, err);

        if (status != MR_OK || n_found == 1)
            return status;
    }
    if (n_found > 1)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name the column by its number", "line %llu: %u columns named '%s'",
            (unsigned long long)l->rows.row_line, n_found, name);
    if (number > 0 && number <= l->rows.n) {
        *at_out = number - 1;
        return MR_OK;
    }
    if (number > 0 || l->rules->csv.header)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "check users_table in the spec, and its delimiter",
            "line %llu: no column '%s' among its %zu",
            (unsigned long long)l->rows.row_line, name, l->rows.n);
    return mr_fail(err, MR_USAGE, MR_NOWHERE,
        "number columns from 1 on, or set header: true",
        "column '%s' is named, but no row names columns", name);
}

static enum mr_status find_columns(struct loading *l, struct mr_error *err)
{
    enum mr_status status = find_column(l, l->rules->id, &l->id_at, err);

    for (unsigned i = 0; i < l->t->n_columns && status == MR_OK; i++)
        status = find_column(l, l->t->column[i].name, &l->t->column[i].at, err);
    return status;
}

static enum mr_status fail_value(const struct loading *l,
    const struct mr_usertable_column *c, struct mr_span text,
    enum mr_status status, struct mr_error *err)
{
    unsigned long long line = (unsigned long long)l->rows.row_line;

    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status == MR_LIMIT)
        return mr_fail(err, status, MR_NOWHERE,
            "take a column with fewer, or ranges of it",
            "line %llu: more than %d values of '%s'", line,
            MR_USERTABLE_VALUES_MAX, c->name);
    if (text.n > MR_USERTABLE_VALUE_MAX_BYTES)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
            "line %llu: a value of '%s' of %zu bytes; %d are the most", line,
            c->name, text.n, MR_USERTABLE_VALUE_MAX_BYTES);
    return mr_fail(err, MR_FORMAT, MR_NOWHERE, "write the file as UTF-8",
        "line %llu: a value of '%s' that is no UTF-8", line, c->name);
}

/* The number of a row's value in a column. */
static enum mr_status take_value(struct loading *l,
    struct mr_usertable_column *c, uint16_t *number_out, struct mr_error *err)
{
    struct mr_span text;
    enum mr_status status = field_text(&l->rows, c->at, &l->scratch, &text);

    *number_out = 0;
    if (status == MR_OK && text.n == 0)
        return MR_OK;
    if (status == MR_OK && c->ranged) {
        *number_out = (uint16_t)range_of(l->rules, text);
        l->t->counts.outside += *number_out == 0;
        return MR_OK;
    }
    if (status == MR_OK &&
        (text.n > MR_USERTABLE_VALUE_MAX_BYTES || !mr_text_is_utf8(text)))
        status = MR_FORMAT;
    if (status == MR_OK)
        status = value_number(c, text, number_out);
    return status == MR_OK ? MR_OK : fail_value(l, c, text, status, err);
}

static enum mr_status take_row(struct loading *l, struct mr_error *err)
{
    uint8_t numbers[2 * MR_USERTABLE_COLUMNS_MAX];
    struct mr_span id;
    uint64_t hash;

    l->t->counts.rows++;
    if (field_text(&l->rows, l->id_at, &l->scratch, &id) != MR_OK)
        return mr_fail_nomem(err);
    if (id.n == 0) {
        l->t->counts.without_id++;
        return MR_OK;
    }
    if (!mr_text_is_utf8(id))
        return fail_row(&l->rows, err, "an id that is no UTF-8");
    hash = mr_hash64(id.p, id.n);
    for (unsigned i = 0; i < l->t->n_columns; i++) {
        uint16_t number;
        enum mr_status status = take_value(l, &l->t->column[i], &number, err);

        if (status != MR_OK)
            return status;
        numbers[2 * i] = (uint8_t)number;
        numbers[2 * i + 1] = (uint8_t)(number >> 8);
    }
    return add_user(l->t, hash, numbers, err);
}

static enum mr_status read_rows(struct loading *l, struct mr_error *err)
{
    enum mr_status status = next_row(&l->rows, err);

    if (status == MR_OK && l->rows.n == 0 && l->rules->csv.header)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, "set header: false",
            "no row that names the columns");
    if (status == MR_OK && l->rows.n > 0)
        status = find_columns(l, err);
    if (status == MR_OK && l->rules->csv.header)
        status = next_row(&l->rows, err);
    while (status == MR_OK && l->rows.n > 0) {
        status = take_row(l, err);
        if (status == MR_OK)
            status = next_row(&l->rows, err);
    }
    return status;
}

static bool begins(struct mr_span s, const char *with)
{
    size_t n = strlen(with);

    return s.n >= n && memcmp(s.p, with, n) == 0;
}

/* All of the file is in memory. */
static enum mr_status read_text(
    struct loading *l, struct mr_span text, struct mr_error *err)
{
    enum mr_status status;

    l->t->digest = mr_digest_bytes(text.p, text.n);
    if (begins(text, "\x1f\x8b") || begins(text, "\x28\xb5\x2f\xfd"))
        return mr_fail(
            err, MR_USAGE, MR_NOWHERE, "unpack it", "it is compressed");
    if (begins(text, "\xef\xbb\xbf"))
        text = (struct mr_span){text.p + 3, text.n - 3};
    l->rows = (struct rows){.rules = &l->rules->csv,
        .p = text.p,
        .end = text.p + text.n,
        .line = 1};
    status = read_rows(l, err);
    free(l->rows.field);
    mr_buffer_release(&l->scratch);
    return status;
}

static enum mr_status read_source(
    struct mr_source *source, struct loading *l, struct mr_error *err)
{
    struct mr_span text = mr_source_whole(source), piece;
    struct mr_buffer held = {0};
    enum mr_status status = MR_OK;

    if (text.p == NULL) {
        do {
            status = mr_source_read(source, &piece, err);
            if (status == MR_OK &&
                mr_buffer_add(&held, piece.p, piece.n) != MR_OK)
                status = mr_fail_nomem(err);
        } while (status == MR_OK && piece.n > 0);
        text = (struct mr_span){held.p, held.n};
    }
    if (status == MR_OK)
        status = read_text(l, text, err);
    mr_buffer_release(&held);
    return status;
}

enum mr_status mr_usertable_load(const struct mr_spec *spec,
    struct mr_usertable **table_out, struct mr_error *err)
{
    struct loading l = {.rules = &spec->users_table};
    struct mr_source *source;
    enum mr_status status, closed;

    if (new_table(spec, &l.t) != MR_OK || grow_slots(l.t, NULL) != MR_OK) {
        mr_usertable_free(l.t);
        return mr_fail_nomem(err);
    }
    status = mr_source_open(l.rules->file, &source, err);
    if (status == MR_OK) {
        status = read_source(source, &l, err);
        /* Of a file that changed meanwhile the rows may be at fault. */
        closed = mr_source_close(source, status == MR_OK ? err : NULL);
        status = status == MR_OK ? closed : status;
    } else if (status == MR_IO) {
        status = MR_USAGE;
        if (err != NULL)
            err->status = status;
    }
    if (status != MR_OK) {
        mr_error_subject(err, "cannot read users table", l.rules->file);
        mr_usertable_free(l.t);
        return status;
    }
    *table_out = l.t;
    return MR_OK;
}

void mr_usertable_free(struct mr_usertable *table)
{
    if (table == NULL)
        return;
    for (unsigned i = 0; i < table->n_columns; i++) {
        mr_buffer_release(&table->column[i].text);
        free(table->column[i].end);
        free(table->column[i].index);
    }
    free(table->column);
    free(table->slot);
    free(table);
}

/* ---- looking up ---- */

int mr_usertable_column(const struct mr_usertable *table, const char *name)
{
    for (unsigned i = 0; i < table->n_columns; i++)
        if (strcmp(table->column[i].name, name) == 0)
            return (int)i;
    return -1;
}

const uint8_t *mr_usertable_find(
    const struct mr_usertable *table, uint64_t hash)
{
    const uint8_t *slot;

    if (hash == 0)
        return table->has_zero ? zero_slot(table) + HASH_BYTES : NULL;
    slot = find_slot(table, hash);
    return slot_hash(slot) == 0 ? NULL : slot + HASH_BYTES;
}

unsigned mr_usertable_count(const struct mr_usertable *table, unsigned column)
{
    return (unsigned)table->column[column].n;
}

struct mr_span mr_usertable_text(
    const struct mr_usertable *table, unsigned column, unsigned number)
{
    if (number == 0)
        return (struct mr_span){NULL, 0};
    return value_text(&table->column[column], number);
}
