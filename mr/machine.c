#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/machine.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMBERSHIP "/proc/self/cgroup"
#define ROOT "/sys/fs/cgroup"
/* The longest path that is looked at, and the longest line of numbers. */
#define PATH_BYTES 4096
#define LINE_BYTES 128
/* Version 1 writes the largest number of whole pages for no limit. */
#define NO_LIMIT_BYTES ((uint64_t)INT64_MAX - 0xFFFF)

/* ---- one group ---- */

/* The first line of a file in a folder; false if there is none. */
static bool read_line(
    const char *folder, const char *name, char line[LINE_BYTES])
{
    char path[PATH_BYTES + 64];
    bool found;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    found = fgets(line, LINE_BYTES, f) != NULL;
    (void)fclose(f);
    return found;
}

/* Go past blanks and a number above 0; false if there is none ("max", -1). */
static bool pass_number(const char **text, uint64_t *number_out)
{
    char *end;

    *text += strspn(*text, " ");
    if (**text < '0' || **text > '9')
        return false;
    *number_out = strtoull(*text, &end, 10); /* too large: the largest */
    *text = end;
    return *number_out > 0;
}

static bool read_number(
    const char *folder, const char *name, uint64_t *number_out)
{
    char line[LINE_BYTES];
    const char *text = line;

    return read_line(folder, name, line) && pass_number(&text, number_out);
}

/* Processors that a quota of microseconds in each period comes to. */
static void limit_processors(
    struct mr_limits *limits, uint64_t quota, uint64_t period)
{
    uint64_t n = quota / period + (quota % period > 0);

    if (n < limits->processors)
        limits->processors = (unsigned)n;
}

static void limit_memory(struct mr_limits *limits, uint64_t bytes)
{
    if (bytes < NO_LIMIT_BYTES && bytes < limits->memory)
        limits->memory = bytes;
}

/* A folder of version 2 has both, one of version 1 its own hierarchy's. */
static void look_at_group(const char *folder, struct mr_limits *limits)
{
    char line[LINE_BYTES];
    const char *text = line;
    uint64_t quota, period, bytes;

    if (read_line(folder, "cpu.max", line) && pass_number(&text, &quota) &&
        pass_number(&text, &period))
        limit_processors(limits, quota, period);
    if (read_number(folder, "cpu.cfs_quota_us", &quota) &&
        read_number(folder, "cpu.cfs_period_us", &period))
        limit_processors(limits, quota, period);
    if (read_number(folder, "memory.max", &bytes))
        limit_memory(limits, bytes);
    if (read_number(folder, "memory.limit_in_bytes", &bytes))
        limit_memory(limits, bytes);
}

/* ---- all of them ---- */

/* Look at the group of a path and at all above it, up to the mount's own
 * folder: in a container that is often the group itself, whatever the path
 * says.  A path that leads out of the mount is as good as none. */
static void look_upwards(const char *root, const char *hierarchy,
    const char *path, struct mr_limits *limits)
{
    char folder[PATH_BYTES];
    size_t n_root, n;
    int length;

    if (strstr(path, "/..") != NULL)
        path = "";
    length = snprintf(folder, sizeof(folder), "%s%s%s", root, hierarchy, path);
    if (length < 0 || (size_t)length >= sizeof(folder))
        return;
    n = (size_t)length;
    n_root = strlen(root) + strlen(hierarchy);
    for (;;) {
        while (n > n_root && folder[n - 1] == '/')
            n--;
        folder[n] = '\0';
        look_at_group(folder, limits);
        if (n <= n_root)
            return;
        while (n > n_root && folder[n - 1] != '/')
            n--;
    }
}

/* Whether one of the names, with commas between, is this one. */
static bool has_name(const char *names, const char *name)
{
    size_t n = strlen(name);

    for (;;) {
        size_t length = strcspn(names, ",");

        if (length == n && memcmp(names, name, n) == 0)
            return true;
        if (names[length] == '\0')
            return false;
        names += length + 1;
    }
}

/* A line: "ID:CONTROLLERS:PATH", without controllers in version 2. */
static void look_at_line(char *line, const char *root, struct mr_limits *limits)
{
    char *names = strchr(line, ':'), *path;

    line[strcspn(line, "\n")] = '\0';
    path = names == NULL ? NULL : strchr(names + 1, ':');
    if (path == NULL)
        return;
    *path++ = '\0';
    names++;
    if (*names == '\0')
        look_upwards(root, "", path, limits);
    if (has_name(names, "cpu"))
        look_upwards(root, "/cpu", path, limits);
    if (has_name(names, "memory"))
        look_upwards(root, "/memory", path, limits);
}

void mr_limits_find(
    const char *membership, const char *root, struct mr_limits *limits_out)
{
    FILE *f = fopen(membership, "re");
    char *line = NULL;
    size_t cap = 0;

    *limits_out = (struct mr_limits){UINT_MAX, UINT64_MAX};
    if (f == NULL)
        return;
    while (getline(&line, &cap, f) > 0)
        look_at_line(line, root, limits_out);
    free(line);
    (void)fclose(f);
}

/* ---- this process ---- */

unsigned mr_machine_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    struct mr_limits limits;
#ifdef CPU_COUNT
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
#endif
    mr_limits_find(MEMBERSHIP, ROOT, &limits);
    if (n < 1)
        n = 1;
    return (unsigned long)n < limits.processors ? (unsigned)n
                                                : limits.processors;
}

uint64_t mr_machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    struct mr_limits limits;
    uint64_t bytes = UINT64_MAX;

    mr_limits_find(MEMBERSHIP, ROOT, &limits);
    if (pages > 0 && page > 0)
        bytes = (uint64_t)pages * (uint64_t)page;
    if (limits.memory < bytes)
        bytes = limits.memory;
    return bytes == UINT64_MAX ? 0 : bytes;
}
