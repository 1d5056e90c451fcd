#ifndef MR_POOL_H
#define MR_POOL_H

#include <stddef.h>

#include "mr/status.h"

/*
 * Memory for many small lists that grow: runs of 64-bit words in one array,
 * known by their place in it, since the array moves when it grows.  Runs have
 * sizes by class; one that is given back goes to its class's free list and
 * serves again.  So nothing is ever left to the heap's fragmentation, whatever
 * threads come by.  One thread at a time.
 */

/* Words of a run, by class: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... */
#define MR_POOL_CLASSES 72

struct mr_pool {
    uint64_t *word;
    size_t n, cap;                  /* words */
    uint64_t free[MR_POOL_CLASSES]; /* place of the first + 1, 0 if none */
};

static inline size_t mr_pool_words(unsigned class)
{
    return class == 0 ? 1 : (size_t)(class & 1 ? 2 : 3) << ((class - 1) / 2);
}

/** The smallest class of at least so many words. */
static inline unsigned mr_pool_class(size_t words)
{
    unsigned class = 0;

    while (mr_pool_words(class) < words)
        class ++;
    return class;
}

/* All zero is the empty pool. */
void mr_pool_release(struct mr_pool *pool);

/** mr_pool_take(pool, class, place): A run, with anything in it.  Pointers
 * into the pool are void afterwards.  MR_NOMEM leaves the pool as it was. */
MR_MUST_CHECK enum mr_status mr_pool_take(
    struct mr_pool *pool, unsigned class, size_t *place_out);

/** mr_pool_give(pool, class, place): Give a run back. */
void mr_pool_give(struct mr_pool *pool, unsigned class, size_t place);

#endif
