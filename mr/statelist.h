#ifndef MR_STATELIST_H
#define MR_STATELIST_H

#include "mr/status.h"

/* Which state files the arguments of reduce and inspect stand for. */

struct mr_state_list {
    char **path; /* ascending in byte order, no two alike */
    size_t n;
};

/**
 * mr_state_list_build(args, n, list, err): A folder stands for the files in
 * it and in the folders below it whose names end in ".mrs"; names of files
 * and folders that begin with '_' or '.' are skipped, links to files followed,
 * links to folders not, unless they are arguments.  Anything else is a state
 * file itself, whatever its name.  MR_USAGE for an argument that does not
 * exist, a folder without states, and no arguments at all; MR_IO for what
 * cannot be looked at.  Release the list with mr_state_list_release, also
 * after a failure.
 */
MR_MUST_CHECK enum mr_status mr_state_list_build(char *const *args, size_t n,
    struct mr_state_list *list_out, struct mr_error *err);
void mr_state_list_release(struct mr_state_list *list);

#endif
