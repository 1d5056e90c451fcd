#ifndef MR_STATE_H
#define MR_STATE_H

#include <stdatomic.h>
#include <time.h>

#include "mr/coverage.h"
#include "mr/hyperloglog.h"
#include "mr/idset.h"
#include "mr/segments.h"
#include "mr/types.h"
#include "mr/userblock.h"

/*
 * State files; docs/state-format.md describes every byte.  A state
 * in memory is a head (spec, types, cells, coverage, sketches) and a source
 * of user blocks in ascending order.  The head is small and held whole; the
 * blocks are written and read one at a time.
 */

/** Of the format. */
#define MR_STATE_VERSION 2

struct mr_state_head {
    const struct mr_spec *spec; /* not the head's own */
    struct mr_span *type;       /* ascending; bytes are in type_bytes */
    size_t n_types;
    struct mr_buffer type_bytes;
    struct mr_cell *cell; /* ascending by day, then type; all with events */
    size_t n_cells;
    /* What else the spec has events counted by (mr/types.h): ascending; bytes
     * are in figure_bytes.  Figure i has the cell number n_cells + i. */
    struct mr_span *figure;
    size_t n_figures;
    struct mr_buffer figure_bytes;
    struct mr_coverage coverage; /* settled; its cells index cell[] */
    /* n_cells + n_figures; NULL for a cell without users */
    struct mr_hll **sketch;
};

void mr_state_head_release(struct mr_state_head *head);

/** mr_head_odd_rollup(head): Of which rollup there are more groups than its
 * max_groups, or fewer beside the group of all further ones; the spec's
 * n_rollups where there is none.  The figures are of the spec's kinds. */
unsigned mr_head_odd_rollup(const struct mr_state_head *head);

/** mr_head_check_folders(head, err): MR_MISMATCH where a partition with events
 * has two names that differ in a folder that a rollup takes values from: its
 * events are in one group by one name, and in another by the other. */
MR_MUST_CHECK enum mr_status mr_head_check_folders(
    const struct mr_state_head *head, struct mr_error *err);

/** How many numbers cells and figures have. */
static inline size_t mr_head_numbers(const struct mr_state_head *head)
{
    return head->n_cells + head->n_figures;
}

/** A block, packed for a file; all zero is empty and owns nothing. */
struct mr_packed_block {
    struct mr_buffer bytes; /* as stored */
    uint32_t n_users;
    uint64_t first_hash, last_hash;
    uint64_t plain_bytes;
    uint64_t n_members; /* over all sets */
    uint64_t n_intervals;
};
void mr_packed_block_release(struct mr_packed_block *packed);

/** Working memory for packing blocks; one thread at a time. */
struct mr_packer;
MR_MUST_CHECK enum mr_status mr_packer_new(
    uint64_t session_gap_ms, struct mr_packer **packer_out);
void mr_packer_free(struct mr_packer *packer);

/** mr_pack_block(packer, block, packed, err): Encode and compress.  packed is
 * overwritten and its memory used again. */
MR_MUST_CHECK enum mr_status mr_pack_block(struct mr_packer *packer,
    const struct mr_user_block *block, struct mr_packed_block *packed,
    struct mr_error *err);

/**
 * A state file in the making: temporary until finished (mr/publish.h).  path
 * ending in ".mrs" is the file; any other is a folder, made if missing, in
 * which the file is named by its content: 32 hexadecimal digits and ".mrs".
 * The spec is the head's that will be written; it decides what sections the
 * file has, and is not kept.
 */
struct mr_state;
struct mr_state_writer;
MR_MUST_CHECK enum mr_status mr_state_writer_new(const char *path,
    const struct mr_spec *spec, struct mr_state_writer **writer_out,
    struct mr_error *err);
/** Append the next block; blocks come in ascending order. */
MR_MUST_CHECK enum mr_status mr_state_writer_add(struct mr_state_writer *w,
    const struct mr_packed_block *packed, struct mr_error *err);
/**
 * mr_state_writer_encode(w, head, err), then mr_state_writer_pack(w, err):
 * Make the section of partitions ahead of finishing, which with many takes a
 * while.  Of the head only the coverage is looked at, which from then on stays
 * as it is.  Another thread may add blocks meanwhile.
 */
MR_MUST_CHECK enum mr_status mr_state_writer_encode(struct mr_state_writer *w,
    const struct mr_state_head *head, struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_state_writer_pack(
    struct mr_state_writer *w, struct mr_error *err);
/** mr_state_writer_keep(w, ids, segments): What the file is to hold of ids and
 * of users' numbers of events; each is there exactly if the spec wants it, and
 * else NULL.  They are read to their ends by mr_state_writer_finish, and stay
 * the caller's. */
void mr_state_writer_keep(struct mr_state_writer *w, struct mr_id_stream *ids,
    struct mr_segment_stream *segments);
/** Write the head, sync and give the file its final name, which is copied to
 * path_out[size]; frees the writer in any case.  bytes_out: file size. */
MR_MUST_CHECK enum mr_status mr_state_writer_finish(struct mr_state_writer *w,
    const struct mr_state_head *head, char *path_out, size_t size,
    uint64_t *bytes_out, struct mr_error *err);
/** mr_state_writer_temporary(folder, spec, writer, err): A state that never
 * gets a name: nothing of it stays behind, however the process ends.  It ends
 * with mr_state_writer_reopen. */
MR_MUST_CHECK enum mr_status mr_state_writer_temporary(const char *folder,
    const struct mr_spec *spec, struct mr_state_writer **writer_out,
    struct mr_error *err);
/** mr_state_writer_reopen(w, head, state, err): Write the head of a temporary
 * state and open it for reading; frees the writer in any case. */
MR_MUST_CHECK enum mr_status mr_state_writer_reopen(struct mr_state_writer *w,
    const struct mr_state_head *head, struct mr_state **state_out,
    struct mr_error *err);
/** mr_state_writer_date(w, time): The file will have been modified then, if
 * the file system lets it; before it is finished. */
void mr_state_writer_date(
    struct mr_state_writer *w, const struct timespec *time);
/** Give up: nothing stays behind. */
void mr_state_writer_abort(struct mr_state_writer *w);

/**
 * mr_state_open(path, state, err): Open a file and read and check all of it
 * but the blocks of users, ids and segments.  Nothing in the file is trusted,
 * and no allocation exceeds what its stored bytes can justify
 * (MR_STATE_MAX_RATIO).  MR_IO: it cannot be opened or read; MR_USAGE: it is no
 * regular file; MR_FORMAT: no state file, cut short, or inconsistent;
 * MR_VERSION: another version; MR_CHECKSUM: changed bytes; the error names the
 * section.
 */
#define MR_STATE_MAX_RATIO 200
MR_MUST_CHECK enum mr_status mr_state_open(
    const char *path, struct mr_state **state_out, struct mr_error *err);
void mr_state_close(struct mr_state *state);
/** mr_state_share_spec(state, like): If both have the same spec, give up
 * state's own, which is large, for that of like, another state, which must
 * stay open as long as state is used. */
void mr_state_share_spec(struct mr_state *state, const struct mr_state *like);
const char *mr_state_path(const struct mr_state *state);
/** Of the spec's text: states of one spec have the same. */
struct mr_digest mr_state_spec_digest(const struct mr_state *state);
/** mr_state_take_coverage(state, coverage): Move the head's coverage to the
 * caller.  What the state holds of events cannot be used then; its spec, path
 * and digests still can. */
void mr_state_take_coverage(
    struct mr_state *state, struct mr_coverage *coverage_out);
/** The head stays the state's. */
const struct mr_state_head *mr_state_get_head(const struct mr_state *state);
/** The digest a file's own name is made of. */
struct mr_digest mr_state_name_digest(const struct mr_state *state);
uint64_t mr_state_bytes(const struct mr_state *state);
/** One line per chunk, for inspection: id, flags, stored and plain bytes. */
struct mr_state_chunk {
    char id[5];
    uint64_t stored_bytes, plain_bytes;
    bool known;
};
size_t mr_state_chunks(
    const struct mr_state *state, const struct mr_state_chunk **chunk_out);

/** The blocks: their number, and where users lie. */
struct mr_block_info {
    uint64_t first_hash, last_hash;
    uint32_t n_users;
    uint64_t stored_bytes, plain_bytes, n_members, n_intervals;
};
size_t mr_state_n_blocks(const struct mr_state *state);
const struct mr_block_info *mr_state_block_info(
    const struct mr_state *state, size_t i);

/** mr_state_id_rule(spec): By which rule ids are kept. */
static inline struct mr_idset_rule mr_state_id_rule(const struct mr_spec *spec)
{
    return (struct mr_idset_rule){spec->max_ids, spec->exact_ids};
}

/** mr_state_ids, mr_state_segments(state, stream, err): What is kept of ids,
 * and of users' numbers of events; only where the spec wants that.  The state
 * lives longer than the stream.  Each is checked as it is read. */
MR_MUST_CHECK enum mr_status mr_state_ids(const struct mr_state *state,
    struct mr_id_stream **stream_out, struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_state_segments(const struct mr_state *state,
    struct mr_segment_stream **stream_out, struct mr_error *err);

/** Working memory of one thread for unpacking blocks of any state. */
struct mr_unpacker;
MR_MUST_CHECK enum mr_status mr_unpacker_new(struct mr_unpacker **u_out);
void mr_unpacker_free(struct mr_unpacker *u);

/** The arrays of a block; only p and cap are used.  All zero owns nothing. */
struct mr_block_memory {
    struct mr_buffer hash, first, set, list, words, interval;
};
void mr_block_memory_release(struct mr_block_memory *memory);

/** mr_unpacker_keep(u, memory): Give the arrays of the block that u unpacked
 * last to memory, where the block lives on, and those of memory to u, for the
 * next one.  So many blocks can be had at once with one unpacker. */
void mr_unpacker_keep(struct mr_unpacker *u, struct mr_block_memory *memory);

/** mr_state_block(state, i, u, block, err): Unpack and check block i.  The
 * block lives in u until its next use.  Any thread, each with its own u. */
MR_MUST_CHECK enum mr_status mr_state_block(const struct mr_state *state,
    size_t i, struct mr_unpacker *u, struct mr_user_block *block_out,
    struct mr_error *err);

/** mr_state_check(state, stop, err): Read all that mr_state_open has left
 * unread: blocks of users, ids and segments.  MR_STOPPED when *stop (or NULL)
 * says so; else its errors.  Memory: that of a block. */
MR_MUST_CHECK enum mr_status mr_state_check(
    const struct mr_state *state, const atomic_int *stop, struct mr_error *err);

#endif
