#ifndef MR_SHAPES_H
#define MR_SHAPES_H

#include <stdbool.h>

#include "mr/fields.h"

/*
 * Lines that look alike.  Events of one type have the same members in the
 * same order; what differs are the values.  So once a line has been read the
 * long way, its shape is kept: its tokens' outline (mr/kernels.h), the text
 * of those keys that length and first byte do not tell from wanted ones, and
 * where the wanted values stand among its tokens.  Another line of the same
 * outline and keys follows the same rules and has its values at the same
 * places, so that comparing replaces reading.
 *
 * A shape is kept from the second line on that has its outline, so lines of
 * which no two are alike do not fill the room; when it is full, all begins
 * anew.
 */

/* Lines of more tokens are always read the long way. */
#define MR_SHAPE_TOKENS_MAX 4096

/** Eight bytes, or the last ones, of a key: of the key before the line's
 * token number colon, from an offset on. */
struct mr_shape_word {
    uint64_t text;
    uint64_t mask; /* the bytes that count */
    uint16_t colon;
    uint16_t offset;
};

struct mr_shape {
    uint64_t hash;     /* of the outline */
    uint32_t n_tokens; /* of a line, its line feed included */
    uint32_t n_words;
    uint32_t captured;             /* bit i: there is a value for path i */
    uint16_t value[MR_FIELDS_MAX]; /* the number of its first token */
    struct mr_shape_word word[];
    /* then the outline */
};

/** The tokens of a line whose keys hold no backslash and end right before
 * their colons. */
struct mr_shape_line {
    const uint8_t *outline;
    const uint16_t *pos; /* of its first token; one more stands before it */
    size_t n_tokens;
    const uint8_t *text; /* what pos are offsets of; seven bytes behind the
                          * line's end can be read */
};

/** Shapes of one reader.  About 270 KiB, touched as they fill. */
struct mr_shapes;

/** mr_shapes_new(): NULL when there is no memory. */
struct mr_shapes *mr_shapes_new(void);
void mr_shapes_free(struct mr_shapes *shapes);

/** mr_shapes_find(shapes, line, hash): The shape that a line has; or NULL,
 * and then the hash of its outline.  It stays until the next mr_shapes_add. */
const struct mr_shape *mr_shapes_find(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t *hash_out);

/** mr_shapes_wants(shapes, hash): Whether the shape of a line that was not
 * found should be added: not when it is new. */
bool mr_shapes_wants(struct mr_shapes *shapes, uint64_t hash);

/**
 * mr_shapes_add(shapes, line, hash, colons, n): Add a line's shape; colons
 * are the numbers of the n tokens behind keys that must be the same.  The
 * caller sets what is captured and the values.  NULL when the line cannot
 * have one: it has too many tokens, or a key whose length the outline does
 * not tell.
 */
struct mr_shape *mr_shapes_add(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t hash, const uint16_t *colons,
    size_t n);

#endif
