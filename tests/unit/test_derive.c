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

#include "mr/calendar.h"
#include "mr/derive.h"
#include "mr/text.h"
#include "tests/unit/random.h"

/* Memory of just that size, so that tools see any overrun. */
static uint8_t *memory(const void *p, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);

    assert_non_null(copy);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

static void assert_span(struct mr_span span, const char *want, const char *of)
{
    if (want == NULL ? span.p != NULL
                     : span.p == NULL || span.n != strlen(want) ||
                           memcmp(span.p, want, span.n) != 0)
        fail_msg("%s: '%.*s' for '%s'", of, (int)span.n,
            span.p == NULL ? "" : (const char *)span.p,
            want == NULL ? "nothing" : want);
}

/* A host or "", and steps joined by a bar, a character in none of them. */
struct sample {
    const char *text, *host, *steps;
};

static void check_sample(const struct sample *sample)
{
    size_t n = strlen(sample->text);
    uint8_t *text = memory(sample->text, n), *scratch = malloc(n + 1);
    const char *steps = sample->steps;
    struct mr_url url;

    assert_non_null(scratch);
    scratch[n] = 0xa5;
    mr_url_read((struct mr_span){text, n}, scratch, &url);
    assert_span(
        url.host, *sample->host == '\0' ? NULL : sample->host, sample->text);
    for (unsigned i = 1; i <= MR_URL_STEPS; i++) {
        char step[100];
        size_t length = strcspn(steps, "|");

        assert_int_equal(
            snprintf(step, sizeof step, "%.*s", (int)length, steps), length);
        assert_span(
            mr_url_step(&url, i), *steps == '\0' ? NULL : step, sample->text);
        steps += length + (steps[length] == '|');
    }
    assert_null(mr_url_step(&url, 0).p);
    assert_null(mr_url_step(&url, MR_URL_STEPS + 1).p);
    assert_int_equal(scratch[n], 0xa5);
    free(text);
    free(scratch);
}

#define CHECK(table)                                                           \
    for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)               \
    check_sample(&(table)[i])

/* Sections 1.1.2, 3, 5.2.4 and 7.6 of RFC 3986. */
static void urls_of_rfc_3986(void **state)
{
    static const struct sample table[] = {
        {"ftp://ftp.is.co.za/rfc/rfc1808.txt", "ftp.is.co.za",
            "rfc|rfc1808.txt"},
        {"http://www.ietf.org/rfc/rfc2396.txt", "www.ietf.org",
            "rfc|rfc2396.txt"},
        {"ldap://[2001:db8::7]/c=GB?objectClass?one", "[2001:db8::7]", "c=GB"},
        {"mailto:John.Doe@example.com", "", ""},
        {"news:comp.infosystems.www.servers.unix", "", ""},
        {"tel:+1-816-555-1212", "", ""},
        {"telnet://192.0.2.16:80/", "192.0.2.16", ""},
        {"urn:oasis:names:specification:docbook:dtd:xml:4.1.2", "", ""},
        {"foo://example.com:8042/over/there?name=ferret#nose", "example.com",
            "over|there"},
        {"urn:example:animal:ferret:nose", "", ""},
        {"/a/b/c/./../../g", "", "a|g"},
        {"mid/content=5/../6", "", "mid|6"},
        {"ftp://cnn.example.com&story=breaking_news@10.0.0.1/top_story.htm",
            "10.0.0.1", "top_story.htm"},
    };

    (void)state;
    CHECK(table);
}

/* What the URL Standard, and the tests of its implementations, say. */
static void urls_of_whatwg(void **state)
{
    static const struct sample table[] = {
        {"http://user:pass@foo:21/bar;par?b#c", "foo", "bar;par"},
        {"https://test:@test", "test", ""},
        {"http://a:b@www.example.com", "www.example.com", ""},
        {"http://:b@www.example.com", "www.example.com", ""},
        {"http://@pple.com", "pple.com", ""},
        {"http://::@c@d:2", "d", ""},
        {"http://foo.com:b@d/", "d", ""},
        {"  http://EXAMPLE.com/x \n", "example.com", "x"},
        {"http://f:/c", "f", "c"},
        {"http://f:0/c", "f", "c"},
        {"http://f:00000000000000000000080/c", "f", "c"},
        {"http://f:65535/c", "f", "c"},
        {"http://f:65536/c", "", ""},
        {"http://f:b/c", "", ""},
        {"http://f: 21 / b ? d # e ", "", ""},
        {"http://[1::2]:3:4", "", ""},
        {"http://2001::1", "", ""},
        {"http://2001::1]", "", ""},
        {"http://[2001::1]", "[2001::1]", ""},
        {"http://[2001::1]:80", "[2001::1]", ""},
        {"http://[::127.0.0.1]", "[::127.0.0.1]", ""},
        {"http://[2001:DB8::1]/", "[2001:db8::1]", ""},
        {"http://[www.google.com]/", "", ""},
        {"http://[::1", "", ""},
        {"http://[::1]a", "", ""},
        {"http://[::1%2f]", "", ""},
        {"http://[]/", "", ""},
        {"http://%65xample.COM", "example.com", ""},
        {"http://EX%41MPLE.com", "example.com", ""},
        {"http://ho%20st/", "", ""},
        {"http://ho%3Ast/", "", ""},
        {"http://ho%5Bst/", "", ""},
        {"http://ho%7Cst/", "", ""},
        {"http://ho%25st/", "", ""},
        {"http://ho%00st/", "", ""},
        {"http://ho%st/", "", ""},
        {"http://%ff.com/", "", ""},
        {"http://ho st/", "", ""},
        {"http://ho<st/", "", ""},
        {"http://ho^st/", "", ""},
        {"http://ho\x7fst/x", "", ""},
        {"http://!\"$&'()*+,-.;=_`{}~/", "!\"$&'()*+,-.;=_`{}~", ""},
        {"http://example.com/foo/../../../ton", "example.com", "ton"},
        {"http://example.com/foo/%2e%2", "example.com", "foo|.%2"},
        {"http://example.com/foo/%2e./%2E%2e/.%2e/%2e.bar", "example.com",
            "..bar"},
        {"http://example.com////../..", "example.com", ""},
        {"http://example.com/foo/bar//../..", "example.com", ""},
        {"http://example.com/foo%41%7a", "example.com", "fooAz"},
        {"http://example.com/foo%", "example.com", "foo%"},
        {"http://example.com/foo%2", "example.com", "foo%2"},
        {"http://example.com/foo%2zbar", "example.com", "foo%2zbar"},
        {"http://example.com/(%28:%3A%29)", "example.com", "((::))"},
        {"http://example.com/foo%00%51", "example.com", "foo%00%51"},
        {"http://example.com?x=/y", "example.com", ""},
        {"http://example.com#/y", "example.com", ""},
        {"file:///foo%3Fbar.txt", "", "foo?bar.txt"},
        {"//foo/bar", "foo", "bar"},
        {"//", "", ""},
        {"///test", "", "test"},
        {"javascript:example.com/", "", ""},
        {"about:blank", "", ""},
        {"data:text/html,test#test", "", ""},
        {"tel:911", "", ""},
    };

    (void)state;
    CHECK(table);
}

/* What people's logs have. */
static void urls_without_scheme(void **state)
{
    static const struct sample table[] = {
        {"", "", ""},
        {" ", "", ""},
        {"https://www.HiPages.com:443/connect/sfobusiness?a=/b#c",
            "www.hipages.com", "connect|sfobusiness"},
        {"//user@[2001:DB8::1]:80/x//y/", "[2001:db8::1]", "x|y"},
        {"http://a.b/c%2Fd/m%C3%BCller/1+1/%ff", "a.b",
            "c/d|m\xc3\xbcller|1+1|%ff"},
        {"http://a.b/c/./d/../e", "a.b", "c|e"},
        {"mailto:ann@a.b", "", ""},
        {"/", "", ""},
        {"?q=/x", "", ""},
        {"#/x", "", ""},
        {"hipages.com/articles", "hipages.com", "articles"},
        {"hipages.com", "hipages.com", ""},
        {"WWW.HiPages.com/Connect/sfobusiness?a=b/c", "www.hipages.com",
            "Connect|sfobusiness"},
        {"hipages.com:8080/articles", "hipages.com", "articles"},
        {"localhost", "localhost", ""},
        {"LocalHost:3000/x", "localhost", "x"},
        {"localhosts/x", "", "localhosts|x"},
        {"127.0.0.1:80/x", "127.0.0.1", "x"},
        {"[::1]:80/x", "[::1]", "x"},
        {"m\xc3\xbcller.de/\xc3\xbc", "m\xc3\xbcller.de", "\xc3\xbc"},
        {"index.html", "index.html", ""},
        {"/articles/x", "", "articles|x"},
        {"articles/x", "", "articles|x"},
        {"./x.y/z", "", "x.y|z"},
        {"../x", "", "x"},
        {".htaccess", "", ".htaccess"},
        {".x.y/z", "", ".x.y|z"},
        {"end.", "", "end."},
        {"two words.com/x", "", "two words.com|x"},
        {"a@b.com/x", "", "a@b.com|x"},
        {"a.b:c/x", "", ""},
        {"a.b:/x", "", "x"},
        {"user:word@a.b/x", "", ""},
        {"http://a/b%2Fc%2fd/e", "a", "b/c/d|e"},
        {"http://a/b+c%2B/%C3%BC", "a", "b+c+|\xc3\xbc"},
        {"http://a/%C3/%C3%28", "a", "%C3|%C3%28"},
        {"http://a//b///c/", "a", "b|c"},
        {"http://a/b\\c", "a", "b\\c"},
        {"http://a\\b/c", "", ""},
        {"http://a./b", "a.", "b"},
        {"1/2/3/4/5/6/7/8/9/10", "", "1|2|3|4|5|6|7|8|9"},
        {"/1/2/3/4/5/6/7/8/9/10/../../../8b/9%62/10", "",
            "1|2|3|4|5|6|7|8b|9b"},
        {"/1/2/3/4/5/6/7/8/9/10/../11/..", "", "1|2|3|4|5|6|7|8|9"},
    };

    (void)state;
    CHECK(table);
}

/* Append characters, as they are or percent-encoded. */
static void add_any_text(struct mr_buffer *url, char *out, const char *from)
{
    size_t n = 1 + any(6), length = 0;

    for (; n > 0; n--) {
        char c = from[any(strlen(from))], hex[4];

        out[length++] = c;
        (void)snprintf(hex, sizeof hex, any(2) ? "%%%02X" : "%%%02x",
            (unsigned)(unsigned char)c);
        if (any(3) == 0 || strchr(" /?#%", c) != NULL)
            assert_int_equal(mr_buffer_add(url, hex, 3), MR_OK);
        else
            assert_int_equal(mr_buffer_add(url, &c, 1), MR_OK);
    }
    out[length] = '\0';
}

static void add(struct mr_buffer *b, const char *s)
{
    assert_int_equal(mr_buffer_add(b, s, strlen(s)), MR_OK);
}

/* URLs are put together from parts, which then come back. */
static void parts_come_back(void **state)
{
    static const char *const before[] = {
        "http://", "HTTPS://", "//", "x+y-1.2://", "http://u@", "//u:p@q@"};
    static const char *const after[] = {
        "", "/", "?", "#", "?a=/b", "#/c?d", "/?x", "//"};

    (void)state;
    for (unsigned round = rounds(20000); round > 0; round--) {
        char host[16], step[12][16];
        size_t n_steps = any(12);
        struct mr_buffer text = {0};
        struct mr_url url;
        uint8_t *scratch;

        add(&text, before[any(6)]);
        add_any_text(&text, host, "abcXYZ019-.");
        if (any(3) == 0)
            add(&text, ":8080");
        for (size_t i = 0; i < n_steps; i++) {
            add(&text, any(5) ? "/" : any(2) ? "//" : "/./");
            if (any(8) == 0)
                add(&text, "gone/%2E./");
            add_any_text(&text, step[i], "abcABC /?#%+&=~:@");
        }
        add(&text, after[any(8)]);
        scratch = malloc(text.n);
        assert_non_null(scratch);
        mr_url_read((struct mr_span){text.p, text.n}, scratch, &url);
        for (size_t i = 0; host[i] != '\0'; i++)
            host[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + 32
                                                              : host[i]);
        assert_span(url.host, host, "host");
        for (unsigned i = 0; i < MR_URL_STEPS; i++)
            assert_span(
                mr_url_step(&url, i + 1), i < n_steps ? step[i] : NULL, "step");
        free(scratch);
        mr_buffer_release(&text);
    }
}

/* Parts of any text are stretches of it or of scratch, where it had them. */
static bool is_within(struct mr_span part, const uint8_t *p, size_t n)
{
    return part.p >= p && part.p + part.n <= p + n;
}

static void any_text_is_taken_apart(void **state)
{
    static const char *const bit[] = {"http:", "/", "//", "?", "#", "@", ":",
        "[", "]", "%", "%41", "%2e", ".", "..", "a", "A", "80", " ", "\\",
        "localhost", "\xc3\xbc", "%C3", "%bc", "\xff", "\t", "www.x.y"};

    (void)state;
    for (unsigned round = rounds(200000); round > 0; round--) {
        struct mr_buffer b = {0};
        uint8_t *text, *scratch;
        struct mr_url url;

        for (uint64_t n = any(12); n > 0; n--)
            add(&b, bit[any(sizeof bit / sizeof *bit)]);
        text = memory(b.p, b.n);
        scratch = memory(b.p, b.n);
        mr_url_read((struct mr_span){text, b.n}, scratch, &url);
        assert_in_range(url.n_steps, 0, MR_URL_STEPS);
        assert_true(url.host.p == NULL ||
                    (url.host.n > 0 && (is_within(url.host, text, b.n) ||
                                           is_within(url.host, scratch, b.n))));
        for (unsigned i = 0; i < url.n_steps; i++) {
            struct mr_span step = url.step[i];

            assert_true(step.n > 0);
            assert_true(
                is_within(step, text, b.n) || is_within(step, scratch, b.n));
        }
        /* A part that stands in the text stays as it is written there, and
         * none was decoded over another. */
        assert_memory_equal(text, b.p == NULL ? text : b.p, b.n);
        free(text);
        free(scratch);
        mr_buffer_release(&b);
    }
}

static void percent_signs_are_decoded(void **state)
{
    static const struct {
        const char *text, *want;
    } table[] = {
        {"", ""}, {"plain", "plain"}, {"%", "%"}, {"%4", "%4"},
        {"%4g%41", "%4gA"}, {"%41%", "A%"}, {"%2541", "%41"}, {"a+b", "a+b"},
        {"%e2%82%AC", "\xe2\x82\xac"}, {"%e2%82", "%e2%82"},
        {"%41%ff", "%41%ff"}, {"%00", "%00"}, {"%0a", "\n"},
        {"%ed%a0%80", "%ed%a0%80"}, /* a surrogate */
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t n = strlen(table[i].text);
        uint8_t *text = memory(table[i].text, n), *scratch = malloc(n + 1);

        assert_non_null(scratch);
        assert_span(mr_percent_decode((struct mr_span){text, n}, scratch),
            table[i].want, table[i].text);
        free(text);
        free(scratch);
    }
}

static void folders_have_values(void **state)
{
    static const struct {
        const char *name, *want;
    } table[] = {
        {"k=v/file", "v"},
        {"a/k=v/b/file", "v"},
        {"k=v", NULL},
        {"k=1/k=2/x", "2"},
        {"k=1/k=/x", NULL},
        {"k=a%2Fb%25/x", "a/b%"},
        {"k=a=b/x", "a=b"},
        {"K=v/kk=v/=k/k/x", NULL},
        {"k=__HIVE_DEFAULT_PARTITION__/x", NULL},
        {"k=\xff%41/x", "\xef\xbf\xbd%41"},
        {"", NULL},
        {"/", NULL},
    };
    struct mr_buffer out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        bool found = table[i].want == NULL;

        assert_int_equal(
            mr_folder_value(table[i].name, "k", &out, &found), MR_OK);
        assert_int_equal(found, table[i].want != NULL);
        if (found)
            assert_span(
                (struct mr_span){out.p, out.n}, table[i].want, table[i].name);
        else
            assert_int_equal(out.n, 0);
    }
    mr_buffer_release(&out);
}

static void hours_are_written(void **state)
{
    char text[MR_HOUR_TEXT];
    int32_t day;

    (void)state;
    assert_true(mr_day_from_civil(2017, 2, 2, &day));
    mr_hour_format(day, 20, text);
    assert_string_equal(text, "2017020220");
    mr_hour_format(0, 0, text);
    assert_string_equal(text, "1970010100");
    mr_hour_format(-1, 23, text); /* west of Greenwich */
    assert_string_equal(text, "1969123123");
    mr_hour_format(MR_DAY_END, 9, text);
    assert_string_equal(text, "2200010109");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_of_rfc_3986),
        cmocka_unit_test(urls_of_whatwg),
        cmocka_unit_test(urls_without_scheme),
        cmocka_unit_test(parts_come_back),
        cmocka_unit_test(any_text_is_taken_apart),
        cmocka_unit_test(percent_signs_are_decoded),
        cmocka_unit_test(folders_have_values),
        cmocka_unit_test(hours_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
