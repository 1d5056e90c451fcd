#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/event.h"

#include "mr/calendar.h"
#include "mr/hash.h"

/*
 * A string without its escapes.  Without a backslash that is the text in
 * place; else it is written to the scratch buffer behind what stands there,
 * which the caller has made large enough.
 */
static struct mr_span plain_text(
    const struct mr_value *value, struct mr_buffer *scratch)
{
    struct mr_span plain = value->text;

    if (value->escaped) {
        plain.p = scratch->p + scratch->n;
        plain.n = mr_fields_unescape(
            value->text, scratch->p + scratch->n, scratch->cap - scratch->n);
        scratch->n += plain.n;
    }
    return plain;
}

static size_t room_for(const struct mr_value *value)
{
    return value->kind == MR_KIND_STRING && value->escaped ? value->text.n : 0;
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

static bool decode_time(const struct mr_value *value, struct mr_buffer *scratch,
    int64_t *time_ms_out)
{
    struct mr_span text = value->text;

    if (value->kind == MR_KIND_STRING)
        text = plain_text(value, scratch);
    else if (value->kind != MR_KIND_NUMBER)
        return false;
    return mr_time_parse_ms((const char *)text.p, text.n, time_ms_out);
}

static bool decode_user(const struct mr_value *value, struct mr_buffer *scratch,
    struct mr_event *event)
{
    struct mr_span text = value->text;

    event->has_user = false;
    event->user = 0;
    switch (value->kind) {
    case MR_KIND_NONE:
    case MR_KIND_NULL:
        return true;
    case MR_KIND_STRING:
        text = plain_text(value, scratch);
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
    event->user = mr_hash64(text.p, text.n);
    return true;
}

int mr_event_decode(const struct mr_spec *spec, const struct mr_record *record,
    struct mr_buffer *scratch, struct mr_event *event_out)
{
    const struct mr_value *value = record->value;
    const struct mr_value *type = &value[MR_FIELD_TYPE];
    const struct mr_value *time = &value[MR_FIELD_TIME];
    const struct mr_value *user = &value[MR_FIELD_USER];
    size_t room = room_for(type) + room_for(time) + room_for(user);

    /* All room at once: the type must not move when the user comes. */
    scratch->n = 0;
    if (room > scratch->cap && mr_buffer_reserve(scratch, room) != MR_OK)
        return MR_EVENT_NOMEM;
    if (spec->field[MR_FIELD_ID][0] != '\0') {
        if (value[MR_FIELD_ID].kind == MR_KIND_NONE)
            return MR_REASON_MISSING(MR_FIELD_ID);
        if (value[MR_FIELD_ID].kind != MR_KIND_STRING ||
            value[MR_FIELD_ID].text.n == 0)
            return MR_REASON_MALFORMED(MR_FIELD_ID);
    }
    if (type->kind == MR_KIND_NONE)
        return MR_REASON_MISSING(MR_FIELD_TYPE);
    if (type->kind != MR_KIND_STRING)
        return MR_REASON_MALFORMED(MR_FIELD_TYPE);
    event_out->type = plain_text(type, scratch);
    if (event_out->type.n == 0 || event_out->type.n > MR_TYPE_MAX_BYTES)
        return MR_REASON_MALFORMED(MR_FIELD_TYPE);
    if (spec->field[MR_FIELD_ATTRIBUTES][0] != '\0') {
        if (value[MR_FIELD_ATTRIBUTES].kind == MR_KIND_NONE)
            return MR_REASON_MISSING(MR_FIELD_ATTRIBUTES);
        if (value[MR_FIELD_ATTRIBUTES].kind != MR_KIND_OBJECT)
            return MR_REASON_MALFORMED(MR_FIELD_ATTRIBUTES);
    }
    if (time->kind == MR_KIND_NONE)
        return MR_REASON_MISSING(MR_FIELD_TIME);
    if (!decode_time(time, scratch, &event_out->time_ms))
        return MR_REASON_MALFORMED(MR_FIELD_TIME);
    if (!decode_user(user, scratch, event_out))
        return MR_REASON_MALFORMED(MR_FIELD_USER);
    return MR_EVENT_OK;
}
