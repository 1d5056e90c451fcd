#ifndef MR_STREAM_PRIVATE_H
#define MR_STREAM_PRIVATE_H

#include "mr/stream.h"

/*
 * What stream.c and its filters share.  Stored bytes go up a chain: a feed
 * gives them in pieces as large or small as they come, a filter unpacks, a
 * stream hands out.  Nobody but the feed knows where pieces end.
 */

/** Give the next piece of stored bytes, n = 0 at the end. */
typedef enum mr_status (*mr_pull)(
    void *context, struct mr_span *span_out, struct mr_error *err);

struct mr_feed {
    struct mr_span rest; /* at hand and not yet consumed */
    uint64_t offset;     /* stored byte at which rest begins */
    uint64_t start;      /* offset of the feed's first byte */
    bool ended;          /* nothing follows rest */
    /* Pieces follow one another in memory that stays as it is, so that
     * several are one span without copying. */
    bool stable;
    mr_pull pull;
    void *context;
    struct mr_digester *digester; /* of what is consumed, or NULL */
    struct mr_buffer carry;       /* pieces joined by a peek */
};

/** mr_feed_peek(feed, n, err): Get at least n bytes into feed->rest, fewer
 * only where the end comes first. */
MR_MUST_CHECK enum mr_status mr_feed_peek(
    struct mr_feed *feed, size_t n, struct mr_error *err);

/** mr_feed_consume(feed, n): Go on by n bytes of rest. */
void mr_feed_consume(struct mr_feed *feed, size_t n);

/**
 * A filter unpacks: by read to memory of the caller's, or else by next to its
 * own.  n = 0 only at the end, when everything has been verified and the feed
 * is used up.
 */
struct mr_filter {
    /* Give up to cap bytes (cap > 0), as much as fits: fewer than cap bytes
     * only before the end. */
    enum mr_status (*read)(struct mr_filter *filter, struct mr_feed *feed,
        uint8_t *out, size_t cap, size_t *n_out, struct mr_error *err);
    /* Give some bytes in arena; it lasts as mr_stream_next_span says. */
    enum mr_status (*next)(struct mr_filter *filter, struct mr_feed *feed,
        struct mr_span *span_out, struct mr_error *err);
    struct mr_arena *arena;
    /* With next: see mr_stream_turns. */
    bool (*turns)(const struct mr_filter *filter);
    void (*free)(struct mr_filter *filter);
};

MR_MUST_CHECK enum mr_status mr_gzip_new(
    struct mr_filter **filter_out, struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_zstd_new(
    struct mr_filter **filter_out, struct mr_error *err);

/* Frames of zstd with a larger window are unpacked to memory of the library's:
 * arenas for them would be too much. */
#define MR_ZSTD_WINDOW_HERE ((uint64_t)8 << 20)

/** Free what filters that have been freed left for the next ones. */
void mr_gzip_release_spares(void);
void mr_zstd_release_spares(void);

/** mr_zstd_is_split(bytes): Whether a whole zstd file has several frames with
 * data.  Looks no further than the end of the first, and no further for that
 * than 64 MiB: larger frames make poor parts. */
bool mr_zstd_is_split(struct mr_span bytes);

/** mr_zstd_part_bytes(bytes): Length of the next part of a split file: whole
 * frames of 256 KiB to 1 MiB together, or one larger.  Where a frame's end
 * cannot be found, all the rest is one part, whose reader will say why. */
size_t mr_zstd_part_bytes(struct mr_span bytes);

enum mr_stream_kind {
    MR_STREAM_PLAIN,
    MR_STREAM_GZIP,
    MR_STREAM_ZSTD,
    MR_STREAM_TAR,
    MR_STREAM_ZIP
};

/* A tar header's size: what must be seen of a stream to tell its kind. */
#define MR_STREAM_HEAD 512

struct mr_stream {
    struct mr_feed feed;
    struct mr_filter *filter; /* NULL: the stored bytes are the bytes; or a
                               * part nobody has read yet */
    struct mr_span ready;     /* given by the filter's next, not yet read */
    struct mr_arena *arena;   /* of the last span, or NULL; the filter's */
    uint64_t out_bytes;       /* given by the filter */
    struct mr_span whole;     /* the mapped file; for a part its frames */
    bool in_place, is_split, is_part;
    size_t next_part;             /* where in whole the next part begins */
    struct mr_error *failure;     /* what every read reports */
    const char *subject;          /* for errors; not owned */
    uint8_t head[MR_STREAM_HEAD]; /* unpacked to tell the kind */
    size_t head_n, head_at;
    char name[];
};

/**
 * mr_stream_new(name, pull, context, stream, err): A stream with a digest
 * and nothing looked at yet.  The name is copied.
 */
MR_MUST_CHECK enum mr_status mr_stream_new(const char *name, mr_pull pull,
    void *context, struct mr_stream **stream_out, struct mr_error *err);

/**
 * mr_stream_begin(stream, kind, err): Tell the kind by the first bytes and
 * put a filter in place.  kind is MR_STREAM_TAR or _ZIP for an archive, of
 * which a packed tar has its filter already; else anything.
 */
MR_MUST_CHECK enum mr_status mr_stream_begin(struct mr_stream *stream,
    enum mr_stream_kind *kind_out, struct mr_error *err);

/** mr_stream_set_failure(stream, err): Make every read report err. */
MR_MUST_CHECK enum mr_status mr_stream_set_failure(
    struct mr_stream *stream, const struct mr_error *err);

/** mr_stream_check_ratio(out, in, err): MR_LIMIT when out bytes from in
 * stored ones are a bomb. */
MR_MUST_CHECK enum mr_status mr_stream_check_ratio(
    uint64_t out_bytes, uint64_t in_bytes, struct mr_error *err);

/** The reader of an archive's members. */
struct mr_archive;

/**
 * mr_archive_new(outer, kind, archive, err): Read the archive of a kind
 * (MR_STREAM_TAR or _ZIP) from outer, which stays the caller's and gives
 * nobody else anything any more.
 */
MR_MUST_CHECK enum mr_status mr_archive_new(struct mr_stream *outer,
    enum mr_stream_kind kind, struct mr_archive **archive_out,
    struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_archive_next(struct mr_archive *archive,
    struct mr_stream **stream_out, struct mr_error *err);
void mr_archive_free(struct mr_archive *archive);

/**
 * mr_container_open_memory(p, n, piece, container, err): As
 * mr_container_open, over memory as in mr_source_open_memory, with the name
 * "memory".  For tests.
 */
MR_MUST_CHECK enum mr_status mr_container_open_memory(const void *p, size_t n,
    size_t piece, struct mr_container **container_out, struct mr_error *err);

#endif
