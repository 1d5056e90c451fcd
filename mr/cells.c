#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/cells.h"

#include <stdlib.h>

#include "mr/calendar.h"

void mr_cellbook_release(struct mr_cellbook *b)
{
    free(b->cell);
    free(b->number_of);
    free(b->final);
    free(b->type);
    free(b->figure);
    free(b->sorted);
    memset(b, 0, sizeof(*b));
}

/* Where the number of a cell stands, or the free place for it. */
static uint32_t *place_of(
    const struct mr_cellbook *b, int32_t day, uint32_t type)
{
    uint64_t key = (uint64_t)(uint32_t)day << 32 | type;
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);

    for (;; i++) {
        uint32_t *place = &b->number_of[i & b->mask];

        if (*place == 0 || (b->cell[*place - 1].day == day &&
                               b->cell[*place - 1].type == type))
            return place;
    }
}

static enum mr_status grow(struct mr_cellbook *b)
{
    size_t entries = b->number_of == NULL ? 64 : 2 * (b->mask + 1);
    uint32_t *number_of = calloc(entries, sizeof(*number_of));
    struct mr_cell *cell = realloc(b->cell, entries / 2 * sizeof(*cell));

    if (cell != NULL)
        b->cell = cell;
    if (cell == NULL || number_of == NULL) {
        free(number_of);
        return MR_NOMEM;
    }
    free(b->number_of);
    b->number_of = number_of;
    b->mask = entries - 1;
    b->cap = entries / 2;
    for (size_t i = 0; i < b->n; i++)
        *place_of(b, b->cell[i].day, b->cell[i].type) = (uint32_t)i + 1;
    return MR_OK;
}

enum mr_status mr_cellbook_number(
    struct mr_cellbook *b, int32_t day, uint32_t type, uint32_t *number_out)
{
    uint32_t *place;

    if (b->n == b->cap && grow(b) != MR_OK)
        return MR_NOMEM;
    place = place_of(b, day, type);
    if (*place == 0) {
        b->cell[b->n] = (struct mr_cell){day, type};
        *place = (uint32_t)++b->n;
    }
    *number_out = *place - 1;
    return MR_OK;
}

uint32_t mr_cellbook_find(
    const struct mr_cellbook *b, int32_t day, uint32_t type)
{
    return *place_of(b, day, type) - 1;
}

struct numbered_type {
    struct mr_span text;
    uint32_t id;
};

static int compare_types(const void *a, const void *b)
{
    const struct numbered_type *x = a, *y = b;

    return mr_span_compare(x->text, y->text);
}

static bool is_used(const struct mr_cellbook *b, size_t number)
{
    return b->used == NULL || b->used[number];
}

/* The texts that occur, sorted; order_of[id] becomes the place of each.  The
 * types come first, as their kind is the least. */
static enum mr_status sort_texts(
    struct mr_cellbook *b, const struct mr_types *types, uint32_t *order_of)
{
    uint32_t n = mr_types_count(types), n_used = 0;
    struct numbered_type *used = malloc((n + 1) * sizeof(*used));

    free(b->type);
    free(b->figure);
    b->type = malloc((n + 1) * sizeof(*b->type));
    b->figure = malloc((n + 1) * sizeof(*b->figure));
    if (used == NULL || b->type == NULL || b->figure == NULL) {
        free(used);
        return MR_NOMEM;
    }
    for (size_t i = 0; i < b->n; i++)
        if (is_used(b, i))
            order_of[mr_types_final(types, b->cell[i].type)] = 1;
    for (uint32_t id = 0; id < n; id++)
        if (order_of[id] != 0)
            used[n_used++] =
                (struct numbered_type){mr_types_text(types, id), id};
    if (n_used > 0)
        qsort(used, n_used, sizeof(*used), compare_types);
    b->n_types = b->n_figures = 0;
    for (uint32_t i = 0; i < n_used; i++) {
        struct mr_span text = used[i].text;

        order_of[used[i].id] = i;
        if (text.p[0] == MR_TEXT_TYPE)
            b->type[b->n_types++] = (struct mr_span){text.p + 1, text.n - 1};
        else
            b->figure[b->n_figures++] = text;
    }
    free(used);
    return MR_OK;
}

struct numbered_cell {
    struct mr_cell cell;
    uint32_t number;
};

static int compare_cells(const void *a, const void *b)
{
    const struct numbered_cell *x = a, *y = b;

    if (x->cell.day != y->cell.day)
        return x->cell.day < y->cell.day ? -1 : 1;
    return x->cell.type < y->cell.type ? -1 : x->cell.type > y->cell.type;
}

/* Whether a cell has a number in the state: if it is used; and a figure as
 * soon as one that it stands for is, which order, its text's place, tells. */
static bool is_sorted(const struct mr_cellbook *b, size_t i, uint32_t order)
{
    return is_used(b, i) ||
           (b->cell[i].day == MR_DAY_END && order > 0 && order >= b->n_types);
}

static enum mr_status sort_cells(struct mr_cellbook *b,
    const struct mr_types *types, const uint32_t *order_of)
{
    struct numbered_cell *cell = malloc((b->n + 1) * sizeof(*cell));
    size_t n = 0;

    free(b->final);
    free(b->sorted);
    b->final = calloc(b->n + 1, sizeof(*b->final));
    b->sorted = malloc((b->n + 1) * sizeof(*b->sorted));
    if (cell == NULL || b->final == NULL || b->sorted == NULL) {
        free(cell);
        return MR_NOMEM;
    }
    for (size_t i = 0; i < b->n; i++) {
        uint32_t order = order_of[mr_types_final(types, b->cell[i].type)];

        if (is_sorted(b, i, order))
            cell[n++] =
                (struct numbered_cell){{b->cell[i].day, order}, (uint32_t)i};
    }
    if (n > 0)
        qsort(cell, n, sizeof(*cell), compare_cells);
    b->n_sorted = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || compare_cells(&cell[i - 1], &cell[i]) != 0)
            b->sorted[b->n_sorted++] = cell[i].cell;
        b->final[cell[i].number] = (uint32_t)b->n_sorted - 1;
    }
    b->n_sorted -= b->n_figures;
    free(cell);
    return MR_OK;
}

enum mr_status mr_cellbook_join(
    struct mr_cellbook *b, const struct mr_types *types)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0, n = b->n; i < n && status == MR_OK; i++) {
        uint32_t final = mr_types_final(types, b->cell[i].type), unused;

        if (final != b->cell[i].type)
            status = mr_cellbook_number(b, b->cell[i].day, final, &unused);
    }
    return status;
}

enum mr_status mr_cellbook_sort(
    struct mr_cellbook *b, const struct mr_types *types)
{
    uint32_t *order_of =
        calloc((size_t)mr_types_count(types) + 1, sizeof(*order_of));
    enum mr_status status = order_of != NULL ? MR_OK : MR_NOMEM;

    if (status == MR_OK)
        status = sort_texts(b, types, order_of);
    if (status == MR_OK)
        status = sort_cells(b, types, order_of);
    free(order_of);
    return status;
}
