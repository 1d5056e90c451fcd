#ifndef MR_TIMEFORM_H
#define MR_TIMEFORM_H

#include "mr/calendar.h"
#include "mr/spec.h"
#include "mr/zone.h"

/*
 * Forms of times: how text becomes epoch ms, and the other way round.  Names
 * of months and weekdays are English; the locale is never asked.
 *
 * epoch_s, _ms, _us, _ns: a JSON number, as mr_time_parse reads it.
 *
 * iso8601: a date, YYYY-MM-DD or YYYYMMDD, alone or with a time, which "T" or
 * a blank parts from it: hh:mm or hh:mm:ss after the longer date, hhmm or
 * hhmmss after the shorter.  After seconds a fraction of any length, behind a
 * dot or comma, of which what is below 1 ms is cut off.  After a time Z, or
 * an offset: +hh, +hhmm, +hh:mm, +hhmmss, +hh:mm:ss, with + or -.  "t" and
 * "z" are as good (RFC 3339 section 5.6).  A date alone is the start of its
 * day.  24:00 is refused; second 60 is second 0 of the next minute.
 *
 * A pattern, as of strptime, all of which must fit all of the text:
 *
 *     %Y year, 4 digits          %y 2 digits: 1969 to 2068
 *     %m month                   %b Jan, Feb, ...   %B January, ...
 *     %d day, or %e: a blank may be its first digit; or %j, of the year
 *     %H hour, 0 to 23           %I 1 to 12, with %p: AM, PM
 *     %M minute                  %S second, 0 to 60
 *     %f digits of a fraction    %s seconds from 1970, alone or with %f
 *     %z offset, as above        %Z UTC, GMT or Z
 *     %a Sun, Mon, ...           %A Sunday, ...; must be the date's
 *     %F %Y-%m-%d                %T %H:%M:%S
 *     %D %m/%d/%y                %R %H:%M
 *     %% a percent sign          %n, %t, blanks: one or more of white space
 *
 * Upper and lower case of names are alike.  Numbers may lack leading zeros
 * (not %Y, %y) unless digits or another number stand beside them.  A year,
 * month and day there must be; of a time's parts only the last may lack.
 * Nothing may stand twice.
 */

/* The codes of patterns that are read, and those of patterns that are written,
 * each a percent sign and a letter, with a blank between two.  What a pattern
 * may have, the messages about it and docs/mr-spec.5 are made of these. */
#define MR_TIMEFORM_READ                                                       \
    "%Y %y %m %b %B %d %e %j %H %I %p %M %S %f %s %z %Z %a %A %F %T %D %R "    \
    "%n %t %%"
#define MR_TIMEFORM_WRITTEN                                                    \
    "%Y %y %m %b %B %d %e %j %H %I %p %M %S %f %s %z %a %A %F %T %D %R %n %t " \
    "%%"

/* Each byte of a pattern (MR_NAME_MAX_BYTES) is at most half of "%T". */
#define MR_TIMEFORM_STEPS (MR_NAME_MAX_BYTES / 2 * 5)

/** A form, ready for use; plain data, which any number of threads share. */
struct mr_timeform {
    enum mr_time_kind kind;
    const struct mr_zone *zone; /* of times that carry none; not owned */
    unsigned n_steps;
    struct mr_timeform_step {
        char what;     /* the directive; a quote: just the byte; a blank */
        uint8_t value; /* the byte; of a number the least digits */
    } step[MR_TIMEFORM_STEPS];
};

/**
 * mr_timeform_init(form, kind, pattern, zone, err): Prepare a form; there is
 * nothing to release.  The pattern is read for MR_TIME_PATTERN only.  The
 * zone must live as long as the form is used for reading, and may be NULL
 * when it is not.  MR_USAGE, naming the directive, for a pattern that is
 * unknown, ambiguous or without a full date.
 */
MR_MUST_CHECK enum mr_status mr_timeform_init(struct mr_timeform *form,
    enum mr_time_kind kind, const char *pattern, const struct mr_zone *zone,
    struct mr_error *err);

/** mr_timeform_read(form, text, n, is_number, &time_ms): mr_timeform_parse
 * of all kinds but MR_TIME_EPOCH_MS. */
bool mr_timeform_read(const struct mr_timeform *form, const char *text,
    size_t n, bool is_number, int64_t *time_ms_out);

/**
 * mr_timeform_parse(form, text, n, is_number, &time_ms): The UTC time of a
 * text.  False, leaving time_ms unchanged, when it is not of the form, not a
 * time there is, or not in [0, MR_TIME_END_MS).  Local times that come twice
 * or never are as mr_zone_to_utc has them.  is_number: the text is a JSON
 * number, not a string; iso8601 refuses it.
 */
static inline bool mr_timeform_parse(const struct mr_timeform *form,
    const char *text, size_t n, bool is_number, int64_t *time_ms_out)
{
    if (form->kind == MR_TIME_EPOCH_MS)
        return mr_time_parse_ms(text, n, time_ms_out);
    return mr_timeform_read(form, text, n, is_number, time_ms_out);
}

/* Patterns of the hour of a rollup, 2017020220, and of its day. */
#define MR_TIMEFORM_HOUR "%Y%m%d%H"
#define MR_TIMEFORM_DAY "%F"
/* What any checked pattern comes to at most, NUL included. */
#define MR_TIMEFORM_TEXT (MR_NAME_MAX_BYTES * 5 + 1)

/** mr_timeform_check(pattern, err): Whether mr_timeform_format knows all
 * directives of a pattern: those above without %Z, which says too little of
 * most zones (use %z).  MR_USAGE, naming the directive, when it does not. */
MR_MUST_CHECK enum mr_status mr_timeform_check(
    const char *pattern, struct mr_error *err);

/**
 * mr_timeform_format(pattern, zone, time_ms, out, cap): Write a time of
 * [0, MR_TIME_END_MS) as clocks of a zone show it, with a NUL; return the
 * length without it, or 0, with out empty, when cap is too small or the
 * pattern not sound.  An empty pattern is ISO 8601 with ms and offset:
 * 2017-02-02T20:21:22.000Z, or +01:00 for Z where the offset is not 0.  As
 * strftime: all numbers have their leading zeros, %e a blank; %f is 3 digits
 * of ms, %z +hhmm (seconds follow where the offset has them), %n a line
 * feed, %t a tab.
 */
size_t mr_timeform_format(const char *pattern, const struct mr_zone *zone,
    int64_t time_ms, char *out, size_t cap);

#endif
