#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/idset_private.h"

#include <stdlib.h>

#include "mr/ascending.h"

/* Hashes of all windows together, and of each at least. */
#define WINDOWS ((size_t)1 << 18)
#define WINDOW_MIN 512

enum mr_status mr_id_stream_next(struct mr_id_stream *stream,
    struct mr_id_piece *piece_out, struct mr_error *err)
{
    return stream->next(stream, piece_out, err);
}

void mr_id_stream_free(struct mr_id_stream *stream)
{
    if (stream != NULL)
        stream->free(stream);
}

/* ---- cursors ---- */

static enum mr_status more_of_memory(
    struct mr_id_cursor *c, size_t window, struct mr_error *err)
{
    size_t n = c->left < window ? (size_t)c->left : window;

    (void)err;
    c->p = c->end;
    c->end += n;
    c->left -= n;
    return MR_OK;
}

void mr_id_cursor_memory(struct mr_id_cursor *c, const uint64_t *hash, size_t n)
{
    *c = (struct mr_id_cursor){
        .p = hash, .end = hash, .more = more_of_memory, .left = n};
}

/* ---- union ---- */

size_t mr_id_window(size_t n)
{
    size_t window = n > 0 ? WINDOWS / n : WINDOWS;

    if (window > MR_IDSET_BLOCK)
        return MR_IDSET_BLOCK;
    return window < WINDOW_MIN ? WINDOW_MIN : window;
}

void mr_id_union_begin(
    struct mr_id_union *u, struct mr_id_cursor *cursor, size_t n, uint64_t most)
{
    u->cursor = cursor;
    u->n = n;
    u->left = most;
    u->cut = false;
    u->window = mr_id_window(n);
}

void mr_id_union_release(struct mr_id_union *u)
{
    mr_buffer_release(&u->hashes);
    mr_buffer_release(&u->scratch);
}

/* Have a window of every sequence; leave out those that are at their end. */
static enum mr_status fill(struct mr_id_union *u, struct mr_error *err)
{
    size_t i = 0;

    while (i < u->n) {
        struct mr_id_cursor *c = &u->cursor[i];

        if (c->p == c->end) {
            enum mr_status status = c->more(c, u->window, err);

            if (status != MR_OK)
                return status;
        }
        if (c->p == c->end)
            *c = u->cursor[--u->n];
        else
            i++;
    }
    return MR_OK;
}

/* The first hash above a bound. */
static const uint64_t *above(
    const uint64_t *p, const uint64_t *end, uint64_t bound)
{
    size_t n = (size_t)(end - p);

    while (n > 0) {
        size_t half = n / 2;

        if (p[half] <= bound) {
            p += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return p;
}

/* Take from all windows what is not above the pivot. */
static enum mr_status gather(struct mr_id_union *u, uint64_t pivot)
{
    size_t n = 0;

    for (size_t i = 0; i < u->n; i++) {
        struct mr_id_cursor *c = &u->cursor[i];
        size_t taken = (size_t)(above(c->p, c->end, pivot) - c->p);

        if (mr_buffer_reserve(&u->hashes, (n + taken) * sizeof(*c->p)) != MR_OK)
            return MR_NOMEM;
        if (taken > 0)
            memcpy(
                u->hashes.p + n * sizeof(*c->p), c->p, taken * sizeof(*c->p));
        c->p += taken;
        n += taken;
    }
    if (mr_buffer_reserve(&u->scratch, n * sizeof(uint64_t)) != MR_OK)
        return MR_NOMEM;
    u->hashes.n =
        mr_ascending_sort((void *)u->hashes.p, n, (void *)u->scratch.p);
    return MR_OK;
}

static enum mr_status round_of(struct mr_id_union *u, const uint64_t **hash_out,
    size_t *n_out, struct mr_error *err)
{
    enum mr_status status = fill(u, err);
    uint64_t pivot = UINT64_MAX;

    if (status != MR_OK)
        return status;
    *n_out = 0;
    if (u->n == 0)
        return MR_OK;
    if (u->n == 1) {
        *hash_out = u->cursor->p;
        *n_out = (size_t)(u->cursor->end - u->cursor->p);
        u->cursor->p = u->cursor->end;
        return MR_OK;
    }
    for (size_t i = 0; i < u->n; i++) {
        if (u->cursor[i].end[-1] < pivot)
            pivot = u->cursor[i].end[-1];
    }
    if (gather(u, pivot) != MR_OK)
        return mr_fail_nomem(err);
    *hash_out = (void *)u->hashes.p;
    *n_out = u->hashes.n;
    return MR_OK;
}

enum mr_status mr_id_union_next(struct mr_id_union *u,
    const uint64_t **hash_out, size_t *n_out, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t n = 0;

    if (!u->cut)
        status = round_of(u, hash_out, &n, err);
    if (status != MR_OK)
        return status;
    if (n > u->left) {
        n = (size_t)u->left;
        u->cut = true;
    }
    u->left -= n;
    *n_out = n;
    return MR_OK;
}

/* ---- streams ---- */

struct input {
    struct mr_id_stream *stream;
    struct mr_id_piece piece; /* at hand */
};

struct merged {
    struct mr_id_stream stream;
    uint64_t most;
    int32_t day; /* at hand, or MR_ID_END between days */
    bool begun;
    struct input *input;
    size_t n;
    struct mr_id_cursor *cursor;
    struct mr_id_union joined;
};

/* The next piece of a stream as a window. */
static enum mr_status more_of_stream(
    struct mr_id_cursor *c, size_t window, struct mr_error *err)
{
    struct input *input = c->context;
    enum mr_status status = MR_OK;

    (void)window;
    if (input->piece.n > 0)
        status = mr_id_stream_next(input->stream, &input->piece, err);
    c->p = input->piece.hash;
    c->end = input->piece.n > 0 ? c->p + input->piece.n : c->p;
    return status;
}

/* Go on to the earliest day that any stream has. */
static enum mr_status next_day(struct merged *m, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t n = 0;

    for (size_t i = 0; i < m->n && !m->begun; i++) {
        status = mr_id_stream_next(m->input[i].stream, &m->input[i].piece, err);
        if (status != MR_OK)
            return status;
    }
    m->begun = true;
    m->day = MR_ID_END;
    for (size_t i = 0; i < m->n; i++) {
        int32_t day = m->input[i].piece.day;

        if (day != MR_ID_END && (m->day == MR_ID_END || day < m->day))
            m->day = day;
    }
    for (size_t i = 0; i < m->n && m->day != MR_ID_END; i++) {
        struct input *input = &m->input[i];

        if (input->piece.day == m->day)
            m->cursor[n++] = (struct mr_id_cursor){.p = input->piece.hash,
                .end = input->piece.hash + input->piece.n,
                .more = more_of_stream,
                .context = input};
    }
    mr_id_union_begin(&m->joined, m->cursor, n, m->most);
    return status;
}

/* Pass over what is left of the day; find out whether it is cut. */
static enum mr_status end_day(
    struct merged *m, bool *cut_out, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    bool cut = m->joined.cut;

    for (size_t i = 0; i < m->n && status == MR_OK; i++) {
        struct input *input = &m->input[i];

        if (input->piece.day != m->day)
            continue;
        while (status == MR_OK && input->piece.n > 0)
            status = mr_id_stream_next(input->stream, &input->piece, err);
        cut |= input->piece.cut;
        if (status == MR_OK)
            status = mr_id_stream_next(input->stream, &input->piece, err);
    }
    *cut_out = cut;
    return status;
}

static enum mr_status next_of_merged(struct mr_id_stream *stream,
    struct mr_id_piece *piece_out, struct mr_error *err)
{
    struct merged *m = (struct merged *)stream;
    struct mr_id_piece piece = {0};
    enum mr_status status = MR_OK;

    if (m->day == MR_ID_END)
        status = next_day(m, err);
    piece.day = m->day;
    if (status == MR_OK && m->day != MR_ID_END)
        status = mr_id_union_next(&m->joined, &piece.hash, &piece.n, err);
    if (status == MR_OK && m->day != MR_ID_END && piece.n == 0) {
        status = end_day(m, &piece.cut, err);
        m->day = MR_ID_END;
    }
    if (status == MR_OK)
        *piece_out = piece;
    return status;
}

static void free_merged(struct mr_id_stream *stream)
{
    struct merged *m = (struct merged *)stream;

    mr_id_union_release(&m->joined);
    free(m->input);
    free(m->cursor);
    free(m);
}

enum mr_status mr_id_stream_merge(const struct mr_idset_rule *rule,
    struct mr_id_stream *const *stream, size_t n,
    struct mr_id_stream **merged_out, struct mr_error *err)
{
    struct merged *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return mr_fail_nomem(err);
    m->stream.next = next_of_merged;
    m->stream.free = free_merged;
    m->most = mr_idset_most(rule);
    m->day = MR_ID_END;
    m->n = n;
    m->input = calloc(n + 1, sizeof(*m->input));
    m->cursor = calloc(n + 1, sizeof(*m->cursor));
    if (m->input == NULL || m->cursor == NULL) {
        free_merged(&m->stream);
        return mr_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++)
        m->input[i].stream = stream[i];
    *merged_out = &m->stream;
    return MR_OK;
}
