#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/command.h"

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
    enum mr_status status =
        mr_reduce(&reduce, &console->sink, &console->observer, &result, &err);
    int code = EXIT_DONE;

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
