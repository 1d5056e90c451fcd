#ifndef MR_JSONVALUES_H
#define MR_JSONVALUES_H

#include "mr/lines.h"
#include "mr/spec.h"

/*
 * JSON that is not one value a line, cut into blocks as mr_lines cuts lines:
 * each value is given a line of its own, so that all that reads lines reads
 * it.  Line feeds between a value's tokens become blanks.  Use of memory does
 * not depend on the stream's length, only on max_line_bytes.
 *
 * MR_INPUT_JSON_VALUES: values one after another, with white space between
 * them or none.  The reader of fields judges each.  Where brackets, commas,
 * colons and strings stand as they cannot in any value, a piece begins that is
 * rejected as a whole, and it is looked for the next value:
 *   - a fault within brackets: at the first '{', from the fault on, that
 *     stands behind a '}' with nothing but white space between, or directly
 *     behind a line feed.  In a valid value neither comes, or the first does
 *     not, and the second where it is written without indentation.
 *   - a fault outside: at the first '{', or behind the first line feed.
 * A line feed in a string is such a fault.  So a value that was cut off spoils
 * at most the one after it, if no line feed is between the two.  Everything
 * follows from the text alone; every byte is part of a value, of such a piece,
 * or white space between them.
 *
 * MR_INPUT_JSON_ARRAY: the elements of the array that the document is, or
 * that is the member spec->records of it.  An element ends where commas and
 * brackets say; the reader of fields judges it.  All else must be valid, the
 * member be there, once, and the document whole: if not, the stream cannot be
 * read.  White space between two values in an element, where it does not
 * belong, is given as one blank.
 *
 * A byte-order mark at the very start is dropped.  Values of more than
 * mr_lines_held bytes are too long, as lines are.
 */

struct mr_jsonvalues;

/** mr_jsonvalues_new(stream, spec, read_bytes, v, err): Stream and spec stay
 * the caller's.  read_bytes: how much is read at a time; MR_LINES_BLOCK unless
 * to test that nothing depends on it. */
MR_MUST_CHECK enum mr_status mr_jsonvalues_new(struct mr_stream *stream,
    const struct mr_spec *spec, size_t read_bytes, struct mr_jsonvalues **v_out,
    struct mr_error *err);
void mr_jsonvalues_free(struct mr_jsonvalues *v);

/**
 * mr_jsonvalues_next(v, buffer, block, err): As mr_lines_next, but buffer
 * always holds the text, and block->starts, too.  Errors are the stream's,
 * and MR_FORMAT with the offset in the unpacked stream.
 */
MR_MUST_CHECK enum mr_status mr_jsonvalues_next(struct mr_jsonvalues *v,
    struct mr_buffer *buffer, struct mr_line_block *block_out,
    struct mr_error *err);

#endif
