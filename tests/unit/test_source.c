#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/source.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/folder.h"

static const char *own_path;

/* A file of n bytes that tell their place. */
static uint8_t *write_pattern(const char *path, size_t n)
{
    uint8_t *p = malloc(n);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i % 251 + 1);
    put_bytes(path, p, n);
    return p;
}

static void make_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0777), 0);
}

static struct mr_source *open_source(const char *path)
{
    struct mr_source *source;
    struct mr_error err;

    assert_int_equal(mr_source_open(path, &source, &err), MR_OK);
    return source;
}

/* Read all that is left and compare. */
static void assert_bytes(
    struct mr_source *source, const uint8_t *expected, size_t n)
{
    struct mr_span span;
    struct mr_error err;
    size_t at = 0;

    for (;;) {
        assert_int_equal(mr_source_read(source, &span, &err), MR_OK);
        if (span.n == 0)
            break;
        assert_true(span.n <= 256 << 10 && span.n <= n - at);
        assert_memory_equal(span.p, expected + at, span.n);
        at += span.n;
    }
    assert_int_equal(at, n);
}

static void close_sound(struct mr_source *source)
{
    struct mr_error err;

    assert_int_equal(mr_source_close(source, &err), MR_OK);
}

static void close_failing(struct mr_source *source, const char *cause)
{
    struct mr_error err;

    assert_int_equal(mr_source_close(source, &err), MR_IO);
    assert_string_equal(err.cause, cause);
    assert_true(err.advice[0] != '\0');
}

/* A fault in somebody else's mapping must end the process as ever. */
static void fault_elsewhere(void)
{
    int fd = open("other", O_RDWR | O_CREAT, 0666), status;
    pid_t child = fork();

    assert_true(fd >= 0 && child >= 0);
    if (child == 0) {
        struct sigaction none = {.sa_handler = SIG_DFL};
        struct mr_source *source;
        volatile char *p;

        /* So that the former disposition is the system's own. */
        sigaction(SIGBUS, &none, NULL);
        source = open_source("file");
        if (ftruncate(fd, 8192) != 0)
            _exit(0);
        p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
        if (ftruncate(fd, 0) != 0)
            _exit(0);
        (void)p[5000];
        (void)mr_source_close(source, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    close(fd);
}

/* Runs before any other: the library takes SIGBUS at its first mapping only,
 * and cmocka takes it at the start of each test. */
static void test_cut(void **state)
{
    size_t n = 3000000;
    uint8_t *expected;
    struct mr_source *source, *whole;
    struct mr_span span;

    (void)state;
    expected = write_pattern("file", n);
    put_bytes("whole", expected, n);
    fault_elsewhere();
    whole = open_source("whole");
    /* Cut before anything has been touched, and in the middle of a page:
     * zeros from there on. */
    source = open_source("file");
    span = mr_source_whole(source);
    assert_int_equal(span.n, n);
    assert_int_equal(truncate("file", 1000001), 0);
    assert_memory_equal(span.p, expected, 1000001);
    for (size_t i = 1000001; i < n; i += 1009)
        assert_int_equal(span.p[i], 0);
    close_failing(source, "cut short while it was being read");
    /* Cut and made long again: nothing to see but the fault. */
    put_bytes("file", expected, n);
    source = open_source("file");
    span = mr_source_whole(source);
    assert_int_equal(truncate("file", 0), 0);
    assert_int_equal(span.p[n - 1], 0);
    put_bytes("file", expected, n);
    close_failing(source, "cut short while it was being read");
    /* The other mapping is as it was. */
    assert_bytes(whole, expected, n);
    close_sound(whole);
    free(expected);
}

/* A signal that somebody sends is no fault: it goes to the disposition that
 * was there before. */
static void test_sent_signal(void **state)
{
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl(own_path, own_path, "--sent", (char *)NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static int send_signal(void)
{
    struct mr_source *source;
    struct mr_error err;

    signal(SIGBUS, SIG_DFL);
    if (mr_source_open(own_path, &source, &err) != MR_OK)
        return 77;
    raise(SIGBUS);
    return 0;
}

static void test_whole(void **state)
{
    static const size_t sizes[] = {
        1, 4095, 4096, 4097, MR_SOURCE_SMALL, MR_SOURCE_SMALL + 1, 1000003};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *expected = write_pattern("file", sizes[i]);
        struct mr_source *source = open_source("file");
        struct mr_span span = mr_source_whole(source);

        assert_int_equal(span.n, sizes[i]);
        assert_memory_equal(span.p, expected, sizes[i]);
        assert_bytes(source, expected, sizes[i]);
        close_sound(source);
        free(expected);
    }
}

static void test_empty_and_unmappable(void **state)
{
    struct mr_source *source;
    struct mr_span span;
    struct mr_error err;

    (void)state;
    put_bytes("file", "", 0);
    source = open_source("file");
    assert_null(mr_source_whole(source).p);
    assert_bytes(source, NULL, 0);
    close_sound(source);
    /* Size 0, and yet it has bytes. */
    if (access("/proc/self/status", R_OK) != 0)
        skip();
    source = open_source("/proc/self/status");
    assert_null(mr_source_whole(source).p);
    assert_int_equal(mr_source_read(source, &span, &err), MR_OK);
    assert_true(span.n > 5);
    assert_memory_equal(span.p, "Name:", 5);
    close_sound(source);
}

static void test_changed(void **state)
{
    struct mr_source *source;
    struct timespec times[2] = {{0, UTIME_OMIT}, {1000, 0}};

    (void)state;
    free(write_pattern("file", 5000));
    source = open_source("file");
    assert_int_equal(utimensat(AT_FDCWD, "file", times, 0), 0);
    close_failing(source, "changed while it was being read");
    source = open_source("file");
    put_bytes("more", "", 0);
    free(write_pattern("file", 6000));
    close_failing(source, "changed while it was being read");
    /* A small file's bytes are those of its opening. */
    source = open_source("file");
    assert_int_equal(truncate("file", 5999), 0);
    assert_int_equal(mr_source_whole(source).n, 6000);
    assert_int_equal(mr_source_whole(source).p[5999], 5999 % 251 + 1);
    close_failing(source, "cut short while it was being read");
    /* Grown from nothing. */
    source = open_source("more");
    free(write_pattern("more", 10));
    close_failing(source, "changed while it was being read");
    /* A file that is moved or removed is still the same file. */
    source = open_source("file");
    assert_int_equal(rename("file", "elsewhere"), 0);
    close_sound(source);
}

static void test_pipe(void **state)
{
    size_t n = 700000;
    uint8_t *expected = write_pattern("file", n);
    struct mr_source *source;
    pid_t child;

    (void)state;
    assert_int_equal(mkfifo("fifo", 0666), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        FILE *file = fopen("fifo", "wb");

        if (file == NULL || fwrite(expected, 1, n, file) != n)
            _exit(1);
        fclose(file);
        _exit(0);
    }
    source = open_source("fifo");
    assert_null(mr_source_whole(source).p);
    assert_bytes(source, expected, n);
    close_sound(source);
    waitpid(child, NULL, 0);
    free(expected);
}

static void test_stdin(void **state)
{
    uint8_t *expected = write_pattern("file", 100000);
    int fd = open("file", O_RDONLY), saved = dup(STDIN_FILENO);
    struct mr_source *source;

    (void)state;
    assert_true(fd >= 0 && saved >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    source = open_source("-");
    assert_bytes(source, expected, 100000);
    close_sound(source);
    /* Some of it has been read by somebody else. */
    assert_int_equal(lseek(STDIN_FILENO, 1000, SEEK_SET), 1000);
    source = open_source("-");
    assert_null(mr_source_whole(source).p);
    assert_bytes(source, expected + 1000, 99000);
    close_sound(source);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
    close(fd);
    free(expected);
}

static void test_open_failures(void **state)
{
    struct mr_source *source = (struct mr_source *)folder;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_source_open("nothing", &source, &err), MR_IO);
    assert_string_equal(err.cause, "No such file or directory");
    make_folder("d");
    assert_int_equal(mr_source_open("d", &source, &err), MR_IO);
    assert_string_equal(err.cause, "Is a directory");
    assert_ptr_equal(source, folder);
    assert_int_equal(mr_source_close(NULL, &err), MR_OK);
}

/* More files at once than the table of mappings has room for. */
static void test_many(void **state)
{
    enum { N = 1500 };
    static struct mr_source *sources[N];
    size_t n = MR_SOURCE_SMALL + 1;
    uint8_t *expected = write_pattern("file", n);
    size_t n_mapped = 0;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct mr_error err;

        if (mr_source_open("file", &sources[i], &err) != MR_OK) {
            assert_int_equal(err.status, MR_IO); /* descriptors ran out */
            assert_true(err.advice[0] != '\0');
            sources[i] = NULL;
            continue;
        }
        n_mapped += mr_source_whole(sources[i]).n > 0;
        assert_bytes(sources[i], expected, n);
    }
    assert_true(n_mapped > 100 && n_mapped <= 1024);
    for (size_t i = 0; i < N; i++)
        close_sound(sources[i]);
    free(expected);
}

static void test_memory(void **state)
{
    static const uint8_t bytes[] = "ten bytes.";
    struct mr_source *source;
    struct mr_span span;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_source_open_memory(bytes, 10, 0, &source, &err), MR_OK);
    assert_ptr_equal(mr_source_whole(source).p, bytes);
    assert_bytes(source, bytes, 10);
    close_sound(source);
    assert_int_equal(mr_source_open_memory(bytes, 10, 3, &source, &err), MR_OK);
    assert_null(mr_source_whole(source).p);
    assert_int_equal(mr_source_read(source, &span, &err), MR_OK);
    assert_int_equal(span.n, 3);
    assert_bytes(source, bytes + 3, 7);
    close_sound(source);
}

/* The listing as text: a line "NAME < PATH SIZE" for each input, "NAME!
 * CAUSE" for each unlisted. */
static struct mr_buffer list(const char *const *args, size_t n)
{
    struct mr_buffer out = {0};
    struct mr_listing listing;
    struct mr_error err;
    char line[2000];

    if (mr_listing_build(
            (char *const *)(uintptr_t)args, n, 2, &listing, &err) != MR_OK)
        fail_msg("%s: %s", err.path, err.cause);
    for (size_t i = 0; i < listing.n; i++) {
        snprintf(line, sizeof line, "%s < %s %d\n", listing.inputs[i].name,
            listing.inputs[i].path, (int)listing.inputs[i].size);
        assert_int_equal(mr_buffer_add(&out, line, strlen(line)), MR_OK);
    }
    for (size_t i = 0; i < listing.n_unlisted; i++) {
        snprintf(line, sizeof line, "%s! %s\n", listing.unlisted[i].name,
            listing.unlisted[i].cause);
        assert_int_equal(mr_buffer_add(&out, line, strlen(line)), MR_OK);
    }
    assert_int_equal(mr_buffer_add(&out, "", 1), MR_OK);
    mr_listing_release(&listing);
    return out;
}

#define ASSERT_LIST(expected, ...)                                             \
    do {                                                                       \
        const char *const args[] = {__VA_ARGS__};                              \
        assert_list(expected, args, sizeof args / sizeof *args);               \
    } while (0)

static void assert_list(const char *expected, const char *const *args, size_t n)
{
    struct mr_buffer got = list(args, n);

    assert_string_equal((const char *)got.p, expected);
    mr_buffer_release(&got);
}

#define ASSERT_USAGE(...)                                                      \
    do {                                                                       \
        const char *const args[] = {__VA_ARGS__};                              \
        assert_usage(args, sizeof args / sizeof *args);                        \
    } while (0)

static void assert_usage(const char *const *args, size_t n)
{
    struct mr_listing listing;
    struct mr_error err;

    assert_int_equal(
        mr_listing_build((char *const *)(uintptr_t)args, n, 2, &listing, &err),
        MR_USAGE);
    assert_int_equal(err.status, MR_USAGE);
    assert_true(err.cause[0] != '\0' && err.advice[0] != '\0');
    mr_listing_release(&listing);
}

static void put(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

static void make_lake(void)
{
    make_folder("lake");
    make_folder("lake/sub");
    make_folder("lake/event=b");
    make_folder("lake/event=b/hour=01");
    make_folder("lake/_tmp");
    make_folder("lake/.git");
    put("lake/z.gz", "1");
    put("lake/a=b", "22");
    put("lake/sub/y.gz", "333");
    put("lake/sub/_SUCCESS", "no");
    put("lake/sub/.crc", "no");
    put("lake/_tmp/x.gz", "no");
    put("lake/.git/x.gz", "no");
    put("lake/event=b/hour=01/x.gz", "4444");
}

/* More files than one thread looks at: each has its own size, and they are in
 * order, whatever order the folder has them in. */
static void test_walk_of_many(void **state)
{
    enum { N = 1300 };
    struct mr_buffer expected = {0};
    char line[64], text[16];

    (void)state;
    make_folder("many");
    for (int i = 0; i < N; i++) {
        int k = i * 7 % N; /* any order; 7 has no factor in common with N */

        snprintf(line, sizeof line, "many/%04d", k);
        memset(text, 'x', sizeof text);
        put_bytes(line, text, (size_t)(k % 16));
    }
    for (int i = 0; i < N; i++) {
        snprintf(line, sizeof line, "%04d < many/%04d %d\n", i, i, i % 16);
        assert_int_equal(mr_buffer_add(&expected, line, strlen(line)), MR_OK);
    }
    assert_int_equal(mr_buffer_add(&expected, "", 1), MR_OK);
    ASSERT_LIST((const char *)expected.p, "many");
    mr_buffer_release(&expected);
}

static void test_walk(void **state)
{
    (void)state;
    make_lake();
    ASSERT_LIST("a=b < lake/a=b 2\n"
                "event=b/hour=01/x.gz < lake/event=b/hour=01/x.gz 4\n"
                "sub/y.gz < lake/sub/y.gz 3\n"
                "z.gz < lake/z.gz 1\n",
        "lake");
    /* The same by other words, and twice. */
    ASSERT_LIST("a=b < lake/a=b 2\n"
                "event=b/hour=01/x.gz < lake/event=b/hour=01/x.gz 4\n"
                "sub/y.gz < lake/sub/y.gz 3\n"
                "z.gz < lake/z.gz 1\n",
        "./lake//", "lake/.", ".//lake");
    ASSERT_LIST("event=b/hour=01/x.gz < lake/event=b/hour=01/x.gz 4\n"
                "lake/a=b < lake/a=b 2\n"
                "lake/sub/y.gz < lake/sub/y.gz 3\n"
                "lake/z.gz < lake/z.gz 1\n",
        ".");
    /* From inside the key=value folder too, where the path tells. */
    ASSERT_LIST("event=b/hour=01/x.gz < lake/event=b/hour=01/x.gz 4\n",
        "lake/event=b/hour=01");
}

static void test_direct(void **state)
{
    (void)state;
    make_lake();
    ASSERT_LIST("lake/sub/y.gz < lake/sub/y.gz 3\n", "./lake//./sub/y.gz",
        "lake/sub/y.gz");
    /* A hidden name that is named is meant. */
    ASSERT_LIST(
        "lake/sub/_SUCCESS < lake/sub/_SUCCESS 2\n", "lake/sub/_SUCCESS");
    /* One path, two names. */
    ASSERT_LIST("lake/sub/y.gz < lake/sub/y.gz 3\n"
                "y.gz < lake/sub/y.gz 3\n",
        "lake/sub/y.gz", "lake/sub", "./lake/sub/", "lake/sub/y.gz");
}

static void test_one_path(void **state)
{
    char lake[] = "lake", sub[] = "lake/sub", file[] = "lake/sub/y.gz";
    char *args[] = {lake, sub, file};
    struct mr_listing listing;

    (void)state;
    make_lake();
    assert_int_equal(mr_listing_build(args, 3, 1, &listing, NULL), MR_OK);
    assert_int_equal(listing.n, 6);
    mr_listing_unite_paths(&listing);
    assert_int_equal(listing.n, 4);
    for (size_t i = 1; i < listing.n; i++)
        assert_true(
            strcmp(listing.inputs[i - 1].name, listing.inputs[i].name) < 0);
    assert_string_equal(listing.inputs[2].name, "lake/sub/y.gz");
    mr_listing_release(&listing);
}

static void test_odd_names(void **state)
{
    (void)state;
    put("-", "dash");
    put("@at", "at");
    put("a*b", "star");
    put("axb", "x");
    put("d\xFF", "latin");
    ASSERT_LIST("- < - 0\n", "-");
    ASSERT_LIST("- < ./- 4\n", "./-");
    ASSERT_LIST("@at < @at 2\n", "./@at");
    ASSERT_LIST("a*b < a*b 4\n", "a*b");
    ASSERT_LIST("a*b < a*b 4\naxb < axb 1\n", "a*b", "a?b");
    ASSERT_LIST("- < ./- 4\n@at < @at 2\na*b < a*b 4\naxb < axb 1\n"
                "d\xFF < d\xFF 5\n",
        ".");
}

static void test_glob(void **state)
{
    (void)state;
    make_lake();
    ASSERT_LIST("lake/a=b < lake/a=b 2\n"
                "lake/z.gz < lake/z.gz 1\n",
        "lake/[az]*");
    ASSERT_LIST("event=b/hour=01/x.gz < lake/event=b/hour=01/x.gz 4\n"
                "y.gz < lake/sub/y.gz 3\n",
        "lake/sub*", "lake/event=*/hour=0?/*.gz");
    ASSERT_USAGE("lake/*.zst");
}

static void test_lists(void **state)
{
    char long_list[200];

    (void)state;
    make_lake();
    put("list", "lake/z.gz\r\n\nlake/sub\nnothing.gz\n@more");
    put("more", "lake/a=b\n");
    ASSERT_LIST("lake/a=b < lake/a=b 2\n"
                "lake/z.gz < lake/z.gz 1\n"
                "y.gz < lake/sub/y.gz 3\n"
                "nothing.gz! No such file or directory\n",
        "@list");
    put("loop", "@loop\n");
    ASSERT_USAGE("@loop");
    ASSERT_USAGE("@nothing");
    put_bytes("nul", "a\0b\n", 4);
    ASSERT_USAGE("@nul");
    put("two", "-\n-\n");
    ASSERT_USAGE("@two");
    memset(long_list, '\n', sizeof long_list);
    put_bytes("blank", long_list, sizeof long_list);
    ASSERT_USAGE("@blank");
}

static void test_usage(void **state)
{
    (void)state;
    make_folder("empty");
    put("file", "");
    ASSERT_USAGE("nothing");
    ASSERT_USAGE("file/");
    ASSERT_USAGE("empty");
    ASSERT_USAGE("-", "-");
    ASSERT_USAGE("-", "@-");
    ASSERT_USAGE("*.gz");
    ASSERT_USAGE("");
    /* One that exists does not make up for one that does not. */
    ASSERT_USAGE("file", "nothing");
}

static void test_links(void **state)
{
    (void)state;
    make_lake();
    assert_int_equal(symlink("../z.gz", "lake/sub/file.gz"), 0);
    assert_int_equal(symlink("..", "lake/sub/up"), 0);
    assert_int_equal(symlink("gone", "lake/sub/nowhere"), 0);
    assert_int_equal(mkfifo("lake/sub/fifo", 0666), 0);
    ASSERT_LIST("file.gz < lake/sub/file.gz 1\n"
                "y.gz < lake/sub/y.gz 3\n"
                "nowhere! No such file or directory\n",
        "lake/sub");
    /* Named, anything is taken, and a link to a folder followed. */
    ASSERT_LIST("a=b < lake/sub/up/a=b 2\n"
                "event=b/hour=01/x.gz < lake/sub/up/event=b/hour=01/x.gz 4\n"
                "lake/sub/fifo < lake/sub/fifo 0\n"
                "sub/file.gz < lake/sub/up/sub/file.gz 1\n"
                "sub/y.gz < lake/sub/up/sub/y.gz 3\n"
                "z.gz < lake/sub/up/z.gz 1\n"
                "sub/nowhere! No such file or directory\n",
        "lake/sub/fifo", "lake/sub/up");
}

static void test_no_permission(void **state)
{
    bool root = geteuid() == 0;

    (void)state;
    make_lake();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod("lake/event=b/hour=01", 0), 0);
    /* Root is refused nothing. */
    if (root && seteuid(65534) != 0)
        skip();
    ASSERT_LIST("a=b < lake/a=b 2\n"
                "sub/y.gz < lake/sub/y.gz 3\n"
                "z.gz < lake/z.gz 1\n"
                "event=b/hour=01! Permission denied\n",
        "lake");
    ASSERT_LIST("event=b/hour=01! Permission denied\n", "lake/event=b");
    ASSERT_LIST("event=b/hour=01! Permission denied\n"
                "event=b/hour=01/x.gz! Permission denied\n",
        "lake/event=b/hour=01/x.gz", "lake/event=b/*/*.gz");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

static void test_path_name(void **state)
{
    static const struct {
        const char *path;
        size_t below;
        const char *name;
    } cases[] = {
        {"lake/x.gz", 5, "x.gz"},
        {"lake/x.gz", 0, "lake/x.gz"},
        {"/data/lake/event=a/hour=1/x.gz", 11, "event=a/hour=1/x.gz"},
        {"/data/k=v/lake/x.gz", 15, "k=v/lake/x.gz"},
        {"lake/=x/y.gz", 5, "=x/y.gz"},
        {"lake/x=/y.gz", 5, "x=/y.gz"},
        {"lake/sub/a=b", 5, "sub/a=b"},
        {"a=b", 0, "a=b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_buffer out = {0};

        assert_int_equal(
            mr_path_name(cases[i].path, cases[i].below, &out), MR_OK);
        assert_int_equal(out.n, strlen(cases[i].name));
        assert_memory_equal(out.p, cases[i].name, out.n);
        mr_buffer_release(&out);
    }
}

/* Sizes with a few large and many small files. */
static struct mr_listing make_listing(size_t n)
{
    struct mr_listing listing = {.inputs = calloc(n, sizeof(struct mr_input)),
        .n = n,
        .unlisted = calloc(1, sizeof(struct mr_unlisted)),
        .n_unlisted = 1};

    assert_non_null(listing.inputs);
    assert_non_null(listing.unlisted);
    listing.unlisted->name = strdup("gone");
    for (size_t i = 0; i < n; i++) {
        char name[32];

        snprintf(name, sizeof name, "%06d", (int)i);
        listing.inputs[i].name = listing.inputs[i].path = strdup(name);
        listing.inputs[i].size = i % 100 == 0 ? 100000 + i : i % 7 * 1000;
    }
    return listing;
}

static void test_shard(void **state)
{
    static const unsigned shards[] = {1, 2, 3, 7, 64};
    enum { N = 1000 };

    (void)state;
    for (size_t s = 0; s < sizeof shards / sizeof *shards; s++) {
        bool seen[N] = {false};
        uint64_t least = UINT64_MAX, most = 0;

        for (unsigned k = 1; k <= shards[s]; k++) {
            struct mr_listing listing = make_listing(N);
            struct mr_error err;
            uint64_t bytes = 0;

            assert_int_equal(
                mr_listing_shard(&listing, k, k, shards[s], &err), MR_OK);
            for (size_t i = 0; i < listing.n; i++) {
                int number = atoi(listing.inputs[i].name);

                assert_true(i == 0 || strcmp(listing.inputs[i - 1].name,
                                          listing.inputs[i].name) < 0);
                assert_false(seen[number]);
                seen[number] = true;
                bytes += listing.inputs[i].size;
            }
            assert_int_equal(listing.n_unlisted, k == 1);
            least = bytes < least ? bytes : least;
            most = bytes > most ? bytes : most;
            mr_listing_release(&listing);
        }
        for (size_t i = 0; i < N; i++)
            assert_true(seen[i]);
        /* As equal as the smallest files can make it, where there are more
         * parts than large files: within one large file. */
        assert_true(most - least <= (shards[s] <= 7 ? 6001u : 101000u));
    }
}

static uint64_t shard_bytes(
    unsigned first, unsigned last, unsigned n, uint8_t *seen, size_t n_seen)
{
    struct mr_listing listing = make_listing(n_seen);
    struct mr_error err;
    uint64_t bytes = 0;

    assert_int_equal(mr_listing_shard(&listing, first, last, n, &err), MR_OK);
    assert_int_equal(listing.n_unlisted, first == 1);
    for (size_t i = 0; i < listing.n; i++) {
        seen[atoi(listing.inputs[i].name)]++;
        bytes += listing.inputs[i].size;
    }
    mr_listing_release(&listing);
    return bytes;
}

/* Several parts for one machine are these parts together. */
static void test_shards_together(void **state)
{
    enum { N = 1000 };
    uint8_t one[N] = {0}, some[N] = {0};
    uint64_t bytes = 0;

    (void)state;
    for (unsigned k = 2; k <= 4; k++)
        bytes += shard_bytes(k, k, 5, one, N);
    assert_int_equal(shard_bytes(2, 4, 5, some, N), bytes);
    assert_memory_equal(one, some, N);
    /* And with the rest they are the whole. */
    (void)shard_bytes(1, 1, 5, some, N);
    (void)shard_bytes(5, 5, 5, some, N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(some[i], 1);
    (void)shard_bytes(1, 5, 5, some, N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(some[i], 2);
}

/* The bytes and files of each part, as the rule has it, of sizes that nothing
 * can make equal: within the largest, a byte for each file aside. */
static void test_deal_bound(void **state)
{
    static const unsigned parts[] = {1, 2, 3, 10, 100};
    enum { N = 77 };
    struct mr_listing listing = {
        .inputs = calloc(N, sizeof(struct mr_input)), .n = N};
    unsigned part[N];
    struct mr_error err;

    (void)state;
    assert_non_null(listing.inputs);
    for (size_t i = 0; i < N; i++) {
        char name[32];

        snprintf(name, sizeof name, "%04d", (int)i);
        listing.inputs[i].name = listing.inputs[i].path = strdup(name);
        /* From nothing to a fifth of all. */
        listing.inputs[i].size = i % 5 == 0 ? 0 : i * i * i;
    }
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        uint64_t weight[100] = {0}, least = UINT64_MAX, most = 0;

        assert_int_equal(
            mr_listing_deal(&listing, parts[p], part, &err), MR_OK);
        for (size_t i = 0; i < N; i++) {
            assert_in_range(part[i], 1, parts[p]);
            weight[part[i] - 1] += listing.inputs[i].size + 1;
        }
        for (unsigned k = 0; k < parts[p]; k++) {
            least = weight[k] < least ? weight[k] : least;
            most = weight[k] > most ? weight[k] : most;
        }
        assert_true(most - least <= 76 * 76 * 76 + 1);
    }
    mr_listing_release(&listing);
}

/* Where the files lie, and in which order they were named, matters to none. */
static void test_shard_spelling(void **state)
{
    static char lake[] = "lake", later[] = "./b//lake/date=2024-03-02/",
                third[] = "b/./lake/date=2024-03-01/x3",
                first[] = "b/lake/date=2024-03-01/x[12]";
    static char *const here[] = {lake};
    static char *const there[] = {later, third, first};
    struct mr_listing a, b;
    struct mr_error err;

    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        make_folder("lake");
        make_folder("lake/date=2024-03-01");
        make_folder("lake/date=2024-03-02");
        put("lake/date=2024-03-01/x1", "1");
        put("lake/date=2024-03-01/x2", "22");
        put("lake/date=2024-03-01/x3", "22");
        put("lake/date=2024-03-02/x1", "1");
        put("lake/date=2024-03-02/x2", "22");
        if (copy == 0) {
            make_folder("b");
            assert_int_equal(rename("lake", "b/lake"), 0);
        }
    }
    for (unsigned k = 1; k <= 3; k++) {
        assert_int_equal(mr_listing_build(here, 1, 1, &a, &err), MR_OK);
        assert_int_equal(mr_listing_build(there, 3, 1, &b, &err), MR_OK);
        assert_int_equal(mr_listing_shard(&a, k, k, 3, &err), MR_OK);
        assert_int_equal(mr_listing_shard(&b, k, k, 3, &err), MR_OK);
        assert_int_equal(a.n, b.n);
        assert_true(a.n > 0);
        for (size_t i = 0; i < a.n; i++)
            assert_string_equal(a.inputs[i].name, b.inputs[i].name);
        mr_listing_release(&a);
        mr_listing_release(&b);
    }
}

static void test_shard_usage(void **state)
{
    struct mr_listing listing = make_listing(3);
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_listing_shard(&listing, 0, 1, 2, &err), MR_USAGE);
    assert_int_equal(mr_listing_shard(&listing, 3, 3, 2, &err), MR_USAGE);
    assert_int_equal(mr_listing_shard(&listing, 2, 1, 2, &err), MR_USAGE);
    assert_int_equal(mr_listing_shard(&listing, 2, 3, 2, &err), MR_USAGE);
    assert_int_equal(mr_listing_shard(&listing, 0, 0, 0, &err), MR_USAGE);
    assert_int_equal(listing.n, 3);
    mr_listing_release(&listing);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

/* Valgrind does not grow the stack for a signal handler: use it beforehand. */
static void __attribute__((noinline)) touch_stack(void)
{
    volatile char deep[262144];

    for (size_t i = 0; i < sizeof deep; i += 512)
        deep[sizeof deep - 1 - i] = 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_cut),
        cmocka_unit_test(test_sent_signal),
        IN_FOLDER(test_whole),
        IN_FOLDER(test_empty_and_unmappable),
        IN_FOLDER(test_changed),
        IN_FOLDER(test_pipe),
        IN_FOLDER(test_stdin),
        IN_FOLDER(test_open_failures),
        IN_FOLDER(test_many),
        cmocka_unit_test(test_memory),
        IN_FOLDER(test_walk),
        IN_FOLDER(test_walk_of_many),
        IN_FOLDER(test_direct),
        IN_FOLDER(test_one_path),
        IN_FOLDER(test_odd_names),
        IN_FOLDER(test_glob),
        IN_FOLDER(test_lists),
        IN_FOLDER(test_usage),
        IN_FOLDER(test_links),
        IN_FOLDER(test_no_permission),
        cmocka_unit_test(test_path_name),
        cmocka_unit_test(test_shard),
        cmocka_unit_test(test_shard_usage),
        cmocka_unit_test(test_shards_together),
        cmocka_unit_test(test_deal_bound),
        IN_FOLDER(test_shard_spelling),
    };

    own_path = argv[0];
    if (argc == 2 && strcmp(argv[1], "--sent") == 0)
        return send_signal();
    touch_stack();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
