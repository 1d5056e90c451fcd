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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#include "mr/calendar.h"
#include "mr/state_private.h"
#include "tests/unit/random.h"

/*
 * Three sorts of tests: what is written is read again; a state made here by
 * hand, byte for byte from docs/state-format.md, is understood, and refused
 * when any part of it is wrong; and damage of every bit is noticed.
 */

static char folder[256];

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static uint8_t *load(const char *path, size_t *n_out)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p;
    long n;

    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    n = ftell(f);
    assert_true(n >= 0);
    rewind(f);
    p = malloc((size_t)n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)n, f), (size_t)n);
    fclose(f);
    *n_out = (size_t)n;
    return p;
}

static void save(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Blocks of random content. */

struct shape {
    size_t n_users;
    size_t n_sets;
    uint64_t intervals_max; /* of one user */
    uint64_t width_bits;    /* of lengths and gaps between intervals */
    int density;            /* members in 1024ths, about; -1: any */
};

struct made {
    struct mr_user_block block;
    uint64_t *hash;
    uint32_t *first;
    struct mr_interval *interval;
    struct mr_user_set *sets;
};

#define GAP_MS 1000

static void make_set(struct mr_user_set *set, size_t n_users, int density)
{
    uint64_t *words = calloc(MR_BLOCK_WORDS, sizeof *words);
    uint16_t *list = malloc(n_users * sizeof *list);
    uint32_t n = 0;
    size_t i;

    assert_true(words && list);
    if (density < 0)
        density = (int)any(1025);
    for (i = 0; i < n_users; i++) {
        if (any(1024) < (uint64_t)density || (i + 1 == n_users && n == 0)) {
            list[n++] = (uint16_t)i;
            words[i / 64] |= UINT64_C(1) << (i % 64);
        }
    }
    set->n = n;
    set->list = n <= MR_SET_LIST_MAX ? list : NULL;
    set->words = n <= MR_SET_LIST_MAX ? NULL : words;
    if (set->list)
        free(words);
    else
        free(list);
}

static void make_intervals(struct made *m, const struct shape *s)
{
    uint64_t bits = s->width_bits;
    size_t i, j, n = 0;

    m->first = malloc((s->n_users + 1) * sizeof *m->first);
    m->interval = malloc(s->n_users * s->intervals_max * sizeof *m->interval);
    assert_true(m->first && m->interval);
    for (i = 0; i < s->n_users; i++) {
        uint64_t t = 1000000 + any(UINT64_C(1) << bits);
        size_t k = 1 + (size_t)any(s->intervals_max);

        m->first[i] = (uint32_t)n;
        for (j = 0; j < k; j++) {
            m->interval[n].start_ms = (int64_t)t;
            t += any(UINT64_C(1) << bits);
            m->interval[n++].end_ms = (int64_t)t;
            t += GAP_MS + 1 + any(UINT64_C(1) << bits);
        }
        assert_true(t < (uint64_t)MR_TIME_END_MS);
    }
    m->first[s->n_users] = (uint32_t)n;
}

static void make_block(struct made *m, const struct shape *s)
{
    uint64_t hash = any(1000);
    size_t i;

    m->hash = malloc(s->n_users * sizeof *m->hash);
    m->sets = calloc(s->n_sets + 1, sizeof *m->sets);
    assert_true(m->hash && m->sets);
    for (i = 0; i < s->n_users; i++) {
        m->hash[i] = hash;
        hash += 1 + any(UINT64_C(1) << (1 + any(46)));
    }
    for (i = 0; i < s->n_sets; i++) {
        m->sets[i].cell = (uint32_t)(2 * i + any(2));
        make_set(&m->sets[i], s->n_users, s->density);
    }
    make_intervals(m, s);
    m->block = (struct mr_user_block){
        s->n_users, m->hash, s->n_sets, m->sets, m->first, m->interval};
}

static void release_made(struct made *m)
{
    size_t i;

    for (i = 0; i < m->block.n_sets; i++) {
        free((void *)(uintptr_t)m->sets[i].list);
        free((void *)(uintptr_t)m->sets[i].words);
    }
    free(m->hash);
    free(m->sets);
    free(m->first);
    free(m->interval);
}

static void assert_same_block(
    const struct mr_user_block *a, const struct mr_user_block *b)
{
    size_t i;

    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_sets, b->n_sets);
    assert_memory_equal(a->hash, b->hash, a->n * sizeof *a->hash);
    assert_memory_equal(a->first, b->first, (a->n + 1) * sizeof *a->first);
    assert_memory_equal(
        a->interval, b->interval, a->first[a->n] * sizeof *a->interval);
    for (i = 0; i < a->n_sets; i++) {
        assert_int_equal(a->sets[i].cell, b->sets[i].cell);
        assert_int_equal(a->sets[i].n, b->sets[i].n);
        assert_int_equal(!a->sets[i].list, !b->sets[i].list);
        assert_int_equal(!a->sets[i].words, !b->sets[i].words);
        if (a->sets[i].list)
            assert_memory_equal(a->sets[i].list, b->sets[i].list,
                a->sets[i].n * sizeof *a->sets[i].list);
        else
            assert_memory_equal(a->sets[i].words, b->sets[i].words,
                MR_BLOCK_WORDS * sizeof *a->sets[i].words);
    }
}

static void unpack(struct mr_unpacker *u, const struct mr_packed_block *packed,
    size_t n_cells, struct mr_user_block *block)
{
    const struct mr_block_frame frame = {
        {packed->first_hash, packed->last_hash, packed->n_users,
            packed->bytes.n, packed->plain_bytes, packed->n_members,
            packed->n_intervals},
        n_cells, GAP_MS};
    struct mr_span span = {packed->bytes.p, packed->bytes.n};
    const char *why = NULL;

    assert_null(mr_block_info_check(&frame.info, GAP_MS));
    if (packed->bytes.n < packed->plain_bytes) {
        assert_int_equal(mr_state_unpack(u->context, span, packed->plain_bytes,
                             &u->plain, &why),
            MR_OK);
        span = (struct mr_span){u->plain.p, u->plain.n};
    }
    assert_int_equal(mr_block_decode(u, span, &frame, block, &why), MR_OK);
}

static void blocks_come_back(void **state)
{
    static const struct shape shapes[] = {
        {1, 0, 1, 1, -1},
        {1, 5, 4000, 20, 1024},
        {2, 3, 2, 1, -1},
        {7, 8, 3, 8, 512},
        {8, 8, 3, 16, 100},
        {65, 20, 5, 24, -1},
        {1000, 40, 5, 30, -1},
        {4096, 9, 2, 33, 1024},
        {4097, 9, 2, 33, 1024},
        {9001, 30, 3, 12, -1},
        {32769, 30, 2, 3, -1},
        {65535, 12, 2, 32, 60},
        {65536, 12, 2, 28, 64},
        {65536, 12, 2, 28, 1},
        {65536, 12, 2, 28, 124},
        {65536, 20, 1, 36, -1},
        {65536, 1, 1, 41, 1024},
    };
    struct mr_packed_block packed = {0};
    struct mr_packer *packer;
    struct mr_unpacker *u;
    size_t i;

    (void)state;
    assert_int_equal(mr_packer_new(GAP_MS, &packer), MR_OK);
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    for (i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct mr_packed_block again = {0};
        struct mr_packer *fresh;
        struct mr_user_block block;
        struct made made;

        make_block(&made, &shapes[i]);
        assert_int_equal(
            mr_pack_block(packer, &made.block, &packed, NULL), MR_OK);
        unpack(u, &packed, 2 * shapes[i].n_sets, &block);
        assert_same_block(&made.block, &block);
        /* Nor do the bytes depend on what was packed before. */
        assert_int_equal(mr_packer_new(GAP_MS, &fresh), MR_OK);
        assert_int_equal(mr_pack_block(fresh, &block, &again, NULL), MR_OK);
        assert_int_equal(again.bytes.n, packed.bytes.n);
        assert_memory_equal(again.bytes.p, packed.bytes.p, packed.bytes.n);
        mr_packed_block_release(&again);
        mr_packer_free(fresh);
        release_made(&made);
    }
    mr_packed_block_release(&packed);
    mr_packer_free(packer);
    mr_unpacker_free(u);
}

/* What packs better than 200:1 is stored as it is, so that a reader may
 * refuse what claims to unpack to more. */
static void ratio_is_bounded(void **state)
{
    static uint8_t zeros[100000];
    struct ZSTD_CCtx_s *context = mr_state_packing_context();
    struct mr_buffer out = {0};
    struct mr_unpacker *u;
    const char *why = NULL;
    size_t n;

    (void)state;
    assert_non_null(context);
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    assert_int_equal(mr_state_pack(context,
                         (struct mr_span){zeros, sizeof zeros}, &out, NULL),
        MR_OK);
    assert_int_equal(out.n, sizeof zeros);
    assert_int_equal(
        mr_state_pack(context, (struct mr_span){zeros, 2000}, &out, NULL),
        MR_OK);
    assert_true(out.n < 100);
    n = out.n;
    assert_int_equal(mr_state_unpack(u->context, (struct mr_span){out.p, n},
                         2000, &u->plain, &why),
        MR_OK);
    assert_memory_equal(u->plain.p, zeros, 2000);
    for (n = 0; n < 4; n++) {
        static const uint64_t wrong[] = {1999, 2001, UINT64_MAX, 0};

        assert_int_equal(
            mr_state_unpack(u->context, (struct mr_span){out.p, out.n},
                wrong[n], &u->plain, &why),
            MR_FORMAT);
    }
    /* A second frame, even an empty or skippable one, is one too many. */
    assert_int_equal(mr_buffer_add(&out, "\x50\x2A\x4D\x18\0\0\0\0", 8), MR_OK);
    assert_int_equal(mr_state_unpack(u->context, (struct mr_span){out.p, out.n},
                         2000, &u->plain, &why),
        MR_FORMAT);
    mr_buffer_release(&out);
    mr_unpacker_free(u);
    ZSTD_freeCCtx(context);
}

/* Whole states. */

static void add_partition(
    struct mr_coverage *c, uint8_t digest, const char *name, uint32_t cell)
{
    struct mr_partition p = {0};

    memset(p.digest.b, digest, sizeof p.digest.b);
    p.name = malloc(sizeof *p.name);
    p.cell = calloc(2, sizeof *p.cell);
    p.reason = calloc(1, sizeof *p.reason);
    assert_true(p.name && p.cell && p.reason);
    p.name[0] = strdup(name);
    p.n_names = 1;
    p.cell[0] = (struct mr_cell_count){cell, 1000, 1};
    p.cell[1] = (struct mr_cell_count){cell + 1, 7, 7};
    p.n_cells = 2;
    p.reason[0] = (struct mr_reason_count){12, 30};
    p.n_reasons = 1;
    p.stored_bytes = 123456789012;
    p.text_bytes = 1234567890123;
    p.blank = 3;
    p.lines = 1040;
    p.other_day = 1007;
    assert_int_equal(mr_coverage_add(c, &p), MR_OK);
}

#define N_CELLS 6

static struct mr_spec spec;

/* A head of three types and six cells, of which the odd ones have no users;
 * put together in another order if "way" says so. */
static void make_head(struct mr_state_head *head, int way)
{
    static const char types[] = "ab\0c\xC3\xA9";
    size_t i;
    int j;

    *head = (struct mr_state_head){0};
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    spec.session_gap_ms = GAP_MS;
    head->spec = &spec;
    assert_int_equal(
        mr_buffer_add(&head->type_bytes, types, sizeof types), MR_OK);
    head->type = calloc(3, sizeof *head->type);
    head->cell = calloc(N_CELLS, sizeof *head->cell);
    head->sketch = calloc(N_CELLS, sizeof *head->sketch);
    assert_true(head->type && head->cell && head->sketch);
    head->type[0] = (struct mr_span){head->type_bytes.p, 1};
    head->type[1] = (struct mr_span){head->type_bytes.p + 1, 2};
    head->type[2] = (struct mr_span){head->type_bytes.p + 3, 3};
    head->n_types = 3;
    for (i = 0; i < N_CELLS; i++)
        head->cell[i] =
            (struct mr_cell){19000 + (int32_t)(i / 3), (uint32_t)(i % 3)};
    head->n_cells = N_CELLS;
    for (i = 0; i < N_CELLS; i += 2) {
        head->sketch[i] = calloc(1, sizeof **head->sketch);
        assert_non_null(head->sketch[i]);
        mr_hll_init(head->sketch[i], head->spec->sketch_bits);
        for (j = 0; j < (i == 2 ? 9000 : 50); j++) {
            uint64_t user = (uint64_t)(way ? 9000 - j : 1 + j);

            if (i != 2 && user > 50)
                user -= 8950;
            assert_int_equal(
                mr_hll_add(head->sketch[i], mr_hash64(&user, 8)), MR_OK);
        }
    }
    for (j = 0; j < 3; j++) {
        int k = way ? 2 - j : j;

        add_partition(&head->coverage, (uint8_t)(9 - k), way ? "z/1" : "z/2",
            (uint32_t)(2 * k));
        add_partition(&head->coverage, (uint8_t)(9 - k), way ? "z/2" : "z/1",
            (uint32_t)(2 * k));
        assert_int_equal(mr_coverage_add_failure(&head->coverage,
                             k == 0 ? "x" : "y", k == 0 ? MR_NOWHERE : 91,
                             k == 0 ? "" : "truncated gzip member"),
            MR_OK);
    }
    assert_int_equal(mr_coverage_settle(&head->coverage), MR_OK);
}

static void write_state(const char *path, int way, int n_blocks, char *path_out)
{
    static const struct shape shape = {50, 3, 3, 20, 200};
    struct mr_packed_block packed = {0};
    struct mr_state_writer *writer;
    struct mr_state_head head;
    struct mr_packer *packer;
    uint64_t n_bytes = 0;
    struct stat st;
    size_t k;
    int i;

    make_head(&head, way);
    seed = 77; /* the same blocks whatever the way */
    assert_int_equal(mr_packer_new(GAP_MS, &packer), MR_OK);
    assert_int_equal(
        mr_state_writer_new(path, head.spec, &writer, NULL), MR_OK);
    for (i = 0; i < n_blocks; i++) {
        struct made made;

        make_block(&made, &shape);
        for (k = 0; k < shape.n_users; k++)
            made.hash[k] += (uint64_t)i << 60;
        for (k = 0; k < shape.n_sets; k++)
            made.sets[k].cell &= ~1u;
        assert_int_equal(
            mr_pack_block(packer, &made.block, &packed, NULL), MR_OK);
        assert_int_equal(mr_state_writer_add(writer, &packed, NULL), MR_OK);
        release_made(&made);
    }
    assert_int_equal(
        mr_state_writer_finish(writer, &head, path_out, 512, &n_bytes, NULL),
        MR_OK);
    assert_int_equal(stat(path_out, &st), 0);
    assert_int_equal((uint64_t)st.st_size, n_bytes);
    mr_packed_block_release(&packed);
    mr_packer_free(packer);
    mr_state_head_release(&head);
}

static void assert_same_head(
    const struct mr_state_head *a, const struct mr_state_head *b)
{
    int chunk;

    /* Equal as text and bytes; and some figures, so that an encoder that
     * forgets something is noticed. */
    for (chunk = MR_CHUNK_SPEC; chunk < MR_CHUNKS_ALWAYS; chunk++) {
        struct mr_buffer x = {0}, y = {0};

        assert_int_equal(mr_head_encode(a, (enum mr_chunk)chunk, &x), MR_OK);
        assert_int_equal(mr_head_encode(b, (enum mr_chunk)chunk, &y), MR_OK);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.p, y.p, x.n);
        mr_buffer_release(&x);
        mr_buffer_release(&y);
    }
    assert_int_equal(a->spec->session_gap_ms, b->spec->session_gap_ms);
    assert_int_equal(mr_span_compare(a->type[2], b->type[2]), 0);
    assert_memory_equal(a->cell, b->cell, N_CELLS * sizeof *a->cell);
    assert_null(b->sketch[1]);
    assert_true(mr_hll_estimate(a->sketch[2]) == mr_hll_estimate(b->sketch[2]));
}

static void assert_coverage_is_there(const struct mr_coverage *c)
{
    const struct mr_partition *p = &c->partition[2];

    assert_int_equal(c->n_partitions, 3);
    assert_int_equal(p->digest.b[15], 9);
    assert_int_equal(p->n_names, 2);
    assert_string_equal(p->name[1], "z/2");
    assert_int_equal(p->stored_bytes, 123456789012);
    assert_int_equal(p->text_bytes, 1234567890123);
    assert_int_equal(p->lines, 1040);
    assert_int_equal(p->blank, 3);
    assert_int_equal(p->other_day, 1007);
    assert_int_equal(p->other_type, 0);
    assert_int_equal(p->n_cells, 2);
    assert_int_equal(p->cell[1].cell, 1);
    assert_int_equal(p->cell[1].events, 7);
    assert_int_equal(p->cell[1].without_user, 7);
    assert_int_equal(p->n_reasons, 1);
    assert_int_equal(p->reason[0].reason, 12);
    assert_int_equal(p->reason[0].lines, 30);
    assert_int_equal(c->n_failures, 2);
    assert_string_equal(c->failure[0].name, "x");
    assert_true(c->failure[0].offset == MR_NOWHERE);
    assert_string_equal(c->failure[0].cause, "");
    assert_int_equal(c->failure[1].offset, 91);
    assert_string_equal(c->failure[1].cause, "truncated gzip member");
}

static void states_come_back(void **state)
{
    const struct mr_state_chunk *chunk;
    struct mr_state_head head;
    struct mr_user_block block;
    struct mr_unpacker *u;
    struct mr_state *s;
    char path[512];
    uint64_t last = 0;
    size_t i;

    (void)state;
    write_state(path_of("back.mrs"), 0, 3, path);
    assert_string_equal(path, path_of("back.mrs"));
    assert_int_equal(mr_state_open(path, &s, NULL), MR_OK);
    make_head(&head, 0);
    assert_same_head(&head, mr_state_get_head(s));
    assert_coverage_is_there(&mr_state_get_head(s)->coverage);
    assert_string_equal(mr_state_path(s), path);
    assert_int_equal(mr_state_chunks(s, &chunk), MR_CHUNKS_ALWAYS);
    assert_string_equal(chunk[0].id, "USER");
    assert_true(chunk[7].known);
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    assert_int_equal(mr_state_n_blocks(s), 3);
    for (i = 0; i < 3; i++) {
        const struct mr_block_info *info = mr_state_block_info(s, i);

        assert_int_equal(mr_state_block(s, i, u, &block, NULL), MR_OK);
        assert_int_equal(block.n, 50);
        assert_int_equal(info->n_users, 50);
        assert_true(info->first_hash == block.hash[0]);
        assert_true(info->last_hash == block.hash[49]);
        assert_true(i == 0 || block.hash[0] > last);
        last = block.hash[49];
    }
    mr_unpacker_free(u);
    mr_state_close(s);
    mr_state_head_release(&head);
}

/* One content, one file: however the head was put together. */
static void states_are_canonical(void **state)
{
    uint8_t *a, *b;
    size_t n, m;
    char path_a[512], path_b[512];

    (void)state;
    write_state(path_of("a.mrs"), 0, 2, path_a);
    write_state(path_of("b.mrs"), 1, 2, path_b);
    a = load(path_a, &n);
    b = load(path_b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(b);
    write_state(path_of("b.mrs"), 1, 1, path_b);
    b = load(path_b, &m);
    assert_int_not_equal(n, m);
    free(a);
    free(b);
}

static void states_are_named_by_content(void **state)
{
    struct mr_digest digest;
    struct mr_state *s;
    char path[512], again[512], text[MR_DIGEST_TEXT], want[512];
    uint8_t *p;
    size_t n;

    (void)state;
    write_state(path_of("new/deep"), 0, 2, path);
    write_state(path_of("new/deep/"), 1, 2, again);
    assert_string_equal(path, again);
    p = load(path, &n);
    digest = mr_digest_bytes(p, 64 + 40 * MR_CHUNKS_ALWAYS);
    mr_digest_format(&digest, text);
    snprintf(want, sizeof want, "%s/new/deep/%s.mrs", folder, text);
    assert_string_equal(path, want);
    assert_int_equal(mr_state_open(path, &s, NULL), MR_OK);
    digest = mr_state_name_digest(s);
    mr_digest_format(&digest, again);
    assert_string_equal(again, text);
    assert_int_equal(mr_state_bytes(s), n);
    mr_state_close(s);
    free(p);
}

static void aborted_writers_leave_nothing(void **state)
{
    struct mr_state_writer *writer;
    struct mr_error err = {0};

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    assert_int_equal(
        mr_state_writer_new(path_of("gone.mrs"), &spec, &writer, NULL), MR_OK);
    mr_state_writer_abort(writer);
    assert_int_equal(access(path_of("gone.mrs"), F_OK), -1);
    assert_int_equal(
        mr_state_writer_new(path_of("no/such/x.mrs"), &spec, &writer, &err),
        MR_IO);
    assert_string_equal(err.path, path_of("no/such/x.mrs"));
}

/* Two states that contradict one another must not become a third one that
 * nobody can read. */
static void contradictions_are_not_written(void **state)
{
    struct mr_state_writer *writer;
    struct mr_state_head head;
    struct mr_error err = {0};
    char path[512];
    uint64_t n;

    (void)state;
    make_head(&head, 0);
    head.coverage.partition[0].n_cells = 1;
    assert_int_equal(
        mr_state_writer_new(path_of("odd.mrs"), head.spec, &writer, NULL),
        MR_OK);
    assert_int_equal(
        mr_state_writer_finish(writer, &head, path, sizeof path, &n, &err),
        MR_MISMATCH);
    assert_int_equal(access(path_of("odd.mrs"), F_OK), -1);
    mr_state_head_release(&head);
}

/* Read all of a state in memory. */
static enum mr_status try_state(const uint8_t *p, size_t n)
{
    enum mr_status status;
    struct mr_user_block block;
    struct mr_unpacker *u;
    struct mr_error err = {0};
    struct mr_state *s;
    size_t i;

    status = mr_state_open_memory(p, n, &s, &err);
    if (status != MR_OK) {
        assert_int_equal(err.status, status);
        assert_string_not_equal(err.cause, "");
        return status;
    }
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    for (i = 0; status == MR_OK && i < mr_state_n_blocks(s); i++)
        status = mr_state_block(s, i, u, &block, &err);
    mr_unpacker_free(u);
    mr_state_close(s);
    return status;
}

static void assert_refused(enum mr_status status, size_t where)
{
    if (status != MR_FORMAT && status != MR_VERSION && status != MR_CHECKSUM)
        fail_msg("status %d at %zu", (int)status, where);
}

static void damage_is_noticed(void **state)
{
    char path[512];
    uint8_t *p;
    size_t i, n;

    (void)state;
    write_state(path_of("flip.mrs"), 0, 2, path);
    p = load(path, &n);
    assert_int_equal(try_state(p, n), MR_OK);
    for (i = 0; i < 8 * n; i++) {
        /* All bits of the header and table, every 13th of the rest. */
        if (i >= 8 * 384 && i % 13 != 0)
            continue;
        p[i / 8] ^= (uint8_t)(1 << (i % 8));
        assert_refused(try_state(p, n), i);
        p[i / 8] ^= (uint8_t)(1 << (i % 8));
    }
    for (i = 0; i < n; i++) {
        uint8_t *cut = malloc(i + 1); /* so that reading on is noticed */

        assert_non_null(cut);
        memcpy(cut, p, i);
        assert_int_equal(try_state(cut, i), MR_FORMAT);
        free(cut);
    }
    p = realloc(p, n + 1);
    assert_non_null(p);
    p[n] = 0;
    assert_int_equal(try_state(p, n + 1), MR_FORMAT);
    free(p);
}

static void errors_name_the_file(void **state)
{
    struct mr_error err = {0};
    struct mr_state *s;
    char path[512], text[1024];
    uint8_t *p;
    size_t n;

    (void)state;
    write_state(path_of("part.mrs"), 0, 1, path);
    p = load(path, &n);
    p[mr_get_u64(p + 64 + 40 * MR_CHUNK_PART + 8)] ^= 1;
    save(path, p, n);
    assert_int_equal(mr_state_open(path, &s, &err), MR_CHECKSUM);
    mr_error_format(&err, text, sizeof text);
    assert_non_null(strstr(text, "cannot use '"));
    assert_non_null(strstr(text, "part.mrs' at byte "));
    assert_non_null(strstr(text, "section PART is damaged"));
    assert_int_equal(mr_state_open(path_of("nowhere.mrs"), &s, &err), MR_IO);
    assert_int_equal(mr_state_open(folder, &s, &err), MR_USAGE);
    save(path, "", 0);
    assert_int_equal(mr_state_open(path, &s, &err), MR_FORMAT);
    free(p);
}

/*
 * A state by hand, all of it stored plainly: one user with one session of
 * 500 ms on 1970-01-03, one partition that was read and one that was not.
 */
#define BYTES(text) text, sizeof(text) - 1

struct piece {
    const char *p;
    size_t n;
};

#define HASH 0x0004000000000001 /* register 1 of 2^14, rank 50 */

static const struct piece by_hand[MR_CHUNKS_ALWAYS] = {
    [MR_CHUNK_USER] = {BYTES("\x01\0\0\0"           /*  0: users */
                             "\x01\0\0\0"           /*  4: sets */
                             "\x01\0\0\0\0\0\0\0"   /*  8: intervals */
                             "\x01\0\0\0\0\0\x04\0" /* 16: first hash */
                             "\x01"                 /* 24: no more */
                             "\0\x01\x01" /* 25: cell 0, one member, bit 0 */
                             "\x01\0"     /* 28: one interval */
                             "\xE8\xBB\x4C\x0A\0\0\0\0" /* 30: base 172801000 */
                             "\x01\0"                   /* 38: first start */
                             "\x01"            /* 40: no later starts */
                             "\x02\xF4\x01")}, /* 41: length 500 */
    [MR_CHUNK_TYPE] = {BYTES("\x01\x01"
                             "a")},
    [MR_CHUNK_CELL] = {BYTES("\x01\x02\0")},
    [MR_CHUNK_PART] = {BYTES("\x01"
                             "0123456789abcdef"     /*  1: digest */
                             "\x01\x01p"            /* 17: one name */
                             "\x05\x09\x04\x01\0\0" /* 20: bytes, lines */
                             "\x01\0\x01"           /* 26: one bad line */
                             "\x01\0\x02\0")},      /* 29: two events */
    [MR_CHUNK_FAIL] = {BYTES("\x01\x01q\x0A\x03"
                             "bad")},
    [MR_CHUNK_SKET] = {BYTES("\x01\0\x01\x01\x32")},
};

struct assembled {
    struct mr_buffer chunk[MR_CHUNK_COUNT];
    struct mr_buffer file;
};

/* Replace cut bytes at an offset. */
static void edit(
    struct mr_buffer *b, size_t at, size_t cut, const struct piece *with)
{
    assert_true(at + cut <= b->n);
    assert_int_equal(mr_buffer_reserve(b, b->n + with->n + 1), MR_OK);
    memmove(b->p + at + with->n, b->p + at + cut, b->n - at - cut);
    memcpy(b->p + at, with->p, with->n);
    b->n = b->n - cut + with->n;
}

/* Replace a chunk's content by the one by hand, edited. */
static void fill_chunk(struct assembled *a, enum mr_chunk chunk, size_t at,
    size_t cut, const struct piece *with)
{
    a->chunk[chunk].n = 0;
    assert_int_equal(
        mr_buffer_add(&a->chunk[chunk], by_hand[chunk].p, by_hand[chunk].n),
        MR_OK);
    if (with)
        edit(&a->chunk[chunk], at, cut, with);
}

static void fill_index(struct assembled *a)
{
    struct mr_buffer *b = &a->chunk[MR_CHUNK_UIDX];
    size_t n = a->chunk[MR_CHUNK_USER].n;

    b->n = 0;
    assert_int_equal(mr_buffer_add(b, "\x01\x01\x01\x01", 4), MR_OK);
    assert_int_equal(mr_buffer_add_u64(b, HASH), MR_OK); /*  4 */
    assert_int_equal(mr_buffer_add_u64(b, HASH), MR_OK); /* 12 */
    assert_int_equal(mr_buffer_add_u32(b, 1), MR_OK);    /* 20: users */
    assert_int_equal(mr_buffer_add_u64(b, n), MR_OK);    /* 24: stored */
    assert_int_equal(mr_buffer_add_u64(b, n), MR_OK);    /* 32: plain */
    assert_int_equal(mr_buffer_add_u64(b, 1), MR_OK);    /* 40: members */
    assert_int_equal(mr_buffer_add_u64(b, 1), MR_OK);    /* 48: intervals */
    assert_int_equal(
        mr_buffer_add_u64(b, mr_hash64(a->chunk[MR_CHUNK_USER].p, n)), MR_OK);
}

static void assemble(struct assembled *a, uint64_t user_plain)
{
    int n_chunks = MR_CHUNKS_ALWAYS + (a->chunk[MR_CHUNK_FIGU].n > 0 ? 1 : 0);
    uint64_t offset = 64 + 40 * (uint64_t)n_chunks;
    struct mr_digest digest =
        mr_digest_bytes(a->chunk[MR_CHUNK_SPEC].p, a->chunk[MR_CHUNK_SPEC].n);
    struct mr_buffer *f = &a->file;
    int i;

    f->n = 0;
    assert_int_equal(mr_buffer_reserve(f, 4096), MR_OK);
    memset(f->p, 0, offset);
    memcpy(f->p, "\x8DMRS\r\n\x1A\n", 8);
    f->p[8] = 2;
    f->p[12] = (uint8_t)n_chunks;
    memcpy(f->p + 16, digest.b, 16);
    f->n = offset;
    for (i = 0; i < n_chunks; i++) {
        uint8_t *entry = f->p + 64 + 40 * i;
        struct mr_buffer *b = &a->chunk[i];

        memcpy(entry, &"USERUIDXSPECTYPECELLPARTFAILSKETFIGU"[4 * i], 4);
        entry[4] = i == 0 ? 5 : 1;
        mr_put_u64(entry + 8, offset);
        mr_put_u64(entry + 16, b->n);
        mr_put_u64(entry + 24, i == 0 ? user_plain : b->n);
        mr_put_u64(entry + 32, i == 0 ? 0 : mr_hash64(b->p, b->n));
        offset += b->n;
        assert_true(offset <= 4096);
        assert_int_equal(mr_buffer_add(f, b->p, b->n), MR_OK);
    }
    mr_put_u64(f->p + 32, offset);
}

/* The checksum over header and table, as the format says: two pieces. */
static void seal(struct mr_buffer *f)
{
    uint8_t bytes[56 + 40 * 64];
    size_t n = 40 * (size_t)f->p[12];

    memcpy(bytes, f->p, 56);
    memcpy(bytes + 56, f->p + 64, n);
    mr_put_u64(f->p + 56, mr_hash64(bytes, 56 + n));
}

static void fill(struct assembled *a)
{
    int i;

    *a = (struct assembled){0};
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    assert_int_equal(mr_spec_text(&spec, &a->chunk[MR_CHUNK_SPEC]), MR_OK);
    for (i = 0; i < MR_CHUNKS_ALWAYS; i++) {
        if (by_hand[i].p)
            fill_chunk(a, (enum mr_chunk)i, 0, 0, NULL);
    }
    fill_index(a);
    assemble(a, a->chunk[MR_CHUNK_USER].n);
    seal(&a->file);
}

static void release_assembled(struct assembled *a)
{
    int i;

    for (i = 0; i < MR_CHUNK_COUNT; i++)
        mr_buffer_release(&a->chunk[i]);
    mr_buffer_release(&a->file);
}

static void made_by_hand_is_read(void **state)
{
    const struct mr_state_head *head;
    struct mr_user_block block;
    struct mr_unpacker *u;
    struct assembled a;
    struct mr_state *s;
    struct mr_hll h;

    (void)state;
    fill(&a);
    assert_int_equal(mr_state_open_memory(a.file.p, a.file.n, &s, NULL), MR_OK);
    head = mr_state_get_head(s);
    assert_int_equal(head->cell[0].day, 2);
    assert_int_equal(head->coverage.partition[0].lines, 4);
    assert_string_equal(head->coverage.partition[0].name[0], "p");
    assert_memory_equal(
        head->coverage.partition[0].digest.b, "0123456789abcdef", 16);
    assert_int_equal(head->coverage.partition[0].text_bytes, 9);
    assert_string_equal(head->coverage.failure[0].cause, "bad");
    assert_int_equal(head->coverage.failure[0].offset, 9);
    mr_hll_init(&h, 14);
    assert_int_equal(mr_hll_add(&h, HASH), MR_OK);
    assert_true(mr_hll_estimate(&h) == mr_hll_estimate(head->sketch[0]));
    mr_hll_release(&h);
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    assert_int_equal(mr_state_block(s, 0, u, &block, NULL), MR_OK);
    assert_int_equal(block.n, 1);
    assert_true(block.hash[0] == HASH);
    assert_int_equal(block.n_sets, 1);
    assert_int_equal(block.sets[0].list[0], 0);
    assert_int_equal(block.interval[0].start_ms, 172801000);
    assert_int_equal(block.interval[0].end_ms, 172801500);
    mr_unpacker_free(u);
    mr_state_close(s);
    release_assembled(&a);
}

static const char *sample(const char *name)
{
    const char *top = getenv("srcdir");
    static char path[512];

    snprintf(
        path, sizeof path, "%s/tests/samples/states/%s", top ? top : ".", name);
    return path;
}

/* States of this version are read for ever; the first of them is the one
 * above, put together by another program. */
static void samples_are_read(void **state)
{
    struct mr_user_block block;
    const struct mr_coverage *c;
    struct mr_unpacker *u;
    struct assembled a;
    struct mr_state *s;
    uint8_t *p;
    size_t n;

    (void)state;
    fill(&a);
    p = load(sample("good-hand.mrs"), &n);
    assert_int_equal(n, a.file.n);
    assert_memory_equal(p, a.file.p, n);
    free(p);
    release_assembled(&a);

    assert_int_equal(mr_state_open(sample("good-kpis.mrs"), &s, NULL), MR_OK);
    c = &mr_state_get_head(s)->coverage;
    assert_int_equal(c->n_partitions, 3);
    assert_int_equal(c->n_failures, 1);
    assert_string_equal(c->failure[0].name, "date=2024-03-04/b.json.gz");
    assert_int_equal(mr_unpacker_new(&u), MR_OK);
    assert_int_equal(mr_state_n_blocks(s), 1);
    assert_int_equal(mr_state_block(s, 0, u, &block, NULL), MR_OK);
    assert_int_equal(block.n, 4);        /* Ada, Bob, Cyd, Dee */
    assert_int_equal(block.n_sets, 4);   /* as many days and types */
    assert_int_equal(block.first[4], 7); /* sessions */
    mr_unpacker_free(u);
    mr_state_close(s);
}

/* Those of version 1 are not, and that is told. */
static void version_1_is_refused(void **state)
{
    struct mr_error err = {0};
    struct mr_state *s;

    (void)state;
    assert_int_equal(
        mr_state_open(sample("old-version-1.mrs"), &s, &err), MR_VERSION);
    assert_string_equal(err.cause,
        "its header has format version 1, and this mr reads version 2");
    assert_string_equal(
        err.advice, "map its partitions again, or use an older mr");
}

/* And it is what the writer writes. */
static void made_by_hand_is_written(void **state)
{
    const uint64_t hash = HASH;
    const uint32_t first[] = {0, 1};
    const uint16_t list[] = {0};
    const struct mr_interval interval = {172801000, 172801500};
    const struct mr_user_set set = {0, 1, list, NULL};
    const struct mr_user_block block = {1, &hash, 1, &set, first, &interval};
    struct mr_packed_block packed = {0};
    struct mr_packer *packer;
    struct assembled a;
    struct mr_state *s;
    int i;

    (void)state;
    fill(&a);
    assert_int_equal(mr_packer_new(1800000, &packer), MR_OK);
    assert_int_equal(mr_pack_block(packer, &block, &packed, NULL), MR_OK);
    assert_int_equal(packed.bytes.n, by_hand[MR_CHUNK_USER].n);
    assert_memory_equal(
        packed.bytes.p, by_hand[MR_CHUNK_USER].p, packed.bytes.n);
    mr_packed_block_release(&packed);
    mr_packer_free(packer);
    assert_int_equal(mr_state_open_memory(a.file.p, a.file.n, &s, NULL), MR_OK);
    for (i = MR_CHUNK_TYPE; i < MR_CHUNKS_ALWAYS; i++) {
        struct mr_buffer out = {0};

        assert_int_equal(
            mr_head_encode(mr_state_get_head(s), (enum mr_chunk)i, &out),
            MR_OK);
        assert_int_equal(out.n, by_hand[i].n);
        assert_memory_equal(out.p, by_hand[i].p, out.n);
        mr_buffer_release(&out);
    }
    mr_state_close(s);
    release_assembled(&a);
}

/* Hostile files: sums and checksums are right, something else is not. */

#define HUGE_COUNT "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
#define HUGE_64 "\0\0\0\0\0\0\0\x10"
#define A_TYPE(t) "\x01" t
/* A partition of 2^63 stored bytes. */
#define LARGE_PART(digest)                                                     \
    digest "\x01\x01p\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"                 \
           "\x09\x04\x01\0\0\x01\0\x01\x01\0\x02\0"

static const struct hostile {
    enum mr_chunk chunk;
    size_t at, cut;
    struct piece with;
} hostile[] = {
    {MR_CHUNK_SPEC, 0, 1, {BYTES("")}},
    {MR_CHUNK_SPEC, 0, 0, {BYTES("x")}},
    {MR_CHUNK_TYPE, 0, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_TYPE, 0, 1, {BYTES("\x02")}},
    {MR_CHUNK_TYPE, 0, 1, {BYTES("\x81\0")}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("\x01\0")}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("\x01" HUGE_COUNT "a")}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("\x02" A_TYPE("a") A_TYPE("a"))}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("\x02" A_TYPE("b") A_TYPE("a"))}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("\x02" A_TYPE("a") A_TYPE("b"))}},
    {MR_CHUNK_TYPE, 3, 0, {BYTES("\0")}},
    {MR_CHUNK_TYPE, 0, 3, {BYTES("")}},
    {MR_CHUNK_CELL, 0, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_CELL, 0, 3, {BYTES("\0")}},
    {MR_CHUNK_CELL, 1, 1, {BYTES("\xA6\x90\x05")}}, /* 2200-01-01 */
    {MR_CHUNK_CELL, 1, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_CELL, 2, 1, {BYTES("\x01")}},
    {MR_CHUNK_CELL, 0, 3, {BYTES("\x02\x02\0\0\0")}},
    {MR_CHUNK_CELL, 0, 3, {BYTES("\x02\x02\0\x01\0")}}, /* no events */
    {MR_CHUNK_PART, 0, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 0, 1, {BYTES("\x02")}},
    {MR_CHUNK_PART, 17, 3, {BYTES("\0")}},
    {MR_CHUNK_PART, 17, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 17, 3, {BYTES("\x02\x01p\x01p")}},
    {MR_CHUNK_PART, 17, 3, {BYTES("\x02\x01p\x01o")}},
    {MR_CHUNK_PART, 18, 2, {BYTES("\0")}},
    {MR_CHUNK_PART, 19, 1, {BYTES("\0")}},
    {MR_CHUNK_PART, 0, 33,
        {BYTES("\x02" LARGE_PART("0123456789abcdef")
                LARGE_PART("0123456789abcdeg"))}},
    {MR_CHUNK_PART, 22, 1, {BYTES("\x05")}},
    {MR_CHUNK_PART, 22, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 23, 1, {BYTES("\x02")}},
    {MR_CHUNK_PART, 23, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 24, 1, {BYTES("\x03")}},
    {MR_CHUNK_PART, 25, 1, {BYTES("\x03")}},
    {MR_CHUNK_PART, 26, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 26, 1, {BYTES("\x02\0\x01")}},
    {MR_CHUNK_PART, 27, 1, {BYTES("\x0D")}},
    {MR_CHUNK_PART, 26, 1, {BYTES("\x02\x01\0")}},
    {MR_CHUNK_PART, 29, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 30, 1, {BYTES("\x01")}},
    {MR_CHUNK_PART, 30, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_PART, 31, 1, {BYTES("\0")}},
    {MR_CHUNK_PART, 32, 1, {BYTES("\x03")}},
    {MR_CHUNK_PART, 32, 1, {BYTES("\x02")}}, /* none left for the sketch */
    {MR_CHUNK_PART, 33, 0, {BYTES("\0")}},
    {MR_CHUNK_FAIL, 0, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_FAIL, 2, 1, {BYTES("p")}}, /* has been read */
    {MR_CHUNK_FAIL, 2, 1, {BYTES("\0")}},
    {MR_CHUNK_FAIL, 1, 2, {BYTES("\0")}},
    {MR_CHUNK_FAIL, 5, 1, {BYTES("\0")}},
    {MR_CHUNK_FAIL, 0, 1, {BYTES("\x02\x01q\x01\0")}},
    {MR_CHUNK_FAIL, 8, 0, {BYTES("\0")}},
    {MR_CHUNK_SKET, 0, 5, {BYTES("\0")}}, /* but there are users */
    {MR_CHUNK_SKET, 0, 5, {BYTES("")}},
    {MR_CHUNK_SKET, 0, 1, {BYTES("\x02")}},
    {MR_CHUNK_SKET, 1, 1, {BYTES("\x01")}},
    {MR_CHUNK_SKET, 1, 1, {BYTES("\x02")}},
    {MR_CHUNK_SKET, 2, 3, {BYTES("\0")}},
    {MR_CHUNK_SKET, 2, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_SKET, 3, 1, {BYTES("\x80\x80\x01")}},
    {MR_CHUNK_SKET, 4, 1, {BYTES("\0")}},
    {MR_CHUNK_SKET, 4, 1, {BYTES("\x34")}},
    {MR_CHUNK_SKET, 5, 0, {BYTES("\0")}},
    {MR_CHUNK_UIDX, 0, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_UIDX, 0, 1, {BYTES("\0")}},
    {MR_CHUNK_UIDX, 1, 1, {BYTES("\x02")}},
    {MR_CHUNK_UIDX, 2, 1, {BYTES("\x02")}},
    {MR_CHUNK_UIDX, 3, 1, {BYTES("\x02")}},
    {MR_CHUNK_UIDX, 4, 1, {BYTES("\x02")}},
    {MR_CHUNK_UIDX, 12, 1, {BYTES("\x02")}},
    {MR_CHUNK_UIDX, 20, 4, {BYTES("\0\0\0\0")}},
    {MR_CHUNK_UIDX, 20, 4, {BYTES("\x02\0\0\0")}},
    {MR_CHUNK_UIDX, 20, 4, {BYTES("\x01\0\x01\0")}},
    {MR_CHUNK_UIDX, 24, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_UIDX, 24, 8, {BYTES("\0\0\0\0\0\0\0\0")}},
    {MR_CHUNK_UIDX, 32, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_UIDX, 32, 8, {BYTES("\x2D\0\0\0\0\0\0\0")}},
    {MR_CHUNK_UIDX, 40, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_UIDX, 40, 8, {BYTES("\0\0\0\0\0\0\0\0")}},
    {MR_CHUNK_UIDX, 48, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_UIDX, 48, 8, {BYTES("\0\0\0\0\0\0\0\0")}},
    {MR_CHUNK_UIDX, 56, 1, {BYTES("\0")}},
    {MR_CHUNK_UIDX, 64, 0, {BYTES("\0")}},
    {MR_CHUNK_USER, 0, 4, {BYTES("\x02\0\0\0")}},
    {MR_CHUNK_USER, 0, 4, {BYTES("\xFF\xFF\xFF\xFF")}},
    {MR_CHUNK_USER, 4, 4, {BYTES("\xFF\xFF\xFF\xFF")}},
    {MR_CHUNK_USER, 4, 4, {BYTES("\0\0\0\0")}},
    {MR_CHUNK_USER, 8, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_USER, 16, 1, {BYTES("\x02")}},
    {MR_CHUNK_USER, 24, 1, {BYTES("\0")}},
    {MR_CHUNK_USER, 24, 1, {BYTES("\x02")}},
    {MR_CHUNK_USER, 24, 1, {BYTES("\x09")}},
    {MR_CHUNK_USER, 25, 1, {BYTES("\x01")}},
    {MR_CHUNK_USER, 25, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_USER, 26, 1, {BYTES("\0")}},
    {MR_CHUNK_USER, 26, 1, {BYTES("\x02")}},
    {MR_CHUNK_USER, 26, 1, {BYTES(HUGE_COUNT)}},
    {MR_CHUNK_USER, 27, 1, {BYTES("\x03")}},
    {MR_CHUNK_USER, 27, 1, {BYTES("\0")}},
    {MR_CHUNK_USER, 28, 2, {BYTES("\x02\0\0")}}, /* wider than need be */
    {MR_CHUNK_USER, 29, 1, {BYTES("\x01")}},
    {MR_CHUNK_USER, 28, 2, {BYTES("\x08\0\0\0\0\0\0\0\x01")}},
    {MR_CHUNK_USER, 30, 8, {BYTES("\0\x30\xEF\xEB\x99\x06\0\0")}},
    {MR_CHUNK_USER, 30, 8, {BYTES(HUGE_64)}},
    {MR_CHUNK_USER, 39, 1, {BYTES("\x01")}}, /* then base is not the least */
    {MR_CHUNK_USER, 40, 1, {BYTES("\x02")}},
    {MR_CHUNK_USER, 41, 3, {BYTES("\x06\0\0\0\0\0\x07")}},
    {MR_CHUNK_USER, 41, 3, {BYTES("\x07\0\0\0\0\0\0\x01")}},
    {MR_CHUNK_USER, 43, 1, {BYTES("\0")}},
    {MR_CHUNK_USER, 44, 0, {BYTES("\0")}},
};

static enum mr_status try_hostile(const struct hostile *h)
{
    enum mr_status status;
    struct assembled a;
    size_t user_plain;

    fill(&a);
    user_plain = a.chunk[MR_CHUNK_USER].n;
    edit(&a.chunk[h->chunk], h->at, h->cut, &h->with);
    if (h->chunk == MR_CHUNK_USER) {
        fill_index(&a);
        user_plain = a.chunk[MR_CHUNK_USER].n;
    } else if (h->chunk == MR_CHUNK_UIDX && a.chunk[MR_CHUNK_UIDX].n == 64) {
        /* The table agrees with what the index claims. */
        user_plain = mr_get_u64(a.chunk[MR_CHUNK_UIDX].p + 32);
    }
    assemble(&a, user_plain);
    seal(&a.file);
    status = try_state(a.file.p, a.file.n);
    release_assembled(&a);
    return status;
}

/* Run in a child that may have little memory, so that a reader who believes
 * a length gets MR_NOMEM; where a checker needs the address space itself,
 * the limit is left out. */
static void limit_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const struct rlimit limit = {256u << 20, 256u << 20};
    const char *preload = getenv("LD_PRELOAD");

    if (preload && strstr(preload, "vgpreload"))
        return;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return;
#endif
#endif
    setrlimit(RLIMIT_AS, &limit);
#endif
}

static void hostile_files_are_refused(void **state)
{
    size_t i, n = sizeof hostile / sizeof *hostile;
    pid_t child;
    int result;

    (void)state;
    for (i = 0; i < n; i++)
        assert_int_equal(try_hostile(&hostile[i]),
            hostile[i].chunk == MR_CHUNK_UIDX && hostile[i].at == 56
                ? MR_CHECKSUM
                : MR_FORMAT);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        limit_memory();
        for (i = 0; i < n; i++) {
            enum mr_status status = try_hostile(&hostile[i]);

            if (status != MR_FORMAT && status != MR_CHECKSUM)
                _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

/* ---- figures ---- */

/* By hand: the first of two ids' paths, further groups, and one group, each
 * with an event of the one user. */
static const struct piece figures = {BYTES("\x03"
                                           "\x07\x01meta.x" /*  1 */
                                           "\x01\x10"       /*  9 */
                                           "\x03\x10\x02"   /* 11 */
                                           "a"
                                           "\x03"               /* 15: three */
                                           "\0\x01\0"           /* 16 */
                                           "\0\x01\0"           /* 19 */
                                           "\0\x01\0"           /* 22 */
                                           "\x01\0\x01\x01\x32" /* 25 */
                                           "\x01\0\x01\x01\x32"
                                           "\x01\0\x01\x01\x32")};

/* A spec of such figures: one rollup, by type, of one group. */
static void figures_spec(struct mr_spec *s)
{
    assert_int_equal(mr_spec_builtin("lake", s, NULL), MR_OK);
    strcpy(s->user[1], "meta.x");
    s->n_users = 2;
    s->n_rollups = 1;
    strcpy(s->rollup[0].name, "r");
    strcpy(s->rollup[0].by[0].name, "type");
    s->rollup[0].by[0].from = MR_FROM_TYPE;
    s->rollup[0].n_by = 1;
    s->rollup[0].users = MR_USERS_EXACT;
    strcpy(s->rollup[0].events_as, "events");
    strcpy(s->rollup[0].users_as, "users");
    s->rollup[0].max_groups = 1;
}

static void fill_figures(
    struct assembled *a, size_t at, size_t cut, const struct piece *with)
{
    struct mr_buffer *b = &a->chunk[MR_CHUNK_FIGU];

    fill(a);
    figures_spec(&spec);
    a->chunk[MR_CHUNK_SPEC].n = 0;
    assert_int_equal(mr_spec_text(&spec, &a->chunk[MR_CHUNK_SPEC]), MR_OK);
    assert_int_equal(mr_buffer_add(b, figures.p, figures.n), MR_OK);
    if (with != NULL)
        edit(b, at, cut, with);
    assemble(a, a->chunk[MR_CHUNK_USER].n);
    seal(&a->file);
}

static void figures_come_back(void **state)
{
    const struct mr_state_head *head;
    const struct mr_partition *p;
    struct mr_buffer again = {0};
    struct assembled a;
    struct mr_state *s;

    (void)state;
    fill_figures(&a, 0, 0, NULL);
    assert_int_equal(mr_state_open_memory(a.file.p, a.file.n, &s, NULL), MR_OK);
    head = mr_state_get_head(s);
    assert_int_equal(head->n_figures, 3);
    assert_int_equal(head->figure[1].n, 1);
    assert_memory_equal(head->figure[0].p, "\x01meta.x", 7);
    assert_memory_equal(head->figure[2].p,
        "\x10\x02"
        "a",
        3);
    p = &head->coverage.partition[0];
    assert_int_equal(p->n_cells, 1);
    assert_int_equal(p->n_figures, 3);
    assert_int_equal(p->cell[3].cell, 3);
    assert_int_equal(p->cell[3].events, 1);
    assert_non_null(head->sketch[3]);
    assert_int_equal(mr_head_odd_rollup(head), 1);
    assert_int_equal(mr_head_encode(head, MR_CHUNK_FIGU, &again), MR_OK);
    assert_int_equal(again.n, figures.n);
    assert_memory_equal(again.p, figures.p, figures.n);
    mr_buffer_release(&again);
    mr_state_close(s);
    release_assembled(&a);
}

static void hostile_figures_are_refused(void **state)
{
    static const struct {
        size_t at, cut;
        struct piece with;
    } edits[] = {
        {0, 1, {BYTES(HUGE_COUNT)}},
        {0, 1, {BYTES("\x02")}},
        {0, 1, {BYTES("\x04")}},
        {1, 1, {BYTES("\x06")}},
        {1, 1, {BYTES(HUGE_COUNT)}},
        {2, 1, {BYTES("\0")}},    /* a type is no figure */
        {2, 1, {BYTES("\x02")}},  /* the spec has no users table */
        {2, 1, {BYTES("\x03")}},  /* no kind */
        {3, 1, {BYTES("n")}},     /* a path the spec has not */
        {10, 1, {BYTES("\x0F")}}, /* no kind */
        {10, 1, {BYTES("\x11")}}, /* then they do not ascend */
        {12, 1, {BYTES("\x11")}}, /* a rollup too many */
        {12, 1, {BYTES("\xFF")}},
        {13, 1, {BYTES("\0")}},   /* no value, and something behind it */
        {13, 1, {BYTES("\x03")}}, /* a value that ends too late */
        {14, 1, {BYTES("\xFF")}}, /* no UTF-8 */
        {11, 1, {BYTES("\x02")}},
        {11, 4,
            {BYTES("\x03\x10\x02"
                   "a\x03\x10\x02"
                   "a")}},
        {15, 1, {BYTES(HUGE_COUNT)}},
        {15, 1, {BYTES("\x02")}},
        {16, 1, {BYTES("\x03")}}, /* beyond the last */
        {16, 1, {BYTES(HUGE_COUNT)}},
        {17, 1, {BYTES("\0")}},
        {17, 1, {BYTES("\x03")}}, /* more than all events */
        {20, 1, {BYTES("\x02")}}, /* more than these, with the other group */
        {18, 1, {BYTES("\x02")}},
        {18, 1, {BYTES("\x01")}}, /* nobody is left for the sketch */
        {25, 5, {BYTES("\0")}},
        {25, 1, {BYTES("\x02")}},
        {39, 1, {BYTES("")}},
        {40, 0, {BYTES("\0")}},
        /* Without the further groups' events, or all of them. */
        {15, 10, {BYTES("\x02\0\x01\0\x01\x01\0")}},
        /* Two groups where the spec has one; further ones beside none. */
        {0, 40,
            {BYTES("\x02\x03\x10\x02"
                   "a\x03\x10\x02"
                   "b"
                   "\x02\0\x01\0\0\x01\0"
                   "\x01\0\x01\x01\x32\x01\0\x01\x01\x32")}},
        {0, 40, {BYTES("\x01\x01\x10\x01\0\x01\0\x01\0\x01\x01\x32")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct assembled a;
        enum mr_status status;

        fill_figures(&a, edits[i].at, edits[i].cut, &edits[i].with);
        status = try_state(a.file.p, a.file.n);
        if (status != MR_FORMAT)
            fail_msg("edit %zu: status %d", i, (int)status);
        release_assembled(&a);
    }
}

/* The section is there exactly when the spec asks for it. */
static void figures_belong_to_the_spec(void **state)
{
    struct assembled a;

    (void)state;
    fill_figures(&a, 0, 0, NULL);
    a.chunk[MR_CHUNK_FIGU].n = 0;
    assemble(&a, a.chunk[MR_CHUNK_USER].n);
    seal(&a.file);
    assert_int_equal(try_state(a.file.p, a.file.n), MR_FORMAT);
    release_assembled(&a);
    fill(&a);
    assert_int_equal(mr_buffer_add(&a.chunk[MR_CHUNK_FIGU], "\0", 1), MR_OK);
    assemble(&a, a.chunk[MR_CHUNK_USER].n);
    seal(&a.file);
    assert_refused(try_state(a.file.p, a.file.n), 0);
    release_assembled(&a);
}

/* Each bit, behind a checksum that was wrong and one that was made right. */
static void damaged_figures_are_noticed(void **state)
{
    struct assembled a;
    size_t n, first;

    (void)state;
    fill_figures(&a, 0, 0, NULL);
    n = a.chunk[MR_CHUNK_FIGU].n;
    first = a.file.n - n;
    for (size_t i = 0; i < 8 * a.file.n; i++) {
        a.file.p[i / 8] ^= (uint8_t)(1 << (i % 8));
        assert_refused(try_state(a.file.p, a.file.n), i);
        a.file.p[i / 8] ^= (uint8_t)(1 << (i % 8));
    }
    for (size_t i = 0; i < 8 * n; i++) {
        uint8_t *sum = a.file.p + 64 + 40 * MR_CHUNK_FIGU + 32;
        enum mr_status status;

        a.file.p[first + i / 8] ^= (uint8_t)(1 << (i % 8));
        mr_put_u64(sum, mr_hash64(a.file.p + first, n));
        seal(&a.file);
        status = try_state(a.file.p, a.file.n);
        assert_true(status == MR_OK || status == MR_FORMAT);
        a.file.p[first + i / 8] ^= (uint8_t)(1 << (i % 8));
    }
    release_assembled(&a);
}

static void states_share_a_spec(void **state)
{
    const struct mr_spec *first;
    struct mr_state *s[3];
    struct assembled a[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            fill_figures(&a[i], 0, 0, NULL);
        else
            fill(&a[i]);
        assert_int_equal(
            mr_state_open_memory(a[i].file.p, a[i].file.n, &s[i], NULL), MR_OK);
    }
    first = mr_state_get_head(s[0])->spec;
    mr_state_share_spec(s[1], s[0]);
    mr_state_share_spec(s[2], s[0]); /* of another spec */
    mr_state_share_spec(s[1], s[0]); /* once more */
    assert_ptr_equal(mr_state_get_head(s[1])->spec, first);
    assert_ptr_not_equal(mr_state_get_head(s[2])->spec, first);
    assert_int_equal(mr_state_get_head(s[2])->spec->n_rollups, 0);
    for (int i = 0; i < 3; i++) {
        mr_state_close(s[i]);
        release_assembled(&a[i]);
    }
}

/* Header and table: what their checksum cannot tell. */
static void hostile_tables_are_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t byte;
        enum mr_status want;
    } change[] = {
        {8, 1, MR_VERSION},
        {8, 3, MR_VERSION},
        {8, 0, MR_VERSION},
        {12, 65, MR_FORMAT},
        {12, 7, MR_FORMAT},
        {16, 0x55, MR_FORMAT},
        {32, 0, MR_FORMAT},
        {40, 1, MR_FORMAT},
        {55, 1, MR_FORMAT},
        {64 + 3, 'X', MR_FORMAT},      /* another id */
        {64 + 4, 1, MR_FORMAT},        /* USER not by blocks */
        {64 + 8, 0, MR_FORMAT},        /* offset */
        {64 + 23, 0xFF, MR_FORMAT},    /* stored length */
        {64 + 24, 0xFF, MR_FORMAT},    /* plain length */
        {64 + 40 + 3, 'S', MR_FORMAT}, /* another id */
        {64 + 40 + 4, 0, MR_FORMAT},   /* not required */
        {64 + 40 + 4, 9, MR_FORMAT},   /* a flag nobody knows */
        {64 + 40 + 4, 3, MR_FORMAT},   /* packed, of equal length */
        {64 + 40 + 24, 1, MR_FORMAT},  /* two lengths */
        {64 + 40 * 7 + 32, 0x77, MR_CHECKSUM},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof change / sizeof *change; i++) {
        struct assembled a;

        fill(&a);
        assert_int_not_equal(a.file.p[change[i].at], change[i].byte);
        a.file.p[change[i].at] = change[i].byte;
        if (a.file.p[12] <= 64) /* else it is refused before the checksum */
            seal(&a.file);
        assert_int_equal(try_state(a.file.p, a.file.n), change[i].want);
        release_assembled(&a);
    }
}

/* Append a chunk to the table and the file. */
static void add_chunk(
    struct mr_buffer *f, const char *id, uint8_t flags, const char *text)
{
    uint8_t entry[40] = {0};
    struct piece with = {(const char *)entry, sizeof entry};
    size_t i, n = strlen(text), end = 64 + 40 * (size_t)f->p[12];

    memcpy(entry, id, 4);
    entry[4] = flags;
    mr_put_u64(entry + 8, f->n + 40);
    mr_put_u64(entry + 16, n);
    mr_put_u64(entry + 24, n);
    mr_put_u64(entry + 32, mr_hash64(text, n));
    edit(f, end, 0, &with);
    for (i = 0; i < f->p[12]; i++) {
        uint8_t *offset = f->p + 64 + 40 * i + 8;

        mr_put_u64(offset, mr_get_u64(offset) + 40);
    }
    f->p[12]++;
    assert_int_equal(mr_buffer_add(f, text, n), MR_OK);
    mr_put_u64(f->p + 32, f->n);
    seal(f);
}

static void later_chunks(void **state)
{
    const struct mr_state_chunk *chunk;
    struct assembled a;
    struct mr_state *s;

    (void)state;
    fill(&a);
    add_chunk(&a.file, "ROLL", 0, "something new");
    assert_int_equal(mr_state_open_memory(a.file.p, a.file.n, &s, NULL), MR_OK);
    assert_int_equal(mr_state_chunks(s, &chunk), MR_CHUNKS_ALWAYS + 1);
    assert_string_equal(chunk[MR_CHUNKS_ALWAYS].id, "ROLL");
    assert_false(chunk[MR_CHUNKS_ALWAYS].known);
    assert_int_equal(chunk[MR_CHUNKS_ALWAYS].stored_bytes, 13);
    mr_state_close(s);
    a.file.p[a.file.n - 1] ^= 1;
    assert_int_equal(try_state(a.file.p, a.file.n), MR_CHECKSUM);
    a.file.p[a.file.n - 1] ^= 1;
    add_chunk(&a.file, "ROLL", 0, "");
    assert_int_equal(try_state(a.file.p, a.file.n), MR_FORMAT);
    release_assembled(&a);

    fill(&a);
    add_chunk(&a.file, "DUPL", 1, "must be understood");
    assert_int_equal(try_state(a.file.p, a.file.n), MR_VERSION);
    release_assembled(&a);
}

static void empty_states_are_states(void **state)
{
    struct mr_state_writer *writer;
    struct mr_state_head head = {0};
    struct mr_state *s;
    char path[512];
    uint64_t n;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    head.spec = &spec;
    assert_int_equal(
        mr_state_writer_new(path_of("empty.mrs"), head.spec, &writer, NULL),
        MR_OK);
    assert_int_equal(
        mr_state_writer_finish(writer, &head, path, sizeof path, &n, NULL),
        MR_OK);
    assert_int_equal(mr_state_open(path, &s, NULL), MR_OK);
    assert_int_equal(mr_state_n_blocks(s), 0);
    assert_int_equal(mr_state_get_head(s)->n_cells, 0);
    mr_state_close(s);
    mr_state_head_release(&head);
}

/* Damage behind good checksums must do no harm; what is still a state may
 * be read. */
static void mutations_do_no_harm(void **state)
{
    int round, i;

    (void)state;
    for (round = 0; round < 4000; round++) {
        enum mr_chunk chunk = (enum mr_chunk)any(MR_CHUNKS_ALWAYS);
        struct assembled a;
        enum mr_status status;

        fill(&a);
        for (i = 0; i <= (int)any(3); i++)
            a.chunk[chunk].p[any(a.chunk[chunk].n)] = (uint8_t)any64();
        if (chunk == MR_CHUNK_USER)
            fill_index(&a);
        assemble(&a, a.chunk[MR_CHUNK_USER].n);
        seal(&a.file);
        status = try_state(a.file.p, a.file.n);
        assert_true(
            status == MR_OK || status == MR_FORMAT || status == MR_CHECKSUM);
        release_assembled(&a);
    }
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(folder, sizeof folder, "%s/mr-state-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_back),
        cmocka_unit_test(ratio_is_bounded),
        cmocka_unit_test(states_come_back),
        cmocka_unit_test(states_are_canonical),
        cmocka_unit_test(states_are_named_by_content),
        cmocka_unit_test(aborted_writers_leave_nothing),
        cmocka_unit_test(contradictions_are_not_written),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(errors_name_the_file),
        cmocka_unit_test(made_by_hand_is_read),
        cmocka_unit_test(made_by_hand_is_written),
        cmocka_unit_test(samples_are_read),
        cmocka_unit_test(version_1_is_refused),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(figures_come_back),
        cmocka_unit_test(hostile_figures_are_refused),
        cmocka_unit_test(figures_belong_to_the_spec),
        cmocka_unit_test(damaged_figures_are_noticed),
        cmocka_unit_test(states_share_a_spec),
        cmocka_unit_test(hostile_tables_are_refused),
        cmocka_unit_test(later_chunks),
        cmocka_unit_test(empty_states_are_states),
        cmocka_unit_test(mutations_do_no_harm),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
