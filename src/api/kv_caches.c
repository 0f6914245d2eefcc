/* Key/value caches: the public functions. The books are src/layer/page_pool.c's; here is the memory
 * that pages are of, (layer, page, head, token, dim) of keys and of values. */
#include <clattn/layer.h>
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "api/kv_cache.h"
#include "problem/dtype.h"

/* Bytes of one row of a key or value. */
static uint64_t row_bytes(const clattn_kv_cache_desc *desc, int values)
{
    return (uint64_t)(values ? desc->value_dim : desc->head_dim) *
           clattn__dtype_get(desc->dtype)->size;
}

/* Bytes of a page of one layer. */
static uint64_t page_bytes(const clattn_kv_cache_desc *desc, int values)
{
    return row_bytes(desc, values) * (uint64_t)desc->n_kv_head * (uint64_t)desc->page_size;
}

static uint64_t page_offset(const clattn_kv_cache *cache, int values, int64_t layer, int32_t page)
{
    return ((uint64_t)layer * (uint64_t)cache->desc.pages + (uint64_t)page) *
           page_bytes(&cache->desc, values);
}

/* ---- from birth to death --------------------------------------------------------------------- */

static clattn_status check_field(const char *name, int64_t value, int64_t most)
{
    if (value < 1 || value > most)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is %" PRId64 ", must be 1 to %" PRId64, name,
                            value, most);
    return CLATTN_OK;
}

static clattn_status check_desc(const clattn_kv_cache_desc *desc)
{
    if (desc->struct_size != sizeof *desc)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "desc: struct_size is %" PRIu32 "; use clattn_kv_cache_desc_init",
                            desc->struct_size);
    if (desc->dtype != CLATTN_F32 && desc->dtype != CLATTN_F16 && desc->dtype != CLATTN_BF16)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "dtype: %d is none of F32, F16 and BF16",
                            (int)desc->dtype);
    CLATTN__TRY(check_field("layers", desc->layers, INT32_MAX));
    CLATTN__TRY(check_field("n_kv_head", desc->n_kv_head, INT32_MAX));
    CLATTN__TRY(check_field("head_dim", desc->head_dim, 576));
    CLATTN__TRY(check_field("value_dim", desc->value_dim, 576));
    CLATTN__TRY(check_field("page_size", desc->page_size, INT32_MAX));
    CLATTN__TRY(check_field("pages", desc->pages, INT32_MAX));
    const double bytes = (double)desc->layers * (double)desc->pages * (double)desc->n_kv_head *
                         (double)desc->page_size * 576 * 4;
    if (bytes > 0x1p62)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "desc: needs more than 2^62 bytes");
    return CLATTN_OK;
}

static clattn_status make_memory(clattn_kv_cache *made)
{
    for (int values = 0; values < 2; values++)
        CLATTN__TRY(clattn_buffer_create(
            made->context, page_offset(made, values, made->desc.layers, 0), &made->memory[values]));
    const uint64_t keys = page_bytes(&made->desc, 0), values = page_bytes(&made->desc, 1);
    made->page = clattn__alloc(&made->context->env, (size_t)(keys > values ? keys : values));
    return made->page ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

static void free_cache(clattn_kv_cache *cache)
{
    clattn_context *context = cache->context;
    clattn__kv_guards_finish(cache);
    for (int values = 0; values < 2; values++)
        clattn_buffer_destroy(cache->memory[values]);
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
    CLATTN__TRY(clattn__require(desc, "desc"));
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
        status = make_memory(made);
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

/* Copies a page of all layers. */
static clattn_status copy_page(const clattn_kv_cache *cache, clattn__page_copy copy)
{
    for (int values = 0; values < 2; values++)
        for (int64_t layer = 0; layer < cache->desc.layers; layer++) {
            const uint64_t size = page_bytes(&cache->desc, values);
            CLATTN__TRY(clattn_buffer_read(cache->memory[values],
                                           page_offset(cache, values, layer, copy.from),
                                           cache->page, size));
            CLATTN__TRY(clattn_buffer_write(cache->memory[values],
                                            page_offset(cache, values, layer, copy.to), cache->page,
                                            size));
        }
    return CLATTN_OK;
}

clattn_status clattn__kv_cache_quiet(const clattn_kv_cache *cache, clattn_dispatcher *dispatcher)
{
    if (dispatcher->context != cache->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: belongs to another context");
    return clattn__dispatcher_drain(dispatcher);
}

/* After everything in flight, which may still write the pages. */
static clattn_status copy_pages(const clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                const clattn__page_copy *copies, uint32_t count)
{
    if (count == 0)
        return CLATTN_OK;
    clattn_status status = clattn__kv_cache_quiet(cache, dispatcher);
    for (uint32_t i = 0; status == CLATTN_OK && i < count; i++)
        status = copy_page(cache, copies[i]);
    return status;
}

static clattn_status extend(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                            const uint64_t *ids, const int64_t *tokens, uint32_t count)
{
    const clattn__env *env = &cache->context->env;
    uint32_t copied = 0;
    clattn__page_copy *copies = clattn__alloc_array(env, count, sizeof *copies);
    if (!copies)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn__kv_guards_settle(cache);
    clattn_status status =
        clattn__page_pool_extend(&cache->pool, ids, tokens, count, copies, &copied);
    if (status == CLATTN_OK)
        status = copy_pages(cache, dispatcher, copies, copied);
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
    if (dispatcher->context != cache->context)
        return clattn__kv_cache_leave(
            cache, clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: belongs to another context"));
    return clattn__kv_cache_leave(cache, extend(cache, dispatcher, ids, tokens, count));
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
    CLATTN__TRY(check_field("limit", limit, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    clattn_status status = CLATTN_OK;
    for (uint32_t i = 0; status == CLATTN_OK && i < count; i++)
        status = fill_table(&cache->pool, ids[i], limit, pages + (int64_t)i * limit,
                            lengths ? &lengths[i] : NULL);
    return clattn__kv_cache_leave(cache, status);
}

static void describe_tensor(const clattn_kv_cache *cache, int values, clattn_tensor *tensor)
{
    const int64_t dim = values ? cache->desc.value_dim : cache->desc.head_dim;
    tensor->dtype = cache->desc.dtype;
    tensor->strided = 1;
    tensor->stride[3] = 1;
    tensor->stride[2] = dim;
    tensor->stride[1] = cache->desc.page_size * dim;
    tensor->stride[0] = cache->desc.n_kv_head * tensor->stride[1];
}

static int64_t limit_of(const clattn_kv_cache *cache, int64_t tokens)
{
    const int64_t pages = clattn__page_pool_pages(&cache->pool, tokens);
    return pages > 0 ? pages : 1;
}

clattn_status clattn_kv_cache_describe_attention(clattn_kv_cache *cache,
                                                 clattn_attention_desc *desc)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__require(desc, "desc"));
    desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) | CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    desc->n_kv_head = cache->desc.n_kv_head;
    desc->head_dim = cache->desc.head_dim;
    desc->value_dim = cache->desc.value_dim;
    desc->page_size = cache->desc.page_size;
    desc->n_pages = cache->desc.pages;
    desc->page_limit = limit_of(cache, desc->n_kv);
    describe_tensor(cache, 0, &desc->tensor[CLATTN_SLOT_K]);
    describe_tensor(cache, 1, &desc->tensor[CLATTN_SLOT_V]);
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_describe_append(clattn_kv_cache *cache, int64_t tokens,
                                              clattn_append_desc *desc)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__require(desc, "desc"));
    CLATTN__TRY(check_field("tokens", tokens, INT32_MAX));
    desc->n_kv_head = cache->desc.n_kv_head;
    desc->head_dim = cache->desc.head_dim;
    desc->value_dim = cache->desc.value_dim;
    desc->page_size = cache->desc.page_size;
    desc->n_pages = cache->desc.pages;
    desc->page_limit = limit_of(cache, tokens);
    describe_tensor(cache, 0, &desc->tensor[CLATTN_SLOT_PRESENT_K]);
    describe_tensor(cache, 1, &desc->tensor[CLATTN_SLOT_PRESENT_V]);
    return CLATTN_OK;
}

static clattn_status check_layer(const clattn_kv_cache *cache, int64_t layer)
{
    if (layer < 0 || layer >= cache->desc.layers)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "layer: is %" PRId64 ", must be 0 to %" PRId64,
                            layer, cache->desc.layers - 1);
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_bind(clattn_kv_cache *cache, int64_t layer, uint32_t append,
                                   clattn_binding bindings[2])
{
    static const clattn_slot slots[2][2] = {{CLATTN_SLOT_K, CLATTN_SLOT_V},
                                            {CLATTN_SLOT_PRESENT_K, CLATTN_SLOT_PRESENT_V}};
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__require(bindings, "bindings"));
    CLATTN__TRY(check_layer(cache, layer));
    for (int values = 0; values < 2; values++)
        bindings[values] = (clattn_binding){.slot = slots[append != 0][values],
                                            .buffer = cache->memory[values],
                                            .offset = page_offset(cache, values, layer, 0)};
    return CLATTN_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

uint64_t clattn__kv_cache_row_bytes(const clattn_kv_cache *cache, int values)
{
    return row_bytes(&cache->desc, values);
}

clattn_status clattn__kv_cache_move_head(const clattn_kv_cache *cache, const clattn__kv_rows *rows,
                                         int values, int64_t head, void *data, bool write)
{
    const int64_t size = cache->desc.page_size;
    const uint64_t row = row_bytes(&cache->desc, values);
    char *at = data;
    int64_t next;
    for (int64_t i = rows->begin; i < rows->end; i = next) {
        next = (i / size + 1) * size < rows->end ? (i / size + 1) * size : rows->end;
        const uint64_t offset = page_offset(cache, values, rows->layer, rows->of->page[i / size]) +
                                (uint64_t)(head * size + i % size) * row;
        const uint64_t bytes = (uint64_t)(next - i) * row;
        clattn_buffer *memory = cache->memory[values];
        CLATTN__TRY(write ? clattn_buffer_write(memory, offset, at, bytes)
                          : clattn_buffer_read(memory, offset, at, bytes));
        at += bytes;
    }
    return CLATTN_OK;
}

static clattn_status read_rows(const clattn_kv_cache *cache, const clattn__kv_rows *from,
                               int values, void *to)
{
    const uint64_t bytes = (uint64_t)(from->end - from->begin) * row_bytes(&cache->desc, values);
    for (int64_t head = 0; to && head < cache->desc.n_kv_head; head++)
        CLATTN__TRY(clattn__kv_cache_move_head(cache, from, values, head,
                                               (char *)to + (uint64_t)head * bytes, false));
    return CLATTN_OK;
}

static clattn_status read_both(const clattn_kv_cache *cache, const clattn__kv_rows *from, void *k,
                               void *v)
{
    if (from->begin < 0 || from->end < from->begin || from->end > from->of->length)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "begin: %" PRId64 " to %" PRId64 " is not within the %" PRId64
                            " tokens of sequence %" PRIu64,
                            from->begin, from->end, from->of->length, from->of->id);
    CLATTN__TRY(read_rows(cache, from, 0, k));
    return read_rows(cache, from, 1, v);
}

clattn_status clattn_kv_cache_read(clattn_kv_cache *cache, const clattn_kv_range *range, void *k,
                                   void *v)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__require(range, "range"));
    CLATTN__TRY(check_layer(cache, range->layer));
    if (range->count < 0 || range->count > INT32_MAX || range->begin > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "count: is %" PRId64 ", must be 0 to 2^31-1",
                            range->count);
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    const clattn__kv_rows from = {clattn__page_pool_find(&cache->pool, range->id), range->layer,
                                  range->begin, range->begin + range->count};
    return clattn__kv_cache_leave(cache,
                                  from.of ? read_both(cache, &from, k, v) : CLATTN_ERR_ARGUMENT);
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
    for (int values = 0; values < 2; values++)
        made.bytes += clattn_buffer_size(cache->memory[values]);
    return clattn__kv_cache_leave(cache, clattn__struct_copy(info, &made, sizeof made, "info"));
}
