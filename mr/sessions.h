#ifndef MR_SESSIONS_H
#define MR_SESSIONS_H

#include "mr/status.h"

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
 * joins them.  Most users have one piece, which stands in the user's own
 * slot; from two on the slot refers to a list in the pool:
 *
 *     slot:  | start 43 | length 21 |        one piece
 *            | 111 | place in pool 61 |      more (no start is that late)
 *            | all ones |                    none yet
 *     pool:  | class 8 | n 32 | piece | piece | ... |
 *
 * Lists grow by size classes; a list left behind goes to its class's free
 * list.  One thread at a time.
 */

#define MR_SESSIONS_LENGTH_BITS 21
#define MR_SESSIONS_LENGTH_MAX ((UINT64_C(1) << MR_SESSIONS_LENGTH_BITS) - 1)
#define MR_SESSIONS_NONE UINT64_MAX
#define MR_SESSIONS_REFERENCE (UINT64_C(7) << 61)
#define MR_SESSIONS_CLASSES 64

struct mr_sessions {
    uint64_t gap_ms;
    uint64_t *pool;
    size_t n, cap;                      /* words */
    uint64_t free[MR_SESSIONS_CLASSES]; /* first free list + 1, 0 if none */
};

void mr_sessions_init(struct mr_sessions *s, uint64_t gap_ms);
void mr_sessions_release(struct mr_sessions *s);

/** Slow half of mr_sessions_add. */
MR_MUST_CHECK enum mr_status mr_sessions_insert(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms);

/** mr_sessions_add(s, slot, time_ms): Note an event of the user whose slot
 * this is.  MR_NOMEM leaves the slot as it was. */
MR_MUST_CHECK static inline enum mr_status mr_sessions_add(
    struct mr_sessions *s, uint64_t *slot, uint64_t time_ms)
{
    uint64_t start = *slot >> MR_SESSIONS_LENGTH_BITS;
    uint64_t length = *slot & MR_SESSIONS_LENGTH_MAX;

    /* Within the one piece, or a little later: most events of most users. */
    if (time_ms - start <= length)
        return MR_OK;
    if (time_ms - start <= MR_SESSIONS_LENGTH_MAX &&
        time_ms - start - length <= s->gap_ms) {
        *slot += time_ms - start - length;
        return MR_OK;
    }
    return mr_sessions_insert(s, slot, time_ms, time_ms);
}

/** mr_sessions_prefetch(s, slot): Fetch the list that the slot refers to, if
 * it does, before mr_sessions_add needs it. */
static inline void mr_sessions_prefetch(
    const struct mr_sessions *s, uint64_t slot)
{
    if (slot >= MR_SESSIONS_REFERENCE && slot != MR_SESSIONS_NONE)
        __builtin_prefetch(&s->pool[slot & ~MR_SESSIONS_REFERENCE], 1);
}

struct mr_interval;

/** mr_sessions_count(s, slot): Pieces the user has; an upper bound of what
 * mr_sessions_read gives. */
size_t mr_sessions_count(const struct mr_sessions *s, uint64_t slot);

/** mr_sessions_read(s, slot, out): Write the user's intervals, joined and
 * ascending, to out (room for mr_sessions_count); return their number. */
size_t mr_sessions_read(
    const struct mr_sessions *s, uint64_t slot, struct mr_interval *out);

/** mr_sessions_move(s, slot, from, from_slot): Add the pieces of a slot of
 * another pool. */
MR_MUST_CHECK enum mr_status mr_sessions_move(struct mr_sessions *s,
    uint64_t *slot, const struct mr_sessions *from, uint64_t from_slot);

#endif
