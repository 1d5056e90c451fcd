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
 * When the block being counted is full, sets are taken cell by cell from all
 * states, so that the union being made stays in the processor's first cache.
 * A state's own blocks end elsewhere, so one that has ended is held until
 * then.  So a set is looked at twice or so, however many states there are.
 */

#include "mr/merge_private.h"

#include <stdlib.h>

#include "mr/kernels.h"

/* The most users, over all states, in a slice: what the processor's second
 * cache holds.  (Of more states than this, a slice is one user.) */
#define SLICE_USERS 16384
/* Members of a set so few that looking at a whole bitmap would take longer. */
#define FEW 64
/* Bits of a time in an interval's numbers; a position stands above them.  A
 * time has 43, and adding a session gap must not reach the position. */
#define TIME_BITS 44

/* A state's block, of which some users are in the block being counted. */
struct held {
    struct mr_merge_block own;
    uint32_t low, at;   /* the first of them, and the first beyond */
    uint16_t *position; /* in the block being counted, from low on */
};

/* A state's place in a range. */
struct source {
    struct held held[2];
    struct held *now, *old; /* block at hand; one that ended before, or NULL */
    size_t state;
    size_t next_block;
};

/* The sets of a held block that have not been counted, and of the first of
 * them the members that are to be. */
struct part {
    const struct held *held;
    const struct mr_user_set *set, *end;
    const uint16_t *list;
    uint32_t n;
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

struct mr_merge_counter {
    const struct mr_merge *m;
    struct mr_kpi_tally *tally;
    const atomic_int *stop;
    uint64_t last; /* the last hash of the range being counted */
    struct mr_unpacker *unpacker;
    struct source *source;
    struct source **active; /* those that have users left */
    size_t n_active;
    size_t n_block; /* users of the block being counted */
    uint64_t users; /* of all that were */
    struct part *part;
    struct part **chosen; /* those that have the cell being counted */
    size_t n_parts;
    struct run *slice; /* of each active source, its users in a slice */
    struct run *run;   /* being joined */
    struct mr_buffer memory[2], owners; /* of runs; only p and cap are used */
    uint64_t words[MR_BLOCK_WORDS]; /* all zero but while a cell is counted */
};

/* ---- places ---- */

static uint64_t hash_of(const struct source *s)
{
    return s->now->own.block.hash[s->now->at];
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

/* Unpack a source's next block; false in has_out if none begins in the
 * range. */
static enum mr_status next_block(struct mr_merge_counter *r, struct source *s,
    bool *has_out, struct mr_error *err)
{
    const struct mr_state *state = r->m->state[s->state];

    *has_out = s->next_block < mr_state_n_blocks(state) &&
               mr_state_block_info(state, s->next_block)->first_hash <= r->last;
    if (!*has_out)
        return MR_OK;
    if (r->stop != NULL && *r->stop != 0)
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    if (s->now->position == NULL) {
        s->now->position = malloc(MR_BLOCK_USERS * sizeof(uint16_t));
        if (s->now->position == NULL)
            return mr_fail_nomem(err);
    }
    s->now->low = s->now->at = 0;
    return mr_merge_block_load(
        r->m, s->state, s->next_block++, r->unpacker, &s->now->own, err);
}

/* Set a source on its first user not below a hash. */
static enum mr_status open_source(struct mr_merge_counter *r, struct source *s,
    uint64_t first, struct mr_error *err)
{
    const struct mr_state *state = r->m->state[s->state];
    size_t low = 0, high = mr_state_n_blocks(state);
    const struct mr_user_block *block = &s->now->own.block;
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
        s->now->low = s->now->at =
            first_above(block->hash, 0, (uint32_t)block->n, first - 1);
    if (hash_of(s) <= r->last)
        r->active[r->n_active++] = s;
    return MR_OK;
}

void mr_merge_counter_free(struct mr_merge_counter *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; c->source != NULL && i < c->m->n; i++) {
        for (int k = 0; k < 2; k++) {
            mr_merge_block_release(&c->source[i].held[k].own);
            free(c->source[i].held[k].position);
        }
    }
    mr_unpacker_free(c->unpacker);
    free(c->source);
    free(c->active);
    free(c->part);
    free(c->chosen);
    free(c->slice);
    free(c->run);
    mr_buffer_release(&c->memory[0]);
    mr_buffer_release(&c->memory[1]);
    mr_buffer_release(&c->owners);
    free(c);
}

enum mr_status mr_merge_counter_new(const struct mr_merge *m,
    struct mr_kpi_tally *tally, const atomic_int *stop,
    struct mr_merge_counter **counter_out, struct mr_error *err)
{
    struct mr_merge_counter *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return mr_fail_nomem(err);
    c->m = m;
    c->tally = tally;
    c->stop = stop;
    c->source = calloc(m->n, sizeof(*c->source));
    c->active = calloc(m->n, sizeof(struct source *));
    c->part = calloc(m->n, 2 * sizeof(*c->part));
    c->chosen = calloc(m->n, 2 * sizeof(struct part *));
    c->slice = calloc(m->n, sizeof(*c->slice));
    c->run = calloc(m->n, sizeof(*c->run));
    if (c->source == NULL || c->active == NULL || c->part == NULL ||
        c->chosen == NULL || c->slice == NULL || c->run == NULL ||
        mr_unpacker_new(&c->unpacker) != MR_OK) {
        mr_merge_counter_free(c);
        return mr_fail_nomem(err);
    }
    for (size_t i = 0; i < m->n; i++) {
        c->source[i].state = i;
        c->source[i].now = &c->source[i].held[0];
    }
    *counter_out = c;
    return MR_OK;
}

uint64_t mr_merge_counter_users(const struct mr_merge_counter *c)
{
    return c->users;
}

/* ---- runs ---- */

/* Room for runs of n elements in all, and for one more behind each. */
static enum mr_status take_runs(
    struct mr_merge_counter *r, size_t n, size_t size)
{
    for (int k = 0; k < 2; k++)
        if (mr_buffer_reserve(&r->memory[k], (n + r->m->n) * size) != MR_OK)
            return MR_NOMEM;
    return MR_OK;
}

/* Join all runs, which lie in r->memory[0], two by two until one is left. */
static struct run join_all(
    struct mr_merge_counter *r, size_t n, size_t size, join_two *join)
{
    static const struct mr_interval end = {INT64_MAX, INT64_MAX};
    static const struct run none = {(void *)(uintptr_t)&end, 0};
    uint64_t gap = r->m->head.spec->session_gap_ms;
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
    const struct mr_user_block *block = &s->now->own.block;
    uint32_t at = s->now->at;
    uint32_t end = first_above(block->hash, at, (uint32_t)block->n, bound);

    return (struct run){(void *)(uintptr_t)(block->hash + at), end - at};
}

/* Where the positions of a source's users in a slice stand. */
static uint16_t *positions_of(const struct source *s)
{
    return s->now->position + (s->now->at - s->now->low);
}

/* Give the users of a slice their positions. */
static enum mr_status number_users(struct mr_merge_counter *r)
{
    size_t n = r->n_active, base = r->n_block, sum = 0;
    struct run all;

    if (n == 2) {
        r->n_block = number_two(r->slice[0], r->slice[1], base,
            positions_of(r->active[0]), positions_of(r->active[1]));
        return MR_OK;
    }
    for (size_t i = 0; i < n; i++)
        sum += r->slice[i].n;
    if (take_runs(r, sum, sizeof(uint64_t)) != MR_OK)
        return MR_NOMEM;
    memcpy(r->run, r->slice, n * sizeof(*r->slice));
    all = join_all(r, n, sizeof(uint64_t), join_hashes);
    r->n_block += all.n;
    for (size_t i = 0; i < n; i++)
        number_some(r->slice[i], all.p, base, positions_of(r->active[i]));
    return MR_OK;
}

/* ---- sessions ---- */

/* Write a source's intervals of a slice to out, positions above times. */
static size_t number_intervals(
    const struct source *s, size_t n, uint16_t *owner, struct mr_interval *out)
{
    const uint32_t *first = s->now->own.block.first + s->now->at;
    const struct mr_interval *from = s->now->own.block.interval + first[0];
    const uint16_t *position = positions_of(s);
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

/* Two runs being merged, where what touches becomes one. */
struct lane {
    const struct mr_interval *x, *y;
    struct mr_interval *to; /* behind the last one that was written */
    int64_t start_ms, end_ms;
};

/* Take the next interval; without a branch, so selected by a mask. */
static inline void join_next(struct lane *l, int64_t gap)
{
    int64_t x_start = l->x->start_ms, y_start = l->y->start_ms;
    int64_t x_end = l->x->end_ms, y_end = l->y->end_ms;
    int64_t is_x = -(int64_t)(x_start <= y_start); /* all ones, or zero */
    int64_t start = y_start ^ ((x_start ^ y_start) & is_x);
    int64_t end = y_end ^ ((x_end ^ y_end) & is_x);
    int64_t opens = -(int64_t)(start - l->end_ms > gap);

    l->x -= is_x;
    l->y += 1 + is_x;
    l->to -= opens;
    l->start_ms ^= (l->start_ms ^ start) & opens;
    l->end_ms = end > l->end_ms ? end : l->end_ms;
    l->to[-1] = (struct mr_interval){l->start_ms, l->end_ms};
}

/* How many intervals of a run are of users before the one of another. */
static size_t count_before(const struct run *run, int64_t start)
{
    const struct mr_interval *in = run->p;
    size_t low = 0, high = run->n;

    start = (int64_t)((uint64_t)start >> TIME_BITS << TIME_BITS);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (in[middle].start_ms < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * Merge, and make one of those whose gap is at most the sessions'.  Each step
 * waits for the one before; so two halves are merged at a time, which are of
 * different users.  The first half ends where both runs go on with what comes
 * after all of it.
 */
static size_t join_intervals(
    const struct run *a, const struct run *b, uint64_t gap, void *out)
{
    const struct mr_interval *x = a->p, *y = b->p;
    struct mr_interval *first = out, *second;
    size_t i = count_before(a, x[a->n / 2].start_ms);
    size_t k = count_before(b, x[a->n / 2].start_ms);
    size_t left = i + k, right = a->n + b->n - left, n;
    struct lane low = {x, y, first, 0, INT64_MIN / 2};
    struct lane high = {x + i, y + k, first + left, 0, INT64_MIN / 2};

    second = high.to;
    for (; left > 0 && right > 0; left--, right--) {
        join_next(&low, (int64_t)gap);
        join_next(&high, (int64_t)gap);
    }
    for (; left > 0; left--)
        join_next(&low, (int64_t)gap);
    for (; right > 0; right--)
        join_next(&high, (int64_t)gap);
    n = (size_t)(high.to - second);
    memmove(low.to, second, n * sizeof(*first));
    low.to[n] = (struct mr_interval){INT64_MAX, 0};
    return (size_t)(low.to - first) + n;
}

/* Count the sessions of a slice. */
static enum mr_status count_sessions(struct mr_merge_counter *r)
{
    size_t n = 0, most = 0, sum = 0;
    struct mr_interval *out;
    struct run all;

    for (size_t i = 0; i < r->n_active; i++) {
        const struct held *now = r->active[i]->now;
        const uint32_t *first = now->own.block.first + now->at;
        size_t m = first[r->slice[i].n] - first[0];

        sum += m;
        most = m > most ? m : most;
    }
    if (take_runs(r, sum, sizeof(*out)) != MR_OK ||
        mr_buffer_reserve(&r->owners, (most + 4) * sizeof(uint16_t)) != MR_OK)
        return MR_NOMEM;
    out = (void *)r->memory[0].p;
    for (size_t i = 0; i < r->n_active; i++) {
        size_t m;

        if (r->slice[i].n == 0)
            continue;
        m = number_intervals(
            r->active[i], r->slice[i].n, (void *)r->owners.p, out);
        r->run[n++] = (struct run){out, m};
        out[m] = (struct mr_interval){INT64_MAX, 0};
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

/* How many members of an ascending list are below a position. */
static uint32_t count_below(const uint16_t *list, uint32_t n, uint32_t position)
{
    const uint16_t *at = list;

    while (n > 0) { /* without a branch on what nobody can guess */
        uint32_t half = (n + 1) / 2;

        at += at[half - 1] < position ? half : 0;
        n -= half;
    }
    return (uint32_t)(at - list);
}

/* Find the members of a part's first set that are to be counted. */
static void find_members(struct part *p)
{
    const struct held *h = p->held;
    uint32_t low = 0;

    p->list = p->set->list;
    p->n = p->set->n;
    if (p->list == NULL)
        return;
    if (h->at < h->own.block.n)
        p->n = count_below(p->list, p->n, h->at);
    if (h->low > 0)
        low = count_below(p->list, p->n, h->low);
    p->list += low;
    p->n -= low;
}

static void add_words(uint64_t *to, const struct part *p)
{
    const struct held *h = p->held;
    const uint64_t *from = p->set->words;
    uint32_t low = h->low, high = h->at;

    for (uint32_t j = low >> 6; j <= (high - 1) >> 6; j++) {
        uint64_t w = from[j];

        if (j == low >> 6)
            w &= ~UINT64_C(0) << (low & 63);
        if (j == high >> 6)
            w &= (UINT64_C(1) << (high & 63)) - 1;
        for (; w != 0; w &= w - 1) {
            uint32_t at =
                h->position[j * 64 + (uint32_t)__builtin_ctzll(w) - low];

            to[at >> 6] |= UINT64_C(1) << (at & 63);
        }
    }
}

static void add_list(uint64_t *to, const struct part *p)
{
    const uint16_t *position = p->held->position;
    uint32_t low = p->held->low;

    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t at = position[p->list[i] - low];

        to[at >> 6] |= UINT64_C(1) << (at & 63);
    }
}

/* Count a set of few members, in n parts, with no work but for these. */
static void count_few(struct mr_merge_counter *r, uint32_t cell, size_t n)
{
    struct mr_user_set set = {.cell = cell};
    uint16_t list[FEW];

    for (size_t k = 0; k < n; k++) {
        const struct part *p = r->chosen[k];
        const struct held *h = p->held;

        for (uint32_t i = 0; i < p->n; i++) {
            uint16_t at = h->position[p->list[i] - h->low];
            uint64_t bit = UINT64_C(1) << (at & 63);

            list[set.n] = at;
            set.n += (r->words[at >> 6] & bit) == 0;
            r->words[at >> 6] |= bit;
        }
    }
    for (uint32_t i = 0; i < set.n; i++)
        r->words[list[i] >> 6] = 0;
    set.list = list;
    mr_kpi_tally_set(r->tally, &set);
}

/* Count the set of a cell from all parts that have it, and go past it. */
static void count_cell(struct mr_merge_counter *r, uint32_t cell)
{
    struct mr_user_set set = {.cell = cell, .words = r->words};
    uint64_t members = 0;
    size_t n = 0;

    for (size_t i = 0; i < r->n_parts; i++) {
        struct part *p = &r->part[i];

        if (p->set == p->end || p->set->cell != cell)
            continue;
        find_members(p);
        members += p->list != NULL ? p->n : FEW + 1;
        r->chosen[n++] = p;
    }
    if (members <= FEW) {
        count_few(r, cell, n);
    } else {
        for (size_t k = 0; k < n; k++)
            (r->chosen[k]->list != NULL ? add_list : add_words)(
                r->words, r->chosen[k]);
        set.n = (uint32_t)mr_kernels()->popcount_u64(r->words, MR_BLOCK_WORDS);
        mr_kpi_tally_set(r->tally, &set);
        memset(r->words, 0, sizeof(r->words));
    }
    for (size_t k = 0; k < n; k++)
        r->chosen[k]->set++;
}

static void add_part(struct mr_merge_counter *r, const struct held *h)
{
    if (h != NULL && h->low < h->at)
        r->part[r->n_parts++] = (struct part){.held = h,
            .set = h->own.block.sets,
            .end = h->own.block.sets + h->own.block.n_sets};
}

/* The least cell that any part has, or UINT32_MAX. */
static uint32_t least_cell(const struct mr_merge_counter *r)
{
    uint32_t least = UINT32_MAX;

    for (size_t i = 0; i < r->n_parts; i++) {
        const struct part *p = &r->part[i];

        if (p->set != p->end && p->set->cell < least)
            least = p->set->cell;
    }
    return least;
}

/* Count the sets of the block being counted, and begin the next. */
static void count_block(struct mr_merge_counter *r)
{
    uint32_t cell;

    r->n_parts = 0;
    for (size_t i = 0; i < r->m->n; i++) {
        add_part(r, r->source[i].old);
        add_part(r, r->source[i].now);
    }
    mr_kpi_tally_begin(r->tally);
    while ((cell = least_cell(r)) != UINT32_MAX)
        count_cell(r, cell);
    mr_kpi_tally_end(r->tally);
    for (size_t i = 0; i < r->m->n; i++) {
        r->source[i].old = NULL;
        r->source[i].now->low = r->source[i].now->at;
    }
    r->users += r->n_block;
    r->n_block = 0;
}

/* ---- ranges ---- */

/* Go on to the next block of a source whose own has ended. */
static enum mr_status leave_block(struct mr_merge_counter *r, struct source *s,
    bool *has_out, struct mr_error *err)
{
    if (s->old != NULL)
        count_block(r);
    if (s->now->low < s->now->at) {
        s->old = s->now;
        s->now = s->now == &s->held[0] ? &s->held[1] : &s->held[0];
        s->now->low = s->now->at = 0;
    }
    return next_block(r, s, has_out, err);
}

/* Go on to the next blocks where they have ended, and leave out the sources
 * that have no users any more. */
static enum mr_status settle_sources(
    struct mr_merge_counter *r, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    size_t kept = 0;

    for (size_t i = 0; i < r->n_active; i++) {
        struct source *s = r->active[i];
        bool has = true;

        if (s->now->at == s->now->own.block.n)
            status = leave_block(r, s, &has, err);
        if (status != MR_OK)
            return status;
        if (has && hash_of(s) <= r->last)
            r->active[kept++] = s;
    }
    r->n_active = kept;
    return MR_OK;
}

/* The last hash of the next slice: no active source has more users up to it
 * than its share of SLICE_USERS. */
static uint64_t find_bound(const struct mr_merge_counter *r)
{
    size_t most = SLICE_USERS / r->n_active;
    uint64_t bound = r->last;

    most = most > 0 ? most : 1;
    for (size_t i = 0; i < r->n_active; i++) {
        const struct held *now = r->active[i]->now;
        size_t n = now->own.block.n - now->at;
        const uint64_t *hash = now->own.block.hash + now->at;
        uint64_t last = hash[(n < most ? n : most) - 1];

        bound = last < bound ? last : bound;
    }
    return bound;
}

/* Take one slice. */
static enum mr_status take_slice(struct mr_merge_counter *r)
{
    uint64_t bound = find_bound(r);

    if (r->n_block + SLICE_USERS > MR_BLOCK_USERS)
        count_block(r);
    for (size_t i = 0; i < r->n_active; i++)
        r->slice[i] = slice_of(r->active[i], bound);
    if (number_users(r) != MR_OK || count_sessions(r) != MR_OK)
        return MR_NOMEM;
    for (size_t i = 0; i < r->n_active; i++)
        r->active[i]->now->at += (uint32_t)r->slice[i].n;
    return MR_OK;
}

/* If a whole block comes before all other users, count it where it is. */
static bool take_block(struct mr_merge_counter *r)
{
    struct source *least = r->active[0];
    const struct mr_user_block *block;
    uint64_t last;

    for (size_t i = 1; i < r->n_active; i++)
        if (hash_of(r->active[i]) < hash_of(least))
            least = r->active[i];
    block = &least->now->own.block;
    last = block->hash[block->n - 1];
    if (least->now->at > 0 || last > r->last)
        return false;
    for (size_t i = 0; i < r->n_active; i++)
        if (r->active[i] != least && hash_of(r->active[i]) <= last)
            return false;
    mr_kpi_tally_block(r->tally, block);
    r->users += block->n;
    least->now->at = least->now->low = (uint32_t)block->n;
    return true;
}

enum mr_status mr_merge_count(struct mr_merge_counter *c, uint64_t first,
    uint64_t last, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    c->last = last;
    for (size_t i = 0; i < c->m->n && status == MR_OK; i++)
        status = open_source(c, &c->source[i], first, err);
    while (status == MR_OK && c->n_active > 0) {
        if (!take_block(c) && take_slice(c) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK)
            status = settle_sources(c, err);
    }
    if (status == MR_OK)
        count_block(c);
    return status;
}
