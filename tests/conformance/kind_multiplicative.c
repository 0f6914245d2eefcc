/* Torch cases of kind "multiplicative": Luong et al. 2015, "Effective Approaches to
 * Attention-based Neural Machine Translation"; one head, scores without a scale. */
#include "attention_call.h"

#include <string.h>

static void describe(attention_call *call)
{
    clattn_attention_desc *d = &call->desc;
    clattn_attention_desc_init(d);
    d->batch = call->q->shape[0];
    d->n_head = d->n_kv_head = 1;
    d->n_q = call->q->shape[1];
    d->head_dim = call->q->shape[2];
    d->n_kv = call->k->shape[1];
    d->value_dim = call->v->shape[2];
    d->has_scale = 1;
    d->scale = 1;
}

void run_multiplicative(clattn_context *context, const test_case *c, results *r)
{
    attention_call call = {
        .q = case_input(c, "q"), .k = case_input(c, "k"), .v = case_input(c, "v")};
    const char *mode = case_text(c, "mode", "");
    if (strcmp(mode, "dot") != 0) {
        results_decline(c, r, "mode %s is not supported yet", mode);
        return;
    }
    if (!call.q || !call.k || !call.v || call.q->rank != 3 || call.k->rank != 3 ||
        call.v->rank != 3) {
        results_decline(c, r, "q, k and v must be there and have 3 dimensions");
        return;
    }
    describe(&call);
    attention_call_want(&call, c, r, CLATTN_SLOT_OUT, "out");
    attention_call_want(&call, c, r, CLATTN_SLOT_LSE, "lse");
    attention_call_want(&call, c, r, CLATTN_SLOT_WEIGHTS, "weights");
    attention_call_run(&call, context, c, r);
    results_decline(c, r, "gradients are not supported yet");
}
