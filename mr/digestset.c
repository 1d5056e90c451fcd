#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/digestset.h"

#include <stdlib.h>
#include <string.h>

void mr_digest_set_release(struct mr_digest_set *set)
{
    free(set->held);
    memset(set, 0, sizeof(*set));
}

static bool is_zero(const struct mr_digest *digest)
{
    static const struct mr_digest zero;

    return memcmp(digest, &zero, sizeof(zero)) == 0;
}

/* Where a digest stands among those held, or the free place for it. */
static struct mr_digest *place_of(
    const struct mr_digest_set *set, const struct mr_digest *digest)
{
    uint64_t i;

    /* Its bytes are as good as random. */
    memcpy(&i, digest->b, sizeof(i));
    for (;; i++) {
        struct mr_digest *place = &set->held[i & set->mask];

        if (is_zero(place) || memcmp(place, digest, sizeof(*digest)) == 0)
            return place;
    }
}

/* Double the room. */
static enum mr_status grow(struct mr_digest_set *set)
{
    size_t n = set->held == NULL ? 0 : set->mask + 1;
    struct mr_digest *old = set->held;
    struct mr_digest *held = calloc(n == 0 ? 64 : 2 * n, sizeof(*held));

    if (held == NULL)
        return MR_NOMEM;
    set->held = held;
    set->mask = (n == 0 ? 64 : 2 * n) - 1;
    for (size_t i = 0; i < n; i++)
        if (!is_zero(&old[i]))
            *place_of(set, &old[i]) = old[i];
    free(old);
    return MR_OK;
}

enum mr_status mr_digest_set_add(
    struct mr_digest_set *set, const struct mr_digest *digest, bool *is_new_out)
{
    struct mr_digest *place;

    if (is_zero(digest)) {
        *is_new_out = !set->has_zero;
        set->n += *is_new_out;
        set->has_zero = true;
        return MR_OK;
    }
    if (set->held == NULL || 2 * set->n > set->mask)
        if (grow(set) != MR_OK)
            return MR_NOMEM;
    place = place_of(set, digest);
    *is_new_out = memcmp(place, digest, sizeof(*digest)) != 0;
    set->n += *is_new_out;
    *place = *digest;
    return MR_OK;
}
