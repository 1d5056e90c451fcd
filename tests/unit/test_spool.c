#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "mr/spool.h"
#include "tests/unit/folder.h"
#include "tests/unit/random.h"

/* Spools against the same bytes in one piece of memory. */

/* What a spool should have. */
struct model {
    uint8_t *p;
    size_t n;
};

static void model_add(struct model *m, const uint8_t *p, size_t n)
{
    m->p = realloc(m->p, m->n + n + 1);
    assert_non_null(m->p);
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

static void add_some(struct mr_spool *s, struct model *m)
{
    static const size_t sizes[] = {0, 1, 1000, MR_SPOOL_PIECE, 300000,
        MR_SPOOL_BYTES / 2, MR_SPOOL_BYTES - 1, MR_SPOOL_BYTES + 1};
    size_t n = sizes[any(sizeof sizes / sizeof *sizes)];
    uint8_t *p = malloc(n + 1);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)any(256);
    model_add(m, p, n);
    assert_int_equal(
        mr_spool_add(s, (struct mr_span){p, n}, folder, NULL), MR_OK);
    assert_int_equal(mr_spool_bytes(s), m->n);
    assert_true(s->text.n < MR_SPOOL_BYTES);
    free(p);
}

static enum mr_status compare(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    struct model *left = context;

    (void)err;
    assert_true(bytes.n > 0 && bytes.n <= left->n);
    assert_memory_equal(bytes.p, left->p, bytes.n);
    left->p += bytes.n;
    left->n -= bytes.n;
    return MR_OK;
}

static void compare_part(
    const struct mr_spool *s, const struct model *m, size_t at, size_t n)
{
    struct model left = {m->p + at, n};

    assert_int_equal(mr_spool_pass(s, at, n, compare, &left, NULL), MR_OK);
    assert_int_equal(left.n, 0);
}

static void cut_some(struct mr_spool *s, struct model *m)
{
    size_t n = any(2) ? any(m->n + 1) : m->n - any(m->n % 5000 + 1);
    bool in_memory = n >= m->n - s->text.n;

    assert_int_equal(mr_spool_cut(s, n), in_memory);
    if (in_memory)
        m->n = n;
    assert_int_equal(mr_spool_bytes(s), m->n);
}

static void bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(20); round++) {
        struct mr_spool s = {.spill = NULL}, other = s;
        struct model m = {NULL, 0}, more = m;

        for (unsigned k = (unsigned)any(8); k > 0; k--) {
            size_t at;

            add_some(&s, &m);
            if (any(3) == 0)
                cut_some(&s, &m);
            at = any(m.n + 1);
            compare_part(&s, &m, at, any(m.n - at + 1));
        }
        add_some(&other, &more);
        add_some(&other, &more);
        model_add(&m, more.p != NULL ? more.p : (const uint8_t *)"", more.n);
        assert_int_equal(mr_spool_append(&s, &other, folder, NULL), MR_OK);
        assert_int_equal(mr_spool_bytes(&other), 0);
        compare_part(&s, &m, 0, m.n);
        more.n = m.n;
        free(more.p);
        more.p = m.p;
        assert_int_equal(mr_spool_drain(&s, compare, &more, NULL), MR_OK);
        assert_int_equal(more.n, 0);
        assert_int_equal(mr_spool_bytes(&s), 0);
        mr_spool_release(&s);
        mr_spool_release(&other);
        free(m.p);
    }
}

static enum mr_status refuse(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    (void)bytes;
    ++*(unsigned *)context;
    return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "enough");
}

/* Whoever takes bytes can end it at the first. */
static void passing_ends_where_it_fails(void **state)
{
    struct mr_spool s = {.spill = NULL};
    struct model m = {NULL, 0};
    unsigned calls = 0;

    (void)state;
    while (s.spill == NULL || s.text.n == 0)
        add_some(&s, &m);
    assert_int_equal(
        mr_spool_pass(&s, 0, m.n, refuse, &calls, NULL), MR_STOPPED);
    assert_int_equal(calls, 1);
    assert_int_equal(mr_spool_drain(&s, refuse, &calls, NULL), MR_STOPPED);
    assert_int_equal(calls, 2);
    assert_int_equal(mr_spool_bytes(&s), 0);
    mr_spool_release(&s);
    free(m.p);
}

static void failures_name_the_folder(void **state)
{
    const struct rlimit small = {1 << 20, RLIM_INFINITY};
    const size_t n = MR_SPOOL_BYTES;
    struct mr_spool s = {.spill = NULL};
    uint8_t *p = calloc(1, n);
    struct mr_error err;
    struct rlimit before;

    (void)state;
    assert_non_null(p);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_not_equal(
        mr_spool_add(&s, (struct mr_span){p, n}, "/nowhere/at all", &err),
        MR_OK);
    assert_non_null(strstr(err.path, "/nowhere/at all"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(
        mr_spool_add(&s, (struct mr_span){p, n}, folder, &err), MR_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(err.path, folder));
    mr_spool_release(&s);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(passing_ends_where_it_fails),
        cmocka_unit_test(failures_name_the_folder),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
