#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * The table of users.
 *
 * It is cut into 256 shards by the top eight bits of the user hash.  A shard
 * has a lock, a table of users (mr/users.h) giving each a dense number and a
 * slot for sessions (mr/sessions.h), and exact sets of numbers (mr/bitmap.h):
 * one for each cell, that is for each day and type, and each 65,536 numbers.
 *
 *     tuples --radix by 8 bits--> shard 0: waiting --sort--> users -+> slot
 *                                 shard 1                           +> set
 *                                  ...
 *
 * Threads come with tens of thousands of tuples at a time, deal them out by
 * shard, and hold each lock for some hundreds of tuples, which they only
 * leave there; they begin at different shards.  When as many wait as a shard
 * of so many users may have, they are sorted roughly by user and time and
 * added: a user is looked up once for all his tuples, most of which join to
 * one stretch before any list of intervals is searched, and the table is
 * gone through in its own order.  What a user needs from memory is fetched
 * ahead, a group of users at a time, so that the latencies overlap.
 *
 * Memory a user: 32 bytes, 7 to 9 of the table, up to a quarter of slack; a
 * list of 8-byte pieces if there are more than three; one bit and a half for
 * each cell at most, or 4 bytes for each that the user is in if few are.
 * All lists of a shard share one pool.  Of tuples, 16 MiB wait in all, or
 * half a one a user if that is more, up to 64 MiB.  While it is being read a
 * user takes 4 bytes for its rank, and none for the table.
 *
 * The order by hash, which state files want, is made once at the end: shards
 * are already in order of their top bits, so each is sorted alone.
 */

#include "mr/aggregate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mr/bitmap.h"
#include "mr/users.h"

#define SHARDS MR_AGGREGATE_SHARDS
#define SHARD_OF(hash) ((unsigned)((hash) >> 56))
/* Tuples dealt out at a time. */
#define PORTION ((size_t)65536)
/* Tuples that wait in a shard: half as many as it has users, within these. */
#define WAITING_MIN 4096
#define WAITING_MAX 16384
/* Of which a cache line holds so many. */
#define TUPLES_PER_LINE (64 / sizeof(struct mr_tuple))
/* Users whose memory is fetched ahead together. */
#define GROUP 32
/* Sorting by user takes at most so many bits; by time, pieces of 2^19 ms,
 * about nine minutes, as many as there are in a day and a half. */
#define SORT_BITS_MAX 12
#define TIME_SHIFT (MR_TUPLE_TYPE_BITS + 19)
#define TIME_BITS 8

/* The members of a cell among the 65,536 numbers of a chunk. */
struct cell_set {
    uint64_t key;
    struct mr_bitmap members;
};

struct shard {
    pthread_mutex_t lock;
    const struct mr_zone *zone;
    struct mr_tuple *waiting;
    uint32_t n_waiting, cap_waiting;
    bool is_lent; /* it lies in what the aggregate has for all shards */
    /* Where the next will wait; read without the lock, as a hint. */
    struct mr_tuple *_Atomic next;
    struct mr_users users;
    struct mr_pool pool; /* of the sessions and the sets */
    struct mr_sessions sessions;
    struct cell_set *set;
    uint32_t n_sets, cap_sets;
    uint32_t *set1; /* open-addressed: the number of a set + 1, 0: free */
    uint32_t set_mask;
    /* Sealed: ranks by number, weights by rank, and the cells' numbers by
     * set. */
    uint32_t *rank;
    uint32_t *weight;
    uint32_t *cell;
    uint64_t first_rank; /* of the whole table */
    size_t most_intervals;
};

struct mr_aggregate {
    struct shard shard[SHARDS];
    /* Where tuples wait while it is few; shards that still use it. */
    struct mr_tuple *waiting;
    atomic_uint n_lent;
    uint64_t n_users;
    uint64_t *block; /* first rank of each block, and the end */
    size_t n_blocks;
};

struct ranked {
    uint64_t hash;
    uint32_t number;
};

struct mr_aggregate_scratch {
    struct mr_tuple dealt[PORTION];
    struct mr_tuple sorting[WAITING_MAX];
    uint16_t member[MR_BITMAP_NUMBERS]; /* of a set that is moved */
    struct ranked *ranked;              /* users of a shard that is sealed */
    uint32_t cap_ranked;
};

enum mr_status mr_aggregate_new(uint64_t session_gap_ms,
    const struct mr_zone *zone, struct mr_aggregate **aggregate_out)
{
    struct mr_aggregate *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return MR_NOMEM;
    a->waiting = malloc(SHARDS * WAITING_MIN * sizeof(*a->waiting));
    if (a->waiting == NULL) {
        free(a);
        return MR_NOMEM;
    }
    atomic_init(&a->n_lent, SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &a->shard[i];

        pthread_mutex_init(&s->lock, NULL);
        s->zone = zone;
        s->sessions = (struct mr_sessions){session_gap_ms, &s->pool};
        s->waiting = a->waiting + i * WAITING_MIN;
        s->cap_waiting = WAITING_MIN;
        s->is_lent = true;
    }
    *aggregate_out = a;
    return MR_OK;
}

void mr_aggregate_unseal(struct mr_aggregate *a)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &a->shard[i];

        free(s->rank);
        free(s->weight);
        free(s->cell);
        s->rank = s->weight = s->cell = NULL;
    }
    free(a->block);
    a->block = NULL;
}

/* Nothing waits in a shard any more, or what does moves.  What all have
 * together is given back at once, by the last of them: 256 pieces would
 * interrupt all other threads as often. */
static void release_waiting(struct mr_aggregate *a, struct shard *s)
{
    if (!s->is_lent) {
        free(s->waiting);
    } else if (atomic_fetch_sub(&a->n_lent, 1) == 1) {
        free(a->waiting);
        a->waiting = NULL;
    }
    s->is_lent = false;
    s->waiting = NULL;
    s->cap_waiting = 0;
}

void mr_aggregate_free(struct mr_aggregate *a)
{
    if (a == NULL)
        return;
    mr_aggregate_unseal(a);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &a->shard[i];

        mr_users_release(&s->users);
        mr_pool_release(&s->pool);
        release_waiting(a, s);
        free(s->set);
        free(s->set1);
        pthread_mutex_destroy(&s->lock);
    }
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
    if (*scratch_out == NULL)
        return MR_NOMEM;
    (*scratch_out)->ranked = NULL;
    (*scratch_out)->cap_ranked = 0;
    return MR_OK;
}

void mr_aggregate_scratch_free(struct mr_aggregate_scratch *s)
{
    if (s != NULL)
        free(s->ranked);
    free(s);
}

/* ---- adding ---- */

/*
 *    63      46 45    29 28  21 20   0
 *   |    0     |  day  |chunk | type |      days are below 2^17
 */
#define KEY_CHUNK_SHIFT MR_TUPLE_TYPE_BITS
#define KEY_DAY_SHIFT (MR_TUPLE_TYPE_BITS + 8)

static uint64_t set_key(uint64_t day, uint32_t type, uint32_t number)
{
    return day << KEY_DAY_SHIFT |
           (uint64_t)(number / MR_BITMAP_NUMBERS) << KEY_CHUNK_SHIFT | type;
}

static int32_t key_day(uint64_t key)
{
    return (int32_t)(key >> KEY_DAY_SHIFT);
}

static uint32_t key_type(uint64_t key)
{
    return mr_tuple_type(key);
}

static uint32_t key_first(uint64_t key)
{
    return (uint32_t)(key >> KEY_CHUNK_SHIFT & 0xff) * MR_BITMAP_NUMBERS;
}

static uint32_t key_place(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Where the number of a set with that key stands, or would. */
static inline uint32_t *find_place(const struct shard *s, uint64_t key)
{
    for (uint32_t i = key_place(key);; i++) {
        uint32_t *set1 = &s->set1[i & s->set_mask];

        if (*set1 == 0 || s->set[*set1 - 1].key == key)
            return set1;
    }
}

/* Twice the places for numbers of sets. */
static enum mr_status grow_places(struct shard *s)
{
    uint32_t n = s->set1 == NULL ? 16 : 2 * (s->set_mask + 1);
    uint32_t *set1 = calloc(n, sizeof(*set1));

    if (set1 == NULL)
        return MR_NOMEM;
    free(s->set1);
    s->set1 = set1;
    s->set_mask = n - 1;
    for (uint32_t k = 0; k < s->n_sets; k++)
        *find_place(s, s->set[k].key) = k + 1;
    return MR_OK;
}

static enum mr_status grow_sets(struct shard *s)
{
    uint32_t cap = s->cap_sets + s->cap_sets / 4 + 8;
    struct cell_set *set = realloc(s->set, cap * sizeof(*set));

    if (set == NULL)
        return MR_NOMEM;
    s->set = set;
    s->cap_sets = cap;
    return MR_OK;
}

/* A set that is not known: NULL without memory. */
static struct cell_set *new_set(struct shard *s, uint64_t key)
{
    if ((s->set1 == NULL || s->n_sets > s->set_mask / 2) &&
        grow_places(s) != MR_OK)
        return NULL;
    if (s->n_sets == s->cap_sets && grow_sets(s) != MR_OK)
        return NULL;
    s->set[s->n_sets] = (struct cell_set){.key = key};
    *find_place(s, key) = s->n_sets + 1;
    return &s->set[s->n_sets++];
}

/* The set with that key, new or known; NULL without memory.  There is
 * always a free place. */
static inline struct cell_set *find_set(struct shard *s, uint64_t key)
{
    uint32_t set1 = s->set1 == NULL ? 0 : *find_place(s, key);

    return set1 != 0 ? &s->set[set1 - 1] : new_set(s, key);
}

/* Note that the user of a number is in a cell. */
static inline enum mr_status add_member(
    struct shard *s, uint64_t day, uint32_t type, uint32_t number)
{
    struct cell_set *set = find_set(s, set_key(day, type, number));
    uint32_t low = number % MR_BITMAP_NUMBERS;
    uint32_t universe = s->users.n - (number - low);

    if (set == NULL)
        return MR_NOMEM;
    return mr_bitmap_add(&s->pool, &set->members, low,
        universe < MR_BITMAP_NUMBERS ? universe : MR_BITMAP_NUMBERS);
}

/* Tuples of one user in a row. */
struct run {
    const struct mr_tuple *tuple;
    size_t n;
    uint32_t number; /* a guess, at first */
};

/* The next runs: at most GROUP of them, of n > 0 tuples; return the number
 * of runs. */
static size_t find_runs(const struct shard *s, const struct mr_tuple *tuple,
    size_t n, struct run run[GROUP])
{
    size_t n_runs = 0, i = 0;

    while (i < n && n_runs < GROUP) {
        size_t first = i;

        mr_users_prefetch(&s->users, tuple[i].user);
        while (++i < n && tuple[i].user == tuple[first].user)
            ;
        run[n_runs++] = (struct run){tuple + first, i - first, 0};
    }
    return n_runs;
}

/* Guess the users' numbers, and fetch what will be needed. */
static void fetch_users(const struct shard *s, struct run *run, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        run[i].number = mr_users_peek(&s->users, run[i].tuple->user);
        /* A number that is none is fetched, too: that does nothing. */
        __builtin_prefetch(
            (const void *)((uintptr_t)s->users.user +
                           (uintptr_t)run[i].number * sizeof(struct mr_user)),
            1);
    }
    for (size_t i = 0; i < n; i++)
        if (run[i].number != MR_USERS_NONE)
            mr_sessions_prefetch(
                &s->sessions, s->users.user[run[i].number].slot);
}

/* Add one user's tuples.  Those that are near to each other in time, as most
 * in order of time are, reach the user's sessions as one stretch.  What is
 * only counted has no time. */
static enum mr_status add_run(
    struct shard *s, const struct run *run, uint32_t number)
{
    const uint64_t gap_ms = s->sessions.gap_ms;
    uint64_t *slot = s->users.user[number].slot;
    uint64_t start = MR_TIME_END_MS, end = start;
    struct mr_zone_span day = {0};
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < run->n && status == MR_OK; i++) {
        uint64_t time_ms = mr_tuple_time(run->tuple[i].what);
        uint64_t first = time_ms < start ? time_ms : start;
        uint64_t last = time_ms > end ? time_ms : end;

        if (time_ms == MR_TIME_END_MS) {
            status = add_member(
                s, MR_DAY_END, mr_tuple_type(run->tuple[i].what), number);
            continue;
        }
        if (!mr_zone_span_has(&day, (int64_t)time_ms))
            mr_zone_day_span(s->zone, (int64_t)time_ms, &day);
        status = add_member(
            s, (uint64_t)day.day, mr_tuple_type(run->tuple[i].what), number);
        if (start == MR_TIME_END_MS) {
            start = end = time_ms;
        } else if (time_ms + gap_ms - start > end - start + 2 * gap_ms ||
                   last - first > MR_SESSIONS_LENGTH_MAX) {
            if (status == MR_OK)
                status = mr_sessions_add(&s->sessions, slot, start, end);
            start = end = time_ms;
        } else {
            start = first;
            end = last;
        }
    }
    if (status == MR_OK && start != MR_TIME_END_MS)
        status = mr_sessions_add(&s->sessions, slot, start, end);
    return status;
}

static enum mr_status add_sorted(
    struct shard *s, const struct mr_tuple *tuple, size_t n)
{
    enum mr_status status = MR_OK;
    struct run run[GROUP];

    for (size_t i = 0; i < n && status == MR_OK;) {
        size_t n_runs;

        status = mr_users_reserve(&s->users, GROUP);
        if (status != MR_OK)
            break;
        n_runs = find_runs(s, tuple + i, n - i, run);
        fetch_users(s, run, n_runs);
        for (size_t k = 0; k < n_runs && status == MR_OK; k++) {
            uint32_t number = run[k].number;

            if (number == MR_USERS_NONE ||
                s->users.user[number].hash != run[k].tuple->user)
                number = mr_users_add(&s->users, run[k].tuple->user);
            status = add_run(s, &run[k], number);
            i += run[k].n;
        }
    }
    return status;
}

/* ---- waiting ---- */

/* Where each of n groups begins, from how many are in each. */
static void begin_groups(uint32_t *group, size_t n)
{
    uint32_t sum = 0;

    for (size_t k = 0; k < n; k++) {
        uint32_t count = group[k];

        group[k] = sum;
        sum += count;
    }
}

/* Sort roughly: stably by bits of the time, then by bits of the user.  How
 * many each has is counted for both at once. */
static void sort_roughly(
    struct mr_tuple *tuple, struct mr_tuple *sorting, size_t n, unsigned bits)
{
    uint32_t time[1 << TIME_BITS] = {0}, user[1 << SORT_BITS_MAX];
    const unsigned shift = 56 - bits;
    const uint32_t mask = (UINT32_C(1) << bits) - 1;

    memset(user, 0, (mask + 1) * sizeof(*user));
    for (size_t i = 0; i < n; i++) {
        time[(uint8_t)(tuple[i].what >> TIME_SHIFT)]++;
        user[tuple[i].user >> shift & mask]++;
    }
    begin_groups(time, 1 << TIME_BITS);
    begin_groups(user, mask + 1);
    for (size_t i = 0; i < n; i++)
        sorting[time[(uint8_t)(tuple[i].what >> TIME_SHIFT)]++] = tuple[i];
    for (size_t i = 0; i < n; i++)
        tuple[user[sorting[i].user >> shift & mask]++] = sorting[i];
}

/* Add the waiting tuples.  First they are roughly sorted, by user and time:
 * it does not matter for the result, but a great deal for the work. */
static enum mr_status add_waiting(struct shard *s, struct mr_tuple *sorting)
{
    uint32_t n = s->n_waiting;
    unsigned bits = 4;

    s->n_waiting = 0;
    while (bits < SORT_BITS_MAX && UINT32_C(1) << bits < 2 * n)
        bits++;
    sort_roughly(s->waiting, sorting, n, bits);
    return add_sorted(s, s->waiting, n);
}

/* Room for more waiting tuples, if there may be many more for so many users:
 * all at once, since what is not written takes no memory. */
static enum mr_status grow_waiting(struct mr_aggregate *a, struct shard *s)
{
    uint32_t cap = s->users.n / 2;
    struct mr_tuple *waiting;

    cap = cap > WAITING_MIN ? cap : WAITING_MIN;
    cap = cap < WAITING_MAX ? cap : WAITING_MAX;
    if (cap <= s->cap_waiting + s->cap_waiting / 4)
        return MR_OK;
    waiting = realloc(s->is_lent ? NULL : s->waiting, cap * sizeof(*waiting));
    if (waiting == NULL)
        return MR_NOMEM;
    if (s->is_lent) {
        memcpy(waiting, s->waiting, s->n_waiting * sizeof(*waiting));
        release_waiting(a, s);
    }
    s->waiting = waiting;
    s->cap_waiting = cap;
    return MR_OK;
}

static enum mr_status add_to_shard(struct mr_aggregate *a, struct shard *s,
    const struct mr_tuple *tuple, size_t n, struct mr_tuple *sorting)
{
    enum mr_status status = MR_OK;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n && status == MR_OK;) {
        size_t room, some;

        if (s->n_waiting == s->cap_waiting)
            status = grow_waiting(a, s);
        if (s->n_waiting == s->cap_waiting && status == MR_OK)
            status = add_waiting(s, sorting);
        if (status != MR_OK)
            break;
        room = s->cap_waiting - s->n_waiting;
        some = n - i < room ? n - i : room;
        memcpy(s->waiting + s->n_waiting, tuple + i, some * sizeof(*tuple));
        s->n_waiting += (uint32_t)some;
        i += some;
    }
    atomic_store_explicit(
        &s->next, s->waiting + s->n_waiting, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return status;
}

enum mr_status mr_aggregate_settle(struct mr_aggregate *a, unsigned shard,
    struct mr_aggregate_scratch *scratch)
{
    struct shard *s = &a->shard[shard];
    enum mr_status status = MR_OK;

    if (s->n_waiting > 0)
        status = add_waiting(s, scratch->sorting);
    if (s->waiting != NULL)
        release_waiting(a, s);
    return status;
}

/* Fetch where tuples will be left: it is seldom in any cache by then. */
static void fetch_waiting(struct shard *s, size_t n)
{
    const struct mr_tuple *next =
        atomic_load_explicit(&s->next, memory_order_relaxed);

    for (size_t i = 0; i < n; i += TUPLES_PER_LINE)
        __builtin_prefetch(
            (const void *)((uintptr_t)next + i * sizeof(*next)), 1);
}

/* Deal out at most PORTION tuples, then add them shard by shard. */
static enum mr_status add_portion(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n,
    struct mr_aggregate_scratch *scratch)
{
    struct mr_tuple *dealt = scratch->dealt;
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
        unsigned s = (begin + k) % SHARDS, after = (s + 1) % SHARDS;
        size_t start = s == 0 ? 0 : end[s - 1];

        fetch_waiting(&a->shard[after], end[after] - (after == 0 ? 0 : end[s]));
        if (end[s] > start)
            status = add_to_shard(a, &a->shard[s], dealt + start,
                end[s] - start, scratch->sorting);
    }
    return status;
}

enum mr_status mr_aggregate_add(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n,
    struct mr_aggregate_scratch *scratch)
{
    enum mr_status status = MR_OK;
    size_t portions = (n + PORTION - 1) / PORTION, from = 0;

    /* Equal ones: the more tuples meet in a shard, the better. */
    for (size_t i = 0; i < portions && status == MR_OK; i++) {
        size_t to = n / portions * (i + 1) + n % portions * (i + 1) / portions;

        status = add_portion(a, tuple + from, to - from, scratch);
        from = to;
    }
    return status;
}

/* ---- merging ---- */

/* Members of a set of another shard, by the numbers they have in ours. */
struct renumbering {
    struct shard *into;
    uint64_t day;
    uint32_t type;
    const uint32_t *number; /* of the set's first */
};

static enum mr_status renumber(void *context, uint32_t number)
{
    struct renumbering *r = context;

    return add_member(r->into, r->day, r->type, r->number[number]);
}

static enum mr_status merge_sets(
    struct shard *into, const struct shard *from, const uint32_t *number)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < from->n_sets && status == MR_OK; k++) {
        uint64_t key = from->set[k].key;
        struct renumbering r = {into, (uint64_t)key_day(key), key_type(key),
            number + key_first(key)};

        status =
            mr_bitmap_each(&from->pool, &from->set[k].members, renumber, &r);
    }
    return status;
}

static enum mr_status merge_shard(struct shard *into, const struct shard *from)
{
    uint32_t n = from->users.n;
    uint32_t *number = malloc((n + 1) * sizeof(*number));
    enum mr_status status;

    if (number == NULL)
        return MR_NOMEM;
    pthread_mutex_lock(&into->lock);
    status = mr_users_reserve(&into->users, n);
    for (uint32_t i = 0; i < n && status == MR_OK; i++) {
        const struct mr_user *user = &from->users.user[i];

        number[i] = mr_users_add(&into->users, user->hash);
        status = mr_sessions_move(&into->sessions,
            into->users.user[number[i]].slot, &from->sessions, user->slot);
    }
    if (status == MR_OK)
        status = merge_sets(into, from, number);
    pthread_mutex_unlock(&into->lock);
    free(number);
    return status;
}

enum mr_status mr_aggregate_merge(struct mr_aggregate *into,
    struct mr_aggregate *from, struct mr_aggregate_scratch *scratch)
{
    enum mr_status status = MR_OK;

    for (unsigned s = 0; s < SHARDS && status == MR_OK; s++) {
        status = mr_aggregate_settle(from, s, scratch);
        if (status == MR_OK && from->shard[s].users.n > 0)
            status = merge_shard(&into->shard[s], &from->shard[s]);
    }
    return status;
}

/* ---- sealing ---- */

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
        end[u->user[i].hash << 8 >> (64 - bits)]++;
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t count = end[k];

        end[k] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < u->n; i++)
        ranked[end[u->user[i].hash << 8 >> (64 - bits)]++] =
            (struct ranked){u->user[i].hash, i};
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
    struct ranked *ranked;

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
    struct shard *s, struct mr_aggregate_scratch *scratch)
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

static enum mr_status weigh_sets(struct shard *s)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < s->n_sets && status == MR_OK; k++) {
        struct weighing w = {s->weight, s->rank + key_first(s->set[k].key)};

        mr_bitmap_settle(&s->pool, &s->set[k].members);
        status = mr_bitmap_each(&s->pool, &s->set[k].members, weigh_member, &w);
    }
    return status;
}

/* Weigh intervals as they will be read. */
static enum mr_status weigh_intervals(struct shard *s)
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

/* Move the members of one set to that of another text of its day. */
static enum mr_status move_members(
    struct shard *s, uint64_t key, uint32_t type, struct noted *noted)
{
    struct cell_set *set = find_set(s, key);
    enum mr_status status;

    noted->n = 0;
    mr_bitmap_settle(&s->pool, &set->members);
    status = mr_bitmap_each(&s->pool, &set->members, note_member, noted);
    if (set->members.class1 != 0)
        mr_pool_give(&s->pool, set->members.class1 - 1u, set->members.place);
    memset(&set->members, 0, sizeof(set->members));
    for (uint32_t i = 0; i < noted->n && status == MR_OK; i++)
        status = add_member(
            s, (uint64_t)key_day(key), type, key_first(key) + noted->number[i]);
    return status;
}

/* Make one group of all that are not kept. */
static enum mr_status join_dropped(struct shard *s,
    struct mr_aggregate_scratch *scratch, const struct mr_types *types)
{
    struct noted noted = {.number = scratch->member};
    enum mr_status status = MR_OK;

    /* Sets that come meanwhile are of such a group. */
    for (uint32_t k = 0, n = s->n_sets; k < n && status == MR_OK; k++) {
        uint64_t key = s->set[k].key;
        uint32_t type = key_type(key);

        if (key_day(key) == MR_DAY_END && mr_types_final(types, type) != type)
            status = move_members(s, key, mr_types_final(types, type), &noted);
    }
    return status;
}

/* Note the cell number of each set. */
static enum mr_status number_sets(
    struct shard *s, mr_cell_number *number, void *context)
{
    s->cell = malloc((s->n_sets + 1) * sizeof(*s->cell));
    if (s->cell == NULL)
        return MR_NOMEM;
    for (uint32_t k = 0; k < s->n_sets; k++)
        s->cell[k] =
            number(context, key_day(s->set[k].key), key_type(s->set[k].key));
    return MR_OK;
}

enum mr_status mr_aggregate_seal(struct mr_aggregate *a, unsigned shard,
    struct mr_aggregate_scratch *scratch, const struct mr_types *types,
    mr_cell_number *number, void *context)
{
    struct shard *s = &a->shard[shard];
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
    for (unsigned k = 0; k < SHARDS; k++) {
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
static uint32_t *stretch_numbers(const struct shard *s, const struct stretch *t)
{
    uint32_t *number = malloc((t->high - t->low) * sizeof(*number));

    for (uint32_t i = 0; number != NULL && i < s->users.n; i++)
        if (s->rank[i] >= t->low && s->rank[i] < t->high)
            number[s->rank[i] - t->low] = i;
    return number;
}

static enum mr_status stretch_users(const struct shard *s,
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

static enum mr_status stretch_sets(
    const struct shard *s, struct stretch *t, struct mr_block_builder *builder)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < s->n_sets && status == MR_OK; k++) {
        const struct cell_set *set = &s->set[k];

        t->rank = s->rank + key_first(set->key);
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
    for (unsigned k = 0; k < SHARDS && status == MR_OK; k++) {
        const struct shard *s = &a->shard[k];
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
