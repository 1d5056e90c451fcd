#ifndef MR_HYPERLOGLOG_H
#define MR_HYPERLOGLOG_H

#include <math.h>
#include <stdlib.h>

#include "mr/bytes.h"

/*
 * HyperLogLog: how many different users, from a few thousand bytes.
 *
 * The idea.  Hash every user to 64 bits that behave like coin tosses.  Half
 * of all hashes begin with a 1, a quarter with 01, one in 2^k with k - 1
 * zeros and a 1.  Whoever has seen a hash that begins with eleven zeros has
 * therefore seen some 2^12 different ones; seeing the same hash again changes
 * nothing, so repetitions do not count.  One such observation is worthless (a
 * single lucky hash ruins it), so the first p bits of the hash choose one of
 * m = 2^p registers, and each register keeps the longest run of zeros of its
 * own share of the hashes:
 *
 *     63          64-p 63-p                                        0
 *    +----------------+---------------------------------------------+
 *    |    register    |  0 0 0 0 1 . . . . . . . . . . . . . . . .   |
 *    +----------------+---------------------------------------------+
 *       p bits           rank = leading zeros + 1 = 5
 *
 * A register that saw nothing holds 0; ranks run from 1 to q + 1 with q =
 * 64 - p, the last standing for "all q bits were zero".  A register needs six
 * bits; it gets a byte, so that adding is a shift, a count of leading zeros,
 * a comparison and a store, and so that two sketches are joined 16 or 32
 * registers at an instruction.
 *
 * Merging.  The sketch of a union is the larger of the two in each register.
 * The larger of two numbers does not care about order, grouping or
 * repetition, which is all that the laws of merging ask.
 *
 * Estimating.  Flajolet, Fusy, Gandouet and Meunier ("HyperLogLog: the
 * analysis of a near-optimal cardinality estimation algorithm", 2007) take
 * the harmonic mean of 2^register; it goes wrong below about 2.5 m users and
 * near 2^64, and was repaired with a switch to linear counting or with
 * tables of measured bias (Heule, Nunkesser and Hall, "HyperLogLog in
 * Practice", 2013).  Otmar Ertl ("New cardinality estimation algorithms for
 * HyperLogLog sketches", 2017, section 2) derives the correction for both
 * ends instead.  With C(k) registers of rank k,
 *
 *                         m^2 / (2 ln 2)
 *    n = ------------------------------------------------------------------
 *        m sigma(C(0)/m) + sum over k=1..q of C(k)/2^k + m tau(..)/2^q
 *
 *    sigma(x) = x + sum over k>=1 of x^(2^k) 2^(k-1)
 *    tau(x)   = (1 - x - sum over k>=1 of (1 - x^(2^-k))^2 2^-k) / 3
 *               at x = 1 - C(q+1)/m
 *
 * one formula without thresholds or tables from 0 to 2^64.  Its standard
 * error is 1.04/sqrt(m): 0.81% for p = 14 and 16 KiB.
 *
 * An example by hand, p = 4 (16 registers, q = 60), four users whose hashes
 * begin with 0x1C.., 0x1A.., 0x52.., 0xF8.. (in hexadecimal):
 *
 *    0x1C: register 1, then 1100..: rank 1
 *    0x1A: register 1, then 1010..: rank 1
 *    0x52: register 5, then 0010..: rank 3
 *    0xF8: register 15, then 1000..: rank 1
 *
 * so C(0) = 13, C(1) = 2, C(3) = 1.  With x = 13/16, sigma(x) = x + x^2 +
 * 2 x^4 + 4 x^8 + 8 x^16 + ... = 3.4134, the sum is 2/2 + 1/8 = 1.125, no
 * register is full and tau(1) = 0: n = 184.665 / (54.615 + 1.125) = 3.313.
 * Four users left marks in three registers, hence three and a bit.
 *
 * Few users.  A lake has some hundred event types, most of them rare, and
 * 16 KiB for three users is too much.  A sketch therefore begins as a small
 * hash table of the registers that are not zero (open addressing, four bytes
 * an entry, at most three quarters full), doubles as it fills, and becomes
 * an array of bytes when more than m/8 registers are in use.  Both forms
 * hold the same registers, so they give the same estimate and the same
 * encoded bytes.
 *
 *    users, p = 14       0     3   100   1000   2000   3000   10^4   10^7
 *    bytes held          0    16    1K     8K    16K    16K    16K    16K
 *    bytes encoded       2    11   239   1947   3735  16385  16385  16385
 *    estimate            0   3.0  98.3 1002.0 1981.1 2982.9 9954.6 1.0027e7
 *
 * Encoded form, for a precision that stands elsewhere (in the spec):
 *
 *    sparse   0x00, varint n, then n times: varint gap, byte rank
 *             ascending by register; the gap is the number of zero registers
 *             since the entry before (or since the beginning)
 *    dense    0x01, 2^p bytes, one rank each
 *
 * The form is sparse exactly when at most m/8 registers are not zero.  So the
 * bytes depend on the registers alone, not on how they came about, and
 * decoding refuses everything that encoding would not have written.
 *
 * One thread at a time may change a sketch; any number may read it.
 */

#define MR_HLL_BITS_MIN 4
#define MR_HLL_BITS_MAX 18
#define MR_HLL_BITS_DEFAULT 14

#define MR_HLL_SPARSE 0
#define MR_HLL_DENSE 1

struct mr_hll {
    uint8_t *dense;   /* 2^p registers, or NULL while sparse */
    uint32_t *sparse; /* 2^log_cap slots: register << 8 | rank; 0 is free */
    uint32_t n;       /* slots in use */
    uint8_t p;
    uint8_t log_cap;
};

/** mr_hll_init(h, p): An empty sketch of precision p, which must be from
 * MR_HLL_BITS_MIN to MR_HLL_BITS_MAX.  Allocates nothing. */
static inline void mr_hll_init(struct mr_hll *h, unsigned p)
{
    memset(h, 0, sizeof(*h));
    h->p = (uint8_t)p;
}

/** mr_hll_release(h): Free what h holds; it is empty afterwards. */
static inline void mr_hll_release(struct mr_hll *h)
{
    free(h->dense);
    free(h->sparse);
    mr_hll_init(h, h->p);
}

/** The number of registers, and the highest rank. */
static inline uint32_t mr_hll_registers(const struct mr_hll *h)
{
    return UINT32_C(1) << h->p;
}

static inline unsigned mr_hll_rank_max(const struct mr_hll *h)
{
    return 64u - h->p + 1u;
}

/** mr_hll_standard_error(p): The estimate's standard error, as a share. */
static inline double mr_hll_standard_error(unsigned p)
{
    return 1.04 / sqrt((double)(UINT32_C(1) << p));
}

/* The slot of a register in the sparse table, or the free slot where it
 * belongs.  The table always has a free slot.  Multiplying by 2^32 over the
 * golden ratio spreads neighbouring registers. */
static inline uint32_t *mr_hll_slot(
    uint32_t *table, unsigned log_cap, uint32_t index)
{
    uint32_t mask = (UINT32_C(1) << log_cap) - 1;
    uint32_t i = (index * UINT32_C(0x9E3779B1)) >> (32 - log_cap);

    while (table[i] != 0 && table[i] >> 8 != index)
        i = (i + 1) & mask;
    return &table[i];
}

/* Turn the sparse form into the dense one.  MR_NOMEM leaves h unchanged. */
MR_MUST_CHECK static inline enum mr_status mr_hll_densify(struct mr_hll *h)
{
    uint32_t i, cap = h->sparse ? UINT32_C(1) << h->log_cap : 0;
    uint8_t *dense;

    if (h->dense)
        return MR_OK;
    dense = calloc(mr_hll_registers(h), 1);
    if (!dense)
        return MR_NOMEM;
    for (i = 0; i < cap; i++) {
        if (h->sparse[i] != 0)
            dense[h->sparse[i] >> 8] = (uint8_t)h->sparse[i];
    }
    free(h->sparse);
    h->sparse = NULL;
    h->dense = dense;
    h->n = 0;
    h->log_cap = 0;
    return MR_OK;
}

/* Make room for n entries in all: a larger table, or the dense form when n
 * is too many for a table.  MR_NOMEM leaves h unchanged. */
MR_MUST_CHECK static inline enum mr_status mr_hll_reserve(
    struct mr_hll *h, uint32_t n)
{
    uint32_t i, cap = h->sparse ? UINT32_C(1) << h->log_cap : 0;
    unsigned log_cap = h->sparse ? h->log_cap : 2;
    uint32_t *table;

    if (h->dense || n > mr_hll_registers(h) / 8)
        return mr_hll_densify(h);
    while (n * 4 > (UINT32_C(3) << log_cap))
        log_cap++;
    if (h->sparse && log_cap == h->log_cap)
        return MR_OK;
    table = calloc((size_t)1 << log_cap, sizeof(*table));
    if (!table)
        return MR_NOMEM;
    for (i = 0; i < cap; i++) {
        uint32_t v = h->sparse[i];

        if (v != 0)
            *mr_hll_slot(table, log_cap, v >> 8) = v;
    }
    free(h->sparse);
    h->sparse = table;
    h->log_cap = (uint8_t)log_cap;
    return MR_OK;
}

/* Raise one register of a sketch that is still sparse. */
MR_MUST_CHECK static inline enum mr_status mr_hll_raise_sparse(
    struct mr_hll *h, uint32_t index, unsigned rank)
{
    uint32_t entry = index << 8 | rank, *slot = NULL;
    enum mr_status status;

    if (h->sparse) {
        slot = mr_hll_slot(h->sparse, h->log_cap, index);
        if (*slot != 0) {
            if (*slot < entry)
                *slot = entry;
            return MR_OK;
        }
    }
    if (!slot || (h->n + 1) * 4 > (UINT32_C(3) << h->log_cap) ||
        h->n + 1 > mr_hll_registers(h) / 8) {
        status = mr_hll_reserve(h, h->n + 1);
        if (status != MR_OK)
            return status;
        if (h->dense) {
            h->dense[index] = (uint8_t)rank;
            return MR_OK;
        }
        slot = mr_hll_slot(h->sparse, h->log_cap, index);
    }
    *slot = entry;
    h->n++;
    return MR_OK;
}

/**
 * mr_hll_add(h, hash): Add one user by the 64-bit hash.  A few instructions
 * once the sketch is dense; before that a table look-up.  MR_NOMEM, which
 * only a sparse sketch can give, leaves h unchanged.
 */
MR_MUST_CHECK static inline enum mr_status mr_hll_add(
    struct mr_hll *h, uint64_t hash)
{
    uint32_t index = (uint32_t)(hash >> (64 - h->p));
    /* The bit behind the last one ends the count where all are zero. */
    uint64_t rest = hash << h->p | UINT64_C(1) << (h->p - 1);
    unsigned rank = (unsigned)__builtin_clzll(rest) + 1;

    if (__builtin_expect(!h->dense, 0))
        return mr_hll_raise_sparse(h, index, rank);
    if (rank > h->dense[index])
        h->dense[index] = (uint8_t)rank;
    return MR_OK;
}

/* Raise each of n registers to the larger of the two.  n is a multiple of
 * 16; the inner loop of known length becomes one vector instruction even
 * where the compiler would not vectorise the outer one. */
static inline void mr_hll_max(
    uint8_t *restrict to, const uint8_t *restrict from, size_t n)
{
    size_t i, j;

    for (i = 0; i < n; i += 16) {
        for (j = 0; j < 16; j++)
            to[i + j] = to[i + j] > from[i + j] ? to[i + j] : from[i + j];
    }
}

/**
 * mr_hll_merge(dst, src): Make dst the sketch of the union.  MR_MISMATCH
 * when the precisions differ, MR_NOMEM without memory; dst then holds the
 * same registers as before.  O(2^p).
 */
MR_MUST_CHECK static inline enum mr_status mr_hll_merge(
    struct mr_hll *dst, const struct mr_hll *src)
{
    uint32_t i, cap = src->sparse ? UINT32_C(1) << src->log_cap : 0;
    enum mr_status status;

    if (dst->p != src->p)
        return MR_MISMATCH;
    if (dst == src || (!src->dense && src->n == 0))
        return MR_OK;
    status =
        src->dense ? mr_hll_densify(dst) : mr_hll_reserve(dst, dst->n + src->n);
    if (status != MR_OK)
        return status;
    if (src->dense) {
        mr_hll_max(dst->dense, src->dense, mr_hll_registers(dst));
        return MR_OK;
    }
    for (i = 0; i < cap; i++) {
        uint32_t index = src->sparse[i] >> 8;
        uint8_t rank = (uint8_t)src->sparse[i];

        if (rank == 0)
            continue;
        if (!dst->dense) {
            status = mr_hll_raise_sparse(dst, index, rank);
            if (status != MR_OK)
                return status; /* cannot be: there is room */
        } else if (rank > dst->dense[index]) {
            dst->dense[index] = rank;
        }
    }
    return MR_OK;
}

/* Count the registers of each rank. */
static inline void mr_hll_histogram(const struct mr_hll *h, uint32_t count[65])
{
    uint32_t i, m = mr_hll_registers(h);
    uint32_t cap = h->sparse ? UINT32_C(1) << h->log_cap : 0;

    memset(count, 0, 65 * sizeof(count[0]));
    if (h->dense) {
        for (i = 0; i < m; i++)
            count[h->dense[i]]++;
        return;
    }
    for (i = 0; i < cap; i++)
        count[h->sparse[i] & 0xff]++;
    count[0] = m - h->n;
}

/* Ertl's sigma for 0 <= x < 1: the registers that saw nothing. */
static inline double mr_hll_sigma(double x)
{
    double y = 1, z = x, before;

    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

/* Ertl's tau for 0 <= x <= 1: the registers that are full. */
static inline double mr_hll_tau(double x)
{
    double y = 1, z = 1 - x, before;

    if (x <= 0 || x >= 1)
        return 0;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

/** mr_hll_estimate(h): The estimated number of different hashes added: 0 for
 * an empty sketch, never above 2^64.  O(2^p). */
static inline double mr_hll_estimate(const struct mr_hll *h)
{
    const double two_ln_2 = 1.38629436111989061883;
    unsigned k, q = 64u - h->p;
    double m = mr_hll_registers(h), z, estimate;
    uint32_t count[65];

    mr_hll_histogram(h, count);
    if (count[0] == mr_hll_registers(h))
        return 0;
    z = m * mr_hll_tau(1 - count[q + 1] / m);
    for (k = q; k >= 1; k--)
        z = 0.5 * (z + count[k]);
    z += m * mr_hll_sigma(count[0] / m);
    if (z <= 0)
        return 0x1p64;
    estimate = m * m / two_ln_2 / z;
    return estimate < 0x1p64 ? estimate : 0x1p64;
}

static inline int mr_hll_compare_entries(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Gather the registers that are not zero, ascending, into a list of at most
 * cap; return how many there are. */
static inline uint32_t mr_hll_gather(
    const struct mr_hll *h, uint32_t *list, uint32_t cap)
{
    uint32_t i, n = 0, slots = h->sparse ? UINT32_C(1) << h->log_cap : 0;

    for (i = 0; h->dense && i < mr_hll_registers(h); i++) {
        if (h->dense[i] == 0)
            continue;
        if (n < cap)
            list[n] = i << 8 | h->dense[i];
        n++;
    }
    for (i = 0; i < slots; i++) {
        if (h->sparse[i] == 0)
            continue;
        if (n < cap)
            list[n] = h->sparse[i];
        n++;
    }
    if (slots && n <= cap)
        qsort(list, n, sizeof(*list), mr_hll_compare_entries);
    return n;
}

/** mr_hll_encode(h, out): Append the canonical bytes.  MR_NOMEM leaves out
 * unchanged. */
MR_MUST_CHECK static inline enum mr_status mr_hll_encode(
    const struct mr_hll *h, struct mr_buffer *out)
{
    uint32_t i, n, next = 0, m = mr_hll_registers(h), few = m / 8;
    uint32_t *list = malloc(few * sizeof(*list));
    enum mr_status status = MR_NOMEM;

    if (!list)
        return MR_NOMEM;
    n = mr_hll_gather(h, list, few);
    /* A gap of a register below 2^18 takes at most three bytes. */
    if (mr_buffer_reserve(
            out, out->n + 1 + (n > few ? m : MR_VARINT_MAX + 4 * n)) != MR_OK)
        goto done;
    status = MR_OK;
    if (n > few) { /* so the sketch is dense in memory, too */
        out->p[out->n++] = MR_HLL_DENSE;
        memcpy(out->p + out->n, h->dense, m);
        out->n += m;
        goto done;
    }
    out->p[out->n++] = MR_HLL_SPARSE;
    out->n += mr_put_varint(out->p + out->n, n);
    for (i = 0; i < n; i++) {
        out->n += mr_put_varint(out->p + out->n, (list[i] >> 8) - next);
        out->p[out->n++] = (uint8_t)list[i];
        next = (list[i] >> 8) + 1;
    }
done:
    free(list);
    return status;
}

/* Decode what follows the form byte of a sparse sketch. */
MR_MUST_CHECK static inline enum mr_status mr_hll_decode_sparse(
    struct mr_hll *h, struct mr_reader *r)
{
    uint64_t n = mr_read_varint(r), gap, next = 0, m = mr_hll_registers(h);
    enum mr_status status;
    unsigned rank;

    /* Each entry takes two bytes at least. */
    if (r->bad || n > m / 8 || n > r->n / 2)
        return MR_FORMAT;
    for (; n > 0; n--) {
        gap = mr_read_varint(r);
        rank = mr_read_u8(r);
        if (r->bad || gap >= m - next || rank == 0 || rank > mr_hll_rank_max(h))
            return MR_FORMAT;
        status = mr_hll_raise_sparse(h, (uint32_t)(next + gap), rank);
        if (status != MR_OK)
            return status;
        next += gap + 1;
    }
    return MR_OK;
}

/* Decode what follows the form byte of a dense sketch. */
MR_MUST_CHECK static inline enum mr_status mr_hll_decode_dense(
    struct mr_hll *h, struct mr_reader *r)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t room = (0x7F - mr_hll_rank_max(h)) * ones;
    uint32_t used = 0, m = mr_hll_registers(h);
    struct mr_span bytes = mr_read_bytes(r, m);
    uint64_t over = 0;

    if (r->bad)
        return MR_FORMAT;
    /* Eight registers at a time, of which each has the top bit of a byte to
     * itself: set in over by a rank that is too high, else by any but 0. */
    for (uint32_t i = 0; i < m; i += 8) {
        uint64_t ranks = mr_get_u64(bytes.p + i);

        over |= ranks | (ranks + room);
        used += (uint32_t)(((ranks + 0x7F * ones) >> 7 & ones) * ones >> 56);
    }
    if ((over & 0x80 * ones) != 0 || used <= m / 8)
        return MR_FORMAT;
    h->dense = malloc(m);
    if (!h->dense)
        return MR_NOMEM;
    memcpy(h->dense, bytes.p, m);
    return MR_OK;
}

/**
 * mr_hll_decode(h, r, p): Initialise h with precision p and the canonical
 * bytes that r stands at.  MR_FORMAT for bytes that mr_hll_encode would not
 * have written, MR_NOMEM without memory; h is then an empty sketch and r
 * somewhere within the bytes.  Memory is at most some multiple of the bytes
 * read.
 */
MR_MUST_CHECK static inline enum mr_status mr_hll_decode(
    struct mr_hll *h, struct mr_reader *r, unsigned p)
{
    enum mr_status status = MR_FORMAT;
    unsigned form = mr_read_u8(r);

    mr_hll_init(h, p);
    if (r->bad)
        return MR_FORMAT;
    if (form == MR_HLL_SPARSE)
        status = mr_hll_decode_sparse(h, r);
    else if (form == MR_HLL_DENSE)
        status = mr_hll_decode_dense(h, r);
    if (status != MR_OK)
        mr_hll_release(h);
    return status;
}

#endif
