#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/writer.h"

/*
 * The canonical text, and what is told from it.  Nested settings stand in it
 * as YAML flow on the line of their key; spec_load.c reads it as it reads any
 * spec, so there is one definition of what each setting may say.
 */

const struct mr_spec_key_row mr_spec_keys[MR_KEY_COUNT] = {
#define SPEC_KEY(group, id, name, form, least, most, preset, meaning)          \
    {MR_KEYS_##group, name, form, least, most},
#include "mr/spec_keys.def"
#undef SPEC_KEY
};

const char *const mr_input_format_words[5] = {
    "json", "json-values", "json-array", "csv", "tsv"};
const char *const mr_time_words[5] = {
    "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "iso8601"};
const char *const mr_comparison_words[5] = {">=", ">", "=", "<", "<="};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Whether text can stand in YAML without quotes. */
static bool is_plain(const char *text)
{
    size_t i;

    if (!is_letter(text[0]) || mr_is_yaml_word(text, strlen(text)))
        return false;
    for (i = 1; text[i] != '\0'; i++) {
        if (!is_letter(text[i]) && !(text[i] >= '0' && text[i] <= '9') &&
            text[i] != '.' && text[i] != '-')
            return false;
    }
    return true;
}

static void put_string(struct mr_writer *w, const char *text)
{
    if (is_plain(text)) {
        MR_PUT(w, "%s", text);
        return;
    }
    MR_PUT(w, "\"");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7F)
            MR_PUT(w, "\\x%02x", c);
        else
            MR_PUT(w, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    MR_PUT(w, "\"");
}

static void put_byte(struct mr_writer *w, char byte)
{
    const char text[2] = {byte, '\0'};

    put_string(w, text);
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void put_csv(struct mr_writer *w, const struct mr_csv_rules *rules)
{
    unsigned i;

    MR_PUT(w, "{delimiter: ");
    put_byte(w, rules->delimiter);
    MR_PUT(w, ", quote: ");
    put_byte(w, rules->quote);
    MR_PUT(w, ", escape: %s, header: %s, skip_spaces: %s, nulls: [",
        rules->backslash ? "backslash" : "double", truth(rules->header),
        truth(rules->skip_spaces));
    for (i = 0; i < rules->n_nulls; i++) {
        MR_PUT(w, "%s", i > 0 ? ", " : "");
        put_string(w, rules->null[i]);
    }
    MR_PUT(w, "]}");
}

static void put_user(struct mr_writer *w, const struct mr_spec *spec)
{
    unsigned i;

    if (spec->n_users <= 1) {
        put_string(w, spec->field[MR_FIELD_USER]);
        return;
    }
    for (i = 0; i < spec->n_users; i++) {
        MR_PUT(w, "%s", i > 0 ? ", " : "[");
        put_string(w, spec->user[i]);
    }
    MR_PUT(w, "]");
}

static void put_table(struct mr_writer *w, const struct mr_users_table *table)
{
    char digest[MR_DIGEST_TEXT];
    unsigned i;

    if (!table->given) {
        MR_PUT(w, "null");
        return;
    }
    MR_PUT(w, "{id: ");
    put_string(w, table->id);
    MR_PUT(w, ", csv: ");
    put_csv(w, &table->csv);
    MR_PUT(w, ", ranges: {");
    if (table->n_ranges > 0) {
        put_string(w, table->ranged);
        MR_PUT(w, ": [");
        for (i = 0; i < table->n_ranges; i++)
            MR_PUT(w, "%s%" PRIu32 "-%" PRIu32, i > 0 ? ", " : "",
                table->range[i].low, table->range[i].high);
        MR_PUT(w, "]");
    }
    mr_digest_format(&table->digest, digest);
    MR_PUT(w, "}, digest: \"%s\", users: %" PRIu64 "}", digest, table->n_users);
}

/* The field that a column comes from, as mr_spec_source reads it. */
static void put_source(struct mr_writer *w, const struct mr_column *column)
{
    static const char *const words[] = {[MR_FROM_ID] = "id",
        [MR_FROM_TYPE] = "type",
        [MR_FROM_USER] = "user",
        [MR_FROM_TIME] = "time",
        [MR_FROM_HOUR] = "hour",
        [MR_FROM_DAY] = "day",
        [MR_FROM_HOST] = "url.host"};
    char text[MR_PATH_MAX_BYTES + 16];
    struct mr_column read;
    const char *problem;

    switch (column->from) {
    case MR_FROM_PATH:
        /* A dot goes before what would be read as something else. */
        problem = mr_spec_source(column->text, &read);
        snprintf(text, sizeof(text), "%s%s",
            problem || read.from != MR_FROM_PATH || column->text[0] == '.' ? "."
                                                                           : "",
            column->text);
        break;
    case MR_FROM_STEP:
        snprintf(text, sizeof(text), "url.path%u", column->number);
        break;
    case MR_FROM_FOLDER:
        snprintf(text, sizeof(text), "path.%s", column->text);
        break;
    case MR_FROM_TABLE:
        snprintf(text, sizeof(text), "users.%s", column->text);
        break;
    default:
        snprintf(text, sizeof(text), "%s", words[column->from]);
        break;
    }
    put_string(w, text);
}

/* [{name: field}, ...] */
static void put_columns(
    struct mr_writer *w, const struct mr_column *column, unsigned n)
{
    unsigned i;

    MR_PUT(w, "[");
    for (i = 0; i < n; i++) {
        MR_PUT(w, "%s{", i > 0 ? ", " : "");
        put_string(w, column[i].name);
        MR_PUT(w, ": ");
        put_source(w, &column[i]);
        MR_PUT(w, "}");
    }
    MR_PUT(w, "]");
}

static void put_rollups(struct mr_writer *w, const struct mr_spec *spec)
{
    unsigned i;

    MR_PUT(w, "[");
    for (i = 0; i < spec->n_rollups; i++) {
        const struct mr_rollup *r = &spec->rollup[i];

        MR_PUT(w, "%s{name: ", i > 0 ? ", " : "");
        put_string(w, r->name);
        MR_PUT(w, ", by: ");
        put_columns(w, r->by, r->n_by);
        MR_PUT(w, ", users: %s, events_as: ",
            r->users == MR_USERS_EXACT      ? "exact"
            : r->users == MR_USERS_ESTIMATE ? "estimate"
                                            : "both");
        put_string(w, r->events_as);
        MR_PUT(w, ", users_as: ");
        put_string(w, r->users_as);
        MR_PUT(w, ", max_groups: %" PRIu32 "}", r->max_groups);
    }
    MR_PUT(w, "]");
}

static void put_segments(struct mr_writer *w, const struct mr_spec *spec)
{
    unsigned i, j;

    MR_PUT(w, "{");
    for (i = 0; i < spec->n_segments; i++) {
        const struct mr_segment *s = &spec->segment[i];

        MR_PUT(w, "%s", i > 0 ? ", " : "");
        put_string(w, s->name);
        for (j = 0; j < s->n_conditions; j++) {
            MR_PUT(w, "%s", j > 0 ? ", " : ": {");
            put_string(w, s->condition[j].type);
            MR_PUT(w, ": \"%s%" PRIu32 "\"",
                mr_comparison_words[s->condition[j].comparison],
                s->condition[j].count);
        }
        MR_PUT(w, "}");
    }
    MR_PUT(w, "}");
}

static void put_number(struct mr_writer *w, uint64_t value)
{
    MR_PUT(w, "%" PRIu64, value);
}

/* A zone, with the digest of its data where these can differ. */
static void put_zone(
    struct mr_writer *w, const char *zone, const struct mr_digest *digest)
{
    char hex[MR_DIGEST_TEXT], text[MR_NAME_MAX_BYTES + MR_DIGEST_TEXT + 1];

    mr_digest_format(digest, hex);
    snprintf(text, sizeof(text), "%s %s", zone, hex);
    put_string(w, strcmp(zone, "UTC") == 0 ? zone : text);
}

/* The values of settings that are mappings and lists. */
static void put_nested(
    struct mr_writer *w, const struct mr_spec *spec, enum mr_spec_key key)
{
    switch (key) {
    case MR_KEY_CSV:
        if (mr_spec_has_columns(spec))
            put_csv(w, &spec->csv);
        else
            MR_PUT(w, "{}");
        break;
    case MR_KEY_USER:
        put_user(w, spec);
        break;
    case MR_KEY_TABLE:
        put_table(w, &spec->users_table);
        break;
    case MR_KEY_ROLLUPS:
        put_rollups(w, spec);
        break;
    case MR_KEY_DUPLICATES:
        if (spec->max_ids > 0)
            MR_PUT(w, "{max_ids: %" PRIu64 ", exact: %s}", spec->max_ids,
                truth(spec->exact_ids));
        else
            MR_PUT(w, "null");
        break;
    case MR_KEY_SEGMENTS:
        put_segments(w, spec);
        break;
    default:
        put_columns(w, spec->segments_by, spec->n_segments_by);
        break;
    }
}

/* The value of a setting as the canonical text has it. */
static void put_value(
    struct mr_writer *w, const struct mr_spec *spec, enum mr_spec_key key)
{
    switch (key) {
    case MR_KEY_FORMAT:
        MR_PUT(w, "%s", mr_input_format_words[spec->format]);
        break;
    case MR_KEY_RECORDS:
        put_string(w, spec->records);
        break;
    case MR_KEY_ID:
        put_string(w, spec->field[MR_FIELD_ID]);
        break;
    case MR_KEY_TYPE:
        put_string(w, spec->field[MR_FIELD_TYPE]);
        break;
    case MR_KEY_ATTRIBUTES:
        put_string(w, spec->field[MR_FIELD_ATTRIBUTES]);
        break;
    case MR_KEY_TIME:
        put_string(w, spec->field[MR_FIELD_TIME]);
        break;
    case MR_KEY_TIME_FORMAT:
        put_string(w, spec->time_kind == MR_TIME_PATTERN
                          ? spec->time_pattern
                          : mr_time_words[spec->time_kind]);
        break;
    case MR_KEY_TIME_ZONE:
        put_zone(w, spec->time_zone, &spec->time_zone_digest);
        break;
    case MR_KEY_ZONE:
        put_zone(w, spec->zone, &spec->zone_digest);
        break;
    case MR_KEY_IDENTITY:
        MR_PUT(w, "%s", spec->tagged ? "tagged" : "shared");
        break;
    case MR_KEY_URL:
        put_string(w, spec->url);
        break;
    case MR_KEY_SESSION_GAP:
        put_number(w, spec->session_gap_ms);
        break;
    case MR_KEY_MAX_LINE:
        put_number(w, spec->max_line_bytes);
        break;
    case MR_KEY_MAX_DEPTH:
        put_number(w, spec->max_depth);
        break;
    case MR_KEY_SKETCH_BITS:
        put_number(w, spec->sketch_bits);
        break;
    default:
        put_nested(w, spec, key);
        break;
    }
}

/* Whether a key has a line of the canonical text. */
static bool is_setting(enum mr_spec_key key)
{
    return mr_spec_keys[key].group == MR_KEYS_TOP && key != MR_KEY_ROWS;
}

enum mr_status mr_spec_text(const struct mr_spec *spec, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    int key;

    for (key = 0; key < MR_KEY_COUNT; key++) {
        if (!is_setting((enum mr_spec_key)key))
            continue;
        MR_PUT(&w, "%s: ", mr_spec_keys[key].name);
        put_value(&w, spec, (enum mr_spec_key)key);
        MR_PUT(&w, "\n");
    }
    return mr_writer_finish(&w);
}

enum mr_status mr_spec_digest(
    const struct mr_spec *spec, struct mr_digest *digest_out)
{
    struct mr_buffer text = {0};
    enum mr_status status = mr_spec_text(spec, &text);

    if (status == MR_OK)
        *digest_out = mr_digest_bytes(text.p, text.n);
    mr_buffer_release(&text);
    return status;
}

/* The text is read as any spec; that the spec's own text is byte for byte
 * the one that was read is what makes the reading strict. */
enum mr_status mr_spec_parse(
    struct mr_span text, struct mr_spec *spec_out, struct mr_error *err)
{
    struct mr_buffer again = {0};
    struct mr_error inner = {0};
    enum mr_status status;
    struct mr_spec *spec;
    bool same;

    if (text.n > MR_SPEC_MAX_BYTES)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
            "the spec's text is larger than 1 MiB");
    spec = malloc(sizeof(*spec));
    if (spec == NULL)
        return mr_fail_nomem(err);
    status = mr_spec_read(text, "", true, spec, &inner);
    if (status == MR_OK)
        status = mr_spec_text(spec, &again);
    same = status == MR_OK && again.n == text.n &&
           memcmp(again.p, text.p, text.n) == 0;
    mr_buffer_release(&again);
    if (status == MR_OK && same)
        *spec_out = *spec;
    free(spec);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
            "the spec's text is damaged or unknown to this version: %s",
            inner.cause);
    if (!same)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
            "the spec's text is not in its canonical form");
    return MR_OK;
}

/* So many bytes that two values begin or end with alike are not told. */
#define ALIKE_MOST 40

/* How many bytes two values begin with alike, of whole parts of a list. */
static size_t same_begin(const struct mr_buffer *a, const struct mr_buffer *b)
{
    size_t n = 0;

    while (n < a->n && n < b->n && a->p[n] == b->p[n])
        n++;
    while (n > 1 && (a->p[n - 1] != ' ' || a->p[n - 2] != ','))
        n--;
    return n > ALIKE_MOST ? n : 0;
}

/* The same of their ends, behind what they begin with. */
static size_t same_end(
    const struct mr_buffer *a, const struct mr_buffer *b, size_t begin)
{
    size_t n = 0;

    while (n + begin < a->n && n + begin < b->n &&
           a->p[a->n - 1 - n] == b->p[b->n - 1 - n])
        n++;
    while (n > 0 && a->p[a->n - n] != ',')
        n--;
    return n > ALIKE_MOST ? n : 0;
}

/* A value, less what both begin and end with. */
static void put_part(struct mr_writer *w, const struct mr_buffer *value,
    size_t begin, size_t end)
{
    MR_PUT(w, "%s%.*s%s", begin > 0 ? "... " : "",
        (int)(value->n - begin - end), (const char *)value->p + begin,
        end > 0 ? ", ..." : "");
}

static void put_difference(struct mr_writer *w, const char *name,
    const struct mr_buffer *here, const struct mr_buffer *there)
{
    size_t begin = same_begin(here, there);
    size_t end = same_end(here, there, begin);

    MR_PUT(w, "%s: ", name);
    put_part(w, here, begin, end);
    MR_PUT(w, " here, ");
    put_part(w, there, begin, end);
    MR_PUT(w, " there\n");
}

enum mr_status mr_spec_difference(
    const struct mr_spec *a, const struct mr_spec *b, struct mr_buffer *out)
{
    struct mr_buffer here = {0}, there = {0};
    struct mr_writer w = mr_writer_begin(out);
    struct mr_writer in, of;
    int key;

    for (key = 0; key < MR_KEY_COUNT && w.status == MR_OK; key++) {

        if (!is_setting((enum mr_spec_key)key))
            continue;
        here.n = there.n = 0;
        in = mr_writer_begin(&here);
        of = mr_writer_begin(&there);
        put_value(&in, a, (enum mr_spec_key)key);
        put_value(&of, b, (enum mr_spec_key)key);
        if (in.status != MR_OK || of.status != MR_OK)
            w.status = MR_NOMEM;
        else if (here.n != there.n || memcmp(here.p, there.p, here.n) != 0)
            put_difference(&w, mr_spec_keys[key].name, &here, &there);
    }
    mr_buffer_release(&here);
    mr_buffer_release(&there);
    return mr_writer_finish(&w);
}

enum mr_status mr_spec_fail_ids(struct mr_error *err, enum mr_status status,
    const char *column, const char *ids)
{
    return mr_fail(err, status, MR_NOWHERE, "take another column in the spec",
        "columns '%s' and '%s' are one, which has the users' ids, and no state "
        "may hold those",
        column, ids);
}

void mr_spec_reason(
    const struct mr_spec *spec, unsigned reason, char *out, size_t size)
{
    static const char *const whole[] = {"json", "too-long", "too-deep"};
    unsigned pair = reason - MR_REASON_FIELDS;

    if (reason == MR_REASON_JSON && mr_spec_has_columns(spec))
        snprintf(out, size, "csv");
    else if (reason < MR_REASON_FIELDS)
        snprintf(out, size, "%s", whole[reason]);
    else if (reason < MR_REASON_COUNT)
        snprintf(out, size, "%s:%s", pair % 2 ? "malformed" : "missing",
            spec->field[pair / 2]);
    else
        snprintf(out, size, "unknown");
}

static int compare_reasons(const void *a, const void *b)
{
    const struct mr_reason *x = a, *y = b;

    return strcmp(x->text, y->text);
}

size_t mr_spec_reasons(const struct mr_spec *spec,
    const uint64_t lines[MR_REASON_COUNT],
    struct mr_reason list[MR_REASON_COUNT])
{
    size_t n = 0, kept = 0, i;
    unsigned reason;

    for (reason = 0; reason < MR_REASON_COUNT; reason++) {
        if (lines[reason] == 0)
            continue;
        mr_spec_reason(spec, reason, list[n].text, MR_REASON_TEXT);
        list[n++].lines = lines[reason];
    }
    qsort(list, n, sizeof(*list), compare_reasons);
    for (i = 0; i < n; i++) {
        if (kept > 0 && strcmp(list[kept - 1].text, list[i].text) == 0)
            list[kept - 1].lines += list[i].lines;
        else
            list[kept++] = list[i];
    }
    return kept;
}

bool mr_spec_has_figures(const struct mr_spec *spec)
{
    return spec->n_rollups > 0 || spec->n_users > 1 || spec->users_table.given;
}
