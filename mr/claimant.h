#ifndef MR_CLAIMANT_H
#define MR_CLAIMANT_H

#include <stdint.h>

/* A run as its claims name it (mr/claims.h).  The program says who it is,
 * since the library does not look. */

#define MR_RUN_TEXT 33 /* 32 lower-case hexadecimal digits and a NUL */
#define MR_CLAIMANT_TEXT 256

struct mr_claimant {
    char run[MR_RUN_TEXT];       /* like that of no other run: random */
    char host[MR_CLAIMANT_TEXT]; /* not empty */
    char user[MR_CLAIMANT_TEXT]; /* not empty */
    uint64_t pid;                /* not 0 */
};

#endif
