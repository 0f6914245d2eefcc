/* Key/value caches: the public functions. The books are src/layer/page_pool.c's; here is the memory
 * that pages are of, (layer, page, head, token, dim) of keys and of values, and of their scales. */
#include <clattn/layer.h>
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "dispatch/dispatcher.h"
#include "layer/page_pool.h"
#include "problem/dtype.h"

/* The memory objects of a cache; scales where keys and values are integers. */
enum { KEYS, VALUES, K_SCALES, V_SCALES, PARTS };

struct clattn_kv_cache {
    clattn_context *context; /* borrowed, held */
    clattn_kv_cache_desc desc;
    clattn__mutex lock; /* guards `pool` */
    clattn__page_pool pool;
    clattn_buffer *memory[PARTS]; /* owned; those of parts_of */
    void *page;                   /* room for a page of one layer on its way, owned */
};

static int parts_of(const clattn_kv_cache_desc *desc)
{
    return clattn__dtype_is_quantised(desc->dtype) ? PARTS : K_SCALES;
}

/* Elements of one row. */
static int64_t row_elements(const clattn_kv_cache_desc *desc, int part)
{
    const int64_t dim = part == KEYS || part == K_SCALES ? desc->head_dim : desc->value_dim;
    const int64_t channels = desc->scale_channels ? desc->scale_channels : dim;
    return part < K_SCALES ? dim : (dim + channels - 1) / channels;
}

static clattn_dtype type_of(const clattn_kv_cache_desc *desc, int part)
{
    return part < K_SCALES ? desc->dtype : CLATTN_F32;
}

/* Bytes of one row. */
static uint64_t row_bytes(const clattn_kv_cache_desc *desc, int part)
{
    return (uint64_t)clattn__dtype_bytes(type_of(desc, part), row_elements(desc, part));
}

/* Bytes of a page of one layer. */
static uint64_t page_bytes(const clattn_kv_cache_desc *desc, int part)
{
    return row_bytes(desc, part) * (uint64_t)desc->n_kv_head * (uint64_t)desc->page_size;
}

static uint64_t page_offset(const clattn_kv_cache *cache, int part, int64_t layer, int32_t page)
{
    return ((uint64_t)layer * (uint64_t)cache->desc.pages + (uint64_t)page) *
           page_bytes(&cache->desc, part);
}

/* ---- from birth to death --------------------------------------------------------------------- */

static clattn_status check_field(const char *name, int64_t value, int64_t most)
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
    if (desc->struct_size != sizeof *desc)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "desc: struct_size is %" PRIu32 "; use clattn_kv_cache_desc_init",
                            desc->struct_size);
    CLATTN__TRY(check_type(desc));
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
    uint64_t largest = 0;
    for (int part = 0; part < parts_of(&made->desc); part++) {
        const uint64_t size = page_bytes(&made->desc, part);
        largest = size > largest ? size : largest;
        CLATTN__TRY(clattn_buffer_create(
            made->context, page_offset(made, part, made->desc.layers, 0), &made->memory[part]));
    }
    made->page = clattn__alloc(&made->context->env, (size_t)largest);
    return made->page ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

static void free_cache(clattn_kv_cache *cache)
{
    clattn_context *context = cache->context;
    for (int part = 0; part < PARTS; part++)
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

/* Locks the cache, where CLATTN_OK. */
static clattn_status enter(clattn_kv_cache *cache)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__context_check(cache->context));
    clattn__mutex_lock(&cache->lock);
    return CLATTN_OK;
}

static clattn_status leave(clattn_kv_cache *cache, clattn_status status)
{
    clattn__mutex_unlock(&cache->lock);
    return status;
}

clattn_status clattn_kv_cache_add(clattn_kv_cache *cache, uint64_t id)
{
    CLATTN__TRY(enter(cache));
    return leave(cache, clattn__page_pool_add(&cache->pool, id));
}

clattn_status clattn_kv_cache_fork(clattn_kv_cache *cache, uint64_t id, uint64_t from,
                                   int64_t length)
{
    CLATTN__TRY(enter(cache));
    return leave(cache, clattn__page_pool_fork(&cache->pool, id, from, length));
}

clattn_status clattn_kv_cache_truncate(clattn_kv_cache *cache, uint64_t id, int64_t length)
{
    CLATTN__TRY(enter(cache));
    return leave(cache, clattn__page_pool_truncate(&cache->pool, id, length));
}

clattn_status clattn_kv_cache_remove(clattn_kv_cache *cache, uint64_t id)
{
    CLATTN__TRY(enter(cache));
    return leave(cache, clattn__page_pool_remove(&cache->pool, id));
}

clattn_status clattn_kv_cache_length(clattn_kv_cache *cache, uint64_t id, int64_t *length)
{
    CLATTN__TRY(clattn__require(length, "length"));
    CLATTN__TRY(enter(cache));
    const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, id);
    if (of)
        *length = of->length;
    return leave(cache, of ? CLATTN_OK : CLATTN_ERR_ARGUMENT);
}

/* ---- room for tokens ------------------------------------------------------------------------- */

/* Copies a page of all layers. */
static clattn_status copy_page(const clattn_kv_cache *cache, clattn__page_copy copy)
{
    for (int part = 0; part < parts_of(&cache->desc); part++)
        for (int64_t layer = 0; layer < cache->desc.layers; layer++) {
            const uint64_t size = page_bytes(&cache->desc, part);
            CLATTN__TRY(clattn_buffer_read(cache->memory[part],
                                           page_offset(cache, part, layer, copy.from), cache->page,
                                           size));
            CLATTN__TRY(clattn_buffer_write(
                cache->memory[part], page_offset(cache, part, layer, copy.to), cache->page, size));
        }
    return CLATTN_OK;
}

/* After everything in flight, which may still write the pages. */
static clattn_status copy_pages(const clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                const clattn__page_copy *copies, uint32_t count)
{
    if (count == 0)
        return CLATTN_OK;
    clattn__mutex_lock(&dispatcher->lock);
    clattn_status status = clattn__queue_finish(dispatcher->queue);
    clattn__mutex_unlock(&dispatcher->lock);
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
    CLATTN__TRY(enter(cache));
    if (dispatcher->context != cache->context)
        return leave(cache,
                     clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: belongs to another context"));
    return leave(cache, extend(cache, dispatcher, ids, tokens, count));
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
    CLATTN__TRY(enter(cache));
    clattn_status status = CLATTN_OK;
    for (uint32_t i = 0; status == CLATTN_OK && i < count; i++)
        status = fill_table(&cache->pool, ids[i], limit, pages + (int64_t)i * limit,
                            lengths ? &lengths[i] : NULL);
    return leave(cache, status);
}

static void describe_tensor(const clattn_kv_cache *cache, int part, clattn_tensor *tensor)
{
    const int64_t row = row_elements(&cache->desc, part);
    tensor->dtype = type_of(&cache->desc, part);
    tensor->strided = 1;
    tensor->stride[3] = 1;
    tensor->stride[2] = row;
    tensor->stride[1] = cache->desc.page_size * row;
    tensor->stride[0] = cache->desc.n_kv_head * tensor->stride[1];
}

/* The slots of a part, and what descriptions say about it: `tensor` (CLATTN_SLOT_LIMIT), and their
 * `slots`. */
static clattn_slot slot_of(int part, bool append)
{
    static const clattn_slot slots[2][PARTS] = {
        {CLATTN_SLOT_K, CLATTN_SLOT_V, CLATTN_SLOT_K_SCALES, CLATTN_SLOT_V_SCALES},
        {CLATTN_SLOT_PRESENT_K, CLATTN_SLOT_PRESENT_V, CLATTN_SLOT_K_SCALES, CLATTN_SLOT_V_SCALES}};
    return slots[append][part];
}

static void describe_tensors(const clattn_kv_cache *cache, bool append, clattn_tensor *tensor,
                             uint64_t *slots)
{
    for (int part = 0; part < parts_of(&cache->desc); part++) {
        const clattn_slot slot = slot_of(part, append);
        describe_tensor(cache, part, &tensor[slot]);
        if (part >= K_SCALES)
            *slots |= CLATTN_SLOT_BIT(slot);
    }
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
    desc->scale_channels = cache->desc.scale_channels;
    describe_tensors(cache, false, desc->tensor, &desc->slots);
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
    desc->scale_channels = cache->desc.scale_channels;
    describe_tensors(cache, true, desc->tensor, &desc->slots);
    return CLATTN_OK;
}

static clattn_status check_layer(const clattn_kv_cache *cache, int64_t layer)
{
    if (layer < 0 || layer >= cache->desc.layers)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "layer: is %" PRId64 ", must be 0 to %" PRId64,
                            layer, cache->desc.layers - 1);
    return CLATTN_OK;
}

/* Bindings of two parts of a layer, from `first` on. */
static clattn_status bind(clattn_kv_cache *cache, int64_t layer, bool append, int first,
                          clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(bindings, "bindings"));
    CLATTN__TRY(check_layer(cache, layer));
    for (int i = 0; i < 2; i++)
        bindings[i] = (clattn_binding){.slot = slot_of(first + i, append),
                                       .buffer = cache->memory[first + i],
                                       .offset = page_offset(cache, first + i, layer, 0)};
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_bind(clattn_kv_cache *cache, int64_t layer, uint32_t append,
                                   clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    return bind(cache, layer, append != 0, KEYS, bindings);
}

static clattn_status check_scales(const clattn_kv_cache *cache)
{
    if (parts_of(&cache->desc) == PARTS)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_ARGUMENT, "cache: its type, %s, has no scales",
                        clattn__dtype_get(cache->desc.dtype)->name);
}

clattn_status clattn_kv_cache_bind_scales(clattn_kv_cache *cache, int64_t layer,
                                          clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(check_scales(cache));
    return bind(cache, layer, false, K_SCALES, bindings);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Rows of one layer of a sequence. */
typedef struct rows {
    const clattn__page_sequence *of;
    int64_t layer, begin, end; /* tokens */
} rows;

/* One part of one head, page by page. */
static clattn_status read_head(const clattn_kv_cache *cache, const rows *from, int part,
                               int64_t head, char *to)
{
    const int64_t size = cache->desc.page_size;
    const uint64_t row = row_bytes(&cache->desc, part);
    int64_t next;
    for (int64_t i = from->begin; i < from->end; i = next) {
        next = (i / size + 1) * size < from->end ? (i / size + 1) * size : from->end;
        const uint64_t offset = page_offset(cache, part, from->layer, from->of->page[i / size]) +
                                (uint64_t)(head * size + i % size) * row;
        const uint64_t bytes = (uint64_t)(next - i) * row;
        CLATTN__TRY(clattn_buffer_read(cache->memory[part], offset, to, bytes));
        to += bytes;
    }
    return CLATTN_OK;
}

static clattn_status read_rows(const clattn_kv_cache *cache, const rows *from, int part, void *to)
{
    const uint64_t bytes = (uint64_t)(from->end - from->begin) * row_bytes(&cache->desc, part);
    for (int64_t head = 0; to && head < cache->desc.n_kv_head; head++)
        CLATTN__TRY(read_head(cache, from, part, head, (char *)to + (uint64_t)head * bytes));
    return CLATTN_OK;
}

/* Two parts, from `first` on. */
static clattn_status read_both(const clattn_kv_cache *cache, const rows *from, int first, void *k,
                               void *v)
{
    if (from->begin < 0 || from->end < from->begin || from->end > from->of->length)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "begin: %" PRId64 " to %" PRId64 " is not within the %" PRId64
                            " tokens of sequence %" PRIu64,
                            from->begin, from->end, from->of->length, from->of->id);
    CLATTN__TRY(read_rows(cache, from, first, k));
    return read_rows(cache, from, first + 1, v);
}

static clattn_status read(clattn_kv_cache *cache, const clattn_kv_range *range, int first, void *k,
                          void *v)
{
    CLATTN__TRY(clattn__require(range, "range"));
    CLATTN__TRY(check_layer(cache, range->layer));
    if (range->count < 0 || range->count > INT32_MAX || range->begin > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "count: is %" PRId64 ", must be 0 to 2^31-1",
                            range->count);
    CLATTN__TRY(enter(cache));
    const rows from = {clattn__page_pool_find(&cache->pool, range->id), range->layer, range->begin,
                       range->begin + range->count};
    return leave(cache, from.of ? read_both(cache, &from, first, k, v) : CLATTN_ERR_ARGUMENT);
}

clattn_status clattn_kv_cache_read(clattn_kv_cache *cache, const clattn_kv_range *range, void *k,
                                   void *v)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    return read(cache, range, KEYS, k, v);
}

clattn_status clattn_kv_cache_read_scales(clattn_kv_cache *cache, const clattn_kv_range *range,
                                          float *k_scales, float *v_scales)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(check_scales(cache));
    return read(cache, range, K_SCALES, k_scales, v_scales);
}

clattn_status clattn_kv_cache_get_info(clattn_kv_cache *cache, clattn_kv_cache_info *info)
{
    CLATTN__TRY(clattn__require(info, "info"));
    CLATTN__TRY(enter(cache));
    const clattn__page_pool *pool = &cache->pool;
    clattn_kv_cache_info made = {
        .pages = pool->count, .free_pages = pool->free_count, .sequences = pool->sequences};
    for (int64_t i = 0; i < pool->sequences; i++)
        made.tokens += pool->sequence[i].length;
    for (int part = 0; part < parts_of(&cache->desc); part++)
        made.bytes += clattn_buffer_size(cache->memory[part]);
    return leave(cache, clattn__struct_copy(info, &made, sizeof made, "info"));
}
