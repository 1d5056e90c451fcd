#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/users.h"

#include <stdlib.h>
#include <string.h>

#include "mr/hash.h"

#define FILL_SHIFT 32 /* in tags[1] */
/* Groups, the home included, that are looked at before the search goes on
 * elsewhere.  With ids as they come few users in a million are beyond. */
#define NEAR 16

void mr_users_release(struct mr_users *u)
{
    free(u->group);
    free(u->user);
    memset(u, 0, sizeof(*u));
}

void mr_users_release_index(struct mr_users *u)
{
    free(u->group);
    u->group = NULL;
    u->n_groups = 0;
}

static unsigned fill_of(const struct mr_users_group *g)
{
    return (unsigned)(g->tags[1] >> FILL_SHIFT);
}

static void put(struct mr_users_group *g, uint64_t hash, uint32_t number)
{
    unsigned i = fill_of(g);

    g->number[i] = number;
    g->tags[i / 8] |= mr_users_tag(hash) << (8 * (i % 8));
    g->tags[1] += UINT64_C(1) << FILL_SHIFT;
}

/* The group to look at after g, which is full and was the step-th, from 1 on:
 * the one behind it, the first after the last; but where users go on whose
 * home is full, and what is near it, nobody can make ids up that meet, too. */
static struct mr_users_group *next_of(const struct mr_users *u,
    struct mr_users_group *g, uint64_t hash, uint64_t step)
{
    if (step == NEAR)
        return &u->group[mr_hash_place(u->group, hash, u->n_groups)];
    return ++g == u->group + u->n_groups ? u->group : g;
}

/* A table of so many groups, filled from the array. */
static enum mr_status rebuild(struct mr_users *u, uint64_t n_groups)
{
    size_t size = n_groups * sizeof(*u->group);
    struct mr_users_group *group = aligned_alloc(sizeof(*group), size);

    if (group == NULL)
        return MR_NOMEM;
    memset(group, 0, size);
    free(u->group);
    u->group = group;
    u->n_groups = n_groups;
    for (uint32_t n = 0; n < u->n; n++) {
        uint64_t hash = u->user[n].hash, step = 0;
        struct mr_users_group *g = mr_users_home(u, hash);

        while (fill_of(g) == MR_USERS_GROUP)
            g = next_of(u, g, hash, ++step);
        put(g, hash, n);
    }
    return MR_OK;
}

enum mr_status mr_users_reserve(struct mr_users *u, uint32_t more)
{
    uint64_t need = (uint64_t)u->n + more;

    if (need > MR_USERS_MAX)
        return MR_LIMIT;
    if (need > u->cap) {
        uint64_t cap = need + u->n / 4;
        struct mr_user *user = realloc(u->user, cap * sizeof(*user));

        if (user == NULL)
            return MR_NOMEM;
        u->user = user;
        u->cap = (uint32_t)cap;
    }
    if (4 * need <= 3 * MR_USERS_GROUP * u->n_groups)
        return MR_OK;
    return rebuild(u, (need + u->n / 4) * 4 / (3 * MR_USERS_GROUP) + 1);
}

uint32_t mr_users_add(struct mr_users *u, uint64_t hash)
{
    struct mr_users_group *g = mr_users_home(u, hash);
    uint64_t tag = mr_users_tag(hash);

    for (uint64_t step = 1;; g = next_of(u, g, hash, step++)) {
        unsigned fill = fill_of(g);

        for (unsigned i = 0; i < fill; i++)
            if ((g->tags[i / 8] >> (8 * (i % 8)) & 0xff) == tag &&
                u->user[g->number[i]].hash == hash)
                return g->number[i];
        if (fill == MR_USERS_GROUP)
            continue;
        put(g, hash, u->n);
        u->user[u->n].hash = hash;
        mr_sessions_init(u->user[u->n].slot);
        return u->n++;
    }
}
