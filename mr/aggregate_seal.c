#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/aggregate_private.h"

#include <stdlib.h>
#include <string.h>

/*
 * Reading the table of users: shards are sealed, each by one thread, which
 * ranks and weighs their users; then blocks are cut by these weights, and
 * made by any thread, each of stretches of one shard or more.
 */

void mr_aggregate_unseal(struct mr_aggregate *a)
{
    for (unsigned i = 0; i < MR_AGGREGATE_SHARDS; i++) {
        struct mr_shard *s = &a->shard[i];

        free(s->rank);
        free(s->weight);
        free(s->cell);
        s->rank = s->weight = s->cell = NULL;
    }
    free(a->block);
    a->block = NULL;
}

/* ---- sealing ---- */

static int compare_ranked(const void *a, const void *b)
{
    const struct mr_ranked *x = a, *y = b;

    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/*
 * Sort by hash: deal out by the bits after the shard's, about one user a
 * bucket since hashes are even, then sort each bucket.  Ids made to collide
 * only cost the sorting of one big bucket.
 */
static enum mr_status sort_users(
    const struct mr_users *u, struct mr_ranked *ranked)
{
    unsigned bits = 1;
    uint32_t *end, sum = 0;

    while (bits < 24 && (UINT32_C(1) << bits) < u->n)
        bits++;
    end = calloc((size_t)1 << bits, sizeof(*end));
    if (end == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < u->n; i++)
        end[u->user[i].hash << 8 >> (64 - bits)]++;
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t count = end[k];

        end[k] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < u->n; i++)
        ranked[end[u->user[i].hash << 8 >> (64 - bits)]++] =
            (struct mr_ranked){u->user[i].hash, i};
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t start = k == 0 ? 0 : end[k - 1];

        if (end[k] - start > 1)
            qsort(ranked + start, end[k] - start, sizeof(*ranked),
                compare_ranked);
    }
    free(end);
    return MR_OK;
}

static enum mr_status reserve_ranked(
    struct mr_aggregate_scratch *scratch, uint32_t n)
{
    struct mr_ranked *ranked;

    if (n <= scratch->cap_ranked)
        return MR_OK;
    ranked = malloc(n * sizeof(*ranked));
    if (ranked == NULL)
        return MR_NOMEM;
    free(scratch->ranked);
    scratch->ranked = ranked;
    scratch->cap_ranked = n;
    return MR_OK;
}

static enum mr_status rank_users(
    struct mr_shard *s, struct mr_aggregate_scratch *scratch)
{
    uint32_t n = s->users.n;
    enum mr_status status = reserve_ranked(scratch, n);

    s->rank = malloc(n * sizeof(*s->rank));
    s->weight = calloc(n, sizeof(*s->weight));
    if (s->rank == NULL || s->weight == NULL)
        status = MR_NOMEM;
    if (status == MR_OK)
        status = sort_users(&s->users, scratch->ranked);
    for (uint32_t i = 0; i < n && status == MR_OK; i++)
        s->rank[scratch->ranked[i].number] = i;
    return status;
}

/* A set's numbers are those of its chunk. */
struct weighing {
    uint32_t *weight; /* by rank */
    const uint32_t *rank;
};

static enum mr_status weigh_member(void *context, uint32_t number)
{
    struct weighing *w = context;

    w->weight[w->rank[number]] += MR_WEIGHT_MEMBER;
    return MR_OK;
}

static enum mr_status weigh_sets(struct mr_shard *s)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < s->sets.n && status == MR_OK; k++) {
        struct mr_cell_set *set = &s->sets.set[k];
        struct weighing w = {s->weight, s->rank + mr_cell_set_first(set)};

        mr_bitmap_settle(&s->pool, &set->members);
        status = mr_bitmap_each(&s->pool, &set->members, weigh_member, &w);
    }
    return status;
}

/* Weigh intervals as they will be read. */
static enum mr_status weigh_intervals(struct mr_shard *s)
{
    struct mr_interval *interval;

    for (uint32_t i = 0; i < s->users.n; i++) {
        uint64_t *slot = s->users.user[i].slot;
        size_t count;

        if (mr_sessions_settle(&s->sessions, slot) != MR_OK)
            return MR_NOMEM;
        count = mr_sessions_count(&s->sessions, slot);
        if (count > s->most_intervals)
            s->most_intervals = count;
    }
    interval = malloc(s->most_intervals * sizeof(*interval));
    if (interval == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < s->users.n; i++)
        s->weight[s->rank[i]] +=
            MR_WEIGHT_INTERVAL * (uint32_t)mr_sessions_read(&s->sessions,
                                     s->users.user[i].slot, interval);
    free(interval);
    return MR_OK;
}

/* The members of a set, noted. */
struct noted {
    uint16_t *number;
    uint32_t n;
};

static enum mr_status note_member(void *context, uint32_t number)
{
    struct noted *noted = context;

    noted->number[noted->n++] = (uint16_t)number;
    return MR_OK;
}

/* Move the members of a set to that of another text of its day. */
static enum mr_status move_members(
    struct mr_shard *s, uint32_t number, uint32_t type, struct noted *noted)
{
    const struct mr_cell_set from = s->sets.set[number];
    struct mr_bitmap *members = &s->sets.set[number].members;
    enum mr_status status;

    noted->n = 0;
    mr_bitmap_settle(&s->pool, members);
    status = mr_bitmap_each(&s->pool, members, note_member, noted);
    if (members->class1 != 0)
        mr_pool_give(&s->pool, members->class1 - 1u, members->place);
    memset(members, 0, sizeof(*members));
    for (uint32_t i = 0; i < noted->n && status == MR_OK; i++)
        status = mr_cellsets_add(&s->sets, &s->pool,
            (uint64_t)mr_cell_set_day(&from), type,
            mr_cell_set_first(&from) + noted->number[i], s->users.n);
    return status;
}

/* Make one group of all that are not kept. */
static enum mr_status join_dropped(struct mr_shard *s,
    struct mr_aggregate_scratch *scratch, const struct mr_types *types)
{
    struct noted noted = {.number = scratch->member};
    enum mr_status status = MR_OK;

    /* Sets that come meanwhile are of such a group. */
    for (uint32_t k = 0, n = s->sets.n; k < n && status == MR_OK; k++) {
        const struct mr_cell_set *set = &s->sets.set[k];
        uint32_t type = mr_cell_set_type(set);

        if (mr_cell_set_day(set) == MR_DAY_END &&
            mr_types_final(types, type) != type)
            status = move_members(s, k, mr_types_final(types, type), &noted);
    }
    return status;
}

/* Note the cell number of each set. */
static enum mr_status number_sets(
    struct mr_shard *s, mr_cell_number *number, void *context)
{
    const struct mr_cell_set *set = s->sets.set;

    s->cell = malloc((s->sets.n + 1) * sizeof(*s->cell));
    if (s->cell == NULL)
        return MR_NOMEM;
    for (uint32_t k = 0; k < s->sets.n; k++)
        s->cell[k] = number(
            context, mr_cell_set_day(&set[k]), mr_cell_set_type(&set[k]));
    return MR_OK;
}

enum mr_status mr_aggregate_seal(struct mr_aggregate *a, unsigned shard,
    struct mr_aggregate_scratch *scratch, const struct mr_types *types,
    mr_cell_number *number, void *context)
{
    struct mr_shard *s = &a->shard[shard];
    enum mr_status status = mr_aggregate_settle(a, shard, scratch);

    if (status != MR_OK || s->users.n == 0)
        return status;
    status = join_dropped(s, scratch, types);
    mr_users_release_index(&s->users);
    if (status == MR_OK)
        status = rank_users(s, scratch);
    if (status == MR_OK)
        status = weigh_sets(s);
    if (status == MR_OK)
        status = weigh_intervals(s);
    if (status == MR_OK)
        status = number_sets(s, number, context);
    return status;
}

/* ---- blocks ---- */

/* Where the blocks begin, one after the other; NULL out: only count. */
static size_t cut_blocks(struct mr_aggregate *a, uint64_t *out)
{
    uint64_t rank = 0, weight = 0, users = 0;
    size_t n = 0;

    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS; k++) {
        struct mr_shard *s = &a->shard[k];

        s->first_rank = rank;
        for (uint32_t i = 0; i < s->users.n; i++, rank++) {
            if (rank == 0 || users == MR_BLOCK_USERS ||
                weight + s->weight[i] > MR_BLOCK_WEIGHT) {
                if (out != NULL)
                    out[n] = rank;
                n++;
                weight = users = 0;
            }
            weight += s->weight[i];
            users++;
        }
    }
    if (out != NULL)
        out[n] = rank;
    a->n_users = rank;
    return n;
}

enum mr_status mr_aggregate_plan(struct mr_aggregate *a, size_t *n_blocks_out)
{
    a->n_blocks = cut_blocks(a, NULL);
    a->block = malloc((a->n_blocks + 1) * sizeof(*a->block));
    if (a->block == NULL)
        return MR_NOMEM;
    (void)cut_blocks(a, a->block);
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS; k++) {
        free(a->shard[k].weight);
        a->shard[k].weight = NULL;
    }
    *n_blocks_out = a->n_blocks;
    return MR_OK;
}

uint64_t mr_aggregate_users(const struct mr_aggregate *a)
{
    return a->n_users;
}

/* The members of a set whose ranks lie in a stretch of one shard. */
struct stretch {
    struct mr_set_builder *set;
    const uint32_t *rank;
    uint32_t low, high, position;
};

static enum mr_status place_member(void *context, uint32_t number)
{
    struct stretch *t = context;
    uint32_t rank = t->rank[number];

    if (rank < t->low || rank >= t->high)
        return MR_OK;
    return mr_set_builder_add(t->set, t->position + rank - t->low);
}

/* The numbers of the users in a stretch, by rank. */
static uint32_t *stretch_numbers(
    const struct mr_shard *s, const struct stretch *t)
{
    uint32_t *number = malloc((t->high - t->low) * sizeof(*number));

    for (uint32_t i = 0; number != NULL && i < s->users.n; i++)
        if (s->rank[i] >= t->low && s->rank[i] < t->high)
            number[s->rank[i] - t->low] = i;
    return number;
}

static enum mr_status stretch_users(const struct mr_shard *s,
    const struct stretch *t, struct mr_block_builder *builder)
{
    uint32_t *number = stretch_numbers(s, t);
    struct mr_interval *interval =
        malloc(s->most_intervals * sizeof(*interval));
    enum mr_status status =
        number != NULL && interval != NULL ? MR_OK : MR_NOMEM;

    for (uint32_t i = 0; i < t->high - t->low && status == MR_OK; i++) {
        const struct mr_user *user = &s->users.user[number[i]];
        size_t n = mr_sessions_read(&s->sessions, user->slot, interval);

        status = mr_block_builder_user(builder, user->hash, interval, n);
    }
    free(interval);
    free(number);
    return status;
}

static enum mr_status stretch_sets(const struct mr_shard *s, struct stretch *t,
    struct mr_block_builder *builder)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < s->sets.n && status == MR_OK; k++) {
        const struct mr_cell_set *set = &s->sets.set[k];

        t->rank = s->rank + mr_cell_set_first(set);
        status = mr_block_builder_set(builder, s->cell[k], &t->set);
        if (status == MR_OK)
            status = mr_bitmap_each(&s->pool, &set->members, place_member, t);
    }
    return status;
}

enum mr_status mr_aggregate_block(const struct mr_aggregate *a, size_t i,
    struct mr_block_builder *builder, struct mr_user_block *block_out)
{
    uint64_t low = a->block[i], high = a->block[i + 1];
    enum mr_status status = MR_OK;

    mr_block_builder_reset(builder);
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS && status == MR_OK; k++) {
        const struct mr_shard *s = &a->shard[k];
        uint64_t first = s->first_rank, end = first + s->users.n;
        struct stretch t = {0};

        if (end <= low || first >= high || s->users.n == 0)
            continue;
        t.low = (uint32_t)(low > first ? low - first : 0);
        t.high = (uint32_t)((high < end ? high : end) - first);
        t.position = (uint32_t)mr_block_builder_users(builder);
        status = stretch_users(s, &t, builder);
        if (status == MR_OK)
            status = stretch_sets(s, &t, builder);
    }
    return status != MR_OK ? status
                           : mr_block_builder_finish(builder, block_out);
}
