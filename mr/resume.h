#ifndef MR_RESUME_H
#define MR_RESUME_H

#include "mr/mr.h"
#include "mr/source.h"
#include "mr/state.h"

/*
 * What a folder of states has already of the partitions that a map is asked
 * for, so that a run that was cut short goes on with the rest.
 *
 * A partition is there where a state of the same spec has read one of its
 * name, with as many stored bytes, and of the same digest.  Names and sizes
 * are compared when the folder is opened; the digest is taken, without
 * unpacking, by the thread that would have read the file.  States are hostile
 * until checked: one of which anything is to be used has all its sections
 * read first, and one that is damaged, of another version or of another spec
 * is noted and not used.  Archives, whose partitions are their members, and
 * standard input are never found.
 *
 * A folder may change meanwhile: another run that writes there removes its
 * earlier states once a later one has all that they had.
 */
struct mr_resume;

/**
 * mr_resume_open(folder, spec, listing, observer, resume, err): Look at the
 * states in a folder, which need not exist.  Notes what is not used.
 * MR_STOPPED when the observer says so, MR_NOMEM.  resume_out is NULL where no
 * name is known.  spec and listing must outlive it.  Memory: what is known of
 * the partitions of the states that have something, and 32 bytes for each
 * match of name and size.
 */
MR_MUST_CHECK enum mr_status mr_resume_open(const char *folder,
    const struct mr_spec *spec, const struct mr_listing *listing,
    const struct mr_observer *observer, struct mr_resume **resume_out,
    struct mr_error *err);
void mr_resume_free(struct mr_resume *r);

/** mr_resume_note_temporary(folder, observer): Note how many files there are
 * that runs which were killed left behind, or that runs have at work. */
void mr_resume_note_temporary(
    const char *folder, const struct mr_observer *observer);

/** mr_resume_has(r, i, input, stop, has, err): Whether input i of the listing
 * is there already; not if its bytes cannot be read, nor if *stop (or NULL)
 * ends the reading of them.  Any number of threads, but each input once. */
MR_MUST_CHECK enum mr_status mr_resume_has(struct mr_resume *r, size_t i,
    const struct mr_input *input, const atomic_int *stop, bool *has_out,
    struct mr_error *err);

/** mr_resume_trust(r, wanted): Take every input i with wanted[i] for found that
 * is there by name and size, without taking its digest; of the others what is
 * there does not matter. */
void mr_resume_trust(struct mr_resume *r, const bool *wanted);

/** mr_resume_may_have(r, i): Whether names and sizes say so. */
bool mr_resume_may_have(const struct mr_resume *r, size_t i);

/** mr_resume_overlaps(r, c, overlaps): Whether c has some of the partitions of
 * a state that has anything of the listing, as when these have the same bytes
 * under another name, and not all: users' numbers of events could not be
 * added up then (mr/segments.h). */
MR_MUST_CHECK enum mr_status mr_resume_overlaps(
    const struct mr_resume *r, const struct mr_coverage *c, bool *overlaps_out);

/** mr_resume_forget(r): As if nothing had been found, nor could be; only
 * mr_resume_overlaps still knows the states. */
void mr_resume_forget(struct mr_resume *r);

/**
 * mr_resume_end(r, done, failed, observer, err): After the last call of
 * mr_resume_has: see to it that all that was found is still there, in other
 * states if need be.  MR_IO where it is not.  Notes which of the other inputs
 * have the name of something that is there: of those that are done and have
 * been read both contents count; a failure is hidden by what was read before.
 */
MR_MUST_CHECK enum mr_status mr_resume_end(struct mr_resume *r,
    const bool *done, const bool *failed, const struct mr_observer *observer,
    struct mr_error *err);

/** mr_resume_found(r): How many inputs were there already. */
uint64_t mr_resume_found(const struct mr_resume *r);
/** mr_resume_has_found(r, i): Whether input i was one of them. */
bool mr_resume_has_found(const struct mr_resume *r, size_t i);

/** mr_resume_coverage(r, c): Add copies of the partitions that were found;
 * their cells have the numbers of their states. */
MR_MUST_CHECK enum mr_status mr_resume_coverage(
    const struct mr_resume *r, struct mr_coverage *c);

/** mr_resume_paths(r, path, n): The states that have what was found,
 * ascending; the caller's to free, each and all. */
MR_MUST_CHECK enum mr_status mr_resume_paths(
    const struct mr_resume *r, char ***path_out, size_t *n_out);

#endif
