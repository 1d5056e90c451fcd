#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Reports of what is covered of a manifest. */

#include "mr/report_private.h"

#include <inttypes.h>

#include "mr/calendar.h"

/* Most days and types that the table names; coverage.csv has them all. */
#define ROWS_SHOWN 10

static bool is_whole(const struct mr_place_row *row)
{
    return row->covered == row->partitions;
}

/* The share of bytes in tenths of a percent, cut off, so that 100.0 is all. */
static unsigned permille(const struct mr_place_row *row)
{
    uint64_t part = row->covered_bytes, all = row->bytes;

    if (part == all)
        return is_whole(row) ? 1000 : 999;
    if (all > UINT64_MAX / 1000) {
        part /= 1024;
        all /= 1024;
    }
    return (unsigned)(part * 1000 / all);
}

static void format_day(const struct mr_place_row *row, char out[MR_DAY_TEXT])
{
    out[0] = '-';
    out[1] = '\0';
    if (row->has_day)
        mr_day_format(row->day, out);
}

static struct mr_span type_of(const struct mr_place_row *row)
{
    return row->type.p != NULL ? row->type : mr_text_span("-");
}

enum mr_status mr_report_coverage_csv(
    const struct mr_report *r, struct mr_buffer *out)
{
    const struct mr_places *places = &r->covered->places;
    struct mr_writer w = mr_writer_begin(out);
    char day[MR_DAY_TEXT];

    MR_PUT(&w, "day,type,partitions,partitions_read,bytes,bytes_read,status\n");
    for (size_t i = 0; i < places->n; i++) {
        const struct mr_place_row *row = &places->row[i];

        format_day(row, day);
        MR_PUT(&w, "%s,", day);
        mr_put_csv(&w, type_of(row));
        MR_PUT(&w, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s\n",
            row->partitions, row->covered, row->bytes, row->covered_bytes,
            is_whole(row) ? "complete" : "partial");
    }
    return mr_writer_finish(&w);
}

static void put_json_row(struct mr_writer *w, const struct mr_place_row *row)
{
    MR_PUT(w,
        "\"partitions\": %" PRIu64 ", \"partitions_read\": %" PRIu64
        ", \"bytes\": %" PRIu64 ", \"bytes_read\": %" PRIu64,
        row->partitions, row->covered, row->bytes, row->covered_bytes);
}

void mr_report_put_covered_json(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_covered *c = r->covered;
    char day[MR_DAY_TEXT];

    if (c == NULL)
        return;
    MR_PUT(w, "  \"manifest\": {");
    put_json_row(w, &c->total);
    MR_PUT(w,
        ",\n    \"missing\": %" PRIu64 ", \"changed\": %" PRIu64
        ", \"not_in_manifest\": %" PRIu64 ",\n    \"days_and_types\": [",
        c->missing, c->changed, c->unlisted);
    for (size_t i = 0; i < c->places.n; i++) {
        const struct mr_place_row *row = &c->places.row[i];

        format_day(row, day);
        MR_PUT(w, "%s      {\"day\": ", i > 0 ? ",\n" : "\n");
        if (row->has_day)
            MR_PUT(w, "\"%s\", \"type\": ", day);
        else
            MR_PUT(w, "null, \"type\": ");
        if (row->type.p != NULL)
            mr_put_json(w, row->type);
        else
            MR_PUT(w, "null");
        MR_PUT(w, ", ");
        put_json_row(w, row);
        MR_PUT(
            w, ", \"status\": \"%s\"}", is_whole(row) ? "complete" : "partial");
    }
    MR_PUT(w, "%s]},\n", c->places.n > 0 ? "\n    " : "");
}

static void put_share(struct mr_writer *w, const struct mr_place_row *row)
{
    unsigned share = permille(row);

    MR_PUT(w,
        "%" PRIu64 " of %" PRIu64 " partition%s, %u.%u%% of %" PRIu64
        " bytes\n",
        row->covered, row->partitions, mr_text_plural(row->partitions),
        share / 10, share % 10, row->bytes);
}

void mr_report_put_covered(struct mr_writer *w, const struct mr_report *r)
{
    const struct mr_covered *c = r->covered;
    char day[MR_DAY_TEXT];
    size_t n = 0;

    if (c == NULL)
        return;
    MR_PUT(w, "manifest    ");
    put_share(w, &c->total);
    for (size_t i = 0; i < c->places.n; i++) {
        const struct mr_place_row *row = &c->places.row[i];

        if (is_whole(row) || n++ >= ROWS_SHOWN)
            continue;
        format_day(row, day);
        MR_PUT(w, "covered     %s ", day);
        mr_put_masked(w, type_of(row));
        MR_PUT(w, ": ");
        put_share(w, row);
    }
    if (n > ROWS_SHOWN)
        MR_PUT(w,
            "covered     %zu more days and types in part; coverage.csv lists "
            "all\n",
            n - ROWS_SHOWN);
}

/* A sentence that nobody may overlook. */
static void put_warning(struct mr_writer *w, bool colour, uint64_t n,
    const char *one, const char *many)
{
    if (n == 0)
        return;
    MR_PUT(w, "%sPARTIAL: %" PRIu64 " partition%s%s\n",
        colour ? "\033[1;31m" : "", n, n == 1 ? one : many,
        colour ? "\033[0m" : "");
}

void mr_report_put_partial(
    struct mr_writer *w, const struct mr_report *r, bool colour)
{
    const struct mr_covered *c = r->covered;
    uint64_t missing = c != NULL ? c->missing : 0;
    uint64_t changed = c != NULL ? c->changed : 0, pending = 0;

    for (size_t i = 0; i < r->coverage->n_failures; i++)
        pending += mr_cause_is(r->coverage->failure[i].cause, MR_CAUSE_PENDING);
    put_warning(w, colour,
        r->coverage->n_failures - pending - missing - changed,
        " could not be read and counts in no figure",
        "s could not be read and count in no figure");
    put_warning(w, colour, pending,
        " has not been read yet and counts in no figure",
        "s have not been read yet and count in no figure");
    put_warning(w, colour, missing,
        " of the manifest is in no state and counts in no figure",
        "s of the manifest are in no state and count in no figure");
    put_warning(w, colour, changed, " is not as large as in the manifest",
        "s are not as large as in the manifest");
}
