#ifndef MR_MACHINE_H
#define MR_MACHINE_H

#include <stdint.h>

/*
 * What the process may use of the machine.  In a container that is less than
 * there is: its control groups have a quota of processor time and a limit of
 * memory, which the usual calls do not tell.  More threads than the quota has
 * processors only stop each other, and what a group takes beyond its memory is
 * the end of it.
 */

struct mr_limits {
    unsigned processors; /* UINT_MAX: no limit */
    uint64_t memory;     /* bytes; UINT64_MAX: no limit */
};

/**
 * mr_limits_find(membership, root, limits): The least limits of a process's
 * control groups and of all that these are in, as the Linux kernel's
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst and
 * scheduler/sched-bwc.rst have it.  membership is a file like
 * /proc/self/cgroup; root is where the hierarchies are mounted: version 2 there
 * itself, those of version 1 in the folders cpu and memory.  A quota of two and
 * a half processors is three.  What is not there, or makes no sense, is no
 * limit.  A few small files are read.
 */
void mr_limits_find(
    const char *membership, const char *root, struct mr_limits *limits_out);

/** mr_machine_processors(): Processors that the process may use: by its
 * affinity and its control groups; 1 at least. */
unsigned mr_machine_processors(void);

/** mr_machine_memory(): Bytes of memory that the process may use: the
 * machine's, or what its control groups allow; 0 where that is not known. */
uint64_t mr_machine_memory(void);

#endif
