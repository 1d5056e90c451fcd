#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/fields.h"
#include "mr/kernels.h"
#include "tests/unit/random.h"

/*
 * The fast reading is held against two slow ones: verdicts against
 * mr_json_check, which is itself held against the JSONTestSuite, and fields
 * against the tree that the reader below builds.
 */

/* Longer than the key filter tells lengths apart. */
#define LONG_KEY                                                               \
    "a-key-of-more-than-sixty-three-bytes-"                                    \
    "which-is-where-the-filter-stops-counting"

#define N_PATHS 8
static const char *const paths[N_PATHS] = {"data.id", "data.type",
    "data.attributes", "meta.created_at", "data.attributes.user_id", "", "data",
    LONG_KEY ".x"};

/* ---- A tree of a valid text, and looking up a path in it. ---- */

struct tree {
    enum mr_kind kind;
    struct mr_span text; /* as in struct mr_value */
    size_t n;
    struct tree **child;
    struct mr_span *key; /* of an object; unescaped */
};

static const uint8_t *blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && strchr(" \t\r\n", *p))
        p++;
    return p;
}

static void free_tree(struct tree *t)
{
    size_t i;

    for (i = 0; i < t->n; i++) {
        free_tree(t->child[i]);
        if (t->key)
            free((void *)(uintptr_t)t->key[i].p);
    }
    free(t->child);
    free(t->key);
    free(t);
}

static const uint8_t *string_end(const uint8_t *p)
{
    while (*p != '"')
        p += *p == '\\' ? 2 : 1;
    return p;
}

static struct tree *read_tree(const uint8_t **at, const uint8_t *end);

static void read_children(
    struct tree *t, const uint8_t **at, const uint8_t *end, uint8_t closer)
{
    const uint8_t *p = blanks(*at, end);

    while (*p != closer) {
        t->child = realloc(t->child, (t->n + 1) * sizeof(struct tree *));
        if (closer == '}') {
            const uint8_t *quote = string_end(p + 1);
            struct mr_span raw = {p + 1, (size_t)(quote - p - 1)};
            uint8_t *plain = malloc(raw.n + 1);

            t->key = realloc(t->key, (t->n + 1) * sizeof *t->key);
            t->key[t->n].p = plain;
            t->key[t->n].n = mr_fields_unescape(raw, plain, raw.n);
            p = blanks(quote + 1, end) + 1;
        }
        t->child[t->n++] = read_tree(&p, end);
        p = blanks(p, end);
        if (*p == ',')
            p = blanks(p + 1, end);
    }
    *at = p + 1;
}

static struct tree *read_tree(const uint8_t **at, const uint8_t *end)
{
    struct tree *t = calloc(1, sizeof *t);
    const uint8_t *p = blanks(*at, end);
    const uint8_t *start = p;

    switch (*p++) {
    case '{':
        t->kind = MR_KIND_OBJECT;
        read_children(t, &p, end, '}');
        break;
    case '[':
        t->kind = MR_KIND_ARRAY;
        read_children(t, &p, end, ']');
        break;
    case '"':
        t->kind = MR_KIND_STRING;
        t->text.p = p;
        p = string_end(p);
        t->text.n = (size_t)(p++ - t->text.p);
        break;
    case 't':
        t->kind = MR_KIND_TRUE;
        p += 3;
        break;
    case 'f':
        t->kind = MR_KIND_FALSE;
        p += 4;
        break;
    case 'n':
        t->kind = MR_KIND_NULL;
        p += 3;
        break;
    default:
        t->kind = MR_KIND_NUMBER;
        while (p < end && *p && strchr("0123456789+-.eE", *p))
            p++;
        t->text.p = start;
        t->text.n = (size_t)(p - start);
    }
    *at = p;
    return t;
}

static const struct tree *look_up(const struct tree *t, const char *path)
{
    while (*path) {
        size_t n = strcspn(path, ".");
        size_t i = t->n;

        if (t->kind != MR_KIND_OBJECT)
            return NULL;
        while (i > 0 &&
               (t->key[i - 1].n != n || memcmp(t->key[i - 1].p, path, n) != 0))
            i--;
        if (i == 0)
            return NULL;
        t = t->child[i - 1];
        path += n + (path[n] == '.');
    }
    return t;
}

/* ---- What one line must give. ---- */

struct limits {
    uint64_t line_bytes;
    uint32_t depth;
};

static const struct limits usual = {1 << 20, 1024};

static struct mr_fields_plan *plan_of(struct limits limits)
{
    struct mr_fields_plan *plan;

    assert_int_equal(mr_fields_plan_new(paths, N_PATHS, limits.line_bytes,
                         limits.depth, &plan, NULL),
        MR_OK);
    return plan;
}

static enum mr_verdict verdict_of(struct mr_span line, struct limits limits)
{
    if (line.n > limits.line_bytes)
        return MR_LINE_TOO_LONG;
    return mr_json_check(line, limits.depth);
}

static void check_values(const struct mr_record *record, struct mr_span line)
{
    const uint8_t *p = line.p;
    struct tree *t = read_tree(&p, line.p + line.n);
    size_t i;

    for (i = 0; i < N_PATHS; i++) {
        const struct tree *want = paths[i][0] ? look_up(t, paths[i]) : NULL;
        const struct mr_value *v = &record->value[i];

        assert_int_equal(v->kind, want ? want->kind : MR_KIND_NONE);
        if (!want)
            continue;
        assert_int_equal(v->text.n, want->text.n);
        if (v->kind == MR_KIND_STRING || v->kind == MR_KIND_NUMBER)
            assert_ptr_equal(v->text.p, want->text.p);
        if (v->kind == MR_KIND_STRING)
            assert_int_equal(v->escaped,
                v->text.n > 0 && memchr(v->text.p, '\\', v->text.n) != NULL);
    }
    free_tree(t);
}

/* Read a block with the level chosen at present and check each line. */
static void check_lines(
    struct mr_span block, struct limits limits, struct mr_fields_plan *plan)
{
    static struct mr_record record;
    struct mr_fields_reader *reader;
    const uint8_t *p = block.p;
    const uint8_t *end = p + block.n;

    assert_int_equal(mr_fields_reader_new(plan, &reader, NULL), MR_OK);
    mr_fields_reader_set(reader, block);
    while (p < end) {
        const uint8_t *feed = memchr(p, '\n', (size_t)(end - p));
        struct mr_span line = {p, (size_t)((feed ? feed : end) - p)};
        enum mr_verdict want;

        if (feed && line.n > 0 && p[line.n - 1] == '\r')
            line.n--;
        want = verdict_of(line, limits);
        mr_fields_next(reader, &record);
        if (record.verdict != want)
            print_message("%s: got %d, want %d: '%.*s'\n", mr_kernels()->name,
                record.verdict, want, line.n < 500 ? (int)line.n : 500,
                (const char *)line.p);
        assert_int_equal(record.verdict, want);
        assert_ptr_equal(record.line.p, line.p);
        assert_int_equal(record.line.n, line.n);
        if (want == MR_LINE_VALUE)
            check_values(&record, line);
        p = feed ? feed + 1 : end;
    }
    mr_fields_next(reader, &record);
    assert_int_equal(record.verdict, MR_LINE_END);
    mr_fields_next(reader, &record);
    assert_int_equal(record.verdict, MR_LINE_END);
    mr_fields_reader_free(reader);
}

/* The same with every level. */
static void check_block(struct mr_span block, struct limits limits)
{
    struct mr_fields_plan *plan = plan_of(limits);
    int level;

    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (mr_kernels_force((enum mr_kernel_level)level))
            check_lines(block, limits, plan);
    }
    mr_fields_plan_free(plan);
}

static void check_text(const char *text)
{
    struct mr_span block = {(const uint8_t *)text, strlen(text)};

    check_block(block, usual);
}

/* The verdict of the first line, by all levels. */
static enum mr_verdict fast_verdict(struct mr_span line, struct limits limits)
{
    check_block(line, limits);
    return verdict_of(line, limits);
}

/* ---- Random texts. ---- */

static void put(struct mr_buffer *b, const char *text)
{
    assert_int_equal(mr_buffer_add(b, text, strlen(text)), MR_OK);
}

static void put_blanks(struct mr_buffer *b)
{
    static const char *const some[] = {" ", "  ", "\t", " \r", "          "};

    if (any(8) == 0)
        put(b, some[any(5)]);
}

static void put_string(struct mr_buffer *b)
{
    static const char *const some[] = {"", "a", "user_id", "x y", "\\\"",
        "\\\\", "\\n", "\\u0041", "\\ud83d\\ude00", "\xc3\xa9", "\xe2\x82\xac",
        "\xf0\x9f\x98\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "{\\\"a\\\":[1]}",
        ",", ":", "}{", "][",
        "a string that is somewhat longer than the others are",
        "\\\\\\\"\\\\\\\\", "\x7f", "\\/\\b\\f\\r\\t", "null", "12"};
    unsigned n = any(3) ? any(3) : any(12);

    put(b, "\"");
    for (; n > 0; n--)
        put(b, some[any(sizeof some / sizeof *some)]);
    put(b, "\"");
}

static void put_key(struct mr_buffer *b)
{
    static const char *const some[] = {"\"data\"", "\"id\"", "\"type\"",
        "\"attributes\"", "\"user_id\"", "\"meta\"", "\"created_at\"",
        "\"us\\u0065r_id\"", "\"d\\u0061ta\"", "\"da\\u0074a\"", "\"idd\"",
        "\"datb\"", "\"\"", "\"\\u0069d\"", "\"" LONG_KEY "\"", "\"x\""};

    if (any(6) == 0)
        put_string(b);
    else
        put(b, some[any(sizeof some / sizeof *some)]);
}

static void put_scalar(struct mr_buffer *b)
{
    static const char *const some[] = {"0", "-0", "1", "-12", "1549650668000",
        "12345678", "123456789012345678901234567890", "0.5", "1.25e10", "1E-7",
        "3e+2", "-0.0", "true", "false", "null", "99999999.5"};

    if (any(2))
        put_string(b);
    else
        put(b, some[any(sizeof some / sizeof *some)]);
}

static void put_value(struct mr_buffer *b, unsigned depth)
{
    unsigned n = any(depth < 2 ? 7 : 4);
    bool is_object = any(4) != 0;
    unsigned i;

    if (depth > 5 || (depth > 0 && any(2))) {
        put_scalar(b);
        return;
    }
    put(b, is_object ? "{" : "[");
    put_blanks(b);
    for (i = 0; i < n; i++) {
        if (i > 0) {
            put(b, ",");
            put_blanks(b);
        }
        if (is_object) {
            put_key(b);
            put_blanks(b);
            put(b, ":");
            put_blanks(b);
        }
        put_value(b, depth + 1);
        put_blanks(b);
    }
    put(b, is_object ? "}" : "]");
}

/* Spoil some bytes from position from on. */
static void mutate(struct mr_buffer *b, size_t from)
{
    static const uint8_t some[] =
        "\"\\{}[]:,0-.eEtfnu \t\r\n\x01\x1f\x0c\x1a\x7f"
        "\x80\xbf\xc0\xc3\xe2\xed\xf0\xf4\xff";
    unsigned n = 1 + any(3);

    while (n-- > 0 && b->n > from) {
        size_t at = from + any((unsigned)(b->n - from));

        switch (any(4)) {
        case 0: /* leave a byte out */
            memmove(b->p + at, b->p + at + 1, b->n - at - 1);
            b->n--;
            break;
        case 1: /* cut off */
            if (any(8) == 0)
                b->n = at;
            break;
        case 2:
            b->p[at] = (uint8_t)any64();
            break;
        default:
            b->p[at] = some[any(sizeof some)];
        }
    }
}

static void put_line(struct mr_buffer *b, unsigned percent_bad)
{
    size_t from = b->n;
    unsigned kind = any(40);

    if (kind == 0)
        put(b, "  \t ");
    else if (kind == 1)
        put_scalar(b);
    else if (kind > 2)
        put_value(b, 0);
    if (any(100) < percent_bad)
        mutate(b, from);
    put(b, any(5) ? "\n" : "\r\n");
}

static void random_blocks(unsigned n, unsigned max_lines, unsigned percent_bad)
{
    struct mr_buffer b = {0};

    while (n-- > 0) {
        struct limits limits = usual;
        unsigned lines = 1 + any(max_lines);

        b.n = 0;
        while (lines-- > 0)
            put_line(&b, percent_bad);
        if (any(2) && b.n > 0)
            b.n--; /* no last line feed */
        if (any(4) == 0)
            limits = (struct limits){1 + any(300), 1 + any(6)};
        /* In memory of just this size, so that tools see any overrun. */
        if (b.n > 0) {
            uint8_t *exact = malloc(b.n);

            memcpy(exact, b.p, b.n);
            check_block((struct mr_span){exact, b.n}, limits);
            free(exact);
        }
    }
    mr_buffer_release(&b);
}

static void random_good_lines(void **state)
{
    (void)state;
    seed = 1;
    random_blocks(400, 60, 0);
}

static void random_bad_lines(void **state)
{
    (void)state;
    seed = 2;
    random_blocks(1500, 3, 90);
    random_blocks(300, 60, 20);
}

/* Bytes of a small alphabet: every short way to go wrong. */
static void random_rubbish(void **state)
{
    static const char alphabet[] = "\"\"\"\\\\{}[]:,01-.etrue \n\r\xc3\xa9u";
    uint8_t text[200];
    unsigned i;

    (void)state;
    seed = 3;
    for (i = 0; i < 4000; i++) {
        unsigned n = 1 + any(sizeof text);
        unsigned j;

        for (j = 0; j < n; j++)
            text[j] = (uint8_t)alphabet[any(sizeof alphabet - 1)];
        check_block((struct mr_span){text, n}, usual);
    }
}

/* ---- Known texts. ---- */

static const char event[] =
    "{\"data\":{\"id\":\"a1\",\"type\":\"user\\u005fcreated\",\"attributes\":"
    "{\"user_id\":\"5db2\",\"n\":[1,{\"user_id\":3}],\"x\":{}}},"
    "\"meta\":{\"created_at\":1549650668000,\"ok\":true}}";

/* The first line of a text, by the level chosen at present. */
static void read_first(const char *text, struct mr_record *record)
{
    struct mr_span block = {(const uint8_t *)text, strlen(text)};
    struct mr_fields_plan *plan = plan_of(usual);
    struct mr_fields_reader *reader;

    assert_int_equal(mr_fields_reader_new(plan, &reader, NULL), MR_OK);
    mr_fields_reader_set(reader, block);
    mr_fields_next(reader, record);
    mr_fields_reader_free(reader);
    mr_fields_plan_free(plan);
}

static void assert_text(const struct mr_value *v, const char *want)
{
    assert_int_equal(v->text.n, strlen(want));
    assert_memory_equal(v->text.p, want, v->text.n);
}

static void fields_of_an_event(void **state)
{
    static struct mr_record r;
    int level;

    (void)state;
    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        read_first(event, &r);
        assert_int_equal(r.verdict, MR_LINE_VALUE);
        assert_int_equal(r.value[0].kind, MR_KIND_STRING);
        assert_text(&r.value[0], "a1");
        assert_false(r.value[0].escaped);
        assert_text(&r.value[1], "user\\u005fcreated");
        assert_true(r.value[1].escaped);
        assert_int_equal(r.value[2].kind, MR_KIND_OBJECT);
        assert_int_equal(r.value[3].kind, MR_KIND_NUMBER);
        assert_text(&r.value[3], "1549650668000");
        assert_text(&r.value[4], "5db2");
        assert_int_equal(r.value[5].kind, MR_KIND_NONE);
        assert_int_equal(r.value[6].kind, MR_KIND_OBJECT);
    }
}

static void last_key_counts(void **state)
{
    static const struct {
        const char *text;
        enum mr_kind id; /* of data.id */
        const char *id_text;
    } some[] = {
        {"{\"data\":{\"id\":1,\"id\":2}}", MR_KIND_NUMBER, "2"},
        {"{\"data\":{\"id\":1},\"data\":{}}", MR_KIND_NONE, ""},
        {"{\"data\":{\"id\":1},\"data\":7}", MR_KIND_NONE, ""},
        {"{\"data\":7,\"data\":{\"id\":\"x\"}}", MR_KIND_STRING, "x"},
        {"{\"data\":{\"id\":1},\"d\\u0061ta\":{\"\\u0069d\":3}}",
            MR_KIND_NUMBER, "3"},
        {"{\"data\":{\"id\":1},\"data\":[{\"id\":2}]}", MR_KIND_NONE, ""},
        {"{\"data\":{\"x\":{\"id\":1}}}", MR_KIND_NONE, ""},
        {"[{\"data\":{\"id\":1}}]", MR_KIND_NONE, ""},
        {"{\"data\":{\"x\":{\"data\":{\"id\":1}},\"id\":[]}}", MR_KIND_ARRAY,
            ""},
        {"{\"data\" : { \"id\" :\tnull }}", MR_KIND_NULL, ""},
        {"{\"data.id\":1}", MR_KIND_NONE, ""},
    };
    static struct mr_record r;
    size_t i;
    int level;

    (void)state;
    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        for (i = 0; i < sizeof some / sizeof *some; i++) {
            read_first(some[i].text, &r);
            assert_int_equal(r.verdict, MR_LINE_VALUE);
            assert_int_equal(r.value[0].kind, some[i].id);
            assert_text(&r.value[0], some[i].id_text);
        }
    }
    for (i = 0; i < sizeof some / sizeof *some; i++)
        check_text(some[i].text);
}

/* Wherever in the plan an object stands that has the key as others do. */
static void one_key_in_many_objects(void **state)
{
    static const char *const wanted[] = {"id", "a.id", "b.id", "c.id", "x",
        "d.id", "e.id", "f.f.id", "g.id", "h.id"};
    static const char text[] =
        "{\"id\":0,\"a\":{\"id\":1},\"b\":{\"id\":2},\"c\":{\"id\":3},\"x\":4,"
        "\"d\":{\"id\":5},\"e\":{\"id\":6},\"f\":{\"f\":{\"id\":7}},"
        "\"g\":{\"id\":8},\"h\":{\"id\":9}}";
    const size_t n = sizeof wanted / sizeof *wanted;
    struct mr_span block = {(const uint8_t *)text, sizeof text - 1};
    static struct mr_record r;

    (void)state;
    for (size_t from = 0; from < n; from++) {
        struct mr_fields_plan *plan;
        struct mr_fields_reader *reader;

        assert_int_equal(
            mr_fields_plan_new(wanted + from, n - from, 1000, 9, &plan, NULL),
            MR_OK);
        assert_int_equal(mr_fields_reader_new(plan, &reader, NULL), MR_OK);
        mr_fields_reader_set(reader, block);
        mr_fields_next(reader, &r);
        for (size_t i = from; i < n; i++) {
            const char number[] = {(char)('0' + i), '\0'};

            assert_int_equal(r.value[i - from].kind, MR_KIND_NUMBER);
            assert_text(&r.value[i - from], number);
        }
        mr_fields_reader_free(reader);
        mr_fields_plan_free(plan);
    }
}

static void lines_and_their_ends(void **state)
{
    static const char *const some[] = {"", "\n", "\r\n", "\r", "1", "1\r",
        "\n\n1", " \r\n{}\r\n", "1\n\n\n2", "{}\r\r\n", "\t", "[1\n,2]\n3",
        "\"\n\"\n", "\"a\\\n\"b\"\n1",
        "{\"a\":\"x\n{\"data\":{\"id\":1}}\n\"\n2\n", "\"\\\n1\n",
        "\\\"\n\"a\"\n", "1 2\n3", "\"\n\"\n\"\n1\n\"a\"\n"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof some / sizeof *some; i++)
        check_text(some[i]);
}

static void every_byte_in_every_place(void **state)
{
    static const char *const some[] = {
        "{\"a\":[1,\"b\"]}", "[true,-1.5e3]", "\"\\u00e9\\n\xc3\xa9\""};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof some / sizeof *some; i++) {
        size_t n = strlen(some[i]);
        size_t at;
        unsigned c;

        for (at = 0; at < n; at++) {
            for (c = 0; c < 256; c++) {
                uint8_t text[64];

                memcpy(text, some[i], n);
                text[at] = (uint8_t)c;
                check_block((struct mr_span){text, n}, usual);
            }
        }
    }
}

/* All sequences of two bytes, and three and four from the edges of each
 * class, as the content of a string. */
static void utf8_sequences(void **state)
{
    static const uint8_t edge[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
        0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
        0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    const size_t n_edges = sizeof edge;
    struct mr_buffer b = {0};
    size_t i;

    (void)state;
    for (i = 0x8000; i < 0x10000; i++) {
        uint8_t text[5] = {'"', (uint8_t)(i >> 8), (uint8_t)i, '"', '\n'};

        assert_int_equal(mr_buffer_add(&b, text, sizeof text), MR_OK);
    }
    check_block((struct mr_span){b.p, b.n}, usual);
    b.n = 0;
    for (i = 0; i < n_edges * n_edges * n_edges * n_edges; i++) {
        uint8_t text[7] = {'"', edge[i % n_edges], edge[i / n_edges % n_edges],
            edge[i / n_edges / n_edges % n_edges],
            edge[i / n_edges / n_edges / n_edges], '"', '\n'};

        assert_int_equal(mr_buffer_add(&b, text, sizeof text), MR_OK);
    }
    check_block((struct mr_span){b.p, b.n}, usual);
    mr_buffer_release(&b);
}

static void surrogate_escapes(void **state)
{
    static const struct {
        const char *text;
        enum mr_verdict verdict;
    } some[] = {
        {"\"\\ud800\\udc00\"", MR_LINE_VALUE},
        {"\"\\uDBFF\\uDFFF\"", MR_LINE_VALUE},
        {"\"\\ud7ff\\ue000\"", MR_LINE_VALUE},
        {"\"\\ud800\"", MR_LINE_INVALID},
        {"\"\\udc00\"", MR_LINE_INVALID},
        {"\"\\udc00\\ud800\"", MR_LINE_INVALID},
        {"\"\\ud800\\ud800\\udc00\"", MR_LINE_INVALID},
        {"\"\\ud800x\\udc00\"", MR_LINE_INVALID},
        {"\"\\ud800\\\\udc00\"", MR_LINE_INVALID},
        {"\"\\ud800\\n\\udc00\"", MR_LINE_INVALID},
        {"\"\\ud800\\u0041\"", MR_LINE_INVALID},
        {"\"\\ud800\\udc00\\udc00\"", MR_LINE_INVALID},
        {"\"\\ud80\"", MR_LINE_INVALID},
        {"\"\\u12G4\"", MR_LINE_INVALID},
        {"\"\\\\ud800\"", MR_LINE_VALUE},
    };
    char text[200];
    size_t i;
    int pad;

    (void)state;
    for (i = 0; i < sizeof some / sizeof *some; i++) {
        /* At each distance from the blocks' edges, and with a good line
         * before and behind. */
        for (pad = 0; pad < 70; pad++) {
            struct mr_span line = {(const uint8_t *)text, 0};

            line.n = (size_t)snprintf(
                text, sizeof text, "%*s%s", pad, "", some[i].text);
            assert_int_equal(fast_verdict(line, usual), some[i].verdict);
            snprintf(text, sizeof text, "\"%*s\"\n%s\n1\n\"abcdefgh\"\n", pad,
                "", some[i].text);
            check_text(text);
        }
    }
}

/* An event at every place of a block and a chunk, with other events around
 * it so that all of its parts meet an edge in turn. */
static void all_alignments(void **state)
{
    static const char *const some[] = {event,
        "{\"data\":{\"id\":\"\\\\\\\"\\ud83d\\ude00\xf0\x9f\x98\x80\","
        "\"us\\u0065r_id\" : -12.5e3,\"type\":\"\"},\"data\":null}",
        "{\"data\":{\"attributes\":{\"user_id\":\"\\\"}"};
    struct mr_buffer b = {0};
    unsigned base;
    unsigned pad;
    size_t i;

    (void)state;
    for (base = 0; base <= MR_SCAN_BYTES; base += MR_SCAN_BYTES) {
        for (pad = 0; pad <= 130; pad++) {
            for (i = 0; i < sizeof some / sizeof *some; i++) {
                unsigned n = base ? base - 130 + pad : pad;

                b.n = 0;
                while (n-- > 0)
                    put(&b, n % 97 ? " " : "\n");
                put(&b, some[i]);
                put(&b, "\r\n");
                put(&b, event);
                check_block((struct mr_span){b.p, b.n}, usual);
            }
        }
    }
    mr_buffer_release(&b);
}

/*
 * Lines that are alike and almost alike: of the same outline with other keys
 * of the same length and first byte, other kinds of values, and a byte here
 * and there that is another one.  What was learned of a line must never make
 * another be read wrongly.
 */
static void alike_lines(void **state)
{
    static const char *const some[] = {
        "{\"data\":{\"id\":\"a1\",\"type\":\"t\",\"attributes\":"
        "{\"user_id\":\"u1\"}},\"meta\":{\"created_at\":17}}",
        "{\"data\":{\"id\":\"a2\",\"type\":\"t\",\"attributes\":"
        "{\"usex_id\":\"u2\"}},\"meta\":{\"created_at\":18}}",
        "{\"data\":{\"id\":\"a3\",\"type\":\"t\",\"attributes\":"
        "{\"user_id\":1234}},\"meta\":{\"created_at\":\"19\"}}",
        "{\"data\":{\"id\":\"a4\",\"type\":\"t\",\"attributes\":"
        "{\"user_id\" :4}},\"meta\":{\"created_at\":20}}",
        "{\"data\":{\"id\":\"a5\",\"type\":\"t\",\"attributes\":"
        "{\"us\\u0065r_id\":5}},\"meta\":{\"created_at\":21}}",
        "{\"dbta\":{\"id\":\"a6\",\"type\":\"t\",\"attributes\":"
        "{\"user_id\":\"u6\"}},\"meta\":{\"created_at\":22}}",
        "{\"data\":{\"id\":\"a7\",\"id\":\"t\",\"attributes\":"
        "{\"user_id\":\"u7\"}},\"data\":{\"created_at\":23}}",
        "{\"data\":[\"id\",\"a8\",\"type\",true,null,-1.5e3,{\"a\":"
        "{\"b\":[]}}],\"meta\":{\"created_at\":24},\"x\":\"\\n\"}",
        "{\"data\":{\"type\":\"\xc3\xa9\",\"i\\u0064\":{}},\"" LONG_KEY
        "\":{\"x\":[1,2]}}",
    };
    static const char other[] = "\"\\{}[]:,0-.et \n\x01\xc3";
    struct mr_buffer b = {0};
    unsigned round;

    (void)state;
    seed = 11;
    for (round = 0; round < rounds(400); round++) {
        unsigned n_lines = 1 + any(300);

        b.n = 0;
        while (n_lines-- > 0) {
            const char *s = some[any(sizeof some / sizeof *some)];
            size_t at = b.n;

            put(&b, s);
            if (any(6) == 0)
                b.p[at + any((unsigned)strlen(s))] =
                    (uint8_t)other[any(sizeof other - 1)];
            put(&b, any(20) ? "\n" : "\r\n");
        }
        check_block((struct mr_span){b.p, b.n}, usual);
    }
    mr_buffer_release(&b);
}

/* Strings, keys and lines of more bytes than are held and 16 bits count. */
static void long_lines(void **state)
{
    static const unsigned length[] = {
        4000, 4096, 8191, 65526, 65535, 65536, 65543, 65545, 70000, 200000};
    struct mr_buffer b = {0};
    size_t i;
    unsigned j;

    (void)state;
    for (i = 0; i < sizeof length / sizeof *length; i++) {
        b.n = 0;
        put(&b, "{\"data\":{\"attributes\":{\"");
        for (j = 0; j < length[i]; j++)
            put(&b, "k");
        put(&b, "\\\"user_id\":1,\"user_id\":\"");
        for (j = 0; j < length[i]; j++)
            put(&b, "v");
        put(&b, "\",\"user_idd\":2}},\"meta\":");
        for (j = 0; j < length[i]; j++)
            put(&b, " ");
        put(&b, "{\"created_at\":");
        for (j = 0; j < length[i]; j++)
            put(&b, "7");
        put(&b, "}}\n{}\n");
        check_block((struct mr_span){b.p, b.n}, usual);
        check_block((struct mr_span){b.p, b.n},
            (struct limits){3 * (uint64_t)length[i], 1024});
    }
    mr_buffer_release(&b);
}

static void length_limit(void **state)
{
    struct limits limits = {5, 1024};

    (void)state;
    assert_int_equal(
        fast_verdict((struct mr_span){(const uint8_t *)"12345", 5}, limits),
        MR_LINE_VALUE);
    assert_int_equal(
        fast_verdict((struct mr_span){(const uint8_t *)"123456", 6}, limits),
        MR_LINE_TOO_LONG);
    assert_int_equal(
        fast_verdict((struct mr_span){(const uint8_t *)"x23456", 6}, limits),
        MR_LINE_TOO_LONG);
    check_block((struct mr_span){(const uint8_t *)"12345\r\n123456\n1\r\n", 17},
        limits);
}

static void depth_limit(void **state)
{
    static const uint32_t limit[] = {1, 2, 61, 62, 63, 64, 65, 1024};
    struct mr_buffer b = {0};
    size_t i;
    uint32_t depth;

    (void)state;
    for (i = 0; i < sizeof limit / sizeof *limit; i++) {
        struct limits limits = {1 << 20, limit[i]};

        for (depth = limit[i] - 1; depth <= limit[i] + 1; depth++) {
            uint32_t j;

            b.n = 0;
            for (j = 0; j < depth; j++)
                put(&b, j % 3 ? "[" : "{\"a\":");
            put(&b, "1");
            for (j = depth; j-- > 0;)
                put(&b, j % 3 ? "]" : "}");
            assert_int_equal(fast_verdict((struct mr_span){b.p, b.n}, limits),
                depth > limit[i] ? MR_LINE_TOO_DEEP : MR_LINE_VALUE);
            /* The first fault in the text is the one that counts. */
            b.p[b.n - 1] = '!';
            if (depth > 0)
                assert_int_equal(
                    fast_verdict((struct mr_span){b.p, b.n}, limits),
                    depth > limit[i] ? MR_LINE_TOO_DEEP : MR_LINE_INVALID);
            b.p[0] = '!';
            assert_int_equal(fast_verdict((struct mr_span){b.p, b.n}, limits),
                MR_LINE_INVALID);
        }
    }
    mr_buffer_release(&b);
}

static void hostile_nesting(void **state)
{
    const size_t n = 300000;
    uint8_t *text = malloc(n);

    (void)state;
    memset(text, '[', n);
    assert_int_equal(
        mr_json_check((struct mr_span){text, n}, UINT32_MAX), MR_LINE_TOO_DEEP);
    assert_int_equal(
        fast_verdict((struct mr_span){text, n}, usual), MR_LINE_TOO_DEEP);
    memset(text, ']', n);
    assert_int_equal(
        fast_verdict((struct mr_span){text, n}, usual), MR_LINE_INVALID);
    free(text);
}

/* A text whose last byte is the last of a page; the next one is no memory. */
static void nothing_is_read_behind_the_end(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = 3 * page;
    struct mr_buffer b = {0};
    uint8_t *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t n;

    (void)state;
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mprotect(p + room, page, PROT_NONE), 0);
    seed = 4;
    while (b.n < room)
        put_line(&b, 10);
    for (n = 1; n <= room; n += n < 300 || n % 4096 < 70 ? 1 : 61) {
        uint8_t *text = p + room - n;
        size_t i;

        memcpy(text, b.p, n);
        check_block((struct mr_span){text, n}, usual);
        /* In a string, a number, a key, an escape. */
        for (i = 0; i < 4 && n > 20; i++) {
            memcpy(text + n - 9,
                &"{\"id\":\"ab[12345678{\"data\":1[\"a\\u00e9"[9 * i], 9);
            check_block((struct mr_span){text, n}, usual);
        }
    }
    munmap(p, room + page);
    mr_buffer_release(&b);
}

static void reader_is_used_again(void **state)
{
    static struct mr_record r;
    struct mr_fields_plan *plan = plan_of(usual);
    struct mr_fields_reader *reader;

    (void)state;
    assert_int_equal(mr_fields_reader_new(plan, &reader, NULL), MR_OK);
    mr_fields_next(reader, &r);
    assert_int_equal(r.verdict, MR_LINE_END);
    /* Nothing of an unfinished string is left over. */
    mr_fields_reader_set(
        reader, (struct mr_span){(const uint8_t *)"\"ab\\\xc3", 5});
    mr_fields_next(reader, &r);
    assert_int_equal(r.verdict, MR_LINE_INVALID);
    mr_fields_reader_set(reader, (struct mr_span){(const uint8_t *)"12\n3", 4});
    mr_fields_next(reader, &r);
    assert_int_equal(r.verdict, MR_LINE_VALUE);
    mr_fields_reader_set(reader, (struct mr_span){(const uint8_t *)"{}", 2});
    mr_fields_next(reader, &r);
    assert_int_equal(r.verdict, MR_LINE_VALUE);
    assert_int_equal(r.line.n, 2);
    mr_fields_reader_set(reader, (struct mr_span){NULL, 0});
    mr_fields_next(reader, &r);
    assert_int_equal(r.verdict, MR_LINE_END);
    mr_fields_reader_free(reader);
    mr_fields_plan_free(plan);
}

static void impossible_plans(void **state)
{
    static const char *const bad[] = {".", "a.", ".a", "a..b", ".."};
    const char *many[MR_FIELDS_MAX + 1];
    char *longest = malloc(MR_FIELDS_PATH_MAX + 2);
    const char *path = longest;
    struct mr_fields_plan *plan = NULL;
    struct mr_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(
            mr_fields_plan_new(&bad[i], 1, 9, 9, &plan, &err), MR_USAGE);
    for (i = 0; i <= MR_FIELDS_MAX; i++)
        many[i] = "a";
    assert_int_equal(mr_fields_plan_new(many, i, 9, 9, &plan, &err), MR_USAGE);
    memset(longest, 'a', MR_FIELDS_PATH_MAX + 1);
    longest[MR_FIELDS_PATH_MAX + 1] = '\0';
    assert_int_equal(mr_fields_plan_new(&path, 1, 9, 9, &plan, &err), MR_USAGE);
    assert_int_equal(mr_fields_plan_new(many, 1, 9, 0, &plan, &err), MR_USAGE);
    assert_int_equal(
        mr_fields_plan_new(many, 1, 9, MR_JSON_DEPTH_MAX + 1, &plan, &err),
        MR_USAGE);
    assert_null(plan);
    longest[MR_FIELDS_PATH_MAX] = '\0';
    assert_int_equal(mr_fields_plan_new(&path, 1, 9, 9, &plan, &err), MR_OK);
    mr_fields_plan_free(plan);
    free(longest);
}

static void unescape(void **state)
{
    static const struct {
        const char *text, *want;
        size_t n;
    } some[] = {
        {"", "", 0},
        {"plain", "plain", 5},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8},
        {"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\\u0000",
            "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0", 11},
        {"\\uD800\\uDC00\\uDBFF\\uDFFF", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\xc3\xa9\\u007f\\u0080\\u07ff\\u0800\\uffff",
            "\xc3\xa9\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 13},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof some / sizeof *some; i++) {
        struct mr_span text = {
            (const uint8_t *)some[i].text, strlen(some[i].text)};
        uint8_t out[64];
        size_t cap;

        for (cap = 0; cap <= sizeof out; cap++) {
            size_t n = cap < some[i].n ? cap : some[i].n;

            memset(out, 0xEE, sizeof out);
            assert_int_equal(mr_fields_unescape(text, out, cap), some[i].n);
            /* Whole characters only: go back to where one begins. */
            while (n < some[i].n && n > 0 &&
                   ((uint8_t)some[i].want[n] & 0xC0) == 0x80)
                n--;
            assert_memory_equal(out, some[i].want, n);
            assert_true(n == sizeof out || out[n] == 0xEE);
        }
    }
}

/* ---- JSONTestSuite ---- */

/* Texts that RFC 8259 leaves open, and what is made of them here; the
 * reasons stand in docs/json.md. */
static const struct {
    const char *name;
    bool accepted;
} choices[] = {
    /* Numbers of any size and precision are text that follows the grammar;
     * nothing converts them to floating point. */
    {"i_number_double_huge_neg_exp.json", true},
    {"i_number_huge_exp.json", true},
    {"i_number_neg_int_huge_exp.json", true},
    {"i_number_pos_double_huge_exp.json", true},
    {"i_number_real_neg_overflow.json", true},
    {"i_number_real_pos_overflow.json", true},
    {"i_number_real_underflow.json", true},
    {"i_number_too_big_neg_int.json", true},
    {"i_number_too_big_pos_int.json", true},
    {"i_number_very_big_negative_int.json", true},
    /* Half a surrogate pair is no character, so the string is no text. */
    {"i_object_key_lone_2nd_surrogate.json", false},
    {"i_string_1st_surrogate_but_2nd_missing.json", false},
    {"i_string_1st_valid_surrogate_2nd_invalid.json", false},
    {"i_string_incomplete_surrogate_and_escape_valid.json", false},
    {"i_string_incomplete_surrogate_pair.json", false},
    {"i_string_incomplete_surrogates_escape_valid.json", false},
    {"i_string_invalid_lonely_surrogate.json", false},
    {"i_string_invalid_surrogate.json", false},
    {"i_string_inverted_surrogates_U+1D11E.json", false},
    {"i_string_lone_second_surrogate.json", false},
    /* JSON that systems exchange is UTF-8 (RFC 8259 section 8.1). */
    {"i_string_UTF-16LE_with_BOM.json", false},
    {"i_string_utf16BE_no_BOM.json", false},
    {"i_string_utf16LE_no_BOM.json", false},
    {"i_string_UTF-8_invalid_sequence.json", false},
    {"i_string_UTF8_surrogate_U+D800.json", false},
    {"i_string_invalid_utf-8.json", false},
    {"i_string_iso_latin_1.json", false},
    {"i_string_lone_utf8_continuation_byte.json", false},
    {"i_string_not_in_unicode_range.json", false},
    {"i_string_overlong_sequence_2_bytes.json", false},
    {"i_string_overlong_sequence_6_bytes.json", false},
    {"i_string_overlong_sequence_6_bytes_null.json", false},
    {"i_string_truncated-utf-8.json", false},
    /* 500 is below the limit of 1024. */
    {"i_structure_500_nested_arrays.json", true},
    /* A byte order mark is skipped at a file's begin, by who reads files;
     * it is no part of JSON. */
    {"i_structure_UTF-8_BOM_empty_object.json", false},
};

static bool is_accepted(const char *name)
{
    size_t i;

    if (name[0] != 'i')
        return name[0] == 'y';
    for (i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (strcmp(choices[i].name, name) == 0)
            return choices[i].accepted;
    }
    fail_msg("no choice is made for %s", name);
    return false;
}

/* Open the suite's folder, wherever it is; NULL when nowhere. */
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

static size_t read_sample(
    const char *folder, const char *name, uint8_t *text, size_t cap)
{
    char path[PATH_MAX + 256];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    n = fread(text, 1, cap, f);
    assert_true(n < cap);
    fclose(f);
    return n;
}

static void json_test_suite(void **state)
{
    static uint8_t text[1 << 20];
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
        struct mr_span span = {text, 0};
        enum mr_verdict verdict;
        size_t i;

        if (entry->d_name[0] == '.')
            continue;
        n_files++;
        span.n = read_sample(folder, entry->d_name, text, sizeof text);
        verdict = mr_json_check(span, 1024);
        if ((verdict == MR_LINE_VALUE) != is_accepted(entry->d_name))
            fail_msg("%s: verdict %d", entry->d_name, verdict);
        /* Lines: a line feed between tokens might as well be a space. */
        for (i = 0; verdict == MR_LINE_VALUE && i < span.n; i++) {
            if (text[i] == '\n')
                text[i] = ' ';
        }
        check_block(span, usual);
        if (!memchr(text, '\n', span.n))
            assert_int_equal(verdict_of(span, usual), verdict);
    }
    closedir(dir);
    assert_true(n_files >= 318);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_an_event),
        cmocka_unit_test(last_key_counts),
        cmocka_unit_test(one_key_in_many_objects),
        cmocka_unit_test(lines_and_their_ends),
        cmocka_unit_test(every_byte_in_every_place),
        cmocka_unit_test(utf8_sequences),
        cmocka_unit_test(surrogate_escapes),
        cmocka_unit_test(all_alignments),
        cmocka_unit_test(alike_lines),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(length_limit),
        cmocka_unit_test(depth_limit),
        cmocka_unit_test(hostile_nesting),
        cmocka_unit_test(nothing_is_read_behind_the_end),
        cmocka_unit_test(reader_is_used_again),
        cmocka_unit_test(impossible_plans),
        cmocka_unit_test(unescape),
        cmocka_unit_test(json_test_suite),
        cmocka_unit_test(random_good_lines),
        cmocka_unit_test(random_bad_lines),
        cmocka_unit_test(random_rubbish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
