#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/types.h"

#include <pthread.h>
#include <stdlib.h>

#include "mr/hash.h"

#define CHUNK_BYTES 65536

/* An entry of an open-addressed table: a number + 1, 0 when free, and the
 * upper half of the hash, which spares most comparisons. */
struct entry {
    uint32_t id1;
    uint32_t tag;
};

struct index {
    struct entry *entry;
    size_t mask; /* entries - 1, a power of two less one */
    size_t n;
};

/* Text is kept in chunks that never move. */
struct chunk {
    struct chunk *next;
    size_t n, cap;
    uint8_t bytes[];
};

/* Texts by number, in pages that never move either, so that a number that a
 * thread has been given can be read without the lock. */
#define PAGE_TYPES 1024
#define PAGES (MR_TYPES_MAX / PAGE_TYPES)

struct mr_types {
    pthread_mutex_t lock;
    struct index index;
    struct chunk *chunk;
    struct mr_span *page[PAGES];
    uint32_t n;
};

struct mr_type_cache {
    struct mr_types *types;
    struct index index;
    struct mr_span last;
    uint32_t last_id;
};

static enum mr_status index_init(struct index *x, size_t entries)
{
    x->entry = calloc(entries, sizeof(*x->entry));
    x->mask = entries - 1;
    x->n = 0;
    return x->entry != NULL ? MR_OK : MR_NOMEM;
}

/* The entry of a text, or the free one where it belongs. */
static struct entry *index_find(const struct index *x,
    const struct mr_types *types, struct mr_span text, uint64_t hash)
{
    for (size_t i = hash & x->mask;; i = (i + 1) & x->mask) {
        struct entry *e = &x->entry[i];

        if (e->id1 == 0)
            return e;
        if (e->tag == (uint32_t)(hash >> 32)) {
            struct mr_span known = mr_types_text(types, e->id1 - 1);

            if (known.n == text.n && memcmp(known.p, text.p, text.n) == 0)
                return e;
        }
    }
}

/* Twice the room, if half of it is taken. */
static enum mr_status index_grow(struct index *x, const struct mr_types *types)
{
    struct index wider;

    if (x->n < (x->mask + 1) / 2)
        return MR_OK;
    if (index_init(&wider, 2 * (x->mask + 1)) != MR_OK)
        return MR_NOMEM;
    for (size_t i = 0; i <= x->mask; i++) {
        if (x->entry[i].id1 != 0) {
            struct mr_span text = mr_types_text(types, x->entry[i].id1 - 1);

            *index_find(&wider, types, text, mr_hash64(text.p, text.n)) =
                x->entry[i];
        }
    }
    wider.n = x->n;
    free(x->entry);
    *x = wider;
    return MR_OK;
}

static void index_set(
    struct index *x, struct entry *e, uint32_t id, uint64_t hash)
{
    e->id1 = id + 1;
    e->tag = (uint32_t)(hash >> 32);
    x->n++;
}

enum mr_status mr_types_new(struct mr_types **types_out)
{
    struct mr_types *types = calloc(1, sizeof(*types));

    if (types == NULL)
        return MR_NOMEM;
    if (index_init(&types->index, 64) != MR_OK) {
        free(types);
        return MR_NOMEM;
    }
    pthread_mutex_init(&types->lock, NULL);
    *types_out = types;
    return MR_OK;
}

void mr_types_free(struct mr_types *types)
{
    if (types == NULL)
        return;
    for (struct chunk *c = types->chunk, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    for (size_t i = 0; i < PAGES && types->page[i] != NULL; i++)
        free(types->page[i]);
    free(types->index.entry);
    pthread_mutex_destroy(&types->lock);
    free(types);
}

uint32_t mr_types_count(const struct mr_types *types)
{
    return types->n;
}

struct mr_span mr_types_text(const struct mr_types *types, uint32_t id)
{
    return types->page[id / PAGE_TYPES][id % PAGE_TYPES];
}

/* Copy a text to where it stays. */
static enum mr_status keep_text(struct mr_types *types, struct mr_span *text)
{
    struct chunk *c = types->chunk;

    if (c == NULL || c->cap - c->n < text->n) {
        size_t cap = text->n > CHUNK_BYTES ? text->n : CHUNK_BYTES;

        c = malloc(sizeof(*c) + cap);
        if (c == NULL)
            return MR_NOMEM;
        c->next = types->chunk;
        c->n = 0;
        c->cap = cap;
        types->chunk = c;
    }
    memcpy(c->bytes + c->n, text->p, text->n);
    text->p = c->bytes + c->n;
    c->n += text->n;
    return MR_OK;
}

/* Under the lock: the number of a text that this thread has not met. */
static enum mr_status intern(
    struct mr_types *types, struct mr_span text, uint64_t hash, uint32_t *id)
{
    struct mr_span **page;
    struct entry *e;

    if (index_grow(&types->index, types) != MR_OK)
        return MR_NOMEM;
    e = index_find(&types->index, types, text, hash);
    if (e->id1 != 0) {
        *id = e->id1 - 1;
        return MR_OK;
    }
    if (types->n == MR_TYPES_MAX)
        return MR_LIMIT;
    page = &types->page[types->n / PAGE_TYPES];
    if (*page == NULL)
        *page = malloc(PAGE_TYPES * sizeof(**page));
    if (*page == NULL || keep_text(types, &text) != MR_OK)
        return MR_NOMEM;
    (*page)[types->n % PAGE_TYPES] = text;
    *id = types->n++;
    index_set(&types->index, e, *id, hash);
    return MR_OK;
}

enum mr_status mr_type_cache_new(
    struct mr_types *types, struct mr_type_cache **cache_out)
{
    struct mr_type_cache *cache = calloc(1, sizeof(*cache));

    if (cache == NULL)
        return MR_NOMEM;
    cache->types = types;
    if (index_init(&cache->index, 64) != MR_OK) {
        free(cache);
        return MR_NOMEM;
    }
    *cache_out = cache;
    return MR_OK;
}

void mr_type_cache_free(struct mr_type_cache *cache)
{
    if (cache == NULL)
        return;
    free(cache->index.entry);
    free(cache);
}

/* Whether two texts of n bytes are the same: mostly a dozen bytes or two,
 * which are compared as the first eight, the last eight, and what is
 * between. */
static inline bool same_text(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n < 8)
        return memcmp(a, b, n) == 0;
    if (((mr_get_u64(a) ^ mr_get_u64(b)) |
            (mr_get_u64(a + n - 8) ^ mr_get_u64(b + n - 8))) != 0)
        return false;
    return n <= 16 || memcmp(a + 8, b + 8, n - 16) == 0;
}

enum mr_status mr_type_id(
    struct mr_type_cache *cache, struct mr_span text, uint32_t *id_out)
{
    enum mr_status status = MR_OK;
    struct entry *e;
    uint64_t hash;
    uint32_t id;

    if (cache->last.n == text.n && text.n > 0 &&
        same_text(cache->last.p, text.p, text.n)) {
        *id_out = cache->last_id;
        return MR_OK;
    }
    hash = mr_hash64(text.p, text.n);
    e = index_find(&cache->index, cache->types, text, hash);
    if (e->id1 != 0) {
        id = e->id1 - 1;
    } else {
        pthread_mutex_lock(&cache->types->lock);
        status = intern(cache->types, text, hash, &id);
        pthread_mutex_unlock(&cache->types->lock);
        if (status == MR_OK)
            status = index_grow(&cache->index, cache->types);
        if (status != MR_OK)
            return status;
        e = index_find(&cache->index, cache->types, text, hash);
        index_set(&cache->index, e, id, hash);
    }
    cache->last = mr_types_text(cache->types, id);
    cache->last_id = id;
    *id_out = id;
    return MR_OK;
}
