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

/** What is kept of ids in all states; its parts end with it.  All zero is
 * none. */
struct mr_merged_ids {
    struct mr_id_stream *stream, **part;
    size_t n;
};

/** mr_merged_ids_open(m, ids, err): Only where the spec counts duplicates.
 * Free it in any case. */
MR_MUST_CHECK enum mr_status mr_merged_ids_open(
    const struct mr_merge *m, struct mr_merged_ids *ids, struct mr_error *err);
void mr_merged_ids_free(struct mr_merged_ids *ids);

/** Users' numbers of events in all states, added up. */
struct mr_merged_segments {
    struct mr_segment_stream *stream, **part;
    size_t n;
};

/** mr_merged_segments_open(m, s, err): Only where the spec has segments.
 * MR_MISMATCH, naming partitions, when two states overlap in part.  Free it
 * in any case. */
MR_MUST_CHECK enum mr_status mr_merged_segments_open(const struct mr_merge *m,
    struct mr_merged_segments *s, struct mr_error *err);
void mr_merged_segments_free(struct mr_merged_segments *s);

/** mr_merge_count_ids(m, index, err): What each day has of ids.  Release the
 * index in any case. */
MR_MUST_CHECK enum mr_status mr_merge_count_ids(const struct mr_merge *m,
    struct mr_idset_index *index_out, struct mr_error *err);

/** mr_merge_count_segments(m, counts, err): Users of each segment; a group is
 * the number of an attribute's figure, plus 1, or 0 for none. */
MR_MUST_CHECK enum mr_status mr_merge_count_segments(const struct mr_merge *m,
    struct mr_segment_counts *counts_out, struct mr_error *err);

#endif
