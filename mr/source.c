#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

/*
 * A file that is cut short while it is mapped has pages without anything
 * behind them, and touching one raises SIGBUS in whatever code happened to
 * read: a hash, an inflater, a JSON scanner.  None of them can be made to
 * return an error from there.  So the handler puts pages of zeros where the
 * file used to be, marks the mapping as cut, and lets the reader go on; what
 * it makes of the zeros is thrown away, because closing the source reports
 * that the file was cut.
 *
 * The handler may look only at memory that needs no lock.  Mappings stand in
 * a fixed table of atomics: a slot is free while start is FREE_SLOT and
 * belongs to one source from its claim to its release.  A source that finds
 * no free slot is read instead of mapped.
 */

#define N_SLOTS 1024
#define FREE_SLOT ((uintptr_t)0)
#define CLAIMED_SLOT ((uintptr_t)1) /* no mapping begins here */

#define PIECE_BYTES ((size_t)256 << 10)

/* How much of a mapping the disk is asked for at once; then the kernel, told
 * that reading is sequential, goes on by itself. */
#define AHEAD_BYTES ((size_t)16 << 20)

_Static_assert(PIECE_BYTES <= MR_SOURCE_SMALL, "a buffer holds a piece");

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2, "the handler must not lock");

static struct {
    atomic_uintptr_t start;
    atomic_uintptr_t end;
    atomic_bool cut;
} slots[N_SLOTS];

static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static struct sigaction previous_action;
static bool installed;
static uintptr_t page_bytes;

struct mr_source {
    int fd;
    bool owns_fd;
    bool regular;     /* a file whose size and times mean something */
    int slot;         /* of the mapping; -1: not mapped from a file */
    struct stat info; /* when it was opened */
    const uint8_t *p; /* the mapped bytes, or the caller's memory */
    size_t n;
    size_t at;       /* next byte of p to give */
    size_t piece;    /* most bytes to give from p at a time */
    size_t let_go;   /* pages of p below this need not stay in memory */
    bool in_place;   /* p is the whole file */
    uint8_t *buffer; /* for what is read: MR_SOURCE_SMALL bytes */
};

/* Buffers of sources that have been closed. */
static struct mr_spares spare_buffers;

/* Put zeros over the faulting page and all after it, if the address is in a
 * mapping of ours. */
static bool cover_fault(uintptr_t at)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        uintptr_t start = atomic_load(&slots[i].start);
        uintptr_t end = atomic_load(&slots[i].end);

        if (start <= CLAIMED_SLOT || at < start || at >= end)
            continue;
        /* The slot may have changed hands between the two loads. */
        if (atomic_load(&slots[i].start) != start)
            continue;
        at &= ~(page_bytes - 1);
        if (mmap((void *)at, end - at, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return false;
        atomic_store(&slots[i].cut, true);
        return true;
    }
    return false;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool fault = info->si_code > 0; /* else somebody sent the signal */

    (void)context;
    if (!fault || !cover_fault((uintptr_t)info->si_addr)) {
        /* Not ours: let it happen again under the former disposition. */
        sigaction(number, &previous_action, NULL);
        if (!fault)
            raise(number);
    }
    errno = saved;
}

static void install_handler(void)
{
    struct sigaction action;
    long page = sysconf(_SC_PAGESIZE);

    if (page <= 0)
        return;
    page_bytes = (uintptr_t)page;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    installed = sigaction(SIGBUS, &action, &previous_action) == 0;
}

static int claim_slot(void)
{
    for (int i = 0; i < N_SLOTS; i++) {
        uintptr_t expected = FREE_SLOT;

        if (atomic_compare_exchange_strong(
                &slots[i].start, &expected, CLAIMED_SLOT))
            return i;
    }
    return -1;
}

/* Map the whole file; leave the source as it is where that cannot be. */
static void map_file(struct mr_source *source)
{
    size_t n = (size_t)source->info.st_size;
    uintptr_t start;
    void *p;
    int slot;

    if ((uintmax_t)source->info.st_size > SIZE_MAX / 2)
        return;
    pthread_once(&install_once, install_handler);
    if (!installed || (slot = claim_slot()) < 0)
        return;
    p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, source->fd, 0);
    if (p == MAP_FAILED) {
        atomic_store(&slots[slot].start, FREE_SLOT);
        return;
    }
#if defined(MADV_SEQUENTIAL) && defined(MADV_WILLNEED)
    (void)madvise(p, n, MADV_SEQUENTIAL);
    (void)madvise(p, n < AHEAD_BYTES ? n : AHEAD_BYTES, MADV_WILLNEED);
#endif
    start = (uintptr_t)p;
    atomic_store(&slots[slot].cut, false);
    atomic_store(
        &slots[slot].end, (start + n + page_bytes - 1) & ~(page_bytes - 1));
    atomic_store(&slots[slot].start, start);
    source->slot = slot;
    source->p = p;
    source->n = n;
    source->piece = PIECE_BYTES;
    source->in_place = true;
}

static bool get_buffer(struct mr_source *source)
{
    if (source->buffer == NULL)
        source->buffer = mr_spares_take(&spare_buffers);
    if (source->buffer == NULL)
        source->buffer = malloc(MR_SOURCE_SMALL);
    return source->buffer != NULL;
}

/* Read the whole of a small file; leave the source as it is where that cannot
 * be, as with a file of /sys, which is shorter than it says. */
static void read_whole(struct mr_source *source)
{
    size_t n = (size_t)source->info.st_size, at = 0;

    if (!get_buffer(source))
        return;
    while (at < n) {
        ssize_t got = pread(source->fd, source->buffer + at, n - at, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        at += (size_t)got;
    }
    source->p = source->buffer;
    source->n = n;
    source->piece = PIECE_BYTES;
    source->in_place = true;
}

static struct mr_source *source_new(void)
{
    struct mr_source *source = calloc(1, sizeof *source);

    if (source != NULL) {
        source->fd = -1;
        source->slot = -1;
    }
    return source;
}

/* Get hold of the whole of a file, if it is one. */
static void begin_file(struct mr_source *source)
{
    /* Size 0 may be a file of /proc, whose bytes come only by reading; and
     * standard input may stand in the middle of a file. */
    if (!source->regular || source->info.st_size <= 0 ||
        (!source->owns_fd && lseek(source->fd, 0, SEEK_CUR) != 0))
        return;
    if ((uintmax_t)source->info.st_size <= MR_SOURCE_SMALL)
        read_whole(source);
    else
        map_file(source);
}

enum mr_status mr_source_open(
    const char *path, struct mr_source **source_out, struct mr_error *err)
{
    struct mr_source *source = source_new();
    int number;

    if (source == NULL)
        return mr_fail_nomem(err);
    if (strcmp(path, "-") == 0) {
        source->fd = STDIN_FILENO;
    } else {
        do
            source->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        while (source->fd < 0 && errno == EINTR);
        source->owns_fd = true;
    }
    if (source->fd < 0 || fstat(source->fd, &source->info) != 0)
        goto fail;
    if (S_ISDIR(source->info.st_mode)) {
        errno = EISDIR;
        goto fail;
    }
    source->regular = S_ISREG(source->info.st_mode);
    begin_file(source);
    *source_out = source;
    return MR_OK;
fail:
    number = errno;
    (void)mr_source_close(source, NULL);
    return mr_fail_errno(err, number, mr_open_advice(number), NULL);
}

enum mr_status mr_source_open_memory(const void *p, size_t n, size_t piece,
    struct mr_source **source_out, struct mr_error *err)
{
    struct mr_source *source = source_new();

    if (source == NULL)
        return mr_fail_nomem(err);
    source->p = n > 0 ? p : NULL;
    source->n = n;
    source->piece = piece > 0 ? piece : PIECE_BYTES;
    source->in_place = piece == 0;
    *source_out = source;
    return MR_OK;
}

struct mr_span mr_source_whole(const struct mr_source *source)
{
    struct mr_span none = {NULL, 0};
    struct mr_span all = {source->p, source->n};

    return source->in_place ? all : none;
}

enum mr_status mr_source_load(
    const char *path, size_t most, struct mr_buffer *text, struct mr_error *err)
{
    struct mr_source *source;
    struct mr_span span;
    enum mr_status status = mr_source_open(path, &source, err), closed;
    bool too_long;

    if (status != MR_OK)
        return status;
    /* Of a file that says so nothing needs to be read. */
    too_long = source->regular && (uintmax_t)source->info.st_size > most;
    do {
        status = mr_source_read(source, &span, err);
        if (status == MR_OK && (too_long || span.n > most - text->n))
            status = mr_fail(err, MR_LIMIT, MR_NOWHERE, "is it the right file?",
                "it has more than %zu bytes", most);
        if (status == MR_OK && mr_buffer_add(text, span.p, span.n) != MR_OK)
            status = mr_fail_nomem(err);
    } while (status == MR_OK && span.n > 0);
    closed = mr_source_close(source, status == MR_OK ? err : NULL);
    return status != MR_OK ? status : closed;
}

/*
 * Pages of a mapping count as this process's memory until they are given back.
 * Whoever still looks at some that lie behind (a helper that is late) gets
 * them from the file again.
 */
#define KEEP_BYTES ((size_t)16 << 20)

void mr_source_let_go(struct mr_source *source, size_t at)
{
#ifdef MADV_DONTNEED
    while (source->slot >= 0 && at >= source->let_go + 2 * KEEP_BYTES) {
        (void)madvise((void *)(uintptr_t)(source->p + source->let_go),
            KEEP_BYTES, MADV_DONTNEED);
        source->let_go += KEEP_BYTES;
    }
#else
    (void)source;
    (void)at;
#endif
}

enum mr_status mr_source_read(
    struct mr_source *source, struct mr_span *span_out, struct mr_error *err)
{
    ssize_t got;

    if (source->fd < 0 || source->in_place) {
        span_out->n = source->n - source->at;
        if (span_out->n > source->piece)
            span_out->n = source->piece;
        span_out->p = span_out->n > 0 ? source->p + source->at : NULL;
        source->at += span_out->n;
        mr_source_let_go(source, source->at);
        return MR_OK;
    }
    if (!get_buffer(source))
        return mr_fail_nomem(err);
    do
        got = read(source->fd, source->buffer, PIECE_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return mr_fail_errno(err, errno, "check the disk and rerun", NULL);
    span_out->p = source->buffer;
    span_out->n = (size_t)got;
    return MR_OK;
}

/* Whether the file is still the one that was opened. */
static enum mr_status check_unchanged(
    const struct mr_source *source, bool cut, struct mr_error *err)
{
    const struct stat *was = &source->info;
    struct stat now;

    if (!source->regular)
        return MR_OK;
    if (fstat(source->fd, &now) != 0)
        return mr_fail_errno(err, errno, "rerun", NULL);
    if (cut || now.st_size < was->st_size)
        return mr_fail(err, MR_IO, MR_NOWHERE,
            "rerun when nothing writes to it any more",
            "cut short while it was being read");
    /* The times of an empty file of /proc tell nothing. */
    if (now.st_size != was->st_size ||
        (was->st_size > 0 && (now.st_mtim.tv_sec != was->st_mtim.tv_sec ||
                                 now.st_mtim.tv_nsec != was->st_mtim.tv_nsec)))
        return mr_fail(err, MR_IO, MR_NOWHERE,
            "rerun when nothing writes to it any more",
            "changed while it was being read");
    return MR_OK;
}

void mr_source_release_spares(void)
{
    mr_spares_release(&spare_buffers, free);
}

enum mr_status mr_source_close(struct mr_source *source, struct mr_error *err)
{
    enum mr_status status = MR_OK;
    bool cut = false;

    if (source == NULL)
        return MR_OK;
    if (source->slot >= 0) {
        cut = atomic_load(&slots[source->slot].cut);
        /* Before the pages go, so that the handler never covers memory that
         * has got another owner. */
        atomic_store(&slots[source->slot].start, FREE_SLOT);
        munmap((void *)(uintptr_t)source->p, source->n);
    }
    if (source->fd >= 0)
        status = check_unchanged(source, cut, err);
    if (source->owns_fd && source->fd >= 0)
        close(source->fd);
    free(mr_spares_give(&spare_buffers, source->buffer));
    free(source);
    return status;
}

/* Add all of a source to a digest. */
static enum mr_status digest_all(struct mr_source *source,
    struct mr_digester *digester, const atomic_int *stop, struct mr_error *err)
{
    struct mr_span span = {.n = 1};
    uint64_t at = 0;
    enum mr_status status = MR_OK;

    while (status == MR_OK && span.n > 0) {
        if (stop != NULL && *stop != 0)
            return mr_fail(err, MR_STOPPED, MR_NOWHERE, NULL, "stopped");
        status = mr_source_read(source, &span, err);
        if (status != MR_OK || span.n == 0)
            break;
        mr_digester_add(digester, span.p, span.n);
        at += span.n;
        mr_source_let_go(source, at);
    }
    return status;
}

enum mr_status mr_source_digest(const char *path, const atomic_int *stop,
    struct mr_digest *digest_out, struct mr_error *err)
{
    struct mr_digester *digester = mr_digester_new();
    struct mr_source *source;
    enum mr_status status, closed;

    if (digester == NULL)
        return mr_fail_nomem(err);
    status = mr_source_open(path, &source, err);
    if (status == MR_OK) {
        status = digest_all(source, digester, stop, err);
        *digest_out = mr_digester_value(digester);
        closed = mr_source_close(source, status == MR_OK ? err : NULL);
        status = status == MR_OK ? closed : status;
    }
    mr_digester_free(digester);
    return status;
}
