#ifndef MR_REPORT_PRIVATE_H
#define MR_REPORT_PRIVATE_H

#include "mr/report.h"
#include "mr/writer.h"

/* What the units of reports share. */

static inline bool is_partial(const struct mr_report *r)
{
    return r->coverage->n_failures > 0;
}

static inline const char *status_word(const struct mr_report *r)
{
    return is_partial(r) ? "partial" : "complete";
}

static inline bool is_shown(const struct mr_report *r, int32_t day)
{
    return day >= r->day_first && day <= r->day_last;
}

/* Room for a figure, which has up to 20 digits, or for a column's title. */
#define FIGURE_TEXT 32

/* The most columns of figures in a table: users, and how many came back. */
#define GRID_COLUMNS (1 + MR_KPI_RETENTION_MAX)

/* A table for people, of figures by day. */
struct grid {
    const char *head; /* above the days */
    size_t n_rows, n_columns;
    size_t first_part; /* columns of a table that is too wide; 0: no matter */
    int32_t (*day)(const struct mr_report *r, size_t row);
    void (*title)(
        const struct mr_report *r, size_t column, char out[FIGURE_TEXT]);
    void (*cell)(const struct mr_report *r, size_t row, size_t column,
        char out[FIGURE_TEXT]);
};

/** Append a table with the rows of the days asked for: one table where it
 * fits into width columns (0: no limit), else several, one above the other
 * (report_grid.c). */
void mr_report_put_grid(struct mr_writer *w, const struct mr_report *r,
    const struct grid *grid, size_t width);

/** Append, where it is asked for, who came back: for the table, with an empty
 * line before it; as a member of kpis.json, with a comma and a line's end
 * behind it (report_retention.c). */
void mr_report_put_retention(
    struct mr_writer *w, const struct mr_report *r, size_t width);
void mr_report_put_retention_json(
    struct mr_writer *w, const struct mr_report *r);

/** Append what is covered of the manifest, where there is one: for the table,
 * with no more than ten days and types that are not; as a member of coverage in
 * kpis.json; and, in a sentence each, why a result is partial, for the table
 * (report_coverage.c). */
void mr_report_put_covered(struct mr_writer *w, const struct mr_report *r);
void mr_report_put_covered_json(struct mr_writer *w, const struct mr_report *r);
void mr_report_put_partial(
    struct mr_writer *w, const struct mr_report *r, bool colour);

/** Append the members of kpis.json that only some specs have, each with a
 * comma and a line's end behind it (report_figures.c). */
void mr_report_put_figures(struct mr_writer *w, const struct mr_report *r);
/** The same of duplicates and segments (report_kept.c). */
void mr_report_put_kept(struct mr_writer *w, const struct mr_report *r);

#endif
