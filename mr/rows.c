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
 * waits of their input, in memory and beyond SPOOL_BYTES in a temporary file.
 * So one large input is unpacked by one thread at a time and parsed by all,
 * and of many each thread has its own.
 *
 * Only when a partition has been read to its end, checksums and all, and its
 * file has been closed, unchanged, are its rows passed on: of the input whose
 * turn it is, and of bytes that have not come before.
 *
 * One lock is for all that threads share.  What takes long is done without
 * it, by the one thread that has set busy, settling or passing; what these
 * guard is touched by no other.
 */

#include "mr/mr.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

#include "mr/coverage.h"
#include "mr/cutter.h"
#include "mr/digestset.h"
#include "mr/mapper.h"
#include "mr/outputs.h"
#include "mr/publish.h"
#include "mr/rejects.h"
#include "mr/result.h"
#include "mr/spill.h"
#include "mr/stream.h"

/* Rows of an input that wait in memory. */
#define SPOOL_BYTES ((size_t)4 << 20)
#define PIECE_BYTES ((size_t)256 << 10)
/* For each thread: inputs that are open, and blocks that are being parsed or
 * wait for those before them. */
#define INPUTS_PER_THREAD 2
#define UNITS_PER_THREAD 4
/* What a unit keeps of its memory for the next one. */
#define KEPT_BYTES ((size_t)1 << 20)

/* ---- text that waits ---- */

struct spool {
    struct mr_buffer text;
    struct mr_spill *spill; /* what was there before text, or NULL */
    uint64_t spilled;
};

static void spool_clear(struct spool *s)
{
    mr_spill_free(s->spill);
    s->spill = NULL;
    s->spilled = 0;
    s->text.n = 0;
}

static enum mr_status spool_add(struct spool *s, struct mr_span text,
    const char *folder, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (s->text.n + text.n < SPOOL_BYTES)
        return mr_buffer_add(&s->text, text.p, text.n) != MR_OK
                   ? mr_fail_nomem(err)
                   : MR_OK;
    if (s->spill == NULL)
        status = mr_spill_new(folder, &s->spill, err);
    if (status == MR_OK)
        status = mr_spill_add(s->spill, s->text.p, s->text.n, err);
    if (status == MR_OK)
        status = mr_spill_add(s->spill, text.p, text.n, err);
    if (status != MR_OK)
        return status;
    s->spilled = mr_spill_bytes(s->spill);
    s->text.n = 0;
    return MR_OK;
}

static uint64_t spool_bytes(const struct spool *s)
{
    return s->spilled + s->text.n;
}

/* ---- what threads share ---- */

/* A block's rows, on their way from the thread that parses it. */
struct unit {
    struct unit *next;
    bool done;
    uint64_t lines;
    struct mr_buffer rows, rejects;
};

/* What one partition has in its input's spool. */
struct stretch {
    struct mr_digest digest;
    uint64_t bytes;
    bool wanted;
};

/* An input in work. */
struct job {
    size_t input;
    bool busy, settling;
    bool at_end;               /* of the partition at hand: read, or failed */
    bool done;                 /* closed */
    struct unit *first, *last; /* units of the partition, not yet settled */
    struct mr_batch sum;       /* of the partition; under the lock */
    uint64_t without_user;
    /* Of who is busy: */
    struct mr_container *container;
    struct mr_stream *stream; /* the partition, or NULL */
    struct mr_cutter cutter;
    struct mr_preface preface;
    struct mr_buffer folders; /* the preface's */
    bool failed;
    struct mr_error why;
    uint64_t passed; /* stored bytes told as progress */
    struct mr_coverage coverage;
    struct stretch *stretch;
    struct mr_reject_share *share;
    size_t n_stretches, n_shares, cap_stretches;
    struct mr_spool rejects;
    /* Of who settles, or is busy once all is settled: */
    uint64_t line; /* of the next unit */
    struct mr_spool part_rejects;
    struct spool rows;
    uint64_t start; /* of the partition in rows */
};

struct run {
    const struct mr_rows_options *options;
    const struct mr_observer *observer;
    const struct mr_sink *sink;
    const char *spill;
    struct mr_publish *publish; /* NULL: the sink */
    struct mr_plan plan;
    struct mr_types *types; /* of what folders say */
    struct mr_listing listing;
    struct mr_reject_file *rejects;
    struct mr_coverage coverage;
    struct mr_digest_set passed_on;
    unsigned threads;
    pthread_mutex_t lock; /* of all that follows, and of jobs */
    pthread_cond_t changed;
    struct job *job; /* that of input i is the i-th, modulo n_jobs */
    size_t n_jobs;
    size_t first, next; /* whose turn it is; to be opened next */
    bool passing;
    struct unit *spare;
    size_t n_units, max_units;
    bool stopping;
    struct mr_error fatal; /* of the first input, in order, that failed so */
    size_t fatal_input;
    struct mr_progress progress;
    double last_progress; /* seconds */
};

struct thread {
    struct run *run;
    struct mr_mapper mapper;
    struct mr_row_writer writer;
    struct mr_batch batch;
    struct mr_buffer text; /* of the block at hand */
};

/* The run cannot go on.  Of several causes that of the first input stays. */
static void set_fatal(struct run *r, size_t input, const struct mr_error *err)
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

static bool is_fatal(enum mr_status status)
{
    return status == MR_NOMEM || status == MR_STOPPED;
}

/* Under the lock: tell the observer, a few times a second. */
static void report_progress(struct run *r)
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
static struct unit *unit_take(struct run *r, struct job *job)
{
    struct unit *u = r->spare;

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
static void unit_give(struct run *r, struct job *job)
{
    struct unit *u = job->first;

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

/* Add the rows of a job's first unit to those that wait, and its rejected
 * lines, with their numbers and the partition's name. */
static enum mr_status settle_unit(
    struct run *r, struct job *job, const struct unit *u, struct mr_error *err)
{
    struct mr_span packed = {u->rejects.p, u->rejects.n};
    uint64_t line = job->line;
    enum mr_status status;

    job->line += u->lines;
    status = spool_add(
        &job->rows, (struct mr_span){u->rows.p, u->rows.n}, r->spill, err);
    if (status != MR_OK || packed.n == 0)
        return status;
    if (mr_reject_format(&r->plan.spec, mr_stream_name(job->stream), packed,
            line, &job->part_rejects.text) != MR_OK)
        return mr_fail_nomem(err);
    return mr_spool_settle(&job->part_rejects, err);
}

/* A unit has been parsed: settle what is ready, unless another thread does;
 * that one then sees to this unit, too. */
static void settle(struct run *r, struct job *job, struct unit *u)
{
    struct mr_error err = {.status = MR_OK};

    pthread_mutex_lock(&r->lock);
    u->done = true;
    while (!job->settling && job->first != NULL && job->first->done) {
        const struct unit *ready = job->first;
        enum mr_status status;

        job->settling = true;
        pthread_mutex_unlock(&r->lock);
        status = settle_unit(r, job, ready, &err);
        if (status != MR_OK)
            set_fatal(r, job->input, &err);
        pthread_mutex_lock(&r->lock);
        job->settling = false;
        unit_give(r, job);
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- reading: who is busy with a job ---- */

/* Close the input; nothing of it counts if it has changed meanwhile. */
static enum mr_status close_input(struct job *job, struct mr_error *err)
{
    struct mr_container *container = job->container;
    struct mr_error why = {.status = MR_OK};

    job->container = NULL;
    if (container == NULL || mr_container_close(container, &why) == MR_OK)
        return MR_OK;
    for (size_t i = 0; i < job->n_stretches; i++)
        job->stretch[i].wanted = false;
    job->n_shares = 0;
    mr_spool_release(&job->rejects);
    return mr_coverage_spoil(&job->coverage, &why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

/* The input, or what is left of it, cannot be read. */
static enum mr_status fail_input(struct run *r, struct job *job,
    const struct mr_error *why, struct mr_error *err)
{
    if (is_fatal(why->status)) {
        *err = *why;
        return why->status;
    }
    return mr_coverage_fail(
               &job->coverage, r->listing.inputs[job->input].name, why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

/* The preface of the partition, as the job's own. */
static enum mr_status open_preface(
    struct thread *t, struct job *job, struct mr_error *err)
{
    struct mr_buffer old = job->folders;
    enum mr_status status = mr_mapper_open(
        &t->mapper, mr_stream_name(job->stream), &job->preface, err);

    job->folders = t->mapper.folders;
    t->mapper.folders = old;
    return status;
}

/* Begin with the next partition; job->stream is NULL if there is none. */
static enum mr_status next_partition(
    struct thread *t, struct job *job, struct mr_error *err)
{
    struct run *r = t->run;
    struct mr_error why = {.status = MR_OK};

    if (job->container == NULL &&
        mr_container_open(
            &r->listing.inputs[job->input], &job->container, &why) != MR_OK)
        return fail_input(r, job, &why, err);
    if (mr_container_next(job->container, &job->stream, &why) != MR_OK) {
        job->stream = NULL;
        return fail_input(r, job, &why, err);
    }
    if (job->stream == NULL)
        return MR_OK;
    job->line = 0;
    job->failed = false;
    job->start = spool_bytes(&job->rows);
    if (mr_cutter_init(&job->cutter, &r->plan, job->stream, err) != MR_OK)
        return err->status;
    return open_preface(t, job, err);
}

/* Read a block, and take the header row off it if it has that.  An error is
 * the partition's. */
static enum mr_status read_block(struct thread *t, struct job *job,
    struct mr_line_block *block, bool *at_end, struct mr_error *why)
{
    enum mr_status status = mr_cutter_next(&job->cutter, &t->text, block, why);

    *at_end = status != MR_OK || block->text.n == 0;
    if (*at_end || !mr_mapper_needs_header(&t->mapper, &job->preface))
        return status;
    status = mr_mapper_header(&t->mapper, block, &job->preface, &t->batch, why);
    /* The header is a line, but none that counts. */
    job->line += t->batch.lines + job->preface.has_csv;
    return status;
}

/* The partition's counts, as of one cell. */
static enum mr_status fill_partition(
    const struct job *job, struct mr_partition *p_out)
{
    const struct mr_batch *sum = &job->sum;
    struct mr_reason_count reason[MR_REASON_COUNT];
    struct mr_cell_count cell = {.without_user = job->without_user};
    char *name = (char *)(uintptr_t)mr_stream_name(job->stream);
    struct mr_partition p = {.digest = mr_stream_digest(job->stream),
        .name = &name,
        .n_names = 1,
        .stored_bytes = mr_stream_stored_bytes(job->stream),
        .text_bytes = sum->text_bytes,
        .lines = sum->lines,
        .blank = sum->blank,
        .cell = &cell,
        .n_cells = 1,
        .reason = reason};

    cell.events = sum->lines - sum->blank;
    for (uint32_t i = 0; i < MR_REASON_COUNT; i++) {
        cell.events -= sum->reason[i];
        if (sum->reason[i] > 0)
            p.reason[p.n_reasons++] =
                (struct mr_reason_count){i, sum->reason[i]};
    }
    return mr_partition_copy(&p, p_out);
}

static enum mr_status grow_stretches(struct job *job)
{
    size_t cap = 2 * job->cap_stretches + 8;
    struct stretch *stretch;
    struct mr_reject_share *share;

    if (job->n_stretches < job->cap_stretches)
        return MR_OK;
    stretch = realloc(job->stretch, cap * sizeof(*stretch));
    if (stretch != NULL)
        job->stretch = stretch;
    share = realloc(job->share, cap * sizeof(*share));
    if (share != NULL)
        job->share = share;
    if (stretch == NULL || share == NULL)
        return MR_NOMEM;
    job->cap_stretches = cap;
    return MR_OK;
}

/* A partition has been read to its end: keep what it has left. */
static enum mr_status keep_partition(struct job *job, struct mr_error *err)
{
    uint64_t rejects = mr_spool_bytes(&job->part_rejects);
    struct mr_partition p = {.n_names = 0};
    struct mr_digest digest;

    if (grow_stretches(job) != MR_OK || fill_partition(job, &p) != MR_OK)
        return mr_fail_nomem(err);
    digest = p.digest;
    if (mr_coverage_add(&job->coverage, &p) != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    job->stretch[job->n_stretches++] =
        (struct stretch){digest, spool_bytes(&job->rows) - job->start, true};
    if (rejects > 0)
        job->share[job->n_shares++] = (struct mr_reject_share){digest, rejects};
    return mr_spool_append(&job->rejects, &job->part_rejects, err);
}

/* A partition could not be read: what it has left is nobody's. */
static enum mr_status drop_partition(struct job *job, struct mr_error *err)
{
    if (grow_stretches(job) != MR_OK ||
        mr_coverage_fail(
            &job->coverage, mr_stream_name(job->stream), &job->why) != MR_OK)
        return mr_fail_nomem(err);
    if (job->start >= job->rows.spilled)
        job->rows.text.n = (size_t)(job->start - job->rows.spilled);
    else
        job->stretch[job->n_stretches++] =
            (struct stretch){.bytes = spool_bytes(&job->rows) - job->start};
    mr_spool_release(&job->part_rejects);
    return MR_OK;
}

/* All of the partition at hand has been settled. */
static enum mr_status end_partition(struct job *job, struct mr_error *err)
{
    enum mr_status status =
        job->failed ? drop_partition(job, err) : keep_partition(job, err);

    mr_cutter_release(&job->cutter);
    mr_stream_close(job->stream);
    job->stream = NULL;
    mr_batch_clear(&job->sum);
    job->without_user = 0;
    return status;
}

/* ---- passing on ---- */

static enum mr_status write_rows(
    struct run *r, struct mr_span text, struct mr_error *err)
{
    int number;

    if (text.n == 0)
        return MR_OK;
    if (r->publish != NULL)
        return mr_publish_write(r->publish, text.p, text.n, err);
    number = r->sink->write(r->sink->context, text.p, text.n);
    return number == 0
               ? MR_OK
               : mr_fail_errno(err, number, "check where the output goes",
                     "cannot write the rows");
}

/* A spool that is being read from its start. */
struct cursor {
    const struct spool *spool;
    uint64_t at;
    uint8_t *piece; /* PIECE_BYTES, once there is need of it */
};

/* Write, or leave out, the next n bytes. */
static enum mr_status pass_stretch(struct run *r, struct cursor *c, uint64_t n,
    bool wanted, struct mr_error *err)
{
    const struct spool *s = c->spool;
    uint64_t end = c->at + n;
    enum mr_status status = MR_OK;

    if (!wanted)
        c->at = end;
    while (c->at < end && status == MR_OK) {
        struct mr_span text;

        if (c->at >= s->spilled) {
            text.p = s->text.p + (size_t)(c->at - s->spilled);
            text.n = (size_t)(end - c->at);
        } else {
            uint64_t most = (end < s->spilled ? end : s->spilled) - c->at;

            if (c->piece == NULL)
                c->piece = malloc(PIECE_BYTES);
            if (c->piece == NULL)
                return mr_fail_nomem(err);
            text.p = c->piece;
            text.n = most < PIECE_BYTES ? (size_t)most : PIECE_BYTES;
            status = mr_spill_read(s->spill, c->at, c->piece, text.n, err);
        }
        if (status == MR_OK)
            status = write_rows(r, text, err);
        c->at += text.n;
    }
    return status;
}

/* All rows of the input whose turn it is. */
static enum mr_status pass_on(
    struct run *r, struct job *job, struct mr_error *err)
{
    struct cursor c = {.spool = &job->rows};
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < job->n_stretches && status == MR_OK; i++) {
        const struct stretch *s = &job->stretch[i];
        bool wanted = s->wanted;

        if (wanted &&
            mr_digest_set_add(&r->passed_on, &s->digest, &wanted) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK)
            status = pass_stretch(r, &c, s->bytes, wanted, err);
    }
    free(c.piece);
    if (status == MR_OK && r->rejects != NULL)
        status = mr_reject_file_add(
            r->rejects, &job->rejects, job->share, job->n_shares, err);
    if (status == MR_OK &&
        mr_coverage_move(&r->coverage, &job->coverage) != MR_OK)
        status = mr_fail_nomem(err);
    return status;
}

/* Make a job ready for another input, keeping memory. */
static void job_clear(struct job *job)
{
    spool_clear(&job->rows);
    mr_spool_release(&job->rejects);
    mr_spool_release(&job->part_rejects);
    mr_coverage_release(&job->coverage);
    job->n_stretches = job->n_shares = 0;
    job->passed = 0;
    job->at_end = job->done = false;
}

static void job_release(struct job *job)
{
    if (job->stream != NULL) {
        mr_cutter_release(&job->cutter);
        mr_stream_close(job->stream);
    }
    if (job->container != NULL)
        (void)mr_container_close(job->container, NULL);
    job_clear(job);
    mr_batch_release(&job->sum);
    mr_buffer_release(&job->folders);
    mr_buffer_release(&job->rows.text);
    free(job->stretch);
    free(job->share);
}

/* ---- steps: what a thread does next ---- */

enum step { STEP_NONE, STEP_READ, STEP_END, STEP_PASS };

/* Under the lock: the first thing that can be done, and with which job. */
static enum step find_step(struct run *r, struct job **job_out)
{
    struct job *first = &r->job[r->first % r->n_jobs];

    *job_out = first;
    if (r->first < r->next && first->done && !r->passing)
        return STEP_PASS;
    for (size_t i = r->first; i < r->next; i++) {
        struct job *job = *job_out = &r->job[i % r->n_jobs];

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
static bool take_step(struct run *r, enum step *step_out, struct job **job_out)
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
    struct thread *t, struct job *job, struct mr_error *err)
{
    struct run *r = t->run;
    enum mr_status status = mr_batch_count(&job->sum, &t->batch);

    job->without_user += t->writer.without_user;
    t->writer.without_user = 0;
    r->progress.lines += t->batch.lines;
    mr_batch_clear(&t->batch);
    report_progress(r);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

/* Parse a block into a unit, and settle it. */
static void parse_unit(struct thread *t, struct job *job, struct unit *u,
    const struct mr_line_block *block)
{
    struct run *r = t->run;
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
static enum mr_status hand_on(struct thread *t, struct job *job,
    const struct mr_line_block *block, struct unit **unit_out,
    struct mr_error *err)
{
    struct run *r = t->run;
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
    struct run *r, struct job *job, struct mr_error *err)
{
    enum mr_status status = close_input(job, err);

    pthread_mutex_lock(&r->lock);
    job->busy = false;
    job->done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status step_read(
    struct thread *t, struct job *job, struct mr_error *err)
{
    struct run *r = t->run;
    struct mr_line_block block = {.bytes = 0};
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;
    struct unit *u = NULL;
    bool at_end;

    if (job->stream == NULL)
        status = next_partition(t, job, err);
    if (status != MR_OK)
        return status;
    if (job->stream == NULL)
        return end_input(r, job, err);
    status = read_block(t, job, &block, &at_end, &why);
    if (is_fatal(status)) {
        *err = why;
        return status;
    }
    if (status != MR_OK) {
        job->failed = at_end = true;
        job->why = why;
        block = (struct mr_line_block){.bytes = 0};
        mr_batch_clear(&t->batch);
    }
    pthread_mutex_lock(&r->lock);
    job->at_end = at_end;
    status = hand_on(t, job, &block, &u, err);
    pthread_mutex_unlock(&r->lock);
    if (status == MR_OK && u != NULL)
        parse_unit(t, job, u, &block);
    return status;
}

static enum mr_status step_end(
    struct run *r, struct job *job, struct mr_error *err)
{
    enum mr_status status = end_partition(job, err);

    pthread_mutex_lock(&r->lock);
    job->at_end = job->busy = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status step_pass(
    struct run *r, struct job *job, struct mr_error *err)
{
    enum mr_status status = pass_on(r, job, err);

    pthread_mutex_lock(&r->lock);
    r->progress.partitions_done++;
    r->progress.bytes_done += r->listing.inputs[job->input].size - job->passed;
    report_progress(r);
    job_clear(job);
    r->passing = false;
    r->first++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return status;
}

static enum mr_status take_stop(const struct run *r, struct mr_error *err)
{
    if (r->observer->stop == NULL || *r->observer->stop == 0)
        return MR_OK;
    return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
}

static enum mr_status do_step(
    struct thread *t, enum step step, struct job *job, struct mr_error *err)
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

static void run_thread(struct run *r)
{
    struct thread t = {.run = r};
    struct mr_error err = {.status = MR_OK};
    enum mr_status status =
        mr_mapper_init(&t.mapper, &r->plan, r->rejects != NULL, r->types, &err);
    struct job *job = NULL;
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

static enum mr_status run_threads(struct run *r, struct mr_error *err)
{
    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)r->threads)
    run_thread(r);
    if (r->fatal.status == MR_OK)
        return MR_OK;
    *err = r->fatal;
    if (r->fatal_input < r->listing.n && !is_fatal(err->status))
        mr_error_subject(
            err, "cannot read", r->listing.inputs[r->fatal_input].path);
    return err->status;
}

static enum mr_status open_plan(struct run *r, struct mr_error *err)
{
    const char *spec = r->options->spec;
    enum mr_status status =
        mr_plan_open_rows(spec == NULL ? "lake" : spec, &r->plan, err);

    if (status != MR_OK)
        return status;
    mr_note_table(r->observer, &r->plan.spec, r->plan.table);
    return mr_types_new(&r->types) != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

static enum mr_status make_jobs(struct run *r, struct mr_error *err)
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
static enum mr_status prepare(struct run *r, struct mr_error *err)
{
    const struct mr_rows_options *o = r->options;
    enum mr_status status = open_plan(r, err);

    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, r->threads, &r->listing, err);
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

static enum mr_status write_header(struct run *r, struct mr_error *err)
{
    struct mr_buffer text = {0};
    enum mr_status status =
        mr_row_header(&r->plan.spec, r->options->kind, &text);

    if (status != MR_OK)
        status = mr_fail_nomem(err);
    else
        status = write_rows(r, (struct mr_span){text.p, text.n}, err);
    mr_buffer_release(&text);
    return status;
}

/* Give the files their names, the output last: where it is, all is. */
static enum mr_status finish(
    struct run *r, enum mr_status status, struct mr_error *err)
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
    struct run *r, struct mr_result *result, struct mr_error *err)
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

static void release(struct run *r)
{
    for (size_t i = 0; r->job != NULL && i < r->n_jobs; i++) {
        while (r->job[i].first != NULL)
            unit_give(r, &r->job[i]);
        job_release(&r->job[i]);
    }
    for (struct unit *u = r->spare, *next; u != NULL; u = next) {
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
    struct run *r = calloc(1, sizeof(*r));
    double start = mr_clock();
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (r == NULL)
        return mr_fail_nomem(err);
    r->options = options;
    r->observer = observer;
    r->sink = sink;
    r->spill = options->spill == NULL ? "." : options->spill;
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
