/* Torch cases of kind "multiplicative": Luong et al. 2015, "Effective Approaches to
 * Attention-based Neural Machine Translation"; one head, scores without a scale. */
#include "call_names.h"
#include "layer_call.h"

#include <string.h>

static const slot_name inputs[] = {
    {"q", CLATTN_SLOT_Q, LAYOUT_HEADLESS},
    {"k", CLATTN_SLOT_K, LAYOUT_HEADLESS},
    {"v", CLATTN_SLOT_V, LAYOUT_HEADLESS},
    {"kv_lengths", CLATTN_SLOT_KV_LENGTHS, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name outputs[] = {
    {"out", CLATTN_SLOT_OUT, LAYOUT_HEADLESS},
    {"lse", CLATTN_SLOT_LSE, LAYOUT_HEADLESS},
    {"weights", CLATTN_SLOT_WEIGHTS, LAYOUT_HEADLESS},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name grad_out[] = {{"grad_out", CLATTN_SLOT_GRAD_OUT, LAYOUT_HEADLESS},
                                     {NULL, 0, LAYOUT_PLAIN}};

static const slot_name gradients[] = {
    {"dq", CLATTN_SLOT_GRAD_Q, LAYOUT_HEADLESS},
    {"dk", CLATTN_SLOT_GRAD_K, LAYOUT_HEADLESS},
    {"dv", CLATTN_SLOT_GRAD_V, LAYOUT_HEADLESS},
    {NULL, 0, LAYOUT_PLAIN},
};

static const char *const attributes[] = {"mode", NULL};

static bool set_extents(attention_call *call)
{
    const npy_array *q = input_of_rank(call, CLATTN_SLOT_Q, 3);
    const npy_array *k = input_of_rank(call, CLATTN_SLOT_K, 3);
    const npy_array *v = input_of_rank(call, CLATTN_SLOT_V, 3);
    clattn_attention_desc *d = &call->desc;
    if (!q || !k || !v)
        return false;
    d->batch = q->shape[0];
    d->n_head = d->n_kv_head = 1;
    d->n_q = q->shape[1];
    d->head_dim = q->shape[2];
    d->n_kv = k->shape[1];
    d->value_dim = v->shape[2];
    d->has_scale = 1;
    d->scale = 1;
    return true;
}

/* Mode "general": s = q^T w_score k. */
static const layer_name general_names[] = {
    {"q", CLATTN_LAYER_X},
    {"k", CLATTN_LAYER_KEY},
    {"v", CLATTN_LAYER_VALUE},
    {"w_score", CLATTN_LAYER_W_SCORE},
    {"kv_lengths", CLATTN_LAYER_KV_LENGTHS},
    {"grad_out", CLATTN_LAYER_GRAD_OUT},
    {"out", CLATTN_LAYER_OUT},
    {"weights", CLATTN_LAYER_WEIGHTS},
    {"dq", CLATTN_LAYER_GRAD_X},
    {"dk", CLATTN_LAYER_GRAD_KEY},
    {"dv", CLATTN_LAYER_GRAD_VALUE},
    {"dw_score", CLATTN_LAYER_GRAD_W_SCORE},
    {NULL, CLATTN_LAYER_X},
};

static void run_general(clattn_context *context, const test_case *c, results *r)
{
    layer_call call;
    clattn_multiplicative_desc desc;
    if (!layer_call_init(&call, context, c, r, general_names, attributes))
        return;
    const npy_array *q = layer_call_input(&call, CLATTN_LAYER_X, 3);
    const npy_array *k = layer_call_input(&call, CLATTN_LAYER_KEY, 3);
    const npy_array *v = layer_call_input(&call, CLATTN_LAYER_VALUE, 3);
    if (!q || !k || !v) {
        results_decline(c, r, "q, k and v must be there and have 3 dimensions");
        return;
    }
    clattn_multiplicative_desc_init(&desc);
    desc.batch = q->shape[0];
    desc.n_q = q->shape[1];
    desc.width = q->shape[2];
    desc.n_kv = k->shape[1];
    desc.key_width = k->shape[2];
    desc.value_width = v->shape[2];
    desc.optional = (call.given & CLATTN_LAYER_BIT(CLATTN_LAYER_KV_LENGTHS)) |
                    (call.wanted & CLATTN_LAYER_BIT(CLATTN_LAYER_WEIGHTS));
    desc.gradients = layer_call_gradients(&call);
    layer_call_run(&call, clattn_layer_create_multiplicative(context, &desc, &call.layer));
}

static void run_dot(clattn_context *context, const test_case *c, results *r)
{
    attention_call call;
    attention_call_init(&call, context, c, r);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    if (!set_extents(&call))
        results_decline(c, r, "q, k and v must be there and have 3 dimensions");
    else if (knows_all(&call, attributes))
        run_with_gradients(&call, grad_out, gradients);
    results_decline(c, r, "no slot is for this output");
}

void run_multiplicative(clattn_context *context, const test_case *c, results *r)
{
    const char *mode = case_text(c, "mode", "");
    if (strcmp(mode, "dot") == 0)
        run_dot(context, c, r);
    else if (strcmp(mode, "general") == 0)
        run_general(context, c, r);
    else
        results_decline(c, r, "mode %s is not known", mode);
}
