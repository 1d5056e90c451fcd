#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/found.h"

void mr_found_release(struct mr_found *f)
{
    mr_batch_release(&f->sum);
    mr_aggregate_free(f->staged);
    mr_spool_release(&f->rejects);
    mr_kept_release(&f->kept);
    memset(f, 0, sizeof(*f));
}

static void swap_tuples(struct mr_batch *a, struct mr_batch *b)
{
    struct mr_tuple *tuple = a->tuple;
    size_t n = a->n_tuples, cap = a->cap_tuples;

    a->tuple = b->tuple;
    a->n_tuples = b->n_tuples;
    a->cap_tuples = b->cap_tuples;
    b->tuple = tuple;
    b->n_tuples = n;
    b->cap_tuples = cap;
}

static enum mr_status need_staged(
    struct mr_found *f, const struct mr_plan *plan)
{
    return f->staged != NULL ? MR_OK
                             : mr_aggregate_new(plan->spec.session_gap_ms,
                                   plan->zone, &f->staged);
}

/* Move tuples to the aggregate. */
static enum mr_status stage(struct mr_found *f, struct mr_batch *from,
    struct mr_aggregate_scratch *scratch)
{
    enum mr_status status =
        mr_aggregate_add(f->staged, from->tuple, from->n_tuples, scratch);

    from->n_tuples = 0;
    return status;
}

enum mr_status mr_found_add(struct mr_found *f, const struct mr_batch *batch,
    size_t most, const struct mr_plan *plan, struct mr_batch *over,
    struct mr_error *err)
{
    enum mr_status status = mr_batch_count(&f->sum, batch);

    if (status == MR_OK)
        status = mr_batch_append(&f->sum, batch);
    if (status == MR_OK && f->sum.n_tuples >= most) {
        status = need_staged(f, plan);
        if (status == MR_OK) /* else over would be nobody's */
            swap_tuples(&f->sum, over);
    }
    if (status != MR_OK)
        return mr_aggregate_fail(status, err);
    return plan->keeps ? mr_kept_add(&f->kept, batch, plan, err) : MR_OK;
}

enum mr_status mr_found_stage(struct mr_found *f, struct mr_batch *over,
    struct mr_aggregate_scratch *scratch, struct mr_error *err)
{
    enum mr_status status = stage(f, over, scratch);

    return status != MR_OK ? mr_aggregate_fail(status, err) : MR_OK;
}

enum mr_status mr_found_take(struct mr_found *into, struct mr_found *from,
    const struct mr_plan *plan, struct mr_aggregate_scratch *scratch,
    struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (into->sum.n_tuples == 0)
        swap_tuples(&into->sum, &from->sum);
    else
        status = mr_batch_append(&into->sum, &from->sum);
    from->sum.n_tuples = 0;
    if (status == MR_OK && into->sum.n_tuples >= MR_FOUND_TUPLES) {
        status = need_staged(into, plan);
        if (status == MR_OK)
            status = stage(into, &into->sum, scratch);
    }
    if (status == MR_OK && from->staged != NULL && into->staged != NULL) {
        status = mr_aggregate_merge(into->staged, from->staged, scratch);
        mr_aggregate_free(from->staged);
        from->staged = NULL;
    } else if (status == MR_OK && from->staged != NULL) {
        into->staged = from->staged;
        from->staged = NULL;
    }
    if (status != MR_OK)
        return mr_aggregate_fail(status, err);
    status =
        mr_spool_append(&into->rejects, &from->rejects, plan->temporary, err);
    return status != MR_OK ? status
                           : mr_kept_take(&into->kept, &from->kept, plan, err);
}
