#ifndef CONSOLE_H
#define CONSOLE_H

#include <time.h>

#include "mr/mr.h"

/*
 * What people see.  Standard output carries data and nothing else; talk goes
 * to standard error, and with quiet only errors do.  Whatever came from
 * outside (names of files, causes out of state files) passes through mr_mask,
 * so that it cannot steer a terminal.
 *
 * While a run lasts on a terminal, one line shows how far it is; it is
 * rewritten in place and gone when anything else is said.  The library calls
 * the observer from one thread at a time, so nothing here is locked.
 */

struct console {
    bool quiet;
    bool live;      /* standard error shows progress */
    bool colour;    /* standard output may be coloured */
    unsigned width; /* columns of standard output, 0: no terminal */
    bool drawn;     /* a progress line stands there now */
    struct timespec start;
    int out_errno; /* of the first write to standard output that failed */
    struct mr_observer observer;
    struct mr_sink sink; /* standard output */
};

/** console_init(c, quiet): Look at the terminals and the environment (TERM,
 * NO_COLOR). */
void console_init(struct console *c, bool quiet);

/** console_catch_signals(c): From now on the first SIGINT, SIGTERM or SIGHUP
 * sets the observer's stop flag and the second ends the process at once.  A
 * closed pipe and a file above the limit of size (ulimit -f) show as errors of
 * the write. */
void console_catch_signals(struct console *c);

/** The signal that was caught, or 0. */
int console_signal(void);

/** Say an error, always: "mr: ..." on standard error. */
void console_error(struct console *c, const char *format, ...) MR_PRINTF(2, 3);

/** Say anything else, unless quiet: the sentence as it is. */
void console_say(struct console *c, const char *format, ...) MR_PRINTF(2, 3);

/** console_partial(c, result, list): If there were failures, name the first
 * of them (with list) and say how many there are, quiet or not.  Return
 * whether there were any. */
bool console_partial(
    struct console *c, const struct mr_result *result, bool list);

/** console_print(c, text): Write text to standard output; a failure shows in
 * console_end. */
void console_print(struct console *c, const char *text);

/**
 * console_end(c, status): Take the progress line away, close standard output
 * and return the exit status: the one given, but that of a write error if
 * standard output could not take everything (told, unless the reader of a
 * pipe just went away: that is quiet, as for other tools).
 */
int console_end(struct console *c, int status);

#define CONSOLE_BYTES 16
/** Write a number of bytes for people: "999 B", "1.2 GB". */
void console_bytes(char out[CONSOLE_BYTES], uint64_t bytes);

/** console_plural(n): What a noun has behind it: "s", or nothing for one. */
const char *console_plural(uint64_t n);

#endif
