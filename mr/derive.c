#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/derive.h"

#include "mr/calendar.h"
#include "mr/text.h"

/* What Hive writes for NULL (hive.exec.default.partition.name). */
#define HIVE_NULL "__HIVE_DEFAULT_PARTITION__"

static const struct mr_span none = {NULL, 0};

/* ---- percent-encoding ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a percent sign with n bytes from it on stands for, or -1. */
static int escaped_byte(const uint8_t *p, size_t n)
{
    int high = n > 2 ? hex_digit(p[1]) : -1;
    int low = n > 2 ? hex_digit(p[2]) : -1;

    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

struct mr_span mr_percent_decode(struct mr_span value, uint8_t *scratch)
{
    struct mr_span out = {scratch, 0};

    if (value.n == 0 || memchr(value.p, '%', value.n) == NULL)
        return value;
    for (size_t i = 0; i < value.n; i++) {
        int byte =
            value.p[i] == '%' ? escaped_byte(value.p + i, value.n - i) : -1;

        if (byte == 0)
            return value;
        if (byte > 0)
            i += 2;
        scratch[out.n++] = byte > 0 ? (uint8_t)byte : value.p[i];
    }
    return out.n < value.n && mr_text_is_utf8(out) ? out : value;
}

/* ---- URLs ---- */

#define SCHEME 1   /* after a scheme's first letter (RFC 3986 section 3.1) */
#define HOST 2     /* in a host that no "//" announces */
#define NO_HOST 4  /* in none at all, once decoded */
#define PATH_END 8 /* of the query or the fragment */
#define SLASH 16

#define LETTER (SCHEME | HOST)
#define TWICE(x) x, x
#define FOUR(x) TWICE(x), TWICE(x)
#define EIGHT(x) FOUR(x), FOUR(x)
#define SIXTEEN(x) EIGHT(x), EIGHT(x)

static const uint8_t class[256] = {
    /* control characters */
    SIXTEEN(NO_HOST), SIXTEEN(NO_HOST),
    /* space to / */
    NO_HOST, 0, 0, NO_HOST | PATH_END, 0, NO_HOST | HOST, 0, 0, 0, 0, 0, SCHEME,
    0, SCHEME | HOST, SCHEME | HOST, NO_HOST | SLASH,
    /* 0 to ? */
    EIGHT(LETTER), TWICE(LETTER), NO_HOST, 0, NO_HOST, 0, NO_HOST,
    NO_HOST | PATH_END,
    /* @ to _ */
    NO_HOST, SIXTEEN(LETTER), EIGHT(LETTER), TWICE(LETTER), NO_HOST, NO_HOST,
    NO_HOST, NO_HOST, HOST,
    /* ` to DEL */
    0, SIXTEEN(LETTER), EIGHT(LETTER), TWICE(LETTER), 0, NO_HOST, 0, 0, NO_HOST,
    /* beyond ASCII */
    SIXTEEN(HOST), SIXTEEN(HOST), SIXTEEN(HOST), SIXTEEN(HOST), SIXTEEN(HOST),
    SIXTEEN(HOST), SIXTEEN(HOST), SIXTEEN(HOST)};

static bool is_letter(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

static struct mr_span after(struct mr_span s, size_t n)
{
    return (struct mr_span){s.p + n, s.n - n};
}

static struct mr_span trim(struct mr_span s)
{
    while (s.n > 0 && s.p[s.n - 1] <= ' ')
        s.n--;
    while (s.n > 0 && s.p[0] <= ' ')
        s = after(s, 1);
    return s;
}

/* Bytes up to a slash, or the path's end. */
static size_t segment(struct mr_span s)
{
    size_t n = 0;

    while (n < s.n && (class[s.p[n]] & (SLASH | PATH_END)) == 0)
        n++;
    return n;
}

/* Length of "SCHEME:", 0 if the text does not begin so. */
static size_t scheme_length(struct mr_span s)
{
    size_t n = 1;

    if (s.n == 0 || !is_letter(s.p[0]))
        return 0;
    while (n < s.n && (class[s.p[n]] & SCHEME) != 0)
        n++;
    return n < s.n && s.p[n] == ':' ? n + 1 : 0;
}

/* Digits, and at most 65535. */
static bool is_port(struct mr_span s)
{
    unsigned port = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        port = port * 10 + s.p[i] - '0';
        if (port > 65535)
            return false;
    }
    return true;
}

/* Cut the port off, if it is one: "", ":", ":80". */
static bool cut_port(struct mr_span *s)
{
    const uint8_t *colon;
    size_t n;

    if (s->n > 0 && s->p[0] == '[') {
        const uint8_t *bracket = memchr(s->p, ']', s->n);

        if (bracket == NULL)
            return false;
        n = (size_t)(bracket - s->p) + 1;
        if (n < s->n && s->p[n] != ':')
            return false;
    } else {
        colon = s->n > 0 ? memchr(s->p, ':', s->n) : NULL;
        n = colon == NULL ? s->n : (size_t)(colon - s->p);
    }
    if (n < s->n && !is_port(after(*s, n + 1)))
        return false;
    s->n = n;
    return true;
}

static bool is_localhost(struct mr_span s)
{
    static const char name[] = "localhost";

    for (size_t i = 0; i < sizeof name - 1; i++)
        if (i >= s.n || (s.p[i] | 0x20) != name[i])
            return false;
    return s.n == sizeof name - 1;
}

/* Whether a segment that no "//" announces reads as a host, with or without
 * a port. */
static bool reads_as_host(struct mr_span s)
{
    bool dot = false;

    /* A colon with nothing behind it is a scheme's. */
    if (s.n == 0 || s.p[s.n - 1] == ':' || !cut_port(&s) || s.n == 0)
        return false;
    if (s.p[0] == '[' || is_localhost(s))
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if ((class[s.p[i]] & HOST) == 0)
            return false;
        dot |= s.p[i] == '.' && i + 1 < s.n;
    }
    return dot && s.p[0] != '.';
}

/* "[...]", as an IPv6 address is written; which one is nobody's business. */
static bool is_bracketed(struct mr_span s)
{
    bool colon = false;

    for (size_t i = 1; i + 1 < s.n; i++) {
        if (hex_digit(s.p[i]) < 0 && s.p[i] != ':' && s.p[i] != '.')
            return false;
        colon |= s.p[i] == ':';
    }
    return colon;
}

static struct mr_span lower(struct mr_span s, uint8_t *scratch)
{
    size_t i = 0;

    while (i < s.n && (uint8_t)(s.p[i] - 'A') >= 26)
        i++;
    if (i == s.n)
        return s;
    for (i = 0; i < s.n; i++)
        scratch[i] = (uint8_t)(s.p[i] - 'A') < 26 ? s.p[i] | 0x20 : s.p[i];
    return (struct mr_span){scratch, s.n};
}

/* The host of an authority, which may be empty; false if it cannot be one. */
static bool read_host(
    struct mr_span s, uint8_t *scratch, struct mr_span *host_out)
{
    *host_out = none;
    for (size_t n = s.n; n > 0; n--)
        if (s.p[n - 1] == '@') {
            scratch += n;
            s = after(s, n);
            break;
        }
    if (!cut_port(&s))
        return false;
    if (s.n == 0)
        return true;
    if (s.p[0] == '[') {
        if (!is_bracketed(s))
            return false;
    } else {
        /* What could not be decoded keeps its percent sign. */
        s = mr_percent_decode(s, scratch);
        for (size_t i = 0; i < s.n; i++)
            if ((class[s.p[i]] & NO_HOST) != 0)
                return false;
    }
    *host_out = lower(s, scratch);
    return true;
}

/* How many dots a step consists of, 0 if of anything else. */
static unsigned dots(struct mr_span s)
{
    unsigned n = 0;

    while (s.n > 0 && n < 3) {
        bool plain = s.p[0] == '.';

        if (!plain && (s.p[0] != '%' || escaped_byte(s.p, s.n) != '.'))
            return 0;
        s = after(s, plain ? 1 : 3);
        n++;
    }
    return n < 3 ? n : 0;
}

/* The steps of a path, as they are written. */
static void read_steps(struct mr_span s, struct mr_url *url)
{
    size_t depth = 0;

    while (s.n > 0 && (class[s.p[0]] & PATH_END) == 0) {
        struct mr_span step = {s.p, segment(s)};
        unsigned n_dots = dots(step);

        if (n_dots == 2)
            depth -= depth > 0;
        else if (n_dots == 0 && step.n > 0) {
            if (depth < MR_URL_STEPS)
                url->step[depth] = step;
            depth++;
        }
        s = after(s, step.n);
        if (s.n > 0 && s.p[0] == '/')
            s = after(s, 1);
    }
    url->n_steps = depth < MR_URL_STEPS ? (unsigned)depth : MR_URL_STEPS;
}

void mr_url_read(struct mr_span text, uint8_t *scratch, struct mr_url *url_out)
{
    struct mr_span s = trim(text), authority = none, path;
    size_t scheme = scheme_length(s);

    url_out->host = none;
    url_out->n_steps = 0;
    path = after(s, scheme);
    if (path.n > 1 && path.p[0] == '/' && path.p[1] == '/') {
        path = after(path, 2);
        authority = (struct mr_span){path.p, segment(path)};
        path = after(path, authority.n);
    } else if (reads_as_host((struct mr_span){s.p, segment(s)})) {
        authority = (struct mr_span){s.p, segment(s)};
        path = after(s, authority.n);
    } else if (scheme > 0 && (path.n == 0 || path.p[0] != '/')) {
        return;
    }
    /* A part is decoded to where it stands in the text, so none to where
     * another is. */
    if (authority.n > 0 &&
        !read_host(authority, scratch + (authority.p - text.p), &url_out->host))
        return;
    read_steps(path, url_out);
    for (unsigned i = 0; i < url_out->n_steps; i++)
        url_out->step[i] = mr_percent_decode(
            url_out->step[i], scratch + (url_out->step[i].p - text.p));
}

/* ---- folders ---- */

bool mr_folder_next(const char **name, struct mr_folder *folder_out)
{
    const char *slash;

    while ((slash = strchr(*name, '/')) != NULL) {
        const uint8_t *p = (const uint8_t *)*name;
        size_t n = (size_t)(slash - *name);
        const uint8_t *equals = memchr(p, '=', n);

        *name = slash + 1;
        if (equals == NULL || equals == p)
            continue;
        folder_out->key = (struct mr_span){p, (size_t)(equals - p)};
        folder_out->value =
            after((struct mr_span){p, n}, folder_out->key.n + 1);
        return true;
    }
    return false;
}

/* Append a text, with U+FFFD for each byte that is no UTF-8. */
static enum mr_status add_utf8(struct mr_buffer *out, struct mr_span s)
{
    enum mr_status status = MR_OK;

    while (s.n > 0 && status == MR_OK) {
        size_t n = mr_text_character(s.p, s.n);

        status = n > 0 ? mr_buffer_add(out, s.p, n)
                       : mr_buffer_add(out, "\xef\xbf\xbd", 3);
        s = after(s, n > 0 ? n : 1);
    }
    return status;
}

enum mr_status mr_folder_value(
    const char *name, const char *key, struct mr_buffer *out, bool *found_out)
{
    struct mr_span value = none, null = mr_text_span(HIVE_NULL);
    struct mr_folder folder;
    struct mr_buffer scratch = {0};
    enum mr_status status;

    out->n = 0;
    *found_out = false;
    while (mr_folder_next(&name, &folder))
        if (mr_folder_is(&folder, key))
            value = folder.value;
    if (value.n == 0 || mr_span_compare(value, null) == 0)
        return MR_OK;
    status = mr_buffer_reserve(&scratch, value.n);
    if (status == MR_OK)
        status = add_utf8(out, mr_percent_decode(value, scratch.p));
    *found_out = status == MR_OK;
    mr_buffer_release(&scratch);
    return status;
}

/* ---- hours ---- */

void mr_hour_format(int32_t day, unsigned hour, char out[MR_HOUR_TEXT])
{
    char text[MR_DAY_TEXT]; /* YYYY-MM-DD */

    mr_day_format(day, text);
    memcpy(out, text, 4);
    memcpy(out + 4, text + 5, 2);
    memcpy(out + 6, text + 8, 2);
    out[8] = (char)('0' + hour / 10);
    out[9] = (char)('0' + hour % 10);
    out[10] = '\0';
}
