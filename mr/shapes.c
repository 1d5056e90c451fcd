#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/shapes.h"

#include <stdlib.h>
#include <string.h>

#include "mr/hash.h"
#include "mr/kernels.h"

/* The table: where in the room a shape begins, in units and from 1 on. */
#define UNIT_BYTES 16
#define TABLE_SHAPES 2048
#define PROBES 8
/* Members that are there or not make the number of tokens differ, so that
 * this mostly finds the shape without a hash. */
#define LATEST_SHAPES 64
/* Outlines that have been met without being kept: a bit more of their hashes
 * than says where. */
#define MET_OUTLINES 4096
#define ROOM_BYTES (1024 * 1024)

struct mr_shapes {
    uint32_t table[TABLE_SHAPES];
    /* By the number of a line's tokens: the one found last, or NULL. */
    const struct mr_shape *latest[LATEST_SHAPES];
    uint32_t met[MET_OUTLINES];
    size_t n_room;
    _Alignas(UNIT_BYTES) uint8_t room[ROOM_BYTES];
};

struct mr_shapes *mr_shapes_new(void)
{
    return calloc(1, sizeof(struct mr_shapes));
}

void mr_shapes_free(struct mr_shapes *shapes)
{
    free(shapes);
}

static inline bool has_words(
    const struct mr_shape *shape, const struct mr_shape_line *line)
{
    const struct mr_shape_word *w = shape->word;
    const struct mr_shape_word *end = w + shape->n_words;
    mr_shape_bytes differ = {0};

    for (; w < end; w++) {
        mr_shape_bytes text;

        memcpy(
            &text, line->text + line->pos[w->token] + w->offset, sizeof text);
        differ |= (text ^ w->text) & w->mask;
    }
    return (differ[0] | differ[1]) == 0;
}

static inline const uint8_t *outline_of(const struct mr_shape *shape)
{
    return (const uint8_t *)(shape->word + shape->n_words);
}

static inline const struct mr_shape *at_unit(
    const struct mr_shapes *shapes, size_t unit)
{
    const void *p = shapes->room + UNIT_BYTES * unit;

    return p;
}

static inline bool fits(
    const struct mr_shape *shape, const struct mr_shape_line *line)
{
    return shape->n_tokens == line->n_tokens &&
           memcmp(outline_of(shape), line->outline, line->n_tokens) == 0 &&
           has_words(shape, line);
}

const struct mr_shape *mr_shapes_find(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t *hash_out)
{
    const struct mr_shape **latest =
        &shapes->latest[line->n_tokens % LATEST_SHAPES];
    uint64_t hash;
    size_t i;

    if (*latest && fits(*latest, line))
        return *latest;
    *hash_out = hash = mr_hash_fast(line->outline, line->n_tokens);
    for (i = 0; i < PROBES; i++) {
        uint32_t at1 = shapes->table[(hash + i) % TABLE_SHAPES];
        const struct mr_shape *shape;

        if (at1 == 0)
            break;
        shape = at_unit(shapes, at1 - 1);
        if (shape->hash == hash && fits(shape, line)) {
            *latest = shape;
            return shape;
        }
    }
    return NULL;
}

/* The free place in the table for a hash, or NULL. */
static uint32_t *find_place(struct mr_shapes *shapes, uint64_t hash)
{
    size_t i;

    for (i = 0; i < PROBES; i++) {
        uint32_t *place = &shapes->table[(hash + i) % TABLE_SHAPES];

        if (*place == 0)
            return place;
    }
    return NULL;
}

/* Take n bytes of the room, and enter them in the table. */
static void *take_room(struct mr_shapes *shapes, uint64_t hash, size_t n)
{
    uint32_t *place = find_place(shapes, hash);
    void *room;

    if (!place || n > ROOM_BYTES - shapes->n_room) {
        memset(shapes->table, 0, sizeof shapes->table);
        shapes->n_room = 0;
        memset(shapes->latest, 0, sizeof shapes->latest);
        place = find_place(shapes, hash);
    }
    room = &shapes->room[shapes->n_room];
    *place = (uint32_t)(shapes->n_room / UNIT_BYTES) + 1;
    shapes->n_room += (n + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
    return room;
}

/* Whether an outline has been met before; it has been now.  Later ones push
 * it out. */
static bool is_met(struct mr_shapes *shapes, uint64_t hash)
{
    uint32_t *met = &shapes->met[hash % MET_OUTLINES];
    uint32_t rest = (uint32_t)(hash >> 32);
    bool before = *met == rest;

    *met = rest;
    return before;
}

/* The number of bytes of a key. */
static size_t key_bytes(const struct mr_shape_line *line, size_t colon)
{
    return line->outline[colon];
}

static void add_words(
    struct mr_shape *shape, const struct mr_shape_line *line, size_t colon)
{
    const uint8_t *key = line->text + line->pos[(ptrdiff_t)colon - 1];
    size_t n = key_bytes(line, colon);
    size_t at;

    /* Behind the opening quote. */
    for (at = 1; at <= n; at += MR_SHAPE_BYTES) {
        struct mr_shape_word *w = &shape->word[shape->n_words++];
        size_t n_rest = n + 1 - at;

        memset(&w->mask, 0, sizeof w->mask);
        memset(
            &w->mask, 0xFF, n_rest < MR_SHAPE_BYTES ? n_rest : MR_SHAPE_BYTES);
        memcpy(&w->text, key + at, sizeof w->text);
        w->text &= w->mask;
        w->token = (uint16_t)(colon - 1);
        w->offset = (uint16_t)at;
    }
}

struct mr_shape *mr_shapes_add(struct mr_shapes *shapes,
    const struct mr_shape_line *line, uint64_t hash, const uint16_t *colons,
    size_t n)
{
    struct mr_shape *shape;
    size_t n_words = 0;
    size_t bytes;
    size_t i;

    if (!is_met(shapes, hash))
        return NULL;
    /* First bytes of keys can look like long lengths, too; no matter. */
    if (line->n_tokens > MR_SHAPE_TOKENS_MAX ||
        memchr(line->outline, MR_OUTLINE_LONG, line->n_tokens))
        return NULL;
    for (i = 0; i < n; i++)
        n_words +=
            (key_bytes(line, colons[i]) + MR_SHAPE_BYTES - 1) / MR_SHAPE_BYTES;
    bytes =
        sizeof *shape + n_words * sizeof(struct mr_shape_word) + line->n_tokens;
    if (bytes > sizeof shapes->room)
        return NULL;
    shape = take_room(shapes, hash, bytes);
    memset(shape, 0, sizeof *shape);
    shape->hash = hash;
    shape->n_tokens = (uint32_t)line->n_tokens;
    for (i = 0; i < n; i++)
        add_words(shape, line, colons[i]);
    memcpy(shape->word + shape->n_words, line->outline, line->n_tokens);
    return shape;
}
