#ifndef MR_AGGREGATE_H
#define MR_AGGREGATE_H

#include "mr/batch.h"
#include "mr/types.h"
#include "mr/userblock.h"

/*
 * Everything that is kept of users while mapping: exact sets per day and
 * type, and sessions.  One table serves all threads, so memory does not grow
 * with their number; aggregate.c explains how they keep out of each other's
 * way.
 */

struct mr_aggregate;

/** Days are the zone's, which is the caller's. */
MR_MUST_CHECK enum mr_status mr_aggregate_new(uint64_t session_gap_ms,
    const struct mr_zone *zone, struct mr_aggregate **aggregate_out);
void mr_aggregate_free(struct mr_aggregate *a);

/** mr_aggregate_fail(status, err): Say what a failure of any of these
 * functions means; return status. */
enum mr_status mr_aggregate_fail(enum mr_status status, struct mr_error *err);

/** Working memory of one thread: 1.4 MiB, touched as it is needed; for
 * mr_aggregate_seal, 16 bytes a user of the largest shard besides. */
struct mr_aggregate_scratch;
MR_MUST_CHECK enum mr_status mr_aggregate_scratch_new(
    struct mr_aggregate_scratch **scratch_out);
void mr_aggregate_scratch_free(struct mr_aggregate_scratch *s);

/**
 * mr_aggregate_add(a, tuples, n, scratch): Add events.  Any number of
 * threads at a time.  Adding the same ones again changes nothing.  After a
 * failure (MR_NOMEM, MR_LIMIT) the aggregate can only be freed.
 */
MR_MUST_CHECK enum mr_status mr_aggregate_add(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n,
    struct mr_aggregate_scratch *scratch);

/** mr_aggregate_merge(into, from, scratch): Add all of from, which must not
 * be in use by others and means the same afterwards.  Type numbers must mean
 * the same.  Otherwise as mr_aggregate_add.
 */
MR_MUST_CHECK enum mr_status mr_aggregate_merge(struct mr_aggregate *into,
    struct mr_aggregate *from, struct mr_aggregate_scratch *scratch);

/** mr_aggregate_tidy(a, scratch, did): Add what waits in some shard, if that
 * is worth while anywhere, which *did_out tells: for threads that have nothing
 * else to do.  It takes a tenth of a millisecond.  Otherwise as
 * mr_aggregate_add. */
MR_MUST_CHECK enum mr_status mr_aggregate_tidy(struct mr_aggregate *a,
    struct mr_aggregate_scratch *scratch, bool *did_out);

/** mr_aggregate_settle(a, shard, scratch): Add what waits in a shard, which
 * takes no memory then until more comes.  Shards are independent.  After
 * MR_LIMIT it waits on, so that settling again, and sealing, fail likewise: a
 * run may go on where that was for a checkpoint.  Otherwise as
 * mr_aggregate_add. */
MR_MUST_CHECK enum mr_status mr_aggregate_settle(struct mr_aggregate *a,
    unsigned shard, struct mr_aggregate_scratch *scratch);

/*
 * Reading.  First the number of each cell is given, then the aggregate is
 * sealed shard by shard (shards are independent: one thread each), then the
 * division into blocks is planned, then any thread can have any block.  To be
 * added to again it must be unsealed.
 */
#define MR_AGGREGATE_SHARDS 256

/** The number of a cell of that day and type; called for cells with users, and
 * for those of groups whose users have become others'. */
typedef uint32_t mr_cell_number(void *context, int32_t day, uint32_t type);

/** types: the table that types are numbered by, to which no thread adds any
 * more: users of groups that it has not kept become those of one.  What waits
 * in the shard is settled first, but it takes less memory when all shards are
 * settled before the first is sealed.  Fails as mr_aggregate_add does. */
MR_MUST_CHECK enum mr_status mr_aggregate_seal(struct mr_aggregate *a,
    unsigned shard, struct mr_aggregate_scratch *scratch,
    const struct mr_types *types, mr_cell_number *number, void *context);
MR_MUST_CHECK enum mr_status mr_aggregate_plan(
    struct mr_aggregate *a, size_t *n_blocks_out);
uint64_t mr_aggregate_users(const struct mr_aggregate *a);

/** mr_aggregate_unseal(a): End the reading, of which any part may have been
 * done: more can be added, and all be sealed again.  O(shards); the first
 * addition to a shard looks at all of its users. */
void mr_aggregate_unseal(struct mr_aggregate *a);

/** mr_aggregate_block(a, i, builder, block): Make block i in builder. */
MR_MUST_CHECK enum mr_status mr_aggregate_block(const struct mr_aggregate *a,
    size_t i, struct mr_block_builder *builder,
    struct mr_user_block *block_out);

#endif
