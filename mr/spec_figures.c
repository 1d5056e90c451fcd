#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mr/timeform.h"

/* From YAML to a spec: what is kept of events. */

/* A setting that is left out, or null: nothing of the kind. */
static bool is_none(const struct mr_yaml_node *node)
{
    return !node || (node->kind == MR_YAML_SCALAR && node->plain &&
                        strcmp(node->text, "null") == 0);
}

/* --- the users table --------------------------------------------------- */

static enum mr_status load_table_file(
    struct mr_spec_loader *l, const struct mr_yaml_node *table)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_TABLE_FILE];
    char *file = l->spec->users_table.file;
    size_t size = sizeof(l->spec->users_table.file), n;
    const char *folder;
    enum mr_status status;

    if (l->is_canonical)
        return node ? mr_spec_refuse(l, MR_KEY_TABLE, node, "not in a state")
                    : MR_OK;
    if (!node)
        return mr_spec_refuse(l, MR_KEY_TABLE, table, "'file' is missing");
    status = mr_spec_take_text(l, MR_KEY_TABLE_FILE, node, 0, file, size);
    if (status != MR_OK)
        return status;
    folder = file[0] == '/' ? "" : l->folder;
    n = strlen(folder);
    if (n + node->n >= size)
        return mr_spec_refuse(l, MR_KEY_TABLE_FILE, node,
            "longer than %zu bytes with the spec's folder", size - 1);
    memmove(file + n, file, node->n + 1);
    memcpy(file, folder, n);
    return MR_OK;
}

/* The name or number of one of the table's columns. */
static enum mr_status take_table_column(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, mr_name out)
{
    const char *problem;
    enum mr_status status =
        mr_spec_take_text(l, key, node, MR_TEXT_INTEGER, out, sizeof(mr_name));

    if (status != MR_OK)
        return status;
    problem = mr_spec_column_problem(out, l->spec->users_table.csv.header);
    return problem ? mr_spec_refuse(l, key, node, "%s", problem) : MR_OK;
}

static bool read_range(const struct mr_yaml_node *node, struct mr_range *range)
{
    const char *dash =
        node->kind == MR_YAML_SCALAR ? strchr(node->text, '-') : NULL;
    uint64_t low, high;
    size_t n;

    if (!dash)
        return false;
    n = (size_t)(dash - node->text);
    if (!mr_spec_digits(node->text, n, &low) ||
        !mr_spec_digits(dash + 1, node->n - n - 1, &high) ||
        high > UINT32_MAX || low > high)
        return false;
    *range = (struct mr_range){(uint32_t)low, (uint32_t)high};
    return true;
}

static enum mr_status load_ranges(struct mr_spec_loader *l)
{
    struct mr_users_table *table = &l->spec->users_table;
    const struct mr_yaml_node *node = l->value[MR_KEY_RANGES];
    struct mr_range range;
    enum mr_status status;
    unsigned i;

    if (!node)
        return MR_OK;
    status = mr_spec_take_many(l, MR_KEY_RANGES, node, MR_YAML_MAPPING, 0, 1);
    if (status != MR_OK || node->n == 0)
        return status;
    status = take_table_column(l, MR_KEY_RANGES, node->first, table->ranged);
    node = node->first->next;
    if (status == MR_OK)
        status = mr_spec_take_many(
            l, MR_KEY_RANGES, node, MR_YAML_LIST, 1, MR_RANGES_MAX);
    for (node = node->first; status == MR_OK && node; node = node->next) {
        if (!read_range(node, &range))
            return mr_spec_refuse(l, MR_KEY_RANGES, node,
                "no range of two numbers, the lower first");
        for (i = table->n_ranges++;
             i > 0 && table->range[i - 1].low > range.low; i--)
            table->range[i] = table->range[i - 1];
        table->range[i] = range;
        if ((i > 0 && table->range[i - 1].high >= range.low) ||
            (i + 1 < table->n_ranges && table->range[i + 1].low <= range.high))
            return mr_spec_refuse(
                l, MR_KEY_RANGES, node, "overlaps another range");
    }
    return status;
}

/* What was in the table, told by the text of a state. */
static enum mr_status load_table_content(
    struct mr_spec_loader *l, const struct mr_yaml_node *table)
{
    const struct mr_yaml_node *digest = l->value[MR_KEY_TABLE_DIGEST];

    if (!l->is_canonical)
        return MR_OK;
    if (!digest || !l->value[MR_KEY_TABLE_USERS])
        return mr_spec_refuse(
            l, MR_KEY_TABLE, table, "'digest' or 'users' is missing");
    if (digest->kind != MR_YAML_SCALAR ||
        !mr_digest_parse(digest->text, digest->n, &l->spec->users_table.digest))
        return mr_spec_refuse(l, MR_KEY_TABLE_DIGEST, digest, "no digest");
    return mr_spec_take_number(l, MR_KEY_TABLE_USERS,
        l->value[MR_KEY_TABLE_USERS], &l->spec->users_table.n_users);
}

enum mr_status mr_spec_load_table(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_TABLE];
    struct mr_users_table *table = &l->spec->users_table;
    enum mr_status status;

    if (is_none(node))
        return MR_OK;
    status = mr_spec_keys_of(l, node, MR_KEY_TABLE, MR_KEYS_TABLE);
    table->given = true;
    if (status == MR_OK)
        status = load_table_file(l, node);
    if (status == MR_OK)
        status = mr_spec_take_csv(l, MR_KEY_TABLE_CSV,
            l->value[MR_KEY_TABLE_CSV], false, &table->csv);
    if (status == MR_OK && l->value[MR_KEY_TABLE_ID])
        status = take_table_column(
            l, MR_KEY_TABLE_ID, l->value[MR_KEY_TABLE_ID], table->id);
    else if (status == MR_OK && !table->csv.header)
        status = mr_spec_refuse(l, MR_KEY_TABLE, node,
            "without a header row 'id' must be given, as a number");
    else if (status == MR_OK)
        memcpy(table->id, "user_id", sizeof("user_id"));
    if (status == MR_OK)
        status = load_ranges(l);
    return status == MR_OK ? load_table_content(l, node) : status;
}

/* --- fields and columns ------------------------------------------------ */

/* Whether a column has the users' ids as they stand in events, or in the
 * users table.  What groups are told by stands in states, which have none. */
static bool has_ids(const struct mr_spec *spec, const struct mr_column *column)
{
    const char *path = column->text;

    if (column->from == MR_FROM_TABLE)
        return strcmp(path, spec->users_table.id) == 0;
    if (column->from == MR_FROM_HOST || column->from == MR_FROM_STEP)
        path = spec->url;
    else if (column->from != MR_FROM_PATH)
        return false;
    return mr_spec_is_user(spec, path);
}

/* Whether the spec has what a column comes from. */
static enum mr_status check_source(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node,
    const struct mr_column *column)
{
    const struct mr_spec *spec = l->spec;
    const char *problem = NULL;

    switch (column->from) {
    case MR_FROM_PATH:
        problem = mr_spec_has_columns(spec)
                      ? mr_spec_column_problem(column->text, spec->csv.header)
                      : mr_spec_path_problem(column->text);
        break;
    case MR_FROM_ID:
    case MR_FROM_USER:
    case MR_FROM_TIME:
        if (key != MR_KEY_ROWS)
            problem = "for rows only; with a dot before it, it is a path";
        else if (column->from == MR_FROM_ID &&
                 spec->field[MR_FIELD_ID][0] == '\0')
            problem = "the spec's events have no id";
        break;
    case MR_FROM_HOST:
    case MR_FROM_STEP:
        if (spec->url[0] == '\0')
            problem = "'url' does not say where the URL is";
        break;
    case MR_FROM_TABLE:
        if (!spec->users_table.given)
            problem = "there is no 'users_table'";
        else
            problem = mr_spec_column_problem(
                column->text, spec->users_table.csv.header);
        break;
    default:
        break;
    }
    if (!problem && key == MR_KEY_SEGMENTS_BY && column->from != MR_FROM_TABLE)
        problem = "no column of the users table";
    if (!problem && key != MR_KEY_ROWS && !l->is_canonical &&
        has_ids(spec, column))
        problem = "it is the user's id, which no state may hold";
    return problem ? mr_spec_refuse(l, key, node, "%s", problem) : MR_OK;
}

static enum mr_status take_source(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node,
    struct mr_column *column)
{
    char text[MR_PATH_MAX_BYTES + 2]; /* a path and a dot */
    const char *problem;
    enum mr_status status = mr_spec_take_text(l, key, node,
        mr_spec_has_columns(l->spec) ? MR_TEXT_INTEGER : 0, text, sizeof(text));

    if (status != MR_OK)
        return status;
    problem = mr_spec_source(text, column);
    if (problem)
        return mr_spec_refuse(l, key, node, "%s", problem);
    return check_source(l, key, node, column);
}

/* The form of a column of times: nothing for iso8601, or a pattern. */
static enum mr_status take_format(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, struct mr_column *column)
{
    enum mr_status status = mr_spec_take_text(l, MR_KEY_COLUMN_FORMAT, node, 0,
        column->format, sizeof(column->format));
    struct mr_error why = {0};

    if (status != MR_OK)
        return status;
    if (strchr(column->format, '%'))
        return mr_timeform_check(column->format, &why) == MR_OK
                   ? MR_OK
                   : mr_yaml_fail(
                         l->err, node, why.advice, "'format': %s", why.cause);
    if (strcmp(column->format, "iso8601") != 0)
        return mr_spec_refuse(
            l, MR_KEY_COLUMN_FORMAT, node, "neither iso8601 nor a pattern");
    memset(column->format, 0, sizeof(column->format));
    return MR_OK;
}

/* {field: time, format: '%H:%M'} */
static enum mr_status take_formatted(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, struct mr_column *column)
{
    const struct mr_yaml_node *format;
    enum mr_status status =
        mr_spec_keys_of(l, node, MR_KEY_ROWS, MR_KEYS_COLUMN);

    if (status != MR_OK)
        return status;
    format = l->value[MR_KEY_COLUMN_FORMAT];
    if (!l->value[MR_KEY_COLUMN_FIELD])
        return mr_yaml_fail(
            l->err, node, "add it, as {field: time}", "'field' is missing");
    status = take_source(l, MR_KEY_ROWS, l->value[MR_KEY_COLUMN_FIELD], column);
    if (status != MR_OK || !format)
        return status;
    if (column->from != MR_FROM_TIME)
        return mr_yaml_fail(
            l->err, format, "leave it out", "only the field time has a format");
    return take_format(l, format, column);
}

/* FIELD, or {NAME: FIELD}. */
static enum mr_status take_column(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node,
    struct mr_column *column)
{
    const struct mr_yaml_node *name = node, *field = node;
    const char *text;
    enum mr_status status;

    if (node->kind == MR_YAML_MAPPING) {
        if (node->n != 2)
            return mr_spec_refuse(
                l, key, node, "a column is a field, or one {name: field}");
        name = node->first;
        field = name->next;
        status = mr_spec_take_text(
            l, key, name, 0, column->name, sizeof(column->name));
        if (status != MR_OK)
            return status;
        if (field->kind == MR_YAML_MAPPING && key == MR_KEY_ROWS)
            return take_formatted(l, field, column);
    }
    status = take_source(l, key, field, column);
    if (status != MR_OK || name != field)
        return status;
    text = field->text[0] == '.' ? field->text + 1 : field->text;
    if (strlen(text) > MR_NAME_MAX_BYTES)
        return mr_spec_refuse(l, key, node,
            "longer than 64 bytes; give it a name, as {name: field}");
    memcpy(column->name, text, strlen(text) + 1);
    return MR_OK;
}

static enum mr_status take_columns(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *list, size_t least,
    size_t most, struct mr_column *column, unsigned *n_out)
{
    enum mr_status status =
        mr_spec_take_many(l, key, list, MR_YAML_LIST, least, most);
    const struct mr_yaml_node *node;
    unsigned i, n = 0;

    if (status != MR_OK)
        return status;
    for (node = list->first; node; node = node->next, n++) {
        status = take_column(l, key, node, &column[n]);
        if (status != MR_OK)
            return status;
        for (i = 0; i < n; i++) {
            if (strcmp(column[i].name, column[n].name) == 0)
                return mr_spec_refuse(l, key, node,
                    "a second column of the name '%s'", column[n].name);
        }
    }
    *n_out = n;
    return MR_OK;
}

/* --- rollups ----------------------------------------------------------- */

/* Names of other files that reduce writes. */
static const char *const taken_names[] = {"daily", "daily_by_type",
    "partitions", "rejects", "duplicates", "segments", "identity",
    "unknown_users", "coverage", "retention"};

static enum mr_status load_rollup_name(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, struct mr_rollup *rollup)
{
    const struct mr_spec *spec = l->spec;
    enum mr_status status;
    size_t i;

    status = mr_spec_take_text(
        l, MR_KEY_ROLLUP_NAME, node, 0, rollup->name, sizeof(rollup->name));
    if (status != MR_OK)
        return status;
    if (mr_spec_name_problem(rollup->name))
        return mr_spec_refuse(l, MR_KEY_ROLLUP_NAME, node, "%s",
            mr_spec_name_problem(rollup->name));
    for (i = 0; i < sizeof(taken_names) / sizeof(taken_names[0]); i++) {
        if (strcasecmp(rollup->name, taken_names[i]) == 0)
            return mr_yaml_fail(l->err, node, "choose another name",
                "reduce writes another file of the name '%s.csv'",
                taken_names[i]);
    }
    for (i = 0; i < spec->n_rollups; i++) {
        if (strcasecmp(rollup->name, spec->rollup[i].name) == 0)
            return mr_yaml_fail(l->err, node, "choose another name",
                "a second rollup of the name '%s'", rollup->name);
    }
    return MR_OK;
}

/* What a group is told by is told from its figures in kpis.json, too, where
 * these have their own names, whatever the columns are called. */
static enum mr_status check_members(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, const struct mr_rollup *r)
{
    for (unsigned i = 0; i < r->n_by; i++) {
        const char *name = r->by[i].name;

        if (strcmp(name, "events") == 0 ||
            strcmp(name, "further_groups") == 0 ||
            (strcmp(name, "users") == 0 && (r->users & MR_USERS_EXACT)) ||
            (strcmp(name, "users_estimate") == 0 &&
                (r->users & MR_USERS_ESTIMATE)))
            return mr_yaml_fail(l->err, node, "give the column another name",
                "kpis.json has a key of the name '%s' beside the groups'",
                name);
    }
    return MR_OK;
}

/* The heads of all columns differ; an estimate's is made of users_as. */
static enum mr_status check_heads(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, const struct mr_rollup *r)
{
    char estimate[MR_NAME_MAX_BYTES + sizeof("_estimate")];
    const char *head[MR_ROLLUP_FIELDS_MAX + 3];
    unsigned i, j, n = 0;

    snprintf(estimate, sizeof(estimate), "%s_estimate", r->users_as);
    while (n < r->n_by) {
        head[n] = r->by[n].name;
        n++;
    }
    head[n++] = r->events_as;
    if (r->users & MR_USERS_EXACT)
        head[n++] = r->users_as;
    if (r->users & MR_USERS_ESTIMATE)
        head[n++] = estimate;
    for (i = 1; i < n; i++) {
        for (j = 0; j < i; j++) {
            if (strcmp(head[i], head[j]) == 0)
                return mr_yaml_fail(l->err, node,
                    "give one of them another name",
                    "two columns of the name '%s'", head[i]);
        }
    }
    return check_members(l, node, r);
}

static enum mr_status load_rollup_columns(
    struct mr_spec_loader *l, struct mr_rollup *r)
{
    static const char *const words[] = {"exact", "estimate", "both"};
    static const unsigned bits[] = {
        MR_USERS_EXACT, MR_USERS_ESTIMATE, MR_USERS_EXACT | MR_USERS_ESTIMATE};
    const struct mr_yaml_node *const *value = l->value;
    enum mr_status status = MR_OK;
    uint64_t max_groups = 100000;
    unsigned users = 0;

    memcpy(r->events_as, "events", sizeof("events"));
    memcpy(r->users_as, "users", sizeof("users"));
    if (value[MR_KEY_ROLLUP_USERS])
        status = mr_spec_take_word(l, MR_KEY_ROLLUP_USERS,
            value[MR_KEY_ROLLUP_USERS], words, 3, &users);
    if (status == MR_OK && value[MR_KEY_EVENTS_AS])
        status = mr_spec_take_text(l, MR_KEY_EVENTS_AS, value[MR_KEY_EVENTS_AS],
            0, r->events_as, sizeof(mr_name));
    if (status == MR_OK && value[MR_KEY_USERS_AS])
        status = mr_spec_take_text(l, MR_KEY_USERS_AS, value[MR_KEY_USERS_AS],
            0, r->users_as, sizeof(mr_name));
    if (status == MR_OK && value[MR_KEY_MAX_GROUPS])
        status = mr_spec_take_number(
            l, MR_KEY_MAX_GROUPS, value[MR_KEY_MAX_GROUPS], &max_groups);
    r->users = bits[users];
    r->max_groups = (uint32_t)max_groups;
    return status;
}

static enum mr_status load_rollup(
    struct mr_spec_loader *l, const struct mr_yaml_node *node)
{
    struct mr_rollup *r = &l->spec->rollup[l->spec->n_rollups];
    enum mr_status status =
        mr_spec_keys_of(l, node, MR_KEY_ROLLUPS, MR_KEYS_ROLLUP);

    if (status != MR_OK)
        return status;
    if (!l->value[MR_KEY_ROLLUP_NAME])
        return mr_yaml_fail(l->err, node, "add it, as 'name: by_country'",
            "the rollup's 'name' is missing");
    if (!l->value[MR_KEY_BY])
        return mr_yaml_fail(l->err, node, "add it, as 'by: [day, type]'",
            "the rollup's 'by' is missing");
    status = load_rollup_name(l, l->value[MR_KEY_ROLLUP_NAME], r);
    if (status == MR_OK)
        status = take_columns(l, MR_KEY_BY, l->value[MR_KEY_BY], 1,
            MR_ROLLUP_FIELDS_MAX, r->by, &r->n_by);
    if (status == MR_OK)
        status = load_rollup_columns(l, r);
    if (status == MR_OK)
        status = check_heads(l, node, r);
    if (status == MR_OK)
        l->spec->n_rollups++;
    return status;
}

static enum mr_status load_rollups(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *list = l->value[MR_KEY_ROLLUPS], *node;
    enum mr_status status;

    if (!list)
        return MR_OK;
    status = mr_spec_take_many(
        l, MR_KEY_ROLLUPS, list, MR_YAML_LIST, 0, MR_ROLLUPS_MAX);
    for (node = list->first; status == MR_OK && node; node = node->next)
        status = load_rollup(l, node);
    return status;
}

/* --- duplicates -------------------------------------------------------- */

static enum mr_status load_duplicates(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *node = l->value[MR_KEY_DUPLICATES];
    struct mr_spec *spec = l->spec;
    enum mr_status status;

    if (is_none(node))
        return MR_OK;
    status = mr_spec_keys_of(l, node, MR_KEY_DUPLICATES, MR_KEYS_DUPLICATES);
    if (status != MR_OK)
        return status;
    if (spec->field[MR_FIELD_ID][0] == '\0')
        return mr_yaml_fail(l->err, node, "set 'id', or leave it out",
            "duplicates are told by events' ids, and there are none");
    spec->max_ids = 1000000;
    if (l->value[MR_KEY_MAX_IDS])
        status = mr_spec_take_number(
            l, MR_KEY_MAX_IDS, l->value[MR_KEY_MAX_IDS], &spec->max_ids);
    if (status == MR_OK && l->value[MR_KEY_EXACT])
        status = mr_spec_take_truth(
            l, MR_KEY_EXACT, l->value[MR_KEY_EXACT], &spec->exact_ids);
    return status;
}

/* --- segments ---------------------------------------------------------- */

/* '>=5' */
static const char *read_condition(
    const char *text, enum mr_comparison *comparison, uint32_t *count)
{
    uint64_t value;
    size_t n = strspn(text, "<>="), i;

    for (i = 0; i < 5; i++) {
        if (strlen(mr_comparison_words[i]) == n &&
            memcmp(mr_comparison_words[i], text, n) == 0)
            break;
    }
    if (i == 5)
        return "begins with none of >=, >, =, < and <=";
    if (!mr_spec_digits(text + n, strlen(text + n), &value) ||
        value > UINT32_MAX)
        return "no whole number below 2^32 behind the comparison";
    *comparison = (enum mr_comparison)i;
    *count = (uint32_t)value;
    return *comparison == MR_BELOW && value == 0 ? "no number is below 0"
                                                 : NULL;
}

static enum mr_status load_conditions(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, struct mr_segment *s)
{
    const enum mr_spec_key key = MR_KEY_SEGMENTS;
    const struct mr_yaml_node *type;
    char text[MR_NAME_MAX_BYTES + 1];
    const char *problem;
    enum mr_status status =
        mr_spec_take_many(l, key, node, MR_YAML_MAPPING, 1, MR_CONDITIONS_MAX);
    mr_path name;
    unsigned i;

    if (status != MR_OK)
        return status;
    for (type = node->first; type; type = type->next->next) {
        status = mr_spec_take_text(l, key, type, 0, name, sizeof(name));
        if (status == MR_OK)
            status = mr_spec_take_text(
                l, key, type->next, MR_TEXT_ANY, text, sizeof(text));
        if (status != MR_OK)
            return status;
        for (i = s->n_conditions;
             i > 0 && strcmp(s->condition[i - 1].type, name) > 0; i--)
            s->condition[i] = s->condition[i - 1];
        if (i > 0 && strcmp(s->condition[i - 1].type, name) == 0)
            return mr_spec_refuse(l, key, type, "a second condition of it");
        memcpy(s->condition[i].type, name, sizeof(name));
        problem = read_condition(
            text, &s->condition[i].comparison, &s->condition[i].count);
        if (problem)
            return mr_spec_refuse(l, key, type->next, "%s", problem);
        s->n_conditions++;
    }
    return MR_OK;
}

static enum mr_status load_segments(struct mr_spec_loader *l)
{
    const enum mr_spec_key key = MR_KEY_SEGMENTS;
    const struct mr_yaml_node *all = l->value[key], *node;
    struct mr_spec *spec = l->spec;
    enum mr_status status;
    unsigned i;

    if (!all)
        return MR_OK;
    status =
        mr_spec_take_many(l, key, all, MR_YAML_MAPPING, 0, MR_SEGMENTS_MAX);
    for (node = all->first; status == MR_OK && node; node = node->next->next) {
        struct mr_segment s = {0};

        status = mr_spec_take_text(l, key, node, 0, s.name, sizeof(s.name));
        if (status == MR_OK && mr_spec_name_problem(s.name))
            status = mr_spec_refuse(
                l, key, node, "%s", mr_spec_name_problem(s.name));
        if (status == MR_OK)
            status = load_conditions(l, node->next, &s);
        if (status != MR_OK)
            return status;
        /* In order of names: that of the file is of no account. */
        for (i = spec->n_segments;
             i > 0 && strcmp(spec->segment[i - 1].name, s.name) > 0; i--)
            spec->segment[i] = spec->segment[i - 1];
        if (i > 0 && strcmp(spec->segment[i - 1].name, s.name) == 0)
            return mr_spec_refuse(l, key, node, "a second segment of it");
        spec->segment[i] = s;
        spec->n_segments++;
    }
    return status;
}

static enum mr_status load_segments_by(struct mr_spec_loader *l)
{
    const struct mr_yaml_node *list = l->value[MR_KEY_SEGMENTS_BY];
    struct mr_spec *spec = l->spec;
    enum mr_status status;

    if (!list)
        return MR_OK;
    if (list->n > 0 && !spec->users_table.given)
        return mr_yaml_fail(l->err, list, "set 'users_table', or leave it out",
            "'segments_by' are columns of the users table, and there is none");
    if (list->n > 0 && spec->n_segments == 0)
        return mr_yaml_fail(l->err, list, "set 'segments', or leave it out",
            "'segments_by' parts segments, and there are none");
    status = take_columns(l, MR_KEY_SEGMENTS_BY, list, 0, MR_ROLLUP_FIELDS_MAX,
        spec->segments_by, &spec->n_segments_by);
    return status;
}

enum mr_status mr_spec_load_figures(struct mr_spec_loader *l)
{
    enum mr_status status = load_rollups(l);

    if (status == MR_OK)
        status = load_duplicates(l);
    if (status == MR_OK)
        status = load_segments(l);
    if (status == MR_OK)
        status = load_segments_by(l);
    if (status == MR_OK && l->value[MR_KEY_ROWS])
        status = take_columns(l, MR_KEY_ROWS, l->value[MR_KEY_ROWS], 0,
            MR_ROWS_MAX, l->spec->rows, &l->spec->n_rows);
    return status;
}
