/*
 * The level of aarch64, for kernels.c alone: 64 bytes are four registers.
 * Advanced SIMD is part of the architecture, so there is nothing to detect.
 */

#include <arm_neon.h>

#define LEVEL(name) name##_neon
#define LEVEL_NUMBER MR_KERNEL_NEON
#define LEVEL_NAME "neon"
#define TARGET
#define BLOCK uint8x16x4_t

static inline uint8x16x4_t load_neon(const uint8_t *p)
{
    return (uint8x16x4_t){
        {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
}

/* One bit of each byte, of bytes that are 0 or 0xFF: keep a bit of its own
 * in each of eight neighbours, then add neighbours three times. */
static inline uint64_t bits_neon(
    uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    const uint8x16_t weight = {
        1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t ab = vpaddq_u8(vandq_u8(a, weight), vandq_u8(b, weight));
    uint8x16_t cd = vpaddq_u8(vandq_u8(c, weight), vandq_u8(d, weight));
    uint8x16_t sum = vpaddq_u8(ab, cd);

    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u64(vreinterpretq_u64_u8(sum), 0);
}

static inline uint64_t equal_neon(uint8x16x4_t b, uint8_t c)
{
    uint8x16_t x = vdupq_n_u8(c);

    return bits_neon(vceqq_u8(b.val[0], x), vceqq_u8(b.val[1], x),
        vceqq_u8(b.val[2], x), vceqq_u8(b.val[3], x));
}

static inline uint64_t range_neon(uint8x16x4_t b, uint8_t from, uint8_t to)
{
    uint8x16_t x = vdupq_n_u8(from);
    uint8x16_t width = vdupq_n_u8((uint8_t)(to - from));

    return bits_neon(vcleq_u8(vsubq_u8(b.val[0], x), width),
        vcleq_u8(vsubq_u8(b.val[1], x), width),
        vcleq_u8(vsubq_u8(b.val[2], x), width),
        vcleq_u8(vsubq_u8(b.val[3], x), width));
}

/* A member of a set whose bytes differ in their low four bits equals what
 * the table has for them. */
static inline uint8x16_t member_neon(
    uint8x16_t table, uint8x16_t x, uint8_t extra)
{
    return vceqq_u8(vorrq_u8(x, vdupq_n_u8(extra)),
        vqtbl1q_u8(table, vandq_u8(x, vdupq_n_u8(15))));
}

static inline void scan_neon(uint8x16x4_t b, struct scan_sets *s)
{
    const uint8x16_t spaces = {
        ' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0};
    /* With the bit set in which braces differ from brackets; two control
     * characters that become equal to operators by that are left out. */
    const uint8x16_t ops = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0};

    s->control = range_neon(b, 0, 0x1F);
    s->quote = equal_neon(b, '"');
    s->op =
        bits_neon(member_neon(ops, b.val[0], 0x20),
            member_neon(ops, b.val[1], 0x20), member_neon(ops, b.val[2], 0x20),
            member_neon(ops, b.val[3], 0x20)) &
        ~s->control;
    s->op |= equal_neon(b, '\n');
    s->space = bits_neon(member_neon(spaces, b.val[0], 0),
        member_neon(spaces, b.val[1], 0), member_neon(spaces, b.val[2], 0),
        member_neon(spaces, b.val[3], 0));
    s->rare = equal_neon(b, '\\') | range_neon(b, 0x80, 0xFF);
    s->colon = equal_neon(b, ':');
}

static inline void scan_utf8_neon(uint8x16x4_t b, struct utf8_sets *s)
{
    s->cont = range_neon(b, 0x80, 0xBF);
    s->lead2 = range_neon(b, 0xC0, 0xFF);
    s->lead3 = range_neon(b, 0xE0, 0xFF);
    s->lead4 = range_neon(b, 0xF0, 0xFF);
    s->never = range_neon(b, 0xC0, 0xC1) | range_neon(b, 0xF5, 0xFF);
    s->narrow = equal_neon(b, 0xE0) | equal_neon(b, 0xED) |
                equal_neon(b, 0xF0) | equal_neon(b, 0xF4);
}

static inline uint64_t prefix_xor_neon(uint64_t x)
{
    return prefix_xor_by_shifts(x);
}

static inline size_t emit_neon(struct mr_tokens *t, size_t n, uint8x16x4_t b,
    const uint8_t *p, uint64_t tokens, uint64_t quotes, size_t base)
{
    uint8x16x4_t next = load_neon(p + 1);
    uint8_t kinds[64];
    unsigned i;

    (void)quotes;
    for (i = 0; i < 4; i++) {
        uint8x16_t quote = vceqq_u8(b.val[i], vdupq_n_u8('"'));

        vst1q_u8(kinds + 16 * i,
            vbslq_u8(quote, vorrq_u8(next.val[i], vdupq_n_u8(0x80)), b.val[i]));
    }
    return emit_each(t, n, kinds, tokens, base);
}

static inline void sets_neon(const uint8_t *p, struct mr_token_sets *out)
{
    uint8x16x4_t kind = load_neon(p);
    uint64_t brace_open = equal_neon(kind, '{');
    uint64_t brace_close = equal_neon(kind, '}');

    out->curly = brace_open | brace_close;
    out->open = brace_open | equal_neon(kind, '[');
    out->close = brace_close | equal_neon(kind, ']');
    out->colon = equal_neon(kind, ':');
    out->comma = equal_neon(kind, ',');
    out->newline = equal_neon(kind, '\n');
    out->string = range_neon(kind, 0x80, 0xFF);
    out->scalar = ~(out->open | out->close | out->colon | out->comma |
                    out->newline | out->string);
}

#include "mr/kernels_template.h"
