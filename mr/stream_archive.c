#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"

#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/text.h"

/*
 * Members of tar and zip, by libarchive, of which only the one reader that
 * is needed is switched on.  It gets the archive's bytes from us: straight
 * from a mapped file, in which a zip's directory can be found by seeking, or
 * from the stream the archive is in (a pipe, a packed tar).  A member's
 * bytes come back as the feed of a stream of its own, which tells the
 * member's packing as that of any file.
 *
 * libarchive takes a tar that simply stops between two members for a whole
 * one, and does not look behind the end mark.  Either would lose events in
 * silence, so the end is checked here: the mark, a block of zeros, must be
 * there, and nothing but zeros may follow it.
 *
 * Of a zip that stops between two members it does not say what is wrong, and
 * of several in one file it reads one: the last if it can seek, else the first.
 * So a zip's end mark is looked for, too.  It tells where the directory is,
 * whose end must be where the mark begins (APPNOTE.TXT 4.3.16).  Where that is
 * not so a mapped file is read from its start, as a pipe is, to the same end.
 * And it tells of how many members: over what is no header, be it one that was
 * damaged, libarchive goes on to the next without a word.
 */

#define BLOCK_BYTES ((size_t)256 << 10)
#define TAR_BLOCK 512
#define ADVICE "fetch it again and rerun"
#define ONE_ARCHIVE "unpack it, or pack it as one archive"

/* A zip's end mark, with the longest comment behind it, and the two records
 * of large archives that stand right before it. */
#define ZIP_MARK 22
#define ZIP_LARGE (56 + 20)
#define ZIP_TAIL (ZIP_LARGE + ZIP_MARK + 65535)

struct mr_archive {
    struct archive *reader;
    struct mr_stream *outer;
    bool is_tar;
    bool broken;        /* nothing more can be read */
    uint64_t n_members; /* met so far, folders and what is skipped included */
    locale_t utf8;

    /* Below: how libarchive is given its bytes. */
    struct mr_span whole; /* of a mapped archive, else empty */
    uint64_t at;          /* of the next byte to give */
    uint64_t nonzero_end; /* behind the last byte given that is not zero */
    uint8_t *buffer;      /* for blocks of an archive that is not mapped */
    uint8_t *tail;        /* of such a zip: its last bytes so far */
    size_t tail_n;
    enum mr_status input_status; /* a failure below libarchive, kept here */
    struct mr_error input_error;

    /* The member at hand: own, or NULL at the end. */
    struct archive_entry *entry, *own;
    struct mr_span block;  /* from libarchive, not yet given */
    uint64_t block_offset; /* where in the member it belongs */
    uint64_t given;        /* bytes of the member */
    uint64_t begun_at;     /* bytes of the archive before its data */
    bool member_ended;
};

static const uint8_t zeros[32 << 10];

static void keep_tail(struct mr_archive *a, struct mr_span span)
{
    size_t n = span.n < ZIP_TAIL ? span.n : ZIP_TAIL;
    size_t kept = a->tail_n < ZIP_TAIL - n ? a->tail_n : ZIP_TAIL - n;

    if (n == 0)
        return;
    memmove(a->tail, a->tail + a->tail_n - kept, kept);
    memcpy(a->tail + kept, span.p + span.n - n, n);
    a->tail_n = kept + n;
}

static struct mr_span next_block(struct mr_archive *a)
{
    struct mr_span span = {NULL, 0};

    if (a->whole.p != NULL && a->at < a->whole.n)
        span = (struct mr_span){a->whole.p + a->at, a->whole.n - a->at};
    /* libarchive counts a block as used only when it is done with it, and
     * the limit on output must not see too few of them. */
    if (span.n > BLOCK_BYTES)
        span.n = BLOCK_BYTES;
    if (a->whole.p == NULL) {
        span.p = a->buffer;
        a->input_status = mr_stream_read(
            a->outer, a->buffer, BLOCK_BYTES, &span.n, &a->input_error);
        if (a->input_status != MR_OK)
            span.n = 0;
        if (!a->is_tar)
            keep_tail(a, span);
    }
    for (size_t i = span.n; i > 0; i--) {
        if (span.p[i - 1] != 0) {
            a->nonzero_end = a->at + i;
            break;
        }
    }
    a->at += span.n;
    return span;
}

static la_ssize_t on_read(
    struct archive *reader, void *context, const void **p_out)
{
    struct mr_archive *a = context;
    struct mr_span span = next_block(a);

    if (a->input_status != MR_OK) {
        archive_set_error(reader, EIO, "input failed");
        return ARCHIVE_FATAL;
    }
    *p_out = span.p;
    return (la_ssize_t)span.n;
}

static la_int64_t on_seek(
    struct archive *reader, void *context, la_int64_t offset, int whence)
{
    struct mr_archive *a = context;
    la_int64_t base = 0;

    (void)reader;
    if (whence == SEEK_CUR)
        base = (la_int64_t)a->at;
    else if (whence == SEEK_END)
        base = (la_int64_t)a->whole.n;
    if (offset < -base || offset > (la_int64_t)a->whole.n - base)
        return ARCHIVE_FATAL;
    a->at = (uint64_t)(base + offset);
    return (la_int64_t)a->at;
}

/* The stored byte of the archive's file that has been come to. */
static uint64_t file_offset(const struct mr_archive *a)
{
    la_int64_t at;

    if (a->outer->filter != NULL)
        return a->outer->feed.offset;
    at = archive_filter_bytes(a->reader, -1);
    return at >= 0 ? (uint64_t)at : MR_NOWHERE;
}

/* Of a zip's last bytes: where its end mark begins, p.n for nowhere.  A comment
 * that has the same bytes is not taken for it where another one fits. */
static size_t find_zip_mark(struct mr_span tail)
{
    size_t found = tail.n;

    for (size_t i = tail.n < ZIP_MARK ? 0 : tail.n - ZIP_MARK + 1; i-- > 0;) {
        const uint8_t *p = tail.p + i;

        if (memcmp(p, "PK\5\6", 4) != 0)
            continue;
        if (i + ZIP_MARK + mr_get_u16(p + 20) == tail.n)
            return i;
        if (found == tail.n && i + ZIP_MARK + mr_get_u16(p + 20) < tail.n)
            found = i;
    }
    return found;
}

/* How many bytes of the file come before the archive whose end mark stands at
 * tail.p + at, which is the file's byte end. */
static uint64_t bytes_before_zip(struct mr_span tail, size_t at, uint64_t end)
{
    const uint8_t *p = tail.p + at;
    uint64_t directory = (uint64_t)mr_get_u32(p + 12) + mr_get_u32(p + 16);

    if (at >= ZIP_LARGE && memcmp(p - 20, "PK\6\7", 4) == 0) {
        p -= ZIP_LARGE;
        directory = mr_get_u64(p + 40) + mr_get_u64(p + 48);
        end -= ZIP_LARGE;
        if (memcmp(p, "PK\6\6", 4) != 0 || directory > end)
            return 0;
        return end - directory;
    }
    /* Some that are larger than 4 GiB have offsets that are cut to 32 bits. */
    return (uint32_t)(end - directory);
}

static enum mr_status fail_without_mark(
    const struct mr_archive *a, uint64_t offset, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, offset, ADVICE,
        "truncated %s archive: its end mark is missing",
        a->is_tar ? "tar" : "zip");
}

static uint64_t zip_size(const struct mr_archive *a)
{
    return a->whole.p != NULL ? a->whole.n : a->at;
}

/* A zip's last bytes, once all of it has been read. */
static struct mr_span zip_tail(const struct mr_archive *a)
{
    struct mr_span tail = {a->tail, a->tail_n};

    if (a->whole.p != NULL) {
        tail.n = a->whole.n < ZIP_TAIL ? a->whole.n : ZIP_TAIL;
        tail.p = a->whole.p + a->whole.n - tail.n;
    }
    return tail;
}

/* Likewise. */
static enum mr_status check_zip_end(
    const struct mr_archive *a, struct mr_error *err)
{
    uint64_t size = zip_size(a), before, behind;
    struct mr_span tail = zip_tail(a);
    size_t at = find_zip_mark(tail);

    if (at == tail.n)
        return fail_without_mark(a, size, err);
    before = bytes_before_zip(tail, at, size - (tail.n - at));
    if (before > 0)
        return mr_fail(err, MR_FORMAT, before, ONE_ARCHIVE,
            "data before the zip archive that begins there");
    behind = at + ZIP_MARK + mr_get_u16(tail.p + at + 20);
    for (size_t i = behind; i < tail.n; i++)
        if (tail.p[i] != 0)
            return mr_fail(err, MR_FORMAT, size - (tail.n - behind),
                ONE_ARCHIVE, "data after the end mark of the zip archive");
    return MR_OK;
}

/* Likewise, of one whose end is right: whether all members were met.  Where
 * the number has but 16 bits it is cut to them. */
static enum mr_status check_zip_members(
    const struct mr_archive *a, struct mr_error *err)
{
    struct mr_span tail = zip_tail(a);
    size_t at = find_zip_mark(tail);
    const uint8_t *p = tail.p + at;
    uint64_t told = mr_get_u16(p + 10), met = a->n_members & UINT16_MAX;

    if (at >= ZIP_LARGE && memcmp(p - 20, "PK\6\7", 4) == 0) {
        if (memcmp(p - ZIP_LARGE, "PK\6\6", 4) != 0)
            return MR_OK; /* its record has more fields, and is elsewhere */
        told = mr_get_u64(p - ZIP_LARGE + 32);
        met = a->n_members;
    }
    if (met == told)
        return MR_OK;
    return mr_fail(err, MR_FORMAT, zip_size(a) - (tail.n - at), ADVICE,
        "the zip archive's end mark tells of %" PRIu64 " members, and %" PRIu64
        " were found",
        told, met);
}

/* Where libarchive fails without a word the archive was cut, which its end
 * tells, or memory lacks, of which it does not always say that much. */
static enum mr_status fail_wordless(struct mr_archive *a, struct mr_error *err)
{
    uint64_t end;

    while ((a->is_tar || a->whole.p == NULL) && next_block(a).n > 0)
        continue;
    if (a->input_status == MR_OK && !a->is_tar &&
        check_zip_end(a, err) != MR_OK)
        return MR_FORMAT;
    end = a->outer->filter != NULL ? a->outer->feed.offset : a->at;
    if (a->input_status == MR_OK && a->is_tar &&
        a->nonzero_end + TAR_BLOCK > a->at)
        return fail_without_mark(a, end, err);
    return mr_fail_nomem(err);
}

/* A failure of libarchive's, or below it. */
static enum mr_status fail_archive(
    struct mr_archive *a, uint64_t offset, struct mr_error *err)
{
    const char *text = archive_error_string(a->reader);

    if (a->input_status != MR_OK) {
        if (err != NULL)
            *err = a->input_error;
        return a->input_status;
    }
    if (archive_errno(a->reader) == ENOMEM)
        return mr_fail_nomem(err);
    if (text == NULL)
        return fail_wordless(a, err);
    /* Of a zip that ends too soon it tells what the decompressor said. */
    return mr_fail(err, MR_FORMAT, offset, ADVICE,
        strstr(text, "decompression failed") != NULL
            ? "%s archive: cut short or damaged: %s"
            : "%s archive: %s",
        a->is_tar ? "tar" : "zip", text);
}

/* Names are bytes here.  libarchive wants to turn those that a zip calls
 * UTF-8 into the locale's characters, which must then be UTF-8 as well. */
static locale_t utf8_locale(void)
{
    static const char *const names[] = {"C.UTF-8", "en_US.UTF-8", "UTF-8"};
    locale_t utf8 = (locale_t)0;

    for (size_t i = 0; utf8 == (locale_t)0 && i < 3; i++)
        utf8 = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
    return utf8;
}

/* Switch on the one reader and let it look at the beginning.  What is called
 * one by one here archive_read_open calls without looking whether there was
 * memory for it. */
static int open_reader(struct mr_archive *a)
{
    int result;

    if (a->is_tar)
        result = archive_read_support_format_tar(a->reader);
    else
        result = archive_read_support_format_zip(a->reader);
    if (result == ARCHIVE_OK && a->whole.p != NULL && !a->is_tar &&
        check_zip_end(a, NULL) == MR_OK)
        result = archive_read_set_seek_callback(a->reader, on_seek);
    if (result == ARCHIVE_OK)
        result = archive_read_set_read_callback(a->reader, on_read);
    if (result == ARCHIVE_OK)
        result = archive_read_set_callback_data(a->reader, a);
    return result == ARCHIVE_OK ? archive_read_open1(a->reader) : result;
}

enum mr_status mr_archive_new(struct mr_stream *outer, enum mr_stream_kind kind,
    struct mr_archive **archive_out, struct mr_error *err)
{
    struct mr_archive *a = calloc(1, sizeof *a);
    enum mr_status status;

    if (a == NULL)
        return mr_fail_nomem(err);
    a->outer = outer;
    a->is_tar = kind == MR_STREAM_TAR;
    if (outer->filter == NULL)
        a->whole = outer->whole;
    if (a->whole.p == NULL)
        a->buffer = malloc(BLOCK_BYTES + ZIP_TAIL);
    a->utf8 = utf8_locale();
    a->reader = archive_read_new();
    a->own = archive_entry_new();
    if (a->reader == NULL || a->own == NULL ||
        (a->whole.p == NULL && a->buffer == NULL)) {
        mr_archive_free(a);
        return mr_fail_nomem(err);
    }
    if (a->buffer != NULL)
        a->tail = a->buffer + BLOCK_BYTES;
    /* Members count by their own bytes, not by the archive's. */
    mr_digester_free(outer->feed.digester);
    outer->feed.digester = NULL;
    if (open_reader(a) != ARCHIVE_OK) {
        status = fail_archive(a, MR_NOWHERE, err);
        mr_archive_free(a);
        return status;
    }
    *archive_out = a;
    return MR_OK;
}

void mr_archive_free(struct mr_archive *archive)
{
    if (archive == NULL)
        return;
    if (archive->reader != NULL)
        archive_read_free(archive->reader);
    archive_entry_free(archive->own);
    if (archive->utf8 != (locale_t)0)
        freelocale(archive->utf8);
    free(archive->buffer);
    free(archive);
}

/* Read on where libarchive has stopped, so that everything stored has been
 * verified, and check how the archive ends. */
static enum mr_status check_end(struct mr_archive *a, struct mr_error *err)
{
    uint64_t mark = (uint64_t)archive_read_header_position(a->reader);

    while ((a->is_tar || a->whole.p == NULL) && next_block(a).n > 0)
        ;
    if (a->input_status != MR_OK)
        return fail_archive(a, MR_NOWHERE, err);
    if (!a->is_tar)
        return check_zip_end(a, err) != MR_OK ? MR_FORMAT
                                              : check_zip_members(a, err);
    if (a->at < mark + TAR_BLOCK)
        return fail_without_mark(a, file_offset(a), err);
    if (a->nonzero_end > mark)
        return mr_fail(err, MR_FORMAT, file_offset(a), ONE_ARCHIVE,
            "data after the end mark of the tar archive");
    return MR_OK;
}

/* Whether a walk over the unpacked archive would pass by this path.  States
 * lie beside the files that they were made of. */
static bool is_hidden(const char *path)
{
    return mr_text_ends(path, MR_STATE_SUFFIX) || mr_text_is_hidden(path);
}

/* Take the next component off a path, which is none of "."; n = 0 at its end.
 */
static struct mr_span take_component(const char **path)
{
    struct mr_span part;

    do {
        *path += strspn(*path, "/");
        part = (struct mr_span){(const uint8_t *)*path, strcspn(*path, "/")};
        *path += part.n;
    } while (part.n == 1 && part.p[0] == '.');
    return part;
}

/* The name of a member, without "." components and needless slashes. */
static enum mr_status member_name(
    const struct mr_archive *a, const char *path, struct mr_buffer *name_out)
{
    struct mr_buffer whole = {0};
    const char *archive = mr_stream_name(a->outer);
    enum mr_status status = mr_buffer_add(&whole, archive, strlen(archive));
    struct mr_span part;

    while (status == MR_OK && (part = take_component(&path)).n > 0) {
        status = mr_buffer_add(&whole, "/", 1);
        if (status == MR_OK)
            status = mr_buffer_add(&whole, part.p, part.n);
    }
    if (status == MR_OK)
        status = mr_buffer_add(&whole, "", 1);
    if (status == MR_OK)
        status = mr_path_name((const char *)whole.p, 0, name_out);
    if (status == MR_OK)
        status = mr_buffer_add(name_out, "", 1);
    mr_buffer_release(&whole);
    return status;
}

static int read_header(struct mr_archive *a)
{
    locale_t before = (locale_t)0;
    int result;

    if (a->utf8 != (locale_t)0)
        before = uselocale(a->utf8);
    /* Into an entry of ours: it may have found no memory for its own, and
     * does not look. */
    result = archive_read_next_header2(a->reader, a->own);
    a->entry = a->own;
    if (a->utf8 != (locale_t)0)
        uselocale(before);
    return result;
}

static const char *entry_path(struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);

    return path != NULL ? path : archive_entry_pathname_utf8(entry);
}

/* Whether a member would have a name other than the archive's own, under which
 * it would stand for all of it. */
static bool has_name(const char *path)
{
    return path != NULL && take_component(&path).n > 0;
}

/* Whether the member that was come to begins before the end of the one before:
 * of a few bytes that all have a zip could unpack to any number. */
static bool overlaps(const struct mr_archive *a)
{
    return archive_filter_bytes(a->reader, -1) <
           archive_read_header_position(a->reader);
}

/* Step to the next member that is a partition; entry is NULL at the end. */
static enum mr_status next_entry(struct mr_archive *a, struct mr_error *err)
{
    for (;;) {
        int result = read_header(a);

        if (result == ARCHIVE_EOF) {
            a->entry = NULL;
            return check_end(a, err);
        }
        /* A warning is about a name or an attribute. */
        if ((result != ARCHIVE_OK && result != ARCHIVE_WARN) ||
            (result == ARCHIVE_WARN && archive_errno(a->reader) == ENOMEM))
            return fail_archive(a, file_offset(a), err);
        a->n_members++;
        if (overlaps(a))
            return mr_fail(err, MR_FORMAT, file_offset(a), ADVICE,
                "the members of the archive overlap");
        if (archive_entry_filetype(a->entry) != AE_IFREG ||
            archive_entry_hardlink(a->entry) != NULL)
            continue;
        if (!has_name(entry_path(a->entry)))
            return mr_fail(err, MR_FORMAT, file_offset(a),
                "unpack it, and pack it again",
                "a member of the archive has no name, or not the UTF-8 one "
                "that it says");
        if (!is_hidden(entry_path(a->entry)))
            return MR_OK;
    }
}

/* The next block of the member's data; at its end member_ended is set. */
static enum mr_status read_block(struct mr_archive *a, struct mr_error *err)
{
    const void *p = NULL;
    size_t n = 0;
    la_int64_t offset = 0;
    int result = archive_read_data_block(a->reader, &p, &n, &offset);

    if (result == ARCHIVE_EOF) {
        a->member_ended = true;
        return MR_OK;
    }
    if (result == ARCHIVE_FATAL)
        a->broken = true;
    /* A warning is about damage too: a wrong checksum, a wrong size. */
    if (result != ARCHIVE_OK)
        return fail_archive(a, a->given, err);
    if (offset < 0 || (n > 0 && (uint64_t)offset < a->given))
        return mr_fail(err, MR_FORMAT, a->given, ADVICE,
            "overlapping data in the archive member");
    a->block = (struct mr_span){p, n};
    a->block_offset = (uint64_t)offset;
    return MR_OK;
}

/* Zeros stand for what a sparse member leaves out. */
static struct mr_span hole(uint64_t n)
{
    return (struct mr_span){zeros, n < sizeof zeros ? (size_t)n : sizeof zeros};
}

static enum mr_status pull_member(
    void *context, struct mr_span *span_out, struct mr_error *err)
{
    struct mr_archive *a = context;
    struct mr_span span = {NULL, 0};
    uint64_t stored;

    while (a->block.n == 0 && !a->member_ended) {
        enum mr_status status = read_block(a, err);

        if (status != MR_OK)
            return status;
    }
    if (a->block.n > 0 && a->block_offset > a->given) {
        span = hole(a->block_offset - a->given);
    } else if (a->block.n > 0) {
        span = a->block;
        a->block.n = 0;
    } else if (a->is_tar && archive_entry_size_is_set(a->entry) &&
               (uint64_t)archive_entry_size(a->entry) > a->given) {
        span = hole((uint64_t)archive_entry_size(a->entry) - a->given);
    }
    a->given += span.n;
    *span_out = span;
    stored = (uint64_t)archive_filter_bytes(a->reader, -1) - a->begun_at;
    return mr_stream_check_ratio(a->given, stored, err);
}

/* Tell the member's packing.  What is wrong with it is said when it is read,
 * because the other members are none the worse for it. */
static enum mr_status begin_member(
    struct mr_archive *a, struct mr_stream *stream, struct mr_error *err)
{
    struct mr_error why;
    enum mr_stream_kind kind;
    enum mr_status status;

    if (archive_entry_is_encrypted(a->entry)) {
        status = mr_fail(&why, MR_FORMAT, 0, "unpack it with its password",
            "the archive member is encrypted");
    } else {
        status = mr_stream_begin(stream, &kind, &why);
        if (status == MR_OK && (kind == MR_STREAM_TAR || kind == MR_STREAM_ZIP))
            status = mr_fail(&why, MR_FORMAT, 0, "unpack it first",
                "archives inside archives are not read");
    }
    if (status == MR_OK)
        return MR_OK;
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (mr_stream_set_failure(stream, &why) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

enum mr_status mr_archive_next(struct mr_archive *archive,
    struct mr_stream **stream_out, struct mr_error *err)
{
    struct mr_buffer name = {0};
    struct mr_stream *stream = NULL;
    enum mr_status status;

    if (archive->broken)
        return fail_archive(archive, file_offset(archive), err);
    status = next_entry(archive, err);
    if (status != MR_OK || archive->entry == NULL) {
        if (status == MR_OK)
            *stream_out = NULL;
        return status;
    }
    archive->block.n = 0;
    archive->given = 0;
    archive->begun_at = (uint64_t)archive_filter_bytes(archive->reader, -1);
    archive->member_ended = false;
    if (member_name(archive, entry_path(archive->entry), &name) != MR_OK)
        status = mr_fail_nomem(err);
    else
        status = mr_stream_new(
            (const char *)name.p, pull_member, archive, &stream, err);
    mr_buffer_release(&name);
    if (status == MR_OK)
        status = begin_member(archive, stream, err);
    if (status == MR_OK)
        *stream_out = stream;
    else
        mr_stream_close(stream);
    return status;
}
