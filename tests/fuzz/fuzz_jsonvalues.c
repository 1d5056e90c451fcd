#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>

#include "mr/fields.h"
#include "mr/jsonvalues.h"
#include "mr/stream_private.h"

/*
 * Any bytes as values, as an array, or as a member's: in pieces of any length
 * they must give the same, every byte must be accounted for, no line may be
 * empty, and a line that is a valid value must stand as it is, line feeds
 * apart, where it is said to begin.  The first byte chooses format and pieces.
 */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct outcome {
    enum mr_status status;
    uint64_t offset; /* of a failure */
    uint64_t bytes;
    struct mr_buffer given; /* text and where it begins */
};

static void demand(bool condition)
{
    if (!condition)
        abort();
}

static void check_line(struct mr_span line, const uint8_t *at)
{
    demand(line.n > 0);
    if (mr_json_check(line, MR_JSON_DEPTH_MAX) != MR_LINE_VALUE)
        return;
    for (size_t i = 0; i < line.n; i++)
        demand(line.p[i] == at[i] || (line.p[i] == ' ' && at[i] == '\n'));
}

static void take_block(const struct mr_line_block *block, struct mr_span all,
    struct outcome *outcome)
{
    const uint8_t *p = block->text.p, *end = p + block->text.n;

    demand(mr_buffer_add(&outcome->given, p, block->text.n) == MR_OK);
    demand(block->offset < all.n);
    if (block->whole)
        demand(mr_json_check(block->text, MR_JSON_DEPTH_MAX) != MR_LINE_VALUE);
    if (block->whole || block->too_long)
        return;
    for (size_t i = 0; p < end; i++) {
        const uint8_t *feed = memchr(p, '\n', (size_t)(end - p));

        demand(feed != NULL && block->starts[i] < all.n);
        demand((size_t)(feed - p) <= all.n - block->starts[i]);
        check_line(
            (struct mr_span){p, (size_t)(feed - p)}, all.p + block->starts[i]);
        demand(mr_buffer_add(&outcome->given, &block->starts[i],
                   sizeof(block->starts[i])) == MR_OK);
        p = feed + 1;
    }
}

static struct outcome read_all(
    const struct mr_spec *spec, struct mr_span all, size_t piece, size_t bytes)
{
    struct outcome outcome = {.bytes = 0};
    struct mr_container *container;
    struct mr_jsonvalues *values;
    struct mr_stream *stream = NULL;
    struct mr_buffer buffer = {0};
    struct mr_line_block block = {.bytes = 0};
    struct mr_error err = {.status = MR_OK};

    outcome.status =
        mr_container_open_memory(all.p, all.n, piece, &container, &err);
    if (outcome.status != MR_OK)
        return outcome;
    outcome.status = mr_container_next(container, &stream, &err);
    /* What is packed is for another target. */
    if (outcome.status == MR_OK && stream != NULL &&
        !mr_container_is_archive(container) && stream->filter == NULL) {
        demand(mr_jsonvalues_new(stream, spec, bytes, &values, &err) == MR_OK);
        do {
            outcome.status = mr_jsonvalues_next(values, &buffer, &block, &err);
            if (outcome.status == MR_OK && block.text.n > 0)
                take_block(&block, all, &outcome);
            outcome.bytes += block.bytes;
        } while (outcome.status == MR_OK && block.text.n > 0);
        demand(outcome.status != MR_OK || outcome.bytes == all.n);
        outcome.offset = err.offset;
        mr_jsonvalues_free(values);
    }
    if (stream != NULL)
        mr_stream_close(stream);
    demand(mr_container_close(container, &err) == MR_OK);
    mr_buffer_release(&buffer);
    return outcome;
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    demand(a->status == b->status);
    if (a->status != MR_OK)
        demand(a->offset == b->offset);
    else
        demand(a->given.n == b->given.n &&
               (a->given.n == 0 ||
                   memcmp(a->given.p, b->given.p, a->given.n) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t form = n > 0 ? p[0] : 0;
    struct mr_spec spec = {.max_line_bytes = 100,
        .max_depth = 30,
        .format = form & 1 ? MR_INPUT_JSON_ARRAY : MR_INPUT_JSON_VALUES};
    struct mr_span all = {p + 1, n - 1};
    struct outcome whole, pieces, read;

    if (n == 0)
        return 0;
    if ((form & 3) == 3)
        memcpy(spec.records, "a.b", 4);
    whole = read_all(&spec, all, 0, MR_LINES_BLOCK);
    pieces = read_all(&spec, all, 0, 1 + (form >> 2));
    read = read_all(&spec, all, 1 + (form >> 4), 1 + (form >> 3));
    compare(&whole, &pieces);
    compare(&whole, &read);
    mr_buffer_release(&whole.given);
    mr_buffer_release(&pieces.given);
    mr_buffer_release(&read.given);
    return 0;
}
