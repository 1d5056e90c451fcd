#ifndef MR_MANIFEST_H
#define MR_MANIFEST_H

#include "mr/source.h"

/*
 * What a complete run has to cover: the names and bytes of its partitions, as
 * a file of CSV (RFC 4180, line feeds).  A first row, "partition,bytes"; a row
 * for each partition, ascending by name in byte order; and a last row with an
 * empty name and the sum of bytes, by whose absence a file is known that has
 * been cut.  A name may hold any bytes but NUL, as names of files do.  An
 * archive stands there by its own name, without its members.
 */

struct mr_manifest_entry {
    const char *name; /* not empty */
    uint64_t bytes;
};

struct mr_manifest {
    struct mr_manifest_entry *entry; /* ascending by name, no two alike */
    size_t n;
    uint64_t bytes;        /* their sum */
    struct mr_buffer text; /* what the names lie in */
};

/** Of the file, and of one name in it. */
#define MR_MANIFEST_MAX_BYTES ((size_t)1 << 30)
#define MR_MANIFEST_NAME_MAX_BYTES 65535

/**
 * mr_manifest_text(listing, stop, out, err): Append the manifest of a listing.
 * MR_IO when the listing has an entry that could not be looked at: what it
 * would stand for would be missing.  MR_USAGE when it has standard input, or
 * two files of one name that differ in content (of equal ones one is written;
 * those of one size are read to tell, until *stop, or NULL, says MR_STOPPED);
 * MR_LIMIT for a name that is too long.
 */
MR_MUST_CHECK enum mr_status mr_manifest_text(const struct mr_listing *listing,
    const atomic_int *stop, struct mr_buffer *out, struct mr_error *err);

/**
 * mr_manifest_read(path, m, err): Read a manifest and check all of it.
 * MR_USAGE: there is no such file; MR_IO: it cannot be read; MR_LIMIT: it is
 * longer than MR_MANIFEST_MAX_BYTES; MR_FORMAT, with the line: it is not as
 * told above.  Memory: twice the file's size at most.  Release it with
 * mr_manifest_release, also after a failure.
 */
MR_MUST_CHECK enum mr_status mr_manifest_read(
    const char *path, struct mr_manifest *m, struct mr_error *err);
/** mr_manifest_parse(m, err): The same of m->text, which is changed, where m
 * holds that and else zeros. */
MR_MUST_CHECK enum mr_status mr_manifest_parse(
    struct mr_manifest *m, struct mr_error *err);
void mr_manifest_release(struct mr_manifest *m);

/** mr_manifest_find(m, name, n): The entry of a name of n bytes, or NULL. */
const struct mr_manifest_entry *mr_manifest_find(
    const struct mr_manifest *m, const char *name, size_t n);

#endif
