#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/idset_private.h"

#include <stdlib.h>

#include "mr/ascending.h"
#include "mr/hash.h"

/* An entry of DIDX: first, last, checksum. */
#define ENTRY_BYTES 24
/* Most bytes of a block. */
#define BLOCK_BYTES_MAX (9 * MR_IDSET_BLOCK)

void mr_idset_index_release(struct mr_idset_index *index)
{
    free(index->day);
    free(index->block);
    *index = (struct mr_idset_index){0};
}

/* Make room for one more of what has size bytes, in an array that doubles. */
static void *grow(void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return array;
    if (n > SIZE_MAX / 2 / size)
        return NULL;
    return realloc(array, (n == 0 ? 1 : 2 * n) * size);
}

static uint64_t blocks_of(uint64_t n)
{
    return n / MR_IDSET_BLOCK + (n % MR_IDSET_BLOCK != 0);
}

/* How many hashes block i of a day has. */
static size_t hashes_of(const struct mr_idset_day *day, size_t i)
{
    uint64_t left = day->n - (uint64_t)i * MR_IDSET_BLOCK;

    return left < MR_IDSET_BLOCK ? (size_t)left : MR_IDSET_BLOCK;
}

static size_t block_bytes(const struct mr_idset_block *b, size_t n)
{
    return mr_ascending_bytes(b->first, b->last, n);
}

/* ---- writing ---- */

struct writing {
    mr_idset_put *put;
    void *context;
    struct mr_idset_index *index;
    uint64_t hash[MR_IDSET_BLOCK]; /* of the block at hand */
    size_t n;
    uint8_t packed[BLOCK_BYTES_MAX];
};

static enum mr_status write_block(struct writing *w, struct mr_error *err)
{
    struct mr_idset_index *index = w->index;
    struct mr_idset_block *block =
        grow(index->block, index->n_blocks, sizeof(*block));
    struct mr_idset_day *day = &index->day[index->n_days - 1];
    struct mr_span packed = {w->packed, 0};

    if (block == NULL)
        return mr_fail_nomem(err);
    index->block = block;
    block += index->n_blocks;
    *block = (struct mr_idset_block){
        .first = w->hash[0], .last = w->hash[w->n - 1], .offset = index->bytes};
    packed.n = block_bytes(block, w->n);
    if (w->put != NULL) {
        mr_ascending_pack(w->hash, w->n, w->packed);
        block->checksum = mr_hash64(packed.p, packed.n);
    }
    index->n_blocks++;
    index->bytes += packed.n;
    day->n += w->n;
    day->threshold = block->last;
    w->n = 0;
    return w->put != NULL ? w->put(w->context, packed, err) : MR_OK;
}

static enum mr_status begin_day(
    struct mr_idset_index *index, int32_t number, struct mr_error *err)
{
    struct mr_idset_day *day = index->day;

    if (index->n_days > 0 && day[index->n_days - 1].day == number)
        return MR_OK;
    day = grow(index->day, index->n_days, sizeof(*day));
    if (day == NULL)
        return mr_fail_nomem(err);
    index->day = day;
    day[index->n_days++] =
        (struct mr_idset_day){.day = number, .block = index->n_blocks};
    return MR_OK;
}

static enum mr_status write_piece(
    struct writing *w, const struct mr_id_piece *piece, struct mr_error *err)
{
    enum mr_status status = begin_day(w->index, piece->day, err);
    size_t i = 0;

    while (i < piece->n && status == MR_OK) {
        size_t n = MR_IDSET_BLOCK - w->n;

        if (n > piece->n - i)
            n = piece->n - i;
        memcpy(w->hash + w->n, piece->hash + i, n * sizeof(w->hash[0]));
        w->n += n;
        i += n;
        if (w->n == MR_IDSET_BLOCK)
            status = write_block(w, err);
    }
    if (status != MR_OK || piece->n > 0)
        return status;
    w->index->day[w->index->n_days - 1].cut = piece->cut;
    return w->n > 0 ? write_block(w, err) : MR_OK;
}

enum mr_status mr_idset_write(struct mr_id_stream *stream, mr_idset_put *put,
    void *context, struct mr_idset_index *index_out, struct mr_error *err)
{
    struct writing *w = malloc(sizeof(*w));
    struct mr_id_piece piece = {0};
    enum mr_status status = MR_OK;

    *index_out = (struct mr_idset_index){0};
    if (w == NULL)
        return mr_fail_nomem(err);
    w->put = put;
    w->context = context;
    w->index = index_out;
    w->n = 0;
    while (status == MR_OK && piece.day != MR_ID_END) {
        status = mr_id_stream_next(stream, &piece, err);
        if (status == MR_OK && piece.day != MR_ID_END)
            status = write_piece(w, &piece, err);
    }
    free(w);
    return status;
}

static enum mr_status encode_blocks(const struct mr_idset_block *block,
    uint64_t n_blocks, struct mr_buffer *out)
{
    enum mr_status status = MR_OK;

    for (uint64_t i = 0; i < n_blocks && status == MR_OK; i++) {
        status = mr_buffer_add_u64(out, block[i].first);
        if (status == MR_OK)
            status = mr_buffer_add_u64(out, block[i].last);
        if (status == MR_OK)
            status = mr_buffer_add_u64(out, block[i].checksum);
    }
    return status;
}

enum mr_status mr_idset_index_encode(
    const struct mr_idset_index *index, struct mr_buffer *out)
{
    enum mr_status status = mr_buffer_add_varint(out, index->n_days);
    int32_t next = 0;

    for (size_t i = 0; i < index->n_days && status == MR_OK; i++) {
        const struct mr_idset_day *day = &index->day[i];

        status = mr_buffer_add_varint(out, (uint64_t)(day->day - next));
        if (status == MR_OK)
            status = mr_buffer_add_varint(out, 2 * day->n + day->cut);
        if (status == MR_OK)
            status = encode_blocks(
                index->block + day->block, blocks_of(day->n), out);
        next = day->day + 1;
    }
    return status;
}

/* ---- the index, not trusted ---- */

/* Read the entry of block i of a day; NULL, or what is wrong with it. */
static const char *decode_block(struct mr_reader *r,
    struct mr_idset_index *index, const struct mr_idset_day *day, size_t i)
{
    struct mr_idset_block *block = &index->block[index->n_blocks++];
    size_t n = hashes_of(day, i);

    block->first = mr_read_u64(r);
    block->last = mr_read_u64(r);
    block->checksum = mr_read_u64(r);
    block->offset = index->bytes;
    if (block->last < block->first || block->last - block->first < n - 1 ||
        (n == 1 && block->last != block->first))
        return "impossible ids of a block";
    if (i > 0 && block->first <= block[-1].last)
        return "blocks of a day do not ascend";
    index->bytes += block_bytes(block, n);
    return NULL;
}

static const char *decode_day(struct mr_reader *r, struct mr_idset_index *index,
    const struct mr_idset_rule *rule)
{
    struct mr_idset_day *day = &index->day[index->n_days];
    int32_t next = index->n_days > 0 ? day[-1].day + 1 : 0;
    uint64_t gap = mr_read_varint(r), n = mr_read_varint(r), n_blocks;
    const char *why = NULL;

    if (r->bad || next >= MR_DAY_END || gap >= (uint64_t)(MR_DAY_END - next))
        return "it is cut short, or days are out of range";
    day->day = next + (int32_t)gap;
    day->cut = n % 2 != 0;
    day->n = n / 2;
    n_blocks = blocks_of(day->n);
    if (n_blocks == 0 || n_blocks > r->n / ENTRY_BYTES)
        return "the ids of a day do not fit its length";
    if (!rule->exact && day->n > rule->max_ids)
        return "a day has more ids than the spec keeps";
    if (day->cut && (rule->exact || day->n != rule->max_ids))
        return "a day is cut where it should not be";
    day->block = index->n_blocks;
    for (size_t i = 0; i < n_blocks && why == NULL; i++)
        why = decode_block(r, index, day, i);
    day->threshold = index->block[index->n_blocks - 1].last;
    index->n_days++;
    return why;
}

enum mr_status mr_idset_index_decode(struct mr_span plain, uint64_t dups_bytes,
    const struct mr_idset_rule *rule, struct mr_idset_index *index_out,
    const char **why)
{
    struct mr_reader r = {plain.p, plain.n, false};
    struct mr_idset_index index = {0};
    uint64_t n_days = mr_read_varint(&r);

    *why = NULL;
    /* Two varints and an entry at least. */
    if (r.bad || n_days > r.n / (ENTRY_BYTES + 2)) {
        *why = "it has fewer bytes than days";
        return MR_FORMAT;
    }
    index.day = calloc((size_t)n_days + 1, sizeof(*index.day));
    index.block = calloc(r.n / ENTRY_BYTES + 1, sizeof(*index.block));
    if (index.day == NULL || index.block == NULL) {
        mr_idset_index_release(&index);
        return MR_NOMEM;
    }
    while (*why == NULL && index.n_days < n_days)
        *why = decode_day(&r, &index, rule);
    if (*why == NULL && (r.bad || r.n > 0))
        *why = "bytes follow its last day";
    if (*why == NULL && index.bytes != dups_bytes)
        *why = "its blocks are not as long as the section they are in";
    if (*why != NULL) {
        mr_idset_index_release(&index);
        return MR_FORMAT;
    }
    *index_out = index;
    return MR_OK;
}

/* ---- reading ---- */

struct reading {
    struct mr_id_stream stream;
    const struct mr_idset_index *index;
    mr_idset_get *get;
    void *context;
    size_t day;   /* at hand */
    size_t block; /* of the day: next */
    uint64_t hash[MR_IDSET_BLOCK];
    uint8_t packed[BLOCK_BYTES_MAX];
};

/* Say in which file, and where in it, a block is that cannot be used. */
static enum mr_status blame(
    const struct reading *r, enum mr_status status, struct mr_error *err)
{
    if (status != MR_OK && r->index->path != NULL)
        mr_error_subject(err, "cannot use", r->index->path);
    return status;
}

static enum mr_status read_block(struct reading *r,
    const struct mr_idset_block *block, size_t n, struct mr_error *err)
{
    struct mr_span packed = {r->packed, block_bytes(block, n)};
    enum mr_status status =
        r->get(r->context, block->offset, packed.n, r->packed, err);

    if (status != MR_OK)
        return status;
    if (mr_hash64(packed.p, packed.n) != block->checksum)
        status = mr_fail(err, MR_CHECKSUM, r->index->start + block->offset,
            "copy it again from where it was made",
            "a block of section DUPS is damaged: its checksum differs");
    else if (!mr_ascending_unpack(
                 packed, block->first, block->last, n, r->hash))
        status = mr_fail(err, MR_FORMAT, r->index->start + block->offset,
            "make it again with mr map",
            "a block of section DUPS is not sound");
    return blame(r, status, err);
}

static enum mr_status next_of_reading(struct mr_id_stream *stream,
    struct mr_id_piece *piece_out, struct mr_error *err)
{
    struct reading *r = (struct reading *)stream;
    struct mr_id_piece piece = {.day = MR_ID_END};
    enum mr_status status = MR_OK;

    if (r->day < r->index->n_days) {
        const struct mr_idset_day *day = &r->index->day[r->day];

        piece.day = day->day;
        if (r->block < blocks_of(day->n)) {
            piece.hash = r->hash;
            piece.n = hashes_of(day, r->block);
            status = read_block(
                r, &r->index->block[day->block + r->block], piece.n, err);
            r->block++;
        } else {
            piece.cut = day->cut;
            r->block = 0;
            r->day++;
        }
    }
    if (status == MR_OK)
        *piece_out = piece;
    return status;
}

static void free_reading(struct mr_id_stream *stream)
{
    free(stream);
}

enum mr_status mr_idset_index_read(const struct mr_idset_index *index,
    mr_idset_get *get, void *context, struct mr_id_stream **stream_out,
    struct mr_error *err)
{
    struct reading *r = malloc(sizeof(*r));

    if (r == NULL)
        return mr_fail_nomem(err);
    r->stream.next = next_of_reading;
    r->stream.free = free_reading;
    r->index = index;
    r->get = get;
    r->context = context;
    r->day = r->block = 0;
    *stream_out = &r->stream;
    return MR_OK;
}
