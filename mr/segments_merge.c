#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/segments_private.h"

#include <stdlib.h>

/* Entries of a merged piece. */
#define PIECE 8192

enum mr_status mr_segment_stream_next(struct mr_segment_stream *stream,
    const struct mr_segment_entry **entry_out, size_t *n_out,
    struct mr_error *err)
{
    return stream->next(stream, entry_out, n_out, err);
}

void mr_segment_stream_free(struct mr_segment_stream *stream)
{
    if (stream != NULL)
        stream->free(stream);
}

/* ---- merging ---- */

struct input {
    struct mr_segment_stream *stream;
    const struct mr_segment_entry *p, *end; /* at hand */
};

struct merged {
    struct mr_segment_stream stream;
    struct input *heap; /* those not at their end; the lowest entry first */
    size_t n;
    bool begun;
    /* All entries of a day must be here before it is known whether its
     * MR_SEGMENT_SEEN stays; as that is the last one, the entry before it is
     * all that is needed, and stays at the front of the next piece. */
    struct mr_segment_entry entry[PIECE + 2];
    size_t n_entries; /* made so far */
    size_t n_given;   /* of these the caller had */
};

static bool is_before(const struct input *a, const struct input *b)
{
    return mr_segment_compare(a->p, b->p) < 0;
}

static void sink(struct merged *m, size_t i)
{
    struct input top = m->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < m->n && is_before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (child >= m->n || !is_before(&m->heap[child], &top))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = top;
}

static enum mr_status fetch(struct input *input, struct mr_error *err)
{
    size_t n = 0;
    enum mr_status status =
        mr_segment_stream_next(input->stream, &input->p, &n, err);

    input->end = n > 0 ? input->p + n : input->p;
    return status;
}

static enum mr_status begin(struct merged *m, struct mr_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        enum mr_status status = fetch(&m->heap[i], err);

        if (status != MR_OK)
            return status;
        if (m->heap[i].p != m->heap[i].end)
            m->heap[kept++] = m->heap[i];
    }
    m->n = kept;
    for (size_t i = m->n / 2; i-- > 0;)
        sink(m, i);
    m->begun = true;
    return MR_OK;
}

static enum mr_status take_lowest(struct merged *m, struct mr_error *err)
{
    struct input *input = m->heap;

    m->n_entries = mr_segment_append(m->entry, m->n_entries, input->p);
    if (++input->p == input->end) {
        enum mr_status status = fetch(input, err);

        if (status != MR_OK)
            return status;
        if (input->p == input->end)
            *input = m->heap[--m->n];
    }
    if (m->n > 1)
        sink(m, 0);
    return MR_OK;
}

static enum mr_status next_of_merged(struct mr_segment_stream *stream,
    const struct mr_segment_entry **entry_out, size_t *n_out,
    struct mr_error *err)
{
    struct merged *m = (struct merged *)stream;
    enum mr_status status = m->begun ? MR_OK : begin(m, err);

    /* The last entry may still grow: it has not been given. */
    if (m->n_given > 0) {
        m->entry[0] = m->entry[m->n_given];
        m->n_entries -= m->n_given;
        m->n_given = 0;
    }
    while (status == MR_OK && m->n > 0 && m->n_entries <= PIECE)
        status = take_lowest(m, err);
    if (status != MR_OK)
        return status;
    m->n_given = m->n > 0 ? m->n_entries - 1 : m->n_entries;
    *entry_out = m->entry;
    *n_out = m->n_given;
    return MR_OK;
}

static void free_merged(struct mr_segment_stream *stream)
{
    struct merged *m = (struct merged *)stream;

    free(m->heap);
    free(m);
}

enum mr_status mr_segment_stream_merge(struct mr_segment_stream *const *stream,
    size_t n, struct mr_segment_stream **merged_out)
{
    struct merged *m = calloc(1, sizeof(*m));
    struct input *heap = calloc(n + 1, sizeof(*heap));

    if (m == NULL || heap == NULL) {
        free(m);
        free(heap);
        return MR_NOMEM;
    }
    m->stream.next = next_of_merged;
    m->stream.free = free_merged;
    m->heap = heap;
    m->n = n;
    for (size_t i = 0; i < n; i++)
        heap[i].stream = stream[i];
    *merged_out = &m->stream;
    return MR_OK;
}

/* ---- which states can be merged ---- */

/* Whose a partition is: of the states that were taken so far. */
struct owner {
    const struct mr_digest *digest; /* NULL: free */
    size_t state;
};

struct choice {
    const struct mr_segment_parts *parts;
    struct owner *owner; /* open-addressed, at most half full */
    size_t size;
};

static struct owner *owner_of(
    const struct choice *c, const struct mr_digest *digest)
{
    uint64_t key;
    size_t i;

    memcpy(&key, digest->b, sizeof(key));
    for (i = (size_t)mr_hash_place(c->owner, key, c->size);;
         i = i + 1 == c->size ? 0 : i + 1) {
        struct owner *o = &c->owner[i];

        if (o->digest == NULL ||
            memcmp(o->digest->b, digest->b, MR_DIGEST_BYTES) == 0)
            return o;
    }
}

/* Take a state, unless all that it has is in another.  Of two that have only
 * something in common, that is: its number. */
static bool take(
    struct choice *c, size_t state, bool *wanted_out, size_t *other_out)
{
    const struct mr_segment_parts *p = &c->parts[state];
    size_t n_owned = 0, n_other = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct owner *o = owner_of(c, &p->digest[i]);

        if (o->digest == NULL)
            continue;
        if (n_owned++ == 0)
            *other_out = o->state;
        n_other += o->state == *other_out;
    }
    *wanted_out = n_owned == 0;
    for (size_t i = 0; i < p->n && n_owned == 0; i++)
        *owner_of(c, &p->digest[i]) = (struct owner){&p->digest[i], state};
    return n_owned == 0 || n_other == p->n;
}

struct sized {
    size_t n, state;
};

static int by_size_down(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->state < y->state ? -1 : x->state > y->state;
}

/* The states, those of most partitions first: what has all of another one comes
 * before it. */
static struct sized *order(const struct mr_segment_parts *parts, size_t n)
{
    struct sized *sized = malloc((n + 1) * sizeof(*sized));

    for (size_t i = 0; sized != NULL && i < n; i++)
        sized[i] = (struct sized){parts[i].n, i};
    if (sized != NULL && n > 1)
        qsort(sized, n, sizeof(*sized), by_size_down);
    return sized;
}

enum mr_status mr_segments_choose(const struct mr_segment_parts *parts,
    size_t n, bool *wanted_out, size_t *a_out, size_t *b_out)
{
    struct choice c = {.parts = parts, .size = 1};
    struct sized *sized = order(parts, n);
    enum mr_status status = MR_OK;
    size_t other = 0;

    for (size_t i = 0; i < n; i++)
        c.size += 2 * parts[i].n;
    c.owner = calloc(c.size, sizeof(*c.owner));
    if (sized == NULL || c.owner == NULL)
        status = MR_NOMEM;
    for (size_t i = 0; i < n && status == MR_OK; i++) {
        size_t state = sized[i].state;

        if (take(&c, state, &wanted_out[state], &other)) {
            /* All have what has nothing. */
            wanted_out[state] &= i == 0 || parts[state].n > 0;
            continue;
        }
        *a_out = state < other ? state : other;
        *b_out = state < other ? other : state;
        status = MR_MISMATCH;
    }
    free(c.owner);
    free(sized);
    return status;
}
