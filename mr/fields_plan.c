#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/fields_private.h"

#include <stdlib.h>
#include <string.h>

const struct mr_node *mr_node_child(
    const struct mr_node *node, const uint8_t *key, size_t n_key)
{
    const struct mr_node *child = node->child;

    while (
        child && (child->n_key != n_key || memcmp(child->key, key, n_key) != 0))
        child = child->sibling;
    return child;
}

/* The last node of the same key, or NULL. */
static const struct mr_node *find_twin(
    const struct mr_fields_plan *plan, const char *key, size_t n)
{
    size_t i;

    for (i = plan->n_nodes; i-- > 1;) {
        if (plan->node[i].n_key == n && !memcmp(plan->node[i].key, key, n))
            return &plan->node[i];
    }
    return NULL;
}

/* Make a node for a key below another. */
static struct mr_node *add_node(struct mr_fields_plan *plan,
    struct mr_node *parent, const char *key, size_t n)
{
    const struct mr_node *twin = find_twin(plan, key, n), *first = twin;
    struct mr_node *node = &plan->node[plan->n_nodes];
    size_t share, i;

    /* Eight shares of the filter's bits; a key of the right length and first
     * byte, but of another share, does not pass.  All twins are in that of
     * the first: whoever finds the last there has them all. */
    while (first && first->twin)
        first = first->twin;
    share = (first ? first->slot : plan->n_nodes) % 8;
    node->twin = twin;
    node->parent = parent;
    node->sibling = parent->child;
    parent->child = node;
    node->next = plan->share[share];
    plan->share[share] = node;
    node->key = memcpy(plan->keys, key, n);
    node->n_key = n;
    node->slot = plan->n_nodes;
    node->parent_slot = parent->slot;
    for (i = 0; i < n && i < 16; i++) {
        node->head[i / 8] |= (uint64_t)node->key[i] << (8 * (i % 8));
        node->mask[i / 8] |= UINT64_C(0xFF) << (8 * (i % 8));
    }
    plan->filter.length[n < 63 ? n : 63] |= (uint8_t)(1U << share);
    plan->filter.first[node->key[0] & 0x7F] |= (uint8_t)(1U << share);
    plan->n_nodes++;
    plan->keys += n;
    return node;
}

/* Put path number i, which is sound, into the tree. */
static void add_path(struct mr_fields_plan *plan, const char *path, unsigned i)
{
    struct mr_node *node = plan->node;
    uint32_t level = 0;
    size_t n;

    if (path[0] == '\0')
        return;
    for (;; path += n + 1) {
        const struct mr_node *child;

        n = strcspn(path, ".");
        child = mr_node_child(node, (const uint8_t *)path, n);
        node = child ? &plan->node[child->slot] : add_node(plan, node, path, n);
        node->below |= UINT32_C(1) << i;
        level++;
        if (path[n] == '\0')
            break;
    }
    node->paths |= UINT32_C(1) << i;
    plan->path[i] = node;
    if (level > plan->max_level)
        plan->max_level = level;
}

/* Whether a path can be wanted; the number of its parts and its length. */
static enum mr_status check_path(const char *path, size_t *n_parts_out,
    size_t *n_bytes_out, struct mr_error *err)
{
    size_t n = strlen(path);
    size_t i;

    *n_parts_out = n > 0;
    *n_bytes_out = n;
    if (n > MR_FIELDS_PATH_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "a field path of %zu bytes is longer than %d", n,
            MR_FIELDS_PATH_MAX);
    for (i = 0; i < n; i++) {
        *n_parts_out += path[i] == '.';
        if (path[i] == '.' &&
            (i == 0 || path[i + 1] == '.' || path[i + 1] == '\0'))
            return mr_fail(err, MR_USAGE, MR_NOWHERE, "write it as a.b.c",
                "the field path '%s' has an empty part", path);
    }
    if (*n_parts_out > MR_FIELDS_PARTS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "the field path '%s' has more than %d parts", path,
            MR_FIELDS_PARTS_MAX);
    return MR_OK;
}

enum mr_status mr_fields_plan_new(const char *const *paths, size_t n,
    uint64_t max_line_bytes, uint32_t max_depth,
    struct mr_fields_plan **plan_out, struct mr_error *err)
{
    struct mr_fields_plan *plan;
    size_t n_nodes = 1;
    size_t n_bytes = 0;
    size_t i;

    if (n > MR_FIELDS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "%zu field paths are more than %d", n, MR_FIELDS_MAX);
    if (max_depth == 0 || max_depth > MR_JSON_DEPTH_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "a depth limit of %lu is not in 1 to %d", (unsigned long)max_depth,
            MR_JSON_DEPTH_MAX);
    for (i = 0; i < n; i++) {
        size_t parts;
        size_t bytes;
        enum mr_status status = check_path(paths[i], &parts, &bytes, err);

        if (status != MR_OK)
            return status;
        n_nodes += parts;
        n_bytes += bytes;
    }
    /* One piece of memory: the plan, its nodes, their keys. */
    plan = calloc(1, sizeof *plan + n_nodes * sizeof *plan->node + n_bytes);
    if (!plan)
        return mr_fail_nomem(err);
    plan->max_line_bytes = max_line_bytes;
    plan->max_depth = max_depth;
    plan->n_paths = n;
    plan->node = (struct mr_node *)(plan + 1);
    plan->n_nodes = 1;
    plan->keys = (uint8_t *)(plan->node + n_nodes);
    for (i = 0; i < n; i++)
        add_path(plan, paths[i], (unsigned)i);
    *plan_out = plan;
    return MR_OK;
}

void mr_fields_plan_free(struct mr_fields_plan *plan)
{
    free(plan);
}
