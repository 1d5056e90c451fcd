#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/gather.h"
#include "mr/mr.h"

/*
 * What only shows while states are being gathered: how many files are open,
 * and what becomes of one that is replaced, or of a wish to stop, in between.
 * That the result is that of one merge is tested where there are events to
 * count (tests/laws.py).
 */

#define STATES 150

static char folder[256];
static char *path[STATES];

/* Opening a path for the second time, if there is one, does this first. */
static const char *watched;
static int times_opened;
static void (*meanwhile)(void);
static int highest; /* descriptor */

int open(const char *name, int flags, ...)
{
    va_list more;
    int mode, fd;

    va_start(more, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    if (watched != NULL && strcmp(name, watched) == 0 && ++times_opened == 2)
        meanwhile();
    fd = (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
#pragma omp critical
    highest = fd > highest ? fd : highest;
    return fd;
}

static int no_text(void *context, const void *bytes, size_t n)
{
    (void)context;
    (void)bytes;
    (void)n;
    return 0;
}

/* A state for each of some files of two events. */
static int make_states(void **state)
{
    const char *base = getenv("TMPDIR");
    char *input[] = {folder};
    const struct mr_beside_options options = {.input = input, .n_inputs = 1};
    const struct mr_sink sink = {.write = no_text};
    const struct mr_observer observer = {.context = NULL};
    struct mr_beside_counts counts;
    struct mr_result result;

    (void)state;
    snprintf(
        folder, sizeof folder, "%s/mr-gather-XXXXXX", base ? base : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    for (int i = 0; i < STATES; i++) {
        char name[300];
        FILE *f;

        snprintf(name, sizeof name, "%s/%03d", folder, i);
        f = fopen(name, "w");
        if (f == NULL)
            return -1;
        for (int k = 0; k < 2; k++)
            fprintf(f,
                "{\"data\":{\"id\":\"e%d\",\"type\":\"t\",\"attributes\":"
                "{\"user_id\":%d}},\"meta\":{\"created_at\":%d}}\n",
                2 * i + k, 2 * i + k, i);
        fclose(f);
        snprintf(name, sizeof name, "%s/%03d.mrs", folder, i);
        path[i] = strdup(name);
    }
    if (mr_beside(&options, &sink, &observer, &counts, &result, NULL) != MR_OK)
        return -1;
    mr_result_release(&result);
    return counts.made == STATES ? 0 : -1;
}

static int remove_states(void **state)
{
    char command[300];

    (void)state;
    for (int i = 0; i < STATES; i++)
        free(path[i]);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static struct mr_gather_options options(const atomic_int *stop)
{
    return (struct mr_gather_options){
        .temporary = folder, .threads = 1, .stop = stop};
}

static void all_are_gathered_within_the_limit_of_files(void **state)
{
    static const rlim_t limits[] = {1024, 128, 64, 40};
    struct mr_gather_options how = options(NULL);
    struct rlimit before, limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct mr_gathered g;
        size_t partitions = 0;

        limit = before;
        limit.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        highest = 0;
        how.threads = i % 2 == 0 ? 1 : 60;
        assert_int_equal(mr_gather_open(path, STATES, &how, &g, NULL), MR_OK);
        assert_true(g.n > 1 && g.n <= MR_GATHER_MAX);
        assert_true(highest < 200);
        assert_int_equal(g.n_superseded, 0);
        assert_int_equal(g.past.n_repeated, 0);
        for (size_t k = 0; k < g.n; k++)
            partitions += mr_state_get_head(g.state[k])->coverage.n_partitions;
        assert_int_equal(partitions, STATES);
        mr_gather_release(&g);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void few_are_opened_once(void **state)
{
    const struct mr_gather_options how = options(NULL);
    struct mr_gathered g;
    char *twice[] = {path[3], path[4], path[3]};

    (void)state;
    watched = path[3];
    times_opened = 0;
    assert_int_equal(mr_gather_open(path, 10, &how, &g, NULL), MR_OK);
    assert_int_equal(times_opened, 1);
    assert_int_equal(g.n, 10);
    assert_null(g.past.segments);
    mr_gather_release(&g);
    watched = NULL;
    /* The first stays. */
    assert_int_equal(mr_gather_open(twice, 3, &how, &g, NULL), MR_OK);
    assert_int_equal(g.n, 2);
    assert_int_equal(g.n_superseded, 1);
    assert_ptr_equal(g.state[0], g.first);
    mr_gather_release(&g);
}

static void replace_watched(void)
{
    char command[800];

    snprintf(command, sizeof command, "cp '%s' '%s'", path[8], watched);
    assert_int_equal(system(command), 0);
}

static void a_replaced_file_is_noticed(void **state)
{
    const struct mr_gather_options how = options(NULL);
    struct mr_gathered g;
    struct mr_error err = {.status = MR_OK};
    char command[800];

    (void)state;
    snprintf(command, sizeof command, "cp '%s' '%s/kept'", path[100], folder);
    assert_int_equal(system(command), 0);
    watched = path[100];
    times_opened = 0;
    meanwhile = replace_watched;
    assert_int_equal(mr_gather_open(path, STATES, &how, &g, &err), MR_IO);
    assert_string_equal(err.path, path[100]);
    assert_string_equal(err.cause, "it was replaced while it was being read");
    mr_gather_release(&g);
    watched = NULL;
    snprintf(command, sizeof command, "mv '%s/kept' '%s'", folder, path[100]);
    assert_int_equal(system(command), 0);
}

/* Whichever thread comes first, and however many states there are. */
static void of_damaged_files_the_first_is_told(void **state)
{
    struct mr_gather_options how = options(NULL);
    char *damaged[STATES];
    char broken[300];

    (void)state;
    snprintf(broken, sizeof broken, "%s/broken.mrs", folder);
    assert_int_equal(truncate(path[STATES - 1], 100), 0);
    assert_int_equal(rename(path[STATES - 1], broken), 0);
    how.threads = 4;
    for (size_t n = 10; n < STATES; n += 120) {
        for (size_t first = 0; first < n; first += n / 5) {
            struct mr_gathered g;
            struct mr_error err = {.status = MR_OK};
            char missing[300];

            memcpy(damaged, path, sizeof damaged);
            snprintf(missing, sizeof missing, "%s/missing.mrs", folder);
            damaged[first] = broken;
            damaged[n - 1] = missing;
            assert_int_equal(
                mr_gather_open(damaged, n, &how, &g, &err), MR_FORMAT);
            assert_string_equal(err.path, broken);
            mr_gather_release(&g);
            damaged[first] = missing;
            damaged[n - 1] = broken;
            assert_int_equal(mr_gather_open(damaged, n, &how, &g, &err), MR_IO);
            assert_string_equal(err.path, missing);
            mr_gather_release(&g);
        }
    }
}

static atomic_int stop;

static void want_to_stop(void)
{
    stop = 1;
}

static void a_wish_to_stop_is_seen(void **state)
{
    const struct mr_gather_options how = options(&stop);
    struct mr_gathered g;
    struct mr_error err;

    (void)state;
    stop = 1;
    assert_int_equal(mr_gather_open(path, 3, &how, &g, &err), MR_STOPPED);
    mr_gather_release(&g);
    stop = 0;
    watched = path[70];
    times_opened = 0;
    meanwhile = want_to_stop;
    assert_int_equal(mr_gather_open(path, STATES, &how, &g, &err), MR_STOPPED);
    assert_int_equal(err.status, MR_STOPPED);
    mr_gather_release(&g);
    watched = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_gathered_within_the_limit_of_files),
        cmocka_unit_test(few_are_opened_once),
        cmocka_unit_test(a_replaced_file_is_noticed),
        cmocka_unit_test(a_wish_to_stop_is_seen),
        cmocka_unit_test(of_damaged_files_the_first_is_told),
    };

    return cmocka_run_group_tests_name(
        "gather", tests, make_states, remove_states);
}
