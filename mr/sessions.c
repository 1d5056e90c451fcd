#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "mr/userblock.h"

#define CLASS_SHIFT 53
/* From so many pieces on a list is made anew of itself and these, rather than
 * moved on for each. */
#define MANY 32

static uint64_t start_of(uint64_t piece)
{
    return piece >> MR_SESSIONS_LENGTH_BITS;
}

static uint64_t end_of(uint64_t piece)
{
    return start_of(piece) + (piece & MR_SESSIONS_LENGTH_MAX);
}

static bool has_list(const uint64_t *slot)
{
    return slot[0] >= MR_SESSIONS_REFERENCE && slot[0] != MR_SESSIONS_NONE;
}

static unsigned class_of(const uint64_t *slot)
{
    return (unsigned)(slot[0] >> CLASS_SHIFT & 0xff);
}

static uint64_t *list_of(const struct mr_sessions *s, const uint64_t *slot)
{
    return s->pool->word + (slot[0] & MR_SESSIONS_PLACE);
}

/* Pieces in the slot itself begin here. */
static unsigned own_of(const uint64_t *slot)
{
    return has_list(slot) ? 1 : 0;
}

/* How many of the words, which ascend, are at most key: without a branch
 * but those that depend on cap alone. */
static size_t count_begun(const uint64_t *piece, size_t cap, uint64_t key)
{
    size_t low = 0;

    for (size_t n = cap; n > 1; n -= n / 2)
        low += piece[low + n / 2 - 1] <= key ? n / 2 : 0;
    return low + (piece[low] <= key);
}

static size_t begun_at(const uint64_t *piece, size_t cap, uint64_t time_ms)
{
    return count_begun(piece, cap,
        mr_sessions_pack(time_ms, time_ms) | MR_SESSIONS_LENGTH_MAX);
}

static size_t count_pieces(const uint64_t *piece, size_t cap)
{
    return count_begun(piece, cap, MR_SESSIONS_NONE - 1);
}

/* A new list, of no pieces yet; the slot refers to it. */
static enum mr_status new_list(
    struct mr_sessions *s, size_t pieces, uint64_t *reference_out)
{
    unsigned class = mr_pool_class(pieces);
    size_t place;

    if (mr_pool_take(s->pool, class, &place) != MR_OK)
        return MR_NOMEM;
    memset(
        s->pool->word + place, 0xff, mr_pool_words(class) * sizeof(uint64_t));
    *reference_out =
        MR_SESSIONS_REFERENCE | (uint64_t) class << CLASS_SHIFT | place;
    return MR_OK;
}

static void give_list(struct mr_sessions *s, const uint64_t *slot)
{
    mr_pool_give(
        s->pool, class_of(slot), (size_t)(slot[0] & MR_SESSIONS_PLACE));
}

/* A longer list in the place of a full one of n pieces. */
static enum mr_status grow_list(struct mr_sessions *s, uint64_t *slot, size_t n)
{
    uint64_t reference;

    if (new_list(s, n + 1, &reference) != MR_OK)
        return MR_NOMEM;
    memcpy(list_of(s, &reference), list_of(s, slot), n * sizeof(*slot));
    give_list(s, slot);
    slot[0] = reference;
    return MR_OK;
}

/* Put piece in the place of the pieces low up to high of the list. */
static enum mr_status replace(struct mr_sessions *s, uint64_t *slot, size_t low,
    size_t high, uint64_t piece)
{
    size_t cap = mr_pool_words(class_of(slot)), n;
    uint64_t *list = list_of(s, slot);

    if (high == low + 1) {
        list[low] = piece;
        return MR_OK;
    }
    n = count_pieces(list, cap);
    if (low == high && n == cap) {
        if (grow_list(s, slot, n) != MR_OK)
            return MR_NOMEM;
        list = list_of(s, slot);
    }
    memmove(list + low + 1, list + high, (n - high) * sizeof(*list));
    list[low] = piece;
    for (size_t i = n - (high - low) + 1; i < n; i++)
        list[i] = MR_SESSIONS_NONE;
    return MR_OK;
}

/* Add a piece to the list, joined with its neighbours there. */
static enum mr_status add_to_list(
    struct mr_sessions *s, uint64_t *slot, uint64_t piece)
{
    size_t cap = mr_pool_words(class_of(slot));
    const uint64_t *list = list_of(s, slot);
    uint64_t start = start_of(piece), end = end_of(piece);
    size_t low = begun_at(list, cap, start), high = low;

    if (low > 0) {
        uint64_t left_start = start_of(list[low - 1]);
        uint64_t left_end = end_of(list[low - 1]);
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
    while (high < cap && list[high] != MR_SESSIONS_NONE &&
           start_of(list[high]) <= end + s->gap_ms) {
        uint64_t right_end = end_of(list[high]);
        uint64_t joined = right_end > end ? right_end : end;

        if (joined - start > MR_SESSIONS_LENGTH_MAX)
            break;
        end = joined;
        high++;
    }
    return replace(s, slot, low, high, mr_sessions_pack(start, end));
}

/* Whether a piece that begins no earlier makes one with another, which is that
 * one then. */
static bool join(const struct mr_sessions *s, uint64_t *piece, uint64_t next)
{
    uint64_t start = start_of(*piece), end = end_of(*piece);
    uint64_t last = end_of(next) > end ? end_of(next) : end;

    if (start_of(next) > end + s->gap_ms ||
        last - start > MR_SESSIONS_LENGTH_MAX)
        return false;
    *piece = mr_sessions_pack(start, last);
    return true;
}

/* Sort and join the pieces of a slot without a list. */
static void tidy(const struct mr_sessions *s, uint64_t *slot)
{
    size_t n = 0;

    for (size_t i = 1; i < MR_SESSIONS_SLOT; i++)
        for (size_t k = i; k > 0 && slot[k - 1] > slot[k]; k--) {
            uint64_t piece = slot[k];

            slot[k] = slot[k - 1];
            slot[k - 1] = piece;
        }
    for (size_t i = 0; i < MR_SESSIONS_SLOT && slot[i] != MR_SESSIONS_NONE; i++)
        if (n == 0 || !join(s, &slot[n - 1], slot[i]))
            slot[n++] = slot[i];
    while (n < MR_SESSIONS_SLOT)
        slot[n++] = MR_SESSIONS_NONE;
}

/* Put a piece where the slot has none. */
static bool put(uint64_t *slot, uint64_t piece)
{
    for (unsigned k = own_of(slot); k < MR_SESSIONS_SLOT; k++)
        if (slot[k] == MR_SESSIONS_NONE) {
            slot[k] = piece;
            return true;
        }
    return false;
}

enum mr_status mr_sessions_insert(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms)
{
    uint64_t piece = mr_sessions_pack(start_ms, end_ms), reference;

    if (put(slot, piece))
        return MR_OK;
    if (has_list(slot)) {
        if (add_to_list(s, slot, slot[1]) != MR_OK)
            return MR_NOMEM;
        slot[1] = slot[2];
        slot[2] = piece;
        return MR_OK;
    }
    tidy(s, slot);
    if (put(slot, piece))
        return MR_OK;
    if (new_list(s, 2, &reference) != MR_OK)
        return MR_NOMEM;
    memcpy(list_of(s, &reference), slot, 2 * sizeof(*slot));
    slot[0] = reference;
    slot[1] = slot[2];
    slot[2] = piece;
    return MR_OK;
}

enum mr_status mr_sessions_settle(struct mr_sessions *s, uint64_t *slot)
{
    const uint64_t *list;
    size_t n;

    if (!has_list(slot)) {
        tidy(s, slot);
        return MR_OK;
    }
    for (unsigned k = 1; k < MR_SESSIONS_SLOT; k++) {
        if (slot[k] != MR_SESSIONS_NONE &&
            add_to_list(s, slot, slot[k]) != MR_OK)
            return MR_NOMEM;
        slot[k] = MR_SESSIONS_NONE;
    }
    list = list_of(s, slot);
    n = count_pieces(list, mr_pool_words(class_of(slot)));
    if (n <= MR_SESSIONS_SLOT) {
        uint64_t few[MR_SESSIONS_SLOT];

        mr_sessions_init(few);
        memcpy(few, list, n * sizeof(*few));
        give_list(s, slot);
        memcpy(slot, few, sizeof(few));
    }
    return MR_OK;
}

size_t mr_sessions_count(const struct mr_sessions *s, const uint64_t *slot)
{
    size_t n = 0;

    if (has_list(slot))
        n = count_pieces(list_of(s, slot), mr_pool_words(class_of(slot)));
    for (unsigned k = own_of(slot); k < MR_SESSIONS_SLOT; k++)
        n += slot[k] != MR_SESSIONS_NONE;
    return n;
}

size_t mr_sessions_read(
    const struct mr_sessions *s, const uint64_t *slot, struct mr_interval *out)
{
    const uint64_t *piece = has_list(slot) ? list_of(s, slot) : slot;
    size_t cap =
        has_list(slot) ? mr_pool_words(class_of(slot)) : MR_SESSIONS_SLOT;
    size_t n_out = 0;

    for (size_t i = 0; i < cap && piece[i] != MR_SESSIONS_NONE; i++) {
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

/* Pieces, ascending. */
struct pieces {
    const uint64_t *p;
    size_t n;
};

/* Make one list of two; only count where out is NULL. */
static size_t merge(const struct mr_sessions *s, struct pieces a,
    struct pieces b, uint64_t *out)
{
    uint64_t last = 0;
    size_t n = 0;

    while (a.n + b.n > 0) {
        struct pieces *from = b.n == 0 || (a.n > 0 && *a.p <= *b.p) ? &a : &b;
        uint64_t next = *from->p++;

        from->n--;
        if (n == 0 || !join(s, &last, next)) {
            last = next;
            n++;
        }
        if (out != NULL)
            out[n - 1] = last;
    }
    return n;
}

/* Add many pieces, of another pool or none, to the slot's list. */
static enum mr_status merge_list(
    struct mr_sessions *s, uint64_t *slot, struct pieces many)
{
    size_t cap = mr_pool_words(class_of(slot));
    struct pieces own = {list_of(s, slot), count_pieces(list_of(s, slot), cap)};
    uint64_t reference;

    if (new_list(s, merge(s, own, many, NULL), &reference) != MR_OK)
        return MR_NOMEM;
    own.p = list_of(s, slot); /* it may have moved */
    (void)merge(s, own, many, list_of(s, &reference));
    give_list(s, slot);
    slot[0] = reference;
    return MR_OK;
}

/* Add the pieces of n words, some of which may be none; they ascend where they
 * are many. */
static enum mr_status add_pieces(
    struct mr_sessions *s, uint64_t *slot, const uint64_t *piece, size_t n)
{
    enum mr_status status = MR_OK;

    if (n >= MANY && has_list(slot))
        return merge_list(
            s, slot, (struct pieces){piece, count_pieces(piece, n)});
    for (size_t i = 0; i < n && status == MR_OK; i++)
        if (piece[i] != MR_SESSIONS_NONE)
            status =
                mr_sessions_add(s, slot, start_of(piece[i]), end_of(piece[i]));
    return status;
}

static int compare_pieces(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

enum mr_status mr_sessions_add_many(
    struct mr_sessions *s, uint64_t *slot, uint64_t *piece, size_t n)
{
    if (n >= MANY)
        qsort(piece, n, sizeof(*piece), compare_pieces);
    return add_pieces(s, slot, piece, n);
}

enum mr_status mr_sessions_move(struct mr_sessions *s, uint64_t *slot,
    const struct mr_sessions *from, const uint64_t *from_slot)
{
    unsigned own = own_of(from_slot);
    enum mr_status status = MR_OK;

    if (has_list(from_slot))
        status = add_pieces(s, slot, list_of(from, from_slot),
            mr_pool_words(class_of(from_slot)));
    if (status == MR_OK)
        status = add_pieces(
            s, slot, from_slot + own, (size_t)MR_SESSIONS_SLOT - own);
    return status;
}
