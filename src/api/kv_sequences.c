/* What sequences of a key/value cache have been through: windows that leave tokens behind, and what
 * is known of one sequence. */
#include "api/check.h"
#include "api/kv_cache.h"
#include "base/unknown.h"

clattn_status clattn_kv_cache_evict(clattn_kv_cache *cache, uint64_t id, int64_t sink,
                                    int64_t window, int64_t *evicted)
{
    int64_t tokens;
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    const clattn_status status = clattn__page_pool_evict(&cache->pool, id, sink, window, &tokens);
    if (status == CLATTN_OK && evicted)
        *evicted = tokens;
    return clattn__kv_cache_leave(cache, status);
}

clattn_status clattn_kv_cache_get_sequence(clattn_kv_cache *cache, uint64_t id,
                                           clattn_kv_sequence_info *info)
{
    CLATTN__TRY(clattn__require(info, "info"));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, id);
    if (!of)
        return clattn__kv_cache_leave(cache, CLATTN_ERR_ARGUMENT);
    const clattn_kv_sequence_info made = {
        .length = of->length,
        .pages = clattn__page_pool_pages(&cache->pool, of->length),
        .gap_begin = of->gap_begin,
        .gap = of->gap,
        .position = clattn__page_sequence_position(of, of->length),
    };
    return clattn__kv_cache_leave(cache, clattn__struct_copy(info, &made, sizeof made, "info"));
}

/* ---- windows that move ----------------------------------------------------------------------- */

/* Makes the pages that are kept the sequences' own. */
static clattn_status own_pages(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                               const clattn__page_window *window, uint32_t shared)
{
    const clattn__env *env = &cache->context->env;
    clattn__page_hold hold = {0};
    clattn__page_copy *copies = clattn__alloc_array(env, shared, sizeof *copies);
    if (!copies)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn__page_pool_own(&cache->pool, window, copies);
    const clattn_status status =
        clattn__kv_cache_copy_pages(cache, dispatcher, copies, shared, &hold);
    if (status != CLATTN_OK)
        clattn__page_pool_disown(&cache->pool, window, copies, shared);
    clattn__page_pool_let_go(&cache->pool, &hold);
    clattn__free(env, hold.page);
    clattn__free(env, copies);
    return status;
}

/* What goes is counted once more after the copies: who else has the cache has had the lock. */
static clattn_status shift(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                           const clattn_kv_shift *by)
{
    const clattn__page_window window = {by->ids, by->count, by->sink, by->window};
    uint32_t shared;
    clattn__kv_guards_settle(cache);
    CLATTN__TRY(clattn__page_pool_count_shared(&cache->pool, &window, &shared));
    while (shared > 0) {
        CLATTN__TRY(own_pages(cache, dispatcher, &window, shared));
        CLATTN__TRY(clattn__page_pool_count_shared(&cache->pool, &window, &shared));
    }
    for (uint32_t i = 0; i < by->count; i++) {
        int64_t evicted;
        CLATTN__TRY(
            clattn__page_pool_evict(&cache->pool, by->ids[i], by->sink, by->window, &evicted));
        const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, by->ids[i]);
        by->positions[i] = evicted ? (int32_t)of->gap_begin : 0;
        by->lengths[i] = evicted ? (int32_t)(of->length - of->gap_begin) : 0;
        by->shifts[i] = (int32_t)-evicted;
    }
    return CLATTN_OK;
}

static clattn_status check_shift(const clattn_kv_shift *by)
{
    CLATTN__TRY(clattn__check_known(by, sizeof *by, "shift", "clattn_kv_shift_init"));
    if (by->count == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__require(by->ids, "ids"));
    CLATTN__TRY(clattn__require(by->positions, "positions"));
    CLATTN__TRY(clattn__require(by->lengths, "lengths"));
    return clattn__require(by->shifts, "shifts");
}

clattn_status clattn_kv_cache_shift(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                    const clattn_kv_shift *by)
{
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    CLATTN__TRY(check_shift(by));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    clattn_status status = clattn__kv_cache_check_dispatcher(cache, dispatcher);
    if (status == CLATTN_OK)
        status = clattn__kv_cache_check_rotatable(cache);
    if (status == CLATTN_OK)
        status = shift(cache, dispatcher, by);
    return clattn__kv_cache_leave(cache, status);
}
