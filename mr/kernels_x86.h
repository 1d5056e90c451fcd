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
        __builtin_cpu_supports("avx512vbmi2");
}

/* ---- AVX2 ---- */

#define LEVEL(name) name##_avx2
#define LEVEL_NUMBER MR_KERNEL_AVX2
#define LEVEL_NAME "avx2"
#define TARGET __attribute__((target("avx2,bmi,bmi2,pclmul,popcnt")))
#define BLOCK struct block_avx2

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

    return top_bits_avx2(
        _mm256_cmpeq_epi8(_mm256_min_epu8(low, width), low),
        _mm256_cmpeq_epi8(_mm256_min_epu8(high, width), high));
}

/*
 * A byte is in a set of bytes that differ in their low four bits when it
 * equals the set's member looked up by them; the lookup gives 0 for bytes of
 * 0x80 and above.  Brackets and braces differ in one bit only, set here;
 * two control characters that become equal to operators by that are left
 * out again.
 */
static inline TARGET void scan_avx2(
    struct block_avx2 b, struct scan_sets *s)
{
    const __m256i spaces = _mm256_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t',
        '\n', 0, 0, '\r', 0, 0, ' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0,
        '\r', 0, 0);
    const __m256i ops = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{',
        ',', '}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0,
        0);
    const __m256i bit = _mm256_set1_epi8(0x20);

    s->control = range_avx2(b, 0, 0x1F);
    s->quote = equal_avx2(b, '"');
    s->backslash = equal_avx2(b, '\\');
    s->op = top_bits_avx2(
        _mm256_cmpeq_epi8(
            _mm256_or_si256(b.low, bit), _mm256_shuffle_epi8(ops, b.low)),
        _mm256_cmpeq_epi8(
            _mm256_or_si256(b.high, bit), _mm256_shuffle_epi8(ops, b.high)));
    s->op &= ~s->control;
    s->space = top_bits_avx2(
        _mm256_cmpeq_epi8(b.low, _mm256_shuffle_epi8(spaces, b.low)),
        _mm256_cmpeq_epi8(b.high, _mm256_shuffle_epi8(spaces, b.high)));
    s->newline = equal_avx2(b, '\n');
    s->high = top_bits_avx2(b.low, b.high);
    s->colon = equal_avx2(b, ':');
    s->digit = range_avx2(b, '0', '9');
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
    struct block_avx2 b, const uint8_t *p, uint64_t tokens, uint64_t strings,
    size_t base)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i top = _mm256_set1_epi8((char)0x80);
    struct block_avx2 next = load_avx2(p + 1);
    __m256i kinds[2];

    (void)strings;
    kinds[0] = _mm256_blendv_epi8(b.low, _mm256_or_si256(next.low, top),
        _mm256_cmpeq_epi8(b.low, quote));
    kinds[1] = _mm256_blendv_epi8(b.high, _mm256_or_si256(next.high, top),
        _mm256_cmpeq_epi8(b.high, quote));
    return emit_each(t, n, (const uint8_t *)kinds, tokens, base);
}

static TARGET void sort_avx2(const struct mr_tokens *t, size_t first,
    const struct mr_key_filter *filter, struct mr_token_sets *out)
{
    struct block_avx2 kind = load_avx2(t->kind + 1 + first);
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
    out->complex = complex_scalars(t, first, out->scalar);
    out->wanted = wanted_colons(t, first, out->colon, filter);
}

#include "mr/kernels_template.h"

/* ---- AVX-512 ---- */

#define LEVEL(name) name##_avx512
#define LEVEL_NUMBER MR_KERNEL_AVX512
#define LEVEL_NAME "avx512"
#define TARGET                                                                 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,"     \
                          "avx512vbmi2,avx2,bmi,bmi2,pclmul,popcnt")))
#define BLOCK __m512i

static inline TARGET __m512i load_avx512(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline TARGET uint64_t equal_avx512(__m512i b, uint8_t c)
{
    return _mm512_cmpeq_epi8_mask(b, _mm512_set1_epi8((char)c));
}

static inline TARGET uint64_t range_avx512(
    __m512i b, uint8_t from, uint8_t to)
{
    return _mm512_cmple_epu8_mask(
        _mm512_sub_epi8(b, _mm512_set1_epi8((char)from)),
        _mm512_set1_epi8((char)(to - from)));
}

static inline TARGET void scan_avx512(__m512i b, struct scan_sets *s)
{
    __m512i class = _mm512_permutex2var_epi8(
        _mm512_loadu_si512(scan_class), b, _mm512_loadu_si512(scan_class + 64));
    /* The lookup goes by the low seven bits. */
    uint64_t low;

    s->high = _mm512_movepi8_mask(b);
    low = ~s->high;
    s->op = low & _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_OP));
    s->space = low & _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_SPACE));
    s->quote = equal_avx512(b, '"');
    s->backslash = equal_avx512(b, '\\');
    s->newline = equal_avx512(b, '\n');
    s->control = _mm512_cmplt_epu8_mask(b, _mm512_set1_epi8(0x20));
    s->colon = equal_avx512(b, ':');
    /* Above 0x7F it does not matter: scalars with such bytes are suspect. */
    s->digit = _mm512_test_epi8_mask(class, _mm512_set1_epi8(SCAN_DIGIT));
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

static inline TARGET size_t emit_avx512(struct mr_tokens *t, size_t n,
    __m512i b, const uint8_t *p, uint64_t tokens, uint64_t strings,
    size_t base)
{
    static const uint8_t count[64] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
        49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    __m512i at = _mm512_maskz_compress_epi8(tokens, _mm512_loadu_si512(count));
    __m512i start = _mm512_set1_epi16((short)base);
    size_t n_new = (size_t)_mm_popcnt_u64(tokens);
    uint16_t *pos = t->pos + 1 + n;

    __m512i kinds = _mm512_mask_blend_epi8(strings, b,
        _mm512_or_si512(
            _mm512_loadu_si512(p + 1), _mm512_set1_epi8((char)0x80)));
    _mm512_storeu_si512(
        t->kind + 1 + n, _mm512_permutexvar_epi8(at, kinds));
    _mm512_storeu_si512(pos,
        _mm512_add_epi16(
            start, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(at))));
    if (n_new > 32)
        _mm512_storeu_si512(pos + 32,
            _mm512_add_epi16(start,
                _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(at, 1))));
    return n + n_new;
}

/* As wanted_colons, for all tokens at once. */
static inline TARGET uint64_t passing_avx512(const struct mr_tokens *t,
    size_t first, const struct mr_key_filter *filter)
{
    const uint16_t *pos = t->pos + first;
    const __m512i two = _mm512_set1_epi16(2);
    __m512i n0 = _mm512_sub_epi16(
        _mm512_loadu_si512(pos + 1), _mm512_loadu_si512(pos));
    __m512i n1 = _mm512_sub_epi16(
        _mm512_loadu_si512(pos + 33), _mm512_loadu_si512(pos + 32));
    __m512i n = _mm512_inserti64x4(
        _mm512_castsi256_si512(
            _mm512_cvtusepi16_epi8(_mm512_sub_epi16(n0, two))),
        _mm512_cvtusepi16_epi8(_mm512_sub_epi16(n1, two)), 1);
    __m512i length = _mm512_permutexvar_epi8(
        _mm512_min_epu8(n, _mm512_set1_epi8(63)),
        _mm512_loadu_si512(filter->length));
    /* The lookup ignores the top bit, which marks strings. */
    __m512i first_byte =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(filter->first),
            _mm512_loadu_si512(t->kind + first),
            _mm512_loadu_si512(filter->first + 64));

    return _mm512_test_epi8_mask(length, first_byte);
}

/* As complex_scalars, for all tokens at once. */
static inline TARGET uint64_t complex_avx512(
    const struct mr_tokens *t, size_t first, __m512i kind)
{
    const uint16_t *pos = t->pos + 1 + first;
    __m512i block = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm512_cvtepi16_epi8(
            _mm512_srli_epi16(_mm512_loadu_si512(pos), 6))),
        _mm512_cvtepi16_epi8(
            _mm512_srli_epi16(_mm512_loadu_si512(pos + 32), 6)),
        1);
    /* The lookup goes by the low six bits. */
    __m512i complex =
        _mm512_permutexvar_epi8(block, _mm512_loadu_si512(t->complex));

    return _mm512_test_epi8_mask(complex, complex) | equal_avx512(kind, '0');
}

static TARGET void sort_avx512(const struct mr_tokens *t, size_t first,
    const struct mr_key_filter *filter, struct mr_token_sets *out)
{
    __m512i kind = load_avx512(t->kind + 1 + first);
    /* Brackets differ from braces in this bit only. */
    __m512i brace = _mm512_or_si512(kind, _mm512_set1_epi8(0x20));

    out->open = equal_avx512(brace, '{');
    out->close = equal_avx512(brace, '}');
    out->curly = _mm512_test_epi8_mask(kind, _mm512_set1_epi8(0x20)) &
        (out->open | out->close);
    out->colon = equal_avx512(kind, ':');
    out->comma = equal_avx512(kind, ',');
    out->newline = equal_avx512(kind, '\n');
    out->string = _mm512_movepi8_mask(kind);
    out->scalar = ~(out->open | out->close | out->colon | out->comma |
        out->newline | out->string);
    out->complex = out->scalar & complex_avx512(t, first, kind);
    out->wanted = out->colon & passing_avx512(t, first, filter);
}

#include "mr/kernels_template.h"
