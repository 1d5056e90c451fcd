#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/sessions.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mr/userblock.h"

static uint64_t pack(uint64_t start, uint64_t end)
{
    return start << MR_SESSIONS_LENGTH_BITS | (end - start);
}

static uint64_t start_of(uint64_t piece)
{
    return piece >> MR_SESSIONS_LENGTH_BITS;
}

static uint64_t end_of(uint64_t piece)
{
    return start_of(piece) + (piece & MR_SESSIONS_LENGTH_MAX);
}

static bool is_reference(uint64_t slot)
{
    return slot >= MR_SESSIONS_REFERENCE && slot != MR_SESSIONS_NONE;
}

/* Pieces that a list of a class holds: 2, 3, 4, 6, 8, 12, 16, ... */
static size_t class_capacity(unsigned class)
{
    return (size_t)(class & 1 ? 3 : 2) << (class / 2);
}

static uint64_t make_header(unsigned class, size_t n)
{
    return (uint64_t) class << 32 | n;
}

static unsigned header_class(uint64_t header)
{
    return (unsigned)(header >> 32);
}

static size_t header_n(uint64_t header)
{
    return (size_t)(header & UINT32_MAX);
}

void mr_sessions_init(struct mr_sessions *s, uint64_t gap_ms)
{
    memset(s, 0, sizeof(*s));
    s->gap_ms = gap_ms;
}

void mr_sessions_release(struct mr_sessions *s)
{
    free(s->pool);
    memset(s, 0, sizeof(*s));
}

/* A list of a class: from its free list, or fresh from the pool. */
static enum mr_status take_list(
    struct mr_sessions *s, unsigned class, size_t *place_out)
{
    size_t need = 1 + class_capacity(class);

    if (s->free[class] != 0) {
        *place_out = (size_t)(s->free[class] - 1);
        s->free[class] = s->pool[*place_out];
        return MR_OK;
    }
    if (s->cap - s->n < need) {
        size_t cap = s->cap + s->cap / 4 + need + 64;
        uint64_t *pool = realloc(s->pool, cap * sizeof(*pool));

        if (pool == NULL)
            return MR_NOMEM;
        s->pool = pool;
        s->cap = cap;
    }
    *place_out = s->n;
    s->n += need;
    return MR_OK;
}

static void give_list(struct mr_sessions *s, size_t place)
{
    unsigned class = header_class(s->pool[place]);

    s->pool[place] = s->free[class];
    s->free[class] = place + 1;
}

/* The user's pieces, wherever they stand. */
static const uint64_t *pieces_of(
    const struct mr_sessions *s, const uint64_t *slot, size_t *n_out)
{
    if (is_reference(*slot)) {
        const uint64_t *list = s->pool + (*slot & ~MR_SESSIONS_REFERENCE);

        *n_out = header_n(list[0]);
        return list + 1;
    }
    *n_out = *slot != MR_SESSIONS_NONE;
    return slot;
}

/*
 * Put piece in the place of the pieces low up to high of the user's n.  With
 * one piece left it moves to the slot.
 */
static enum mr_status replace(struct mr_sessions *s, uint64_t *slot, size_t n,
    size_t low, size_t high, uint64_t piece)
{
    size_t left = n - (high - low) + 1, place, old = 0;
    bool was_list = is_reference(*slot);
    uint64_t *list;

    if (was_list)
        old = place = (size_t)(*slot & ~MR_SESSIONS_REFERENCE);
    if (left == 1) {
        if (was_list)
            give_list(s, old);
        *slot = piece;
        return MR_OK;
    }
    if (!was_list || left > class_capacity(header_class(s->pool[old]))) {
        unsigned class = was_list ? header_class(s->pool[old]) + 1 : 0;

        if (take_list(s, class, &place) != MR_OK)
            return MR_NOMEM;
        s->pool[place] = make_header(class, n);
        memcpy(s->pool + place + 1, was_list ? s->pool + old + 1 : slot,
            n * sizeof(*slot));
        if (was_list)
            give_list(s, old);
        *slot = MR_SESSIONS_REFERENCE | place;
    }
    list = s->pool + (*slot & ~MR_SESSIONS_REFERENCE);
    if (high != low + 1)
        memmove(
            list + 1 + low + 1, list + 1 + high, (n - high) * sizeof(*list));
    list[1 + low] = piece;
    list[0] = make_header(header_class(list[0]), left);
    return MR_OK;
}

/* The first piece that starts after start. */
static size_t place_of(const uint64_t *piece, size_t n, uint64_t start)
{
    size_t low = 0, high = n;

    if (n > 0 && start_of(piece[n - 1]) <= start)
        return n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (start_of(piece[middle]) <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum mr_status mr_sessions_insert(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms)
{
    size_t n, low, high;
    const uint64_t *piece = pieces_of(s, slot, &n);
    uint64_t start = start_ms, end = end_ms;

    low = high = place_of(piece, n, start);
    if (low > 0) {
        uint64_t left_start = start_of(piece[low - 1]);
        uint64_t left_end = end_of(piece[low - 1]);
        uint64_t joined = left_end > end ? left_end : end;

        if (joined == left_end)
            return MR_OK; /* within the piece before */
        if (start <= left_end + s->gap_ms &&
            joined - left_start <= MR_SESSIONS_LENGTH_MAX) {
            start = left_start;
            end = joined;
            low--;
        }
    }
    while (high < n && start_of(piece[high]) <= end + s->gap_ms) {
        uint64_t right_end = end_of(piece[high]);
        uint64_t joined = right_end > end ? right_end : end;

        if (joined - start > MR_SESSIONS_LENGTH_MAX)
            break;
        end = joined;
        high++;
    }
    return replace(s, slot, n, low, high, pack(start, end));
}

size_t mr_sessions_count(const struct mr_sessions *s, uint64_t slot)
{
    size_t n;

    (void)pieces_of(s, &slot, &n);
    return n;
}

size_t mr_sessions_read(
    const struct mr_sessions *s, uint64_t slot, struct mr_interval *out)
{
    size_t n, n_out = 0;
    const uint64_t *piece = pieces_of(s, &slot, &n);

    for (size_t i = 0; i < n; i++) {
        int64_t start = (int64_t)start_of(piece[i]);
        int64_t end = (int64_t)end_of(piece[i]);

        if (n_out > 0 && start - out[n_out - 1].end_ms <= (int64_t)s->gap_ms) {
            if (end > out[n_out - 1].end_ms)
                out[n_out - 1].end_ms = end;
        } else {
            out[n_out].start_ms = start;
            out[n_out++].end_ms = end;
        }
    }
    return n_out;
}

enum mr_status mr_sessions_move(struct mr_sessions *s, uint64_t *slot,
    const struct mr_sessions *from, uint64_t from_slot)
{
    size_t n;
    const uint64_t *piece = pieces_of(from, &from_slot, &n);
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < n && status == MR_OK; i++)
        status =
            mr_sessions_insert(s, slot, start_of(piece[i]), end_of(piece[i]));
    return status;
}
