#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/command.h"

int cmd_init(const struct options *options, struct console *console)
{
    const struct mr_init_options init = {
        .input = options->operand,
        .n_inputs = options->n_operands,
        .output = options->output,
    };
    struct mr_init_result result;
    struct mr_error err = {0};
    enum mr_status status =
        mr_init(&init, &console->sink, &console->observer, &result, &err);

    if (status != MR_OK)
        return command_failed(console, status, &err);
    if (result.lacking[0] == '\0')
        return EXIT_DONE;
    console_error(console,
        "cannot tell from these records: %s; fill in the lines that say so, "
        "then 'mr spec check FILE'",
        result.lacking);
    return EXIT_NEGATIVE;
}
