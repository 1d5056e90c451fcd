#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "mr/lines.h"
#include "tests/unit/random.h"

/*
 * Texts with lines of all lengths around the limit and the size of a block
 * are read in every way there is: mapped in place, through a pipe, from gzip,
 * and from zstd where it is unpacked to.  Blocks in order must be the text,
 * whole lines each, and a line above the limit must be given once, in a block
 * of its own or whole within one.  The same for records of CSV, which may have
 * line feeds; and there a record must be given alone just if it cannot be held.
 */

static char folder[256];

enum way { MAPPED, PIPED, GZIP, ZSTD, WAYS };

static const char *path_of(enum way way)
{
    static char path[WAYS][300];

    /* Once, before there is a thread that asks, too. */
    if (path[way][0] == '\0')
        snprintf(path[way], sizeof path[way], "%s/%d", folder, (int)way);
    return path[way];
}

/* ---- files ---- */

struct text {
    uint8_t *p;
    size_t n, cap;
};

static void save(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void save_gzip(const char *path, const struct text *t)
{
    gzFile f = gzopen(path, "wb1");

    assert_non_null(f);
    if (t->n > 0)
        assert_int_equal(gzwrite(f, t->p, (unsigned)t->n), t->n);
    assert_int_equal(gzclose(f), Z_OK);
}

/* In frames of so many bytes, but for the last. */
static void save_zstd(const char *path, const struct text *t, size_t frame)
{
    size_t cap = ZSTD_compressBound(frame), at = 0;
    uint8_t *p = malloc(cap);
    FILE *f = fopen(path, "wb");

    assert_non_null(p);
    assert_non_null(f);
    do {
        size_t rest = t->n - at, n = rest < frame ? rest : frame;
        size_t packed = ZSTD_compress(p, cap, t->p + at, n, 1);

        assert_false(ZSTD_isError(packed));
        assert_int_equal(fwrite(p, 1, packed, f), packed);
        at += n;
    } while (at < t->n);
    assert_int_equal(fclose(f), 0);
    free(p);
}

/* Writes to the pipe until the reader has had enough. */
static void *feed_pipe(void *context)
{
    const struct text *t = context;
    FILE *f = fopen(path_of(PIPED), "wb");

    if (f != NULL) {
        (void)fwrite(t->p, 1, t->n, f);
        (void)fclose(f);
    }
    return NULL;
}

/* ---- checking ---- */

/* Lines are records of CSV. */
static const struct mr_csv_rules *csv;

struct reading {
    const struct text *text;
    uint64_t limit;
    size_t at;      /* byte of the text that comes next */
    size_t n_long;  /* lines above the limit that had a block of their own */
    size_t largest; /* block */
};

/* The end of the record that begins at a place, byte by byte; wherever quotes
 * stand, it ends with the first line feed behind more than can be held. */
static size_t record_end(const struct text *t, size_t start, uint64_t limit)
{
    enum { BEGIN, WITHIN, QUOTED, ESCAPED, CLOSED } place = BEGIN;
    uint64_t most = mr_lines_held(limit) + 1;
    size_t at = start;

    for (; at < t->n && at - start <= most; at++) {
        uint8_t c = t->p[at];

        if (place == ESCAPED ||
            (place == CLOSED && c == csv->quote && !csv->backslash))
            place = QUOTED;
        else if (place == QUOTED)
            place = c == csv->quote               ? CLOSED
                    : c == '\\' && csv->backslash ? ESCAPED
                                                  : QUOTED;
        else if (c == '\n')
            return at;
        else if (c == csv->delimiter)
            place = BEGIN;
        else if (place == BEGIN && c == csv->quote)
            place = QUOTED;
        else if (place == CLOSED && c == '\r' && at + 1 < t->n &&
                 t->p[at + 1] == '\n')
            place = CLOSED;
        else
            place = WITHIN;
    }
    while (at < t->n && t->p[at] != '\n')
        at++;
    return at;
}

/* The line end after a place, or the end. */
static size_t line_end(const struct text *t, size_t at, uint64_t limit)
{
    const uint8_t *end = at < t->n ? memchr(t->p + at, '\n', t->n - at) : NULL;

    if (csv != NULL)
        return record_end(t, at, limit);
    return end == NULL ? t->n : (size_t)(end - t->p);
}

/* Bytes of the line that begins at a place: without LF, CRLF. */
static size_t line_bytes(const struct text *t, size_t at, uint64_t limit)
{
    size_t end = line_end(t, at, limit);

    if (end < t->n && end > at && t->p[end - 1] == '\r')
        return end - at - 1;
    return end - at;
}

static void check_long(struct reading *r, const struct mr_line_block *b)
{
    size_t end = line_end(r->text, r->at, r->limit);

    assert_true(line_bytes(r->text, r->at, r->limit) > r->limit);
    assert_true(csv == NULL || end - r->at > mr_lines_held(r->limit) + 1);
    assert_true(b->text.n <= MR_LINES_LONG_KEPT);
    assert_true(b->text.n <= end - r->at);
    /* As much as is allowed. */
    assert_true(b->text.n == MR_LINES_LONG_KEPT || b->text.n == end - r->at);
    assert_int_equal(b->has_end, end < r->text->n);
    r->at = end < r->text->n ? end + 1 : end;
    r->n_long++;
}

/* The records of a block are those of the text, and each can be held. */
static void check_records(const struct reading *r, size_t to)
{
    size_t at = r->at;

    while (at < to) {
        size_t end = line_end(r->text, at, r->limit);

        assert_true(end - at <= mr_lines_held(r->limit) + 1);
        at = end + 1;
    }
    assert_true(at == to || (to == r->text->n && at == to + 1));
}

static void check_block(struct reading *r, const struct mr_line_block *b)
{
    size_t start = r->at, mark = 0;

    if (start == 0 && r->text->n >= 3 &&
        memcmp(r->text->p, "\xef\xbb\xbf", 3) == 0)
        mark = 3;
    r->at += mark;
    if (b->text.n == 0) { /* the end; a mark may have stood alone */
        assert_int_equal(r->at, r->text->n);
        assert_int_equal(b->bytes, mark);
        return;
    }
    assert_int_equal(b->offset, r->at);
    assert_true(b->text.n <= r->text->n - r->at);
    assert_memory_equal(b->text.p, r->text->p + r->at, b->text.n);
    if (b->too_long) {
        check_long(r, b);
    } else {
        if (csv != NULL)
            check_records(r, r->at + b->text.n);
        r->at += b->text.n;
        assert_true(r->at == r->text->n || r->text->p[r->at - 1] == '\n');
        if (b->text.n > r->largest)
            r->largest = b->text.n;
    }
    assert_int_equal(b->bytes, r->at - start);
}

/* Blocks that are in use at a time. */
#define IN_USE 24

struct used {
    struct mr_buffer buffer;
    struct mr_line_block block;
};

/* A block has been parsed: it must have been there until now. */
static void give_back(const struct text *t, struct used *u)
{
    const struct mr_line_block *b = &u->block;

    assert_true(memcmp(b->text.p, t->p + b->offset, b->text.n) == 0);
    mr_line_block_release(&u->block);
}

static size_t read_all(
    const struct text *t, struct mr_lines *lines, uint64_t limit)
{
    struct reading r = {.text = t, .limit = limit};
    struct used *used = calloc(IN_USE, sizeof(*used));
    unsigned n_used = 1 + (unsigned)any(IN_USE), k = 0;
    struct mr_line_block block;

    assert_non_null(used);
    do {
        /* Another buffer each time: those before may be in use. */
        k = (k + 1) % n_used;
        if (used[k].block.text.n > 0)
            give_back(t, &used[k]);
        assert_int_equal(
            mr_lines_next(lines, &used[k].buffer, &block, NULL), MR_OK);
        check_block(&r, &block);
        used[k].block = block;
    } while (block.text.n > 0);
    assert_int_equal(r.at, t->n);
    /* The end stays the end. */
    assert_int_equal(
        mr_lines_next(lines, &used[k].buffer, &block, NULL), MR_OK);
    assert_int_equal(block.text.n, 0);
    assert_int_equal(block.bytes, 0);
    /* What a block may hold follows from its size and the limit. */
    assert_true(
        r.largest <=
        2 * (size_t)(limit > MR_LINES_BLOCK ? limit + 2 : MR_LINES_BLOCK));
    for (k = 0; k < n_used; k++) {
        if (used[k].block.text.n > 0)
            give_back(t, &used[k]);
        mr_buffer_release(&used[k].buffer);
    }
    free(used);
    return r.n_long;
}

struct opened {
    char *path;
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_lines lines;
};

static void open_way(struct opened *o, enum way way, uint64_t limit)
{
    struct mr_input input = {.size = 0};

    o->path = strdup(path_of(way));
    assert_non_null(o->path);
    input.path = input.name = o->path;
    assert_int_equal(mr_container_open(&input, &o->container, NULL), MR_OK);
    assert_int_equal(mr_container_next(o->container, &o->stream, NULL), MR_OK);
    assert_non_null(o->stream);
    mr_lines_init(&o->lines, o->stream, csv, limit, true);
}

static enum mr_status close_way(struct opened *o)
{
    mr_lines_release(&o->lines);
    mr_stream_close(o->stream);
    free(o->path);
    return mr_container_close(o->container, NULL);
}

static size_t read_way(const struct text *t, enum way way, uint64_t limit)
{
    struct opened o;
    size_t n_long;

    open_way(&o, way, limit);
    assert_int_equal(mr_stream_in_place(o.stream),
        way == ZSTD || (way == MAPPED && t->n > 0));
    n_long = read_all(t, &o.lines, limit);
    assert_int_equal(close_way(&o), MR_OK);
    return n_long;
}

static void read_every_way(struct text *t, uint64_t limit)
{
    pthread_t feeder;
    size_t n_long[WAYS];

    save(path_of(MAPPED), t->p, t->n);
    save_gzip(path_of(GZIP), t);
    save_zstd(path_of(ZSTD), t, t->n);
    for (enum way way = 0; way < WAYS; way++) {
        if (way == PIPED)
            assert_int_equal(pthread_create(&feeder, NULL, feed_pipe, t), 0);
        n_long[way] = read_way(t, way, limit);
        if (way == PIPED)
            assert_int_equal(pthread_join(feeder, NULL), 0);
    }
    assert_int_equal(n_long[PIPED], n_long[GZIP]);
    /* Records do not depend on how they are read. */
    assert_true(csv == NULL || (n_long[MAPPED] == n_long[PIPED] &&
                                   n_long[ZSTD] == n_long[PIPED]));
}

/* ---- texts ---- */

static void append(struct text *t, const void *p, size_t n)
{
    if (t->n + n > t->cap) {
        t->cap = 2 * (t->n + n);
        t->p = realloc(t->p, t->cap);
        assert_non_null(t->p);
    }
    if (n > 0)
        memcpy(t->p + t->n, p, n);
    t->n += n;
}

/* A line of n bytes and an ending; its bytes tell where it came from. */
static void append_line(struct text *t, size_t n, const char *ending)
{
    uint8_t c = (uint8_t)('a' + any(26));
    size_t start = t->n;

    append(t, NULL, 0);
    while (t->n - start < n) {
        uint8_t some[4096];
        size_t m = n - (t->n - start);

        memset(some, c, sizeof some);
        some[any(sizeof some)] = '\r'; /* ends no line */
        some[0] = (uint8_t)('A' + t->n % 26);
        append(t, some, m < sizeof some ? m : sizeof some);
    }
    if (n > 0 && t->p[t->n - 1] == '\r')
        t->p[t->n - 1] = c;
    append(t, ending, strlen(ending));
}

static size_t any_length(uint64_t limit)
{
    static const size_t size[] = {0, 1, MR_LINES_BLOCK, MR_LINES_BLOCK / 2,
        MR_LINES_LONG_KEPT, 2 * MR_LINES_BLOCK};
    size_t near = any(3) && limit < 3000000 ? (size_t)limit : size[any(6)];

    if (any(3) == 0)
        return any(400);
    near += any(7);
    return near < 3 ? near : near - 3;
}

static void random_text(struct text *t, uint64_t limit)
{
    /* Now and then more than is unpacked in one piece. */
    size_t lines = any(30), most = any(20) > 0 ? 1500000 : 12000000;

    t->n = 0;
    if (any(3) == 0)
        append(t, "\xef\xbb\xbf", any(4)); /* or a part of it */
    if (most > 10000000)
        lines = 400;
    for (size_t i = 0; i < lines && t->n < most; i++) {
        size_t many = any(12) == 0 ? any(5000) : 1;

        for (size_t k = 0; k < many; k++)
            append_line(t, many > 1 ? any(200) : any_length(limit),
                any(4) ? "\n" : "\r\n");
    }
    if (any(2)) /* no last line end */
        append_line(t, any_length(limit), any(5) ? "" : "\r");
}

static void texts_come_back(void **state)
{
    static const uint64_t limits[] = {1, 100, MR_LINES_LONG_KEPT,
        MR_LINES_BLOCK / 2, MR_LINES_BLOCK, 600000, 2000000, UINT64_C(1) << 30};
    struct text t = {NULL, 0, 0};

    (void)state;
    for (unsigned round = 0; round < rounds(140); round++) {
        uint64_t limit = limits[round % 8];

        random_text(&t, limit);
        read_every_way(&t, limit);
    }
    free(t.p);
}

/* A long line first, in the middle, last; alone; two in a row; each with
 * every ending; with and without a mark before. */
static void long_lines_are_found_everywhere(void **state)
{
    static const char *const ending[] = {"\n", "\r\n"};
    const uint64_t limit = 300000;
    struct text t = {NULL, 0, 0};

    (void)state;
    for (unsigned form = 0; form < 64; form++) {
        t.n = 0;
        if (form & 1)
            append(&t, "\xef\xbb\xbf", 3);
        if (form & 2)
            append_line(&t, 10, ending[form & 1]);
        for (unsigned k = 0; k <= (form >> 2 & 1); k++)
            append_line(&t, 700000 + k, ending[form >> 3 & 1]);
        if (form & 16)
            append_line(&t, 20, ending[form >> 3 & 1]);
        if (form & 32) /* the last line has no end */
            t.n -= form & 8 ? 2 : 1;
        read_every_way(&t, limit);
        /* Too long to be held: each has its own block. */
        assert_int_equal(read_way(&t, GZIP, limit), 1 + (form >> 2 & 1));
        assert_int_equal(read_way(&t, MAPPED, limit), 1 + (form >> 2 & 1));
    }
    free(t.p);
}

/* Lines of exactly the limit are none that are too long. */
static void lines_at_the_limit(void **state)
{
    static const size_t limits[] = {
        1, 70000, MR_LINES_BLOCK - 1, MR_LINES_BLOCK, 500000};
    struct text t = {NULL, 0, 0};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned form = 0; form < 8; form++) {
            t.n = 0;
            if (form & 1)
                append(&t, "\xef\xbb\xbf", 3);
            append_line(&t, limits[i], form & 2 ? "\r\n" : "\n");
            append_line(&t, limits[i], form & 4 ? "\n" : "");
            read_every_way(&t, limits[i]);
            assert_int_equal(read_way(&t, MAPPED, limits[i]), 0);
            assert_int_equal(read_way(&t, ZSTD, limits[i]), 0);
        }
    }
    free(t.p);
}

/* Something to stand in a quoted field of n bytes. */
static void append_quoted(struct text *t, size_t n, bool closed)
{
    static const char *const some[] = {"a,", "\n", "\r\n", "b\n\n", "words "};
    static const char *const mark[] = {"\"\"", "\\\"", "\\\\", "\"\""};
    size_t start = t->n;

    append(t, "\"", 1);
    while (t->n - start < n) {
        const char *s = any(8) ? some[any(5)] : mark[csv->backslash ? 1 : 0];

        append(t, s, strlen(s));
    }
    append(t, "\"", closed);
}

static void random_records(struct text *t, uint64_t limit)
{
    /* Faults are few, or none is alone. */
    size_t records = any(400), fault = any(2) ? 300 : 30;

    t->n = 0;
    if (any(3) == 0)
        append(t, "\xef\xbb\xbf", 3);
    for (size_t i = 0; i < records && t->n < 1500000; i++) {
        size_t fields = any(6);

        for (size_t k = 0; k < fields; k++) {
            size_t n = any(300) ? any(90) : any_length(limit);

            if (any(2))
                append_quoted(t, n, any(fault) != 0);
            else if (any(fault) == 0)
                append(t, "5\" pipe", 7);
            append(t, any(fault) ? "," : "x", 1);
        }
        append_line(t, any(40), any(3) ? "\n" : "\r\n");
        if (any(50) == 0)
            append_quoted(t, any_length(limit), any(3) != 0);
    }
}

static void records_come_back(void **state)
{
    static const uint64_t limits[] = {1, MR_LINES_LONG_KEPT, MR_LINES_BLOCK / 2,
        MR_LINES_BLOCK, 600000, UINT64_C(1) << 30};
    struct mr_csv_rules rules = {.delimiter = ',', .quote = '"'};
    struct text t = {NULL, 0, 0};

    (void)state;
    csv = &rules;
    for (unsigned round = 0; round < rounds(120); round++) {
        rules.backslash = any(3) == 0;
        random_records(&t, limits[round % 6]);
        read_every_way(&t, limits[round % 6]);
    }
    csv = NULL;
    free(t.p);
}

/* Records of just what can be held, and of a byte more: the line feeds in the
 * longer one end records, from that many bytes on. */
static void records_at_the_limit(void **state)
{
    static const size_t limits[] = {
        1, MR_LINES_LONG_KEPT, 70001, MR_LINES_BLOCK - 1, 500000};
    const struct mr_csv_rules rules = {.delimiter = ',', .quote = '"'};
    struct text t = {NULL, 0, 0};

    (void)state;
    csv = &rules;
    for (unsigned i = 0; i < 5; i++) {
        size_t held = (size_t)mr_lines_held(limits[i]);

        for (unsigned form = 0; form < 32; form++) {
            t.n = 0;
            if (form & 1)
                append(&t, "\"a\nb\"\n", 6);
            if (form & 2)
                append(&t, "\"a\"\r\n", 5);
            append(&t, "\"", 1);
            while (t.n - (form & 1 ? 6 : 0) - (form & 2 ? 5 : 0) <
                   held - 1 + (form & 4 ? 2 : 0))
                append(&t, "\n", 1);
            append(&t, "\"\r\n", 3);
            if (form & 8)
                t.n -= 3; /* it is not closed */
            if (form & 16)
                append(&t, "c,\"d\n\"\n", 8);
            read_every_way(&t, limits[i]);
        }
    }
    csv = NULL;
    free(t.p);
}

static void marks_in_the_middle_stay(void **state)
{
    struct text t = {NULL, 0, 0};
    struct mr_input input = {.name = folder};
    struct mr_container *container;
    struct mr_buffer buffer = {0};
    struct mr_line_block block;
    struct mr_stream *stream;
    struct mr_lines lines;

    (void)state;
    append(&t, "\xef\xbb\xbf\xef\xbb\xbfx\n", 8);
    read_every_way(&t, 100); /* the second is text */
    for (enum way way = 0; way < WAYS; way++) {
        if (way == PIPED)
            continue;
        input.path = strdup(path_of(way));
        assert_int_equal(mr_container_open(&input, &container, NULL), MR_OK);
        assert_int_equal(mr_container_next(container, &stream, NULL), MR_OK);
        mr_lines_init(&lines, stream, NULL, 100, false); /* not at the start */
        assert_int_equal(mr_lines_next(&lines, &buffer, &block, NULL), MR_OK);
        assert_int_equal(block.text.n, 8);
        assert_int_equal(block.offset, 0);
        assert_int_equal(block.bytes, 8);
        mr_line_block_release(&block);
        mr_lines_release(&lines);
        mr_stream_close(stream);
        assert_int_equal(mr_container_close(container, NULL), MR_OK);
        free(input.path);
    }
    mr_buffer_release(&buffer);
    free(t.p);
}

static void ends_of_lines_are_found(void **state)
{
    const uint8_t text[] = "a\nb\nc";

    (void)state;
    assert_null(mr_lines_last_end((struct mr_span){NULL, 0}));
    assert_null(mr_lines_last_end((struct mr_span){text, 1}));
    assert_ptr_equal(mr_lines_last_end((struct mr_span){text, 2}), text + 1);
    assert_ptr_equal(mr_lines_last_end((struct mr_span){text, 3}), text + 1);
    assert_ptr_equal(mr_lines_last_end((struct mr_span){text, 5}), text + 3);
    assert_ptr_equal(
        mr_lines_last_end((struct mr_span){text + 1, 1}), text + 1);
}

/* Of text that nobody holds, behind its head, which is kept apart, only what
 * does not stand in one piece is copied, and the ends of records are looked
 * for in words of 64 bytes.  Lines have up to 400. */
static unsigned count_copied(void)
{
    struct mr_buffer buffer = {0};
    struct mr_line_block block;
    struct opened o;
    unsigned n_copied = 0;

    open_way(&o, ZSTD, 1000);
    do {
        assert_int_equal(mr_lines_next(&o.lines, &buffer, &block, NULL), MR_OK);
        if (block.offset > 512 && block.text.n > 0 &&
            block.text.p == buffer.p) {
            assert_true(block.text.n <= (csv == NULL ? 400 : 400 + 64));
            n_copied++;
        }
        mr_line_block_release(&block);
    } while (block.text.n > 0);
    assert_int_equal(close_way(&o), MR_OK);
    mr_buffer_release(&buffer);
    return n_copied;
}

/* Frames are of a size of which blocks do not end, by chance, where the memory
 * does. */
static void only_parted_lines_are_copied(void **state)
{
    static const struct mr_csv_rules rules = {.delimiter = ',', .quote = '"'};
    struct text t = {NULL, 0, 0};

    (void)state;
    for (unsigned i = 0; i < 50000; i++)
        append_line(&t, any(400), "\n");
    save_zstd(path_of(ZSTD), &t, 70000);
    assert_true(count_copied() > 0);
    csv = &rules;
    assert_true(count_copied() > 0);
    csv = NULL;
    free(t.p);
}

/* A gzip file that is cut short gives its error after what could be read. */
static void errors_are_those_of_the_stream(void **state)
{
    const char *path = path_of(GZIP);
    struct text t = {NULL, 0, 0};
    struct mr_buffer buffer = {0};
    struct mr_line_block block = {.bytes = 77};
    struct mr_error err = {.status = MR_OK};
    struct opened o;
    struct stat st;
    enum mr_status status;

    (void)state;
    for (unsigned i = 0; i < 50000; i++)
        append_line(&t, any(40), "\n");
    save_gzip(path, &t);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 5), 0);
    open_way(&o, GZIP, 100);
    do
        status = mr_lines_next(&o.lines, &buffer, &block, &err);
    while (status == MR_OK && block.text.n > 0);
    assert_int_equal(status, MR_FORMAT);
    assert_int_equal(err.status, MR_FORMAT);
    assert_int_equal(err.offset, st.st_size - 5);
    (void)close_way(&o);
    mr_buffer_release(&buffer);
    free(t.p);
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(folder, sizeof folder, "%s/mr-lines-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) && mkfifo(path_of(PIPED), 0600) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAYS; way++)
        (void)unlink(path_of(way));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(long_lines_are_found_everywhere),
        cmocka_unit_test(lines_at_the_limit),
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(records_at_the_limit),
        cmocka_unit_test(marks_in_the_middle_stay),
        cmocka_unit_test(ends_of_lines_are_found),
        cmocka_unit_test(only_parted_lines_are_copied),
        cmocka_unit_test(errors_are_those_of_the_stream),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
