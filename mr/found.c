#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/found.h"

void mr_found_release(struct mr_found *f)
{
    mr_batch_release(&f->sum);
    mr_aggregate_free(f->staged);
    mr_spool_release(&f->rejects);
    memset(f, 0, sizeof(*f));
}

/* Move waiting tuples to the aggregate once there are many. */
static enum mr_status stage(struct mr_found *f, uint64_t session_gap_ms,
    struct mr_aggregate_scratch *scratch)
{
    enum mr_status status = MR_OK;

    if (f->sum.n_tuples < MR_FOUND_TUPLES)
        return MR_OK;
    if (f->staged == NULL)
        status = mr_aggregate_new(session_gap_ms, &f->staged);
    if (status == MR_OK)
        status =
            mr_aggregate_add(f->staged, f->sum.tuple, f->sum.n_tuples, scratch);
    f->sum.n_tuples = 0;
    return status;
}

enum mr_status mr_found_add(struct mr_found *f, const struct mr_batch *batch,
    uint64_t session_gap_ms, struct mr_aggregate_scratch *scratch,
    struct mr_error *err)
{
    enum mr_status status = mr_batch_count(&f->sum, batch);

    if (status == MR_OK)
        status = mr_batch_append(&f->sum, batch);
    if (status == MR_OK)
        status = stage(f, session_gap_ms, scratch);
    return status != MR_OK ? mr_aggregate_fail(status, err) : MR_OK;
}

enum mr_status mr_found_take(struct mr_found *into, struct mr_found *from,
    uint64_t session_gap_ms, struct mr_aggregate_scratch *scratch,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (into->sum.n_tuples == 0) {
        struct mr_tuple *tuple = into->sum.tuple;
        size_t cap = into->sum.cap_tuples;

        into->sum.tuple = from->sum.tuple;
        into->sum.n_tuples = from->sum.n_tuples;
        into->sum.cap_tuples = from->sum.cap_tuples;
        from->sum.tuple = tuple;
        from->sum.cap_tuples = cap;
    } else {
        status = mr_batch_append(&into->sum, &from->sum);
    }
    from->sum.n_tuples = 0;
    if (status == MR_OK)
        status = stage(into, session_gap_ms, scratch);
    if (status == MR_OK && from->staged != NULL && into->staged != NULL) {
        status = mr_aggregate_merge(into->staged, from->staged);
        mr_aggregate_free(from->staged);
        from->staged = NULL;
    } else if (status == MR_OK && from->staged != NULL) {
        into->staged = from->staged;
        from->staged = NULL;
    }
    if (status != MR_OK)
        return mr_aggregate_fail(status, err);
    return mr_spool_append(&into->rejects, &from->rejects, err);
}
