#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * The threads of a map.
 *
 * Inputs are taken largest first, each by one thread, its owner: while there
 * are more inputs than threads, nobody waits for anybody.  The owner turns a
 * partition into units: blocks of lines, or, of a zstd file of several
 * frames, runs of whole frames.  Once inputs have run out, idle threads
 * become helpers, and owners put units into a queue for them instead of
 * parsing all of them themselves:
 *
 *    owner:   unpack ─▶ unit ─┬▶ parse here (queue full, or no helpers)
 *                             └▶ queue ─▶ helper parses
 *                                             │
 *             job.found  ◀── counts, tuples ──┘
 *
 * So a single large gzip file is unpacked by one thread and parsed by the
 * others.  Units of zstd stand where they were unpacked to, and the owner keeps
 * some back, so that nobody reads what it still looks back at.  Whoever parsed
 * a unit adds what it found to the job, the partition's own collection; what
 * waits there to be sorted is sorted while there is no unit to parse, so that
 * less is left for the end.  Only when the owner has seen the partition's end,
 * checksums and all, and has closed its file, unchanged, is the job added to
 * what is shared; else it is dropped and the failure noted.
 *
 * Two things need units in order: line numbers of rejected lines, and the
 * lines that straddle two runs of frames.  Such units, once parsed, wait in
 * the job's ring until the owner settles them one after the other.  Where
 * rejected lines are wanted, a file of several frames is unpacked by its
 * owner like any other: of the two things there is only one at a time.
 *
 * A partition that a state has already (mr/resume.h) only has its digest
 * taken, by the thread that would have read it.
 */

#include "mr/work_private.h"

#include <stdlib.h>

#include "mr/result.h"

/* Files of less than so many stored bytes are not put in order of size: none
 * takes long, and side by side in a folder they are found faster. */
#define ORDERED_BYTES ((uint64_t)64 << 10)
/* A thread tells of its progress after so many files. */
#define TELL_FILES 64

/* ---- the run as a whole ---- */

void mr_work_fail(struct mr_work *w, size_t input, const struct mr_error *err)
{
    bool stops = err->status == MR_STOPPED;

    pthread_mutex_lock(&w->lock);
    if (w->fatal.status == MR_OK ||
        (!stops && (w->fatal.status == MR_STOPPED || input < w->fatal_input))) {
        w->fatal = *err;
        w->fatal_input = input;
    }
    atomic_store(&w->stopping, true);
    pthread_cond_broadcast(&w->queued);
    pthread_cond_broadcast(&w->settled);
    pthread_mutex_unlock(&w->lock);
}

bool mr_work_is_stopping(struct mr_work *w)
{
    if (w->observer->stop != NULL && *w->observer->stop != 0 &&
        !atomic_load(&w->stopping)) {
        struct mr_error err;

        (void)mr_fail(&err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        mr_work_fail(w, SIZE_MAX, &err);
    }
    return atomic_load(&w->stopping);
}

/* Under the lock: tell the observer, a few times a second. */
static void report_progress(struct mr_work *w)
{
    double now;

    if (w->observer->progress == NULL)
        return;
    now = mr_clock();
    if (now - w->last_progress < 0.2)
        return;
    w->last_progress = now;
    w->observer->progress(w->observer->context, &w->progress);
}

void mr_worker_tell(struct mr_worker *t)
{
    struct mr_work *w = t->work;

    pthread_mutex_lock(&w->lock);
    w->progress.partitions_done += t->untold.partitions_done;
    w->progress.bytes_done += t->untold.bytes_done;
    w->progress.lines += t->untold.lines;
    report_progress(w);
    pthread_mutex_unlock(&w->lock);
    memset(&t->untold, 0, sizeof(t->untold));
    t->untold_text = 0;
}

/* ---- an input ---- */

static enum mr_status map_partition(struct mr_worker *t, size_t input,
    struct mr_stream *stream, bool is_member, struct mr_group *group,
    struct mr_error *err)
{
    struct mr_job job;
    enum mr_status status = mr_job_begin(t, input, mr_stream_name(stream),
        is_member ? NULL : &group->passed, &job, err);

    if (status == MR_OK) {
        mr_job_read(t, &job, stream);
        status = mr_group_add(t, group, &job, stream, err);
    }
    mr_job_end(t, &job);
    return status;
}

/* All partitions of an open container, and its closing. */
static enum mr_status map_container(struct mr_worker *t, size_t input,
    struct mr_container *container, struct mr_group *group,
    struct mr_error *err)
{
    const char *name = t->work->listing.inputs[input].name;
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;

    while (status == MR_OK && !mr_work_is_stopping(t->work)) {
        struct mr_stream *stream = NULL;

        if (mr_container_next(container, &stream, &why) != MR_OK) {
            status = mr_group_fail(group, name, &why, err);
            break;
        }
        if (stream == NULL) {
            if (mr_container_is_archive(container))
                status = mr_group_add_archive(group, name, err);
            break;
        }
        status = map_partition(
            t, input, stream, mr_container_is_archive(container), group, err);
        mr_stream_close(stream);
    }
    if (mr_container_close(container, &why) != MR_OK && status == MR_OK &&
        mr_group_spoil(t, group, &why) != MR_OK)
        status = mr_fail_nomem(err);
    return status;
}

/* Whether an input's own name is one of what could not be read. */
static bool has_failed(const struct mr_group *group, const char *name)
{
    for (size_t i = 0; i < group->coverage.n_failures; i++)
        if (strcmp(group->coverage.failure[i].name, name) == 0)
            return true;
    return false;
}

/* Read an input and share what it has. */
static enum mr_status read_input(struct mr_worker *t, size_t input,
    struct mr_group *group, struct mr_error *err)
{
    const struct mr_input *in = &t->work->listing.inputs[input];
    struct mr_error why = {.status = MR_OK};
    struct mr_container *container;
    enum mr_status status;

    if (mr_container_open(in, &container, &why) != MR_OK)
        status = mr_group_fail(group, in->name, &why, err);
    else
        status = map_container(t, input, container, group, err);
    if (status != MR_OK || mr_work_is_stopping(t->work))
        return status;
    t->work->done[input] = true;
    t->work->failed[input] = has_failed(group, in->name);
    return mr_group_commit(t, group, err);
}

static void map_input(struct mr_worker *t, size_t input)
{
    struct mr_work *w = t->work;
    struct mr_group group = {.passed = 0};
    struct mr_error err = {.status = MR_OK};
    enum mr_status status = MR_OK;

    t->new_groups.n = 0;
    if (w->resume != NULL)
        status = mr_resume_has(w->resume, input, &w->listing.inputs[input],
            w->observer->stop, &w->done[input], &err);
    if (status == MR_OK && !w->done[input])
        status = read_input(t, input, &group, &err);
    if (status != MR_OK)
        mr_work_fail(w, input, &err);
    t->untold.partitions_done++;
    t->untold.bytes_done += w->listing.inputs[input].size - group.passed;
    mr_group_release(t, &group);
    if (t->untold.partitions_done >= TELL_FILES)
        mr_worker_tell(t);
}

/* ---- a thread ---- */

/* Whether the run is whole, at its end or because it was stopped. */
static bool is_whole(struct mr_work *w)
{
    bool whole;

    pthread_mutex_lock(&w->lock);
    whole = w->fatal.status == MR_OK || w->fatal.status == MR_STOPPED;
    pthread_mutex_unlock(&w->lock);
    return whole;
}

static bool take_input(struct mr_worker *t, size_t *input_out)
{
    struct mr_work *w = t->work;
    size_t i;

    if (mr_work_is_stopping(w) ||
        (t->has_taken && w->deadline > 0 && mr_clock() >= w->deadline))
        return false;
    i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
    if (i >= w->n_order)
        return false;
    t->has_taken = true;
    *input_out = w->order[i];
    return true;
}

void mr_work_thread(struct mr_work *w)
{
    struct mr_worker t = {.work = w};
    struct mr_error err = {.status = MR_OK};
    enum mr_status status;
    size_t input;

    status =
        mr_mapper_init(&t.mapper, &w->plan, w->rejects != NULL, w->types, &err);
    if (status == MR_OK && (mr_aggregate_scratch_new(&t.scratch) != MR_OK ||
                               mr_type_scope_new(&t.groups) != MR_OK))
        status = mr_fail_nomem(&err);
    while (status == MR_OK && take_input(&t, &input))
        map_input(&t, input);
    if (status == MR_OK) {
        mr_work_help(&t);
    } else {
        mr_work_fail(w, 0, &err);
        mr_work_leave(w);
    }
    if (status == MR_OK && is_whole(w) && mr_worker_share(&t, &err) != MR_OK)
        mr_work_fail(w, SIZE_MAX, &err);
    mr_worker_tell(&t);
    mr_worker_free_unit(&t);
    mr_coverage_release(&t.coverage);
    free(t.cell);
    mr_type_scope_free(t.groups);
    mr_buffer_release(&t.new_groups);
    mr_batch_release(&t.ready);
    mr_batch_release(&t.job_sum);
    mr_batch_release(&t.over);
    mr_batch_release(&t.batch);
    mr_aggregate_scratch_free(t.scratch);
    mr_mapper_release(&t.mapper);
}

/* Largest first, so that no thread is left with a large one at the end. */
static enum mr_status order_inputs(
    struct mr_work *w, const size_t *input, size_t n)
{
    size_t *order = realloc(w->order, (n + 1) * sizeof(*order));

    if (order == NULL)
        return MR_NOMEM;
    w->order = order;
    for (size_t i = 0; i < n; i++) {
        order[i] = input == NULL ? i : input[i];
        w->progress.bytes += w->listing.inputs[order[i]].size;
    }
    w->n_order = n;
    w->progress.partitions += n;
    atomic_store(&w->next, 0);
    return mr_listing_largest_first(&w->listing, ORDERED_BYTES, order, n);
}

enum mr_status mr_work_init(
    struct mr_work *w, unsigned threads, struct mr_error *err)
{
    w->threads = threads;
    if (pthread_mutex_init(&w->lock, NULL) != 0 ||
        pthread_cond_init(&w->queued, NULL) != 0 ||
        pthread_cond_init(&w->settled, NULL) != 0)
        return mr_fail_nomem(err);
    return MR_OK;
}

enum mr_status mr_work_batch(
    struct mr_work *w, const size_t *input, size_t n, struct mr_error *err)
{
    if (w->done == NULL)
        w->done = calloc(w->listing.n + 1, sizeof(*w->done));
    if (w->failed == NULL)
        w->failed = calloc(w->listing.n + 1, sizeof(*w->failed));
    if (w->done == NULL || w->failed == NULL ||
        order_inputs(w, input, input == NULL ? w->listing.n : n) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

bool mr_work_left(struct mr_work *w)
{
    return atomic_load(&w->next) < w->n_order;
}

void mr_work_round(struct mr_work *w, unsigned threads, double deadline)
{
    w->owners = w->threads = threads;
    atomic_store(&w->helpers, 0);
    w->idle_seconds = 0;
    w->deadline = deadline;
}

void mr_work_release(struct mr_work *w)
{
    mr_work_free_units(&w->spare);
    mr_coverage_release(&w->coverage);
    mr_cellbook_release(&w->cells);
    mr_aggregate_free(w->aggregate);
    mr_types_free(w->types);
    mr_keeper_release(&w->keeper);
    mr_plan_release(&w->plan);
    mr_listing_release(&w->listing);
    mr_resume_free(w->resume);
    free(w->order);
    free(w->done);
    free(w->failed);
    pthread_cond_destroy(&w->queued);
    pthread_cond_destroy(&w->settled);
    pthread_mutex_destroy(&w->lock);
}
