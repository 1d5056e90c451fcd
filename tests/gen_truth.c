#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * The truth is counted user by user from the plan, before any text exists.
 * All of its figures are sums over users, so tallies of several threads, or
 * of several processes with a part of the users each, just add up.
 */

/* Two events further apart than this are of two sessions. */
#define SESSION_GAP_MS 1800000

const char *const gen_reason_text[GEN_REASONS] = {
    [GEN_JSON] = "json",
    [GEN_TOO_LONG] = "too-long",
    [GEN_TOO_DEEP] = "too-deep",
    [GEN_MISSING_ID] = "missing:data.id",
    [GEN_MALFORMED_ID] = "malformed:data.id",
    [GEN_MISSING_TYPE] = "missing:data.type",
    [GEN_MALFORMED_TYPE] = "malformed:data.type",
    [GEN_MISSING_ATTRIBUTES] = "missing:data.attributes",
    [GEN_MALFORMED_ATTRIBUTES] = "malformed:data.attributes",
    [GEN_MISSING_TIME] = "missing:meta.created_at",
    [GEN_MALFORMED_TIME] = "malformed:meta.created_at",
    [GEN_MALFORMED_USER] = "malformed:data.attributes.user_id",
};

void gen_truth_init(struct gen_truth *t, const struct gen_options *o)
{
    memset(t, 0, sizeof *t);
    t->day = gen_alloc(o->days, sizeof *t->day);
    t->type_events = gen_alloc(o->days * o->types, sizeof(uint64_t));
    t->type_users = gen_alloc(o->days * o->types, sizeof(uint64_t));
    t->stamp = gen_alloc(o->types, sizeof(uint64_t));
    t->seen = gen_alloc(o->days, sizeof *t->seen);
}

void gen_truth_release(struct gen_truth *t)
{
    free(t->day);
    free(t->type_events);
    free(t->type_users);
    free(t->stamp);
    free(t->seen);
    free(t->event);
}

static int compare_times(const void *a, const void *b)
{
    const struct gen_event *x = a, *y = b;

    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void count_line(
    struct gen_truth *t, const struct gen_plan *plan, const struct gen_event *e)
{
    const struct gen_options *o = plan->o;
    uint64_t day = (uint64_t)(e->time_ms / GEN_MS_PER_DAY);
    int copies = e->twice ? 2 : 1;

    t->blank += e->blank;
    if (e->bad)
        t->reason[gen_plan_reason(e)]++;
    t->reason[GEN_TOO_LONG] += e->too_long;
    t->day[day].events += (uint64_t)copies;
    t->type_events[day * o->types + e->type] += (uint64_t)copies;
    if (e->no_user)
        t->day[day].without_user += (uint64_t)copies;
    if (o->to_stdout)
        return;
    for (int i = 0; i < copies; i++) {
        uint64_t file = gen_plan_file(plan, e, i == 1);
        int64_t folder_day = gen_plan_file_day(plan, file);
        int64_t folder_type = gen_plan_file_type(plan, file);

        t->other_day += folder_day >= 0 && (uint64_t)folder_day != day;
        t->other_type += folder_type >= 0 && folder_type != e->type;
    }
}

static void count_days(struct gen_truth *t, const struct gen_options *o)
{
    bool known = false, before = false;

    for (uint64_t d = 0; d < o->days; d++) {
        bool now = t->seen[d];

        known |= now;
        t->day[d].users += now;
        t->day[d].active += now && before;
        t->day[d].churned += before && !now;
        t->day[d].reactivated += now && !before;
        t->day[d].inactive += known && !now && !before;
        before = now;
    }
    t->users += known;
}

void gen_truth_user(struct gen_truth *t, const struct gen_plan *plan,
    struct gen_event *e, size_t n)
{
    const struct gen_options *o = plan->o;
    int64_t last = -2 * SESSION_GAP_MS;

    for (size_t i = 1; i < n; i++) {
        if (e[i].time_ms < e[i - 1].time_ms) {
            qsort(e, n, sizeof *e, compare_times);
            break;
        }
    }
    memset(t->seen, 0, o->days * sizeof *t->seen);
    for (size_t i = 0; i < n; i++) {
        uint64_t day = (uint64_t)(e[i].time_ms / GEN_MS_PER_DAY);
        uint64_t stamp = e[i].user * o->days + day + 1;

        count_line(t, plan, &e[i]);
        if (e[i].no_user)
            continue;
        t->seen[day] = true;
        t->day[day].sessions += e[i].time_ms - last > SESSION_GAP_MS;
        last = e[i].time_ms;
        if (t->stamp[e[i].type] != stamp) {
            t->stamp[e[i].type] = stamp;
            t->type_users[day * o->types + e[i].type]++;
        }
    }
    count_days(t, o);
}

void gen_truth_merge(struct gen_truth *into, const struct gen_truth *from,
    const struct gen_options *o)
{
    for (uint64_t d = 0; d < o->days; d++) {
        struct gen_truth_day *a = &into->day[d];
        const struct gen_truth_day *b = &from->day[d];

        a->events += b->events;
        a->without_user += b->without_user;
        a->users += b->users;
        a->sessions += b->sessions;
        a->active += b->active;
        a->inactive += b->inactive;
        a->churned += b->churned;
        a->reactivated += b->reactivated;
    }
    for (uint64_t i = 0; i < o->days * o->types; i++) {
        into->type_events[i] += from->type_events[i];
        into->type_users[i] += from->type_users[i];
    }
    for (int i = 0; i < GEN_REASONS; i++)
        into->reason[i] += from->reason[i];
    into->blank += from->blank;
    into->other_day += from->other_day;
    into->other_type += from->other_type;
    into->users += from->users;
}

static const char *day_text(const struct gen_options *o, uint64_t day)
{
    static char text[16];
    time_t at = (time_t)(o->start_ms / 1000 + (int64_t)day * 86400);
    struct tm tm;

    strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&at, &tm));
    return text;
}

static void write_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

/* One row for each day with events, and for a day without that follows one,
 * up to the last with events; what needs the day before is null on the
 * first. */
static void write_days(
    FILE *f, const struct gen_truth *t, const struct gen_options *o)
{
    const char *comma = "";
    uint64_t first = o->days, last = 0;

    for (uint64_t d = 0; d < o->days; d++) {
        if (t->day[d].events == 0)
            continue;
        last = d;
        if (first == o->days)
            first = d;
    }
    for (uint64_t d = first; d < o->days && d <= last; d++) {
        const struct gen_truth_day *x = &t->day[d];

        if (x->events == 0 && t->day[d - 1].events == 0)
            continue;
        fprintf(f,
            "%s\n  {\"day\": \"%s\", \"events\": %" PRIu64
            ", \"events_without_user\": %" PRIu64 ", \"users\": %" PRIu64,
            comma, day_text(o, d), x->events, x->without_user, x->users);
        if (d == first)
            fprintf(f, ", \"active\": null, \"inactive\": null, "
                       "\"churned\": null, \"reactivated\": null");
        else
            fprintf(f,
                ", \"active\": %" PRIu64 ", \"inactive\": %" PRIu64
                ", \"churned\": %" PRIu64 ", \"reactivated\": %" PRIu64,
                x->active, x->inactive, x->churned, x->reactivated);
        fprintf(f, ", \"sessions\": %" PRIu64 "}", x->sessions);
        comma = ",";
    }
}

static void write_day_types(
    FILE *f, const struct gen_truth *t, const struct gen_options *o)
{
    const char *comma = "";
    char name[128];

    for (uint64_t d = 0; d < o->days; d++) {
        for (uint64_t type = 0; type < o->types; type++) {
            uint64_t i = d * o->types + type;

            if (t->type_events[i] == 0)
                continue;
            gen_type_name(type, name, sizeof name);
            fprintf(
                f, "%s\n  {\"day\": \"%s\", \"type\": ", comma, day_text(o, d));
            write_string(f, name);
            fprintf(f, ", \"events\": %" PRIu64 ", \"users\": %" PRIu64 "}",
                t->type_events[i], t->type_users[i]);
            comma = ",";
        }
    }
}

static void write_rejects(FILE *f, const struct gen_truth *t)
{
    const char *comma = "";

    for (int i = 0; i < GEN_REASONS; i++) {
        if (t->reason[i] == 0)
            continue;
        fprintf(
            f, "%s\"%s\": %" PRIu64, comma, gen_reason_text[i], t->reason[i]);
        comma = ", ";
    }
}

static void write_totals(FILE *f, const struct gen_truth *t,
    const struct gen_options *o, uint64_t n_files, uint64_t text_bytes)
{
    uint64_t events = 0, without_user = 0, rejected = 0;

    for (uint64_t d = 0; d < o->days; d++) {
        events += t->day[d].events;
        without_user += t->day[d].without_user;
    }
    for (int i = 0; i < GEN_REASONS; i++)
        rejected += t->reason[i];
    fprintf(f, "\"lines\": %" PRIu64 ", \"events\": %" PRIu64,
        events + rejected + t->blank, events);
    fprintf(f, ", \"rejected\": %" PRIu64 ", \"blank\": %" PRIu64, rejected,
        t->blank);
    fprintf(f, ", \"events_without_user\": %" PRIu64 ", \"users\": %" PRIu64,
        without_user, t->users);
    fprintf(f, ", \"other_day\": %" PRIu64 ", \"other_type\": %" PRIu64,
        t->other_day, t->other_type);
    fprintf(f, ", \"partitions\": %" PRIu64 ", \"failures\": 0", n_files);
    fprintf(f, ", \"text_bytes\": %" PRIu64, text_bytes);
}

void gen_truth_write(const struct gen_truth *t, const struct gen_options *o,
    uint64_t n_files, uint64_t text_bytes, const char *path)
{
    FILE *f = fopen(path, "w");

    if (f == NULL)
        gen_die("cannot write '%s'", path);
    fprintf(f, "{\n\"days\": [");
    write_days(f, t, o);
    fprintf(f, "\n],\n\"day_types\": [");
    write_day_types(f, t, o);
    fprintf(f, "\n],\n\"rejects\": {");
    write_rejects(f, t);
    fprintf(f, "},\n\"totals\": {");
    write_totals(f, t, o, n_files, text_bytes);
    fprintf(f, "}\n}\n");
    if (ferror(f) | fclose(f))
        gen_die("cannot write '%s'", path);
}
