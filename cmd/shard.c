#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/shard.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A number of the environment; ids of Slurm are 32 bits. */
#define NUMBER_DIGITS 9

/* --shard auto, half resolved. */
struct finder {
    struct option_shard *shard;
    char *message;
};

static bool complain(struct finder *f, const char *format, ...) MR_PRINTF(2, 3);
static bool complain(struct finder *f, const char *format, ...)
{
    char body[OPTIONS_MESSAGE - 80];
    va_list args;

    va_start(args, format);
    vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    snprintf(f->message, OPTIONS_MESSAGE,
        "map: '--shard auto' %s; see 'mr map --help'", body);
    return false;
}

/* A variable's number; 0 as missing_out where it is not set. */
static bool read_number(
    struct finder *f, const char *name, bool *is_set_out, unsigned *number_out)
{
    const char *text = getenv(name);
    size_t n;

    *is_set_out = text != NULL;
    if (text == NULL)
        return true;
    n = strspn(text, "0123456789");
    if (n == 0 || n > NUMBER_DIGITS || text[n] != '\0')
        return complain(f,
            "finds %s to be '%.40s', which is no number of a "
            "task; write --shard K/N",
            name, text);
    *number_out = (unsigned)strtoul(text, NULL, 10);
    return true;
}

static bool need_number(struct finder *f, const char *name, unsigned *number)
{
    bool is_set;

    if (!read_number(f, name, &is_set, number))
        return false;
    return is_set || complain(f, "finds %s not set; write --shard K/N", name);
}

/* Take the part of an index from 0 on; of_name is where n comes from. */
static bool take(struct finder *f, const char *index_name, unsigned index,
    const char *of_name, unsigned n)
{
    struct option_shard *shard = f->shard;

    if (n < 1 || n > SHARDS_MAX)
        return complain(f, "finds %s to be %u; it must be from 1 to %d",
            of_name, n, SHARDS_MAX);
    if (shard->n > 0 && shard->n != n)
        return complain(f,
            "finds %u parts in %s, but 'auto/%u' asks for %u; write --shard "
            "K/N",
            n, of_name, shard->n, shard->n);
    if (index >= n)
        return complain(f,
            "finds %s beyond the last of %u parts; write "
            "--shard K/N",
            index_name, n);
    *shard = (struct option_shard){.k = index + 1, .l = index + 1, .n = n};
    return true;
}

static bool from_slurm(struct finder *f)
{
    unsigned id = 0, n = 0, least = 0, most = 0, step = 1;

    if (!need_number(f, "SLURM_ARRAY_TASK_ID", &id) ||
        !need_number(f, "SLURM_ARRAY_TASK_COUNT", &n) ||
        !need_number(f, "SLURM_ARRAY_TASK_MIN", &least) ||
        !need_number(f, "SLURM_ARRAY_TASK_MAX", &most))
        return false;
    if (n > 1 && most > least)
        step = (most - least) / (n - 1);
    /* A list such as 1,2,5 has no rule by which each task knows its place. */
    if (n == 0 || step == 0 || id < least || most < least ||
        most - least != (n - 1) * step || (id - least) % step != 0)
        return complain(f,
            "cannot tell which of %u tasks of SLURM_ARRAY_TASK_ID %u to %u "
            "number %u is: they are not equal steps apart; write --shard K/N",
            n, least, most, id);
    return take(f, "SLURM_ARRAY_TASK_ID", (id - least) / step,
        "SLURM_ARRAY_TASK_COUNT", n);
}

static bool from_open_mpi(struct finder *f)
{
    unsigned rank = 0, size = 0;

    return need_number(f, "OMPI_COMM_WORLD_RANK", &rank) &&
           need_number(f, "OMPI_COMM_WORLD_SIZE", &size) &&
           take(f, "OMPI_COMM_WORLD_RANK", rank, "OMPI_COMM_WORLD_SIZE", size);
}

static bool from_aws_batch(struct finder *f)
{
    static const char name[] = "AWS_BATCH_JOB_ARRAY_SIZE";
    unsigned index = 0, size = 0;
    bool has_size;

    if (!need_number(f, "AWS_BATCH_JOB_ARRAY_INDEX", &index) ||
        !read_number(f, name, &has_size, &size))
        return false;
    if (!has_size && f->shard->n == 0)
        return complain(f, "finds %s not set; write --shard auto/N", name);
    return take(f, "AWS_BATCH_JOB_ARRAY_INDEX", index, name,
        has_size ? size : f->shard->n);
}

static bool from_kubernetes(struct finder *f)
{
    unsigned index = 0;

    if (!need_number(f, "JOB_COMPLETION_INDEX", &index))
        return false;
    if (f->shard->n == 0)
        return complain(f, "finds JOB_COMPLETION_INDEX, but no variable tells "
                           "the number of completions; write --shard auto/N");
    return take(
        f, "JOB_COMPLETION_INDEX", index, "'--shard auto/N'", f->shard->n);
}

static const struct {
    const char *name; /* what tells that this scheduler is there */
    bool (*take)(struct finder *f);
} schedulers[] = {
    {"SLURM_ARRAY_TASK_ID", from_slurm},
    {"OMPI_COMM_WORLD_RANK", from_open_mpi},
    {"AWS_BATCH_JOB_ARRAY_INDEX", from_aws_batch},
    {"JOB_COMPLETION_INDEX", from_kubernetes},
};
#define N_SCHEDULERS (sizeof(schedulers) / sizeof(schedulers[0]))

bool shard_from_environment(
    struct options *options, char message_out[OPTIONS_MESSAGE])
{
    struct finder f = {&options->shard, message_out};
    size_t found = N_SCHEDULERS;

    if (!options->shard.is_auto || options->help || options->version)
        return true;
    for (size_t i = 0; i < N_SCHEDULERS; i++) {
        if (getenv(schedulers[i].name) == NULL)
            continue;
        if (found < N_SCHEDULERS)
            return complain(&f, "finds both %s and %s set; write --shard K/N",
                schedulers[found].name, schedulers[i].name);
        found = i;
    }
    if (found == N_SCHEDULERS)
        return complain(&f, "finds no %s, %s, %s or %s set; write --shard K/N",
            schedulers[0].name, schedulers[1].name, schedulers[2].name,
            schedulers[3].name);
    return schedulers[found].take(&f);
}
