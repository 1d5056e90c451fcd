#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/pool.h"

#include <stdlib.h>
#include <string.h>

void mr_pool_release(struct mr_pool *pool)
{
    free(pool->word);
    memset(pool, 0, sizeof(*pool));
}

enum mr_status mr_pool_take(
    struct mr_pool *pool, unsigned class, size_t *place_out)
{
    size_t need = mr_pool_words(class);

    if (pool->free[class] != 0) {
        *place_out = (size_t)(pool->free[class] - 1);
        pool->free[class] = pool->word[*place_out];
        return MR_OK;
    }
    if (pool->cap - pool->n < need) {
        size_t cap = pool->cap + pool->cap / 4 + need + 64;
        uint64_t *word = realloc(pool->word, cap * sizeof(*word));

        if (word == NULL)
            return MR_NOMEM;
        pool->word = word;
        pool->cap = cap;
    }
    *place_out = pool->n;
    pool->n += need;
    return MR_OK;
}

void mr_pool_give(struct mr_pool *pool, unsigned class, size_t place)
{
    pool->word[place] = pool->free[class];
    pool->free[class] = place + 1;
}
