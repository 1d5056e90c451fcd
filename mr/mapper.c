#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/mapper.h"

#include "mr/derive.h"
#include "mr/event.h"
#include "mr/rejects.h"

enum mr_status mr_mapper_init(struct mr_mapper *m,
    const struct mr_map_plan *plan, struct mr_types *types,
    struct mr_error *err)
{
    enum mr_status status;

    memset(m, 0, sizeof(*m));
    m->plan = plan;
    status = mr_fields_reader_new(plan->fields, &m->reader, err);
    if (status == MR_OK && mr_type_cache_new(types, &m->types) != MR_OK)
        status = mr_fail_nomem(err);
    if (status != MR_OK)
        mr_mapper_release(m);
    return status;
}

void mr_mapper_release(struct mr_mapper *m)
{
    mr_fields_reader_free(m->reader);
    mr_type_cache_free(m->types);
    mr_buffer_release(&m->scratch);
    memset(m, 0, sizeof(*m));
}

/* One folder of a name. */
static enum mr_status hint_folder(struct mr_mapper *m,
    const struct mr_folder *folder, struct mr_folder_hint *hint)
{
    struct mr_span value = folder->value;
    enum mr_status status;

    if (mr_folder_is(folder, "date") || mr_folder_is(folder, "day") ||
        mr_folder_is(folder, "dt")) {
        if (mr_day_parse((const char *)value.p, value.n, &hint->day))
            hint->has_day = true;
        return MR_OK;
    }
    if (!mr_folder_is(folder, "type") && !mr_folder_is(folder, "event_type"))
        return MR_OK;
    status = mr_buffer_reserve(&m->scratch, value.n);
    if (status != MR_OK)
        return status;
    value = mr_percent_decode(value, m->scratch.p);
    if (value.n == 0 || value.n > MR_TYPE_MAX_BYTES)
        return MR_OK;
    hint->has_type = true;
    return mr_type_id(m->types, value, &hint->type);
}

enum mr_status mr_mapper_hint(
    struct mr_mapper *m, const char *name, struct mr_folder_hint *hint_out)
{
    struct mr_folder_hint hint = {.has_day = false};
    enum mr_status status = MR_OK;
    struct mr_folder folder;

    while (status == MR_OK && mr_folder_next(&name, &folder))
        status = hint_folder(m, &folder, &hint);
    *hint_out = hint;
    return status;
}

static enum mr_status reject(struct mr_mapper *m, struct mr_batch *batch,
    unsigned reason, struct mr_reject *r, struct mr_buffer *out)
{
    batch->reason[reason]++;
    if (!m->plan->want_rejects)
        return MR_OK;
    r->reason = reason;
    /* The same as of a line that was too long to be held. */
    if (reason == MR_REASON_TOO_LONG && r->text.n > MR_LINES_LONG_KEPT) {
        r->text.n = MR_LINES_LONG_KEPT;
        r->cut = true;
    }
    return mr_reject_pack(r, out);
}

/* An event, or the reason why it is none. */
static int take_event(struct mr_mapper *m, const struct mr_record *record,
    const struct mr_folder_hint *hint, struct mr_batch *batch)
{
    struct mr_event event;
    uint32_t type;
    int reason = mr_event_decode(&m->plan->spec, record, &m->scratch, &event);

    if (reason != MR_EVENT_OK)
        return reason;
    if (mr_type_id(m->types, event.type, &type) != MR_OK ||
        mr_batch_event(
            batch, event.time_ms, type, event.user, event.has_user) != MR_OK)
        return MR_EVENT_NOMEM;
    batch->other_type += hint->has_type && type != hint->type;
    batch->other_day += hint->has_day && (int64_t)batch->last_start_ms !=
                                             hint->day * MR_MS_PER_DAY;
    return MR_EVENT_OK;
}

/* What a record comes to: a reason, MR_EVENT_OK, or MR_EVENT_NOMEM. */
static int take_record(struct mr_mapper *m, const struct mr_record *record,
    const struct mr_folder_hint *hint, struct mr_batch *batch)
{
    switch (record->verdict) {
    case MR_LINE_VALUE:
        return take_event(m, record, hint, batch);
    case MR_LINE_INVALID:
        return MR_REASON_JSON;
    case MR_LINE_TOO_LONG:
        return MR_REASON_TOO_LONG;
    case MR_LINE_TOO_DEEP:
        return MR_REASON_TOO_DEEP;
    case MR_LINE_BLANK:
    case MR_LINE_END:
        break;
    }
    batch->blank++;
    return MR_EVENT_OK;
}

static enum mr_status too_many_types(struct mr_error *err)
{
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "check that the spec's type field is not an id",
        "no memory, or more than %u event types", (unsigned)MR_TYPES_MAX);
}

enum mr_status mr_mapper_parse(struct mr_mapper *m,
    const struct mr_line_block *block, const struct mr_folder_hint *hint,
    struct mr_batch *batch, struct mr_buffer *rejects, struct mr_error *err)
{
    struct mr_reject r = {.line = batch->lines, .offset = block->offset};
    struct mr_record record;

    batch->text_bytes += block->bytes;
    if (block->too_long) {
        batch->lines++;
        r.text = block->text;
        r.cut = true;
        if (reject(m, batch, MR_REASON_TOO_LONG, &r, rejects) != MR_OK)
            return mr_fail_nomem(err);
        return MR_OK;
    }
    mr_fields_reader_set(m->reader, block->text);
    for (;;) {
        int reason;

        mr_fields_next(m->reader, &record);
        if (record.verdict == MR_LINE_END)
            return MR_OK;
        batch->lines++;
        reason = take_record(m, &record, hint, batch);
        if (reason == MR_EVENT_NOMEM)
            return too_many_types(err);
        if (reason != MR_EVENT_OK) {
            r.text = record.line;
            r.cut = false;
            r.offset =
                block->offset + (uint64_t)(record.line.p - block->text.p);
            if (reject(m, batch, (unsigned)reason, &r, rejects) != MR_OK)
                return mr_fail_nomem(err);
        }
        r.line++;
    }
}
