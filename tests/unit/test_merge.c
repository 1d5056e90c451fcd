#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/calendar.h"
#include "mr/merge.h"
#include "tests/unit/random.h"

/*
 * Random contents are written as states, each cut into blocks by a plain
 * loop over its users, and merged in every way there is.  The union of the
 * contents, made user by user without any of the merge's code, is written as
 * a state too: the merged file must have its very bytes, and the KPIs must
 * be those of its blocks.
 */

static char folder[256];

static void path_of(char path[512], const char *name, int number)
{
    snprintf(path, 512, "%s/%s%d.mrs", folder, name, number);
}

static void *room(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);

    assert_non_null(p);
    return p;
}

/* ---- contents ---- */

#define GAP_MS 1000
#define CELLS_MAX 640
#define PARTS 6

/* The cells that can be: days times types. */
static struct {
    size_t n_days, n_types, n_cells;
    char type[CELLS_MAX][8];
    /* Which cells a partition has events of, and events of users; the same
     * in every state.  The last partition has no users. */
    bool part_has[PARTS][CELLS_MAX], part_users[PARTS][CELLS_MAX];
} world;

struct content {
    size_t n; /* users */
    uint64_t *hash;
    size_t *first; /* n + 1 */
    struct mr_interval *interval;
    bool has_part[PARTS];
    bool fails;                /* has a failure as well */
    uint64_t *bits[CELLS_MAX]; /* which users; NULL: no such cell */
};

static bool bit(const uint64_t *bits, size_t i)
{
    return bits != NULL && (bits[i / 64] >> (i % 64) & 1) != 0;
}

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void make_world(size_t n_days, size_t n_types)
{
    memset(&world, 0, sizeof world);
    world.n_days = n_days;
    world.n_types = n_types;
    world.n_cells = n_days * n_types;
    for (size_t t = 0; t < n_types; t++)
        snprintf(world.type[t], sizeof world.type[t], "t%04u", (unsigned)t);
    for (size_t p = 0; p < PARTS; p++) {
        size_t sure = any(world.n_cells);

        for (size_t c = 0; c < world.n_cells; c++) {
            world.part_has[p][c] = any(3) == 0 || c == sure;
            world.part_users[p][c] = p + 1 < PARTS && world.part_has[p][c] &&
                                     (any(4) != 0 || c == sure);
        }
    }
}

static bool has_cell(const struct content *c, size_t cell)
{
    for (size_t p = 0; p < PARTS; p++)
        if (c->has_part[p] && world.part_has[p][cell])
            return true;
    return false;
}

static bool has_users(const struct content *c, size_t cell)
{
    for (size_t p = 0; p < PARTS; p++)
        if (c->has_part[p] && world.part_users[p][cell])
            return true;
    return false;
}

static void content_free(struct content *c)
{
    for (size_t i = 0; i < world.n_cells; i++)
        free(c->bits[i]);
    free(c->hash);
    free(c->first);
    free(c->interval);
}

static void content_cells(struct content *c)
{
    for (size_t i = 0; i < world.n_cells; i++)
        c->bits[i] =
            has_cell(c, i) ? room(c->n / 64 + 1, sizeof *c->bits[i]) : NULL;
}

static int compare_hashes(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Intervals in slots of four seconds, so that two contents' sometimes join,
 * in chains, and one content's never do. */
static size_t random_intervals(struct mr_interval *out, size_t slots)
{
    size_t n = 0;

    for (size_t s = 0; s < slots; s++) {
        int64_t start;

        if (any(2) && !(n == 0 && s + 1 == slots))
            continue;
        start = (int64_t)(s * 4000 + any(2) * 2000 + any(200));
        if (n > 0 && start - out[n - 1].end_ms <= GAP_MS)
            continue;
        out[n].start_ms = start;
        out[n++].end_ms = start + (int64_t)any(1500);
    }
    return n;
}

/* A content of some users of a pool; at least one partition. */
static void make_content(struct content *c, const uint64_t *pool, size_t n_pool,
    uint64_t one_in, size_t slots, uint64_t density)
{
    size_t n_intervals = 0;

    memset(c, 0, sizeof *c);
    c->hash = room(n_pool, sizeof *c->hash);
    for (size_t i = 0; i < n_pool; i++)
        if (any(one_in) == 0)
            c->hash[c->n++] = pool[i];
    for (size_t p = 0; p < PARTS; p++)
        c->has_part[p] = p + 1 == PARTS || (c->n > 0 && any(3) == 0);
    if (c->n > 0)
        c->has_part[any(PARTS - 1)] = true;
    c->fails = any(3) == 0;
    content_cells(c);
    c->first = room(c->n + 1, sizeof *c->first);
    c->interval = room(c->n * slots, sizeof *c->interval);
    for (size_t u = 0; u < c->n; u++) {
        size_t cell, own = 1 + any(slots);

        n_intervals += random_intervals(
            c->interval + n_intervals, slots > 100 ? slots : own);
        c->first[u + 1] = n_intervals;
        for (size_t i = 0; i < world.n_cells; i++)
            if (has_users(c, i) && any(100) < density)
                set_bit(c->bits[i], u);
        do
            cell = any(world.n_cells);
        while (!has_users(c, cell));
        set_bit(c->bits[cell], u);
    }
    for (size_t i = 0; i < world.n_cells; i++)
        if (has_users(c, i))
            set_bit(c->bits[i], any(c->n));
}

static void make_pool(uint64_t *pool, size_t n, unsigned shift)
{
    for (size_t i = 0; i < n; i++)
        pool[i] = (any64() >> shift) + i;
    qsort(pool, n, sizeof *pool, compare_hashes);
    for (size_t i = 1; i < n; i++)
        if (pool[i] <= pool[i - 1])
            pool[i] = pool[i - 1] + 1;
}

static int compare_starts(const void *a, const void *b)
{
    const struct mr_interval *x = a, *y = b;

    return x->start_ms < y->start_ms ? -1 : x->start_ms > y->start_ms;
}

/* Add the user to the union if some content has it; room is there. */
static void unite_user(struct content *to, const struct content *from,
    const size_t *place, size_t k, uint64_t hash)
{
    size_t start = to->first[to->n], n = start, kept = start;

    for (size_t i = 0; i < k; i++) {
        size_t u = place[i];

        if (u == from[i].n || from[i].hash[u] != hash)
            continue;
        for (size_t j = from[i].first[u]; j < from[i].first[u + 1]; j++)
            to->interval[n++] = from[i].interval[j];
        for (size_t c = 0; c < world.n_cells; c++)
            if (bit(from[i].bits[c], u))
                set_bit(to->bits[c], to->n);
    }
    qsort(
        to->interval + start, n - start, sizeof *to->interval, compare_starts);
    for (size_t j = start; j < n; j++) {
        struct mr_interval *last = to->interval + kept - 1;
        struct mr_interval next = to->interval[j];

        if (kept == start || next.start_ms > last->end_ms + GAP_MS)
            to->interval[kept++] = next;
        else if (next.end_ms > last->end_ms)
            last->end_ms = next.end_ms;
    }
    to->hash[to->n++] = hash;
    to->first[to->n] = kept;
}

static void unite(struct content *to, const struct content *from, size_t k)
{
    size_t *place = room(k, sizeof *place), n = 0, intervals = 0;

    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < k; i++) {
        for (size_t p = 0; p < PARTS; p++)
            to->has_part[p] |= from[i].has_part[p];
        to->fails |= from[i].fails;
        n += from[i].n;
        intervals += from[i].first[from[i].n];
    }
    to->n = n; /* as many as there could be */
    content_cells(to);
    to->n = 0;
    to->hash = room(n, sizeof *to->hash);
    to->first = room(n + 1, sizeof *to->first);
    to->interval = room(intervals, sizeof *to->interval);
    for (;;) {
        uint64_t least = 0;
        bool has = false;

        for (size_t i = 0; i < k; i++)
            if (place[i] < from[i].n &&
                (!has || from[i].hash[place[i]] < least)) {
                least = from[i].hash[place[i]];
                has = true;
            }
        if (!has)
            break;
        unite_user(to, from, place, k, least);
        for (size_t i = 0; i < k; i++)
            place[i] += place[i] < from[i].n && from[i].hash[place[i]] == least;
    }
    free(place);
}

/* ---- heads ---- */

static void add_part(struct mr_coverage *c, size_t part, const uint32_t *number)
{
    struct mr_partition p = {.n_names = 1};
    uint64_t events = 0;
    char name[40];

    snprintf(name, sizeof name, "day=1/part%u", (unsigned)part);
    memset(p.digest.b, (int)part + 1, sizeof p.digest.b);
    p.name = room(1, sizeof *p.name);
    p.name[0] = strdup(name);
    p.cell = room(world.n_cells, sizeof *p.cell);
    for (size_t i = 0; i < world.n_cells; i++) {
        if (!world.part_has[part][i])
            continue;
        p.cell[p.n_cells++] = (struct mr_cell_count){
            number[i], 100 + i, world.part_users[part][i] ? part : 100 + i};
        events += 100 + i;
    }
    if (part % 2 == 0) {
        p.reason = room(1, sizeof *p.reason);
        p.reason[0] = (struct mr_reason_count){MR_REASON_TOO_DEEP, 3};
        p.n_reasons = 1;
    }
    p.lines = events + p.n_reasons * 3;
    p.stored_bytes = p.text_bytes = 1000 + part;
    assert_int_equal(mr_coverage_add(c, &p), MR_OK);
}

static struct mr_hll *sketch(
    const struct content *c, const uint64_t *bits, unsigned p)
{
    struct mr_hll *h = NULL;

    for (size_t u = 0; u < c->n; u++) {
        if (!bit(bits, u))
            continue;
        if (h == NULL) {
            h = room(1, sizeof *h);
            mr_hll_init(h, p);
        }
        assert_int_equal(mr_hll_add(h, c->hash[u]), MR_OK);
    }
    return h;
}

/* number[]: of a cell of the world in the state. */
static void make_head(struct mr_state_head *head, const struct content *c,
    const struct mr_spec *spec, uint32_t *number)
{
    uint32_t *type = room(world.n_types, sizeof *type);

    memset(head, 0, sizeof *head);
    head->spec = spec;
    head->type = room(world.n_types, sizeof *head->type);
    head->cell = room(world.n_cells, sizeof *head->cell);
    head->sketch = room(world.n_cells, sizeof(struct mr_hll *));
    for (size_t t = 0; t < world.n_types; t++) {
        bool has = false;

        for (size_t d = 0; d < world.n_days; d++)
            has |= has_cell(c, d * world.n_types + t);
        type[t] = (uint32_t)head->n_types;
        if (has)
            head->type[head->n_types++] = (struct mr_span){
                (const uint8_t *)world.type[t], strlen(world.type[t])};
    }
    for (size_t i = 0; i < world.n_cells; i++) {
        if (!has_cell(c, i))
            continue;
        number[i] = (uint32_t)head->n_cells;
        head->sketch[head->n_cells] = sketch(c, c->bits[i], spec->sketch_bits);
        head->cell[head->n_cells++] = (struct mr_cell){
            (int32_t)(i / world.n_types), type[i % world.n_types]};
    }
    for (size_t p = 0; p < PARTS; p++)
        if (c->has_part[p])
            add_part(&head->coverage, p, number);
    if (c->fails)
        assert_int_equal(mr_coverage_add_failure(
                             &head->coverage, "day=1/bad", 7, "truncated"),
            MR_OK);
    assert_int_equal(mr_coverage_settle(&head->coverage), MR_OK);
    free(type);
}

/* ---- blocks ---- */

struct made {
    struct mr_user_block block;
    uint32_t first[65537];
    struct mr_user_set sets[CELLS_MAX];
    uint16_t *list[CELLS_MAX];
    uint64_t *words[CELLS_MAX];
};

static size_t weight_of(const struct content *c, size_t u)
{
    size_t weight = 8 * (c->first[u + 1] - c->first[u]);

    for (size_t i = 0; i < world.n_cells; i++)
        weight += bit(c->bits[i], u);
    return weight;
}

/* The users from low on that one block takes: docs/state-format.md. */
static size_t block_end(const struct content *c, size_t low)
{
    size_t weight = 0, u = low;

    while (u < c->n && u - low < 65536) {
        weight += weight_of(c, u);
        if (u > low && weight > (size_t)1 << 24)
            break;
        u++;
    }
    return u;
}

static void make_set(struct made *m, const struct content *c, size_t low,
    size_t high, size_t cell, uint32_t number)
{
    struct mr_user_set *set = &m->sets[m->block.n_sets];
    uint32_t n = 0;

    for (size_t u = low; u < high; u++)
        n += bit(c->bits[cell], u);
    if (n == 0)
        return;
    *set = (struct mr_user_set){.cell = number, .n = n};
    if (n > 4096)
        set->words = m->words[cell] = room(1024, 8);
    else
        set->list = m->list[cell] = room(n, 2);
    for (size_t u = low, k = 0; u < high; u++) {
        if (!bit(c->bits[cell], u))
            continue;
        if (n > 4096)
            set_bit(m->words[cell], u - low);
        else
            m->list[cell][k++] = (uint16_t)(u - low);
    }
    m->block.n_sets++;
}

static struct made *make_block(
    const struct content *c, size_t low, size_t high, const uint32_t *number)
{
    struct made *m = room(1, sizeof *m);

    m->block.n = high - low;
    m->block.hash = c->hash + low;
    m->block.interval = c->interval + c->first[low];
    m->block.first = m->first;
    m->block.sets = m->sets;
    for (size_t u = low; u <= high; u++)
        m->first[u - low] = (uint32_t)(c->first[u] - c->first[low]);
    for (size_t i = 0; i < world.n_cells; i++)
        if (c->bits[i] != NULL)
            make_set(m, c, low, high, i, number[i]);
    return m;
}

static void made_free(struct made *m)
{
    for (size_t i = 0; i < world.n_cells; i++) {
        free(m->list[i]);
        free(m->words[i]);
    }
    free(m);
}

static struct mr_spec spec;

/* Write a content as a state; its blocks' KPIs, if wanted. */
static size_t write_content(const char *path, const struct content *c,
    const struct mr_spec *with, struct mr_kpis *kpis)
{
    uint32_t *number = room(world.n_cells, sizeof *number);
    struct mr_kpi_tally *tally;
    struct mr_packed_block packed = {.n_users = 0};
    struct mr_state_writer *writer;
    struct mr_packer *packer;
    struct mr_state_head head;
    struct mr_cells cells;
    uint64_t bytes;
    char final[512];
    size_t blocks = 0;

    make_head(&head, c, with, number);
    cells = mr_cells_of(&head, NULL);
    assert_int_equal(mr_kpi_tally_new(&cells, &tally, NULL), MR_OK);
    assert_int_equal(mr_state_writer_new(path, with, &writer, NULL), MR_OK);
    assert_int_equal(mr_packer_new(with->session_gap_ms, &packer), MR_OK);
    for (size_t low = 0, high; low < c->n; low = high, blocks++) {
        struct made *m;

        high = block_end(c, low);
        m = make_block(c, low, high, number);
        assert_int_equal(
            mr_pack_block(packer, &m->block, &packed, NULL), MR_OK);
        assert_int_equal(mr_state_writer_add(writer, &packed, NULL), MR_OK);
        mr_kpi_tally_block(tally, &m->block);
        made_free(m);
    }
    if (kpis != NULL)
        assert_int_equal(mr_kpis_compute(&cells, tally, &head.coverage,
                             (const struct mr_hll *const *)head.sketch,
                             with->sketch_bits, kpis, NULL),
            MR_OK);
    assert_int_equal(mr_state_writer_finish(
                         writer, &head, final, sizeof final, &bytes, NULL),
        MR_OK);
    mr_kpi_tally_free(tally);
    mr_packed_block_release(&packed);
    mr_packer_free(packer);
    mr_state_head_release(&head);
    free(number);
    return blocks;
}

/* ---- merging ---- */

static void same_files(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    static uint8_t x[65536], y[65536];
    size_t n = sizeof x;

    assert_true(f && g);
    while (n == sizeof x) {
        n = fread(x, 1, sizeof x, f);
        assert_int_equal(fread(y, 1, sizeof y, g), n);
        assert_true(memcmp(x, y, n) == 0);
    }
    fclose(f);
    fclose(g);
}

static void same_kpis(const struct mr_kpis *got, const struct mr_kpis *want)
{
    assert_int_equal(got->n_days, want->n_days);
    assert_int_equal(got->n_day_types, want->n_day_types);
    for (size_t i = 0; i < want->n_days; i++) {
        const struct mr_kpi_day *g = &got->day[i], *w = &want->day[i];

        assert_int_equal(g->day, w->day);
        assert_int_equal(g->events, w->events);
        assert_int_equal(g->events_without_user, w->events_without_user);
        assert_int_equal(g->users, w->users);
        assert_true(g->users_estimate == w->users_estimate);
        assert_int_equal(g->active, w->active);
        assert_int_equal(g->inactive, w->inactive);
        assert_int_equal(g->churned, w->churned);
        assert_int_equal(g->reactivated, w->reactivated);
        assert_int_equal(g->sessions, w->sessions);
    }
    for (size_t i = 0; i < want->n_day_types; i++) {
        assert_int_equal(got->day_type[i].users, want->day_type[i].users);
        assert_int_equal(got->day_type[i].events, want->day_type[i].events);
        assert_true(got->day_type[i].users_estimate ==
                    want->day_type[i].users_estimate);
    }
}

/* The union's own count of a day's users. */
static void check_users(const struct content *all, const struct mr_kpis *k)
{
    for (size_t i = 0; i < k->n_days; i++) {
        size_t day = (size_t)k->day[i].day, n = 0;

        for (size_t u = 0; u < all->n; u++) {
            bool has = false;

            for (size_t t = 0; t < world.n_types; t++)
                has |= bit(all->bits[day * world.n_types + t], u);
            n += has;
        }
        assert_int_equal(k->day[i].users, n);
    }
}

struct outcome {
    enum mr_status status;
    struct mr_error err;
    uint64_t users;
    struct mr_kpis kpis;
};

/* Merge; out NULL: only the KPIs. */
static struct outcome run_merge(struct mr_state *const *state, size_t n,
    unsigned threads, const char *out, const atomic_int *stop)
{
    struct outcome o = {.status = MR_OK};
    struct mr_kpi_tally *tally[8];
    struct mr_state_writer *writer = NULL;
    struct mr_merge *m;
    char final[512];
    uint64_t bytes;

    o.status = mr_merge_new(state, n, &m, &o.err);
    if (o.status != MR_OK)
        return o;
    for (unsigned t = 0; t < threads; t++)
        assert_int_equal(
            mr_kpi_tally_new(mr_merge_cells(m), &tally[t], NULL), MR_OK);
    if (out != NULL)
        assert_int_equal(
            mr_state_writer_new(out, mr_merge_head(m)->spec, &writer, NULL),
            MR_OK);
    o.status = mr_merge_run(m, threads, tally, writer, stop, &o.users, &o.err);
    for (unsigned t = 1; t < threads; t++)
        mr_kpi_tally_merge(tally[0], tally[t]);
    if (o.status == MR_OK) {
        const struct mr_state_head *head = mr_merge_head(m);

        assert_int_equal(
            mr_kpis_compute(mr_merge_cells(m), tally[0], &head->coverage,
                (const struct mr_hll *const *)head->sketch,
                head->spec->sketch_bits, &o.kpis, NULL),
            MR_OK);
        if (out != NULL)
            assert_int_equal(mr_state_writer_finish(writer, head, final,
                                 sizeof final, &bytes, NULL),
                MR_OK);
    } else if (writer != NULL) {
        mr_state_writer_abort(writer);
    }
    for (unsigned t = 0; t < threads; t++)
        mr_kpi_tally_free(tally[t]);
    mr_merge_free(m);
    return o;
}

static void swap_states(struct mr_state **state, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i + any(n - i);
        struct mr_state *s = state[i];

        state[i] = state[k];
        state[k] = s;
    }
}

/* Merge the contents in many ways; return the union's blocks. */
static size_t check_merge(const struct content *c, size_t k, bool brief)
{
    static const unsigned threads[] = {1, 2, 4, 3};
    struct mr_state *state[12];
    struct mr_kpis want = {.n_days = 0};
    char path[512], merged[512], expected[512];
    struct content all;
    size_t blocks, n = k;

    unite(&all, c, k);
    path_of(expected, "expected", 0);
    path_of(merged, "merged", 0);
    blocks = write_content(expected, &all, &spec, &want);
    check_users(&all, &want);
    for (size_t i = 0; i < k; i++) {
        path_of(path, "state", (int)i);
        (void)write_content(path, &c[i], &spec, NULL);
        assert_int_equal(mr_state_open(path, &state[i], NULL), MR_OK);
    }
    if (!brief && any(2)) /* one of them twice */
        state[n++] = state[any(k)];
    /* Of the brief ways the last does all; a slow tool has no time for more. */
    for (unsigned way = brief && rounds(3) < 3 ? 2 : 0; way < (brief ? 3 : 8);
         way++) {
        bool writes = brief ? way > 0 : way % 2 == 0;
        struct outcome o;

        swap_states(state, n);
        o = run_merge(state, n, brief ? (way == 1 ? 1 : 4) : threads[way / 2],
            writes ? merged : NULL, NULL);
        assert_int_equal(o.status, MR_OK);
        assert_int_equal(o.users, all.n);
        same_kpis(&o.kpis, &want);
        if (writes)
            same_files(merged, expected);
        mr_kpis_release(&o.kpis);
    }
    for (size_t i = 0; i < n; i++) {
        bool again = false;

        for (size_t j = 0; j < i; j++)
            again |= state[j] == state[i];
        if (!again)
            mr_state_close(state[i]);
    }
    mr_kpis_release(&want);
    content_free(&all);
    return blocks;
}

static void small_states_merge(void **state)
{
    struct content c[5];
    uint64_t pool[400];

    (void)state;
    for (unsigned round = 0; round < rounds(25); round++) {
        size_t k = 1 + any(5);

        make_world(1 + any(4), 1 + any(8));
        make_pool(pool, 400, (unsigned)any(3) * 25);
        for (size_t i = 0; i < k; i++)
            make_content(&c[i], pool, any(3) ? 400 : any(3), 1 + any(6),
                1 + any(30), any(100));
        (void)check_merge(c, k, false);
        for (size_t i = 0; i < k; i++)
            content_free(&c[i]);
    }
}

/* Blocks end at different users in each state, and in the union. */
static void blocks_of_many_users_merge(void **state)
{
    const size_t n = 210000;
    uint64_t *pool = room(n, sizeof *pool);
    struct content c[3];

    (void)state;
    make_world(2, 2);
    make_pool(pool, n, 0);
    for (size_t i = 0; i < 3; i++)
        make_content(&c[i], pool, n, 1 + i, 2, 40);
    assert_int_equal(check_merge(c, 3, false), 4);
    assert_int_equal(check_merge(c, 1, true), 4);
    for (size_t i = 0; i < 3; i++)
        content_free(&c[i]);
    /* All in one of the ranges of hashes. */
    make_pool(pool, n, 3);
    make_content(&c[0], pool, n, 2, 2, 40);
    assert_int_equal(check_merge(c, 1, true), 2);
    content_free(&c[0]);
    free(pool);
}

/* Enough blocks for several ranges of hashes; all in a part of them. */
static void ranges_merge(void **state)
{
    const size_t n = 1100000;
    uint64_t *pool = room(n, sizeof *pool);
    struct content c[2];

    (void)state;
    for (unsigned shift = 0; shift < 2 * rounds(2); shift += 2) {
        make_world(2, 1);
        make_pool(pool, n, shift);
        make_content(&c[0], pool, n, 1, 1, 50);
        make_content(&c[1], pool, n, 5, 1, 50);
        assert_int_equal(check_merge(c, 2, true), 17);
        content_free(&c[0]);
        content_free(&c[1]);
    }
    free(pool);
}

/* Blocks cut by the weight of intervals. */
static void busy_users_merge(void **state)
{
    uint64_t pool[800];
    struct content c[2];
    size_t blocks;

    (void)state;
    make_world(1, 3);
    make_pool(pool, 800, 0);
    for (size_t i = 0; i < 2; i++)
        make_content(&c[i], pool, 800, 1, 9000, 30);
    blocks = check_merge(c, 2, true);
    assert_true(blocks > 1);
    for (size_t i = 0; i < 2; i++)
        content_free(&c[i]);
}

/* Blocks cut by the weight of memberships alone: what is merged at one go
 * is several blocks. */
static void members_of_many_cells_merge(void **state)
{
    /* More than a block's users; or half as many, which are two blocks only
     * because of their cells. */
    const size_t n = rounds(2) == 2 ? 70000 : 35000;
    uint64_t *pool = room(n, sizeof *pool);
    struct content c[2];

    (void)state;
    make_world(2, CELLS_MAX / 2);
    make_pool(pool, n, 0);
    for (size_t k = 0; k < CELLS_MAX; k++)
        world.part_has[0][k] = world.part_users[0][k] = true;
    for (size_t i = 0; i < 2; i++) {
        memset(&c[i], 0, sizeof c[i]);
        c[i].n = n;
        c[i].hash = room(n, sizeof *c[i].hash);
        memcpy(c[i].hash, pool, n * sizeof *pool);
        for (size_t p = 0; p < PARTS; p++)
            c[i].has_part[p] = true;
        content_cells(&c[i]);
        c[i].first = room(n + 1, sizeof *c[i].first);
        c[i].interval = room(n, sizeof *c[i].interval);
        for (size_t u = 0; u < n; u++)
            c[i].first[u + 1] = u + 1;
        for (size_t k = 0; k < world.n_cells; k++)
            for (size_t w = 0; has_users(&c[i], k) && w < n / 64; w++)
                c[i].bits[k][w] = k == 0 ? UINT64_MAX : any64() | any64();
        for (size_t u = n / 64 * 64; u < n; u++)
            for (size_t k = 0; k < world.n_cells; k++)
                if (has_users(&c[i], k))
                    set_bit(c[i].bits[k], u);
    }
    assert_true(check_merge(c, 2, true) >= (n == 70000 ? 3 : 2));
    content_free(&c[0]);
    content_free(&c[1]);
    free(pool);
}

/* Half of n intervals of a user, of one parity. */
static void add_heavy(struct content *c, uint64_t hash, size_t n, size_t parity,
    const size_t *cells, size_t n_cells)
{
    size_t at = c->first[c->n];

    for (size_t i = parity; i < n; i += 2) {
        c->interval[at].start_ms = (int64_t)i * (GAP_MS + 1);
        c->interval[at].end_ms = c->interval[at].start_ms;
        at++;
    }
    for (size_t k = 0; k < n_cells; k++)
        set_bit(c->bits[cells[k]], c->n);
    c->hash[c->n++] = hash;
    c->first[c->n] = at;
}

/* Two users that together weigh what a block can, or one more, and light
 * ones behind them. */
static void exact_weights_merge(void **state)
{
    static const size_t cells[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const size_t half = (size_t)1 << 20;

    (void)state;
    make_world(1, 8);
    for (size_t p = 0; p < PARTS; p++)
        for (size_t i = 0; i < 8; i++)
            world.part_has[p][i] = world.part_users[p][i] = true;
    for (size_t more = 0; more < 2; more++) {
        struct content c[2];

        for (size_t i = 0; i < 2; i++) {
            memset(&c[i], 0, sizeof c[i]);
            c[i].has_part[i] = true;
            c[i].n = 10;
            content_cells(&c[i]);
            c[i].n = 0;
            c[i].hash = room(10, sizeof *c[i].hash);
            c[i].first = room(10, sizeof *c[i].first);
            c[i].interval = room(half + 10, sizeof *c[i].interval);
            add_heavy(&c[i], 1000, half, i, cells + i * 3, 3 + i);
            add_heavy(&c[i], 2000, half - 1, i, cells, 1 + i * more);
            add_heavy(&c[i], 3000, 2, i, cells, 1);
            add_heavy(&c[i], 4000, 2, i, cells, 8);
        }
        assert_int_equal(check_merge(c, 2, true), 2);
        content_free(&c[0]);
        content_free(&c[1]);
    }
}

/* ---- refusals ---- */

static void unlike_specs_are_refused(void **state)
{
    struct mr_state *s[2];
    char path[2][512], text[2048];
    struct mr_spec other = spec;
    struct content c;
    struct outcome o;
    uint64_t user = 5;

    (void)state;
    make_world(1, 1);
    make_content(&c, &user, 1, 1, 1, 50);
    other.session_gap_ms = 77;
    other.max_depth = 9;
    for (unsigned i = 0; i < 2; i++) {
        path_of(path[i], "spec", (int)i);
        (void)write_content(path[i], &c, i ? &other : &spec, NULL);
        assert_int_equal(mr_state_open(path[i], &s[i], NULL), MR_OK);
    }
    o = run_merge(s, 2, 1, NULL, NULL);
    assert_int_equal(o.status, MR_MISMATCH);
    assert_int_equal(o.err.status, MR_MISMATCH);
    mr_error_format(&o.err, text, sizeof text);
    assert_non_null(strstr(text, "cannot merge"));
    assert_non_null(strstr(text, path[0]));
    assert_non_null(strstr(text, path[1]));
    assert_non_null(strstr(text, "77 here, 1000 there; "));
    assert_non_null(strstr(text, "9 here, 1024 there"));
    assert_null(strchr(text, '\n'));
    for (unsigned i = 0; i < 2; i++)
        mr_state_close(s[i]);
    content_free(&c);
}

/* Two states whose partitions together have more bytes than can be told. */
static void sums_that_are_too_large_are_refused(void **state)
{
    struct mr_state *s[2];
    struct content c;
    struct outcome o;
    uint64_t user = 5;
    char path[512];

    (void)state;
    make_world(1, 1);
    make_content(&c, &user, 1, 1, 1, 50);
    path_of(path, "large", 0);
    (void)write_content(path, &c, &spec, NULL);
    for (unsigned i = 0; i < 2; i++) {
        const struct mr_coverage *coverage;

        assert_int_equal(mr_state_open(path, &s[i], NULL), MR_OK);
        coverage = &mr_state_get_head(s[i])->coverage;
        coverage->partition[0].digest.b[0] = (uint8_t)i;
        coverage->partition[0].stored_bytes = UINT64_C(1) << 63;
    }
    o = run_merge(s, 2, 1, NULL, NULL);
    assert_int_equal(o.status, MR_MISMATCH);
    for (unsigned i = 0; i < 2; i++)
        mr_state_close(s[i]);
    content_free(&c);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    int byte;

    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    byte = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
    assert_int_equal(fclose(f), 0);
}

/* Damage in a block shows only now; it is told alike by all ways. */
static void damaged_blocks_are_reported(void **state)
{
    const size_t n = 600000;
    uint64_t *pool = room(n, sizeof *pool);
    struct mr_state *s[2];
    char path[2][512], merged[512], first[2048] = "";
    struct content c[2];
    const struct mr_block_info *info;
    long at = 100 + 64 + 40 * 8;

    (void)state;
    make_world(1, 1);
    make_pool(pool, n, 0);
    path_of(merged, "never", 0);
    for (unsigned i = 0; i < 2; i++) {
        make_content(&c[i], pool, n, 1 + i, 1, 50);
        path_of(path[i], "hurt", (int)i);
        (void)write_content(path[i], &c[i], &spec, NULL);
    }
    assert_int_equal(mr_state_open(path[0], &s[0], NULL), MR_OK);
    for (size_t b = 0; b < 7; b++) { /* into the eighth block */
        info = mr_state_block_info(s[0], b);
        at += (long)info->stored_bytes;
    }
    mr_state_close(s[0]);
    flip(path[0], at);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(mr_state_open(path[i], &s[i], NULL), MR_OK);
    for (unsigned way = 0; way < 6; way++) {
        char text[2048];
        struct outcome o =
            run_merge(s, 2, 1u << way % 3, way < 3 ? NULL : merged, NULL);

        assert_int_equal(o.status, MR_CHECKSUM);
        mr_error_format(&o.err, text, sizeof text);
        assert_non_null(strstr(text, path[0]));
        if (way == 0)
            memcpy(first, text, sizeof first);
        assert_string_equal(text, first);
        assert_int_not_equal(access(merged, F_OK), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        mr_state_close(s[i]);
        content_free(&c[i]);
    }
    free(pool);
}

static void merges_stop(void **state)
{
    static const atomic_int stop = 1;
    uint64_t pool[100];
    struct mr_state *s;
    struct content c;
    char path[512], merged[512];

    (void)state;
    make_world(1, 1);
    make_pool(pool, 100, 0);
    make_content(&c, pool, 100, 1, 1, 50);
    path_of(path, "stop", 0);
    path_of(merged, "stop", 1);
    (void)write_content(path, &c, &spec, NULL);
    assert_int_equal(mr_state_open(path, &s, NULL), MR_OK);
    for (unsigned way = 0; way < 4; way++) {
        struct outcome o =
            run_merge(&s, 1, 1 + way % 2, way < 2 ? NULL : merged, &stop);

        assert_int_equal(o.status, MR_STOPPED);
        assert_int_equal(o.err.status, MR_STOPPED);
        assert_int_not_equal(access(merged, F_OK), 0);
    }
    mr_state_close(s);
    content_free(&c);
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    if (mr_spec_builtin("lake", &spec, NULL) != MR_OK)
        return -1;
    spec.session_gap_ms = GAP_MS;
    snprintf(folder, sizeof folder, "%s/mr-merge-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_states_merge),
        cmocka_unit_test(blocks_of_many_users_merge),
        cmocka_unit_test(ranges_merge),
        cmocka_unit_test(busy_users_merge),
        cmocka_unit_test(members_of_many_cells_merge),
        cmocka_unit_test(exact_weights_merge),
        cmocka_unit_test(unlike_specs_are_refused),
        cmocka_unit_test(sums_that_are_too_large_are_refused),
        cmocka_unit_test(damaged_blocks_are_reported),
        cmocka_unit_test(merges_stop),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
