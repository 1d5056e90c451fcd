#ifndef MR_CLAIMS_H
#define MR_CLAIMS_H

#include <stdbool.h>

#include "mr/bytes.h"
#include "mr/claimant.h"
#include "mr/hash.h"

/*
 * Claims: who is going to map what, as small text files in a folder of the
 * share that all machines write their states to.  docs/claims.md describes
 * the file.  A claim is written once under a name of its own and never
 * changed; the run that wrote it removes it when what it claimed has been
 * published.
 *
 * Claims save work and nothing else: two runs that claim the same, or one
 * that claims and dies, cost time.  So nothing here locks, no clock is
 * compared, and what cannot be read of a claim is as if it were not there.
 * What stands in one is somebody's word: names and texts may be anything but
 * are bounded in length and hold no NUL.
 */

/** The folder of claims within the share. */
#define MR_CLAIMS_FOLDER ".mr-claims"
/** What a claim's file name ends in. */
#define MR_CLAIM_SUFFIX ".claim"
/** Bounds of one file, and of a name in it. */
#define MR_CLAIM_MAX_BYTES 32768
#define MR_CLAIM_MAX_NAME 4096
/** At most so many files of claims are looked at in one folder. */
#define MR_CLAIMS_MAX 65536

/** One claim: all partitions of a listing from one name to another. */
struct mr_claim {
    struct mr_claimant by;
    int64_t time_s;           /* by the claimant's clock, from 1970 on; only to
                               * be shown */
    struct mr_digest spec;    /* of the spec's canonical text */
    struct mr_digest listing; /* of all names and sizes (mr/claimrun.h) */
    char *first, *last;       /* names in byte order, both included */
    uint64_t partitions;      /* of the listing in that range */
    uint64_t bytes;           /* and their stored bytes */
};

/** Free both names. */
void mr_claim_release(struct mr_claim *claim);

/** mr_claim_time(time_s, out): Write YYYY-MM-DDTHH:MM:SSZ and a NUL; a time
 * that has no such form becomes the nearest that has. */
#define MR_CLAIM_TIME_TEXT 21
void mr_claim_time(int64_t time_s, char out[MR_CLAIM_TIME_TEXT]);

/** mr_claim_format(claim, out): Append the text of a claim.  Names that are
 * too long are cut; a range of cut names is still a range. */
MR_MUST_CHECK enum mr_status mr_claim_format(
    const struct mr_claim *claim, struct mr_buffer *out);

/** mr_claim_parse(text, claim, err): Read what mr_claim_format writes, and
 * nothing else: MR_FORMAT with the byte where it differs.  Release the claim
 * after MR_OK. */
MR_MUST_CHECK enum mr_status mr_claim_parse(
    struct mr_span text, struct mr_claim *claim_out, struct mr_error *err);

/** All claims of some folders, as they were last read.  One thread at a
 * time. */
struct mr_claims;

/**
 * mr_claims_new(note, context, claims): None yet.  note (or NULL) is given a
 * sentence about each file that is no claim, the first time it is met.
 */
MR_MUST_CHECK enum mr_status mr_claims_new(
    void (*note)(void *context, const char *sentence), void *context,
    struct mr_claims **claims_out);
void mr_claims_free(struct mr_claims *claims);

/**
 * mr_claims_read(claims, share, err): Read SHARE/.mr-claims, or only what is
 * new there when it has been read before; claims that are gone are forgotten.
 * No such folder: no claims.  Costs a listing of the folder, and the reading
 * of new files.  MR_IO when the folder cannot be listed; claims then has what
 * it had.
 */
MR_MUST_CHECK enum mr_status mr_claims_read(
    struct mr_claims *claims, const char *share, struct mr_error *err);

/** How many there are, and the i-th in an order that follows from their
 * contents and paths; until the next mr_claims_read. */
size_t mr_claims_count(const struct mr_claims *claims);
const struct mr_claim *mr_claims_get(const struct mr_claims *claims, size_t i);

/**
 * mr_claims_by(claims, spec, name, at): By whom a partition is claimed: the
 * next claim of that spec with the name in its range, or NULL.  *at is 0 at
 * first and belongs to the walk.  The claimant's listing may have been another
 * one that had no such name: a range says what lies in it, not what was
 * there.
 */
const struct mr_claim *mr_claims_by(const struct mr_claims *claims,
    const struct mr_digest *spec, const char *name, size_t *at);

#endif
