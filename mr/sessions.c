#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/sessions.h"

#include <stdbool.h>
#include <string.h>

#include "mr/userblock.h"

/* A list goes back to the slot when it has no more pieces than this: fewer
 * than fit, so that it does not come and go with every event. */
#define FEW 2
#define CLASS_SHIFT 53

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

/* The room of a user, wherever it is: in the slot, or a run of the pool. */
struct room {
    size_t cap;
    unsigned class; /* of the run */
    bool is_list;
};

static struct room room_of(uint64_t first)
{
    unsigned class = (unsigned)(first >> CLASS_SHIFT & 0xff);

    if (first < MR_SESSIONS_REFERENCE || first == MR_SESSIONS_NONE)
        return (struct room){MR_SESSIONS_SLOT, 0, false};
    return (struct room){mr_pool_words(class), class, true};
}

static const uint64_t *pieces_of(
    const struct mr_sessions *s, const uint64_t *slot, size_t *cap_out)
{
    struct room room = room_of(slot[0]);

    *cap_out = room.cap;
    if (!room.is_list)
        return slot;
    return s->pool->word + (slot[0] & MR_SESSIONS_PLACE);
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
    return count_begun(
        piece, cap, pack(time_ms, time_ms) | MR_SESSIONS_LENGTH_MAX);
}

static size_t count_pieces(const uint64_t *piece, size_t cap)
{
    return count_begun(piece, cap, MR_SESSIONS_NONE - 1);
}

/* Another room for the user's n pieces: a run with room for one more, or the
 * slot. */
static enum mr_status move_room(
    struct mr_sessions *s, uint64_t *slot, size_t n, bool to_list)
{
    struct room old = room_of(slot[0]);
    size_t old_place = (size_t)(slot[0] & MR_SESSIONS_PLACE), place;
    uint64_t few[MR_SESSIONS_SLOT];
    unsigned class = mr_pool_class(n + 1);

    if (!to_list) {
        mr_sessions_init(few);
        memcpy(few, s->pool->word + old_place, n * sizeof(*few));
        memcpy(slot, few, sizeof(few));
    } else {
        if (mr_pool_take(s->pool, class, &place) != MR_OK)
            return MR_NOMEM;
        memcpy(s->pool->word + place,
            old.is_list ? s->pool->word + old_place : slot, n * sizeof(*slot));
        memset(s->pool->word + place + n, 0xff,
            (mr_pool_words(class) - n) * sizeof(*slot));
        mr_sessions_init(slot);
        slot[0] =
            MR_SESSIONS_REFERENCE | (uint64_t) class << CLASS_SHIFT | place;
    }
    if (old.is_list)
        mr_pool_give(s->pool, old.class, old_place);
    return MR_OK;
}

/* Put piece in the place of the pieces low up to high. */
static enum mr_status replace(struct mr_sessions *s, uint64_t *slot, size_t low,
    size_t high, uint64_t piece)
{
    struct room room = room_of(slot[0]);
    uint64_t *list =
        room.is_list ? s->pool->word + (slot[0] & MR_SESSIONS_PLACE) : slot;
    size_t n;

    if (high == low + 1) {
        list[low] = piece;
        return MR_OK;
    }
    n = count_pieces(list, room.cap);
    if (low == high && n == room.cap) {
        if (move_room(s, slot, n, true) != MR_OK)
            return MR_NOMEM;
        list = s->pool->word + (slot[0] & MR_SESSIONS_PLACE);
    }
    memmove(list + low + 1, list + high, (n - high) * sizeof(*list));
    list[low] = piece;
    for (size_t i = n - (high - low) + 1; i < n; i++)
        list[i] = MR_SESSIONS_NONE;
    if (room.is_list && n - (high - low) + 1 <= FEW)
        return move_room(s, slot, n - (high - low) + 1, false);
    return MR_OK;
}

enum mr_status mr_sessions_insert(
    struct mr_sessions *s, uint64_t *slot, uint64_t start_ms, uint64_t end_ms)
{
    struct room room = room_of(slot[0]);
    uint64_t *piece =
        room.is_list ? s->pool->word + (slot[0] & MR_SESSIONS_PLACE) : slot;
    size_t low = begun_at(piece, room.cap, start_ms), high = low;
    uint64_t start = start_ms, end = end_ms;

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
    while (high < room.cap && piece[high] != MR_SESSIONS_NONE &&
           start_of(piece[high]) <= end + s->gap_ms) {
        uint64_t right_end = end_of(piece[high]);
        uint64_t joined = right_end > end ? right_end : end;

        if (joined - start > MR_SESSIONS_LENGTH_MAX)
            break;
        end = joined;
        high++;
    }
    return replace(s, slot, low, high, pack(start, end));
}

size_t mr_sessions_count(const struct mr_sessions *s, const uint64_t *slot)
{
    size_t cap;
    const uint64_t *piece = pieces_of(s, slot, &cap);

    return count_pieces(piece, cap);
}

size_t mr_sessions_read(
    const struct mr_sessions *s, const uint64_t *slot, struct mr_interval *out)
{
    size_t cap, n_out = 0;
    const uint64_t *piece = pieces_of(s, slot, &cap);

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

enum mr_status mr_sessions_move(struct mr_sessions *s, uint64_t *slot,
    const struct mr_sessions *from, const uint64_t *from_slot)
{
    size_t cap;
    const uint64_t *piece = pieces_of(from, from_slot, &cap);
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < cap && status == MR_OK; i++) {
        if (piece[i] == MR_SESSIONS_NONE)
            break;
        status =
            mr_sessions_insert(s, slot, start_of(piece[i]), end_of(piece[i]));
    }
    return status;
}
