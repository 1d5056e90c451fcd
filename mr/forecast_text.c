#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/forecast.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/writer.h"

/* Most types that the table names; JSON has them all. */
#define TYPES_SHOWN 10
/* Room for a size or a time as people write them. */
#define ABOUT_TEXT 24

static void format_bytes(uint64_t bytes, char out[ABOUT_TEXT])
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t i = 0;

    /* 999.95 would be written 1000.0. */
    while (value >= 999.95 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        value /= 1000;
        i++;
    }
    snprintf(out, ABOUT_TEXT, i == 0 ? "%.0f %s" : "%.1f %s", value, unit[i]);
}

static void format_seconds(double seconds, char out[ABOUT_TEXT])
{
    if (seconds < 99.5)
        snprintf(
            out, ABOUT_TEXT, seconds < 9.95 ? "%.1f s" : "%.0f s", seconds);
    else if (seconds < 5970)
        snprintf(out, ABOUT_TEXT, "%.0f min", seconds / 60);
    else
        snprintf(out, ABOUT_TEXT, "%.1f h", seconds / 3600);
}

/* ---- days and types ---- */

/* What names say of one day, or of one type. */
struct group {
    const struct mr_place_row *first;
    uint64_t partitions, bytes, others; /* others: types of a day, or days */
};

static bool same_day(const struct mr_place_row *a, const struct mr_place_row *b)
{
    return a->has_day == b->has_day && a->day == b->day;
}

static bool same_type(
    const struct mr_place_row *a, const struct mr_place_row *b)
{
    return (a->type.p == NULL) == (b->type.p == NULL) &&
           mr_span_compare(a->type, b->type) == 0;
}

static int by_type(const void *a, const void *b)
{
    const struct mr_place_row *const *x = a, *const *y = b;

    if (((*x)->type.p == NULL) != ((*y)->type.p == NULL))
        return (*x)->type.p == NULL ? -1 : 1;
    return mr_span_compare((*x)->type, (*y)->type);
}

static int by_bytes_down(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return by_type(&x->first, &y->first);
}

/* The groups of all rows, in order; NULL without memory. */
static struct group *list_groups(
    const struct mr_places *p, bool of_types, size_t *n_out)
{
    const struct mr_place_row **row =
        calloc(p->n + 1, sizeof(const struct mr_place_row *));
    struct group *list = calloc(p->n + 1, sizeof(*list));
    size_t n = 0;

    if (row == NULL || list == NULL) {
        free(row);
        free(list);
        return NULL;
    }
    for (size_t i = 0; i < p->n; i++)
        row[i] = &p->row[i];
    if (of_types && p->n > 1)
        qsort(row, p->n, sizeof(*row), by_type);
    for (size_t i = 0; i < p->n; i++) {
        if (n == 0 || !(of_types ? same_type(list[n - 1].first, row[i])
                                 : same_day(list[n - 1].first, row[i])))
            list[n++].first = row[i];
        list[n - 1].partitions += row[i]->partitions;
        list[n - 1].bytes += row[i]->bytes;
        list[n - 1].others +=
            of_types ? row[i]->has_day : row[i]->type.p != NULL;
    }
    free(row);
    *n_out = n;
    return list;
}

/* Days and types of the sample's events, ascending; days[0..n) is the
 * caller's room. */
static size_t days_of_sample(const struct mr_sample *s, int32_t *day)
{
    const struct mr_state_head *head =
        s->state != NULL ? mr_state_get_head(s->state) : NULL;
    size_t n = 0;

    for (size_t i = 0; head != NULL && i < head->n_cells; i++)
        if (n == 0 || day[n - 1] != head->cell[i].day)
            day[n++] = head->cell[i].day;
    return n;
}

/* ---- the table ---- */

/* "3 by folder names", and how many the sample has where names tell none. */
static void put_count(struct mr_writer *w, const char *what, size_t named,
    bool all_named, uint64_t sampled, bool has_sample)
{
    MR_PUT(w, "%-11s ", what);
    if (named > 0 || all_named)
        MR_PUT(w, "%zu by folder names", named);
    if (!all_named && has_sample)
        MR_PUT(w, "%s%" PRIu64 " in the sample%s", named > 0 ? "; " : "",
            sampled, named > 0 ? ", as not all names tell" : "");
    else if (!all_named)
        MR_PUT(w, "%snot told by all names", named > 0 ? "; " : "");
    MR_PUT(w, "\n");
}

static void put_counts(struct mr_writer *w, const struct mr_forecast *f,
    const struct group *day, size_t n_days, const struct group *type,
    size_t n_types)
{
    const struct mr_sample *s = &f->sample;
    bool no_day = n_days > 0 && !day[0].first->has_day;
    bool no_type = n_types > 0 && type[0].first->type.p == NULL;
    char about[ABOUT_TEXT];

    format_bytes(f->bytes, about);
    MR_PUT(w, "partitions  %" PRIu64 ", %" PRIu64 " bytes stored (%s)\n",
        f->partitions, f->bytes, about);
    put_count(w, "days", n_days - no_day, !no_day, s->days, s->state != NULL);
    put_count(
        w, "types", n_types - no_type, !no_type, s->types, s->state != NULL);
}

static void put_sample(struct mr_writer *w, const struct mr_forecast *f)
{
    const struct mr_sample *s = &f->sample;
    char stored[ABOUT_TEXT], text[ABOUT_TEXT], speed[ABOUT_TEXT];

    format_bytes(s->bytes, stored);
    format_bytes(s->text_bytes, text);
    format_bytes((uint64_t)f->bytes_per_second, speed);
    if (f->bytes_per_second <= 0) {
        MR_PUT(w, "sample      none: there are no bytes to read\n");
        return;
    }
    MR_PUT(w, "sample      %" PRIu64 " of %" PRIu64 " partition%s, %s stored",
        s->inputs, f->partitions, mr_text_plural(f->partitions), stored);
    if (!s->is_cut)
        MR_PUT(w,
            ", %s of events: %" PRIu64 " event%s, %" PRIu64
            " rejected line%s, %" PRIu64 " user%s",
            text, s->events, mr_text_plural(s->events), s->rejected,
            mr_text_plural(s->rejected), s->users, mr_text_plural(s->users));
    MR_PUT(w,
        "\n            %s in %.2f s with %u thread%s: %s stored a second\n",
        s->is_cut ? "ended before one was read," : "mapped", s->seconds,
        f->threads, mr_text_plural(f->threads), speed);
}

static void put_range(struct mr_writer *w, const char *what,
    const struct mr_range64 *range, bool is_bytes, const char *remark)
{
    char least[ABOUT_TEXT], most[ABOUT_TEXT];

    snprintf(least, sizeof(least), "%" PRIu64, range->least);
    snprintf(most, sizeof(most), "%" PRIu64, range->most);
    if (is_bytes) {
        format_bytes(range->least, least);
        format_bytes(range->most, most);
    }
    MR_PUT(w, "%-11s ", what);
    if (strcmp(least, most) == 0)
        MR_PUT(w, "%s%s\n", least, remark);
    else
        MR_PUT(w, "from %s to %s%s\n", least, most, remark);
}

/* Whether the spec has map keep what the estimate of memory leaves out. */
static bool keeps_more(const struct mr_sample *s)
{
    const struct mr_spec *spec =
        s->state != NULL ? mr_state_get_head(s->state)->spec : NULL;

    return spec != NULL && (spec->users_table.given || spec->n_rollups > 0 ||
                               spec->max_ids > 0 || spec->n_segments > 0);
}

static void put_estimates(struct mr_writer *w, const struct mr_forecast *f)
{
    char time[ABOUT_TEXT];

    if (f->bytes_per_second <= 0)
        return;
    format_seconds(mr_forecast_seconds(f, f->bytes), time);
    MR_PUT(w,
        "time        about %s on this machine, if it reads all as fast as "
        "the sample\n",
        time);
    if (!f->is_known)
        return;
    put_range(w, "users", &f->users, false, "");
    put_range(w, "memory", &f->memory, true, " for one machine that maps all");
    if (keeps_more(&f->sample))
        MR_PUT(w, "            and what the spec's users table, rollups, "
                  "duplicates and segments take\n");
    put_range(w, "state", &f->state_bytes, true, " on disk");
    if (f->users.least != f->users.most)
        MR_PUT(w,
            "            the least is for the sample's users alone, the "
            "most for as many\n            more as there are bytes more\n");
}

static void put_days(struct mr_writer *w, const struct group *list, size_t n)
{
    char day[MR_DAY_TEXT], types[ABOUT_TEXT];

    /* None are listed, or no name tells one. */
    if (n == 0 || (n == 1 && !list[0].first->has_day))
        return;
    MR_PUT(
        w, "\n%-10s  %10s  %16s  %5s\n", "day", "partitions", "bytes", "types");
    for (size_t i = 0; i < n; i++) {
        snprintf(day, sizeof(day), "-");
        if (list[i].first->has_day)
            mr_day_format(list[i].first->day, day);
        /* Names that tell none do not say that there is none. */
        snprintf(types, sizeof(types), "-");
        if (list[i].others > 0)
            snprintf(types, sizeof(types), "%" PRIu64, list[i].others);
        MR_PUT(w, "%-10s  %10" PRIu64 "  %16" PRIu64 "  %5s\n", day,
            list[i].partitions, list[i].bytes, types);
    }
}

/* The largest first. */
static void put_types(struct mr_writer *w, struct group *list, size_t n)
{
    if (n == 0 || (n == 1 && list[0].first->type.p == NULL))
        return;
    qsort(list, n, sizeof(*list), by_bytes_down);
    MR_PUT(w, "\n%10s  %16s  %s\n", "partitions", "bytes", "type");
    for (size_t i = 0; i < n && i < TYPES_SHOWN; i++) {
        MR_PUT(w, "%10" PRIu64 "  %16" PRIu64 "  ", list[i].partitions,
            list[i].bytes);
        if (list[i].first->type.p == NULL)
            MR_PUT(w, "-");
        else
            mr_put_masked(w, list[i].first->type);
        MR_PUT(w, "\n");
    }
    if (n > TYPES_SHOWN)
        MR_PUT(w, "%10s  %16s  and %zu more; --format json lists all\n", "", "",
            n - TYPES_SHOWN);
}

static void put_parts(struct mr_writer *w, const struct mr_forecast *f)
{
    char time[ABOUT_TEXT], name[24];

    if (f->n_parts == 0)
        return;
    MR_PUT(w, "\n%-11s  %10s  %16s  %8s\n", "shard", "partitions", "bytes",
        "time");
    for (unsigned k = 0; k < f->n_parts; k++) {
        snprintf(time, sizeof(time), "-");
        if (f->bytes_per_second > 0)
            format_seconds(mr_forecast_seconds(f, f->part[k].bytes), time);
        snprintf(name, sizeof(name), "%u/%u", k + 1, f->n_parts);
        MR_PUT(w, "%-11s  %10" PRIu64 "  %16" PRIu64 "  %8s\n", name,
            f->part[k].partitions, f->part[k].bytes, time);
    }
}

enum mr_status mr_forecast_table(
    const struct mr_forecast *f, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    size_t n_days = 0, n_types = 0;
    struct group *day = list_groups(&f->places, false, &n_days);
    struct group *type = list_groups(&f->places, true, &n_types);

    if (day != NULL && type != NULL) {
        put_counts(&w, f, day, n_days, type, n_types);
        put_sample(&w, f);
        put_estimates(&w, f);
        put_days(&w, day, n_days);
        put_types(&w, type, n_types);
        put_parts(&w, f);
    } else {
        w.status = MR_NOMEM;
    }
    free(day);
    free(type);
    return mr_writer_finish(&w);
}

/* ---- JSON ---- */

static void json_groups(
    struct mr_writer *w, const struct group *list, size_t n, bool of_types)
{
    char day[MR_DAY_TEXT];

    MR_PUT(w, "\"%s\": [", of_types ? "types" : "days");
    for (size_t i = 0; i < n; i++) {
        const struct mr_place_row *row = list[i].first;

        MR_PUT(w, "%s  {\"%s\": ", i > 0 ? ",\n" : "\n",
            of_types ? "type" : "day");
        if (of_types ? row->type.p == NULL : !row->has_day) {
            MR_PUT(w, "null");
        } else if (of_types) {
            mr_put_json(w, row->type);
        } else {
            mr_day_format(row->day, day);
            MR_PUT(w, "\"%s\"", day);
        }
        MR_PUT(w,
            ", \"partitions\": %" PRIu64 ", \"bytes\": %" PRIu64
            ", \"%s\": %" PRIu64 "}",
            list[i].partitions, list[i].bytes, of_types ? "days" : "types",
            list[i].others);
    }
    MR_PUT(w, "%s],\n", n > 0 ? "\n" : "");
}

static void json_found(struct mr_writer *w, const struct mr_sample *s)
{
    const struct mr_state_head *head = mr_state_get_head(s->state);
    int32_t *day = calloc(head->n_cells + 1, sizeof(*day));
    char text[MR_DAY_TEXT];
    size_t n;

    if (day == NULL) {
        w->status = MR_NOMEM;
        return;
    }
    n = days_of_sample(s, day);
    MR_PUT(w, ",\n  \"days\": [");
    for (size_t i = 0; i < n; i++) {
        mr_day_format(day[i], text);
        MR_PUT(w, "%s\"%s\"", i > 0 ? ", " : "", text);
    }
    MR_PUT(w, "],\n  \"types\": [");
    for (size_t i = 0; i < head->n_types; i++) {
        MR_PUT(w, "%s", i > 0 ? ", " : "");
        mr_put_json(w, head->type[i]);
    }
    MR_PUT(w, "]");
    free(day);
}

static void json_sample(struct mr_writer *w, const struct mr_forecast *f)
{
    const struct mr_sample *s = &f->sample;

    MR_PUT(w,
        "\"sample\": {\"partitions\": %" PRIu64 ", \"bytes\": %" PRIu64
        ", \"seconds\": %.3f, \"threads\": %u, \"ended_early\": %s",
        s->inputs, s->bytes, s->seconds, f->threads,
        s->is_cut ? "true" : "false");
    if (s->state != NULL) {
        MR_PUT(w,
            ",\n  \"text_bytes\": %" PRIu64 ", \"events\": %" PRIu64
            ", \"rejected\": %" PRIu64 ", \"failures\": %" PRIu64,
            s->text_bytes, s->events, s->rejected, s->failures);
        MR_PUT(w, ", \"users\": %" PRIu64 ", \"state_bytes\": %" PRIu64,
            s->users, s->state_bytes);
        json_found(w, s);
    }
    MR_PUT(w, "},\n");
}

static void json_range(struct mr_writer *w, const struct mr_forecast *f,
    const char *name, const struct mr_range64 *range)
{
    if (f->is_known)
        MR_PUT(w,
            ",\n  \"%s\": {\"least\": %" PRIu64 ", \"most\": %" PRIu64 "}",
            name, range->least, range->most);
    else
        MR_PUT(w, ",\n  \"%s\": null", name);
}

static void json_seconds(
    struct mr_writer *w, const struct mr_forecast *f, uint64_t bytes)
{
    if (f->bytes_per_second > 0)
        MR_PUT(w, "%.3f", mr_forecast_seconds(f, bytes));
    else
        MR_PUT(w, "null");
}

static void json_parts(struct mr_writer *w, const struct mr_forecast *f)
{
    MR_PUT(w, "\"shards\": [");
    for (unsigned k = 0; k < f->n_parts; k++) {
        MR_PUT(w,
            "%s  {\"shard\": \"%u/%u\", \"partitions\": %" PRIu64
            ", \"bytes\": %" PRIu64 ", \"seconds\": ",
            k > 0 ? ",\n" : "\n", k + 1, f->n_parts, f->part[k].partitions,
            f->part[k].bytes);
        json_seconds(w, f, f->part[k].bytes);
        MR_PUT(w, "}");
    }
    MR_PUT(w, "%s]\n", f->n_parts > 0 ? "\n" : "");
}

enum mr_status mr_forecast_json(
    const struct mr_forecast *f, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    size_t n_days = 0, n_types = 0;
    struct group *day = list_groups(&f->places, false, &n_days);
    struct group *type = list_groups(&f->places, true, &n_types);

    if (day != NULL && type != NULL) {
        MR_PUT(&w, "{\n\"schema\": \"mr-plan\",\n\"schema_version\": 1,\n");
        MR_PUT(&w, "\"partitions\": %" PRIu64 ",\n\"bytes\": %" PRIu64 ",\n",
            f->partitions, f->bytes);
        json_groups(&w, day, n_days, false);
        json_groups(&w, type, n_types, true);
        json_sample(&w, f);
        MR_PUT(&w, "\"estimate\": {\"seconds\": ");
        json_seconds(&w, f, f->bytes);
        json_range(&w, f, "users", &f->users);
        json_range(&w, f, "memory_bytes", &f->memory);
        json_range(&w, f, "state_bytes", &f->state_bytes);
        MR_PUT(&w, "},\n");
        json_parts(&w, f);
        MR_PUT(&w, "}\n");
    } else {
        w.status = MR_NOMEM;
    }
    free(day);
    free(type);
    return mr_writer_finish(&w);
}
