/* Torch cases of kind "attention": scaled dot-product attention and its options. */
#include "attention_call.h"

#include <string.h>

static const char *const inputs_to_come[] = {"mask", "bias",       "alibi_slopes",
                                             "sink", "kv_lengths", NULL};

static bool has_window(const test_case *c)
{
    const cJSON *window = case_attribute(c, "window"), *side;
    cJSON_ArrayForEach(side, window)
    {
        if (side->valuedouble >= 0)
            return true;
    }
    return false;
}

static const char *option_to_come(const test_case *c)
{
    const char *input = first_input_of(c, inputs_to_come);
    if (input)
        return input;
    if (has_window(c))
        return "window";
    return case_number(c, "softcap", 0) != 0 ? "softcap" : NULL;
}

static clattn_align align_of(const test_case *c)
{
    const char *align = case_text(c, "align", "");
    if (strcmp(align, "bottom-right") == 0)
        return CLATTN_ALIGN_BOTTOM_RIGHT;
    return strcmp(align, "top-left") == 0 ? CLATTN_ALIGN_TOP_LEFT : CLATTN_ALIGN_NONE;
}

static void describe(const test_case *c, attention_call *call)
{
    clattn_attention_desc *d = &call->desc;
    clattn_attention_desc_init(d);
    d->batch = call->q->shape[0];
    d->n_head = call->q->shape[1];
    d->n_q = call->q->shape[2];
    d->head_dim = call->q->shape[3];
    d->n_kv_head = call->k->shape[1];
    d->n_kv = call->k->shape[2];
    d->value_dim = call->v->shape[3];
    d->has_scale = case_attribute(c, "scale") != NULL;
    d->scale = (float)case_number(c, "scale", 0);
    d->causal = case_flag(c, "causal");
    d->align = align_of(c);
}

void run_attention(clattn_context *context, const test_case *c, results *r)
{
    attention_call call = {
        .q = case_input(c, "q"), .k = case_input(c, "k"), .v = case_input(c, "v")};
    const char *missing = option_to_come(c);
    if (missing) {
        results_decline(c, r, "%s is not supported yet", missing);
        return;
    }
    if (!call.q || !call.k || !call.v || call.q->rank != 4 || call.k->rank != 4 ||
        call.v->rank != 4) {
        results_decline(c, r, "q, k and v must be there and have 4 dimensions");
        return;
    }
    describe(c, &call);
    attention_call_want(&call, c, r, CLATTN_SLOT_OUT, "out");
    attention_call_want(&call, c, r, CLATTN_SLOT_LSE, "lse");
    attention_call_want(&call, c, r, CLATTN_SLOT_WEIGHTS, "weights");
    attention_call_run(&call, context, c, r);
    results_decline(c, r, "gradients are not supported yet");
}
