#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * A state of what a map's threads left.  This half of a map is parallel, too:
 * shards are sealed each by one thread; blocks are made, added to the
 * sketches, and packed by any thread, and written in order.  There is one
 * sketch a cell for all threads, since many cells' sketches are large.
 */

#include "mr/map_private.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

#include "mr/hyperloglog.h"
#include "mr/result.h"

/* ---- from what threads left to a head ---- */

/* Add what could not be listed, and what has not been read yet. */
static enum mr_status add_unread(
    const struct mr_work *w, struct mr_coverage *coverage)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < w->listing.n_unlisted && status == MR_OK; i++)
        status = mr_coverage_add_failure(coverage, w->listing.unlisted[i].name,
            MR_NOWHERE, w->listing.unlisted[i].cause);
    for (size_t i = 0; i < w->listing.n && status == MR_OK; i++)
        if (!w->done[i])
            status = mr_coverage_add_failure(coverage,
                w->listing.inputs[i].name, MR_NOWHERE, MR_CAUSE_PENDING);
    return status;
}

/* Number the cells that have events.  Those of a file that changed while it
 * was being read were noted too, but may have none. */
static enum mr_status sort_cells(struct mr_work *w)
{
    enum mr_status status = mr_cellbook_join(&w->cells, w->types);
    bool *used = calloc(w->cells.n + 1, sizeof(*used));

    if (used == NULL || status != MR_OK) {
        free(used);
        return MR_NOMEM;
    }
    for (size_t i = 0; i < w->coverage.n_partitions; i++) {
        const struct mr_partition *p = &w->coverage.partition[i];

        mr_coverage_prefetch(&w->coverage, i);
        for (size_t k = 0; k < p->n_cells + p->n_figures; k++)
            used[p->cell[k].cell] = true;
    }
    w->cells.used = used;
    status = mr_cellbook_sort(&w->cells, w->types);
    w->cells.used = NULL;
    free(used);
    return status;
}

/* Each partition's cells by their final numbers, in order. */
static void renumber_cells(
    const struct mr_work *w, struct mr_coverage *coverage)
{
#pragma omp parallel for schedule(static) num_threads((int)w->threads)
    for (size_t i = 0; i < coverage->n_partitions; i++) {
        mr_coverage_prefetch(coverage, i);
        mr_partition_renumber(&coverage->partition[i], w->cells.final);
    }
}

/* The run's coverage, by the head's numbers; a copy where more is to come. */
static enum mr_status take_coverage(
    struct mr_map_run *m, struct mr_coverage *coverage)
{
    struct mr_work *w = m->w;

    if (!m->is_last) {
        if (mr_coverage_copy(&w->coverage, coverage) != MR_OK)
            return MR_NOMEM;
    } else {
        *coverage = w->coverage;
        memset(&w->coverage, 0, sizeof(w->coverage));
    }
    renumber_cells(w, coverage);
    return add_unread(w, coverage);
}

/* Groups may be missing where those of partitions that came to nothing were
 * very many (mr/types.h). */
static enum mr_status check_groups(
    const struct mr_state_head *head, struct mr_error *err)
{
    unsigned odd = mr_head_odd_rollup(head);

    if (odd == head->spec->n_rollups)
        return MR_OK;
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "raise its max_groups, or leave out the partitions that cannot be read",
        "rollup '%s' has more than %u groups, and some were left out for those "
        "of partitions that were not read to their ends",
        head->spec->rollup[odd].name,
        (unsigned)head->spec->rollup[odd].max_groups);
}

/* Types and cells in a state's order and numbers, and coverage with these
 * numbers. */
static enum mr_status make_head(
    struct mr_map_run *m, struct mr_state_head *head, struct mr_error *err)
{
    struct mr_work *w = m->w;

    memset(head, 0, sizeof(*head));
    head->spec = &w->plan.spec;
    if (sort_cells(w) != MR_OK || take_coverage(m, &head->coverage) != MR_OK)
        return mr_fail_nomem(err);
    mr_coverage_release(&m->veiled);
    if (mr_coverage_veiled(&head->coverage, &m->veiled) != MR_OK)
        return mr_fail_nomem(err);
    head->type = w->cells.type;
    head->n_types = w->cells.n_types;
    head->cell = w->cells.sorted;
    head->n_cells = w->cells.n_sorted;
    head->figure = w->cells.figure;
    head->n_figures = w->cells.n_figures;
    w->cells.type = w->cells.figure = NULL;
    w->cells.sorted = NULL;
    head->sketch = calloc(mr_head_numbers(head) + 1, sizeof(struct mr_hll *));
    return head->sketch == NULL ? mr_fail_nomem(err) : check_groups(head, err);
}

static uint32_t final_number(void *context, int32_t day, uint32_t type)
{
    const struct mr_cellbook *b = context;

    return b->final[mr_cellbook_find(b, day, type)];
}

/* ---- users: seal, plan, write ---- */

/* One thread's share of the sealing; all threads call it together.  First
 * nothing waits any more, as it takes memory that sealing needs.  One thread
 * settles the coverage and encodes it meanwhile. */
static enum mr_status seal_share(struct mr_work *w, struct mr_state_head *head,
    struct mr_state_writer *writer)
{
    struct mr_aggregate_scratch *scratch;
    enum mr_status status = mr_aggregate_scratch_new(&scratch);

#pragma omp for schedule(dynamic, 1)
    for (unsigned shard = 0; shard < MR_AGGREGATE_SHARDS; shard++)
        if (status == MR_OK)
            status = mr_aggregate_settle(w->aggregate, shard, scratch);
#pragma omp single nowait
    if (mr_coverage_settle(&head->coverage) != MR_OK ||
        mr_state_writer_encode(writer, head, NULL) != MR_OK)
        status = MR_NOMEM;
#pragma omp for schedule(dynamic, 1)
    for (unsigned shard = 0; shard < MR_AGGREGATE_SHARDS; shard++)
        if (status == MR_OK)
            status = mr_aggregate_seal(w->aggregate, shard, scratch, w->types,
                final_number, &w->cells);
    mr_aggregate_scratch_free(scratch);
    return status;
}

static enum mr_status seal(struct mr_work *w, struct mr_state_head *head,
    struct mr_state_writer *writer, size_t *n_blocks, struct mr_error *err)
{
    enum mr_status worst = MR_OK;

#pragma omp parallel num_threads((int)w->threads) reduction(max : worst)
    worst = seal_share(w, head, writer);
    if (worst == MR_OK)
        worst = mr_aggregate_plan(w->aggregate, n_blocks);
    return worst != MR_OK ? mr_aggregate_fail(worst, err) : MR_OK;
}

/* Locks of the sketches: that of cell k is the k-th, modulo their number. */
#define SKETCH_LOCKS 64
/* How far apart two blocks begin with their sets. */
#define SKETCH_SPREAD 37
struct sketch_locks {
    pthread_mutex_t lock[SKETCH_LOCKS];
};

/* What one thread needs to make blocks. */
struct maker {
    struct mr_block_builder *builder;
    struct mr_packer *packer;
    struct mr_state_head *head;
    struct sketch_locks *locks;
};

static enum mr_status maker_init(
    struct maker *m, struct mr_state_head *head, struct sketch_locks *locks)
{
    *m = (struct maker){.head = head, .locks = locks};
    if (mr_block_builder_new(mr_head_numbers(head), &m->builder) != MR_OK)
        return MR_NOMEM;
    return mr_packer_new(head->spec->session_gap_ms, &m->packer);
}

static void maker_release(struct maker *m)
{
    mr_block_builder_free(m->builder);
    mr_packer_free(m->packer);
}

static enum mr_status own_sketch(struct mr_hll **place, unsigned bits)
{
    if (*place != NULL)
        return MR_OK;
    *place = malloc(sizeof(**place));
    if (*place == NULL)
        return MR_NOMEM;
    mr_hll_init(*place, bits);
    return MR_OK;
}

static enum mr_status sketch_set(struct mr_hll *h,
    const struct mr_user_block *block, const struct mr_user_set *set)
{
    enum mr_status status = MR_OK;

    for (uint32_t i = 0; set->list != NULL && i < set->n; i++)
        if (status == MR_OK)
            status = mr_hll_add(h, block->hash[set->list[i]]);
    for (uint32_t j = 0; set->words != NULL && j < MR_BLOCK_WORDS; j++)
        for (uint64_t w = set->words[j]; w != 0 && status == MR_OK; w &= w - 1)
            status = mr_hll_add(
                h, block->hash[j * 64 + (uint32_t)__builtin_ctzll(w)]);
    return status;
}

/* Add the users of each of a block's sets to the cell's sketch.  Threads
 * begin at different sets. */
static enum mr_status sketch_block(
    struct maker *m, size_t first, const struct mr_user_block *block)
{
    enum mr_status status = MR_OK;

    for (size_t k = 0; k < block->n_sets && status == MR_OK; k++) {
        const struct mr_user_set *set =
            &block->sets[(first + k) % block->n_sets];
        pthread_mutex_t *lock = &m->locks->lock[set->cell % SKETCH_LOCKS];
        struct mr_hll **sketch = &m->head->sketch[set->cell];

        pthread_mutex_lock(lock);
        status = own_sketch(sketch, m->head->spec->sketch_bits);
        if (status == MR_OK)
            status = sketch_set(*sketch, block, set);
        pthread_mutex_unlock(lock);
    }
    return status;
}

static enum mr_status make_block(struct maker *m, const struct mr_aggregate *a,
    size_t i, struct mr_packed_block *packed, struct mr_error *err)
{
    struct mr_user_block block;

    if (mr_aggregate_block(a, i, m->builder, &block) != MR_OK ||
        sketch_block(m, i * SKETCH_SPREAD, &block) != MR_OK)
        return mr_fail_nomem(err);
    return mr_pack_block(m->packer, &block, packed, err);
}

/* Whether writing is to be given up.  In a folder it is not: what is being
 * written is what a stopped run leaves. */
static bool is_given_up(const struct mr_map_run *m)
{
    const atomic_int *stop = m->w->observer->stop;

    return !m->in_folder && stop != NULL && *stop != 0;
}

/* One thread's share of the blocks; all threads call it together. */
static enum mr_status write_share(struct mr_map_run *map,
    struct mr_state_head *head, struct sketch_locks *locks,
    struct mr_state_writer *writer, size_t n_blocks, struct mr_error *err)
{
    struct maker m;
    struct mr_packed_block packed = {.n_users = 0};
    enum mr_status status =
        maker_init(&m, head, locks) != MR_OK ? mr_fail_nomem(err) : MR_OK;

#pragma omp for ordered schedule(dynamic, 1)
    for (size_t i = 0; i < n_blocks; i++) {
        if (status == MR_OK && is_given_up(map))
            status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        if (status == MR_OK)
            status = make_block(&m, map->w->aggregate, i, &packed, err);
#pragma omp ordered
        if (status == MR_OK)
            status = mr_state_writer_add(writer, &packed, err);
    }
    mr_packed_block_release(&packed);
    maker_release(&m);
    return status;
}

/* Threads that make blocks.  Each needs the memory of about one, so there are
 * fewer where there are few blocks: it stays a fraction of the users'. */
static int count_makers(const struct mr_work *w, size_t n_blocks)
{
    size_t most = n_blocks / 4 > 2 ? n_blocks / 4 : 2;

    return (int)(w->threads < most ? w->threads : most);
}

static enum mr_status write_users(struct mr_map_run *m,
    struct mr_state_head *head, struct mr_state_writer *writer,
    struct mr_error *err)
{
    struct mr_work *w = m->w;
    size_t n_blocks;
    enum mr_status status = seal(w, head, writer, &n_blocks, err);
    struct sketch_locks locks;

    if (status == MR_OK)
        status = mr_head_check_folders(head, err);
    if (status != MR_OK)
        return status;
    for (size_t i = 0; i < SKETCH_LOCKS; i++)
        pthread_mutex_init(&locks.lock[i], NULL);
#pragma omp parallel num_threads(count_makers(w, n_blocks))
    {
        struct mr_error own = {.status = MR_OK};
        enum mr_status result, packed = MR_OK;

        /* The others need not wait for this. */
#pragma omp single nowait
        packed = mr_state_writer_pack(writer, &own);
        result = write_share(m, head, &locks, writer, n_blocks, &own);
        result = packed != MR_OK ? packed : result;
#pragma omp critical
        if (result != MR_OK && status == MR_OK) {
            status = result;
            *err = own;
        }
    }
    for (size_t i = 0; i < SKETCH_LOCKS; i++)
        pthread_mutex_destroy(&locks.lock[i]);
    return status;
}

/* Add up a result: of what was read, and of what was there already. */
static enum mr_status fill_result(const struct mr_map_run *m,
    const struct mr_state_head *head, struct mr_result *result)
{
    const struct mr_work *w = m->w;
    struct mr_coverage all = {.n_repeated = head->coverage.n_repeated};
    struct mr_coverage veiled = {.n_failures = 0}; /* by what was there */
    enum mr_status status =
        mr_result_fill(result, head, mr_aggregate_users(w->aggregate));

    result->read_bytes = result->totals.text_bytes;
    if (status != MR_OK)
        return status;
    if (w->resume == NULL)
        return mr_result_unveil(result, &m->veiled, &w->listing);
    status = mr_resume_coverage(w->resume, &all);
    if (status == MR_OK)
        status = mr_coverage_copy(&head->coverage, &all);
    if (status == MR_OK)
        status = mr_coverage_veiled(&all, &veiled);
    if (status == MR_OK)
        status = mr_coverage_settle(&all);
    if (status == MR_OK)
        status = mr_result_count(result, &all);
    if (status == MR_OK)
        status = mr_result_unveil(result, &veiled, &w->listing);
    mr_coverage_release(&veiled);
    mr_coverage_release(&all);
    return status == MR_OK ? mr_result_unveil(result, &m->veiled, &w->listing)
                           : status;
}

/* What is of no use once users have been written: with many, freeing them
 * takes as long as finishing the file. */
static void free_early(struct mr_work *w)
{
    mr_aggregate_free(w->aggregate);
    w->aggregate = NULL;
    if (w->resume == NULL)
        mr_listing_release(&w->listing);
}

/* Finish the writer.  Meanwhile, at the end, another thread adds up the result
 * and frees inputs and users. */
static enum mr_status finish(struct mr_map_run *m,
    struct mr_state_writer *writer, const struct mr_state_head *head,
    struct mr_result *result, struct mr_error *err)
{
    enum mr_status status = MR_OK, filled = MR_OK;
    struct mr_work *w = m->w;

#pragma omp parallel sections num_threads((int)w->threads)
    {
#pragma omp section
        status = mr_state_writer_finish(writer, head, result->path,
            sizeof(result->path), &result->state_bytes, err);
#pragma omp section
        if (m->is_last) {
            filled = fill_result(m, head, result);
            free_early(w);
        }
    }
    return status == MR_OK && filled != MR_OK ? mr_fail_nomem(err) : status;
}

/* Finish with what is kept of ids and segments. */
static enum mr_status finish_kept(struct mr_map_run *m,
    struct mr_state_writer *writer, const struct mr_state_head *head,
    struct mr_result *result, struct mr_error *err)
{
    struct mr_keeper *k = &m->w->keeper;
    struct mr_segment_stream *segments = NULL;
    struct mr_id_stream *ids = NULL;
    enum mr_status status = MR_OK;

    if (k->ids != NULL)
        status = mr_idset_read(k->ids, &ids, err);
    if (status == MR_OK && k->segments != NULL &&
        mr_segments_read(k->segments, &segments) != MR_OK)
        status = mr_fail_nomem(err);
    mr_state_writer_keep(writer, ids, segments);
    if (status == MR_OK)
        status = finish(m, writer, head, result, err);
    else
        mr_state_writer_abort(writer);
    mr_id_stream_free(ids);
    mr_segment_stream_free(segments);
    return status;
}

/* The writer, which is open from the start and anew after each state. */
static enum mr_status take_writer(struct mr_map_run *m,
    struct mr_state_writer **writer_out, struct mr_error *err)
{
    *writer_out = m->writer;
    m->writer = NULL;
    if (*writer_out != NULL)
        return MR_OK;
    return mr_state_writer_new(m->output, &m->w->plan.spec, writer_out, err);
}

enum mr_status mr_map_write_state(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_state_head *head = calloc(1, sizeof(*head));
    struct mr_state_writer *writer = NULL;
    enum mr_status status =
        head == NULL ? mr_fail_nomem(err) : take_writer(m, &writer, err);

    if (status != MR_OK) {
        free(head);
        return status;
    }
    status = make_head(m, head, err);
    if (status == MR_OK)
        status = write_users(m, head, writer, err);
    if (status == MR_OK && is_given_up(m))
        status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    if (status == MR_OK)
        status = finish_kept(m, writer, head, result, err);
    else
        mr_state_writer_abort(writer);
    if (m->w->aggregate != NULL)
        mr_aggregate_unseal(m->w->aggregate);
    mr_state_head_release(head);
    free(head);
    return status;
}
