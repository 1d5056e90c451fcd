#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_map: read the inputs with all threads (mr/work.h), then make a state of
 * what they left.  The second half is parallel too: shards are sorted each by
 * one thread; blocks are made, added to the sketches, and packed by any
 * thread, and written in order.  There is one sketch a cell for all threads,
 * since many cells' sketches are large.
 *
 * In a folder the two halves take turns: when a deadline has passed, threads
 * come to the ends of their files, what they left is published as it is, the
 * state before it is removed, and they go on.
 *
 *     batch ─▶ round ─▶ [checkpoint] ─▶ round ─▶ ... ─▶ batch ─▶ ... ─▶ state
 */

#include "mr/mr.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/hyperloglog.h"
#include "mr/map.h"
#include "mr/outputs.h"
#include "mr/result.h"
#include "mr/sharing.h"
#include "mr/state.h"
#include "mr/stream.h"
#include "mr/text.h"
#include "mr/work.h"

#define CHECKPOINT_SECONDS 60
/* What comes between two checkpoints is at least so many times as long as
 * what the first one took. */
#define CHECKPOINT_SHARE 9

/* A run. */
struct map {
    struct mr_work *w; /* large, for the spec in it */
    const struct mr_map_options *options;
    const char *output;
    bool in_folder;                 /* and so with checkpoints */
    struct mr_state_writer *writer; /* NULL: none is open */
    bool has_batch;                 /* the first one has been given out */
    struct mr_sharing *sharing;     /* NULL: batches are not shared out */
    double deadline;                /* of the next checkpoint */
    double earliest;                /* when it would not take too much time */
    bool is_last;     /* what the threads left is not needed any more */
    uint64_t covered; /* partitions and failures in the last checkpoint */
    struct mr_coverage veiled; /* failures that the state does not tell */
    char checkpoint[4096];     /* its path; empty: there is none */
};

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
static enum mr_status take_coverage(struct map *m, struct mr_coverage *coverage)
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
    struct map *m, struct mr_state_head *head, struct mr_error *err)
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
static bool is_given_up(const struct map *m)
{
    const volatile int *stop = m->w->observer->stop;

    return !m->in_folder && stop != NULL && *stop != 0;
}

/* One thread's share of the blocks; all threads call it together. */
static enum mr_status write_share(struct map *map, struct mr_state_head *head,
    struct sketch_locks *locks, struct mr_state_writer *writer, size_t n_blocks,
    struct mr_error *err)
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

static enum mr_status write_users(struct map *m, struct mr_state_head *head,
    struct mr_state_writer *writer, struct mr_error *err)
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
static enum mr_status fill_result(const struct map *m,
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
static enum mr_status finish(struct map *m, struct mr_state_writer *writer,
    const struct mr_state_head *head, struct mr_result *result,
    struct mr_error *err)
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
static enum mr_status finish_kept(struct map *m, struct mr_state_writer *writer,
    const struct mr_state_head *head, struct mr_result *result,
    struct mr_error *err)
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
static enum mr_status take_writer(
    struct map *m, struct mr_state_writer **writer_out, struct mr_error *err)
{
    *writer_out = m->writer;
    m->writer = NULL;
    if (*writer_out != NULL)
        return MR_OK;
    return mr_state_writer_new(m->output, &m->w->plan.spec, writer_out, err);
}

/* Write the state of all that has been read; of the result, at the end, fill
 * all that can be told, else the path and size alone. */
static enum mr_status write_state(
    struct map *m, struct mr_result *result, struct mr_error *err)
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

/* ---- checkpoints ---- */

/* A state has been published: the one before it has nothing that it has not,
 * and can go.  Where it cannot be removed it does no harm. */
static void replace_checkpoint(struct map *m, const struct mr_result *result)
{
    const char *path = result->path;

    if (path[0] == '\0')
        return;
    if (m->checkpoint[0] != '\0' && strcmp(m->checkpoint, path) != 0)
        (void)unlink(m->checkpoint);
    snprintf(m->checkpoint, sizeof(m->checkpoint), "%s", path);
}

static uint64_t count_covered(const struct mr_work *w)
{
    return w->coverage.n_partitions + w->coverage.n_failures;
}

static double checkpoint_seconds(const struct map *m)
{
    double seconds = m->options->checkpoint_seconds;

    return seconds > 0 ? seconds : CHECKPOINT_SECONDS;
}

/* Whether what has been read could not be merged with the states that the run
 * goes on from: sums of which each has a part. */
static enum mr_status check_overlap(
    const struct map *m, bool *overlaps_out, struct mr_error *err)
{
    const struct mr_work *w = m->w;

    *overlaps_out = false;
    if (w->resume == NULL || w->plan.spec.n_segments == 0 ||
        mr_resume_overlaps(w->resume, &w->coverage, overlaps_out) == MR_OK)
        return MR_OK;
    return mr_fail_nomem(err);
}

/* As write_state, with the path and size alone, unless it could not be merged
 * with what is there; then the path stays empty. */
static enum mr_status write_part(
    struct map *m, struct mr_result *result, struct mr_error *err)
{
    bool overlaps;
    enum mr_status status = check_overlap(m, &overlaps, err);

    if (status != MR_OK)
        return status;
    if (!overlaps)
        return write_state(m, result, err);
    mr_note(m->w->observer,
        "what has been read so far is not saved: some of it has the bytes of a "
        "partition that is there under another name, and for the spec's "
        "segments all must be read into one state");
    return MR_OK;
}

/* Publish what has been read so far.  Where only the disk is against it the
 * run goes on: the next time it may not be. */
static enum mr_status write_checkpoint(struct map *m, struct mr_error *err)
{
    struct mr_result result = {.path = ""};
    uint64_t covered = count_covered(m->w);
    double waited = m->w->idle_seconds / m->w->threads, start = mr_clock();
    enum mr_status status = write_part(m, &result, err);
    char text[1024];
    double now = mr_clock(), least = checkpoint_seconds(m);
    double pause = CHECKPOINT_SHARE * (waited + now - start);

    m->earliest = now + pause;
    m->deadline = now + (pause > least ? pause : least);
    if (status == MR_OK) {
        replace_checkpoint(m, &result);
        m->covered = covered;
    } else if (status == MR_IO || status == MR_LIMIT) {
        mr_error_format(err, text, sizeof(text));
        mr_note(m->w->observer,
            "what has been read so far could not be saved, and the run goes "
            "on: %s",
            text);
        status = MR_OK;
    }
    return status;
}

/* ---- the verb ---- */

/* The table of types, once there is a plan. */
static enum mr_status open_types(struct mr_work *w, struct mr_error *err)
{
    if (mr_types_new(&w->types) != MR_OK)
        return mr_fail_nomem(err);
    for (unsigned i = 0; i < w->plan.spec.n_rollups; i++)
        mr_types_limit(
            w->types, MR_TEXT_ROLLUP + i, w->plan.spec.rollup[i].max_groups);
    return MR_OK;
}

/* One round of all threads. */
static enum mr_status run_threads(struct map *m, struct mr_error *err)
{
    struct mr_work *w = m->w;

    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)w->threads)
    {
        /* OpenMP may give fewer threads than asked for. */
#pragma omp single
        mr_work_round(
            w, (unsigned)omp_get_num_threads(), m->in_folder ? m->deadline : 0);
        mr_work_thread(w);
    }
    if (w->fatal.status == MR_OK)
        return MR_OK;
    *err = w->fatal;
    if (w->fatal_input < w->listing.n)
        mr_error_subject(
            err, "cannot map", w->listing.inputs[w->fatal_input].path);
    return err->status;
}

/* Inputs that were found in states, to be read after all: a state in whose sums
 * some of theirs are, and not all, could not be merged with them. */
static enum mr_status give_found(
    struct map *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    size_t n = 0, *input = malloc((w->listing.n + 1) * sizeof(*input));
    enum mr_status status = MR_OK;

    if (input == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < w->listing.n; i++)
        if (mr_resume_has_found(w->resume, i)) {
            w->done[i] = false;
            input[n++] = i;
        }
    mr_resume_forget(w->resume);
    *has_out = n > 0;
    if (n > 0)
        status = mr_work_batch(w, input, n, err);
    free(input);
    return status;
}

/* Whether there is something to read that others have not published.  Before
 * this run reads what others have claimed, it publishes what it has read: they
 * may be about to do likewise. */
static enum mr_status choose_shared(
    struct map *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_sharing_next next = MR_SHARING_NONE;
    enum mr_status status =
        mr_sharing_choose(m->sharing, m->checkpoint, w->done, &next, err);

    if (status == MR_OK && next == MR_SHARING_OVER &&
        count_covered(w) > m->covered && mr_clock() >= m->earliest) {
        status = write_checkpoint(m, err);
        if (status == MR_OK)
            status = mr_sharing_choose(
                m->sharing, m->checkpoint, w->done, &next, err);
    }
    *has_out = next != MR_SHARING_NONE;
    return status;
}

/* The next batch of those that are shared out. */
static enum mr_status next_shared(
    struct map *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status;
    const size_t *input, none = 0;
    size_t n;
    bool all = false;

    /* A state is made of what a round has left.  Should nothing be left to
     * read, there is still one to make of what could not be listed. */
    if (!m->has_batch && w->listing.n_unlisted > 0) {
        *has_out = m->has_batch = true;
        return mr_work_batch(w, &none, 0, err);
    }
    do {
        status = choose_shared(m, has_out, err);
        if (status == MR_OK && !*has_out)
            status =
                mr_sharing_confirm(m->sharing, w->done, &w->resume, &all, err);
    } while (status == MR_OK && !*has_out && !all);
    if (status != MR_OK || !*has_out)
        return status;
    /* Two for each thread but the first, so that none waits for long. */
    status = mr_sharing_take(m->sharing, m->checkpoint, w->done,
        2 * (size_t)w->threads - 1, &input, &n, err);
    return status == MR_OK ? mr_work_batch(w, input, n, err) : status;
}

/* Give out the inputs that are to be read next, if there are any: where nobody
 * shares them there is one batch, of all; and what was found where it has to
 * be read after all. */
static enum mr_status next_batch(
    struct map *m, bool *has_out, struct mr_error *err)
{
    bool overlaps;
    enum mr_status status;

    if (m->sharing != NULL)
        return next_shared(m, has_out, err);
    *has_out = !m->has_batch;
    if (!m->has_batch) {
        m->has_batch = true;
        return mr_work_batch(m->w, NULL, 0, err);
    }
    status = check_overlap(m, &overlaps, err);
    return overlaps ? give_found(m, has_out, err) : status;
}

/* Read everything, with checkpoints. */
static enum mr_status read_all(struct map *m, struct mr_error *err)
{
    bool has_more = true;
    enum mr_status status = MR_OK;

    while (status == MR_OK) {
        if (!mr_work_left(m->w))
            status = next_batch(m, &has_more, err);
        if (status != MR_OK || !has_more)
            break;
        if (m->in_folder && mr_clock() >= m->deadline &&
            count_covered(m->w) > m->covered)
            status = write_checkpoint(m, err);
        if (status == MR_OK)
            status = run_threads(m, err);
    }
    return status;
}

/* Begin to keep what the spec wants kept; what does not fit into memory waits
 * beside the output, which is there by now. */
static enum mr_status open_keeper(struct map *m, struct mr_error *err)
{
    const char *slash = strrchr(m->output, '/');
    size_t n = strlen(m->output);
    char *folder;
    enum mr_status status;

    if (!m->in_folder)
        n = slash == NULL ? 0 : (size_t)(slash - m->output) + 1;
    folder = n == 0 ? strdup(".") : strndup(m->output, n);
    if (folder == NULL)
        return mr_fail_nomem(err);
    status = mr_keeper_open(&m->w->keeper, &m->w->plan.spec, folder, err);
    free(folder);
    return status;
}

static enum mr_status open_sharing(struct map *m, struct mr_error *err)
{
    struct mr_work *w = m->w;
    const size_t none = 0;
    enum mr_status status = mr_work_batch(w, &none, 0, err);

    if (status != MR_OK)
        return status;
    return mr_sharing_new(m->output, &w->plan.spec, &w->listing,
        m->options->claimant, w->observer, &m->sharing, err);
}

/* Everything that can be refused before the long part begins, the places for
 * the output included. */
static enum mr_status prepare(struct map *m, struct mr_error *err)
{
    const struct mr_map_options *o = m->options;
    const char *spec = o->spec == NULL ? "lake" : o->spec;
    struct mr_work *w = m->w;
    enum mr_status status = mr_plan_open(spec, &w->plan, err);

    if (status == MR_OK)
        mr_note_table(w->observer, &w->plan.spec, w->plan.table);
    if (status == MR_OK && !m->in_folder &&
        (o->checkpoint_seconds > 0 || o->claimant != NULL))
        status = mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name a folder for the output",
            o->claimant != NULL
                ? "machines cannot share by claims what goes to one file, '%s'"
                : "there are no checkpoints of a single file, '%s'",
            m->output);
    if (status == MR_OK)
        status = open_types(w, err);
    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, w->threads, &w->listing, err);
    if (status == MR_OK)
        mr_note_names(&w->listing, w->observer);
    if (status == MR_OK) /* of all shards */
        status = mr_outputs_check(m->in_folder ? NULL : m->output, o->rejects,
            spec, &w->plan.spec, &w->listing, err);
    if (status == MR_OK && o->shards > 1)
        status = mr_listing_shard(
            &w->listing, o->shard, o->shard_last, o->shards, err);
    if (status == MR_OK && o->rejects != NULL)
        status = mr_reject_file_new(o->rejects, &w->rejects, err);
    if (status == MR_OK && m->in_folder)
        mr_resume_note_temporary(m->output, w->observer);
    /* What is shared out is looked for when nothing is left. */
    if (status == MR_OK && m->in_folder && o->claimant == NULL)
        status = mr_resume_open(m->output, &w->plan.spec, &w->listing,
            w->observer, &w->resume, err);
    /* Rejected lines can only be had by reading. */
    if (w->resume != NULL && o->rejects != NULL)
        mr_resume_forget(w->resume);
    if (status == MR_OK)
        status = mr_state_writer_new(m->output, &w->plan.spec, &m->writer, err);
    if (status == MR_OK && o->claimant != NULL)
        status = open_sharing(m, err);
    return status == MR_OK ? open_keeper(m, err) : status;
}

/* ---- the end ---- */

/* What was there already, and where. */
static enum mr_status tell_found(
    struct map *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_resume *r = m->w->resume;
    enum mr_status status;

    if (r == NULL)
        return MR_OK;
    status = mr_resume_end(r, m->w->observer, err);
    if (status != MR_OK)
        return status;
    result->found = mr_resume_found(r);
    if (mr_resume_paths(r, &result->state, &result->n_states) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* All was there already: there is nothing to write. */
static enum mr_status count_found(
    const struct mr_work *w, struct mr_result *result, struct mr_error *err)
{
    struct mr_coverage all = {.n_repeated = 0};
    enum mr_status status = mr_resume_coverage(w->resume, &all);

    if (status == MR_OK)
        status = mr_coverage_settle(&all);
    if (status == MR_OK)
        status = mr_result_count(result, &all);
    mr_coverage_release(&all);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

/* All has been read: publish it, unless there is nothing new. */
static enum mr_status publish(
    struct map *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status;

    if (w->resume != NULL && mr_resume_found(w->resume) > 0 &&
        count_covered(w) + w->listing.n_unlisted == 0) {
        status = count_found(w, result, err);
    } else {
        m->is_last = true;
        mr_stream_release_spares(); /* before blocks are made, which take more
                                     */
        status = write_state(m, result, err);
        if (status == MR_OK)
            replace_checkpoint(m, result);
    }
    return status == MR_OK ? tell_found(m, result, err) : status;
}

/* The run was told to stop: publish what has been read, as a checkpoint; but
 * nothing, or what the last one has, needs none.  MR_STOPPED unless that
 * fails. */
static enum mr_status publish_part(
    struct map *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_result own = {.path = ""};
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;

    if (count_covered(m->w) > m->covered)
        status = write_part(m, &own, &why);
    if (status == MR_OK)
        replace_checkpoint(m, &own);
    if (status == MR_OK)
        status = tell_found(m, result, &why);
    for (size_t i = 0; i < m->w->listing.n; i++)
        result->left +=
            !m->w->done[i] &&
            (m->w->resume == NULL || !mr_resume_may_have(m->w->resume, i));
    if (status == MR_OK)
        return err->status;
    *err = why;
    return status;
}

static enum mr_status run(
    struct map *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_work *w = m->w;
    double start = mr_clock();
    enum mr_status status =
        mr_work_init(w, mr_threads(m->options->threads), err);

    if (status == MR_OK)
        status = prepare(m, err);
    m->deadline = start + checkpoint_seconds(m);
    if (status != MR_OK)
        return status;
    status = read_all(m, err);
    if (status == MR_OK)
        return publish(m, result, err);
    return status == MR_STOPPED && m->in_folder ? publish_part(m, result, err)
                                                : status;
}

enum mr_status mr_map(const struct mr_map_options *options,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err)
{
    struct map m = {.w = calloc(1, sizeof(*m.w)), .options = options};
    double start = mr_clock();
    struct mr_reject_file *rejects;
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (m.w == NULL)
        return mr_fail_nomem(err);
    m.w->observer = observer;
    m.output = options->output == NULL ? "./mr-state" : options->output;
    m.in_folder = !mr_text_ends(m.output, MR_STATE_SUFFIX);
    status = run(&m, result_out, err);
    mr_sharing_free(m.sharing);
    if (m.writer != NULL)
        mr_state_writer_abort(m.writer);
    if (status != MR_OK)
        memcpy(result_out->path, m.checkpoint, sizeof(m.checkpoint));
    rejects = m.w->rejects;
    m.w->rejects = NULL;
    if (status == MR_OK && rejects != NULL)
        status = mr_reject_file_finish(rejects, err);
    else
        mr_reject_file_abort(rejects);
    if (status == MR_OK)
        mr_note_no_event(observer, &m.w->plan.spec, &result_out->totals, "",
            options->rejects);
    mr_coverage_release(&m.veiled);
    mr_work_release(m.w);
    free(m.w);
    mr_stream_release_spares();
    result_out->seconds = mr_clock() - start;
    return status;
}

/* ---- one file ---- */

/* A listing of one input. */
static enum mr_status list_one(
    const struct mr_input *input, struct mr_listing *listing)
{
    struct mr_input *one = calloc(1, sizeof(*one));

    if (one == NULL)
        return MR_NOMEM;
    one->path = strdup(input->path);
    if (one->path == NULL) {
        free(one);
        return MR_NOMEM;
    }
    one->name = one->path + (input->name - input->path);
    one->size = input->size;
    *listing = (struct mr_listing){.inputs = one, .n = 1};
    return MR_OK;
}

static enum mr_status prepare_one(
    struct map *m, const struct mr_map_one *one, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status = open_types(w, err);

    if (status == MR_OK && list_one(one->input, &w->listing) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_state_writer_new(m->output, &w->plan.spec, &m->writer, err);
    if (status != MR_OK)
        return status;
    mr_state_writer_date(m->writer, &one->date);
    return open_keeper(m, err);
}

enum mr_status mr_map_one(const struct mr_map_one *one, struct mr_error *err)
{
    const struct mr_observer observer = {.stop = one->stop};
    struct map m = {.w = calloc(1, sizeof(*m.w)), .output = one->output};
    struct mr_result result = {.n_failed = 0};
    enum mr_status status;

    if (m.w == NULL)
        return mr_fail_nomem(err);
    m.w->observer = &observer;
    status = mr_work_init(m.w, one->threads, err);
    /* What the copy points to stays the caller's. */
    m.w->plan = *one->plan;
    if (status == MR_OK)
        status = prepare_one(&m, one, err);
    if (status == MR_OK)
        status = read_all(&m, err);
    m.is_last = true;
    if (status == MR_OK)
        status = write_state(&m, &result, err);
    if (m.writer != NULL)
        mr_state_writer_abort(m.writer);
    memset(&m.w->plan, 0, sizeof(m.w->plan));
    mr_coverage_release(&m.veiled);
    mr_work_release(m.w);
    free(m.w);
    mr_result_release(&result);
    return status;
}
