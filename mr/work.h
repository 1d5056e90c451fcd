#ifndef MR_WORK_H
#define MR_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "mr/cells.h"
#include "mr/cutter.h"
#include "mr/found.h"
#include "mr/mapper.h"
#include "mr/mr.h"

/*
 * How threads share the reading of partitions; work.c's opening comment
 * tells how.  map.c starts the threads and makes a state of what they leave.
 */

struct mr_work_unit;

/** All that the threads of one map share. */
struct mr_work {
    struct mr_plan plan;
    struct mr_listing listing;
    size_t *order; /* of inputs: largest first */
    const struct mr_observer *observer;
    struct mr_types *types;
    struct mr_reject_file *rejects; /* or NULL */
    struct mr_keeper keeper;
    unsigned threads;

    atomic_size_t next;     /* in order */
    pthread_mutex_t lock;   /* of all that follows */
    pthread_cond_t changed; /* queue, helpers, or outstanding units */
    unsigned owners;        /* threads that may still make units */
    atomic_uint helpers;    /* threads that have run out of inputs; read
                             * without the lock, too */
    struct mr_work_unit *first, *last; /* the queue */
    unsigned n_queued;
    struct mr_work_unit *spare;
    struct mr_aggregate *aggregate; /* NULL until users are shared; after
                                     * all threads of a run without error:
                                     * there */
    struct mr_coverage coverage;    /* cells by number in cells */
    struct mr_cellbook cells;
    struct mr_error fatal; /* of the first input, in order, that failed so */
    size_t fatal_input;
    atomic_bool stopping;
    struct mr_progress progress;
    double last_progress; /* seconds */
};

/** mr_work_init(w, threads): Set up what threads need; w holds the observer
 * and else zeros.  Release it in any case. */
MR_MUST_CHECK enum mr_status mr_work_init(
    struct mr_work *w, unsigned threads, struct mr_error *err);
/** mr_work_order(w): Put the inputs of w->listing in order, once it is there;
 * before any thread starts. */
MR_MUST_CHECK enum mr_status mr_work_order(
    struct mr_work *w, struct mr_error *err);
void mr_work_release(struct mr_work *w);

/** mr_work_thread(w): Take part until all inputs have been read; called once
 * by each thread.  What goes wrong with the run as a whole is in w->fatal. */
void mr_work_thread(struct mr_work *w);

#endif
