#ifndef MR_CLAIMED_H
#define MR_CLAIMED_H

#include "mr/claims.h"
#include "mr/coverage.h"

/*
 * By whom what is missing was claimed.  Of the failures of a coverage, those
 * of partitions that no run has read yet (MR_CAUSE_MISSING, MR_CAUSE_PENDING)
 * are told together with the claims, in the folders of the states, that have
 * their names: "in the manifest, in no state (claimed by anna on laptop-1,
 * process 4711, at 2026-11-20T07:45:12Z)".  The time is that of the
 * claimant's clock.  This holds for reports; no state depends on claims.
 */
struct mr_claimed {
    struct mr_failure *failure; /* as many as the coverage has, in its order;
                                 * names are the coverage's.  NULL: none of
                                 * them is claimed */
    size_t n;
    size_t n_claimed, first; /* how many are claimed, and which one first */
};

/** How many claimants of one partition are named. */
#define MR_CLAIMED_NAMED 2

/**
 * mr_claimed_find(coverage, spec, path, n, note, context, claimed, err): Read
 * the claims of that spec beside the n states at these paths, but only if
 * something is missing, and look the missing names up.  The coverage is
 * settled and outlives the result.  note (or NULL) is given a sentence about
 * each claim, or folder of claims, that cannot be used.  Release the result in
 * any case.  MR_NOMEM.
 */
MR_MUST_CHECK enum mr_status mr_claimed_find(const struct mr_coverage *coverage,
    const struct mr_digest *spec, char *const *path, size_t n,
    void (*note)(void *context, const char *sentence), void *context,
    struct mr_claimed *claimed_out, struct mr_error *err);
void mr_claimed_release(struct mr_claimed *claimed);

#endif
