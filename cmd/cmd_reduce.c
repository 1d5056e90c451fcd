#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "cmd/command.h"

/* What does not end so would be taken for a folder, and the state get a name
 * that nobody knows. */
static bool merged_understood(
    const struct options *options, struct console *console)
{
    const char *merged = options->merged;
    size_t n = merged != NULL ? strlen(merged) : 0;

    if (merged == NULL || (n > 4 && strcmp(merged + n - 4, ".mrs") == 0))
        return true;
    console_error(console,
        "reduce: '--merged' cannot be '%s': it must be a file's name that ends "
        "in .mrs; see 'mr reduce --help'",
        merged);
    return false;
}

int cmd_reduce(const struct options *options, struct console *console)
{
    const struct option_days *days = &options->days;
    const struct mr_reduce_options reduce = {
        .input = options->operand,
        .n_inputs = options->n_operands,
        .output = options->output,
        .merged = options->merged,
        .manifest = options->manifest,
        .day_first = days->first[0] != '\0' ? days->first : NULL,
        .day_last = days->last[0] != '\0' ? days->last : NULL,
        .new_users = options->new_users,
        .rolling = options->rolling,
        .retention = options->retention,
        .format = options->format,
        .width = console->width,
        .colour = console->colour,
        .threads = options->threads,
        .temporary = command_temporary(),
    };
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status;
    int code = EXIT_DONE;

    if (!merged_understood(options, console))
        return EXIT_USAGE;
    status =
        mr_reduce(&reduce, &console->sink, &console->observer, &result, &err);
    if (status != MR_OK)
        code = command_failed(console, status, &err);
    /* The table lists what is missing; the other formats are for programs,
     * so people are told here. */
    else if (console_partial(
                 console, &result, options->format != MR_FORMAT_TABLE))
        code = EXIT_PARTIAL;
    mr_result_release(&result);
    return code;
}
