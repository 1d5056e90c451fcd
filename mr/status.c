#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * strerror_r comes in two kinds: POSIX's returns an int and fills the
 * buffer, GNU's returns the text, which may stand elsewhere.  Which one a
 * build gets depends on its feature macros; the type of the result tells.
 */
__attribute__((unused)) static const char *text_of_posix(
    int result, const char *text)
{
    return result == 0 ? text : "unknown error";
}

__attribute__((unused)) static const char *text_of_gnu(
    const char *result, const char *text)
{
    (void)text;
    return result;
}

#define STRERROR(number, text)                                                 \
    _Generic(strerror_r((number), (text), sizeof(text)),                       \
        int: text_of_posix,                                                    \
        char *: text_of_gnu)(                                                  \
        strerror_r((number), (text), sizeof(text)), (text))

/* A text that was cut may end in half a UTF-8 character: drop it, because
 * causes are stored and printed as UTF-8. */
static void drop_half_character(char *text, size_t n)
{
    size_t i = n;
    unsigned char lead;
    size_t need;

    while (i > 0 && n - i < 3 && ((unsigned char)text[i - 1] & 0xC0) == 0x80)
        i--;
    if (i == 0)
        return;
    lead = (unsigned char)text[i - 1];
    need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (need > n - i + 1)
        text[i - 1] = '\0';
}

/* Copy a text into a part of an error, cut where the part ends. */
static void set_part(char *part, size_t size, const char *text)
{
    int n = snprintf(part, size, "%s", text ? text : "");

    if (n >= 0 && (size_t)n >= size)
        drop_half_character(part, size - 1);
}

enum mr_status mr_fail(struct mr_error *err, enum mr_status status,
    uint64_t offset, const char *advice, const char *cause, ...)
{
    va_list args;
    int n;

    if (!err)
        return status;
    err->status = status;
    err->offset = offset;
    err->number = 0;
    err->action[0] = '\0';
    err->path[0] = '\0';
    va_start(args, cause);
    n = vsnprintf(err->cause, sizeof err->cause, cause, args);
    va_end(args);
    if (n < 0)
        set_part(err->cause, sizeof err->cause, "unknown cause");
    else if ((size_t)n >= sizeof err->cause)
        drop_half_character(err->cause, sizeof err->cause - 1);
    set_part(err->advice, sizeof err->advice, advice);
    return status;
}

enum mr_status mr_fail_errno(
    struct mr_error *err, int number, const char *advice, const char *what)
{
    char text[128] = "";
    const char *reason = STRERROR(number, text);

    if (number == ENOMEM)
        return mr_fail_nomem(err);
    (void)mr_fail(err, MR_IO, MR_NOWHERE, advice, "%s%s%s", what ? what : "",
        what ? ": " : "", reason);
    if (err)
        err->number = number;
    return MR_IO;
}

const char *mr_open_advice(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
        return "check its permissions";
    case EISDIR:
        return "name a file, not a folder";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n) and rerun";
    default:
        return "check that it is there, and rerun";
    }
}

enum mr_status mr_fail_nomem(struct mr_error *err)
{
    return mr_fail(err, MR_NOMEM, MR_NOWHERE,
        "free some memory or use fewer threads, and rerun", "out of memory");
}

void mr_error_subject(
    struct mr_error *err, const char *action, const char *path)
{
    if (!err)
        return;
    if (err->action[0] == '\0')
        set_part(err->action, sizeof err->action, action);
    if (err->path[0] == '\0')
        set_part(err->path, sizeof err->path, path);
}

void mr_error_format(const struct mr_error *err, char *out, size_t size)
{
    char path[sizeof err->path];
    char place[32] = "";
    const char *quote = err->path[0] ? "'" : "";
    const char *space = err->action[0] && err->path[0] ? " " : "";
    const char *advice = err->advice[0] ? "; " : "";
    const char *colon;
    size_t i;

    if (size == 0)
        return;
    for (i = 0; i + 1 < sizeof path && err->path[i]; i++) {
        unsigned char c = (unsigned char)err->path[i];

        path[i] = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    path[i] = '\0';
    if (err->offset != MR_NOWHERE)
        snprintf(place, sizeof place, "%sat byte %llu",
            err->action[0] || path[0] ? " " : "",
            (unsigned long long)err->offset);
    colon = err->action[0] || path[0] || place[0] ? ": " : "";
    snprintf(out, size, "%s%s%s%s%s%s%s%s%s%s", err->action, space, quote, path,
        quote, place, colon, err->cause, advice, err->advice);
}
