#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/hash.h"
#include "mr/idset.h"
#include "mr/segments.h"

/*
 * Any bytes as the ids of days, or the events of users, that a state holds:
 * index and blocks, either as they come or made of the input and then changed
 * in one place.  Checksums of blocks are put right, or hardly an input would
 * get past them.  Whatever is accepted must be what a writer would have
 * written: writing it again must give the same bytes.
 *
 * The first byte: bit 0 segments, bit 1 made of the input, the rest the
 * rule.  Then four bytes: the length of the index, or where to change what.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

struct kept {
    struct mr_buffer index, blocks;
};

static void kept_release(struct kept *kept)
{
    mr_buffer_release(&kept->index);
    mr_buffer_release(&kept->blocks);
}

static enum mr_status put(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    (void)err;
    return mr_buffer_add(context, bytes.p, bytes.n);
}

static enum mr_status get(void *context, uint64_t offset, size_t n,
    uint8_t *out, struct mr_error *err)
{
    const struct mr_buffer *blocks = context;

    (void)err;
    demand(offset <= blocks->n && n <= blocks->n - offset);
    memcpy(out, blocks->p + offset, n);
    return MR_OK;
}

static bool is_same(const struct mr_buffer *a, const struct mr_buffer *b)
{
    return mr_span_compare(
               (struct mr_span){a->p, a->n}, (struct mr_span){b->p, b->n}) == 0;
}

/* ---- ids ---- */

static struct mr_idset_rule rule_of(uint8_t kind)
{
    static const uint64_t max_ids[] = {2, 5, 100, 1000000};

    return (struct mr_idset_rule){max_ids[kind >> 2 & 3], (kind & 16) != 0};
}

static void store_ids(struct mr_id_stream *stream, struct kept *kept)
{
    struct mr_idset_index index;

    demand(mr_idset_write(stream, put, &kept->blocks, &index, NULL) == MR_OK);
    demand(mr_idset_index_encode(&index, &kept->index) == MR_OK);
    mr_idset_index_release(&index);
    mr_id_stream_free(stream);
}

/* Nine bytes: a day and an id. */
static void make_ids(struct mr_idset_rule rule, const uint8_t *data,
    size_t size, struct kept *kept)
{
    struct mr_id_stream *stream;
    struct mr_idset *set;

    demand(mr_idset_new(&rule, "/tmp", MR_IDSET_MEMORY, &set, NULL) == MR_OK);
    for (; size >= 9; data += 9, size -= 9) {
        uint64_t hash = mr_get_u64(data + 1);

        demand(mr_idset_add(set, data[0], &hash, 1, NULL) == MR_OK);
    }
    demand(mr_idset_read(set, &stream, NULL) == MR_OK);
    store_ids(stream, kept);
    mr_idset_free(set);
}

static void mend_ids(
    struct mr_idset_index *index, const struct mr_buffer *blocks)
{
    for (size_t i = 0; i < index->n_blocks; i++) {
        uint64_t end =
            i + 1 < index->n_blocks ? index->block[i + 1].offset : blocks->n;
        uint64_t offset = index->block[i].offset;

        index->block[i].checksum =
            mr_hash64(blocks->p + offset, (size_t)(end - offset));
    }
}

static void try_ids(struct mr_idset_rule rule, struct kept *kept)
{
    struct mr_idset_index index;
    struct mr_id_piece piece = {0};
    struct mr_id_stream *stream;
    enum mr_status status = MR_OK;
    struct kept again = {{0}, {0}};
    struct mr_error err = {0};
    const char *why = NULL;

    if (mr_idset_index_decode((struct mr_span){kept->index.p, kept->index.n},
            kept->blocks.n, &rule, &index, &why) != MR_OK) {
        demand(why != NULL);
        return;
    }
    mend_ids(&index, &kept->blocks);
    for (size_t i = 0; i < index.n_days; i++) {
        struct mr_idset_figure ids = mr_idset_distinct(&index.day[i]);

        demand(ids.low <= ids.high);
    }
    demand(mr_idset_index_read(&index, get, &kept->blocks, &stream, NULL) ==
           MR_OK);
    while (status == MR_OK && piece.day != MR_ID_END)
        status = mr_id_stream_next(stream, &piece, &err);
    mr_id_stream_free(stream);
    if (status == MR_OK) {
        demand(mr_idset_index_read(&index, get, &kept->blocks, &stream, NULL) ==
               MR_OK);
        store_ids(stream, &again);
        kept->index.n = 0;
        demand(mr_idset_index_encode(&index, &kept->index) == MR_OK);
        demand(is_same(&again.index, &kept->index));
        demand(is_same(&again.blocks, &kept->blocks));
        kept_release(&again);
    } else {
        demand(status == MR_FORMAT && err.cause[0] != '\0');
    }
    mr_idset_index_release(&index);
}

/* ---- segments ---- */

static struct mr_segment_types types_of(uint8_t kind)
{
    static const unsigned n[] = {1, 3, 63, 64};

    return (struct mr_segment_types){
        .n = n[kind >> 2 & 3], .keeps_seen = (kind & 16) != 0};
}

static void store_events(struct mr_segment_stream *stream, struct kept *kept)
{
    struct mr_segment_index index;

    demand(
        mr_segments_write(stream, put, &kept->blocks, &index, NULL) == MR_OK);
    demand(mr_segment_index_encode(&index, &kept->index) == MR_OK);
    mr_segment_index_release(&index);
    mr_segment_stream_free(stream);
}

/* Four bytes: a user, a day and a type. */
static void make_events(const struct mr_segment_types *types,
    const uint8_t *data, size_t size, struct kept *kept)
{
    struct mr_segment_stream *stream;
    struct mr_segments *s;

    demand(mr_segments_new(types->keeps_seen, &s) == MR_OK);
    for (; size >= 4; data += 4, size -= 4) {
        struct mr_segment_event event = {
            mr_hash64(data, 2), data[2], data[3] % (types->n + 1)};

        if (event.type == types->n)
            event.type = MR_SEGMENT_SEEN;
        demand(mr_segments_add(s, &event, 1) == MR_OK);
    }
    demand(mr_segments_read(s, &stream) == MR_OK);
    store_events(stream, kept);
    mr_segments_free(s);
}

static void mend_events(
    struct mr_segment_index *index, const struct mr_buffer *blocks)
{
    for (size_t i = 0; i < index->n_blocks; i++)
        index->block[i].checksum = mr_hash64(
            blocks->p + index->block[i].offset, (size_t)index->block[i].bytes);
}

static void try_events(const struct mr_segment_types *types, struct kept *kept)
{
    const struct mr_segment_entry *entry;
    struct mr_segment_index index;
    struct mr_segment_stream *stream;
    enum mr_status status = MR_OK;
    struct kept again = {{0}, {0}};
    struct mr_error err = {0};
    const char *why = NULL;
    size_t n = 1;

    if (mr_segment_index_decode((struct mr_span){kept->index.p, kept->index.n},
            kept->blocks.n, &index, &why) != MR_OK) {
        demand(why != NULL);
        return;
    }
    mend_events(&index, &kept->blocks);
    demand(mr_segment_index_read(
               &index, types, get, &kept->blocks, &stream, NULL) == MR_OK);
    while (status == MR_OK && n > 0)
        status = mr_segment_stream_next(stream, &entry, &n, &err);
    mr_segment_stream_free(stream);
    if (status == MR_OK) {
        demand(mr_segment_index_read(
                   &index, types, get, &kept->blocks, &stream, NULL) == MR_OK);
        store_events(stream, &again);
        kept->index.n = 0;
        demand(mr_segment_index_encode(&index, &kept->index) == MR_OK);
        demand(is_same(&again.index, &kept->index));
        demand(is_same(&again.blocks, &kept->blocks));
        kept_release(&again);
    } else {
        demand(status == MR_FORMAT && err.cause[0] != '\0');
    }
    mr_segment_index_release(&index);
}

/* ---- both ---- */

/* Index and blocks as they come. */
static void take(
    uint32_t n, const uint8_t *data, size_t size, struct kept *kept)
{
    size_t n_index = n < size ? n : size;

    demand(mr_buffer_add(&kept->index, data, n_index) == MR_OK);
    demand(
        mr_buffer_add(&kept->blocks, data + n_index, size - n_index) == MR_OK);
}

/* Change one byte, of the index or of a block. */
static void change(uint32_t how, struct kept *kept)
{
    size_t place = how >> 8, all = kept->index.n + kept->blocks.n;

    place %= all;
    if (place < kept->index.n)
        kept->index.p[place] ^= (uint8_t)how;
    else
        kept->blocks.p[place - kept->index.n] ^= (uint8_t)how;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kept kept = {{0}, {0}};
    struct mr_segment_types types;
    struct mr_idset_rule rule;
    uint32_t number;

    if (size < 5)
        return 0;
    types = types_of(data[0]);
    rule = rule_of(data[0]);
    number = mr_get_u32(data + 1);
    if ((data[0] & 2) == 0)
        take(number, data + 5, size - 5, &kept);
    else if (data[0] & 1)
        make_events(&types, data + 5, size - 5, &kept);
    else
        make_ids(rule, data + 5, size - 5, &kept);
    if (data[0] & 2)
        change(number, &kept);
    if (data[0] & 1)
        try_events(&types, &kept);
    else
        try_ids(rule, &kept);
    kept_release(&kept);
    return 0;
}
