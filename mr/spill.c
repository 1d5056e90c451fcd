#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spill.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mr/publish.h"

/* Some systems refuse to write or read more at once. */
#define PIECE_MAX ((size_t)1 << 30)

struct mr_spill {
    int fd;
    uint64_t n;
    char *folder;
};

static enum mr_status fail(const char *folder, int number, struct mr_error *err)
{
    bool is_files = number == EMFILE || number == ENFILE;
    enum mr_status status = mr_fail_errno(err, number,
        is_files ? "raise the limit of open files (ulimit -n) and rerun"
                 : "free some space there, or have temporary files elsewhere",
        "temporary file");

    if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
        status = MR_LIMIT;
        if (err != NULL)
            err->status = status;
    }
    mr_error_subject(err, "cannot use", folder);
    return status;
}

enum mr_status mr_spill_new(
    const char *folder, struct mr_spill **spill_out, struct mr_error *err)
{
    struct mr_spill *spill = calloc(1, sizeof(*spill));
    struct mr_publish *file;
    enum mr_status status;

    if (spill == NULL)
        return mr_fail_nomem(err);
    spill->fd = -1;
    spill->folder = strdup(folder);
    if (spill->folder == NULL) {
        mr_spill_free(spill);
        return mr_fail_nomem(err);
    }
    status = mr_publish_begin_nameless(folder, &file, err);
    if (status != MR_OK) {
        mr_error_subject(err, "cannot use", folder);
        mr_spill_free(spill);
        return status;
    }
    spill->fd = mr_publish_keep(file);
    *spill_out = spill;
    return MR_OK;
}

void mr_spill_free(struct mr_spill *spill)
{
    if (spill == NULL)
        return;
    if (spill->fd >= 0)
        close(spill->fd);
    free(spill->folder);
    free(spill);
}

uint64_t mr_spill_bytes(const struct mr_spill *spill)
{
    return spill->n;
}

enum mr_status mr_spill_add(
    struct mr_spill *spill, const void *p, size_t n, struct mr_error *err)
{
    const char *from = p;

    while (n > 0) {
        ssize_t done = pwrite(
            spill->fd, from, n < PIECE_MAX ? n : PIECE_MAX, (off_t)spill->n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(spill->folder, done < 0 ? errno : EIO, err);
        from += done;
        n -= (size_t)done;
        spill->n += (uint64_t)done;
    }
    return MR_OK;
}

enum mr_status mr_spill_read(const struct mr_spill *spill, uint64_t offset,
    void *p, size_t n, struct mr_error *err)
{
    char *to = p;

    while (n > 0) {
        ssize_t got =
            pread(spill->fd, to, n < PIECE_MAX ? n : PIECE_MAX, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(spill->folder, got < 0 ? errno : EIO, err);
        to += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return MR_OK;
}
