#ifndef MR_BITMAP_H
#define MR_BITMAP_H

#include <stdbool.h>

#include "mr/pool.h"

/*
 * An exact set of numbers below 65,536: a list while it is sparse, one bit
 * per number once that is smaller.  A number takes two bytes in the list,
 * which is appended to and only when it is full freed of repetitions.  So a
 * set takes no more than about 4 bytes a member, nor more than about one and
 * a half bits a number of the universe.  Its memory is a pool's.
 */

#define MR_BITMAP_NUMBERS UINT32_C(65536)

struct mr_bitmap {
    uint32_t place; /* in the pool: 16-bit entries, or words, in which bit i
                       of word j stands for 64 j + i */
    uint16_t n;     /* entries of the list, or words */
    uint8_t class1; /* of the pool + 1; 0: nothing taken yet */
    uint8_t is_words;
};

/* All zero is the empty set; releasing the pool releases all its sets. */

/** Slow half of mr_bitmap_add. */
MR_MUST_CHECK enum mr_status mr_bitmap_insert(struct mr_pool *pool,
    struct mr_bitmap *b, uint32_t number, uint32_t universe);

/**
 * mr_bitmap_add(pool, b, number, universe): Put number < universe into the
 * set; universe, at most MR_BITMAP_NUMBERS, may grow from call to call.  O(1)
 * on the average.  MR_NOMEM leaves the set unchanged.
 */
MR_MUST_CHECK static inline enum mr_status mr_bitmap_add(struct mr_pool *pool,
    struct mr_bitmap *b, uint32_t number, uint32_t universe)
{
    if (b->is_words && number >> 6 < b->n) {
        pool->word[b->place + (number >> 6)] |= UINT64_C(1) << (number & 63);
        return MR_OK;
    }
    return mr_bitmap_insert(pool, b, number, universe);
}

/** mr_bitmap_settle(pool, b): Free a list of repetitions, so that
 * mr_bitmap_each visits no member twice. */
void mr_bitmap_settle(struct mr_pool *pool, struct mr_bitmap *b);

/** mr_bitmap_each(pool, b, visit, context): Call visit for each member, in
 * any order, and again if the set is not settled, until it returns something
 * other than MR_OK; return that.  visit must not touch the pool. */
MR_MUST_CHECK enum mr_status mr_bitmap_each(const struct mr_pool *pool,
    const struct mr_bitmap *b,
    enum mr_status (*visit)(void *context, uint32_t number), void *context);

#endif
