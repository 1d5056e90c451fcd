#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/bitmap.h"
#include "tests/unit/random.h"

/*
 * A set is kept beside an array of truth values, through random additions
 * while the universe grows, slowly and by leaps, so that it changes between
 * its two forms in both directions.
 */

#define UNIVERSE_MAX MR_BITMAP_NUMBERS

struct model {
    uint8_t is_member[UNIVERSE_MAX];
    uint8_t is_visited[UNIVERSE_MAX];
    uint32_t n, universe;
    uint32_t visits, calls; /* different ones, and all */
};

static struct model model;
static struct mr_pool pool;

static enum mr_status visit(void *context, uint32_t number)
{
    struct model *m = context;

    assert_true(number < m->universe);
    assert_true(m->is_member[number]);
    m->visits += !m->is_visited[number];
    m->is_visited[number] = 1;
    m->calls++;
    return MR_OK;
}

static void visit_all(const struct mr_bitmap *b)
{
    memset(model.is_visited, 0, sizeof model.is_visited);
    model.visits = model.calls = 0;
    assert_int_equal(mr_bitmap_each(&pool, b, visit, &model), MR_OK);
    assert_int_equal(model.visits, model.n); /* so all of them */
}

static void check(struct mr_bitmap *b)
{
    size_t held = 8 * (b->class1 == 0 ? 0 : mr_pool_words(b->class1 - 1u));
    size_t few = 4 * (size_t)model.n, many = model.universe / 8;

    visit_all(b);
    assert_true(model.calls >= model.n);
    if (any(2) == 0) {
        mr_bitmap_settle(&pool, b);
        visit_all(b);
        assert_int_equal(model.calls, model.n);
    }
    /* The smaller of both forms, half as much again, and a little. */
    assert_true(held <= (few < many ? few : many) * 3 / 2 + 24);
}

static void add(struct mr_bitmap *b, uint32_t number)
{
    assert_int_equal(mr_bitmap_add(&pool, b, number, model.universe), MR_OK);
    model.n += !model.is_member[number];
    model.is_member[number] = 1;
}

/* What the next number is, by one of several habits. */
static uint32_t choose(unsigned habit, uint32_t before)
{
    uint32_t u = model.universe;

    switch (habit) {
    case 0: /* anywhere */
        return any(u);
    case 1: /* ascending, as users come for the first time */
        return before + 1 < u ? before + 1 : any(u);
    case 2: /* the newest */
        return u - 1 - any(u < 70 ? u : 70);
    case 3: /* the same few, again and again */
        return any(u < 40 ? u : 40);
    default: /* the last of a word, the first of the next */
        return (any(u) | 63) < u - 1 ? (any(u) | 63) % u : 0;
    }
}

static unsigned forms_left[2]; /* how often each form was given up */

static void one_set(uint32_t start, uint32_t per_mille, uint32_t leap)
{
    struct mr_bitmap b = {.n = 0};
    uint32_t number = 0;
    bool was_words = false;

    memset(&model, 0, sizeof model);
    model.universe = start;
    for (unsigned i = 0; i < 6000; i++) {
        number = choose(any(5), number);
        add(&b, number);
        if (b.is_words != was_words)
            forms_left[was_words]++;
        was_words = b.is_words;
        if (any(1000) < per_mille)
            model.universe += 1 + any(leap);
        if (model.universe > UNIVERSE_MAX)
            model.universe = UNIVERSE_MAX;
        if (any(500) == 0)
            check(&b);
    }
    check(&b);
    mr_pool_release(&pool);
}

static void sets_are_those_of_an_array(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 120; round++)
        one_set(1 + any(round % 3 == 0 ? 4 : 2000), round % 2 == 0 ? 1000 : 3,
            1 + any(round % 2 == 0 ? 60 : 20000));
    /* Both ways have been gone, or this has tested little. */
    assert_true(forms_left[0] > 100);
    assert_true(forms_left[1] > 20);
}

/* The first bit beyond the words there are, while the set stays full. */
static void full_sets_grow_by_one(void **state)
{
    struct mr_bitmap b = {.n = 0};

    (void)state;
    memset(&model, 0, sizeof model);
    for (uint32_t i = 0; i < 5000; i++) {
        model.universe = i + 1;
        add(&b, i);
        if (i % 64 < 2)
            check(&b);
    }
    assert_true(b.is_words);
    check(&b);
    mr_pool_release(&pool);
}

/* The largest universe, full, in both directions. */
static void full_universes(void **state)
{
    (void)state;
    for (unsigned down = 0; down < 2; down++) {
        struct mr_bitmap b = {.n = 0};

        memset(&model, 0, sizeof model);
        model.universe = UNIVERSE_MAX;
        for (uint32_t i = 0; i < UNIVERSE_MAX; i++) {
            add(&b, down ? UNIVERSE_MAX - 1 - i : i);
            if (i % 4099 == 0)
                check(&b);
        }
        check(&b);
        assert_int_equal(b.n, UNIVERSE_MAX / 64);
        mr_pool_release(&pool);
    }
}

/* Sets that are one behind the other in the pool do not mix. */
static void sets_share_a_pool(void **state)
{
    static struct mr_bitmap set[50];
    static uint8_t is_member[50][2000];

    (void)state;
    memset(set, 0, sizeof set);
    for (unsigned i = 0; i < 40000; i++) {
        uint32_t k = any(50), number = any(1 + 40 * k % 2000);

        assert_int_equal(mr_bitmap_add(&pool, &set[k], number, 2000), MR_OK);
        is_member[k][number] = 1;
    }
    for (unsigned k = 0; k < 50; k++) {
        memset(&model, 0, sizeof model);
        model.universe = 2000;
        memcpy(model.is_member, is_member[k], 2000);
        for (unsigned i = 0; i < 2000; i++)
            model.n += is_member[k][i];
        visit_all(&set[k]);
    }
    mr_pool_release(&pool);
}

static enum mr_status stop_at(void *context, uint32_t number)
{
    uint32_t *left = context;

    (void)number;
    assert_int_not_equal(*left, 0);
    return --*left == 0 ? MR_STOPPED : MR_OK;
}

static void visits_stop(void **state)
{
    (void)state;
    for (unsigned words = 0; words < 2; words++) {
        struct mr_bitmap b = {.n = 0};
        uint32_t universe = words ? 200 : 60000, left;

        for (uint32_t i = 0; i < 100; i++)
            assert_int_equal(mr_bitmap_add(&pool, &b, 2 * i, universe), MR_OK);
        assert_int_equal(b.is_words, words);
        for (uint32_t n = 1; n <= 100; n++) {
            left = n;
            assert_int_equal(
                mr_bitmap_each(&pool, &b, stop_at, &left), MR_STOPPED);
            assert_int_equal(left, 0);
        }
        left = 101;
        assert_int_equal(mr_bitmap_each(&pool, &b, stop_at, &left), MR_OK);
        assert_int_equal(left, 1);
        mr_pool_release(&pool);
    }
}

static void empty_sets(void **state)
{
    struct mr_bitmap b = {.n = 0};
    uint32_t left = 1;

    (void)state;
    assert_int_equal(mr_bitmap_each(&pool, &b, stop_at, &left), MR_OK);
    assert_int_equal(left, 1);
    mr_bitmap_settle(&pool, &b);
    assert_int_equal(b.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_those_of_an_array),
        cmocka_unit_test(full_sets_grow_by_one),
        cmocka_unit_test(full_universes),
        cmocka_unit_test(sets_share_a_pool),
        cmocka_unit_test(visits_stop),
        cmocka_unit_test(empty_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
