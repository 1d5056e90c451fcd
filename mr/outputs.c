#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/outputs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mr/spec_builtin.h"

static enum mr_status refuse(const char *path, const char *option,
    const char *what, struct mr_error *err)
{
    char advice[64];

    (void)snprintf(advice, sizeof(advice), "name another file for %s", option);
    (void)mr_fail(err, MR_USAGE, MR_NOWHERE, advice, "it is %s", what);
    mr_error_subject(err, "cannot write", path);
    return MR_USAGE;
}

static bool is_same(const struct stat *info, const char *other)
{
    struct stat its;

    return stat(other, &its) == 0 && its.st_dev == info->st_dev &&
           its.st_ino == info->st_ino;
}

/* The folder of a path whose last component begins at *name_out; false if the
 * path is too long. */
static bool split(
    const char *path, char *folder, size_t size, const char **name_out)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path) + 1;

    if (n + 2 > size)
        return false;
    memcpy(folder, path, n);
    memcpy(folder + n, ".", 2);
    *name_out = path + n;
    return true;
}

/* Whether two files would be one, were they there. */
static bool would_be_same(const char *a, const char *b)
{
    char folder[2][4096];
    const char *name[2];
    struct stat info;

    return split(a, folder[0], sizeof(folder[0]), &name[0]) &&
           split(b, folder[1], sizeof(folder[1]), &name[1]) &&
           strcmp(name[0], name[1]) == 0 && stat(folder[0], &info) == 0 &&
           is_same(&info, folder[1]);
}

/* Whether it is one of the inputs. */
static bool is_input(const struct stat *info, const struct mr_listing *listing)
{
    for (size_t i = 0; i < listing->n; i++)
        if (listing->inputs[i].size == (uint64_t)info->st_size &&
            is_same(info, listing->inputs[i].path))
            return true;
    return false;
}

/* Whether it is one of the lists of inputs. */
static bool is_list(const struct stat *info, const struct mr_listing *listing)
{
    const char *path = (const char *)listing->lists.p;

    for (size_t i = 0; i < listing->lists.n; i += strlen(path + i) + 1)
        if (is_same(info, path + i))
            return true;
    return false;
}

static bool is_spec(const struct stat *info, const char *name)
{
    const struct mr_builtin_spec *builtin;

    return mr_builtin_spec_find(name, &builtin, NULL) != MR_OK &&
           is_same(info, name);
}

enum mr_status mr_output_check(const char *path, const char *option,
    const char *spec_name, const struct mr_spec *spec,
    const struct mr_listing *listing, struct mr_error *err)
{
    struct stat info;

    if (path == NULL || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return MR_OK;
    if (is_input(&info, listing))
        return refuse(path, option, "one of the inputs", err);
    if (is_list(&info, listing))
        return refuse(path, option, "a list of inputs", err);
    if (spec_name != NULL && is_spec(&info, spec_name))
        return refuse(path, option, "the spec", err);
    if (spec != NULL && spec->users_table.given &&
        is_same(&info, spec->users_table.file))
        return refuse(path, option, "the spec's users table", err);
    return MR_OK;
}

enum mr_status mr_outputs_check(const char *output, const char *rejects,
    const char *spec_name, const struct mr_spec *spec,
    const struct mr_listing *listing, struct mr_error *err)
{
    enum mr_status status =
        mr_output_check(output, "--output", spec_name, spec, listing, err);

    if (status == MR_OK)
        status = mr_output_check(
            rejects, "--rejects", spec_name, spec, listing, err);
    if (status == MR_OK && output != NULL && rejects != NULL &&
        would_be_same(output, rejects))
        status = refuse(rejects, "--rejects", "the file of --output, too", err);
    return status;
}

bool mr_output_is(const char *path, const char *other)
{
    struct stat info;

    return stat(path, &info) == 0 && is_same(&info, other);
}

enum mr_status mr_output_not_manifest(const char *path, const char *option,
    const char *manifest, struct mr_error *err)
{
    return mr_output_is(path, manifest)
               ? refuse(path, option, "the manifest", err)
               : MR_OK;
}
