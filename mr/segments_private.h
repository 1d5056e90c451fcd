#ifndef MR_SEGMENTS_PRIVATE_H
#define MR_SEGMENTS_PRIVATE_H

#include "mr/segments.h"

/*
 * What the sources of segments share: segments.c (the collector),
 * segments_merge.c (streams), segments_block.c (a state's blocks),
 * segments_count.c (figures).
 */

struct mr_segment_stream {
    enum mr_status (*next)(struct mr_segment_stream *stream,
        const struct mr_segment_entry **entry_out, size_t *n_out,
        struct mr_error *err);
    void (*free)(struct mr_segment_stream *stream);
};

/** Order of entries: < 0, 0, > 0. */
static inline int mr_segment_compare(
    const struct mr_segment_entry *a, const struct mr_segment_entry *b)
{
    if (a->user != b->user)
        return a->user < b->user ? -1 : 1;
    return a->day_type < b->day_type ? -1 : a->day_type > b->day_type;
}

/** Whether two entries are of one user and day. */
static inline bool mr_segment_same_day(
    const struct mr_segment_entry *a, const struct mr_segment_entry *b)
{
    return a->user == b->user && a->day_type >> 8 == b->day_type >> 8;
}

static inline uint32_t mr_segment_sum(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/** mr_segment_append(entry, n, e): Put an entry, at least as high as all
 * before it, at the end of n ascending ones with room for one more, or add it
 * to the last; return how many there are then. */
static inline size_t mr_segment_append(
    struct mr_segment_entry *entry, size_t n, const struct mr_segment_entry *e)
{
    if (n > 0 && mr_segment_compare(&entry[n - 1], e) == 0) {
        entry[n - 1].count = mr_segment_sum(entry[n - 1].count, e->count);
        return n;
    }
    /* It is the last of its day. */
    if (n > 0 && mr_segment_type_of(e) == MR_SEGMENT_SEEN &&
        mr_segment_same_day(&entry[n - 1], e))
        return n;
    entry[n] = *e;
    return n + 1;
}

#endif
