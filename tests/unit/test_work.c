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
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "mr/lines.h"
#include "mr/mr.h"
#include "mr/state.h"
#include "tests/unit/random.h"

/*
 * Whole maps of one partition: the same text, however it is stored and by
 * however many threads it is read, gives the same figures and the same
 * rejected lines; and a file that changes meanwhile leaves no trace.
 */

static char folder[256];

static const char *path_of(const char *name)
{
    static char path[8][512];
    static unsigned k;

    k = (k + 1) % 8;
    snprintf(path[k], sizeof path[k], "%s/%s", folder, name);
    return path[k];
}

/* ---- storing a text ---- */

static struct mr_buffer text;

static void save(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void save_gzip(const char *name)
{
    gzFile f = gzopen(path_of(name), "wb1");

    assert_non_null(f);
    if (text.n > 0)
        assert_int_equal(gzwrite(f, text.p, (unsigned)text.n), text.n);
    assert_int_equal(gzclose(f), Z_OK);
}

static void add_frame(struct mr_buffer *out, size_t at, size_t n)
{
    size_t bound = ZSTD_compressBound(n), packed;

    assert_int_equal(mr_buffer_reserve(out, out->n + bound), MR_OK);
    packed =
        ZSTD_compress(out->p + out->n, out->cap - out->n, text.p + at, n, 1);
    assert_false(ZSTD_isError(packed));
    out->n += packed;
}

/* Frames of any size, the first of a given one: lines straddle them. */
static void save_frames(const char *name, size_t first, size_t most)
{
    struct mr_buffer out = {0};
    size_t at = 0, n = first < text.n ? first : text.n;

    do {
        add_frame(&out, at, n);
        at += n;
        n = 1 + any(most);
        if (n > text.n - at)
            n = text.n - at;
    } while (at < text.n);
    save(name, out.p, out.n);
    mr_buffer_release(&out);
}

/* ---- mapping ---- */

static struct mr_observer quiet;

struct outcome {
    struct mr_result result;
    struct mr_state *state;
    char *rejects; /* without the partition's name */
};

static char *load_rejects(void)
{
    FILE *f = fopen(path_of("rejects"), "rb");
    struct mr_buffer all = {0};
    char *line = NULL;
    size_t cap = 0;

    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        char *name = strstr(line, ",\"partition\":");
        char *end = strstr(line, ",\"line\":");

        assert_true(name != NULL && end != NULL);
        assert_int_equal(
            mr_buffer_add(&all, line, (size_t)(name - line)), MR_OK);
        assert_int_equal(mr_buffer_add(&all, end, strlen(end)), MR_OK);
    }
    assert_int_equal(mr_buffer_add(&all, "", 1), MR_OK);
    free(line);
    fclose(f);
    return (char *)all.p;
}

static struct outcome map(const char *name, unsigned threads, bool want_rejects,
    const struct mr_observer *observer)
{
    char *input[1] = {strdup(path_of(name))};
    struct mr_map_options options = {.spec = path_of("spec.yaml"),
        .input = input,
        .n_inputs = 1,
        .output = path_of("out.mrs"),
        .threads = threads,
        .rejects = want_rejects ? path_of("rejects") : NULL};
    struct mr_error err = {.status = MR_OK};
    struct outcome o = {.state = NULL};
    char sentence[1200];
    enum mr_status status = mr_map(&options, observer, &o.result, &err);

    if (status != MR_OK) {
        mr_error_format(&err, sentence, sizeof sentence);
        fail_msg("%s", sentence);
    }
    assert_int_equal(mr_state_open(path_of("out.mrs"), &o.state, NULL), MR_OK);
    if (want_rejects)
        o.rejects = load_rejects();
    free(input[0]);
    return o;
}

static void outcome_release(struct outcome *o)
{
    mr_state_close(o->state);
    mr_result_release(&o->result);
    free(o->rejects);
}

static void same_figures(const struct outcome *a, const struct outcome *b)
{
    const struct mr_state_head *x = mr_state_get_head(a->state);
    const struct mr_state_head *y = mr_state_get_head(b->state);
    const struct mr_partition *p = x->coverage.partition;
    const struct mr_partition *q = y->coverage.partition;

    assert_int_equal(x->coverage.n_partitions, 1);
    assert_int_equal(y->coverage.n_partitions, 1);
    assert_int_equal(p->lines, q->lines);
    assert_int_equal(p->blank, q->blank);
    assert_int_equal(p->text_bytes, q->text_bytes);
    assert_int_equal(p->n_cells, q->n_cells);
    for (size_t i = 0; i < p->n_cells; i++) {
        assert_int_equal(p->cell[i].events, q->cell[i].events);
        assert_int_equal(p->cell[i].without_user, q->cell[i].without_user);
    }
    assert_int_equal(p->n_reasons, q->n_reasons);
    for (size_t i = 0; i < p->n_reasons; i++) {
        assert_int_equal(p->reason[i].reason, q->reason[i].reason);
        assert_int_equal(p->reason[i].lines, q->reason[i].lines);
    }
    assert_int_equal(a->result.users, b->result.users);
}

/* ---- texts ---- */

/* What is read at a time ends within a line of this length, or within its
 * end, or within a byte-order mark before it. */
#define LIMIT (2 * MR_LINES_BLOCK - 2)

static void add_text(const char *p)
{
    assert_int_equal(mr_buffer_add(&text, p, strlen(p)), MR_OK);
}

/* Letters that do not pack well, so that a few thousand lines are several
 * runs of frames. */
static void add_noise(size_t n)
{
    uint64_t bits = 0;

    assert_int_equal(mr_buffer_reserve(&text, text.n + n), MR_OK);
    for (size_t i = 0; i < n; i++, bits >>= 5) {
        if (i % 10 == 0)
            bits = any(UINT64_C(1) << 50);
        text.p[text.n++] = (uint8_t)('A' + (bits & 31) % 26);
    }
}

/* Events, blank and wrong lines; and long ones: around the limit, around
 * what is kept of one that is longer, and far beyond. */
static void add_line(bool long_ones)
{
    static const size_t lengths[] = {LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2,
        65535, 65536, 65537, 500000, 900000};
    char line[300];

    switch (any(long_ones ? 9 : 8)) {
    case 0:
        add_text("{\"data\":");
        break;
    case 1:
        add_text("\xc3(");
        break;
    case 2:
        break;
    case 3:
        add_noise(any(3000));
        break;
    case 8:
        add_noise(lengths[any(9)]);
        break;
    default:
        snprintf(line, sizeof line,
            "{\"data\":{\"id\":\"i\",\"type\":\"t%u\",\"attributes\":{"
            "\"user_id\":%u}},\"meta\":{\"created_at\":%llu},\"pad\":\"",
            (unsigned)any(4), (unsigned)any(3000),
            (unsigned long long)1700000000000 + any(200000000));
        add_text(line);
        add_noise(any(300));
        add_text("\"}");
    }
    add_text(any(3) ? "\n" : "\r\n");
}

static void random_text(void)
{
    bool long_ones = any(2);
    size_t lines = any(long_ones ? 60 : 20000);

    text.n = 0;
    if (any(2))
        add_text("\xef\xbb\xbf");
    if (any(3) == 0) { /* a long line first */
        add_noise(any(3) ? LIMIT - 2 + any(5) : 1000000);
        add_text(any(2) ? "\n" : "\r\n");
    }
    for (size_t i = 0; i < lines; i++)
        add_line(long_ones);
    if (any(3) == 0)
        add_noise(any(2) ? 5 : 500000); /* no last line end */
}

/* ---- tests ---- */

static void stored_forms_are_alike(void **state)
{
    static const char *const names[] = {
        "a.json", "a.gz", "a.zst", "b.zst", "c.zst"};

    (void)state;
    for (unsigned round = 0; round < rounds(25); round++) {
        struct outcome first = {.state = NULL};

        random_text();
        save(names[0], text.p, text.n);
        save_gzip(names[1]);
        save_frames(names[2], text.n, 1);
        save_frames(names[3], any(8), 3000000); /* first: part of a mark */
        save_frames(names[4], any(900000), 40000 + any(2000000));
        for (unsigned k = 0; k < 5; k++) {
            for (unsigned threads = 1; threads < 4; threads++) {
                bool want_rejects = k + threads == 1 || any(2);
                struct outcome o = map(names[k], threads, want_rejects, &quiet);

                assert_int_equal(o.result.totals.failures, 0);
                if (first.state == NULL) {
                    first = o;
                    continue;
                }
                same_figures(&o, &first);
                if (want_rejects)
                    assert_string_equal(o.rejects, first.rejects);
                outcome_release(&o);
            }
        }
        outcome_release(&first);
    }
}

/* Damage in one frame of many gives one cause, whoever comes upon it. */
static void damage_is_told_alike(void **state)
{
    (void)state;
    for (unsigned round = 0; round < rounds(12); round++) {
        struct mr_buffer out = {0};
        struct outcome first = {.state = NULL};

        random_text();
        for (size_t at = 0, n; at < text.n; at += n) {
            n = 1 + any(1000000);
            n = n < text.n - at ? n : text.n - at;
            add_frame(&out, at, n);
        }
        if (out.n < 40) {
            mr_buffer_release(&out);
            continue;
        }
        if (any(3) == 0)
            out.n -= 1 + any(20); /* cut short */
        for (unsigned k = (unsigned)any(4); k > 0; k--)
            out.p[20 + any(out.n - 20)] ^= (uint8_t)(1 << any(8));
        save("bad.zst", out.p, out.n);
        for (unsigned way = 0; way < 6; way++) {
            struct outcome o = map("bad.zst", 1 + way % 3, way > 2, &quiet);

            if (way == 0) {
                first = o;
                continue;
            }
            assert_int_equal(
                o.result.totals.failures, first.result.totals.failures);
            assert_int_equal(o.result.totals.lines, first.result.totals.lines);
            for (size_t i = 0; i < o.result.n_failed; i++) {
                assert_int_equal(
                    o.result.failed[i].offset, first.result.failed[i].offset);
                assert_string_equal(
                    o.result.failed[i].cause, first.result.failed[i].cause);
            }
            outcome_release(&o);
        }
        outcome_release(&first);
        mr_buffer_release(&out);
    }
}

/* A text of marks only, in one frame and in two. */
static void marks_alone_are_counted(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 6; n++) {
        text.n = 0;
        add_text("\xef\xbb\xbf");
        for (unsigned k = 0; k < n; k++)
            add_text("\n");
        save_frames("m.zst", 3, 1);
        for (unsigned threads = 1; threads < 3; threads++) {
            struct outcome o = map("m.zst", threads, false, &quiet);

            assert_int_equal(o.result.totals.text_bytes, 3 + n);
            assert_int_equal(o.result.totals.lines, n);
            assert_int_equal(o.result.totals.blank, n);
            outcome_release(&o);
        }
    }
}

/* A thread that gives a file another time, again and again.  It pauses, as
 * under valgrind, where one thread runs at a time, the rest would hardly get
 * a turn beside it. */
struct toucher {
    const char *path;
    atomic_bool ends;
};

static void *touch(void *context)
{
    struct toucher *t = context;
    const struct timespec pause = {0, 20000};
    struct timespec times[2] = {{1000, 0}, {1000, 0}};

    while (!atomic_load(&t->ends)) {
        times[0].tv_sec = ++times[1].tv_sec;
        (void)utimensat(AT_FDCWD, t->path, times, 0);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void changed_files_leave_nothing(void **state)
{
    static const char *const names[] = {"only.json", "only.zst"};

    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        struct toucher toucher = {.path = NULL};
        pthread_t thread;
        struct outcome o;

        text.n = 0;
        for (unsigned i = 0; i < 3000; i++)
            add_line(false);
        if (k == 0)
            save(names[k], text.p, text.n);
        else
            save_frames(names[k], 100000, 100000);
        toucher.path = strdup(path_of(names[k]));
        assert_non_null(toucher.path);
        assert_int_equal(pthread_create(&thread, NULL, touch, &toucher), 0);
        o = map(names[k], 2, true, &quiet);
        /* On a busy machine that thread may have had no turn meanwhile. */
        for (int i = 0; i < 100 && o.result.totals.failures == 0; i++) {
            outcome_release(&o);
            o = map(names[k], 2, true, &quiet);
        }
        atomic_store(&toucher.ends, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        free((void *)(uintptr_t)toucher.path);
        assert_int_equal(o.result.totals.failures, 1);
        assert_int_equal(o.result.totals.partitions, 0);
        assert_int_equal(o.result.totals.lines, 0);
        assert_int_equal(o.result.users, 0);
        assert_int_equal(o.result.types, 0);
        assert_int_equal(o.result.days, 0);
        assert_non_null(strstr(
            o.result.failed[0].cause, "changed while it was being read"));
        assert_string_equal(o.rejects, "");
        outcome_release(&o);
    }
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");
    char spec[100];

    (void)state;
    snprintf(folder, sizeof folder, "%s/mr-work-XXXXXX", base ? base : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    save("spec.yaml", spec,
        (size_t)snprintf(spec, sizeof spec, "max_line_bytes: %d\n", LIMIT));
    return 0;
}

static int remove_folder(void **state)
{
    char command[300];

    (void)state;
    mr_buffer_release(&text);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_forms_are_alike),
        cmocka_unit_test(damage_is_told_alike),
        cmocka_unit_test(marks_alone_are_counted),
        cmocka_unit_test(changed_files_leave_nothing),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
