#ifndef MR_SOURCE_H
#define MR_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "mr/bytes.h"
#include "mr/hash.h"

/*
 * Which files there are, in a fixed order, and their stored bytes.
 *
 * Names follow the contract: a partition's name is its path from the first
 * "key=value" folder on; without such a folder, its path below the INPUT
 * folder; named directly, as given.  So a name never depends on where the
 * files happen to lie.  "As given" is after "." components and repeated and
 * final slashes have been dropped, so that "./a", "a" and ".//a" are one.
 *
 * source_list.c lists, source.c reads.
 */

/** What the names of states end in. */
#define MR_STATE_SUFFIX ".mrs"

struct mr_input {
    char *path;    /* what to open; "-" is standard input */
    char *name;    /* the partition's name in a state: the end of path */
    uint64_t size; /* stored bytes when listed; 0 when unknown */
};

/* A folder or a listed file that could not be looked at. */
struct mr_unlisted {
    char *name;      /* by the same rule as a partition's */
    char cause[320]; /* "Permission denied" */
};

struct mr_listing {
    struct mr_input *inputs; /* ascending by name, then path; no two alike */
    size_t n;
    struct mr_unlisted *unlisted; /* ascending by name */
    size_t n_unlisted;
    char *link;     /* path of a link to a folder that was not followed: the
                     * first in byte order; NULL: there is none */
    size_t n_links; /* how many there are, one that was come to twice as two */
    struct mr_buffer lists; /* paths of lists that were read, each with a NUL */
};

/**
 * mr_listing_build(args, n, threads, listing, err): Expand INPUT arguments,
 * with so many threads where files are many.  A folder is walked (names that
 * begin with '_' or '.' are skipped, links to files followed, links to folders
 * not, other kinds of file skipped); a pattern with *, ? or [ that is not
 * itself a file is a glob; "@FILE" is a list, one path a line ("@-": the list
 * comes from standard input), each line as if given as an argument, except that
 * one that does not exist becomes an unlisted entry (lists in lists go 8 deep,
 * each is read once); "-" is standard input.  An argument that exists nowhere,
 * a glob that matches nothing, standard input twice, and arguments with no file
 * under them at all and nothing unlisted are MR_USAGE.  Files whose names end
 * in MR_STATE_SUFFIX are states, left out however they were named.  What exists
 * but cannot be looked at (a folder without permission, a link to nowhere)
 * becomes an unlisted entry.  Where looking fails for the moment (a disk, a
 * share) it is MR_IO: the list would lack nobody knows what, and be cut into
 * other parts than on other machines. A path that is reached with two names, as
 * by a folder and by one in it, is two inputs, so that a state has both names
 * whoever maps what.
 * Release the listing with mr_listing_release, also after a failure.
 */
MR_MUST_CHECK enum mr_status mr_listing_build(char *const *args, size_t n,
    unsigned threads, struct mr_listing *listing_out, struct mr_error *err);
void mr_listing_release(struct mr_listing *listing);

/** mr_listing_unite_paths(listing): Of the inputs of one path keep that whose
 * name is the first in byte order.  O(n log n). */
void mr_listing_unite_paths(struct mr_listing *listing);

/** mr_listing_find(listing, name, after): The number of the first input whose
 * name is not before name; with after, that is after it.  O(log n). */
size_t mr_listing_find(
    const struct mr_listing *listing, const char *name, bool after);

/** mr_listing_largest_first(listing, floor, input, n): Put the numbers of n
 * inputs in order: larger ones first; those of equal size, and all of less than
 * floor bytes, ascending by number.  O(n log n).  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_listing_largest_first(
    const struct mr_listing *listing, uint64_t floor, size_t *input, size_t n);

/**
 * mr_listing_deal(listing, n, part, err): Deal the inputs to n >= 1 parts of
 * nearly equal bytes: part[i], from 1 to n, is that of inputs[i].  The largest
 * input first, each goes to the part that is smallest so far, of equal ones to
 * the first; an input counts for its bytes and one more.  So no part has more
 * than the largest input more than another, but for a byte an input.  The rule
 * looks only at names and sizes, so every machine with the same listing deals
 * alike, however its paths are written.  O(n log n).
 */
MR_MUST_CHECK enum mr_status mr_listing_deal(const struct mr_listing *listing,
    unsigned n, unsigned *part_out, struct mr_error *err);

/** mr_listing_shard(listing, first, last, n, err): Keep the parts first to
 * last of n, as mr_listing_deal has them.  Unlisted entries stay with part 1.
 * MR_USAGE unless 1 <= first <= last <= n. */
MR_MUST_CHECK enum mr_status mr_listing_shard(struct mr_listing *listing,
    unsigned first, unsigned last, unsigned n, struct mr_error *err);

/**
 * mr_path_name(path, below, out): Append the name of a partition to out
 * (without NUL): path from its first folder of the form key=value on, else
 * from byte below on.  The last component is the file, never such a folder.
 */
MR_MUST_CHECK enum mr_status mr_path_name(
    const char *path, size_t below, struct mr_buffer *out);

/* Up to this size a file is read as a whole, which costs less than a mapping
 * and its end: that stops every other thread for a moment. */
#define MR_SOURCE_SMALL ((size_t)1 << 20)

/**
 * The stored bytes of one input.  Regular files are mapped, small ones read
 * into memory as a whole; anything else (and what cannot be mapped) is read
 * piece by piece.  A mapped file that is cut short
 * meanwhile does not end the process: the missing pages read as zeros, and
 * mr_source_close reports it.  For that, mr_source_open installs a SIGBUS
 * handler on first use, which passes on every fault that is not ours.
 */
struct mr_source;

MR_MUST_CHECK enum mr_status mr_source_open(
    const char *path, struct mr_source **source_out, struct mr_error *err);

/**
 * mr_source_open_memory(p, n, piece, source, err): A source over the
 * caller's memory, which must outlive it: as if mapped when piece is 0, else
 * as if read from a pipe that gives at most piece bytes at a time.
 */
MR_MUST_CHECK enum mr_status mr_source_open_memory(const void *p, size_t n,
    size_t piece, struct mr_source **source_out, struct mr_error *err);

/** mr_source_release_spares(): Free what sources that have been closed left
 * for the next ones.  Any thread, at any time. */
void mr_source_release_spares(void);

/** The whole file if it is in memory, mapped or read, else an empty span with
 * p NULL.  An empty file is not. */
struct mr_span mr_source_whole(const struct mr_source *source);

/**
 * mr_source_read(source, span, err): The next stretch of stored bytes (at
 * most 256 KiB, in the source's memory, valid until the next call); n = 0 at
 * the end.
 */
MR_MUST_CHECK enum mr_status mr_source_read(
    struct mr_source *source, struct mr_span *span_out, struct mr_error *err);

/** mr_source_load(path, most, text, err): Append the whole of a file that is
 * to be small; MR_LIMIT where it has more than most bytes. */
MR_MUST_CHECK enum mr_status mr_source_load(const char *path, size_t most,
    struct mr_buffer *text, struct mr_error *err);

/** mr_source_let_go(source, at): The bytes before at have been passed: give
 * pages of a mapping back that lie well behind.  They stay readable. */
void mr_source_let_go(struct mr_source *source, size_t at);

/** mr_source_digest(path, stop, digest, err): The digest of a file's stored
 * bytes.  MR_IO where they cannot be read, or changed meanwhile; MR_STOPPED
 * when *stop (or NULL) says so; MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_source_digest(const char *path,
    const atomic_int *stop, struct mr_digest *digest_out, struct mr_error *err);

/**
 * mr_source_close(source, err): Unmap and close.  MR_IO with the cause
 * "changed while it was being read" (or "cut short while ...") when size or
 * modification time are not what they were when it was opened.  The source
 * is freed in any case.  err may be NULL where the bytes did not matter.
 */
enum mr_status mr_source_close(struct mr_source *source, struct mr_error *err);

#endif
