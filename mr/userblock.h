#ifndef MR_USERBLOCK_H
#define MR_USERBLOCK_H

#include <stdbool.h>

#include "mr/bytes.h"

/*
 * A slice of users in ascending order of their hash, with everything that is
 * known of them: the unit in which users travel.  The map's table is turned
 * into such blocks, a state file stores them, merging reads and makes them,
 * KPIs are counted from them.  At most MR_BLOCK_USERS users, so a member is
 * a 16-bit position in the block.
 */

#define MR_BLOCK_USERS 65536
#define MR_BLOCK_WORDS (MR_BLOCK_USERS / 64)
/* A set of more members than this is a bitmap; of fewer, either form. */
#define MR_SET_LIST_MAX 4096

/** Users of one cell (a day and a type): positions in the block. */
struct mr_user_set {
    uint32_t cell; /* index into the state's ascending cells */
    uint32_t n;    /* members, at least 1 */
    /* Exactly one of the two: ascending positions (n <= MR_SET_LIST_MAX), or
     * MR_BLOCK_WORDS words, bit i of word j standing for position 64 j + i. */
    const uint16_t *list;
    const uint64_t *words;
};

/** A stretch of one user's events: first and last time, epoch ms.  Two of
 * one user are always more than the spec's gap apart. */
struct mr_interval {
    int64_t start_ms;
    int64_t end_ms;
};

struct mr_user_block {
    size_t n;             /* users */
    const uint64_t *hash; /* ascending, no two alike */
    size_t n_sets;
    const struct mr_user_set *sets; /* ascending by cell */
    /* The intervals of user i are interval[first[i]] up to, and without,
     * interval[first[i + 1]], ascending; each user has at least one. */
    const uint32_t *first; /* n + 1 */
    const struct mr_interval *interval;
};

/** Weight of an interval, of a set membership, and the most a block of two
 * or more users weighs (docs/state-format.md). */
#define MR_WEIGHT_INTERVAL 8
#define MR_WEIGHT_MEMBER 1
#define MR_BLOCK_WEIGHT (UINT64_C(1) << 24)

/**
 * A block in the making.  Users come in ascending order, each with its
 * intervals; members come in any order and as often as they like.  Its
 * memory is used again for the next block.  One thread at a time.
 */
struct mr_block_builder;

/** n_cells: one more than the highest cell number there will be. */
MR_MUST_CHECK enum mr_status mr_block_builder_new(
    size_t n_cells, struct mr_block_builder **builder_out);
void mr_block_builder_free(struct mr_block_builder *b);

/** Start over with an empty block. */
void mr_block_builder_reset(struct mr_block_builder *b);

/** Users and intervals so far. */
size_t mr_block_builder_users(const struct mr_block_builder *b);
size_t mr_block_builder_intervals(const struct mr_block_builder *b);

/** mr_block_builder_user(b, hash, intervals, n): Append a user (fewer than
 * MR_BLOCK_USERS so far) with n joined, ascending intervals. */
MR_MUST_CHECK enum mr_status mr_block_builder_user(struct mr_block_builder *b,
    uint64_t hash, const struct mr_interval *interval, size_t n);

/** mr_block_builder_run(b, block, low, high): Append the users low up to
 * (without) high of another block, at most as many as there is room for. */
MR_MUST_CHECK enum mr_status mr_block_builder_run(struct mr_block_builder *b,
    const struct mr_user_block *block, size_t low, size_t high);

/** The set of a cell, to add members to until the next call of
 * mr_block_builder_set. */
struct mr_set_builder;
MR_MUST_CHECK enum mr_status mr_block_builder_set(
    struct mr_block_builder *b, uint32_t cell, struct mr_set_builder **set_out);

/** mr_set_builder_add(set, position): Add a user that may come later. */
MR_MUST_CHECK enum mr_status mr_set_builder_add(
    struct mr_set_builder *set, uint32_t position);

/**
 * mr_block_builder_part(b, block, low, high, position): Add the set
 * memberships of the users low up to (without) high of another block, the
 * i-th of which is now at position[i - low] (strictly ascending).
 */
MR_MUST_CHECK enum mr_status mr_block_builder_part(struct mr_block_builder *b,
    const struct mr_user_block *block, uint32_t low, uint32_t high,
    const uint16_t *position);

/** mr_block_builder_finish(b, block): The block; it lives in b until the next
 * reset. */
MR_MUST_CHECK enum mr_status mr_block_builder_finish(
    struct mr_block_builder *b, struct mr_user_block *block_out);

#endif
