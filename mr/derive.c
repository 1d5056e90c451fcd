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
#define NO_BARE 2  /* in no host that no "//" announces */
#define NO_HOST 4  /* in none at all, once decoded */
#define PATH_END 8 /* of the query or the fragment */
#define SLASH 16
#define UPPER 32
#define PERCENT 64

#define DIGIT SCHEME
#define LARGE (SCHEME | UPPER)
#define SMALL SCHEME
#define MARK NO_BARE
#define BAD (NO_BARE | NO_HOST)

#define TWICE(x) x, x
#define FOUR(x) TWICE(x), TWICE(x)
#define EIGHT(x) FOUR(x), FOUR(x)
#define SIXTEEN(x) EIGHT(x), EIGHT(x)

static const uint8_t class[256] = {
    /* control characters */
    SIXTEEN(BAD), SIXTEEN(BAD),
    /* space ! " # $ % & ' */
    BAD, MARK, MARK, BAD | PATH_END, MARK, NO_HOST | PERCENT, MARK, MARK,
    /* ( ) * + , - . / */
    MARK, MARK, MARK, MARK | SCHEME, MARK, SCHEME, SCHEME, BAD | SLASH,
    /* 0 to 9 : ; < = > ? */
    EIGHT(DIGIT), TWICE(DIGIT), BAD, MARK, BAD, MARK, BAD, BAD | PATH_END,
    /* @ A to Z [ \ ] ^ _ */
    BAD, SIXTEEN(LARGE), EIGHT(LARGE), TWICE(LARGE), BAD, BAD, BAD, BAD, 0,
    /* ` a to z { | } ~ DEL */
    MARK, SIXTEEN(SMALL), EIGHT(SMALL), TWICE(SMALL), MARK, BAD, MARK, MARK, BAD
    /* beyond ASCII: 0 */
};

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

/* What stands before the next slash, or the path's end. */
struct segment {
    struct mr_span text;
    uint8_t seen; /* all its bytes' classes */
};

static struct segment segment(struct mr_span s)
{
    struct segment segment = {{s.p, 0}, 0};
    size_t n = 0;

    while (n < s.n && (class[s.p[n]] & (SLASH | PATH_END)) == 0)
        segment.seen |= class[s.p[n++]];
    segment.text.n = n;
    return segment;
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
static bool reads_as_host(const struct segment *segment)
{
    struct mr_span s = segment->text;

    if ((segment->seen & NO_BARE) != 0) {
        /* A colon with nothing behind it is a scheme's. */
        if (s.p[s.n - 1] == ':' || !cut_port(&s) || s.n == 0)
            return false;
        if (s.p[0] == '[')
            return true;
        for (size_t i = 0; i < s.n; i++)
            if ((class[s.p[i]] & NO_BARE) != 0)
                return false;
    }
    if (s.n > 2 && s.p[0] != '.' && memchr(s.p + 1, '.', s.n - 2) != NULL)
        return true;
    return is_localhost(s);
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
    for (size_t i = 0; i < s.n; i++)
        scratch[i] = (class[s.p[i]] & UPPER) != 0 ? s.p[i] | 0x20 : s.p[i];
    return (struct mr_span){scratch, s.n};
}

/* The host of an authority, which may be empty; false if it cannot be one. */
static bool read_host(
    const struct segment *segment, uint8_t *scratch, struct mr_span *host_out)
{
    struct mr_span s = segment->text;
    uint8_t seen = 0;

    if (s.n > 0 && (segment->seen & (NO_HOST | UPPER)) == 0) {
        *host_out = s; /* most are */
        return true;
    }
    for (size_t n = s.n; n > 0; n--)
        if (s.p[n - 1] == '@') {
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
        *host_out = lower(s, scratch);
        return true;
    }
    /* What could not be decoded keeps its percent sign. */
    s = mr_percent_decode(s, scratch);
    for (size_t i = 0; i < s.n; i++)
        seen |= class[s.p[i]];
    if ((seen & NO_HOST) != 0)
        return false;
    *host_out = (seen & UPPER) != 0 ? lower(s, scratch) : s;
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

/* The steps of a path.  Each is decoded to where it stands in the text, so
 * none to where another is: scratch goes with s. */
static void read_steps(struct mr_span s, uint8_t *scratch, struct mr_url *url)
{
    size_t depth = 0;

    while (s.n > 0 && (class[s.p[0]] & PATH_END) == 0) {
        struct segment step = segment(s);
        size_t n = step.text.n;
        unsigned n_dots = dots(step.text);

        if (n_dots == 2) {
            depth -= depth > 0;
        } else if (n_dots == 0 && n > 0) {
            if (depth < MR_URL_STEPS)
                url->step[depth] = (step.seen & PERCENT) != 0
                                       ? mr_percent_decode(step.text, scratch)
                                       : step.text;
            depth++;
        }
        if (n < s.n && s.p[n] == '/')
            n++;
        s = after(s, n);
        scratch += n;
    }
    url->n_steps = depth < MR_URL_STEPS ? (unsigned)depth : MR_URL_STEPS;
}

void mr_url_read(struct mr_span text, uint8_t *scratch, struct mr_url *url_out)
{
    struct mr_span s = trim(text), path;
    size_t scheme = scheme_length(s);
    struct segment authority;
    bool has_authority = true;

    url_out->host = none;
    url_out->n_steps = 0;
    path = after(s, scheme);
    if (path.n > 1 && path.p[0] == '/' && path.p[1] == '/') {
        path = after(path, 2);
        authority = segment(path);
    } else {
        authority = segment(s);
        has_authority = reads_as_host(&authority);
        if (has_authority)
            path = s;
        else if (scheme > 0 && (path.n == 0 || path.p[0] != '/'))
            return;
    }
    if (has_authority) {
        if (!read_host(&authority, scratch + (path.p - text.p), &url_out->host))
            return;
        path = after(path, authority.text.n);
    }
    read_steps(path, scratch + (path.p - text.p), url_out);
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
