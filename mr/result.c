#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/result.h"

#include <stdarg.h>
#include <stdlib.h>

const char *mr_version(void)
{
    return PACKAGE_VERSION;
}

void mr_result_release(struct mr_result *result)
{
    for (size_t i = 0; i < result->n_failed; i++) {
        /* The strings are the result's own; only readers see them const. */
        free((void *)(uintptr_t)result->failed[i].name);
        free((void *)(uintptr_t)result->failed[i].cause);
    }
    free(result->failed);
    memset(result, 0, sizeof(*result));
}

static enum mr_status fill_failed(
    struct mr_result *result, const struct mr_coverage *c)
{
    size_t n = c->n_failures < MR_FAILED_MAX ? c->n_failures : MR_FAILED_MAX;

    result->failed = calloc(n + 1, sizeof(*result->failed));
    if (result->failed == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct mr_failed *f = &result->failed[i];

        f->name = strdup(c->failure[i].name);
        f->cause = strdup(c->failure[i].cause);
        f->offset = c->failure[i].offset;
        result->n_failed++;
        if (f->name == NULL || f->cause == NULL)
            return MR_NOMEM;
    }
    return MR_OK;
}

enum mr_status mr_result_fill(struct mr_result *result,
    const struct mr_state_head *head, uint64_t users)
{
    struct mr_coverage_totals sum;

    if (mr_coverage_sum(&head->coverage, &sum) != MR_OK)
        return MR_NOMEM;
    result->totals = (struct mr_totals){.partitions = sum.partitions,
        .failures = sum.failures,
        .repeated = head->coverage.n_repeated,
        .lines = sum.lines,
        .events = sum.events,
        .rejected = sum.rejected,
        .blank = sum.blank,
        .events_without_user = sum.events_without_user,
        .other_day = sum.other_day,
        .other_type = sum.other_type,
        .stored_bytes = sum.stored_bytes,
        .text_bytes = sum.text_bytes,
        .renamed = sum.renamed};
    result->users = users;
    result->types = head->n_types;
    result->days = 0;
    for (size_t i = 0; i < head->n_cells; i++)
        result->days += i == 0 || head->cell[i].day != head->cell[i - 1].day;
    return fill_failed(result, &head->coverage);
}

void mr_note(const struct mr_observer *observer, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;

    if (observer->note == NULL)
        return;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    observer->note(observer->context, sentence);
}
