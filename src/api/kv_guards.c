/* Events that read pages of a key/value cache: while one isn't done, its pages aren't given to
 * others. Asked for when pages are needed or counted; nothing runs by itself. */
#include "api/check.h"
#include "api/kv_cache.h"

void clattn__kv_guards_settle(clattn_kv_cache *cache)
{
    for (uint32_t i = cache->guard_count; i-- > 0;) {
        clattn__kv_guard *guard = &cache->guard[i];
        if (clattn_event_poll(guard->event) == CLATTN_PENDING)
            continue;
        clattn__page_pool_let_go(&cache->pool, &guard->hold);
        clattn_event_release(guard->event);
        const clattn__kv_guard done = {.hold = guard->hold};
        *guard = cache->guard[--cache->guard_count];
        cache->guard[cache->guard_count] = done;
    }
}

void clattn__kv_guards_finish(clattn_kv_cache *cache)
{
    for (uint32_t i = 0; i < cache->guard_count; i++)
        clattn_event_release(cache->guard[i].event);
    for (uint32_t i = 0; i < cache->guard_capacity; i++)
        clattn__free(&cache->context->env, cache->guard[i].hold.page);
    clattn__free(&cache->context->env, cache->guard);
}

/* Room for one more guard; new ones are zeros. */
static clattn_status reserve_guard(clattn_kv_cache *cache)
{
    if (cache->guard_count < cache->guard_capacity)
        return CLATTN_OK;
    const uint32_t capacity = 2 * cache->guard_capacity + 4;
    clattn__kv_guard *grown =
        clattn__resize(&cache->context->env, cache->guard, capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = cache->guard_capacity; i < capacity; i++)
        grown[i] = (clattn__kv_guard){0};
    cache->guard = grown;
    cache->guard_capacity = capacity;
    return CLATTN_OK;
}

static clattn_status add_guard(clattn_kv_cache *cache, clattn_event *event, const uint64_t *ids,
                               uint32_t count)
{
    clattn__kv_guards_settle(cache);
    CLATTN__TRY(reserve_guard(cache));
    clattn__kv_guard *guard = &cache->guard[cache->guard_count];
    CLATTN__TRY(clattn__page_pool_hold(&cache->pool, ids, count, &guard->hold));
    clattn__event_ref(event);
    guard->event = event;
    cache->guard_count++;
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_guard(clattn_kv_cache *cache, clattn_event *event,
                                    const uint64_t *ids, uint32_t count)
{
    CLATTN__TRY(clattn__require(event, "event"));
    if (count > 0)
        CLATTN__TRY(clattn__require(ids, "ids"));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    if (event->dispatcher->context != cache->context)
        return clattn__kv_cache_leave(
            cache, clattn__fail(CLATTN_ERR_ARGUMENT, "event: belongs to another context"));
    return clattn__kv_cache_leave(cache, add_guard(cache, event, ids, count));
}
