#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/claimrun.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/claimed.h"
#include "tests/unit/folder.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

static void put(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

/* ---- the text ---- */

#define DIGITS "0123456789abcdef"
#define RUN DIGITS DIGITS
#define SPEC "00112233445566778899aabbccddeeff"
#define OTHER_SPEC "00112233445566778899aabbccddeefe"
#define LISTING "ffeeddccbbaa99887766554433221100"

/* The page that describes the file shows this one. */
static const char whole[] = "mr claim 1\n"
                            "run " RUN "\n"
                            "host laptop-1\n"
                            "user Anna%20B%C3%BCr\n"
                            "pid 4711\n"
                            "time 2026-11-20T07:45:12Z\n"
                            "spec " SPEC "\n"
                            "listing " LISTING "\n"
                            "first day=2026-11-19/a%25b.json.gz\n"
                            "last day=2026-11-19/z%0A\n"
                            "partitions 412\n"
                            "bytes 18446744073709551615\n"
                            "end\n";

static struct mr_digest digest(const char *text)
{
    struct mr_digest d;

    assert_true(mr_digest_parse(text, strlen(text), &d));
    return d;
}

static enum mr_status parse_bytes(
    const void *p, size_t n, struct mr_claim *claim, struct mr_error *err)
{
    /* Memory of exactly that size, so that reading beyond is found. */
    uint8_t *copy = malloc(n > 0 ? n : 1);
    enum mr_status status;

    assert_non_null(copy);
    memcpy(copy, p, n);
    status = mr_claim_parse((struct mr_span){copy, n}, claim, err);
    free(copy);
    return status;
}

static void a_claim_is_read(void **state)
{
    struct mr_claim c;
    struct mr_error err;
    struct mr_digest spec = digest(SPEC), listing = digest(LISTING);
    struct mr_buffer out = {0};

    (void)state;
    assert_int_equal(parse_bytes(whole, strlen(whole), &c, &err), MR_OK);
    assert_string_equal(c.by.run, RUN);
    assert_string_equal(c.by.host, "laptop-1");
    assert_string_equal(c.by.user, "Anna B\xc3\xbcr");
    assert_int_equal(c.by.pid, 4711);
    /* date -u -d 2026-11-20T07:45:12Z +%s */
    assert_int_equal(c.time_s, 1795160712);
    assert_memory_equal(&c.spec, &spec, sizeof spec);
    assert_memory_equal(&c.listing, &listing, sizeof listing);
    assert_string_equal(c.first, "day=2026-11-19/a%b.json.gz");
    assert_string_equal(c.last, "day=2026-11-19/z\n");
    assert_int_equal(c.partitions, 412);
    assert_true(c.bytes == UINT64_MAX);
    assert_int_equal(mr_claim_format(&c, &out), MR_OK);
    assert_int_equal(out.n, strlen(whole));
    assert_memory_equal(out.p, whole, out.n);
    mr_buffer_release(&out);
    mr_claim_release(&c);
}

static void every_cut_is_refused(void **state)
{
    struct mr_claim c;
    struct mr_error err;

    (void)state;
    for (size_t n = 0; n < strlen(whole); n++) {
        assert_int_equal(parse_bytes(whole, n, &c, &err), MR_FORMAT);
        assert_true(err.offset <= n);
    }
}

/* The bytes that make up names and texts may be others; all else is fixed in
 * form. */
static void changed_bytes_are_refused_or_a_claim(void **state)
{
    char text[sizeof whole];
    unsigned refused = 0, taken = 0;

    (void)state;
    for (size_t i = 0; i + 1 < sizeof whole; i++)
        for (unsigned v = 0; v < 256; v++) {
            struct mr_claim c;
            struct mr_buffer out = {0};

            memcpy(text, whole, sizeof whole);
            text[i] = (char)v;
            if (parse_bytes(text, strlen(whole), &c, NULL) != MR_OK) {
                refused++;
                continue;
            }
            /* One claim, one text. */
            taken++;
            assert_int_equal(mr_claim_format(&c, &out), MR_OK);
            assert_int_equal(out.n, strlen(whole));
            assert_memory_equal(out.p, text, out.n);
            mr_buffer_release(&out);
            mr_claim_release(&c);
        }
    assert_true(taken > 256 && refused > 10 * taken);
}

/* whole with the first occurrence of from replaced. */
static enum mr_status replaced(
    const char *from, const char *to, struct mr_error *err)
{
    const char *at = strstr(whole, from);
    size_t n = (size_t)(at - whole), n_to = strlen(to);
    char *text = malloc(sizeof whole + n_to);
    struct mr_claim c;
    enum mr_status status;

    assert_non_null(at);
    assert_non_null(text);
    memcpy(text, whole, n);
    memcpy(text + n, to, n_to);
    strcpy(text + n + n_to, at + strlen(from));
    status = parse_bytes(text, strlen(text), &c, err);
    free(text);
    if (status == MR_OK)
        mr_claim_release(&c);
    return status;
}

static void what_is_no_claim_is_refused(void **state)
{
    static const char *const bad[][2] = {{"claim 1", "claim 2"},
        {RUN, DIGITS "0123456789ABCDEF"}, {RUN, DIGITS}, {RUN, RUN "0"},
        {"laptop-1", ""}, {"laptop-1", "a b"}, {"laptop-1", "a%00"},
        {"laptop-1", "a%41"}, {"laptop-1", "a%e9"}, {"laptop-1", "a%C"},
        {"laptop-1", "a%"}, {"laptop-1", "\x1b[2J"}, {"laptop-1", "\xc3\xbc"},
        {"4711", "0"}, {"4711", "04711"}, {"4711", "+1"}, {"4711", ""},
        {"4711", "18446744073709551616"}, {"2026-11-20", "2026-02-30"},
        {"2026-11-20", "1969-12-31"}, {"T07", "T24"}, {"T07", " 07"},
        {":45", ":60"}, {":12", ":60"}, {":12Z", ":12"}, {SPEC, "lake"},
        {LISTING, ""}, {"a%25b.json.gz", "z%0B"}, {"last", "Last"},
        {"first day", "first  day"}, {"412", "0"}, {"412", "4e2"},
        {"bytes", "octets"}, {"end\n", "end\n\n"}, {"end\n", "end "},
        {"end\n", "end"}, {"pid", "extra 1\npid"}, {"\n", "\r\n"},
        {"mr claim 1\n", ""}};
    struct mr_error err;

    (void)state;
    assert_int_equal(replaced("4711", "18446744073709551615", &err), MR_OK);
    assert_int_equal(replaced("2026-11-20", "1970-01-01", &err), MR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct mr_error){0};
        if (replaced(bad[i][0], bad[i][1], &err) != MR_FORMAT)
            fail_msg("'%s' for '%s' was taken", bad[i][1], bad[i][0]);
        assert_true(err.cause[0] != '\0' && err.offset != MR_NOWHERE);
    }
}

static void texts_are_bounded(void **state)
{
    static char name[3 * MR_CLAIM_MAX_NAME + 8], cut[MR_CLAIM_MAX_NAME + 1];
    struct mr_claim c, again;
    struct mr_buffer out = {0};
    struct mr_error err;

    (void)state;
    /* Names as long as can be, each byte of which is escaped. */
    assert_int_equal(parse_bytes(whole, strlen(whole), &c, &err), MR_OK);
    free(c.first);
    free(c.last);
    memset(name, '\x01', MR_CLAIM_MAX_NAME + 5);
    memset(c.by.host, '\x02', sizeof c.by.host - 1);
    memset(c.by.user, '\x02', sizeof c.by.user - 1);
    c.first = c.last = name;
    assert_int_equal(mr_claim_format(&c, &out), MR_OK);
    assert_true(out.n <= MR_CLAIM_MAX_BYTES);
    assert_int_equal(parse_bytes(out.p, out.n, &again, &err), MR_OK);
    memset(cut, '\x01', MR_CLAIM_MAX_NAME);
    assert_string_equal(again.first, cut);
    assert_string_equal(again.last, cut);
    assert_string_equal(again.by.host, c.by.host);
    mr_claim_release(&again);
    mr_buffer_release(&out);
    /* One byte more than a text may have. */
    memset(name, 'x', MR_CLAIM_MAX_NAME + 1);
    name[MR_CLAIM_MAX_NAME + 1] = '\0';
    assert_int_equal(replaced("day=2026-11-19/z%0A", name, &err), MR_FORMAT);
    name[MR_CLAIM_MAX_NAME] = '\0';
    assert_int_equal(replaced("day=2026-11-19/z%0A", name, &err), MR_OK);
    name[MR_CLAIMANT_TEXT] = '\0';
    assert_int_equal(replaced("laptop-1", name, &err), MR_FORMAT);
    name[MR_CLAIMANT_TEXT - 1] = '\0';
    assert_int_equal(replaced("laptop-1", name, &err), MR_OK);
}

/* ---- folders of claims ---- */

static char notes[4096];

static void keep_note(void *context, const char *sentence)
{
    assert_ptr_equal(context, notes);
    assert_true(strlen(notes) + strlen(sentence) + 2 < sizeof notes);
    strcat(notes, sentence);
    strcat(notes, "\n");
}

static struct mr_claims *new_claims(void)
{
    struct mr_claims *claims;

    notes[0] = '\0';
    assert_int_equal(mr_claims_new(keep_note, notes, &claims), MR_OK);
    return claims;
}

/* A claim of a stretch of names by the run that is all of one digit. */
static void put_claim(const char *path, char run, const char *spec,
    const char *first, const char *last)
{
    struct mr_claim c = {.by = {.host = "there", .user = "me", .pid = 9},
        .spec = digest(spec),
        .listing = digest(LISTING),
        .partitions = 1};
    char names[2][64];
    struct mr_buffer out = {0};

    memset(c.by.run, run, MR_RUN_TEXT - 1);
    c.first = strcpy(names[0], first);
    c.last = strcpy(names[1], last);
    assert_int_equal(mr_claim_format(&c, &out), MR_OK);
    put_bytes(path, out.p, out.n);
    mr_buffer_release(&out);
}

/* The runs that claim a name, by their digits. */
static const char *claimants(
    const struct mr_claims *claims, const char *spec, const char *name)
{
    static char text[64];
    struct mr_digest d = digest(spec);
    const struct mr_claim *c;
    size_t at = 0, n = 0;

    while ((c = mr_claims_by(claims, &d, name, &at)) != NULL)
        text[n++] = c->by.run[0];
    assert_null(mr_claims_by(claims, &d, name, &at));
    text[n] = '\0';
    return text;
}

static void a_folder_is_read(void **state)
{
    struct mr_claims *claims = new_claims();
    struct mr_error err;

    (void)state;
    assert_int_equal(mkdir("share", 0777), 0);
    assert_int_equal(mr_claims_read(claims, "share", &err), MR_OK);
    assert_int_equal(mr_claims_count(claims), 0);
    assert_string_equal(claimants(claims, SPEC, "a"), "");
    assert_int_equal(mkdir("share/.mr-claims", 0777), 0);
    put_claim("share/.mr-claims/1.claim", '1', SPEC, "b", "d");
    put_claim("share/.mr-claims/2.claim", '2', SPEC, "d", "f");
    put_claim("share/.mr-claims/3.claim", '3', SPEC, "a", "z");
    put_claim("share/.mr-claims/4.claim", '4', OTHER_SPEC, "a", "z");
    put_claim("share/.mr-claims/5.claim", '5', SPEC, "c", "c");
    put("share/.mr-claims/.mr-tmp-1.claim", "half a cl");
    put("share/.mr-claims/README", "hello");
    put("share/.mr-claims/.claim", "hello");
    assert_int_equal(mr_claims_read(claims, "share/", &err), MR_OK);
    assert_int_equal(mr_claims_count(claims), 5);
    assert_string_equal(claimants(claims, SPEC, "A"), "");
    assert_string_equal(claimants(claims, SPEC, "a"), "3");
    assert_string_equal(claimants(claims, SPEC, "b"), "13");
    assert_string_equal(claimants(claims, SPEC, "c"), "513");
    assert_string_equal(claimants(claims, SPEC, "d"), "213");
    assert_string_equal(claimants(claims, SPEC, "dd"), "23");
    assert_string_equal(claimants(claims, SPEC, "g"), "3");
    assert_string_equal(claimants(claims, SPEC, "zz"), "");
    assert_string_equal(claimants(claims, OTHER_SPEC, "c"), "4");
    assert_string_equal(claimants(claims, LISTING, "c"), "");
    assert_string_equal(notes, "");
    mr_claims_free(claims);
    mr_claims_free(NULL);
}

static void folders_are_read_again(void **state)
{
    struct mr_claims *claims = new_claims();

    (void)state;
    assert_int_equal(mkdir("x", 0777), 0);
    assert_int_equal(mkdir("x/.mr-claims", 0777), 0);
    assert_int_equal(mkdir("y", 0777), 0);
    assert_int_equal(mkdir("y/.mr-claims", 0777), 0);
    put_claim("x/.mr-claims/1.claim", '1', SPEC, "a", "b");
    put_claim("x/.mr-claims/2.claim", '2', SPEC, "a", "b");
    put_claim("y/.mr-claims/3.claim", '3', SPEC, "a", "b");
    assert_int_equal(mr_claims_read(claims, "x", NULL), MR_OK);
    assert_int_equal(mr_claims_read(claims, "y", NULL), MR_OK);
    assert_string_equal(claimants(claims, SPEC, "a"), "321");
    /* One goes, one comes; a claim never changes, so none is read again. */
    assert_int_equal(unlink("x/.mr-claims/1.claim"), 0);
    put_claim("x/.mr-claims/4.claim", '4', SPEC, "a", "a");
    put("x/.mr-claims/2.claim", "no claim");
    assert_int_equal(mr_claims_read(claims, "x", NULL), MR_OK);
    assert_string_equal(claimants(claims, SPEC, "a"), "342");
    assert_string_equal(claimants(claims, SPEC, "b"), "32");
    assert_int_equal(unlink("y/.mr-claims/3.claim"), 0);
    assert_int_equal(rmdir("y/.mr-claims"), 0);
    assert_int_equal(mr_claims_read(claims, "y", NULL), MR_OK);
    assert_string_equal(claimants(claims, SPEC, "a"), "42");
    assert_string_equal(notes, "");
    mr_claims_free(claims);
}

/* Each hostile file is spoken of once, and the others are used. */
static void hostile_files_are_left_out(void **state)
{
    static char large[MR_CLAIM_MAX_BYTES + 1];
    struct mr_claims *claims = new_claims();
    char long_name[300];

    (void)state;
    memset(long_name, 'n', sizeof long_name);
    strcpy(long_name + 249, ".claim");
    assert_int_equal(mkdir("bad", 0777), 0);
    assert_int_equal(mkdir("bad/.mr-claims", 0777), 0);
    assert_int_equal(chdir("bad/.mr-claims"), 0);
    put_claim("good.claim", '7', SPEC, "a", "z");
    put("empty.claim", "");
    put_bytes("zeros.claim", large, 100);
    put_bytes("cut.claim", whole, 200);
    memset(large, '\n', sizeof large);
    put_bytes("large.claim", large, sizeof large);
    assert_int_equal(symlink("good.claim", "link.claim"), 0);
    assert_int_equal(mkfifo("pipe.claim", 0666), 0);
    assert_int_equal(mkdir("folder.claim", 0777), 0);
    put("steer\033[2J.claim", "x");
    put(long_name, "x");
    assert_int_equal(chdir("../.."), 0);
    assert_int_equal(mr_claims_read(claims, "bad", NULL), MR_OK);
    assert_int_equal(mr_claims_count(claims), 1);
    assert_string_equal(claimants(claims, SPEC, "m"), "7");
    assert_non_null(strstr(notes,
        "cannot use claim 'bad/.mr-claims/cut.claim' at byte 200: it is cut "
        "short; it is left out; remove it if it stays so\n"));
    assert_non_null(strstr(notes, "large.claim' at byte 32768: "));
    assert_non_null(strstr(notes, "pipe.claim': it is no regular file"));
    assert_non_null(strstr(notes, "link.claim': it is no regular file"));
    assert_null(strchr(notes, '\033'));
    {
        size_t lines = 0;

        for (const char *p = notes; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        assert_int_equal(lines, 9);
    }
    notes[0] = '\0';
    /* What was still being copied becomes a claim. */
    put_claim("bad/.mr-claims/cut.claim", '8', SPEC, "a", "b");
    assert_int_equal(mr_claims_read(claims, "bad", NULL), MR_OK);
    assert_string_equal(notes, "");
    assert_string_equal(claimants(claims, SPEC, "b"), "78");
    mr_claims_free(claims);
}

static void a_folder_that_fails_changes_nothing(void **state)
{
    struct mr_claims *claims = new_claims();
    struct mr_error err;
    char sentence[800];

    (void)state;
    assert_int_equal(mkdir("f", 0777), 0);
    assert_int_equal(mkdir("f/.mr-claims", 0777), 0);
    put_claim("f/.mr-claims/1.claim", '1', SPEC, "a", "b");
    assert_int_equal(mr_claims_read(claims, "f", NULL), MR_OK);
    assert_int_equal(rename("f/.mr-claims", "f/gone"), 0);
    put("f/.mr-claims", "a file");
    assert_int_equal(mr_claims_read(claims, "f", &err), MR_IO);
    mr_error_format(&err, sentence, sizeof sentence);
    assert_string_equal(sentence,
        "cannot look for claims in 'f/.mr-claims': Not a directory; see "
        "whether the share is still there, and rerun");
    assert_string_equal(claimants(claims, SPEC, "a"), "1");
    mr_claims_free(claims);
}

/* ---- by whom what is missing was claimed ---- */

static void add_failure(
    struct mr_coverage *c, const char *name, uint64_t offset, const char *cause)
{
    assert_int_equal(mr_coverage_add_failure(c, name, offset, cause), MR_OK);
}

static void what_is_missing_is_told_with_its_claimants(void **state)
{
    char in[] = "told/in/s.mrs", also[] = "told/in/t.mrs", by[] = "told/u.mrs";
    char *path[] = {in, also, by};
    struct mr_coverage coverage = {.n_failures = 0};
    struct mr_digest spec = digest(SPEC), other = digest(LISTING);
    struct mr_claimed claimed;

    (void)state;
    assert_int_equal(mkdir("told", 0777), 0);
    assert_int_equal(mkdir("told/in", 0777), 0);
    assert_int_equal(mkdir("told/in/.mr-claims", 0777), 0);
    assert_int_equal(mkdir("told/.mr-claims", 0777), 0);
    put_claim("told/in/.mr-claims/1.claim", '1', SPEC, "a", "c");
    put_claim("told/in/.mr-claims/2.claim", '2', SPEC, "c", "d");
    put_claim("told/.mr-claims/3.claim", '3', SPEC, "c", "c");
    put("told/.mr-claims/4.claim", "none");
    /* Nothing is missing: no claim is looked at. */
    notes[0] = '\0';
    add_failure(&coverage, "b", 7, "truncated gzip member");
    assert_int_equal(mr_claimed_find(&coverage, &spec, path, 3, keep_note,
                         notes, &claimed, NULL),
        MR_OK);
    assert_null(claimed.failure);
    assert_string_equal(notes, "");
    add_failure(&coverage, "c", MR_NOWHERE, MR_CAUSE_MISSING);
    add_failure(&coverage, "d", MR_NOWHERE, MR_CAUSE_PENDING);
    add_failure(&coverage, "e", MR_NOWHERE, MR_CAUSE_MISSING);
    assert_int_equal(mr_claimed_find(&coverage, &spec, path, 3, keep_note,
                         notes, &claimed, NULL),
        MR_OK);
    assert_non_null(strstr(notes, "told/.mr-claims/4.claim"));
    assert_int_equal(claimed.n, 4);
    assert_int_equal(claimed.n_claimed, 2);
    assert_int_equal(claimed.first, 1);
    assert_string_equal(claimed.failure[0].cause, "truncated gzip member");
    assert_int_equal(claimed.failure[0].offset, 7);
    assert_string_equal(claimed.failure[1].name, "c");
    assert_string_equal(claimed.failure[1].cause,
        MR_CAUSE_MISSING " (claimed by me on there, process 9, at "
                         "1970-01-01T00:00:00Z; by me on there, process 9, at "
                         "1970-01-01T00:00:00Z; and 1 more)");
    assert_string_equal(claimed.failure[2].cause, MR_CAUSE_PENDING
        " (claimed by me on there, process 9, at 1970-01-01T00:00:00Z)");
    assert_string_equal(claimed.failure[3].cause, MR_CAUSE_MISSING);
    mr_claimed_release(&claimed);
    assert_int_equal(
        mr_claimed_find(&coverage, &other, path, 3, NULL, NULL, &claimed, NULL),
        MR_OK);
    assert_null(claimed.failure);
    mr_coverage_release(&coverage);
}

/* ---- batches ---- */

static struct mr_listing listing;

/* Inputs of these names, which stay the caller's, and sizes. */
static void list(const char *const *name, const uint64_t *size, size_t n)
{
    listing = (struct mr_listing){.n = n};
    listing.inputs = calloc(n + 1, sizeof(*listing.inputs));
    assert_non_null(listing.inputs);
    for (size_t i = 0; i < n; i++) {
        listing.inputs[i].name = strdup(name[i]);
        listing.inputs[i].path = listing.inputs[i].name;
        listing.inputs[i].size = size[i];
    }
}

/* n inputs of names i000, i001 ... and one size. */
static void list_alike(size_t n, uint64_t size)
{
    listing = (struct mr_listing){.n = n};
    listing.inputs = calloc(n + 1, sizeof(*listing.inputs));
    assert_non_null(listing.inputs);
    for (size_t i = 0; i < n; i++) {
        char name[32];

        snprintf(name, sizeof name, "i%03zu", i);
        listing.inputs[i].name = listing.inputs[i].path = strdup(name);
        listing.inputs[i].size = size;
    }
}

static struct mr_claimant me(char digit)
{
    struct mr_claimant by = {.host = "here", .user = "me", .pid = 7};

    memset(by.run, digit, MR_RUN_TEXT - 1);
    return by;
}

static void init_run(
    struct mr_claim_run *run, const struct mr_claimant *by, const char *share)
{
    struct mr_digest spec = digest(SPEC);

    assert_int_equal(
        mr_claim_run_init(run, &listing, share, by, &spec, NULL), MR_OK);
}

static void a_batch_takes_about_a_minute(void **state)
{
    (void)state;
    assert_true(mr_claim_batch_bytes(64 * TIB) == 16 * GIB);
    assert_true(mr_claim_batch_bytes(1 * TIB) == 16 * GIB);
    assert_true(mr_claim_batch_bytes(512 * GIB) == 8 * GIB);
    assert_true(mr_claim_batch_bytes(16 * GIB) == 256 * MIB);
    assert_true(mr_claim_batch_bytes(5 * GIB) == 256 * MIB);
    assert_true(mr_claim_batch_bytes(160 * MIB) == 10 * MIB + 1);
    assert_true(mr_claim_batch_bytes(0) == 1);
    assert_true(mr_claim_batch_bytes(UINT64_MAX) == 16 * GIB);
}

/* The batches cover the listing, in order, and are as large as they say. */
static void check_batches(const struct mr_claim_run *run)
{
    size_t next = 0;

    for (size_t b = 0; b < run->n_batches; b++) {
        uint64_t bytes = 0;

        assert_int_equal(run->batch[b].first, next);
        assert_true(run->batch[b].end > next);
        for (; next < run->batch[b].end; next++)
            bytes += listing.inputs[next].size;
        assert_true(run->batch[b].bytes == bytes);
    }
    assert_int_equal(next, listing.n);
}

static void batches_are_of_nearly_equal_bytes(void **state)
{
    static const char *const name[] = {"a", "b", "c", "d", "e", "f"};
    const uint64_t size[] = {1, 40 * GIB, 1, 1, 300 * GIB, 5};
    struct mr_claimant by = me('1');
    struct mr_claim_run run;

    (void)state;
    list_alike(640, 100 * MIB); /* 62.5 GiB: batches of 1000 MiB */
    init_run(&run, &by, "batches");
    check_batches(&run);
    assert_in_range(run.n_batches, 64, 65);
    for (size_t b = 0; b < run.n_batches; b++)
        assert_true(run.batch[b].bytes <= 1100 * MIB);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
    list_alike(40, 300);
    init_run(&run, &by, "batches");
    check_batches(&run);
    assert_in_range(run.n_batches, 14, 17);
    for (size_t b = 0; b < run.n_batches; b++)
        assert_in_range(run.batch[b].end - run.batch[b].first, 1, 3);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
    list_alike(40, 0);
    init_run(&run, &by, "batches");
    check_batches(&run);
    assert_in_range(run.n_batches, 14, 17);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
    /* Files that are larger than a batch. */
    list(name, size, 6);
    init_run(&run, &by, "batches");
    check_batches(&run);
    assert_int_equal(run.n_batches, 5);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
    /* Sizes that cannot be. */
    list_alike(3, UINT64_MAX);
    init_run(&run, &by, "batches");
    assert_int_equal(run.batch[run.n_batches - 1].end, 3);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
    list_alike(0, 0);
    init_run(&run, &by, "batches");
    assert_int_equal(run.n_batches, 0);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
}

static void listings_that_differ_have_other_digests(void **state)
{
    static const char *const name[] = {"a", "b"}, *const other[] = {"a", "c"},
                             *const joined[] = {"ab"};
    const uint64_t size[] = {1, 2}, sizes[] = {1, 3};
    struct mr_digest d[5];

    (void)state;
    list(name, size, 2);
    assert_int_equal(mr_listing_digest(&listing, &d[0]), MR_OK);
    listing.inputs[0].path = listing.inputs[0].name;
    assert_int_equal(mr_listing_digest(&listing, &d[1]), MR_OK);
    assert_memory_equal(&d[0], &d[1], sizeof d[0]);
    mr_listing_release(&listing);
    list(name, sizes, 2);
    assert_int_equal(mr_listing_digest(&listing, &d[1]), MR_OK);
    mr_listing_release(&listing);
    list(other, size, 2);
    assert_int_equal(mr_listing_digest(&listing, &d[2]), MR_OK);
    mr_listing_release(&listing);
    list(joined, size, 1);
    assert_int_equal(mr_listing_digest(&listing, &d[3]), MR_OK);
    mr_listing_release(&listing);
    list_alike(0, 0);
    assert_int_equal(mr_listing_digest(&listing, &d[4]), MR_OK);
    mr_listing_release(&listing);
    for (size_t i = 0; i < 5; i++)
        for (size_t k = i + 1; k < 5; k++)
            assert_memory_not_equal(&d[i], &d[k], sizeof d[0]);
}

/* ---- the choice ---- */

/* As a run does: choose, publish, and note as done.  Returns the number of
 * claims in the way, or SIZE_MAX. */
static size_t take(struct mr_claim_run *run, struct mr_claims *claims,
    bool *done, size_t *batch_out)
{
    size_t n_claims;

    assert_int_equal(mr_claims_read(claims, run->share, NULL), MR_OK);
    assert_int_equal(
        mr_claim_run_choose(run, claims, done, batch_out, &n_claims), MR_OK);
    if (*batch_out == MR_CLAIM_NONE)
        return SIZE_MAX;
    assert_int_equal(
        mr_claim_run_publish(run, *batch_out, 1795160712, NULL), MR_OK);
    for (size_t i = run->batch[*batch_out].first;
         i < run->batch[*batch_out].end; i++)
        done[i] = true;
    return n_claims;
}

static void two_runs_share_a_listing(void **state)
{
    struct mr_claimant by_a = me('a'), by_b = me('b');
    struct mr_claims *claims_a = new_claims(), *claims_b = new_claims();
    struct mr_claim_run a, b;
    bool done_a[40] = {0}, done_b[40] = {0};
    size_t batch, taken = 0;

    (void)state;
    list_alike(40, 1000);
    init_run(&a, &by_a, "two");
    init_run(&b, &by_b, "two");
    assert_int_equal(a.n_batches, b.n_batches);
    /* By turns: no batch is taken twice. */
    while (taken < a.n_batches) {
        assert_int_equal(take(&a, claims_a, done_a, &batch), 0);
        if (++taken < a.n_batches) {
            assert_int_equal(take(&b, claims_b, done_b, &batch), 0);
            taken++;
        }
    }
    for (size_t i = 0; i < 40; i++)
        assert_true(done_a[i] != done_b[i]);
    assert_int_equal(count_files("two/.mr-claims"), a.n_batches);
    /* b publishes and ends: a sees all as done. */
    mr_claim_run_withdraw(&b);
    assert_int_equal(
        count_files("two/.mr-claims"), a.n_batches - a.n_batches / 2);
    for (size_t i = 0; i < 40; i++)
        done_a[i] = true;
    assert_int_equal(take(&a, claims_a, done_a, &batch), SIZE_MAX);
    mr_claim_run_withdraw(&a);
    assert_int_equal(count_files("two/.mr-claims"), 0);
    assert_string_equal(notes, "");
    mr_claim_run_release(&a);
    mr_claim_run_release(&b);
    mr_claims_free(claims_a);
    mr_claims_free(claims_b);
    mr_listing_release(&listing);
}

/* b claims a third and dies.  a does what is unclaimed, then what b claimed
 * and c does not claim too, then the rest. */
static void what_the_dead_claimed_is_taken_over(void **state)
{
    struct mr_claimant by_a = me('a'), by_b = me('b'), by_c = me('c');
    struct mr_claims *claims = new_claims();
    struct mr_claim_run a, b, c;
    bool done_a[40] = {0}, done_b[40] = {0};
    size_t batch, n_batches, in_the_way, before = 0, count[3] = {0};

    (void)state;
    list_alike(40, 1000);
    init_run(&a, &by_a, "dead");
    init_run(&b, &by_b, "dead");
    init_run(&c, &by_c, "dead");
    n_batches = a.n_batches;
    for (size_t i = 0; i < n_batches / 3; i++)
        assert_int_equal(take(&b, claims, done_b, &batch), 0);
    assert_int_equal(mr_claim_run_publish(&c, batch, 0, NULL), MR_OK);
    while ((in_the_way = take(&a, claims, done_a, &batch)) != SIZE_MAX) {
        assert_in_range(in_the_way, before, 2);
        before = in_the_way;
        count[in_the_way]++;
    }
    for (size_t i = 0; i < 40; i++)
        assert_true(done_a[i]);
    assert_int_equal(count[0], n_batches - n_batches / 3);
    assert_int_equal(count[1], n_batches / 3 - 1);
    assert_int_equal(count[2], 1);
    mr_claim_run_release(&a);
    mr_claim_run_release(&b);
    mr_claim_run_release(&c);
    mr_claims_free(claims);
    mr_listing_release(&listing);
}

/* Two machines that are idle at once take over different batches, whatever
 * their clocks say. */
static void idle_runs_begin_at_different_places(void **state)
{
    struct mr_claims *claims = new_claims();
    bool done[64] = {0}, begun[64] = {0};
    struct mr_claimant by_dead = me('d');
    struct mr_claim_run dead;
    unsigned n = 0;

    (void)state;
    list_alike(64, 16 * GIB);
    init_run(&dead, &by_dead, "idle");
    for (size_t b = 0; b < dead.n_batches; b++)
        assert_int_equal(
            mr_claim_run_publish(&dead, b, b % 2 ? 0 : INT64_MAX, NULL), MR_OK);
    assert_int_equal(mr_claims_read(claims, "idle", NULL), MR_OK);
    assert_int_equal(mr_claims_count(claims), dead.n_batches);
    for (unsigned k = 0; k < 16; k++) {
        struct mr_claimant by = me(DIGITS[k]);
        struct mr_claim_run run;
        size_t batch, n_claims;

        if (k == 13)
            continue; /* the dead one's own claims would not count */
        init_run(&run, &by, "idle");
        assert_int_equal(
            mr_claim_run_choose(&run, claims, done, &batch, &n_claims), MR_OK);
        assert_int_equal(n_claims, 1);
        n += !begun[batch];
        begun[batch] = true;
        mr_claim_run_release(&run);
    }
    /* 15 of 64 at random would be 13.5 different ones. */
    assert_true(n >= 11);
    mr_claim_run_release(&dead);
    mr_claims_free(claims);
    mr_listing_release(&listing);
}

/* Claims of another listing count by their names, those of another spec do
 * not count, nor do a run's own. */
static void claims_count_by_names(void **state)
{
    struct mr_claimant by = me('a');
    struct mr_claims *claims = new_claims();
    struct mr_claim_run run;
    bool done[32] = {0};
    size_t batch, n_claims;

    (void)state;
    list_alike(32, 16 * GIB); /* a batch each */
    init_run(&run, &by, "names");
    assert_int_equal(run.n_batches, 32);
    put_claim("names/.mr-claims/1.claim", '1', SPEC, "A", "i004x");
    put_claim("names/.mr-claims/2.claim", '2', SPEC, "i006", "z");
    put_claim("names/.mr-claims/3.claim", '3', OTHER_SPEC, "A", "z");
    put_claim("names/.mr-claims/4.claim", 'a', SPEC, "A", "z");
    put_claim("names/.mr-claims/5.claim", '5', SPEC, "0", "h");
    put_claim("names/.mr-claims/6.claim", '6', SPEC, "i031", "i031");
    assert_int_equal(mr_claims_read(claims, "names", NULL), MR_OK);
    assert_int_equal(
        mr_claim_run_choose(&run, claims, done, &batch, &n_claims), MR_OK);
    assert_int_equal(batch, 5); /* the only one that nobody claims */
    assert_int_equal(n_claims, 0);
    done[5] = true;
    for (size_t i = 0; i < 31; i++) {
        if (i == 5)
            continue;
        assert_int_equal(
            mr_claim_run_choose(&run, claims, done, &batch, &n_claims), MR_OK);
        assert_int_equal(n_claims, 1);
        assert_false(done[batch]);
        done[batch] = true;
    }
    assert_int_equal(
        mr_claim_run_choose(&run, claims, done, &batch, &n_claims), MR_OK);
    assert_int_equal(batch, 31);
    assert_int_equal(n_claims, 2);
    mr_claim_run_release(&run);
    mr_claims_free(claims);
    mr_listing_release(&listing);
}

/* ---- the share ---- */

static void a_share_that_cannot_be_written_is_refused(void **state)
{
    struct mr_claimant by = me('a');
    struct mr_digest spec = digest(SPEC);
    struct mr_claim_run run;
    struct mr_error err;

    (void)state;
    list_alike(4, 10);
    put("file", "in the way");
    assert_int_equal(
        mr_claim_run_init(&run, &listing, "file", &by, &spec, &err), MR_IO);
    assert_string_equal(err.path, "file/.mr-claims");
    mr_claim_run_release(&run);
    /* A share that goes away while the run is at work. */
    init_run(&run, &by, "away");
    assert_int_equal(mr_claim_run_publish(&run, 0, 0, &err), MR_OK);
    assert_int_equal(rename("away", "elsewhere"), 0);
    assert_int_equal(mr_claim_run_publish(&run, 0, 0, &err), MR_IO);
    assert_string_equal(err.path, "away/.mr-claims");
    assert_int_equal(run.n_claimed, 1);
    mr_claim_run_withdraw(&run);
    assert_int_equal(count_files("elsewhere/.mr-claims"), 1);
    mr_claim_run_release(&run);
    mr_listing_release(&listing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_is_read),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(changed_bytes_are_refused_or_a_claim),
        cmocka_unit_test(what_is_no_claim_is_refused),
        cmocka_unit_test(texts_are_bounded),
        cmocka_unit_test(a_folder_is_read),
        cmocka_unit_test(folders_are_read_again),
        cmocka_unit_test(hostile_files_are_left_out),
        cmocka_unit_test(a_folder_that_fails_changes_nothing),
        cmocka_unit_test(what_is_missing_is_told_with_its_claimants),
        cmocka_unit_test(a_batch_takes_about_a_minute),
        cmocka_unit_test(batches_are_of_nearly_equal_bytes),
        cmocka_unit_test(listings_that_differ_have_other_digests),
        cmocka_unit_test(two_runs_share_a_listing),
        cmocka_unit_test(what_the_dead_claimed_is_taken_over),
        cmocka_unit_test(idle_runs_begin_at_different_places),
        cmocka_unit_test(claims_count_by_names),
        cmocka_unit_test(a_share_that_cannot_be_written_is_refused),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
