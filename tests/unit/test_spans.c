#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zstd.h>

/*
 * zstd frames of every kind of window are read where they are unpacked, while
 * spans are held for a while, for long, or not at all.  The text looks back as
 * far as the window reaches, so that whatever is overwritten too early is
 * missed at once; and what was given is looked at again until the last moment
 * at which it must be there.
 */

static void add(struct mr_buffer *out, const void *p, size_t n)
{
    assert_int_equal(mr_buffer_add(out, p, n), MR_OK);
}

/* ---- frames ---- */

struct frame {
    size_t n;
    unsigned window_log;
    size_t block; /* flushed after so many bytes; 0: never */
    bool told;    /* its header tells the content's length */
    bool unchecked;
};

static size_t window_bytes(const struct frame *f)
{
    return (size_t)1 << f->window_log;
}

/* Text that repeats what stands as far before as libzstd finds it, with a byte
 * changed here and there: no further than a window from the block's end. */
static void add_text(struct mr_buffer *text, const struct frame *f)
{
    size_t window = window_bytes(f);
    size_t period = window > 2 * ZSTD_BLOCKSIZE_MAX
                        ? window - ZSTD_BLOCKSIZE_MAX - 100
                        : window / 2;
    uint8_t *p;

    assert_int_equal(mr_buffer_reserve(text, text->n + f->n), MR_OK);
    p = text->p + text->n;
    for (size_t i = 0; i < f->n && i < period; i++)
        p[i] = (uint8_t)any(256);
    for (size_t i = period; i < f->n; i++)
        p[i] = p[i - period];
    for (size_t i = any(300); i < f->n; i += 1 + any(600))
        p[i] ^= (uint8_t)any(256);
    text->n += f->n;
}

static void add_frame(
    struct mr_buffer *stored, const uint8_t *p, const struct frame *f)
{
    size_t cap = ZSTD_compressBound(f->n) + 8 * f->n + 1000, rest, n;
    uint8_t *packed = malloc(cap);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer from = {p, 0, 0};
    ZSTD_outBuffer to = {packed, cap, 0};

    assert_non_null(packed);
    assert_non_null(context);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, (int)f->window_log);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, !f->unchecked);
    if (f->told)
        assert_int_equal(ZSTD_CCtx_setPledgedSrcSize(context, f->n), 0);
    do {
        rest = f->n - from.size;
        n = f->block > 0 && f->block < rest ? f->block : rest;
        from.size += n;
        rest = ZSTD_compressStream2(
            context, &to, &from, from.size < f->n ? ZSTD_e_flush : ZSTD_e_end);
        assert_int_equal(rest, 0);
    } while (from.size < f->n);
    add(stored, packed, to.pos);
    (void)ZSTD_freeCCtx(context);
    free(packed);
}

static void make_frames(const struct frame *f, size_t n, struct mr_buffer *text,
    struct mr_buffer *stored)
{
    text->n = stored->n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t start = text->n;

        add_text(text, &f[i]);
        add_frame(stored, f[i].n > 0 ? text->p + start : NULL, &f[i]);
    }
}

/* ---- reading ---- */

#define SPANS 8192

struct given {
    struct mr_span span;
    size_t at; /* in the text */
    struct mr_hold hold;
    uint64_t until; /* so many spans have been given */
};

struct reading {
    const struct mr_buffer *text;
    struct given given[SPANS]; /* held, or given last */
    size_t n_given;
    size_t at;
    uint64_t n_spans;
    const uint8_t *lowest, *highest; /* of spans */
};

static void check_given(const struct reading *r, const struct given *g)
{
    assert_true(memcmp(g->span.p, r->text->p + g->at, g->span.n) == 0);
}

/* The next span has been given, and no more: what was given last must be
 * there, and what is held. */
static void look_again(struct reading *r)
{
    size_t kept = 0;

    for (size_t i = r->n_given; i-- > 0;) {
        struct given *g = &r->given[i];
        bool last = r->at - g->at <= MR_STREAM_KEPT;

        if (last || g->hold.arena != NULL)
            check_given(r, g);
        if (g->until <= r->n_spans)
            mr_hold_release(&g->hold);
    }
    for (size_t i = 0; i < r->n_given; i++)
        if (r->given[i].hold.arena != NULL ||
            r->at - r->given[i].at <= MR_STREAM_KEPT)
            r->given[kept++] = r->given[i];
    r->n_given = kept;
}

/* hold: of how many spans one is held, or 0; span_max: for how long. */
static void read_spans(struct mr_stream *stream, struct reading *r,
    unsigned hold, unsigned span_max)
{
    static const size_t most[] = {1 << 20, 1 << 17, 100000, 1000};
    struct mr_error err;
    struct mr_span span;

    for (;;) {
        struct given *g;

        assert_int_equal(mr_stream_next_span(stream,
                             most[any(50) == 0 ? any(4) : 0], &span, &err),
            MR_OK);
        if (span.n == 0)
            break;
        assert_true(span.n <= r->text->n - r->at);
        look_again(r);
        assert_true(r->n_given < SPANS);
        g = &r->given[r->n_given++];
        *g = (struct given){.span = span, .at = r->at};
        check_given(r, g);
        r->n_spans++;
        if (hold > 0 && any(hold) == 0) {
            g->hold = mr_hold_text(mr_stream_arena(stream), span);
            g->until = r->n_spans + any(span_max);
        }
        if (r->at == 0)
            assert_true(span.n >= (r->text->n < 512 ? r->text->n : 512) ||
                        span.n == 1000);
        r->at += span.n;
        if (r->lowest == NULL || span.p < r->lowest)
            r->lowest = span.p;
        if (span.p + span.n > r->highest)
            r->highest = span.p + span.n;
    }
    assert_int_equal(r->at, r->text->n);
    /* The end stays the end. */
    assert_int_equal(mr_stream_next_span(stream, 1, &span, &err), MR_OK);
    assert_int_equal(span.n, 0);
}

static size_t read_frames(const struct mr_buffer *text,
    const struct mr_buffer *stored, size_t piece, unsigned hold,
    unsigned span_max)
{
    struct reading *r = calloc(1, sizeof(*r));
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_error err;
    size_t reach;

    assert_non_null(r);
    r->text = text;
    assert_int_equal(
        mr_container_open_memory(stored->p, stored->n, piece, &container, &err),
        MR_OK);
    assert_int_equal(mr_container_next(container, &stream, &err), MR_OK);
    assert_true(mr_stream_in_place(stream));
    read_spans(stream, r, hold, span_max);
    assert_int_equal(mr_stream_stored_bytes(stream), stored->n);
    mr_stream_close(stream);
    /* What is held outlives the stream. */
    for (size_t i = 0; i < r->n_given; i++) {
        if (r->given[i].hold.arena != NULL)
            check_given(r, &r->given[i]);
        mr_hold_release(&r->given[i].hold);
    }
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    reach = (size_t)(r->highest - r->lowest);
    free(r);
    return reach;
}

static void read_by_copying(
    const struct mr_buffer *text, const struct mr_buffer *stored)
{
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_buffer got = {0};
    struct mr_error err;
    size_t n;

    assert_int_equal(
        mr_container_open_memory(stored->p, stored->n, 0, &container, &err),
        MR_OK);
    assert_int_equal(mr_container_next(container, &stream, &err), MR_OK);
    do {
        size_t cap = 1 + any(300000);

        assert_int_equal(mr_buffer_reserve(&got, got.n + cap), MR_OK);
        assert_int_equal(
            mr_stream_read(stream, got.p + got.n, cap, &n, &err), MR_OK);
        assert_true(n <= cap);
        got.n += n;
    } while (n > 0);
    assert_int_equal(got.n, text->n);
    assert_true(text->n == 0 || memcmp(got.p, text->p, text->n) == 0);
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    mr_buffer_release(&got);
}

/* ---- tests ---- */

/* Held never, now and then, nearly always for a while, and as in a queue. */
static const struct {
    unsigned hold, span_max;
} ways[] = {{0, 1}, {20, 100}, {2, 40}, {1, 30}, {1, 3}, {3, 400}};
#define N_WAYS (sizeof(ways) / sizeof(*ways))

static void every_window(void **state)
{
    struct mr_buffer text = {0}, stored = {0};

    (void)state;
    for (unsigned log = 10; log <= 24; log += log < 20 ? 3 : 1) {
        size_t n = (rounds(40) << 18) + any(100000) + 300000;
        struct frame f = {
            .n = n, .window_log = log, .block = 0, .told = any(2)};

        make_frames(&f, 1, &text, &stored);
        assert_true(n < 3 * window_bytes(&f) || stored.n < text.n / 4 * 3);
        for (size_t i = 0; i < N_WAYS; i++)
            read_frames(&text, &stored, 0, ways[i].hold, ways[i].span_max);
        read_frames(&text, &stored, 65536, 2, 40);
        read_by_copying(&text, &stored);
    }
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

/* Many frames, of which each has other wishes, or nothing in it. */
static void frames_of_all_kinds(void **state)
{
    struct mr_buffer text = {0}, stored = {0};

    (void)state;
    for (unsigned round = 0; round < rounds(20); round++) {
        struct frame f[24];
        size_t n = 1 + any(24);

        for (size_t i = 0; i < n; i++) {
            size_t size = any(4) == 0   ? any(3000000)
                          : any(4) == 0 ? 0
                                        : any(3000);

            f[i] = (struct frame){.n = size,
                .window_log = 10 + (unsigned)any(15),
                .block = any(3) > 0     ? 0
                         : size > 10000 ? 10000 + any(100000)
                                        : 20 + any(300),
                .told = any(2)};
        }
        make_frames(f, n, &text, &stored);
        for (size_t i = 0; i < N_WAYS; i++)
            read_frames(&text, &stored, 0, ways[i].hold, ways[i].span_max);
        read_frames(&text, &stored, 1 + any(1000), 1, 30);
        read_by_copying(&text, &stored);
    }
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

/* Where nobody holds anything no more memory is used than must be. */
static void little_memory_is_enough(void **state)
{
    struct mr_buffer text = {0}, stored = {0};
    struct frame f = {.n = 12000000, .window_log = 21, .told = false};
    size_t reach;

    (void)state;
    make_frames(&f, 1, &text, &stored);
    reach = read_frames(&text, &stored, 0, 0, 1);
    assert_true(reach <= (size_t)3 << 20);
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

/* Where so much is held that one arena is not enough, two take turns. */
static void arenas_are_used_again(void **state)
{
    struct mr_buffer text = {0}, stored = {0};
    struct frame f = {.n = 45000000, .window_log = 23, .told = false};
    struct mr_hold hold[64] = {{NULL, 0, 0}};
    const struct mr_arena *one = NULL, *two = NULL;
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_error err;
    struct mr_span span;
    size_t at = 0;

    (void)state;
    make_frames(&f, 1, &text, &stored);
    assert_int_equal(
        mr_container_open_memory(stored.p, stored.n, 0, &container, &err),
        MR_OK);
    assert_int_equal(mr_container_next(container, &stream, &err), MR_OK);
    for (unsigned i = 0;; i = (i + 1) % 64) {
        struct mr_arena *arena;

        assert_int_equal(
            mr_stream_next_span(stream, 1 << 20, &span, &err), MR_OK);
        mr_hold_release(&hold[i]);
        if (span.n == 0)
            break;
        assert_true(memcmp(span.p, text.p + at, span.n) == 0);
        at += span.n;
        arena = mr_stream_arena(stream);
        hold[i] = mr_hold_text(arena, span);
        if (one == NULL)
            one = arena;
        else if (arena != one && two == NULL)
            two = arena;
        assert_true(arena == one || arena == two);
    }
    assert_int_equal(at, text.n);
    assert_non_null(two);
    mr_stream_close(stream);
    for (unsigned i = 0; i < 64; i++)
        mr_hold_release(&hold[i]);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

/* The first 512 bytes come in one span, however small the blocks are. */
static void heads_are_whole(void **state)
{
    struct mr_buffer text = {0}, stored = {0};

    (void)state;
    for (size_t n = 0; n < 1200; n += 1 + any(60)) {
        struct frame f[2] = {{.n = n, .window_log = 10, .block = 1 + any(600)},
            {.n = 600, .window_log = 23, .block = 1 + any(600)}};

        for (size_t n_frames = 1; n_frames <= 2; n_frames++) {
            make_frames(f, n_frames, &text, &stored);
            read_frames(&text, &stored, 0, 1, 30);
            read_frames(&text, &stored, 0, 0, 1);
            read_by_copying(&text, &stored);
        }
    }
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

/* How far a frame can be read, and how that ends. */
static enum mr_status try_frame(const struct mr_buffer *stored, unsigned hold,
    unsigned span_max, size_t *at_out)
{
    struct mr_hold held[400] = {{NULL, 0, 0}};
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_span span;
    struct mr_error err;
    enum mr_status status;

    assert_int_equal(
        mr_container_open_memory(stored->p, stored->n, 0, &container, &err),
        MR_OK);
    assert_int_equal(mr_container_next(container, &stream, &err), MR_OK);
    *at_out = 0;
    for (size_t i = 0;; i++) {
        status = mr_stream_next_span(stream, 1 << 20, &span, &err);
        if (status != MR_OK || span.n == 0)
            break;
        *at_out += span.n;
        mr_hold_release(&held[i % span_max]);
        if (hold > 0 && any(hold) == 0)
            held[i % span_max] = mr_hold_text(mr_stream_arena(stream), span);
    }
    for (size_t i = 0; i < span_max; i++)
        mr_hold_release(&held[i]);
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    return status;
}

/* A frame that looks back further than its window fails at the same place,
 * whatever is held. */
static void windows_are_what_they_are_said_to_be(void **state)
{
    static const unsigned said[] = {17, 18, 19, 20, 21};
    struct mr_buffer text = {0}, stored = {0};
    struct frame f = {.n = 12000000, .window_log = 22, .unchecked = true};

    (void)state;
    make_frames(&f, 1, &text, &stored);
    assert_int_equal(stored.p[4] & 0x20, 0);
    assert_int_equal(stored.p[5], (22 - 10) << 3);
    for (size_t k = 0; k < sizeof(said) / sizeof(*said); k++) {
        size_t first, at;

        stored.p[5] = (uint8_t)((said[k] - 10) << 3);
        for (size_t i = 0; i < N_WAYS; i++) {
            assert_int_equal(
                try_frame(&stored, ways[i].hold, ways[i].span_max, &at),
                MR_FORMAT);
            if (i == 0)
                first = at;
            assert_int_equal(at, first);
        }
    }
    mr_buffer_release(&text);
    mr_buffer_release(&stored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_window),
        cmocka_unit_test(frames_of_all_kinds),
        cmocka_unit_test(little_memory_is_enough),
        cmocka_unit_test(arenas_are_used_again),
        cmocka_unit_test(heads_are_whole),
        cmocka_unit_test(windows_are_what_they_are_said_to_be),
    };
    int failed;

    seed = 20240229;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    mr_stream_release_spares();
    return failed;
}
