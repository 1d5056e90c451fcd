#ifndef MR_GATHER_H
#define MR_GATHER_H

#include "mr/merge.h"

/*
 * The states of a reduction, however many there are.  Superseded ones
 * (mr/superseded.h) are left out.  Where more remain than are merged at once,
 * they are merged in groups, and the groups' states in groups again; such a
 * state is a temporary file without a name.  By the laws of merging the result
 * is the same, byte for byte.
 *
 *    states   ▢▢▢▢ ▢▢▢▢ ▢▢▢▢ ▢▢▢▢ ▢▢▢▢ ▢▢
 *    groups     ▣    ▣    ▣    ▣    ▣
 *    again             ▩
 *    remain            ▩            ▣   ▢▢
 *
 * At most MR_GATHER_MAX states of each size are open at a time, and fewer
 * where the limit of open files asks for it.  In memory are the coverage of
 * all states while superseded ones are looked for, and the heads of as many as
 * there are threads; then the heads of those that are open, and blocks of
 * their users (mr_merge_run).
 */

/** How many states are merged at once. */
#define MR_GATHER_MAX 64

struct mr_gather_options {
    const char *temporary;  /* folder for temporary files */
    unsigned threads;       /* at least 1 */
    const atomic_int *stop; /* or NULL */
};

struct mr_gathered {
    struct mr_state **state; /* to be merged; they share a spec */
    size_t n;
    size_t n_superseded;
    struct mr_merge_past past; /* for the merge of them */
    struct mr_state *first;    /* whose spec that is; may be among them */
    bool *segments;            /* past's */
};

/**
 * mr_gather_open(path, n, options, g, err): Open n >= 1 files.  Errors are
 * those of mr_state_open (that of the first of several bad files),
 * mr_merge_check_spec, mr_merge_choose_segments and the writing of temporary
 * files; MR_IO also for a file that was replaced meanwhile; MR_STOPPED. Release
 * g in any case.
 */
MR_MUST_CHECK enum mr_status mr_gather_open(char *const *path, size_t n,
    const struct mr_gather_options *options, struct mr_gathered *g_out,
    struct mr_error *err);
void mr_gather_release(struct mr_gathered *g);

#endif
