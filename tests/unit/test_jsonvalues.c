#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/fields.h"
#include "mr/jsonvalues.h"
#include "mr/jsonwalk.h"
#include "mr/stream_private.h"
#include "tests/unit/random.h"

/*
 * Texts are read in pieces of one byte, of a few and whole, mapped and not.
 * What is given must be what a recursive reading of the whole text finds,
 * which is written here from docs/json.md: values and where they begin, what
 * is broken, or where a document has its fault.
 */

/* ---- texts ---- */

static struct mr_buffer text;

static void put(const char *s)
{
    assert_int_equal(mr_buffer_add(&text, s, strlen(s)), MR_OK);
}

static void put_bytes(int c, size_t n)
{
    assert_int_equal(mr_buffer_reserve(&text, text.n + n), MR_OK);
    memset(text.p + text.n, c, n);
    text.n += n;
}

static void put_white(void)
{
    static const char *const some[] = {
        "", "", "", " ", "\n", "\r\n", "\t", "\n  ", " \n"};

    put(some[any(9)]);
}

static void put_string(void)
{
    static const char *const some[] = {"a", "b c", "\\n", "\\\"", "\\\\", "{",
        "}", "}{", "[", "]", ",", ":", "\xc3\xa9", "\xf0\x9f\x98\x80",
        "\\u00e9", "\\ud83d\\ude00", "0123456789abcdefghijklmnopqrstuvwxyz"};

    put("\"");
    for (uint64_t n = any(5); n > 0; n--)
        put(some[any(17)]);
    put("\"");
}

static void put_value(unsigned depth)
{
    static const char *const scalar[] = {
        "0", "-12", "3.25", "1e5", "-0.5E-7", "true", "false", "null"};
    uint64_t kind = any(depth > 0 ? 6 : 3);
    const char *close = kind < 4 ? "}" : "]";

    if (kind == 0) {
        put(scalar[any(8)]);
        return;
    }
    if (kind < 3) {
        put_string();
        return;
    }
    put(kind < 4 ? "{" : "[");
    for (uint64_t n = any(4), i = 0; i < n; i++) {
        put(i > 0 ? "," : "");
        put_white();
        if (kind < 4) {
            put_string();
            put_white();
            put(":");
            put_white();
        }
        put_value(depth - 1);
        put_white();
    }
    put(close);
}

static void spoil(void)
{
    static const char some[] = "{}[]:,\"\\\n 01-e.tnu\xc3\xa9\xed\xa0\x01";

    for (uint64_t n = any(4); n > 0 && text.n > 0; n--) {
        size_t at = (size_t)any(text.n);

        switch (any(4)) {
        case 0:
            text.n = any(4) == 0 ? at : text.n;
            break;
        case 1:
            memmove(text.p + at, text.p + at + 1, text.n - at - 1);
            text.n--;
            break;
        default:
            text.p[at] = (uint8_t)some[any(sizeof some - 1)];
        }
    }
}

/* ---- the recursive reading ---- */

enum result { FINE, FAULT, DEEP, CUT };

struct ref {
    const uint8_t *p;
    size_t n;
    bool strict;
    unsigned depth, depth_max;
    enum result result;
    size_t at;  /* of a fault */
    bool brace; /* a fault behind a brace that closed a value */
};

static size_t stop(struct ref *r, enum result result, size_t at)
{
    r->result = result;
    r->at = at;
    return at;
}

static size_t white(const struct ref *r, size_t i)
{
    while (i < r->n && strchr(" \t\r\n", r->p[i]) && r->p[i] != '\0')
        i++;
    return i;
}

/* A character of UTF-8, begun at i: each byte must leave a code point
 * possible. */
static size_t ref_character(struct ref *r, size_t i)
{
    uint32_t lead = r->p[i], code, least;
    unsigned more;

    if (lead < 0xC0 || lead > 0xF7)
        return stop(r, FAULT, i);
    more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
    code = lead & (0x3Fu >> more);
    for (unsigned k = 0;; k++) {
        uint32_t low = code << 6 * (more - k);
        uint32_t high = low | ((1u << 6 * (more - k)) - 1);

        if (high < least || low > 0x10FFFF || (low >= 0xD800 && high <= 0xDFFF))
            return stop(r, FAULT, i + k);
        if (k == more)
            return i + k + 1;
        if (i + k + 1 == r->n)
            return stop(r, CUT, r->n);
        if ((r->p[i + k + 1] & 0xC0) != 0x80)
            return stop(r, FAULT, i + k + 1);
        code = code << 6 | (r->p[i + k + 1] & 0x3F);
    }
}

/* Four digits; -1 after a fault. */
static long ref_digits(struct ref *r, size_t i)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    char four[5] = "";

    for (size_t k = 0; k < 4; k++) {
        if (i + k >= r->n) {
            stop(r, CUT, r->n);
            return -1;
        }
        if (r->p[i + k] == 0 || !strchr(digits, r->p[i + k])) {
            stop(r, FAULT, i + k);
            return -1;
        }
        four[k] = (char)r->p[i + k];
    }
    return strtol(four, NULL, 16);
}

/* Behind the \u at i. */
static size_t ref_unicode(struct ref *r, size_t i)
{
    long unit = ref_digits(r, i), low;

    if (unit < 0)
        return i;
    if (unit < 0xD800 || unit > 0xDFFF)
        return i + 4;
    if (unit > 0xDBFF)
        return stop(r, FAULT, i + 3);
    for (size_t k = 4; k < 6; k++) {
        if (i + k >= r->n)
            return stop(r, CUT, r->n);
        if (r->p[i + k] != "\\u"[k - 4])
            return stop(r, FAULT, i + k);
    }
    low = ref_digits(r, i + 6);
    if (low >= 0 && (low < 0xDC00 || low > 0xDFFF))
        return stop(r, FAULT, i + 9);
    return i + 10;
}

/* Behind the quote at i; the end is behind the other. */
static size_t ref_string(struct ref *r, size_t i)
{
    for (i++; r->result == FINE;) {
        if (i >= r->n)
            return stop(r, CUT, r->n);
        if (r->p[i] == '"')
            return i + 1;
        if (r->strict ? r->p[i] < 0x20 : r->p[i] == '\n')
            return stop(r, FAULT, i);
        if (r->p[i] == '\\') {
            if (++i >= r->n)
                return stop(r, CUT, r->n);
            if (r->strict && r->p[i] == 'u')
                i = ref_unicode(r, i + 1);
            else if (r->strict ? r->p[i] == 0 || !strchr("\"\\/bfnrt", r->p[i])
                               : r->p[i] == '\n')
                return stop(r, FAULT, i);
            else
                i++;
        } else if (r->strict && r->p[i] >= 0x80) {
            i = ref_character(r, i);
        } else {
            i++;
        }
    }
    return i;
}

static size_t digits(const struct ref *r, size_t i)
{
    while (i < r->n && r->p[i] >= '0' && r->p[i] <= '9')
        i++;
    return i;
}

/* At least one digit must be at i. */
static size_t some_digits(struct ref *r, size_t i)
{
    size_t end = digits(r, i);

    return end > i ? end : stop(r, i >= r->n ? CUT : FAULT, i);
}

static bool is_at(const struct ref *r, size_t i, const char *set)
{
    return i < r->n && r->p[i] != 0 && strchr(set, r->p[i]) != NULL;
}

static size_t ref_scalar(struct ref *r, size_t i)
{
    static const char *const words[] = {"true", "false", "null"};

    for (unsigned k = 0; k < 3; k++) {
        if (r->p[i] != (uint8_t)words[k][0])
            continue;
        for (size_t j = 0; words[k][j] != '\0'; j++, i++)
            if (i >= r->n || r->p[i] != (uint8_t)words[k][j])
                return stop(r, i >= r->n ? CUT : FAULT, i);
        return i;
    }
    i += r->p[i] == '-';
    i = is_at(r, i, "0") ? i + 1 : some_digits(r, i);
    if (r->result == FINE && is_at(r, i, "."))
        i = some_digits(r, i + 1);
    if (r->result == FINE && is_at(r, i, "eE")) {
        i++;
        i = some_digits(r, i + is_at(r, i, "+-"));
    }
    return i;
}

static size_t ref_value(struct ref *r, size_t i);

/* Members or elements, behind the opening bracket at i. */
static size_t ref_within(struct ref *r, size_t i)
{
    bool object = r->p[i] == '{';
    const char *close = object ? "}" : "]";
    bool first = true;

    for (i = white(r, i + 1);; i = white(r, i)) {
        r->brace = !first && r->p[i - 1] == '}';
        if (i >= r->n)
            return stop(r, CUT, r->n);
        if (first && is_at(r, i, close))
            return i + 1;
        if (object) {
            if (!is_at(r, i, "\""))
                return stop(r, FAULT, i);
            i = ref_string(r, i);
            if (r->result == FINE)
                i = white(r, i);
            if (r->result == FINE && !is_at(r, i, ":"))
                return stop(r, i >= r->n ? CUT : FAULT, i);
            i++;
        }
        if (r->result == FINE)
            i = ref_value(r, white(r, i));
        if (r->result != FINE)
            return i;
        first = false;
        r->brace = r->p[i - 1] == '}';
        i = white(r, i);
        if (is_at(r, i, close))
            return i + 1;
        if (!is_at(r, i, ","))
            return stop(r, i >= r->n ? CUT : FAULT, i);
        r->brace = false;
        i++;
    }
}

static size_t ref_value(struct ref *r, size_t i)
{
    if (i >= r->n)
        return stop(r, CUT, r->n);
    if (is_at(r, i, "{[")) {
        if (r->depth >= r->depth_max)
            return stop(r, DEEP, i);
        r->depth++;
        i = ref_within(r, i);
        r->depth -= r->result == FINE;
        return i;
    }
    r->brace = false;
    if (is_at(r, i, "\""))
        return ref_string(r, i);
    if (r->strict || r->depth == 0)
        return ref_scalar(r, i);
    if (is_at(r, i, "}],:"))
        return stop(r, FAULT, i);
    while (i < r->n && !is_at(r, i, "{}[],:\" \t\r\n"))
        i++;
    return i;
}

/* ---- what must be given ---- */

struct given {
    uint64_t start;
    struct mr_span span; /* in a buffer that is not shown */
    bool whole, too_long;
};

static struct given list[20000];
static size_t n_list;
static struct mr_buffer copy; /* of the texts */

static void must_give(size_t start, size_t end, bool raw, bool gaps)
{
    size_t from = copy.n;
    bool feed;

    while (end > start &&
           is_at(&(struct ref){text.p, text.n, .depth = 0}, end - 1, " \t\r\n"))
        end--;
    feed = memchr(text.p + start, '\n', end - start) != NULL;
    assert_true(n_list < 20000);
    assert_int_equal(mr_buffer_reserve(&copy, (size_t)1 << 24), MR_OK);
    assert_true(copy.n + end - start < (size_t)1 << 24);
    list[n_list].start = start;
    list[n_list].whole = raw && feed;
    list[n_list].too_long = false;
    for (size_t i = start; i < end && !gaps; i++)
        copy.p[copy.n++] =
            text.p[i] == '\n' && !(raw && feed) ? ' ' : text.p[i];
    list[n_list++].span = (struct mr_span){copy.p + from, copy.n - from};
}

static void find_values(void)
{
    struct ref r = {text.p, text.n, .depth_max = MR_JSON_DEPTH_MAX};
    size_t i = text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    n_list = copy.n = 0;
    while ((i = white(&r, i)) < r.n) {
        size_t start = i, end;
        bool brace;

        r.result = FINE;
        r.depth = 0;
        end = ref_value(&r, i);
        if (r.result == FINE || r.result == CUT) {
            i = r.result == FINE ? end : r.n;
            must_give(start, i, false, false);
            continue;
        }
        brace = r.brace;
        for (end = r.at; end < r.n; end++) {
            uint8_t c = r.p[end];

            if (r.depth == 0 ? c == '{' || c == '\n'
                             : c == '{' && (brace || r.p[end - 1] == '\n'))
                break;
            if (!is_at(&r, end, " \t\r\n"))
                brace = c == '}';
        }
        must_give(start, end, true, false);
        assert_int_not_equal(
            mr_json_check(list[n_list - 1].span, 1000), MR_LINE_VALUE);
        i = end;
    }
}

/* An element by its brackets alone: text without white space around what
 * stands outside of brackets, but for a blank. */
static size_t ref_element(struct ref *r, size_t i, bool *raw)
{
    char open[400];
    size_t n = 0;

    for (; i < r->n; i++) {
        uint8_t c = r->p[i];

        if (c == '"') {
            for (i++; i < r->n && r->p[i] != '"'; i++) {
                *raw |= r->p[i] == '\n';
                if (r->p[i] == '\\' && ++i < r->n)
                    *raw |= r->p[i] == '\n';
            }
        } else if (is_at(r, i, "{[")) {
            assert_true(n < sizeof open);
            open[n++] = c == '{' ? '}' : ']';
        } else if (n == 0 && is_at(r, i, ",]")) {
            return i;
        } else if (is_at(r, i, "}]")) {
            if (n == 0 || open[n - 1] != (char)c)
                return stop(r, FAULT, i);
            n--;
        }
    }
    return stop(r, CUT, r->n);
}

/* Its text: white space outside of brackets is a blank. */
static void give_element(struct ref *r, size_t start, size_t end, bool raw)
{
    size_t depth = 0;

    must_give(start, end, raw, true);
    for (size_t i = start; i < end; i++) {
        size_t from = i;

        if (r->p[i] == '"') {
            for (i++; r->p[i] != '"'; i++)
                i += r->p[i] == '\\';
            for (; from < i; from++)
                copy.p[copy.n++] = r->p[from];
        } else if (depth == 0 && white(r, i) > i) {
            i = white(r, i) - 1;
            if (i + 1 < end)
                copy.p[copy.n++] = ' ';
            continue;
        }
        depth += is_at(r, i, "{[");
        depth -= is_at(r, i, "}]");
        copy.p[copy.n++] = r->p[i] == '\n' && !raw ? ' ' : r->p[i];
    }
    list[n_list - 1].whole = raw;
    list[n_list - 1].span.n =
        (size_t)(copy.p + copy.n - list[n_list - 1].span.p);
}

static size_t ref_array(struct ref *r, size_t i)
{
    for (bool first = true;; first = false) {
        bool raw = false;
        size_t start = i = white(r, i + 1);

        if (first && is_at(r, i, "]"))
            return i + 1;
        if (i >= r->n || is_at(r, i, "]},"))
            return stop(r, i >= r->n ? CUT : FAULT, i);
        i = ref_element(r, i, &raw);
        if (r->result != FINE)
            return i;
        give_element(r, start, i, raw);
        if (r->p[i] == ']')
            return i + 1;
    }
}

/* A key at i that must be there; whether it is this one. */
static size_t ref_key(struct ref *r, size_t i, const char *want, bool *is)
{
    size_t end;
    uint8_t plain[100];

    if (!is_at(r, i, "\""))
        return stop(r, i >= r->n ? CUT : FAULT, i);
    end = ref_string(r, i);
    if (r->result != FINE)
        return end;
    *is = mr_fields_unescape((struct mr_span){r->p + i + 1, end - i - 2}, plain,
              sizeof plain) == strlen(want) &&
          memcmp(plain, want, strlen(want)) == 0;
    return end;
}

/* What a path leads to. */
static size_t ref_member(struct ref *r, size_t i, const char *const *path)
{
    bool seen = false;

    if (i >= r->n)
        return stop(r, CUT, r->n);
    if (r->p[i] != (*path == NULL ? '[' : '{'))
        return stop(r, FAULT, i);
    if (*path == NULL)
        return ref_array(r, i);
    for (bool first = true;; first = false) {
        bool is = false;

        i = white(r, i + 1);
        if (!first || !is_at(r, i, "}")) {
            i = ref_key(r, i, *path, &is);
            if (r->result == FINE && is && seen)
                return stop(r, FAULT, i - 1);
            seen |= is;
            if (r->result == FINE && !is_at(r, i = white(r, i), ":"))
                return stop(r, i >= r->n ? CUT : FAULT, i);
            if (r->result != FINE)
                return i;
            i = white(r, i + 1);
            r->depth = 0;
            i = is ? ref_member(r, i, path + 1) : ref_value(r, i);
            if (r->result != FINE)
                return i;
            i = white(r, i);
        }
        if (is_at(r, i, "}"))
            return seen ? i + 1 : stop(r, FAULT, i);
        if (!is_at(r, i, ","))
            return stop(r, i >= r->n ? CUT : FAULT, i);
    }
}

/* ---- what is given ---- */

struct reader {
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_jsonvalues *values;
};

static void open_reader(struct reader *reader, const struct mr_spec *spec,
    size_t piece, size_t read_bytes)
{
    assert_int_equal(mr_container_open_memory(
                         text.p, text.n, piece, &reader->container, NULL),
        MR_OK);
    assert_int_equal(
        mr_container_next(reader->container, &reader->stream, NULL), MR_OK);
    assert_int_equal(mr_jsonvalues_new(reader->stream, spec, read_bytes,
                         &reader->values, NULL),
        MR_OK);
}

static void close_reader(struct reader *reader)
{
    mr_jsonvalues_free(reader->values);
    mr_stream_close(reader->stream);
    assert_int_equal(mr_container_close(reader->container, NULL), MR_OK);
}

static void check_value(size_t k, uint64_t start, const uint8_t *p, size_t n,
    const struct mr_line_block *block)
{
    assert_true(k < n_list);
    assert_int_equal(start, list[k].start);
    assert_int_equal(n, list[k].span.n);
    assert_memory_equal(p, list[k].span.p, n);
    assert_int_equal(block->whole, list[k].whole);
    assert_int_equal(block->too_long, list[k].too_long);
}

static size_t check_block(size_t k, const struct mr_line_block *block)
{
    const uint8_t *p = block->text.p, *end = p + block->text.n;

    if (block->whole || block->too_long) {
        check_value(k, block->offset, p, block->text.n, block);
        return k + 1;
    }
    assert_int_equal(block->offset, block->starts[0]);
    for (size_t i = 0; p < end; i++) {
        const uint8_t *feed = memchr(p, '\n', (size_t)(end - p));

        assert_non_null(feed);
        check_value(k++, block->starts[i], p, (size_t)(feed - p), block);
        p = feed + 1;
    }
    return k;
}

/* Read the text; it must give the list, and then end as told. */
static void read_way(const struct mr_spec *spec, size_t piece,
    size_t read_bytes, enum result result, size_t at)
{
    struct mr_buffer buffer = {0};
    struct mr_line_block block;
    struct mr_error err = {.status = MR_OK};
    struct reader reader;
    uint64_t bytes = 0;
    enum mr_status status;
    size_t k = 0;

    open_reader(&reader, spec, piece, read_bytes);
    for (;;) {
        status = mr_jsonvalues_next(reader.values, &buffer, &block, &err);
        if (status != MR_OK)
            break;
        bytes += block.bytes;
        if (block.text.n == 0)
            break;
        k = check_block(k, &block);
    }
    if (result == FINE) {
        assert_int_equal(status, MR_OK);
        assert_int_equal(bytes, text.n);
        assert_int_equal(k, n_list);
        assert_int_equal(
            mr_jsonvalues_next(reader.values, &buffer, &block, &err), MR_OK);
        assert_int_equal(block.text.n, 0);
        assert_int_equal(block.bytes, 0);
    } else {
        assert_int_equal(status, MR_FORMAT);
        assert_int_equal(err.offset, at);
        assert_true(err.cause[0] != '\0');
    }
    close_reader(&reader);
    mr_buffer_release(&buffer);
}

static void read_every_way(
    const struct mr_spec *spec, enum result result, size_t at)
{
    static const size_t pieces[] = {1, 2, 7, 64};

    for (unsigned i = 0; i < 4; i++)
        read_way(spec, 0, pieces[i], result, at);
    read_way(spec, 0, MR_LINES_BLOCK, result, at);
    read_way(spec, 5, 7, result, at);
    read_way(spec, 3, MR_LINES_BLOCK, result, at);
}

/* ---- tests ---- */

static struct mr_spec spec_of(enum mr_input_format format, const char *records)
{
    struct mr_spec spec = {
        .format = format, .max_line_bytes = 1000, .max_depth = 20};

    memcpy(spec.records, records, strlen(records));
    return spec;
}

static void check_values(void)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_VALUES, "");

    find_values();
    read_every_way(&spec, FINE, 0);
}

static void check_document(const char *records, const char *const *path)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_ARRAY, records);
    struct ref r = {text.p, text.n, .strict = true, .depth_max = 20};
    size_t i = text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    n_list = copy.n = 0;
    i = ref_member(&r, white(&r, i), path);
    if (r.result == FINE && (i = white(&r, i)) < r.n)
        stop(&r, FAULT, i);
    read_every_way(&spec, r.result, r.at);
}

static void begin_text(void)
{
    text.n = 0;
    put(any(4) ? "" : "\xef\xbb\xbf");
    put_white();
}

static void values_are_found(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < rounds(3000); round++) {
        begin_text();
        for (uint64_t n = any(8); n > 0; n--) {
            put_value(4);
            put(any(2) ? " " : "");
            put_white();
        }
        if (round % 3 > 0)
            spoil();
        check_values();
    }
}

/* Short texts of what matters. */
static void any_bytes_are_values(void **state)
{
    static const char *const some[] = {"{", "}", "[", "]", ":", ",", "\"", "\\",
        "\n", " ", "0", "t", "true", "{\"a\":1}", "\"b\"", "\"\":", "-",
        "\xc3"};

    (void)state;
    for (uint64_t round = 0; round < rounds(20000); round++) {
        text.n = 0;
        for (uint64_t n = any(14); n > 0; n--)
            put(some[any(18)]);
        check_values();
    }
}

static const char *const no_path[] = {NULL};
static const char *const one_path[] = {"Rec\xc3\xa9", NULL};
static const char *const two_path[] = {"a", "b", NULL};

static void put_member(const char *key)
{
    put_white();
    if (key != NULL)
        put(key);
    else
        put_string();
    put_white();
    put(":");
    put_white();
}

static void put_others(uint64_t n, bool before)
{
    for (; n > 0; n--) {
        put(before ? "" : ",");
        put_member(NULL);
        put_value(3);
        put_white();
        put(before ? "," : "");
    }
}

static void put_array(void)
{
    put("[");
    for (uint64_t n = any(6), i = 0; i < n; i++) {
        put(i > 0 ? "," : "");
        put_white();
        put_value(3);
        put(any(20) ? "" : " 5");
        put_white();
    }
    put("]");
    put_white();
}

static void elements_are_found(void **state)
{
    static const char *const key[] = {"\"Rec\xc3\xa9\"", "\"R\\u0065c\\u00E9\"",
        "\"Rec\\u00e\"", "\"rec\xc3\xa9\""};

    (void)state;
    for (uint64_t round = 0; round < rounds(6000); round++) {
        unsigned depth = (unsigned)any(3);

        begin_text();
        for (unsigned k = 0; k < depth; k++) {
            put("{");
            put_others(any(3), true);
            put_member(depth == 1 ? key[any(50) ? any(2) : any(4)]
                       : (k == 0) == (any(50) != 0) ? "\"a\""
                                                    : "\"b\"");
        }
        put_array();
        for (unsigned k = 0; k < depth; k++) {
            put_others(any(3), false);
            put("}");
            put_white();
        }
        if (round % 2 > 0)
            spoil();
        check_document(depth == 0   ? ""
                       : depth == 1 ? "Rec\xc3\xa9"
                                    : "a.b",
            depth == 0   ? no_path
            : depth == 1 ? one_path
                         : two_path);
    }
}

static void any_bytes_are_documents(void **state)
{
    static const char *const some[] = {"{", "}", "[", "]", ":", ",", "\"", "\\",
        "\n", " ", "0", "true", "\"a\":", "\"b\":", "\"c\"", "\"a\":{\"b\":[",
        "]}", "\\ud800", "\xe0", "\xa0", "\x80", "1.", "e5", "-"};

    (void)state;
    for (uint64_t round = 0; round < rounds(20000); round++) {
        text.n = 0;
        put(round % 2 ? "{" : "[");
        for (uint64_t n = any(12); n > 0; n--)
            put(some[any(24)]);
        if (round % 2)
            check_document("a.b", two_path);
        else
            check_document("", no_path);
    }
}

/* Values of about what can be held, alone and between others, each in each
 * of the ways a value can end. */
static void long_values_are_cut(void **state)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_VALUES, "");

    (void)state;
    for (unsigned form = 0; form < 48; form++) {
        size_t held = (size_t)mr_lines_held(spec.max_line_bytes);
        size_t n = held - 1 + form % 3, start;
        bool array = form / 3 % 2, before = form / 6 % 2, after = form / 12 % 2;
        bool open = form / 24 % 2; /* a value that is not closed */

        spec.format = array ? MR_INPUT_JSON_ARRAY : MR_INPUT_JSON_VALUES;
        n_list = copy.n = text.n = 0;
        put(array ? "[" : "");
        if (before) {
            put("12 ");
            must_give(text.n - 3, text.n, false, false);
            put(array ? "," : " ");
        }
        start = text.n;
        put("\"");
        put_bytes('x', n - 2 + open);
        put(open ? "" : "\"");
        assert_int_equal(text.n - start, n);
        if (!array || !open) {
            must_give(start, text.n, false, false);
            if (n > held) {
                list[n_list - 1].too_long = true;
                list[n_list - 1].span.n = MR_LINES_LONG_KEPT;
            }
        }
        put(open && !array && after ? "\n" : array ? "," : " ");
        if (after && !(array && open)) {
            put("[1]");
            must_give(text.n - 3, text.n, false, false);
            put(array ? "]" : "\n");
            read_every_way(&spec, FINE, 0);
        } else if (array) {
            read_every_way(&spec, CUT, text.n);
        } else {
            if (open) { /* the blank is the string's */
                text.n--;
            }
            read_every_way(&spec, FINE, 0);
        }
    }
}

/* Many values: blocks of about the usual size, and nothing lost between. */
static void blocks_are_cut(void **state)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_VALUES, "");

    (void)state;
    for (unsigned form = 0; form < 4; form++) {
        text.n = 0;
        for (unsigned i = 0; i < 9000; i++) {
            put("{\"a\":[");
            put_bytes('1', (size_t)any(300));
            put(any(500) || form == 0 ? "]}" : "\n]");
            put(form & 2 ? "\n" : "");
        }
        find_values();
        read_way(&spec, 0, MR_LINES_BLOCK, FINE, 0);
        read_way(&spec, 4000, 10000, FINE, 0);
        read_way(&spec, 0, 100, FINE, 0);
    }
}

/* Nesting deeper than anything allows ends a value but no process. */
static void deep_values(void **state)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_VALUES, "");
    const size_t deep = MR_JSON_DEPTH_MAX;

    (void)state;
    spec.max_line_bytes = 1 << 20;
    for (unsigned form = 0; form < 4; form++) {
        size_t n = deep + form % 2, end;

        n_list = copy.n = text.n = 0;
        put_bytes('[', n);
        put_bytes(']', n);
        end = text.n;
        put(form < 2 ? "\n{}" : "");
        must_give(0, end, false, false);
        if (form < 2)
            must_give(end + 1, text.n, false, false);
        read_way(&spec, 0, 1000, FINE, 0);
    }
    spec.format = MR_INPUT_JSON_ARRAY;
    n_list = copy.n = text.n = 0;
    put_bytes('[', deep + 100);
    put_bytes(']', deep + 100);
    must_give(1, text.n - 1, false, false);
    read_way(&spec, 0, 1000, FINE, 0);
    text.n = 0;
    memcpy(spec.records, "a", 2);
    put("{\"b\":");
    put_bytes('[', 21);
    read_way(&spec, 0, 1000, DEEP, 25);
}

static void check_failure(const char *records, const char *document, size_t at,
    const char *cause, const char *advice)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_ARRAY, records);
    struct mr_error err = {.status = MR_OK};
    struct mr_buffer buffer = {0};
    struct mr_line_block block = {.bytes = 0};
    struct reader reader;

    text.n = 0;
    put(document);
    open_reader(&reader, &spec, 0, MR_LINES_BLOCK);
    assert_int_equal(
        mr_jsonvalues_next(reader.values, &buffer, &block, &err), MR_FORMAT);
    assert_string_equal(err.cause, cause);
    assert_string_equal(err.advice, advice);
    assert_int_equal(err.offset, at);
    close_reader(&reader);
    mr_buffer_release(&buffer);
}

static void failures_have_sentences(void **state)
{
    const char *again = "fetch it again and rerun";
    const char *records = "correct the spec's 'records'";
    const char *either = "correct the spec's 'format' or 'records'";

    (void)state;
    check_failure("", " \n", 2, "there is no document", again);
    check_failure("", "{}", 0, "the document is no array", either);
    check_failure("a", "[]", 0, "the document is no object", either);
    check_failure(
        "a.b", "{\"a\":1}", 5, "the member 'a' is no object", records);
    check_failure(
        "a.b", "{\"a\":{\"b\":{}}}", 10, "the member 'b' is no array", records);
    check_failure("a.b", "{\"a\":{\"c\":1}}", 11,
        "the document has no member 'a.b'", records);
    check_failure("a", "{\"a\":[],\"a\":[]}", 10,
        "the document has the member 'a' twice",
        "leave one of them, for nobody can tell which is meant");
    check_failure("", "[1", 2, "the document ends too soon", again);
    check_failure("", "[1,]", 3, "the document is not valid JSON there", again);
    check_failure("", "[1]2", 3, "there is text behind the document's end",
        "where there are several documents, say 'format: json-values'");
    check_failure("a", "{\"b\":[[[[[[[[[[[[[[[[[[[[[", 25,
        "a member of the document is nested deeper than 20",
        "raise the spec's max_depth");
}

/* A string, taken byte by byte or at once, is valid if it is one. */
static void check_string(const uint8_t *p, size_t n)
{
    static struct mr_walk walk;
    bool valid = mr_json_check((struct mr_span){p, n}, 1) == MR_LINE_VALUE;
    enum mr_walk_step step = MR_WALK_MORE;
    size_t taken;

    mr_walk_begin(&walk, MR_WALK_WHOLE, 1);
    step = mr_walk_on(&walk, (struct mr_span){p, n}, &taken);
    assert_int_equal(step == MR_WALK_ENDED && taken == n, valid);
    mr_walk_begin(&walk, MR_WALK_WHOLE, 1);
    step = MR_WALK_MORE;
    for (size_t i = 0; i < n && step == MR_WALK_MORE; i++)
        step = mr_walk_on(&walk, (struct mr_span){p + i, 1}, &taken);
    assert_int_equal(step == MR_WALK_ENDED, valid);
}

/* Every pair of bytes, and what may follow to make a character of it. */
static void strings_are_judged(void **state)
{
    static const char *const tail[] = {"", "\x80", "\xbf\x80", "\x7f", "\xc0"};
    static const char *const unit[] = {"\\ud7ff", "\\ud800", "\\udBff",
        "\\udc00", "\\uDFFF", "\\ue000", "\\u12g4", "\\n", "\\", "\\ud8", "x"};
    uint8_t p[40] = "\"";

    (void)state;
    for (unsigned pair = 0; pair < 65536; pair++) {
        p[1] = (uint8_t)(pair >> 8);
        p[2] = (uint8_t)pair;
        /* Text behind a quote is none of the string's. */
        for (unsigned k = 0; k < 5 && p[1] != '"' && p[2] != '"'; k++) {
            size_t n = strlen(tail[k]);

            memcpy(p + 3, tail[k], n);
            p[3 + n] = '"';
            check_string(p, 4 + n);
        }
    }
    for (unsigned k = 0; k < 11 * 11 * 11; k++) {
        int n = snprintf((char *)p, sizeof p, "\"%s%s%s\"", unit[k % 11],
            unit[k / 11 % 11], unit[k / 121]);

        check_string(p, (size_t)n);
    }
}

/* The JSONTestSuite's folder, wherever it is; NULL when nowhere. */
static DIR *open_suite(char *folder, size_t size)
{
    const char *shared = getenv("MR_SHARED_DATA");
    const char *srcdir = getenv("srcdir");

    if (shared)
        snprintf(folder, size, "%s/jsontestsuite/test_parsing", shared);
    else
        snprintf(folder, size, "%s/../shared/data/jsontestsuite/test_parsing",
            srcdir ? srcdir : ".");
    return opendir(folder);
}

static void put_file(const char *folder, const char *name)
{
    char path[PATH_MAX + 256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(mr_buffer_reserve(&text, text.n + (1 << 20)), MR_OK);
    text.n += fread(text.p + text.n, 1, 1 << 20, f);
    fclose(f);
}

/* How the reading of a document in pieces ends. */
static enum mr_status read_document(const char *records, size_t read_bytes)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_ARRAY, records);
    struct mr_buffer buffer = {0};
    struct mr_line_block block = {.bytes = 0};
    struct reader reader;
    enum mr_status status;

    spec.max_depth = 1024;
    open_reader(&reader, &spec, 0, read_bytes);
    do
        status = mr_jsonvalues_next(reader.values, &buffer, &block, NULL);
    while (status == MR_OK && block.text.n > 0);
    close_reader(&reader);
    mr_buffer_release(&buffer);
    return status;
}

/* Each text of the suite, as a member that nobody wants: its verdict is the
 * document's.  And a good one is one value. */
static void json_test_suite(void **state)
{
    struct mr_spec spec = spec_of(MR_INPUT_JSON_VALUES, "");
    char folder[PATH_MAX];
    DIR *dir = open_suite(folder, sizeof folder);
    const struct dirent *entry;
    size_t n_files = 0;

    (void)state;
    if (!dir) {
        print_message("skipped: cannot open %s\n", folder);
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        bool good = name[0] == 'y';

        if (!good && name[0] != 'n')
            continue;
        n_files++;
        text.n = 0;
        put("{\"x\":");
        put_file(folder, name);
        put(",\"a\":[]}");
        if ((read_document("a", 1) == MR_OK) != good ||
            (read_document("a", MR_LINES_BLOCK) == MR_OK) != good)
            fail_msg("%s is judged wrongly", name);
        if (!good)
            continue;
        n_list = copy.n = text.n = 0;
        put_file(folder, name);
        must_give(white(&(struct ref){text.p, text.n, .depth = 0}, 0), text.n,
            false, false);
        read_every_way(&spec, FINE, 0);
    }
    closedir(dir);
    assert_true(n_files >= 283);
}

static int release(void **state)
{
    (void)state;
    mr_buffer_release(&text);
    mr_buffer_release(&copy);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(any_bytes_are_values),
        cmocka_unit_test(elements_are_found),
        cmocka_unit_test(any_bytes_are_documents),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(blocks_are_cut),
        cmocka_unit_test(deep_values),
        cmocka_unit_test(failures_have_sentences),
        cmocka_unit_test(strings_are_judged),
        cmocka_unit_test(json_test_suite),
    };

    return cmocka_run_group_tests(tests, NULL, release);
}
