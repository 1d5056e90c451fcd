#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Work goes over the plan in two ways.
 *
 * Into files: first all users are planned once, which gives the truth and the
 * number of lines of each file.  Then files are taken in runs of about
 * RUN_LINES lines, hour by hour: the users' times are planned again, and of
 * each line that lies in the run a 16-byte slip is kept; every file's slips
 * are sorted by time and written by one thread.  So memory depends on the run,
 * not on the lake, and the files may be taken away between two portions.
 *
 * To standard output: users are taken in batches; each thread writes a batch
 * to memory, and the batches go out in order.
 *
 * Neither the text nor its order depends on the number of threads.
 */

#define RUN_LINES (UINT64_C(1) << 25)
#define BATCH_EVENTS 8192
#define FLUSH_BYTES ((size_t)512 << 10)
#define THREADS_MAX 256

static const char help[] =
    "usage: gen_events [OPTION]... --out DIR\n"
    "       gen_events [OPTION]... --stdout\n"
    "Write a lake of made-up events, and the truth about it.  The same\n"
    "options give the same bytes.\n"
    "\n"
    "  --out DIR          a folder that is new or empty\n"
    "  --stdout           write plain JSON lines to standard output instead\n"
    "  --truth FILE       where the truth goes; default DIR.truth.json, with\n"
    "                     --stdout none\n"
    "  --seed N           default 1\n"
    "  --events N         events, copies not counted; default 200000\n"
    "  --users N          default 10000\n"
    "  --types N          event types; default 40\n"
    "  --days N           default 2\n"
    "  --start YYYY-MM-DD first day; default 2024-02-28\n"
    "  --event-bytes N    about how long a line is; default 400\n"
    "  --layout hourly    one file for each type and hour (the default):\n"
    "                     type=T/date=YYYY-MM-DD/hour=HH/part-0000.json.gz\n"
    "  --files N          N files of all types instead; in folders of days\n"
    "                     when there are at least as many files as days\n"
    "  --format F         plain, gz, zst or mixed; default mixed\n"
    "  --level N          of compression; default 6 for gz, 3 for zst\n"
    "  --member-bytes N   a new gzip member or zstd frame for each N bytes of\n"
    "                     text; default one a file, and in mixed lakes small\n"
    "                     ones in every fourth file\n"
    "  --bad PERMILLE     bad lines per 1000 events, and a quarter as many\n"
    "                     blank lines; default 0\n"
    "  --too-long N       N lines of more than 16 MiB; default 0\n"
    "  --duplicates PERMILLE  events whose line is in two files; default 0\n"
    "  --late PERMILLE    events under the folder of a later hour or day, an\n"
    "                     eighth of them under another type's; default 0\n"
    "  --no-user PERMILLE events without user; default 0\n"
    "  --odd-shape PERCENT  events with members that others of their type do\n"
    "                     not have; default 2\n"
    "  --threads N        default: the processors there are\n"
    "  --part K/N         with --stdout: only the users of part K of N, and\n"
    "                     their truth\n"
    "  --portions N       with --out: make the files of the first N-th of the\n"
    "                     hours, then those of the next, and so on; default 1\n"
    "  --each COMMAND     after each portion have the shell run COMMAND, "
    "which\n"
    "                     finds its number in $PORTION and may take the files\n"
    "                     away; should it fail, gen_events ends\n"
    "  --help             print this\n";

_Noreturn void gen_die(const char *format, ...)
{
    va_list args;

    fputs("gen_events: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

void *gen_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (p == NULL)
        gen_die("out of memory");
    return p;
}

void gen_buffer_room(struct gen_buffer *b, size_t n)
{
    char *p;
    size_t cap;

    if (b->cap - b->n >= n)
        return;
    cap = b->cap + b->cap / 2 + n;
    p = realloc(b->p, cap);
    if (p == NULL)
        gen_die("out of memory");
    b->p = p;
    b->cap = cap;
}

/* Digits are put into a word, eight at a time, all at once. */
static void put_hex_word(char *p, uint32_t value)
{
    uint64_t x = value, high;

    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    high = (x + UINT64_C(0x0606060606060606)) >> 4;
    high &= UINT64_C(0x0101010101010101);
    x += UINT64_C(0x3030303030303030) + high * ('a' - '0' - 10);
    for (int i = 0; i < 8; i++)
        p[i] = (char)(x >> (56 - 8 * i));
}

void gen_put_hex(struct gen_buffer *b, uint64_t x, int n_bytes)
{
    put_hex_word(b->p + b->n, (uint32_t)(x >> 32));
    if (n_bytes > 4)
        put_hex_word(b->p + b->n + 8, (uint32_t)x);
    b->n += 2 * (size_t)n_bytes;
}

void gen_put_uuid(struct gen_buffer *b, uint64_t high, uint64_t low)
{
    char digits[32], *p = b->p + b->n;

    /* What the version displaces goes to the end. */
    low = (low & ~UINT64_C(15)) | (high >> 12 & 15);
    high = (high & ~UINT64_C(0xf000)) | 0x4000;
    put_hex_word(digits, (uint32_t)(high >> 32));
    put_hex_word(digits + 8, (uint32_t)high);
    put_hex_word(digits + 16, (uint32_t)(low >> 32));
    put_hex_word(digits + 24, (uint32_t)low);
    digits[16] = "89ab"[low >> 62];
    memcpy(p, digits, 8);
    memcpy(p + 9, digits + 8, 4);
    memcpy(p + 14, digits + 12, 4);
    memcpy(p + 19, digits + 16, 4);
    memcpy(p + 24, digits + 20, 12);
    p[8] = p[13] = p[18] = p[23] = '-';
    b->n += 36;
}

void gen_put_number(struct gen_buffer *b, uint64_t x)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + x % 10);
    while ((x /= 10) > 0);
    gen_put(b, digits + at, sizeof digits - at);
}

/* ---- options ---- */

static uint64_t parse_number(
    const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    uint64_t x;

    errno = 0;
    x = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || x < min || x > max)
        gen_die("%s must be a whole number from %" PRIu64 " to %" PRIu64
                ", not '%s'",
            name, min, max, text);
    return x;
}

static int64_t parse_day(const char *name, const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    char again[32];
    int64_t ms;

    /* A time before 1971 times 1000 could still be a valid time. */
    ms = (int64_t)timegm(&tm) * 1000;
    if (strftime(again, sizeof again, "%Y-%m-%d", &tm) == 0 || end == NULL ||
        strcmp(again, text) != 0 || tm.tm_year < 71 || tm.tm_year > 289)
        gen_die("%s must be a day from 1971-01-01 to 2189-12-31, as "
                "YYYY-MM-DD, not '%s'",
            name, text);
    return ms;
}

static enum gen_format parse_format(const char *text)
{
    static const char *const names[] = {"plain", "gz", "zst", "mixed"};

    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum gen_format)i;
    gen_die("--format must be plain, gz, zst or mixed, not '%s'", text);
}

static void parse_part(struct gen_options *o, const char *text)
{
    char *slash = strchr(text, '/'), first[24];

    if (slash == NULL || (size_t)(slash - text) >= sizeof first)
        gen_die("--part must look like 1/4, not '%s'", text);
    memcpy(first, text, (size_t)(slash - text));
    first[slash - text] = 0;
    o->parts = parse_number("--part", slash + 1, 1, 1000000);
    o->part = parse_number("--part", first, 1, o->parts);
}

struct number_option {
    const char *name;
    size_t offset;
    uint64_t min, max;
};

#define AT(field) offsetof(struct gen_options, field)
static const struct number_option number_options[] = {
    {"--seed", AT(seed), 0, UINT64_MAX},
    {"--events", AT(events), 1, UINT64_C(1000000000000)},
    {"--users", AT(users), 1, UINT64_C(4000000000)},
    {"--types", AT(types), 1, 1000000},
    {"--days", AT(days), 1, 3660},
    {"--event-bytes", AT(event_bytes), 1, 1000000},
    {"--files", AT(files), 1, 10000000},
    {"--level", AT(level), 1, 19},
    {"--member-bytes", AT(member_bytes), 1, UINT64_C(1) << 40},
    {"--bad", AT(bad), 0, 1000},
    {"--too-long", AT(too_long), 0, 1000},
    {"--duplicates", AT(duplicates), 0, 1000},
    {"--late", AT(late), 0, 1000},
    {"--no-user", AT(no_user), 0, 1000},
    {"--odd-shape", AT(odd_shape), 0, 100},
    {"--threads", AT(threads), 1, THREADS_MAX},
    {"--portions", AT(portions), 1, 10000},
};

static bool parse_number_option(
    struct gen_options *o, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof number_options / sizeof *number_options;
         i++) {
        const struct number_option *x = &number_options[i];
        uint64_t number;

        if (strcmp(name, x->name) != 0)
            continue;
        number = parse_number(name, value, x->min, x->max);
        memcpy((char *)o + x->offset, &number, sizeof number);
        return true;
    }
    return false;
}

static void parse_value_option(
    struct gen_options *o, const char *name, const char *value)
{
    if (parse_number_option(o, name, value))
        return;
    if (strcmp(name, "--out") == 0)
        o->out = value;
    else if (strcmp(name, "--truth") == 0)
        o->truth = value;
    else if (strcmp(name, "--each") == 0)
        o->each = value;
    else if (strcmp(name, "--start") == 0)
        o->start_ms = parse_day(name, value);
    else if (strcmp(name, "--format") == 0)
        o->format = parse_format(value);
    else if (strcmp(name, "--part") == 0)
        parse_part(o, value);
    else if (strcmp(name, "--layout") != 0)
        gen_die("unknown option '%s'; see --help", name);
    else if (strcmp(value, "hourly") == 0)
        o->files = 0;
    else
        gen_die("--layout must be hourly, not '%s'", value);
}

static void check_options(const struct gen_options *o)
{
    if ((o->out == NULL) == !o->to_stdout)
        gen_die("one of --out and --stdout is needed; see --help");
    if (o->parts > 1 && !o->to_stdout)
        gen_die("--part is for --stdout");
    if ((o->each != NULL || o->portions > 1) && o->to_stdout)
        gen_die("--each and --portions are for --out");
    if (o->days * o->types > UINT64_C(1) << 26)
        gen_die("that is too many types for so many days");
}

static void parse_options(int argc, char **argv, struct gen_options *o)
{
    *o = (struct gen_options){.seed = 1,
        .events = 200000,
        .users = 10000,
        .types = 40,
        .days = 2,
        .start_ms = INT64_C(1709078400000),
        .event_bytes = 400,
        .odd_shape = 2,
        .format = GEN_MIXED,
        .part = 1,
        .parts = 1,
        .portions = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            exit(0);
        } else if (strcmp(argv[i], "--stdout") == 0) {
            o->to_stdout = true;
        } else if (i + 1 == argc) {
            gen_die("unknown option, or one without its value: '%s'; see "
                    "--help",
                argv[i]);
        } else {
            parse_value_option(o, argv[i], argv[i + 1]);
            i++;
        }
    }
    if (o->threads == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        o->threads = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (uint64_t)n;
    }
    check_options(o);
}

/* ---- the work of threads ---- */

/* A line of a file of the run at hand. */
struct slip {
    uint64_t time_and_copy; /* time, then one bit */
    uint32_t user, index;
};

struct run {
    uint64_t first_file, end_file;
    struct slip *slip;
};

struct job {
    const struct gen_plan *plan;
    const struct gen_text *text;
    _Atomic uint64_t next; /* the next piece of work to be taken */
    _Atomic uint64_t text_bytes;
    _Atomic uint64_t *lines; /* of each file, and then where to put slips */
    uint64_t *first;         /* a file's first slip, counted over all runs */
    struct run run;
};

struct worker {
    struct job *job;
    pthread_t thread;
    struct gen_truth truth;
    bool with_truth;
    int64_t *times;
    size_t cap;
    struct gen_buffer buffer;
    struct gen_sink *sink;
    uint64_t from_user, to_user;
};

static void start_and_join(struct worker *w, uint64_t n, void *(*work)(void *))
{
    for (uint64_t i = 0; i < n; i++)
        if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
            gen_die("cannot start a thread");
    for (uint64_t i = 0; i < n; i++)
        pthread_join(w[i].thread, NULL);
}

static struct worker *new_workers(struct job *job)
{
    const struct gen_options *o = job->plan->o;
    struct worker *w = gen_alloc(o->threads, sizeof *w);

    for (uint64_t i = 0; i < o->threads; i++) {
        w[i].job = job;
        w[i].with_truth = o->truth != NULL;
        if (w[i].with_truth)
            gen_truth_init(&w[i].truth, o);
        w[i].sink = gen_sink_new(o);
    }
    return w;
}

static void free_workers(struct worker *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        gen_truth_release(&w[i].truth);
        gen_sink_free(w[i].sink);
        free(w[i].times);
        free(w[i].buffer.p);
    }
    free(w);
}

/* A user's events, in the tally's memory; return their number. */
static size_t plan_events(struct worker *w, uint64_t user)
{
    const struct gen_plan *plan = w->job->plan;
    struct gen_truth *t = &w->truth;
    size_t n = gen_plan_user(plan, user, &w->times, &w->cap);

    if (n > t->cap) {
        free(t->event);
        t->cap = n + n / 2;
        t->event = gen_alloc(t->cap, sizeof *t->event);
    }
    for (size_t i = 0; i < n; i++)
        gen_plan_event(plan, user, i, w->times[i], &t->event[i]);
    return n;
}

static void write_truth(struct job *job, struct worker *w, uint64_t n_files)
{
    const struct gen_options *o = job->plan->o;

    if (o->truth == NULL)
        return;
    for (uint64_t i = 1; i < o->threads; i++)
        gen_truth_merge(&w[0].truth, &w[i].truth, o);
    gen_truth_write(&w[0].truth, o, n_files, job->text_bytes, o->truth);
}

/* ---- into files ---- */

static void *count_lines(void *arg)
{
    struct worker *w = arg;
    struct job *job = w->job;
    const struct gen_plan *plan = job->plan;
    uint64_t user;

    while ((user = 64 * job->next++) < plan->o->users) {
        for (int i = 0; i < 64 && user < plan->o->users; i++, user++) {
            size_t n = plan_events(w, user);

            gen_truth_user(&w->truth, plan, w->truth.event, n);
            for (size_t j = 0; j < n; j++) {
                const struct gen_event *e = &w->truth.event[j];

                job->lines[gen_plan_file(plan, e, false)]++;
                if (e->twice)
                    job->lines[gen_plan_file(plan, e, true)]++;
            }
        }
    }
    return NULL;
}

static void keep_slip(struct job *job, const struct gen_event *e, bool copy)
{
    struct run *run = &job->run;
    uint64_t file = gen_plan_file(job->plan, e, copy), at;

    if (file < run->first_file || file >= run->end_file)
        return;
    at = job->lines[file]++ - job->first[run->first_file];
    run->slip[at] =
        (struct slip){(uint64_t)e->time_ms << 1 | copy, e->user, e->index};
}

static void *keep_slips(void *arg)
{
    struct worker *w = arg;
    struct job *job = w->job;
    const struct gen_plan *plan = job->plan;
    int64_t from_ms, to_ms;
    uint64_t user;

    gen_plan_window(
        plan, job->run.first_file, job->run.end_file, &from_ms, &to_ms);
    while ((user = 64 * job->next++) < plan->o->users) {
        for (int i = 0; i < 64 && user < plan->o->users; i++, user++) {
            size_t n = gen_plan_user(plan, user, &w->times, &w->cap);

            for (size_t j = 0; j < n; j++) {
                struct gen_event e;

                if (w->times[j] < from_ms || w->times[j] >= to_ms)
                    continue;
                gen_plan_event(plan, user, j, w->times[j], &e);
                keep_slip(job, &e, false);
                if (e.twice)
                    keep_slip(job, &e, true);
            }
        }
    }
    return NULL;
}

static int compare_slips(const void *a, const void *b)
{
    const struct slip *x = a, *y = b;

    if (x->time_and_copy != y->time_and_copy)
        return x->time_and_copy < y->time_and_copy ? -1 : 1;
    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void make_folder(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        gen_die("cannot make the folder '%s': %s", path, strerror(errno));
}

/* The lake's own folder, which must hold nothing else. */
static void claim_folder(const char *path)
{
    struct dirent *entry;
    DIR *dir;

    make_folder(path);
    dir = opendir(path);
    if (dir == NULL)
        gen_die("cannot read the folder '%s': %s", path, strerror(errno));
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            gen_die("the folder '%s' is not empty", path);
    closedir(dir);
}

static void make_parents(const char *path, size_t from)
{
    char copy[4096];
    size_t n = strlen(path);

    if (n >= sizeof copy)
        gen_die("the path is too long: %s", path);
    memcpy(copy, path, n + 1);
    for (size_t i = from; i < n; i++) {
        if (copy[i] != '/' || i == 0)
            continue;
        copy[i] = 0;
        make_folder(copy);
        copy[i] = '/';
    }
}

/* A type as part of a folder's name: what is not plain becomes %XX. */
static void escape_type(uint64_t type, char *out, size_t size)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    char name[128];
    size_t n = 0;

    gen_type_name(type, name, sizeof name);
    for (const char *s = name; *s && n + 4 < size; s++) {
        if (strchr(plain, *s))
            out[n++] = *s;
        else
            n += (size_t)snprintf(
                out + n, size - n, "%%%02X", (unsigned char)*s);
    }
    out[n] = 0;
}

static void make_path(const struct gen_plan *plan, uint64_t file,
    enum gen_format format, char *out, size_t size)
{
    static const char *const ending[] = {"", ".gz", ".zst"};
    const struct gen_options *o = plan->o;
    int64_t day = gen_plan_file_day(plan, file);
    int64_t type = gen_plan_file_type(plan, file);
    time_t at = (time_t)(o->start_ms / 1000 + day * 86400);
    char date[32] = "", name[400];
    struct tm tm;

    if (day >= 0)
        strftime(date, sizeof date, "date=%Y-%m-%d/", gmtime_r(&at, &tm));
    if (type >= 0) {
        escape_type((uint64_t)type, name, sizeof name);
        snprintf(out, size, "%s/type=%s/%shour=%02d/part-0000.json%s", o->out,
            name, date, (int)gen_plan_file_hour(plan, file), ending[format]);
    } else {
        snprintf(out, size, "%s/%spart-%05" PRIu64 ".json%s", o->out, date,
            file, ending[format]);
    }
}

/* What differs between files without a folder saying so. */
struct manner {
    enum gen_format format;
    uint64_t member_bytes;
    bool crlf, bom, no_end;
};

static struct manner choose_manner(const struct gen_options *o, uint64_t file)
{
    uint64_t x = gen_draw(gen_mix(o->seed + 11), file);
    struct manner m = {.format = o->format, .member_bytes = o->member_bytes};

    if (o->format == GEN_MIXED) {
        m.format = (x & 7) == 0 ? GEN_PLAIN : x & 8 ? GEN_GZ : GEN_ZST;
        if (m.member_bytes == 0 && (x >> 4 & 3) == 0)
            m.member_bytes = 1000 + (x >> 32 & 0xffff);
    }
    m.crlf = (x >> 6 & 15) == 0;
    m.bom = (x >> 10 & 15) == 0;
    m.no_end = (x >> 14 & 7) == 0;
    return m;
}

static void flush(struct worker *w)
{
    w->job->text_bytes += w->buffer.n;
    gen_sink_write(w->sink, w->buffer.p, w->buffer.n);
    w->buffer.n = 0;
}

static void write_file(
    struct worker *w, uint64_t file, const struct slip *slip, uint64_t n)
{
    const struct gen_plan *plan = w->job->plan;
    struct manner m = choose_manner(plan->o, file);
    struct gen_buffer *b = &w->buffer;
    char path[4096];

    make_path(plan, file, m.format, path, sizeof path);
    make_parents(path, strlen(plan->o->out) + 1);
    gen_sink_open(w->sink, path, m.format, m.member_bytes);
    gen_buffer_room(b, 3);
    if (m.bom) {
        memcpy(b->p, "\xef\xbb\xbf", 3);
        b->n = 3;
    }
    for (uint64_t i = 0; i < n; i++) {
        struct gen_event e;

        gen_plan_event(plan, slip[i].user, slip[i].index,
            (int64_t)(slip[i].time_and_copy >> 1), &e);
        gen_text_event(w->job->text, &e, slip[i].time_and_copy & 1, m.crlf, b);
        if (i + 1 == n && m.no_end)
            b->n -= m.crlf ? 2 : 1;
        if (b->n >= FLUSH_BYTES)
            flush(w);
    }
    flush(w);
    gen_sink_close(w->sink);
}

static void *write_files(void *arg)
{
    struct worker *w = arg;
    struct job *job = w->job;
    uint64_t file, base = job->first[job->run.first_file];

    while ((file = job->run.first_file + job->next++) < job->run.end_file) {
        uint64_t n = job->first[file + 1] - job->first[file];
        struct slip *slip = job->run.slip + (job->first[file] - base);

        if (n == 0)
            continue;
        qsort(slip, n, sizeof *slip, compare_slips);
        write_file(w, file, slip, n);
    }
    return NULL;
}

/* Turn the numbers of lines into each file's first slip; return the number
 * of files with any. */
static uint64_t lay_out(struct job *job, uint64_t n_files)
{
    uint64_t sum = 0, used = 0;

    for (uint64_t i = 0; i < n_files; i++) {
        uint64_t n = job->lines[i];

        job->first[i] = sum;
        job->lines[i] = sum;
        used += n > 0;
        sum += n;
    }
    job->first[n_files] = sum;
    return used;
}

/* Files from first to before end, in runs. */
static void write_portion(
    struct job *job, struct worker *w, uint64_t first, uint64_t end)
{
    struct run *run = &job->run;
    uint64_t threads = job->plan->o->threads;

    for (run->first_file = first; run->first_file < end;
         run->first_file = run->end_file) {
        uint64_t base = job->first[run->first_file];

        run->end_file = run->first_file + 1;
        while (run->end_file < end &&
               job->first[run->end_file + 1] - base <= RUN_LINES)
            run->end_file++;
        if (job->first[run->end_file] == base)
            continue;
        run->slip =
            gen_alloc(job->first[run->end_file] - base, sizeof *run->slip);
        job->next = 0;
        start_and_join(w, threads, keep_slips);
        job->next = 0;
        start_and_join(w, threads, write_files);
        free(run->slip);
    }
}

static void run_command(const char *command, uint64_t portion)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, portion);
    if (setenv("PORTION", text, 1) != 0 || system(command) != 0)
        gen_die("portion %s: the command failed: %s", text, command);
}

static void write_lake(struct job *job)
{
    const struct gen_options *o = job->plan->o;
    uint64_t n_files = gen_plan_n_files(job->plan), used;
    struct worker *w = new_workers(job);

    claim_folder(o->out);
    job->lines = gen_alloc(n_files, sizeof *job->lines);
    job->first = gen_alloc(n_files + 1, sizeof *job->first);
    start_and_join(w, o->threads, count_lines);
    used = lay_out(job, n_files);
    for (uint64_t i = 0; i < o->portions; i++) {
        write_portion(job, w, gen_plan_portion(job->plan, i),
            gen_plan_portion(job->plan, i + 1));
        if (o->each != NULL)
            run_command(o->each, i + 1);
    }
    write_truth(job, w, used);
    free_workers(w, o->threads);
    free(job->lines);
    free(job->first);
}

/* ---- to standard output ---- */

static void *write_batch(void *arg)
{
    struct worker *w = arg;
    const struct gen_plan *plan = w->job->plan;
    const struct gen_options *o = plan->o;

    for (uint64_t user = w->from_user; user < w->to_user; user += o->parts) {
        size_t n = plan_events(w, user);

        for (size_t i = 0; i < n; i++) {
            const struct gen_event *e = &w->truth.event[i];

            gen_text_event(w->job->text, e, false, false, &w->buffer);
            if (e->twice)
                gen_text_event(w->job->text, e, true, false, &w->buffer);
        }
        if (w->with_truth)
            gen_truth_user(&w->truth, plan, w->truth.event, n);
    }
    return NULL;
}

static uint64_t end_of_batch(const struct gen_plan *plan, uint64_t user)
{
    const struct gen_options *o = plan->o;
    uint64_t sum = 0;

    while (user < o->users && sum < BATCH_EVENTS) {
        sum += gen_plan_count(plan, user) + 1;
        user += o->parts;
    }
    return user;
}

static void write_stream(struct job *job)
{
    const struct gen_options *o = job->plan->o;
    struct worker *w = new_workers(job);
    uint64_t user = o->part - 1;

    while (user < o->users) {
        uint64_t n = 0;

        while (n < o->threads && user < o->users) {
            w[n].from_user = user;
            w[n].to_user = user = end_of_batch(job->plan, user);
            n++;
        }
        start_and_join(w, n, write_batch);
        for (uint64_t i = 0; i < n; i++) {
            job->text_bytes += w[i].buffer.n;
            if (fwrite(w[i].buffer.p, 1, w[i].buffer.n, stdout) !=
                w[i].buffer.n)
                gen_die("cannot write to standard output");
            w[i].buffer.n = 0;
        }
    }
    if (fflush(stdout) != 0)
        gen_die("cannot write to standard output");
    write_truth(job, w, 1);
    free_workers(w, o->threads);
}

int main(int argc, char **argv)
{
    struct gen_options o;
    struct gen_plan plan;
    struct gen_text *text;
    struct job job = {.plan = &plan};
    char truth[4096];

    parse_options(argc, argv, &o);
    if (o.truth == NULL && !o.to_stdout) {
        int n = (int)strlen(o.out);

        while (n > 1 && o.out[n - 1] == '/')
            n--;
        snprintf(truth, sizeof truth, "%.*s.truth.json", n, o.out);
        o.truth = truth;
    }
    gen_plan_init(&plan, &o);
    if (o.too_long > gen_plan_count(&plan, 0))
        gen_die("--too-long is more than the first user's %" PRIu64 " events",
            gen_plan_count(&plan, 0));
    job.text = text = gen_text_new(&o);
    if (o.to_stdout)
        write_stream(&job);
    else
        write_lake(&job);
    gen_text_free(text);
    gen_plan_release(&plan);
    return 0;
}
