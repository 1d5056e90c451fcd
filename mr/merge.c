#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * Merging: what a merge is, and its two ways.  Into a file, merge_write.c
 * joins all that is kept of users; where only KPIs are wanted, merge_count.c
 * does with less, in ranges of hashes that threads take as they come.
 */

#include "mr/merge_private.h"

#include <omp.h>
#include <stdlib.h>

#include "mr/kernels.h"
#include "mr/machine.h"

enum mr_status mr_merge_new(struct mr_state *const *state, size_t n,
    struct mr_merge **merge_out, struct mr_error *err)
{
    struct mr_merge *m = calloc(1, sizeof(*m));
    enum mr_status status = MR_OK;

    if (m == NULL)
        return mr_fail_nomem(err);
    m->state = state;
    m->n = n;
    m->head.spec = mr_state_get_head(state[0])->spec;
    for (size_t i = 1; i < n && status == MR_OK; i++)
        status = mr_merge_check_spec(state[0], state[i], err);
    if (status == MR_OK && mr_merge_join_heads(m) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK && !mr_coverage_fits(&m->head.coverage))
        status =
            mr_fail(err, MR_MISMATCH, MR_NOWHERE, "leave out the wrong one",
                "the counts of the states' partitions together are too large");
    if (status == MR_OK)
        status = mr_head_check_folders(&m->head, err);
    if (status == MR_OK)
        status = mr_kpi_zone(m->head.spec, &m->zone, err);
    if (status != MR_OK) {
        mr_merge_free(m);
        return status;
    }
    m->cells = mr_cells_of(&m->head, m->zone);
    *merge_out = m;
    return MR_OK;
}

void mr_merge_free(struct mr_merge *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; m->cell_of != NULL && i < m->n; i++)
        free(m->cell_of[i]);
    free(m->cell_of);
    free(m->drops);
    mr_zone_free(m->zone);
    mr_state_head_release(&m->head);
    free(m);
}

void mr_merge_set_past(struct mr_merge *m, const struct mr_merge_past *past)
{
    m->head.coverage.n_repeated += past->n_repeated;
    m->segments = past->segments;
}

const struct mr_state_head *mr_merge_head(const struct mr_merge *m)
{
    return &m->head;
}

const struct mr_cells *mr_merge_cells(const struct mr_merge *m)
{
    return &m->cells;
}

/* ---- a state's blocks ---- */

static int compare_sets(const void *a, const void *b)
{
    const struct mr_user_set *x = a, *y = b;

    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

static void add_set(uint64_t *words, const struct mr_user_set *set)
{
    for (uint32_t i = 0; set->list != NULL && i < set->n; i++)
        words[set->list[i] / 64] |= UINT64_C(1) << (set->list[i] % 64);
    if (set->words != NULL)
        mr_kernels()->or_u64(words, set->words, MR_BLOCK_WORDS);
}

/* Make one set of those that have got the same number, as groups that are not
 * kept have, and put all in order. */
static enum mr_status join_sets(
    struct mr_merge_block *b, struct mr_user_set *set)
{
    const size_t bytes = MR_BLOCK_WORDS * sizeof(uint64_t);
    size_t n = b->block.n_sets, kept = 0, n_joined = 0, next;

    if (mr_buffer_reserve(&b->joined, MR_ROLLUPS_MAX * bytes) != MR_OK)
        return MR_NOMEM;
    if (n > 1)
        qsort(set, n, sizeof(*set), compare_sets);
    for (size_t k = 0; k < n; k = next) {
        struct mr_user_set one = set[k];

        next = k + 1;
        while (next < n && set[next].cell == one.cell)
            next++;
        if (next > k + 1) {
            uint64_t *words = (void *)(b->joined.p + bytes * n_joined++);

            memset(words, 0, bytes);
            for (size_t i = k; i < next; i++)
                add_set(words, &set[i]);
            one.list = NULL;
            one.words = words;
            one.n = (uint32_t)mr_kernels()->popcount_u64(words, MR_BLOCK_WORDS);
        }
        set[kept++] = one;
    }
    b->block.n_sets = kept;
    return MR_OK;
}

void mr_merge_block_release(struct mr_merge_block *b)
{
    mr_block_memory_release(&b->memory);
    mr_buffer_release(&b->joined);
}

enum mr_status mr_merge_block_load(const struct mr_merge *m, size_t state,
    size_t i, struct mr_unpacker *u, struct mr_merge_block *b,
    struct mr_error *err)
{
    enum mr_status status =
        mr_state_block(m->state[state], i, u, &b->block, err);
    struct mr_user_set *set;

    if (status != MR_OK)
        return status;
    mr_unpacker_keep(u, &b->memory);
    set = (void *)b->memory.set.p;
    for (size_t k = 0; k < b->block.n_sets; k++)
        set[k].cell = m->cell_of[state][set[k].cell];
    if (m->drops[state] && join_sets(b, set) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* ---- KPIs only: ranges in parallel ---- */

/* Users, over all states, that are worth a thread. */
#define RANGE_USERS 16384

/* The state of the most blocks. */
static const struct mr_state *longest(const struct mr_merge *m)
{
    const struct mr_state *state = m->state[0];

    for (size_t i = 1; i < m->n; i++)
        if (mr_state_n_blocks(m->state[i]) > mr_state_n_blocks(state))
            state = m->state[i];
    return state;
}

/* Bytes that a state's largest block takes when it is unpacked, twice: of two
 * that follow one another, users may be counted together. */
static uint64_t held_bytes(const struct mr_state *state)
{
    uint64_t most = 0;

    for (size_t i = 0; i < mr_state_n_blocks(state); i++) {
        const struct mr_block_info *b = mr_state_block_info(state, i);
        uint64_t bytes = b->plain_bytes + b->n_users * sizeof(uint64_t) +
                         b->n_intervals * sizeof(struct mr_interval);

        most = bytes > most ? bytes : most;
    }
    return 2 * most;
}

/* As many threads as have room for a block of each state in a quarter of the
 * memory that there is. */
static unsigned count_counters(const struct mr_merge *m, unsigned threads)
{
    uint64_t memory = mr_machine_memory(), each = 1;
    uint64_t most = memory > 0 ? memory / 4 : UINT64_C(1) << 30;

    for (size_t i = 0; i < m->n; i++)
        each += held_bytes(m->state[i]);
    if (most / each < threads)
        threads = (unsigned)(most / each);
    return threads > 1 ? threads : 1;
}

/* As many ranges as keep the threads busy, but none of a few blocks, since a
 * block on a border is unpacked twice; or else, of many small states, one a
 * thread that is worth it. */
static size_t count_ranges(
    const struct mr_merge *m, size_t blocks, unsigned threads)
{
    uint64_t users = 0;
    size_t n = blocks / 4 < 4 * threads ? blocks / 4 : 4 * threads;

    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0; k < mr_state_n_blocks(m->state[i]); k++)
            users += mr_state_block_info(m->state[i], k)->n_users;
    if (n < threads)
        n = users / RANGE_USERS < threads ? users / RANGE_USERS : threads;
    return threads > 1 && n > 1 ? n : 1;
}

/* Where range i of n begins: with a block of a state, if it has several for
 * each range.  Hashes are even, else. */
static uint64_t range_begin(const struct mr_state *state, size_t i, size_t n)
{
    size_t blocks = mr_state_n_blocks(state);

    if (i == 0)
        return 0;
    return blocks < 4 * n
               ? UINT64_MAX / n * i
               : mr_state_block_info(state, blocks * i / n)->first_hash;
}

/* Count ranges that nobody else has taken, up to one that fails: range_out. */
static enum mr_status count_some(struct mr_merge_counter *counter,
    const struct mr_state *state, size_t n, size_t *next, size_t *range_out,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t i = 0;

    while (status == MR_OK) {
#pragma omp atomic capture
        i = (*next)++;
        if (i >= n)
            break;
        status = mr_merge_count(counter, range_begin(state, i, n),
            i + 1 < n ? range_begin(state, i + 1, n) - 1 : UINT64_MAX, err);
    }
    *range_out = i;
    return status;
}

static enum mr_status count_all(const struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, const atomic_int *stop,
    uint64_t *users_out, struct mr_error *err)
{
    const struct mr_state *state = longest(m);
    unsigned counters = count_counters(m, threads);
    size_t n = count_ranges(m, mr_state_n_blocks(state), counters), next = 0;
    size_t failed = n;
    enum mr_status status = MR_OK;
    uint64_t users = 0;

#pragma omp parallel num_threads((int)counters) reduction(+ : users)
    {
        struct mr_merge_counter *counter = NULL;
        size_t range = 0;
        struct mr_error own = {.status = MR_OK};
        enum mr_status result = mr_merge_counter_new(
            m, tally[omp_get_thread_num()], stop, &counter, &own);

        if (result == MR_OK) {
            result = count_some(counter, state, n, &next, &range, &own);
            users = mr_merge_counter_users(counter);
        }
        mr_merge_counter_free(counter);
        if (result != MR_OK) {
#pragma omp critical
            if (range < failed) { /* whichever thread comes first */
                failed = range;
                status = result;
                if (err != NULL)
                    *err = own;
            }
        }
    }
    *users_out = users;
    return status;
}

enum mr_status mr_merge_run(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const atomic_int *stop, uint64_t *users_out, struct mr_error *err)
{
    if (writer == NULL)
        return count_all(m, threads, tally, stop, users_out, err);
    return mr_merge_write(m, threads, tally, writer, stop, users_out, err);
}
