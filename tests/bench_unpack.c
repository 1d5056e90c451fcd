#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mr/source.h"
#include "mr/stream.h"

/*
 * How fast files can be unpacked at all: with mr's own filters, as many
 * files at a time as there are threads, and nothing done with the bytes.
 * scripts/bench.sh holds mr map against this.
 *
 *     bench_unpack [-j N] INPUT...
 *
 * prints one line of JSON.  Exit 1 after any error.
 */

/* A read goes into memory that stays in the processor's cache. */
#define READ_BYTES (256u << 10)

struct work {
    struct mr_listing listing;
    pthread_mutex_t lock; /* of all that follows */
    size_t next;          /* the next input nobody has taken */
    uint64_t stored_bytes, text_bytes;
    bool failed;
};

static void complain(const struct mr_error *err)
{
    char text[1280];

    mr_error_format(err, text, sizeof(text));
    fprintf(stderr, "bench_unpack: %s\n", text);
}

static enum mr_status unpack_stream(struct mr_stream *stream, uint8_t *buffer,
    uint64_t *bytes, struct mr_error *err)
{
    size_t n;

    do {
        enum mr_status status =
            mr_stream_read(stream, buffer, READ_BYTES, &n, err);

        if (status != MR_OK)
            return status;
        *bytes += n;
    } while (n > 0);
    return MR_OK;
}

static enum mr_status unpack_input(const struct mr_input *input,
    uint8_t *buffer, uint64_t *bytes, struct mr_error *err)
{
    struct mr_container *container;
    struct mr_stream *stream;
    enum mr_status status = mr_container_open(input, &container, err);

    if (status != MR_OK)
        return status;
    for (;;) {
        status = mr_container_next(container, &stream, err);
        if (status != MR_OK || stream == NULL)
            break;
        status = unpack_stream(stream, buffer, bytes, err);
        mr_stream_close(stream);
        if (status != MR_OK)
            break;
    }
    if (status != MR_OK) {
        mr_container_close(container, NULL);
        return status;
    }
    return mr_container_close(container, err);
}

static void *unpack_inputs(void *context)
{
    struct work *work = context;
    uint8_t *buffer = malloc(READ_BYTES);
    struct mr_error err;
    enum mr_status status = MR_OK;

    if (buffer == NULL)
        status = mr_fail_nomem(&err);
    while (status == MR_OK) {
        const struct mr_input *input = NULL;
        uint64_t bytes = 0;

        pthread_mutex_lock(&work->lock);
        if (work->next < work->listing.n)
            input = &work->listing.inputs[work->next++];
        pthread_mutex_unlock(&work->lock);
        if (input == NULL)
            break;
        status = unpack_input(input, buffer, &bytes, &err);
        if (status != MR_OK)
            mr_error_subject(&err, "cannot read", input->name);
        pthread_mutex_lock(&work->lock);
        work->stored_bytes += input->size;
        work->text_bytes += bytes;
        pthread_mutex_unlock(&work->lock);
    }
    if (status != MR_OK) {
        complain(&err);
        pthread_mutex_lock(&work->lock);
        work->failed = true;
        pthread_mutex_unlock(&work->lock);
    }
    free(buffer);
    return NULL;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double run(struct work *work, unsigned n_threads)
{
    pthread_t *thread = calloc(n_threads, sizeof(*thread));
    double start = now();
    unsigned n = 0;

    while (thread != NULL && n < n_threads &&
           pthread_create(&thread[n], NULL, unpack_inputs, work) == 0)
        n++;
    if (n < n_threads) {
        fprintf(stderr, "bench_unpack: cannot start %u threads\n", n_threads);
        work->failed = true;
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    free(thread);
    return now() - start;
}

int main(int argc, char **argv)
{
    struct work work = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct mr_error err;
    int n_threads = 1;
    double seconds;
    int option;

    while ((option = getopt(argc, argv, "j:")) != -1) {
        if (option != 'j' || (n_threads = atoi(optarg)) < 1 ||
            n_threads > 1024) {
            fprintf(stderr, "usage: bench_unpack [-j N] INPUT...\n");
            return 2;
        }
    }
    if (mr_listing_build(argv + optind, (size_t)(argc - optind), &work.listing,
            &err) != MR_OK) {
        complain(&err);
        mr_listing_release(&work.listing);
        return 2;
    }
    seconds = run(&work, (unsigned)n_threads);
    printf("{\"threads\": %d, \"partitions\": %zu, \"stored_bytes\": %" PRIu64
           ", \"text_bytes\": %" PRIu64 ", \"seconds\": %.4f, "
           "\"mb_per_s\": %.1f}\n",
        n_threads, work.listing.n, work.stored_bytes, work.text_bytes, seconds,
        (double)work.text_bytes / 1e6 / seconds);
    mr_listing_release(&work.listing);
    return work.failed ? 1 : 0;
}
