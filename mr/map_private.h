#ifndef MR_MAP_PRIVATE_H
#define MR_MAP_PRIVATE_H

#include "mr/mr.h"
#include "mr/state.h"
#include "mr/work.h"

/*
 * What the halves of a map share: map.c (the run) and map_state.c (a state of
 * what its threads left).
 */

struct mr_sharing;

/** A run. */
struct mr_map_run {
    struct mr_work *w; /* large, for the spec in it */
    const struct mr_map_options *options;
    const char *output;
    bool in_folder;                 /* and so with checkpoints */
    char *temporary;                /* the plan's */
    struct mr_state_writer *writer; /* NULL: none is open */
    bool has_batch;                 /* the first one has been given out */
    struct mr_sharing *sharing;     /* NULL: batches are not shared out */
    double deadline;                /* of the next checkpoint */
    double earliest;                /* when it would not take too much time */
    bool is_last;     /* what the threads left is not needed any more */
    uint64_t covered; /* partitions and failures in the last checkpoint */
    struct mr_coverage veiled; /* failures that the state does not tell */
    char checkpoint[4096];     /* its path; empty: there is none */
};

/** mr_map_write_state(m, result, err): Write the state of all that has been
 * read, while no thread is at work; of the result, at the end, fill all that
 * can be told, else the path and size alone.  Afterwards more can be read,
 * unless it is the end: then what the threads left is used up. */
MR_MUST_CHECK enum mr_status mr_map_write_state(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err);

#endif
