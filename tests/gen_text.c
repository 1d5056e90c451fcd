#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Text is put together from pieces made beforehand: a template for each
 * event type with holes for what differs, and a pool of attributes that
 * compress like those of a real log.  What is left per event is a handful of
 * copies, two UUIDs and a number.
 *
 * Holes of lines are written $x, of the pool's fragments %x; see fill_hole
 * and fill_mark.
 */

#define PIECES_MAX 16
#define POOL_MIN_BYTES (UINT64_C(128) << 10)
#define POOL_MAX_BYTES (UINT64_C(24) << 20)
#define TOO_LONG_BYTES ((UINT64_C(16) << 20) + 1)
/* Containers inside "attributes" that make 1025 with those around it. */
#define DEEP_INSIDE 1022
/* More than any line takes besides its filler and TOO_LONG_BYTES. */
#define LINE_ROOM 16384

enum { DRAW_LOW = 200, DRAW_SIZE, DRAW_BAD, DRAW_USER, DRAW_TRACE };
enum { DRAW_FILLER = 300 };

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

static const char *const nouns[] = {"user", "order", "cart", "payment",
    "product", "page", "search", "message", "profile", "address", "invoice",
    "shipment", "refund", "review", "coupon", "device", "session", "email",
    "campaign", "banner", "chat", "listing", "wishlist", "subscription"};
static const char *const verbs[] = {"created", "updated", "deleted", "viewed",
    "opened", "closed", "added", "removed", "sent", "received", "failed",
    "started", "finished", "clicked", "shared", "confirmed"};

/* Some types have names that a folder's name must escape, so that
 * "type=order%2Fsent" stands for them. */
void gen_type_name(uint64_t type, char *out, size_t size)
{
    static const char *const between[16] = {"_", "_", "_", ".", "_", "/", "_",
        "-", "_", " ", "_", "_", "_", "_é_", "_", "%"};
    uint64_t noun = type % 24, verb = (type / 24 + type) % 16;

    if (type < 384)
        snprintf(
            out, size, "%s%s%s", nouns[noun], between[type % 16], verbs[verb]);
    else
        snprintf(out, size, "%s%s%s_v%llu", nouns[noun], between[type % 16],
            verbs[verb], (unsigned long long)(type / 384 + 1));
}

/* Members without their braces.  %w word, %s sentence, %l long text, %n and
 * %i whole numbers below 1000 and 1000000, %f price, %u UUID, %h 8 hex
 * digits, %b boolean, %z null or a string, %t a time of day. */
static const char *const small_fragments[] = {
    "\"amount\":%f,\"currency\":\"EUR\",\"items\":%n,\"coupon\":%z",
    "\"page_url\":\"https://www.shop.example/%w/%w-%i?utm_source=%w\"",
    "\"page_url\":\"https://www.shop.example/%w\",\"referrer\":"
    "\"https://www.%w.example/%w/%w-%w\"",
    "\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/%n.0.0.0 Safari/537.36\"",
    "\"user_agent\":\"Mozilla/5.0 (iPhone; CPU iPhone OS 17_%n like Mac OS "
    "X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148\"",
    "\"session_id\":\"%u\",\"page\":\"/%w/%w-%i\",\"visible\":%b",
    "\"device_id\":\"%u\",\"ip\":\"10.%n.%n.%n\",\"language\":\"en\"",
    "\"device\":{\"os\":\"%w\",\"version\":\"%n.%n\",\"screen\":[%n,%n]}",
    "\"product_id\":\"%u\",\"price\":%f,\"in_stock\":%b",
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

/* How the lines of a type look.  $i id, $t type, $a attributes, $m time,
 * $s service, $r trace. */
static const char *const line_forms[] = {
    "{\"data\":{\"id\":\"$i\",\"type\":\"$t\",\"attributes\":{$a}},"
    "\"meta\":{\"created_at\":$m,\"service\":\"$s\"}}",
    "{\"meta\":{\"created_at\":$m,\"service\":\"$s\",\"trace\":\"$r\"},"
    "\"data\":{\"type\":\"$t\",\"id\":\"$i\",\"attributes\":{$a}}}",
    "{\"data\": {\"id\": \"$i\", \"type\": \"$t\", \"attributes\": {$a}}, "
    "\"meta\": {\"created_at\": $m, \"service\": \"$s\"}}",
    "{\"data\":{\"attributes\":{$a},\"id\":\"$i\",\"type\":\"$t\"},"
    "\"meta\":{\"service\":\"$s\",\"created_at\":\"$m\",\"version\":2}}",
    "{ \"meta\" :\t{ \"created_at\" : $m.75 , \"tags\" : [ ] } ,\t\"data\" :"
    " { \"id\" : \"$i\" , \"type\" : \"$t\" , \"attributes\" : { $a } } }",
    "{\"schema\":{\"data\":{\"id\":1},\"v\":[2,0]},\"meta\":{\"service\":"
    "\"$s\",\"cr\\u0065ated_at\":$m},\"data\":{\"type\":\"$t\",\"attributes\":"
    "{$a},\"id\":\"$i\"},\"end\":null}",
};
#define N_FORMS (sizeof line_forms / sizeof *line_forms)
static const unsigned char form_of_type[16] = {
    0, 1, 0, 2, 0, 3, 0, 2, 1, 0, 4, 1, 0, 5, 1, 2};

#define BAD_DATA "\"data\":{\"id\":\"$i\",\"type\":\"$t\","
#define BAD_HEAD "{" BAD_DATA "\"attributes\":{$u"
#define BAD_TAIL "}},\"meta\":{\"created_at\":$m}}"
#define BAD_META ",\"meta\":{\"created_at\":$m}}"
#define BAD_TIME "{" BAD_DATA "\"attributes\":{$u}},\"meta\":"
#define BAD_USER "{" BAD_DATA "\"attributes\":{\"user_id\":"

/* Lines that are no events; each list ends with NULL.  Besides the holes
 * above: $u a user's member, $0 a NUL, $d deep nesting, $D deeper nesting
 * that is never closed, $L a string of 1025 bytes, $B one above 16 MiB. */
static const char *const bad_lines[GEN_REASONS][20] = {
    [GEN_JSON] = {BAD_HEAD "}},\"meta\":{\"created_at\":$m",
        BAD_HEAD ",}},\"meta\":{\"created_at\":$m}}",
        BAD_HEAD ",\"ratio\":NaN" BAD_TAIL,
        BAD_HEAD ",\"name\":\"a\tb\"" BAD_TAIL,
        BAD_HEAD ",\"name\":\"\xff\"" BAD_TAIL,
        BAD_HEAD ",\"name\":\"\xc0\xaf\"" BAD_TAIL,
        BAD_HEAD ",\"name\":\"\xed\xa0\x80\"" BAD_TAIL,
        BAD_HEAD ",\"name\":\"\\ud800\"" BAD_TAIL,
        BAD_HEAD ",\"name\":\"\\x41\"" BAD_TAIL, BAD_HEAD ",\"n\":01" BAD_TAIL,
        BAD_HEAD ",\"n\":+1" BAD_TAIL, BAD_HEAD ",\"n\":1." BAD_TAIL,
        BAD_HEAD ",'n':1" BAD_TAIL, BAD_HEAD BAD_TAIL "{}",
        BAD_HEAD BAD_TAIL "]", "ERROR in thread \"main\" $i: Exception at $m",
        "$0$0$0$0", "$i", BAD_HEAD ",\"a\":\"$m" BAD_TAIL},
    [GEN_TOO_LONG] = {BAD_HEAD ",\"blob\":\"$B\"" BAD_TAIL},
    [GEN_TOO_DEEP] = {BAD_HEAD ",\"deep\":$d" BAD_TAIL,
        BAD_HEAD ",\"deep\":$D" BAD_TAIL, "$D"},
    [GEN_MISSING_ID] =
        {"{\"data\":{\"type\":\"$t\",\"attributes\":{$u" BAD_TAIL,
            "{\"data\":[\"$i\"]" BAD_META, "[\"$i\",$m]", "\"$i\"", "{}",
            "{\"data.id\":\"$i\",\"id\":\"$i\"" BAD_META},
    [GEN_MALFORMED_ID] = {"{\"data\":{\"id\":17,\"type\":\"$t\","
                          "\"attributes\":{$u" BAD_TAIL,
        "{\"data\":{\"id\":\"\",\"type\":\"$t\",\"attributes\":{$u" BAD_TAIL,
        "{\"data\":{\"id\":null,\"attributes\":{$u" BAD_TAIL},
    [GEN_MISSING_TYPE] =
        {"{\"data\":{\"id\":\"$i\",\"attributes\":{$u" BAD_TAIL,
            "{\"data\":{\"id\":\"$i\"},\"type\":\"$t\"}"},
    [GEN_MALFORMED_TYPE] = {"{\"data\":{\"id\":\"$i\",\"type\":5,"
                            "\"attributes\":{$u" BAD_TAIL,
        "{\"data\":{\"id\":\"$i\",\"type\":\"\",\"attributes\":{$u" BAD_TAIL,
        "{\"data\":{\"id\":\"$i\",\"type\":\"$L\",\"attributes\":{$u" BAD_TAIL},
    [GEN_MISSING_ATTRIBUTES] =
        {"{\"data\":{\"id\":\"$i\",\"type\":\"$t\"}" BAD_META},
    [GEN_MALFORMED_ATTRIBUTES] = {"{" BAD_DATA
                                  "\"attributes\":[{$u}]}" BAD_META,
        "{" BAD_DATA "\"attributes\":null}" BAD_META,
        "{" BAD_DATA "\"attributes\":\"{}\"}" BAD_META},
    [GEN_MISSING_TIME] = {BAD_HEAD "}}}", BAD_TIME "{}}", BAD_TIME "$m}",
        BAD_TIME "[]}", BAD_HEAD "}},\"created_at\":$m}"},
    [GEN_MALFORMED_TIME] = {BAD_TIME "{\"created_at\":null}}",
        BAD_TIME "{\"created_at\":\"\"}}", BAD_TIME "{\"created_at\":-1}}",
        BAD_TIME "{\"created_at\":\"2024-02-29T12:00:00Z\"}}",
        BAD_TIME "{\"created_at\":7258118400000}}",
        BAD_TIME "{\"created_at\":1e400}}",
        BAD_TIME "{\"created_at\":\" $m\"}}",
        BAD_TIME "{\"created_at\":$m000}}", BAD_TIME "{\"created_at\":-0.5}}",
        BAD_TIME "{\"created_at\":[$m]}}", BAD_TIME "{\"created_at\":true}}"},
    [GEN_MALFORMED_USER] = {BAD_USER "17.5" BAD_TAIL, BAD_USER "1e3" BAD_TAIL,
        BAD_USER "true" BAD_TAIL, BAD_USER "[\"$i\"]" BAD_TAIL,
        BAD_USER "{}" BAD_TAIL, BAD_USER "-0.0" BAD_TAIL},
};

struct piece {
    const char *p;
    size_t n;
    char hole; /* what follows the text; 0 at the end */
};

struct template
{
    char *text;
    struct piece piece[PIECES_MAX];
    size_t n_bytes;
    const char *user_key;
    unsigned user_place; /* first, after some filler, last */
};

struct span {
    uint32_t at, n;
};

struct gen_text {
    const struct gen_options *o;
    struct template *template;
    struct gen_buffer pool;
    struct span *small, *large;
    uint64_t n_small, n_large; /* of each form */
    char hex[256][2];
};

static void put(struct gen_buffer *b, const void *p, size_t n)
{
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_text(struct gen_buffer *b, const char *s)
{
    put(b, s, strlen(s));
}

static void put_number(struct gen_buffer *b, uint64_t x)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + x % 10);
    while ((x /= 10) > 0);
    put(b, digits + at, sizeof digits - at);
}

static void put_hex(
    const struct gen_text *t, struct gen_buffer *b, uint64_t x, int n_bytes)
{
    char *p = b->p + b->n;

    for (int i = 0; i < n_bytes; i++) {
        const char *two = t->hex[x >> 56];

        *p++ = two[0];
        *p++ = two[1];
        x <<= 8;
    }
    b->n += 2 * (size_t)n_bytes;
}

/* A version 4 UUID.  No bit of high is lost: what the version displaces goes
 * to the end. */
static void put_uuid(
    const struct gen_text *t, struct gen_buffer *b, uint64_t high, uint64_t low)
{
    char *p;

    low = (low & ~UINT64_C(15)) | (high >> 12 & 15);
    p = b->p + b->n;
    put_hex(t, b, high, 4);
    b->p[b->n++] = '-';
    put_hex(t, b, high << 32, 2);
    b->p[b->n++] = '-';
    put_hex(t, b, high << 48, 2);
    p[14] = '4';
    b->p[b->n++] = '-';
    put_hex(t, b, low, 2);
    p[19] = "89ab"[low >> 62];
    b->p[b->n++] = '-';
    put_hex(t, b, low << 16, 6);
}

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
            put_text(
                b, odd_words[gen_below(x, sizeof odd_words / sizeof(char *))]);
        else
            put_text(b, words[word]);
        if ((x >> 6 & 15) == 0)
            word = some_word(gen_next(state));
        else
            word = some_word(gen_mix(2 * word + (x >> 9 & 1)));
    }
}

static void fill_mark(
    const struct gen_text *t, struct gen_buffer *b, char mark, uint64_t *state)
{
    uint64_t x = gen_next(state);

    switch (mark) {
    case 'w':
        put_text(b, words[some_word(x)]);
        break;
    case 's':
        put_words(b, state, 3 + gen_below(x, 6));
        break;
    case 'l':
        put_words(b, state, 12 + gen_below(x, 25));
        break;
    case 'n':
        /* Round and small numbers are the most common. */
        put_number(b, x & 7 ? 5 * (x >> 3 & 7) : gen_below(x, 1000));
        break;
    case 'i':
        put_number(b, x & 7 ? 1000 * (1 + (x >> 3 & 15)) + (x >> 8 & 3)
                            : gen_below(x, 1000000));
        break;
    case 'f':
        put_number(b, x & 7 ? 10 * (x >> 3 & 7) + 9 : gen_below(x, 500));
        put_text(b, x & 6 ? ".99" : ".5");
        break;
    case 'u':
        put_uuid(t, b, x, gen_next(state));
        break;
    case 'h':
        put_hex(t, b, x, 4);
        break;
    case 'b':
        put_text(b, x >> 63 ? "true" : "false");
        break;
    case 'z':
        put_text(b, x >> 63 ? "null" : "\"none\"");
        break;
    default:
        gen_die("no such mark: %c", mark);
    }
}

static struct span make_fragment(
    struct gen_text *t, const char *form, uint64_t *state)
{
    struct gen_buffer *b = &t->pool;
    size_t at = b->n;

    gen_buffer_room(b, LINE_ROOM);
    for (; *form; form++) {
        if (*form == '%')
            fill_mark(t, b, *++form, state);
        else
            b->p[b->n++] = *form;
    }
    return (struct span){(uint32_t)at, (uint32_t)(b->n - at)};
}

static struct span *make_fragments(struct gen_text *t, const char *const *forms,
    size_t n_forms, uint64_t n_each, uint64_t *state)
{
    struct span *list = gen_alloc(n_forms * n_each, sizeof *list);

    for (size_t i = 0; i < n_forms; i++)
        for (uint64_t j = 0; j < n_each; j++)
            list[i * n_each + j] = make_fragment(t, forms[i], state);
    return list;
}

/* The pool grows with the lake, so that it does not repeat too soon. */
static void make_pool(struct gen_text *t)
{
    uint64_t bytes = t->o->events * t->o->event_bytes / 16;
    uint64_t state = gen_mix(t->o->seed + 77);

    if (bytes < POOL_MIN_BYTES)
        bytes = POOL_MIN_BYTES;
    if (bytes > POOL_MAX_BYTES)
        bytes = POOL_MAX_BYTES;
    t->n_small = bytes / 4 / (N_SMALL * 70) + 1;
    t->n_large = bytes / 4 * 3 / (N_LARGE * 420) + 1;
    t->small = make_fragments(t, small_fragments, N_SMALL, t->n_small, &state);
    t->large = make_fragments(t, large_fragments, N_LARGE, t->n_large, &state);
}

/* Cut a form into pieces, with what belongs to the type filled in. */
static void make_template(struct template *tp, uint64_t type, uint64_t seed)
{
    uint64_t x = gen_mix(seed + 5 + type);
    const char *form = line_forms[form_of_type[type % 16]];
    struct gen_buffer b = {0};
    char name[128], service[32];
    size_t n = 0, from = 0;

    gen_type_name(type, name, sizeof name);
    snprintf(
        service, sizeof service, "service_%c", (char)('a' + gen_below(x, 26)));
    gen_buffer_room(&b, 1024);
    for (const char *s = form; *s; s++) {
        if (*s != '$') {
            b.p[b.n++] = *s;
        } else if (*++s == 't') {
            put_text(&b, name);
        } else if (*s == 's') {
            put_text(&b, service);
        } else {
            tp->piece[n++] = (struct piece){b.p + from, b.n - from, *s};
            from = b.n;
        }
    }
    tp->piece[n] = (struct piece){b.p + from, b.n - from, 0};
    tp->text = b.p;
    tp->n_bytes = b.n + 110;
    tp->user_place = (unsigned)(x % 3);
    tp->user_key = (x >> 8 & 15) == 0  ? "\"us\\u0065r_id\":"
                   : (x >> 8 & 15) < 4 ? "\"user_id\": "
                                       : "\"user_id\":";
}

struct gen_text *gen_text_new(const struct gen_options *o)
{
    struct gen_text *t = gen_alloc(1, sizeof *t);

    t->o = o;
    for (int i = 0; i < 256; i++) {
        t->hex[i][0] = "0123456789abcdef"[i >> 4];
        t->hex[i][1] = "0123456789abcdef"[i & 15];
    }
    t->template = gen_alloc(o->types, sizeof *t->template);
    for (uint64_t i = 0; i < o->types; i++)
        make_template(&t->template[i], i, o -> seed);
    make_pool(t);
    return t;
}

void gen_text_free(struct gen_text *t)
{
    for (uint64_t i = 0; i < t->o->types; i++)
        free(t->template[i].text);
    free(t->template);
    free(t->pool.p);
    free(t->small);
    free(t->large);
    free(t);
}

/* Most users are UUIDs; some are whole numbers, given now as a number and
 * now as a string; some are other strings, escaped now and then. */
static void put_user(
    const struct gen_text *t, const struct gen_event *e, struct gen_buffer *b)
{
    uint64_t high = gen_mix(gen_mix(t->o->seed + 3) + e->user);
    uint64_t low = gen_mix(high + 9), kind = gen_below(low, 100);
    bool other = gen_draw(e->hash, DRAW_USER) & 1;

    if (kind >= 85 && kind < 93 && other) {
        put_number(b, 1000000 + e->user);
        return;
    }
    b->p[b->n++] = '"';
    if (kind < 85) {
        put_uuid(t, b, high, low);
    } else if (kind < 93) {
        put_number(b, 1000000 + e->user);
    } else {
        put_text(b, other ? "J\\u00fcrgen\\/" : "Jürgen/");
        put_hex(t, b, high, 8);
    }
    b->p[b->n++] = '"';
}

/* Put the user's member; false when the event leaves it out. */
static bool put_user_member(const struct gen_text *t, const struct gen_event *e,
    const char *key, struct gen_buffer *b)
{
    if (e->no_user) {
        uint64_t x = gen_below(gen_draw(e->hash, DRAW_USER), 3);

        if (x == 0)
            return false;
        put_text(b, key);
        put_text(b, x == 1 ? "null" : "\"\"");
        return true;
    }
    put_text(b, key);
    put_user(t, e, b);
    return true;
}

static void put_fragment(const struct gen_text *t, const struct span *list,
    uint64_t n_each, uint64_t form, uint64_t x, struct gen_buffer *b)
{
    /* What is popular stands in many lines. */
    uint64_t n = (x & 7) < 3 && n_each > 3 ? 3 : n_each;
    struct span s = list[form * n_each + gen_below(x, n)];

    put(b, t->pool.p + s.at, s.n);
}

/* Objects in an array, until the line has about its size. */
static void put_entries(const struct gen_text *t, const struct gen_event *e,
    size_t end, struct gen_buffer *b)
{
    uint64_t form = e->type;

    put_text(b, "\"entries\":[");
    for (uint64_t i = 0; b->n + 250 < end; i++) {
        uint64_t x = gen_draw(e->hash, DRAW_FILLER + i);

        put_text(b, i == 0 ? "{\"n\":" : ",{\"n\":");
        put_number(b, x & 0xfffff);
        b->p[b->n++] = ',';
        put_fragment(t, t->large, t->n_large, form++ % N_LARGE, x, b);
        b->p[b->n++] = '}';
    }
    b->p[b->n++] = ']';
}

static void put_filler(const struct gen_text *t, const struct gen_event *e,
    bool comma, size_t end, struct gen_buffer *b)
{
    for (uint64_t i = 0; i < N_SMALL && b->n + 35 < end; i++) {
        if (comma)
            b->p[b->n++] = ',';
        comma = true;
        if (i > 0 && b->n + 500 < end) {
            put_entries(t, e, end, b);
            return;
        }
        put_fragment(t, t->small, t->n_small, (e->type * 5 + i) % N_SMALL,
            gen_draw(e->hash, DRAW_LOW - 1 - i), b);
    }
}

static void put_attributes(
    const struct gen_text *t, const struct gen_event *e, struct gen_buffer *b)
{
    const struct template *tp = &t->template[e->type];
    uint64_t size = t->o->event_bytes, target;
    size_t end, start = b->n;
    bool comma = false;

    target =
        size - size / 4 + gen_below(gen_draw(e->hash, DRAW_SIZE), size / 2 + 1);
    end = b->n + (target > tp->n_bytes ? target - tp->n_bytes : 0);
    if (tp->user_place == 0) {
        comma = put_user_member(t, e, tp->user_key, b);
    } else if (tp->user_place == 1 && start + 120 < end) {
        put_fragment(t, t->small, t->n_small, (e->type * 5 + 11) % N_SMALL,
            gen_draw(e->hash, DRAW_LOW), b);
        b->p[b->n++] = ',';
        if (!put_user_member(t, e, tp->user_key, b))
            b->n--;
        comma = true;
    }
    if (tp->user_place == 0 || b->n > start) {
        put_filler(t, e, comma, end, b);
        return;
    }
    put_filler(t, e, false, end, b);
    if (b->n > start) {
        b->p[b->n++] = ',';
        if (!put_user_member(t, e, tp->user_key, b))
            b->n--;
    } else {
        put_user_member(t, e, tp->user_key, b);
    }
}

static void put_many(struct gen_buffer *b, char c, size_t n)
{
    memset(b->p + b->n, c, n);
    b->n += n;
}

static void fill_hole(const struct gen_text *t, const struct gen_event *e,
    char hole, struct gen_buffer *b)
{
    char name[128];

    switch (hole) {
    case 'i':
        put_uuid(t, b, e->hash, gen_mix(e->hash + e->user));
        break;
    case 'm':
        put_number(b, (uint64_t)(t->o->start_ms + e->time_ms));
        break;
    case 'a':
        put_attributes(t, e, b);
        break;
    case 'r':
        put_hex(t, b, gen_draw(e->hash, DRAW_TRACE), 8);
        break;
    case 't':
        gen_type_name(e->type, name, sizeof name);
        put_text(b, name);
        break;
    case 'u':
        put_text(b, "\"user_id\":");
        put_user(t, e, b);
        break;
    case '0':
        b->p[b->n++] = 0;
        break;
    case 'd':
        put_many(b, '[', DEEP_INSIDE);
        put_many(b, ']', DEEP_INSIDE);
        break;
    case 'D':
        put_many(b, '[', 1025);
        break;
    case 'L':
        put_many(b, 'x', 1025);
        break;
    case 'B':
        gen_buffer_room(b, TOO_LONG_BYTES + LINE_ROOM);
        put_many(b, 'x', TOO_LONG_BYTES);
        break;
    default:
        gen_die("no such hole: %c", hole);
    }
}

static void put_bad(const struct gen_text *t, const struct gen_event *e,
    enum gen_reason reason, struct gen_buffer *b)
{
    const char *const *list = bad_lines[reason];
    uint64_t n = 0;

    while (list[n] != NULL)
        n++;
    for (const char *s = list[gen_below(gen_draw(e->hash, DRAW_BAD), n)]; *s;
         s++) {
        if (*s == '$')
            fill_hole(t, e, *++s, b);
        else
            b->p[b->n++] = *s;
    }
}

static void put_blank(const struct gen_event *e, struct gen_buffer *b)
{
    static const char *const blanks[4] = {"", " ", "\t", " \t  "};

    put_text(b, blanks[e->hash & 3]);
}

void gen_text_event(const struct gen_text *t, const struct gen_event *e,
    bool copy, bool crlf, struct gen_buffer *b)
{
    const char *line_end = crlf ? "\r\n" : "\n";
    const struct piece *p = t->template[e->type].piece;

    gen_buffer_room(b, 2 * t->o->event_bytes + 3 * LINE_ROOM);
    if (e->blank && !copy) {
        put_blank(e, b);
        put_text(b, line_end);
    }
    if (e->bad && !copy) {
        put_bad(t, e, gen_plan_reason(e), b);
        put_text(b, line_end);
    }
    if (e->too_long && !copy) {
        put_bad(t, e, GEN_TOO_LONG, b);
        put_text(b, line_end);
        gen_buffer_room(b, 2 * t->o->event_bytes + LINE_ROOM);
    }
    for (;; p++) {
        put(b, p->p, p->n);
        if (p->hole == 0)
            break;
        fill_hole(t, e, p->hole, b);
    }
    /* No copy is the same line to the byte, so that no two files can be. */
    if (copy)
        b->p[b->n++] = ' ';
    put_text(b, line_end);
}
