#ifndef MR_RESULT_H
#define MR_RESULT_H

#include "mr/mr.h"
#include "mr/source.h"
#include "mr/state.h"
#include "mr/usertable.h"

/** mr_result_fill(result, head, users): Describe a state in a result: totals,
 * days, types, failures.  The rest of the result stays as it is. */
MR_MUST_CHECK enum mr_status mr_result_fill(
    struct mr_result *result, const struct mr_state_head *head, uint64_t users);

/** mr_result_count(result, c): The totals and failures alone, of a settled
 * coverage. */
MR_MUST_CHECK enum mr_status mr_result_count(
    struct mr_result *result, const struct mr_coverage *c);

/**
 * mr_result_unveil(result, veiled, listing): Add failures that the run's state
 * does not tell (mr_coverage_veiled) to those of a result that is filled, by
 * the paths of the files that may be meant.
 */
MR_MUST_CHECK enum mr_status mr_result_unveil(struct mr_result *result,
    const struct mr_coverage *veiled, const struct mr_listing *listing);

/** mr_note_links(listing, observer): Remark on links to folders: what they
 * lead to was not listed. */
void mr_note_links(
    const struct mr_listing *listing, const struct mr_observer *observer);

/** mr_note_names(listing, observer): Remark on files that have one partition
 * name: a failure of one does not stand beside the other. */
void mr_note_names(
    const struct mr_listing *listing, const struct mr_observer *observer);

/** mr_clock(): Seconds of a clock that only goes forward. */
double mr_clock(void);

/**
 * mr_threads(wanted): How many threads to work with: as many as wanted, 0
 * being one for each processor that the process may use (mr/machine.h); or,
 * where the system does not allow that many, some fewer than it does.  OpenMP
 * would end the process.  Starts and joins as many threads, but for one.
 */
unsigned mr_threads(unsigned wanted);

/** mr_note(observer, format, ...): Hand the observer a remark, if it takes
 * any. */
void mr_note(const struct mr_observer *observer, const char *format, ...)
    MR_PRINTF(2, 3);

/** mr_note_table(observer, spec, table): Remark what a spec's users table has
 * that does not count: further rows of users, rows of nobody, values in none
 * of the ranges, ranges of a column that is not wanted.  table may be NULL. */
void mr_note_table(const struct mr_observer *observer,
    const struct mr_spec *spec, const struct mr_usertable *table);

/** mr_note_no_event(observer, spec, totals, of, rejects): Where there were
 * lines and all were rejected, a remark that says so, with the commonest
 * reason and what to do.  The lines are those OF something (" of the sample",
 * or ""), and in the file rejects, or NULL. */
void mr_note_no_event(const struct mr_observer *observer,
    const struct mr_spec *spec, const struct mr_totals *totals, const char *of,
    const char *rejects);

#endif
