#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/jsonvalues.h"

#include <stdlib.h>

#include "mr/jsonwalk.h"

/* What is held of a key to compare it with one that is wanted, of which each
 * byte may be written in six; and the quote behind it. */
#define KEY_BYTES ((size_t)6 * MR_PATH_MAX_BYTES + 1)

/* Where in the text we are. */
enum place {
    /* Values: */
    BETWEEN,
    WITHIN,
    BROKEN, /* behind a fault */
    /* A document: */
    START,
    MEMBER, /* a key, or the object's end */
    KEY,
    IN_KEY,
    COLON,
    MEMBER_VALUE,
    SKIPPED, /* within a value that nobody wants */
    AFTER_MEMBER,
    FIRST_ITEM, /* an element, or the array's end */
    NEXT_ITEM,
    ITEM,
    AFTER_ITEM,
    END
};

struct mr_jsonvalues {
    struct mr_stream *stream;
    const struct mr_spec *spec;
    size_t read_bytes;
    bool in_place, begun, ended;
    struct mr_buffer in;
    struct mr_span text; /* read and not yet looked at */
    uint64_t offset;     /* of text in the stream */
    uint8_t before;      /* the byte before text */

    enum place place;
    struct mr_walk walk;

    /* The value at hand: */
    bool open;
    bool broken, shallow, brace; /* a fault; nothing was open; a brace has
                                  * closed before */
    bool lost;                   /* only its beginning is kept */
    uint64_t start, bytes;
    size_t line; /* where it begins in out */

    struct mr_buffer *out;       /* the caller's: lines of the block */
    struct mr_buffer starts;     /* of its values */
    uint64_t told;               /* bytes that blocks have stood for */
    bool alone;                  /* a value has ended that needs its block */
    bool has_waiting;            /* and one waits for its turn */
    struct mr_buffer waiting;    /* its text */
    struct mr_line_block unborn; /* its block */

    /* The document: path[0..n_path) leads to the array; level of its objects
     * are open. */
    char path_text[MR_PATH_MAX_BYTES + 1];
    const char *path[MR_PATH_MAX_DEPTH];
    unsigned n_path, level;
    uint32_t seen; /* bit i: path[i] has been */
    bool wanted;   /* the member at hand is on the path */
    uint8_t key[KEY_BYTES];
    size_t n_key; /* more than KEY_BYTES: too long to be wanted */
};

static void cut_path(struct mr_jsonvalues *v)
{
    char *part = v->path_text;

    memcpy(v->path_text, v->spec->records, sizeof(v->path_text));
    while (*part != '\0' && v->n_path < MR_PATH_MAX_DEPTH) {
        char *dot = strchr(part, '.');

        v->path[v->n_path++] = part;
        if (dot == NULL)
            break;
        *dot = '\0';
        part = dot + 1;
    }
}

enum mr_status mr_jsonvalues_new(struct mr_stream *stream,
    const struct mr_spec *spec, size_t read_bytes, struct mr_jsonvalues **v_out,
    struct mr_error *err)
{
    struct mr_jsonvalues *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return mr_fail_nomem(err);
    v->stream = stream;
    v->spec = spec;
    v->read_bytes = read_bytes;
    v->in_place = mr_stream_in_place(stream);
    v->before = '\n';
    v->place = spec->format == MR_INPUT_JSON_ARRAY ? START : BETWEEN;
    cut_path(v);
    *v_out = v;
    return MR_OK;
}

void mr_jsonvalues_free(struct mr_jsonvalues *v)
{
    if (v == NULL)
        return;
    mr_buffer_release(&v->in);
    mr_buffer_release(&v->starts);
    mr_buffer_release(&v->waiting);
    free(v);
}

/* ---- text ---- */

static enum mr_status read_text(
    struct mr_jsonvalues *v, size_t want, struct mr_error *err)
{
    enum mr_status status = mr_buffer_reserve(&v->in, want);
    size_t n = 1;

    if (status != MR_OK)
        return mr_fail_nomem(err);
    for (v->in.n = 0; v->in.n < want && n > 0; v->in.n += n) {
        status = mr_stream_read(
            v->stream, v->in.p + v->in.n, want - v->in.n, &n, err);
        if (status != MR_OK)
            return status;
    }
    v->text = (struct mr_span){v->in.p, v->in.n};
    return MR_OK;
}

static void drop(struct mr_jsonvalues *v, size_t n)
{
    if (n == 0)
        return;
    v->before = v->text.p[n - 1];
    v->text.p += n;
    v->text.n -= n;
    v->offset += n;
}

/* Have text, unless the stream has ended. */
static enum mr_status fill(struct mr_jsonvalues *v, struct mr_error *err)
{
    size_t want = v->read_bytes, mark;
    enum mr_status status;

    if (v->text.n > 0 || v->ended)
        return MR_OK;
    if (!v->begun && want < 3)
        want = 3; /* a byte-order mark comes whole */
    status = v->in_place ? mr_stream_next_span(v->stream, want, &v->text, err)
                         : read_text(v, want, err);
    if (status != MR_OK)
        return status;
    v->ended = v->text.n == 0;
    mark = v->begun ? 0 : mr_lines_mark(v->text);
    v->begun = true;
    drop(v, mark);
    /* A mark and nothing else: there may be more behind. */
    return mark > 0 && v->text.n == 0 ? fill(v, err) : MR_OK;
}

static void skip_white(struct mr_jsonvalues *v)
{
    drop(v, mr_walk_white(v->text));
}

/* ---- a value ---- */

static void begin_value(struct mr_jsonvalues *v, enum mr_walk_way way)
{
    mr_walk_begin(&v->walk, way, MR_JSON_DEPTH_MAX);
    v->open = true;
    v->broken = v->lost = false;
    v->start = v->offset;
    v->bytes = 0;
    v->line = v->out->n;
}

static enum mr_status add_text(
    struct mr_jsonvalues *v, const void *p, size_t n, struct mr_error *err)
{
    v->bytes += n;
    if (v->lost)
        return MR_OK;
    if (mr_buffer_add(v->out, p, n) != MR_OK)
        return mr_fail_nomem(err);
    if (v->bytes > mr_lines_held(v->spec->max_line_bytes)) {
        v->lost = true;
        v->out->n = v->line + MR_LINES_LONG_KEPT;
    }
    return MR_OK;
}

/* The next bytes are the value's. */
static enum mr_status keep(
    struct mr_jsonvalues *v, size_t n, struct mr_error *err)
{
    enum mr_status status = add_text(v, v->text.p, n, err);

    drop(v, n);
    return status;
}

/* Where there is one line feed there are often many.  The inner loop has a
 * fixed length so that compilers turn it into vector instructions. */
static void blank_feeds(uint8_t *p, size_t n)
{
    uint8_t *feed = memchr(p, '\n', n);
    uint8_t *end = p + n;

    if (feed == NULL)
        return;
    for (p = feed; end - p >= 32; p += 32)
        for (unsigned i = 0; i < 32; i++)
            p[i] = p[i] == '\n' ? ' ' : p[i];
    for (; p < end; p++)
        *p = *p == '\n' ? ' ' : *p;
}

static enum mr_status end_value(struct mr_jsonvalues *v, struct mr_error *err)
{
    struct mr_buffer *out = v->out;
    uint8_t *p = out->p + v->line;

    v->open = false;
    /* White space within a value that is cut short here is not its own. */
    while (!v->lost && out->n > v->line && mr_walk_is_white(out->p[out->n - 1]))
        out->n--;
    v->alone = v->lost || v->walk.has_feed ||
               (v->broken && memchr(p, '\n', out->n - v->line) != NULL);
    if (v->alone)
        return MR_OK;
    blank_feeds(p, out->n - v->line);
    if (mr_buffer_add(out, "\n", 1) != MR_OK ||
        mr_buffer_add(&v->starts, &v->start, sizeof(v->start)) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

/* ---- values one after another ---- */

/* After a fault: bytes up to where another value may begin, or to the text's
 * end. */
static size_t broken_bytes(struct mr_jsonvalues *v, bool *ended)
{
    const uint8_t *p = v->text.p;
    uint8_t before = v->before;
    size_t i;

    for (i = 0; i < v->text.n; i++) {
        *ended = v->shallow ? p[i] == '{' || p[i] == '\n'
                            : p[i] == '{' && (v->brace || before == '\n');
        if (*ended)
            break;
        if (!mr_walk_is_white(p[i]))
            v->brace = p[i] == '}';
        before = p[i];
    }
    return i;
}

static enum mr_status step_broken(struct mr_jsonvalues *v, struct mr_error *err)
{
    bool ended = false;
    size_t n = broken_bytes(v, &ended);
    enum mr_status status = keep(v, n, err);

    if (status != MR_OK || !ended)
        return status;
    v->place = BETWEEN;
    return end_value(v, err);
}

static enum mr_status step_values(struct mr_jsonvalues *v, struct mr_error *err)
{
    enum mr_walk_step step;
    enum mr_status status;
    size_t n;

    if (v->place == BROKEN)
        return step_broken(v, err);
    if (v->place == BETWEEN) {
        skip_white(v);
        if (v->text.n == 0)
            return MR_OK;
        begin_value(v, MR_WALK_STRUCTURE);
        v->place = WITHIN;
    }
    step = mr_walk_on(&v->walk, v->text, &n);
    status = keep(v, n, err);
    if (status != MR_OK || step == MR_WALK_MORE)
        return status;
    if (step == MR_WALK_ENDED) {
        v->place = BETWEEN;
        return end_value(v, err);
    }
    v->place = BROKEN;
    v->broken = true;
    v->shallow = v->walk.depth == 0;
    v->brace = mr_walk_brace(&v->walk);
    return MR_OK;
}

/* ---- a document ---- */

static const char repair[] = "fetch it again and rerun";
static const char respell[] = "correct the spec's 'records'";

static enum mr_status fail_syntax(struct mr_jsonvalues *v, struct mr_error *err)
{
    return mr_fail(err, MR_FORMAT, v->offset, repair,
        "the document is not valid JSON there");
}

static enum mr_status begin_document(
    struct mr_jsonvalues *v, struct mr_error *err)
{
    if (*v->text.p != (v->n_path > 0 ? '{' : '['))
        return mr_fail(err, MR_FORMAT, v->offset,
            "correct the spec's 'format' or 'records'", "the document is no %s",
            v->n_path > 0 ? "object" : "array");
    drop(v, 1);
    v->level = v->n_path > 0;
    v->place = v->n_path > 0 ? MEMBER : FIRST_ITEM;
    return MR_OK;
}

/* The array that is wanted, or an object of its path, has ended. */
static void close_level(struct mr_jsonvalues *v)
{
    drop(v, 1);
    v->place = v->level > 0 ? AFTER_MEMBER : END;
}

static enum mr_status end_object(struct mr_jsonvalues *v, struct mr_error *err)
{
    if ((v->seen >> (v->level - 1) & 1) == 0)
        return mr_fail(err, MR_FORMAT, v->offset, respell,
            "the document has no member '%s'", v->spec->records);
    v->level--;
    close_level(v);
    return MR_OK;
}

static bool is_wanted(const struct mr_jsonvalues *v)
{
    const char *want = v->path[v->level - 1];
    uint8_t plain[MR_PATH_MAX_BYTES];
    size_t n;

    if (v->n_key > KEY_BYTES)
        return false;
    n = mr_fields_unescape(
        (struct mr_span){v->key, v->n_key}, plain, sizeof(plain));
    return n <= sizeof(plain) && n == strlen(want) &&
           memcmp(plain, want, n) == 0;
}

/* A key, its quotes included, that must be valid. */
static enum mr_status step_key(struct mr_jsonvalues *v, struct mr_error *err)
{
    uint32_t bit = UINT32_C(1) << (v->level - 1);
    enum mr_walk_step step;
    size_t n;

    step = mr_walk_on(&v->walk, v->text, &n);
    for (size_t i = 0; i < n && v->n_key <= KEY_BYTES; i++, v->n_key++)
        if (v->n_key < KEY_BYTES)
            v->key[v->n_key] = v->text.p[i];
    drop(v, n);
    if (step == MR_WALK_MORE)
        return MR_OK;
    if (step == MR_WALK_FAULT)
        return fail_syntax(v, err);
    if (v->n_key <= KEY_BYTES)
        v->n_key--; /* the quote that ends it */
    v->wanted = is_wanted(v);
    if (v->wanted && (v->seen & bit) != 0)
        return mr_fail(err, MR_FORMAT, v->offset - 1,
            "leave one of them, for nobody can tell which is meant",
            "the document has the member '%s' twice", v->path[v->level - 1]);
    if (v->wanted)
        v->seen |= bit;
    v->place = COLON;
    return MR_OK;
}

static enum mr_status begin_member(
    struct mr_jsonvalues *v, struct mr_error *err)
{
    bool last = v->level == v->n_path;

    if (!v->wanted) {
        mr_walk_begin(&v->walk, MR_WALK_WHOLE, v->spec->max_depth);
        v->place = SKIPPED;
        return MR_OK;
    }
    if (*v->text.p != (last ? '[' : '{'))
        return mr_fail(err, MR_FORMAT, v->offset, respell,
            "the member '%s' is no %s", v->path[v->level - 1],
            last ? "array" : "object");
    drop(v, 1);
    v->level += !last;
    v->place = last ? FIRST_ITEM : MEMBER;
    return MR_OK;
}

static enum mr_status step_skipped(
    struct mr_jsonvalues *v, struct mr_error *err)
{
    size_t n;
    enum mr_walk_step step = mr_walk_on(&v->walk, v->text, &n);

    drop(v, n);
    if (step == MR_WALK_DEEP)
        return mr_fail(err, MR_FORMAT, v->offset, "raise the spec's max_depth",
            "a member of the document is nested deeper than %u",
            (unsigned)v->spec->max_depth);
    if (step == MR_WALK_FAULT)
        return fail_syntax(v, err);
    if (step == MR_WALK_ENDED)
        v->place = AFTER_MEMBER;
    return MR_OK;
}

static enum mr_status step_item(struct mr_jsonvalues *v, struct mr_error *err)
{
    size_t n;
    enum mr_walk_step step = mr_walk_on(&v->walk, v->text, &n);
    enum mr_status status = keep(v, n, err);

    if (status != MR_OK)
        return status;
    if (step == MR_WALK_FAULT)
        return fail_syntax(v, err);
    if (step == MR_WALK_ENDED)
        v->place = AFTER_ITEM;
    return MR_OK;
}

static enum mr_status begin_item(struct mr_jsonvalues *v, struct mr_error *err)
{
    uint8_t c = *v->text.p;

    if (c == ']' && v->place == FIRST_ITEM) {
        close_level(v);
        return MR_OK;
    }
    if (c == ']' || c == '}' || c == ',')
        return fail_syntax(v, err);
    begin_value(v, MR_WALK_BRACKETS);
    v->place = ITEM;
    return MR_OK;
}

static enum mr_status end_item(struct mr_jsonvalues *v, struct mr_error *err)
{
    uint8_t c = *v->text.p;
    enum mr_status status;

    if (c == '}')
        return fail_syntax(v, err);
    if (c != ',' && c != ']') {
        /* Another value, and it does not belong there. */
        v->place = ITEM;
        return add_text(v, " ", 1, err);
    }
    status = end_value(v, err);
    if (c == ']') {
        close_level(v);
    } else {
        drop(v, 1);
        v->place = NEXT_ITEM;
    }
    return status;
}

/* Expect a byte, and go on behind it. */
static enum mr_status expect(
    struct mr_jsonvalues *v, uint8_t c, enum place next, struct mr_error *err)
{
    if (*v->text.p != c)
        return fail_syntax(v, err);
    drop(v, 1);
    v->place = next;
    return MR_OK;
}

static enum mr_status begin_key(struct mr_jsonvalues *v, struct mr_error *err)
{
    mr_walk_begin(&v->walk, MR_WALK_WHOLE, MR_JSON_DEPTH_MAX);
    v->n_key = 0;
    if (*v->text.p == '"') {
        size_t n;

        (void)mr_walk_on(&v->walk, (struct mr_span){v->text.p, 1}, &n);
    }
    return expect(v, '"', IN_KEY, err);
}

/* Between tokens of the document, at a byte that is no white space. */
static enum mr_status step_token(struct mr_jsonvalues *v, struct mr_error *err)
{
    bool ends = *v->text.p == '}';

    switch (v->place) {
    case START:
        return begin_document(v, err);
    case MEMBER:
        return ends ? end_object(v, err) : begin_key(v, err);
    case KEY:
        return begin_key(v, err);
    case COLON:
        return expect(v, ':', MEMBER_VALUE, err);
    case MEMBER_VALUE:
        return begin_member(v, err);
    case AFTER_MEMBER:
        return ends ? end_object(v, err) : expect(v, ',', KEY, err);
    case FIRST_ITEM:
    case NEXT_ITEM:
        return begin_item(v, err);
    case AFTER_ITEM:
        return end_item(v, err);
    default:
        return mr_fail(err, MR_FORMAT, v->offset,
            "where there are several documents, say 'format: json-values'",
            "there is text behind the document's end");
    }
}

static enum mr_status step_document(
    struct mr_jsonvalues *v, struct mr_error *err)
{
    if (v->place == IN_KEY)
        return step_key(v, err);
    if (v->place == SKIPPED)
        return step_skipped(v, err);
    if (v->place == ITEM)
        return step_item(v, err);
    skip_white(v);
    return v->text.n > 0 ? step_token(v, err) : MR_OK;
}

/* The stream has ended. */
static enum mr_status finish(struct mr_jsonvalues *v, struct mr_error *err)
{
    if (v->spec->format == MR_INPUT_JSON_ARRAY) {
        if (v->place == END)
            return MR_OK;
        return mr_fail(err, MR_FORMAT, v->offset, repair, "%s",
            v->place == START ? "there is no document"
                              : "the document ends too soon");
    }
    v->place = BETWEEN;
    return v->open ? end_value(v, err) : MR_OK;
}

/* ---- blocks ---- */

static struct mr_line_block stand_for(
    struct mr_jsonvalues *v, uint64_t offset, uint64_t to)
{
    struct mr_line_block block = {.offset = offset, .bytes = to - v->told};

    v->told = to;
    return block;
}

/* A block of the lines in out; where they begin is put behind them. */
static enum mr_status give_lines(struct mr_jsonvalues *v, uint64_t to,
    struct mr_line_block *block, struct mr_error *err)
{
    static const uint8_t zeros[sizeof(uint64_t)];
    struct mr_buffer *out = v->out;
    size_t n = out->n;

    *block = stand_for(v, v->offset, to);
    if (n == 0)
        return MR_OK;
    if (mr_buffer_add(out, zeros, -n % sizeof(uint64_t)) != MR_OK ||
        mr_buffer_add(out, v->starts.p, v->starts.n) != MR_OK)
        return mr_fail_nomem(err);
    block->text = (struct mr_span){out->p, n};
    block->starts = (const void *)(out->p + (out->n - v->starts.n));
    block->offset = block->starts[0];
    return MR_OK;
}

/* A value that needs a block of its own: now, or after the lines before. */
static enum mr_status give_alone(
    struct mr_jsonvalues *v, struct mr_line_block *block, struct mr_error *err)
{
    struct mr_span text = {v->out->p + v->line, v->out->n - v->line};
    bool too_long = v->lost;
    enum mr_status status = MR_OK;

    v->alone = false;
    if (v->line > 0) {
        v->waiting.n = 0;
        if (mr_buffer_add(&v->waiting, text.p, text.n) != MR_OK)
            return mr_fail_nomem(err);
        v->out->n = v->line;
        status = give_lines(v, v->start, block, err);
        v->has_waiting = true;
        block = &v->unborn;
    }
    *block = stand_for(v, v->start, v->offset);
    block->text = text;
    block->too_long = too_long;
    block->has_end = true;
    block->whole = !too_long;
    return status;
}

static enum mr_status give_waiting(
    struct mr_jsonvalues *v, struct mr_line_block *block, struct mr_error *err)
{
    if (mr_buffer_add(v->out, v->waiting.p, v->waiting.n) != MR_OK)
        return mr_fail_nomem(err);
    v->has_waiting = false;
    *block = v->unborn;
    block->text.p = v->out->p;
    return MR_OK;
}

/* Whether there is a block to give. */
static bool is_ready(const struct mr_jsonvalues *v)
{
    return v->alone || (!v->open && v->out->n >= MR_LINES_BLOCK / 2);
}

enum mr_status mr_jsonvalues_next(struct mr_jsonvalues *v,
    struct mr_buffer *buffer, struct mr_line_block *block_out,
    struct mr_error *err)
{
    bool values = v->spec->format == MR_INPUT_JSON_VALUES;
    enum mr_status status = MR_OK;

    v->out = buffer;
    v->starts.n = buffer->n = 0;
    if (v->has_waiting)
        return give_waiting(v, block_out, err);
    if (mr_buffer_reserve(buffer, MR_LINES_BLOCK) != MR_OK)
        return mr_fail_nomem(err);
    while (status == MR_OK && !is_ready(v)) {
        status = fill(v, err);
        if (status == MR_OK && v->text.n == 0) {
            status = finish(v, err);
            break;
        }
        if (status == MR_OK)
            status = (values ? step_values : step_document)(v, err);
    }
    if (status != MR_OK)
        return status;
    return v->alone ? give_alone(v, block_out, err)
                    : give_lines(v, v->offset, block_out, err);
}
