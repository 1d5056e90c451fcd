#ifndef MR_MERGE_H
#define MR_MERGE_H

#include "mr/kpi.h"
#include "mr/state.h"

/*
 * Many states as one.  Heads are joined in memory; users are merged block by
 * block in the order of their hash, so that memory depends on the number of
 * states and the size of a block, never on the number of users.
 */

struct mr_merge;

/**
 * mr_merge_new(state, n, merge, err): Join the heads of n >= 1 open states,
 * which must outlive the merge.  MR_MISMATCH, saying setting by setting what
 * differs, when their specs do not all agree.
 */
MR_MUST_CHECK enum mr_status mr_merge_new(struct mr_state *const *state,
    size_t n, struct mr_merge **merge_out, struct mr_error *err);
void mr_merge_free(struct mr_merge *m);

/** The joined head; the merge's. */
const struct mr_state_head *mr_merge_head(const struct mr_merge *m);

/** The tables that the joined head's cell numbers refer to. */
const struct mr_cells *mr_merge_cells(const struct mr_merge *m);

/**
 * mr_merge_run(m, threads, tally, writer, stop, users, err): Merge the users
 * and count each once in one of the tallies (one for each thread, over
 * mr_merge_cells).  With a writer, the merged blocks are also written to it,
 * cut as docs/state-format.md says.  *stop, where given, ends the run with
 * MR_STOPPED.  users_out: distinct users.
 */
MR_MUST_CHECK enum mr_status mr_merge_run(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const volatile int *stop, uint64_t *users_out, struct mr_error *err);

#endif
