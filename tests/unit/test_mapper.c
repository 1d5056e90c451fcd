#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/coverage.h"
#include "mr/found.h"
#include "mr/mapper.h"
#include "tests/unit/random.h"

/*
 * Blocks of lines whose verdict is known beforehand go through a mapper;
 * counts, tuples and rejected lines must be those.  Then what partitions
 * bring is kept, moved and staged, and none of it may be lost.
 */

#define LIMIT 200000
#define DEPTH 20

static struct mr_plan plan;
static struct mr_types *types;
static struct mr_mapper mapper;

static void open_mapper(bool want_rejects)
{
    assert_int_equal(mr_plan_open("lake", &plan, NULL), MR_OK);
    mr_fields_plan_free(plan.fields); /* for lines of other limits */
    plan.spec.max_line_bytes = LIMIT;
    assert_int_equal(mr_fields_plan_new(plan.path, plan.n_paths, LIMIT, DEPTH,
                         &plan.fields, NULL),
        MR_OK);
    assert_int_equal(mr_types_new(&types), MR_OK);
    assert_int_equal(
        mr_mapper_init(&mapper, &plan, want_rejects, types, NULL), MR_OK);
}

static void close_mapper(void)
{
    mr_mapper_release(&mapper);
    mr_mapper_release(&mapper); /* harmless */
    mr_types_free(types);
    mr_plan_release(&plan);
}

/* ---- folders ---- */

static void folders_hint(void **state)
{
    static const struct {
        const char *name;
        int32_t day; /* -1: none */
        const char *type;
    } table[] = {
        {"file", -1, NULL},
        {"date=2024-01-02/file", 19724, NULL},
        {"day=2024-01-02/file", 19724, NULL},
        {"dt=20240102/file", 19724, NULL},
        {"type=login/file", -1, "login"},
        {"event_type=log%69n/file", -1, "login"},
        {"event_type=a%2Fb%2fc/x", -1, "a/b/c"},
        {"type=%/x", -1, "%"},
        {"type=%4/x", -1, "%4"},
        {"type=%4g%41/x", -1, "%4gA"},
        {"type=a=b/x", -1, "a=b"},
        {"type=/x", -1, NULL},
        {"=login/x", -1, NULL},
        {"xtype=login/date2=2024-01-02/x", -1, NULL},
        {"Type=login/x", -1, NULL},
        {"type=login", -1, NULL}, /* the file's own name is no folder */
        {"x/date=2024-01-02/hour=03/type=t/a.gz", 19724, "t"},
        {"date=2024-01-02/date=2024-01-03/type=a/type=b/x", 19725, "b"},
        {"date=2024-02-30/x", -1, NULL},
        {"date=2024-01-02x/x", -1, NULL},
        {"date=1969-12-31/x", -1, NULL},
        {"date=/x", -1, NULL},
        {"//type=t//x", -1, "t"},
    };
    struct mr_preface preface;
    char name[2200];

    (void)state;
    open_mapper(false);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(
            mr_mapper_open(&mapper, table[i].name, &preface, NULL), MR_OK);
        if (strstr(table[i].name, "1969") != NULL) {
            /* Of any year: no event is of that day. */
            assert_true(preface.folders.has_day);
            assert_int_equal(preface.folders.day, -1);
            continue;
        }
        assert_int_equal(preface.folders.has_day, table[i].day >= 0);
        if (preface.folders.has_day)
            assert_int_equal(preface.folders.day, table[i].day);
        assert_int_equal(preface.folders.has_type, table[i].type != NULL);
        if (preface.folders.has_type) {
            struct mr_span text = mr_types_text(types, preface.folders.type);

            assert_int_equal(text.n, 1 + strlen(table[i].type));
            assert_int_equal(text.p[0], MR_TEXT_TYPE);
            assert_memory_equal(text.p + 1, table[i].type, text.n - 1);
        }
    }
    /* As long as a type can be, and longer. */
    for (int n = 1024; n <= 1025; n++) {
        snprintf(name, sizeof name, "type=%0*d/x", n, 7);
        assert_int_equal(mr_mapper_open(&mapper, name, &preface, NULL), MR_OK);
        assert_int_equal(preface.folders.has_type, n == 1024);
    }
    close_mapper();
}

static void a_folder_can_be_a_type_too_many(void **state)
{
    struct mr_preface preface;
    struct mr_error err = {.status = MR_OK};
    char text[16];

    (void)state;
    open_mapper(false);
    for (uint32_t k = 0; k < MR_TYPES_MAX; k++) {
        struct mr_span span = {(const uint8_t *)text,
            (size_t)snprintf(text, sizeof text, "%x", (unsigned)k)};
        uint32_t id;

        if (mr_type_id(mapper.types, MR_TEXT_TYPE, span, &id) != MR_OK)
            fail();
    }
    assert_int_equal(
        mr_mapper_open(&mapper, "type=ff/f", &preface, &err), MR_OK);
    assert_int_equal(
        mr_mapper_open(&mapper, "type=more/f", &preface, &err), MR_LIMIT);
    assert_non_null(strstr(err.cause, "more than 2097152 event types"));
    close_mapper();
}

/* ---- lines ---- */

/* Lines of a known kind; %s is the type, %llu the time. */
#define EVENT(user)                                                            \
    "{\"data\":{\"id\":\"i\",\"type\":\"%s\",\"attributes\":{" user            \
    "}},\"meta\":{\"created_at\":%llu}}"

enum kind { EVENT_WITH_USER, EVENT_WITHOUT, BLANK, REJECTED };

static const struct line {
    enum kind kind;
    unsigned reason;
    const char *text;
} lines[] = {
    {EVENT_WITH_USER, 0, EVENT("\"user_id\":\"u1\"")},
    {EVENT_WITH_USER, 0, EVENT("\"user_id\":42")},
    {EVENT_WITHOUT, 0, EVENT("\"user_id\":null")},
    {EVENT_WITHOUT, 0, EVENT("\"user_id\":\"\"")},
    {EVENT_WITHOUT, 0, EVENT("")},
    {BLANK, 0, ""},
    {BLANK, 0, " \t "},
    {REJECTED, MR_REASON_JSON, "{\"data\":"},
    {REJECTED, MR_REASON_JSON, "\xff\xfe"},
    {REJECTED, MR_REASON_JSON, "\xef\xbb\xbf{}"}, /* a mark is no space */
    {REJECTED, MR_REASON_TOO_DEEP,
        "[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]"},
    {REJECTED, MR_REASON_MISSING(MR_FIELD_ID), "{}"},
    {REJECTED, MR_REASON_MISSING(MR_FIELD_ID), "7"},
    {REJECTED, MR_REASON_MALFORMED(MR_FIELD_ID), "{\"data\":{\"id\":7}}"},
    {REJECTED, MR_REASON_MISSING(MR_FIELD_TYPE), "{\"data\":{\"id\":\"7\"}}"},
    {REJECTED, MR_REASON_MALFORMED(MR_FIELD_USER), EVENT("\"user_id\":1.5")},
};
#define LINES (sizeof lines / sizeof *lines)

static const char *const reason_text[MR_REASON_COUNT] = {
    [MR_REASON_JSON] = "json",
    [MR_REASON_TOO_LONG] = "too-long",
    [MR_REASON_TOO_DEEP] = "too-deep",
    [MR_REASON_MISSING(MR_FIELD_ID)] = "missing:data.id",
    [MR_REASON_MALFORMED(MR_FIELD_ID)] = "malformed:data.id",
    [MR_REASON_MISSING(MR_FIELD_TYPE)] = "missing:data.type",
    [MR_REASON_MALFORMED(MR_FIELD_USER)] = "malformed:data.attributes.user_id",
};

static const char *const type_names[] = {"login", "logout", "p\xc3\xa4y"};

struct expected {
    uint64_t lines, blank, events, without_user, other_day, other_type;
    uint64_t bytes;
    uint64_t reason[MR_REASON_COUNT];
    struct mr_buffer rejects; /* how the lines of JSON must begin */
};

static void append(struct mr_buffer *b, const char *text, size_t n)
{
    assert_int_equal(mr_buffer_add(b, text, n), MR_OK);
}

/* One line more for a block, and what must come of it. */
static void random_line(
    struct mr_buffer *block, struct expected *want, uint64_t offset)
{
    const struct line *line = &lines[any(any(3) ? 3 : LINES)];
    uint64_t day = 19000 + any(3), type = any(3);
    char text[600];
    int n;

    if (line->kind <= EVENT_WITHOUT || strstr(line->text, "%s") != NULL)
        n = snprintf(text, sizeof text, line->text, type_names[type],
            (unsigned long long)(day * 86400000 + any(86400000)));
    else
        n = snprintf(text, sizeof text, "%s", line->text);
    want->lines++;
    want->blank += line->kind == BLANK;
    if (line->kind <= EVENT_WITHOUT) {
        want->events++;
        want->without_user += line->kind == EVENT_WITHOUT;
        want->other_day += day != 19001;
        want->other_type += type != 0;
    } else if (line->kind == REJECTED) {
        char begin[300];

        want->reason[line->reason]++;
        append(&want->rejects, begin,
            (size_t)snprintf(begin, sizeof begin,
                "{\"reason\":\"%s\",\"partition\":\"p\",\"line\":%llu,"
                "\"offset\":%llu,\n",
                reason_text[line->reason],
                (unsigned long long)want->lines + 1000,
                (unsigned long long)(offset + block->n)));
    }
    append(block, text, (size_t)n);
    append(block, "\r\n", 2 - any(2));
    if (block->p[block->n - 1] != '\n')
        append(block, "\n", 1);
}

/* Compare what is before "text" or "base64" in each line. */
static void check_rejects(
    const struct mr_buffer *packed, const struct mr_buffer *want)
{
    struct mr_buffer out = {0};
    const char *w, *w_end, *g, *g_end;

    assert_int_equal(mr_reject_format(&plan.spec, "p",
                         (struct mr_span){packed->p, packed->n}, 1000, &out),
        MR_OK);
    assert_int_equal(out.n > 0, want->n > 0);
    if (want->n == 0)
        return;
    w = (const char *)want->p;
    w_end = w + want->n;
    g = (const char *)out.p;
    g_end = g + out.n;
    while (w < w_end) {
        const char *end = memchr(w, '\n', (size_t)(w_end - w));

        assert_true(g < g_end && g_end - g > end - w);
        assert_memory_equal(g, w, (size_t)(end - w));
        w = end + 1;
        g = (const char *)memchr(g, '\n', (size_t)(g_end - g)) + 1;
    }
    assert_ptr_equal(g, g_end);
    mr_buffer_release(&out);
}

static void check_batch(const struct mr_batch *b, const struct expected *want)
{
    uint64_t events = 0, without = 0;

    for (size_t i = 0; b->cell != NULL && i <= b->cell_mask; i++) {
        events += b->cell[i].events;
        without += b->cell[i].without_user;
    }
    assert_int_equal(b->lines, want->lines);
    assert_int_equal(b->blank, want->blank);
    assert_int_equal(b->text_bytes, want->bytes);
    assert_int_equal(events, want->events);
    assert_int_equal(without, want->without_user);
    assert_int_equal(b->n_tuples, want->events - want->without_user);
    assert_int_equal(b->other_day, want->other_day);
    assert_int_equal(b->other_type, want->other_type);
    for (size_t r = 0; r < MR_REASON_COUNT; r++)
        assert_int_equal(b->reason[r], want->reason[r]);
}

static void lines_are_counted(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        bool want_rejects = round % 2 == 0;
        struct mr_buffer block = {0}, packed = {0};
        struct expected want = {.lines = 0};
        struct mr_batch batch = {.lines = 0};
        struct mr_preface preface;
        uint64_t offset = any(2) ? 0 : any(UINT64_C(1) << 40);

        open_mapper(want_rejects);
        assert_int_equal(mr_mapper_open(&mapper, "date=2022-01-09/type=login/f",
                             &preface, NULL),
            MR_OK);
        for (unsigned k = (unsigned)any(5); k > 0; k--) {
            struct mr_line_block b = {.offset = offset};

            block.n = 0;
            for (unsigned i = (unsigned)any(40); i > 0; i--)
                random_line(&block, &want, offset);
            if (block.n > 0 && any(2))
                block.n--; /* the last line has no end */
            b.text = (struct mr_span){block.p, block.n};
            b.bytes = block.n + any(2) * 3;
            want.bytes += b.bytes;
            offset += b.bytes;
            assert_int_equal(
                mr_mapper_parse(&mapper, &b, &preface, &batch, &packed, NULL),
                MR_OK);
        }
        check_batch(&batch, &want);
        if (want_rejects)
            check_rejects(&packed, &want.rejects);
        else
            assert_int_equal(packed.n, 0);
        mr_batch_release(&batch);
        mr_buffer_release(&block);
        mr_buffer_release(&packed);
        mr_buffer_release(&want.rejects);
        close_mapper();
    }
}

/* Folders say nothing, or what no event can be. */
static void hints_are_not_needed(void **state)
{
    static const char *const names[] = {
        "f", "date=0001-01-01/f", "date=9999-12-31/type=other/f"};

    (void)state;
    open_mapper(false);
    for (unsigned k = 0; k < 3; k++) {
        struct mr_batch batch = {.lines = 0};
        struct mr_preface preface;
        struct mr_line_block b = {.offset = 0};
        char text[300];

        b.text.n = (size_t)snprintf(
            text, sizeof text, EVENT("\"user_id\":1") "\n", "login", 1ull);
        b.text.p = (const uint8_t *)text;
        assert_int_equal(
            mr_mapper_open(&mapper, names[k], &preface, NULL), MR_OK);
        assert_int_equal(
            mr_mapper_parse(&mapper, &b, &preface, &batch, NULL, NULL), MR_OK);
        assert_int_equal(batch.lines, 1);
        assert_int_equal(batch.n_tuples, 1);
        assert_int_equal(batch.other_day, k > 0);
        assert_int_equal(batch.other_type, k > 1);
        mr_batch_release(&batch);
    }
    close_mapper();
}

/* A long line says the same whether it was held or not. */
static void long_lines_are_cut_alike(void **state)
{
    struct mr_preface preface = {.has_csv = false};
    uint8_t *text = malloc(LIMIT + 10);
    struct mr_batch batch = {.lines = 0};
    struct mr_buffer held = {0}, passed = {0};
    struct mr_line_block b = {.bytes = LIMIT + 2, .offset = 5};

    (void)state;
    assert_non_null(text);
    open_mapper(true);
    memset(text, 'x', LIMIT + 10);
    text[LIMIT + 1] = '\n';
    b.text = (struct mr_span){text, LIMIT + 2};
    assert_int_equal(
        mr_mapper_parse(&mapper, &b, &preface, &batch, &held, NULL), MR_OK);
    assert_int_equal(batch.reason[MR_REASON_TOO_LONG], 1);
    mr_batch_clear(&batch);
    b.too_long = b.has_end = true;
    b.text.n = MR_LINES_LONG_KEPT;
    assert_int_equal(
        mr_mapper_parse(&mapper, &b, &preface, &batch, &passed, NULL), MR_OK);
    assert_int_equal(batch.reason[MR_REASON_TOO_LONG], 1);
    assert_int_equal(batch.lines, 1);
    assert_int_equal(batch.text_bytes, LIMIT + 2);
    assert_int_equal(held.n, passed.n);
    assert_memory_equal(held.p, passed.p, held.n);

    /* The cut does not stick to the next line, which is only wrong. */
    mr_batch_clear(&batch);
    held.n = passed.n = 0;
    memcpy(text + LIMIT + 2, "y\n", 2);
    b = (struct mr_line_block){.text = {text, LIMIT + 4}};
    assert_int_equal(
        mr_mapper_parse(&mapper, &b, &preface, &batch, &held, NULL), MR_OK);
    assert_int_equal(batch.reason[MR_REASON_TOO_LONG], 1);
    assert_int_equal(batch.reason[MR_REASON_JSON], 1);
    assert_int_equal(mr_reject_format(&plan.spec, "p",
                         (struct mr_span){held.p, held.n}, 0, &passed),
        MR_OK);
    passed.p[passed.n - 1] = 0;
    assert_string_equal(strchr((char *)passed.p, '\n') + 1,
        "{\"reason\":\"json\",\"partition\":\"p\",\"line\":2,"
        "\"offset\":200002,\"text\":\"y\"}");
    mr_batch_release(&batch);
    mr_buffer_release(&held);
    mr_buffer_release(&passed);
    free(text);
    close_mapper();
}

/* ---- found ---- */

static uint32_t only_cell(void *context, int32_t day, uint32_t type)
{
    (void)context;
    assert_int_equal(day, 1);
    return type;
}

/* What an aggregate holds: users, and a sum that no other users have. */
static void check_aggregate(
    struct mr_aggregate *a, uint64_t users, uint64_t hash_sum)
{
    struct mr_aggregate_scratch *scratch;
    struct mr_block_builder *builder;
    struct mr_user_block block;
    uint64_t members = 0, sum = 0;
    size_t n;

    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    for (unsigned s = 0; s < MR_AGGREGATE_SHARDS; s++)
        assert_int_equal(
            mr_aggregate_seal(a, s, scratch, types, only_cell, NULL), MR_OK);
    assert_int_equal(mr_aggregate_plan(a, &n), MR_OK);
    assert_int_equal(mr_aggregate_users(a), users);
    assert_int_equal(mr_block_builder_new(3, &builder), MR_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(mr_aggregate_block(a, i, builder, &block), MR_OK);
        for (size_t k = 0; k < block.n_sets; k++)
            members += block.sets[k].n;
        for (size_t u = 0; u < block.n; u++)
            sum += block.hash[u] * block.hash[u];
    }
    assert_int_equal(members, users);
    assert_int_equal(sum, hash_sum);
    mr_block_builder_free(builder);
    mr_aggregate_scratch_free(scratch);
}

/* A batch of users that no other batch has. */
static void fill_batch(
    struct mr_batch *b, size_t n, uint64_t *next, uint64_t *hash_sum)
{
    mr_batch_clear(b);
    for (size_t i = 0; i < n; i++) {
        uint64_t user = ++*next * UINT64_C(0x9e3779b97f4a7c15);

        assert_int_equal(
            mr_batch_event(b, plan.zone, 86400000 + (int64_t)i % 1000,
                (uint32_t)(*next % 3), user, true),
            MR_OK);
        *hash_sum += user * user;
    }
    b->lines = n;
}

/* Partitions of all sizes, in groups, into one table; some are dropped. */
static void nothing_found_is_lost(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 400000, 700000};
    struct mr_aggregate_scratch *scratch;
    struct mr_aggregate *all;
    struct mr_batch batch = {.lines = 0}, over = {.lines = 0};
    uint64_t next = 0, sum = 0, users = 0, wasted = 0;

    (void)state;
    open_mapper(false);
    for (unsigned i = 0; i < 3; i++) {
        struct mr_span text = {(const uint8_t *)"abc" + i, 1};
        uint32_t id;

        assert_int_equal(
            mr_type_id(mapper.types, MR_TEXT_TYPE, text, &id), MR_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(mr_aggregate_new(1, plan.zone, &all), MR_OK);
    assert_int_equal(mr_aggregate_scratch_new(&scratch), MR_OK);
    for (unsigned g = 0; g < 8; g++) {
        struct mr_found group = {.staged = NULL};

        for (unsigned p = 0; p < 3; p++) {
            struct mr_found job = {.staged = NULL};
            /* In the first group all are too large to wait as tuples. */
            bool drop = g > 0 && any(4) == 0;
            uint64_t before = next;

            for (unsigned k = g == 0 ? 2 : (unsigned)any(4); k > 0; k--) {
                fill_batch(&batch, sizes[g == 0 ? 4 : any(g < 4 ? 5 : 3)],
                    &next, drop ? &wasted : &sum);
                /* As the owner of a partition does, and as helpers do. */
                assert_int_equal(
                    mr_found_add(&job, &batch, k % 2 ? MR_FOUND_TUPLES : 100000,
                        &plan, &over, NULL),
                    MR_OK);
                if (over.n_tuples > 0)
                    assert_int_equal(
                        mr_found_stage(&job, &over, scratch, NULL), MR_OK);
                assert_int_equal(over.n_tuples, 0);
            }
            assert_int_equal(job.sum.lines, next - before);
            assert_true(job.sum.n_tuples < MR_FOUND_TUPLES);
            append(&job.rejects.text, "pg", 2);
            if (!drop) {
                users += next - before;
                assert_int_equal(
                    mr_found_take(&group, &job, &plan, scratch, NULL), MR_OK);
                assert_int_equal(job.sum.lines, next - before);
                assert_int_equal(job.rejects.text.n, 0);
            }
            mr_found_release(&job);
        }
        assert_true(group.sum.n_tuples < MR_FOUND_TUPLES);
        if (group.staged != NULL)
            assert_int_equal(
                mr_aggregate_merge(all, group.staged, scratch), MR_OK);
        assert_int_equal(
            mr_aggregate_add(all, group.sum.tuple, group.sum.n_tuples, scratch),
            MR_OK);
        assert_int_equal(group.rejects.text.n % 2, 0);
        mr_found_release(&group);
    }
    assert_true(next > 4 * MR_FOUND_TUPLES);
    check_aggregate(all, users, sum);
    mr_batch_release(&batch);
    mr_batch_release(&over);
    mr_aggregate_scratch_free(scratch);
    mr_aggregate_free(all);
    close_mapper();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_hint),
        cmocka_unit_test(a_folder_can_be_a_type_too_many),
        cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(hints_are_not_needed),
        cmocka_unit_test(long_lines_are_cut_alike),
        cmocka_unit_test(nothing_found_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
