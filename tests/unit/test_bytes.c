#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/bytes.h"
#include "mr/hash.h"

/* bytes, and the two other units below everything: status and hash. */

static void buffer_appends_in_order(void **state)
{
    static const uint8_t want[] = {'a', 'b', 0x04, 0x03, 0x02, 0x01, 0x18, 0x17,
        0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0xAC, 0x02, 3, 'x', 'y', 'z'};
    struct mr_buffer b = {0};

    (void)state;
    assert_int_equal(mr_buffer_add(&b, "ab", 2), MR_OK);
    assert_int_equal(mr_buffer_add(&b, NULL, 0), MR_OK);
    assert_int_equal(mr_buffer_add_u32(&b, 0x01020304), MR_OK);
    assert_int_equal(
        mr_buffer_add_u64(&b, UINT64_C(0x1112131415161718)), MR_OK);
    assert_int_equal(mr_buffer_add_varint(&b, 300), MR_OK);
    assert_int_equal(mr_buffer_add_string(&b, "xyz", 3), MR_OK);
    assert_int_equal(b.n, sizeof want);
    assert_memory_equal(b.p, want, sizeof want);
    mr_buffer_release(&b);
    assert_null(b.p);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.cap, 0);
}

static void buffer_grows_and_keeps(void **state)
{
    struct mr_buffer b = {0};
    size_t n_moves = 0;
    uint32_t i;

    (void)state;
    for (i = 0; i < 100000; i++) {
        size_t cap = b.cap;

        assert_int_equal(mr_buffer_add_u32(&b, i), MR_OK);
        n_moves += b.cap != cap;
    }
    for (i = 0; i < 100000; i++)
        assert_int_equal(mr_get_u32(b.p + 4 * (size_t)i), i);
    assert_true(n_moves < 40); /* geometric, not one by one */
    mr_buffer_release(&b);
}

static void buffer_refuses_what_cannot_be(void **state)
{
    struct mr_buffer b = {0};

    (void)state;
    assert_int_equal(mr_buffer_add(&b, "ab", 2), MR_OK);
    assert_int_equal(mr_buffer_add(&b, "x", SIZE_MAX), MR_NOMEM);
    assert_int_equal(mr_buffer_add_string(&b, "x", SIZE_MAX), MR_NOMEM);
    assert_int_equal(b.n, 2);
    assert_memory_equal(b.p, "ab", 2);
    mr_buffer_release(&b);
}

static struct mr_reader reader_of(const void *p, size_t n)
{
    return (struct mr_reader){p, n, false};
}

static void varints_come_back(void **state)
{
    static const uint64_t some[] = {0, 1, 127, 128, 129, 16383, 16384,
        UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof some / sizeof *some; i++) {
        uint8_t bytes[MR_VARINT_MAX];
        size_t n = mr_put_varint(bytes, some[i]);
        struct mr_reader r = reader_of(bytes, n);
        struct mr_reader cut = reader_of(bytes, n - 1);

        assert_true(mr_read_varint(&r) == some[i]);
        assert_false(r.bad);
        assert_int_equal(r.n, 0);
        assert_true(mr_read_varint(&cut) == 0);
        assert_true(cut.bad);
    }
}

static void varints_have_one_form(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\x80\x00", 2},     /* 0 in two bytes */
        {"\xff\x00", 2},     /* 127 in two bytes */
        {"\xac\x82\x00", 3}, /* 300 in three bytes */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, /* 65 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mr_reader r = reader_of(bad[i].bytes, bad[i].n);

        assert_true(mr_read_varint(&r) == 0);
        assert_true(r.bad);
    }
}

static void reader_stays_bad(void **state)
{
    struct mr_reader r = reader_of("\x01\x02\x03\x04\x05\x06", 6);
    struct mr_span s;

    (void)state;
    assert_int_equal(mr_read_u8(&r), 1);
    assert_int_equal(mr_read_u32(&r), 0x05040302);
    assert_false(r.bad);
    assert_true(mr_read_u64(&r) == 0);
    assert_true(r.bad);
    assert_int_equal(mr_read_u8(&r), 0); /* though one byte is left */
    s = mr_read_bytes(&r, 1);
    assert_int_equal(s.n, 0);
    assert_null(s.p);
}

static void reader_bounds_strings(void **state)
{
    struct mr_reader r = reader_of("\x03yes\x00\x7fno", 8);
    struct mr_reader huge =
        reader_of("\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9);
    struct mr_reader none = reader_of(NULL, 0);
    struct mr_span s = mr_read_string(&r);

    (void)state;
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "yes", 3);
    s = mr_read_string(&r);
    assert_int_equal(s.n, 0);
    assert_false(r.bad);
    s = mr_read_string(&r);
    assert_int_equal(s.n, 0);
    assert_true(r.bad);
    s = mr_read_string(&huge);
    assert_int_equal(s.n, 0);
    assert_true(huge.bad);
    s = mr_read_bytes(&none, 0);
    assert_int_equal(s.n, 0);
    assert_false(none.bad);
}

static int compare(const char *a, const char *b)
{
    struct mr_span x = {(const uint8_t *)a, strlen(a)};
    struct mr_span y = {(const uint8_t *)b, strlen(b)};

    return mr_span_compare(x, y);
}

static void spans_compare_as_bytes(void **state)
{
    struct mr_span none = {NULL, 0};

    (void)state;
    assert_true(compare("a", "b") < 0);
    assert_true(compare("b", "a") > 0);
    assert_true(compare("a", "ab") < 0);
    assert_true(compare("ab", "a") > 0);
    assert_true(compare("", "") == 0);
    assert_true(compare("\xff", "a") > 0);
    assert_true(mr_span_compare(none, none) == 0);
}

/* Published values: the specification's examples of the empty input, and
 * what the xxhsum program (-H1, -H128) prints for "hello". */
static void hashes_are_the_published_ones(void **state)
{
    struct mr_digest d = mr_digest_bytes("hello", 5);
    char text[MR_DIGEST_TEXT];

    (void)state;
    assert_true(mr_hash64("", 0) == UINT64_C(0xEF46DB3751D8E999));
    assert_true(mr_hash64("hello", 5) == UINT64_C(0x26C7827D889F6DA3));
    mr_digest_format(&d, text);
    assert_string_equal(text, "b5e9c1ad071b3e7fc779cfaa5e523818");
    d = mr_digest_bytes("", 0);
    mr_digest_format(&d, text);
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
}

static void digest_in_pieces_is_the_same(void **state)
{
    static uint8_t bytes[5000];
    struct mr_digester *d = mr_digester_new();
    size_t i;
    size_t step;

    (void)state;
    assert_non_null(d);
    for (i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    for (step = 1; step < 3000; step = 2 * step + 1) {
        struct mr_digest whole = mr_digest_bytes(bytes, sizeof bytes);
        struct mr_digest pieces;

        mr_digester_reset(d);
        for (i = 0; i < sizeof bytes; i += step) {
            size_t n = sizeof bytes - i < step ? sizeof bytes - i : step;

            mr_digester_add(d, bytes + i, n);
        }
        pieces = mr_digester_value(d);
        assert_memory_equal(pieces.b, whole.b, sizeof whole.b);
    }
    mr_digester_free(d);
}

static void errors_make_one_sentence(void **state)
{
    struct mr_error err;
    char text[1200];

    (void)state;
    assert_int_equal(mr_fail(&err, MR_FORMAT, 91, "fetch it again and rerun",
                         "truncated %s member", "gzip"),
        MR_FORMAT);
    mr_error_format(&err, text, sizeof text);
    assert_string_equal(
        text, "at byte 91: truncated gzip member; fetch it again and rerun");
    mr_error_subject(&err, "cannot read", "a\nb.json.gz");
    mr_error_subject(&err, "cannot open", "other");
    mr_error_format(&err, text, sizeof text);
    assert_string_equal(text, "cannot read 'a?b.json.gz' at byte 91: truncated "
                              "gzip member; fetch it again and rerun");
    mr_error_format(&err, text, 12);
    assert_string_equal(text, "cannot read");
    (void)mr_fail(&err, MR_USAGE, MR_NOWHERE, NULL, "no such spec");
    mr_error_format(&err, text, sizeof text);
    assert_string_equal(text, "no such spec");
    mr_error_subject(&err, NULL, "x.yaml");
    mr_error_format(&err, text, sizeof text);
    assert_string_equal(text, "'x.yaml': no such spec");
    mr_error_subject(NULL, "a", "b");
    assert_int_equal(mr_fail(NULL, MR_LIMIT, 0, NULL, "x"), MR_LIMIT);
}

static void errors_of_the_system(void **state)
{
    struct mr_error err;
    char want[256];

    (void)state;
    snprintf(want, sizeof want, "open: %s", strerror(ENOENT));
    assert_int_equal(mr_fail_errno(&err, ENOENT, "check", "open"), MR_IO);
    assert_string_equal(err.cause, want);
    assert_string_equal(err.advice, "check");
    assert_int_equal(mr_fail_errno(&err, ENOMEM, NULL, NULL), MR_NOMEM);
    assert_string_equal(err.cause, "out of memory");
    assert_int_equal(mr_fail_nomem(&err), MR_NOMEM);
    assert_true(err.offset == MR_NOWHERE);
}

static void long_parts_are_cut_between_characters(void **state)
{
    struct mr_error err;
    char cause[1000];
    size_t first;
    size_t n;

    (void)state;
    for (first = 0; first < 3; first++) {
        memset(cause, 'a', first);
        for (n = first; n + 3 < sizeof cause; n += 3)
            memcpy(cause + n, "\xe2\x82\xac", 3);
        cause[n] = '\0';
        (void)mr_fail(&err, MR_FORMAT, 0, cause, "%s", cause);
        n = strlen(err.cause);
        assert_in_range(n, sizeof err.cause - 3, sizeof err.cause - 1);
        assert_int_equal((n - first) % 3, 0);
        n = strlen(err.advice);
        assert_in_range(n, sizeof err.advice - 3, sizeof err.advice - 1);
        assert_int_equal((n - first) % 3, 0);
    }
}

static void spares_are_given_back_once(void **state)
{
    static struct mr_spares spares;
    static char thing[MR_SPARES + 1];
    char *left = NULL;
    bool seen[MR_SPARES + 1] = {false};

    (void)state;
    assert_null(mr_spares_take(&spares));
    assert_null(mr_spares_give(&spares, NULL));
    for (size_t i = 0; i < MR_SPARES; i++)
        assert_null(mr_spares_give(&spares, &thing[i]));
    left = mr_spares_give(&spares, &thing[MR_SPARES]);
    assert_non_null(left);
    seen[left - thing] = true;
    for (size_t i = 0; i < MR_SPARES; i++) {
        char *p = mr_spares_take(&spares);

        assert_non_null(p);
        assert_false(seen[p - thing]);
        seen[p - thing] = true;
    }
    assert_null(mr_spares_take(&spares));
}

static void count_one(void *spare)
{
    ++*(char *)spare;
}

static void spares_are_released_once(void **state)
{
    static struct mr_spares spares;
    static char thing[5];

    (void)state;
    for (size_t i = 0; i < 5; i++)
        assert_null(mr_spares_give(&spares, &thing[i]));
    mr_spares_release(&spares, count_one);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(thing[i], 1);
    assert_null(mr_spares_take(&spares));
    mr_spares_release(&spares, count_one);
    assert_null(mr_spares_give(&spares, &thing[0]));
    assert_ptr_equal(mr_spares_take(&spares), &thing[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_appends_in_order),
        cmocka_unit_test(buffer_grows_and_keeps),
        cmocka_unit_test(buffer_refuses_what_cannot_be),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(varints_have_one_form),
        cmocka_unit_test(reader_stays_bad),
        cmocka_unit_test(reader_bounds_strings),
        cmocka_unit_test(spares_are_given_back_once),
        cmocka_unit_test(spares_are_released_once),
        cmocka_unit_test(spans_compare_as_bytes),
        cmocka_unit_test(hashes_are_the_published_ones),
        cmocka_unit_test(digest_in_pieces_is_the_same),
        cmocka_unit_test(errors_make_one_sentence),
        cmocka_unit_test(errors_of_the_system),
        cmocka_unit_test(long_parts_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
