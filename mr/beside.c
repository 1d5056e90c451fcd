#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * mr_beside: a state for each file.  First all threads look which files have
 * one that is up to date; then those that have not are mapped, the largest
 * first, each by one thread, or by several where there are fewer files than
 * threads.
 *
 * A state that is up to date was modified when its file was: it has been given
 * that time.  So nothing depends on clocks, only on the file's time being
 * another one when its bytes are, as with make and rsync.  The time is taken
 * before the file is opened: if the file changes in between, the state will
 * not look up to date.
 */

#include "mr/mr.h"

#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mr/map.h"
#include "mr/publish.h"
#include "mr/result.h"
#include "mr/state.h"
#include "mr/stream.h"
#include "mr/text.h"

/* What has become of an input. */
enum outcome { WAITING, ABSENT, THERE, MADE, UNWRITTEN };

struct task {
    enum outcome outcome;
    struct timespec date; /* of the file */
};

struct beside {
    const struct mr_beside_options *options;
    const struct mr_observer *observer;
    struct mr_plan *plan; /* large */
    struct mr_digest spec;
    unsigned threads;
    struct mr_listing listing;
    struct task *task; /* of each input */
    size_t *todo;      /* inputs to be mapped, the largest first */
    size_t n_todo;
    pthread_mutex_t lock; /* of what follows */
    struct mr_coverage coverage;
    struct mr_progress progress;
    double last_progress; /* seconds */
    uint64_t unreadable;
    size_t failed_input; /* the first whose state could not be written */
    struct mr_error failed;
    bool is_over; /* something that concerns all has failed */
};

/* ---- places ---- */

/* The path of an input's state. */
static enum mr_status state_path(
    const struct beside *b, size_t i, struct mr_buffer *out)
{
    const struct mr_input *in = &b->listing.inputs[i];
    const char *folder = b->options->output;
    enum mr_status status = MR_OK;

    out->n = 0;
    if (folder != NULL)
        status = mr_buffer_add(out, folder, strlen(folder));
    if (status == MR_OK && folder != NULL)
        status = mr_buffer_add(out, "/", 1);
    folder = folder != NULL ? in->name : in->path;
    if (status == MR_OK)
        status = mr_buffer_add(out, folder, strlen(folder));
    return status == MR_OK
               ? mr_buffer_add(out, MR_STATE_SUFFIX, sizeof(MR_STATE_SUFFIX))
               : status;
}

/* Whether a name leads out of the folder it is to be in. */
static bool leads_out(const char *name)
{
    if (name[0] == '/')
        return true;
    while (name != NULL) {
        if (strncmp(name, "..", 2) == 0 && (name[2] == '/' || name[2] == '\0'))
            return true;
        name = strchr(name, '/');
        name = name != NULL ? name + 1 : NULL;
    }
    return false;
}

static enum mr_status refuse(const struct mr_input *in, const char *why,
    const char *advice, struct mr_error *err)
{
    (void)mr_fail(err, MR_USAGE, MR_NOWHERE, advice, "%s", why);
    mr_error_subject(err, "cannot map", in->path);
    return MR_USAGE;
}

/* Refuse inputs whose states would have no place, or one place. */
static enum mr_status check_places(const struct beside *b, struct mr_error *err)
{
    const struct mr_listing *l = &b->listing;
    bool mirrored = b->options->output != NULL;

    for (size_t i = 0; i < l->n; i++) {
        const struct mr_input *in = &l->inputs[i];

        if (strcmp(in->path, "-") == 0)
            return refuse(in, "there is no place beside standard input",
                "name files or folders", err);
        if (mirrored && leads_out(in->name))
            return refuse(in, "its name leads out of the folder for states",
                "name the folder that it is in instead", err);
        if (mirrored && i > 0 && strcmp(in->name, l->inputs[i - 1].name) == 0)
            return refuse(in, "two files have this name, and one place",
                "map them with an --output of their own each", err);
    }
    return MR_OK;
}

/* ---- whether a state is up to date ---- */

/* Whether a time that was set to another could read like this: file systems
 * keep times by different units, and cut off what is smaller. */
static bool same_time(const struct timespec *set, const struct timespec *got)
{
    static const long units[] = {1, 100, 1000, 1000000, 10000000, 1000000000};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (got->tv_sec == set->tv_sec &&
            got->tv_nsec == set->tv_nsec - set->tv_nsec % units[i])
            return true;
    /* FAT has every other second. */
    return got->tv_nsec == 0 && got->tv_sec == set->tv_sec - set->tv_sec % 2;
}

/* Whether a state tells of this file and nothing else, as the file is now. */
static bool tells_of(
    const struct mr_coverage *c, const struct mr_input *in, uint64_t size)
{
    bool named = false;

    if (c->n_failures > 0 || c->n_partitions == 0)
        return false;
    for (size_t i = 0; i < c->n_partitions && !named; i++)
        for (size_t k = 0; k < c->partition[i].n_names && !named; k++)
            named = strcmp(c->partition[i].name[k], in->name) == 0;
    /* An archive has partitions for its members, if any, and one of its own,
     * without bytes. */
    return named &&
           (c->n_partitions > 1 || c->partition[0].stored_bytes == size ||
               mr_partition_is_archive(&c->partition[0]));
}

/* Add all of a state's coverage to that of the run. */
static enum mr_status add_coverage(struct beside *b, struct mr_coverage *c)
{
    enum mr_status status;

    pthread_mutex_lock(&b->lock);
    b->unreadable += c->n_failures > 0;
    status = mr_coverage_move(&b->coverage, c);
    pthread_mutex_unlock(&b->lock);
    return status;
}

/* Whether an open state is the one that is wanted, and sound to the last byte:
 * what reduce would refuse must be made again. */
static enum mr_status judge_state(const struct beside *b, size_t i,
    const struct mr_state *state, uint64_t size, bool *current_out)
{
    const struct mr_digest spec = mr_state_spec_digest(state);
    enum mr_status status = MR_OK;

    *current_out = memcmp(spec.b, b->spec.b, sizeof(spec.b)) == 0 &&
                   tells_of(&mr_state_get_head(state)->coverage,
                       &b->listing.inputs[i], size);
    if (*current_out)
        status = mr_state_check(state, b->observer->stop, NULL);
    *current_out = *current_out && status == MR_OK;
    return status == MR_NOMEM ? status : MR_OK;
}

/* Whether an input has a state that is up to date, whose coverage is then
 * added.  One that cannot be used is as none; only want of memory fails. */
static enum mr_status look_at_state(struct beside *b, size_t i,
    const char *path, uint64_t size, bool *current_out)
{
    struct mr_state *state = NULL;
    struct mr_coverage coverage = {0};
    struct stat info;
    enum mr_status status;

    *current_out = false;
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) ||
        !same_time(&b->task[i].date, &info.st_mtim))
        return MR_OK;
    status = mr_state_open(path, &state, NULL);
    if (status != MR_OK)
        return status == MR_NOMEM ? status : MR_OK;
    status = judge_state(b, i, state, size, current_out);
    mr_state_take_coverage(state, &coverage);
    mr_state_close(state);
    if (*current_out)
        status = add_coverage(b, &coverage);
    mr_coverage_release(&coverage);
    return status;
}

/* An input that cannot even be looked at has no state: there may be no folder
 * to put one in. */
static enum mr_status note_absent(struct beside *b, size_t i, const char *cause)
{
    enum mr_status status;

    b->task[i].outcome = ABSENT;
    pthread_mutex_lock(&b->lock);
    b->unreadable++;
    status = mr_coverage_add_failure(
        &b->coverage, b->listing.inputs[i].name, MR_NOWHERE, cause);
    pthread_mutex_unlock(&b->lock);
    return status;
}

/* Look at the file itself; its outcome tells if it is none. */
static enum mr_status look_at_file(struct beside *b, size_t i, uint64_t *size)
{
    struct mr_error why;
    struct stat info;

    if (stat(b->listing.inputs[i].path, &info) != 0) {
        (void)mr_fail_errno(&why, errno, NULL, NULL);
        return note_absent(b, i, why.cause);
    }
    if (!S_ISREG(info.st_mode))
        return note_absent(b, i, "it is not a regular file");
    b->task[i].date = info.st_mtim;
    *size = (uint64_t)info.st_size;
    return MR_OK;
}

static enum mr_status look_at_input(
    struct beside *b, size_t i, struct mr_buffer *path)
{
    bool current = false;
    uint64_t size = 0;
    enum mr_status status = state_path(b, i, path);

    if (status == MR_OK)
        status = look_at_file(b, i, &size);
    if (status == MR_OK && b->task[i].outcome == WAITING)
        status = look_at_state(b, i, (const char *)path->p, size, &current);
    if (current)
        b->task[i].outcome = THERE;
    return status;
}

static bool is_stopped(const struct beside *b)
{
    return b->observer->stop != NULL && *b->observer->stop != 0;
}

static enum mr_status look_at_all(struct beside *b, struct mr_error *err)
{
    bool failed = false;

#pragma omp parallel num_threads((int)b->threads) reduction(|| : failed)
    {
        struct mr_buffer path = {0};

#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < b->listing.n; i++)
            if (!failed && !is_stopped(b))
                failed = look_at_input(b, i, &path) != MR_OK;
        mr_buffer_release(&path);
    }
    if (failed)
        return mr_fail_nomem(err);
    if (is_stopped(b))
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    return MR_OK;
}

/* ---- making states ---- */

/* List what is to be mapped. */
static enum mr_status list_todo(struct beside *b)
{
    size_t n = b->listing.n;

    b->todo = malloc((n + 1) * sizeof(*b->todo));
    if (b->todo == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (b->task[i].outcome == WAITING) {
            b->todo[b->n_todo++] = i;
            b->progress.bytes += b->listing.inputs[i].size;
        }
    b->progress.partitions = b->n_todo;
    return mr_listing_largest_first(&b->listing, 0, b->todo, b->n_todo);
}

/* Make the folders that a state in a mirrored tree is in. */
static enum mr_status make_folders(
    const struct beside *b, char *path, struct mr_error *err)
{
    char *slash = strrchr(path, '/');
    enum mr_status status;

    if (b->options->output == NULL || slash == NULL || slash == path)
        return MR_OK;
    *slash = '\0';
    status = mr_publish_folder(path, err);
    *slash = '/';
    return status;
}

/* What the new state tells is what it was asked to keep: it is read again. */
static enum mr_status read_back(
    struct beside *b, const char *path, struct mr_error *err)
{
    struct mr_state *state = NULL;
    struct mr_coverage coverage = {0};
    enum mr_status status = mr_state_open(path, &state, err);

    if (status != MR_OK)
        return status;
    mr_state_take_coverage(state, &coverage);
    mr_state_close(state);
    if (add_coverage(b, &coverage) != MR_OK)
        status = mr_fail_nomem(err);
    mr_coverage_release(&coverage);
    return status;
}

/* Whether a failure is about more than one state. */
static bool concerns_all(enum mr_status status)
{
    return status == MR_NOMEM || status == MR_STOPPED || status == MR_LIMIT;
}

/* A state could not be written: of several the first input's error stays, but
 * for one that concerns all. */
static void note_unwritten(
    struct beside *b, size_t i, const struct mr_error *why)
{
    bool all = concerns_all(why->status);

    b->task[i].outcome = UNWRITTEN;
    pthread_mutex_lock(&b->lock);
    if (b->failed.status == MR_OK || (all && !b->is_over) ||
        (all == b->is_over && i < b->failed_input)) {
        b->failed = *why;
        b->failed_input = i;
    }
    b->is_over = b->is_over || all;
    pthread_mutex_unlock(&b->lock);
}

static void tell_progress(struct beside *b, size_t i)
{
    double now;

    pthread_mutex_lock(&b->lock);
    b->progress.partitions_done++;
    b->progress.bytes_done += b->listing.inputs[i].size;
    now = mr_clock();
    if (b->observer->progress != NULL && now - b->last_progress >= 0.2) {
        b->last_progress = now;
        b->observer->progress(b->observer->context, &b->progress);
    }
    pthread_mutex_unlock(&b->lock);
}

static enum mr_status make_state(struct beside *b, size_t i, unsigned threads,
    char *path, struct mr_error *err)
{
    struct mr_map_one one = {.plan = b->plan,
        .input = &b->listing.inputs[i],
        .output = path,
        .threads = threads,
        .stop = b->observer->stop};
    enum mr_status status = make_folders(b, path, err);
    uint64_t size;

    /* It may have been waiting for long: what is gone by now, as a file that
     * has been given its name only then, is to have no state. */
    if (status == MR_OK && look_at_file(b, i, &size) != MR_OK)
        return mr_fail_nomem(err);
    if (status != MR_OK || b->task[i].outcome == ABSENT)
        return status;
    one.date = b->task[i].date;
    status = mr_map_one(&one, err);
    if (status == MR_OK)
        status = read_back(b, path, err);
    if (status == MR_OK)
        b->task[i].outcome = MADE;
    return status;
}

static bool is_over(struct beside *b)
{
    bool over;

    pthread_mutex_lock(&b->lock);
    over = b->is_over;
    pthread_mutex_unlock(&b->lock);
    return over || is_stopped(b);
}

static void make_states(struct beside *b)
{
    size_t n = b->n_todo;
    unsigned files = n < b->threads ? (unsigned)n : b->threads;
    unsigned each = files > 0 ? b->threads / files : 1;

    if (n == 0)
        return;
    omp_set_max_active_levels(2);
#pragma omp parallel num_threads((int)files)
    {
        struct mr_buffer path = {0};

#pragma omp for schedule(dynamic, 1)
        for (size_t k = 0; k < n; k++) {
            struct mr_error why = {.status = MR_OK};
            size_t i = b->todo[k];
            enum mr_status status = MR_OK;

            if (is_over(b))
                continue;
            if (state_path(b, i, &path) != MR_OK)
                status = mr_fail_nomem(&why);
            else
                status = make_state(b, i, each, (char *)path.p, &why);
            if (status != MR_OK)
                note_unwritten(b, i, &why);
            tell_progress(b, i);
        }
        mr_buffer_release(&path);
    }
}

/* ---- the verb ---- */

static enum mr_status prepare(struct beside *b, struct mr_error *err)
{
    const struct mr_beside_options *o = b->options;
    enum mr_status status =
        mr_plan_open(o->spec == NULL ? "lake" : o->spec, b->plan, err);

    if (status == MR_OK)
        mr_note_table(b->observer, &b->plan->spec, b->plan->table);
    if (status == MR_OK && o->output != NULL &&
        mr_text_ends(o->output, MR_STATE_SUFFIX))
        status =
            mr_fail(err, MR_USAGE, MR_NOWHERE, "name a folder for the output",
                "each file has a state of its own, and '%s' is one", o->output);
    if (status == MR_OK && mr_spec_digest(&b->plan->spec, &b->spec) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status = mr_listing_build(
            o->input, o->n_inputs, b->threads, &b->listing, err);
    /* Beside a file there is one place, whatever names it has. */
    if (status == MR_OK && o->output == NULL)
        mr_listing_unite_paths(&b->listing);
    if (status == MR_OK)
        mr_note_links(&b->listing, b->observer);
    if (status == MR_OK)
        status = check_places(b, err);
    if (status == MR_OK && o->shards > 1)
        status = mr_listing_shard(
            &b->listing, o->shard, o->shard_last, o->shards, err);
    if (status != MR_OK)
        return status;
    b->task = calloc(b->listing.n + 1, sizeof(*b->task));
    if (b->task == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < b->listing.n_unlisted && status == MR_OK; i++)
        status =
            mr_coverage_add_failure(&b->coverage, b->listing.unlisted[i].name,
                MR_NOWHERE, b->listing.unlisted[i].cause);
    b->unreadable = b->listing.n_unlisted;
    return status == MR_OK ? MR_OK : mr_fail_nomem(err);
}

static enum mr_status print_paths(
    const struct beside *b, const struct mr_sink *sink, struct mr_error *err)
{
    struct mr_buffer path = {0}, text = {0};
    enum mr_status status = MR_OK;
    int number = 0;

    for (size_t i = 0; i < b->listing.n && status == MR_OK; i++) {
        if (b->task[i].outcome != THERE && b->task[i].outcome != MADE)
            continue;
        status = state_path(b, i, &path);
        if (status == MR_OK)
            status = mr_buffer_add(&text, path.p, path.n - 1);
        if (status == MR_OK)
            status = mr_buffer_add(&text, "\n", 1);
    }
    if (status != MR_OK)
        status = mr_fail_nomem(err);
    else if (text.n > 0)
        number = sink->write(sink->context, text.p, text.n);
    if (number != 0)
        status = mr_fail_errno(err, number, "check where the output goes",
            "cannot write the paths of states");
    mr_buffer_release(&path);
    mr_buffer_release(&text);
    return status;
}

/* Count what there is, whatever has failed. */
static enum mr_status sum_up(
    struct beside *b, struct mr_beside_counts *counts, struct mr_result *result)
{
    struct mr_state_head head = {.n_types = 0};
    struct mr_coverage veiled;
    enum mr_status status = mr_coverage_veiled(&b->coverage, &veiled);

    if (status == MR_OK)
        status = mr_coverage_settle(&b->coverage);

    counts->failed = b->unreadable;
    for (size_t i = 0; i < b->listing.n; i++) {
        counts->there += b->task[i].outcome == THERE;
        counts->made += b->task[i].outcome == MADE;
    }
    head.coverage = b->coverage;
    if (status == MR_OK)
        status = mr_result_fill(result, &head, 0);
    if (status == MR_OK)
        status = mr_result_unveil(result, &veiled, &b->listing);
    mr_coverage_release(&veiled);
    return status;
}

/* Whether a walk from the folder that a state is kept for passes it by.  That
 * is so only of files that were named, as walks skip these as well. */
static bool is_passed_by(const struct beside *b, size_t i)
{
    const struct mr_input *in = &b->listing.inputs[i];

    return mr_text_is_hidden(
        b->options->output == NULL ? mr_text_last(in->path) : in->name);
}

/* States that reduce would leave out without a word. */
static void note_passed_by(const struct beside *b)
{
    size_t n = 0, first = 0;

    for (size_t i = 0; i < b->listing.n; i++) {
        if ((b->task[i].outcome != THERE && b->task[i].outcome != MADE) ||
            !is_passed_by(b, i))
            continue;
        first = n++ == 0 ? i : first;
    }
    if (n > 0)
        mr_note(b->observer,
            "mr reduce of a folder skips names that begin with '_' or '.', and "
            "so the state%s of '%s'%s: name %s beside the folder",
            mr_text_plural(n), b->listing.inputs[first].path,
            n == 1 ? "" : " and others", n == 1 ? "it" : "them");
}

/* What has failed, if anything. */
static enum mr_status tell_failure(const struct beside *b, struct mr_error *err)
{
    if (is_stopped(b))
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    if (b->failed.status == MR_OK)
        return MR_OK;
    if (err != NULL)
        *err = b->failed;
    return b->failed.status;
}

static enum mr_status run(struct beside *b, const struct mr_sink *sink,
    struct mr_beside_counts *counts, struct mr_result *result,
    struct mr_error *err)
{
    enum mr_status status = prepare(b, err), printed;

    if (status == MR_OK)
        status = look_at_all(b, err);
    if (status == MR_OK && list_todo(b) != MR_OK)
        status = mr_fail_nomem(err);
    if (status != MR_OK)
        return status;
    make_states(b);
    if (sum_up(b, counts, result) != MR_OK)
        return mr_fail_nomem(err);
    status = tell_failure(b, err);
    printed = print_paths(b, sink, status == MR_OK ? err : NULL);
    return status != MR_OK ? status : printed;
}

enum mr_status mr_beside(const struct mr_beside_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_beside_counts *counts_out, struct mr_result *result_out,
    struct mr_error *err)
{
    struct beside b = {.options = options,
        .observer = observer,
        .plan = calloc(1, sizeof(struct mr_plan))};
    double start = mr_clock();
    enum mr_status status;

    memset(counts_out, 0, sizeof(*counts_out));
    memset(result_out, 0, sizeof(*result_out));
    if (b.plan == NULL)
        return mr_fail_nomem(err);
    if (pthread_mutex_init(&b.lock, NULL) != 0) {
        free(b.plan);
        return mr_fail_nomem(err);
    }
    omp_set_dynamic(0);
    b.threads = mr_threads(options->threads);
    status = run(&b, sink, counts_out, result_out, err);
    if (status == MR_OK)
        note_passed_by(&b);
    if (status == MR_OK)
        mr_note_no_event(
            observer, &b.plan->spec, &result_out->totals, "", NULL);
    mr_coverage_release(&b.coverage);
    mr_plan_release(b.plan);
    mr_listing_release(&b.listing);
    mr_stream_release_spares();
    pthread_mutex_destroy(&b.lock);
    free(b.plan);
    free(b.task);
    free(b.todo);
    result_out->seconds = mr_clock() - start;
    return status;
}
