/* The memory of a key/value cache: what pages are made of, copying and reading them. */
#include <inttypes.h>

#include "api/check.h"
#include "api/kv_cache.h"
#include "problem/dtype.h"

int clattn__kv_cache_parts(const clattn_kv_cache *cache)
{
    return clattn__dtype_is_quantised(cache->desc.dtype) ? CLATTN__KV_PARTS : CLATTN__KV_K_SCALES;
}

clattn_dtype clattn__kv_cache_type(const clattn_kv_cache *cache, int part)
{
    return part < CLATTN__KV_K_SCALES ? cache->desc.dtype : CLATTN_F32;
}

int64_t clattn__kv_cache_row(const clattn_kv_cache *cache, int part)
{
    const clattn_kv_cache_desc *desc = &cache->desc;
    const bool of_keys = part == CLATTN__KV_KEYS || part == CLATTN__KV_K_SCALES;
    const int64_t dim = of_keys ? desc->head_dim : desc->value_dim;
    const int64_t channels = desc->scale_channels ? desc->scale_channels : dim;
    return part < CLATTN__KV_K_SCALES ? dim : (dim + channels - 1) / channels;
}

uint64_t clattn__kv_cache_row_bytes(const clattn_kv_cache *cache, int part)
{
    return (uint64_t)clattn__dtype_bytes(clattn__kv_cache_type(cache, part),
                                         clattn__kv_cache_row(cache, part));
}

/* Bytes of a page of one layer. */
static uint64_t page_bytes(const clattn_kv_cache *cache, int part)
{
    return clattn__kv_cache_row_bytes(cache, part) * (uint64_t)cache->desc.n_kv_head *
           (uint64_t)cache->desc.page_size;
}

uint64_t clattn__kv_cache_page_offset(const clattn_kv_cache *cache, int part, int64_t layer,
                                      int32_t page)
{
    return ((uint64_t)layer * (uint64_t)cache->desc.pages + (uint64_t)page) *
           page_bytes(cache, part);
}

clattn_status clattn__kv_cache_make_memory(clattn_kv_cache *made)
{
    uint64_t largest = 0;
    for (int part = 0; part < clattn__kv_cache_parts(made); part++) {
        const uint64_t size = page_bytes(made, part);
        largest = size > largest ? size : largest;
        CLATTN__TRY(clattn_buffer_create(
            made->context, clattn__kv_cache_page_offset(made, part, made->desc.layers, 0),
            &made->memory[part]));
    }
    made->page = clattn__alloc(&made->context->env, (size_t)largest);
    return made->page ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

clattn_status clattn__kv_cache_copy_page(const clattn_kv_cache *cache, clattn__page_copy copy)
{
    for (int part = 0; part < clattn__kv_cache_parts(cache); part++)
        for (int64_t layer = 0; layer < cache->desc.layers; layer++) {
            const uint64_t size = page_bytes(cache, part);
            CLATTN__TRY(clattn_buffer_read(
                cache->memory[part], clattn__kv_cache_page_offset(cache, part, layer, copy.from),
                cache->page, size));
            CLATTN__TRY(clattn_buffer_write(
                cache->memory[part], clattn__kv_cache_page_offset(cache, part, layer, copy.to),
                cache->page, size));
        }
    return CLATTN_OK;
}

clattn_status clattn__kv_cache_check_layer(const clattn_kv_cache *cache, int64_t layer)
{
    if (layer < 0 || layer >= cache->desc.layers)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "layer: is %" PRId64 ", must be 0 to %" PRId64,
                            layer, cache->desc.layers - 1);
    return CLATTN_OK;
}

clattn_status clattn__kv_cache_check_scales(const clattn_kv_cache *cache)
{
    if (clattn__kv_cache_parts(cache) == CLATTN__KV_PARTS)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_ARGUMENT, "cache: its type, %s, has no scales",
                        clattn__dtype_get(cache->desc.dtype)->name);
}

clattn_status clattn__kv_cache_check_rotatable(const clattn_kv_cache *cache)
{
    if (clattn__kv_cache_parts(cache) != CLATTN__KV_PARTS)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                        "cache: keys of type %s can't be rotated: what is quantised is never "
                        "quantised again; rotate by the position of clattn_kv_sequence_info",
                        clattn__dtype_get(cache->desc.dtype)->name);
}

/* ---- reading --------------------------------------------------------------------------------- */

clattn_status clattn__kv_cache_move_head(const clattn_kv_cache *cache, const clattn__kv_rows *rows,
                                         int part, int64_t head, void *data, bool write)
{
    const int64_t size = cache->desc.page_size;
    const uint64_t row = clattn__kv_cache_row_bytes(cache, part);
    char *at = data;
    int64_t next;
    for (int64_t i = rows->begin; i < rows->end; i = next) {
        next = (i / size + 1) * size < rows->end ? (i / size + 1) * size : rows->end;
        const uint64_t offset =
            clattn__kv_cache_page_offset(cache, part, rows->layer, rows->of->page[i / size]) +
            (uint64_t)(head * size + i % size) * row;
        const uint64_t bytes = (uint64_t)(next - i) * row;
        clattn_buffer *memory = cache->memory[part];
        CLATTN__TRY(write ? clattn_buffer_write(memory, offset, at, bytes)
                          : clattn_buffer_read(memory, offset, at, bytes));
        at += bytes;
    }
    return CLATTN_OK;
}

static clattn_status read_rows(const clattn_kv_cache *cache, const clattn__kv_rows *from, int part,
                               void *to)
{
    const uint64_t bytes =
        (uint64_t)(from->end - from->begin) * clattn__kv_cache_row_bytes(cache, part);
    for (int64_t head = 0; to && head < cache->desc.n_kv_head; head++)
        CLATTN__TRY(clattn__kv_cache_move_head(cache, from, part, head,
                                               (char *)to + (uint64_t)head * bytes, false));
    return CLATTN_OK;
}

/* Two parts, from `first` on. */
static clattn_status read_both(const clattn_kv_cache *cache, const clattn__kv_rows *from, int first,
                               void *k, void *v)
{
    if (from->end > from->of->length)
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
    CLATTN__TRY(clattn__kv_cache_check_layer(cache, range->layer));
    if (range->begin < 0 || range->begin > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "begin: is %" PRId64 ", must be 0 to 2^31-1",
                            range->begin);
    if (range->count < 0 || range->count > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "count: is %" PRId64 ", must be 0 to 2^31-1",
                            range->count);
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    const clattn__kv_rows from = {clattn__page_pool_find(&cache->pool, range->id), range->layer,
                                  range->begin, range->begin + range->count};
    return clattn__kv_cache_leave(cache, from.of ? read_both(cache, &from, first, k, v)
                                                 : CLATTN_ERR_ARGUMENT);
}

clattn_status clattn_kv_cache_read(clattn_kv_cache *cache, const clattn_kv_range *range, void *k,
                                   void *v)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    return read(cache, range, CLATTN__KV_KEYS, k, v);
}

clattn_status clattn_kv_cache_read_scales(clattn_kv_cache *cache, const clattn_kv_range *range,
                                          float *k_scales, float *v_scales)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__kv_cache_check_scales(cache));
    return read(cache, range, CLATTN__KV_K_SCALES, k_scales, v_scales);
}
