#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/jsonpeek.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct mr_span behind(struct mr_span text, size_t n)
{
    return (struct mr_span){text.p + n, text.n - n};
}

struct mr_span mr_peek_skip(struct mr_span text)
{
    while (text.n > 0 && is_space(text.p[0]))
        text = behind(text, 1);
    return text;
}

/* Length of the string that begins at i, with its quotes; 0: it is open. */
static size_t string_length(struct mr_span text, size_t i)
{
    size_t start = i++;

    while (i < text.n && text.p[i] != '"')
        i += text.p[i] == '\\' ? 2 : 1;
    return i < text.n ? i + 1 - start : 0;
}

size_t mr_peek_length(struct mr_span text)
{
    size_t depth = 0, i = 0;

    while (i < text.n) {
        uint8_t c = text.p[i];
        size_t n = 1;

        if (c == '"') {
            n = string_length(text, i);
            if (n == 0)
                return 0;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return i;
            depth--;
        } else if (depth == 0) {
            /* A number or a word. */
            if (c == ',' || c == ':' || is_space(c))
                return i;
            i++;
            continue;
        }
        i += n;
        if (depth == 0)
            return i;
    }
    return 0;
}

enum mr_kind mr_peek_kind(struct mr_span value)
{
    switch (value.n == 0 ? 0 : value.p[0]) {
    case '{':
        return MR_KIND_OBJECT;
    case '[':
        return MR_KIND_ARRAY;
    case '"':
        return MR_KIND_STRING;
    case 't':
        return MR_KIND_TRUE;
    case 'f':
        return MR_KIND_FALSE;
    case 'n':
        return MR_KIND_NULL;
    default:
        return value.n > 0 && strchr("-0123456789", value.p[0]) != NULL &&
                       value.p[0] != 0
                   ? MR_KIND_NUMBER
                   : MR_KIND_NONE;
    }
}

bool mr_peek_open(struct mr_span text, char open, struct mr_span *rest_out)
{
    text = mr_peek_skip(text);
    if (text.n == 0 || text.p[0] != (uint8_t)open)
        return false;
    *rest_out = behind(text, 1);
    return true;
}

static struct mr_span skip_comma(struct mr_span text)
{
    text = mr_peek_skip(text);
    if (text.n > 0 && text.p[0] == ',')
        text = mr_peek_skip(behind(text, 1));
    return text;
}

bool mr_peek_key(struct mr_span *rest, struct mr_span *key_out)
{
    struct mr_span text = skip_comma(*rest);
    size_t n;

    if (text.n == 0 || text.p[0] != '"')
        return false;
    n = string_length(text, 0);
    if (n == 0)
        return false;
    *key_out = (struct mr_span){text.p + 1, n - 2};
    text = mr_peek_skip(behind(text, n));
    if (text.n == 0 || text.p[0] != ':')
        return false;
    *rest = mr_peek_skip(behind(text, 1));
    return true;
}

bool mr_peek_element(struct mr_span *rest, struct mr_span *value_out)
{
    struct mr_span text = skip_comma(*rest);
    size_t n = mr_peek_length(text);

    if (n == 0)
        return false;
    *value_out = (struct mr_span){text.p, n};
    *rest = behind(text, n);
    return true;
}
