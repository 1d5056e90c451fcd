#ifndef MR_SPOOL_H
#define MR_SPOOL_H

#include <stdio.h>

#include "mr/bytes.h"

/*
 * Bytes that wait until it is known whether they count: in memory, and in a
 * nameless temporary file beyond MR_SPOOL_BYTES.  All zero is empty.  One
 * thread at a time.  Errors: a full disk is MR_LIMIT.
 */
#define MR_SPOOL_BYTES (4 << 20)
struct mr_spool {
    struct mr_buffer text;
    FILE *overflow; /* earlier bytes */
    uint64_t overflow_bytes;
};

void mr_spool_release(struct mr_spool *s);
/** mr_spool_settle(s, err): Move the bytes in memory to the overflow file if
 * there are too many of them. */
MR_MUST_CHECK enum mr_status mr_spool_settle(
    struct mr_spool *s, struct mr_error *err);
/** mr_spool_add(s, bytes, err): Append bytes. */
MR_MUST_CHECK enum mr_status mr_spool_add(
    struct mr_spool *s, struct mr_span bytes, struct mr_error *err);
/** mr_spool_append(into, from, err): Move all of from to the end of into. */
MR_MUST_CHECK enum mr_status mr_spool_append(
    struct mr_spool *into, struct mr_spool *from, struct mr_error *err);
uint64_t mr_spool_bytes(const struct mr_spool *s);

/** mr_spool_drain(s, take, context, err): Hand all bytes to take, in stretches
 * of 64 KiB but for the last from the file and the one from memory, until it
 * fails; then s is empty. */
typedef enum mr_status mr_spool_take(
    void *context, struct mr_span bytes, struct mr_error *err);
MR_MUST_CHECK enum mr_status mr_spool_drain(struct mr_spool *s,
    mr_spool_take *take, void *context, struct mr_error *err);

#endif
