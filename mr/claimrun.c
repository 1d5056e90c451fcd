#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/claimrun.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/text.h"

/* Of a claim's file: the run, its number, the suffix. */
#define FILE_NAME_MAX (MR_RUN_TEXT + sizeof(MR_CLAIM_SUFFIX) + 12)

/* ---- batches ---- */

#define BATCHES 64
#define BATCHES_OF_FEW 16
#define BATCH_LEAST ((uint64_t)256 << 20)
#define BATCH_MOST ((uint64_t)16 << 30)

uint64_t mr_claim_batch_bytes(uint64_t total)
{
    uint64_t bytes = total / BATCHES, least = total / BATCHES_OF_FEW + 1;

    if (least > BATCH_LEAST)
        least = BATCH_LEAST;
    if (bytes < least)
        return least;
    return bytes < BATCH_MOST ? bytes : BATCH_MOST;
}

/* What an input weighs: one more than its bytes, so that empty files are
 * dealt out too. */
static uint64_t weight(const struct mr_input *input)
{
    return input->size < UINT64_MAX ? input->size + 1 : input->size;
}

/* Sums of sizes that no file system has stay at the largest number. */
static uint64_t add_up(uint64_t sum, uint64_t more)
{
    return sum > UINT64_MAX - more ? UINT64_MAX : sum + more;
}

/* An input belongs to the stretch of so many bytes that its middle lies in. */
static enum mr_status cut(struct mr_claim_run *run)
{
    const struct mr_listing *l = run->listing;
    uint64_t total = 0, before = 0, bytes, stretch = UINT64_MAX;

    for (size_t i = 0; i < l->n; i++)
        total = add_up(total, weight(&l->inputs[i]));
    bytes = mr_claim_batch_bytes(total);
    run->batch = malloc((l->n + 1) * sizeof(*run->batch));
    if (run->batch == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < l->n; i++) {
        uint64_t middle = add_up(before, weight(&l->inputs[i]) / 2);
        struct mr_claim_batch *b;

        if (run->n_batches == 0 || middle / bytes != stretch)
            run->batch[run->n_batches++] = (struct mr_claim_batch){i, i, 0};
        stretch = middle / bytes;
        b = &run->batch[run->n_batches - 1];
        b->end = i + 1;
        b->bytes = add_up(b->bytes, l->inputs[i].size);
        before = add_up(before, weight(&l->inputs[i]));
    }
    return MR_OK;
}

enum mr_status mr_listing_digest(
    const struct mr_listing *listing, struct mr_digest *digest_out)
{
    struct mr_digester *d = mr_digester_new();

    if (d == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < listing->n; i++) {
        const struct mr_input *input = &listing->inputs[i];
        uint8_t size[8];

        mr_put_u64(size, input->size);
        mr_digester_add(d, input->name, strlen(input->name) + 1);
        mr_digester_add(d, size, sizeof(size));
    }
    *digest_out = mr_digester_value(d);
    mr_digester_free(d);
    return MR_OK;
}

/* SHARE/.mr-claims, as text of its own. */
static char *claims_folder(const char *share)
{
    struct mr_buffer path = {0};

    if (mr_text_printf(&path, "%s/%s", share, MR_CLAIMS_FOLDER) != MR_OK ||
        mr_buffer_add(&path, "", 1) != MR_OK) {
        mr_buffer_release(&path);
        return NULL;
    }
    return (char *)path.p;
}

enum mr_status mr_claim_run_init(struct mr_claim_run *run,
    const struct mr_listing *listing, const char *share,
    const struct mr_claimant *claimant, const struct mr_digest *spec,
    struct mr_error *err)
{
    *run = (struct mr_claim_run){.listing = listing,
        .share = share,
        .claimant = claimant,
        .spec = *spec};
    run->folder = claims_folder(share);
    if (run->folder == NULL || cut(run) != MR_OK ||
        mr_buffer_reserve(
            &run->path, strlen(run->folder) + 1 + FILE_NAME_MAX) != MR_OK ||
        mr_listing_digest(listing, &run->listing_digest) != MR_OK)
        return mr_fail_nomem(err);
    return mr_publish_folder(run->folder, err);
}

void mr_claim_run_release(struct mr_claim_run *run)
{
    free(run->batch);
    free(run->folder);
    mr_buffer_release(&run->path);
    *run = (struct mr_claim_run){0};
}

/* ---- the choice ---- */

/* How many other runs' claims each input has, as differences from one to the
 * next. */
static void count_claims(const struct mr_claim_run *run,
    const struct mr_claims *claims, ptrdiff_t *change)
{
    for (size_t i = 0; i < mr_claims_count(claims); i++) {
        const struct mr_claim *c = mr_claims_get(claims, i);

        if (memcmp(c->spec.b, run->spec.b, MR_DIGEST_BYTES) != 0 ||
            strcmp(c->by.run, run->claimant->run) == 0)
            continue;
        change[mr_listing_find(run->listing, c->first, false)]++;
        change[mr_listing_find(run->listing, c->last, true)]--;
    }
}

enum mr_status mr_claim_run_choose(const struct mr_claim_run *run,
    const struct mr_claims *claims, const bool *done, size_t *batch_out,
    size_t *n_claims_out)
{
    const char *id = run->claimant->run;
    size_t best = MR_CLAIM_NONE, best_count = 0, best_distance = 0;
    size_t start = run->n_batches == 0
                       ? 0
                       : (size_t)(mr_hash64(id, strlen(id)) % run->n_batches);
    ptrdiff_t *change = calloc(run->listing->n + 1, sizeof(*change));
    ptrdiff_t count = 0;

    if (change == NULL)
        return MR_NOMEM;
    count_claims(run, claims, change);
    for (size_t b = 0; b < run->n_batches; b++) {
        size_t distance = b >= start ? b - start : b + run->n_batches - start;
        size_t least = SIZE_MAX;

        for (size_t i = run->batch[b].first; i < run->batch[b].end; i++) {
            count += change[i];
            if (!done[i] && (size_t)count < least)
                least = (size_t)count;
        }
        if (least == SIZE_MAX)
            continue;
        if (best == MR_CLAIM_NONE || least < best_count ||
            (least == best_count && distance < best_distance)) {
            best = b;
            best_count = least;
            best_distance = distance;
        }
    }
    free(change);
    *batch_out = best;
    *n_claims_out = best_count;
    return MR_OK;
}

/* ---- this run's claims ---- */

static void name_file(
    const struct mr_claim_run *run, unsigned number, char name[FILE_NAME_MAX])
{
    snprintf(name, FILE_NAME_MAX, "%s-%u%s", run->claimant->run, number,
        MR_CLAIM_SUFFIX);
}

enum mr_status mr_claim_run_publish(struct mr_claim_run *run, size_t batch,
    int64_t time_s, struct mr_error *err)
{
    const struct mr_claim_batch *b = &run->batch[batch];
    const struct mr_input *inputs = run->listing->inputs;
    const struct mr_claim claim = {.by = *run->claimant,
        .time_s = time_s,
        .spec = run->spec,
        .listing = run->listing_digest,
        .first = inputs[b->first].name,
        .last = inputs[b->end - 1].name,
        .partitions = b->end - b->first,
        .bytes = b->bytes};
    struct mr_buffer text = {0};
    char name[FILE_NAME_MAX];
    enum mr_status status;

    name_file(run, run->n_claimed, name);
    status = mr_claim_format(&claim, &text);
    status = status == MR_OK
                 ? mr_publish_bytes(run->folder, name, text.p, text.n, err)
                 : mr_fail_nomem(err);
    mr_buffer_release(&text);
    if (status == MR_OK)
        run->n_claimed++;
    return status;
}

void mr_claim_run_withdraw(struct mr_claim_run *run)
{
    char *path = (char *)run->path.p;
    char name[FILE_NAME_MAX];

    for (unsigned i = 0; i < run->n_claimed; i++) {
        name_file(run, i, name);
        snprintf(path, run->path.cap, "%s/%s", run->folder, name);
        (void)unlink(path);
    }
    run->n_claimed = 0;
}
