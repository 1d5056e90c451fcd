#ifndef MR_PUBLISH_H
#define MR_PUBLISH_H

#include <time.h>

#include "mr/status.h"

/*
 * Files that appear under their name whole or not at all.  They are written
 * under a temporary name, MR_TEMPORARY..., in the folder they belong to,
 * synced, renamed, and the folder is synced: after mr_publish_commit the file
 * survives a power cut, before it the old file (if any) stands untouched.  A
 * process that is killed leaves a temporary file, which every walk skips.
 *
 * Errors carry the action "cannot write" and the path; the advice follows
 * the system's error.  A full disk or quota is MR_LIMIT, all else MR_IO.
 */

/** What temporary names begin with. */
#define MR_TEMPORARY ".mr-tmp-"

/** A file in the making.  One thread at a time. */
struct mr_publish;

/** mr_publish_begin(folder, pub, err): Begin a file in a folder that exists
 * ("." is the working folder).  Its mode will be 0666 less the umask. */
MR_MUST_CHECK enum mr_status mr_publish_begin(
    const char *folder, struct mr_publish **pub_out, struct mr_error *err);

/** mr_publish_begin_file(path, pub, err): As mr_publish_begin in the folder
 * of path, whose last component is then the name for mr_publish_commit.
 * What has that name already must be a regular file: MR_USAGE for a device
 * or a link, which would be replaced, not written to. */
MR_MUST_CHECK enum mr_status mr_publish_begin_file(
    const char *path, struct mr_publish **pub_out, struct mr_error *err);

/** mr_publish_begin_nameless(folder, pub, err): Begin a file that is never to
 * have a name: nothing of it stays behind, however the process ends.  It can
 * be written to, and ends with mr_publish_keep or mr_publish_abort. */
MR_MUST_CHECK enum mr_status mr_publish_begin_nameless(
    const char *folder, struct mr_publish **pub_out, struct mr_error *err);

/** mr_publish_keep(pub): The descriptor of a nameless file, open for reading
 * and now the caller's; frees pub. */
int mr_publish_keep(struct mr_publish *pub);

/** mr_publish_date(pub, time): The file's time of modification, to be set
 * before it appears under its name.  A file system that refuses leaves it at
 * the time of writing, which is no error here. */
void mr_publish_date(struct mr_publish *pub, const struct timespec *time);

/** mr_publish_write(pub, p, n, err): Append n bytes. */
MR_MUST_CHECK enum mr_status mr_publish_write(
    struct mr_publish *pub, const void *p, size_t n, struct mr_error *err);

/** mr_publish_write_at(pub, offset, p, n, err): Write n bytes at an offset,
 * as into a header left open; where mr_publish_write goes on stays. */
MR_MUST_CHECK enum mr_status mr_publish_write_at(struct mr_publish *pub,
    uint64_t offset, const void *p, size_t n, struct mr_error *err);

/**
 * mr_publish_commit(pub, name, err): Make the file durable under a name in
 * its folder (NULL: the one mr_publish_begin_file was given), in place of
 * one that has it already.  Frees pub in any case; on failure the temporary
 * file is gone.  Where only the last step fails, syncing the folder, the
 * file stands under its name but may not survive a power cut.
 *
 * Some shares cannot rename a file to a name that is taken.  There the file
 * that has it is renamed first, to another temporary name, and removed once
 * the new one has its place, or renamed back if it does not get it.  So for a
 * moment nothing has the name, but at no time is either file not whole.
 */
MR_MUST_CHECK enum mr_status mr_publish_commit(
    struct mr_publish *pub, const char *name, struct mr_error *err);

/** mr_publish_abort(pub): Remove the temporary file; free pub (or NULL). */
void mr_publish_abort(struct mr_publish *pub);

/** mr_publish_bytes(folder, name, p, n, err): A whole small file at once.
 * Without a folder (NULL) name is a path, as of mr_publish_begin_file. */
MR_MUST_CHECK enum mr_status mr_publish_bytes(const char *folder,
    const char *name, const void *p, size_t n, struct mr_error *err);

/** mr_publish_folder(path, err): Make a folder and what is missing above it;
 * one that exists already is fine. */
MR_MUST_CHECK enum mr_status mr_publish_folder(
    const char *path, struct mr_error *err);

#endif
