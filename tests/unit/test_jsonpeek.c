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

#include "mr/jsonpeek.h"
#include "mr/text.h"
#include "tests/unit/random.h"

static void lengths_of_values(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } samples[] = {
        {"{}", 2},
        {"{\"a\":[1,{\"b\":\"}\"}]} x", 19},
        {"\"a\\\"b\" ", 6},
        {"\"a\\", 0},
        {"\"a\\\"", 0},
        {"12,", 2},
        {"12", 0},
        {"true}", 4},
        {"[1,2", 0},
        {"[\"]", 0},
        {"]", 0},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
        assert_int_equal(
            mr_peek_length(mr_text_span(samples[i].text)), samples[i].length);
}

static void members_come_one_after_another(void **state)
{
    struct mr_span rest, inside, key, value;

    (void)state;
    assert_false(mr_peek_open(mr_text_span(" [1]"), '{', &rest));
    assert_true(mr_peek_open(
        mr_text_span(" \n{ \"a\" : 1 ,\"b\\\"\":[ {\"c\":null}, 2 ]}"), '{',
        &rest));
    assert_true(mr_peek_key(&rest, &key));
    assert_int_equal(key.n, 1);
    assert_true(mr_peek_element(&rest, &value));
    assert_int_equal(mr_peek_kind(value), MR_KIND_NUMBER);
    assert_true(mr_peek_key(&rest, &key));
    assert_int_equal(key.n, 3);
    assert_memory_equal(key.p, "b\\\"", 3);
    assert_true(mr_peek_element(&rest, &value));
    assert_false(mr_peek_key(&rest, &key));
    assert_true(mr_peek_open(value, '[', &inside));
    assert_true(mr_peek_element(&inside, &value));
    assert_int_equal(mr_peek_kind(value), MR_KIND_OBJECT);
    assert_int_equal(value.n, 10);
    assert_true(mr_peek_element(&inside, &value));
    assert_int_equal(value.n, 1);
    assert_false(mr_peek_element(&inside, &value));
}

/* Of any text values are in it, one behind the other, and there is an end. */
static void any_text_has_an_end(void **state)
{
    static const char bytes[] = "{}[]\"\"\\:,1nt ";

    (void)state;
    for (unsigned round = 0; round < rounds(50000); round++) {
        size_t n = (size_t)(round % 20);
        uint8_t *text = malloc(n + 1);
        struct mr_span rest = {text, n}, key, value;
        const uint8_t *last = text;

        assert_non_null(text);
        /* The byte behind it is not to be read. */
        text = realloc(text, n > 0 ? n : 1);
        assert_non_null(text);
        rest.p = last = text;
        for (size_t i = 0; i < n; i++)
            text[i] = (uint8_t)bytes[any(sizeof(bytes) - 1)];
        (void)mr_peek_open(rest, '{', &rest);
        while (mr_peek_key(&rest, &key) || mr_peek_element(&rest, &value)) {
            assert_true(rest.p > last && rest.p + rest.n == text + n);
            last = rest.p;
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_of_values),
        cmocka_unit_test(members_come_one_after_another),
        cmocka_unit_test(any_text_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
