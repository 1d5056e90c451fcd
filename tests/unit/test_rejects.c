#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/rejects.h"
#include "mr/text.h"
#include "tests/unit/random.h"

/*
 * What is written as JSON, base64 or CSV is read again by small readers of
 * this file's own, and must be what it was.  Files of rejected lines are
 * read with gzip and zstd, the programs.
 */

static char folder[256];

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- UTF-8, by the table of RFC 3629 section 3 ---- */

static size_t encode(uint32_t c, uint8_t out[4])
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(lead[n] | c);
    return n;
}

static bool is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c <= 0xdfff;
}

/* Every character that begins with these bytes has been tried if no code
 * point encodes to them. */
static size_t naive_character(const uint8_t *p, size_t n)
{
    static const uint8_t mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};

    for (size_t length = 1; length <= 4 && length <= n; length++) {
        uint32_t c = p[0] & mask[length];
        uint8_t again[4];

        for (size_t i = 1; i < length; i++)
            c = c << 6 | (p[i] & 0x3f);
        if (c <= 0x10ffff && !is_surrogate(c) && encode(c, again) == length &&
            memcmp(again, p, length) == 0)
            return length;
    }
    return 0;
}

static void characters_are_those_of_rfc_3629(void **state)
{
    uint8_t p[4];

    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        size_t n = encode(c, p);
        size_t want = is_surrogate(c) ? 0 : n;

        if (mr_text_character(p, n) != want ||
            mr_text_character(p, n - (n > 1)) != (n > 1 ? 0 : 1))
            fail_msg("U+%04X", (unsigned)c);
    }
    for (uint32_t v = 0; v < 1 << 24; v++) {
        p[0] = (uint8_t)(v >> 16);
        p[1] = (uint8_t)(v >> 8);
        p[2] = (uint8_t)v;
        p[3] = (uint8_t)(0x7e + v % 5 * 0x10);
        if (p[0] < 0xc0 && v % 16 != 0)
            continue;
        if (mr_text_character(p, 4) != naive_character(p, 4))
            fail_msg("%02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
    }
}

/* Characters of all lengths, control characters, and bytes that are none. */
static size_t random_text(uint8_t *out, size_t max, bool valid)
{
    static const uint32_t edge[] = {0, 0x1f, 0x20, '"', '\\', '/', 0x7f, 0x80,
        0x7ff, 0x800, 0xffff, 0xfffd, 0x10000, 0x10ffff, '\n', '\r', ',',
        0xd7ff, 0xe000, 0x2028};
    size_t n = 0, characters = any(max / 4 + 1);

    for (size_t i = 0; i < characters; i++) {
        uint32_t c = any(3)   ? (uint32_t)any(0x80)
                     : any(2) ? edge[any(sizeof edge / sizeof *edge)]
                              : (uint32_t)any(0x110000);

        if (!valid && any(20) == 0)
            out[n++] = (uint8_t)any(256);
        else if (!is_surrogate(c))
            n += encode(c, out + n);
    }
    return n;
}

/* ---- JSON ---- */

struct json {
    const uint8_t *p;
    size_t n;
};

static void expect(struct json *j, const char *text)
{
    size_t n = strlen(text);

    assert_true(j->n >= n);
    assert_memory_equal(j->p, text, n);
    j->p += n;
    j->n -= n;
}

static uint64_t read_number(struct json *j)
{
    uint64_t v = 0;

    assert_true(j->n > 0 && *j->p >= '0' && *j->p <= '9');
    for (; j->n > 0 && *j->p >= '0' && *j->p <= '9'; j->p++, j->n--)
        v = v * 10 + (uint64_t)(*j->p - '0');
    return v;
}

static uint32_t read_escape(struct json *j)
{
    static const char short_form[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    uint32_t v = 0;

    if (*j->p != 'u') {
        for (size_t i = 0; i < sizeof short_form - 1; i += 2)
            if ((char)*j->p == short_form[i])
                return (uint32_t)short_form[i + 1];
        fail();
    }
    assert_true(j->n >= 5);
    for (unsigned i = 1; i <= 4; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, j->p[i] | 0x20);

        assert_true(j->p[i] != 0 && digit != NULL);
        v = v << 4 | (uint32_t)(digit - digits);
    }
    j->p += 4;
    j->n -= 4;
    return v;
}

/* The string's bytes; what must not stand in JSON fails. */
static size_t read_string(struct json *j, uint8_t *out)
{
    size_t n = 0;

    expect(j, "\"");
    while (j->n > 0 && *j->p != '"') {
        size_t length = naive_character(j->p, j->n);

        assert_true(length > 0 && *j->p >= 0x20);
        if (*j->p == '\\') {
            uint32_t c;

            j->p++;
            j->n--;
            assert_true(j->n > 0);
            c = read_escape(j);
            assert_false(is_surrogate(c));
            n += encode(c, out + n);
        } else {
            memcpy(out + n, j->p, length);
            n += length;
        }
        j->p += length;
        j->n -= length;
    }
    expect(j, "\"");
    return n;
}

static void json_strings_come_back(void **state)
{
    static uint8_t text[1000], want[3000], got[3000];

    (void)state;
    for (unsigned round = 0; round < rounds(3000); round++) {
        struct mr_span span = {text, random_text(text, 900, round % 2)};
        struct mr_buffer out = {0};
        size_t n = 0;
        struct json j;

        for (size_t i = 0; i < span.n;) {
            size_t length = naive_character(text + i, span.n - i);

            memcpy(want + n,
                length ? text + i : (const uint8_t *)"\xef\xbf\xbd",
                length ? length : 3);
            n += length ? length : 3;
            i += length ? length : 1;
        }
        assert_int_equal(
            mr_text_is_utf8(span), n == span.n && memcmp(want, text, n) == 0);
        assert_int_equal(mr_text_json(&out, span), MR_OK);
        j = (struct json){out.p, out.n};
        assert_int_equal(read_string(&j, got), n);
        assert_memory_equal(got, want, n);
        assert_int_equal(j.n, 0);
        mr_buffer_release(&out);
    }
}

/* ---- base64, CSV, printf ---- */

static size_t read_base64(const uint8_t *p, size_t n, uint8_t *out)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n_out = 0;

    assert_int_equal(n % 4, 0);
    for (size_t i = 0; i < n; i += 4) {
        unsigned pad = p[i + 3] == '=' ? 1 + (p[i + 2] == '=') : 0;
        uint32_t v = 0;

        assert_true(pad == 0 || i + 4 == n);
        for (unsigned k = 0; k < 4; k++) {
            const char *d = k < 4 - pad ? strchr(digits, p[i + k]) : digits;

            assert_non_null(d);
            v = v << 6 | (uint32_t)(d - digits);
        }
        assert_int_equal(v & ((1u << 8 * pad) - 1), 0);
        for (unsigned k = 0; k < 3 - pad; k++)
            out[n_out++] = (uint8_t)(v >> (16 - 8 * k));
    }
    return n_out;
}

static void base64_comes_back(void **state)
{
    /* RFC 4648 section 10. */
    static const char *const known[][2] = {{"", ""}, {"f", "Zg=="},
        {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    uint8_t bytes[300], got[400];

    (void)state;
    for (unsigned i = 0; i < 7; i++) {
        struct mr_buffer out = {0};

        assert_int_equal(
            mr_text_base64(&out, mr_text_span(known[i][0])), MR_OK);
        assert_int_equal(out.n, strlen(known[i][1]));
        if (out.n > 0)
            assert_memory_equal(out.p, known[i][1], out.n);
        mr_buffer_release(&out);
    }
    for (unsigned round = 0; round < rounds(500); round++) {
        struct mr_buffer out = {0};
        size_t n = any(300);

        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)any(256);
        assert_int_equal(
            mr_text_base64(&out, (struct mr_span){bytes, n}), MR_OK);
        assert_int_equal(read_base64(out.p, out.n, got), n);
        assert_memory_equal(got, bytes, n);
        mr_buffer_release(&out);
    }
}

static size_t read_csv(const uint8_t *p, size_t n, uint8_t *out)
{
    size_t n_out = 0;

    if (n == 0 || p[0] != '"') {
        for (size_t i = 0; i < n; i++)
            assert_false(
                p[i] == ',' || p[i] == '"' || p[i] == '\n' || p[i] == '\r');
        if (n > 0)
            memcpy(out, p, n);
        return n;
    }
    assert_true(n >= 2 && p[n - 1] == '"');
    for (size_t i = 1; i < n - 1; i++) {
        if (p[i] == '"') {
            i++;
            assert_true(i < n - 1 && p[i] == '"');
        }
        out[n_out++] = p[i];
    }
    return n_out;
}

static void csv_comes_back(void **state)
{
    uint8_t text[100], got[100];

    (void)state;
    for (unsigned round = 0; round < rounds(3000); round++) {
        struct mr_span span = {text, random_text(text, 90, round % 2)};
        struct mr_buffer out = {0};

        assert_int_equal(mr_text_csv(&out, span), MR_OK);
        assert_int_equal(read_csv(out.p, out.n, got), span.n);
        assert_memory_equal(got, text, span.n);
        mr_buffer_release(&out);
    }
}

static void printf_appends(void **state)
{
    struct mr_buffer out = {0};
    char text[300];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(mr_text_printf(&out, "%s", ""), MR_OK);
    assert_int_equal(out.n, 0);
    for (unsigned i = 1; i <= 100; i++) {
        assert_int_equal(mr_text_printf(&out, "%.*s|", (int)i, text), MR_OK);
        assert_int_equal(out.n, i * (i + 1) / 2 + i);
        assert_int_equal(out.p[out.n - 1], '|');
    }
    mr_buffer_release(&out);
}

/* ---- rejects ---- */

#define REASONS 13
static const char *const reasons[REASONS] = {"json", "too-long", "too-deep",
    "missing:data.id", "malformed:data.id", "missing:data.type",
    "malformed:data.type", "missing:data.attributes",
    "malformed:data.attributes", "missing:meta.created_at",
    "malformed:meta.created_at", "missing:data.attributes.user_id",
    "malformed:data.attributes.user_id"};

static void check_reject(struct json *j, const struct mr_reject *want,
    const char *partition, uint64_t line)
{
    static uint8_t got[5000];
    size_t n;

    expect(j, "{\"reason\":");
    n = read_string(j, got);
    assert_int_equal(n, strlen(reasons[want->reason]));
    assert_memory_equal(got, reasons[want->reason], n);
    expect(j, ",\"partition\":");
    n = read_string(j, got);
    assert_int_equal(n, strlen(partition));
    assert_memory_equal(got, partition, n);
    expect(j, ",\"line\":");
    assert_int_equal(read_number(j), line + want->line + 1);
    expect(j, ",\"offset\":");
    assert_int_equal(read_number(j), want->offset);
    if (mr_text_is_utf8(want->text)) {
        expect(j, ",\"text\":");
        n = read_string(j, got);
    } else {
        static uint8_t encoded[8000];

        expect(j, ",\"base64\":");
        n = read_string(j, encoded);
        n = read_base64(encoded, n, got);
    }
    assert_int_equal(n, want->text.n);
    if (n > 0)
        assert_memory_equal(got, want->text.p, n);
    if (want->cut)
        expect(j, ",\"cut\":true");
    expect(j, "}\n");
}

static void rejects_come_back(void **state)
{
    static uint8_t text[20][1000];
    struct mr_reject r[20];
    struct mr_spec spec;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    for (unsigned round = 0; round < rounds(300); round++) {
        struct mr_buffer packed = {0}, out = {0};
        uint64_t line = any(2) ? 0 : any(UINT64_C(1) << 40);
        const char *partition = round % 3 == 0 ? "a\n\"b\\\xc3\xa4\x01" : "p";
        size_t n = any(20);
        struct json j;

        for (size_t i = 0; i < n; i++) {
            r[i] = (struct mr_reject){.reason = (unsigned)any(REASONS),
                .line = any(2) ? i : any(UINT64_C(1) << 40),
                .offset = any(UINT64_C(1) << 50),
                .text = {text[i], random_text(text[i], 900, any(2))},
                .cut = any(2)};
            assert_int_equal(mr_reject_pack(&r[i], &packed), MR_OK);
        }
        assert_int_equal(mr_reject_format(&spec, partition,
                             (struct mr_span){packed.p, packed.n}, line, &out),
            MR_OK);
        j = (struct json){out.p, out.n};
        for (size_t i = 0; i < n; i++)
            check_reject(&j, &r[i], partition, line);
        assert_int_equal(j.n, 0);
        mr_buffer_release(&packed);
        mr_buffer_release(&out);
    }
}

/* ---- spools and files ---- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static unsigned count_files(void)
{
    DIR *d = opendir(folder);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

/* Text whose place can be told from its bytes. */
static void fill(struct mr_buffer *b, uint64_t *next, size_t words)
{
    for (size_t i = 0; i < words; i++)
        assert_int_equal(mr_buffer_add_u64(b, (*next)++), MR_OK);
}

static void check_file(const char *reader, const char *name, uint64_t words)
{
    char command[700];
    uint8_t word[8];
    uint64_t n = 0;
    FILE *f;

    snprintf(command, sizeof command, "%s '%s'", reader, path_of(name));
    f = popen(command, "r");
    assert_non_null(f);
    while (fread(word, 1, 8, f) == 8) {
        if (mr_get_u64(word) != n)
            fail_msg("%s: word %llu", name, (unsigned long long)n);
        n++;
    }
    assert_int_equal(pclose(f), 0);
    assert_int_equal(n, words);
}

static struct mr_reject_file *file_new(const char *name)
{
    struct mr_reject_file *file;

    assert_int_equal(mr_reject_file_new(path_of(name), &file, NULL), MR_OK);
    return file;
}

/* Add a spool of so many bytes, of a partition that no other spool is of. */
static void add_spool(
    struct mr_reject_file *file, struct mr_spool *spool, uint64_t bytes)
{
    static uint8_t number;
    struct mr_reject_share share = {.bytes = bytes};

    memset(share.digest.b, ++number, sizeof share.digest.b);
    assert_int_equal(mr_reject_file_add(file, spool, &share, 1, NULL), MR_OK);
    assert_int_equal(spool->text.n, 0);
    assert_null(spool->spill);
}

static void write_file(
    const char *name, const size_t *words, size_t n, const char *reader)
{
    struct mr_reject_file *file = file_new(name);
    struct mr_spool spool = {.spill = NULL};
    uint64_t next = 0, written = 0;

    for (size_t i = 0; i < n; i++) {
        fill(&spool.text, &next, words[i]);
        if (i % 2 == 0) {
            assert_int_equal(mr_spool_settle(&spool, folder, NULL), MR_OK);
            assert_true(spool.text.n < MR_SPOOL_BYTES);
        }
        assert_false(exists(path_of(name)));
        if (i % 3 != 0)
            continue;
        add_spool(file, &spool, (next - written) * 8);
        written = next;
    }
    add_spool(file, &spool, (next - written) * 8);
    assert_int_equal(mr_reject_file_finish(file, NULL), MR_OK);
    mr_spool_release(&spool);
    check_file(reader, name, next);
    assert_int_equal(count_files(), 1);
    assert_int_equal(unlink(path_of(name)), 0);
}

static void files_are_read_by_programs(void **state)
{
    static const size_t words[] = {
        1, 8191, 8192, 8193, 0, 100000, 524287, 524288, 524289, 1, 700000, 3};
    static const size_t exact[] = {8192};
    static const char *const kinds[][2] = {{"plain", "cat"}, {"x.jsonl", "cat"},
        {"x.gz", "zcat"}, {"x.jsonl.zst", "zstd -dcq"}, {".gz", "gzip -dc <"},
        {"zst", "cat"}};

    (void)state;
    for (unsigned k = 0; k < 6; k++) {
        write_file(kinds[k][0], NULL, 0, kinds[k][1]);
        write_file(kinds[k][0], words, k < 4 ? 12 : 2, kinds[k][1]);
        write_file(kinds[k][0], exact, 1, kinds[k][1]);
    }
}

/* Bytes that do not shrink: packed output as long as any buffer. */
static void noise_is_written_whole(void **state)
{
    static const char *const kinds[][2] = {
        {"n", "cat"}, {"n.gz", "zcat"}, {"n.zst", "zstd -dcq"}};
    const size_t n = 700001;
    uint8_t *noise = malloc(n), *got = malloc(n + 1);

    (void)state;
    assert_true(noise && got);
    for (size_t i = 0; i < n; i++)
        noise[i] = (uint8_t)any(256);
    for (unsigned k = 0; k < 3; k++) {
        struct mr_reject_file *file = file_new(kinds[k][0]);
        struct mr_spool spool = {.spill = NULL};
        char command[700];
        FILE *f;

        assert_int_equal(mr_buffer_add(&spool.text, noise, n), MR_OK);
        add_spool(file, &spool, n);
        assert_int_equal(mr_reject_file_finish(file, NULL), MR_OK);
        snprintf(command, sizeof command, "%s '%s'", kinds[k][1],
            path_of(kinds[k][0]));
        f = popen(command, "r");
        assert_non_null(f);
        assert_int_equal(fread(got, 1, n + 1, f), n);
        assert_int_equal(pclose(f), 0);
        assert_memory_equal(got, noise, n);
        assert_int_equal(unlink(path_of(kinds[k][0])), 0);
        mr_spool_release(&spool);
    }
    free(noise);
    free(got);
}

static void given_up_files_leave_nothing(void **state)
{
    static const char *const names[] = {"a", "a.gz", "a.zst"};
    struct mr_error err;
    struct mr_reject_file *file;

    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        struct mr_spool spool = {.spill = NULL};
        uint64_t next = 0;

        file = file_new(names[k]);
        fill(&spool.text, &next, 100000);
        add_spool(file, &spool, 800000);
        mr_reject_file_abort(file);
        mr_spool_release(&spool);
        assert_int_equal(count_files(), 0);
    }
    mr_reject_file_abort(NULL);
    assert_int_not_equal(
        mr_reject_file_new(path_of("none/a.gz"), &file, &err), MR_OK);
    assert_non_null(strstr(err.path, "none"));
}

/* Three spools, with and without overflow, joined. */
static void spools_keep_their_order(void **state)
{
    static const size_t size[] = {0, 5, 524288 + 3, 1100000};

    (void)state;
    for (unsigned form = 0; form < 64; form += 3) {
        struct mr_spool a = {.spill = NULL}, b = a;
        struct mr_reject_file *file;
        uint64_t next = 0;

        fill(&a.text, &next, size[form & 3]);
        assert_int_equal(mr_spool_settle(&a, folder, NULL), MR_OK);
        fill(&a.text, &next, 3); /* behind what overflowed */
        fill(&b.text, &next, size[form >> 2 & 3]);
        assert_int_equal(mr_spool_settle(&b, folder, NULL), MR_OK);
        fill(&b.text, &next, 2);
        assert_int_equal(mr_spool_append(&a, &b, folder, NULL), MR_OK);
        assert_true(a.text.n < MR_SPOOL_BYTES);
        assert_int_equal(b.text.n, 0);
        assert_null(b.spill);
        fill(&b.text, &next, size[form >> 4]); /* used again */
        assert_int_equal(mr_spool_append(&a, &b, folder, NULL), MR_OK);
        assert_int_equal(mr_spool_bytes(&a), 8 * next);
        file = file_new("spooled");
        add_spool(file, &a, next * 8);
        assert_int_equal(mr_reject_file_finish(file, NULL), MR_OK);
        check_file("cat", "spooled", next);
        assert_int_equal(unlink(path_of("spooled")), 0);
        mr_spool_release(&a);
        mr_spool_release(&b);
    }
}

/* Of many spools of several partitions each, what a partition of a digest
 * that came before brings is left out.  Words that stay count up. */
static void repeated_partitions_are_left_out(void **state)
{
    static bool known[300];

    (void)state;
    for (unsigned round = 0; round < rounds(30); round++) {
        struct mr_reject_file *file = file_new("shares");
        uint64_t next = 0;

        memset(known, 0, sizeof known);
        for (unsigned k = 0; k < 40; k++) {
            struct mr_reject_share share[10];
            struct mr_spool spool = {.spill = NULL};
            size_t n = any(11);

            for (size_t i = 0; i < n; i++) {
                unsigned d = (unsigned)any(round % 2 ? 300 : 20);
                size_t words = d % 8 == 0 ? 1000 * (d + 1) : d % 5;
                uint64_t wrong = 1 << 30;

                memset(&share[i], 0, sizeof share[i]);
                share[i].digest.b[round % 15] = (uint8_t)(1 + d % 100);
                share[i].digest.b[15] = (uint8_t)(d / 100);
                share[i].bytes = 8 * words;
                fill(&spool.text, known[d] ? &wrong : &next, words);
                known[d] = true;
                assert_int_equal(mr_spool_settle(&spool, folder, NULL), MR_OK);
            }
            assert_int_equal(
                mr_reject_file_add(file, &spool, share, n, NULL), MR_OK);
            assert_int_equal(spool.text.n, 0);
            mr_spool_release(&spool);
        }
        assert_int_equal(mr_reject_file_finish(file, NULL), MR_OK);
        check_file("cat", "shares", next);
        assert_int_equal(unlink(path_of("shares")), 0);
    }
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(
        folder, sizeof folder, "%s/mr-rejects-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_those_of_rfc_3629),
        cmocka_unit_test(json_strings_come_back),
        cmocka_unit_test(base64_comes_back),
        cmocka_unit_test(csv_comes_back),
        cmocka_unit_test(printf_appends),
        cmocka_unit_test(rejects_come_back),
        cmocka_unit_test(files_are_read_by_programs),
        cmocka_unit_test(noise_is_written_whole),
        cmocka_unit_test(given_up_files_leave_nothing),
        cmocka_unit_test(spools_keep_their_order),
        cmocka_unit_test(repeated_partitions_are_left_out),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
