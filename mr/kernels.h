#ifndef MR_KERNELS_H
#define MR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The loops over bytes that are worth a version for each instruction set:
 * finding the tokens of JSON text, sorting them by kind, and the arithmetic
 * of sketches and bitmaps.  Every level computes the same results; the best
 * one that the processor has is chosen once, at run time.
 *
 * No kernel reads memory beyond the lengths it is given, and none allocates
 * or fails.
 */

enum mr_kernel_level {
    MR_KERNEL_PORTABLE, /* plain C17, any processor */
    MR_KERNEL_NEON,     /* aarch64 */
    MR_KERNEL_AVX2,     /* with BMI2 and PCLMULQDQ */
    MR_KERNEL_AVX512    /* F, BW, VL, DQ, VBMI, VBMI2, and PCLMULQDQ */
};
#define MR_KERNEL_LEVELS 4

/* The text is tokenized by windows of this size, in blocks of 64 bytes. */
#define MR_WINDOW_BLOCKS 64
#define MR_WINDOW_BYTES (64 * MR_WINDOW_BLOCKS)
/* A window may have a token a byte and the newline that text without a last
 * line end is given; readers may load 64 tokens from any of them, and look
 * one token back. */
#define MR_WINDOW_TOKENS (1 + MR_WINDOW_BYTES + 1 + 64)

/** What one block or window must know of the one before; all zero is the
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

/**
 * The tokens of a window: each of { } [ ] : , outside strings; each opening
 * quote; the first byte of each run of other bytes outside strings that are
 * not white space ("scalars": numbers, words and rubbish); and every line
 * feed.  A line feed always ends a string, because none may stand in one.
 */
struct mr_tokens {
    size_t n;
    /* Bit i: in block i something may be wrong with a string or with UTF-8,
     * so lines that overlap it need a closer look.  A fault is marked within
     * its line, the line's line feed included; more may be marked than is at
     * fault, never less. */
    uint64_t suspect;
    uint64_t backslash; /* bit i: block i may have a backslash */
    struct mr_token_carry carry;
    uint8_t flags[MR_WINDOW_BLOCKS]; /* of the blocks, as below */
    /* Token i is at offset pos[i + 1] of the window.  pos[0] stands for the
     * token before the window, modulo 65536. */
    uint16_t pos[MR_WINDOW_TOKENS];
    /* kind[i + 1] is token i's byte, or 0x80 and the low seven bits of the
     * byte after it if it is an opening quote; kind[0] the token before. */
    uint8_t kind[MR_WINDOW_TOKENS];
};

/* A scalar that begins in the block may be other than a row of digits. */
#define MR_BLOCK_COMPLEX 1
/* A key whose colon is in the block has a backslash, or white space between
 * it and the colon. */
#define MR_BLOCK_ODD 2

/**
 * Which keys are wanted, by length and first byte: a key may be wanted when
 * length[n] & first[c] is not zero, n being its length (63 stands for all
 * longer ones) and c the low seven bits of its first byte ('"' if empty).
 */
struct mr_key_filter {
    uint8_t length[64];
    uint8_t first[128];
};

/** A group is 64 tokens in a row; bit i stands for the i-th. */
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

#define MR_WINDOW_GROUPS (MR_WINDOW_BYTES / 64 + 1)

/** The tokens of a window by kind. */
struct mr_sorted {
    struct mr_token_sets sets[MR_WINDOW_GROUPS];
    size_t n_ends;
    size_t n_keys;
    uint16_t end[MR_WINDOW_TOKENS]; /* line feeds: numbers of tokens */
    /* Colons whose key passes the filter, or that stand in a block with
     * MR_BLOCK_ODD; more may be listed, never less. */
    uint16_t key[MR_WINDOW_TOKENS];
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
    /* From group to group; 0 at the begin of a line. */
    int32_t depth;  /* open brackets; at most MR_NEST_DEPTH */
    uint64_t types; /* bit i: the one at level i is a brace */

    uint64_t bad;          /* closed by the other kind; opened too deep; line
                            * feeds inside of brackets */
    uint64_t object_comma; /* commas directly within an object */
    uint64_t outermost;    /* close a bracket of level 1 */
    uint64_t opens[1 + MR_NEST_LEVELS]; /* by level: opening brackets */
    uint8_t level[64]; /* of wanted tokens, and maybe of others */
};

struct mr_kernels {
    enum mr_kernel_level level;
    const char *name;

    /**
     * tokenize(t, text, n): Find the tokens of the next window: of text[0] up
     * to, and without, text[min(n, MR_WINDOW_BYTES)].  n is how much text
     * there is in all; when it is no more than a window, this is the last
     * one, and a line feed is added behind it unless it ends in one.  n > 0.
     * t->carry is that of the window before; pos[0] and kind[0] stay.
     */
    void (*tokenize)(struct mr_tokens *t, const uint8_t *text, size_t n);

    /**
     * sort(t, text, n, filter, sorted): The tokens of the window that
     * tokenize() was given the same text and n for, by kind.  Mark suspect
     * the blocks in which a scalar begins that is not true, false, null or
     * a number, as RFC 8259 writes them.  Bits of the last group's sets that
     * stand for no token mean nothing.
     */
    void (*sort)(struct mr_tokens *t, const uint8_t *text, size_t n,
        const struct mr_key_filter *filter, struct mr_sorted *sorted_out);

    /**
     * nest(sets, n, limit, nesting): Match the brackets of the first n
     * tokens of a group, n > 0, nesting being that of the group before;
     * limit, at most MR_NEST_DEPTH, is the depth that is not too deep.  What
     * is said of tokens behind the first bad one means nothing.
     */
    void (*nest)(const struct mr_token_sets *sets, size_t n, int32_t limit,
        struct mr_nesting *nesting);

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
