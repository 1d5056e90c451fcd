#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * The table of users.
 *
 * It is cut into 256 shards by the top eight bits of the user hash.  A shard
 * has a lock, a table of users (mr/users.h) giving each a dense number, a
 * session slot per number (mr/sessions.h), and one exact set of numbers per
 * cell, that is per day and type (mr/bitmap.h).
 *
 *     tuples ──radix by 8 bits──▶ shard 0: users ▶ number ─┬▶ slot[number]
 *                                 shard 1                  └▶ set of (day,
 *                                  ...                          type)
 *
 * Threads come with tens of thousands of tuples at a time, deal them out by
 * shard, and hold each lock for some hundreds of tuples; they begin at
 * different shards.  Per tuple there is one random access to the table of
 * users and one to the arrays beside it; both are fetched ahead, a group of
 * tuples at a time, so that their latencies overlap.
 *
 * Memory a user: 8 bytes hash, 8 bytes slot, 5 to 11 bytes table, up to a
 * quarter of slack; a list of 8-byte pieces from the second stretch of
 * events on; one bit a cell, or 4 bytes for each cell he is in if few are.
 *
 * The order by hash, which state files want, is made once at the end: shards
 * are already in order of their top bits, so each is sorted alone.
 */

#include "mr/aggregate.h"

#include <pthread.h>
#include <stdlib.h>

#include "mr/bitmap.h"
#include "mr/sessions.h"
#include "mr/users.h"

#define SHARDS MR_AGGREGATE_SHARDS
#define SHARD_OF(hash) ((unsigned)((hash) >> 56))
/* Tuples dealt out at a time. */
#define PORTION (size_t)131072
/* Tuples whose memory is fetched ahead together. */
#define GROUP 32

struct cell_set {
    uint64_t key;  /* mr_cell_key */
    uint32_t cell; /* number, once sealed */
    struct mr_bitmap members;
};

struct shard {
    pthread_mutex_t lock;
    struct mr_users users;
    uint64_t *slot; /* by user number */
    uint32_t cap_slots;
    struct mr_sessions sessions;
    struct cell_set *set;
    uint32_t n_sets, cap_sets;
    uint32_t *set_of; /* open-addressed: index in set + 1 */
    uint32_t set_mask;
    /* Sealed: numbers by rank, ranks by number, weights by rank. */
    uint32_t *by_rank;
    uint32_t *rank;
    uint32_t *weight;
    uint64_t first_rank; /* of the whole table */
    size_t most_intervals;
};

struct mr_aggregate {
    struct shard shard[SHARDS];
    uint64_t n_users;
    uint64_t *block; /* first rank of each block, and the end */
    size_t n_blocks;
};

struct mr_aggregate_scratch {
    struct mr_tuple tuple[PORTION];
};

enum mr_status mr_aggregate_new(
    uint64_t session_gap_ms, struct mr_aggregate **aggregate_out)
{
    struct mr_aggregate *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return MR_NOMEM;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&a->shard[i].lock, NULL);
        mr_sessions_init(&a->shard[i].sessions, session_gap_ms);
    }
    *aggregate_out = a;
    return MR_OK;
}

void mr_aggregate_free(struct mr_aggregate *a)
{
    if (a == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &a->shard[i];

        for (uint32_t k = 0; k < s->n_sets; k++)
            mr_bitmap_release(&s->set[k].members);
        mr_users_release(&s->users);
        mr_sessions_release(&s->sessions);
        free(s->slot);
        free(s->set);
        free(s->set_of);
        free(s->by_rank);
        free(s->rank);
        free(s->weight);
        pthread_mutex_destroy(&s->lock);
    }
    free(a->block);
    free(a);
}

enum mr_status mr_aggregate_fail(enum mr_status status, struct mr_error *err)
{
    if (status != MR_LIMIT)
        return mr_fail_nomem(err);
    return mr_fail(err, MR_LIMIT, MR_NOWHERE, "map fewer partitions at a time",
        "too many users share the first bits of their hash");
}

enum mr_status mr_aggregate_scratch_new(
    struct mr_aggregate_scratch **scratch_out)
{
    *scratch_out = malloc(sizeof(**scratch_out));
    return *scratch_out != NULL ? MR_OK : MR_NOMEM;
}

void mr_aggregate_scratch_free(struct mr_aggregate_scratch *s)
{
    free(s);
}

static uint32_t key_place(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Twice the room in the index of sets. */
static enum mr_status grow_sets(struct shard *s)
{
    uint32_t entries = s->set_of == NULL ? 16 : 2 * (s->set_mask + 1);
    uint32_t cap = entries / 2;
    uint32_t *set_of = calloc(entries, sizeof(*set_of));
    struct cell_set *set = realloc(s->set, cap * sizeof(*set));

    if (set != NULL) {
        s->set = set;
        s->cap_sets = cap;
    }
    if (set == NULL || set_of == NULL) {
        free(set_of);
        return MR_NOMEM;
    }
    for (uint32_t k = 0; k < s->n_sets; k++) {
        uint32_t i = key_place(s->set[k].key);

        while (set_of[i & (entries - 1)] != 0)
            i++;
        set_of[i & (entries - 1)] = k + 1;
    }
    free(s->set_of);
    s->set_of = set_of;
    s->set_mask = entries - 1;
    return MR_OK;
}

/* The set of a cell, new or known; NULL without memory. */
static struct cell_set *find_set(struct shard *s, uint64_t key)
{
    uint32_t i = key_place(key);

    if ((s->set_of == NULL || s->n_sets == (s->set_mask + 1) / 2) &&
        grow_sets(s) != MR_OK)
        return NULL;
    for (;; i++) {
        uint32_t *place = &s->set_of[i & s->set_mask];

        if (*place == 0) {
            s->set[s->n_sets] = (struct cell_set){.key = key};
            *place = ++s->n_sets;
        }
        if (s->set[*place - 1].key == key)
            return &s->set[*place - 1];
    }
}

/* Room for more users and their slots. */
static enum mr_status reserve(struct shard *s, uint32_t more)
{
    enum mr_status status = mr_users_reserve(&s->users, more);

    if (status == MR_OK && s->users.cap > s->cap_slots) {
        uint64_t *slot = realloc(s->slot, s->users.cap * sizeof(*slot));

        if (slot == NULL)
            return MR_NOMEM;
        s->slot = slot;
        s->cap_slots = s->users.cap;
    }
    return status;
}

/* The number of a user; a new one has no events yet. */
static uint32_t number_of(struct shard *s, uint64_t hash)
{
    uint32_t before = s->users.n, number = mr_users_add(&s->users, hash);

    if (number == before)
        s->slot[number] = MR_SESSIONS_NONE;
    return number;
}

/* Which set the tuples went to last: they come in runs of one cell. */
struct run {
    struct cell_set *set;
    uint64_t start_ms; /* of its day */
    uint32_t type;
};

static enum mr_status enter_run(
    struct shard *s, struct run *run, uint64_t time_ms, uint32_t type)
{
    int32_t day = mr_day_of((int64_t)time_ms);

    run->set = find_set(s, mr_cell_key(day, type));
    run->start_ms = (uint64_t)day * (uint64_t)MR_MS_PER_DAY;
    run->type = type;
    return run->set != NULL ? MR_OK : MR_NOMEM;
}

static enum mr_status add_group(
    struct shard *s, const struct mr_tuple *tuple, size_t n, struct run *run)
{
    enum mr_status status = reserve(s, (uint32_t)n);
    uint32_t guess[GROUP];

    for (size_t i = 0; i < n && status == MR_OK; i++)
        mr_users_prefetch(&s->users, tuple[i].user);
    for (size_t i = 0; i < n && status == MR_OK; i++) {
        guess[i] = mr_users_peek(&s->users, tuple[i].user);
        __builtin_prefetch(&s->users.hash[guess[i]]);
        __builtin_prefetch(&s->slot[guess[i]], 1);
    }
    /* A new user's guess may be any; number 0 has no slot before the first. */
    for (size_t i = 0; i < n && status == MR_OK && s->users.n > 0; i++)
        mr_sessions_prefetch(&s->sessions, s->slot[guess[i]]);
    for (size_t i = 0; i < n && status == MR_OK; i++) {
        uint64_t time_ms = mr_tuple_time(tuple[i].what);
        uint32_t type = mr_tuple_type(tuple[i].what);
        uint32_t number = number_of(s, tuple[i].user);

        if (run->set == NULL || type != run->type ||
            time_ms - run->start_ms >= (uint64_t)MR_MS_PER_DAY)
            status = enter_run(s, run, time_ms, type);
        if (status == MR_OK)
            status = mr_bitmap_add(&run->set->members, number, s->users.n);
        if (status == MR_OK)
            status = mr_sessions_add(&s->sessions, &s->slot[number], time_ms);
    }
    return status;
}

static enum mr_status add_to_shard(
    struct shard *s, const struct mr_tuple *tuple, size_t n)
{
    struct run run = {.set = NULL};
    enum mr_status status = MR_OK;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n && status == MR_OK; i += GROUP)
        status = add_group(s, tuple + i, n - i < GROUP ? n - i : GROUP, &run);
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Deal out at most PORTION tuples, then add them shard by shard. */
static enum mr_status add_portion(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n, struct mr_tuple *dealt)
{
    size_t end[SHARDS] = {0}, sum = 0;
    enum mr_status status = MR_OK;
    unsigned begin = SHARD_OF(tuple[0].user);

    for (size_t i = 0; i < n; i++)
        end[SHARD_OF(tuple[i].user)]++;
    for (unsigned s = 0; s < SHARDS; s++) {
        size_t count = end[s];

        end[s] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        dealt[end[SHARD_OF(tuple[i].user)]++] = tuple[i];
    for (unsigned k = 0; k < SHARDS && status == MR_OK; k++) {
        unsigned s = (begin + k) % SHARDS;
        size_t start = s == 0 ? 0 : end[s - 1];

        if (end[s] > start)
            status = add_to_shard(&a->shard[s], dealt + start, end[s] - start);
    }
    return status;
}

enum mr_status mr_aggregate_add(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n,
    struct mr_aggregate_scratch *scratch)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < n && status == MR_OK; i += PORTION)
        status = add_portion(
            a, tuple + i, n - i < PORTION ? n - i : PORTION, scratch->tuple);
    return status;
}

/* Members of a set of another shard, by the numbers they have in ours. */
struct renumbering {
    struct mr_bitmap *members;
    const uint32_t *number;
    uint32_t universe;
};

static enum mr_status renumber(void *context, uint32_t number)
{
    struct renumbering *r = context;

    return mr_bitmap_add(r->members, r->number[number], r->universe);
}

static enum mr_status merge_sets(
    struct shard *into, const struct shard *from, const uint32_t *number)
{
    for (uint32_t k = 0; k < from->n_sets; k++) {
        struct cell_set *set = find_set(into, from->set[k].key);
        struct renumbering r = {.number = number, .universe = into->users.n};

        if (set == NULL)
            return MR_NOMEM;
        r.members = &set->members;
        if (mr_bitmap_each(&from->set[k].members, renumber, &r) != MR_OK)
            return MR_NOMEM;
    }
    return MR_OK;
}

static enum mr_status merge_shard(struct shard *into, const struct shard *from)
{
    uint32_t n = from->users.n;
    uint32_t *number = malloc(n * sizeof(*number));
    enum mr_status status = number != NULL ? MR_OK : MR_NOMEM;

    pthread_mutex_lock(&into->lock);
    if (status == MR_OK)
        status = reserve(into, n);
    for (uint32_t i = 0; i < n && status == MR_OK; i++) {
        number[i] = number_of(into, from->users.hash[i]);
        status = mr_sessions_move(&into->sessions, &into->slot[number[i]],
            &from->sessions, from->slot[i]);
    }
    if (status == MR_OK)
        status = merge_sets(into, from, number);
    pthread_mutex_unlock(&into->lock);
    free(number);
    return status;
}

enum mr_status mr_aggregate_merge(
    struct mr_aggregate *into, const struct mr_aggregate *from)
{
    enum mr_status status = MR_OK;

    for (unsigned s = 0; s < SHARDS && status == MR_OK; s++)
        if (from->shard[s].users.n > 0)
            status = merge_shard(&into->shard[s], &from->shard[s]);
    return status;
}

struct ranked {
    uint64_t hash;
    uint32_t number;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/*
 * Sort by hash: deal out by the bits after the shard's, about one user a
 * bucket since hashes are even, then sort each bucket.  Ids made to collide
 * only cost the sorting of one big bucket.
 */
static enum mr_status sort_users(
    const struct mr_users *u, struct ranked *ranked)
{
    unsigned bits = 1;
    uint32_t *end, sum = 0;

    while (bits < 24 && (UINT32_C(1) << bits) < u->n)
        bits++;
    end = calloc((size_t)1 << bits, sizeof(*end));
    if (end == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < u->n; i++)
        end[u->hash[i] << 8 >> (64 - bits)]++;
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t count = end[k];

        end[k] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < u->n; i++)
        ranked[end[u->hash[i] << 8 >> (64 - bits)]++] =
            (struct ranked){u->hash[i], i};
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t start = k == 0 ? 0 : end[k - 1];

        if (end[k] - start > 1)
            qsort(ranked + start, end[k] - start, sizeof(*ranked),
                compare_ranked);
    }
    free(end);
    return MR_OK;
}

static enum mr_status rank_users(struct shard *s)
{
    uint32_t n = s->users.n;
    struct ranked *ranked = malloc(n * sizeof(*ranked));
    enum mr_status status = MR_NOMEM;

    s->by_rank = malloc(n * sizeof(*s->by_rank));
    s->rank = malloc(n * sizeof(*s->rank));
    s->weight = calloc(n, sizeof(*s->weight));
    if (ranked != NULL && s->by_rank != NULL && s->rank != NULL &&
        s->weight != NULL)
        status = sort_users(&s->users, ranked);
    for (uint32_t i = 0; i < n && status == MR_OK; i++) {
        s->by_rank[i] = ranked[i].number;
        s->rank[ranked[i].number] = i;
    }
    free(ranked);
    return status;
}

static enum mr_status weigh_member(void *context, uint32_t number)
{
    struct shard *s = context;

    s->weight[s->rank[number]] += MR_WEIGHT_MEMBER;
    return MR_OK;
}

/* Weights: members first, then intervals as they will be read. */
static enum mr_status weigh_users(struct shard *s)
{
    struct mr_interval *interval;

    for (uint32_t i = 0; i < s->users.n; i++) {
        size_t count = mr_sessions_count(&s->sessions, s->slot[i]);

        if (count > s->most_intervals)
            s->most_intervals = count;
    }
    for (uint32_t k = 0; k < s->n_sets; k++) {
        enum mr_status status =
            mr_bitmap_each(&s->set[k].members, weigh_member, s);

        if (status != MR_OK)
            return status;
    }
    interval = malloc(s->most_intervals * sizeof(*interval));
    if (interval == NULL)
        return MR_NOMEM;
    for (uint32_t i = 0; i < s->users.n; i++)
        s->weight[s->rank[i]] +=
            MR_WEIGHT_INTERVAL *
            (uint32_t)mr_sessions_read(&s->sessions, s->slot[i], interval);
    free(interval);
    return MR_OK;
}

enum mr_status mr_aggregate_seal(struct mr_aggregate *a, unsigned shard,
    mr_cell_number *number, void *context)
{
    struct shard *s = &a->shard[shard];
    enum mr_status status;

    if (s->users.n == 0)
        return MR_OK;
    for (uint32_t k = 0; k < s->n_sets; k++)
        s->set[k].cell = number(
            context, (int32_t)(s->set[k].key >> 32), (uint32_t)s->set[k].key);
    status = rank_users(s);
    return status != MR_OK ? status : weigh_users(s);
}

/* Where the blocks begin, one after the other; NULL out: only count. */
static size_t cut_blocks(struct mr_aggregate *a, uint64_t *out)
{
    uint64_t rank = 0, weight = 0, users = 0;
    size_t n = 0;

    for (unsigned k = 0; k < SHARDS; k++) {
        struct shard *s = &a->shard[k];

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

static enum mr_status block_part(const struct shard *s, struct stretch *t,
    struct mr_interval *interval, struct mr_block_builder *builder)
{
    enum mr_status status = MR_OK;

    t->rank = s->rank;
    t->position = (uint32_t)mr_block_builder_users(builder);
    for (uint32_t i = t->low; i < t->high && status == MR_OK; i++) {
        uint32_t number = s->by_rank[i];
        size_t n = mr_sessions_read(&s->sessions, s->slot[number], interval);

        status =
            mr_block_builder_user(builder, s->users.hash[number], interval, n);
    }
    for (uint32_t k = 0; k < s->n_sets && status == MR_OK; k++) {
        status = mr_block_builder_set(builder, s->set[k].cell, &t->set);
        if (status == MR_OK)
            status = mr_bitmap_each(&s->set[k].members, place_member, t);
    }
    return status;
}

enum mr_status mr_aggregate_block(const struct mr_aggregate *a, size_t i,
    struct mr_block_builder *builder, struct mr_user_block *block_out)
{
    uint64_t low = a->block[i], high = a->block[i + 1];
    enum mr_status status = MR_OK;

    mr_block_builder_reset(builder);
    for (unsigned k = 0; k < SHARDS && status == MR_OK; k++) {
        const struct shard *s = &a->shard[k];
        uint64_t first = s->first_rank, end = first + s->users.n;
        struct stretch t = {0};
        struct mr_interval *interval;

        if (end <= low || first >= high || s->users.n == 0)
            continue;
        t.low = (uint32_t)(low > first ? low - first : 0);
        t.high = (uint32_t)((high < end ? high : end) - first);
        interval = malloc(s->most_intervals * sizeof(*interval));
        status =
            interval == NULL ? MR_NOMEM : block_part(s, &t, interval, builder);
        free(interval);
    }
    return status != MR_OK ? status
                           : mr_block_builder_finish(builder, block_out);
}
