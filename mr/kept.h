#ifndef MR_KEPT_H
#define MR_KEPT_H

#include "mr/batch.h"
#include "mr/idset.h"
#include "mr/plan.h"
#include "mr/segments.h"
#include "mr/spool.h"

/*
 * What is kept of events beside figures, where the spec wants it: their ids,
 * for duplicates, and how many of which types each user has, for segments.
 * As all else it waits, in spools, until its partition has been read to its
 * end.
 */

/** An id on its way; in a batch's ids. */
struct mr_kept_id {
    uint64_t hash;
    int64_t day;
};

/** What waits; all zero is empty. */
struct mr_kept {
    struct mr_spool ids, events;
};
void mr_kept_release(struct mr_kept *kept);

/** mr_kept_note(plan, event, day, batch): Note what is to be kept of an event
 * in a batch's buffers. */
MR_MUST_CHECK enum mr_status mr_kept_note(const struct mr_plan *plan,
    const struct mr_event *event, int32_t day, struct mr_batch *batch);

/** mr_kept_add(kept, batch, plan, err): Add what a batch's buffers have; the
 * batch stays as it is. */
MR_MUST_CHECK enum mr_status mr_kept_add(struct mr_kept *kept,
    const struct mr_batch *batch, const struct mr_plan *plan,
    struct mr_error *err);

/** mr_kept_take(into, from, plan, err): Move all of from to the end of into. */
MR_MUST_CHECK enum mr_status mr_kept_take(struct mr_kept *into,
    struct mr_kept *from, const struct mr_plan *plan, struct mr_error *err);

/** What the threads of a map share; all zero keeps nothing. */
struct mr_keeper {
    struct mr_idset *ids;         /* NULL: none are wanted */
    struct mr_segments *segments; /* the same */
};

/** mr_keeper_open(k, plan, err): Begin; ids that do not fit into memory wait
 * in a file in the plan's folder for that.  Release it in any case. */
MR_MUST_CHECK enum mr_status mr_keeper_open(
    struct mr_keeper *k, const struct mr_plan *plan, struct mr_error *err);
void mr_keeper_release(struct mr_keeper *k);

/** How much of the events in a mr_kept is of one partition. */
struct mr_kept_share {
    struct mr_digest digest;
    uint64_t bytes;
};

/** mr_keeper_add(k, kept, share, err): Add what partitions have left in kept,
 * one after the other and share by share, and empty it.  Events of a partition
 * that was added before are left out.  Any number of threads. */
MR_MUST_CHECK enum mr_status mr_keeper_add(struct mr_keeper *k,
    struct mr_kept *kept, const struct mr_kept_share *share,
    struct mr_error *err);

#endif
