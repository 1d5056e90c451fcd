#ifndef MR_USERS_H
#define MR_USERS_H

#include "mr/status.h"

/*
 * User hashes and their dense numbers, in order of first sight: an
 * open-addressed table of 32-bit entries beside the array of hashes.
 *
 *     entry: | tag 8 | number + 1, 24 |      0: free
 *
 * The tag (8 bits of the hash that choose neither shard nor place) saves all
 * but one in 256 of the look-ups in the array that would find another user.
 * At most 3/4 full, so a user costs 8 bytes for the hash and 5.3 to 10.7 for
 * the table.  One thread at a time.
 */

#define MR_USERS_MAX ((UINT32_C(1) << 24) - 1)

struct mr_users {
    uint32_t *entry;
    uint64_t mask; /* entries - 1 */
    uint64_t *hash;
    uint32_t n, cap;
};

/* All zero is the empty table. */
void mr_users_release(struct mr_users *u);

/** mr_users_reserve(u, more): Make room for so many more users, so that
 * mr_users_add cannot fail for that many.  MR_LIMIT past MR_USERS_MAX. */
MR_MUST_CHECK enum mr_status mr_users_reserve(
    struct mr_users *u, uint32_t more);

static inline uint32_t mr_users_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 48 & 0xff) << 24;
}

/** mr_users_prefetch(u, hash): Fetch the entry that mr_users_peek will want. */
static inline void mr_users_prefetch(const struct mr_users *u, uint64_t hash)
{
    __builtin_prefetch(&u->entry[hash & u->mask]);
}

/** mr_users_peek(u, hash): A guess at the number, from the first entry only;
 * any number below n, or 0.  Good for fetching ahead. */
static inline uint32_t mr_users_peek(const struct mr_users *u, uint64_t hash)
{
    uint32_t e = u->entry[hash & u->mask];

    return e == 0 ? 0 : (e & MR_USERS_MAX) - 1;
}

/** mr_users_add(u, hash): The number of a user, known or new.  There must be
 * room (mr_users_reserve). */
static inline uint32_t mr_users_add(struct mr_users *u, uint64_t hash)
{
    uint32_t tag = mr_users_tag(hash);

    for (uint64_t i = hash;; i++) {
        uint32_t e = u->entry[i & u->mask];

        if (e == 0) {
            u->hash[u->n] = hash;
            u->entry[i & u->mask] = tag | ++u->n;
            return u->n - 1;
        }
        if ((e & ~MR_USERS_MAX) == tag &&
            u->hash[(e & MR_USERS_MAX) - 1] == hash)
            return (e & MR_USERS_MAX) - 1;
    }
}

#endif
