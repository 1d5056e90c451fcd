#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/calendar.h"
#include "mr/sessions.h"
#include "mr/userblock.h"
#include "tests/unit/random.h"

/*
 * The model keeps every event of every user, sorts the times, and splits
 * where two neighbours are more than the gap apart.  Steps between events
 * are drawn from the lengths at which something changes: the gap and one
 * millisecond more, and the longest piece that one word holds.
 */

#define PIECE_MAX ((UINT64_C(1) << 21) - 1)
#define USERS 40
#define EVENTS_MAX 6000

struct event {
    unsigned user;
    uint64_t time;
};

static struct event event[EVENTS_MAX];
static size_t n_events;

/* A walk for each user; then the events in some disorder. */
static void make_events(uint64_t gap, size_t n, unsigned disorder)
{
    const uint64_t steps[] = {0, 1, gap, gap + 1, gap - (gap > 0), gap / 2,
        2 * gap + 1, PIECE_MAX - 1, PIECE_MAX, PIECE_MAX + 1, PIECE_MAX / 2,
        PIECE_MAX - gap % PIECE_MAX, 60000};
    uint64_t at[USERS];

    for (unsigned u = 0; u < USERS; u++)
        at[u] = any(4) == 0 ? any(3) : any(1000) * 3600000;
    n_events = n;
    for (size_t i = 0; i < n; i++) {
        /* Some users have most of the events. */
        unsigned u = (unsigned)any(any(2) ? USERS : 3);
        uint64_t step = steps[any(sizeof steps / sizeof *steps)];

        if (any(30) == 0)
            step = any(20 * gap + 2);
        at[u] += step;
        if (at[u] >= (uint64_t)MR_TIME_END_MS)
            at[u] = (uint64_t)MR_TIME_END_MS - 1;
        event[i] = (struct event){u, at[u]};
    }
    for (size_t i = 0; disorder > 0 && i < n; i++) {
        size_t k = i + any(n - i < disorder ? n - i : disorder);
        struct event e = event[i];

        event[i] = event[k];
        event[k] = e;
    }
}

static int by_time(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* What the sessions of a user must be. */
static size_t expect(unsigned user, uint64_t gap, struct mr_interval *out)
{
    static uint64_t time[EVENTS_MAX];
    size_t n = 0, n_out = 0;

    for (size_t i = 0; i < n_events; i++)
        if (event[i].user == user)
            time[n++] = event[i].time;
    qsort(time, n, sizeof *time, by_time);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || time[i] - time[i - 1] > gap)
            out[n_out++].start_ms = (int64_t)time[i];
        out[n_out - 1].end_ms = (int64_t)time[i];
    }
    return n_out;
}

static void check_user(
    struct mr_sessions *s, uint64_t *slot, unsigned user, bool only_added)
{
    static struct mr_interval want[EVENTS_MAX], got[EVENTS_MAX];
    size_t n = expect(user, s->gap_ms, want), limit = 0;
    size_t count;

    assert_int_equal(mr_sessions_settle(s, slot), MR_OK);
    count = mr_sessions_count(s, slot);
    assert_true(count <= EVENTS_MAX);
    assert_int_equal(mr_sessions_read(s, slot, got), n);
    assert_true(count >= n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(got[i].start_ms, want[i].start_ms);
        assert_int_equal(got[i].end_ms, want[i].end_ms);
        /* Two neighbours that fit into one piece are one. */
        limit +=
            3 + 2 * (uint64_t)(want[i].end_ms - want[i].start_ms) / PIECE_MAX;
    }
    if (only_added)
        assert_true(count <= limit);
}

typedef uint64_t user_slot[MR_SESSIONS_SLOT];

static void clear_slots(user_slot slot[USERS])
{
    for (unsigned u = 0; u < USERS; u++)
        mr_sessions_init(slot[u]);
}

static void add_events(
    struct mr_sessions *s, user_slot *slot, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        assert_int_equal(mr_sessions_add(s, slot[event[i].user], event[i].time,
                             event[i].time),
            MR_OK);
}

/* 18 hours is a gap far above the longest piece. */
static const uint64_t gaps[] = {1800000, 0, 1, 1000, PIECE_MAX - 1, PIECE_MAX,
    PIECE_MAX + 1, 64800000, 86400000};
#define GAPS (sizeof gaps / sizeof *gaps)

static void sessions_are_those_of_sorted_times(void **state)
{
    static const unsigned disorders[] = {0, 5, 300, EVENTS_MAX};

    (void)state;
    for (unsigned round = 0; round < 160; round++) {
        uint64_t gap = gaps[round % GAPS];
        struct mr_pool pool = {.n = 0};
        struct mr_sessions s = {gap, &pool};
        user_slot slot[USERS];

        clear_slots(slot);
        make_events(gap, round < 120 ? any(1500) : 5000, disorders[any(4)]);
        add_events(&s, slot, 0, n_events);
        for (unsigned u = 0; u < USERS; u++)
            check_user(&s, slot[u], u, true);
        add_events(&s, slot, 0, n_events / 2); /* again: no change */
        for (unsigned u = 0; u < USERS; u++)
            check_user(&s, slot[u], u, true);
        mr_pool_release(&pool);
    }
}

/* A stretch is as good as its events. */
static void stretches_are_their_events(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        uint64_t gap = gaps[round % GAPS];
        struct mr_pool pool = {.n = 0};
        struct mr_sessions s = {gap, &pool};
        user_slot slot[USERS];

        clear_slots(slot);
        make_events(gap, 1500, 0);
        for (size_t i = 0; i < n_events; i++) {
            uint64_t end = event[i].time, step = any(gap + 1);

            /* Its end is another event of the user. */
            if (any(3) == 0 && n_events < EVENTS_MAX && step <= PIECE_MAX &&
                end + step < (uint64_t)MR_TIME_END_MS) {
                end += step;
                event[n_events++] = (struct event){event[i].user, end};
            }
            assert_int_equal(
                mr_sessions_add(&s, slot[event[i].user], event[i].time, end),
                MR_OK);
        }
        for (unsigned u = 0; u < USERS; u++)
            check_user(&s, slot[u], u, true);
        mr_pool_release(&pool);
    }
}

/* All of a user's from one event up to another at once. */
static void add_together(struct mr_sessions *s, uint64_t *slot, unsigned user,
    size_t from, size_t to)
{
    static uint64_t piece[EVENTS_MAX];
    size_t n = 0;

    for (size_t i = from; i < to; i++)
        if (event[i].user == user)
            piece[n++] = mr_sessions_pack(event[i].time, event[i].time);
    assert_int_equal(mr_sessions_add_many(s, slot, piece, n), MR_OK);
}

static void many_are_as_one_by_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 160; round++) {
        uint64_t gap = gaps[round % GAPS];
        struct mr_pool pool = {.n = 0};
        struct mr_sessions s = {gap, &pool};
        user_slot slot[USERS];

        clear_slots(slot);
        make_events(gap, 5000, (unsigned)any(2) * EVENTS_MAX);
        for (size_t from = 0, to; from < n_events; from = to) {
            to = from + 1 + any(n_events - from);
            for (unsigned u = 0; u < USERS; u++)
                if (any(4) == 0)
                    for (size_t i = from; i < to; i++) {
                        if (event[i].user == u)
                            add_events(&s, slot, i, i + 1);
                    }
                else
                    add_together(&s, slot[u], u, from, to);
        }
        for (unsigned u = 0; u < USERS; u++)
            check_user(&s, slot[u], u, false);
        mr_pool_release(&pool);
    }
}

static void moved_pools_add_up(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 160; round++) {
        uint64_t gap = gaps[round % GAPS];
        struct mr_pool pool[3] = {{.n = 0}};
        struct mr_sessions s[3];
        user_slot slot[3][USERS];
        size_t cut[4];

        make_events(gap, any(2500), (unsigned)any(2) * EVENTS_MAX);
        cut[0] = 0;
        cut[1] = any(n_events + 1);
        cut[2] = cut[1] + any(n_events - cut[1] + 1);
        cut[3] = n_events;
        for (unsigned k = 0; k < 3; k++) {
            s[k] = (struct mr_sessions){gap, &pool[k]};
            clear_slots(slot[k]);
            add_events(&s[k], slot[k], cut[k], cut[k + 1]);
        }
        for (unsigned k = 1; k < 3; k++)
            for (unsigned u = 0; u < USERS; u++)
                assert_int_equal(
                    mr_sessions_move(&s[0], slot[0][u], &s[k], slot[k][u]),
                    MR_OK);
        for (unsigned u = 0; u < USERS; u++)
            check_user(&s[0], slot[0][u], u, false);
        for (unsigned k = 0; k < 3; k++)
            mr_pool_release(&pool[k]);
    }
}

/* Lists that are left behind, or whose pieces all join, serve again. */
static void pools_do_not_leak(void **state)
{
    struct mr_pool pool = {.n = 0};
    struct mr_sessions s = {10, &pool};
    size_t n = 0;

    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        user_slot slot[2];

        mr_sessions_init(slot[0]);
        mr_sessions_init(slot[1]);
        for (uint64_t t = 0; t < 1000; t++) /* 1000 pieces each */
            for (unsigned u = 0; u < 2; u++)
                assert_int_equal(
                    mr_sessions_add(&s, slot[u], t * 20, t * 20), MR_OK);
        for (unsigned u = 0; u < 2; u++)
            assert_int_equal(mr_sessions_count(&s, slot[u]), 1000);
        if (round == 0)
            n = pool.n;
        assert_int_equal(pool.n, n);
        for (unsigned u = 0; u < 2; u++) {
            for (uint64_t t = 0; t < 999; t++) /* between them */
                assert_int_equal(
                    mr_sessions_add(&s, slot[u], t * 20 + 10, t * 20 + 10),
                    MR_OK);
            assert_int_equal(mr_sessions_settle(&s, slot[u]), MR_OK);
            assert_int_equal(mr_sessions_count(&s, slot[u]), 1);
        }
    }
    mr_pool_release(&pool);
}

static void limits_of_time(void **state)
{
    const uint64_t last = (uint64_t)MR_TIME_END_MS - 1;
    user_slot slot, none;
    struct mr_interval out[4];
    struct mr_pool pool = {.n = 0};
    struct mr_sessions s = {1800000, &pool};

    (void)state;
    mr_sessions_init(slot);
    mr_sessions_init(none);
    assert_int_equal(mr_sessions_count(&s, slot), 0);
    assert_int_equal(mr_sessions_read(&s, slot, out), 0);
    assert_int_equal(mr_sessions_add(&s, slot, last, last), MR_OK);
    assert_int_equal(mr_sessions_read(&s, slot, out), 1);
    assert_int_equal(out[0].start_ms, last);
    assert_int_equal(mr_sessions_add(&s, slot, 0, 0), MR_OK);
    assert_int_equal(mr_sessions_add(&s, slot, 1800000, 1800000), MR_OK);
    assert_int_equal(mr_sessions_add(&s, slot, 3600001, 3600001), MR_OK);
    assert_int_equal(mr_sessions_settle(&s, slot), MR_OK);
    assert_int_equal(mr_sessions_read(&s, slot, out), 3);
    assert_int_equal(out[0].start_ms, 0);
    assert_int_equal(out[0].end_ms, 1800000);
    assert_int_equal(out[1].start_ms, 3600001);
    assert_int_equal(out[1].end_ms, 3600001);
    assert_int_equal(out[2].start_ms, last);
    assert_int_equal(out[2].end_ms, last);
    /* Moving nothing adds nothing. */
    assert_int_equal(mr_sessions_move(&s, slot, &s, none), MR_OK);
    assert_int_equal(mr_sessions_settle(&s, slot), MR_OK);
    assert_int_equal(mr_sessions_read(&s, slot, out), 3);
    mr_pool_release(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_are_those_of_sorted_times),
        cmocka_unit_test(stretches_are_their_events),
        cmocka_unit_test(many_are_as_one_by_one),
        cmocka_unit_test(moved_pools_add_up),
        cmocka_unit_test(pools_do_not_leak),
        cmocka_unit_test(limits_of_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
