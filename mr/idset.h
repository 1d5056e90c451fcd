#ifndef MR_IDSET_H
#define MR_IDSET_H

#include "mr/bytes.h"
#include "mr/calendar.h"

/*
 * Which ids each day has, for counting the events whose id was there before.
 * An id is the XXH64 (seed 0) of its bytes.  Of a day its set of ids is kept
 * whole while it has at most max_ids, or in any case where the rule says
 * exact; else the max_ids least, a bottom-k sample (Bar-Yossef and others,
 * "Counting distinct elements in a data stream", RANDOM 2002; Beyer and
 * others, "On synopses for distinct-value estimation under multiset
 * operations", SIGMOD 2007).  Either is a function of the set of ids alone:
 * uniting the sets of some parts and cutting the union gives the set of the
 * whole, in any order, grouping and repetition.
 *
 * Sets travel as streams, day after day in pieces, because a set that is
 * kept whole may be larger than memory.
 */

struct mr_idset_rule {
    uint64_t max_ids; /* at least 2 and below 2^40 */
    bool exact;
};

/** Memory for waiting ids of exact sets before they go to the disk. */
#define MR_IDSET_MEMORY (UINT64_C(64) << 20)

/* ---- collecting ---- */

/** The ids of all days, shared by the threads of a map. */
struct mr_idset;

/**
 * mr_idset_new(rule, folder, memory_bytes, set, err): An empty set.  With
 * rule->exact, ids beyond memory_bytes (and some 5 MiB, 512 KiB a thread)
 * wait in a temporary file in the folder: eight bytes for each id that was
 * new since the last time.  Else a day takes up to 12 bytes an id of
 * max_ids, 20 while it is being cut, and 256 KiB.  MR_USAGE: a rule out of
 * range.
 */
MR_MUST_CHECK enum mr_status mr_idset_new(const struct mr_idset_rule *rule,
    const char *folder, uint64_t memory_bytes, struct mr_idset **set_out,
    struct mr_error *err);
void mr_idset_free(struct mr_idset *set);

/**
 * mr_idset_add(set, day, hash, n, err): Add ids of a day in [0, MR_DAY_END),
 * in any order and as often as they like.  Any number of threads at a time;
 * a day's lock is held while at most 1024 ids are copied, but a thread may have
 * to wait for one that cuts the day or writes to the disk.  Only events of
 * partitions that have been read to their end: what is in stays in.  After
 * a failure the set can only be freed.
 */
MR_MUST_CHECK enum mr_status mr_idset_add(struct mr_idset *set, int32_t day,
    const uint64_t *hash, size_t n, struct mr_error *err);

/* ---- streams ---- */

/** A piece of a stream.  Days ascend, and hashes within a day; after a day's
 * hashes comes one piece of that day without any, which alone has cut set:
 * whether the day has more ids than these.  After the last day a piece whose
 * day is MR_ID_END. */
struct mr_id_piece {
    int32_t day;
    bool cut;
    const uint64_t *hash; /* until the next piece is asked for */
    size_t n;
};
#define MR_ID_END INT32_C(-1)

/** One thread at a time. */
struct mr_id_stream;

MR_MUST_CHECK enum mr_status mr_id_stream_next(struct mr_id_stream *stream,
    struct mr_id_piece *piece_out, struct mr_error *err);
void mr_id_stream_free(struct mr_id_stream *stream);

/** mr_idset_read(set, stream, err): All that was added.  No thread adds any
 * more until the stream is freed; the set lives longer.  Memory: a buffer of 4
 * to 256 KiB for each time ids went to the disk, some 2 MiB in all if few. */
MR_MUST_CHECK enum mr_status mr_idset_read(struct mr_idset *set,
    struct mr_id_stream **stream_out, struct mr_error *err);

/** mr_id_stream_merge(rule, stream, n, merged, err): The union of n streams
 * under the same rule, which all were made by.  They stay the caller's, to
 * be freed after this one, and are not used otherwise meanwhile.  Memory: a
 * piece and two copies of it for each. */
MR_MUST_CHECK enum mr_status mr_id_stream_merge(
    const struct mr_idset_rule *rule, struct mr_id_stream *const *stream,
    size_t n, struct mr_id_stream **merged_out, struct mr_error *err);

/* ---- in a state: docs/state-format.md, DUPS and DIDX ---- */

/** Hashes of a block of DUPS, except the last of a day, which may be less. */
#define MR_IDSET_BLOCK 16384

struct mr_idset_block {
    uint64_t first, last;
    uint64_t offset; /* in DUPS */
    uint64_t checksum;
};

/** What is known of a day without reading its ids. */
struct mr_idset_day {
    int32_t day;
    bool cut;
    uint64_t n;         /* hashes, at least 1 */
    uint64_t threshold; /* the largest of them */
    size_t block;       /* number of its first block */
};

/** The content of DIDX; all zero is empty. */
struct mr_idset_index {
    struct mr_idset_day *day; /* ascending */
    size_t n_days;
    struct mr_idset_block *block;
    size_t n_blocks;
    uint64_t bytes; /* of DUPS */
    /* For messages: the file it is in, or NULL, and where the chunk begins. */
    const char *path;
    uint64_t start;
};
void mr_idset_index_release(struct mr_idset_index *index);

/** Take bytes of DUPS, which come one block at a time. */
typedef enum mr_status mr_idset_put(
    void *context, struct mr_span bytes, struct mr_error *err);

/** mr_idset_write(stream, put, context, index, err): Read a stream to its
 * end and give its blocks to put; index becomes theirs (release it also
 * after a failure).  put may be NULL: the days are only counted. */
MR_MUST_CHECK enum mr_status mr_idset_write(struct mr_id_stream *stream,
    mr_idset_put *put, void *context, struct mr_idset_index *index_out,
    struct mr_error *err);

/** mr_idset_index_encode(index, out): Append the plain bytes of DIDX. */
MR_MUST_CHECK enum mr_status mr_idset_index_encode(
    const struct mr_idset_index *index, struct mr_buffer *out);

/** mr_idset_index_decode(plain, dups_bytes, rule, index, why): Read bytes
 * that are not trusted, for a chunk DUPS of so many bytes.  MR_FORMAT gives
 * a constant text in why.  No more memory is taken than plain justifies. */
MR_MUST_CHECK enum mr_status mr_idset_index_decode(struct mr_span plain,
    uint64_t dups_bytes, const struct mr_idset_rule *rule,
    struct mr_idset_index *index_out, const char **why);

/** Read n bytes at an offset in DUPS, within its length. */
typedef enum mr_status mr_idset_get(void *context, uint64_t offset, size_t n,
    uint8_t *out, struct mr_error *err);

/** mr_idset_index_read(index, get, context, stream, err): The ids of a
 * state, read and checked a block at a time: MR_CHECKSUM or MR_FORMAT, with
 * the offset in DUPS, when a block is not what it must be.  The index lives
 * longer than the stream.  Memory: 300 KiB. */
MR_MUST_CHECK enum mr_status mr_idset_index_read(
    const struct mr_idset_index *index, mr_idset_get *get, void *context,
    struct mr_id_stream **stream_out, struct mr_error *err);

/* ---- figures ---- */

/** A number, or an unbiased estimate of it with its 95 % interval. */
struct mr_idset_figure {
    bool exact;
    double value, low, high; /* all three alike where exact */
};

/** mr_idset_distinct(day): Distinct ids of a day: n, or where it is cut
 * (n - 1) / u with u = (threshold + 1/2) / 2^64; the interval is that of the
 * tests of level 2.5 % on each side by u's own distribution, Beta(n, N - n +
 * 1) for N ids, so it needs no large n.  Well below a second. */
struct mr_idset_figure mr_idset_distinct(const struct mr_idset_day *day);

/** mr_idset_duplicates(day, events): Events of the day less its distinct
 * ids.  An estimate may be below 0, or it would not be unbiased; its
 * interval is cut to what is possible. */
struct mr_idset_figure mr_idset_duplicates(
    const struct mr_idset_day *day, uint64_t events);

#endif
