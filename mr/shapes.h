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
 * A shape is kept when its outline is met for the second time: many lines
 * look like no other.  When the room for shapes is full, all begins anew.
 */

/* Lines of more tokens are always read the long way. */
#define MR_SHAPE_TOKENS_MAX 4096

/* Sixteen bytes that are compared at once, with whatever the processor has. */
#define MR_SHAPE_BYTES 16
typedef uint64_t mr_shape_bytes __attribute__((vector_size(MR_SHAPE_BYTES)));

/** Sixteen bytes, or the last ones, of a key: the line's token of that number,
 * from an offset on. */
struct mr_shape_word {
    mr_shape_bytes text;
    mr_shape_bytes mask; /* the bytes that count */
    uint16_t token;
    uint16_t offset;
};

/** Where a wanted value begins, and of what kind it is: a string, object or
 * array; MR_KIND_NONE stands for what the first byte tells. */
struct mr_shape_value {
    uint16_t token;
    uint8_t path;
    uint8_t kind;
};

struct mr_shape {
    uint64_t hash;     /* of the outline */
    uint32_t n_tokens; /* of a line, its line feed included */
    uint32_t n_words;
    uint32_t n_values;
    uint32_t missing; /* bit i: there is no value for path i */
    struct mr_shape_value value[MR_FIELDS_MAX];
    struct mr_shape_word word[];
    /* then the outline */
};

/** The tokens of a line whose keys hold no backslash and end right before
 * their colons. */
struct mr_shape_line {
    const uint8_t *outline;
    const uint16_t *pos; /* of its first token; one more stands before it */
    size_t n_tokens;
    const uint8_t *text; /* what pos are offsets of; fifteen bytes behind the
                          * line's end can be read */
};

/** Shapes of one reader.  About 1 MiB, touched as they fill. */
struct mr_shapes;

/** mr_shapes_new(): NULL when there is no memory. */
struct mr_shapes *mr_shapes_new(void);
void mr_shapes_free(struct mr_shapes *shapes);

/** mr_shapes_find(shapes, line, hash): The shape that a line has; or NULL,
 * and then the hash of its outline.  It stays until the next mr_shapes_add. */
const struct mr_shape *mr_shapes_find(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t *hash_out);

/**
 * mr_shapes_add(shapes, line, hash, colons, n): Add a line's shape; colons
 * are the numbers of the n tokens behind keys that must be the same.  The
 * caller sets the values, and which are missing.  NULL when no line of this
 * outline was added lately, or the line cannot have a shape: it has too many
 * tokens, or a key whose length the outline does not tell.
 */
struct mr_shape *mr_shapes_add(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t hash, const uint16_t *colons,
    size_t n);

#endif
