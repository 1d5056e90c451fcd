#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/hash.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH128_canonical_t) == MR_DIGEST_BYTES,
    "a digest is XXH3-128's canonical form");

struct mr_digester {
    XXH3_state_t state; /* wants an alignment of 64 bytes */
};

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
    /* sizeof is a multiple of the alignment, as aligned_alloc demands. */
    struct mr_digester *d =
        aligned_alloc(_Alignof(struct mr_digester), sizeof *d);

    if (d) {
        XXH3_INITSTATE(&d->state);
        mr_digester_reset(d);
    }
    return d;
}

void mr_digester_free(struct mr_digester *d)
{
    free(d);
}

void mr_digester_reset(struct mr_digester *d)
{
    /* Fails only for a null state. */
    (void)XXH3_128bits_reset(&d->state);
}

void mr_digester_add(struct mr_digester *d, const void *p, size_t n)
{
    /* Fails only for null input of some length. */
    (void)XXH3_128bits_update(&d->state, p, n);
}

struct mr_digest mr_digester_value(const struct mr_digester *d)
{
    return digest_of(XXH3_128bits_digest(&d->state));
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
