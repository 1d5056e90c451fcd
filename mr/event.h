#ifndef MR_EVENT_H
#define MR_EVENT_H

#include "mr/fields.h"
#include "mr/spec.h"
#include "mr/timeform.h"

/** How records become events.  Read-only while threads use it; what it points
 * at is the caller's. */
struct mr_event_plan {
    const struct mr_spec *spec;
    const struct mr_timeform *form;
    int64_t first_ms, end_ms; /* times from the first up to, and without, end */
    bool is_csv;
    /* Where in a record the fields of the user's chain are; the first is
     * MR_FIELD_USER. */
    uint8_t user[MR_USERS_FIELDS_MAX];
};

/** A typed event.  Texts point into the line, or into the scratch buffer
 * where they had to be unescaped. */
struct mr_event {
    int64_t time_ms;
    uint64_t user;    /* XXH64 of the identity; only with has_user */
    uint64_t user_id; /* XXH64 of the id alone: of a users table */
    bool has_user;
    unsigned source;     /* of the user: index in the spec's chain */
    struct mr_span type; /* 1 to MR_TYPE_MAX_BYTES bytes of UTF-8 */
    struct mr_span id;   /* empty where the spec names none */
};

/* The event of a line that is one. */
#define MR_EVENT_OK (-1)

/**
 * mr_event_decode(plan, record, scratch, event): Turn a record with verdict
 * MR_LINE_VALUE, whose value[] begins as enum mr_field says, into an event.
 * Return MR_EVENT_OK, or the reject reason (enum in spec.h) of the first
 * field in order that is missing or malformed: id (if the spec names a path)
 * and type must be non-empty strings, type of at most MR_TYPE_MAX_BYTES;
 * attributes an object (if the spec names a path); time as the plan's form
 * says; the user is the first of the chain that is not absent, null or an
 * empty string (has_user is false where all are): a string, or a number
 * without fraction and exponent, taken as its text; anything else is
 * malformed.  Of CSV, a null word is as absent.  Return MR_EVENT_NOMEM when
 * scratch could not grow.  Unless MR_EVENT_OK is returned, what is in
 * *event_out means nothing.  Cost: one hash of the user id.
 */
#define MR_EVENT_NOMEM (-2)
int mr_event_decode(const struct mr_event_plan *plan,
    const struct mr_record *record, struct mr_buffer *scratch,
    struct mr_event *event_out);

/** mr_event_text(plan, value, scratch, text): A string or number of a record
 * as text, unescaped; behind what stands in scratch, which grows if it must,
 * where it has escapes.  true and false are their words; anything else, and
 * an empty value of CSV, has p = NULL.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_event_text(const struct mr_event_plan *plan,
    const struct mr_value *value, struct mr_buffer *scratch,
    struct mr_span *text_out);

#endif
