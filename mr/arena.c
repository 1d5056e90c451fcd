#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/arena.h"

#include <stdatomic.h>
#include <stdlib.h>

/* The usual size: what most files of zstd make one of, a window of 2 MiB with
 * what must be and what may be beside it (mr/stream_zstd.c). */
#define USUAL_BYTES ((size_t)17 << 19)

struct mr_arena {
    atomic_uint holds;                    /* of texts, and the writer's */
    atomic_uint texts[MR_ARENA_SECTIONS]; /* held there */
    size_t size, section;
    uint8_t bytes[];
};

static struct mr_spares spare_arenas;

struct mr_arena *mr_arena_new(size_t n)
{
    size_t size = n > USUAL_BYTES ? n : USUAL_BYTES;
    struct mr_arena *arena = NULL;

    if (size == USUAL_BYTES)
        arena = mr_spares_take(&spare_arenas);
    if (arena == NULL)
        arena = malloc(sizeof(*arena) + size);
    if (arena == NULL)
        return NULL;
    arena->size = size;
    arena->section = size / MR_ARENA_SECTIONS + 1;
    atomic_init(&arena->holds, 1);
    for (unsigned i = 0; i < MR_ARENA_SECTIONS; i++)
        atomic_init(&arena->texts[i], 0);
    return arena;
}

uint8_t *mr_arena_bytes(struct mr_arena *arena)
{
    return arena->bytes;
}

size_t mr_arena_size(const struct mr_arena *arena)
{
    return arena->size;
}

void mr_arena_let_go(struct mr_arena *arena)
{
    /* What others read of it they have read before it is written again. */
    if (arena == NULL ||
        atomic_fetch_sub_explicit(&arena->holds, 1, memory_order_acq_rel) > 1)
        return;
    if (arena->size == USUAL_BYTES)
        arena = mr_spares_give(&spare_arenas, arena);
    free(arena);
}

size_t mr_arena_section_end(const struct mr_arena *arena, size_t at)
{
    size_t end = (at / arena->section + 1) * arena->section;

    return end < arena->size ? end : arena->size;
}

bool mr_arena_is_held(const struct mr_arena *arena, size_t at)
{
    return atomic_load_explicit(
               &arena->texts[at / arena->section], memory_order_acquire) > 0;
}

bool mr_arena_has_text(const struct mr_arena *arena)
{
    for (unsigned i = 0; i < MR_ARENA_SECTIONS; i++)
        if (atomic_load_explicit(&arena->texts[i], memory_order_acquire) > 0)
            return true;
    return false;
}

struct mr_hold mr_hold_text(struct mr_arena *arena, struct mr_span text)
{
    struct mr_hold hold = {NULL, 0, 0};
    size_t at;

    if (arena == NULL || text.n == 0)
        return hold;
    at = (size_t)(text.p - arena->bytes);
    hold.arena = arena;
    atomic_fetch_add_explicit(&arena->holds, 1, memory_order_relaxed);
    hold.first = (unsigned)(at / arena->section);
    hold.last = (unsigned)((at + text.n - 1) / arena->section);
    for (unsigned i = hold.first; i <= hold.last; i++)
        atomic_fetch_add_explicit(&arena->texts[i], 1, memory_order_relaxed);
    return hold;
}

void mr_hold_release(struct mr_hold *hold)
{
    if (hold->arena == NULL)
        return;
    for (unsigned i = hold->first; i <= hold->last; i++)
        atomic_fetch_sub_explicit(
            &hold->arena->texts[i], 1, memory_order_release);
    mr_arena_let_go(hold->arena);
    hold->arena = NULL;
}

void mr_arena_release_spares(void)
{
    mr_spares_release(&spare_arenas, free);
}
