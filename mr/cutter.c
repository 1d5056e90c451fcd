#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/cutter.h"

enum mr_status mr_cutter_init(struct mr_cutter *c, const struct mr_plan *plan,
    struct mr_stream *stream, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;

    c->values = NULL;
    mr_lines_init(&c->lines, stream, mr_plan_is_csv(plan) ? &spec->csv : NULL,
        spec->max_line_bytes, true);
    if (spec->format != MR_INPUT_JSON_VALUES &&
        spec->format != MR_INPUT_JSON_ARRAY)
        return MR_OK;
    return mr_jsonvalues_new(stream, spec, MR_LINES_BLOCK, &c->values, err);
}

void mr_cutter_release(struct mr_cutter *c)
{
    mr_lines_release(&c->lines);
    mr_jsonvalues_free(c->values);
    c->values = NULL;
}

enum mr_status mr_cutter_next(struct mr_cutter *c, struct mr_buffer *buffer,
    struct mr_line_block *block_out, struct mr_error *err)
{
    return c->values != NULL
               ? mr_jsonvalues_next(c->values, buffer, block_out, err)
               : mr_lines_next(&c->lines, buffer, block_out, err);
}
