#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_map: read the inputs with all threads (mr/work.h), then make a state of
 * what they left.  The second half is parallel too: shards are sorted each by
 * one thread; blocks are made, added to the sketches, and packed by any
 * thread, and written in order.  There is one sketch a cell for all threads,
 * since many cells' sketches are large.
 */

#include "mr/mr.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/hyperloglog.h"
#include "mr/map.h"
#include "mr/result.h"
#include "mr/state.h"
#include "mr/work.h"

/* ---- from what threads left to a head ---- */

static enum mr_status add_unlisted(struct mr_work *w)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < w->listing.n_unlisted && status == MR_OK; i++)
        status =
            mr_coverage_add_failure(&w->coverage, w->listing.unlisted[i].name,
                MR_NOWHERE, w->listing.unlisted[i].cause);
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
static void renumber_cells(struct mr_work *w)
{
#pragma omp parallel for schedule(static) num_threads((int)w->threads)
    for (size_t i = 0; i < w->coverage.n_partitions; i++) {
        mr_coverage_prefetch(&w->coverage, i);
        mr_partition_renumber(&w->coverage.partition[i], w->cells.final);
    }
}

/* Which groups are kept was decided among all that were met.  Where some of
 * these turned out not to count, others may be missing. */
static enum mr_status check_groups(
    const struct mr_state_head *head, struct mr_error *err)
{
    unsigned odd = mr_head_odd_rollup(head);

    if (odd == head->spec->n_rollups)
        return MR_OK;
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "raise its max_groups, or leave out the partitions that cannot be read",
        "rollup '%s' has more than %u groups, and some were left out for those "
        "of partitions that could not be read to their ends",
        head->spec->rollup[odd].name,
        (unsigned)head->spec->rollup[odd].max_groups);
}

/* Types and cells in a state's order and numbers, and coverage with these
 * numbers. */
static enum mr_status make_head(
    struct mr_work *w, struct mr_state_head *head, struct mr_error *err)
{
    memset(head, 0, sizeof(*head));
    head->spec = &w->plan.spec;
    if (add_unlisted(w) != MR_OK || sort_cells(w) != MR_OK)
        return mr_fail_nomem(err);
    renumber_cells(w);
    head->coverage = w->coverage;
    memset(&w->coverage, 0, sizeof(w->coverage));
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

/* One thread settles the coverage and encodes it meanwhile. */
static enum mr_status seal(struct mr_work *w, struct mr_state_head *head,
    struct mr_state_writer *writer, size_t *n_blocks, struct mr_error *err)
{
    bool failed = false;

#pragma omp parallel num_threads((int)w->threads) reduction(|| : failed)
    {
#pragma omp single nowait
        failed = mr_coverage_settle(&head->coverage) != MR_OK ||
                 mr_state_writer_encode(writer, head, NULL) != MR_OK;
#pragma omp for schedule(dynamic, 1)
        for (unsigned shard = 0; shard < MR_AGGREGATE_SHARDS; shard++)
            if (mr_aggregate_seal(w->aggregate, shard, w->types, final_number,
                    &w->cells) != MR_OK)
                failed = true;
    }
    if (failed || mr_aggregate_plan(w->aggregate, n_blocks) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
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

static bool is_stopped(const struct mr_work *w)
{
    return w->observer->stop != NULL && *w->observer->stop != 0;
}

/* One thread's share of the blocks; all threads call it together. */
static enum mr_status write_share(struct mr_work *w, struct mr_state_head *head,
    struct sketch_locks *locks, struct mr_state_writer *writer, size_t n_blocks,
    struct mr_error *err)
{
    struct maker m;
    struct mr_packed_block packed = {.n_users = 0};
    enum mr_status status =
        maker_init(&m, head, locks) != MR_OK ? mr_fail_nomem(err) : MR_OK;

#pragma omp for ordered schedule(dynamic, 1)
    for (size_t i = 0; i < n_blocks; i++) {
        if (status == MR_OK && is_stopped(w))
            status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        if (status == MR_OK)
            status = make_block(&m, w->aggregate, i, &packed, err);
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

static enum mr_status write_users(struct mr_work *w, struct mr_state_head *head,
    struct mr_state_writer *writer, struct mr_error *err)
{
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
        result = write_share(w, head, &locks, writer, n_blocks, &own);
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

/* Finish the writer.  Meanwhile another thread adds up the result and frees
 * inputs and users, who have been written: with many that takes as long. */
static enum mr_status finish(struct mr_work *w, struct mr_state_writer *writer,
    const struct mr_state_head *head, struct mr_result *result,
    struct mr_error *err)
{
    enum mr_status status = MR_OK, filled = MR_OK;

#pragma omp parallel sections num_threads((int)w->threads)
    {
#pragma omp section
        status = mr_state_writer_finish(writer, head, result->path,
            sizeof(result->path), &result->state_bytes, err);
#pragma omp section
        {
            filled =
                mr_result_fill(result, head, mr_aggregate_users(w->aggregate));
            mr_aggregate_free(w->aggregate);
            w->aggregate = NULL;
            mr_listing_release(&w->listing);
        }
    }
    return status == MR_OK && filled != MR_OK ? mr_fail_nomem(err) : status;
}

/* Finish with what is kept of ids and segments. */
static enum mr_status finish_kept(struct mr_work *w,
    struct mr_state_writer *writer, const struct mr_state_head *head,
    struct mr_result *result, struct mr_error *err)
{
    struct mr_keeper *k = &w->keeper;
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
        status = finish(w, writer, head, result, err);
    else
        mr_state_writer_abort(writer);
    mr_id_stream_free(ids);
    mr_segment_stream_free(segments);
    return status;
}

/* Write the state and finish, or abort, the writer. */
static enum mr_status write_state(struct mr_work *w,
    struct mr_state_writer *writer, struct mr_result *result,
    struct mr_error *err)
{
    struct mr_state_head *head = malloc(sizeof(*head));
    enum mr_status status;

    if (head == NULL) {
        mr_state_writer_abort(writer);
        return mr_fail_nomem(err);
    }
    status = make_head(w, head, err);
    if (status == MR_OK)
        status = write_users(w, head, writer, err);
    if (status == MR_OK && is_stopped(w))
        status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    if (status == MR_OK)
        status = finish_kept(w, writer, head, result, err);
    else
        mr_state_writer_abort(writer);
    mr_state_head_release(head);
    free(head);
    return status;
}

/* ---- the verb ---- */

/* The table of types, once there is a plan. */
static enum mr_status open_types(struct mr_work *w, struct mr_error *err)
{
    if (mr_types_new(&w->types) != MR_OK)
        return mr_fail_nomem(err);
    for (unsigned i = 0; i < w->plan.spec.n_rollups; i++)
        if (mr_types_limit(w->types, MR_TEXT_ROLLUP + i,
                w->plan.spec.rollup[i].max_groups) != MR_OK)
            return mr_fail_nomem(err);
    return MR_OK;
}

static unsigned count_threads(const struct mr_map_options *o)
{
    return mr_threads(
        o->threads > 0 ? o->threads : (unsigned)omp_get_num_procs());
}

static enum mr_status run_threads(struct mr_work *w, struct mr_error *err)
{
    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)w->threads)
    {
        /* OpenMP may give fewer threads than asked for. */
#pragma omp single
        w->owners = w->threads = (unsigned)omp_get_num_threads();
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

/* Begin to keep what the spec wants kept; what does not fit into memory waits
 * beside the output, which is there by now. */
static enum mr_status open_keeper(
    struct mr_work *w, const char *output, struct mr_error *err)
{
    size_t n = strlen(output);
    const char *slash = strrchr(output, '/');
    char *folder;
    enum mr_status status;

    if (n >= 4 && strcmp(output + n - 4, ".mrs") == 0)
        n = slash == NULL ? 0 : (size_t)(slash - output) + 1;
    folder = n == 0 ? strdup(".") : strndup(output, n);
    if (folder == NULL)
        return mr_fail_nomem(err);
    status = mr_keeper_open(&w->keeper, &w->plan.spec, folder, err);
    free(folder);
    return status;
}

/* Everything that can be refused before the long part begins, the places for
 * the output included. */
static enum mr_status prepare(struct mr_work *w, const struct mr_map_options *o,
    struct mr_state_writer **writer_out, struct mr_error *err)
{
    const char *output = o->output == NULL ? "./mr-state" : o->output;
    const char *spec = o->spec == NULL ? "lake" : o->spec;
    enum mr_status status = mr_plan_open(spec, &w->plan, err);

    if (status == MR_OK)
        status = open_types(w, err);
    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, w->threads, &w->listing, err);
    if (status == MR_OK && o->shards > 1)
        status = mr_listing_shard(
            &w->listing, o->shard, o->shard_last, o->shards, err);
    if (status == MR_OK && o->rejects != NULL)
        status = mr_reject_file_new(o->rejects, &w->rejects, err);
    if (status == MR_OK)
        status = mr_work_order(w, err);
    if (status == MR_OK)
        status = mr_state_writer_new(output, &w->plan.spec, writer_out, err);
    if (status == MR_OK) {
        status = open_keeper(w, output, err);
        if (status != MR_OK)
            mr_state_writer_abort(*writer_out);
    }
    return status;
}

enum mr_status mr_map(const struct mr_map_options *options,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err)
{
    struct mr_work *w = calloc(1, sizeof(*w)); /* large, for the spec in it */
    double start = mr_clock();
    struct mr_state_writer *writer = NULL;
    struct mr_reject_file *rejects;
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (w == NULL)
        return mr_fail_nomem(err);
    w->observer = observer;
    status = mr_work_init(w, count_threads(options), err);
    if (status == MR_OK)
        status = prepare(w, options, &writer, err);
    if (status == MR_OK) {
        status = run_threads(w, err);
        if (status == MR_OK)
            status = write_state(w, writer, result_out, err);
        else
            mr_state_writer_abort(writer);
    }
    rejects = w->rejects;
    w->rejects = NULL;
    if (status == MR_OK && rejects != NULL)
        status = mr_reject_file_finish(rejects, err);
    else
        mr_reject_file_abort(rejects);
    mr_work_release(w);
    free(w);
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

static enum mr_status prepare_one(struct mr_work *w,
    const struct mr_map_one *one, struct mr_state_writer **writer_out,
    struct mr_error *err)
{
    enum mr_status status = open_types(w, err);

    if (status == MR_OK && list_one(one->input, &w->listing) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_work_order(w, err);
    if (status == MR_OK)
        status =
            mr_state_writer_new(one->output, &w->plan.spec, writer_out, err);
    if (status != MR_OK)
        return status;
    mr_state_writer_date(*writer_out, &one->date);
    status = open_keeper(w, one->output, err);
    if (status != MR_OK)
        mr_state_writer_abort(*writer_out);
    return status;
}

enum mr_status mr_map_one(const struct mr_map_one *one, struct mr_error *err)
{
    const struct mr_observer observer = {.stop = one->stop};
    struct mr_work *w = calloc(1, sizeof(*w));
    struct mr_result result = {.n_failed = 0};
    struct mr_state_writer *writer = NULL;
    enum mr_status status;

    if (w == NULL)
        return mr_fail_nomem(err);
    w->observer = &observer;
    status = mr_work_init(w, one->threads, err);
    /* What the copy points to stays the caller's. */
    w->plan = *one->plan;
    if (status == MR_OK)
        status = prepare_one(w, one, &writer, err);
    if (status == MR_OK) {
        status = run_threads(w, err);
        if (status == MR_OK)
            status = write_state(w, writer, &result, err);
        else
            mr_state_writer_abort(writer);
    }
    memset(&w->plan, 0, sizeof(w->plan));
    mr_work_release(w);
    free(w);
    mr_result_release(&result);
    return status;
}
