#ifndef MR_EVENT_H
#define MR_EVENT_H

#include "mr/fields.h"
#include "mr/spec.h"

/** A typed event.  type points into the line, or into the scratch buffer
 * where it had to be unescaped. */
struct mr_event {
    int64_t time_ms;
    uint64_t user; /* XXH64 of the id; only with has_user */
    bool has_user;
    struct mr_span type; /* 1 to MR_TYPE_MAX_BYTES bytes of UTF-8 */
};

/* The event of a line that is one. */
#define MR_EVENT_OK (-1)

/**
 * mr_event_decode(spec, record, scratch, event): Turn a record with verdict
 * MR_LINE_VALUE, whose value[] is indexed by enum mr_field, into an event.
 * Return MR_EVENT_OK, or the reject reason (enum in spec.h) of the first
 * field in order that is missing or malformed: id and type must be non-empty
 * strings, type of at most MR_TYPE_MAX_BYTES; attributes an object (if the
 * spec names a path); time as mr_time_parse_ms says, as a number or a string
 * of just that number; the user may be absent, null or an empty string
 * (has_user is then false), a string, or a number without fraction and
 * exponent, hashed as its text; anything else is malformed.  Return
 * MR_EVENT_NOMEM when scratch could not grow.  Unless MR_EVENT_OK is returned,
 * what is in *event_out means nothing.  Cost: one hash of the user id.
 */
#define MR_EVENT_NOMEM (-2)
int mr_event_decode(const struct mr_spec *spec, const struct mr_record *record,
    struct mr_buffer *scratch, struct mr_event *event_out);

#endif
