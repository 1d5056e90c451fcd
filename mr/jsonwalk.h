#ifndef MR_JSONWALK_H
#define MR_JSONWALK_H

#include "mr/fields.h"

/*
 * Where a JSON value ends, found in text that comes in pieces of any length.
 * Nothing is kept of the text, only what is open.  Three ways to walk:
 *
 * MR_WALK_WHOLE      The value is valid, or there is a fault: for text that
 *                    nobody will look at again.
 * MR_WALK_STRUCTURE  Brackets, commas and colons stand as they may, and no
 *                    line feed stands in a string, or there is a fault.  What
 *                    stands in strings, and words and numbers within brackets
 *                    are for the reader of fields to judge.
 * MR_WALK_BRACKETS   Brackets match, or there is a fault: for an element of
 *                    an array.  The reader of fields judges the rest.
 */
enum mr_walk_way { MR_WALK_WHOLE, MR_WALK_STRUCTURE, MR_WALK_BRACKETS };

enum mr_walk_step {
    MR_WALK_MORE,  /* the piece has been used up */
    MR_WALK_ENDED, /* the value ends where the taken bytes do */
    MR_WALK_FAULT, /* the byte behind the taken ones cannot stand there */
    MR_WALK_DEEP   /* it opens a bracket that is too deep */
};

/** State of a walk.  Only the unit looks inside. */
struct mr_walk {
    const struct mr_kernels *kernels;
    enum mr_walk_way way;
    uint8_t place;
    bool is_key;   /* the string at hand is one */
    bool escaped;  /* a backslash is the last byte taken */
    bool brace;    /* a brace closed the value before */
    bool has_feed; /* a line feed stands in a string */
    uint8_t number;
    const char *word; /* what must follow of true, false, null; or NULL */
    /* Strings of MR_WALK_WHOLE: */
    uint8_t digits;      /* of \u that must follow */
    bool low;            /* the second half of a surrogate pair must follow */
    uint32_t unit;       /* of \u so far */
    uint8_t tail;        /* bytes that must continue UTF-8 */
    uint8_t least, most; /* the next of them */

    uint32_t depth_max;
    uint64_t depth;
    uint64_t is_object[MR_JSON_DEPTH_MAX / 64];
};

/** mr_walk_begin(w, way, depth_max): Stand before a value's first byte, which
 * is not white space.  depth_max: at most MR_JSON_DEPTH_MAX; with
 * MR_WALK_BRACKETS nothing is too deep, and what is deeper than that matches
 * any bracket. */
void mr_walk_begin(struct mr_walk *w, enum mr_walk_way way, uint32_t depth_max);

/**
 * mr_walk_on(w, text, taken): Go on through the next piece.  A number has
 * ended when another byte follows it.  With MR_WALK_BRACKETS a value ends
 * before a comma, a closing bracket or white space that nothing is open
 * around; it may be walked on, to see whether there is more.
 */
enum mr_walk_step mr_walk_on(
    struct mr_walk *w, struct mr_span text, size_t *taken_out);

static inline bool mr_walk_is_white(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** mr_walk_white(text): The length of the white space it begins with. */
static inline size_t mr_walk_white(struct mr_span text)
{
    size_t n = 0;

    while (n < text.n && mr_walk_is_white(text.p[n]))
        n++;
    return n;
}

/** mr_walk_brace(w): Whether the last thing before the byte at hand, white
 * space apart, is a closing brace that is part of the value. */
bool mr_walk_brace(const struct mr_walk *w);

#endif
