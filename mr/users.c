#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/users.h"

#include <stdlib.h>
#include <string.h>

void mr_users_release(struct mr_users *u)
{
    free(u->entry);
    free(u->hash);
    memset(u, 0, sizeof(*u));
}

/* A table of so many entries (a power of two), filled from the hashes. */
static enum mr_status rebuild(struct mr_users *u, uint64_t entries)
{
    uint32_t *entry = calloc(entries, sizeof(*entry));

    if (entry == NULL)
        return MR_NOMEM;
    free(u->entry);
    u->entry = entry;
    u->mask = entries - 1;
    for (uint32_t n = 0; n < u->n; n++) {
        uint64_t i = u->hash[n];

        while (entry[i & u->mask] != 0)
            i++;
        entry[i & u->mask] = mr_users_tag(u->hash[n]) | (n + 1);
    }
    return MR_OK;
}

enum mr_status mr_users_reserve(struct mr_users *u, uint32_t more)
{
    uint64_t need = (uint64_t)u->n + more, entries = 64;

    if (need > MR_USERS_MAX)
        return MR_LIMIT;
    if (need > u->cap) {
        uint64_t cap = need + u->n / 4;
        uint64_t *hash = realloc(u->hash, cap * sizeof(*hash));

        if (hash == NULL)
            return MR_NOMEM;
        u->hash = hash;
        u->cap = (uint32_t)cap;
    }
    if (u->entry != NULL && need <= (u->mask + 1) / 4 * 3)
        return MR_OK;
    while (need > entries / 4 * 3)
        entries *= 2;
    return rebuild(u, entries);
}
