#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/kpi.h"

#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/kernels.h"

/*
 * Four numbers a day are enough for all user figures, and each of them adds
 * up over blocks of users:
 *
 *    users(X)   members of U(X)
 *    active(X)  members of U(X) and U(X-1)
 *    fresh(X)   members of U(X) and of no loaded day before
 *    known(X)   fresh of all days up to X, added up
 *
 * because churned = users(X-1) - active, reactivated = users(X) - active, and
 * inactive = known(X) - users(X) - users(X-1) + active.  With a users table
 * all its users are known from the beginning, and fresh are only others: those
 * in the sets of users who are not in it.
 *
 * A block's sets come in order of day.  So one pass with three bitmaps does:
 * the day at hand (the union over its types), the day before, and everybody
 * seen so far.  Days without a member in the block cost nothing.
 *
 * What is asked for besides adds up, too:
 *
 *    arrived(X)  members of U(X) and of no loaded day before, table or not
 *    gap(X, n)   members of U(X) whose day before X was X-n; n = 28 is also
 *                for those who were away for longer, or never there
 *    back(X, k)  members of U(X+k) who arrived on X
 *
 * Each user of a window of days is counted on his first day there: day X of
 * a window from A on is that of gap(X, n) users for each n > X - A.  So one
 * set of gaps serves all windows of up to 28 days, and days without events
 * need no work.  What is kept of a user of the block is his first day and his
 * last.
 */

struct day_tally {
    int32_t day;
    uint64_t users, active, fresh, arrived;
};

struct mr_kpi_tally {
    const struct mr_cells *cells;
    struct day_tally *day; /* ascending; the days that have cells */
    uint32_t n_days;
    uint32_t *day_of_cell; /* index into day */
    uint64_t *sessions;    /* by day from the first on, gaps included */
    size_t n_sessions;
    uint64_t *cell_users; /* of figures, too */
    uint32_t at;          /* day of the block at hand, or n_days: none yet */
    /* Bitmaps over that block; current and before change places. */
    uint64_t *current, *before, *known;
    uint64_t words[3][MR_BLOCK_WORDS];
    /* With a users table: whose sets come last, so that only then it is known
     * who is fresh.  Who of the block is not in the table; else NULL. */
    uint64_t *outside;
    struct mr_kpi_extras extras;
    bool notes; /* there is one of the next two */
    /* Of each user of the block: his first day (an index; for a users table,
     * and for retention) and his last (for windows); else NULL. */
    uint32_t *first_day;
    int32_t *last_day;
    uint64_t *gap;      /* of each day n = 1 to 28, or NULL */
    uint64_t *retained; /* of each day k = 0 (not used) and on, or NULL */
    size_t n_offsets;   /* how many k: no more than there are days */
};

enum mr_status mr_kpi_zone(
    const struct mr_spec *spec, struct mr_zone **zone_out, struct mr_error *err)
{
    struct mr_zone *zone = NULL;
    struct mr_digest digest;
    enum mr_status status;

    *zone_out = NULL;
    if (strcmp(spec->zone, "UTC") == 0)
        return MR_OK;
    status = mr_zone_load(spec->zone, &zone, err);
    if (status != MR_OK)
        return status;
    digest = mr_zone_digest(zone);
    if (memcmp(digest.b, spec->zone_digest.b, sizeof(digest.b)) != 0) {
        mr_zone_free(zone);
        return mr_fail(err, MR_MISMATCH, MR_NOWHERE,
            "install the same tzdata on all machines and map again",
            "the changes of the clock in %s are not those that this machine "
            "knows",
            spec->zone);
    }
    *zone_out = zone;
    return MR_OK;
}

struct mr_cells mr_cells_of(
    const struct mr_state_head *head, const struct mr_zone *zone)
{
    return (struct mr_cells){.zone = zone,
        .type = head->type,
        .n_types = head->n_types,
        .cell = head->cell,
        .n_cells = head->n_cells,
        .figure = head->figure,
        .n_figures = head->n_figures,
        .has_table = head->spec->users_table.given,
        .n_table_users = head->spec->users_table.n_users};
}

enum mr_status mr_kpi_tally_new(const struct mr_cells *cells,
    struct mr_kpi_tally **tally_out, struct mr_error *err)
{
    struct mr_kpi_tally *t = calloc(1, sizeof(*t));
    size_t i, n = cells->n_cells;

    if (!t)
        return mr_fail_nomem(err);
    t->cells = cells;
    t->current = t->words[0];
    t->before = t->words[1];
    t->known = t->words[2];
    /* One more, so that no array is empty. */
    t->day_of_cell = calloc(n + 1, sizeof(*t->day_of_cell));
    t->cell_users = calloc(n + cells->n_figures + 1, sizeof(*t->cell_users));
    for (i = 0; i < n; i++)
        t->n_days += i == 0 || cells->cell[i].day != cells->cell[i - 1].day;
    t->day = calloc(t->n_days + 1, sizeof(*t->day));
    if (n > 0)
        t->n_sessions =
            (size_t)(cells->cell[n - 1].day - cells->cell[0].day) + 1;
    t->sessions = calloc(t->n_sessions + 1, sizeof(*t->sessions));
    if (cells->has_table) {
        t->notes = true;
        t->first_day = calloc(MR_BLOCK_USERS, sizeof(*t->first_day));
        t->outside = calloc(MR_BLOCK_WORDS, sizeof(*t->outside));
    }
    if (!t->day_of_cell || !t->cell_users || !t->day || !t->sessions ||
        (cells->has_table && (!t->first_day || !t->outside))) {
        mr_kpi_tally_free(t);
        return mr_fail_nomem(err);
    }
    t->n_days = 0;
    for (i = 0; i < n; i++) {
        if (i == 0 || cells->cell[i].day != cells->cell[i - 1].day)
            t->day[t->n_days++].day = cells->cell[i].day;
        t->day_of_cell[i] = t->n_days - 1;
    }
    *tally_out = t;
    return MR_OK;
}

enum mr_status mr_kpi_tally_extend(struct mr_kpi_tally *tally,
    const struct mr_kpi_extras *extras, struct mr_error *err)
{
    struct mr_kpi_tally *t = tally;

    if (extras->retention > MR_KPI_RETENTION_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "ask for fewer days",
            "retention is counted for up to %d days, not for %u",
            MR_KPI_RETENTION_MAX, extras->retention);
    t->extras = *extras;
    t->notes |= extras->rolling || extras->retention > 0;
    if (extras->rolling) {
        t->last_day = calloc(MR_BLOCK_USERS, sizeof(*t->last_day));
        t->gap = calloc(t->n_days + 1, MR_KPI_MONTH * sizeof(*t->gap));
        if (!t->last_day || !t->gap)
            return mr_fail_nomem(err);
    }
    if (extras->retention > 0) {
        t->n_offsets = extras->retention + 1;
        if (t->n_offsets > t->n_sessions)
            t->n_offsets = t->n_sessions;
        if (!t->first_day)
            t->first_day = calloc(MR_BLOCK_USERS, sizeof(*t->first_day));
        t->retained =
            calloc(t->n_days + 1, (t->n_offsets + 1) * sizeof(*t->retained));
        if (!t->first_day || !t->retained)
            return mr_fail_nomem(err);
    }
    return MR_OK;
}

void mr_kpi_tally_free(struct mr_kpi_tally *tally)
{
    if (!tally)
        return;
    free(tally->last_day);
    free(tally->gap);
    free(tally->retained);
    free(tally->day_of_cell);
    free(tally->cell_users);
    free(tally->sessions);
    free(tally->first_day);
    free(tally->outside);
    free(tally->day);
    free(tally);
}

static void add_set(uint64_t *words, const struct mr_user_set *set)
{
    size_t i;

    if (set->words) {
        mr_kernels()->or_u64(words, set->words, MR_BLOCK_WORDS);
        return;
    }
    for (i = 0; i < set->n; i++)
        words[set->list[i] / 64] |= UINT64_C(1) << (set->list[i] % 64);
}

/* Note the first day, number d, of users among the 64 from a base on, and
 * count those who are back. */
static void note_first(struct mr_kpi_tally *t, size_t base, uint64_t first,
    uint64_t back, uint32_t d)
{
    const struct day_tally *day = t->day;

    for (; first != 0; first &= first - 1)
        t->first_day[base + (unsigned)__builtin_ctzll(first)] = d;
    if (!t->retained)
        return;
    for (; back != 0; back &= back - 1) {
        uint32_t f = t->first_day[base + (unsigned)__builtin_ctzll(back)];
        size_t k = (size_t)(day[d].day - day[f].day);

        if (k < t->n_offsets)
            t->retained[f * t->n_offsets + k]++;
    }
}

/* Count the gaps before day d, which becomes the last day of all these. */
static void note_last(struct mr_kpi_tally *t, size_t base, uint64_t first,
    uint64_t back, uint32_t d)
{
    uint64_t *gap = t->gap + (size_t)d * MR_KPI_MONTH;
    int32_t day = t->day[d].day;

    gap[MR_KPI_MONTH - 1] += (unsigned)__builtin_popcountll(first);
    for (; first != 0; first &= first - 1)
        t->last_day[base + (unsigned)__builtin_ctzll(first)] = day;
    for (; back != 0; back &= back - 1) {
        int32_t *last = &t->last_day[base + (unsigned)__builtin_ctzll(back)];
        int32_t n = day - *last;

        gap[(n < MR_KPI_MONTH ? n : MR_KPI_MONTH) - 1]++;
        *last = day;
    }
}

/* Count day d, which is in t->current; t->before is the calendar day
 * before. */
static void count_day(struct mr_kpi_tally *t, uint32_t d)
{
    uint64_t users = 0, active = 0, arrived = 0;
    bool notes = t->notes;
    size_t i;

    for (i = 0; i < MR_BLOCK_WORDS; i++) {
        uint64_t w = t->current[i], first = w & ~t->known[i];

        if (w == 0)
            continue;
        users += (unsigned)__builtin_popcountll(w);
        active += (unsigned)__builtin_popcountll(w & t->before[i]);
        arrived += (unsigned)__builtin_popcountll(first);
        if (notes && t->first_day)
            note_first(t, i * 64, first, w & ~first, d);
        if (notes && t->last_day)
            note_last(t, i * 64, first, w & ~first, d);
        t->known[i] |= w;
    }
    t->day[d].users += users;
    t->day[d].active += active;
    t->day[d].arrived += arrived;
    t->day[d].fresh += t->outside ? 0 : arrived;
}

/* Those who are not in the users table were fresh on their first day. */
static void count_outside(struct mr_kpi_tally *t)
{
    for (size_t i = 0; i < MR_BLOCK_WORDS; i++)
        for (uint64_t w = t->outside[i] & t->known[i]; w != 0; w &= w - 1)
            t->day[t->first_day[i * 64 + (unsigned)__builtin_ctzll(w)]].fresh++;
}

/* Count the day at hand, if any, and begin another. */
static void change_day(struct mr_kpi_tally *t, uint32_t d)
{
    uint64_t *swap = t->before;
    bool is_next = t->at < t->n_days && t->day[d].day == t->day[t->at].day + 1;

    if (t->at < t->n_days)
        count_day(t, t->at);
    t->before = t->current;
    t->current = swap;
    memset(t->current, 0, sizeof(t->words[0]));
    if (!is_next)
        memset(t->before, 0, sizeof(t->words[0]));
    t->at = d;
}

void mr_kpi_tally_begin(struct mr_kpi_tally *tally)
{
    memset(tally->known, 0, sizeof(tally->words[0]));
    if (tally->outside)
        memset(tally->outside, 0, sizeof(tally->words[0]));
    tally->at = tally->n_days;
}

/* The set of a figure. */
static void tally_figure(struct mr_kpi_tally *t, const struct mr_user_set *set)
{
    size_t i = set->cell - t->cells->n_cells;

    if (i >= t->cells->n_figures)
        return; /* not in any sound state */
    t->cell_users[set->cell] += set->n;
    if (t->outside && t->cells->figure[i].p[0] == MR_TEXT_UNKNOWN)
        add_set(t->outside, set);
}

void mr_kpi_tally_set(struct mr_kpi_tally *tally, const struct mr_user_set *set)
{
    if (set->cell >= tally->cells->n_cells) {
        tally_figure(tally, set);
        return;
    }
    if (tally->day_of_cell[set->cell] != tally->at)
        change_day(tally, tally->day_of_cell[set->cell]);
    add_set(tally->current, set);
    tally->cell_users[set->cell] += set->n;
}

void mr_kpi_tally_end(struct mr_kpi_tally *tally)
{
    if (tally->at < tally->n_days)
        count_day(tally, tally->at);
    if (tally->outside)
        count_outside(tally);
}

/* Neighbours' days differ as they like, so there is no branch that depends on
 * them; one past the end takes what no sound state has. */
void mr_kpi_tally_intervals(
    struct mr_kpi_tally *tally, const struct mr_interval *interval, size_t n)
{
    uint64_t first = tally->n_days > 0 ? (uint64_t)tally->day[0].day : 0;
    uint64_t most = tally->n_sessions;
    const struct mr_zone *zone = tally->cells->zone;
    struct mr_zone_span span = {0};

    for (size_t i = 0; i < n; i++) {
        uint64_t day =
            (uint64_t)interval[i].start_ms / (uint64_t)MR_MS_PER_DAY - first;

        if (zone && !mr_zone_span_has(&span, interval[i].start_ms))
            mr_zone_day_span(zone, interval[i].start_ms, &span);
        if (zone)
            day = (uint64_t)span.day - first;
        tally->sessions[day < most ? day : most]++;
    }
}

void mr_kpi_tally_block(
    struct mr_kpi_tally *tally, const struct mr_user_block *block)
{
    mr_kpi_tally_begin(tally);
    for (size_t i = 0; i < block->n_sets; i++)
        mr_kpi_tally_set(tally, &block->sets[i]);
    mr_kpi_tally_end(tally);
    if (block->n > 0)
        mr_kpi_tally_intervals(tally, block->interval, block->first[block->n]);
}

void mr_kpi_tally_merge(
    struct mr_kpi_tally *into, const struct mr_kpi_tally *from)
{
    size_t i;

    for (i = 0; i < into->n_days; i++) {
        into->day[i].users += from->day[i].users;
        into->day[i].active += from->day[i].active;
        into->day[i].fresh += from->day[i].fresh;
        into->day[i].arrived += from->day[i].arrived;
    }
    for (i = 0; into->gap && i < into->n_days * (size_t)MR_KPI_MONTH; i++)
        into->gap[i] += from->gap[i];
    for (i = 0; into->retained && i < into->n_days * into->n_offsets; i++)
        into->retained[i] += from->retained[i];
    for (i = 0; i < into->n_sessions; i++)
        into->sessions[i] += from->sessions[i];
    for (i = 0; i < into->cells->n_cells + into->cells->n_figures; i++)
        into->cell_users[i] += from->cell_users[i];
}

/* Whether the day after day d of the tally needs a row though it has no
 * events: it is not the last, and the next day with events comes later. */
static bool has_empty_day_after(const struct mr_kpi_tally *t, size_t d)
{
    return d + 1 < t->n_days && t->day[d + 1].day > t->day[d].day + 1;
}

/* The users of so many days up to, and with, one that is day d of the tally
 * or comes after it. */
static uint64_t users_within(
    const struct mr_kpi_tally *t, size_t d, int32_t day, int32_t days)
{
    int32_t first = day - days + 1;
    uint64_t users = 0;

    for (size_t i = d + 1; i > 0 && t->day[i - 1].day >= first; i--) {
        const uint64_t *gap = t->gap + (i - 1) * MR_KPI_MONTH;

        for (int32_t n = t->day[i - 1].day - first; n < MR_KPI_MONTH; n++)
            users += gap[n]; /* of n + 1 days */
    }
    return users;
}

/* a / b in millionths, rounded; a is not above b. */
static uint64_t millionths(uint64_t a, uint64_t b)
{
    return (2 * 1000000 * a + b) / (2 * b);
}

/* Add what was asked for to the row of day d of the tally, or of the day
 * without events after it. */
static void add_extras(
    const struct mr_kpi_tally *t, size_t d, struct mr_kpi_day *row)
{
    int32_t loaded = row->day - t->day[0].day + 1; /* days up to this one */

    row->new_users = MR_KPI_UNDEFINED;
    row->users_7d = row->users_28d = row->stickiness = MR_KPI_UNDEFINED;
    if (loaded > 1)
        row->new_users = row->day == t->day[d].day ? t->day[d].arrived : 0;
    if (t->gap && loaded >= MR_KPI_WEEK)
        row->users_7d = users_within(t, d, row->day, MR_KPI_WEEK);
    if (t->gap && loaded >= MR_KPI_MONTH) {
        row->users_28d = users_within(t, d, row->day, MR_KPI_MONTH);
        if (row->users_28d > 0)
            row->stickiness = millionths(row->users, row->users_28d);
    }
}

/* Make the rows with all figures that come from the tally. */
static enum mr_status make_days(
    const struct mr_kpi_tally *t, struct mr_kpis *kpis, struct mr_error *err)
{
    size_t d, n = 0;
    uint64_t known = t->cells->has_table ? t->cells->n_table_users : 0;

    /* No day is followed by more than one row without events. */
    kpis->day = calloc(2 * t->n_days + 1, sizeof(*kpis->day));
    if (!kpis->day)
        return mr_fail_nomem(err);
    for (d = 0; d < t->n_days; d++) {
        const struct day_tally *x = &t->day[d];
        bool next_to = d > 0 && x[-1].day == x->day - 1;
        uint64_t users_before = next_to ? x[-1].users : 0;

        known += x->fresh;
        kpis->day[n++] = (struct mr_kpi_day){
            .day = x->day,
            .has_before = d > 0,
            .users = x->users,
            .sessions = t->sessions[x->day - t->day[0].day],
            .active = x->active,
            .churned = users_before - x->active,
            .reactivated = x->users - x->active,
            .inactive = known - x->users - users_before + x->active,
        };
        add_extras(t, d, &kpis->day[n - 1]);
        if (!has_empty_day_after(t, d))
            continue;
        kpis->day[n++] = (struct mr_kpi_day){
            .day = x->day + 1,
            .has_before = true,
            .churned = x->users,
            .inactive = known - x->users,
        };
        add_extras(t, d, &kpis->day[n - 1]);
    }
    kpis->n_days = n;
    if (n > 0) { /* not defined without a day before */
        kpis->day[0].active = kpis->day[0].churned = 0;
        kpis->day[0].reactivated = kpis->day[0].inactive = 0;
    }
    return MR_OK;
}

/* Who came back, by first day. */
static enum mr_status make_retention(
    const struct mr_kpi_tally *t, struct mr_kpis *kpis, struct mr_error *err)
{
    size_t n = t->n_days > 0 ? t->n_days - 1 : 0;
    size_t columns = (size_t)t->extras.retention + 1;
    int32_t last = t->n_days > 0 ? t->day[n].day : 0;

    if (!t->retained)
        return MR_OK;
    kpis->first_day = calloc(n + 1, sizeof(*kpis->first_day));
    kpis->retained = calloc(n + 1, columns * sizeof(*kpis->retained));
    if (!kpis->first_day || !kpis->retained)
        return mr_fail_nomem(err);
    kpis->n_first_days = n;
    for (size_t i = 0; i < n; i++) {
        const struct day_tally *x = &t->day[i + 1];
        uint64_t *row = kpis->retained + i * columns;

        kpis->first_day[i] = x->day;
        row[0] = x->arrived;
        for (size_t k = 1; k < columns; k++)
            row[k] = (size_t)(last - x->day) < k
                         ? MR_KPI_UNDEFINED
                         : t->retained[(i + 1) * t->n_offsets + k];
    }
    return MR_OK;
}

static enum mr_status make_day_types(const struct mr_cells *cells,
    const struct mr_kpi_tally *t, struct mr_kpis *kpis, struct mr_error *err)
{
    size_t i;

    kpis->day_type = calloc(cells->n_cells + 1, sizeof(*kpis->day_type));
    if (!kpis->day_type)
        return mr_fail_nomem(err);
    kpis->n_day_types = cells->n_cells;
    for (i = 0; i < cells->n_cells; i++) {
        kpis->day_type[i].day = cells->cell[i].day;
        kpis->day_type[i].type = cells->cell[i].type;
        kpis->day_type[i].users = t->cell_users[i];
    }
    return MR_OK;
}

static enum mr_status make_figures(const struct mr_kpi_tally *t,
    const struct mr_coverage *coverage, const struct mr_hll *const *sketch,
    struct mr_kpis *kpis, struct mr_error *err)
{
    size_t first = t->cells->n_cells;

    kpis->figure = calloc(t->cells->n_figures + 1, sizeof(*kpis->figure));
    if (!kpis->figure)
        return mr_fail_nomem(err);
    kpis->n_figures = t->cells->n_figures;
    for (size_t i = 0; i < kpis->n_figures; i++) {
        kpis->figure[i].users = t->cell_users[first + i];
        if (sketch[first + i])
            kpis->figure[i].users_estimate = mr_hll_estimate(sketch[first + i]);
    }
    for (size_t i = 0; kpis->n_figures > 0 && i < coverage->n_partitions; i++) {
        const struct mr_partition *p = &coverage->partition[i];

        for (size_t k = p->n_cells; k < p->n_cells + p->n_figures; k++)
            if (p->cell[k].cell - first < kpis->n_figures)
                kpis->figure[p->cell[k].cell - first].events +=
                    p->cell[k].events;
    }
    return MR_OK;
}

/* Add the partitions' counts up: by cell, and by day through row_of_day,
 * which gives the row of each day of the tally. */
static void add_events(const struct mr_kpi_tally *t,
    const struct mr_coverage *coverage, const size_t *row_of_day,
    struct mr_kpis *kpis)
{
    size_t i, k;

    for (i = 0; i < coverage->n_partitions; i++) {
        const struct mr_partition *p = &coverage->partition[i];

        for (k = 0; k < p->n_cells; k++) {
            const struct mr_cell_count *c = &p->cell[k];
            struct mr_kpi_day *day;

            if (c->cell >= kpis->n_day_types)
                continue; /* not in any sound coverage */
            day = &kpis->day[row_of_day[t->day_of_cell[c->cell]]];
            kpis->day_type[c->cell].events += c->events;
            day->events += c->events;
            day->events_without_user += c->without_user;
        }
    }
}

/* Estimate the cells' users, and the days' from the union of their cells. */
static enum mr_status add_estimates(const struct mr_kpi_tally *t,
    const struct mr_hll *const *sketch, unsigned sketch_bits,
    const size_t *row_of_day, struct mr_kpis *kpis, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    struct mr_hll day;
    size_t i, n = t->cells->n_cells;

    mr_hll_init(&day, sketch_bits);
    for (i = 0; i < n && status == MR_OK; i++) {
        uint32_t d = t->day_of_cell[i];

        if (sketch[i]) {
            kpis->day_type[i].users_estimate = mr_hll_estimate(sketch[i]);
            status = mr_hll_merge(&day, sketch[i]);
        }
        if (i + 1 == n || t->day_of_cell[i + 1] != d) {
            kpis->day[row_of_day[d]].users_estimate = mr_hll_estimate(&day);
            mr_hll_release(&day);
        }
    }
    mr_hll_release(&day);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return mr_fail(err, status, MR_NOWHERE, NULL,
            "a sketch is not of the precision that the spec names");
    return MR_OK;
}

enum mr_status mr_kpis_compute(const struct mr_cells *cells,
    const struct mr_kpi_tally *tally, const struct mr_coverage *coverage,
    const struct mr_hll *const *sketch, unsigned sketch_bits,
    struct mr_kpis *kpis_out, struct mr_error *err)
{
    size_t *row_of_day = calloc(tally->n_days + 1, sizeof(*row_of_day));
    enum mr_status status;
    size_t d, row = 0;

    memset(kpis_out, 0, sizeof(*kpis_out));
    if (!row_of_day)
        return mr_fail_nomem(err);
    for (d = 0; d < tally->n_days; d++) {
        row_of_day[d] = row;
        row += 1 + has_empty_day_after(tally, d);
    }
    kpis_out->users_estimate_error = mr_hll_standard_error(sketch_bits);
    kpis_out->extras = tally->extras;
    status = make_days(tally, kpis_out, err);
    if (status == MR_OK)
        status = make_retention(tally, kpis_out, err);
    if (status == MR_OK)
        status = make_day_types(cells, tally, kpis_out, err);
    if (status == MR_OK) {
        add_events(tally, coverage, row_of_day, kpis_out);
        status = add_estimates(
            tally, sketch, sketch_bits, row_of_day, kpis_out, err);
    }
    if (status == MR_OK)
        status = make_figures(tally, coverage, sketch, kpis_out, err);
    free(row_of_day);
    return status;
}

void mr_kpis_release(struct mr_kpis *kpis)
{
    free(kpis->day);
    free(kpis->day_type);
    free(kpis->figure);
    free(kpis->first_day);
    free(kpis->retained);
    memset(kpis, 0, sizeof(*kpis));
}
