#ifndef MR_SESSIONS_H
#define MR_SESSIONS_H

#include <stdbool.h>

#include "mr/pool.h"

/*
 * The stretches of each user's events, in memory.
 *
 * Events of one user that are at most the gap apart belong to one stretch.
 * Only its first and last time matter, and joining stretches gives the same
 * whatever the order, so a user is a short sorted list of intervals and no
 * event is ever kept.
 *
 * An interval is packed into 64 bits: start (43 bits: milliseconds up to
 * 2200) and length (21 bits: up to 34.9 minutes).  A longer stretch is kept
 * as several pieces that touch or overlap within the gap; mr_sessions_read
 * joins them.  Up to three pieces stand in the user's own slot, in any order.
 * Of more, two stand there, to which the next events are the likeliest to
 * belong, and the others are a list in the pool, ascending.  What a slot or a
 * list has no piece for is all ones, so that looking for a place needs no
 * count:
 *
 *     slot:  | piece or ones | piece or ones | piece or ones |  each piece:
 *            | 111 | class 8 | place in pool 53 | same | same |  start 43 |
 *     pool:  | piece | piece | ... | ones | ones |               length 21
 *
 * (No start is so late that it begins with 111, nor within a day of it, so
 * no event seems to join what is not a piece.)  The pool is the caller's, who
 * may keep other things in it.  One thread at a time.
 */

#define MR_SESSIONS_SLOT 3
#define MR_SESSIONS_LENGTH_BITS 21
#define MR_SESSIONS_LENGTH_MAX ((UINT64_C(1) << MR_SESSIONS_LENGTH_BITS) - 1)
#define MR_SESSIONS_NONE UINT64_MAX
#define MR_SESSIONS_REFERENCE (UINT64_C(7) << 61)
#define MR_SESSIONS_PLACE ((UINT64_C(1) << 53) - 1)

struct mr_sessions {
    uint64_t gap_ms; /* at most a day */
    struct mr_pool *pool;
};

/** Slow half of mr_sessions_add. */
MR_MUST_CHECK enum mr_status mr_sessions_insert(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms);

/** mr_sessions_add(s, slot, start, end): Note events of the user whose slot
 * this is: a stretch of at most MR_SESSIONS_LENGTH_MAX.  MR_NOMEM leaves the
 * slot as it was. */
MR_MUST_CHECK static inline enum mr_status mr_sessions_add(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms)
{
    unsigned at = MR_SESSIONS_SLOT;
    uint64_t joined = 0;

    /* Most join a piece of the slot, nobody knows which: no branches. */
    for (unsigned k = 0; k < MR_SESSIONS_SLOT; k++) {
        uint64_t first = slot[k] >> MR_SESSIONS_LENGTH_BITS;
        uint64_t last = first + (slot[k] & MR_SESSIONS_LENGTH_MAX);
        uint64_t low = first < start_ms ? first : start_ms;
        uint64_t high = last > end_ms ? last : end_ms;
        bool joins = (start_ms <= last + s->gap_ms) &
                     (first <= end_ms + s->gap_ms) &
                     (high - low <= MR_SESSIONS_LENGTH_MAX);

        at = joins ? k : at;
        joined = joins ? low << MR_SESSIONS_LENGTH_BITS | (high - low) : joined;
    }
    if (at == MR_SESSIONS_SLOT)
        return mr_sessions_insert(s, slot, start_ms, end_ms);
    slot[at] = joined;
    return MR_OK;
}

/** mr_sessions_pack(start, end): A stretch as one number. */
static inline uint64_t mr_sessions_pack(uint64_t start_ms, uint64_t end_ms)
{
    return start_ms << MR_SESSIONS_LENGTH_BITS | (end_ms - start_ms);
}

/** mr_sessions_add_many(s, slot, piece, n): As mr_sessions_add of n stretches,
 * packed, which are put in order.  Time goes with n log n and the pieces that
 * the user has; of many it could go with their product else.  MR_NOMEM leaves
 * some added. */
MR_MUST_CHECK enum mr_status mr_sessions_add_many(
    struct mr_sessions *s, uint64_t *slot, uint64_t *piece, size_t n);

/** Make a slot one of no events. */
static inline void mr_sessions_init(uint64_t *slot)
{
    slot[0] = slot[1] = slot[2] = MR_SESSIONS_NONE;
}

/** mr_sessions_prefetch(s, slot): Fetch the list that the slot refers to, if
 * it does, before mr_sessions_add needs it. */
static inline void mr_sessions_prefetch(
    const struct mr_sessions *s, const uint64_t *slot)
{
    if (slot[0] >= MR_SESSIONS_REFERENCE && slot[0] != MR_SESSIONS_NONE)
        __builtin_prefetch(&s->pool->word[slot[0] & MR_SESSIONS_PLACE], 1);
}

/** mr_sessions_settle(s, slot): Join what can be joined, and give back a list
 * that the slot has room for: before mr_sessions_read. */
MR_MUST_CHECK enum mr_status mr_sessions_settle(
    struct mr_sessions *s, uint64_t *slot);

struct mr_interval;

/** mr_sessions_count(s, slot): Pieces the user has; an upper bound of what
 * mr_sessions_read gives. */
size_t mr_sessions_count(const struct mr_sessions *s, const uint64_t *slot);

/** mr_sessions_read(s, slot, out): Write a settled user's intervals, joined and
 * ascending, to out (room for mr_sessions_count); return their number. */
size_t mr_sessions_read(
    const struct mr_sessions *s, const uint64_t *slot, struct mr_interval *out);

/** mr_sessions_move(s, slot, from, from_slot): Add the pieces of a slot of
 * another pool. */
MR_MUST_CHECK enum mr_status mr_sessions_move(struct mr_sessions *s,
    uint64_t *slot, const struct mr_sessions *from, const uint64_t *from_slot);

#endif
