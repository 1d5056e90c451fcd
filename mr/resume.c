#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/resume.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mr/publish.h"
#include "mr/result.h"
#include "mr/statelist.h"
#include "mr/text.h"

/*
 * The listing ascends by name, so each name of each state's partitions is
 * looked up in it; what agrees in size, too, is a match.  Of an input's
 * matches those in the state with the most matches come first, so that what
 * is found rests on few states.
 */

/* How often the folder may change under a run's eyes. */
#define RENEWALS_MAX 16

struct match {
    size_t input;
    size_t state;
    size_t n_of_state; /* matches that the state has */
    const struct mr_partition *partition;
};

/* A state with matches.  It is not kept open: there may be thousands. */
struct had {
    char *path; /* NULL: nothing of it is wanted */
    struct mr_coverage coverage;
};

/* Where an input was found; all zero is nowhere. */
struct found {
    const struct had *state;
    const struct mr_partition *partition;
};

struct mr_resume {
    char *folder;
    const struct mr_spec *spec;
    const struct mr_listing *listing;
    struct had *state;
    size_t n_states;
    struct match *match; /* ascending by input */
    size_t n_matches, cap_matches;
    struct found *found;     /* by input */
    uint8_t *named;          /* by input: some state has its name; or bytes */
    struct mr_resume *newer; /* whose states some of found is in */
};

static void release_had(struct had *state)
{
    free(state->path);
    mr_coverage_release(&state->coverage);
}

void mr_resume_free(struct mr_resume *r)
{
    if (r == NULL)
        return;
    mr_resume_free(r->newer);
    for (size_t i = 0; i < r->n_states; i++)
        release_had(&r->state[i]);
    free(r->state);
    free(r->match);
    free(r->found);
    free(r->named);
    free(r->folder);
    free(r);
}

/* ---- what is not used ---- */

static void note_refused(
    const struct mr_observer *observer, const char *path, struct mr_error *why)
{
    char text[1024];

    mr_error_subject(why, "cannot use", path);
    mr_error_format(why, text, sizeof(text));
    mr_note(observer, "%s", text);
}

/* What is there already cannot be looked for: nothing is left out then. */
static void note_unseen(
    const struct mr_observer *observer, const struct mr_error *why)
{
    char text[1024];

    if (why->status != MR_IO)
        return; /* there is nothing */
    mr_error_format(why, text, sizeof(text));
    mr_note(observer,
        "files that were read before are not looked for, and read again: %s",
        text);
}

void mr_resume_note_temporary(
    const char *folder, const struct mr_observer *observer)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    unsigned n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        n += strncmp(entry->d_name, MR_TEMPORARY, strlen(MR_TEMPORARY)) == 0;
    if (dir != NULL)
        closedir(dir);
    if (n > 0)
        mr_note(observer,
            "'%s' has %u file%s " MR_TEMPORARY "* of runs that were killed, or "
            "are at work; no state is read from %s, and when no run is at "
            "work %s can be removed",
            folder, n, mr_text_plural(n), n == 1 ? "it" : "them",
            n == 1 ? "it" : "they");
}

/* ---- matches ---- */

static enum mr_status add_match(struct mr_resume *r, const struct match *match)
{
    if (r->n_matches == r->cap_matches) {
        size_t cap = r->cap_matches + r->cap_matches / 2 + 64;
        struct match *grown = realloc(r->match, cap * sizeof(*grown));

        if (grown == NULL)
            return MR_NOMEM;
        r->match = grown;
        r->cap_matches = cap;
    }
    r->match[r->n_matches++] = *match;
    return MR_OK;
}

#define HAS_NAME 1
#define HAS_BYTES 2 /* of its name, which can be compared with the input's */

/* What is read from a pipe could not be read again. */
static bool is_regular(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* What a partition is to an input of its name.  Of an archive, whose members
 * are the partitions, there is only a mark; standard input and pipes, of which
 * no size is known, are other bytes each time. */
static uint8_t likeness(const struct mr_input *in, const struct mr_partition *p)
{
    bool is_archive = p->stored_bytes == 0 && in->size > 0;
    bool may_be_pipe = in->size == 0 && p->stored_bytes > 0;

    if (is_archive || strcmp(in->path, "-") == 0 ||
        (may_be_pipe && !is_regular(in->path)))
        return HAS_NAME;
    return HAS_NAME | HAS_BYTES;
}

static enum mr_status match_name(struct mr_resume *r, size_t state,
    const struct mr_partition *p, const char *name)
{
    const struct mr_listing *l = r->listing;
    enum mr_status status = MR_OK;

    for (size_t i = mr_listing_find(l, name, false);
         i < l->n && status == MR_OK; i++) {
        const struct mr_input *in = &l->inputs[i];

        if (strcmp(in->name, name) != 0)
            break;
        r->named[i] |= likeness(in, p);
        if (in->size == p->stored_bytes && strcmp(in->path, "-") != 0)
            status = add_match(r, &(struct match){i, state, 0, p});
    }
    return status;
}

/* All matches of a state. */
static enum mr_status match_all(
    struct mr_resume *r, size_t state, const struct mr_coverage *c)
{
    size_t before = r->n_matches;
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < c->n_partitions && status == MR_OK; i++)
        for (size_t k = 0; k < c->partition[i].n_names; k++)
            if (status == MR_OK)
                status = match_name(
                    r, state, &c->partition[i], c->partition[i].name[k]);
    for (size_t i = before; i < r->n_matches; i++)
        r->match[i].n_of_state = r->n_matches - before;
    return status;
}

/* Find the matches of an open state, and keep what is known of its partitions
 * if there are any; then all else in it is checked. */
static enum mr_status take_state(struct mr_resume *r, size_t i,
    struct mr_state *state, const atomic_int *stop, struct mr_error *err)
{
    size_t before = r->n_matches;
    enum mr_status status =
        match_all(r, i, &mr_state_get_head(state)->coverage);

    if (status != MR_OK)
        return mr_fail_nomem(err);
    if (r->n_matches == before)
        return MR_OK;
    status = mr_state_check(state, stop, err);
    r->state[i].path = strdup(mr_state_path(state));
    if (status == MR_OK && r->state[i].path == NULL)
        status = mr_fail_nomem(err);
    if (status == MR_OK) {
        mr_state_take_coverage(state, &r->state[i].coverage);
    } else {
        r->n_matches = before;
        release_had(&r->state[i]);
        r->state[i].path = NULL;
    }
    return status;
}

/* ---- the folder ---- */

static enum mr_status has_spec(
    const struct mr_resume *r, const struct mr_state *state, bool *has_out)
{
    struct mr_buffer difference = {0};
    enum mr_status status = mr_spec_difference(
        r->spec, mr_state_get_head(state)->spec, &difference);

    *has_out = difference.n == 0;
    mr_buffer_release(&difference);
    return status;
}

/* Open a state and take what is wanted of it, unless it is of another spec. */
static enum mr_status open_state(struct mr_resume *r, const char *path,
    size_t i, const atomic_int *stop, bool *foreign_out, struct mr_error *err)
{
    struct mr_state *state;
    enum mr_status status = mr_state_open(path, &state, err);
    bool has = false;

    if (status != MR_OK)
        return status;
    if (has_spec(r, state, &has) != MR_OK)
        status = mr_fail_nomem(err);
    *foreign_out = status == MR_OK && !has;
    if (has)
        status = take_state(r, i, state, stop, err);
    mr_state_close(state);
    return status;
}

/* Another run has removed it in favour of a later one. */
static bool is_gone(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

static enum mr_status open_states(struct mr_resume *r,
    const struct mr_state_list *list, const struct mr_observer *observer,
    struct mr_error *err)
{
    const char *foreign = NULL;
    size_t n_foreign = 0;

    r->state = calloc(list->n + 1, sizeof(*r->state));
    if (r->state == NULL)
        return mr_fail_nomem(err);
    r->n_states = list->n;
    for (size_t i = 0; i < list->n; i++) {
        struct mr_error why = {.status = MR_OK};
        bool is_foreign = false;
        enum mr_status status =
            open_state(r, list->path[i], i, observer->stop, &is_foreign, &why);

        if (status == MR_NOMEM || status == MR_STOPPED) {
            *err = why;
            return status;
        }
        if (status != MR_OK && !is_gone(list->path[i]))
            note_refused(observer, list->path[i], &why);
        if (is_foreign && n_foreign++ == 0)
            foreign = list->path[i];
    }
    if (n_foreign > 0)
        mr_note(observer,
            "%zu state%s in '%s', '%s' first, %s of another spec "
            "and not used; write the states of each spec into a folder of its "
            "own",
            n_foreign, mr_text_plural(n_foreign), r->folder, foreign,
            n_foreign == 1 ? "is" : "are");
    return MR_OK;
}

static int compare_matches(const void *a, const void *b)
{
    const struct match *x = a, *y = b;

    if (x->input != y->input)
        return x->input < y->input ? -1 : 1;
    if (x->n_of_state != y->n_of_state)
        return x->n_of_state > y->n_of_state ? -1 : 1;
    return x->state < y->state ? -1 : x->state > y->state;
}

static bool names_any(const struct mr_resume *r)
{
    for (size_t i = 0; i < r->listing->n; i++)
        if (r->named[i])
            return true;
    return false;
}

static struct mr_resume *resume_new(const char *folder,
    const struct mr_spec *spec, const struct mr_listing *listing)
{
    struct mr_resume *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->folder = strdup(folder);
    r->spec = spec;
    r->listing = listing;
    r->found = calloc(listing->n + 1, sizeof(*r->found));
    r->named = calloc(listing->n + 1, sizeof(*r->named));
    if (r->folder != NULL && r->found != NULL && r->named != NULL)
        return r;
    mr_resume_free(r);
    return NULL;
}

static bool is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum mr_status mr_resume_open(const char *folder, const struct mr_spec *spec,
    const struct mr_listing *listing, const struct mr_observer *observer,
    struct mr_resume **resume_out, struct mr_error *err)
{
    struct mr_resume *r = resume_new(folder, spec, listing);
    char *only = (char *)(uintptr_t)folder;
    struct mr_state_list list = {.n = 0};
    struct mr_error why = {.status = MR_OK};
    enum mr_status status;

    if (r == NULL)
        return mr_fail_nomem(err);
    /* A folder that is not there, or cannot be looked at, has nothing; what
     * there is to say of it will be said when it is written to. */
    status =
        is_folder(folder) ? mr_state_list_build(&only, 1, &list, &why) : MR_IO;
    if (status == MR_NOMEM) {
        *err = why;
    } else if (status == MR_OK) {
        status = open_states(r, &list, observer, err);
    } else {
        note_unseen(observer, &why);
        status = MR_OK;
    }
    mr_state_list_release(&list);
    if (status != MR_OK) {
        mr_resume_free(r);
        return status;
    }
    if (!names_any(r)) {
        mr_resume_free(r);
        r = NULL;
    } else if (r->n_matches > 1) {
        qsort(r->match, r->n_matches, sizeof(*r->match), compare_matches);
    }
    *resume_out = r;
    return MR_OK;
}

/* ---- taking digests ---- */

/* The first match of an input, or where it would stand. */
static size_t first_match(const struct mr_resume *r, size_t input)
{
    size_t low = 0, high = r->n_matches;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->match[middle].input < input)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Find an input by its digest: in the first of its matches that has it. */
static bool find(const struct mr_resume *r, size_t input,
    const struct mr_digest *digest, struct found *found_out)
{
    for (size_t k = first_match(r, input);
         k < r->n_matches && r->match[k].input == input; k++) {
        const struct match *m = &r->match[k];

        if (memcmp(m->partition->digest.b, digest->b, MR_DIGEST_BYTES) != 0)
            continue;
        *found_out = (struct found){&r->state[m->state], m->partition};
        return true;
    }
    return false;
}

bool mr_resume_may_have(const struct mr_resume *r, size_t i)
{
    size_t first = first_match(r, i);

    return first < r->n_matches && r->match[first].input == i;
}

enum mr_status mr_resume_has(struct mr_resume *r, size_t i,
    const struct mr_input *input, const atomic_int *stop, bool *has_out,
    struct mr_error *err)
{
    struct mr_digest digest;
    enum mr_status status;

    *has_out = false;
    if (!mr_resume_may_have(r, i) || !is_regular(input->path))
        return MR_OK;
    /* What cannot be read, or changed meanwhile, is for the one who maps the
     * file to tell. */
    status = mr_source_digest(input->path, stop, &digest, NULL);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status == MR_OK)
        *has_out = find(r, i, &digest, &r->found[i]);
    return MR_OK;
}

void mr_resume_trust(struct mr_resume *r, const bool *wanted)
{
    for (size_t k = 0; k < r->n_matches; k++) {
        const struct match *m = &r->match[k];
        struct found *f = &r->found[m->input];

        if (!wanted[m->input])
            r->named[m->input] = 0;
        else if (f->state == NULL)
            *f = (struct found){&r->state[m->state], m->partition};
    }
}

/* ---- the end ---- */

static int compare_states(const void *a, const void *b)
{
    const struct had *const *x = a, *const *y = b;

    return strcmp((*x)->path, (*y)->path);
}

/* The states that have what was found, no two of one path. */
static enum mr_status list_used(
    const struct mr_resume *r, const struct had ***state_out, size_t *n_out)
{
    const struct had **state = malloc((r->listing->n + 1) * sizeof(*state));
    size_t n = 0, kept = 0;

    if (state == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < r->listing->n; i++) {
        const struct had *s = r->found[i].state;

        if (s != NULL && (n == 0 || state[n - 1] != s))
            state[n++] = s;
    }
    if (n > 1)
        qsort(state, n, sizeof(*state), compare_states);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_states(&state[kept - 1], &state[i]) != 0)
            state[kept++] = state[i];
    *state_out = state;
    *n_out = kept;
    return MR_OK;
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, MR_DIGEST_BYTES);
}

/* Whether some of a state's partitions are among ascending digests, and not
 * all. */
static bool has_a_part(
    const struct mr_coverage *c, const struct mr_digest *digest, size_t n)
{
    size_t n_among = 0;

    for (size_t i = 0; i < c->n_partitions; i++)
        n_among += bsearch(&c->partition[i].digest, digest, n, sizeof(*digest),
                       compare_digests) != NULL;
    return n_among > 0 && n_among < c->n_partitions;
}

enum mr_status mr_resume_overlaps(
    const struct mr_resume *r, const struct mr_coverage *c, bool *overlaps_out)
{
    struct mr_digest *digest = malloc((c->n_partitions + 1) * sizeof(*digest));

    if (digest == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < c->n_partitions; i++)
        digest[i] = c->partition[i].digest;
    if (c->n_partitions > 1)
        qsort(digest, c->n_partitions, sizeof(*digest), compare_digests);
    *overlaps_out = false;
    for (size_t i = 0; i < r->n_states && !*overlaps_out; i++)
        *overlaps_out =
            has_a_part(&r->state[i].coverage, digest, c->n_partitions);
    free(digest);
    return MR_OK;
}

void mr_resume_forget(struct mr_resume *r)
{
    memset(r->found, 0, r->listing->n * sizeof(*r->found));
    memset(r->named, 0, r->listing->n * sizeof(*r->named));
    r->n_matches = 0;
}

/* Keep those of the states that are gone. */
static size_t keep_gone(const struct had **state, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (is_gone(state[i]->path))
            state[kept++] = state[i];
    return kept;
}

/* What was found in states that are gone: look for it in those there now. */
static enum mr_status renew(struct mr_resume *r, const struct had **gone,
    size_t n_gone, const struct mr_observer *observer, struct mr_error *err)
{
    struct mr_observer silent = {.stop = observer->stop};
    struct mr_resume *newer;
    enum mr_status status =
        mr_resume_open(r->folder, r->spec, r->listing, &silent, &newer, err);

    if (status != MR_OK)
        return status;
    if (newer != NULL) {
        newer->newer = r->newer;
        r->newer = newer;
    }
    for (size_t i = 0; i < r->listing->n; i++) {
        struct found *f = &r->found[i];
        const struct had *state = f->state;

        if (state == NULL || bsearch(&state, gone, n_gone, sizeof(*gone),
                                 compare_states) == NULL)
            continue;
        if (newer != NULL && find(newer, i, &f->partition->digest, f))
            continue;
        (void)mr_fail(err, MR_IO, MR_NOWHERE, "run it again",
            "it was there when the run began and has been removed since");
        mr_error_subject(err, "cannot use", state->path);
        return MR_IO;
    }
    return MR_OK;
}

/* Inputs that a state has with other bytes. */
static void note_changed(const struct mr_resume *r, const bool *done,
    const bool *failed, const struct mr_observer *observer)
{
    const char *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < r->listing->n; i++)
        if ((r->named[i] & HAS_BYTES) != 0 && r->found[i].state == NULL &&
            done[i] && !failed[i] && n++ == 0)
            first = r->listing->inputs[i].name;
    if (n > 0)
        mr_note(observer,
            "%zu partition%s, '%s' first, %s of other bytes than under the "
            "same name in '%s'; reduce counts both: where the older ones are "
            "wrong, remove the states that have them and map again",
            n, mr_text_plural(n), first, n == 1 ? "is" : "are", r->folder);
}

/* Inputs that could not be read and that a state has, as they were once: by
 * the contract their failures are made good by that. */
static void note_failed(const struct mr_resume *r, const bool *failed,
    const struct mr_observer *observer)
{
    const char *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < r->listing->n; i++)
        if (r->named[i] != 0 && failed[i] && n++ == 0)
            first = r->listing->inputs[i].name;
    if (n > 0)
        mr_note(observer,
            "%zu partition%s, '%s' first, could not be read, but '%s' has what "
            "was read under the same name before: reduce counts that, and is "
            "not PARTIAL for %s",
            n, mr_text_plural(n), first, r->folder, n == 1 ? "it" : "them");
}

enum mr_status mr_resume_end(struct mr_resume *r, const bool *done,
    const bool *failed, const struct mr_observer *observer,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;
    const struct had **state;
    size_t n = 1;

    for (unsigned k = 0; k < RENEWALS_MAX && n > 0 && status == MR_OK; k++) {
        if (list_used(r, &state, &n) != MR_OK)
            return mr_fail_nomem(err);
        n = keep_gone(state, n);
        if (n > 0)
            status = renew(r, state, n, observer, err);
        free(state);
    }
    if (status != MR_OK)
        return status;
    note_changed(r, done, failed, observer);
    note_failed(r, failed, observer);
    return MR_OK;
}

bool mr_resume_has_found(const struct mr_resume *r, size_t i)
{
    return r->found[i].state != NULL;
}

uint64_t mr_resume_found(const struct mr_resume *r)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->listing->n; i++)
        n += r->found[i].state != NULL;
    return n;
}

enum mr_status mr_resume_coverage(
    const struct mr_resume *r, struct mr_coverage *c)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < r->listing->n && status == MR_OK; i++) {
        struct mr_partition copy;

        if (r->found[i].state == NULL)
            continue;
        status = mr_partition_copy(r->found[i].partition, &copy);
        if (status != MR_OK)
            break;
        status = mr_coverage_add(c, &copy);
        if (status != MR_OK)
            mr_partition_release(&copy);
    }
    return status;
}

enum mr_status mr_resume_paths(
    const struct mr_resume *r, char ***path_out, size_t *n_out)
{
    const struct had **state;
    char **path;
    size_t n;

    if (list_used(r, &state, &n) != MR_OK)
        return MR_NOMEM;
    path = calloc(n + 1, sizeof(*path));
    for (size_t i = 0; path != NULL && i < n; i++) {
        path[i] = strdup(state[i]->path);
        if (path[i] == NULL) {
            while (i > 0)
                free(path[--i]);
            free(path);
            path = NULL;
        }
    }
    free(state);
    if (path == NULL)
        return MR_NOMEM;
    *path_out = path;
    *n_out = n;
    return MR_OK;
}
