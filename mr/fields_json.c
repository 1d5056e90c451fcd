#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/fields.h"

#include <stdlib.h>

#include "mr/kernels.h"

/*
 * Reading JSON Lines without a tree, in three steps that work on ever less:
 *
 *   bytes    The kernel finds the tokens of a window of 4 KiB: brackets,
 *            colons, commas, the first byte of each string and scalar, and
 *            line feeds; 64 bytes at a time, as sets of bits.  What can be
 *            wrong inside of strings it marks as suspect.
 *   tokens   64 at a time, again as sets of bits, the rules of what may
 *            follow what are checked.  Nearly all of JSON's grammar is of
 *            this kind:
 *
 *              after { [ : , or at the line's begin    a value begins
 *              (but { and [ may be closed at once), and nowhere else;
 *              after { or a comma within an object     that is a key
 *              after a key, and nowhere else           a colon
 *
 *   events   Only brackets, and colons whose key may be a wanted one, are
 *            taken one by one: brackets to match them on a stack of bits and
 *            to know which commas are within objects; keys to find fields.
 *
 * Only good lines are read this way to their end.  A line that breaks a rule
 * or is suspect, or is nested deeper than the stack of bits, is judged anew
 * by mr_json_check, and if that finds nothing wrong its fields are picked by
 * pick_plainly.  So this file decides that a line is good, never that it is
 * bad, and need not be exact about the kind and order of faults.
 *
 * A line feed ends its line whatever stands before it, because none may
 * stand in a string; so a bad line cannot spoil the ones that follow.
 *
 * Wanted paths are a tree of keys ("nodes").  While a line is read, node is
 * the one whose object is open, level its depth; objects that are open in
 * it and not wanted are passed over by their depth alone.
 */

/* Nesting the stack of bits has room for; deeper lines are read plainly. */
#define STACK_DEPTH 62
/* One key of the wanted paths. */
struct node {
    const struct node *parent;
    const struct node *child;   /* the first */
    const struct node *sibling; /* the next */
    const uint8_t *key;
    size_t n_key;
    uint32_t paths; /* paths that end here: bit i for path i */
    uint32_t below; /* and those that end here or go on */
};

struct mr_fields_plan {
    uint64_t max_line_bytes;
    uint32_t max_depth;
    size_t n_paths;
    struct node *root;   /* its key is no key */
    struct node *node;   /* all nodes, the root first */
    size_t n_nodes;
    uint8_t *keys;       /* their bytes */
    struct mr_key_filter filter;
};

/* Where in the line, and in the tree of wanted keys, reading stands. */
struct place {
    const struct node *node;  /* whose object is open, or NULL */
    const struct node *enter; /* whose value is the object that opens next */
    int32_t level; /* the depth inside of node's object; 0 without node */
};

/* What is known of the line before the tokens at hand. */
struct line {
    size_t start; /* in the block */
    struct place place;
    int32_t depth;     /* open brackets */
    uint64_t stack;    /* bit 0: the innermost of them is a brace */
    uint32_t captured; /* paths whose value is set */
    bool begun;        /* has a token */
    bool complete;     /* its value has ended */
    uint64_t bad;      /* not 0: to be judged by mr_json_check */
    /* What the token before is, 0 or 1. */
    uint64_t after_start; /* the line's begin, or { [ : , */
    uint64_t after_open;  /* { [ */
    uint64_t after_curly; /* { */
    uint64_t after_comma;
    uint64_t after_key;
};

struct mr_fields_reader {
    const struct mr_fields_plan *plan;
    const struct mr_kernels *kernels;
    struct mr_span block;
    size_t window;     /* offset of the window in the block */
    size_t at;         /* next token */
    size_t last_token; /* offset in the block of the last before the window */
    size_t next_line;
    struct line line;
    struct mr_token_sets sets; /* of the tokens from number group on */
    size_t group;
    size_t n_group; /* how many they are, at most 64 */
    struct mr_tokens tokens;
};

/* ---- The plan ---- */

/* Whether n bytes are the same; for the short ones that keys are. */
static inline bool is_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n >= 8) {
        for (; n > 16; n -= 8, a += 8, b += 8) {
            if (mr_get_u64(a) != mr_get_u64(b))
                return false;
        }
        return mr_get_u64(a) == mr_get_u64(b) &&
            mr_get_u64(a + n - 8) == mr_get_u64(b + n - 8);
    }
    if (n >= 4)
        return mr_get_u32(a) == mr_get_u32(b) &&
            mr_get_u32(a + n - 4) == mr_get_u32(b + n - 4);
    while (n > 0 && a[n - 1] == b[n - 1])
        n--;
    return n == 0;
}

/* The child of a node with a key, or NULL. */
static inline const struct node *find_child(
    const struct node *node, const uint8_t *key, size_t n_key)
{
    const struct node *child = node->child;

    while (child && (child->n_key != n_key || !is_same(child->key, key, n_key)))
        child = child->sibling;
    return child;
}

/* Put one part of path number i below a node; return its node. */
static struct node *add_part(struct mr_fields_plan *plan, struct node *node,
    const char *part, size_t n, unsigned i)
{
    const struct node *found = find_child(node, (const uint8_t *)part, n);
    struct node *child;
    unsigned group;

    if (found) {
        child = &plan->node[found - plan->node];
    } else {
        uint8_t *key = plan->keys;

        child = &plan->node[plan->n_nodes++];
        memcpy(key, part, n);
        plan->keys += n;
        *child = (struct node){
            .parent = node, .sibling = node->child, .key = key, .n_key = n};
        node->child = child;
        /* Eight groups share out the keys; a key of the right length and
         * first byte, but of another group, does not pass. */
        group = 1U << (plan->n_nodes % 8);
        plan->filter.length[n < 63 ? n : 63] |= (uint8_t)group;
        plan->filter.first[key[0] & 0x7F] |= (uint8_t)group;
    }
    child->below |= UINT32_C(1) << i;
    return child;
}

/* Put path number i, which is sound, into the tree. */
static void add_path(struct mr_fields_plan *plan, const char *path, unsigned i)
{
    struct node *node = plan->root;

    if (path[0] == '\0')
        return;
    node->below |= UINT32_C(1) << i;
    for (;;) {
        size_t n = strcspn(path, ".");

        node = add_part(plan, node, path, n, i);
        if (path[n] == '\0')
            break;
        path += n + 1;
    }
    node->paths |= UINT32_C(1) << i;
}

/* Whether a path can be wanted; the number of its parts and its length. */
static enum mr_status check_path(const char *path, size_t *n_parts_out,
    size_t *n_bytes_out, struct mr_error *err)
{
    size_t n = strlen(path);
    size_t i;

    *n_parts_out = n > 0;
    *n_bytes_out = n;
    if (n > MR_FIELDS_PATH_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "a field path of %zu bytes is longer than %d", n,
            MR_FIELDS_PATH_MAX);
    for (i = 0; i < n; i++) {
        *n_parts_out += path[i] == '.';
        if (path[i] == '.' &&
            (i == 0 || path[i + 1] == '.' || path[i + 1] == '\0'))
            return mr_fail(err, MR_USAGE, MR_NOWHERE, "write it as a.b.c",
                "the field path '%s' has an empty part", path);
    }
    return MR_OK;
}

enum mr_status mr_fields_plan_new(const char *const *paths, size_t n,
    uint64_t max_line_bytes, uint32_t max_depth,
    struct mr_fields_plan **plan_out, struct mr_error *err)
{
    struct mr_fields_plan *plan;
    size_t n_nodes = 1;
    size_t n_bytes = 0;
    size_t i;

    if (n > MR_FIELDS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "%zu field paths are more than %d", n, MR_FIELDS_MAX);
    if (max_depth == 0 || max_depth > MR_JSON_DEPTH_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "a depth limit of %lu is not in 1 to %d",
            (unsigned long)max_depth, MR_JSON_DEPTH_MAX);
    for (i = 0; i < n; i++) {
        size_t parts;
        size_t bytes;
        enum mr_status status = check_path(paths[i], &parts, &bytes, err);

        if (status != MR_OK)
            return status;
        n_nodes += parts;
        n_bytes += bytes;
    }
    /* One piece of memory: the plan, its nodes, their keys. */
    plan = calloc(1, sizeof *plan + n_nodes * sizeof *plan->node + n_bytes);
    if (!plan)
        return mr_fail_nomem(err);
    plan->max_line_bytes = max_line_bytes;
    plan->max_depth = max_depth;
    plan->n_paths = n;
    plan->node = (struct node *)(plan + 1);
    plan->n_nodes = 1;
    plan->root = plan->node;
    plan->keys = (uint8_t *)(plan->node + n_nodes);
    for (i = 0; i < n; i++)
        add_path(plan, paths[i], (unsigned)i);
    *plan_out = plan;
    return MR_OK;
}

void mr_fields_plan_free(struct mr_fields_plan *plan)
{
    free(plan);
}

/* ---- The reader ---- */

enum mr_status mr_fields_reader_new(const struct mr_fields_plan *plan,
    struct mr_fields_reader **reader_out, struct mr_error *err)
{
    struct mr_fields_reader *r = calloc(1, sizeof *r);

    if (!r)
        return mr_fail_nomem(err);
    r->plan = plan;
    r->kernels = mr_kernels();
    *reader_out = r;
    return MR_OK;
}

void mr_fields_reader_free(struct mr_fields_reader *reader)
{
    free(reader);
}

void mr_fields_reader_set(
    struct mr_fields_reader *reader, struct mr_span block)
{
    reader->block = block;
    reader->window = 0;
    reader->at = 0;
    reader->group = 0;
    reader->n_group = 0;
    reader->last_token = 0;
    reader->next_line = 0;
    reader->tokens.carry = (struct mr_token_carry){0};
    reader->tokens.n = 0;
    if (block.n > 0)
        reader->kernels->tokenize(&reader->tokens, block.p, block.n);
}

/* Whether the window marks suspect one of the blocks that hold offsets from
 * to, and with, end of the text. */
static bool is_suspect(const struct mr_fields_reader *r, size_t from, size_t end)
{
    uint64_t set = r->tokens.suspect;

    if (set == 0)
        return false;
    from = from > r->window ? (from - r->window) / 64 : 0;
    end = (end - r->window) / 64;
    /* A line feed that was added may stand behind the last block. */
    if (from > 63)
        from = 63;
    if (end < 63)
        set &= (UINT64_C(2) << end) - 1;
    return set >> from != 0;
}

/* Go on to the next window.  False when there is none. */
static bool next_window(struct mr_fields_reader *r)
{
    struct mr_tokens *t = &r->tokens;
    size_t end = r->window + MR_WINDOW_BYTES;

    if (r->block.n <= end)
        return false;
    if (r->line.start < end && is_suspect(r, r->line.start, end - 1))
        r->line.bad = 1;
    if (t->n > 0) {
        r->last_token = r->window + t->pos[t->n];
        t->kind[0] = t->kind[t->n];
    }
    r->window = end;
    r->at = r->group = r->n_group = 0;
    t->pos[0] = (uint16_t)(r->last_token - r->window);
    r->kernels->tokenize(t, r->block.p + end, r->block.n - end);
    return true;
}

/* ---- Keys and values ---- */

static bool is_space(uint8_t c)
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

/* A bracket has been opened, inside of which the depth is as given. */
static inline void enter_bracket(struct place *place, int32_t depth)
{
    if (place->enter) {
        place->node = place->enter;
        place->level = depth;
        place->enter = NULL;
    }
}

/* A bracket has been closed, outside of which the depth is as given. */
static inline void leave_bracket(struct place *place, int32_t depth)
{
    if (depth < place->level) {
        place->node = place->node->parent;
        place->level = depth;
    }
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

/* The last byte of the string or number at p. */
static const uint8_t *last_byte(const uint8_t *p, const uint8_t *end)
{
    if (*p == '"')
        return skip_string(p, end);
    while (end - p > 1 && !is_space(p[1]) && p[1] != ',' && p[1] != '}')
        p++;
    return p;
}

/* A wanted key: its value, which is at p, is the one that counts now, and
 * nothing counts that an earlier one of the same name had.  last is the last
 * byte of a string or number; plain says that there is no backslash. */
static inline void take_value(struct line *line, const struct node *node,
    const uint8_t *p, const uint8_t *last, bool plain,
    struct mr_record *record)
{
    uint32_t paths = node->paths;
    enum mr_kind kind = kind_of(*p);

    line->captured = (line->captured & ~node->below) | paths;
    line->place.enter = node->child && kind == MR_KIND_OBJECT ? node : NULL;
    for (; paths; paths &= paths - 1) {
        struct mr_value *value = &record->value[__builtin_ctz(paths)];

        value->kind = kind;
        value->text.p = p;
        value->text.n = 0;
        value->escaped = false;
        if (kind == MR_KIND_NUMBER) {
            value->text.n = (size_t)(last - p + 1);
        } else if (kind == MR_KIND_STRING) {
            value->text.p = p + 1;
            value->text.n = last > p ? (size_t)(last - p - 1) : 0;
            value->escaped =
                !plain && memchr(p + 1, '\\', value->text.n) != NULL;
        }
    }
}

/* The node of a key as it stands in the text, below another. */
static const struct node *find_key(
    const struct node *node, const uint8_t *key, size_t n)
{
    uint8_t plain[MR_FIELDS_PATH_MAX];

    if (!memchr(key, '\\', n))
        return find_child(node, key, n);
    n = mr_fields_unescape((struct mr_span){key, n}, plain, sizeof plain);
    return n <= sizeof plain ? find_child(node, plain, n) : NULL;
}

/* The child of the open object whose key is before the colon, for keys
 * that have escapes or white space behind them; key is the token before. */
static const struct node *find_odd_key(
    const struct node *node, const uint8_t *key, const uint8_t *colon)
{
    const uint8_t *quote = colon;

    /* What is no key is against the rules, which others check. */
    do {
        if (--quote <= key)
            return NULL;
    } while (is_space(*quote));
    if (*key != '"' || *quote != '"')
        return NULL;
    return find_key(node, key + 1, (size_t)(quote - key - 1));
}

/* Token i is a colon in a wanted object: look at its key. */
static inline void meet_key(
    struct mr_fields_reader *r, size_t i, struct mr_record *record)
{
    const struct mr_tokens *t = &r->tokens;
    const uint8_t *window = r->block.p + r->window;
    const uint8_t *end = r->block.p + r->block.n;
    const uint8_t *key =
        i > 0 ? window + t->pos[i] : r->block.p + r->last_token;
    const uint8_t *colon = window + t->pos[i + 1];
    const struct node *node = r->line.place.node;
    const uint8_t *value;
    const uint8_t *last;

    if (t->odd_keys)
        node = find_odd_key(node, key, colon);
    else
        node = find_child(node, key + 1, (size_t)(colon - key - 2));
    if (!node)
        return;
    if (i + 2 < t->n) {
        /* Up to the next token, and the white space before it, is the
         * value's. */
        value = window + t->pos[i + 2];
        last = window + t->pos[i + 3] - 1;
        while (last > value && is_space(*last))
            last--;
        take_value(&r->line, node, value, last, t->backslash == 0, record);
    } else {
        value = skip_space(colon + 1, end);
        if (value < end)
            take_value(&r->line, node, value, last_byte(value, end), false,
                record);
    }
}

/* Pick the fields of a line that is known to be valid, in whatever way it is
 * written. */
static void pick_plainly(struct mr_fields_reader *r, struct mr_record *record)
{
    struct line *line = &r->line;
    const uint8_t *p = record->line.p;
    const uint8_t *end = p + record->line.n;
    int32_t depth = 0;

    line->captured = 0;
    p = skip_space(p, end);
    line->place = (struct place){NULL, NULL, 0};
    if (*p == '{')
        line->place.enter = r->plan->root;
    while (p < end) {
        if (*p == '{' || *p == '[') {
            enter_bracket(&line->place, ++depth);
        } else if (*p == '}' || *p == ']') {
            leave_bracket(&line->place, --depth);
        } else if (*p == '"') {
            const uint8_t *key = p + 1;
            const uint8_t *quote = skip_string(p, end);
            const struct node *node;

            p = skip_space(quote + 1, end);
            if (p == end || *p != ':')
                continue;
            p = skip_space(p + 1, end);
            if (!line->place.node || depth != line->place.level)
                continue;
            node = find_key(line->place.node, key, (size_t)(quote - key));
            if (node)
                take_value(line, node, p, last_byte(p, end), false, record);
            continue;
        }
        p++;
    }
}

/* ---- Tokens ---- */

/* The n lowest bits. */
static uint64_t low_bits(size_t n)
{
    return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/* Bit i of the result is the parity of the bits below bit i of x. */
static uint64_t parity_below(uint64_t x)
{
    x ^= x << 1;
    x ^= x << 2;
    x ^= x << 4;
    x ^= x << 8;
    x ^= x << 16;
    x ^= x << 32;
    return x << 1;
}

/* Brackets being matched. */
struct matching {
    uint64_t stack;
    uint64_t bad;     /* not 0: one was closed by the other kind */
    uint64_t changes; /* bit i: token i opens or closes an object in an array,
                       * or the other way round */
    int32_t depth;
    int32_t deepest;
};

/* Take the bracket that is token i; without branches, because what comes
 * next in text that is passed over is anybody's guess. */
static inline void match_bracket(
    struct matching *m, const struct mr_token_sets *s, unsigned i)
{
    uint64_t curly = s->curly >> i & 1;
    uint64_t open = s->open >> i & 1;
    uint64_t before = m->stack & 1;
    uint64_t pushed = m->stack << 1 | curly;
    uint64_t popped = m->stack >> 1;

    m->bad |= (before ^ curly) & ~open;
    m->stack = open ? pushed : popped;
    m->depth += open ? 1 : -1;
    m->deepest = m->depth > m->deepest ? m->depth : m->deepest;
    m->changes |= (before ^ (m->stack & 1)) << i;
}

/* All bits above the lowest of x; x is not 0. */
static inline uint64_t above_lowest(uint64_t x)
{
    return ~(x ^ (x - 1));
}

/*
 * Take the brackets, and in wanted objects the keys, among the tokens that
 * are the line's.  Return the tokens that stand directly within an object
 * (or are the brace that closes it).
 */
static inline uint64_t take_events(struct mr_fields_reader *r,
    const struct mr_token_sets *s, uint64_t valid, struct mr_record *record)
{
    struct line *line = &r->line;
    struct place *place = &line->place;
    uint64_t brackets = (s->open | s->close) & valid;
    uint64_t keys = (r->tokens.odd_keys ? s->colon : s->wanted) & valid;
    uint64_t within = 0 - (line->stack & 1);
    uint64_t rest = valid;
    struct matching m = {
        .stack = line->stack, .depth = line->depth, .deepest = line->depth};
    uint64_t events;

    for (;;) {
        for (events = brackets & rest; events && m.depth > place->level;
             events &= events - 1) {
            match_bracket(&m, s, (unsigned)__builtin_ctzll(events));
            rest = above_lowest(events);
        }
        if (m.depth > place->level)
            break;
        if (!place->node) {
            line->complete = true;
            line->bad |= rest & valid;
            break;
        }
        events = (brackets | keys) & rest;
        if (events == 0)
            break;
        rest = above_lowest(events);
        events ^= events & (events - 1);
        if (events & keys) {
            meet_key(r, r->group + (size_t)__builtin_ctzll(events), record);
            continue;
        }
        match_bracket(&m, s, (unsigned)__builtin_ctzll(events));
        if (events & s->open)
            enter_bracket(place, m.depth);
        else
            leave_bracket(place, m.depth);
    }
    line->depth = m.depth;
    line->stack = m.stack;
    line->bad |= m.bad | (m.deepest > STACK_DEPTH) |
        ((uint32_t)m.deepest > r->plan->max_depth);
    return parity_below(m.changes) ^ within;
}

/* Check the rules of what may follow what for the line's tokens, which are
 * a range of the group's; begin is the first. */
static inline void check_rules(struct line *line,
    const struct mr_token_sets *s, uint64_t in_object, uint64_t range,
    unsigned begin, unsigned last)
{
    uint64_t start = s->open | s->colon | s->comma;
    uint64_t curly = s->open & s->curly;
    uint64_t value = s->open | s->string | s->scalar;
    uint64_t after_start = start << 1 | line->after_start << begin;
    uint64_t after_open = s->open << 1 | line->after_open << begin;
    uint64_t is_key = (curly << 1 | line->after_curly << begin) |
        ((s->comma << 1 | line->after_comma << begin) & in_object);
    uint64_t key = is_key & s->string;
    uint64_t bad = ((key << 1 | line->after_key << begin) ^ s->colon) |
        ((after_start ^ value) & ~(after_open & s->close)) |
        (is_key & (s->open | s->scalar));

    line->bad |= bad & range;
    line->after_start = start >> last & 1;
    line->after_open = s->open >> last & 1;
    line->after_curly = curly >> last & 1;
    line->after_comma = s->comma >> last & 1;
    line->after_key = key >> last & 1;
}

/* The line's first token: begin is its bit. */
static inline void begin_line(struct mr_fields_reader *r,
    const struct mr_token_sets *s, uint64_t begin, uint64_t valid)
{
    struct line *line = &r->line;

    line->begun = true;
    if ((s->open & begin) == 0) {
        line->complete = true;
        line->bad |= valid & ~begin;
        return;
    }
    line->depth = 1;
    line->stack = (s->curly & begin) != 0;
    if (line->stack) {
        line->place.node = r->plan->root;
        line->place.level = 1;
    }
}

/* Take the line's tokens that are in the group at hand.  Return whether it
 * ends with them. */
static inline bool take_tokens(
    struct mr_fields_reader *r, struct mr_record *record)
{
    const struct mr_token_sets *s = &r->sets;
    struct line *line = &r->line;
    unsigned begin = (unsigned)(r->at - r->group);
    uint64_t range = low_bits(r->n_group) & (UINT64_MAX << begin);
    uint64_t newline = s->newline & range;
    uint64_t valid;
    uint64_t in_object;
    uint64_t complex;

    r->at = r->group + r->n_group;
    if (newline) {
        range &= newline ^ (newline - 1);
        r->at = r->group + (size_t)__builtin_ctzll(newline) + 1;
    }
    valid = range & ~newline;
    if (line->complete) {
        line->bad |= valid;
        return newline != 0;
    }
    in_object = 0;
    if (!line->begun) {
        if (valid == 0)
            return true;
        begin_line(r, s, UINT64_C(1) << begin, valid);
        valid &= valid - 1;
    }
    if (!line->complete)
        in_object = take_events(r, s, valid, record);
    check_rules(line, s, in_object, range, begin, (unsigned)r->n_group - 1);
    complex = s->complex & range;
    if (complex)
        line->bad |= !r->kernels->scalars(r->block.p + r->window,
            r->block.n - r->window, r->tokens.pos + 1 + r->group,
            complex);
    return newline != 0;
}

/* ---- Lines ---- */

/* The line has ended with the token before the one at hand. */
static void end_line(struct mr_fields_reader *r, struct mr_record *record)
{
    const struct mr_fields_plan *plan = r->plan;
    struct line *line = &r->line;
    size_t end = r->window + r->tokens.pos[r->at];
    size_t n = end - line->start;
    uint32_t i;

    r->next_line = end + 1;
    record->line.p = r->block.p + line->start;
    /* CR LF ends a line; a CR that the text ends with is white space. */
    if (n > 0 && end < r->block.n && record->line.p[n - 1] == '\r')
        n--;
    record->line.n = n;
    record->verdict = MR_LINE_VALUE;
    if (n > plan->max_line_bytes) {
        record->verdict = MR_LINE_TOO_LONG;
    } else if (!line->begun) {
        record->verdict = MR_LINE_BLANK;
    } else if (line->bad || !line->complete ||
        is_suspect(r, line->start, end)) {
        record->verdict = mr_json_check(record->line, plan->max_depth);
        if (record->verdict == MR_LINE_VALUE)
            pick_plainly(r, record);
    }
    if (record->verdict != MR_LINE_VALUE)
        return;
    for (i = 0; i < plan->n_paths; i++) {
        if ((line->captured >> i & 1) == 0)
            record->value[i] = (struct mr_value){0};
    }
}

/* Sort the next group of tokens.  False when no token is left. */
static bool next_group(struct mr_fields_reader *r)
{
    size_t n_left;

    while (r->at == r->tokens.n) {
        if (!next_window(r))
            return false;
    }
    n_left = r->tokens.n - r->at;
    r->group = r->at;
    r->n_group = n_left < 64 ? n_left : 64;
    r->kernels->sort(&r->tokens, r->at, &r->plan->filter, &r->sets);
    return true;
}

void mr_fields_next(
    struct mr_fields_reader *reader, struct mr_record *record_out)
{
    reader->line = (struct line){.start = reader->next_line, .after_start = 1};
    do {
        if (reader->at == reader->group + reader->n_group &&
            !next_group(reader)) {
            record_out->line = (struct mr_span){0};
            record_out->verdict = MR_LINE_END;
            return;
        }
    } while (!take_tokens(reader, record_out));
    end_line(reader, record_out);
}
