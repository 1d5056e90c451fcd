#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/mapper.h"

#include "mr/event.h"
#include "mr/kept.h"
#include "mr/place.h"
#include "mr/rejects.h"

enum mr_status mr_mapper_init(struct mr_mapper *m, const struct mr_plan *plan,
    bool want_rejects, struct mr_types *types, struct mr_error *err)
{
    enum mr_status status;

    memset(m, 0, sizeof(*m));
    m->plan = plan;
    m->want_rejects = want_rejects;
    status = mr_plan_is_csv(plan)
                 ? mr_csv_reader_new(&m->csv, err)
                 : mr_fields_reader_new(plan->fields, &m->json, err);
    if (status == MR_OK && mr_type_cache_new(types, &m->types) != MR_OK)
        status = mr_fail_nomem(err);
    mr_figures_init(&m->figures, &plan->figures, m->types);
    if (status != MR_OK)
        mr_mapper_release(m);
    return status;
}

void mr_mapper_release(struct mr_mapper *m)
{
    mr_fields_reader_free(m->json);
    mr_csv_reader_free(m->csv);
    mr_type_cache_free(m->types);
    mr_figures_release(&m->figures);
    mr_buffer_release(&m->scratch);
    mr_buffer_release(&m->folders);
    memset(m, 0, sizeof(*m));
}

static enum mr_status too_many_types(struct mr_error *err)
{
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "check that the spec's type field is not an id; or lower max_groups of "
        "its rollups",
        "more than %u event types and groups of rollups",
        (unsigned)MR_TYPES_MAX);
}

/* What the name tells of day and type. */
static enum mr_status hint_place(
    struct mr_mapper *m, const char *name, struct mr_folder_hint *hint)
{
    struct mr_place place;
    enum mr_status status = mr_place_of(name, &m->scratch, &place);

    if (status != MR_OK)
        return status;
    hint->has_day = place.has_day;
    hint->day = place.day;
    hint->has_type = place.type.p != NULL;
    return hint->has_type
               ? mr_type_id(m->types, MR_TEXT_TYPE, place.type, &hint->type)
               : MR_OK;
}

/* The values of the folders that the plan wants, one after the other in
 * m->folders. */
static enum mr_status want_folders(
    struct mr_mapper *m, const char *name, struct mr_folder_hint *hint)
{
    const struct mr_figures_plan *plan = &m->plan->figures;
    size_t start[MR_FOLDERS_MAX];
    bool found[MR_FOLDERS_MAX];
    enum mr_status status = MR_OK;

    m->folders.n = 0;
    for (unsigned i = 0; i < plan->n_folders && status == MR_OK; i++) {
        start[i] = m->folders.n;
        status = mr_folder_value(name, plan->folder[i], &m->scratch, &found[i]);
        if (status == MR_OK)
            status = mr_buffer_add(&m->folders, m->scratch.p, m->scratch.n);
    }
    for (unsigned i = 0; i < plan->n_folders && status == MR_OK; i++) {
        size_t end = i + 1 < plan->n_folders ? start[i + 1] : m->folders.n;

        if (found[i])
            hint->value[i] =
                (struct mr_span){m->folders.p + start[i], end - start[i]};
    }
    return status;
}

enum mr_status mr_mapper_open(struct mr_mapper *m, const char *name,
    struct mr_preface *preface_out, struct mr_error *err)
{
    struct mr_folder_hint *hint = &preface_out->folders;
    enum mr_status status;

    *hint = (struct mr_folder_hint){.has_day = false};
    preface_out->groups = NULL;
    preface_out->has_csv = mr_plan_is_csv(m->plan) && !m->plan->spec.csv.header;
    if (preface_out->has_csv)
        preface_out->csv = m->plan->csv;
    status = hint_place(m, name, hint);
    if (status == MR_OK && m->plan->figures.n_folders > 0)
        status = want_folders(m, name, hint);
    if (status == MR_LIMIT)
        return too_many_types(err);
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

enum mr_status mr_mapper_header(struct mr_mapper *m,
    struct mr_line_block *block, struct mr_preface *preface,
    struct mr_batch *batch, struct mr_error *err)
{
    const struct mr_spec *spec = &m->plan->spec;
    struct mr_csv_header header;
    enum mr_status status;
    size_t n;

    if (block->too_long)
        return mr_fail(err, MR_FORMAT, block->offset,
            "check the spec's delimiter, quote and header",
            "the header row is too long");
    status = mr_csv_header(m->csv, &spec->csv, m->plan->path, m->plan->n_paths,
        spec->max_line_bytes, block->text, &header, &preface->csv, err);
    if (status == MR_OK && header.found)
        status = mr_plan_check_header(m->plan, &preface->csv, err);
    if (status != MR_OK)
        return status;
    n = header.found ? header.bytes : block->text.n;
    preface->has_csv = header.found;
    batch->lines += header.blank;
    batch->blank += header.blank;
    block->text.p += n;
    block->text.n -= n;
    block->offset += n;
    return MR_OK;
}

static enum mr_status reject(struct mr_mapper *m, struct mr_batch *batch,
    unsigned reason, struct mr_reject *r, struct mr_buffer *out)
{
    batch->reason[reason]++;
    if (!m->want_rejects)
        return MR_OK;
    r->reason = reason;
    /* The same as of a line that was too long to be held. */
    if (reason == MR_REASON_TOO_LONG && r->text.n > MR_LINES_LONG_KEPT) {
        r->text.n = MR_LINES_LONG_KEPT;
        r->cut = true;
    }
    return mr_reject_pack(r, out);
}

/* Beside MR_EVENT_NOMEM and reasons. */
#define TOO_MANY_TYPES (-3)

/* An event, or the reason why it is none. */
static int take_event(struct mr_mapper *m, const struct mr_record *record,
    const struct mr_folder_hint *hint, struct mr_batch *batch)
{
    enum mr_status status;
    struct mr_event event;
    uint32_t type;
    int reason = mr_event_decode(&m->plan->events, record, &m->scratch, &event);

    if (reason != MR_EVENT_OK)
        return reason;
    if (m->rows != NULL)
        return mr_row_add(m->rows, record, &event, hint) == MR_OK
                   ? MR_EVENT_OK
                   : MR_EVENT_NOMEM;
    status = mr_type_id(m->types, MR_TEXT_TYPE, event.type, &type);
    if (status == MR_OK)
        status = mr_batch_event(batch, m->plan->zone, event.time_ms, type,
            event.user, event.has_user);
    if (status == MR_OK && m->plan->has_figures)
        status = mr_figures_count(&m->figures, record, &event, hint, batch);
    if (status == MR_OK && m->plan->keeps)
        status = mr_kept_note(m->plan, &event, batch->last_day.day, batch);
    if (status != MR_OK)
        return status == MR_LIMIT ? TOO_MANY_TYPES : MR_EVENT_NOMEM;
    batch->other_type += hint->has_type && type != hint->type;
    batch->other_day += hint->has_day && batch->last_day.day != hint->day;
    return MR_EVENT_OK;
}

/* What a record comes to: a reason, MR_EVENT_OK, MR_EVENT_NOMEM, or
 * TOO_MANY_TYPES. */
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

/* A block that is one line, and no event. */
static enum mr_status reject_block(struct mr_mapper *m,
    const struct mr_line_block *block, struct mr_batch *batch,
    struct mr_buffer *rejects, struct mr_error *err)
{
    const struct mr_spec *spec = &m->plan->spec;
    struct mr_reject r = {.line = batch->lines,
        .offset = block->offset,
        .text = block->text,
        .cut = block->too_long};
    unsigned reason = MR_REASON_TOO_LONG;

    if (!block->too_long && block->text.n <= spec->max_line_bytes)
        reason = mr_json_check(block->text, spec->max_depth) == MR_LINE_TOO_DEEP
                     ? MR_REASON_TOO_DEEP
                     : MR_REASON_JSON;
    batch->lines++;
    return reject(m, batch, reason, &r, rejects) != MR_OK ? mr_fail_nomem(err)
                                                          : MR_OK;
}

enum mr_status mr_mapper_parse(struct mr_mapper *m,
    const struct mr_line_block *block, const struct mr_preface *preface,
    struct mr_batch *batch, struct mr_buffer *rejects, struct mr_error *err)
{
    uint64_t first = batch->lines;
    struct mr_reject r = {.line = first, .offset = block->offset};
    struct mr_record record;

    mr_type_cache_enter(m->types, preface->groups);
    batch->text_bytes += block->bytes;
    if (block->too_long || block->whole)
        return reject_block(m, block, batch, rejects, err);
    if (m->csv != NULL)
        mr_csv_reader_set(m->csv, &preface->csv, block->text);
    else
        mr_fields_reader_set(m->json, block->text);
    for (;;) {
        int reason;

        if (m->csv != NULL)
            mr_csv_next(m->csv, &record);
        else
            mr_fields_next(m->json, &record);
        if (record.verdict == MR_LINE_END)
            return MR_OK;
        batch->lines++;
        reason = take_record(m, &record, &preface->folders, batch);
        if (reason == MR_EVENT_NOMEM)
            return mr_fail_nomem(err);
        if (reason == TOO_MANY_TYPES)
            return too_many_types(err);
        if (reason != MR_EVENT_OK) {
            r.text = record.line;
            r.cut = false;
            r.offset =
                block->starts != NULL
                    ? block->starts[r.line - first]
                    : block->offset + (uint64_t)(record.line.p - block->text.p);
            if (reject(m, batch, (unsigned)reason, &r, rejects) != MR_OK)
                return mr_fail_nomem(err);
        }
        r.line++;
    }
}
