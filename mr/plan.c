#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr/mr.h"

enum mr_status mr_plan_want(struct mr_plan *plan, const char *path,
    unsigned *index_out, struct mr_error *err)
{
    for (unsigned i = 0; i < plan->n_paths; i++) {
        if (strcmp(plan->path[i], path) == 0) {
            *index_out = i;
            return MR_OK;
        }
    }
    if (plan->n_paths == MR_FIELDS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "leave out a rollup, or some of its fields",
            "the spec names more than %u different fields",
            (unsigned)MR_FIELDS_MAX);
    *index_out = plan->n_paths;
    plan->path[plan->n_paths++] = path;
    return MR_OK;
}

/* The fields every spec names have the first indices, alike or not. */
static enum mr_status want_fields(struct mr_plan *plan, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;
    enum mr_status status = MR_OK;

    for (unsigned i = 0; i < MR_FIELD_COUNT; i++)
        plan->path[i] = spec->field[i];
    if (spec->field[MR_FIELD_TYPE][0] == '=')
        plan->path[MR_FIELD_TYPE] = "";
    plan->n_paths = MR_FIELD_COUNT;
    plan->events.user[0] = MR_FIELD_USER;
    for (unsigned i = 1; i < spec->n_users && status == MR_OK; i++) {
        unsigned index = 0;

        status = mr_plan_want(plan, spec->user[i], &index, err);
        plan->events.user[i] = (uint8_t)index;
    }
    if (status == MR_OK && spec->url[0] != '\0')
        status = mr_plan_want(plan, spec->url, &plan->figures.url, err);
    return status;
}

static enum mr_status want_folder(struct mr_figures_plan *figures,
    const char *key, unsigned *index_out, struct mr_error *err)
{
    for (unsigned i = 0; i < figures->n_folders; i++) {
        if (strcmp(figures->folder[i], key) == 0) {
            *index_out = i;
            return MR_OK;
        }
    }
    if (figures->n_folders == MR_FOLDERS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "leave out some of them",
            "the spec names more than %d folders", MR_FOLDERS_MAX);
    *index_out = figures->n_folders;
    figures->folder[figures->n_folders++] = key;
    return MR_OK;
}

static enum mr_status want_column(struct mr_plan *plan,
    const struct mr_column *column, struct mr_figure_field *field,
    struct mr_error *err)
{
    field->from = column->from;
    field->index = column->number;
    if (column->from == MR_FROM_PATH)
        return mr_plan_want(plan, column->text, &field->index, err);
    if (column->from == MR_FROM_FOLDER)
        return want_folder(&plan->figures, column->text, &field->index, err);
    if (column->from == MR_FROM_TABLE)
        field->index = (unsigned)mr_usertable_column(plan->table, column->text);
    return MR_OK;
}

static enum mr_status want_rollups(struct mr_plan *plan, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;
    enum mr_status status = MR_OK;

    for (unsigned r = 0; r < spec->n_rollups; r++)
        for (unsigned k = 0; k < spec->rollup[r].n_by && status == MR_OK; k++)
            status = want_column(
                plan, &spec->rollup[r].by[k], &plan->figures.field[r][k], err);
    return status;
}

static void want_attributes(struct mr_plan *plan)
{
    const struct mr_spec *spec = &plan->spec;

    for (unsigned k = 0; k < spec->n_segments_by; k++)
        plan->figures.attribute[k] = (unsigned)mr_usertable_column(
            plan->table, spec->segments_by[k].text);
}

static bool same_source(const struct mr_column *a, const struct mr_column *b)
{
    return a->from == b->from && a->number == b->number &&
           strcmp(a->text, b->text) == 0;
}

static bool is_taken(const struct mr_spec *spec, const char *name)
{
    for (unsigned i = 0; i < spec->n_rows; i++)
        if (strcmp(spec->rows[i].name, name) == 0)
            return true;
    return false;
}

/* Add a column to the rows, unless there is one of its source. */
static enum mr_status add_row(
    struct mr_spec *spec, const struct mr_column *column, struct mr_error *err)
{
    struct mr_column *row = &spec->rows[spec->n_rows];

    for (unsigned i = 0; i < spec->n_rows; i++)
        if (same_source(&spec->rows[i], column))
            return MR_OK;
    if (spec->n_rows == MR_ROWS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "name the columns in 'rows'",
            "the spec names no columns of rows, and its rollups have more "
            "fields than the %d that rows can have",
            MR_ROWS_MAX);
    *row = *column;
    for (unsigned n = 2; is_taken(spec, row->name); n++)
        (void)snprintf(row->name, sizeof(row->name), "%.*s_%u",
            MR_NAME_MAX_BYTES - 4, column->name, n);
    spec->n_rows++;
    return MR_OK;
}

enum mr_status mr_plan_rows(struct mr_spec *spec, struct mr_error *err)
{
    static const struct mr_column usual[] = {
        {.name = "id", .from = MR_FROM_ID},
        {.name = "time", .from = MR_FROM_TIME},
        {.name = "type", .from = MR_FROM_TYPE},
        {.name = "user", .from = MR_FROM_USER},
    };
    bool has_id = spec->field[MR_FIELD_ID][0] != '\0';
    enum mr_status status = MR_OK;

    if (spec->n_rows > 0)
        return MR_OK;
    for (size_t i = has_id ? 0 : 1; i < sizeof(usual) / sizeof(usual[0]); i++)
        if (status == MR_OK)
            status = add_row(spec, &usual[i], err);
    for (unsigned r = 0; r < spec->n_rollups; r++)
        for (unsigned k = 0; k < spec->rollup[r].n_by; k++)
            if (status == MR_OK)
                status = add_row(spec, &spec->rollup[r].by[k], err);
    return status;
}

static enum mr_status want_rows(struct mr_plan *plan, struct mr_error *err)
{
    enum mr_status status = mr_plan_rows(&plan->spec, err);

    for (unsigned i = 0; i < plan->spec.n_rows && status == MR_OK; i++)
        status = want_column(plan, &plan->spec.rows[i], &plan->row[i], err);
    return status;
}

/* ---- ids under another name ---- */

static enum mr_status check_column(const struct mr_plan *plan,
    const struct mr_csv_plan *csv, unsigned index, struct mr_error *err)
{
    uint32_t column = csv->column[index];

    for (unsigned u = 0; u < plan->spec.n_users; u++)
        if (column != 0 && csv->column[plan->events.user[u]] == column)
            return mr_spec_fail_ids(
                err, MR_FORMAT, plan->path[index], plan->spec.user[u]);
    return MR_OK;
}

static enum mr_status check_field(const struct mr_plan *plan,
    const struct mr_csv_plan *csv, const struct mr_figure_field *field,
    struct mr_error *err)
{
    if (field->from == MR_FROM_PATH)
        return check_column(plan, csv, field->index, err);
    if (field->from == MR_FROM_HOST || field->from == MR_FROM_STEP)
        return check_column(plan, csv, plan->figures.url, err);
    return MR_OK;
}

enum mr_status mr_plan_check_header(const struct mr_plan *plan,
    const struct mr_csv_plan *csv, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;
    enum mr_status status = check_column(plan, csv, MR_FIELD_TYPE, err);

    for (unsigned r = 0; r < spec->n_rollups; r++)
        for (unsigned k = 0; k < spec->rollup[r].n_by && status == MR_OK; k++)
            status = check_field(plan, csv, &plan->figures.field[r][k], err);
    return status;
}

static enum mr_status load_table(struct mr_plan *plan, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (!plan->spec.users_table.given)
        return MR_OK;
    if (plan->spec.tagged && plan->spec.n_users > 1)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "set 'identity' to shared, or leave out 'users_table'",
            "a users table does not tell which path its ids are from, as "
            "tagged identities need");
    status = mr_usertable_load(&plan->spec, &plan->table, err);
    if (status != MR_OK) {
        mr_error_subject(
            err, "cannot use users table", plan->spec.users_table.file);
        return status;
    }
    plan->spec.users_table.digest = plan->table->digest;
    plan->spec.users_table.n_users = plan->table->counts.users;
    return MR_OK;
}

static enum mr_status load_zones(struct mr_plan *plan, struct mr_error *err)
{
    struct mr_spec *spec = &plan->spec;
    enum mr_status status = mr_zone_load(spec->zone, &plan->zone, err);

    if (status == MR_OK)
        status = mr_zone_load(spec->time_zone, &plan->time_zone, err);
    if (status == MR_OK)
        status = mr_timeform_init(&plan->form, spec->time_kind,
            spec->time_pattern, plan->time_zone, err);
    if (status != MR_OK)
        return status;
    spec->zone_digest = mr_zone_digest(plan->zone);
    spec->time_zone_digest = mr_zone_digest(plan->time_zone);
    return MR_OK;
}

static enum mr_status make_reader(struct mr_plan *plan, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;

    if (!mr_plan_is_csv(plan))
        return mr_fields_plan_new(plan->path, plan->n_paths,
            spec->max_line_bytes, spec->max_depth, &plan->fields, err);
    if (spec->csv.header)
        return MR_OK;
    return mr_csv_plan_init(&plan->csv, &spec->csv, plan->path, plan->n_paths,
        spec->max_line_bytes, err);
}

/* Of a spec without rows the default ones are WANTED only. */
enum rows { NO_ROWS, ROWS_NAMED, ROWS_WANTED };

static enum mr_status make_plan(const char *name, enum rows rows,
    struct mr_plan *plan, struct mr_error *err)
{
    enum mr_status status;

    memset(plan, 0, sizeof(*plan));
    status = mr_spec_load(name, &plan->spec, err);
    if (status == MR_OK)
        status = load_table(plan, err);
    if (status == MR_OK)
        status = load_zones(plan, err);
    if (status != MR_OK)
        return status;
    plan->events.spec = plan->figures.spec = &plan->spec;
    plan->events.form = &plan->form;
    mr_zone_range(plan->zone, &plan->events.first_ms, &plan->events.end_ms);
    plan->events.is_csv = mr_plan_is_csv(plan);
    plan->figures.events = &plan->events;
    plan->figures.table = plan->table;
    plan->figures.zone = plan->zone;
    plan->has_figures = mr_spec_has_figures(&plan->spec);
    mr_segment_types_of(&plan->spec, &plan->types);
    plan->keeps = plan->spec.max_ids > 0 || plan->spec.n_segments > 0;
    want_attributes(plan);
    status = want_fields(plan, err);
    if (status == MR_OK)
        status = want_rollups(plan, err);
    if (status == MR_OK &&
        (rows == ROWS_WANTED || (rows == ROWS_NAMED && plan->spec.n_rows > 0)))
        status = want_rows(plan, err);
    if (status == MR_OK)
        status = make_reader(plan, err);
    return status;
}

static enum mr_status open_plan(const char *name, enum rows rows,
    struct mr_plan *plan, struct mr_error *err)
{
    enum mr_status status = make_plan(name, rows, plan, err);

    /* Whatever has no place of its own in a file is the spec's as a whole. */
    if (status == MR_USAGE)
        mr_error_subject(err, "cannot use spec", name);
    return status;
}

enum mr_status mr_plan_open(
    const char *name, struct mr_plan *plan, struct mr_error *err)
{
    return open_plan(name, NO_ROWS, plan, err);
}

enum mr_status mr_plan_open_rows(
    const char *name, struct mr_plan *plan, struct mr_error *err)
{
    return open_plan(name, ROWS_WANTED, plan, err);
}

enum mr_status mr_spec_check(const char *name_or_path, struct mr_error *err)
{
    struct mr_plan *plan = malloc(sizeof(*plan));
    enum mr_status status;

    if (plan == NULL)
        return mr_fail_nomem(err);
    status = open_plan(name_or_path, ROWS_NAMED, plan, err);
    mr_plan_release(plan);
    free(plan);
    return status;
}

void mr_plan_release(struct mr_plan *plan)
{
    mr_fields_plan_free(plan->fields);
    mr_usertable_free(plan->table);
    mr_zone_free(plan->zone);
    mr_zone_free(plan->time_zone);
    memset(plan, 0, sizeof(*plan));
}
