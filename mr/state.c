#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/state_private.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/*
 * A state travels as one file over whatever is left of the network: a shared
 * folder, a stick, an upload that broke off half way.  Two things follow.
 *
 * One content is one sequence of bytes.  The laws of merging are promises
 * about files, byte for byte, so nothing in a file may depend on how its
 * content came about: lists ascend, blocks are cut by a rule of their own,
 * numbers take the fewest bytes, zstd runs with fixed parameters.  That also
 * lets a file be named after its content and makes "the same state" a
 * comparison of names.
 *
 * And nothing in a file is believed.  From the outside in:
 *
 *     header    magic, version, size of the file        state_read.c
 *     table     where the chunks lie; one checksum
 *               covers header and table
 *     chunks    each checked against the table,
 *               unpacked, read as a section             state_head.c
 *     blocks    each checked against its line in the
 *               index UIDX, unpacked, read              state_block.c
 *
 * A length is compared with the bytes that are there before it is used; a
 * count with the bytes its elements need at least.  A packed length of Z
 * bytes may unpack to at most 200 Z, which the writer sees to by storing
 * plainly what packs better than that.  So a hostile file makes the reader
 * take no more memory than some multiple of its own size, and a block of
 * many users never more than its weight allows (some 100 MB).  What a reader
 * accepts is what a writer would have written, up to the choices of zstd and
 * of where blocks are cut, which need not be checked to be safe or right.
 *
 * Files are read with pread into memory and never mapped.  A state on a
 * network share can shrink or vanish while it is read; with a mapping that
 * is a signal in the middle of decoding, with pread it is an error code.
 * The bytes are then unpacked from warm memory, so a mapping would save
 * nothing but one copy that runs ten times as fast as zstd.
 */

const char mr_chunk_id[MR_CHUNK_COUNT][5] = {
    [MR_CHUNK_USER] = "USER",
    [MR_CHUNK_UIDX] = "UIDX",
    [MR_CHUNK_SPEC] = "SPEC",
    [MR_CHUNK_TYPE] = "TYPE",
    [MR_CHUNK_CELL] = "CELL",
    [MR_CHUNK_PART] = "PART",
    [MR_CHUNK_FAIL] = "FAIL",
    [MR_CHUNK_SKET] = "SKET",
    [MR_CHUNK_FIGU] = "FIGU",
    [MR_CHUNK_DUPS] = "DUPS",
    [MR_CHUNK_DIDX] = "DIDX",
    [MR_CHUNK_SEGM] = "SEGM",
    [MR_CHUNK_SIDX] = "SIDX",
};

bool mr_state_has_chunk(const struct mr_spec *spec, enum mr_chunk chunk)
{
    if (chunk < MR_CHUNKS_ALWAYS)
        return true;
    if (chunk == MR_CHUNK_FIGU)
        return mr_spec_has_figures(spec);
    return chunk <= MR_CHUNK_DIDX ? spec->max_ids > 0 : spec->n_segments > 0;
}

void mr_state_head_release(struct mr_state_head *head)
{
    size_t i;

    for (i = 0; head->sketch && i < mr_head_numbers(head); i++) {
        if (head->sketch[i]) {
            mr_hll_release(head->sketch[i]);
            free(head->sketch[i]);
        }
    }
    free(head->sketch);
    mr_coverage_release(&head->coverage);
    free(head->cell);
    free(head->type);
    free(head->figure);
    mr_buffer_release(&head->type_bytes);
    mr_buffer_release(&head->figure_bytes);
    *head = (struct mr_state_head){0};
}

uint64_t mr_state_header_sum(const uint8_t *header, size_t n_chunks)
{
    uint8_t
        bytes[MR_STATE_SUM_OFFSET + MR_STATE_CHUNKS_MAX * MR_STATE_ENTRY_BYTES];
    size_t n = n_chunks * MR_STATE_ENTRY_BYTES;

    memcpy(bytes, header, MR_STATE_SUM_OFFSET);
    memcpy(bytes + MR_STATE_SUM_OFFSET, header + MR_STATE_HEADER_BYTES, n);
    return mr_hash64(bytes, MR_STATE_SUM_OFFSET + n);
}

struct ZSTD_CCtx_s *mr_state_packing_context(void)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();

    if (!c)
        return NULL;
    /* Written out because the bytes of a file depend on each of them. */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_dictIDFlag, 0))) {
        ZSTD_freeCCtx(c);
        return NULL;
    }
    return c;
}

/* Whether plain > stored * ratio, for any numbers. */
static bool is_beyond_ratio(uint64_t plain, uint64_t stored)
{
    return plain > 0 && (plain - 1) / MR_STATE_MAX_RATIO >= stored;
}

enum mr_status mr_state_pack(struct ZSTD_CCtx_s *context, struct mr_span plain,
    struct mr_buffer *out, struct mr_error *err)
{
    size_t n;

    if (mr_buffer_reserve(out, ZSTD_compressBound(plain.n)) != MR_OK)
        return mr_fail_nomem(err);
    n = ZSTD_compress2(context, out->p, out->cap, plain.p, plain.n);
    if (ZSTD_isError(n)) /* there is room: it can lack nothing but memory */
        return mr_fail_nomem(err);
    if (n >= plain.n || is_beyond_ratio(plain.n, n)) {
        memcpy(out->p, plain.p, plain.n);
        n = plain.n;
    }
    out->n = n;
    return MR_OK;
}

enum mr_status mr_state_unpack(struct ZSTD_DCtx_s *context,
    struct mr_span stored, uint64_t plain_bytes, struct mr_buffer *out,
    const char **why)
{
    size_t n;

    if (is_beyond_ratio(plain_bytes, stored.n) || plain_bytes > SIZE_MAX) {
        *why = "it would unpack to more than 200 times its size";
        return MR_FORMAT;
    }
    /* Otherwise further frames, or skippable ones, could follow. */
    if (ZSTD_getFrameContentSize(stored.p, stored.n) != plain_bytes ||
        ZSTD_findFrameCompressedSize(stored.p, stored.n) != stored.n) {
        *why = "it is not one zstd frame of the length that is stated";
        return MR_FORMAT;
    }
    if (mr_buffer_reserve(out, (size_t)plain_bytes) != MR_OK)
        return MR_NOMEM;
    n = ZSTD_decompressDCtx(
        context, out->p, (size_t)plain_bytes, stored.p, stored.n);
    if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
        return MR_NOMEM;
    if (n != plain_bytes) {
        *why = "zstd cannot unpack it";
        return MR_FORMAT;
    }
    out->n = n;
    return MR_OK;
}
