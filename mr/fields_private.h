#ifndef MR_FIELDS_PRIVATE_H
#define MR_FIELDS_PRIVATE_H

#include "mr/fields.h"
#include "mr/kernels.h"

/*
 * What fields_plan.c makes of the wanted paths and fields_json.c reads by.
 * The paths are a tree of keys ("nodes").
 */

_Static_assert(MR_FIELDS_PARTS_MAX <= MR_NEST_LEVELS,
    "wanted keys stand on levels that kernels tell apart");

/* One key of the wanted paths. */
struct mr_node {
    const struct mr_node *parent;
    const struct mr_node *child;   /* the first */
    const struct mr_node *sibling; /* the next */
    const struct mr_node *next;    /* in the share of the key filter */
    const struct mr_node *twin;    /* the one of the same key before it */
    const uint8_t *key;
    size_t n_key;
    uint64_t head[2]; /* the key's first 16 bytes, and which of them count */
    uint64_t mask[2];
    size_t slot;
    size_t parent_slot;
    uint32_t paths; /* paths that end here: bit i for path i */
    uint32_t below; /* and those that end here or go on */
};

struct mr_fields_plan {
    uint64_t max_line_bytes;
    uint32_t max_depth;
    uint32_t max_level; /* of wanted keys */
    size_t n_paths;
    const struct mr_node *path[MR_FIELDS_MAX]; /* its last; unset if empty */
    const struct mr_node *share[8];            /* of the key filter */
    struct mr_node *node; /* the root first; it is no key */
    size_t n_nodes;
    uint8_t *keys; /* room for their bytes */
    struct mr_key_filter filter;
};

/** mr_node_child(node, key, n): The child of a node with a key, or NULL. */
const struct mr_node *mr_node_child(
    const struct mr_node *node, const uint8_t *key, size_t n_key);

#endif
