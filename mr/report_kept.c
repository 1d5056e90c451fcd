#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Reports of duplicates and segments. */

#include "mr/report_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "mr/calendar.h"

/* ---- duplicates ---- */

struct repeated {
    int32_t day;
    uint64_t events;
    struct mr_idset_figure ids, duplicates;
};

/* The day with the most duplicates first; then by day. */
static int compare_repeated(const void *a, const void *b)
{
    const struct repeated *x = a, *y = b;

    if (x->duplicates.value != y->duplicates.value)
        return x->duplicates.value > y->duplicates.value ? -1 : 1;
    return x->day < y->day ? -1 : x->day > y->day;
}

/* Days are asked for in ascending order; *row is where the one before was. */
static uint64_t events_of_day(
    const struct mr_report *r, int32_t day, size_t *row)
{
    const struct mr_kpis *k = r->kpis;

    while (*row < k->n_days && k->day[*row].day < day)
        ++*row;
    return *row < k->n_days && k->day[*row].day == day ? k->day[*row].events
                                                       : 0;
}

/* The days that are shown, ranked; NULL without memory. */
static struct repeated *list_repeated(const struct mr_report *r, size_t *n_out)
{
    struct repeated *list = calloc(r->ids->n_days + 1, sizeof(*list));
    size_t n = 0, row = 0;

    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < r->ids->n_days; i++) {
        const struct mr_idset_day *day = &r->ids->day[i];
        uint64_t events = events_of_day(r, day->day, &row);

        if (!is_shown(r, day->day))
            continue;
        list[n++] = (struct repeated){day->day, events, mr_idset_distinct(day),
            mr_idset_duplicates(day, events)};
    }
    if (n > 0)
        qsort(list, n, sizeof(*list), compare_repeated);
    *n_out = n;
    return list;
}

/* The nearest whole number.  An estimate may be slightly below 0, and 0 has no
 * sign. */
static double whole(double value)
{
    return nearbyint(value) + 0.0;
}

enum mr_status mr_report_duplicates_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    size_t n = 0;
    struct repeated *list = list_repeated(r, &n);
    struct mr_writer w = mr_writer_begin(out);
    char day[MR_DAY_TEXT];

    if (list == NULL)
        return MR_NOMEM;
    MR_PUT(&w, "rank,day,events,ids,duplicates,duplicates_low,duplicates_high,"
               "kind,status\n");
    for (size_t i = 0; i < n; i++) {
        const struct mr_idset_figure *d = &list[i].duplicates;

        mr_day_format(list[i].day, day);
        MR_PUT(&w, "%zu,%s,%" PRIu64 ",%.0f,%.0f,%.0f,%.0f,%s,%s\n", i + 1, day,
            list[i].events, list[i].ids.value, whole(d->value), d->low, d->high,
            d->exact ? "exact" : "estimate", status_word(r));
    }
    free(list);
    return mr_writer_finish(&w);
}

static void put_json_duplicates(struct mr_writer *w, const struct mr_report *r)
{
    size_t n = 0;
    struct repeated *list = list_repeated(r, &n);
    char day[MR_DAY_TEXT];

    if (list == NULL) {
        w->status = MR_NOMEM;
        return;
    }
    MR_PUT(w, "\"duplicates\": [");
    for (size_t i = 0; i < n; i++) {
        const struct mr_idset_figure *d = &list[i].duplicates;

        mr_day_format(list[i].day, day);
        MR_PUT(w,
            "%s  {\"rank\": %zu, \"day\": \"%s\", \"events\": %" PRIu64
            ", \"ids\": %.0f, ",
            i > 0 ? ",\n" : "\n", i + 1, day, list[i].events,
            list[i].ids.value);
        MR_PUT(w,
            "\"duplicates\": %.0f, \"low\": %.0f, \"high\": %.0f, "
            "\"kind\": \"%s\"}",
            whole(d->value), d->low, d->high, d->exact ? "exact" : "estimate");
    }
    MR_PUT(w, "\n],\n");
    free(list);
}

/* ---- segments ---- */

static bool is_listed(
    const struct mr_report *r, const struct mr_segment_count *c)
{
    return c->day == MR_SEGMENT_ALL_DAYS || is_shown(r, c->day);
}

/* The name of the attribute that users are told apart by. */
static struct mr_span attribute_of(
    const struct mr_report *r, const struct mr_segment_count *c)
{
    if (c->by == MR_SEGMENT_WHOLE)
        return (struct mr_span){NULL, 0};
    return mr_text_span(r->spec->segments_by[c->by - 1].name);
}

/* The value that a group stands for: behind its kind and its number. */
static struct mr_span value_of(
    const struct mr_report *r, const struct mr_segment_count *c)
{
    struct mr_span text;

    if (c->group == 0 || c->group > r->cells->n_figures)
        return (struct mr_span){NULL, 0};
    text = r->cells->figure[c->group - 1];
    return (struct mr_span){text.p + 2, text.n - 2};
}

static void format_day(const struct mr_segment_count *c, char out[MR_DAY_TEXT])
{
    out[0] = '\0';
    if (c->day != MR_SEGMENT_ALL_DAYS)
        mr_day_format(c->day, out);
}

enum mr_status mr_report_segments_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    char day[MR_DAY_TEXT];

    MR_PUT(&w, "segment,day,attribute,value,users,status\n");
    for (size_t i = 0; i < r->segments->n; i++) {
        const struct mr_segment_count *c = &r->segments->count[i];

        if (!is_listed(r, c))
            continue;
        format_day(c, day);
        mr_put_csv(&w, mr_text_span(r->spec->segment[c->segment].name));
        MR_PUT(&w, ",%s,", day);
        mr_put_csv(&w, attribute_of(r, c));
        MR_PUT(&w, ",");
        mr_put_csv(&w, value_of(r, c));
        MR_PUT(&w, ",%" PRIu64 ",%s\n", c->users, status_word(r));
    }
    return mr_writer_finish(&w);
}

static void put_json_segments(struct mr_writer *w, const struct mr_report *r)
{
    const char *between = "\n";
    char day[MR_DAY_TEXT];

    MR_PUT(w, "\"segments\": [");
    for (size_t i = 0; i < r->segments->n; i++) {
        const struct mr_segment_count *c = &r->segments->count[i];

        if (!is_listed(r, c))
            continue;
        MR_PUT(w, "%s  {\"segment\": ", between);
        mr_put_json(w, mr_text_span(r->spec->segment[c->segment].name));
        format_day(c, day);
        if (day[0] == '\0')
            MR_PUT(w, ", \"day\": null");
        else
            MR_PUT(w, ", \"day\": \"%s\"", day);
        if (c->by != MR_SEGMENT_WHOLE) {
            MR_PUT(w, ", \"attribute\": ");
            mr_put_json(w, attribute_of(r, c));
            MR_PUT(w, ", \"value\": ");
            if (c->group == 0)
                MR_PUT(w, "null");
            else
                mr_put_json(w, value_of(r, c));
        }
        MR_PUT(w, ", \"users\": %" PRIu64 "}", c->users);
        between = ",\n";
    }
    MR_PUT(w, "\n],\n");
}

void mr_report_put_kept(struct mr_writer *w, const struct mr_report *r)
{
    if (r->ids != NULL)
        put_json_duplicates(w, r);
    if (r->segments != NULL)
        put_json_segments(w, r);
}
