#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/manifest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/folder.h"

/* ---- writing ---- */

/* Text that nobody says is constant. */
#define TEXT(s) ((char[]){s})

static char *names[] = {TEXT("a \"b\", c"), TEXT("date=2024-01-02/x"),
    TEXT("new\nline"), TEXT("plain"), TEXT("plain"), TEXT("\xff\xfe")};
static const uint64_t sizes[] = {20, UINT64_C(1) << 40, 0, 5, 5, 1};
/* By hand: RFC 4180 doubles quotes and quotes what has them, commas, and
 * ends of lines; the sum is that of five files. */
static const char written[] = "partition,bytes\n"
                              "\"a \"\"b\"\", c\",20\n"
                              "date=2024-01-02/x,1099511627776\n"
                              "\"new\nline\",0\n"
                              "plain,5\n"
                              "\xff\xfe,1\n"
                              ",1099511627802\n";
/* Where the digits of a name are: those of the day. */
#define DIGITS_FROM 37
#define DIGITS_TO 46

static struct mr_input inputs[6];

static struct mr_listing make_listing(void)
{
    for (size_t i = 0; i < 6; i++)
        inputs[i] = (struct mr_input){names[i], names[i], sizes[i]};
    return (struct mr_listing){.inputs = inputs, .n = 6};
}

static void test_text(void **state)
{
    struct mr_listing listing = make_listing();
    struct mr_buffer out = {0};
    struct mr_error err;

    (void)state;
    put_bytes("plain", "12345", 5);
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_OK);
    assert_int_equal(out.n, sizeof written - 1);
    assert_memory_equal(out.p, written, out.n);
    mr_buffer_release(&out);
}

static void test_refused_listings(void **state)
{
    struct mr_listing listing = make_listing();
    struct mr_unlisted gone = {
        .name = TEXT("gone"), .cause = "Permission denied"};
    struct mr_buffer out = {0};
    struct mr_error err;
    char sentence[1200];

    (void)state;
    listing.unlisted = &gone;
    listing.n_unlisted = 1;
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_IO);
    mr_error_format(&err, sentence, sizeof sentence);
    assert_non_null(strstr(sentence, "'gone': Permission denied; "));
    listing.n_unlisted = 0;
    inputs[4].size = 6; /* two files of one name */
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_USAGE);
    assert_string_equal(err.path, "plain");
    assert_non_null(strstr(err.cause, "'plain'"));
    inputs[4] = (struct mr_input){TEXT("-"), TEXT("-"), 0};
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_USAGE);
    assert_non_null(strstr(err.cause, "standard input"));
    assert_int_equal(out.n, 0);
    mr_buffer_release(&out);
}

/* Of files with one name and size the bytes decide. */
static void test_one_name(void **state)
{
    struct mr_listing listing = make_listing();
    struct mr_buffer out = {0};
    struct mr_error err;
    const atomic_int stop = 1;

    (void)state;
    inputs[4].path = TEXT("other");
    put_bytes("plain", "12345", 5);
    put_bytes("other", "12345", 5);
    assert_int_equal(mr_manifest_text(&listing, &stop, &out, &err), MR_STOPPED);
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_OK);
    assert_int_equal(out.n, sizeof written - 1);
    mr_buffer_release(&out);
    put_bytes("other", "12346", 5);
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_USAGE);
    assert_string_equal(err.path, "plain");
    assert_non_null(strstr(err.cause, "'other'"));
    inputs[4].path = TEXT("nowhere");
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_IO);
    assert_string_equal(err.path, "nowhere");
    assert_int_equal(out.n, 0);
    mr_buffer_release(&out);
}

/* What is written is read, name by name. */
static void test_round_trip(void **state)
{
    struct mr_listing listing = make_listing();
    struct mr_buffer out = {0};
    struct mr_manifest m;
    struct mr_error err;

    (void)state;
    put_bytes("plain", "12345", 5);
    assert_int_equal(mr_manifest_text(&listing, NULL, &out, &err), MR_OK);
    put_bytes("m.csv", out.p, out.n);
    mr_buffer_release(&out);
    assert_int_equal(mr_manifest_read("m.csv", &m, &err), MR_OK);
    assert_int_equal(m.n, 5);
    assert_int_equal(m.bytes, UINT64_C(1099511627802));
    for (size_t i = 0, k = 0; i < m.n; i++, k++) {
        k += k == 4; /* the second of one name */
        assert_string_equal(m.entry[i].name, names[k]);
        assert_int_equal(m.entry[i].bytes, sizes[k]);
        assert_ptr_equal(
            mr_manifest_find(&m, names[k], strlen(names[k])), &m.entry[i]);
        assert_null(mr_manifest_find(&m, names[k], strlen(names[k]) - 1));
    }
    assert_null(mr_manifest_find(&m, "plainer", 7));
    assert_ptr_equal(mr_manifest_find(&m, "plainer", 5), &m.entry[3]);
    assert_null(mr_manifest_find(&m, "", 0));
    assert_null(mr_manifest_find(&m, "zzz", 3));
    mr_manifest_release(&m);
}

/* ---- reading ---- */

#define HEAD "partition,bytes\n"

static void read_text(
    const char *text, size_t n, enum mr_status want, const char *cause)
{
    struct mr_manifest m;
    struct mr_error err = {.cause = ""};
    char sentence[1200];
    enum mr_status got;

    put_bytes("m.csv", text, n);
    got = mr_manifest_read("m.csv", &m, &err);
    if (got != want || (cause != NULL && strstr(err.cause, cause) == NULL))
        fail_msg("'%.60s' gave %d, '%s'", text, got, err.cause);
    if (want != MR_OK) {
        mr_error_format(&err, sentence, sizeof sentence);
        assert_non_null(strstr(sentence, "cannot use manifest 'm.csv'"));
        assert_true(err.advice[0] != '\0');
    }
    mr_manifest_release(&m);
}

static void test_good_texts(void **state)
{
    static const char *const texts[] = {
        HEAD ",0\n",
        HEAD "a,0\n,0\n",
        "partition,bytes\r\na,1\r\nb,2\r\n,3\r\n",
        HEAD "\"a\",1\n\"b,\"\"\n\",2\n,3\n",
        HEAD "a,18446744073709551615\n,18446744073709551615\n",
        HEAD "a,007\n,7\n",
        HEAD "a b ,1\n,1\n", /* blanks are part of a name */
        HEAD "\xc3,1\n\xc3\xa9,2\n,3\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        read_text(texts[i], strlen(texts[i]), MR_OK, NULL);
}

static void test_bad_texts(void **state)
{
    static const struct {
        const char *text, *cause;
    } table[] = {
        {"", "line 1: "},
        {"partition", "line 1: "},
        {"partition,bytes", "line 1: "},
        {"partition,bytes,more\n,0\n", "line 1: "},
        {"name,digest\n", "line 1: it is not 'partition,bytes'"},
        {"\xef\xbb\xbfpartition,bytes\n,0\n", "line 1: "},
        {HEAD, "line 2: the last row, with the sum of bytes, is missing"},
        {HEAD "a,1\n", "line 3: the last row"},
        {HEAD "a,1\n,1", "line 3: it has no end"},
        {HEAD "a,1\n,2\n", "line 3: the sum of bytes"},
        {HEAD "a,1\n,0\n", "line 3: the sum of bytes"},
        {HEAD "a,1\n,1\nb,1\n", "line 4: more follows the last row"},
        {HEAD "a,1\n,1\n\n", "line 4: more follows the last row"},
        {HEAD "a\n,0\n", "line 2: it is not a name, a comma and a number"},
        {HEAD "a,\n,0\n", "line 2: no number of bytes"},
        {HEAD "a,-1\n,0\n", "line 2: no number of bytes"},
        {HEAD "a,1.5\n,1\n", "line 2: more follows the number"},
        {HEAD "a,1,2\n,1\n", "line 2: more follows the number"},
        {HEAD "a,0x1\n,1\n", "line 2: more follows the number"},
        {HEAD "a,1 \n,1\n", "line 2: more follows the number"},
        {HEAD "a, 1\n,1\n", "line 2: no number of bytes"},
        {HEAD "a,18446744073709551616\n,0\n", "line 2: a number of bytes"},
        {HEAD "a,18446744073709551615\nb,1\n,0\n", "line 3: a sum of bytes"},
        {HEAD "b,1\na,1\n,2\n", "line 3: the name 'a' does not ascend"},
        {HEAD "a,1\na,1\n,2\n", "line 3: the name 'a' stands there twice"},
        {HEAD "a,1\n\"a\",1\n,2\n", "line 3: the name 'a' stands there twice"},
        {HEAD "\"a,1\n,1\n", "line 2: a name's quote does not end"},
        {HEAD "\"a\"\"", "line 2: a name's quote does not end"},
        {HEAD "\"a\"", "line 2: no comma follows the name"},
        {HEAD "\"a\"b,1\n,1\n", "line 2: no comma follows the name"},
        {HEAD "\"\",1\n,1\n", "line 2: a name in quotes that is empty"},
        {HEAD "a\"b,1\n,1\n", "line 2: it is not a name"},
        {HEAD "a\r,1\n,1\n", "line 2: it is not a name"},
        {HEAD "\n,0\n", "line 2: it is not a name"},
        {HEAD "\"a\nb\nc\",1\nd,x\n", "line 5: no number of bytes"},
        {HEAD "a,1\r", "line 2: it has no end"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        read_text(
            table[i].text, strlen(table[i].text), MR_FORMAT, table[i].cause);
    read_text(
        HEAD "a\0b,1\n,1\n", sizeof HEAD "a\0b,1\n,1\n" - 1, MR_FORMAT, "NUL");
}

/* However short it has been cut, it is not taken for whole; and no byte that
 * has changed in a number goes unseen. */
static void test_cuts_and_changes(void **state)
{
    char text[sizeof written];

    (void)state;
    for (size_t n = 0; n < sizeof written - 1; n++)
        read_text(written, n, MR_FORMAT, "");
    for (size_t i = sizeof HEAD - 1; i < sizeof written - 1; i++) {
        struct mr_manifest m;
        struct mr_error err;

        if (written[i] < '0' || written[i] > '9')
            continue;
        memcpy(text, written, sizeof text);
        text[i] = (char)(text[i] == '9' ? '8' : text[i] + 1);
        put_bytes("m.csv", text, sizeof text - 1);
        /* Digits of a name may change, of a size they may not. */
        assert_int_equal(mr_manifest_read("m.csv", &m, &err),
            i >= DIGITS_FROM && i <= DIGITS_TO ? MR_OK : MR_FORMAT);
        mr_manifest_release(&m);
    }
}

static void test_long_names(void **state)
{
    static char text[70000];
    const size_t n = sizeof HEAD - 1, most = MR_MANIFEST_NAME_MAX_BYTES;

    (void)state;
    memcpy(text, HEAD, n);
    memset(text + n, 'a', most + 1);
    strcpy(text + n + most, ",1\n,1\n");
    read_text(text, strlen(text), MR_OK, NULL);
    memset(text + n, 'a', most + 1);
    strcpy(text + n + most + 1, ",1\n,1\n");
    read_text(text, strlen(text), MR_FORMAT, "line 2: a name that is too long");
}

static void test_no_file(void **state)
{
    struct mr_manifest m;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_manifest_read("none.csv", &m, &err), MR_USAGE);
    mr_manifest_release(&m);
    assert_int_equal(mr_manifest_read(".", &m, &err), MR_IO);
    mr_manifest_release(&m);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_text),
        cmocka_unit_test(test_refused_listings),
        IN_FOLDER(test_round_trip),
        IN_FOLDER(test_one_name),
        IN_FOLDER(test_good_texts),
        IN_FOLDER(test_bad_texts),
        IN_FOLDER(test_cuts_and_changes),
        IN_FOLDER(test_long_names),
        IN_FOLDER(test_no_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
