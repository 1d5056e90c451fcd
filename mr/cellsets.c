#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/cellsets.h"

#include <stdlib.h>
#include <string.h>

void mr_cellsets_release(struct mr_cellsets *c)
{
    free(c->set);
    free(c->place1);
    memset(c, 0, sizeof(*c));
}

/* Twice the places. */
static enum mr_status grow_places(struct mr_cellsets *c)
{
    uint32_t n = c->place1 == NULL ? 16 : 2 * (c->mask + 1);
    uint32_t *place1 = calloc(n, sizeof(*place1));

    if (place1 == NULL)
        return MR_NOMEM;
    free(c->place1);
    c->place1 = place1;
    c->mask = n - 1;
    for (uint32_t k = 0; k < c->n; k++)
        *mr_cellsets_find(c, c->set[k].key) = k + 1;
    return MR_OK;
}

static enum mr_status grow_sets(struct mr_cellsets *c)
{
    uint32_t cap = c->cap + c->cap / 4 + 8;
    struct mr_cell_set *set = realloc(c->set, cap * sizeof(*set));

    if (set == NULL)
        return MR_NOMEM;
    c->set = set;
    c->cap = cap;
    return MR_OK;
}

struct mr_cell_set *mr_cellsets_new_set(struct mr_cellsets *c, uint64_t key)
{
    if ((c->place1 == NULL || c->n > c->mask / 2) && grow_places(c) != MR_OK)
        return NULL;
    if (c->n == c->cap && grow_sets(c) != MR_OK)
        return NULL;
    c->set[c->n] = (struct mr_cell_set){.key = key};
    *mr_cellsets_find(c, key) = c->n + 1;
    return &c->set[c->n++];
}
