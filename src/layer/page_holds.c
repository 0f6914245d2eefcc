/* Pages that are read: what is held isn't given to others, nor written for them. See page_pool.h.
 */
#include "layer/page_pool.h"

static clattn_status reserve_hold(const clattn__page_pool *pool, int64_t pages,
                                  clattn__page_hold *hold)
{
    const int32_t capacity = pages < pool->count ? (int32_t)pages : pool->count;
    if (capacity <= hold->capacity)
        return CLATTN_OK;
    int32_t *grown = clattn__resize(pool->env, hold->page, (size_t)capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    hold->page = grown;
    hold->capacity = capacity;
    return CLATTN_OK;
}

static void hold_pages(clattn__page_pool *pool, const clattn__page_sequence *of,
                       clattn__page_hold *hold)
{
    for (int64_t i = 0; i < clattn__page_pool_pages(pool, of->length); i++) {
        const int32_t page = of->page[i];
        if (pool->state[page] & CLATTN__PAGE_LISTED)
            continue;
        pool->state[page] |= CLATTN__PAGE_LISTED;
        pool->readers[page]++;
        hold->page[hold->count++] = page;
    }
}

static const clattn__page_sequence *held_sequence(const clattn__page_pool *pool,
                                                  const uint64_t *ids, uint32_t i)
{
    return ids ? clattn__page_pool_get(pool, ids[i]) : &pool->sequence[i];
}

clattn_status clattn__page_pool_hold(clattn__page_pool *pool, const uint64_t *ids, uint32_t count,
                                     clattn__page_hold *hold)
{
    int64_t pages = 0;
    const uint32_t sequences = ids ? count : (uint32_t)pool->sequences;
    for (uint32_t i = 0; i < sequences; i++) {
        const clattn__page_sequence *of = held_sequence(pool, ids, i);
        if (!of)
            return CLATTN_ERR_ARGUMENT;
        pages += clattn__page_pool_pages(pool, of->length);
    }
    CLATTN__TRY(reserve_hold(pool, pages, hold));
    hold->count = 0;
    for (uint32_t i = 0; i < sequences; i++)
        hold_pages(pool, held_sequence(pool, ids, i), hold);
    for (int32_t i = 0; i < hold->count; i++)
        pool->state[hold->page[i]] &= (uint8_t)~CLATTN__PAGE_LISTED;
    return CLATTN_OK;
}

/* What is copied was left by the sequence that it is copied for. */
clattn_status clattn__page_pool_hold_copied(clattn__page_pool *pool,
                                            const clattn__page_copy *copies, uint32_t copied,
                                            clattn__page_hold *hold)
{
    CLATTN__TRY(reserve_hold(pool, copied, hold));
    hold->count = 0;
    for (uint32_t i = 0; i < copied; i++) {
        const int32_t page = copies[i].from;
        pool->state[page] |= CLATTN__PAGE_LEFT;
        pool->readers[page]++;
        hold->page[hold->count++] = page;
    }
    return CLATTN_OK;
}

void clattn__page_pool_let_go(clattn__page_pool *pool, clattn__page_hold *hold)
{
    for (int32_t i = 0; i < hold->count; i++) {
        const int32_t page = hold->page[i];
        if (--pool->readers[page] > 0)
            continue;
        pool->state[page] = 0;
        if (pool->references[page] > 0)
            continue;
        pool->waiting_count--;
        pool->free_page[pool->free_count++] = page;
    }
    hold->count = 0;
}
