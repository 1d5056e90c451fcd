#ifndef MR_PLACE_H
#define MR_PLACE_H

#include <stdbool.h>

#include "mr/bytes.h"

/*
 * Which day, hour and event type the folders of a partition's name tell, and
 * how many partitions there are of each day and type.
 *
 * A folder date=, day= or dt= with a day as YYYY-MM-DD or YYYYMMDD tells the
 * day, hour= or hr= with 0 to 23 the hour, type= or event_type= the type,
 * percent-decoded; of several of one kind the last.  Nothing else does.
 */

struct mr_place {
    bool has_day, has_hour;
    int32_t day; /* of any year */
    unsigned hour;
    struct mr_span type; /* p is NULL where none is told */
};

/** mr_place_of(name, scratch, place): The place that a name tells.  Its type
 * is in scratch, as good as that.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_place_of(
    const char *name, struct mr_buffer *scratch, struct mr_place *place_out);

/** Partitions of one day and type; of these, those that are covered. */
struct mr_place_row {
    bool has_day;
    int32_t day;         /* 0 without a day */
    struct mr_span type; /* the table's; p is NULL for none */
    uint64_t partitions, bytes;
    uint64_t covered, covered_bytes;
};

/** A table of them; all zero is empty.  One thread. */
struct mr_places {
    struct mr_place_row *row;
    size_t n, cap;
    size_t *slot; /* number of the row plus 1, by hash; 0 is free */
    size_t mask;  /* slots less one; 0: none */
    size_t last;  /* row that was added to last */
    struct mr_buffer scratch;
};

void mr_places_release(struct mr_places *p);

/** mr_places_add(p, name, bytes, covered): Count a partition where its name
 * says.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_places_add(
    struct mr_places *p, const char *name, uint64_t bytes, bool covered);

/** mr_places_sort(p): Put the rows in order: by day, those without first, then
 * by type, likewise.  Nothing can be added afterwards. */
void mr_places_sort(struct mr_places *p);

#endif
