#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * Merging where only KPIs are wanted.
 *
 * Hashes are even, so threads take ranges of them, each with places of its
 * own in every state.  Of a range, a slice is taken at a time: the users up to
 * some hash, of which no state has many.  Whatever is different from user to
 * user (which states have him, how many sessions he has, which of them touch)
 * would be a branch that no processor can guess, so there is no loop over a
 * user's own things; a slice is worked on column by column:
 *
 *  - the states' hashes are united, which gives each user of each state a
 *    position in the block being counted;
 *  - each state's intervals become numbers, position before time, that
 *    ascend over the whole slice; two such runs are merged into one in which
 *    what touches is joined, until one is left, and each of its intervals is
 *    a session.
 *
 * Sets are added to the block being counted when it is full, and for a state
 * whose own block ends, just before it does: that is as many times as there
 * are blocks in all, however many states there are.
 */

#include "mr/merge_private.h"

#include <stdlib.h>

/* The most users, over all states, in a slice: what the processor's second
 * cache holds.  (Of more states than this, a slice is one user.) */
#define SLICE_USERS 16384
/* Bits of a time in an interval's numbers; a position stands above them.  A
 * time has 43, and adding a session gap must not reach the position. */
#define TIME_BITS 44

/* A state's place in a range. */
struct source {
    struct mr_merge_block own;
    size_t state;
    size_t next_block;
    uint32_t at;        /* first user beyond the block being counted */
    uint32_t low;       /* first whose sets have not been added */
    uint16_t *position; /* of the users from low on, in that block */
};

/* Ascending hashes, or intervals by position and time. */
struct run {
    void *p;
    size_t n;
};

/* Join two runs into out, which has room for both; how many there are.  (Of
 * intervals, one that comes after all stands behind each run.) */
typedef size_t join_two(
    const struct run *a, const struct run *b, uint64_t gap, void *out);

struct range {
    const struct mr_merge *m;
    struct mr_kpi_tally *tally;
    const volatile int *stop;
    uint64_t last; /* the range's last hash */
    struct source *source;
    struct source **active; /* those that have users left */
    size_t n_active;
    struct mr_block_builder *builder;
    size_t n_block;                     /* users of the block being counted */
    uint64_t users;                     /* of all that were */
    struct run *run;                    /* of each state, in a slice */
    struct mr_buffer memory[2], owners; /* of runs; only p and cap are used */
};

/* ---- places ---- */

static uint64_t hash_of(const struct source *s)
{
    return s->own.block.hash[s->at];
}

/* The first user from low up to (without) high whose hash is above one. */
static uint32_t first_above(
    const uint64_t *hash, uint32_t low, uint32_t high, uint64_t above)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (hash[middle] <= above)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Unpack the next block; false in has_out if none begins in the range. */
static enum mr_status next_block(
    struct range *r, struct source *s, bool *has_out, struct mr_error *err)
{
    const struct mr_state *state = r->m->state[s->state];
    enum mr_status status = MR_OK;

    *has_out = s->next_block < mr_state_n_blocks(state) &&
               mr_state_block_info(state, s->next_block)->first_hash <= r->last;
    if (!*has_out)
        return MR_OK;
    if (r->stop != NULL && *r->stop != 0)
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    status = mr_merge_block_load(r->m, s->state, s->next_block, &s->own, err);
    s->next_block++;
    s->at = s->low = 0;
    return status;
}

/* Set a source on its first user not below a hash. */
static enum mr_status open_source(
    struct range *r, struct source *s, uint64_t first, struct mr_error *err)
{
    const struct mr_state *state = r->m->state[s->state];
    size_t low = 0, high = mr_state_n_blocks(state);
    enum mr_status status;
    bool has;

    while (low < high) { /* the first block that does not end before */
        size_t middle = low + (high - low) / 2;

        if (mr_state_block_info(state, middle)->last_hash < first)
            low = middle + 1;
        else
            high = middle;
    }
    s->next_block = low;
    status = next_block(r, s, &has, err);
    if (status != MR_OK || !has)
        return status;
    if (first > 0)
        s->at = s->low = first_above(
            s->own.block.hash, 0, (uint32_t)s->own.block.n, first - 1);
    if (hash_of(s) > r->last)
        return MR_OK;
    s->position = malloc(MR_BLOCK_USERS * sizeof(*s->position));
    if (s->position == NULL)
        return mr_fail_nomem(err);
    r->active[r->n_active++] = s;
    return MR_OK;
}

static void range_release(struct range *r)
{
    for (size_t i = 0; r->source != NULL && i < r->m->n; i++) {
        mr_merge_block_release(&r->source[i].own);
        free(r->source[i].position);
    }
    free(r->source);
    free(r->active);
    free(r->run);
    mr_buffer_release(&r->memory[0]);
    mr_buffer_release(&r->memory[1]);
    mr_buffer_release(&r->owners);
    mr_block_builder_free(r->builder);
}

static enum mr_status range_init(
    struct range *r, uint64_t first, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t n = r->m->n;

    r->source = calloc(n, sizeof(*r->source));
    r->active = calloc(n, sizeof(struct source *));
    r->run = calloc(n, sizeof(*r->run));
    if (r->source == NULL || r->active == NULL || r->run == NULL ||
        mr_block_builder_new(r->m->head.n_cells, &r->builder) != MR_OK)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < n && status == MR_OK; i++) {
        r->source[i].state = i;
        status = open_source(r, &r->source[i], first, err);
    }
    return status;
}

/* ---- runs ---- */

/* Room for runs of n elements in all, and for one more behind each. */
static enum mr_status take_runs(struct range *r, size_t n, size_t size)
{
    for (int k = 0; k < 2; k++)
        if (mr_buffer_reserve(&r->memory[k], (n + r->m->n) * size) != MR_OK)
            return MR_NOMEM;
    return MR_OK;
}

/* Join all runs, which lie in r->memory[0], two by two until one is left. */
static struct run join_all(
    struct range *r, size_t n, size_t size, join_two *join)
{
    static const struct mr_interval end = {INT64_MAX, INT64_MAX};
    static const struct run none = {(void *)(uintptr_t)&end, 0};
    uint64_t gap = r->m->head.spec.session_gap_ms;
    unsigned to = 1;

    for (; n > 1; n = (n + 1) / 2, to = 1 - to) {
        uint8_t *out = r->memory[to].p;

        for (size_t i = 0; i < n; i += 2) {
            const struct run *other = i + 1 < n ? &r->run[i + 1] : &none;
            struct run joined = {out, join(&r->run[i], other, gap, out)};

            out += (joined.n + 1) * size;
            r->run[i / 2] = joined;
        }
    }
    return r->run[0];
}

/* ---- users ---- */

/* The union; which comes next is anybody's guess, so there is no branch. */
static size_t join_hashes(
    const struct run *a, const struct run *b, uint64_t gap, void *out)
{
    const uint64_t *x = a->p, *y = b->p;
    uint64_t *to = out;
    size_t i = 0, k = 0, n = 0;

    (void)gap;
    while (i < a->n && k < b->n) {
        uint64_t left = x[i], right = y[k];

        to[n++] = left < right ? left : right;
        i += left <= right;
        k += right <= left;
    }
    memcpy(to + n, x + i, (a->n - i) * sizeof(*x));
    n += a->n - i;
    memcpy(to + n, y + k, (b->n - k) * sizeof(*y));
    return n + (b->n - k);
}

/* Number the users of two states as those of their union. */
static size_t number_two(
    struct run a, struct run b, size_t n, uint16_t *of_a, uint16_t *of_b)
{
    const uint64_t *x = a.p, *y = b.p;
    size_t i = 0, k = 0;

    while (i < a.n && k < b.n) {
        uint64_t left = x[i], right = y[k];

        of_a[i] = of_b[k] = (uint16_t)n++;
        i += left <= right;
        k += right <= left;
    }
    while (i < a.n)
        of_a[i++] = (uint16_t)n++;
    while (k < b.n)
        of_b[k++] = (uint16_t)n++;
    return n;
}

/* Number users by where they are among all. */
static void number_some(
    struct run some, const uint64_t *all, size_t n, uint16_t *position)
{
    const uint64_t *hash = some.p;

    for (size_t i = 0; i < some.n; n++) {
        position[i] = (uint16_t)n;
        i += hash[i] == *all++;
    }
}

/* The users of a source in the slice at hand. */
static struct run slice_of(const struct source *s, uint64_t bound)
{
    const struct mr_user_block *block = &s->own.block;
    uint32_t end = first_above(block->hash, s->at, (uint32_t)block->n, bound);

    return (struct run){(void *)(uintptr_t)(block->hash + s->at), end - s->at};
}

/* Give the users of a slice, a run of each active source, their positions. */
static enum mr_status number_users(struct range *r, const struct run *slice)
{
    size_t n = r->n_active, base = r->n_block, sum = 0;
    struct source **s = r->active;
    struct run all;

    for (size_t i = 0; i < n; i++)
        sum += slice[i].n;
    if (n == 2) {
        r->n_block = number_two(slice[0], slice[1], base,
            s[0]->position + (s[0]->at - s[0]->low),
            s[1]->position + (s[1]->at - s[1]->low));
        return MR_OK;
    }
    if (take_runs(r, sum, sizeof(uint64_t)) != MR_OK)
        return MR_NOMEM;
    memcpy(r->run, slice, n * sizeof(*slice));
    all = join_all(r, n, sizeof(uint64_t), join_hashes);
    r->n_block += all.n;
    for (size_t i = 0; i < n; i++)
        number_some(
            slice[i], all.p, base, s[i]->position + (s[i]->at - s[i]->low));
    return MR_OK;
}

/* ---- sessions ---- */

/* Write a source's intervals of a slice to out, positions above times. */
static size_t number_intervals(
    const struct source *s, size_t n, uint16_t *owner, struct mr_interval *out)
{
    const uint32_t *first = s->own.block.first + s->at;
    const struct mr_interval *from = s->own.block.interval + first[0];
    const uint16_t *position = s->position + (s->at - s->low);
    size_t m = first[n] - first[0];

    /* Most users have up to four, and the next user's overwrite the rest. */
    for (size_t i = 0; i < n; i++) {
        uint64_t four = position[i] * UINT64_C(0x0001000100010001);
        uint16_t *of = owner + (first[i] - first[0]);

        memcpy(of, &four, sizeof(four));
        for (size_t k = 4; k < first[i + 1] - first[i]; k++)
            of[k] = position[i];
    }
    for (size_t i = 0; i < m; i++) {
        int64_t user = (int64_t)((uint64_t)owner[i] << TIME_BITS);

        out[i].start_ms = from[i].start_ms | user;
        out[i].end_ms = from[i].end_ms | user;
    }
    return m;
}

/* Merge, and make one of those whose gap is at most the sessions'. */
static size_t join_intervals(
    const struct run *a, const struct run *b, uint64_t gap, void *out)
{
    const struct mr_interval *x = a->p, *y = b->p;
    struct mr_interval *to = out, last = {0, INT64_MIN / 2};
    size_t n = a->n + b->n;

    to--;
    for (size_t i = 0; i < n; i++) {
        bool is_x = x->start_ms <= y->start_ms;
        const struct mr_interval *next = is_x ? x : y;
        bool opens = next->start_ms - last.end_ms > (int64_t)gap;

        x += is_x;
        y += !is_x;
        to += opens;
        last.start_ms = opens ? next->start_ms : last.start_ms;
        last.end_ms = next->end_ms > last.end_ms ? next->end_ms : last.end_ms;
        *to = last;
    }
    to[1].start_ms = INT64_MAX;
    return (size_t)(to + 1 - (struct mr_interval *)out);
}

/* Count the sessions of a slice, a run of each active source. */
static enum mr_status count_sessions(struct range *r, const struct run *slice)
{
    size_t n = 0, most = 0, sum = 0;
    struct mr_interval *out;
    struct run all;

    for (size_t i = 0; i < r->n_active; i++) {
        const uint32_t *first =
            r->active[i]->own.block.first + r->active[i]->at;
        size_t m = first[slice[i].n] - first[0];

        sum += m;
        most = m > most ? m : most;
    }
    if (take_runs(r, sum, sizeof(*out)) != MR_OK ||
        mr_buffer_reserve(&r->owners, (most + 4) * sizeof(uint16_t)) != MR_OK)
        return MR_NOMEM;
    out = (void *)r->memory[0].p;
    for (size_t i = 0; i < r->n_active; i++) {
        size_t m;

        if (slice[i].n == 0)
            continue;
        m = number_intervals(
            r->active[i], slice[i].n, (void *)r->owners.p, out);
        r->run[n++] = (struct run){out, m};
        out[m].start_ms = INT64_MAX;
        out += m + 1;
    }
    all = join_all(r, n, sizeof(*out), join_intervals);
    out = all.p;
    for (size_t i = 0; i < all.n; i++)
        out[i].start_ms &= (INT64_C(1) << TIME_BITS) - 1;
    mr_kpi_tally_intervals(r->tally, out, all.n);
    return MR_OK;
}

/* ---- sets ---- */

/* Add the sets of the users taken since the last time. */
static enum mr_status add_sets(struct range *r, struct source *s)
{
    enum mr_status status = mr_block_builder_part(
        r->builder, &s->own.block, s->low, s->at, s->position);

    s->low = s->at;
    return status;
}

/* Count the block and begin the next. */
static enum mr_status count_block(struct range *r)
{
    struct mr_user_block block;
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < r->n_active && status == MR_OK; i++)
        status = add_sets(r, r->active[i]);
    if (status == MR_OK)
        status = mr_block_builder_finish(r->builder, &block);
    if (status != MR_OK)
        return status;
    mr_kpi_tally_block(r->tally, &block);
    mr_block_builder_reset(r->builder);
    r->users += r->n_block;
    r->n_block = 0;
    return MR_OK;
}

/* ---- ranges ---- */

/* Go on to the next block where one has ended, and leave out the sources
 * that have no users any more. */
static enum mr_status settle_sources(struct range *r, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t kept = 0;

    for (size_t i = 0; i < r->n_active; i++) {
        struct source *s = r->active[i];
        bool has = s->at < s->own.block.n && hash_of(s) <= r->last;

        if (!has && add_sets(r, s) != MR_OK)
            return mr_fail_nomem(err);
        if (s->at == s->own.block.n)
            status = next_block(r, s, &has, err);
        if (status != MR_OK)
            return status;
        if (has)
            r->active[kept++] = s;
    }
    r->n_active = kept;
    return MR_OK;
}

/* The last hash of the next slice.  Every active source has a user up to it,
 * or a hash beyond it, and none more than its share of SLICE_USERS. */
static uint64_t find_bound(const struct range *r)
{
    size_t most = SLICE_USERS / r->n_active;
    uint64_t bound = r->last;

    most = most > 0 ? most : 1;
    for (size_t i = 0; i < r->n_active; i++) {
        const struct source *s = r->active[i];
        size_t end =
            s->own.block.n - s->at > most ? s->at + most : s->own.block.n;

        if (s->own.block.hash[end - 1] < bound)
            bound = s->own.block.hash[end - 1];
    }
    return bound;
}

/* Take one slice. */
static enum mr_status take_slice(struct range *r, struct run *slice)
{
    uint64_t bound = find_bound(r);

    if (r->n_block + SLICE_USERS > MR_BLOCK_USERS && count_block(r) != MR_OK)
        return MR_NOMEM;
    for (size_t i = 0; i < r->n_active; i++)
        slice[i] = slice_of(r->active[i], bound);
    if (number_users(r, slice) != MR_OK || count_sessions(r, slice) != MR_OK)
        return MR_NOMEM;
    for (size_t i = 0; i < r->n_active; i++)
        r->active[i]->at += (uint32_t)slice[i].n;
    return MR_OK;
}

/* If a whole block comes before all other users, count it where it is. */
static bool take_block(struct range *r)
{
    struct source *least = r->active[0];
    const struct mr_user_block *block;

    for (size_t i = 1; i < r->n_active; i++)
        if (hash_of(r->active[i]) < hash_of(least))
            least = r->active[i];
    block = &least->own.block;
    if (least->at > 0 || block->hash[block->n - 1] > r->last)
        return false;
    for (size_t i = 0; i < r->n_active; i++)
        if (r->active[i] != least &&
            hash_of(r->active[i]) <= block->hash[block->n - 1])
            return false;
    mr_kpi_tally_block(r->tally, block);
    r->users += block->n;
    least->at = least->low = (uint32_t)block->n;
    return true;
}

enum mr_status mr_merge_count(const struct mr_merge *m, uint64_t first,
    uint64_t last, struct mr_kpi_tally *tally, uint64_t *users,
    const volatile int *stop, struct mr_error *err)
{
    struct range r = {.m = m, .tally = tally, .stop = stop, .last = last};
    struct run *slice = calloc(m->n, sizeof(*slice));
    enum mr_status status =
        slice != NULL ? range_init(&r, first, err) : mr_fail_nomem(err);

    while (status == MR_OK && r.n_active > 0) {
        if (!take_block(&r) && take_slice(&r, slice) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK)
            status = settle_sources(&r, err);
    }
    if (status == MR_OK && count_block(&r) != MR_OK)
        status = mr_fail_nomem(err);
    *users += r.users;
    free(slice);
    range_release(&r);
    return status;
}
