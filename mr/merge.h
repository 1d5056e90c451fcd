#ifndef MR_MERGE_H
#define MR_MERGE_H

#include "mr/kpi.h"
#include "mr/state.h"

/*
 * Many states as one.  Heads are joined in memory; users are merged block by
 * block in the order of their hash, so that memory depends on the numbers of
 * states and threads and the size of a block, never on the number of users.
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

/** mr_merge_check_spec(first, other, err): MR_MISMATCH, saying setting by
 * setting what differs, when two states are not of one spec. */
MR_MUST_CHECK enum mr_status mr_merge_check_spec(const struct mr_state *first,
    const struct mr_state *other, struct mr_error *err);

/** What is known of states of which some have been merged already. */
struct mr_merge_past {
    uint64_t n_repeated; /* partitions that were met again in doing so */
    /* [state]: whether its segments are to be added up; NULL: to be found
     * out (mr_merge_choose_segments). */
    const bool *segments;
};

/** mr_merge_set_past(m, past): Before anything is read.  What past points to
 * must outlive the merge. */
void mr_merge_set_past(struct mr_merge *m, const struct mr_merge_past *past);

/** A state that others are merged with. */
struct mr_merge_source {
    const char *path;
    const struct mr_coverage *coverage;
};

/** mr_merge_choose_segments(source, n, wanted, err): Of which of n states the
 * segments are added up.  MR_MISMATCH, naming partitions, when two overlap
 * in part. */
MR_MUST_CHECK enum mr_status mr_merge_choose_segments(
    const struct mr_merge_source *source, size_t n, bool *wanted_out,
    struct mr_error *err);

/** The joined head; the merge's. */
const struct mr_state_head *mr_merge_head(const struct mr_merge *m);

/** The tables that the joined head's cell numbers refer to. */
const struct mr_cells *mr_merge_cells(const struct mr_merge *m);

/**
 * mr_merge_run(m, threads, tally, writer, stop, users, err): Merge the users
 * and count each once in one of the tallies (one for each thread, over
 * mr_merge_cells).  With a writer, the merged blocks are also written to it,
 * cut as docs/state-format.md says; then tally may be NULL.  *stop, where
 * given, ends the run with MR_STOPPED.  users_out: distinct users.  Memory:
 * without a writer, a block of each state for each thread, and for that only
 * as many threads as a quarter of the memory that the process may use
 * (mr/machine.h) has room for; with one, a block of each state, and two or so a
 * thread.
 */
MR_MUST_CHECK enum mr_status mr_merge_run(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const atomic_int *stop, uint64_t *users_out, struct mr_error *err);

/** What is kept of ids in all states; its parts end with it.  All zero is
 * none. */
struct mr_merged_ids {
    struct mr_id_stream *stream, **part;
    size_t n;
};

/** Users' numbers of events in all states, added up. */
struct mr_merged_segments {
    struct mr_segment_stream *stream, **part;
    size_t n;
};

/** What a state of the merge keeps of ids and segments; all zero is none. */
struct mr_merged_kept {
    struct mr_merged_ids ids;
    struct mr_merged_segments segments;
};

/** mr_merged_kept_open(m, kept, writer, err): Both, as far as the spec has
 * them, and give them to a writer (mr_state_writer_keep).  MR_MISMATCH, naming
 * partitions, when the segments of two states overlap in part.  Free them in
 * any case, once the writer is finished. */
MR_MUST_CHECK enum mr_status mr_merged_kept_open(const struct mr_merge *m,
    struct mr_merged_kept *kept, struct mr_state_writer *writer,
    struct mr_error *err);
void mr_merged_kept_free(struct mr_merged_kept *kept);

/** mr_merge_count_ids(m, index, err): What each day has of ids, where the spec
 * counts duplicates.  Release the index in any case. */
MR_MUST_CHECK enum mr_status mr_merge_count_ids(const struct mr_merge *m,
    struct mr_idset_index *index_out, struct mr_error *err);

/** mr_merge_count_segments(m, counts, err): Users of each segment, where the
 * spec has any; a group is the number of an attribute's figure, plus 1, or 0
 * for none.  MR_MISMATCH as of mr_merged_kept_open. */
MR_MUST_CHECK enum mr_status mr_merge_count_segments(const struct mr_merge *m,
    struct mr_segment_counts *counts_out, struct mr_error *err);

#endif
