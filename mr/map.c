#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_map: read the inputs with all threads (mr/work.h), then make a state of
 * what they left (map_state.c).
 *
 * In a folder the two take turns: when a deadline has passed, threads come to
 * the ends of their files, what they left is published as it is, the state
 * before it is removed, and they go on.
 *
 *     batch ─▶ round ─▶ [checkpoint] ─▶ round ─▶ ... ─▶ batch ─▶ ... ─▶ state
 */

#include "mr/map_private.h"

#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/map.h"
#include "mr/outputs.h"
#include "mr/result.h"
#include "mr/sharing.h"
#include "mr/stream.h"
#include "mr/text.h"

#define CHECKPOINT_SECONDS 60
/* What comes between two checkpoints is at least so many times as long as
 * what the first one took. */
#define CHECKPOINT_SHARE 9

/* ---- checkpoints ---- */

/* A state has been published: the one before it has nothing that it has not,
 * and can go.  Where it cannot be removed it does no harm. */
static void replace_checkpoint(
    struct mr_map_run *m, const struct mr_result *result)
{
    const char *path = result->path;

    if (path[0] == '\0')
        return;
    if (m->checkpoint[0] != '\0' && strcmp(m->checkpoint, path) != 0)
        (void)unlink(m->checkpoint);
    snprintf(m->checkpoint, sizeof(m->checkpoint), "%s", path);
}

static uint64_t count_covered(const struct mr_work *w)
{
    return w->coverage.n_partitions + w->coverage.n_failures;
}

static double checkpoint_seconds(const struct mr_map_run *m)
{
    double seconds = m->options->checkpoint_seconds;

    return seconds > 0 ? seconds : CHECKPOINT_SECONDS;
}

/* Whether what has been read could not be merged with the states that the run
 * goes on from: sums of which each has a part. */
static enum mr_status check_overlap(
    const struct mr_map_run *m, bool *overlaps_out, struct mr_error *err)
{
    const struct mr_work *w = m->w;

    *overlaps_out = false;
    if (w->resume == NULL || w->plan.spec.n_segments == 0 ||
        mr_resume_overlaps(w->resume, &w->coverage, overlaps_out) == MR_OK)
        return MR_OK;
    return mr_fail_nomem(err);
}

/* As write_state, with the path and size alone, unless it could not be merged
 * with what is there; then the path stays empty. */
static enum mr_status write_part(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    bool overlaps;
    enum mr_status status = check_overlap(m, &overlaps, err);

    if (status != MR_OK)
        return status;
    if (!overlaps)
        return mr_map_write_state(m, result, err);
    mr_note(m->w->observer,
        "what has been read so far is not saved: some of it has the bytes of a "
        "partition that is there under another name, and for the spec's "
        "segments all must be read into one state");
    return MR_OK;
}

/* Publish what has been read so far.  Where only the disk is against it the
 * run goes on: the next time it may not be. */
static enum mr_status write_checkpoint(
    struct mr_map_run *m, struct mr_error *err)
{
    struct mr_result result = {.path = ""};
    uint64_t covered = count_covered(m->w);
    double waited = m->w->idle_seconds / m->w->threads, start = mr_clock();
    enum mr_status status = write_part(m, &result, err);
    char text[1024];
    double now = mr_clock(), least = checkpoint_seconds(m);
    double pause = CHECKPOINT_SHARE * (waited + now - start);

    m->earliest = now + pause;
    m->deadline = now + (pause > least ? pause : least);
    if (status == MR_OK) {
        replace_checkpoint(m, &result);
        m->covered = covered;
    } else if (status == MR_IO || status == MR_LIMIT) {
        mr_error_format(err, text, sizeof(text));
        mr_note(m->w->observer,
            "what has been read so far could not be saved, and the run goes "
            "on: %s",
            text);
        status = MR_OK;
    }
    return status;
}

/* ---- the verb ---- */

/* The table of types, once there is a plan. */
static enum mr_status open_types(struct mr_work *w, struct mr_error *err)
{
    if (mr_types_new(&w->types) != MR_OK)
        return mr_fail_nomem(err);
    for (unsigned i = 0; i < w->plan.spec.n_rollups; i++)
        mr_types_limit(
            w->types, MR_TEXT_ROLLUP + i, w->plan.spec.rollup[i].max_groups);
    return MR_OK;
}

/* One round of all threads. */
static enum mr_status run_threads(struct mr_map_run *m, struct mr_error *err)
{
    struct mr_work *w = m->w;

    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)w->threads)
    {
        /* OpenMP may give fewer threads than asked for. */
#pragma omp single
        mr_work_round(
            w, (unsigned)omp_get_num_threads(), m->in_folder ? m->deadline : 0);
        mr_work_thread(w);
    }
    if (w->fatal.status == MR_OK)
        return MR_OK;
    *err = w->fatal;
    if (w->fatal_input < w->listing.n)
        mr_error_subject(
            err, "cannot map", w->listing.inputs[w->fatal_input].path);
    return err->status;
}

/* Inputs that were found in states, to be read after all: a state in whose sums
 * some of theirs are, and not all, could not be merged with them. */
static enum mr_status give_found(
    struct mr_map_run *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    size_t n = 0, *input = malloc((w->listing.n + 1) * sizeof(*input));
    enum mr_status status = MR_OK;

    if (input == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < w->listing.n; i++)
        if (mr_resume_has_found(w->resume, i)) {
            w->done[i] = false;
            input[n++] = i;
        }
    mr_resume_forget(w->resume);
    *has_out = n > 0;
    if (n > 0)
        status = mr_work_batch(w, input, n, err);
    free(input);
    return status;
}

/* Whether there is something to read that others have not published.  Before
 * this run reads what others have claimed, it publishes what it has read: they
 * may be about to do likewise. */
static enum mr_status choose_shared(
    struct mr_map_run *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_sharing_next next = MR_SHARING_NONE;
    enum mr_status status =
        mr_sharing_choose(m->sharing, m->checkpoint, w->done, &next, err);

    if (status == MR_OK && next == MR_SHARING_OVER &&
        count_covered(w) > m->covered && mr_clock() >= m->earliest) {
        status = write_checkpoint(m, err);
        if (status == MR_OK)
            status = mr_sharing_choose(
                m->sharing, m->checkpoint, w->done, &next, err);
    }
    *has_out = next != MR_SHARING_NONE;
    return status;
}

/* The next batch of those that are shared out. */
static enum mr_status next_shared(
    struct mr_map_run *m, bool *has_out, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status;
    const size_t *input, none = 0;
    size_t n;
    bool all = false;

    /* A state is made of what a round has left.  Should nothing be left to
     * read, there is still one to make of what could not be listed. */
    if (!m->has_batch && w->listing.n_unlisted > 0) {
        *has_out = m->has_batch = true;
        return mr_work_batch(w, &none, 0, err);
    }
    do {
        status = choose_shared(m, has_out, err);
        if (status == MR_OK && !*has_out)
            status =
                mr_sharing_confirm(m->sharing, w->done, &w->resume, &all, err);
    } while (status == MR_OK && !*has_out && !all);
    if (status != MR_OK || !*has_out)
        return status;
    /* Two for each thread but the first, so that none waits for long. */
    status = mr_sharing_take(m->sharing, m->checkpoint, w->done,
        2 * (size_t)w->threads - 1, &input, &n, err);
    return status == MR_OK ? mr_work_batch(w, input, n, err) : status;
}

/* Give out the inputs that are to be read next, if there are any: where nobody
 * shares them there is one batch, of all; and what was found where it has to
 * be read after all. */
static enum mr_status next_batch(
    struct mr_map_run *m, bool *has_out, struct mr_error *err)
{
    bool overlaps;
    enum mr_status status;

    if (m->sharing != NULL)
        return next_shared(m, has_out, err);
    *has_out = !m->has_batch;
    if (!m->has_batch) {
        m->has_batch = true;
        return mr_work_batch(m->w, NULL, 0, err);
    }
    status = check_overlap(m, &overlaps, err);
    return overlaps ? give_found(m, has_out, err) : status;
}

/* Read everything, with checkpoints. */
static enum mr_status read_all(struct mr_map_run *m, struct mr_error *err)
{
    bool has_more = true;
    enum mr_status status = MR_OK;

    while (status == MR_OK) {
        if (!mr_work_left(m->w))
            status = next_batch(m, &has_more, err);
        if (status != MR_OK || !has_more)
            break;
        if (m->in_folder && mr_clock() >= m->deadline &&
            count_covered(m->w) > m->covered)
            status = write_checkpoint(m, err);
        if (status == MR_OK)
            status = run_threads(m, err);
    }
    return status;
}

/* Begin to keep what the spec wants kept.  What does not fit into memory waits
 * beside the output, which is there by now, and for which there must be room
 * anyway. */
static enum mr_status open_keeper(struct mr_map_run *m, struct mr_error *err)
{
    const char *slash = strrchr(m->output, '/');
    size_t n = strlen(m->output);

    if (!m->in_folder)
        n = slash == NULL ? 0 : (size_t)(slash - m->output) + 1;
    m->temporary = n == 0 ? strdup(".") : strndup(m->output, n);
    if (m->temporary == NULL)
        return mr_fail_nomem(err);
    m->w->plan.temporary = m->temporary;
    return mr_keeper_open(&m->w->keeper, &m->w->plan, err);
}

static enum mr_status open_sharing(struct mr_map_run *m, struct mr_error *err)
{
    struct mr_work *w = m->w;
    const size_t none = 0;
    enum mr_status status = mr_work_batch(w, &none, 0, err);

    if (status != MR_OK)
        return status;
    return mr_sharing_new(m->output, &w->plan.spec, &w->listing,
        m->options->claimant, w->observer, &m->sharing, err);
}

/* Everything that can be refused before the long part begins, the places for
 * the output included. */
static enum mr_status prepare(struct mr_map_run *m, struct mr_error *err)
{
    const struct mr_map_options *o = m->options;
    const char *spec = o->spec == NULL ? "lake" : o->spec;
    struct mr_work *w = m->w;
    enum mr_status status = mr_plan_open(spec, &w->plan, err);

    if (status == MR_OK)
        mr_note_table(w->observer, &w->plan.spec, w->plan.table);
    if (status == MR_OK && !m->in_folder &&
        (o->checkpoint_seconds > 0 || o->claimant != NULL))
        status = mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name a folder for the output",
            o->claimant != NULL
                ? "machines cannot share by claims what goes to one file, '%s'"
                : "there are no checkpoints of a single file, '%s'",
            m->output);
    if (status == MR_OK)
        status = open_types(w, err);
    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, w->threads, &w->listing, err);
    if (status == MR_OK)
        mr_note_links(&w->listing, w->observer);
    if (status == MR_OK)
        mr_note_names(&w->listing, w->observer);
    if (status == MR_OK) /* of all shards */
        status = mr_outputs_check(m->in_folder ? NULL : m->output, o->rejects,
            spec, &w->plan.spec, &w->listing, err);
    if (status == MR_OK && o->shards > 1)
        status = mr_listing_shard(
            &w->listing, o->shard, o->shard_last, o->shards, err);
    /* Before there are any of this run. */
    if (status == MR_OK && m->in_folder)
        mr_resume_note_temporary(m->output, w->observer);
    if (status == MR_OK && o->rejects != NULL)
        status = mr_reject_file_new(o->rejects, &w->rejects, err);
    /* What is shared out is looked for when nothing is left. */
    if (status == MR_OK && m->in_folder && o->claimant == NULL)
        status = mr_resume_open(m->output, &w->plan.spec, &w->listing,
            w->observer, &w->resume, err);
    /* Rejected lines can only be had by reading. */
    if (w->resume != NULL && o->rejects != NULL)
        mr_resume_forget(w->resume);
    if (status == MR_OK)
        status = mr_state_writer_new(m->output, &w->plan.spec, &m->writer, err);
    if (status == MR_OK && o->claimant != NULL)
        status = open_sharing(m, err);
    return status == MR_OK ? open_keeper(m, err) : status;
}

/* ---- the end ---- */

/* What was there already, and where. */
static enum mr_status tell_found(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_resume *r = m->w->resume;
    enum mr_status status;

    if (r == NULL)
        return MR_OK;
    status = mr_resume_end(r, m->w->done, m->w->failed, m->w->observer, err);
    if (status != MR_OK)
        return status;
    result->found = mr_resume_found(r);
    if (mr_resume_paths(r, &result->state, &result->n_states) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* All was there already: there is nothing to write. */
static enum mr_status count_found(
    const struct mr_work *w, struct mr_result *result, struct mr_error *err)
{
    struct mr_coverage all = {.n_repeated = 0};
    enum mr_status status = mr_resume_coverage(w->resume, &all);

    if (status == MR_OK)
        status = mr_coverage_settle(&all);
    if (status == MR_OK)
        status = mr_result_count(result, &all);
    mr_coverage_release(&all);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

/* All has been read: publish it, unless there is nothing new. */
static enum mr_status publish(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status;

    if (w->resume != NULL && mr_resume_found(w->resume) > 0 &&
        count_covered(w) + w->listing.n_unlisted == 0) {
        status = count_found(w, result, err);
    } else {
        m->is_last = true;
        mr_stream_release_spares(); /* before blocks are made, which take more
                                     */
        status = mr_map_write_state(m, result, err);
        if (status == MR_OK)
            replace_checkpoint(m, result);
    }
    return status == MR_OK ? tell_found(m, result, err) : status;
}

/* The run was told to stop: publish what has been read, as a checkpoint; but
 * nothing, or what the last one has, needs none.  MR_STOPPED unless that
 * fails. */
static enum mr_status publish_part(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_result own = {.path = ""};
    struct mr_error why = {.status = MR_OK};
    enum mr_status status = MR_OK;

    if (count_covered(m->w) > m->covered)
        status = write_part(m, &own, &why);
    if (status == MR_OK)
        replace_checkpoint(m, &own);
    if (status == MR_OK)
        status = tell_found(m, result, &why);
    for (size_t i = 0; i < m->w->listing.n; i++)
        result->left +=
            !m->w->done[i] &&
            (m->w->resume == NULL || !mr_resume_may_have(m->w->resume, i));
    if (status == MR_OK)
        return err->status;
    *err = why;
    return status;
}

/* Give the file of rejected lines its name, before a state that is to be
 * seen only with it. */
static enum mr_status finish_rejects(struct mr_map_run *m, struct mr_error *err)
{
    struct mr_reject_file *rejects = m->w->rejects;

    m->w->rejects = NULL;
    return rejects == NULL ? MR_OK : mr_reject_file_finish(rejects, err);
}

static enum mr_status run(
    struct mr_map_run *m, struct mr_result *result, struct mr_error *err)
{
    struct mr_work *w = m->w;
    double start = mr_clock();
    enum mr_status status =
        mr_work_init(w, mr_threads(m->options->threads), err);

    if (status == MR_OK)
        status = prepare(m, err);
    m->deadline = start + checkpoint_seconds(m);
    if (status != MR_OK)
        return status;
    status = read_all(m, err);
    if (status == MR_OK)
        status = finish_rejects(m, err);
    if (status == MR_OK)
        return publish(m, result, err);
    return status == MR_STOPPED && m->in_folder ? publish_part(m, result, err)
                                                : status;
}

enum mr_status mr_map(const struct mr_map_options *options,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err)
{
    struct mr_map_run m = {.w = calloc(1, sizeof(*m.w)), .options = options};
    double start = mr_clock();
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    if (m.w == NULL)
        return mr_fail_nomem(err);
    m.w->observer = observer;
    m.output = options->output == NULL ? "./mr-state" : options->output;
    m.in_folder = !mr_text_ends(m.output, MR_STATE_SUFFIX);
    status = run(&m, result_out, err);
    mr_sharing_free(m.sharing);
    if (m.writer != NULL)
        mr_state_writer_abort(m.writer);
    if (status != MR_OK)
        memcpy(result_out->path, m.checkpoint, sizeof(m.checkpoint));
    mr_reject_file_abort(m.w->rejects);
    if (status == MR_OK && !options->is_sample)
        mr_note_no_event(observer, &m.w->plan.spec, &result_out->totals, "",
            options->rejects);
    mr_coverage_release(&m.veiled);
    mr_work_release(m.w);
    free(m.w);
    free(m.temporary);
    mr_stream_release_spares();
    result_out->seconds = mr_clock() - start;
    return status;
}

/* ---- one file ---- */

/* A listing of one input. */
static enum mr_status list_one(
    const struct mr_input *input, struct mr_listing *listing)
{
    struct mr_input *one = calloc(1, sizeof(*one));

    if (one == NULL)
        return MR_NOMEM;
    one->path = strdup(input->path);
    if (one->path == NULL) {
        free(one);
        return MR_NOMEM;
    }
    one->name = one->path + (input->name - input->path);
    one->size = input->size;
    *listing = (struct mr_listing){.inputs = one, .n = 1};
    return MR_OK;
}

static enum mr_status prepare_one(
    struct mr_map_run *m, const struct mr_map_one *one, struct mr_error *err)
{
    struct mr_work *w = m->w;
    enum mr_status status = open_types(w, err);

    if (status == MR_OK && list_one(one->input, &w->listing) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_state_writer_new(m->output, &w->plan.spec, &m->writer, err);
    if (status != MR_OK)
        return status;
    mr_state_writer_date(m->writer, &one->date);
    return open_keeper(m, err);
}

enum mr_status mr_map_one(const struct mr_map_one *one, struct mr_error *err)
{
    const struct mr_observer observer = {.stop = one->stop};
    struct mr_map_run m = {.w = calloc(1, sizeof(*m.w)), .output = one->output};
    struct mr_result result = {.n_failed = 0};
    enum mr_status status;

    if (m.w == NULL)
        return mr_fail_nomem(err);
    m.w->observer = &observer;
    status = mr_work_init(m.w, one->threads, err);
    /* What the copy points to stays the caller's. */
    m.w->plan = *one->plan;
    if (status == MR_OK)
        status = prepare_one(&m, one, err);
    if (status == MR_OK)
        status = read_all(&m, err);
    m.is_last = true;
    if (status == MR_OK)
        status = mr_map_write_state(&m, &result, err);
    if (m.writer != NULL)
        mr_state_writer_abort(m.writer);
    memset(&m.w->plan, 0, sizeof(m.w->plan));
    mr_coverage_release(&m.veiled);
    mr_work_release(m.w);
    free(m.w);
    free(m.temporary);
    mr_result_release(&result);
    return status;
}
