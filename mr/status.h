#ifndef MR_STATUS_H
#define MR_STATUS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Every function of the library that can fail returns an enum mr_status and
 * fills a caller's struct mr_error, which owns nothing and so needs no
 * release.  An error keeps its parts apart (what was being done, to which
 * file, where in it, why, what to do next), because a state file stores the
 * cause without the rest and because one place puts the sentence together.
 */

enum mr_status {
    MR_OK = 0,
    MR_NOMEM,    /* memory could not be had */
    MR_IO,       /* the system refused or failed; trying again may help */
    MR_FORMAT,   /* bytes that are not what they must be */
    MR_VERSION,  /* a format version this build does not read */
    MR_CHECKSUM, /* bytes that differ from the ones that were written */
    MR_MISMATCH, /* sound parts that do not fit one another */
    MR_LIMIT,    /* a documented limit was reached */
    MR_USAGE,    /* the caller asked for something impossible */
    MR_STOPPED   /* the caller's stop flag was seen */
};

/* An offset that says "nowhere in particular". */
#define MR_NOWHERE UINT64_MAX

struct mr_error {
    enum mr_status status;
    uint64_t offset;  /* byte in the file, or MR_NOWHERE */
    int number;       /* errno of the call that failed, or 0 */
    char action[48];  /* "cannot read"; empty when the cause stands alone */
    char path[512];   /* file it happened to; may be empty */
    char cause[320];  /* "truncated gzip member" */
    char advice[192]; /* "fetch it again and rerun"; may be empty */
};

#define MR_MUST_CHECK __attribute__((warn_unused_result))
#define MR_PRINTF(f, a) __attribute__((format(printf, f, a)))

/**
 * mr_fail(err, status, offset, advice, cause, ...): Fill err (may be NULL)
 * with a cause formatted from cause and the arguments, the byte offset or
 * MR_NOWHERE, and the advice (may be NULL); action and path become empty.
 * Over-long parts are cut.  Return status, so that a caller can write
 * "return mr_fail(...)".
 */
enum mr_status mr_fail(struct mr_error *err, enum mr_status status,
    uint64_t offset, const char *advice, const char *cause, ...)
    MR_PRINTF(5, 6);

/**
 * mr_fail_errno(err, number, advice, what): As mr_fail, for a system call
 * that failed with errno number: the cause is "WHAT: STRERROR" (or the
 * system's text alone when what is NULL), with MR_IO.  ENOMEM is the same as
 * mr_fail_nomem.
 */
enum mr_status mr_fail_errno(
    struct mr_error *err, int number, const char *advice, const char *what);

/** mr_open_advice(number): What to do about a file or a folder that could not
 * be opened or looked at, by errno number. */
const char *mr_open_advice(int number);

/** mr_fail_nomem(err): As mr_fail, for an allocation that failed. */
enum mr_status mr_fail_nomem(struct mr_error *err);

/**
 * mr_error_subject(err, action, path): Say what was being done, to which
 * file, in an error that a deeper layer filled.  err may be NULL.  Parts
 * that are set already stay.
 */
void mr_error_subject(
    struct mr_error *err, const char *action, const char *path);

/**
 * mr_error_format(err, out, size): Write the sentence
 * "ACTION 'PATH' at byte OFFSET: CAUSE; ADVICE" without a final newline into
 * out[size], leaving out the parts that are empty.  Always NUL-terminated;
 * bytes of the path that are control characters become '?'.
 */
void mr_error_format(const struct mr_error *err, char *out, size_t size);

#endif
