#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mr/coverage.h"
#include "tests/unit/random.h"

/*
 * A coverage is made from a list of facts: "these bytes were read under this
 * name" or "this name could not be read".  Laws are tested by cutting lists
 * of facts in every way and comparing the settled result as text; what the
 * text must be is also worked out anew, by plain loops over the facts.
 */

struct fact {
    int digest; /* < 0: a failure */
    char name[24];
    uint64_t offset;
    char cause[32];
};

/* As docs/state-format.md has it: states in files depend on it. */
static const char pending[] = "not read yet; run mr map again";

static bool is_pending(const struct fact *f)
{
    return f->offset == MR_NOWHERE && strcmp(f->cause, pending) == 0;
}

/* Events of a digest: two cells, so that counts have something to add up. */
static uint64_t events_of(int digest)
{
    return 10 + (uint64_t)digest;
}

static void add_partition(struct mr_coverage *c, int digest, const char *name)
{
    struct mr_partition p = {0};

    memset(p.digest.b, digest, sizeof p.digest.b);
    p.name = malloc(sizeof *p.name);
    p.cell = calloc(2, sizeof *p.cell);
    p.reason = calloc(1, sizeof *p.reason);
    assert_true(p.name && p.cell && p.reason);
    p.name[0] = strdup(name);
    p.n_names = 1;
    p.cell[0] = (struct mr_cell_count){0, 4, 1};
    p.cell[1] = (struct mr_cell_count){2, events_of(digest) - 4, 2};
    p.n_cells = 2;
    p.reason[0] = (struct mr_reason_count){MR_REASON_TOO_DEEP, 3};
    p.n_reasons = 1;
    p.stored_bytes = 100;
    p.text_bytes = 1000;
    p.blank = 5;
    p.lines = events_of(digest) + 3 + 5;
    p.other_day = strlen(name); /* depends on the name */
    p.other_type = (uint64_t)name[0];
    assert_int_equal(mr_coverage_add(c, &p), MR_OK);
    assert_null(p.name);
    assert_int_equal(p.n_cells, 0);
}

static void add_facts(struct mr_coverage *c, const struct fact *f, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (f[i].digest >= 0)
            add_partition(c, f[i].digest, f[i].name);
        else
            assert_int_equal(
                mr_coverage_add_failure(c, f[i].name, f[i].offset, f[i].cause),
                MR_OK);
    }
}

static char *put(char *text, const char *format, const char *s, uint64_t n)
{
    size_t used = text ? strlen(text) : 0;
    char *grown = realloc(text, used + 128);

    assert_non_null(grown);
    grown[used] = '\0';
    snprintf(grown + used, 128, format, s, (unsigned long long)n);
    return grown;
}

static char *text_of(const struct mr_coverage *c)
{
    char *text = put(NULL, "%s", "", 0);
    size_t i, j;

    for (i = 0; i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        text = put(text, "P%s%llu", "", p->digest.b[7]);
        for (j = 0; j < p->n_names; j++)
            text = put(text, " %s", p->name[j], 0);
        text = put(text, "%s %llu", "", p->other_day);
        text = put(text, "%s %llu\n", "", p->other_type);
        assert_int_equal(p->lines, events_of(p->digest.b[7]) + 8);
        assert_int_equal(p->n_cells, 2);
        assert_int_equal(p->n_reasons, 1);
    }
    for (i = 0; i < c->n_failures; i++) {
        text =
            put(text, "F %s %llu ", c->failure[i].name, c->failure[i].offset);
        text = put(text, "%s\n", c->failure[i].cause, 0);
    }
    return text;
}

/* The least name above "after" for which the facts have the digest (or any
 * name that was read if digest < 0); NULL if there is none. */
static const char *next_name(
    const struct fact *f, size_t n, int digest, const char *after)
{
    const char *least = NULL;
    size_t i;

    for (i = 0; i < n; i++) {
        if (f[i].digest == digest && strcmp(f[i].name, after) > 0 &&
            (!least || strcmp(f[i].name, least) < 0))
            least = f[i].name;
    }
    return least;
}

/* Which of two failures of a name stays. */
static bool is_before(const struct fact *a, const struct fact *b)
{
    if (is_pending(a) || is_pending(b))
        return !is_pending(a);
    if (a->offset != b->offset)
        return a->offset < b->offset;
    return strcmp(a->cause, b->cause) < 0;
}

/* The text that settling must give, from the definition. */
static char *expected_text(const struct fact *f, size_t n)
{
    char *text = put(NULL, "%s", "", 0);
    const char *name, *first;
    size_t i;
    int d;

    for (d = 0; d < 256; d++) {
        first = name = next_name(f, n, d, "");
        if (!first)
            continue;
        text = put(text, "P%s%llu", "", (uint64_t)d);
        for (; name; name = next_name(f, n, d, name))
            text = put(text, " %s", name, 0);
        text = put(text, "%s %llu", "", strlen(first));
        text = put(text, "%s %llu\n", "", (uint64_t)first[0]);
    }
    for (name = next_name(f, n, -1, ""); name;
         name = next_name(f, n, -1, name)) {
        const struct fact *least = NULL;
        int read = 0;

        for (i = 0; i < n; i++) {
            if (strcmp(f[i].name, name) != 0)
                continue;
            read |= f[i].digest >= 0;
            if (f[i].digest < 0 && (!least || is_before(&f[i], least)))
                least = &f[i];
        }
        if (read || !least)
            continue;
        text = put(text, "F %s %llu ", name, least->offset);
        text = put(text, "%s\n", least->cause, 0);
    }
    return text;
}

static void make_facts(struct fact *f, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        f[i].digest = any(3) == 0 ? -1 : (int)any(12);
        snprintf(f[i].name, sizeof f[i].name, "%.*s%u", (int)any(3), "abc",
            (unsigned)any(14));
        f[i].offset = any(4) == 0 ? MR_NOWHERE : any(3);
        snprintf(f[i].cause, sizeof f[i].cause, "%s cause %u",
            any(2) ? "a" : "z", (unsigned)any(3));
        /* With an offset it is a cause like any other. */
        if (any(3) == 0)
            strcpy(f[i].cause, pending);
    }
}

/* A settled copy of c's content, added to "to". */
static void pour(struct mr_coverage *to, const struct mr_coverage *from)
{
    size_t i;

    for (i = 0; i < from->n_partitions; i++) {
        struct mr_partition copy;

        assert_int_equal(mr_partition_copy(&from->partition[i], &copy), MR_OK);
        assert_int_equal(mr_coverage_add(to, &copy), MR_OK);
    }
    for (i = 0; i < from->n_failures; i++) {
        const struct mr_failure *f = &from->failure[i];

        assert_int_equal(
            mr_coverage_add_failure(to, f->name, f->offset, f->cause), MR_OK);
    }
}

/* Cut the facts at random, settle the parts, join them in random order and
 * grouping, some of them twice. */
static void settle_in_parts(
    struct mr_coverage *whole, const struct fact *f, size_t n)
{
    struct mr_coverage part[5] = {0};
    size_t i, parts = 1 + any(5);

    for (i = 0; i < n; i++) {
        add_facts(&part[any((uint32_t)parts)], &f[i], 1);
        if (any(4) == 0)
            add_facts(&part[any((uint32_t)parts)], &f[i], 1);
    }
    for (i = 0; i < parts; i++)
        assert_int_equal(mr_coverage_settle(&part[i]), MR_OK);
    while (parts > 1) {
        size_t into = any((uint32_t)parts - 1);

        pour(&part[into], &part[parts - 1]);
        if (any(3) == 0)
            pour(&part[into], &part[parts - 1]);
        if (any(2))
            assert_int_equal(mr_coverage_settle(&part[into]), MR_OK);
        mr_coverage_release(&part[--parts]);
    }
    pour(whole, &part[0]);
    mr_coverage_release(&part[0]);
    assert_int_equal(mr_coverage_settle(whole), MR_OK);
}

static void settling_is_a_union(void **state)
{
    struct fact f[40];
    int round, way;

    (void)state;
    for (round = 0; round < 400; round++) {
        size_t n = any(40);
        char *want;

        make_facts(f, n);
        want = expected_text(f, n);
        for (way = 0; way < 6; way++) {
            struct mr_coverage c = {0};
            char *text;

            settle_in_parts(&c, f, n);
            text = text_of(&c);
            assert_string_equal(text, want);
            free(text);
            /* And once more changes nothing. */
            c.n_repeated = 0;
            assert_int_equal(mr_coverage_settle(&c), MR_OK);
            text = text_of(&c);
            assert_string_equal(text, want);
            assert_int_equal(c.n_repeated, 0);
            free(text);
            mr_coverage_release(&c);
        }
        free(want);
    }
}

/* What a run of these facts would have left, had it ended after those that
 * are marked: all else is pending. */
static void unfinished(
    struct mr_coverage *c, const struct fact *f, size_t n, const bool *is_read)
{
    for (size_t i = 0; i < n; i++) {
        if (is_read[i])
            add_facts(c, &f[i], 1);
        else
            assert_int_equal(mr_coverage_add_failure(
                                 c, f[i].name, MR_NOWHERE, MR_CAUSE_PENDING),
                MR_OK);
    }
    assert_int_equal(mr_coverage_settle(c), MR_OK);
}

/* Runs that were cut short, and one of what no one of them has read, give what
 * an undisturbed run gives. */
static void unfinished_runs_complete_each_other(void **state)
{
    struct fact f[30];

    (void)state;
    for (int round = 0; round < 400; round++) {
        struct mr_coverage c = {0}, part;
        bool is_read[30], rest[30];
        size_t n = any(30), parts = 1 + any(4);
        char *want, *text;

        make_facts(f, n);
        for (size_t i = 0; i < n; i++) {
            rest[i] = true;
            if (f[i].digest < 0) /* real ones */
                f[i].cause[0] = 'z';
        }
        want = expected_text(f, n);
        for (size_t p = 0; p < parts; p++) {
            for (size_t i = 0; i < n; i++) {
                is_read[i] = any(2);
                rest[i] = rest[i] && !is_read[i];
            }
            part = (struct mr_coverage){0};
            unfinished(&part, f, n, is_read);
            pour(&c, &part);
            mr_coverage_release(&part);
            if (any(2))
                assert_int_equal(mr_coverage_settle(&c), MR_OK);
        }
        for (size_t i = 0; i < n; i++)
            if (rest[i])
                add_facts(&c, &f[i], 1);
        assert_int_equal(mr_coverage_settle(&c), MR_OK);
        text = text_of(&c);
        assert_string_equal(text, want);
        free(text);
        free(want);
        mr_coverage_release(&c);
    }
}

static void copies_are_apart(void **state)
{
    struct fact f[30];

    (void)state;
    for (int round = 0; round < 50; round++) {
        struct mr_coverage from = {0}, to = {0};
        static const uint32_t number[] = {5, 6, 7};
        size_t n = any(30);
        char *before, *after, *copy;

        make_facts(f, n);
        add_facts(&from, f, n);
        before = text_of(&from);
        assert_int_equal(mr_coverage_copy(&from, &to), MR_OK);
        copy = text_of(&to);
        assert_string_equal(copy, before);
        /* What is done to the copy is not done to the other. */
        for (size_t i = 0; i < to.n_partitions; i++)
            mr_partition_renumber(&to.partition[i], number);
        assert_int_equal(mr_coverage_settle(&to), MR_OK);
        mr_coverage_release(&to);
        after = text_of(&from);
        assert_string_equal(after, before);
        for (size_t i = 0; i < from.n_partitions; i++)
            assert_int_equal(from.partition[i].cell[1].cell, 2);
        mr_coverage_release(&from);
        free(before);
        free(after);
        free(copy);
    }
}

static void repetitions_are_counted(void **state)
{
    struct mr_coverage c = {0};

    (void)state;
    add_partition(&c, 1, "b");
    add_partition(&c, 2, "c");
    add_partition(&c, 1, "a");
    add_partition(&c, 1, "b");
    assert_int_equal(mr_coverage_settle(&c), MR_OK);
    assert_int_equal(c.n_partitions, 2);
    assert_int_equal(c.n_repeated, 2);
    assert_int_equal(c.partition[0].n_names, 2);
    assert_string_equal(c.partition[0].name[0], "a");
    assert_string_equal(c.partition[0].name[1], "b");
    assert_int_equal(c.partition[0].other_type, 'a');
    mr_coverage_release(&c);
}

/* A state that somebody made up may give one digest and name two counts;
 * which of them stays must not depend on the order. */
static void contradictions_have_one_outcome(void **state)
{
    int round;

    (void)state;
    for (round = 0; round < 2; round++) {
        struct mr_coverage c = {0};

        add_partition(&c, 1, "a");
        add_partition(&c, 1, "a");
        c.partition[round].cell[1].without_user = 7;
        assert_int_equal(mr_coverage_settle(&c), MR_OK);
        assert_int_equal(c.n_partitions, 1);
        assert_int_equal(c.partition[0].cell[1].without_user, 2);
        mr_coverage_release(&c);
    }
}

static void sums_add_up(void **state)
{
    struct mr_coverage c = {0};
    struct mr_coverage_totals t;

    (void)state;
    assert_int_equal(mr_coverage_sum(&c, &t), MR_OK);
    assert_int_equal(t.partitions + t.lines + t.events + t.renamed, 0);

    add_partition(&c, 1, "a");
    add_partition(&c, 2, "a"); /* repaired or replaced */
    add_partition(&c, 3, "a");
    add_partition(&c, 3, "b");
    add_partition(&c, 4, "cc");
    assert_int_equal(mr_coverage_add_failure(&c, "d", 9, "broken"), MR_OK);
    assert_int_equal(mr_coverage_settle(&c), MR_OK);
    assert_int_equal(mr_coverage_sum(&c, &t), MR_OK);
    assert_int_equal(t.partitions, 4);
    assert_int_equal(t.failures, 1);
    assert_int_equal(t.stored_bytes, 400);
    assert_int_equal(t.text_bytes, 4000);
    assert_int_equal(t.events, 11 + 12 + 13 + 14);
    assert_int_equal(t.events_without_user, 12);
    assert_int_equal(t.rejected, 12);
    assert_int_equal(t.reason[MR_REASON_TOO_DEEP], 12);
    assert_int_equal(t.reason[MR_REASON_JSON], 0);
    assert_int_equal(t.blank, 20);
    assert_int_equal(t.lines, t.events + t.rejected + t.blank);
    assert_int_equal(t.other_day, 1 + 1 + 1 + 2);
    assert_int_equal(t.other_type, 'a' * 3 + 'c');
    assert_int_equal(t.renamed, 1);
    mr_coverage_release(&c);
}

/* Many empty files are one digest under many names: no square of anything. */
static void hundred_thousand_names(void **state)
{
    struct mr_coverage c = {0};
    char name[24];
    int i;

    (void)state;
    for (i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "p%06d", (i * 7919) % 100000);
        add_partition(&c, 9, name);
        assert_int_equal(mr_coverage_add_failure(&c, name, 0, "gone"), MR_OK);
    }
    assert_int_equal(mr_coverage_settle(&c), MR_OK);
    assert_int_equal(c.n_partitions, 1);
    assert_int_equal(c.n_repeated, 99999);
    assert_int_equal(c.partition[0].n_names, 100000);
    assert_int_equal(c.n_failures, 0);
    for (i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "p%06d", i);
        assert_string_equal(c.partition[0].name[i], name);
    }
    mr_coverage_release(&c);
}

/* All of one name, of which some were read and some were not: to look at each
 * pair of them would take minutes. */
static void failures_are_hidden_by_what_was_read(void **state)
{
    const size_t n = 100000;
    struct mr_coverage c = {0}, veiled;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        add_partition(&c, 1, "x");
        assert_int_equal(mr_coverage_add_failure(&c, "x", i, "bad"), MR_OK);
    }
    assert_int_equal(
        mr_coverage_add_failure(&c, "x", MR_NOWHERE, pending), MR_OK);
    assert_int_equal(mr_coverage_add_failure(&c, "y", 0, "bad"), MR_OK);
    assert_int_equal(mr_coverage_veiled(&c, &veiled), MR_OK);
    assert_int_equal(veiled.n_failures, n);
    assert_string_equal(veiled.failure[n - 1].name, "x");
    mr_coverage_release(&veiled);
    mr_coverage_release(&c);
}

/* Digests of all beginnings, some of which are alike for 8 bytes and more,
 * ascend byte by byte, each with what came with it. */
static void digests_ascend(void **state)
{
    struct mr_coverage c = {0};
    char name[24];
    int i, at;

    (void)state;
    for (i = 0; i < 3000; i++) {
        add_partition(&c, i % 100, "p");
        at = (int)any(MR_DIGEST_BYTES);
        c.partition[i].digest.b[at] = (uint8_t)any(256);
        at = (int)any(MR_DIGEST_BYTES);
        c.partition[i].digest.b[at] = (uint8_t)any(256);
        snprintf(name, sizeof name, "%02x%02x", c.partition[i].digest.b[0],
            c.partition[i].digest.b[15]);
        free(c.partition[i].name[0]);
        c.partition[i].name[0] = strdup(name);
        assert_non_null(c.partition[i].name[0]);
    }
    assert_int_equal(mr_coverage_settle(&c), MR_OK);
    assert_int_equal(c.n_partitions + c.n_repeated, 3000);
    for (i = 0; i < (int)c.n_partitions; i++) {
        const struct mr_partition *p = &c.partition[i];

        if (i > 0)
            assert_true(
                memcmp(p[-1].digest.b, p->digest.b, sizeof p->digest.b) < 0);
        snprintf(
            name, sizeof name, "%02x%02x", p->digest.b[0], p->digest.b[15]);
        assert_string_equal(p->name[0], name);
    }
    mr_coverage_release(&c);
}

/* Figures stay behind cells, and what gets one number becomes one. */
static void figures_are_renumbered(void **state)
{
    static const uint32_t number[] = {1, 0, 4, 2, 2, 3};
    static const struct mr_cell_count before[] = {{0, 5, 1}, {1, 7, 0},
        {2, 3, 3}, {3, 4, 0}, {4, 2, 1}, {5, 1, 1}},
                                      after[] = {{0, 7, 0}, {1, 5, 1},
                                          {2, 6, 1}, {3, 1, 1}, {4, 3, 3}};
    struct mr_partition p = {.n_cells = 2, .n_figures = 4};

    (void)state;
    p.cell = malloc(sizeof before);
    assert_non_null(p.cell);
    memcpy(p.cell, before, sizeof before);
    mr_partition_renumber(&p, number);
    assert_int_equal(p.n_cells, 2);
    assert_int_equal(p.n_figures, 3);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(p.cell[i].cell, after[i].cell);
        assert_int_equal(p.cell[i].events, after[i].events);
        assert_int_equal(p.cell[i].without_user, after[i].without_user);
    }
    mr_partition_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_renumbered),
        cmocka_unit_test(settling_is_a_union),
        cmocka_unit_test(unfinished_runs_complete_each_other),
        cmocka_unit_test(copies_are_apart),
        cmocka_unit_test(repetitions_are_counted),
        cmocka_unit_test(contradictions_have_one_outcome),
        cmocka_unit_test(sums_add_up),
        cmocka_unit_test(hundred_thousand_names),
        cmocka_unit_test(failures_are_hidden_by_what_was_read),
        cmocka_unit_test(digests_ascend),
    };

    seed = 20240611;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
