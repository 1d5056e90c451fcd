#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>

#include "mr/zone.h"

/*
 * Any bytes as a TZif file.  Of a zone that is accepted: spans hold the time
 * that they were asked about and all of one day or hour; where two stretches
 * meet, day, hour or nothing but the offset's own change parts them; a local
 * time that clocks show comes back as itself, and never from later than the
 * time it was made of.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* The local day by the offset, without a span. */
static int32_t day_of(const struct mr_zone *zone, int64_t time_ms)
{
    int64_t local_ms = time_ms + mr_zone_offset_ms(zone, time_ms);
    int64_t day = local_ms / MR_MS_PER_DAY;

    return (int32_t)(day - (local_ms % MR_MS_PER_DAY < 0));
}

static void check_time(const struct mr_zone *zone, int64_t time_ms)
{
    struct mr_zone_span day = {0}, hour = {0}, next = {0};
    int64_t local_ms = time_ms + mr_zone_offset_ms(zone, time_ms);
    int64_t again_ms = mr_zone_to_utc(zone, local_ms);

    demand(again_ms <= time_ms);
    demand(again_ms + mr_zone_offset_ms(zone, again_ms) == local_ms);
    mr_zone_day_span(zone, time_ms, &day);
    mr_zone_hour_span(zone, time_ms, &hour);
    demand(mr_zone_span_has(&day, time_ms));
    demand(mr_zone_span_has(&hour, time_ms));
    demand(hour.hour >= 0 && hour.hour < 24 && hour.day == day.day);
    demand(hour.start_ms >= day.start_ms && hour.end_ms <= day.end_ms);
    demand(day_of(zone, time_ms) == day.day);
    demand(day_of(zone, day.start_ms) == day.day);
    demand(day_of(zone, day.start_ms - 1) != day.day);
    demand(day_of(zone, day.end_ms - 1) == day.day);
    demand(day_of(zone, day.end_ms) != day.day);
    mr_zone_day_span(zone, day.end_ms, &next);
    demand(next.start_ms == day.end_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_zone *zone;
    int64_t time_ms, first_ms, end_ms;

    if (mr_zone_decode((struct mr_span){data, size}, &zone, NULL) != MR_OK)
        return 0;
    mr_zone_range(zone, &first_ms, &end_ms);
    demand(first_ms >= 0 && end_ms <= MR_TIME_END_MS);
    /* Steps that come to every hour of the day. */
    for (time_ms = 0; time_ms < MR_TIME_END_MS;
         time_ms += 13 * MR_MS_PER_DAY + 12345678) {
        check_time(zone, time_ms);
        if (time_ms >= first_ms && time_ms < end_ms)
            demand(day_of(zone, time_ms) >= 0 &&
                   day_of(zone, time_ms) < MR_DAY_END);
        (void)mr_zone_to_utc(zone, time_ms);
    }
    mr_zone_free(zone);
    return 0;
}
