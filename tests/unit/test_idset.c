#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/ascending.h"
#include "mr/hash.h"
#include "mr/idset.h"
#include "tests/unit/random.h"

/*
 * The reference keeps (day, id) pairs in an array, sorts it with qsort and
 * counts.  What a state would hold, its blocks and index, is compared byte
 * for byte between ways of getting there.
 */

static char folder[] = "/tmp/mr-test-idset-XXXXXX";

/* ---- ascending ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

/* Numbers of every spread: close together, far apart, both. */
static size_t random_numbers(uint64_t *v, size_t n)
{
    unsigned shift = (unsigned)any(64);
    uint64_t base = any(2) ? any64() : 0;

    for (size_t i = 0; i < n; i++)
        v[i] = base + (any64() >> (any(10) == 0 ? any(64) : shift));
    return n;
}

static size_t naive_sort(uint64_t *v, size_t n)
{
    size_t kept = 0;

    qsort(v, n, sizeof(*v), compare_numbers);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || v[i] != v[i - 1])
            v[kept++] = v[i];
    }
    return kept;
}

static void numbers_are_sorted(void **state)
{
    static uint64_t v[3000], w[3000], scratch[3000];

    (void)state;
    for (unsigned round = 0; round < rounds(500); round++) {
        size_t n = random_numbers(v, any(2) ? any(60) : any(3000));
        size_t want;

        memcpy(w, v, sizeof(v));
        want = naive_sort(w, n);
        assert_int_equal(mr_ascending_sort(v, n, scratch), want);
        assert_memory_equal(v, w, want * sizeof(*v));
    }
}

static void numbers_are_packed_and_unpacked(void **state)
{
    static uint64_t v[3000], w[3000];

    (void)state;
    for (unsigned round = 0; round < rounds(1000); round++) {
        size_t n = random_numbers(v, 1 + any(any(2) ? 6 : 3000));
        size_t bytes;
        uint8_t *packed;

        n = naive_sort(v, n);
        bytes = mr_ascending_bytes(v[0], v[n - 1], n);
        assert_true(bytes <= 9 * n);
        packed = malloc(bytes);
        assert_non_null(packed);
        mr_ascending_pack(v, n, packed);
        assert_true(mr_ascending_unpack(
            (struct mr_span){packed, bytes}, v[0], v[n - 1], n, w));
        assert_memory_equal(v, w, n * sizeof(*v));
        free(packed);
    }
}

/* What is accepted is what packing would have made: there is one form. */
static void there_is_one_packed_form(void **state)
{
    uint64_t v[8], w[8];
    uint8_t packed[80], again[80];

    (void)state;
    for (unsigned round = 0; round < rounds(2000); round++) {
        size_t n = naive_sort(v, random_numbers(v, 1 + any(8)));
        size_t bytes = mr_ascending_bytes(v[0], v[n - 1], n);
        struct mr_span span = {packed, bytes};

        mr_ascending_pack(v, n, packed);
        for (size_t i = 0; i < 8 * bytes; i++) {
            packed[i / 8] ^= (uint8_t)(1 << i % 8);
            if (mr_ascending_unpack(span, v[0], v[n - 1], n, w)) {
                assert_true(w[0] == v[0] && w[n - 1] == v[n - 1]);
                mr_ascending_pack(w, n, again);
                assert_memory_equal(packed, again, bytes);
            }
            packed[i / 8] ^= (uint8_t)(1 << i % 8);
        }
        span.n--;
        assert_false(mr_ascending_unpack(span, v[0], v[n - 1], n, w));
        span.n += 2;
        assert_false(mr_ascending_unpack(span, v[0], v[n - 1], n, w));
    }
}

/* ---- sets as a state has them ---- */

struct stored {
    struct mr_buffer dups, didx;
};

static void stored_release(struct stored *s)
{
    mr_buffer_release(&s->dups);
    mr_buffer_release(&s->didx);
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
    const struct mr_buffer *dups = context;

    (void)err;
    assert_true(offset <= dups->n && n <= dups->n - offset);
    memcpy(out, dups->p + offset, n);
    return MR_OK;
}

/* Write a stream as a state would hold it, and free it. */
static struct stored store(struct mr_id_stream *stream)
{
    struct stored s = {{0}, {0}};
    struct mr_idset_index index;

    assert_int_equal(mr_idset_write(stream, put, &s.dups, &index, NULL), MR_OK);
    assert_int_equal(mr_idset_index_encode(&index, &s.didx), MR_OK);
    assert_int_equal(index.bytes, s.dups.n);
    mr_idset_index_release(&index);
    mr_id_stream_free(stream);
    return s;
}

static struct mr_span span_of(const struct mr_buffer *b)
{
    return (struct mr_span){b->p, b->n};
}

static void assert_same(const struct stored *a, const struct stored *b)
{
    assert_int_equal(mr_span_compare(span_of(&a->dups), span_of(&b->dups)), 0);
    assert_int_equal(mr_span_compare(span_of(&a->didx), span_of(&b->didx)), 0);
}

static struct mr_idset_index open_index(
    const struct stored *s, const struct mr_idset_rule *rule)
{
    struct mr_idset_index index;
    const char *why;

    assert_int_equal(
        mr_idset_index_decode(span_of(&s->didx), s->dups.n, rule, &index, &why),
        MR_OK);
    return index;
}

/* ---- the reference ---- */

struct pair {
    int32_t day;
    uint64_t hash;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Read what is stored and compare it with pairs, in any order. */
static void check_stored(const struct stored *s,
    const struct mr_idset_rule *rule, const struct pair *given, size_t n)
{
    struct mr_idset_index index = open_index(s, rule);
    struct pair *pair = malloc((n + 1) * sizeof(*pair));
    struct mr_id_stream *stream;
    struct mr_id_piece piece;
    size_t i = 0, i_day = 0;

    assert_non_null(pair);
    if (n > 0)
        memcpy(pair, given, n * sizeof(*pair));
    qsort(pair, n, sizeof(*pair), compare_pairs);
    assert_int_equal(mr_idset_index_read(&index, get,
                         (void *)(uintptr_t)&s->dups, &stream, NULL),
        MR_OK);
    while (i < n) {
        int32_t day = pair[i].day;
        uint64_t kept = 0, distinct = 0, last = 0;

        assert_int_equal(mr_id_stream_next(stream, &piece, NULL), MR_OK);
        for (size_t k = 0; i < n && pair[i].day == day; i++) {
            if (distinct > 0 && pair[i].hash == pair[i - 1].hash)
                continue;
            distinct++;
            if (!rule->exact && kept == rule->max_ids)
                continue;
            if (k == piece.n && kept > 0) {
                assert_int_equal(
                    mr_id_stream_next(stream, &piece, NULL), MR_OK);
                k = 0;
            }
            assert_int_equal(piece.day, day);
            assert_true(k < piece.n && piece.hash[k] == pair[i].hash);
            last = piece.hash[k++];
            kept++;
        }
        assert_int_equal(mr_id_stream_next(stream, &piece, NULL), MR_OK);
        assert_int_equal(piece.day, day);
        assert_int_equal(piece.n, 0);
        assert_int_equal(piece.cut, kept < distinct);
        assert_true(i_day < index.n_days);
        assert_int_equal(index.day[i_day].day, day);
        assert_int_equal(index.day[i_day].n, kept);
        assert_int_equal(index.day[i_day].cut, kept < distinct);
        assert_true(index.day[i_day].threshold == last);
        i_day++;
    }
    assert_int_equal(mr_id_stream_next(stream, &piece, NULL), MR_OK);
    assert_int_equal(piece.day, MR_ID_END);
    assert_int_equal(i_day, index.n_days);
    mr_id_stream_free(stream);
    mr_idset_index_release(&index);
    free(pair);
}

/* ---- collecting ---- */

static struct mr_idset *new_set(
    const struct mr_idset_rule *rule, uint64_t memory_bytes)
{
    struct mr_idset *set;

    assert_int_equal(
        mr_idset_new(rule, folder, memory_bytes, &set, NULL), MR_OK);
    return set;
}

/* Add pairs in their order, runs of one day together. */
static void add_pairs(struct mr_idset *set, const struct pair *pair, size_t n)
{
    uint64_t hash[5000];

    for (size_t i = 0; i < n;) {
        size_t first = i, m = 0;

        for (; i < n && m < 5000 && pair[i].day == pair[first].day; i++)
            hash[m++] = pair[i].hash;
        assert_int_equal(
            mr_idset_add(set, pair[first].day, hash, m, NULL), MR_OK);
    }
}

/* What was added so far; more can follow. */
static struct stored peek_set(struct mr_idset *set)
{
    struct mr_id_stream *stream;

    assert_int_equal(mr_idset_read(set, &stream, NULL), MR_OK);
    return store(stream);
}

static struct stored store_set(struct mr_idset *set)
{
    struct stored s = peek_set(set);

    mr_idset_free(set);
    return s;
}

static struct stored map_pairs(const struct mr_idset_rule *rule,
    const struct pair *pair, size_t n, uint64_t memory_bytes)
{
    struct mr_idset *set = new_set(rule, memory_bytes);

    add_pairs(set, pair, n);
    return store_set(set);
}

static struct stored merge_stored(
    const struct mr_idset_rule *rule, struct stored *const *from, size_t n)
{
    struct mr_idset_index index[8];
    struct mr_id_stream *stream[8], *merged;
    struct stored s;

    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        index[i] = open_index(from[i], rule);
        assert_int_equal(mr_idset_index_read(
                             &index[i], get, &from[i]->dups, &stream[i], NULL),
            MR_OK);
    }
    assert_int_equal(mr_id_stream_merge(rule, stream, n, &merged, NULL), MR_OK);
    s = store(merged);
    for (size_t i = 0; i < n; i++) {
        mr_id_stream_free(stream[i]);
        mr_idset_index_release(&index[i]);
    }
    return s;
}

/* Pairs of some days, with repetitions, some days with hashes that are close
 * together, some that come in ascending order. */
static struct pair *random_pairs(size_t n, unsigned n_days, uint64_t n_ids)
{
    struct pair *pair = malloc((n + 1) * sizeof(*pair));
    int32_t day = 0;
    size_t run = 0;

    assert_non_null(pair);
    for (size_t i = 0; i < n; i++) {
        uint64_t id = any(n_ids);

        if (run-- == 0) {
            run = any(300);
            day = (int32_t)any(n_days);
        }
        pair[i].day = 19000 + day;
        pair[i].hash = day == 1 ? id : mr_hash64(&id, sizeof(id));
    }
    if (n > 2) {
        pair[0] = (struct pair){0, 0};
        pair[1] = (struct pair){MR_DAY_END - 1, UINT64_MAX};
    }
    return pair;
}

static struct mr_idset_rule random_rule(void)
{
    static const uint64_t max_ids[] = {2, 3, 16, 500, 5000, 20000, 1000000};

    return (struct mr_idset_rule){
        max_ids[any(sizeof(max_ids) / sizeof(*max_ids))], any(3) == 0};
}

static size_t random_size(void)
{
    static const size_t size[] = {0, 5, 1000, 30000, 150000};

    return size[any(5)];
}

static void what_is_stored_is_what_was_added(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(60); round++) {
        struct mr_idset_rule rule = random_rule();
        size_t n = random_size();
        struct pair *pair =
            random_pairs(n, 1 + (unsigned)any(5), 1 + any(2 * n + 1));
        struct stored s = map_pairs(&rule, pair, n, MR_IDSET_MEMORY);

        check_stored(&s, &rule, pair, n);
        stored_release(&s);
        free(pair);
    }
}

static void reading_leaves_all_as_it_was(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(40); round++) {
        struct mr_idset_rule rule = random_rule();
        size_t n = random_size(), end = 0;
        struct pair *pair =
            random_pairs(n, 1 + (unsigned)any(5), 1 + any(2 * n + 1));
        struct mr_idset *set =
            new_set(&rule, any(2) ? MR_IDSET_MEMORY : any(1 << any(20)));

        for (unsigned k = 1 + (unsigned)any(6); k-- > 0;) {
            size_t more = k == 0 ? n - end : any(n - end + 1);
            struct stored read;

            add_pairs(set, pair + end, more);
            end += more;
            read = peek_set(set);
            check_stored(&read, &rule, pair, end);
            stored_release(&read);
        }
        mr_idset_free(set);
        free(pair);
    }
}

static bool is_folder_empty(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    bool empty = true;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        empty &= entry->d_name[0] == '.' &&
                 (entry->d_name[1] == '\0' || entry->d_name[1] == '.');
    closedir(dir);
    return empty;
}

static void spilling_changes_nothing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(20); round++) {
        struct mr_idset_rule rule = {1000, true};
        size_t n = 1000 + any(100000);
        struct pair *pair = random_pairs(n, 3, n);
        struct stored all = map_pairs(&rule, pair, n, MR_IDSET_MEMORY);
        struct mr_idset *set = new_set(&rule, any(1 << any(20)));
        struct stored spilled;

        add_pairs(set, pair, n);
        assert_true(is_folder_empty());
        spilled = store_set(set);
        check_stored(&spilled, &rule, pair, n);
        assert_same(&all, &spilled);
        stored_release(&all);
        stored_release(&spilled);
        free(pair);
    }
}

/* A part in any order, some of it twice. */
static struct stored map_part(const struct mr_idset_rule *rule,
    const struct pair *pair, size_t n, uint64_t memory_bytes)
{
    struct mr_idset *set = new_set(rule, memory_bytes);
    size_t cut = n > 0 ? any(n) : 0;
    struct stored s;

    add_pairs(set, pair + cut, n - cut);
    add_pairs(set, pair, n);
    s = store_set(set);
    return s;
}

static void merging_is_a_union(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(40); round++) {
        struct mr_idset_rule rule = random_rule();
        size_t n = random_size(), a = any(n + 1), b = a + any(n - a + 1);
        struct pair *pair =
            random_pairs(n, 1 + (unsigned)any(5), 1 + any(2 * n + 1));
        struct stored whole = map_pairs(&rule, pair, n, MR_IDSET_MEMORY);
        struct stored x = map_part(&rule, pair, a, MR_IDSET_MEMORY);
        struct stored y = map_part(&rule, pair + a, b - a, 100000);
        /* It has some of the others', too. */
        struct stored z =
            map_part(&rule, pair + a / 2, n - a / 2, MR_IDSET_MEMORY);
        struct stored xy, yz, again[5];

        xy = merge_stored(&rule, (struct stored *[]){&x, &y}, 2);
        yz = merge_stored(&rule, (struct stored *[]){&y, &z}, 2);
        again[0] = merge_stored(&rule, (struct stored *[]){&x, &y, &z}, 3);
        again[1] = merge_stored(&rule, (struct stored *[]){&z, &y, &x}, 3);
        again[2] = merge_stored(&rule, (struct stored *[]){&xy, &z}, 2);
        again[3] = merge_stored(&rule, (struct stored *[]){&x, &yz}, 2);
        again[4] = merge_stored(
            &rule, (struct stored *[]){&whole, &x, &whole, &yz}, 4);
        for (int i = 0; i < 5; i++) {
            assert_same(&whole, &again[i]);
            stored_release(&again[i]);
        }
        check_stored(&whole, &rule, pair, n);
        stored_release(&whole);
        stored_release(&x);
        stored_release(&y);
        stored_release(&z);
        stored_release(&xy);
        stored_release(&yz);
        free(pair);
    }
}

struct part {
    struct mr_idset *set;
    const struct pair *pair;
    size_t n;
};

static void *add_part(void *context)
{
    const struct part *part = context;

    add_pairs(part->set, part->pair, part->n);
    return NULL;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(10); round++) {
        struct mr_idset_rule rule = {any(2) ? 5000 : 40000, any(2)};
        size_t n = 400000;
        struct pair *pair = random_pairs(n, 3, n);
        struct stored want = map_pairs(&rule, pair, n, MR_IDSET_MEMORY);
        struct mr_idset *set = new_set(&rule, 1000000);
        struct part part[4];
        pthread_t thread[4];
        struct stored got;

        for (size_t i = 0; i < 4; i++) {
            /* They overlap. */
            part[i] = (struct part){set, pair + i * (n / 5), 2 * (n / 5)};
            assert_int_equal(
                pthread_create(&thread[i], NULL, add_part, &part[i]), 0);
        }
        for (size_t i = 0; i < 4; i++)
            pthread_join(thread[i], NULL);
        got = store_set(set);
        assert_same(&want, &got);
        stored_release(&want);
        stored_release(&got);
        free(pair);
    }
}

static void impossible_requests_are_refused(void **state)
{
    struct mr_idset *set;
    struct mr_error err;
    uint64_t hash = 1;

    (void)state;
    assert_int_equal(mr_idset_new(&(struct mr_idset_rule){1, false}, folder,
                         MR_IDSET_MEMORY, &set, &err),
        MR_USAGE);
    assert_int_equal(mr_idset_new(&(struct mr_idset_rule){1, true},
                         "/tmp/mr-no-such-folder", 0, &set, &err),
        MR_OK);
    assert_int_equal(mr_idset_add(set, 1, &hash, 1, &err), MR_IO);
    assert_string_equal(err.path, "/tmp/mr-no-such-folder");
    mr_idset_free(set);
}

/* ---- hostile bytes ---- */

/* Read it all; the first failure, or MR_OK. */
static enum mr_status read_all(
    const struct stored *s, const struct mr_idset_rule *rule)
{
    struct mr_id_piece piece = {0};
    struct mr_idset_index index;
    struct mr_id_stream *stream;
    enum mr_status status;
    struct mr_error err;
    const char *why = NULL;

    status =
        mr_idset_index_decode(span_of(&s->didx), s->dups.n, rule, &index, &why);
    if (status != MR_OK) {
        assert_non_null(why);
        return status;
    }
    assert_int_equal(mr_idset_index_read(&index, get,
                         (void *)(uintptr_t)&s->dups, &stream, NULL),
        MR_OK);
    while (status == MR_OK && piece.day != MR_ID_END)
        status = mr_id_stream_next(stream, &piece, &err);
    mr_id_stream_free(stream);
    mr_idset_index_release(&index);
    return status;
}

static void every_changed_bit_is_noticed(void **state)
{
    struct mr_idset_rule rule = {100, false};
    struct pair *pair = random_pairs(700, 3, 500);
    struct stored s = map_pairs(&rule, pair, 700, MR_IDSET_MEMORY);

    (void)state;
    assert_int_equal(read_all(&s, &rule), MR_OK);
    for (size_t i = 0; i < 8 * s.dups.n; i++) {
        s.dups.p[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(read_all(&s, &rule), MR_CHECKSUM);
        s.dups.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    /* The index has a checksum of its own in a state; without it a changed
     * day, or number of ids, may pass, but is then what was written. */
    for (size_t i = 0; i < 8 * s.didx.n; i++) {
        struct mr_idset_index index;
        struct mr_buffer again = {0};
        const char *why;

        s.didx.p[i / 8] ^= (uint8_t)(1 << i % 8);
        if (mr_idset_index_decode(
                span_of(&s.didx), s.dups.n, &rule, &index, &why) == MR_OK) {
            assert_int_equal(mr_idset_index_encode(&index, &again), MR_OK);
            assert_int_equal(
                mr_span_compare(span_of(&again), span_of(&s.didx)), 0);
            mr_buffer_release(&again);
            mr_idset_index_release(&index);
            (void)!read_all(&s, &rule);
        }
        s.didx.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = s.didx.n; s.didx.n-- > 0;)
        assert_int_equal(read_all(&s, &rule), n > 0 ? MR_FORMAT : MR_OK);
    stored_release(&s);
    free(pair);
}

/* Sections that are sound, but of another spec. */
static void other_rules_are_noticed(void **state)
{
    struct mr_idset_rule rule = {100, false};
    struct pair *pair = random_pairs(700, 3, 500);
    struct stored s = map_pairs(&rule, pair, 700, MR_IDSET_MEMORY);

    (void)state;
    rule.max_ids = 99;
    assert_int_equal(read_all(&s, &rule), MR_FORMAT);
    rule.max_ids = 101;
    assert_int_equal(read_all(&s, &rule), MR_FORMAT);
    rule.exact = true;
    assert_int_equal(read_all(&s, &rule), MR_FORMAT);
    stored_release(&s);
    free(pair);
}

/* ---- figures ---- */

/* The k least of n random ids, by way of the unit itself. */
static struct mr_idset_day sample(uint64_t k, uint64_t n)
{
    struct mr_idset_rule rule = {k, false};
    struct mr_idset *set = new_set(&rule, MR_IDSET_MEMORY);
    struct mr_idset_index index;
    struct mr_id_stream *stream;
    struct mr_idset_day day;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = any64(), hash = mr_hash64(&id, sizeof(id));

        assert_int_equal(mr_idset_add(set, 7, &hash, 1, NULL), MR_OK);
    }
    assert_int_equal(mr_idset_read(set, &stream, NULL), MR_OK);
    assert_int_equal(mr_idset_write(stream, NULL, NULL, &index, NULL), MR_OK);
    assert_int_equal(index.n_days, 1);
    day = index.day[0];
    mr_idset_index_release(&index);
    mr_id_stream_free(stream);
    mr_idset_free(set);
    return day;
}

static void few_ids_are_counted(void **state)
{
    struct mr_idset_day day = sample(50, 50);
    struct mr_idset_figure ids = mr_idset_distinct(&day);
    struct mr_idset_figure twice = mr_idset_duplicates(&day, 61);

    (void)state;
    assert_true(ids.exact && ids.value == 50 && ids.low == 50);
    assert_true(twice.exact && twice.value == 11 && twice.high == 11);
}

/* The example of docs/kpis.md, its interval from the binomial's table. */
static void the_documented_example_holds(void **state)
{
    static const double at[] = {0.05, 0.05, 0.05, 0.90, 0.35, 0.35, 0.20, 0.60};

    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct mr_idset_rule rule = {3, exact};
        struct mr_idset *set = new_set(&rule, MR_IDSET_MEMORY);
        struct mr_idset_index index;
        struct mr_id_stream *stream;
        struct mr_idset_figure f;

        for (size_t i = 0; i < 8; i++) {
            uint64_t hash = (uint64_t)(at[i] * 0x1p64);

            assert_int_equal(mr_idset_add(set, 1, &hash, 1, NULL), MR_OK);
        }
        assert_int_equal(mr_idset_read(set, &stream, NULL), MR_OK);
        assert_int_equal(
            mr_idset_write(stream, NULL, NULL, &index, NULL), MR_OK);
        f = mr_idset_duplicates(&index.day[0], 8);
        assert_int_equal(f.exact, exact);
        assert_true(fabs(f.value - (exact ? 3 : 8 - 2 / 0.35)) < 1e-9);
        assert_true(f.low == (exact ? 3 : 0) && f.high == (exact ? 3 : 4));
        f = mr_idset_distinct(&index.day[0]);
        assert_true(f.low == (exact ? 5 : 4) && f.high == (exact ? 5 : 17));
        mr_idset_index_release(&index);
        mr_id_stream_free(stream);
        mr_idset_free(set);
    }
}

/* The mean over many seeds within four standard errors of the truth, and the
 * interval around it in 95 of 100, give or take four of its standard errors.
 * For n ids of which k are kept the variance of (k - 1) / u is
 * n (n - k + 1) / (k - 2). */
static void estimate_is_unbiased(uint64_t k, uint64_t n, unsigned times)
{
    double sum = 0, inside = 0, deviation;
    double error = sqrt((double)n * (double)(n - k + 1) / (double)(k - 2));

    for (unsigned i = 0; i < times; i++) {
        struct mr_idset_day day = sample(k, n);
        struct mr_idset_figure ids = mr_idset_distinct(&day);
        struct mr_idset_figure twice = mr_idset_duplicates(&day, n + 100);

        assert_false(ids.exact);
        assert_true(ids.low <= ids.high);
        assert_true(ids.low > (double)k);
        assert_true(fabs(twice.value + ids.value - (double)n - 100) < 1e-6);
        assert_true(twice.low >= 0 && twice.low <= twice.high);
        assert_int_equal(twice.low <= 100 && twice.high >= 100,
            ids.low <= (double)n && ids.high >= (double)n);
        sum += ids.value;
        inside += ids.low <= (double)n && ids.high >= (double)n;
    }
    deviation = fabs(sum / times - (double)n);
    if (deviation > 4 * error / sqrt(times))
        fail_msg("k %d, n %d: mean is off by %.3f standard errors", (int)k,
            (int)n, deviation / error * sqrt(times));
    deviation = inside / times - 0.95;
    if (fabs(deviation) > 4 * sqrt(0.95 * 0.05 / times) + 0.003)
        fail_msg("k %d, n %d: %.4f of the intervals hold it", (int)k, (int)n,
            inside / times);
}

static void estimates_are_unbiased(void **state)
{
    (void)state;
    estimate_is_unbiased(3, 400, rounds(5000));
    estimate_is_unbiased(10, 50, rounds(3000));
    estimate_is_unbiased(20, 1000, rounds(3000));
    estimate_is_unbiased(200, 240, rounds(1500));
    estimate_is_unbiased(200, 5000, rounds(700));
    estimate_is_unbiased(2000, 30000, rounds(150));
}

/* The chance that at most k - 1 of n numbers are below u, summed up term by
 * term: at the ends of an interval it is 2.5 in a hundred, and one further
 * less. */
static double binomial(double k, double n, double u)
{
    double sum = 0;

    for (double i = 0; i < k; i++)
        sum += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) +
                   i * log(u) + (n - i) * log1p(-u));
    return sum;
}

static void intervals_are_those_of_the_binomial(void **state)
{
    static const uint64_t ks[] = {2, 3, 10, 1000};

    (void)state;
    for (int i = 0; i < 40; i++) {
        double k = (double)ks[i % 4], u = pow(10, -(i / 4 + 0.3) / 2);
        struct mr_idset_day day = {
            .cut = true, .n = ks[i % 4], .threshold = (uint64_t)(u * 0x1p64)};
        struct mr_idset_figure ids = mr_idset_distinct(&day);

        assert_true(fabs(ids.value * u / (k - 1) - 1) < 1e-9);
        if (ids.low > k + 1) {
            assert_true(1 - binomial(k, ids.low, u) > 0.025 - 1e-7);
            assert_true(1 - binomial(k, ids.low - 1, u) < 0.025 + 1e-7);
        }
        if (ids.high > k + 1) {
            assert_true(binomial(k, ids.high, u) > 0.025 - 1e-7);
            assert_true(binomial(k, ids.high + 1, u) < 0.025 + 1e-7);
        }
    }
}

/* Where k is large the interval is close to the normal one; and no threshold
 * that a state may hold gives anything but numbers in order. */
static void large_figures_are_sound(void **state)
{
    static const uint64_t threshold[] = {
        1, 1000000, UINT64_C(1) << 40, UINT64_MAX / 3, UINT64_MAX};

    (void)state;
    for (double n = 2e6; n < 2e11; n *= 10) {
        struct mr_idset_day day = {.cut = true,
            .n = 1000000,
            .threshold = (uint64_t)(1e6 / n * 0x1p64)};
        struct mr_idset_figure ids = mr_idset_distinct(&day);
        double half = 1.959964 * sqrt(n * (n - 1e6) / 1e6);

        assert_true(fabs(ids.value - n) < n / 5e5);
        assert_true(fabs(ids.high - n - half) < half / 100);
        assert_true(fabs(n - ids.low - half) < half / 100);
    }
    for (unsigned i = 0; i < 15; i++) {
        struct mr_idset_day day = {.cut = true,
            .n = i % 3 == 0   ? 2
                 : i % 3 == 1 ? 1000
                              : 1000000,
            .threshold = threshold[i / 3]};
        struct mr_idset_figure ids;

        if (day.threshold < day.n - 1)
            continue;
        ids = mr_idset_distinct(&day);
        assert_true(isfinite(ids.value) && isfinite(ids.high));
        assert_true((double)day.n < ids.low && ids.low <= ids.high);
        assert_true(ids.value <= ids.high * 1.0000001);
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_sorted),
        cmocka_unit_test(numbers_are_packed_and_unpacked),
        cmocka_unit_test(there_is_one_packed_form),
        cmocka_unit_test(what_is_stored_is_what_was_added),
        cmocka_unit_test(reading_leaves_all_as_it_was),
        cmocka_unit_test(spilling_changes_nothing),
        cmocka_unit_test(merging_is_a_union),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(other_rules_are_noticed),
        cmocka_unit_test(few_ids_are_counted),
        cmocka_unit_test(the_documented_example_holds),
        cmocka_unit_test(estimates_are_unbiased),
        cmocka_unit_test(intervals_are_those_of_the_binomial),
        cmocka_unit_test(large_figures_are_sound),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
