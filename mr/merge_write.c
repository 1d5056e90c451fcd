#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/merge_private.h"

#include <omp.h>
#include <stdlib.h>

/*
 * Merging users into a file.
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

/* ---- the file: one merges, all pack ---- */

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

enum mr_status mr_merge_write(struct mr_merge *m, unsigned threads,
    struct mr_kpi_tally *const *tally, struct mr_state_writer *writer,
    const atomic_int *stop, uint64_t *users, struct mr_error *err)
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
