#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/batch.h"
#include "mr/cells.h"
#include "mr/types.h"
#include "mr/users.h"
#include "tests/unit/random.h"

/*
 * The tables that give numbers while mapping (users, types, cells) and the
 * counts of a batch: each against a plain search through all there is.
 */

/* ---- users ---- */

/* Hashes that meet in the table: equal places, equal tags, or both. */
static uint64_t any_hash(unsigned habit)
{
    switch (habit) {
    case 0:
        return any64();
    case 1: /* neighbours */
        return any(3000);
    case 2: /* one tag, the one that 0 and 1 share, many places */
        return any64() << 8 | any(2);
    case 3: /* one place, one tag */
        return any(300) << 56 | any(4) << 8;
    default: /* around the end of any table */
        return UINT64_MAX - any(500);
    }
}

static void users_are_numbered_by_first_sight(void **state)
{
    static uint64_t known[4000];

    (void)state;
    for (unsigned round = 0; round < rounds(50); round++) {
        struct mr_users users = {.n = 0};
        uint32_t n = 0, guess, right = 0, tries = 0;

        while (n < 2000 && any(3000) != 0) {
            uint32_t more = 1 + (uint32_t)any(any(9) == 0 ? 700 : 32);

            if (any(20) == 0)
                mr_users_release_index(&users);
            assert_int_equal(mr_users_reserve(&users, more), MR_OK);
            for (uint32_t i = 0; i < more; i++) {
                uint64_t hash =
                    any_hash(round % 6 == 5 ? (unsigned)any(5) : round % 6);
                uint32_t want = 0;

                while (want < n && known[want] != hash)
                    want++;
                if (want == n)
                    known[n++] = hash;
                mr_users_prefetch(&users, hash);
                guess = mr_users_peek(&users, hash);
                assert_true(guess == MR_USERS_NONE || guess < users.n);
                right += guess == want;
                tries += want < users.n;
                assert_int_equal(mr_users_add(&users, hash), want);
                assert_int_equal(users.n, n);
                assert_int_equal(mr_users_add(&users, hash), want);
            }
        }
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(users.user[i].hash, known[i]);
            for (unsigned k = 0; k < MR_SESSIONS_SLOT; k++)
                assert_true(users.user[i].slot[k] == MR_SESSIONS_NONE);
            assert_int_equal(mr_users_add(&users, known[i]), i);
        }
        /* Hashes that are even find their users by the guess. */
        if (round % 6 == 0 && tries > 100)
            assert_true(right > tries / 10 * 8);
        mr_users_release(&users);
        assert_null(users.group);
    }
}

/* The header's promise of memory, as users come in groups of 32. */
static void users_take_few_bytes(void **state)
{
    struct mr_users users = {.n = 0};

    (void)state;
    for (uint64_t hash = 0; hash < 100000; hash++) {
        if (hash % 32 == 0)
            assert_int_equal(mr_users_reserve(&users, 32), MR_OK);
        (void)mr_users_add(&users, hash * UINT64_C(0x9e3779b97f4a7c15));
        assert_true(users.n <= users.cap);
        /* Three quarters full at most; 9 bytes, and a group. */
        assert_true(4 * (uint64_t)users.n <= 36 * users.n_groups);
        if (users.n > 500) {
            assert_true(64 * users.n_groups <= 9 * (users.n + 32) + 64);
            assert_true(users.cap <= (users.n + 32) * 5 / 4);
        }
    }
    mr_users_release(&users);
}

/* All of one home: to go past all that are there for each of them would take
 * minutes. */
static void users_made_to_collide_are_found(void **state)
{
    struct mr_users users = {.n = 0};
    const uint32_t n = 300000;

    (void)state;
    for (uint32_t k = 0; k < 2 * n; k++) {
        uint64_t hash = UINT64_C(0xabcdef1234) << 24 | k % n;

        assert_int_equal(mr_users_reserve(&users, 1), MR_OK);
        assert_int_equal(mr_users_add(&users, hash), k % n);
    }
    assert_int_equal(users.n, n);
    mr_users_release(&users);
}

static void users_have_a_limit(void **state)
{
    struct mr_users users = {.n = 0};

    (void)state;
    assert_int_equal(mr_users_reserve(&users, MR_USERS_MAX + 1), MR_LIMIT);
    assert_int_equal(mr_users_reserve(&users, UINT32_MAX), MR_LIMIT);
    assert_null(users.user);
    assert_int_equal(mr_users_reserve(&users, 1), MR_OK);
    assert_int_equal(mr_users_add(&users, 7), 0);
    assert_int_equal(mr_users_reserve(&users, MR_USERS_MAX), MR_LIMIT);
    assert_int_equal(mr_users_reserve(&users, UINT32_MAX), MR_LIMIT);
    assert_int_equal(mr_users_add(&users, 7), 0);
    mr_users_release(&users);
}

/* ---- types ---- */

#define TYPES 3000
#define THREADS 4

static size_t type_text(unsigned k, char out[2048])
{
    int n;

    /* One that fills a chunk's rest, some long, the others short. */
    if (k % 97 == 0) {
        memset(out, 'a' + (int)(k % 26), 1000);
        return 1000 + (size_t)snprintf(out + 1000, 100, "%u", k);
    }
    n = snprintf(out, 100, "event.%u%s", k, k % 3 == 0 ? "\xc3\xa4" : "");
    return (size_t)n;
}

/* A type in the table, without the byte of its kind. */
static struct mr_span known_type(const struct mr_types *types, uint32_t id)
{
    struct mr_span text = mr_types_text(types, id);

    assert_int_equal(text.p[0], MR_TEXT_TYPE);
    return (struct mr_span){text.p + 1, text.n - 1};
}

struct interner {
    struct mr_types *types;
    uint64_t seed;
    uint32_t id[TYPES]; /* number + 1, 0 if never asked for */
    bool failed;
};

static void *intern_some(void *context)
{
    struct interner *x = context;
    struct mr_type_cache *cache;
    uint64_t s = x->seed;
    char text[2048];

    if (mr_type_cache_new(x->types, &cache) != MR_OK) {
        x->failed = true;
        return NULL;
    }
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k;
        uint32_t id;
        struct mr_span span = {(const uint8_t *)text, 0};

        s = s * UINT64_C(6364136223846793005) + 1442695040888963407;
        k = (unsigned)((s >> 33) % TYPES);
        span.n = type_text(k, text);
        if (mr_type_id(cache, MR_TEXT_TYPE, span, &id) != MR_OK ||
            (x->id[k] != 0 && x->id[k] != id + 1)) {
            x->failed = true;
            break;
        }
        x->id[k] = id + 1;
        memset(text, 0, span.n); /* the table keeps its own copy */
        if (mr_type_id(cache, MR_TEXT_TYPE, known_type(x->types, id), &id) !=
                MR_OK ||
            id + 1 != x->id[k]) {
            x->failed = true;
            break;
        }
    }
    mr_type_cache_free(cache);
    return NULL;
}

static void threads_agree_on_types(void **state)
{
    static struct interner x[THREADS];
    pthread_t thread[THREADS];
    struct mr_types *types;
    uint32_t n = 0;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    for (unsigned t = 0; t < THREADS; t++) {
        memset(&x[t], 0, sizeof x[t]);
        x[t].types = types;
        x[t].seed = any64();
        assert_int_equal(
            pthread_create(&thread[t], NULL, intern_some, &x[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(thread[t], NULL), 0);
        assert_false(x[t].failed);
    }
    for (unsigned k = 0; k < TYPES; k++) {
        uint32_t id1 = 0;
        char text[2048];
        size_t length = type_text(k, text);

        for (unsigned t = 0; t < THREADS; t++) {
            if (x[t].id[k] == 0)
                continue;
            assert_true(id1 == 0 || id1 == x[t].id[k]);
            id1 = x[t].id[k];
        }
        if (id1 == 0)
            continue;
        n++;
        assert_true(id1 <= mr_types_count(types));
        assert_int_equal(known_type(types, id1 - 1).n, length);
        assert_memory_equal(known_type(types, id1 - 1).p, text, length);
    }
    assert_int_equal(mr_types_count(types), n);
    mr_types_free(types);
}

static void types_are_told_apart(void **state)
{
    static const char *const like[] = {"a", "A", "a ", "aa", "b"};
    struct mr_type_cache *cache;
    struct mr_types *types;
    char *huge = malloc(200000);
    uint32_t id;

    (void)state;
    assert_non_null(huge);
    memset(huge, 'x', 200000);
    assert_int_equal(mr_types_new(&types), MR_OK);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5; i++) {
            struct mr_span text = {(const uint8_t *)like[i], strlen(like[i])};

            assert_int_equal(mr_type_id(cache, MR_TEXT_TYPE, text, &id), MR_OK);
            assert_int_equal(id, i);
        }
    }
    /* Longer than any chunk, and one that has a NUL. */
    for (size_t n = 199999; n <= 200000; n++) {
        struct mr_span text = {(const uint8_t *)huge, n};

        assert_int_equal(mr_type_id(cache, MR_TEXT_TYPE, text, &id), MR_OK);
        assert_int_equal(id, 5 + n - 199999);
        assert_int_equal(known_type(types, id).n, n);
    }
    assert_int_equal(mr_type_id(cache, MR_TEXT_TYPE,
                         (struct mr_span){(const uint8_t *)"a\0b", 3}, &id),
        MR_OK);
    assert_int_equal(id, 7);
    assert_int_equal(mr_types_count(types), 8);
    mr_type_cache_free(cache);
    mr_types_free(types);
    free(huge);
}

static uint64_t rotate_back(uint64_t x, unsigned by)
{
    return x >> by | x << (64 - by);
}

/* The eight bytes that XXH64 makes a hash of, which can be worked out: its
 * steps one by one, the last first. */
static void text_of_hash(uint64_t hash, uint8_t text[8])
{
    const uint64_t less = UINT64_C(0x27d4eb2f165667c5) + 8;
    const uint64_t of_p1 = UINT64_C(0x0887493432badb37),
                   of_p2 = UINT64_C(0x0ba79078168d4baf),
                   of_p3 = UINT64_C(0xe9e9f4c41d6df849);
    uint64_t h = (hash ^ hash >> 32) * of_p3;

    h = (h ^ h >> 29 ^ h >> 58) * of_p2;
    h ^= h >> 33;
    h = rotate_back((h - UINT64_C(0x85ebca77c2b2ae63)) * of_p1, 27) ^ less;
    mr_put_u64(text, rotate_back(h * of_p1, 31) * of_p2);
}

/* Alike in the bits that a table would look at first: to go past all that are
 * there for each of them would take a minute. */
static void types_made_to_collide_are_found(void **state)
{
    const uint32_t n = rounds(200000);
    struct mr_type_cache *cache;
    struct mr_types *types;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    for (uint32_t k = 0; k < 2 * n; k++) {
        uint64_t hash = (uint64_t)(k % n) << 32 | 0xabcdef12;
        uint8_t text[8];
        uint32_t id;

        text_of_hash(hash, text);
        assert_true(mr_hash64(text, 8) == hash);
        assert_int_equal(mr_type_id(cache, MR_TEXT_TYPE,
                             (struct mr_span){text, sizeof text}, &id),
            MR_OK);
        assert_int_equal(id, k % n);
    }
    mr_type_cache_free(cache);
    mr_types_free(types);
}

static void types_have_a_limit(void **state)
{
    struct mr_type_cache *cache;
    struct mr_types *types;
    char text[16];
    uint32_t id = 1;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    for (uint32_t k = 0; k <= MR_TYPES_MAX; k++) {
        struct mr_span span = {(const uint8_t *)text,
            (size_t)snprintf(text, sizeof text, "%x", (unsigned)k)};
        enum mr_status status = mr_type_id(cache, MR_TEXT_TYPE, span, &id);

        if (status != (k < MR_TYPES_MAX ? MR_OK : MR_LIMIT) ||
            (status == MR_OK && id != k))
            fail();
    }
    /* What is known stays known. */
    assert_int_equal(mr_type_id(cache, MR_TEXT_TYPE,
                         (struct mr_span){(const uint8_t *)"ff", 2}, &id),
        MR_OK);
    assert_int_equal(id, 0xff);
    assert_int_equal(
        mr_tuple_type(mr_tuple_pack(0, MR_TYPES_MAX - 1)), MR_TYPES_MAX - 1);
    mr_type_cache_free(cache);
    mr_types_free(types);
}

/* ---- groups ---- */

#define GROUPS 400

#define PARTITIONS 3

/* A partition that asks for groups. */
struct asker {
    const uint16_t *order; /* which groups, with repetitions */
    size_t n;
    bool counts;
    uint32_t id[GROUPS]; /* number + 1 that a group got last */
};

/* A thread, with one partition after the other. */
struct grouper {
    struct mr_types *types;
    struct mr_type_scope *scope; /* of one partition that all read, or NULL */
    struct asker partition[PARTITIONS];
    bool failed;
};

static struct mr_span group_text(unsigned k, char text[32])
{
    return (struct mr_span){
        (uint8_t *)text, (size_t)snprintf(text, 32, "\x03g%u", k)};
}

static void ask_for_groups(
    struct grouper *g, struct mr_type_cache *cache, struct asker *a)
{
    char text[32];

    for (size_t i = 0; i < a->n && !g->failed; i++) {
        uint32_t id = 0;

        g->failed = mr_type_id(cache, MR_TEXT_ROLLUP + 1,
                        group_text(a->order[i], text), &id) != MR_OK;
        a->id[a->order[i]] = id + 1;
    }
}

static bool keep_groups(struct mr_types *types, const struct asker *a)
{
    uint32_t id[GROUPS];
    size_t n = 0;

    for (unsigned k = 0; k < GROUPS; k++)
        if (a->id[k] != 0 && mr_types_is_new_group(types, a->id[k] - 1))
            id[n++] = a->id[k] - 1;
    return mr_types_keep(types, id, n) == MR_OK;
}

static void *read_partitions(void *context)
{
    struct grouper *g = context;
    struct mr_type_cache *cache = NULL;
    struct mr_type_scope *own = NULL;

    g->failed = mr_type_cache_new(g->types, &cache) != MR_OK ||
                mr_type_scope_new(&own) != MR_OK;
    for (unsigned p = 0; p < PARTITIONS && !g->failed; p++) {
        mr_type_scope_clear(own);
        mr_type_cache_enter(cache, g->scope != NULL ? g->scope : own);
        ask_for_groups(g, cache, &g->partition[p]);
        if (g->scope == NULL && g->partition[p].counts)
            g->failed = !keep_groups(g->types, &g->partition[p]);
    }
    mr_type_scope_free(own);
    mr_type_cache_free(cache);
    return NULL;
}

struct hashed {
    uint64_t hash;
    unsigned k;
};

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;

    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* What a group's number comes to. */
static void check_group(
    const struct mr_types *types, uint32_t id, unsigned k, bool is_kept)
{
    char text[32];
    struct mr_span want = group_text(k, text),
                   got = mr_types_text(types, mr_types_final(types, id));

    assert_int_equal(got.p[0], MR_TEXT_ROLLUP + 1);
    assert_int_equal(got.n, is_kept ? 1 + want.n : 1);
    if (is_kept)
        assert_memory_equal(got.p + 1, want.p, want.n);
}

/* Of partitions that count: each group's own text, if it is among the most
 * least hashes of theirs, else nothing but the kind. */
static void check_groups(
    const struct grouper *g, const struct mr_types *types, size_t most)
{
    struct hashed order[GROUPS];
    bool asked[GROUPS] = {false}, kept[GROUPS] = {false};
    char text[32];
    size_t n = 0;

    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            for (unsigned k = 0; k < GROUPS; k++)
                if (g[t].partition[p].counts && g[t].partition[p].id[k] != 0)
                    asked[k] = true;
    for (unsigned k = 0; k < GROUPS; k++) {
        struct mr_span span = group_text(k, text);

        if (asked[k])
            order[n++] = (struct hashed){mr_hash64(span.p, span.n), k};
    }
    qsort(order, n, sizeof *order, by_hash);
    for (size_t i = 0; i < n && i < most; i++)
        kept[order[i].k] = true;
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            for (unsigned k = 0; k < GROUPS; k++)
                if (g[t].partition[p].counts && g[t].partition[p].id[k] != 0)
                    check_group(types, g[t].partition[p].id[k] - 1, k, kept[k]);
}

/* Threads' partitions, of which some come to nothing, or one partition that
 * all threads read. */
static void ask_by_threads(
    struct grouper *g, struct mr_types *types, bool together, size_t below)
{
    static uint16_t order[THREADS][PARTITIONS][700];
    struct mr_type_scope *scope = NULL;
    pthread_t thread[THREADS];

    if (together)
        assert_int_equal(mr_type_scope_new(&scope), MR_OK);
    for (unsigned t = 0; t < THREADS; t++) {
        g[t] = (struct grouper){.types = types, .scope = scope};
        for (unsigned p = 0; p < PARTITIONS; p++) {
            struct asker *a = &g[t].partition[p];

            a->order = order[t][p];
            a->n = any(any(2) ? 12 : 700);
            a->counts = together || any(2);
            for (size_t i = 0; i < a->n; i++)
                order[t][p][i] = (uint16_t)any(below);
        }
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(
            pthread_create(&thread[t], NULL, read_partitions, &g[t]), 0);
    for (unsigned t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(thread[t], NULL), 0);
        assert_false(g[t].failed);
    }
    for (unsigned t = 0; t < THREADS && together; t++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            assert_true(keep_groups(types, &g[t].partition[p]));
    mr_type_scope_free(scope);
}

/* Whatever the order, by however many threads, and whatever else was read. */
static void kept_groups_depend_on_the_set(void **state)
{
    static struct grouper g[THREADS];

    (void)state;
    for (unsigned round = 0; round < rounds(100); round++) {
        size_t most = 1 + any(any(2) ? 5 : GROUPS);
        struct mr_types *types;

        assert_int_equal(mr_types_new(&types), MR_OK);
        mr_types_limit(types, MR_TEXT_ROLLUP + 1, (uint32_t)most);
        ask_by_threads(g, types, any(2), 1 + any(GROUPS));
        check_groups(g, types, most);
        mr_types_free(types);
    }
}

/* The groups from one on, each once. */
static void ask_for_many(
    struct mr_type_cache *cache, unsigned kind, uint32_t k, uint32_t n)
{
    char text[32];
    uint32_t id;

    for (; n > 0; n--, k++)
        assert_int_equal(
            mr_type_id(cache, kind, group_text(k, text), &id), MR_OK);
}

/* A partition of very many groups takes few numbers more than are kept.  Those
 * of thirty, of which none ends, make way for the least of all in time. */
static void numbers_of_groups_do_not_run_out(void **state)
{
    const uint32_t n = MR_TYPES_MAX / 20;
    struct mr_type_scope *scope;
    struct mr_type_cache *cache;
    struct mr_types *types;

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    mr_types_limit(types, MR_TEXT_ROLLUP, 100);
    mr_types_limit(types, MR_TEXT_ROLLUP + 1, n / 2);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    assert_int_equal(mr_type_scope_new(&scope), MR_OK);
    mr_type_cache_enter(cache, scope);
    ask_for_many(cache, MR_TEXT_ROLLUP, 0, n);
    assert_in_range(mr_types_count(types), 100, 1500);
    for (uint32_t i = 0; i < rounds(30); i++) {
        mr_type_scope_clear(scope);
        ask_for_many(cache, MR_TEXT_ROLLUP + 1, i * n, n);
    }
    assert_in_range(mr_types_count(types), n, MR_TYPES_MAX / 2);
    mr_type_scope_free(scope);
    mr_type_cache_free(cache);
    mr_types_free(types);
}

/* The cells of groups that are not kept are one, though none was counted by
 * what stands for them. */
static void further_groups_are_one_cell(void **state)
{
    struct mr_cellbook book = {.n = 0};
    struct mr_type_cache *cache;
    struct mr_types *types;
    uint32_t id[8], number[9], type, further = UINT32_MAX;
    size_t n_kept = 0, n_further = 0;
    bool used[16];
    char text[32];

    (void)state;
    assert_int_equal(mr_types_new(&types), MR_OK);
    mr_types_limit(types, MR_TEXT_ROLLUP + 1, 3);
    assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
    assert_int_equal(
        mr_type_id(cache, MR_TEXT_TYPE, group_text(0, text), &type), MR_OK);
    assert_int_equal(mr_cellbook_number(&book, 5, type, &number[8]), MR_OK);
    for (unsigned k = 0; k < 8; k++) {
        assert_int_equal(
            mr_type_id(cache, MR_TEXT_ROLLUP + 1, group_text(k, text), &id[k]),
            MR_OK);
        assert_int_equal(
            mr_cellbook_number(&book, MR_DAY_END, id[k], &number[k]), MR_OK);
    }
    assert_int_equal(mr_types_keep(types, id, 8), MR_OK);
    assert_int_equal(mr_cellbook_join(&book, types), MR_OK);
    memset(used, 1, sizeof used);
    for (size_t i = 0; i < book.n; i++)
        used[i] = mr_types_text(types, book.cell[i].type).n > 1;
    book.used = used;
    assert_int_equal(mr_cellbook_sort(&book, types), MR_OK);
    book.used = NULL;
    assert_int_equal(book.n_sorted, 1);
    assert_int_equal(book.n_figures, 4);
    assert_int_equal(book.figure[0].n, 1);
    for (size_t i = 0; i < book.n; i++) {
        uint32_t final = mr_types_final(types, book.cell[i].type);
        bool is_kept = final == book.cell[i].type;

        if (book.cell[i].day != MR_DAY_END)
            continue;
        if (mr_types_text(types, final).n == 1) {
            assert_int_equal(book.final[i], 1);
            n_further++;
            further = final;
        } else {
            assert_true(is_kept && book.final[i] > 1);
            n_kept++;
        }
    }
    assert_int_equal(n_kept, 3);
    assert_true(n_further > 1);
    assert_int_not_equal(
        mr_cellbook_find(&book, MR_DAY_END, further), UINT32_MAX);
    mr_cellbook_release(&book);
    mr_type_cache_free(cache);
    mr_types_free(types);
}

/* ---- cells ---- */

static int compare_known(const struct mr_types *types, const struct mr_cell *a,
    const struct mr_cell *b)
{
    if (a->day != b->day)
        return a->day < b->day ? -1 : 1;
    return mr_span_compare(
        known_type(types, a->type), known_type(types, b->type));
}

static void check_sorted(const struct mr_cellbook *book,
    const struct mr_types *types, const struct mr_cell *cell, size_t n,
    const bool *used)
{
    for (size_t i = 0; i < n; i++) {
        const struct mr_cell *sorted = &book->sorted[book->final[i]];
        struct mr_span text = known_type(types, cell[i].type);
        uint32_t less = 0;

        if (!used[i])
            continue;
        for (size_t k = 0; k < n; k++)
            less += used[k] && compare_known(types, &cell[k], &cell[i]) < 0;
        assert_int_equal(book->final[i], less);
        assert_int_equal(sorted->day, cell[i].day);
        assert_true(sorted->type < book->n_types);
        assert_int_equal(mr_span_compare(book->type[sorted->type], text), 0);
    }
    for (size_t i = 1; i < book->n_types; i++)
        assert_true(mr_span_compare(book->type[i - 1], book->type[i]) < 0);
}

/* Types that occur in no cell must not stand in a state. */
static size_t count_types(
    const struct mr_cell *cell, size_t n, const bool *used, uint32_t types)
{
    size_t n_types = 0;

    for (uint32_t t = 0; t < types; t++) {
        size_t i = 0;

        while (i < n && (cell[i].type != t || !used[i]))
            i++;
        n_types += i < n;
    }
    return n_types;
}

static void cells_are_numbered_and_sorted(void **state)
{
    static struct mr_cell cell[700];

    (void)state;
    for (unsigned round = 0; round < 25; round++) {
        struct mr_cellbook book = {.n = 0};
        struct mr_type_cache *cache;
        struct mr_types *types;
        uint32_t n_types = 1 + (uint32_t)any(60), number;
        size_t n = 0, n_used = 0, draws = round == 0 ? 0 : any(700);
        bool used[700];

        assert_int_equal(mr_types_new(&types), MR_OK);
        assert_int_equal(mr_type_cache_new(types, &cache), MR_OK);
        for (unsigned k = 0; mr_types_count(types) < n_types; k++) {
            char text[2048];
            struct mr_span span = {
                (const uint8_t *)text, type_text((unsigned)any(500), text)};

            assert_int_equal(
                mr_type_id(cache, MR_TEXT_TYPE, span, &number), MR_OK);
        }
        for (size_t d = 0; d < draws; d++) {
            struct mr_cell c = {
                (int32_t)any(any(2) ? 5 : MR_DAY_END), (uint32_t)any(n_types)};
            size_t want = 0;

            while (want < n &&
                   (cell[want].day != c.day || cell[want].type != c.type))
                want++;
            if (want == n)
                cell[n++] = c;
            assert_int_equal(
                mr_cellbook_number(&book, c.day, c.type, &number), MR_OK);
            assert_int_equal(number, want);
            assert_int_equal(mr_cellbook_find(&book, c.day, c.type), want);
        }
        assert_int_equal(book.n, n);
        for (size_t i = 0; i < n; i++)
            n_used += used[i] = round % 2 == 0 || any(4) == 0;
        if (round % 2 == 1)
            book.used = used;
        assert_int_equal(mr_cellbook_sort(&book, types), MR_OK);
        assert_int_equal(book.n_sorted, n_used);
        assert_int_equal(book.n_types, count_types(cell, n, used, n_types));
        check_sorted(&book, types, cell, n, used);
        mr_cellbook_release(&book);
        mr_type_cache_free(cache);
        mr_types_free(types);
    }
}

/* ---- batches ---- */

struct seen {
    int32_t day;
    uint32_t type;
    uint64_t events, without_user;
};

static void note(
    struct seen *seen, size_t *n, int32_t day, uint32_t type, bool has_user)
{
    size_t i = 0;

    while (i < *n && (seen[i].day != day || seen[i].type != type))
        i++;
    if (i == *n)
        seen[(*n)++] = (struct seen){day, type, 0, 0};
    seen[i].events++;
    seen[i].without_user += !has_user;
}

static void check_cells(
    const struct mr_batch *b, const struct seen *seen, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; b->cell != NULL && i <= b->cell_mask; i++) {
        const struct mr_cell_tally *c = &b->cell[i];
        size_t k = 0;

        if (c->key1 == 0)
            continue;
        while (k < n && mr_cell_key(seen[k].day, seen[k].type) + 1 != c->key1)
            k++;
        assert_true(k < n);
        assert_int_equal(c->events, seen[k].events);
        assert_int_equal(c->without_user, seen[k].without_user);
        found++;
    }
    assert_int_equal(found, n);
    assert_int_equal(b->n_cells, n);
}

#define BATCH_EVENTS 1000

/* Times near midnight, at both ends, and anywhere. */
static int64_t any_time(void)
{
    int64_t day = (int64_t)any(any(2) ? 4 : (uint64_t)MR_DAY_END);

    switch (any(4)) {
    case 0:
        return day * MR_MS_PER_DAY;
    case 1:
        return day * MR_MS_PER_DAY + MR_MS_PER_DAY - 1;
    case 2:
        return any(2) ? 0 : MR_TIME_END_MS - 1;
    default:
        return (int64_t)any((uint64_t)MR_TIME_END_MS);
    }
}

static struct mr_zone *zone;

static void one_batch(struct mr_batch *b, struct mr_batch *sum,
    struct mr_tuple *tuple, size_t *n_tuples, struct seen *seen, size_t *n_seen)
{
    static struct seen own[BATCH_EVENTS];
    size_t n_own = 0, first = *n_tuples, n = any(BATCH_EVENTS);
    uint32_t n_types = 1 + (uint32_t)any(any(2) ? 3 : MR_TYPES_MAX);

    for (size_t i = 0; i < n; i++) {
        int64_t time = any_time();
        uint32_t type =
            n_types - 1 - (uint32_t)any(n_types < 20 ? n_types : 20);
        uint64_t user = any64();
        bool has_user = any(5) != 0;

        note(own, &n_own, (int32_t)(time / 86400000), type, has_user);
        note(seen, n_seen, (int32_t)(time / 86400000), type, has_user);
        assert_int_equal(
            mr_batch_event(b, zone, time, type, user, has_user), MR_OK);
        if (has_user) {
            tuple[(*n_tuples)++] = b->tuple[b->n_tuples - 1];
            assert_int_equal(b->tuple[b->n_tuples - 1].user, user);
            assert_int_equal(mr_tuple_time(tuple[*n_tuples - 1].what), time);
            assert_int_equal(mr_tuple_type(tuple[*n_tuples - 1].what), type);
        }
    }
    b->lines = n;
    b->blank = b->text_bytes = b->other_day = b->other_type = 1;
    b->reason[MR_REASON_JSON] = 2;
    b->reason[MR_REASON_COUNT - 1] = 3;
    check_cells(b, own, n_own);
    assert_int_equal(b->n_tuples, *n_tuples - first);
    assert_int_equal(mr_batch_count(sum, b), MR_OK);
    assert_int_equal(mr_batch_append(sum, b), MR_OK);
    check_cells(b, own, n_own); /* stays as it is */
    mr_batch_clear(b);
    check_cells(b, own, 0);
    assert_int_equal(b->n_tuples + b->lines + b->reason[0], 0);
}

static void batches_add_up(void **state)
{
    static struct seen seen[8 * BATCH_EVENTS];
    static struct mr_tuple tuple[8 * BATCH_EVENTS];

    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct mr_batch b = {.n_tuples = 0}, sum = {.n_tuples = 0};
        size_t n_tuples = 0, n_seen = 0, batches = any(8);

        for (size_t k = 0; k < batches; k++)
            one_batch(&b, &sum, tuple, &n_tuples, seen, &n_seen);
        check_cells(&sum, seen, n_seen);
        assert_int_equal(sum.n_tuples, n_tuples);
        if (n_tuples > 0)
            assert_memory_equal(sum.tuple, tuple, n_tuples * sizeof *tuple);
        assert_int_equal(sum.other_day, batches);
        assert_int_equal(sum.blank, batches);
        assert_int_equal(sum.text_bytes, batches);
        assert_int_equal(sum.other_type, batches);
        assert_int_equal(sum.reason[MR_REASON_JSON], 2 * batches);
        assert_int_equal(sum.reason[MR_REASON_COUNT - 1], 3 * batches);
        mr_batch_release(&b);
        mr_batch_release(&sum);
    }
}

static void figures_are_tuples_of_their_own(void **state)
{
    struct mr_batch b = {.n_tuples = 0};
    uint64_t events = 0, without = 0;

    (void)state;
    assert_int_equal(mr_batch_event(&b, zone, 86400000, 3, 77, true), MR_OK);
    assert_int_equal(mr_batch_figure(&b, 9, 77, true), MR_OK);
    assert_int_equal(mr_batch_event(&b, zone, 86400001, 3, 0, false), MR_OK);
    assert_int_equal(mr_batch_figure(&b, 9, 0, false), MR_OK);
    assert_int_equal(b.n_tuples, 2);
    assert_int_equal(b.tuple[1].user, 77);
    assert_int_equal(mr_tuple_type(b.tuple[1].what), 9);
    assert_int_equal(mr_tuple_time(b.tuple[1].what), MR_TIME_END_MS);
    for (size_t i = 0; i <= b.cell_mask; i++) {
        if (b.cell[i].key1 != mr_cell_key(MR_DAY_END, 9) + 1)
            continue;
        events += b.cell[i].events;
        without += b.cell[i].without_user;
    }
    assert_int_equal(events, 2);
    assert_int_equal(without, 1);
    mr_batch_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_numbered_by_first_sight),
        cmocka_unit_test(users_take_few_bytes),
        cmocka_unit_test(users_made_to_collide_are_found),
        cmocka_unit_test(users_have_a_limit),
        cmocka_unit_test(threads_agree_on_types),
        cmocka_unit_test(types_are_told_apart),
        cmocka_unit_test(types_made_to_collide_are_found),
        cmocka_unit_test(types_have_a_limit),
        cmocka_unit_test(kept_groups_depend_on_the_set),
        cmocka_unit_test(numbers_of_groups_do_not_run_out),
        cmocka_unit_test(further_groups_are_one_cell),
        cmocka_unit_test(figures_are_tuples_of_their_own),
        cmocka_unit_test(cells_are_numbered_and_sorted),
        cmocka_unit_test(batches_add_up),
    };

    if (mr_zone_load("UTC", &zone, NULL) != MR_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
