#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/work_private.h"

#include <stdlib.h>

/*
 * What a file has, from the end of its partitions until it is shared.  Nothing
 * of it counts before the file is closed, unchanged.
 */

/* Room for tuples is kept for the next file, as each file's pages would be new
 * ones else.  But the largest come first: room for more than this many times
 * those of the file that was read, and more than some, is given back. */
#define KEPT_TIMES 4
#define KEPT_TUPLES_MIN ((size_t)1 << 13)

/* ---- from partition to coverage ---- */

/* The number of a tally's cell. */
static enum mr_status cell_number(
    struct mr_worker *t, uint64_t key1, uint32_t *number_out)
{
    struct mr_known_cell *known =
        &t->known[(key1 ^ key1 >> 32) % MR_WORK_KNOWN_CELLS];
    enum mr_status status;

    if (known->key1 != key1) {
        pthread_mutex_lock(&t->work->lock);
        status = mr_cellbook_number(&t->work->cells,
            (int32_t)((key1 - 1) >> 32), (uint32_t)(key1 - 1), &known->number);
        pthread_mutex_unlock(&t->work->lock);
        known->key1 = status == MR_OK ? key1 : 0;
        if (status != MR_OK)
            return status;
    }
    *number_out = known->number;
    return MR_OK;
}

/* A group of the partition at hand, or another figure. */
static enum mr_status note_figure(struct mr_worker *t, uint32_t text)
{
    if (!mr_types_is_new_group(t->work->types, text))
        return MR_OK;
    return mr_buffer_add(&t->new_groups, &text, sizeof(text));
}

static enum mr_status fill_cells(
    struct mr_worker *t, const struct mr_batch *sum, struct mr_partition *p)
{
    enum mr_status status = MR_OK;

    if (sum->n_cells > t->cap_cells) {
        p->cell = realloc(t->cell, 2 * sum->n_cells * sizeof(*p->cell));
        if (p->cell == NULL)
            return MR_NOMEM;
        t->cell = p->cell;
        t->cap_cells = 2 * sum->n_cells;
    }
    p->cell = t->cell;
    for (size_t i = 0; sum->cell != NULL && i <= sum->cell_mask; i++) {
        const struct mr_cell_tally *c = &sum->cell[i];
        struct mr_cell_count *count = &p->cell[p->n_cells + p->n_figures];
        bool is_figure = (c->key1 - 1) >> 32 == (uint64_t)MR_DAY_END;

        /* A cell can be there without events if memory ran out. */
        if (c->key1 == 0 || c->events == 0 || status != MR_OK)
            continue;
        status = cell_number(t, c->key1, &count->cell);
        count->events = c->events;
        count->without_user = c->without_user;
        p->n_cells += !is_figure;
        p->n_figures += is_figure;
        if (status == MR_OK && is_figure)
            status = note_figure(t, (uint32_t)(c->key1 - 1));
    }
    return status;
}

static void fill_reasons(const struct mr_batch *sum, struct mr_partition *p)
{
    for (uint32_t r = 0; r < MR_REASON_COUNT; r++)
        if (sum->reason[r] > 0)
            p->reason[p->n_reasons++] =
                (struct mr_reason_count){r, sum->reason[r]};
}

static enum mr_status fill_partition(struct mr_worker *t,
    const struct mr_job *job, const struct mr_stream *stream,
    struct mr_partition *p_out)
{
    const struct mr_batch *sum = &job->found.sum;
    struct mr_reason_count reason[MR_REASON_COUNT];
    char *name = (char *)(uintptr_t)job->name;
    struct mr_partition p = {.digest = mr_stream_digest(stream),
        .name = &name,
        .n_names = 1,
        .stored_bytes = mr_stream_stored_bytes(stream),
        .text_bytes = sum->text_bytes,
        .lines = sum->lines,
        .blank = sum->blank,
        .other_day = sum->other_day,
        .other_type = sum->other_type,
        .reason = reason};

    fill_reasons(sum, &p);
    if (fill_cells(t, sum, &p) != MR_OK)
        return MR_NOMEM;
    return mr_partition_copy(&p, p_out);
}

/* Note how much of the group's rejects will be a partition's. */
static enum mr_status add_share(struct mr_group *group,
    const struct mr_digest *digest, const struct mr_spool *rejects)
{
    uint64_t bytes = mr_spool_bytes(rejects);

    if (bytes == 0)
        return MR_OK;
    if (group->n_shares == group->cap_shares) {
        size_t cap = 2 * group->cap_shares + 8;
        struct mr_reject_share *share =
            realloc(group->share, cap * sizeof(*share));

        if (share == NULL)
            return MR_NOMEM;
        group->share = share;
        group->cap_shares = cap;
    }
    group->share[group->n_shares++] = (struct mr_reject_share){*digest, bytes};
    return MR_OK;
}

/* Note how many of the events that are kept are a partition's. */
static enum mr_status add_kept(struct mr_group *group,
    const struct mr_digest *digest, const struct mr_spool *events)
{
    uint64_t bytes = mr_spool_bytes(events);

    if (bytes == 0)
        return MR_OK;
    if (group->n_kept == group->cap_kept) {
        size_t cap = 2 * group->cap_kept + 8;
        struct mr_kept_share *kept = realloc(group->kept, cap * sizeof(*kept));

        if (kept == NULL)
            return MR_NOMEM;
        group->kept = kept;
        group->cap_kept = cap;
    }
    group->kept[group->n_kept++] = (struct mr_kept_share){*digest, bytes};
    return MR_OK;
}

enum mr_status mr_group_add(struct mr_worker *t, struct mr_group *group,
    struct mr_job *job, const struct mr_stream *stream, struct mr_error *err)
{
    struct mr_partition p = {.n_names = 0};
    enum mr_status status;

    if (mr_work_is_stopping(t->work))
        return MR_OK;
    if (job->failed) {
        if (mr_coverage_fail(&group->coverage, job->name, &job->err) != MR_OK)
            return mr_fail_nomem(err);
        return MR_OK;
    }
    status = fill_partition(t, job, stream, &p);
    if (status == MR_OK)
        status = add_share(group, &p.digest, &job->found.rejects);
    if (status == MR_OK)
        status = add_kept(group, &p.digest, &job->found.kept.events);
    if (status == MR_OK)
        status = mr_coverage_add(&group->coverage, &p);
    if (status != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    return mr_found_take(
        &group->found, &job->found, &t->work->plan, t->scratch, err);
}

enum mr_status mr_group_fail(struct mr_group *group, const char *name,
    const struct mr_error *why, struct mr_error *err)
{
    if (mr_work_is_fatal(why->status)) {
        *err = *why;
        return why->status;
    }
    return mr_coverage_fail(&group->coverage, name, why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

enum mr_status mr_group_add_archive(
    struct mr_group *group, const char *name, struct mr_error *err)
{
    char *only = (char *)(uintptr_t)name;
    struct mr_partition archive = {.name = &only, .n_names = 1};
    struct mr_partition p = {.n_names = 0};
    const struct mr_digest none = mr_digest_bytes("", 0);
    struct mr_buffer digests = {0};
    enum mr_status status = MR_OK;

    /* One without members is told from an empty file. */
    if (group->coverage.n_partitions == 0)
        status = mr_buffer_add(&digests, none.b, MR_DIGEST_BYTES);
    for (size_t i = 0; i < group->coverage.n_partitions; i++)
        if (status == MR_OK)
            status = mr_buffer_add(&digests,
                group->coverage.partition[i].digest.b, MR_DIGEST_BYTES);
    archive.digest = mr_digest_bytes(digests.p, digests.n);
    mr_buffer_release(&digests);
    if (status == MR_OK)
        status = mr_partition_copy(&archive, &p);
    if (status == MR_OK)
        status = mr_coverage_add(&group->coverage, &p);
    if (status != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    return MR_OK;
}

enum mr_status mr_group_spoil(
    struct mr_worker *t, struct mr_group *group, const struct mr_error *why)
{
    mr_found_release(&group->found);
    t->new_groups.n = 0;
    group->n_shares = group->n_kept = 0;
    return mr_coverage_spoil(&group->coverage, why);
}

/* ---- from group to what is shared ---- */

/* The table that all share.  It is the first one that anybody comes with. */
static struct mr_aggregate *shared_table(
    struct mr_work *w, struct mr_aggregate **offer)
{
    struct mr_aggregate *table;

    pthread_mutex_lock(&w->lock);
    if (w->aggregate == NULL && offer != NULL) {
        w->aggregate = *offer;
        *offer = NULL;
    } else if (w->aggregate == NULL &&
               mr_aggregate_new(w->plan.spec.session_gap_ms, w->plan.zone,
                   &w->aggregate) != MR_OK) {
        w->aggregate = NULL;
    }
    table = w->aggregate;
    pthread_mutex_unlock(&w->lock);
    return table;
}

/* Move tuples to the table that all share. */
static enum mr_status flush(struct mr_worker *t, struct mr_batch *from)
{
    struct mr_aggregate *table = shared_table(t->work, NULL);
    enum mr_status status = MR_NOMEM;

    if (table != NULL)
        status =
            mr_aggregate_add(table, from->tuple, from->n_tuples, t->scratch);
    from->n_tuples = 0;
    return status;
}

static enum mr_status share_users(
    struct mr_worker *t, struct mr_group *group, struct mr_error *err)
{
    struct mr_found *found = &group->found;
    enum mr_status status = MR_OK;

    t->n_latest = found->sum.n_tuples;
    if (found->staged != NULL) {
        struct mr_aggregate *table = shared_table(t->work, &found->staged);

        if (found->staged != NULL)
            status = mr_aggregate_merge(table, found->staged, t->scratch);
    }
    if (status == MR_OK && found->sum.n_tuples >= MR_WORK_READY_TUPLES) {
        status = flush(t, &found->sum);
    } else if (status == MR_OK) {
        status = mr_batch_append(&t->ready, &found->sum);
        if (status == MR_OK && t->ready.n_tuples >= MR_WORK_READY_TUPLES)
            status = flush(t, &t->ready);
    }
    return status != MR_OK ? mr_aggregate_fail(status, err) : MR_OK;
}

enum mr_status mr_worker_share(struct mr_worker *t, struct mr_error *err)
{
    struct mr_work *w = t->work;
    enum mr_status status = flush(t, &t->ready);

    if (status != MR_OK)
        return mr_aggregate_fail(status, err);
    pthread_mutex_lock(&w->lock);
    status = mr_coverage_move(&w->coverage, &t->coverage);
    pthread_mutex_unlock(&w->lock);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

enum mr_status mr_group_commit(
    struct mr_worker *t, struct mr_group *group, struct mr_error *err)
{
    struct mr_work *w = t->work;
    enum mr_status status = share_users(t, group, err);

    if (status == MR_OK && w->plan.keeps)
        status =
            mr_keeper_add(&w->keeper, &group->found.kept, group->kept, err);
    if (status != MR_OK)
        return status;
    if (mr_types_keep(w->types, (const uint32_t *)(const void *)t->new_groups.p,
            t->new_groups.n / sizeof(uint32_t)) != MR_OK ||
        mr_coverage_move(&t->coverage, &group->coverage) != MR_OK)
        return mr_fail_nomem(err);
    if (w->rejects == NULL)
        return MR_OK;
    pthread_mutex_lock(&w->lock);
    status = mr_reject_file_add(
        w->rejects, &group->found.rejects, group->share, group->n_shares, err);
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* Keep a group's, which were its partition's, likewise. */
static void keep_tuples(struct mr_worker *t, struct mr_batch *sum)
{
    struct mr_batch *kept = &t->job_sum;
    size_t most = t->n_latest * KEPT_TIMES;

    most = most > KEPT_TUPLES_MIN ? most : KEPT_TUPLES_MIN;
    most = most < MR_WORK_KEPT_TUPLES ? most : MR_WORK_KEPT_TUPLES;
    if (kept->cap_tuples > 0 || sum->cap_tuples > most)
        return;
    kept->tuple = sum->tuple;
    kept->cap_tuples = sum->cap_tuples;
    sum->tuple = NULL;
    sum->n_tuples = sum->cap_tuples = 0;
}

void mr_group_release(struct mr_worker *t, struct mr_group *group)
{
    mr_coverage_release(&group->coverage);
    keep_tuples(t, &group->found.sum);
    mr_found_release(&group->found);
    free(group->share);
    free(group->kept);
}
