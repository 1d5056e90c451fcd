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

#include "mr/aggregate_private.h"

#include <stdlib.h>
#include <string.h>

#define SHARD_OF(hash) ((unsigned)((hash) >> 56))
/* Tuples that wait in a shard: half as many as it has users, within these. */
#define WAITING_MIN 4096
#define WAITING_MAX MR_SHARD_WAITING_MAX
/* Fewer are not worth going to the shard's users for. */
#define TIDY_MIN (WAITING_MIN / 8)
/* Of which a cache line holds so many. */
#define TUPLES_PER_LINE (64 / sizeof(struct mr_tuple))
/* Users whose memory is fetched ahead together. */
#define GROUP 32
/* Tuples of a user, in a row, that are many. */
#define MANY 64
/* Sorting by user takes at most so many bits; by time, pieces of 2^19 ms,
 * about nine minutes, as many as there are in a day and a half. */
#define SORT_BITS_MAX 12
#define TIME_SHIFT (MR_TUPLE_TYPE_BITS + 19)
#define TIME_BITS 8

enum mr_status mr_aggregate_new(uint64_t session_gap_ms,
    const struct mr_zone *zone, struct mr_aggregate **aggregate_out)
{
    struct mr_aggregate *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return MR_NOMEM;
    a->waiting =
        malloc(MR_AGGREGATE_SHARDS * WAITING_MIN * sizeof(*a->waiting));
    if (a->waiting == NULL) {
        free(a);
        return MR_NOMEM;
    }
    atomic_init(&a->n_lent, MR_AGGREGATE_SHARDS);
    atomic_init(&a->tidied, 0);
    for (unsigned i = 0; i < MR_AGGREGATE_SHARDS; i++) {
        struct mr_shard *s = &a->shard[i];

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

/* Nothing waits in a shard any more, or what does moves.  What all have
 * together is given back at once, by the last of them: 256 pieces would
 * interrupt all other threads as often. */
static void release_waiting(struct mr_aggregate *a, struct mr_shard *s)
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
    for (unsigned i = 0; i < MR_AGGREGATE_SHARDS; i++) {
        struct mr_shard *s = &a->shard[i];

        mr_users_release(&s->users);
        mr_pool_release(&s->pool);
        release_waiting(a, s);
        mr_cellsets_release(&s->sets);
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

/* Note that the user of a number is in a cell. */
static inline enum mr_status add_member(
    struct mr_shard *s, uint64_t day, uint32_t type, uint32_t number)
{
    return mr_cellsets_add(&s->sets, &s->pool, day, type, number, s->users.n);
}

/* Tuples of one user in a row. */
struct run {
    const struct mr_tuple *tuple;
    size_t n;
    uint32_t number; /* a guess, at first */
};

/* The next runs: at most GROUP of them, of n > 0 tuples; return the number
 * of runs. */
static size_t find_runs(const struct mr_shard *s, const struct mr_tuple *tuple,
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
static void fetch_users(const struct mr_shard *s, struct run *run, size_t n)
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

/* Stretches of a user with many tuples, which are added together: one who has
 * them at any times would have a long list moved for each else. */
struct stretches {
    uint64_t *piece; /* room for a run's; of few tuples NULL */
    size_t n;
};

static inline enum mr_status add_stretch(struct mr_shard *s, uint64_t *slot,
    uint64_t start, uint64_t end, struct stretches *many)
{
    if (many->piece == NULL)
        return mr_sessions_add(&s->sessions, slot, start, end);
    many->piece[many->n++] = mr_sessions_pack(start, end);
    return MR_OK;
}

/* Add one user's tuples.  Those that are near to each other in time, as most
 * in order of time are, reach the user's sessions as one stretch.  What is
 * only counted has no time. */
static inline __attribute__((always_inline)) enum mr_status add_tuples(
    struct mr_shard *s, const struct run *run, uint32_t number,
    struct stretches many)
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
                status = add_stretch(s, slot, start, end, &many);
            start = end = time_ms;
        } else {
            start = first;
            end = last;
        }
    }
    if (status == MR_OK && start != MR_TIME_END_MS)
        status = add_stretch(s, slot, start, end, &many);
    if (status == MR_OK && many.n > 0)
        status = mr_sessions_add_many(&s->sessions, slot, many.piece, many.n);
    return status;
}

static enum mr_status add_run(
    struct mr_shard *s, const struct run *run, uint32_t number)
{
    return add_tuples(s, run, number, (struct stretches){NULL, 0});
}

/* Apart, so that what nearly all users have is not slower for it. */
__attribute__((noinline)) static enum mr_status add_long_run(struct mr_shard *s,
    const struct run *run, uint32_t number, struct mr_tuple *spare)
{
    return add_tuples(s, run, number, (struct stretches){(uint64_t *)spare, 0});
}

/* Spare has room for as many. */
static enum mr_status add_sorted(struct mr_shard *s,
    const struct mr_tuple *tuple, size_t n, struct mr_tuple *spare)
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
            status = run[k].n < MANY ? add_run(s, &run[k], number)
                                     : add_long_run(s, &run[k], number, spare);
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
 * it does not matter for the result, but a great deal for the work.  Where
 * that fails they wait on, those that were added with the others. */
static enum mr_status add_waiting(struct mr_shard *s, struct mr_tuple *sorting)
{
    uint32_t n = s->n_waiting;
    unsigned bits = 4;
    enum mr_status status;

    while (bits < SORT_BITS_MAX && UINT32_C(1) << bits < 2 * n)
        bits++;
    sort_roughly(s->waiting, sorting, n, bits);
    status = add_sorted(s, s->waiting, n, sorting);
    if (status == MR_OK)
        s->n_waiting = 0;
    return status;
}

/* Room for more waiting tuples, if there may be many more for so many users:
 * all at once, since what is not written takes no memory. */
static enum mr_status grow_waiting(struct mr_aggregate *a, struct mr_shard *s)
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

static enum mr_status add_to_shard(struct mr_aggregate *a, struct mr_shard *s,
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

enum mr_status mr_aggregate_tidy(
    struct mr_aggregate *a, struct mr_aggregate_scratch *scratch, bool *did_out)
{
    enum mr_status status = MR_OK;

    *did_out = false;
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS && !*did_out; k++) {
        unsigned turn =
            atomic_fetch_add_explicit(&a->tidied, 1, memory_order_relaxed);
        struct mr_shard *s = &a->shard[turn % MR_AGGREGATE_SHARDS];

        if (pthread_mutex_trylock(&s->lock) != 0)
            continue;
        *did_out = s->n_waiting >= TIDY_MIN;
        if (*did_out) {
            status = add_waiting(s, scratch->sorting);
            atomic_store_explicit(
                &s->next, s->waiting + s->n_waiting, memory_order_relaxed);
        }
        pthread_mutex_unlock(&s->lock);
    }
    return status;
}

enum mr_status mr_aggregate_settle(struct mr_aggregate *a, unsigned shard,
    struct mr_aggregate_scratch *scratch)
{
    struct mr_shard *s = &a->shard[shard];
    enum mr_status status = MR_OK;

    if (s->n_waiting > 0)
        status = add_waiting(s, scratch->sorting);
    if (status == MR_OK && s->waiting != NULL)
        release_waiting(a, s);
    return status;
}

/* Fetch where tuples will be left: it is seldom in any cache by then. */
static void fetch_waiting(struct mr_shard *s, size_t n)
{
    const struct mr_tuple *next =
        atomic_load_explicit(&s->next, memory_order_relaxed);

    for (size_t i = 0; i < n; i += TUPLES_PER_LINE)
        __builtin_prefetch(
            (const void *)((uintptr_t)next + i * sizeof(*next)), 1);
}

/* Deal out at most MR_AGGREGATE_PORTION tuples, then add them shard by shard.
 */
static enum mr_status add_portion(struct mr_aggregate *a,
    const struct mr_tuple *tuple, size_t n,
    struct mr_aggregate_scratch *scratch)
{
    struct mr_tuple *dealt = scratch->dealt;
    size_t end[MR_AGGREGATE_SHARDS] = {0}, sum = 0;
    enum mr_status status = MR_OK;
    unsigned begin = SHARD_OF(tuple[0].user);

    for (size_t i = 0; i < n; i++)
        end[SHARD_OF(tuple[i].user)]++;
    for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s++) {
        size_t count = end[s];

        end[s] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        dealt[end[SHARD_OF(tuple[i].user)]++] = tuple[i];
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS && status == MR_OK; k++) {
        unsigned s = (begin + k) % MR_AGGREGATE_SHARDS,
                 after = (s + 1) % MR_AGGREGATE_SHARDS;
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
    size_t portions = (n + MR_AGGREGATE_PORTION - 1) / MR_AGGREGATE_PORTION,
           from = 0;

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
    struct mr_shard *into;
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
    struct mr_shard *into, const struct mr_shard *from, const uint32_t *number)
{
    enum mr_status status = MR_OK;

    for (uint32_t k = 0; k < from->sets.n && status == MR_OK; k++) {
        const struct mr_cell_set *set = &from->sets.set[k];
        struct renumbering r = {into, (uint64_t)mr_cell_set_day(set),
            mr_cell_set_type(set), number + mr_cell_set_first(set)};

        status = mr_bitmap_each(&from->pool, &set->members, renumber, &r);
    }
    return status;
}

static enum mr_status merge_shard(
    struct mr_shard *into, const struct mr_shard *from)
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

    for (unsigned s = 0; s < MR_AGGREGATE_SHARDS && status == MR_OK; s++) {
        status = mr_aggregate_settle(from, s, scratch);
        if (status == MR_OK && from->shard[s].users.n > 0)
            status = merge_shard(&into->shard[s], &from->shard[s]);
    }
    return status;
}
