#ifndef MR_TYPES_H
#define MR_TYPES_H

#include <stdbool.h>

#include "mr/bytes.h"

/*
 * Texts that events are counted by, and their numbers: event types, and what
 * a spec asks for besides, as groups of a rollup.  A text in the table begins
 * with a byte that tells its kind.  One table serves all threads, under a
 * lock; each thread looks up in a cache of its own first, which the table
 * never needs to change: once given, a number and its text stay.
 *
 * Of a rollup's groups a table keeps those whose texts have the least hashes,
 * so many as the rollup may have; all others are one group, whose text is
 * nothing but the byte of its kind.  Which they are depends on the set of
 * groups alone, so that a part's choice never contradicts the whole's: what
 * is not among the least of some is not among the least of more.
 *
 * The set is that of the groups that count, which is known once a partition
 * has been read to its end (mr_types_keep).  Until then a group can be given
 * up at once for two reasons only: that there are enough with lesser hashes
 * among those that count, or among those of its own partition, for then it is
 * not kept if they count, and does not matter if they do not.  The second is
 * what a scope is for.  Once a quarter of all numbers is taken, there is a
 * third, as they would run out else: that there are enough among all that were
 * met.  Then a group can be missing that partitions which came to nothing have
 * kept out (mr_head_odd_rollup, mr/state.h, tells).
 */

/* Kinds: the first byte of a text. */
enum {
    MR_TEXT_TYPE = 0,      /* an event type */
    MR_TEXT_IDENTITY = 1,  /* a path that users' ids came from */
    MR_TEXT_UNKNOWN = 2,   /* a type, for users who are not in the table */
    MR_TEXT_ATTRIBUTE = 3, /* of segments_by, its number as a byte from 1 on
                            * and a value; to tell users apart by */
    MR_TEXT_ROLLUP = 16,   /* and further: groups of each rollup */
    MR_TEXT_KINDS = 32
};

/* Numbers fit into the bits that a tuple has for them (mr/batch.h). */
#define MR_TYPES_MAX (UINT32_C(1) << 21)

struct mr_types;

MR_MUST_CHECK enum mr_status mr_types_new(struct mr_types **types_out);
void mr_types_free(struct mr_types *types);

/** mr_types_limit(types, kind, most): How many groups of a kind to keep;
 * before any text of the kind is asked for; most >= 1.  They take up to 64
 * bytes each, and 32 more in each scope. */
void mr_types_limit(struct mr_types *types, unsigned kind, uint32_t most);

/** How many there are; exact once no thread adds any more. */
uint32_t mr_types_count(const struct mr_types *types);
/** The text of a number, its kind's byte included; it never moves. */
struct mr_span mr_types_text(const struct mr_types *types, uint32_t id);
/** mr_types_is_new_group(types, id): Whether a number is that of a group that
 * mr_types_keep has not been given.  Without the lock. */
bool mr_types_is_new_group(const struct mr_types *types, uint32_t id);
/** mr_types_keep(types, id, n): These n groups count, each once: known ones,
 * too.  MR_NOMEM.  The lock once, for none not at all. */
MR_MUST_CHECK enum mr_status mr_types_keep(
    struct mr_types *types, const uint32_t *id, size_t n);
/** mr_types_final(types, id): The number that stands for this one in the end:
 * its own, or, of a group that counts and is not kept, that of all such.
 * Once no thread adds any more. */
uint32_t mr_types_final(const struct mr_types *types, uint32_t id);

/** The groups of one partition that is being read, by any threads. */
struct mr_type_scope;

MR_MUST_CHECK enum mr_status mr_type_scope_new(
    struct mr_type_scope **scope_out);
/** Empty it, for another partition, keeping its memory. */
void mr_type_scope_clear(struct mr_type_scope *scope);
void mr_type_scope_free(struct mr_type_scope *scope);

/** A thread's own view of a table. */
struct mr_type_cache;

MR_MUST_CHECK enum mr_status mr_type_cache_new(
    struct mr_types *types, struct mr_type_cache **cache_out);
void mr_type_cache_free(struct mr_type_cache *cache);
/** mr_type_cache_enter(cache, scope): What is asked for from now on is of this
 * partition; it stays the caller's.  NULL, as at first: of none that could be
 * told. */
void mr_type_cache_enter(
    struct mr_type_cache *cache, struct mr_type_scope *scope);

/** mr_type_id(cache, kind, text, id): The number of a text of a kind, new or
 * known.  One comparison when it is the type last asked for; one hash else;
 * the lock only for what this thread meets for the first time, and not for
 * groups that cannot be kept.  MR_LIMIT when there are MR_TYPES_MAX texts. */
MR_MUST_CHECK enum mr_status mr_type_id(struct mr_type_cache *cache,
    unsigned kind, struct mr_span text, uint32_t *id_out);

#endif
