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

struct relation {
    bool a_has_more, b_has_more, have_common;
};

static struct relation relate(
    const struct mr_segment_parts *a, const struct mr_segment_parts *b)
{
    struct relation r = {false, false, false};
    size_t i = 0, k = 0;

    while (i < a->n && k < b->n) {
        int order = memcmp(&a->digest[i], &b->digest[k], MR_DIGEST_BYTES);

        r.a_has_more |= order < 0;
        r.b_has_more |= order > 0;
        r.have_common |= order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    r.a_has_more |= i < a->n;
    r.b_has_more |= k < b->n;
    return r;
}

enum mr_status mr_segments_choose(const struct mr_segment_parts *parts,
    size_t n, bool *wanted_out, size_t *a_out, size_t *b_out)
{
    for (size_t i = 0; i < n; i++)
        wanted_out[i] = true;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n && wanted_out[i]; k++) {
            struct relation r;

            if (!wanted_out[k])
                continue;
            r = relate(&parts[i], &parts[k]);
            wanted_out[k] = r.b_has_more;
            wanted_out[i] = r.a_has_more || !r.b_has_more;
        }
    }
    /* Only now: two may overlap that are both in a third. */
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            if (wanted_out[i] && wanted_out[k] &&
                relate(&parts[i], &parts[k]).have_common) {
                *a_out = i;
                *b_out = k;
                return MR_MISMATCH;
            }
        }
    }
    return MR_OK;
}
