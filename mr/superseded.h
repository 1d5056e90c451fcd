#ifndef MR_SUPERSEDED_H
#define MR_SUPERSEDED_H

#include "mr/coverage.h"

/*
 * Which of several states add nothing, since another one has all that is in
 * them: an earlier checkpoint of a run, a state that was merged into another,
 * a copy.
 *
 * One rule tells: a is superseded by b where both are of one spec and joining
 * a's coverage to b's and settling it (mr_coverage_settle) gives b's.  So each
 * partition of a is in b, under all of a's names at least; and each failure
 * of a is in b, or has yielded there to the partition having been read or to
 * a failure that says more.  What is kept of users follows from which
 * partitions were read, and so is in b, too.
 *
 * The rule is an order: what supersedes b supersedes a.  So all that are not
 * superseded can be merged without the others, and give the same bytes.
 */

struct mr_superseded_state {
    struct mr_digest spec;              /* states of two specs never meet */
    const struct mr_coverage *coverage; /* settled; the caller's */
};

/** Of a state that is not superseded. */
#define MR_NOT_SUPERSEDED SIZE_MAX

/**
 * mr_superseded_find(state, n, by): by_out[i] is the number of the state that
 * supersedes i, itself not superseded, or MR_NOT_SUPERSEDED.  Of states with
 * equal coverage the first stays.  Time and memory are about linear in the
 * partitions of all states, 4 bytes each and some for states with failures; a
 * state whose every partition many others have costs a comparison with each of
 * these, which mostly ends early.  MR_NOMEM.
 */
MR_MUST_CHECK enum mr_status mr_superseded_find(
    const struct mr_superseded_state *state, size_t n, size_t *by_out);

#endif
