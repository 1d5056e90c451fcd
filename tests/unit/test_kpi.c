#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/calendar.h"
#include "mr/kpi.h"
#include "tests/unit/random.h"

/*
 * A small world: users, cells, who was in which cell, and intervals.  Blocks
 * are cut from it; what the figures must be is counted from it with plain
 * loops.
 */
#define USERS_MAX 300
#define CELLS_MAX 64
#define INTERVALS_MAX 8

#define NONE MR_KPI_UNDEFINED

static struct world {
    struct mr_cells cells;
    struct mr_cell cell[CELLS_MAX];
    struct mr_span type[4];
    size_t n_users;
    bool in[USERS_MAX][CELLS_MAX];
    size_t n_intervals[USERS_MAX];
    struct mr_interval interval[USERS_MAX][INTERVALS_MAX];
    uint64_t hash[USERS_MAX];
    struct mr_hll hll[CELLS_MAX];
    const struct mr_hll *sketch[CELLS_MAX];
} w;

static void clear_world(void)
{
    size_t i;

    for (i = 0; i < CELLS_MAX; i++)
        mr_hll_release(&w.hll[i]);
    memset(&w, 0, sizeof(w));
    w.cells.cell = w.cell;
    w.cells.type = w.type;
    w.cells.n_types = 4;
    for (i = 0; i < CELLS_MAX; i++)
        mr_hll_init(&w.hll[i], 14);
    for (i = 0; i < USERS_MAX; i++)
        w.hash[i] = (i << 48) + i; /* ascending; not evenly spread */
}

/* The memory of one block cut from the world. */
struct cut {
    struct mr_user_block block;
    struct mr_user_set sets[CELLS_MAX];
    uint16_t list[CELLS_MAX][USERS_MAX];
    uint64_t words[CELLS_MAX][MR_BLOCK_WORDS];
    uint32_t first[USERS_MAX + 1];
    struct mr_interval interval[USERS_MAX * INTERVALS_MAX];
};

/* Cut users from to (not included) as a block; sets are lists or bitmaps by
 * chance. */
static const struct mr_user_block *cut_block(
    struct cut *c, size_t from, size_t to)
{
    size_t cell, u, k, n = 0;

    memset(c, 0, sizeof(*c));
    for (cell = 0; cell < w.cells.n_cells; cell++) {
        struct mr_user_set *set = &c->sets[c->block.n_sets];

        set->n = 0;
        for (u = from; u < to; u++) {
            if (!w.in[u][cell])
                continue;
            c->words[cell][(u - from) / 64] |= UINT64_C(1) << (u - from) % 64;
            c->list[cell][set->n++] = (uint16_t)(u - from);
        }
        if (set->n == 0)
            continue;
        set->cell = (uint32_t)cell;
        if (any(2))
            set->list = c->list[cell];
        else
            set->words = c->words[cell];
        c->block.n_sets++;
    }
    for (u = from; u < to; u++) {
        c->first[u - from] = (uint32_t)n;
        for (k = 0; k < w.n_intervals[u]; k++)
            c->interval[n++] = w.interval[u][k];
    }
    c->first[to - from] = (uint32_t)n;
    c->block.n = to - from;
    c->block.hash = w.hash + from;
    c->block.sets = c->sets;
    c->block.first = c->first;
    c->block.interval = c->interval;
    return &c->block;
}

static void compute(struct mr_kpi_tally *tally,
    const struct mr_coverage *coverage, struct mr_kpis *kpis)
{
    struct mr_error err;
    size_t i, u;

    for (i = 0; i < w.cells.n_cells; i++) {
        w.sketch[i] = NULL;
        for (u = 0; u < w.n_users; u++) {
            if (!w.in[u][i])
                continue;
            /* Sketches want a hash that is spread well. */
            assert_int_equal(
                mr_hll_add(&w.hll[i], w.hash[u] * UINT64_C(0x9E3779B97F4A7C15)),
                MR_OK);
            w.sketch[i] = &w.hll[i];
        }
    }
    assert_int_equal(
        mr_kpis_compute(&w.cells, tally, coverage, w.sketch, 14, kpis, &err),
        MR_OK);
}

static struct mr_kpi_tally *new_tally(void)
{
    struct mr_kpi_tally *tally = NULL;
    struct mr_error err;

    assert_int_equal(mr_kpi_tally_new(&w.cells, &tally, &err), MR_OK);
    return tally;
}

static int64_t at(int32_t day, int hour, int minute, int ms)
{
    return day * MR_MS_PER_DAY + hour * 3600000 + minute * 60000 + ms;
}

static void add_interval(size_t user, int64_t start_ms, int64_t end_ms)
{
    w.interval[user][w.n_intervals[user]++] =
        (struct mr_interval){start_ms, end_ms};
}

/* The worked example of docs/kpis.md. */
static void make_example_world(void)
{
    enum { A, B, C, D };

    clear_world();
    w.n_users = 4;
    w.cells.n_cells = 4;
    w.cell[0] = (struct mr_cell){100, 1};
    w.cell[1] = (struct mr_cell){101, 0};
    w.cell[2] = (struct mr_cell){101, 1};
    w.cell[3] = (struct mr_cell){103, 1};
    w.in[A][0] = w.in[A][1] = w.in[A][2] = true;
    w.in[B][0] = w.in[B][1] = true;
    w.in[C][2] = w.in[C][3] = true;
    w.in[D][3] = true;
    add_interval(A, at(100, 10, 0, 0), at(100, 10, 20, 0));
    add_interval(A, at(101, 9, 0, 0), at(101, 9, 30, 0));
    add_interval(A, at(101, 10, 0, 1), at(101, 10, 0, 1));
    add_interval(B, at(100, 23, 50, 0), at(101, 0, 10, 0));
    add_interval(C, at(101, 11, 0, 0), at(101, 11, 0, 0));
    add_interval(C, at(103, 8, 0, 0), at(103, 8, 0, 0));
    add_interval(D, at(103, 8, 0, 0), at(103, 8, 0, 0));
}

static void test_example(void **state)
{
    static const struct mr_kpi_day want[] = {
        {100, false, 4, 1, 2, 2, 0, 0, 0, 0, 2, NONE, NONE, NONE, NONE},
        {101, true, 5, 0, 3, 3, 2, 0, 0, 1, 3, 1, NONE, NONE, NONE},
        {102, true, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, NONE, NONE, NONE},
        {103, true, 2, 0, 2, 2, 0, 2, 0, 2, 2, 1, NONE, NONE, NONE},
    };
    static const struct mr_kpi_day_type want_types[] = {{100, 1, 4, 2, 2},
        {101, 0, 2, 2, 2}, {101, 1, 3, 2, 2}, {103, 1, 2, 2, 2}};
    struct mr_cell_count one[] = {{0, 3, 1}, {1, 2, 0}, {2, 3, 0}};
    struct mr_cell_count two[] = {{0, 1, 0}, {3, 2, 0}};
    struct mr_partition partitions[2] = {
        {.cell = one, .n_cells = 3}, {.cell = two, .n_cells = 2}};
    struct mr_coverage coverage = {.partition = partitions, .n_partitions = 2};
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;
    struct cut *c = malloc(sizeof(*c));
    size_t i;

    (void)state;
    assert_non_null(c);
    make_example_world();
    tally = new_tally();
    mr_kpi_tally_block(tally, cut_block(c, 0, 3));
    mr_kpi_tally_block(tally, cut_block(c, 3, 4));
    compute(tally, &coverage, &kpis);
    assert_int_equal(kpis.n_days, 4);
    for (i = 0; i < 4; i++) {
        struct mr_kpi_day got = kpis.day[i];

        assert_true(fabs(got.users_estimate - (double)got.users) < 0.01);
        assert_int_equal(got.day, want[i].day);
        assert_int_equal(got.has_before, want[i].has_before);
        assert_int_equal(got.events, want[i].events);
        assert_int_equal(got.events_without_user, want[i].events_without_user);
        assert_int_equal(got.users, want[i].users);
        assert_int_equal(got.active, want[i].active);
        assert_int_equal(got.inactive, want[i].inactive);
        assert_int_equal(got.churned, want[i].churned);
        assert_int_equal(got.reactivated, want[i].reactivated);
        assert_int_equal(got.sessions, want[i].sessions);
        assert_int_equal(got.new_users, want[i].new_users);
        assert_int_equal(got.users_7d, want[i].users_7d);
        assert_int_equal(got.users_28d, want[i].users_28d);
        assert_int_equal(got.stickiness, want[i].stickiness);
    }
    assert_int_equal(kpis.n_first_days, 0);
    assert_int_equal(kpis.n_day_types, 4);
    for (i = 0; i < 4; i++) {
        assert_int_equal(kpis.day_type[i].day, want_types[i].day);
        assert_int_equal(kpis.day_type[i].type, want_types[i].type);
        assert_int_equal(kpis.day_type[i].events, want_types[i].events);
        assert_int_equal(kpis.day_type[i].users, want_types[i].users);
        assert_true(fabs(kpis.day_type[i].users_estimate - 2) < 0.01);
    }
    assert_true(fabs(kpis.users_estimate_error - 0.008125) < 1e-9);
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
    free(c);
}

/* A world of random days (some next to each other, some far apart), types,
 * users and sessions; some cells without users. */
static void make_random_world(void)
{
    int32_t day = (int32_t)any(50000);
    size_t u, i, k;

    clear_world();
    w.n_users = any(USERS_MAX + 1);
    while (w.cells.n_cells < CELLS_MAX - 4 && any(20) != 0) {
        size_t before = w.cells.n_cells;

        for (k = 0; k < 4; k++) {
            if (any(2))
                w.cell[w.cells.n_cells++] = (struct mr_cell){day, (uint32_t)k};
        }
        if (w.cells.n_cells > before)
            day += any(3) ? 1 : (int32_t)(1 + any(4));
        else
            day++;
    }
    for (u = 0; u < w.n_users; u++) {
        unsigned rarity = 1 + any(12);

        for (i = 0; i < w.cells.n_cells; i++)
            w.in[u][i] = any(rarity) == 0;
        for (i = 0; i < w.cells.n_cells; i++) {
            int64_t start = w.cell[i].day * MR_MS_PER_DAY;

            if (!w.in[u][i] || w.n_intervals[u] == INTERVALS_MAX)
                continue;
            /* At the day's first, last or any millisecond. */
            start += any(3) == 0 ? 0
                     : any(2)    ? MR_MS_PER_DAY - 1
                                 : (int64_t)any(86400000);
            add_interval(u, start, start);
        }
    }
}

static bool on_day(size_t u, int32_t day)
{
    size_t i;

    for (i = 0; i < w.cells.n_cells; i++) {
        if (w.cell[i].day == day && w.in[u][i])
            return true;
    }
    return false;
}

static bool is_loaded(int32_t day)
{
    size_t i;

    for (i = 0; i < w.cells.n_cells; i++) {
        if (w.cell[i].day == day)
            return true;
    }
    return false;
}

/* Days, from the first of the world on, with room for a month before. */
#define BEFORE 28
#define DAYS_MAX (BEFORE + 5 * CELLS_MAX)
static bool was_there[USERS_MAX][DAYS_MAX];

static void mark_days(void)
{
    memset(was_there, 0, sizeof(was_there));
    for (size_t i = 0; i < w.cells.n_cells; i++) {
        size_t day = (size_t)(w.cell[i].day - w.cell[0].day) + BEFORE;

        assert_true(day < DAYS_MAX);
        for (size_t u = 0; u < w.n_users; u++)
            was_there[u][day] |= w.in[u][i];
    }
}

/* How many users were there on any of n days from one on; of them, if it is
 * not negative, only those whose first day is another. */
static uint64_t count_there(size_t from, size_t n, int first)
{
    uint64_t users = 0;

    for (size_t u = 0; u < w.n_users; u++) {
        bool there = false, before = false;

        for (size_t d = from; d < from + n; d++)
            there |= was_there[u][d];
        for (int d = 0; d < first; d++)
            before |= was_there[u][d];
        users += there && (first < 0 || (!before && was_there[u][first]));
    }
    return users;
}

/* How often each of the figures was found to be defined. */
static struct {
    unsigned week, month, ratio, back;
} seen;

static void check_extras(const struct mr_kpis *k, const struct mr_kpi_day *row)
{
    size_t day = (size_t)(row->day - w.cell[0].day) + BEFORE;
    size_t loaded = day - BEFORE + 1;
    uint64_t week = NONE, month = NONE;
    bool has_ratio;

    assert_int_equal(
        row->new_users, loaded == 1 ? NONE : count_there(day, 1, (int)day));
    if (k->extras.rolling && loaded >= 7)
        week = count_there(day - 6, 7, -1);
    if (k->extras.rolling && loaded >= 28)
        month = count_there(day - 27, 28, -1);
    assert_int_equal(row->users_7d, week);
    assert_int_equal(row->users_28d, month);
    has_ratio = month != NONE && month > 0;
    assert_int_equal(row->stickiness != NONE, has_ratio);
    if (has_ratio) { /* it is the nearest, and the upper one of two */
        int64_t off = (int64_t)(2 * row->stickiness * month) -
                      (int64_t)(2 * row->users * 1000000);

        assert_true(off > -(int64_t)month && off <= (int64_t)month);
    }
    seen.week += week != NONE;
    seen.month += month != NONE;
    seen.ratio += has_ratio && row->stickiness > 0;
}

static void check_retention(const struct mr_kpis *k)
{
    size_t columns = k->extras.retention + 1, row = 0;
    size_t last = (size_t)(w.cell[w.cells.n_cells - 1].day - w.cell[0].day);

    assert_int_equal(k->retained != NULL, k->extras.retention > 0);
    for (size_t day = 1; k->retained && day <= last; day++) {
        if (!is_loaded(w.cell[0].day + (int32_t)day))
            continue;
        assert_true(row < k->n_first_days);
        assert_int_equal(k->first_day[row], w.cell[0].day + (int32_t)day);
        for (size_t n = 0; n < columns; n++) {
            uint64_t want = NONE;

            if (day + n <= last)
                want = count_there(BEFORE + day + n, 1, (int)(BEFORE + day));
            assert_int_equal(k->retained[row * columns + n], want);
            seen.back += want != NONE && want > 0 && n > 0;
        }
        row++;
    }
    assert_int_equal(row, k->n_first_days);
}

/* Count a day's figures by the words of the contract. */
static struct mr_kpi_day count_plainly(int32_t day)
{
    struct mr_kpi_day row = {.day = day};
    size_t u, k, i;

    for (u = 0; u < w.n_users; u++) {
        bool today = on_day(u, day), yesterday = on_day(u, day - 1);
        bool known = false;

        for (i = 0; i < w.cells.n_cells; i++)
            known |= w.cell[i].day <= day && w.in[u][i];
        row.users += today;
        row.active += today && yesterday;
        row.churned += !today && yesterday;
        row.reactivated += today && !yesterday;
        row.inactive += known && !today && !yesterday;
        for (k = 0; k < w.n_intervals[u]; k++)
            row.sessions += w.interval[u][k].start_ms / 86400000 == day;
    }
    return row;
}

static void check_against_plain_count(const struct mr_kpis *kpis)
{
    size_t row = 0, i, u;
    int32_t first = w.cell[0].day;
    int32_t last = w.cell[w.cells.n_cells - 1].day, day;

    for (day = first; day <= last; day++) {
        struct mr_kpi_day want = count_plainly(day), got;

        if (!is_loaded(day) && !is_loaded(day - 1))
            continue;
        assert_true(row < kpis->n_days);
        got = kpis->day[row++];
        assert_int_equal(got.day, day);
        assert_int_equal(got.users, want.users);
        assert_int_equal(got.sessions, want.sessions);
        assert_true(fabs(got.users_estimate - (double)want.users) < 12);
        assert_int_equal(got.has_before, day != first);
        check_extras(kpis, &got);
        if (day == first)
            continue;
        assert_int_equal(got.active, want.active);
        assert_int_equal(got.churned, want.churned);
        assert_int_equal(got.reactivated, want.reactivated);
        assert_int_equal(got.inactive, want.inactive);
    }
    assert_int_equal(row, kpis->n_days);
    assert_int_equal(kpis->n_day_types, w.cells.n_cells);
    for (i = 0; i < w.cells.n_cells; i++) {
        uint64_t users = 0;

        for (u = 0; u < w.n_users; u++)
            users += w.in[u][i];
        assert_int_equal(kpis->day_type[i].users, users);
        assert_int_equal(kpis->day_type[i].day, w.cell[i].day);
        assert_int_equal(kpis->day_type[i].type, w.cell[i].type);
    }
}

static struct mr_kpi_extras random_extras(void)
{
    static const unsigned days[] = {0, 0, 1, 2, 7, 30, MR_KPI_RETENTION_MAX};

    return (struct mr_kpi_extras){.new_users = any(2),
        .rolling = any(2),
        .retention = days[any(sizeof(days) / sizeof(days[0]))]};
}

/* Any cut into blocks, shared out over any tallies, gives the same. */
static void test_random_worlds(void **state)
{
    struct cut *c = malloc(sizeof(*c));
    int round;

    (void)state;
    assert_non_null(c);
    for (round = 0; round < 300; round++) {
        struct mr_coverage coverage = {0};
        struct mr_kpi_tally *tally[2];
        struct mr_kpi_extras extras;
        struct mr_kpis kpis;
        size_t from = 0, to;

        seed = (uint64_t)round;
        make_random_world();
        if (w.cells.n_cells == 0)
            continue;
        tally[0] = new_tally();
        tally[1] = new_tally();
        mark_days();
        extras = random_extras();
        assert_int_equal(mr_kpi_tally_extend(tally[0], &extras, NULL), MR_OK);
        assert_int_equal(mr_kpi_tally_extend(tally[1], &extras, NULL), MR_OK);
        while (from < w.n_users) {
            to = from + 1 + any(any(2) ? 100 : 1000);
            if (to > w.n_users)
                to = w.n_users;
            mr_kpi_tally_block(tally[any(2)], cut_block(c, from, to));
            from = to;
        }
        mr_kpi_tally_merge(tally[0], tally[1]);
        compute(tally[0], &coverage, &kpis);
        check_against_plain_count(&kpis);
        check_retention(&kpis);
        mr_kpis_release(&kpis);
        mr_kpi_tally_free(tally[0]);
        mr_kpi_tally_free(tally[1]);
    }
    assert_true(seen.week > 1000 && seen.month > 100);
    assert_true(seen.ratio > 100 && seen.back > 1000);
    free(c);
}

/* One user, there on some days, and the first and the last loaded day, on
 * which he is not: windows end, and gaps are told, to the day. */
static void test_windows(void **state)
{
    static const struct {
        int32_t day;
        uint64_t week, month;
    } want[] = {{0, NONE, NONE}, {1, NONE, NONE}, {5, NONE, NONE}, {6, 1, NONE},
        {8, 1, NONE}, {11, 1, NONE}, {12, 0, NONE}, {27, 0, 1}, {32, 0, 1},
        {33, 0, 0}, {60, 0, 0}, {61, 1, 1}, {87, 0, 1}, {88, 1, 1},
        {200, 0, 0}};
    const struct mr_kpi_extras extras = {.rolling = true, .retention = 87};
    struct mr_coverage coverage = {0};
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;
    struct cut *c = malloc(sizeof(*c));
    size_t n = 0;

    (void)state;
    assert_non_null(c);
    clear_world();
    w.n_users = 1;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        int32_t day = want[i].day;

        w.in[0][i] = day == 1 || day == 5 || day == 61 || day == 88;
        w.cell[w.cells.n_cells++] = (struct mr_cell){day, 0};
    }
    tally = new_tally();
    assert_int_equal(mr_kpi_tally_extend(tally, &extras, NULL), MR_OK);
    mr_kpi_tally_block(tally, cut_block(c, 0, 1));
    compute(tally, &coverage, &kpis);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        while (kpis.day[n].day != want[i].day)
            assert_true(++n < kpis.n_days);
        assert_int_equal(kpis.day[n].users_7d, want[i].week);
        assert_int_equal(kpis.day[n].users_28d, want[i].month);
        if (want[i].month == 0)
            assert_int_equal(kpis.day[n].stickiness, NONE);
    }
    /* Back 4, 60 and 87 days after the first; and on no day before it. */
    assert_int_equal(kpis.n_first_days, 14);
    assert_int_equal(kpis.first_day[0], 1);
    for (size_t k = 0; k <= 87; k++) {
        assert_int_equal(
            kpis.retained[k], k == 0 || k == 4 || k == 60 || k == 87);
        assert_int_equal(kpis.retained[88 + k], 0);
    }
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
    free(c);
}

static void test_too_many_days(void **state)
{
    const struct mr_kpi_extras extras = {.retention = MR_KPI_RETENTION_MAX + 1};
    struct mr_kpi_tally *tally;
    struct mr_error err;

    (void)state;
    clear_world();
    tally = new_tally();
    assert_int_equal(mr_kpi_tally_extend(tally, &extras, &err), MR_USAGE);
    mr_kpi_tally_free(tally);
}

static void test_nothing(void **state)
{
    struct mr_coverage coverage = {0};
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;

    (void)state;
    clear_world();
    tally = new_tally();
    compute(tally, &coverage, &kpis);
    assert_int_equal(kpis.n_days, 0);
    assert_int_equal(kpis.n_day_types, 0);
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
}

/* The last user of a full block, and a day of 65,536 users. */
static void test_full_block(void **state)
{
    static uint64_t hash[MR_BLOCK_USERS], words[2][MR_BLOCK_WORDS];
    static uint32_t first[MR_BLOCK_USERS + 1];
    static struct mr_interval interval[MR_BLOCK_USERS];
    const uint16_t last = MR_BLOCK_USERS - 1;
    struct mr_user_set sets[] = {{0, MR_BLOCK_USERS, NULL, words[0]},
        {1, 1, &last, NULL}, {2, MR_BLOCK_USERS / 2, NULL, words[1]}};
    struct mr_user_block block = {
        MR_BLOCK_USERS, hash, 3, sets, first, interval};
    struct mr_coverage coverage = {0};
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;
    size_t i;

    (void)state;
    clear_world();
    w.cells.n_cells = 3;
    w.cell[0] = (struct mr_cell){10, 0};
    w.cell[1] = (struct mr_cell){11, 0};
    w.cell[2] = (struct mr_cell){11, 1};
    memset(words[0], 0xFF, sizeof(words[0]));
    memset(words[1], 0x55, sizeof(words[1]));
    for (i = 0; i < MR_BLOCK_USERS; i++) {
        hash[i] = i;
        first[i + 1] = (uint32_t)(i + 1);
        interval[i].start_ms = at(10, 0, 0, 0);
    }
    tally = new_tally();
    mr_kpi_tally_block(tally, &block);
    compute(tally, &coverage, &kpis);
    assert_int_equal(kpis.day[0].users, 65536);
    assert_int_equal(kpis.day[0].sessions, 65536);
    assert_int_equal(kpis.day[1].users, 32769);
    assert_int_equal(kpis.day[1].active, 32769);
    assert_int_equal(kpis.day[1].churned, 32767);
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
}

/* What no sound state holds is left out, without harm. */
static void test_out_of_place(void **state)
{
    const uint16_t zero = 0;
    const uint64_t hash = 1;
    const uint32_t first[] = {0, 4};
    const struct mr_interval interval[] = {{at(9, 23, 59, 59999), 0},
        {at(10, 0, 0, 0), 0}, {at(11, 0, 0, 0), 0}, {at(13, 0, 0, 0), 0}};
    const struct mr_user_set sets[] = {
        {0, 1, &zero, NULL}, {9, 1, &zero, NULL}};
    const struct mr_user_block block = {1, &hash, 2, sets, first, interval};
    struct mr_cell_count count[] = {{0, 7, 0}, {7, 7, 7}};
    struct mr_partition partition = {.cell = count, .n_cells = 2};
    struct mr_coverage coverage = {.partition = &partition, .n_partitions = 1};
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;

    (void)state;
    clear_world();
    w.cells.n_cells = 2;
    w.cell[0] = (struct mr_cell){10, 0};
    w.cell[1] = (struct mr_cell){12, 0};
    tally = new_tally();
    mr_kpi_tally_block(tally, &block);
    compute(tally, &coverage, &kpis);
    assert_int_equal(kpis.n_days, 3);
    assert_int_equal(kpis.day[0].sessions, 1);
    assert_int_equal(kpis.day[0].events, 7);
    assert_int_equal(kpis.day[2].sessions, 0);
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
}

static void test_unlike_sketch(void **state)
{
    struct mr_coverage coverage = {0};
    const struct mr_hll *sketch = &w.hll[0];
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;
    struct mr_error err;

    (void)state;
    clear_world();
    w.cells.n_cells = 1;
    tally = new_tally();
    assert_int_equal(
        mr_kpis_compute(&w.cells, tally, &coverage, &sketch, 13, &kpis, &err),
        MR_MISMATCH);
    assert_int_equal(err.status, MR_MISMATCH);
    mr_kpis_release(&kpis);
    mr_kpi_tally_free(tally);
}

static int teardown(void **state)
{
    (void)state;
    clear_world();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_random_worlds),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_too_many_days),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_full_block),
        cmocka_unit_test(test_out_of_place),
        cmocka_unit_test(test_unlike_sketch),
    };

    return cmocka_run_group_tests_name("kpi", tests, NULL, teardown);
}
