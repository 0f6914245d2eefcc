/* Torch cases of the kinds "attention", scaled dot-product attention and its options, and "ragged",
 * the same on sequences that lie one after the other. */
#include "call_names.h"

#include <string.h>

static const slot_name inputs[] = {
    {"q", CLATTN_SLOT_Q, LAYOUT_PLAIN},
    {"k", CLATTN_SLOT_K, LAYOUT_PLAIN},
    {"v", CLATTN_SLOT_V, LAYOUT_PLAIN},
    {"mask", CLATTN_SLOT_MASK, LAYOUT_BROADCAST},
    {"bias", CLATTN_SLOT_BIAS, LAYOUT_BROADCAST},
    {"alibi_slopes", CLATTN_SLOT_ALIBI, LAYOUT_PLAIN},
    {"sink", CLATTN_SLOT_SINK, LAYOUT_PLAIN},
    {"kv_lengths", CLATTN_SLOT_KV_LENGTHS, LAYOUT_PLAIN},
    {"cu_seqlens_q", CLATTN_SLOT_Q_LENGTHS, LAYOUT_PLAIN},
    {"cu_seqlens_k", CLATTN_SLOT_KV_LENGTHS, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name outputs[] = {
    {"out", CLATTN_SLOT_OUT, LAYOUT_PLAIN},
    {"lse", CLATTN_SLOT_LSE, LAYOUT_PLAIN},
    {"weights", CLATTN_SLOT_WEIGHTS, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name grad_out[] = {{"grad_out", CLATTN_SLOT_GRAD_OUT, LAYOUT_PLAIN},
                                     {NULL, 0, LAYOUT_PLAIN}};

static const slot_name gradients[] = {
    {"dq", CLATTN_SLOT_GRAD_Q, LAYOUT_PLAIN},
    {"dk", CLATTN_SLOT_GRAD_K, LAYOUT_PLAIN},
    {"dv", CLATTN_SLOT_GRAD_V, LAYOUT_PLAIN},
    {"dbias", CLATTN_SLOT_GRAD_BIAS, LAYOUT_BROADCAST},
    {"dsink", CLATTN_SLOT_GRAD_SINK, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const char *const attributes[] = {"scale",   "causal", "align", "window",
                                         "softcap", "layout", NULL};

/* Without a name it is of no account, or bottom-right; an unknown name is refused where it counts.
 */
static clattn_align align_of(const test_case *c)
{
    const char *align = case_text(c, "align", "bottom-right");
    if (strcmp(align, "bottom-right") == 0)
        return CLATTN_ALIGN_BOTTOM_RIGHT;
    return strcmp(align, "top-left") == 0 ? CLATTN_ALIGN_TOP_LEFT : CLATTN_ALIGN_NONE;
}

static void set_window(const test_case *c, clattn_attention_desc *d)
{
    const cJSON *window = case_attribute(c, "window");
    const cJSON *left = cJSON_GetArrayItem(window, 0), *right = cJSON_GetArrayItem(window, 1);
    if (!left || !right)
        return;
    d->has_window = 1;
    d->window_left = (int64_t)left->valuedouble;
    d->window_right = (int64_t)right->valuedouble;
}

static void set_attributes(const test_case *c, clattn_attention_desc *d)
{
    d->has_scale = cJSON_IsNumber(case_attribute(c, "scale")) ? 1 : 0;
    d->scale = (float)case_number(c, "scale", 0);
    d->softcap = (float)case_number(c, "softcap", 0);
    d->causal = case_flag(c, "causal");
    d->align = align_of(c);
    set_window(c, d);
}

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
    return true;
}

/* The length of the longest sequence; boundaries: (sequences + 1) */
static int64_t longest(const npy_array *boundaries)
{
    double most = 0;
    for (int64_t i = 1; i < boundaries->count; i++) {
        const double length = boundaries->value[i] - boundaries->value[i - 1];
        most = length > most ? length : most;
    }
    return (int64_t)most;
}

static bool set_ragged_extents(attention_call *call)
{
    const npy_array *q = input_of_rank(call, CLATTN_SLOT_Q, 3);
    const npy_array *k = input_of_rank(call, CLATTN_SLOT_K, 3);
    const npy_array *v = input_of_rank(call, CLATTN_SLOT_V, 3);
    const npy_array *q_bounds = input_of_rank(call, CLATTN_SLOT_Q_LENGTHS, 1);
    const npy_array *kv_bounds = input_of_rank(call, CLATTN_SLOT_KV_LENGTHS, 1);
    clattn_attention_desc *d = &call->desc;
    if (!q || !k || !v || !q_bounds || !kv_bounds || q_bounds->count < 1)
        return false;
    d->ragged = 1;
    d->batch = q_bounds->count - 1;
    d->total_q = q->shape[0];
    d->n_head = q->shape[1];
    d->head_dim = q->shape[2];
    d->total_kv = k->shape[0];
    d->n_kv_head = k->shape[1];
    d->value_dim = v->shape[2];
    d->n_q = longest(q_bounds);
    d->n_kv = longest(kv_bounds);
    return true;
}

static void run(clattn_context *context, const test_case *c, results *r,
                bool (*extents)(attention_call *call))
{
    attention_call call;
    attention_call_init(&call, context, c, r);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    if (!extents(&call))
        results_decline(c, r, "inputs are missing, or have other numbers of dimensions");
    else if (knows_all(&call, attributes)) {
        set_attributes(c, &call.desc);
        run_with_gradients(&call, grad_out, gradients);
    }
    results_decline(c, r, "no slot is for this output");
}

void run_attention(clattn_context *context, const test_case *c, results *r)
{
    run(context, c, r, set_extents);
}

void run_ragged(clattn_context *context, const test_case *c, results *r)
{
    run(context, c, r, set_ragged_extents);
}
