/* Layers: the public functions. What they are made of is src/layer's matter. */
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "base/unknown.h"
#include "layer/layer.h"

/* A description that this version knows, of `size` bytes. */
static clattn_status copy_desc(void *copy, const void *desc, size_t size, const char *init)
{
    uint32_t given; /* bytes */
    CLATTN__TRY(clattn__require(desc, "desc"));
    memcpy(&given, desc, sizeof given);
    if (given < size || given > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "desc: struct_size is %" PRIu32 "; use %s", given,
                            init);
    /* NOLINTNEXTLINE(readability-suspicious-call-argument): sizes, in this order */
    if (!clattn__unknown_is_zero(desc, size, given))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "desc: has fields that version %s does not know",
                            clattn_version_string());
    memcpy(copy, desc, size);
    return CLATTN_OK;
}

clattn_status clattn_layer_create_multi_head(clattn_context *context,
                                             const clattn_multi_head_desc *desc,
                                             clattn_layer **layer)
{
    clattn_multi_head_desc own;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_multi_head_desc_init"));
    return clattn__multi_head_create(context, &own, layer);
}

clattn_status clattn_layer_create_multiplicative(clattn_context *context,
                                                 const clattn_multiplicative_desc *desc,
                                                 clattn_layer **layer)
{
    clattn_multiplicative_desc own;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_multiplicative_desc_init"));
    return clattn__multiplicative_create(context, &own, layer);
}

clattn_status clattn_layer_create_additive(clattn_context *context,
                                           const clattn_additive_layer_desc *desc,
                                           clattn_layer **layer)
{
    clattn_additive_layer_desc own;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_additive_layer_desc_init"));
    return clattn__additive_layer_create(context, &own, layer);
}

void clattn_layer_destroy(clattn_layer *layer)
{
    if (layer && clattn__context_check(layer->context) == CLATTN_OK)
        clattn__layer_free(layer);
}

clattn_status clattn_layer_sizes(const clattn_layer *layer, uint64_t *state, uint64_t *scratch)
{
    CLATTN__TRY(clattn__require(layer, "layer"));
    if (state)
        *state = layer->state;
    if (scratch)
        *scratch = layer->scratch;
    return CLATTN_OK;
}

static clattn_status check_call(const clattn_layer *layer, const clattn_dispatcher *dispatcher,
                                const clattn_layer_binding *bindings, uint32_t count)
{
    CLATTN__TRY(clattn__require(layer, "layer"));
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    if (dispatcher->context != layer->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "layer: belongs to another context");
    return count ? clattn__require(bindings, "bindings") : CLATTN_OK;
}

clattn_status clattn_layer_forward(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                   const clattn_layer_binding *bindings, uint32_t count,
                                   clattn_event **event)
{
    CLATTN__TRY(check_call(layer, dispatcher, bindings, count));
    const clattn__pass pass = layer->packed ? CLATTN__PASS_PACKED : CLATTN__PASS_FORWARD;
    return clattn__layer_submit(layer, pass, dispatcher, bindings, count, event);
}

clattn_status clattn_layer_backward(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                    const clattn_layer_binding *bindings, uint32_t count,
                                    clattn_event **event)
{
    CLATTN__TRY(check_call(layer, dispatcher, bindings, count));
    if (layer->count[CLATTN__PASS_BACKWARD] == 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "layer: was made without gradients; there is no backward pass");
    return clattn__layer_submit(layer, CLATTN__PASS_BACKWARD, dispatcher, bindings, count, event);
}

clattn_status clattn_layer_keep_weights(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                        const clattn_layer_binding *bindings, uint32_t count,
                                        clattn_event **event)
{
    CLATTN__TRY(check_call(layer, dispatcher, bindings, count));
    if (count == 0) {
        clattn_submission nothing;
        clattn_submission_init(&nothing);
        layer->packed = false;
        return clattn__submit_layer(dispatcher, &nothing, event);
    }
    CLATTN__TRY(clattn__layer_reserve_packed(layer));
    CLATTN__TRY(clattn__layer_submit(layer, CLATTN__PASS_PACK, dispatcher, bindings, count, event));
    layer->packed = true;
    return CLATTN_OK;
}
