#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif
#include <zstd.h>

#include "mr/source.h"

/*
 * How fast files can be unpacked at all: as many at a time as there are
 * threads, by the fastest library there is, mapped into memory and unpacked
 * to a buffer that stays in the processor's cache.  Nothing is done with the
 * bytes, but for what the formats' own checksums ask; of plain files, where
 * nothing is to be unpacked, the newlines are counted.  States are read the
 * same way.  Only the list of files is mr's.  scripts/bench.sh holds mr map
 * against this.
 *
 *     bench_unpack [-j N] INPUT...
 *
 * prints one line of JSON.  Exit 1 after any error.
 */

#define OUT_BYTES ((size_t)256 << 10)

struct worker {
    struct work *work;
    pthread_t thread;
    uint64_t stored_bytes, text_bytes, newlines;
    bool failed;
    uint8_t *out;
    ZSTD_DCtx *zstd;
#ifdef HAVE_ISAL
    struct inflate_state gzip;
#else
    z_stream gzip;
#endif
};

struct work {
    struct mr_listing listing;
    pthread_mutex_t lock; /* of next */
    size_t next;          /* the next input nobody has taken */
};

#ifdef HAVE_ISAL

/* One member after the other. */
static bool unpack_gzip(struct worker *w, const uint8_t *p, size_t n)
{
    struct inflate_state *s = &w->gzip;

    while (n > 0) {
        uint32_t most = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;

        isal_inflate_init(s);
        s->crc_flag = ISAL_GZIP;
        s->next_in = (uint8_t *)(uintptr_t)p;
        s->avail_in = most;
        do {
            s->next_out = w->out;
            s->avail_out = (uint32_t)OUT_BYTES;
            if (isal_inflate(s) != ISAL_DECOMP_OK)
                return false;
            w->text_bytes += OUT_BYTES - s->avail_out;
            if (s->avail_in == 0 && n > most) {
                p += most;
                n -= most;
                most = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
                s->avail_in = most;
            } else if (s->avail_in == 0 && s->avail_out > 0 &&
                       s->block_state != ISAL_BLOCK_FINISH) {
                return false;
            }
        } while (s->block_state != ISAL_BLOCK_FINISH);
        n -= most - s->avail_in;
        p += most - s->avail_in;
    }
    return true;
}

#else

static bool unpack_gzip(struct worker *w, const uint8_t *p, size_t n)
{
    z_stream *z = &w->gzip;

    memset(z, 0, sizeof *z);
    if (inflateInit2(z, 15 + 16) != Z_OK)
        return false;
    z->next_in = (uint8_t *)(uintptr_t)p;
    while (n > 0) {
        unsigned most = n < (1u << 30) ? (unsigned)n : 1u << 30;
        int r;

        z->avail_in = most;
        z->next_out = w->out;
        z->avail_out = (unsigned)OUT_BYTES;
        r = inflate(z, Z_NO_FLUSH);
        n -= most - z->avail_in;
        w->text_bytes += OUT_BYTES - z->avail_out;
        if ((r != Z_OK && r != Z_STREAM_END) ||
            (n == 0 && r == Z_OK && z->avail_out > 0))
            break;
        if (r == Z_STREAM_END)
            inflateReset(z);
    }
    return inflateEnd(z) == Z_OK && n == 0;
}

#endif

static bool unpack_zstd(struct worker *w, const uint8_t *p, size_t n)
{
    ZSTD_inBuffer in = {p, n, 0};
    size_t left = 1;

    while (in.pos < n || left > 0) {
        ZSTD_outBuffer out = {w->out, OUT_BYTES, 0};

        left = ZSTD_decompressStream(w->zstd, &out, &in);
        w->text_bytes += out.pos;
        if (ZSTD_isError(left) ||
            (in.pos == n && left > 0 && out.pos < OUT_BYTES))
            return false;
    }
    return true;
}

static bool count_newlines(struct worker *w, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;

    w->text_bytes += n;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        w->newlines++;
        p++;
    }
    return true;
}

/* A state file: zstd frames among other bytes, which are read as they are. */
static bool unpack_state(struct worker *w, const uint8_t *p, size_t n)
{
    while (n > 0) {
        const uint8_t *frame = memmem(p, n, "\x28\xb5\x2f\xfd", 4);
        size_t before = frame == NULL ? n : (size_t)(frame - p), size;

        count_newlines(w, p, before);
        p += before;
        n -= before;
        if (n == 0)
            break;
        size = ZSTD_findFrameCompressedSize(p, n);
        if (ZSTD_isError(size)) {
            size = 4;
            count_newlines(w, p, size);
        } else if (!unpack_zstd(w, p, size)) {
            return false;
        }
        p += size;
        n -= size;
    }
    return true;
}

static bool unpack(struct worker *w, const uint8_t *p, size_t n)
{
    w->stored_bytes += n;
    if (n > 2 && p[0] == 0x1f && p[1] == 0x8b)
        return unpack_gzip(w, p, n);
    if (n > 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
        return unpack_zstd(w, p, n);
    if (n > 4 && memcmp(p, "\x8dMRS", 4) == 0)
        return unpack_state(w, p, n);
    return count_newlines(w, p, n);
}

static bool unpack_file(struct worker *w, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p = NULL;
    bool done = fd >= 0 && fstat(fd, &st) == 0;

    if (done && st.st_size > 0) {
        size_t n = (size_t)st.st_size;

        p = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        done = p != MAP_FAILED;
        if (done) {
            done = unpack(w, p, n);
            munmap(p, n);
        }
    }
    if (fd >= 0)
        close(fd);
    return done;
}

static void *unpack_files(void *context)
{
    struct worker *w = context;
    struct work *work = w->work;

    w->out = malloc(OUT_BYTES);
    w->zstd = ZSTD_createDCtx();
    w->failed = w->out == NULL || w->zstd == NULL;
    while (!w->failed) {
        const char *path = NULL;

        pthread_mutex_lock(&work->lock);
        if (work->next < work->listing.n)
            path = work->listing.inputs[work->next++].path;
        pthread_mutex_unlock(&work->lock);
        if (path == NULL)
            break;
        if (!unpack_file(w, path)) {
            fprintf(stderr, "bench_unpack: cannot unpack '%s'\n", path);
            w->failed = true;
        }
    }
    ZSTD_freeDCtx(w->zstd);
    free(w->out);
    return NULL;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The first worker becomes the sum of all. */
static double run(struct work *work, struct worker *w, unsigned n_threads)
{
    double start = now();

    for (unsigned i = 0; i < n_threads; i++) {
        w[i].work = work;
        if (pthread_create(&w[i].thread, NULL, unpack_files, &w[i]) != 0) {
            fprintf(stderr, "bench_unpack: cannot start a thread\n");
            exit(1);
        }
    }
    for (unsigned i = 0; i < n_threads; i++) {
        pthread_join(w[i].thread, NULL);
        if (i == 0)
            continue;
        w->stored_bytes += w[i].stored_bytes;
        w->text_bytes += w[i].text_bytes;
        w->newlines += w[i].newlines;
        w->failed |= w[i].failed;
    }
    return now() - start;
}

static bool list(struct work *work, char **args, int n, unsigned threads)
{
    struct mr_error err;
    char text[1280];

    if (mr_listing_build(args, (size_t)n, threads, &work->listing, &err) ==
        MR_OK)
        return true;
    mr_error_format(&err, text, sizeof(text));
    fprintf(stderr, "bench_unpack: %s\n", text);
    return false;
}

int main(int argc, char **argv)
{
    struct work work = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct worker *w;
    int n_threads = 1, option, status = 2;
    double seconds;

    while ((option = getopt(argc, argv, "j:")) != -1) {
        if (option != 'j' || (n_threads = atoi(optarg)) < 1 ||
            n_threads > 1024) {
            fprintf(stderr, "usage: bench_unpack [-j N] INPUT...\n");
            return 2;
        }
    }
    w = calloc((size_t)n_threads, sizeof *w);
    if (w != NULL &&
        list(&work, argv + optind, argc - optind, (unsigned)n_threads)) {
        seconds = run(&work, w, (unsigned)n_threads);
        printf("{\"threads\": %d, \"partitions\": %zu, "
               "\"stored_bytes\": %" PRIu64 ", \"text_bytes\": %" PRIu64
               ", \"newlines\": %" PRIu64 ", \"seconds\": %.4f, "
               "\"mb_per_s\": %.1f}\n",
            n_threads, work.listing.n, w->stored_bytes, w->text_bytes,
            w->newlines, seconds, (double)w->text_bytes / 1e6 / seconds);
        status = w->failed;
    }
    mr_listing_release(&work.listing);
    free(w);
    return status;
}
