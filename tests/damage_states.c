#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * damage_states FILE...: Of each state file every single bit flipped, and
 * every length cut to, in a copy that mr_inspect and mr_reduce, which the
 * commands are, are given.  Both must refuse it as damaged, name the file, and
 * name the section that the byte is in (the header counts as one).  Prints
 * counts; exit status 1 if anything else comes of one.
 *
 * The copy is a file in the working folder, "damaged.mrs".
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/mr.h"
#include "mr/state_private.h"

static const char copy[] = "damaged.mrs";

struct file {
    uint8_t *p;
    size_t n;
    int fd; /* of the copy */
    unsigned long flips, cuts, wrong;
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void load(const char *name, struct file *f)
{
    FILE *in = fopen(name, "rb");
    long n;

    if (in == NULL || fseek(in, 0, SEEK_END) != 0 || (n = ftell(in)) < 0 ||
        fseek(in, 0, SEEK_SET) != 0)
        die(name);
    f->n = (size_t)n;
    f->p = malloc(f->n + 1);
    if (f->p == NULL || fread(f->p, 1, f->n, in) != f->n)
        die(name);
    fclose(in);
}

static void put(const struct file *f, size_t at, size_t n)
{
    if (pwrite(f->fd, f->p + at, n, (off_t)at) != (ssize_t)n)
        die(copy);
}

/* The section that a byte is in; empty for the header and its table. */
static const char *section_of(const struct file *f, size_t at, char out[5])
{
    size_t n = mr_get_u32(f->p + 12);

    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const uint8_t *entry =
            f->p + MR_STATE_HEADER_BYTES + i * MR_STATE_ENTRY_BYTES;

        if (at >= mr_get_u64(entry + 8)) {
            memcpy(out, entry, 4);
            out[4] = '\0';
        }
    }
    return out;
}

static int write_nothing(void *context, const void *bytes, size_t n)
{
    (void)context;
    (void)bytes;
    (void)n;
    return 0;
}

static enum mr_status look(bool reduce, struct mr_error *err)
{
    static char path[] = "damaged.mrs";
    static char *const input[] = {path};
    const struct mr_observer observer = {.progress = NULL};
    const struct mr_sink sink = {.write = write_nothing};
    const struct mr_inspect_options inspection = {
        .input = input, .n_inputs = 1, .format = MR_FORMAT_JSON};
    const struct mr_reduce_options reduction = {.input = input,
        .n_inputs = 1,
        .format = MR_FORMAT_JSON,
        .retention = 2,
        .threads = 1};
    struct mr_result result = {0};
    enum mr_status status =
        reduce ? mr_reduce(&reduction, &sink, &observer, &result, err)
               : mr_inspect(&inspection, &sink, &observer, &result, err);

    mr_result_release(&result);
    return status;
}

/* Both commands must refuse the copy for what is at a byte of it. */
static void demand_refused(struct file *f, const char *what, size_t at)
{
    char id[5], section[16] = "header";

    if (section_of(f, at, id)[0] != '\0')
        snprintf(section, sizeof(section), "section %s", id);
    for (int reduce = 0; reduce < 2; reduce++) {
        struct mr_error err = {.status = MR_OK};
        enum mr_status status = look(reduce, &err);
        char text[1280];

        mr_error_format(&err, text, sizeof(text));
        if ((status == MR_FORMAT || status == MR_VERSION ||
                status == MR_CHECKSUM || status == MR_MISMATCH) &&
            strstr(text, "'damaged.mrs'") != NULL &&
            strstr(text, section) != NULL)
            continue;
        if (f->wrong++ < 10)
            printf("%s %zu (%s): %s gives %d, '%s'\n", what, at, section,
                reduce ? "reduce" : "inspect", (int)status, text);
    }
}

static void flip_all(struct file *f)
{
    for (size_t i = 0; i < 8 * f->n; i++) {
        f->p[i / 8] ^= (uint8_t)(1u << i % 8);
        put(f, i / 8, 1);
        f->p[i / 8] ^= (uint8_t)(1u << i % 8);
        demand_refused(f, "bit of byte", i / 8);
        put(f, i / 8, 1);
        f->flips++;
    }
}

static void cut_all(struct file *f)
{
    for (size_t n = f->n; n-- > 0;) {
        if (ftruncate(f->fd, (off_t)n) != 0)
            die(copy);
        demand_refused(f, "cut to", n);
        f->cuts++;
    }
}

int main(int argc, char **argv)
{
    unsigned long wrong = 0;

    for (int i = 1; i < argc; i++) {
        struct file f = {.n = 0};
        struct mr_error err;

        load(argv[i], &f);
        f.fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (f.fd < 0)
            die(copy);
        put(&f, 0, f.n);
        if (look(false, &err) != MR_OK || look(true, &err) != MR_OK) {
            printf("%s: not sound to begin with: %s\n", argv[i], err.cause);
            return 2;
        }
        flip_all(&f);
        cut_all(&f);
        close(f.fd);
        unlink(copy);
        free(f.p);
        printf("%s: %zu bytes, %lu flips and %lu cuts, each refused by "
               "inspect and reduce with file and section named, but for %lu\n",
            argv[i], f.n, f.flips, f.cuts, f.wrong);
        wrong += f.wrong;
    }
    return wrong > 0;
}
