#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/segments.h"

#include <pthread.h>
#include <stdlib.h>

#include "mr/digestset.h"
#include "mr/segments_private.h"

/*
 * Users are divided by the top byte of their hash into shards, each a table
 * of its own, open-addressed, with a lock of its own.  To be read, a shard's
 * entries are copied and sorted: shards in order are users in order.
 */

#define SHARDS 256
#define SHARD_MIN 16
/* Events that are dealt out at a time. */
#define BATCH 4096
#define DIGIT_VALUES 256
/* The day_type of a free place: no day is so late. */
#define FREE UINT32_MAX

struct shard {
    pthread_mutex_t lock;
    struct mr_segment_entry *entry;
    size_t n, size; /* size: places, 0 or a power of two */
};

struct mr_segments {
    bool keeps_seen;
    pthread_mutex_t claims_lock;
    struct mr_digest_set claims;
    struct shard shard[SHARDS];
};

/* ---- types ---- */

static bool holds_at_zero(enum mr_comparison comparison, uint32_t count)
{
    switch (comparison) {
    case MR_AT_LEAST:
    case MR_EQUAL:
        return count == 0;
    case MR_ABOVE:
        return false;
    case MR_BELOW:
        return count > 0;
    case MR_AT_MOST:
        break;
    }
    return true;
}

static void insert_type(struct mr_segment_types *types, const char *type)
{
    unsigned i = 0;

    while (i < types->n && strcmp(types->type[i], type) < 0)
        i++;
    if (i < types->n && strcmp(types->type[i], type) == 0)
        return;
    memmove(&types->type[i + 1], &types->type[i],
        (types->n - i) * sizeof(types->type[0]));
    types->type[i] = type;
    types->n++;
}

void mr_segment_types_of(
    const struct mr_spec *spec, struct mr_segment_types *types_out)
{
    *types_out = (struct mr_segment_types){{0}, 0, false};
    for (unsigned i = 0; i < spec->n_segments; i++) {
        const struct mr_segment *segment = &spec->segment[i];
        bool holds = true;

        for (unsigned k = 0; k < segment->n_conditions; k++) {
            insert_type(types_out, segment->condition[k].type);
            holds &= holds_at_zero(
                segment->condition[k].comparison, segment->condition[k].count);
        }
        types_out->keeps_seen |= holds;
    }
}

unsigned mr_segment_type(
    const struct mr_segment_types *types, struct mr_span type)
{
    for (unsigned i = 0; i < types->n; i++) {
        const char *name = types->type[i];

        if (strlen(name) == type.n && memcmp(name, type.p, type.n) == 0)
            return i;
    }
    return MR_SEGMENT_SEEN;
}

/* ---- life ---- */

enum mr_status mr_segments_new(
    bool keeps_seen, struct mr_segments **segments_out)
{
    struct mr_segments *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return MR_NOMEM;
    s->keeps_seen = keeps_seen;
    pthread_mutex_init(&s->claims_lock, NULL);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&s->shard[i].lock, NULL);
    *segments_out = s;
    return MR_OK;
}

void mr_segments_free(struct mr_segments *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&s->shard[i].lock);
        free(s->shard[i].entry);
    }
    pthread_mutex_destroy(&s->claims_lock);
    mr_digest_set_release(&s->claims);
    free(s);
}

/* ---- claims ---- */

enum mr_status mr_segments_claim(
    struct mr_segments *s, const struct mr_digest *digest, bool *is_new_out)
{
    enum mr_status status;

    pthread_mutex_lock(&s->claims_lock);
    status = mr_digest_set_add(&s->claims, digest, is_new_out);
    pthread_mutex_unlock(&s->claims_lock);
    return status;
}

/* ---- adding ---- */

/* The place of a user, day and type, or the free one for it. */
static struct mr_segment_entry *entry_place(
    const struct shard *shard, uint64_t user, uint32_t day_type)
{
    uint64_t of_user = mr_hash_place(shard->entry, user, UINT64_C(1) << 32);
    size_t i = (size_t)mr_hash_place(
        shard->entry, of_user << 32 | day_type, shard->size);

    for (;; i++) {
        struct mr_segment_entry *e = &shard->entry[i & (shard->size - 1)];

        if (e->day_type == FREE || (e->user == user && e->day_type == day_type))
            return e;
    }
}

static enum mr_status grow_shard(struct shard *shard)
{
    struct mr_segment_entry *old = shard->entry;
    size_t n = shard->size, size = n == 0 ? SHARD_MIN : 2 * n;
    struct mr_segment_entry *entry = malloc(size * sizeof(*entry));

    if (entry == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < size; i++)
        entry[i].day_type = FREE;
    shard->entry = entry;
    shard->size = size;
    for (size_t i = 0; i < n; i++) {
        if (old[i].day_type != FREE)
            *entry_place(shard, old[i].user, old[i].day_type) = old[i];
    }
    free(old);
    return MR_OK;
}

static enum mr_status add_event(
    struct shard *shard, const struct mr_segment_event *event)
{
    uint32_t day_type = (uint32_t)event->day << 8 | event->type;
    struct mr_segment_entry *e;

    if (4 * shard->n >= 3 * shard->size && grow_shard(shard) != MR_OK)
        return MR_NOMEM;
    e = entry_place(shard, event->user, day_type);
    if (e->day_type == FREE) {
        *e = (struct mr_segment_entry){event->user, day_type, 0};
        shard->n++;
    }
    if (event->type != MR_SEGMENT_SEEN)
        e->count = mr_segment_sum(e->count, 1);
    return MR_OK;
}

static unsigned shard_of(uint64_t user)
{
    return (unsigned)(user >> 56);
}

static enum mr_status add_batch(
    struct mr_segments *s, const struct mr_segment_event *event, size_t n)
{
    uint16_t end[SHARDS] = {0}, order[BATCH];
    enum mr_status status = MR_OK;
    size_t i = 0;

    for (size_t k = 0; k < n; k++)
        end[shard_of(event[k].user)]++;
    for (unsigned k = 1; k < SHARDS; k++)
        end[k] = (uint16_t)(end[k] + end[k - 1]);
    for (size_t k = n; k-- > 0;)
        order[--end[shard_of(event[k].user)]] = (uint16_t)k;
    while (i < n && status == MR_OK) {
        unsigned number = shard_of(event[order[i]].user);
        struct shard *shard = &s->shard[number];

        pthread_mutex_lock(&shard->lock);
        for (; i < n && shard_of(event[order[i]].user) == number &&
               status == MR_OK;
             i++) {
            const struct mr_segment_event *e = &event[order[i]];

            if (e->type != MR_SEGMENT_SEEN || s->keeps_seen)
                status = add_event(shard, e);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return status;
}

enum mr_status mr_segments_add(
    struct mr_segments *s, const struct mr_segment_event *event, size_t n)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < n && status == MR_OK; i += BATCH)
        status = add_batch(s, event + i, n - i < BATCH ? n - i : BATCH);
    return status;
}

/* ---- reading ---- */

struct reading {
    struct mr_segment_stream stream;
    const struct mr_segments *segments;
    unsigned shard;
    struct mr_segment_entry *entry; /* of the shard at hand */
};

static int compare_entries(const void *a, const void *b)
{
    return mr_segment_compare(a, b);
}

/* By one byte of the user, from one array to the other. */
static void sort_by_digit(const struct mr_segment_entry *from, size_t n,
    unsigned shift, struct mr_segment_entry *to)
{
    size_t place[DIGIT_VALUES] = {0}, sum = 0;

    for (size_t i = 0; i < n; i++)
        place[from[i].user >> shift & (DIGIT_VALUES - 1)]++;
    for (size_t i = 0; i < DIGIT_VALUES; i++) {
        size_t count = place[i];

        place[i] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        to[place[from[i].user >> shift & (DIGIT_VALUES - 1)]++] = from[i];
}

/* Users first, whose top byte is the shard's, then what each has. */
static enum mr_status sort_entries(struct mr_segment_entry *entry, size_t n)
{
    struct mr_segment_entry *scratch = malloc((n + 1) * sizeof(*scratch));
    size_t end;

    if (scratch == NULL)
        return MR_NOMEM;
    /* An even number of times: the result is where it was. */
    for (unsigned shift = 0; shift < 64; shift += 16) {
        sort_by_digit(entry, n, shift, scratch);
        sort_by_digit(scratch, n, shift + 8, entry);
    }
    free(scratch);
    for (size_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && entry[end].user == entry[i].user;)
            end++;
        if (end - i > 1)
            qsort(entry + i, end - i, sizeof(*entry), compare_entries);
    }
    return MR_OK;
}

/* The entries of a table in order, and their number. */
static enum mr_status sort_shard(const struct shard *shard,
    struct mr_segment_entry **entry_out, size_t *n_out)
{
    struct mr_segment_entry *entry = malloc((shard->n + 1) * sizeof(*entry));
    size_t n = 0, kept = 0;

    if (entry == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < shard->size; i++) {
        if (shard->entry[i].day_type != FREE)
            entry[n++] = shard->entry[i];
    }
    if (n > 0 && sort_entries(entry, n) != MR_OK) {
        free(entry);
        return MR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct mr_segment_entry e = entry[i];

        kept = mr_segment_append(entry, kept, &e);
    }
    *entry_out = entry;
    *n_out = kept;
    return MR_OK;
}

static enum mr_status next_of_reading(struct mr_segment_stream *stream,
    const struct mr_segment_entry **entry_out, size_t *n_out,
    struct mr_error *err)
{
    struct reading *r = (struct reading *)stream;

    *n_out = 0;
    while (r->shard < SHARDS && *n_out == 0) {
        free(r->entry);
        r->entry = NULL;
        if (sort_shard(&r->segments->shard[r->shard++], &r->entry, n_out) !=
            MR_OK)
            return mr_fail_nomem(err);
        *entry_out = r->entry;
    }
    return MR_OK;
}

static void free_reading(struct mr_segment_stream *stream)
{
    struct reading *r = (struct reading *)stream;

    free(r->entry);
    free(r);
}

enum mr_status mr_segments_read(
    const struct mr_segments *s, struct mr_segment_stream **stream_out)
{
    struct reading *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return MR_NOMEM;
    r->stream.next = next_of_reading;
    r->stream.free = free_reading;
    r->segments = s;
    *stream_out = &r->stream;
    return MR_OK;
}
