#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/state_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "mr/publish.h"
#include "mr/source.h"
#include "mr/text.h"

/*
 * Blocks come first and go straight to the file; their line in the index is
 * kept.  The head follows, and last of all the header and table, for which
 * room was left at the beginning.  Only then is the name known.
 */

#define HEADER_MAX_BYTES                                                       \
    (MR_STATE_HEADER_BYTES + MR_CHUNK_COUNT * MR_STATE_ENTRY_BYTES)

/* A chunk in the making. */
struct chunk {
    struct mr_buffer plain, packed;
    bool is_encoded, is_packed;
};

struct mr_state_writer {
    struct mr_publish *publish;
    char *path;     /* as given */
    bool is_folder; /* the file's name is made from its content */
    bool is_temporary;
    uint8_t header[HEADER_MAX_BYTES];
    uint32_t n_chunks;        /* that the file will have */
    uint32_t n_put;           /* entries that stand in the header */
    uint64_t size;            /* of the file so far */
    struct mr_buffer index;   /* entries of UIDX */
    struct chunk parts;       /* PART, which may be made ahead */
    struct chunk other;       /* one of the others */
    struct mr_id_stream *ids; /* the caller's, or NULL */
    struct mr_segment_stream *segments;
    uint64_t n_blocks, n_users, n_members, n_intervals, plain_bytes;
};

static void release_chunk(struct chunk *c)
{
    mr_buffer_release(&c->plain);
    mr_buffer_release(&c->packed);
}

static void free_writer(struct mr_state_writer *w)
{
    mr_buffer_release(&w->index);
    release_chunk(&w->parts);
    release_chunk(&w->other);
    free(w->path);
    free(w);
}

static enum mr_status append(
    struct mr_state_writer *w, const void *p, size_t n, struct mr_error *err)
{
    enum mr_status status = mr_publish_write(w->publish, p, n, err);

    if (status == MR_OK)
        w->size += n;
    return status;
}

/* The header and the table behind it. */
static size_t header_bytes(const struct mr_state_writer *w)
{
    return MR_STATE_HEADER_BYTES + (size_t)w->n_chunks * MR_STATE_ENTRY_BYTES;
}

/* Begin the file. */
static enum mr_status begin_file(
    struct mr_state_writer *w, struct mr_error *err)
{
    enum mr_status status;

    if (w->is_temporary)
        return mr_publish_begin_nameless(w->path, &w->publish, err);
    if (!w->is_folder)
        return mr_publish_begin_file(w->path, &w->publish, err);
    status = mr_publish_folder(w->path, err);
    return status != MR_OK ? status
                           : mr_publish_begin(w->path, &w->publish, err);
}

static enum mr_status new_writer(const char *path, bool is_temporary,
    const struct mr_spec *spec, struct mr_state_writer **writer_out,
    struct mr_error *err)
{
    struct mr_state_writer *w = calloc(1, sizeof(*w));
    enum mr_status status = MR_OK;

    if (!w)
        return mr_fail_nomem(err);
    for (int chunk = 0; chunk < MR_CHUNK_COUNT; chunk++)
        w->n_chunks += mr_state_has_chunk(spec, (enum mr_chunk)chunk);
    w->is_temporary = is_temporary;
    w->is_folder = !mr_text_ends(path, MR_STATE_SUFFIX);
    w->path = strdup(path);
    if (!w->path)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = begin_file(w, err);
    if (status == MR_OK)
        status = append(w, w->header, header_bytes(w), err);
    if (status != MR_OK) {
        mr_state_writer_abort(w);
        return status;
    }
    *writer_out = w;
    return MR_OK;
}

enum mr_status mr_state_writer_new(const char *path, const struct mr_spec *spec,
    struct mr_state_writer **writer_out, struct mr_error *err)
{
    return new_writer(path, false, spec, writer_out, err);
}

enum mr_status mr_state_writer_temporary(const char *folder,
    const struct mr_spec *spec, struct mr_state_writer **writer_out,
    struct mr_error *err)
{
    return new_writer(folder, true, spec, writer_out, err);
}

void mr_state_writer_date(
    struct mr_state_writer *w, const struct timespec *time)
{
    mr_publish_date(w->publish, time);
}

void mr_state_writer_abort(struct mr_state_writer *w)
{
    if (!w)
        return;
    mr_publish_abort(w->publish);
    free_writer(w);
}

enum mr_status mr_state_writer_add(struct mr_state_writer *w,
    const struct mr_packed_block *packed, struct mr_error *err)
{
    uint8_t entry[MR_STATE_INDEX_BYTES];
    enum mr_status status;

    mr_put_u64(entry, packed->first_hash);
    mr_put_u64(entry + 8, packed->last_hash);
    mr_put_u32(entry + 16, packed->n_users);
    mr_put_u64(entry + 20, packed->bytes.n);
    mr_put_u64(entry + 28, packed->plain_bytes);
    mr_put_u64(entry + 36, packed->n_members);
    mr_put_u64(entry + 44, packed->n_intervals);
    mr_put_u64(entry + 52, mr_hash64(packed->bytes.p, packed->bytes.n));
    if (mr_buffer_reserve(&w->index, w->index.n + sizeof(entry)) != MR_OK)
        return mr_fail_nomem(err);
    status = append(w, packed->bytes.p, packed->bytes.n, err);
    if (status != MR_OK)
        return status;
    memcpy(w->index.p + w->index.n, entry, sizeof(entry));
    w->index.n += sizeof(entry);
    w->n_blocks++;
    w->n_users += packed->n_users;
    w->n_members += packed->n_members;
    w->n_intervals += packed->n_intervals;
    w->plain_bytes += packed->plain_bytes;
    return MR_OK;
}

/* Write a line of the table. */
static void put_entry(struct mr_state_writer *w, enum mr_chunk chunk,
    uint32_t flags, uint64_t offset, uint64_t plain_bytes, uint64_t checksum)
{
    uint8_t *entry =
        w->header + MR_STATE_HEADER_BYTES + w->n_put++ * MR_STATE_ENTRY_BYTES;

    memcpy(entry, mr_chunk_id[chunk], 4);
    mr_put_u32(entry + 4, flags);
    mr_put_u64(entry + 8, offset);
    mr_put_u64(entry + 16, w->size - offset);
    mr_put_u64(entry + 24, plain_bytes);
    mr_put_u64(entry + 32, checksum);
}

static enum mr_status encode_index(
    const struct mr_state_writer *w, struct mr_buffer *out)
{
    if (mr_buffer_add_varint(out, w->n_blocks) != MR_OK ||
        mr_buffer_add_varint(out, w->n_users) != MR_OK ||
        mr_buffer_add_varint(out, w->n_members) != MR_OK ||
        mr_buffer_add_varint(out, w->n_intervals) != MR_OK)
        return MR_NOMEM;
    return mr_buffer_add(out, w->index.p, w->index.n);
}

/* Make the plain bytes of a chunk, unless they are there. */
static enum mr_status encode_chunk(const struct mr_state_writer *w,
    const struct mr_state_head *head, enum mr_chunk which, struct chunk *c,
    struct mr_error *err)
{
    enum mr_status status;

    if (c->is_encoded)
        return MR_OK;
    c->plain.n = 0;
    status = which == MR_CHUNK_UIDX ? encode_index(w, &c->plain)
                                    : mr_head_encode(head, which, &c->plain);
    if (status != MR_OK)
        return mr_fail_nomem(err);
    c->is_encoded = true;
    return MR_OK;
}

/* Pack them, unless that has been done. */
static enum mr_status pack_chunk(
    struct chunk *c, ZSTD_CCtx *context, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (!c->is_packed)
        status = mr_state_pack(
            context, (struct mr_span){c->plain.p, c->plain.n}, &c->packed, err);
    c->is_packed = status == MR_OK;
    return status;
}

enum mr_status mr_state_writer_encode(struct mr_state_writer *w,
    const struct mr_state_head *head, struct mr_error *err)
{
    return encode_chunk(w, head, MR_CHUNK_PART, &w->parts, err);
}

enum mr_status mr_state_writer_pack(
    struct mr_state_writer *w, struct mr_error *err)
{
    ZSTD_CCtx *context = mr_state_packing_context();
    enum mr_status status =
        context ? pack_chunk(&w->parts, context, err) : mr_fail_nomem(err);

    ZSTD_freeCCtx(context);
    return status;
}

static enum mr_status write_chunk(struct mr_state_writer *w,
    const struct mr_state_head *head, enum mr_chunk chunk, ZSTD_CCtx *context,
    struct mr_error *err)
{
    struct chunk *c = chunk == MR_CHUNK_PART ? &w->parts : &w->other;
    uint32_t flags = MR_CHUNK_REQUIRED;
    uint64_t offset = w->size;
    enum mr_status status = encode_chunk(w, head, chunk, c, err);

    if (status == MR_OK)
        status = pack_chunk(c, context, err);
    if (status != MR_OK)
        return status;
    if (c->packed.n < c->plain.n)
        flags |= MR_CHUNK_PACKED;
    if (chunk == MR_CHUNK_SPEC) {
        struct mr_digest digest = mr_digest_bytes(c->plain.p, c->plain.n);

        memcpy(w->header + 16, digest.b, sizeof(digest.b));
    }
    status = append(w, c->packed.p, c->packed.n, err);
    if (status == MR_OK)
        put_entry(w, chunk, flags, offset, c->plain.n,
            mr_hash64(c->packed.p, c->packed.n));
    c->is_encoded = c->is_packed = false;
    return status;
}

static enum mr_status put_blocks(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    return append(context, bytes.p, bytes.n, err);
}

/* Write a chunk of blocks from its stream, and make the plain bytes of its
 * index, which is the next chunk. */
static enum mr_status write_stream(
    struct mr_state_writer *w, enum mr_chunk chunk, struct mr_error *err)
{
    struct mr_idset_index ids = {.n_days = 0};
    struct mr_segment_index segments = {.n_blocks = 0};
    struct mr_buffer *plain = &w->other.plain;
    uint64_t offset = w->size;
    enum mr_status status, encoded;

    plain->n = 0;
    if (chunk == MR_CHUNK_DUPS) {
        status = mr_idset_write(w->ids, put_blocks, w, &ids, err);
        encoded = mr_idset_index_encode(&ids, plain);
    } else {
        status = mr_segments_write(w->segments, put_blocks, w, &segments, err);
        encoded = mr_segment_index_encode(&segments, plain);
    }
    mr_idset_index_release(&ids);
    mr_segment_index_release(&segments);
    if (status != MR_OK)
        return status;
    if (encoded != MR_OK)
        return mr_fail_nomem(err);
    w->other.is_encoded = true;
    put_entry(w, chunk, MR_CHUNK_REQUIRED | MR_CHUNK_BLOCKS, offset,
        w->size - offset, 0);
    return MR_OK;
}

void mr_state_writer_keep(struct mr_state_writer *w, struct mr_id_stream *ids,
    struct mr_segment_stream *segments)
{
    w->ids = ids;
    w->segments = segments;
}

/* Fill in the header and put it at the beginning. */
static enum mr_status write_header(
    struct mr_state_writer *w, struct mr_error *err)
{
    uint8_t *h = w->header;

    memcpy(h, MR_STATE_MAGIC, 8);
    mr_put_u32(h + 8, MR_STATE_VERSION);
    mr_put_u32(h + 12, w->n_chunks);
    mr_put_u64(h + 32, w->size);
    mr_put_u64(h + MR_STATE_SUM_OFFSET, mr_state_header_sum(h, w->n_chunks));
    return mr_publish_write_at(w->publish, 0, h, header_bytes(w), err);
}

static enum mr_status write_head(struct mr_state_writer *w,
    const struct mr_state_head *head, struct mr_error *err)
{
    const char *why = NULL;
    enum mr_status status = mr_head_check(head, &why);
    ZSTD_CCtx *context;
    int chunk;

    /* Parts that contradict one another can come from a state that somebody
     * has made up: another one of the same partition says otherwise. */
    if (status == MR_MISMATCH)
        return mr_fail(err, status, MR_NOWHERE, "leave out the wrong one",
            "two states disagree about what is in a partition: %s", why);
    context = status == MR_OK ? mr_state_packing_context() : NULL;
    if (!context)
        return mr_fail_nomem(err);
    put_entry(w, MR_CHUNK_USER, MR_CHUNK_REQUIRED | MR_CHUNK_BLOCKS,
        header_bytes(w), w->plain_bytes, 0);
    for (chunk = MR_CHUNK_UIDX; chunk < MR_CHUNK_COUNT && status == MR_OK;
         chunk++)
        if (mr_state_has_chunk(head->spec, (enum mr_chunk)chunk))
            status =
                mr_chunk_is_blocks((enum mr_chunk)chunk)
                    ? write_stream(w, (enum mr_chunk)chunk, err)
                    : write_chunk(w, head, (enum mr_chunk)chunk, context, err);
    ZSTD_freeCCtx(context);
    return status == MR_OK ? write_header(w, err) : status;
}

/* Write the final path of a file in a folder. */
static void put_path(
    const char *folder, const char *name, char *out, size_t size)
{
    size_t n = strlen(folder);

    snprintf(out, size, "%s%s%s", folder,
        n > 0 && folder[n - 1] == '/' ? "" : "/", name);
}

enum mr_status mr_state_writer_finish(struct mr_state_writer *w,
    const struct mr_state_head *head, char *path_out, size_t size,
    uint64_t *bytes_out, struct mr_error *err)
{
    char name[MR_DIGEST_TEXT + 4];
    struct mr_digest digest;
    enum mr_status status;

    status = write_head(w, head, err);
    if (status != MR_OK) {
        mr_error_subject(err, "cannot write", w->path);
        goto done;
    }
    digest = mr_digest_bytes(w->header, header_bytes(w));
    mr_digest_format(&digest, name);
    strcpy(name + MR_DIGEST_TEXT - 1, MR_STATE_SUFFIX);
    status = mr_publish_commit(w->publish, w->is_folder ? name : NULL, err);
    w->publish = NULL;
    if (status != MR_OK)
        goto done;
    if (w->is_folder)
        put_path(w->path, name, path_out, size);
    else
        snprintf(path_out, size, "%s", w->path);
    *bytes_out = w->size;
done:
    mr_state_writer_abort(w);
    return status;
}

enum mr_status mr_state_writer_reopen(struct mr_state_writer *w,
    const struct mr_state_head *head, struct mr_state **state_out,
    struct mr_error *err)
{
    enum mr_status status = write_head(w, head, err);

    if (status == MR_OK) {
        int fd = mr_publish_keep(w->publish);

        w->publish = NULL;
        status = mr_state_open_fd(fd, w->path, state_out, err);
    }
    if (status != MR_OK)
        mr_error_subject(err, "cannot write", w->path);
    mr_state_writer_abort(w);
    return status;
}
