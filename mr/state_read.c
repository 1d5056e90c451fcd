#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/state_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a chunk lies and what the table says of it. */
struct place {
    const char *id;
    uint32_t flags;
    uint64_t offset, stored_bytes, plain_bytes, checksum;
};

struct block_place {
    struct mr_block_info info;
    uint64_t offset, checksum;
};

struct mr_state {
    char *path;
    int fd; /* -1: the file is in memory */
    const uint8_t *memory;
    uint64_t size;
    struct mr_digest name;
    struct mr_digest spec_digest;
    struct mr_state_chunk chunk[MR_STATE_CHUNKS_MAX];
    size_t n_chunks;
    struct place place[MR_STATE_CHUNKS_MAX]; /* of each chunk */
    size_t at[MR_CHUNK_COUNT]; /* where in the table; 0 also: nowhere */
    struct mr_spec *own_spec;  /* NULL once it is shared */
    struct mr_state_head head;
    struct block_place *block;
    size_t n_blocks;
    struct mr_idset_index ids;
    struct mr_segment_index segments;
    struct mr_segment_types types;
};

/* Bytes of the file. */

static enum mr_status read_at(const struct mr_state *state, uint64_t offset,
    size_t n, uint8_t *out, struct mr_error *err)
{
    const size_t most = (size_t)1 << 30; /* systems refuse more at once */
    ssize_t got;

    if (state->fd < 0) {
        if (n > 0)
            memcpy(out, state->memory + offset, n);
        return MR_OK;
    }
    while (n > 0) {
        got = pread(state->fd, out, n < most ? n : most, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mr_fail_errno(err, errno, "try again", NULL);
        if (got == 0)
            return mr_fail(err, MR_IO, offset, "try again",
                "it was cut short while it was being read");
        out += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return MR_OK;
}

static enum mr_status fail_cut_short(const struct mr_state *state,
    const char *where, uint64_t size, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, state->size,
        "wait until it has been copied, or " MR_STATE_COPY_AGAIN,
        "it is cut short in %s: only %llu of %llu bytes are there", where,
        (unsigned long long)state->size, (unsigned long long)size);
}

static enum mr_status fail_section(
    const struct place *place, const char *why, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, place->offset, MR_STATE_MAKE_AGAIN,
        "section %s is not sound: %s", place->id, why);
}

/* Header and table. */

/* Which chunk entry i of the table must be, or, behind those that every file
 * has, is; MR_CHUNK_COUNT: one that is not known. */
static enum mr_chunk chunk_of(const struct mr_state *state, size_t i)
{
    if (i < MR_CHUNKS_ALWAYS)
        return (enum mr_chunk)i;
    for (int chunk = MR_CHUNKS_ALWAYS; chunk < MR_CHUNK_COUNT; chunk++)
        if (memcmp(state->place[i].id, mr_chunk_id[chunk], 4) == 0)
            return (enum mr_chunk)chunk;
    return MR_CHUNK_COUNT;
}

static enum mr_status check_table_entry(
    struct mr_state *state, size_t i, struct mr_error *err)
{
    const struct place *place = &state->place[i];
    enum mr_chunk chunk = chunk_of(state, i);
    size_t k;

    for (k = 0; k < i; k++) {
        if (memcmp(place->id, state->place[k].id, 4) == 0)
            return fail_section(place, "it is there twice", err);
    }
    if (place->flags > (MR_CHUNK_REQUIRED | MR_CHUNK_PACKED | MR_CHUNK_BLOCKS))
        return fail_section(place, "it has impossible flags", err);
    if ((place->flags & MR_CHUNK_PACKED) == 0 &&
        (place->flags & MR_CHUNK_BLOCKS) == 0 &&
        place->stored_bytes != place->plain_bytes)
        return fail_section(place, "it is not packed but has two lengths", err);
    if (chunk < MR_CHUNK_COUNT) {
        uint32_t want =
            mr_chunk_is_blocks(chunk)
                ? MR_CHUNK_REQUIRED | MR_CHUNK_BLOCKS
                : MR_CHUNK_REQUIRED | (place->flags & MR_CHUNK_PACKED);

        if (memcmp(place->id, mr_chunk_id[chunk], 4) != 0)
            return fail_section(
                place, "another section should stand here", err);
        state->at[chunk] = i;
        if (place->flags != want)
            return fail_section(place, "it has impossible flags", err);
        if (mr_chunk_is_blocks(chunk) && place->checksum != 0)
            return fail_section(place,
                "it has a checksum of its own beside those of its blocks", err);
        state->chunk[i].known = true;
        return MR_OK;
    }
    if ((place->flags & MR_CHUNK_REQUIRED) != 0)
        return mr_fail(err, MR_VERSION, place->offset, "use a newer mr",
            "section %s is needed to understand it, and this mr does not "
            "know it",
            place->id);
    return MR_OK;
}

/* Ids are shown in messages: only letters and digits are left as they are. */
static void copy_id(char out[5], const uint8_t *id)
{
    size_t i;

    for (i = 0; i < 4; i++) {
        bool plain = (id[i] >= 'A' && id[i] <= 'Z') ||
                     (id[i] >= 'a' && id[i] <= 'z') ||
                     (id[i] >= '0' && id[i] <= '9');

        out[i] = plain ? (char)id[i] : '?';
    }
    out[4] = '\0';
}

static enum mr_status read_table(
    struct mr_state *state, const uint8_t *table, struct mr_error *err)
{
    uint64_t offset = MR_STATE_HEADER_BYTES +
                      (uint64_t)state->n_chunks * MR_STATE_ENTRY_BYTES;
    enum mr_status status;
    size_t i;

    if (state->n_chunks < MR_CHUNKS_ALWAYS)
        return mr_fail(err, MR_FORMAT, 0, MR_STATE_MAKE_AGAIN,
            "its header has only %zu sections", state->n_chunks);
    for (i = 0; i < state->n_chunks; i++) {
        const uint8_t *entry = table + i * MR_STATE_ENTRY_BYTES;
        struct place *place = &state->place[i];

        copy_id(state->chunk[i].id, entry);
        *place = (struct place){state->chunk[i].id, mr_get_u32(entry + 4),
            mr_get_u64(entry + 8), mr_get_u64(entry + 16),
            mr_get_u64(entry + 24), mr_get_u64(entry + 32)};
        state->chunk[i].stored_bytes = place->stored_bytes;
        state->chunk[i].plain_bytes = place->plain_bytes;
        if (place->offset != offset ||
            place->stored_bytes > state->size - offset)
            return fail_section(place, "it does not lie where it must", err);
        offset += place->stored_bytes;
        status = check_table_entry(state, i, err);
        if (status != MR_OK)
            return status;
    }
    if (offset != state->size)
        return mr_fail(err, MR_FORMAT, offset, MR_STATE_MAKE_AGAIN,
            "bytes follow the last section");
    return MR_OK;
}

/* Look at the first 64 bytes; take the number of chunks from them. */
static enum mr_status check_header(
    struct mr_state *state, const uint8_t *header, struct mr_error *err)
{
    uint32_t version = mr_get_u32(header + 8);
    uint32_t n_chunks = mr_get_u32(header + 12);

    if (memcmp(header, MR_STATE_MAGIC, 8) != 0)
        return mr_fail(err, MR_FORMAT, 0, "give files that mr map wrote",
            "it is no state file: its header does not begin as one's");
    if (version != MR_STATE_VERSION)
        return mr_fail(err, MR_VERSION, 8,
            version > MR_STATE_VERSION ? "use a newer mr"
            : version > 0 ? "map its partitions again, or use an older mr"
                          : MR_STATE_COPY_AGAIN,
            "its header has format version %lu, and this mr reads version %d",
            (unsigned long)version, MR_STATE_VERSION);
    if (n_chunks > MR_STATE_CHUNKS_MAX)
        return mr_fail(err, MR_FORMAT, 12, MR_STATE_COPY_AGAIN,
            "its header claims to have %lu sections", (unsigned long)n_chunks);
    state->n_chunks = n_chunks;
    return MR_OK;
}

/* A table that is sound, and a file that ends before it says. */
static enum mr_status fail_cut_section(const struct mr_state *state,
    const uint8_t *table, uint64_t size, struct mr_error *err)
{
    char where[] = "section ????";
    size_t i = 0;

    while (
        i + 1 < state->n_chunks &&
        mr_get_u64(table + (i + 1) * MR_STATE_ENTRY_BYTES + 8) <= state->size)
        i++;
    if (state->n_chunks > 0)
        copy_id(
            where + sizeof("section ") - 1, table + i * MR_STATE_ENTRY_BYTES);
    return fail_cut_short(state, where, size, err);
}

static enum mr_status read_header(struct mr_state *state, struct mr_error *err)
{
    static const uint8_t zero[16];
    uint8_t bytes[MR_STATE_HEADER_BYTES +
                  MR_STATE_CHUNKS_MAX * MR_STATE_ENTRY_BYTES];
    size_t n = MR_STATE_HEADER_BYTES;
    enum mr_status status;
    uint64_t size;

    if (state->size < n)
        return mr_fail(err, MR_FORMAT, MR_NOWHERE, MR_STATE_COPY_AGAIN,
            "it is no state file, or cut short in its header: it has only "
            "%llu bytes",
            (unsigned long long)state->size);
    status = read_at(state, 0, n, bytes, err);
    if (status == MR_OK)
        status = check_header(state, bytes, err);
    if (status != MR_OK)
        return status;
    size = mr_get_u64(bytes + 32);
    n += state->n_chunks * MR_STATE_ENTRY_BYTES;
    if (state->size < n)
        return fail_cut_short(state, "its header", size, err);
    status = read_at(state, MR_STATE_HEADER_BYTES, n - MR_STATE_HEADER_BYTES,
        bytes + MR_STATE_HEADER_BYTES, err);
    if (status != MR_OK)
        return status;
    if (mr_state_header_sum(bytes, state->n_chunks) !=
        mr_get_u64(bytes + MR_STATE_SUM_OFFSET))
        return mr_fail(err, MR_CHECKSUM, 0, MR_STATE_COPY_AGAIN,
            "its header is damaged: the checksum differs");
    if (state->size < size)
        return fail_cut_section(
            state, bytes + MR_STATE_HEADER_BYTES, size, err);
    if (state->size > size)
        return mr_fail(err, MR_FORMAT, size, MR_STATE_COPY_AGAIN,
            "%llu bytes follow its end",
            (unsigned long long)(state->size - size));
    if (memcmp(bytes + 40, zero, sizeof(zero)) != 0)
        return mr_fail(err, MR_FORMAT, 40, MR_STATE_MAKE_AGAIN,
            "bytes of its header that must be zero are not");
    state->name = mr_digest_bytes(bytes, n);
    memcpy(state->spec_digest.b, bytes + 16, MR_DIGEST_BYTES);
    return read_table(state, bytes + MR_STATE_HEADER_BYTES, err);
}

/* Chunks. */

/* Read n bytes and compare them with their checksum. */
static enum mr_status read_stored(const struct mr_state *state, uint64_t offset,
    uint64_t n, uint64_t checksum, struct mr_buffer *out, bool *same,
    struct mr_error *err)
{
    enum mr_status status;

    if (n > SIZE_MAX || mr_buffer_reserve(out, (size_t)n + 1) != MR_OK)
        return mr_fail_nomem(err);
    out->n = (size_t)n;
    status = read_at(state, offset, out->n, out->p, err);
    if (status == MR_OK)
        *same = mr_hash64(out->p, out->n) == checksum;
    return status;
}

/* Read, check and unpack chunk i; its plain bytes live in u. */
static enum mr_status read_chunk(const struct mr_state *state, size_t i,
    struct mr_unpacker *u, struct mr_span *plain_out, struct mr_error *err)
{
    const struct place *place = &state->place[i];
    const char *why = NULL;
    enum mr_status status;
    bool same = false;

    status = read_stored(state, place->offset, place->stored_bytes,
        place->checksum, &u->stored, &same, err);
    if (status != MR_OK)
        return status;
    if (!same)
        return mr_fail(err, MR_CHECKSUM, place->offset, MR_STATE_COPY_AGAIN,
            "section %s is damaged: its checksum differs", place->id);
    *plain_out = (struct mr_span){u->stored.p, u->stored.n};
    if ((place->flags & MR_CHUNK_PACKED) == 0)
        return MR_OK;
    if (place->plain_bytes <= place->stored_bytes)
        return fail_section(place, "it is packed but not smaller", err);
    status = mr_state_unpack(
        u->context, *plain_out, place->plain_bytes, &u->plain, &why);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return fail_section(place, why, err);
    *plain_out = (struct mr_span){u->plain.p, u->plain.n};
    return MR_OK;
}

static enum mr_status read_spec(
    struct mr_state *state, struct mr_unpacker *u, struct mr_error *err)
{
    const struct place *place = &state->place[MR_CHUNK_SPEC];
    struct mr_error inner = {0};
    struct mr_digest digest;
    struct mr_span text;
    enum mr_status status;

    status = read_chunk(state, MR_CHUNK_SPEC, u, &text, err);
    if (status != MR_OK)
        return status;
    digest = mr_digest_bytes(text.p, text.n);
    if (memcmp(digest.b, state->spec_digest.b, MR_DIGEST_BYTES) != 0)
        return fail_section(place, "it differs from its digest", err);
    state->own_spec = malloc(sizeof(*state->own_spec));
    if (!state->own_spec)
        return mr_fail_nomem(err);
    state->head.spec = state->own_spec;
    status = mr_spec_parse(text, state->own_spec, &inner);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return fail_section(place, inner.cause, err);
    return MR_OK;
}

static enum mr_status read_section(struct mr_state *state, enum mr_chunk chunk,
    struct mr_unpacker *u, struct mr_error *err)
{
    const char *why = NULL;
    enum mr_status status;
    struct mr_span plain;

    if (!mr_state_has_chunk(state->head.spec, chunk))
        return MR_OK;
    status = read_chunk(state, state->at[chunk], u, &plain, err);
    if (status != MR_OK)
        return status;
    status = mr_head_decode(&state->head, chunk, plain, &why);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return fail_section(&state->place[state->at[chunk]], why, err);
    return MR_OK;
}

/* The index of blocks. */

struct index_sums {
    uint64_t users, members, intervals, stored_bytes, plain_bytes;
};

/* Read the entry of one block; NULL, or what is wrong with it. */
static const char *read_entry(
    struct mr_state *state, struct mr_reader *r, struct index_sums *sums)
{
    const struct place *users = &state->place[MR_CHUNK_USER];
    struct block_place *block = &state->block[state->n_blocks];
    struct mr_block_info *info = &block->info;
    const char *why;

    info->first_hash = mr_read_u64(r);
    info->last_hash = mr_read_u64(r);
    info->n_users = mr_read_u32(r);
    info->stored_bytes = mr_read_u64(r);
    info->plain_bytes = mr_read_u64(r);
    info->n_members = mr_read_u64(r);
    info->n_intervals = mr_read_u64(r);
    block->checksum = mr_read_u64(r);
    block->offset = users->offset + sums->stored_bytes;
    if (info->stored_bytes > users->stored_bytes - sums->stored_bytes)
        return "its blocks are longer than the section they are in";
    if (info->plain_bytes / MR_STATE_MAX_RATIO > info->stored_bytes)
        return "a block would unpack to more than 200 times its size";
    why = mr_block_info_check(info, state->head.spec->session_gap_ms);
    if (why)
        return why;
    if (state->n_blocks > 0 && info->first_hash <= block[-1].info.last_hash)
        return "its blocks do not ascend";
    sums->users += info->n_users;
    sums->members += info->n_members;
    sums->intervals += info->n_intervals;
    sums->stored_bytes += info->stored_bytes;
    sums->plain_bytes += info->plain_bytes;
    state->n_blocks++;
    return NULL;
}

static enum mr_status read_index(
    struct mr_state *state, struct mr_unpacker *u, struct mr_error *err)
{
    const struct place *users = &state->place[MR_CHUNK_USER];
    const struct place *place = &state->place[MR_CHUNK_UIDX];
    struct index_sums want = {0}, sums = {0};
    const char *why = NULL;
    enum mr_status status;
    struct mr_reader r = {0};
    struct mr_span plain;
    uint64_t n;

    status = read_chunk(state, MR_CHUNK_UIDX, u, &plain, err);
    if (status != MR_OK)
        return status;
    r.p = plain.p;
    r.n = plain.n;
    n = mr_read_varint(&r);
    want.users = mr_read_varint(&r);
    want.members = mr_read_varint(&r);
    want.intervals = mr_read_varint(&r);
    want.stored_bytes = users->stored_bytes;
    want.plain_bytes = users->plain_bytes;
    if (r.bad || n != r.n / MR_STATE_INDEX_BYTES ||
        r.n % MR_STATE_INDEX_BYTES != 0)
        return fail_section(place, "its length does not fit its count", err);
    state->block = calloc((size_t)n + 1, sizeof(*state->block));
    if (!state->block)
        return mr_fail_nomem(err);
    while (!why && state->n_blocks < n)
        why = read_entry(state, &r, &sums);
    if (!why && memcmp(&sums, &want, sizeof(sums)) != 0)
        why = "its sums do not fit its blocks";
    return why ? fail_section(place, why, err) : MR_OK;
}

/* Ids and segments. */

/* Read the index of a chunk of such blocks. */
static enum mr_status read_kept_index(struct mr_state *state,
    enum mr_chunk blocks, enum mr_chunk index, struct mr_unpacker *u,
    struct mr_error *err)
{
    const struct place *place = &state->place[state->at[blocks]];
    struct mr_idset_rule rule = mr_state_id_rule(state->head.spec);
    const char *why = NULL;
    enum mr_status status;
    struct mr_span plain;

    if (!mr_state_has_chunk(state->head.spec, index))
        return MR_OK;
    if (place->plain_bytes != place->stored_bytes)
        return fail_section(place, "it is not packed but has two lengths", err);
    status = read_chunk(state, state->at[index], u, &plain, err);
    if (status != MR_OK)
        return status;
    if (index == MR_CHUNK_DIDX)
        status = mr_idset_index_decode(
            plain, place->stored_bytes, &rule, &state->ids, &why);
    else
        status = mr_segment_index_decode(
            plain, place->stored_bytes, &state->segments, &why);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return fail_section(&state->place[state->at[index]], why, err);
    state->ids.path = state->segments.path = state->path;
    *(blocks == MR_CHUNK_DUPS ? &state->ids.start : &state->segments.start) =
        place->offset;
    return MR_OK;
}

/* Whether the days of ids are those that have events, and enough of them. */
static enum mr_status check_id_days(
    const struct mr_state *state, struct mr_error *err)
{
    const struct mr_state_head *head = &state->head;
    const struct mr_coverage *c = &head->coverage;
    uint64_t *events = calloc(head->n_cells + 1, sizeof(*events));
    size_t cell = 0, i;
    bool fits = true;

    if (events == NULL)
        return mr_fail_nomem(err);
    for (i = 0; i < c->n_partitions; i++)
        for (size_t k = 0; k < c->partition[i].n_cells; k++)
            events[c->partition[i].cell[k].cell] +=
                c->partition[i].cell[k].events;
    for (i = 0; i < state->ids.n_days && fits; i++) {
        const struct mr_idset_day *day = &state->ids.day[i];
        uint64_t n = 0;

        for (; cell < head->n_cells && head->cell[cell].day == day->day; cell++)
            n += events[cell];
        fits = n >= day->n + day->cut;
    }
    fits = fits && cell == head->n_cells;
    free(events);
    return fits ? MR_OK
                : fail_section(&state->place[state->at[MR_CHUNK_DIDX]],
                      "its ids are not those of the days with events", err);
}

static enum mr_status get_kept(const struct mr_state *state,
    enum mr_chunk chunk, uint64_t offset, size_t n, uint8_t *out,
    struct mr_error *err)
{
    enum mr_status status = read_at(
        state, state->place[state->at[chunk]].offset + offset, n, out, err);

    if (status != MR_OK)
        mr_error_subject(err, "cannot read", state->path);
    return status;
}

static enum mr_status get_ids(void *context, uint64_t offset, size_t n,
    uint8_t *out, struct mr_error *err)
{
    return get_kept(context, MR_CHUNK_DUPS, offset, n, out, err);
}

static enum mr_status get_segments(void *context, uint64_t offset, size_t n,
    uint8_t *out, struct mr_error *err)
{
    return get_kept(context, MR_CHUNK_SEGM, offset, n, out, err);
}

/* Streams take what they read from without const. */
static void *context_of(const struct mr_state *state)
{
    return (void *)(uintptr_t)state;
}

enum mr_status mr_state_ids(const struct mr_state *state,
    struct mr_id_stream **stream_out, struct mr_error *err)
{
    return mr_idset_index_read(
        &state->ids, get_ids, context_of(state), stream_out, err);
}

enum mr_status mr_state_segments(const struct mr_state *state,
    struct mr_segment_stream **stream_out, struct mr_error *err)
{
    return mr_segment_index_read(&state->segments, &state->types, get_segments,
        context_of(state), stream_out, err);
}

/* The whole. */

/* Whether the file has the sections that its spec asks for, in order. */
static enum mr_status check_sections(
    const struct mr_state *state, struct mr_error *err)
{
    size_t i = MR_CHUNKS_ALWAYS;

    for (int chunk = MR_CHUNKS_ALWAYS; chunk < MR_CHUNK_COUNT; chunk++) {
        bool wanted =
            mr_state_has_chunk(state->head.spec, (enum mr_chunk)chunk);

        if (wanted != (state->at[chunk] != 0) ||
            (wanted && state->at[chunk] != i++))
            return fail_section(&state->place[MR_CHUNK_SPEC],
                "the sections that it asks for are not those of the file", err);
    }
    return MR_OK;
}

static enum mr_status read_chunks(
    struct mr_state *state, struct mr_unpacker *u, struct mr_error *err)
{
    static const enum mr_chunk order[] = {MR_CHUNK_TYPE, MR_CHUNK_CELL,
        MR_CHUNK_PART, MR_CHUNK_FAIL, MR_CHUNK_SKET, MR_CHUNK_FIGU};
    enum mr_status status = read_spec(state, u, err);
    const char *why = NULL;
    struct mr_span unused;
    size_t i;

    if (status == MR_OK)
        status = check_sections(state, err);
    for (i = 0; status == MR_OK && i < sizeof(order) / sizeof(*order); i++)
        status = read_section(state, order[i], u, err);
    if (status == MR_OK)
        status = read_index(state, u, err);
    if (status == MR_OK)
        status = read_kept_index(state, MR_CHUNK_DUPS, MR_CHUNK_DIDX, u, err);
    if (status == MR_OK)
        status = read_kept_index(state, MR_CHUNK_SEGM, MR_CHUNK_SIDX, u, err);
    if (status == MR_OK)
        mr_segment_types_of(state->head.spec, &state->types);
    for (i = MR_CHUNKS_ALWAYS; status == MR_OK && i < state->n_chunks; i++) {
        /* Unknown and not needed; still no byte of it may have changed. */
        if (!state->chunk[i].known &&
            (state->place[i].flags & MR_CHUNK_BLOCKS) == 0)
            status = read_chunk(state, i, u, &unused, err);
    }
    if (status != MR_OK)
        return status;
    status = mr_head_check(&state->head, &why);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        return fail_section(&state->place[MR_CHUNK_CELL], why, err);
    return mr_state_has_chunk(state->head.spec, MR_CHUNK_DIDX)
               ? check_id_days(state, err)
               : MR_OK;
}

static enum mr_status read_all(struct mr_state *state, struct mr_error *err)
{
    struct mr_unpacker *u;
    enum mr_status status;

    if (mr_unpacker_new(&u) != MR_OK)
        return mr_fail_nomem(err);
    status = read_header(state, err);
    if (status == MR_OK)
        status = read_chunks(state, u, err);
    mr_unpacker_free(u);
    return status;
}

void mr_state_close(struct mr_state *state)
{
    if (!state)
        return;
    if (state->fd >= 0)
        close(state->fd);
    mr_idset_index_release(&state->ids);
    mr_segment_index_release(&state->segments);
    mr_state_head_release(&state->head);
    free(state->own_spec);
    free(state->block);
    free(state->path);
    free(state);
}

void mr_state_share_spec(struct mr_state *state, const struct mr_state *like)
{
    if (memcmp(state->spec_digest.b, like->spec_digest.b, MR_DIGEST_BYTES) != 0)
        return;
    state->head.spec = like->head.spec;
    free(state->own_spec);
    state->own_spec = NULL;
}

static struct mr_state *new_state(const char *path)
{
    struct mr_state *state = calloc(1, sizeof(*state));

    if (!state)
        return NULL;
    state->fd = -1;
    state->path = strdup(path);
    if (!state->path) {
        free(state);
        return NULL;
    }
    return state;
}

static enum mr_status open_file(struct mr_state *state, struct mr_error *err)
{
    struct stat st;

    /* Opening a FIFO must not wait for somebody to write to it. */
    state->fd = open(state->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (state->fd < 0 || fstat(state->fd, &st) < 0)
        return mr_fail_errno(err, errno,
            errno == EMFILE || errno == ENFILE
                ? "raise the limit of open files (ulimit -n), or merge some "
                  "first"
                : mr_open_advice(errno),
            NULL);
    if (!S_ISREG(st.st_mode))
        return mr_fail(err, MR_USAGE, MR_NOWHERE, "copy it to a file first",
            "it is not a regular file");
    state->size = (uint64_t)st.st_size;
    return MR_OK;
}

/* Read what every state has, once its file is open. */
static enum mr_status finish_opening(struct mr_state *state,
    enum mr_status opened, const char *path, struct mr_state **state_out,
    struct mr_error *err)
{
    enum mr_status status = opened == MR_OK ? read_all(state, err) : opened;

    if (status != MR_OK) {
        mr_error_subject(err, "cannot use", path);
        mr_state_close(state);
        return status;
    }
    *state_out = state;
    return MR_OK;
}

enum mr_status mr_state_open(
    const char *path, struct mr_state **state_out, struct mr_error *err)
{
    struct mr_state *state = new_state(path);

    if (!state)
        return mr_fail_nomem(err);
    return finish_opening(state, open_file(state, err), path, state_out, err);
}

enum mr_status mr_state_open_fd(
    int fd, const char *path, struct mr_state **state_out, struct mr_error *err)
{
    struct mr_state *state = new_state(path);
    enum mr_status status = MR_OK;
    struct stat st;

    if (!state) {
        close(fd);
        return mr_fail_nomem(err);
    }
    state->fd = fd;
    if (fstat(fd, &st) < 0)
        status = mr_fail_errno(err, errno, "try again", NULL);
    else
        state->size = (uint64_t)st.st_size;
    return finish_opening(state, status, path, state_out, err);
}

enum mr_status mr_state_open_memory(const uint8_t *p, size_t n,
    struct mr_state **state_out, struct mr_error *err)
{
    struct mr_state *state = new_state("");
    enum mr_status status;

    if (!state)
        return mr_fail_nomem(err);
    state->memory = p;
    state->size = n;
    status = read_all(state, err);
    if (status != MR_OK) {
        mr_state_close(state);
        return status;
    }
    *state_out = state;
    return MR_OK;
}

/* Questions. */

const char *mr_state_path(const struct mr_state *state)
{
    return state->path;
}

const struct mr_state_head *mr_state_get_head(const struct mr_state *state)
{
    return &state->head;
}

struct mr_digest mr_state_spec_digest(const struct mr_state *state)
{
    return state->spec_digest;
}

void mr_state_take_coverage(
    struct mr_state *state, struct mr_coverage *coverage_out)
{
    *coverage_out = state->head.coverage;
    state->head.coverage = (struct mr_coverage){0};
}

struct mr_digest mr_state_name_digest(const struct mr_state *state)
{
    return state->name;
}

uint64_t mr_state_bytes(const struct mr_state *state)
{
    return state->size;
}

size_t mr_state_chunks(
    const struct mr_state *state, const struct mr_state_chunk **chunk_out)
{
    *chunk_out = state->chunk;
    return state->n_chunks;
}

size_t mr_state_n_blocks(const struct mr_state *state)
{
    return state->n_blocks;
}

const struct mr_block_info *mr_state_block_info(
    const struct mr_state *state, size_t i)
{
    return &state->block[i].info;
}

/* Blocks. */

static enum mr_status fail_block(const struct mr_state *state, size_t i,
    const char *why, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, state->block[i].offset, MR_STATE_MAKE_AGAIN,
        "block %zu of section USER is not sound: %s", i, why);
}

static enum mr_status read_block(const struct mr_state *state, size_t i,
    struct mr_unpacker *u, struct mr_user_block *block_out,
    struct mr_error *err)
{
    const struct block_place *block = &state->block[i];
    const struct mr_block_frame frame = {block->info,
        mr_head_numbers(&state->head), state->head.spec->session_gap_ms};
    const char *why = NULL;
    enum mr_status status;
    struct mr_span plain;
    bool same = false;

    status = read_stored(state, block->offset, block->info.stored_bytes,
        block->checksum, &u->stored, &same, err);
    if (status != MR_OK)
        return status;
    if (!same)
        return mr_fail(err, MR_CHECKSUM, block->offset, MR_STATE_COPY_AGAIN,
            "block %zu of section USER is damaged: its checksum differs", i);
    plain = (struct mr_span){u->stored.p, u->stored.n};
    if (block->info.stored_bytes < block->info.plain_bytes) {
        status = mr_state_unpack(
            u->context, plain, block->info.plain_bytes, &u->plain, &why);
        plain = (struct mr_span){u->plain.p, u->plain.n};
    }
    if (status == MR_OK)
        status = mr_block_decode(u, plain, &frame, block_out, &why);
    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    return status == MR_OK ? MR_OK : fail_block(state, i, why, err);
}

enum mr_status mr_state_block(const struct mr_state *state, size_t i,
    struct mr_unpacker *u, struct mr_user_block *block_out,
    struct mr_error *err)
{
    enum mr_status status = read_block(state, i, u, block_out, err);

    if (status != MR_OK)
        mr_error_subject(err, "cannot use", state->path);
    return status;
}

/* All that mr_state_open leaves unread: it is checked by being read. */

static enum mr_status check_users(
    const struct mr_state *state, const atomic_int *stop, struct mr_error *err)
{
    struct mr_unpacker *u;
    struct mr_user_block block;
    enum mr_status status = MR_OK;

    if (mr_unpacker_new(&u) != MR_OK)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < mr_state_n_blocks(state) && status == MR_OK; i++) {
        if (stop != NULL && *stop != 0)
            status = mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        else
            status = mr_state_block(state, i, u, &block, err);
    }
    mr_unpacker_free(u);
    return status;
}

static enum mr_status check_ids(
    const struct mr_state *state, struct mr_error *err)
{
    struct mr_id_stream *ids = NULL;
    struct mr_id_piece piece = {.day = 0};
    enum mr_status status = mr_state_ids(state, &ids, err);

    while (status == MR_OK && piece.day != MR_ID_END)
        status = mr_id_stream_next(ids, &piece, err);
    mr_id_stream_free(ids);
    return status;
}

static enum mr_status check_segments(
    const struct mr_state *state, struct mr_error *err)
{
    struct mr_segment_stream *segments = NULL;
    const struct mr_segment_entry *entry;
    enum mr_status status = mr_state_segments(state, &segments, err);
    size_t n = 1;

    while (status == MR_OK && n > 0)
        status = mr_segment_stream_next(segments, &entry, &n, err);
    mr_segment_stream_free(segments);
    return status;
}

enum mr_status mr_state_check(
    const struct mr_state *state, const atomic_int *stop, struct mr_error *err)
{
    enum mr_status status = check_users(state, stop, err);

    if (status == MR_OK && state->head.spec->max_ids > 0)
        status = check_ids(state, err);
    if (status == MR_OK && state->head.spec->n_segments > 0)
        status = check_segments(state, err);
    return status;
}
