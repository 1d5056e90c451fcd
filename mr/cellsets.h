#ifndef MR_CELLSETS_H
#define MR_CELLSETS_H

#include "mr/batch.h"
#include "mr/bitmap.h"

/*
 * Exact sets of users by their dense numbers: one for each cell, that is for
 * each day and type, and each 65,536 numbers (a chunk).  They stand in order
 * of first sight; a small open-addressed table has their places, so that a
 * set takes 16 bytes, up to a quarter of slack, and 8 to 16 of the table.
 * Their members are in a pool, which is the caller's.  One thread at a time.
 *
 *              63      46 45    29 28  21 20   0
 *     a key:  |    0     |  day  |chunk | type |      days are below 2^17
 */

#define MR_CELLSETS_CHUNK_SHIFT MR_TUPLE_TYPE_BITS
#define MR_CELLSETS_DAY_SHIFT (MR_TUPLE_TYPE_BITS + 8)

struct mr_cell_set {
    uint64_t key;
    struct mr_bitmap members; /* numbers in the chunk */
};

/* All zero is none. */
struct mr_cellsets {
    struct mr_cell_set *set;
    uint32_t n, cap;
    uint32_t *place1; /* the place of a set + 1; 0: free */
    uint32_t mask;    /* of place1 */
};

void mr_cellsets_release(struct mr_cellsets *c);

static inline int32_t mr_cell_set_day(const struct mr_cell_set *set)
{
    return (int32_t)(set->key >> MR_CELLSETS_DAY_SHIFT);
}

static inline uint32_t mr_cell_set_type(const struct mr_cell_set *set)
{
    return mr_tuple_type(set->key);
}

/** mr_cell_set_first(set): The number that 0 in the set stands for. */
static inline uint32_t mr_cell_set_first(const struct mr_cell_set *set)
{
    return (uint32_t)(set->key >> MR_CELLSETS_CHUNK_SHIFT & 0xff) *
           MR_BITMAP_NUMBERS;
}

/* Where the place of the set with that key stands, or would.  There is always
 * a free one. */
static inline uint32_t *mr_cellsets_find(
    const struct mr_cellsets *c, uint64_t key)
{
    uint32_t i = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);

    for (;; i++) {
        uint32_t *place1 = &c->place1[i & c->mask];

        if (*place1 == 0 || c->set[*place1 - 1].key == key)
            return place1;
    }
}

/** Slow half of mr_cellsets_add: a set that is not known; NULL without
 * memory. */
struct mr_cell_set *mr_cellsets_new_set(struct mr_cellsets *c, uint64_t key);

/** mr_cellsets_add(c, pool, day, type, number, users): Note that the user of a
 * number below users is in a cell.  MR_NOMEM adds no member, but may leave a
 * new set that has none. */
MR_MUST_CHECK static inline enum mr_status mr_cellsets_add(
    struct mr_cellsets *c, struct mr_pool *pool, uint64_t day, uint32_t type,
    uint32_t number, uint32_t users)
{
    uint32_t low = number % MR_BITMAP_NUMBERS;
    uint32_t universe = users - (number - low);
    uint64_t key = day << MR_CELLSETS_DAY_SHIFT |
                   (uint64_t)(number / MR_BITMAP_NUMBERS)
                       << MR_CELLSETS_CHUNK_SHIFT |
                   type;
    uint32_t place1 = c->place1 == NULL ? 0 : *mr_cellsets_find(c, key);
    struct mr_cell_set *set =
        place1 != 0 ? &c->set[place1 - 1] : mr_cellsets_new_set(c, key);

    if (set == NULL)
        return MR_NOMEM;
    return mr_bitmap_add(pool, &set->members, low,
        universe < MR_BITMAP_NUMBERS ? universe : MR_BITMAP_NUMBERS);
}

#endif
