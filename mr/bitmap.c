#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/bitmap.h"

#include <string.h>

/* Entries of a list in one word of the pool. */
#define ENTRIES 4
/* Lists up to this length are sorted to find repetitions. */
#define SHORT_LIST 16

static uint16_t *list_of(const struct mr_pool *pool, const struct mr_bitmap *b)
{
    return (void *)(pool->word + b->place);
}

/* Sort and drop repetitions; the new length. */
static uint16_t settle_short(uint16_t *list, uint16_t n)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < n; i++) {
        uint16_t number = list[i], at = kept;

        while (at > 0 && list[at - 1] > number)
            at--;
        if (at > 0 && list[at - 1] == number)
            continue;
        memmove(list + at + 1, list + at, (kept - at) * sizeof(*list));
        list[at] = number;
        kept++;
    }
    return kept;
}

static uint16_t settle_long(uint16_t *list, uint16_t n)
{
    uint64_t seen[MR_BITMAP_NUMBERS / 64] = {0};
    uint16_t kept = 0;

    for (uint16_t i = 0; i < n; i++) {
        uint16_t number = list[i];
        uint64_t bit = UINT64_C(1) << (number & 63);

        list[kept] = number;
        kept += (seen[number >> 6] & bit) == 0;
        seen[number >> 6] |= bit;
    }
    return kept;
}

void mr_bitmap_settle(struct mr_pool *pool, struct mr_bitmap *b)
{
    if (!b->is_words && b->n > 1)
        b->n = (b->n <= SHORT_LIST ? settle_short : settle_long)(
            list_of(pool, b), b->n);
}

/* Move the set to a run of so many words at least, and change its form. */
static enum mr_status move(
    struct mr_pool *pool, struct mr_bitmap *b, size_t words, bool to_words)
{
    unsigned class = mr_pool_class(words);
    struct mr_bitmap to = {.class1 = (uint8_t)(class + 1)};
    uint64_t *word, *from;
    size_t place;

    if (mr_pool_take(pool, class, &place) != MR_OK || place > UINT32_MAX)
        return MR_NOMEM;
    to.place = (uint32_t)place;
    word = pool->word + place;
    from = pool->word + b->place;
    if (to_words) {
        to.is_words = 1;
        to.n = (uint16_t)mr_pool_words(class);
        memset(word, 0, to.n * sizeof(*word));
        if (b->is_words)
            memcpy(word, from, b->n * sizeof(*word));
        for (uint16_t i = 0; !b->is_words && i < b->n; i++) {
            uint16_t number = list_of(pool, b)[i];

            word[number >> 6] |= UINT64_C(1) << (number & 63);
        }
    } else if (b->is_words) {
        for (uint32_t j = 0; j < b->n; j++)
            for (uint64_t w = from[j]; w != 0; w &= w - 1)
                list_of(pool, &to)[to.n++] =
                    (uint16_t)(j * 64 + (uint32_t)__builtin_ctzll(w));
    } else {
        to.n = b->n;
        memcpy(word, from, b->n * sizeof(uint16_t));
    }
    if (b->class1 != 0)
        mr_pool_give(pool, b->class1 - 1u, b->place);
    *b = to;
    return MR_OK;
}

static uint32_t count_bits(const struct mr_pool *pool, struct mr_bitmap *b)
{
    uint32_t n = 0;

    for (uint32_t j = 0; j < b->n; j++)
        n += (uint32_t)__builtin_popcountll(pool->word[b->place + j]);
    return n;
}

/* The number lies beyond the words: more of them, or a list again, if the
 * universe has grown so much that this takes less than half. */
static enum mr_status grow_words(
    struct mr_pool *pool, struct mr_bitmap *b, uint32_t number)
{
    size_t words = (number >> 6) + 1;
    size_t as_list = count_bits(pool, b) / ENTRIES + 1;

    return move(
        pool, b, 2 * as_list < words ? as_list : words, 2 * as_list >= words);
}

/* Make room in a list that has none: not if a quarter turns out to be
 * repetitions, and as words where a longer list is no smaller. */
static enum mr_status grow_list(
    struct mr_pool *pool, struct mr_bitmap *b, uint32_t universe)
{
    size_t words = b->class1 == 0 ? 0 : mr_pool_words(b->class1 - 1u);
    size_t as_words = (universe + 63) / 64;

    mr_bitmap_settle(pool, b);
    if (b->n + 1u <= words * ENTRIES / 4 * 3)
        return MR_OK;
    if (words + 1 >= as_words)
        return move(pool, b, as_words, true);
    return move(pool, b, words + 1, false);
}

enum mr_status mr_bitmap_insert(struct mr_pool *pool, struct mr_bitmap *b,
    uint32_t number, uint32_t universe)
{
    enum mr_status status = MR_OK;

    if (b->is_words)
        status = grow_words(pool, b, number);
    else if (b->class1 == 0 || b->n == mr_pool_words(b->class1 - 1u) * ENTRIES)
        status = grow_list(pool, b, universe);
    if (status != MR_OK)
        return status;
    if (b->is_words)
        return mr_bitmap_add(pool, b, number, universe);
    list_of(pool, b)[b->n++] = (uint16_t)number;
    return MR_OK;
}

enum mr_status mr_bitmap_each(const struct mr_pool *pool,
    const struct mr_bitmap *b,
    enum mr_status (*visit)(void *context, uint32_t number), void *context)
{
    enum mr_status status = MR_OK;

    if (!b->is_words) {
        for (uint32_t i = 0; i < b->n && status == MR_OK; i++)
            status = visit(context, list_of(pool, b)[i]);
        return status;
    }
    for (uint32_t j = 0; j < b->n; j++)
        for (uint64_t w = pool->word[b->place + j]; w != 0 && status == MR_OK;
             w &= w - 1)
            status = visit(context, j * 64 + (uint32_t)__builtin_ctzll(w));
    return status;
}
