#ifndef MR_TEXT_H
#define MR_TEXT_H

#include "mr/bytes.h"

/* Bytes put into text formats. */

/** mr_text_character(p, n): Length of the UTF-8 character (RFC 3629) that
 * begins at p[0..n), n > 0; 0 when there is none. */
size_t mr_text_character(const uint8_t *p, size_t n);

/** mr_text_is_utf8(text): Whether all of it is UTF-8. */
bool mr_text_is_utf8(struct mr_span text);

/** mr_text_json(out, text): Append a JSON string with its quotes; each byte
 * that is no UTF-8 becomes U+FFFD. */
MR_MUST_CHECK enum mr_status mr_text_json(
    struct mr_buffer *out, struct mr_span text);

/** mr_text_base64(out, bytes): Append base64 (RFC 4648 section 4). */
MR_MUST_CHECK enum mr_status mr_text_base64(
    struct mr_buffer *out, struct mr_span bytes);

/** mr_text_csv(out, text): Append a CSV field, quoted by RFC 4180 where it
 * must be. */
MR_MUST_CHECK enum mr_status mr_text_csv(
    struct mr_buffer *out, struct mr_span text);

/** mr_text_shown(p, n): Length of the character at p[0..n), n > 0, if people
 * may be shown it; 0 if it could steer a terminal, or end a line or the
 * reading of a spec's comment: what is no UTF-8, control characters (C1
 * included), separators of lines and paragraphs, what turns the direction of
 * writing around, U+FEFF, U+FFFE and U+FFFF. */
size_t mr_text_shown(const uint8_t *p, size_t n);

/** mr_text_masked(out, text): Append text for people, with '?' for each byte
 * that begins nothing that may be shown. */
MR_MUST_CHECK enum mr_status mr_text_masked(
    struct mr_buffer *out, struct mr_span text);

/** mr_text_plural(n): What a noun has behind it: "s", or nothing for one. */
static inline const char *mr_text_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/** mr_text_printf(out, format, ...): Append formatted text. */
MR_MUST_CHECK enum mr_status mr_text_printf(
    struct mr_buffer *out, const char *format, ...) MR_PRINTF(2, 3);

/** Whether a C string ends in another one. */
static inline bool mr_text_ends(const char *s, const char *end)
{
    size_t n = strlen(s), n_end = strlen(end);

    return n >= n_end && memcmp(s + n - n_end, end, n_end) == 0;
}

/** mr_text_last(path): What stands behind the last slash. */
static inline const char *mr_text_last(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/** mr_text_is_hidden(path): Whether a component begins with '_' or '.', as
 * walks over folders skip them; "." and ".." are none. */
bool mr_text_is_hidden(const char *path);

/** A span of a C string. */
static inline struct mr_span mr_text_span(const char *s)
{
    return (struct mr_span){(const uint8_t *)s, strlen(s)};
}

#endif
