#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/forecast.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/manifest.h"
#include "mr/mr.h"
#include "mr/outputs.h"
#include "mr/publish.h"
#include "mr/result.h"
#include "mr/stream.h"
#include "mr/text.h"

/* Stored bytes of a first sample, by which the size of the next is told. */
#define FIRST_BYTES (UINT64_C(8) << 20)
/* How long the second is to take, and when either is ended. */
#define AIM_SECONDS 1.2
#define CUT_SECONDS 3.0
/* A first sample that took as long is enough. */
#define ENOUGH_SECONDS 0.6

/* The manual's section MEMORY, in numbers. */
#define USER_BYTES_LEAST 40
#define USER_BYTES_MOST 56
#define CELL_BYTES 16384
#define MEMBER_BYTES 4
#define PARTITION_BYTES 300
#define THREAD_BYTES_LEAST (UINT64_C(4) << 20)
#define THREAD_BYTES_MOST (UINT64_C(10) << 20)
#define WAITING_BYTES (UINT64_C(64) << 20)

void mr_forecast_release(struct mr_forecast *f)
{
    mr_places_release(&f->places);
    mr_state_close(f->sample.state);
    free(f->part);
    memset(f, 0, sizeof(*f));
}

/* ---- which inputs ---- */

static int ascending(const void *a, const void *b)
{
    const size_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b != 0) {
        size_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* A step that comes by each of n places once, and spreads them evenly: near
 * to the golden section of n, and without a divisor in common with it. */
static size_t golden_step(size_t n)
{
    size_t step = (size_t)((double)n * 0.6180339887498949);

    if (step == 0)
        step = 1;
    while (common_divisor(step, n) != 1)
        step++;
    return step % n;
}

uint64_t mr_forecast_choose(const struct mr_listing *listing, uint64_t budget,
    size_t least, size_t *chosen_out, size_t *n_out)
{
    size_t n = listing->n, step = n > 0 ? golden_step(n) : 0;
    size_t at = n / 2, chosen = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++, at = (at + step) % n) {
        uint64_t size = listing->inputs[at].size;

        if (size == 0)
            continue;
        if (chosen >= least && (bytes >= budget || size > budget - bytes))
            continue;
        chosen_out[chosen++] = at;
        bytes += size;
    }
    if (chosen > 1)
        qsort(chosen_out, chosen, sizeof(*chosen_out), ascending);
    *n_out = chosen;
    return bytes;
}

/* ---- estimates ---- */

static uint64_t scaled(uint64_t value, double factor)
{
    double product = (double)value * factor + 0.5;

    return product < 9e18 ? (uint64_t)product : (uint64_t)9e18;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Days and types that sketches and sets are kept of. */
static uint64_t count_cells(const struct mr_forecast *f)
{
    uint64_t named = 0;

    for (size_t i = 0; i < f->places.n; i++)
        named += f->places.row[i].has_day && f->places.row[i].type.p != NULL;
    return named > f->sample.cells ? named : f->sample.cells;
}

static void estimate_memory(struct mr_forecast *f, double factor)
{
    const struct mr_sample *s = &f->sample;
    uint64_t cells = count_cells(f), base, sets;

    base = f->partitions * PARTITION_BYTES + cells * CELL_BYTES;
    f->memory.least = base + f->threads * THREAD_BYTES_LEAST +
                      f->users.least * (USER_BYTES_LEAST + MEMBER_BYTES);
    sets = smaller(scaled(s->events, factor * MEMBER_BYTES),
        scaled(f->users.most, (double)cells / 8));
    f->memory.most = base + f->threads * THREAD_BYTES_MOST + WAITING_BYTES +
                     f->users.most * USER_BYTES_MOST + sets;
    if (f->memory.least > f->memory.most)
        f->memory.least = f->memory.most;
}

void mr_forecast_estimate(struct mr_forecast *f)
{
    const struct mr_sample *s = &f->sample;
    double factor;

    f->is_known = s->bytes > 0 && !s->is_cut;
    f->bytes_per_second =
        s->bytes > 0 && s->seconds > 0 ? (double)s->bytes / s->seconds : 0;
    if (!f->is_known)
        return;
    factor = f->bytes > s->bytes ? (double)f->bytes / (double)s->bytes : 1;
    f->users = (struct mr_range64){s->users, scaled(s->users, factor)};
    f->state_bytes =
        (struct mr_range64){s->state_bytes, scaled(s->state_bytes, factor)};
    estimate_memory(f, factor);
}

double mr_forecast_seconds(const struct mr_forecast *f, uint64_t bytes)
{
    return f->bytes_per_second > 0 ? (double)bytes / f->bytes_per_second : 0;
}

/* ---- the sample ---- */

/* A run of map that is ended when it takes too long. */
struct timed {
    const struct mr_observer *caller;
    double start, seconds; /* when it was ended */
    uint64_t bytes, inputs;
    atomic_int stop;
    bool is_cut, is_second;
};

static bool is_stopped(const struct mr_observer *observer)
{
    return observer->stop != NULL && *observer->stop != 0;
}

static void on_progress(void *context, const struct mr_progress *progress)
{
    struct timed *t = context;
    double seconds = mr_clock() - t->start;

    if (is_stopped(t->caller))
        t->stop = 1;
    if (t->stop != 0 || seconds < CUT_SECONDS)
        return;
    t->is_cut = true;
    t->stop = 1;
    t->seconds = seconds;
    t->bytes = progress->bytes_done;
    t->inputs = progress->partitions_done;
}

static enum mr_status keep_sample(struct mr_sample *s, const char *path,
    const struct mr_result *result, struct mr_error *err)
{
    enum mr_status status = mr_state_open(path, &s->state, err);

    if (status != MR_OK)
        return status;
    s->cells = mr_state_get_head(s->state)->n_cells;
    s->seconds = result->seconds;
    s->text_bytes = result->totals.text_bytes;
    s->events = result->totals.events;
    s->rejected = result->totals.rejected;
    s->reason = result->totals.reason;
    s->of_reason = result->totals.of_reason;
    s->failures = result->totals.failures;
    s->users = result->users;
    s->days = result->days;
    s->types = result->types;
    s->state_bytes = result->state_bytes;
    return MR_OK;
}

/* What map says of the spec, such as of its users table. */
static void on_note(void *context, const char *sentence)
{
    const struct timed *t = context;

    mr_note(t->caller, "%s", sentence);
}

/* Map some inputs into a file and look at it. */
static enum mr_status map_sample(const struct mr_forecast_options *o,
    char **path, size_t n, const char *file, struct timed *t,
    struct mr_sample *sample_out, struct mr_error *err)
{
    const struct mr_map_options map = {.spec = o->spec,
        .input = path,
        .n_inputs = n,
        .output = file,
        .threads = o->threads,
        .is_sample = true};
    const struct mr_observer observer = {.progress = on_progress,
        .note = t->is_second ? NULL : on_note,
        .context = t,
        .stop = &t->stop};
    struct mr_result result;
    enum mr_status status;

    t->start = mr_clock();
    status = mr_map(&map, &observer, &result, err);
    if (status == MR_OK)
        status = keep_sample(sample_out, file, &result, err);
    else if (status == MR_STOPPED && t->is_cut && !is_stopped(t->caller)) {
        *sample_out = (struct mr_sample){.is_cut = true,
            .seconds = t->seconds,
            .bytes = t->bytes,
            .inputs = t->inputs};
        status = MR_OK;
    }
    mr_result_release(&result);
    (void)unlink(file);
    return status;
}

/* What map takes for the very file: a name that begins with '@' is a list. */
static char *argument_of(const char *path)
{
    size_t n = strlen(path);
    char *argument = malloc(n + 3);

    if (argument != NULL)
        snprintf(argument, n + 3, "%s%s", path[0] == '@' ? "./" : "", path);
    return argument;
}

struct sampler {
    const struct mr_forecast_options *options;
    const struct mr_observer *observer;
    const struct mr_listing *listing;
    unsigned threads;
    size_t *chosen;
    char *file;
};

static enum mr_status take_sample(const struct sampler *s, uint64_t budget,
    bool is_second, struct mr_sample *sample_out, struct mr_error *err)
{
    struct timed t = {.caller = s->observer, .is_second = is_second};
    struct mr_sample sample = {.inputs = 0};
    enum mr_status status = MR_OK;
    char **path;
    size_t n, i;

    sample.bytes =
        mr_forecast_choose(s->listing, budget, s->threads, s->chosen, &n);
    sample.inputs = n;
    path = calloc(n + 1, sizeof(*path));
    if (path == NULL)
        return mr_fail_nomem(err);
    for (i = 0; i < n && status == MR_OK; i++) {
        path[i] = argument_of(s->listing->inputs[s->chosen[i]].path);
        if (path[i] == NULL)
            status = mr_fail_nomem(err);
    }
    if (status == MR_OK && n > 0)
        status = map_sample(s->options, path, n, s->file, &t, &sample, err);
    for (i = 0; i < n; i++)
        free(path[i]);
    free(path);
    if (status == MR_OK)
        *sample_out = sample;
    return status;
}

/* A small sample, and, where that was over too soon to tell much, one as
 * large as can be mapped in the time there is. */
static enum mr_status take_samples(
    const struct sampler *s, struct mr_forecast *f, struct mr_error *err)
{
    struct mr_sample second = {.inputs = 0};
    enum mr_status status = take_sample(s, FIRST_BYTES, false, &f->sample, err);
    uint64_t budget;

    if (status != MR_OK || f->sample.is_cut || f->sample.bytes == 0 ||
        f->sample.bytes == f->bytes || f->sample.seconds >= ENOUGH_SECONDS)
        return status;
    budget = scaled(f->sample.bytes, AIM_SECONDS / (f->sample.seconds + 0.001));
    status = take_sample(s, budget, true, &second, err);
    if (status != MR_OK || second.is_cut)
        return status;
    mr_state_close(f->sample.state);
    f->sample = second;
    return MR_OK;
}

/* The same in a folder of its own for the states. */
static enum mr_status sample_inputs(
    struct sampler *s, struct mr_forecast *f, struct mr_error *err)
{
    size_t n = strlen(s->options->scratch) + 40;
    char *folder = malloc(n);
    enum mr_status status;

    s->file = malloc(n + 16);
    s->chosen = malloc((s->listing->n + 1) * sizeof(*s->chosen));
    if (folder == NULL || s->file == NULL || s->chosen == NULL) {
        status = mr_fail_nomem(err);
        goto end;
    }
    snprintf(folder, n, "%s/" MR_TEMPORARY "plan-XXXXXX", s->options->scratch);
    if (mkdtemp(folder) == NULL) {
        status = mr_fail_errno(err, errno,
            "make it writable, or set TMPDIR to another folder", NULL);
        mr_error_subject(err, "cannot make a folder in", s->options->scratch);
        goto end;
    }
    snprintf(s->file, n + 16, "%s/sample.mrs", folder);
    status = take_samples(s, f, err);
    (void)rmdir(folder);
end:
    free(s->chosen);
    free(s->file);
    free(folder);
    return status;
}

/* ---- the verb ---- */

static enum mr_status add_up(const struct mr_listing *listing,
    struct mr_forecast *f, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < listing->n && status == MR_OK; i++) {
        const struct mr_input *in = &listing->inputs[i];

        if (strcmp(in->path, "-") == 0)
            return mr_fail(err, MR_USAGE, MR_NOWHERE, "name files or folders",
                "standard input cannot be planned");
        f->partitions++;
        f->bytes += in->size;
        if (mr_places_add(&f->places, in->name, in->size, false) != MR_OK)
            status = mr_fail_nomem(err);
    }
    mr_places_sort(&f->places);
    return status;
}

static enum mr_status deal(const struct mr_listing *listing, unsigned n,
    struct mr_forecast *f, struct mr_error *err)
{
    unsigned *part = malloc((listing->n + 1) * sizeof(*part));
    enum mr_status status;

    f->part = calloc(n, sizeof(*f->part));
    if (part == NULL || f->part == NULL) {
        free(part);
        return mr_fail_nomem(err);
    }
    status = mr_listing_deal(listing, n, part, err);
    for (size_t i = 0; i < listing->n && status == MR_OK; i++) {
        f->part[part[i] - 1].partitions++;
        f->part[part[i] - 1].bytes += listing->inputs[i].size;
    }
    f->n_parts = n;
    free(part);
    return status;
}

/* Those that could not be listed, as failures of a run. */
static enum mr_status fill_result(
    struct mr_result *result, const struct mr_listing *listing)
{
    struct mr_coverage c = {.n_failures = 0};
    struct mr_state_head head = {.n_cells = 0};
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < listing->n_unlisted && status == MR_OK; i++)
        status = mr_coverage_add_failure(&c, listing->unlisted[i].name,
            MR_NOWHERE, listing->unlisted[i].cause);
    head.coverage = c;
    if (status == MR_OK)
        status = mr_result_fill(result, &head, 0);
    mr_coverage_release(&c);
    return status;
}

static enum mr_status print(const struct mr_forecast *f,
    const struct mr_forecast_options *o, const struct mr_sink *sink,
    struct mr_error *err)
{
    struct mr_buffer text = {0};
    enum mr_status status = o->format == MR_FORMAT_JSON
                                ? mr_forecast_json(f, &text)
                                : mr_forecast_table(f, &text);
    int number;

    if (status != MR_OK) {
        status = mr_fail_nomem(err);
    } else {
        number = sink->write(sink->context, text.p, text.n);
        if (number != 0)
            status = mr_fail_errno(err, number, "check where the output goes",
                "cannot write the plan");
    }
    mr_buffer_release(&text);
    return status;
}

static void remark(
    const struct mr_sample *s, const struct mr_observer *observer)
{
    const struct mr_totals totals = {.events = s->events,
        .rejected = s->rejected,
        .reason = s->reason,
        .of_reason = s->of_reason};

    if (s->is_cut)
        mr_note(observer, "the files of the sample are so large that it was "
                          "ended before one of them was read: users, memory "
                          "and the state's size cannot be told");
    if (s->failures > 0)
        mr_note(observer,
            "of the sample %llu partition%s could not be read; map will name "
            "%s",
            (unsigned long long)s->failures, mr_text_plural(s->failures),
            s->failures == 1 ? "it" : "them");
    if (s->state != NULL)
        mr_note_no_event(observer, mr_state_get_head(s->state)->spec, &totals,
            " of the sample", NULL);
}

/* That the manifest would replace nothing that the forecast is of. */
static enum mr_status check_manifest(const struct mr_forecast_options *o,
    const struct mr_listing *listing, struct mr_error *err)
{
    const char *name = o->spec == NULL ? "lake" : o->spec;
    struct mr_spec *spec;
    enum mr_status status;

    if (o->manifest == NULL)
        return MR_OK;
    spec = malloc(sizeof(*spec));
    if (spec == NULL)
        return mr_fail_nomem(err);
    status = mr_spec_load(name, spec, err);
    if (status == MR_OK)
        status = mr_output_check(
            o->manifest, "--manifest", name, spec, listing, err);
    free(spec);
    return status;
}

/* The list is what a run is judged by: it is written also where the sample has
 * failed, but not once the run has been told to stop. */
static enum mr_status publish(const char *path,
    const struct mr_buffer *manifest, const struct mr_observer *observer,
    enum mr_status sampled, struct mr_error *err)
{
    enum mr_status status;

    if (is_stopped(observer))
        return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
    status = mr_publish_bytes(
        NULL, path, manifest->p, manifest->n, sampled == MR_OK ? err : NULL);
    return sampled == MR_OK ? status : sampled;
}

static enum mr_status make_forecast(struct mr_forecast *f,
    const struct mr_forecast_options *o, const struct mr_listing *listing,
    const struct mr_observer *observer, struct mr_error *err)
{
    struct sampler s = {.options = o,
        .observer = observer,
        .listing = listing,
        .threads = f->threads};
    enum mr_status status = check_manifest(o, listing, err);
    struct mr_buffer manifest = {0};

    if (status == MR_OK)
        status = add_up(listing, f, err);
    if (status == MR_OK && o->shards > 0)
        status = deal(listing, o->shards, f, err);
    if (status == MR_OK && o->manifest != NULL)
        status = mr_manifest_text(listing, observer->stop, &manifest, err);
    if (status == MR_OK) {
        status = sample_inputs(&s, f, err);
        if (o->manifest != NULL)
            status = publish(o->manifest, &manifest, observer, status, err);
    }
    mr_buffer_release(&manifest);
    if (status == MR_OK)
        mr_forecast_estimate(f);
    return status;
}

enum mr_status mr_forecast(const struct mr_forecast_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err)
{
    struct mr_forecast f = {.threads = mr_threads(options->threads)};
    struct mr_listing listing;
    enum mr_status status;

    memset(result_out, 0, sizeof(*result_out));
    status = mr_listing_build(
        options->input, options->n_inputs, f.threads, &listing, err);
    if (status == MR_OK)
        mr_note_links(&listing, observer);
    if (status == MR_OK)
        status = make_forecast(&f, options, &listing, observer, err);
    if (status == MR_OK && fill_result(result_out, &listing) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK) {
        remark(&f.sample, observer);
        status = print(&f, options, sink, err);
    }
    mr_listing_release(&listing);
    mr_forecast_release(&f);
    mr_stream_release_spares();
    return status;
}
