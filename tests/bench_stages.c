#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mr/fields.h"
#include "mr/kernels.h"

/*
 * bench_stages FILE: how fast one core reads a plain JSON Lines file, stage
 * by stage and level by level, in MB (10^6 bytes) of text a second.  The
 * fields are those of the "lake" spec.  Time is the processor's, and each
 * figure the best of several runs, because what disturbs a run only ever
 * slows it down.  "tokens" is the first stage alone, "fields" everything.
 */

#define RUNS 5

static const char *const paths[] = {"data.id", "data.type", "data.attributes",
    "meta.created_at", "data.attributes.user_id"};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct mr_span read_file(const char *name)
{
    struct mr_buffer b = {0};
    FILE *f = fopen(name, "rb");
    size_t n;

    if (!f) {
        perror(name);
        exit(2);
    }
    do {
        if (mr_buffer_reserve(&b, b.n + (1 << 20)) != MR_OK)
            exit(2);
        n = fread(b.p + b.n, 1, 1 << 20, f);
        b.n += n;
    } while (n > 0);
    fclose(f);
    return (struct mr_span){b.p, b.n};
}

/* The first stage alone; the number of tokens. */
static uint64_t tokenize_all(struct mr_span text)
{
    static struct mr_tokens tokens;
    const struct mr_kernels *k = mr_kernels();
    uint64_t n = 0;
    size_t at;

    memset(&tokens.carry, 0, sizeof tokens.carry);
    for (at = 0; at < text.n; at += MR_SCAN_BYTES) {
        tokens.n = 0;
        k->tokenize(&tokens, text.p + at, 0, text.n - at);
        n += tokens.n;
    }
    return n;
}

/* Everything; the number of lines that are values with all fields. */
static uint64_t read_all(struct mr_span text)
{
    static struct mr_record record;
    struct mr_fields_plan *plan;
    struct mr_fields_reader *reader;
    uint64_t n = 0;

    if (mr_fields_plan_new(paths, 5, 16 << 20, 1024, &plan, NULL) != MR_OK ||
        mr_fields_reader_new(plan, &reader, NULL) != MR_OK)
        exit(2);
    mr_fields_reader_set(reader, text);
    do {
        size_t n_found = 0;
        size_t i;

        mr_fields_next(reader, &record);
        for (i = 0; record.verdict == MR_LINE_VALUE && i < 5; i++)
            n_found += record.value[i].kind != MR_KIND_NONE;
        n += n_found == 5;
    } while (record.verdict != MR_LINE_END);
    mr_fields_reader_free(reader);
    mr_fields_plan_free(plan);
    return n;
}

/* The reference; the number of lines that are values. */
static uint64_t check_all(struct mr_span text)
{
    uint64_t n = 0;

    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t length = end ? (size_t)(end - text.p) : text.n;
        struct mr_span line = {text.p, length};

        n += mr_json_check(line, 1024) == MR_LINE_VALUE;
        length += end != NULL;
        text.p += length;
        text.n -= length;
    }
    return n;
}

static void measure(const char *level, const char *stage,
    uint64_t (*run)(struct mr_span), struct mr_span text)
{
    double best = 1e9;
    uint64_t count = 0;
    int i;

    for (i = 0; i < RUNS; i++) {
        double start = now();

        count = run(text);
        start = now() - start;
        if (start < best)
            best = start;
    }
    printf("%-9s %-9s %8.0f MB/s %7.3f ns/B  %llu\n", level, stage,
        (double)text.n / best * 1e-6, best * 1e9 / (double)text.n,
        (unsigned long long)count);
}

int main(int argc, char **argv)
{
    struct mr_span text;
    int level;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_stages FILE\n");
        return 2;
    }
    text = read_file(argv[1]);
    printf("level     stage         speed        cost      count\n");
    for (level = MR_KERNEL_LEVELS - 1; level >= 0; level--) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        measure(mr_kernels()->name, "tokens", tokenize_all, text);
        measure(mr_kernels()->name, "fields", read_all, text);
    }
    measure("reference", "check", check_all, text);
    return 0;
}
