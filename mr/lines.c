#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/lines.h"

#include "mr/kernels.h"

void mr_lines_init(struct mr_lines *lines, struct mr_stream *stream,
    const struct mr_csv_rules *rules, uint64_t max_line_bytes, bool at_start)
{
    memset(lines, 0, sizeof(*lines));
    lines->stream = stream;
    lines->rules = rules != NULL && rules->quote != 0 ? rules : NULL;
    lines->max_line_bytes = max_line_bytes;
    lines->at_start = at_start;
}

void mr_lines_release(struct mr_lines *lines)
{
    mr_buffer_release(&lines->carry);
}

const uint8_t *mr_lines_last_end(struct mr_span text)
{
#ifdef HAVE_MEMRCHR
    return text.n == 0 ? NULL : memrchr(text.p, '\n', text.n);
#else
    while (text.n > 0)
        if (text.p[--text.n] == '\n')
            return text.p + text.n;
    return NULL;
#endif
}

/* What follows the first n bytes; nothing has no place to count from. */
static struct mr_span behind(struct mr_span text, size_t n)
{
    return n == 0 ? text : (struct mr_span){text.p + n, text.n - n};
}

/*
 * What both ways of reading share: a window of bytes that have been read and
 * not given.  more() makes it longer or finds that the stream has ended;
 * drop() forgets its first bytes.
 *
 * Of a stream in place the window stands in the stream's memory.  Where what
 * comes next does not adjoin, or a line gets long, the window moves to the
 * buffer, until there is a whole line in it.  Mostly it is one line that does
 * not stand in one piece: those before it have been given, since the stream
 * tells.
 */
struct window {
    struct mr_lines *lines;
    struct mr_buffer *buffer;
    bool in_place; /* text stands in the stream's memory, not in buffer */
    struct mr_span text;
    struct mr_span last; /* taken from the stream's memory, in one piece */
    struct mr_error *err;
    uint64_t most;  /* bytes a line can have before its LF and be held: a CR
                     * may belong to a line end that has not been read yet */
    size_t seen;    /* that much has been looked through */
    size_t used;    /* up to the end of the last whole line in it */
    bool long_next; /* and behind it, a line that is too long begins */
    struct mr_csv_carry csv;
};

/* Make bytes the last of the buffer, and that the window. */
static enum mr_status append(struct window *w, struct mr_span bytes)
{
    if (mr_buffer_add(w->buffer, bytes.p, bytes.n) != MR_OK)
        return mr_fail_nomem(w->err);
    w->in_place = false;
    w->text = (struct mr_span){w->buffer->p, w->buffer->n};
    return MR_OK;
}

/* Take the first n bytes of what comes next in place. */
static struct mr_span take(struct window *w, size_t n)
{
    struct mr_lines *lines = w->lines;
    struct mr_span taken = {lines->next.p, n};

    if (w->last.n > 0 && w->last.p + w->last.n == taken.p)
        w->last.n += n;
    else
        w->last = taken;
    lines->next = behind(lines->next, n);
    lines->arena = mr_stream_arena(lines->stream);
    return taken;
}

/* How much of what comes next the window takes when it has moved: to the first
 * line feed, if there is one. */
static size_t to_line_feed(struct mr_span next)
{
    const uint8_t *end = memchr(next.p, '\n', next.n);

    return end == NULL ? next.n : (size_t)(end - next.p) + 1;
}

static enum mr_status more_in_place(struct window *w)
{
    struct mr_lines *lines = w->lines;
    enum mr_status status = MR_OK;

    if (lines->next.n == 0)
        status = mr_stream_next_span(
            lines->stream, MR_LINES_BLOCK, &lines->next, w->err);
    if (status != MR_OK)
        return status;
    lines->ended = lines->next.n == 0;
    if (lines->ended)
        return MR_OK;
    if (w->in_place && w->text.n == 0) {
        w->text = take(w, lines->next.n);
        return MR_OK;
    }
    if (w->in_place && w->text.n < MR_LINES_BLOCK &&
        lines->next.p == w->text.p + w->text.n) {
        w->text.n += take(w, lines->next.n).n;
        return MR_OK;
    }
    if (w->in_place) {
        w->buffer->n = 0;
        status = append(w, w->text);
    }
    return status == MR_OK ? append(w, take(w, to_line_feed(lines->next)))
                           : status;
}

static enum mr_status more_in_buffer(struct window *w)
{
    struct mr_buffer *b = w->buffer;
    size_t want = b->n < MR_LINES_BLOCK ? MR_LINES_BLOCK : 2 * b->n, n = 1;
    enum mr_status status = mr_buffer_reserve(b, want);

    if (status != MR_OK)
        return mr_fail_nomem(w->err);
    while (b->n < want && n > 0) {
        status = mr_stream_read(
            w->lines->stream, b->p + b->n, want - b->n, &n, w->err);
        if (status != MR_OK)
            return status;
        b->n += n;
    }
    w->lines->ended = n == 0;
    w->text = (struct mr_span){b->p, b->n};
    return MR_OK;
}

static enum mr_status more(struct window *w)
{
    return mr_stream_in_place(w->lines->stream) ? more_in_place(w)
                                                : more_in_buffer(w);
}

/* Forget the window's first n bytes. */
static void drop(struct window *w, size_t n)
{
    if (n == 0)
        return;
    w->lines->offset += n;
    if (w->in_place) {
        w->text.p += n;
        w->text.n -= n;
        return;
    }
    memmove(w->buffer->p, w->buffer->p + n, w->buffer->n - n);
    w->buffer->n -= n;
    w->text = (struct mr_span){w->buffer->p, w->buffer->n};
}

/* Whether the block can end where its last whole line does: it is large, or
 * its lines could not, or what comes next will not, stand in one piece. */
static bool is_enough(const struct window *w)
{
    const struct mr_stream *stream = w->lines->stream;

    return w->used > 0 && (w->text.n >= MR_LINES_BLOCK / 4 * 3 ||
                              (mr_stream_in_place(stream) &&
                                  (!w->in_place || mr_stream_turns(stream))));
}

/* Keep what follows the block for the next call: where it stands in place,
 * unless not all of it does. */
static enum mr_status keep_rest(struct window *w, size_t used)
{
    struct mr_lines *lines = w->lines;
    struct mr_span rest = behind(w->text, used);

    lines->offset += used;
    lines->rest = (struct mr_span){NULL, 0};
    if (w->in_place)
        lines->rest = rest;
    else if (rest.n <= w->last.n)
        lines->rest = behind(w->last, w->last.n - rest.n);
    else if (mr_buffer_add(&lines->carry, rest.p, rest.n) != MR_OK)
        return mr_fail_nomem(w->err);
    return MR_OK;
}

/* The next bytes of a line of which only the first kept are wanted, which
 * stand in the buffer: those before are forgotten. */
static enum mr_status pass_on(
    struct window *w, size_t kept, struct mr_span *fresh_out)
{
    bool in_place = mr_stream_in_place(w->lines->stream);
    enum mr_status status;

    if (in_place) {
        w->in_place = true;
        w->text = (struct mr_span){NULL, 0};
    }
    w->buffer->n = kept;
    status = more(w);
    *fresh_out = in_place ? w->text : behind(w->text, kept);
    return status;
}

/*
 * A line that is too long to be held: give its beginning, and read on to its
 * end without keeping what lies between.  No line feed before most counts.
 */
static enum mr_status long_line(struct window *w, struct mr_line_block *block)
{
    uint64_t start = w->lines->offset, passed = w->most + 1;
    const size_t kept = MR_LINES_LONG_KEPT;
    struct mr_span fresh = behind(w->text, (size_t)passed);
    const uint8_t *end;
    enum mr_status status = MR_OK;
    size_t used;

    if (w->in_place && mr_buffer_add(w->buffer, w->text.p, kept) != MR_OK)
        return mr_fail_nomem(w->err);
    for (;;) {
        end = fresh.n == 0 ? NULL : memchr(fresh.p, '\n', fresh.n);
        if (end != NULL || w->lines->ended)
            break;
        passed += fresh.n;
        status = pass_on(w, kept, &fresh);
        if (status != MR_OK)
            return status;
    }
    used = end == NULL ? fresh.n : (size_t)(end - fresh.p) + 1;
    status = keep_rest(
        w, fresh.n == 0 ? w->text.n : (size_t)(fresh.p - w->text.p) + used);
    block->offset = start;
    block->too_long = true;
    block->bytes += passed + used;
    block->has_end = end != NULL;
    block->text = (struct mr_span){w->buffer->p, kept};
    w->lines->offset = start + passed + used;
    return status;
}

/* Begin the window with what was kept, and drop a byte-order mark. */
static enum mr_status begin(struct window *w, uint64_t *dropped)
{
    struct mr_lines *lines = w->lines;
    enum mr_status status = MR_OK;

    w->buffer->n = 0;
    w->in_place = mr_stream_in_place(lines->stream) && lines->carry.n == 0;
    w->text = lines->rest;
    if (!w->in_place)
        status = append(w, (struct mr_span){lines->carry.p, lines->carry.n});
    lines->carry.n = 0;
    if (status != MR_OK || !lines->at_start)
        return status;
    lines->at_start = false;
    status = more(w);
    if (status == MR_OK) {
        *dropped = mr_lines_mark(w->text);
        drop(w, (size_t)*dropped);
    }
    return status;
}

/* Look for the end of the last line in what has not been looked through. */
static void find_line(struct window *w)
{
    const uint8_t *end = mr_lines_last_end(behind(w->text, w->seen));

    if (end != NULL)
        w->used = (size_t)(end - w->text.p) + 1;
    w->seen = w->text.n;
    w->long_next = w->used == 0 && w->text.n > w->most;
}

/* The same for records, each of which must be held to its length.  A piece is
 * shorter than what can be held, so that only its first record can be too
 * long. */
static void find_record(struct window *w)
{
    const struct mr_kernels *kernels = mr_kernels();
    const size_t piece = MR_LINES_LONG_KEPT / 2;

    while (!w->long_next && w->seen < w->text.n) {
        size_t n = w->text.n - w->seen, first, last;

        if (n > piece)
            n = piece;
        /* Pieces are of whole words of the kernel, but the last. */
        if (n % 64 != 0 && !w->lines->ended && (n -= n % 64) == 0)
            break;
        last = kernels->csv_ends(
            w->lines->rules, &w->csv, w->text.p + w->seen, n, &first);
        /* Where the first record's line feed is, or cannot be before. */
        w->long_next = w->seen + (last > 0 ? first - 1 : n) - w->used > w->most;
        if (last > 0 && !w->long_next)
            w->used = w->seen + last;
        w->seen += n;
    }
}

enum mr_status mr_lines_next(struct mr_lines *lines, struct mr_buffer *buffer,
    struct mr_line_block *block_out, struct mr_error *err)
{
    struct window w = {.lines = lines,
        .buffer = buffer,
        .err = err,
        .most = mr_lines_held(lines->max_line_bytes) + 1};
    struct mr_line_block block = {.text = {NULL, 0}};
    enum mr_status status = begin(&w, &block.bytes);

    while (status == MR_OK) {
        (lines->rules != NULL ? find_record : find_line)(&w);
        if (w.long_next || lines->ended || is_enough(&w))
            break;
        status = more(&w);
    }
    if (status != MR_OK)
        return status;
    if (w.long_next && w.used == 0) {
        status = long_line(&w, &block);
    } else {
        size_t n = lines->ended && !w.long_next ? w.text.n : w.used;

        block.text = (struct mr_span){w.text.p, n};
        block.offset = lines->offset;
        block.bytes += n;
        status = keep_rest(&w, n);
        if (status == MR_OK && w.in_place && n > 0)
            block.hold = mr_hold_text(lines->arena, block.text);
    }
    if (status == MR_OK)
        *block_out = block;
    return status;
}

void mr_line_block_release(struct mr_line_block *block)
{
    mr_hold_release(&block->hold);
}
