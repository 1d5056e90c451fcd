#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/claimed.h"

#include <inttypes.h>
#include <stdlib.h>

#include "mr/text.h"

/* What a search needs. */
struct search {
    const struct mr_coverage *coverage;
    const struct mr_digest *spec;
    void (*note)(void *context, const char *sentence);
    void *context;
    struct mr_claims *claims;
};

static bool is_missing(const struct mr_failure *f)
{
    return f->offset == MR_NOWHERE &&
           (strcmp(f->cause, MR_CAUSE_MISSING) == 0 ||
               mr_failure_is_pending(f));
}

static bool has_missing(const struct mr_coverage *c)
{
    for (size_t i = 0; i < c->n_failures; i++)
        if (is_missing(&c->failure[i]))
            return true;
    return false;
}

/* ---- the folders ---- */

static enum mr_status read_folder(
    const struct search *s, const char *path, size_t n)
{
    char *folder = n == 0 ? strdup(".") : strndup(path, n);
    struct mr_error why = {.status = MR_OK};
    enum mr_status status =
        folder == NULL ? MR_NOMEM : mr_claims_read(s->claims, folder, &why);
    char sentence[1200];

    free(folder);
    if (status == MR_OK || status == MR_NOMEM)
        return status;
    mr_error_format(&why, sentence, sizeof(sentence));
    if (s->note != NULL)
        s->note(s->context, sentence);
    return MR_OK;
}

/* The bytes of a path that are its folder's. */
static size_t folder_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return 0;
    return slash == path ? 1 : (size_t)(slash - path);
}

/* Paths ascend, so those of one folder mostly follow one another; one that is
 * read again costs a listing. */
static enum mr_status read_folders(
    const struct search *s, char *const *path, size_t n)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < n && status == MR_OK; i++) {
        size_t bytes = folder_bytes(path[i]);

        if (i == 0 || bytes != folder_bytes(path[i - 1]) ||
            memcmp(path[i - 1], path[i], bytes) != 0)
            status = read_folder(s, path[i], bytes);
    }
    return status;
}

/* ---- the causes ---- */

static enum mr_status add_claimant(
    struct mr_buffer *out, size_t before, const struct mr_claim *claim)
{
    char time[MR_CLAIM_TIME_TEXT];

    mr_claim_time(claim->time_s, time);
    return mr_text_printf(out, "%s%s on %s, process %" PRIu64 ", at %s",
        before == 0 ? " (claimed by " : "; by ", claim->by.user, claim->by.host,
        claim->by.pid, time);
}

/* The cause of a failure, and who has claimed it. */
static enum mr_status tell(const struct search *s, const struct mr_failure *f,
    struct mr_buffer *out, bool *is_claimed_out)
{
    enum mr_status status = mr_buffer_add(out, f->cause, strlen(f->cause));
    size_t at = 0, n = 0;

    while (status == MR_OK && is_missing(f)) {
        const struct mr_claim *claim =
            mr_claims_by(s->claims, s->spec, f->name, &at);

        if (claim == NULL)
            break;
        if (n++ < MR_CLAIMED_NAMED)
            status = add_claimant(out, n - 1, claim);
    }
    if (status == MR_OK && n > MR_CLAIMED_NAMED)
        status = mr_text_printf(out, "; and %zu more", n - MR_CLAIMED_NAMED);
    if (status == MR_OK && n > 0)
        status = mr_buffer_add(out, ")", 1);
    *is_claimed_out = n > 0;
    return status == MR_OK ? mr_buffer_add(out, "", 1) : status;
}

static enum mr_status tell_all(
    const struct search *s, struct mr_claimed *claimed)
{
    const struct mr_coverage *c = s->coverage;

    claimed->failure = calloc(c->n_failures + 1, sizeof(*claimed->failure));
    if (claimed->failure == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < c->n_failures; i++) {
        struct mr_buffer cause = {0};
        bool is_claimed;

        if (tell(s, &c->failure[i], &cause, &is_claimed) != MR_OK) {
            mr_buffer_release(&cause);
            return MR_NOMEM;
        }
        claimed->failure[i] = c->failure[i];
        claimed->failure[i].cause = (char *)cause.p;
        claimed->n++;
        if (is_claimed && claimed->n_claimed++ == 0)
            claimed->first = i;
    }
    return MR_OK;
}

void mr_claimed_release(struct mr_claimed *claimed)
{
    for (size_t i = 0; i < claimed->n; i++)
        free(claimed->failure[i].cause);
    free(claimed->failure);
    *claimed = (struct mr_claimed){0};
}

enum mr_status mr_claimed_find(const struct mr_coverage *coverage,
    const struct mr_digest *spec, char *const *path, size_t n,
    void (*note)(void *context, const char *sentence), void *context,
    struct mr_claimed *claimed_out, struct mr_error *err)
{
    struct search s = {coverage, spec, note, context, NULL};
    enum mr_status status;

    *claimed_out = (struct mr_claimed){0};
    if (!has_missing(coverage))
        return MR_OK;
    status = mr_claims_new(note, context, &s.claims);
    if (status == MR_OK)
        status = read_folders(&s, path, n);
    if (status == MR_OK && mr_claims_count(s.claims) > 0)
        status = tell_all(&s, claimed_out);
    mr_claims_free(s.claims);
    if (claimed_out->n_claimed == 0)
        mr_claimed_release(claimed_out);
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}
