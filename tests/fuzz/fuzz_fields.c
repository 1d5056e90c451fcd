#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/fields.h"
#include "mr/kernels.h"

/*
 * Any bytes as a block of lines: at every level each line's verdict must be
 * the one that mr_json_check gives, every value must lie within its line,
 * and unescaping it must not make it longer.  The same again with the bytes
 * three times over, because lines that come again are read another way.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

static void check_value(const struct mr_value *value, struct mr_span line)
{
    const uint8_t *end = line.p + line.n;
    uint8_t *plain;

    if (value->text.n == 0)
        return;
    demand(value->text.p >= line.p && value->text.p <= end &&
           value->text.n <= (size_t)(end - value->text.p));
    if (value->kind != MR_KIND_STRING)
        return;
    plain = malloc(value->text.n);
    demand(plain != NULL);
    demand(
        mr_fields_unescape(value->text, plain, value->text.n) <= value->text.n);
    free(plain);
}

static void check_lines(const struct mr_fields_plan *plan, struct mr_span block,
    uint64_t max_line_bytes, uint32_t max_depth, size_t n_paths)
{
    static struct mr_record record;
    struct mr_fields_reader *reader;
    size_t at = 0;
    size_t i;

    demand(mr_fields_reader_new(plan, &reader, NULL) == MR_OK);
    mr_fields_reader_set(reader, block);
    while (at < block.n) {
        const uint8_t *feed = memchr(block.p + at, '\n', block.n - at);
        size_t n = feed ? (size_t)(feed - block.p) - at : block.n - at;
        struct mr_span line = {block.p + at, n};
        enum mr_verdict want;

        if (feed && n > 0 && line.p[n - 1] == '\r')
            line.n--;
        want = line.n > max_line_bytes ? MR_LINE_TOO_LONG
                                       : mr_json_check(line, max_depth);
        mr_fields_next(reader, &record);
        demand(record.verdict == want);
        demand(record.line.p == line.p && record.line.n == line.n);
        for (i = 0; want == MR_LINE_VALUE && i < n_paths; i++)
            check_value(&record.value[i], line);
        at += n + 1;
    }
    mr_fields_next(reader, &record);
    demand(record.verdict == MR_LINE_END);
    mr_fields_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {
        "data.id", "data", "meta.created_at", "a.b.c"};
    const uint64_t max_line_bytes = 5000;
    const uint32_t max_depth = 70;
    struct mr_fields_plan *plan;
    uint8_t *thrice = malloc(3 * (size + 1));
    int level;
    int i;

    demand(thrice != NULL);
    for (i = 0; i < 3; i++) {
        if (size > 0)
            memcpy(thrice + (size_t)i * (size + 1), data, size);
        thrice[(size_t)i * (size + 1) + size] = '\n';
    }

    demand(mr_fields_plan_new(
               paths, 4, max_line_bytes, max_depth, &plan, NULL) == MR_OK);
    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        check_lines(
            plan, (struct mr_span){data, size}, max_line_bytes, max_depth, 4);
        check_lines(plan, (struct mr_span){thrice, 3 * (size + 1)},
            max_line_bytes, max_depth, 4);
    }
    free(thrice);
    mr_fields_plan_free(plan);
    return 0;
}
