/* Torch cases of kind "additive": Bahdanau et al. 2015, "Neural Machine Translation by Jointly
 * Learning to Align and Translate", appendix A.1.2; projections and attention as one layer. */
#include "layer_call.h"

static const layer_name names[] = {
    {"q", CLATTN_LAYER_X},
    {"k", CLATTN_LAYER_KEY},
    {"v", CLATTN_LAYER_VALUE},
    {"w_query", CLATTN_LAYER_WQ},
    {"w_key", CLATTN_LAYER_WK},
    {"bias", CLATTN_LAYER_BQ},
    {"w_score", CLATTN_LAYER_W_SCORE},
    {"kv_lengths", CLATTN_LAYER_KV_LENGTHS},
    {"grad_out", CLATTN_LAYER_GRAD_OUT},
    {"out", CLATTN_LAYER_OUT},
    {"lse", CLATTN_LAYER_LSE},
    {"weights", CLATTN_LAYER_WEIGHTS},
    {"dq", CLATTN_LAYER_GRAD_X},
    {"dk", CLATTN_LAYER_GRAD_KEY},
    {"dv", CLATTN_LAYER_GRAD_VALUE},
    {"dw_query", CLATTN_LAYER_GRAD_WQ},
    {"dw_key", CLATTN_LAYER_GRAD_WK},
    {"dbias", CLATTN_LAYER_GRAD_BQ},
    {"dw_score", CLATTN_LAYER_GRAD_W_SCORE},
    {NULL, CLATTN_LAYER_X},
};

static const char *const attributes[] = {NULL};

void run_additive(clattn_context *context, const test_case *c, results *r)
{
    layer_call call;
    clattn_additive_layer_desc desc;
    if (!layer_call_init(&call, context, c, r, names, attributes))
        return;
    const npy_array *q = layer_call_input(&call, CLATTN_LAYER_X, 3);
    const npy_array *k = layer_call_input(&call, CLATTN_LAYER_KEY, 3);
    const npy_array *v = layer_call_input(&call, CLATTN_LAYER_VALUE, 3);
    const npy_array *w_query = layer_call_input(&call, CLATTN_LAYER_WQ, 2);
    if (!q || !k || !v || !w_query || !layer_call_input(&call, CLATTN_LAYER_WK, 2)) {
        results_decline(c, r, "q, k, v must be there with 3 dimensions, w_query, w_key with 2");
        return;
    }
    clattn_additive_layer_desc_init(&desc);
    desc.batch = q->shape[0];
    desc.n_q = q->shape[1];
    desc.width = q->shape[2];
    desc.n_kv = k->shape[1];
    desc.key_width = k->shape[2];
    desc.value_width = v->shape[2];
    desc.channels = w_query->shape[0];
    desc.optional =
        ((call.given | call.wanted) &
         (CLATTN_LAYER_BIT(CLATTN_LAYER_BQ) | CLATTN_LAYER_BIT(CLATTN_LAYER_LSE) |
          CLATTN_LAYER_BIT(CLATTN_LAYER_KV_LENGTHS) | CLATTN_LAYER_BIT(CLATTN_LAYER_WEIGHTS)));
    desc.gradients = layer_call_gradients(&call);
    layer_call_run(&call, clattn_layer_create_additive(context, &desc, &call.layer));
}
