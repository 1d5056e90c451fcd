/*
 * The levels of x86-64, for kernels.c alone: 64 bytes are two registers with
 * AVX2 and one with AVX-512.
 */

#include <immintrin.h>

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("pclmul") &&
           __builtin_cpu_supports("popcnt");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("gfni") &&
           __builtin_cpu_supports("vpclmulqdq");
}

/* ---- AVX2 ---- */

#define LEVEL(name) name##_avx2
#define LEVEL_NUMBER MR_KERNEL_AVX2
#define LEVEL_NAME "avx2"
#define TARGET __attribute__((target("avx2,bmi,bmi2,pclmul,popcnt")))
#define BLOCK struct block_avx2
#define OWN_OUTLINE

struct block_avx2 {
    __m256i low, high;
};

static inline TARGET struct block_avx2 load_avx2(const uint8_t *p)
{
    struct block_avx2 b;

    b.low = _mm256_loadu_si256((const __m256i *)(const void *)p);
    b.high = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
    return b;
}

/* The top bits of all bytes. */
static inline TARGET uint64_t top_bits_avx2(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

static inline TARGET uint64_t equal_avx2(struct block_avx2 b, uint8_t c)
{
    __m256i x = _mm256_set1_epi8((char)c);

    return top_bits_avx2(
        _mm256_cmpeq_epi8(b.low, x), _mm256_cmpeq_epi8(b.high, x));
}

static inline TARGET uint64_t range_avx2(
    struct block_avx2 b, uint8_t from, uint8_t to)
{
    /* There is no unsigned comparison, but a minimum. */
    __m256i start = _mm256_set1_epi8((char)from);
    __m256i width = _mm256_set1_epi8((char)(to - from));
    __m256i low = _mm256_sub_epi8(b.low, start);
    __m256i high = _mm256_sub_epi8(b.high, start);

    return top_bits_avx2(_mm256_cmpeq_epi8(_mm256_min_epu8(low, width), low),
        _mm256_cmpeq_epi8(_mm256_min_epu8(high, width), high));
}

/*
 * A byte is in a set of bytes that differ in their low four bits when it
 * equals the set's member looked up by them; the lookup gives 0 for bytes of
 * 0x80 and above.  Brackets and braces differ in one bit only, set here;
 * two control characters that become equal to operators by that are left
 * out again.
 */
static inline TARGET void scan_avx2(struct block_avx2 b, struct scan_sets *s)
{
    const __m256i spaces =
        _mm256_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0,
            0, ' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0);
    const __m256i ops = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{',
        ',', '}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0);
    const __m256i bit = _mm256_set1_epi8(0x20);

    s->control = range_avx2(b, 0, 0x1F);
    s->quote = equal_avx2(b, '"');
    s->op = top_bits_avx2(_mm256_cmpeq_epi8(_mm256_or_si256(b.low, bit),
                              _mm256_shuffle_epi8(ops, b.low)),
        _mm256_cmpeq_epi8(
            _mm256_or_si256(b.high, bit), _mm256_shuffle_epi8(ops, b.high)));
    s->op = (s->op & ~s->control) | equal_avx2(b, '\n');
    s->space = top_bits_avx2(
        _mm256_cmpeq_epi8(b.low, _mm256_shuffle_epi8(spaces, b.low)),
        _mm256_cmpeq_epi8(b.high, _mm256_shuffle_epi8(spaces, b.high)));
    s->rare = equal_avx2(b, '\\') | top_bits_avx2(b.low, b.high);
    s->colon = equal_avx2(b, ':');
}

static inline TARGET void scan_utf8_avx2(
    struct block_avx2 b, struct utf8_sets *s)
{
    s->cont = range_avx2(b, 0x80, 0xBF);
    s->lead2 = range_avx2(b, 0xC0, 0xFF);
    s->lead3 = range_avx2(b, 0xE0, 0xFF);
    s->lead4 = range_avx2(b, 0xF0, 0xFF);
    s->never = range_avx2(b, 0xC0, 0xC1) | range_avx2(b, 0xF5, 0xFF);
    s->narrow = equal_avx2(b, 0xE0) | equal_avx2(b, 0xED) |
                equal_avx2(b, 0xF0) | equal_avx2(b, 0xF4);
}

static inline TARGET uint64_t prefix_xor_avx2(uint64_t x)
{
    /* Multiplying without carries by all ones adds up, modulo two, all bits
     * to the right of each place. */
    __m128i product = _mm_clmulepi64_si128(
        _mm_cvtsi64_si128((long long)x), _mm_set1_epi8(-1), 0);

    return (uint64_t)_mm_cvtsi128_si64(product);
}

static inline TARGET size_t emit_avx2(struct mr_tokens *t, size_t n,
    struct block_avx2 b, const uint8_t *p, uint64_t tokens, uint64_t quotes,
    size_t base)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i top = _mm256_set1_epi8((char)0x80);
    struct block_avx2 next = load_avx2(p + 1);
    __m256i kinds[2];

    (void)quotes;
    kinds[0] = _mm256_blendv_epi8(
        b.low, _mm256_or_si256(next.low, top), _mm256_cmpeq_epi8(b.low, quote));
    kinds[1] = _mm256_blendv_epi8(b.high, _mm256_or_si256(next.high, top),
        _mm256_cmpeq_epi8(b.high, quote));
    return emit_each(t, n, (const uint8_t *)kinds, tokens, base);
}

static inline TARGET void sets_avx2(const uint8_t *p, struct mr_token_sets *out)
{
    struct block_avx2 kind = load_avx2(p);
    uint64_t brace_open = equal_avx2(kind, '{');
    uint64_t brace_close = equal_avx2(kind, '}');

    out->curly = brace_open | brace_close;
    out->open = brace_open | equal_avx2(kind, '[');
    out->close = brace_close | equal_avx2(kind, ']');
    out->colon = equal_avx2(kind, ':');
    out->comma = equal_avx2(kind, ',');
    out->newline = equal_avx2(kind, '\n');
    out->string = top_bits_avx2(kind.low, kind.high);
    out->scalar = ~(out->open | out->close | out->colon | out->comma |
                    out->newline | out->string);
}

static inline TARGET __m256i load_half(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The lengths of 32 keys, at most 255, whose colons are at pos[0] on. */
static inline TARGET __m256i key_lengths_avx2(const uint16_t *pos)
{
    const __m256i two = _mm256_set1_epi16(2);
    const __m256i most = _mm256_set1_epi16(MR_OUTLINE_LONG);
    __m256i low = _mm256_sub_epi16(
        _mm256_sub_epi16(load_half(pos), load_half(pos - 1)), two);
    __m256i high = _mm256_sub_epi16(
        _mm256_sub_epi16(load_half(pos + 16), load_half(pos + 15)), two);

    /* Packing works within halves, whose middle parts change places. */
    return _mm256_permute4x64_epi64(
        _mm256_packus_epi16(
            _mm256_min_epu16(low, most), _mm256_min_epu16(high, most)),
        0xD8);
}

/* The outlines of 32 tokens; pos and kind are the first's.  Blending goes by
 * the top bits of bytes, which strings have set. */
static inline TARGET __m256i outlines_avx2(const uint16_t *pos,
    const uint8_t *kind, uint32_t *scalar_out, uint32_t *newline_out)
{
    const __m256i ops = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{',
        ',', '}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0);
    __m256i k = load_half(kind);
    __m256i colon = _mm256_cmpeq_epi8(k, _mm256_set1_epi8(':'));
    __m256i key = _mm256_cmpeq_epi8(load_half(kind + 1), _mm256_set1_epi8(':'));
    __m256i newline = _mm256_cmpeq_epi8(k, _mm256_set1_epi8('\n'));
    __m256i op = _mm256_cmpeq_epi8(_mm256_or_si256(k, _mm256_set1_epi8(0x20)),
        _mm256_shuffle_epi8(ops, k));
    __m256i scalar;
    __m256i out;

    /* Two control characters look like operators. */
    op = _mm256_and_si256(op, _mm256_cmpgt_epi8(k, _mm256_set1_epi8(0x1F)));
    scalar = _mm256_andnot_si256(_mm256_or_si256(op, newline),
        _mm256_cmpgt_epi8(k, _mm256_set1_epi8(-1)));
    *scalar_out = (uint32_t)_mm256_movemask_epi8(scalar);
    *newline_out = (uint32_t)_mm256_movemask_epi8(newline);
    out = _mm256_blendv_epi8(k, _mm256_set1_epi8((char)MR_OUTLINE_STRING),
        _mm256_andnot_si256(key, k));
    out = _mm256_blendv_epi8(out, _mm256_set1_epi8(MR_OUTLINE_SCALAR), scalar);
    return _mm256_blendv_epi8(out, key_lengths_avx2(pos),
        _mm256_and_si256(colon, load_half(kind - 1)));
}

static TARGET void outline_avx2(
    struct mr_tokens *t, size_t from, const uint8_t *text, size_t n_text)
{
    size_t first = from > 0 ? from - 1 : 0;
    uint32_t is_new = from > 0 ? UINT32_MAX - 1 : UINT32_MAX;

    t->n_ends = 0;
    for (; first < t->n; first += 32, is_new = UINT32_MAX) {
        size_t n = t->n - first;
        uint32_t newline;
        uint32_t scalar;

        is_new &= n < 32 ? (UINT32_C(1) << n) - 1 : UINT32_MAX;
        _mm256_storeu_si256((__m256i *)(void *)(t->outline + first),
            outlines_avx2(
                t->pos + 1 + first, t->kind + 1 + first, &scalar, &newline));
        for (scalar &= is_new; scalar; scalar &= scalar - 1)
            check_scalar(t, text, n_text,
                t->pos[1 + first + (size_t)__builtin_ctz(scalar)]);
        for (newline &= is_new; newline; newline &= newline - 1)
            t->end[t->n_ends++] =
                (uint16_t)(first + (size_t)__builtin_ctz(newline));
    }
}

#include "mr/kernels_template.h"

/* ---- AVX-512 ---- */

#define LEVEL(name) name##_avx512
#define LEVEL_NUMBER MR_KERNEL_AVX512
#define LEVEL_NAME "avx512"
#define TARGET                                                                 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,"     \
                          "avx512vbmi2,gfni,vpclmulqdq,avx2,bmi,bmi2,pclmul,"  \
                          "popcnt")))
#define BLOCK __m512i
#define OWN_WIDE_BLOCKS 512
#define OWN_OUTLINE
#define OWN_SORT_AND_NEST
#define OWN_APPEND_OFFSETS

static inline TARGET __m512i load_avx512(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline TARGET uint64_t equal_avx512(__m512i b, uint8_t c)
{
    return _mm512_cmpeq_epi8_mask(b, _mm512_set1_epi8((char)c));
}

static inline TARGET uint64_t range_avx512(__m512i b, uint8_t from, uint8_t to)
{
    return _mm512_cmple_epu8_mask(
        _mm512_sub_epi8(b, _mm512_set1_epi8((char)from)),
        _mm512_set1_epi8((char)(to - from)));
}

/* Bytes beyond ASCII are looked up as others are, by their low seven bits. */
static inline TARGET void scan_avx512(__m512i b, struct scan_sets *s)
{
    const __m512i top = _mm512_set1_epi8((char)0x80);
    __m512i class = _mm512_permutex2var_epi8(
        _mm512_loadu_si512(scan_class), b, _mm512_loadu_si512(scan_class + 64));

    s->quote = equal_avx512(b, '"');
    s->colon = equal_avx512(b, ':');
    s->op = _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_OP));
    s->space = _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_SPACE));
    s->control = _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_CONTROL));
    s->rare =
        _mm512_test_epi8_mask(_mm512_or_si512(class, _mm512_and_si512(b, top)),
            _mm512_set1_epi8((char)(SCAN_BACKSLASH | 0x80)));
    /* In general registers, not where compilers would mask one by another
     * at the cost of moving it. */
    __asm__("" : "+r"(s->control), "+r"(s->colon));
}

static inline TARGET void scan_utf8_avx512(__m512i b, struct utf8_sets *s)
{
    s->cont = range_avx512(b, 0x80, 0xBF);
    s->lead2 = _mm512_cmpge_epu8_mask(b, _mm512_set1_epi8((char)0xC0));
    s->lead3 = _mm512_cmpge_epu8_mask(b, _mm512_set1_epi8((char)0xE0));
    s->lead4 = _mm512_cmpge_epu8_mask(b, _mm512_set1_epi8((char)0xF0));
    s->never = range_avx512(b, 0xC0, 0xC1) | range_avx512(b, 0xF5, 0xFF);
    s->narrow = equal_avx512(b, 0xE0) | equal_avx512(b, 0xED) |
                equal_avx512(b, 0xF0) | equal_avx512(b, 0xF4);
}

static inline TARGET uint64_t prefix_xor_avx512(uint64_t x)
{
    return prefix_xor_avx2(x);
}

static const uint8_t count64[64] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50,
    51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

static inline TARGET size_t emit_avx512(struct mr_tokens *t, size_t n,
    __m512i b, const uint8_t *p, uint64_t tokens, uint64_t quotes, size_t base)
{
    __m512i at =
        _mm512_maskz_compress_epi8(tokens, _mm512_loadu_si512(count64));
    __m512i start = _mm512_set1_epi16((short)base);
    size_t n_new = (size_t)_mm_popcnt_u64(tokens);
    uint16_t *pos = t->pos + 1 + n;

    __m512i kinds = _mm512_mask_blend_epi8(quotes, b,
        _mm512_or_si512(
            _mm512_loadu_si512(p + 1), _mm512_set1_epi8((char)0x80)));
    kinds = _mm512_permutexvar_epi8(at, kinds);
    _mm256_storeu_si256(
        (__m256i *)(void *)(t->kind + 1 + n), _mm512_castsi512_si256(kinds));
    _mm512_storeu_si512(
        pos, _mm512_add_epi16(
                 start, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(at))));
    if (n_new > 32) {
        _mm256_storeu_si256((__m256i *)(void *)(t->kind + 33 + n),
            _mm512_extracti64x4_epi64(kinds, 1));
        _mm512_storeu_si512(pos + 32,
            _mm512_add_epi16(
                start, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(at, 1))));
    }
    return n + n_new;
}

/* Sixteen at a time; more than that are rare. */
static inline TARGET size_t append_offsets_avx512(
    uint32_t *list, size_t n, uint64_t set, size_t base)
{
    const __m512i start = _mm512_set1_epi32((int)base);
    __m512i at = _mm512_maskz_compress_epi8(set, _mm512_loadu_si512(count64));
    size_t n_new = (size_t)_mm_popcnt_u64(set);
    size_t i;

    for (i = 0; i < n_new; i += 16) {
        _mm512_storeu_si512(list + n + i,
            _mm512_add_epi32(
                start, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(at))));
        at = _mm512_alignr_epi64(_mm512_setzero_si512(), at, 2);
    }
    return n + n_new;
}

/* Sums of bytes 0 to i, as signed bytes: first within eight bytes, then over
 * the eight sums. */
static inline TARGET __m512i running_sums_avx512(__m512i v)
{
    const __m512i last =
        _mm512_set_epi64(0x0F0F0F0F0F0F0F0F, 0x0707070707070707,
            0x0F0F0F0F0F0F0F0F, 0x0707070707070707, 0x0F0F0F0F0F0F0F0F,
            0x0707070707070707, 0x0F0F0F0F0F0F0F0F, 0x0707070707070707);
    const __m512i zero = _mm512_setzero_si512();
    __m512i before;

    v = _mm512_add_epi8(v, _mm512_slli_epi64(v, 8));
    v = _mm512_add_epi8(v, _mm512_slli_epi64(v, 16));
    v = _mm512_add_epi8(v, _mm512_slli_epi64(v, 32));
    before = _mm512_alignr_epi64(_mm512_shuffle_epi8(v, last), zero, 7);
    before = _mm512_add_epi8(before, _mm512_alignr_epi64(before, zero, 7));
    before = _mm512_add_epi8(before, _mm512_alignr_epi64(before, zero, 6));
    before = _mm512_add_epi8(before, _mm512_alignr_epi64(before, zero, 4));
    return _mm512_add_epi8(v, before);
}

/*
 * The depth at each token is a running sum.  The brackets of one level are
 * opened and closed in turn, so that those of all levels can be matched
 * level by level instead of one by one: a closing bracket must be of the
 * same kind as the bracket before it on its level, and a comma is in an
 * object if there is an odd number of braces before it on its level.
 */
static TARGET void nest_avx512(const struct mr_token_sets *s, size_t n,
    int32_t limit, struct mr_nesting *out)
{
    uint64_t range = UINT64_MAX >> (64 - n);
    uint64_t open = s->open & range;
    uint64_t close = s->close & range;
    uint64_t types = out->types;
    uint64_t comma = 0;
    __m512i depth = _mm512_mask_mov_epi8(
        _mm512_maskz_set1_epi8(open, 1), close, _mm512_set1_epi8(-1));
    __m512i level;
    uint64_t rest;
    int d;

    depth = _mm512_add_epi8(
        running_sums_avx512(depth), _mm512_set1_epi8((char)out->depth));
    level = _mm512_mask_add_epi8(depth, close, depth, _mm512_set1_epi8(1));
    _mm512_storeu_si512(out->level, level);
    _mm512_storeu_si512(out->opens, _mm512_setzero_si512());
    _mm512_storeu_si512(out->opens + 8, _mm512_setzero_si512());
    out->opens[16] = 0;
    out->outermost = close & _mm512_cmpeq_epi8_mask(level, _mm512_set1_epi8(1));
    out->bad =
        (s->newline & range & _mm512_test_epi8_mask(depth, depth)) |
        (open & _mm512_cmpgt_epi8_mask(level, _mm512_set1_epi8((char)limit))) |
        (close & _mm512_movepi8_mask(depth));
    rest = (open | close | (s->comma & range)) &
           _mm512_cmpgt_epi8_mask(level, _mm512_setzero_si512());
    /* Four levels in any case: it is cheaper than guessing how many. */
    for (d = 1; d <= 4 || (rest && d <= MR_NEST_DEPTH); d++) {
        uint64_t here =
            rest & _mm512_cmpeq_epi8_mask(level, _mm512_set1_epi8((char)d));
        uint64_t brackets = here & (open | close);
        uint64_t type = types >> d & 1;
        uint64_t curly = _pext_u64(s->curly, brackets);
        uint64_t differ =
            (curly ^ (curly << 1 | type)) & ~_pext_u64(open, brackets);
        uint64_t in_object =
            prefix_xor_avx512(brackets & s->curly) ^ (0 - type);

        rest &= ~here;
        out->bad |= _pdep_u64(differ, brackets);
        comma |= here & s->comma & in_object;
        types ^= ((in_object >> (n - 1) & 1) ^ type) << d;
        if (d <= MR_NEST_LEVELS)
            out->opens[d] = here & open;
    }
    out->object_comma = comma;
    out->types = types;
    out->depth +=
        (int32_t)_mm_popcnt_u64(open) - (int32_t)_mm_popcnt_u64(close);
}

/* Four numbers at a time: their first 16 bytes each, a lane, make up a
 * block.  In sets of its bytes the lowest and highest of each lane are: */
#define LANE_LOW UINT64_C(0x0001000100010001)
#define LANE_HIGH UINT64_C(0x8000800080008000)

/* What breaks a rule about exponents: there is at most one, behind the point,
 * and it may have a sign.  other are the bytes that are neither digits nor a
 * point nor a minus in front. */
static inline TARGET uint64_t bad_exponents(
    __m512i b, uint64_t bytes, uint64_t digit, uint64_t point, uint64_t other)
{
    uint64_t e =
        bytes & equal_avx512(_mm512_or_si512(b, _mm512_set1_epi8(0x20)), 'e');
    uint64_t sign = other & (equal_avx512(b, '-') | equal_avx512(b, '+'));
    /* In each lane, the bytes from the first e on. */
    uint64_t behind =
        bytes & ~(((e | LANE_HIGH) - LANE_LOW) & ~(e | LANE_HIGH));

    return (other & ~(e | sign)) | (sign & ~(e << 1)) | (sign << 1 & ~digit) |
           (e & ~(digit << 1)) | (e << 1 & ~(digit | sign)) |
           (e & ((e | LANE_HIGH) - LANE_LOW)) | (point & behind);
}

/*
 * Whether all lanes hold a number of less than 15 bytes as RFC 8259 writes
 * it, as rules for its bytes: which may stand beside which, and that there is
 * at most one point.  A mixture of integers and fractions takes no branch for
 * each.
 */
static inline TARGET bool are_numbers(__m512i b)
{
    __m512i class = _mm512_permutex2var_epi8(
        _mm512_loadu_si512(scan_class), b, _mm512_loadu_si512(scan_class + 64));
    uint64_t ends = ~_mm512_movepi8_mask(b) &
                    _mm512_test_epi8_mask(class,
                        _mm512_set1_epi8(SCAN_OP | SCAN_SPACE | SCAN_QUOTE));
    /* In each lane those before the first end, or but the last. */
    uint64_t bytes = ((ends | LANE_HIGH) - LANE_LOW) & ~(ends | LANE_HIGH);
    uint64_t digit =
        bytes & _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_DIGIT));
    uint64_t minus = LANE_LOW & equal_avx512(b, '-');
    uint64_t point = bytes & equal_avx512(b, '.');
    uint64_t other = bytes & ~(digit | minus | point);
    /* The first digit's place, where a 0 must stand alone. */
    uint64_t first = LANE_LOW + minus;
    /* A lane of 15 bytes may have no end. */
    uint64_t bad = bytes & LANE_HIGH >> 1;

    bad |= point << 1 & ~digit;
    bad |= point & ~(digit << 1);
    bad |= point & ((point | LANE_HIGH) - LANE_LOW);
    bad |= first & ~digit;
    bad |= (first & equal_avx512(b, '0')) << 1 & digit;
    if (__builtin_expect(other != 0, 0))
        bad |= bad_exponents(b, bytes, digit, point, other);
    return bad == 0;
}

static inline TARGET __m128i load_lane(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Check the numbers that are the n tokens of a list, behind which there is
 * room for more. */
static TARGET void check_numbers_avx512(struct mr_tokens *t,
    const uint8_t *text, size_t n_text, uint16_t *token, size_t n)
{
    const uint16_t *pos = t->pos + 1;
    size_t i;
    size_t j;

    /* Fill up the last four; if that is none, the loop does not run. */
    for (i = n; i % 4 != 0; i++)
        token[i] = token[n - 1];
    for (i = 0; i < n; i += 4) {
        bool good = n_text >= 16 && pos[token[i + 3]] <= n_text - 16;

        if (good) {
            __m512i b = _mm512_castsi128_si512(load_lane(text + pos[token[i]]));

            b = _mm512_inserti64x2(b, load_lane(text + pos[token[i + 1]]), 1);
            b = _mm512_inserti64x2(b, load_lane(text + pos[token[i + 2]]), 2);
            b = _mm512_inserti64x2(b, load_lane(text + pos[token[i + 3]]), 3);
            good = are_numbers(b);
        }
        if (__builtin_expect(!good, 0)) {
            for (j = i; j < i + 4; j++)
                check_scalar(t, text, n_text, pos[token[j]]);
        }
    }
}

/* Check the scalars that are the n tokens of a list, and begin with a small
 * letter.  If that is t, f or n, bits 3 and 4 tell which. */
static void check_words_avx512(struct mr_tokens *t, const uint8_t *text,
    size_t n_text, const uint16_t *token, size_t n)
{
    static const struct {
        uint64_t text;
        uint64_t mask;
        size_t n;
    } words[4] = {{0x65736C6166, 0xFFFFFFFFFF, 5}, {0x6C6C756E, 0xFFFFFFFF, 4},
        {0x65757274, 0xFFFFFFFF, 4}, {0, 0, 0}};
    size_t i;

    for (i = 0; i < n; i++) {
        size_t at = t->pos[1 + token[i]];
        const uint8_t *p = text + at;
        unsigned w = *p >> 3 & 3;

        if (n_text - at < 8 ||
            ((mr_get_u64(p) ^ words[w].text) & words[w].mask) != 0 ||
            !(scan_class[p[words[w].n]] & (SCAN_OP | SCAN_SPACE | SCAN_QUOTE)))
            check_scalar(t, text, n_text, at);
    }
}

/* The lengths of 64 keys, at most 255, whose colons are at pos[0] on. */
static inline TARGET __m512i key_lengths_avx512(const uint16_t *pos)
{
    const __m512i two = _mm512_set1_epi16(2);
    __m512i low =
        _mm512_sub_epi16(_mm512_loadu_si512(pos), _mm512_loadu_si512(pos - 1));
    __m512i high = _mm512_sub_epi16(
        _mm512_loadu_si512(pos + 32), _mm512_loadu_si512(pos + 31));

    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtusepi16_epi8(
                                  _mm512_sub_epi16(low, two))),
        _mm512_cvtusepi16_epi8(_mm512_sub_epi16(high, two)), 1);
}

/* As in passing_each, for 64 tokens at once; pos and kind are the first's. */
static inline TARGET uint64_t passing_avx512(const uint16_t *pos,
    const uint8_t *kind, const struct mr_key_filter *filter)
{
    __m512i length = _mm512_permutexvar_epi8(
        _mm512_min_epu8(key_lengths_avx512(pos), _mm512_set1_epi8(63)),
        _mm512_loadu_si512(filter->length));
    /* The lookup ignores the top bit, which marks strings. */
    __m512i first = _mm512_permutex2var_epi8(_mm512_loadu_si512(filter->first),
        _mm512_loadu_si512(kind - 1), _mm512_loadu_si512(filter->first + 64));

    return _mm512_test_epi8_mask(length, first);
}

/* Append the members of a set to a list, first being number 0.  Return how
 * long it is then. */
static inline TARGET size_t append_avx512(
    uint16_t *list, size_t n, uint64_t set, size_t first)
{
    const __m512i start = _mm512_set1_epi16((short)first);
    __m512i at = _mm512_maskz_compress_epi8(set, _mm512_loadu_si512(count64));
    size_t n_new = (size_t)_mm_popcnt_u64(set);

    _mm512_storeu_si512(
        list + n, _mm512_add_epi16(
                      start, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(at))));
    if (__builtin_expect(n_new > 32, 0))
        _mm512_storeu_si512(list + n + 32,
            _mm512_add_epi16(
                start, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(at, 1))));
    return n + n_new;
}

/* The outlines of 64 tokens; pos and kind are the first's. */
static inline TARGET __m512i outlines_avx512(const uint16_t *pos,
    const uint8_t *kind, uint64_t *scalar_out, uint64_t *word_out)
{
    __m512i out = load_avx512(kind);
    __m512i class = _mm512_permutex2var_epi8(_mm512_loadu_si512(scan_class),
        out, _mm512_loadu_si512(scan_class + 64));
    uint64_t string = _mm512_movepi8_mask(out);
    uint64_t value = string & ~equal_avx512(load_avx512(kind + 1), ':');
    uint64_t colon =
        equal_avx512(out, ':') & _mm512_movepi8_mask(load_avx512(kind - 1));

    *scalar_out =
        ~(string | _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_OP)));
    *word_out =
        *scalar_out & _mm512_cmpgt_epi8_mask(out, _mm512_set1_epi8('a' - 1));
    out = _mm512_mask_mov_epi8(
        out, value, _mm512_set1_epi8((char)MR_OUTLINE_STRING));
    out = _mm512_mask_mov_epi8(
        out, *scalar_out, _mm512_set1_epi8(MR_OUTLINE_SCALAR));
    return _mm512_mask_mov_epi8(out, colon, key_lengths_avx512(pos));
}

static TARGET void outline_avx512(
    struct mr_tokens *t, size_t from, const uint8_t *text, size_t n_text)
{
    uint16_t numbers[MR_SCAN_BYTES + 1 + 64];
    uint16_t words[MR_SCAN_BYTES + 1 + 64];
    size_t first = from > 0 ? from - 1 : 0;
    uint64_t is_new = from > 0 ? UINT64_MAX - 1 : UINT64_MAX;
    size_t n_numbers = 0;
    size_t n_words = 0;
    size_t n_ends = 0;

    for (; first < t->n; first += 64, is_new = UINT64_MAX) {
        const uint16_t *pos = t->pos + 1 + first;
        const uint8_t *kinds = t->kind + 1 + first;
        size_t n = t->n - first;
        uint64_t newline = equal_avx512(load_avx512(kinds), '\n');
        uint64_t scalar;
        uint64_t word;

        is_new &= n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
        _mm512_storeu_si512(
            t->outline + first, outlines_avx512(pos, kinds, &scalar, &word));
        scalar &= is_new;
        n_words = append_avx512(words, n_words, word & is_new, first);
        n_numbers = append_avx512(numbers, n_numbers, scalar & ~word, first);
        n_ends = append_avx512(t->end, n_ends, newline & is_new, first);
    }
    t->n_ends = n_ends;
    check_words_avx512(t, text, n_text, words, n_words);
    check_numbers_avx512(t, text, n_text, numbers, n_numbers);
}

static TARGET uint64_t sort_avx512(const struct mr_tokens *t, size_t first,
    const struct mr_key_filter *filter, struct mr_token_sets *s)
{
    const uint8_t *kinds = t->kind + 1 + first;
    __m512i kind = load_avx512(kinds);
    /* Brackets differ from braces in this bit only. */
    __m512i brace = _mm512_or_si512(kind, _mm512_set1_epi8(0x20));

    s->open = equal_avx512(brace, '{');
    s->close = equal_avx512(brace, '}');
    s->curly = _mm512_test_epi8_mask(kind, _mm512_set1_epi8(0x20)) &
               (s->open | s->close);
    s->colon = equal_avx512(kind, ':');
    s->comma = equal_avx512(kind, ',');
    s->newline = equal_avx512(kind, '\n');
    s->string = _mm512_movepi8_mask(kind);
    s->scalar =
        ~(s->open | s->close | s->colon | s->comma | s->newline | s->string);
    return s->colon & passing_avx512(t->pos + 1 + first, kinds, filter);
}

#include "mr/kernels_wide.h"

#include "mr/kernels_template.h"
