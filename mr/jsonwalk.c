#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/jsonwalk.h"

#include "mr/kernels.h"

/* Where something is open, text is looked at by blocks of this size. */
#define BLOCK_BYTES 64

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
    w->kernels = mr_kernels();
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

/* Go on in a string whose contents others judge. */
static enum mr_walk_step walk_string(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    for (; *at < text.n; ++*at) {
        uint8_t c = text.p[*at];

        if (c == '\n') {
            if (w->way == MR_WALK_STRUCTURE)
                return MR_WALK_FAULT;
            w->has_feed = true;
        }
        if (c == '"' && !w->escaped) {
            ++*at;
            return string_ended(w);
        }
        w->escaped = c == '\\' && !w->escaped;
    }
    return MR_WALK_MORE;
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

/* ---- a step: a byte, or a string or scalar as far as the text goes ---- */

static enum mr_walk_step step_structure(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    bool whole = w->way == MR_WALK_WHOLE;

    if (w->place == STRING)
        return (whole ? check_string : walk_string)(w, text, at);
    if (w->place == SCALAR)
        return (whole || w->depth == 0 ? check_scalar : walk_scalar)(
            w, text, at);
    if (!mr_walk_is_white(text.p[*at]))
        return take_mark(w, text.p[*at], at);
    ++*at;
    return MR_WALK_MORE;
}

/* Only brackets and strings matter. */
static enum mr_walk_step step_brackets(
    struct mr_walk *w, struct mr_span text, size_t *at)
{
    uint8_t c = text.p[*at];

    if (w->place == STRING) {
        /* What it ends with is no concern of this walk. */
        (void)walk_string(w, text, at);
        return MR_WALK_MORE;
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
    return MR_WALK_MORE;
}

/* ---- a block in which something is open: the same ---- */

/* Go on to the value's end, a fault, or the block's end; how far that is goes
 * to n_out. */
static enum mr_walk_step block_brackets(struct mr_walk *w, const uint8_t *p,
    const struct mr_json_marks *marks, size_t *n_out)
{
    uint64_t left = marks->bracket;
    enum mr_walk_step step = MR_WALK_MORE;

    *n_out = BLOCK_BYTES;
    for (; left != 0; left &= left - 1) {
        size_t i = (size_t)__builtin_ctzll(left);

        if (p[i] == '{' || p[i] == '[') {
            push(w, p[i] == '{');
        } else if (!closes(w, p[i])) {
            *n_out = i;
            step = MR_WALK_FAULT;
            break;
        } else if (--w->depth == 0) {
            *n_out = i + 1;
            break;
        }
    }
    if (marks->feed != 0 && (size_t)__builtin_ctzll(marks->feed) < *n_out)
        w->has_feed = true;
    return step;
}

/* The string or scalar before a token has ended: marks tell where they begin,
 * not where they end. */
static void settle(struct mr_walk *w)
{
    if (w->place == STRING)
        (void)string_ended(w);
    else if (w->place == SCALAR)
        (void)value_ended(w, false);
}

static enum mr_walk_step block_structure(struct mr_walk *w, const uint8_t *p,
    const struct mr_json_marks *marks, size_t *n_out)
{
    uint64_t left = marks->token;

    if (marks->feed != 0)
        left &= (marks->feed & -marks->feed) - 1;
    for (; left != 0; left &= left - 1) {
        size_t i = (size_t)__builtin_ctzll(left);
        enum mr_walk_step step;

        settle(w);
        step = take_mark(w, p[i], &i);
        *n_out = i;
        if (step != MR_WALK_MORE)
            return step;
    }
    *n_out = BLOCK_BYTES;
    if (marks->feed == 0)
        return MR_WALK_MORE;
    *n_out = (size_t)__builtin_ctzll(marks->feed);
    return MR_WALK_FAULT;
}

/* Go on in a block; false, having done nothing, if it must be looked at byte
 * by byte. */
static bool walk_block(struct mr_walk *w, const uint8_t *p, size_t *at,
    enum mr_walk_step *step_out)
{
    bool in_string = w->place == STRING;
    struct mr_json_carry carry = {.in_string = 0 - (uint64_t)in_string,
        .in_scalar = w->place == SCALAR,
        .escaped = in_string && w->escaped};
    struct mr_json_marks marks;
    size_t n;

    if (!w->kernels->json_marks(&carry, p, &marks))
        return false;
    *step_out = (w->way == MR_WALK_BRACKETS ? block_brackets : block_structure)(
        w, p, &marks, &n);
    *at += n;
    w->escaped = carry.escaped != 0;
    if (w->way == MR_WALK_BRACKETS)
        w->place = n == BLOCK_BYTES && carry.in_string != 0 ? STRING : AFTER;
    else if (n == BLOCK_BYTES && (carry.in_string | carry.in_scalar) == 0)
        settle(w);
    return true;
}

enum mr_walk_step mr_walk_on(
    struct mr_walk *w, struct mr_span text, size_t *taken_out)
{
    enum mr_walk_step step = MR_WALK_MORE;
    size_t at = 0, slow = 0;

    while (at < text.n && step == MR_WALK_MORE) {
        if (w->depth > 0 && w->way != MR_WALK_WHOLE && at >= slow &&
            text.n - at >= BLOCK_BYTES) {
            if (walk_block(w, text.p + at, &at, &step))
                continue;
            slow = at + BLOCK_BYTES;
        }
        step = (w->way == MR_WALK_BRACKETS ? step_brackets : step_structure)(
            w, text, &at);
    }
    *taken_out = at;
    return step;
}
