#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/idset.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mr/ascending.h"
#include "mr/idset_private.h"
#include "mr/spill.h"

/*
 * Ids of a day are copied into its tail, under its lock.  A full tail is
 * taken off, and sorted without the lock, as all else is done: the result is
 * a run.  Where not all ids are kept, a thread that finds half as many again
 * as may be kept in the runs takes them off and joins them into one, which
 * is cut.  From then on the largest hash left there is the day's threshold:
 * what is above it is not even looked at, so that a day of N ids has some
 * max_ids times ln(N / max_ids) of them copied.  Where all are kept, a thread
 * that finds more memory in use than there may be takes off the runs and
 * tails of all days and writes them to the spill, each day as one run.
 */

#define TAIL_MIN 64
#define TAIL_MAX 32768
/* Ids that are copied at a time. */
#define BATCH 1024
#define MAX_IDS_END (UINT64_C(1) << 40)

struct run {
    struct run *next;
    size_t n, cap;
    uint64_t hash[];
};

/* Ascending hashes in the spill. */
struct spilled {
    uint64_t offset, n;
};

struct day {
    pthread_mutex_t lock; /* of all but threshold, which goes down only */
    _Atomic uint64_t threshold;
    struct run *tail; /* as it came; the only one that is not sorted */
    struct run *runs; /* ascending, each hash once */
    uint64_t n_in_runs;
    bool cut;
    /* Held while runs are joined: others who find too many of them wait, so
     * that no more gather meanwhile. */
    pthread_mutex_t cutting;
    struct spilled *spilled;
    size_t n_spilled;
};

struct mr_idset {
    struct mr_idset_rule rule;
    char *folder;
    uint64_t memory_bytes;
    _Atomic uint64_t held_bytes; /* by runs and tails; only where exact */
    pthread_mutex_t days_lock;   /* of making days */
    pthread_mutex_t spill_lock;  /* of spilling */
    struct mr_spill *spill;      /* NULL until needed */
    _Atomic(struct day *) *day;  /* of each of MR_DAY_END */
};

static struct run *run_new(struct mr_idset *set, size_t cap)
{
    struct run *run = malloc(sizeof(*run) + cap * sizeof(run->hash[0]));

    if (run == NULL)
        return NULL;
    run->next = NULL;
    run->n = 0;
    run->cap = cap;
    atomic_fetch_add(&set->held_bytes, cap * sizeof(run->hash[0]));
    return run;
}

static void run_free(struct mr_idset *set, struct run *run)
{
    if (run == NULL)
        return;
    atomic_fetch_sub(&set->held_bytes, run->cap * sizeof(run->hash[0]));
    free(run);
}

static void runs_free(struct mr_idset *set, struct run *run)
{
    while (run != NULL) {
        struct run *next = run->next;

        run_free(set, run);
        run = next;
    }
}

enum mr_status mr_idset_new(const struct mr_idset_rule *rule,
    const char *folder, uint64_t memory_bytes, struct mr_idset **set_out,
    struct mr_error *err)
{
    struct mr_idset *set;

    if (!rule->exact && (rule->max_ids < 2 || rule->max_ids >= MAX_IDS_END))
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "choose another max_ids",
            "a sample of %llu ids says nothing, or is too large",
            (unsigned long long)rule->max_ids);
    set = calloc(1, sizeof(*set));
    if (set == NULL)
        return mr_fail_nomem(err);
    set->rule = *rule;
    set->memory_bytes = memory_bytes;
    pthread_mutex_init(&set->days_lock, NULL);
    pthread_mutex_init(&set->spill_lock, NULL);
    set->folder = strdup(folder);
    set->day = calloc((size_t)MR_DAY_END, sizeof(*set->day));
    if (set->folder == NULL || set->day == NULL) {
        mr_idset_free(set);
        return mr_fail_nomem(err);
    }
    *set_out = set;
    return MR_OK;
}

static void day_free(struct mr_idset *set, struct day *d)
{
    if (d == NULL)
        return;
    run_free(set, d->tail);
    runs_free(set, d->runs);
    free(d->spilled);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->cutting);
    free(d);
}

void mr_idset_free(struct mr_idset *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; set->day != NULL && i < (size_t)MR_DAY_END; i++)
        day_free(set, atomic_load(&set->day[i]));
    pthread_mutex_destroy(&set->days_lock);
    pthread_mutex_destroy(&set->spill_lock);
    mr_spill_free(set->spill);
    free(set->folder);
    free(set->day);
    free(set);
}

/* ---- runs ---- */

/* Sort a tail that was taken off. */
static enum mr_status make_run(struct run *run)
{
    uint64_t *scratch = malloc((run->n + 1) * sizeof(*scratch));

    if (scratch == NULL)
        return MR_NOMEM;
    run->n = mr_ascending_sort(run->hash, run->n, scratch);
    free(scratch);
    return MR_OK;
}

/* Cursors on a list of runs, with room for some more; NULL without memory. */
static struct mr_id_cursor *cursors_on(
    const struct run *runs, size_t more, size_t *n_out)
{
    struct mr_id_cursor *cursor;
    const struct run *run;
    size_t n = 0;

    for (run = runs; run != NULL; run = run->next)
        n++;
    cursor = calloc(n + more + 1, sizeof(*cursor));
    if (cursor == NULL)
        return NULL;
    n = 0;
    for (run = runs; run != NULL; run = run->next)
        mr_id_cursor_memory(&cursor[n++], run->hash, run->n);
    *n_out = n;
    return cursor;
}

/* Join runs into a new one, which is cut to as many as may be. */
static enum mr_status join_runs(struct mr_idset *set, const struct run *runs,
    struct run **joined_out, bool *cut_out, struct mr_error *err)
{
    struct mr_id_union u = {0};
    enum mr_status status = MR_OK;
    struct mr_id_cursor *cursor;
    struct run *joined;
    const uint64_t *hash;
    size_t n, most = 0;

    for (const struct run *run = runs; run != NULL; run = run->next)
        most += run->n;
    if (most > set->rule.max_ids)
        most = (size_t)set->rule.max_ids;
    cursor = cursors_on(runs, 0, &n);
    joined = run_new(set, most);
    if (cursor == NULL || joined == NULL)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        mr_id_union_begin(&u, cursor, n, set->rule.max_ids);
    do {
        n = 0;
        if (status == MR_OK)
            status = mr_id_union_next(&u, &hash, &n, err);
        if (n > 0)
            memcpy(joined->hash + joined->n, hash, n * sizeof(*hash));
        if (n > 0)
            joined->n += n;
    } while (n > 0);
    *cut_out = u.cut;
    mr_id_union_release(&u);
    free(cursor);
    if (status == MR_OK)
        *joined_out = joined;
    else
        run_free(set, joined);
    return status;
}

static bool has_too_many(const struct mr_idset *set, const struct day *d)
{
    uint64_t most = set->rule.max_ids;

    return !set->rule.exact && d->n_in_runs > most + most / 2;
}

/* Put a run with those of a day; the lock is held. */
static void put_run(struct day *d, struct run *run)
{
    run->next = d->runs;
    d->runs = run;
    d->n_in_runs += run->n;
}

/* Make one of the runs of a day, unless another thread just did. */
static enum mr_status cut_day(
    struct mr_idset *set, struct day *d, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    struct run *runs = NULL, *joined = NULL;
    bool cut = false;

    pthread_mutex_lock(&d->cutting);
    pthread_mutex_lock(&d->lock);
    if (has_too_many(set, d)) {
        runs = d->runs;
        d->runs = NULL;
        d->n_in_runs = 0;
    }
    pthread_mutex_unlock(&d->lock);
    if (runs != NULL)
        status = join_runs(set, runs, &joined, &cut, err);
    runs_free(set, runs);
    pthread_mutex_lock(&d->lock);
    if (joined != NULL)
        put_run(d, joined);
    if (joined != NULL && cut) {
        d->cut = true;
        atomic_store_explicit(
            &d->threshold, joined->hash[joined->n - 1], memory_order_relaxed);
    }
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_unlock(&d->cutting);
    return status;
}

/* ---- spilling ---- */

/* Take all off that a day has in memory, sorted. */
static enum mr_status take_off(struct day *d, struct run **runs_out)
{
    enum mr_status status = MR_OK;
    struct run *tail;

    pthread_mutex_lock(&d->lock);
    tail = d->tail;
    *runs_out = d->runs;
    d->tail = d->runs = NULL;
    d->n_in_runs = 0;
    pthread_mutex_unlock(&d->lock);
    if (tail != NULL) {
        tail->next = *runs_out;
        *runs_out = tail;
        status = make_run(tail);
    }
    return status;
}

static enum mr_status spill_runs(struct mr_idset *set, struct day *d,
    const struct run *runs, struct mr_error *err)
{
    struct spilled s = {mr_spill_bytes(set->spill), 0};
    struct mr_id_union u = {0};
    enum mr_status status = MR_OK;
    struct spilled *list =
        realloc(d->spilled, (d->n_spilled + 1) * sizeof(*list));
    struct mr_id_cursor *cursor = NULL;
    const uint64_t *hash;
    size_t n;

    if (list != NULL) {
        d->spilled = list;
        cursor = cursors_on(runs, 0, &n);
    }
    if (cursor == NULL)
        return mr_fail_nomem(err);
    mr_id_union_begin(&u, cursor, n, UINT64_MAX);
    do {
        status = mr_id_union_next(&u, &hash, &n, err);
        if (status == MR_OK)
            status = mr_spill_add(set->spill, hash, n * sizeof(*hash), err);
        s.n += n;
    } while (status == MR_OK && n > 0);
    d->spilled[d->n_spilled++] = s;
    mr_id_union_release(&u);
    free(cursor);
    return status;
}

/* Write to the disk what all days have, unless another thread just did. */
static enum mr_status spill_all(struct mr_idset *set, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    pthread_mutex_lock(&set->spill_lock);
    if (set->spill == NULL)
        status = mr_spill_new(set->folder, &set->spill, err);
    for (size_t i = 0; i < (size_t)MR_DAY_END && status == MR_OK &&
                       atomic_load(&set->held_bytes) > set->memory_bytes / 2;
         i++) {
        struct day *d = atomic_load(&set->day[i]);
        struct run *runs = NULL;

        if (d == NULL)
            continue;
        if (take_off(d, &runs) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK && runs != NULL)
            status = spill_runs(set, d, runs, err);
        runs_free(set, runs);
    }
    pthread_mutex_unlock(&set->spill_lock);
    return status;
}

/* ---- adding ---- */

static struct day *day_new(void)
{
    struct day *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return NULL;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->cutting, NULL);
    atomic_init(&d->threshold, UINT64_MAX);
    return d;
}

/* The day of a number; NULL without memory. */
static struct day *day_of(struct mr_idset *set, int32_t number)
{
    _Atomic(struct day *) *place = &set->day[number];
    struct day *d = atomic_load_explicit(place, memory_order_acquire);

    if (d != NULL)
        return d;
    pthread_mutex_lock(&set->days_lock);
    d = atomic_load(place);
    if (d == NULL) {
        d = day_new();
        if (d != NULL)
            atomic_store_explicit(place, d, memory_order_release);
    }
    pthread_mutex_unlock(&set->days_lock);
    return d;
}

/* Have room in the tail for one hash at least; false without memory. */
static bool have_tail(struct mr_idset *set, struct day *d)
{
    struct run *larger;
    size_t cap = TAIL_MIN;

    if (d->tail != NULL && d->tail->n < d->tail->cap)
        return true;
    if (d->tail != NULL)
        cap = d->tail->cap * 4 < TAIL_MAX ? d->tail->cap * 4 : TAIL_MAX;
    larger = run_new(set, cap);
    if (larger == NULL)
        return false;
    if (d->tail != NULL) {
        memcpy(
            larger->hash, d->tail->hash, d->tail->n * sizeof(larger->hash[0]));
        larger->n = d->tail->n;
        run_free(set, d->tail);
    }
    d->tail = larger;
    return true;
}

/* Copy as many to the tail as fit; where it is full then, take it off. */
static enum mr_status fill_tail(struct mr_idset *set, struct day *d,
    const uint64_t *hash, size_t *n, struct run **full_out)
{
    size_t room;

    *full_out = NULL;
    if (!have_tail(set, d))
        return MR_NOMEM;
    room = d->tail->cap - d->tail->n;
    if (*n > room)
        *n = room;
    memcpy(d->tail->hash + d->tail->n, hash, *n * sizeof(*hash));
    d->tail->n += *n;
    if (d->tail->n == TAIL_MAX) {
        *full_out = d->tail;
        d->tail = NULL;
    }
    return MR_OK;
}

/* Sort a full tail and put it with the runs. */
static enum mr_status settle(
    struct mr_idset *set, struct day *d, struct run *run, struct mr_error *err)
{
    bool too_many;

    if (make_run(run) != MR_OK) {
        run_free(set, run);
        return mr_fail_nomem(err);
    }
    pthread_mutex_lock(&d->lock);
    put_run(d, run);
    too_many = has_too_many(set, d);
    pthread_mutex_unlock(&d->lock);
    return too_many ? cut_day(set, d, err) : MR_OK;
}

static enum mr_status add_batch(struct mr_idset *set, struct day *d,
    const uint64_t *hash, size_t n, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    while (n > 0 && status == MR_OK) {
        size_t taken = n;
        struct run *full;

        pthread_mutex_lock(&d->lock);
        status = fill_tail(set, d, hash, &taken, &full);
        pthread_mutex_unlock(&d->lock);
        if (status != MR_OK)
            return mr_fail_nomem(err);
        if (full != NULL)
            status = settle(set, d, full, err);
        hash += taken;
        n -= taken;
    }
    if (status == MR_OK && set->rule.exact &&
        atomic_load_explicit(&set->held_bytes, memory_order_relaxed) >
            set->memory_bytes)
        status = spill_all(set, err);
    return status;
}

enum mr_status mr_idset_add(struct mr_idset *set, int32_t day,
    const uint64_t *hash, size_t n, struct mr_error *err)
{
    struct day *d = n > 0 ? day_of(set, day) : NULL;
    enum mr_status status = MR_OK;
    uint64_t batch[BATCH];
    size_t i = 0;

    if (n == 0)
        return MR_OK;
    if (d == NULL)
        return mr_fail_nomem(err);
    while (i < n && status == MR_OK) {
        uint64_t threshold =
            atomic_load_explicit(&d->threshold, memory_order_relaxed);
        size_t m = 0;

        for (; i < n && m < BATCH; i++) {
            batch[m] = hash[i];
            m += hash[i] <= threshold;
        }
        status = add_batch(set, d, batch, m, err);
    }
    return status;
}

/* ---- reading ---- */

struct reading {
    struct mr_id_stream stream;
    struct mr_idset *set;
    int32_t day; /* at hand; MR_ID_END before the first */
    bool is_in_day;
    struct mr_id_cursor *cursor;
    uint64_t *windows; /* of cursors on the spill */
    struct mr_id_union joined;
};

static enum mr_status more_of_spill(
    struct mr_id_cursor *c, size_t window, struct mr_error *err)
{
    size_t n = c->left < window ? (size_t)c->left : window;
    const struct mr_spill *spill = c->context;
    enum mr_status status =
        mr_spill_read(spill, c->offset, c->buffer, n * sizeof(*c->buffer), err);

    c->p = c->buffer;
    c->end = status == MR_OK ? c->p + n : c->p;
    c->offset += n * sizeof(*c->buffer);
    c->left -= n;
    return status;
}

/* Cursors on all that a day has. */
static enum mr_status begin_day(
    struct reading *r, struct day *d, struct mr_error *err)
{
    struct run *runs, *next;
    size_t n, window;
    enum mr_status status = take_off(d, &runs);

    for (struct run *run = runs; run != NULL; run = next) {
        next = run->next;
        put_run(d, run);
    }
    if (status != MR_OK)
        return mr_fail_nomem(err);
    free(r->cursor);
    free(r->windows);
    r->windows = NULL;
    r->cursor = cursors_on(d->runs, d->n_spilled, &n);
    if (r->cursor == NULL)
        return mr_fail_nomem(err);
    window = mr_id_window(n + d->n_spilled);
    r->windows = malloc((d->n_spilled * window + 1) * sizeof(*r->windows));
    if (r->windows == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < d->n_spilled; i++, n++) {
        uint64_t *buffer = r->windows + i * window;

        r->cursor[n] = (struct mr_id_cursor){.p = buffer,
            .end = buffer,
            .more = more_of_spill,
            .context = r->set->spill,
            .offset = d->spilled[i].offset,
            .left = d->spilled[i].n,
            .buffer = buffer};
    }
    mr_id_union_begin(&r->joined, r->cursor, n, mr_idset_most(&r->set->rule));
    r->is_in_day = true;
    return MR_OK;
}

static enum mr_status next_of_reading(struct mr_id_stream *stream,
    struct mr_id_piece *piece_out, struct mr_error *err)
{
    struct reading *r = (struct reading *)stream;
    struct mr_id_piece piece = {.day = MR_ID_END};
    enum mr_status status = MR_OK;
    struct day *d = NULL;

    while (!r->is_in_day && r->day < MR_DAY_END && status == MR_OK) {
        r->day++;
        d = r->day < MR_DAY_END ? atomic_load(&r->set->day[r->day]) : NULL;
        if (d != NULL)
            status = begin_day(r, d, err);
    }
    if (status == MR_OK && r->is_in_day) {
        piece.day = r->day;
        status = mr_id_union_next(&r->joined, &piece.hash, &piece.n, err);
    }
    if (status != MR_OK)
        return status;
    if (r->is_in_day && piece.n == 0) {
        piece.cut = r->joined.cut || atomic_load(&r->set->day[r->day])->cut;
        r->is_in_day = false;
    }
    *piece_out = piece;
    return MR_OK;
}

static void free_reading(struct mr_id_stream *stream)
{
    struct reading *r = (struct reading *)stream;

    mr_id_union_release(&r->joined);
    free(r->cursor);
    free(r->windows);
    free(r);
}

enum mr_status mr_idset_read(struct mr_idset *set,
    struct mr_id_stream **stream_out, struct mr_error *err)
{
    struct reading *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return mr_fail_nomem(err);
    r->stream.next = next_of_reading;
    r->stream.free = free_reading;
    r->set = set;
    r->day = MR_ID_END;
    *stream_out = &r->stream;
    return MR_OK;
}
