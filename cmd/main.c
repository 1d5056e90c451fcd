#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#ifdef HAVE_MALLOPT
#include <malloc.h>
#endif
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/command.h"
#include "cmd/shard.h"

const char *command_temporary(void)
{
    const char *folder = getenv("TMPDIR");

    return folder == NULL || folder[0] == '\0' ? "/tmp" : folder;
}

int command_failed(
    struct console *console, enum mr_status status, const struct mr_error *err)
{
    char text[1280];

    /* The reader of standard output went away, or its disk is full: that
     * is console_end's to tell. */
    if (console->out_errno != 0)
        return EXIT_TRY_AGAIN;
    if (status == MR_STOPPED) {
        console_error(
            console, "stopped by signal %d; run it again", console_signal());
        return EXIT_SIGNAL + console_signal();
    }
    mr_error_format(err, text, sizeof(text));
    console_error(console, "%s", text);
    switch (status) {
    case MR_USAGE:
        return EXIT_USAGE;
    case MR_FORMAT:
    case MR_VERSION:
    case MR_CHECKSUM:
    case MR_MISMATCH:
        return EXIT_DAMAGED;
    case MR_NOMEM:
    case MR_LIMIT:
        return EXIT_RESOURCES;
    default:
        return EXIT_TRY_AGAIN;
    }
}

bool command_bad_lines(struct console *console, const char *verb,
    const struct mr_totals *totals, struct option_percent limit)
{
    uint64_t lines = totals->events + totals->rejected;

    if (!options_percent_exceeded(limit, totals->rejected, lines))
        return false;
    console_error(console,
        "%" PRIu64 " of %" PRIu64 " lines were rejected (%.3f %%), more than "
        "--max-bad %.9g; 'mr %s --rejects FILE' shows them",
        totals->rejected, lines,
        100.0 * (double)totals->rejected / (double)lines,
        limit.millionths / (double)OPTION_PERCENT_SCALE, verb);
    return true;
}

static int print_help(struct console *console, enum verb verb)
{
    char *text = options_help(verb);

    if (text == NULL) {
        console_error(console, "out of memory");
        return EXIT_RESOURCES;
    }
    console_print(console, text);
    free(text);
    return EXIT_DONE;
}

static int print_version(struct console *console)
{
    console_print(console, "mr ");
    console_print(console, mr_version());
    console_print(console, "\n");
    return EXIT_DONE;
}

static int run(const struct options *options, struct console *console)
{
    if (options->help)
        return print_help(console, options->verb);
    if (options->version)
        return print_version(console);
    switch (options->verb) {
    case VERB_MAP:
        return cmd_map(options, console);
    case VERB_REDUCE:
        return cmd_reduce(options, console);
    case VERB_ROWS:
        return cmd_rows(options, console);
    case VERB_INIT:
        return cmd_init(options, console);
    case VERB_PLAN:
        return cmd_plan(options, console);
    case VERB_SPEC:
        return cmd_spec(options, console);
    default:
        return cmd_inspect(options, console);
    }
}

/* A file that is opened later must not come to stand in the place of a
 * standard one that the caller had closed, to be read as input or written
 * messages into.  What holds the place can be neither read nor written. */
static void hold_standard_places(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Each state that is merged stays open, and the usual limit is there for
 * programs of old that would not bear more. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/*
 * The tables of users grow all along.  Allocations above a threshold get pages
 * of their own, which can grow without a copy and leave no hole behind; but
 * glibc moves the threshold up to the size of whatever such thing is freed,
 * and the tables into its heap.  A threshold that was set stays: with ten
 * million users a quarter of all memory is holes otherwise.  Of one million, a
 * 256th of a table is below 64 KiB for much of the time.  It is not lower, as
 * giving such pages back interrupts all other threads.
 */
static void keep_tables_apart(void)
{
#ifdef HAVE_MALLOPT
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 10);
#endif
}

int main(int argc, char **argv)
{
    struct options options;
    struct console console;
    char message[OPTIONS_MESSAGE];
    bool understood = options_parse(argc, argv, &options, message) &&
                      shard_from_environment(&options, message);

    keep_tables_apart();
    hold_standard_places();
    raise_file_limit();
    console_init(&console, options.quiet);
    console_catch_signals(&console);
    if (!understood) {
        console_error(&console, "%s", message);
        return console_end(&console, EXIT_USAGE);
    }
    return console_end(&console, run(&options, &console));
}
