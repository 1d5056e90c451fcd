#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LARGE ((size_t)20 << 20)

static struct mr_arena *new_arena(size_t n)
{
    struct mr_arena *arena = mr_arena_new(n);

    assert_non_null(arena);
    assert_true(mr_arena_size(arena) >= n);
    assert_false(mr_arena_has_text(arena));
    return arena;
}

static void sections_cover_the_whole(void **state)
{
    static const size_t sizes[] = {1, 1000, LARGE, LARGE + 1, LARGE + 17};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct mr_arena *arena = new_arena(sizes[i]);
        size_t size = mr_arena_size(arena), at = 0;
        unsigned n = 0;

        for (; at < size; n++) {
            size_t end = mr_arena_section_end(arena, at);

            assert_true(end > at && end <= size);
            assert_int_equal(mr_arena_section_end(arena, end - 1), end);
            assert_false(mr_arena_is_held(arena, at));
            at = end;
        }
        assert_int_equal(at, size);
        assert_int_equal(n, MR_ARENA_SECTIONS);
        mr_arena_let_go(arena);
    }
    mr_arena_release_spares();
}

/* Text is held in each section that it touches, and nowhere else. */
static void text_is_held_where_it_stands(void **state)
{
    struct mr_arena *arena = new_arena(LARGE);
    const uint8_t *p = mr_arena_bytes(arena);
    size_t first = mr_arena_section_end(arena, 0);
    size_t second = mr_arena_section_end(arena, first);
    struct mr_hold one, two, none;

    (void)state;
    one = mr_hold_text(arena, (struct mr_span){p + first - 1, 1});
    assert_true(mr_arena_is_held(arena, 0));
    assert_false(mr_arena_is_held(arena, first));
    two = mr_hold_text(arena, (struct mr_span){p + first - 1, 2});
    assert_true(mr_arena_is_held(arena, first));
    assert_false(mr_arena_is_held(arena, second));
    mr_hold_release(&one);
    assert_true(mr_arena_is_held(arena, first - 1));
    mr_hold_release(&one); /* once is enough */
    assert_true(mr_arena_has_text(arena));
    mr_hold_release(&two);
    assert_false(mr_arena_has_text(arena));
    none = mr_hold_text(arena, (struct mr_span){p, 0});
    assert_null(none.arena);
    none = mr_hold_text(NULL, (struct mr_span){p, 10});
    assert_null(none.arena);
    mr_hold_release(&none);
    mr_arena_let_go(arena);
    mr_arena_let_go(NULL);
}

/* Text outlives the writer, and its arena is another's only after it. */
static void text_keeps_its_arena(void **state)
{
    struct mr_arena *arena = new_arena(1), *other;
    uint8_t *p = mr_arena_bytes(arena);
    struct mr_hold hold;

    (void)state;
    p[5] = 77;
    hold = mr_hold_text(arena, (struct mr_span){p + 5, 1});
    mr_arena_let_go(arena);
    other = new_arena(1);
    assert_ptr_not_equal(other, arena);
    assert_int_equal(p[5], 77);
    mr_hold_release(&hold);
    arena = new_arena(1); /* kept for the next, it has no text */
    assert_ptr_equal(mr_arena_bytes(arena), p);
    mr_arena_let_go(arena);
    mr_arena_let_go(other);
    mr_arena_release_spares();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_cover_the_whole),
        cmocka_unit_test(text_is_held_where_it_stands),
        cmocka_unit_test(text_keeps_its_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
