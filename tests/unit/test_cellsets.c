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

#include "mr/cellsets.h"
#include "tests/unit/random.h"

/*
 * Sets are kept beside a list of all that was added to them: of what is read,
 * every member must be one of those, and every one of those must be there.
 */

#define DAYS 3
#define USERS 200000 /* four chunks */

/* Added: by day, type and number. */
struct model {
    uint32_t types;
    uint8_t *is_member;
    size_t n, seen;
    size_t base; /* of the set that is read */
};

static size_t at(
    const struct model *m, uint32_t day, uint32_t type, uint32_t number)
{
    return ((size_t)day * m->types + type) * USERS + number;
}

static enum mr_status visit(void *context, uint32_t number)
{
    struct model *m = context;

    assert_int_equal(m->is_member[m->base + number], 1);
    m->is_member[m->base + number] = 2;
    m->seen++;
    return MR_OK;
}

static void check(struct mr_cellsets *c, struct mr_pool *pool, struct model *m)
{
    m->seen = 0;
    for (uint32_t k = 0; k < c->n; k++) {
        struct mr_cell_set *set = &c->set[k];

        assert_true(mr_cell_set_day(set) >= 0 && mr_cell_set_day(set) < DAYS);
        assert_true(mr_cell_set_type(set) < m->types);
        assert_int_equal(mr_cell_set_first(set) % MR_BITMAP_NUMBERS, 0);
        m->base = at(m, (uint32_t)mr_cell_set_day(set), mr_cell_set_type(set),
            mr_cell_set_first(set));
        mr_bitmap_settle(pool, &set->members);
        assert_int_equal(mr_bitmap_each(pool, &set->members, visit, m), MR_OK);
    }
    assert_int_equal(m->seen, m->n);
}

static void members_are_those_added(void **state)
{
    (void)state;
    seed = 11;
    for (unsigned round = 0; round < 12; round++) {
        struct model m = {.types = round % 4 == 0 ? 1 : 1 + any(150)};
        struct mr_cellsets sets = {0};
        struct mr_pool pool = {0};
        uint32_t users = 1 + any(round % 3 == 0 ? 500 : USERS);

        m.is_member = calloc((size_t)DAYS * m.types, USERS);
        assert_non_null(m.is_member);
        for (uint32_t i = any(60000); i > 0; i--) {
            uint32_t day = any(DAYS), type = any(m.types), number = any(users);
            uint8_t *is_member = &m.is_member[at(&m, day, type, number)];

            m.n += !*is_member;
            *is_member = 1;
            assert_int_equal(
                mr_cellsets_add(&sets, &pool, day, type, number, users), MR_OK);
        }
        check(&sets, &pool, &m);
        free(m.is_member);
        mr_cellsets_release(&sets);
        mr_pool_release(&pool);
    }
}

/* The last day, the last type and the last chunk that there can be. */
static void keys_have_room_for_all(void **state)
{
    const uint32_t day = (1 << 17) - 1, type = (1 << MR_TUPLE_TYPE_BITS) - 1;
    const uint32_t number = (1 << 24) - 2;
    struct mr_cellsets sets = {0};
    struct mr_pool pool = {0};

    (void)state;
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(
            mr_cellsets_add(&sets, &pool, day, type, number, number + 1),
            MR_OK);
        assert_int_equal(
            mr_cellsets_add(&sets, &pool, 0, 0, 0, number + 1), MR_OK);
        assert_int_equal(sets.n, 2);
    }
    assert_int_equal(mr_cell_set_day(&sets.set[0]), day);
    assert_int_equal(mr_cell_set_type(&sets.set[0]), type);
    assert_int_equal(mr_cell_set_first(&sets.set[0]), number / 65536 * 65536);
    assert_int_equal(mr_cell_set_day(&sets.set[1]), 0);
    assert_int_equal(mr_cell_set_type(&sets.set[1]), 0);
    assert_int_equal(mr_cell_set_first(&sets.set[1]), 0);
    mr_cellsets_release(&sets);
    mr_pool_release(&pool);
    mr_cellsets_release(&sets); /* empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_those_added),
        cmocka_unit_test(keys_have_room_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
