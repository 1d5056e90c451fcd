#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/merge_private.h"

#include <stdlib.h>

#include "mr/hyperloglog.h"

/*
 * One head of those of several states: types, cells and figures by new
 * numbers, coverage, sketches.
 */

/* ---- types and cells ---- */

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

enum mr_status mr_merge_join_heads(struct mr_merge *m)
{
    enum mr_status status = join_types(m);

    if (status == MR_OK)
        status = join_cells(m);
    if (status == MR_OK)
        status = join_figures(m);
    if (status == MR_OK)
        status = number_figures(m);
    if (status == MR_OK)
        status = join_coverage(m);
    return status == MR_OK ? join_sketches(m) : status;
}
