#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/console.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/command.h"

/* A signal handler may touch it, for it is free of locks (C17, 7.14.1.1). */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "always");
static atomic_int caught_signal;

static void on_signal(int number)
{
    if (caught_signal != 0) {
        signal(number, SIG_DFL);
        raise(number);
    }
    caught_signal = number;
}

void console_catch_signals(struct console *c)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action, before;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        /* What the parent had ignored (nohup) stays ignored. */
        if (sigaction(numbers[i], NULL, &before) == 0 &&
            before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    /* What these two tell of, the failing write tells as well. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
    c->observer.stop = &caught_signal;
}

int console_signal(void)
{
    return caught_signal;
}

const char *console_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

void console_bytes(char out[CONSOLE_BYTES], uint64_t bytes)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t i = 0;

    /* 999.95 would be written 1000.0. */
    while (value >= 999.95 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        value /= 1000;
        i++;
    }
    snprintf(
        out, CONSOLE_BYTES, i == 0 ? "%.0f %s" : "%.1f %s", value, unit[i]);
}

static unsigned columns_of(int fd)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static void clear_line(struct console *c)
{
    if (c->drawn)
        fputs("\r\033[K", stderr);
    c->drawn = false;
}

static void say_line(
    struct console *c, const char *prefix, const char *format, va_list args)
{
    char line[1280];

    vsnprintf(line, sizeof(line), format, args);
    mr_mask(line);
    clear_line(c);
    fprintf(stderr, "%s%s\n", prefix, line);
}

void console_error(struct console *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say_line(c, "mr: ", format, args);
    va_end(args);
}

void console_say(struct console *c, const char *format, ...)
{
    va_list args;

    if (c->quiet)
        return;
    va_start(args, format);
    say_line(c, "", format, args);
    va_end(args);
}

static void on_note(void *context, const char *sentence)
{
    console_say(context, "mr: note: %s", sentence);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) +
           (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* Seconds to go at the mean speed so far; empty while nobody can know. */
static void format_left(
    char *out, size_t size, const struct mr_progress *p, double seconds)
{
    double left;

    out[0] = '\0';
    if (p->bytes_done == 0 || p->bytes < p->bytes_done || seconds < 1)
        return;
    left = seconds * (double)(p->bytes - p->bytes_done) / (double)p->bytes_done;
    if (left < 100)
        snprintf(out, size, ", %.0f s left", left);
    else if (left < 6000)
        snprintf(out, size, ", %.0f min left", left / 60);
    else
        snprintf(out, size, ", %.1f h left", left / 3600);
}

static void on_progress(void *context, const struct mr_progress *p)
{
    struct console *c = context;
    double seconds = seconds_since(&c->start);
    char line[160], done[CONSOLE_BYTES], all[CONSOLE_BYTES], left[32];
    unsigned width = columns_of(STDERR_FILENO);
    int n;

    console_bytes(done, p->bytes_done);
    console_bytes(all, p->bytes);
    format_left(left, sizeof(left), p, seconds);
    /* How much a pipe will give, nobody knows. */
    n = snprintf(line, sizeof(line),
        "%" PRIu64 " of %" PRIu64 " partition%s, %s%s%s, %.0f MB/s%s",
        p->partitions_done, p->partitions, console_plural(p->partitions), done,
        p->bytes < p->bytes_done ? "" : " of ",
        p->bytes < p->bytes_done ? "" : all,
        seconds > 0 ? (double)p->bytes_done / 1e6 / seconds : 0.0, left);
    /* A line that wraps could not be taken back. */
    if (width > 0 && n >= (int)width)
        line[width - 1] = '\0';
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    c->drawn = true;
}

/* All of the bytes, or the errno of the write that failed. */
static int write_out(void *context, const void *bytes, size_t n)
{
    struct console *c = context;
    const char *p = bytes;

    if (c->out_errno == 0)
        clear_line(c);
    while (n > 0 && c->out_errno == 0) {
        ssize_t put = write(STDOUT_FILENO, p, n);

        if (put >= 0) {
            p += put;
            n -= (size_t)put;
        } else if (errno != EINTR) {
            c->out_errno = errno;
        }
    }
    return c->out_errno;
}

void console_init(struct console *c, bool quiet)
{
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    bool smart = term != NULL && strcmp(term, "dumb") != 0;

    memset(c, 0, sizeof(*c));
    c->quiet = quiet;
    c->live = !quiet && smart && isatty(STDERR_FILENO);
    if (isatty(STDOUT_FILENO)) {
        c->colour = smart && (no_colour == NULL || no_colour[0] == '\0');
        c->width = columns_of(STDOUT_FILENO);
    }
    clock_gettime(CLOCK_MONOTONIC, &c->start);
    c->observer.progress = c->live ? on_progress : NULL;
    c->observer.note = on_note;
    c->observer.context = c;
    c->sink.write = write_out;
    c->sink.context = c;
}

/* Some causes say themselves what to do.  Else a file whose bytes are bad can
 * be fetched again; what could not even be opened must be made readable. */
static const char *advice_for(const struct mr_failed *failed)
{
    if (failed->advice != NULL)
        return failed->advice;
    if (strstr(failed->cause, "; ") != NULL)
        return NULL;
    return failed->offset != MR_NOWHERE ? "fetch it again and rerun"
                                        : "see that it can be read and rerun";
}

bool console_partial(
    struct console *c, const struct mr_result *result, bool list)
{
    const struct mr_totals *t = &result->totals;
    uint64_t n = t->failures, unread = n - t->pending - t->missing - t->changed;
    char text[1280];

    for (size_t i = 0; list && i < result->n_failed; i++) {
        const struct mr_failed *failed = &result->failed[i];
        struct mr_error err;

        mr_fail(&err, MR_IO, failed->offset, advice_for(failed), "%s",
            failed->cause);
        mr_error_subject(&err, failed->action, failed->name);
        mr_error_format(&err, text, sizeof(text));
        console_error(c, "%s", text);
    }
    if (list && n > result->n_failed)
        console_error(c, "and %" PRIu64 " more that %s", n - result->n_failed,
            unread == n ? "cannot be read" : "are not covered");
    if (unread > 0)
        console_error(c,
            "PARTIAL: %" PRIu64 " partition%s could not be read and add%s "
            "nothing to any figure",
            unread, console_plural(unread), unread == 1 ? "s" : "");
    if (t->pending > 0)
        console_error(c,
            "PARTIAL: %" PRIu64 " partition%s not been read yet and add%s "
            "nothing to any figure",
            t->pending, t->pending == 1 ? " has" : "s have",
            t->pending == 1 ? "s" : "");
    if (t->missing > 0)
        console_error(c,
            "PARTIAL: %" PRIu64 " partition%s of the manifest %s in no state",
            t->missing, console_plural(t->missing),
            t->missing == 1 ? "is" : "are");
    if (t->changed > 0)
        console_error(c,
            "PARTIAL: %" PRIu64 " partition%s not as large as in the manifest",
            t->changed, t->changed == 1 ? " is" : "s are");
    return n > 0;
}

void console_print(struct console *c, const char *text)
{
    write_out(c, text, strlen(text));
}

int console_end(struct console *c, int status)
{
    clear_line(c);
    if (close(STDOUT_FILENO) != 0 && errno != EBADF && c->out_errno == 0)
        c->out_errno = errno;
    if (c->out_errno == 0)
        return status;
    if (c->out_errno == EPIPE)
        return EXIT_SIGNAL + SIGPIPE;
    console_error(c, "cannot write standard output: %s; %s and rerun",
        strerror(c->out_errno),
        c->out_errno == EBADF
            ? "it is closed: send it to a file, a pipe or /dev/null,"
            : "see that there is room, and that the disk or share is there,");
    return EXIT_TRY_AGAIN;
}
