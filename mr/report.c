#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/report_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/text.h"

/* Most failures that the table names; partitions.csv has them all. */
#define FAILURES_SHOWN 10

/* The figures of a day, in the order of the contract, and then those that are
 * there only when asked for. */
enum figure_kind { EXACT, EXACT_WITH_BEFORE, ESTIMATE, COUNT_OR_NONE, RATIO };
enum figure_when { ALWAYS, NEW_USERS, ROLLING };

struct figure {
    const char *name;  /* in CSV and JSON */
    const char *title; /* in the table */
    enum figure_kind kind;
    enum figure_when when;
    size_t offset; /* in struct mr_kpi_day */
};

#define FIGURE(name, title, kind, when)                                        \
    {                                                                          \
#name, title, kind, when, offsetof(struct mr_kpi_day, name)            \
    }

static const struct figure figures[] = {
    FIGURE(events, "events", EXACT, ALWAYS),
    FIGURE(events_without_user, "no user", EXACT, ALWAYS),
    FIGURE(users, "users", EXACT, ALWAYS),
    FIGURE(users_estimate, "~users", ESTIMATE, ALWAYS),
    FIGURE(active, "active", EXACT_WITH_BEFORE, ALWAYS),
    FIGURE(inactive, "inactive", EXACT_WITH_BEFORE, ALWAYS),
    FIGURE(churned, "churned", EXACT_WITH_BEFORE, ALWAYS),
    FIGURE(reactivated, "reactivated", EXACT_WITH_BEFORE, ALWAYS),
    FIGURE(sessions, "sessions", EXACT, ALWAYS),
    FIGURE(new_users, "new", COUNT_OR_NONE, NEW_USERS),
    FIGURE(users_7d, "users 7d", COUNT_OR_NONE, ROLLING),
    FIGURE(users_28d, "users 28d", COUNT_OR_NONE, ROLLING),
    FIGURE(stickiness, "stickiness", RATIO, ROLLING),
};
#define N_FIGURES (sizeof(figures) / sizeof(figures[0]))
/* Those of every report, which in daily.csv stand before the status. */
#define N_ALWAYS 9
/* Where a table that is too wide is parted first. */
#define FIRST_OF_PAIR_FIGURES 4

static bool is_asked(const struct mr_report *r, size_t figure)
{
    const struct mr_kpi_extras *extras = &r->kpis->extras;

    switch (figures[figure].when) {
    case NEW_USERS:
        return extras->new_users;
    case ROLLING:
        return extras->rolling;
    case ALWAYS:
        break;
    }
    return true;
}

/* The figures that are asked for; how many there are. */
static size_t list_figures(const struct mr_report *r, size_t list[N_FIGURES])
{
    size_t n = 0;

    for (size_t f = 0; f < N_FIGURES; f++)
        if (is_asked(r, f))
            list[n++] = f;
    return n;
}

/* Write a figure; undefined is what stands for one that is not defined. */
static void format_figure(const struct mr_kpi_day *day, size_t figure,
    const char *undefined, char out[FIGURE_TEXT])
{
    const struct figure *f = &figures[figure];
    const char *at = (const char *)day + f->offset;
    bool defined = f->kind != EXACT_WITH_BEFORE || day->has_before;
    uint64_t exact;
    double estimate;

    memcpy(&exact, at, sizeof(exact));
    if (f->kind == COUNT_OR_NONE || f->kind == RATIO)
        defined = exact != MR_KPI_UNDEFINED;
    if (!defined) {
        snprintf(out, FIGURE_TEXT, "%s", undefined);
    } else if (f->kind == ESTIMATE) {
        memcpy(&estimate, at, sizeof(estimate));
        snprintf(out, FIGURE_TEXT, "%.0f", estimate);
    } else if (f->kind == RATIO) {
        snprintf(out, FIGURE_TEXT, "%" PRIu64 ".%06" PRIu64, exact / 1000000,
            exact % 1000000);
    } else {
        snprintf(out, FIGURE_TEXT, "%" PRIu64, exact);
    }
}

enum mr_status mr_report_daily_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    char text[FIGURE_TEXT], day[MR_DAY_TEXT];
    size_t list[N_FIGURES], n = list_figures(r, list), i, f;

    MR_PUT(&w, "day");
    for (f = 0; f < N_ALWAYS; f++)
        MR_PUT(&w, ",%s", figures[list[f]].name);
    MR_PUT(&w, ",status");
    for (; f < n; f++)
        MR_PUT(&w, ",%s", figures[list[f]].name);
    MR_PUT(&w, "\n");
    for (i = 0; i < r->kpis->n_days; i++) {
        if (!is_shown(r, r->kpis->day[i].day))
            continue;
        mr_day_format(r->kpis->day[i].day, day);
        MR_PUT(&w, "%s", day);
        for (f = 0; f < n; f++) {
            if (f == N_ALWAYS)
                MR_PUT(&w, ",%s", status_word(r));
            format_figure(&r->kpis->day[i], list[f], "", text);
            MR_PUT(&w, ",%s", text);
        }
        if (n == N_ALWAYS)
            MR_PUT(&w, ",%s", status_word(r));
        MR_PUT(&w, "\n");
    }
    return mr_writer_finish(&w);
}

enum mr_status mr_report_daily_by_type_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    char day[MR_DAY_TEXT];
    size_t i;

    MR_PUT(&w, "day,type,events,users,users_estimate,status\n");
    for (i = 0; i < r->kpis->n_day_types; i++) {
        const struct mr_kpi_day_type *k = &r->kpis->day_type[i];

        if (!is_shown(r, k->day))
            continue;
        mr_day_format(k->day, day);
        MR_PUT(&w, "%s,", day);
        mr_put_csv(&w, r->cells->type[k->type]);
        MR_PUT(&w, ",%" PRIu64 ",%" PRIu64 ",%.0f,%s\n", k->events, k->users,
            k->users_estimate, status_word(r));
    }
    return mr_writer_finish(&w);
}

/* A line of partitions.csv: one of the two. */
struct listed {
    const struct mr_partition *read;
    const struct mr_failure *failed;
};

static const char *listed_name(const struct listed *l)
{
    return l->read ? l->read->name[0] : l->failed->name;
}

/* By name; of one name the read ones come first, by digest. */
static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int c = strcmp(listed_name(x), listed_name(y));

    if (c != 0)
        return c;
    if (!x->read || !y->read)
        return !x->read - !y->read;
    return memcmp(x->read->digest.b, y->read->digest.b, MR_DIGEST_BYTES);
}

static void put_read_partition(
    struct mr_writer *w, const struct mr_partition *p)
{
    uint64_t events = 0, rejected = 0;
    char digest[MR_DIGEST_TEXT];
    size_t i;

    for (i = 0; i < p->n_cells; i++)
        events += p->cell[i].events;
    for (i = 0; i < p->n_reasons; i++)
        rejected += p->reason[i].lines;
    mr_digest_format(&p->digest, digest);
    mr_put_csv(w, mr_text_span(p->name[0]));
    MR_PUT(w, ",%s,read,,,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, digest,
        p->stored_bytes, p->text_bytes, p->lines, events);
    MR_PUT(w, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%zu\n",
        rejected, p->blank, p->other_day, p->other_type, p->n_names);
}

static void put_failed_partition(
    struct mr_writer *w, const struct mr_failure *f)
{
    mr_put_csv(w, mr_text_span(f->name));
    MR_PUT(w, ",,failed,");
    if (f->offset != MR_NOWHERE)
        MR_PUT(w, "%" PRIu64, f->offset);
    MR_PUT(w, ",");
    mr_put_csv(w, mr_text_span(f->cause));
    MR_PUT(w, ",,,,,,,,,\n");
}

enum mr_status mr_report_partitions_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    const struct mr_coverage *c = r->coverage;
    size_t i, n = c->n_partitions + c->n_failures;
    struct listed *list = calloc(n + 1, sizeof(*list));
    struct mr_writer w = mr_writer_begin(out);

    if (!list)
        return MR_NOMEM;
    for (i = 0; i < c->n_partitions; i++)
        list[i].read = &c->partition[i];
    for (i = 0; i < c->n_failures; i++)
        list[c->n_partitions + i].failed = &c->failure[i];
    qsort(list, n, sizeof(*list), compare_listed);
    MR_PUT(&w, "name,digest,status,offset,reason,stored_bytes,text_bytes,lines,"
               "events,rejected,blank,other_day,other_type,names\n");
    for (i = 0; i < n; i++) {
        if (list[i].read)
            put_read_partition(&w, list[i].read);
        else
            put_failed_partition(&w, list[i].failed);
    }
    free(list);
    return mr_writer_finish(&w);
}

enum mr_status mr_report_rejects_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_reason reasons[MR_REASON_COUNT];
    size_t i, n = mr_spec_reasons(r->spec, r->totals->reason, reasons);
    struct mr_writer w = mr_writer_begin(out);

    MR_PUT(&w, "reason,lines%s\n", is_partial(r) ? ",status" : "");
    for (i = 0; i < n; i++) {
        mr_put_csv(&w, mr_text_span(reasons[i].text));
        MR_PUT(&w, ",%" PRIu64 "%s\n", reasons[i].lines,
            is_partial(r) ? ",partial" : "");
    }
    return mr_writer_finish(&w);
}

static void put_json_spec(struct mr_writer *w, const struct mr_report *r)
{
    struct mr_buffer text = {0};
    char hex[MR_DIGEST_TEXT];
    struct mr_digest digest;

    if (w->status == MR_OK)
        w->status = mr_spec_text(r->spec, &text);
    digest = mr_digest_bytes(text.p, text.n);
    mr_digest_format(&digest, hex);
    MR_PUT(w, "\"spec\": {\"digest\": \"%s\", \"text\": ", hex);
    mr_put_json(w, (struct mr_span){text.p, text.n});
    MR_PUT(w, "},\n");
    mr_buffer_release(&text);
}

static void put_json_figures(struct mr_writer *w, const struct mr_report *r)
{
    size_t list[N_FIGURES], n = list_figures(r, list), f;

    MR_PUT(w, "\"figures\": {\n");
    for (f = 0; f < n; f++) {
        MR_PUT(w, "  \"%s\": {\"kind\": ", figures[list[f]].name);
        if (figures[list[f]].kind == ESTIMATE)
            MR_PUT(w, "\"estimate\", \"standard_error\": %.6f},\n",
                r->kpis->users_estimate_error);
        else
            MR_PUT(w, "\"exact\"},\n");
    }
    if (r->kpis->extras.retention > 0)
        MR_PUT(w, "  \"retention\": {\"kind\": \"exact\"},\n");
    MR_PUT(w, "  \"users_of_all_days\": {\"kind\": \"exact\"},\n"
              "  \"coverage\": {\"kind\": \"exact\"}\n},\n");
}

static void put_json_days(struct mr_writer *w, const struct mr_report *r)
{
    char text[FIGURE_TEXT], day[MR_DAY_TEXT];
    size_t list[N_FIGURES], n = list_figures(r, list), i, f;
    const char *between = "\n";

    MR_PUT(w, "\"days\": [");
    for (i = 0; i < r->kpis->n_days; i++) {
        if (!is_shown(r, r->kpis->day[i].day))
            continue;
        mr_day_format(r->kpis->day[i].day, day);
        MR_PUT(w, "%s  {\"day\": \"%s\"", between, day);
        for (f = 0; f < n; f++) {
            format_figure(&r->kpis->day[i], list[f], "null", text);
            MR_PUT(w, ", \"%s\": %s", figures[list[f]].name, text);
        }
        MR_PUT(w, "}");
        between = ",\n";
    }
    MR_PUT(w, "\n],\n");
}

static void put_json_days_by_type(
    struct mr_writer *w, const struct mr_report *r)
{
    char day[MR_DAY_TEXT];
    const char *between = "\n";
    size_t i;

    MR_PUT(w, "\"days_by_type\": [");
    for (i = 0; i < r->kpis->n_day_types; i++) {
        const struct mr_kpi_day_type *k = &r->kpis->day_type[i];

        if (!is_shown(r, k->day))
            continue;
        mr_day_format(k->day, day);
        MR_PUT(w, "%s  {\"day\": \"%s\", \"type\": ", between, day);
        mr_put_json(w, r->cells->type[k->type]);
        MR_PUT(w,
            ", \"events\": %" PRIu64 ", \"users\": %" PRIu64
            ", \"users_estimate\": %.0f}",
            k->events, k->users, k->users_estimate);
        between = ",\n";
    }
    MR_PUT(w, "\n],\n");
}

static void put_json_failures(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_coverage *c = r->coverage;
    size_t i;

    MR_PUT(w, "  \"failures\": [");
    for (i = 0; i < c->n_failures; i++) {
        MR_PUT(w, "%s    {\"name\": ", i ? ",\n" : "\n");
        mr_put_json(w, mr_text_span(c->failure[i].name));
        if (c->failure[i].offset == MR_NOWHERE)
            MR_PUT(w, ", \"offset\": null, \"reason\": ");
        else
            MR_PUT(w, ", \"offset\": %" PRIu64 ", \"reason\": ",
                c->failure[i].offset);
        mr_put_json(w, mr_text_span(c->failure[i].cause));
        MR_PUT(w, "}");
    }
    MR_PUT(w, "%s],\n", c->n_failures ? "\n  " : "");
}

static void put_json_coverage(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_coverage_totals *t = r->totals;
    struct mr_reason reasons[MR_REASON_COUNT];
    size_t i, n = mr_spec_reasons(r->spec, r->totals->reason, reasons);

    MR_PUT(
        w, "\"coverage\": {\n  \"partitions\": %" PRIu64 ",\n", t->partitions);
    put_json_failures(w, r);
    mr_report_put_covered_json(w, r);
    MR_PUT(w, "  \"repeated\": %" PRIu64 ",\n", r->coverage->n_repeated);
    MR_PUT(w, "  \"renamed\": %" PRIu64 ",\n", t->renamed);
    MR_PUT(w, "  \"stored_bytes\": %" PRIu64 ",\n", t->stored_bytes);
    MR_PUT(w, "  \"text_bytes\": %" PRIu64 ",\n", t->text_bytes);
    MR_PUT(w, "  \"lines\": %" PRIu64 ",\n", t->lines);
    MR_PUT(w, "  \"events\": %" PRIu64 ",\n", t->events);
    MR_PUT(w, "  \"rejected\": %" PRIu64 ",\n", t->rejected);
    MR_PUT(w, "  \"blank\": %" PRIu64 ",\n", t->blank);
    MR_PUT(w, "  \"rejects_by_reason\": {");
    for (i = 0; i < n; i++) {
        MR_PUT(w, "%s", i ? ", " : "");
        mr_put_json(w, mr_text_span(reasons[i].text));
        MR_PUT(w, ": %" PRIu64, reasons[i].lines);
    }
    MR_PUT(w, "},\n");
    MR_PUT(
        w, "  \"events_without_user\": %" PRIu64 ",\n", t->events_without_user);
    MR_PUT(w, "  \"other_day\": %" PRIu64 ",\n", t->other_day);
    MR_PUT(w, "  \"other_type\": %" PRIu64 "\n}\n", t->other_type);
}

enum mr_status mr_report_json(const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);

    MR_PUT(&w, "{\n\"schema\": \"mr-kpis\",\n\"schema_version\": 1,\n");
    MR_PUT(&w, "\"status\": \"%s\",\n", status_word(r));
    put_json_spec(&w, r);
    MR_PUT(&w, "\"states\": %" PRIu64 ",\n", r->states);
    put_json_figures(&w, r);
    MR_PUT(&w, "\"users_of_all_days\": %" PRIu64 ",\n", r->users);
    put_json_days(&w, r);
    put_json_days_by_type(&w, r);
    mr_report_put_retention_json(&w, r);
    mr_report_put_figures(&w, r);
    mr_report_put_kept(&w, r);
    put_json_coverage(&w, r);
    MR_PUT(&w, "}\n");
    return mr_writer_finish(&w);
}

static int32_t daily_day(const struct mr_report *r, size_t row)
{
    return r->kpis->day[row].day;
}

static void daily_title(
    const struct mr_report *r, size_t column, char out[FIGURE_TEXT])
{
    size_t list[N_FIGURES];

    list_figures(r, list);
    snprintf(out, FIGURE_TEXT, "%s", figures[list[column]].title);
}

static void daily_cell(
    const struct mr_report *r, size_t row, size_t column, char out[FIGURE_TEXT])
{
    size_t list[N_FIGURES];

    list_figures(r, list);
    format_figure(&r->kpis->day[row], list[column], "-", out);
}

static void put_daily(
    struct mr_writer *w, const struct mr_report *r, size_t width)
{
    size_t list[N_FIGURES];
    const struct grid grid = {.head = "day",
        .n_rows = r->kpis->n_days,
        .n_columns = list_figures(r, list),
        .first_part = FIRST_OF_PAIR_FIGURES,
        .day = daily_day,
        .title = daily_title,
        .cell = daily_cell};

    mr_report_put_grid(w, r, &grid, width);
    MR_PUT(w,
        "~ is an estimate with a standard error of %.2f%%; all other "
        "figures are exact\n",
        100 * r->kpis->users_estimate_error);
}

/* Failures of partitions that have been read. */
static uint64_t count_changed(const struct mr_report *r)
{
    return r->covered != NULL ? r->covered->changed : 0;
}

static void put_coverage(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_coverage_totals *t = r->totals;
    struct mr_reason reasons[MR_REASON_COUNT];
    size_t i, n = mr_spec_reasons(r->spec, r->totals->reason, reasons);

    MR_PUT(w, "\nusers       %" PRIu64 " on all days together\n", r->users);
    MR_PUT(w,
        "partitions  %" PRIu64 " read, %" PRIu64 " not read, from %" PRIu64
        " state%s\n",
        t->partitions, t->failures - count_changed(r), r->states,
        mr_text_plural(r->states));
    mr_report_put_covered(w, r);
    if (r->coverage->n_repeated > 0)
        MR_PUT(w,
            "repeated    %" PRIu64
            " more time%s a partition was met; each counts once\n",
            r->coverage->n_repeated, mr_text_plural(r->coverage->n_repeated));
    if (t->renamed > 0)
        MR_PUT(w,
            "renamed     %" PRIu64
            " name%s for two or more contents; all are counted\n",
            t->renamed, t->renamed == 1 ? " stands" : "s stand");
    MR_PUT(w, "bytes       %" PRIu64 " stored, %" PRIu64 " unpacked\n",
        t->stored_bytes, t->text_bytes);
    MR_PUT(w,
        "lines       %" PRIu64 " = %" PRIu64 " event%s + %" PRIu64
        " rejected + %" PRIu64 " blank\n",
        t->lines, t->events, mr_text_plural(t->events), t->rejected, t->blank);
    for (i = 0; i < n; i++) {
        MR_PUT(w, "rejected    %" PRIu64 " ", reasons[i].lines);
        mr_put_masked(w, mr_text_span(reasons[i].text));
        MR_PUT(w, "\n");
    }
    if (t->other_day > 0 || t->other_type > 0)
        MR_PUT(w,
            "folders     %" PRIu64 " event%s of another day, %" PRIu64
            " of another type than their folder says\n",
            t->other_day, mr_text_plural(t->other_day), t->other_type);
}

static void put_failures(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_coverage *c = r->coverage;
    size_t i;

    MR_PUT(w, "\n");
    for (i = 0; i < c->n_failures && i < FAILURES_SHOWN; i++) {
        MR_PUT(w, mr_cause_is(c->failure[i].cause, MR_CAUSE_CHANGED)
                      ? "differs     "
                      : "not read    ");
        mr_put_masked(w, mr_text_span(c->failure[i].name));
        if (c->failure[i].offset != MR_NOWHERE)
            MR_PUT(w, " at byte %" PRIu64, c->failure[i].offset);
        MR_PUT(w, ": ");
        mr_put_masked(w, mr_text_span(c->failure[i].cause));
        MR_PUT(w, "\n");
    }
    if (i < c->n_failures)
        MR_PUT(w, "not read    and %zu more; partitions.csv lists all\n",
            c->n_failures - i);
}

enum mr_status mr_report_table(const struct mr_report *r, unsigned width,
    bool colour, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);

    if (is_partial(r)) {
        mr_report_put_partial(&w, r, colour);
        MR_PUT(&w, "\n");
    }
    put_daily(&w, r, width);
    mr_report_put_retention(&w, r, width);
    put_coverage(&w, r);
    if (is_partial(r)) {
        put_failures(&w, r);
        mr_report_put_partial(&w, r, colour);
    }
    return mr_writer_finish(&w);
}
