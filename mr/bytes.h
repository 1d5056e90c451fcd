#ifndef MR_BYTES_H
#define MR_BYTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mr/status.h"

/*
 * Spans of memory, a growing buffer, fixed-width little-endian numbers,
 * LEB128 varints (unsigned, at most 10 bytes, as in DWARF 5 section 7.6),
 * and a bounded reader for bytes that nobody has checked yet.
 */

/** A stretch of somebody else's memory. */
struct mr_span {
    const uint8_t *p;
    size_t n;
};

/** Growing memory of its own; all zero is the empty buffer. */
struct mr_buffer {
    uint8_t *p;
    size_t n;   /* bytes in use */
    size_t cap; /* bytes held */
};

/** mr_buffer_release(b): Free what b holds and make it empty. */
void mr_buffer_release(struct mr_buffer *b);

/**
 * mr_buffer_reserve(b, n): Make room for n bytes in all.  Growth is
 * geometric.  Return MR_NOMEM, leaving b unchanged, if there is no memory.
 */
MR_MUST_CHECK enum mr_status mr_buffer_reserve(struct mr_buffer *b, size_t n);

/** Append bytes, one little-endian number, one varint, one string + NUL-less
 * varint length prefix.  MR_NOMEM leaves b unchanged. */
MR_MUST_CHECK enum mr_status mr_buffer_add(
    struct mr_buffer *b, const void *p, size_t n);
MR_MUST_CHECK enum mr_status mr_buffer_add_u32(struct mr_buffer *b, uint32_t v);
MR_MUST_CHECK enum mr_status mr_buffer_add_u64(struct mr_buffer *b, uint64_t v);
MR_MUST_CHECK enum mr_status mr_buffer_add_varint(
    struct mr_buffer *b, uint64_t v);
MR_MUST_CHECK enum mr_status mr_buffer_add_string(
    struct mr_buffer *b, const void *p, size_t n);

/**
 * A few things that cost more to make than to use, kept for the next user,
 * whichever thread that is: a static one belongs to the process.  All zero
 * is empty.
 */
#define MR_SPARES 16
struct mr_spares {
    _Atomic(void *) slot[MR_SPARES];
};

/** mr_spares_take(s): One of them, the caller's from now on, or NULL. */
void *mr_spares_take(struct mr_spares *s);

/** mr_spares_give(s, p): Keep p.  Return what there was no room for, for the
 * caller to free, or NULL. */
MR_MUST_CHECK void *mr_spares_give(struct mr_spares *s, void *p);

/** mr_spares_release(s, release): Release all that are kept. */
void mr_spares_release(struct mr_spares *s, void (*release)(void *spare));

/* Most bytes a 64-bit varint takes. */
#define MR_VARINT_MAX 10

/** mr_put_varint(p, v): Write v at p (room for MR_VARINT_MAX); return the
 * number of bytes written. */
static inline size_t mr_put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

/** Load and store fixed-width little-endian numbers at any alignment. */
static inline uint16_t mr_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t mr_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t mr_get_u64(const uint8_t *p)
{
    return (uint64_t)mr_get_u32(p) | (uint64_t)mr_get_u32(p + 4) << 32;
}

static inline void mr_put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void mr_put_u64(uint8_t *p, uint64_t v)
{
    mr_put_u32(p, (uint32_t)v);
    mr_put_u32(p + 4, (uint32_t)(v >> 32));
}

/**
 * A cursor over unchecked bytes.  A read past the end, or a varint that is
 * longer than it needs to be or over 64 bits, sets bad, gives zero, and
 * makes every later read give zero: a decoder checks bad once, at the end
 * of a record.
 */
struct mr_reader {
    const uint8_t *p;
    size_t n; /* bytes left */
    bool bad;
};

uint8_t mr_read_u8(struct mr_reader *r);
uint32_t mr_read_u32(struct mr_reader *r);
uint64_t mr_read_u64(struct mr_reader *r);
uint64_t mr_read_varint(struct mr_reader *r);
/** The next n bytes, still in the reader's memory; empty when bad. */
struct mr_span mr_read_bytes(struct mr_reader *r, uint64_t n);
/** A varint length and as many bytes. */
struct mr_span mr_read_string(struct mr_reader *r);

/** mr_span_compare(a, b): Byte order; a prefix comes first.  < 0, 0, > 0. */
static inline int mr_span_compare(struct mr_span a, struct mr_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

#endif
