#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/command.h"

int cmd_inspect(const struct options *options, struct console *console)
{
    const struct mr_inspect_options inspect = {
        .input = options->operand,
        .n_inputs = options->n_operands,
        .format = options->format,
        .colour = console->colour,
    };
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status =
        mr_inspect(&inspect, &console->sink, &console->observer, &result, &err);
    int code = EXIT_DONE;

    if (status != MR_OK)
        code = command_failed(console, status, &err);
    mr_result_release(&result);
    return code;
}
