#ifndef MR_SEGMENTS_H
#define MR_SEGMENTS_H

#include "mr/spec.h"

/*
 * How many events of the types that segments name each user has on each day,
 * and how many users are in each segment.
 *
 * A user is in a segment on a day when an event of the user lies on that day
 * and all conditions hold for the numbers of events there; a user without an
 * event of a type has 0 of it, so '<3' holds for one that came for something
 * else.  Over all days the same holds for the sums over days.  Where no
 * segment of the spec could hold a user without any event of its types, such
 * users are not kept; else their days are (MR_SEGMENT_SEEN).
 *
 * Unlike all else in a state, numbers of events add up: counted twice, they
 * are wrong.  So a partition is added once (mr_segments_claim), and states
 * are only merged where no partition is in two of them
 * (mr_segments_choose).  A number of events of a user, day and type ends at
 * UINT32_MAX; adding up to that end is associative, too.
 */

/** The types that all segments of a spec name, numbered in byte order. */
#define MR_SEGMENT_TYPES_MAX (MR_SEGMENTS_MAX * MR_CONDITIONS_MAX)
struct mr_segment_types {
    const char *type[MR_SEGMENT_TYPES_MAX]; /* ascending; the spec's memory */
    unsigned n;
    bool keeps_seen; /* days of users without an event of these are kept */
};

void mr_segment_types_of(
    const struct mr_spec *spec, struct mr_segment_types *types_out);

/** Any other type. */
#define MR_SEGMENT_SEEN MR_SEGMENT_TYPES_MAX

/** mr_segment_type(types, type): The number of a type, or
 * MR_SEGMENT_SEEN. */
unsigned mr_segment_type(
    const struct mr_segment_types *types, struct mr_span type);

/* ---- collecting ---- */

/** An event of a user. */
struct mr_segment_event {
    uint64_t user;
    int32_t day;   /* in [0, MR_DAY_END) */
    uint32_t type; /* mr_segment_type */
};

/** The numbers of events of all users, shared by the threads of a map: 16
 * bytes for each user, day and type, in tables that are between three
 * eighths and three quarters full. */
struct mr_segments;

/** keeps_seen: that of the spec's types. */
MR_MUST_CHECK enum mr_status mr_segments_new(
    bool keeps_seen, struct mr_segments **segments_out);
void mr_segments_free(struct mr_segments *s);

/** mr_segments_claim(s, digest, is_new): Whether a partition is the first of
 * its digest: the caller adds all its events then, and else none.  Only for
 * partitions that have been read to their end.  Any number of threads. */
MR_MUST_CHECK enum mr_status mr_segments_claim(
    struct mr_segments *s, const struct mr_digest *digest, bool *is_new_out);

/** mr_segments_add(s, event, n): Add events.  Any number of threads at a
 * time; the lock of one of 256 parts of the users is held for some of 4096
 * events.  After a failure (MR_NOMEM) s can only be freed. */
MR_MUST_CHECK enum mr_status mr_segments_add(
    struct mr_segments *s, const struct mr_segment_event *event, size_t n);

/* ---- streams ---- */

/** The events of a user on a day. */
struct mr_segment_entry {
    uint64_t user;
    uint32_t day_type; /* 256 times the day, and the type's number */
    uint32_t count;    /* at least 1; 0 with MR_SEGMENT_SEEN */
};

static inline int32_t mr_segment_day(const struct mr_segment_entry *e)
{
    return (int32_t)(e->day_type >> 8);
}

static inline unsigned mr_segment_type_of(const struct mr_segment_entry *e)
{
    return e->day_type & 255;
}

/**
 * Entries ascend by user, then day_type, no two alike, and one of
 * MR_SEGMENT_SEEN is there only where the user has no other on that day.
 * They come in pieces, which live until the next is asked for; the end is a
 * piece of none.  One thread at a time.
 */
struct mr_segment_stream;
MR_MUST_CHECK enum mr_status mr_segment_stream_next(
    struct mr_segment_stream *stream, const struct mr_segment_entry **entry_out,
    size_t *n_out, struct mr_error *err);
void mr_segment_stream_free(struct mr_segment_stream *stream);

/** mr_segments_read(s, stream): All that was added.  No thread adds any more
 * until the stream is freed; s lives longer.  Memory: that of a 256th of the
 * users, twice. */
MR_MUST_CHECK enum mr_status mr_segments_read(
    const struct mr_segments *s, struct mr_segment_stream **stream_out);

/** mr_segment_stream_merge(stream, n, merged): The sums of n streams.  They
 * stay the caller's, to be freed after this one.  Memory: a piece of each,
 * and 128 KiB. */
MR_MUST_CHECK enum mr_status mr_segment_stream_merge(
    struct mr_segment_stream *const *stream, size_t n,
    struct mr_segment_stream **merged_out);

/* ---- which states can be merged ---- */

/** The partitions of a state: digests, strictly ascending. */
struct mr_segment_parts {
    const struct mr_digest *digest;
    size_t n;
};

/**
 * mr_segments_choose(parts, n, wanted, a, b): Which of n states are added up:
 * of those with the same partitions the first, none whose partitions are all
 * in another one, and all others.  wanted[n] tells.  MR_MISMATCH: states a
 * and b have partitions in common, and each has one that the other has not,
 * so what they have in common cannot be taken out of the sum.  MR_NOMEM.
 * Memory: 48 bytes for each partition.
 */
MR_MUST_CHECK enum mr_status mr_segments_choose(
    const struct mr_segment_parts *parts, size_t n, bool *wanted_out,
    size_t *a_out, size_t *b_out);

/* ---- in a state: docs/state-format.md, SEGM and SIDX ---- */

struct mr_segment_block {
    uint64_t first, last; /* users */
    uint32_t n_users;
    uint64_t bytes;
    uint64_t offset; /* in SEGM */
    uint64_t checksum;
};

/** The content of SIDX; all zero is empty. */
struct mr_segment_index {
    struct mr_segment_block *block;
    size_t n_blocks;
    uint64_t bytes; /* of SEGM */
    /* For messages: the file it is in, or NULL, and where the chunk begins. */
    const char *path;
    uint64_t start;
};
void mr_segment_index_release(struct mr_segment_index *index);

/** Take bytes of SEGM, which come one block at a time. */
typedef enum mr_status mr_segments_put(
    void *context, struct mr_span bytes, struct mr_error *err);

/** mr_segments_write(stream, put, context, index, err): Read a stream to its
 * end and give its blocks to put; index becomes theirs (release it also
 * after a failure). */
MR_MUST_CHECK enum mr_status mr_segments_write(struct mr_segment_stream *stream,
    mr_segments_put *put, void *context, struct mr_segment_index *index_out,
    struct mr_error *err);

/** mr_segment_index_encode(index, out): Append the plain bytes of SIDX. */
MR_MUST_CHECK enum mr_status mr_segment_index_encode(
    const struct mr_segment_index *index, struct mr_buffer *out);

/** mr_segment_index_decode(plain, segm_bytes, index, why): Read bytes that
 * are not trusted, for a chunk SEGM of so many bytes.  MR_FORMAT gives a
 * constant text in why. */
MR_MUST_CHECK enum mr_status mr_segment_index_decode(struct mr_span plain,
    uint64_t segm_bytes, struct mr_segment_index *index_out, const char **why);

/** Read n bytes at an offset in SEGM, within its length. */
typedef enum mr_status mr_segments_get(void *context, uint64_t offset, size_t n,
    uint8_t *out, struct mr_error *err);

/** mr_segment_index_read(index, types, get, context, stream, err): The
 * entries of a state, read and checked a block at a time: MR_CHECKSUM or
 * MR_FORMAT, with the offset in SEGM, when a block is not what it must be.
 * The index lives longer than the stream.  Memory: one block, at most 17
 * times as many bytes as it has there. */
MR_MUST_CHECK enum mr_status mr_segment_index_read(
    const struct mr_segment_index *index, const struct mr_segment_types *types,
    mr_segments_get *get, void *context, struct mr_segment_stream **stream_out,
    struct mr_error *err);

/* ---- figures ---- */

/** By what users are told apart beside days. */
struct mr_segment_groups {
    unsigned n; /* attributes, at most MR_ROLLUP_FIELDS_MAX */
    /* Give the group of a user for each attribute; called once for each user
     * who is in a segment. */
    void (*of)(void *context, uint64_t user, uint32_t *group_out);
    void *context;
};

/** Users of a segment; none is left out but those of 0 users. */
struct mr_segment_count {
    unsigned segment; /* of the spec */
    unsigned by;      /* MR_SEGMENT_WHOLE, or an attribute's number + 1 */
    int32_t day;      /* MR_SEGMENT_ALL_DAYS, or a day */
    uint32_t group;   /* 0 where by is MR_SEGMENT_WHOLE */
    uint64_t users;
};
#define MR_SEGMENT_WHOLE 0
#define MR_SEGMENT_ALL_DAYS INT32_C(-1)

/** Ascending by segment, by, day, group. */
struct mr_segment_counts {
    struct mr_segment_count *count;
    size_t n;
};
void mr_segment_counts_release(struct mr_segment_counts *counts);

/** mr_segments_count(stream, spec, groups, counts, err): Read a stream to
 * its end and count.  groups may be NULL.  Memory: at most 67 bytes for each
 * count. */
MR_MUST_CHECK enum mr_status mr_segments_count(struct mr_segment_stream *stream,
    const struct mr_spec *spec, const struct mr_segment_groups *groups,
    struct mr_segment_counts *counts_out, struct mr_error *err);

#endif
