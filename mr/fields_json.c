#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/fields_private.h"

#include <stdlib.h>
#include <string.h>

#include "mr/shapes.h"

/*
 * Reading JSON Lines without a tree, in steps that work on ever less:
 *
 *   bytes    The kernel finds the tokens of a chunk of 8 KiB: brackets,
 *            colons, commas, the first byte of each string and scalar, and
 *            line feeds; 64 bytes at a time, as sets of bits.  Where
 *            something can be wrong with a string it marks the 64 bytes as
 *            suspect.
 *   outline  The kernel reduces each token to a byte that tells what lines of
 *            the same structure and keys have in common, checks scalars, and
 *            lists the line feeds.
 *   lines    A line whose outline is that of a line before, and whose keys
 *            are, too, as far as they matter, is good and has its values at
 *            the same tokens: see mr/shapes.h.
 *
 * Other lines are read the long way, by 64 tokens at a time ("groups").  The
 * kernel sorts them by kind, finds the keys that may be wanted ones, by their
 * length and first byte, and matches the brackets; here the rules of what may
 * follow what are checked for 64 tokens at a time:
 *
 *              after { [ : , or at the line's begin    a value begins
 *              (but { and [ may be closed at once), and nowhere else;
 *              after { or a comma within an object     that is a key
 *              after a key, and nowhere else           a colon
 *              after the line's value                  the line feed
 *
 * Hardly anything takes another way for another line: what text of many
 * shapes costs is mostly branches that the processor guesses wrong.
 *
 * Only good lines are read this way to their end.  A line with suspect bytes,
 * or a token that breaks a rule, is judged anew by mr_json_check, and if that
 * finds nothing wrong its fields are picked by pick_plainly.  So this file
 * decides that a line is good, never that it is bad, and need not be exact
 * about the kind and place of faults.
 *
 * A line feed ends its line whatever stands before it, because none may
 * stand in a string; so a bad line cannot spoil the ones that follow.
 *
 * Of each wanted key ("node") the place of its latest value is kept
 * ("slots").  A key is of the object around it, and that is the parent node's
 * when its brace stands at the offset that the parent's slot has.  The root's
 * slot has the line's first token.
 *
 * Tokens are held until their line is complete.  Of a line that is longer
 * than what can be held, those at hand are read, and then dropped.
 */

/* The latest value of a node: offsets in the block. */
struct slot {
    size_t first;    /* SIZE_MAX: there was none */
    size_t last;     /* of a string or number, or of white space behind it */
    uint32_t number; /* of its first token, among the line's */
};

/* Most keys of a line that a shape tells from wanted ones. */
#define SHAPE_KEYS 64

/* What is known of the line at hand. */
struct line {
    size_t start;      /* in the block */
    uint32_t captured; /* paths that have a value */
    unsigned flags;    /* of its blocks that are not held any more */
    bool begun;        /* some of its tokens have been read */
    bool suspect;      /* to be judged by mr_json_check */
    size_t n_colons;   /* behind keys that may be wanted; or too many */
};

/* Bit 0: what the token before a group is. */
struct before {
    uint64_t start;   /* { [ : , LF */
    uint64_t open;    /* { [ */
    uint64_t curly;   /* { */
    uint64_t comma;   /* within an object */
    uint64_t newline; /* LF, or there is none */
    uint64_t key;
    uint64_t end; /* the end of a line's value */
};

struct mr_fields_reader {
    const struct mr_fields_plan *plan;
    const struct mr_kernels *kernels;
    struct mr_shapes *shapes;
    struct mr_span block;
    size_t base;       /* what is held of the text begins there */
    size_t end;        /* and is tokenized up to there */
    size_t last_token; /* offset in the block of the last that was dropped */

    /* Lines: the next of each that has not been taken. */
    size_t next_line;
    size_t next_token;
    size_t next_end;
    struct line line;

    /* The line at hand, if it is read the long way. */
    struct before before;
    struct mr_nesting nesting;
    size_t opened[1 + MR_NEST_LEVELS]; /* the latest bracket of a level */
    uint16_t colon[SHAPE_KEYS];        /* numbers among the line's tokens */

    struct mr_tokens tokens;
    struct slot slot[]; /* by node */
};

/* ---- The reader ---- */

enum mr_status mr_fields_reader_new(const struct mr_fields_plan *plan,
    struct mr_fields_reader **reader_out, struct mr_error *err)
{
    struct mr_fields_reader *r =
        calloc(1, sizeof *r + plan->n_nodes * sizeof r->slot[0]);

    if (!r || !(r->shapes = mr_shapes_new())) {
        free(r);
        return mr_fail_nomem(err);
    }
    r->plan = plan;
    r->kernels = mr_kernels();
    *reader_out = r;
    return MR_OK;
}

void mr_fields_reader_free(struct mr_fields_reader *reader)
{
    if (reader)
        mr_shapes_free(reader->shapes);
    free(reader);
}

/* The flags of the blocks from one offset of what is held to another, and
 * with it. */
static inline unsigned flags_of(
    const struct mr_tokens *t, size_t from, size_t to)
{
    const uint8_t *p = t->flags + from / 64;
    size_t n = to / 64 - from / 64;
    uint64_t flags = 0;

    for (; n >= 8; n -= 8, p += 8)
        flags |= mr_get_u64(p);
    flags |= mr_get_u64(p) & ((UINT64_C(256) << (8 * n)) - 1);
    flags |= flags >> 32;
    flags |= flags >> 16;
    return (unsigned)(flags | flags >> 8) & 0xFF;
}

/* ---- Keys and values ---- */

/* The n lowest bits. */
static inline uint64_t low_bits(size_t n)
{
    return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

static inline bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The first byte from p on that is no white space, or end. */
static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* The closing quote of the string whose opening quote is at p, or end. */
static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\' && end - p > 1)
            p++;
    }
    return p;
}

/* The last byte of the string or number at p. */
static const uint8_t *last_byte(const uint8_t *p, const uint8_t *end)
{
    if (*p == '"')
        return skip_string(p, end);
    while (end - p > 1 && !is_space(p[1]) && p[1] != ',' && p[1] != '}')
        p++;
    return p;
}

static inline enum mr_kind kind_of(uint8_t first)
{
    static const uint8_t kind[128] = {
        ['"'] = MR_KIND_STRING,
        ['{'] = MR_KIND_OBJECT,
        ['['] = MR_KIND_ARRAY,
        ['t'] = MR_KIND_TRUE,
        ['f'] = MR_KIND_FALSE,
        ['n'] = MR_KIND_NULL,
    };
    uint8_t k = kind[first & 0x7F];

    return k ? (enum mr_kind)k : MR_KIND_NUMBER;
}

/* A wanted key: its value is the one that counts now, and nothing counts
 * that an earlier one of the same name had. */
static inline void take_value(
    struct mr_fields_reader *r, const struct mr_node *node, struct slot value)
{
    r->line.captured = (r->line.captured & ~node->below) | node->paths;
    r->slot[node->slot] = value;
}

/* The value behind a colon, read from the text. */
static struct slot value_behind(
    const struct mr_fields_reader *r, const uint8_t *colon)
{
    const uint8_t *end = r->block.p + r->block.n;
    const uint8_t *p = skip_space(colon + 1, end);
    struct slot value = {SIZE_MAX, 0, 0};

    if (p < end) {
        value.first = (size_t)(p - r->block.p);
        value.last = (size_t)(last_byte(p, end) - r->block.p);
    }
    return value;
}

/* The value of a good line from p on; last is its last byte, or white space
 * behind it.  kind may be left to the first byte to tell, as
 * MR_KIND_NONE. */
static inline void set_value(const uint8_t *p, const uint8_t *last,
    enum mr_kind kind, bool escapes, struct mr_value *value)
{
    if (kind == MR_KIND_NONE)
        kind = kind_of(*p);
    value->kind = kind;
    value->escaped = false;
    /* In a good line, nothing else behind the value is as small. */
    if (kind == MR_KIND_STRING) {
        while (*last <= ' ')
            last--;
        value->text.p = p + 1;
        value->text.n = (size_t)(last - p - 1);
        if (escapes)
            value->escaped = memchr(p + 1, '\\', value->text.n) != NULL;
    } else if (kind == MR_KIND_NUMBER) {
        while (*last <= ' ')
            last--;
        value->text.p = p;
        value->text.n = (size_t)(last - p + 1);
    } else {
        value->text = (struct mr_span){p, 0};
    }
}

/* The child of a node for a key as it stands in the text, or NULL. */
static const struct mr_node *find_written_key(
    const struct mr_node *node, const uint8_t *key, size_t n)
{
    uint8_t plain[MR_FIELDS_PATH_MAX];

    if (!memchr(key, '\\', n))
        return mr_node_child(node, key, n);
    n = mr_fields_unescape((struct mr_span){key, n}, plain, sizeof plain);
    return n <= sizeof plain ? mr_node_child(node, plain, n) : NULL;
}

/* The node whose key is between the quote and the colon, for keys that have
 * escapes or white space behind them; container is the offset of the bracket
 * around. */
static const struct mr_node *find_odd_key(const struct mr_fields_reader *r,
    size_t container, const uint8_t *key, const uint8_t *colon)
{
    const struct mr_fields_plan *plan = r->plan;
    const uint8_t *quote = colon;
    size_t i;

    /* What is no key is against the rules, which others check. */
    do {
        if (--quote <= key)
            return NULL;
    } while (is_space(*quote));
    if (*key != '"' || *quote != '"')
        return NULL;
    for (i = 0; i < plan->n_nodes; i++) {
        if (r->slot[i].first == container && plan->node[i].child)
            return find_written_key(
                &plan->node[i], key + 1, (size_t)(quote - key - 1));
    }
    return NULL;
}

/* Whether a key of n bytes, as it stands behind its quote, is a node's. */
static inline bool is_key_of(const struct mr_node *node, const uint8_t *key,
    size_t n, const uint8_t *end)
{
    if (__builtin_expect(n > 16 || end - key < 16, 0))
        return n == node->n_key && memcmp(key, node->key, n) == 0;
    return ((n ^ node->n_key) |
               ((mr_get_u64(key) ^ node->head[0]) & node->mask[0]) |
               ((mr_get_u64(key + 8) ^ node->head[1]) & node->mask[1])) == 0;
}

/* The node of a key that passes the filter, in the bracket at an offset; or
 * NULL. */
static inline const struct mr_node *find_plain_key(
    const struct mr_fields_reader *r, size_t container, const uint8_t *key,
    size_t n)
{
    const struct mr_fields_plan *plan = r->plan;
    const uint8_t *end = r->block.p + r->block.n;
    unsigned shares = plan->filter.length[n < 63 ? n : 63] &
                      plan->filter.first[key[0] & 0x7F];
    const struct mr_node *found = NULL;
    const struct mr_node *node;

    /* Nearly always there is one node to compare with. */
    for (; shares; shares &= shares - 1) {
        node = plan->share[__builtin_ctz(shares)];
        for (; node; node = node->next)
            found = is_key_of(node, key, n, end) && !found ? node : found;
    }
    while (found && r->slot[found->parent_slot].first != container)
        found = found->twin;
    return found;
}

/* Pick the fields of a line that is known to be valid, in whatever way it is
 * written.  node is the one whose object is open at the level, enter the one
 * whose value comes next. */
static void pick_plainly(struct mr_fields_reader *r, struct mr_span text)
{
    const uint8_t *end = text.p + text.n;
    const uint8_t *p = skip_space(text.p, end);
    const struct mr_node *node = NULL;
    const struct mr_node *enter = r->plan->node;
    uint32_t depth = 0;
    uint32_t level = 0;

    r->line.captured = 0;
    while (p < end) {
        const struct mr_node *wanted = enter;
        const uint8_t *start = p++;

        enter = NULL;
        if (*start == '{' || *start == '[') {
            depth++;
            if (wanted && *start == '{') {
                node = wanted;
                level = depth;
            }
        } else if (*start == '}' || *start == ']') {
            if (node && depth == level) {
                node = node->parent;
                level--;
            }
            depth--;
        } else if (*start == '"') {
            const uint8_t *quote = skip_string(start, end);

            p = skip_space(quote + 1, end);
            if (p == end || *p != ':')
                continue;
            if (node && depth == level)
                enter = find_written_key(
                    node, start + 1, (size_t)(quote - start - 1));
            if (enter)
                take_value(r, enter, value_behind(r, p));
            p = skip_space(p + 1, end);
        }
    }
}

/* ---- The long way ---- */

/* Check the rules of what may follow what in a group of n tokens; return
 * those that break one. */
static inline uint64_t check_rules(
    struct mr_fields_reader *r, const struct mr_token_sets *s, size_t n)
{
    const struct mr_nesting *nest = &r->nesting;
    struct before *b = &r->before;
    uint64_t start = s->open | s->colon | s->comma | s->newline;
    uint64_t curly = s->open & s->curly;
    uint64_t value = s->open | s->string | s->scalar;
    uint64_t after_open = s->open << 1 | b->open;
    uint64_t after_newline = s->newline << 1 | b->newline;
    uint64_t is_key =
        (curly << 1 | b->curly) | (nest->object_comma << 1 | b->comma);
    uint64_t key = is_key & s->string;
    uint64_t end = nest->outermost | (after_newline & (s->string | s->scalar));
    uint64_t empty = (after_open & s->close) | (after_newline & s->newline);
    uint64_t bad = ((key << 1 | b->key) ^ s->colon) |
                   (((start << 1 | b->start) ^ value) & ~empty) |
                   (is_key & (s->open | s->scalar)) |
                   ((end << 1 | b->end) & ~s->newline);
    size_t last = n - 1;

    b->start = start >> last & 1;
    b->open = s->open >> last & 1;
    b->curly = curly >> last & 1;
    b->comma = nest->object_comma >> last & 1;
    b->newline = s->newline >> last & 1;
    b->key = key >> last & 1;
    b->end = end >> last & 1;
    return bad & low_bits(n);
}

/* The offset in the block of the last token in a set of a group's, which has
 * the tokens from first on; or else as given.  (There is no telling which;
 * both are found, and one is taken.) */
static inline size_t latest_of(const struct mr_fields_reader *r, size_t first,
    uint64_t set, size_t otherwise)
{
    size_t i = 63 - (size_t)__builtin_clzll(set | 1);
    size_t latest = r->base + r->tokens.pos[1 + first + i];

    return set ? latest : otherwise;
}

/* The offset of the bracket around token first + i, or SIZE_MAX if no wanted
 * key can stand in it. */
static inline size_t container_of(
    const struct mr_fields_reader *r, size_t first, size_t i)
{
    size_t level = r->nesting.level[i];

    if (level == 0 || level > r->plan->max_level)
        return SIZE_MAX;
    return latest_of(
        r, first, r->nesting.opens[level] & low_bits(i), r->opened[level]);
}

/* The value behind a colon that is a token. */
static inline struct slot value_of(
    const struct mr_fields_reader *r, size_t token)
{
    const struct mr_tokens *t = &r->tokens;
    struct slot value;

    if (token + 2 >= t->n)
        return value_behind(r, r->block.p + r->base + t->pos[1 + token]);
    value.first = r->base + t->pos[token + 2];
    value.last = r->base + t->pos[token + 3] - 1;
    value.number = (uint32_t)(token + 1 - r->next_token);
    return value;
}

/* Take the key before the colon that is token first + i, if it is wanted. */
static inline void take_key(struct mr_fields_reader *r, size_t first, size_t i)
{
    const struct mr_tokens *t = &r->tokens;
    size_t token = first + i;
    size_t container = container_of(r, first, i);
    const uint8_t *colon = r->block.p + r->base + t->pos[1 + token];
    const uint8_t *quote = token > 0 ? r->block.p + r->base + t->pos[token]
                                     : r->block.p + r->last_token;
    const struct mr_node *node;

    /* No key at all, which is against the rules, or none of interest. */
    if (colon - quote < 2 || container == SIZE_MAX)
        return;
    if (t->flags[t->pos[1 + token] / 64] & MR_BLOCK_ODD)
        node = find_odd_key(r, container, quote, colon);
    else
        node = find_plain_key(
            r, container, quote + 1, (size_t)(colon - quote - 2));
    if (r->line.n_colons < SHAPE_KEYS)
        r->colon[r->line.n_colons] = (uint16_t)(token - r->next_token);
    r->line.n_colons++;
    if (node)
        take_value(r, node, value_of(r, token));
}

/* Read a group of n tokens from first on.  False if it breaks a rule. */
static bool read_group(
    struct mr_fields_reader *r, size_t first, size_t n, unsigned flags)
{
    const struct mr_fields_plan *plan = r->plan;
    struct mr_token_sets sets;
    uint64_t keys = r->kernels->sort(&r->tokens, first, &plan->filter, &sets);
    int32_t limit = MR_NEST_DEPTH;
    uint32_t i;

    if (plan->max_depth < MR_NEST_DEPTH)
        limit = (int32_t)plan->max_depth;
    r->kernels->nest(&sets, n, limit, &r->nesting);
    if ((r->nesting.bad | check_rules(r, &sets, n)) != 0)
        return false;
    if (flags & MR_BLOCK_ODD)
        keys = sets.colon;
    for (keys &= low_bits(n); keys; keys &= keys - 1)
        take_key(r, first, (size_t)__builtin_ctzll(keys));
    for (i = 1; i <= plan->max_level; i++)
        r->opened[i] = latest_of(r, first, r->nesting.opens[i], r->opened[i]);
    return true;
}

/* Read the line's tokens from the next up to, and without, number end.
 * flags are those of its blocks. */
static void read_tokens(struct mr_fields_reader *r, size_t end, unsigned flags)
{
    size_t at = r->next_token;

    if (at == end)
        return;
    if (!r->line.begun) {
        r->line.begun = true;
        r->before = (struct before){.start = 1, .newline = 1};
        r->nesting.depth = 0;
        r->nesting.types = 0;
        r->slot[0].first = r->base + r->tokens.pos[1 + at];
    }
    for (; at < end && !r->line.suspect; at += 64)
        r->line.suspect =
            !read_group(r, at, end - at < 64 ? end - at : 64, flags);
}

/* ---- Chunks ---- */

/* Drop what is held of the text before an offset in it, a multiple of 64, and
 * the tokens before the next. */
static void drop(struct mr_fields_reader *r, size_t offset)
{
    struct mr_tokens *t = &r->tokens;
    size_t first = r->next_token;
    size_t n = t->n - first;
    size_t i;

    if (first > 0) {
        r->last_token = r->base + t->pos[first];
        t->kind[0] = t->kind[first];
    }
    memmove(t->flags, t->flags + offset / 64,
        (r->end - r->base - offset + 63) / 64);
    memmove(t->kind + 1, t->kind + 1 + first, n);
    memmove(t->outline, t->outline + first, n);
    /* By rows, which compilers make vectors of; the last may be more than
     * there is. */
    for (i = 1; i <= n && first > 0; i += 32) {
        uint16_t row[32];
        size_t j;

        memcpy(row, t->pos + first + i, sizeof row);
        for (j = 0; j < 32; j++)
            row[j] = (uint16_t)(row[j] - offset);
        memcpy(t->pos + i, row, sizeof row);
    }
    r->base += offset;
    t->pos[0] = (uint16_t)(r->last_token - r->base);
    t->n = n;
    r->next_token = 0;
}

/* Make room for another chunk. */
static void make_room(struct mr_fields_reader *r)
{
    struct line *line = &r->line;
    size_t from = line->start > r->base ? line->start - r->base : 0;
    size_t to = r->end - r->base;

    if (to - from / 64 * 64 + MR_SCAN_BYTES <= MR_HELD_BYTES) {
        drop(r, from / 64 * 64);
        return;
    }
    line->flags |= flags_of(&r->tokens, from, to - 1);
    read_tokens(r, r->tokens.n, line->flags);
    r->next_token = r->tokens.n;
    drop(r, to);
}

/* Go on to the next chunk.  False when there is none. */
static bool next_chunk(struct mr_fields_reader *r)
{
    struct mr_tokens *t = &r->tokens;
    const uint8_t *text;
    size_t first;
    size_t at;
    size_t n;

    if (r->end == r->block.n)
        return false;
    make_room(r);
    text = r->block.p + r->base;
    first = t->n;
    at = r->end - r->base;
    n = r->block.n - r->base;
    r->kernels->tokenize(t, text, at, n);
    r->kernels->outline(t, first, text, n);
    r->end += n - at < MR_SCAN_BYTES ? n - at : MR_SCAN_BYTES;
    r->next_end = 0;
    return true;
}

void mr_fields_reader_set(struct mr_fields_reader *reader, struct mr_span block)
{
    size_t i;

    reader->block = block;
    reader->base = reader->end = reader->last_token = 0;
    reader->next_line = reader->next_token = reader->next_end = 0;
    reader->tokens.carry = (struct mr_token_carry){0};
    reader->tokens.n = reader->tokens.n_ends = 0;
    reader->tokens.pos[0] = 0;
    reader->tokens.kind[0] = '\n';
    /* An offset of the last block must not be taken for one of this. */
    for (i = 0; i < reader->plan->n_nodes; i++)
        reader->slot[i].first = SIZE_MAX;
}

/* ---- Lines ---- */

/* Set the record's values from the slots. */
static void set_values(
    const struct mr_fields_reader *r, bool escapes, struct mr_record *record)
{
    const struct mr_fields_plan *plan = r->plan;
    uint32_t i;

    for (i = 0; i < plan->n_paths; i++) {
        if (r->line.captured >> i & 1) {
            const struct slot *slot = &r->slot[plan->path[i]->slot];

            set_value(r->block.p + slot->first, r->block.p + slot->last,
                MR_KIND_NONE, escapes, &record->value[i]);
        } else {
            record->value[i] = (struct mr_value){0};
        }
    }
}

/* Set the record's values from the places that a shape has for them. */
static inline void set_values_of(const struct mr_shape *shape,
    const struct mr_shape_line *line, bool escapes, struct mr_record *record)
{
    const struct mr_shape_value *v = shape->value;
    const struct mr_shape_value *end = v + shape->n_values;
    uint32_t missing;

    for (; v < end; v++) {
        const uint16_t *pos = line->pos + v->token;

        set_value(line->text + pos[0], line->text + pos[1] - 1,
            (enum mr_kind)v->kind, escapes, &record->value[v->path]);
    }
    for (missing = shape->missing; missing; missing &= missing - 1)
        record->value[__builtin_ctz(missing)] = (struct mr_value){0};
}

/* What is known of a value's kind by its outline. */
static uint8_t kind_in_outline(uint8_t outline)
{
    switch (outline) {
    case MR_OUTLINE_STRING:
        return MR_KIND_STRING;
    case '{':
        return MR_KIND_OBJECT;
    case '[':
        return MR_KIND_ARRAY;
    default:
        return MR_KIND_NONE;
    }
}

/* Keep the shape of the line that has been read. */
static void keep_shape(
    struct mr_fields_reader *r, const struct mr_shape_line *line, uint64_t hash)
{
    const struct mr_fields_plan *plan = r->plan;
    struct mr_shape *shape;
    uint32_t i;

    if (r->line.n_colons > SHAPE_KEYS)
        return;
    shape = mr_shapes_add(r->shapes, line, hash, r->colon, r->line.n_colons);
    if (!shape)
        return;
    for (i = 0; i < plan->n_paths; i++) {
        struct mr_shape_value *v = &shape->value[shape->n_values];

        if (!(r->line.captured >> i & 1)) {
            shape->missing |= UINT32_C(1) << i;
            continue;
        }
        v->token = (uint16_t)r->slot[plan->path[i]->slot].number;
        v->path = (uint8_t)i;
        v->kind = kind_in_outline(line->outline[v->token]);
        shape->n_values++;
    }
}

/* Read a line that is not suspect and ends with token number last: set the
 * record's values, or find the line suspect. */
static inline void read_line(struct mr_fields_reader *r, size_t last,
    unsigned flags, struct mr_record *record)
{
    struct mr_tokens *t = &r->tokens;
    struct mr_shape_line line = {t->outline + r->next_token,
        t->pos + 1 + r->next_token, last + 1 - r->next_token,
        r->block.p + r->base};
    bool escapes = flags & MR_BLOCK_BACKSLASH;
    bool has_shape = !r->line.begun && !(flags & MR_BLOCK_ODD) &&
                     line.n_tokens <= MR_SHAPE_TOKENS_MAX &&
                     r->next_line + MR_SHAPE_BYTES - 1 <= r->block.n;
    uint64_t hash = 0;

    if (has_shape) {
        const struct mr_shape *shape = mr_shapes_find(r->shapes, &line, &hash);

        if (shape) {
            set_values_of(shape, &line, escapes, record);
            return;
        }
    }
    read_tokens(r, last + 1, flags);
    if (r->line.suspect)
        return;
    set_values(r, escapes, record);
    if (has_shape)
        keep_shape(r, &line, hash);
}

/* The line ends with token number last, and its text at an offset. */
static inline void end_line(struct mr_fields_reader *r, size_t last, size_t end,
    struct mr_record *record)
{
    const struct mr_fields_plan *plan = r->plan;
    struct line *line = &r->line;
    size_t n = end - line->start;
    unsigned flags =
        line->flags |
        flags_of(&r->tokens, line->start > r->base ? line->start - r->base : 0,
            end - r->base);

    record->line.p = r->block.p + line->start;
    /* CR LF ends a line; a CR that the text ends with is white space. */
    if (n > 0 && end < r->block.n && record->line.p[n - 1] == '\r')
        n--;
    record->line.n = n;
    record->verdict = MR_LINE_VALUE;
    if (n > plan->max_line_bytes) {
        record->verdict = MR_LINE_TOO_LONG;
        return;
    }
    if (last == r->next_token && !line->begun) {
        record->verdict = MR_LINE_BLANK;
        return;
    }
    line->suspect |= (flags & MR_BLOCK_SUSPECT) != 0;
    if (!line->suspect)
        read_line(r, last, flags, record);
    if (!line->suspect)
        return;
    record->verdict = mr_json_check(record->line, plan->max_depth);
    if (record->verdict == MR_LINE_VALUE) {
        pick_plainly(r, record->line);
        set_values(r, true, record);
    }
}

void mr_fields_next(
    struct mr_fields_reader *reader, struct mr_record *record_out)
{
    struct mr_tokens *t = &reader->tokens;
    size_t last;
    size_t end;

    reader->line = (struct line){.start = reader->next_line};
    while (reader->next_end == t->n_ends) {
        if (!next_chunk(reader)) {
            record_out->line = (struct mr_span){0};
            record_out->verdict = MR_LINE_END;
            return;
        }
    }
    last = t->end[reader->next_end++];
    end = reader->base + t->pos[1 + last];
    reader->next_line = end + 1;
    end_line(reader, last, end, record_out);
    reader->next_token = last + 1;
}
