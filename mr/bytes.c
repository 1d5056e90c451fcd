#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/bytes.h"

#include <stdlib.h>

void mr_buffer_release(struct mr_buffer *b)
{
    free(b->p);
    *b = (struct mr_buffer){0};
}

enum mr_status mr_buffer_reserve(struct mr_buffer *b, size_t n)
{
    size_t cap = b->cap;
    uint8_t *p;

    if (n <= cap)
        return MR_OK;
    /* By half again; where that is not enough, or would overflow, exactly. */
    if (cap <= SIZE_MAX / 2)
        cap += cap / 2 + 64;
    if (cap < n)
        cap = n;
    p = realloc(b->p, cap);
    if (!p)
        return MR_NOMEM;
    b->p = p;
    b->cap = cap;
    return MR_OK;
}

/* Make room for n more bytes. */
static enum mr_status make_room(struct mr_buffer *b, size_t n)
{
    if (n > SIZE_MAX - b->n)
        return MR_NOMEM;
    return mr_buffer_reserve(b, b->n + n);
}

/* Append bytes for which there is room. */
static void append(struct mr_buffer *b, const void *p, size_t n)
{
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

void *mr_spares_take(struct mr_spares *s)
{
    for (size_t i = 0; i < MR_SPARES; i++) {
        /* Looked at first: an exchange takes the slot from other cores. */
        void *p = atomic_load_explicit(&s->slot[i], memory_order_relaxed);

        if (p != NULL)
            p = atomic_exchange(&s->slot[i], NULL);
        if (p != NULL)
            return p;
    }
    return NULL;
}

void *mr_spares_give(struct mr_spares *s, void *p)
{
    for (size_t i = 0; i < MR_SPARES && p != NULL; i++)
        p = atomic_exchange(&s->slot[i], p);
    return p;
}

void mr_spares_release(struct mr_spares *s, void (*release)(void *spare))
{
    void *spare;

    while ((spare = mr_spares_take(s)) != NULL)
        release(spare);
}

enum mr_status mr_buffer_add(struct mr_buffer *b, const void *p, size_t n)
{
    enum mr_status status = make_room(b, n);

    if (status == MR_OK)
        append(b, p, n);
    return status;
}

enum mr_status mr_buffer_add_u32(struct mr_buffer *b, uint32_t v)
{
    uint8_t bytes[4];

    mr_put_u32(bytes, v);
    return mr_buffer_add(b, bytes, sizeof bytes);
}

enum mr_status mr_buffer_add_u64(struct mr_buffer *b, uint64_t v)
{
    uint8_t bytes[8];

    mr_put_u64(bytes, v);
    return mr_buffer_add(b, bytes, sizeof bytes);
}

enum mr_status mr_buffer_add_varint(struct mr_buffer *b, uint64_t v)
{
    uint8_t bytes[MR_VARINT_MAX];

    return mr_buffer_add(b, bytes, mr_put_varint(bytes, v));
}

enum mr_status mr_buffer_add_string(
    struct mr_buffer *b, const void *p, size_t n)
{
    uint8_t bytes[MR_VARINT_MAX];
    size_t n_prefix = mr_put_varint(bytes, n);
    enum mr_status status;

    if (n > SIZE_MAX - n_prefix)
        return MR_NOMEM;
    status = make_room(b, n_prefix + n);
    if (status == MR_OK) {
        append(b, bytes, n_prefix);
        append(b, p, n);
    }
    return status;
}

/* Take n bytes off the front, or make the reader bad and return NULL. */
static const uint8_t *take(struct mr_reader *r, uint64_t n)
{
    const uint8_t *p = r->p;

    if (r->bad || n > r->n) {
        r->bad = true;
        return NULL;
    }
    if (n > 0) {
        r->p += n;
        r->n -= (size_t)n;
    }
    return p;
}

uint8_t mr_read_u8(struct mr_reader *r)
{
    const uint8_t *p = take(r, 1);

    return p ? *p : 0;
}

uint32_t mr_read_u32(struct mr_reader *r)
{
    const uint8_t *p = take(r, 4);

    return p ? mr_get_u32(p) : 0;
}

uint64_t mr_read_u64(struct mr_reader *r)
{
    const uint8_t *p = take(r, 8);

    return p ? mr_get_u64(p) : 0;
}

uint64_t mr_read_varint(struct mr_reader *r)
{
    uint64_t v = 0;
    unsigned shift;

    for (shift = 0; shift < 7 * MR_VARINT_MAX; shift += 7) {
        uint8_t c = mr_read_u8(r);

        if (r->bad)
            return 0;
        if (shift == 63 && c > 1)
            break;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            /* A last byte of zero adds nothing: a shorter form exists. */
            if (c == 0 && shift > 0)
                break;
            return v;
        }
    }
    r->bad = true;
    return 0;
}

struct mr_span mr_read_bytes(struct mr_reader *r, uint64_t n)
{
    struct mr_span span = {0};

    span.p = take(r, n);
    span.n = span.p ? (size_t)n : 0;
    return span;
}

struct mr_span mr_read_string(struct mr_reader *r)
{
    return mr_read_bytes(r, mr_read_varint(r));
}
