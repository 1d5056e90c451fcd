#ifndef MR_IDSET_PRIVATE_H
#define MR_IDSET_PRIVATE_H

#include "mr/idset.h"

/*
 * What the sources of idset share: idset.c (the collector), idset_merge.c
 * (many ascending sequences to one), idset_block.c (a state's blocks),
 * idset_figures.c (the figures that come of it).
 */

struct mr_id_stream {
    enum mr_status (*next)(struct mr_id_stream *stream,
        struct mr_id_piece *piece_out, struct mr_error *err);
    void (*free)(struct mr_id_stream *stream);
};

/** An ascending sequence of hashes, a window of it at a time. */
struct mr_id_cursor {
    const uint64_t *p, *end; /* at hand */
    /* Give the next ones, at most window where that can be chosen; p == end:
     * there are none. */
    enum mr_status (*more)(
        struct mr_id_cursor *c, size_t window, struct mr_error *err);
    void *context;   /* more's, as what follows */
    uint64_t offset; /* where more goes on */
    uint64_t left;
    uint64_t *buffer;
};

/** A run in memory as a cursor. */
void mr_id_cursor_memory(
    struct mr_id_cursor *c, const uint64_t *hash, size_t n);

/**
 * Sequences of one day joined into one, each hash once, up to a number of
 * them.  In each round all are taken that are not above the least last hash
 * of any window at hand: then nothing that comes later can be below, and at
 * least one window is used up.  They are sorted anew, which takes less time
 * than choosing the least of many cursors for each.
 */
struct mr_id_union {
    struct mr_id_cursor *cursor; /* the caller's; put in another order */
    size_t n;
    uint64_t left; /* how many hashes there may be yet */
    bool cut;      /* there were more */
    size_t window;
    struct mr_buffer hashes, scratch;
};

/** mr_id_union_begin(u, cursor, n, most): u's memory is used again; all zero
 * has none. */
void mr_id_union_begin(struct mr_id_union *u, struct mr_id_cursor *cursor,
    size_t n, uint64_t most);
void mr_id_union_release(struct mr_id_union *u);

/** How many hashes a window has with n cursors. */
size_t mr_id_window(size_t n);

/** mr_id_union_next(u, hash, n, err): The next ones; n = 0: no more, and cut
 * is right. */
MR_MUST_CHECK enum mr_status mr_id_union_next(struct mr_id_union *u,
    const uint64_t **hash_out, size_t *n_out, struct mr_error *err);

/** How many ids of a day are kept. */
static inline uint64_t mr_idset_most(const struct mr_idset_rule *rule)
{
    return rule->exact ? UINT64_MAX : rule->max_ids;
}

#endif
