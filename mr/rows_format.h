#ifndef MR_ROWS_FORMAT_H
#define MR_ROWS_FORMAT_H

#include "mr/plan.h"
#include "mr/rows_kind.h"

/* Events written as rows: the columns of a plan that mr_plan_open_rows has
 * made.  Times are those that clocks of the spec's zone show. */

/** One thread's tools. */
struct mr_row_writer {
    const struct mr_plan *plan;
    enum mr_rows_kind kind;
    struct mr_figures figures;
    struct mr_buffer text;             /* a user's id, unescaped */
    struct mr_buffer key[MR_ROWS_MAX]; /* of JSON: '{"name":', ',"name":' */
    /* Where rows go: the caller's, to be set before any is added. */
    struct mr_buffer *out;
    uint64_t without_user; /* of the rows so far; the caller clears it */
};

/** mr_row_writer_init(w, plan, kind, err): Release it in any case. */
MR_MUST_CHECK enum mr_status mr_row_writer_init(struct mr_row_writer *w,
    const struct mr_plan *plan, enum mr_rows_kind kind, struct mr_error *err);
void mr_row_writer_release(struct mr_row_writer *w);

/** mr_row_header(spec, kind, out): Append the row of the columns' names; JSON
 * has none. */
MR_MUST_CHECK enum mr_status mr_row_header(
    const struct mr_spec *spec, enum mr_rows_kind kind, struct mr_buffer *out);

/** mr_row_add(w, record, event, hint): Append an event, its record and what
 * its folders say, as a row.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_row_add(struct mr_row_writer *w,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint);

#endif
