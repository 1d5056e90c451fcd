#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/fields.h"

#include <string.h>

/*
 * The plain reading of JSON: RFC 8259 from the first byte to the last, one
 * byte after the other.  It is the reference for the fast reading in
 * fields_json.c, which asks it about every line that is not plainly valid.
 */

/* Text being read. */
struct text {
    const uint8_t *p;
    const uint8_t *end;
};

/* The byte at hand, or -1 at the end. */
static int peek(const struct text *t)
{
    return t->p < t->end ? *t->p : -1;
}

static void skip_space(struct text *t)
{
    while (t->p < t->end &&
           (*t->p == ' ' || *t->p == '\t' || *t->p == '\n' || *t->p == '\r'))
        t->p++;
}

/* The value of a hexadecimal digit, or -1. */
static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* Read four hexadecimal digits; -1 if they are not there. */
static int32_t read_hex4(struct text *t)
{
    int32_t v = 0;
    int i;

    if (t->end - t->p < 4)
        return -1;
    for (i = 0; i < 4; i++) {
        int digit = hex_digit(t->p[i]);

        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    t->p += 4;
    return v;
}

/* Read what follows "\u": a code point, in two escapes if need be.  Return
 * -1 for bad digits and for a surrogate without its partner, which is no
 * character and has no UTF-8. */
static int32_t read_unicode_escape(struct text *t)
{
    int32_t v = read_hex4(t);
    int32_t low;

    if (v < 0xD800 || v > 0xDFFF)
        return v;
    if (v > 0xDBFF || t->end - t->p < 2 || t->p[0] != '\\' || t->p[1] != 'u')
        return -1;
    t->p += 2;
    low = read_hex4(t);
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
}

/* Read what follows a backslash; false if nothing of the kind is there. */
static bool read_escape(struct text *t)
{
    switch (peek(t)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        t->p++;
        return true;
    case 'u':
        t->p++;
        return read_unicode_escape(t) >= 0;
    default:
        return false;
    }
}

/* Read one character of two to four bytes: table 3-7 of the Unicode standard
 * (well-formed byte sequences). */
static bool read_utf8(struct text *t)
{
    const uint8_t *p = t->p;
    uint8_t least = 0x80;
    uint8_t most = 0xBF;
    ptrdiff_t n;
    ptrdiff_t i;

    if (p[0] < 0xC2 || p[0] > 0xF4)
        return false;
    n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] == 0xE0)
        least = 0xA0;
    else if (p[0] == 0xED)
        most = 0x9F;
    else if (p[0] == 0xF0)
        least = 0x90;
    else if (p[0] == 0xF4)
        most = 0x8F;
    if (t->end - p < n || p[1] < least || p[1] > most)
        return false;
    for (i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return false;
    }
    t->p += n;
    return true;
}

/* Read a string whose opening quote is at hand. */
static bool read_string(struct text *t)
{
    t->p++;
    for (;;) {
        int c = peek(t);

        if (c < 0x20)
            return false;
        if (c >= 0x80) {
            if (!read_utf8(t))
                return false;
            continue;
        }
        t->p++;
        if (c == '"')
            return true;
        if (c == '\\' && !read_escape(t))
            return false;
    }
}

/* Read at least one digit. */
static bool read_digits(struct text *t)
{
    const uint8_t *start = t->p;

    while (peek(t) >= '0' && peek(t) <= '9')
        t->p++;
    return t->p > start;
}

static bool read_number(struct text *t)
{
    if (peek(t) == '-')
        t->p++;
    if (peek(t) == '0')
        t->p++;
    else if (!read_digits(t))
        return false;
    if (peek(t) == '.') {
        t->p++;
        if (!read_digits(t))
            return false;
    }
    if (peek(t) == 'e' || peek(t) == 'E') {
        t->p++;
        if (peek(t) == '+' || peek(t) == '-')
            t->p++;
        if (!read_digits(t))
            return false;
    }
    return true;
}

static bool read_word(struct text *t, const char *word, size_t n)
{
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
        return false;
    t->p += n;
    return true;
}

/* Read a value that is not an object or array.  What follows it is for the
 * caller to judge: after "01" that is a digit where none may be. */
static bool read_scalar(struct text *t)
{
    switch (peek(t)) {
    case '"':
        return read_string(t);
    case 't':
        return read_word(t, "true", 4);
    case 'f':
        return read_word(t, "false", 5);
    case 'n':
        return read_word(t, "null", 4);
    default:
        return read_number(t);
    }
}

/* Open objects and arrays: one bit each, set for an object. */
struct nesting {
    uint32_t depth;
    uint64_t is_object[MR_JSON_DEPTH_MAX / 64 + 1];
};

static void push(struct nesting *n, bool is_object)
{
    uint64_t bit = UINT64_C(1) << (n->depth % 64);
    uint64_t *word = &n->is_object[n->depth / 64];

    *word = is_object ? *word | bit : *word & ~bit;
    n->depth++;
}

static bool in_object(const struct nesting *n)
{
    uint32_t i = n->depth - 1;

    return n->is_object[i / 64] >> (i % 64) & 1;
}

/* Read a member's key and colon. */
static bool read_key(struct text *t)
{
    skip_space(t);
    if (peek(t) != '"' || !read_string(t))
        return false;
    skip_space(t);
    if (peek(t) != ':')
        return false;
    t->p++;
    return true;
}

/* After a value: close what ends here, then stand before the next value.
 * Return false when neither is possible; the text's end is when the depth
 * has become 0. */
static bool read_after_value(struct text *t, struct nesting *n)
{
    while (n->depth > 0) {
        skip_space(t);
        if (peek(t) == ',') {
            t->p++;
            return !in_object(n) || read_key(t);
        }
        if (peek(t) != (in_object(n) ? '}' : ']'))
            return false;
        t->p++;
        n->depth--;
    }
    return true;
}

/* Open the object or array at hand and, if it is empty, close it; else
 * stand before its first value. */
static bool read_opening(struct text *t, struct nesting *n, bool *empty_out)
{
    bool is_object = *t->p == '{';

    t->p++;
    push(n, is_object);
    skip_space(t);
    *empty_out = peek(t) == (is_object ? '}' : ']');
    return *empty_out || !is_object || read_key(t);
}

enum mr_verdict mr_json_check(struct mr_span span, uint32_t max_depth)
{
    struct text t;
    struct nesting n;

    if (span.n == 0)
        return MR_LINE_BLANK;
    t.p = span.p;
    t.end = span.p + span.n;
    n.depth = 0;
    if (max_depth > MR_JSON_DEPTH_MAX)
        max_depth = MR_JSON_DEPTH_MAX;
    skip_space(&t);
    if (t.p == t.end)
        return MR_LINE_BLANK;
    do {
        bool empty;

        skip_space(&t);
        if (peek(&t) != '{' && peek(&t) != '[') {
            if (!read_scalar(&t))
                return MR_LINE_INVALID;
        } else {
            if (n.depth >= max_depth)
                return MR_LINE_TOO_DEEP;
            if (!read_opening(&t, &n, &empty))
                return MR_LINE_INVALID;
            if (!empty)
                continue;
        }
        if (!read_after_value(&t, &n))
            return MR_LINE_INVALID;
    } while (n.depth > 0);
    skip_space(&t);
    return t.p == t.end ? MR_LINE_VALUE : MR_LINE_INVALID;
}

/* Write a code point as UTF-8; return its length. */
static size_t put_utf8(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

/* The character that an escape stands for; t is behind the backslash. */
static uint32_t escaped_character(struct text *t)
{
    uint8_t c = *t->p++;
    int32_t v;

    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        v = read_unicode_escape(t);
        return v < 0 ? 0xFFFD : (uint32_t)v;
    default:
        return c;
    }
}

/* The length of the text's characters up to the next escape that fit into n
 * bytes; all of them are put in *whole_out. */
static size_t plain_bytes(const struct text *t, size_t n, size_t *whole_out)
{
    size_t rest = (size_t)(t->end - t->p);
    const uint8_t *escape = memchr(t->p, '\\', rest);
    size_t fit;

    /* A backslash that ends the text escapes nothing. */
    if (escape != NULL && t->end - escape > 1)
        rest = (size_t)(escape - t->p);
    *whole_out = rest;
    fit = rest < n ? rest : n;
    while (fit < rest && fit > 0 && (t->p[fit] & 0xC0) == 0x80)
        fit--;
    return fit;
}

size_t mr_fields_unescape(struct mr_span text, uint8_t *out, size_t cap)
{
    struct text t;
    size_t n = 0;
    bool full = false;

    if (text.n == 0)
        return 0;
    t.p = text.p;
    t.end = text.p + text.n;
    while (t.p < t.end) {
        uint8_t bytes[4];
        size_t n_bytes;
        size_t n_fit;

        n_fit = plain_bytes(&t, full ? 0 : cap - n, &n_bytes);
        if (!full)
            memcpy(out + n, t.p, n_fit);
        full |= n_fit < n_bytes;
        n += n_bytes;
        t.p += n_bytes;
        if (t.p == t.end)
            break;
        t.p++;
        n_bytes = put_utf8(bytes, escaped_character(&t));
        /* Nothing after the first character that does not fit. */
        full |= !full && n_bytes > cap - n;
        if (!full)
            memcpy(out + n, bytes, n_bytes);
        n += n_bytes;
    }
    return n;
}
