#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A line is a template of its event's type with holes for what differs.
 * Holes are written $x; see fill_hole.
 */

#define PIECES_MAX 16
#define TOO_LONG_BYTES ((UINT64_C(16) << 20) + 1)
/* Containers inside "attributes" that make 1025 with those around it. */
#define DEEP_INSIDE 1022
/* More than any line takes besides its attributes and TOO_LONG_BYTES. */
#define LINE_ROOM 65536
/* Lines asked to be shorter than this have short ids and no service. */
#define BRIEF_BYTES 200

enum { DRAW_BAD = 200, DRAW_USER, DRAW_TRACE };

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
static const char *const brief_forms[] = {
    "{\"data\":{\"id\":\"$r\",\"type\":\"$t\",\"attributes\":{$a}},"
    "\"meta\":{\"created_at\":$m}}",
    "{\"meta\":{\"created_at\":$m},\"data\":{\"type\":\"$t\",\"id\":\"$r\","
    "\"attributes\":{$a}}}",
};

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
    const char *user_key;
    unsigned user_place; /* members before the user's, where there are */
};

struct gen_text {
    const struct gen_options *o;
    struct template *template;
    struct gen_schemas *schemas;
};

static const char *choose_form(const struct gen_options *o, uint64_t type)
{
    if (o->event_bytes < BRIEF_BYTES)
        return brief_forms[type % 4 == 1];
    return line_forms[form_of_type[type % 16]];
}

/* Cut a form into pieces, with what belongs to the type filled in; return
 * about how long a line is without its attributes, but for the user. */
static uint32_t make_template(
    struct template *tp, uint64_t type, const struct gen_options *o)
{
    static const unsigned places[3] = {0, 1, UINT_MAX};
    uint64_t x = gen_mix(o->seed + 5 + type);
    struct gen_buffer b = {0};
    char name[128], service[32];
    size_t n = 0, from = 0, holes = 0;

    gen_type_name(type, name, sizeof name);
    snprintf(
        service, sizeof service, "service_%c", (char)('a' + gen_below(x, 26)));
    gen_buffer_room(&b, 1024);
    for (const char *s = choose_form(o, type); *s; s++) {
        if (*s != '$') {
            b.p[b.n++] = *s;
        } else if (*++s == 't') {
            gen_put_text(&b, name);
        } else if (*s == 's') {
            gen_put_text(&b, service);
        } else {
            tp->piece[n++] = (struct piece){b.p + from, b.n - from, *s};
            from = b.n;
            holes += *s == 'i' ? 36 : *s == 'a' ? 46 : 15;
        }
    }
    tp->piece[n] = (struct piece){b.p + from, b.n - from, 0};
    tp->text = b.p;
    tp->user_place = places[x % 3];
    tp->user_key = (x >> 8 & 15) == 0  ? "\"us\\u0065r_id\":"
                   : (x >> 8 & 15) < 4 ? "\"user_id\": "
                                       : "\"user_id\":";
    return (uint32_t)(b.n + holes);
}

struct gen_text *gen_text_new(const struct gen_options *o)
{
    struct gen_text *t = gen_alloc(1, sizeof *t);
    uint32_t *bytes = gen_alloc(o->types, sizeof *bytes);

    t->o = o;
    t->template = gen_alloc(o->types, sizeof *t->template);
    for (uint64_t i = 0; i < o->types; i++)
        bytes[i] = make_template(&t->template[i], i, o);
    t->schemas = gen_schemas_new(o, bytes);
    free(bytes);
    return t;
}

void gen_text_free(struct gen_text *t)
{
    for (uint64_t i = 0; i < t->o->types; i++)
        free(t->template[i].text);
    free(t->template);
    gen_schemas_free(t->schemas);
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
        gen_put_number(b, 1000000 + e->user);
        return;
    }
    b->p[b->n++] = '"';
    if (kind < 85) {
        gen_put_uuid(b, high, low);
    } else if (kind < 93) {
        gen_put_number(b, 1000000 + e->user);
    } else {
        gen_put_text(b, other ? "J\\u00fcrgen\\/" : "Jürgen/");
        gen_put_hex(b, high, 8);
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
        gen_put_text(b, key);
        gen_put_text(b, x == 1 ? "null" : "\"\"");
        return true;
    }
    gen_put_text(b, key);
    put_user(t, e, b);
    return true;
}

static void put_attributes(
    const struct gen_text *t, const struct gen_event *e, struct gen_buffer *b)
{
    const struct template *tp = &t->template[e->type];
    unsigned n = gen_schema_members(t->schemas, e);
    unsigned user_at = tp->user_place < n ? tp->user_place : n;
    size_t start = b->n;

    /* A place for the user besides those of the members. */
    for (unsigned i = 0; i <= n; i++) {
        size_t before = b->n;
        bool there;

        if (before > start)
            b->p[b->n++] = ',';
        if (i == user_at)
            there = put_user_member(t, e, tp->user_key, b);
        else
            there = gen_schema_put(t->schemas, e, i - (i > user_at), b);
        if (!there)
            b->n = before;
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
        gen_put_uuid(b, e->hash, gen_mix(e->hash + e->user));
        break;
    case 'm':
        gen_put_number(b, (uint64_t)(t->o->start_ms + e->time_ms));
        break;
    case 'a':
        put_attributes(t, e, b);
        break;
    case 'r':
        gen_put_hex(b, gen_draw(e->hash, DRAW_TRACE), 8);
        break;
    case 't':
        gen_type_name(e->type, name, sizeof name);
        gen_put_text(b, name);
        break;
    case 'u':
        gen_put_text(b, "\"user_id\":");
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

    gen_put_text(b, blanks[e->hash & 3]);
}

void gen_text_event(const struct gen_text *t, const struct gen_event *e,
    bool copy, bool crlf, struct gen_buffer *b)
{
    const char *line_end = crlf ? "\r\n" : "\n";
    const struct piece *p = t->template[e->type].piece;

    gen_buffer_room(b, 3 * t->o->event_bytes + 2 * LINE_ROOM);
    if (e->blank && !copy) {
        put_blank(e, b);
        gen_put_text(b, line_end);
    }
    if (e->bad && !copy) {
        put_bad(t, e, gen_plan_reason(e), b);
        gen_put_text(b, line_end);
    }
    if (e->too_long && !copy) {
        put_bad(t, e, GEN_TOO_LONG, b);
        gen_put_text(b, line_end);
        gen_buffer_room(b, 3 * t->o->event_bytes + LINE_ROOM);
    }
    for (;; p++) {
        gen_put(b, p->p, p->n);
        if (p->hole == 0)
            break;
        fill_hole(t, e, p->hole, b);
    }
    /* No copy is the same line to the byte, so that no two files can be. */
    if (copy)
        b->p[b->n++] = ' ';
    gen_put_text(b, line_end);
}
