/* What steps of a submission need of a key/value cache: descriptions and bindings. */
#include "api/check.h"
#include "api/kv_cache.h"

static void describe_tensor(const clattn_kv_cache *cache, int part, clattn_tensor *tensor)
{
    const int64_t row = clattn__kv_cache_row(cache, part);
    tensor->dtype = clattn__kv_cache_type(cache, part);
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
    static const clattn_slot slots[2][CLATTN__KV_PARTS] = {
        {CLATTN_SLOT_K, CLATTN_SLOT_V, CLATTN_SLOT_K_SCALES, CLATTN_SLOT_V_SCALES},
        {CLATTN_SLOT_PRESENT_K, CLATTN_SLOT_PRESENT_V, CLATTN_SLOT_K_SCALES, CLATTN_SLOT_V_SCALES}};
    return slots[append][part];
}

static void describe_tensors(const clattn_kv_cache *cache, bool append, clattn_tensor *tensor,
                             uint64_t *slots)
{
    for (int part = 0; part < clattn__kv_cache_parts(cache); part++) {
        const clattn_slot slot = slot_of(part, append);
        describe_tensor(cache, part, &tensor[slot]);
        if (part >= CLATTN__KV_K_SCALES)
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
    CLATTN__TRY(clattn__kv_cache_check_field("tokens", tokens, INT32_MAX));
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

clattn_status clattn_kv_cache_describe_shift(clattn_kv_cache *cache, int64_t tokens,
                                             clattn_shift_desc *desc)
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__require(desc, "desc"));
    CLATTN__TRY(clattn__kv_cache_check_field("tokens", tokens, INT32_MAX));
    CLATTN__TRY(clattn__kv_cache_check_rotatable(cache));
    desc->n_kv_head = cache->desc.n_kv_head;
    desc->n_kv = tokens;
    desc->head_dim = cache->desc.head_dim;
    desc->page_size = cache->desc.page_size;
    desc->n_pages = cache->desc.pages;
    desc->page_limit = limit_of(cache, tokens);
    describe_tensor(cache, CLATTN__KV_KEYS, &desc->tensor[CLATTN_SLOT_PRESENT_K]);
    return CLATTN_OK;
}

/* Bindings of two parts of a layer, from `first` on. */
static clattn_status bind(clattn_kv_cache *cache, int64_t layer, bool append, int first,
                          clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(bindings, "bindings"));
    CLATTN__TRY(clattn__kv_cache_check_layer(cache, layer));
    for (int i = 0; i < 2; i++)
        bindings[i] =
            (clattn_binding){.slot = slot_of(first + i, append),
                             .buffer = cache->memory[first + i],
                             .offset = clattn__kv_cache_page_offset(cache, first + i, layer, 0)};
    return CLATTN_OK;
}

clattn_status clattn_kv_cache_bind(clattn_kv_cache *cache, int64_t layer, uint32_t append,
                                   clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    return bind(cache, layer, append != 0, CLATTN__KV_KEYS, bindings);
}

clattn_status clattn_kv_cache_bind_scales(clattn_kv_cache *cache, int64_t layer,
                                          clattn_binding bindings[2])
{
    CLATTN__TRY(clattn__require(cache, "cache"));
    CLATTN__TRY(clattn__kv_cache_check_scales(cache));
    return bind(cache, layer, false, CLATTN__KV_K_SCALES, bindings);
}
