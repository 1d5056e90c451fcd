#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"

#include <inttypes.h>
#include <stdlib.h>
/* For what the library calls its interface without buffers, and of its
 * interface to blocks what tells the window; later ones call that deprecated.
 */
#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <zstd.h>
#include <zstd_errors.h>

/*
 * zstd is RFC 8878: frames one after the other, of data or to be skipped.
 * The library unpacks frames; their headers are looked at here first, to say
 * by name what cannot be read, and skippable frames are stepped over here,
 * so that the library is only ever called inside a frame of data.
 *
 * A frame is unpacked block by block into an arena, where the library looks
 * back at it through the frame's window, and where it is parsed; nothing is
 * copied.  When the arena is full, unpacking goes on at its beginning if
 * nobody holds it (the window then is behind what is written), else in
 * another one, and the window reaches back into the one before.  Frames with
 * an unusually large window are unpacked by the library to memory of its own,
 * and copied by it; and all are where it has no such interface.
 *
 * A frame that reaches back further than its window says is malformed.  What
 * it would find there depends on where the arena's turns were, and so on what
 * others held; the library is told of no more than the window, and fails.
 */

#define ADVICE "fetch it again and rerun"

/* What is needed of the library's interface without buffers. */
#if defined(HAVE_ZSTD_DECOMPRESSCONTINUE) && defined(HAVE_ZSTD_INSERTBLOCK)
#define UNPACKS_HERE
#endif

#define DATA_MAGIC UINT32_C(0xFD2FB528)
#define SKIP_MAGIC UINT32_C(0x184D2A50) /* the last four bits are free */
#define SKIP_MASK UINT32_C(0xFFFFFFF0)

#define HEADER_MAX 18 /* RFC 8878 section 3.1.1.1, with the magic number */
#define WINDOW_LOG_MAX 31
#define WINDOW_MAX (UINT64_C(1) << WINDOW_LOG_MAX)
#define UNTOLD UINT64_MAX

/* What a block needs in front of it: its own bytes, and what the library may
 * write past them. */
#define BLOCK_ROOM ((size_t)ZSTD_BLOCKSIZE_MAX + 32)
/* What an arena has beside what it must have, for text that waits for being
 * parsed. */
#define ARENA_SLACK (((size_t)6 << 20) - 32)

/* How far to look for the first frame's end. */
#define SPLIT_LOOK_BYTES ((size_t)64 << 20)
#define PART_MIN_BYTES ((size_t)256 << 10)
#define PART_MAX_BYTES ((size_t)1 << 20)

struct zstd {
    struct mr_filter filter;
    ZSTD_DCtx *context;
    enum { AT_FRAME, IN_FRAME, IN_SKIPPED, AT_END } at;
    struct mr_arena *arena;  /* to unpack to, or NULL */
    struct mr_arena *before; /* that was it before, or NULL: the window and
                              * what was given last may reach back into it */
    size_t used;             /* of arena */
    size_t free_to;          /* so far nobody held anything */
    uint64_t window;         /* of the frame */
    uint64_t content;        /* its bytes by its header, or UNTOLD */
    uint64_t unpacked;       /* its bytes so far */
    struct mr_span latest;   /* of them: since unpacking last went on */
    struct mr_span earlier;  /* elsewhere, and before that */
    uint8_t beyond;          /* a copy of the byte before the window */
    uint64_t skip;           /* bytes of the skippable frame still to come */
    uint64_t begins_at;      /* the frame's stored byte */
};

/* What a frame's header says. */
struct frame {
    uint64_t window;
    uint64_t content; /* or UNTOLD */
    uint32_t dictionary;
};

/* Read the header of a frame of data; false where it is cut short. */
static bool parse_header(const uint8_t *p, size_t n, struct frame *frame_out)
{
    static const uint8_t dictionary_bytes[4] = {0, 1, 2, 4};
    static const uint8_t content_bytes[4] = {0, 2, 4, 8};
    unsigned flags = n > 4 ? p[4] : 0;
    bool single = flags & 0x20;
    size_t dictionary_n = dictionary_bytes[flags & 3];
    size_t content_n = flags >> 6 == 0 ? single : content_bytes[flags >> 6];
    size_t at = 5;
    uint8_t field[8] = {0};

    if (n < 5 + !single + dictionary_n + content_n)
        return false;
    if (!single) {
        uint64_t base = UINT64_C(1) << (10 + (p[at] >> 3));

        frame_out->window = base + base / 8 * (p[at] & 7);
        at++;
    }
    memcpy(field, p + at, dictionary_n);
    frame_out->dictionary = mr_get_u32(field);
    at += dictionary_n;
    memset(field, 0, sizeof field);
    memcpy(field, p + at, content_n);
    frame_out->content = content_n == 0
                             ? UNTOLD
                             : mr_get_u64(field) + (content_n == 2 ? 256 : 0);
    if (single)
        frame_out->window = frame_out->content;
    return true;
}

static enum mr_status fail_truncated(
    const struct mr_feed *feed, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, feed->offset + feed->rest.n, ADVICE,
        "truncated zstd frame");
}

static enum mr_status begin_data(
    struct zstd *z, struct mr_feed *feed, struct mr_error *err)
{
    struct frame frame = {0, UNTOLD, 0};
    uint64_t at = feed->offset;

    z->begins_at = at;
    if (!parse_header(feed->rest.p, feed->rest.n, &frame))
        return fail_truncated(feed, err);
    if (frame.dictionary != 0)
        return mr_fail(err, MR_FORMAT, at,
            "compress it again without a dictionary",
            "the zstd frame needs dictionary %" PRIu32
            ", and dictionaries are not read",
            frame.dictionary);
    if (frame.window > WINDOW_MAX)
        return mr_fail(err, MR_LIMIT, at,
            "compress it again with --long=31 or lower",
            "the zstd frame needs a window of %" PRIu64
            " MiB, above the limit of %" PRIu64 " MiB",
            (frame.window - 1) / (1 << 20) + 1, WINDOW_MAX >> 20);
    (void)ZSTD_DCtx_reset(z->context, ZSTD_reset_session_only);
#ifdef UNPACKS_HERE
    (void)ZSTD_decompressBegin(z->context);
#endif
    z->window = frame.window;
    z->content = frame.content;
    z->unpacked = 0;
    z->latest = z->earlier = (struct mr_span){NULL, 0};
    z->at = IN_FRAME;
    return MR_OK;
}

/* Before a frame, or after the last. */
static enum mr_status begin_frame(
    struct zstd *z, struct mr_feed *feed, struct mr_error *err)
{
    enum mr_status status = mr_feed_peek(feed, HEADER_MAX, err);
    const uint8_t *p = feed->rest.p;
    size_t n = feed->rest.n;

    if (status != MR_OK)
        return status;
    if (n == 0) {
        z->at = AT_END;
        return MR_OK;
    }
    if (n < 4 && (p[0] == (DATA_MAGIC & 0xFF) || (p[0] & 0xF0) == 0x50))
        return fail_truncated(feed, err);
    if (n >= 4 && mr_get_u32(p) == DATA_MAGIC)
        return begin_data(z, feed, err);
    if (n < 4 || (mr_get_u32(p) & SKIP_MASK) != SKIP_MAGIC)
        return mr_fail(err, MR_FORMAT, feed->offset, ADVICE,
            "trailing garbage after the zstd frame");
    if (n < 8)
        return fail_truncated(feed, err);
    z->skip = mr_get_u32(p + 4);
    z->at = IN_SKIPPED;
    mr_feed_consume(feed, 8);
    return MR_OK;
}

static enum mr_status skip_some(
    struct zstd *z, struct mr_feed *feed, struct mr_error *err)
{
    enum mr_status status;
    size_t n;

    if (z->skip == 0) {
        z->at = AT_FRAME;
        return MR_OK;
    }
    status = mr_feed_peek(feed, 1, err);
    if (status != MR_OK)
        return status;
    if (feed->rest.n == 0)
        return mr_fail(err, MR_FORMAT, feed->offset, ADVICE,
            "truncated zstd skippable frame");
    n = feed->rest.n < z->skip ? feed->rest.n : (size_t)z->skip;
    mr_feed_consume(feed, n);
    z->skip -= n;
    return MR_OK;
}

static enum mr_status fail_damaged(uint64_t offset, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, offset, ADVICE,
        "damaged data in the zstd frame that begins there");
}

static enum mr_status fail_zstd(
    size_t result, uint64_t offset, struct mr_error *err)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return mr_fail_nomem(err);
    case ZSTD_error_checksum_wrong:
        return mr_fail(err, MR_CHECKSUM, offset, ADVICE,
            "wrong checksum of the zstd frame that begins there");
    case ZSTD_error_dictionary_wrong:
        return mr_fail(err, MR_FORMAT, offset,
            "compress it again without a dictionary",
            "the zstd frame needs a dictionary, and dictionaries are not "
            "read");
    case ZSTD_error_frameParameter_windowTooLarge:
        return mr_fail(err, MR_LIMIT, offset,
            "compress it again with --long=30 or lower",
            "the zstd frame needs a window larger than this machine allows");
    default:
        return fail_damaged(offset, err);
    }
}

/* ---- a frame ---- */

/* Whether a frame is unpacked into the arena itself. */
static bool is_here(const struct zstd *z)
{
#ifdef UNPACKS_HERE
    return z->window <= MR_ZSTD_WINDOW_HERE;
#else
    (void)z;
    return false;
#endif
}

/* How much of an arena must have been used before unpacking goes on at its
 * beginning: behind a block there lie the window and a byte, and what was
 * given last. */
static size_t arena_need(const struct zstd *z)
{
    size_t behind = MR_STREAM_KEPT;

    if (is_here(z) && z->window >= behind)
        behind = (size_t)z->window + 1;
    return BLOCK_ROOM + behind;
}

/* Go on in another arena, the one before this if nobody needs it any more; the
 * window reaches back into this one. */
static enum mr_status change_arena(
    struct zstd *z, size_t need, struct mr_error *err)
{
    struct mr_arena *next = z->before;

    if (next == NULL || mr_arena_size(next) < need + BLOCK_ROOM ||
        mr_arena_has_text(next)) {
        next = mr_arena_new(need + ARENA_SLACK);
        if (next == NULL)
            return mr_fail_nomem(err);
        mr_arena_let_go(z->before);
    }
    z->before = z->arena;
    z->arena = next;
    z->used = 0;
    z->free_to = mr_arena_size(next);
    return MR_OK;
}

/* Whether nobody holds anything from used up to there. */
static bool is_free(struct zstd *z, size_t to)
{
    while (z->free_to < to) {
        if (mr_arena_is_held(z->arena, z->free_to))
            return false;
        z->free_to = mr_arena_section_end(z->arena, z->free_to);
    }
    return true;
}

/* Whether unpacking is to go on at the beginning: where there is no room, or as
 * soon as nobody holds anything, since less memory stays in the cache. */
static bool turns(const struct zstd *z, size_t need)
{
    return mr_arena_size(z->arena) - z->used < BLOCK_ROOM ||
           (z->used >= need && !mr_arena_has_text(z->arena));
}

/* Have room for a block: behind the last, or at the beginning, or else in
 * another arena.  At the beginning as much must be free as the window takes:
 * the library looks back at what has been written since unpacking last went on
 * elsewhere, and at what was before that, no further. */
static enum mr_status make_room(struct zstd *z, struct mr_error *err)
{
    size_t need = arena_need(z);

    if (z->arena == NULL || mr_arena_size(z->arena) < need + BLOCK_ROOM)
        return change_arena(z, need, err);
    if (turns(z, need))
        z->used = z->free_to = 0;
    return is_free(z, z->used > 0 ? z->used + BLOCK_ROOM : need)
               ? MR_OK
               : change_arena(z, need, err);
}

/* Give what has been unpacked behind used. */
static struct mr_span give(struct zstd *z, size_t n)
{
    struct mr_span span = {mr_arena_bytes(z->arena) + z->used, n};

    if (n == 0)
        return span;
    z->used += n;
    z->unpacked += n;
    z->filter.arena = z->arena;
    if (z->latest.n > 0 && span.p == z->latest.p + z->latest.n) {
        z->latest.n += n;
    } else {
        z->earlier = z->latest;
        z->latest = span;
    }
    return span;
}

/* The library does not look at the content's size behind an empty block. */
static enum mr_status end_frame(struct zstd *z, struct mr_error *err)
{
    z->at = AT_FRAME;
    return z->content == UNTOLD || z->content == z->unpacked
               ? MR_OK
               : fail_damaged(z->begins_at, err);
}

#ifdef UNPACKS_HERE

/* The end of a text, of at most n bytes. */
static struct mr_span last_of(struct mr_span text, size_t n)
{
    return text.n <= n ? text : (struct mr_span){text.p + text.n - n, n};
}

/* Tell the library what it may look back at: the window, and a byte more, lest
 * there be none.  It knows two pieces of text, the later in front of what is
 * unpacked next, or else before a turn, and takes adjoining ones for one. */
static void tell_window(struct zstd *z)
{
    size_t reach = (size_t)z->window + 1;
    struct mr_span early, late = last_of(z->latest, reach);

    if (z->unpacked < reach || late.n == 0)
        return;
    if (late.p + late.n == mr_arena_bytes(z->arena) + z->used) {
        early = last_of(z->earlier, reach - late.n);
        if (late.n == reach) {
            z->beyond = *late.p;
            early = (struct mr_span){&z->beyond, 1};
            late = last_of(late, reach - 1);
        }
        (void)ZSTD_insertBlock(z->context, early.p, early.n);
    }
    (void)ZSTD_insertBlock(z->context, late.p, late.n);
}

/* Unpack what the library asks for next: a header, a block, a checksum. */
static enum mr_status unpack_here(struct zstd *z, struct mr_feed *feed,
    struct mr_span *span_out, struct mr_error *err)
{
    size_t need = ZSTD_nextSrcSizeToDecompress(z->context);
    enum mr_status status = mr_feed_peek(feed, need, err);
    size_t n;

    if (status != MR_OK)
        return status;
    if (feed->rest.n < need)
        return fail_truncated(feed, err);
    tell_window(z);
    n = ZSTD_decompressContinue(z->context, mr_arena_bytes(z->arena) + z->used,
        BLOCK_ROOM, feed->rest.p, need);
    if (ZSTD_isError(n))
        return fail_zstd(n, z->begins_at, err);
    mr_feed_consume(feed, need);
    *span_out = give(z, n);
    return ZSTD_nextSrcSizeToDecompress(z->context) == 0 ? end_frame(z, err)
                                                         : MR_OK;
}

#endif

/* Have the library unpack some of a frame with a large window. */
static enum mr_status unpack_there(struct zstd *z, struct mr_feed *feed,
    struct mr_span *span_out, struct mr_error *err)
{
    enum mr_status status = mr_feed_peek(feed, 1, err);
    ZSTD_inBuffer from = {feed->rest.p, feed->rest.n, 0};
    ZSTD_outBuffer to = {
        mr_arena_bytes(z->arena) + z->used, ZSTD_BLOCKSIZE_MAX, 0};
    size_t result;

    if (status != MR_OK)
        return status;
    result = ZSTD_decompressStream(z->context, &to, &from);
    if (ZSTD_isError(result))
        return fail_zstd(result, z->begins_at, err);
    mr_feed_consume(feed, from.pos);
    *span_out = give(z, to.pos);
    if (result == 0)
        return end_frame(z, err);
    return from.size == 0 && to.pos == 0 ? fail_truncated(feed, err) : MR_OK;
}

static enum mr_status unpack_some(struct zstd *z, struct mr_feed *feed,
    struct mr_span *span_out, struct mr_error *err)
{
    enum mr_status status = make_room(z, err);

    if (status != MR_OK)
        return status;
#ifdef UNPACKS_HERE
    if (is_here(z))
        return unpack_here(z, feed, span_out, err);
#endif
    return unpack_there(z, feed, span_out, err);
}

static enum mr_status zstd_next(struct mr_filter *filter, struct mr_feed *feed,
    struct mr_span *span_out, struct mr_error *err)
{
    struct zstd *z = (struct zstd *)filter;
    enum mr_status status = MR_OK;

    *span_out = (struct mr_span){NULL, 0};
    while (status == MR_OK && span_out->n == 0 && z->at != AT_END) {
        switch (z->at) {
        case AT_FRAME:
            status = begin_frame(z, feed, err);
            break;
        case IN_FRAME:
            status = unpack_some(z, feed, span_out, err);
            break;
        case IN_SKIPPED:
            status = skip_some(z, feed, err);
            break;
        case AT_END:
            break;
        }
    }
    return status;
}

static bool zstd_turns(const struct mr_filter *filter)
{
    const struct zstd *z = (const struct zstd *)filter;

    return z->arena != NULL && turns(z, arena_need(z));
}

/* A context costs more to make than a small file to unpack.  Those that have
 * a window of their own are not kept. */
#define SPARE_MAX_BYTES ((size_t)256 << 10)

static struct mr_spares spare_contexts;

static ZSTD_DCtx *take_context(void)
{
    ZSTD_DCtx *context = mr_spares_take(&spare_contexts);

    return context != NULL ? context : ZSTD_createDCtx();
}

static void give_context(ZSTD_DCtx *context)
{
    if (ZSTD_sizeof_DCtx(context) <= SPARE_MAX_BYTES)
        context = mr_spares_give(&spare_contexts, context);
    ZSTD_freeDCtx(context);
}

static void release(void *spare)
{
    ZSTD_freeDCtx(spare);
}

void mr_zstd_release_spares(void)
{
    mr_spares_release(&spare_contexts, release);
}

static void zstd_free(struct mr_filter *filter)
{
    struct zstd *z = (struct zstd *)filter;

    give_context(z->context);
    mr_arena_let_go(z->arena);
    mr_arena_let_go(z->before);
    free(z);
}

enum mr_status mr_zstd_new(struct mr_filter **filter_out, struct mr_error *err)
{
    struct zstd *z = calloc(1, sizeof *z);

    if (z == NULL || (z->context = take_context()) == NULL) {
        free(z);
        return mr_fail_nomem(err);
    }
    /* Refused on 32-bit machines, whose own limit then stays. */
    (void)ZSTD_DCtx_setParameter(
        z->context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    z->filter.next = zstd_next;
    z->filter.turns = zstd_turns;
    z->filter.free = zstd_free;
    *filter_out = &z->filter;
    return MR_OK;
}

bool mr_zstd_is_split(struct mr_span bytes)
{
    unsigned n_data = 0;

    while (bytes.n >= 8 && n_data < 2) {
        uint32_t magic = mr_get_u32(bytes.p);
        size_t n;

        if (magic == DATA_MAGIC && ++n_data == 2)
            break;
        n = ZSTD_findFrameCompressedSize(
            bytes.p, bytes.n < SPLIT_LOOK_BYTES ? bytes.n : SPLIT_LOOK_BYTES);
        if (ZSTD_isError(n))
            return false;
        bytes.p += n;
        bytes.n -= n;
    }
    return n_data == 2;
}

size_t mr_zstd_part_bytes(struct mr_span bytes)
{
    size_t total = 0;

    while (total < bytes.n && total < PART_MIN_BYTES) {
        size_t n =
            ZSTD_findFrameCompressedSize(bytes.p + total, bytes.n - total);

        if (ZSTD_isError(n))
            return total > 0 ? total : bytes.n;
        if (total > 0 && total + n > PART_MAX_BYTES)
            break;
        total += n;
    }
    return total;
}
