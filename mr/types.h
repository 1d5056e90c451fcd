#ifndef MR_TYPES_H
#define MR_TYPES_H

#include "mr/bytes.h"

/*
 * Event types and their numbers.  One table serves all threads, under a
 * lock; each thread looks up in a cache of its own first, which the table
 * never needs to change: once given, a number and its text stay.
 */

/* Numbers fit into the bits that a tuple has for them (mr/batch.h). */
#define MR_TYPES_MAX (UINT32_C(1) << 21)

struct mr_types;

MR_MUST_CHECK enum mr_status mr_types_new(struct mr_types **types_out);
void mr_types_free(struct mr_types *types);

/** How many there are; exact once no thread adds any more. */
uint32_t mr_types_count(const struct mr_types *types);
/** The text of a number; it never moves. */
struct mr_span mr_types_text(const struct mr_types *types, uint32_t id);

/** A thread's own view of a table. */
struct mr_type_cache;

MR_MUST_CHECK enum mr_status mr_type_cache_new(
    struct mr_types *types, struct mr_type_cache **cache_out);
void mr_type_cache_free(struct mr_type_cache *cache);

/** mr_type_id(cache, text, id): The number of a type, new or known.  One
 * comparison when it is the last one asked for; one hash else; the lock only
 * for what this thread meets for the first time.  MR_LIMIT when there are
 * MR_TYPES_MAX types. */
MR_MUST_CHECK enum mr_status mr_type_id(
    struct mr_type_cache *cache, struct mr_span text, uint32_t *id_out);

#endif
