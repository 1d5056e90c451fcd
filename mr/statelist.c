#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/statelist.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void mr_state_list_release(struct mr_state_list *list)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        free(list->path[i]);
    free(list->path);
    *list = (struct mr_state_list){0};
}

/* Append folder/name, or just name where folder is empty. */
static enum mr_status add_path(
    struct mr_state_list *list, const char *folder, const char *name)
{
    size_t n = strlen(folder), n_name = strlen(name);
    char *path, **grown;

    /* Doubles at each power of two. */
    if ((list->n & (list->n + 1)) == 0) {
        grown = realloc(list->path, (2 * list->n + 1) * sizeof(*grown));
        if (!grown)
            return MR_NOMEM;
        list->path = grown;
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

static bool is_state_name(const char *name)
{
    size_t n = strlen(name);

    return name[0] != '_' && name[0] != '.' && n > 4 &&
           strcmp(name + n - 4, ".mrs") == 0;
}

static enum mr_status add_folder(
    struct mr_state_list *list, const char *folder, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    DIR *dir = opendir(folder);
    size_t before = list->n;
    struct dirent *entry;
    int number;

    if (!dir)
        return mr_fail_errno(err, errno, NULL, NULL);
    while (status == MR_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        if (is_state_name(entry->d_name))
            status = add_path(list, folder, entry->d_name);
    }
    number = errno;
    closedir(dir);
    if (status != MR_OK)
        return mr_fail_nomem(err);
    if (number != 0)
        return mr_fail_errno(err, number, "try again", NULL);
    if (list->n == before)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "run mr map first",
            "there is no state file (*.mrs) in this folder");
    return MR_OK;
}

static enum mr_status add_argument(
    struct mr_state_list *list, const char *arg, struct mr_error *err)
{
    struct stat st;

    if (stat(arg, &st) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return mr_fail(
                err, MR_USAGE, MR_NOWHERE, NULL, "no such file or folder");
        return mr_fail_errno(err, errno, NULL, NULL);
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
    enum mr_status status;
    size_t i;

    *list_out = (struct mr_state_list){0};
    if (n == 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "name state files or folders with state files",
            "no states are given");
    for (i = 0; i < n; i++) {
        status = add_argument(list_out, args[i], err);
        if (status != MR_OK) {
            mr_error_subject(err, "cannot look for states in", args[i]);
            return status;
        }
    }
    settle(list_out);
    return MR_OK;
}
