#ifndef MR_MAPPER_H
#define MR_MAPPER_H

#include "mr/batch.h"
#include "mr/fields.h"
#include "mr/lines.h"
#include "mr/types.h"

/* From a block of lines to a batch: what each thread of a map does. */

/** What all threads of a map share, read-only while they run. */
struct mr_map_plan {
    struct mr_spec spec;
    struct mr_fields_plan *fields;
    bool want_rejects;
};

/** What the folders of a partition's name say of its events. */
struct mr_folder_hint {
    bool has_day, has_type;
    int32_t day; /* of any year: events of that day may be impossible */
    uint32_t type;
};

/** One thread's tools. */
struct mr_mapper {
    const struct mr_map_plan *plan;
    struct mr_fields_reader *reader;
    struct mr_type_cache *types;
    struct mr_buffer scratch;
};

MR_MUST_CHECK enum mr_status mr_mapper_init(struct mr_mapper *m,
    const struct mr_map_plan *plan, struct mr_types *types,
    struct mr_error *err);
void mr_mapper_release(struct mr_mapper *m);

/** mr_mapper_hint(m, name, hint): Read date=, day=, dt=, type=, event_type=
 * folders of a name; of several of one kind the last. */
MR_MUST_CHECK enum mr_status mr_mapper_hint(
    struct mr_mapper *m, const char *name, struct mr_folder_hint *hint_out);

/** mr_mapper_parse(m, block, hint, batch, rejects, err): Add a block's lines
 * to a batch, and its rejected ones, if the plan wants them, packed to
 * rejects: lines counted from the batch's first, offsets as the block's. */
MR_MUST_CHECK enum mr_status mr_mapper_parse(struct mr_mapper *m,
    const struct mr_line_block *block, const struct mr_folder_hint *hint,
    struct mr_batch *batch, struct mr_buffer *rejects, struct mr_error *err);

#endif
