/*
 * A library to preload (LD_PRELOAD) that stops mr (SIGSTOP) when it has
 * published a claim, so that a test says who claims what, and when.
 *
 *     MR_STOP_AT    after which claims of the process, as "1" or "2,5"
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_listed(unsigned long number)
{
    const char *at = getenv("MR_STOP_AT");
    char *end;

    for (; at != NULL && *at != '\0'; at = *end == ',' ? end + 1 : end)
        if (strtoul(at, &end, 10) == number || end == at)
            return end != at;
    return false;
}

int renameat(int old_folder, const char *old, int new_folder, const char *new)
{
    static int (*real)(int, const char *, int, const char *);
    static unsigned long claims;
    size_t n = strlen(new);
    int result;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "renameat");
    result = real(old_folder, old, new_folder, new);
    if (result == 0 && n > 6 && strcmp(new + n - 6, ".claim") == 0 &&
        is_listed(++claims))
        kill(getpid(), SIGSTOP);
    return result;
}
