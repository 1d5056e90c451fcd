#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/stream_private.h"
#include "tests/unit/random.h"

#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#define ONE "{\"n\":1}\n"
#define TWO "{\"n\":2}\n"
#define THREE "{\"n\":3}\n"
#define ALL ONE TWO THREE
#define MEMBERS                                                                \
    "memory/a.jsonl=" ONE "memory/b.jsonl.gz=" TWO "memory/c.jsonl.zst=" THREE

/*
 * What reading each sample must give, as tests/samples/README says it: for
 * each partition NAME= and its bytes, or NAME! with STATUS OFFSET CAUSE; a
 * failure of the whole is ! alone.  "-" stands for no offset.  What
 * libarchive says is its own affair and left out.
 */
static const struct sample {
    const char *file;
    const char *verdict;
} samples[] = {
    {"good-plain.jsonl", "memory=" ALL},
    {"good-empty.jsonl", "memory="},
    {"good-gzip.jsonl.gz", "memory=" ALL},
    {"good-gzip-members.jsonl.gz", "memory=" ALL},
    {"good-gzip-padding.jsonl.gz", "memory=" ALL},
    {"good-gzip-header.jsonl.gz", "memory=" ALL},
    {"good-gzip-stored.jsonl.gz", "memory=" ALL},
    {"good-gzip-empty.jsonl.gz", "memory="},
    {"good-zstd.jsonl.zst", "memory=" ALL},
    {"good-zstd-frames.jsonl.zst", "memory=" ALL},
    {"good-zstd-stream.jsonl.zst", "memory=" ALL},
    {"good-zstd-window.jsonl.zst", "memory=" ALL},
    {"good-tar.tar", MEMBERS},
    {"good-tar-gzip.tar.gz", MEMBERS},
    {"good-tar-zstd.tar.zst", MEMBERS},
    {"good-tar-pax.tar", "day=1/\xC3\xA9.jsonl=" ALL},
    {"good-tar-v7.tar", "memory/a.jsonl=" ALL},
    {"good-tar-hidden.tar", "memory/x/a.jsonl=" ALL},
    {"good-tar-keys.tar", "event=a/hour=3/x.jsonl=" ALL},
    {"good-tar-empty.tar", ""},
    {"good-zip.zip", MEMBERS},
    {"good-zip-stored.zip", "memory/d/\xC3\xBC.jsonl=" ALL},
    {"good-zip-streamed.zip", "memory/-=" ALL},
    {"good-zip-empty.zip", ""},
    {"bad-gzip-truncated.jsonl.gz", "!3 30 truncated gzip member\n"},
    {"bad-gzip-truncated-header.jsonl.gz", "!3 20 truncated gzip member\n"},
    {"bad-gzip-truncated-trailer.jsonl.gz", "!3 33 truncated gzip member\n"},
    {"bad-gzip-truncated-member.jsonl.gz", "!3 29 truncated gzip member\n"},
    {"bad-gzip-crc.jsonl.gz",
        "!5 28 wrong checksum of the gzip member: deadbeef stored, 1648819e "
        "computed\n"},
    {"bad-gzip-length.jsonl.gz",
        "!5 32 wrong length of the gzip member: 25 stored, 24 unpacked "
        "(modulo 2^32)\n"},
    {"bad-gzip-block.jsonl.gz",
        "!3 0 damaged data in the gzip member that begins there\n"},
    {"bad-gzip-garbage.jsonl.gz",
        "!3 36 trailing garbage after the gzip member\n"},
    {"bad-gzip-padding.jsonl.gz",
        "!3 46 trailing garbage after the gzip member\n"},
    {"bad-gzip-header-crc.jsonl.gz",
        "!5 10 wrong checksum of the gzip header: 77a6 stored, 77a7 "
        "computed\n"},
    {"bad-gzip-method.jsonl.gz", "!3 2 unknown gzip compression method 7\n"},
    {"bad-gzip-flags.jsonl.gz", "!3 3 unknown gzip header flags 0x20\n"},
    {"bad-zstd-truncated.jsonl.zst", "!3 31 truncated zstd frame\n"},
    {"bad-zstd-truncated-header.jsonl.zst", "!3 27 truncated zstd frame\n"},
    {"bad-zstd-truncated-skippable.jsonl.zst",
        "!3 57 truncated zstd skippable frame\n"},
    {"bad-zstd-checksum.jsonl.zst",
        "!5 0 wrong checksum of the zstd frame that begins there\n"},
    {"bad-zstd-block.jsonl.zst",
        "!3 0 damaged data in the zstd frame that begins there\n"},
    {"bad-zstd-garbage.jsonl.zst",
        "!3 37 trailing garbage after the zstd frame\n"},
    {"bad-zstd-bomb.jsonl.zst",
        "memory!7 - unpacks to more than 64 MiB and to more than 2000 bytes "
        "for each stored byte\n"},
    {"bad-tar-bomb.tar",
        "memory/s.jsonl!7 - unpacks to more than 64 MiB and to more than 2000 "
        "bytes for each stored byte\n"},
    {"bad-tar-truncated.tar",
        "memory/a.jsonl=" ALL "memory/b.jsonl!3 612 tar archive: \n"
        "!3 2148 tar archive: \n"},
    {"bad-tar-no-end.tar",
        MEMBERS "!3 3072 truncated tar archive: its end mark is missing\n"},
    {"bad-tar-after-end.tar",
        "memory/a.jsonl=" ALL
        "!3 2048 data after the end mark of the tar archive\n"},
    {"bad-tar-pax-cut.tar",
        "!3 520 truncated tar archive: its end mark is missing\n"},
    {"bad-tar-name.tar",
        "memory/a.jsonl=" ONE
        "!3 1536 a member of the archive has no name, or not the UTF-8 one "
        "that it says\n"},
    {"bad-tar-header.tar", "memory/a.jsonl=" ALL "!3 1536 tar archive: \n"},
    {"bad-tar-truncated.tar.gz", "memory/a.jsonl!3 170 truncated gzip member\n"
                                 "!3 170 truncated gzip member\n"},
    {"bad-tar-crc.tar.gz",
        "memory/a.jsonl!5 182 wrong checksum of the gzip member: 00000001 "
        "stored, cc18797e computed\n"
        "!5 182 wrong checksum of the gzip member: 00000001 stored, cc18797e "
        "computed\n"},
    {"bad-tar-member.tar",
        "memory/a.jsonl=" ONE
        "memory/b.jsonl.gz!5 20 wrong checksum of the gzip member: 00000001 "
        "stored, 87f8afca computed\n"
        "memory/c.jsonl=" THREE},
    {"bad-zip-truncated.zip",
        "memory/a.jsonl=" ONE "memory/b.jsonl.gz!3 15 zip archive: \n"
        "!3 100 zip archive: \n"},
    {"bad-zip-between.zip",
        "memory/a.jsonl=" ONE
        "!3 47 truncated zip archive: its end mark is missing\n"},
    {"bad-zip-directory.zip",
        MEMBERS "!3 342 truncated zip archive: its end mark is missing\n"},
    {"bad-zip-members.zip",
        MEMBERS "!3 342 the zip archive's end mark tells of 4 members, "
                "and 3 were found\n"},
    {"bad-zip-two.zip",
        MEMBERS "!3 364 data before the zip archive that begins there\n"},
    {"bad-zip-after-end.zip",
        MEMBERS "!3 364 data after the end mark of the zip archive\n"},
    {"bad-zip-name.zip",
        "!3 72 a member of the archive has no name, or not the UTF-8 one that "
        "it says\n"},
    {"bad-zip-crc.zip",
        "memory/a.jsonl=" ONE "memory/b.jsonl!3 8 zip archive: \n"},
    {"unsupported-tar-nested.tar",
        "memory/a.jsonl=" ONE
        "memory/b.tar!3 0 archives inside archives are not read\n"
        "memory/b.tar.gz!3 0 archives inside archives are not read\n"
        "memory/c.jsonl=" THREE
        "memory/d.zip!3 0 archives inside archives are not read\n"},
    {"unsupported-zip-encrypted.zip",
        "memory/a.jsonl!3 0 the archive member is encrypted\n"
        "memory/b.jsonl=" ALL},
    {"unsupported-zstd-window.jsonl.zst",
        "!7 0 the zstd frame needs a window of 4096 MiB, above the limit of "
        "2048 MiB\n"},
    {"unsupported-zstd-dictionary.jsonl.zst",
        "!3 0 the zstd frame needs dictionary 42, and dictionaries are not "
        "read\n"},
    {"unsupported-zstd-old.jsonl.zst",
        "!3 0 zstd data of a version before 0.8 is not read\n"},
    {"unsupported-bzip2.jsonl.bz2", "!3 0 bzip2 data is not read\n"},
    {"unsupported-xz.jsonl.xz", "!3 0 xz data is not read\n"},
    {"unsupported-lz4.jsonl.lz4", "!3 0 lz4 data is not read\n"},
    {"unsupported-compress.jsonl.Z", "!3 0 compress (.Z) data is not read\n"},
    {"unsupported-snappy.sz", "!3 0 snappy data is not read\n"},
    {"unsupported-7z.7z", "!3 0 a 7z archive is not read\n"},
    {"unsupported-rar.rar", "!3 0 a rar archive is not read\n"},
    {"unsupported-parquet.parquet", "!3 0 Parquet is not read\n"},
    {"unsupported-orc.orc", "!3 0 ORC is not read\n"},
    {"unsupported-avro.avro", "!3 0 Avro is not read\n"},
    {"unsupported-utf16le.jsonl", "!3 0 UTF-16 text is not read\n"},
    {"unsupported-utf16be.jsonl", "!3 0 UTF-16 text is not read\n"},
    {"unsupported-utf32le.jsonl", "!3 0 UTF-32 text is not read\n"},
    {"unsupported-utf32be.jsonl", "!3 0 UTF-32 text is not read\n"},
    {"unsupported-utf16.jsonl.gz",
        "!3 0 UTF-16 text inside gzip is not read\n"},
    {"unsupported-gzip-in-gzip.jsonl.gz",
        "!3 0 gzip data inside gzip is not read\n"},
};
#define N_SAMPLES (sizeof samples / sizeof *samples)

static void add(struct mr_buffer *out, const void *p, size_t n)
{
    assert_int_equal(mr_buffer_add(out, p, n), MR_OK);
}

static void add_text(struct mr_buffer *out, const char *text)
{
    add(out, text, strlen(text));
}

static void add_failure(struct mr_buffer *out, const struct mr_error *err)
{
    char text[64];
    const char *colon = strstr(err->cause, " archive: ");
    size_t n = strlen(err->cause);

    if (colon != NULL && strncmp(err->cause, "truncated", 9) != 0)
        n = (size_t)(colon - err->cause) + strlen(" archive: ");
    if (err->offset == MR_NOWHERE)
        snprintf(text, sizeof text, "!%d - ", (int)err->status);
    else
        snprintf(text, sizeof text, "!%d %" PRIu64 " ", (int)err->status,
            err->offset);
    add_text(out, text);
    add(out, err->cause, n);
    add_text(out, "\n");
    assert_string_equal(err->action, "cannot read");
    assert_true(err->path[0] != '\0');
    assert_true(err->advice[0] != '\0');
}

/* Read a stream to its end by pieces of cap; a failure leaves nothing. */
static void add_stream(
    struct mr_buffer *out, struct mr_stream *stream, size_t cap)
{
    size_t before, n = 0;
    uint8_t *p = malloc(cap);
    struct mr_error err;
    enum mr_status status;

    assert_non_null(p);
    add_text(out, mr_stream_name(stream));
    before = out->n;
    add_text(out, "=");
    for (;;) {
        status = mr_stream_read(stream, p, cap, &n, &err);
        if (status != MR_OK || n == 0)
            break;
        assert_true(n <= cap);
        add(out, p, n);
    }
    /* The end stays the end. */
    if (status == MR_OK) {
        assert_int_equal(mr_stream_read(stream, p, cap, &n, &err), MR_OK);
        assert_int_equal(n, 0);
    } else {
        assert_int_equal(err.status, status);
        out->n = before;
        add_failure(out, &err);
    }
    free(p);
}

static void add_container(
    struct mr_buffer *out, struct mr_container *container, size_t cap)
{
    struct mr_error err;
    struct mr_stream *stream;
    enum mr_status status;

    while ((status = mr_container_next(container, &stream, &err)) == MR_OK &&
           stream != NULL) {
        add_stream(out, stream, cap);
        mr_stream_close(stream);
    }
    if (status != MR_OK)
        add_failure(out, &err);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
}

static struct mr_buffer memory_verdict(
    const void *p, size_t n, size_t piece, size_t cap)
{
    struct mr_buffer out = {0};
    struct mr_container *container;
    struct mr_error err;

    if (mr_container_open_memory(p, n, piece, &container, &err) != MR_OK)
        add_failure(&out, &err);
    else
        add_container(&out, container, cap);
    add(&out, "", 1);
    return out;
}

static struct mr_buffer file_verdict(const char *path, size_t cap)
{
    struct mr_buffer out = {0};
    struct mr_container *container;
    struct mr_error err;
    char *name = strdup("memory"), *copy = strdup(path);
    struct mr_input input = {copy, name, 0};

    if (mr_container_open(&input, &container, &err) != MR_OK)
        add_failure(&out, &err);
    else
        add_container(&out, container, cap);
    add(&out, "", 1);
    free(name);
    free(copy);
    return out;
}

static void sample_path(char *out, size_t size, const char *file)
{
    const char *top = getenv("srcdir");

    snprintf(out, size, "%s/tests/samples/%s", top ? top : ".", file);
}

static struct mr_buffer read_file(const char *path)
{
    struct mr_buffer bytes = {0};
    char block[4096];
    FILE *file = fopen(path, "rb");
    size_t n;

    assert_non_null(file);
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        add(&bytes, block, n);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(p, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void assert_verdict(
    struct mr_buffer verdict, const struct sample *sample)
{
    if (strcmp((const char *)verdict.p, sample->verdict) != 0)
        print_error("%s:\n", sample->file);
    assert_string_equal((const char *)verdict.p, sample->verdict);
    mr_buffer_release(&verdict);
}

static void test_samples(void **state)
{
    static const size_t pieces[] = {0, 1, 7, 512, 4096};

    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const struct sample *sample = &samples[i];
        /* What unpacks to 64 MiB is not read byte by byte. */
        bool bomb = strstr(sample->file, "bomb") != NULL;
        struct mr_buffer bytes;
        char path[4096];

        sample_path(path, sizeof path, sample->file);
        assert_verdict(file_verdict(path, 1 << 16), sample);
        bytes = read_file(path);
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            assert_verdict(
                memory_verdict(bytes.p, bytes.n, pieces[k], 1 << 16), sample);
            if (!bomb)
                assert_verdict(
                    memory_verdict(bytes.p, bytes.n, pieces[k], 1), sample);
        }
        mr_buffer_release(&bytes);
    }
}

/* All of a whole made of zeros and the two marks that the sample has. */
static void test_sparse(void **state)
{
    struct mr_buffer bytes, verdict;
    char path[4096], *expected = calloc(1, 300000);
    const char *name = "memory/s.jsonl=";

    (void)state;
    assert_non_null(expected);
    memcpy(expected, ONE, 8);
    memcpy(expected + 200000, TWO, 8);
    sample_path(path, sizeof path, "good-tar-sparse.tar");
    bytes = read_file(path);
    for (size_t piece = 0; piece <= 1000; piece += 1000) {
        verdict = memory_verdict(bytes.p, bytes.n, piece, 1000);
        assert_int_equal(verdict.n, strlen(name) + 300000 + 1);
        assert_memory_equal(verdict.p, name, strlen(name));
        assert_memory_equal(verdict.p + strlen(name), expected, 300000);
        mr_buffer_release(&verdict);
    }
    mr_buffer_release(&bytes);
    free(expected);
}

/* No beginning of a packed file is a packed file. */
static void test_every_truncation(void **state)
{
    static const char *const files[] = {"good-gzip.jsonl.gz",
        "good-gzip-header.jsonl.gz", "good-zstd.jsonl.zst",
        "good-tar-gzip.tar.gz", "good-tar-zstd.tar.zst"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct mr_buffer bytes;
        char path[4096];

        sample_path(path, sizeof path, files[i]);
        bytes = read_file(path);
        /* With fewer than 4 bytes the kind cannot be told. */
        for (size_t n = 4; n < bytes.n; n++) {
            struct mr_buffer a = memory_verdict(bytes.p, n, 0, 4096);
            struct mr_buffer b = memory_verdict(bytes.p, n, 1, 4096);
            char expected[64];

            snprintf(expected, sizeof expected, "!3 %zu truncated ", n);
            assert_non_null(strstr((const char *)a.p, expected));
            assert_string_equal((const char *)a.p, (const char *)b.p);
            mr_buffer_release(&a);
            mr_buffer_release(&b);
        }
        mr_buffer_release(&bytes);
    }
}

/* Nor is any of an archive, whatever libarchive says of it: the last word is
 * that the archive is damaged, and never that memory lacks. */
static void test_every_cut_archive(void **state)
{
    static const char *const files[] = {"good-zip.zip", "good-zip-stored.zip",
        "good-zip-streamed.zip", "good-tar.tar", "good-tar-pax.tar"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct mr_buffer bytes;
        size_t end;
        char path[4096];

        sample_path(path, sizeof path, files[i]);
        bytes = read_file(path);
        /* One block of the two that end a tar is enough, and the kind is told
         * by the first 512 bytes. */
        for (end = bytes.n; strstr(files[i], "tar") && bytes.p[end - 1] == 0;)
            end--;
        for (size_t n = end < bytes.n ? 512 : 4; n < end; n++) {
            struct mr_buffer a = memory_verdict(bytes.p, n, 0, 4096);
            struct mr_buffer b = memory_verdict(bytes.p, n, 1, 4096);

            assert_null(strstr((const char *)a.p, "!1 "));
            assert_non_null(strstr((const char *)a.p, "!3 "));
            assert_string_equal((const char *)a.p, (const char *)b.p);
            mr_buffer_release(&a);
            mr_buffer_release(&b);
        }
        mr_buffer_release(&bytes);
    }
}

/* A bit that was turned over is noticed, wherever a checksum covers it. */
static void test_every_bit(void **state)
{
    static const struct {
        const char *file;
        size_t from; /* the first byte that is covered */
    } covered[] = {{"good-gzip.jsonl.gz", 10 + 12},
        {"good-gzip-stored.jsonl.gz", 11}, {"good-zstd.jsonl.zst", 6}};

    (void)state;
    for (size_t i = 0; i < sizeof covered / sizeof *covered; i++) {
        struct mr_buffer bytes;
        char path[4096];

        /* Spares have been left by now, and are made anew. */
        mr_stream_release_spares();
        sample_path(path, sizeof path, covered[i].file);
        bytes = read_file(path);
        for (size_t bit = 8 * covered[i].from; bit < 8 * bytes.n; bit++) {
            struct mr_buffer a, b;

            bytes.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            a = memory_verdict(bytes.p, bytes.n, 0, 4096);
            b = memory_verdict(bytes.p, bytes.n, 1, 5);
            bytes.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            /* The last bits of a deflate stream mean nothing. */
            if (strcmp((const char *)a.p, "memory=" ALL) == 0)
                assert_string_equal(covered[i].file, "good-gzip.jsonl.gz");
            else
                assert_int_equal(a.p[0], '!');
            assert_string_equal((const char *)a.p, (const char *)b.p);
            mr_buffer_release(&a);
            mr_buffer_release(&b);
        }
        mr_buffer_release(&bytes);
    }
}

/* What a frame's header says of its content's size holds, also where its last
 * block is empty, for windows of either kind and however it is read. */
static void test_content_sizes(void **state)
{
    static const uint8_t blocks[] = {
        3 << 3, 0, 0, 'a', 'b', 'c', 1, 0, 0}; /* "abc", and an empty one */
    /* One segment whose size has one byte, or four; and 16 MiB of window. */
    static const struct {
        uint8_t head[6];
        size_t head_n, size_n;
    } kinds[] = {{{0x28, 0xB5, 0x2F, 0xFD, 0x20}, 5, 1},
        {{0x28, 0xB5, 0x2F, 0xFD, 0xA0}, 5, 4},
        {{0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x70}, 6, 4}};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (uint8_t said = 0; said < 7; said++) {
            struct mr_buffer frame = {0}, a, b;
            uint8_t size[4] = {said};

            add(&frame, kinds[i].head, kinds[i].head_n);
            add(&frame, size, kinds[i].size_n);
            add(&frame, blocks, sizeof blocks);
            a = memory_verdict(frame.p, frame.n, 0, 4096);
            b = memory_verdict(frame.p, frame.n, 1, 5);
            if (said == 3)
                assert_string_equal((const char *)a.p, "memory=abc");
            else
                assert_int_equal(a.p[0], '!');
            assert_string_equal((const char *)a.p, (const char *)b.p);
            mr_buffer_release(&a);
            mr_buffer_release(&b);
            mr_buffer_release(&frame);
        }
}

/* Lines that pack about as events do. */
static struct mr_buffer make_text(size_t n)
{
    struct mr_buffer text = {0};
    uint64_t x = 1;

    while (text.n < n) {
        char line[100];
        int k;

        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        k = snprintf(line, sizeof line,
            "{\"id\":\"%016" PRIx64 "\",\"type\":\"view\",\"n\":%u}\n", x,
            (unsigned)(x >> 60));
        add(&text, line, (size_t)k);
    }
    text.n = n;
    return text;
}

static void add_gzip(struct mr_buffer *out, const uint8_t *p, size_t n)
{
    z_stream z = {0};
    size_t cap = compressBound((uLong)n) + 64;

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, 0), Z_OK);
    assert_int_equal(mr_buffer_reserve(out, out->n + cap), MR_OK);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = out->p + out->n;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

static void add_zstd(struct mr_buffer *out, const uint8_t *p, size_t n)
{
    size_t cap = ZSTD_compressBound(n);
    size_t k;

    assert_int_equal(mr_buffer_reserve(out, out->n + cap), MR_OK);
    k = ZSTD_compress(out->p + out->n, cap, p, n, 3);
    assert_false(ZSTD_isError(k));
    out->n += k;
}

typedef void (*packer)(struct mr_buffer *out, const uint8_t *p, size_t n);

/* Pack a text as several members or frames of all sizes. */
static struct mr_buffer pack(
    packer add_packed, struct mr_buffer text, size_t n_first, size_t growth)
{
    struct mr_buffer packed = {0};
    size_t at = 0, n = n_first;

    while (at < text.n) {
        if (n > text.n - at)
            n = text.n - at;
        add_packed(&packed, text.p + at, n);
        at += n;
        n += growth;
    }
    return packed;
}

static struct mr_stream *only_stream(struct mr_container *container)
{
    struct mr_stream *stream;
    struct mr_error err;

    assert_int_equal(mr_container_next(container, &stream, &err), MR_OK);
    assert_non_null(stream);
    return stream;
}

static void check_stream(
    struct mr_buffer stored, struct mr_buffer text, size_t piece, size_t cap)
{
    struct mr_container *container;
    struct mr_stream *stream, *none;
    struct mr_error err;
    struct mr_digest expected = mr_digest_bytes(stored.p, stored.n), got;
    uint8_t *p = malloc(cap);
    size_t at = 0, n;

    assert_non_null(p);
    assert_int_equal(
        mr_container_open_memory(stored.p, stored.n, piece, &container, &err),
        MR_OK);
    assert_false(mr_container_is_archive(container));
    stream = only_stream(container);
    for (;;) {
        assert_int_equal(mr_stream_read(stream, p, cap, &n, &err), MR_OK);
        if (n == 0)
            break;
        assert_true(n <= text.n - at);
        assert_memory_equal(p, text.p + at, n);
        at += n;
    }
    assert_int_equal(at, text.n);
    got = mr_stream_digest(stream);
    assert_memory_equal(got.b, expected.b, MR_DIGEST_BYTES);
    assert_int_equal(mr_stream_stored_bytes(stream), stored.n);
    mr_stream_close(stream);
    assert_int_equal(mr_container_next(container, &none, &err), MR_OK);
    assert_null(none);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    free(p);
}

static void test_large(void **state)
{
    static const size_t pieces[] = {0, 1, 4093, 1 << 18};
    static const size_t caps[] = {17, 4096, 1 << 20};
    struct mr_buffer text = make_text(rounds(2000000));
    struct mr_buffer stored[5];

    (void)state;
    stored[0] = text;
    stored[1] = pack(add_gzip, text, text.n, 0);
    stored[2] = pack(add_gzip, text, 1, 37);
    stored[3] = pack(add_zstd, text, text.n, 0);
    stored[4] = pack(add_zstd, text, 1, 37);
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 4; k++)
            for (size_t m = 0; m < 3; m++)
                check_stream(stored[i], text, pieces[k], caps[m]);
    for (size_t i = 0; i < 5; i++)
        mr_buffer_release(&stored[i]);
}

/*
 * Where the room for output ends, in relation to the end of a member, decides
 * how much of the trailer the inflater has taken when it meets that end.
 */
static void test_ends_near_a_read(void **state)
{
    const size_t cap = 32768;
    struct mr_buffer text = make_text(2 * cap + 200);

    (void)state;
    for (text.n = 2 * cap - 50; text.n < 2 * cap + 164; text.n++) {
        struct mr_buffer one = pack(add_gzip, text, text.n, 0);
        struct mr_buffer two = pack(add_gzip, text, 2 * cap + 3, 0);

        check_stream(one, text, 0, cap);
        check_stream(one, text, 4093, cap);
        check_stream(two, text, 0, cap);
        mr_buffer_release(&one);
        mr_buffer_release(&two);
    }
    mr_buffer_release(&text);
}

static void test_in_place(void **state)
{
    struct mr_buffer text = make_text(1000000);
    struct mr_digest expected = mr_digest_bytes(text.p, text.n), got;
    static const size_t most[] = {1000, 300000, 10000000};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct mr_container *container;
        struct mr_stream *stream;
        struct mr_span span;
        struct mr_error err;
        size_t at = 0;

        assert_int_equal(
            mr_container_open_memory(text.p, text.n, 0, &container, &err),
            MR_OK);
        stream = only_stream(container);
        assert_true(mr_stream_in_place(stream));
        for (;;) {
            size_t rest = text.n - at;

            assert_int_equal(
                mr_stream_next_span(stream, most[i], &span, &err), MR_OK);
            if (span.n == 0)
                break;
            assert_ptr_equal(span.p, text.p + at);
            assert_int_equal(span.n, rest < most[i] ? rest : most[i]);
            at += span.n;
        }
        assert_int_equal(at, text.n);
        got = mr_stream_digest(stream);
        assert_memory_equal(got.b, expected.b, MR_DIGEST_BYTES);
        assert_int_equal(mr_stream_stored_bytes(stream), text.n);
        mr_stream_close(stream);
        assert_int_equal(mr_container_close(container, &err), MR_OK);
    }
    mr_buffer_release(&text);
}

/* Read all parts of a split stream; return the first failure. */
static enum mr_status read_parts(struct mr_stream *stream,
    struct mr_buffer *text_out, size_t *n_parts_out, struct mr_error *err)
{
    static uint8_t p[50000];
    struct mr_stream *part;
    enum mr_status status = MR_OK;
    size_t n;

    *n_parts_out = 0;
    for (;;) {
        assert_int_equal(mr_stream_next_part(stream, &part, err), MR_OK);
        if (part == NULL)
            break;
        ++*n_parts_out;
        assert_string_equal(mr_stream_name(part), mr_stream_name(stream));
        while (status == MR_OK) {
            status = mr_stream_read(part, p, sizeof p, &n, err);
            if (status != MR_OK || n == 0)
                break;
            add(text_out, p, n);
        }
        mr_stream_close(part);
        if (status != MR_OK)
            return status;
    }
    return MR_OK;
}

static void test_split(void **state)
{
    struct mr_buffer text = make_text(8000000), got = {0};
    struct mr_buffer stored = pack(add_zstd, text, 100000, 1);
    struct mr_digest expected = mr_digest_bytes(stored.p, stored.n), digest;
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_error err;
    size_t n_parts;

    (void)state;
    assert_int_equal(
        mr_container_open_memory(stored.p, stored.n, 0, &container, &err),
        MR_OK);
    stream = only_stream(container);
    assert_true(mr_stream_is_split(stream));
    assert_int_equal(read_parts(stream, &got, &n_parts, &err), MR_OK);
    assert_int_equal(got.n, text.n);
    assert_memory_equal(got.p, text.p, text.n);
    assert_true(n_parts > 1);
    assert_true(stored.n / n_parts >= 256 << 10);
    digest = mr_stream_digest(stream);
    assert_memory_equal(digest.b, expected.b, MR_DIGEST_BYTES);
    assert_int_equal(mr_stream_stored_bytes(stream), stored.n);
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    mr_buffer_release(&got);
    mr_buffer_release(&stored);
    mr_buffer_release(&text);
}

/* Read a damaged multi-frame file both ways; both must say the same. */
static void check_split_failure(
    struct mr_buffer stored, enum mr_status expected, uint64_t offset)
{
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_buffer text = {0}, whole;
    struct mr_error err;
    size_t n_parts;

    assert_int_equal(
        mr_container_open_memory(stored.p, stored.n, 0, &container, &err),
        MR_OK);
    stream = only_stream(container);
    assert_true(mr_stream_is_split(stream));
    assert_int_equal(read_parts(stream, &text, &n_parts, &err), expected);
    assert_int_equal(err.offset, offset);
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, NULL), MR_OK);
    text.n = 0;
    add_text(&text, "memory");
    add_failure(&text, &err);
    add(&text, "", 1);
    whole = memory_verdict(stored.p, stored.n, 4096, 1 << 16);
    assert_string_equal((const char *)whole.p, (const char *)text.p);
    mr_buffer_release(&whole);
    mr_buffer_release(&text);
}

static void test_split_failures(void **state)
{
    struct mr_buffer text = make_text(4000000), stored = {0};
    size_t frame = 0, n = 0;

    (void)state;
    for (size_t at = 0; at < text.n; at += 1000000) {
        frame = stored.n;
        add_zstd(&stored, text.p + at, 1000000);
    }
    /* The last frame cut short, then damaged, then followed by garbage. */
    n = stored.n;
    stored.n -= 10;
    check_split_failure(stored, MR_FORMAT, stored.n);
    stored.n = n;
    stored.p[frame + 20] ^= 0xFF;
    stored.p[frame + 21] ^= 0xFF;
    check_split_failure(stored, MR_FORMAT, frame);
    stored.p[frame + 20] ^= 0xFF;
    stored.p[frame + 21] ^= 0xFF;
    add_text(&stored, "garbage");
    check_split_failure(stored, MR_FORMAT, n);
    mr_buffer_release(&stored);
    mr_buffer_release(&text);
}

static void test_not_split(void **state)
{
    struct mr_buffer text = make_text(1000), stored = {0};
    static const uint8_t skippable[] = {
        0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_error err;

    (void)state;
    /* Frames that hold no data do not count, and a pipe cannot be split. */
    add(&stored, skippable, sizeof skippable);
    add_zstd(&stored, text.p, text.n);
    add(&stored, skippable, sizeof skippable);
    for (size_t piece = 0; piece < 2; piece++) {
        assert_int_equal(mr_container_open_memory(
                             stored.p, stored.n, piece, &container, &err),
            MR_OK);
        stream = only_stream(container);
        assert_false(mr_stream_is_split(stream));
        mr_stream_close(stream);
        assert_int_equal(mr_container_close(container, &err), MR_OK);
        add_zstd(&stored, text.p, text.n);
    }
    mr_buffer_release(&stored);
    mr_buffer_release(&text);
}

/* The digest of a member is that of the file that would be unpacked. */
static void test_member_digest(void **state)
{
    struct mr_digest expected = mr_digest_bytes(ONE, strlen(ONE)), got;
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_buffer bytes;
    struct mr_error err;
    char path[4096];
    uint8_t p[100];
    size_t n;

    (void)state;
    sample_path(path, sizeof path, "good-tar-gzip.tar.gz");
    bytes = read_file(path);
    assert_int_equal(
        mr_container_open_memory(bytes.p, bytes.n, 0, &container, &err), MR_OK);
    assert_true(mr_container_is_archive(container));
    stream = only_stream(container);
    do
        assert_int_equal(mr_stream_read(stream, p, 100, &n, &err), MR_OK);
    while (n > 0);
    got = mr_stream_digest(stream);
    assert_memory_equal(got.b, expected.b, MR_DIGEST_BYTES);
    assert_int_equal(mr_stream_stored_bytes(stream), strlen(ONE));
    mr_stream_close(stream);
    /* The next member is found although this one is not read. */
    stream = only_stream(container);
    mr_stream_close(stream);
    stream = only_stream(container);
    assert_string_equal(mr_stream_name(stream), "memory/c.jsonl.zst");
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, &err), MR_OK);
    mr_buffer_release(&bytes);
}

/* Members larger than any buffer, by a mapped file and by a pipe. */
static void test_large_members(void **state)
{
    char folder[] = "/tmp/mr-test-stream-XXXXXX";
    struct mr_buffer text = make_text(rounds(80) << 20), verdict;
    char command[4096], path[4096], name[64];
    static const char *const kinds[] = {"big.tar", "big.zip"};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/big.jsonl", folder);
    write_file(path, text.p, text.n);
    snprintf(command, sizeof command,
        "cd %s && tar -cf big.tar big.jsonl && zip -q -1 big.zip big.jsonl",
        folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < 2; i++) {
        struct mr_buffer bytes;

        snprintf(path, sizeof path, "%s/%s", folder, kinds[i]);
        bytes = read_file(path);
        snprintf(name, sizeof name, "memory/big.jsonl=");
        for (size_t piece = 0; piece <= 65536; piece += 65536) {
            verdict = memory_verdict(bytes.p, bytes.n, piece, 1 << 20);
            assert_int_equal(verdict.n, strlen(name) + text.n + 1);
            assert_memory_equal(verdict.p, name, strlen(name));
            assert_true(memcmp(verdict.p + strlen(name), text.p, text.n) == 0);
            mr_buffer_release(&verdict);
        }
        mr_buffer_release(&bytes);
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    mr_buffer_release(&text);
}

/* A pipe with a name, as a shell's <(command) gives. */
static void test_pipe(void **state)
{
    struct mr_buffer text = make_text(500000), verdict;
    struct mr_buffer stored = pack(add_gzip, text, 100000, 0);
    char path[64];
    int ends[2], status;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t at = 0;

        close(ends[0]);
        while (at < stored.n) {
            ssize_t n = write(ends[1], stored.p + at, stored.n - at);

            if (n <= 0)
                _exit(1);
            at += (size_t)n;
        }
        _exit(0);
    }
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    verdict = file_verdict(path, 10000);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(verdict.n, strlen("memory=") + text.n + 1);
    assert_memory_equal(verdict.p + strlen("memory="), text.p, text.n);
    mr_buffer_release(&verdict);
    mr_buffer_release(&stored);
    mr_buffer_release(&text);
}

static void test_cut_while_read(void **state)
{
    char path[] = "/tmp/mr-test-stream-XXXXXX", name[] = "x";
    struct mr_buffer text = make_text(4000000);
    int fd = mkstemp(path);
    struct mr_input input = {path, name, 0};
    struct mr_container *container;
    struct mr_stream *stream;
    struct mr_error err;
    static uint8_t p[10000]; /* a small stack suits valgrind's signals */
    size_t n;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, text.p, text.n);
    assert_int_equal(mr_container_open(&input, &container, &err), MR_OK);
    stream = only_stream(container);
    assert_int_equal(truncate(path, 1000000), 0);
    do
        assert_int_equal(mr_stream_read(stream, p, sizeof p, &n, &err), MR_OK);
    while (n > 0);
    mr_stream_close(stream);
    assert_int_equal(mr_container_close(container, &err), MR_IO);
    assert_string_equal(err.cause, "cut short while it was being read");
    assert_string_equal(err.path, path);
    unlink(path);
    assert_int_equal(mr_container_open(&input, &container, &err), MR_IO);
    assert_string_equal(err.path, path);
    assert_string_equal(err.action, "cannot read");
    mr_buffer_release(&text);
}

/* Valgrind does not grow the stack for a signal handler: use it beforehand. */
static void __attribute__((noinline)) touch_stack(void)
{
    volatile char deep[262144];

    for (size_t i = 0; i < sizeof deep; i += 512)
        deep[sizeof deep - 1 - i] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: cmocka takes the signals at the start of each test, and
         * the library its own at the first file only. */
        cmocka_unit_test(test_cut_while_read),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_cut_archive),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_content_sizes),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_ends_near_a_read),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_failures),
        cmocka_unit_test(test_not_split),
        cmocka_unit_test(test_member_digest),
        cmocka_unit_test(test_large_members),
        cmocka_unit_test(test_pipe),
    };

    touch_stack();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
