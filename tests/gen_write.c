#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#define OUT_BYTES ((size_t)256 << 10)

struct gen_sink {
    const struct gen_options *o;
    char path[4096];
    int fd;
    enum gen_format format;
    uint64_t member_bytes, in_member;
    z_stream z;
    ZSTD_CCtx *zst;
    unsigned char *out;
};

struct gen_sink *gen_sink_new(const struct gen_options *o)
{
    struct gen_sink *k = gen_alloc(1, sizeof *k);
    int level = o->level ? (int)o->level : Z_DEFAULT_COMPRESSION;

    k->o = o;
    k->out = gen_alloc(1, OUT_BYTES);
    if (level > 9)
        level = 9;
    /* 15 + 16: the largest window, in gzip's wrapping. */
    if (deflateInit2(
            &k->z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        gen_die("cannot start zlib");
    k->zst = ZSTD_createCCtx();
    if (k->zst == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(k->zst, ZSTD_c_compressionLevel,
            o->level ? (int)o->level : ZSTD_CLEVEL_DEFAULT)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(k->zst, ZSTD_c_checksumFlag, 1)))
        gen_die("cannot start zstd");
    return k;
}

void gen_sink_free(struct gen_sink *k)
{
    deflateEnd(&k->z);
    ZSTD_freeCCtx(k->zst);
    free(k->out);
    free(k);
}

void gen_sink_open(struct gen_sink *k, const char *path, enum gen_format format,
    uint64_t member_bytes)
{
    size_t n = strlen(path);

    if (n >= sizeof k->path)
        gen_die("the path is too long: %s", path);
    memcpy(k->path, path, n + 1);
    k->fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (k->fd < 0)
        gen_die("cannot create '%s': %s", path, strerror(errno));
    k->format = format;
    k->member_bytes = member_bytes;
    k->in_member = 0;
}

static void write_all(struct gen_sink *k, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t done = write(k->fd, at, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            gen_die("cannot write '%s': %s", k->path, strerror(errno));
        at += done;
        n -= (size_t)done;
    }
}

static void pack_gz(struct gen_sink *k, const char *p, size_t n, bool end)
{
    int r;

    k->z.next_in = (unsigned char *)(uintptr_t)p;
    k->z.avail_in = (unsigned)n;
    do {
        k->z.next_out = k->out;
        k->z.avail_out = OUT_BYTES;
        r = deflate(&k->z, end ? Z_FINISH : Z_NO_FLUSH);
        if (r == Z_STREAM_ERROR)
            gen_die("zlib failed on '%s'", k->path);
        write_all(k, k->out, OUT_BYTES - k->z.avail_out);
    } while (end ? r != Z_STREAM_END : k->z.avail_out == 0);
    if (end)
        deflateReset(&k->z);
}

static void pack_zst(struct gen_sink *k, const char *p, size_t n, bool end)
{
    ZSTD_inBuffer in = {p, n, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {k->out, OUT_BYTES, 0};

        left = ZSTD_compressStream2(
            k->zst, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            gen_die(
                "zstd failed on '%s': %s", k->path, ZSTD_getErrorName(left));
        write_all(k, k->out, out.pos);
    } while (end ? left != 0 : in.pos < in.size);
}

static void pack(struct gen_sink *k, const char *p, size_t n, bool end)
{
    if (k->format == GEN_GZ)
        pack_gz(k, p, n, end);
    else if (k->format == GEN_ZST)
        pack_zst(k, p, n, end);
    else
        write_all(k, p, n);
    k->in_member = end ? 0 : k->in_member + n;
}

void gen_sink_write(struct gen_sink *k, const char *p, size_t n)
{
    while (n > 0) {
        size_t most = n;

        if (most > (size_t)1 << 30)
            most = (size_t)1 << 30;
        if (k->member_bytes && most > k->member_bytes - k->in_member)
            most = k->member_bytes - k->in_member;
        pack(k, p, most, false);
        if (k->member_bytes && k->in_member == k->member_bytes)
            pack(k, NULL, 0, true);
        p += most;
        n -= most;
    }
}

void gen_sink_close(struct gen_sink *k)
{
    if (k->in_member > 0)
        pack(k, NULL, 0, true);
    if (close(k->fd) != 0)
        gen_die("cannot write '%s': %s", k->path, strerror(errno));
}
