#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "mr/bytes.h"

/*
 * One algorithm, in kernels_template.h, over blocks of 64 bytes; the levels
 * differ in what a block is and how questions about its bytes are answered
 * with sets of 64 bits.  This file holds what the levels share, the portable
 * level, and the choice.
 */

/* How far ahead memory is asked for: text that is read for the first time
 * comes from afar, and chunks make its reading a series of short runs that
 * processors do not see through. */
#define PREFETCH_BYTES 2048

/* What every block of text is asked for.  Of a byte of 0x80 or above, the
 * last four sets may say anything. */
struct scan_sets {
    uint64_t rare; /* backslashes, and 0x80 and above */
    uint64_t quote;
    uint64_t op;      /* { } [ ] : , LF */
    uint64_t space;   /* space, tab, CR, LF */
    uint64_t control; /* below 0x20 */
    uint64_t colon;
};

/* What every block must know of those before, beside mr_token_carry. */
struct scan_carry {
    size_t n; /* tokens */
    uint64_t in_string;
    uint64_t in_scalar;
    uint64_t after_quote;
    uint64_t unsettled;  /* not 0: escapes or UTF-8 go on */
    uint64_t has_escape; /* all ones: the open string has a backslash */
};

/* What a closer look at a block finds. */
struct scan_strings {
    uint64_t quote;     /* that begin and end strings */
    uint64_t in_string; /* from the opening quote to the byte before the
                         * closing one */
    uint64_t high;      /* 0x80 and above */
    unsigned flags;
};

/* What a block with bytes of 0x80 and above is asked for. */
struct utf8_sets {
    uint64_t cont;   /* 80 to BF */
    uint64_t lead2;  /* C0 and above: at least one byte follows */
    uint64_t lead3;  /* E0 and above: at least two */
    uint64_t lead4;  /* F0 and above: three */
    uint64_t never;  /* C0, C1, F5 and above */
    uint64_t narrow; /* E0, ED, F0, F4: not every second byte will do */
};

/* Whether a byte ends a scalar that it follows. */
static inline bool is_delimiter(uint8_t c)
{
    static const uint64_t low = UINT64_C(1) << ' ' | UINT64_C(1) << '\t' |
                                UINT64_C(1) << '\n' | UINT64_C(1) << '\r' |
                                UINT64_C(1) << ':' | UINT64_C(1) << ',' |
                                UINT64_C(1) << '"';

    if (c < 64)
        return low >> c & 1;
    return (c | 0x20) == '{' || (c | 0x20) == '}';
}

/* How many of the first n bytes are digits, up to the first that is none. */
static inline size_t count_digits(const uint8_t *p, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i;

    for (i = 0; n - i >= 8; i += 8) {
        /* A digit becomes 0 to 9; adding 0x76 reaches 0x80 from 10 on.  A
         * carry out of a byte spoils only those behind a byte that is no
         * digit already. */
        uint64_t x = mr_get_u64(p + i) ^ 0x30 * ones;
        uint64_t other = (x | (x + 0x76 * ones)) & 0x80 * ones;

        if (other)
            return i + (size_t)__builtin_ctzll(other) / 8;
    }
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i;
}

/* The length of the fraction and exponent at p, or SIZE_MAX when what is
 * there begins as one and is none. */
static size_t count_fraction(const uint8_t *p, size_t n)
{
    size_t i = 0;

    if (i < n && p[i] == '.') {
        size_t n_digits = count_digits(p + 1, n - 1);

        if (n_digits == 0)
            return SIZE_MAX;
        i += 1 + n_digits;
    }
    if (i < n && (p[i] | 0x20) == 'e') {
        size_t n_digits;

        i++;
        if (i < n && (p[i] == '+' || p[i] == '-'))
            i++;
        n_digits = count_digits(p + i, n - i);
        if (n_digits == 0)
            return SIZE_MAX;
        i += n_digits;
    }
    return i;
}

/* Whether true, false, null or a number is at p, and then a delimiter or
 * the end of the n > 0 bytes. */
static inline bool is_scalar(const uint8_t *p, size_t n)
{
    size_t at = p[0] == '-';
    size_t n_digits = count_digits(p + at, n - at);

    if (n_digits == 0) {
        if (n >= 4 && (!memcmp(p, "true", 4) || !memcmp(p, "null", 4)))
            at = 4;
        else if (n >= 5 && !memcmp(p, "false", 5))
            at = 5;
        else
            return false;
    } else {
        if (n_digits > 1 && p[at] == '0')
            return false;
        at += n_digits;
        if (at < n && !is_delimiter(p[at])) {
            size_t n_more = count_fraction(p + at, n - at);

            if (n_more == SIZE_MAX)
                return false;
            at += n_more;
        }
    }
    return at == n || is_delimiter(p[at]);
}

/* Check the scalar at an offset. */
static inline void check_scalar(
    struct mr_tokens *t, const uint8_t *text, size_t n, size_t at)
{
    if (!is_scalar(text + at, n - at))
        t->flags[at / 64] |= MR_BLOCK_SUSPECT;
}

/* outline(), token by token. */
static inline void outline_each(
    struct mr_tokens *t, size_t from, const uint8_t *text, size_t n)
{
    const uint8_t *kind = t->kind + 1;
    size_t i;

    t->n_ends = 0;
    for (i = from > 0 ? from - 1 : 0; i < t->n; i++) {
        uint8_t k = kind[i];
        /* Two quotes' distance, without them. */
        uint16_t length = (uint16_t)(t->pos[1 + i] - t->pos[i] - 2);

        switch (k) {
        case ':':
            if (t->kind[i] & 0x80)
                k = length < MR_OUTLINE_LONG ? (uint8_t)length
                                             : MR_OUTLINE_LONG;
            break;
        case '{':
        case '}':
        case '[':
        case ']':
        case ',':
            break;
        case '\n':
            if (i >= from)
                t->end[t->n_ends++] = (uint16_t)i;
            break;
        default:
            if (k & 0x80) {
                k = kind[i + 1] == ':' ? k : MR_OUTLINE_STRING;
            } else {
                k = MR_OUTLINE_SCALAR;
                if (i >= from)
                    check_scalar(t, text, n, t->pos[1 + i]);
            }
        }
        t->outline[i] = k;
    }
}

/* Those of a set of colons whose key passes the filter; bit i is token
 * first + i. */
static inline uint64_t passing_each(const struct mr_tokens *t, size_t first,
    uint64_t colons, const struct mr_key_filter *filter)
{
    uint64_t passing = 0;

    for (; colons; colons &= colons - 1) {
        size_t token = first + (size_t)__builtin_ctzll(colons);
        const uint16_t *pos = &t->pos[1 + token];
        uint16_t n = (uint16_t)(pos[0] - pos[-1] - 2);

        if (filter->length[n < 63 ? n : 63] &
            filter->first[t->kind[token] & 0x7F])
            passing |= colons & (~colons + 1);
    }
    return passing;
}

/* nest(), one bracket after the other. */
static inline void nest_each(const struct mr_token_sets *s, size_t n,
    int32_t limit, struct mr_nesting *out)
{
    uint64_t range = UINT64_MAX >> (64 - n);
    uint64_t events =
        (s->open | s->close | s->comma | s->newline | s->colon) & range;
    uint64_t types = out->types;
    int32_t depth = out->depth;

    out->bad = out->object_comma = out->outermost = 0;
    memset(out->opens, 0, sizeof out->opens);
    for (; events; events &= events - 1) {
        unsigned i = (unsigned)__builtin_ctzll(events);
        uint64_t bit = events & (~events + 1);
        uint64_t curly = s->curly >> i & 1;

        if (s->open & bit) {
            if (++depth > limit) {
                out->bad |= bit;
                break;
            }
            types = (types & ~(UINT64_C(1) << depth)) | curly << depth;
            if (depth <= MR_NEST_LEVELS)
                out->opens[depth] |= bit;
        } else if (s->close & bit) {
            if (depth == 0 || (types >> depth & 1) != curly) {
                out->bad |= bit;
                break;
            }
            if (depth == 1)
                out->outermost |= bit;
            types &= ~(UINT64_C(1) << depth--);
        } else if (s->comma & bit) {
            out->object_comma |= types >> depth << i & bit;
        } else if (s->newline & bit) {
            if (depth != 0) {
                out->bad |= bit;
                break;
            }
        } else {
            out->level[i] = (uint8_t)depth;
        }
    }
    out->types = types;
    out->depth = depth;
}

/* Append tokens one by one; text[i] holds the kind of a token at i. */
static inline size_t emit_each(struct mr_tokens *t, size_t n,
    const uint8_t *kinds, uint64_t tokens, size_t base)
{
    uint16_t *pos = t->pos + 1 + n;
    uint8_t *kind = t->kind + 1 + n;
    size_t n_new = (size_t)__builtin_popcountll(tokens);
    size_t i;

    /* By eights, so that the loop's length is easy to predict; the surplus
     * is overwritten by what follows. */
    for (i = 0; i < n_new; i += 8) {
        size_t j;

        for (j = i; j < i + 8; j++) {
            unsigned at = (unsigned)__builtin_ctzll(tokens | 1ULL << 63);

            pos[j] = (uint16_t)(base + at);
            kind[j] = kinds[at];
            tokens &= tokens - 1;
        }
    }
    return n + n_new;
}

/* Append the offsets of a set's members, byte 0 being at base, to a list
 * behind which there is room for 64. */
static inline size_t append_offsets_each(
    uint32_t *list, size_t n, uint64_t set, size_t base)
{
    size_t n_new = (size_t)__builtin_popcountll(set);
    size_t i;

    /* By eights, as in emit_each. */
    for (i = 0; i < n_new; i += 8) {
        size_t j;

        for (j = i; j < i + 8; j++) {
            list[n + j] =
                (uint32_t)(base + (unsigned)__builtin_ctzll(set | 1ULL << 63));
            set &= set - 1;
        }
    }
    return n + n_new;
}

/* What 64 bytes of CSV are asked for: all that look like it. */
struct csv_marks {
    uint64_t stop; /* delimiters and line feeds */
    uint64_t newline;
    uint64_t quote;
    uint64_t cr;
    uint64_t backslash; /* that escape within quotes */
    uint64_t space;     /* that are skipped before fields */
};

/* And what is found: those that are it. */
struct csv_found {
    uint64_t stop;
    uint64_t end; /* of records */
    uint64_t bad; /* text behind a closing quote */
};

/* What a byte of CSV stands behind. */
enum csv_place {
    CSV_START,   /* the start of a field, and spaces to be skipped */
    CSV_PLAIN,   /* some of a field that is not quoted, or rubbish */
    CSV_QUOTED,  /* an opening quote */
    CSV_ESCAPED, /* and a backslash */
    CSV_CLOSED,  /* a quote that closes, unless another follows */
    CSV_CLOSED_CR
};

static enum csv_place place_of(const struct mr_csv_carry *c)
{
    if (c->quoted)
        return c->escaped ? CSV_ESCAPED : CSV_QUOTED;
    if (c->closed | c->closed_cr)
        return c->closed ? CSV_CLOSED : CSV_CLOSED_CR;
    return c->begun ? CSV_PLAIN : CSV_START;
}

static void set_place(struct mr_csv_carry *c, enum csv_place place)
{
    c->begun = place != CSV_START;
    c->quoted = 0 - (uint64_t)(place == CSV_QUOTED || place == CSV_ESCAPED);
    c->escaped = place == CSV_ESCAPED;
    c->closed = place == CSV_CLOSED;
    c->closed_cr = place == CSV_CLOSED_CR;
}

/* A stop that counts. */
static enum csv_place take_stop(
    const struct csv_marks *m, uint64_t bit, struct csv_found *found)
{
    found->stop |= bit;
    found->end |= bit & m->newline;
    return CSV_START;
}

/* Behind a quote that may have closed a field, or such a quote and a CR. */
static enum csv_place behind_quote(const struct csv_marks *m, bool backslash,
    enum csv_place place, uint64_t bit, struct csv_found *found)
{
    if (place == CSV_CLOSED && !backslash && (m->quote & bit))
        return CSV_QUOTED;
    if (place == CSV_CLOSED && (m->cr & bit))
        return CSV_CLOSED_CR;
    if ((place == CSV_CLOSED ? m->stop : m->newline) & bit)
        return take_stop(m, bit, found);
    found->bad |= bit;
    return m->stop & bit ? take_stop(m, bit, found) : CSV_PLAIN;
}

/*
 * 64 bytes of CSV with quotes where the parity of quotes does not tell what is
 * quoted, mark by mark.
 */
static __attribute__((noinline)) struct csv_found walk_csv(
    const struct csv_marks *m, bool backslash, struct mr_csv_carry *carry)
{
    struct csv_found found = {0, 0, 0};
    enum csv_place place = place_of(carry);
    uint64_t left = UINT64_MAX;

    while (left != 0) {
        uint64_t set = left;
        uint64_t bit;

        /* The next byte that matters. */
        if (place == CSV_START)
            set &= ~m->space;
        else if (place == CSV_PLAIN)
            set &= m->stop;
        else if (place == CSV_QUOTED)
            set &= m->quote | m->backslash;
        bit = set & (~set + 1);
        if (bit == 0)
            break;
        left &= ~(bit | (bit - 1));
        if (place == CSV_START && (m->quote & bit))
            place = CSV_QUOTED;
        else if (place == CSV_START || place == CSV_PLAIN)
            place = m->stop & bit ? take_stop(m, bit, &found) : CSV_PLAIN;
        else if (place == CSV_QUOTED)
            place = m->quote & bit ? CSV_CLOSED : CSV_ESCAPED;
        else if (place == CSV_ESCAPED)
            place = CSV_QUOTED;
        else
            place = behind_quote(m, backslash, place, bit, &found);
    }
    set_place(carry, place);
    return found;
}

/* Bit i of the result is the parity of bits 0 to i of x. */
static inline uint64_t prefix_xor_by_shifts(uint64_t x)
{
    x ^= x << 1;
    x ^= x << 2;
    x ^= x << 4;
    x ^= x << 8;
    x ^= x << 16;
    x ^= x << 32;
    return x;
}

/* ---- The portable level: a block is its address. ---- */

#define LEVEL(name) name##_portable
#define LEVEL_NUMBER MR_KERNEL_PORTABLE
#define LEVEL_NAME "portable"
#define TARGET
#define BLOCK const uint8_t *

/* Flags of the tables below: set number k of a lookup is that of bit k. */
enum {
    SCAN_QUOTE = 1,
    SCAN_BACKSLASH = 2,
    SCAN_OP = 4,
    SCAN_SPACE = 8,
    SCAN_CONTROL = 16,
    SCAN_COLON = 32,
    SCAN_DIGIT = 64
};

static const uint8_t scan_class[256] = {
    [0 ... 0x08] = SCAN_CONTROL,
    ['\t'] = SCAN_CONTROL | SCAN_SPACE,
    ['\n'] = SCAN_CONTROL | SCAN_SPACE | SCAN_OP,
    [0x0B ... 0x0C] = SCAN_CONTROL,
    ['\r'] = SCAN_CONTROL | SCAN_SPACE,
    [0x0E ... 0x1F] = SCAN_CONTROL,
    [' '] = SCAN_SPACE,
    ['"'] = SCAN_QUOTE,
    ['\\'] = SCAN_BACKSLASH,
    ['{'] = SCAN_OP,
    ['}'] = SCAN_OP,
    ['['] = SCAN_OP,
    [']'] = SCAN_OP,
    [','] = SCAN_OP,
    [':'] = SCAN_OP | SCAN_COLON,
    ['0' ... '9'] = SCAN_DIGIT,
};

enum {
    UTF8_CONT = 1,
    UTF8_LEAD2 = 2,
    UTF8_LEAD3 = 4,
    UTF8_LEAD4 = 8,
    UTF8_NEVER = 16,
    UTF8_NARROW = 32
};

static const uint8_t utf8_class[256] = {
    [0x80 ... 0xBF] = UTF8_CONT,
    [0xC0 ... 0xC1] = UTF8_LEAD2 | UTF8_NEVER,
    [0xC2 ... 0xDF] = UTF8_LEAD2,
    [0xE0] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_NARROW,
    [0xE1 ... 0xEC] = UTF8_LEAD2 | UTF8_LEAD3,
    [0xED] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_NARROW,
    [0xEE ... 0xEF] = UTF8_LEAD2 | UTF8_LEAD3,
    [0xF0] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_LEAD4 | UTF8_NARROW,
    [0xF1 ... 0xF3] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_LEAD4,
    [0xF4] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_LEAD4 | UTF8_NARROW,
    [0xF5 ... 0xFF] = UTF8_LEAD2 | UTF8_LEAD3 | UTF8_LEAD4 | UTF8_NEVER,
};

enum {
    SORT_OPEN = 1,
    SORT_CLOSE = 2,
    SORT_CURLY = 4,
    SORT_COLON = 8,
    SORT_COMMA = 16,
    SORT_STRING = 32,
    SORT_NEWLINE = 64
};

static const uint8_t sort_class[256] = {
    ['{'] = SORT_OPEN | SORT_CURLY,
    ['}'] = SORT_CLOSE | SORT_CURLY,
    ['['] = SORT_OPEN,
    [']'] = SORT_CLOSE,
    [':'] = SORT_COLON,
    [','] = SORT_COMMA,
    ['\n'] = SORT_NEWLINE,
    [0x80 ... 0xFF] = SORT_STRING,
};

/*
 * Set i's bit j is bit i of table[p[j]].  Eight classes make a matrix of 8
 * by 8 bits; exchanging its blocks of 1, 2 and 4 across the diagonal turns
 * it so that each byte is a part of one set.
 */
static void look_up_64(
    const uint8_t *p, const uint8_t table[256], uint64_t sets[8])
{
    unsigned word;
    unsigned i;

    memset(sets, 0, 8 * sizeof *sets);
    for (word = 0; word < 8; word++) {
        uint64_t x = 0;
        uint64_t y;

        for (i = 0; i < 8; i++)
            x |= (uint64_t)table[p[8 * word + i]] << (8 * i);
        y = (x ^ (x >> 7)) & UINT64_C(0x00AA00AA00AA00AA);
        x ^= y ^ (y << 7);
        y = (x ^ (x >> 14)) & UINT64_C(0x0000CCCC0000CCCC);
        x ^= y ^ (y << 14);
        y = (x ^ (x >> 28)) & UINT64_C(0x00000000F0F0F0F0);
        x ^= y ^ (y << 28);
        for (i = 0; i < 8; i++)
            sets[i] |= (x >> (8 * i) & 0xFF) << (8 * word);
    }
}

static inline const uint8_t *load_portable(const uint8_t *p)
{
    return p;
}

/* The top bits of eight bytes, brought together by a multiplication. */
static inline uint64_t top_bits(uint64_t x)
{
    return (x >> 7 & UINT64_C(0x0101010101010101)) *
               UINT64_C(0x0102040810204080) >>
           56;
}

static uint64_t range_portable(const uint8_t *p, uint8_t from, uint8_t to)
{
    uint64_t set = 0;
    unsigned i;

    if (from == 0x80 && to == 0xFF) {
        for (i = 0; i < 64; i += 8)
            set |= top_bits(mr_get_u64(p + i)) << i;
        return set;
    }
    for (i = 0; i < 64; i++)
        set |= (uint64_t)((uint8_t)(p[i] - from) <= to - from) << i;
    return set;
}

static uint64_t equal_portable(const uint8_t *p, uint8_t c)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t all = UINT64_C(0x0101010101010101) * c;
    uint64_t set = 0;
    unsigned i;

    for (i = 0; i < 64; i += 8) {
        uint64_t x = mr_get_u64(p + i) ^ all;

        /* Those that do not differ from c get their top bit. */
        set |= top_bits(~(((x & low) + low) | x)) << i;
    }
    return set;
}

static bool has_high(const uint8_t *p)
{
    uint64_t all = 0;
    unsigned i;

    for (i = 0; i < 64; i += 8)
        all |= mr_get_u64(p + i);
    return (all & UINT64_C(0x8080808080808080)) != 0;
}

static inline void scan_portable(const uint8_t *p, struct scan_sets *s)
{
    uint64_t set[8];

    look_up_64(p, scan_class, set);
    *s = (struct scan_sets){
        .quote = set[0],
        .rare = set[1] | (has_high(p) ? range_portable(p, 0x80, 0xFF) : 0),
        .op = set[2],
        .space = set[3],
        .control = set[4],
        .colon = set[5],
    };
}

static inline void scan_utf8_portable(const uint8_t *p, struct utf8_sets *s)
{
    uint64_t set[8];

    look_up_64(p, utf8_class, set);
    *s = (struct utf8_sets){set[0], set[1], set[2], set[3], set[4], set[5]};
}

static inline uint64_t prefix_xor_portable(uint64_t x)
{
    return prefix_xor_by_shifts(x);
}

static size_t emit_portable(struct mr_tokens *t, size_t n, const uint8_t *b,
    const uint8_t *p, uint64_t tokens, uint64_t quotes, size_t base)
{
    uint8_t *kind = t->kind + 1 + n;
    size_t end = emit_each(t, n, b, tokens, base);
    size_t i;

    (void)p;
    (void)quotes;
    for (i = 0; i < end - n; i++) {
        if (kind[i] == '"')
            kind[i] = 0x80 | b[t->pos[1 + n + i] - base + 1];
    }
    return end;
}

static inline void sets_portable(const uint8_t *p, struct mr_token_sets *out)
{
    uint64_t set[8];

    look_up_64(p, sort_class, set);
    out->open = set[0];
    out->close = set[1];
    out->curly = set[2];
    out->colon = set[3];
    out->comma = set[4];
    out->string = set[5];
    out->newline = set[6];
    out->scalar = ~(set[0] | set[1] | set[3] | set[4] | set[5] | set[6]);
}

#include "mr/kernels_template.h"

/* ---- The levels of instruction sets. ---- */

#if defined(__x86_64__)
#include "mr/kernels_x86.h"
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include "mr/kernels_arm.h"
#endif

static const struct mr_kernels *kernels_of(enum mr_kernel_level level)
{
    switch (level) {
    case MR_KERNEL_PORTABLE:
        return &kernels_portable;
#if defined(__x86_64__)
    case MR_KERNEL_AVX2:
        return has_avx2() ? &kernels_avx2 : NULL;
    case MR_KERNEL_AVX512:
        return has_avx512() ? &kernels_avx512 : NULL;
#elif defined(__aarch64__) && defined(__ARM_NEON)
    case MR_KERNEL_NEON:
        return &kernels_neon;
#endif
    default:
        return NULL;
    }
}

static _Atomic(const struct mr_kernels *) chosen;

const struct mr_kernels *mr_kernels(void)
{
    const struct mr_kernels *k =
        atomic_load_explicit(&chosen, memory_order_acquire);
    int level = MR_KERNEL_LEVELS;

    /* Threads that come here at once all choose the same. */
    while (!k)
        k = kernels_of((enum mr_kernel_level)-- level);
    if (level != MR_KERNEL_LEVELS)
        atomic_store_explicit(&chosen, k, memory_order_release);
    return k;
}

bool mr_kernels_available(enum mr_kernel_level level)
{
    return kernels_of(level) != NULL;
}

bool mr_kernels_force(enum mr_kernel_level level)
{
    const struct mr_kernels *k = kernels_of(level);

    if (!k)
        return false;
    atomic_store_explicit(&chosen, k, memory_order_release);
    return true;
}
