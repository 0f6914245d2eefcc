/* Torch cases of kind "multi_head": a whole layer, projections included, forward and backward. */
#include "layer_call.h"

#include <string.h>

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

static const layer_name names[] = {
    {"x", CLATTN_LAYER_X},
    {"key", CLATTN_LAYER_KEY},
    {"value", CLATTN_LAYER_VALUE},
    {"wq", CLATTN_LAYER_WQ},
    {"wk", CLATTN_LAYER_WK},
    {"wv", CLATTN_LAYER_WV},
    {"wo", CLATTN_LAYER_WO},
    {"bq", CLATTN_LAYER_BQ},
    {"bk", CLATTN_LAYER_BK},
    {"bv", CLATTN_LAYER_BV},
    {"bo", CLATTN_LAYER_BO},
    {"kv_lengths", CLATTN_LAYER_KV_LENGTHS},
    {"grad_out", CLATTN_LAYER_GRAD_OUT},
    {"out", CLATTN_LAYER_OUT},
    {"weights", CLATTN_LAYER_WEIGHTS},
    {"dx", CLATTN_LAYER_GRAD_X},
    {"dkey", CLATTN_LAYER_GRAD_KEY},
    {"dvalue", CLATTN_LAYER_GRAD_VALUE},
    {"dwq", CLATTN_LAYER_GRAD_WQ},
    {"dwk", CLATTN_LAYER_GRAD_WK},
    {"dwv", CLATTN_LAYER_GRAD_WV},
    {"dwo", CLATTN_LAYER_GRAD_WO},
    {"dbq", CLATTN_LAYER_GRAD_BQ},
    {"dbk", CLATTN_LAYER_GRAD_BK},
    {"dbv", CLATTN_LAYER_GRAD_BV},
    {"dbo", CLATTN_LAYER_GRAD_BO},
    {NULL, CLATTN_LAYER_X},
};

static const char *const attributes[] = {"heads", "cross", "causal", "align", NULL};

static bool set_extents(const layer_call *call, clattn_multi_head_desc *d)
{
    const npy_array *x = layer_call_input(call, CLATTN_LAYER_X, 3);
    const npy_array *key = layer_call_input(call, CLATTN_LAYER_KEY, 3);
    const npy_array *value = layer_call_input(call, CLATTN_LAYER_VALUE, 3);
    d->cross = case_flag(call->c, "cross");
    if (!x || (d->cross && (!key || !value)) || (!d->cross && (key || value)))
        return false;
    d->batch = x->shape[0];
    d->n_q = x->shape[1];
    d->width = x->shape[2];
    d->n_head = (int64_t)case_number(call->c, "heads", 1);
    if (d->cross) {
        d->n_kv = key->shape[1];
        d->key_width = key->shape[2];
        d->value_width = value->shape[2];
    }
    return true;
}

/* Without a name, queries and keys of self-attention are aligned either way alike. */
static clattn_align align_of(const test_case *c)
{
    const char *align = case_text(c, "align", "top-left");
    return strcmp(align, "bottom-right") == 0 ? CLATTN_ALIGN_BOTTOM_RIGHT : CLATTN_ALIGN_TOP_LEFT;
}

void run_multi_head(clattn_context *context, const test_case *c, results *r)
{
    layer_call call;
    clattn_multi_head_desc desc;
    if (!layer_call_init(&call, context, c, r, names, attributes))
        return;
    clattn_multi_head_desc_init(&desc);
    if (!set_extents(&call, &desc)) {
        results_decline(c, r, "inputs are missing, or have other numbers of dimensions");
        return;
    }
    desc.causal = case_flag(c, "causal");
    desc.align = desc.causal ? align_of(c) : CLATTN_ALIGN_NONE;
    desc.optional =
        (call.given & (CLATTN_LAYER_BIASES | BIT(KV_LENGTHS))) | (call.wanted & BIT(WEIGHTS));
    desc.gradients = layer_call_gradients(&call);
    layer_call_run(&call, clattn_layer_create_multi_head(context, &desc, &call.layer));
}
