#ifndef MR_CLAIMRUN_H
#define MR_CLAIMRUN_H

#include "mr/claims.h"
#include "mr/publish.h"
#include "mr/source.h"

/*
 * A run that shares a listing out by claims (mr/claims.h).  The listing is
 * cut into batches of nearly equal bytes, each a stretch of names in byte
 * order.  The run takes one batch after the other, publishes a claim of each
 * before it reads it, and stops when no partition is left that is not done.
 *
 * The rule by which it takes them: of the batches that have partitions which
 * are not done, the one that is claimed by the fewest other runs; of those,
 * the next one from a place that follows from the run's id.  So what nobody
 * has claimed comes first, then what others claimed and did not publish, and
 * machines that are idle together hardly ever begin at the same place.
 *
 * A batch is as claimed as its least claimed partition that is not done.  By
 * that rule claims count whatever listing they were made of, if they are of
 * the same spec: a listing that has grown since, or the listing of a part of
 * the folders, is shared out as well as can be.
 */

/** Inputs first to end - 1 of a listing. */
struct mr_claim_batch {
    size_t first, end;
    uint64_t bytes; /* stored */
};

/** mr_claim_batch_bytes(total): How many bytes a batch of a listing with so
 * many in all is to have: a 64th, which a day's files take about a minute
 * for, but 256 MiB to 16 GiB, or a 16th where that is less than 256 MiB. */
uint64_t mr_claim_batch_bytes(uint64_t total);

/** mr_listing_digest(listing, digest): XXH3-128 of all inputs' names, each
 * with a NUL and the size as 8 bytes, the low one first. */
MR_MUST_CHECK enum mr_status mr_listing_digest(
    const struct mr_listing *listing, struct mr_digest *digest_out);

/** A run.  The listing, the share's path and the claimant stay the
 * caller's and must outlive it. */
struct mr_claim_run {
    const struct mr_listing *listing;
    const char *share;
    const struct mr_claimant *claimant;
    struct mr_digest spec, listing_digest;
    struct mr_claim_batch *batch; /* ascending; they cover the listing */
    size_t n_batches;
    char *folder;          /* of claims */
    unsigned n_claimed;    /* claims published so far */
    struct mr_buffer path; /* room for that of a claim, to withdraw it */
};

/**
 * mr_claim_run_init(run, ..., err): Cut the listing, and make the folder of
 * claims.  The listing is in order of names, as mr_listing_build leaves it.
 * A share that cannot be written is refused here.  Release the run in any
 * case.
 */
MR_MUST_CHECK enum mr_status mr_claim_run_init(struct mr_claim_run *run,
    const struct mr_listing *listing, const char *share,
    const struct mr_claimant *claimant, const struct mr_digest *spec,
    struct mr_error *err);
void mr_claim_run_release(struct mr_claim_run *run);

/** What mr_claim_run_choose has found when nothing is left. */
#define MR_CLAIM_NONE SIZE_MAX

/**
 * mr_claim_run_choose(run, claims, done, batch, n_claims): Which batch to take
 * next, or MR_CLAIM_NONE; *n_claims_out: how many claims of others stand in
 * the way.  done[i]: whether input i needs no more work.  Takes time for each
 * input and each claim, and writes nothing.
 */
MR_MUST_CHECK enum mr_status mr_claim_run_choose(const struct mr_claim_run *run,
    const struct mr_claims *claims, const bool *done, size_t *batch_out,
    size_t *n_claims_out);

/**
 * mr_claim_run_publish(run, batch, time_s, err): Tell that this run takes a
 * batch: SHARE/.mr-claims/<run id>-<number>.claim, by mr/publish.h.  Its two
 * syncs are more than a claim needs, but a batch takes a minute.
 */
MR_MUST_CHECK enum mr_status mr_claim_run_publish(struct mr_claim_run *run,
    size_t batch, int64_t time_s, struct mr_error *err);

/** mr_claim_run_withdraw(run): Remove the claims that this run published: what
 * they say is published by now, or nobody is at work on it any more.  What
 * cannot be removed stays, and costs nothing but a look. */
void mr_claim_run_withdraw(struct mr_claim_run *run);

#endif
