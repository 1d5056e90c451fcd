#ifndef MR_LINES_H
#define MR_LINES_H

#include "mr/csv_rules.h"
#include "mr/stream.h"

/*
 * A stream cut into blocks of whole lines, of about MR_LINES_BLOCK bytes: the
 * unit in which lines go to threads.  Where a stream gives its bytes in place
 * blocks stand there, too, but for lines that do not stand in one piece; else
 * in a buffer that the caller passes in and may hand on.
 * A byte-order mark (EF BB BF) at the very start is dropped.
 *
 * In CSV with quotes "lines" are records, in which line feeds may be quoted.
 * A record that is too long to be held is most likely one with a quote that
 * is never closed, so quotes count for nothing then: it ends with the first
 * line feed behind as many bytes as can be held, and the next record begins
 * there.  What the records are depends on the text and the limit alone.
 */

#define MR_LINES_BLOCK (256 * 1024)
/* What is kept of a line that is longer than that and above the limit. */
#define MR_LINES_LONG_KEPT (64 * 1024)

/** The most bytes of a line, its end not counted, that are held: a longer
 * one is too long, whatever the limit says.  One that is held and above the
 * limit is for the reader of fields to find. */
static inline uint64_t mr_lines_held(uint64_t max_line_bytes)
{
    return max_line_bytes > MR_LINES_LONG_KEPT ? max_line_bytes
                                               : MR_LINES_LONG_KEPT;
}

struct mr_line_block {
    struct mr_span text; /* whole lines; the last may lack its end at the
                          * end of the stream; n = 0: the stream has ended */
    struct mr_hold hold; /* of text, where it stands in an arena */
    uint64_t offset;     /* of text in the unpacked stream */
    /* The block is one line of more than mr_lines_held bytes: text is its
     * first MR_LINES_LONG_KEPT. */
    bool too_long;
    bool has_end; /* with too_long: the line's end was found */
    /* Of JSON that is not one value a line (mr/jsonvalues.h): where each line
     * begins in the stream, else NULL; and that the text is one value, which
     * is not valid, as it stands there, line feeds and all. */
    const uint64_t *starts;
    bool whole;
    uint64_t bytes; /* unpacked bytes the block stands for, line ends and a
                     * byte-order mark before it included */
};

struct mr_lines {
    struct mr_stream *stream;
    const struct mr_csv_rules *rules; /* NULL: each line feed ends a line */
    uint64_t max_line_bytes;
    struct mr_buffer carry; /* the beginning of a line, read too early */
    struct mr_span rest;    /* the same, or more, where it stands in place */
    struct mr_span next;    /* read in place, and too early as well */
    struct mr_arena *arena; /* that rest is in; not held */
    uint64_t offset;        /* of the next block */
    bool at_start, ended;
};

/** mr_lines_init(lines, stream, rules, max_line_bytes, at_start): rules: of
 * CSV, or NULL for lines.  at_start: the stream's first byte is the
 * partition's (a mark is dropped only there); with quotes it must be a
 * record's in any case.  Stream and rules stay the caller's. */
void mr_lines_init(struct mr_lines *lines, struct mr_stream *stream,
    const struct mr_csv_rules *rules, uint64_t max_line_bytes, bool at_start);
void mr_lines_release(struct mr_lines *lines);

/**
 * mr_lines_next(lines, buffer, block, err): The next block.  Its text stands
 * in buffer, which grows beyond MR_LINES_BLOCK only for a line that long, or
 * in the stream's memory.  It lasts as long as buffer is left alone, stream is
 * open and the block not released.  Errors are the stream's.
 */
MR_MUST_CHECK enum mr_status mr_lines_next(struct mr_lines *lines,
    struct mr_buffer *buffer, struct mr_line_block *block_out,
    struct mr_error *err);

/** mr_line_block_release(block): Its text is not needed any more.  Any
 * thread. */
void mr_line_block_release(struct mr_line_block *block);

/** Length of a byte-order mark at the beginning of a text: 3 or 0. */
static inline size_t mr_lines_mark(struct mr_span text)
{
    return text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/** The last line end in a span, or NULL. */
const uint8_t *mr_lines_last_end(struct mr_span text);

#endif
