#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <stdlib.h>
#include <string.h>

/*
 * What the events of a type have as attributes.  A type has a schema, drawn
 * from its number: the same members in the same order in each of its events,
 * two of them optional, in some types one an array of varying length.  Values
 * vary.  A small share of events has members of its own besides.
 *
 * Values come from a pool of fragments that are written once, many of each
 * form, so that an event costs a handful of copies; what is never the same
 * twice in a real log, UUIDs and base64, is written anew each time.
 */

#define POOL_MIN_BYTES (UINT64_C(256) << 10)
#define POOL_MAX_BYTES (UINT64_C(24) << 20)
/* Longer than any fragment. */
#define FRAGMENT_ROOM 8192
/* Events with more bytes of attributes than this have long text and lists. */
#define LARGE_BYTES 1500
#define MEMBERS_MAX 32
#define EXTRA_MAX 3

enum { DRAW_LOW = 210, DRAW_ODD = 250, DRAW_EXTRA = 260 };

static const char *const words[] = {"account", "added", "after", "again",
    "alert", "amber", "apple", "archive", "arrow", "autumn", "balance",
    "banner", "basic", "basket", "beacon", "before", "better", "blue", "board",
    "border", "bottle", "bright", "browse", "button", "cable", "camera",
    "campaign", "cancel", "candle", "carbon", "cart", "catalog", "chair",
    "change", "choice", "city", "classic", "clear", "click", "cloud", "coffee",
    "collect", "color", "compact", "confirm", "copper", "corner", "cotton",
    "count", "country", "cover", "credit", "current", "daily", "danger", "data",
    "delivery", "deluxe", "desk", "detail", "digital", "direct", "discount",
    "display", "door", "double", "download", "dragon", "dream", "drive",
    "early", "eastern", "edge", "editor", "email", "engine", "entry", "error",
    "event", "every", "exact", "export", "extra", "fabric", "family", "fast",
    "feature", "field", "filter", "final", "finish", "first", "flash", "flower",
    "follow", "forest", "format", "forward", "fresh", "front", "garden",
    "gentle", "gift", "glass", "global", "golden", "grand", "green", "group",
    "guest", "handle", "harbor", "header", "heavy", "hidden", "history",
    "holiday", "honey", "house", "image", "import", "index", "inner", "input",
    "invoice", "island", "item", "jacket", "joint", "journey", "kettle",
    "kitchen", "label", "lamp", "large", "later", "launch", "leather", "letter",
    "level", "light", "limit", "linen", "list", "little", "local", "lock",
    "lucky", "lunch", "magnet", "mail", "maker", "manual", "marble", "market",
    "master", "matter", "meadow", "medium", "member", "message", "metal",
    "minute", "mirror", "mobile", "model", "modern", "moment", "monthly",
    "morning", "motor", "mountain", "native", "network", "never", "night",
    "normal", "notice", "number", "ocean", "offer", "office", "online", "open",
    "option", "orange", "order", "origin", "outdoor", "outer", "output",
    "owner", "packet", "page", "paint", "panel", "paper", "parcel", "partner",
    "party", "payment", "pencil", "people", "picture", "pillow", "plain",
    "planet", "plastic", "player", "point", "portal", "postal", "premium",
    "press", "price", "print", "private", "product", "profile", "public",
    "purple", "quick", "quiet", "radio", "random", "rapid", "reader", "ready",
    "recent", "record", "refund", "region", "release", "remote", "render",
    "repeat", "report", "return", "review", "ribbon", "river", "rocket",
    "royal", "sample", "scale", "screen", "search", "season", "second",
    "secure", "select", "seller", "service", "shadow", "share", "shelf",
    "shipping", "short", "signal", "silver", "simple", "single", "size",
    "small", "smart", "smooth", "social", "solid", "sound", "source", "special",
    "speed", "spring", "square", "stable", "standard", "start", "status",
    "steel", "stock", "store", "stream", "street", "string", "strong", "studio",
    "style", "summer", "supply", "switch", "system", "table", "target",
    "ticket", "timber", "title", "today", "token", "topic", "total", "touch",
    "tower", "track", "travel", "trial", "union", "update", "upload", "urban",
    "valley", "value", "vector", "velvet", "vendor", "video", "view", "village",
    "vintage", "visit", "voice", "wallet", "warm", "watch", "water", "weekly",
    "window", "winter", "wooden", "yellow", "yesterday"};

#define N_WORDS (sizeof words / sizeof *words)

/* As they stand inside a JSON string. */
static const char *const odd_words[] = {"Zürich", "São Paulo", "東京", "😀",
    "\\\"quoted\\\"", "\\u00e9t\\u00e9", "\\ud83d\\ude00", "line\\nbreak",
    "a\\/b", "back\\\\slash", "tab\\tstop", "naïve", "{brace}", "[1,2]",
    "a:b,c", "\\u0022}", "Ελλάδα", "\\\\"};

/* Members without their braces.  %w word, %s sentence, %l long text, %n and
 * %i whole numbers below 1000 and 1000000, %f price, %h 8 hex digits, %b
 * boolean, %z null or a string; %u a new UUID, %o one that is the user's own,
 * of which a form has one at most; %p a UUID that others have too. */
static const char *const small_fragments[] = {
    "\"amount\":%f,\"currency\":\"EUR\",\"items\":%n,\"coupon\":%z",
    "\"page_url\":\"https://www.shop.example/%w/%w-%i?utm_source=%w\"",
    "\"landing_url\":\"https://www.shop.example/%w\",\"referrer\":"
    "\"https://www.%w.example/%w/%w-%w\"",
    "\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/%n.0.0.0 Safari/537.36\"",
    "\"client\":\"Mozilla/5.0 (iPhone; CPU iPhone OS 17_%n like Mac OS "
    "X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148\"",
    "\"session_id\":\"%o\",\"page\":\"/%w/%w-%i\",\"visible\":%b",
    "\"device_id\":\"%o\",\"ip\":\"10.%n.%n.%n\",\"language\":\"en\"",
    "\"device\":{\"os\":\"%w\",\"version\":\"%n.%n\",\"screen\":[%n,%n]}",
    "\"product_id\":\"%p\",\"price\":%f,\"in_stock\":%b",
    "\"query\":\"%w %w\",\"results\":%n,\"took_ms\":%n",
    "\"geo\":{\"lat\":4%n.%n,\"lon\":-%n.%n,\"city\":\"%w\"}",
    "\"experiment\":{\"id\":\"%h\",\"variant\":\"%w\",\"control\":%b}",
    "\"tags\":[\"%w\",\"%w\",\"%w\"],\"score\":0.%n",
    "\"visit\":\"%h\",\"step\":%n,\"first\":%b",
    "\"actor\":{\"id\":\"%h\",\"type\":\"%w\",\"user_id\":%i}",
    "\"note\":\"%s\"",
    "\"ratio\":%ne-3,\"delta\":-%n.%nE+2,\"none\":null,\"empty\":[]",
};
#define N_SMALL (sizeof small_fragments / sizeof *small_fragments)

static const char *const large_fragments[] = {
    "\"sku\":\"%h-%n\",\"title\":\"%s\",\"description\":\"%l\",\"price\":{"
    "\"value\":%f,\"currency\":\"EUR\",\"vat\":%n,\"discounts\":[%n,%n]},"
    "\"stock\":{\"warehouse\":\"%w\",\"left\":%n,\"reserved\":%n}",
    "\"ad\":{\"campaign\":\"%w_%w_%n\",\"creative\":\"%u\",\"slot\":%n},"
    "\"url\":\"https://shop.example/%w/%w-%w-%i?ref=%w&page=%n\","
    "\"viewport\":[%n,%n,%n,%n],\"seen\":%b,\"clicked\":%b,\"after_ms\":%i,"
    "\"headline\":\"%s\"",
    "\"address\":{\"street\":\"%w %w %n\",\"city\":\"%s\",\"zip\":\"%i\","
    "\"country\":\"%w\",\"geo\":{\"lat\":%f,\"lon\":%f}},\"phone\":\"+%i%i\","
    "\"kind\":\"%w\",\"verified\":%b,\"remarks\":\"%l\"",
    "\"request\":{\"id\":\"%u\",\"method\":\"GET\",\"path\":\"/api/v%n/%w/%i\","
    "\"headers\":{\"accept\":\"*/*\",\"x-request\":\"%h\",\"x-zone\":\"%w\"},"
    "\"status\":%n,\"bytes\":%i,\"took_us\":%i},\"retry\":%b,\"error\":%z",
    "\"model\":{\"name\":\"%w-%w\",\"version\":%n,\"features\":{\"a\":0.%i,"
    "\"b\":0.%i,\"c\":-%n.%i,\"d\":%ne-3,\"e\":%f,\"f\":%i},\"score\":0.%i},"
    "\"candidates\":[{\"id\":%i,\"p\":0.%i},{\"id\":%i,\"p\":0.%i},"
    "{\"id\":%i,\"p\":0.%i}],\"explain\":\"%s\"",
    "\"message\":{\"id\":\"%u\",\"thread\":\"%h\",\"subject\":\"%s\","
    "\"body\":\"%l %l\",\"attachments\":[{\"name\":\"%w.pdf\",\"size\":%i}],"
    "\"read\":%b}",
    "\"cart\":{\"id\":\"%u\",\"lines\":[{\"sku\":\"%w-%n\",\"n\":%n,\"price\":%"
    "f},"
    "{\"sku\":\"%w-%n\",\"n\":%n,\"price\":%f},{\"sku\":\"%w-%n\",\"n\":%n,"
    "\"price\":%f}],\"shipping\":{\"method\":\"%w\",\"price\":%f},"
    "\"coupon\":%z,\"gift\":%b,\"wrap\":null}",
    "\"data\":{\"id\":\"%u\",\"type\":\"%w\",\"attributes\":{\"user_id\":"
    "\"%h\",\"name\":\"%s\",\"created_at\":%i}},\"meta\":{\"created_at\":%i,"
    "\"trace\":\"%h\",\"hosts\":[\"%w-%n\",\"%w-%n\"]},\"text\":\"%l\"",
};
#define N_LARGE (sizeof large_fragments / sizeof *large_fragments)

/* Members of an array, whole. */
static const char *const item_forms[] = {
    "{\"sku\":\"%w-%n\",\"qty\":%n,\"price\":%f}",
    "\"%w\"",
    "{\"id\":\"%p\",\"rank\":%n}",
    "%i",
};
#define N_ITEM (sizeof item_forms / sizeof *item_forms)

#define IMAGE                                                                  \
    "<div id=\\\"%w-%n\\\"><img "                                              \
    "src=\\\"https://cdn.shop.example/%h/%h.jpg\\\" "                          \
    "alt=\\\"%w %w\\\"/>"

/* What long text is put together from, inside a string. */
static const char *const text_forms[] = {
    "%s. ",
    "%l. ",
    "%l.\\n\\n",
    "<p class=\\\"%w\\\">%l</p>\\n",
    "<li><a href=\\\"https://www.shop.example/%w/%w-%i?ref=%w\\\">%s</a></li>",
    IMAGE "%s</div>\\n",
};
#define N_TEXT (sizeof text_forms / sizeof *text_forms)
#define N_PROSE 3

static const char *const text_keys[] = {
    "description", "body", "content", "summary", "transcript", "terms"};
#define N_TEXT_KEYS (sizeof text_keys / sizeof *text_keys)

enum pool { SMALL, LARGE, ITEM, TEXT, POOLS };
static const struct {
    const char *const *forms;
    unsigned n_forms, about_bytes;
} pools[POOLS] = {
    [SMALL] = {small_fragments, N_SMALL, 70},
    [LARGE] = {large_fragments, N_LARGE, 420},
    [ITEM] = {item_forms, N_ITEM, 30},
    [TEXT] = {text_forms, N_TEXT, 120},
};

struct span {
    uint32_t at;
    uint16_t n;
    uint16_t uuid; /* where a UUID goes, or 0; OWN: the user's */
};
#define OWN 0x8000

enum kind { FRAGMENT, LIST, PROSE, HTML, BLOB };

struct member {
    enum kind kind;
    enum pool pool;
    unsigned form;
    unsigned percent; /* of the events that have it */
    uint64_t bytes;   /* of text, about; of a list: members, about */
};

struct schema {
    unsigned n;
    uint32_t used; /* small forms, by bit */
    struct member member[MEMBERS_MAX];
};

struct gen_schemas {
    const struct gen_options *o;
    struct gen_buffer text;
    struct span *span[POOLS]; /* [form * n_each + variant] */
    uint64_t n_each[POOLS];
    uint32_t mean[POOLS][32]; /* bytes of a form */
    struct schema *schema;
};

/* ---- the pool ---- */

/* Common words come first here: the product of two draws falls off as words
 * of a language do. */
static size_t some_word(uint64_t x)
{
    return gen_below(x, gen_below(x << 32, N_WORDS) + 1);
}

/* Phrases, so to say: after a word comes one of two that belong to it. */
static void put_words(struct gen_buffer *b, uint64_t *state, uint64_t n)
{
    size_t word = some_word(gen_next(state));

    for (uint64_t i = 0; i < n; i++) {
        uint64_t x = gen_next(state);

        if (i > 0)
            b->p[b->n++] = ' ';
        if ((x & 63) == 0)
            gen_put_text(
                b, odd_words[gen_below(x, sizeof odd_words / sizeof(char *))]);
        else
            gen_put_text(b, words[word]);
        if ((x >> 6 & 15) == 0)
            word = some_word(gen_next(state));
        else
            word = some_word(gen_mix(2 * word + (x >> 9 & 1)));
    }
}

static void fill_mark(struct gen_buffer *b, char mark, uint64_t *state)
{
    uint64_t x = gen_next(state);

    switch (mark) {
    case 'w':
        gen_put_text(b, words[some_word(x)]);
        break;
    case 's':
        put_words(b, state, 3 + gen_below(x, 6));
        break;
    case 'l':
        put_words(b, state, 12 + gen_below(x, 25));
        break;
    case 'n':
        /* Round and small numbers are the most common. */
        gen_put_number(b, x & 7 ? 5 * (x >> 3 & 7) : gen_below(x, 1000));
        break;
    case 'i':
        gen_put_number(b, x & 7 ? 1000 * (1 + (x >> 3 & 15)) + (x >> 8 & 3)
                                : gen_below(x, 1000000));
        break;
    case 'f':
        gen_put_number(b, x & 7 ? 10 * (x >> 3 & 7) + 9 : gen_below(x, 500));
        gen_put_text(b, x & 6 ? ".99" : ".5");
        break;
    case 'u':
    case 'o':
    case 'p':
        gen_put_uuid(b, x, gen_next(state));
        break;
    case 'h':
        gen_put_hex(b, x, 4);
        break;
    case 'b':
        gen_put_text(b, x >> 63 ? "true" : "false");
        break;
    case 'z':
        gen_put_text(b, x >> 63 ? "null" : "\"none\"");
        break;
    default:
        gen_die("no such mark: %c", mark);
    }
}

static struct span make_fragment(
    struct gen_buffer *b, const char *form, uint64_t *state)
{
    size_t at = b->n, uuid = 0;

    gen_buffer_room(b, FRAGMENT_ROOM);
    for (; *form; form++) {
        if (*form != '%') {
            b->p[b->n++] = *form;
            continue;
        }
        form++;
        if (*form == 'u' || *form == 'o')
            uuid = (b->n - at) | (*form == 'o' ? OWN : 0);
        fill_mark(b, *form, state);
    }
    return (struct span){(uint32_t)at, (uint16_t)(b->n - at), (uint16_t)uuid};
}

static void make_pool(struct gen_schemas *s, enum pool pool, uint64_t bytes)
{
    uint64_t state = gen_mix(s->o->seed + 77 + pool);
    uint64_t n_forms = pools[pool].n_forms;
    uint64_t n = bytes / (n_forms * pools[pool].about_bytes) + 1;

    s->n_each[pool] = n;
    s->span[pool] = gen_alloc(n_forms * n, sizeof *s->span[pool]);
    for (uint64_t form = 0; form < n_forms; form++) {
        size_t from = s->text.n;

        for (uint64_t i = 0; i < n; i++)
            s->span[pool][form * n + i] =
                make_fragment(&s->text, pools[pool].forms[form], &state);
        s->mean[pool][form] = (uint32_t)((s->text.n - from) / n);
    }
}

/* ---- schemas ---- */

static struct member *add_member(
    struct schema *c, enum kind kind, enum pool pool, unsigned form)
{
    struct member *m = &c->member[c->n++];

    *m = (struct member){.kind = kind, .pool = pool, .form = form};
    m->percent = 100;
    return m;
}

/* Small members until there are most of them, or about so many bytes. */
static int64_t add_small(const struct gen_schemas *s, struct schema *c,
    uint64_t x, unsigned most, int64_t bytes)
{
    static const unsigned char often[8] = {50, 80, 20, 95, 50, 10, 70, 30};
    unsigned first = c->n;
    uint64_t form = x % N_SMALL, step = 1 + (x >> 8) % (N_SMALL - 1);

    while (c->n - first < most && c->n - first < N_SMALL) {
        int64_t size = s->mean[SMALL][form] + 1;
        unsigned percent = 100, place = c->n - first;

        if (place == 1 || place == 3)
            percent = often[x >> (16 + place) & 7];
        if (bytes < size / 2)
            break;
        add_member(c, FRAGMENT, SMALL, (unsigned)form)->percent = percent;
        c->used |= UINT32_C(1) << form;
        bytes -= size * percent / 100;
        form = (form + step) % N_SMALL;
    }
    return bytes;
}

static void add_large(const struct gen_schemas *s, struct schema *c,
    uint64_t type, uint64_t x, int64_t bytes)
{
    unsigned form = (unsigned)(x >> 24) % N_LARGE, n_text = 2 + (x >> 32 & 1);
    int64_t text, list;

    bytes = add_small(s, c, x, 3 + (x >> 28 & 3), bytes);
    text = bytes * 60 / 100;
    for (unsigned i = 0; i < n_text; i++) {
        enum kind kind = (x >> (33 + i) & 1) ? HTML : PROSE;
        unsigned key = (unsigned)((x >> 40) + i) % N_TEXT_KEYS;

        if (i == 0 && type % 4 == 1)
            kind = BLOB;
        add_member(c, kind, TEXT, key)->bytes = (uint64_t)(text / n_text);
    }
    bytes -= text;
    for (int i = 0; i < 2 && bytes > 0; i++) {
        add_member(c, FRAGMENT, LARGE, form);
        bytes -= s->mean[LARGE][form];
        form = (form + 1) % N_LARGE;
    }
    list = bytes / (s->mean[LARGE][form] + 10);
    add_member(c, LIST, LARGE, form)->bytes = list > 1 ? (uint64_t)list : 1;
}

static void make_schema(
    const struct gen_schemas *s, struct schema *c, uint64_t type, int64_t bytes)
{
    uint64_t x = gen_mix(gen_mix(s->o->seed + 13) + type);
    unsigned form = (unsigned)(x >> 48) % N_ITEM;

    /* Some types are longer, some are shorter. */
    bytes = bytes * (int64_t)(85 + (x >> 52) % 31) / 100;
    if (bytes > LARGE_BYTES) {
        add_large(s, c, type, x, bytes);
        return;
    }
    if (type % 4 == 2 && bytes > 120) {
        uint64_t n = 2 + (x >> 60 & 1);

        bytes -= (int64_t)(n * s->mean[ITEM][form] + 10);
        bytes = add_small(s, c, x, 2, bytes);
        add_member(c, LIST, ITEM, form)->bytes = n;
    }
    add_small(s, c, x >> 4, N_SMALL - 2, bytes);
}

struct gen_schemas *gen_schemas_new(
    const struct gen_options *o, const uint32_t *other_bytes)
{
    struct gen_schemas *s = gen_alloc(1, sizeof *s);
    uint64_t bytes = o->events * o->event_bytes / 16;
    bool large = o->event_bytes > LARGE_BYTES;

    /* The pool grows with the lake, so that it does not repeat too soon. */
    if (bytes < POOL_MIN_BYTES)
        bytes = POOL_MIN_BYTES;
    if (bytes > POOL_MAX_BYTES)
        bytes = POOL_MAX_BYTES;
    s->o = o;
    make_pool(s, SMALL, bytes / 4);
    make_pool(s, ITEM, bytes / 8);
    make_pool(s, LARGE, large ? bytes / 4 : 1);
    make_pool(s, TEXT, large ? bytes / 4 : 1);
    s->schema = gen_alloc(o->types, sizeof *s->schema);
    for (uint64_t i = 0; i < o->types; i++)
        make_schema(s, &s->schema[i], i,
            (int64_t)o->event_bytes - (int64_t)other_bytes[i]);
    return s;
}

void gen_schemas_free(struct gen_schemas *s)
{
    for (int i = 0; i < POOLS; i++)
        free(s->span[i]);
    free(s->schema);
    free(s->text.p);
    free(s);
}

/* ---- events ---- */

static void put_fragment(const struct gen_schemas *s, enum pool pool,
    unsigned form, const struct gen_event *e, uint64_t x, struct gen_buffer *b)
{
    uint64_t n = s->n_each[pool];
    const struct span *list = s->span[pool] + form * n, *one;
    size_t at = b->n;

    /* What is popular stands in many lines. */
    one = &list[gen_below(x, (x & 7) < 3 && n > 3 ? 3 : n)];
    gen_put(b, s->text.p + one->at, one->n);
    if (one->uuid) {
        uint64_t own = gen_draw(gen_mix(s->o->seed + 4) + e->user, form);
        uint64_t high = one->uuid & OWN ? own : gen_mix(x);

        b->n = at + (one->uuid & (OWN - 1));
        gen_put_uuid(b, high, gen_mix(high + 1));
        b->n = at + one->n;
    }
}

static void put_list(const struct gen_schemas *s, const struct member *m,
    const struct gen_event *e, uint64_t state, struct gen_buffer *b)
{
    uint64_t mean = m->bytes, n;

    /* Small ones from none on; large ones do not vary in every type. */
    if (m->pool == ITEM)
        n = gen_below(gen_next(&state), 2 * mean + 1);
    else if (e->type & 1)
        n = mean - mean / 2 + gen_below(gen_next(&state), 2 * (mean / 2) + 1);
    else
        n = mean;
    gen_put_text(b, m->pool == ITEM ? "\"list\":[" : "\"entries\":[");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t x = gen_next(&state);

        if (i > 0)
            b->p[b->n++] = ',';
        if (m->pool == ITEM) {
            put_fragment(s, ITEM, m->form, e, x, b);
            continue;
        }
        gen_put_text(b, "{\"n\":");
        gen_put_number(b, x & 0xfffff);
        b->p[b->n++] = ',';
        put_fragment(s, LARGE, m->form, e, x, b);
        b->p[b->n++] = '}';
    }
    b->p[b->n++] = ']';
}

static void put_base64(struct gen_buffer *b, size_t end, uint64_t state)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    while (b->n + 8 < end) {
        uint64_t x = gen_next(&state);

        for (int i = 0; i < 8; i++, x >>= 6)
            b->p[b->n++] = digits[x & 63];
    }
    gen_put_text(b, "==");
}

static void put_long_text(const struct gen_schemas *s, const struct member *m,
    const struct gen_event *e, uint64_t state, struct gen_buffer *b)
{
    size_t end = m->bytes / 2 + gen_below(gen_next(&state), m->bytes + 1);

    b->p[b->n++] = '"';
    gen_put_text(b, text_keys[m->form]);
    gen_put_text(b, "\":\"");
    end += b->n;
    if (m->kind == BLOB) {
        put_base64(b, end, state);
    } else {
        while (b->n < end) {
            uint64_t x = gen_next(&state);
            unsigned form = (unsigned)(x >> 8) % N_PROSE;

            if (m->kind == HTML)
                form += N_TEXT - N_PROSE;
            put_fragment(s, TEXT, form, e, x, b);
        }
    }
    b->p[b->n++] = '"';
}

/* Members that no other event of the type has, by their number. */
static bool put_extra(const struct gen_schemas *s, const struct gen_event *e,
    unsigned i, struct gen_buffer *b)
{
    const struct schema *c = &s->schema[e->type];
    uint64_t x = gen_draw(e->hash, DRAW_EXTRA);
    unsigned form = (unsigned)(x % N_SMALL + i) % N_SMALL;

    if (i > (x >> 60) % EXTRA_MAX || c->used >> form & 1)
        return false;
    put_fragment(s, SMALL, form, e, gen_draw(e->hash, DRAW_EXTRA + 1 + i), b);
    return true;
}

unsigned gen_schema_members(
    const struct gen_schemas *s, const struct gen_event *e)
{
    unsigned n = s->schema[e->type].n;

    if (s->o->odd_shape > 0 &&
        gen_below(gen_draw(e->hash, DRAW_ODD), 100) < s->o->odd_shape)
        n += EXTRA_MAX;
    return n;
}

bool gen_schema_put(const struct gen_schemas *s, const struct gen_event *e,
    unsigned i, struct gen_buffer *b)
{
    const struct schema *c = &s->schema[e->type];
    const struct member *m = &c->member[i];
    uint64_t x = gen_draw(e->hash, DRAW_LOW + i);

    if (i >= c->n)
        return put_extra(s, e, i - c->n, b);
    if (m->percent < 100 && gen_below(x << 32, 100) >= m->percent)
        return false;
    if (m->kind == FRAGMENT)
        put_fragment(s, m->pool, m->form, e, x, b);
    else if (m->kind == LIST)
        put_list(s, m, e, x, b);
    else
        put_long_text(s, m, e, x, b);
    return true;
}
