#ifndef MR_GUESS_H
#define MR_GUESS_H

#include "mr/fields.h"
#include "mr/timeform.h"

/*
 * Which fields of some records are an event's id, type, time, user and URL:
 * told by their names and by what stands in them.  One thread.
 */

/* Fields that are looked at; further ones are not. */
#define MR_GUESS_FIELDS 512
/* Forms of times that are tried. */
#define MR_GUESS_FORMS 40
/* What is kept of a few of a field's values, for comments. */
#define MR_GUESS_SHOWN 6
#define MR_GUESS_SHOWN_BYTES 24

struct mr_guess_field {
    char *name; /* a path, or a column's name or number */
    bool named; /* not a number */
    uint64_t n, strings, integers, numbers, others; /* values by kind */
    uint64_t empty, null; /* empty text is no value, and counts no further */
    uint64_t last;        /* record, so that of a key twice one counts */
    uint64_t longest, hosts, links, keys;
    uint64_t *seen; /* hashes of values, open-addressed; 0 is free */
    size_t n_seen, mask;
    uint64_t forms[MR_GUESS_FORMS]; /* values that are times of a form */
    char shown[MR_GUESS_SHOWN][MR_GUESS_SHOWN_BYTES + 1];
    unsigned n_shown;
};

struct mr_guess {
    bool is_csv;
    uint64_t records;
    struct mr_guess_field field[MR_GUESS_FIELDS];
    size_t n_fields;
    struct mr_timeform form[MR_GUESS_FORMS];
    struct mr_zone *zone;
    struct mr_buffer scratch;
};

/** What was chosen; NULL where nothing can be told. */
struct mr_guess_choice {
    const struct mr_guess_field *id, *type, *time, *url;
    const struct mr_guess_field *user[MR_USERS_FIELDS_MAX];
    unsigned n_users;
    const char *time_format; /* as a spec names it */
    /* The same times with day and month the other way round, where their
     * values fit both; else NULL. */
    const char *other_format;
};

/** mr_guess_new(is_csv, guess, err): Release it with mr_guess_free. */
MR_MUST_CHECK enum mr_status mr_guess_new(
    bool is_csv, struct mr_guess **guess_out, struct mr_error *err);
void mr_guess_free(struct mr_guess *guess);

/** mr_guess_find(guess, name, field): The field of a name, new or known; NULL
 * if there are too many. */
MR_MUST_CHECK enum mr_status mr_guess_find(struct mr_guess *guess,
    struct mr_span name, struct mr_guess_field **field_out);

/** mr_guess_value(guess, field, kind, text): A value of the record at hand,
 * which is number guess->records; text as it is meant.  Objects and arrays
 * are values without text. */
MR_MUST_CHECK enum mr_status mr_guess_value(struct mr_guess *guess,
    struct mr_guess_field *field, enum mr_kind kind, struct mr_span text);

/** mr_guess_knows(name): Whether a name is one that such fields often have. */
bool mr_guess_knows(const char *name);

/** mr_guess_is_plain(guess, text): Whether a text is a number or a time, which
 * no column is called. */
bool mr_guess_is_plain(const struct mr_guess *guess, struct mr_span text);

/** mr_guess_choose(guess, choice): Choose, once all records have been seen. */
void mr_guess_choose(
    const struct mr_guess *guess, struct mr_guess_choice *choice_out);

#endif
