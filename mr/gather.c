#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mr/superseded.h"

/* Files that are open beside states. */
#define OTHER_FILES 24
/* Fewer are not worth merging. */
#define GROUP_MIN 4

/* A file as it was found. */
struct found {
    const char *path;
    struct mr_state *state; /* NULL: closed again */
    struct mr_digest name, spec;
    struct mr_coverage own; /* of one that was closed */
    const struct mr_coverage *coverage;
};

/* An open state in its place: one of a file is of level 0, one of a group of
 * the level above its members'. */
struct place {
    struct mr_state *state;
    unsigned level;
    bool segments; /* are to be added up */
};

struct gathering {
    const struct mr_gather_options *options;
    struct mr_gathered *result;
    struct found *found;
    size_t n;
    bool *segments; /* of those found; NULL: not yet decided */
    size_t group;   /* states that are merged at once */
    struct place *place;
    size_t n_places;
    bool merged; /* some have been */
};

/* ---- how many at once ---- */

/* Files that are open at most when n states are merged in groups. */
static size_t files_needed(size_t n, size_t group)
{
    size_t needed = group + 1;

    for (; n > group; n = (n + group - 1) / group)
        needed += group - 1;
    return needed;
}

static size_t choose_group(size_t n)
{
    long limit = sysconf(_SC_OPEN_MAX);
    size_t most = limit < 0             ? SIZE_MAX
                  : limit < OTHER_FILES ? 0
                                        : (size_t)limit - OTHER_FILES;
    size_t group = MR_GATHER_MAX;

    while (group > GROUP_MIN && files_needed(n, group) > most)
        group--;
    return group;
}

/* ---- finding out what there is ---- */

static bool is_stopped(const struct gathering *g)
{
    return g->options->stop != NULL && *g->options->stop != 0;
}

static enum mr_status fail_stopped(struct mr_error *err)
{
    return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
}

/* Open a file.  All are to share the spec of the first, which stays open. */
static enum mr_status open_one(struct gathering *g, const char *path,
    struct mr_state **state_out, struct mr_error *err)
{
    struct mr_state *state = NULL;
    enum mr_status status =
        is_stopped(g) ? fail_stopped(err) : mr_state_open(path, &state, err);

    if (status != MR_OK)
        return status;
    if (g->result->first != NULL) {
        mr_state_share_spec(state, g->result->first);
        status = mr_merge_check_spec(g->result->first, state, err);
    }
    if (status != MR_OK)
        mr_state_close(state);
    else
        *state_out = state;
    return status;
}

/* Open one; close it again if they are too many, except for the first, and
 * keep its coverage. */
static enum mr_status look_at(
    struct gathering *g, size_t i, struct mr_error *err)
{
    struct found *f = &g->found[i];
    struct mr_state *state;
    enum mr_status status = open_one(g, f->path, &state, err);

    if (status != MR_OK)
        return status;
    if (i == 0)
        g->result->first = state;
    f->state = state;
    f->name = mr_state_name_digest(state);
    f->spec = mr_state_spec_digest(state);
    f->coverage = &mr_state_get_head(state)->coverage;
    if (g->n <= g->group)
        return MR_OK;
    mr_state_take_coverage(state, &f->own);
    f->coverage = &f->own;
    f->state = NULL;
    if (i > 0)
        mr_state_close(state);
    return MR_OK;
}

/* The first, then the others, several at a time: what their heads hold has to
 * be unpacked and checked.  Of errors, that of the first file is told. */
static enum mr_status look_at_all(struct gathering *g, struct mr_error *err)
{
    /* Each has a file open. */
    const size_t threads =
        g->options->threads < g->group ? g->options->threads : g->group;
    enum mr_status status = look_at(g, 0, err);
    size_t failed = g->n;

    if (status != MR_OK)
        return status;
#pragma omp parallel for num_threads((int)threads) schedule(dynamic)
    for (size_t i = 1; i < g->n; i++) {
        struct mr_error own = {.status = MR_OK};
        enum mr_status result;
        size_t before;

#pragma omp atomic read
        before = failed;
        result = i < before ? look_at(g, i, &own) : MR_OK;
        if (result != MR_OK) {
#pragma omp critical
            if (i < failed) {
#pragma omp atomic write
                failed = i;
                status = result;
                if (err != NULL)
                    *err = own;
            }
        }
    }
    return status;
}

static void drop_found(struct gathering *g, struct found *f)
{
    mr_coverage_release(&f->own);
    if (f->state != g->result->first)
        mr_state_close(f->state);
    f->state = NULL;
}

/* Leave out what is superseded. */
static enum mr_status drop_superseded(struct gathering *g, struct mr_error *err)
{
    struct mr_superseded_state *state = calloc(g->n, sizeof(*state));
    size_t *by = calloc(g->n, sizeof(*by)), kept = 0;
    enum mr_status status = MR_NOMEM;

    for (size_t i = 0; state != NULL && i < g->n; i++)
        state[i] = (struct mr_superseded_state){
            g->found[i].spec, g->found[i].coverage};
    if (state != NULL && by != NULL)
        status = mr_superseded_find(state, g->n, by);
    for (size_t i = 0; status == MR_OK && i < g->n; i++) {
        struct found f = g->found[i];

        if (by[i] != MR_NOT_SUPERSEDED) {
            drop_found(g, &f);
            continue;
        }
        g->found[kept] = f;
        if (f.state == NULL)
            g->found[kept].coverage = &g->found[kept].own;
        kept++;
    }
    free(state);
    free(by);
    if (status != MR_OK)
        return mr_fail_nomem(err);
    g->result->n_superseded = g->n - kept;
    g->n = kept;
    return MR_OK;
}

/* Decide whose segments are added up while all are known by their own names:
 * of groups it could not be told. */
static enum mr_status choose_segments(struct gathering *g, struct mr_error *err)
{
    const struct mr_spec *spec = mr_state_get_head(g->result->first)->spec;
    struct mr_merge_source *source;
    enum mr_status status = MR_NOMEM;

    if (g->n <= g->group || spec->n_segments == 0)
        return MR_OK;
    source = calloc(g->n, sizeof(*source));
    g->segments = calloc(g->n, sizeof(*g->segments));
    for (size_t i = 0; source != NULL && i < g->n; i++)
        source[i] =
            (struct mr_merge_source){g->found[i].path, g->found[i].coverage};
    if (source == NULL || g->segments == NULL)
        (void)mr_fail_nomem(err);
    else
        status = mr_merge_choose_segments(source, g->n, g->segments, err);
    free(source);
    return status;
}

/* ---- merging in groups ---- */

static enum mr_status write_group(struct gathering *g, struct mr_merge *m,
    struct mr_state **state_out, struct mr_error *err)
{
    const struct mr_state_head *head = mr_merge_head(m);
    struct mr_state_writer *writer = NULL;
    struct mr_merged_kept kept = {.ids = {.n = 0}};
    uint64_t users;
    enum mr_status status = mr_state_writer_temporary(
        g->options->temporary, head->spec, &writer, err);

    if (status != MR_OK)
        return status;
    status = mr_merge_run(
        m, g->options->threads, NULL, writer, g->options->stop, &users, err);
    if (status == MR_OK)
        status = mr_merged_kept_open(m, &kept, writer, err);
    if (status == MR_OK)
        status = mr_state_writer_reopen(writer, head, state_out, err);
    else
        mr_state_writer_abort(writer);
    mr_merged_kept_free(&kept);
    return status;
}

/* Temporary files are where nobody asked for them to be. */
static void explain(const struct gathering *g, struct mr_error *err)
{
    const char *advice = "see that it is a folder that can be written to, or "
                         "set TMPDIR to another one";

    if (err == NULL || strcmp(err->path, g->options->temporary) != 0)
        return;
    (void)strcpy(err->action, "cannot write a temporary file in");
    if (err->number == EMFILE || err->number == ENFILE)
        return;
    if (err->status == MR_LIMIT)
        advice =
            "free some space there, or set TMPDIR to a folder that has more";
    (void)strcpy(err->advice, advice);
}

/* Merge the last n of the open states into one. */
static enum mr_status merge_last(
    struct gathering *g, size_t n, struct mr_error *err)
{
    struct place *place = &g->place[g->n_places - n];
    struct place joined = {.level = place->level + 1, .segments = true};
    struct mr_state *state[MR_GATHER_MAX];
    bool segments[MR_GATHER_MAX];
    struct mr_merge_past past = {.segments = segments};
    struct mr_merge *m = NULL;
    enum mr_status status;

    for (size_t i = 0; i < n; i++) {
        state[i] = place[i].state;
        segments[i] = place[i].segments;
    }
    status = mr_merge_new(state, n, &m, err);
    if (status == MR_OK) {
        mr_merge_set_past(m, &past);
        status = write_group(g, m, &joined.state, err);
        if (status != MR_OK)
            explain(g, err);
    }
    if (status == MR_OK) {
        mr_state_share_spec(joined.state, g->result->first);
        g->result->past.n_repeated += mr_merge_head(m)->coverage.n_repeated;
    }
    mr_merge_free(m);
    if (status != MR_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        mr_state_close(state[i]);
    *place = joined;
    g->n_places -= n - 1;
    g->merged = true;
    return MR_OK;
}

/* Whether the last of the open states make a group: all of one level. */
static bool has_group(const struct gathering *g)
{
    size_t n = g->n_places;

    return n >= g->group &&
           g->place[n - g->group].level == g->place[n - 1].level;
}

/* Open a file again, which must be what it was. */
static enum mr_status open_again(
    struct gathering *g, size_t i, struct mr_error *err)
{
    const struct found *f = &g->found[i];
    struct place *place = &g->place[g->n_places];
    struct mr_digest name;
    enum mr_status status = open_one(g, f->path, &place->state, err);

    if (status != MR_OK)
        return status;
    place->level = 0;
    place->segments = g->segments == NULL || g->segments[i];
    g->n_places++;
    name = mr_state_name_digest(place->state);
    if (memcmp(name.b, f->name.b, sizeof(name.b)) == 0)
        return MR_OK;
    status = mr_fail(err, MR_IO, MR_NOWHERE, "run the command again",
        "it was replaced while it was being read");
    mr_error_subject(err, "cannot use", f->path);
    return status;
}

static enum mr_status merge_groups(struct gathering *g, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < g->n; i++)
        mr_coverage_release(&g->found[i].own);
    for (size_t i = 0; i < g->n && status == MR_OK; i++) {
        status = open_again(g, i, err);
        while (status == MR_OK && g->n > g->group && has_group(g))
            status = merge_last(g, g->group, err);
    }
    while (status == MR_OK && g->n_places > g->group) {
        size_t n = g->n_places - g->group + 1;

        status = merge_last(g, n < g->group ? n : g->group, err);
    }
    return status;
}

/* ---- all of it ---- */

/* Place those that have stayed open. */
static void place_found(struct gathering *g)
{
    for (size_t i = 0; i < g->n; i++) {
        g->place[g->n_places++] = (struct place){g->found[i].state, 0, true};
        g->found[i].state = NULL;
    }
}

/* Hand over what is open. */
static enum mr_status hand_over(struct gathering *g, struct mr_error *err)
{
    struct mr_gathered *r = g->result;

    r->state = calloc(g->n_places + 1, sizeof(struct mr_state *));
    r->segments = calloc(g->n_places + 1, sizeof(*r->segments));
    if (r->state == NULL || r->segments == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < g->n_places; i++) {
        r->state[i] = g->place[i].state;
        r->segments[i] = g->place[i].segments;
    }
    r->n = g->n_places;
    r->past.segments = g->merged ? r->segments : NULL;
    g->n_places = 0;
    return MR_OK;
}

static void release_gathering(struct gathering *g)
{
    for (size_t i = 0; g->found != NULL && i < g->n; i++)
        drop_found(g, &g->found[i]);
    for (size_t i = 0; i < g->n_places; i++)
        if (g->place[i].state != g->result->first)
            mr_state_close(g->place[i].state);
    free(g->found);
    free(g->segments);
    free(g->place);
}

enum mr_status mr_gather_open(char *const *path, size_t n,
    const struct mr_gather_options *options, struct mr_gathered *g_out,
    struct mr_error *err)
{
    struct gathering g = {.options = options, .result = g_out, .n = n};
    enum mr_status status = MR_OK;

    *g_out = (struct mr_gathered){.n = 0};
    g.group = choose_group(n);
    g.found = calloc(n, sizeof(*g.found));
    g.place = calloc(files_needed(n, g.group), sizeof(*g.place));
    if (g.found == NULL || g.place == NULL)
        status = mr_fail_nomem(err);
    for (size_t i = 0; status == MR_OK && i < n; i++)
        g.found[i].path = path[i];
    if (status == MR_OK)
        status = look_at_all(&g, err);
    if (status == MR_OK)
        status = drop_superseded(&g, err);
    if (status == MR_OK)
        status = choose_segments(&g, err);
    if (status == MR_OK && n <= g.group)
        place_found(&g);
    else if (status == MR_OK)
        status = merge_groups(&g, err);
    if (status == MR_OK)
        status = hand_over(&g, err);
    release_gathering(&g);
    return status;
}

void mr_gather_release(struct mr_gathered *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->state[i] != g->first)
            mr_state_close(g->state[i]);
    mr_state_close(g->first);
    free(g->state);
    free(g->segments);
    *g = (struct mr_gathered){.n = 0};
}
