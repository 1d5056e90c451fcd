#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/command.h"

static void say_summary(struct console *c, const struct mr_result *r)
{
    const struct mr_totals *t = &r->totals;

    console_say(c,
        "%" PRIu64 " partition%s, %" PRIu64 " line%s = %" PRIu64
        " row%s + %" PRIu64 " rejected + %" PRIu64 " blank",
        t->partitions, console_plural(t->partitions), t->lines,
        console_plural(t->lines), t->events, console_plural(t->events),
        t->rejected, t->blank);
    if (t->repeated > 0)
        console_say(c,
            "%" PRIu64 " partition%s left out: the same bytes were printed "
            "already",
            t->repeated, console_plural(t->repeated));
}

/* Where what does not fit into memory goes: beside the output, where there
 * must be room anyway; else as other tools have it. */
static char *temporary_folder(const char *output)
{
    const char *slash = output != NULL ? strrchr(output, '/') : NULL;

    if (output != NULL)
        return slash == NULL ? strdup(".")
                             : strndup(output, (size_t)(slash - output) + 1);
    return strdup(command_temporary());
}

int cmd_rows(const struct options *options, struct console *console)
{
    char *temporary = temporary_folder(options->output);
    const struct mr_rows_options rows = {
        .spec = options->spec,
        .input = options->operand,
        .n_inputs = options->n_operands,
        .output = options->output,
        .kind = (enum mr_rows_kind)options->rows_kind,
        .threads = options->threads,
        .rejects = options->rejects,
        .temporary = temporary,
    };
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status =
        mr_rows(&rows, &console->sink, &console->observer, &result, &err);
    int code = EXIT_DONE;

    if (status != MR_OK) {
        code = command_failed(console, status, &err);
    } else {
        say_summary(console, &result);
        if (console_partial(console, &result, true))
            code = EXIT_PARTIAL;
        if (command_bad_lines(
                console, "rows", &result.totals, options->max_bad))
            code = EXIT_BAD_LINES;
    }
    mr_result_release(&result);
    free(temporary);
    return code;
}
