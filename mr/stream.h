#ifndef MR_STREAM_H
#define MR_STREAM_H

#include "mr/arena.h"
#include "mr/source.h"

/*
 * From stored bytes to the bytes of events: plain, gzip, zstd, and tar or
 * zip archives of such files.  The kind is told by the first bytes, never by
 * the name.  A chain is a source and one filter; stream.c bids, each
 * stream_*.c is one filter.
 *
 * Bounds on hostile input: a zstd window above 2^31, and more than
 * MR_STREAM_MAX_RATIO bytes out per byte in (after a first 64 MiB out), are
 * errors of that partition.
 *
 * Errors carry the action "cannot read" and the input's path (a member's
 * name) besides cause and offset.
 */

/* Bytes out per stored byte before a stream counts as a bomb.  gzip cannot
 * exceed 1032; zstd can, without limit. */
#define MR_STREAM_MAX_RATIO 2000
#define MR_STREAM_FREE_BYTES (UINT64_C(64) << 20)

/** One input that has been opened; gives one partition, or an archive's
 * members one after the other.  One thread at a time. */
struct mr_container;

/** One partition's unpacked bytes.  One thread at a time. */
struct mr_stream;

/**
 * mr_container_open(input, container, err): Open and tell the kind.  A file
 * that is no archive is a container of one partition.  A tar may itself be
 * packed with gzip or zstd.  Formats that are recognised but not read (bzip2,
 * xz, 7z, lz4, Parquet, ORC, Avro, ...) are MR_FORMAT, named, with what to do.
 */
MR_MUST_CHECK enum mr_status mr_container_open(const struct mr_input *input,
    struct mr_container **container_out, struct mr_error *err);

/**
 * mr_container_next(container, stream, err): The next partition, NULL at the
 * end.  In an archive, folders, links, states and members with a path component
 * that begins with '_' or '.' are skipped, as a walk over the same files would.
 * A member that cannot be read fails in mr_stream_read.  The stream before must
 * have been closed.  An error here is one of the container: nothing can be
 * read after it.
 */
MR_MUST_CHECK enum mr_status mr_container_next(struct mr_container *container,
    struct mr_stream **stream_out, struct mr_error *err);

/** Whether this is an archive (its errors are then errors of the archive's
 * name, beside those of members). */
bool mr_container_is_archive(const struct mr_container *container);

/** Close; as mr_source_close, the file may turn out to have changed, which
 * concerns every partition that came from it. */
enum mr_status mr_container_close(
    struct mr_container *container, struct mr_error *err);

/** The partition's name by the contract; a member's is the archive's name,
 * '/', the member's path, cut by the same rule.  Valid until closed. */
const char *mr_stream_name(const struct mr_stream *stream);

/**
 * mr_stream_read(stream, out, cap, n, err): Up to cap > 0 unpacked bytes; n =
 * 0 only at the end.  At the end everything has been verified: checksums,
 * sizes, that nothing but padding follows.  The error's offset is that of a
 * stored byte that depends on nothing but the input: where it ends too soon,
 * where something wrong stands, or where the gzip member or zstd frame begins
 * whose data are damaged somewhere.  After an error only close may follow.
 */
MR_MUST_CHECK enum mr_status mr_stream_read(struct mr_stream *stream,
    uint8_t *out, size_t cap, size_t *n_out, struct mr_error *err);

/* What stays of the spans of an arena, at least, until the next one has been
 * given: as much as a reader of lines leaves unread. */
#define MR_STREAM_KEPT ((size_t)384 << 10)

/**
 * mr_stream_next_span(stream, max, span, err): Instead of read, where
 * mr_stream_in_place says so (a mapped plain file, zstd): the next at most
 * max bytes where they stand, n = 0 at the end.  The first span has at least
 * 512, unless max or the stream has fewer, or it is a part.  Of a mapped plain
 * file each span adjoins the one before, and lasts as long as the stream.
 *
 * Those of zstd stand where they were unpacked to, the stream's arenas.  They
 * adjoin now and then only.  The next call leaves the last MR_STREAM_KEPT
 * bytes as they are, and all of an arena that somebody else holds.  Holding
 * takes memory: as much as is held, by whole arenas.
 */
bool mr_stream_in_place(const struct mr_stream *stream);
MR_MUST_CHECK enum mr_status mr_stream_next_span(struct mr_stream *stream,
    size_t max, struct mr_span *span_out, struct mr_error *err);

/** mr_stream_turns(stream): Of one in place, whether the next span will not
 * adjoin the last one, as far as is known; held text can still change that. */
bool mr_stream_turns(const struct mr_stream *stream);

/** The arena of the last span that was not empty; NULL if that lasts as long
 * as the stream.  Hold it to keep the span. */
struct mr_arena *mr_stream_arena(const struct mr_stream *stream);

/**
 * mr_stream_is_split(stream): Whether the stream is a mapped zstd file of
 * several frames, whose parts can be unpacked each on its own thread.
 * mr_stream_next_part then gives, instead of read, the next run of whole
 * frames (about 256 KiB to 1 MiB stored, or one larger frame) as a stream of
 * its own, NULL at the end.  Parts in order are the whole; a part's error
 * offsets count from the start of the file.  A part may outlive further
 * calls here but not the container, and is closed by its user.
 */
bool mr_stream_is_split(const struct mr_stream *stream);
MR_MUST_CHECK enum mr_status mr_stream_next_part(struct mr_stream *stream,
    struct mr_stream **part_out, struct mr_error *err);

/** After the end: digest and number of the stored bytes (for a member: the
 * bytes that the archive's reader would extract).  Both are those of the
 * whole partition: a part has no digest of its own (all zero), and counts
 * its own bytes. */
struct mr_digest mr_stream_digest(const struct mr_stream *stream);
uint64_t mr_stream_stored_bytes(const struct mr_stream *stream);

/** Close in any state.  A member's unread rest is skipped by the next call
 * to mr_container_next. */
void mr_stream_close(struct mr_stream *stream);

/** mr_stream_release_spares(): Free what closed streams left for the next
 * ones: at most 16 inflaters of some 100 KB, 16 zstd contexts of 160 KB, 16
 * arenas of 8.5 MiB, of most of which less than 2.5 have been touched, and 16
 * buffers of 1 MiB; of each as many as were in use at a time.  Any
 * thread, at any time; best once no more streams are to come. */
void mr_stream_release_spares(void);

#endif
