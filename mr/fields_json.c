#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/fields.h"

#include <stdlib.h>

#include "mr/kernels.h"

/*
 * Reading JSON Lines without a tree, in steps that work on ever less:
 *
 *   bytes    The kernel finds the tokens of a window of 4 KiB: brackets,
 *            colons, commas, the first byte of each string and scalar, and
 *            line feeds; 64 bytes at a time, as sets of bits.  Where
 *            something can be wrong with a string it marks the 64 bytes as
 *            suspect.
 *   tokens   The kernel sorts them by kind, as sets of 64 ("groups"), lists
 *            the line feeds and the keys that may be wanted ones, by their
 *            length and first byte, and checks scalars.
 *   groups   The kernel matches the brackets, and here the rules of what may
 *            follow what are checked for 64 tokens at a time:
 *
 *              after { [ : , or at the line's begin    a value begins
 *              (but { and [ may be closed at once), and nowhere else;
 *              after { or a comma within an object     that is a key
 *              after a key, and nowhere else           a colon
 *              after the line's value                  the line feed
 *
 *   keys     Only those listed are taken one by one.
 *
 * All this is done for a window, then its lines are given.  Hardly anything
 * takes another way for another line: what text of many shapes costs is
 * mostly branches that the processor guesses wrong.
 *
 * Only good lines are read this way to their end.  A token that breaks a rule
 * is suspect too.  A line with suspect bytes is judged anew by mr_json_check,
 * and if that finds nothing wrong its fields are picked by pick_plainly.  So
 * this file decides that a line is good, never that it is bad, and need not
 * be exact about the kind and place of faults.
 *
 * A line feed ends its line whatever stands before it, because none may
 * stand in a string; so a bad line cannot spoil the ones that follow.
 *
 * Wanted paths are a tree of keys ("nodes").  Of each node the place of its
 * latest value is kept ("slots").  A key is of the object around it, and that
 * is the parent node's when its brace stands at the offset that the parent's
 * slot has.  The root's slot has the line's first token.
 */

_Static_assert(MR_FIELDS_PARTS_MAX <= MR_NEST_LEVELS,
    "wanted keys stand on levels that kernels tell apart");

/* One key of the wanted paths. */
struct node {
    const struct node *parent;
    const struct node *child;   /* the first */
    const struct node *sibling; /* the next */
    const struct node *next;    /* in the share of the key filter */
    const struct node *twin;    /* another of the same key */
    const uint8_t *key;
    size_t n_key;
    uint64_t head[2]; /* the key's first 16 bytes, and which of them count */
    uint64_t mask[2];
    size_t slot;
    size_t parent_slot;
    uint32_t paths; /* paths that end here: bit i for path i */
    uint32_t below; /* and those that end here or go on */
};

struct mr_fields_plan {
    uint64_t max_line_bytes;
    uint32_t max_depth;
    uint32_t max_level; /* of wanted keys */
    size_t n_paths;
    const struct node *path[MR_FIELDS_MAX]; /* its last; unset if empty */
    const struct node *share[8];            /* of the key filter */
    struct node *node;                      /* the root first; it is no key */
    size_t n_nodes;
    uint8_t *keys; /* room for their bytes */
    struct mr_key_filter filter;
};

/* The latest value of a node: offsets in the block. */
struct slot {
    size_t first; /* SIZE_MAX: there was none */
    size_t last;  /* of a string or number, or of white space behind it */
};

/* A key that is a node's, if the bracket around it is the parent's. */
struct key {
    size_t container;        /* offset of that bracket */
    const struct node *node; /* or one of its twins; NULL: an odd key */
    size_t first;            /* the value, as in a slot */
    size_t last;
    uint32_t token; /* the colon */
};

/* What is known of the line at hand. */
struct line {
    size_t start;      /* in the block */
    uint32_t captured; /* paths that have a value */
    bool begun;        /* has a token */
    bool escapes;      /* may have a backslash */
    bool suspect;      /* to be judged by mr_json_check */
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

/* How a group nests, as far as keys want to know. */
struct levels {
    size_t opened[1 + MR_NEST_LEVELS];  /* latest bracket's offset before it */
    uint64_t opens[1 + MR_NEST_LEVELS]; /* as in struct mr_nesting */
    uint8_t level[64];
};

struct mr_fields_reader {
    const struct mr_fields_plan *plan;
    const struct mr_kernels *kernels;
    struct mr_span block;
    size_t window;     /* offset of the window in the block */
    size_t last_token; /* offset in the block of the last before the window */
    struct before before;
    struct mr_nesting nesting;
    size_t opened[1 + MR_NEST_LEVELS];

    /* Lines: the next of each that has not been taken. */
    size_t next_line;
    size_t next_token;
    size_t next_end;
    size_t next_key;
    struct line line;

    size_t n_keys;
    struct key key[MR_WINDOW_BYTES / 2 + 2]; /* colons two bytes apart */
    struct levels levels[MR_WINDOW_GROUPS];
    struct mr_tokens tokens;
    struct mr_sorted sorted;
    struct slot slot[]; /* by node */
};

/* ---- The plan ---- */

/* The child of a node with a key, or NULL. */
static const struct node *find_child(
    const struct node *node, const uint8_t *key, size_t n_key)
{
    const struct node *child = node->child;

    while (
        child && (child->n_key != n_key || memcmp(child->key, key, n_key) != 0))
        child = child->sibling;
    return child;
}

/* Another node of the same key, or NULL. */
static const struct node *find_twin(
    const struct mr_fields_plan *plan, const char *key, size_t n)
{
    size_t i;

    for (i = plan->n_nodes; i-- > 1;) {
        if (plan->node[i].n_key == n && !memcmp(plan->node[i].key, key, n))
            return &plan->node[i];
    }
    return NULL;
}

/* Make a node for a key below another. */
static struct node *add_node(
    struct mr_fields_plan *plan, struct node *parent, const char *key, size_t n)
{
    /* Eight shares of the filter's bits; a key of the right length and first
     * byte, but of another share, does not pass. */
    const struct node *twin = find_twin(plan, key, n);
    size_t share = (twin ? twin->slot : plan->n_nodes) % 8;
    struct node *node = &plan->node[plan->n_nodes];
    size_t i;

    node->twin = twin;
    node->parent = parent;
    node->sibling = parent->child;
    parent->child = node;
    node->next = plan->share[share];
    plan->share[share] = node;
    node->key = memcpy(plan->keys, key, n);
    node->n_key = n;
    node->slot = plan->n_nodes;
    node->parent_slot = parent->slot;
    for (i = 0; i < n && i < 16; i++) {
        node->head[i / 8] |= (uint64_t)node->key[i] << (8 * (i % 8));
        node->mask[i / 8] |= UINT64_C(0xFF) << (8 * (i % 8));
    }
    plan->filter.length[n < 63 ? n : 63] |= (uint8_t)(1U << share);
    plan->filter.first[node->key[0] & 0x7F] |= (uint8_t)(1U << share);
    plan->n_nodes++;
    plan->keys += n;
    return node;
}

/* Put path number i, which is sound, into the tree. */
static void add_path(struct mr_fields_plan *plan, const char *path, unsigned i)
{
    struct node *node = plan->node;
    uint32_t level = 0;
    size_t n;

    if (path[0] == '\0')
        return;
    for (;; path += n + 1) {
        const struct node *child;

        n = strcspn(path, ".");
        child = find_child(node, (const uint8_t *)path, n);
        node = child ? &plan->node[child->slot] : add_node(plan, node, path, n);
        node->below |= UINT32_C(1) << i;
        level++;
        if (path[n] == '\0')
            break;
    }
    node->paths |= UINT32_C(1) << i;
    plan->path[i] = node;
    if (level > plan->max_level)
        plan->max_level = level;
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
    if (*n_parts_out > MR_FIELDS_PARTS_MAX)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "the field path '%s' has more than %d parts", path,
            MR_FIELDS_PARTS_MAX);
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
            "a depth limit of %lu is not in 1 to %d", (unsigned long)max_depth,
            MR_JSON_DEPTH_MAX);
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
    struct mr_fields_reader *r =
        calloc(1, sizeof *r + plan->n_nodes * sizeof r->slot[0]);

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

/* Of a set of the window's blocks, those that hold offsets from to, and
 * with, end of the text. */
static inline uint64_t blocks_within(
    const struct mr_fields_reader *r, uint64_t set, size_t from, size_t end)
{
    from = from > r->window ? (from - r->window) / 64 : 0;
    end = (end - r->window) / 64;
    /* A line feed that was added may stand behind the last block. */
    if (from > 63)
        from = 63;
    if (end < 63)
        set &= (UINT64_C(2) << end) - 1;
    return set >> from;
}

/* What the window tells of the line, which ends at, or goes on behind, the
 * offset end. */
static inline void note_blocks(struct mr_fields_reader *r, size_t end)
{
    const struct mr_tokens *t = &r->tokens;
    struct line *line = &r->line;

    if ((t->suspect | t->backslash) == 0 || line->start > end)
        return;
    line->suspect |= blocks_within(r, t->suspect, line->start, end) != 0;
    line->escapes |= blocks_within(r, t->backslash, line->start, end) != 0;
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
static inline void take_value(struct mr_fields_reader *r,
    const struct node *node, size_t first, size_t last)
{
    r->line.captured = (r->line.captured & ~node->below) | node->paths;
    r->slot[node->slot].first = first;
    r->slot[node->slot].last = last;
}

/* The value behind a colon, read from the text. */
static struct slot value_behind(
    const struct mr_fields_reader *r, const uint8_t *colon)
{
    const uint8_t *end = r->block.p + r->block.n;
    const uint8_t *p = skip_space(colon + 1, end);
    struct slot value = {SIZE_MAX, 0};

    if (p < end) {
        value.first = (size_t)(p - r->block.p);
        value.last = (size_t)(last_byte(p, end) - r->block.p);
    }
    return value;
}

/* The value that a slot of a good line has. */
static inline void set_value(const struct mr_fields_reader *r,
    const struct slot *slot, struct mr_value *value)
{
    const uint8_t *p = r->block.p + slot->first;
    const uint8_t *last = r->block.p + slot->last;

    value->kind = kind_of(*p);
    value->text.p = p;
    value->text.n = 0;
    value->escaped = false;
    /* In a good line, nothing else behind the value is as small. */
    while (*last <= ' ')
        last--;
    if (value->kind == MR_KIND_STRING) {
        value->text.p = p + 1;
        value->text.n = (size_t)(last - p - 1);
        value->escaped =
            r->line.escapes && memchr(p + 1, '\\', value->text.n) != NULL;
    } else if (value->kind == MR_KIND_NUMBER) {
        value->text.n = (size_t)(last - p + 1);
    }
}

/* The child of a node for a key as it stands in the text, or NULL. */
static const struct node *find_written_key(
    const struct node *node, const uint8_t *key, size_t n)
{
    uint8_t plain[MR_FIELDS_PATH_MAX];

    if (!memchr(key, '\\', n))
        return find_child(node, key, n);
    n = mr_fields_unescape((struct mr_span){key, n}, plain, sizeof plain);
    return n <= sizeof plain ? find_child(node, plain, n) : NULL;
}

/* The node whose key is before the colon that is a token, for keys that have
 * escapes or white space behind them; container is the offset of the bracket
 * around. */
static const struct node *find_odd_key(
    const struct mr_fields_reader *r, size_t container, size_t token)
{
    const struct mr_fields_plan *plan = r->plan;
    const uint16_t *pos = r->tokens.pos;
    const uint8_t *window = r->block.p + r->window;
    const uint8_t *key =
        token > 0 ? window + pos[token] : r->block.p + r->last_token;
    const uint8_t *quote = window + pos[1 + token];
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
static inline bool is_key_of(
    const struct node *node, const uint8_t *key, size_t n, const uint8_t *end)
{
    if (__builtin_expect(n > 16 || end - key < 16, 0))
        return n == node->n_key && memcmp(key, node->key, n) == 0;
    return ((n ^ node->n_key) |
               ((mr_get_u64(key) ^ node->head[0]) & node->mask[0]) |
               ((mr_get_u64(key + 8) ^ node->head[1]) & node->mask[1])) == 0;
}

/* The latest node of a key that passes the filter, or NULL. */
static inline const struct node *find_plain_key(
    const struct mr_fields_plan *plan, const uint8_t *key, size_t n,
    const uint8_t *end)
{
    unsigned shares = plan->filter.length[n < 63 ? n : 63] &
                      plan->filter.first[key[0] & 0x7F];
    const struct node *found = NULL;
    const struct node *node;

    /* Nearly always there is one node to compare with. */
    for (; shares; shares &= shares - 1) {
        node = plan->share[__builtin_ctz(shares)];
        for (; node; node = node->next)
            found = is_key_of(node, key, n, end) && !found ? node : found;
    }
    return found;
}

/* Pick the fields of a line that is known to be valid, in whatever way it is
 * written.  node is the one whose object is open at the level, enter the one
 * whose value comes next. */
static void pick_plainly(struct mr_fields_reader *r, struct mr_span text)
{
    const uint8_t *end = text.p + text.n;
    const uint8_t *p = skip_space(text.p, end);
    const struct node *node = NULL;
    const struct node *enter = r->plan->node;
    uint32_t depth = 0;
    uint32_t level = 0;

    r->line.captured = 0;
    r->line.escapes = true;
    while (p < end) {
        const struct node *wanted = enter;
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
            if (enter) {
                struct slot value = value_behind(r, p);

                take_value(r, enter, value.first, value.last);
            }
            p = skip_space(p + 1, end);
        }
    }
}

/* ---- Windows ---- */

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

/*
 * Tokens break rules: mark suspect where they are.  Where brackets do not
 * match nothing is known of the rest of the group; a line that goes on behind
 * it is suspect then, and the next group begins as a line would.
 */
static void mark_suspect(struct mr_fields_reader *r, size_t group, uint64_t bad)
{
    struct mr_tokens *t = &r->tokens;
    uint64_t unmatched = r->nesting.bad;
    size_t i;

    if (unmatched) {
        bad |= ~((unmatched & (~unmatched + 1)) - 1);
        r->nesting.depth = 0;
        r->nesting.types = 0;
    }
    for (i = 64 * group; i < t->n && bad; i++, bad >>= 1) {
        size_t block = t->pos[1 + i] / 64;

        /* A line feed that was added may stand behind the last block. */
        if (bad & 1)
            t->suspect |= UINT64_C(1) << (block < 64 ? block : 63);
    }
}

/* The offset of the last token in a set of a group's, or else as given.
 * (There is no telling which; both are found, and one is taken.) */
static inline size_t latest_of(const struct mr_fields_reader *r, size_t group,
    uint64_t set, size_t otherwise)
{
    size_t i = 63 - (size_t)__builtin_clzll(set | 1);
    size_t latest = r->window + r->tokens.pos[1 + 64 * group + i];

    return set ? latest : otherwise;
}

/* Keep how the group nests, for its keys, and what was opened in it, for
 * those behind it. */
static inline void keep_levels(struct mr_fields_reader *r, size_t group)
{
    const struct mr_nesting *nest = &r->nesting;
    struct levels *levels = &r->levels[group];
    uint32_t i;

    memcpy(levels->level, nest->level, sizeof levels->level);
    levels->opened[0] = SIZE_MAX;
    levels->opens[0] = 0;
    for (i = 1; i <= r->plan->max_level; i++) {
        uint64_t opens = nest->opens[i];

        levels->opened[i] = r->opened[i];
        levels->opens[i] = opens;
        r->opened[i] = latest_of(r, group, opens, r->opened[i]);
    }
}

/* Check the groups. */
static void read_groups(struct mr_fields_reader *r)
{
    size_t n = r->tokens.n;
    int32_t limit = MR_NEST_DEPTH;
    size_t i;

    if (r->plan->max_depth < MR_NEST_DEPTH)
        limit = (int32_t)r->plan->max_depth;
    for (i = 0; 64 * i < n; i++) {
        const struct mr_token_sets *s = &r->sorted.sets[i];
        size_t n_group = n - 64 * i < 64 ? n - 64 * i : 64;
        uint64_t bad;

        r->kernels->nest(s, n_group, limit, &r->nesting);
        bad = r->nesting.bad | check_rules(r, s, n_group);
        keep_levels(r, i);
        if (bad)
            mark_suspect(r, i, bad);
    }
}

/* The offset of the bracket around a token, or SIZE_MAX if no wanted key can
 * stand in it. */
static inline size_t container_of(
    const struct mr_fields_reader *r, size_t token)
{
    const struct levels *levels = &r->levels[token / 64];
    size_t level = levels->level[token % 64];

    level = level <= r->plan->max_level ? level : 0;
    return latest_of(r, token / 64, levels->opens[level] & low_bits(token % 64),
        levels->opened[level]);
}

/* List the keys that are nodes' or odd. */
static void read_keys(struct mr_fields_reader *r)
{
    const struct mr_tokens *t = &r->tokens;
    const uint8_t *window = r->block.p + r->window;
    const uint8_t *end = r->block.p + r->block.n;
    size_t n = 0;
    size_t i;

    for (i = 0; i < r->sorted.n_keys; i++) {
        size_t token = r->sorted.key[i];
        const uint8_t *colon = window + t->pos[1 + token];
        const uint8_t *quote =
            token > 0 ? window + t->pos[token] : r->block.p + r->last_token;
        struct key *key = &r->key[n];
        bool odd = t->flags[t->pos[1 + token] / 64] & MR_BLOCK_ODD;

        /* No key at all, which is against the rules. */
        if (colon - quote < 2)
            continue;
        key->container = container_of(r, token);
        key->token = (uint32_t)token;
        key->node = NULL;
        if (!odd)
            key->node = find_plain_key(
                r->plan, quote + 1, (size_t)(colon - quote - 2), end);
        if (token + 2 < t->n) {
            key->first = r->window + t->pos[token + 2];
            key->last = r->window + t->pos[token + 3] - 1;
        } else {
            struct slot value = value_behind(r, colon);

            key->first = value.first;
            key->last = value.last;
        }
        n += (odd | (key->node != NULL)) & (key->container != SIZE_MAX);
    }
    r->n_keys = n;
}

/* Read the window at hand. */
static void read_window(struct mr_fields_reader *r)
{
    struct mr_tokens *t = &r->tokens;
    const uint8_t *text = r->block.p + r->window;
    size_t n = r->block.n - r->window;

    r->kernels->tokenize(t, text, n);
    r->kernels->sort(t, text, n, &r->plan->filter, &r->sorted);
    read_groups(r);
    read_keys(r);
    r->next_token = r->next_end = r->next_key = 0;
}

void mr_fields_reader_set(struct mr_fields_reader *reader, struct mr_span block)
{
    size_t i;

    reader->block = block;
    reader->window = 0;
    reader->last_token = 0;
    reader->next_line = 0;
    reader->next_token = reader->next_end = reader->next_key = 0;
    reader->before = (struct before){.start = 1, .newline = 1};
    reader->nesting.depth = 0;
    reader->nesting.types = 0;
    reader->tokens.carry = (struct mr_token_carry){0};
    reader->tokens.n = 0;
    reader->sorted.n_ends = 0;
    reader->n_keys = 0;
    /* An offset of the last block must not be taken for one of this. */
    for (i = 0; i < reader->plan->n_nodes; i++)
        reader->slot[i].first = SIZE_MAX;
    if (block.n > 0)
        read_window(reader);
}

/* Go on to the next window.  False when there is none. */
static bool next_window(struct mr_fields_reader *r)
{
    struct mr_tokens *t = &r->tokens;
    size_t end = r->window + MR_WINDOW_BYTES;

    if (r->block.n <= end)
        return false;
    note_blocks(r, end - 1);
    if (t->n > 0) {
        r->last_token = r->window + t->pos[t->n];
        t->kind[0] = t->kind[t->n];
    }
    r->window = end;
    t->pos[0] = (uint16_t)(r->last_token - r->window);
    read_window(r);
    return true;
}

/* ---- Lines ---- */

/* Take a key if it stands where a node's key must. */
static inline void take_key(struct mr_fields_reader *r, const struct key *key)
{
    const struct node *node = key->node;

    if (!node) {
        node = find_odd_key(r, key->container, key->token);
    } else {
        while (node && r->slot[node->parent_slot].first != key->container)
            node = node->twin;
    }
    if (node)
        take_value(r, node, key->first, key->last);
}

/* Take the line's tokens up to, and without, number end. */
static inline void take_tokens(struct mr_fields_reader *r, size_t end)
{
    if (!r->line.begun && r->next_token < end) {
        r->line.begun = true;
        r->slot[0].first = r->window + r->tokens.pos[1 + r->next_token];
    }
    while (r->next_key < r->n_keys && r->key[r->next_key].token < end)
        take_key(r, &r->key[r->next_key++]);
    r->next_token = end;
}

/* The line ends at an offset, and all its tokens have been taken. */
static inline void end_line(
    struct mr_fields_reader *r, size_t end, struct mr_record *record)
{
    const struct mr_fields_plan *plan = r->plan;
    struct line *line = &r->line;
    size_t n = end - line->start;
    uint32_t i;

    record->line.p = r->block.p + line->start;
    /* CR LF ends a line; a CR that the text ends with is white space. */
    if (n > 0 && end < r->block.n && record->line.p[n - 1] == '\r')
        n--;
    record->line.n = n;
    record->verdict = MR_LINE_VALUE;
    note_blocks(r, end);
    if (n > plan->max_line_bytes) {
        record->verdict = MR_LINE_TOO_LONG;
    } else if (!line->begun) {
        record->verdict = MR_LINE_BLANK;
    } else if (line->suspect) {
        record->verdict = mr_json_check(record->line, plan->max_depth);
        if (record->verdict == MR_LINE_VALUE)
            pick_plainly(r, record->line);
    }
    if (record->verdict != MR_LINE_VALUE)
        return;
    for (i = 0; i < plan->n_paths; i++) {
        if (line->captured >> i & 1)
            set_value(r, &r->slot[plan->path[i]->slot], &record->value[i]);
        else
            record->value[i] = (struct mr_value){0};
    }
}

void mr_fields_next(
    struct mr_fields_reader *reader, struct mr_record *record_out)
{
    size_t end;

    reader->line = (struct line){.start = reader->next_line};
    while (reader->next_end == reader->sorted.n_ends) {
        /* The rest of the window is the line's begin, or its middle. */
        take_tokens(reader, reader->tokens.n);
        if (!next_window(reader)) {
            record_out->line = (struct mr_span){0};
            record_out->verdict = MR_LINE_END;
            return;
        }
    }
    end = reader->sorted.end[reader->next_end++];
    take_tokens(reader, end);
    reader->next_token = end + 1;
    end = reader->window + reader->tokens.pos[1 + end];
    reader->next_line = end + 1;
    end_line(reader, end, record_out);
}
