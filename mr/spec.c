#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

#include <yaml.h>

#include "mr/text.h"

/*
 * One table drives everything: reading YAML, writing and reading the
 * canonical text, and telling two specs apart.  A spec is a flat mapping of
 * these keys, so of YAML only its scalars are used; anchors, aliases, tags,
 * nesting and further documents are refused, because a file that says
 * something other than it seems to say is worse than none.
 */

#define FILE_MAX_BYTES (1 << 20)
/* Longest value of the canonical text: a path, each byte escaped. */
#define VALUE_MAX_BYTES (2 * MR_PATH_MAX_BYTES + 2)

enum setting_kind { FIXED, PATH, NUMBER };

struct setting {
    const char *key;
    enum setting_kind kind;
    const char *only;    /* FIXED: the one value there is */
    enum mr_field field; /* PATH */
    size_t offset, size; /* NUMBER: where in struct mr_spec */
    uint64_t min, max;
};

#define FIXED_SETTING(key, only)                                               \
    {                                                                          \
        key, FIXED, only, MR_FIELD_COUNT, 0, 0, 0, 0                           \
    }
#define PATH_SETTING(key, field)                                               \
    {                                                                          \
        key, PATH, NULL, field, 0, 0, 0, 0                                     \
    }
#define NUMBER_SETTING(key, min, max)                                          \
    {                                                                          \
#key, NUMBER, NULL, MR_FIELD_COUNT, offsetof(struct mr_spec, key),     \
            sizeof(((struct mr_spec *)0)->key), min, max                       \
    }

static const struct setting settings[] = {
    FIXED_SETTING("format", "json"),
    FIXED_SETTING("zone", "UTC"),
    PATH_SETTING("id", MR_FIELD_ID),
    PATH_SETTING("type", MR_FIELD_TYPE),
    PATH_SETTING("attributes", MR_FIELD_ATTRIBUTES),
    PATH_SETTING("time", MR_FIELD_TIME),
    PATH_SETTING("user", MR_FIELD_USER),
    NUMBER_SETTING(session_gap_ms, 0, 86400000),
    NUMBER_SETTING(max_line_bytes, 1, UINT64_C(1) << 30),
    NUMBER_SETTING(max_depth, 1, 65536),
    NUMBER_SETTING(sketch_bits, 4, 18),
};
#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static const struct mr_spec lake = {
    .field = {"data.id", "data.type", "data.attributes", "meta.created_at",
        "data.attributes.user_id"},
    .session_gap_ms = 1800000,
    .max_line_bytes = UINT64_C(16) << 20,
    .max_depth = 1024,
    .sketch_bits = 14,
};

static uint64_t get_number(const struct mr_spec *spec, const struct setting *s)
{
    const char *at = (const char *)spec + s->offset;
    uint32_t narrow;
    uint64_t wide;

    if (s->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void put_number(
    struct mr_spec *spec, const struct setting *s, uint64_t value)
{
    char *at = (char *)spec + s->offset;
    uint32_t narrow = (uint32_t)value;

    if (s->size == sizeof(narrow))
        memcpy(at, &narrow, sizeof(narrow));
    else
        memcpy(at, &value, sizeof(value));
}

/* Characters that YAML takes for line breaks or does not allow at all: the
 * control characters, U+2028, U+2029, U+FEFF, U+FFFE and U+FFFF. */
static bool is_unprintable(const uint8_t *p, size_t length)
{
    static const char rare[][4] = {"\xE2\x80\xA8", "\xE2\x80\xA9",
        "\xEF\xBB\xBF", "\xEF\xBF\xBE", "\xEF\xBF\xBF"};
    size_t i;

    if (length == 1)
        return p[0] < 0x20 || p[0] == 0x7F;
    if (length == 2)
        return p[0] == 0xC2 && p[1] < 0xA0;
    for (i = 0; length == 3 && i < sizeof(rare) / sizeof(rare[0]); i++) {
        if (memcmp(p, rare[i], 3) == 0)
            return true;
    }
    return false;
}

/* What is wrong with a dotted path; NULL when nothing is. */
static const char *path_problem(const uint8_t *p, size_t n)
{
    size_t i, length, key_bytes = 0, depth = 1;

    if (n > MR_PATH_MAX_BYTES)
        return "longer than 256 bytes";
    for (i = 0; i < n; i += length) {
        length = mr_text_character(p + i, n - i);
        if (length == 0)
            return "not UTF-8";
        if (is_unprintable(p + i, length))
            return "control character";
        if (p[i] != '.') {
            key_bytes += length;
            continue;
        }
        if (key_bytes == 0)
            return "a key between dots is empty";
        key_bytes = 0;
        depth++;
    }
    if (key_bytes == 0)
        return n == 0 ? "empty" : "a key between dots is empty";
    return depth > MR_PATH_MAX_DEPTH ? "more than 16 keys deep" : NULL;
}

/* Words that YAML readers take for something other than a string. */
static bool is_yaml_word(const char *text, size_t n)
{
    static const char *const words[] = {
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "~"};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == n && strncasecmp(words[i], text, n) == 0)
            return true;
    }
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether a path can stand in YAML without quotes. */
static bool is_plain(const char *path)
{
    size_t i;

    if (!is_letter(path[0]) || is_yaml_word(path, strlen(path)))
        return false;
    for (i = 1; path[i] != '\0'; i++) {
        if (!is_letter(path[i]) && !is_digit(path[i]) && path[i] != '.' &&
            path[i] != '-')
            return false;
    }
    return true;
}

/* Write the value of a setting as the canonical text has it. */
static void format_value(const struct mr_spec *spec, const struct setting *s,
    char out[VALUE_MAX_BYTES + 1])
{
    const char *path;
    size_t n = 0;

    if (s->kind == FIXED) {
        snprintf(out, VALUE_MAX_BYTES + 1, "%s", s->only);
        return;
    }
    if (s->kind == NUMBER) {
        snprintf(out, VALUE_MAX_BYTES + 1, "%" PRIu64, get_number(spec, s));
        return;
    }
    path = spec->field[s->field];
    if (is_plain(path)) {
        snprintf(out, VALUE_MAX_BYTES + 1, "%s", path);
        return;
    }
    out[n++] = '"';
    for (; *path != '\0'; path++) {
        if (*path == '"' || *path == '\\')
            out[n++] = '\\';
        out[n++] = *path;
    }
    out[n++] = '"';
    out[n] = '\0';
}

enum mr_status mr_spec_text(const struct mr_spec *spec, struct mr_buffer *out)
{
    char line[VALUE_MAX_BYTES + 1 + 32], value[VALUE_MAX_BYTES + 1];
    size_t i, before = out->n;
    int n;

    for (i = 0; i < N_SETTINGS; i++) {
        format_value(spec, &settings[i], value);
        n = snprintf(line, sizeof(line), "%s: %s\n", settings[i].key, value);
        if (mr_buffer_add(out, line, (size_t)n) != MR_OK) {
            out->n = before;
            return MR_NOMEM;
        }
    }
    return MR_OK;
}

/* Decimal digits as a number of at most 2^53; false for anything else. */
static bool parse_number(const char *text, size_t n, uint64_t *value_out)
{
    uint64_t value = 0;
    size_t i;

    if (n == 0 || n > 15)
        return false;
    for (i = 0; i < n; i++) {
        if (!is_digit(text[i]))
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *value_out = value;
    return true;
}

/* Set one setting from its text, quotes and escapes already taken off.
 * Return NULL, or what is wrong, with spec unchanged. */
static const char *set_value(
    struct mr_spec *spec, const struct setting *s, const char *text, size_t n)
{
    const char *problem;
    uint64_t value;

    switch (s->kind) {
    case FIXED:
        return n == strlen(s->only) && memcmp(text, s->only, n) == 0
                   ? NULL
                   : "not supported";
    case PATH:
        problem = path_problem((const uint8_t *)text, n);
        if (problem && !(n == 0 && s->field == MR_FIELD_ATTRIBUTES))
            return problem;
        memset(spec->field[s->field], 0, sizeof(spec->field[0]));
        memcpy(spec->field[s->field], text, n);
        return NULL;
    default:
        if (!parse_number(text, n, &value))
            return "not a whole number";
        if (value < s->min || value > s->max)
            return "out of range";
        put_number(spec, s, value);
        return NULL;
    }
}

/* Take the quotes and escapes off a value of the canonical text; -1 when it
 * has none or they are wrong.  out has room for n bytes. */
static long unquote(const char *text, size_t n, char *out)
{
    size_t i, m = 0;

    if (n < 2 || text[0] != '"' || text[n - 1] != '"')
        return -1;
    for (i = 1; i < n - 1; i++) {
        if (text[i] == '\\' && ++i == n - 1)
            return -1;
        out[m++] = text[i];
    }
    return (long)m;
}

/* Read "KEY: VALUE\n" of the setting s from text at *at. */
static bool parse_line(struct mr_span text, size_t *at, const struct setting *s,
    struct mr_spec *spec)
{
    const char *p = (const char *)text.p + *at;
    size_t n_key = strlen(s->key), left = text.n - *at, n;
    const char *end = left ? memchr(p, '\n', left) : NULL;
    char plain[VALUE_MAX_BYTES];
    long unquoted;

    if (!end || (size_t)(end - p) < n_key + 2)
        return false;
    if (memcmp(p, s->key, n_key) != 0 || memcmp(p + n_key, ": ", 2) != 0)
        return false;
    *at += (size_t)(end - p) + 1;
    p += n_key + 2;
    n = (size_t)(end - p);
    if (n > sizeof(plain))
        return false;
    unquoted = s->kind == PATH ? unquote(p, n, plain) : -1;
    if (unquoted >= 0)
        return !set_value(spec, s, plain, (size_t)unquoted);
    return !set_value(spec, s, p, n);
}

/* The lines are read loosely; that the spec's own text is byte for byte the
 * one that was read is what makes the reading strict. */
enum mr_status mr_spec_parse(
    struct mr_span text, struct mr_spec *spec_out, struct mr_error *err)
{
    struct mr_spec spec = lake;
    struct mr_buffer again = {0};
    enum mr_status status;
    size_t i, at = 0;
    bool same;

    for (i = 0; i < N_SETTINGS; i++) {
        if (!parse_line(text, &at, &settings[i], &spec))
            return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
                "the spec's setting '%s' is damaged or unknown to this version",
                settings[i].key);
    }
    status = mr_spec_text(&spec, &again);
    if (status != MR_OK)
        return mr_fail_nomem(err);
    same = again.n == text.n && memcmp(again.p, text.p, text.n) == 0;
    mr_buffer_release(&again);
    if (!same)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, NULL,
            "the spec's text is not in its canonical form");
    *spec_out = spec;
    return MR_OK;
}

enum mr_status mr_spec_difference(
    const struct mr_spec *a, const struct mr_spec *b, struct mr_buffer *out)
{
    char line[2 * (VALUE_MAX_BYTES + 1) + 64];
    char here[VALUE_MAX_BYTES + 1], there[VALUE_MAX_BYTES + 1];
    size_t i, before = out->n;
    int n;

    for (i = 0; i < N_SETTINGS; i++) {
        format_value(a, &settings[i], here);
        format_value(b, &settings[i], there);
        if (strcmp(here, there) == 0)
            continue;
        n = snprintf(line, sizeof(line), "%s: %s here, %s there\n",
            settings[i].key, here, there);
        if (mr_buffer_add(out, line, (size_t)n) != MR_OK) {
            out->n = before;
            return MR_NOMEM;
        }
    }
    return MR_OK;
}

void mr_spec_reason(
    const struct mr_spec *spec, unsigned reason, char *out, size_t size)
{
    static const char *const whole[] = {"json", "too-long", "too-deep"};
    unsigned pair = reason - MR_REASON_FIELDS;

    if (reason < MR_REASON_FIELDS)
        snprintf(out, size, "%s", whole[reason]);
    else if (reason < MR_REASON_COUNT)
        snprintf(out, size, "%s:%s", pair % 2 ? "malformed" : "missing",
            spec->field[pair / 2]);
    else
        snprintf(out, size, "unknown");
}

enum mr_status mr_spec_builtin(
    const char *name, struct mr_spec *spec_out, struct mr_error *err)
{
    if (strcmp(name, "lake") != 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "the built-in spec is 'lake'",
            "no built-in spec '%.64s'", name);
    *spec_out = lake;
    return MR_OK;
}

/* The Levenshtein distance of two words; b is one of our keys. */
static size_t edit_distance(const char *a, size_t n, const char *b)
{
    size_t row[32], m = strlen(b), i, j;

    for (j = 0; j <= m; j++)
        row[j] = j;
    for (i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

static const struct setting *nearest_setting(const char *key, size_t n)
{
    const struct setting *best = NULL;
    size_t i, least = SIZE_MAX;

    if (n > 64) /* no slip of the pen; what begins it will do */
        n = 64;
    for (i = 0; i < N_SETTINGS; i++) {
        size_t distance = edit_distance(key, n, settings[i].key);

        if (distance < least) {
            least = distance;
            best = &settings[i];
        }
    }
    return best;
}

/* What a file may say at a setting, for messages. */
static void describe(const struct setting *s, char *out, size_t size)
{
    if (s->kind == FIXED)
        snprintf(out, size, "'%s' must be '%s'", s->key, s->only);
    else if (s->kind == NUMBER)
        snprintf(out, size,
            "'%s' must be a whole number from %" PRIu64 " to %" PRIu64, s->key,
            s->min, s->max);
    else
        snprintf(out, size, "'%s' must be a path of keys, as %s", s->key,
            lake.field[s->field]);
}

/* One spec file as it is being read. */
struct loader {
    yaml_parser_t parser;
    yaml_event_t event; /* holds the event last read */
    struct mr_spec spec;
    bool seen[N_SETTINGS];
    struct mr_error *err;
};

/* Copy at most 40 bytes of foreign text for a message. */
static const char *shown(const char *text, size_t n, char out[48])
{
    size_t i, kept = n > 40 ? 40 : n;

    while (kept < n && kept > 0 && ((unsigned char)text[kept] & 0xC0) == 0x80)
        kept--; /* not half a character */
    for (i = 0; i < kept; i++)
        out[i] =
            (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    snprintf(out + kept, 48 - kept, "%s", n > kept ? "..." : "");
    return out;
}

static enum mr_status fail_at(
    struct loader *l, yaml_mark_t mark, const char *advice, const char *cause)
{
    return mr_fail(l->err, MR_USAGE, MR_NOWHERE, advice,
        "line %zu, column %zu: %s", mark.line + 1, mark.column + 1, cause);
}

/* Read the next event into l->event. */
static enum mr_status next_event(struct loader *l)
{
    char cause[160];

    yaml_event_delete(&l->event);
    if (yaml_parser_parse(&l->parser, &l->event))
        return MR_OK;
    memset(&l->event, 0, sizeof(l->event));
    if (l->parser.error == YAML_MEMORY_ERROR)
        return mr_fail_nomem(l->err);
    if (l->parser.error == YAML_READER_ERROR)
        return mr_fail(l->err, MR_USAGE, l->parser.problem_offset,
            "save the file as UTF-8", "not YAML: %s", l->parser.problem);
    snprintf(cause, sizeof(cause), "not YAML: %s",
        l->parser.problem ? l->parser.problem : "syntax error");
    return fail_at(l, l->parser.problem_mark, NULL, cause);
}

/* The next event must be of this type. */
static enum mr_status expect(
    struct loader *l, yaml_event_type_t type, const char *otherwise)
{
    enum mr_status status = next_event(l);

    if (status == MR_OK && l->event.type != type)
        status = fail_at(l, l->event.start_mark,
            "write one 'key: value' line for each setting", otherwise);
    return status;
}

static enum mr_status check_scalar(struct loader *l, const char *what)
{
    char cause[96];

    if (l->event.type == YAML_ALIAS_EVENT)
        return fail_at(l, l->event.start_mark, "write the value out",
            "aliases are not used in a spec");
    if (l->event.type != YAML_SCALAR_EVENT) {
        snprintf(
            cause, sizeof(cause), "%s must be a single word or number", what);
        return fail_at(l, l->event.start_mark,
            "write one 'key: value' line for each setting", cause);
    }
    if (l->event.data.scalar.anchor || l->event.data.scalar.tag)
        return fail_at(l, l->event.start_mark, "leave it out",
            "anchors and tags are not used in a spec");
    return MR_OK;
}

/* Which setting the scalar in l->event names. */
static enum mr_status find_setting(
    struct loader *l, const struct setting **setting_out)
{
    const char *key = (const char *)l->event.data.scalar.value;
    size_t i, n = l->event.data.scalar.length;
    char cause[96], advice[96], text[48];

    for (i = 0; i < N_SETTINGS; i++) {
        if (strlen(settings[i].key) != n || memcmp(settings[i].key, key, n))
            continue;
        if (l->seen[i]) {
            snprintf(cause, sizeof(cause), "'%s' stands here a second time",
                settings[i].key);
            return fail_at(
                l, l->event.start_mark, "keep one of the two", cause);
        }
        l->seen[i] = true;
        *setting_out = &settings[i];
        return MR_OK;
    }
    snprintf(cause, sizeof(cause), "unknown key '%s'", shown(key, n, text));
    snprintf(advice, sizeof(advice), "the nearest known key is '%s'",
        nearest_setting(key, n)->key);
    return fail_at(l, l->event.start_mark, advice, cause);
}

/* Whether an unquoted scalar is no string to YAML: a word or a number. */
static bool is_other_type(const char *text, size_t n)
{
    size_t i;

    if (n == 0 || is_yaml_word(text, n))
        return n != 0;
    if (is_letter(text[0]))
        return false;
    for (i = 0; i < n; i++) {
        if (!is_digit(text[i]) && !strchr("+-._eExX", text[i]))
            return false;
    }
    return true;
}

/* Set a setting to the scalar in l->event. */
static enum mr_status load_value(struct loader *l, const struct setting *s)
{
    const char *value = (const char *)l->event.data.scalar.value;
    size_t n = l->event.data.scalar.length;
    bool quoted = l->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    char cause[128], expected[128], text[48];
    const char *problem;

    if (s->kind == NUMBER && quoted)
        problem = "a string, not a number";
    else if (s->kind == PATH && !quoted && is_other_type(value, n))
        problem = "not a string; put it in quotes if it is a key's name";
    else
        problem = set_value(&l->spec, s, value, n);
    if (!problem)
        return MR_OK;
    describe(s, expected, sizeof(expected));
    snprintf(cause, sizeof(cause), "'%s': %s", shown(value, n, text), problem);
    return fail_at(l, l->event.start_mark, expected, cause);
}

static enum mr_status load_mapping(struct loader *l)
{
    const struct setting *setting = NULL;
    enum mr_status status;

    if (l->event.data.mapping_start.anchor || l->event.data.mapping_start.tag)
        return fail_at(l, l->event.start_mark, "leave it out",
            "anchors and tags are not used in a spec");
    for (;;) {
        status = next_event(l);
        if (status != MR_OK || l->event.type == YAML_MAPPING_END_EVENT)
            return status;
        status = check_scalar(l, "a key");
        if (status == MR_OK)
            status = find_setting(l, &setting);
        if (status == MR_OK)
            status = next_event(l);
        if (status == MR_OK)
            status = check_scalar(l, "a value");
        if (status == MR_OK)
            status = load_value(l, setting);
        if (status != MR_OK)
            return status;
    }
}

static enum mr_status load_stream(struct loader *l)
{
    enum mr_status status = expect(l, YAML_STREAM_START_EVENT, "not YAML");

    if (status == MR_OK)
        status = expect(l, YAML_DOCUMENT_START_EVENT, "the file is empty");
    if (status == MR_OK)
        status = expect(
            l, YAML_MAPPING_START_EVENT, "a spec is a mapping of settings");
    if (status == MR_OK)
        status = load_mapping(l);
    if (status == MR_OK)
        status = expect(l, YAML_DOCUMENT_END_EVENT, "the mapping goes on");
    if (status == MR_OK)
        status = expect(l, YAML_STREAM_END_EVENT,
            "a spec is one document, here is another");
    return status;
}

/* A file that the system refuses: the caller named the wrong one. */
static enum mr_status refuse_file(struct mr_error *err, int number)
{
    mr_fail_errno(
        err, number, "name a spec file, or the built-in spec 'lake'", NULL);
    if (err)
        err->status = MR_USAGE;
    return MR_USAGE;
}

/* Read a whole small file. */
static enum mr_status read_file(
    const char *path, struct mr_buffer *out, struct mr_error *err)
{
    FILE *f = fopen(path, "rb");
    enum mr_status status = MR_OK;

    if (!f)
        return refuse_file(err, errno);
    if (mr_buffer_reserve(out, FILE_MAX_BYTES + 1) != MR_OK) {
        status = mr_fail_nomem(err);
    } else {
        out->n = fread(out->p, 1, FILE_MAX_BYTES + 1, f);
        if (ferror(f))
            status = refuse_file(err, errno);
        else if (out->n > FILE_MAX_BYTES)
            status = mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
                "larger than 1 MiB; that is no spec");
    }
    fclose(f);
    return status;
}

static enum mr_status load_file(
    const char *path, struct mr_spec *spec_out, struct mr_error *err)
{
    struct loader l = {.spec = lake, .err = err};
    struct mr_buffer text = {0};
    enum mr_status status = read_file(path, &text, err);

    if (status != MR_OK)
        goto done;
    if (!yaml_parser_initialize(&l.parser)) {
        status = mr_fail_nomem(err);
        goto done;
    }
    yaml_parser_set_input_string(&l.parser, text.p, text.n);
    status = load_stream(&l);
    yaml_event_delete(&l.event);
    yaml_parser_delete(&l.parser);
    if (status == MR_OK)
        *spec_out = l.spec;
done:
    mr_buffer_release(&text);
    return status;
}

enum mr_status mr_spec_load(
    const char *name_or_path, struct mr_spec *spec_out, struct mr_error *err)
{
    enum mr_status status;

    if (mr_spec_builtin(name_or_path, spec_out, NULL) == MR_OK)
        return MR_OK;
    status = load_file(name_or_path, spec_out, err);
    if (status != MR_OK)
        mr_error_subject(err, "cannot use spec", name_or_path);
    return status;
}
