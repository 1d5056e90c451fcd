#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/text.h"

#include <stdarg.h>
#include <stdio.h>

size_t mr_text_character(const uint8_t *p, size_t n)
{
    /* The least second byte rules out overlong forms; the highest, surrogates
     * and what lies above U+10FFFF (RFC 3629 section 4). */
    uint8_t low = 0x80, high = 0xbf;
    size_t length;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < length)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool mr_text_is_utf8(struct mr_span text)
{
    for (size_t i = 0, length; i < text.n; i += length) {
        length = mr_text_character(text.p + i, text.n - i);
        if (length == 0)
            return false;
    }
    return true;
}

/* One character, or one byte that is none, as it stands in a JSON string. */
static enum mr_status json_character(
    struct mr_buffer *out, const uint8_t *p, size_t length)
{
    char escape[8];

    if (length == 0)
        return mr_buffer_add(out, "\xef\xbf\xbd", 3);
    if (*p == '"' || *p == '\\') {
        escape[0] = '\\';
        escape[1] = (char)*p;
        return mr_buffer_add(out, escape, 2);
    }
    if (*p == '\n')
        return mr_buffer_add(out, "\\n", 2);
    if (*p == '\t')
        return mr_buffer_add(out, "\\t", 2);
    if (*p < 0x20 || *p == 0x7f) {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", *p);
        return mr_buffer_add(out, escape, 6);
    }
    return mr_buffer_add(out, p, length);
}

enum mr_status mr_text_json(struct mr_buffer *out, struct mr_span text)
{
    enum mr_status status = mr_buffer_add(out, "\"", 1);

    for (size_t i = 0; i < text.n && status == MR_OK;) {
        size_t length = mr_text_character(text.p + i, text.n - i);

        status = json_character(out, text.p + i, length);
        i += length == 0 ? 1 : length;
    }
    return status != MR_OK ? status : mr_buffer_add(out, "\"", 1);
}

enum mr_status mr_text_base64(struct mr_buffer *out, struct mr_span bytes)
{
    static const char digit[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < bytes.n && status == MR_OK; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t v = (uint32_t)bytes.p[i] << 16;
        char four[4];

        if (n > 1)
            v |= (uint32_t)bytes.p[i + 1] << 8;
        if (n > 2)
            v |= bytes.p[i + 2];
        four[0] = digit[v >> 18];
        four[1] = digit[v >> 12 & 63];
        four[2] = n > 1 ? digit[v >> 6 & 63] : '=';
        four[3] = n > 2 ? digit[v & 63] : '=';
        status = mr_buffer_add(out, four, 4);
    }
    return status;
}

enum mr_status mr_text_csv(struct mr_buffer *out, struct mr_span text)
{
    bool quote = false;
    enum mr_status status;

    for (size_t i = 0; i < text.n && !quote; i++)
        quote = strchr(",\"\r\n", text.p[i]) != NULL;
    if (!quote)
        return mr_buffer_add(out, text.p, text.n);
    status = mr_buffer_add(out, "\"", 1);
    for (size_t i = 0; i < text.n && status == MR_OK; i++)
        status = mr_buffer_add(out,
            text.p[i] == '"' ? "\"\"" : (const char *)text.p + i,
            text.p[i] == '"' ? 2 : 1);
    return status != MR_OK ? status : mr_buffer_add(out, "\"", 1);
}

size_t mr_text_shown(const uint8_t *p, size_t n)
{
    size_t length = mr_text_character(p, n);
    uint32_t c;

    if (length <= 1)
        return length == 1 && p[0] >= 0x20 && p[0] != 0x7f;
    c = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3f);
    if (c < 0xa0 || (c >= 0x2028 && c <= 0x202e) ||
        (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c == 0xfffe ||
        c == 0xffff)
        return 0;
    return length;
}

enum mr_status mr_text_masked(struct mr_buffer *out, struct mr_span text)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < text.n && status == MR_OK;) {
        size_t n = mr_text_shown(text.p + i, text.n - i);

        status = n == 0 ? mr_buffer_add(out, "?", 1)
                        : mr_buffer_add(out, text.p + i, n);
        i += n == 0 ? 1 : n;
    }
    return status;
}

enum mr_status mr_text_printf(struct mr_buffer *out, const char *format, ...)
{
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0 || mr_buffer_reserve(out, out->n + (size_t)n + 1) != MR_OK)
        return MR_NOMEM;
    va_start(arguments, format);
    (void)vsnprintf((char *)out->p + out->n, (size_t)n + 1, format, arguments);
    va_end(arguments);
    out->n += (size_t)n;
    return MR_OK;
}

bool mr_text_is_hidden(const char *path)
{
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        bool dots = (n == 1 && path[0] == '.') ||
                    (n == 2 && path[0] == '.' && path[1] == '.');

        if (n > 0 && !dots && (path[0] == '.' || path[0] == '_'))
            return true;
        path += n;
        path += strspn(path, "/");
    }
    return false;
}
