#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mr/kernels.h"
#include "mr/shapes.h"

/* What is found is checked through the reader of JSON as well, in
 * test_fields_json.c; here are the cache's own promises. */

/* A line's tokens, as the kernel finds them. */
static struct mr_shape_line line_of(struct mr_tokens *t, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t n = strlen(text) - 16; /* the rest may be read */

    memset(t, 0, sizeof *t);
    mr_kernels()->tokenize(t, p, 0, n);
    mr_kernels()->outline(t, 0, p, n);
    return (struct mr_shape_line){t->outline, t->pos + 1, t->n, p};
}

#define REST "\n                "

/* A line is given a shape when it is met for the second time. */
static struct mr_shape *add_twice(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t hash, const uint16_t *colons,
    size_t n)
{
    uint64_t same;

    assert_null(mr_shapes_add(shapes, line, hash, colons, n));
    assert_null(mr_shapes_find(shapes, line, &same));
    assert_true(same == hash);
    return mr_shapes_add(shapes, line, hash, colons, n);
}

static void a_shape_is_found_again(void **state)
{
    static struct mr_tokens t;
    static const uint16_t colons[] = {2}; /* { "key" : */
    struct mr_shapes *shapes = mr_shapes_new();
    struct mr_shape_line line = line_of(&t, "{\"key\":1,\"b\":\"x\"}" REST);
    const struct mr_shape *found;
    struct mr_shape *shape;
    uint64_t hash;

    (void)state;
    assert_non_null(shapes);
    assert_null(mr_shapes_find(shapes, &line, &hash));
    shape = add_twice(shapes, &line, hash, colons, 1);
    assert_non_null(shape);
    shape->n_values = 1;
    shape->value[0].token = 3;

    line = line_of(&t, "{\"key\": -25.5, \"c\" :\"longer\" }" REST);
    assert_null(mr_shapes_find(shapes, &line, &hash));
    line = line_of(&t, "{ \"key\": -25.5,\"b\":\"longer\" }" REST);
    found = mr_shapes_find(shapes, &line, &hash);
    assert_ptr_equal(found, shape);
    assert_int_equal(line.text[line.pos[found->value[0].token]], '-');
    mr_shapes_free(shapes);
}

static void what_differs_is_not_found(void **state)
{
    static const char *const others[] = {"{\"kez\":1,\"b\":\"x\"}" REST,
        "{\"keyy\":1,\"b\":\"x\"}" REST, "{\"Key\":1,\"b\":\"x\"}" REST,
        "{\"key\":\"1\",\"b\":\"x\"}" REST, "{\"key\":1,\"b\":[]}" REST,
        "{\"key\":1,\"bb\":\"x\"}" REST, "{\"key\":1,\"b\":2}" REST,
        "{\"key\":1}" REST, "[\"key\",1,\"b\",\"x\"]" REST};
    static const uint16_t colons[] = {2};
    static struct mr_tokens t;
    struct mr_shapes *shapes = mr_shapes_new();
    struct mr_shape_line line = line_of(&t, "{\"key\":1,\"b\":\"x\"}" REST);
    uint64_t hash;
    size_t i;

    (void)state;
    assert_null(mr_shapes_find(shapes, &line, &hash));
    assert_non_null(add_twice(shapes, &line, hash, colons, 1));
    for (i = 0; i < sizeof others / sizeof *others; i++) {
        line = line_of(&t, others[i]);
        assert_null(mr_shapes_find(shapes, &line, &hash));
    }
    mr_shapes_free(shapes);
}

/* Far more shapes than there is room for. */
static void room_is_used_again(void **state)
{
    static struct mr_tokens t;
    static char text[5000];
    struct mr_shapes *shapes = mr_shapes_new();
    struct mr_shape_line line;
    uint64_t hash;
    unsigned i;

    (void)state;
    for (i = 0; i < 30000; i++) {
        unsigned n_array = i % 700;
        size_t n = (size_t)sprintf(text, "{\"%.*s\":[", (int)(i / 700),
            "abcdefghijklmnopqrstuvwxyz"
            "abcdefghijklmnopqrstuvwxyz");

        while (n_array-- > 0)
            n += (size_t)sprintf(text + n, "0,");
        sprintf(text + n, "0]}" REST);
        line = line_of(&t, text);
        assert_null(mr_shapes_find(shapes, &line, &hash));
        assert_non_null(add_twice(shapes, &line, hash, NULL, 0));
        assert_non_null(mr_shapes_find(shapes, &line, &hash));
    }
    mr_shapes_free(shapes);
}

static void some_lines_have_none(void **state)
{
    static struct mr_tokens t;
    static char text[20000];
    struct mr_shapes *shapes = mr_shapes_new();
    struct mr_shape_line line;
    uint64_t hash;
    size_t n;

    (void)state;
    /* A key whose length the outline does not tell. */
    sprintf(text, "{\"%0255d\":1}" REST, 7);
    line = line_of(&t, text);
    assert_null(mr_shapes_find(shapes, &line, &hash));
    assert_null(add_twice(shapes, &line, hash, NULL, 0));
    /* Too many tokens. */
    for (n = 0; n < MR_SHAPE_TOKENS_MAX; n++)
        text[n] = ',';
    strcpy(text + n, REST);
    line = line_of(&t, text);
    assert_null(mr_shapes_find(shapes, &line, &hash));
    assert_null(add_twice(shapes, &line, hash, NULL, 0));
    mr_shapes_free(shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_is_found_again),
        cmocka_unit_test(what_differs_is_not_found),
        cmocka_unit_test(room_is_used_again),
        cmocka_unit_test(some_lines_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
