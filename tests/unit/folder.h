#ifndef MR_TESTS_FOLDER_H
#define MR_TESTS_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A new folder for each test, which is the working folder meanwhile.  Include
 * it after cmocka.h.
 */

static char folder[64];
static int start_fd;

/* Set up and tear down, for cmocka_unit_test_setup_teardown. */
static int enter_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/mr-test-XXXXXX");
    start_fd = open(".", O_RDONLY);
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int leave_folder(void **state)
{
    char command[256];

    (void)state;
    if (fchdir(start_fd) != 0)
        return 1;
    close(start_fd);
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", folder,
        folder);
    return system(command) != 0;
}

static inline void put_bytes(const char *path, const void *p, size_t n)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(p, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* Of a folder, with the hidden ones. */
static inline size_t count_files(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n - 2;
}

#endif
