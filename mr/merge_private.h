#ifndef MR_MERGE_PRIVATE_H
#define MR_MERGE_PRIVATE_H

#include "mr/merge.h"

/*
 * What the units of merging share: merge.c (a merge, and its two ways),
 * merge_head.c (the heads), merge_write.c (users for a merged file),
 * merge_count.c (users where only KPIs are wanted) and merge_kept.c (what
 * is kept besides users).
 */

struct mr_merge {
    struct mr_state *const *state;
    size_t n;
    struct mr_state_head head;
    struct mr_cells cells;
    struct mr_zone *zone;
    /* [state][its cell or figure]: number in the joined head */
    uint32_t **cell_of;
    const bool *segments; /* as in mr_merge_past */
    bool *drops;          /* [state]: several of its groups have become one */
};

/** mr_merge_join_heads(m): Make m's head and numbers, of states whose specs
 * agree.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_merge_join_heads(struct mr_merge *m);

/** mr_merge_write(m, threads, tally, writer, stop, users, err): As
 * mr_merge_run, with a writer. */
MR_MUST_CHECK enum mr_status mr_merge_write(struct mr_merge *m,
    unsigned threads, struct mr_kpi_tally *const *tally,
    struct mr_state_writer *writer, const atomic_int *stop, uint64_t *users,
    struct mr_error *err);

/** A state's block at hand; all zero owns nothing. */
struct mr_merge_block {
    struct mr_user_block block; /* sets by their joined numbers */
    struct mr_block_memory memory;
    struct mr_buffer joined; /* sets of groups that are not kept */
};
void mr_merge_block_release(struct mr_merge_block *b);

/** mr_merge_block_load(m, state, i, u, b, err): Unpack block i of a state. */
MR_MUST_CHECK enum mr_status mr_merge_block_load(const struct mr_merge *m,
    size_t state, size_t i, struct mr_unpacker *u, struct mr_merge_block *b,
    struct mr_error *err);

/** What counts users where only KPIs are wanted; one thread at a time. */
struct mr_merge_counter;

/** mr_merge_counter_new(m, tally, stop, counter, err): *stop as for
 * mr_merge_run; all given must outlive the counter. */
MR_MUST_CHECK enum mr_status mr_merge_counter_new(const struct mr_merge *m,
    struct mr_kpi_tally *tally, const atomic_int *stop,
    struct mr_merge_counter **counter_out, struct mr_error *err);
void mr_merge_counter_free(struct mr_merge_counter *c);

/** mr_merge_count(c, first, last, err): Merge the users whose hash is from
 * first to last, and count each once. */
MR_MUST_CHECK enum mr_status mr_merge_count(struct mr_merge_counter *c,
    uint64_t first, uint64_t last, struct mr_error *err);

/** Users of all ranges counted so far. */
uint64_t mr_merge_counter_users(const struct mr_merge_counter *c);

#endif
