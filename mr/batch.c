#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/batch.h"

#include <stdlib.h>

void mr_batch_release(struct mr_batch *b)
{
    free(b->tuple);
    free(b->cell);
    mr_buffer_release(&b->ids);
    mr_buffer_release(&b->events);
    memset(b, 0, sizeof(*b));
}

void mr_batch_clear(struct mr_batch *b)
{
    struct mr_batch empty = {.tuple = b->tuple, .cap_tuples = b->cap_tuples};

    if (b->cell != NULL)
        memset(b->cell, 0, (b->cell_mask + 1) * sizeof(*b->cell));
    empty.cell = b->cell;
    empty.cell_mask = b->cell_mask;
    empty.ids = b->ids;
    empty.events = b->events;
    empty.ids.n = empty.events.n = 0;
    *b = empty;
}

enum mr_status mr_batch_grow(struct mr_batch *b, size_t n)
{
    size_t cap = b->cap_tuples + b->cap_tuples / 2 + 1024;
    struct mr_tuple *tuple;

    if (n <= b->cap_tuples)
        return MR_OK;
    if (cap < n)
        cap = n;
    tuple = realloc(b->tuple, cap * sizeof(*tuple));
    if (tuple == NULL)
        return MR_NOMEM;
    b->tuple = tuple;
    b->cap_tuples = cap;
    return MR_OK;
}

/* The entry of a key, or the free one where it belongs. */
static struct mr_cell_tally *find(
    struct mr_cell_tally *cell, size_t mask, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);

    for (;; i++) {
        struct mr_cell_tally *c = &cell[i & mask];

        if (c->key1 == 0 || c->key1 == key + 1)
            return c;
    }
}

static enum mr_status grow_cells(struct mr_batch *b)
{
    size_t entries = b->cell == NULL ? 16 : 2 * (b->cell_mask + 1);
    struct mr_cell_tally *cell;

    if (b->cell != NULL && b->n_cells < (b->cell_mask + 1) / 2)
        return MR_OK;
    cell = calloc(entries, sizeof(*cell));
    if (cell == NULL)
        return MR_NOMEM;
    for (size_t i = 0; b->cell != NULL && i <= b->cell_mask; i++)
        if (b->cell[i].key1 != 0)
            *find(cell, entries - 1, b->cell[i].key1 - 1) = b->cell[i];
    free(b->cell);
    b->cell = cell;
    b->cell_mask = entries - 1;
    return MR_OK;
}

/* The tally of a cell, new or known.  The table may move, and b->last with
 * it. */
static enum mr_status get_cell(
    struct mr_batch *b, uint64_t key, struct mr_cell_tally **cell_out)
{
    uint64_t last_key1 = b->last != NULL ? b->last->key1 : 0;
    const struct mr_cell_tally *before = b->cell;
    struct mr_cell_tally *cell;

    if (grow_cells(b) != MR_OK)
        return MR_NOMEM;
    if (last_key1 != 0 && b->cell != before)
        b->last = find(b->cell, b->cell_mask, last_key1 - 1);
    cell = find(b->cell, b->cell_mask, key);
    if (cell->key1 == 0) {
        cell->key1 = key + 1;
        b->n_cells++;
    }
    *cell_out = cell;
    return MR_OK;
}

enum mr_status mr_batch_cell(struct mr_batch *b, int32_t day, uint32_t type)
{
    /* The span of the last day is not this one's. */
    b->last_type = UINT32_MAX;
    return get_cell(b, mr_cell_key(day, type), &b->last);
}

enum mr_status mr_batch_turn(struct mr_batch *b, const struct mr_zone *zone,
    int64_t time_ms, uint32_t type)
{
    enum mr_status status;

    mr_zone_day_span(zone, time_ms, &b->last_day);
    status = mr_batch_cell(b, b->last_day.day, type);
    if (status == MR_OK)
        b->last_type = type;
    return status;
}

enum mr_status mr_batch_figure(
    struct mr_batch *b, uint32_t text, uint64_t user, bool has_user)
{
    struct mr_cell_tally *cell;

    if (get_cell(b, mr_cell_key(MR_DAY_END, text), &cell) != MR_OK)
        return MR_NOMEM;
    cell->events++;
    if (!has_user) {
        cell->without_user++;
        return MR_OK;
    }
    if (b->n_tuples == b->cap_tuples &&
        mr_batch_grow(b, b->n_tuples + 1) != MR_OK)
        return MR_NOMEM;
    b->tuple[b->n_tuples].user = user;
    b->tuple[b->n_tuples++].what = mr_tuple_pack(MR_TIME_END_MS, text);
    return MR_OK;
}

enum mr_status mr_batch_count(
    struct mr_batch *into, const struct mr_batch *from)
{
    for (size_t i = 0; from->cell != NULL && i <= from->cell_mask; i++) {
        const struct mr_cell_tally *c = &from->cell[i];

        if (c->key1 == 0)
            continue;
        if (mr_batch_cell(into, (int32_t)((c->key1 - 1) >> 32),
                (uint32_t)(c->key1 - 1)) != MR_OK)
            return MR_NOMEM;
        into->last->events += c->events;
        into->last->without_user += c->without_user;
    }
    into->text_bytes += from->text_bytes;
    into->lines += from->lines;
    into->blank += from->blank;
    into->other_day += from->other_day;
    into->other_type += from->other_type;
    for (size_t i = 0; i < MR_REASON_COUNT; i++)
        into->reason[i] += from->reason[i];
    return MR_OK;
}

enum mr_status mr_batch_append(
    struct mr_batch *into, const struct mr_batch *from)
{
    if (from->n_tuples == 0)
        return MR_OK;
    if (mr_batch_grow(into, into->n_tuples + from->n_tuples) != MR_OK)
        return MR_NOMEM;
    memcpy(into->tuple + into->n_tuples, from->tuple,
        from->n_tuples * sizeof(*from->tuple));
    into->n_tuples += from->n_tuples;
    return MR_OK;
}
