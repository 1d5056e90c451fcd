#ifndef MR_SPILL_H
#define MR_SPILL_H

#include "mr/status.h"

/*
 * A temporary file for what does not fit into memory.  It has no name by the
 * time it is written to, so nothing of it stays behind, however the process
 * ends.  Errors: a full disk or quota is MR_LIMIT, all else MR_IO.
 */
struct mr_spill;

/** mr_spill_new(folder, spill, err): An empty file in a folder that exists
 * ("." is the working folder). */
MR_MUST_CHECK enum mr_status mr_spill_new(
    const char *folder, struct mr_spill **spill_out, struct mr_error *err);

/** Free it (or NULL); its space on the disk is given back. */
void mr_spill_free(struct mr_spill *spill);

/** The length so far: where the next bytes will stand. */
uint64_t mr_spill_bytes(const struct mr_spill *spill);

/** mr_spill_add(spill, p, n, err): Append n bytes.  One thread at a time. */
MR_MUST_CHECK enum mr_status mr_spill_add(
    struct mr_spill *spill, const void *p, size_t n, struct mr_error *err);

/** mr_spill_read(spill, offset, p, n, err): Read n bytes that were written.
 * Any number of threads, while none appends. */
MR_MUST_CHECK enum mr_status mr_spill_read(const struct mr_spill *spill,
    uint64_t offset, void *p, size_t n, struct mr_error *err);

#endif
