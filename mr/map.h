#ifndef MR_MAP_H
#define MR_MAP_H

#include <stdatomic.h>
#include <time.h>

#include "mr/mr.h"
#include "mr/plan.h"
#include "mr/source.h"

/** One file to be mapped into a state of its own. */
struct mr_map_one {
    const struct mr_plan *plan; /* the caller's; any number of threads */
    const struct mr_input *input;
    const char *output;     /* a path that ends in ".mrs" */
    struct timespec date;   /* the state's time of modification */
    unsigned threads;       /* at least 1 */
    const atomic_int *stop; /* or NULL */
};

/** mr_map_one(one, err): As mr_map of that file.  Any number of threads at a
 * time.  Memory is that of a map of one file, and given back. */
MR_MUST_CHECK enum mr_status mr_map_one(
    const struct mr_map_one *one, struct mr_error *err);

#endif
