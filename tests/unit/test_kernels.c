#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/kernels.h"
#include "tests/unit/random.h"

/* Every level against slow code that does the same one byte at a time. */

/* Run a check at each level that this machine has. */
static void at_each_level(void (*check)(const struct mr_kernels *))
{
    int level;

    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_available((enum mr_kernel_level)level))
            continue;
        assert_true(mr_kernels_force((enum mr_kernel_level)level));
        assert_int_equal(mr_kernels()->level, level);
        check(mr_kernels());
    }
}

static void levels_are_named(void **state)
{
    int level;

    (void)state;
    assert_true(mr_kernels_available(MR_KERNEL_PORTABLE));
    assert_false(mr_kernels_available((enum mr_kernel_level)99));
    assert_false(mr_kernels_force((enum mr_kernel_level)99));
    /* The first choice is the best there is. */
    for (level = MR_KERNEL_LEVELS - 1; level >= 0; level--) {
        if (mr_kernels_available((enum mr_kernel_level)level))
            break;
    }
    assert_int_equal(mr_kernels()->level, level);
    print_message("the best level here is %s\n", mr_kernels()->name);
}

/* ---- Tokens ---- */

struct slow_state {
    bool in_string, escaped, in_scalar;
};

static bool is_op(int c)
{
    return c && strchr("{}[]:,", c);
}

/* The tokens of n bytes as kernels.h defines them. */
static size_t slow_tokens(struct slow_state *s, const uint8_t *p, size_t n,
    uint16_t *pos, uint8_t *kind)
{
    size_t n_tokens = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        bool escaped = s->escaped;
        bool was_scalar = s->in_scalar;
        bool take = false;

        s->escaped = p[i] == '\\' && !escaped;
        s->in_scalar = false;
        if (p[i] == '\n') {
            s->in_string = false;
            take = true;
        } else if (p[i] == '"' && !escaped) {
            s->in_string = !s->in_string;
            take = s->in_string;
        } else if (!s->in_string) {
            bool blank = p[i] == ' ' || p[i] == '\t' || p[i] == '\r';

            /* Also a quote that a backslash outside of strings escapes. */
            s->in_scalar = !blank && !is_op(p[i]);
            take = is_op(p[i]) || (s->in_scalar && !was_scalar);
        }
        if (take) {
            pos[n_tokens] = (uint16_t)i;
            kind[n_tokens++] = p[i];
        }
    }
    return n_tokens;
}

/* Text in which every rule about tokens meets every other. */
static void random_text(uint8_t *p, size_t n)
{
    static const char *const some[] = {"\"", "\"\"", "\"a\\\"b\"", "{", "}",
        "[", "]", ":", ",", "12.5", "true", " ", "\t", "\r", "\n", "\"\\\\\"",
        "\"\\\\\\\"\"", "x", "\x0c", "\x1a", "\"long string, {with} [ops]\"",
        "\xc3\xa9", "\"\xe2\x82\xac\"", "\x01"};
    size_t at = 0;

    while (at < n) {
        const char *s = some[any(sizeof some / sizeof *some)];
        size_t length = strlen(s);
        size_t repeat = any(10) ? 1 : 1 + any(20);

        for (; repeat > 0 && at + length <= n; repeat--, at += length)
            memcpy(p + at, s, length);
        if (n - at < 40) {
            memset(p + at, ' ', n - at);
            at = n;
        }
    }
}

static void begin_text(struct mr_tokens *t)
{
    memset(&t->carry, 0, sizeof t->carry);
    t->n = 0;
    t->pos[0] = (uint16_t)any64();
    t->kind[0] = (uint8_t)any64();
}

static void check_tokens(const struct mr_kernels *k)
{
    static struct mr_tokens t;
    static uint8_t text[3 * MR_SCAN_BYTES];
    static uint16_t pos[MR_TOKENS_MAX];
    static uint8_t kind[MR_TOKENS_MAX];
    unsigned round;

    seed = 1;
    for (round = 0; round < 300; round++) {
        size_t n = 1 + any(round % 4 ? 300 : sizeof text);
        struct slow_state slow = {false, false, false};
        size_t want;
        size_t at;
        size_t i;

        random_text(text, n);
        want = slow_tokens(&slow, text, n, pos, kind);
        if (text[n - 1] != '\n') {
            pos[want] = (uint16_t)n;
            kind[want++] = '\n';
        }
        begin_text(&t);
        for (at = 0; at < n; at += MR_SCAN_BYTES)
            k->tokenize(&t, text, at, n);
        assert_int_equal(t.n, want);
        for (i = 0; i < want; i++) {
            assert_int_equal(t.pos[1 + i], pos[i]);
            if (kind[i] != '"')
                assert_int_equal(t.kind[1 + i], kind[i]);
            else if (pos[i] + 1U < n)
                assert_int_equal(t.kind[1 + i], 0x80 | text[pos[i] + 1]);
        }
    }
}

static void tokens(void **state)
{
    (void)state;
    at_each_level(check_tokens);
}

/* What the kernel gives of n bytes is what the portable one gives. */
static void assert_same_tokens(
    const struct mr_kernels *k, const uint8_t *text, size_t n)
{
    static struct mr_tokens want, got;
    const struct mr_kernels *portable;
    size_t at;

    assert_true(mr_kernels_force(MR_KERNEL_PORTABLE));
    portable = mr_kernels();
    begin_text(&want);
    begin_text(&got);
    got.pos[0] = want.pos[0];
    got.kind[0] = want.kind[0];
    for (at = 0; at < n; at += MR_SCAN_BYTES) {
        size_t first = want.n;

        portable->tokenize(&want, text, at, n);
        portable->outline(&want, first, text, n);
        k->tokenize(&got, text, at, n);
        k->outline(&got, first, text, n);
        assert_int_equal(got.n_ends, want.n_ends);
        assert_memory_equal(got.end, want.end, 2 * want.n_ends);
    }
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.flags, want.flags, (n + 63) / 64);
    assert_memory_equal(got.pos + 1, want.pos + 1, 2 * want.n);
    assert_memory_equal(got.kind + 1, want.kind + 1, want.n);
    assert_memory_equal(got.outline, want.outline, want.n);
}

/* Everything the kernels give is the same at each level for any bytes. */
static void check_tokens_equal(const struct mr_kernels *k)
{
    static const uint8_t alphabet[] = "\"\"\"\\\\{}[]:,01-.eEtrue \t\n\r\x0c"
                                      "\x1a\x01ud8dcDC\xc3\xa9\xe0\xed\xf0\xf4";
    static uint8_t text[2 * MR_SCAN_BYTES];
    unsigned round;

    seed = 2;
    for (round = 0; round < 2000; round++) {
        size_t n = 1 + any(round % 20 ? 500 : sizeof text);
        size_t at;

        for (at = 0; at < n; at++)
            text[at] = round % 3 ? alphabet[any(sizeof alphabet - 1)]
                                 : (uint8_t)any64();
        assert_same_tokens(k, text, n);
    }
}

/* Write some of a list of texts, each more often the nearer it stands to the
 * front; return what follows. */
static size_t put_some(uint8_t *p, size_t at, unsigned n_texts,
    const char *const *some, unsigned n_some)
{
    unsigned i;

    for (i = 0; i < n_texts; i++) {
        const char *s = some[any(1 + any(n_some))];
        size_t n = strlen(s);

        memcpy(p + at, s, n);
        at += n;
    }
    return at;
}

/* Good lines of long strings in which everything that may be in a string is,
 * whatever blocks it falls into; at least n bytes of them, and at most 8192
 * more.  Return how many. */
static size_t long_strings(uint8_t *p, size_t n)
{
    static const char *const parts[] = {"some prose, {with} [ops]: 12 ", "\\\"",
        "\\n", "\\\\", "\xc3\xa9", "\\u00e9", "\xf0\x9f\x98\x80",
        "\\ud83d\\ude00", "\\/", "\\\\\\\"", "\xe2\x82\xac", "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\\t\\b\\f\\r",
        "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"};
    static const char *const others[] = {"\":\"", "\",\"", "\":[1,-2.5e7],\"",
        "\" :\"", "\",true,\"", "\"}\n{\"", "\"\r\n\"", "\":\t \""};
    /* Some of prose alone. */
    unsigned n_parts = any(3) ? 1 + any(sizeof parts / sizeof *parts) : 1;
    unsigned most = 1 + any(60);
    size_t at = 0;

    p[at++] = '"';
    while (at < n) {
        at = put_some(p, at, any(most), parts, n_parts);
        at = put_some(p, at, 1, others, sizeof others / sizeof *others);
    }
    p[at++] = '"';
    return at;
}

/* What makes a string bad, or ends it. */
static const char *const wrong[] = {"\"", "\\", "x", "\n", "\x01", "\x80",
    "\xbf", "\xc3", "\xe0", "\xed", "\xf0", "\xf5", ":", "\xc1\xbf",
    "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
    "\xf4\x90\x80\x80", "\xf4\xa0\x80\x80", "\\a", "\\b", "\\f", "\\v",
    "\\U0041", "\\u00e", "\\u004g", "\\uD800", "\\udbff\\n", "\\uDC00",
    "\\ud83d\\u0041", "\\ud83dxx\\ude00", "\"\\\" :"};

/* The same for each of these beside the borders of blocks, with nothing else
 * near. */
static void check_borders_equal(const struct mr_kernels *k)
{
    static uint8_t text[3 * 512];
    size_t i;

    seed = 13;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t border;

        for (border = 64; border <= 1024; border += 64) {
            size_t before;

            for (before = 0; before <= 12; before++) {
                memset(text, 'a', sizeof text);
                text[0] = text[sizeof text - 1] = '"';
                memcpy(text + border - before, wrong[i], strlen(wrong[i]));
                assert_same_tokens(k, text, sizeof text);
            }
        }
    }
}

/* The same for text of long strings, and with something wrong in it. */
static void check_strings_equal(const struct mr_kernels *k)
{
    static uint8_t text[MR_SCAN_BYTES + 8192 + 8192];
    unsigned round;

    seed = 12;
    for (round = 0; round < 6000; round++) {
        size_t n = long_strings(
            text, round % 8 ? 1 + any(3000) : MR_SCAN_BYTES + any(8192));
        unsigned n_wrong = round % 2 ? 1 + any(3) : 0;

        for (; n_wrong > 0; n_wrong--) {
            const char *s = wrong[any(sizeof wrong / sizeof *wrong)];
            size_t n_s = strlen(s);
            size_t at = any((unsigned)n);

            /* Mostly beside the end of a block, which eight may end with. */
            if (any(4))
                at = at / 64 * 64 + 64 - any((unsigned)n_s + 1);
            if (at + n_s <= n)
                memcpy(text + at, s, n_s);
        }
        /* Cut anywhere, too. */
        assert_same_tokens(k, text, n - any(round % 3 ? 1 : (unsigned)n));
    }
}

static void tokens_are_the_same(void **state)
{
    (void)state;
    at_each_level(check_tokens_equal);
    at_each_level(check_strings_equal);
    at_each_level(check_borders_equal);
}

/* ---- JSON that is not one value a line ---- */

/* The marks of a block; false where a backslash stands outside of strings. */
static bool slow_marks(
    struct slow_state *s, const uint8_t *p, struct mr_json_marks *m)
{
    bool odd = false;
    unsigned i;

    memset(m, 0, sizeof *m);
    for (i = 0; i < 64; i++) {
        uint64_t bit = UINT64_C(1) << i;

        if (s->in_string) {
            if (p[i] == '\n')
                m->feed |= bit;
            s->in_string = p[i] != '"' || s->escaped;
            s->escaped = p[i] == '\\' && !s->escaped;
            continue;
        }
        odd |= p[i] == '\\';
        s->in_string = p[i] == '"';
        if (p[i] != 0 && strchr("{}[]", p[i]))
            m->bracket |= bit;
        if (is_op(p[i]) || p[i] == '"') {
            m->token |= bit;
            s->in_scalar = false;
        } else if (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' ||
                   p[i] == '\n') {
            s->in_scalar = false;
        } else {
            if (!s->in_scalar)
                m->token |= bit;
            s->in_scalar = true;
        }
    }
    return !odd;
}

static void check_marks(const struct mr_kernels *k)
{
    static uint8_t text[64 * 200];
    unsigned n_odd = 0;
    size_t at;

    seed = 4;
    for (unsigned round = 0; round < 100; round++) {
        struct slow_state slow = {false, false, false};

        random_text(text, sizeof text);
        for (at = 0; at < sizeof text; at += 64) {
            struct mr_json_carry carry = {
                .in_string = slow.in_string ? UINT64_MAX : 0,
                .in_scalar = slow.in_scalar,
                .escaped = slow.escaped};
            struct mr_json_marks want, marks;
            bool good = slow_marks(&slow, text + at, &want);

            assert_int_equal(k->json_marks(&carry, text + at, &marks), good);
            n_odd += !good;
            if (!good)
                continue;
            assert_int_equal(marks.token, want.token);
            assert_int_equal(marks.bracket, want.bracket);
            assert_int_equal(marks.feed, want.feed);
            assert_int_equal(carry.in_string, slow.in_string ? UINT64_MAX : 0);
            assert_int_equal(carry.in_scalar, slow.in_scalar);
            assert_int_equal(carry.escaped, slow.escaped);
        }
    }
    assert_in_range(n_odd, 1000, 19000);
}

static void marks_of_values(void **state)
{
    (void)state;
    at_each_level(check_marks);
}

/* ---- Outlines ---- */

/* What kernels.h says that the outline of token i is. */
static uint8_t slow_outline(const struct mr_tokens *t, size_t i)
{
    uint8_t kind = t->kind[1 + i];
    int length = (uint16_t)(t->pos[1 + i] - t->pos[i] - 2);

    if (kind & 0x80)
        return i + 1 < t->n && t->kind[2 + i] == ':' ? kind : MR_OUTLINE_STRING;
    if (kind == ':' && t->kind[i] & 0x80)
        return (uint8_t)(length < MR_OUTLINE_LONG ? length : MR_OUTLINE_LONG);
    return is_op(kind) || kind == '\n' ? kind : MR_OUTLINE_SCALAR;
}

static void check_outline(const struct mr_kernels *k)
{
    static struct mr_tokens t;
    static uint8_t text[3 * MR_SCAN_BYTES];
    unsigned round;

    seed = 6;
    for (round = 0; round < 300; round++) {
        size_t n = 1 + any(round % 4 ? 700 : sizeof text);
        size_t at;
        size_t i;

        random_text(text, n);
        begin_text(&t);
        for (at = 0; at < n; at += MR_SCAN_BYTES) {
            size_t first = t.n;
            size_t n_ends = 0;

            k->tokenize(&t, text, at, n);
            k->outline(&t, first, text, n);
            for (i = first; i < t.n; i++) {
                if (t.kind[1 + i] == '\n')
                    assert_int_equal(t.end[n_ends++], i);
            }
            assert_int_equal(t.n_ends, n_ends);
        }
        for (i = 0; i + 1 < t.n; i++)
            assert_int_equal(t.outline[i], slow_outline(&t, i));
    }
}

static void outlines(void **state)
{
    (void)state;
    at_each_level(check_outline);
}

/* ---- Sorting tokens ---- */

static uint64_t bit_if(bool condition, unsigned i)
{
    return (uint64_t)condition << i;
}

/* The sets of a group of n tokens whose kinds are given. */
static struct mr_token_sets slow_sets(const uint8_t *kind, size_t n)
{
    struct mr_token_sets s = {0};
    unsigned i;

    for (i = 0; i < n; i++) {
        uint8_t c = kind[i];

        s.open |= bit_if(c == '{' || c == '[', i);
        s.close |= bit_if(c == '}' || c == ']', i);
        s.curly |= bit_if(c == '{' || c == '}', i);
        s.colon |= bit_if(c == ':', i);
        s.comma |= bit_if(c == ',', i);
        s.string |= bit_if(c >= 0x80, i);
        s.newline |= bit_if(c == '\n', i);
        s.scalar |= bit_if(c < 0x80 && !is_op(c) && c != '\n', i);
    }
    return s;
}

static void assert_same_sets(
    const struct mr_token_sets *a, const struct mr_token_sets *b, size_t n)
{
    uint64_t range = UINT64_MAX >> (64 - n);

    assert_true((a->open & range) == (b->open & range));
    assert_true((a->close & range) == (b->close & range));
    assert_true((a->curly & range) == (b->curly & range));
    assert_true((a->colon & range) == (b->colon & range));
    assert_true((a->comma & range) == (b->comma & range));
    assert_true((a->string & range) == (b->string & range));
    assert_true((a->newline & range) == (b->newline & range));
    assert_true((a->scalar & range) == (b->scalar & range));
}

static void check_sort_of(
    const struct mr_kernels *k, const uint8_t *text, size_t n)
{
    static struct mr_tokens t;
    struct mr_key_filter filter;
    size_t i;

    for (i = 0; i < 64; i++)
        filter.length[i] = (uint8_t)(any64() & any64());
    for (i = 0; i < 128; i++)
        filter.first[i] = (uint8_t)(any64() & any64());
    begin_text(&t);
    k->tokenize(&t, text, 0, n);
    for (i = 0; i < t.n; i += 1 + any(70)) {
        size_t n_group = t.n - i < 64 ? t.n - i : 64;
        struct mr_token_sets want = slow_sets(t.kind + 1 + i, n_group);
        struct mr_token_sets got;
        uint64_t passing = k->sort(&t, i, &filter, &got);
        size_t j;

        assert_same_sets(&got, &want, n_group);
        for (j = i; j < i + n_group; j++) {
            uint16_t length = (uint16_t)(t.pos[1 + j] - t.pos[j] - 2);
            bool passes = t.kind[1 + j] == ':' &&
                          filter.length[length < 63 ? length : 63] &
                              filter.first[t.kind[j] & 0x7F];

            assert_int_equal(passing >> (j - i) & 1, passes);
        }
    }
}

static void check_sort(const struct mr_kernels *k)
{
    static uint8_t text[MR_SCAN_BYTES];
    unsigned round;

    seed = 3;
    for (round = 0; round < 300; round++) {
        size_t n = 1 + any(sizeof text);

        random_text(text, n);
        check_sort_of(k, text, n);
    }
    memset(text, ':', sizeof text);
    check_sort_of(k, text, sizeof text);
    memset(text, '\n', sizeof text);
    check_sort_of(k, text, sizeof text);
    memset(text, '1', sizeof text);
    for (round = 1; round < sizeof text; round += 2)
        text[round] = ' ';
    check_sort_of(k, text, sizeof text);
}

static void sorting(void **state)
{
    (void)state;
    at_each_level(check_sort);
}

/* ---- Nesting ---- */

/* Match the brackets of n tokens up to the first bad one; return how many
 * are good. */
static size_t slow_nest(const uint8_t *kind, size_t n, int32_t limit,
    uint8_t stack[MR_NEST_DEPTH + 1], struct mr_nesting *out)
{
    unsigned i;

    memset(out->opens, 0, sizeof out->opens);
    out->object_comma = out->outermost = 0;
    for (i = 0; i < n; i++) {
        out->level[i] = (uint8_t)out->depth;
        switch (kind[i]) {
        case '{':
        case '[':
            if (out->depth == limit)
                return i;
            stack[++out->depth] = kind[i] == '{' ? '}' : ']';
            if (out->depth <= MR_NEST_LEVELS)
                out->opens[out->depth] |= UINT64_C(1) << i;
            break;
        case '}':
        case ']':
            if (out->depth == 0 || stack[out->depth] != kind[i])
                return i;
            out->outermost |= bit_if(out->depth == 1, i);
            out->depth--;
            break;
        case ',':
            out->object_comma |=
                bit_if(out->depth > 0 && stack[out->depth] == '}', i);
            break;
        case '\n':
            if (out->depth != 0)
                return i;
        }
    }
    return n;
}

/* Brackets that mostly fit. */
static void random_kinds(uint8_t *kind, size_t n, int32_t depth,
    const uint8_t *stack_before, unsigned error_rate)
{
    static const char some[] = "{{[[}}}]]],,,::\x80\x80";
    uint8_t stack[MR_NEST_DEPTH + 70];
    size_t i;

    memcpy(stack, stack_before, MR_NEST_DEPTH + 1);
    for (i = 0; i < n; i++) {
        uint8_t c = (uint8_t)some[any(sizeof some - 1)];

        if (depth == 0 && (c == '}' || c == ']'))
            c = '\n';
        if (c == '}' || c == ']')
            c = stack[depth--];
        if (c == '{' || c == '[')
            stack[++depth] = c == '{' ? '}' : ']';
        kind[i] = error_rate && any(error_rate) == 0 ? '}' : c;
    }
}

static void check_nest(const struct mr_kernels *k)
{
    unsigned round;

    seed = 5;
    for (round = 0; round < 3000; round++) {
        struct mr_nesting got = {0};
        struct mr_nesting want = {0};
        uint8_t stack[MR_NEST_DEPTH + 1] = {0};
        int32_t limit = any(3) ? MR_NEST_DEPTH : 1 + (int32_t)any(9);
        size_t good;
        size_t n;

        for (;;) {
            uint8_t kind[64];
            struct mr_token_sets sets;
            uint64_t range;
            unsigned i;

            n = 1 + any(64);
            random_kinds(kind, n, want.depth, stack, round % 3 ? 400 : 0);
            sets = slow_sets(kind, n);
            good = slow_nest(kind, n, limit, stack, &want);
            k->nest(&sets, n, limit, &got);
            range = good ? UINT64_MAX >> (64 - good) : 0;
            if (good < n) {
                assert_true(got.bad != 0);
                assert_int_equal(__builtin_ctzll(got.bad), good);
            } else {
                assert_true(got.bad == 0);
                assert_int_equal(got.depth, want.depth);
            }
            assert_true((got.object_comma & range) == want.object_comma);
            assert_true((got.outermost & range) == want.outermost);
            for (i = 1; i <= MR_NEST_LEVELS; i++)
                assert_true((got.opens[i] & range) == want.opens[i]);
            for (i = 0; i < good; i++) {
                if (kind[i] == ':')
                    assert_int_equal(got.level[i], want.level[i]);
            }
            if (good < n || any(10) == 0)
                break;
        }
    }
}

static void nesting(void **state)
{
    (void)state;
    at_each_level(check_nest);
}

/* ---- Scalars ---- */

/* One scalar in a text that goes on for n_more bytes. */
static void check_scalar(const struct mr_kernels *k, const char *scalar,
    const char *end, size_t n_more, bool good)
{
    static struct mr_tokens t;
    size_t n_scalar = strlen(scalar);
    size_t n_end = strlen(end);
    unsigned before;

    for (before = 0; before < 9; before++) {
        size_t n = 3 * before + n_scalar + n_end + n_more;
        uint8_t *text = malloc(n);
        unsigned suspect;
        size_t i;

        assert_non_null(text);
        for (i = 0; i < before; i++)
            memcpy(text + 3 * i, "0, ", 3);
        memcpy(text + 3 * before, scalar, n_scalar);
        memcpy(text + 3 * before + n_scalar, end, n_end);
        memset(text + n - n_more, ' ', n_more);
        begin_text(&t);
        k->tokenize(&t, text, 0, n);
        k->outline(&t, 0, text, n);
        suspect = 0;
        for (i = 0; i < (n + 63) / 64; i++)
            suspect |= t.flags[i] & MR_BLOCK_SUSPECT;
        assert_int_equal(suspect == 0, good);
        free(text);
    }
}

static void check_scalars(const struct mr_kernels *k)
{
    static const struct {
        const char *text;
        bool good;
    } some[] = {{"true", true}, {"false", true}, {"null", true}, {"tru", false},
        {"truex", false}, {"True", false}, {"nul", false}, {"falsy", false},
        {"0", true}, {"-0", true}, {"00", false}, {"01", false}, {"-01", false},
        {"-", false}, {"+1", false}, {".5", false}, {"5.", false},
        {"5.e1", false}, {"5.0", true}, {"5e", false}, {"5e+", false},
        {"5e1", true}, {"5E-10", true}, {"5e+00", true}, {"5e1.5", false},
        {"1234567", true}, {"12345678", true}, {"123456789", true},
        {"1234567x", false}, {"12345678x", false}, {"1234567890123456", true},
        {"12345678901234567890123456789012345", true}, {"1-2", false},
        {"1e5e5", false}, {"1.2.3", false}, {"0x10", false}, {"1\xc3", false},
        {"0.00000000000001", true}, {"-1.5e-300", true}, {"NaN", false},
        {"-Infinity", false}, {"1\x0c", false}, {"1\x1a", false},
        {"1\\", false}, {"\x01", false}, {"1/", false}, {"1;", false}};
    static const char *const ends[] = {
        "", ",", "}", "]", " ", "\n", "\r", "\t", ":", "\"\"", "{", "["};
    size_t i;
    size_t j;

    for (i = 0; i < sizeof some / sizeof *some; i++) {
        for (j = 0; j < sizeof ends / sizeof *ends; j++) {
            check_scalar(k, some[i].text, ends[j], 0, some[i].good);
            if (ends[j][0])
                check_scalar(k, some[i].text, ends[j], 40, some[i].good);
        }
    }
}

static void scalars(void **state)
{
    (void)state;
    at_each_level(check_scalars);
}

/* ---- Arithmetic ---- */

static void check_arithmetic(const struct mr_kernels *k)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 127, 200, 1024};
    size_t i;
    size_t j;

    seed = 4;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        uint8_t *a = malloc(n + 1);
        uint8_t *b = malloc(n + 1);
        uint8_t *most = malloc(n + 1);
        uint64_t *x = malloc((n + 1) * sizeof *x);
        uint64_t *y = malloc((n + 1) * sizeof *y);
        uint64_t *either = malloc((n + 1) * sizeof *either);
        uint64_t count = 0;

        for (j = 0; j <= n; j++) {
            a[j] = (uint8_t)any64();
            b[j] = (uint8_t)any64();
            x[j] = any64();
            y[j] = any64() & any64();
            most[j] = j < n && b[j] > a[j] ? b[j] : a[j];
            either[j] = j < n ? x[j] | y[j] : x[j];
        }
        k->max_u8(a, b, n);
        assert_memory_equal(a, most, n + 1);
        k->or_u64(x, y, n);
        assert_memory_equal(x, either, (n + 1) * sizeof *x);
        for (j = 0; j < 64 * n; j++)
            count += x[j / 64] >> (j % 64) & 1;
        assert_true(k->popcount_u64(x, n) == count);
        free(a);
        free(b);
        free(most);
        free(x);
        free(y);
        free(either);
    }
}

static void arithmetic(void **state)
{
    (void)state;
    at_each_level(check_arithmetic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_named),
        cmocka_unit_test(tokens),
        cmocka_unit_test(tokens_are_the_same),
        cmocka_unit_test(marks_of_values),
        cmocka_unit_test(outlines),
        cmocka_unit_test(sorting),
        cmocka_unit_test(nesting),
        cmocka_unit_test(scalars),
        cmocka_unit_test(arithmetic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
