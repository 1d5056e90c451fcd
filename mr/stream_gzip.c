#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#ifdef HAVE_ISAL
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

/*
 * gzip is RFC 1952: members one after the other, each a header, a deflate
 * stream and a trailer of CRC-32 and length.  Header and trailer are read
 * here, and only the raw deflate stream is left to zlib or to ISA-L (as
 * configure chose), so that both give the same errors at the same bytes.
 */

enum deflate_result {
    DEFLATE_GOES_ON,
    DEFLATE_ENDED,
    DEFLATE_BAD,
    DEFLATE_NOMEM
};

/* What is the same for both: unpack from in to out, moving both on.  It stops
 * when the stream ends, in is used up, or out is full. */
struct deflate_io {
    const uint8_t *in;
    size_t in_n;
    uint8_t *out;
    size_t out_n;
    /* After the end: bytes behind it that were taken all the same. */
    uint8_t left[8];
    unsigned n_left;
};

#ifdef HAVE_ISAL

struct inflater {
    struct inflate_state state;
};

static bool inflater_init(struct inflater *z)
{
    isal_inflate_init(&z->state);
    return true;
}

static void inflater_reset(struct inflater *z)
{
    isal_inflate_reset(&z->state);
}

static void inflater_release(struct inflater *z)
{
    (void)z;
}

static enum deflate_result inflater_run(
    struct inflater *z, struct deflate_io *io)
{
    struct inflate_state *state = &z->state;
    int result;

    state->next_in = (uint8_t *)(uintptr_t)io->in;
    state->avail_in = io->in_n < INT32_MAX ? (uint32_t)io->in_n : INT32_MAX;
    state->next_out = io->out;
    state->avail_out = io->out_n < INT32_MAX ? (uint32_t)io->out_n : INT32_MAX;
    result = isal_inflate(state);
    io->in_n -= (size_t)(state->next_in - io->in);
    io->in = state->next_in;
    io->out_n -= (size_t)(state->next_out - io->out);
    io->out = state->next_out;
    if (result < 0 || result == ISAL_NEED_DICT)
        return DEFLATE_BAD;
    if (state->block_state != ISAL_BLOCK_FINISH)
        return DEFLATE_GOES_ON;
    /* Whole bytes behind the end, perhaps taken by an earlier call already,
     * are the trailer's first. */
    io->n_left = (unsigned)state->read_in_length / 8;
    if (state->read_in_length < 0 || io->n_left > sizeof(io->left))
        return DEFLATE_BAD;
    for (unsigned i = 0; i < io->n_left; i++)
        io->left[i] = (uint8_t)(state->read_in >>
                                ((unsigned)state->read_in_length % 8 + 8 * i));
    return DEFLATE_ENDED;
}

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t n)
{
    return crc32_gzip_refl(crc, p, n);
}

#else

struct inflater {
    z_stream z;
};

static bool inflater_init(struct inflater *z)
{
    /* Raw deflate, window as large as it may be. */
    return inflateInit2(&z->z, -MAX_WBITS) == Z_OK;
}

static void inflater_reset(struct inflater *z)
{
    (void)inflateReset(&z->z);
}

static void inflater_release(struct inflater *z)
{
    (void)inflateEnd(&z->z);
}

static enum deflate_result inflater_run(
    struct inflater *z, struct deflate_io *io)
{
    int result;

    z->z.next_in = (Bytef *)(uintptr_t)io->in;
    z->z.avail_in = io->in_n < UINT_MAX ? (uInt)io->in_n : UINT_MAX;
    z->z.next_out = io->out;
    z->z.avail_out = io->out_n < UINT_MAX ? (uInt)io->out_n : UINT_MAX;
    result = inflate(&z->z, Z_NO_FLUSH);
    io->in_n -= (size_t)(z->z.next_in - io->in);
    io->in = z->z.next_in;
    io->out_n -= (size_t)(z->z.next_out - io->out);
    io->out = z->z.next_out;
    switch (result) {
    case Z_STREAM_END:
        return DEFLATE_ENDED;
    case Z_OK:
    case Z_BUF_ERROR: /* it could do nothing, which is no error as yet */
        return DEFLATE_GOES_ON;
    case Z_MEM_ERROR:
        return DEFLATE_NOMEM;
    default:
        return DEFLATE_BAD;
    }
}

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t n)
{
    return (uint32_t)crc32_z(crc, p, n);
}

#endif

#define ADVICE "fetch it again and rerun"

/* RFC 1952 section 2.3.1, FLG. */
#define FLAG_HEADER_CRC 0x02
#define FLAG_EXTRA 0x04
#define FLAG_NAME 0x08
#define FLAG_COMMENT 0x10
#define FLAG_RESERVED 0xE0
#define METHOD_DEFLATE 8

struct gzip {
    struct mr_filter filter;
    enum { AT_MEMBER, IN_BODY, AT_TRAILER, AT_END } at;
    bool begun;          /* a member has been read */
    uint32_t header_crc; /* of the header so far */
    uint32_t crc;        /* of the member's bytes so far */
    uint64_t out_bytes;  /* of the member */
    uint64_t begins_at;  /* the member's stored byte */
    uint8_t left[8];     /* the trailer's first bytes, already taken */
    unsigned n_left;
    struct inflater inflater;
};

static enum mr_status fail_truncated(
    const struct mr_feed *feed, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, feed->offset + feed->rest.n, ADVICE,
        "truncated gzip member");
}

/* Take n bytes of a header, out of which may be NULL. */
static enum mr_status take(struct gzip *g, struct mr_feed *feed, uint8_t *out,
    size_t n, struct mr_error *err)
{
    while (n > 0) {
        enum mr_status status = mr_feed_peek(feed, 1, err);
        size_t part = feed->rest.n < n ? feed->rest.n : n;

        if (status != MR_OK)
            return status;
        if (part == 0)
            return fail_truncated(feed, err);
        g->header_crc = crc_add(g->header_crc, feed->rest.p, part);
        if (out != NULL) {
            memcpy(out, feed->rest.p, part);
            out += part;
        }
        mr_feed_consume(feed, part);
        n -= part;
    }
    return MR_OK;
}

/* Take a text up to and with its NUL. */
static enum mr_status take_text(
    struct gzip *g, struct mr_feed *feed, struct mr_error *err)
{
    for (;;) {
        enum mr_status status = mr_feed_peek(feed, 1, err);
        const uint8_t *end;

        if (status != MR_OK)
            return status;
        if (feed->rest.n == 0)
            return fail_truncated(feed, err);
        end = memchr(feed->rest.p, 0, feed->rest.n);
        if (end != NULL)
            return take(g, feed, NULL, (size_t)(end - feed->rest.p) + 1, err);
        status = take(g, feed, NULL, feed->rest.n, err);
        if (status != MR_OK)
            return status;
    }
}

/* The parts of a header that flags announce. */
static enum mr_status take_options(
    struct gzip *g, struct mr_feed *feed, unsigned flags, struct mr_error *err)
{
    uint8_t two[2] = {0, 0};
    uint64_t at;
    uint32_t crc;
    enum mr_status status = MR_OK;

    if (flags & FLAG_EXTRA) {
        status = take(g, feed, two, 2, err);
        if (status == MR_OK)
            status = take(g, feed, NULL, mr_get_u16(two), err);
    }
    if (status == MR_OK && flags & FLAG_NAME)
        status = take_text(g, feed, err);
    if (status == MR_OK && flags & FLAG_COMMENT)
        status = take_text(g, feed, err);
    if (status != MR_OK || !(flags & FLAG_HEADER_CRC))
        return status;
    crc = g->header_crc & 0xFFFF;
    at = feed->offset;
    status = take(g, feed, two, 2, err);
    if (status == MR_OK && mr_get_u16(two) != crc)
        status = mr_fail(err, MR_CHECKSUM, at, ADVICE,
            "wrong checksum of the gzip header: %04x stored, %04" PRIx32
            " computed",
            mr_get_u16(two), crc);
    return status;
}

static enum mr_status take_header(
    struct gzip *g, struct mr_feed *feed, struct mr_error *err)
{
    uint8_t fixed[10];
    uint64_t at = feed->offset;
    enum mr_status status;

    g->header_crc = 0;
    status = take(g, feed, fixed, sizeof fixed, err);
    if (status != MR_OK)
        return status;
    if (fixed[2] != METHOD_DEFLATE)
        return mr_fail(err, MR_FORMAT, at + 2, ADVICE,
            "unknown gzip compression method %d", fixed[2]);
    if (fixed[3] & FLAG_RESERVED)
        return mr_fail(err, MR_FORMAT, at + 3, ADVICE,
            "unknown gzip header flags 0x%02x", fixed[3]);
    return take_options(g, feed, fixed[3], err);
}

/* Tapes and block devices leave zeros after a file's end. */
static enum mr_status take_padding(struct mr_feed *feed, struct mr_error *err)
{
    for (;;) {
        enum mr_status status = mr_feed_peek(feed, 1, err);
        size_t n = 0;

        if (status != MR_OK || feed->rest.n == 0)
            return status;
        while (n < feed->rest.n && feed->rest.p[n] == 0)
            n++;
        if (n < feed->rest.n)
            return mr_fail(err, MR_FORMAT, feed->offset + n, ADVICE,
                "trailing garbage after the gzip member");
        mr_feed_consume(feed, n);
    }
}

/* Before a member, or after the last. */
static enum mr_status begin_member(
    struct gzip *g, struct mr_feed *feed, struct mr_error *err)
{
    enum mr_status status = mr_feed_peek(feed, 2, err);
    const uint8_t *p = feed->rest.p;

    if (status != MR_OK)
        return status;
    if (g->begun && (feed->rest.n == 0 || p[0] != 0x1F ||
                        (feed->rest.n > 1 && p[1] != 0x8B))) {
        /* Past the padding only the end may come. */
        status = take_padding(feed, err);
        if (status == MR_OK)
            g->at = AT_END;
        return status;
    }
    g->begins_at = feed->offset;
    status = take_header(g, feed, err);
    if (status != MR_OK)
        return status;
    if (g->begun)
        inflater_reset(&g->inflater);
    g->begun = true;
    g->crc = 0;
    g->out_bytes = 0;
    g->at = IN_BODY;
    return MR_OK;
}

static enum mr_status inflate_some(struct gzip *g, struct mr_feed *feed,
    uint8_t *out, size_t cap, size_t *n_out, struct mr_error *err)
{
    enum mr_status status = mr_feed_peek(feed, 1, err);
    struct deflate_io io = {
        .in = feed->rest.p, .in_n = feed->rest.n, .out = out, .out_n = cap};
    enum deflate_result result;
    size_t taken;

    if (status != MR_OK)
        return status;
    result = inflater_run(&g->inflater, &io);
    taken = feed->rest.n - io.in_n;
    *n_out = cap - io.out_n;
    mr_feed_consume(feed, taken);
    g->crc = crc_add(g->crc, out, *n_out);
    g->out_bytes += *n_out;
    if (result == DEFLATE_NOMEM)
        return mr_fail_nomem(err);
    if (result == DEFLATE_GOES_ON && taken == 0 && *n_out == 0) {
        if (feed->rest.n == 0)
            return fail_truncated(feed, err);
        result = DEFLATE_BAD; /* there was room and input, and no progress */
    }
    if (result == DEFLATE_BAD)
        return mr_fail(err, MR_FORMAT, g->begins_at, ADVICE,
            "damaged data in the gzip member that begins there");
    if (result == DEFLATE_ENDED) {
        memcpy(g->left, io.left, sizeof(g->left));
        g->n_left = io.n_left;
        g->at = AT_TRAILER;
    }
    return MR_OK;
}

static enum mr_status check_trailer(
    struct gzip *g, struct mr_feed *feed, struct mr_error *err)
{
    uint8_t trailer[8];
    uint64_t at = feed->offset - g->n_left;
    uint32_t crc, length;
    enum mr_status status;

    memcpy(trailer, g->left, g->n_left);
    status =
        take(g, feed, trailer + g->n_left, sizeof trailer - g->n_left, err);

    if (status != MR_OK)
        return status;
    crc = mr_get_u32(trailer);
    length = mr_get_u32(trailer + 4);
    if (crc != g->crc)
        return mr_fail(err, MR_CHECKSUM, at, ADVICE,
            "wrong checksum of the gzip member: %08" PRIx32
            " stored, %08" PRIx32 " computed",
            crc, g->crc);
    if (length != (uint32_t)g->out_bytes)
        return mr_fail(err, MR_CHECKSUM, at + 4, ADVICE,
            "wrong length of the gzip member: %" PRIu32 " stored, %" PRIu32
            " unpacked (modulo 2^32)",
            length, (uint32_t)g->out_bytes);
    g->at = AT_MEMBER;
    return MR_OK;
}

static enum mr_status gzip_read(struct mr_filter *filter, struct mr_feed *feed,
    uint8_t *out, size_t cap, size_t *n_out, struct mr_error *err)
{
    struct gzip *g = (struct gzip *)filter;
    enum mr_status status = MR_OK;
    size_t done = 0, n = 0;

    while (status == MR_OK && done < cap && g->at != AT_END) {
        switch (g->at) {
        case AT_MEMBER:
            status = begin_member(g, feed, err);
            break;
        case IN_BODY:
            status = inflate_some(g, feed, out + done, cap - done, &n, err);
            if (status == MR_OK)
                done += n;
            break;
        case AT_TRAILER:
            status = check_trailer(g, feed, err);
            break;
        case AT_END:
            break;
        }
    }
    *n_out = done;
    return status;
}

/* An inflater holds some 100 KB of tables and window, which to clear or to
 * map for each small file costs as much as unpacking it. */
static struct mr_spares spare_filters;

static void release(void *spare)
{
    struct gzip *g = spare;

    inflater_release(&g->inflater);
    free(g);
}

void mr_gzip_release_spares(void)
{
    mr_spares_release(&spare_filters, release);
}

static void gzip_free(struct mr_filter *filter)
{
    struct gzip *g = mr_spares_give(&spare_filters, filter);

    if (g != NULL)
        release(g);
}

/* One with its inflater as new. */
static struct gzip *gzip_take(void)
{
    struct gzip *g = mr_spares_take(&spare_filters);

    if (g != NULL) {
        inflater_reset(&g->inflater);
        return g;
    }
    g = calloc(1, sizeof *g);
    if (g != NULL && !inflater_init(&g->inflater)) {
        free(g);
        g = NULL;
    }
    return g;
}

enum mr_status mr_gzip_new(struct mr_filter **filter_out, struct mr_error *err)
{
    struct gzip *g = gzip_take();

    if (g == NULL)
        return mr_fail_nomem(err);
    g->filter.read = gzip_read;
    g->filter.free = gzip_free;
    g->at = AT_MEMBER;
    g->begun = false;
    g->n_left = 0;
    *filter_out = &g->filter;
    return MR_OK;
}
