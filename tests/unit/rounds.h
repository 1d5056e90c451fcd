#ifndef MR_TESTS_ROUNDS_H
#define MR_TESTS_ROUNDS_H

#include <stdlib.h>

/* How often to repeat a random test: fewer times with MR_SLOW in the
 * environment, for runs under a tool that makes each many times as long. */
static inline unsigned rounds(unsigned n)
{
    return getenv("MR_SLOW") != NULL ? n / 10 + 1 : n;
}

#endif
