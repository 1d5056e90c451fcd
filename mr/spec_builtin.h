#ifndef MR_SPEC_BUILTIN_H
#define MR_SPEC_BUILTIN_H

#include "mr/status.h"

/* What a program shows of specs. */

/** A spec that comes with the program; static memory. */
struct mr_builtin_spec {
    const char *name;
    const char *description; /* one line, without a full stop */
    const char *yaml;        /* with comments; as a spec file */
};

/** mr_builtin_spec(i): The i-th of them, the default ("lake") first; NULL
 * behind the last. */
const struct mr_builtin_spec *mr_builtin_spec(size_t i);

/** mr_builtin_spec_find(name): That of a name.  MR_USAGE, naming the nearest,
 * where there is none. */
MR_MUST_CHECK enum mr_status mr_builtin_spec_find(const char *name,
    const struct mr_builtin_spec **found_out, struct mr_error *err);

#endif
