#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Reports of who came back, by first day. */

#include "mr/report_private.h"

#include <inttypes.h>
#include <stdio.h>

#include "mr/calendar.h"

/* How many of the users of a first day were there k days later. */
static uint64_t retained(const struct mr_report *r, size_t row, size_t k)
{
    size_t columns = (size_t)r->kpis->extras.retention + 1;

    return r->kpis->retained[row * columns + k];
}

/* Write that, or what stands for it beyond the last loaded day. */
static void format_retained(const struct mr_report *r, size_t row, size_t k,
    const char *undefined, char out[FIGURE_TEXT])
{
    uint64_t users = retained(r, row, k);

    if (users == MR_KPI_UNDEFINED)
        snprintf(out, FIGURE_TEXT, "%s", undefined);
    else
        snprintf(out, FIGURE_TEXT, "%" PRIu64, users);
}

enum mr_status mr_report_retention_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    struct mr_writer w = mr_writer_begin(out);
    char text[FIGURE_TEXT], day[MR_DAY_TEXT];

    MR_PUT(&w, "first_day,users");
    for (unsigned k = 0; k <= r->kpis->extras.retention; k++)
        MR_PUT(&w, ",day_%u", k);
    MR_PUT(&w, ",status\n");
    for (size_t i = 0; i < r->kpis->n_first_days; i++) {
        if (!is_shown(r, r->kpis->first_day[i]))
            continue;
        mr_day_format(r->kpis->first_day[i], day);
        MR_PUT(&w, "%s,%" PRIu64, day, retained(r, i, 0));
        for (unsigned k = 0; k <= r->kpis->extras.retention; k++) {
            format_retained(r, i, k, "", text);
            MR_PUT(&w, ",%s", text);
        }
        MR_PUT(&w, ",%s\n", status_word(r));
    }
    return mr_writer_finish(&w);
}

void mr_report_put_retention_json(
    struct mr_writer *w, const struct mr_report *r)
{
    char text[FIGURE_TEXT], day[MR_DAY_TEXT];
    const char *between = "\n";

    if (r->kpis->extras.retention == 0)
        return;
    MR_PUT(w, "\"retention\": [");
    for (size_t i = 0; i < r->kpis->n_first_days; i++) {
        if (!is_shown(r, r->kpis->first_day[i]))
            continue;
        mr_day_format(r->kpis->first_day[i], day);
        MR_PUT(w, "%s  {\"first_day\": \"%s\", \"users\": %" PRIu64, between,
            day, retained(r, i, 0));
        for (unsigned k = 0; k <= r->kpis->extras.retention; k++) {
            format_retained(r, i, k, "null", text);
            MR_PUT(w, ", \"day_%u\": %s", k, text);
        }
        MR_PUT(w, "}");
        between = ",\n";
    }
    MR_PUT(w, "\n],\n");
}

/* ---- the table: users, and then from the first day after on ---- */

static int32_t first_day(const struct mr_report *r, size_t row)
{
    return r->kpis->first_day[row];
}

static void title(
    const struct mr_report *r, size_t column, char out[FIGURE_TEXT])
{
    (void)r;
    if (column == 0)
        snprintf(out, FIGURE_TEXT, "users");
    else
        snprintf(out, FIGURE_TEXT, "day %zu", column);
}

static void cell(
    const struct mr_report *r, size_t row, size_t column, char out[FIGURE_TEXT])
{
    format_retained(r, row, column, "-", out);
}

void mr_report_put_retention(
    struct mr_writer *w, const struct mr_report *r, size_t width)
{
    const struct grid grid = {.head = "first day",
        .n_rows = r->kpis->n_first_days,
        .n_columns = (size_t)r->kpis->extras.retention + 1,
        .day = first_day,
        .title = title,
        .cell = cell};

    if (r->kpis->extras.retention == 0)
        return;
    MR_PUT(w, "\n");
    mr_report_put_grid(w, r, &grid, width);
}
