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

#include "mr/event.h"

static struct mr_spec spec;
static struct mr_timeform form;
static struct mr_event_plan plan;
static struct mr_record record;
static struct mr_buffer scratch;

static void put(
    enum mr_field field, enum mr_kind kind, const char *text, bool escaped)
{
    record.value[field].kind = kind;
    record.value[field].text.p = (const uint8_t *)text;
    record.value[field].text.n = strlen(text);
    record.value[field].escaped = escaped;
}

/* A whole event, to be changed in one point by each test. */
static int setup(void **state)
{
    (void)state;
    memset(&spec, 0, sizeof(spec));
    strcpy(spec.field[MR_FIELD_ID], "data.id");
    strcpy(spec.field[MR_FIELD_ATTRIBUTES], "data.attributes");
    strcpy(spec.user[0], "data.user");
    spec.n_users = 1;
    if (mr_timeform_init(&form, MR_TIME_EPOCH_MS, NULL, NULL, NULL) != MR_OK)
        return -1;
    plan = (struct mr_event_plan){.spec = &spec,
        .form = &form,
        .end_ms = MR_TIME_END_MS,
        .user = {MR_FIELD_USER}};
    memset(&record, 0, sizeof(record));
    record.verdict = MR_LINE_VALUE;
    put(MR_FIELD_ID, MR_KIND_STRING, "e-1", false);
    put(MR_FIELD_TYPE, MR_KIND_STRING, "page_view", false);
    put(MR_FIELD_ATTRIBUTES, MR_KIND_OBJECT, "", false);
    put(MR_FIELD_TIME, MR_KIND_NUMBER, "1700000000123", false);
    put(MR_FIELD_USER, MR_KIND_STRING, "abc", false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mr_buffer_release(&scratch);
    return 0;
}

static int decode(struct mr_event *event)
{
    memset(event, 0xEE, sizeof(*event));
    return mr_event_decode(&plan, &record, &scratch, event);
}

static void test_plain(void **state)
{
    struct mr_event event;

    (void)state;
    assert_int_equal(decode(&event), MR_EVENT_OK);
    assert_int_equal(event.time_ms, 1700000000123);
    assert_true(event.has_user);
    /* XXH64("abc"), seed 0, as published with the xxHash project. */
    assert_true(event.user == UINT64_C(0x44BC2CF5AD770999));
    assert_ptr_equal(event.type.p, record.value[MR_FIELD_TYPE].text.p);
    assert_int_equal(event.type.n, 9);
    assert_int_equal(scratch.cap, 0);
}

static void test_escaped(void **state)
{
    struct mr_event event;

    (void)state;
    put(MR_FIELD_TYPE, MR_KIND_STRING, "p\\u0061ge\\/\\u00e9", true);
    put(MR_FIELD_USER, MR_KIND_STRING, "\\u0061b\\u0063", true);
    put(MR_FIELD_TIME, MR_KIND_STRING, "\\u0031e3", true);
    assert_int_equal(decode(&event), MR_EVENT_OK);
    assert_int_equal(event.type.n, 7);
    assert_memory_equal(event.type.p, "page/\xc3\xa9", 7);
    assert_true(event.user == UINT64_C(0x44BC2CF5AD770999));
    assert_int_equal(event.time_ms, 1000);
}

/* The user: 123 and "123" are one; missing, null and empty are none. */
static void test_user(void **state)
{
    static const struct {
        enum mr_kind kind;
        const char *text;
        int verdict;
        bool has;
    } cases[] = {{MR_KIND_NONE, "", MR_EVENT_OK, false},
        {MR_KIND_NULL, "", MR_EVENT_OK, false},
        {MR_KIND_STRING, "", MR_EVENT_OK, false},
        {MR_KIND_STRING, " ", MR_EVENT_OK, true},
        {MR_KIND_NUMBER, "-5", MR_EVENT_OK, true},
        {MR_KIND_NUMBER, "123456789012345678901234567890", MR_EVENT_OK, true},
        {MR_KIND_NUMBER, "1.0", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_NUMBER, "1e3", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_NUMBER, "1E3", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_OBJECT, "", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_ARRAY, "", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_TRUE, "", MR_REASON_MALFORMED(MR_FIELD_USER), false},
        {MR_KIND_FALSE, "", MR_REASON_MALFORMED(MR_FIELD_USER), false}};
    struct mr_event event, number;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put(MR_FIELD_USER, cases[i].kind, cases[i].text, false);
        assert_int_equal(decode(&event), cases[i].verdict);
        if (cases[i].verdict == MR_EVENT_OK)
            assert_int_equal(event.has_user, cases[i].has);
    }
    put(MR_FIELD_USER, MR_KIND_NUMBER, "123", false);
    assert_int_equal(decode(&number), MR_EVENT_OK);
    put(MR_FIELD_USER, MR_KIND_STRING, "123", false);
    assert_int_equal(decode(&event), MR_EVENT_OK);
    assert_true(event.user == number.user);
    put(MR_FIELD_USER, MR_KIND_STRING, "0123", false);
    assert_int_equal(decode(&event), MR_EVENT_OK);
    assert_true(event.user != number.user);
}

static void test_required(void **state)
{
    static const struct {
        enum mr_field field;
        enum mr_kind kind;
        const char *text;
        bool missing;
    } cases[] = {{MR_FIELD_ID, MR_KIND_NONE, "", true},
        {MR_FIELD_ID, MR_KIND_NULL, "", false},
        {MR_FIELD_ID, MR_KIND_STRING, "", false},
        {MR_FIELD_ID, MR_KIND_NUMBER, "1", false},
        {MR_FIELD_TYPE, MR_KIND_NONE, "", true},
        {MR_FIELD_TYPE, MR_KIND_STRING, "", false},
        {MR_FIELD_TYPE, MR_KIND_OBJECT, "", false},
        {MR_FIELD_ATTRIBUTES, MR_KIND_NONE, "", true},
        {MR_FIELD_ATTRIBUTES, MR_KIND_NULL, "", false},
        {MR_FIELD_ATTRIBUTES, MR_KIND_ARRAY, "", false},
        {MR_FIELD_ATTRIBUTES, MR_KIND_STRING, "{}", false},
        {MR_FIELD_TIME, MR_KIND_NONE, "", true},
        {MR_FIELD_TIME, MR_KIND_NULL, "", false},
        {MR_FIELD_TIME, MR_KIND_STRING, "", false},
        {MR_FIELD_TIME, MR_KIND_STRING, " 1", false},
        {MR_FIELD_TIME, MR_KIND_STRING, "2023-11-14", false},
        {MR_FIELD_TIME, MR_KIND_NUMBER, "-1", false},
        {MR_FIELD_TIME, MR_KIND_NUMBER, "7258118400000", false},
        {MR_FIELD_TIME, MR_KIND_TRUE, "", false}};
    struct mr_event event;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int want = cases[i].missing ? MR_REASON_MISSING(cases[i].field)
                                    : MR_REASON_MALFORMED(cases[i].field);

        setup(state);
        put(cases[i].field, cases[i].kind, cases[i].text, false);
        assert_int_equal(decode(&event), want);
        /* Untouched on failure. */
        assert_true(event.user == UINT64_C(0xEEEEEEEEEEEEEEEE));
    }
}

/* Of several bad fields the first in order is the reason. */
static void test_order(void **state)
{
    struct mr_event event;
    int field;

    for (field = 0; field < MR_FIELD_USER; field++) {
        int later;

        setup(state);
        for (later = field; later < MR_FIELD_USER; later++)
            put((enum mr_field)later, MR_KIND_NONE, "", false);
        put(MR_FIELD_USER, MR_KIND_TRUE, "", false);
        assert_int_equal(decode(&event), MR_REASON_MISSING(field));
    }
}

static void test_attributes_not_asked_for(void **state)
{
    struct mr_event event;

    (void)state;
    spec.field[MR_FIELD_ATTRIBUTES][0] = '\0';
    put(MR_FIELD_ATTRIBUTES, MR_KIND_NONE, "", false);
    assert_int_equal(decode(&event), MR_EVENT_OK);
}

/* The limit is of the unescaped type. */
static void test_type_length(void **state)
{
    static char text[6 * (MR_TYPE_MAX_BYTES + 1) + 1];
    struct mr_event event;
    size_t i;

    (void)state;
    memset(text, 't', MR_TYPE_MAX_BYTES + 1);
    put(MR_FIELD_TYPE, MR_KIND_STRING, text, false);
    assert_int_equal(decode(&event), MR_REASON_MALFORMED(MR_FIELD_TYPE));
    text[MR_TYPE_MAX_BYTES] = '\0';
    put(MR_FIELD_TYPE, MR_KIND_STRING, text, false);
    assert_int_equal(decode(&event), MR_EVENT_OK);
    for (i = 0; i < MR_TYPE_MAX_BYTES + 1; i++)
        memcpy(text + 6 * i, "\\u0041", 7);
    put(MR_FIELD_TYPE, MR_KIND_STRING, text, true);
    assert_int_equal(decode(&event), MR_REASON_MALFORMED(MR_FIELD_TYPE));
    text[6 * MR_TYPE_MAX_BYTES] = '\0';
    put(MR_FIELD_TYPE, MR_KIND_STRING, text, true);
    assert_int_equal(decode(&event), MR_EVENT_OK);
    assert_int_equal(event.type.n, MR_TYPE_MAX_BYTES);
    assert_int_equal(event.type.p[MR_TYPE_MAX_BYTES - 1], 'A');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_escaped),
        TEST(test_user),
        TEST(test_required),
        TEST(test_order),
        TEST(test_attributes_not_asked_for),
        TEST(test_type_length),
    };

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
