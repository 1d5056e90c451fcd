#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/place.h"

#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/derive.h"
#include "mr/hash.h"
#include "mr/spec.h"

static bool read_hour(struct mr_span text, unsigned *hour_out)
{
    unsigned hour = 0;

    if (text.n < 1 || text.n > 2)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        hour = 10 * hour + (unsigned)(text.p[i] - '0');
    }
    if (hour > 23)
        return false;
    *hour_out = hour;
    return true;
}

/* The type that a folder's value is, decoded in scratch; empty: none. */
static enum mr_status read_type(
    struct mr_span value, struct mr_buffer *scratch, struct mr_span *type_out)
{
    enum mr_status status = mr_buffer_reserve(scratch, value.n + 1);

    if (status != MR_OK)
        return status;
    *type_out = mr_percent_decode(value, scratch->p);
    if (type_out->n > MR_TYPE_MAX_BYTES)
        type_out->n = 0;
    return MR_OK;
}

enum mr_status mr_place_of(
    const char *name, struct mr_buffer *scratch, struct mr_place *place_out)
{
    struct mr_place place = {.has_day = false};
    struct mr_span value = {NULL, 0}, type = {NULL, 0};
    enum mr_status status = MR_OK;
    struct mr_folder f;

    while (status == MR_OK && mr_folder_next(&name, &f)) {
        if (mr_folder_is(&f, "date") || mr_folder_is(&f, "day") ||
            mr_folder_is(&f, "dt")) {
            place.has_day |=
                mr_day_parse((const char *)f.value.p, f.value.n, &place.day);
        } else if (mr_folder_is(&f, "hour") || mr_folder_is(&f, "hr")) {
            place.has_hour |= read_hour(f.value, &place.hour);
        } else if (mr_folder_is(&f, "type") || mr_folder_is(&f, "event_type")) {
            status = read_type(f.value, scratch, &type);
            value = type.n > 0 ? f.value : value;
        }
    }
    /* Of two types the scratch has the last, which may be none. */
    if (status == MR_OK && value.n > 0)
        status = read_type(value, scratch, &place.type);
    if (status == MR_OK)
        *place_out = place;
    return status;
}

/* ---- the table ---- */

void mr_places_release(struct mr_places *p)
{
    for (size_t i = 0; i < p->n; i++)
        free((void *)(uintptr_t)p->row[i].type.p);
    free(p->row);
    free(p->slot);
    mr_buffer_release(&p->scratch);
    *p = (struct mr_places){.n = 0};
}

static bool is_row_of(
    const struct mr_place_row *row, const struct mr_place *place)
{
    return row->has_day == place->has_day &&
           (!row->has_day || row->day == place->day) &&
           (row->type.p == NULL) == (place->type.p == NULL) &&
           mr_span_compare(row->type, place->type) == 0;
}

static size_t hash_of(
    bool has_day, int32_t day, struct mr_span type, size_t mask)
{
    uint64_t h = type.n > 0 ? mr_hash_fast(type.p, type.n) : 0;

    h += (has_day ? (uint64_t)(uint32_t)day + 1 : 0) *
         UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h ^ h >> 29) & mask;
}

/* Where a row's number stands, or is to stand. */
static size_t *find_slot(
    const struct mr_places *p, const struct mr_place *place)
{
    size_t i = hash_of(place->has_day, place->day, place->type, p->mask);

    while (p->slot[i] != 0 && !is_row_of(&p->row[p->slot[i] - 1], place))
        i = (i + 1) & p->mask;
    return &p->slot[i];
}

/* Room for one row more, in a table that is at most half full. */
static enum mr_status make_room(struct mr_places *p)
{
    size_t cap = p->cap > 0 ? 2 * p->cap : 32;
    struct mr_place_row *row;
    size_t *slot;

    if (p->n < p->cap)
        return MR_OK;
    row = realloc(p->row, cap * sizeof(*row));
    if (row == NULL)
        return MR_NOMEM;
    p->row = row;
    slot = calloc(2 * cap, sizeof(*slot));
    if (slot == NULL)
        return MR_NOMEM;
    free(p->slot);
    p->slot = slot;
    p->mask = 2 * cap - 1;
    p->cap = cap;
    for (size_t i = 0; i < p->n; i++) {
        const struct mr_place place = {
            .has_day = row[i].has_day, .day = row[i].day, .type = row[i].type};

        *find_slot(p, &place) = i + 1;
    }
    return MR_OK;
}

static enum mr_status find_row(
    struct mr_places *p, const struct mr_place *place, size_t *row_out)
{
    uint8_t *type = NULL;
    enum mr_status status;
    size_t *slot;

    if (p->last < p->n && is_row_of(&p->row[p->last], place)) {
        *row_out = p->last;
        return MR_OK;
    }
    status = make_room(p);
    if (status != MR_OK)
        return status;
    slot = find_slot(p, place);
    if (*slot == 0) {
        if (place->type.p != NULL) {
            type = malloc(place->type.n);
            if (type == NULL)
                return MR_NOMEM;
            memcpy(type, place->type.p, place->type.n);
        }
        p->row[p->n] = (struct mr_place_row){.has_day = place->has_day,
            .day = place->has_day ? place->day : 0,
            .type = {type, place->type.n}};
        *slot = ++p->n;
    }
    *row_out = *slot - 1;
    return MR_OK;
}

enum mr_status mr_places_add(
    struct mr_places *p, const char *name, uint64_t bytes, bool covered)
{
    struct mr_place place;
    enum mr_status status = mr_place_of(name, &p->scratch, &place);
    struct mr_place_row *row;

    if (status == MR_OK)
        status = find_row(p, &place, &p->last);
    if (status != MR_OK)
        return status;
    row = &p->row[p->last];
    row->partitions++;
    row->bytes += bytes;
    if (covered) {
        row->covered++;
        row->covered_bytes += bytes;
    }
    return MR_OK;
}

static int compare_rows(const void *a, const void *b)
{
    const struct mr_place_row *x = a, *y = b;

    if (x->has_day != y->has_day)
        return x->has_day ? 1 : -1;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return mr_span_compare(x->type, y->type);
}

void mr_places_sort(struct mr_places *p)
{
    if (p->n > 1)
        qsort(p->row, p->n, sizeof(*p->row), compare_rows);
}
