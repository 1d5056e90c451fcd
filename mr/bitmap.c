#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/bitmap.h"

#include <stdlib.h>
#include <string.h>

/* Below this many members a set stays a list, whatever the universe. */
#define LIST_MIN 16

void mr_bitmap_release(struct mr_bitmap *b)
{
    free(b->list);
    memset(b, 0, sizeof(*b));
}

/* Members from which one bit a number is the smaller form. */
static uint32_t list_limit(uint32_t universe)
{
    uint32_t limit = universe / 32;

    return limit < LIST_MIN ? LIST_MIN : limit;
}

/* A quarter more than asked for, so that growing costs O(1) a member. */
static uint32_t with_slack(uint32_t n)
{
    return n + n / 4 + 4;
}

/* Make room for words up to that of number. */
static enum mr_status grow_words(struct mr_bitmap *b, uint32_t number)
{
    uint32_t cap = with_slack((number >> 6) + 1);
    uint64_t *words = realloc(b->words, cap * sizeof(*words));

    if (words == NULL)
        return MR_NOMEM;
    memset(words + b->cap, 0, (cap - b->cap) * sizeof(*words));
    b->words = words;
    b->cap = cap;
    return MR_OK;
}

static enum mr_status list_to_words(struct mr_bitmap *b, uint32_t universe)
{
    uint32_t cap = with_slack(universe / 64 + 1);
    uint64_t *words = calloc(cap, sizeof(*words));

    if (words == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < b->n; i++)
        words[b->list[i] >> 6] |= UINT64_C(1) << (b->list[i] & 63);
    free(b->list);
    b->words = words;
    b->cap = cap;
    b->is_words = true;
    return MR_OK;
}

/* The universe has outgrown the bits: few members are a list again. */
static enum mr_status words_to_list(struct mr_bitmap *b)
{
    uint32_t cap = with_slack(b->n), n = 0;
    uint32_t *list = malloc(cap * sizeof(*list));

    if (list == NULL)
        return MR_NOMEM;
    for (uint32_t j = 0; j < b->cap; j++)
        for (uint64_t w = b->words[j]; w != 0; w &= w - 1)
            list[n++] = j * 64 + (uint32_t)__builtin_ctzll(w);
    free(b->words);
    b->list = list;
    b->cap = cap;
    b->is_words = false;
    return MR_OK;
}

/* The first place in the list whose member is not below number. */
static uint32_t list_place(const struct mr_bitmap *b, uint32_t number)
{
    uint32_t low = 0, high = b->n;

    if (high > 0 && b->list[high - 1] < number)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (b->list[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum mr_status list_add(struct mr_bitmap *b, uint32_t number)
{
    uint32_t place = list_place(b, number);

    if (place < b->n && b->list[place] == number)
        return MR_OK;
    if (b->n == b->cap) {
        uint32_t cap = with_slack(b->n);
        uint32_t *list = realloc(b->list, cap * sizeof(*list));

        if (list == NULL)
            return MR_NOMEM;
        b->list = list;
        b->cap = cap;
    }
    memmove(b->list + place + 1, b->list + place,
        (b->n - place) * sizeof(*b->list));
    b->list[place] = number;
    b->n++;
    return MR_OK;
}

enum mr_status mr_bitmap_insert(
    struct mr_bitmap *b, uint32_t number, uint32_t universe)
{
    enum mr_status status = MR_OK;

    if (b->is_words) { /* number lies beyond the words */
        if (b->n >= list_limit(universe)) {
            status = grow_words(b, number);
            return status != MR_OK ? status
                                   : mr_bitmap_add(b, number, universe);
        }
        status = words_to_list(b);
    } else if (b->n >= list_limit(universe)) {
        status = list_to_words(b, universe);
        return status != MR_OK ? status : mr_bitmap_add(b, number, universe);
    }
    return status != MR_OK ? status : list_add(b, number);
}

enum mr_status mr_bitmap_each(const struct mr_bitmap *b,
    enum mr_status (*visit)(void *context, uint32_t number), void *context)
{
    enum mr_status status = MR_OK;

    if (!b->is_words) {
        for (uint32_t i = 0; i < b->n && status == MR_OK; i++)
            status = visit(context, b->list[i]);
        return status;
    }
    for (uint32_t j = 0; j < b->cap; j++)
        for (uint64_t w = b->words[j]; w != 0 && status == MR_OK; w &= w - 1)
            status = visit(context, j * 64 + (uint32_t)__builtin_ctzll(w));
    return status;
}
