#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/types.h"

#include <pthread.h>
#include <stdatomic.h>
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
struct page {
    struct mr_span text[PAGE_TYPES];
    _Atomic bool counts[PAGE_TYPES]; /* groups that mr_types_keep was given */
    bool dropped[PAGE_TYPES];        /* of these, the ones that are not kept */
};

/* From so many on, groups of any scope keep others out. */
#define MANY_TEXTS (MR_TYPES_MAX / 4)

#define ROLLUPS (MR_TEXT_KINDS - MR_TEXT_ROLLUP)

struct group {
    uint64_t hash;
    uint32_t id;
};

/* The least groups of some: a heap whose top has the greatest hash. */
struct least {
    struct group *heap;
    uint32_t n, cap;
    /* Once there are as many as are wanted, the greatest hash; read without
     * the lock, too. */
    _Atomic uint64_t bar;
};

/* The groups of a rollup. */
struct groups {
    uint32_t most;
    struct least kept; /* of those that count */
    struct least met;  /* of all */
    /* Read without the lock, too: hashes above bar are none of a group to
     * keep; the number + 1 of the group of all such, once there is one. */
    _Atomic uint64_t bar;
    _Atomic uint32_t further1;
};

struct mr_type_scope {
    struct least met[ROLLUPS]; /* new to the table when they were met */
};

struct mr_types {
    pthread_mutex_t lock;
    struct index index;
    struct chunk *chunk;
    struct page *page[PAGES];
    uint32_t n;
    struct groups groups[ROLLUPS];
};

struct mr_type_cache {
    struct mr_types *types;
    struct mr_type_scope *scope; /* or NULL */
    struct index index;
    struct mr_span last; /* a type, without its kind */
    uint32_t last_id;
};

/* A text to look up, and the hash of it and its kind. */
struct wanted {
    struct mr_span text;
    unsigned kind;
    uint64_t text_hash, hash;
};

static struct wanted want(unsigned kind, struct mr_span text)
{
    struct wanted w = {text, kind, mr_hash64(text.p, text.n), 0};

    w.hash = w.text_hash + kind * UINT64_C(0x9e3779b97f4a7c15);
    return w;
}

/* What a text in the table is: its kind, and what follows. */
static struct wanted want_again(struct mr_span known)
{
    return want(known.p[0], (struct mr_span){known.p + 1, known.n - 1});
}

static enum mr_status index_init(struct index *x, size_t entries)
{
    x->entry = calloc(entries, sizeof(*x->entry));
    x->mask = entries - 1;
    x->n = 0;
    return x->entry != NULL ? MR_OK : MR_NOMEM;
}

/* The entry of a text, or the free one where it belongs. */
static struct entry *index_find(
    const struct index *x, const struct mr_types *types, const struct wanted *w)
{
    size_t i = (size_t)mr_hash_place(x->entry, w->hash, x->mask + 1);

    for (;; i = (i + 1) & x->mask) {
        struct entry *e = &x->entry[i];

        if (e->id1 == 0)
            return e;
        if (e->tag == (uint32_t)(w->hash >> 32)) {
            struct mr_span known = mr_types_text(types, e->id1 - 1);

            if (known.n == w->text.n + 1 && known.p[0] == w->kind &&
                (w->text.n == 0 ||
                    memcmp(known.p + 1, w->text.p, w->text.n) == 0))
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
            struct wanted w =
                want_again(mr_types_text(types, x->entry[i].id1 - 1));

            *index_find(&wider, types, &w) = x->entry[i];
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

static void least_init(struct least *l)
{
    atomic_init(&l->bar, UINT64_MAX);
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
    for (unsigned k = 0; k < ROLLUPS; k++) {
        least_init(&types->groups[k].kept);
        least_init(&types->groups[k].met);
        atomic_init(&types->groups[k].bar, UINT64_MAX);
    }
    *types_out = types;
    return MR_OK;
}

void mr_types_limit(struct mr_types *types, unsigned kind, uint32_t most)
{
    types->groups[kind - MR_TEXT_ROLLUP].most = most;
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
    for (unsigned k = 0; k < ROLLUPS; k++) {
        free(types->groups[k].kept.heap);
        free(types->groups[k].met.heap);
    }
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
    return types->page[id / PAGE_TYPES]->text[id % PAGE_TYPES];
}

uint32_t mr_types_final(const struct mr_types *types, uint32_t id)
{
    if (!types->page[id / PAGE_TYPES]->dropped[id % PAGE_TYPES])
        return id;
    return types->groups[mr_types_text(types, id).p[0] - MR_TEXT_ROLLUP]
               .further1 -
           1;
}

/* Copy a text, its kind before it, to where it stays. */
static enum mr_status keep_text(
    struct mr_types *types, const struct wanted *w, struct mr_span *text_out)
{
    struct chunk *c = types->chunk;
    size_t n = w->text.n + 1;

    if (c == NULL || c->cap - c->n < n) {
        size_t cap = n > CHUNK_BYTES ? n : CHUNK_BYTES;

        c = malloc(sizeof(*c) + cap);
        if (c == NULL)
            return MR_NOMEM;
        c->next = types->chunk;
        c->n = 0;
        c->cap = cap;
        types->chunk = c;
    }
    *text_out = (struct mr_span){c->bytes + c->n, n};
    c->bytes[c->n] = (uint8_t)w->kind;
    if (w->text.n > 0)
        memcpy(c->bytes + c->n + 1, w->text.p, w->text.n);
    c->n += n;
    return MR_OK;
}

/* Under the lock: the number of a text that this thread has not met. */
static enum mr_status intern(
    struct mr_types *types, const struct wanted *w, uint32_t *id)
{
    struct page **page;
    struct entry *e;

    if (index_grow(&types->index, types) != MR_OK)
        return MR_NOMEM;
    e = index_find(&types->index, types, w);
    if (e->id1 != 0) {
        *id = e->id1 - 1;
        return MR_OK;
    }
    if (types->n == MR_TYPES_MAX)
        return MR_LIMIT;
    page = &types->page[types->n / PAGE_TYPES];
    if (*page == NULL)
        *page = calloc(1, sizeof(**page));
    if (*page == NULL ||
        keep_text(types, w, &(*page)->text[types->n % PAGE_TYPES]) != MR_OK)
        return MR_NOMEM;
    *id = types->n++;
    index_set(&types->index, e, *id, w->hash);
    return MR_OK;
}

/* ---- groups ---- */

/* Whether a is after b in the order in which groups are kept. */
static bool is_after(
    const struct mr_types *types, struct group a, struct group b)
{
    if (a.hash != b.hash)
        return a.hash > b.hash;
    return mr_span_compare(
               mr_types_text(types, a.id), mr_types_text(types, b.id)) > 0;
}

static void sift_down(const struct mr_types *types, struct least *l)
{
    struct group top = l->heap[0];
    uint32_t i = 0;

    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= l->n)
            break;
        if (child + 1 < l->n &&
            is_after(types, l->heap[child + 1], l->heap[child]))
            child++;
        if (!is_after(types, l->heap[child], top))
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = top;
}

static enum mr_status push(
    const struct mr_types *types, struct least *l, struct group group)
{
    uint32_t i;

    if (l->n == l->cap) {
        uint32_t cap = 2 * l->cap + 16;
        struct group *heap = realloc(l->heap, cap * sizeof(*heap));

        if (heap == NULL)
            return MR_NOMEM;
        l->heap = heap;
        l->cap = cap;
    }
    for (i = l->n++; i > 0 && is_after(types, group, l->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = group;
    return MR_OK;
}

/* Add a group that is not there to the most least ones.  out1 is the number
 * + 1 of the one that is not among these any more, or 0. */
static enum mr_status least_add(const struct mr_types *types, struct least *l,
    uint32_t most, struct group group, uint32_t *out1)
{
    enum mr_status status = MR_OK;

    *out1 = 0;
    if (l->n < most) {
        status = push(types, l, group);
    } else if (is_after(types, group, l->heap[0])) {
        *out1 = group.id + 1;
    } else {
        *out1 = l->heap[0].id + 1;
        l->heap[0] = group;
        sift_down(types, l);
    }
    if (l->n == most)
        l->bar = l->heap[0].hash;
    return status;
}

/* The group of all that are not kept. */
static enum mr_status intern_further(
    struct mr_types *types, unsigned kind, uint32_t *id)
{
    struct groups *g = &types->groups[kind - MR_TEXT_ROLLUP];
    struct wanted none = want(kind, (struct mr_span){NULL, 0});
    enum mr_status status = MR_OK;

    if (g->further1 == 0)
        status = intern(types, &none, id);
    else
        *id = g->further1 - 1;
    if (status == MR_OK)
        g->further1 = *id + 1;
    return status;
}

static void lower(_Atomic uint64_t *bar, uint64_t to)
{
    if (to < *bar)
        *bar = to;
}

/* Hashes above it are none of a group to keep, if the scope comes to count. */
static uint64_t bar_of(const struct mr_types *types,
    const struct mr_type_scope *scope, unsigned kind)
{
    uint64_t bar = types->groups[kind - MR_TEXT_ROLLUP].bar;

    if (scope != NULL && scope->met[kind - MR_TEXT_ROLLUP].bar < bar)
        bar = scope->met[kind - MR_TEXT_ROLLUP].bar;
    return bar;
}

/* Under the lock: as intern, of a group. */
static enum mr_status intern_group(struct mr_types *types,
    struct mr_type_scope *scope, const struct wanted *w, uint32_t *id)
{
    struct groups *g = &types->groups[w->kind - MR_TEXT_ROLLUP];
    uint32_t n = types->n, unused;
    enum mr_status status;
    struct group group;

    if (w->text_hash > bar_of(types, scope, w->kind))
        return intern_further(types, w->kind, id);
    status = intern(types, w, id);
    if (status != MR_OK || *id < n)
        return status;
    group = (struct group){w->text_hash, *id};
    status = least_add(types, &g->met, g->most, group, &unused);
    if (types->n >= MANY_TEXTS)
        lower(&g->bar, g->met.bar);
    if (status == MR_OK && scope != NULL)
        status = least_add(types, &scope->met[w->kind - MR_TEXT_ROLLUP],
            g->most, group, &unused);
    return status;
}

/* Under the lock: a group counts. */
static enum mr_status keep(struct mr_types *types, uint32_t id)
{
    struct page *page = types->page[id / PAGE_TYPES];
    struct wanted w = want_again(page->text[id % PAGE_TYPES]);
    struct groups *g = &types->groups[w.kind - MR_TEXT_ROLLUP];
    struct group group = {w.text_hash, id};
    uint32_t out1, further;
    enum mr_status status;

    if (page->counts[id % PAGE_TYPES])
        return MR_OK;
    status = least_add(types, &g->kept, g->most, group, &out1);
    if (status != MR_OK)
        return status;
    page->counts[id % PAGE_TYPES] = true;
    lower(&g->bar, g->kept.bar);
    if (out1 == 0)
        return MR_OK;
    id = out1 - 1;
    types->page[id / PAGE_TYPES]->dropped[id % PAGE_TYPES] = true;
    return intern_further(types, w.kind, &further);
}

bool mr_types_is_new_group(const struct mr_types *types, uint32_t id)
{
    const struct page *page = types->page[id / PAGE_TYPES];
    struct mr_span text = page->text[id % PAGE_TYPES];

    return text.p[0] >= MR_TEXT_ROLLUP && text.n > 1 &&
           !page->counts[id % PAGE_TYPES];
}

enum mr_status mr_types_keep(
    struct mr_types *types, const uint32_t *id, size_t n)
{
    enum mr_status status = MR_OK;

    if (n == 0)
        return MR_OK;
    pthread_mutex_lock(&types->lock);
    for (size_t i = 0; i < n && status == MR_OK; i++)
        status = keep(types, id[i]);
    pthread_mutex_unlock(&types->lock);
    return status;
}

enum mr_status mr_type_scope_new(struct mr_type_scope **scope_out)
{
    struct mr_type_scope *scope = calloc(1, sizeof(*scope));

    if (scope == NULL)
        return MR_NOMEM;
    for (unsigned k = 0; k < ROLLUPS; k++)
        least_init(&scope->met[k]);
    *scope_out = scope;
    return MR_OK;
}

void mr_type_scope_clear(struct mr_type_scope *scope)
{
    for (unsigned k = 0; k < ROLLUPS; k++) {
        if (scope->met[k].n > 0)
            scope->met[k].bar = UINT64_MAX;
        scope->met[k].n = 0;
    }
}

void mr_type_scope_free(struct mr_type_scope *scope)
{
    if (scope == NULL)
        return;
    for (unsigned k = 0; k < ROLLUPS; k++)
        free(scope->met[k].heap);
    free(scope);
}

/* ---- a thread's view ---- */

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

void mr_type_cache_enter(
    struct mr_type_cache *cache, struct mr_type_scope *scope)
{
    cache->scope = scope;
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

/* What a thread meets for the first time. */
static enum mr_status ask(
    struct mr_type_cache *cache, const struct wanted *w, uint32_t *id)
{
    bool is_group = w->kind >= MR_TEXT_ROLLUP;
    enum mr_status status;

    pthread_mutex_lock(&cache->types->lock);
    status = is_group ? intern_group(cache->types, cache->scope, w, id)
                      : intern(cache->types, w, id);
    pthread_mutex_unlock(&cache->types->lock);
    return status;
}

/* The group of all that are not kept, if a group is none to keep; else
 * UINT32_MAX. */
static uint32_t find_further(
    const struct mr_type_cache *cache, const struct wanted *w)
{
    if (w->text_hash <= bar_of(cache->types, cache->scope, w->kind))
        return UINT32_MAX;
    return cache->types->groups[w->kind - MR_TEXT_ROLLUP].further1 - 1;
}

static enum mr_status find(struct mr_type_cache *cache, unsigned kind,
    struct mr_span text, uint32_t *id_out)
{
    struct wanted w = want(kind, text);
    struct entry *e;
    enum mr_status status;

    if (kind >= MR_TEXT_ROLLUP) {
        *id_out = find_further(cache, &w);
        if (*id_out != UINT32_MAX)
            return MR_OK;
    }
    e = index_find(&cache->index, cache->types, &w);
    if (e->id1 != 0) {
        *id_out = e->id1 - 1;
        return MR_OK;
    }
    status = ask(cache, &w, id_out);
    if (status == MR_OK)
        status = index_grow(&cache->index, cache->types);
    if (status != MR_OK || mr_types_text(cache->types, *id_out).n == 1)
        return status;
    e = index_find(&cache->index, cache->types, &w);
    index_set(&cache->index, e, *id_out, w.hash);
    return MR_OK;
}

enum mr_status mr_type_id(struct mr_type_cache *cache, unsigned kind,
    struct mr_span text, uint32_t *id_out)
{
    enum mr_status status;

    if (kind != MR_TEXT_TYPE)
        return find(cache, kind, text, id_out);
    if (cache->last.n == text.n && text.n > 0 &&
        same_text(cache->last.p, text.p, text.n)) {
        *id_out = cache->last_id;
        return MR_OK;
    }
    status = find(cache, kind, text, id_out);
    if (status != MR_OK)
        return status;
    cache->last = mr_types_text(cache->types, *id_out);
    cache->last.p++;
    cache->last.n--;
    cache->last_id = *id_out;
    return MR_OK;
}
