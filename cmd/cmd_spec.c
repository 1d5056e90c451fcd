#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <string.h>

#include "cmd/command.h"

static int list(struct console *console)
{
    const struct mr_builtin_spec *spec;

    for (size_t i = 0; (spec = mr_builtin_spec(i)) != NULL; i++) {
        char line[160];

        snprintf(
            line, sizeof(line), "%-20s%s\n", spec->name, spec->description);
        console_print(console, line);
    }
    return EXIT_DONE;
}

static int show(const char *name, struct console *console)
{
    const struct mr_builtin_spec *spec = NULL;
    struct mr_error err = {0};
    enum mr_status status = mr_builtin_spec_find(name, &spec, &err);

    if (status != MR_OK)
        return command_failed(console, status, &err);
    console_print(console, spec->yaml);
    return EXIT_DONE;
}

/* All of them, so that one run tells all that is to be mended. */
static int check(char *const *file, size_t n, struct console *console)
{
    int code = EXIT_DONE;

    for (size_t i = 0; i < n; i++) {
        struct mr_error err = {0};
        enum mr_status status = mr_spec_check(file[i], &err);

        if (status != MR_OK) {
            code = command_failed(console, status, &err);
        } else {
            console_print(console, file[i]);
            console_print(console, ": ok\n");
        }
    }
    return code;
}

int cmd_spec(const struct options *options, struct console *console)
{
    char *const *operand = options->operand;
    size_t n = options->n_operands;

    if (n == 1 && strcmp(operand[0], "list") == 0)
        return list(console);
    if (n == 2 && strcmp(operand[0], "show") == 0)
        return show(operand[1], console);
    if (n > 1 && strcmp(operand[0], "check") == 0)
        return check(operand + 1, n - 1, console);
    console_error(console, "spec: it must be list, show NAME or check FILE...; "
                           "see 'mr spec --help'");
    return EXIT_USAGE;
}
