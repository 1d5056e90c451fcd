#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* mr_reduce: states to KPIs, and to the files that hold them. */

#include "mr/mr.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/calendar.h"
#include "mr/claimed.h"
#include "mr/covered.h"
#include "mr/gather.h"
#include "mr/outputs.h"
#include "mr/publish.h"
#include "mr/report.h"
#include "mr/result.h"
#include "mr/statelist.h"
#include "mr/text.h"

struct reduction {
    const struct mr_reduce_options *options;
    const struct mr_observer *observer;
    struct mr_state_list list;
    struct mr_gathered gathered;
    struct mr_merge *merge;
    unsigned threads;
    struct mr_kpi_tally **tally;
    uint64_t users;
    struct mr_kpis kpis;
    struct mr_idset_index ids;
    struct mr_segment_counts segments;
    struct mr_coverage_totals totals;
    int32_t day_first, day_last;
    struct mr_manifest manifest;
    struct mr_covered covered;
    struct mr_claimed claimed;
    /* The merged head, which is not this one's: but for the failures, which
     * are those of covered where there is a manifest, and of claimed where
     * some of them are claimed. */
    struct mr_state_head shown;
};

static enum mr_status read_day(
    const char *text, int32_t otherwise, int32_t *day_out, struct mr_error *err)
{
    *day_out = otherwise;
    if (text == NULL || mr_day_parse(text, strlen(text), day_out))
        return MR_OK;
    return mr_fail(err, MR_USAGE, MR_NOWHERE,
        "write it as YYYY-MM-DD, or a range as YYYY-MM-DD..YYYY-MM-DD",
        "'%s' is no day", text);
}

static enum mr_status read_days(struct reduction *r, struct mr_error *err)
{
    enum mr_status status =
        read_day(r->options->day_first, INT32_MIN, &r->day_first, err);

    if (status == MR_OK)
        status = read_day(r->options->day_last, INT32_MAX, &r->day_last, err);
    if (status == MR_OK && r->day_first > r->day_last)
        status = mr_fail(err, MR_USAGE, MR_NOWHERE,
            "write the earlier day first", "'%s' is after '%s'",
            r->options->day_first, r->options->day_last);
    return status;
}

/* Find and open the states, and join their heads. */
static enum mr_status open_states(struct reduction *r, struct mr_error *err)
{
    struct mr_gather_options how = {.temporary = r->options->temporary != NULL
                                                     ? r->options->temporary
                                                     : ".",
        .threads = r->threads,
        .stop = r->observer->stop};
    struct mr_gathered *g = &r->gathered;
    enum mr_status status = mr_state_list_build(
        r->options->input, r->options->n_inputs, &r->list, err);

    if (status == MR_OK)
        status = mr_gather_open(r->list.path, r->list.n, &how, g, err);
    if (status == MR_OK)
        status = mr_merge_new(g->state, g->n, &r->merge, err);
    if (status == MR_OK)
        mr_merge_set_past(r->merge, &g->past);
    return status;
}

/* What the states cover of the manifest.  For all that is shown the rest is
 * failures; the merged state knows nothing of them. */
static enum mr_status compare_manifest(
    struct reduction *r, struct mr_error *err)
{
    enum mr_status status;

    r->shown = *mr_merge_head(r->merge);
    if (r->options->manifest == NULL)
        return MR_OK;
    status =
        mr_covered_compare(&r->shown.coverage, &r->manifest, &r->covered, err);
    r->shown.coverage.failure = r->covered.failure;
    r->shown.coverage.n_failures = r->covered.n_failures;
    return status;
}

/* Who has claimed what has not been read. */
static enum mr_status look_at_claims(struct reduction *r, struct mr_error *err)
{
    struct mr_digest spec;
    enum mr_status status;

    if (mr_spec_digest(r->shown.spec, &spec) != MR_OK)
        return mr_fail_nomem(err);
    status = mr_claimed_find(&r->shown.coverage, &spec, r->list.path, r->list.n,
        r->observer->note, r->observer->context, &r->claimed, err);
    if (r->claimed.failure != NULL)
        r->shown.coverage.failure = r->claimed.failure;
    return status;
}

static enum mr_status make_tallies(struct reduction *r, struct mr_error *err)
{
    const struct mr_kpi_extras extras = {
        .new_users = r->options->new_users,
        .rolling = r->options->rolling,
        .retention = r->options->retention,
    };
    enum mr_status status = MR_OK;

    r->tally = calloc(r->threads, sizeof(struct mr_kpi_tally *));
    if (r->tally == NULL)
        return mr_fail_nomem(err);
    for (unsigned i = 0; i < r->threads && status == MR_OK; i++) {
        status = mr_kpi_tally_new(mr_merge_cells(r->merge), &r->tally[i], err);
        if (status == MR_OK)
            status = mr_kpi_tally_extend(r->tally[i], &extras, err);
    }
    return status;
}

/* Finish a merged file with what is kept of ids and segments. */
static enum mr_status finish_file(struct reduction *r,
    struct mr_state_writer *writer, struct mr_result *result,
    struct mr_error *err)
{
    const struct mr_state_head *head = mr_merge_head(r->merge);
    struct mr_merged_kept kept;
    enum mr_status status = mr_merged_kept_open(r->merge, &kept, writer, err);

    if (status == MR_OK)
        status = mr_state_writer_finish(writer, head, result->path,
            sizeof(result->path), &result->state_bytes, err);
    else
        mr_state_writer_abort(writer);
    mr_merged_kept_free(&kept);
    return status;
}

/* Merge the users, into a file too if one is wanted. */
static enum mr_status merge_users(
    struct reduction *r, struct mr_result *result, struct mr_error *err)
{
    struct mr_state_writer *writer = NULL;
    enum mr_status status = MR_OK;

    if (r->options->merged != NULL)
        status = mr_state_writer_new(
            r->options->merged, mr_merge_head(r->merge)->spec, &writer, err);
    if (status != MR_OK)
        return status;
    status = mr_merge_run(r->merge, r->threads, r->tally, writer,
        r->observer->stop, &r->users, err);
    if (status == MR_OK && writer != NULL)
        return finish_file(r, writer, result, err);
    if (writer != NULL)
        mr_state_writer_abort(writer);
    return status;
}

static enum mr_status compute(struct reduction *r, struct mr_error *err)
{
    const struct mr_state_head *head = mr_merge_head(r->merge);
    enum mr_status status = MR_OK;
    const struct mr_hll *const *sketch =
        (const struct mr_hll *const *)head->sketch;

    for (unsigned i = 1; i < r->threads; i++)
        mr_kpi_tally_merge(r->tally[0], r->tally[i]);
    if (mr_coverage_sum(&r->shown.coverage, &r->totals) != MR_OK)
        return mr_fail_nomem(err);
    if (head->spec->max_ids > 0)
        status = mr_merge_count_ids(r->merge, &r->ids, err);
    if (status == MR_OK && head->spec->n_segments > 0)
        status = mr_merge_count_segments(r->merge, &r->segments, err);
    if (status != MR_OK)
        return status;
    return mr_kpis_compute(mr_merge_cells(r->merge), r->tally[0],
        &head->coverage, sketch, head->spec->sketch_bits, &r->kpis, err);
}

/* ---- output ---- */

typedef enum mr_status make_text(
    const struct mr_report *report, struct mr_buffer *out);

/* What decides whether there is a file. */
enum file_when {
    ALWAYS,
    WITH_IDENTITY,
    WITH_TABLE,
    WITH_DUPLICATES,
    WITH_SEGMENTS,
    WITH_RETENTION,
    WITH_MANIFEST
};

static const struct {
    const char *name;
    make_text *make;
    enum file_when when;
} files[] = {
    {"daily.csv", mr_report_daily_csv, ALWAYS},
    {"daily_by_type.csv", mr_report_daily_by_type_csv, ALWAYS},
    {"partitions.csv", mr_report_partitions_csv, ALWAYS},
    {"coverage.csv", mr_report_coverage_csv, WITH_MANIFEST},
    {"rejects.csv", mr_report_rejects_csv, ALWAYS},
    {"identity.csv", mr_report_identity_csv, WITH_IDENTITY},
    {"unknown_users.csv", mr_report_unknown_users_csv, WITH_TABLE},
    {"duplicates.csv", mr_report_duplicates_csv, WITH_DUPLICATES},
    {"segments.csv", mr_report_segments_csv, WITH_SEGMENTS},
    {"retention.csv", mr_report_retention_csv, WITH_RETENTION},
    {"kpis.json", mr_report_json, ALWAYS},
};

static bool is_wanted(const struct mr_report *report, enum file_when when)
{
    const struct mr_spec *spec = report->spec;

    return when == ALWAYS || (when == WITH_IDENTITY && spec->n_users > 1) ||
           (when == WITH_TABLE && spec->users_table.given) ||
           (when == WITH_DUPLICATES && spec->max_ids > 0) ||
           (when == WITH_SEGMENTS && spec->n_segments > 0) ||
           (when == WITH_MANIFEST && report->covered != NULL) ||
           (when == WITH_RETENTION && report->kpis->extras.retention > 0);
}

static enum mr_status write_rollups(
    const struct mr_report *report, const char *folder, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    struct mr_buffer text = {0};

    for (unsigned i = 0; i < report->spec->n_rollups && status == MR_OK; i++) {
        char name[MR_NAME_MAX_BYTES + 5];

        text.n = 0;
        snprintf(name, sizeof(name), "%s.csv", report->spec->rollup[i].name);
        if (mr_report_rollup_csv(report, i, &text) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK)
            status = mr_publish_bytes(folder, name, text.p, text.n, err);
    }
    mr_buffer_release(&text);
    return status;
}

static enum mr_status write_files(
    const struct mr_report *report, const char *folder, struct mr_error *err)
{
    enum mr_status status = mr_publish_folder(folder, err);
    struct mr_buffer text = {0};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        text.n = 0;
        if (!is_wanted(report, files[i].when))
            continue;
        if (status == MR_OK && files[i].make(report, &text) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK)
            status =
                mr_publish_bytes(folder, files[i].name, text.p, text.n, err);
    }
    mr_buffer_release(&text);
    return status == MR_OK ? write_rollups(report, folder, err) : status;
}

/* Whether a run writes a file of that name. */
static bool is_written(const struct mr_report *report, const char *name)
{
    size_t n = strlen(name) - 4;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strcmp(files[i].name, name) == 0)
            return is_wanted(report, files[i].when);
    for (unsigned i = 0; i < report->spec->n_rollups; i++)
        if (strlen(report->spec->rollup[i].name) == n &&
            memcmp(report->spec->rollup[i].name, name, n) == 0)
            return true;
    return false;
}

/* That a file of --output, by its name without the suffix and the suffix, is
 * not the manifest. */
static enum mr_status check_file(const struct reduction *r, const char *name,
    const char *suffix, struct mr_error *err)
{
    const struct mr_reduce_options *o = r->options;
    struct mr_buffer path = {0};
    enum mr_status status =
        mr_text_printf(&path, "%s/%s%s", o->output, name, suffix);

    if (status == MR_OK)
        status = mr_buffer_add(&path, "", 1);
    status = status == MR_OK ? mr_output_not_manifest((const char *)path.p,
                                   "the manifest or --output", o->manifest, err)
                             : mr_fail_nomem(err);
    mr_buffer_release(&path);
    return status;
}

/* That nothing that may be written is the manifest: it would be gone, and the
 * next run could not tell what is missing. */
static enum mr_status check_outputs(
    const struct reduction *r, struct mr_error *err)
{
    const struct mr_reduce_options *o = r->options;
    const struct mr_spec *spec = mr_merge_head(r->merge)->spec;
    enum mr_status status = MR_OK;

    if (o->manifest == NULL)
        return MR_OK;
    if (o->merged != NULL)
        status =
            mr_output_not_manifest(o->merged, "--merged", o->manifest, err);
    if (o->output == NULL)
        return status;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (status == MR_OK)
            status = check_file(r, files[i].name, "", err);
    for (unsigned i = 0; i < spec->n_rollups && status == MR_OK; i++)
        status = check_file(r, spec->rollup[i].name, ".csv", err);
    return status;
}

/* Whether a file in the folder of --output is the manifest. */
static bool is_manifest(const struct mr_reduce_options *o, const char *name)
{
    struct mr_buffer path = {0};
    bool is = o->manifest != NULL &&
              mr_text_printf(&path, "%s/%s", o->output, name) == MR_OK &&
              mr_buffer_add(&path, "", 1) == MR_OK &&
              mr_output_is((const char *)path.p, o->manifest);

    mr_buffer_release(&path);
    return is;
}

/* Tables of an earlier run, with other figures, that stand beside the new
 * ones: told, as nobody but their owner knows whether they are to go. */
static void note_older_files(
    const struct reduction *r, const struct mr_report *report)
{
    const char *folder = r->options->output;
    char first[sizeof(((struct dirent *)0)->d_name)] = "";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t n = 0;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (!mr_text_ends(entry->d_name, ".csv") ||
            is_written(report, entry->d_name) ||
            is_manifest(r->options, entry->d_name))
            continue;
        if (n++ == 0 || strcmp(entry->d_name, first) < 0)
            (void)snprintf(first, sizeof(first), "%s", entry->d_name);
    }
    (void)closedir(dir);
    if (n > 0)
        mr_note(r->observer,
            "'%s/%s'%s not of this run: remove what is of an earlier one",
            folder, first, n > 1 ? " and others there are" : " is");
}

static enum mr_status print(const struct reduction *r,
    const struct mr_report *report, const struct mr_sink *sink,
    struct mr_error *err)
{
    struct mr_buffer text = {0};
    enum mr_status status = MR_OK;
    int number;

    switch (r->options->format) {
    case MR_FORMAT_TABLE:
        status = mr_report_table(
            report, r->options->width, r->options->colour, &text);
        break;
    case MR_FORMAT_CSV:
        status = mr_report_daily_csv(report, &text);
        break;
    case MR_FORMAT_JSON:
        status = mr_report_json(report, &text);
        break;
    }
    if (status != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK) {
        number = sink->write(sink->context, text.p, text.n);
        if (number != 0)
            status = mr_fail_errno(err, number, "check where the output goes",
                "cannot write the table");
    }
    mr_buffer_release(&text);
    return status;
}

static bool has_no_row(const struct reduction *r)
{
    for (size_t i = 0; i < r->kpis.n_days; i++)
        if (r->kpis.day[i].day >= r->day_first &&
            r->kpis.day[i].day <= r->day_last)
            return false;
    return r->options->day_first != NULL;
}

/* The days asked for have no row: say which have. */
static void note_days(const struct reduction *r)
{
    const char *first = r->options->day_first, *last = r->options->day_last;
    const struct mr_cells *cells = mr_merge_cells(r->merge);
    bool one = last == NULL || strcmp(first, last) == 0;
    char from[MR_DAY_TEXT], to[MR_DAY_TEXT];

    if (cells->n_cells == 0) {
        mr_note(r->observer, "no row for %s%s%s; the states have no events",
            first, one ? "" : "..", one ? "" : last);
        return;
    }
    mr_day_format(cells->cell[0].day, from);
    mr_day_format(cells->cell[cells->n_cells - 1].day, to);
    mr_note(r->observer,
        "no row for %s%s%s; the states have events from %s to %s", first,
        one ? "" : "..", one ? "" : last, from, to);
}

/* Rollups that had more groups than are kept. */
static void note_further(const struct reduction *r)
{
    const struct mr_cells *cells = mr_merge_cells(r->merge);
    const struct mr_spec *spec = mr_merge_head(r->merge)->spec;

    for (size_t i = 0; i < cells->n_figures; i++) {
        const struct mr_span *text = &cells->figure[i];
        const struct mr_rollup *rollup;

        if (text->p[0] < MR_TEXT_ROLLUP || text->n > 1)
            continue;
        rollup = &spec->rollup[text->p[0] - MR_TEXT_ROLLUP];
        mr_note(r->observer,
            "rollup '%s' has more than %lu groups; the others, with %llu "
            "events, are counted as one: raise its max_groups and map again "
            "to tell them apart",
            rollup->name, (unsigned long)rollup->max_groups,
            (unsigned long long)r->kpis.figure[i].events);
    }
}

/* Partitions that the manifest does not have: they count all the same. */
static void note_unlisted(const struct reduction *r)
{
    const struct mr_covered *c = &r->covered;

    if (c->unlisted == 0)
        return;
    mr_note(r->observer,
        "%llu partition%s read that the manifest does not have, the first "
        "being '%s'%s; %s counted all the same: if that is not right, leave "
        "out the state that has %s, or plan again",
        (unsigned long long)c->unlisted, c->unlisted == 1 ? " was" : "s were",
        c->first_unlisted,
        c->has_archives ? " (members of archives may be among them)" : "",
        c->unlisted == 1 ? "it is" : "they are",
        c->unlisted == 1 ? "it" : "them");
}

/* Types that are named when they have holes. */
#define HOLES_NAMED 5

static enum mr_status note_hole(const struct reduction *r,
    const struct mr_holes *h, size_t i, struct mr_buffer *scratch)
{
    char first[MR_DAY_TEXT], last[MR_DAY_TEXT], day[MR_DAY_TEXT];
    struct mr_place place;

    if (mr_place_of(h->hole[i].name, scratch, &place) != MR_OK)
        return MR_NOMEM;
    mr_day_format(h->first_day, first);
    mr_day_format(h->last_day, last);
    mr_day_format(h->hole[i].day, day);
    mr_note(r->observer,
        "%s%.*s%s no partition of %llu of the %llu hours between %s %02u and "
        "%s %02u, by the folders' names, the first being %s %02u: is a file "
        "missing?",
        place.type.p != NULL ? "type '" : "the partitions have",
        (int)place.type.n, (const char *)place.type.p,
        place.type.p != NULL ? "' has" : "",
        (unsigned long long)h->hole[i].holes, (unsigned long long)h->hours,
        first, h->first_hour, last, h->last_hour, day, h->hole[i].hour);
    return MR_OK;
}

static enum mr_status note_holes(
    const struct reduction *r, struct mr_error *err)
{
    struct mr_buffer scratch = {0};
    struct mr_holes holes;
    enum mr_status status = mr_holes_find(&r->shown.coverage, &holes, err);

    for (size_t i = 0; i < holes.n && i < HOLES_NAMED && status == MR_OK; i++)
        if (note_hole(r, &holes, i, &scratch) != MR_OK)
            status = mr_fail_nomem(err);
    if (status == MR_OK && holes.n > HOLES_NAMED)
        mr_note(r->observer, "%zu more types have such holes",
            holes.n - HOLES_NAMED);
    mr_buffer_release(&scratch);
    mr_holes_release(&holes);
    return status;
}

/* Partitions that are missing although somebody began to read them. */
static void note_claimed(const struct reduction *r)
{
    const struct mr_claimed *c = &r->claimed;

    if (c->n_claimed > 0)
        mr_note(r->observer,
            "of the partitions that are missing %zu %s claimed, '%s' first: %s",
            c->n_claimed, c->n_claimed == 1 ? "is" : "are",
            c->failure[c->first].name, c->failure[c->first].cause);
}

/* What the one who reads the figures should know besides. */
static void remark(const struct reduction *r, const struct mr_result *result)
{
    const struct mr_totals *t = &result->totals;
    size_t superseded = r->gathered.n_superseded;

    if (superseded > 0)
        mr_note(r->observer,
            "%zu superseded state%s left out: others have all that %s; "
            "'mr inspect' tells which",
            superseded, superseded == 1 ? " is" : "s are",
            superseded == 1 ? "it has" : "they have");
    if (t->repeated > 0)
        mr_note(r->observer,
            "a partition was met again in another state %llu time%s; each "
            "counts once",
            (unsigned long long)t->repeated, mr_text_plural(t->repeated));
    if (t->renamed > 0)
        mr_note(r->observer,
            "%llu name%s for partitions of different bytes, all of which were "
            "counted; partitions.csv shows them: where one is a wrong version, "
            "remove it and map again",
            (unsigned long long)t->renamed,
            t->renamed == 1 ? " stands" : "s stand");
    note_unlisted(r);
    note_claimed(r);
    note_further(r);
    if (has_no_row(r))
        note_days(r);
}

static enum mr_status report(struct reduction *r, const struct mr_sink *sink,
    struct mr_result *result, struct mr_error *err)
{
    const struct mr_state_head *head = &r->shown;
    struct mr_report report = {.spec = head->spec,
        .cells = mr_merge_cells(r->merge),
        .kpis = &r->kpis,
        .coverage = &head->coverage,
        .covered = r->options->manifest != NULL ? &r->covered : NULL,
        .totals = &r->totals,
        .ids = head->spec->max_ids > 0 ? &r->ids : NULL,
        .segments = head->spec->n_segments > 0 ? &r->segments : NULL,
        .users = r->users,
        .states = r->list.n - r->gathered.n_superseded,
        .day_first = r->day_first,
        .day_last = r->day_last};
    enum mr_status status = MR_OK;

    if (mr_result_fill(result, head, r->users) != MR_OK)
        return mr_fail_nomem(err);
    result->totals.missing = r->covered.missing;
    result->totals.changed = r->covered.changed;
    remark(r, result);
    if (r->options->manifest == NULL)
        status = note_holes(r, err);
    if (status == MR_OK && r->options->output != NULL)
        status = write_files(&report, r->options->output, err);
    if (status == MR_OK && r->options->output != NULL)
        note_older_files(r, &report);
    return status != MR_OK ? status : print(r, &report, sink, err);
}

static void release(struct reduction *r)
{
    mr_claimed_release(&r->claimed);
    mr_covered_release(&r->covered);
    mr_manifest_release(&r->manifest);
    mr_kpis_release(&r->kpis);
    mr_idset_index_release(&r->ids);
    mr_segment_counts_release(&r->segments);
    for (unsigned i = 0; r->tally != NULL && i < r->threads; i++)
        mr_kpi_tally_free(r->tally[i]);
    free(r->tally);
    mr_merge_free(r->merge);
    mr_gather_release(&r->gathered);
    mr_state_list_release(&r->list);
}

enum mr_status mr_reduce(const struct mr_reduce_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err)
{
    struct reduction r = {.options = options, .observer = observer};
    double start = mr_clock();
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    r.threads = mr_threads(options->threads);
    status = read_days(&r, err);
    if (status == MR_OK && options->manifest != NULL)
        status = mr_manifest_read(options->manifest, &r.manifest, err);
    if (status == MR_OK)
        status = open_states(&r, err);
    if (status == MR_OK)
        status = check_outputs(&r, err);
    if (status == MR_OK)
        status = make_tallies(&r, err);
    if (status == MR_OK)
        status = merge_users(&r, result_out, err);
    if (status == MR_OK)
        status = compare_manifest(&r, err);
    if (status == MR_OK)
        status = look_at_claims(&r, err);
    if (status == MR_OK)
        status = compute(&r, err);
    if (status == MR_OK)
        status = report(&r, sink, result_out, err);
    release(&r);
    result_out->seconds = mr_clock() - start;
    return status;
}
