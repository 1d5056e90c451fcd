#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/work_private.h"

#include <stdlib.h>

#include "mr/result.h"

/*
 * A partition in work: units, who parses them, and in which order they count.
 * work.c tells how threads share them.
 */

/* Units that may wait for helpers, beside one for each thread: as many as one
 * makes while a helper moves its tuples on, so that it need not parse. */
#define QUEUED 24
/* So many units make one helper get up.  Waking all for each of them took a
 * third of a large file's time, with 15 of them on two processors: its owner,
 * whom all wait for, did it. */
#define WORTH_WAKING 4

/* A unit that stands where its owner unpacks waits until so much more has been
 * unpacked, what fits into a core's own cache, and some: another core that
 * reads it takes it out of there, and unpacking looks back at it.  A large file
 * whose units were handed on at once took a third longer. */
#define BEHIND_BYTES ((size_t)3 << 20)
/* And no longer than for so many units, for some are small. */
#define BEHIND_UNITS (MR_JOB_RING / 2)

/* What a unit keeps of its memory for the next one. */
#define KEPT_BYTES ((size_t)4 * MR_LINES_BLOCK)
/* Cells of a table that is kept: clearing it takes microseconds. */
#define KEPT_CELLS 1024
/* What does not count where a line's length does: a byte-order mark before
 * it, CR and LF behind it. */
#define MARK_BYTES 3
#define END_BYTES 2

/* ---- fragments ---- */

static void fragment_clear(struct mr_fragment *f)
{
    f->text.n = 0;
    f->bytes = 0;
    f->has_end = f->too_long = false;
}

/* Nobody wants the text of a line that is too long: rejected lines are not
 * asked for where there are fragments. */
static enum mr_status fragment_add(struct mr_fragment *f, struct mr_span text,
    uint64_t bytes, bool too_long, uint64_t max_line_bytes)
{
    f->bytes += bytes;
    if (too_long || f->bytes > max_line_bytes + MARK_BYTES + END_BYTES)
        f->too_long = true;
    if (!f->too_long)
        return mr_buffer_add(&f->text, text.p, text.n);
    f->text.n = 0;
    return MR_OK;
}

/* ---- units ---- */

/* Under the lock of what has the list. */
static void put_last(struct mr_work_units *list, struct mr_work_unit *u)
{
    u->next = NULL;
    if (list->last != NULL)
        list->last->next = u;
    else
        list->first = u;
    list->last = u;
}

/* Likewise; NULL: there is none. */
static struct mr_work_unit *take_first(struct mr_work_units *list)
{
    struct mr_work_unit *u = list->first;

    if (u != NULL) {
        list->first = u->next;
        if (list->first == NULL)
            list->last = NULL;
    }
    return u;
}

/* A thread's own is in its cache.  Of those that others had, the one that has
 * been put away for the longest: what was parsed just now is still in the
 * other core's cache, and unpacking into that is slower. */
static struct mr_work_unit *unit_take(struct mr_worker *t)
{
    struct mr_work *w = t->work;
    struct mr_work_unit *u = t->spare;

    t->spare = NULL;
    if (u != NULL)
        return u;
    pthread_mutex_lock(&w->lock);
    u = take_first(&w->spare);
    pthread_mutex_unlock(&w->lock);
    return u != NULL ? u : calloc(1, sizeof(*u));
}

/* Unless it is unusually much. */
static void keep_memory(struct mr_buffer *b)
{
    b->n = 0;
    if (b->cap > KEPT_BYTES)
        mr_buffer_release(b);
}

static void unit_give(struct mr_worker *t, struct mr_work_unit *u)
{
    struct mr_work *w = t->work;

    mr_line_block_release(&u->block);
    u->part = NULL;
    u->done = false;
    u->lines = 0;
    keep_memory(&u->rejects);
    keep_memory(&u->head.text);
    keep_memory(&u->tail.text);
    fragment_clear(&u->head);
    fragment_clear(&u->tail);
    if (t->spare == NULL) {
        t->spare = u;
        return;
    }
    pthread_mutex_lock(&w->lock);
    put_last(&w->spare, u);
    pthread_mutex_unlock(&w->lock);
}

static void unit_free(struct mr_work_unit *u)
{
    mr_buffer_release(&u->buffer);
    mr_buffer_release(&u->rejects);
    mr_buffer_release(&u->head.text);
    mr_buffer_release(&u->tail.text);
    free(u);
}

void mr_work_free_units(struct mr_work_units *list)
{
    struct mr_work_unit *u;

    while ((u = take_first(list)) != NULL)
        unit_free(u);
}

void mr_worker_free_unit(struct mr_worker *t)
{
    if (t->spare != NULL)
        unit_free(t->spare);
    t->spare = NULL;
}

/* ---- parsing a unit: any thread ---- */

/* The partition cannot be read.  The first unit's cause stays. */
static void job_fail(
    struct mr_job *job, uint64_t seq, const struct mr_error *err)
{
    pthread_mutex_lock(&job->lock);
    if (!job->failed || seq < job->failed_seq) {
        job->err = *err;
        job->failed_seq = seq;
    }
    job->failed = true;
    pthread_mutex_unlock(&job->lock);
}

/* Give the job the memory of its tuples back, if it has no other by now; else
 * what is usual is kept for the next time. */
static void return_memory(struct mr_worker *t, struct mr_job *job)
{
    struct mr_batch *sum = &job->found.sum;

    pthread_mutex_lock(&job->lock);
    if (sum->cap_tuples == 0) {
        sum->tuple = t->over.tuple;
        sum->cap_tuples = t->over.cap_tuples;
        t->over.tuple = NULL;
        t->over.cap_tuples = 0;
    }
    pthread_mutex_unlock(&job->lock);
    if (t->over.cap_tuples > 2 * MR_WORK_READY_TUPLES)
        mr_batch_release(&t->over);
}

/* Add what the thread's batch holds to the job.  Where that fails, the run
 * does.  A helper moves tuples on early, so that few are left at the end, and
 * that the owner, whom all wait for, need not. */
static enum mr_status job_add(
    struct mr_worker *t, struct mr_job *job, bool helping, struct mr_error *err)
{
    enum mr_status status;

    pthread_mutex_lock(&job->lock);
    status = mr_found_add(&job->found, &t->batch,
        helping ? MR_WORK_READY_TUPLES : MR_FOUND_TUPLES, &t->work->plan,
        &t->over, err);
    pthread_mutex_unlock(&job->lock);
    mr_batch_clear(&t->batch);
    if (status == MR_OK && t->over.n_tuples > 0) {
        status = mr_found_stage(&job->found, &t->over, t->scratch, err);
        return_memory(t, job);
    }
    if (status != MR_OK)
        mr_work_fail(t->work, job->input, err);
    return status;
}

/* Cut the line at the beginning of a run of frames off the block. */
static enum mr_status cut_head(struct mr_work_unit *u,
    struct mr_line_block *block, uint64_t max_line_bytes)
{
    const uint8_t *end;
    size_t n;

    if (block->too_long) {
        uint64_t bytes = block->bytes;

        u->head.has_end = block->has_end;
        block->bytes = 0;
        return fragment_add(&u->head, block->text, bytes, true, max_line_bytes);
    }
    end = memchr(block->text.p, '\n', block->text.n);
    n = end == NULL ? block->text.n : (size_t)(end - block->text.p) + 1;
    u->head.has_end = end != NULL;
    if (fragment_add(&u->head, (struct mr_span){block->text.p, n}, n, false,
            max_line_bytes) != MR_OK)
        return MR_NOMEM;
    block->text.p += n;
    block->text.n -= n;
    block->offset += n;
    block->bytes -= n;
    return MR_OK;
}

/* Cut the piece of a line at the end of a run of frames off the block. */
static enum mr_status cut_tail(struct mr_work_unit *u,
    struct mr_line_block *block, uint64_t max_line_bytes)
{
    const uint8_t *end;
    size_t n;

    if (block->too_long) {
        uint64_t bytes = block->bytes;

        if (block->has_end || bytes == 0)
            return MR_OK;
        block->bytes = 0;
        return fragment_add(&u->tail, block->text, bytes, true, max_line_bytes);
    }
    end = mr_lines_last_end(block->text);
    n = end == NULL ? 0 : (size_t)(end - block->text.p) + 1;
    if (fragment_add(&u->tail,
            (struct mr_span){block->text.p + n, block->text.n - n},
            block->text.n - n, false, max_line_bytes) != MR_OK)
        return MR_NOMEM;
    block->bytes -= block->text.n - n;
    block->text.n = n;
    return MR_OK;
}

/* Parse a block into the thread's batch.  Where that fails, the run does. */
static enum mr_status parse_block(struct mr_worker *t, struct mr_work_unit *u,
    const struct mr_line_block *block, struct mr_error *err)
{
    enum mr_status status = mr_mapper_parse(
        &t->mapper, block, &u->job->preface, &t->batch, &u->rejects, err);

    if (status != MR_OK)
        mr_work_fail(t->work, u->job->input, err);
    return status;
}

/* Unpack and parse a run of frames. */
static enum mr_status parse_part(
    struct mr_worker *t, struct mr_work_unit *u, struct mr_error *err)
{
    const struct mr_plan *plan = &t->work->plan;
    uint64_t limit = plan->spec.max_line_bytes;
    struct mr_lines lines;
    struct mr_line_block block;
    enum mr_status status = MR_OK;
    bool first = true;

    /* A mark before the first line stays in it until it is settled: it may
     * straddle a border, too. */
    mr_lines_init(
        &lines, u->part, NULL, limit + (u->seq == 0 ? MARK_BYTES : 0), false);
    while (status == MR_OK && !mr_work_is_stopping(t->work)) {
        status = mr_lines_next(&lines, &u->buffer, &block, err);
        if (status != MR_OK || block.text.n == 0)
            break;
        if (first && cut_head(u, &block, limit) != MR_OK)
            status = mr_fail_nomem(err);
        first = false;
        if (status == MR_OK && lines.ended &&
            cut_tail(u, &block, limit) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK && block.bytes > 0)
            status = parse_block(t, u, &block, err);
        mr_line_block_release(&block);
    }
    mr_lines_release(&lines);
    mr_stream_close(u->part);
    u->part = NULL;
    return status;
}

static void run_unit(struct mr_worker *t, struct mr_work_unit *u, bool helping)
{
    struct mr_job *job = u->job;
    struct mr_error err = {.status = MR_OK};
    enum mr_status status;

    if (u->part != NULL)
        status = parse_part(t, u, &err);
    else
        status = parse_block(t, u, &u->block, &err);
    mr_line_block_release(&u->block);
    keep_memory(&u->buffer);
    u->lines = t->batch.lines;
    t->untold.lines += u->lines;
    t->untold_text += t->batch.text_bytes;
    if (status == MR_OK)
        status = job_add(t, job, helping, &err);
    if (status != MR_OK) {
        mr_batch_clear(&t->batch);
        job_fail(job, u->seq, &err);
        if (mr_work_is_fatal(status))
            mr_work_fail(t->work, job->input, &err);
    }
    if (t->untold_text >= MR_WORK_TELL_BYTES)
        mr_worker_tell(t);
    if (!job->ordered) {
        unit_give(t, u);
        return;
    }
    pthread_mutex_lock(&job->lock);
    u->done = true;
    pthread_mutex_unlock(&job->lock);
}

/* ---- the queue ---- */

/* Hand a unit to the helpers; false if there are none, or enough to do. */
static bool push(struct mr_work *w, struct mr_work_unit *u)
{
    bool pushed = false;

    if (atomic_load_explicit(&w->helpers, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&w->lock);
    if (w->helpers > 0 && w->n_queued < w->threads + QUEUED) {
        put_last(&w->queue, u);
        w->n_queued++;
        u->job->outstanding++;
        u->job->shared = pushed = true;
        if (w->idle > 0 && w->n_queued >= WORTH_WAKING)
            pthread_cond_signal(&w->queued);
    }
    pthread_mutex_unlock(&w->lock);
    return pushed;
}

/* Under the lock. */
static struct mr_work_unit *pop(struct mr_work *w)
{
    struct mr_work_unit *u = take_first(&w->queue);

    if (u != NULL)
        w->n_queued--;
    return u;
}

/* Under the lock: the thread has nothing of a job in hand any more. */
static void let_go(struct mr_work *w, struct mr_job *job)
{
    job->outstanding--;
    if (w->waiting > 0)
        pthread_cond_broadcast(&w->settled);
}

/* Parse a unit that was in the queue. */
static void run_queued(struct mr_worker *t, struct mr_work_unit *u)
{
    struct mr_job *job = u->job;

    run_unit(t, u, true);
    pthread_mutex_lock(&t->work->lock);
    let_go(t->work, job);
    pthread_mutex_unlock(&t->work->lock);
}

/* Do something useful, or wait for others to: one step.  Whoever gets here
 * makes no more units for now: the helpers are to have what there is. */
static void help_or_wait(struct mr_worker *t, const struct mr_job *job)
{
    struct mr_work *w = t->work;
    struct mr_work_unit *u;

    pthread_mutex_lock(&w->lock);
    u = pop(w);
    if (w->idle > 0 && w->n_queued > 0)
        pthread_cond_broadcast(&w->queued);
    if (u == NULL && job->outstanding > 0) {
        w->waiting++;
        pthread_cond_wait(&w->settled, &w->lock);
        w->waiting--;
    }
    pthread_mutex_unlock(&w->lock);
    if (u != NULL)
        run_queued(t, u);
}

static bool has_outstanding(const struct mr_job *job)
{
    bool has;

    if (!job->shared)
        return false;
    pthread_mutex_lock(&job->work->lock);
    has = job->outstanding > 0;
    pthread_mutex_unlock(&job->work->lock);
    return has;
}

/* Under the lock: the thread makes no more units. */
static void leave_owners(struct mr_work *w)
{
    if (--w->owners == 0)
        pthread_cond_broadcast(&w->queued);
}

void mr_work_leave(struct mr_work *w)
{
    pthread_mutex_lock(&w->lock);
    leave_owners(w);
    pthread_mutex_unlock(&w->lock);
}

/* The queue is empty: do some of what else there is to do for a job, which is
 * not let go meanwhile; false: there is nothing. */
static bool tidy(struct mr_worker *t, struct mr_job *job)
{
    struct mr_error err;
    struct mr_aggregate *staged;
    bool did = false;

    pthread_mutex_lock(&job->lock);
    staged = job->found.staged;
    pthread_mutex_unlock(&job->lock);
    if (staged != NULL) {
        enum mr_status status = mr_aggregate_tidy(staged, t->scratch, &did);

        if (status != MR_OK) {
            (void)mr_aggregate_fail(status, &err);
            mr_work_fail(t->work, job->input, &err);
        }
    }
    return did;
}

/* A helper's next step, under the lock.  last is the job that it has worked
 * for, and has not let go, or NULL. */
static struct mr_job *help(struct mr_worker *t, struct mr_job *last)
{
    struct mr_work *w = t->work;
    struct mr_work_unit *u = pop(w);
    struct mr_job *job = u != NULL ? u->job : last;
    bool did = true;

    if (last != NULL && (u != NULL || w->waiting > 0)) {
        let_go(w, last);
        last = NULL;
    }
    if (u == NULL && last == NULL) {
        w->idle++;
        pthread_cond_wait(&w->queued, &w->lock);
        w->idle--;
        return NULL;
    }
    pthread_mutex_unlock(&w->lock);
    if (u != NULL)
        run_unit(t, u, true);
    else
        did = tidy(t, job);
    pthread_mutex_lock(&w->lock);
    if (did)
        return job;
    let_go(w, job);
    return NULL;
}

void mr_work_help(struct mr_worker *t)
{
    struct mr_work *w = t->work;
    double start = mr_clock();
    struct mr_job *last = NULL;

    mr_worker_tell(t);
    pthread_mutex_lock(&w->lock);
    w->helpers++;
    leave_owners(w);
    while (w->owners > 0 || w->n_queued > 0)
        last = help(t, last);
    if (last != NULL)
        let_go(w, last);
    w->idle_seconds += mr_clock() - start;
    pthread_mutex_unlock(&w->lock);
}

/* ---- settling units in order: the owner ---- */

/* Give a unit's rejected lines their numbers and the partition's name. */
static enum mr_status settle_rejects(struct mr_worker *t, struct mr_job *job,
    const struct mr_work_unit *u, struct mr_error *err)
{
    struct mr_span packed = {u->rejects.p, u->rejects.n};
    uint64_t line = job->line;

    job->line += u->lines;
    if (packed.n == 0)
        return MR_OK;
    if (mr_reject_format(&t->work->plan.spec, job->name, packed, line,
            &job->found.rejects.text) != MR_OK)
        return mr_fail_nomem(err);
    return mr_spool_settle(&job->found.rejects, t->work->plan.temporary, err);
}

/* The line that ran on has ended: parse it. */
static enum mr_status settle_open(
    struct mr_worker *t, struct mr_job *job, struct mr_error *err)
{
    struct mr_fragment *open = &job->open;
    struct mr_line_block block = {.text = {open->text.p, open->text.n},
        .too_long = open->too_long,
        .bytes = open->bytes};
    enum mr_status status;

    if (open->bytes == 0)
        return MR_OK;
    if (!job->has_begun && mr_lines_mark(block.text) > 0) {
        block.text.p += MARK_BYTES;
        block.text.n -= MARK_BYTES;
    }
    job->has_begun = true;
    status = mr_mapper_parse(
        &t->mapper, &block, &job->preface, &t->batch, NULL, err);
    if (status == MR_OK)
        status = job_add(t, job, false, err);
    mr_batch_clear(&t->batch);
    fragment_clear(open);
    return status;
}

static enum mr_status join_fragment(struct mr_worker *t, struct mr_job *job,
    const struct mr_fragment *f, struct mr_error *err)
{
    struct mr_span text = {f->text.p, f->text.n};

    if (fragment_add(&job->open, text, f->bytes, f->too_long,
            t->work->plan.spec.max_line_bytes) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* A run of frames: what straddles its two borders. */
static enum mr_status settle_run(struct mr_worker *t, struct mr_job *job,
    const struct mr_work_unit *u, struct mr_error *err)
{
    enum mr_status status = join_fragment(t, job, &u->head, err);

    if (status == MR_OK && u->head.has_end)
        status = settle_open(t, job, err);
    return status != MR_OK ? status : join_fragment(t, job, &u->tail, err);
}

/* Settle what is ready.  A failed job's units are only put away. */
static void settle_ready(struct mr_worker *t, struct mr_job *job)
{
    struct mr_error err;

    while (job->ordered && job->n_settled < job->n_units) {
        struct mr_work_unit **place = &job->ring[job->n_settled % MR_JOB_RING];
        bool done, failed;

        pthread_mutex_lock(&job->lock);
        done = (*place)->done;
        failed = job->failed;
        pthread_mutex_unlock(&job->lock);
        if (!done)
            return;
        if (!failed && (job->split ? settle_run : settle_rejects)(
                           t, job, *place, &err) != MR_OK) {
            job_fail(job, (*place)->seq, &err);
            mr_work_fail(t->work, job->input, &err);
        }
        unit_give(t, *place);
        *place = NULL;
        job->n_settled++;
    }
}

/* ---- reading a partition: the owner ---- */

static bool has_helpers(struct mr_work *w)
{
    return atomic_load_explicit(&w->helpers, memory_order_relaxed) > 0;
}

/* Parse units here or hand them on, in turn: all but those that may wait. */
static void place_waiting(struct mr_worker *t, struct mr_job *job, bool all)
{
    struct mr_work_unit *u;

    while (job->n_waiting > 0 &&
           (all || job->n_waiting > BEHIND_UNITS ||
               job->waiting_bytes > BEHIND_BYTES || !has_helpers(t->work))) {
        u = take_first(&job->waiting);
        job->n_waiting--;
        job->waiting_bytes -= u->block.bytes;
        if (!push(t->work, u))
            run_unit(t, u, false);
    }
}

/* A new unit belongs to the job from now on. */
static void place_unit(
    struct mr_worker *t, struct mr_job *job, struct mr_work_unit *u)
{
    u->job = job;
    u->seq = job->n_units++;
    if (job->ordered)
        job->ring[u->seq % MR_JOB_RING] = u;
    put_last(&job->waiting, u);
    job->n_waiting++;
    job->waiting_bytes += u->block.bytes;
    /* Where nothing is unpacked to stay, nothing waits. */
    place_waiting(t, job, job->n_waiting == 1 && u->block.hold.arena == NULL);
    if (!job->ordered)
        return;
    settle_ready(t, job);
    while (job->n_units - job->n_settled == MR_JOB_RING) {
        help_or_wait(t, job);
        settle_ready(t, job);
    }
}

static bool job_failed(struct mr_job *job)
{
    bool failed;

    pthread_mutex_lock(&job->lock);
    failed = job->failed;
    pthread_mutex_unlock(&job->lock);
    return failed;
}

/* Count what the stream has passed since the last time. */
static void count_passed(
    struct mr_worker *t, struct mr_job *job, const struct mr_stream *stream)
{
    uint64_t at = mr_stream_stored_bytes(stream);

    if (job->passed == NULL)
        return;
    t->untold.bytes_done += at - *job->passed;
    *job->passed = at;
}

/* Take the header row off the block of a unit; it is a line, but none that
 * counts. */
static enum mr_status take_header(struct mr_worker *t, struct mr_job *job,
    struct mr_work_unit *u, struct mr_error *err)
{
    enum mr_status status =
        mr_mapper_header(&t->mapper, &u->block, &job->preface, &t->batch, err);

    job->line += t->batch.lines + job->preface.has_csv;
    if (status == MR_OK)
        status = job_add(t, job, false, err);
    else
        mr_batch_clear(&t->batch);
    return status;
}

static enum mr_status read_blocks(struct mr_worker *t, struct mr_job *job,
    struct mr_stream *stream, struct mr_error *err)
{
    struct mr_cutter cutter;
    enum mr_status status =
        mr_cutter_init(&cutter, &t->work->plan, stream, err);

    while (
        status == MR_OK && !job_failed(job) && !mr_work_is_stopping(t->work)) {
        struct mr_work_unit *u = unit_take(t);

        if (u == NULL) {
            status = mr_fail_nomem(err);
            break;
        }
        status = mr_cutter_next(&cutter, &u->buffer, &u->block, err);
        if (status != MR_OK || u->block.text.n == 0) {
            /* A byte-order mark, white space, the end of a document. */
            t->batch.text_bytes = status == MR_OK ? u->block.bytes : 0;
            unit_give(t, u);
            if (status == MR_OK)
                status = job_add(t, job, false, err);
            break;
        }
        if (mr_mapper_needs_header(&t->mapper, &job->preface)) {
            status = take_header(t, job, u, err);
            if (status != MR_OK) {
                unit_give(t, u);
                break;
            }
        }
        count_passed(t, job, stream);
        place_unit(t, job, u);
    }
    mr_cutter_release(&cutter);
    return status;
}

static enum mr_status read_parts(struct mr_worker *t, struct mr_job *job,
    struct mr_stream *stream, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (
        status == MR_OK && !job_failed(job) && !mr_work_is_stopping(t->work)) {
        struct mr_stream *part;
        struct mr_work_unit *u;

        status = mr_stream_next_part(stream, &part, err);
        if (status != MR_OK || part == NULL)
            break;
        u = unit_take(t);
        if (u == NULL) {
            mr_stream_close(part);
            return mr_fail_nomem(err);
        }
        u->part = part;
        count_passed(t, job, stream);
        place_unit(t, job, u);
    }
    return status;
}

void mr_job_read(
    struct mr_worker *t, struct mr_job *job, struct mr_stream *stream)
{
    struct mr_error err = {.status = MR_OK};
    enum mr_status status;

    /* What a run of frames rejects could only wait in memory for those
     * before it, and a run can be long. */
    /* Nor can a run of frames tell whether it begins within quotes, or how
     * deep. */
    job->split = mr_stream_is_split(stream) && t->work->rejects == NULL &&
                 t->work->plan.spec.format == MR_INPUT_JSON;
    job->ordered = job->split || t->work->rejects != NULL;
    status = job->split ? read_parts(t, job, stream, &err)
                        : read_blocks(t, job, stream, &err);
    if (status != MR_OK) {
        job_fail(job, job->n_units, &err);
        if (mr_work_is_fatal(status))
            mr_work_fail(t->work, job->input, &err);
    }
    place_waiting(t, job, true);
    while (has_outstanding(job))
        help_or_wait(t, job);
    settle_ready(t, job);
    if (job->split && !job_failed(job) && settle_open(t, job, &err) != MR_OK) {
        job_fail(job, job->n_units, &err);
        mr_work_fail(t->work, job->input, &err);
    }
}

/* Keep the memory of a partition's sum for the next, unless it is much. */
static void keep_sum(struct mr_batch *kept, struct mr_batch *sum)
{
    if (sum->cap_tuples > MR_WORK_KEPT_TUPLES || sum->cell_mask >= KEPT_CELLS)
        return;
    mr_batch_clear(sum);
    *kept = *sum;
    memset(sum, 0, sizeof(*sum));
}

enum mr_status mr_job_begin(struct mr_worker *t, size_t input, const char *name,
    uint64_t *passed, struct mr_job *job_out, struct mr_error *err)
{
    enum mr_status status;

    *job_out = (struct mr_job){.work = t->work,
        .input = input,
        .name = name,
        .found.sum = t->job_sum,
        .passed = passed};
    memset(&t->job_sum, 0, sizeof(t->job_sum));
    pthread_mutex_init(&job_out->lock, NULL);
    mr_type_scope_clear(t->groups);
    status = mr_mapper_open(&t->mapper, name, &job_out->preface, err);
    job_out->preface.groups = t->groups;
    return status;
}

void mr_job_end(struct mr_worker *t, struct mr_job *job)
{
    keep_sum(&t->job_sum, &job->found.sum);
    mr_found_release(&job->found);
    mr_buffer_release(&job->open.text);
    pthread_mutex_destroy(&job->lock);
}
