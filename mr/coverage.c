#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/coverage.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/*
 * Adding only appends; settling sorts once and joins neighbours.  Settling
 * gives the union of sets because each of its three rules picks a least
 * element or a union, and those care neither for order nor for grouping:
 *
 *   - the names of one digest are united;
 *   - of the records of one digest the least stays, by name first.  All that
 *     is read from the bytes is equal in them; what depends on the folder
 *     (other_day, other_type) is thereby that of the name that is shown;
 *   - of the failures of one name the least stays, those that are pending
 *     being greater than all others, and none where the name has been read.
 *     So what a run had yet to read when it was cut short is forgotten as
 *     soon as anything else is known of it.  Names once read are never
 *     forgotten, so it does not matter whether the failure or the repaired
 *     file comes first.
 */

/* Memory. */

void mr_partition_release(struct mr_partition *p)
{
    size_t i;

    for (i = 0; i < p->n_names && !p->is_block; i++)
        free(p->name[i]);
    free(p->name);
    if (!p->is_block) {
        free(p->cell);
        free(p->reason);
    }
    *p = (struct mr_partition){0};
}

_Static_assert(_Alignof(struct mr_cell_count) <= _Alignof(char *) &&
                   _Alignof(struct mr_reason_count) <= _Alignof(char *) &&
                   sizeof(struct mr_cell_count) % sizeof(char *) == 0 &&
                   sizeof(struct mr_reason_count) % sizeof(char *) == 0,
    "they can follow one another");

enum mr_status mr_partition_copy(
    const struct mr_partition *from, struct mr_partition *to_out)
{
    size_t names = from->n_names * sizeof(*from->name);
    size_t cells = (from->n_cells + from->n_figures) * sizeof(*from->cell);
    size_t reasons = from->n_reasons * sizeof(*from->reason);
    size_t texts = 0, i, n;
    struct mr_partition to = *from;
    char *p;

    for (i = 0; i < from->n_names; i++)
        texts += strlen(from->name[i]) + 1;
    p = malloc(names + cells + reasons + texts + 1);
    if (!p)
        return MR_NOMEM;
    to.is_block = true;
    to.name = (char **)(void *)p;
    to.cell = (struct mr_cell_count *)(void *)(p + names);
    to.reason = (struct mr_reason_count *)(void *)(p + names + cells);
    if (cells > 0)
        memcpy(to.cell, from->cell, cells);
    if (reasons > 0)
        memcpy(to.reason, from->reason, reasons);
    p += names + cells + reasons;
    for (i = 0; i < from->n_names; i++, p += n) {
        n = strlen(from->name[i]) + 1;
        to.name[i] = memcpy(p, from->name[i], n);
    }
    *to_out = to;
    return MR_OK;
}

bool mr_failure_is_pending(const struct mr_failure *f)
{
    return f->offset == MR_NOWHERE && strcmp(f->cause, MR_CAUSE_PENDING) == 0;
}

static void release_failure(struct mr_failure *f)
{
    free(f->name);
    free(f->cause);
}

void mr_coverage_release(struct mr_coverage *c)
{
    size_t i;

    for (i = 0; i < c->n_partitions; i++) {
        mr_coverage_prefetch(c, i);
        mr_partition_release(&c->partition[i]);
    }
    for (i = 0; i < c->n_failures; i++)
        release_failure(&c->failure[i]);
    free(c->partition);
    free(c->failure);
    *c = (struct mr_coverage){0};
}

/* Make room for one more element in an array that grows by half. */
static enum mr_status grow(void *array, size_t n, size_t *cap, size_t size)
{
    size_t larger = *cap + *cap / 2 + 8;
    void *p, *old;

    if (n < *cap)
        return MR_OK;
    if (larger > SIZE_MAX / size)
        return MR_NOMEM;
    memcpy(&old, array, sizeof(old));
    p = realloc(old, larger * size);
    if (!p)
        return MR_NOMEM;
    memcpy(array, &p, sizeof(p));
    *cap = larger;
    return MR_OK;
}

/* Adding. */

enum mr_status mr_coverage_add(struct mr_coverage *c, struct mr_partition *p)
{
    enum mr_status status = grow(&c->partition, c->n_partitions,
        &c->cap_partitions, sizeof(c->partition[0]));

    if (status != MR_OK)
        return status;
    c->partition[c->n_partitions++] = *p;
    *p = (struct mr_partition){0};
    return MR_OK;
}

enum mr_status mr_coverage_add_failure(
    struct mr_coverage *c, const char *name, uint64_t offset, const char *cause)
{
    enum mr_status status = grow(
        &c->failure, c->n_failures, &c->cap_failures, sizeof(c->failure[0]));
    struct mr_failure f = {0};

    if (status != MR_OK)
        return status;
    f.offset = offset;
    f.name = strdup(name);
    f.cause = strdup(cause);
    if (!f.name || !f.cause) {
        release_failure(&f);
        return MR_NOMEM;
    }
    c->failure[c->n_failures++] = f;
    return MR_OK;
}

enum mr_status mr_coverage_fail(
    struct mr_coverage *c, const char *name, const struct mr_error *why)
{
    char cause[sizeof(why->cause) + sizeof(why->advice) + 2];
    bool usual = why->advice[0] == '\0' ||
                 strncmp(why->advice, "fetch it again", 14) == 0;

    (void)snprintf(cause, sizeof(cause), "%s%s%s", why->cause,
        usual ? "" : "; ", usual ? "" : why->advice);
    return mr_coverage_add_failure(c, name, why->offset, cause);
}

enum mr_status mr_coverage_spoil(
    struct mr_coverage *c, const struct mr_error *why)
{
    struct mr_coverage seen = *c;
    enum mr_status status = MR_OK;

    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < seen.n_partitions && status == MR_OK; i++)
        status = mr_coverage_fail(c, seen.partition[i].name[0], why);
    for (size_t i = 0; i < seen.n_failures && status == MR_OK; i++)
        status = mr_coverage_fail(c, seen.failure[i].name, why);
    mr_coverage_release(&seen);
    return status;
}

static enum mr_status copy_failures(
    const struct mr_coverage *from, struct mr_coverage *to)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < from->n_failures && status == MR_OK; i++)
        status = mr_coverage_add_failure(to, from->failure[i].name,
            from->failure[i].offset, from->failure[i].cause);
    return status;
}

enum mr_status mr_coverage_copy(
    const struct mr_coverage *from, struct mr_coverage *to)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < from->n_partitions && status == MR_OK; i++) {
        struct mr_partition copy;

        mr_coverage_prefetch(from, i);
        status = mr_partition_copy(&from->partition[i], &copy);
        if (status != MR_OK)
            break;
        status = mr_coverage_add(to, &copy);
        if (status != MR_OK)
            mr_partition_release(&copy);
    }
    return status == MR_OK ? copy_failures(from, to) : status;
}

enum mr_status mr_coverage_move(
    struct mr_coverage *into, struct mr_coverage *from)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < from->n_partitions && status == MR_OK; i++)
        status = mr_coverage_add(into, &from->partition[i]);
    return status == MR_OK ? copy_failures(from, into) : status;
}

/* Settling. */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_reasons(
    const struct mr_partition *a, const struct mr_partition *b)
{
    int c = compare_numbers(a->n_reasons, b->n_reasons);
    size_t i;

    for (i = 0; c == 0 && i < a->n_reasons; i++) {
        c = compare_numbers(a->reason[i].reason, b->reason[i].reason);
        if (c == 0)
            c = compare_numbers(a->reason[i].lines, b->reason[i].lines);
    }
    return c;
}

static int compare_counts(const void *left, const void *right)
{
    const struct mr_cell_count *a = left, *b = right;

    return compare_numbers(a->cell, b->cell);
}

bool mr_partition_is_archive(const struct mr_partition *p)
{
    struct mr_digest none;

    if (p->stored_bytes > 0 || p->text_bytes > 0 || p->lines > 0)
        return false;
    none = mr_digest_bytes("", 0);
    return memcmp(p->digest.b, none.b, MR_DIGEST_BYTES) != 0;
}

void mr_partition_renumber(struct mr_partition *p, const uint32_t *number)
{
    size_t n = p->n_cells + p->n_figures, kept = 0;

    for (size_t i = 0; i < n; i++)
        p->cell[i].cell = number[p->cell[i].cell];
    if (n > 1)
        qsort(p->cell, n, sizeof(*p->cell), compare_counts);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || p->cell[kept - 1].cell != p->cell[i].cell) {
            p->cell[kept++] = p->cell[i];
            continue;
        }
        p->cell[kept - 1].events += p->cell[i].events;
        p->cell[kept - 1].without_user += p->cell[i].without_user;
    }
    p->n_figures = kept - p->n_cells;
}

static int compare_cells(
    const struct mr_partition *a, const struct mr_partition *b)
{
    int c = compare_numbers(a->n_cells, b->n_cells);
    size_t i;

    if (c == 0)
        c = compare_numbers(a->n_figures, b->n_figures);
    for (i = 0; c == 0 && i < a->n_cells + a->n_figures; i++) {
        const struct mr_cell_count *x = &a->cell[i], *y = &b->cell[i];

        c = compare_numbers(x->cell, y->cell);
        if (c == 0)
            c = compare_numbers(x->events, y->events);
        if (c == 0)
            c = compare_numbers(x->without_user, y->without_user);
    }
    return c;
}

/*
 * By digest, then by the first name, then by all the counts.  Those are equal
 * in all records of one digest and name unless somebody made a state up; even
 * then the result must not depend on the order of merging.  Numbering the
 * cells anew for a merge keeps their order, and so this one.
 */
static int compare_partitions(const void *left, const void *right)
{
    const struct mr_partition *a = left, *b = right;
    int c = memcmp(a->digest.b, b->digest.b, sizeof(a->digest.b));

    if (c == 0)
        c = strcmp(a->name[0], b->name[0]);
    if (c == 0)
        c = compare_numbers(a->other_day, b->other_day);
    if (c == 0)
        c = compare_numbers(a->other_type, b->other_type);
    if (c == 0)
        c = compare_numbers(a->stored_bytes, b->stored_bytes);
    if (c == 0)
        c = compare_numbers(a->text_bytes, b->text_bytes);
    if (c == 0)
        c = compare_numbers(a->lines, b->lines);
    if (c == 0)
        c = compare_numbers(a->blank, b->blank);
    if (c == 0)
        c = compare_reasons(a, b);
    if (c == 0)
        c = compare_cells(a, b);
    return c;
}

static int compare_failures(const void *left, const void *right)
{
    const struct mr_failure *a = left, *b = right;
    int c = strcmp(a->name, b->name);

    if (c == 0)
        c = mr_failure_is_pending(a) - mr_failure_is_pending(b);
    if (c == 0)
        c = compare_numbers(a->offset, b->offset);
    if (c == 0)
        c = strcmp(a->cause, b->cause);
    return c;
}

int mr_failure_compare(const struct mr_failure *a, const struct mr_failure *b)
{
    return compare_failures(a, b);
}

static int compare_to_failure(const void *name, const void *failure)
{
    return strcmp(name, ((const struct mr_failure *)failure)->name);
}

/* Add the failures of a partition's name, of which each is at its place. */
static enum mr_status add_veiled(const struct mr_coverage *c, const char *name,
    bool *seen, struct mr_coverage *veiled)
{
    const struct mr_failure *end = c->failure + c->n_failures;
    const struct mr_failure *f = bsearch(name, c->failure, c->n_failures,
        sizeof(*c->failure), compare_to_failure);
    enum mr_status status = MR_OK;

    if (f == NULL || seen[f - c->failure])
        return MR_OK; /* there is none, or all are there already */
    while (f > c->failure && strcmp(f[-1].name, name) == 0)
        f--;
    for (; status == MR_OK && f < end && strcmp(f->name, name) == 0; f++) {
        if (!mr_failure_is_pending(f))
            status =
                mr_coverage_add_failure(veiled, f->name, f->offset, f->cause);
        seen[f - c->failure] = true;
    }
    return status;
}

enum mr_status mr_coverage_veiled(
    struct mr_coverage *c, struct mr_coverage *veiled_out)
{
    enum mr_status status = MR_OK;
    bool *seen;

    memset(veiled_out, 0, sizeof(*veiled_out));
    if (c->n_failures == 0)
        return MR_OK;
    seen = calloc(c->n_failures, sizeof(*seen));
    if (seen == NULL)
        return MR_NOMEM;
    qsort(c->failure, c->n_failures, sizeof(*c->failure), compare_failures);
    for (size_t i = 0; i < c->n_partitions; i++)
        for (size_t k = 0; k < c->partition[i].n_names; k++)
            if (status == MR_OK)
                status =
                    add_veiled(c, c->partition[i].name[k], seen, veiled_out);
    free(seen);
    return status;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Give p[0], the least of n records of one digest, the names of all; the
 * others become empty.  MR_NOMEM changes nothing. */
static enum mr_status join(struct mr_partition *p, size_t n)
{
    struct mr_partition least = p[0], joined;
    size_t i, n_names = 0, kept = 0;
    enum mr_status status;
    char **name;

    for (i = 0; i < n; i++)
        n_names += p[i].n_names;
    name = malloc(n_names * sizeof(*name));
    if (!name)
        return MR_NOMEM;
    n_names = 0;
    for (i = 0; i < n; i++) {
        memcpy(name + n_names, p[i].name, p[i].n_names * sizeof(*name));
        n_names += p[i].n_names;
    }
    qsort(name, n_names, sizeof(*name), compare_names);
    for (i = 0; i < n_names; i++)
        if (kept == 0 || strcmp(name[kept - 1], name[i]) != 0)
            name[kept++] = name[i];
    least.name = name;
    least.n_names = kept;
    status = mr_partition_copy(&least, &joined);
    free(name);
    if (status != MR_OK)
        return status;
    for (i = 0; i < n; i++)
        mr_partition_release(&p[i]);
    p[0] = joined;
    return MR_OK;
}

/* Where something stands in an array, and what it is sorted by: the first
 * bytes of a digest, or a hash. */
struct place {
    uint64_t key;
    size_t i;
};

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;

    return compare_numbers(a->key, b->key);
}

/* Sort places by keys that are spread evenly: deal out by the first bits, about
 * one to a bucket, then sort each bucket.  Keys made to collide only cost the
 * sorting of a big bucket. */
static enum mr_status sort_places(struct place *place, size_t n)
{
    struct place *from = malloc((n + 1) * sizeof(*from));
    unsigned bits = 1;
    size_t *end, i, sum = 0;

    while (bits < 24 && (size_t)1 << bits < n)
        bits++;
    end = calloc((size_t)1 << bits, sizeof(*end));
    if (!from || !end) {
        free(from);
        free(end);
        return MR_NOMEM;
    }
    if (n > 0)
        memcpy(from, place, n * sizeof(*from));
    for (i = 0; i < n; i++)
        end[from[i].key >> (64 - bits)]++;
    for (i = 0; i < (size_t)1 << bits; i++) {
        size_t count = end[i];

        end[i] = sum;
        sum += count;
    }
    for (i = 0; i < n; i++)
        place[end[from[i].key >> (64 - bits)]++] = from[i];
    for (i = 0; i < (size_t)1 << bits; i++) {
        size_t start = i == 0 ? 0 : end[i - 1];

        if (end[i] - start > 1)
            qsort(
                place + start, end[i] - start, sizeof(*place), compare_places);
    }
    free(from);
    free(end);
    return MR_OK;
}

static uint64_t digest_begins(const struct mr_digest *digest)
{
    uint64_t v = 0;

    for (size_t i = 0; i < sizeof(v); i++)
        v = v << 8 | digest->b[i];
    return v;
}

/* Put p[place[i].i] at p[i], for all i: one cycle after the other. */
static void move_to_places(
    struct mr_partition *p, struct place *place, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct mr_partition first = p[i];
        size_t at = i, from;

        while ((from = place[at].i) != i) {
            p[at] = p[from];
            place[at].i = at;
            at = from;
        }
        p[at] = first;
        place[at].i = at;
    }
}

/* Sort by compare_partitions.  Digests hardly ever begin alike unless they are
 * equal, and places are sorted much faster than partitions. */
static enum mr_status sort_partitions(struct mr_partition *p, size_t n)
{
    struct place *place = malloc((n + 1) * sizeof(*place));
    size_t i, same;

    if (!place)
        return MR_NOMEM;
    for (i = 0; i < n; i++)
        place[i] = (struct place){digest_begins(&p[i].digest), i};
    if (sort_places(place, n) != MR_OK) {
        free(place);
        return MR_NOMEM;
    }
    move_to_places(p, place, n);
    free(place);
    for (i = 0; i < n; i += same) {
        uint64_t begins = digest_begins(&p[i].digest);

        same = 1;
        while (i + same < n && digest_begins(&p[i + same].digest) == begins)
            same++;
        if (same > 1)
            qsort(p + i, same, sizeof(*p), compare_partitions);
    }
    return MR_OK;
}

static enum mr_status settle_partitions(struct mr_coverage *c)
{
    struct mr_partition *p = c->partition;
    enum mr_status status = sort_partitions(p, c->n_partitions);
    size_t i, n, kept = 0;

    if (status != MR_OK)
        return status;
    for (i = 0; i < c->n_partitions; i += n) {
        n = 1;
        while (i + n < c->n_partitions &&
               memcmp(p[i].digest.b, p[i + n].digest.b, MR_DIGEST_BYTES) == 0)
            n++;
        if (n > 1)
            status = join(&p[i], n);
        if (status != MR_OK)
            break;
        p[kept++] = p[i];
        c->n_repeated += n - 1;
    }
    /* What was not reached for want of memory stays as it was. */
    if (i < c->n_partitions)
        memmove(p + kept, p + i, (c->n_partitions - i) * sizeof(*p));
    c->n_partitions = kept + (c->n_partitions - i);
    return status;
}

/* Drop the failure of this name, if there is one, by emptying its cause. */
static void make_good(struct mr_coverage *c, const char *name)
{
    size_t low = 0, high = c->n_failures;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, c->failure[middle].name);

        if (order == 0) {
            free(c->failure[middle].cause);
            c->failure[middle].cause = NULL;
            return;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
}

static void settle_failures(struct mr_coverage *c)
{
    struct mr_failure *f = c->failure;
    size_t i, j, kept = 0;

    if (c->n_failures == 0)
        return;
    qsort(f, c->n_failures, sizeof(*f), compare_failures);
    for (i = 0; i < c->n_failures; i++) {
        if (kept > 0 && strcmp(f[kept - 1].name, f[i].name) == 0)
            release_failure(&f[i]);
        else
            f[kept++] = f[i];
    }
    c->n_failures = kept;
    for (i = 0; i < c->n_partitions; i++) {
        for (j = 0; j < c->partition[i].n_names; j++)
            make_good(c, c->partition[i].name[j]);
    }
    for (i = kept = 0; i < c->n_failures; i++) {
        if (f[i].cause)
            f[kept++] = f[i];
        else
            release_failure(&f[i]);
    }
    c->n_failures = kept;
}

enum mr_status mr_coverage_settle(struct mr_coverage *c)
{
    enum mr_status status = settle_partitions(c);

    if (status == MR_OK)
        settle_failures(c);
    return status;
}

/* Adding up. */

bool mr_coverage_fits(const struct mr_coverage *c)
{
    uint64_t lines = 0, stored = 0, text = 0;

    /* All else that is counted is a part of the lines. */
    for (size_t i = 0; i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        if (__builtin_add_overflow(lines, p->lines, &lines) ||
            __builtin_add_overflow(stored, p->stored_bytes, &stored) ||
            __builtin_add_overflow(text, p->text_bytes, &text))
            return false;
    }
    return true;
}

/* How many of the names, which all have the same hash, are there more than
 * once.  Sorts them. */
static uint64_t count_repeated(char **name, size_t n)
{
    uint64_t repeated = 0;
    size_t i;

    if (n > 1)
        qsort(name, n, sizeof(*name), compare_names);
    for (i = 1; i < n; i++) {
        /* Count at the second of a run only. */
        if (strcmp(name[i - 1], name[i]) == 0 &&
            (i == 1 || strcmp(name[i - 2], name[i]) != 0))
            repeated++;
    }
    return repeated;
}

/* All names, and their hashes. */
static size_t list_names(
    const struct mr_coverage *c, char **name, struct place *place)
{
    size_t i, j, n = 0;

    for (i = 0; i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        mr_coverage_prefetch(c, i);
        for (j = 0; j < p->n_names; j++, n++) {
            name[n] = p->name[j];
            place[n] = (struct place){mr_hash64(name[n], strlen(name[n])), n};
        }
    }
    return n;
}

static enum mr_status count_renamed(
    const struct mr_coverage *c, uint64_t *renamed_out)
{
    size_t i, k, same, n = 0;
    struct place *place;
    char **name, **sorted;

    for (i = 0; i < c->n_partitions; i++)
        n += c->partition[i].n_names;
    name = malloc((2 * n + 1) * sizeof(*name));
    place = malloc((n + 1) * sizeof(*place));
    if (!name || !place || list_names(c, name, place) != n ||
        sort_places(place, n) != MR_OK) {
        free(name);
        free(place);
        return MR_NOMEM;
    }
    sorted = name + n;
    *renamed_out = 0;
    for (i = 0; i < n; i += same) {
        for (k = i; k < n && place[k].key == place[i].key; k++)
            sorted[k] = name[place[k].i];
        same = k - i;
        *renamed_out += count_repeated(sorted + i, same);
    }
    free(name);
    free(place);
    return MR_OK;
}

static void add_partition(
    struct mr_coverage_totals *t, const struct mr_partition *p)
{
    size_t i;

    t->stored_bytes += p->stored_bytes;
    t->text_bytes += p->text_bytes;
    t->lines += p->lines;
    t->blank += p->blank;
    t->other_day += p->other_day;
    t->other_type += p->other_type;
    for (i = 0; i < p->n_cells; i++) {
        t->events += p->cell[i].events;
        t->events_without_user += p->cell[i].without_user;
    }
    for (i = 0; i < p->n_reasons; i++) {
        t->rejected += p->reason[i].lines;
        t->reason[p->reason[i].reason] += p->reason[i].lines;
    }
}

enum mr_status mr_coverage_sum(
    const struct mr_coverage *c, struct mr_coverage_totals *totals_out)
{
    struct mr_coverage_totals t = {0};
    enum mr_status status = count_renamed(c, &t.renamed);
    size_t i;

    if (status != MR_OK)
        return status;
    t.partitions = c->n_partitions;
    t.failures = c->n_failures;
    for (i = 0; i < c->n_partitions; i++) {
        mr_coverage_prefetch(c, i);
        add_partition(&t, &c->partition[i]);
    }
    *totals_out = t;
    return MR_OK;
}
