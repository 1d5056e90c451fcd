/*
 * Tokens of eight blocks of 64 bytes at a time, for the AVX-512 level alone.
 *
 * A register of class bytes, one class a bit, is turned about so that each
 * class becomes a word of 64 bits, and the words of eight blocks are brought
 * together: a set of 512 bytes is a register, in which the rules of strings,
 * escapes and tokens cost an instruction or two for all eight blocks.  Tokens
 * are taken from the sets afterwards, from those blocks that have some.
 *
 * Nothing here decides that text is bad: where anything looks so, the blocks
 * are left to the loop over single ones.
 */

#define WIDE_BLOCKS 8
#define WIDE_BYTES (64 * WIDE_BLOCKS)
#define BYTE_ONES UINT64_C(0x0101010101010101)

enum {
    WIDE_QUOTE,
    WIDE_BACKSLASH,
    WIDE_OP,        /* { } [ ] : , LF */
    WIDE_DELIMITER, /* these, quotes, and white space */
    WIDE_CONTROL,   /* below 0x20 */
    WIDE_COLON,
    WIDE_ESCAPE /* what may follow a backslash, but u */
};

static const uint8_t wide_class[128] = {
    [0 ... 0x08] = 1 << WIDE_CONTROL,
    ['\t'] = 1 << WIDE_CONTROL | 1 << WIDE_DELIMITER,
    ['\n'] = 1 << WIDE_CONTROL | 1 << WIDE_DELIMITER | 1 << WIDE_OP,
    [0x0B ... 0x0C] = 1 << WIDE_CONTROL,
    ['\r'] = 1 << WIDE_CONTROL | 1 << WIDE_DELIMITER,
    [0x0E ... 0x1F] = 1 << WIDE_CONTROL,
    [' '] = 1 << WIDE_DELIMITER,
    ['"'] = 1 << WIDE_QUOTE | 1 << WIDE_DELIMITER | 1 << WIDE_ESCAPE,
    [','] = 1 << WIDE_OP | 1 << WIDE_DELIMITER,
    ['/'] = 1 << WIDE_ESCAPE,
    [':'] = 1 << WIDE_OP | 1 << WIDE_DELIMITER | 1 << WIDE_COLON,
    ['['] = 1 << WIDE_OP | 1 << WIDE_DELIMITER,
    ['\\'] = 1 << WIDE_BACKSLASH | 1 << WIDE_ESCAPE,
    [']'] = 1 << WIDE_OP | 1 << WIDE_DELIMITER,
    ['b'] = 1 << WIDE_ESCAPE,
    ['f'] = 1 << WIDE_ESCAPE,
    ['n'] = 1 << WIDE_ESCAPE,
    ['r'] = 1 << WIDE_ESCAPE,
    ['t'] = 1 << WIDE_ESCAPE,
    ['{'] = 1 << WIDE_OP | 1 << WIDE_DELIMITER,
    ['}'] = 1 << WIDE_OP | 1 << WIDE_DELIMITER,
};

/* Of bytes beyond ASCII.  The last three: a byte of 80 to 8F, 90 to 9F, and
 * A0 to BF; or a lead byte that none of those may follow. */
enum {
    WIDE_CONT,  /* 80 to BF */
    WIDE_LEAD2, /* C0 and above: at least one byte follows */
    WIDE_LEAD3, /* E0 and above: at least two */
    WIDE_LEAD4, /* F0 and above: three */
    WIDE_NEVER, /* C0, C1, F5 and above */
    WIDE_80,
    WIDE_90,
    WIDE_A0
};

#define WIDE_2 (1 << WIDE_LEAD2)
#define WIDE_3 (1 << WIDE_LEAD2 | 1 << WIDE_LEAD3)
#define WIDE_4 (1 << WIDE_LEAD2 | 1 << WIDE_LEAD3 | 1 << WIDE_LEAD4)

static const uint8_t wide_utf8[128] = {
    [0x00 ... 0x0F] = 1 << WIDE_CONT | 1 << WIDE_80,
    [0x10 ... 0x1F] = 1 << WIDE_CONT | 1 << WIDE_90,
    [0x20 ... 0x3F] = 1 << WIDE_CONT | 1 << WIDE_A0,
    [0x40 ... 0x41] = WIDE_2 | 1 << WIDE_NEVER,
    [0x42 ... 0x5F] = WIDE_2,
    [0x60] = WIDE_3 | 1 << WIDE_80 | 1 << WIDE_90,
    [0x61 ... 0x6C] = WIDE_3,
    [0x6D] = WIDE_3 | 1 << WIDE_A0,
    [0x6E ... 0x6F] = WIDE_3,
    [0x70] = WIDE_4 | 1 << WIDE_80,
    [0x71 ... 0x73] = WIDE_4,
    [0x74] = WIDE_4 | 1 << WIDE_90 | 1 << WIDE_A0,
    [0x75 ... 0x7F] = WIDE_4 | 1 << WIDE_NEVER,
};

/* Classes 0 to 3, and 4 to 7, of two blocks whose words hold a byte of each
 * class. */
#define WIDE_ROW(k)                                                            \
    (k), (k) + 8, (k) + 16, (k) + 24, (k) + 32, (k) + 40, (k) + 48, (k) + 56,  \
        (k) + 64, (k) + 72, (k) + 80, (k) + 88, (k) + 96, (k) + 104,           \
        (k) + 112, (k) + 120

static const uint8_t wide_rows[2][64] = {
    {WIDE_ROW(0), WIDE_ROW(1), WIDE_ROW(2), WIDE_ROW(3)},
    {WIDE_ROW(4), WIDE_ROW(5), WIDE_ROW(6), WIDE_ROW(7)},
};

/* What eight blocks must know of those before, beside what is in struct
 * mr_token_carry.  Of the vectors only the top bit matters. */
struct wide_carry {
    __m512i quote;
    __m512i scalar;
    __m512i starts;
    __m512i ends;
    uint64_t escapes;   /* not 0: there is something to settle */
    uint64_t in_string; /* 0 or 1, as the next */
    uint64_t has_escape;
};

/* Blocks with tokens. */
struct wide_blocks {
    uint64_t tokens[MR_SCAN_BLOCKS + WIDE_BLOCKS];
    uint8_t number[MR_SCAN_BLOCKS + WIDE_BLOCKS];
};

/* The words of a block's classes, each of which holds a byte of each class;
 * as a matrix of bits, they are turned about. */
static inline TARGET __m512i turn_avx512(__m512i class)
{
    /* Byte i is bit i; as a matrix, this puts bits in opposite order. */
    const __m512i bits = _mm512_set1_epi64((long long)0x8040201008040201);

    return _mm512_gf2p8affine_epi64_epi8(
        _mm512_gf2p8affine_epi64_epi8(bits, class, 0), bits, 0);
}

/* Four sets of 512 bytes, from the words of pairs of blocks that have a lane
 * for each. */
static inline TARGET void gather_avx512(
    __m512i b0, __m512i b2, __m512i b4, __m512i b6, __m512i *set)
{
    __m512i low0 = _mm512_shuffle_i64x2(b0, b2, 0x44);
    __m512i low4 = _mm512_shuffle_i64x2(b4, b6, 0x44);
    __m512i high0 = _mm512_shuffle_i64x2(b0, b2, 0xEE);
    __m512i high4 = _mm512_shuffle_i64x2(b4, b6, 0xEE);

    set[0] = _mm512_shuffle_i64x2(low0, low4, 0x88);
    set[1] = _mm512_shuffle_i64x2(low0, low4, 0xDD);
    set[2] = _mm512_shuffle_i64x2(high0, high4, 0x88);
    set[3] = _mm512_shuffle_i64x2(high0, high4, 0xDD);
}

/* Sets of 512 bytes, from the classes of each block's. */
static inline TARGET void collect_avx512(__m512i class[8], __m512i set[8])
{
    const __m512i rows0 = _mm512_loadu_si512(wide_rows[0]);
    const __m512i rows4 = _mm512_loadu_si512(wide_rows[1]);

    class[0] = turn_avx512(class[0]);
    class[1] = turn_avx512(class[1]);
    class[2] = turn_avx512(class[2]);
    class[3] = turn_avx512(class[3]);
    class[4] = turn_avx512(class[4]);
    class[5] = turn_avx512(class[5]);
    class[6] = turn_avx512(class[6]);
    class[7] = turn_avx512(class[7]);
    gather_avx512(_mm512_permutex2var_epi8(class[0], rows0, class[1]),
        _mm512_permutex2var_epi8(class[2], rows0, class[3]),
        _mm512_permutex2var_epi8(class[4], rows0, class[5]),
        _mm512_permutex2var_epi8(class[6], rows0, class[7]), set);
    gather_avx512(_mm512_permutex2var_epi8(class[0], rows4, class[1]),
        _mm512_permutex2var_epi8(class[2], rows4, class[3]),
        _mm512_permutex2var_epi8(class[4], rows4, class[5]),
        _mm512_permutex2var_epi8(class[6], rows4, class[7]), set + 4);
}

/* The set of the bytes behind those in a set; before is the same set of the
 * 512 bytes before. */
static inline TARGET __m512i behind_avx512(__m512i x, __m512i before)
{
    return _mm512_shldi_epi64(x, _mm512_alignr_epi64(x, before, 7), 1);
}

/* The sum of two numbers of 512 bits, and of a carry of 0 or 1. */
static inline TARGET __m512i add_avx512(
    __m512i a, __m512i b, uint64_t *carry_inout)
{
    const __m512i ones = _mm512_set1_epi64(-1);
    __m512i sum = _mm512_add_epi64(a, b);
    uint64_t carries = _mm512_cmplt_epu64_mask(sum, a);
    uint64_t passes = _mm512_cmpeq_epi64_mask(sum, ones);
    uint64_t up = (carries << 1) + *carry_inout + passes;

    *carry_inout = up >> 8;
    return _mm512_mask_sub_epi64(sum, (__mmask8)(up ^ passes), sum, ones);
}

/* As prefix_xor, of 512 bits; the carry is the parity of all before. */
static inline TARGET __m512i parity_avx512(__m512i x, uint64_t *carry_inout)
{
    const __m512i ones = _mm512_set1_epi64(-1);
    __m512i within = _mm512_unpacklo_epi64(_mm512_clmulepi64_epi128(x, ones, 0),
        _mm512_clmulepi64_epi128(x, ones, 1));
    uint64_t odd = _mm512_movepi64_mask(within);

    odd ^= odd << 1;
    odd ^= odd << 2;
    odd = (odd ^ odd << 4) << 1 ^ (0 - *carry_inout);
    *carry_inout = odd >> 8 & 1;
    return _mm512_mask_xor_epi64(within, (__mmask8)odd, within, ones);
}

/* The last eight bytes' bit of a set is the last of this word. */
static inline TARGET uint64_t last_avx512(__m512i set)
{
    return (uint64_t)_mm_extract_epi64(_mm512_extracti64x2_epi64(set, 3), 1);
}

/* A set whose last byte alone may be in it, and in which a byte is behind. */
static inline TARGET __m512i before_avx512(uint64_t bit)
{
    return _mm512_maskz_set1_epi64(0x80, (long long)(bit << 63));
}

/* The classes of a block beyond ASCII. */
static inline TARGET __m512i utf8_classes_avx512(const uint8_t *p)
{
    __m512i b = load_avx512(p);

    return _mm512_maskz_permutex2var_epi8(_mm512_movepi8_mask(b),
        _mm512_loadu_si512(wide_utf8), b, _mm512_loadu_si512(wide_utf8 + 64));
}

/* Those continuation bytes that a lead byte before forbids, of a class of
 * both. */
static inline TARGET __m512i forbidden_avx512(
    const __m512i set[8], unsigned class, unsigned last)
{
    __m512i lead = behind_avx512(_mm512_and_si512(set[class], set[WIDE_LEAD2]),
        before_avx512(last >> class & 1));

    return _mm512_and_si512(_mm512_and_si512(set[class], set[WIDE_CONT]), lead);
}

/* Check UTF-8, as check_utf8 does. */
__attribute__((noinline)) static TARGET bool check_utf8_widely(
    const uint8_t *p, struct mr_token_carry *rare, __m512i *high_out)
{
    const __m512i zero = _mm512_setzero_si512();
    unsigned last = rare->lead ? wide_utf8[rare->last & 0x7F] : 0;
    __m512i class[8];
    __m512i set[8];
    __m512i bad;
    __m512i due;
    unsigned i;

    for (i = 0; i < WIDE_BLOCKS; i++)
        class[i] = utf8_classes_avx512(p + 64 * i);
    collect_avx512(class, set);
    /* A byte is due behind each lead of two, and before the last that is due
     * behind one of three. */
    due = behind_avx512(set[WIDE_LEAD4], zero);
    due = behind_avx512(_mm512_or_si512(due, set[WIDE_LEAD3]), zero);
    due = behind_avx512(_mm512_or_si512(due, set[WIDE_LEAD2]), zero);
    due =
        _mm512_or_si512(due, _mm512_maskz_set1_epi64(1, (long long)rare->lead));
    bad =
        _mm512_or_si512(set[WIDE_NEVER], _mm512_xor_si512(set[WIDE_CONT], due));
    bad = _mm512_or_si512(bad, forbidden_avx512(set, WIDE_80, last));
    bad = _mm512_or_si512(bad, forbidden_avx512(set, WIDE_90, last));
    bad = _mm512_or_si512(bad, forbidden_avx512(set, WIDE_A0, last));
    rare->lead = last_avx512(set[WIDE_LEAD2]) >> 63 |
                 last_avx512(set[WIDE_LEAD3]) >> 62 |
                 last_avx512(set[WIDE_LEAD4]) >> 61;
    rare->last = p[WIDE_BYTES - 1];
    *high_out = _mm512_or_si512(set[WIDE_CONT], set[WIDE_LEAD2]);
    return _mm512_test_epi64_mask(bad, bad) == 0;
}

static inline TARGET uint64_t check_unicode_escapes_avx512(
    __m512i b, uint64_t starts, uint64_t u, struct mr_token_carry *c);

/* Check escapes of other than single characters, as check_escapes does: all
 * must be \\u. */
__attribute__((noinline)) static TARGET bool check_unicode_widely(
    const uint8_t *p, __m512i other, __m512i starts,
    struct mr_token_carry *rare)
{
    uint64_t others[WIDE_BLOCKS];
    uint64_t start[WIDE_BLOCKS];
    uint64_t bad = 0;
    unsigned i;

    _mm512_storeu_si512(others, other);
    _mm512_storeu_si512(start, starts);
    for (i = 0; i < WIDE_BLOCKS; i++) {
        __m512i b = load_avx512(p + 64 * i);

        if (others[i] | (rare->u >> 60) | (rare->high >> 58)) {
            uint64_t u = others[i] & equal_avx512(b, 'u');

            bad |= others[i] ^ u;
            bad |= check_unicode_escapes_avx512(b, start[i], u, rare);
        } else {
            rare->u = rare->ud = rare->high = 0;
        }
    }
    return bad == 0;
}

/* Those of a set of backslashes that are not escaped themselves; compare
 * find_escaped.  The first byte may be escaped. */
static inline TARGET __m512i starts_avx512(__m512i backslash, __m512i escaped)
{
    const __m512i even = _mm512_set1_epi64(0x5555555555555555);
    uint64_t carry = 0;
    __m512i run = _mm512_andnot_si512(escaped, backslash);
    /* The runs' first bits that stand on even places. */
    __m512i first =
        _mm512_andnot_si512(behind_avx512(run, _mm512_setzero_si512()),
            _mm512_and_si512(run, even));

    /* On even places outside of runs that begin on odd ones, or on odd. */
    return _mm512_and_si512(
        run, _mm512_xor_si512(add_avx512(run, first, &carry), even));
}

/* What the text of eight blocks is made of. */
struct wide_found {
    __m512i tokens;
    unsigned backslash; /* bit i: of block i */
    unsigned odd;
};

static inline TARGET __m512i class_avx512(__m512i b)
{
    return _mm512_permutex2var_epi8(
        _mm512_loadu_si512(wide_class), b, _mm512_loadu_si512(wide_class + 64));
}

/* The sets of eight blocks, which mean nothing for bytes beyond ASCII; and
 * something that has a top bit set if there are any. */
static inline TARGET __m512i load_classes(const uint8_t *p, __m512i set[8])
{
    __m512i b[8] = {load_avx512(p), load_avx512(p + 64), load_avx512(p + 128),
        load_avx512(p + 192), load_avx512(p + 256), load_avx512(p + 320),
        load_avx512(p + 384), load_avx512(p + 448)};
    __m512i class[8] = {class_avx512(b[0]), class_avx512(b[1]),
        class_avx512(b[2]), class_avx512(b[3]), class_avx512(b[4]),
        class_avx512(b[5]), class_avx512(b[6]), class_avx512(b[7])};
    unsigned i;

    /* Behind the text's end it does nothing. */
    for (i = 0; i < WIDE_BYTES; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + PREFETCH_BYTES + i));
    collect_avx512(class, set);
    return _mm512_or_si512(
        _mm512_ternarylogic_epi64(
            _mm512_ternarylogic_epi64(b[0], b[1], b[2], 0xFE),
            _mm512_ternarylogic_epi64(b[3], b[4], b[5], 0xFE), b[6], 0xFE),
        b[7]);
}

static inline TARGET bool any_avx512(__m512i set)
{
    return _mm512_test_epi64_mask(set, set) != 0;
}

/* Leave no byte beyond ASCII in the classes. */
static inline TARGET void clear_high(__m512i set[8], __m512i high)
{
    set[WIDE_QUOTE] = _mm512_andnot_si512(high, set[WIDE_QUOTE]);
    set[WIDE_BACKSLASH] = _mm512_andnot_si512(high, set[WIDE_BACKSLASH]);
    set[WIDE_OP] = _mm512_andnot_si512(high, set[WIDE_OP]);
    set[WIDE_DELIMITER] = _mm512_andnot_si512(high, set[WIDE_DELIMITER]);
    set[WIDE_CONTROL] = _mm512_andnot_si512(high, set[WIDE_CONTROL]);
    set[WIDE_COLON] = _mm512_andnot_si512(high, set[WIDE_COLON]);
    set[WIDE_ESCAPE] = _mm512_andnot_si512(high, set[WIDE_ESCAPE]);
}

/* Where the carry of what is rare goes until it is known that it counts. */
struct wide_rare {
    bool is_set;
    struct mr_token_carry carry;
};

static inline TARGET struct mr_token_carry *rare_of(
    struct wide_rare *rare, const struct mr_token_carry *before)
{
    if (!rare->is_set)
        rare->carry = *before;
    rare->is_set = true;
    return &rare->carry;
}

/* Find what is escaped, and check whether it may be. */
static inline __attribute__((always_inline)) TARGET bool begin_escapes(
    const uint8_t *p, const __m512i set[8], __m512i before,
    const struct mr_token_carry *carry, struct wide_rare *rare,
    __m512i *starts_out, __m512i *escaped_out)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i first = behind_avx512(zero, before);
    __m512i starts = starts_avx512(set[WIDE_BACKSLASH], first);
    __m512i escaped = _mm512_or_si512(first, behind_avx512(starts, zero));
    __m512i other = _mm512_andnot_si512(set[WIDE_ESCAPE], escaped);

    *starts_out = starts;
    *escaped_out = escaped;
    return (!any_avx512(other) && (carry->u >> 60 | carry->high >> 58) == 0) ||
           check_unicode_widely(p, other, starts, rare_of(rare, carry));
}

/* The colons behind keys that have a backslash; compare find_escaped_keys. */
static inline __attribute__((always_inline)) TARGET __m512i end_escapes(
    const __m512i set[8], __m512i in_string, __m512i before,
    struct wide_carry *next)
{
    __m512i sum = add_avx512(in_string,
        _mm512_and_si512(set[WIDE_BACKSLASH], in_string), &next->has_escape);
    __m512i ends =
        _mm512_and_si512(_mm512_andnot_si512(in_string, sum), set[WIDE_QUOTE]);
    __m512i open = _mm512_or_si512(next->starts, ends);

    next->ends = ends;
    /* What \u still demands is demanded of a string with a backslash. */
    next->escapes = next->has_escape | _mm512_movepi64_mask(open) >> 7;
    return _mm512_and_si512(set[WIDE_COLON], behind_avx512(ends, before));
}

/* The tokens of eight blocks, and colons that stand right behind no string's
 * end in *odd. */
static inline __attribute__((always_inline)) TARGET __m512i tokens_avx512(
    const __m512i set[8], __m512i in_string, const struct wide_carry *c,
    struct wide_carry *next, __m512i *odd_inout)
{
    __m512i tokens;

    next->quote = set[WIDE_QUOTE];
    /* ~(delimiter | in_string) */
    next->scalar = _mm512_ternarylogic_epi64(
        set[WIDE_DELIMITER], in_string, in_string, 0x03);
    /* colon & ~in_string & ~behind(quote) */
    *odd_inout = _mm512_or_si512(
        *odd_inout, _mm512_ternarylogic_epi64(set[WIDE_COLON], in_string,
                        behind_avx512(set[WIDE_QUOTE], c->quote), 0x10));
    /* in_string ? quote : op */
    tokens = _mm512_ternarylogic_epi64(
        in_string, set[WIDE_QUOTE], set[WIDE_OP], 0xCA);
    /* tokens | (scalar & ~behind(scalar)) */
    return _mm512_ternarylogic_epi64(
        tokens, next->scalar, behind_avx512(next->scalar, c->scalar), 0xF4);
}

/* Look at eight blocks; false if they need a closer look, and then nothing
 * is changed. */
static inline __attribute__((always_inline)) TARGET bool look_widely(
    const uint8_t *p, struct wide_carry *c, struct mr_token_carry *carry,
    struct wide_found *found)
{
    const __m512i zero = _mm512_setzero_si512();
    struct wide_carry next = {
        zero, zero, zero, zero, 0, c->in_string, c->has_escape};
    struct wide_rare rare;
    __m512i set[8];
    __m512i high = load_classes(p, set);
    __m512i escaped = zero;
    __m512i odd = zero;
    __m512i in_string;
    __m512i bad;
    bool escapes;

    rare.is_set = false;
    if ((_mm512_movepi8_mask(high) | carry->lead) != 0) {
        if (!check_utf8_widely(p, rare_of(&rare, carry), &high))
            return false;
        clear_high(set, high);
    } else {
        high = zero;
    }
    found->backslash =
        _mm512_test_epi64_mask(set[WIDE_BACKSLASH], set[WIDE_BACKSLASH]);
    escapes = (found->backslash | c->escapes) != 0;
    if (escapes) {
        if (!begin_escapes(
                p, set, c->starts, carry, &rare, &next.starts, &escaped))
            return false;
        set[WIDE_QUOTE] = _mm512_andnot_si512(escaped, set[WIDE_QUOTE]);
    }
    in_string = parity_avx512(set[WIDE_QUOTE], &next.in_string);
    if (escapes)
        odd = end_escapes(set, in_string, c->ends, &next);
    /* in_string ? control : high | escaped */
    bad = _mm512_ternarylogic_epi64(
        in_string, set[WIDE_CONTROL], _mm512_or_si512(high, escaped), 0xCA);
    if (__builtin_expect(any_avx512(bad), 0))
        return false;
    found->tokens = tokens_avx512(set, in_string, c, &next, &odd);
    found->odd = _mm512_test_epi64_mask(odd, odd);
    *c = next;
    if (rare.is_set)
        *carry = rare.carry;
    return true;
}

/* Append those of eight blocks, the first of a number, that have tokens. */
static inline TARGET size_t keep_blocks(
    struct wide_blocks *blocks, size_t n, size_t first, __m512i tokens)
{
    __mmask8 some = _mm512_test_epi64_mask(tokens, tokens);
    uint64_t bytes = _pdep_u64(some, BYTE_ONES) * 0xFF;

    _mm512_storeu_si512(
        blocks->tokens + n, _mm512_maskz_compress_epi64(some, tokens));
    mr_put_u64(blocks->number + n,
        _pext_u64(0x0706050403020100 + first * BYTE_ONES, bytes));
    return n + (size_t)_mm_popcnt_u32(some);
}

/* Append the tokens of blocks; the first one of all is at an offset.  Return
 * how many there are then. */
static inline TARGET size_t emit_widely(struct mr_tokens *t,
    const uint8_t *text, size_t start, const struct wide_blocks *blocks,
    size_t n_blocks, size_t n)
{
    size_t i;

    for (i = 0; i < n_blocks; i++) {
        size_t at = start + 64 * (size_t)blocks->number[i];
        __m512i b = load_avx512(text + at);

        n = emit_avx512(
            t, n, b, text + at, blocks->tokens[i], equal_avx512(b, '"'), at);
    }
    return n;
}

static TARGET size_t tokenize_widely_avx512(struct mr_tokens *t,
    const uint8_t *text, size_t at, size_t n, struct scan_carry *near)
{
    struct mr_token_carry *carry = &t->carry;
    struct wide_carry c = {.quote = before_avx512(near->after_quote),
        .scalar = before_avx512(near->in_scalar),
        .starts = before_avx512(carry->escaped),
        .ends = before_avx512(carry->end_escape),
        .escapes = carry->escapes | (near->has_escape & 1),
        .in_string = near->in_string & 1,
        .has_escape = near->has_escape & 1};
    struct wide_blocks blocks;
    size_t n_blocks = 0;
    size_t start = at;

    for (; at < n && n - at > WIDE_BYTES; at += WIDE_BYTES) {
        struct wide_found found;

        if (!look_widely(text + at, &c, carry, &found))
            break;
        n_blocks =
            keep_blocks(&blocks, n_blocks, (at - start) / 64, found.tokens);
        mr_put_u64(t->flags + at / 64,
            _pdep_u64(found.backslash, BYTE_ONES) * MR_BLOCK_BACKSLASH +
                _pdep_u64(found.odd, BYTE_ONES) * MR_BLOCK_ODD);
    }
    near->n = emit_widely(t, text, start, &blocks, n_blocks, near->n);
    near->after_quote = last_avx512(c.quote) >> 63;
    near->in_scalar = last_avx512(c.scalar) >> 63;
    near->in_string = 0 - c.in_string;
    near->has_escape = 0 - c.has_escape;
    carry->escaped = last_avx512(c.starts) >> 63;
    carry->end_escape = last_avx512(c.ends) >> 63;
    carry->has_escape = c.has_escape;
    carry->escapes =
        carry->escaped | carry->end_escape | carry->u >> 60 | carry->high >> 58;
    near->unsettled = carry->escapes | carry->lead;
    return at;
}
