#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/folder.h"

static void assert_file(const char *path, const char *expected)
{
    char text[100];
    FILE *file = fopen(path, "rb");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_publish(void **state)
{
    struct mr_publish *pub;
    struct mr_error err;
    struct stat info;
    DIR *dir;
    struct dirent *entry;
    mode_t mask = umask(0027);

    (void)state;
    assert_int_equal(mr_publish_begin(".", &pub, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, "????body", 8, &err), MR_OK);
    assert_int_equal(mr_publish_write_at(pub, 0, "head", 4, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, " tail", 5, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, NULL, 0, &err), MR_OK);
    /* So far there is nothing but a file that every walk skips. */
    assert_int_equal(count_files("."), 1);
    dir = opendir(".");
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        assert_int_equal(entry->d_name[0], '.');
    closedir(dir);
    assert_int_equal(mr_publish_commit(pub, "name", &err), MR_OK);
    assert_file("name", "headbody tail");
    assert_int_equal(count_files("."), 1);
    assert_int_equal(stat("name", &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    umask(mask);
}

static void test_replace(void **state)
{
    struct mr_publish *pub;
    struct mr_error err;

    (void)state;
    put("name", "old");
    assert_int_equal(mr_publish_begin_file("name", &pub, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, "new", 3, &err), MR_OK);
    assert_file("name", "old");
    assert_int_equal(mr_publish_commit(pub, NULL, &err), MR_OK);
    assert_file("name", "new");
    assert_int_equal(mr_publish_begin_file("./name", &pub, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, "newer", 5, &err), MR_OK);
    mr_publish_abort(pub);
    assert_file("name", "new");
    assert_int_equal(count_files("."), 1);
    mr_publish_abort(NULL);
}

/* A share that cannot rename a file to a name that is taken, if it is told
 * to; and none at all where that fails too. */
static enum { RENAMES, TAKEN_FAILS, ASIDE_ONLY } share;

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    struct stat info;
    bool is_new = share == ASIDE_ONLY && strcmp(to, "name") == 0 &&
                  faccessat(from_fd, "mark", F_OK, 0) == 0;

    if (share != RENAMES && fstatat(to_fd, to, &info, 0) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (is_new) {
        /* Once: it can be renamed back. */
        unlinkat(from_fd, "mark", 0);
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

static enum mr_status replace(const char *text, struct mr_error *err)
{
    struct mr_publish *pub;

    assert_int_equal(mr_publish_begin_file("name", &pub, err), MR_OK);
    assert_int_equal(mr_publish_write(pub, text, strlen(text), err), MR_OK);
    return mr_publish_commit(pub, NULL, err);
}

static void test_taken_names(void **state)
{
    struct mr_error err;

    (void)state;
    put("name", "old");
    share = TAKEN_FAILS;
    assert_int_equal(replace("new", &err), MR_OK);
    assert_file("name", "new");
    assert_int_equal(count_files("."), 1);
    /* The new one does not get the name: the old one has it again. */
    share = ASIDE_ONLY;
    put("mark", "");
    assert_int_equal(replace("newer", &err), MR_IO);
    assert_string_equal(err.cause, "rename: File exists");
    share = RENAMES;
    assert_file("name", "new");
    assert_int_equal(count_files("."), 1);
}

static void test_dates(void **state)
{
    struct timespec date = {.tv_sec = 1000000000, .tv_nsec = 123456789};
    struct mr_publish *pub;
    struct mr_error err;
    struct stat info;

    (void)state;
    assert_int_equal(mr_publish_begin_file("name", &pub, &err), MR_OK);
    mr_publish_date(pub, &date);
    assert_int_equal(mr_publish_write(pub, "dated", 5, &err), MR_OK);
    assert_int_equal(mr_publish_commit(pub, NULL, &err), MR_OK);
    assert_int_equal(stat("name", &info), 0);
    assert_int_equal(info.st_mtim.tv_sec, date.tv_sec);
    assert_int_equal(info.st_mtim.tv_nsec, date.tv_nsec);
}

static void test_nameless(void **state)
{
    size_t before = count_files(".");
    int fd;
    struct mr_publish *pub;
    struct mr_error err;
    char text[16] = "";

    (void)state;
    assert_int_equal(mr_publish_begin_nameless(".", &pub, &err), MR_OK);
    assert_int_equal(count_files("."), before);
    assert_int_equal(mr_publish_write(pub, "some bytes", 10, &err), MR_OK);
    assert_int_equal(mr_publish_write_at(pub, 0, "S", 1, &err), MR_OK);
    fd = mr_publish_keep(pub);
    assert_int_equal(pread(fd, text, sizeof text - 1, 0), 10);
    assert_string_equal(text, "Some bytes");
    close(fd);
    assert_int_equal(mr_publish_begin_nameless(".", &pub, &err), MR_OK);
    mr_publish_abort(pub);
    assert_int_equal(count_files("."), before);
    assert_int_equal(mr_publish_begin_nameless("nothing", &pub, &err), MR_IO);
}

static void test_folders(void **state)
{
    struct mr_publish *pub;
    struct mr_error err;
    char path[128];

    (void)state;
    assert_int_equal(mr_publish_folder("a/b//c/", &err), MR_OK);
    assert_int_equal(mr_publish_folder("a/b/c", &err), MR_OK);
    assert_int_equal(mr_publish_folder(".", &err), MR_OK);
    assert_int_equal(mr_publish_folder("/", &err), MR_OK);
    assert_int_equal(
        mr_publish_bytes("a/b/c", "name", "bytes", 5, &err), MR_OK);
    assert_file("a/b/c/name", "bytes");
    snprintf(path, sizeof path, "%s/a/x/y", folder);
    assert_int_equal(mr_publish_folder(path, &err), MR_OK);
    strcat(path, "/z");
    assert_int_equal(mr_publish_begin_file(path, &pub, &err), MR_OK);
    assert_int_equal(mr_publish_commit(pub, NULL, &err), MR_OK);
    assert_file("a/x/y/z", "");
    /* A file is in the way. */
    assert_int_equal(mr_publish_folder("a/b/c/name/d", &err), MR_IO);
    assert_int_equal(mr_publish_folder("a/b/c/name", &err), MR_IO);
    assert_string_equal(err.action, "cannot write");
    assert_string_equal(err.path, "a/b/c/name");
    assert_string_equal(err.cause, "make folder: Not a directory");
    assert_true(err.advice[0] != '\0');
    assert_int_equal(mr_publish_folder("", &err), MR_IO);
}

static void test_failures(void **state)
{
    struct mr_publish *pub = (struct mr_publish *)folder;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_publish_begin("nothing", &pub, &err), MR_IO);
    assert_string_equal(err.cause, "No such file or directory");
    assert_string_equal(err.path, "nothing");
    assert_true(err.advice[0] != '\0');
    assert_int_equal(mr_publish_begin_file("nothing/x", &pub, &err), MR_IO);
    put("file", "");
    assert_int_equal(mr_publish_begin("file", &pub, &err), MR_IO);
    assert_string_equal(err.cause, "Not a directory");
    assert_ptr_equal(pub, folder);
    /* The name is taken by a folder: nothing is left behind. */
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(mr_publish_begin(".", &pub, &err), MR_OK);
    assert_int_equal(mr_publish_commit(pub, "folder", &err), MR_IO);
    assert_string_equal(err.cause, "rename: Is a directory");
    assert_int_equal(count_files("."), 2);
}

/* A limit of size stands in for a full disk: the first bytes fit. */
static void test_no_room(void **state)
{
    struct rlimit before, limit;
    struct mr_publish *pub;
    struct mr_error err;
    char block[3000] = {0};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4096;
    assert_int_equal(mr_publish_begin(".", &pub, &err), MR_OK);
    assert_int_equal(mr_publish_write(pub, block, sizeof block, &err), MR_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(
        mr_publish_write(pub, block, sizeof block, &err), MR_LIMIT);
    assert_int_equal(err.status, MR_LIMIT);
    assert_string_equal(err.cause, "File too large");
    assert_int_equal(
        mr_publish_write_at(pub, 4000, block, sizeof block, &err), MR_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    mr_publish_abort(pub);
    assert_int_equal(count_files("."), 0);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_publish),
        IN_FOLDER(test_replace),
        IN_FOLDER(test_taken_names),
        IN_FOLDER(test_dates),
        IN_FOLDER(test_nameless),
        IN_FOLDER(test_folders),
        IN_FOLDER(test_failures),
        IN_FOLDER(test_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
