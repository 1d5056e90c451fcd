#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/result.h"

#include <pthread.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mr/machine.h"
#include "mr/text.h"

const char *mr_version(void)
{
    return PACKAGE_VERSION;
}

void mr_mask(char *text)
{
    uint8_t *p = (uint8_t *)text;
    size_t left = strlen(text);

    while (left > 0) {
        size_t n = mr_text_shown(p, left);

        if (n == 0) {
            *p = '?';
            n = 1;
        }
        p += n;
        left -= n;
    }
}

static void release_failed(struct mr_result *result)
{
    for (size_t i = 0; i < result->n_failed; i++) {
        /* The strings are the result's own; only readers see them const. */
        free((void *)(uintptr_t)result->failed[i].name);
        free((void *)(uintptr_t)result->failed[i].cause);
    }
    free(result->failed);
    result->failed = NULL;
    result->n_failed = 0;
}

void mr_result_release(struct mr_result *result)
{
    release_failed(result);
    for (size_t i = 0; i < result->n_states; i++)
        free(result->state[i]);
    free(result->state);
    memset(result, 0, sizeof(*result));
}

/* What failed, and what to do about it, where the cause is no file's. */
static void describe(struct mr_failed *f)
{
    f->action = "cannot read";
    f->advice = NULL;
    if (mr_cause_is(f->cause, MR_CAUSE_PENDING)) {
        f->action = "missing";
    } else if (mr_cause_is(f->cause, MR_CAUSE_MISSING)) {
        f->action = "missing";
        f->advice = "map it, then reduce again";
    } else if (mr_cause_is(f->cause, MR_CAUSE_CHANGED)) {
        f->action = "cannot rely on";
        f->advice = "map it again, or plan again if it is right";
    }
}

static enum mr_status fill_failed(
    struct mr_result *result, const struct mr_coverage *c)
{
    size_t n = c->n_failures < MR_FAILED_MAX ? c->n_failures : MR_FAILED_MAX;

    release_failed(result);
    result->failed = calloc(n + 1, sizeof(*result->failed));
    if (result->failed == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct mr_failed *f = &result->failed[i];

        f->name = strdup(c->failure[i].name);
        f->cause = strdup(c->failure[i].cause);
        f->offset = c->failure[i].offset;
        result->n_failed++;
        if (f->name == NULL || f->cause == NULL)
            return MR_NOMEM;
        describe(f);
    }
    return MR_OK;
}

enum mr_status mr_result_count(
    struct mr_result *result, const struct mr_coverage *c)
{
    struct mr_coverage_totals sum;

    if (mr_coverage_sum(c, &sum) != MR_OK)
        return MR_NOMEM;
    result->totals = (struct mr_totals){.partitions = sum.partitions,
        .failures = sum.failures,
        .repeated = c->n_repeated,
        .lines = sum.lines,
        .events = sum.events,
        .rejected = sum.rejected,
        .blank = sum.blank,
        .events_without_user = sum.events_without_user,
        .other_day = sum.other_day,
        .other_type = sum.other_type,
        .stored_bytes = sum.stored_bytes,
        .text_bytes = sum.text_bytes,
        .renamed = sum.renamed};
    for (unsigned i = 0; i < MR_REASON_COUNT; i++) {
        if (sum.reason[i] > result->totals.of_reason) {
            result->totals.reason = i;
            result->totals.of_reason = sum.reason[i];
        }
    }
    for (size_t i = 0; i < c->n_failures; i++)
        result->totals.pending +=
            mr_cause_is(c->failure[i].cause, MR_CAUSE_PENDING);
    return fill_failed(result, c);
}

enum mr_status mr_result_fill(
    struct mr_result *result, const struct mr_state_head *head, uint64_t users)
{
    result->users = users;
    result->types = head->n_types;
    result->days = 0;
    for (size_t i = 0; i < head->n_cells; i++)
        result->days += i == 0 || head->cell[i].day != head->cell[i - 1].day;
    return mr_result_count(result, &head->coverage);
}

/* The paths of files of a name, the first two of them, as a text. */
static char *paths_of(const struct mr_listing *listing, const char *name)
{
    size_t first = mr_listing_find(listing, name, false);
    size_t n = mr_listing_find(listing, name, true) - first, size;
    const struct mr_input *in = listing->inputs + first;
    char *text;

    if (n < 2)
        return strdup(name);
    size = strlen(in[0].path) + strlen(in[1].path) + 16;
    text = malloc(size);
    if (text != NULL)
        (void)snprintf(text, size, "%s or %s%s", in[0].path, in[1].path,
            n > 2 ? " or others" : "");
    return text;
}

enum mr_status mr_result_unveil(struct mr_result *result,
    const struct mr_coverage *veiled, const struct mr_listing *listing)
{
    size_t n = result->n_failed + veiled->n_failures;
    struct mr_failed *failed =
        realloc(result->failed, (n + 1) * sizeof(*failed));

    if (failed == NULL)
        return MR_NOMEM;
    result->failed = failed;
    result->totals.failures += veiled->n_failures;
    for (size_t i = 0; i < veiled->n_failures; i++) {
        struct mr_failed *f = &result->failed[result->n_failed];
        char cause[320];

        if (result->n_failed >= MR_FAILED_MAX)
            break;
        (void)snprintf(cause, sizeof(cause),
            "%.160s; the state does not tell, as another file of its partition "
            "name was read: give their folders names such as host=1 and host=2",
            veiled->failure[i].cause);
        f->name = paths_of(listing, veiled->failure[i].name);
        f->cause = strdup(cause);
        f->offset = veiled->failure[i].offset;
        result->n_failed++;
        if (f->name == NULL || f->cause == NULL)
            return MR_NOMEM;
        describe(f);
    }
    return MR_OK;
}

void mr_note_links(
    const struct mr_listing *listing, const struct mr_observer *observer)
{
    if (listing->n_links == 1)
        mr_note(observer,
            "'%s' is a link to a folder and was not followed: name it, too, if "
            "what it leads to is to be counted",
            listing->link);
    else if (listing->n_links > 1)
        mr_note(observer,
            "%zu links to folders, '%s' first, were not followed: name them, "
            "too, if what they lead to is to be counted",
            listing->n_links, listing->link);
}

void mr_note_names(
    const struct mr_listing *listing, const struct mr_observer *observer)
{
    const struct mr_input *in = listing->inputs, *one = NULL;
    size_t n = 0;

    for (size_t i = 1; i < listing->n; i++)
        if (strcmp(in[i - 1].name, in[i].name) == 0) {
            one = one == NULL ? &in[i] : one;
            n++;
        }
    if (n > 0)
        mr_note(observer,
            "'%s' and '%s' have one partition name%s: all are counted, but "
            "where one cannot be read, a state that has the other does not "
            "tell; give their folders names such as host=1 and host=2",
            one[-1].path, one->path, n > 1 ? ", and so have others" : "");
}

void mr_note(const struct mr_observer *observer, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;

    if (observer->note == NULL)
        return;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    observer->note(observer->context, sentence);
}

void mr_note_table(const struct mr_observer *observer,
    const struct mr_spec *spec, const struct mr_usertable *table)
{
    const struct mr_usertable_counts *c;
    const char *file = spec->users_table.file;

    if (table == NULL)
        return;
    c = &table->counts;
    if (c->repeated > 0)
        mr_note(observer,
            "users table '%s': %" PRIu64 " of %" PRIu64 " rows %s left out, as "
            "the user had a row before; of these, %" PRIu64 " say%s something "
            "else in columns that the spec uses",
            file, c->repeated, c->rows, c->repeated == 1 ? "is" : "are",
            c->differing, c->differing == 1 ? "s" : "");
    if (c->without_id > 0)
        mr_note(observer,
            "users table '%s': %" PRIu64 " of %" PRIu64 " rows %s left out, "
            "without a user's id",
            file, c->without_id, c->rows, c->without_id == 1 ? "is" : "are");
    if (c->outside > 0)
        mr_note(observer,
            "users table '%s': %" PRIu64 " value%s of '%s' %s in none of its "
            "ranges, and %s as none",
            file, c->outside, mr_text_plural(c->outside),
            spec->users_table.ranged, c->outside == 1 ? "is" : "are",
            c->outside == 1 ? "counts" : "count");
    /* A column may be called by its name in one place and by its number in
     * another, or in two ways: then its values stay as they are. */
    if (spec->users_table.n_ranges > 0 &&
        mr_usertable_column(table, spec->users_table.ranged) < 0)
        mr_note(observer,
            "users table '%s': the ranges of '%s' are of no account, as the "
            "spec has no users.%s",
            file, spec->users_table.ranged, spec->users_table.ranged);
}

void mr_note_no_event(const struct mr_observer *observer,
    const struct mr_spec *spec, const struct mr_totals *t, const char *of,
    const char *rejects)
{
    char reason[MR_PATH_MAX_BYTES + 32];

    if (t->events > 0 || t->rejected == 0)
        return;
    mr_spec_reason(spec, t->reason, reason, sizeof(reason));
    mr_note(observer,
        "no line%s is an event: is it the right --spec? The reason of %llu of "
        "%llu rejected lines is '%s'; %s%s%s, and 'mr init' proposes a spec",
        of, (unsigned long long)t->of_reason, (unsigned long long)t->rejected,
        reason, rejects != NULL ? "the lines are in '" : "",
        rejects != NULL ? rejects : "map --rejects FILE shows the lines",
        rejects != NULL ? "'" : "");
}

double mr_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct trial {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_over;
};

static void *await_end(void *context)
{
    struct trial *trial = context;

    pthread_mutex_lock(&trial->lock);
    while (!trial->is_over)
        pthread_cond_wait(&trial->ended, &trial->lock);
    pthread_mutex_unlock(&trial->lock);
    return NULL;
}

static unsigned start_threads(unsigned wanted)
{
    struct trial trial = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    pthread_t *thread = malloc(wanted * sizeof(*thread));
    unsigned n = 0;

    if (thread == NULL)
        return 1;
    while (n + 1 < wanted &&
           pthread_create(&thread[n], NULL, await_end, &trial) == 0)
        n++;
    pthread_mutex_lock(&trial.lock);
    trial.is_over = true;
    pthread_cond_broadcast(&trial.ended);
    pthread_mutex_unlock(&trial.lock);
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(thread[i], NULL);
    free(thread);
    pthread_cond_destroy(&trial.ended);
    pthread_mutex_destroy(&trial.lock);
    /* What was scarce, memory say, is needed for other things too. */
    return n + 1 < wanted ? 1 + n / 2 : wanted;
}

unsigned mr_threads(unsigned wanted)
{
    return start_threads(wanted > 0 ? wanted : mr_machine_processors());
}
