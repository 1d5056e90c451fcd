#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/claimant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* 16 bytes at random.  Without a source of randomness the time and the process
 * must do: the id has to be unlike others, not hard to guess. */
static void random_bytes(unsigned char bytes[16])
{
    FILE *file = fopen("/dev/urandom", "rb");
    struct timespec now = {0};
    uint64_t parts[2] = {0, (uint64_t)getpid() << 32};
    size_t n = 0;

    if (file != NULL) {
        n = fread(bytes, 1, 16, file);
        (void)fclose(file);
    }
    if (n == 16)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    parts[0] = (uint64_t)now.tv_sec;
    parts[1] |= (uint64_t)now.tv_nsec;
    memcpy(bytes, parts, sizeof(parts));
}

/* Not by getpwuid(3): it may ask a server, which may be down with the rest. */
static void name_user(char user[MR_CLAIMANT_TEXT])
{
    const char *name = getenv("LOGNAME");

    if (name == NULL || name[0] == '\0')
        name = getenv("USER");
    if (name != NULL && name[0] != '\0')
        snprintf(user, MR_CLAIMANT_TEXT, "%s", name);
    else
        snprintf(user, MR_CLAIMANT_TEXT, "%" PRIuMAX, (uintmax_t)geteuid());
}

void claimant_init(struct mr_claimant *c)
{
    unsigned char id[16];

    memset(c, 0, sizeof(*c));
    c->pid = (uint64_t)getpid();
    /* A name that is too long may come without its NUL: the last byte stays. */
    if (gethostname(c->host, sizeof(c->host) - 1) != 0 || c->host[0] == '\0')
        snprintf(c->host, sizeof(c->host), "unknown");
    name_user(c->user);
    random_bytes(id);
    for (size_t i = 0; i < sizeof(id); i++)
        snprintf(c->run + 2 * i, 3, "%02x", (unsigned)id[i]);
}
