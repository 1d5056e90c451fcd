#ifndef MR_ROWS_PRIVATE_H
#define MR_ROWS_PRIVATE_H

#include <pthread.h>

#include "mr/coverage.h"
#include "mr/cutter.h"
#include "mr/digestset.h"
#include "mr/mapper.h"
#include "mr/mr.h"
#include "mr/publish.h"
#include "mr/rejects.h"
#include "mr/stream.h"

/*
 * What the halves of mr_rows share: rows.c (threads, and what each does next)
 * and rows_job.c (an input in work: what is done with it).  rows.c's opening
 * comment tells how they go together.
 *
 * The functions are called without the lock, by the one thread that has set
 * the job busy or settling, or the run passing.
 */

/** A block's rows, on their way from the thread that parses it. */
struct mr_rows_unit {
    struct mr_rows_unit *next;
    bool done;
    uint64_t lines;
    struct mr_buffer rows, rejects;
};

/** What one partition has in its input's spool. */
struct mr_rows_stretch {
    struct mr_digest digest;
    uint64_t bytes;
    bool wanted;
};

/** An input in work. */
struct mr_rows_job {
    size_t input;
    bool busy, settling;
    bool at_end; /* of the partition at hand: read, or failed */
    bool done;   /* closed */
    /* Units of the partition, not yet settled. */
    struct mr_rows_unit *first, *last;
    struct mr_batch sum; /* of the partition; under the lock */
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
    struct mr_rows_stretch *stretch;
    struct mr_reject_share *share;
    size_t n_stretches, n_shares, cap_stretches;
    struct mr_spool rejects;
    /* Of who settles, or is busy once all is settled: */
    uint64_t line; /* of the next unit */
    struct mr_spool part_rejects;
    struct mr_spool rows;
    uint64_t start; /* of the partition in rows */
};

/** What threads share. */
struct mr_rows_run {
    const struct mr_rows_options *options;
    const struct mr_observer *observer;
    const struct mr_sink *sink;
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
    struct mr_rows_job *job; /* that of input i is the i-th, modulo n_jobs */
    size_t n_jobs;
    size_t first, next; /* whose turn it is; to be opened next */
    bool passing;
    struct mr_rows_unit *spare;
    size_t n_units, max_units;
    bool stopping;
    struct mr_error fatal; /* of the first input, in order, that failed so */
    size_t fatal_input;
    struct mr_progress progress;
    double last_progress; /* seconds */
};

/** What each has of its own. */
struct mr_rows_thread {
    struct mr_rows_run *run;
    struct mr_mapper mapper;
    struct mr_row_writer writer;
    struct mr_batch batch;
    struct mr_buffer text; /* of the block at hand */
};

/** mr_rows_is_fatal(status): Whether an error is the run's and not the
 * input's. */
static inline bool mr_rows_is_fatal(enum mr_status status)
{
    return status == MR_NOMEM || status == MR_STOPPED;
}

/* ---- an input in work: rows_job.c ---- */

/** mr_rows_next_partition(t, job, err): Begin with the input's next partition;
 * job->stream is NULL if there is none, or none that can be read: that is
 * noted in the job's coverage. */
MR_MUST_CHECK enum mr_status mr_rows_next_partition(
    struct mr_rows_thread *t, struct mr_rows_job *job, struct mr_error *err);

/** mr_rows_read(t, job, block, at_end, why): Read a block of the partition,
 * and take the header row off it if it has that.  An error is the
 * partition's, unless mr_rows_is_fatal. */
MR_MUST_CHECK enum mr_status mr_rows_read(struct mr_rows_thread *t,
    struct mr_rows_job *job, struct mr_line_block *block, bool *at_end_out,
    struct mr_error *why);

/** mr_rows_settle(r, job, unit, err): Add the rows of the job's first unit to
 * those that wait, and its rejected lines, with their numbers and the
 * partition's name. */
MR_MUST_CHECK enum mr_status mr_rows_settle(struct mr_rows_run *r,
    struct mr_rows_job *job, const struct mr_rows_unit *u,
    struct mr_error *err);

/** mr_rows_end_partition(r, job, err): All of the partition has been settled:
 * keep what it has left, or nothing of it if it has failed. */
MR_MUST_CHECK enum mr_status mr_rows_end_partition(
    const struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err);

/** mr_rows_close(job, err): Close the input; nothing of it counts if it has
 * changed meanwhile. */
MR_MUST_CHECK enum mr_status mr_rows_close(
    struct mr_rows_job *job, struct mr_error *err);

/** mr_rows_pass_on(r, job, err): Write all rows and rejected lines of a closed
 * input, but for bytes that have come before, and move its coverage. */
MR_MUST_CHECK enum mr_status mr_rows_pass_on(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err);

/** mr_rows_write(r, text, err): Write to the output. */
MR_MUST_CHECK enum mr_status mr_rows_write(
    struct mr_rows_run *r, struct mr_span text, struct mr_error *err);

/** mr_rows_job_clear(job): Make it ready for another input, keeping memory. */
void mr_rows_job_clear(struct mr_rows_job *job);
void mr_rows_job_release(struct mr_rows_job *job);

#endif
