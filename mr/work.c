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
 * others.  Whoever parsed a unit adds what it found to the job, the
 * partition's own collection.  Only when the owner has seen the partition's
 * end, checksums and all, and has closed its file, unchanged, is the job
 * added to what is shared; else it is dropped and the failure noted.
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

#include "mr/work.h"

#include <stdlib.h>

#include "mr/result.h"

/* Units of a job between being made and being settled. */
#define RING 64
/* Units that may wait for helpers, beside one for each thread: as many as one
 * makes while a helper moves its tuples on, so that it need not parse. */
#define QUEUED 24
/* So many units make one helper get up.  Waking all for each of them took a
 * third of a large file's time, with 15 of them on two processors: its owner,
 * whom all wait for, did it. */
#define WORTH_WAKING 4
/* Tuples a thread keeps before it visits the shared table. */
#define READY_TUPLES ((size_t)1 << 15)

/* Files of less than so many stored bytes are not put in order of size: none
 * takes long, and side by side in a folder they are found faster. */
#define ORDERED_BYTES ((uint64_t)64 << 10)
/* A thread tells of its progress after so much text, or so many files. */
#define TELL_TEXT_BYTES ((uint64_t)MR_LINES_BLOCK / 2)
#define TELL_FILES 64
/* Cells whose numbers a thread remembers; a power of two. */
#define KNOWN_CELLS 256

/* What a unit keeps of its memory for the next one. */
#define KEPT_BYTES ((size_t)4 * MR_LINES_BLOCK)
/* Tuples of a file of 100 MB: else each file's pages would be new ones.  But
 * the largest come first: room for more than this many times those of the
 * file that was read, and more than some, is given back. */
#define KEPT_TUPLES ((size_t)1 << 18)
#define KEPT_TIMES 4
#define KEPT_TUPLES_MIN ((size_t)1 << 13)
/* Cells of a table that is kept: clearing it takes microseconds. */
#define KEPT_CELLS 1024
/* What does not count where a line's length does: a byte-order mark before
 * it, CR and LF behind it. */
#define MARK_BYTES 3
#define END_BYTES 2

/* A line, or a piece of one, that lies at a border of two units. */
struct fragment {
    struct mr_buffer text; /* empty if it is too long */
    uint64_t bytes;
    bool has_end, too_long;
};

struct job;

struct mr_work_unit {
    struct mr_work_unit *next;
    struct job *job;
    uint64_t seq;
    struct mr_line_block block; /* in buffer, or in place */
    struct mr_buffer buffer;
    struct mr_stream *part; /* or a run of frames */
    bool done;
    uint64_t lines;
    struct mr_buffer rejects;
    struct fragment head, tail;
};

/* A partition in work. */
struct job {
    struct mr_work *work;
    size_t input;
    const char *name;
    struct mr_preface preface;
    bool ordered, split;
    pthread_mutex_t lock; /* of found, failed, err, and done in units */
    struct mr_found found;
    bool failed;
    uint64_t failed_seq;
    struct mr_error err;
    unsigned outstanding; /* units queued or with helpers; work's lock */
    /* The owner's: */
    bool shared; /* some unit has been queued */
    struct mr_work_unit *ring[RING];
    uint64_t n_units, n_settled;
    uint64_t line;        /* of the next unit to settle */
    uint64_t *passed;     /* stored bytes told as progress; NULL: not told */
    struct fragment open; /* the line that runs on */
    bool has_begun;       /* the first such line has been parsed */
};

struct known_cell {
    uint64_t key1; /* as a tally's; 0: none */
    uint32_t number;
};

struct thread {
    struct mr_work *work;
    struct mr_mapper mapper;
    struct mr_batch batch;
    struct mr_batch job_sum; /* memory for the next file's */
    size_t n_latest;         /* tuples of the latest file */
    struct mr_batch over;    /* tuples on their way to a job's aggregate */
    struct mr_aggregate_scratch *scratch;
    struct mr_batch ready;       /* committed, not yet in the shared table */
    struct mr_coverage coverage; /* committed, not yet the run's */
    struct mr_work_unit *spare;  /* or NULL */
    bool has_taken;              /* an input, in this round */
    struct mr_progress untold;   /* what the run's progress lacks */
    uint64_t untold_text;        /* bytes of text it stands for */
    struct known_cell known[KNOWN_CELLS];
    struct mr_cell_count *cell; /* for the partition at hand */
    size_t cap_cells;
    struct mr_type_scope *groups; /* of that partition */
    /* Groups of the input at hand that are new, as uint32_t: they count if it
     * does. */
    struct mr_buffer new_groups;
};

/* An archive, or a single file: what waits for its being closed. */
struct group {
    struct mr_coverage coverage;
    struct mr_found found;
    struct mr_reject_share *share; /* of found's rejects, in turn */
    size_t n_shares, cap_shares;
    struct mr_kept_share *kept; /* of found's events, in turn */
    size_t n_kept, cap_kept;
    uint64_t passed; /* of a single file's stored bytes */
};

/* ---- the run as a whole ---- */

/* The run cannot go on.  Of several causes that of the first input stays; a
 * wish to stop is none where there is another. */
static void set_fatal(
    struct mr_work *w, size_t input, const struct mr_error *err)
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

static bool stopping(struct mr_work *w)
{
    if (w->observer->stop != NULL && *w->observer->stop != 0 &&
        !atomic_load(&w->stopping)) {
        struct mr_error err;

        (void)mr_fail(&err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        set_fatal(w, SIZE_MAX, &err);
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

/* Add what the thread has done to the run's progress. */
static void tell(struct thread *t)
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

/* ---- fragments ---- */

static void fragment_clear(struct fragment *f)
{
    f->text.n = 0;
    f->bytes = 0;
    f->has_end = f->too_long = false;
}

/* Nobody wants the text of a line that is too long: rejected lines are not
 * asked for where there are fragments. */
static enum mr_status fragment_add(struct fragment *f, struct mr_span text,
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
static struct mr_work_unit *unit_take(struct thread *t)
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

static void unit_give(struct thread *t, struct mr_work_unit *u)
{
    struct mr_work *w = t->work;

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

/* ---- parsing a unit: any thread ---- */

/* The partition cannot be read.  The first unit's cause stays. */
static void job_fail(struct job *job, uint64_t seq, const struct mr_error *err)
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
static void return_memory(struct thread *t, struct job *job)
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
    if (t->over.cap_tuples > 2 * READY_TUPLES)
        mr_batch_release(&t->over);
}

/* Add what the thread's batch holds to the job.  Where that fails, the run
 * does.  A helper moves tuples on early, so that few are left at the end, and
 * that the owner, whom all wait for, need not. */
static enum mr_status job_add(
    struct thread *t, struct job *job, bool helping, struct mr_error *err)
{
    enum mr_status status;

    pthread_mutex_lock(&job->lock);
    status = mr_found_add(&job->found, &t->batch,
        helping ? READY_TUPLES : MR_FOUND_TUPLES, &t->work->plan, &t->over,
        err);
    pthread_mutex_unlock(&job->lock);
    mr_batch_clear(&t->batch);
    if (status == MR_OK && t->over.n_tuples > 0) {
        status = mr_found_stage(&job->found, &t->over, t->scratch, err);
        return_memory(t, job);
    }
    if (status != MR_OK)
        set_fatal(t->work, job->input, err);
    return status;
}

/* Cut the line at the beginning of a run of frames off the block. */
static enum mr_status cut_head(struct mr_work_unit *u,
    struct mr_line_block *block, uint64_t max_line_bytes)
{
    const uint8_t *end;
    size_t n;

    if (block->too_long) {
        u->head.has_end = block->has_end;
        n = (size_t)block->bytes;
        block->bytes = 0;
        return fragment_add(&u->head, block->text, n, true, max_line_bytes);
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
        if (block->has_end || block->bytes == 0)
            return MR_OK;
        n = (size_t)block->bytes;
        block->bytes = 0;
        return fragment_add(&u->tail, block->text, n, true, max_line_bytes);
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
static enum mr_status parse_block(struct thread *t, struct mr_work_unit *u,
    const struct mr_line_block *block, struct mr_error *err)
{
    enum mr_status status = mr_mapper_parse(
        &t->mapper, block, &u->job->preface, &t->batch, &u->rejects, err);

    if (status != MR_OK)
        set_fatal(t->work, u->job->input, err);
    return status;
}

/* Unpack and parse a run of frames. */
static enum mr_status parse_part(
    struct thread *t, struct mr_work_unit *u, struct mr_error *err)
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
    while (status == MR_OK && !stopping(t->work)) {
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
    }
    mr_lines_release(&lines);
    mr_stream_close(u->part);
    u->part = NULL;
    return status;
}

/* Whether an error is the run's and not the partition's. */
static bool is_fatal(enum mr_status status)
{
    return status == MR_NOMEM || status == MR_STOPPED;
}

static void run_unit(struct thread *t, struct mr_work_unit *u, bool helping)
{
    struct job *job = u->job;
    struct mr_error err = {.status = MR_OK};
    enum mr_status status;

    if (u->part != NULL)
        status = parse_part(t, u, &err);
    else
        status = parse_block(t, u, &u->block, &err);
    keep_memory(&u->buffer);
    u->lines = t->batch.lines;
    t->untold.lines += u->lines;
    t->untold_text += t->batch.text_bytes;
    if (status == MR_OK)
        status = job_add(t, job, helping, &err);
    if (status != MR_OK) {
        mr_batch_clear(&t->batch);
        job_fail(job, u->seq, &err);
        if (is_fatal(status))
            set_fatal(t->work, job->input, &err);
    }
    if (t->untold_text >= TELL_TEXT_BYTES)
        tell(t);
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

/* Parse a unit that was in the queue. */
static void run_queued(struct thread *t, struct mr_work_unit *u)
{
    struct job *job = u->job;

    run_unit(t, u, true);
    pthread_mutex_lock(&t->work->lock);
    job->outstanding--;
    if (t->work->waiting > 0)
        pthread_cond_broadcast(&t->work->settled);
    pthread_mutex_unlock(&t->work->lock);
}

/* Do something useful, or wait for others to: one step.  Whoever gets here
 * makes no more units for now: the helpers are to have what there is. */
static void help_or_wait(struct thread *t, const struct job *job)
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

static bool has_outstanding(const struct job *job)
{
    bool has;

    if (!job->shared)
        return false;
    pthread_mutex_lock(&job->work->lock);
    has = job->outstanding > 0;
    pthread_mutex_unlock(&job->work->lock);
    return has;
}

/* ---- settling units in order: the owner ---- */

/* Give a unit's rejected lines their numbers and the partition's name. */
static enum mr_status settle_rejects(struct thread *t, struct job *job,
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
    return mr_spool_settle(&job->found.rejects, err);
}

/* The line that ran on has ended: parse it. */
static enum mr_status settle_open(
    struct thread *t, struct job *job, struct mr_error *err)
{
    struct fragment *open = &job->open;
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

static enum mr_status join_fragment(struct thread *t, struct job *job,
    const struct fragment *f, struct mr_error *err)
{
    struct mr_span text = {f->text.p, f->text.n};

    if (fragment_add(&job->open, text, f->bytes, f->too_long,
            t->work->plan.spec.max_line_bytes) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* A run of frames: what straddles its two borders. */
static enum mr_status settle_run(struct thread *t, struct job *job,
    const struct mr_work_unit *u, struct mr_error *err)
{
    enum mr_status status = join_fragment(t, job, &u->head, err);

    if (status == MR_OK && u->head.has_end)
        status = settle_open(t, job, err);
    return status != MR_OK ? status : join_fragment(t, job, &u->tail, err);
}

/* Settle what is ready.  A failed job's units are only put away. */
static void settle_ready(struct thread *t, struct job *job)
{
    struct mr_error err;

    while (job->ordered && job->n_settled < job->n_units) {
        struct mr_work_unit **place = &job->ring[job->n_settled % RING];
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
            set_fatal(t->work, job->input, &err);
        }
        unit_give(t, *place);
        *place = NULL;
        job->n_settled++;
    }
}

/* ---- reading a partition: the owner ---- */

/* Parse a new unit here or hand it on; it belongs to the job from now on. */
static void place_unit(
    struct thread *t, struct job *job, struct mr_work_unit *u)
{
    u->job = job;
    u->seq = job->n_units++;
    if (job->ordered)
        job->ring[u->seq % RING] = u;
    if (!push(t->work, u))
        run_unit(t, u, false);
    if (!job->ordered)
        return;
    settle_ready(t, job);
    while (job->n_units - job->n_settled == RING) {
        help_or_wait(t, job);
        settle_ready(t, job);
    }
}

static bool job_failed(struct job *job)
{
    bool failed;

    pthread_mutex_lock(&job->lock);
    failed = job->failed;
    pthread_mutex_unlock(&job->lock);
    return failed;
}

/* Count what the stream has passed since the last time. */
static void count_passed(
    struct thread *t, struct job *job, const struct mr_stream *stream)
{
    uint64_t at = mr_stream_stored_bytes(stream);

    if (job->passed == NULL)
        return;
    t->untold.bytes_done += at - *job->passed;
    *job->passed = at;
}

/* Take the header row off the block of a unit; it is a line, but none that
 * counts. */
static enum mr_status take_header(struct thread *t, struct job *job,
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

static enum mr_status read_blocks(struct thread *t, struct job *job,
    struct mr_stream *stream, struct mr_error *err)
{
    struct mr_cutter cutter;
    enum mr_status status =
        mr_cutter_init(&cutter, &t->work->plan, stream, err);

    while (status == MR_OK && !job_failed(job) && !stopping(t->work)) {
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

static enum mr_status read_parts(struct thread *t, struct job *job,
    struct mr_stream *stream, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (status == MR_OK && !job_failed(job) && !stopping(t->work)) {
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

/* Read a partition to its end, or to its failure. */
static void read_partition(
    struct thread *t, struct job *job, struct mr_stream *stream)
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
        if (is_fatal(status))
            set_fatal(t->work, job->input, &err);
    }
    while (has_outstanding(job))
        help_or_wait(t, job);
    settle_ready(t, job);
    if (job->split && !job_failed(job) && settle_open(t, job, &err) != MR_OK) {
        job_fail(job, job->n_units, &err);
        set_fatal(t->work, job->input, &err);
    }
}

/* ---- from partition to coverage ---- */

/* The number of a tally's cell. */
static enum mr_status cell_number(
    struct thread *t, uint64_t key1, uint32_t *number_out)
{
    struct known_cell *known = &t->known[(key1 ^ key1 >> 32) % KNOWN_CELLS];
    enum mr_status status;

    if (known->key1 != key1) {
        pthread_mutex_lock(&t->work->lock);
        status = mr_cellbook_number(&t->work->cells,
            (int32_t)((key1 - 1) >> 32), (uint32_t)(key1 - 1), &known->number);
        pthread_mutex_unlock(&t->work->lock);
        known->key1 = status == MR_OK ? key1 : 0;
        if (status != MR_OK)
            return status;
    }
    *number_out = known->number;
    return MR_OK;
}

/* A group of the partition at hand, or another figure. */
static enum mr_status note_figure(struct thread *t, uint32_t text)
{
    if (!mr_types_is_new_group(t->work->types, text))
        return MR_OK;
    return mr_buffer_add(&t->new_groups, &text, sizeof(text));
}

static enum mr_status fill_cells(
    struct thread *t, const struct mr_batch *sum, struct mr_partition *p)
{
    enum mr_status status = MR_OK;

    if (sum->n_cells > t->cap_cells) {
        p->cell = realloc(t->cell, 2 * sum->n_cells * sizeof(*p->cell));
        if (p->cell == NULL)
            return MR_NOMEM;
        t->cell = p->cell;
        t->cap_cells = 2 * sum->n_cells;
    }
    p->cell = t->cell;
    for (size_t i = 0; sum->cell != NULL && i <= sum->cell_mask; i++) {
        const struct mr_cell_tally *c = &sum->cell[i];
        struct mr_cell_count *count = &p->cell[p->n_cells + p->n_figures];
        bool is_figure = (c->key1 - 1) >> 32 == (uint64_t)MR_DAY_END;

        /* A cell can be there without events if memory ran out. */
        if (c->key1 == 0 || c->events == 0 || status != MR_OK)
            continue;
        status = cell_number(t, c->key1, &count->cell);
        count->events = c->events;
        count->without_user = c->without_user;
        p->n_cells += !is_figure;
        p->n_figures += is_figure;
        if (status == MR_OK && is_figure)
            status = note_figure(t, (uint32_t)(c->key1 - 1));
    }
    return status;
}

static void fill_reasons(const struct mr_batch *sum, struct mr_partition *p)
{
    for (uint32_t r = 0; r < MR_REASON_COUNT; r++)
        if (sum->reason[r] > 0)
            p->reason[p->n_reasons++] =
                (struct mr_reason_count){r, sum->reason[r]};
}

static enum mr_status fill_partition(struct thread *t, const struct job *job,
    const struct mr_stream *stream, struct mr_partition *p_out)
{
    const struct mr_batch *sum = &job->found.sum;
    struct mr_reason_count reason[MR_REASON_COUNT];
    char *name = (char *)(uintptr_t)job->name;
    struct mr_partition p = {.digest = mr_stream_digest(stream),
        .name = &name,
        .n_names = 1,
        .stored_bytes = mr_stream_stored_bytes(stream),
        .text_bytes = sum->text_bytes,
        .lines = sum->lines,
        .blank = sum->blank,
        .other_day = sum->other_day,
        .other_type = sum->other_type,
        .reason = reason};

    fill_reasons(sum, &p);
    if (fill_cells(t, sum, &p) != MR_OK)
        return MR_NOMEM;
    return mr_partition_copy(&p, p_out);
}

/* Note how much of the group's rejects will be a partition's. */
static enum mr_status add_share(struct group *group,
    const struct mr_digest *digest, const struct mr_spool *rejects)
{
    uint64_t bytes = mr_spool_bytes(rejects);

    if (bytes == 0)
        return MR_OK;
    if (group->n_shares == group->cap_shares) {
        size_t cap = 2 * group->cap_shares + 8;
        struct mr_reject_share *share =
            realloc(group->share, cap * sizeof(*share));

        if (share == NULL)
            return MR_NOMEM;
        group->share = share;
        group->cap_shares = cap;
    }
    group->share[group->n_shares++] = (struct mr_reject_share){*digest, bytes};
    return MR_OK;
}

/* Note how many of the events that are kept are a partition's. */
static enum mr_status add_kept(struct group *group,
    const struct mr_digest *digest, const struct mr_spool *events)
{
    uint64_t bytes = mr_spool_bytes(events);

    if (bytes == 0)
        return MR_OK;
    if (group->n_kept == group->cap_kept) {
        size_t cap = 2 * group->cap_kept + 8;
        struct mr_kept_share *kept = realloc(group->kept, cap * sizeof(*kept));

        if (kept == NULL)
            return MR_NOMEM;
        group->kept = kept;
        group->cap_kept = cap;
    }
    group->kept[group->n_kept++] = (struct mr_kept_share){*digest, bytes};
    return MR_OK;
}

/* A partition has been read or has failed: note it in its group. */
static enum mr_status end_partition(struct thread *t, struct job *job,
    const struct mr_stream *stream, struct group *group, struct mr_error *err)
{
    struct mr_partition p = {.n_names = 0};
    enum mr_status status;

    if (stopping(t->work))
        return MR_OK;
    if (job->failed) {
        if (mr_coverage_fail(&group->coverage, job->name, &job->err) != MR_OK)
            return mr_fail_nomem(err);
        return MR_OK;
    }
    status = fill_partition(t, job, stream, &p);
    if (status == MR_OK)
        status = add_share(group, &p.digest, &job->found.rejects);
    if (status == MR_OK)
        status = add_kept(group, &p.digest, &job->found.kept.events);
    if (status == MR_OK)
        status = mr_coverage_add(&group->coverage, &p);
    if (status != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    return mr_found_take(
        &group->found, &job->found, &t->work->plan, t->scratch, err);
}

/* Keep the memory of a partition's sum for the next, unless it is much. */
static void keep_sum(struct mr_batch *kept, struct mr_batch *sum)
{
    if (sum->cap_tuples > KEPT_TUPLES || sum->cell_mask >= KEPT_CELLS)
        return;
    mr_batch_clear(sum);
    *kept = *sum;
    memset(sum, 0, sizeof(*sum));
}

/* Keep a group's, which were its partition's, likewise. */
static void keep_tuples(struct thread *t, struct mr_batch *sum)
{
    struct mr_batch *kept = &t->job_sum;
    size_t most = t->n_latest * KEPT_TIMES;

    most = most > KEPT_TUPLES_MIN ? most : KEPT_TUPLES_MIN;
    most = most < KEPT_TUPLES ? most : KEPT_TUPLES;
    if (kept->cap_tuples > 0 || sum->cap_tuples > most)
        return;
    kept->tuple = sum->tuple;
    kept->cap_tuples = sum->cap_tuples;
    sum->tuple = NULL;
    sum->n_tuples = sum->cap_tuples = 0;
}

static enum mr_status map_partition(struct thread *t, size_t input,
    struct mr_stream *stream, bool is_member, struct group *group,
    struct mr_error *err)
{
    struct job job = {.work = t->work,
        .input = input,
        .found.sum = t->job_sum,
        .passed = is_member ? NULL : &group->passed};
    enum mr_status status;

    memset(&t->job_sum, 0, sizeof(t->job_sum));
    job.name = mr_stream_name(stream);
    pthread_mutex_init(&job.lock, NULL);
    status = mr_mapper_open(&t->mapper, job.name, &job.preface);
    if (status != MR_OK)
        status = mr_fail_nomem(err);
    mr_type_scope_clear(t->groups);
    job.preface.groups = t->groups;
    if (status == MR_OK) {
        read_partition(t, &job, stream);
        status = end_partition(t, &job, stream, group, err);
    }
    keep_sum(&t->job_sum, &job.found.sum);
    mr_found_release(&job.found);
    mr_buffer_release(&job.open.text);
    pthread_mutex_destroy(&job.lock);
    return status;
}

/* Nothing that came from a file that changed meanwhile counts, and what seemed
 * wrong with it may have come from the change. */
static enum mr_status spoil(
    struct thread *t, struct group *group, const struct mr_error *why)
{
    mr_found_release(&group->found);
    t->new_groups.n = 0;
    group->n_shares = group->n_kept = 0;
    return mr_coverage_spoil(&group->coverage, why);
}

/* ---- from group to what is shared ---- */

/* The table that all share.  It is the first one that anybody comes with. */
static struct mr_aggregate *shared_table(
    struct mr_work *w, struct mr_aggregate **offer)
{
    struct mr_aggregate *table;

    pthread_mutex_lock(&w->lock);
    if (w->aggregate == NULL && offer != NULL) {
        w->aggregate = *offer;
        *offer = NULL;
    } else if (w->aggregate == NULL &&
               mr_aggregate_new(w->plan.spec.session_gap_ms, w->plan.zone,
                   &w->aggregate) != MR_OK) {
        w->aggregate = NULL;
    }
    table = w->aggregate;
    pthread_mutex_unlock(&w->lock);
    return table;
}

/* Move tuples to the table that all share. */
static enum mr_status flush(struct thread *t, struct mr_batch *from)
{
    struct mr_aggregate *table = shared_table(t->work, NULL);
    enum mr_status status = MR_NOMEM;

    if (table != NULL)
        status =
            mr_aggregate_add(table, from->tuple, from->n_tuples, t->scratch);
    from->n_tuples = 0;
    return status;
}

static enum mr_status share_users(
    struct thread *t, struct group *group, struct mr_error *err)
{
    struct mr_found *found = &group->found;
    enum mr_status status = MR_OK;

    t->n_latest = found->sum.n_tuples;
    if (found->staged != NULL) {
        struct mr_aggregate *table = shared_table(t->work, &found->staged);

        if (found->staged != NULL)
            status = mr_aggregate_merge(table, found->staged, t->scratch);
    }
    if (status == MR_OK && found->sum.n_tuples >= READY_TUPLES) {
        status = flush(t, &found->sum);
    } else if (status == MR_OK) {
        status = mr_batch_append(&t->ready, &found->sum);
        if (status == MR_OK && t->ready.n_tuples >= READY_TUPLES)
            status = flush(t, &t->ready);
    }
    return status != MR_OK ? mr_aggregate_fail(status, err) : MR_OK;
}

/* Whether the run is whole, at its end or because it was stopped. */
static bool is_whole(struct mr_work *w)
{
    bool whole;

    pthread_mutex_lock(&w->lock);
    whole = w->fatal.status == MR_OK || w->fatal.status == MR_STOPPED;
    pthread_mutex_unlock(&w->lock);
    return whole;
}

/* What the thread has kept to itself so far. */
static enum mr_status share_rest(struct thread *t, struct mr_error *err)
{
    struct mr_work *w = t->work;
    enum mr_status status = flush(t, &t->ready);

    if (status != MR_OK)
        return mr_aggregate_fail(status, err);
    pthread_mutex_lock(&w->lock);
    status = mr_coverage_move(&w->coverage, &t->coverage);
    pthread_mutex_unlock(&w->lock);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

static enum mr_status commit(
    struct thread *t, struct group *group, struct mr_error *err)
{
    struct mr_work *w = t->work;
    enum mr_status status = share_users(t, group, err);

    if (status == MR_OK && w->plan.keeps)
        status =
            mr_keeper_add(&w->keeper, &group->found.kept, group->kept, err);
    if (status != MR_OK)
        return status;
    if (mr_types_keep(w->types, (const uint32_t *)(const void *)t->new_groups.p,
            t->new_groups.n / sizeof(uint32_t)) != MR_OK ||
        mr_coverage_move(&t->coverage, &group->coverage) != MR_OK)
        return mr_fail_nomem(err);
    if (w->rejects == NULL)
        return MR_OK;
    pthread_mutex_lock(&w->lock);
    status = mr_reject_file_add(
        w->rejects, &group->found.rejects, group->share, group->n_shares, err);
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* ---- an input ---- */

static enum mr_status note_failure(struct group *group, const char *name,
    const struct mr_error *why, struct mr_error *err)
{
    if (is_fatal(why->status)) {
        *err = *why;
        return why->status;
    }
    return mr_coverage_fail(&group->coverage, name, why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

/*
 * An archive has been read to its end: note it as a partition of no lines of
 * its own, so that a failure that stands under its name, of a time when it
 * was damaged, is made good.  Its digest is that of its members' digests.
 */
static enum mr_status note_archive(
    struct group *group, const char *name, struct mr_error *err)
{
    char *only = (char *)(uintptr_t)name;
    struct mr_partition archive = {.name = &only, .n_names = 1};
    struct mr_partition p = {.n_names = 0};
    struct mr_buffer digests = {0};
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < group->coverage.n_partitions; i++)
        if (status == MR_OK)
            status = mr_buffer_add(&digests,
                group->coverage.partition[i].digest.b, MR_DIGEST_BYTES);
    archive.digest = mr_digest_bytes(digests.p, digests.n);
    mr_buffer_release(&digests);
    if (status == MR_OK)
        status = mr_partition_copy(&archive, &p);
    if (status == MR_OK)
        status = mr_coverage_add(&group->coverage, &p);
    if (status != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    return MR_OK;
}

/* All partitions of an open container, and its closing. */
static enum mr_status map_container(struct thread *t, size_t input,
    struct mr_container *container, struct group *group, struct mr_error *err)
{
    const char *name = t->work->listing.inputs[input].name;
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;

    while (status == MR_OK && !stopping(t->work)) {
        struct mr_stream *stream = NULL;

        if (mr_container_next(container, &stream, &why) != MR_OK) {
            status = note_failure(group, name, &why, err);
            break;
        }
        if (stream == NULL) {
            if (mr_container_is_archive(container))
                status = note_archive(group, name, err);
            break;
        }
        status = map_partition(
            t, input, stream, mr_container_is_archive(container), group, err);
        mr_stream_close(stream);
    }
    if (mr_container_close(container, &why) != MR_OK && status == MR_OK &&
        spoil(t, group, &why) != MR_OK)
        status = mr_fail_nomem(err);
    return status;
}

/* Read an input and share what it has. */
static enum mr_status read_input(
    struct thread *t, size_t input, struct group *group, struct mr_error *err)
{
    const struct mr_input *in = &t->work->listing.inputs[input];
    struct mr_error why = {.status = MR_OK};
    struct mr_container *container;
    enum mr_status status;

    if (mr_container_open(in, &container, &why) != MR_OK)
        status = note_failure(group, in->name, &why, err);
    else
        status = map_container(t, input, container, group, err);
    if (status != MR_OK || stopping(t->work))
        return status;
    t->work->done[input] = true;
    return commit(t, group, err);
}

static void map_input(struct thread *t, size_t input)
{
    struct mr_work *w = t->work;
    struct group group = {.passed = 0};
    struct mr_error err = {.status = MR_OK};
    enum mr_status status = MR_OK;

    t->new_groups.n = 0;
    if (w->resume != NULL)
        status = mr_resume_has(w->resume, input, &w->listing.inputs[input],
            w->observer->stop, &w->done[input], &err);
    if (status == MR_OK && !w->done[input])
        status = read_input(t, input, &group, &err);
    if (status != MR_OK)
        set_fatal(w, input, &err);
    mr_coverage_release(&group.coverage);
    keep_tuples(t, &group.found.sum);
    mr_found_release(&group.found);
    free(group.share);
    free(group.kept);
    t->untold.partitions_done++;
    t->untold.bytes_done += w->listing.inputs[input].size - group.passed;
    if (t->untold.partitions_done >= TELL_FILES)
        tell(t);
}

/* ---- a thread ---- */

static bool take_input(struct thread *t, size_t *input_out)
{
    struct mr_work *w = t->work;
    size_t i;

    if (stopping(w) ||
        (t->has_taken && w->deadline > 0 && mr_clock() >= w->deadline))
        return false;
    i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
    if (i >= w->n_order)
        return false;
    t->has_taken = true;
    *input_out = w->order[i];
    return true;
}

/* Under the lock: the thread makes no more units. */
static void leave_owners(struct mr_work *w)
{
    if (--w->owners == 0)
        pthread_cond_broadcast(&w->queued);
}

/* Parse units for those who still have inputs. */
static void help_owners(struct thread *t)
{
    struct mr_work *w = t->work;
    double start = mr_clock();

    tell(t);
    pthread_mutex_lock(&w->lock);
    w->helpers++;
    leave_owners(w);
    while (w->owners > 0 || w->n_queued > 0) {
        struct mr_work_unit *u = pop(w);

        if (u == NULL) {
            w->idle++;
            pthread_cond_wait(&w->queued, &w->lock);
            w->idle--;
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        run_queued(t, u);
        pthread_mutex_lock(&w->lock);
    }
    w->idle_seconds += mr_clock() - start;
    pthread_mutex_unlock(&w->lock);
}

void mr_work_thread(struct mr_work *w)
{
    struct thread t = {.work = w};
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
        help_owners(&t);
    } else {
        set_fatal(w, 0, &err);
        pthread_mutex_lock(&w->lock);
        leave_owners(w);
        pthread_mutex_unlock(&w->lock);
    }
    if (status == MR_OK && is_whole(w) && share_rest(&t, &err) != MR_OK)
        set_fatal(w, SIZE_MAX, &err);
    tell(&t);
    if (t.spare != NULL)
        unit_free(t.spare);
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
    if (w->done == NULL ||
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
    struct mr_work_unit *u;

    while ((u = take_first(&w->spare)) != NULL)
        unit_free(u);
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
    pthread_cond_destroy(&w->queued);
    pthread_cond_destroy(&w->settled);
    pthread_mutex_destroy(&w->lock);
}
