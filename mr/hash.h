#ifndef MR_HASH_H
#define MR_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The two hashes that stand in state files and may therefore never change.
 * Both are xxHash's (https://github.com/Cyan4973/xxHash, doc/
 * xxhash_spec.md): a user is XXH64 with seed 0 of the id's UTF-8 bytes, a
 * partition XXH3-128 of its stored bytes, written in the canonical
 * (big-endian) order that the xxhsum program prints.
 */

#define MR_DIGEST_BYTES 16

struct mr_digest {
    uint8_t b[MR_DIGEST_BYTES];
};

/** mr_hash64(p, n): XXH64, seed 0.  Identity of users, checksum of chunks. */
uint64_t mr_hash64(const void *p, size_t n);

/** mr_hash_fast(p, n): A hash for tables in memory, which is never stored:
 * XXH3 with 64 bits. */
uint64_t mr_hash_fast(const void *p, size_t n);

/** mr_hash_place(table, hash, n): Which of n places, at most 2^32, a hash has
 * in the table that lies there.  Nobody can make hashes up that meet, since
 * where a table lies is not known before; so places differ from run to run,
 * and when the table moves. */
static inline uint64_t mr_hash_place(
    const void *table, uint64_t hash, uint64_t n)
{
    uint64_t at = (uint64_t)(uintptr_t)table >> 4;
    uint64_t mixed = hash * (at * UINT64_C(0x9e3779b97f4a7c15) | 1);

    return (mixed >> 32) * n >> 32;
}

/** mr_digest_bytes(p, n): XXH3-128, seed 0, of one piece of memory. */
struct mr_digest mr_digest_bytes(const void *p, size_t n);

/** A digest in the making.  One thread at a time. */
struct mr_digester;

/** Return a new digester, or NULL without memory. */
struct mr_digester *mr_digester_new(void);
void mr_digester_free(struct mr_digester *d);
/** Start afresh, as after mr_digester_new. */
void mr_digester_reset(struct mr_digester *d);
/** Append n bytes. */
void mr_digester_add(struct mr_digester *d, const void *p, size_t n);
/** The digest of all bytes added since the start. */
struct mr_digest mr_digester_value(const struct mr_digester *d);

#define MR_DIGEST_TEXT (2 * MR_DIGEST_BYTES + 1)
/** Write 32 lower-case hexadecimal digits and a NUL. */
void mr_digest_format(const struct mr_digest *d, char out[MR_DIGEST_TEXT]);
/** mr_digest_parse(text, n, digest): Read what mr_digest_format writes, and
 * nothing else; false, leaving the digest unchanged, when it is not that. */
bool mr_digest_parse(const char *text, size_t n, struct mr_digest *digest_out);

#endif
