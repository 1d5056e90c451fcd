/*
 * A library to preload (LD_PRELOAD) that counts a program's allocations, lets
 * one fail, or all from one on, and tells what is still held at the end.
 *
 *     MR_MEMORY_LOG   file that gets "failed WHERE" of the first that fails,
 *                     and at the end "calls N" and, for each place that holds
 *                     something, "held N BYTES WHERE"; WHERE is the file of the
 *                     caller's code, '+', and the offset in it
 *     MR_MEMORY_AT    number of the allocation that fails, from 1 on
 *     MR_MEMORY_ON    set: so do all after it
 *
 * What the loader allocates before the program begins does not count.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own, so that nothing has to be looked up first. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);
void *memalign(size_t align, size_t n);

#define SLOTS                                                                  \
    (1u << 16) /* a power of two, far above what a small run holds             \
                */
#define PLACES 256

struct block {
    uintptr_t p; /* 0: free; 1: was used */
    size_t n;
    const void *caller;
};

static struct block blocks[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ulong calls;
static unsigned long fail_at;
static bool counting, and_on;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("MR_MEMORY_AT");

    const char *log = getenv("MR_MEMORY_LOG");

    if (log != NULL)
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    and_on = getenv("MR_MEMORY_ON") != NULL;
    fail_at = at == NULL ? 0 : strtoul(at, NULL, 10);
    counting = true;
}

/* ---- the log ---- */

/* The first that is listed is the program itself, whose name is a word of
 * its command line, which it may have changed. */
static int find_program(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    *(uintptr_t *)base = (uintptr_t)info->dlpi_addr;
    return 1;
}

static void put_place(const char *what, const void *caller)
{
    char line[256];
    int n;
    uintptr_t program = 0;
    Dl_info info;
    const char *name, *slash;

    if (dladdr(caller, &info) == 0 || info.dli_fname == NULL)
        return;
    (void)dl_iterate_phdr(find_program, &program);
    slash = strrchr(info.dli_fname, '/');
    name = slash == NULL ? info.dli_fname : slash + 1;
    n = snprintf(line, sizeof(line), "%s %s+0x%lx\n", what,
        (uintptr_t)info.dli_fbase == program ? "mr" : name,
        (unsigned long)((uintptr_t)caller - (uintptr_t)info.dli_fbase));
    (void)!write(log_fd, line, (size_t)n);
}

/* Whether this one is to fail. */
static bool fails(const void *caller)
{
    unsigned long n;

    if (!counting)
        return false;
    n = atomic_fetch_add(&calls, 1) + 1;
    if (fail_at == 0 || n < fail_at || (n > fail_at && !and_on))
        return false;
    if (n == fail_at)
        put_place("failed", caller);
    errno = ENOMEM;
    return true;
}

static struct block *slot_of(uintptr_t p)
{
    size_t i = (size_t)((p >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 40);

    return &blocks[i & (SLOTS - 1)];
}

static struct block *after(struct block *b)
{
    return b + 1 == blocks + SLOTS ? blocks : b + 1;
}

static void *keep(void *p, size_t n, const void *caller)
{
    struct block *b = slot_of((uintptr_t)p);

    if (p == NULL)
        return NULL;
    pthread_mutex_lock(&lock);
    while (b->p > 1)
        b = after(b);
    *b = (struct block){(uintptr_t)p, n, caller};
    pthread_mutex_unlock(&lock);
    return p;
}

static void forget(void *p)
{
    struct block *b = slot_of((uintptr_t)p);

    pthread_mutex_lock(&lock);
    while (b->p != 0 && b->p != (uintptr_t)p)
        b = after(b);
    if (b->p != 0)
        b->p = 1;
    pthread_mutex_unlock(&lock);
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n)
{
    return fails(CALLER) ? NULL : keep(__libc_malloc(n), n, CALLER);
}

void *calloc(size_t n, size_t size)
{
    return fails(CALLER) ? NULL
                         : keep(__libc_calloc(n, size), n * size, CALLER);
}

void *realloc(void *p, size_t n)
{
    void *q;

    if (fails(CALLER))
        return NULL;
    if (p != NULL)
        forget(p);
    q = __libc_realloc(p, n);
    if (q == NULL && n > 0)
        abort(); /* the real end of memory is not what is tested */
    return keep(q, n, CALLER);
}

void *memalign(size_t align, size_t n)
{
    return fails(CALLER) ? NULL : keep(__libc_memalign(align, n), n, CALLER);
}

void *aligned_alloc(size_t align, size_t n)
{
    return fails(CALLER) ? NULL : keep(__libc_memalign(align, n), n, CALLER);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    if (fails(CALLER))
        return ENOMEM;
    *out = keep(__libc_memalign(align, n), n, CALLER);
    return *out == NULL ? ENOMEM : 0;
}

/* These two so that the caller is known. */
static char *copy_of(const char *text, size_t n, const void *caller)
{
    char *p = fails(caller) ? NULL : keep(__libc_malloc(n + 1), n + 1, caller);

    if (p == NULL)
        return NULL;
    memcpy(p, text, n);
    p[n] = '\0';
    return p;
}

char *strdup(const char *text)
{
    return copy_of(text, strlen(text), CALLER);
}

char *strndup(const char *text, size_t n)
{
    return copy_of(text, strnlen(text, n), CALLER);
}

void free(void *p)
{
    if (p == NULL)
        return;
    forget(p);
    __libc_free(p);
}

/* ---- the report ---- */

__attribute__((destructor)) static void report(void)
{
    static struct {
        const void *caller;
        unsigned long n, bytes;
    } place[PLACES];
    char line[64];
    size_t n_places = 0, k;

    counting = false;
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].p <= 1)
            continue;
        for (k = 0; k < n_places && place[k].caller != blocks[i].caller; k++)
            continue;
        if (k == PLACES)
            continue;
        n_places = k == n_places ? k + 1 : n_places;
        place[k].caller = blocks[i].caller;
        place[k].n++;
        place[k].bytes += blocks[i].n;
    }
    (void)!write(log_fd, line,
        (size_t)snprintf(
            line, sizeof(line), "calls %lu\n", atomic_load(&calls)));
    for (k = 0; k < n_places; k++) {
        snprintf(
            line, sizeof(line), "held %lu %lu", place[k].n, place[k].bytes);
        put_place(line, place[k].caller);
    }
}
