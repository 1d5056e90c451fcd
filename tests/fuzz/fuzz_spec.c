#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/spec_private.h"

/*
 * Bytes as a spec file, and as the canonical text that a state brings.  Of a
 * spec that is accepted the canonical text must be read back as it is.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

static void check_spec(const struct mr_spec *spec)
{
    struct mr_buffer text = {0}, again = {0};
    struct mr_error err = {0};
    struct mr_spec parsed;

    demand(mr_spec_text(spec, &text) == MR_OK);
    demand(mr_spec_parse((struct mr_span){text.p, text.n}, &parsed, &err) ==
           MR_OK);
    demand(mr_spec_text(&parsed, &again) == MR_OK);
    demand(text.n == again.n && memcmp(text.p, again.p, text.n) == 0);
    text.n = 0;
    demand(mr_spec_difference(spec, &parsed, &text) == MR_OK && text.n == 0);
    mr_buffer_release(&text);
    mr_buffer_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_span text = {data, size};
    struct mr_error err = {0};
    struct mr_spec spec;
    enum mr_status status;

    status = mr_spec_read(text, "folder/", false, &spec, &err);
    if (status == MR_OK)
        check_spec(&spec);
    else /* MR_FORMAT: of a zone whose file is none of a zone */
        demand((status == MR_USAGE || status == MR_FORMAT) &&
               err.cause[0] != '\0');
    status = mr_spec_parse(text, &spec, &err);
    if (status == MR_OK)
        check_spec(&spec);
    else
        demand(status == MR_FORMAT && err.cause[0] != '\0');
    return 0;
}
