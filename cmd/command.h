#ifndef COMMAND_H
#define COMMAND_H

#include "cmd/console.h"
#include "cmd/options.h"

/* Exit statuses; docs/mr.1 tells what each is for. */
enum exit_status {
    EXIT_DONE = 0,
    EXIT_NEGATIVE = 1,
    EXIT_USAGE = 2,
    EXIT_PARTIAL = 3,
    EXIT_BAD_LINES = 4,
    EXIT_TRY_AGAIN = 5,
    EXIT_DAMAGED = 6,
    EXIT_RESOURCES = 7,
    EXIT_SIGNAL = 128 /* plus the signal's number */
};

/** One verb each: run it, say what there is to say, return the exit
 * status. */
int cmd_map(const struct options *options, struct console *console);
int cmd_reduce(const struct options *options, struct console *console);
int cmd_inspect(const struct options *options, struct console *console);
int cmd_rows(const struct options *options, struct console *console);
int cmd_plan(const struct options *options, struct console *console);
int cmd_init(const struct options *options, struct console *console);
int cmd_spec(const struct options *options, struct console *console);

/** The folder for temporary files: $TMPDIR, or else /tmp. */
const char *command_temporary(void);

/** command_failed(console, status, err): Say why the library gave up and
 * return the exit status that belongs to it. */
int command_failed(
    struct console *console, enum mr_status status, const struct mr_error *err);

/** command_bad_lines(console, verb, totals, limit): Whether more lines were
 * rejected than --max-bad allows; if so, say it. */
bool command_bad_lines(struct console *console, const char *verb,
    const struct mr_totals *totals, struct option_percent limit);

#endif
