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

#include "mr/groupkey.h"
#include "mr/text.h"
#include "tests/unit/random.h"

static const struct mr_span none = {NULL, 0};

static void texts_are_as_documented(void **state)
{
    const struct mr_span value[] = {mr_text_span("2017020220"), none,
        mr_text_span(""), mr_text_span("\xc3\xbc")};
    static const uint8_t want[] = {19, 11, '2', '0', '1', '7', '0', '2', '0',
        '2', '2', '0', 0, 1, 3, 0xc3, 0xbc};
    uint8_t text[MR_TYPE_MAX_BYTES];
    struct mr_span back[5];

    (void)state;
    assert_int_equal(mr_group_encode(3, value, 4, text), sizeof want);
    assert_memory_equal(text, want, sizeof want);
    assert_int_equal(
        mr_group_decode((struct mr_span){text, sizeof want}, 4, back),
        MR_GROUP_VALUES);
    assert_int_equal(back[0].n, 10);
    assert_null(back[1].p);
    assert_non_null(back[2].p);
    assert_int_equal(back[2].n, 0);
    assert_memory_equal(back[3].p, "\xc3\xbc", 2);

    /* Of another number of values it is none. */
    assert_int_equal(
        mr_group_decode((struct mr_span){text, sizeof want}, 3, back),
        MR_GROUP_BAD);
    assert_int_equal(
        mr_group_decode((struct mr_span){text, sizeof want}, 5, back),
        MR_GROUP_BAD);
    for (size_t n = 2; n < sizeof want; n++)
        assert_int_equal(
            mr_group_decode((struct mr_span){text, n}, 4, back), MR_GROUP_BAD);
    assert_int_equal(
        mr_group_decode((struct mr_span){text, 1}, 4, back), MR_GROUP_FURTHER);
    assert_int_equal(
        mr_group_decode((struct mr_span){text, 0}, 4, back), MR_GROUP_BAD);
}

/* By the number of values: how long one may be. */
static const size_t value_max[] = {0, 256, 256, 256, 253, 202, 168, 144, 125};

static void long_values_are_cut(void **state)
{
    static char long_text[400];
    uint8_t text[MR_TYPE_MAX_BYTES];
    struct mr_span value[MR_ROLLUP_FIELDS_MAX], back[MR_ROLLUP_FIELDS_MAX];

    (void)state;
    for (unsigned n = 1; n <= MR_ROLLUP_FIELDS_MAX; n++) {
        size_t max = value_max[n], length;

        assert_int_equal(mr_group_value_max(n), max);
        memset(long_text, 'x', sizeof long_text);
        for (unsigned i = 0; i < n; i++)
            value[i] = (struct mr_span){(uint8_t *)long_text, max};
        length = mr_group_encode(0, value, n, text);
        assert_true(length <= MR_TYPE_MAX_BYTES);
        assert_int_equal(
            mr_group_decode((struct mr_span){text, length}, n, back),
            MR_GROUP_VALUES);
        assert_int_equal(mr_span_compare(back[n - 1], value[n - 1]), 0);

        for (unsigned i = 0; i < n; i++)
            value[i].n = i % 2 == 0 ? max + 1 : sizeof long_text;
        length = mr_group_encode(15, value, n, text);
        assert_true(length <= MR_TYPE_MAX_BYTES);
        assert_int_equal(
            mr_group_decode((struct mr_span){text, length}, n, back),
            MR_GROUP_VALUES);
        assert_int_equal(back[n - 1].n, max);
        assert_memory_equal(back[n - 1].p, long_text, max - 3);
        assert_memory_equal(back[n - 1].p + max - 3, "\xe2\x80\xa6", 3);
    }
}

/* A cut falls between characters, wherever they begin. */
static void cuts_keep_characters(void **state)
{
    static const char *const character[] = {
        "x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    uint8_t text[MR_TYPE_MAX_BYTES];

    (void)state;
    for (unsigned before = 0; before < 4; before++)
        for (unsigned k = 0; k < 4; k++) {
            char long_text[400] = "xxx";
            size_t n = before, step = strlen(character[k]), kept, length;
            struct mr_span value, back;

            while (n + step < sizeof long_text) {
                memcpy(long_text + n, character[k], step);
                n += step;
            }
            value = (struct mr_span){(uint8_t *)long_text, n};
            length = mr_group_encode(1, &value, 1, text);
            assert_int_equal(
                mr_group_decode((struct mr_span){text, length}, 1, &back),
                MR_GROUP_VALUES);
            kept = before + (256 - 3 - before) / step * step;
            assert_int_equal(back.n, kept + 3);
            assert_memory_equal(back.p, long_text, kept);
        }
}

static void values_come_back(void **state)
{
    (void)state;
    for (unsigned round = rounds(20000); round > 0; round--) {
        unsigned n = 1 + (unsigned)any(MR_ROLLUP_FIELDS_MAX);
        unsigned rollup = (unsigned)any(MR_ROLLUPS_MAX);
        struct mr_span value[MR_ROLLUP_FIELDS_MAX], back[MR_ROLLUP_FIELDS_MAX];
        char pool[MR_ROLLUP_FIELDS_MAX][256];
        uint8_t *text = malloc(MR_TYPE_MAX_BYTES), *exact;
        size_t length;

        assert_non_null(text);
        for (unsigned i = 0; i < n; i++) {
            value[i].p = any(4) == 0 ? NULL : (uint8_t *)pool[i];
            value[i].n = value[i].p == NULL ? 0
                         : any(3) == 0      ? any(value_max[n] + 1)
                                            : any(4);
            for (size_t k = 0; k < value[i].n; k++)
                pool[i][k] = (char)any(128);
        }
        length = mr_group_encode(rollup, value, n, text);
        assert_int_equal(text[0], 16 + rollup);
        exact = realloc(text, length); /* so that tools see any overrun */
        assert_non_null(exact);
        assert_int_equal(
            mr_group_decode((struct mr_span){exact, length}, n, back),
            length == 1 ? MR_GROUP_FURTHER : MR_GROUP_VALUES);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(back[i].p == NULL, value[i].p == NULL);
            assert_int_equal(mr_span_compare(back[i], value[i]), 0);
        }
        free(exact);
    }
}

static void bad_texts_are_refused(void **state)
{
    static const struct {
        size_t n;
        uint8_t text[8];
    } table[] = {
        {3, {16, 0x82, 0x00}},       /* a longer varint than it needs */
        {3, {16, 3, 'x'}},           /* ends too soon */
        {4, {16, 2, 'x', 0}},        /* goes on */
        {3, {16, 2, 0xff}},          /* no UTF-8 */
        {3, {16, 2, 0xc3}},          /* half a character */
        {4, {16, 0xff, 0xff, 0x7f}}, /* far too long */
        {2, {16, 0x80}},
    };
    static uint8_t text[MR_TYPE_MAX_BYTES + 8];
    struct mr_span back = {text, 7};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(
            mr_group_decode(
                (struct mr_span){table[i].text, table[i].n}, 1, &back),
            MR_GROUP_BAD);
    /* One byte too long: 257, and 258 for its length. */
    memset(text, 'x', sizeof text);
    text[1] = 0x82;
    text[2] = 2;
    assert_int_equal(
        mr_group_decode((struct mr_span){text, 260}, 1, &back), MR_GROUP_BAD);
    assert_ptr_equal(back.p, text);
    assert_int_equal(back.n, 7);
    text[1] = 0x81;
    assert_int_equal(mr_group_decode((struct mr_span){text, 259}, 1, &back),
        MR_GROUP_VALUES);
    assert_int_equal(back.n, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_as_documented),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(cuts_keep_characters),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(bad_texts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
