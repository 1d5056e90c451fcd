#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/command.h"

int cmd_plan(const struct options *options, struct console *console)
{
    const struct mr_forecast_options plan = {
        .spec = options->spec,
        .input = options->operand,
        .n_inputs = options->n_operands,
        .manifest = options->manifest,
        .shards = options->shards,
        .threads = options->threads,
        .format = options->format,
        .scratch = command_temporary(),
    };
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status =
        mr_forecast(&plan, &console->sink, &console->observer, &result, &err);
    int code = EXIT_DONE;

    if (status != MR_OK)
        code = command_failed(console, status, &err);
    else if (console_partial(console, &result, true))
        code = EXIT_PARTIAL;
    mr_result_release(&result);
    return code;
}
