#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <string.h>

#include "cmd/claimant.h"
#include "cmd/command.h"

/* What the run found, in a few lines of talk. */
static void say_summary(struct console *c, const struct mr_result *r)
{
    const struct mr_totals *t = &r->totals;
    char text[CONSOLE_BYTES], state[CONSOLE_BYTES];

    console_bytes(text, r->read_bytes);
    console_bytes(state, r->state_bytes);
    console_say(c,
        "%" PRIu64 " partition%s, %" PRIu64 " line%s = %" PRIu64
        " event%s + %" PRIu64 " rejected + %" PRIu64 " blank",
        t->partitions, console_plural(t->partitions), t->lines,
        console_plural(t->lines), t->events, console_plural(t->events),
        t->rejected, t->blank);
    if (r->found > 0)
        console_say(c,
            "%" PRIu64 " of the files %s read before, and %s in %zu state%s "
            "there already",
            r->found, r->found == 1 ? "was" : "were",
            r->found == 1 ? "is" : "are", r->n_states,
            console_plural(r->n_states));
    else
        console_say(c,
            "%" PRIu64 " user%s, %" PRIu64 " type%s, %" PRIu64 " day%s",
            r->users, console_plural(r->users), r->types,
            console_plural(r->types), r->days, console_plural(r->days));
    if (t->repeated > 0)
        console_say(c,
            "%" PRIu64 " partition%s left out: the same bytes were counted "
            "already",
            t->repeated, console_plural(t->repeated));
    if (t->other_day > 0 || t->other_type > 0)
        console_say(c,
            "%" PRIu64 " event%s in a folder of another day, %" PRIu64
            " in one of another type; all were counted",
            t->other_day, t->other_day == 1 ? " lies" : "s lie", t->other_type);
    if (r->path[0] == '\0') {
        console_say(c, "nothing is left to read, and nothing was written");
        return;
    }
    console_say(c, "%s of events in %.2f s, %.0f MB/s", text, r->seconds,
        r->seconds > 0 ? (double)r->read_bytes / 1e6 / r->seconds : 0.0);
    console_say(c, "state of %s: %s", state, r->path);
}

/* A signal ended the run: what there is of it.  Rejected lines can only be
 * had by reading (again). */
static int say_stopped(
    struct console *c, const struct options *options, const struct mr_result *r)
{
    const char *path = r->path;

    if (path[0] == '\0' && r->n_states > 0)
        path = r->state[0];
    if (path[0] == '\0') {
        console_error(
            c, "stopped by signal %d; run it again", console_signal());
    } else {
        console_error(c,
            "stopped by signal %d; what has been read is in '%s', and %" PRIu64
            " file%s left: run the same command again%s",
            console_signal(), path, r->left, r->left == 1 ? " is" : "s are",
            options->rejects == NULL ? " to go on"
                                     : ", which for --rejects reads all files");
    }
    return EXIT_SIGNAL + console_signal();
}

/* The states that what was asked for is in, one a line. */
static void print_states(struct console *c, const struct mr_result *r)
{
    for (size_t i = 0; i < r->n_states; i++) {
        console_print(c, r->state[i]);
        console_print(c, "\n");
    }
    if (r->path[0] != '\0') {
        console_print(c, r->path);
        console_print(c, "\n");
    }
}

/* Only lines that are read can be told to be rejected. */
static bool beside_understood(
    const struct options *options, struct console *console)
{
    if (options->rejects != NULL)
        console_error(console,
            "map: --rejects and --beside do not go together: files whose "
            "states are up to date are not read; map them without --beside");
    else if (options->checkpoint > 0)
        console_error(console,
            "map: --checkpoint and --beside do not go together: each state is "
            "published as soon as its file has been read");
    else
        return true;
    return false;
}

static int map_beside(const struct options *options, struct console *console)
{
    const struct mr_beside_options beside = {
        .spec = options->spec,
        .input = options->operand,
        .n_inputs = options->n_operands,
        .output = options->output,
        .threads = options->threads,
        .shard = options->shard.k,
        .shard_last = options->shard.l,
        .shards = options->shard.n,
    };
    struct mr_beside_counts counts = {0};
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status;
    int code = EXIT_DONE;

    if (!beside_understood(options, console))
        return EXIT_USAGE;
    status = mr_beside(
        &beside, &console->sink, &console->observer, &counts, &result, &err);
    if (status == MR_OK || counts.there + counts.made + counts.failed > 0)
        console_say(console,
            "%" PRIu64 " state%s up to date, %" PRIu64 " made, %" PRIu64
            " partition%s could not be read, in %.2f s",
            counts.there, counts.there == 1 ? " was" : "s were", counts.made,
            counts.failed, console_plural(counts.failed), result.seconds);
    if (console_partial(console, &result, true))
        code = EXIT_PARTIAL;
    if (command_bad_lines(console, "map", &result.totals, options->max_bad))
        code = EXIT_BAD_LINES;
    if (status != MR_OK)
        code = command_failed(console, status, &err);
    mr_result_release(&result);
    return code;
}

/* What --claim does not go with: NULL, or a sentence. */
static const char *refuse_claim(const struct options *o)
{
    if (!o->claim)
        return NULL;
    if (o->output == NULL)
        return "map: --claim needs --output DIR, the folder that all machines "
               "write to; see 'mr map --help'";
    if (o->beside)
        return "map: --claim and --beside do not go together: what has a state "
               "beside it is not read again in any case";
    if (o->shard.n > 0 || o->shard.is_auto)
        return "map: --claim shares the partitions out by itself; leave out "
               "--shard";
    if (o->rejects != NULL)
        return "map: --rejects does not go with --claim, which reads a part of "
               "the partitions only; leave out one of them";
    return NULL;
}

int cmd_map(const struct options *options, struct console *console)
{
    const char *refusal = refuse_claim(options);
    struct mr_claimant claimant;
    const struct mr_map_options map = {
        .spec = options->spec,
        .input = options->operand,
        .n_inputs = options->n_operands,
        .output = options->output,
        .threads = options->threads,
        .shard = options->shard.k,
        .shard_last = options->shard.l,
        .shards = options->shard.n,
        .rejects = options->rejects,
        .checkpoint_seconds = options->checkpoint,
        .claimant = options->claim ? &claimant : NULL,
    };
    struct mr_result result = {0};
    struct mr_error err = {0};
    enum mr_status status;
    int code = EXIT_DONE;

    if (refusal != NULL) {
        console_error(console, "%s", refusal);
        return EXIT_USAGE;
    }
    claimant_init(&claimant);
    if (options->beside)
        return map_beside(options, console);
    status = mr_map(&map, &console->observer, &result, &err);
    if (status == MR_STOPPED && console->out_errno == 0) {
        code = say_stopped(console, options, &result);
        print_states(console, &result);
        mr_result_release(&result);
        return code;
    }
    if (status != MR_OK) {
        code = command_failed(console, status, &err);
        if (result.path[0] != '\0')
            console_say(console,
                "what was read before is in '%s': the same command %s",
                result.path,
                options->rejects == NULL ? "goes on from there"
                                         : "reads it again for --rejects");
        mr_result_release(&result);
        return code;
    }
    say_summary(console, &result);
    print_states(console, &result);
    if (console_partial(console, &result, true))
        code = EXIT_PARTIAL;
    if (command_bad_lines(console, "map", &result.totals, options->max_bad))
        code = EXIT_BAD_LINES;
    mr_result_release(&result);
    return code;
}
