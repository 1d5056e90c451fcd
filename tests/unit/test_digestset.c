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

#include "mr/digestset.h"

static void each_digest_is_new_once(void **state)
{
    struct mr_digest_set set = {.n = 0};
    bool is_new;

    (void)state;
    for (unsigned turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < 5000; i++) {
            struct mr_digest d = mr_digest_bytes(&i, sizeof(i));

            assert_int_equal(mr_digest_set_add(&set, &d, &is_new), MR_OK);
            assert_int_equal(is_new, turn == 0);
        }
    }
    assert_int_equal(set.n, 5000);
    mr_digest_set_release(&set);
    assert_null(set.held);
}

/* Digests that begin alike are told apart. */
static void whole_digests_count(void **state)
{
    struct mr_digest_set set = {.n = 0};
    struct mr_digest d = {.b = {1, 2, 3}};
    bool is_new;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        d.b[MR_DIGEST_BYTES - 1] = (uint8_t)i;
        assert_int_equal(mr_digest_set_add(&set, &d, &is_new), MR_OK);
        assert_true(is_new);
    }
    assert_int_equal(mr_digest_set_add(&set, &d, &is_new), MR_OK);
    assert_false(is_new);
    mr_digest_set_release(&set);
}

/* It is what a free place looks like, too. */
static void the_digest_of_zeros_is_one(void **state)
{
    static const struct mr_digest zero;
    struct mr_digest_set set = {.n = 0};
    bool is_new;

    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        struct mr_digest d = mr_digest_bytes(&i, sizeof(i));

        assert_int_equal(mr_digest_set_add(&set, &zero, &is_new), MR_OK);
        assert_int_equal(is_new, i == 0);
        assert_int_equal(mr_digest_set_add(&set, &d, &is_new), MR_OK);
        assert_true(is_new);
    }
    assert_int_equal(set.n, 301);
    mr_digest_set_release(&set);
    assert_int_equal(mr_digest_set_add(&set, &zero, &is_new), MR_OK);
    assert_true(is_new);
    mr_digest_set_release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_digest_is_new_once),
        cmocka_unit_test(whole_digests_count),
        cmocka_unit_test(the_digest_of_zeros_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
