#ifndef MR_TESTS_RANDOM_H
#define MR_TESTS_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

/* What follows from it is the same each time: a test that must not depend on
 * those before it sets it.  One thread's. */
static uint64_t seed;

/* Any number: splitmix64, of Steele, Lea and Flood, "Fast splittable
 * pseudorandom number generators", 2014. */
static inline uint64_t any64(void)
{
    uint64_t x = seed += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Any number below that, which is not 0. */
static inline uint64_t any(uint64_t below)
{
    return any64() % below;
}

/* How often to repeat a random test: fewer times with MR_SLOW in the
 * environment, for runs under a tool that makes each many times as long. */
static inline unsigned rounds(unsigned n)
{
    return getenv("MR_SLOW") != NULL ? n / 10 + 1 : n;
}

#endif
