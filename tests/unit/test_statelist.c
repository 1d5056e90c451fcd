#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/statelist.h"

/* All paths are in a folder of the test's own, which is the current one. */

static char folder[256];

/* An argument as main gets it. */
#define ARG(text) ((char[]){text})

static void touch(const char *name)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    fclose(f);
}

/* The list of the arguments as one text. */
static const char *listed(char *const *args, size_t n)
{
    static char text[1024];
    struct mr_state_list list;
    size_t i;

    assert_int_equal(mr_state_list_build(args, n, &list, NULL), MR_OK);
    text[0] = '\0';
    for (i = 0; i < list.n; i++) {
        strcat(text, list.path[i]);
        strcat(text, " ");
    }
    mr_state_list_release(&list);
    assert_null(list.path);
    return text;
}

static enum mr_status refused(char *arg, struct mr_error *err)
{
    struct mr_state_list list;
    enum mr_status status;

    *err = (struct mr_error){0};
    status = mr_state_list_build(&arg, 1, &list, err);
    mr_state_list_release(&list);
    return status;
}

static void folders_stand_for_their_states(void **state)
{
    char *one[] = {ARG("d")}, *slash[] = {ARG("d/")};

    (void)state;
    assert_string_equal(listed(one, 1),
        "d/B.mrs d/a.mrs d/below/deep.mrs "
        "d/below/deeper/e.mrs d/c.mrs d/l.mrs ");
    assert_string_equal(listed(slash, 1),
        "d/B.mrs d/a.mrs d/below/deep.mrs "
        "d/below/deeper/e.mrs d/c.mrs d/l.mrs ");
}

/* A link to a folder is followed only where it is an argument. */
static void links_make_no_loops(void **state)
{
    char *link[] = {ARG("link")}, *all[] = {ARG("d"), ARG("d/below")};

    (void)state;
    assert_string_equal(listed(link, 1),
        "link/B.mrs link/a.mrs link/below/deep.mrs link/below/deeper/e.mrs "
        "link/c.mrs link/l.mrs ");
    assert_string_equal(listed(all, 2),
        "d/B.mrs d/a.mrs d/below/deep.mrs "
        "d/below/deeper/e.mrs d/c.mrs d/l.mrs ");
}

static void files_are_taken_as_they_are(void **state)
{
    char *args[] = {ARG("d/_x.mrs"), ARG("d/other"), ARG("_x")};

    (void)state;
    assert_string_equal(listed(args, 3), "_x d/_x.mrs d/other ");
}

static void repetitions_are_dropped(void **state)
{
    char *args[] = {ARG("d/c.mrs"), ARG("d"), ARG("d/c.mrs"), ARG("d")};

    (void)state;
    assert_string_equal(listed(args, 4),
        "d/B.mrs d/a.mrs d/below/deep.mrs "
        "d/below/deeper/e.mrs d/c.mrs d/l.mrs ");
}

static void what_is_no_state_is_refused(void **state)
{
    struct mr_state_list list;
    struct mr_error err;

    (void)state;
    assert_int_equal(refused(ARG("nowhere"), &err), MR_USAGE);
    assert_string_equal(err.path, "nowhere");
    assert_int_equal(refused(ARG("d/a.mrs/x"), &err), MR_USAGE);
    assert_int_equal(refused(ARG("empty"), &err), MR_USAGE);
    assert_string_equal(err.path, "empty");
    assert_int_equal(mr_state_list_build(NULL, 0, &list, &err), MR_USAGE);
    mr_state_list_release(&list);
    if (geteuid() != 0) {
        assert_int_equal(chmod("shut", 0), 0);
        assert_int_equal(refused(ARG("shut"), &err), MR_IO);
    }
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(
        folder, sizeof folder, "%s/mr-statelist-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("d", 0777) != 0 ||
        mkdir("d/below", 0777) != 0 || mkdir("d/below/deeper", 0777) != 0 ||
        mkdir("d/_skipped", 0777) != 0 || mkdir("d/.hidden", 0777) != 0 ||
        mkdir("d/folder.mrs", 0777) != 0 || symlink("..", "d/loop") != 0 ||
        symlink("..", "d/below/loop.mrs") != 0 ||
        symlink("other", "d/l.mrs") != 0 || symlink("d", "link") != 0 ||
        mkdir("empty", 0777) != 0 || mkdir("shut", 0777) != 0)
        return -1;
    touch("d/a.mrs");
    touch("d/c.mrs");
    touch("d/B.mrs");
    touch("d/_x.mrs");
    touch("d/.y.mrs");
    touch("d/.mrs");
    touch("d/other");
    touch("d/below/deep.mrs");
    touch("d/below/deeper/e.mrs");
    touch("d/_skipped/f.mrs");
    touch("d/.hidden/g.mrs");
    touch("empty/mrs");
    touch("_x");
    return 0;
}

static int remove_folder(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_stand_for_their_states),
        cmocka_unit_test(links_make_no_loops),
        cmocka_unit_test(files_are_taken_as_they_are),
        cmocka_unit_test(repetitions_are_dropped),
        cmocka_unit_test(what_is_no_state_is_refused),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
