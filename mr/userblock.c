#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/userblock.h"

#include <stdlib.h>

#include "mr/kernels.h"

/*
 * A set in the making is an unsorted list of positions until it has LIST_MAX
 * of them, then a bitmap of the whole block: setting bits sorts them and
 * drops repetitions at a fixed small cost, that of some hundred sorted.
 */
#define LIST_MAX 128

struct mr_set_builder {
    uint16_t *list;
    uint64_t *words;
    uint32_t cell;
    uint32_t n_list, cap_list;
    bool is_words;
};

struct mr_block_builder {
    uint64_t *hash;
    uint32_t *first;
    size_t n;
    struct mr_interval *interval;
    size_t n_intervals, cap_intervals;
    uint32_t *builder_of; /* by cell: index in set + 1, 0 if none */
    size_t n_cells;
    struct mr_set_builder **set;
    size_t n_sets, cap_sets, made_sets;
    struct mr_user_set *out;
    size_t cap_out;
};

enum mr_status mr_block_builder_new(
    size_t n_cells, struct mr_block_builder **builder_out)
{
    struct mr_block_builder *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return MR_NOMEM;
    b->n_cells = n_cells;
    b->hash = malloc(MR_BLOCK_USERS * sizeof(*b->hash));
    b->first = malloc((MR_BLOCK_USERS + 1) * sizeof(*b->first));
    b->builder_of = calloc(n_cells + 1, sizeof(*b->builder_of));
    if (b->hash == NULL || b->first == NULL || b->builder_of == NULL) {
        mr_block_builder_free(b);
        return MR_NOMEM;
    }
    b->first[0] = 0;
    *builder_out = b;
    return MR_OK;
}

void mr_block_builder_free(struct mr_block_builder *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->made_sets; i++) {
        free(b->set[i]->list);
        free(b->set[i]->words);
        free(b->set[i]);
    }
    free(b->set);
    free(b->hash);
    free(b->first);
    free(b->interval);
    free(b->builder_of);
    free(b->out);
    free(b);
}

void mr_block_builder_reset(struct mr_block_builder *b)
{
    for (size_t i = 0; i < b->n_sets; i++) {
        struct mr_set_builder *set = b->set[i];

        b->builder_of[set->cell] = 0;
        set->n_list = 0;
        if (set->is_words)
            memset(set->words, 0, MR_BLOCK_WORDS * sizeof(*set->words));
        set->is_words = false;
    }
    b->n_sets = 0;
    b->n = 0;
    b->n_intervals = 0;
}

size_t mr_block_builder_users(const struct mr_block_builder *b)
{
    return b->n;
}

size_t mr_block_builder_intervals(const struct mr_block_builder *b)
{
    return b->n_intervals;
}

/* Room for n more intervals. */
static enum mr_status reserve_intervals(struct mr_block_builder *b, size_t n)
{
    size_t cap = b->cap_intervals + b->cap_intervals / 2 + n + 1024;
    struct mr_interval *interval;

    if (b->cap_intervals - b->n_intervals >= n)
        return MR_OK;
    interval = realloc(b->interval, cap * sizeof(*interval));
    if (interval == NULL)
        return MR_NOMEM;
    b->interval = interval;
    b->cap_intervals = cap;
    return MR_OK;
}

enum mr_status mr_block_builder_user(struct mr_block_builder *b, uint64_t hash,
    const struct mr_interval *interval, size_t n)
{
    if (reserve_intervals(b, n) != MR_OK)
        return MR_NOMEM;
    memcpy(b->interval + b->n_intervals, interval, n * sizeof(*interval));
    b->n_intervals += n;
    b->hash[b->n++] = hash;
    b->first[b->n] = (uint32_t)b->n_intervals;
    return MR_OK;
}

enum mr_status mr_block_builder_run(struct mr_block_builder *b,
    const struct mr_user_block *block, size_t low, size_t high)
{
    uint32_t from = block->first[low], n = block->first[high] - from;
    uint32_t base = (uint32_t)b->n_intervals;

    if (reserve_intervals(b, n) != MR_OK)
        return MR_NOMEM;
    memcpy(b->interval + base, block->interval + from,
        n * sizeof(*block->interval));
    b->n_intervals += n;
    for (size_t i = low; i < high; i++) {
        b->hash[b->n++] = block->hash[i];
        b->first[b->n] = base + (block->first[i + 1] - from);
    }
    return MR_OK;
}

/* One more set builder in reserve. */
static enum mr_status make_set(struct mr_block_builder *b)
{
    if (b->made_sets == b->cap_sets) {
        size_t cap = 2 * b->cap_sets + 16;
        struct mr_set_builder **set = realloc(b->set, cap * sizeof(*set));

        if (set == NULL)
            return MR_NOMEM;
        b->set = set;
        b->cap_sets = cap;
    }
    b->set[b->made_sets] = calloc(1, sizeof(**b->set));
    if (b->set[b->made_sets] == NULL)
        return MR_NOMEM;
    b->made_sets++;
    return MR_OK;
}

enum mr_status mr_block_builder_set(
    struct mr_block_builder *b, uint32_t cell, struct mr_set_builder **set_out)
{
    uint32_t known = b->builder_of[cell];

    if (known == 0) {
        if (b->n_sets == b->made_sets && make_set(b) != MR_OK)
            return MR_NOMEM;
        b->set[b->n_sets]->cell = cell;
        b->builder_of[cell] = known = (uint32_t)++b->n_sets;
    }
    *set_out = b->set[known - 1];
    return MR_OK;
}

static enum mr_status to_words(struct mr_set_builder *set)
{
    if (set->words == NULL)
        set->words = calloc(MR_BLOCK_WORDS, sizeof(*set->words));
    if (set->words == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < set->n_list; i++)
        set->words[set->list[i] >> 6] |= UINT64_C(1) << (set->list[i] & 63);
    set->is_words = true;
    return MR_OK;
}

static enum mr_status grow_list(struct mr_set_builder *set)
{
    uint32_t cap = 2 * set->cap_list + 8;
    uint16_t *list = realloc(set->list, cap * sizeof(*list));

    if (list == NULL)
        return MR_NOMEM;
    set->list = list;
    set->cap_list = cap;
    return MR_OK;
}

enum mr_status mr_set_builder_add(struct mr_set_builder *set, uint32_t position)
{
    if (!set->is_words) {
        if (set->n_list < LIST_MAX) {
            if (set->n_list == set->cap_list && grow_list(set) != MR_OK)
                return MR_NOMEM;
            set->list[set->n_list++] = (uint16_t)position;
            return MR_OK;
        }
        if (to_words(set) != MR_OK)
            return MR_NOMEM;
    }
    set->words[position >> 6] |= UINT64_C(1) << (position & 63);
    return MR_OK;
}

/* Some users of another block, and where they are in this one. */
struct part {
    uint32_t low, high;
    const uint16_t *position;
};

/* The first member of an ascending list that is not below some position. */
static uint32_t find_member(const uint16_t *list, uint32_t n, uint32_t position)
{
    uint32_t i = 0;

    while (i < n) {
        uint32_t middle = i + (n - i) / 2;

        if (list[middle] < position)
            i = middle + 1;
        else
            n = middle;
    }
    return i;
}

/* The members of a list that belong to a part. */
static enum mr_status part_of_list(struct mr_set_builder *to,
    const struct mr_user_set *set, const struct part *p)
{
    uint32_t i = p->low == 0 ? 0 : find_member(set->list, set->n, p->low);
    uint32_t end = find_member(set->list, set->n, p->high);

    if (!to->is_words && to->n_list + (end - i) > LIST_MAX &&
        to_words(to) != MR_OK)
        return MR_NOMEM;
    if (!to->is_words) {
        while (to->n_list + (end - i) > to->cap_list)
            if (grow_list(to) != MR_OK)
                return MR_NOMEM;
        for (; i < end; i++)
            to->list[to->n_list++] = p->position[set->list[i] - p->low];
    }
    for (; i < end; i++) {
        uint32_t at = p->position[set->list[i] - p->low];

        to->words[at >> 6] |= UINT64_C(1) << (at & 63);
    }
    return MR_OK;
}

static enum mr_status part_of_words(struct mr_set_builder *to,
    const struct mr_user_set *set, const struct part *p)
{
    uint32_t low = p->low, high = p->high;

    if (!to->is_words && to_words(to) != MR_OK)
        return MR_NOMEM;
    for (uint32_t j = low >> 6; j <= (high - 1) >> 6; j++) {
        uint64_t w = set->words[j];

        if (j == low >> 6)
            w &= ~UINT64_C(0) << (low & 63);
        if (j == high >> 6)
            w &= (UINT64_C(1) << (high & 63)) - 1;
        for (; w != 0; w &= w - 1) {
            uint32_t at =
                p->position[j * 64 + (uint32_t)__builtin_ctzll(w) - low];

            to->words[at >> 6] |= UINT64_C(1) << (at & 63);
        }
    }
    return MR_OK;
}

enum mr_status mr_block_builder_part(struct mr_block_builder *b,
    const struct mr_user_block *block, uint32_t low, uint32_t high,
    const uint16_t *position)
{
    const struct part part = {low, high, position};

    if (low == high)
        return MR_OK;
    for (size_t i = 0; i < block->n_sets; i++) {
        const struct mr_user_set *set = &block->sets[i];
        struct mr_set_builder *to;

        if (mr_block_builder_set(b, set->cell, &to) != MR_OK)
            return MR_NOMEM;
        if ((set->words != NULL ? part_of_words : part_of_list)(
                to, set, &part) != MR_OK)
            return MR_NOMEM;
    }
    return MR_OK;
}

static int compare_cells(const void *a, const void *b)
{
    const struct mr_set_builder *const *x = a, *const *y = b;

    return (*x)->cell < (*y)->cell ? -1 : (*x)->cell > (*y)->cell;
}

static int compare_positions(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

/* Sort a short list and drop repetitions; ascending ones are left alone. */
static uint32_t settle_list(uint16_t *list, uint32_t n)
{
    uint32_t kept = n > 0, i = 1;

    while (i < n && list[i - 1] < list[i])
        i++;
    if (i >= n)
        return n;
    qsort(list, n, sizeof(*list), compare_positions);
    for (i = 1; i < n; i++)
        if (list[i] != list[kept - 1])
            list[kept++] = list[i];
    return kept;
}

static struct mr_user_set finish_set(const struct mr_set_builder *set)
{
    struct mr_user_set out = {.cell = set->cell};

    if (set->is_words) {
        out.words = set->words;
        out.n =
            (uint32_t)mr_kernels()->popcount_u64(set->words, MR_BLOCK_WORDS);
    } else {
        out.list = set->list;
        out.n = settle_list(set->list, set->n_list);
    }
    return out;
}

enum mr_status mr_block_builder_finish(
    struct mr_block_builder *b, struct mr_user_block *block_out)
{
    size_t n_out = 0;

    if (b->n_sets > b->cap_out) {
        struct mr_user_set *out = realloc(b->out, b->n_sets * sizeof(*b->out));

        if (out == NULL)
            return MR_NOMEM;
        b->out = out;
        b->cap_out = b->n_sets;
    }
    if (b->n_sets > 1)
        qsort(b->set, b->n_sets, sizeof(*b->set), compare_cells);
    for (size_t i = 0; i < b->n_sets; i++) {
        struct mr_user_set set = finish_set(b->set[i]);

        /* A part of a block may have brought a set without members. */
        if (set.n > 0)
            b->out[n_out++] = set;
    }
    *block_out = (struct mr_user_block){.n = b->n,
        .hash = b->hash,
        .n_sets = n_out,
        .sets = b->out,
        .first = b->first,
        .interval = b->interval};
    return MR_OK;
}
