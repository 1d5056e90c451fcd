#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "mr/mr.h"
#include "mr/resume.h"
#include "tests/unit/random.h"

/*
 * Maps into a folder that are cut short, and go on: whatever they leave there
 * gives, merged, the very bytes that one run into one file gives.  And what
 * they leave out is only what is there already.
 */

static char folder[256];

static void do_command(const char *command)
{
    assert_int_equal(system(command), 0);
}

/* ---- files ---- */

/* Figures of all kinds, with more groups and ids than are kept. */
static const char spec[] = "id: id\n"
                           "type: type\n"
                           "attributes: ''\n"
                           "time: time\n"
                           "user: [user, device]\n"
                           "rollups:\n"
                           "- {name: by_site, by: [site], max_groups: 5}\n"
                           "- {name: by_hour, by: [hour, type], users: both}\n"
                           "duplicates: {max_ids: 300}\n"
                           "segments:\n"
                           "  busy: {a: '>=3'}\n"
                           "  calm: {b: '<2', c: '<=1'}\n";

static char *random_text(size_t lines, size_t *n_out)
{
    char *text = malloc(lines * 200 + 1);
    size_t n = 0;

    assert_non_null(text);
    for (size_t i = 0; i < lines; i++) {
        uint64_t time = UINT64_C(1709251200000) + any(3 * 86400000);

        if (any(40) == 0)
            n += (size_t)sprintf(text + n, "%s\n", any(2) ? "no JSON" : "");
        n += (size_t)sprintf(text + n,
            "{\"id\":\"%u\",\"type\":\"%c\",\"time\":%llu,\"%s\":%u,"
            "\"site\":\"s%u\"}\n",
            (unsigned)any(2000), (int)('a' + any(4)), (unsigned long long)time,
            any(5)   ? "user"
            : any(2) ? "device"
                     : "nobody",
            (unsigned)any(500), (unsigned)any(30));
    }
    *n_out = n;
    return text;
}

static void save(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(name, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void save_gzip(const char *name, const void *p, size_t n, size_t cut)
{
    gzFile f = gzopen(name, "wb1");
    struct stat info;

    assert_non_null(f);
    if (n > 0)
        assert_int_equal(gzwrite(f, p, (unsigned)n), n);
    assert_int_equal(gzclose(f), Z_OK);
    assert_int_equal(stat(name, &info), 0);
    if (cut > 0)
        assert_int_equal(truncate(name, info.st_size - (off_t)cut), 0);
}

/* A lake of so many files: plain and packed, some twice under two names, some
 * damaged. */
static void make_lake(unsigned files, size_t lines)
{
    do_command("rm -rf lake && mkdir -p lake/day=1");
    for (unsigned i = 0; i < files; i++) {
        size_t n;
        char *text = random_text(any(lines), &n), name[64];

        snprintf(name, sizeof name, "lake/day=1/%03u.json", i);
        if (any(2))
            save(name, text, n);
        else
            save_gzip(name, text, n, any(8) == 0 ? 5 : 0);
        if (any(8) == 0) {
            snprintf(name, sizeof name, "lake/day=1/%03u-again.json", i);
            save(name, text, n);
        }
        free(text);
    }
}

static void save_text(const char *name, const char *text)
{
    save(name, text, strlen(text));
}

#define EVENT(id)                                                              \
    "{\"id\":\"" id "\",\"type\":\"a\",\"time\":1709251200000,\"user\":7}\n"

/* ---- runs ---- */

static struct mr_observer quiet;

struct run {
    struct mr_result result;
    struct mr_error err;
    enum mr_status status;
};

static struct run map_into(const char *output, unsigned threads,
    double checkpoint, const struct mr_observer *observer)
{
    char *input[1] = {strdup("lake")};
    struct mr_map_options options = {.spec = "spec.yaml",
        .input = input,
        .n_inputs = 1,
        .output = output,
        .threads = threads,
        .checkpoint_seconds = checkpoint};
    struct run r = {.err = {.status = MR_OK}};

    r.status = mr_map(&options, observer, &r.result, &r.err);
    if (r.status != MR_OK && r.status != MR_STOPPED) {
        char sentence[1200];

        mr_error_format(&r.err, sentence, sizeof sentence);
        fail_msg("%s", sentence);
    }
    free(input[0]);
    return r;
}

static int ignore(void *context, const void *bytes, size_t n)
{
    (void)context;
    (void)bytes;
    (void)n;
    return 0;
}

/* Merge states, or those of folders, into a file. */
static void merge(const char *a, const char *b, const char *to)
{
    char *input[2] = {strdup(a), b ? strdup(b) : NULL};
    struct mr_reduce_options options = {.input = input,
        .n_inputs = b ? 2 : 1,
        .merged = to,
        .format = MR_FORMAT_CSV,
        .threads = 1};
    struct mr_sink sink = {ignore, NULL};
    struct mr_result result;
    struct mr_error err;
    char sentence[1200];

    if (mr_reduce(&options, &sink, &quiet, &result, &err) != MR_OK) {
        mr_error_format(&err, sentence, sizeof sentence);
        fail_msg("%s", sentence);
    }
    mr_result_release(&result);
    free(input[0]);
    free(input[1]);
}

static void *load(const char *name, size_t *n_out)
{
    FILE *f = fopen(name, "rb");
    struct stat info;
    char *p;

    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &info), 0);
    *n_out = (size_t)info.st_size;
    p = malloc(*n_out + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n_out, f), *n_out);
    fclose(f);
    return p;
}

static void assert_same_files(const char *a, const char *b)
{
    size_t n, m;
    char *p = load(a, &n), *q = load(b, &m);

    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    free(p);
    free(q);
}

static bool is_state(const char *name)
{
    return name[0] != '.' && strstr(name, ".mrs") != NULL;
}

/* The states in a folder; the name of one of them. */
static unsigned count_states(const char *in, char one[300])
{
    DIR *dir = opendir(in);
    const struct dirent *entry;
    unsigned n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (is_state(entry->d_name)) {
            snprintf(one, 300, "%s/%s", in, entry->d_name);
            n++;
        }
    closedir(dir);
    return n;
}

/* ---- watching a folder ---- */

/* A thread that gives each state in out a second name in seen, and that sets
 * a stop flag when there have been enough. */
struct watcher {
    atomic_bool ends;
    unsigned stop_after; /* 0: never */
    atomic_int stop;
    unsigned n;
};

static void look(struct watcher *w)
{
    DIR *dir = opendir("out");
    const struct dirent *entry;
    char from[600], to[600];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!is_state(entry->d_name))
            continue;
        snprintf(from, sizeof from, "out/%s", entry->d_name);
        snprintf(to, sizeof to, "seen/%s", entry->d_name);
        if (link(from, to) == 0 && ++w->n == w->stop_after)
            w->stop = 1;
    }
    if (dir != NULL)
        closedir(dir);
}

/* It pauses for what it watches, as under valgrind one thread runs at a
 * time. */
static void *watch(void *context)
{
    const struct timespec pause = {0, 20000};
    struct watcher *w = context;

    while (!atomic_load(&w->ends)) {
        look(w);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Map into out with as many checkpoints as there can be, watched. */
static struct run map_watched(
    struct watcher *w, unsigned threads, unsigned stop_after)
{
    struct mr_observer observer = {.stop = &w->stop};
    pthread_t thread;
    struct run r;

    *w = (struct watcher){.stop_after = stop_after};
    assert_int_equal(pthread_create(&thread, NULL, watch, w), 0);
    r = map_into("out", threads, 1e-9, &observer);
    atomic_store(&w->ends, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return r;
}

static void clean(void)
{
    do_command("rm -rf out seen && mkdir seen");
}

static void map_undisturbed(void)
{
    struct run r = map_into("whole.mrs", 2, 0, &quiet);

    assert_int_equal(r.status, MR_OK);
    mr_result_release(&r.result);
}

/* Map what is missing in out. */
static void map_on(void)
{
    struct run r = map_into("out", 1, 0, &quiet);

    assert_int_equal(r.status, MR_OK);
    mr_result_release(&r.result);
}

/* ---- tests ---- */

/* A state of many checkpoints is that of none, and each of them merges with
 * it to the same. */
static void checkpoints_change_nothing(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (unsigned round = 0; round < rounds(6); round++) {
        struct watcher w;
        struct run r;
        char name[300];
        DIR *dir;
        const struct dirent *entry;

        make_lake(60, 4000);
        map_undisturbed();
        clean();
        r = map_watched(&w, 1 + (unsigned)any(3), 0);
        assert_int_equal(r.status, MR_OK);
        assert_int_equal(count_states("out", name), 1);
        assert_string_equal(r.result.path, name);
        assert_same_files(name, "whole.mrs");
        assert_int_equal(r.result.found, 0);
        mr_result_release(&r.result);
        dir = opendir("seen");
        while ((entry = readdir(dir)) != NULL) {
            char checkpoint[300];

            if (!is_state(entry->d_name))
                continue;
            snprintf(checkpoint, sizeof checkpoint, "seen/%s", entry->d_name);
            merge(checkpoint, "whole.mrs", "merged.mrs");
            assert_same_files("merged.mrs", "whole.mrs");
            merge("whole.mrs", checkpoint, "merged.mrs");
            assert_same_files("merged.mrs", "whole.mrs");
            seen++;
        }
        closedir(dir);
    }
    assert_true(seen > 0);
}

static void same_totals(const struct mr_totals *a, const struct mr_totals *b)
{
    assert_int_equal(a->partitions, b->partitions);
    assert_int_equal(a->failures, b->failures);
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(a->events, b->events);
    assert_int_equal(a->rejected, b->rejected);
    assert_int_equal(a->blank, b->blank);
    assert_int_equal(a->events_without_user, b->events_without_user);
    assert_int_equal(a->stored_bytes, b->stored_bytes);
    assert_int_equal(a->text_bytes, b->text_bytes);
}

/* Runs are stopped again and again, and go on until nothing is left. */
static void stopped_runs_go_on(void **state)
{
    unsigned stopped = 0;

    (void)state;
    for (unsigned round = 0; round < rounds(10); round++) {
        struct mr_totals want;
        struct watcher w;
        struct run r;
        char one[300];

        make_lake(40, 3000);
        r = map_into("whole.mrs", 2, 0, &quiet);
        want = r.result.totals;
        mr_result_release(&r.result);
        clean();
        for (unsigned k = 0; k < 100; k++) {
            r = map_watched(&w, 1 + (unsigned)any(3), 1 + (unsigned)any(2));
            if (r.status == MR_OK)
                break;
            stopped++;
            mr_result_release(&r.result);
        }
        assert_int_equal(r.status, MR_OK);
        same_totals(&r.result.totals, &want);
        /* Where equal bytes had to be read again, not all of them are
         * needed. */
        assert_true(r.result.n_states + (r.result.path[0] != '\0') <=
                    count_states("out", one));
        mr_result_release(&r.result);
        merge("out", NULL, "merged.mrs");
        assert_same_files("merged.mrs", "whole.mrs");
    }
    assert_true(stopped > 0);
}

/* Nothing is left: nothing is read or written, and the totals are the same. */
static void what_is_there_is_not_read(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(5); round++) {
        struct run first, again;
        char one[300];

        make_lake(10, 100);
        do_command("rm -f lake/day=1/*.json");
        save_text("lake/a.json", EVENT("1"));
        save("lake/empty.json", "", 0);
        clean();
        first = map_into("out", 1, 0, &quiet);
        again = map_into("out", 2, 0, &quiet);
        assert_int_equal(first.status, MR_OK);
        assert_int_equal(again.status, MR_OK);
        assert_int_equal(count_states("out", one), 1);
        assert_string_equal(again.result.path, "");
        assert_int_equal(again.result.found, 2);
        assert_int_equal(again.result.n_states, 1);
        assert_string_equal(again.result.state[0], first.result.path);
        assert_int_equal(again.result.read_bytes, 0);
        same_totals(&again.result.totals, &first.result.totals);
        mr_result_release(&first.result);
        mr_result_release(&again.result);
    }
}

/* ---- the unit itself ---- */

struct notes {
    unsigned n;
    char last[1024];
};

static void keep_note(void *context, const char *sentence)
{
    struct notes *notes = context;

    notes->n++;
    snprintf(notes->last, sizeof notes->last, "%s", sentence);
}

struct opened {
    struct mr_spec *spec;
    struct mr_listing listing;
    struct mr_resume *resume;
};

static void open_out(struct opened *o, const struct mr_observer *observer)
{
    char *input[1] = {strdup("lake")};
    struct mr_error err;

    o->spec = malloc(sizeof *o->spec);
    assert_non_null(o->spec);
    assert_int_equal(mr_spec_load("spec.yaml", o->spec, &err), MR_OK);
    assert_int_equal(mr_listing_build(input, 1, 1, &o->listing, &err), MR_OK);
    assert_int_equal(
        mr_resume_open("out", o->spec, &o->listing, observer, &o->resume, &err),
        MR_OK);
    free(input[0]);
}

static bool has(struct opened *o, size_t i)
{
    bool has_it;

    assert_int_equal(
        mr_resume_has(o->resume, i, &o->listing.inputs[i], NULL, &has_it, NULL),
        MR_OK);
    return has_it;
}

/* The end of a run that has come to the first n inputs, of which it could not
 * read one. */
static enum mr_status end(struct opened *o, size_t n, const char *failed,
    const struct mr_observer *observer, struct mr_error *err)
{
    bool done[8] = {false}, unread[8] = {false};

    for (size_t i = 0; i < n; i++) {
        done[i] = true;
        unread[i] =
            failed != NULL && strcmp(o->listing.inputs[i].name, failed) == 0;
    }
    return mr_resume_end(o->resume, done, unread, observer, err);
}

static void close_out(struct opened *o)
{
    mr_resume_free(o->resume);
    mr_listing_release(&o->listing);
    free(o->spec);
}

/* A lake of three small files, mapped into out. */
static void map_three(void)
{
    do_command("rm -rf lake && mkdir lake");
    save_text("lake/a", EVENT("1"));
    save_text("lake/b", EVENT("2"));
    save_text("lake/c", EVENT("3"));
    clean();
    map_on();
}

static void names_sizes_and_digests_must_agree(void **state)
{
    struct notes notes = {0};
    struct mr_observer observer = {.note = keep_note, .context = &notes};
    struct mr_coverage c = {0};
    struct opened o;
    char **path;
    size_t n;
    atomic_int stop = 1;
    bool has_it = true;

    (void)state;
    map_three();
    save_text("lake/b", EVENT("x"));      /* other bytes */
    save_text("lake/c", EVENT("3") "\n"); /* another size */
    save_text("lake/d", EVENT("1"));      /* another name */
    open_out(&o, &observer);
    assert_int_equal(o.listing.n, 4);
    assert_int_equal(
        mr_resume_has(o.resume, 0, &o.listing.inputs[0], &stop, &has_it, NULL),
        MR_OK);
    assert_false(has_it);
    assert_true(has(&o, 0));
    for (size_t i = 1; i < 4; i++)
        assert_false(has(&o, i));
    assert_int_equal(notes.n, 0);
    /* What has not been read may be what is there. */
    assert_int_equal(end(&o, 1, NULL, &observer, NULL), MR_OK);
    assert_int_equal(notes.n, 0);
    assert_int_equal(end(&o, 4, NULL, &observer, NULL), MR_OK);
    assert_int_equal(notes.n, 1);
    assert_non_null(
        strstr(notes.last, "2 partitions, 'b' first, are of other"));
    assert_int_equal(end(&o, 4, "c", &observer, NULL), MR_OK);
    assert_int_equal(notes.n, 3);
    assert_non_null(strstr(notes.last, "1 partition, 'c' first, could not be"));
    assert_int_equal(mr_resume_found(o.resume), 1);
    assert_int_equal(mr_resume_coverage(o.resume, &c), MR_OK);
    assert_int_equal(c.n_partitions, 1);
    assert_string_equal(c.partition[0].name[0], "a");
    mr_coverage_release(&c);
    assert_int_equal(mr_resume_paths(o.resume, &path, &n), MR_OK);
    assert_int_equal(n, 1);
    free(path[0]);
    free(path);
    close_out(&o);
}

static void pipes_are_not_looked_into(void **state)
{
    struct opened o;

    (void)state;
    map_three();
    save("lake/a", "", 0);
    clean();
    map_on();
    open_out(&o, &quiet);
    assert_int_equal(remove("lake/a"), 0);
    assert_int_equal(mkfifo("lake/a", 0600), 0);
    assert_false(has(&o, 0));
    close_out(&o);
}

/* Each byte of a state in turn is another: it is not used, and noted. */
static void damaged_states_are_not_used(void **state)
{
    const size_t step = getenv("MR_SLOW") != NULL ? 17 : 1;
    struct notes notes = {0};
    struct mr_observer observer = {.note = keep_note, .context = &notes};
    char one[300];
    uint8_t *p;
    size_t n;

    (void)state;
    map_three();
    assert_int_equal(count_states("out", one), 1);
    p = load(one, &n);
    for (size_t i = 0; i < n; i += step) {
        uint8_t bit = (uint8_t)(1u << any(8));
        struct opened o;

        p[i] ^= bit;
        save(one, p, n);
        p[i] ^= bit;
        notes.n = 0;
        open_out(&o, &observer);
        for (size_t k = 0; o.resume != NULL && k < 3; k++)
            assert_false(has(&o, k));
        assert_int_equal(notes.n, 1);
        assert_non_null(strstr(notes.last, one));
        close_out(&o);
    }
    for (size_t i = 0; i < n; i += step) {
        struct opened o;

        save(one, p, i);
        notes.n = 0;
        open_out(&o, &observer);
        assert_null(o.resume);
        assert_int_equal(notes.n, 1);
        close_out(&o);
    }
    free(p);
}

static void other_specs_are_noted_once(void **state)
{
    struct notes notes = {0};
    struct mr_observer observer = {.note = keep_note, .context = &notes};
    struct opened o;

    (void)state;
    map_three();
    save("spec.yaml", "id: id\n", 7);
    open_out(&o, &observer);
    save("spec.yaml", spec, sizeof spec - 1);
    assert_null(o.resume);
    assert_int_equal(notes.n, 1);
    assert_non_null(strstr(notes.last, "of another spec"));
    close_out(&o);
}

static void temporary_files_are_noted_and_stay(void **state)
{
    struct notes notes = {0};
    struct mr_observer observer = {.note = keep_note, .context = &notes};
    struct opened o;

    (void)state;
    map_three();
    save("out/.mr-tmp-aaaaaaaaaa", "x", 1);
    open_out(&o, &observer);
    assert_int_equal(notes.n, 0);
    mr_resume_note_temporary("out", &observer);
    assert_int_equal(notes.n, 1);
    assert_non_null(strstr(notes.last, "1 file .mr-tmp-*"));
    assert_int_equal(access("out/.mr-tmp-aaaaaaaaaa", F_OK), 0);
    assert_true(has(&o, 0));
    close_out(&o);
}

/* Another run removes the state in favour of one that has more. */
static void states_may_be_replaced_meanwhile(void **state)
{
    struct opened o;
    char one[300], **path;
    struct mr_error err;
    size_t n;

    (void)state;
    map_three();
    assert_int_equal(count_states("out", one), 1);
    open_out(&o, &quiet);
    for (size_t i = 0; i < 3; i++)
        assert_true(has(&o, i));
    save_text("lake/d", EVENT("4"));
    assert_int_equal(rename(one, "seen/x.mrs"), 0);
    map_on();
    assert_int_equal(end(&o, 3, NULL, &quiet, &err), MR_OK);
    assert_int_equal(mr_resume_found(o.resume), 3);
    assert_int_equal(mr_resume_paths(o.resume, &path, &n), MR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(count_states("out", one), 1);
    assert_string_equal(path[0], one);
    free(path[0]);
    free(path);
    /* Or it is removed, and nothing has what it had. */
    assert_int_equal(remove(one), 0);
    assert_int_equal(end(&o, 3, NULL, &quiet, &err), MR_IO);
    close_out(&o);
}

/* The same bytes under two names, of which one was read before: numbers of
 * events could not be added up. */
static void equal_bytes_are_read_again_where_sums_are_kept(void **state)
{
    struct watcher w;
    struct run r;
    char one[300];

    (void)state;
    map_three();
    save_text("lake/z", EVENT("2"));
    save_text("lake/y", EVENT("9"));
    r = map_into("out", 1, 0, &quiet);
    assert_int_equal(r.status, MR_OK);
    assert_int_equal(r.result.found, 0);
    assert_int_equal(r.result.totals.partitions, 4);
    mr_result_release(&r.result);
    assert_int_equal(count_states("out", one), 2);
    map_undisturbed();
    merge("out", NULL, "merged.mrs");
    assert_same_files("merged.mrs", "whole.mrs");
    /* A checkpoint would be neither fish nor fowl. */
    map_three();
    save_text("lake/d", EVENT("2"));
    save_text("lake/e", EVENT("9"));
    r = map_watched(&w, 1, 0);
    assert_int_equal(r.status, MR_OK);
    assert_true(w.n <= 1 + 1);
    mr_result_release(&r.result);
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(
        folder, sizeof folder, "%s/mr-resume-XXXXXX", base ? base : "/tmp");
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return -1;
    save("spec.yaml", spec, sizeof spec - 1);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    do_command("rm -rf \"$PWD\"");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_change_nothing),
        cmocka_unit_test(stopped_runs_go_on),
        cmocka_unit_test(what_is_there_is_not_read),
        cmocka_unit_test(names_sizes_and_digests_must_agree),
        cmocka_unit_test(pipes_are_not_looked_into),
        cmocka_unit_test(damaged_states_are_not_used),
        cmocka_unit_test(other_specs_are_noted_once),
        cmocka_unit_test(temporary_files_are_noted_and_stay),
        cmocka_unit_test(states_may_be_replaced_meanwhile),
        cmocka_unit_test(equal_bytes_are_read_again_where_sums_are_kept),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
