#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/*
 * An input in work.  Its rows wait in memory, and beyond MR_SPOOL_BYTES in a
 * temporary file.  Only when a partition has been read to its end, checksums
 * and all, and its file has been closed, unchanged, are its rows passed on,
 * unless its bytes have come before.
 */

#include "mr/rows_private.h"

#include <stdlib.h>

enum mr_status mr_rows_settle(struct mr_rows_run *r, struct mr_rows_job *job,
    const struct mr_rows_unit *u, struct mr_error *err)
{
    struct mr_span packed = {u->rejects.p, u->rejects.n};
    uint64_t line = job->line;
    enum mr_status status;

    job->line += u->lines;
    status = mr_spool_add(&job->rows, (struct mr_span){u->rows.p, u->rows.n},
        r->plan.temporary, err);
    if (status != MR_OK || packed.n == 0)
        return status;
    if (mr_reject_format(&r->plan.spec, mr_stream_name(job->stream), packed,
            line, &job->part_rejects.text) != MR_OK)
        return mr_fail_nomem(err);
    return mr_spool_settle(&job->part_rejects, r->plan.temporary, err);
}

/* ---- reading ---- */

enum mr_status mr_rows_close(struct mr_rows_job *job, struct mr_error *err)
{
    struct mr_container *container = job->container;
    struct mr_error why = {.status = MR_OK};

    job->container = NULL;
    if (container == NULL || mr_container_close(container, &why) == MR_OK)
        return MR_OK;
    for (size_t i = 0; i < job->n_stretches; i++)
        job->stretch[i].wanted = false;
    job->n_shares = 0;
    mr_spool_release(&job->rejects);
    return mr_coverage_spoil(&job->coverage, &why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

/* The input, or what is left of it, cannot be read. */
static enum mr_status fail_input(struct mr_rows_run *r, struct mr_rows_job *job,
    const struct mr_error *why, struct mr_error *err)
{
    if (mr_rows_is_fatal(why->status)) {
        *err = *why;
        return why->status;
    }
    return mr_coverage_fail(
               &job->coverage, r->listing.inputs[job->input].name, why) == MR_OK
               ? MR_OK
               : mr_fail_nomem(err);
}

/* The preface of the partition, as the job's own. */
static enum mr_status open_preface(
    struct mr_rows_thread *t, struct mr_rows_job *job, struct mr_error *err)
{
    struct mr_buffer old = job->folders;
    enum mr_status status = mr_mapper_open(
        &t->mapper, mr_stream_name(job->stream), &job->preface, err);

    job->folders = t->mapper.folders;
    t->mapper.folders = old;
    return status;
}

enum mr_status mr_rows_next_partition(
    struct mr_rows_thread *t, struct mr_rows_job *job, struct mr_error *err)
{
    struct mr_rows_run *r = t->run;
    struct mr_error why = {.status = MR_OK};

    if (job->container == NULL &&
        mr_container_open(
            &r->listing.inputs[job->input], &job->container, &why) != MR_OK)
        return fail_input(r, job, &why, err);
    if (mr_container_next(job->container, &job->stream, &why) != MR_OK) {
        job->stream = NULL;
        return fail_input(r, job, &why, err);
    }
    if (job->stream == NULL)
        return MR_OK;
    job->line = 0;
    job->failed = false;
    job->start = mr_spool_bytes(&job->rows);
    if (mr_cutter_init(&job->cutter, &r->plan, job->stream, err) != MR_OK)
        return err->status;
    return open_preface(t, job, err);
}

enum mr_status mr_rows_read(struct mr_rows_thread *t, struct mr_rows_job *job,
    struct mr_line_block *block, bool *at_end_out, struct mr_error *why)
{
    enum mr_status status = mr_cutter_next(&job->cutter, &t->text, block, why);

    *at_end_out = status != MR_OK || block->text.n == 0;
    if (*at_end_out || !mr_mapper_needs_header(&t->mapper, &job->preface))
        return status;
    status = mr_mapper_header(&t->mapper, block, &job->preface, &t->batch, why);
    /* The header is a line, but none that counts. */
    job->line += t->batch.lines + job->preface.has_csv;
    return status;
}

/* The partition's counts, as of one cell. */
static enum mr_status fill_partition(
    const struct mr_rows_job *job, struct mr_partition *p_out)
{
    const struct mr_batch *sum = &job->sum;
    struct mr_reason_count reason[MR_REASON_COUNT];
    struct mr_cell_count cell = {.without_user = job->without_user};
    char *name = (char *)(uintptr_t)mr_stream_name(job->stream);
    struct mr_partition p = {.digest = mr_stream_digest(job->stream),
        .name = &name,
        .n_names = 1,
        .stored_bytes = mr_stream_stored_bytes(job->stream),
        .text_bytes = sum->text_bytes,
        .lines = sum->lines,
        .blank = sum->blank,
        .cell = &cell,
        .n_cells = 1,
        .reason = reason};

    cell.events = sum->lines - sum->blank;
    for (uint32_t i = 0; i < MR_REASON_COUNT; i++) {
        cell.events -= sum->reason[i];
        if (sum->reason[i] > 0)
            p.reason[p.n_reasons++] =
                (struct mr_reason_count){i, sum->reason[i]};
    }
    return mr_partition_copy(&p, p_out);
}

static enum mr_status grow_stretches(struct mr_rows_job *job)
{
    size_t cap = 2 * job->cap_stretches + 8;
    struct mr_rows_stretch *stretch;
    struct mr_reject_share *share;

    if (job->n_stretches < job->cap_stretches)
        return MR_OK;
    stretch = realloc(job->stretch, cap * sizeof(*stretch));
    if (stretch != NULL)
        job->stretch = stretch;
    share = realloc(job->share, cap * sizeof(*share));
    if (share != NULL)
        job->share = share;
    if (stretch == NULL || share == NULL)
        return MR_NOMEM;
    job->cap_stretches = cap;
    return MR_OK;
}

/* A partition has been read to its end: keep what it has left. */
static enum mr_status keep_partition(
    const struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    uint64_t rejects = mr_spool_bytes(&job->part_rejects);
    struct mr_partition p = {.n_names = 0};
    struct mr_digest digest;

    if (grow_stretches(job) != MR_OK || fill_partition(job, &p) != MR_OK)
        return mr_fail_nomem(err);
    digest = p.digest;
    if (mr_coverage_add(&job->coverage, &p) != MR_OK) {
        mr_partition_release(&p);
        return mr_fail_nomem(err);
    }
    job->stretch[job->n_stretches++] = (struct mr_rows_stretch){
        digest, mr_spool_bytes(&job->rows) - job->start, true};
    if (rejects > 0)
        job->share[job->n_shares++] = (struct mr_reject_share){digest, rejects};
    return mr_spool_append(
        &job->rejects, &job->part_rejects, r->plan.temporary, err);
}

/* A partition could not be read: what it has left is nobody's. */
static enum mr_status drop_partition(
    struct mr_rows_job *job, struct mr_error *err)
{
    if (grow_stretches(job) != MR_OK ||
        mr_coverage_fail(
            &job->coverage, mr_stream_name(job->stream), &job->why) != MR_OK)
        return mr_fail_nomem(err);
    if (!mr_spool_cut(&job->rows, job->start))
        job->stretch[job->n_stretches++] = (struct mr_rows_stretch){
            .bytes = mr_spool_bytes(&job->rows) - job->start};
    mr_spool_release(&job->part_rejects);
    return MR_OK;
}

enum mr_status mr_rows_end_partition(
    const struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    enum mr_status status =
        job->failed ? drop_partition(job, err) : keep_partition(r, job, err);

    mr_cutter_release(&job->cutter);
    mr_stream_close(job->stream);
    job->stream = NULL;
    mr_batch_clear(&job->sum);
    job->without_user = 0;
    return status;
}

/* ---- passing on ---- */

enum mr_status mr_rows_write(
    struct mr_rows_run *r, struct mr_span text, struct mr_error *err)
{
    int number;

    if (text.n == 0)
        return MR_OK;
    if (r->publish != NULL)
        return mr_publish_write(r->publish, text.p, text.n, err);
    number = r->sink->write(r->sink->context, text.p, text.n);
    return number == 0
               ? MR_OK
               : mr_fail_errno(err, number, "check where the output goes",
                     "cannot write the rows");
}

static enum mr_status take_rows(
    void *context, struct mr_span text, struct mr_error *err)
{
    return mr_rows_write(context, text, err);
}

enum mr_status mr_rows_pass_on(
    struct mr_rows_run *r, struct mr_rows_job *job, struct mr_error *err)
{
    uint64_t at = 0;
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < job->n_stretches && status == MR_OK; i++) {
        const struct mr_rows_stretch *s = &job->stretch[i];
        bool wanted = s->wanted;

        if (wanted &&
            mr_digest_set_add(&r->passed_on, &s->digest, &wanted) != MR_OK)
            status = mr_fail_nomem(err);
        if (status == MR_OK && wanted)
            status = mr_spool_pass(&job->rows, at, s->bytes, take_rows, r, err);
        at += s->bytes;
    }
    if (status == MR_OK && r->rejects != NULL)
        status = mr_reject_file_add(
            r->rejects, &job->rejects, job->share, job->n_shares, err);
    if (status == MR_OK &&
        mr_coverage_move(&r->coverage, &job->coverage) != MR_OK)
        status = mr_fail_nomem(err);
    return status;
}

void mr_rows_job_clear(struct mr_rows_job *job)
{
    mr_spool_clear(&job->rows);
    mr_spool_release(&job->rejects);
    mr_spool_release(&job->part_rejects);
    mr_coverage_release(&job->coverage);
    job->n_stretches = job->n_shares = 0;
    job->passed = 0;
    job->at_end = job->done = false;
}

void mr_rows_job_release(struct mr_rows_job *job)
{
    if (job->stream != NULL) {
        mr_cutter_release(&job->cutter);
        mr_stream_close(job->stream);
    }
    if (job->container != NULL)
        (void)mr_container_close(job->container, NULL);
    mr_rows_job_clear(job);
    mr_batch_release(&job->sum);
    mr_buffer_release(&job->folders);
    mr_spool_release(&job->rows);
    free(job->stretch);
    free(job->share);
}
