/* Torch cases of the kind "top_k": each query attends to the k keys of highest score. */
#include "call_names.h"

static const slot_name inputs[] = {
    {"q", CLATTN_SLOT_Q, LAYOUT_PLAIN},
    {"k", CLATTN_SLOT_K, LAYOUT_PLAIN},
    {"v", CLATTN_SLOT_V, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name outputs[] = {
    {"out", CLATTN_SLOT_OUT, LAYOUT_PLAIN},
    {"weights", CLATTN_SLOT_WEIGHTS, LAYOUT_PLAIN},
    {"indices", CLATTN_SLOT_INDICES, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const char *const attributes[] = {"k", NULL};

static bool set_extents(attention_call *call)
{
    const npy_array *q = input_of_rank(call, CLATTN_SLOT_Q, 4);
    const npy_array *k = input_of_rank(call, CLATTN_SLOT_K, 4);
    const npy_array *v = input_of_rank(call, CLATTN_SLOT_V, 4);
    clattn_attention_desc *d = &call->desc;
    if (!q || !k || !v)
        return false;
    d->batch = q->shape[0];
    d->n_head = q->shape[1];
    d->n_q = q->shape[2];
    d->head_dim = q->shape[3];
    d->n_kv_head = k->shape[1];
    d->n_kv = k->shape[2];
    d->value_dim = v->shape[3];
    d->top_k = (int64_t)case_number(call->c, "k", 0);
    return true;
}

void run_top_k(clattn_context *context, const test_case *c, results *r)
{
    attention_call call;
    attention_call_init(&call, context, c, r);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    if (!set_extents(&call))
        results_decline(c, r, "q, k and v must be there and have 4 dimensions");
    else if (knows_all(&call, attributes))
        attention_call_run(&call);
    results_decline(c, r, "no slot is for this output");
}
