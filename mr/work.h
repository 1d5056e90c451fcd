#ifndef MR_WORK_H
#define MR_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "mr/cells.h"
#include "mr/cutter.h"
#include "mr/found.h"
#include "mr/mapper.h"
#include "mr/mr.h"
#include "mr/resume.h"

/*
 * How threads share the reading of partitions; work.c's opening comment
 * tells how.  map.c starts the threads and makes a state of what they leave.
 *
 * Inputs come in batches (mr_work_batch), and a batch is read in rounds
 * (mr_work_round): in each, all threads read until the batch is at its end or
 * a deadline has passed.  Between rounds no thread is at work, and what they
 * have left can be made a state of.
 */

struct mr_work_unit;

/** Units one after the other. */
struct mr_work_units {
    struct mr_work_unit *first, *last;
};

/** All that the threads of one map share. */
struct mr_work {
    struct mr_plan plan;
    struct mr_listing listing;
    size_t *order;  /* inputs of the batch: largest first */
    size_t n_order; /* how many */
    bool *done;     /* by input: read, failed for good, or there already */
    bool *failed;   /* by input: it could not be read to its end */
    struct mr_resume *resume; /* what is there already, or NULL */
    double deadline; /* no thread takes another input from then on (mr_clock);
                      * 0: none */
    const struct mr_observer *observer;
    struct mr_types *types;
    struct mr_reject_file *rejects; /* or NULL */
    struct mr_keeper keeper;
    unsigned threads;

    atomic_size_t next;    /* in order */
    pthread_mutex_t lock;  /* of all that follows */
    pthread_cond_t queued; /* helpers wait for units, or the last owner's end */
    pthread_cond_t settled; /* owners wait for units that helpers have */
    unsigned idle, waiting; /* helpers and owners that wait so */
    unsigned owners;        /* threads that may still make units */
    atomic_uint helpers;    /* threads that have run out of inputs; read
                             * without the lock, too */
    struct mr_work_units queue, spare;
    unsigned n_queued;
    struct mr_aggregate *aggregate; /* NULL until users are shared; after
                                     * all threads of a run without error:
                                     * there */
    struct mr_coverage coverage;    /* cells by number in cells */
    struct mr_cellbook cells;
    /* Of the first input, in order, that failed so; MR_STOPPED where nothing
     * failed: what has been read to its end is whole and shared. */
    struct mr_error fatal;
    size_t fatal_input;
    atomic_bool stopping;
    struct mr_progress progress;
    double last_progress; /* seconds */
    double idle_seconds;  /* of all threads in this round, without an input */
};

/** mr_work_init(w, threads): Set up what threads need; w holds the observer
 * and else zeros.  Release it in any case. */
MR_MUST_CHECK enum mr_status mr_work_init(
    struct mr_work *w, unsigned threads, struct mr_error *err);
/** mr_work_batch(w, input, n, err): The n inputs of w->listing to read next,
 * by their numbers; NULL: all there are.  Not while threads are at work. */
MR_MUST_CHECK enum mr_status mr_work_batch(
    struct mr_work *w, const size_t *input, size_t n, struct mr_error *err);
/** mr_work_left(w): Whether the batch has inputs that no thread has taken. */
bool mr_work_left(struct mr_work *w);
/** mr_work_round(w, threads, deadline): Before so many threads start; each
 * takes an input at least, whatever the deadline. */
void mr_work_round(struct mr_work *w, unsigned threads, double deadline);
void mr_work_release(struct mr_work *w);

/** mr_work_thread(w): Take part until the round is over; called once
 * by each thread.  What goes wrong with the run as a whole is in w->fatal. */
void mr_work_thread(struct mr_work *w);

#endif
