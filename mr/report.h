#ifndef MR_REPORT_H
#define MR_REPORT_H

#include "mr/covered.h"
#include "mr/kpi.h"

/*
 * KPIs and coverage as text: appended to a buffer, so that the caller decides
 * where it goes (a terminal, a file that is published whole).  All numbers of
 * CSV and JSON are plain decimal; estimates in CSV are rounded to whole users.
 * Text in CSV is quoted by RFC 4180 where needed, text in JSON escaped by RFC
 * 8259; names that are not valid UTF-8 show U+FFFD for each bad byte in JSON.
 */

struct mr_report {
    const struct mr_spec *spec;
    const struct mr_cells *cells;
    const struct mr_kpis *kpis;
    const struct mr_coverage *coverage; /* settled */
    const struct mr_coverage_totals *totals;
    uint64_t users;              /* distinct, over all days */
    uint64_t states;             /* state files merged */
    int32_t day_first, day_last; /* rows outside are left out */
    /* NULL: duplicates are not counted, there are no segments. */
    const struct mr_idset_index *ids;
    const struct mr_segment_counts *segments;
    /* NULL: there is no manifest.  Else the coverage has its failures. */
    const struct mr_covered *covered;
};

/*
 * Each function appends one report.  MR_NOMEM leaves out as it was.
 */

/**
 * The daily table for people: numbers aligned and without separators, '-'
 * where a figure is not defined, estimates marked; below it what was read and
 * rejected.  When partitions could not be read, PARTIAL stands above and
 * below everything, with the first ten of them.  Names are masked for a
 * terminal.  A table wider than width columns is parted into several, one
 * above the other; width 0: no limit.
 */
MR_MUST_CHECK enum mr_status mr_report_table(const struct mr_report *r,
    unsigned width, bool colour, struct mr_buffer *out);

/** daily.csv, daily_by_type.csv, partitions.csv, rejects.csv, kpis.json, as
 * docs/kpis.md describes them column by column. */
MR_MUST_CHECK enum mr_status mr_report_daily_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_daily_by_type_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_partitions_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_rejects_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_json(
    const struct mr_report *r, struct mr_buffer *out);

/** What is covered of a manifest, by day and type: coverage.csv; only with
 * covered. */
MR_MUST_CHECK enum mr_status mr_report_coverage_csv(
    const struct mr_report *r, struct mr_buffer *out);

/** Who came back, by first day: retention.csv; only with kpis->retained. */
MR_MUST_CHECK enum mr_status mr_report_retention_csv(
    const struct mr_report *r, struct mr_buffer *out);

/** What only some specs have: NAME.csv of a rollup; identity.csv, where users
 * have a chain of fields; unknown_users.csv, where there is a users table. */
MR_MUST_CHECK enum mr_status mr_report_rollup_csv(
    const struct mr_report *r, unsigned rollup, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_identity_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_unknown_users_csv(
    const struct mr_report *r, struct mr_buffer *out);
/** duplicates.csv and segments.csv, only of a report that has such. */
MR_MUST_CHECK enum mr_status mr_report_duplicates_csv(
    const struct mr_report *r, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_report_segments_csv(
    const struct mr_report *r, struct mr_buffer *out);

#endif
