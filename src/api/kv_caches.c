/* Key/value caches: from birth to death, sequences, room for tokens. The books are
 * src/layer/page_pool.c's, the memory that pages are of kv_memory.c's. */
#include <clattn/layer.h>
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "api/kv_cache.h"
#include "base/unknown.h"
#include "problem/dtype.h"

/* ---- from birth to death --------------------------------------------------------------------- */

clattn_status clattn__kv_cache_check_field(const char *name, int64_t value, int64_t most)
{
    if (value < 1 || value > most)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is %" PRId64 ", must be 1 to %" PRId64, name,
                            value, most);
    return CLATTN_OK;
}

static clattn_status check_type(const clattn_kv_cache_desc *desc)
{
    const bool quantised = clattn__dtype_is_quantised(desc->dtype);
    if (!quantised && desc->dtype != CLATTN_F32 && desc->dtype != CLATTN_F16 &&
        desc->dtype != CLATTN_BF16)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "dtype: %d is none of F32, F16, BF16, I8, I4",
                            (int)desc->dtype);
    if (desc->scale_channels != 0 && (desc->scale_channels != 32 || !quantised))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "scale_channels: is %" PRId64 ", must be 0, or 32 with I8 or I4",
                            desc->scale_channels);
    if (desc->dtype == CLATTN_I4 && (desc->head_dim % 2 || desc->value_dim % 2))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "dtype: I4 needs an even head_dim and value_dim, not %" PRId64
                            " and %" PRId64,
                            desc->head_dim, desc->value_dim);
    return CLATTN_OK;
}

static clattn_status check_desc(const clattn_kv_cache_desc *desc)
{
    CLATTN__TRY(clattn__check_known(desc, sizeof *desc, "desc", "clattn_kv_cache_desc_init"));
    CLATTN__TRY(check_type(desc));
    CLATTN__TRY(clattn__kv_cache_check_field("layers", desc->layers, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_check_field("n_kv_head", desc->n_kv_head, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_check_field("head_dim", desc->head_dim, 576));
    CLATTN__TRY(clattn__kv_cache_check_field("value_dim", desc->value_dim, 576));
    CLATTN__TRY(clattn__kv_cache_check_field("page_size", desc->page_size, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_check_field("pages", desc->pages, INT32_MAX));
    const double bytes = (double)desc->layers * (double)desc->pages * (double)desc->n_kv_head *
                         (double)desc->page_size * 576 * 4;
    if (bytes > 0x1p62)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "desc: needs more than 2^62 bytes");
    return CLATTN_OK;
}

static void free_cache(clattn_kv_cache *cache)
{
    clattn_context *context = cache->context;
    clattn__kv_guards_finish(cache);
    for (int part = 0; part < CLATTN__KV_PARTS; part++)
        clattn_buffer_destroy(cache->memory[part]);
    clattn__free(&context->env, cache->page);
    clattn__page_pool_finish(&cache->pool);
    clattn__mutex_finish(&cache->lock);
    clattn__free(&context->env, cache);
    clattn__context_drop(context);
}

clattn_status clattn_kv_cache_create(clattn_context *context, const clattn_kv_cache_desc *desc,
                                     clattn_kv_cache **cache)
{
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)cache, "cache"));
    CLATTN__TRY(check_desc(desc));
    clattn_kv_cache *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK) {
        clattn__free(&context->env, made);
        return status;
    }
    made->context = context;
    made->desc = *desc;
    clattn__context_hold(context);
    status =
        clattn__page_pool_init(&made->pool, &context->env, desc->page_size, (int32_t)desc->pages);
    if (status == CLATTN_OK)
        status = clattn__kv_cache_make_memory(made);
    if (status == CLATTN_OK)
        *cache = made;
    else
        free_cache(made);
    return status;
}

void clattn_kv_cache_destroy(clattn_kv_cache *cache)
{
    if (cache && clattn__context_check(cache->context) == CLATTN_OK)
        free_cache(cache);
}

/* ---- sequences ------------------------------------------------------------------------------- */

clattn_status clattn__kv_cache_enter(clattn_kv_cache *cache)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__context_check(cache->context));
    clattn__mutex_lock(&cache->lock);
    return CLATTN_OK;
}

clattn_status clattn__kv_cache_leave(clattn_kv_cache *cache, clattn_status status)
{
    clattn__mutex_unlock(&cache->lock);
    return status;
}

clattn_status clattn_kv_cache_add(clattn_kv_cache *cache, uint64_t id)
{
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, clattn__page_pool_add(&cache->pool, id));
}

clattn_status clattn_kv_cache_fork(clattn_kv_cache *cache, uint64_t id, uint64_t from,
                                   int64_t length)
{
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, clattn__page_pool_fork(&cache->pool, id, from, length));
}

clattn_status clattn_kv_cache_truncate(clattn_kv_cache *cache, uint64_t id, int64_t length)
{
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, clattn__page_pool_truncate(&cache->pool, id, length));
}

clattn_status clattn_kv_cache_remove(clattn_kv_cache *cache, uint64_t id)
{
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, clattn__page_pool_remove(&cache->pool, id));
}

clattn_status clattn_kv_cache_length(clattn_kv_cache *cache, uint64_t id, int64_t *length)
{
    CLATTN__TRY(clattn__require(length, "length"));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, id);
    if (of)
        *length = of->length;
    return clattn__kv_cache_leave(cache, of ? CLATTN_OK : CLATTN_ERR_ARGUMENT);
}

/* ---- room for tokens ------------------------------------------------------------------------- */

clattn_status clattn__kv_cache_check_dispatcher(const clattn_kv_cache *cache,
                                                const clattn_dispatcher *dispatcher)
{
    if (dispatcher->context != cache->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: belongs to another context");
    return CLATTN_OK;
}

clattn_status clattn__kv_cache_wait(clattn_kv_cache *cache, clattn_dispatcher *dispatcher)
{
    clattn__mutex_unlock(&cache->lock);
    const clattn_status status = clattn__dispatcher_drain(dispatcher);
    clattn__mutex_lock(&cache->lock);
    return status;
}

/* What is in flight may still write the pages, or read those that are new. */
clattn_status clattn__kv_cache_copy_pages(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                          const clattn__page_copy *copies, uint32_t count,
                                          clattn__page_hold *hold)
{
    CLATTN__TRY(clattn__page_pool_hold_copied(&cache->pool, copies, count, hold));
    CLATTN__TRY(clattn__kv_cache_wait(cache, dispatcher));
    for (uint32_t i = 0; i < count; i++)
        CLATTN__TRY(clattn__kv_cache_copy_page(cache, copies[i]));
    return CLATTN_OK;
}

static clattn_status extend(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                            const uint64_t *ids, const int64_t *tokens, uint32_t count)
{
    const clattn__env *env = &cache->context->env;
    uint32_t copied = 0;
    clattn__page_hold hold = {0};
    clattn__page_copy *copies = clattn__alloc_array(env, count, sizeof *copies);
    if (!copies)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn__kv_guards_settle(cache);
    clattn_status status =
        clattn__page_pool_extend(&cache->pool, ids, tokens, count, copies, &copied);
    if (status == CLATTN_OK && copied) {
        status = clattn__kv_cache_copy_pages(cache, dispatcher, copies, copied, &hold);
        if (status != CLATTN_OK)
            clattn__page_pool_undo(&cache->pool, ids, tokens, count, copies, copied);
    }
    clattn__page_pool_let_go(&cache->pool, &hold);
    clattn__free(env, hold.page);
    clattn__free(env, copies);
    return status;
}

clattn_status clattn_kv_cache_extend(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                     const uint64_t *ids, const int64_t *tokens, uint32_t count)
{
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    if (count == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__require(ids, "ids"));
    CLATTN__TRY(clattn__require(tokens, "tokens"));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    clattn_status status = clattn__kv_cache_check_dispatcher(cache, dispatcher);
    if (status == CLATTN_OK)
        status = extend(cache, dispatcher, ids, tokens, count);
    return clattn__kv_cache_leave(cache, status);
}

/* ---- what steps need ------------------------------------------------------------------------- */

static clattn_status fill_table(const clattn__page_pool *pool, uint64_t id, int64_t limit,
                                int32_t *pages, int32_t *length)
{
    const clattn__page_sequence *of = clattn__page_pool_find(pool, id);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    const int64_t count = clattn__page_pool_pages(pool, of->length);
    if (count > limit)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "limit: is %" PRId64 ", but sequence %" PRIu64 " has %" PRId64 " pages",
                            limit, id, count);
    for (int64_t i = 0; i < limit; i++)
        pages[i] = i < count ? of->page[i] : 0;
    if (length)
        *length = (int32_t)of->length;
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_tables(clattn_kv_cache *cache, const uint64_t *ids, uint32_t count,
                                     int64_t limit, int32_t *pages, int32_t *lengths)
{
    if (count == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__require(ids, "ids"));
    CLATTN__TRY(clattn__require(pages, "pages"));
    CLATTN__TRY(clattn__kv_cache_check_field("limit", limit, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    clattn_status status = CLATTN_OK;
    for (uint32_t i = 0; status == CLATTN_OK && i < count; i++)
        status = fill_table(&cache->pool, ids[i], limit, pages + (int64_t)i * limit,
                            lengths ? &lengths[i] : NULL);
    return clattn__kv_cache_leave(cache, status);
}

clattn_status clattn_kv_cache_get_info(clattn_kv_cache *cache, clattn_kv_cache_info *info)
{
    CLATTN__TRY(clattn__require(info, "info"));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    clattn__kv_guards_settle(cache);
    const clattn__page_pool *pool = &cache->pool;
    clattn_kv_cache_info made = {.pages = pool->count,
                                 .free_pages = pool->free_count,
                                 .sequences = pool->sequences,
                                 .waiting_pages = pool->waiting_count,
                                 .used_pages =
                                     pool->count - pool->free_count - pool->waiting_count};
    for (int64_t i = 0; i < pool->sequences; i++)
        made.tokens += pool->sequence[i].length;
    for (int part = 0; part < clattn__kv_cache_parts(cache); part++)
        made.bytes += clattn_buffer_size(cache->memory[part]);
    return clattn__kv_cache_leave(cache, clattn__struct_copy(info, &made, sizeof made, "info"));
}
