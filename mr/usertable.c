#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/usertable.h"

#include <stdio.h>
#include <stdlib.h>

#include "mr/csv.h"
#include "mr/lines.h"
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

/* ---- values ---- */

struct mr_usertable_column {
    mr_path name;
    bool grouped;          /* groups are told by it, not rows alone */
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

/* ---- the file ---- */

/* Rows of users whose slots are on their way from memory. */
#define WAITING 16

struct waiting {
    uint64_t hash;
    uint8_t numbers[2 * MR_USERTABLE_COLUMNS_MAX];
};

struct loading {
    const struct mr_spec *spec;
    struct mr_usertable *t;
    struct mr_csv_reader *reader;
    struct mr_csv_plan plan; /* the id, then the columns */
    bool has_plan;
    bool has_row;         /* one has been read */
    struct mr_span block; /* at hand */
    uint64_t line;        /* where it begins, from 1 on */
    struct mr_buffer scratch;
    struct waiting waiting[WAITING]; /* a ring; n_taken is the next's place */
    uint64_t n_taken, n_added;
};

static enum mr_status want_columns(struct mr_usertable *t,
    const struct mr_column *column, unsigned n, bool grouped,
    struct mr_error *err)
{
    for (unsigned i = 0; i < n; i++) {
        const char *name = column[i].text;
        struct mr_usertable_column *c = &t->column[t->n_columns];

        if (column[i].from != MR_FROM_TABLE ||
            mr_usertable_column(t, name) >= 0)
            continue;
        if (t->n_columns == MR_USERTABLE_COLUMNS_MAX)
            return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
                "more than %d columns of the users table are wanted",
                MR_USERTABLE_COLUMNS_MAX);
        (void)snprintf(c->name, sizeof c->name, "%s", name);
        c->grouped = grouped;
        t->n_columns++;
    }
    return MR_OK;
}

static enum mr_status init_table(
    const struct mr_spec *spec, struct mr_usertable *t, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    t->column = calloc(MR_USERTABLE_COLUMNS_MAX, sizeof *t->column);
    if (t->column == NULL)
        return mr_fail_nomem(err);
    for (unsigned i = 0; i < spec->n_rollups && status == MR_OK; i++)
        status = want_columns(
            t, spec->rollup[i].by, spec->rollup[i].n_by, true, err);
    if (status == MR_OK)
        status =
            want_columns(t, spec->segments_by, spec->n_segments_by, true, err);
    if (status == MR_OK)
        status = want_columns(t, spec->rows, spec->n_rows, false, err);
    if (status != MR_OK)
        return status;
    for (unsigned i = 0; i < t->n_columns; i++)
        if (strcmp(t->column[i].name, spec->users_table.ranged) == 0 &&
            add_ranges(&spec->users_table, &t->column[i]) != MR_OK)
            return mr_fail_nomem(err);
    t->slot_bytes = HASH_BYTES + 2 * (size_t)t->n_columns;
    return grow_slots(t, err);
}

/* The line that a byte of the block stands in. */
static unsigned long long line_of(const struct loading *l, const uint8_t *at)
{
    unsigned long long line = l->line;

    for (const uint8_t *p = l->block.p; p < at; p++)
        line += *p == '\n';
    return line;
}

static enum mr_status fail_row(const struct loading *l, const uint8_t *at,
    const char *cause, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, MR_NOWHERE,
        "check the file, and csv of users_table in the spec", "line %llu: %s",
        line_of(l, at), cause);
}

static enum mr_status fail_value(const struct loading *l, const uint8_t *at,
    const struct mr_usertable_column *c, size_t n, struct mr_error *err)
{
    if (n > MR_USERTABLE_VALUE_MAX_BYTES)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, "take another column",
            "line %llu: a value of '%s' of %zu bytes; %d are the most",
            line_of(l, at), c->name, n, MR_USERTABLE_VALUE_MAX_BYTES);
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "take a column with fewer, or ranges of it",
        "line %llu: more than %d values of '%s'", line_of(l, at),
        MR_USERTABLE_VALUES_MAX, c->name);
}

/* The text of a value, in the block or in scratch; empty if there is none. */
static enum mr_status value_of(
    struct loading *l, const struct mr_value *value, struct mr_span *text_out)
{
    enum mr_status status;

    *text_out = (struct mr_span){NULL, 0};
    if (value->kind != MR_KIND_STRING)
        return MR_OK;
    *text_out = value->text;
    if (!value->escaped)
        return MR_OK;
    status = mr_buffer_reserve(&l->scratch, value->text.n);
    if (status == MR_OK)
        *text_out = (struct mr_span){
            l->scratch.p, mr_csv_unescape(&l->plan.rules, value->text,
                              l->scratch.p, value->text.n)};
    return status;
}

/* The number of a row's value in a column. */
static enum mr_status take_value(struct loading *l,
    const struct mr_record *record, unsigned column, uint16_t *number_out,
    struct mr_error *err)
{
    struct mr_usertable_column *c = &l->t->column[column];
    struct mr_span text;
    enum mr_status status = value_of(l, &record->value[1 + column], &text);

    *number_out = 0;
    if (status == MR_OK && text.n == 0)
        return MR_OK;
    if (status == MR_OK && c->ranged) {
        *number_out = (uint16_t)range_of(&l->spec->users_table, text);
        l->t->counts.outside += *number_out == 0;
        return MR_OK;
    }
    if (status == MR_OK && text.n > MR_USERTABLE_VALUE_MAX_BYTES)
        status = MR_LIMIT;
    if (status == MR_OK)
        status = value_number(c, text, number_out);
    if (status == MR_LIMIT)
        return fail_value(l, record->line.p, c, text.n, err);
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

/* Add those that wait, but for so many. */
static enum mr_status add_waiting(
    struct loading *l, uint64_t keep, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (status == MR_OK && l->n_taken - l->n_added > keep) {
        const struct waiting *w = &l->waiting[l->n_added++ % WAITING];

        status = add_user(l->t, w->hash, w->numbers, err);
    }
    return status;
}

static enum mr_status take_row(
    struct loading *l, const struct mr_record *record, struct mr_error *err)
{
    struct waiting *w = &l->waiting[l->n_taken % WAITING];
    struct mr_span id;

    l->t->counts.rows++;
    if (value_of(l, &record->value[0], &id) != MR_OK)
        return mr_fail_nomem(err);
    if (id.n == 0) {
        l->t->counts.without_id++;
        return MR_OK;
    }
    w->hash = mr_hash64(id.p, id.n);
    mr_usertable_prefetch(l->t, w->hash);
    for (unsigned i = 0; i < l->t->n_columns; i++) {
        uint16_t number;
        enum mr_status status = take_value(l, record, i, &number, err);

        if (status != MR_OK)
            return status;
        w->numbers[2 * i] = (uint8_t)number;
        w->numbers[2 * i + 1] = (uint8_t)(number >> 8);
    }
    l->n_taken++;
    return add_waiting(l, WAITING - 1, err);
}

/* Without a header the first row must have all columns: numbers may be
 * wrong, and the delimiter. */
static enum mr_status check_first(
    struct loading *l, const struct mr_record *record, struct mr_error *err)
{
    l->has_row = true;
    if (l->plan.rules.header)
        return MR_OK;
    for (size_t i = 0; i < l->plan.n_wanted; i++)
        if (record->value[i].kind == MR_KIND_NONE)
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "check users_table in the spec, and its delimiter",
                "line %llu: no column %u", line_of(l, record->line.p),
                (unsigned)l->plan.column[i]);
    return MR_OK;
}

static enum mr_status take_rows(
    struct loading *l, struct mr_span text, struct mr_error *err)
{
    struct mr_record record;
    enum mr_status status = MR_OK;

    mr_csv_reader_set(l->reader, &l->plan, text);
    while (status == MR_OK) {
        mr_csv_next(l->reader, &record);
        switch (record.verdict) {
        case MR_LINE_VALUE:
            if (!l->has_row)
                status = check_first(l, &record, err);
            if (status == MR_OK)
                status = take_row(l, &record, err);
            break;
        case MR_LINE_BLANK:
            break;
        case MR_LINE_END:
            return MR_OK;
        case MR_LINE_TOO_LONG:
            return fail_row(l, record.line.p, "too long a row", err);
        case MR_LINE_INVALID:
        case MR_LINE_TOO_DEEP:
            return fail_row(l, record.line.p,
                "a quote that is not closed, text behind one that closes, or "
                "bytes that are no UTF-8",
                err);
        }
    }
    return status;
}

/* No state may hold an id: groups are not told by the ids' column, called by
 * its number. */
static enum mr_status check_columns(
    const struct loading *l, struct mr_error *err)
{
    for (unsigned i = 0; i < l->t->n_columns; i++) {
        const struct mr_usertable_column *c = &l->t->column[i];

        if (c->grouped && l->plan.column[1 + i] == l->plan.column[0])
            return mr_spec_fail_ids(
                err, MR_USAGE, c->name, l->spec->users_table.id);
    }
    return MR_OK;
}

/* Learn which columns are meant; *text is then what follows the header. */
static enum mr_status make_plan(
    struct loading *l, struct mr_span *text, struct mr_error *err)
{
    const struct mr_users_table *rules = &l->spec->users_table;
    const char *name[1 + MR_USERTABLE_COLUMNS_MAX] = {rules->id};
    size_t n = 1 + (size_t)l->t->n_columns;
    struct mr_csv_header header;
    enum mr_status status;

    for (size_t i = 1; i < n; i++)
        name[i] = l->t->column[i - 1].name;
    if (!rules->csv.header) {
        l->has_plan = true;
        return mr_csv_plan_init(
            &l->plan, &rules->csv, name, n, l->spec->max_line_bytes, err);
    }
    status = mr_csv_header(l->reader, &rules->csv, name, n,
        l->spec->max_line_bytes, *text, &header, &l->plan, err);
    if (status == MR_OK && header.found)
        status = check_columns(l, err);
    if (status != MR_OK)
        return status;
    l->has_plan = header.found;
    text->p += header.bytes;
    text->n -= header.bytes;
    return MR_OK;
}

static enum mr_status take_block(
    struct loading *l, const struct mr_line_block *block, struct mr_error *err)
{
    struct mr_span text = block->text;
    enum mr_status status = MR_OK;

    l->block = text;
    if (block->too_long)
        return fail_row(l, text.p, "too long a row, or an open quote", err);
    if (!l->has_plan)
        status = make_plan(l, &text, err);
    if (status == MR_OK && l->has_plan)
        status = take_rows(l, text, err);
    l->line = line_of(l, l->block.p + l->block.n);
    return status;
}

static enum mr_status read_stream(
    struct mr_stream *stream, struct loading *l, struct mr_error *err)
{
    struct mr_line_block block = {.too_long = false};
    struct mr_buffer buffer = {0};
    struct mr_lines lines;
    enum mr_status status;

    mr_lines_init(&lines, stream, &l->spec->users_table.csv,
        l->spec->max_line_bytes, true);
    do {
        status = mr_lines_next(&lines, &buffer, &block, err);
        if (status == MR_OK && block.text.n > 0)
            status = take_block(l, &block, err);
        mr_line_block_release(&block);
    } while (status == MR_OK && block.text.n > 0);
    if (status == MR_OK && !l->has_plan && l->spec->users_table.csv.header)
        status = mr_fail(err, MR_FORMAT, MR_NOWHERE,
            "give it one, or set header: false", "no row names the columns");
    l->t->digest = mr_stream_digest(stream);
    mr_lines_release(&lines);
    mr_buffer_release(&buffer);
    return status;
}

static enum mr_status read_container(
    struct mr_container *container, struct loading *l, struct mr_error *err)
{
    struct mr_stream *stream;
    enum mr_status status;

    if (mr_container_is_archive(container))
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "take the file out of it",
            "it is an archive");
    status = mr_container_next(container, &stream, err);
    if (status != MR_OK)
        return status;
    status = read_stream(stream, l, err);
    mr_stream_close(stream);
    return status == MR_OK ? add_waiting(l, 0, err) : status;
}

static enum mr_status read_file(struct loading *l, struct mr_error *err)
{
    char path[sizeof l->spec->users_table.file], name[sizeof path];
    struct mr_input input = {.path = path, .name = name};
    struct mr_container *container;
    struct mr_error changed;
    enum mr_status status, closed;

    memcpy(path, l->spec->users_table.file, sizeof path);
    memcpy(name, path, sizeof name);
    status = mr_csv_reader_new(&l->reader, err);
    if (status != MR_OK)
        return status;
    status = mr_container_open(&input, &container, err);
    if (status != MR_OK)
        return status;
    status = read_container(container, l, err);
    closed = mr_container_close(container, &changed);
    /* Whatever is wrong with a file that changes meanwhile, that is why. */
    if (closed != MR_OK) {
        if (err != NULL)
            *err = changed;
        return closed;
    }
    return status;
}

enum mr_status mr_usertable_load(const struct mr_spec *spec,
    struct mr_usertable **table_out, struct mr_error *err)
{
    struct loading *l = calloc(1, sizeof *l);
    enum mr_status status;

    if (l == NULL)
        return mr_fail_nomem(err);
    l->spec = spec;
    l->line = 1;
    l->t = calloc(1, sizeof *l->t);
    status = l->t == NULL ? mr_fail_nomem(err) : init_table(spec, l->t, err);
    if (status == MR_OK)
        status = read_file(l, err);
    if (status == MR_OK) {
        *table_out = l->t;
    } else {
        mr_error_subject(err, "cannot read", spec->users_table.file);
        mr_usertable_free(l->t);
    }
    mr_csv_reader_free(l->reader);
    mr_buffer_release(&l->scratch);
    free(l);
    return status;
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

struct mr_span mr_usertable_text(
    const struct mr_usertable *table, unsigned column, unsigned number)
{
    if (number == 0)
        return (struct mr_span){NULL, 0};
    return value_text(&table->column[column], number);
}
