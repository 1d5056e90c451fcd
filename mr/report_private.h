#ifndef MR_REPORT_PRIVATE_H
#define MR_REPORT_PRIVATE_H

#include "mr/report.h"
#include "mr/text.h"

/* What the units of reports share. */

/*
 * Text on its way into a buffer.  The first failure stays, and everything
 * after it does nothing, so that a report is written without an "if" at every
 * comma and its status looked at once, in finish.
 */
struct writer {
    struct mr_buffer *out;
    size_t start;
    enum mr_status status;
};

static inline struct writer begin(struct mr_buffer *out)
{
    return (struct writer){out, out->n, MR_OK};
}

static inline enum mr_status finish(const struct writer *w)
{
    if (w->status != MR_OK)
        w->out->n = w->start;
    return w->status;
}

#define PUT(w, ...)                                                            \
    do {                                                                       \
        if ((w)->status == MR_OK)                                              \
            (w)->status = mr_text_printf((w)->out, __VA_ARGS__);               \
    } while (0)

static inline void put_json(struct writer *w, struct mr_span text)
{
    if (w->status == MR_OK)
        w->status = mr_text_json(w->out, text);
}

static inline void put_csv(struct writer *w, struct mr_span text)
{
    if (w->status == MR_OK)
        w->status = mr_text_csv(w->out, text);
}

static inline void put_masked(struct writer *w, const char *text)
{
    if (w->status == MR_OK)
        w->status = mr_text_masked(w->out, mr_text_span(text));
}

static inline bool is_partial(const struct mr_report *r)
{
    return r->coverage->n_failures > 0;
}

static inline const char *status_word(const struct mr_report *r)
{
    return is_partial(r) ? "partial" : "complete";
}

/** Append the members of kpis.json that only some specs have, each with a
 * comma and a line's end behind it (report_figures.c). */
void mr_report_put_figures(struct writer *w, const struct mr_report *r);
/** The same of duplicates and segments (report_kept.c). */
void mr_report_put_kept(struct writer *w, const struct mr_report *r);

#endif
