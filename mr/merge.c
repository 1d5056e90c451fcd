#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * Merging.
 *
 * The users of every state ascend by hash, so joining k states is a k-way
 * merge: a heap holds the next hash of each state's current block; the
 * least is taken from all states that have it, its intervals are joined, and
 * its place in the block being made is noted for each state.  When a
 * state's block has been used up, its sets are copied in one sweep by way of
 * those notes: a set bit moves from the old place to the new one, whatever
 * the other states hold.
 *
 *    state A  ┌ hash ┬ sets ┬ intervals ┐
 *    state B  ┌ hash ┬ sets ┬ intervals ┐ ─▶ heap ─▶ block ─▶ tally
 *    state C  ┌ hash ┬ sets ┬ intervals ┐                 └─▶ pack ─▶ file
 *
 * Only KPIs wanted: hashes are even, so threads take equal ranges of them,
 * each with cursors of its own; where in a range a block ends does not
 * matter.  Users that only one state has are counted where they are: a block
 * being made gets none but those of several.  A merged file wanted too: its
 * blocks have one lawful division, so one thread merges and all of them pack.
 */

#include "mr/merge.h"

#include <omp.h>
#include <stdlib.h>

#include "mr/hyperloglog.h"

struct mr_merge {
    struct mr_state *const *state;
    size_t n;
    struct mr_state_head head;
    struct mr_cells cells;
    uint32_t **cell_of; /* [state][its cell]: number in the joined head */
};

/* ---- heads ---- */

/* Differences, one a line, as one line. */
static enum mr_status list_differences(
    const struct mr_buffer *lines, struct mr_buffer *out)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i + 1 < lines->n && status == MR_OK; i++)
        status = lines->p[i] == '\n' ? mr_buffer_add(out, "; ", 2)
                                     : mr_buffer_add(out, lines->p + i, 1);
    return status;
}

static enum mr_status check_spec(const struct mr_state *first,
    const struct mr_state *other, struct mr_error *err)
{
    struct mr_buffer lines = {0}, text = {0};
    enum mr_status status = mr_spec_difference(&mr_state_get_head(other)->spec,
        &mr_state_get_head(first)->spec, &lines);

    if (status == MR_OK)
        status = list_differences(&lines, &text);
    if (status != MR_OK) {
        status = mr_fail_nomem(err);
    } else if (text.n > 0) {
        status = mr_fail(err, MR_MISMATCH, MR_NOWHERE,
            "map all partitions with one spec, or reduce these states apart",
            "its spec is not that of '%s': %.*s", mr_state_path(first),
            (int)text.n, (const char *)text.p);
        mr_error_subject(err, "cannot merge", mr_state_path(other));
    }
    mr_buffer_release(&lines);
    mr_buffer_release(&text);
    return status;
}

static int compare_spans(const void *a, const void *b)
{
    const struct mr_span *x = a, *y = b;

    return mr_span_compare(*x, *y);
}

static int compare_cells(const void *a, const void *b)
{
    const struct mr_cell *x = a, *y = b;

    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return x->type < y->type ? -1 : x->type > y->type;
}

/* Drop what equals its predecessor in a sorted array; the new length. */
static size_t unique(void *array, size_t n, size_t size,
    int (*compare)(const void *, const void *))
{
    uint8_t *p = array;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && compare(p + (kept - 1) * size, p + i * size) == 0)
            continue;
        if (kept != i)
            memcpy(p + kept * size, p + i * size, size);
        kept++;
    }
    return kept;
}

/* The union of the states' types; their bytes stay the states'. */
static enum mr_status join_types(struct mr_merge *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++)
        n += mr_state_get_head(m->state[i])->n_types;
    m->head.type = malloc((n + 1) * sizeof(*m->head.type));
    if (m->head.type == NULL)
        return MR_NOMEM;
    n = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct mr_state_head *h = mr_state_get_head(m->state[i]);

        for (size_t k = 0; k < h->n_types; k++)
            m->head.type[n++] = h->type[k];
    }
    if (n > 0)
        qsort(m->head.type, n, sizeof(*m->head.type), compare_spans);
    m->head.n_types =
        unique(m->head.type, n, sizeof(*m->head.type), compare_spans);
    return MR_OK;
}

/* A cell of a state in terms of the joined types. */
static struct mr_cell translate(
    const struct mr_merge *m, const struct mr_state_head *h, size_t k)
{
    const struct mr_span *type = bsearch(&h->type[h->cell[k].type],
        m->head.type, m->head.n_types, sizeof(*type), compare_spans);

    return (struct mr_cell){h->cell[k].day, (uint32_t)(type - m->head.type)};
}

static enum mr_status number_cells(struct mr_merge *m, size_t i)
{
    const struct mr_state_head *h = mr_state_get_head(m->state[i]);

    m->cell_of[i] = malloc((h->n_cells + 1) * sizeof(**m->cell_of));
    if (m->cell_of[i] == NULL)
        return MR_NOMEM;
    for (size_t k = 0; k < h->n_cells; k++) {
        struct mr_cell cell = translate(m, h, k);
        const struct mr_cell *place = bsearch(
            &cell, m->head.cell, m->head.n_cells, sizeof(cell), compare_cells);

        m->cell_of[i][k] = (uint32_t)(place - m->head.cell);
    }
    return MR_OK;
}

static enum mr_status join_cells(struct mr_merge *m)
{
    enum mr_status status = MR_OK;
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++)
        n += mr_state_get_head(m->state[i])->n_cells;
    m->head.cell = malloc((n + 1) * sizeof(*m->head.cell));
    m->cell_of = calloc(m->n, sizeof(*m->cell_of));
    if (m->head.cell == NULL || m->cell_of == NULL)
        return MR_NOMEM;
    n = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct mr_state_head *h = mr_state_get_head(m->state[i]);

        for (size_t k = 0; k < h->n_cells; k++)
            m->head.cell[n++] = translate(m, h, k);
    }
    if (n > 0)
        qsort(m->head.cell, n, sizeof(*m->head.cell), compare_cells);
    m->head.n_cells =
        unique(m->head.cell, n, sizeof(*m->head.cell), compare_cells);
    for (size_t i = 0; i < m->n && status == MR_OK; i++)
        status = number_cells(m, i);
    return status;
}

static enum mr_status join_coverage(struct mr_merge *m)
{
    enum mr_status status;

    for (size_t i = 0; i < m->n; i++) {
        const struct mr_coverage *c = &mr_state_get_head(m->state[i])->coverage;

        for (size_t k = 0; k < c->n_partitions; k++) {
            struct mr_partition copy;

            if (mr_partition_copy(&c->partition[k], &copy) != MR_OK)
                return MR_NOMEM;
            for (size_t j = 0; j < copy.n_cells; j++)
                copy.cell[j].cell = m->cell_of[i][copy.cell[j].cell];
            status = mr_coverage_add(&m->head.coverage, &copy);
            if (status != MR_OK) {
                mr_partition_release(&copy);
                return status;
            }
        }
        for (size_t k = 0; k < c->n_failures; k++)
            if (mr_coverage_add_failure(&m->head.coverage, c->failure[k].name,
                    c->failure[k].offset, c->failure[k].cause) != MR_OK)
                return MR_NOMEM;
    }
    return mr_coverage_settle(&m->head.coverage);
}

static enum mr_status join_sketch(struct mr_merge *m, size_t i, size_t k)
{
    const struct mr_hll *from = mr_state_get_head(m->state[i])->sketch[k];
    struct mr_hll **to = &m->head.sketch[m->cell_of[i][k]];

    if (from == NULL)
        return MR_OK;
    if (*to == NULL) {
        *to = malloc(sizeof(**to));
        if (*to == NULL)
            return MR_NOMEM;
        mr_hll_init(*to, m->head.spec.sketch_bits);
    }
    return mr_hll_merge(*to, from);
}

static enum mr_status join_sketches(struct mr_merge *m)
{
    enum mr_status status = MR_OK;

    m->head.sketch = calloc(m->head.n_cells + 1, sizeof(*m->head.sketch));
    if (m->head.sketch == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0;
             k < mr_state_get_head(m->state[i])->n_cells && status == MR_OK;
             k++)
            status = join_sketch(m, i, k);
    return status;
}

enum mr_status mr_merge_new(struct mr_state *const *state, size_t n,
    struct mr_merge **merge_out, struct mr_error *err)
{
    struct mr_merge *m = calloc(1, sizeof(*m));
    enum mr_status status = MR_OK;

    if (m == NULL)
        return mr_fail_nomem(err);
    m->state = state;
    m->n = n;
    m->head.spec = mr_state_get_head(state[0])->spec;
    for (size_t i = 1; i < n && status == MR_OK; i++)
        status = check_spec(state[0], state[i], err);
    if (status == MR_OK) {
        status = join_types(m);
        if (status == MR_OK)
            status = join_cells(m);
        if (status == MR_OK)
            status = join_coverage(m);
        if (status == MR_OK)
            status = join_sketches(m);
        if (status != MR_OK)
            status = mr_fail_nomem(err);
    }
    if (status != MR_OK) {
        mr_merge_free(m);
        return status;
    }
    m->cells = (struct mr_cells){
        m->head.type, m->head.n_types, m->head.cell, m->head.n_cells};
    *merge_out = m;
    return MR_OK;
}

void mr_merge_free(struct mr_merge *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; m->cell_of != NULL && i < m->n; i++)
        free(m->cell_of[i]);
    free(m->cell_of);
    mr_state_head_release(&m->head);
    free(m);
}

const struct mr_state_head *mr_merge_head(const struct mr_merge *m)
{
    return &m->head;
}

const struct mr_cells *mr_merge_cells(const struct mr_merge *m)
{
    return &m->cells;
}

/* ---- users ---- */

/* A state's place in the merge. */
struct cursor {
    const struct mr_state *state;
    const uint32_t *cell_of;
    struct mr_unpacker *unpacker;
    struct mr_user_block block; /* sets renumbered */
    struct mr_user_set *sets;
    size_t cap_sets;
    size_t next_block;
    uint32_t at;  /* next user of the block */
    uint32_t low; /* first whose sets have not been copied */
    uint16_t *position;
    uint32_t start;  /* first user of the block in the range */
    size_t n_shared; /* users that other states have too */
    uint64_t *shared;
};

/* One range of hashes being merged; the heap orders cursors by hash. */
struct range {
    const struct mr_merge *m;
    uint64_t last; /* the range's last hash */
    /* Counts users of one state only, who then are not in blocks; may be
     * NULL. */
    struct mr_kpi_tally *tally;
    uint64_t users; /* so counted */
    const volatile int *stop;
    struct cursor *cursor;
    struct cursor **heap;
    size_t n_heap;
    struct mr_interval *joined; /* intervals of one user from many states */
    size_t cap_joined;
};

static uint64_t cursor_hash(const struct cursor *c)
{
    return c->block.hash[c->at];
}

static void sift_down(struct range *r, size_t i)
{
    struct cursor *c = r->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= r->n_heap)
            break;
        if (child + 1 < r->n_heap &&
            cursor_hash(r->heap[child + 1]) < cursor_hash(r->heap[child]))
            child++;
        if (cursor_hash(c) <= cursor_hash(r->heap[child]))
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = c;
}

/* Unpack the cursor's next block, its cells by their joined numbers. */
static enum mr_status load_block(struct cursor *c, struct mr_error *err)
{
    enum mr_status status =
        mr_state_block(c->state, c->next_block, c->unpacker, &c->block, err);

    if (status != MR_OK)
        return status;
    c->next_block++;
    c->at = c->low = c->start = 0;
    c->n_shared = 0;
    memset(c->shared, 0, MR_BLOCK_WORDS * sizeof(*c->shared));
    if (c->block.n_sets > c->cap_sets) {
        struct mr_user_set *sets =
            realloc(c->sets, c->block.n_sets * sizeof(*sets));

        if (sets == NULL)
            return mr_fail_nomem(err);
        c->sets = sets;
        c->cap_sets = c->block.n_sets;
    }
    for (size_t k = 0; k < c->block.n_sets; k++) {
        c->sets[k] = c->block.sets[k];
        c->sets[k].cell = c->cell_of[c->sets[k].cell];
    }
    c->block.sets = c->sets;
    return MR_OK;
}

/* Set a cursor on its first user not below first; false when none is left
 * in the range. */
static enum mr_status open_cursor(struct cursor *c, const struct mr_merge *m,
    size_t i, uint64_t first, uint64_t last, bool *has_out,
    struct mr_error *err)
{
    size_t n = mr_state_n_blocks(m->state[i]), low = 0, high = n;
    enum mr_status status;

    c->state = m->state[i];
    c->cell_of = m->cell_of[i];
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (mr_state_block_info(c->state, middle)->last_hash < first)
            low = middle + 1;
        else
            high = middle;
    }
    *has_out =
        low < n && mr_state_block_info(c->state, low)->first_hash <= last;
    if (!*has_out)
        return MR_OK;
    if (mr_unpacker_new(&c->unpacker) != MR_OK)
        return mr_fail_nomem(err);
    c->position = malloc(MR_BLOCK_USERS * sizeof(*c->position));
    c->shared = malloc(MR_BLOCK_WORDS * sizeof(*c->shared));
    if (c->position == NULL || c->shared == NULL)
        return mr_fail_nomem(err);
    c->next_block = low;
    status = load_block(c, err);
    if (status != MR_OK)
        return status;
    while (c->at < c->block.n && cursor_hash(c) < first)
        c->at++;
    c->low = c->start = c->at;
    *has_out = cursor_hash(c) <= last;
    return MR_OK;
}

static void range_release(struct range *r)
{
    for (size_t i = 0; r->cursor != NULL && i < r->m->n; i++) {
        mr_unpacker_free(r->cursor[i].unpacker);
        free(r->cursor[i].sets);
        free(r->cursor[i].position);
        free(r->cursor[i].shared);
    }
    free(r->cursor);
    free(r->heap);
    free(r->joined);
}

static enum mr_status range_init(struct range *r, const struct mr_merge *m,
    uint64_t first, uint64_t last, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    *r = (struct range){.m = m, .last = last};
    r->cursor = calloc(m->n, sizeof(*r->cursor));
    r->heap = calloc(m->n, sizeof(struct cursor *));
    if (r->cursor == NULL || r->heap == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < m->n && status == MR_OK; i++) {
        bool has = false;

        status = open_cursor(&r->cursor[i], m, i, first, last, &has, err);
        if (status == MR_OK && has)
            r->heap[r->n_heap++] = &r->cursor[i];
    }
    for (size_t i = r->n_heap; i-- > 0 && status == MR_OK;)
        sift_down(r, i);
    return status;
}

/* Copy the sets of the users taken since the last copy. */
static enum mr_status copy_sets(
    const struct range *r, struct cursor *c, struct mr_block_builder *builder)
{
    enum mr_status status = MR_OK;

    if (r->tally == NULL)
        status = mr_block_builder_part(
            builder, &c->block, c->low, c->at, NULL, c->position);
    else if (c->n_shared > 0)
        status = mr_block_builder_part(
            builder, &c->block, c->low, c->at, c->shared, c->position);
    c->low = c->at;
    return status;
}

/* Count the users of a block that only this state has. */
static void count_own(struct range *r, struct cursor *c)
{
    uint64_t own[MR_BLOCK_WORDS];

    r->users += c->at - c->start - c->n_shared;
    if (c->start == 0 && c->at == c->block.n && c->n_shared == 0) {
        mr_kpi_tally_block(r->tally, &c->block, NULL);
        return;
    }
    for (uint32_t j = 0; j < MR_BLOCK_WORDS; j++) {
        uint32_t from = j * 64 < c->start ? c->start - j * 64 : 0;
        uint32_t to = j * 64 < c->at ? c->at - j * 64 : 0;

        own[j] = to > 63 ? UINT64_MAX : (UINT64_C(1) << to) - 1;
        own[j] &= from > 63 ? 0 : UINT64_MAX << from;
        own[j] &= ~c->shared[j];
    }
    mr_kpi_tally_block(r->tally, &c->block, own);
}

/* A block's users have been taken, all or those in the range. */
static enum mr_status leave_block(struct range *r, struct cursor *c,
    struct mr_block_builder *builder, struct mr_error *err)
{
    if (copy_sets(r, c, builder) != MR_OK)
        return mr_fail_nomem(err);
    if (r->tally != NULL)
        count_own(r, c);
    if (r->stop != NULL && *r->stop != 0)
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    return MR_OK;
}

/* Users of the top cursor have been taken: go to its next block if there
 * were no more, and put it where it belongs now. */
static enum mr_status settle_top(
    struct range *r, struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *c = r->heap[0];
    bool ended = false;
    enum mr_status status = MR_OK;

    if (c->at == c->block.n) {
        status = leave_block(r, c, builder, err);
        ended = c->next_block == mr_state_n_blocks(c->state);
        if (!ended && status == MR_OK)
            status = load_block(c, err);
        if (status != MR_OK)
            return status;
    }
    if (!ended && cursor_hash(c) > r->last) {
        /* A block that has just been loaded has nothing to leave. */
        status = c->at > c->start ? leave_block(r, c, builder, err) : MR_OK;
        if (status != MR_OK)
            return status;
        ended = true;
    }
    if (ended)
        r->heap[0] = r->heap[--r->n_heap];
    if (r->n_heap > 0)
        sift_down(r, 0);
    return MR_OK;
}

static int compare_intervals(const void *a, const void *b)
{
    const struct mr_interval *x = a, *y = b;

    return x->start_ms < y->start_ms ? -1 : x->start_ms > y->start_ms;
}

/* Most users have so few that calling qsort would take longer. */
static void sort_intervals(struct mr_interval *in, size_t n)
{
    if (n > 16) {
        qsort(in, n, sizeof(*in), compare_intervals);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct mr_interval interval = in[i];
        size_t at = i;

        for (; at > 0 && in[at - 1].start_ms > interval.start_ms; at--)
            in[at] = in[at - 1];
        in[at] = interval;
    }
}

static enum mr_status gather(
    struct range *r, size_t *n, const struct mr_interval *interval, size_t more)
{
    if (*n + more > r->cap_joined) {
        size_t cap = 2 * (*n + more) + 64;
        struct mr_interval *grown = realloc(r->joined, cap * sizeof(*grown));

        if (grown == NULL)
            return MR_NOMEM;
        r->joined = grown;
        r->cap_joined = cap;
    }
    memcpy(r->joined + *n, interval, more * sizeof(*interval));
    *n += more;
    return MR_OK;
}

/* Join the gathered intervals whose gaps are at most the spec's. */
static size_t join_gathered(struct range *r, size_t n)
{
    struct mr_interval *in = r->joined;
    size_t kept = 0;

    sort_intervals(in, n);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && in[i].start_ms - in[kept - 1].end_ms <=
                            (int64_t)r->m->head.spec.session_gap_ms) {
            if (in[i].end_ms > in[kept - 1].end_ms)
                in[kept - 1].end_ms = in[i].end_ms;
        } else {
            in[kept++] = in[i];
        }
    }
    return kept;
}

/* Take the least user from all states that have it: more than one. */
static enum mr_status take_shared(
    struct range *r, struct mr_block_builder *builder, struct mr_error *err)
{
    uint64_t hash = cursor_hash(r->heap[0]);
    uint16_t position = (uint16_t)mr_block_builder_users(builder);
    size_t n = 0;

    while (r->n_heap > 0 && cursor_hash(r->heap[0]) == hash) {
        struct cursor *c = r->heap[0];
        uint32_t first = c->block.first[c->at];
        enum mr_status status;

        c->position[c->at - c->low] = position;
        c->shared[c->at >> 6] |= UINT64_C(1) << (c->at & 63);
        c->n_shared++;
        if (gather(r, &n, c->block.interval + first,
                c->block.first[c->at + 1] - first) != MR_OK)
            return mr_fail_nomem(err);
        c->at++;
        status = settle_top(r, builder, err);
        if (status != MR_OK)
            return status;
    }
    n = join_gathered(r, n);
    if (mr_block_builder_user(builder, hash, r->joined, n) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* Take what only the top cursor has: its users up to, and including, a hash;
 * there is one at least. */
static enum mr_status take_own(struct range *r, uint64_t last,
    struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *c = r->heap[0];
    size_t position = mr_block_builder_users(builder);
    size_t low = c->at, end = low + (MR_BLOCK_USERS - position);

    if (end > c->block.n)
        end = c->block.n;
    for (; c->at < end && c->block.hash[c->at] <= last; c->at++)
        c->position[c->at - c->low] = (uint16_t)position++;
    if (mr_block_builder_run(builder, &c->block, low, c->at) != MR_OK)
        return mr_fail_nomem(err);
    return settle_top(r, builder, err);
}

/* Go past what only the top cursor has: its users below a hash. */
static enum mr_status pass_own(struct range *r, uint64_t last,
    struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *c = r->heap[0];

    while (c->at < c->block.n && c->block.hash[c->at] <= last)
        c->at++;
    return settle_top(r, builder, err);
}

/* Of two cursors, go past what only one of them has, up to the first user of
 * both or the last of a block.  Which comes next is anybody's guess, so there
 * is no branch on it. */
static enum mr_status pass_apart(
    struct range *r, struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *a = r->heap[0], *b = r->heap[1];
    const uint64_t *x = a->block.hash, *y = b->block.hash;
    size_t i = a->at, k = b->at, n = a->block.n, m = b->block.n;

    while (i < n && k < m && x[i] != y[k] &&
           (x[i] < y[k] ? x[i] : y[k]) <= r->last) {
        size_t is_first = x[i] < y[k];

        i += is_first;
        k += 1 - is_first;
    }
    a->at = (uint32_t)i;
    b->at = (uint32_t)k;
    if (i == n || (k < m && x[i] < y[k]))
        return settle_top(r, builder, err);
    r->heap[0] = b;
    r->heap[1] = a;
    return settle_top(r, builder, err);
}

/* Take the least users: one from all states that have it, or all of one
 * state that come before those of others. */
static enum mr_status take_users(
    struct range *r, struct mr_block_builder *builder, struct mr_error *err)
{
    uint64_t next;

    if (r->n_heap == 1)
        return (r->tally != NULL ? pass_own : take_own)(
            r, r->last, builder, err);
    next = cursor_hash(r->heap[1]);
    if (r->n_heap > 2 && cursor_hash(r->heap[2]) < next)
        next = cursor_hash(r->heap[2]);
    if (next == cursor_hash(r->heap[0]))
        return take_shared(r, builder, err);
    if (r->tally == NULL)
        return take_own(r, next - 1, builder, err);
    return r->n_heap == 2 ? pass_apart(r, builder, err)
                          : pass_own(r, next - 1, builder, err);
}

/* Fill a block (which may already have users) until it is full by users or
 * by the weight of intervals alone, or the range ends. */
static enum mr_status fill_block(struct range *r,
    struct mr_block_builder *builder, struct mr_user_block *block_out,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (r->n_heap > 0 && status == MR_OK &&
           mr_block_builder_users(builder) < MR_BLOCK_USERS &&
           mr_block_builder_intervals(builder) * MR_WEIGHT_INTERVAL <=
               MR_BLOCK_WEIGHT)
        status = take_users(r, builder, err);
    for (size_t i = 0; i < r->n_heap && status == MR_OK; i++)
        if (copy_sets(r, r->heap[i], builder) != MR_OK)
            status = mr_fail_nomem(err);
    if (status == MR_OK && mr_block_builder_finish(builder, block_out) != MR_OK)
        status = mr_fail_nomem(err);
    return status;
}

/* ---- KPIs only: ranges in parallel ---- */

static enum mr_status tally_range(const struct mr_merge *m, uint64_t first,
    uint64_t last, struct mr_kpi_tally *tally, uint64_t *users,
    const volatile int *stop, struct mr_error *err)
{
    struct mr_block_builder *builder = NULL;
    struct mr_user_block block;
    struct range r;
    enum mr_status status = range_init(&r, m, first, last, err);

    r.tally = tally;
    r.stop = stop;
    if (status == MR_OK &&
        mr_block_builder_new(m->head.n_cells, &builder) != MR_OK)
        status = mr_fail_nomem(err);
    while (status == MR_OK && r.n_heap > 0) {
        mr_block_builder_reset(builder);
        status = fill_block(&r, builder, &block, err);
        if (status == MR_OK) {
            mr_kpi_tally_block(tally, &block, NULL);
            r.users += block.n;
        }
    }
    *users += r.users;
    mr_block_builder_free(builder);
    range_release(&r);
    return status;
}

/* As many ranges as keep the threads busy, but no range far below a block:
 * a block on a border is unpacked twice. */
static unsigned count_ranges(const struct mr_merge *m, unsigned threads)
{
    size_t blocks = 0;

    for (size_t i = 0; i < m->n; i++)
        if (mr_state_n_blocks(m->state[i]) > blocks)
            blocks = mr_state_n_blocks(m->state[i]);
    if (threads == 1 || blocks < 4)
        return 1;
    return blocks / 4 < 4 * threads ? (unsigned)(blocks / 4) : 4 * threads;
}

static enum mr_status tally_all(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, const volatile int *stop,
    uint64_t *users_out, struct mr_error *err)
{
    unsigned n = count_ranges(m, threads), failed = n;
    uint64_t width = n > 1 ? UINT64_MAX / n + 1 : 0, users = 0;
    enum mr_status status = MR_OK;

#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads)        \
    reduction(+ : users)
    for (unsigned i = 0; i < n; i++) {
        uint64_t last = i + 1 < n ? (i + 1) * width - 1 : UINT64_MAX;
        struct mr_error own = {.status = MR_OK};
        enum mr_status result = tally_range(m, i * width, last,
            tally[omp_get_thread_num()], &users, stop, &own);

        if (result != MR_OK) {
#pragma omp critical
            if (i < failed) {
                failed = i;
                status = result;
                if (err != NULL)
                    *err = own;
            }
        }
    }
    *users_out = users;
    return status;
}

/* ---- a merged file: one merges, all pack ---- */

/* A block on its way to the file. */
struct slot {
    struct mr_block_builder *builder, *cut;
    struct mr_packer *packer;
    struct mr_packed_block packed;
    struct mr_user_block block;
    enum mr_status status;
    struct mr_error err;
};

/* Users that fit into a lawful block. */
static enum mr_status lawful_users(
    const struct mr_user_block *block, uint32_t *n_out)
{
    uint32_t *members = calloc(block->n + 1, sizeof(*members));
    uint64_t weight = 0;
    uint32_t n = 0;

    if (members == NULL)
        return MR_NOMEM;
    for (size_t k = 0; k < block->n_sets; k++) {
        const struct mr_user_set *set = &block->sets[k];

        for (uint32_t i = 0; set->list != NULL && i < set->n; i++)
            members[set->list[i]]++;
        for (uint32_t j = 0; set->words != NULL && j < MR_BLOCK_WORDS; j++)
            for (uint64_t w = set->words[j]; w != 0; w &= w - 1)
                members[j * 64 + (uint32_t)__builtin_ctzll(w)]++;
    }
    for (; n < block->n; n++) {
        weight += (uint64_t)members[n] * MR_WEIGHT_MEMBER +
                  (uint64_t)(block->first[n + 1] - block->first[n]) *
                      MR_WEIGHT_INTERVAL;
        if (n > 0 && weight > MR_BLOCK_WEIGHT)
            break;
    }
    free(members);
    *n_out = n;
    return MR_OK;
}

/* Copy the users low up to high of a block to the empty builder. */
static enum mr_status copy_users(const struct mr_user_block *block,
    uint32_t low, uint32_t high, struct mr_block_builder *to)
{
    uint16_t *position = malloc((high - low + 1) * sizeof(*position));
    enum mr_status status = position != NULL ? MR_OK : MR_NOMEM;

    for (uint32_t i = low; i < high && status == MR_OK; i++) {
        position[i - low] = (uint16_t)(i - low);
        status = mr_block_builder_user(to, block->hash[i],
            block->interval + block->first[i],
            block->first[i + 1] - block->first[i]);
    }
    if (status == MR_OK)
        status = mr_block_builder_part(to, block, low, high, NULL, position);
    free(position);
    return status;
}

/*
 * Make the next lawful block in a slot.  Users that were merged beyond it
 * begin the next slot's builder; seeded tells whether this slot's builder was
 * begun that way, and then whether the next one's was.
 */
static enum mr_status next_block(struct range *r, struct slot *s,
    struct mr_block_builder *next, bool *seeded, struct mr_error *err)
{
    uint32_t n;
    enum mr_status status;

    if (!*seeded)
        mr_block_builder_reset(s->builder);
    status = fill_block(r, s->builder, &s->block, err);
    if (status != MR_OK)
        return status;
    *seeded = false;
    if (lawful_users(&s->block, &n) != MR_OK)
        return mr_fail_nomem(err);
    if (n == s->block.n)
        return MR_OK;
    *seeded = true;
    mr_block_builder_reset(next);
    mr_block_builder_reset(s->cut);
    if (copy_users(&s->block, n, (uint32_t)s->block.n, next) != MR_OK ||
        copy_users(&s->block, 0, n, s->cut) != MR_OK ||
        mr_block_builder_finish(s->cut, &s->block) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

static void slots_free(struct slot *slot, unsigned n)
{
    for (unsigned i = 0; slot != NULL && i < n; i++) {
        mr_block_builder_free(slot[i].builder);
        mr_block_builder_free(slot[i].cut);
        mr_packer_free(slot[i].packer);
        mr_packed_block_release(&slot[i].packed);
    }
    free(slot);
}

static struct slot *slots_new(const struct mr_merge *m, unsigned n)
{
    struct slot *slot = calloc(n, sizeof(*slot));

    for (unsigned i = 0; slot != NULL && i < n; i++) {
        if (mr_block_builder_new(m->head.n_cells, &slot[i].builder) != MR_OK ||
            mr_block_builder_new(m->head.n_cells, &slot[i].cut) != MR_OK ||
            mr_packer_new(m->head.spec.session_gap_ms, &slot[i].packer) !=
                MR_OK) {
            slots_free(slot, n);
            return NULL;
        }
    }
    return slot;
}

/* Count and pack the blocks of n slots, then write them in order. */
static enum mr_status pack_slots(struct slot *slot, unsigned n,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    uint64_t *users, struct mr_error *err)
{
    enum mr_status status = MR_OK;

#pragma omp parallel for schedule(dynamic, 1) num_threads((int)n)
    for (unsigned i = 0; i < n; i++) {
        struct slot *s = &slot[i];

        mr_kpi_tally_block(tally[omp_get_thread_num()], &s->block, NULL);
        s->status = mr_pack_block(s->packer, &s->block, &s->packed, &s->err);
    }
    for (unsigned i = 0; i < n && status == MR_OK; i++) {
        status = slot[i].status;
        if (status != MR_OK && err != NULL)
            *err = slot[i].err;
        if (status == MR_OK)
            status = mr_state_writer_add(writer, &slot[i].packed, err);
        *users += slot[i].block.n;
    }
    return status;
}

static enum mr_status write_all(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const volatile int *stop, uint64_t *users, struct mr_error *err)
{
    /* The last slot only receives the users that begin the next round. */
    struct slot *slot = slots_new(m, threads + 1);
    struct range r;
    enum mr_status status = range_init(&r, m, 0, UINT64_MAX, err);
    bool seeded = false;

    if (slot == NULL && status == MR_OK)
        status = mr_fail_nomem(err);
    *users = 0;
    while (status == MR_OK && (r.n_heap > 0 || seeded)) {
        unsigned n = 0;

        while (n < threads && (r.n_heap > 0 || seeded) && status == MR_OK) {
            status =
                next_block(&r, &slot[n], slot[n + 1].builder, &seeded, err);
            n++;
        }
        if (status == MR_OK)
            status = pack_slots(slot, n, tally, writer, users, err);
        if (status == MR_OK && seeded) {
            struct mr_block_builder *builder = slot[0].builder;

            slot[0].builder = slot[n].builder;
            slot[n].builder = builder;
        }
        if (status == MR_OK && stop != NULL && *stop != 0)
            status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    }
    slots_free(slot, threads + 1);
    range_release(&r);
    return status;
}

enum mr_status mr_merge_run(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const volatile int *stop, uint64_t *users_out, struct mr_error *err)
{
    if (writer == NULL)
        return tally_all(m, threads, tally, stop, users_out, err);
    return write_all(m, threads, tally, writer, stop, users_out, err);
}
