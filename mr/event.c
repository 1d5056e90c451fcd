#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/event.h"

#include "mr/csv.h"
#include "mr/hash.h"
#include "mr/text.h"

/* A string without its escapes, written behind what stands in the scratch
 * buffer, which the caller has made large enough. */
static struct mr_span unescape(const struct mr_event_plan *plan,
    struct mr_span text, struct mr_buffer *scratch)
{
    uint8_t *out = scratch->p + scratch->n;
    size_t room = scratch->cap - scratch->n;
    size_t n = plan->is_csv ? mr_csv_unescape(&plan->spec->csv, text, out, room)
                            : mr_fields_unescape(text, out, room);

    scratch->n += n;
    return (struct mr_span){out, n};
}

/* The same, or the text in place if it has none. */
static inline struct mr_span plain_text(const struct mr_event_plan *plan,
    const struct mr_value *value, struct mr_buffer *scratch)
{
    return __builtin_expect(value->escaped, 0)
               ? unescape(plan, value->text, scratch)
               : value->text;
}

static size_t room_for(const struct mr_value *value)
{
    return value->kind == MR_KIND_STRING && value->escaped ? value->text.n : 0;
}

/* What there is none of: CSV knows no other kind of nothing. */
static bool is_absent(
    const struct mr_event_plan *plan, const struct mr_value *value)
{
    return value->kind == MR_KIND_NONE ||
           (plan->is_csv && value->kind == MR_KIND_NULL);
}

/* Whether a number's text is that of an integer: the digits are what is
 * hashed, so 1.0 and 1e0 would be users of their own. */
static bool is_integer(struct mr_span text)
{
    size_t i;

    for (i = 0; i < text.n; i++) {
        if (text.p[i] == '.' || text.p[i] == 'e' || text.p[i] == 'E')
            return false;
    }
    return true;
}

static bool decode_time(const struct mr_event_plan *plan,
    const struct mr_value *value, struct mr_buffer *scratch,
    int64_t *time_ms_out)
{
    bool is_number = value->kind == MR_KIND_NUMBER;
    struct mr_span text = value->text;

    if (value->kind == MR_KIND_STRING)
        text = plain_text(plan, value, scratch);
    else if (!is_number)
        return false;
    return mr_timeform_parse(plan->form, (const char *)text.p, text.n,
               is_number, time_ms_out) &&
           *time_ms_out >= plan->first_ms && *time_ms_out < plan->end_ms;
}

/* A tagged identity: that of the path that the id is from, and the id, with a
 * character between that no path has. */
static uint64_t tag(const struct mr_event_plan *plan, unsigned source,
    struct mr_span id, struct mr_buffer *scratch)
{
    const char *path = plan->spec->user[source];
    size_t n = strlen(path);
    uint8_t *out = scratch->p + scratch->n;

    memcpy(out, path, n);
    out[n] = '\n';
    memcpy(out + n + 1, id.p, id.n);
    return mr_hash64(out, n + 1 + id.n);
}

/* The field of a user's chain: true if it is there, or is nothing at all. */
static bool decode_user(const struct mr_event_plan *plan, unsigned source,
    const struct mr_value *value, struct mr_buffer *scratch,
    struct mr_event *event)
{
    struct mr_span text = value->text;

    switch (value->kind) {
    case MR_KIND_NONE:
    case MR_KIND_NULL:
        return true;
    case MR_KIND_STRING:
        text = plain_text(plan, value, scratch);
        if (text.n == 0)
            return true;
        break;
    case MR_KIND_NUMBER:
        if (!is_integer(text))
            return false;
        break;
    default:
        return false;
    }
    event->has_user = true;
    event->source = source;
    event->user = event->user_id = mr_hash64(text.p, text.n);
    if (plan->spec->tagged)
        event->user = tag(plan, source, text, scratch);
    return true;
}

/* The first of the chain that is there. */
static bool decode_users(const struct mr_event_plan *plan,
    const struct mr_record *record, struct mr_buffer *scratch,
    struct mr_event *event)
{
    event->has_user = false;
    event->user = 0;
    for (unsigned i = 0; i < plan->spec->n_users && !event->has_user; i++)
        if (!decode_user(
                plan, i, &record->value[plan->user[i]], scratch, event))
            return false;
    return true;
}

/* Room for all that a record may have unescaped, and a tagged user. */
static enum mr_status make_room(const struct mr_event_plan *plan,
    const struct mr_record *record, struct mr_buffer *scratch)
{
    size_t room = room_for(&record->value[MR_FIELD_ID]) +
                  room_for(&record->value[MR_FIELD_TYPE]) +
                  room_for(&record->value[MR_FIELD_TIME]);

    for (unsigned i = 0; i < plan->spec->n_users; i++) {
        const struct mr_value *value = &record->value[plan->user[i]];

        room += room_for(value);
        if (plan->spec->tagged)
            room += value->text.n + MR_PATH_MAX_BYTES + 1;
    }
    return room > scratch->cap ? mr_buffer_reserve(scratch, room) : MR_OK;
}

/* Whether there may be something to make room for. */
static inline bool needs_room(
    const struct mr_event_plan *plan, const struct mr_record *record)
{
    const struct mr_value *value = record->value;

    return plan->spec->tagged | (plan->spec->n_users > 1) |
           value[MR_FIELD_ID].escaped | value[MR_FIELD_TYPE].escaped |
           value[MR_FIELD_TIME].escaped | value[MR_FIELD_USER].escaped;
}

/* A text that must be there and not be empty: MR_EVENT_OK if it is, or why
 * not. */
static int decode_text(const struct mr_event_plan *plan, enum mr_field field,
    const struct mr_record *record, struct mr_buffer *scratch,
    struct mr_span *text_out)
{
    const struct mr_value *value = &record->value[field];

    if (is_absent(plan, value))
        return MR_REASON_MISSING(field);
    if (value->kind != MR_KIND_STRING || value->text.n == 0)
        return MR_REASON_MALFORMED(field);
    *text_out = plain_text(plan, value, scratch);
    return MR_EVENT_OK;
}

static int decode_type(const struct mr_event_plan *plan,
    const struct mr_record *record, struct mr_buffer *scratch,
    struct mr_event *event)
{
    const char *path = plan->spec->field[MR_FIELD_TYPE];
    int reason;

    if (path[0] == '=') {
        event->type = mr_text_span(path + 1);
        return MR_EVENT_OK;
    }
    reason = decode_text(plan, MR_FIELD_TYPE, record, scratch, &event->type);
    if (reason == MR_EVENT_OK && event->type.n > MR_TYPE_MAX_BYTES)
        reason = MR_REASON_MALFORMED(MR_FIELD_TYPE);
    return reason;
}

int mr_event_decode(const struct mr_event_plan *plan,
    const struct mr_record *record, struct mr_buffer *scratch,
    struct mr_event *event_out)
{
    const struct mr_spec *spec = plan->spec;
    const struct mr_value *value = record->value;
    int reason;

    /* All room at once: what is there must not move when more comes. */
    scratch->n = 0;
    if (__builtin_expect(needs_room(plan, record), 0) &&
        make_room(plan, record, scratch) != MR_OK)
        return MR_EVENT_NOMEM;
    event_out->id = (struct mr_span){NULL, 0};
    if (spec->field[MR_FIELD_ID][0] != '\0') {
        reason =
            decode_text(plan, MR_FIELD_ID, record, scratch, &event_out->id);
        if (reason != MR_EVENT_OK)
            return reason;
    }
    reason = decode_type(plan, record, scratch, event_out);
    if (reason != MR_EVENT_OK)
        return reason;
    if (spec->field[MR_FIELD_ATTRIBUTES][0] != '\0') {
        if (value[MR_FIELD_ATTRIBUTES].kind == MR_KIND_NONE)
            return MR_REASON_MISSING(MR_FIELD_ATTRIBUTES);
        if (value[MR_FIELD_ATTRIBUTES].kind != MR_KIND_OBJECT)
            return MR_REASON_MALFORMED(MR_FIELD_ATTRIBUTES);
    }
    if (is_absent(plan, &value[MR_FIELD_TIME]))
        return MR_REASON_MISSING(MR_FIELD_TIME);
    if (!decode_time(plan, &value[MR_FIELD_TIME], scratch, &event_out->time_ms))
        return MR_REASON_MALFORMED(MR_FIELD_TIME);
    if (!decode_users(plan, record, scratch, event_out))
        return MR_REASON_MALFORMED(MR_FIELD_USER);
    return MR_EVENT_OK;
}

enum mr_status mr_event_text(const struct mr_event_plan *plan,
    const struct mr_value *value, struct mr_buffer *scratch,
    struct mr_span *text_out)
{
    *text_out = (struct mr_span){NULL, 0};
    switch (value->kind) {
    case MR_KIND_STRING:
        if (value->escaped &&
            mr_buffer_reserve(scratch, scratch->n + value->text.n) != MR_OK)
            return MR_NOMEM;
        *text_out = plain_text(plan, value, scratch);
        if (plan->is_csv && text_out->n == 0)
            text_out->p = NULL;
        break;
    case MR_KIND_NUMBER:
        *text_out = value->text;
        break;
    case MR_KIND_TRUE:
        *text_out = mr_text_span("true");
        break;
    case MR_KIND_FALSE:
        *text_out = mr_text_span("false");
        break;
    default:
        break;
    }
    return MR_OK;
}
