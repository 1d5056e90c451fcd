#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/covered.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is read of the manifest ---- */

enum found { NOT_FOUND, FOUND, FOUND_CHANGED };

/* Of an entry of the manifest. */
struct match {
    enum found found;
    uint64_t bytes; /* that were read, where changed: the least */
};

static void note_match(struct match *m, const struct mr_partition *p,
    bool archive, uint64_t listed)
{
    if (p->stored_bytes == listed || archive) {
        m->found = FOUND;
    } else if (m->found == NOT_FOUND ||
               (m->found == FOUND_CHANGED && p->stored_bytes < m->bytes)) {
        m->found = FOUND_CHANGED;
        m->bytes = p->stored_bytes;
    }
}

/* Whether a name may be that of a member of an archive in the manifest. */
static bool is_member(const struct mr_manifest *manifest, const char *name)
{
    const char *slash = name;

    while ((slash = strchr(slash, '/')) != NULL) {
        if (mr_manifest_find(manifest, name, (size_t)(slash - name)) != NULL)
            return true;
        slash++;
    }
    return false;
}

static void match_partition(struct mr_covered *c,
    const struct mr_manifest *manifest, const struct mr_partition *p,
    struct match *match)
{
    bool listed = false, archive = mr_partition_is_archive(p);

    for (size_t i = 0; i < p->n_names; i++) {
        const struct mr_manifest_entry *e =
            mr_manifest_find(manifest, p->name[i], strlen(p->name[i]));

        if (e != NULL)
            note_match(&match[e - manifest->entry], p, archive, e->bytes);
        listed |= e != NULL || is_member(manifest, p->name[i]);
    }
    c->has_archives |= archive;
    if (listed)
        return;
    if (c->unlisted++ == 0 || strcmp(p->name[0], c->first_unlisted) < 0)
        c->first_unlisted = p->name[0];
}

/* ---- what is missing ---- */

static enum mr_status copy_failure(
    struct mr_covered *c, const char *name, uint64_t offset, const char *cause)
{
    struct mr_failure f = {strdup(name), offset, strdup(cause)};

    if (f.name == NULL || f.cause == NULL) {
        free(f.name);
        free(f.cause);
        return MR_NOMEM;
    }
    c->failure[c->n_failures++] = f;
    return MR_OK;
}

/* An entry that no partition and no failure of its name speaks of. */
static enum mr_status add_missing(
    struct mr_covered *c, const struct mr_manifest_entry *e)
{
    c->missing++;
    return copy_failure(c, e->name, MR_NOWHERE, MR_CAUSE_MISSING);
}

static enum mr_status add_changed(struct mr_covered *c,
    const struct mr_manifest_entry *e, const struct match *m)
{
    char cause[160];

    c->changed++;
    snprintf(cause, sizeof(cause),
        MR_CAUSE_CHANGED ": %" PRIu64 " bytes were read, it lists %" PRIu64,
        m->bytes, e->bytes);
    return copy_failure(c, e->name, MR_NOWHERE, cause);
}

static enum mr_status count_entry(struct mr_covered *c,
    const struct mr_manifest_entry *e, const struct match *m)
{
    bool covered = m->found == FOUND;

    c->total.partitions++;
    c->total.bytes += e->bytes;
    c->total.covered += covered;
    c->total.covered_bytes += covered ? e->bytes : 0;
    return mr_places_add(&c->places, e->name, e->bytes, covered);
}

/* Both ascend by name: join the coverage's failures and the manifest's
 * entries that are not covered. */
static enum mr_status join(struct mr_covered *c,
    const struct mr_coverage *coverage, const struct mr_manifest *manifest,
    const struct match *match)
{
    enum mr_status status = MR_OK;
    size_t k = 0;

    for (size_t i = 0; i <= manifest->n && status == MR_OK; i++) {
        const struct mr_manifest_entry *e = &manifest->entry[i];
        bool is_last = i == manifest->n, has_own = false;

        while (status == MR_OK && k < coverage->n_failures &&
               (is_last || strcmp(coverage->failure[k].name, e->name) <= 0)) {
            const struct mr_failure *f = &coverage->failure[k++];

            has_own = !is_last && strcmp(f->name, e->name) == 0;
            status = copy_failure(c, f->name, f->offset, f->cause);
        }
        if (is_last || status != MR_OK)
            continue;
        if (match[i].found == FOUND_CHANGED)
            status = add_changed(c, e, &match[i]);
        else if (match[i].found == NOT_FOUND && !has_own)
            status = add_missing(c, e);
        if (status == MR_OK)
            status = count_entry(c, e, &match[i]);
    }
    return status;
}

enum mr_status mr_covered_compare(const struct mr_coverage *coverage,
    const struct mr_manifest *manifest, struct mr_covered *covered_out,
    struct mr_error *err)
{
    struct mr_covered *c = covered_out;
    struct match *match = calloc(manifest->n + 1, sizeof(*match));
    size_t most = coverage->n_failures + manifest->n;
    enum mr_status status = MR_NOMEM;

    memset(c, 0, sizeof(*c));
    c->failure = calloc(most + 1, sizeof(*c->failure));
    if (match != NULL && c->failure != NULL) {
        for (size_t i = 0; i < coverage->n_partitions; i++) {
            mr_coverage_prefetch(coverage, i);
            match_partition(c, manifest, &coverage->partition[i], match);
        }
        status = join(c, coverage, manifest, match);
    }
    free(match);
    mr_places_sort(&c->places);
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

void mr_covered_release(struct mr_covered *c)
{
    for (size_t i = 0; i < c->n_failures; i++) {
        free(c->failure[i].name);
        free(c->failure[i].cause);
    }
    free(c->failure);
    mr_places_release(&c->places);
    memset(c, 0, sizeof(*c));
}

/* ---- holes ---- */

/* Least hours between the first and the last. */
#define HOURS_MIN 8

/* A partition whose name tells an hour. */
struct seen {
    uint64_t type; /* hash */
    int64_t hour;  /* since 1970 */
    const char *name;
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;

    if (x->type != y->type)
        return x->type < y->type ? -1 : 1;
    if (x->hour != y->hour)
        return x->hour < y->hour ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum mr_status see(
    const char *name, struct mr_buffer *scratch, struct seen *seen, size_t *n)
{
    struct mr_place place;
    enum mr_status status = mr_place_of(name, scratch, &place);

    if (status == MR_OK && place.has_day && place.has_hour)
        seen[(*n)++] = (struct seen){
            place.type.p != NULL ? mr_hash64(place.type.p, place.type.n) : 0,
            24 * (int64_t)place.day + place.hour, name};
    return status;
}

static enum mr_status see_all(
    const struct mr_coverage *coverage, struct seen **seen_out, size_t *n_out)
{
    size_t most = coverage->n_partitions + coverage->n_failures, n = 0;
    struct seen *seen = malloc((most + 1) * sizeof(*seen));
    enum mr_status status = seen == NULL ? MR_NOMEM : MR_OK;
    struct mr_buffer scratch = {0};

    for (size_t i = 0; i < coverage->n_partitions && status == MR_OK; i++) {
        mr_coverage_prefetch(coverage, i);
        status = see(coverage->partition[i].name[0], &scratch, seen, &n);
    }
    for (size_t i = 0; i < coverage->n_failures && status == MR_OK; i++)
        status = see(coverage->failure[i].name, &scratch, seen, &n);
    mr_buffer_release(&scratch);
    if (status == MR_OK && n > 1)
        qsort(seen, n, sizeof(*seen), compare_seen);
    *seen_out = seen;
    *n_out = n;
    return status;
}

static int32_t day_of(int64_t hour)
{
    return (int32_t)((hour >= 0 ? hour : hour - 23) / 24);
}

static unsigned hour_of(int64_t hour)
{
    return (unsigned)(hour - 24 * (int64_t)day_of(hour));
}

/* Look at the hours of one type, of which seen[0..n) are ascending, between
 * first and last, without these.  *hole is set where there is any. */
static bool look_at_type(const struct seen *seen, size_t n, int64_t first,
    int64_t last, struct mr_hole *hole)
{
    uint64_t all = (uint64_t)(last - first - 1), there = 0;
    int64_t next = first + 1, missing = last;

    for (size_t i = 0; i < n; i++) {
        if (seen[i].hour < next || seen[i].hour >= last)
            continue;
        if (seen[i].hour > next && missing == last)
            missing = next;
        next = seen[i].hour + 1;
        there++;
    }
    if (next < last && missing == last)
        missing = next;
    if (there == all || there < all - all / 8)
        return false;
    *hole = (struct mr_hole){
        seen[0].name, day_of(missing), hour_of(missing), all - there};
    return true;
}

static int compare_hours(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* How many of n ascending numbers are equal to the first. */
static size_t count_equal(const int64_t *hour, size_t n)
{
    size_t k = 1;

    while (k < n && hour[k] == hour[0])
        k++;
    return k;
}

/* The first and the last hour that has at least half as many types as the hour
 * that has the most: late events alone make no hour that others could lack. */
static enum mr_status find_ends(
    const struct seen *seen, size_t n, int64_t *first_out, int64_t *last_out)
{
    int64_t *hour = malloc((n + 1) * sizeof(*hour));
    size_t n_hours = 0, most = 0, k;
    bool found = false;

    if (hour == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || seen[i].type != seen[i - 1].type ||
            seen[i].hour != seen[i - 1].hour)
            hour[n_hours++] = seen[i].hour;
    if (n_hours > 1)
        qsort(hour, n_hours, sizeof(*hour), compare_hours);
    for (size_t i = 0; i < n_hours; i += k) {
        k = count_equal(hour + i, n_hours - i);
        most = k > most ? k : most;
    }
    for (size_t i = 0; i < n_hours; i += k) {
        k = count_equal(hour + i, n_hours - i);
        if (2 * k < most)
            continue;
        *first_out = found ? *first_out : hour[i];
        *last_out = hour[i];
        found = true;
    }
    free(hour);
    return MR_OK;
}

static int compare_holes(const void *a, const void *b)
{
    const struct mr_hole *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum mr_status look_at_types(
    const struct seen *seen, size_t n, struct mr_holes *h)
{
    int64_t first = 0, last = 0;
    size_t end, cap = 0;

    if (find_ends(seen, n, &first, &last) != MR_OK)
        return MR_NOMEM;
    if (last - first - 1 < HOURS_MIN)
        return MR_OK;
    h->hours = (uint64_t)(last - first - 1);
    h->first_day = day_of(first);
    h->first_hour = hour_of(first);
    h->last_day = day_of(last);
    h->last_hour = hour_of(last);
    for (size_t i = 0; i < n; i = end) {
        struct mr_hole hole;

        for (end = i + 1; end < n && seen[end].type == seen[i].type;)
            end++;
        if (!look_at_type(seen + i, end - i, first, last, &hole))
            continue;
        if (h->n == cap) {
            struct mr_hole *grown;

            cap = cap > 0 ? 2 * cap : 8;
            grown = realloc(h->hole, cap * sizeof(*grown));
            if (grown == NULL)
                return MR_NOMEM;
            h->hole = grown;
        }
        h->hole[h->n++] = hole;
    }
    if (h->n > 1)
        qsort(h->hole, h->n, sizeof(*h->hole), compare_holes);
    return MR_OK;
}

enum mr_status mr_holes_find(const struct mr_coverage *coverage,
    struct mr_holes *holes_out, struct mr_error *err)
{
    struct seen *seen = NULL;
    size_t n = 0;
    enum mr_status status;

    *holes_out = (struct mr_holes){.n = 0};
    status = see_all(coverage, &seen, &n);
    if (status == MR_OK)
        status = look_at_types(seen, n, holes_out);
    free(seen);
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

void mr_holes_release(struct mr_holes *h)
{
    free(h->hole);
    *h = (struct mr_holes){.n = 0};
}
