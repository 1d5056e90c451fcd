#ifndef MR_SPOOL_H
#define MR_SPOOL_H

#include "mr/bytes.h"
#include "mr/spill.h"

/*
 * Bytes that wait until it is known whether they count: in memory, and beyond
 * MR_SPOOL_BYTES in a file without a name, in a folder that whoever adds them
 * says.  All zero is empty.  One thread at a time.  Errors: MR_NOMEM, and
 * those of mr/spill.h.
 */
#define MR_SPOOL_BYTES ((size_t)4 << 20)
struct mr_spool {
    struct mr_buffer text;  /* the last bytes */
    struct mr_spill *spill; /* those before, or NULL */
};

void mr_spool_release(struct mr_spool *s);
/** mr_spool_clear(s): Make it empty, keeping its memory. */
void mr_spool_clear(struct mr_spool *s);
/** mr_spool_settle(s, folder, err): Move the bytes in memory to the file if
 * there are too many of them. */
MR_MUST_CHECK enum mr_status mr_spool_settle(
    struct mr_spool *s, const char *folder, struct mr_error *err);
/** mr_spool_add(s, bytes, folder, err): Append bytes. */
MR_MUST_CHECK enum mr_status mr_spool_add(struct mr_spool *s,
    struct mr_span bytes, const char *folder, struct mr_error *err);
/** mr_spool_append(into, from, folder, err): Move all of from to the end of
 * into. */
MR_MUST_CHECK enum mr_status mr_spool_append(struct mr_spool *into,
    struct mr_spool *from, const char *folder, struct mr_error *err);
uint64_t mr_spool_bytes(const struct mr_spool *s);
/** mr_spool_cut(s, n): Forget all but the first n bytes; false, and nothing is
 * forgotten, where more than that are in the file. */
bool mr_spool_cut(struct mr_spool *s, uint64_t n);

/** mr_spool_pass(s, at, n, take, context, err): Hand n bytes, which must be
 * there, from the at-th on to take, until it fails: in stretches of
 * MR_SPOOL_PIECE but for the last from the file, and the one from memory.
 * They stay. */
#define MR_SPOOL_PIECE ((size_t)16 << 10)
typedef enum mr_status mr_spool_take(
    void *context, struct mr_span bytes, struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_spool_pass(const struct mr_spool *s,
    uint64_t at, uint64_t n, mr_spool_take *take, void *context,
    struct mr_error *err);

/** mr_spool_drain(s, take, context, err): The same with all bytes; then s is
 * empty. */
MR_MUST_CHECK enum mr_status mr_spool_drain(struct mr_spool *s,
    mr_spool_take *take, void *context, struct mr_error *err);

#endif
