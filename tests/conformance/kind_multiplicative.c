/* Torch cases of kind "multiplicative": Luong et al. 2015, "Effective Approaches to
 * Attention-based Neural Machine Translation"; one head, scores without a scale. */
#include "call_names.h"

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

void run_multiplicative(clattn_context *context, const test_case *c, results *r)
{
    attention_call call;
    const char *mode = case_text(c, "mode", "");
    if (strcmp(mode, "dot") != 0) {
        results_decline(c, r, "mode %s is not supported yet", mode);
        return;
    }
    attention_call_init(&call, context, c, r);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    if (!set_extents(&call))
        results_decline(c, r, "q, k and v must be there and have 3 dimensions");
    else if (knows_all(&call, attributes))
        run_with_gradients(&call, grad_out, gradients);
    results_decline(c, r, "no slot is for this output");
}
