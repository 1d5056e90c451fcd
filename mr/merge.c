#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * Merging: heads, and users into a file.
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
 * The blocks of a file have one lawful division, so one thread merges and all
 * of them pack.  Where only KPIs are wanted, merge_count.c does with less.
 */

#include "mr/merge.h"

#include <omp.h>
#include <stdlib.h>

#include "mr/hyperloglog.h"
#include "mr/kernels.h"
#include "mr/machine.h"
#include "mr/merge_private.h"

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

enum mr_status mr_merge_check_spec(const struct mr_state *first,
    const struct mr_state *other, struct mr_error *err)
{
    const struct mr_spec *own = mr_state_get_head(other)->spec;
    const struct mr_spec *wanted = mr_state_get_head(first)->spec;
    struct mr_buffer lines = {0}, text = {0};
    enum mr_status status =
        own == wanted ? MR_OK : mr_spec_difference(own, wanted, &lines);

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

    m->cell_of[i] = malloc((mr_head_numbers(h) + 1) * sizeof(**m->cell_of));
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

/* ---- figures ---- */

/* A group of a rollup, in the order in which they are kept (mr/types.h). */
struct group {
    uint64_t hash;
    size_t i; /* among the figures */
    const struct mr_span *text;
};

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return mr_span_compare(*x->text, *y->text);
}

/* Of the groups of a rollup, the figures from first up to end: mark those
 * beyond the most that are kept as dropped.  Return whether there are any. */
static bool drop_groups(const struct mr_span *figure, size_t first, size_t end,
    uint32_t most, struct group *group, bool *dropped)
{
    size_t n = 0;

    for (size_t i = first; i < end; i++)
        if (figure[i].n > 1)
            group[n++] = (struct group){
                mr_hash64(figure[i].p + 1, figure[i].n - 1), i, &figure[i]};
    if (n <= most)
        return false;
    qsort(group, n, sizeof(*group), compare_groups);
    for (size_t k = most; k < n; k++)
        dropped[group[k].i] = true;
    return true;
}

/* Decide which groups the joined head keeps. */
static enum mr_status limit_figures(struct mr_merge *m)
{
    struct mr_state_head *h = &m->head;
    struct group *group = malloc((h->n_figures + 1) * sizeof(*group));
    bool *dropped = calloc(h->n_figures + 1, sizeof(*dropped));
    size_t end, n = 0, n_texts = h->n_figures;

    if (group == NULL || dropped == NULL) {
        free(group);
        free(dropped);
        return MR_NOMEM;
    }
    for (size_t first = 0; first < n_texts; first = end) {
        uint8_t kind = h->figure[first].p[0];

        end = first + 1;
        while (end < n_texts && h->figure[end].p[0] == kind)
            end++;
        if (kind >= MR_TEXT_ROLLUP &&
            drop_groups(h->figure, first, end,
                h->spec->rollup[kind - MR_TEXT_ROLLUP].max_groups, group,
                dropped) &&
            h->figure[first].n > 1)
            h->figure[h->n_figures++] = (struct mr_span){h->figure[first].p, 1};
    }
    for (size_t i = 0; i < h->n_figures; i++)
        if (i >= n_texts || !dropped[i])
            h->figure[n++] = h->figure[i];
    h->n_figures = n;
    if (n > 0)
        qsort(h->figure, n, sizeof(*h->figure), compare_spans);
    free(group);
    free(dropped);
    return MR_OK;
}

/* The union of the states' figures, their bytes still the states'; and room
 * for a text more of each rollup. */
static enum mr_status join_figures(struct mr_merge *m)
{
    struct mr_state_head *head = &m->head;
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++)
        n += mr_state_get_head(m->state[i])->n_figures;
    head->figure = malloc((n + MR_TEXT_KINDS + 1) * sizeof(*head->figure));
    if (head->figure == NULL)
        return MR_NOMEM;
    n = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct mr_state_head *h = mr_state_get_head(m->state[i]);

        for (size_t k = 0; k < h->n_figures; k++)
            head->figure[n++] = h->figure[k];
    }
    if (n > 0)
        qsort(head->figure, n, sizeof(*head->figure), compare_spans);
    head->n_figures =
        unique(head->figure, n, sizeof(*head->figure), compare_spans);
    return limit_figures(m);
}

/* The number in the joined head of a figure of a state. */
static uint32_t figure_number(struct mr_merge *m, size_t state, size_t k)
{
    const struct mr_span *text = &mr_state_get_head(m->state[state])->figure[k];
    const struct mr_span *found = bsearch(
        text, m->head.figure, m->head.n_figures, sizeof(*found), compare_spans);
    struct mr_span further = {text->p, 1};

    if (found == NULL) {
        m->drops[state] = true;
        found = bsearch(&further, m->head.figure, m->head.n_figures,
            sizeof(*found), compare_spans);
    }
    return (uint32_t)(m->head.n_cells + (size_t)(found - m->head.figure));
}

static enum mr_status number_figures(struct mr_merge *m)
{
    m->drops = calloc(m->n, sizeof(*m->drops));
    if (m->drops == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < m->n; i++) {
        const struct mr_state_head *h = mr_state_get_head(m->state[i]);

        for (size_t k = 0; k < h->n_figures; k++)
            m->cell_of[i][h->n_cells + k] = figure_number(m, i, k);
    }
    return MR_OK;
}

/* ---- coverage and sketches ---- */

static enum mr_status join_coverage(struct mr_merge *m)
{
    enum mr_status status;

    for (size_t i = 0; i < m->n; i++) {
        const struct mr_coverage *c = &mr_state_get_head(m->state[i])->coverage;

        for (size_t k = 0; k < c->n_partitions; k++) {
            struct mr_partition copy;

            if (mr_partition_copy(&c->partition[k], &copy) != MR_OK)
                return MR_NOMEM;
            mr_partition_renumber(&copy, m->cell_of[i]);
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
        mr_hll_init(*to, m->head.spec->sketch_bits);
    }
    return mr_hll_merge(*to, from);
}

static enum mr_status join_sketches(struct mr_merge *m)
{
    enum mr_status status = MR_OK;

    m->head.sketch =
        calloc(mr_head_numbers(&m->head) + 1, sizeof(*m->head.sketch));
    if (m->head.sketch == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0;
             k < mr_head_numbers(mr_state_get_head(m->state[i])) &&
             status == MR_OK;
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
        status = mr_merge_check_spec(state[0], state[i], err);
    if (status == MR_OK) {
        status = join_types(m);
        if (status == MR_OK)
            status = join_cells(m);
        if (status == MR_OK)
            status = join_figures(m);
        if (status == MR_OK)
            status = number_figures(m);
        if (status == MR_OK)
            status = join_coverage(m);
        if (status == MR_OK)
            status = join_sketches(m);
        if (status != MR_OK)
            status = mr_fail_nomem(err);
    }
    if (status == MR_OK)
        status = mr_head_check_folders(&m->head, err);
    if (status == MR_OK)
        status = mr_kpi_zone(m->head.spec, &m->zone, err);
    if (status != MR_OK) {
        mr_merge_free(m);
        return status;
    }
    m->cells = mr_cells_of(&m->head, m->zone);
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
    free(m->drops);
    mr_zone_free(m->zone);
    mr_state_head_release(&m->head);
    free(m);
}

void mr_merge_set_past(struct mr_merge *m, const struct mr_merge_past *past)
{
    m->head.coverage.n_repeated += past->n_repeated;
    m->segments = past->segments;
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

static int compare_sets(const void *a, const void *b)
{
    const struct mr_user_set *x = a, *y = b;

    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

static void add_set(uint64_t *words, const struct mr_user_set *set)
{
    for (uint32_t i = 0; set->list != NULL && i < set->n; i++)
        words[set->list[i] / 64] |= UINT64_C(1) << (set->list[i] % 64);
    if (set->words != NULL)
        mr_kernels()->or_u64(words, set->words, MR_BLOCK_WORDS);
}

/* Make one set of those that have got the same number, as groups that are not
 * kept have, and put all in order. */
static enum mr_status join_sets(
    struct mr_merge_block *b, struct mr_user_set *set)
{
    const size_t bytes = MR_BLOCK_WORDS * sizeof(uint64_t);
    size_t n = b->block.n_sets, kept = 0, n_joined = 0, next;

    if (mr_buffer_reserve(&b->joined, MR_ROLLUPS_MAX * bytes) != MR_OK)
        return MR_NOMEM;
    if (n > 1)
        qsort(set, n, sizeof(*set), compare_sets);
    for (size_t k = 0; k < n; k = next) {
        struct mr_user_set one = set[k];

        next = k + 1;
        while (next < n && set[next].cell == one.cell)
            next++;
        if (next > k + 1) {
            uint64_t *words = (void *)(b->joined.p + bytes * n_joined++);

            memset(words, 0, bytes);
            for (size_t i = k; i < next; i++)
                add_set(words, &set[i]);
            one.list = NULL;
            one.words = words;
            one.n = (uint32_t)mr_kernels()->popcount_u64(words, MR_BLOCK_WORDS);
        }
        set[kept++] = one;
    }
    b->block.n_sets = kept;
    return MR_OK;
}

void mr_merge_block_release(struct mr_merge_block *b)
{
    mr_block_memory_release(&b->memory);
    mr_buffer_release(&b->joined);
}

enum mr_status mr_merge_block_load(const struct mr_merge *m, size_t state,
    size_t i, struct mr_unpacker *u, struct mr_merge_block *b,
    struct mr_error *err)
{
    enum mr_status status =
        mr_state_block(m->state[state], i, u, &b->block, err);
    struct mr_user_set *set;

    if (status != MR_OK)
        return status;
    mr_unpacker_keep(u, &b->memory);
    set = (void *)b->memory.set.p;
    for (size_t k = 0; k < b->block.n_sets; k++)
        set[k].cell = m->cell_of[state][set[k].cell];
    if (m->drops[state] && join_sets(b, set) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* A state's place in the merge. */
struct cursor {
    struct mr_merge_block own;
    size_t state;
    size_t next_block;
    uint32_t at;  /* next user of the block */
    uint32_t low; /* first whose sets have not been copied */
    uint16_t *position;
};

/* The merge; the heap orders cursors by hash. */
struct users {
    const struct mr_merge *m;
    struct mr_unpacker *unpacker;
    struct cursor *cursor;
    struct cursor **heap;
    size_t n_heap;
    struct mr_interval *joined; /* intervals of one user from many states */
    size_t cap_joined;
};

static uint64_t cursor_hash(const struct cursor *c)
{
    return c->own.block.hash[c->at];
}

static void sift_down(struct users *u, size_t i)
{
    struct cursor *c = u->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= u->n_heap)
            break;
        if (child + 1 < u->n_heap &&
            cursor_hash(u->heap[child + 1]) < cursor_hash(u->heap[child]))
            child++;
        if (cursor_hash(c) <= cursor_hash(u->heap[child]))
            break;
        u->heap[i] = u->heap[child];
        i = child;
    }
    u->heap[i] = c;
}

/* Unpack a cursor's next block; it has one. */
static enum mr_status load_block(
    const struct users *u, struct cursor *c, struct mr_error *err)
{
    enum mr_status status = mr_merge_block_load(
        u->m, c->state, c->next_block, u->unpacker, &c->own, err);

    c->next_block++;
    c->at = c->low = 0;
    return status;
}

static void users_release(struct users *u)
{
    for (size_t i = 0; u->cursor != NULL && i < u->m->n; i++) {
        mr_merge_block_release(&u->cursor[i].own);
        free(u->cursor[i].position);
    }
    mr_unpacker_free(u->unpacker);
    free(u->cursor);
    free(u->heap);
    free(u->joined);
}

static enum mr_status users_init(
    struct users *u, const struct mr_merge *m, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    *u = (struct users){.m = m};
    u->cursor = calloc(m->n, sizeof(*u->cursor));
    u->heap = calloc(m->n, sizeof(struct cursor *));
    if (u->cursor == NULL || u->heap == NULL ||
        mr_unpacker_new(&u->unpacker) != MR_OK)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < m->n && status == MR_OK; i++) {
        struct cursor *c = &u->cursor[i];

        if (mr_state_n_blocks(m->state[i]) == 0)
            continue;
        c->state = i;
        c->position = malloc(MR_BLOCK_USERS * sizeof(*c->position));
        if (c->position == NULL)
            return mr_fail_nomem(err);
        status = load_block(u, c, err);
        u->heap[u->n_heap++] = c;
    }
    for (size_t i = u->n_heap; i-- > 0 && status == MR_OK;)
        sift_down(u, i);
    return status;
}

/* Copy the sets of the users taken since the last copy. */
static enum mr_status copy_sets(
    struct cursor *c, struct mr_block_builder *builder)
{
    enum mr_status status = mr_block_builder_part(
        builder, &c->own.block, c->low, c->at, c->position);

    c->low = c->at;
    return status;
}

/* Users of the top cursor have been taken: go to its next block if there
 * were no more, and put it where it belongs now. */
static enum mr_status settle_top(
    struct users *u, struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *c = u->heap[0];
    enum mr_status status = MR_OK;

    if (c->at == c->own.block.n) {
        if (copy_sets(c, builder) != MR_OK)
            return mr_fail_nomem(err);
        if (c->next_block == mr_state_n_blocks(u->m->state[c->state]))
            u->heap[0] = u->heap[--u->n_heap];
        else
            status = load_block(u, c, err);
        if (status != MR_OK)
            return status;
    }
    if (u->n_heap > 0)
        sift_down(u, 0);
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
    struct users *u, size_t *n, const struct mr_interval *interval, size_t more)
{
    if (*n + more > u->cap_joined) {
        size_t cap = 2 * (*n + more) + 64;
        struct mr_interval *grown = realloc(u->joined, cap * sizeof(*grown));

        if (grown == NULL)
            return MR_NOMEM;
        u->joined = grown;
        u->cap_joined = cap;
    }
    memcpy(u->joined + *n, interval, more * sizeof(*interval));
    *n += more;
    return MR_OK;
}

/* Join the gathered intervals whose gaps are at most the spec's. */
static size_t join_gathered(struct users *u, size_t n)
{
    struct mr_interval *in = u->joined;
    size_t kept = 0;

    sort_intervals(in, n);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && in[i].start_ms - in[kept - 1].end_ms <=
                            (int64_t)u->m->head.spec->session_gap_ms) {
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
    struct users *u, struct mr_block_builder *builder, struct mr_error *err)
{
    uint64_t hash = cursor_hash(u->heap[0]);
    uint16_t position = (uint16_t)mr_block_builder_users(builder);
    size_t n = 0;

    while (u->n_heap > 0 && cursor_hash(u->heap[0]) == hash) {
        struct cursor *c = u->heap[0];
        uint32_t first = c->own.block.first[c->at];
        enum mr_status status;

        c->position[c->at - c->low] = position;
        if (gather(u, &n, c->own.block.interval + first,
                c->own.block.first[c->at + 1] - first) != MR_OK)
            return mr_fail_nomem(err);
        c->at++;
        status = settle_top(u, builder, err);
        if (status != MR_OK)
            return status;
    }
    n = join_gathered(u, n);
    if (mr_block_builder_user(builder, hash, u->joined, n) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* Take what only the top cursor has: its users up to, and including, a hash;
 * there is one at least. */
static enum mr_status take_own(struct users *u, uint64_t last,
    struct mr_block_builder *builder, struct mr_error *err)
{
    struct cursor *c = u->heap[0];
    size_t position = mr_block_builder_users(builder);
    size_t low = c->at, end = low + (MR_BLOCK_USERS - position);

    if (end > c->own.block.n)
        end = c->own.block.n;
    for (; c->at < end && c->own.block.hash[c->at] <= last; c->at++)
        c->position[c->at - c->low] = (uint16_t)position++;
    if (mr_block_builder_run(builder, &c->own.block, low, c->at) != MR_OK)
        return mr_fail_nomem(err);
    return settle_top(u, builder, err);
}

/* Take the least users: one from all states that have it, or all of one
 * state that come before those of others. */
static enum mr_status take_users(
    struct users *u, struct mr_block_builder *builder, struct mr_error *err)
{
    uint64_t next;

    if (u->n_heap == 1)
        return take_own(u, UINT64_MAX, builder, err);
    next = cursor_hash(u->heap[1]);
    if (u->n_heap > 2 && cursor_hash(u->heap[2]) < next)
        next = cursor_hash(u->heap[2]);
    if (next == cursor_hash(u->heap[0]))
        return take_shared(u, builder, err);
    return take_own(u, next - 1, builder, err);
}

/* Fill a block (which may already have users) until it is full by users or
 * by the weight of intervals alone, or no users are left. */
static enum mr_status fill_block(struct users *u,
    struct mr_block_builder *builder, struct mr_user_block *block_out,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (u->n_heap > 0 && status == MR_OK &&
           mr_block_builder_users(builder) < MR_BLOCK_USERS &&
           mr_block_builder_intervals(builder) * MR_WEIGHT_INTERVAL <=
               MR_BLOCK_WEIGHT)
        status = take_users(u, builder, err);
    for (size_t i = 0; i < u->n_heap && status == MR_OK; i++)
        if (copy_sets(u->heap[i], builder) != MR_OK)
            status = mr_fail_nomem(err);
    if (status == MR_OK && mr_block_builder_finish(builder, block_out) != MR_OK)
        status = mr_fail_nomem(err);
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
        status = mr_block_builder_part(to, block, low, high, position);
    free(position);
    return status;
}

/*
 * Make the next lawful block in a slot.  Users that were merged beyond it
 * begin the next slot's builder; seeded tells whether this slot's builder was
 * begun that way, and then whether the next one's was.
 */
static enum mr_status next_block(struct users *u, struct slot *s,
    struct mr_block_builder *next, bool *seeded, struct mr_error *err)
{
    uint32_t n;
    enum mr_status status;

    if (!*seeded)
        mr_block_builder_reset(s->builder);
    status = fill_block(u, s->builder, &s->block, err);
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
        if (mr_block_builder_new(mr_head_numbers(&m->head), &slot[i].builder) !=
                MR_OK ||
            mr_block_builder_new(mr_head_numbers(&m->head), &slot[i].cut) !=
                MR_OK ||
            mr_packer_new(m->head.spec->session_gap_ms, &slot[i].packer) !=
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

        if (tally != NULL)
            mr_kpi_tally_block(tally[omp_get_thread_num()], &s->block);
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
    struct users u;
    enum mr_status status = users_init(&u, m, err);
    bool seeded = false;

    if (slot == NULL && status == MR_OK)
        status = mr_fail_nomem(err);
    *users = 0;
    while (status == MR_OK && (u.n_heap > 0 || seeded)) {
        unsigned n = 0;

        while (n < threads && (u.n_heap > 0 || seeded) && status == MR_OK) {
            status =
                next_block(&u, &slot[n], slot[n + 1].builder, &seeded, err);
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
    users_release(&u);
    return status;
}

/* ---- KPIs only: ranges in parallel ---- */

/* Users, over all states, that are worth a thread. */
#define RANGE_USERS 16384

/* The state of the most blocks. */
static const struct mr_state *longest(const struct mr_merge *m)
{
    const struct mr_state *state = m->state[0];

    for (size_t i = 1; i < m->n; i++)
        if (mr_state_n_blocks(m->state[i]) > mr_state_n_blocks(state))
            state = m->state[i];
    return state;
}

/* Bytes that a state's largest block takes when it is unpacked, twice: of two
 * that follow one another, users may be counted together. */
static uint64_t held_bytes(const struct mr_state *state)
{
    uint64_t most = 0;

    for (size_t i = 0; i < mr_state_n_blocks(state); i++) {
        const struct mr_block_info *b = mr_state_block_info(state, i);
        uint64_t bytes = b->plain_bytes + b->n_users * sizeof(uint64_t) +
                         b->n_intervals * sizeof(struct mr_interval);

        most = bytes > most ? bytes : most;
    }
    return 2 * most;
}

/* As many threads as have room for a block of each state in a quarter of the
 * memory that there is. */
static unsigned count_counters(const struct mr_merge *m, unsigned threads)
{
    uint64_t memory = mr_machine_memory(), each = 1;
    uint64_t most = memory > 0 ? memory / 4 : UINT64_C(1) << 30;

    for (size_t i = 0; i < m->n; i++)
        each += held_bytes(m->state[i]);
    if (most / each < threads)
        threads = (unsigned)(most / each);
    return threads > 1 ? threads : 1;
}

/* As many ranges as keep the threads busy, but none of a few blocks, since a
 * block on a border is unpacked twice; or else, of many small states, one a
 * thread that is worth it. */
static size_t count_ranges(
    const struct mr_merge *m, size_t blocks, unsigned threads)
{
    uint64_t users = 0;
    size_t n = blocks / 4 < 4 * threads ? blocks / 4 : 4 * threads;

    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0; k < mr_state_n_blocks(m->state[i]); k++)
            users += mr_state_block_info(m->state[i], k)->n_users;
    if (n < threads)
        n = users / RANGE_USERS < threads ? users / RANGE_USERS : threads;
    return threads > 1 && n > 1 ? n : 1;
}

/* Where range i of n begins: with a block of a state, if it has several for
 * each range.  Hashes are even, else. */
static uint64_t range_begin(const struct mr_state *state, size_t i, size_t n)
{
    size_t blocks = mr_state_n_blocks(state);

    if (i == 0)
        return 0;
    return blocks < 4 * n
               ? UINT64_MAX / n * i
               : mr_state_block_info(state, blocks * i / n)->first_hash;
}

/* Count ranges that nobody else has taken, up to one that fails: range_out. */
static enum mr_status count_some(struct mr_merge_counter *counter,
    const struct mr_state *state, size_t n, size_t *next, size_t *range_out,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t i = 0;

    while (status == MR_OK) {
#pragma omp atomic capture
        i = (*next)++;
        if (i >= n)
            break;
        status = mr_merge_count(counter, range_begin(state, i, n),
            i + 1 < n ? range_begin(state, i + 1, n) - 1 : UINT64_MAX, err);
    }
    *range_out = i;
    return status;
}

static enum mr_status count_all(const struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, const volatile int *stop,
    uint64_t *users_out, struct mr_error *err)
{
    const struct mr_state *state = longest(m);
    unsigned counters = count_counters(m, threads);
    size_t n = count_ranges(m, mr_state_n_blocks(state), counters), next = 0;
    size_t failed = n;
    enum mr_status status = MR_OK;
    uint64_t users = 0;

#pragma omp parallel num_threads((int)counters) reduction(+ : users)
    {
        struct mr_merge_counter *counter = NULL;
        size_t range = 0;
        struct mr_error own = {.status = MR_OK};
        enum mr_status result = mr_merge_counter_new(
            m, tally[omp_get_thread_num()], stop, &counter, &own);

        if (result == MR_OK) {
            result = count_some(counter, state, n, &next, &range, &own);
            users = mr_merge_counter_users(counter);
        }
        mr_merge_counter_free(counter);
        if (result != MR_OK) {
#pragma omp critical
            if (range < failed) { /* whichever thread comes first */
                failed = range;
                status = result;
                if (err != NULL)
                    *err = own;
            }
        }
    }
    *users_out = users;
    return status;
}

enum mr_status mr_merge_run(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const volatile int *stop, uint64_t *users_out, struct mr_error *err)
{
    if (writer == NULL)
        return count_all(m, threads, tally, stop, users_out, err);
    return write_all(m, threads, tally, writer, stop, users_out, err);
}
