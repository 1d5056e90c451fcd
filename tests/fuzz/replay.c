#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * replay FILE...: Give each file to the fuzz target that this is linked
 * with, so that a corpus is a test also where there is no fuzzer.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read a whole file; NULL, with the reason in errno, if that fails. */
static uint8_t *read_file(const char *name, size_t *n_out)
{
    FILE *f = fopen(name, "rb");
    uint8_t *data = NULL;
    long n;

    if (!f)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 &&
        fseek(f, 0, SEEK_SET) == 0) {
        /* Of just the file's size, so that tools see any overrun. */
        data = malloc(n > 0 ? (size_t)n : 1);
        if (data && fread(data, 1, (size_t)n, f) != (size_t)n) {
            free(data);
            data = NULL;
        }
        *n_out = (size_t)n;
    }
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        size_t n;
        uint8_t *data = read_file(argv[i], &n);

        if (!data) {
            perror(argv[i]);
            return 2;
        }
        (void)LLVMFuzzerTestOneInput(data, n);
        free(data);
    }
    printf("%d inputs replayed\n", argc - 1);
    return 0;
}
