#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mr/digestset.h"
#include "mr/text.h"

/*
 * A folder's entries are read into memory and sorted before anything is done
 * about them: so all inputs come nearly sorted by path, and comparing names
 * in one folder, whose beginnings are alike, takes a comparison of numbers.
 *
 * Where the system says with an entry that it is a file, its size is looked up
 * later, when all files are known: by several threads, since with many small
 * files that takes as long as everything else here.
 */

/* How deep lists may name lists. */
#define LIST_DEPTH_MAX 8

/* Ten million paths of a hundred bytes; what is longer is the events. */
#define LIST_MAX_BYTES ((size_t)1 << 30)

/* An input's size that is still to be looked up, and below it the errors that
 * this may come to.  No file is that large. */
#define SIZE_WANTED UINT64_MAX
#define SIZE_FAILED(number) (SIZE_WANTED - (uint64_t)(number))
#define SIZE_ERROR(size) ((int)(SIZE_WANTED - (size)))
#define SIZE_MAX_KNOWN ((uint64_t)INT64_MAX)

/* Sizes that a thread looks up at a time. */
#define SIZES_AT_ONCE 512

/* An entry of a folder. */
struct entry {
    uint64_t begins; /* the first bytes after what all begin with */
    size_t name;     /* in names */
    bool is_file;    /* certainly; else anything */
};

/* A list that is being read, and the one that names it. */
struct open_list {
    struct mr_digest id;
    const struct open_list *namer;
};

/* A listing in the making. */
struct builder {
    struct mr_listing *listing;
    size_t cap_inputs, cap_unlisted;
    char **folders; /* still to be walked: the last is next */
    size_t n_folders, cap_folders;
    struct entry *entries; /* of the folder at hand */
    size_t n_entries, cap_entries;
    struct mr_buffer names; /* theirs, each with its NUL */
    size_t below;           /* of the folder INPUT at hand: where names begin */
    unsigned list_depth;
    const struct open_list *list; /* being read */
    struct mr_digest_set lists;   /* that have been, or are being, read */
    bool has_stdin;               /* standard input has been named */
    struct mr_error *err;
};

/* Double an array that is full; NULL without memory. */
static void *grown(void *array, size_t n, size_t *cap, size_t item_bytes)
{
    size_t want = *cap > 0 ? 2 * *cap : 64;
    void *p;

    if (n < *cap)
        return array;
    if (want > SIZE_MAX / item_bytes)
        return NULL;
    p = realloc(array, want * item_bytes);
    if (p != NULL)
        *cap = want;
    return p;
}

static char *copy_text(const void *p, size_t n)
{
    char *text = malloc(n + 1);

    if (text != NULL) {
        if (n > 0)
            memcpy(text, p, n);
        text[n] = '\0';
    }
    return text;
}

/* A path without "." components and needless slashes; "." for nothing. */
static char *normal_path(const char *path)
{
    char *normal = malloc(strlen(path) + 2);
    size_t n = 0;

    if (normal == NULL)
        return NULL;
    if (path[0] == '/')
        normal[n++] = '/';
    while (*path != '\0') {
        size_t length = strcspn(path, "/");

        if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (n > 0 && normal[n - 1] != '/')
                normal[n++] = '/';
            memcpy(normal + n, path, length);
            n += length;
        }
        path += length;
        path += strspn(path, "/");
    }
    if (n == 0)
        normal[n++] = '.';
    normal[n] = '\0';
    return normal;
}

/* Where in a path the name begins. */
static size_t name_offset(const char *path, size_t below)
{
    const char *begin = path;
    const char *slash;

    while ((slash = strchr(begin, '/')) != NULL) {
        const char *sign = memchr(begin, '=', (size_t)(slash - begin));

        if (sign != NULL && sign > begin)
            return (size_t)(begin - path);
        begin = slash + 1;
    }
    return below;
}

enum mr_status mr_path_name(
    const char *path, size_t below, struct mr_buffer *out)
{
    const char *name = path + name_offset(path, below);

    return mr_buffer_add(out, name, strlen(name));
}

/* Takes over the path, which may be NULL for want of memory. */
static enum mr_status add_input(
    struct builder *b, char *path, size_t below, uint64_t size)
{
    struct mr_listing *listing = b->listing;
    struct mr_input *inputs =
        grown(listing->inputs, listing->n, &b->cap_inputs, sizeof *inputs);
    struct mr_input *input;

    if (inputs != NULL)
        listing->inputs = inputs;
    if (inputs == NULL || path == NULL) {
        free(path);
        return mr_fail_nomem(b->err);
    }
    input = &inputs[listing->n];
    input->size = size;
    input->path = path;
    input->name = path + name_offset(path, below);
    listing->n++;
    return MR_OK;
}

/* A file called "-" must not be taken for standard input when it is opened.
 * Takes over the path. */
static enum mr_status add_file(
    struct builder *b, char *path, size_t below, uint64_t size)
{
    if (strcmp(path, "-") == 0) {
        free(path);
        return add_input(b, copy_text("./-", 3), 2, size);
    }
    return add_input(b, path, below, size);
}

/* Whether a look at a path fails as long as nobody changes something there. */
static bool is_lasting(int number)
{
    return number == EACCES || number == EPERM || number == ENOENT ||
           number == ENOTDIR || number == ELOOP || number == ENAMETOOLONG;
}

/* Anything else that fails is trouble of the moment: a disk, a share, too
 * many open files.  What was to be listed may be a folder, of which nobody
 * knows what is in it, and no later state could ever make its failure good. */
static enum mr_status fail_to_list(
    struct builder *b, const char *path, int number)
{
    enum mr_status status = mr_fail_errno(b->err, number,
        "see that it can be read, or leave it out, and rerun", NULL);

    mr_error_subject(b->err, "cannot list", path);
    return status;
}

static enum mr_status add_unlisted(
    struct builder *b, const char *path, size_t below, int number)
{
    struct mr_listing *listing = b->listing;
    struct mr_unlisted *unlisted;
    struct mr_error why;

    if (number == ENOMEM)
        return mr_fail_nomem(b->err);
    if (!is_lasting(number))
        return fail_to_list(b, path, number);
    unlisted = grown(listing->unlisted, listing->n_unlisted, &b->cap_unlisted,
        sizeof *unlisted);
    if (unlisted == NULL)
        return mr_fail_nomem(b->err);
    listing->unlisted = unlisted;
    unlisted += listing->n_unlisted;
    path += name_offset(path, below);
    unlisted->name = copy_text(path, strlen(path));
    if (unlisted->name == NULL)
        return mr_fail_nomem(b->err);
    (void)mr_fail_errno(&why, number, NULL, NULL);
    memcpy(unlisted->cause, why.cause, sizeof unlisted->cause);
    listing->n_unlisted++;
    return MR_OK;
}

/* Folders are kept in a list and opened one after the other: a tree of any
 * depth takes one descriptor and no stack.  Takes over the path. */
static enum mr_status push_folder(struct builder *b, char *path)
{
    char **folders =
        grown(b->folders, b->n_folders, &b->cap_folders, sizeof *folders);

    if (folders != NULL)
        b->folders = folders;
    if (path == NULL || folders == NULL) {
        free(path);
        return mr_fail_nomem(b->err);
    }
    folders[b->n_folders++] = path;
    return MR_OK;
}

/* The path of an entry of a folder. */
static char *child_path(const char *folder, const char *entry)
{
    size_t n = strlen(folder), m = strlen(entry);
    char *path;

    if (strcmp(folder, ".") == 0)
        return copy_text(entry, m);
    path = malloc(n + m + 2);
    if (path == NULL)
        return NULL;
    memcpy(path, folder, n);
    if (folder[n - 1] != '/')
        path[n++] = '/';
    memcpy(path + n, entry, m + 1);
    return path;
}

/* Takes over the path. */
static enum mr_status add_entry_unlisted(
    struct builder *b, char *path, int number)
{
    enum mr_status status = add_unlisted(b, path, b->below, number);

    free(path);
    return status;
}

/* A link to a folder is not followed.  Takes over the path. */
static enum mr_status pass_link(struct builder *b, char *path)
{
    struct mr_listing *listing = b->listing;

    if (listing->n_links++ == 0 || strcmp(path, listing->link) < 0) {
        free(listing->link);
        listing->link = path;
    } else {
        free(path);
    }
    return MR_OK;
}

static enum mr_status look_at_entry(struct builder *b, int folder_fd,
    const char *folder, const struct entry *entry)
{
    const char *name = (const char *)b->names.p + entry->name;
    char *path = child_path(folder, name);
    bool link = false, failed;
    struct stat info;

    if (path == NULL)
        return mr_fail_nomem(b->err);
    if (entry->is_file)
        return add_file(b, path, b->below, SIZE_WANTED);
    failed = fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0;
    if (!failed && S_ISLNK(info.st_mode)) {
        link = true;
        failed = fstatat(folder_fd, name, &info, 0) != 0;
    }
    if (failed)
        return add_entry_unlisted(b, path, errno);
    if (S_ISREG(info.st_mode))
        return add_file(b, path, b->below, (uint64_t)info.st_size);
    if (S_ISDIR(info.st_mode))
        return link ? pass_link(b, path) : push_folder(b, path);
    free(path);
    return MR_OK;
}

static enum mr_status keep_entry(struct builder *b, const struct dirent *found)
{
    struct entry *entries =
        grown(b->entries, b->n_entries, &b->cap_entries, sizeof *entries);
    struct entry *entry;

    if (entries == NULL)
        return mr_fail_nomem(b->err);
    b->entries = entries;
    entry = &entries[b->n_entries];
    *entry = (struct entry){.name = b->names.n};
#ifdef DT_REG
    entry->is_file = found->d_type == DT_REG;
#endif
    if (mr_buffer_add(&b->names, found->d_name, strlen(found->d_name) + 1) !=
        MR_OK)
        return mr_fail_nomem(b->err);
    b->n_entries++;
    return MR_OK;
}

/* How many bytes a text has in common with another, at most n. */
static size_t common_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t i = 0;

    while (i < n && a[i] == b[i] && a[i] != '\0')
        i++;
    return i;
}

/* Descending, so that the last is the first.  Names that begin alike stay in
 * any order: it is for speed only. */
static int entries_down(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->begins < y->begins ? 1 : x->begins > y->begins ? -1 : 0;
}

static void sort_entries(struct builder *b)
{
    const uint8_t *names = b->names.p;
    size_t common = SIZE_MAX;

    for (size_t i = 1; i < b->n_entries; i++)
        common = common_bytes(names, names + b->entries[i].name, common);
    for (size_t i = 0; i < b->n_entries && b->n_entries > 1; i++) {
        const uint8_t *p = names + b->entries[i].name + common;
        uint64_t begins = 0;

        for (unsigned k = 0; k < 8; k++)
            begins = begins << 8 | (*p == '\0' ? 0 : *p++);
        b->entries[i].begins = begins;
    }
    if (b->n_entries > 1)
        qsort(b->entries, b->n_entries, sizeof *b->entries, entries_down);
}

static enum mr_status walk_folder(struct builder *b, const char *folder)
{
    enum mr_status status = MR_OK;
    DIR *dir = opendir(folder);
    /* An unlisted folder below INPUT is named like a file; INPUT itself,
     * which has nothing below it, by its path. */
    size_t below = strlen(folder) > b->below ? b->below : 0;
    struct dirent *found;

    if (dir == NULL)
        return add_unlisted(b, folder, below, errno);
    b->n_entries = b->names.n = 0;
    while (status == MR_OK && (errno = 0, found = readdir(dir)) != NULL)
        if (found->d_name[0] != '.' && found->d_name[0] != '_')
            status = keep_entry(b, found);
    if (status == MR_OK && errno != 0)
        status = add_unlisted(b, folder, below, errno);
    sort_entries(b);
    /* Files ascending, and folders, which are taken from the end, too. */
    for (size_t i = b->n_entries; i-- > 0 && status == MR_OK;)
        if (b->entries[i].is_file)
            status = look_at_entry(b, dirfd(dir), folder, &b->entries[i]);
    for (size_t i = 0; i < b->n_entries && status == MR_OK; i++)
        if (!b->entries[i].is_file)
            status = look_at_entry(b, dirfd(dir), folder, &b->entries[i]);
    closedir(dir);
    return status;
}

static enum mr_status walk(struct builder *b, const char *folder)
{
    enum mr_status status = push_folder(b, copy_text(folder, strlen(folder)));
    size_t n = strlen(folder);

    if (strcmp(folder, ".") == 0)
        b->below = 0;
    else
        b->below = folder[n - 1] == '/' ? n : n + 1;
    while (status == MR_OK && b->n_folders > 0) {
        char *next = b->folders[--b->n_folders];

        status = walk_folder(b, next);
        free(next);
    }
    return status;
}

/* A path that exists: a folder to walk or a file of any kind. */
static enum mr_status add_existing(
    struct builder *b, const char *arg, const struct stat *info)
{
    enum mr_status status;
    char *path = normal_path(arg);

    if (path == NULL)
        return mr_fail_nomem(b->err);
    if (!S_ISDIR(info->st_mode))
        return add_file(
            b, path, 0, S_ISREG(info->st_mode) ? (uint64_t)info->st_size : 0);
    status = walk(b, path);
    free(path);
    return status;
}

/* glob(3) hands its error function no context, hence this one. */
static _Thread_local struct {
    struct builder *builder;
    enum mr_status status;
} globbing;

static int on_glob_error(const char *path, int number)
{
    globbing.status = add_unlisted(globbing.builder, path, 0, number);
    return globbing.status != MR_OK;
}

static enum mr_status fail_unmatched(struct builder *b, const char *arg)
{
    enum mr_status status;

    if (b->list_depth > 0)
        return add_unlisted(b, arg, 0, ENOENT);
    status = mr_fail(b->err, MR_USAGE, MR_NOWHERE,
        "check the path, or name a folder that holds event files",
        "no such file or folder");
    mr_error_subject(b->err, "cannot find", arg);
    return status;
}

static enum mr_status add_glob(struct builder *b, const char *pattern)
{
    enum mr_status status = MR_OK;
    size_t n_unlisted = b->listing->n_unlisted;
    glob_t found;
    int result;

    globbing.builder = b;
    globbing.status = MR_OK;
    result = glob(pattern, GLOB_NOSORT, on_glob_error, &found);
    if (globbing.status != MR_OK)
        status = globbing.status;
    else if (result == GLOB_NOSPACE)
        status = mr_fail_nomem(b->err);
    else if (result != 0 && b->listing->n_unlisted == n_unlisted)
        status = fail_unmatched(b, pattern);
    for (size_t i = 0; result == 0 && status == MR_OK && i < found.gl_pathc;
         i++) {
        struct stat info;

        if (stat(found.gl_pathv[i], &info) == 0)
            status = add_existing(b, found.gl_pathv[i], &info);
        else
            status = add_unlisted(b, found.gl_pathv[i], 0, errno);
    }
    if (result == 0)
        globfree(&found);
    return status;
}

static enum mr_status add_argument(struct builder *b, const char *arg);

static enum mr_status use_stdin(struct builder *b)
{
    if (b->has_stdin)
        return mr_fail(b->err, MR_USAGE, MR_NOWHERE,
            "name it once, as '-' or as '@-'", "standard input named twice");
    b->has_stdin = true;
    return MR_OK;
}

static enum mr_status add_list_line(
    struct builder *b, const uint8_t *p, size_t n, uint64_t offset)
{
    enum mr_status status;
    char *line;

    if (n > 0 && p[n - 1] == '\r')
        n--;
    if (n == 0)
        return MR_OK;
    if (memchr(p, '\0', n) != NULL)
        return mr_fail(b->err, MR_USAGE, offset,
            "give one path a line, or name the file without '@'",
            "the list is not text: it holds a NUL byte");
    line = copy_text(p, n);
    if (line == NULL)
        return mr_fail_nomem(b->err);
    status = add_argument(b, line);
    free(line);
    return status;
}

static enum mr_status add_lines(
    struct builder *b, struct mr_span text, struct open_list *own)
{
    enum mr_status status = MR_OK;
    size_t begin = 0;

    own->namer = b->list;
    b->list = own;
    b->list_depth++;
    while (status == MR_OK && begin < text.n) {
        const uint8_t *p = text.p + begin;
        const uint8_t *end = memchr(p, '\n', text.n - begin);
        size_t n = end != NULL ? (size_t)(end - p) : text.n - begin;

        status = add_list_line(b, p, n, begin);
        begin += n + 1;
    }
    b->list_depth--;
    b->list = own->namer;
    return status;
}

/* Whether a list has been read: what it names is there already, and a few
 * lists that name others many times could name them without end. */
static enum mr_status was_read(
    struct builder *b, const char *path, struct mr_digest *id, bool *was_out)
{
    bool is_new = true;
    uint64_t file[2];
    struct stat info;

    *was_out = false;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return MR_OK;
    file[0] = (uint64_t)info.st_dev;
    file[1] = (uint64_t)info.st_ino;
    *id = mr_digest_bytes(file, sizeof(file));
    if (mr_digest_set_add(&b->lists, id, &is_new) != MR_OK)
        return mr_fail_nomem(b->err);
    *was_out = !is_new;
    /* One that names itself has not been; that will be found out. */
    for (const struct open_list *l = b->list; l != NULL; l = l->namer)
        *was_out = *was_out && memcmp(&l->id, id, sizeof(*id)) != 0;
    return MR_OK;
}

static enum mr_status add_list(struct builder *b, const char *path)
{
    struct mr_buffer text = {0};
    struct open_list own = {.namer = NULL};
    enum mr_status status;
    bool was = false;

    if (b->list_depth == LIST_DEPTH_MAX)
        return mr_fail(b->err, MR_USAGE, MR_NOWHERE, "does a list name itself?",
            "lists nested more than %d deep", LIST_DEPTH_MAX);
    status = strcmp(path, "-") == 0 ? use_stdin(b)
                                    : was_read(b, path, &own.id, &was);
    if (was)
        return MR_OK;
    if (status == MR_OK) {
        status = mr_source_load(path, LIST_MAX_BYTES, &text, b->err);
        /* A list that is not there, or is none, is the caller's mistake. */
        if (status == MR_IO || status == MR_LIMIT)
            status = b->err != NULL ? (b->err->status = MR_USAGE) : MR_USAGE;
    }
    if (status == MR_OK && strcmp(path, "-") != 0 &&
        mr_buffer_add(&b->listing->lists, path, strlen(path) + 1) != MR_OK)
        status = mr_fail_nomem(b->err);
    if (status == MR_OK)
        status = add_lines(b, (struct mr_span){text.p, text.n}, &own);
    mr_buffer_release(&text);
    if (status != MR_OK)
        mr_error_subject(
            b->err, "cannot read list", path[0] != '\0' ? path : "@");
    return status;
}

static enum mr_status add_argument(struct builder *b, const char *arg)
{
    enum mr_status status;
    struct stat info;

    if (strcmp(arg, "-") == 0) {
        status = use_stdin(b);
        return status != MR_OK ? status : add_input(b, copy_text("-", 1), 0, 0);
    }
    if (arg[0] == '@')
        return add_list(b, arg + 1);
    if (stat(arg, &info) == 0)
        return add_existing(b, arg, &info);
    if (errno != ENOENT && errno != ENOTDIR)
        return add_unlisted(b, arg, 0, errno);
    if (strpbrk(arg, "*?[") != NULL)
        return add_glob(b, arg);
    return fail_unmatched(b, arg);
}

static int by_path(const void *a, const void *b)
{
    const struct mr_input *x = a, *y = b;
    int c = strcmp(x->path, y->path);

    return c != 0 ? c : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct mr_input *x = a, *y = b;
    int c = strcmp(x->name, y->name);

    return c != 0 ? c : strcmp(x->path, y->path);
}

static int unlisted_by_name(const void *a, const void *b)
{
    const struct mr_unlisted *x = a, *y = b;
    int c = strcmp(x->name, y->name);

    return c != 0 ? c : strcmp(x->cause, y->cause);
}

/* Folders are often read in order, and order by path is mostly that by
 * name: to look costs a fraction of sorting. */
static void sort_inputs(struct mr_input *inputs, size_t n,
    int (*compare)(const void *, const void *))
{
    size_t i = 1;

    while (i < n && compare(&inputs[i - 1], &inputs[i]) <= 0)
        i++;
    if (i < n)
        qsort(inputs, n, sizeof *inputs, compare);
}

/* Sort, and drop what stands there twice, and states, which may lie beside the
 * files they were made of; return how many of these there were. */
static size_t settle(struct mr_listing *listing)
{
    size_t n = 0, states = 0;

    sort_inputs(listing->inputs, listing->n, by_path);
    for (size_t i = 0; i < listing->n; i++) {
        struct mr_input *input = &listing->inputs[i];

        bool is_state = mr_text_ends(input->path, MR_STATE_SUFFIX);

        states += is_state;
        if (is_state ||
            (n > 0 && by_path(&listing->inputs[n - 1], input) == 0)) {
            free(input->path);
        } else {
            listing->inputs[n++] = *input;
        }
    }
    listing->n = n;
    sort_inputs(listing->inputs, n, by_name);
    n = 0;
    if (listing->n_unlisted > 0)
        qsort(listing->unlisted, listing->n_unlisted, sizeof *listing->unlisted,
            unlisted_by_name);
    for (size_t i = 0; i < listing->n_unlisted; i++) {
        struct mr_unlisted *u = &listing->unlisted[i];

        if (n > 0 && unlisted_by_name(&listing->unlisted[n - 1], u) == 0)
            free(u->name);
        else if (n++ < i)
            listing->unlisted[n - 1] = *u;
    }
    listing->n_unlisted = n;
    return states;
}

void mr_listing_unite_paths(struct mr_listing *listing)
{
    struct mr_input *inputs = listing->inputs;
    size_t n = 0;

    sort_inputs(inputs, listing->n, by_path);
    for (size_t i = 0; i < listing->n; i++) {
        if (n > 0 && strcmp(inputs[n - 1].path, inputs[i].path) == 0)
            free(inputs[i].path);
        else
            inputs[n++] = inputs[i];
    }
    listing->n = n;
    sort_inputs(inputs, n, by_name);
}

/* ---- sizes ---- */

struct sizes {
    struct mr_listing *listing;
    atomic_size_t next;
};

static uint64_t look_up_size(const char *path)
{
    struct stat info;

    if (fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    /* Opening it will fail, and say so. */
    return errno == ENAMETOOLONG ? 0 : SIZE_FAILED(errno);
}

/* Look up sizes until there are no more; any number of threads. */
static void *look_up_sizes(void *context)
{
    struct sizes *s = context;
    size_t n = s->listing->n, i;

    while ((i = atomic_fetch_add(&s->next, SIZES_AT_ONCE)) < n)
        for (size_t k = i; k < n && k < i + SIZES_AT_ONCE; k++) {
            struct mr_input *input = &s->listing->inputs[k];

            if (input->size == SIZE_WANTED)
                input->size = look_up_size(input->path);
        }
    return NULL;
}

/* Move inputs that could not be looked at to those that are not listed. */
static enum mr_status drop_failed(struct builder *b)
{
    struct mr_listing *listing = b->listing;
    enum mr_status status = MR_OK;
    size_t n = 0;

    for (size_t i = 0; i < listing->n; i++) {
        struct mr_input *input = &listing->inputs[i];

        if (input->size <= SIZE_MAX_KNOWN) {
            listing->inputs[n++] = *input;
            continue;
        }
        if (status == MR_OK)
            status = add_unlisted(b, input->name, 0, SIZE_ERROR(input->size));
        free(input->path);
    }
    listing->n = n;
    return status;
}

/* Look up all sizes that are not known. */
static enum mr_status find_sizes(struct builder *b, unsigned threads)
{
    struct sizes sizes = {.listing = b->listing};
    size_t portions = b->listing->n / SIZES_AT_ONCE + 1;
    unsigned most = portions < threads ? (unsigned)portions : threads, n = 0;
    pthread_t *thread = malloc((most + 1) * sizeof *thread);

    if (thread == NULL)
        return mr_fail_nomem(b->err);
    while (n + 1 < most &&
           pthread_create(&thread[n], NULL, look_up_sizes, &sizes) == 0)
        n++;
    (void)look_up_sizes(&sizes);
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(thread[i], NULL);
    free(thread);
    return drop_failed(b);
}

enum mr_status mr_listing_build(char *const *args, size_t n, unsigned threads,
    struct mr_listing *listing_out, struct mr_error *err)
{
    struct builder b = {.listing = listing_out, .err = err};
    enum mr_status status = MR_OK;
    size_t states;

    memset(listing_out, 0, sizeof *listing_out);
    for (size_t i = 0; i < n && status == MR_OK; i++)
        status = add_argument(&b, args[i]);
    while (b.n_folders > 0)
        free(b.folders[--b.n_folders]);
    free(b.folders);
    free(b.entries);
    mr_buffer_release(&b.names);
    mr_digest_set_release(&b.lists);
    if (status == MR_OK)
        status = find_sizes(&b, threads);
    if (status != MR_OK)
        return status;
    states = settle(listing_out);
    if (listing_out->n > 0 || listing_out->n_unlisted > 0)
        return MR_OK;
    if (states > 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "states are for 'mr reduce'; name files of events, or folders that "
            "hold them",
            "no input: what was named %s (" MR_STATE_SUFFIX ")",
            states == 1 ? "is a state, or holds nothing but one"
                        : "has nothing but states");
    if (listing_out->n_links > 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "links to folders are not followed: name what they lead to",
            "no input: there is no file under what was named, but '%.200s' is "
            "a link to a folder",
            listing_out->link);
    return mr_fail(err, MR_USAGE, MR_NOWHERE,
        "name files, or folders that hold event files "
        "(names that begin with '_' or '.' are skipped)",
        "no input: there is no file under what was named");
}

void mr_listing_release(struct mr_listing *listing)
{
    for (size_t i = 0; i < listing->n; i++) {
        free(listing->inputs[i].path);
    }
    for (size_t i = 0; i < listing->n_unlisted; i++)
        free(listing->unlisted[i].name);
    free(listing->inputs);
    free(listing->unlisted);
    free(listing->link);
    mr_buffer_release(&listing->lists);
    memset(listing, 0, sizeof *listing);
}

/* One of the parts that files are dealt to: a heap with the smallest on top,
 * of equal ones the first. */
struct part {
    uint64_t bytes;
    unsigned k;
};

static bool part_less(const struct part *a, const struct part *b)
{
    return a->bytes != b->bytes ? a->bytes < b->bytes : a->k < b->k;
}

static void sink_top(struct part *heap, size_t n)
{
    size_t i = 0;

    for (;;) {
        size_t least = i;
        struct part swap;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (part_less(&heap[child], &heap[least]))
                least = child;
        if (least == i)
            return;
        swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

size_t mr_listing_find(
    const struct mr_listing *listing, const char *name, bool after)
{
    size_t low = 0, high = listing->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(listing->inputs[middle].name, name);

        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sized {
    uint64_t size;
    size_t input;
};

static int by_size_down(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;

    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->input < y->input ? -1 : x->input > y->input;
}

enum mr_status mr_listing_largest_first(
    const struct mr_listing *listing, uint64_t floor, size_t *input, size_t n)
{
    struct sized *sized = malloc((n + 1) * sizeof *sized);

    if (sized == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        uint64_t size = listing->inputs[input[i]].size;

        sized[i] = (struct sized){size < floor ? 0 : size, input[i]};
    }
    if (n > 1)
        qsort(sized, n, sizeof *sized, by_size_down);
    for (size_t i = 0; i < n; i++)
        input[i] = sized[i].input;
    free(sized);
    return MR_OK;
}

enum mr_status mr_listing_deal(const struct mr_listing *listing, unsigned n,
    unsigned *part_out, struct mr_error *err)
{
    size_t *order = malloc((listing->n + 1) * sizeof *order);
    struct part *heap = calloc(n, sizeof *heap);

    for (size_t i = 0; order != NULL && i < listing->n; i++)
        order[i] = i;
    if (heap == NULL || order == NULL ||
        mr_listing_largest_first(listing, 0, order, listing->n) != MR_OK) {
        free(heap);
        free(order);
        return mr_fail_nomem(err);
    }
    for (unsigned i = 0; i < n; i++)
        heap[i].k = i + 1;
    for (size_t i = 0; i < listing->n; i++) {
        part_out[order[i]] = heap->k;
        /* One more each, so that empty files are dealt out too. */
        heap->bytes += listing->inputs[order[i]].size + 1;
        sink_top(heap, n);
    }
    free(heap);
    free(order);
    return MR_OK;
}

enum mr_status mr_listing_shard(struct mr_listing *listing, unsigned first,
    unsigned last, unsigned n, struct mr_error *err)
{
    size_t kept = 0;
    unsigned *part;
    enum mr_status status;

    if (first < 1 || first > last || last > n)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "write it as K/N with K from 1 to N, or as K-L/N",
            "no parts %u to %u of %u", first, last, n);
    part = malloc((listing->n + 1) * sizeof *part);
    if (part == NULL)
        return mr_fail_nomem(err);
    status = mr_listing_deal(listing, n, part, err);
    for (size_t i = 0; i < listing->n && status == MR_OK; i++) {
        if (part[i] >= first && part[i] <= last)
            listing->inputs[kept++] = listing->inputs[i];
        else
            free(listing->inputs[i].path);
    }
    free(part);
    if (status != MR_OK)
        return status;
    listing->n = kept;
    for (size_t i = 0; first != 1 && i < listing->n_unlisted; i++)
        free(listing->unlisted[i].name);
    if (first != 1)
        listing->n_unlisted = 0;
    return MR_OK;
}
