#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/aggregate_private.h"
#include "mr/coverage.h"
#include "tests/unit/random.h"

/*
 * Random events go through the table of users, by several threads and
 * detours, and come back as blocks; a model made by sorting the same events
 * says what the blocks must be, where each begins included.  Blocks made of
 * parts of others are compared with a table of truth values.
 */

/* ---- the model ---- */

struct member {
    uint32_t user, cell;
};

struct model {
    uint64_t gap_ms;
    struct mr_cell *cell; /* ascending; type as in the tuples */
    size_t n_cells, n_users;
    uint64_t *hash;
    uint32_t *first; /* n_users + 1, into interval */
    struct mr_interval *interval;
    struct member *member; /* ascending by user, cell */
    size_t n_members;
    size_t *first_member; /* n_users + 1 */
};

static void *room(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);

    assert_non_null(p);
    return p;
}

static int by_user_and_time(const void *a, const void *b)
{
    const struct mr_tuple *x = a, *y = b;

    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return x->what < y->what ? -1 : x->what > y->what;
}

static int by_day_and_type(const void *a, const void *b)
{
    const struct mr_cell *x = a, *y = b;

    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return x->type < y->type ? -1 : x->type > y->type;
}

static int by_user_and_cell(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

static struct mr_cell cell_of(const struct mr_tuple *t)
{
    return (struct mr_cell){
        (int32_t)((t->what >> 21) / 86400000), (uint32_t)(t->what & 0x1fffff)};
}

/* Called by many threads at a time. */
static uint32_t number_of(void *context, int32_t day, uint32_t type)
{
    const struct model *m = context;
    struct mr_cell cell = {day, type};
    const struct mr_cell *found =
        bsearch(&cell, m->cell, m->n_cells, sizeof cell, by_day_and_type);

    return found == NULL ? UINT32_MAX : (uint32_t)(found - m->cell);
}

static void model_cells(struct model *m, const struct mr_tuple *t, size_t n)
{
    struct mr_cell *all = room(n, sizeof *all);

    for (size_t i = 0; i < n; i++)
        all[i] = cell_of(&t[i]);
    qsort(all, n, sizeof *all, by_day_and_type);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_day_and_type(&all[i], &all[m->n_cells - 1]) != 0)
            all[m->n_cells++] = all[i];
    m->cell = all;
}

static void model_members(struct model *m)
{
    size_t n = 0;

    qsort(m->member, m->n_members, sizeof *m->member, by_user_and_cell);
    for (size_t i = 0; i < m->n_members; i++)
        if (i == 0 || by_user_and_cell(&m->member[i], &m->member[n - 1]) != 0)
            m->member[n++] = m->member[i];
    m->n_members = n;
    m->first_member = room(m->n_users + 1, sizeof *m->first_member);
    for (size_t i = 0; i < n; i++)
        m->first_member[m->member[i].user + 1] = i + 1;
}

static void model_new(
    struct model *m, const struct mr_tuple *tuple, size_t n, uint64_t gap_ms)
{
    struct mr_tuple *t = room(n, sizeof *t);

    memset(m, 0, sizeof *m);
    m->gap_ms = gap_ms;
    memcpy(t, tuple, n * sizeof *t);
    model_cells(m, t, n);
    qsort(t, n, sizeof *t, by_user_and_time);
    m->hash = room(n, sizeof *m->hash);
    m->first = room(n + 1, sizeof *m->first);
    m->interval = room(n, sizeof *m->interval);
    m->member = room(n, sizeof *m->member);
    for (size_t i = 0; i < n; i++) {
        int64_t time = (int64_t)(t[i].what >> 21);
        struct mr_cell c = cell_of(&t[i]);
        bool is_new = i == 0 || t[i].user != t[i - 1].user;
        uint32_t *k;

        if (is_new) {
            m->hash[m->n_users++] = t[i].user;
            m->first[m->n_users] = m->first[m->n_users - 1];
        }
        k = &m->first[m->n_users];
        if (is_new || (uint64_t)(time - m->interval[*k - 1].end_ms) > gap_ms)
            m->interval[(*k)++].start_ms = time;
        m->interval[*k - 1].end_ms = time;
        m->member[m->n_members++] = (struct member){
            (uint32_t)m->n_users - 1, number_of(m, c.day, c.type)};
    }
    model_members(m);
    free(t);
}

static void model_free(struct model *m)
{
    free(m->cell);
    free(m->hash);
    free(m->first);
    free(m->interval);
    free(m->member);
    free(m->first_member);
}

/* The first user of each block, by the words of docs/state-format.md. */
static size_t model_cut(const struct model *m, size_t *start)
{
    uint64_t weight = 0;
    size_t n = 0;

    for (size_t u = 0; u < m->n_users; u++) {
        uint64_t own = 8 * (uint64_t)(m->first[u + 1] - m->first[u]) +
                       (m->first_member[u + 1] - m->first_member[u]);

        if (u == 0 || u - start[n - 1] == 65536 ||
            weight + own > (UINT64_C(1) << 24)) {
            start[n++] = u;
            weight = 0;
        }
        weight += own;
    }
    start[n] = m->n_users;
    return n;
}

/* ---- comparing a block; 0, or the line that found a difference ---- */

#define MUST(what)                                                             \
    do {                                                                       \
        if (!(what))                                                           \
            return __LINE__;                                                   \
    } while (0)

static int check_member(
    const struct model *m, size_t low, size_t high, size_t at, uint32_t cell)
{
    struct member want = {(uint32_t)(low + at), cell};

    MUST(low + at < high);
    MUST(bsearch(&want, m->member, m->n_members, sizeof want,
             by_user_and_cell) != NULL);
    return 0;
}

/* Each member is one of the model's; so when there are as many, they are
 * those. */
static int check_set(const struct model *m, size_t low, size_t high,
    const struct mr_user_set *set)
{
    uint32_t n = 0;
    int wrong = 0;

    MUST(set->n > 0);
    MUST((set->words != NULL) != (set->list != NULL));
    MUST(set->words != NULL || set->n <= 4096);
    for (uint32_t i = 0; set->list != NULL && i < set->n && !wrong; i++) {
        MUST(i == 0 || set->list[i - 1] < set->list[i]);
        wrong = check_member(m, low, high, set->list[i], set->cell);
        n++;
    }
    for (size_t i = 0; set->words != NULL && i < 65536 && !wrong; i++) {
        if ((set->words[i / 64] >> (i % 64) & 1) == 0)
            continue;
        wrong = check_member(m, low, high, i, set->cell);
        n++;
    }
    MUST(wrong != 0 || n == set->n);
    return wrong;
}

static int check_block(const struct model *m, size_t low, size_t high,
    const struct mr_user_block *b)
{
    size_t members = 0;

    MUST(b->n == high - low);
    MUST(memcmp(b->hash, m->hash + low, b->n * sizeof *b->hash) == 0);
    for (size_t i = 0; i < b->n; i++) {
        const struct mr_interval *want = m->interval + m->first[low + i];
        uint32_t n = m->first[low + i + 1] - m->first[low + i];

        MUST(b->first[i + 1] - b->first[i] == n);
        for (uint32_t k = 0; k < n; k++) {
            MUST(b->interval[b->first[i] + k].start_ms == want[k].start_ms);
            MUST(b->interval[b->first[i] + k].end_ms == want[k].end_ms);
        }
    }
    for (size_t k = 0; k < b->n_sets; k++) {
        int wrong = check_set(m, low, high, &b->sets[k]);

        MUST(k == 0 || b->sets[k - 1].cell < b->sets[k].cell);
        MUST(b->sets[k].cell < m->n_cells);
        if (wrong != 0)
            return wrong;
        members += b->sets[k].n;
    }
    MUST(members == m->first_member[high] - m->first_member[low]);
    return 0;
}

/* ---- threads ---- */

#define THREADS_MAX 4

/* As many numbers as any test has; none is a group of a rollup. */
static struct mr_types *no_types;
static struct mr_zone *zone;

struct worker {
    struct mr_aggregate *a;
    const struct mr_tuple *tuple;
    size_t n, portion;
    const struct model *model;
    const size_t *start;
    size_t n_blocks;
    unsigned index, threads;
    bool tidies;
    int wrong; /* line */
};

static int add_all(struct worker *w)
{
    struct mr_aggregate_scratch *scratch;
    enum mr_status status = mr_aggregate_scratch_new(&scratch);
    bool did;

    MUST(status == MR_OK);
    for (size_t i = 0; i < w->n && status == MR_OK; i += w->portion) {
        status = mr_aggregate_add(w->a, w->tuple + i,
            w->n - i < w->portion ? w->n - i : w->portion, scratch);
        if (status == MR_OK && w->tidies)
            status = mr_aggregate_tidy(w->a, scratch, &did);
    }
    mr_aggregate_scratch_free(scratch);
    MUST(status == MR_OK);
    return 0;
}

static void *add_thread(void *context)
{
    struct worker *w = context;

    w->wrong = add_all(w);
    return NULL;
}

static void *seal_thread(void *context)
{
    struct worker *w = context;
    struct model *m = (struct model *)(uintptr_t)w->model; /* only read */
    struct mr_aggregate_scratch *scratch;

    if (mr_aggregate_scratch_new(&scratch) != MR_OK)
        w->wrong = __LINE__;
    for (unsigned s = w->index; s < MR_AGGREGATE_SHARDS; s += w->threads)
        if (mr_aggregate_seal(w->a, s, scratch, no_types, number_of, m) !=
            MR_OK)
            w->wrong = __LINE__;
    mr_aggregate_scratch_free(scratch);
    return NULL;
}

/* Every block that is due, the last first, all in one builder. */
static int read_blocks(struct worker *w)
{
    struct mr_block_builder *builder;
    int wrong = 0;

    MUST(mr_block_builder_new(w->model->n_cells, &builder) == MR_OK);
    for (size_t i = w->n_blocks; i-- > 0 && wrong == 0;) {
        struct mr_user_block block;

        if (i % w->threads != w->index)
            continue;
        wrong =
            mr_aggregate_block(w->a, i, builder, &block) == MR_OK
                ? check_block(w->model, w->start[i], w->start[i + 1], &block)
                : __LINE__;
    }
    mr_block_builder_free(builder);
    return wrong;
}

static void *read_thread(void *context)
{
    struct worker *w = context;

    w->wrong = read_blocks(w);
    return NULL;
}

static void run(struct worker *w, unsigned threads, void *(*f)(void *))
{
    pthread_t thread[THREADS_MAX];

    for (unsigned t = 0; t < threads; t++) {
        w[t].index = t;
        w[t].threads = threads;
        w[t].wrong = 0;
        assert_int_equal(pthread_create(&thread[t], NULL, f, &w[t]), 0);
    }
    for (unsigned t = 0; t < threads; t++) {
        assert_int_equal(pthread_join(thread[t], NULL), 0);
        if (w[t].wrong != 0)
            fail_msg("line %d", w[t].wrong);
    }
}

/* ---- aggregates against the model ---- */

static void shuffle(struct mr_tuple *t, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        size_t k = i + any(n - i);
        struct mr_tuple swap = t[i];

        t[i] = t[k];
        t[k] = swap;
    }
}

/* Threads add their shares; some go by way of an aggregate that is merged,
 * some twice. */
static void fill(struct mr_aggregate *a, const struct mr_tuple *tuple, size_t n,
    unsigned threads, unsigned detours, uint64_t gap_ms)
{
    struct mr_aggregate *staged[THREADS_MAX] = {NULL};
    struct mr_aggregate_scratch *scratch;
    struct worker w[THREADS_MAX];
    size_t at = 0;

    for (unsigned t = 0; t < threads; t++) {
        size_t own = t + 1 == threads ? n - at : any(n - at + 1);

        if (t < detours)
            assert_int_equal(mr_aggregate_new(gap_ms, zone, &staged[t]), MR_OK);
        w[t] = (struct worker){.a = t < detours ? staged[t] : a,
            .tuple = tuple + at,
            .n = own,
            .portion = any(3) == 0 ? 300000 : 1 + any(5000),
            .tidies = any(2) == 0};
        at += own;
    }
    run(w, threads, add_thread);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    for (unsigned t = 0; t < detours; t++) {
        assert_int_equal(mr_aggregate_merge(a, staged[t], scratch), MR_OK);
        if (t % 2 == 1) /* once more, and from another */
            assert_int_equal(mr_aggregate_merge(a, staged[t], scratch), MR_OK);
        mr_aggregate_free(staged[t]);
    }
    /* Any shards at any time, as often as one likes. */
    for (unsigned k = any(2) * MR_AGGREGATE_SHARDS; k > 0; k--)
        assert_int_equal(
            mr_aggregate_settle(a, (unsigned)any(MR_AGGREGATE_SHARDS), scratch),
            MR_OK);
    mr_aggregate_scratch_free(scratch);
}

/* Read an aggregate to which these tuples have been added; return the number
 * of blocks. */
static size_t check(struct mr_aggregate *a, const struct mr_tuple *tuple,
    size_t n, unsigned threads, uint64_t gap_ms)
{
    struct worker w[THREADS_MAX];
    struct model m;
    size_t *start, n_blocks, want;

    model_new(&m, tuple, n, gap_ms);
    start = room(m.n_users + 1, sizeof *start);
    want = model_cut(&m, start);
    for (unsigned t = 0; t < threads; t++)
        w[t] = (struct worker){
            .a = a, .model = &m, .start = start, .n_blocks = want};
    run(w, threads, seal_thread);
    assert_int_equal(mr_aggregate_plan(a, &n_blocks), MR_OK);
    assert_int_equal(n_blocks, want);
    assert_int_equal(mr_aggregate_users(a), m.n_users);
    run(w, threads, read_thread);
    free(start);
    model_free(&m);
    return want;
}

static size_t compare(const struct mr_tuple *tuple, size_t n, unsigned threads,
    unsigned detours, uint64_t gap_ms)
{
    struct mr_aggregate *a;
    size_t n_blocks;

    assert_int_equal(mr_aggregate_new(gap_ms, zone, &a), MR_OK);
    fill(a, tuple, n, threads, detours, gap_ms);
    n_blocks = check(a, tuple, n, threads, gap_ms);
    mr_aggregate_free(a);
    return n_blocks;
}

/* Ids of users: even, all in one shard, all in one bucket of its sorting, a
 * few, or at both ends of all hashes. */
static uint64_t any_user(unsigned habit, uint64_t users)
{
    uint64_t k = any(any(2) ? users : users / 16 + 1);

    switch (habit) {
    case 0:
        return (k + 1) * UINT64_C(0x9e3779b97f4a7c15);
    case 1:
        return UINT64_C(0x5a) << 56 | (k * UINT64_C(0x9e3779b97f4a7c15)) >> 8;
    case 2:
        return UINT64_C(0xff) << 56 | k;
    case 3:
        return k << 55;
    default:
        return any(2) ? k : UINT64_MAX - k;
    }
}

static void random_tuples(
    struct mr_tuple *t, size_t n, unsigned habit, uint64_t users)
{
    uint64_t days = 1 + any(4), types = 1 + any(any(3) == 0 ? 300 : 8);

    for (size_t i = 0; i < n; i++) {
        uint64_t time = 1700000000000 + any(days * 86400000);

        if (any(50) == 0)
            time = any(2) ? 0 : (uint64_t)MR_TIME_END_MS - 1;
        t[i].user = any_user(habit, users);
        t[i].what = mr_tuple_pack((int64_t)time, (uint32_t)any(types));
    }
}

static void users_come_back(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(40); round++) {
        size_t n = any(any(2) ? 200 : 12000);
        struct mr_tuple *t = room(n, sizeof *t);
        unsigned threads = 1 + (unsigned)any(THREADS_MAX);

        random_tuples(t, n, round % 5, 1 + any(any(2) ? 30 : 5000));
        (void)compare(t, n, threads, (unsigned)any(threads + 1), 1800000);
        free(t);
    }
}

/* It is read after each of some shares, of which some come again, and once in
 * a while the reading is given up. */
static void reading_leaves_all_as_it_was(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(40); round++) {
        size_t n = any(any(2) ? 200 : 12000), end = 0;
        struct mr_tuple *t = room(n, sizeof *t);
        unsigned threads = 1 + (unsigned)any(THREADS_MAX);
        struct mr_aggregate *a;

        random_tuples(t, n, round % 5, 1 + any(any(2) ? 30 : 5000));
        assert_int_equal(mr_aggregate_new(1800000, zone, &a), MR_OK);
        for (unsigned k = 1 + (unsigned)any(4); k-- > 0;) {
            size_t begin = end > 0 && any(3) == 0 ? any(end) : end;

            end += k == 0 ? n - end : any(n - end + 1);
            fill(a, t + begin, end - begin, threads, (unsigned)any(threads + 1),
                1800000);
            if (any(4) == 0) {
                struct mr_aggregate_scratch *scratch;
                struct model m;

                model_new(&m, t, end, 1800000);
                assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
                for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s += 1 + s % 3)
                    assert_int_equal(mr_aggregate_seal(a, s, scratch, no_types,
                                         number_of, &m),
                        MR_OK);
                mr_aggregate_scratch_free(scratch);
                model_free(&m);
                mr_aggregate_unseal(a);
            }
            (void)check(a, t, end, threads, 1800000);
            mr_aggregate_unseal(a);
        }
        mr_aggregate_free(a);
        free(t);
    }
}

/* More tuples than are dealt out at a time, more users than a block has. */
static void blocks_are_cut_by_users(void **state)
{
    const size_t n = 280000;
    struct mr_tuple *t = room(n, sizeof *t);

    (void)state;
    random_tuples(t, n, 0, 500000);
    for (size_t i = 0; i <= 131072; i++) /* two blocks of users, and one more */
        t[i].user = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    assert_int_equal(compare(t, 131072, 2, 0, 1800000), 2);
    assert_int_equal(compare(t, 131073, 2, 1, 1800000), 3);
    assert_int_equal(compare(t, n, 4, 2, 1800000), 3);
    random_tuples(t, n, 1, 400000); /* one shard */
    (void)compare(t, n, 3, 1, 1800000);
    free(t);
}

/* Intervals that the gap keeps apart, each a tuple. */
static size_t add_intervals(
    struct mr_tuple *t, uint64_t user, size_t n, uint64_t gap_ms)
{
    for (size_t i = 0; i < n; i++)
        t[i] = (struct mr_tuple){
            user, mr_tuple_pack((int64_t)(i * (gap_ms + 1)), 0)};
    return n;
}

static size_t add_memberships(struct mr_tuple *t, uint64_t user, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        t[i] = (struct mr_tuple){user, mr_tuple_pack(0, i)};
    return n;
}

/* Two users that together weigh as much as a block can, or one more; the gap
 * of 1 ms keeps all on one day. */
static void blocks_are_cut_by_weight(void **state)
{
    const size_t half = (size_t)1 << 20;
    struct mr_tuple *t = room(4 * half, sizeof *t);

    (void)state;
    for (uint32_t more = 0; more < rounds(2); more++) {
        size_t n = add_intervals(t, 1000, half, 1);

        n += add_intervals(t + n, UINT64_MAX / 3, half - 1, 1);
        n += add_memberships(t + n, UINT64_MAX / 3, 7 + more);
        n += add_memberships(t + n, 1000, 1);
        assert_int_equal(compare(t, n, 1, 0, 1), 1 + more);
    }
    free(t);
}

/* Users that are heavier than a block, alone; light ones between. */
static void heavy_users_stand_alone(void **state)
{
    const size_t heavy = ((size_t)1 << 21) + 5;
    struct mr_tuple *t = room(2 * heavy + 100, sizeof *t);
    size_t n = add_intervals(t, 1000, heavy, 1);

    (void)state;
    n += add_intervals(t + n, 2000, heavy, 1);
    n += add_intervals(t + n, 1500, 10, 1);
    n += add_intervals(t + n, 1600, 10, 1);
    assert_int_equal(compare(t, n, 1, 0, 1), 3);
    free(t);
}

/* Users with very many intervals, which come in any order: to move what comes
 * later for each of them would take minutes. */
static void intervals_come_in_any_order(void **state)
{
    const size_t each = rounds(300000);
    struct mr_tuple *t = room(2 * each, sizeof *t);
    size_t n = add_intervals(t, 1000, each, 1000);

    (void)state;
    n += add_intervals(t + n, 2000, each, 1000);
    shuffle(t, n);
    assert_int_equal(compare(t, n, 2, 1, 1000), 1);
    free(t);
}

/* Many users with thousands of intervals, in disorder. */
static void busy_users_share_blocks(void **state)
{
    const size_t users = 1000, each = 4000;
    struct mr_tuple *t = room(users * each, sizeof *t);
    size_t n = 0;

    (void)state;
    for (size_t u = 0; u < users; u++)
        n += add_intervals(t + n, (u + 1) * UINT64_C(0x9e3779b97f4a7c15),
            each / 2 + any(each / 2), 1000);
    for (size_t i = 0; i + 40 < n; i += 40)
        shuffle(t + i, 40);
    assert_true(compare(t, n, 2, 1, 1000) > 1);
    free(t);
}

static void empty_aggregates(void **state)
{
    struct mr_aggregate_scratch *scratch;
    struct mr_aggregate *a, *b;
    struct mr_tuple none;
    size_t n = 1;

    (void)state;
    assert_int_equal(mr_aggregate_new(1, zone, &a), MR_OK);
    assert_int_equal(mr_aggregate_new(1, zone, &b), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    assert_int_equal(mr_aggregate_add(a, &none, 0, scratch), MR_OK);
    assert_int_equal(mr_aggregate_merge(a, b, scratch), MR_OK);
    for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s++)
        assert_int_equal(
            mr_aggregate_seal(a, s, scratch, no_types, NULL, NULL), MR_OK);
    assert_int_equal(mr_aggregate_plan(a, &n), MR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(mr_aggregate_users(a), 0);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(a);
    mr_aggregate_free(b);
    mr_aggregate_free(NULL);
}

/* Whoever has nothing else to do leaves few that wait, and nothing to do. */
static void little_waits_once_tidied(void **state)
{
    const size_t n = 300000;
    struct mr_tuple *t = room(n, sizeof *t);
    struct mr_aggregate_scratch *scratch;
    struct mr_aggregate *a;
    bool did = false;

    (void)state;
    random_tuples(t, n, 0, 500000);
    assert_int_equal(mr_aggregate_new(1000, zone, &a), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    assert_int_equal(mr_aggregate_tidy(a, scratch, &did), MR_OK);
    assert_false(did);
    assert_int_equal(mr_aggregate_add(a, t, n, scratch), MR_OK);
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS; k++) {
        assert_int_equal(a->shard[k].users.n, 0);
        assert_int_equal(mr_aggregate_tidy(a, scratch, &did), MR_OK);
        assert_true(did);
    }
    for (unsigned k = 0; k < MR_AGGREGATE_SHARDS; k++)
        assert_int_equal(a->shard[k].n_waiting, 0);
    assert_int_equal(mr_aggregate_tidy(a, scratch, &did), MR_OK);
    assert_false(did);
    (void)check(a, t, n, 2, 1000);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(a);
    free(t);
}

/* What does not fit waits on: it is refused again, and not forgotten. */
static void full_shards_keep_what_waits(void **state)
{
    struct mr_tuple tuple = {.user = 7};
    struct mr_aggregate_scratch *scratch;
    struct mr_aggregate *a;

    (void)state;
    assert_int_equal(mr_aggregate_new(1, zone, &a), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    assert_int_equal(mr_aggregate_add(a, &tuple, 1, scratch), MR_OK);
    a->shard[0].users.n = MR_USERS_MAX;
    assert_int_equal(mr_aggregate_settle(a, 0, scratch), MR_LIMIT);
    assert_int_equal(mr_aggregate_settle(a, 0, scratch), MR_LIMIT);
    a->shard[0].users.n = 0;
    assert_int_equal(mr_aggregate_settle(a, 0, scratch), MR_OK);
    assert_int_equal(a->shard[0].users.n, 1);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(a);
}

/* Users who are in several groups that are not kept count once. */
static uint32_t by_text(void *context, int32_t day, uint32_t type)
{
    struct mr_span text = mr_types_text(context, type);

    if (day != MR_DAY_END)
        return 0;
    return text.n == 1 ? 1 : mr_types_final(context, type) == type ? 2 : 1;
}

static void dropped_groups_are_one(void **state)
{
    struct mr_aggregate_scratch *scratch;
    struct mr_block_builder *builder;
    struct mr_user_block block;
    struct mr_type_cache *cache;
    struct mr_types *types;
    struct mr_aggregate *a;
    struct mr_tuple t[2000];
    bool is_in[2][100] = {{false}};
    uint32_t id[20], n[2] = {0, 0};
    size_t n_blocks;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    mr_types_limit(types, MR_TEXT_ROLLUP, 1);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    assert_int_equal(mr_aggregate_new(1000, zone, &a), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    for (uint8_t k = 0; k < 20; k++) {
        const uint8_t text[2] = {2, (uint8_t)('a' + k)};

        assert_int_equal(mr_type_id(cache, MR_TEXT_ROLLUP,
                             (struct mr_span){text, 2}, &id[k]),
            MR_OK);
    }
    assert_int_equal(mr_types_keep(types, id, 20), MR_OK);
    for (size_t i = 0; i < 2000; i += 2) {
        size_t user = any(100), k = any(20);
        bool kept = mr_types_final(types, id[k]) == id[k] &&
                    mr_types_text(types, id[k]).n > 1;
        uint64_t hash = (user + 1) * UINT64_C(0x9e3779b97f4a7c15);

        t[i] = (struct mr_tuple){hash, mr_tuple_pack((int64_t)i, 0)};
        t[i + 1] =
            (struct mr_tuple){hash, mr_tuple_pack(MR_TIME_END_MS, id[k])};
        n[kept] += !is_in[kept][user];
        is_in[kept][user] = true;
    }
    /* Whether it has been read before or not. */
    for (size_t half = 0; half < 2; half++) {
        mr_aggregate_unseal(a);
        assert_int_equal(
            mr_aggregate_add(a, t + half * 1000, 1000, scratch), MR_OK);
        for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s++)
            assert_int_equal(
                mr_aggregate_seal(a, s, scratch, types, by_text, types), MR_OK);
    }
    assert_int_equal(mr_aggregate_plan(a, &n_blocks), MR_OK);
    assert_int_equal(n_blocks, 1);
    assert_int_equal(mr_block_builder_new(3, &builder), MR_OK);
    assert_int_equal(mr_aggregate_block(a, 0, builder, &block), MR_OK);
    assert_int_equal(block.n_sets, 3);
    assert_int_equal(block.sets[1].cell, 1);
    assert_int_equal(block.sets[1].n, n[0]);
    assert_int_equal(block.sets[2].cell, 2);
    assert_int_equal(block.sets[2].n, n[1]);
    mr_block_builder_free(builder);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(a);
    mr_type_cache_free(cache);
    mr_types_free(types);
}

/* As many groups as would fill two blocks were they not one. */
static void dropped_groups_weigh_as_one(void **state)
{
    const size_t users = 20000;
    struct mr_tuple *t = room(users, sizeof *t);
    struct mr_aggregate_scratch *scratch;
    struct mr_type_cache *cache;
    struct mr_types *types;
    struct mr_aggregate *a;
    size_t n_blocks;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    mr_types_limit(types, MR_TEXT_ROLLUP, 1000);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    assert_int_equal(mr_aggregate_new(1000, zone, &a), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    for (uint32_t g = 0; g < 900; g++) {
        char text[20];
        struct mr_span span = {(uint8_t *)text,
            (size_t)snprintf(text, sizeof text, "g%u", (unsigned)g)};
        uint32_t id;

        assert_int_equal(mr_type_id(cache, MR_TEXT_ROLLUP, span, &id), MR_OK);
        if (mr_types_is_new_group(types, id))
            assert_int_equal(mr_types_keep(types, &id, 1), MR_OK);
        for (size_t u = 0; u < users; u++)
            t[u] = (struct mr_tuple){(u + 1) * UINT64_C(0x9e3779b97f4a7c15),
                mr_tuple_pack(MR_TIME_END_MS, id)};
        assert_int_equal(mr_aggregate_add(a, t, users, scratch), MR_OK);
    }
    for (size_t u = 0; u < users; u++)
        t[u].what = mr_tuple_pack(1, 0);
    assert_int_equal(mr_aggregate_add(a, t, users, scratch), MR_OK);
    /* So many more that nearly all of the others are left out. */
    for (uint32_t g = 0; g < 400000; g++) {
        char text[20];
        struct mr_span span = {(uint8_t *)text,
            (size_t)snprintf(text, sizeof text, "h%u", (unsigned)g)};
        uint32_t id;

        assert_int_equal(mr_type_id(cache, MR_TEXT_ROLLUP, span, &id), MR_OK);
        if (mr_types_is_new_group(types, id))
            assert_int_equal(mr_types_keep(types, &id, 1), MR_OK);
    }
    for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s++)
        assert_int_equal(
            mr_aggregate_seal(a, s, scratch, types, by_text, types), MR_OK);
    assert_int_equal(mr_aggregate_plan(a, &n_blocks), MR_OK);
    assert_int_equal(n_blocks, 1);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(a);
    mr_type_cache_free(cache);
    mr_types_free(types);
    free(t);
}

/* ---- blocks from parts of blocks ---- */

#define CELLS 12

/* Which of at most 65,536 users is in which cell. */
struct table {
    size_t n;
    uint8_t is_in[CELLS][65536];
};

static void compare_sets(const struct mr_user_block *b, const struct table *t)
{
    size_t k = 0;

    assert_int_equal(b->n, t->n);
    for (uint32_t c = 0; c < CELLS; c++) {
        uint32_t n = 0, listed = 0;

        for (size_t i = 0; i < 65536; i++)
            n += t->is_in[c][i];
        if (n == 0)
            continue;
        assert_true(k < b->n_sets);
        assert_int_equal(b->sets[k].cell, c);
        assert_int_equal(b->sets[k].n, n);
        assert_true((b->sets[k].list != NULL) != (b->sets[k].words != NULL));
        assert_true(b->sets[k].words != NULL || n <= MR_SET_LIST_MAX);
        for (size_t i = 0; i < 65536; i++) {
            bool got = b->sets[k].list != NULL
                           ? listed < n && b->sets[k].list[listed] == i
                           : (b->sets[k].words[i / 64] >> (i % 64) & 1) != 0;

            if (got != (t->is_in[c][i] != 0))
                fail_msg("cell %u, user %zu", (unsigned)c, i);
            listed += got;
        }
        k++;
    }
    assert_int_equal(b->n_sets, k);
}

/* Members to add to a cell: the sizes at which its form changes. */
static size_t any_size(size_t n)
{
    static const size_t size[] = {0, 1, 511, 512, 513, 4095, 4096, 4097};
    size_t k = any(4) == 0 ? any(n + 1) : size[any(8)];

    return k < n ? k : n;
}

static void add_users(struct mr_block_builder *b, size_t n, uint64_t step)
{
    for (size_t i = 0; i < n; i++) {
        struct mr_interval interval[3] = {{(int64_t)i, (int64_t)i + 1},
            {1000000, 1000001}, {2000000, 2000000}};

        assert_int_equal(
            mr_block_builder_user(b, (i + 1) * step, interval, 1 + i % 3),
            MR_OK);
    }
}

/* A builder that may have been used before, filled at random. */
static void random_block(struct mr_block_builder *b, size_t n, struct table *t,
    struct mr_user_block *block)
{
    memset(t, 0, sizeof *t);
    t->n = n;
    mr_block_builder_reset(b);
    assert_int_equal(mr_block_builder_users(b), 0);
    assert_int_equal(mr_block_builder_intervals(b), 0);
    add_users(b, n, 3);
    for (unsigned k = 0; k < CELLS + 5 && n > 0; k++) {
        uint32_t cell = (uint32_t)any(CELLS);
        struct mr_set_builder *set;
        size_t size = any_size(n), start = any(n);

        assert_int_equal(mr_block_builder_set(b, cell, &set), MR_OK);
        for (size_t i = 0; i < size; i++) {
            /* Different ones in disorder, or a run; then some again. */
            size_t at = k % 2 ? (start + i * 7919) % n : (start + i) % n;

            t->is_in[cell][at] = 1;
            assert_int_equal(mr_set_builder_add(set, (uint32_t)at), MR_OK);
            if (i % 50 == 0)
                assert_int_equal(mr_set_builder_add(set, (uint32_t)at), MR_OK);
        }
    }
    assert_int_equal(mr_block_builder_users(b), n);
    assert_int_equal(mr_block_builder_intervals(b),
        n / 3 * 6 + (n % 3 > 0) + (n % 3 > 1) * 2);
    assert_int_equal(mr_block_builder_finish(b, block), MR_OK);
    for (size_t i = 0; i < n; i++) {
        const struct mr_interval *first = block->interval + block->first[i];

        assert_int_equal(block->hash[i], (i + 1) * 3);
        assert_int_equal(block->first[i + 1] - block->first[i], 1 + i % 3);
        assert_int_equal(first->start_ms, i);
    }
}

static size_t any_users(void)
{
    static const size_t n[] = {0, 1, 63, 64, 65, 4097, 65535, 65536};

    return any(3) == 0 ? n[any(8)] : 1 + any(9000);
}

static void sets_are_sorted(void **state)
{
    static struct table t;
    struct mr_block_builder *b;
    struct mr_user_block block;

    (void)state;
    assert_int_equal(mr_block_builder_new(CELLS, &b), MR_OK);
    for (unsigned round = 0; round < rounds(60); round++) {
        random_block(b, any_users(), &t, &block);
        compare_sets(&block, &t);
    }
    mr_block_builder_free(b);
    mr_block_builder_free(NULL);
}

/* The users [low, high) of a block, moved to ascending places of another. */
static void add_part(struct mr_block_builder *to, struct table *want,
    const struct mr_user_block *block, const struct table *from)
{
    size_t low = any(block->n + 1), n = any(block->n - low + 1);
    uint16_t *position = room(n, sizeof *position);
    size_t at = any(want->n - n + 1);

    if (any(3) == 0) {
        n = block->n - low;
        at = want->n - n;
        free(position);
        position = room(n, sizeof *position);
    }
    for (size_t i = 0; i < n; i++) {
        position[i] = (uint16_t)at;
        for (unsigned c = 0; c < CELLS; c++)
            want->is_in[c][at] |= from->is_in[c][low + i];
        at +=
            1 + any(want->n - at - (n - i) + 1 < 3 ? want->n - at - (n - i) + 1
                                                   : 3);
    }
    assert_int_equal(mr_block_builder_part(to, block, (uint32_t)low,
                         (uint32_t)(low + n), position),
        MR_OK);
    free(position);
}

static void parts_are_renumbered(void **state)
{
    static struct table from, want;
    struct mr_block_builder *source, *to;
    struct mr_user_block block;

    (void)state;
    assert_int_equal(mr_block_builder_new(CELLS, &source), MR_OK);
    assert_int_equal(mr_block_builder_new(CELLS, &to), MR_OK);
    for (unsigned round = 0; round < rounds(40); round++) {
        memset(&want, 0, sizeof want);
        want.n = any(2) ? 65536 : 20000 + any(40000);
        mr_block_builder_reset(to);
        for (unsigned k = (unsigned)any(5); k > 0; k--) {
            size_t n = any_users();

            random_block(source, n < want.n ? n : want.n, &from, &block);
            add_part(to, &want, &block, &from);
        }
        add_users(to, want.n, 1); /* users may come after their sets */
        assert_int_equal(mr_block_builder_finish(to, &block), MR_OK);
        compare_sets(&block, &want);
    }
    mr_block_builder_free(source);
    mr_block_builder_free(to);
}

/* Every test's types are below this. */
#define TYPES 100000

static int open_tables(void **state)
{
    struct mr_type_cache *cache;
    char text[20];
    uint32_t id;

    (void)state;
    if (mr_zone_load("UTC", &zone, NULL) != MR_OK ||
        mr_types_new(&no_types) != MR_OK ||
        mr_type_cache_new(no_types, &cache) != MR_OK)
        return -1;
    for (uint32_t i = 0; i < TYPES; i++) {
        struct mr_span span = {(uint8_t *)text,
            (size_t)snprintf(text, sizeof text, "%u", (unsigned)i)};

        if (mr_type_id(cache, MR_TEXT_TYPE, span, &id) != MR_OK || id != i)
            return -1;
    }
    mr_type_cache_free(cache);
    return 0;
}

static int close_tables(void **state)
{
    (void)state;
    mr_types_free(no_types);
    mr_zone_free(zone);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_come_back),
        cmocka_unit_test(reading_leaves_all_as_it_was),
        cmocka_unit_test(blocks_are_cut_by_users),
        cmocka_unit_test(blocks_are_cut_by_weight),
        cmocka_unit_test(heavy_users_stand_alone),
        cmocka_unit_test(intervals_come_in_any_order),
        cmocka_unit_test(busy_users_share_blocks),
        cmocka_unit_test(empty_aggregates),
        cmocka_unit_test(little_waits_once_tidied),
        cmocka_unit_test(full_shards_keep_what_waits),
        cmocka_unit_test(dropped_groups_are_one),
        cmocka_unit_test(dropped_groups_weigh_as_one),
        cmocka_unit_test(sets_are_sorted),
        cmocka_unit_test(parts_are_renumbered),
    };

    return cmocka_run_group_tests(tests, open_tables, close_tables);
}
