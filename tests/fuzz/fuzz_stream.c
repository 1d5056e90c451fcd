#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"

#include <stdlib.h>
#include <zstd.h>

/*
 * Any bytes as an input.  Besides not crashing: what is not an archive must
 * read alike whether it is mapped, comes in pieces, is split into parts, or is
 * looked at where it stands, while some of it is held; zstd must be what the
 * library unpacks at once.  The first byte chooses the pieces, and what is
 * held.
 */

#define OUT_MAX ((uint64_t)64 << 20)
#define HELD_MAX 40

struct outcome {
    enum mr_status status;
    struct mr_digester *digester; /* of the unpacked bytes */
    uint64_t out_bytes;
    struct mr_digest stored;
    bool is_archive;
    uint8_t chosen; /* by the input */
};

enum way { BY_READING, BY_PARTS, BY_SPANS };

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

/* Some text that is held, or was given last. */
struct held {
    struct mr_span text;
    uint64_t hash;
    struct mr_hold hold;
};

static void let_go(struct held *held)
{
    if (mr_hash_fast(held->text.p, held->text.n) != held->hash)
        abort();
    mr_hold_release(&held->hold);
}

static enum mr_status read_spans(
    struct mr_stream *stream, struct outcome *outcome)
{
    struct held held[HELD_MAX] = {{.text = {NULL, 0}}}, last = held[0];
    struct mr_error err;
    enum mr_status status = MR_OK;
    uint32_t x = outcome->chosen;

    for (size_t i = 0; outcome->out_bytes < OUT_MAX; i++) {
        struct mr_span span;

        status = mr_stream_next_span(stream, (size_t)1 << 18, &span, &err);
        /* It stays until the next has been given, and no longer. */
        if (last.text.n > 0 && status == MR_OK)
            let_go(&last);
        if (status != MR_OK || span.n == 0)
            break;
        mr_digester_add(outcome->digester, span.p, span.n);
        outcome->out_bytes += span.n;
        last = (struct held){span, mr_hash_fast(span.p, span.n), {NULL, 0, 0}};
        x = x * 1664525 + 1013904223;
        if (x >> 24 < outcome->chosen) {
            struct held *h = &held[(x >> 8) % HELD_MAX];

            if (h->text.n > 0)
                let_go(h);
            *h = last;
            h->hold = mr_hold_text(mr_stream_arena(stream), span);
        }
    }
    for (size_t i = 0; i < HELD_MAX; i++)
        if (held[i].text.n > 0)
            let_go(&held[i]);
    return status;
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
    struct mr_container *container, enum way way, struct outcome *outcome)
{
    struct mr_stream *stream;
    struct mr_error err;

    outcome->is_archive = mr_container_is_archive(container);
    while (outcome->out_bytes < OUT_MAX &&
           (outcome->status = mr_container_next(container, &stream, &err)) ==
               MR_OK &&
           stream != NULL) {
        if (way == BY_PARTS && mr_stream_is_split(stream))
            outcome->status = read_parts(stream, outcome);
        else if (way == BY_SPANS && mr_stream_in_place(stream))
            outcome->status = read_spans(stream, outcome);
        else
            outcome->status = read_stream(stream, outcome);
        outcome->stored = mr_stream_digest(stream);
        mr_stream_close(stream);
        if (outcome->status != MR_OK && !outcome->is_archive)
            break;
    }
}

static struct outcome read_all(
    const uint8_t *p, size_t n, size_t piece, enum way way, uint8_t chosen)
{
    struct outcome outcome = {.digester = mr_digester_new(), .chosen = chosen};
    struct mr_container *container;
    struct mr_error err;

    if (outcome.digester == NULL)
        abort();
    outcome.status = mr_container_open_memory(p, n, piece, &container, &err);
    if (outcome.status == MR_OK) {
        read_container(container, way, &outcome);
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

/* What has been read of zstd is what the library makes of it.  Of no more than
 * this no frame can look back further than its window where that is not
 * checked. */
static void compare_zstd(
    const struct outcome *outcome, const uint8_t *p, size_t n)
{
    struct mr_digest x = mr_digester_value(outcome->digester), y;
    size_t out_bytes = (size_t)outcome->out_bytes, got;
    uint8_t *out;

    if (outcome->status != MR_OK || outcome->is_archive || n < 4 ||
        out_bytes > MR_ZSTD_WINDOW_HERE ||
        (memcmp(p, "\x28\xB5\x2F\xFD", 4) != 0 &&
            ((p[0] & 0xF0) != 0x50 || memcmp(p + 1, "\x2A\x4D\x18", 3) != 0)))
        return;
    out = malloc(out_bytes + ZSTD_BLOCKSIZE_MAX);
    if (out == NULL)
        abort();
    got = ZSTD_decompress(out, out_bytes + ZSTD_BLOCKSIZE_MAX, p, n);
    y = mr_digest_bytes(out, out_bytes);
    if (got != out_bytes || memcmp(&x, &y, sizeof x) != 0)
        abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct outcome mapped, other[3];
    uint8_t chosen = n > 0 ? *p++ : 0;

    if (n-- == 0)
        return 0;
    mapped = read_all(p, n, 0, BY_READING, chosen);
    compare_zstd(&mapped, p, n);
    other[0] = read_all(p, n, 0, BY_PARTS, chosen);
    other[1] = read_all(p, n, (size_t)chosen + 1, BY_READING, chosen);
    other[2] = read_all(p, n, 0, BY_SPANS, chosen);
    for (unsigned i = 0; i < 3; i++) {
        compare(&mapped, &other[i]);
        mr_digester_free(other[i].digester);
    }
    mr_digester_free(mapped.digester);
    return 0;
}
