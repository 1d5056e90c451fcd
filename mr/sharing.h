#ifndef MR_SHARING_H
#define MR_SHARING_H

#include "mr/claimrun.h"
#include "mr/mr.h"
#include "mr/resume.h"

/*
 * A map that shares its listing out with other machines while they all work,
 * by claims (mr/claimrun.h) and by what they have published: which batch is
 * next, and when nothing is left.
 *
 * An input is there when a state of the same spec in the shared folder has
 * read a partition of its name and of as many stored bytes.  Its bytes are not
 * compared, since that would be to read what another machine has read.  But of
 * several inputs of one name none is taken as being there by its name.
 *
 * While the run lasts only the heads of states are read, each once.  What the
 * run rests on at its end is then checked as a whole (mr/resume.h).  When the
 * share fails meanwhile the run goes on with what it knows, and notes it once:
 * without claims work may be done twice, and publishing will tell.
 */
struct mr_sharing;

/**
 * mr_sharing_new(folder, spec, listing, claimant, observer, sharing, err):
 * Begin, in a folder that exists; all that is given must outlive it.  MR_USAGE
 * for standard input, which others do not see, and for a spec with segments,
 * whose states must not overlap; MR_IO where claims cannot be written.
 */
MR_MUST_CHECK enum mr_status mr_sharing_new(const char *folder,
    const struct mr_spec *spec, const struct mr_listing *listing,
    const struct mr_claimant *claimant, const struct mr_observer *observer,
    struct mr_sharing **sharing_out, struct mr_error *err);

/** mr_sharing_free(s): Withdraw the run's claims, whose work is published by
 * now or given up, and free s (or NULL). */
void mr_sharing_free(struct mr_sharing *s);

/** What is next. */
enum mr_sharing_next {
    MR_SHARING_FREE, /* a batch that has inputs which nobody has claimed */
    MR_SHARING_OVER, /* others have claimed all that is left, and not
                      * published it */
    MR_SHARING_NONE  /* all is done, by this run or by others */
};

/**
 * mr_sharing_choose(s, own, done, next, err): Look at claims and states, and
 * choose the next batch.  done[i], for each input, is whether this run has
 * read it; it becomes true for what is there.  own is the path of this run's
 * own state, or empty.
 */
MR_MUST_CHECK enum mr_status mr_sharing_choose(struct mr_sharing *s,
    const char *own, bool *done, enum mr_sharing_next *next_out,
    struct mr_error *err);

/**
 * mr_sharing_take(s, own, done, wanted, input, n, err): Claim the batch that
 * was chosen, and list its inputs that are not done.  Where they are fewer than
 * wanted, further batches that nobody has claimed are taken with it, up to an
 * eighth of all, so that all threads have something to do.  The list is s's
 * own, until the next call.
 */
MR_MUST_CHECK enum mr_status mr_sharing_take(struct mr_sharing *s,
    const char *own, bool *done, size_t wanted, const size_t **input_out,
    size_t *n_out, struct mr_error *err);

/**
 * mr_sharing_confirm(s, done, resume, all, err): Nothing is left to choose:
 * read in full the states that have some of the listing, and give them to the
 * caller (NULL where there are none but this run's).  *all_out is false where
 * something is not there after all; done says what, and there is more to
 * choose.
 */
MR_MUST_CHECK enum mr_status mr_sharing_confirm(struct mr_sharing *s,
    bool *done, struct mr_resume **resume_out, bool *all_out,
    struct mr_error *err);

#endif
