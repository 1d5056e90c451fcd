#ifndef CLAIMANT_H
#define CLAIMANT_H

#include "mr/mr.h"

/** claimant_init(c): Who runs this program: the host's name, the user's, the
 * process, and an id that no other run has. */
void claimant_init(struct mr_claimant *c);

#endif
