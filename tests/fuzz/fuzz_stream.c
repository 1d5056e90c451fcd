#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"

#include <stdlib.h>

/*
 * Any bytes as an input.  Besides not crashing: what is not an archive must
 * read alike whether it is mapped, comes in pieces, or is split into parts.
 * The first byte chooses the pieces.
 */

#define OUT_MAX ((uint64_t)64 << 20)

struct outcome {
    enum mr_status status;
    struct mr_digester *digester; /* of the unpacked bytes */
    uint64_t out_bytes;
    struct mr_digest stored;
    bool is_archive;
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Read to the end, or as far as the bound lets. */
static enum mr_status read_stream(
    struct mr_stream *stream, struct outcome *outcome)
{
    static uint8_t block[1 << 16];
    struct mr_error err;
    size_t n = 1;

    while (n > 0 && outcome->out_bytes < OUT_MAX) {
        enum mr_status status =
            mr_stream_read(stream, block, sizeof block, &n, &err);

        if (status != MR_OK)
            return status;
        mr_digester_add(outcome->digester, block, n);
        outcome->out_bytes += n;
    }
    return MR_OK;
}

static enum mr_status read_parts(
    struct mr_stream *stream, struct outcome *outcome)
{
    struct mr_stream *part;
    struct mr_error err;
    enum mr_status status = MR_OK;

    while (status == MR_OK && outcome->out_bytes < OUT_MAX) {
        status = mr_stream_next_part(stream, &part, &err);
        if (status != MR_OK || part == NULL)
            break;
        status = read_stream(part, outcome);
        mr_stream_close(part);
    }
    return status;
}

static void read_container(
    struct mr_container *container, bool split, struct outcome *outcome)
{
    struct mr_stream *stream;
    struct mr_error err;

    outcome->is_archive = mr_container_is_archive(container);
    while (outcome->out_bytes < OUT_MAX &&
           (outcome->status = mr_container_next(container, &stream, &err)) ==
               MR_OK &&
           stream != NULL) {
        if (split && mr_stream_is_split(stream))
            outcome->status = read_parts(stream, outcome);
        else
            outcome->status = read_stream(stream, outcome);
        outcome->stored = mr_stream_digest(stream);
        mr_stream_close(stream);
        if (outcome->status != MR_OK && !outcome->is_archive)
            break;
    }
}

static struct outcome read_all(
    const uint8_t *p, size_t n, size_t piece, bool split)
{
    struct outcome outcome = {.digester = mr_digester_new()};
    struct mr_container *container;
    struct mr_error err;

    if (outcome.digester == NULL)
        abort();
    outcome.status = mr_container_open_memory(p, n, piece, &container, &err);
    if (outcome.status == MR_OK) {
        read_container(container, split, &outcome);
        if (mr_container_close(container, &err) != MR_OK)
            abort();
    }
    return outcome;
}

/* Of failing inputs only the failure must be the same: how much came before
 * it is nobody's business. */
static void compare(const struct outcome *a, const struct outcome *b)
{
    struct mr_digest x = mr_digester_value(a->digester);
    struct mr_digest y = mr_digester_value(b->digester);

    if (a->is_archive != b->is_archive)
        abort();
    if (a->is_archive || a->out_bytes >= OUT_MAX || b->out_bytes >= OUT_MAX)
        return;
    if (a->status != b->status)
        abort();
    if (a->status == MR_OK &&
        (a->out_bytes != b->out_bytes || memcmp(&x, &y, sizeof x) != 0 ||
            memcmp(&a->stored, &b->stored, sizeof x) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct outcome mapped, split, pieces;

    if (n == 0)
        return 0;
    mapped = read_all(p + 1, n - 1, 0, false);
    split = read_all(p + 1, n - 1, 0, true);
    pieces = read_all(p + 1, n - 1, (size_t)p[0] + 1, false);
    compare(&mapped, &split);
    compare(&mapped, &pieces);
    mr_digester_free(mapped.digester);
    mr_digester_free(split.digester);
    mr_digester_free(pieces.digester);
    return 0;
}
