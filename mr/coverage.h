#ifndef MR_COVERAGE_H
#define MR_COVERAGE_H

#include <stdbool.h>
#include <string.h>

#include "mr/hash.h"
#include "mr/spec.h"

/*
 * What a state holds of the input: the partitions that were read, known by
 * the digest of their stored bytes, with their counts; and those that could
 * not be read.  Counts are kept per digest, so that adding up over a set of
 * digests counts nothing twice: joining two coverages is a set union.
 *
 * A partition read under several names keeps them all: the first in byte
 * order is its name, the others tell which failures have been made good.
 * Without them joining would not be associative.
 */

/** A day and an event type; cells are ordered by day, then type.  What events
 * are counted by besides, a figure, has a cell's number, too: those of
 * figures follow those of cells, in the order of their texts (mr/types.h). */
struct mr_cell {
    int32_t day;
    uint32_t type; /* index into the types at hand */
};

struct mr_cell_count {
    uint32_t cell; /* index into the cells at hand */
    uint64_t events;
    uint64_t without_user; /* of these */
};

struct mr_reason_count {
    uint32_t reason; /* enum in spec.h */
    uint64_t lines;
};

struct mr_partition {
    struct mr_digest digest;
    char **name; /* n_names >= 1, ascending, no two alike */
    size_t n_names;
    uint64_t stored_bytes;
    uint64_t text_bytes; /* unpacked */
    uint64_t lines;      /* = events + rejected + blank */
    uint64_t blank;
    uint64_t other_day;  /* events whose folder names another day */
    uint64_t other_type; /* or another type */
    /* Ascending by cell: n_cells of days and types, whose events add up to
     * the partition's, then n_figures of figures. */
    struct mr_cell_count *cell;
    size_t n_cells, n_figures;
    struct mr_reason_count *reason; /* ascending by reason */
    size_t n_reasons;
    /* All that this points to lies in one block of memory, which begins with
     * the array of names: see mr_partition_copy. */
    bool is_block;
};

/* Causes of failures that no file has: a manifest has the name, and no state;
 * or the partition had another size when it was read.  More may follow. */
#define MR_CAUSE_MISSING "in the manifest, in no state"
#define MR_CAUSE_CHANGED "not as in the manifest"

struct mr_failure {
    char *name;
    uint64_t offset; /* stored byte, or MR_NOWHERE */
    char *cause;
};

/** mr_failure_compare(a, b): Below, above or equal to 0: by name, then by the
 * order in which, of several failures of a name, the least stays. */
int mr_failure_compare(const struct mr_failure *a, const struct mr_failure *b);

/** The cause, without an offset, that a state gives for a partition which its
 * run had yet to read when the state was published.  Such a failure is
 * pending: it yields to any other failure of its name. */
#define MR_CAUSE_PENDING "not read yet; run mr map again"

/** mr_cause_is(text, cause): Whether a text tells of one of these causes,
 * perhaps with more behind it: by whom it is claimed, say. */
static inline bool mr_cause_is(const char *text, const char *cause)
{
    return strncmp(text, cause, strlen(cause)) == 0;
}

/** mr_failure_is_pending(f): Whether a partition was merely yet to be read. */
bool mr_failure_is_pending(const struct mr_failure *f);

struct mr_coverage {
    struct mr_partition *partition; /* ascending by digest once settled */
    size_t n_partitions, cap_partitions;
    struct mr_failure *failure; /* ascending by name once settled */
    size_t n_failures, cap_failures;
    uint64_t n_repeated; /* partitions dropped so far as already counted */
};

/** mr_coverage_prefetch(c, i): Fetch what will be wanted of the partitions
 * that follow i, for a loop over all: they lie anywhere in memory. */
static inline void mr_coverage_prefetch(const struct mr_coverage *c, size_t i)
{
    if (i + 16 < c->n_partitions) {
        __builtin_prefetch(c->partition[i + 16].name);
        __builtin_prefetch(c->partition[i + 16].cell);
    }
    if (i + 8 < c->n_partitions && c->partition[i + 8].n_names > 0)
        __builtin_prefetch(c->partition[i + 8].name[0]);
}

/** All zero is an empty coverage. */
void mr_coverage_release(struct mr_coverage *c);
void mr_partition_release(struct mr_partition *p);

/** mr_partition_is_archive(p): Whether it stands for an archive that was read
 * to its end: see mr_group_add_archive.  An empty file has nothing in it
 * either, but the digest of no bytes. */
bool mr_partition_is_archive(const struct mr_partition *p);

/** mr_partition_renumber(p, number): Give each of p's cells the number that
 * number[] has for it, put them in order, and add up those that got the same
 * one.  Cells of days and types stay before figures. */
void mr_partition_renumber(struct mr_partition *p, const uint32_t *number);

/** mr_partition_copy(from, to): A copy of from in one block of memory, which
 * is quicker to make, to go through and to free where there are many. */
MR_MUST_CHECK enum mr_status mr_partition_copy(
    const struct mr_partition *from, struct mr_partition *to_out);

/** mr_coverage_copy(from, to): Add copies of all of from, which stays as it
 * is.  After MR_NOMEM to has some of them. */
MR_MUST_CHECK enum mr_status mr_coverage_copy(
    const struct mr_coverage *from, struct mr_coverage *to);

/** mr_coverage_add(c, p): Take over the partition p (which becomes empty)
 * without looking for repetitions.  O(1) amortised.  p stays the caller's
 * when MR_NOMEM is returned. */
MR_MUST_CHECK enum mr_status mr_coverage_add(
    struct mr_coverage *c, struct mr_partition *p);

/** mr_coverage_add_failure(c, name, offset, cause): Strings are copied. */
MR_MUST_CHECK enum mr_status mr_coverage_add_failure(struct mr_coverage *c,
    const char *name, uint64_t offset, const char *cause);

/** mr_coverage_fail(c, name, why): The same of an error: its offset and cause,
 * and what to do about it, unless it is what can be said of any damaged file:
 * fetch it again. */
MR_MUST_CHECK enum mr_status mr_coverage_fail(
    struct mr_coverage *c, const char *name, const struct mr_error *why);

/** mr_coverage_spoil(c, why): What has been read of a file that changed
 * meanwhile counts for nothing, and what seemed wrong with it may have come
 * from the change: all that c has failed, and this is why. */
MR_MUST_CHECK enum mr_status mr_coverage_spoil(
    struct mr_coverage *c, const struct mr_error *why);

/** mr_coverage_move(into, from): Add all of from, which is then to be
 * released. */
MR_MUST_CHECK enum mr_status mr_coverage_move(
    struct mr_coverage *into, struct mr_coverage *from);

/** mr_coverage_veiled(c, veiled): Copies of the failures that settling is going
 * to drop because c has a partition of their name, but for pending ones: in
 * what one run has read, those of another file of the same name.  May change
 * the order of c's failures.  O(n log n_failures), or O(1) without any. */
MR_MUST_CHECK enum mr_status mr_coverage_veiled(
    struct mr_coverage *c, struct mr_coverage *veiled_out);

/**
 * mr_coverage_settle(c): Sort; join partitions of one digest (counting
 * n_repeated), keeping the counts of the one whose name comes first, because
 * other_day and other_type depend on the name; of several failures of one
 * name keep the least by (offset, cause), one that is not pending where there
 * is one; drop failures whose name has been read.  Idempotent.  O(n log n).
 * After MR_NOMEM c holds what it held, in some order.
 */
MR_MUST_CHECK enum mr_status mr_coverage_settle(struct mr_coverage *c);

/** mr_coverage_fits(c): Whether the sums over all partitions are below 2^64,
 * as they are unless somebody made a state up. */
bool mr_coverage_fits(const struct mr_coverage *c);

struct mr_coverage_totals {
    uint64_t partitions, failures, stored_bytes, text_bytes;
    uint64_t lines, events, rejected, blank;
    uint64_t events_without_user, other_day, other_type;
    uint64_t reason[MR_REASON_COUNT];
    uint64_t renamed; /* names that stand for two or more digests */
};

/** mr_coverage_sum(c, totals): Add up a settled coverage.  MR_NOMEM when the
 * names cannot be compared. */
MR_MUST_CHECK enum mr_status mr_coverage_sum(
    const struct mr_coverage *c, struct mr_coverage_totals *totals_out);

#endif
