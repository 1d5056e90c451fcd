#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/rejects.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "mr/digestset.h"
#include "mr/publish.h"
#include "mr/text.h"

#define OUT_BYTES 65536

/* ---- rejects ---- */

enum mr_status mr_reject_pack(
    const struct mr_reject *reject, struct mr_buffer *out)
{
    enum mr_status status =
        mr_buffer_add_varint(out, (uint64_t)reject->reason * 2 + reject->cut);

    if (status == MR_OK)
        status = mr_buffer_add_varint(out, reject->line);
    if (status == MR_OK)
        status = mr_buffer_add_varint(out, reject->offset);
    return status != MR_OK
               ? status
               : mr_buffer_add_string(out, reject->text.p, reject->text.n);
}

static enum mr_status format_line(struct mr_span text, struct mr_buffer *out)
{
    enum mr_status status;

    if (mr_text_is_utf8(text)) {
        status = mr_text_printf(out, ",\"text\":");
        return status != MR_OK ? status : mr_text_json(out, text);
    }
    status = mr_text_printf(out, ",\"base64\":\"");
    if (status == MR_OK)
        status = mr_text_base64(out, text);
    return status != MR_OK ? status : mr_text_printf(out, "\"");
}

static enum mr_status format_one(const struct mr_spec *spec,
    const char *partition, const struct mr_reject *r, struct mr_buffer *out)
{
    char reason[MR_PATH_MAX_BYTES + 16];
    enum mr_status status = mr_text_printf(out, "{\"reason\":");

    mr_spec_reason(spec, r->reason, reason, sizeof(reason));
    if (status == MR_OK)
        status = mr_text_json(out, mr_text_span(reason));
    if (status == MR_OK)
        status = mr_text_printf(out, ",\"partition\":");
    if (status == MR_OK)
        status = mr_text_json(out, mr_text_span(partition));
    if (status == MR_OK)
        status = mr_text_printf(out, ",\"line\":%llu,\"offset\":%llu",
            (unsigned long long)r->line + 1, (unsigned long long)r->offset);
    if (status == MR_OK)
        status = format_line(r->text, out);
    if (status == MR_OK)
        status = mr_text_printf(out, r->cut ? ",\"cut\":true}\n" : "}\n");
    return status;
}

enum mr_status mr_reject_format(const struct mr_spec *spec,
    const char *partition, struct mr_span packed, uint64_t line,
    struct mr_buffer *out)
{
    struct mr_reader in = {packed.p, packed.n, false};
    enum mr_status status = MR_OK;

    while (in.n > 0 && status == MR_OK) {
        struct mr_reject r;
        uint64_t what = mr_read_varint(&in);

        r.reason = (unsigned)(what / 2);
        r.cut = what % 2 != 0;
        r.line = line + mr_read_varint(&in);
        r.offset = mr_read_varint(&in);
        r.text = mr_read_string(&in);
        status = format_one(spec, partition, &r, out);
    }
    return status;
}

/* ---- the file ---- */

struct mr_reject_file {
    struct mr_publish *publish;
    char *path;
    z_stream *gzip;
    ZSTD_CCtx *zstd;
    struct mr_digest_set held; /* whose lines are in */
    uint8_t out[OUT_BYTES];
};

static void file_free(struct mr_reject_file *file)
{
    if (file->gzip != NULL)
        (void)deflateEnd(file->gzip);
    free(file->gzip);
    ZSTD_freeCCtx(file->zstd);
    mr_digest_set_release(&file->held);
    free(file->path);
    free(file);
}

static enum mr_status open_packer(
    struct mr_reject_file *file, struct mr_error *err)
{
    if (mr_text_ends(file->path, ".zst")) {
        file->zstd = ZSTD_createCCtx();
        return file->zstd == NULL ? mr_fail_nomem(err) : MR_OK;
    }
    if (!mr_text_ends(file->path, ".gz"))
        return MR_OK;
    file->gzip = calloc(1, sizeof(*file->gzip));
    /* 15 + 16: the largest window, a gzip header. */
    if (file->gzip == NULL ||
        deflateInit2(file->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
            Z_DEFAULT_STRATEGY) != Z_OK) {
        free(file->gzip);
        file->gzip = NULL;
        return mr_fail_nomem(err);
    }
    return MR_OK;
}

enum mr_status mr_reject_file_new(
    const char *path, struct mr_reject_file **file_out, struct mr_error *err)
{
    struct mr_reject_file *file = calloc(1, sizeof(*file));
    enum mr_status status = MR_OK;

    if (file == NULL)
        return mr_fail_nomem(err);
    file->path = strdup(path);
    if (file->path == NULL)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = open_packer(file, err);
    if (status == MR_OK)
        status = mr_publish_begin_file(path, &file->publish, err);
    if (status != MR_OK) {
        file_free(file);
        return status;
    }
    *file_out = file;
    return MR_OK;
}

static enum mr_status put_gzip(struct mr_reject_file *file, struct mr_span text,
    bool end, struct mr_error *err)
{
    z_stream *z = file->gzip;
    enum mr_status status = MR_OK;

    z->next_in = (Bytef *)(uintptr_t)text.p; /* only read */
    z->avail_in = (uInt)text.n;
    do {
        z->next_out = file->out;
        z->avail_out = OUT_BYTES;
        (void)deflate(z, end ? Z_FINISH : Z_NO_FLUSH);
        status = mr_publish_write(
            file->publish, file->out, OUT_BYTES - z->avail_out, err);
    } while (status == MR_OK && z->avail_out == 0);
    return status;
}

static enum mr_status put_zstd(struct mr_reject_file *file, struct mr_span text,
    bool end, struct mr_error *err)
{
    ZSTD_inBuffer in = {text.p, text.n, 0};
    enum mr_status status = MR_OK;
    size_t left = 1;

    while (status == MR_OK && (end ? left > 0 : in.pos < in.size)) {
        ZSTD_outBuffer out = {file->out, OUT_BYTES, 0};

        left = ZSTD_compressStream2(
            file->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) /* it makes its tables when it begins */
            return mr_fail_nomem(err);
        status = mr_publish_write(file->publish, out.dst, out.pos, err);
    }
    return status;
}

static enum mr_status put(struct mr_reject_file *file, struct mr_span text,
    bool end, struct mr_error *err)
{
    if (file->gzip != NULL)
        return put_gzip(file, text, end, err);
    if (file->zstd != NULL)
        return put_zstd(file, text, end, err);
    return text.n == 0 ? MR_OK
                       : mr_publish_write(file->publish, text.p, text.n, err);
}

/* A spool on its way to the file, share by share. */
struct sharing {
    struct mr_reject_file *file;
    const struct mr_reject_share *share;
    size_t n;
    uint64_t left; /* of the share at hand */
    bool wanted;
};

static enum mr_status next_share(struct sharing *s, struct mr_error *err)
{
    while (s->left == 0 && s->n > 0) {
        if (mr_digest_set_add(&s->file->held, &s->share->digest, &s->wanted) !=
            MR_OK)
            return mr_fail_nomem(err);
        s->left = s->share->bytes;
        s->share++;
        s->n--;
    }
    return MR_OK;
}

/* Stretches as long as zlib's counters can hold. */
static enum mr_status take_to_file(
    void *context, struct mr_span text, struct mr_error *err)
{
    struct sharing *s = context;
    enum mr_status status = MR_OK;

    while (text.n > 0 && status == MR_OK) {
        size_t n = text.n < ((size_t)1 << 30) ? text.n : (size_t)1 << 30;

        status = next_share(s, err);
        if (n > s->left)
            n = (size_t)s->left;
        if (status == MR_OK && s->wanted)
            status = put(s->file, (struct mr_span){text.p, n}, false, err);
        text.p += n;
        text.n -= n;
        s->left -= n;
    }
    return status;
}

enum mr_status mr_reject_file_add(struct mr_reject_file *file,
    struct mr_spool *spool, const struct mr_reject_share *share, size_t n,
    struct mr_error *err)
{
    struct sharing s = {.file = file, .share = share, .n = n};

    return mr_spool_drain(spool, take_to_file, &s, err);
}

enum mr_status mr_reject_file_finish(
    struct mr_reject_file *file, struct mr_error *err)
{
    enum mr_status status =
        put(file, (struct mr_span){file->out, 0}, true, err);

    if (status == MR_OK)
        status = mr_publish_commit(file->publish, NULL, err);
    else
        mr_publish_abort(file->publish);
    file_free(file);
    return status;
}

void mr_reject_file_abort(struct mr_reject_file *file)
{
    if (file == NULL)
        return;
    mr_publish_abort(file->publish);
    file_free(file);
}
