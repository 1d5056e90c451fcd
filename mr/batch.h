#ifndef MR_BATCH_H
#define MR_BATCH_H

#include <stdbool.h>

#include "mr/calendar.h"
#include "mr/spec.h"
#include "mr/zone.h"

/*
 * What one thread found in some lines of one partition: events reduced to
 * what the figures need, and counts.  Batches of one partition add up; only
 * when it has been read to its end do they reach anything shared.
 */

/* An event of a known user: time (43 bits) and type number (21 bits).  What
 * an event is counted by besides its type is a tuple of its own, with that
 * number, and MR_TIME_END_MS for a time; so its day is MR_DAY_END. */
struct mr_tuple {
    uint64_t user;
    uint64_t what;
};

#define MR_TUPLE_TYPE_BITS 21

static inline uint64_t mr_tuple_pack(int64_t time_ms, uint32_t type)
{
    return (uint64_t)time_ms << MR_TUPLE_TYPE_BITS | type;
}

static inline uint64_t mr_tuple_time(uint64_t what)
{
    return what >> MR_TUPLE_TYPE_BITS;
}

static inline uint32_t mr_tuple_type(uint64_t what)
{
    return (uint32_t)(what & ((UINT32_C(1) << MR_TUPLE_TYPE_BITS) - 1));
}

/* A day and a type number as one key; days are below 2^17. */
static inline uint64_t mr_cell_key(int32_t day, uint32_t type)
{
    return (uint64_t)(uint32_t)day << 32 | type;
}

struct mr_cell_tally {
    uint64_t key1; /* mr_cell_key + 1; 0: free */
    uint64_t events, without_user;
};

struct mr_batch {
    struct mr_tuple *tuple;
    size_t n_tuples, cap_tuples;
    struct mr_cell_tally *cell; /* open-addressed */
    size_t cell_mask, n_cells;  /* entries - 1 */
    struct mr_cell_tally *last; /* the cell of the event before */
    struct mr_zone_span last_day;
    uint32_t last_type;
    uint64_t text_bytes, lines, blank, other_day, other_type;
    uint64_t reason[MR_REASON_COUNT];
    /* What else is kept of events (mr/kept.h). */
    struct mr_buffer ids, events;
};

/* All zero is the empty batch. */
void mr_batch_release(struct mr_batch *b);
/** Empty it, keeping its memory. */
void mr_batch_clear(struct mr_batch *b);

/** Slow halves of mr_batch_event; mr_batch_grow is for n tuples in all. */
MR_MUST_CHECK enum mr_status mr_batch_grow(struct mr_batch *b, size_t n);
MR_MUST_CHECK enum mr_status mr_batch_cell(
    struct mr_batch *b, int32_t day, uint32_t type);
MR_MUST_CHECK enum mr_status mr_batch_turn(struct mr_batch *b,
    const struct mr_zone *zone, int64_t time_ms, uint32_t type);

/** mr_batch_event(b, zone, time_ms, type, user, has_user): Count an event on
 * its day in a zone; keep its tuple if it has a user.  No division while day
 * and type stay the same. */
MR_MUST_CHECK static inline enum mr_status mr_batch_event(struct mr_batch *b,
    const struct mr_zone *zone, int64_t time_ms, uint32_t type, uint64_t user,
    bool has_user)
{
    if (b->last == NULL || type != b->last_type ||
        !mr_zone_span_has(&b->last_day, time_ms)) {
        enum mr_status status = mr_batch_turn(b, zone, time_ms, type);

        if (status != MR_OK)
            return status;
    }
    b->last->events++;
    if (!has_user) {
        b->last->without_user++;
        return MR_OK;
    }
    if (b->n_tuples == b->cap_tuples) {
        enum mr_status status = mr_batch_grow(b, b->n_tuples + 1);

        if (status != MR_OK)
            return status;
    }
    b->tuple[b->n_tuples].user = user;
    b->tuple[b->n_tuples++].what = mr_tuple_pack(time_ms, type);
    return MR_OK;
}

/** mr_batch_figure(b, text, user, has_user): Count an event, which counts as
 * one by mr_batch_event, by a text besides its type. */
MR_MUST_CHECK enum mr_status mr_batch_figure(
    struct mr_batch *b, uint32_t text, uint64_t user, bool has_user);

/** mr_batch_count(into, from): Add up the counts; tuples are not touched. */
MR_MUST_CHECK enum mr_status mr_batch_count(
    struct mr_batch *into, const struct mr_batch *from);

/** mr_batch_append(into, from): Append the tuples. */
MR_MUST_CHECK enum mr_status mr_batch_append(
    struct mr_batch *into, const struct mr_batch *from);

#endif
