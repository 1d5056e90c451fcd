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

#include "mr/superseded.h"
#include "tests/unit/random.h"

/*
 * Random coverages, many of them parts of one another.  What is superseded is
 * worked out anew by the rule itself: b's coverage is joined with a's, settled
 * and compared with b's, for all pairs.
 */

#define STATES 12

static void add_partition(struct mr_coverage *c, unsigned digest, char name)
{
    char text[2] = {name, '\0'}, *names[] = {text};
    struct mr_cell_count cell = {digest % 3, 7 + digest, 1};
    struct mr_reason_count reason = {0, 1 + digest};
    struct mr_partition p = {.name = names,
        .n_names = 1,
        .stored_bytes = digest % 4 * 100, /* several have none */
        .text_bytes = 1000 + digest,
        .lines = 8 + 2 * digest,
        .other_day = (uint64_t)name,
        .cell = &cell,
        .n_cells = 1,
        .reason = &reason,
        .n_reasons = 1};
    struct mr_partition copy;

    /* Many begin alike. */
    p.digest.b[0] = (uint8_t)(digest % 2);
    p.digest.b[15] = (uint8_t)digest;
    assert_int_equal(mr_partition_copy(&p, &copy), MR_OK);
    assert_int_equal(mr_coverage_add(c, &copy), MR_OK);
}

static void add_failure(struct mr_coverage *c, char name, unsigned which)
{
    char text[2] = {name, '\0'};

    if (which == 3) {
        assert_int_equal(
            mr_coverage_add_failure(c, text, MR_NOWHERE, MR_CAUSE_PENDING),
            MR_OK);
        return;
    }
    assert_int_equal(
        mr_coverage_add_failure(c, text, which, which == 2 ? "cut" : "bad"),
        MR_OK);
}

static void add_all(struct mr_coverage *to, const struct mr_coverage *from)
{
    for (size_t i = 0; i < from->n_partitions; i++) {
        struct mr_partition copy;

        assert_int_equal(mr_partition_copy(&from->partition[i], &copy), MR_OK);
        assert_int_equal(mr_coverage_add(to, &copy), MR_OK);
    }
    for (size_t i = 0; i < from->n_failures; i++)
        assert_int_equal(mr_coverage_add_failure(to, from->failure[i].name,
                             from->failure[i].offset, from->failure[i].cause),
            MR_OK);
}

/* Everything in a coverage, as text. */
static void write_down(const struct mr_coverage *c, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        n += (size_t)snprintf(
            out + n, size - n, "%d:%d ", p->digest.b[15], (int)p->other_day);
        for (size_t k = 0; k < p->n_names; k++)
            n += (size_t)snprintf(out + n, size - n, "%s ", p->name[k]);
    }
    for (size_t i = 0; i < c->n_failures; i++)
        n += (size_t)snprintf(out + n, size - n, "!%s %d %s ",
            c->failure[i].name, (int)c->failure[i].offset, c->failure[i].cause);
    assert_true(n < size);
}

/* The rule: settle(a and b) is b. */
static bool adds_nothing(
    const struct mr_coverage *a, const struct mr_coverage *b)
{
    static char joined[4096], alone[4096];
    struct mr_coverage both = {0};

    add_all(&both, a);
    add_all(&both, b);
    assert_int_equal(mr_coverage_settle(&both), MR_OK);
    write_down(&both, joined, sizeof(joined));
    write_down(b, alone, sizeof(alone));
    mr_coverage_release(&both);
    return strcmp(joined, alone) == 0;
}

/* One of few facts: so one state often has all of another. */
static void make(
    struct mr_coverage *c, const struct mr_coverage *others, unsigned n)
{
    unsigned facts = any(5);

    if (n > 0 && any(3) > 0)
        add_all(c, &others[any(n)]);
    if (n > 0 && any(4) == 0)
        add_all(c, &others[any(n)]);
    for (unsigned i = 0; i < facts; i++) {
        if (any(3) == 0)
            add_failure(c, (char)('a' + any(6)), any(4));
        else
            add_partition(c, any(12), (char)('a' + any(6)));
    }
    assert_int_equal(mr_coverage_settle(c), MR_OK);
}

static void check(const struct mr_superseded_state *state, size_t n)
{
    size_t by[STATES];

    assert_int_equal(mr_superseded_find(state, n, by), MR_OK);
    for (size_t i = 0; i < n; i++) {
        bool wanted = false;

        for (size_t k = 0; k < n; k++) {
            bool same_spec = memcmp(state[i].spec.b, state[k].spec.b,
                                 sizeof(state[i].spec.b)) == 0;
            bool has =
                k != i && same_spec &&
                adds_nothing(state[i].coverage, state[k].coverage) &&
                (k < i || !adds_nothing(state[k].coverage, state[i].coverage));

            wanted = wanted || has;
        }
        assert_int_equal(by[i] != MR_NOT_SUPERSEDED, wanted);
        if (!wanted)
            continue;
        assert_true(by[i] < n && by[i] != i);
        assert_int_equal(by[by[i]], MR_NOT_SUPERSEDED);
        assert_true(adds_nothing(state[i].coverage, state[by[i]].coverage));
    }
}

static void the_rule_decides(void **unused)
{
    (void)unused;
    for (unsigned round = 0; round < 3000; round++) {
        struct mr_coverage coverage[STATES] = {{0}};
        struct mr_superseded_state state[STATES] = {{.coverage = NULL}};
        unsigned n = 1 + any(STATES);

        for (unsigned i = 0; i < n; i++) {
            make(&coverage[i], coverage, i);
            state[i].coverage = &coverage[i];
            state[i].spec.b[0] = any(10) == 0;
        }
        check(state, n);
        for (unsigned i = 0; i < n; i++)
            mr_coverage_release(&coverage[i]);
    }
}

/* Checkpoints, each with all of the one before; and one without any. */
static void only_the_last_checkpoint_stays(void **unused)
{
    struct mr_coverage coverage[STATES] = {{0}};
    struct mr_superseded_state state[STATES];
    size_t by[STATES];

    (void)unused;
    for (unsigned i = 0; i < STATES; i++) {
        for (unsigned k = 0; k < i; k++)
            add_partition(&coverage[i], k, (char)('a' + k));
        assert_int_equal(mr_coverage_settle(&coverage[i]), MR_OK);
        state[i] = (struct mr_superseded_state){.coverage = &coverage[i]};
    }
    assert_int_equal(mr_superseded_find(state, STATES, by), MR_OK);
    for (unsigned i = 0; i + 1 < STATES; i++)
        assert_int_equal(by[i], STATES - 1);
    assert_int_equal(by[STATES - 1], MR_NOT_SUPERSEDED);
    assert_int_equal(mr_superseded_find(state, 0, by), MR_OK);
    for (unsigned i = 0; i < STATES; i++)
        mr_coverage_release(&coverage[i]);
}

/* A state that somebody made up is left to merging. */
static void other_counts_of_the_same_bytes_stay(void **unused)
{
    struct mr_coverage coverage[2] = {{0}};
    struct mr_superseded_state state[2] = {
        {.coverage = &coverage[0]}, {.coverage = &coverage[1]}};
    size_t by[2];

    (void)unused;
    for (int i = 0; i < 2; i++)
        add_partition(&coverage[i], 5, 'a');
    coverage[1].partition[0].cell[0].events++;
    assert_int_equal(mr_superseded_find(state, 2, by), MR_OK);
    assert_int_equal(by[0], MR_NOT_SUPERSEDED);
    assert_int_equal(by[1], MR_NOT_SUPERSEDED);
    for (int i = 0; i < 2; i++)
        mr_coverage_release(&coverage[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_decides),
        cmocka_unit_test(only_the_last_checkpoint_stays),
        cmocka_unit_test(other_counts_of_the_same_bytes_stay),
    };

    return cmocka_run_group_tests_name("superseded", tests, NULL, NULL);
}
