#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Tables for people. */

#include "mr/report_private.h"

#include "mr/calendar.h"

/* How wide each column must be. */
static void measure(const struct mr_report *r, const struct grid *grid,
    size_t width[GRID_COLUMNS])
{
    char text[FIGURE_TEXT];

    for (size_t c = 0; c < grid->n_columns; c++) {
        grid->title(r, c, text);
        width[c] = strlen(text);
    }
    for (size_t i = 0; i < grid->n_rows; i++) {
        if (!is_shown(r, grid->day(r, i)))
            continue;
        for (size_t c = 0; c < grid->n_columns; c++) {
            grid->cell(r, i, c, text);
            if (strlen(text) > width[c])
                width[c] = strlen(text);
        }
    }
}

/* Print the columns from first up to, and without, end. */
static void put_part(struct mr_writer *w, const struct mr_report *r,
    const struct grid *grid, const size_t width[GRID_COLUMNS], size_t first,
    size_t end)
{
    char text[FIGURE_TEXT], day[MR_DAY_TEXT];

    MR_PUT(w, "%-*s", MR_DAY_TEXT - 1, grid->head);
    for (size_t c = first; c < end; c++) {
        grid->title(r, c, text);
        MR_PUT(w, "  %*s", (int)width[c], text);
    }
    MR_PUT(w, "\n");
    for (size_t i = 0; i < grid->n_rows; i++) {
        if (!is_shown(r, grid->day(r, i)))
            continue;
        mr_day_format(grid->day(r, i), day);
        MR_PUT(w, "%s", day);
        for (size_t c = first; c < end; c++) {
            grid->cell(r, i, c, text);
            MR_PUT(w, "  %*s", (int)width[c], text);
        }
        MR_PUT(w, "\n");
    }
}

void mr_report_put_grid(struct mr_writer *w, const struct mr_report *r,
    const struct grid *grid, size_t width)
{
    size_t column[GRID_COLUMNS], whole = MR_DAY_TEXT - 1, first = 0, end;

    measure(r, grid, column);
    for (size_t c = 0; c < grid->n_columns; c++)
        whole += 2 + column[c];
    while (first < grid->n_columns) {
        size_t used = MR_DAY_TEXT - 1 + 2 + column[first];

        for (end = first + 1; end < grid->n_columns; end++) {
            if (width == 0 || whole <= width)
                continue;
            used += 2 + column[end];
            if (used > width || end == grid->first_part)
                break;
        }
        if (first > 0)
            MR_PUT(w, "\n");
        put_part(w, r, grid, column, first, end);
        first = end;
    }
}
