#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/segments_private.h"

#include <stdlib.h>

#include "mr/ascending.h"
#include "mr/calendar.h"

/* A block takes users while it has fewer than this, and while its entries
 * with the next user's are at most so many; but one user at least. */
#define BLOCK_USERS 4096
#define BLOCK_ENTRIES 65536
/* An entry of SIDX: first, last, users, bytes, checksum. */
#define INDEX_BYTES 36
/* Least bytes of a user beside the hash: a number of days, and a day. */
#define USER_BYTES_MIN 3

void mr_segment_index_release(struct mr_segment_index *index)
{
    free(index->block);
    *index = (struct mr_segment_index){0};
}

/* ---- writing ---- */

/* Some users of the block, encoded. */
struct part {
    struct mr_buffer bytes;
    size_t n_entries;
};

struct writing {
    mr_segments_put *put;
    void *context;
    struct mr_segment_index *index;
    uint64_t user[BLOCK_USERS];
    size_t n_users;
    struct part block;
    struct mr_buffer packed;
    /* The entries of the user at hand, of whom more may come. */
    struct mr_buffer entries;
    struct mr_buffer one;
};

static enum mr_status append_block(
    struct mr_segment_index *index, const struct mr_segment_block *block)
{
    size_t n = index->n_blocks;

    if ((n & (n - 1)) == 0) {
        struct mr_segment_block *larger = NULL;

        if (n <= SIZE_MAX / 2 / sizeof(*larger))
            larger =
                realloc(index->block, (n == 0 ? 1 : 2 * n) * sizeof(*larger));
        if (larger == NULL)
            return MR_NOMEM;
        index->block = larger;
    }
    index->block[index->n_blocks++] = *block;
    index->bytes += block->bytes;
    return MR_OK;
}

static enum mr_status write_block(struct writing *w, struct mr_error *err)
{
    uint64_t first = w->user[0], last = w->user[w->n_users - 1];
    size_t n = mr_ascending_bytes(first, last, w->n_users);
    struct mr_buffer *out = &w->packed;
    struct mr_segment_block block;

    out->n = 0;
    if (mr_buffer_reserve(out, n + w->block.bytes.n) != MR_OK)
        return mr_fail_nomem(err);
    mr_ascending_pack(w->user, w->n_users, out->p);
    memcpy(out->p + n, w->block.bytes.p, w->block.bytes.n);
    out->n = n + w->block.bytes.n;
    block = (struct mr_segment_block){.first = first,
        .last = last,
        .n_users = (uint32_t)w->n_users,
        .bytes = out->n,
        .offset = w->index->bytes,
        .checksum = mr_hash64(out->p, out->n)};
    if (append_block(w->index, &block) != MR_OK)
        return mr_fail_nomem(err);
    w->n_users = w->block.n_entries = w->block.bytes.n = 0;
    return w->put(w->context, (struct mr_span){out->p, out->n}, err);
}

/* The entries of one day of a user. */
static enum mr_status encode_day(
    const struct mr_segment_entry *e, size_t n, struct mr_buffer *out)
{
    enum mr_status status;
    uint64_t mask = 0;

    for (size_t i = 0; i < n; i++) {
        if (mr_segment_type_of(&e[i]) != MR_SEGMENT_SEEN)
            mask |= UINT64_C(1) << mr_segment_type_of(&e[i]);
    }
    status = mr_buffer_add_varint(out, mask);
    for (size_t i = 0; i < n && mask != 0 && status == MR_OK; i++)
        status = mr_buffer_add_varint(out, e[i].count - 1);
    return status;
}

static enum mr_status encode_user(
    const struct mr_segment_entry *e, size_t n, struct mr_buffer *out)
{
    enum mr_status status;
    uint64_t n_days = 0;
    int32_t next = 0;

    out->n = 0;
    for (size_t i = 0; i < n; i++)
        n_days += i == 0 || !mr_segment_same_day(&e[i], &e[i - 1]);
    status = mr_buffer_add_varint(out, n_days - 1);
    for (size_t i = 0, first = 0; i < n && status == MR_OK; first = i) {
        int32_t day = mr_segment_day(&e[first]);

        for (i++; i < n && mr_segment_same_day(&e[i], &e[first]);)
            i++;
        status = mr_buffer_add_varint(out, (uint64_t)(day - next));
        if (status == MR_OK)
            status = encode_day(e + first, i - first, out);
        next = day + 1;
    }
    return status;
}

/* Put the user at hand, all of whose entries are there, into a block. */
static enum mr_status end_user(struct writing *w, struct mr_error *err)
{
    const struct mr_segment_entry *e = (const void *)w->entries.p;
    size_t n = w->entries.n / sizeof(*e);
    enum mr_status status = MR_OK;

    if (n == 0)
        return MR_OK;
    if (w->n_users == BLOCK_USERS ||
        (w->n_users > 0 && n + w->block.n_entries > BLOCK_ENTRIES))
        status = write_block(w, err);
    if (status != MR_OK)
        return status;
    if (encode_user(e, n, &w->one) != MR_OK ||
        mr_buffer_add(&w->block.bytes, w->one.p, w->one.n) != MR_OK)
        return mr_fail_nomem(err);
    w->user[w->n_users++] = e->user;
    w->block.n_entries += n;
    w->entries.n = 0;
    return MR_OK;
}

static enum mr_status write_piece(struct writing *w,
    const struct mr_segment_entry *e, size_t n, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t i = 0;

    while (i < n && status == MR_OK) {
        const struct mr_segment_entry *held = (const void *)w->entries.p;
        size_t first = i;

        if (w->entries.n > 0 && held->user != e[i].user)
            status = end_user(w, err);
        while (i < n && e[i].user == e[first].user)
            i++;
        if (status == MR_OK && mr_buffer_add(&w->entries, e + first,
                                   (i - first) * sizeof(*e)) != MR_OK)
            status = mr_fail_nomem(err);
    }
    return status;
}

enum mr_status mr_segments_write(struct mr_segment_stream *stream,
    mr_segments_put *put, void *context, struct mr_segment_index *index_out,
    struct mr_error *err)
{
    struct writing *w = calloc(1, sizeof(*w));
    const struct mr_segment_entry *entry;
    enum mr_status status = MR_OK;
    size_t n = 1;

    *index_out = (struct mr_segment_index){0};
    if (w == NULL)
        return mr_fail_nomem(err);
    w->put = put;
    w->context = context;
    w->index = index_out;
    while (status == MR_OK && n > 0) {
        status = mr_segment_stream_next(stream, &entry, &n, err);
        if (status == MR_OK)
            status = write_piece(w, entry, n, err);
    }
    if (status == MR_OK)
        status = end_user(w, err);
    if (status == MR_OK && w->n_users > 0)
        status = write_block(w, err);
    mr_buffer_release(&w->block.bytes);
    mr_buffer_release(&w->packed);
    mr_buffer_release(&w->entries);
    mr_buffer_release(&w->one);
    free(w);
    return status;
}

/* ---- the index ---- */

enum mr_status mr_segment_index_encode(
    const struct mr_segment_index *index, struct mr_buffer *out)
{
    enum mr_status status = mr_buffer_add_varint(out, index->n_blocks);
    uint8_t entry[INDEX_BYTES];

    for (size_t i = 0; i < index->n_blocks && status == MR_OK; i++) {
        const struct mr_segment_block *block = &index->block[i];

        mr_put_u64(entry, block->first);
        mr_put_u64(entry + 8, block->last);
        mr_put_u32(entry + 16, block->n_users);
        mr_put_u64(entry + 20, block->bytes);
        mr_put_u64(entry + 28, block->checksum);
        status = mr_buffer_add(out, entry, sizeof(entry));
    }
    return status;
}

/* Read the entry of the next block; NULL, or what is wrong with it. */
static const char *decode_entry(
    struct mr_reader *r, struct mr_segment_index *index, uint64_t segm_bytes)
{
    struct mr_segment_block *block = &index->block[index->n_blocks];
    size_t n;

    block->first = mr_read_u64(r);
    block->last = mr_read_u64(r);
    block->n_users = mr_read_u32(r);
    block->bytes = mr_read_u64(r);
    block->checksum = mr_read_u64(r);
    block->offset = index->bytes;
    n = block->n_users;
    if (n < 1 || n > BLOCK_USERS || block->last < block->first ||
        block->last - block->first < n - 1 ||
        (n == 1 && block->first != block->last))
        return "impossible users of a block";
    if (index->n_blocks > 0 && block->first <= block[-1].last)
        return "its blocks do not ascend";
    if (block->bytes > segm_bytes - index->bytes)
        return "its blocks are longer than the section they are in";
    if (block->bytes <
        mr_ascending_bytes(block->first, block->last, n) + USER_BYTES_MIN * n)
        return "a block is too short for its users";
    index->bytes += block->bytes;
    index->n_blocks++;
    return NULL;
}

enum mr_status mr_segment_index_decode(struct mr_span plain,
    uint64_t segm_bytes, struct mr_segment_index *index_out, const char **why)
{
    struct mr_reader r = {plain.p, plain.n, false};
    struct mr_segment_index index = {0};
    uint64_t n = mr_read_varint(&r);

    *why = NULL;
    if (r.bad || r.n % INDEX_BYTES != 0 || n != r.n / INDEX_BYTES) {
        *why = "its length does not fit its count";
        return MR_FORMAT;
    }
    index.block = calloc((size_t)n + 1, sizeof(*index.block));
    if (index.block == NULL)
        return MR_NOMEM;
    while (*why == NULL && index.n_blocks < n)
        *why = decode_entry(&r, &index, segm_bytes);
    if (*why == NULL && index.bytes != segm_bytes)
        *why = "its blocks are shorter than the section they are in";
    if (*why != NULL) {
        mr_segment_index_release(&index);
        return MR_FORMAT;
    }
    *index_out = index;
    return MR_OK;
}

/* ---- reading ---- */

struct reading {
    struct mr_segment_stream stream;
    const struct mr_segment_index *index;
    const struct mr_segment_types *types;
    mr_segments_get *get;
    void *context;
    size_t block;     /* next */
    size_t n_entries; /* of the one before */
    uint64_t user[BLOCK_USERS];
    struct mr_buffer packed, entries;
};

/* Read the entries of a day; false if they cannot be so. */
static bool decode_day(struct mr_reader *in, const struct reading *r,
    struct mr_segment_entry e, struct mr_buffer *out)
{
    uint64_t mask = mr_read_varint(in);
    struct mr_segment_entry *to = (void *)(out->p + out->n);
    size_t n = 0;

    if (r->types->n < 64 && mask >> r->types->n != 0)
        return false;
    if (mask == 0) {
        e.day_type |= MR_SEGMENT_SEEN;
        to[n++] = e;
        out->n += sizeof(e);
        return r->types->keeps_seen;
    }
    for (; mask != 0; mask &= mask - 1) {
        uint64_t less_one = mr_read_varint(in);

        if (in->bad || less_one >= UINT32_MAX)
            return false;
        to[n] = e;
        to[n].day_type |= (uint32_t)__builtin_ctzll(mask);
        to[n++].count = (uint32_t)less_one + 1;
    }
    out->n += n * sizeof(e);
    return true;
}

static bool decode_user(struct mr_reader *in, const struct reading *r,
    uint64_t user, struct mr_buffer *out)
{
    uint64_t n_days = mr_read_varint(in), next = 0;

    if (in->bad || n_days >= (uint64_t)MR_DAY_END)
        return false;
    for (n_days++; n_days > 0; n_days--) {
        uint64_t gap = mr_read_varint(in);
        struct mr_segment_entry e = {.user = user};

        if (in->bad || gap >= (uint64_t)MR_DAY_END - next)
            return false;
        e.day_type = (uint32_t)(next + gap) << 8;
        next += gap + 1;
        if (!decode_day(in, r, e, out) || in->bad)
            return false;
    }
    return true;
}

/* Whether the first user at hand would have had room in the block before. */
static bool had_room(const struct reading *r)
{
    const struct mr_segment_entry *e = (const void *)r->entries.p;
    size_t n = 0, n_entries = r->entries.n / sizeof(*e);

    if (r->block == 0 || r->index->block[r->block - 1].n_users == BLOCK_USERS)
        return false;
    while (n < n_entries && e[n].user == e->user)
        n++;
    return r->n_entries + n <= BLOCK_ENTRIES;
}

/* NULL, or what is wrong with the bytes of a block. */
static const char *decode_block(
    struct reading *r, const struct mr_segment_block *block)
{
    size_t n = mr_ascending_bytes(block->first, block->last, block->n_users);
    struct mr_reader in = {r->packed.p + n, r->packed.n - n, false};

    if (!mr_ascending_unpack((struct mr_span){r->packed.p, n}, block->first,
            block->last, block->n_users, r->user))
        return "its users are not sound";
    r->entries.n = 0;
    for (uint32_t i = 0; i < block->n_users; i++) {
        if (!decode_user(&in, r, r->user[i], &r->entries))
            return "events of a user are not sound";
    }
    if (in.n > 0)
        return "bytes follow its last user";
    if (block->n_users > 1 &&
        r->entries.n / sizeof(struct mr_segment_entry) > BLOCK_ENTRIES)
        return "it has too many entries";
    if (had_room(r))
        return "the block before has room for its first user";
    r->n_entries = r->entries.n / sizeof(struct mr_segment_entry);
    return NULL;
}

/* Say in which file, and where in it, a block is that cannot be used. */
static enum mr_status blame(
    const struct reading *r, enum mr_status status, struct mr_error *err)
{
    if (status != MR_OK && r->index->path != NULL)
        mr_error_subject(err, "cannot use", r->index->path);
    return status;
}

static enum mr_status read_block(struct reading *r,
    const struct mr_segment_block *block, struct mr_error *err)
{
    enum mr_status status;
    const char *why;

    /* Each entry takes a byte at least of what there is. */
    if (block->bytes > SIZE_MAX / 32 ||
        mr_buffer_reserve(&r->packed, (size_t)block->bytes) != MR_OK ||
        mr_buffer_reserve(&r->entries,
            (size_t)block->bytes * sizeof(struct mr_segment_entry)) != MR_OK)
        return mr_fail_nomem(err);
    r->packed.n = (size_t)block->bytes;
    status = r->get(r->context, block->offset, r->packed.n, r->packed.p, err);
    if (status != MR_OK)
        return status;
    if (mr_hash64(r->packed.p, r->packed.n) != block->checksum)
        status = mr_fail(err, MR_CHECKSUM, r->index->start + block->offset,
            "copy it again from where it was made",
            "a block of section SEGM is damaged: its checksum differs");
    why = status == MR_OK ? decode_block(r, block) : NULL;
    if (why != NULL)
        status = mr_fail(err, MR_FORMAT, r->index->start + block->offset,
            "make it again with mr map",
            "a block of section SEGM is not sound: %s", why);
    return blame(r, status, err);
}

static enum mr_status next_of_reading(struct mr_segment_stream *stream,
    const struct mr_segment_entry **entry_out, size_t *n_out,
    struct mr_error *err)
{
    struct reading *r = (struct reading *)stream;
    enum mr_status status;

    *n_out = 0;
    if (r->block == r->index->n_blocks)
        return MR_OK;
    status = read_block(r, &r->index->block[r->block], err);
    if (status != MR_OK)
        return status;
    r->block++;
    *entry_out = (const void *)r->entries.p;
    *n_out = r->entries.n / sizeof(**entry_out);
    return MR_OK;
}

static void free_reading(struct mr_segment_stream *stream)
{
    struct reading *r = (struct reading *)stream;

    mr_buffer_release(&r->packed);
    mr_buffer_release(&r->entries);
    free(r);
}

enum mr_status mr_segment_index_read(const struct mr_segment_index *index,
    const struct mr_segment_types *types, mr_segments_get *get, void *context,
    struct mr_segment_stream **stream_out, struct mr_error *err)
{
    struct reading *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return mr_fail_nomem(err);
    r->stream.next = next_of_reading;
    r->stream.free = free_reading;
    r->index = index;
    r->types = types;
    r->get = get;
    r->context = context;
    *stream_out = &r->stream;
    return MR_OK;
}
