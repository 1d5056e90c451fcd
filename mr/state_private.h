#ifndef MR_STATE_PRIVATE_H
#define MR_STATE_PRIVATE_H

#include "mr/state.h"

/*
 * What the units of a state share: state.c (names of chunks, zstd),
 * state_head.c (sections of the head), state_block.c (user blocks),
 * state_read.c and state_write.c (files).  Numbers are those of
 * docs/state-format.md.
 */

#define MR_STATE_MAGIC "\x8DMRS\r\n\x1A\n"
#define MR_STATE_HEADER_BYTES 64
#define MR_STATE_ENTRY_BYTES 40
#define MR_STATE_CHUNKS_MAX 64
#define MR_STATE_SUM_OFFSET 56  /* of the checksum in the header */
#define MR_STATE_INDEX_BYTES 60 /* a block's entry in UIDX */

/* Flags of a chunk. */
#define MR_CHUNK_REQUIRED 1u
#define MR_CHUNK_PACKED 2u
#define MR_CHUNK_BLOCKS 4u

enum mr_chunk {
    MR_CHUNK_USER,
    MR_CHUNK_UIDX,
    MR_CHUNK_SPEC,
    MR_CHUNK_TYPE,
    MR_CHUNK_CELL,
    MR_CHUNK_PART,
    MR_CHUNK_FAIL,
    MR_CHUNK_SKET,
    MR_CHUNK_FIGU, /* this and what follows: only with specs that need it */
    MR_CHUNK_DUPS,
    MR_CHUNK_DIDX,
    MR_CHUNK_SEGM,
    MR_CHUNK_SIDX,
    MR_CHUNK_COUNT
};
#define MR_CHUNKS_ALWAYS MR_CHUNK_FIGU

/* The four letters of each. */
extern const char mr_chunk_id[MR_CHUNK_COUNT][5];

/** Whether a chunk is a run of blocks, which its index checks. */
static inline bool mr_chunk_is_blocks(enum mr_chunk chunk)
{
    return chunk == MR_CHUNK_USER || chunk == MR_CHUNK_DUPS ||
           chunk == MR_CHUNK_SEGM;
}

/** mr_state_has_chunk(spec, chunk): Whether states of a spec have a chunk. */
bool mr_state_has_chunk(const struct mr_spec *spec, enum mr_chunk chunk);

/** mr_state_header_sum(header, n_chunks): The checksum of a header and of the
 * table behind it, at most MR_STATE_CHUNKS_MAX lines. */
uint64_t mr_state_header_sum(const uint8_t *header, size_t n_chunks);

/* What to do about a file that is damaged, and about one that says what
 * mr would never have written. */
#define MR_STATE_COPY_AGAIN "copy it again from where it was made"
#define MR_STATE_MAKE_AGAIN "make it again with mr map"

/* zstd, for chunks and blocks (state.c). */

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

/** A context for packing with the parameters that the format prescribes;
 * NULL without memory.  Free with ZSTD_freeCCtx. */
struct ZSTD_CCtx_s *mr_state_packing_context(void);

/** mr_state_pack(context, plain, out, err): Overwrite out with the stored
 * form of plain: one zstd frame, or the bytes themselves where the format
 * says so.  Packed exactly when out->n < plain.n. */
MR_MUST_CHECK enum mr_status mr_state_pack(struct ZSTD_CCtx_s *context,
    struct mr_span plain, struct mr_buffer *out, struct mr_error *err);

/**
 * mr_state_unpack(context, stored, plain_bytes, out, why): Overwrite out with
 * the plain form.  plain_bytes is not trusted: MR_FORMAT, with a constant
 * text in why, when it is above MR_STATE_MAX_RATIO times stored.n (looked at
 * before memory is taken), or when stored is not exactly one frame of so
 * many bytes.
 */
MR_MUST_CHECK enum mr_status mr_state_unpack(struct ZSTD_DCtx_s *context,
    struct mr_span stored, uint64_t plain_bytes, struct mr_buffer *out,
    const char **why);

/* Sections of the head (state_head.c). */

/** mr_head_encode(head, chunk, out): Append the plain bytes of SPEC, TYPE,
 * CELL, PART, FAIL, SKET or FIGU. */
MR_MUST_CHECK enum mr_status mr_head_encode(const struct mr_state_head *head,
    enum mr_chunk chunk, struct mr_buffer *out);

/**
 * mr_head_decode(head, chunk, plain, why): Read and check the plain bytes of
 * TYPE, CELL, PART, FAIL, SKET or FIGU, in this order, into a head that has its
 * spec.  MR_FORMAT gives a constant text in why.  What was read before a
 * failure stays in the head, for mr_state_head_release.
 */
MR_MUST_CHECK enum mr_status mr_head_decode(struct mr_state_head *head,
    enum mr_chunk chunk, struct mr_span plain, const char **why);

/** mr_head_check(head, why): Whether the sections agree: every type has a
 * cell, every cell events, and a cell a sketch exactly when it has events
 * with users.  MR_MISMATCH if not. */
MR_MUST_CHECK enum mr_status mr_head_check(
    const struct mr_state_head *head, const char **why);

/* User blocks (state_block.c). */

struct mr_unpacker {
    struct ZSTD_DCtx_s *context;
    struct mr_buffer stored, plain;
    struct mr_block_memory memory; /* of the block at hand */
};

/** What the index and the head say of a block that is being decoded. */
struct mr_block_frame {
    struct mr_block_info info;
    size_t n_cells;
    uint64_t session_gap_ms;
};

/** mr_block_info_check(info): NULL if a block can be so, else why not. */
const char *mr_block_info_check(
    const struct mr_block_info *info, uint64_t session_gap_ms);

/** mr_block_decode(u, plain, frame, block, why): Read and check the plain
 * bytes of a block.  MR_FORMAT gives a constant text in why. */
MR_MUST_CHECK enum mr_status mr_block_decode(struct mr_unpacker *u,
    struct mr_span plain, const struct mr_block_frame *frame,
    struct mr_user_block *block_out, const char **why);

/** mr_state_open_fd(fd, path, state, err): As mr_state_open, for a file that
 * is open and that messages call path; takes over fd in any case. */
MR_MUST_CHECK enum mr_status mr_state_open_fd(int fd, const char *path,
    struct mr_state **state_out, struct mr_error *err);

/** mr_state_open_memory(p, n, state, err): As mr_state_open, for a file that
 * stands in memory, which must stay as it is. */
MR_MUST_CHECK enum mr_status mr_state_open_memory(const uint8_t *p, size_t n,
    struct mr_state **state_out, struct mr_error *err);

#endif
