#ifndef MR_PLAN_H
#define MR_PLAN_H

#include "mr/csv.h"
#include "mr/figures.h"
#include "mr/segments.h"

/*
 * A spec made ready for reading: zones and the users table loaded, forms of
 * times compiled, each path that some part of the spec wants given its index
 * in a record.
 */

/** All threads share one, read-only.  It must not move: parts of it point at
 * others. */
struct mr_plan {
    struct mr_spec spec;
    struct mr_zone *zone, *time_zone;
    struct mr_timeform form;
    struct mr_usertable *table;
    struct mr_event_plan events;
    struct mr_figures_plan figures;
    bool has_figures;
    struct mr_segment_types types; /* that segments name */
    bool keeps; /* ids, or events of these types: mr/kept.h */
    struct mr_figure_field row[MR_ROWS_MAX]; /* of spec.rows */
    /* What is wanted of a record, by index. */
    const char *path[MR_FIELDS_MAX];
    unsigned n_paths;
    /* Folder for what does not fit into memory; the verb's, which sets it. */
    const char *temporary;
    struct mr_fields_plan *fields; /* of JSON */
    struct mr_csv_plan csv;        /* of CSV without a header row */
};

/** mr_plan_open(name, plan, err): Load a spec (mr_spec_load) and what it
 * needs.  Its users table's digest and size, and its zones' digests, then
 * stand in plan->spec.  Release in any case.  The errors of mr_spec_load,
 * mr_zone_load, mr_usertable_load; MR_USAGE for more than MR_FIELDS_MAX
 * different paths. */
MR_MUST_CHECK enum mr_status mr_plan_open(
    const char *name, struct mr_plan *plan, struct mr_error *err);
void mr_plan_release(struct mr_plan *plan);

/** mr_plan_open_rows(name, plan, err): The same, and the columns of rows.
 * Where the spec names none, plan->spec.rows are those that mr_plan_rows
 * gives it.  MR_USAGE for too many of these, too. */
MR_MUST_CHECK enum mr_status mr_plan_open_rows(
    const char *name, struct mr_plan *plan, struct mr_error *err);

/** mr_plan_rows(spec, err): Give a spec without rows its default ones: the
 * event's id, if there is one, time, type and user, then the rollups' fields,
 * each once.  A name that is taken has _2, _3, ... behind it.  MR_USAGE for
 * more than MR_ROWS_MAX. */
MR_MUST_CHECK enum mr_status mr_plan_rows(
    struct mr_spec *spec, struct mr_error *err);

/** mr_plan_want(plan, path, index, err): The index of a path in records, new
 * or known. */
MR_MUST_CHECK enum mr_status mr_plan_want(struct mr_plan *plan,
    const char *path, unsigned *index_out, struct mr_error *err);

/** mr_plan_check_header(plan, csv, err): MR_FORMAT where, by a header row, the
 * type or a group would be told by the column of the users' ids, which no
 * state may hold: the spec calls that column by its name here and by its
 * number there.  csv is what mr_csv_header made of plan->path. */
MR_MUST_CHECK enum mr_status mr_plan_check_header(const struct mr_plan *plan,
    const struct mr_csv_plan *csv, struct mr_error *err);

static inline bool mr_plan_is_csv(const struct mr_plan *plan)
{
    return plan->spec.format == MR_INPUT_CSV ||
           plan->spec.format == MR_INPUT_TSV;
}

#endif
