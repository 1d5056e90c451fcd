#ifndef MR_COVERED_H
#define MR_COVERED_H

#include "mr/coverage.h"
#include "mr/manifest.h"
#include "mr/place.h"

/*
 * How much of what a manifest lists a coverage covers.  A partition of the
 * manifest is covered when its name has been read with as many stored bytes.
 * Of an archive only the name is compared: the archive itself is a partition
 * of no bytes, and mr_partition_is_archive tells it from an empty file.
 *
 * What is not covered is a failure, so that all that looks at failures marks
 * the result as partial and names it: that of the coverage if it has one of
 * this name, else MR_CAUSE_MISSING; where the name has been read, but with
 * another number of bytes, MR_CAUSE_CHANGED and both numbers.  This holds for
 * reports.  A merged state is the union of states, whatever a manifest says.
 */
struct mr_covered {
    struct mr_failure *failure; /* the coverage's own and these, by name */
    size_t n_failures;
    uint64_t missing, changed; /* how many of them are such */
    struct mr_places places;   /* of the manifest's partitions, sorted */
    struct mr_place_row total; /* of all of them */
    /* Partitions that were read and are not in the manifest, members of its
     * archives aside; the first of their names, if any. */
    uint64_t unlisted;
    const char *first_unlisted; /* the coverage's */
    bool has_archives;          /* archives have been read */
};

/**
 * mr_covered_compare(coverage, manifest, covered, err): Compare; the coverage
 * is settled, and like the manifest outlives the result.  O(n log n).  Release
 * it with mr_covered_release in any case.
 */
MR_MUST_CHECK enum mr_status mr_covered_compare(
    const struct mr_coverage *coverage, const struct mr_manifest *manifest,
    struct mr_covered *covered_out, struct mr_error *err);
void mr_covered_release(struct mr_covered *c);

/** A type with holes in its hours. */
struct mr_hole {
    const char *name; /* of its first partition: the coverage's */
    int32_t day;      /* the first hole's */
    unsigned hour;
    uint64_t holes; /* hours without a partition */
};

/** All of them, ascending by name. */
struct mr_holes {
    struct mr_hole *hole;
    size_t n;
    uint64_t hours; /* that were looked at: those between the next two */
    int32_t first_day, last_day;
    unsigned first_hour, last_hour;
};

/**
 * mr_holes_find(coverage, holes, err): For coverage without a manifest: types
 * that have no partition of some hour, told by names (mr/place.h), but of at
 * least 7/8 of all hours between the first and the last that have at least
 * half as many types as the hour with the most: folders that hold late events
 * alone do not count.  Nor do these two: the data may begin and end within
 * them.  A partition that failed counts as there, since it is told of anyway.
 * Nothing is found where fewer than eight hours lie between, or names tell no
 * hours.  O(n log n).  Release it with mr_holes_release in any case.
 */
MR_MUST_CHECK enum mr_status mr_holes_find(const struct mr_coverage *coverage,
    struct mr_holes *holes_out, struct mr_error *err);
void mr_holes_release(struct mr_holes *h);

#endif
