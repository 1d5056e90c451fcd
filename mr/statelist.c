#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/statelist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mr/source.h"
#include "mr/text.h"

/* A list in the making. */
struct paths {
    char **path;
    size_t n, cap;
};

static void release_paths(struct paths *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->path[i]);
    free(list->path);
    *list = (struct paths){0};
}

void mr_state_list_release(struct mr_state_list *list)
{
    struct paths paths = {list->path, list->n, 0};

    release_paths(&paths);
    *list = (struct mr_state_list){0};
}

/* Append folder/name, or just name where folder is empty. */
static enum mr_status add_path(
    struct paths *list, const char *folder, const char *name)
{
    size_t n = strlen(folder), n_name = strlen(name);
    char *path, **grown;

    if (list->n == list->cap) {
        size_t cap = 2 * list->cap + 16;

        grown = realloc(list->path, cap * sizeof(*grown));
        if (!grown)
            return MR_NOMEM;
        list->path = grown;
        list->cap = cap;
    }
    path = malloc(n + n_name + 2);
    if (!path)
        return MR_NOMEM;
    memcpy(path, folder, n);
    if (n > 0 && folder[n - 1] != '/')
        path[n++] = '/';
    memcpy(path + n, name, n_name + 1);
    list->path[list->n++] = path;
    return MR_OK;
}

/* What an entry of a folder is, as far as it matters. */
enum kind { SKIPPED, STATE, FOLDER };

static enum kind kind_of(DIR *dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_name[0] == '_' || entry->d_name[0] == '.')
        return SKIPPED;
#ifdef DT_REG
    if (entry->d_type == DT_REG)
        return mr_text_ends(entry->d_name, MR_STATE_SUFFIX) ? STATE : SKIPPED;
    if (entry->d_type == DT_DIR)
        return FOLDER;
#endif
    /* What cannot be looked at is told when it is opened. */
    if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode))
        return FOLDER;
    if (!mr_text_ends(entry->d_name, MR_STATE_SUFFIX) ||
        (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            S_ISDIR(st.st_mode)))
        return SKIPPED;
    return STATE;
}

/* Add the states of one folder, and its folders to those to be walked. */
static enum mr_status read_folder(struct paths *list, struct paths *folders,
    const char *folder, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int number;

    if (!dir)
        return mr_fail_errno(err, errno, mr_open_advice(errno), NULL);
    while (status == MR_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        enum kind kind = kind_of(dir, entry);

        if (kind != SKIPPED)
            status =
                add_path(kind == STATE ? list : folders, folder, entry->d_name);
        errno = 0;
    }
    number = errno;
    closedir(dir);
    if (status != MR_OK)
        return mr_fail_nomem(err);
    return number == 0 ? MR_OK : mr_fail_errno(err, number, "try again", NULL);
}

/* Folders wait in a list: a tree of any depth takes one descriptor and no
 * stack. */
static enum mr_status add_folder(
    struct paths *list, const char *argument, struct mr_error *err)
{
    struct paths folders = {0};
    size_t before = list->n;
    enum mr_status status =
        add_path(&folders, "", argument) == MR_OK ? MR_OK : mr_fail_nomem(err);

    while (status == MR_OK && folders.n > 0) {
        char *folder = folders.path[--folders.n];

        status = read_folder(list, &folders, folder, err);
        if (status != MR_OK)
            mr_error_subject(err, "cannot look for states in", folder);
        free(folder);
    }
    release_paths(&folders);
    if (status == MR_OK && list->n == before)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "run mr map first",
            "there is no state file (*.mrs) in this folder or below it");
    return status;
}

static enum mr_status add_argument(
    struct paths *list, const char *arg, struct mr_error *err)
{
    struct stat st;

    if (stat(arg, &st) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "check the path, or name a folder that holds states",
                "no such file or folder");
        return mr_fail_errno(err, errno, mr_open_advice(errno), NULL);
    }
    if (S_ISDIR(st.st_mode))
        return add_folder(list, arg, err);
    return add_path(list, "", arg) == MR_OK ? MR_OK : mr_fail_nomem(err);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sort, and drop repetitions. */
static void settle(struct mr_state_list *list)
{
    size_t i, kept = 0;

    if (list->n > 1)
        qsort(list->path, list->n, sizeof(*list->path), compare_paths);
    for (i = 0; i < list->n; i++) {
        if (kept > 0 && strcmp(list->path[kept - 1], list->path[i]) == 0)
            free(list->path[i]);
        else
            list->path[kept++] = list->path[i];
    }
    list->n = kept;
}

enum mr_status mr_state_list_build(char *const *args, size_t n,
    struct mr_state_list *list_out, struct mr_error *err)
{
    struct paths list = {0};
    enum mr_status status = MR_OK;

    *list_out = (struct mr_state_list){0};
    if (n == 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name state files or folders with state files",
            "no states are given");
    for (size_t i = 0; i < n && status == MR_OK; i++) {
        status = add_argument(&list, args[i], err);
        if (status != MR_OK)
            mr_error_subject(err, "cannot look for states in", args[i]);
    }
    *list_out = (struct mr_state_list){list.path, list.n};
    if (status == MR_OK)
        settle(list_out);
    return status;
}
