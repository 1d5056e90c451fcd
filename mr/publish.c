#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How many temporary names to try. */
#define ATTEMPTS 100
/* Some systems refuse to write more at once. */
#define WRITE_MAX ((size_t)1 << 30)
/* Bytes of a temporary name. */
#define TEMPORARY_BYTES 32

struct mr_publish {
    int folder_fd;
    int fd;
    char temporary[TEMPORARY_BYTES]; /* empty: there is no such file */
    char *path;      /* the folder's path, '/', and the name if given */
    size_t folder_n; /* bytes of path that are the folder's */
    bool has_date;
    struct timespec date;
};

/* An error of a system call on a path. */
static enum mr_status fail(
    struct mr_error *err, int number, const char *what, const char *path)
{
    const char *advice = "rerun, or write elsewhere";
    enum mr_status status;

    switch (number) {
    case ENOSPC:
    case EDQUOT:
        advice = "free some space there, or write elsewhere";
        break;
    case EFBIG:
        advice = "write elsewhere, or raise the limit of file size (ulimit -f)";
        break;
    case EACCES:
    case EPERM:
        advice = "check the folder's permissions, or write elsewhere";
        break;
    case EROFS:
        advice = "write elsewhere";
        break;
    case EMFILE:
    case ENFILE:
        advice = "raise the limit of open files (ulimit -n) and rerun";
        break;
    case ENOENT:
        advice = "make the folder first";
        break;
    case ENOTDIR:
    case EEXIST:
    case EISDIR:
        advice = "choose another name";
        break;
    default:
        break;
    }
    status = mr_fail_errno(err, number, advice, what);
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
        status = MR_LIMIT;
        if (err != NULL)
            err->status = status;
    }
    mr_error_subject(err, "cannot write", path);
    return status;
}

/* Any number that another process is unlikely to have. */
static uint64_t unlikely_number(void)
{
    static atomic_uint_least64_t counter;
    struct timespec now = {0};
    uint64_t x;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    x = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    x ^= (uint64_t)getpid() << 40;
    x += atomic_fetch_add(&counter, 1);
    x *= UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: spread */
    return x ^ x >> 32;
}

static void make_temporary(char name[TEMPORARY_BYTES])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint64_t x = unlikely_number();
    size_t n = strlen(strcpy(name, MR_TEMPORARY));

    for (int k = 0; k < 10; k++, x >>= 5)
        name[n++] = digits[x & 31];
    name[n] = '\0';
}

/* Create the temporary file; return 0 or an errno. */
static int create_temporary(struct mr_publish *pub, int mode)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        make_temporary(pub->temporary);
        pub->fd = openat(pub->folder_fd, pub->temporary,
            mode | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (pub->fd >= 0)
            return 0;
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    pub->temporary[0] = '\0';
    return errno;
}

/* Begin in the folder that is the first folder_n bytes of path. */
static enum mr_status begin(const char *path, size_t folder_n, int mode,
    struct mr_publish **pub_out, struct mr_error *err)
{
    struct mr_publish *pub = calloc(1, sizeof *pub);
    char *folder = strndup(path, folder_n);
    enum mr_status status;
    int number = 0;

    if (pub != NULL) {
        pub->folder_fd = pub->fd = -1;
        pub->path = strdup(path);
        pub->folder_n = folder_n;
    }
    if (pub == NULL || folder == NULL || pub->path == NULL) {
        mr_publish_abort(pub);
        free(folder);
        return mr_fail_nomem(err);
    }
    pub->folder_fd =
        open(folder_n > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    number = pub->folder_fd < 0 ? errno : create_temporary(pub, mode);
    free(folder);
    if (number != 0) {
        status = fail(err, number, NULL, path);
        mr_publish_abort(pub);
        return status;
    }
    *pub_out = pub;
    return MR_OK;
}

enum mr_status mr_publish_begin(
    const char *folder, struct mr_publish **pub_out, struct mr_error *err)
{
    return begin(folder, strlen(folder), O_WRONLY, pub_out, err);
}

enum mr_status mr_publish_begin_nameless(
    const char *folder, struct mr_publish **pub_out, struct mr_error *err)
{
    struct mr_publish *pub;
    enum mr_status status = begin(folder, strlen(folder), O_RDWR, &pub, err);

    if (status != MR_OK)
        return status;
    if (unlinkat(pub->folder_fd, pub->temporary, 0) != 0) {
        status = fail(err, errno, "temporary file", folder);
        mr_publish_abort(pub);
        return status;
    }
    pub->temporary[0] = '\0';
    *pub_out = pub;
    return MR_OK;
}

int mr_publish_keep(struct mr_publish *pub)
{
    int fd = pub->fd;

    pub->fd = -1;
    mr_publish_abort(pub);
    return fd;
}

void mr_publish_date(struct mr_publish *pub, const struct timespec *time)
{
    pub->has_date = true;
    pub->date = *time;
}

/* A rename would put the file in the place of a device or a link just as
 * well as in that of an older file. */
static enum mr_status check_place(const char *path, struct mr_error *err)
{
    struct stat info;
    size_t n = strlen(path);
    enum mr_status status;

    if (n > 0 && path[n - 1] == '/')
        return fail(err, EISDIR, NULL, path);
    if (lstat(path, &info) != 0 || S_ISREG(info.st_mode))
        return MR_OK;
    if (S_ISDIR(info.st_mode))
        return fail(err, EISDIR, NULL, path);
    status = mr_fail(err, MR_USAGE, MR_NOWHERE, "choose another name",
        "it exists and is not a regular file");
    mr_error_subject(err, "cannot write", path);
    return status;
}

enum mr_status mr_publish_begin_file(
    const char *path, struct mr_publish **pub_out, struct mr_error *err)
{
    const char *slash = strrchr(path, '/');
    enum mr_status status = check_place(path, err);

    if (status != MR_OK)
        return status;
    if (slash == NULL)
        return begin(path, 0, O_WRONLY, pub_out, err);
    return begin(path, (size_t)(slash - path) + 1, O_WRONLY, pub_out, err);
}

enum mr_status mr_publish_write(
    struct mr_publish *pub, const void *p, size_t n, struct mr_error *err)
{
    const char *from = p;

    while (n > 0) {
        ssize_t done = write(pub->fd, from, n < WRITE_MAX ? n : WRITE_MAX);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(err, done < 0 ? errno : EIO, NULL, pub->path);
        from += done;
        n -= (size_t)done;
    }
    return MR_OK;
}

enum mr_status mr_publish_write_at(struct mr_publish *pub, uint64_t offset,
    const void *p, size_t n, struct mr_error *err)
{
    const char *from = p;

    while (n > 0) {
        ssize_t done =
            pwrite(pub->fd, from, n < WRITE_MAX ? n : WRITE_MAX, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(err, done < 0 ? errno : EIO, NULL, pub->path);
        from += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return MR_OK;
}

/* Force a file to the disk itself, not only to the disk's cache. */
static int sync_file(int fd)
{
    int result;

#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
#endif
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

/* Not every file system can sync a folder; none that cannot loses more for
 * being asked. */
static int sync_folder(int fd)
{
    int result = sync_file(fd);

    return result != 0 && (errno == EINVAL || errno == ENOTSUP) ? 0 : result;
}

/* The file has been written: set its date.  What cannot be set does no harm,
 * and synced it need not be, since it tells nothing that could not be found
 * out again. */
static void set_date(const struct mr_publish *pub)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, pub->date};

    if (pub->has_date)
        (void)futimens(pub->fd, times);
}

/* Where a name that is taken cannot be given to another file: free it first.
 * Return 0 or an errno. */
static int change_places(struct mr_publish *pub, const char *name)
{
    char aside[TEMPORARY_BYTES];
    int folder = pub->folder_fd, number;

    make_temporary(aside);
    if (renameat(folder, name, folder, aside) != 0)
        return errno;
    if (renameat(folder, pub->temporary, folder, name) != 0) {
        number = errno;
        (void)renameat(folder, aside, folder, name);
        return number;
    }
    (void)unlinkat(folder, aside, 0);
    return 0;
}

/* Give the file its name; return 0 or an errno. */
static int rename_file(struct mr_publish *pub, const char *name)
{
    struct stat info;
    int number;

    if (renameat(pub->folder_fd, pub->temporary, pub->folder_fd, name) == 0)
        return 0;
    number = errno;
    if ((number != EEXIST && number != EPERM && number != EACCES &&
            number != EBUSY && number != ENOTSUP) ||
        fstatat(pub->folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode))
        return number;
    return change_places(pub, name) == 0 ? 0 : number;
}

enum mr_status mr_publish_commit(
    struct mr_publish *pub, const char *name, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    const char *what = "sync";
    int result = sync_file(pub->fd);
    int number = result != 0 ? errno : 0;

    if (name == NULL)
        name = pub->path + pub->folder_n;
    set_date(pub);
    /* Some file systems tell of a failed write only now. */
    if (close(pub->fd) != 0 && number == 0 && errno != EINTR) {
        number = errno;
        what = "close";
    }
    pub->fd = -1;
    if (number == 0) {
        what = "rename";
        number = rename_file(pub, name);
    }
    if (number == 0) {
        pub->temporary[0] = '\0';
        what = "sync of the folder";
        if (sync_folder(pub->folder_fd) != 0)
            number = errno;
    }
    if (number != 0)
        status = fail(err, number, what, pub->path);
    mr_publish_abort(pub);
    return status;
}

void mr_publish_abort(struct mr_publish *pub)
{
    if (pub == NULL)
        return;
    if (pub->fd >= 0)
        close(pub->fd);
    if (pub->temporary[0] != '\0')
        unlinkat(pub->folder_fd, pub->temporary, 0);
    if (pub->folder_fd >= 0)
        close(pub->folder_fd);
    free(pub->path);
    free(pub);
}

/* Say what the name in the folder is going to be, so that what fails from now
 * on is told of the file: there may be many in the folder. */
static enum mr_status set_name(
    struct mr_publish *pub, const char *name, struct mr_error *err)
{
    size_t n = pub->folder_n, m = strlen(name);
    char *path = realloc(pub->path, n + m + 2);

    if (path == NULL)
        return mr_fail_nomem(err);
    pub->path = path;
    if (n > 0 && path[n - 1] != '/')
        path[n++] = '/';
    memcpy(path + n, name, m + 1);
    pub->folder_n = n;
    return MR_OK;
}

enum mr_status mr_publish_bytes(const char *folder, const char *name,
    const void *p, size_t n, struct mr_error *err)
{
    struct mr_publish *pub;
    enum mr_status status = folder != NULL
                                ? mr_publish_begin(folder, &pub, err)
                                : mr_publish_begin_file(name, &pub, err);

    if (status != MR_OK)
        return status;
    if (folder != NULL)
        status = set_name(pub, name, err);
    if (status == MR_OK)
        status = mr_publish_write(pub, p, n, err);
    if (status != MR_OK) {
        mr_publish_abort(pub);
        return status;
    }
    return mr_publish_commit(pub, NULL, err);
}

/* Make a new folder's entry in the one above it durable. */
static int sync_parent(char *path)
{
    char *slash = strrchr(path, '/');
    int fd, result;

    if (slash != NULL && slash != path)
        *slash = '\0';
    fd = open(slash == NULL   ? "."
              : slash == path ? "/"
                              : path,
        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (slash != NULL && slash != path)
        *slash = '/';
    if (fd < 0)
        return errno == EACCES ? 0 : -1; /* may be entered, not listed */
    result = sync_folder(fd);
    close(fd);
    return result;
}

/* One folder, whose parent exists; return 0 or an errno. */
static int make_folder(char *path)
{
    struct stat info;
    int number;

    if (mkdir(path, 0777) == 0)
        return sync_parent(path) == 0 ? 0 : errno;
    number = errno;
    if (stat(path, &info) != 0)
        return number;
    return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

enum mr_status mr_publish_folder(const char *path, struct mr_error *err)
{
    char *part = strdup(path);
    enum mr_status status;
    size_t n;
    int number = 0;

    if (part == NULL)
        return mr_fail_nomem(err);
    n = strlen(part);
    while (n > 1 && part[n - 1] == '/')
        part[--n] = '\0';
    for (size_t i = 1; i < n && number == 0; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        number = make_folder(part);
        part[i] = '/';
    }
    if (number == 0)
        number = make_folder(part);
    status = number == 0 ? MR_OK : fail(err, number, "make folder", path);
    free(part);
    return status;
}
