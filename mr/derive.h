#ifndef MR_DERIVE_H
#define MR_DERIVE_H

#include "mr/bytes.h"

/*
 * Fields that are derived from others: the host and the steps of a URL's
 * path, values of the key=value folders in a partition's name, the text of an
 * hour.  Nothing is allocated for an event: what is derived is a stretch of
 * the value itself or, where it is written otherwise there, of memory that
 * the caller gives.  Any thread.
 */

/** mr_percent_decode(value, scratch): value with each %XX (RFC 3986 section
 * 2.1) as the byte it stands for; '+' stays.  Where nothing is to be decoded,
 * or what comes of it is no UTF-8 or holds a NUL, it is value as it stands.
 * scratch has room for value.n bytes; the result is there or is value. */
struct mr_span mr_percent_decode(struct mr_span value, uint8_t *scratch);

/* Steps of a path that are told. */
#define MR_URL_STEPS 9

/** The parts of a URL. */
struct mr_url {
    struct mr_span host; /* p is NULL where there is none */
    struct mr_span step[MR_URL_STEPS];
    unsigned n_steps; /* only the first MR_URL_STEPS count */
};

/**
 * mr_url_read(text, scratch, url): Take a URL apart.  text is UTF-8; scratch
 * has room for text.n bytes.  The parts are stretches of one or the other,
 * and as good as long as both.  One pass; no part is ever refused loudly:
 * what is no URL has none.
 *
 * Whose text it is follows RFC 3986, appendix B, and where browsers read more
 * than that, or RFC 3986 leaves it open, the WHATWG URL Standard:
 * - Control characters and spaces around the text are no part of it.
 * - "SCHEME://" and "//" begin an authority.  What is written without either
 *   does if it reads as a host: "[...]", "localhost", or letters (beyond ASCII,
 *   too), digits, "-_%" and dots, one of which is neither first nor last, and
 *   none first.  So "hipages.com/articles" has a host; and as nothing tells
 *   them apart, "index.html" is one, too.
 * - Any other text that begins with "SCHEME:" and no slash, as mailto:x and
 *   tel:911, has no part; but a host without scheme may have a port
 *   ("localhost:8080/x").
 * - Any other text is a path: "/articles/x", "articles/x", "file:/etc/motd".
 * - The host is without userinfo (all before the last '@') and port, ASCII
 *   letters in lower case, percent-decoded, an IPv6 address with its brackets.
 *   "www." stays, as do a dot at the end and letters beyond ASCII: there is
 *   no IDNA mapping.  Where it has a character that no host may have (WHATWG:
 *   forbidden domain code point), brackets with anything but hexadecimal
 *   digits, colons and dots, or a port that is no number up to 65535, the
 *   text has no part at all.
 * - The path ends at the first '?' or '#'.  Its steps are what stands between
 *   slashes, without empty ones; "." is skipped, and ".." with the step
 *   before it, "%2e" being a dot (RFC 3986 section 5.2.4, and WHATWG).  Then
 *   each is percent-decoded, so a decoded slash parts nothing.  A backslash is
 *   no slash.
 */
void mr_url_read(struct mr_span text, uint8_t *scratch, struct mr_url *url_out);

/** mr_url_step(url, number): A step, from 1 on; p is NULL if there is none. */
static inline struct mr_span mr_url_step(
    const struct mr_url *url, unsigned number)
{
    if (number == 0 || number > url->n_steps || number > MR_URL_STEPS)
        return (struct mr_span){NULL, 0};
    return url->step[number - 1];
}

/** A folder "key=value" of a partition's name, as it is written there. */
struct mr_folder {
    struct mr_span key, value;
};

/** mr_folder_next(name, folder): The next folder of that form, with a key
 * that is not empty, in what is left of a name; *name moves behind it.  False
 * at the end: the file's own name is no folder. */
bool mr_folder_next(const char **name, struct mr_folder *folder_out);

/** mr_folder_is(folder, key): Whether it has this key. */
static inline bool mr_folder_is(const struct mr_folder *folder, const char *key)
{
    return folder->key.n == strlen(key) &&
           memcmp(folder->key.p, key, folder->key.n) == 0;
}

/**
 * mr_folder_value(name, key, out, found): Put into out, instead of what was
 * there, the value of a key's folder in a partition's name, percent-decoded;
 * of several the last.  Found is false, and out empty, where there is no such
 * folder, and where the last has no value or __HIVE_DEFAULT_PARTITION__,
 * which Hive writes for NULL.  A byte that is no UTF-8 becomes U+FFFD.
 */
MR_MUST_CHECK enum mr_status mr_folder_value(
    const char *name, const char *key, struct mr_buffer *out, bool *found_out);

#define MR_HOUR_TEXT 11
/** mr_hour_format(day, hour, out): Write YYYYMMDDHH and a NUL for an hour, 0
 * to 23, of a day, both as the clocks of the zone at hand show them. */
void mr_hour_format(int32_t day, unsigned hour, char out[MR_HOUR_TEXT]);

#endif
