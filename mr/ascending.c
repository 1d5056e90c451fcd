#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/ascending.h"

#define DIGITS 8
#define VALUES 256
/* Fewer numbers are sorted by insertion. */
#define FEW 32

/* ---- sorting ---- */

static void sort_few(uint64_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t x = v[i];
        size_t j = i;

        for (; j > 0 && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

/* By one byte of each number, from one array to the other; false, and
 * nothing done, where that byte is the same in all of them. */
static bool sort_by_digit(const uint64_t *from, size_t n, unsigned shift,
    const size_t *count, uint64_t *to)
{
    size_t place[VALUES], sum = 0;

    if (count[from[0] >> shift & (VALUES - 1)] == n)
        return false;
    for (size_t i = 0; i < VALUES; i++) {
        place[i] = sum;
        sum += count[i];
    }
    for (size_t i = 0; i < n; i++)
        to[place[from[i] >> shift & (VALUES - 1)]++] = from[i];
    return true;
}

static void sort_many(uint64_t *v, size_t n, uint64_t *scratch)
{
    size_t count[DIGITS][VALUES] = {{0}};
    uint64_t *from = v, *to = scratch;

    for (size_t i = 0; i < n; i++) {
        for (unsigned d = 0; d < DIGITS; d++)
            count[d][v[i] >> (8 * d) & (VALUES - 1)]++;
    }
    for (unsigned d = 0; d < DIGITS; d++) {
        if (sort_by_digit(from, n, 8 * d, count[d], to)) {
            uint64_t *sorted = to;

            to = from;
            from = sorted;
        }
    }
    if (from != v)
        memcpy(v, from, n * sizeof(*v));
}

size_t mr_ascending_sort(uint64_t *v, size_t n, uint64_t *scratch)
{
    size_t kept = 0;

    if (n <= FEW)
        sort_few(v, n);
    else
        sort_many(v, n, scratch);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || v[i] != v[kept - 1])
            v[kept++] = v[i];
    }
    return kept;
}

/* ---- packing ---- */

/* How many low bits are kept as they are. */
static unsigned low_bits(uint64_t range, size_t n)
{
    uint64_t mean = range / n;

    return mean == 0 ? 0 : 63 - (unsigned)__builtin_clzll(mean);
}

static size_t low_bytes(unsigned l, size_t n)
{
    return (n * l + 7) / 8;
}

static size_t high_places(uint64_t range, unsigned l, size_t n)
{
    return n + (size_t)(range >> l);
}

size_t mr_ascending_bytes(uint64_t first, uint64_t last, size_t n)
{
    unsigned l = low_bits(last - first, n);

    return low_bytes(l, n) + (high_places(last - first, l, n) + 7) / 8;
}

static void put_low(const uint64_t *v, size_t n, unsigned l, uint8_t *out)
{
    const uint64_t mask = (UINT64_C(1) << l) - 1;
    uint64_t word = 0;
    unsigned fill = 0;

    for (size_t i = 0; i < n && l > 0; i++) {
        uint64_t low = (v[i] - v[0]) & mask;

        word |= low << fill;
        fill += l;
        if (fill < 64)
            continue;
        mr_put_u64(out, word);
        out += 8;
        fill -= 64;
        word = fill == 0 ? 0 : low >> (l - fill);
    }
    for (; fill > 0; fill = fill > 8 ? fill - 8 : 0, word >>= 8)
        *out++ = (uint8_t)word;
}

void mr_ascending_pack(const uint64_t *v, size_t n, uint8_t *out)
{
    uint64_t range = v[n - 1] - v[0];
    unsigned l = low_bits(range, n);

    put_low(v, n, l, out);
    out += low_bytes(l, n);
    memset(out, 0, (high_places(range, l, n) + 7) / 8);
    for (size_t i = 0; i < n; i++) {
        size_t place = (size_t)((v[i] - v[0]) >> l) + i;

        out[place / 8] |= (uint8_t)(1 << place % 8);
    }
}

/* The next eight bytes, or as many as there are. */
static uint64_t next_word(struct mr_span *bytes)
{
    uint64_t word = 0;
    size_t n = bytes->n < 8 ? bytes->n : 8;

    if (n == 8) {
        word = mr_get_u64(bytes->p);
    } else {
        for (size_t i = 0; i < n; i++)
            word |= (uint64_t)bytes->p[i] << (8 * i);
    }
    bytes->p += n;
    bytes->n -= n;
    return word;
}

/* Low parts; false where bits behind the last are set. */
static bool get_low(struct mr_span bytes, size_t n, unsigned l, uint64_t *out)
{
    const uint64_t mask = (UINT64_C(1) << l) - 1;
    uint64_t word = 0;
    unsigned fill = 0;

    if (l == 0) {
        memset(out, 0, n * sizeof(*out));
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t low = word;

        if (fill < l) {
            word = next_word(&bytes);
            low |= word << fill;
            /* l is 63 at most, so no shift below is by 64. */
            word >>= l - fill;
            fill += 64;
        } else {
            word >>= l;
        }
        fill -= l;
        out[i] = low & mask;
    }
    return word == 0;
}

/* Put the high parts, a bitmap, before the low ones in out. */
static bool add_high(struct mr_span bytes, uint64_t range, unsigned l, size_t n,
    uint64_t first, uint64_t *out)
{
    uint64_t before = 0;
    size_t i = 0;

    for (size_t base = 0; bytes.n > 0; base += 64) {
        uint64_t word = next_word(&bytes);

        for (; word != 0; word &= word - 1, i++) {
            uint64_t high = base + (uint64_t)__builtin_ctzll(word) - i;
            uint64_t offset;

            if (i == n || high > range >> l)
                return false;
            offset = high << l | out[i];
            if (i > 0 ? offset <= before : offset != 0)
                return false;
            before = offset;
            out[i] = first + offset;
        }
    }
    return i == n && before == range;
}

bool mr_ascending_unpack(struct mr_span packed, uint64_t first, uint64_t last,
    size_t n, uint64_t *out)
{
    uint64_t range = last - first;
    unsigned l;
    struct mr_span low, high;

    if (n < 1 || n > MR_ASCENDING_MAX || last < first || range < n - 1 ||
        packed.n != mr_ascending_bytes(first, last, n))
        return false;
    l = low_bits(range, n);
    low = (struct mr_span){packed.p, low_bytes(l, n)};
    high = (struct mr_span){packed.p + low.n, packed.n - low.n};
    return get_low(low, n, l, out) && add_high(high, range, l, n, first, out);
}
