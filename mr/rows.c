#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_rows: events as rows, in order, by all threads.
 *
 * Some inputs are open at a time, in the order of the listing.  A thread
 * looks for the first of them that nobody reads, reads a block of lines of
 * it, lets others read on, and parses the block into rows.  Rows of a block
 * are settled once those of the blocks before it are: they are added to what
 * waits of their input.  So one large input is unpacked by one thread at a
 * time and parsed by all, and of many each thread has its own.  The rows of
 * the input whose turn it is are passed on once it has been closed.
 *
 * What is done with an input is rows_job.c's; here is who does it, and when.
 *
 * One lock is for all that threads share.  What takes long is done without
 * it, by the one thread that has set busy, settling or passing; what these
 * guard is touched by no other.
 */

#include "mr/rows_private.h"

#include <omp.h>
#include <stdlib.h>

#include "mr/outputs.h"
#include "mr/result.h"

/* For each thread: inputs that are open, and blocks that are being parsed or
 * wait for those before them. */
#define INPUTS_PER_THREAD 2
#define UNITS_PER_THREAD 4
/* What a unit keeps of its memory for the next one. */
#define KEPT_BYTES ((size_t)1 << 20)

/* ---- what threads share ---- */

/* The run cannot go on.  Of several causes that of the first input stays. */
static void set_fatal(
    struct mr_rows_run *r, size_t input, const struct mr_error *err)
{
    pthread_mutex_lock(&r->lock);
    if (r->fatal.status == MR_OK || input < r->fatal_input) {
        r->fatal = *err;
        r->fatal_input = input;
    }
    r->stopping = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* Under the lock: tell the observer, a few times a second. */
static void report_progress(struct mr_rows_run *r)
{
    double now;

    if (r->observer->progress == NULL)
        return;
    now = mr_clock();
    if (now - r->last_progress < 0.2)
        return;
    r->last_progress = now;
    r->observer->progress(r->observer->context, &r->progress);
}

/* ---- units ---- */

/* Under the lock: a new unit, the last of a job. */
static struct mr_rows_unit *unit_take(
    struct mr_rows_run *r, struct mr_rows_job *job)
{
    struct mr_rows_unit *u = r->spare;

    if (u != NULL)
        r->spare = u->next;
    else
        u = calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    u->next = NULL;
    if (job->last != NULL)
        job->last->next = u;
    else
        job->first = u;
    job->last = u;
    r->n_units++;
    return u;
}

static void keep_memory(struct mr_buffer *b)
{
    b->n = 0;
    if (b->cap > KEPT_BYTES)
        mr_buffer_release(b);
}

/* Under the lock: put the first unit of a job away. */
static void unit_give(struct mr_rows_run *r, struct mr_rows_job *job)
{
    struct mr_rows_unit *u = job->first;

    job->first = u->next;
    if (job->first == NULL)
        job->last = NULL;
    u->done = false;
    keep_memory(&u->rows);
    keep_memory(&u->rejects);
    u->next = r->spare;
    r->spare = u;
    r->n_units--;
}

/* A unit has been parsed: settle what is ready, unless another thread does;
 * that one then sees to this unit, too. */
static void settle(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_rows_unit *u)
{
    struct mr_error err = {.status = MR_OK};

    pthread_mutex_lock(&r->lock);
    u->done = true;
    while (!job->settling && job->first != NULL && job->first->done) {
        const struct mr_rows_unit *ready = job->first;
        enum mr_status status;

        job->settling = true;
        pthread_mutex_unlock(&r->lock);
        status = mr_rows_settle(r, job, ready, &err);
        if (status != MR_OK)
            set_fatal(r, job->input, &err);
        pthread_mutex_lock(&r->lock);
        job->settling = false;
        unit_give(r, job);
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- steps: what a thread does next ---- */

enum step { STEP_NONE, STEP_READ, STEP_END, STEP_PASS };

/* Under the lock: the first thing that can be done, and with which job. */
static enum step find_step(struct mr_rows_run *r, struct mr_rows_job **job_out)
{
    struct mr_rows_job *first = &r->job[r->first % r->n_jobs];

    *job_out = first;
    if (r->first < r->next && first->done && !r->passing)
        return STEP_PASS;
    for (size_t i = r->first; i < r->next; i++) {
        struct mr_rows_job *job = *job_out = &r->job[i % r->n_jobs];

        if (job->busy || job->done)
            continue;
        if (job->at_end && job->first == NULL)
            return STEP_END;
        if (!job->at_end && r->n_units < r->max_units)
            return STEP_READ;
    }
    if (r->next == r->listing.n || r->next - r->first == r->n_jobs ||
        r->n_units >= r->max_units)
        return STEP_NONE;
    *job_out = &r->job[r->next % r->n_jobs];
    (*job_out)->input = r->next++;
    return STEP_READ;
}

/* Wait for something to do.  False: there is nothing more. */
static bool take_step(
    struct mr_rows_run *r, enum step *step_out, struct mr_rows_job **job_out)
{
    enum step step = STEP_NONE;

    pthread_mutex_lock(&r->lock);
    while (!r->stopping && r->first < r->listing.n) {
        step = find_step(r, job_out);
        if (step != STEP_NONE)
            break;
        pthread_cond_wait(&r->changed, &r->lock);
    }
    if (step == STEP_PASS)
        r->passing = true;
    else if (step != STEP_NONE)
        (*job_out)->busy = true;
    pthread_mutex_unlock(&r->lock);
    *step_out = step;
    return step != STEP_NONE;
}

/* Under the lock: count what the thread's batch holds, and what of the input
 * has been passed. */
static enum mr_status count(
    struct mr_rows_thread *t, struct mr_rows_job *job, struct mr_error *err)
{
    struct mr_rows_run *r = t->run;
    enum mr_status status = mr_batch_count(&job->sum, &t->batch);

    job->without_user += t->writer.without_user;
    t->writer.without_user = 0;
    r->progress.lines += t->batch.lines;
    mr_batch_clear(&t->batch);
    report_progress(r);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

/* Parse a block into a unit, and settle it. */
static void parse_unit(struct mr_rows_thread *t, struct mr_rows_job *job,
    struct mr_rows_unit *u, const struct mr_line_block *block)
{
    struct mr_rows_run *r = t->run;
    struct mr_error err = {.status = MR_OK};
    enum mr_status status;

    t->writer.out = &u->rows;
    status = mr_mapper_parse(
        &t->mapper, block, &job->preface, &t->batch, &u->rejects, &err);
    u->lines = t->batch.lines;
    pthread_mutex_lock(&r->lock);
    if (status == MR_OK)
        status = count(t, job, &err);
    pthread_mutex_unlock(&r->lock);
    if (status != MR_OK)
        set_fatal(r, job->input, &err);
    settle(r, job, u);
}

/* Under the lock: a block has been read, or the end or the failure of the
 * partition has been met: let others go on.  The block's unit is NULL if no
 * lines are left in it. */
static enum mr_status hand_on(struct mr_rows_thread *t, struct mr_rows_job *job,
    const struct mr_line_block *block, struct mr_rows_unit **unit_out,
    struct mr_error *err)
{
    struct mr_rows_run *r = t->run;
    uint64_t at = mr_stream_stored_bytes(job->stream);
    enum mr_status status;

    *unit_out = NULL;
    if (!mr_container_is_archive(job->container)) {
        r->progress.bytes_done += at - job->passed;
        job->passed = at;
    }
    /* A header row, empty lines before it, or just a byte-order mark. */
    if (block->text.n == 0)
        t->batch.text_bytes = block->bytes;
    status = count(t, job, err);
    if (block->text.n > 0 && status == MR_OK) {
        *unit_out = unit_take(r, job);
        if (*unit_out == NULL)
            status = mr_fail_nomem(err);
    }
    job->busy = false;
    pthread_cond_broadcast(&r->changed);
    return status;
}

/* Nothing is left of the input. */
static enum mr_status end_input(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    enum mr_status status = mr_rows_close(job, err);

    pthread_mutex_lock(&r->lock);
    job->busy = false;
    job->done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status step_read(
    struct mr_rows_thread *t, struct mr_rows_job *job, struct mr_error *err)
{
    struct mr_rows_run *r = t->run;
    struct mr_line_block block = {.bytes = 0};
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;
    struct mr_rows_unit *u = NULL;
    bool at_end;

    if (job->stream == NULL)
        status = mr_rows_next_partition(t, job, err);
    if (status != MR_OK)
        return status;
    if (job->stream == NULL)
        return end_input(r, job, err);
    status = mr_rows_read(t, job, &block, &at_end, &why);
    if (mr_rows_is_fatal(status)) {
        mr_line_block_release(&block);
        *err = why;
        return status;
    }
    if (status != MR_OK) {
        job->failed = at_end = true;
        job->why = why;
        mr_line_block_release(&block);
        block = (struct mr_line_block){.bytes = 0};
        mr_batch_clear(&t->batch);
    }
    pthread_mutex_lock(&r->lock);
    job->at_end = at_end;
    status = hand_on(t, job, &block, &u, err);
    pthread_mutex_unlock(&r->lock);
    if (status == MR_OK && u != NULL)
        parse_unit(t, job, u, &block);
    mr_line_block_release(&block);
    return status;
}

static enum mr_status step_end(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    enum mr_status status = mr_rows_end_partition(r, job, err);

    pthread_mutex_lock(&r->lock);
    job->at_end = job->busy = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status step_pass(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    enum mr_status status = mr_rows_pass_on(r, job, err);

    pthread_mutex_lock(&r->lock);
    r->progress.partitions_done++;
    r->progress.bytes_done += r->listing.inputs[job->input].size - job->passed;
    report_progress(r);
    mr_rows_job_clear(job);
    r->passing = false;
    r->first++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status take_stop(
    const struct mr_rows_run *r, struct mr_error *err)
{
    if (r->observer->stop == NULL || *r->observer->stop == 0)
        return MR_OK;
    return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
}

static enum mr_status do_step(struct mr_rows_thread *t, enum step step,
    struct mr_rows_job *job, struct mr_error *err)
{
    enum mr_status status = take_stop(t->run, err);

    if (status != MR_OK)
        return status;
    switch (step) {
    case STEP_READ:
        return step_read(t, job, err);
    case STEP_END:
        return step_end(t->run, job, err);
    case STEP_PASS:
        return step_pass(t->run, job, err);
    case STEP_NONE:
        break;
    }
    return MR_OK;
}

static void run_thread(struct mr_rows_run *r)
{
    struct mr_rows_thread t = {.run = r};
    struct mr_error err = {.status = MR_OK};
    enum mr_status status =
        mr_mapper_init(&t.mapper, &r->plan, r->rejects != NULL, r->types, &err);
    struct mr_rows_job *job = NULL;
    enum step step;

    if (status == MR_OK)
        status =
            mr_row_writer_init(&t.writer, &r->plan, r->options->kind, &err);
    if (status != MR_OK)
        set_fatal(r, SIZE_MAX, &err);
    t.mapper.rows = &t.writer;
    while (status == MR_OK && take_step(r, &step, &job)) {
        /* What was passed on belongs to another input by then. */
        size_t input = job->input;

        status = do_step(&t, step, job, &err);
        if (status != MR_OK)
            set_fatal(r, input, &err);
    }
    mr_row_writer_release(&t.writer);
    mr_mapper_release(&t.mapper);
    mr_batch_release(&t.batch);
    mr_buffer_release(&t.text);
}

/* ---- the verb ---- */

static enum mr_status run_threads(struct mr_rows_run *r, struct mr_error *err)
{
    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)r->threads)
    run_thread(r);
    if (r->fatal.status == MR_OK)
        return MR_OK;
    *err = r->fatal;
    if (r->fatal_input < r->listing.n && !mr_rows_is_fatal(err->status))
        mr_error_subject(
            err, "cannot read", r->listing.inputs[r->fatal_input].path);
    return err->status;
}

static enum mr_status open_plan(struct mr_rows_run *r, struct mr_error *err)
{
    const char *spec = r->options->spec, *temporary = r->options->temporary;
    enum mr_status status =
        mr_plan_open_rows(spec == NULL ? "lake" : spec, &r->plan, err);

    if (status != MR_OK)
        return status;
    r->plan.temporary = temporary == NULL ? "." : temporary;
    mr_note_table(r->observer, &r->plan.spec, r->plan.table);
    return mr_types_new(&r->types) != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

static enum mr_status make_jobs(struct mr_rows_run *r, struct mr_error *err)
{
    r->n_jobs = (size_t)INPUTS_PER_THREAD * r->threads;
    r->max_units = (size_t)UNITS_PER_THREAD * r->threads;
    r->job = calloc(r->n_jobs, sizeof(*r->job));
    if (r->job == NULL)
        return mr_fail_nomem(err);
    r->progress.partitions = r->listing.n;
    for (size_t i = 0; i < r->listing.n; i++)
        r->progress.bytes += r->listing.inputs[i].size;
    return MR_OK;
}

/* Everything that can be refused before the long part begins. */
static enum mr_status prepare(struct mr_rows_run *r, struct mr_error *err)
{
    const struct mr_rows_options *o = r->options;
    enum mr_status status = open_plan(r, err);

    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, r->threads, &r->listing, err);
    if (status == MR_OK)
        mr_note_links(&r->listing, r->observer);
    if (status == MR_OK)
        mr_note_names(&r->listing, r->observer);
    if (status == MR_OK)
        status = mr_outputs_check(
            o->output, o->rejects, o->spec, &r->plan.spec, &r->listing, err);
    if (status == MR_OK)
        status = make_jobs(r, err);
    if (status == MR_OK && o->rejects != NULL)
        status = mr_reject_file_new(o->rejects, &r->rejects, err);
    if (status == MR_OK && o->output != NULL)
        status = mr_publish_begin_file(o->output, &r->publish, err);
    return status;
}

static enum mr_status write_header(struct mr_rows_run *r, struct mr_error *err)
{
    struct mr_buffer text = {0};
    enum mr_status status =
        mr_row_header(&r->plan.spec, r->options->kind, &text);

    if (status != MR_OK)
        status = mr_fail_nomem(err);
    else
        status = mr_rows_write(r, (struct mr_span){text.p, text.n}, err);
    mr_buffer_release(&text);
    return status;
}

/* Give the files their names, the output last: where it is, all is. */
static enum mr_status finish(
    struct mr_rows_run *r, enum mr_status status, struct mr_error *err)
{
    struct mr_publish *publish = r->publish;
    struct mr_reject_file *rejects = r->rejects;

    r->publish = NULL;
    r->rejects = NULL;
    if (status == MR_OK && rejects != NULL)
        status = mr_reject_file_finish(rejects, err);
    else
        mr_reject_file_abort(rejects);
    if (status == MR_OK && publish != NULL)
        status = mr_publish_commit(publish, NULL, err);
    else
        mr_publish_abort(publish);
    return status;
}

static enum mr_status fill_result(
    struct mr_rows_run *r, struct mr_result *result, struct mr_error *err)
{
    struct mr_state_head head = {.spec = &r->plan.spec};
    struct mr_coverage veiled = {.n_failures = 0};
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < r->listing.n_unlisted && status == MR_OK; i++)
        status =
            mr_coverage_add_failure(&r->coverage, r->listing.unlisted[i].name,
                MR_NOWHERE, r->listing.unlisted[i].cause);
    if (status == MR_OK)
        status = mr_coverage_veiled(&r->coverage, &veiled);
    if (status == MR_OK)
        status = mr_coverage_settle(&r->coverage);
    if (status == MR_OK) {
        head.coverage = r->coverage;
        status = mr_result_fill(result, &head, 0);
    }
    if (status == MR_OK)
        status = mr_result_unveil(result, &veiled, &r->listing);
    mr_coverage_release(&veiled);
    if (status == MR_OK && r->options->output != NULL)
        (void)snprintf(
            result->path, sizeof(result->path), "%s", r->options->output);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

static void release(struct mr_rows_run *r)
{
    for (size_t i = 0; r->job != NULL && i < r->n_jobs; i++) {
        while (r->job[i].first != NULL)
            unit_give(r, &r->job[i]);
        mr_rows_job_release(&r->job[i]);
    }
    for (struct mr_rows_unit *u = r->spare, *next; u != NULL; u = next) {
        next = u->next;
        mr_buffer_release(&u->rows);
        mr_buffer_release(&u->rejects);
        free(u);
    }
    free(r->job);
    mr_coverage_release(&r->coverage);
    mr_digest_set_release(&r->passed_on);
    mr_listing_release(&r->listing);
    mr_types_free(r->types);
    mr_plan_release(&r->plan);
    mr_stream_release_spares();
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
}

enum mr_status mr_rows(const struct mr_rows_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err)
{
    struct mr_rows_run *r = calloc(1, sizeof(*r));
    double start = mr_clock();
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (r == NULL)
        return mr_fail_nomem(err);
    r->options = options;
    r->observer = observer;
    r->sink = sink;
    r->threads = mr_threads(options->threads);
    if (pthread_mutex_init(&r->lock, NULL) != 0 ||
        pthread_cond_init(&r->changed, NULL) != 0) {
        free(r);
        return mr_fail_nomem(err);
    }
    status = prepare(r, err);
    if (status == MR_OK)
        status = write_header(r, err);
    if (status == MR_OK)
        status = run_threads(r, err);
    if (status == MR_OK)
        status = fill_result(r, result_out, err);
    status = finish(r, status, err);
    if (status == MR_OK)
        mr_note_no_event(
            observer, &r->plan.spec, &result_out->totals, "", options->rejects);
    release(r);
    free(r);
    result_out->seconds = mr_clock() - start;
    return status;
}
