#ifndef MR_REJECTS_H
#define MR_REJECTS_H

#include "mr/hash.h"
#include "mr/spec.h"
#include "mr/spool.h"

/*
 * The file of rejected lines: JSON Lines, packed with gzip or zstd when its
 * name ends in .gz or .zst, under its final name only when complete.  Lines
 * wait in a spool until their partition has been read to its end, so the file
 * holds no line of a partition that counts for nothing, and of one whose bytes
 * came several times it holds the lines once: as many as are counted.
 */

struct mr_reject {
    unsigned reason; /* spec.h */
    uint64_t line;   /* from 0 */
    uint64_t offset; /* of the line in unpacked bytes */
    struct mr_span text;
    bool cut; /* text is only the beginning */
};

/** mr_reject_pack(reject, out): Append a reject in a form of this process's
 * own, its line counted from wherever the caller likes. */
MR_MUST_CHECK enum mr_status mr_reject_pack(
    const struct mr_reject *reject, struct mr_buffer *out);

/**
 * mr_reject_format(spec, partition, packed, line, out): Append one
 * line of JSON for each packed reject: reason, partition, line (from 1),
 * offset, and the line as "text", or as "base64" where it is not valid UTF-8;
 * "cut": true where that is only its beginning.  line is the one from which
 * the packed ones count.
 */
MR_MUST_CHECK enum mr_status mr_reject_format(const struct mr_spec *spec,
    const char *partition, struct mr_span packed, uint64_t line,
    struct mr_buffer *out);

struct mr_reject_file;
MR_MUST_CHECK enum mr_status mr_reject_file_new(
    const char *path, struct mr_reject_file **file_out, struct mr_error *err);

/** What one partition has in a spool. */
struct mr_reject_share {
    struct mr_digest digest;
    uint64_t bytes;
};

/** mr_reject_file_add(file, spool, share, n, err): Append a spool, which n
 * partitions filled one after the other, and empty it.  What a partition of
 * the same digest has put into the file already is left out. */
MR_MUST_CHECK enum mr_status mr_reject_file_add(struct mr_reject_file *file,
    struct mr_spool *spool, const struct mr_reject_share *share, size_t n,
    struct mr_error *err);
/** Complete the file and give it its name; frees it in any case. */
MR_MUST_CHECK enum mr_status mr_reject_file_finish(
    struct mr_reject_file *file, struct mr_error *err);
void mr_reject_file_abort(struct mr_reject_file *file);

#endif
