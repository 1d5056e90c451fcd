#ifndef MR_KPI_H
#define MR_KPI_H

#include "mr/state.h"
#include "mr/zone.h"

/*
 * The KPIs of docs/kpis.md, counted from blocks of users.  Every user stands
 * in exactly one block, so counts of blocks add up, and blocks can be
 * counted by several threads, each with a tally of its own.
 */

/** The tables that cell numbers refer to; not owned. */
struct mr_cells {
    const struct mr_span *type; /* ascending in byte order */
    size_t n_types;
    const struct mr_cell *cell; /* ascending by day, then type */
    size_t n_cells;
    /* Figures (mr/types.h), ascending; figure i has cell number n_cells + i. */
    const struct mr_span *figure;
    size_t n_figures;
    const struct mr_zone *zone; /* of days; NULL: UTC */
    /* With a users table: its users, who are all known. */
    bool has_table;
    uint64_t n_table_users;
};

/** mr_kpi_zone(spec, zone, err): The zone of a state's days, the caller's to
 * free; NULL for UTC.  The errors of mr_zone_load; MR_MISMATCH when this
 * system knows other changes of the clock than where the state was made. */
MR_MUST_CHECK enum mr_status mr_kpi_zone(const struct mr_spec *spec,
    struct mr_zone **zone_out, struct mr_error *err);

/** mr_cells_of(head, zone): Those of a state, or of a merge. */
struct mr_cells mr_cells_of(
    const struct mr_state_head *head, const struct mr_zone *zone);

struct mr_kpi_tally;

/** mr_kpi_tally_new(cells, tally, err): An empty tally.  cells must outlive
 * it.  Memory: 24 KiB and a few words per cell and per day from the first
 * to the last. */
MR_MUST_CHECK enum mr_status mr_kpi_tally_new(const struct mr_cells *cells,
    struct mr_kpi_tally **tally_out, struct mr_error *err);
void mr_kpi_tally_free(struct mr_kpi_tally *tally);

/** What is counted only when it is asked for; all zero asks for nothing. */
struct mr_kpi_extras {
    bool new_users; /* on their first loaded day */
    bool rolling;   /* users of 7 and of 28 days, and stickiness */
    /* N: users who came back k days after their first, k = 1 to N; 0: none */
    unsigned retention;
};
#define MR_KPI_RETENTION_MAX 366
#define MR_KPI_WEEK 7
#define MR_KPI_MONTH 28

/** mr_kpi_tally_extend(tally, extras, err): Count these, too; once, before
 * the first block, and the same in all tallies that are merged.  Memory:
 * rolling 256 KiB, and 224 bytes a day with events; retention 256 KiB, and
 * 8 (N + 1) bytes a day with events.  MR_USAGE when N is too large. */
MR_MUST_CHECK enum mr_status mr_kpi_tally_extend(struct mr_kpi_tally *tally,
    const struct mr_kpi_extras *extras, struct mr_error *err);

/** mr_kpi_tally_block(tally, block): Count the users of a block.  Allocates
 * nothing. */
void mr_kpi_tally_block(
    struct mr_kpi_tally *tally, const struct mr_user_block *block);

/**
 * The same in pieces, for a block that never is in one place: between begin
 * and end, each of its sets in ascending order of cells, no cell twice; and
 * n of its sessions at a time, in any order, which are counted on the day of
 * their start (ends do not matter).
 */
void mr_kpi_tally_begin(struct mr_kpi_tally *tally);
void mr_kpi_tally_set(
    struct mr_kpi_tally *tally, const struct mr_user_set *set);
void mr_kpi_tally_end(struct mr_kpi_tally *tally);
void mr_kpi_tally_intervals(
    struct mr_kpi_tally *tally, const struct mr_interval *interval, size_t n);

/** mr_kpi_tally_merge(into, from): Add up two tallies over the same cells. */
void mr_kpi_tally_merge(
    struct mr_kpi_tally *into, const struct mr_kpi_tally *from);

/** What an exact figure is where it is not defined: no count of users. */
#define MR_KPI_UNDEFINED UINT64_MAX

/** A day's row; the four fields from active on only with has_before, those
 * from new_users on only when asked for. */
struct mr_kpi_day {
    int32_t day;
    bool has_before; /* not the first loaded day */
    uint64_t events, events_without_user, users;
    double users_estimate;
    uint64_t active, inactive, churned, reactivated;
    uint64_t sessions;
    /* MR_KPI_UNDEFINED on the first loaded day; where the window begins
     * before it; where nobody is in the window. */
    uint64_t new_users;
    uint64_t users_7d, users_28d;
    uint64_t stickiness; /* users / users_28d, in millionths */
};

struct mr_kpi_day_type {
    int32_t day;
    uint32_t type;
    uint64_t events, users;
    double users_estimate;
};

struct mr_kpi_figure {
    uint64_t events, users;
    double users_estimate;
};

struct mr_kpis {
    struct mr_kpi_figure *figure; /* of each */
    size_t n_figures;
    struct mr_kpi_day *day; /* ascending; the rows the contract asks for */
    size_t n_days;
    struct mr_kpi_day_type *day_type; /* ascending by day, then type */
    size_t n_day_types;
    double users_estimate_error; /* standard error, a share: 0.0081 */
    struct mr_kpi_extras extras; /* what was asked for */
    /* With retention N: the days with events but the first of them, and for
     * each N + 1 numbers: how many of the users whose first day it is were
     * there k days later; MR_KPI_UNDEFINED beyond the last day with events. */
    int32_t *first_day;
    uint64_t *retained;
    size_t n_first_days;
};

/**
 * mr_kpis_compute(cells, tally, coverage, sketch, kpis, err): Put the rows
 * together.  sketch[i] is the sketch of cell number i, or NULL where it had no
 * user; a day's estimate comes from the union of its cells' sketches.  Release
 * with mr_kpis_release, also after a failure.
 */
MR_MUST_CHECK enum mr_status mr_kpis_compute(const struct mr_cells *cells,
    const struct mr_kpi_tally *tally, const struct mr_coverage *coverage,
    const struct mr_hll *const *sketch, unsigned sketch_bits,
    struct mr_kpis *kpis_out, struct mr_error *err);
void mr_kpis_release(struct mr_kpis *kpis);

#endif
