#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr/fields.h"
#include "mr/kernels.h"

/*
 * A check of all levels that needs no test library, for machines that are
 * only emulated: pseudo-random texts go through the fuzz target (which
 * compares each level with the reference and aborts where they differ), and
 * the kernels of CSV, of JSON values and of arithmetic are compared with the
 * portable ones, and with plain arithmetic.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 1;

static uint64_t next_random(void)
{
    uint64_t x = seed += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Pieces of events in random order, some bytes of them spoiled. */
static size_t random_text(uint8_t *p, size_t cap)
{
    static const char *const some[] = {"{\"data\":{\"id\":\"a1b2\"}}\n",
        "{\"data\":", "{\"id\":", "\"meta\"", "\"created_at\" : ", "{", "}",
        "[", "]", ":", ",", "\"", "\\", "\"\\u00e9\\\\\"", "1549650668000",
        "-1.5e10", "true", "null", "\n", "\r\n", " ", "\"\xe2\x82\xac\"",
        "\"\xf0\x9f\x98\x80\"", "[1,2,[true,{\"a\":{\"b\":{\"c\":0}}}]]\n",
        "{\"a\":{\"b\":{\"c\":\"a longer string to fill a block\"}}}\r\n"};
    size_t want = next_random() % cap;
    size_t n = 0;

    for (;;) {
        const char *s = some[next_random() % (sizeof some / sizeof *some)];
        size_t length = strlen(s);

        if (n + length > want)
            break;
        memcpy(p + n, s, length);
        if (next_random() % 16 == 0)
            p[n + next_random() % length] = (uint8_t)next_random();
        n += length;
    }
    return n;
}

static int check_arithmetic(const struct mr_kernels *k)
{
    uint8_t a[300], b[300], c[300];
    uint64_t x[40], y[40];
    uint64_t count = 0;
    size_t i;

    for (i = 0; i < sizeof a; i++) {
        a[i] = c[i] = (uint8_t)next_random();
        b[i] = (uint8_t)next_random();
    }
    k->max_u8(c, b, 299);
    for (i = 0; i < sizeof a; i++) {
        if (c[i] != (i < 299 && b[i] > a[i] ? b[i] : a[i]))
            return 1;
    }
    for (i = 0; i < 40; i++) {
        x[i] = next_random() & next_random();
        y[i] = next_random() & next_random();
    }
    for (i = 0; i < 39 * 64; i++)
        count += (x[i / 64] | y[i / 64]) >> (i % 64) & 1;
    k->or_u64(x, y, 39);
    return k->popcount_u64(x, 39) != count;
}

/* The stops of a text by the kernels at hand, and of a part of it the ends of
 * records. */
static size_t find_stops(const struct mr_csv_rules *rules, const uint8_t *text,
    size_t n, struct mr_csv_stops *stops, size_t *first_out)
{
    struct mr_csv_carry carry = {0};

    memset(stops, 0, sizeof *stops);
    mr_kernels()->csv_stops(rules, stops, text, 0, n);
    return mr_kernels()->csv_ends(rules, &carry, text, n / 2, first_out);
}

/* How a level differs from the portable one; 0 if it does not. */
static int check_csv(enum mr_kernel_level level, const uint8_t *text, size_t n)
{
    static struct mr_csv_stops a, b;
    uint64_t form = next_random();
    struct mr_csv_rules rules = {.delimiter = ",:"[form & 1],
        .quote = "\"e"[form >> 1 & 1],
        .backslash = form >> 2 & 1,
        .skip_spaces = form >> 3 & 1};
    size_t first_a, first_b, last_a, last_b;

    if ((form >> 4 & 3) == 0)
        rules.quote = 0;
    (void)mr_kernels_force(MR_KERNEL_PORTABLE);
    last_a = find_stops(&rules, text, n, &a, &first_a);
    (void)mr_kernels_force(level);
    last_b = find_stops(&rules, text, n, &b, &first_b);
    if (last_a != last_b || first_a != first_b)
        return 1;
    if (a.n != b.n || memcmp(a.pos + 1, b.pos + 1, 4 * a.n) != 0)
        return 2;
    if (a.n_ends != b.n_ends || memcmp(a.end, b.end, 4 * a.n_ends) != 0)
        return 3;
    if (a.n_bad != b.n_bad || memcmp(a.bad, b.bad, 4 * a.n_bad) != 0)
        return 4;
    if (a.n_suspect != b.n_suspect ||
        memcmp(a.suspect, b.suspect, 4 * a.n_suspect) != 0)
        return 5;
    return memcmp(&a.carry, &b.carry, sizeof a.carry) != 0 ? 6 : 0;
}

/* Whether a level marks a block otherwise than the portable one. */
static bool differs_in_marks(enum mr_kernel_level level, const uint8_t *p)
{
    uint64_t before = next_random();
    uint64_t in_string = 0 - (before & 1);
    struct mr_json_carry a = {
        in_string, ~in_string & before >> 1 & 1, in_string & before >> 2 & 1};
    struct mr_json_carry b = a;
    struct mr_json_marks x, y;
    bool good;

    (void)mr_kernels_force(MR_KERNEL_PORTABLE);
    good = mr_kernels()->json_marks(&a, p, &x);
    (void)mr_kernels_force(level);
    if (mr_kernels()->json_marks(&b, p, &y) != good)
        return true;
    return good &&
           (memcmp(&a, &b, sizeof a) != 0 || memcmp(&x, &y, sizeof x) != 0);
}

int main(int argc, char **argv)
{
    static uint8_t text[12000];
    long rounds = argc > 1 ? atol(argv[1]) : 2000;
    int level;
    long i;

    for (i = 0; i < rounds; i++) {
        size_t n = random_text(text, i % 10 ? 600 : sizeof text);
        uint8_t *exact = malloc(n ? n : 1);

        if (!exact)
            return 99;
        memcpy(exact, text, n);
        (void)LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    for (level = 0; level < MR_KERNEL_LEVELS; level++) {
        if (!mr_kernels_force((enum mr_kernel_level)level))
            continue;
        for (i = 0; i < rounds; i++) {
            size_t n = random_text(text, i % 10 ? 600 : sizeof text);
            int difference = check_csv((enum mr_kernel_level)level, text, n);

            if (difference != 0) {
                fprintf(stderr, "%s: CSV differs, %d\n", mr_kernels()->name,
                    difference);
                return 1;
            }
            for (size_t at = 0; n - at >= 64; at += 64) {
                if (differs_in_marks((enum mr_kernel_level)level, text + at)) {
                    fprintf(stderr, "%s: marks differ\n", mr_kernels()->name);
                    return 1;
                }
            }
        }
        for (i = 0; i < 100; i++) {
            if (check_arithmetic(mr_kernels())) {
                fprintf(stderr, "%s: arithmetic differs\n", mr_kernels()->name);
                return 1;
            }
        }
        printf("%s: ok\n", mr_kernels()->name);
    }
    return 0;
}
