#ifndef MR_USERS_H
#define MR_USERS_H

#include "mr/sessions.h"

/*
 * Users and their dense numbers, in order of first sight: an array of users
 * beside a table of groups, each one cache line:
 *
 *     group: | 12 tags of 8 bits | fill 32 | 12 numbers of 32 bits |
 *
 * A user belongs into the group that some bits of the hash name, or, where
 * that is full, the next one that is not; after a few, which hardly ever are
 * full unless ids were made to collide, the search goes on elsewhere.  The tag
 * (8 other bits, never 0) finds the place in the group without a branch that
 * depends on which it is.  Groups are three quarters full at most, so a user
 * costs 32 bytes in the array and 7 to 9 in the table.  One thread at a time.
 */

#define MR_USERS_MAX ((UINT32_C(1) << 24) - 1)
#define MR_USERS_GROUP 12
#define MR_USERS_NONE UINT32_MAX

struct mr_user {
    uint64_t hash;
    uint64_t slot[MR_SESSIONS_SLOT]; /* mr/sessions.h */
};

struct mr_users_group {
    uint64_t tags[2]; /* byte i % 8 of tags[i / 8]; 0: free; then the fill */
    uint32_t number[MR_USERS_GROUP];
};

struct mr_users {
    struct mr_users_group *group;
    uint64_t n_groups;
    struct mr_user *user;
    uint32_t n, cap;
};

/* All zero is the empty table. */
void mr_users_release(struct mr_users *u);

/** mr_users_release_index(u): Free the table of groups, so that users can only
 * be gone through until mr_users_reserve makes it anew. */
void mr_users_release_index(struct mr_users *u);

/** mr_users_reserve(u, more): Make room for so many more users, so that
 * mr_users_add cannot fail for that many.  MR_LIMIT past MR_USERS_MAX. */
MR_MUST_CHECK enum mr_status mr_users_reserve(
    struct mr_users *u, uint32_t more);

/* Neither bits that choose the shard, nor those of the tag. */
static inline struct mr_users_group *mr_users_home(
    const struct mr_users *u, uint64_t hash)
{
    return &u->group[(hash >> 24 & UINT32_MAX) * u->n_groups >> 32];
}

static inline uint64_t mr_users_tag(uint64_t hash)
{
    return (hash & 0xff) + ((hash & 0xff) == 0);
}

/* The high bit of each byte of x that is zero, and maybe of one whose lower
 * neighbour is. */
static inline uint64_t mr_users_zero_bytes(uint64_t x)
{
    return (x - UINT64_C(0x0101010101010101)) & ~x &
           UINT64_C(0x8080808080808080);
}

/** mr_users_prefetch(u, hash): Fetch the group that mr_users_peek will want. */
static inline void mr_users_prefetch(const struct mr_users *u, uint64_t hash)
{
    __builtin_prefetch(mr_users_home(u, hash));
}

/** mr_users_peek(u, hash): A guess at the number, by the tag in the user's
 * own group only: right for most users that are known.  Whoever takes it
 * looks whether the hash there is the same.  MR_USERS_NONE: no idea. */
static inline uint32_t mr_users_peek(const struct mr_users *u, uint64_t hash)
{
    const struct mr_users_group *g = mr_users_home(u, hash);
    uint64_t tags = mr_users_tag(hash) * UINT64_C(0x0101010101010101);
    uint64_t low = mr_users_zero_bytes(g->tags[0] ^ tags);
    uint64_t high =
        mr_users_zero_bytes(g->tags[1] ^ tags) & UINT64_C(0x80808080);
    uint64_t is_high = low == 0;
    uint64_t found = low | (high & (0 - is_high));

    if (found == 0)
        return MR_USERS_NONE;
    return g->number[8 * is_high + ((unsigned)__builtin_ctzll(found) >> 3)];
}

/** mr_users_add(u, hash): The number of a user, known or new; a new one has
 * a slot without events.  There must be room (mr_users_reserve). */
uint32_t mr_users_add(struct mr_users *u, uint64_t hash);

#endif
