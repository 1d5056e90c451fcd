#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/rows_format.h"

#include "mr/text.h"

/* ---- a value ---- */

static enum mr_status put_csv(struct mr_buffer *out, struct mr_span text)
{
    if (text.p == NULL)
        return MR_OK;
    if (text.n == 0)
        return mr_buffer_add(out, "\"\"", 2);
    return mr_text_csv(out, text);
}

/* The letter that stands for a byte behind a backslash, or 0. */
static char tsv_letter(uint8_t byte)
{
    switch (byte) {
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

static enum mr_status put_tsv(struct mr_buffer *out, struct mr_span text)
{
    size_t from = 0;

    if (text.p == NULL)
        return mr_buffer_add(out, "\\N", 2);
    for (size_t i = 0; i < text.n; i++) {
        const char escape[2] = {'\\', tsv_letter(text.p[i])};

        if (escape[1] == 0)
            continue;
        if (mr_buffer_add(out, text.p + from, i - from) != MR_OK ||
            mr_buffer_add(out, escape, 2) != MR_OK)
            return MR_NOMEM;
        from = i + 1;
    }
    return mr_buffer_add(out, text.p + from, text.n - from);
}

static enum mr_status put_json(
    struct mr_buffer *out, struct mr_span text, bool is_bare)
{
    if (text.p == NULL)
        return mr_buffer_add(out, "null", 4);
    return is_bare ? mr_buffer_add(out, text.p, text.n)
                   : mr_text_json(out, text);
}

/* Whether a value of JSON is written as it stands there. */
static bool is_bare(
    const struct mr_figure_field *field, const struct mr_record *record)
{
    enum mr_kind kind;

    if (field->from != MR_FROM_PATH)
        return false;
    kind = record->value[field->index].kind;
    return kind == MR_KIND_NUMBER || kind == MR_KIND_TRUE ||
           kind == MR_KIND_FALSE;
}

/* ---- what the columns are of ---- */

/* The user's id as it stands in the event: the first of the chain. */
static enum mr_status user_text(struct mr_row_writer *w,
    const struct mr_record *record, const struct mr_event *event,
    struct mr_span *text_out)
{
    const struct mr_event_plan *plan = &w->plan->events;

    *text_out = (struct mr_span){NULL, 0};
    if (!event->has_user)
        return MR_OK;
    w->text.n = 0;
    return mr_event_text(
        plan, &record->value[plan->user[event->source]], &w->text, text_out);
}

static enum mr_status column_text(struct mr_row_writer *w, unsigned i,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint, char time[MR_TIMEFORM_TEXT],
    struct mr_span *text_out)
{
    const struct mr_column *column = &w->plan->spec.rows[i];

    switch (column->from) {
    case MR_FROM_ID:
        *text_out = event->id;
        return MR_OK;
    case MR_FROM_USER:
        return user_text(w, record, event, text_out);
    case MR_FROM_TIME:
        text_out->p = (const uint8_t *)time;
        text_out->n = mr_timeform_format(column->format, w->plan->zone,
            event->time_ms, time, MR_TIMEFORM_TEXT);
        return MR_OK;
    default:
        return mr_figures_value(
            &w->figures, &w->plan->row[i], record, event, hint, text_out);
    }
}

/* ---- a row ---- */

static enum mr_status put_column(
    struct mr_row_writer *w, unsigned i, struct mr_span text, bool bare)
{
    struct mr_buffer *out = w->out;
    enum mr_status status = MR_OK;

    if (w->kind == MR_ROWS_JSONL) {
        status = mr_buffer_add(out, w->key[i].p, w->key[i].n);
        return status != MR_OK ? status : put_json(out, text, bare);
    }
    if (i > 0)
        status = mr_buffer_add(out, w->kind == MR_ROWS_CSV ? "," : "\t", 1);
    if (status != MR_OK)
        return status;
    return w->kind == MR_ROWS_CSV ? put_csv(out, text) : put_tsv(out, text);
}

/* The length of all values that the row's columns are made of. */
static size_t room_for(
    const struct mr_row_writer *w, const struct mr_record *record)
{
    size_t room = 0;

    for (unsigned i = 0; i < w->plan->spec.n_rows; i++)
        if (w->plan->row[i].from == MR_FROM_PATH)
            room += record->value[w->plan->row[i].index].text.n;
    return room;
}

enum mr_status mr_row_add(struct mr_row_writer *w,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint)
{
    enum mr_status status =
        mr_figures_begin(&w->figures, record, room_for(w, record));
    char time[MR_TIMEFORM_TEXT];

    w->without_user += !event->has_user;
    for (unsigned i = 0; i < w->plan->spec.n_rows && status == MR_OK; i++) {
        struct mr_span text = {NULL, 0};

        status = column_text(w, i, record, event, hint, time, &text);
        if (status == MR_OK)
            status = put_column(w, i, text, is_bare(&w->plan->row[i], record));
    }
    if (status != MR_OK)
        return status;
    return w->kind == MR_ROWS_JSONL ? mr_buffer_add(w->out, "}\n", 2)
                                    : mr_buffer_add(w->out, "\n", 1);
}

enum mr_status mr_row_header(
    const struct mr_spec *spec, enum mr_rows_kind kind, struct mr_buffer *out)
{
    struct mr_row_writer w = {.kind = kind, .out = out};
    enum mr_status status = MR_OK;

    if (kind == MR_ROWS_JSONL)
        return MR_OK;
    for (unsigned i = 0; i < spec->n_rows && status == MR_OK; i++)
        status = put_column(&w, i, mr_text_span(spec->rows[i].name), false);
    return status != MR_OK ? status : mr_buffer_add(out, "\n", 1);
}

static enum mr_status make_key(
    const char *name, unsigned i, struct mr_buffer *key)
{
    enum mr_status status = mr_buffer_add(key, i == 0 ? "{" : ",", 1);

    if (status == MR_OK)
        status = mr_text_json(key, mr_text_span(name));
    return status != MR_OK ? status : mr_buffer_add(key, ":", 1);
}

enum mr_status mr_row_writer_init(struct mr_row_writer *w,
    const struct mr_plan *plan, enum mr_rows_kind kind, struct mr_error *err)
{
    memset(w, 0, sizeof(*w));
    w->plan = plan;
    w->kind = kind;
    mr_figures_init(&w->figures, &plan->figures, NULL);
    for (unsigned i = 0; i < plan->spec.n_rows; i++)
        if (make_key(plan->spec.rows[i].name, i, &w->key[i]) != MR_OK)
            return mr_fail_nomem(err);
    return MR_OK;
}

void mr_row_writer_release(struct mr_row_writer *w)
{
    mr_figures_release(&w->figures);
    mr_buffer_release(&w->text);
    for (unsigned i = 0; i < MR_ROWS_MAX; i++)
        mr_buffer_release(&w->key[i]);
    memset(w, 0, sizeof(*w));
}
