#ifndef MR_KERNELS_H
#define MR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr/csv_rules.h"

/*
 * The loops over bytes that are worth a version for each instruction set:
 * finding the tokens of JSON text, sorting them by kind, finding where fields
 * of CSV end, and the arithmetic of sketches and bitmaps.  Every level computes
 * the same results; the best one that the processor has is chosen once, at run
 * time.
 *
 * No kernel reads memory beyond the lengths it is given, and none allocates
 * or fails.
 */

enum mr_kernel_level {
    MR_KERNEL_PORTABLE, /* plain C17, any processor */
    MR_KERNEL_NEON,     /* aarch64 */
    MR_KERNEL_AVX2,     /* with BMI2 and PCLMULQDQ */
    MR_KERNEL_AVX512    /* F, BW, VL, DQ, VBMI, VBMI2, GFNI, VPCLMULQDQ */
};
#define MR_KERNEL_LEVELS 4

/* Text is tokenized by chunks of this size, in blocks of 64 bytes. */
#define MR_SCAN_BLOCKS 128
#define MR_SCAN_BYTES (64 * MR_SCAN_BLOCKS)
/* Tokens of this much text can be held. */
#define MR_HELD_BYTES (7 * MR_SCAN_BYTES)
/* There may be a token a byte and the line feed that text without a last line
 * end is given; readers may load 64 tokens from any of them and one more, and
 * look one token back. */
#define MR_TOKENS_MAX (1 + MR_HELD_BYTES + 1 + 128)

/** What one block must know of the one before; all zero is the
 * state at the beginning of a line.  Only the kernels look inside. */
struct mr_token_carry {
    uint64_t in_string;   /* all ones: a string goes on */
    uint64_t in_scalar;   /* 1: a number or word may go on */
    uint64_t after_quote; /* 1: the byte before is a quote */
    uint64_t escapes;     /* not 0: the next block has escapes to settle */
    uint64_t escaped;     /* 1: the next byte is escaped */
    uint64_t has_escape;  /* 1: the open string has a backslash */
    uint64_t end_escape;  /* 1: the byte before closed such a string */
    uint64_t u, ud, high; /* the last block's \u, \uD, \uD8 to \uDB */
    uint64_t lead;        /* bits 0 to 2: the next bytes must continue UTF-8 */
    uint64_t last;        /* the last byte, where lead is not 0 */
};

/* Something may be wrong with a string, a scalar, or UTF-8, so lines that
 * overlap the block need a closer look.  A fault is marked within its line,
 * the line's line feed included; more may be marked than is at fault, never
 * less. */
#define MR_BLOCK_SUSPECT 1
/* The block may have a backslash. */
#define MR_BLOCK_BACKSLASH 2
/* A key whose colon is in the block has a backslash, or white space between
 * it and the colon. */
#define MR_BLOCK_ODD 4

/* A string that is no key, and a scalar, in an outline. */
#define MR_OUTLINE_STRING 0x80
#define MR_OUTLINE_SCALAR '0'
/* No key of this length or above can be told from a longer one. */
#define MR_OUTLINE_LONG 255

/**
 * The tokens of the text at hand: each of { } [ ] : , outside strings; each
 * opening quote; the first byte of each run of other bytes outside strings
 * that are not white space ("scalars": numbers, words and rubbish); and every
 * line feed.  A line feed always ends a string, because none may stand in
 * one.  Offsets are from the start of what is held of the text.
 */
struct mr_tokens {
    size_t n;
    size_t n_ends;
    struct mr_token_carry carry;
    /* Of the last chunk: the numbers of the tokens that are line feeds. */
    uint16_t end[MR_SCAN_BYTES + 1 + 64];
    /* Of the blocks, as above; one more for a line feed that was added. */
    uint8_t flags[MR_HELD_BYTES / 64 + 64];
    /* Token i is at offset pos[i + 1].  pos[0] stands for the token before
     * those that are held, modulo 65536. */
    uint16_t pos[MR_TOKENS_MAX];
    /* kind[i + 1] is token i's byte, or 0x80 and the low seven bits of the
     * byte after it if it is an opening quote; kind[0] the token before. */
    uint8_t kind[MR_TOKENS_MAX];
    /*
     * outline[i] tells of token i what another line must have in common with
     * its line to be of the same structure and the same keys, as far as their
     * lengths and first bytes tell: its kind, but MR_OUTLINE_STRING for a
     * string that no colon follows, MR_OUTLINE_SCALAR for a scalar, and for a
     * colon behind a string the key's length, at most MR_OUTLINE_LONG.  The
     * last token's may be wrong until the next chunk has been outlined.
     */
    uint8_t outline[MR_TOKENS_MAX];
};

/**
 * Which keys are wanted, by length and first byte: a key may be wanted when
 * length[n] & first[c] is not zero, n being its length (63 stands for all
 * longer ones) and c the low seven bits of its first byte ('"' if empty).
 */
struct mr_key_filter {
    uint8_t length[64];
    uint8_t first[128];
};

/** A group is 64 tokens in a row, from any of them on; bit i stands for the
 * i-th. */
struct mr_token_sets {
    uint64_t open;    /* { [ */
    uint64_t close;   /* } ] */
    uint64_t curly;   /* { } */
    uint64_t colon;   /* : */
    uint64_t comma;   /* , */
    uint64_t string;  /* " */
    uint64_t newline; /* LF */
    uint64_t scalar;  /* anything else */
};

/* Containers are told apart down to this depth. */
#define MR_NEST_LEVELS 16
/* Deeper nesting than this is not followed. */
#define MR_NEST_DEPTH 62

/**
 * How the tokens of a group nest.  A token's level is the depth inside of
 * the bracket that it is, or else inside of the innermost one around it; 0
 * outside of all.
 */
struct mr_nesting {
    /* From group to group; 0 at the start of a line. */
    int32_t depth;  /* open brackets; at most MR_NEST_DEPTH */
    uint64_t types; /* bit i: the one at level i is a brace */

    uint64_t bad;          /* closed by the other kind; opened too deep; line
                            * feeds inside of brackets */
    uint64_t object_comma; /* commas directly within an object */
    uint64_t outermost;    /* close a bracket of level 1 */
    uint64_t opens[1 + MR_NEST_LEVELS]; /* by level: opening brackets */
    uint8_t level[64]; /* of wanted tokens, and maybe of others */
};

/** What a block of JSON that is no line must know of the block before. */
struct mr_json_carry {
    uint64_t in_string; /* all ones: a string goes on */
    uint64_t in_scalar; /* 1: a number or word may go on */
    uint64_t escaped;   /* 1: the next byte, of a string, is escaped */
};

/** What stands in a block of 64 bytes of it; bit i is byte i. */
struct mr_json_marks {
    /* Outside of strings each of { } [ ] : , and the first byte of each run of
     * other bytes that are not white space ("scalars"); opening quotes. */
    uint64_t token;
    uint64_t bracket; /* { } [ ] of these */
    uint64_t feed;    /* line feeds in strings, which these do not end */
};

/** What a text of CSV must know of the text before it; all zero is the state
 * at the start of a record.  Only the kernels look inside. */
struct mr_csv_carry {
    uint64_t begun;     /* 1: the next byte begins no field */
    uint64_t quoted;    /* all ones: it is quoted */
    uint64_t escaped;   /* 1: and behind a backslash */
    uint64_t closed;    /* 1: behind a quote that closes, or is doubled */
    uint64_t closed_cr; /* 1: behind such a quote and a CR */
    uint64_t lead;      /* as in mr_token_carry */
    uint64_t last;
};

/* Text of CSV is looked through by chunks of at most this. */
#define MR_CSV_SCAN_BYTES 16384
/* Stops that may be kept from chunk to chunk. */
#define MR_CSV_KEPT_MAX 65535

/**
 * Where fields end ("stops"): at each delimiter and line feed that is not
 * quoted.  Offsets are from the start of what is held of the text.
 */
struct mr_csv_stops {
    size_t n;
    size_t n_ends;
    size_t n_bad;
    size_t n_suspect;
    struct mr_csv_carry carry;
    /* Of the last chunk: numbers of the stops that end records. */
    uint32_t end[MR_CSV_SCAN_BYTES + 64];
    /* Of the last chunk: text behind a closing quote, which spoils a record,
     * and where something may be wrong with UTF-8, or NUL stands.  A fault is
     * marked within its line, the line feed included; more may be marked than
     * is at fault, never less. */
    uint32_t bad[MR_CSV_SCAN_BYTES + 64];
    uint32_t suspect[MR_CSV_SCAN_BYTES + 64];
    /* Stop i is at offset pos[i + 1]; pos[0] is for readers. */
    uint32_t pos[1 + MR_CSV_KEPT_MAX + MR_CSV_SCAN_BYTES + 64];
};

struct mr_kernels {
    enum mr_kernel_level level;
    const char *name;

    /**
     * tokenize(t, text, at, n): Append the tokens of the next chunk: of
     * text[at] up to, and without, text[min(n, at + MR_SCAN_BYTES)], at < n
     * being a multiple of 64.  n is how much text there is in all; when the
     * chunk reaches it, a line feed is added behind it unless it ends in one.
     * t->carry is that of the chunk before; pos[0] and kind[0] stay.
     */
    void (*tokenize)(
        struct mr_tokens *t, const uint8_t *text, size_t at, size_t n);

    /**
     * outline(t, from, text, n): Outline the tokens that tokenize() has
     * appended, given the same text and n; from is the first of them.  List
     * the line feeds among them in end[].  Mark suspect the blocks in which a
     * scalar begins that is not true, false, null or a number, as RFC 8259
     * writes them.
     */
    void (*outline)(
        struct mr_tokens *t, size_t from, const uint8_t *text, size_t n);

    /**
     * sort(t, first, filter, sets): A group, the 64 tokens from a number on,
     * by kind.  Return the colons among them whose key passes the filter.
     * Bits that stand for no token mean nothing.
     */
    uint64_t (*sort)(const struct mr_tokens *t, size_t first,
        const struct mr_key_filter *filter, struct mr_token_sets *sets_out);

    /**
     * nest(sets, n, limit, nesting): Match the brackets of the first n
     * tokens of a group, n > 0, nesting being that of the group before;
     * limit, at most MR_NEST_DEPTH, is the depth that is not too deep.  What
     * is said of tokens behind the first bad one means nothing.
     */
    void (*nest)(const struct mr_token_sets *sets, size_t n, int32_t limit,
        struct mr_nesting *nesting);

    /**
     * json_marks(carry, p, marks): What stands in p[0..64).  Return false,
     * setting nothing, where a backslash stands outside of strings: whether
     * the byte behind it is escaped is for the caller to say.
     */
    bool (*json_marks)(struct mr_json_carry *carry, const uint8_t *p,
        struct mr_json_marks *marks_out);

    /**
     * csv_stops(rules, stops, text, at, n): Append the stops of the next
     * chunk: of text[at] up to, and without, text[min(n, at +
     * MR_CSV_SCAN_BYTES)], at <= n; there are at most MR_CSV_KEPT_MAX yet.
     * n is how much text there is in all, less than 2^32 - 65536; when the
     * chunk reaches it, it is read as if a line feed stood behind it, which
     * is a stop unless it is quoted.  The carry is that of the chunk before.
     */
    void (*csv_stops)(const struct mr_csv_rules *rules,
        struct mr_csv_stops *stops, const uint8_t *text, size_t at, size_t n);

    /**
     * csv_ends(rules, place, text, n, first): Where the first and the last
     * record end in a text: the offsets behind their line feeds, the last
     * one's returned; 0 where none ends.  The carry is that of the text
     * before; afterwards it means nothing unless n is a multiple of 64.  No
     * look at UTF-8 is taken.
     */
    size_t (*csv_ends)(const struct mr_csv_rules *rules,
        struct mr_csv_carry *carry, const uint8_t *text, size_t n,
        size_t *first_out);

    /** max_u8(dst, src, n): Raise each dst[i] to at least src[i].  The two
     * must not overlap. */
    void (*max_u8)(
        uint8_t *restrict dst, const uint8_t *restrict src, size_t n);

    /** or_u64(dst, src, n): Set in dst[i] the bits of src[i].  The two must
     * not overlap. */
    void (*or_u64)(
        uint64_t *restrict dst, const uint64_t *restrict src, size_t n);

    /** popcount_u64(p, n): The number of bits set in n words. */
    uint64_t (*popcount_u64)(const uint64_t *p, size_t n);
};

/** mr_kernels(): The chosen kernels.  Any thread, any time; a load once the
 * choice is made. */
const struct mr_kernels *mr_kernels(void);

/** mr_kernels_available(level): Whether this build and this processor have a
 * level. */
bool mr_kernels_available(enum mr_kernel_level level);

/**
 * mr_kernels_force(level): For tests and benchmarks: make mr_kernels() return
 * this level from now on; readers made earlier keep theirs.  Return false,
 * changing nothing, where it is not available.
 */
bool mr_kernels_force(enum mr_kernel_level level);

#endif
