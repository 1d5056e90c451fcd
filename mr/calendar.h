#ifndef MR_CALENDAR_H
#define MR_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Days are numbered from 1970-01-01 = 0 in the proleptic Gregorian calendar.
 * Times are epoch milliseconds, UTC.  The civil-date arithmetic follows
 * Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
 */

#define MR_MS_PER_DAY INT64_C(86400000)
/* Times run from 1970-01-01 up to, and without, 2200-01-01. */
#define MR_TIME_END_MS INT64_C(7258118400000)
#define MR_DAY_END ((int32_t)(MR_TIME_END_MS / MR_MS_PER_DAY))

#define MR_DAY_TEXT 11
/** Write YYYY-MM-DD and a NUL for a day that mr_day_to_civil knows. */
void mr_day_format(int32_t day, char out[MR_DAY_TEXT]);

/** mr_day_from_civil(y, m, d, &day): Day number of a real date of the years 0
 * to 9999, negative before 1970; false, leaving day unchanged, for 30 February
 * and the like. */
bool mr_day_from_civil(int y, int m, int d, int32_t *day_out);

/** mr_day_to_civil(day, &y, &m, &d): The date of a day from 0000-01-01 to
 * 9999-12-31. */
void mr_day_to_civil(int32_t day, int *y_out, int *m_out, int *d_out);

/** mr_day_parse(text, n, &day): Read YYYY-MM-DD or YYYYMMDD, nothing else
 * around it.  False, leaving day unchanged, when it is no such date. */
bool mr_day_parse(const char *text, size_t n, int32_t *day_out);

/**
 * mr_time_parse_ms(text, n, &time_ms): Read a JSON number (RFC 8259 section
 * 6) as epoch milliseconds, exactly: digits, a fraction and an exponent are
 * taken as decimal digits, never through floating point, and what is below
 * one millisecond is cut off.  False, leaving time_ms unchanged, when text
 * is not wholly one JSON number or the time is not in [0, MR_TIME_END_MS).
 * A negative number is out of range even where its cut-off value is -0.
 * "-0" is 0.
 */
bool mr_time_parse_ms(const char *text, size_t n, int64_t *time_ms_out);

/** mr_time_parse(text, n, exponent, &time_ms): The same of a number that
 * counts 10^exponent ms: 3 for seconds, -3 for us, -6 for ns. */
bool mr_time_parse(
    const char *text, size_t n, int exponent, int64_t *time_ms_out);

#endif
