#ifndef MR_ARENA_H
#define MR_ARENA_H

#include "mr/bytes.h"

/*
 * Memory that one thread, the writer, unpacks text into, again and again from
 * its beginning, while others parse what stands there: a ring.  Whoever needs
 * some text holds it, and the arena with it.  Holds are counted by section, so
 * that the writer knows where nobody reads any more.  Both kinds of counts are
 * atomic, and there is no lock.
 *
 * Arenas of the usual size are kept for the next stream when nobody holds
 * them any more: clearing fresh pages takes as long as unpacking into them.
 */
struct mr_arena;

#define MR_ARENA_SECTIONS 16

/** mr_arena_new(n): One of at least n bytes, of which no text is held, for the
 * caller to write to; they are not initialised.  NULL: no memory. */
struct mr_arena *mr_arena_new(size_t n);

uint8_t *mr_arena_bytes(struct mr_arena *arena);
size_t mr_arena_size(const struct mr_arena *arena);

/** mr_arena_let_go(arena): The writer is done with it, which may be NULL.  When
 * no text of it is held any more either, it is freed, or kept for the next. */
void mr_arena_let_go(struct mr_arena *arena);

/** mr_arena_section_end(arena, at): Where the section ends that at is in. */
size_t mr_arena_section_end(const struct mr_arena *arena, size_t at);

/** mr_arena_is_held(arena, at): Whether any text is held in the section that
 * at is in.  If not, all that others did with what was held there has been
 * done.  mr_arena_has_text: the same of the whole. */
bool mr_arena_is_held(const struct mr_arena *arena, size_t at);
bool mr_arena_has_text(const struct mr_arena *arena);

/** Some text of an arena that is held; all zero: none. */
struct mr_hold {
    struct mr_arena *arena;
    unsigned first, last; /* sections */
};

/** mr_hold_text(arena, text): Hold some of its text; arena may be NULL, which
 * gives none.  By the writer, which is what keeps holds and is_held apart. */
struct mr_hold mr_hold_text(struct mr_arena *arena, struct mr_span text);

/** mr_hold_release(hold): The text is not needed any more.  Any thread. */
void mr_hold_release(struct mr_hold *hold);

/** mr_arena_release_spares(): Free those that are kept, at most MR_SPARES.
 * Any thread, at any time. */
void mr_arena_release_spares(void);

#endif
