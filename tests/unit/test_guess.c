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

#include "mr/guess.h"
#include "mr/text.h"

/* Records of CSV, a field behind the other, each record ended by NULL. */
static struct mr_guess *guess_of(
    const char *const *names, const char *const (*rows)[6], size_t n)
{
    struct mr_guess *guess = NULL;

    assert_int_equal(mr_guess_new(true, &guess, NULL), MR_OK);
    for (size_t i = 0; i < n; i++) {
        guess->records++;
        for (size_t k = 0; rows[i][k] != NULL; k++) {
            struct mr_guess_field *field = NULL;

            assert_int_equal(
                mr_guess_find(guess, mr_text_span(names[k]), &field), MR_OK);
            assert_int_equal(mr_guess_value(guess, field, MR_KIND_STRING,
                                 mr_text_span(rows[i][k])),
                MR_OK);
        }
    }
    return guess;
}

static void names_win(void **state)
{
    static const char *const names[] = {
        "created", "data.eventId", "Event-Name", "cookie_id", "user.id"};
    static const char *const rows[][6] = {
        {"2024-03-01", "a", "x", "c1", "", NULL},
        {"2024-03-02", "b", "y", "", "u1", NULL},
        {"2024-03-03", "c", "x", "c1", "u2", NULL},
    };
    struct mr_guess *guess = guess_of(names, rows, 3);
    struct mr_guess_choice c;

    (void)state;
    mr_guess_choose(guess, &c);
    assert_string_equal(c.time->name, "created");
    assert_string_equal(c.time_format, "iso8601");
    assert_null(c.other_format);
    assert_string_equal(c.id->name, "data.eventId");
    assert_string_equal(c.type->name, "Event-Name");
    assert_int_equal(c.n_users, 2);
    assert_string_equal(c.user[0]->name, "user.id");
    assert_string_equal(c.user[1]->name, "cookie_id");
    assert_null(c.url);
    mr_guess_free(guess);
}

static void nothing_is_made_up(void **state)
{
    static const char *const names[] = {"colour", "size"};
    static const char *const rows[][6] = {
        {"red", "12", NULL}, {"blue", "13", NULL}, {"red", "15", NULL}};
    struct mr_guess *guess = guess_of(names, rows, 3);
    struct mr_guess_choice c;

    (void)state;
    mr_guess_choose(guess, &c);
    assert_null(c.time);
    assert_null(c.type);
    assert_null(c.url);
    assert_int_equal(c.n_users, 0);
    mr_guess_free(guess);
}

/* One value, of many, that has a 13th day or month tells which is which. */
static void one_value_tells_day_from_month(void **state)
{
    static const char *const names[] = {"time"};
    static const char *const both[][6] = {
        {"01/02/2024 10:00:00", NULL}, {"12/12/2024 10:00:00", NULL}};
    static const char *const day[][6] = {
        {"01/02/2024 10:00:00", NULL}, {"13/12/2024 10:00:00", NULL}};
    static const char *const month[][6] = {
        {"01/02/2024 10:00:00", NULL}, {"12/13/2024 10:00:00", NULL}};
    struct mr_guess_choice c;
    struct mr_guess *guess = guess_of(names, both, 2);

    (void)state;
    mr_guess_choose(guess, &c);
    assert_string_equal(c.time_format, "%d/%m/%Y %H:%M:%S");
    assert_string_equal(c.other_format, "%m/%d/%Y %H:%M:%S");
    mr_guess_free(guess);
    guess = guess_of(names, day, 2);
    mr_guess_choose(guess, &c);
    assert_string_equal(c.time_format, "%d/%m/%Y %H:%M:%S");
    assert_null(c.other_format);
    mr_guess_free(guess);
    guess = guess_of(names, month, 2);
    mr_guess_choose(guess, &c);
    assert_string_equal(c.time_format, "%m/%d/%Y %H:%M:%S");
    assert_null(c.other_format);
    mr_guess_free(guess);
}

/* However many there are. */
static void fields_are_bounded(void **state)
{
    struct mr_guess *guess = NULL;
    struct mr_guess_field *field = NULL;
    char name[16];

    (void)state;
    assert_int_equal(mr_guess_new(false, &guess, NULL), MR_OK);
    for (unsigned i = 0; i < MR_GUESS_FIELDS + 3; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(
            mr_guess_find(guess, mr_text_span(name), &field), MR_OK);
        assert_int_equal(field == NULL, i >= MR_GUESS_FIELDS);
    }
    assert_int_equal(mr_guess_find(guess, mr_text_span("f7"), &field), MR_OK);
    assert_ptr_equal(field, &guess->field[7]);
    /* Different values are counted as such. */
    for (unsigned i = 0; i < 3000; i++) {
        guess->records++;
        snprintf(name, sizeof(name), "%u", i % 1000);
        assert_int_equal(
            mr_guess_value(guess, field, MR_KIND_STRING, mr_text_span(name)),
            MR_OK);
    }
    assert_int_equal(field->n, 3000);
    assert_int_equal(field->n_seen, 1000);
    mr_guess_free(guess);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_win),
        cmocka_unit_test(nothing_is_made_up),
        cmocka_unit_test(one_value_tells_day_from_month),
        cmocka_unit_test(fields_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
