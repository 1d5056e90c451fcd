#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/sharing.h"

#include <stdlib.h>
#include <time.h>

#include "mr/result.h"
#include "mr/state.h"
#include "mr/statelist.h"
#include "mr/text.h"

struct mr_sharing {
    const char *folder;
    const struct mr_spec *spec;
    const struct mr_listing *listing;
    const struct mr_observer *observer;
    struct mr_claim_run run;
    struct mr_claims *claims;
    struct mr_state_list seen; /* states whose heads need no more reading */
    bool *there;               /* by input: another state has it */
    size_t *input;             /* of the batches that were taken last */
    size_t n_inputs;
    bool *skip;   /* by input: done, or one of these */
    size_t batch; /* that was chosen, and how many claims it has */
    size_t n_claims;
    bool has_noted_share, has_noted_over, has_confirmed;
};

/* ---- beginning and end ---- */

static enum mr_status check_shareable(const struct mr_spec *spec,
    const struct mr_listing *listing, struct mr_error *err)
{
    if (spec->n_segments > 0)
        return mr_fail(err, MR_USAGE, MR_NOWHERE,
            "share the work out with --shard",
            "the spec has segments, and states with segments must not overlap, "
            "as those of machines that share by claims may");
    for (size_t i = 0; i < listing->n; i++)
        if (strcmp(listing->inputs[i].path, "-") == 0)
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "name files, or leave out --claim",
                "standard input cannot be claimed: others do not see it");
    return MR_OK;
}

void mr_sharing_free(struct mr_sharing *s)
{
    if (s == NULL)
        return;
    mr_claim_run_withdraw(&s->run);
    mr_claim_run_release(&s->run);
    mr_claims_free(s->claims);
    mr_state_list_release(&s->seen);
    free(s->there);
    free(s->input);
    free(s->skip);
    free(s);
}

enum mr_status mr_sharing_new(const char *folder, const struct mr_spec *spec,
    const struct mr_listing *listing, const struct mr_claimant *claimant,
    const struct mr_observer *observer, struct mr_sharing **sharing_out,
    struct mr_error *err)
{
    enum mr_status status = check_shareable(spec, listing, err);
    struct mr_digest digest;
    struct mr_sharing *s;

    if (status != MR_OK)
        return status;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mr_fail_nomem(err);
    s->folder = folder;
    s->spec = spec;
    s->listing = listing;
    s->observer = observer;
    s->there = calloc(listing->n + 1, sizeof(*s->there));
    s->input = calloc(listing->n + 1, sizeof(*s->input));
    s->skip = calloc(listing->n + 1, sizeof(*s->skip));
    if (s->there == NULL || s->input == NULL || s->skip == NULL ||
        mr_spec_digest(spec, &digest) != MR_OK ||
        mr_claims_new(observer->note, observer->context, &s->claims) != MR_OK)
        status = mr_fail_nomem(err);
    if (status == MR_OK)
        status =
            mr_claim_run_init(&s->run, listing, folder, claimant, &digest, err);
    if (status != MR_OK) {
        mr_sharing_free(s);
        return status;
    }
    *sharing_out = s;
    return MR_OK;
}

/* The share failed, which the run can do without. */
static void note_share(struct mr_sharing *s, const struct mr_error *why)
{
    char text[1024];

    if (s->has_noted_share)
        return;
    s->has_noted_share = true;
    mr_error_format(why, text, sizeof(text));
    mr_note(s->observer,
        "the run goes on without what other machines claim: %s", text);
}

/* ---- what is there ---- */

static bool is_repeated(const struct mr_listing *l, size_t i)
{
    const struct mr_input *in = l->inputs;

    return (i > 0 && strcmp(in[i - 1].name, in[i].name) == 0) ||
           (i + 1 < l->n && strcmp(in[i].name, in[i + 1].name) == 0);
}

static void note_partition(
    struct mr_sharing *s, const char *name, uint64_t stored_bytes, bool *done)
{
    const struct mr_listing *l = s->listing;
    size_t i = mr_listing_find(l, name, false);

    if (i < l->n && strcmp(l->inputs[i].name, name) == 0 && !done[i] &&
        l->inputs[i].size == stored_bytes && !is_repeated(l, i))
        done[i] = s->there[i] = true;
}

/* What a state has of the listing.  *usable_out: whether it need not be read
 * again; one that is damaged may be one that is still being copied. */
static enum mr_status look_at_state(
    struct mr_sharing *s, const char *path, bool *done, bool *usable_out)
{
    struct mr_buffer difference = {0};
    struct mr_state *state;
    const struct mr_state_head *head;
    enum mr_status status = mr_state_open(path, &state, NULL);

    *usable_out = status == MR_OK;
    if (status != MR_OK)
        return status == MR_NOMEM ? status : MR_OK;
    head = mr_state_get_head(state);
    status = mr_spec_difference(s->spec, head->spec, &difference);
    for (size_t i = 0; i < head->coverage.n_partitions; i++) {
        const struct mr_partition *p = &head->coverage.partition[i];

        if (status != MR_OK || difference.n > 0)
            break;
        for (size_t k = 0; k < p->n_names; k++)
            note_partition(s, p->name[k], p->stored_bytes, done);
    }
    mr_buffer_release(&difference);
    mr_state_close(state);
    return status;
}

/* Look at the states that have come since, and forget those that are gone. */
static enum mr_status look_at_states(
    struct mr_sharing *s, const char *own, bool *done)
{
    char *only = (char *)(uintptr_t)s->folder;
    struct mr_state_list now = {.n = 0};
    enum mr_status status = mr_state_list_build(&only, 1, &now, NULL);
    size_t known = 0, kept = 0;

    if (status != MR_OK) {
        /* No states yet, or a share that is away. */
        mr_state_list_release(&now);
        return status == MR_NOMEM ? status : MR_OK;
    }
    for (size_t i = 0; i < now.n; i++) {
        char *path = now.path[i];
        bool usable = true;

        while (known < s->seen.n && strcmp(s->seen.path[known], path) < 0)
            known++;
        if (strcmp(mr_text_last(path), mr_text_last(own)) == 0)
            usable = false;
        else if (status == MR_OK &&
                 (known == s->seen.n || strcmp(s->seen.path[known], path) != 0))
            status = look_at_state(s, path, done, &usable);
        if (usable)
            now.path[kept++] = path;
        else
            free(path);
    }
    now.n = kept;
    mr_state_list_release(&s->seen);
    s->seen = now;
    return status;
}

/* ---- the choice ---- */

/* How many batches are taken at once, at most: an eighth. */
#define BATCHES_AT_ONCE 8

/* Look at claims and states, and choose from what is neither done nor taken. */
static enum mr_status look_and_choose(
    struct mr_sharing *s, const char *own, bool *done, struct mr_error *err)
{
    struct mr_error why = {.status = MR_OK};
    /* Claims first: a run withdraws its own only after it has published. */
    enum mr_status status = mr_claims_read(s->claims, s->folder, &why);

    if (status == MR_IO)
        note_share(s, &why);
    if (status == MR_NOMEM || look_at_states(s, own, done) != MR_OK)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < s->listing->n; i++)
        s->skip[i] |= done[i];
    if (mr_claim_run_choose(
            &s->run, s->claims, s->skip, &s->batch, &s->n_claims) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

enum mr_status mr_sharing_choose(struct mr_sharing *s, const char *own,
    bool *done, enum mr_sharing_next *next_out, struct mr_error *err)
{
    enum mr_status status;

    memcpy(s->skip, done, s->listing->n * sizeof(*done));
    status = look_and_choose(s, own, done, err);
    if (status != MR_OK)
        return status;
    *next_out = s->batch == MR_CLAIM_NONE ? MR_SHARING_NONE
                : s->n_claims > 0         ? MR_SHARING_OVER
                                          : MR_SHARING_FREE;
    return MR_OK;
}

/* Claim the batch that was chosen, and list what is to be read of it. */
static enum mr_status take_batch(struct mr_sharing *s, struct mr_error *err)
{
    const struct mr_claim_batch *b = &s->run.batch[s->batch];
    struct mr_error why = {.status = MR_OK};
    enum mr_status status =
        mr_claim_run_publish(&s->run, s->batch, (int64_t)time(NULL), &why);

    if (status == MR_NOMEM)
        return mr_fail_nomem(err);
    if (status != MR_OK)
        note_share(s, &why);
    for (size_t i = b->first; i < b->end; i++) {
        if (s->skip[i])
            continue;
        s->skip[i] = true;
        s->input[s->n_inputs++] = i;
    }
    return MR_OK;
}

enum mr_status mr_sharing_take(struct mr_sharing *s, const char *own,
    bool *done, size_t wanted, const size_t **input_out, size_t *n_out,
    struct mr_error *err)
{
    enum mr_status status;

    if (s->n_claims > 0 && !s->has_noted_over) {
        s->has_noted_over = true;
        mr_note(s->observer,
            "what is left is claimed by other runs and not published yet; it "
            "is read here too");
    }
    s->n_inputs = 0;
    status = take_batch(s, err);
    for (size_t n = 1; n < s->run.n_batches / BATCHES_AT_ONCE; n++) {
        if (status != MR_OK || s->n_inputs >= wanted || s->n_claims > 0)
            break;
        status = look_and_choose(s, own, done, err);
        if (status != MR_OK || s->batch == MR_CLAIM_NONE || s->n_claims > 0)
            break;
        status = take_batch(s, err);
    }
    /* Some may have been published since they were listed. */
    *n_out = 0;
    for (size_t i = 0; i < s->n_inputs; i++)
        if (!done[s->input[i]])
            s->input[(*n_out)++] = s->input[i];
    *input_out = s->input;
    return status;
}

enum mr_status mr_sharing_confirm(struct mr_sharing *s, bool *done,
    struct mr_resume **resume_out, bool *all_out, struct mr_error *err)
{
    struct mr_observer silent = {.stop = s->observer->stop};
    struct mr_resume *r = NULL;
    size_t n_there = 0, n_found = 0;
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < s->listing->n; i++)
        n_there += s->there[i];
    if (s->seen.n > 0)
        status = mr_resume_open(s->folder, s->spec, s->listing,
            s->has_confirmed ? &silent : s->observer, &r, err);
    if (status != MR_OK)
        return status;
    s->has_confirmed = true;
    if (r != NULL)
        mr_resume_trust(r, s->there);
    for (size_t i = 0; i < s->listing->n; i++) {
        if (s->there[i] && (r == NULL || !mr_resume_has_found(r, i)))
            s->there[i] = done[i] = false;
        n_found += s->there[i];
    }
    *all_out = n_found == n_there;
    if (!*all_out) {
        mr_resume_free(r);
        r = NULL;
    }
    *resume_out = r;
    return MR_OK;
}
