#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr/timeform.h"

/*
 * From YAML to a spec: how events are read.  spec_figures.c has what is kept
 * of them.  Settings are read in an order of their own, whatever that of the
 * file: the format tells what a path may be, and so on.
 */

static const struct mr_spec defaults = {
    .field = {"data.id", "data.type", "data.attributes", "meta.created_at",
        "data.attributes.user_id"},
    .user = {"data.attributes.user_id"},
    .n_users = 1,
    .time_kind = MR_TIME_EPOCH_MS,
    .time_zone = "UTC",
    .zone = "UTC",
    .session_gap_ms = 1800000,
    .max_line_bytes = UINT64_C(16) << 20,
    .max_depth = 1024,
    .sketch_bits = 14,
};

static enum mr_status load_format(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *format = l->value[MR_KEY_FORMAT];
    const struct mr_yaml_node *csv = l->value[MR_KEY_CSV];
    unsigned number = MR_INPUT_JSON;
    enum mr_status status = MR_OK;

    if (format)
        status = mr_spec_take_word(
            l, MR_KEY_FORMAT, format, mr_input_format_words, 5, &number);
    if (status != MR_OK)
        return status;
    l->spec->format = (enum mr_input_format)number;
    if (mr_spec_has_columns(l->spec)) {
        l->spec->field[MR_FIELD_ATTRIBUTES][0] = '\0';
        return mr_spec_take_csv(
            l, MR_KEY_CSV, csv, l->spec->format == MR_INPUT_TSV, &l->spec->csv);
    }
    if (csv && (csv->kind != MR_YAML_MAPPING || csv->n > 0))
        return mr_yaml_fail(l->err, csv,
            "say 'format: csv', or leave 'csv' out",
            "'csv' is for the formats csv and tsv, and this is %s",
            mr_input_format_words[number]);
    return MR_OK;
}

static enum mr_status load_records(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_RECORDS];
    enum mr_status status;

    if (!node)
        return MR_OK;
    status = mr_spec_take_text(l, MR_KEY_RECORDS, node, MR_TEXT_EMPTY,
        l->spec->records, sizeof(mr_path));
    if (status != MR_OK || l->spec->records[0] == '\0')
        return status;
    if (l->spec->format != MR_INPUT_JSON_ARRAY)
        return mr_yaml_fail(l->err, node,
            "say 'format: json-array', or leave 'records' out",
            "'records' is for the format json-array, and this is %s",
            mr_input_format_words[l->spec->format]);
    if (mr_spec_path_problem(l->spec->records))
        return mr_spec_refuse(l, MR_KEY_RECORDS, node, "%s",
            mr_spec_path_problem(l->spec->records));
    return MR_OK;
}

/* Names of columns have no defaults that would be of use. */
static enum mr_status check_given(struct mr_spec_loader *l)
{
    static const enum mr_spec_key wanted[] = {
        MR_KEY_ID, MR_KEY_TYPE, MR_KEY_TIME, MR_KEY_USER};
    size_t i;

    for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        const char *name = mr_spec_keys[wanted[i]].name;
        char advice[64];

        if (l->value[wanted[i]] || !mr_spec_has_columns(l->spec))
            continue;
        snprintf(advice, sizeof(advice), "write '%s: ' and the column%s", name,
            wanted[i] == MR_KEY_ID ? ", or ''" : "");
        return mr_yaml_fail(l->err, l->value[MR_KEY_FORMAT], advice,
            "with csv and tsv '%s' must be given", name);
    }
    return MR_OK;
}

static enum mr_status load_type(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_TYPE];
    char *type = l->spec->field[MR_FIELD_TYPE];

    if (!node)
        return MR_OK;
    if (node->kind != MR_YAML_SCALAR || node->text[0] != '=')
        return mr_spec_take_path(l, MR_KEY_TYPE, node, 0, type);
    if (node->n == 1)
        return mr_spec_refuse(l, MR_KEY_TYPE, node, "no type behind the '='");
    return mr_spec_take_text(l, MR_KEY_TYPE, node, 0, type, sizeof(mr_path));
}

static enum mr_status load_attributes(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_ATTRIBUTES];

    if (!node)
        return MR_OK;
    if (mr_spec_has_columns(l->spec) &&
        (node->kind != MR_YAML_SCALAR || node->n > 0))
        return mr_yaml_fail(l->err, node, "leave 'attributes' out",
            "rows of csv and tsv have no objects in them");
    return mr_spec_take_path(l, MR_KEY_ATTRIBUTES, node, MR_TEXT_EMPTY,
        l->spec->field[MR_FIELD_ATTRIBUTES]);
}

static enum mr_status load_users(struct mr_spec_loader *l)
{
    static const char *const words[] = {"shared", "tagged"};
    const struct mr_yaml_node *node = l->value[MR_KEY_USER];
    struct mr_spec *spec = l->spec;
    enum mr_status status = MR_OK;
    unsigned i, tagged = 0;

    if (l->value[MR_KEY_IDENTITY])
        status = mr_spec_take_word(
            l, MR_KEY_IDENTITY, l->value[MR_KEY_IDENTITY], words, 2, &tagged);
    spec->tagged = tagged == 1;
    if (status != MR_OK || !node)
        return status;
    if (node->kind == MR_YAML_LIST) {
        status = mr_spec_take_many(
            l, MR_KEY_USER, node, MR_YAML_LIST, 1, MR_USERS_FIELDS_MAX);
        node = node->first;
    }
    for (spec->n_users = 0; status == MR_OK && node; node = node->next) {
        char *path = spec->user[spec->n_users];

        status = mr_spec_take_path(l, MR_KEY_USER, node, 0, path);
        for (i = 0; status == MR_OK && i < spec->n_users; i++) {
            if (strcmp(spec->user[i], path) == 0)
                status = mr_spec_refuse(
                    l, MR_KEY_USER, node, "a second time in the list");
        }
        spec->n_users++;
        if (l->value[MR_KEY_USER]->kind != MR_YAML_LIST)
            break; /* what follows in the file is another key */
    }
    memcpy(spec->field[MR_FIELD_USER], spec->user[0], sizeof(mr_path));
    return status;
}

bool mr_spec_is_user(const struct mr_spec *spec, const char *path)
{
    for (unsigned i = 0; i < spec->n_users; i++)
        if (strcmp(spec->user[i], path) == 0)
            return true;
    return false;
}

/* Types stand in states, which have no id of a user. */
static enum mr_status check_type(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_TYPE];
    const struct mr_spec *spec = l->spec;

    if (l->is_canonical || !mr_spec_is_user(spec, spec->field[MR_FIELD_TYPE]))
        return MR_OK;
    return mr_yaml_fail(l->err, node ? node : l->value[MR_KEY_USER],
        "name another field for one of the two",
        "'%s' is the type and the user's id, which no state may hold",
        spec->field[MR_FIELD_TYPE]);
}

static enum mr_status load_paths(struct mr_spec_loader *l)
{
    struct mr_spec *spec = l->spec;
    enum mr_status status = check_given(l);

    if (status == MR_OK && l->value[MR_KEY_ID])
        status = mr_spec_take_path(l, MR_KEY_ID, l->value[MR_KEY_ID],
            MR_TEXT_EMPTY, spec->field[MR_FIELD_ID]);
    if (status == MR_OK)
        status = load_type(l);
    if (status == MR_OK)
        status = load_attributes(l);
    if (status == MR_OK && l->value[MR_KEY_TIME])
        status = mr_spec_take_path(l, MR_KEY_TIME, l->value[MR_KEY_TIME], 0,
            spec->field[MR_FIELD_TIME]);
    if (status == MR_OK)
        status = load_users(l);
    if (status == MR_OK)
        status = check_type(l);
    if (status == MR_OK && l->value[MR_KEY_URL])
        status = mr_spec_take_path(
            l, MR_KEY_URL, l->value[MR_KEY_URL], MR_TEXT_EMPTY, spec->url);
    return status;
}

/* Whether this system knows a zone.  A state's is looked for by who needs it:
 * to merge states takes none. */
static enum mr_status check_zone(
    struct mr_spec_loader *l, const struct mr_yaml_node *node, const char *name)
{
    struct mr_zone *zone = NULL;
    struct mr_error why = {0};
    enum mr_status status;

    if (l->is_canonical)
        return MR_OK;
    status = mr_zone_load(name, &zone, &why);
    mr_zone_free(zone);
    if (status == MR_USAGE)
        return mr_yaml_fail(l->err, node, why.advice, "%s", why.cause);
    if (status != MR_OK && l->err)
        *l->err = why;
    return status;
}

/* A zone; in the text of a state with the digest of its data behind it. */
static enum mr_status load_zone(struct mr_spec_loader *l, enum mr_spec_key key,
    mr_name zone, struct mr_digest *digest)
{
    const struct mr_yaml_node *node = l->value[key];
    char text[MR_NAME_MAX_BYTES + MR_DIGEST_TEXT + 1];
    enum mr_status status;
    char *blank;

    if (node == NULL)
        return MR_OK;
    status = mr_spec_take_text(l, key, node, 0, text, sizeof(text));
    if (status != MR_OK)
        return status;
    blank = l->is_canonical ? strchr(text, ' ') : NULL;
    if (blank != NULL) {
        *blank++ = '\0';
        if (!mr_digest_parse(blank, strlen(blank), digest))
            return mr_spec_refuse(l, key, node, "no digest");
    }
    if (strlen(text) > MR_NAME_MAX_BYTES || mr_spec_zone_problem(text))
        return mr_spec_refuse(l, key, node, "no zone's name");
    memcpy(zone, text, strlen(text) + 1);
    return check_zone(l, node, zone);
}

/* A pattern that times can be read by.  To merge states takes none, either. */
static enum mr_status load_pattern(
    struct mr_spec_loader *l, const struct mr_yaml_node *node)
{
    char *pattern = l->spec->time_pattern;
    enum mr_status status = mr_spec_take_text(
        l, MR_KEY_TIME_FORMAT, node, 0, pattern, sizeof(mr_name));
    struct mr_timeform form;
    struct mr_error why = {0};

    if (status != MR_OK || l->is_canonical)
        return status;
    status = mr_timeform_init(&form, MR_TIME_PATTERN, pattern, NULL, &why);
    return status == MR_OK ? MR_OK
                           : mr_yaml_fail(l->err, node, why.advice,
                                 "'time_format': %s", why.cause);
}

static enum mr_status load_times(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_TIME_FORMAT];
    struct mr_spec *spec = l->spec;
    enum mr_status status = MR_OK;
    unsigned kind = MR_TIME_EPOCH_MS;

    if (node && node->kind == MR_YAML_SCALAR && strchr(node->text, '%')) {
        kind = MR_TIME_PATTERN;
        status = load_pattern(l, node);
    } else if (node) {
        status = mr_spec_take_word(
            l, MR_KEY_TIME_FORMAT, node, mr_time_words, 5, &kind);
    }
    spec->time_kind = (enum mr_time_kind)kind;
    if (status == MR_OK)
        status = load_zone(
            l, MR_KEY_TIME_ZONE, spec->time_zone, &spec->time_zone_digest);
    if (status == MR_OK && kind < MR_TIME_ISO8601 &&
        strcmp(spec->time_zone, "UTC") != 0)
        return mr_yaml_fail(l->err, l->value[MR_KEY_TIME_ZONE],
            "'zone' is where days begin; for other times set 'time_format'",
            "times since 1970 have no zone");
    return status == MR_OK
               ? load_zone(l, MR_KEY_ZONE, spec->zone, &spec->zone_digest)
               : status;
}

static enum mr_status load_limits(struct mr_spec_loader *l)
{
    struct mr_spec *spec = l->spec;
    uint64_t depth = spec->max_depth, bits = spec->sketch_bits;
    const struct {
        enum mr_spec_key key;
        uint64_t *value;
    } number[] = {{MR_KEY_SESSION_GAP, &spec->session_gap_ms},
        {MR_KEY_MAX_LINE, &spec->max_line_bytes}, {MR_KEY_MAX_DEPTH, &depth},
        {MR_KEY_SKETCH_BITS, &bits}};
    enum mr_status status = MR_OK;
    size_t i;

    for (i = 0; status == MR_OK && i < sizeof(number) / sizeof(number[0]);
         i++) {
        if (l->value[number[i].key])
            status = mr_spec_take_number(
                l, number[i].key, l->value[number[i].key], number[i].value);
    }
    spec->max_depth = (uint32_t)depth;
    spec->sketch_bits = (uint32_t)bits;
    return status;
}

enum mr_status mr_spec_read(struct mr_span text, const char *folder,
    bool is_canonical, struct mr_spec *spec_out, struct mr_error *err)
{
    struct mr_spec *spec = malloc(sizeof(*spec)); /* too large for a stack */
    struct mr_spec_loader l = {.spec = spec,
        .folder = folder,
        .is_canonical = is_canonical,
        .err = err};
    struct mr_yaml yaml;
    enum mr_status status;

    if (spec == NULL)
        return mr_fail_nomem(err);
    *spec = defaults;
    status = mr_yaml_read(text, &yaml, err);
    if (status == MR_OK)
        status = mr_spec_keys_of(&l, yaml.root, MR_KEY_COUNT, MR_KEYS_TOP);
    if (status == MR_OK)
        status = load_format(&l);
    if (status == MR_OK)
        status = load_records(&l);
    if (status == MR_OK)
        status = load_paths(&l);
    if (status == MR_OK)
        status = load_times(&l);
    if (status == MR_OK)
        status = load_limits(&l);
    if (status == MR_OK)
        status = mr_spec_load_table(&l);
    if (status == MR_OK)
        status = mr_spec_load_figures(&l);
    mr_yaml_release(&yaml);
    if (status == MR_OK)
        *spec_out = *spec;
    free(spec);
    return status;
}

/* --- files ------------------------------------------------------------- */

/* A file that the system refuses: the caller named the wrong one, unless it
 * is the disk or the share that fails. */
static enum mr_status refuse_file(struct mr_error *err, int number)
{
    if (number != ENOENT && number != ENOTDIR && number != EISDIR &&
        number != EACCES && number != EPERM && number != ELOOP &&
        number != ENAMETOOLONG)
        return mr_fail_errno(
            err, number, "see that it can be read and rerun", NULL);
    mr_fail_errno(err, number,
        "name a spec file, or a built-in spec, as 'lake'; 'mr spec list' "
        "names them",
        NULL);
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
    if (mr_buffer_reserve(out, MR_SPEC_MAX_BYTES + 1) != MR_OK) {
        status = mr_fail_nomem(err);
    } else {
        out->n = fread(out->p, 1, MR_SPEC_MAX_BYTES + 1, f);
        if (ferror(f))
            status = refuse_file(err, errno);
        else if (out->n > MR_SPEC_MAX_BYTES)
            status = mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
                "larger than 1 MiB; that is no spec");
    }
    fclose(f);
    return status;
}

static enum mr_status load_file(
    const char *path, struct mr_spec *spec_out, struct mr_error *err)
{
    const char *slash = strrchr(path, '/');
    struct mr_buffer text = {0}, folder = {0};
    enum mr_status status = read_file(path, &text, err);

    if (status == MR_OK &&
        (mr_buffer_add(&folder, path, slash ? (size_t)(slash - path) + 1 : 0) !=
                MR_OK ||
            mr_buffer_add(&folder, "", 1) != MR_OK))
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_spec_read((struct mr_span){text.p, text.n},
            (const char *)folder.p, false, spec_out, err);
    mr_buffer_release(&folder);
    mr_buffer_release(&text);
    return status;
}

enum mr_status mr_spec_load(
    const char *name_or_path, struct mr_spec *spec_out, struct mr_error *err)
{
    const struct mr_builtin_spec *found = NULL;
    enum mr_status status;

    if (mr_builtin_spec_find(name_or_path, &found, NULL) == MR_OK)
        return mr_spec_builtin(name_or_path, spec_out, err);
    status = load_file(name_or_path, spec_out, err);
    if (status != MR_OK)
        mr_error_subject(err, "cannot use spec", name_or_path);
    return status;
}
