#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream.h"

#include <inttypes.h>
#include <stdlib.h>

#include "mr/stream_private.h"

/*
 * The kind of an input is told by its first bytes, and that of a packed one
 * once more by the first 512 unpacked, because a tar may be inside.  Those
 * 512 are kept and handed out first, or only looked at where the filter has
 * them ready: so it works the same for a pipe, which cannot be rewound, and
 * for a mapped file.  An archive is read from the unpacked bytes of its stream;
 * libarchive never sees gzip or zstd, and a damaged tar.gz gives the same
 * messages as any damaged gz.
 *
 * The digest of the stored bytes is made as they are consumed: an inflater
 * reads them so slowly that the processor fetches them meanwhile, and finds
 * them in its cache the second time.
 */

struct mr_container {
    struct mr_source *source;
    struct mr_stream *stream;   /* the only one, or what an archive is in */
    struct mr_archive *archive; /* NULL: no archive */
    bool given;                 /* the only stream has been handed out */
    char subject[];
};

enum mr_status mr_feed_peek(
    struct mr_feed *feed, size_t n, struct mr_error *err)
{
    struct mr_span piece;
    enum mr_status status;

    while (feed->rest.n < n && !feed->ended) {
        struct mr_buffer *carry = &feed->carry;
        bool join = feed->rest.n > 0 && !feed->stable;

        /* A pull takes the memory of the piece before. */
        if (join && carry->n > 0)
            memmove(carry->p, feed->rest.p, feed->rest.n);
        if (join && carry->n == 0 &&
            mr_buffer_add(carry, feed->rest.p, feed->rest.n) != MR_OK)
            return mr_fail_nomem(err);
        carry->n = join ? feed->rest.n : 0;
        if (join)
            feed->rest.p = carry->p;
        status = feed->pull(feed->context, &piece, err);
        if (status != MR_OK)
            return status;
        feed->ended = piece.n == 0;
        if (join && mr_buffer_add(carry, piece.p, piece.n) != MR_OK)
            return mr_fail_nomem(err);
        if (join)
            feed->rest = (struct mr_span){carry->p, carry->n};
        else if (feed->rest.n > 0)
            feed->rest.n += piece.n;
        else
            feed->rest = piece;
    }
    return MR_OK;
}

void mr_feed_consume(struct mr_feed *feed, size_t n)
{
    if (n == 0)
        return; /* rest.p may be NULL */
    if (feed->digester != NULL)
        mr_digester_add(feed->digester, feed->rest.p, n);
    feed->rest.p += n;
    feed->rest.n -= n;
    feed->offset += n;
}

/* Formats that are known and not read.  None of these beginnings can begin a
 * JSON text. */
static const struct unread {
    size_t at;
    const char *magic;
    size_t n;
    const char *what;
    const char *advice;
} unread_formats[] = {
    {4, "1AY&SY", 6, "bzip2 data",
        "unpack it with bzip2 -d, or repack it with zstd"},
    {0,
        "\xFD"
        "7zXZ",
        6, "xz data", "unpack it with xz -d, or repack it with zstd"},
    {0, "LZIP", 4, "lzip data", "unpack it with lzip -d"},
    {0, "\x04\x22\x4D\x18", 4, "lz4 data",
        "unpack it with lz4 -d, or repack it with zstd"},
    {0, "\x02\x21\x4C\x18", 4, "lz4 data",
        "unpack it with lz4 -d, or repack it with zstd"},
    {0, "\x89LZO", 4, "lzop data", "unpack it with lzop -d"},
    {0,
        "\xFF\x06\0\0"
        "sNaPpY",
        10, "snappy data", "unpack it, or repack it with zstd"},
    {0, "\x1F\x9D", 2, "compress (.Z) data", "unpack it with gzip -d"},
    {1, "\xB5\x2F\xFD", 3, "zstd data of a version before 0.8",
        "unpack it with a zstd built for old formats"},
    {0, "7z\xBC\xAF\x27\x1C", 6, "a 7z archive", "unpack it with 7z x"},
    {0, "Rar!\x1A\x07", 6, "a rar archive", "unpack it with unrar x"},
    {0, "PAR1", 4, "Parquet", "export it as JSON Lines"},
    {0, "PARE", 4, "encrypted Parquet", "export it as JSON Lines"},
    {0, "ORC", 3, "ORC", "export it as JSON Lines"},
    {0, "Obj\x01", 4, "Avro", "export it as JSON Lines"},
    {0, "ARROW1", 6, "Arrow data", "export it as JSON Lines"},
    {0, "\xFF\xFE\0\0", 4, "UTF-32 text",
        "convert it with iconv -f UTF-32 -t UTF-8"},
    {0, "\0\0\xFE\xFF", 4, "UTF-32 text",
        "convert it with iconv -f UTF-32 -t UTF-8"},
    {0, "\xFF\xFE", 2, "UTF-16 text",
        "convert it with iconv -f UTF-16 -t UTF-8"},
    {0, "\xFE\xFF", 2, "UTF-16 text",
        "convert it with iconv -f UTF-16 -t UTF-8"},
};

/* POSIX pax, "ustar Interchange Format": the checksum of a header is the sum
 * of its bytes, its own field counted as blanks, written in octal. */
static bool is_tar_header(const uint8_t *p)
{
    unsigned long stated = 0, sum = 8 * ' ';
    size_t i = 148;

    if (memcmp(p + 257, "ustar\0", 6) == 0 ||
        memcmp(p + 257, "ustar  \0", 8) == 0)
        return true;
    while (i < 156 && p[i] == ' ')
        i++;
    if (i == 156 || p[i] < '0' || p[i] > '7')
        return false;
    for (; i < 156 && p[i] >= '0' && p[i] <= '7'; i++)
        stated = stated * 8 + (p[i] - '0');
    for (i = 0; i < MR_STREAM_HEAD; i++)
        sum += i >= 148 && i < 156 ? 0 : p[i];
    return sum == stated;
}

/* Tell the kind of a beginning; unread_out is not NULL for one that is known
 * and not read. */
static enum mr_stream_kind bid(
    const uint8_t *p, size_t n, const struct unread **unread_out)
{
    *unread_out = NULL;
    if (n >= 2 && memcmp(p, "\x1F\x8B", 2) == 0)
        return MR_STREAM_GZIP;
    if (n >= 4 &&
        (memcmp(p, "\x28\xB5\x2F\xFD", 4) == 0 ||
            ((p[0] & 0xF0) == 0x50 && memcmp(p + 1, "\x2A\x4D\x18", 3) == 0)))
        return MR_STREAM_ZSTD;
    if (n >= 4 &&
        (memcmp(p, "PK\x03\x04", 4) == 0 || memcmp(p, "PK\x05\x06", 4) == 0))
        return MR_STREAM_ZIP;
    if (n >= MR_STREAM_HEAD && is_tar_header(p))
        return MR_STREAM_TAR;
    for (size_t i = 0; i < sizeof unread_formats / sizeof *unread_formats;
         i++) {
        const struct unread *u = &unread_formats[i];

        if (n >= u->at + u->n && memcmp(p + u->at, u->magic, u->n) == 0) {
            *unread_out = u;
            break;
        }
    }
    return MR_STREAM_PLAIN;
}

enum mr_status mr_stream_check_ratio(
    uint64_t out_bytes, uint64_t in_bytes, struct mr_error *err)
{
    if (out_bytes <= MR_STREAM_FREE_BYTES ||
        out_bytes / MR_STREAM_MAX_RATIO <= in_bytes)
        return MR_OK;
    /* The counts at hand depend on how much was asked for at a time; the
     * limits do not, and the text goes into a state. */
    return mr_fail(err, MR_LIMIT, MR_NOWHERE,
        "if it is what it should be, unpack it first",
        "unpacks to more than %" PRIu64
        " MiB and to more than %d bytes for each stored byte",
        MR_STREAM_FREE_BYTES >> 20, MR_STREAM_MAX_RATIO);
}

enum mr_status mr_stream_new(const char *name, mr_pull pull, void *context,
    struct mr_stream **stream_out, struct mr_error *err)
{
    size_t n = strlen(name) + 1;
    struct mr_stream *stream = calloc(1, sizeof *stream + n);

    if (stream == NULL)
        return mr_fail_nomem(err);
    memcpy(stream->name, name, n);
    stream->subject = stream->name;
    stream->feed.pull = pull;
    stream->feed.context = context;
    stream->feed.digester = mr_digester_new();
    if (stream->feed.digester == NULL) {
        mr_stream_close(stream);
        return mr_fail_nomem(err);
    }
    *stream_out = stream;
    return MR_OK;
}

/* Count what the filter has given. */
static enum mr_status count_out(
    struct mr_stream *stream, size_t n, struct mr_error *err)
{
    stream->out_bytes += n;
    return mr_stream_check_ratio(
        stream->out_bytes, stream->feed.offset - stream->feed.start, err);
}

/* Have something ready, unless it is the end. */
static enum mr_status make_ready(struct mr_stream *stream, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (stream->ready.n > 0)
        return MR_OK;
    status = stream->filter->next(
        stream->filter, &stream->feed, &stream->ready, err);
    return status != MR_OK ? status : count_out(stream, stream->ready.n, err);
}

/* Take at most max bytes of what is ready. */
static struct mr_span take_ready(struct mr_stream *stream, size_t max)
{
    struct mr_span span = stream->ready;

    if (span.n > max)
        span.n = max;
    if (span.n == 0)
        return span; /* ready.p may be NULL */
    stream->arena = stream->filter->arena;
    stream->ready.p += span.n;
    stream->ready.n -= span.n;
    return span;
}

static enum mr_status read_packed(struct mr_stream *stream, uint8_t *out,
    size_t cap, size_t *n_out, struct mr_error *err)
{
    enum mr_status status;
    struct mr_span span;

    if (stream->filter->read != NULL) {
        status = stream->filter->read(
            stream->filter, &stream->feed, out, cap, n_out, err);
        return status != MR_OK ? status : count_out(stream, *n_out, err);
    }
    status = make_ready(stream, err);
    if (status != MR_OK)
        return status;
    span = take_ready(stream, cap);
    if (span.n > 0)
        memcpy(out, span.p, span.n);
    *n_out = span.n;
    return MR_OK;
}

/* Unpack the head: if there is no more to it, only look at it where it is
 * ready. */
static enum mr_status unpack_head(
    struct mr_stream *stream, struct mr_span *head_out, struct mr_error *err)
{
    enum mr_status status;
    size_t n;

    if (stream->filter->next != NULL) {
        status = make_ready(stream, err);
        if (status != MR_OK)
            return status;
        *head_out = (struct mr_span){stream->ready.p, MR_STREAM_HEAD};
        if (stream->ready.n >= MR_STREAM_HEAD)
            return MR_OK;
    }
    do {
        status = read_packed(stream, stream->head + stream->head_n,
            MR_STREAM_HEAD - stream->head_n, &n, err);
        if (status != MR_OK)
            return status;
        stream->head_n += n;
    } while (n > 0 && stream->head_n < MR_STREAM_HEAD);
    *head_out = (struct mr_span){stream->head, stream->head_n};
    return MR_OK;
}

/* Look for what may not, or may, be inside. */
static enum mr_status look_inside(struct mr_stream *stream,
    enum mr_stream_kind outside, enum mr_stream_kind *kind_out,
    struct mr_error *err)
{
    static const char *const names[] = {[MR_STREAM_GZIP] = "gzip data",
        [MR_STREAM_ZSTD] = "zstd data",
        [MR_STREAM_ZIP] = "a zip archive"};
    const char *packing = outside == MR_STREAM_GZIP ? "gzip" : "zstd";
    const struct unread *unread;
    enum mr_stream_kind inside;
    struct mr_span head;
    enum mr_status status = unpack_head(stream, &head, err);

    if (status != MR_OK)
        return status;
    inside = bid(head.p, head.n, &unread);
    if (unread != NULL)
        return mr_fail(err, MR_FORMAT, 0, unread->advice,
            "%s inside %s is not read", unread->what, packing);
    if (inside != MR_STREAM_PLAIN && inside != MR_STREAM_TAR)
        return mr_fail(err, MR_FORMAT, 0, "unpack it once and rerun",
            "%s inside %s is not read", names[inside], packing);
    *kind_out = inside == MR_STREAM_TAR ? inside : outside;
    return MR_OK;
}

enum mr_status mr_stream_begin(struct mr_stream *stream,
    enum mr_stream_kind *kind_out, struct mr_error *err)
{
    const struct unread *unread;
    enum mr_stream_kind kind;
    enum mr_status status;

    status = mr_feed_peek(&stream->feed, MR_STREAM_HEAD, err);
    if (status != MR_OK)
        return status;
    kind = bid(stream->feed.rest.p, stream->feed.rest.n, &unread);
    if (unread != NULL)
        return mr_fail(
            err, MR_FORMAT, 0, unread->advice, "%s is not read", unread->what);
    if (kind == MR_STREAM_GZIP)
        status = mr_gzip_new(&stream->filter, err);
    else if (kind == MR_STREAM_ZSTD)
        status = mr_zstd_new(&stream->filter, err);
    if (status == MR_OK && stream->filter != NULL)
        status = look_inside(stream, kind, &kind, err);
    if (status == MR_OK)
        *kind_out = kind;
    return status;
}

enum mr_status mr_stream_set_failure(
    struct mr_stream *stream, const struct mr_error *err)
{
    stream->failure = malloc(sizeof *stream->failure);
    if (stream->failure == NULL)
        return MR_NOMEM;
    *stream->failure = *err;
    return MR_OK;
}

static enum mr_status pull_source(
    void *context, struct mr_span *span_out, struct mr_error *err)
{
    return mr_source_read(context, span_out, err);
}

/* Tell the kind of what container->source holds, and prepare for it. */
static enum mr_status begin_container(
    struct mr_container *container, const char *name, struct mr_error *err)
{
    struct mr_span whole = mr_source_whole(container->source);
    struct mr_stream *stream;
    enum mr_stream_kind kind;
    enum mr_status status;

    status = mr_stream_new(
        name, pull_source, container->source, &container->stream, err);
    if (status != MR_OK)
        return status;
    stream = container->stream;
    stream->subject = container->subject;
    stream->whole = whole;
    stream->feed.stable = whole.p != NULL;
    status = mr_stream_begin(stream, &kind, err);
    if (status != MR_OK)
        return status;
    if (kind == MR_STREAM_TAR || kind == MR_STREAM_ZIP)
        return mr_archive_new(stream, kind, &container->archive, err);
    stream->in_place =
        kind == MR_STREAM_ZSTD || (kind == MR_STREAM_PLAIN && whole.p != NULL);
    stream->is_split =
        kind == MR_STREAM_ZSTD && whole.p != NULL && mr_zstd_is_split(whole);
    return MR_OK;
}

static struct mr_container *container_new(const char *subject)
{
    size_t n = strlen(subject) + 1;
    struct mr_container *container = calloc(1, sizeof *container + n);

    if (container != NULL)
        memcpy(container->subject, subject, n);
    return container;
}

/* The reason for a failure is often that the file was changed meanwhile:
 * then say that instead. */
static enum mr_status close_failed(
    struct mr_container *container, enum mr_status status, struct mr_error *err)
{
    enum mr_status closed =
        mr_container_close(container, status == MR_NOMEM ? NULL : err);

    return closed != MR_OK && status != MR_NOMEM ? closed : status;
}

enum mr_status mr_container_open(const struct mr_input *input,
    struct mr_container **container_out, struct mr_error *err)
{
    struct mr_container *container = container_new(input->path);
    enum mr_status status;

    if (container == NULL)
        return mr_fail_nomem(err);
    status = mr_source_open(input->path, &container->source, err);
    if (status == MR_OK)
        status = begin_container(container, input->name, err);
    if (status != MR_OK) {
        status = close_failed(container, status, err);
        mr_error_subject(err, "cannot read", input->path);
        return status;
    }
    *container_out = container;
    return MR_OK;
}

enum mr_status mr_container_open_memory(const void *p, size_t n, size_t piece,
    struct mr_container **container_out, struct mr_error *err)
{
    struct mr_container *container = container_new("memory");
    enum mr_status status;

    if (container == NULL)
        return mr_fail_nomem(err);
    status = mr_source_open_memory(p, n, piece, &container->source, err);
    if (status == MR_OK)
        status = begin_container(container, "memory", err);
    if (status != MR_OK) {
        (void)mr_container_close(container, NULL);
        mr_error_subject(err, "cannot read", "memory");
        return status;
    }
    *container_out = container;
    return MR_OK;
}

enum mr_status mr_container_next(struct mr_container *container,
    struct mr_stream **stream_out, struct mr_error *err)
{
    enum mr_status status;

    if (container->archive != NULL) {
        status = mr_archive_next(container->archive, stream_out, err);
        if (status != MR_OK)
            mr_error_subject(err, "cannot read", container->subject);
        return status;
    }
    *stream_out = container->given ? NULL : container->stream;
    container->stream = container->given ? container->stream : NULL;
    container->given = true;
    return MR_OK;
}

bool mr_container_is_archive(const struct mr_container *container)
{
    return container->archive != NULL;
}

enum mr_status mr_container_close(
    struct mr_container *container, struct mr_error *err)
{
    enum mr_status status;

    if (container == NULL)
        return MR_OK;
    mr_archive_free(container->archive);
    mr_stream_close(container->stream);
    status = mr_source_close(container->source, err);
    if (status != MR_OK)
        mr_error_subject(err, "cannot read", container->subject);
    free(container);
    return status;
}

const char *mr_stream_name(const struct mr_stream *stream)
{
    return stream->name;
}

static enum mr_status read_plain(struct mr_stream *stream, uint8_t *out,
    size_t cap, size_t *n_out, struct mr_error *err)
{
    struct mr_feed *feed = &stream->feed;
    size_t done = 0;

    while (done < cap) {
        enum mr_status status = mr_feed_peek(feed, 1, err);
        size_t n = feed->rest.n < cap - done ? feed->rest.n : cap - done;

        if (status != MR_OK)
            return status;
        if (n == 0)
            break;
        memcpy(out + done, feed->rest.p, n);
        mr_feed_consume(feed, n);
        done += n;
    }
    *n_out = done;
    return MR_OK;
}

/* A part's filter is made by who reads it: many may wait to be read, and a
 * context has much memory. */
static enum mr_status have_filter(
    struct mr_stream *stream, struct mr_error *err)
{
    if (stream->is_part && stream->filter == NULL)
        return mr_zstd_new(&stream->filter, err);
    return MR_OK;
}

/* What comes behind the stream's head. */
static enum mr_status read_on(struct mr_stream *stream, uint8_t *out,
    size_t cap, size_t *n_out, struct mr_error *err)
{
    enum mr_status status = have_filter(stream, err);

    if (status != MR_OK)
        return status;
    return stream->filter == NULL ? read_plain(stream, out, cap, n_out, err)
                                  : read_packed(stream, out, cap, n_out, err);
}

enum mr_status mr_stream_read(struct mr_stream *stream, uint8_t *out,
    size_t cap, size_t *n_out, struct mr_error *err)
{
    enum mr_status status;

    if (stream->failure != NULL) {
        if (err != NULL)
            *err = *stream->failure;
        status = stream->failure->status;
    } else if (stream->head_at < stream->head_n) {
        size_t n = stream->head_n - stream->head_at;

        *n_out = n < cap ? n : cap;
        memcpy(out, stream->head + stream->head_at, *n_out);
        stream->head_at += *n_out;
        return MR_OK;
    } else {
        status = read_on(stream, out, cap, n_out, err);
    }
    if (status != MR_OK)
        mr_error_subject(err, "cannot read", stream->subject);
    return status;
}

bool mr_stream_in_place(const struct mr_stream *stream)
{
    return stream->in_place;
}

/* Of a mapped plain file. */
static enum mr_status next_mapped(struct mr_stream *stream, size_t max,
    struct mr_span *span_out, struct mr_error *err)
{
    struct mr_feed *feed = &stream->feed;
    enum mr_status status = mr_feed_peek(feed, max, err);

    if (status != MR_OK)
        return status;
    span_out->p = feed->rest.p;
    span_out->n = feed->rest.n < max ? feed->rest.n : max;
    mr_feed_consume(feed, span_out->n);
    return MR_OK;
}

static enum mr_status next_unpacked(struct mr_stream *stream, size_t max,
    struct mr_span *span_out, struct mr_error *err)
{
    enum mr_status status;

    if (stream->head_at < stream->head_n) {
        size_t n = stream->head_n - stream->head_at;

        *span_out =
            (struct mr_span){stream->head + stream->head_at, n < max ? n : max};
        stream->head_at += span_out->n;
        stream->arena = NULL;
        return MR_OK;
    }
    status = make_ready(stream, err);
    if (status == MR_OK)
        *span_out = take_ready(stream, max);
    return status;
}

enum mr_status mr_stream_next_span(struct mr_stream *stream, size_t max,
    struct mr_span *span_out, struct mr_error *err)
{
    enum mr_status status = have_filter(stream, err);

    if (status == MR_OK)
        status = stream->filter == NULL
                     ? next_mapped(stream, max, span_out, err)
                     : next_unpacked(stream, max, span_out, err);
    if (status != MR_OK)
        mr_error_subject(err, "cannot read", stream->subject);
    return status;
}

bool mr_stream_turns(const struct mr_stream *stream)
{
    return stream->ready.n == 0 && stream->filter != NULL &&
           stream->filter->turns(stream->filter);
}

struct mr_arena *mr_stream_arena(const struct mr_stream *stream)
{
    return stream->arena;
}

bool mr_stream_is_split(const struct mr_stream *stream)
{
    return stream->is_split;
}

/* A part's frames are all one piece. */
static enum mr_status pull_part(
    void *context, struct mr_span *span_out, struct mr_error *err)
{
    struct mr_stream *part = context;

    (void)err;
    *span_out = part->whole;
    part->whole.n = 0;
    return MR_OK;
}

enum mr_status mr_stream_next_part(
    struct mr_stream *stream, struct mr_stream **part_out, struct mr_error *err)
{
    struct mr_span rest = {stream->whole.p + stream->next_part,
        stream->whole.n - stream->next_part};
    struct mr_feed *feed = &stream->feed;
    struct mr_stream *part;
    size_t name_n = strlen(stream->name) + 1;

    if (rest.n == 0) {
        *part_out = NULL;
        return MR_OK;
    }
    part = calloc(1, sizeof *part + name_n);
    if (part == NULL)
        return mr_fail_nomem(err);
    part->is_part = part->in_place = true;
    memcpy(part->name, stream->name, name_n);
    part->subject = stream->subject;
    part->whole.p = rest.p;
    part->whole.n = mr_zstd_part_bytes(rest);
    part->feed.pull = pull_part;
    part->feed.context = part;
    part->feed.start = part->feed.offset = stream->next_part;
    /* Telling the kind has digested a part of it: begin again. */
    if (stream->next_part == 0)
        mr_digester_reset(feed->digester);
    mr_digester_add(feed->digester, part->whole.p, part->whole.n);
    stream->next_part += part->whole.n;
    feed->offset = stream->next_part;
    mr_source_let_go(feed->context, stream->next_part);
    *part_out = part;
    return MR_OK;
}

struct mr_digest mr_stream_digest(const struct mr_stream *stream)
{
    struct mr_digest none = {{0}};

    if (stream->feed.digester == NULL)
        return none;
    return mr_digester_value(stream->feed.digester);
}

uint64_t mr_stream_stored_bytes(const struct mr_stream *stream)
{
    return stream->feed.offset - stream->feed.start;
}

void mr_stream_close(struct mr_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->filter != NULL)
        stream->filter->free(stream->filter);
    mr_digester_free(stream->feed.digester);
    mr_buffer_release(&stream->feed.carry);
    free(stream->failure);
    free(stream);
}

void mr_stream_release_spares(void)
{
    mr_source_release_spares();
    mr_gzip_release_spares();
    mr_zstd_release_spares();
    mr_arena_release_spares();
}
