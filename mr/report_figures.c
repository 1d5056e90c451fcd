#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Reports of what a spec has events counted by besides day and type. */

#include "mr/report_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/groupkey.h"

/* What stands for each value of the group of all further groups. */
#define FURTHER "(further)"

/* The figures of one kind. */
struct stretch {
    size_t first, end;
};

static struct stretch figures_of(const struct mr_report *r, unsigned kind)
{
    const struct mr_cells *c = r->cells;
    struct stretch s = {0, 0};

    while (s.first < c->n_figures && c->figure[s.first].p[0] < kind)
        s.first++;
    s.end = s.first;
    while (s.end < c->n_figures && c->figure[s.end].p[0] == kind)
        s.end++;
    return s;
}

/* The text behind a figure's kind. */
static struct mr_span text_of(const struct mr_report *r, size_t i)
{
    struct mr_span text = r->cells->figure[i];

    return (struct mr_span){text.p + 1, text.n - 1};
}

/* ---- rollups ---- */

struct row {
    enum mr_group_what what;
    unsigned n;
    struct mr_span value[MR_ROLLUP_FIELDS_MAX];
    const struct mr_kpi_figure *figure;
};

/* By the values in order, none before any; further groups last. */
static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    if (x->what != y->what)
        return x->what == MR_GROUP_FURTHER ? 1 : -1;
    for (unsigned i = 0; i < x->n; i++) {
        int c = !y->value[i].p - !x->value[i].p;

        if (c == 0 && x->value[i].p != NULL)
            c = mr_span_compare(x->value[i], y->value[i]);
        if (c != 0)
            return c;
    }
    return 0;
}

/* The groups of a rollup, sorted; NULL without memory. */
static struct row *list_rows(
    const struct mr_report *r, unsigned rollup, size_t *n_out)
{
    struct stretch s = figures_of(r, MR_GROUP_KIND + rollup);
    struct row *row = calloc(s.end - s.first + 1, sizeof(*row));

    if (row == NULL)
        return NULL;
    for (size_t i = s.first; i < s.end; i++) {
        struct row *at = &row[i - s.first];

        at->n = r->spec->rollup[rollup].n_by;
        at->what = mr_group_decode(r->cells->figure[i], at->n, at->value);
        at->figure = &r->kpis->figure[i];
    }
    *n_out = s.end - s.first;
    if (*n_out > 0)
        qsort(row, *n_out, sizeof(*row), compare_rows);
    return row;
}

static void put_value(struct mr_writer *w, const struct row *row, unsigned i)
{
    if (row->what == MR_GROUP_FURTHER)
        MR_PUT(w, FURTHER);
    else if (row->value[i].p != NULL && row->value[i].n == 0)
        MR_PUT(w, "\"\"");
    else if (row->value[i].p != NULL)
        mr_put_csv(w, row->value[i]);
}

/* The head of a column of users. */
static void put_head(
    struct mr_writer *w, const struct mr_rollup *roll, const char *behind)
{
    char text[MR_NAME_MAX_BYTES + sizeof("_estimate")];

    snprintf(text, sizeof(text), "%s%s", roll->users_as, behind);
    MR_PUT(w, ",");
    mr_put_csv(w, mr_text_span(text));
}

enum mr_status mr_report_rollup_csv(
    const struct mr_report *r, unsigned rollup, struct mr_buffer *out)
{
    const struct mr_rollup *roll = &r->spec->rollup[rollup];
    size_t n = 0;
    struct row *row = list_rows(r, rollup, &n);
    struct mr_writer w = mr_writer_begin(out);

    if (row == NULL)
        return MR_NOMEM;
    for (unsigned k = 0; k < roll->n_by; k++) {
        mr_put_csv(&w, mr_text_span(roll->by[k].name));
        MR_PUT(&w, ",");
    }
    mr_put_csv(&w, mr_text_span(roll->events_as));
    if ((roll->users & MR_USERS_EXACT) != 0)
        put_head(&w, roll, "");
    if ((roll->users & MR_USERS_ESTIMATE) != 0)
        put_head(&w, roll, "_estimate");
    MR_PUT(&w, is_partial(r) ? ",status\n" : "\n");
    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < roll->n_by; k++) {
            put_value(&w, &row[i], k);
            MR_PUT(&w, ",");
        }
        MR_PUT(&w, "%" PRIu64, row[i].figure->events);
        if ((roll->users & MR_USERS_EXACT) != 0)
            MR_PUT(&w, ",%" PRIu64, row[i].figure->users);
        if ((roll->users & MR_USERS_ESTIMATE) != 0)
            MR_PUT(&w, ",%.0f", row[i].figure->users_estimate);
        MR_PUT(&w, is_partial(r) ? ",partial\n" : "\n");
    }
    free(row);
    return mr_writer_finish(&w);
}

/* ---- where users' ids came from; who is not in the users table ---- */

enum mr_status mr_report_identity_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct stretch s = figures_of(r, MR_TEXT_IDENTITY);
    struct mr_writer w = mr_writer_begin(out);

    MR_PUT(&w, "source,events,users,users_estimate,status\n");
    for (size_t i = s.first; i < s.end; i++) {
        const struct mr_kpi_figure *f = &r->kpis->figure[i];

        mr_put_csv(&w, text_of(r, i));
        MR_PUT(&w, ",%" PRIu64 ",%" PRIu64 ",%.0f,%s\n", f->events, f->users,
            f->users_estimate, status_word(r));
    }
    return mr_writer_finish(&w);
}

/* A type, its events of users who are not in the table, and all of them. */
struct unknown {
    struct mr_span type;
    const struct mr_kpi_figure *figure;
    uint64_t events;
};

/* By the share, the largest first; then by the type. */
static int compare_unknown(const void *a, const void *b)
{
    const struct unknown *x = a, *y = b;
    /* Products of two counts may need more than 64 bits. */
    long double left = (long double)x->figure->events * (long double)y->events;
    long double right = (long double)y->figure->events * (long double)x->events;

    if (left != right)
        return left > right ? -1 : 1;
    return mr_span_compare(x->type, y->type);
}

/* The events of each type, of all days; NULL without memory. */
static uint64_t *events_of_types(const struct mr_report *r)
{
    uint64_t *events = calloc(r->cells->n_types + 1, sizeof(*events));

    for (size_t i = 0; events != NULL && i < r->kpis->n_day_types; i++)
        events[r->kpis->day_type[i].type] += r->kpis->day_type[i].events;
    return events;
}

/* The types of users who are not in the table, ranked; NULL without memory. */
static struct unknown *list_unknown(const struct mr_report *r, size_t *n_out)
{
    struct stretch s = figures_of(r, MR_TEXT_UNKNOWN);
    struct unknown *list = calloc(s.end - s.first + 1, sizeof(*list));
    uint64_t *events = events_of_types(r);
    size_t type = 0;

    *n_out = s.end - s.first;
    if (list == NULL || events == NULL) {
        free(list);
        free(events);
        return NULL;
    }
    /* Both ascend. */
    for (size_t i = s.first; i < s.end; i++) {
        struct unknown *u = &list[i - s.first];

        *u = (struct unknown){text_of(r, i), &r->kpis->figure[i], 0};
        while (type < r->cells->n_types &&
               mr_span_compare(r->cells->type[type], u->type) < 0)
            type++;
        if (type < r->cells->n_types &&
            mr_span_compare(r->cells->type[type], u->type) == 0)
            u->events = events[type];
    }
    if (*n_out > 0)
        qsort(list, *n_out, sizeof(*list), compare_unknown);
    free(events);
    return list;
}

enum mr_status mr_report_unknown_users_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    size_t n;
    struct unknown *list = list_unknown(r, &n);
    struct mr_writer w = mr_writer_begin(out);

    if (list == NULL)
        return MR_NOMEM;
    MR_PUT(&w, "rank,type,unknown_events,events,share,unknown_users,status\n");
    for (size_t i = 0; i < n; i++) {
        const struct unknown *u = &list[i];

        MR_PUT(&w, "%zu,", i + 1);
        mr_put_csv(&w, u->type);
        MR_PUT(&w, ",%" PRIu64 ",%" PRIu64 ",%.6f,%" PRIu64 ",%s\n",
            u->figure->events, u->events,
            u->events > 0 ? (double)u->figure->events / (double)u->events : 0.0,
            u->figure->users, status_word(r));
    }
    free(list);
    return mr_writer_finish(&w);
}

/* ---- kpis.json ---- */

static void put_json_counts(
    struct mr_writer *w, const struct mr_kpi_figure *f, unsigned users)
{
    MR_PUT(w, "\"events\": %" PRIu64, f->events);
    if ((users & MR_USERS_EXACT) != 0)
        MR_PUT(w, ", \"users\": %" PRIu64, f->users);
    if ((users & MR_USERS_ESTIMATE) != 0)
        MR_PUT(w, ", \"users_estimate\": %.0f", f->users_estimate);
    MR_PUT(w, "}");
}

static void put_json_group(
    struct mr_writer *w, const struct mr_rollup *roll, const struct row *row)
{
    MR_PUT(w, "{");
    if (row->what == MR_GROUP_FURTHER)
        MR_PUT(w, "\"further_groups\": true, ");
    for (unsigned k = 0; row->what == MR_GROUP_VALUES && k < row->n; k++) {
        mr_put_json(w, mr_text_span(roll->by[k].name));
        MR_PUT(w, ": ");
        if (row->value[k].p == NULL)
            MR_PUT(w, "null");
        else
            mr_put_json(w, row->value[k]);
        MR_PUT(w, ", ");
    }
    put_json_counts(w, row->figure, roll->users);
}

static void put_json_rollup(
    struct mr_writer *w, const struct mr_report *r, unsigned rollup)
{
    size_t n = 0;
    struct row *row = list_rows(r, rollup, &n);

    if (row == NULL) {
        w->status = MR_NOMEM;
        return;
    }
    MR_PUT(w, "  ");
    mr_put_json(w, mr_text_span(r->spec->rollup[rollup].name));
    MR_PUT(w, ": [");
    for (size_t i = 0; i < n; i++) {
        MR_PUT(w, i > 0 ? ",\n    " : "\n    ");
        put_json_group(w, &r->spec->rollup[rollup], &row[i]);
    }
    MR_PUT(w, "\n  ]");
    free(row);
}

/* An array of texts and their counts. */
static void put_json_texts(struct mr_writer *w, const struct mr_report *r,
    unsigned kind, const char *member, const char *name)
{
    struct stretch s = figures_of(r, kind);

    MR_PUT(w, "\"%s\": [", member);
    for (size_t i = s.first; i < s.end; i++) {
        MR_PUT(w, "%s  {\"%s\": ", i > s.first ? ",\n" : "\n", name);
        mr_put_json(w, text_of(r, i));
        MR_PUT(w, ", ");
        put_json_counts(
            w, &r->kpis->figure[i], MR_USERS_EXACT | MR_USERS_ESTIMATE);
    }
    MR_PUT(w, "\n],\n");
}

void mr_report_put_figures(struct mr_writer *w, const struct mr_report *r)
{
    if (r->spec->n_users > 1)
        put_json_texts(w, r, MR_TEXT_IDENTITY, "identity", "source");
    if (r->spec->users_table.given)
        put_json_texts(w, r, MR_TEXT_UNKNOWN, "unknown_users", "type");
    if (r->spec->n_rollups == 0)
        return;
    MR_PUT(w, "\"rollups\": {\n");
    for (unsigned i = 0; i < r->spec->n_rollups; i++) {
        if (i > 0)
            MR_PUT(w, ",\n");
        put_json_rollup(w, r, i);
    }
    MR_PUT(w, "\n},\n");
}
