#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mr/csv.h"
#include "mr/kernels.h"

/*
 * bench_csv FILE COLUMN...: how fast one core reads a plain CSV file with a
 * header row, stage by stage and level by level: in MB (10^6 bytes) of text a
 * second, and in records.  "ends" is the cutting of a stream into records,
 * "stops" the kernel alone, "fields" everything; the numbers of columns are
 * those that are wanted.  Time is the processor's, and each figure the best of
 * several runs, because what disturbs a run only ever slows it down.
 */

#define RUNS 7
/* As blocks of lines are. */
#define BLOCK ((size_t)256 << 10)

static const struct mr_csv_rules rules = {
    .delimiter = ',', .quote = '"', .header = true};
static const struct mr_csv_rules unquoted = {.delimiter = ',', .header = true};
static const struct mr_csv_rules *used;
static struct mr_csv_plan plan;
static uint64_t n_records;

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

/* The next block of whole records; empty at the end. */
static struct mr_span next_block(struct mr_span *rest)
{
    size_t n = rest->n < BLOCK ? rest->n : BLOCK, first;
    struct mr_csv_carry carry = {0};
    struct mr_span block = {rest->p, n};

    if (n == BLOCK)
        block.n = mr_kernels()->csv_ends(used, &carry, rest->p, n, &first);
    rest->p += block.n;
    rest->n -= block.n;
    return block;
}

static uint64_t cut_all(struct mr_span text)
{
    uint64_t n = 0;

    while (next_block(&text).n > 0)
        n++;
    return n;
}

static uint64_t scan_all(struct mr_span text)
{
    static struct mr_csv_stops stops;
    uint64_t n = 0;

    memset(&stops.carry, 0, sizeof stops.carry);
    for (size_t at = 0; at < text.n; at += MR_CSV_SCAN_BYTES) {
        stops.n = 0;
        mr_kernels()->csv_stops(used, &stops, text.p + at, 0, text.n - at);
        n += stops.n;
    }
    return n;
}

/* Everything; the number of records with all fields. */
static uint64_t read_all(struct mr_span text)
{
    static struct mr_record record;
    struct mr_csv_reader *reader;
    struct mr_span block;
    uint64_t n = 0;

    n_records = 0;
    if (mr_csv_reader_new(&reader, NULL) != MR_OK)
        exit(2);
    while ((block = next_block(&text)).n > 0) {
        mr_csv_reader_set(reader, &plan, block);
        for (;;) {
            size_t n_found = 0;

            mr_csv_next(reader, &record);
            if (record.verdict == MR_LINE_END)
                break;
            n_records++;
            for (size_t i = 0;
                 record.verdict == MR_LINE_VALUE && i < plan.n_wanted; i++)
                n_found += record.value[i].kind != MR_KIND_NONE;
            n += n_found == plan.n_wanted;
        }
    }
    mr_csv_reader_free(reader);
    return n;
}

static void measure(
    const char *stage, uint64_t (*run)(struct mr_span), struct mr_span text)
{
    double best = 1e9;
    uint64_t count = 0;

    for (int i = 0; i < RUNS; i++) {
        double start = now();

        count = run(text);
        start = now() - start;
        if (start < best)
            best = start;
    }
    printf("%-9s %-9s %8.0f MB/s %7.3f ns/B  %llu", mr_kernels()->name, stage,
        (double)text.n / best * 1e-6, best * 1e9 / (double)text.n,
        (unsigned long long)count);
    if (run == read_all)
        printf("  %.2f million records/s", (double)n_records / best * 1e-6);
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct mr_error err;
    struct mr_span text;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_csv FILE COLUMN...\n");
        return 2;
    }
    text = read_file(argv[1]);
    used = text.n > 0 && memchr(text.p, '"', text.n) ? &rules : &unquoted;
    if (mr_csv_plan_init(&plan, used, (const char *const *)(argv + 2),
            (size_t)argc - 2, 16 << 20, &err) != MR_OK) {
        fprintf(stderr, "%s\n", err.cause);
        return 2;
    }
    for (int level = MR_KERNEL_LEVELS - 1; level >= 0; level--) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        measure("ends", cut_all, text);
        measure("stops", scan_all, text);
        measure("fields", read_all, text);
    }
    return 0;
}
