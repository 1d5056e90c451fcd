#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_init: a spec proposed from the first records of real files.  First the
 * shape of the text is told (JSON a value a line, values, an array; CSV), then
 * each record's values are shown to mr/guess.h, then the spec is written.
 */

#include "mr/mr.h"

#include <stdlib.h>

#include "mr/dialect.h"
#include "mr/guess.h"
#include "mr/init_text.h"
#include "mr/jsonpeek.h"
#include "mr/lines.h"
#include "mr/mapper.h"
#include "mr/outputs.h"
#include "mr/publish.h"
#include "mr/result.h"
#include "mr/stream.h"

/* Partitions that are looked into, unpacked bytes in all, records. */
#define SAMPLES 8
#define SAMPLE_BYTES ((size_t)4 << 20)
#define RECORDS 5000
/* Objects in objects that are looked into. */
#define DEPTH 8

struct sample {
    struct mr_buffer text;
    char *name;
};

struct run {
    const struct mr_init_options *options;
    const struct mr_observer *observer;
    struct mr_listing listing;
    struct sample sample[SAMPLES];
    size_t n;
    struct mr_guess *guess;
    struct mr_dialect_record *record;
    struct mr_init_shape shape;
    struct mr_buffer path, plain;
};

/* ---- reading samples ---- */

static struct mr_span text_of(const struct sample *s)
{
    struct mr_span text = {s->text.p, s->text.n};
    size_t mark = mr_lines_mark(text);

    return (struct mr_span){text.p + mark, text.n - mark};
}

/* The beginning of a stream.  What is cut short is cut behind a line. */
static enum mr_status read_sample(struct mr_stream *stream, size_t most,
    struct sample *s, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    const uint8_t *end;
    size_t n = 1;

    s->name = strdup(mr_stream_name(stream));
    if (s->name == NULL || mr_buffer_reserve(&s->text, most) != MR_OK)
        return mr_fail_nomem(err);
    while (status == MR_OK && n > 0 && s->text.n < most) {
        status = mr_stream_read(
            stream, s->text.p + s->text.n, most - s->text.n, &n, err);
        if (status == MR_OK)
            s->text.n += n;
    }
    /* What stands before damage is as good as any. */
    if (status != MR_OK && status != MR_NOMEM && s->text.n > 0)
        status = MR_OK;
    if (n == 0)
        return status;
    end = s->text.n == 0
              ? NULL
              : mr_lines_last_end((struct mr_span){s->text.p, s->text.n});
    if (end != NULL)
        s->text.n = (size_t)(end - s->text.p) + 1;
    return status;
}

static enum mr_status read_input(struct run *r, const struct mr_input *input,
    size_t most, struct mr_error *err)
{
    struct mr_container *container;
    struct mr_stream *stream = NULL;
    enum mr_status status = mr_container_open(input, &container, err);

    if (status != MR_OK)
        return status;
    while (status == MR_OK && r->n < SAMPLES) {
        status = mr_container_next(container, &stream, err);
        if (status != MR_OK || stream == NULL)
            break;
        status = read_sample(stream, most, &r->sample[r->n], err);
        mr_stream_close(stream);
        r->n++;
    }
    (void)mr_container_close(container, NULL);
    return status;
}

/* Leave out samples of nothing. */
static void drop_empty(struct run *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct sample s = r->sample[i];

        if (mr_peek_skip(text_of(&s)).n == 0)
            continue;
        r->sample[i] = r->sample[kept];
        r->sample[kept++] = s;
    }
    r->n = kept;
}

/* A file that cannot be read, as one that is damaged in the first bytes, is
 * left out: the others say as much, or the members of an archive before the
 * damage.  The first error stays, for where there are none; else it is told. */
static enum mr_status read_or_note(struct run *r, const struct mr_input *input,
    size_t most, struct mr_error *first)
{
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = read_input(r, input, most, &why);
    bool is_told = r->listing.n > 1;
    char text[1280];

    if (status == MR_OK)
        return MR_OK;
    if (status == MR_NOMEM || first->status == MR_OK)
        *first = why;
    if (status == MR_NOMEM)
        return status;
    for (size_t i = 0; i < r->n; i++)
        is_told = is_told || r->sample[i].text.n > 0;
    mr_error_format(&why, text, sizeof(text));
    if (is_told)
        mr_note(r->observer, "%s", text);
    return MR_OK;
}

/* No sample has anything in it. */
static enum mr_status refuse_nothing(const struct run *r, struct mr_error *err)
{
    const struct mr_listing *listing = &r->listing;

    if (listing->n_unlisted == 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name a file that has events in it",
            "there is nothing in '%s' or what else was looked into",
            r->options->input[0]);
    (void)mr_fail(err, MR_IO, MR_NOWHERE,
        "make it readable, or name another file that has events in it", "%s",
        listing->unlisted[0].cause);
    mr_error_subject(err, "cannot read", listing->unlisted[0].name);
    return MR_IO;
}

static enum mr_status read_samples(struct run *r, struct mr_error *err)
{
    struct mr_error first = {.status = MR_OK};
    size_t n;
    enum mr_status status = mr_listing_build(
        r->options->input, r->options->n_inputs, 1, &r->listing, err);

    if (status == MR_OK)
        status = mr_output_check(
            r->options->output, "--output", NULL, NULL, &r->listing, err);
    if (status != MR_OK)
        return status;
    mr_listing_unite_paths(&r->listing);
    n = r->listing.n < SAMPLES ? r->listing.n : SAMPLES;
    for (size_t i = 0; i < n && status == MR_OK; i++)
        status =
            read_or_note(r, &r->listing.inputs[i], SAMPLE_BYTES / n, &first);
    drop_empty(r);
    if (status == MR_OK && r->n > 0)
        return MR_OK;
    if (first.status == MR_OK)
        return refuse_nothing(r, err);
    if (err != NULL)
        *err = first;
    return first.status;
}

/* ---- JSON ---- */

static struct mr_span next_line(struct mr_span *rest)
{
    const uint8_t *end = memchr(rest->p, '\n', rest->n);
    size_t n = end == NULL ? rest->n : (size_t)(end - rest->p);
    struct mr_span line = mr_peek_skip((struct mr_span){rest->p, n});

    n += end != NULL;
    rest->p += n;
    rest->n -= n;
    return line;
}

static bool is_object(struct mr_span text)
{
    return mr_peek_kind(text) == MR_KIND_OBJECT &&
           mr_json_check(text, 1024) == MR_LINE_VALUE;
}

/* Whether at least half of the lines are objects: some may be broken. */
static bool has_object_lines(struct mr_span text, size_t *n_out)
{
    size_t lines = 0, objects = 0;

    while (text.n > 0 && lines < RECORDS) {
        struct mr_span line = next_line(&text);

        lines += line.n > 0;
        objects += line.n > 0 && is_object(line);
    }
    *n_out = lines;
    return objects > 0 && 2 * objects >= lines;
}

/* Whether a spec can say a name of the samples. */
static bool can_be_said(struct mr_span name)
{
    return mr_spec_text_problem((const char *)name.p, name.n) == NULL;
}

/* Whether a key can stand in a path; others are left out. */
static bool is_path_key(struct mr_span key)
{
    return key.n > 0 && memchr(key.p, '\\', key.n) == NULL &&
           memchr(key.p, '.', key.n) == NULL && can_be_said(key);
}

/* The member of an object that is an array of objects: its path, and what
 * stands behind the bracket.  Arrays in objects in it, too. */
static bool find_array(struct run *r, struct mr_span object, unsigned depth,
    struct mr_span *inside_out)
{
    struct mr_span rest, key, value;
    size_t length = r->path.n;

    if (!mr_peek_open(object, '{', &rest))
        return false;
    while (mr_peek_key(&rest, &key)) {
        struct mr_span first;

        r->path.n = length;
        if (is_path_key(key) &&
            (length == 0 || mr_buffer_add(&r->path, ".", 1) == MR_OK) &&
            mr_buffer_add(&r->path, key.p, key.n) == MR_OK) {
            if (mr_peek_open(rest, '[', inside_out) &&
                mr_peek_open(*inside_out, '{', &first))
                return true;
            if (depth < 3 && find_array(r, rest, depth + 1, inside_out))
                return true;
        }
        if (!mr_peek_element(&rest, &value))
            break;
    }
    r->path.n = length;
    return false;
}

/* Whether an object is like an event itself: two of its keys are names that
 * fields of events have. */
static bool is_like_event(struct mr_span object)
{
    struct mr_span rest, key, value;
    unsigned n = 0;

    if (!mr_peek_open(object, '{', &rest))
        return false;
    while (mr_peek_key(&rest, &key) && mr_peek_element(&rest, &value)) {
        char name[MR_PATH_MAX_BYTES + 1] = "";

        if (key.n > MR_PATH_MAX_BYTES)
            continue;
        memcpy(name, key.p, key.n);
        n += mr_guess_knows(name);
    }
    return n > 1;
}

/* How the values of JSON stand: shape.format and, of an array in an object,
 * shape.records. */
static enum mr_status tell_json(struct run *r)
{
    struct mr_span text = mr_peek_skip(text_of(&r->sample[0]));
    struct mr_span inside, rest = text;
    size_t n = mr_peek_length(text), lines;
    bool is_single;

    r->shape.format = MR_INPUT_JSON;
    if (text.p[0] == '[') {
        r->shape.format = MR_INPUT_JSON_ARRAY;
        return MR_OK;
    }
    rest.p += n;
    rest.n -= n;
    /* One object, and maybe not all of it: if it has an array of objects in
     * it, these are the events. */
    is_single = n == 0 || (mr_peek_skip(rest).n == 0 && !is_like_event(text));
    r->path.n = 0;
    if (is_single && find_array(r, text, 0, &inside)) {
        if (mr_buffer_add(&r->path, "", 1) != MR_OK)
            return MR_NOMEM;
        if (r->path.n <= sizeof(r->shape.records)) {
            memcpy(r->shape.records, r->path.p, r->path.n);
            r->shape.format = MR_INPUT_JSON_ARRAY;
            return MR_OK;
        }
    }
    if (!has_object_lines(text, &lines))
        r->shape.format = MR_INPUT_JSON_VALUES;
    return MR_OK;
}

static enum mr_status show_value(
    struct run *r, enum mr_kind kind, struct mr_span text)
{
    struct mr_span path = {r->path.p, r->path.n};
    struct mr_guess_field *field;

    if (path.n > MR_PATH_MAX_BYTES ||
        mr_guess_find(r->guess, path, &field) != MR_OK)
        return path.n > MR_PATH_MAX_BYTES ? MR_OK : MR_NOMEM;
    if (field == NULL)
        return MR_OK;
    if (kind == MR_KIND_STRING) {
        text = (struct mr_span){text.p + 1, text.n - 2};
        if (mr_buffer_reserve(&r->plain, text.n + 1) != MR_OK)
            return MR_NOMEM;
        text.n = mr_fields_unescape(text, r->plain.p, r->plain.cap);
        text.p = r->plain.p;
    }
    return mr_guess_value(r->guess, field, kind, text);
}

static enum mr_status show_object(
    struct run *r, struct mr_span object, unsigned depth)
{
    enum mr_status status = MR_OK;
    struct mr_span rest, key, value;
    size_t length = r->path.n;

    if (!mr_peek_open(object, '{', &rest))
        return MR_OK;
    while (status == MR_OK && mr_peek_key(&rest, &key) &&
           mr_peek_element(&rest, &value)) {
        enum mr_kind kind = mr_peek_kind(value);

        r->path.n = length;
        if (!is_path_key(key))
            continue;
        if ((length > 0 && mr_buffer_add(&r->path, ".", 1) != MR_OK) ||
            mr_buffer_add(&r->path, key.p, key.n) != MR_OK)
            return MR_NOMEM;
        if (kind == MR_KIND_OBJECT && depth < DEPTH)
            status = show_object(r, value, depth + 1);
        else
            status = show_value(r, kind, value);
    }
    r->path.n = length;
    return status;
}

static enum mr_status show_record(struct run *r, struct mr_span value)
{
    if (!is_object(value))
        return MR_OK;
    r->path.n = 0;
    r->guess->records++;
    return show_object(r, value, 1);
}

static enum mr_status show_json(struct run *r, const struct sample *s)
{
    struct mr_span rest = mr_peek_skip(text_of(s)), value;
    enum mr_status status = MR_OK;

    r->path.n = 0;
    if (r->shape.format == MR_INPUT_JSON_ARRAY) {
        bool found = r->shape.records[0] == '\0'
                         ? mr_peek_open(rest, '[', &rest)
                         : find_array(r, rest, 0, &rest);

        if (!found)
            return MR_OK;
    }
    while (status == MR_OK && rest.n > 0 && r->guess->records < RECORDS) {
        if (r->shape.format == MR_INPUT_JSON)
            value = next_line(&rest);
        else if (!mr_peek_element(&rest, &value))
            break;
        status = show_record(r, value);
    }
    return status;
}

/* ---- CSV ---- */

/* Whether a column of a row is called as one before it. */
static bool is_repeated(const struct mr_dialect_record *record, size_t column)
{
    struct mr_span name = record->field[column].text;

    for (size_t i = 0; i < column; i++)
        if (mr_span_compare(name, record->field[i].text) == 0)
            return true;
    return false;
}

/* Whether the first row names columns: none is a number or a time, and one at
 * least is a name of the usual ones, or above values that are all of these.
 * Where one is empty, as that of an index or behind a last delimiter, or comes
 * again, as in a join, two of the usual ones must be there. */
static bool tell_header(const struct run *r, struct mr_span text)
{
    struct mr_dialect_record *record = r->record;
    bool differs = false, is_odd = false;
    unsigned known = 0;
    size_t n;

    if (!mr_dialect_next(&r->shape.csv, &text, record))
        return false;
    n = record->n;
    for (size_t i = 0; i < n; i++) {
        struct mr_span name = record->field[i].text;
        char word[MR_PATH_MAX_BYTES + 1] = "";

        if (name.n > MR_PATH_MAX_BYTES || mr_guess_is_plain(r->guess, name))
            return false;
        if (name.n == 0 || is_repeated(record, i)) {
            is_odd = true;
            continue;
        }
        memcpy(word, name.p, name.n);
        known += mr_guess_knows(word);
    }
    if (is_odd)
        return known > 1;
    if (!mr_dialect_next(&r->shape.csv, &text, record))
        return known > 0;
    for (size_t i = 0; i < record->n && i < n; i++)
        differs = differs || mr_guess_is_plain(r->guess, record->field[i].text);
    return known > 0 || differs;
}

/* Words that mean "no value" in real files; ascending, as the spec has them. */
static const char *const null_words[] = {
    "#N/A", "-", "N/A", "NA", "NULL", "None", "\\N", "null"};

static void see_null(const struct mr_dialect_field *field,
    bool seen[sizeof(null_words) / sizeof(null_words[0])], bool *is_null)
{
    *is_null = false;
    for (size_t i = 0; i < sizeof(null_words) / sizeof(null_words[0]); i++) {
        if (field->quoted || field->text.n != strlen(null_words[i]) ||
            memcmp(field->text.p, null_words[i], field->text.n) != 0)
            continue;
        seen[i] = *is_null = true;
    }
}

static struct mr_span plain_field(
    struct run *r, const struct mr_dialect_field *field)
{
    struct mr_span text = field->text;

    if (field->escaped && mr_buffer_reserve(&r->plain, text.n + 1) == MR_OK) {
        text.n = mr_csv_unescape(&r->shape.csv, text, r->plain.p, r->plain.cap);
        text.p = r->plain.p;
    }
    return text;
}

static enum mr_status show_rows(
    struct run *r, const struct sample *s, struct mr_buffer *names, bool *seen)
{
    struct mr_span text = text_of(s);
    enum mr_status status = MR_OK;
    size_t n_names = 0;

    names->n = 0;
    if (r->shape.csv.header && mr_dialect_next(&r->shape.csv, &text, r->record))
        for (; n_names < r->record->n && status == MR_OK; n_names++) {
            struct mr_span name = plain_field(r, &r->record->field[n_names]);

            status = mr_buffer_add_string(names, name.p, name.n);
        }
    while (status == MR_OK && r->guess->records < RECORDS &&
           mr_dialect_next(&r->shape.csv, &text, r->record)) {
        struct mr_reader reader = {names->p, names->n, false};

        if (r->record->n > r->shape.columns)
            r->shape.columns = r->record->n;
        r->guess->records++;
        for (size_t i = 0; i < r->record->n && status == MR_OK; i++) {
            struct mr_guess_field *field;
            char number[24];
            int n = snprintf(number, sizeof(number), "%zu", i + 1);
            struct mr_span name = {(const uint8_t *)number, (size_t)n};
            struct mr_span called = name;
            bool is_null;

            if (r->shape.csv.header)
                called = mr_read_string(&reader);
            /* A column's number is as good a name of it. */
            if (can_be_said(called))
                name = called;
            if (name.n == 0 || name.n > MR_PATH_MAX_BYTES)
                continue;
            see_null(&r->record->field[i], seen, &is_null);
            status = mr_guess_find(r->guess, name, &field);
            if (status == MR_OK && field != NULL)
                status = mr_guess_value(r->guess, field,
                    is_null ? MR_KIND_NULL : MR_KIND_STRING,
                    plain_field(r, &r->record->field[i]));
        }
    }
    return status;
}

static enum mr_status show_csv(struct run *r)
{
    struct mr_csv_rules *csv = &r->shape.csv;
    bool seen[sizeof(null_words) / sizeof(null_words[0])] = {false};
    struct mr_buffer names = {0};
    enum mr_status status = MR_OK;

    csv->header = tell_header(r, text_of(&r->sample[0]));
    for (size_t i = 0; i < r->n && status == MR_OK; i++)
        status = show_rows(r, &r->sample[i], &names, seen);
    mr_buffer_release(&names);
    for (size_t i = 0; i < sizeof(null_words) / sizeof(null_words[0]); i++)
        if (seen[i])
            memcpy(csv->null[csv->n_nulls++], null_words[i],
                strlen(null_words[i]) + 1);
    return status;
}

/* ---- shapes that are known ---- */

/* So many columns are a shape by their number; and of so many, several may
 * look like the id or the time. */
#define COLUMNS_THAT_TELL 100

/* Whether the column that a spec takes URLs from has some, most of them with
 * a scheme; or the spec takes none. */
static bool has_urls(const struct run *r, const char *column)
{
    for (size_t i = 0; i < r->guess->n_fields; i++) {
        const struct mr_guess_field *f = &r->guess->field[i];

        if (strcmp(f->name, column) == 0)
            return f->links > 0 && 2 * f->links >= f->n;
    }
    return column[0] == '\0';
}

/* Whether what was chosen is what a spec of columns says.  What is an id or a
 * type cannot always be told; but where a type can, it is not one for all. */
static bool same_columns(const struct run *r, const struct mr_guess_choice *c,
    const struct mr_spec *spec)
{
    const struct mr_csv_rules *a = &r->shape.csv, *b = &spec->csv;

    if (a->delimiter != b->delimiter || a->header || b->header ||
        (a->quote != b->quote && a->quote != 0) ||
        a->skip_spaces != b->skip_spaces)
        return false;
    if (r->shape.columns >= COLUMNS_THAT_TELL)
        return true;
    return c->time != NULL &&
           strcmp(c->time->name, spec->field[MR_FIELD_TIME]) == 0 &&
           (c->type == NULL ||
               strcmp(c->type->name, spec->field[MR_FIELD_TYPE]) == 0) &&
           (c->id == NULL ||
               strcmp(c->id->name, spec->field[MR_FIELD_ID]) == 0) &&
           has_urls(r, spec->url);
}

/* How many columns a built-in spec's rows have; 0: it has none. */
static size_t columns_of(const char *name)
{
    static const struct {
        const char *name;
        size_t columns;
    } known[] = {{"snowplow-pageviews", 6}, {"snowplow-enriched", 131},
        {"interactions", 4}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].columns;
    return 0;
}

/* Whether most lines of the samples, four in five, are events by a plan. */
static enum mr_status read_by(
    struct run *r, struct mr_plan *plan, bool *fits_out, struct mr_error *err)
{
    struct mr_types *types = NULL;
    struct mr_batch batch = {.lines = 0};
    struct mr_mapper mapper;
    struct mr_preface preface;
    uint64_t bad = 0;
    enum mr_status status;

    if (mr_types_new(&types) != MR_OK)
        return mr_fail_nomem(err);
    /* Groups of rollups are of no interest. */
    plan->has_figures = false;
    status = mr_mapper_init(&mapper, plan, false, types, err);
    for (size_t i = 0; i < r->n && status == MR_OK; i++) {
        struct mr_line_block block = {.text = text_of(&r->sample[i])};

        if (block.text.n == 0)
            continue;
        status = mr_mapper_open(&mapper, r->sample[i].name, &preface, err);
        if (status == MR_OK)
            status =
                mr_mapper_parse(&mapper, &block, &preface, &batch, NULL, err);
    }
    for (size_t i = 0; i < MR_REASON_COUNT; i++)
        bad += batch.reason[i];
    *fits_out = status == MR_OK && batch.lines > batch.blank &&
                5 * bad <= batch.lines - batch.blank;
    mr_batch_release(&batch);
    mr_mapper_release(&mapper);
    mr_types_free(types);
    return status;
}

static enum mr_status fits(struct run *r, const struct mr_guess_choice *choice,
    const char *name, bool *fits_out, struct mr_error *err)
{
    struct mr_plan *plan = malloc(sizeof(*plan));
    enum mr_status status;

    *fits_out = false;
    if (plan == NULL)
        return mr_fail_nomem(err);
    status = mr_plan_open(name, plan, err);
    if (status == MR_OK && plan->spec.format == r->shape.format &&
        (!mr_plan_is_csv(plan) || (columns_of(name) == r->shape.columns &&
                                      same_columns(r, choice, &plan->spec))))
        status = read_by(r, plan, fits_out, err);
    mr_plan_release(plan);
    free(plan);
    return status;
}

static enum mr_status find_known(
    struct run *r, const struct mr_guess_choice *choice, struct mr_error *err)
{
    const struct mr_builtin_spec *spec;
    enum mr_status status = MR_OK;

    for (size_t i = 0; (spec = mr_builtin_spec(i)) != NULL; i++) {
        bool good = false;

        if (status == MR_OK && r->shape.known == NULL)
            status = fits(r, choice, spec->name, &good, err);
        if (good)
            r->shape.known = spec;
    }
    return status;
}

/* ---- the verb ---- */

/* Whether a text begins as an object does, or an array of such.  Rows may
 * begin with a bracket, too: with an id in braces, or a name in brackets. */
static bool begins_as_json(struct mr_span text)
{
    struct mr_span inside;

    if (text.n == 0 || (text.p[0] != '{' && text.p[0] != '['))
        return false;
    inside = mr_peek_skip((struct mr_span){text.p + 1, text.n - 1});
    return inside.n == 0 ||
           memchr(text.p[0] == '{' ? "\"}" : "{]", inside.p[0], 2) != NULL;
}

static enum mr_status look(struct run *r, struct mr_error *err)
{
    bool is_json = begins_as_json(mr_peek_skip(text_of(&r->sample[0])));
    enum mr_status status = mr_guess_new(!is_json, &r->guess, err);

    if (status != MR_OK)
        return status;
    if (is_json) {
        status = tell_json(r);
        for (size_t i = 0; i < r->n && status == MR_OK; i++)
            status = show_json(r, &r->sample[i]);
    } else {
        r->record = malloc(sizeof(*r->record));
        if (r->record == NULL)
            return mr_fail_nomem(err);
        if (!mr_dialect_tell(text_of(&r->sample[0]), r->record, &r->shape.csv))
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "write the spec by hand: see 'man mr-spec'",
                "'%s' is neither JSON nor parted alike in each line by commas, "
                "tabs, semicolons or bars",
                r->sample[0].name);
        r->shape.format =
            r->shape.csv.delimiter == '\t' ? MR_INPUT_TSV : MR_INPUT_CSV;
        status = show_csv(r);
    }
    if (status != MR_OK)
        return mr_fail_nomem(err);
    if (r->guess->records == 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "see that it holds objects of JSON, or rows",
            "no record can be read from '%s'", r->sample[0].name);
    return MR_OK;
}

static enum mr_status put_out(const struct run *r, const struct mr_sink *sink,
    const struct mr_buffer *text, struct mr_error *err)
{
    int number;

    if (r->options->output == NULL) {
        number = sink->write(sink->context, text->p, text->n);
        return number == 0
                   ? MR_OK
                   : mr_fail_errno(err, number, "check where the output goes",
                         "cannot write the spec");
    }
    return mr_publish_bytes(NULL, r->options->output, text->p, text->n, err);
}

static enum mr_status propose(struct run *r, const struct mr_sink *sink,
    struct mr_init_result *result, struct mr_error *err)
{
    struct mr_guess_choice choice;
    struct mr_buffer text = {0};
    enum mr_status status = look(r, err);

    if (status != MR_OK)
        return status;
    mr_guess_choose(r->guess, &choice);
    r->shape.source = r->sample[0].name;
    status = find_known(r, &choice, err);
    if (status == MR_OK &&
        mr_init_text(r->guess, &choice, &r->shape, &text, result) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = put_out(r, sink, &text, err);
    if (status == MR_OK && r->shape.known != NULL)
        mr_note(r->observer,
            "this is the shape that the built-in spec '%s' reads",
            r->shape.known->name);
    if (status == MR_OK && choice.other_format != NULL)
        mr_note(r->observer,
            "the times in '%s' do not say whether the day or the month comes "
            "first; the day is proposed; if it is the month, change line %u to "
            "time_format: '%s'",
            choice.time->name, result->time_line,
            choice.time_format[1] == 'd' ? choice.other_format
                                         : choice.time_format);
    mr_buffer_release(&text);
    return status;
}

enum mr_status mr_init(const struct mr_init_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_init_result *result_out, struct mr_error *err)
{
    struct run *r = calloc(1, sizeof(*r));
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (r == NULL)
        return mr_fail_nomem(err);
    r->options = options;
    r->observer = observer;
    status = read_samples(r, err);
    if (status == MR_OK)
        status = propose(r, sink, result_out, err);
    for (size_t i = 0; i < SAMPLES; i++) {
        mr_buffer_release(&r->sample[i].text);
        free(r->sample[i].name);
    }
    mr_guess_free(r->guess);
    mr_listing_release(&r->listing);
    mr_stream_release_spares();
    mr_buffer_release(&r->path);
    mr_buffer_release(&r->plain);
    free(r->record);
    free(r);
    return status;
}
