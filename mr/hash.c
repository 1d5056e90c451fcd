#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/hash.h"

#include <string.h>

/*
 * What is compiled here is for any processor of its kind; the library can have
 * several forms of the hash of long texts, and takes the fastest that the
 * processor at hand can run.
 */
#ifdef HAVE_XXH_DISPATCH
#include <xxhash.h>
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#define DIGEST_UPDATE XXH3_128bits_update_dispatch
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#define DIGEST_UPDATE XXH3_128bits_update
#endif

_Static_assert(sizeof(XXH128_canonical_t) == MR_DIGEST_BYTES,
    "a digest is XXH3-128's canonical form");

/* A digester is a state of the library's. */
static XXH3_state_t *state_of(struct mr_digester *d)
{
    return (XXH3_state_t *)(void *)d;
}

uint64_t mr_hash64(const void *p, size_t n)
{
    return XXH64(p, n, 0);
}

uint64_t mr_hash_fast(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

static struct mr_digest digest_of(XXH128_hash_t hash)
{
    XXH128_canonical_t canonical;
    struct mr_digest digest;

    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(digest.b, canonical.digest, sizeof digest.b);
    return digest;
}

struct mr_digest mr_digest_bytes(const void *p, size_t n)
{
    return digest_of(XXH3_128bits(p, n));
}

struct mr_digester *mr_digester_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    struct mr_digester *d = (struct mr_digester *)(void *)state;

    if (d != NULL)
        mr_digester_reset(d);
    return d;
}

void mr_digester_free(struct mr_digester *d)
{
    /* Never fails. */
    (void)XXH3_freeState(state_of(d));
}

void mr_digester_reset(struct mr_digester *d)
{
    /* Fails only for a null state. */
    (void)XXH3_128bits_reset(state_of(d));
}

void mr_digester_add(struct mr_digester *d, const void *p, size_t n)
{
    /* Fails only for null input of some length. */
    (void)DIGEST_UPDATE(state_of(d), p, n);
}

struct mr_digest mr_digester_value(const struct mr_digester *d)
{
    const void *state = d;

    return digest_of(XXH3_128bits_digest(state));
}

void mr_digest_format(const struct mr_digest *d, char out[MR_DIGEST_TEXT])
{
    static const char digit[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < MR_DIGEST_BYTES; i++) {
        out[2 * i] = digit[d->b[i] >> 4];
        out[2 * i + 1] = digit[d->b[i] & 15];
    }
    out[2 * MR_DIGEST_BYTES] = '\0';
}

bool mr_digest_parse(const char *text, size_t n, struct mr_digest *digest_out)
{
    static const char digits[] = "0123456789abcdef";
    struct mr_digest digest;

    if (n != MR_DIGEST_TEXT - 1)
        return false;
    for (size_t i = 0; i < MR_DIGEST_BYTES; i++) {
        const char *high = memchr(digits, text[2 * i], 16);
        const char *low = memchr(digits, text[2 * i + 1], 16);

        if (high == NULL || low == NULL)
            return false;
        digest.b[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    *digest_out = digest;
    return true;
}
