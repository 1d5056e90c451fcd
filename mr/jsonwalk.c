#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/jsonwalk.h"

/* What stands next. */
enum place {
    VALUE,
    ITEM, /* a value, or the array's end */
    KEY,
    MEMBER, /* a key, or the object's end */
    COLON,
    AFTER, /* a comma, or an end */
    STRING,
    SCALAR
};

/* The last part of a number. */
enum number { MINUS, ZERO, WHOLE, POINT, FRACTION, EXPONENT, SIGN, POWER };

void mr_walk_begin(struct mr_walk *w, enum mr_walk_way way, uint32_t depth_max)
{
    w->way = way;
    w->depth_max = depth_max;
    w->depth = 0;
    w->place = VALUE;
    w->is_key = w->escaped = w->brace = w->has_feed = false;
    w->word = NULL;
}

bool mr_walk_brace(const struct mr_walk *w)
{
    return w->place == AFTER && w->brace;
}

/* ---- brackets ---- */

static void push(struct mr_walk *w, bool is_object)
{
    uint64_t bit = UINT64_C(1) << (w->depth % 64);

    if (w->depth < MR_JSON_DEPTH_MAX) {
        uint64_t *word = &w->is_object[w->depth / 64];

        *word = is_object ? *word | bit : *word & ~bit;
    }
    w->depth++;
}

static bool in_object(const struct mr_walk *w)
{
    uint64_t i = w->depth - 1;

    return w->is_object[i / 64] >> (i % 64) & 1;
}

/* Whether a bracket closes the one that is open. */
static bool closes(const struct mr_walk *w, uint8_t c)
{
    return w->depth > MR_JSON_DEPTH_MAX || in_object(w) == (c == '}');
}

static enum mr_walk_step value_ended(struct mr_walk *w, bool by_brace)
{
    w->brace = by_brace;
    w->place = AFTER;
    return w->depth == 0 ? MR_WALK_ENDED : MR_WALK_MORE;
}

static enum mr_walk_step string_ended(struct mr_walk *w)
{
    if (!w->is_key)
        return value_ended(w, false);
    w->is_key = false;
    w->place = COLON;
    return MR_WALK_MORE;
}

/* ---- strings ---- */

/* A bit in each byte of x that is zero, and maybe in bytes above one. */
static inline uint64_t zeros(uint64_t x)
{
    return (x - UINT64_C(0x0101010101010101)) & ~x &
           UINT64_C(0x8080808080808080);
}

/* The bytes before a quote, a backslash or a line feed. */
static inline size_t plain_bytes(const uint8_t *p, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t x = mr_get_u64(p + i);
        uint64_t ends = zeros(x ^ ones * '"') | zeros(x ^ ones * '\\') |
                        zeros(x ^ ones * '\n');

        /* The lowest is one for certain. */
        if (ends != 0)
            return i + (size_t)__builtin_ctzll(ends) / 8;
    }
    while (i < n && p[i] != '"' && p[i] != '\\' && p[i] != '\n')
        i++;
    return i;
}

/* Go on in a string whose contents others judge. */
static enum mr_walk_step walk_string(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    size_t i = *at;

    for (;; i++) {
        if (!w->escaped)
            i += plain_bytes(text.p + i, text.n - i);
        *at = i;
        if (i == text.n)
            return MR_WALK_MORE;
        if (text.p[i] == '\n') {
            if (w->way == MR_WALK_STRUCTURE)
                return MR_WALK_FAULT;
            w->has_feed = true;
        }
        if (text.p[i] == '"' && !w->escaped) {
            ++*at;
            return string_ended(w);
        }
        w->escaped = text.p[i] == '\\' && !w->escaped;
    }
}

/* The value of a hexadecimal digit, or 16. */
static uint32_t hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

/* A digit of \u.  A first half of a pair must be followed by a backslash, u
 * and the second. */
static bool take_digit(struct mr_walk *w, uint8_t c)
{
    uint32_t digit = hex_digit(c);

    if (digit > 15)
        return false;
    w->unit = w->unit << 4 | digit;
    if (--w->digits > 0)
        return true;
    if (w->low) {
        w->low = false;
        return w->unit >= 0xDC00 && w->unit <= 0xDFFF;
    }
    w->low = w->unit >= 0xD800 && w->unit <= 0xDBFF;
    return w->unit < 0xDC00 || w->unit > 0xDFFF;
}

static bool take_escape(struct mr_walk *w, uint8_t c)
{
    w->escaped = false;
    if (c == 'u') {
        w->digits = 4;
        w->unit = 0;
        return true;
    }
    return !w->low && c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
}

/* The first byte of a character of several, or one that continues it: table
 * 3-7 of the Unicode standard. */
static bool take_utf8(struct mr_walk *w, uint8_t c)
{
    if (w->tail > 0) {
        bool fits = c >= w->least && c <= w->most;

        w->tail--;
        w->least = 0x80;
        w->most = 0xBF;
        return fits;
    }
    if (c < 0xC2 || c > 0xF4)
        return false;
    w->tail = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    w->least = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    w->most = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return true;
}

/* Any byte of a string but the quote that ends it. */
static bool take_byte(struct mr_walk *w, uint8_t c)
{
    if (w->tail > 0)
        return take_utf8(w, c);
    if (w->digits > 0)
        return take_digit(w, c);
    if (w->escaped)
        return take_escape(w, c);
    w->escaped = c == '\\';
    if (w->low && !w->escaped)
        return false;
    return c < 0x80 ? c >= 0x20 : take_utf8(w, c);
}

/* Go on in a string that must be valid. */
static enum mr_walk_step check_string(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    for (; *at < text.n; ++*at) {
        uint8_t c = text.p[*at];
        bool special = w->tail > 0 || w->digits > 0 || w->escaped || w->low;

        if (c == '"' && !special) {
            ++*at;
            return string_ended(w);
        }
        if ((special || c < 0x20 || c >= 0x80 || c == '\\') && !take_byte(w, c))
            return MR_WALK_FAULT;
    }
    return MR_WALK_MORE;
}

static void begin_string(struct mr_walk *w, bool is_key)
{
    w->place = STRING;
    w->is_key = is_key;
    w->escaped = false;
    w->digits = w->tail = 0;
    w->low = false;
}

/* ---- numbers and words ---- */

/* What a byte makes of a number; -1: it cannot stand there, or ends it. */
static int next_number(uint8_t number, uint8_t c)
{
    bool digit = c >= '0' && c <= '9';

    switch ((enum number)number) {
    case MINUS:
        return c == '0' ? ZERO : digit ? WHOLE : -1;
    case ZERO:
    case WHOLE:
        if (digit && number == WHOLE)
            return WHOLE;
        return c == '.' ? POINT : (c | 0x20) == 'e' ? EXPONENT : -1;
    case POINT:
        return digit ? FRACTION : -1;
    case FRACTION:
        return digit ? FRACTION : (c | 0x20) == 'e' ? EXPONENT : -1;
    case EXPONENT:
        return digit ? POWER : c == '+' || c == '-' ? SIGN : -1;
    case SIGN:
    case POWER:
        break;
    }
    return digit ? POWER : -1;
}

static bool may_end(uint8_t number)
{
    return number == ZERO || number == WHOLE || number == FRACTION ||
           number == POWER;
}

static bool begin_scalar(struct mr_walk *w, uint8_t c)
{
    w->place = SCALAR;
    w->number = MINUS;
    w->word = c == 't' ? "rue" : c == 'f' ? "alse" : c == 'n' ? "ull" : NULL;
    if (w->word != NULL || c == '-')
        return true;
    if (next_number(MINUS, c) < 0)
        return false;
    w->number = (uint8_t)next_number(MINUS, c);
    return true;
}

/* Go on in a scalar that must be valid. */
static enum mr_walk_step check_scalar(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    for (; *at < text.n; ++*at) {
        uint8_t c = text.p[*at];
        int next;

        if (w->word != NULL) {
            if (c != (uint8_t)*w->word)
                return MR_WALK_FAULT;
            if (*++w->word != '\0')
                continue;
            ++*at;
            return value_ended(w, false);
        }
        next = next_number(w->number, c);
        if (next < 0)
            return may_end(w->number) ? value_ended(w, false) : MR_WALK_FAULT;
        w->number = (uint8_t)next;
    }
    return MR_WALK_MORE;
}

/* Bytes that do not belong to a scalar, whatever it is. */
static bool is_mark(uint8_t c)
{
    return mr_walk_is_white(c) || c == ',' || c == ':' || c == '"' ||
           (c | 0x20) == '{' || (c | 0x20) == '}';
}

static enum mr_walk_step walk_scalar(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    while (*at < text.n)
        if (is_mark(text.p[*at]))
            return value_ended(w, false);
        else
            ++*at;
    return MR_WALK_MORE;
}

/* ---- structure ---- */

static enum mr_walk_step take_value(struct mr_walk *w, uint8_t c, size_t *at)
{
    if (c == '{' || c == '[') {
        if (w->depth >= w->depth_max)
            return MR_WALK_DEEP;
        push(w, c == '{');
        w->place = c == '{' ? MEMBER : ITEM;
    } else if (c == '"') {
        begin_string(w, false);
    } else if (w->way == MR_WALK_WHOLE || w->depth == 0) {
        if (!begin_scalar(w, c))
            return MR_WALK_FAULT;
    } else {
        if (is_mark(c))
            return MR_WALK_FAULT;
        w->place = SCALAR;
    }
    ++*at;
    return MR_WALK_MORE;
}

static enum mr_walk_step take_end(struct mr_walk *w, uint8_t c, size_t *at)
{
    w->depth--;
    ++*at;
    return value_ended(w, c == '}');
}

/* A byte that is no white space and in neither string nor scalar. */
static enum mr_walk_step take_mark(struct mr_walk *w, uint8_t c, size_t *at)
{
    switch ((enum place)w->place) {
    case ITEM:
        if (c == ']')
            return take_end(w, c, at);
        return take_value(w, c, at);
    case MEMBER:
        if (c == '}')
            return take_end(w, c, at);
        /* fall through */
    case KEY:
        if (c != '"')
            return MR_WALK_FAULT;
        begin_string(w, true);
        ++*at;
        return MR_WALK_MORE;
    case COLON:
        if (c != ':')
            return MR_WALK_FAULT;
        w->place = VALUE;
        ++*at;
        return MR_WALK_MORE;
    case AFTER:
        if ((c == '}' || c == ']') && closes(w, c))
            return take_end(w, c, at);
        if (c != ',')
            return MR_WALK_FAULT;
        w->place = in_object(w) ? KEY : VALUE;
        ++*at;
        return MR_WALK_MORE;
    case VALUE:
    case STRING:
    case SCALAR:
        break;
    }
    return take_value(w, c, at);
}

static enum mr_walk_step walk_structure(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    bool whole = w->way == MR_WALK_WHOLE;
    enum mr_walk_step step = MR_WALK_MORE;

    while (*at < text.n && step == MR_WALK_MORE) {
        uint8_t c = text.p[*at];

        if (w->place == STRING)
            step = (whole ? check_string : walk_string)(w, text, at);
        else if (w->place == SCALAR)
            step = (whole || w->depth == 0 ? check_scalar : walk_scalar)(
                w, text, at);
        else if (mr_walk_is_white(c))
            ++*at;
        else
            step = take_mark(w, c, at);
    }
    return step;
}

/* Only brackets and strings matter. */
static enum mr_walk_step walk_brackets(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    while (*at < text.n) {
        uint8_t c = text.p[*at];

        if (w->place == STRING) {
            /* What it ends with is no concern of this walk. */
            (void)walk_string(w, text, at);
            continue;
        }
        if (c == '"') {
            begin_string(w, false);
        } else if (c == '{' || c == '[') {
            push(w, c == '{');
        } else if (c == '}' || c == ']') {
            if (w->depth == 0)
                return c == ']' ? MR_WALK_ENDED : MR_WALK_FAULT;
            if (!closes(w, c))
                return MR_WALK_FAULT;
            w->depth--;
        } else if (w->depth == 0 && (c == ',' || mr_walk_is_white(c))) {
            return MR_WALK_ENDED;
        }
        ++*at;
    }
    return MR_WALK_MORE;
}

enum mr_walk_step mr_walk_on(
    struct mr_walk *w, struct mr_span text, size_t *taken_out)
{
    *taken_out = 0;
    return (w->way == MR_WALK_BRACKETS ? walk_brackets : walk_structure)(
        w, text, taken_out);
}
