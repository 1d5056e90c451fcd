#ifndef MR_AGGREGATE_PRIVATE_H
#define MR_AGGREGATE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "mr/aggregate.h"
#include "mr/cellsets.h"
#include "mr/users.h"

/*
 * What the halves of the table of users share: aggregate.c (adding and
 * merging) and aggregate_seal.c (reading).  aggregate.c's opening comment
 * tells how it works.
 */

/* Tuples dealt out at a time. */
#define MR_AGGREGATE_PORTION ((size_t)65536)
/* The most tuples that wait in a shard. */
#define MR_SHARD_WAITING_MAX 16384

/** A 256th of all users. */
struct mr_shard {
    pthread_mutex_t lock;
    const struct mr_zone *zone;
    struct mr_tuple *waiting;
    uint32_t n_waiting, cap_waiting;
    bool is_lent; /* it lies in what the aggregate has for all shards */
    /* Where the next will wait; read without the lock, as a hint. */
    struct mr_tuple *_Atomic next;
    struct mr_users users;
    struct mr_pool pool; /* of the sessions and the sets */
    struct mr_sessions sessions;
    struct mr_cellsets sets;
    /* Sealed: ranks by number, weights by rank, and the cells' numbers by
     * set. */
    uint32_t *rank;
    uint32_t *weight;
    uint32_t *cell;
    uint64_t first_rank; /* of the whole table */
    size_t most_intervals;
};

struct mr_aggregate {
    struct mr_shard shard[MR_AGGREGATE_SHARDS];
    /* Where tuples wait while they are few; shards that still use it. */
    struct mr_tuple *waiting;
    atomic_uint n_lent;
    atomic_uint tidied; /* shards that have been looked at for that */
    uint64_t n_users;
    uint64_t *block; /* first rank of each block, and the end */
    size_t n_blocks;
};

struct mr_ranked {
    uint64_t hash;
    uint32_t number;
};

struct mr_aggregate_scratch {
    struct mr_tuple dealt[MR_AGGREGATE_PORTION];
    struct mr_tuple sorting[MR_SHARD_WAITING_MAX];
    uint16_t member[MR_BITMAP_NUMBERS]; /* of a set that is moved */
    struct mr_ranked *ranked;           /* users of a shard that is sealed */
    uint32_t cap_ranked;
};

#endif
