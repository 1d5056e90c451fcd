#ifndef MR_CUTTER_H
#define MR_CUTTER_H

#include "mr/jsonvalues.h"
#include "mr/lines.h"
#include "mr/plan.h"

/*
 * What cuts a partition's stream into blocks of whole records, by the format
 * that the spec names: lines, records of CSV, or JSON values.
 */
struct mr_cutter {
    struct mr_lines lines;
    struct mr_jsonvalues *values; /* or NULL */
};

/** mr_cutter_init(c, plan, stream, err): Begin; stream and plan stay the
 * caller's.  Release it in any case. */
MR_MUST_CHECK enum mr_status mr_cutter_init(struct mr_cutter *c,
    const struct mr_plan *plan, struct mr_stream *stream, struct mr_error *err);
void mr_cutter_release(struct mr_cutter *c);

/** mr_cutter_next(c, buffer, block, err): The next block, as mr_lines_next
 * and mr_jsonvalues_next give it. */
MR_MUST_CHECK enum mr_status mr_cutter_next(struct mr_cutter *c,
    struct mr_buffer *buffer, struct mr_line_block *block_out,
    struct mr_error *err);

#endif
