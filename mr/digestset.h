#ifndef MR_DIGESTSET_H
#define MR_DIGESTSET_H

#include <stdbool.h>

#include "mr/hash.h"
#include "mr/status.h"

/** A set of digests, to tell which bytes have been met before: up to 64 bytes
 * each.  All zero is empty. */
struct mr_digest_set {
    struct mr_digest *held; /* open-addressed; all zero is a free place */
    size_t n, mask;
    bool has_zero; /* the digest that looks like one */
};

void mr_digest_set_release(struct mr_digest_set *set);

/** mr_digest_set_add(set, digest, is_new): Hold a digest, and tell whether
 * that is new.  MR_NOMEM leaves the set as it was. */
MR_MUST_CHECK enum mr_status mr_digest_set_add(struct mr_digest_set *set,
    const struct mr_digest *digest, bool *is_new_out);

#endif
