#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/figures.h"

#include "mr/groupkey.h"
#include "mr/text.h"

_Static_assert(MR_TEXT_ROLLUP == MR_GROUP_KIND, "one numbering of kinds");
_Static_assert(
    MR_TEXT_KINDS >= MR_TEXT_ROLLUP + MR_ROLLUPS_MAX, "each rollup has a kind");

void mr_figures_init(struct mr_figures *f, const struct mr_figures_plan *plan,
    struct mr_type_cache *types)
{
    *f = (struct mr_figures){.plan = plan, .types = types};
}

void mr_figures_release(struct mr_figures *f)
{
    mr_buffer_release(&f->scratch);
}

static enum mr_status count(struct mr_figures *f, unsigned kind,
    struct mr_span text, const struct mr_event *event, struct mr_batch *batch)
{
    uint32_t number;
    enum mr_status status = mr_type_id(f->types, kind, text, &number);

    if (status != MR_OK)
        return status;
    return mr_batch_figure(batch, number, event->user, event->has_user);
}

/* Day and hour of the event, as texts. */
static void tell_hour(struct mr_figures *f, int64_t time_ms)
{
    if (mr_zone_span_has(&f->hour, time_ms))
        return;
    mr_zone_hour_span(f->plan->zone, time_ms, &f->hour);
    mr_hour_format(f->hour.day, (unsigned)f->hour.hour, f->hour_text);
    mr_day_format(f->hour.day, f->day_text);
}

/* Take the event's URL apart, if that has not been done. */
static enum mr_status read_url(
    struct mr_figures *f, const struct mr_record *record)
{
    struct mr_span text;
    uint8_t *scratch;

    if (f->has_url)
        return MR_OK;
    if (mr_event_text(f->plan->events, &record->value[f->plan->url],
            &f->scratch, &text) != MR_OK)
        return MR_NOMEM;
    f->has_url = true;
    f->url = (struct mr_url){.n_steps = 0};
    if (text.p == NULL)
        return MR_OK;
    scratch = f->scratch.p + f->scratch.n;
    f->scratch.n += text.n;
    mr_url_read(text, scratch, &f->url);
    return MR_OK;
}

/* The value of a column of the users table. */
static struct mr_span table_value(const struct mr_figures_plan *plan,
    unsigned column, const struct mr_event *event)
{
    const uint8_t *entry =
        event->has_user ? mr_usertable_find(plan->table, event->user_id) : NULL;

    return mr_usertable_text(
        plan->table, column, mr_usertable_number(entry, column));
}

enum mr_status mr_figures_value(struct mr_figures *f,
    const struct mr_figure_field *field, const struct mr_record *record,
    const struct mr_event *event, const struct mr_folder_hint *hint,
    struct mr_span *value_out)
{
    enum mr_status status = MR_OK;

    switch (field->from) {
    case MR_FROM_PATH:
        return mr_event_text(f->plan->events, &record->value[field->index],
            &f->scratch, value_out);
    case MR_FROM_TYPE:
        *value_out = event->type;
        break;
    case MR_FROM_HOUR:
        tell_hour(f, event->time_ms);
        *value_out = mr_text_span(f->hour_text);
        break;
    case MR_FROM_DAY:
        tell_hour(f, event->time_ms);
        *value_out = mr_text_span(f->day_text);
        break;
    case MR_FROM_HOST:
        status = read_url(f, record);
        *value_out = f->url.host;
        break;
    case MR_FROM_STEP:
        status = read_url(f, record);
        *value_out = mr_url_step(&f->url, field->index);
        break;
    case MR_FROM_FOLDER:
        *value_out = hint->value[field->index];
        break;
    case MR_FROM_TABLE:
        *value_out = table_value(f->plan, field->index, event);
        break;
    case MR_FROM_ID:
    case MR_FROM_USER:
    case MR_FROM_TIME:
        break; /* of rows only */
    }
    return status;
}

/* Room for all values of an event that may be written anew: the URL twice.
 * What is there must not move when more comes. */
enum mr_status mr_figures_begin(
    struct mr_figures *f, const struct mr_record *record, size_t room)
{
    f->scratch.n = 0;
    f->has_url = false;
    if (f->plan->spec->url[0] != '\0')
        room += 2 * record->value[f->plan->url].text.n;
    return mr_buffer_reserve(&f->scratch, room + 1);
}

/* The values that groups are made of, each once. */
static enum mr_status make_room(
    struct mr_figures *f, const struct mr_record *record)
{
    const struct mr_figures_plan *plan = f->plan;
    size_t room = 0;

    for (unsigned r = 0; r < plan->spec->n_rollups; r++)
        for (unsigned k = 0; k < plan->spec->rollup[r].n_by; k++)
            if (plan->field[r][k].from == MR_FROM_PATH)
                room += record->value[plan->field[r][k].index].text.n;
    return mr_figures_begin(f, record, room);
}

static enum mr_status count_group(struct mr_figures *f, unsigned rollup,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint, struct mr_batch *batch)
{
    unsigned n = f->plan->spec->rollup[rollup].n_by;
    struct mr_span value[MR_ROLLUP_FIELDS_MAX];
    uint8_t text[MR_TYPE_MAX_BYTES];
    size_t length;

    for (unsigned k = 0; k < n; k++) {
        enum mr_status status = mr_figures_value(
            f, &f->plan->field[rollup][k], record, event, hint, &value[k]);

        if (status != MR_OK)
            return status;
    }
    length = mr_group_encode(rollup, value, n, text);
    return count(
        f, text[0], (struct mr_span){text + 1, length - 1}, event, batch);
}

/* The user's attributes by which segments are counted. */
static enum mr_status count_attributes(
    struct mr_figures *f, const struct mr_event *event, struct mr_batch *batch)
{
    uint8_t text[1 + MR_USERTABLE_VALUE_MAX_BYTES];
    enum mr_status status = MR_OK;

    for (unsigned k = 0; k < f->plan->spec->n_segments_by; k++) {
        struct mr_span value =
            table_value(f->plan, f->plan->attribute[k], event);

        if (value.p == NULL || value.n == 0)
            continue;
        text[0] = (uint8_t)(k + 1);
        memcpy(text + 1, value.p, value.n);
        status = count(f, MR_TEXT_ATTRIBUTE,
            (struct mr_span){text, value.n + 1}, event, batch);
        if (status != MR_OK)
            break;
    }
    return status;
}

enum mr_status mr_figures_count(struct mr_figures *f,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint, struct mr_batch *batch)
{
    const struct mr_spec *spec = f->plan->spec;
    enum mr_status status = make_room(f, record);

    if (status == MR_OK && spec->n_users > 1 && event->has_user)
        status = count(f, MR_TEXT_IDENTITY,
            mr_text_span(spec->user[event->source]), event, batch);
    if (status == MR_OK && f->plan->table != NULL && event->has_user &&
        mr_usertable_find(f->plan->table, event->user_id) == NULL)
        status = count(f, MR_TEXT_UNKNOWN, event->type, event, batch);
    if (status == MR_OK && event->has_user)
        status = count_attributes(f, event, batch);
    for (unsigned r = 0; r < spec->n_rollups && status == MR_OK; r++)
        status = count_group(f, r, record, event, hint, batch);
    return status;
}
