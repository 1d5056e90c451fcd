#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/calendar.h"
#include "mr/segments.h"
#include "tests/unit/random.h"

/*
 * The reference counts a user's events by looking at all events for each
 * question.  What a state would hold, its blocks and index, is compared byte
 * for byte between ways of getting there.
 */

/* ---- specs ---- */

static struct mr_spec spec;

static void condition(
    const char *type, enum mr_comparison comparison, uint32_t count)
{
    struct mr_segment *segment = &spec.segment[spec.n_segments - 1];
    unsigned k = segment->n_conditions++;

    snprintf(segment->condition[k].type, sizeof(mr_path), "%s", type);
    segment->condition[k].comparison = comparison;
    segment->condition[k].count = count;
}

static void segment(const char *name)
{
    struct mr_segment *s = &spec.segment[spec.n_segments++];

    *s = (struct mr_segment){.n_conditions = 0};
    snprintf(s->name, sizeof(s->name), "%s", name);
}

static void clear_spec(void)
{
    memset(&spec, 0, sizeof(spec));
}

/* Types "a" to "h" are in events; "y" and "z" never. */
static void random_spec(void)
{
    clear_spec();
    for (uint64_t n = 1 + any(MR_SEGMENTS_MAX); n > 0; n--) {
        segment("s");
        for (char type = 'a'; type <= 'h'; type++) {
            char text[2] = {type > 'f' ? (char)(type + 'y' - 'g') : type, 0};

            if (any(4) == 0 ||
                (type == 'h' &&
                    spec.segment[spec.n_segments - 1].n_conditions == 0))
                condition(text, (enum mr_comparison)any(5), (uint32_t)any(4));
        }
    }
}

/* ---- events ---- */

struct event {
    uint64_t user;
    int32_t day;
    char type;
};

#define DAYS 4
static const int32_t day_number[DAYS] = {0, 19000, 19001, MR_DAY_END - 1};

static struct event *random_events(size_t n, uint64_t n_users)
{
    struct event *event = malloc((n + 1) * sizeof(*event));
    uint64_t base = any64();

    assert_non_null(event);
    for (size_t i = 0; i < n; i++) {
        uint64_t user = any(n_users);

        event[i].user = user == 0 ? 0 : user == 1 ? UINT64_MAX : base * user;
        event[i].day = day_number[any(DAYS)];
        event[i].type = (char)('a' + any(any(2) ? 8 : 3));
    }
    return event;
}

static void add_events(
    struct mr_segments *s, const struct event *event, size_t n)
{
    struct mr_segment_event *out = malloc((n + 1) * sizeof(*out));
    struct mr_segment_types types;

    assert_non_null(out);
    mr_segment_types_of(&spec, &types);
    for (size_t i = 0; i < n; i++) {
        struct mr_span type = {(const uint8_t *)&event[i].type, 1};

        out[i] = (struct mr_segment_event){
            event[i].user, event[i].day, mr_segment_type(&types, type)};
    }
    assert_int_equal(mr_segments_add(s, out, n), MR_OK);
    free(out);
}

static struct mr_segments *new_segments(void)
{
    struct mr_segment_types types;
    struct mr_segments *s;

    mr_segment_types_of(&spec, &types);
    assert_int_equal(mr_segments_new(types.keeps_seen, &s), MR_OK);
    return s;
}

/* ---- as a state has them ---- */

struct stored {
    struct mr_buffer segm, sidx;
};

static void stored_release(struct stored *s)
{
    mr_buffer_release(&s->segm);
    mr_buffer_release(&s->sidx);
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
    const struct mr_buffer *segm = context;

    (void)err;
    assert_true(offset <= segm->n && n <= segm->n - offset);
    memcpy(out, segm->p + offset, n);
    return MR_OK;
}

static struct stored store(struct mr_segment_stream *stream)
{
    struct mr_segment_index index;
    struct stored s = {{0}, {0}};

    assert_int_equal(
        mr_segments_write(stream, put, &s.segm, &index, NULL), MR_OK);
    assert_int_equal(mr_segment_index_encode(&index, &s.sidx), MR_OK);
    assert_int_equal(index.bytes, s.segm.n);
    mr_segment_index_release(&index);
    mr_segment_stream_free(stream);
    return s;
}

/* What was added so far; more can follow. */
static struct stored peek_segments(const struct mr_segments *segments)
{
    struct mr_segment_stream *stream;

    assert_int_equal(mr_segments_read(segments, &stream), MR_OK);
    return store(stream);
}

static struct stored store_segments(struct mr_segments *segments)
{
    struct stored s = peek_segments(segments);

    mr_segments_free(segments);
    return s;
}

static struct stored map_events(const struct event *event, size_t n)
{
    struct mr_segments *s = new_segments();

    add_events(s, event, n);
    return store_segments(s);
}

static struct mr_span span_of(const struct mr_buffer *b)
{
    return (struct mr_span){b->p, b->n};
}

static void assert_same(const struct stored *a, const struct stored *b)
{
    assert_int_equal(mr_span_compare(span_of(&a->segm), span_of(&b->segm)), 0);
    assert_int_equal(mr_span_compare(span_of(&a->sidx), span_of(&b->sidx)), 0);
}

/* What reading a stored state needs. */
struct opened {
    struct mr_segment_index index;
    struct mr_segment_types types;
    struct mr_segment_stream *stream;
};

static struct opened open_stored(const struct stored *s)
{
    struct opened o;
    const char *why;

    mr_segment_types_of(&spec, &o.types);
    assert_int_equal(
        mr_segment_index_decode(span_of(&s->sidx), s->segm.n, &o.index, &why),
        MR_OK);
    return o;
}

static void begin_reading(struct opened *o, const struct stored *s)
{
    assert_int_equal(mr_segment_index_read(&o->index, &o->types, get,
                         (void *)(uintptr_t)&s->segm, &o->stream, NULL),
        MR_OK);
}

static void close_stored(struct opened *o)
{
    mr_segment_stream_free(o->stream);
    mr_segment_index_release(&o->index);
}

static struct stored merge_stored(struct stored *const *from, size_t n)
{
    struct mr_segment_stream *stream[8], *merged;
    struct opened opened[8];
    struct stored s;

    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        opened[i] = open_stored(from[i]);
        begin_reading(&opened[i], from[i]);
        stream[i] = opened[i].stream;
    }
    assert_int_equal(mr_segment_stream_merge(stream, n, &merged), MR_OK);
    s = store(merged);
    for (size_t i = 0; i < n; i++)
        close_stored(&opened[i]);
    return s;
}

/* ---- the reference ---- */

static bool naive_holds(
    const struct mr_segment *s, unsigned k, const uint64_t *n)
{
    uint64_t have = n[(unsigned char)s->condition[k].type[0]];
    uint64_t want = s->condition[k].count;

    switch (s->condition[k].comparison) {
    case MR_AT_LEAST:
        return have >= want;
    case MR_ABOVE:
        return have > want;
    case MR_EQUAL:
        return have == want;
    case MR_BELOW:
        return have < want;
    default:
        return have <= want;
    }
}

/* Whether a user is in a segment on a day (or over all: < 0). */
static bool naive_is_in(const struct mr_segment *s, const struct event *event,
    size_t n, uint64_t user, int32_t day)
{
    uint64_t have[256] = {0};
    bool seen = false;

    for (size_t i = 0; i < n; i++) {
        if (event[i].user != user || (day >= 0 && event[i].day != day))
            continue;
        seen = true;
        have[(unsigned char)event[i].type]++;
    }
    for (unsigned k = 0; k < s->n_conditions; k++)
        seen = seen && naive_holds(s, k, have);
    return seen;
}

/* Two attributes: the hash modulo 3, and one group for all. */
static uint32_t group_of(unsigned by, uint64_t user)
{
    return by == 0 ? (uint32_t)(user % 3) : UINT32_MAX;
}

static void groups_of(void *context, uint64_t user, uint32_t *group_out)
{
    *(unsigned *)context += 1;
    group_out[0] = group_of(0, user);
    group_out[1] = group_of(1, user);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

static size_t list_users(const struct event *event, size_t n, uint64_t *user)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        user[i] = event[i].user;
    qsort(user, n, sizeof(*user), compare_numbers);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || user[i] != user[i - 1])
            user[kept++] = user[i];
    }
    return kept;
}

static uint64_t counted(const struct mr_segment_counts *counts, unsigned s,
    unsigned by, int32_t day, uint32_t group)
{
    for (size_t i = 0; i < counts->n; i++) {
        const struct mr_segment_count *c = &counts->count[i];

        if (c->segment == s && c->by == by && c->day == day &&
            c->group == group)
            return c->users;
    }
    return 0;
}

static uint64_t check_day(const struct mr_segment_counts *counts, unsigned s,
    int32_t day, const struct event *event, size_t n)
{
    uint64_t *user = malloc((n + 1) * sizeof(*user)), all = 0, by[3] = {0};
    size_t n_users;

    assert_non_null(user);
    n_users = list_users(event, n, user);
    for (size_t i = 0; i < n_users; i++) {
        if (naive_is_in(&spec.segment[s], event, n, user[i], day)) {
            all++;
            by[user[i] % 3]++;
        }
    }
    assert_int_equal(counted(counts, s, 0, day, 0), all);
    for (uint32_t g = 0; g < 3; g++)
        assert_int_equal(counted(counts, s, 1, day, g), by[g]);
    assert_int_equal(counted(counts, s, 2, day, UINT32_MAX), all);
    free(user);
    return 2 * all + by[0] + by[1] + by[2];
}

static void check_counts(
    const struct stored *s, const struct event *event, size_t n)
{
    unsigned times = 0;
    struct mr_segment_groups groups = {2, groups_of, &times};
    struct opened o = open_stored(s);
    struct mr_segment_counts counts;
    uint64_t sum = 0, want = 0;

    begin_reading(&o, s);
    assert_int_equal(
        mr_segments_count(o.stream, &spec, &groups, &counts, NULL), MR_OK);
    close_stored(&o);
    for (unsigned i = 0; i < spec.n_segments; i++) {
        want += check_day(&counts, i, MR_SEGMENT_ALL_DAYS, event, n);
        for (int d = 0; d < DAYS; d++)
            want += check_day(&counts, i, day_number[d], event, n);
    }
    for (size_t i = 0; i < counts.n; i++)
        sum += counts.count[i].users;
    assert_int_equal(sum, want);
    assert_true(times <= n);
    mr_segment_counts_release(&counts);
}

static enum mr_status read_all(const struct stored *s);

/* ---- tests ---- */

static void types_are_those_of_the_conditions(void **state)
{
    struct mr_segment_types types;

    (void)state;
    clear_spec();
    segment("valuable");
    condition("CLICK", MR_AT_LEAST, 10);
    condition("VIEW", MR_AT_LEAST, 5);
    segment("idle");
    condition("BUY", MR_EQUAL, 0);
    condition("VIEW", MR_ABOVE, 0);
    mr_segment_types_of(&spec, &types);
    assert_int_equal(types.n, 3);
    assert_string_equal(types.type[0], "BUY");
    assert_string_equal(types.type[1], "CLICK");
    assert_string_equal(types.type[2], "VIEW");
    assert_false(types.keeps_seen);
    assert_int_equal(
        mr_segment_type(&types, (struct mr_span){(const uint8_t *)"VIEW", 4}),
        2);
    assert_int_equal(
        mr_segment_type(&types, (struct mr_span){(const uint8_t *)"VIEWS", 5}),
        MR_SEGMENT_SEEN);
    assert_int_equal(
        mr_segment_type(&types, (struct mr_span){(const uint8_t *)"VIE", 3}),
        MR_SEGMENT_SEEN);
    segment("quiet");
    condition("VIEW", MR_BELOW, 3);
    condition("BUY", MR_AT_MOST, 0);
    mr_segment_types_of(&spec, &types);
    assert_true(types.keeps_seen);
}

/* The example of docs/kpis.md. */
static void the_documented_example_holds(void **state)
{
    static const struct event event[] = {{1, 100, 'v'}, {1, 100, 'v'},
        {1, 100, 'c'}, {2, 100, 'v'}, {3, 100, 'b'}, {1, 101, 'c'},
        {2, 101, 'v'}, {2, 101, 'c'}};
    struct mr_segment_counts counts;
    struct stored s;
    struct opened o;

    (void)state;
    clear_spec();
    segment("keen");
    condition("c", MR_AT_LEAST, 1);
    condition("v", MR_AT_LEAST, 2);
    segment("quiet");
    condition("v", MR_BELOW, 1);
    s = map_events(event, 8);
    o = open_stored(&s);
    begin_reading(&o, &s);
    assert_int_equal(
        mr_segments_count(o.stream, &spec, NULL, &counts, NULL), MR_OK);
    close_stored(&o);
    assert_int_equal(counts.n, 5);
    assert_int_equal(counted(&counts, 0, 0, 100, 0), 1);
    assert_int_equal(counted(&counts, 0, 0, 101, 0), 0);
    assert_int_equal(counted(&counts, 0, 0, MR_SEGMENT_ALL_DAYS, 0), 2);
    assert_int_equal(counted(&counts, 1, 0, 100, 0), 1);
    assert_int_equal(counted(&counts, 1, 0, 101, 0), 1);
    assert_int_equal(counted(&counts, 1, 0, MR_SEGMENT_ALL_DAYS, 0), 1);
    mr_segment_counts_release(&counts);
    stored_release(&s);
}

static void counts_are_those_of_all_events(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(60); round++) {
        size_t n = any(4) == 0 ? any(4) : any(400);
        struct event *event = random_events(n, 2 + any(40));
        struct stored s;

        random_spec();
        s = map_events(event, n);
        check_counts(&s, event, n);
        stored_release(&s);
        free(event);
    }
}

static void merging_adds(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(60); round++) {
        size_t n = any(3) == 0 ? 60000 : any(3000);
        size_t a = any(n + 1), b = a + any(n - a + 1);
        struct event *event = random_events(n, 2 + any(n + 1));
        struct stored whole, x, y, z, xy, yz, again[4];

        random_spec();
        whole = map_events(event, n);
        x = map_events(event, a);
        y = map_events(event + a, b - a);
        z = map_events(event + b, n - b);
        xy = merge_stored((struct stored *[]){&x, &y}, 2);
        yz = merge_stored((struct stored *[]){&y, &z}, 2);
        again[0] = merge_stored((struct stored *[]){&x, &y, &z}, 3);
        again[1] = merge_stored((struct stored *[]){&z, &xy}, 2);
        again[2] = merge_stored((struct stored *[]){&x, &yz}, 2);
        again[3] = merge_stored((struct stored *[]){&whole}, 1);
        for (int i = 0; i < 4; i++) {
            assert_same(&whole, &again[i]);
            stored_release(&again[i]);
        }
        stored_release(&whole);
        stored_release(&x);
        stored_release(&y);
        stored_release(&z);
        stored_release(&xy);
        stored_release(&yz);
        free(event);
    }
}

static void reading_leaves_all_as_it_was(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(60); round++) {
        size_t n = any(3) == 0 ? 60000 : any(3000), end = 0;
        struct event *event = random_events(n, 2 + any(n + 1));
        struct mr_segments *s;

        random_spec();
        s = new_segments();
        for (unsigned k = 1 + (unsigned)any(4); k-- > 0;) {
            size_t more = k == 0 ? n - end : any(n - end + 1);
            struct stored read, want;

            add_events(s, event + end, more);
            end += more;
            read = peek_segments(s);
            want = map_events(event, end);
            assert_same(&read, &want);
            stored_release(&read);
            stored_release(&want);
        }
        mr_segments_free(s);
        free(event);
    }
}

/* A block takes users while it has fewer than 4096, and while all its
 * entries are at most 65536; only a user alone has more. */
static void blocks_end_where_they_must(void **state)
{
    static const uint32_t days[] = {1, 30000, 35535, 35537, 70000, 2, 65534};
    const size_t n_users = sizeof(days) / sizeof(*days) + 10000;
    static const uint32_t want[] = {3, 1, 1, 2, 4096, 4096, 1808};
    struct mr_segments *s;
    struct stored stored;
    struct opened o;

    (void)state;
    clear_spec();
    segment("s");
    condition("a", MR_ABOVE, 0);
    s = new_segments();
    for (size_t i = 0; i < n_users; i++) {
        uint32_t n = i < 7 ? days[i] : 1;

        for (uint32_t day = 0; day < n; day++) {
            struct event event = {i, (int32_t)day, 'a'};

            add_events(s, &event, 1);
        }
    }
    stored = store_segments(s);
    o = open_stored(&stored);
    assert_int_equal(o.index.n_blocks, sizeof(want) / sizeof(*want));
    for (size_t i = 0; i < o.index.n_blocks; i++)
        assert_int_equal(o.index.block[i].n_users, want[i]);
    begin_reading(&o, &stored);
    close_stored(&o);
    assert_int_equal(read_all(&stored), MR_OK);
    stored_release(&stored);
}

struct part {
    struct mr_segments *segments;
    const struct event *event;
    size_t n;
    unsigned n_claimed;
};

/* Users, of one shard, whose products with a number that tables often multiply
 * by are alike where a table would look: to go past all that are there for each
 * of them would take a minute. */
static void users_made_to_collide_are_found(void **state)
{
    const size_t most = rounds(200000);
    struct mr_segment_event *event = calloc(most + 1, sizeof(*event));
    size_t n = 0, n_users = 0;
    struct mr_segments *s;
    struct stored stored;
    struct opened o;

    (void)state;
    assert_non_null(event);
    clear_spec();
    segment("s");
    condition("a", MR_AT_LEAST, 1);
    for (uint64_t k = 0; n < most; k++) {
        uint64_t product = k << 44 | k >> 20;
        uint64_t user = product * UINT64_C(0xf1de83e19937733d);

        if (user >> 56 == 0)
            event[n++] = (struct mr_segment_event){user, 0, 0};
    }
    s = new_segments();
    for (int i = 0; i < 2; i++)
        assert_int_equal(mr_segments_add(s, event, n), MR_OK);
    stored = store_segments(s);
    o = open_stored(&stored);
    for (size_t i = 0; i < o.index.n_blocks; i++)
        n_users += o.index.block[i].n_users;
    assert_int_equal(n_users, n);
    mr_segment_index_release(&o.index);
    stored_release(&stored);
    free(event);
}

static void *add_part(void *context)
{
    struct part *part = context;

    for (uint8_t i = 0; i < 200; i++) {
        struct mr_digest digest = {{i, i % 2}};
        bool is_new;

        assert_int_equal(
            mr_segments_claim(part->segments, &digest, &is_new), MR_OK);
        part->n_claimed += is_new;
    }
    add_events(part->segments, part->event, part->n);
    return NULL;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(10); round++) {
        size_t n = 100000;
        struct event *event = random_events(n, 30000);
        struct stored want, got;
        struct part part[4];
        pthread_t thread[4];
        struct mr_segments *segments;
        unsigned n_claimed = 0;

        random_spec();
        want = map_events(event, n);
        segments = new_segments();
        for (size_t i = 0; i < 4; i++) {
            part[i] = (struct part){segments, event + i * (n / 4), n / 4, 0};
            assert_int_equal(
                pthread_create(&thread[i], NULL, add_part, &part[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            pthread_join(thread[i], NULL);
            n_claimed += part[i].n_claimed;
        }
        assert_int_equal(n_claimed, 200);
        got = store_segments(segments);
        assert_same(&want, &got);
        stored_release(&want);
        stored_release(&got);
        free(event);
    }
}

/* A stream of a few given entries, to be counted or written. */
static struct stored store_entry(uint32_t count)
{
    struct event event = {5, 7, 'a'};
    struct stored s = map_events(&event, 1);

    /* The block: one user (a byte), days less one, day, mask, count less
     * one; its checksum stands at the end of the index. */
    assert_int_equal(s.segm.n, 5);
    s.segm.n--;
    assert_int_equal(mr_buffer_add_varint(&s.segm, count - 1), MR_OK);
    mr_put_u64(s.sidx.p + s.sidx.n - 16, s.segm.n);
    mr_put_u64(s.sidx.p + s.sidx.n - 8, mr_hash64(s.segm.p, s.segm.n));
    return s;
}

static void counts_end_at_their_largest(void **state)
{
    struct stored a, b, ab, max;

    (void)state;
    clear_spec();
    segment("s");
    condition("a", MR_ABOVE, 0);
    a = store_entry(UINT32_MAX - 5);
    b = store_entry(6);
    max = store_entry(UINT32_MAX);
    ab = merge_stored((struct stored *[]){&a, &b}, 2);
    assert_same(&ab, &max);
    stored_release(&ab);
    ab = merge_stored((struct stored *[]){&max, &b, &a}, 3);
    assert_same(&ab, &max);
    stored_release(&ab);
    stored_release(&b);
    b = store_entry(5);
    ab = merge_stored((struct stored *[]){&b, &a}, 2);
    assert_same(&ab, &max);
    stored_release(&a);
    stored_release(&b);
    stored_release(&ab);
    stored_release(&max);
}

/* Read it all; the first failure, or MR_OK. */
static enum mr_status read_all(const struct stored *s)
{
    const struct mr_segment_entry *entry;
    struct mr_error err;
    struct opened o;
    enum mr_status status;
    const char *why = NULL;
    size_t n = 1;

    mr_segment_types_of(&spec, &o.types);
    status =
        mr_segment_index_decode(span_of(&s->sidx), s->segm.n, &o.index, &why);
    if (status != MR_OK) {
        assert_non_null(why);
        return status;
    }
    begin_reading(&o, s);
    while (status == MR_OK && n > 0)
        status = mr_segment_stream_next(o.stream, &entry, &n, &err);
    close_stored(&o);
    return status;
}

static void every_changed_bit_is_noticed(void **state)
{
    struct event *event = random_events(300, 60);
    struct stored s;
    size_t n;

    (void)state;
    clear_spec();
    segment("s");
    condition("a", MR_BELOW, 2);
    condition("c", MR_AT_MOST, 2);
    s = map_events(event, 300);
    assert_int_equal(read_all(&s), MR_OK);
    for (size_t i = 0; i < 8 * s.segm.n; i++) {
        s.segm.p[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(read_all(&s), MR_CHECKSUM);
        s.segm.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < 8 * s.sidx.n; i++) {
        s.sidx.p[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(read_all(&s), MR_OK);
        s.sidx.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (n = s.sidx.n; s.sidx.n-- > 0;)
        assert_int_equal(read_all(&s), MR_FORMAT);
    s.sidx.n = n;
    stored_release(&s);
    free(event);
}

/* With the checksum put right, what is still accepted must be what writing
 * it again gives. */
static void there_is_one_form(void **state)
{
    struct event *event = random_events(100, 20);
    struct stored s, again;

    (void)state;
    clear_spec();
    segment("s");
    condition("a", MR_BELOW, 2);
    condition("c", MR_AT_MOST, 2);
    s = map_events(event, 100);
    for (size_t i = 0; i < 8 * s.segm.n; i++) {
        s.segm.p[i / 8] ^= (uint8_t)(1 << i % 8);
        mr_put_u64(s.sidx.p + s.sidx.n - 8, mr_hash64(s.segm.p, s.segm.n));
        if (read_all(&s) == MR_OK) {
            again = merge_stored((struct stored *[]){&s}, 1);
            assert_same(&s, &again);
            stored_release(&again);
        }
        s.segm.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    stored_release(&s);
    free(event);
}

/* Digests 0 to 9 by bits. */
static struct mr_segment_parts parts_of(
    unsigned bits, struct mr_digest digest[10])
{
    struct mr_segment_parts parts = {digest, 0};

    for (uint8_t i = 0; i < 10; i++) {
        if (bits >> i & 1)
            digest[parts.n++] = (struct mr_digest){{0, i}};
    }
    return parts;
}

static void states_are_chosen_by_their_partitions(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(20000); round++) {
        struct mr_digest digest[5][10];
        struct mr_segment_parts parts[5];
        size_t n = 1 + any(5), a = 9, b = 9;
        unsigned bits[5], all = 0, sum = 0, chosen = 0;
        bool wanted[5], overlap = false;
        enum mr_status status;

        for (size_t i = 0; i < n; i++) {
            bits[i] = (unsigned)(any(3) ? 1u << any(10) | 1u << any(10)
                                        : any64() & any64() & 1023);
            if (i > 0 && any(2))
                bits[i] = bits[i - 1] | (any(2) ? 1u << any(10) : 0);
            parts[i] = parts_of(bits[i], digest[i]);
            all |= bits[i];
        }
        status = mr_segments_choose(parts, n, wanted, &a, &b);
        /* Of sets that are in no other one, no two may overlap. */
        for (size_t i = 0; i < n; i++) {
            bool i_is_in = false;

            for (size_t k = 0; k < n; k++)
                i_is_in |= bits[i] != bits[k] && (bits[i] & ~bits[k]) == 0;
            for (size_t k = 0; k < n && !i_is_in; k++) {
                bool k_is_in = false;

                for (size_t m = 0; m < n; m++)
                    k_is_in |= bits[k] != bits[m] && (bits[k] & ~bits[m]) == 0;
                overlap |=
                    !k_is_in && bits[i] != bits[k] && (bits[i] & bits[k]) != 0;
            }
        }
        assert_int_equal(status, overlap ? MR_MISMATCH : MR_OK);
        if (overlap) {
            assert_true(a < b && b < n && (bits[a] & bits[b]) != 0);
            assert_true((bits[a] & ~bits[b]) != 0 && (bits[b] & ~bits[a]) != 0);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            if (wanted[i]) {
                chosen |= bits[i];
                sum += (unsigned)__builtin_popcount(bits[i]);
            }
        }
        assert_int_equal(chosen, all);
        assert_int_equal(sum, __builtin_popcount(all));
    }
}

/* As of a month of files with a state each: to compare each with each would
 * take minutes. */
static void many_states_are_chosen_from(void **state)
{
    const size_t n = rounds(150000);
    struct mr_digest *digest = calloc(n, sizeof(*digest));
    struct mr_segment_parts *parts = calloc(n + 1, sizeof(*parts));
    bool *wanted = calloc(n + 1, sizeof(*wanted));
    size_t a = 0, b = 0;

    (void)state;
    assert_non_null(digest);
    assert_non_null(parts);
    assert_non_null(wanted);
    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < 8; k++)
            digest[i].b[k] = (uint8_t)(i >> (56 - 8 * k));
        parts[i] = (struct mr_segment_parts){&digest[i], 1};
    }
    parts[n] = (struct mr_segment_parts){digest, 2};
    assert_int_equal(mr_segments_choose(parts, n + 1, wanted, &a, &b), MR_OK);
    for (size_t i = 0; i <= n; i++)
        assert_int_equal(wanted[i], i > 1);
    free(digest);
    free(parts);
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_those_of_the_conditions),
        cmocka_unit_test(the_documented_example_holds),
        cmocka_unit_test(counts_are_those_of_all_events),
        cmocka_unit_test(merging_adds),
        cmocka_unit_test(reading_leaves_all_as_it_was),
        cmocka_unit_test(blocks_end_where_they_must),
        cmocka_unit_test(users_made_to_collide_are_found),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(counts_end_at_their_largest),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(there_is_one_form),
        cmocka_unit_test(states_are_chosen_by_their_partitions),
        cmocka_unit_test(many_states_are_chosen_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
