#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/state_private.h"

/*
 * Bytes that begin like a state as a state file, whose length and checksums
 * are put right first, or hardly an input would get past them; all others as
 * the plain bytes of a user block.  Whatever is accepted must be what a writer
 * would have written: encoding it again must give the same bytes.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* Put right the checksums of blocks in an index that is stored plainly. */
static void mend_index(
    uint8_t *index, size_t n, const uint8_t *users, size_t n_users)
{
    struct mr_reader r = {index, n, false};
    uint8_t *entry;
    int i;

    for (i = 0; i < 4; i++)
        (void)mr_read_varint(&r);
    if (r.bad)
        return;
    for (entry = index + (n - r.n); r.n >= MR_STATE_INDEX_BYTES;
         entry += MR_STATE_INDEX_BYTES, r.n -= MR_STATE_INDEX_BYTES) {
        uint64_t stored = mr_get_u64(entry + 20);

        if (stored > n_users)
            return;
        mr_put_u64(entry + 52, mr_hash64(users, (size_t)stored));
        users += stored;
        n_users -= (size_t)stored;
    }
}

/* Where a chunk lies, if that is within the file. */
static struct mr_span find_chunk(
    const uint8_t *file, size_t size, const uint8_t *entry)
{
    uint64_t offset = mr_get_u64(entry + 8), n = mr_get_u64(entry + 16);

    if (offset > size || n > size - offset)
        return (struct mr_span){NULL, 0};
    return (struct mr_span){file + offset, (size_t)n};
}

/* Put right what is derived from the rest. */
static void mend_file(uint8_t *file, size_t size)
{
    struct mr_span users = {NULL, 0};
    uint32_t i, n;

    if (size < MR_STATE_HEADER_BYTES)
        return;
    n = mr_get_u32(file + 12);
    if (n > MR_STATE_CHUNKS_MAX ||
        size < MR_STATE_HEADER_BYTES + n * MR_STATE_ENTRY_BYTES)
        return;
    mr_put_u64(file + 32, size);
    for (i = 0; i < n; i++) {
        uint8_t *entry =
            file + MR_STATE_HEADER_BYTES + i * MR_STATE_ENTRY_BYTES;
        struct mr_span chunk = find_chunk(file, size, entry);

        if (!chunk.p)
            continue;
        if (i == MR_CHUNK_USER)
            users = chunk;
        if (i == MR_CHUNK_UIDX && users.p)
            mend_index(file + (chunk.p - file), chunk.n, users.p, users.n);
        if (i == MR_CHUNK_SPEC) {
            struct mr_digest digest = mr_digest_bytes(chunk.p, chunk.n);

            if (mr_get_u32(entry - MR_STATE_ENTRY_BYTES + 4) ==
                MR_CHUNK_REQUIRED)
                memcpy(file + 16, digest.b, sizeof(digest.b));
        }
        if ((mr_get_u32(entry + 4) & MR_CHUNK_BLOCKS) == 0)
            mr_put_u64(entry + 32, mr_hash64(chunk.p, chunk.n));
    }
    mr_put_u64(file + MR_STATE_SUM_OFFSET, mr_state_header_sum(file, n));
}

/* A block that was read, encoded again, must give its plain bytes. */
static void check_block(const struct mr_user_block *block, struct mr_span plain,
    uint64_t session_gap_ms)
{
    struct mr_packed_block packed = {0};
    struct mr_packer *packer;
    struct mr_unpacker *u;
    struct mr_span again;
    const char *why;

    demand(mr_packer_new(session_gap_ms, &packer) == MR_OK);
    demand(mr_unpacker_new(&u) == MR_OK);
    demand(mr_pack_block(packer, block, &packed, NULL) == MR_OK);
    again = (struct mr_span){packed.bytes.p, packed.bytes.n};
    if (packed.bytes.n < packed.plain_bytes) {
        demand(mr_state_unpack(u->context, again, packed.plain_bytes, &u->plain,
                   &why) == MR_OK);
        again = (struct mr_span){u->plain.p, u->plain.n};
    }
    demand(mr_span_compare(again, plain) == 0);
    mr_packed_block_release(&packed);
    mr_packer_free(packer);
    mr_unpacker_free(u);
}

/* The input as a user block whose line in the index agrees with it. */
static void try_block(const uint8_t *data, size_t size)
{
    struct mr_span plain = {data, size};
    struct mr_block_frame frame = {.n_cells = 1000, .session_gap_ms = 1800000};
    struct mr_user_block block;
    struct mr_unpacker *u;
    const char *why = NULL;
    unsigned i;

    /* Two more numbers that a block does not hold itself: its last hash,
     * and the number of its members. */
    if (size < 16 + 24)
        return;
    plain.n -= 16;
    frame.info.n_users = mr_get_u32(data);
    frame.info.n_intervals = mr_get_u64(data + 8);
    frame.info.first_hash = mr_get_u64(data + 16);
    frame.info.last_hash = mr_get_u64(data + size - 16);
    frame.info.n_members = mr_get_u64(data + size - 8);
    frame.info.stored_bytes = frame.info.plain_bytes = plain.n;
    if (mr_block_info_check(&frame.info, frame.session_gap_ms))
        return;
    demand(mr_unpacker_new(&u) == MR_OK);
    if (mr_block_decode(u, plain, &frame, &block, &why) == MR_OK) {
        for (i = 0; i < block.n_sets; i++)
            demand(!block.sets[i].list != !block.sets[i].words);
        check_block(&block, plain, frame.session_gap_ms);
    } else {
        demand(why != NULL);
    }
    mr_unpacker_free(u);
}

/* The sections of a state that was read, encoded again, must be those that
 * stand plainly in the file. */
static void check_head(
    const struct mr_state *state, const uint8_t *file, size_t size)
{
    const struct mr_spec *spec = mr_state_get_head(state)->spec;
    const uint8_t *entry = file + MR_STATE_HEADER_BYTES;

    for (int chunk = MR_CHUNK_USER; chunk < MR_CHUNK_COUNT; chunk++) {
        struct mr_buffer again = {0};
        struct mr_span plain;

        if (!mr_state_has_chunk(spec, (enum mr_chunk)chunk))
            continue;
        plain = find_chunk(file, size, entry);
        entry += MR_STATE_ENTRY_BYTES;
        if (chunk < MR_CHUNK_SPEC)
            continue;
        demand(plain.p != NULL);
        demand(mr_head_encode(mr_state_get_head(state), (enum mr_chunk)chunk,
                   &again) == MR_OK);
        if (mr_get_u32(entry - MR_STATE_ENTRY_BYTES + 4) == MR_CHUNK_REQUIRED)
            demand(mr_span_compare((struct mr_span){again.p, again.n}, plain) ==
                   0);
        mr_buffer_release(&again);
    }
}

static void try_file(const uint8_t *file, size_t size)
{
    struct mr_error err = {0};
    struct mr_user_block block;
    struct mr_state *state;
    struct mr_unpacker *u;
    enum mr_status status;
    size_t i;

    status = mr_state_open_memory(file, size, &state, &err);
    if (status != MR_OK) {
        demand(status == err.status && err.cause[0] != '\0');
        return;
    }
    check_head(state, file, size);
    demand(mr_unpacker_new(&u) == MR_OK);
    for (i = 0; i < mr_state_n_blocks(state); i++)
        (void)!mr_state_block(state, i, u, &block, &err);
    mr_unpacker_free(u);
    mr_state_close(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file;

    if (size == 0 || data[0] != (uint8_t)MR_STATE_MAGIC[0]) {
        try_block(data, size);
        return 0;
    }
    file = malloc(size);
    demand(file != NULL);
    memcpy(file, data, size);
    mend_file(file, size);
    try_file(file, size);
    free(file);
    return 0;
}
