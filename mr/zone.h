#ifndef MR_ZONE_H
#define MR_ZONE_H

#include "mr/bytes.h"
#include "mr/calendar.h"
#include "mr/hash.h"

/*
 * Time zones of the IANA data base, read from the system's TZif files (RFC
 * 8536, versions 1 to 4).  The environment is never asked.  A zone is a list
 * of changes of its offset, made once; it is read-only from then on and any
 * number of threads share it.  Local times are written as if they were UTC:
 * ms from 1970-01-01T00:00 of the local calendar and clock.
 */

#ifndef MR_ZONE_FOLDER
#define MR_ZONE_FOLDER "/usr/share/zoneinfo"
#endif
/* No file of a zone is as large. */
#define MR_ZONE_FILE_MAX (UINT32_C(1) << 18)
/* Longest name. */
#define MR_ZONE_NAME_MAX 64

struct mr_zone;

/**
 * mr_zone_load(name, zone, err): The zone of that name, which is the
 * caller's to free.  "UTC" needs no file.  MR_USAGE for a name that none can
 * have ("localtime", which means another zone on each machine, is none) or
 * that the system has no file of; MR_FORMAT for a file that is no sound TZif
 * file, or counts leap seconds; MR_IO when it cannot be read.
 */
MR_MUST_CHECK enum mr_status mr_zone_load(
    const char *name, struct mr_zone **zone_out, struct mr_error *err);

/**
 * mr_zone_decode(file, zone, err): The zone of a TZif file's bytes, which
 * are not trusted: each length, index and order that RFC 8536 asks for is
 * checked.  MR_FORMAT with the offset and cause.
 */
MR_MUST_CHECK enum mr_status mr_zone_decode(
    struct mr_span file, struct mr_zone **zone_out, struct mr_error *err);
void mr_zone_free(struct mr_zone *zone);

/** mr_zone_digest(zone): The digest of its offset from shortly before
 * 1970-01-01 to shortly after 2200-01-01 and of each change, which is all
 * that the functions below know.  Equal for zones that never differ in that
 * time, whatever their names and files. */
struct mr_digest mr_zone_digest(const struct mr_zone *zone);

/** mr_zone_offset_ms(zone, time_ms): What local clocks are ahead of UTC. */
int64_t mr_zone_offset_ms(const struct mr_zone *zone, int64_t time_ms);

/**
 * mr_zone_to_utc(zone, local_ms): The UTC time at which clocks show a local
 * time.  Of a time that they show twice, when they are put back, that is the
 * first.  A time that they never show, when they are put forward, is taken
 * as if they had not been: 02:30, skipped by an hour, is what 03:30 is.
 */
int64_t mr_zone_to_utc(const struct mr_zone *zone, int64_t local_ms);

/**
 * A stretch of time in which the local day, or day and hour, stay the same,
 * so that a caller asks only once for times that follow one another:
 *
 *     if (!mr_zone_span_has(&span, time_ms))
 *         mr_zone_day_span(zone, time_ms, &span);
 *
 * All zero is a span that has no times.
 */
struct mr_zone_span {
    int64_t start_ms, end_ms; /* the end is not in it */
    int32_t day;
    int32_t hour; /* 0 to 23; 0 in a span of a day */
};

static inline bool mr_zone_span_has(
    const struct mr_zone_span *span, int64_t time_ms)
{
    return (uint64_t)time_ms - (uint64_t)span->start_ms <
           (uint64_t)(span->end_ms - span->start_ms);
}

/**
 * mr_zone_day_span(zone, time_ms, span): The local day of a time, and the
 * stretch around it.  That is all of the day, mostly of 24 hours, but where
 * clocks change rarely of 23 or 25 or others.  Where they are put back
 * across midnight (from 00:01 to 23:01, as in Newfoundland until 2011), a
 * day has two stretches.  Of times in [0, MR_TIME_END_MS) the day is from -1
 * to MR_DAY_END, both included.
 */
void mr_zone_day_span(
    const struct mr_zone *zone, int64_t time_ms, struct mr_zone_span *span_out);

/** mr_zone_hour_span(zone, time_ms, span): The same of day and hour.  The
 * hour that comes twice when clocks are put back is one stretch of two. */
void mr_zone_hour_span(
    const struct mr_zone *zone, int64_t time_ms, struct mr_zone_span *span_out);

/** mr_zone_range(zone, &first_ms, &end_ms): The part of [0, MR_TIME_END_MS)
 * whose local days are in [0, MR_DAY_END); all of it in UTC. */
void mr_zone_range(
    const struct mr_zone *zone, int64_t *first_ms_out, int64_t *end_ms_out);

#endif
