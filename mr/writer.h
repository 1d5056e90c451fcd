#ifndef MR_WRITER_H
#define MR_WRITER_H

#include "mr/text.h"

/**
 * Text on its way into a buffer.  The first failure stays, and everything
 * after it does nothing, so that text is written without an "if" at every
 * comma and the status looked at once, in mr_writer_finish.  The buffer stays
 * the caller's.  One thread.
 */
struct mr_writer {
    struct mr_buffer *out;
    size_t start; /* of what is written now */
    enum mr_status status;
};

static inline struct mr_writer mr_writer_begin(struct mr_buffer *out)
{
    return (struct mr_writer){out, out->n, MR_OK};
}

/** mr_writer_finish(w): How it went; after a failure, which can only be
 * MR_NOMEM or one that was set in w->status, the buffer is as it was before
 * mr_writer_begin. */
static inline enum mr_status mr_writer_finish(const struct mr_writer *w)
{
    if (w->status != MR_OK)
        w->out->n = w->start;
    return w->status;
}

/** MR_PUT(w, format, ...): Append formatted text. */
#define MR_PUT(w, ...)                                                         \
    do {                                                                       \
        if ((w)->status == MR_OK)                                              \
            (w)->status = mr_text_printf((w)->out, __VA_ARGS__);               \
    } while (0)

/** As mr_text_json, mr_text_csv and mr_text_masked. */
static inline void mr_put_json(struct mr_writer *w, struct mr_span text)
{
    if (w->status == MR_OK)
        w->status = mr_text_json(w->out, text);
}

static inline void mr_put_csv(struct mr_writer *w, struct mr_span text)
{
    if (w->status == MR_OK)
        w->status = mr_text_csv(w->out, text);
}

static inline void mr_put_masked(struct mr_writer *w, struct mr_span text)
{
    if (w->status == MR_OK)
        w->status = mr_text_masked(w->out, text);
}

#endif
