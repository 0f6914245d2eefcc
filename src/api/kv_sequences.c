/* What sequences of a key/value cache have been through: windows that leave tokens behind, and what
 * is known of one sequence. */
#include "api/check.h"
#include "api/kv_cache.h"

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
