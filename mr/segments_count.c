#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/segments_private.h"

#include <stdlib.h>

/*
 * A user's entries come together, days in order.  For each day, and at the
 * end for the sums, the segments that hold are found; each adds one to its
 * count and to that of the user's group of each attribute.
 *
 * A count is known by a number in the order in which counts are wanted:
 * segment, attribute, day + 1 (0: all days), group.
 */
#define SEGMENT_SHIFT 56
#define BY_SHIFT 52
#define DAY_SHIFT 32
#define SIZE_MIN 64

/* A count; free where users is 0. */
struct place {
    uint64_t key, users;
};

struct counting {
    const struct mr_spec *spec;
    const struct mr_segment_groups *groups; /* or NULL */
    unsigned n_by;
    struct place *place; /* open-addressed */
    size_t n, size;
    /* Numbers of the types of each condition. */
    unsigned type[MR_SEGMENTS_MAX][MR_CONDITIONS_MAX];
    unsigned n_types;
    /* Of the user at hand. */
    uint64_t user;
    bool has_user, has_groups;
    int32_t day;
    uint64_t of_day[MR_SEGMENT_TYPES_MAX], of_all[MR_SEGMENT_TYPES_MAX];
    uint32_t group[MR_ROLLUP_FIELDS_MAX];
};

void mr_segment_counts_release(struct mr_segment_counts *counts)
{
    free(counts->count);
    *counts = (struct mr_segment_counts){0};
}

/* ---- the table ---- */

static struct place *place_of(const struct counting *c, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 24);

    for (;; i++) {
        struct place *place = &c->place[i & (c->size - 1)];

        if (place->users == 0 || place->key == key)
            return place;
    }
}

static enum mr_status grow(struct counting *c)
{
    struct place *old = c->place;
    size_t n = c->size, size = n == 0 ? SIZE_MIN : 2 * n;
    struct place *place = calloc(size, sizeof(*place));

    if (place == NULL)
        return MR_NOMEM;
    c->place = place;
    c->size = size;
    for (size_t i = 0; i < n; i++) {
        if (old[i].users > 0)
            *place_of(c, old[i].key) = old[i];
    }
    free(old);
    return MR_OK;
}

static enum mr_status add_one(struct counting *c, uint64_t key)
{
    struct place *place;

    if (4 * c->n >= 3 * c->size && grow(c) != MR_OK)
        return MR_NOMEM;
    place = place_of(c, key);
    c->n += place->users == 0;
    place->key = key;
    place->users++;
    return MR_OK;
}

/* ---- users ---- */

static bool holds(enum mr_comparison comparison, uint64_t n, uint32_t count)
{
    switch (comparison) {
    case MR_AT_LEAST:
        return n >= count;
    case MR_ABOVE:
        return n > count;
    case MR_EQUAL:
        return n == count;
    case MR_BELOW:
        return n < count;
    case MR_AT_MOST:
        break;
    }
    return n <= count;
}

static bool is_in(const struct counting *c, unsigned i, const uint64_t *counts)
{
    const struct mr_segment *segment = &c->spec->segment[i];

    for (unsigned k = 0; k < segment->n_conditions; k++) {
        if (!holds(segment->condition[k].comparison, counts[c->type[i][k]],
                segment->condition[k].count))
            return false;
    }
    return true;
}

/* Count the user at hand wherever these numbers of events put them. */
static enum mr_status count_user(
    struct counting *c, int32_t day, const uint64_t *counts)
{
    for (unsigned i = 0; i < c->spec->n_segments; i++) {
        uint64_t key = (uint64_t)i << SEGMENT_SHIFT | (uint64_t)(day + 1)
                                                          << DAY_SHIFT;

        if (!is_in(c, i, counts))
            continue;
        if (c->n_by > 0 && !c->has_groups)
            c->groups->of(c->groups->context, c->user, c->group);
        c->has_groups = true;
        if (add_one(c, key) != MR_OK)
            return MR_NOMEM;
        for (unsigned k = 0; k < c->n_by; k++) {
            if (add_one(c, key | (uint64_t)(k + 1) << BY_SHIFT | c->group[k]) !=
                MR_OK)
                return MR_NOMEM;
        }
    }
    return MR_OK;
}

static enum mr_status end_day(struct counting *c)
{
    enum mr_status status = count_user(c, c->day, c->of_day);

    for (unsigned i = 0; i < c->n_types; i++)
        c->of_all[i] += c->of_day[i];
    memset(c->of_day, 0, sizeof(c->of_day));
    return status;
}

static enum mr_status end_user(struct counting *c)
{
    enum mr_status status = MR_OK;

    if (c->has_user)
        status = end_day(c);
    if (c->has_user && status == MR_OK)
        status = count_user(c, MR_SEGMENT_ALL_DAYS, c->of_all);
    memset(c->of_all, 0, sizeof(c->of_all));
    c->has_user = c->has_groups = false;
    return status;
}

static enum mr_status count_entry(
    struct counting *c, const struct mr_segment_entry *e)
{
    enum mr_status status = MR_OK;

    if (c->has_user && c->user != e->user)
        status = end_user(c);
    else if (c->has_user && c->day != mr_segment_day(e))
        status = end_day(c);
    c->has_user = true;
    c->user = e->user;
    c->day = mr_segment_day(e);
    if (mr_segment_type_of(e) != MR_SEGMENT_SEEN)
        c->of_day[mr_segment_type_of(e)] = e->count;
    return status;
}

/* ---- the whole ---- */

static void number_types(struct counting *c)
{
    struct mr_segment_types types;

    mr_segment_types_of(c->spec, &types);
    c->n_types = types.n;
    for (unsigned i = 0; i < c->spec->n_segments; i++) {
        const struct mr_segment *segment = &c->spec->segment[i];

        for (unsigned k = 0; k < segment->n_conditions; k++) {
            const char *type = segment->condition[k].type;

            c->type[i][k] = mr_segment_type(
                &types, (struct mr_span){(const uint8_t *)type, strlen(type)});
        }
    }
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static enum mr_status list(
    struct counting *c, struct mr_segment_counts *counts_out)
{
    struct mr_segment_count *count = calloc(c->n + 1, sizeof(*count));
    size_t n = 0;

    if (count == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < c->size; i++) {
        if (c->place[i].users > 0)
            c->place[n++] = c->place[i];
    }
    if (n > 0)
        qsort(c->place, n, sizeof(*c->place), compare_places);
    for (size_t i = 0; i < n; i++) {
        uint64_t key = c->place[i].key;

        count[i].segment = (unsigned)(key >> SEGMENT_SHIFT);
        count[i].by = (unsigned)(key >> BY_SHIFT & 15);
        count[i].day = (int32_t)(key >> DAY_SHIFT & 0xfffff) - 1;
        count[i].group = (uint32_t)key;
        count[i].users = c->place[i].users;
    }
    *counts_out = (struct mr_segment_counts){count, n};
    return MR_OK;
}

enum mr_status mr_segments_count(struct mr_segment_stream *stream,
    const struct mr_spec *spec, const struct mr_segment_groups *groups,
    struct mr_segment_counts *counts_out, struct mr_error *err)
{
    struct counting *c = calloc(1, sizeof(*c));
    enum mr_status status = MR_OK, memory = MR_OK;
    const struct mr_segment_entry *entry;
    size_t n = 1;

    if (c == NULL)
        return mr_fail_nomem(err);
    c->spec = spec;
    c->groups = groups;
    c->n_by = groups != NULL ? groups->n : 0;
    number_types(c);
    while (n > 0 && status == MR_OK && memory == MR_OK) {
        status = mr_segment_stream_next(stream, &entry, &n, err);
        for (size_t i = 0; status == MR_OK && memory == MR_OK && i < n; i++)
            memory = count_entry(c, &entry[i]);
    }
    if (status == MR_OK && memory == MR_OK)
        memory = end_user(c);
    if (status == MR_OK && memory == MR_OK)
        memory = list(c, counts_out);
    free(c->place);
    free(c);
    return memory != MR_OK ? mr_fail_nomem(err) : status;
}
