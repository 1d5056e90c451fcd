#ifndef MR_BITMAP_H
#define MR_BITMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "mr/status.h"

/*
 * An exact set of small dense numbers: a sorted list while it is sparse, one
 * bit per number once that is smaller.  32 numbers in the list take as much
 * as 1024 bits, so a set never takes more than about 4 bytes a member nor
 * more than one bit per number of the universe (and the slack of growing).
 */

struct mr_bitmap {
    union {
        uint32_t *list;  /* ascending */
        uint64_t *words; /* bit i of word j stands for 64 j + i */
    };
    uint32_t n;   /* members */
    uint32_t cap; /* entries of the list, or words */
    bool is_words;
};

/* All zero is the empty set. */
void mr_bitmap_release(struct mr_bitmap *b);

/** Slow half of mr_bitmap_add. */
MR_MUST_CHECK enum mr_status mr_bitmap_insert(
    struct mr_bitmap *b, uint32_t number, uint32_t universe);

/**
 * mr_bitmap_add(b, number, universe): Put number < universe into the set;
 * universe may grow from call to call.  O(1) for a bitmap and for numbers
 * that come in ascending order, else up to universe / 32 moves.  MR_NOMEM
 * leaves the set unchanged.
 */
MR_MUST_CHECK static inline enum mr_status mr_bitmap_add(
    struct mr_bitmap *b, uint32_t number, uint32_t universe)
{
    if (b->is_words && (number >> 6) < b->cap) {
        uint64_t bit = UINT64_C(1) << (number & 63);
        uint64_t *word = &b->words[number >> 6];

        b->n += (*word & bit) == 0;
        *word |= bit;
        return MR_OK;
    }
    return mr_bitmap_insert(b, number, universe);
}

/** mr_bitmap_each(b, visit, context): Call visit for each member, ascending,
 * until it returns something other than MR_OK; return that. */
MR_MUST_CHECK enum mr_status mr_bitmap_each(const struct mr_bitmap *b,
    enum mr_status (*visit)(void *context, uint32_t number), void *context);

#endif
