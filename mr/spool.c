#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spool.h"

#include <errno.h>
#include <stdlib.h>

#define COPY_BYTES 65536

void mr_spool_release(struct mr_spool *s)
{
    mr_buffer_release(&s->text);
    if (s->overflow != NULL)
        (void)fclose(s->overflow);
    s->overflow = NULL;
    s->overflow_bytes = 0;
}

static enum mr_status no_overflow(struct mr_error *err)
{
    int number = errno;
    enum mr_status status = mr_fail_errno(
        err, number, "free some space for temporary files", "temporary file");

    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        status = err->status = MR_LIMIT;
    return status;
}

static enum mr_status overflow(struct mr_spool *s, struct mr_error *err)
{
    if (s->text.n == 0)
        return MR_OK;
    if (s->overflow == NULL)
        s->overflow = tmpfile();
    if (s->overflow == NULL ||
        fwrite(s->text.p, 1, s->text.n, s->overflow) != s->text.n)
        return no_overflow(err);
    s->overflow_bytes += s->text.n;
    s->text.n = 0;
    return MR_OK;
}

uint64_t mr_spool_bytes(const struct mr_spool *s)
{
    return s->overflow_bytes + s->text.n;
}

enum mr_status mr_spool_settle(struct mr_spool *s, struct mr_error *err)
{
    return s->text.n < MR_SPOOL_BYTES ? MR_OK : overflow(s, err);
}

static enum mr_status drain_overflow(struct mr_spool *s, mr_spool_take *take,
    void *context, struct mr_error *err)
{
    static const size_t size = COPY_BYTES;
    uint8_t *piece = malloc(size);
    enum mr_status status = piece == NULL ? mr_fail_nomem(err) : MR_OK;
    size_t n = size;

    if (status == MR_OK && fseek(s->overflow, 0, SEEK_SET) != 0)
        status = no_overflow(err);
    while (status == MR_OK && n == size) {
        n = fread(piece, 1, size, s->overflow);
        if (ferror(s->overflow))
            status = no_overflow(err);
        else if (n > 0)
            status = take(context, (struct mr_span){piece, n}, err);
    }
    free(piece);
    (void)fclose(s->overflow);
    s->overflow = NULL;
    s->overflow_bytes = 0;
    return status;
}

enum mr_status mr_spool_drain(struct mr_spool *s, mr_spool_take *take,
    void *context, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (s->overflow != NULL)
        status = drain_overflow(s, take, context, err);
    if (status == MR_OK && s->text.n > 0)
        status = take(context, (struct mr_span){s->text.p, s->text.n}, err);
    s->text.n = 0;
    return status;
}

enum mr_status mr_spool_add(
    struct mr_spool *s, struct mr_span bytes, struct mr_error *err)
{
    if (bytes.n > 0 && mr_buffer_add(&s->text, bytes.p, bytes.n) != MR_OK)
        return mr_fail_nomem(err);
    return mr_spool_settle(s, err);
}

static enum mr_status take_to_spool(
    void *context, struct mr_span text, struct mr_error *err)
{
    return mr_spool_add(context, text, err);
}

enum mr_status mr_spool_append(
    struct mr_spool *into, struct mr_spool *from, struct mr_error *err)
{
    return mr_spool_drain(from, take_to_spool, into, err);
}
