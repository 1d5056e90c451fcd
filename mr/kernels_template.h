/*
 * The kernels' shared algorithm, included once for each level by the header
 * that defines the level's block of 64 bytes and what can be asked of it:
 *
 *   LEVEL(name)     name with the level's suffix
 *   TARGET          the attribute that allows the level's instructions
 *   BLOCK           64 bytes, in registers
 *   load(p)         the block at p
 *   equal(b, c)     bit i set where byte i is c
 *   range(b, x, y)  bit i set where byte i is in x..y, unsigned
 *   scan(b, sets)   the sets that every block is asked for
 *   scan_utf8(...)  the sets that a block beyond ASCII is asked for
 *   prefix_xor(x)   bit i is the parity of bits 0 to i of x
 *   emit(...)       append tokens; quotes may have more than the strings'
 *   sets(p, sets)   the kinds of the 64 tokens whose kinds are at p
 *
 * or its own outline(), with OWN_OUTLINE; its own sort() and nest(), with
 * OWN_SORT_AND_NEST; its own append_offsets(), with OWN_APPEND_OFFSETS
 *
 * (each but the first three through LEVEL()).
 *
 * Finding strings by the parity of quotes, and quotes that are not escaped
 * by arithmetic on the runs of backslashes, follows Langdale and Lemire,
 * "Parsing Gigabytes of JSON per Second" (2019), sections 3.1.1 and 3.1.2.
 */

/* x shifted towards later bytes by k, with what the block before moves in. */
static inline TARGET uint64_t LEVEL(later)(
    uint64_t x, unsigned k, uint64_t before)
{
    return x << k | before >> (64 - k);
}

/*
 * UTF-8 by RFC 3629.  A lead byte demands that as many bytes as its length
 * says continue it, and every continuation byte must be demanded.  Four lead
 * bytes narrow the byte after them (no overlong forms, no surrogates, nothing
 * above U+10FFFF), and some bytes lead nothing.  A fault shows at the byte
 * that is not as demanded: at the latest at its line's end.
 */
static inline TARGET uint64_t LEVEL(check_utf8)(
    BLOCK b, uint8_t last_byte, struct mr_token_carry *c)
{
    struct utf8_sets s;
    uint64_t first = c->lead != 0;
    uint64_t bad;

    LEVEL(scan_utf8)(b, &s);
    bad = s.never |
          (s.cont ^ (s.lead2 << 1 | s.lead3 << 2 | s.lead4 << 3 | c->lead));
    if (s.narrow || (first && c->last >= 0xE0)) {
        bad |= (LEVEL(equal)(b, 0xE0) << 1 | (first & (c->last == 0xE0))) &
               LEVEL(range)(b, 0x80, 0x9F);
        bad |= (LEVEL(equal)(b, 0xED) << 1 | (first & (c->last == 0xED))) &
               LEVEL(range)(b, 0xA0, 0xBF);
        bad |= (LEVEL(equal)(b, 0xF0) << 1 | (first & (c->last == 0xF0))) &
               LEVEL(range)(b, 0x80, 0x8F);
        bad |= (LEVEL(equal)(b, 0xF4) << 1 | (first & (c->last == 0xF4))) &
               LEVEL(range)(b, 0x90, 0xBF);
    }
    c->lead = s.lead2 >> 63 | s.lead3 >> 62 | s.lead4 >> 61;
    c->last = last_byte;
    return bad;
}

/*
 * Four hexadecimal digits after each \u, and surrogates only as pairs.  Each
 * fault shows within its string: where a \uD8 to \uDB (high) is not followed
 * by another \u, that is seen at the two bytes that should be it, not six
 * bytes on, which could be the next line already.
 */
static inline TARGET uint64_t LEVEL(check_unicode_escapes)(
    BLOCK b, uint64_t starts, uint64_t u, struct mr_token_carry *c)
{
    uint64_t digit = LEVEL(range)(b, '0', '9');
    uint64_t a_b = LEVEL(range)(b, 'a', 'b') | LEVEL(range)(b, 'A', 'B');
    uint64_t c_f = LEVEL(range)(b, 'c', 'f') | LEVEL(range)(b, 'C', 'F');
    uint64_t d = LEVEL(equal)(b, 'd') | LEVEL(equal)(b, 'D');
    uint64_t ud = LEVEL(later)(u, 1, c->u) & d;
    uint64_t second = LEVEL(later)(ud, 1, c->ud);
    uint64_t high = second & (LEVEL(range)(b, '8', '9') | a_b);
    uint64_t low = second & c_f;
    uint64_t need_hex = LEVEL(later)(u, 1, c->u) | LEVEL(later)(u, 2, c->u) |
                        LEVEL(later)(u, 3, c->u) | LEVEL(later)(u, 4, c->u);
    uint64_t bad = need_hex & ~(digit | a_b | c_f);

    bad |= LEVEL(later)(high, 3, c->high) & ~starts;
    bad |= LEVEL(later)(high, 4, c->high) & ~u;
    bad |= LEVEL(later)(high, 6, c->high) ^ low;
    c->u = u;
    c->ud = ud;
    c->high = high;
    return bad;
}

/*
 * Within a run of backslashes every second one, beginning with the first,
 * escapes the byte after it.  Adding the runs' first bits that stand on even
 * places carries through those runs and clears them: what is left are the
 * runs that begin on odd places.
 */
static inline TARGET uint64_t LEVEL(find_escaped)(
    uint64_t backslash, uint64_t *starts_out, struct mr_token_carry *c)
{
    const uint64_t even = UINT64_C(0x5555555555555555);
    uint64_t run = backslash & ~c->escaped;
    uint64_t first = run & ~(run << 1);
    uint64_t odd_run = run & (run + (first & even));
    uint64_t starts = (odd_run & ~even) | (run & ~odd_run & even);
    uint64_t escaped = starts << 1 | c->escaped;

    c->escaped = starts >> 63;
    *starts_out = starts;
    return escaped;
}

/* Escaped bytes, and whether each is one that may be escaped. */
static inline TARGET uint64_t LEVEL(check_escapes)(BLOCK b, uint64_t backslash,
    uint64_t quote, uint64_t *escaped_out, struct mr_token_carry *c)
{
    uint64_t starts;
    uint64_t escaped = LEVEL(find_escaped)(backslash, &starts, c);
    uint64_t rest = escaped & ~(backslash | quote);
    uint64_t u = rest & LEVEL(equal)(b, 'u');
    uint64_t bad = 0;

    *escaped_out = escaped;
    rest &= ~(u | LEVEL(equal)(b, 'n'));
    if (rest)
        bad = rest & ~(LEVEL(equal)(b, '/') | LEVEL(equal)(b, 'b') |
                         LEVEL(equal)(b, 'f') | LEVEL(equal)(b, 'r') |
                         LEVEL(equal)(b, 't'));
    if (u | (c->u >> 60) | (c->high >> 58))
        bad |= LEVEL(check_unicode_escapes)(b, starts, u, c);
    else
        c->u = c->ud = c->high = 0;
    return bad;
}

/*
 * Closing quotes of strings with a backslash: adding one or more bits of a
 * run of ones, the bytes of the string, to the run carries out of it exactly
 * once, onto the bit behind it.  Return colons that follow such a quote.
 */
static inline TARGET uint64_t LEVEL(find_escaped_keys)(uint64_t backslash,
    uint64_t in_string, uint64_t quote, uint64_t colon,
    struct mr_token_carry *c)
{
    uint64_t marks = (backslash | c->has_escape) & in_string;
    uint64_t sum = in_string + marks;
    /* The string may end before its first byte in this block. */
    uint64_t ends = (sum | c->has_escape) & ~in_string & quote;
    uint64_t keys = colon & (ends << 1 | c->end_escape);

    c->has_escape = sum < in_string;
    c->end_escape = ends >> 63;
    return keys;
}

/* A line feed in a string: end the string there, which turns what follows
 * outside in; again for each further line feed that is then in a string. */
__attribute__((noinline, cold)) static TARGET uint64_t LEVEL(cut_strings)(
    uint64_t in_string, uint64_t newline)
{
    uint64_t cut;

    while ((cut = in_string & newline) != 0)
        in_string ^= ~(cut & (~cut + 1)) + 1;
    return in_string;
}

/*
 * A block in which a string has a backslash, a control character or bytes
 * beyond ASCII, or a colon stands behind something else than a quote, or
 * that begins in the midst of such a thing.  in_string and after_quote are
 * of the block before.
 */
static inline TARGET struct scan_strings LEVEL(look_closer)(const uint8_t *p,
    uint64_t in_string, uint64_t after_quote, struct mr_token_carry *c)
{
    BLOCK b = LEVEL(load)(p);
    uint64_t newline = LEVEL(equal)(b, '\n');
    uint64_t backslash = LEVEL(equal)(b, '\\');
    uint64_t high = LEVEL(range)(b, 0x80, 0xFF);
    bool has_escapes = (backslash | c->escapes | c->has_escape) != 0;
    struct scan_sets s;
    uint64_t escaped = 0;
    uint64_t odd = 0;
    uint64_t bad = 0;

    LEVEL(scan)(b, &s);
    if (has_escapes) {
        bad |= LEVEL(check_escapes)(b, backslash, s.quote, &escaped, c);
        s.quote &= ~escaped;
    }
    if ((high | c->lead) != 0)
        bad |= LEVEL(check_utf8)(b, p[63], c);
    in_string ^= LEVEL(prefix_xor)(s.quote);
    if (__builtin_expect((in_string & newline) != 0, 0)) {
        bad = 1;
        in_string = LEVEL(cut_strings)(in_string, newline);
    }
    if (has_escapes) {
        odd =
            LEVEL(find_escaped_keys)(backslash, in_string, s.quote, s.colon, c);
        c->escapes =
            c->escaped | c->end_escape | (c->u >> 60) | (c->high >> 58);
    }
    odd |= s.colon & ~in_string & ~(s.quote << 1 | after_quote);
    bad |= (s.control & ~high & in_string) | (high & ~in_string);
    return (struct scan_strings){s.quote, in_string, high,
        (backslash ? MR_BLOCK_BACKSLASH : 0) |
            (bad != 0 ? MR_BLOCK_SUSPECT : 0) | (odd != 0 ? MR_BLOCK_ODD : 0)};
}

/* Append a block's tokens; it begins at offset base of the text.  Return what
 * the next block must know, where escapes and UTF-8 are as before. */
static inline __attribute__((always_inline)) TARGET struct scan_carry LEVEL(
    take_tokens)(struct mr_tokens *t, BLOCK b, const uint8_t *p, size_t base,
    const struct scan_sets *s, uint64_t quotes, uint64_t in_string,
    struct scan_carry near)
{
    uint64_t strings = s->quote & in_string;
    uint64_t scalar = ~(s->op | s->space | s->quote | in_string);

    near.n = LEVEL(emit)(t, near.n, b, p,
        (s->op & ~in_string) | strings |
            (scalar & ~(scalar << 1 | near.in_scalar)),
        quotes, base);
    near.in_string = 0 - (in_string >> 63);
    near.in_scalar = scalar >> 63;
    near.after_quote = s->quote >> 63;
    return near;
}

/* One block, whose first byte is at p and at offset base of the text.  p[64]
 * is readable. */
__attribute__((noinline)) static TARGET struct scan_carry LEVEL(
    tokenize_closely)(
    struct mr_tokens *t, const uint8_t *p, size_t base, struct scan_carry near)
{
    struct scan_strings found =
        LEVEL(look_closer)(p, near.in_string, near.after_quote, &t->carry);
    BLOCK b = LEVEL(load)(p);
    struct scan_sets s;
    uint64_t quotes;

    LEVEL(scan)(b, &s);
    quotes = s.quote;
    s.quote = found.quote;
    s.op &= ~found.high;
    s.space &= ~found.high;
    t->flags[base / 64] = (uint8_t)found.flags;
    near = LEVEL(take_tokens)(t, b, p, base, &s, quotes, found.in_string, near);
    near.unsettled = t->carry.escapes | t->carry.lead;
    near.has_escape = 0 - t->carry.has_escape;
    return near;
}

/*
 * A block that is unusual because of nothing but backslashes before quotes
 * and n, the escapes that text is full of, in strings that are no keys; or
 * because a string ends that has some.  Set which quotes are quotes and what
 * is in strings; false if there is anything else.
 */
static inline __attribute__((always_inline)) TARGET bool LEVEL(
    take_plain_escapes)(BLOCK b, struct scan_sets *s, uint64_t *in_string_out,
    struct scan_carry *near, unsigned *flags_out)
{
    uint64_t backslash = LEVEL(equal)(b, '\\');
    uint64_t escaped = backslash << 1;
    uint64_t quote = s->quote & ~escaped;
    uint64_t in_string = LEVEL(prefix_xor)(quote) ^ near->in_string;
    /* As in find_escaped_keys. */
    uint64_t marks = (backslash | (near->has_escape & 1)) & in_string;
    uint64_t sum = in_string + marks;
    uint64_t ends = (sum | (near->has_escape & 1)) & ~in_string & quote;
    uint64_t other = (s->rare & ~backslash) | near->unsettled |
                     (backslash & escaped) | (backslash | ends) >> 63 |
                     (escaped & ~(s->quote | LEVEL(equal)(b, 'n')));

    other |= (s->control & in_string) | (s->colon & (ends << 1));
    other |= s->colon & ~in_string & ~(quote << 1 | near->after_quote);
    if (__builtin_expect(other != 0, 0))
        return false;
    s->quote = quote;
    *in_string_out = in_string;
    near->has_escape = 0 - (uint64_t)(sum < in_string);
    *flags_out = backslash ? MR_BLOCK_BACKSLASH : 0;
    return true;
}

/* The blocks from offset at on, up to the first that must be looked at more
 * closely, or the one that reaches n; return where it begins.  Nothing is
 * called, so that what the loop needs stays in registers. */
static TARGET size_t LEVEL(tokenize_plainly)(struct mr_tokens *t,
    const uint8_t *text, size_t at, size_t n, struct scan_carry *near_inout)
{
    struct scan_carry near = *near_inout;

    for (; at < n && n - at > 64; at += 64) {
        const uint8_t *p = text + at;
        BLOCK b = LEVEL(load)(p);
        struct scan_sets s;
        uint64_t in_string;
        uint64_t unusual;
        uint64_t quotes;
        unsigned flags = 0;

        LEVEL(scan)(b, &s);
        quotes = s.quote;
        /* Behind the text's end it does nothing. */
        __builtin_prefetch((const void *)((uintptr_t)p + PREFETCH_BYTES));
        in_string = LEVEL(prefix_xor)(s.quote) ^ near.in_string;
        unusual = (s.control & in_string) |
                  (s.colon & ~in_string & ~(s.quote << 1 | near.after_quote));
        /* A string with a backslash matters where it ends. */
        unusual |= s.rare | near.unsettled | (s.quote & near.has_escape);
        if (__builtin_expect(unusual != 0, 0) &&
            !LEVEL(take_plain_escapes)(b, &s, &in_string, &near, &flags))
            break;
        t->flags[at / 64] = (uint8_t)flags;
        near = LEVEL(take_tokens)(t, b, p, at, &s, quotes, in_string, near);
    }
    *near_inout = near;
    return at;
}

static TARGET void LEVEL(tokenize)(
    struct mr_tokens *t, const uint8_t *text, size_t at, size_t n_text)
{
    size_t n = n_text - at < MR_SCAN_BYTES ? n_text : at + MR_SCAN_BYTES;
    struct scan_carry near = {.n = t->n,
        .in_string = t->carry.in_string,
        .in_scalar = t->carry.in_scalar,
        .after_quote = t->carry.after_quote,
        .unsettled = t->carry.escapes | t->carry.lead,
        .has_escape = 0 - t->carry.has_escape};
    /* A block reads one byte more than its own. */
    size_t n_plain = n < n_text ? n + 1 : n;
    size_t n_tokens;

    while (at < n) {
        size_t stop = n_plain;

#ifdef OWN_WIDE_BLOCKS
        /* Where it stops, that many bytes are for the others. */
        at = LEVEL(tokenize_widely)(t, text, at, n_plain, &near);
        if (stop - at > OWN_WIDE_BLOCKS)
            stop = at + OWN_WIDE_BLOCKS + 1;
#endif
        at = LEVEL(tokenize_plainly)(t, text, at, stop, &near);
        if (at >= n)
            break;
        if (stop < n_plain && at == stop - 1)
            continue;
        t->carry.has_escape = near.has_escape & 1;
        if (n_text - at > 64) {
            near = LEVEL(tokenize_closely)(t, text + at, at, near);
        } else {
            uint8_t tail[65];

            memset(tail, ' ', sizeof tail);
            memcpy(tail, text + at, n - at);
            near = LEVEL(tokenize_closely)(t, tail, at, near);
        }
        at += 64;
    }
    n_tokens = near.n;
    if (n == n_text && text[n - 1] != '\n') {
        if (near.in_string)
            t->flags[(n - 1) / 64] |= MR_BLOCK_SUSPECT;
        if (n % 64 == 0)
            t->flags[n / 64] = 0;
        t->pos[1 + n_tokens] = (uint16_t)n;
        t->kind[1 + n_tokens] = '\n';
        n_tokens++;
    }
    t->carry.in_string = near.in_string;
    t->carry.in_scalar = near.in_scalar;
    t->carry.after_quote = near.after_quote;
    t->carry.has_escape = near.has_escape & 1;
    t->n = n_tokens;
}

#ifndef OWN_OUTLINE
static TARGET void LEVEL(outline)(
    struct mr_tokens *t, size_t from, const uint8_t *text, size_t n)
{
    outline_each(t, from, text, n);
}
#endif

#ifndef OWN_SORT_AND_NEST
static TARGET uint64_t LEVEL(sort)(const struct mr_tokens *t, size_t first,
    const struct mr_key_filter *filter, struct mr_token_sets *sets)
{
    LEVEL(sets)(t->kind + 1 + first, sets);
    return passing_each(t, first, sets->colon, filter);
}

static TARGET void LEVEL(nest)(const struct mr_token_sets *sets, size_t n,
    int32_t limit, struct mr_nesting *nesting)
{
    nest_each(sets, n, limit, nesting);
}
#endif

static TARGET bool LEVEL(json_marks)(
    struct mr_json_carry *c, const uint8_t *p, struct mr_json_marks *marks_out)
{
    struct mr_token_carry escapes = {.escaped = c->escaped};
    BLOCK b = LEVEL(load)(p);
    uint64_t newline = LEVEL(equal)(b, '\n');
    uint64_t backslash = 0;
    struct scan_sets s;
    uint64_t in_string;
    uint64_t scalar;
    uint64_t op;

    LEVEL(scan)(b, &s);
    if ((s.rare | c->escaped) != 0) {
        uint64_t high = LEVEL(range)(b, 0x80, 0xFF);
        uint64_t starts;

        backslash = LEVEL(equal)(b, '\\');
        s.quote &= ~LEVEL(find_escaped)(backslash, &starts, &escapes);
        s.op &= ~high;
        s.space &= ~high;
    }
    in_string = LEVEL(prefix_xor)(s.quote) ^ c->in_string;
    if (__builtin_expect((backslash & ~in_string) != 0, 0))
        return false;
    op = s.op & ~(newline | in_string);
    scalar = ~(s.op | s.space | s.quote | in_string);
    marks_out->token =
        op | (s.quote & in_string) | (scalar & ~(scalar << 1 | c->in_scalar));
    marks_out->bracket = op & ~(s.colon | LEVEL(equal)(b, ','));
    marks_out->feed = newline & in_string;
    c->in_string = 0 - (in_string >> 63);
    c->in_scalar = scalar >> 63;
    c->escaped = escapes.escaped;
    return true;
}

#include "mr/kernels_csv.h"

/* The inner loops below have fixed lengths and restrict pointers so that
 * compilers turn them into vector instructions at -O2 too. */

static TARGET void LEVEL(max_u8)(
    uint8_t *restrict dst, const uint8_t *restrict src, size_t n)
{
    size_t i;

    for (; n >= 64; n -= 64, dst += 64, src += 64)
        for (i = 0; i < 64; i++)
            dst[i] = dst[i] > src[i] ? dst[i] : src[i];
    for (i = 0; i < n; i++)
        dst[i] = dst[i] > src[i] ? dst[i] : src[i];
}

static TARGET void LEVEL(or_u64)(
    uint64_t *restrict dst, const uint64_t *restrict src, size_t n)
{
    size_t i;

    for (; n >= 8; n -= 8, dst += 8, src += 8)
        for (i = 0; i < 8; i++)
            dst[i] |= src[i];
    for (i = 0; i < n; i++)
        dst[i] |= src[i];
}

static TARGET uint64_t LEVEL(popcount_u64)(const uint64_t *p, size_t n)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < n; i++)
        sum += (uint64_t)__builtin_popcountll(p[i]);
    return sum;
}

static const struct mr_kernels LEVEL(kernels) = {
    LEVEL_NUMBER,
    LEVEL_NAME,
    LEVEL(tokenize),
    LEVEL(outline),
    LEVEL(sort),
    LEVEL(nest),
    LEVEL(json_marks),
    LEVEL(csv_stops),
    LEVEL(csv_ends),
    LEVEL(max_u8),
    LEVEL(or_u64),
    LEVEL(popcount_u64),
};

#undef LEVEL
#undef LEVEL_NUMBER
#undef LEVEL_NAME
#undef TARGET
#undef BLOCK
#undef OWN_OUTLINE
#undef OWN_WIDE_BLOCKS
#undef OWN_SORT_AND_NEST
#undef OWN_APPEND_OFFSETS
