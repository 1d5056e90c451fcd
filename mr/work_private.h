#ifndef MR_WORK_PRIVATE_H
#define MR_WORK_PRIVATE_H

#include "mr/work.h"

/*
 * What the units of a map's threads share: work.c (the run, its inputs, its
 * threads), work_job.c (a partition in work, and the queue) and work_group.c
 * (what a file has, on its way to what is shared).  work.c's opening comment
 * tells how they go together.
 *
 * Unless something else is said, a function is called by the thread that
 * read the input, its owner, and without the run's lock.
 */

/* Tuples a thread keeps before it visits the shared table. */
#define MR_WORK_READY_TUPLES ((size_t)1 << 15)
/* Tuples whose memory is kept for the next file: those of one of 100 MB. */
#define MR_WORK_KEPT_TUPLES ((size_t)1 << 18)
/* A thread tells of its progress after so much text. */
#define MR_WORK_TELL_BYTES ((uint64_t)MR_LINES_BLOCK / 2)
/* Cells whose numbers a thread remembers; a power of two. */
#define MR_WORK_KNOWN_CELLS 256
/* Units of a job between being made and being settled. */
#define MR_JOB_RING 64

/** A line, or a piece of one, that lies at a border of two units. */
struct mr_fragment {
    struct mr_buffer text; /* empty if it is too long */
    uint64_t bytes;
    bool has_end, too_long;
};

struct mr_job;

/** A block of lines, or a run of frames: what one thread parses. */
struct mr_work_unit {
    struct mr_work_unit *next;
    struct mr_job *job;
    uint64_t seq;
    struct mr_line_block block; /* in buffer, or in place */
    struct mr_buffer buffer;
    struct mr_stream *part; /* or a run of frames */
    bool done;
    uint64_t lines;
    struct mr_buffer rejects;
    struct mr_fragment head, tail;
};

/** A partition in work. */
struct mr_job {
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
    bool shared;                  /* some unit has been queued */
    struct mr_work_units waiting; /* made and not yet placed */
    unsigned n_waiting;
    uint64_t waiting_bytes; /* unpacked, that they stand for */
    struct mr_work_unit *ring[MR_JOB_RING];
    uint64_t n_units, n_settled;
    uint64_t line;           /* of the next unit to settle */
    uint64_t *passed;        /* stored bytes told as progress; NULL: not told */
    struct mr_fragment open; /* the line that runs on */
    bool has_begun;          /* the first such line has been parsed */
};

struct mr_known_cell {
    uint64_t key1; /* as a tally's; 0: none */
    uint32_t number;
};

/** A thread of a map. */
struct mr_worker {
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
    struct mr_known_cell known[MR_WORK_KNOWN_CELLS];
    struct mr_cell_count *cell; /* for the partition at hand */
    size_t cap_cells;
    struct mr_type_scope *groups; /* of that partition */
    /* Groups of the input at hand that are new, as uint32_t: they count if it
     * does. */
    struct mr_buffer new_groups;
};

/** An archive, or a single file: what waits for its being closed. */
struct mr_group {
    struct mr_coverage coverage;
    struct mr_found found;
    struct mr_reject_share *share; /* of found's rejects, in turn */
    size_t n_shares, cap_shares;
    struct mr_kept_share *kept; /* of found's events, in turn */
    size_t n_kept, cap_kept;
    uint64_t passed; /* of a single file's stored bytes */
};

/* ---- the run as a whole: work.c; any thread ---- */

/** mr_work_fail(w, input, err): The run cannot go on.  Of several causes that
 * of the first input stays; a wish to stop is none where there is another. */
void mr_work_fail(struct mr_work *w, size_t input, const struct mr_error *err);

/** mr_work_is_stopping(w): Whether it has failed, or is wanted to stop. */
bool mr_work_is_stopping(struct mr_work *w);

/** mr_work_is_fatal(status): Whether an error is the run's and not the
 * partition's. */
static inline bool mr_work_is_fatal(enum mr_status status)
{
    return status == MR_NOMEM || status == MR_STOPPED;
}

/** mr_worker_tell(t): Add what the thread has done to the run's progress. */
void mr_worker_tell(struct mr_worker *t);

/* ---- a partition: work_job.c ---- */

/** mr_job_begin(t, input, name, passed, job, err): Begin a partition of an
 * input.  name and passed stay the caller's, as long as the job.  Errors as of
 * mr_mapper_open; the job is to be ended in any case. */
MR_MUST_CHECK enum mr_status mr_job_begin(struct mr_worker *t, size_t input,
    const char *name, uint64_t *passed, struct mr_job *job_out,
    struct mr_error *err);

/** mr_job_read(t, job, stream): Read it to its end, or to its failure, with
 * the help of all threads that have nothing else to do.  Then no unit of it
 * is left, and it is the owner's alone. */
void mr_job_read(
    struct mr_worker *t, struct mr_job *job, struct mr_stream *stream);

/** mr_job_end(t, job): Free what it has, and keep memory for the next. */
void mr_job_end(struct mr_worker *t, struct mr_job *job);

/** mr_work_help(t): Parse units for those who still have inputs, until nobody
 * has; the thread itself makes no more. */
void mr_work_help(struct mr_worker *t);

/** mr_work_leave(w): The thread makes no more units, and does not help. */
void mr_work_leave(struct mr_work *w);

/** mr_worker_free_unit(t): Free the thread's spare unit. */
void mr_worker_free_unit(struct mr_worker *t);

/** mr_work_free_units(list): Free units that no thread has any more. */
void mr_work_free_units(struct mr_work_units *list);

/* ---- a file: work_group.c ---- */

/** mr_group_add(t, group, job, stream, err): A partition has been read or has
 * failed: note it.  What the job found is the group's then.  MR_NOMEM, or
 * what mr_found_take fails with. */
MR_MUST_CHECK enum mr_status mr_group_add(struct mr_worker *t,
    struct mr_group *group, struct mr_job *job, const struct mr_stream *stream,
    struct mr_error *err);

/** mr_group_fail(group, name, why, err): Note a failure under a name, unless
 * it is the run's: then it is returned. */
MR_MUST_CHECK enum mr_status mr_group_fail(struct mr_group *group,
    const char *name, const struct mr_error *why, struct mr_error *err);

/**
 * mr_group_add_archive(group, name, err): An archive has been read to its end:
 * note it as a partition of no lines of its own, so that a failure that stands
 * under its name, of a time when it was damaged, is made good.  Its digest is
 * that of its members' digests; without members it is as with an empty one.
 * MR_NOMEM.
 */
MR_MUST_CHECK enum mr_status mr_group_add_archive(
    struct mr_group *group, const char *name, struct mr_error *err);

/** mr_group_spoil(t, group, why): Nothing that came from a file that changed
 * meanwhile counts, and what seemed wrong with it may have come from the
 * change.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_group_spoil(
    struct mr_worker *t, struct mr_group *group, const struct mr_error *why);

/** mr_group_commit(t, group, err): It counts: move it to what is shared, or
 * to what the thread has for that. */
MR_MUST_CHECK enum mr_status mr_group_commit(
    struct mr_worker *t, struct mr_group *group, struct mr_error *err);

/** mr_group_release(t, group): Free what it has, and keep memory for the next
 * file. */
void mr_group_release(struct mr_worker *t, struct mr_group *group);

/** mr_worker_share(t, err): Share what the thread has kept to itself. */
MR_MUST_CHECK enum mr_status mr_worker_share(
    struct mr_worker *t, struct mr_error *err);

#endif
