#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spool.h"

#include <stdlib.h>

void mr_spool_release(struct mr_spool *s)
{
    mr_spool_clear(s);
    mr_buffer_release(&s->text);
}

void mr_spool_clear(struct mr_spool *s)
{
    mr_spill_free(s->spill);
    s->spill = NULL;
    s->text.n = 0;
}

static uint64_t spilled(const struct mr_spool *s)
{
    return s->spill != NULL ? mr_spill_bytes(s->spill) : 0;
}

uint64_t mr_spool_bytes(const struct mr_spool *s)
{
    return spilled(s) + s->text.n;
}

/* Move what is in memory to the file, and append more. */
static enum mr_status overflow(struct mr_spool *s, struct mr_span more,
    const char *folder, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (s->spill == NULL)
        status = mr_spill_new(folder, &s->spill, err);
    if (status == MR_OK)
        status = mr_spill_add(s->spill, s->text.p, s->text.n, err);
    if (status != MR_OK)
        return status;
    s->text.n = 0;
    return mr_spill_add(s->spill, more.p, more.n, err);
}

enum mr_status mr_spool_settle(
    struct mr_spool *s, const char *folder, struct mr_error *err)
{
    const struct mr_span none = {NULL, 0};

    return s->text.n < MR_SPOOL_BYTES ? MR_OK : overflow(s, none, folder, err);
}

enum mr_status mr_spool_add(struct mr_spool *s, struct mr_span bytes,
    const char *folder, struct mr_error *err)
{
    if (s->text.n + bytes.n >= MR_SPOOL_BYTES)
        return overflow(s, bytes, folder, err);
    return mr_buffer_add(&s->text, bytes.p, bytes.n) != MR_OK
               ? mr_fail_nomem(err)
               : MR_OK;
}

bool mr_spool_cut(struct mr_spool *s, uint64_t n)
{
    if (n < spilled(s))
        return false;
    s->text.n = (size_t)(n - spilled(s));
    return true;
}

/* The stretches of the file. */
static enum mr_status pass_spilled(const struct mr_spill *spill, uint64_t at,
    uint64_t end, mr_spool_take *take, void *context, struct mr_error *err)
{
    uint8_t *piece = malloc(MR_SPOOL_PIECE);
    enum mr_status status = piece == NULL ? mr_fail_nomem(err) : MR_OK;

    while (at < end && status == MR_OK) {
        size_t n =
            end - at < MR_SPOOL_PIECE ? (size_t)(end - at) : MR_SPOOL_PIECE;

        status = mr_spill_read(spill, at, piece, n, err);
        if (status == MR_OK)
            status = take(context, (struct mr_span){piece, n}, err);
        at += n;
    }
    free(piece);
    return status;
}

enum mr_status mr_spool_pass(const struct mr_spool *s, uint64_t at, uint64_t n,
    mr_spool_take *take, void *context, struct mr_error *err)
{
    const uint64_t border = spilled(s);
    uint64_t end = at + n;
    enum mr_status status = MR_OK;

    if (at < border && n > 0) {
        status = pass_spilled(
            s->spill, at, end < border ? end : border, take, context, err);
        at = border;
    }
    if (status == MR_OK && at < end)
        status = take(context,
            (struct mr_span){
                s->text.p + (size_t)(at - border), (size_t)(end - at)},
            err);
    return status;
}

enum mr_status mr_spool_drain(struct mr_spool *s, mr_spool_take *take,
    void *context, struct mr_error *err)
{
    enum mr_status status =
        mr_spool_pass(s, 0, mr_spool_bytes(s), take, context, err);

    mr_spool_clear(s);
    return status;
}

/* Where bytes go on to. */
struct target {
    struct mr_spool *spool;
    const char *folder;
};

static enum mr_status take_to_spool(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    const struct target *to = context;

    return mr_spool_add(to->spool, bytes, to->folder, err);
}

enum mr_status mr_spool_append(struct mr_spool *into, struct mr_spool *from,
    const char *folder, struct mr_error *err)
{
    struct target to = {into, folder};

    return mr_spool_drain(from, take_to_spool, &to, err);
}
