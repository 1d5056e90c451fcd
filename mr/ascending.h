#ifndef MR_ASCENDING_H
#define MR_ASCENDING_H

#include "mr/bytes.h"

/*
 * Sets of 64-bit numbers, as ascending arrays without repetition and packed.
 * The packed form is that of Elias and Fano as in Vigna, "Quasi-succinct
 * indices" (WSDM 2013): of each number less the first the low bits as they
 * are, the rest as a bitmap in which the i-th set bit stands at place
 * rest + i.  It takes some two and a half bits a number more than the gaps'
 * size demands, whatever the numbers are, so no input can make it long; its
 * length follows from the first, the last and how many there are; and there
 * is one form for one set.
 */

/* Most numbers that are packed together. */
#define MR_ASCENDING_MAX 65536

/** mr_ascending_sort(v, n, scratch): Put n numbers in ascending order, each
 * once; return how many are left.  scratch: room for n.  Time goes with n,
 * whatever the numbers are. */
size_t mr_ascending_sort(uint64_t *v, size_t n, uint64_t *scratch);

/** mr_ascending_bytes(first, last, n): The length of n numbers (1 to
 * MR_ASCENDING_MAX) of which these are the first and last, packed: at most
 * 9 n bytes. */
size_t mr_ascending_bytes(uint64_t first, uint64_t last, size_t n);

/** mr_ascending_pack(v, n, out): Pack; out has room for all of
 * mr_ascending_bytes. */
void mr_ascending_pack(const uint64_t *v, size_t n, uint8_t *out);

/** mr_ascending_unpack(packed, first, last, n, out): Unpack bytes that are
 * not trusted.  False unless they are what mr_ascending_pack makes of n
 * numbers of which these are the first and last. */
bool mr_ascending_unpack(struct mr_span packed, uint64_t first, uint64_t last,
    size_t n, uint64_t *out);

#endif
