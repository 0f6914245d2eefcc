/* Layers: the public functions. What they are made of is src/layer's matter. */
#include "api/check.h"
#include "base/unknown.h"
#include "layer/layer.h"

clattn_status clattn_layer_create_multi_head(clattn_context *context,
                                             const clattn_multi_head_desc *desc,
                                             clattn_layer **layer)
{
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(clattn__check_known(desc, sizeof *desc, "desc", "clattn_multi_head_desc_init"));
    return clattn__multi_head_create(context, desc, layer);
}

clattn_status clattn_layer_create_multiplicative(clattn_context *context,
                                                 const clattn_multiplicative_desc *desc,
                                                 clattn_layer **layer)
{
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(clattn__check_known(desc, sizeof *desc, "desc", "clattn_multiplicative_desc_init"));
    return clattn__multiplicative_create(context, desc, layer);
}

clattn_status clattn_layer_create_additive(clattn_context *context,
                                           const clattn_additive_layer_desc *desc,
                                           clattn_layer **layer)
{
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)layer, "layer"));
    CLATTN__TRY(clattn__check_known(desc, sizeof *desc, "desc", "clattn_additive_layer_desc_init"));
    return clattn__additive_layer_create(context, desc, layer);
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
    return clattn__layer_submit(layer, clattn__layer_pass(layer, CLATTN__PASS_FORWARD), dispatcher,
                                bindings, count, event);
}

clattn_status clattn_layer_backward(clattn_layer *layer, clattn_dispatcher *dispatcher,
                                    const clattn_layer_binding *bindings, uint32_t count,
                                    clattn_event **event)
{
    CLATTN__TRY(check_call(layer, dispatcher, bindings, count));
    if (layer->count[CLATTN__PASS_BACKWARD] == 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "layer: was made without gradients; there is no backward pass");
    return clattn__layer_submit(layer, clattn__layer_pass(layer, CLATTN__PASS_BACKWARD), dispatcher,
                                bindings, count, event);
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
