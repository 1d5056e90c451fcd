#ifndef MR_MAPPER_H
#define MR_MAPPER_H

#include "mr/lines.h"
#include "mr/plan.h"
#include "mr/rows_format.h"

/* From a block of lines to a batch: what each thread of a map does. */

/** What is known of a partition before its events are read. */
struct mr_preface {
    struct mr_folder_hint folders;
    struct mr_type_scope *groups; /* the caller's, or NULL */
    struct mr_csv_plan csv;       /* where has_csv */
    bool has_csv;
};

/** One thread's tools. */
struct mr_mapper {
    const struct mr_plan *plan;
    bool want_rejects;
    struct mr_fields_reader *json; /* one of the two */
    struct mr_csv_reader *csv;
    struct mr_type_cache *types;
    struct mr_figures figures;
    struct mr_row_writer *rows; /* the caller's; NULL: events are counted */
    struct mr_buffer scratch;
    struct mr_buffer folders; /* values of a preface */
};

/** mr_mapper_init(m, plan, want_rejects, types, err): Plan and types stay the
 * caller's. */
MR_MUST_CHECK enum mr_status mr_mapper_init(struct mr_mapper *m,
    const struct mr_plan *plan, bool want_rejects, struct mr_types *types,
    struct mr_error *err);
void mr_mapper_release(struct mr_mapper *m);

/** mr_mapper_open(m, name, preface, err): Begin a preface: read date=, day=,
 * dt=, type=, event_type= folders of a name, and those that the plan wants; of
 * several of one kind the last.  The preface has no scope of groups yet, and is
 * good as long as m opens no other.  MR_LIMIT for a type too many. */
MR_MUST_CHECK enum mr_status mr_mapper_open(struct mr_mapper *m,
    const char *name, struct mr_preface *preface_out, struct mr_error *err);

/** mr_mapper_needs_header(m, preface): Whether blocks must be shown to
 * mr_mapper_header, before they are parsed, until it has found the header. */
static inline bool mr_mapper_needs_header(
    const struct mr_mapper *m, const struct mr_preface *preface)
{
    return mr_plan_is_csv(m->plan) && !preface->has_csv;
}

/** mr_mapper_header(m, block, preface, batch, err): Take the header row, and
 * empty lines before it, off a partition's first block, and count those
 * lines.  MR_FORMAT: the row lacks a column, or is none, or by it a state
 * would hold users' ids (mr_plan_check_header). */
MR_MUST_CHECK enum mr_status mr_mapper_header(struct mr_mapper *m,
    struct mr_line_block *block, struct mr_preface *preface,
    struct mr_batch *batch, struct mr_error *err);

/** mr_mapper_parse(m, block, preface, batch, rejects, err): Add a block's
 * lines to a batch, its events to the batch or, if there is one, to the
 * writer of rows instead, and its rejected ones, if they are wanted, packed to
 * rejects: lines counted from the batch's first, offsets as the block's. */
MR_MUST_CHECK enum mr_status mr_mapper_parse(struct mr_mapper *m,
    const struct mr_line_block *block, const struct mr_preface *preface,
    struct mr_batch *batch, struct mr_buffer *rejects, struct mr_error *err);

#endif
