#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>

#include "mr/manifest.h"

/*
 * Any bytes as a manifest.  One that is accepted ascends, its sum is that of
 * its rows, each name is found, and written anew and read again it is the
 * same.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

static void check_entries(const struct mr_manifest *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < m->n; i++) {
        const char *name = m->entry[i].name;

        demand(name[0] != '\0');
        demand(i == 0 || strcmp(m->entry[i - 1].name, name) < 0);
        demand(mr_manifest_find(m, name, strlen(name)) == &m->entry[i]);
        sum += m->entry[i].bytes;
    }
    demand(sum == m->bytes);
}

static void check_again(const struct mr_manifest *m)
{
    struct mr_listing listing = {
        .inputs = calloc(m->n + 1, sizeof(struct mr_input)), .n = m->n};
    struct mr_manifest again = {.n = 0};
    static char path[] = "file";

    demand(listing.inputs != NULL);
    for (size_t i = 0; i < m->n; i++)
        listing.inputs[i] = (struct mr_input){.path = path,
            .name = (char *)(uintptr_t)m->entry[i].name,
            .size = m->entry[i].bytes};
    demand(mr_manifest_text(&listing, NULL, &again.text, NULL) == MR_OK);
    demand(mr_manifest_parse(&again, NULL) == MR_OK);
    demand(again.n == m->n && again.bytes == m->bytes);
    for (size_t i = 0; i < m->n; i++)
        demand(strcmp(again.entry[i].name, m->entry[i].name) == 0 &&
               again.entry[i].bytes == m->entry[i].bytes);
    mr_manifest_release(&again);
    free(listing.inputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_manifest m = {.n = 0};

    demand(mr_buffer_add(&m.text, data, size) == MR_OK);
    if (mr_manifest_parse(&m, NULL) == MR_OK) {
        check_entries(&m);
        check_again(&m);
    }
    mr_manifest_release(&m);
    return 0;
}
