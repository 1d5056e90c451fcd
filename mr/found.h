#ifndef MR_FOUND_H
#define MR_FOUND_H

#include "mr/aggregate.h"
#include "mr/kept.h"
#include "mr/rejects.h"

/*
 * What has been found and may still be thrown away: of a partition that has
 * not been read to its end, of an archive that has not been closed.  A
 * partition's events wait as tuples; from MR_FOUND_TUPLES on they go to an
 * aggregate of its own, so that memory depends on its users, not on its
 * length.
 */

#define MR_FOUND_TUPLES ((size_t)1 << 20)

struct mr_found {
    struct mr_batch sum;
    struct mr_aggregate *staged;
    struct mr_spool rejects;
    struct mr_kept kept;
};

/* All zero is empty. */
void mr_found_release(struct mr_found *f);

/**
 * mr_found_add(f, batch, most, plan, over, err): Add counts and tuples of a
 * batch, which stays as it is.  From most tuples on they go, all that wait,
 * into over, which was empty: the caller hands them to mr_found_stage.  So
 * threads that share f under a lock hold it only for a copy.
 */
MR_MUST_CHECK enum mr_status mr_found_add(struct mr_found *f,
    const struct mr_batch *batch, size_t most, const struct mr_plan *plan,
    struct mr_batch *over, struct mr_error *err);

/** mr_found_stage(f, over, scratch, err): Add the tuples of over, which then
 * has none, to f's aggregate.  Any number of threads at a time, beside one
 * that adds. */
MR_MUST_CHECK enum mr_status mr_found_stage(struct mr_found *f,
    struct mr_batch *over, struct mr_aggregate_scratch *scratch,
    struct mr_error *err);

/** mr_found_take(into, from, ...): Move events, what is kept of them,
 * and rejects of from to into;
 * from's counts stay. */
MR_MUST_CHECK enum mr_status mr_found_take(struct mr_found *into,
    struct mr_found *from, const struct mr_plan *plan,
    struct mr_aggregate_scratch *scratch, struct mr_error *err);

#endif
