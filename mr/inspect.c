#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_inspect: each state is read to its last byte, checked and described by
 * itself, never merged.  A damaged one does not hide the others: it is named
 * in its place, and its error is returned in the end.  Before that the heads
 * of all are read, to tell which are superseded.
 */

#include "mr/mr.h"

#include <inttypes.h>
#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/kpi.h"
#include "mr/result.h"
#include "mr/source.h"
#include "mr/state.h"
#include "mr/statelist.h"
#include "mr/superseded.h"
#include "mr/writer.h"

/* The version of the JSON's form; members are only ever added. */
#define SCHEMA 1

/* A state, and what has been counted in it. */
struct subject {
    struct mr_state *state;
    const struct mr_state_head *head;
    struct mr_coverage_totals totals;
    struct mr_zone *zone;
    struct mr_cells cells;
    struct mr_kpi_tally *tally;
    struct mr_kpis kpis;
    uint64_t users, members, intervals;
    uint64_t n_days; /* with events */
    char digest[MR_DIGEST_TEXT];
    const char *name_verdict;  /* "agrees", "differs", "other" */
    const char *superseded_by; /* a path, or NULL */
    bool is_lake, colour;
};

/* Reading. */

static enum mr_status read_blocks(
    struct subject *s, const atomic_int *stop, struct mr_error *err)
{
    struct mr_unpacker *u = NULL;
    struct mr_user_block block;
    enum mr_status status;
    size_t i;

    if (mr_unpacker_new(&u) != MR_OK)
        return mr_fail_nomem(err);
    status = mr_kpi_tally_new(&s->cells, &s->tally, err);
    for (i = 0; status == MR_OK && i < mr_state_n_blocks(s->state); i++) {
        const struct mr_block_info *info = mr_state_block_info(s->state, i);

        if (stop && *stop) {
            status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
            break;
        }
        status = mr_state_block(s->state, i, u, &block, err);
        if (status != MR_OK)
            break;
        mr_kpi_tally_block(s->tally, &block);
        s->users += info->n_users;
        s->members += info->n_members;
        s->intervals += info->n_intervals;
    }
    mr_unpacker_free(u);
    return status;
}

/* Read what is kept of ids and users' numbers of events: it is checked by
 * being read. */
static enum mr_status read_kept(struct subject *s, struct mr_error *err)
{
    const struct mr_segment_entry *entry;
    struct mr_segment_stream *segments = NULL;
    struct mr_id_stream *ids = NULL;
    struct mr_idset_index index = {.n_days = 0};
    enum mr_status status = MR_OK;
    size_t n = 1;

    if (s->head->spec->max_ids > 0) {
        status = mr_state_ids(s->state, &ids, err);
        if (status == MR_OK)
            status = mr_idset_write(ids, NULL, NULL, &index, err);
    }
    if (status == MR_OK && s->head->spec->n_segments > 0)
        status = mr_state_segments(s->state, &segments, err);
    while (status == MR_OK && segments && n > 0)
        status = mr_segment_stream_next(segments, &entry, &n, err);
    mr_idset_index_release(&index);
    mr_id_stream_free(ids);
    mr_segment_stream_free(segments);
    return status;
}

/* Compare the file's name with its content; "other" is no such name. */
static const char *judge_name(const char *path, const char *digest)
{
    const char *name = mr_text_last(path);
    size_t n = MR_DIGEST_TEXT - 1;

    if (strspn(name, "0123456789abcdef") != n ||
        strcmp(name + n, MR_STATE_SUFFIX) != 0)
        return "other";
    return memcmp(name, digest, n) == 0 ? "agrees" : "differs";
}

/* Whether a spec is the built-in one that is the default. */
static enum mr_status compare_lake(const struct mr_spec *spec, bool *is_lake)
{
    struct mr_spec *lake = malloc(sizeof(*lake));
    struct mr_buffer difference = {0};
    enum mr_status status = lake == NULL ? MR_NOMEM : MR_OK;

    if (status == MR_OK)
        status = mr_spec_builtin("lake", lake, NULL);
    if (status == MR_OK)
        status = mr_spec_difference(lake, spec, &difference);
    *is_lake = difference.n == 0;
    mr_buffer_release(&difference);
    free(lake);
    return status;
}

static enum mr_status read_subject(struct subject *s, const char *path,
    const atomic_int *stop, struct mr_error *err)
{
    struct mr_digest digest;
    enum mr_status status;
    size_t i;

    status = mr_state_open(path, &s->state, err);
    if (status != MR_OK)
        return status;
    s->head = mr_state_get_head(s->state);
    status = mr_kpi_zone(s->head->spec, &s->zone, err);
    if (status != MR_OK)
        return status;
    s->cells = mr_cells_of(s->head, s->zone);
    digest = mr_state_name_digest(s->state);
    mr_digest_format(&digest, s->digest);
    s->name_verdict = judge_name(path, s->digest);
    status = read_blocks(s, stop, err);
    if (status == MR_OK)
        status = read_kept(s, err);
    if (status != MR_OK)
        return status;
    if (mr_coverage_sum(&s->head->coverage, &s->totals) != MR_OK ||
        compare_lake(s->head->spec, &s->is_lake) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_kpis_compute(&s->cells, s->tally, &s->head->coverage,
            (const struct mr_hll *const *)s->head->sketch,
            s->head->spec->sketch_bits, &s->kpis, err);
    for (i = 0; status == MR_OK && i < s->kpis.n_days; i++)
        s->n_days += s->kpis.day[i].events > 0;
    return status;
}

static void release_subject(struct subject *s)
{
    mr_kpis_release(&s->kpis);
    mr_kpi_tally_free(s->tally);
    mr_state_close(s->state);
    mr_zone_free(s->zone);
}

/* A chunk's share of the file in tenths of a percent. */
static unsigned permille(const struct subject *s, uint64_t bytes)
{
    return (unsigned)((double)bytes * 1000 / (double)mr_state_bytes(s->state) +
                      0.5);
}

/* The number of cells, and so of types, of a day; days are asked for in
 * ascending order, and *next is where the one before ended. */
static size_t types_of_day(const struct subject *s, int32_t day, size_t *next)
{
    size_t first = *next;

    while (*next < s->head->n_cells && s->head->cell[*next].day == day)
        ++*next;
    return *next - first;
}

/* The table. */

static void table_title(
    struct mr_writer *w, const char *path, const char *verdict, bool colour)
{
    MR_PUT(w, "%s", colour ? "\033[1m" : "");
    mr_put_masked(w, mr_text_span(path));
    MR_PUT(w, "%s%s\n", verdict, colour ? "\033[0m" : "");
}

static void table_spec(struct mr_writer *w, const struct subject *s)
{
    struct mr_buffer text = {0};
    size_t i, start = 0;

    if (s->is_lake) {
        MR_PUT(w, "  spec        lake (built-in)\n");
        return;
    }
    if (w->status == MR_OK)
        w->status = mr_spec_text(s->head->spec, &text);
    for (i = 0; i < text.n; i++) {
        if (text.p[i] != '\n')
            continue;
        MR_PUT(w, "  %-10s  ", start == 0 ? "spec" : "");
        mr_put_masked(w, (struct mr_span){text.p + start, i - start});
        MR_PUT(w, "\n");
        start = i + 1;
    }
    mr_buffer_release(&text);
}

static void table_counts(struct mr_writer *w, const struct subject *s)
{
    const struct mr_coverage_totals *t = &s->totals;
    const struct mr_kpis *k = &s->kpis;
    char first[MR_DAY_TEXT], last[MR_DAY_TEXT];

    if (k->n_days > 0) {
        mr_day_format(k->day[0].day, first);
        mr_day_format(k->day[k->n_days - 1].day, last);
        MR_PUT(
            w, "  days        %" PRIu64 ", %s to %s\n", s->n_days, first, last);
    }
    MR_PUT(w, "  types       %zu\n", s->head->n_types);
    MR_PUT(w,
        "  partitions  %" PRIu64 " read, %" PRIu64 " bytes stored, %" PRIu64
        " unpacked; %" PRIu64 " failed\n",
        t->partitions, t->stored_bytes, t->text_bytes, t->failures);
    MR_PUT(w,
        "  lines       %" PRIu64 " = %" PRIu64 " event%s + %" PRIu64
        " rejected + %" PRIu64 " blank\n",
        t->lines, t->events, mr_text_plural(t->events), t->rejected, t->blank);
    MR_PUT(w,
        "  events      %" PRIu64 " without user, %" PRIu64
        " of another day and %" PRIu64 " of another type than their folder\n",
        t->events_without_user, t->other_day, t->other_type);
    MR_PUT(w,
        "  users       %" PRIu64 ", %" PRIu64 " membership%s, %" PRIu64
        " session%s\n",
        s->users, s->members, mr_text_plural(s->members), s->intervals,
        mr_text_plural(s->intervals));
    if (t->renamed > 0)
        MR_PUT(w, "  names       %" PRIu64 " %s for two or more contents\n",
            t->renamed, t->renamed == 1 ? "stands" : "stand");
}

static void table_failures(struct mr_writer *w, const struct subject *s)
{
    const struct mr_coverage *c = &s->head->coverage;
    size_t i;

    if (c->n_failures > 0)
        MR_PUT(w, "\n  %sPARTIAL%s: could not be read\n",
            s->colour ? "\033[31m" : "", s->colour ? "\033[0m" : "");
    for (i = 0; i < c->n_failures; i++) {
        MR_PUT(w, "    ");
        mr_put_masked(w, mr_text_span(c->failure[i].name));
        if (c->failure[i].offset != MR_NOWHERE)
            MR_PUT(w, " at byte %" PRIu64, c->failure[i].offset);
        MR_PUT(w, ": ");
        mr_put_masked(w, mr_text_span(c->failure[i].cause));
        MR_PUT(w, "\n");
    }
}

static void table_rejects(struct mr_writer *w, const struct subject *s)
{
    struct mr_reason reason[MR_REASON_COUNT];
    size_t n = mr_spec_reasons(s->head->spec, s->totals.reason, reason);

    for (size_t i = 0; i < n; i++) {
        MR_PUT(w, "  rejected    %" PRIu64 " ", reason[i].lines);
        mr_put_masked(w, mr_text_span(reason[i].text));
        MR_PUT(w, "\n");
    }
}

static void table_days(struct mr_writer *w, const struct subject *s)
{
    char day[MR_DAY_TEXT];
    size_t i, cell = 0;

    MR_PUT(w, "\n  %-10s  %7s  %12s  %12s  %10s  %10s\n", "day", "types",
        "events", "without user", "users", "sessions");
    for (i = 0; i < s->kpis.n_days; i++) {
        const struct mr_kpi_day *d = &s->kpis.day[i];

        if (d->events == 0)
            continue;
        mr_day_format(d->day, day);
        MR_PUT(w,
            "  %s  %7zu  %12" PRIu64 "  %12" PRIu64 "  %10" PRIu64
            "  %10" PRIu64 "\n",
            day, types_of_day(s, d->day, &cell), d->events,
            d->events_without_user, d->users, d->sessions);
    }
}

static void table_chunks(struct mr_writer *w, const struct subject *s)
{
    const struct mr_state_chunk *chunk;
    size_t i, n = mr_state_chunks(s->state, &chunk);

    MR_PUT(w, "\n  %-10s  %14s  %14s  %6s\n", "section", "stored", "plain",
        "share");
    for (i = 0; i < n; i++) {
        unsigned share = permille(s, chunk[i].stored_bytes);

        MR_PUT(w, "  %-10s  %14" PRIu64 "  %14" PRIu64 "  %4u.%u%%%s\n",
            chunk[i].id, chunk[i].stored_bytes, chunk[i].plain_bytes,
            share / 10, share % 10, chunk[i].known ? "" : "  not understood");
    }
}

static void put_table(struct mr_writer *w, const struct subject *s)
{
    const char *verdict = "the file's name agrees";

    if (strcmp(s->name_verdict, "differs") == 0)
        verdict = "THE FILE'S NAME SAYS OTHERWISE";
    else if (strcmp(s->name_verdict, "other") == 0)
        verdict = "the file has a name of its own";
    table_title(w, mr_state_path(s->state), "", s->colour);
    MR_PUT(w,
        "  file        version %d, %" PRIu64 " bytes, sound to the last\n",
        MR_STATE_VERSION, mr_state_bytes(s->state));
    MR_PUT(w, "  content     %s (%s)\n", s->digest, verdict);
    if (s->superseded_by != NULL) {
        MR_PUT(w, "  superseded  mr reduce leaves it out: all of it is in '");
        mr_put_masked(w, mr_text_span(s->superseded_by));
        MR_PUT(w, "'\n");
    }
    table_spec(w, s);
    table_counts(w, s);
    table_rejects(w, s);
    table_failures(w, s);
    table_days(w, s);
    table_chunks(w, s);
}

/* JSON. */

#define PUT_NUMBER(w, name, v)                                                 \
    MR_PUT(w, ", \"" name "\": %" PRIu64, (uint64_t)(v))

static void json_spec(struct mr_writer *w, const struct subject *s)
{
    struct mr_buffer text = {0};

    if (w->status == MR_OK)
        w->status = mr_spec_text(s->head->spec, &text);
    MR_PUT(w, ",\n   \"spec\": {\"builtin\": %s, \"text\": ",
        s->is_lake ? "\"lake\"" : "null");
    mr_put_json(w, (struct mr_span){text.p, text.n});
    MR_PUT(w, "}");
    mr_buffer_release(&text);
}

static void json_totals(struct mr_writer *w, const struct subject *s)
{
    const struct mr_coverage_totals *t = &s->totals;

    MR_PUT(w, ",\n   \"totals\": {\"partitions\": %" PRIu64, t->partitions);
    PUT_NUMBER(w, "failures", t->failures);
    PUT_NUMBER(w, "stored_bytes", t->stored_bytes);
    PUT_NUMBER(w, "text_bytes", t->text_bytes);
    PUT_NUMBER(w, "lines", t->lines);
    PUT_NUMBER(w, "events", t->events);
    PUT_NUMBER(w, "rejected", t->rejected);
    PUT_NUMBER(w, "blank", t->blank);
    PUT_NUMBER(w, "events_without_user", t->events_without_user);
    PUT_NUMBER(w, "other_day", t->other_day);
    PUT_NUMBER(w, "other_type", t->other_type);
    PUT_NUMBER(w, "renamed", t->renamed);
    PUT_NUMBER(w, "days", s->n_days);
    PUT_NUMBER(w, "types", s->head->n_types);
    PUT_NUMBER(w, "users", s->users);
    PUT_NUMBER(w, "members", s->members);
    PUT_NUMBER(w, "sessions", s->intervals);
    MR_PUT(w, "}");
}

static void json_rejects(struct mr_writer *w, const struct subject *s)
{
    struct mr_reason reason[MR_REASON_COUNT];
    size_t n = mr_spec_reasons(s->head->spec, s->totals.reason, reason);

    MR_PUT(w, ",\n   \"rejected\": {");
    for (size_t i = 0; i < n; i++) {
        MR_PUT(w, "%s", i == 0 ? "" : ", ");
        mr_put_json(w, mr_text_span(reason[i].text));
        MR_PUT(w, ": %" PRIu64, reason[i].lines);
    }
    MR_PUT(w, "}");
}

static void json_types(struct mr_writer *w, const struct subject *s)
{
    size_t i;

    MR_PUT(w, ",\n   \"types\": [");
    for (i = 0; i < s->head->n_types; i++) {
        MR_PUT(w, "%s", i == 0 ? "" : ", ");
        mr_put_json(w, s->head->type[i]);
    }
    MR_PUT(w, "]");
}

static void json_failures(struct mr_writer *w, const struct subject *s)
{
    const struct mr_coverage *c = &s->head->coverage;
    size_t i;

    MR_PUT(w, ",\n   \"failed\": [");
    for (i = 0; i < c->n_failures; i++) {
        MR_PUT(w, "%s\n    {\"name\": ", i == 0 ? "" : ",");
        mr_put_json(w, mr_text_span(c->failure[i].name));
        if (c->failure[i].offset == MR_NOWHERE)
            MR_PUT(w, ", \"offset\": null");
        else
            PUT_NUMBER(w, "offset", c->failure[i].offset);
        MR_PUT(w, ", \"reason\": ");
        mr_put_json(w, mr_text_span(c->failure[i].cause));
        MR_PUT(w, "}");
    }
    MR_PUT(w, "]");
}

static void json_days(struct mr_writer *w, const struct subject *s)
{
    const char *comma = "";
    char day[MR_DAY_TEXT];
    size_t i, cell = 0;

    MR_PUT(w, ",\n   \"days\": [");
    for (i = 0; i < s->kpis.n_days; i++) {
        const struct mr_kpi_day *d = &s->kpis.day[i];

        if (d->events == 0)
            continue;
        mr_day_format(d->day, day);
        MR_PUT(w, "%s\n    {\"day\": \"%s\"", comma, day);
        PUT_NUMBER(w, "types", types_of_day(s, d->day, &cell));
        PUT_NUMBER(w, "events", d->events);
        PUT_NUMBER(w, "events_without_user", d->events_without_user);
        PUT_NUMBER(w, "users", d->users);
        PUT_NUMBER(w, "sessions", d->sessions);
        MR_PUT(w, "}");
        comma = ",";
    }
    MR_PUT(w, "]");
}

static void json_chunks(struct mr_writer *w, const struct subject *s)
{
    const struct mr_state_chunk *chunk;
    size_t i, n = mr_state_chunks(s->state, &chunk);

    MR_PUT(w, ",\n   \"sections\": [");
    for (i = 0; i < n; i++) {
        unsigned share = permille(s, chunk[i].stored_bytes);

        MR_PUT(w, "%s\n    {\"id\": \"%s\"", i == 0 ? "" : ",", chunk[i].id);
        PUT_NUMBER(w, "stored_bytes", chunk[i].stored_bytes);
        PUT_NUMBER(w, "plain_bytes", chunk[i].plain_bytes);
        MR_PUT(w, ", \"share_percent\": %u.%u, \"known\": %s}", share / 10,
            share % 10, chunk[i].known ? "true" : "false");
    }
    MR_PUT(w, "]");
}

static void put_subject_json(struct mr_writer *w, const struct subject *s)
{
    MR_PUT(w, "  {\"file\": ");
    mr_put_json(w, mr_text_span(mr_state_path(s->state)));
    MR_PUT(w, ", \"sound\": true, \"version\": %d", MR_STATE_VERSION);
    PUT_NUMBER(w, "bytes", mr_state_bytes(s->state));
    MR_PUT(w, ",\n   \"content\": \"%s\", \"name\": \"%s\", \"status\": \"%s\"",
        s->digest, s->name_verdict,
        s->totals.failures > 0 ? "partial" : "complete");
    MR_PUT(w, ", \"superseded_by\": ");
    if (s->superseded_by != NULL)
        mr_put_json(w, mr_text_span(s->superseded_by));
    else
        MR_PUT(w, "null");
    json_spec(w, s);
    json_totals(w, s);
    json_rejects(w, s);
    json_types(w, s);
    json_failures(w, s);
    json_days(w, s);
    json_chunks(w, s);
    MR_PUT(w, "}");
}

/* All states. */

/* Name a state that cannot be used, in its place. */
static void put_refusal(struct mr_writer *w, const char *path,
    const struct mr_inspect_options *options, const struct mr_error *why)
{
    char sentence[1200];

    mr_error_format(why, sentence, sizeof(sentence));
    if (options->format != MR_FORMAT_JSON) {
        table_title(w, path, ": NOT SOUND", options->colour);
        MR_PUT(w, "  ");
        mr_put_masked(w, mr_text_span(sentence));
        MR_PUT(w, "\n");
        return;
    }
    MR_PUT(w, "  {\"file\": ");
    mr_put_json(w, mr_text_span(path));
    MR_PUT(w, ", \"sound\": false, \"error\": ");
    mr_put_json(w, mr_text_span(sentence));
    MR_PUT(w, "}");
}

static void add_totals(
    struct mr_totals *sum, const struct mr_coverage_totals *t)
{
    sum->partitions += t->partitions;
    sum->failures += t->failures;
    sum->lines += t->lines;
    sum->events += t->events;
    sum->rejected += t->rejected;
    sum->blank += t->blank;
    sum->events_without_user += t->events_without_user;
    sum->other_day += t->other_day;
    sum->other_type += t->other_type;
    sum->stored_bytes += t->stored_bytes;
    sum->text_bytes += t->text_bytes;
    sum->renamed += t->renamed;
}

/* What superseded states are found by. */
struct heads {
    struct mr_coverage *coverage;
    struct mr_superseded_state *state;
    size_t *number; /* in the list */
    size_t n;
};

static void release_heads(struct heads *h)
{
    for (size_t i = 0; i < h->n; i++)
        mr_coverage_release(&h->coverage[i]);
    free(h->coverage);
    free(h->state);
    free(h->number);
}

/* Read the heads of all states that have a sound one. */
static enum mr_status read_heads(
    const struct mr_state_list *list, const atomic_int *stop, struct heads *h)
{
    h->coverage = calloc(list->n, sizeof(*h->coverage));
    h->state = calloc(list->n, sizeof(*h->state));
    h->number = calloc(list->n, sizeof(*h->number));
    if (h->coverage == NULL || h->state == NULL || h->number == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < list->n && (stop == NULL || *stop == 0); i++) {
        struct mr_state *state;
        enum mr_status status = mr_state_open(list->path[i], &state, NULL);

        if (status == MR_NOMEM)
            return status;
        if (status != MR_OK)
            continue;
        h->state[h->n] = (struct mr_superseded_state){
            mr_state_spec_digest(state), &h->coverage[h->n]};
        mr_state_take_coverage(state, &h->coverage[h->n]);
        mr_state_close(state);
        h->number[h->n++] = i;
    }
    return MR_OK;
}

/* by_out[i]: the path of the state that supersedes the i-th, or NULL. */
static enum mr_status find_superseded(const struct mr_state_list *list,
    const atomic_int *stop, const char **by_out, struct mr_error *err)
{
    struct heads h = {.n = 0};
    size_t *by = calloc(list->n, sizeof(*by));
    enum mr_status status = by == NULL ? MR_NOMEM : read_heads(list, stop, &h);

    if (status == MR_OK)
        status = mr_superseded_find(h.state, h.n, by);
    for (size_t i = 0; i < h.n && status == MR_OK; i++)
        if (by[i] != MR_NOT_SUPERSEDED)
            by_out[h.number[i]] = list->path[h.number[by[i]]];
    release_heads(&h);
    free(by);
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

/* Describe one state.  Only what concerns more than this one is a failure
 * here; the state's own goes to why. */
static enum mr_status inspect_one(struct mr_writer *w, const char *path,
    const char *superseded_by, const struct mr_inspect_options *options,
    const atomic_int *stop, struct mr_result *result, struct mr_error *why)
{
    struct subject s = {
        .superseded_by = superseded_by, .colour = options->colour};
    enum mr_status status = read_subject(&s, path, stop, why);

    if (status == MR_OK) {
        add_totals(&result->totals, &s.totals);
        result->state_bytes += mr_state_bytes(s.state);
        if (options->format == MR_FORMAT_JSON)
            put_subject_json(w, &s);
        else
            put_table(w, &s);
    } else if (status != MR_NOMEM && status != MR_STOPPED) {
        put_refusal(w, path, options, why);
    }
    release_subject(&s);
    return status;
}

static enum mr_status flush(
    struct mr_writer *w, const struct mr_sink *sink, struct mr_error *err)
{
    int number;

    if (w->status != MR_OK)
        return mr_fail_nomem(err);
    number = sink->write(sink->context, w->out->p, w->out->n);
    w->out->n = 0;
    return number == 0
               ? MR_OK
               : mr_fail_errno(err, number, "check where the output goes",
                     "cannot write the description");
}

static enum mr_status inspect_all(const struct mr_state_list *list,
    const char *const *superseded_by, const struct mr_inspect_options *options,
    const struct mr_sink *sink, const atomic_int *stop,
    struct mr_result *result, struct mr_error *err)
{
    bool is_json = options->format == MR_FORMAT_JSON;
    struct mr_buffer out = {0};
    struct mr_writer w = mr_writer_begin(&out);
    enum mr_status status = MR_OK, one, first = MR_OK;
    struct mr_error why;
    size_t i;

    if (is_json)
        MR_PUT(&w, "{\"schema\": %d, \"states\": [\n", SCHEMA);
    for (i = 0; i < list->n && status == MR_OK; i++) {
        if (i > 0)
            MR_PUT(&w, is_json ? ",\n" : "\n");
        why = (struct mr_error){0};
        one = inspect_one(
            &w, list->path[i], superseded_by[i], options, stop, result, &why);
        /* Want of memory and a wish to stop are not about this one alone. */
        if (first == MR_OK || one == MR_NOMEM || one == MR_STOPPED) {
            if (one != MR_OK && err)
                *err = why;
            first = one;
        }
        if (one == MR_NOMEM || one == MR_STOPPED)
            break;
        status = flush(&w, sink, err);
    }
    if (status == MR_OK && i == list->n && is_json) {
        MR_PUT(&w, "\n]}\n");
        status = flush(&w, sink, err);
    }
    mr_buffer_release(&out);
    return status != MR_OK ? status : first;
}

enum mr_status mr_inspect(const struct mr_inspect_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err)
{
    double start = mr_clock();
    struct mr_state_list list;
    const char **superseded_by = NULL;
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (options->format == MR_FORMAT_CSV)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "ask for table or json",
            "states are not described as CSV");
    status = mr_state_list_build(options->input, options->n_inputs, &list, err);
    if (status == MR_OK) {
        superseded_by = calloc(list.n, sizeof(*superseded_by));
        if (superseded_by == NULL)
            status = mr_fail_nomem(err);
    }
    if (status == MR_OK && list.n > 1)
        status = find_superseded(&list, observer->stop, superseded_by, err);
    if (status == MR_OK)
        status = inspect_all(&list, superseded_by, options, sink,
            observer->stop, result_out, err);
    free(superseded_by);
    mr_state_list_release(&list);
    result_out->seconds = mr_clock() - start;
    return status;
}
