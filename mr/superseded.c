#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/superseded.h"

#include <stdlib.h>
#include <string.h>

/*
 * A state that has all of another one has at least as many partitions, so
 * states are taken as bases the largest first, and those that have been found
 * superseded no more: their own base has all that they could find.
 *
 * What a base could supersede is found by a token of each state, something
 * that any other state must have that has all of it: of its partitions the one
 * that the fewest states have, since many may share an empty one; or, where it
 * has none, the name of its first failure.  The tokens stand in a table, a
 * base's partitions are looked up in it, and what is found is compared in full.
 */

/* What a token is. */
enum token { DIGEST, NAME, NOTHING };

struct item {
    size_t number; /* the state's */
    enum token token;
    uint64_t key;
    size_t next; /* in its chain; or END */
};

#define END SIZE_MAX

struct search {
    const struct mr_superseded_state *state;
    size_t n;
    struct item *item; /* largest first */
    size_t *by;        /* of states */
    size_t *chain;     /* where each begins in item */
    size_t mask;
    size_t n_named; /* items whose token is a name */
    size_t nothing; /* the chain of those without a token */
};

/* A state whose parts are looked for in the others. */
struct base {
    const struct mr_coverage *coverage;
    char **name; /* of all its partitions, ascending; NULL: not yet made */
    size_t n_names;
};

/* ---- whether one state has all of another ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum mr_status list_names(struct base *b)
{
    const struct mr_coverage *c = b->coverage;
    size_t n = 0;

    for (size_t i = 0; i < c->n_partitions; i++)
        n += c->partition[i].n_names;
    b->name = malloc((n + 1) * sizeof(*b->name));
    if (b->name == NULL)
        return MR_NOMEM;
    b->n_names = 0;
    for (size_t i = 0; i < c->n_partitions; i++)
        for (size_t k = 0; k < c->partition[i].n_names; k++)
            b->name[b->n_names++] = c->partition[i].name[k];
    if (b->n_names > 1)
        qsort(b->name, b->n_names, sizeof(*b->name), compare_names);
    return MR_OK;
}

static int compare_digests(const void *a, const void *b)
{
    const struct mr_partition *x = a, *y = b;

    return memcmp(x->digest.b, y->digest.b, sizeof(x->digest.b));
}

/* Whether all of a's names are among b's. */
static bool has_names(
    const struct mr_partition *b, const struct mr_partition *a)
{
    size_t k = 0;

    for (size_t i = 0; i < a->n_names; i++) {
        while (k < b->n_names && strcmp(b->name[k], a->name[i]) < 0)
            k++;
        if (k == b->n_names || strcmp(b->name[k], a->name[i]) != 0)
            return false;
    }
    return true;
}

/* Of equal bytes equal counts were found, unless somebody made a state up:
 * then both are merged, which has a rule for it.  Which group an event is in
 * may be told in more or less detail; and the folder is that of the name. */
static bool same_counts(
    const struct mr_partition *a, const struct mr_partition *b)
{
    bool same = a->stored_bytes == b->stored_bytes &&
                a->text_bytes == b->text_bytes && a->lines == b->lines &&
                a->blank == b->blank && a->n_cells == b->n_cells &&
                a->n_reasons == b->n_reasons;

    if (same && strcmp(a->name[0], b->name[0]) == 0)
        same = a->other_day == b->other_day && a->other_type == b->other_type;
    for (size_t i = 0; same && i < a->n_cells; i++)
        same = a->cell[i].events == b->cell[i].events &&
               a->cell[i].without_user == b->cell[i].without_user;
    for (size_t i = 0; same && i < a->n_reasons; i++)
        same = a->reason[i].reason == b->reason[i].reason &&
               a->reason[i].lines == b->reason[i].lines;
    return same;
}

static bool has_partitions(
    const struct mr_coverage *b, const struct mr_coverage *a)
{
    size_t low = 0;

    for (size_t i = 0; i < a->n_partitions; i++) {
        const struct mr_partition *wanted = &a->partition[i], *found;

        if (b->n_partitions - low < a->n_partitions - i)
            return false;
        found = bsearch(wanted, b->partition + low, b->n_partitions - low,
            sizeof(*found), compare_digests);
        if (found == NULL || !has_names(found, wanted) ||
            !same_counts(found, wanted))
            return false;
        low = (size_t)(found - b->partition) + 1;
    }
    return true;
}

static int compare_failure_names(const void *a, const void *b)
{
    const struct mr_failure *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum mr_status has_failures(
    struct base *b, const struct mr_coverage *a, bool *has_out)
{
    const struct mr_coverage *c = b->coverage;

    for (size_t i = 0; i < a->n_failures; i++) {
        const struct mr_failure *wanted = &a->failure[i], *found = NULL;

        if (c->n_failures > 0)
            found = bsearch(wanted, c->failure, c->n_failures, sizeof(*found),
                compare_failure_names);
        *has_out = found != NULL && mr_failure_compare(found, wanted) <= 0;
        if (found == NULL) {
            if (b->name == NULL && list_names(b) != MR_OK)
                return MR_NOMEM;
            *has_out = bsearch(&wanted->name, b->name, b->n_names,
                           sizeof(*b->name), compare_names) != NULL;
        }
        if (!*has_out)
            return MR_OK;
    }
    *has_out = true;
    return MR_OK;
}

static enum mr_status has_all(
    struct base *b, const struct mr_coverage *a, bool *has_out)
{
    *has_out = has_partitions(b->coverage, a);
    return *has_out ? has_failures(b, a, has_out) : MR_OK;
}

/* ---- tokens ---- */

static uint64_t digest_key(const struct mr_digest *digest)
{
    uint64_t key;

    memcpy(&key, digest->b, sizeof(key));
    return key;
}

static uint64_t name_key(const char *name)
{
    return mr_hash64(name, strlen(name));
}

/* How many states have a partition; or a few more, where keys collide. */
struct holders {
    uint32_t *n;
    size_t mask;
};

static enum mr_status count_holders(
    const struct search *s, struct holders *holders)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += s->state[i].coverage->n_partitions;
    holders->mask = 1;
    while (holders->mask < n)
        holders->mask = 2 * holders->mask + 1;
    holders->n = calloc(holders->mask + 1, sizeof(*holders->n));
    if (holders->n == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < s->n; i++) {
        const struct mr_coverage *c = s->state[i].coverage;

        for (size_t k = 0; k < c->n_partitions; k++)
            holders->n[digest_key(&c->partition[k].digest) & holders->mask]++;
    }
    return MR_OK;
}

static void choose_token(struct item *item, const struct mr_coverage *c,
    const struct holders *holders)
{
    uint32_t least = UINT32_MAX;

    item->token = NOTHING;
    for (size_t i = 0; i < c->n_partitions; i++) {
        uint64_t key = digest_key(&c->partition[i].digest);
        uint32_t n = holders->n[key & holders->mask];

        if (item->token == NOTHING || n < least) {
            item->token = DIGEST;
            item->key = key;
            least = n;
        }
    }
    if (item->token == DIGEST)
        return;
    if (c->n_failures > 0) {
        item->token = NAME;
        item->key = name_key(c->failure[0].name);
    }
}

static const struct mr_coverage *coverage_of(
    const struct search *s, const struct item *item)
{
    return s->state[item->number].coverage;
}

static enum mr_status enter_tokens(struct search *s)
{
    struct holders holders;

    if (count_holders(s, &holders) != MR_OK)
        return MR_NOMEM;
    for (size_t i = 0; i <= s->mask; i++)
        s->chain[i] = END;
    s->nothing = END;
    /* From the last, so that chains are in the order of items. */
    for (size_t i = s->n; i-- > 0;) {
        struct item *item = &s->item[i];
        size_t *chain = &s->nothing;

        choose_token(item, coverage_of(s, item), &holders);
        if (item->token != NOTHING)
            chain = &s->chain[item->key & s->mask];
        s->n_named += item->token == NAME;
        item->next = *chain;
        *chain = i;
    }
    free(holders.n);
    return MR_OK;
}

/* ---- the search ---- */

/* Compare the base with all items of a chain that have a key; take those that
 * it supersedes, now or earlier, out of the chain. */
static enum mr_status try_chain(struct search *s, const struct item *base,
    struct base *b, size_t *chain, enum token token, uint64_t key)
{
    const struct mr_superseded_state *own = &s->state[base->number];
    bool has = false;

    while (*chain != END) {
        struct item *item = &s->item[*chain];
        const struct mr_superseded_state *other = &s->state[item->number];
        bool gone = s->by[item->number] != MR_NOT_SUPERSEDED;

        if (!gone && item != base && item->token == token && item->key == key &&
            memcmp(own->spec.b, other->spec.b, sizeof(own->spec.b)) == 0) {
            if (has_all(b, other->coverage, &has) != MR_OK)
                return MR_NOMEM;
            if (has)
                s->by[item->number] = base->number;
            gone = has;
        }
        if (gone)
            *chain = item->next;
        else
            chain = &item->next;
    }
    return MR_OK;
}

static enum mr_status try_name(
    struct search *s, const struct item *base, struct base *b, const char *name)
{
    uint64_t key = name_key(name);

    return try_chain(s, base, b, &s->chain[key & s->mask], NAME, key);
}

/* Find what a base supersedes. */
static enum mr_status try_base(struct search *s, const struct item *base)
{
    const struct mr_coverage *c = coverage_of(s, base);
    struct base b = {.coverage = c};
    enum mr_status status = try_chain(s, base, &b, &s->nothing, NOTHING, 0);

    for (size_t i = 0; i < c->n_partitions && status == MR_OK; i++) {
        const struct mr_partition *p = &c->partition[i];
        uint64_t key = digest_key(&p->digest);

        status = try_chain(s, base, &b, &s->chain[key & s->mask], DIGEST, key);
        for (size_t k = 0; s->n_named > 0 && k < p->n_names; k++)
            if (status == MR_OK)
                status = try_name(s, base, &b, p->name[k]);
    }
    for (size_t i = 0; s->n_named > 0 && i < c->n_failures; i++)
        if (status == MR_OK)
            status = try_name(s, base, &b, c->failure[i].name);
    free(b.name);
    return status;
}

/* What states are sorted by. */
struct sized {
    size_t n_partitions, n_names, n_failures, number;
};

static int by_size_down(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;

    if (x->n_partitions != y->n_partitions)
        return x->n_partitions > y->n_partitions ? -1 : 1;
    if (x->n_names != y->n_names)
        return x->n_names > y->n_names ? -1 : 1;
    if (x->n_failures != y->n_failures)
        return x->n_failures > y->n_failures ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static enum mr_status order_items(struct search *s)
{
    struct sized *sized = calloc(s->n + 1, sizeof(*sized));

    if (sized == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < s->n; i++) {
        const struct mr_coverage *c = s->state[i].coverage;

        sized[i] = (struct sized){c->n_partitions, 0, c->n_failures, i};
        for (size_t k = 0; k < c->n_partitions; k++)
            sized[i].n_names += c->partition[k].n_names;
    }
    if (s->n > 1)
        qsort(sized, s->n, sizeof(*sized), by_size_down);
    for (size_t i = 0; i < s->n; i++)
        s->item[i].number = sized[i].number;
    free(sized);
    return MR_OK;
}

/* A base may itself turn out to be superseded by one of the same size. */
static void find_last(size_t *by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        while (by[i] != MR_NOT_SUPERSEDED && by[by[i]] != MR_NOT_SUPERSEDED)
            by[i] = by[by[i]];
}

enum mr_status mr_superseded_find(
    const struct mr_superseded_state *state, size_t n, size_t *by_out)
{
    struct search s = {.state = state, .n = n, .by = by_out};
    enum mr_status status = MR_NOMEM;

    s.mask = 1;
    while (s.mask < 2 * n)
        s.mask = 2 * s.mask + 1;
    s.item = calloc(n + 1, sizeof(*s.item));
    s.chain = malloc((s.mask + 1) * sizeof(*s.chain));
    for (size_t i = 0; i < n; i++)
        by_out[i] = MR_NOT_SUPERSEDED;
    if (s.item != NULL && s.chain != NULL)
        status = order_items(&s);
    if (status == MR_OK)
        status = enter_tokens(&s);
    for (size_t i = 0; i < n && status == MR_OK; i++)
        if (by_out[s.item[i].number] == MR_NOT_SUPERSEDED)
            status = try_base(&s, &s.item[i]);
    if (status == MR_OK)
        find_last(by_out, n);
    free(s.item);
    free(s.chain);
    return status;
}
