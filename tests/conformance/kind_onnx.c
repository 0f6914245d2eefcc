/* Cases of the ONNX operator Attention, versions 23 to 25: 4-D tensors are (B, H, S, D), 3-D ones
 * (B, S, H * D). https://onnx.ai/onnx/operators/onnx__Attention.html */
#include "call_names.h"
#include "onnx_mask.h"

#include <stdint.h>
#include <string.h>

static const slot_name inputs[] = {
    {"past_key", CLATTN_SLOT_PAST_K, LAYOUT_PLAIN},
    {"past_value", CLATTN_SLOT_PAST_V, LAYOUT_PLAIN},
    {"nonpad_kv_seqlen", CLATTN_SLOT_KV_LENGTHS, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name outputs[] = {
    {"present_key", CLATTN_SLOT_PRESENT_K, LAYOUT_PLAIN},
    {"present_value", CLATTN_SLOT_PRESENT_V, LAYOUT_PLAIN},
    {"qk_matmul_output", CLATTN_SLOT_SCORES, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

/* softmax_precision asks for at least this precision; clattn's softmax is float32. */
static const char *const attributes[] = {"scale",
                                         "softcap",
                                         "is_causal",
                                         "q_num_heads",
                                         "kv_num_heads",
                                         "left_window_size",
                                         "right_window_size",
                                         "softmax_precision",
                                         "qk_matmul_output_mode",
                                         NULL};

static void give_tensors(attention_call *call, layout how)
{
    attention_call_give(call, CLATTN_SLOT_Q, "Q", how);
    attention_call_give(call, CLATTN_SLOT_K, "K", how);
    attention_call_give(call, CLATTN_SLOT_V, "V", how);
    attention_call_want(call, CLATTN_SLOT_OUT, "Y", how);
}

/* Extents of one tensor, whatever its rank. */
typedef struct extents {
    int64_t batch, heads, length, dim;
} extents;

/* heads: 0 if the attribute is absent. false: neither 4-D nor 3-D, or the heads don't fit. */
static bool extents_of(const npy_array *array, double heads, extents *e)
{
    if (!array || heads < 0 || heads > INT32_MAX)
        return false;
    const int64_t *shape = array->shape, count = (int64_t)heads;
    if (array->rank == 4) {
        *e = (extents){shape[0], shape[1], shape[2], shape[3]};
        return count == 0 || count == shape[1];
    }
    if (array->rank != 3 || count == 0 || shape[2] % count != 0)
        return false;
    *e = (extents){shape[0], count, shape[1], shape[2] / count};
    return true;
}

static bool set_extents(attention_call *call)
{
    const double q_heads = case_number(call->c, "q_num_heads", 0);
    const double kv_heads = case_number(call->c, "kv_num_heads", 0);
    clattn_attention_desc *d = &call->desc;
    const npy_array *past = call->slot[CLATTN_SLOT_PAST_K].array;
    extents q, k, v;
    if (!extents_of(call->slot[CLATTN_SLOT_Q].array, q_heads, &q) ||
        !extents_of(call->slot[CLATTN_SLOT_K].array, kv_heads, &k) ||
        !extents_of(call->slot[CLATTN_SLOT_V].array, kv_heads, &v))
        return false;
    d->batch = q.batch;
    d->n_head = q.heads;
    d->n_q = q.length;
    d->head_dim = q.dim;
    d->n_kv_head = k.heads;
    d->n_kv = k.length;
    d->value_dim = v.dim;
    d->n_past = past && past->rank == 4 ? past->shape[2] : 0;
    return true;
}

/* Query i stands at i + offset: behind the past, at the end of the valid keys, or at i. */
static void set_align(const attention_call *call, clattn_attention_desc *d)
{
    if (call->slot[CLATTN_SLOT_KV_LENGTHS].takes_part)
        d->align = CLATTN_ALIGN_BOTTOM_RIGHT;
    else
        d->align = d->n_past ? CLATTN_ALIGN_OFFSET : CLATTN_ALIGN_TOP_LEFT;
    d->align_offset = d->n_past;
}

static void set_window(const test_case *c, clattn_attention_desc *d)
{
    const int64_t left = (int64_t)case_number(c, "left_window_size", -1);
    const int64_t right = (int64_t)case_number(c, "right_window_size", -1);
    if (left == -1 && right == -1)
        return;
    d->has_window = 1;
    d->window_left = left;
    d->window_right = right;
}

/* false: an attribute has a value that the operator doesn't know. */
static bool set_attributes(attention_call *call)
{
    const test_case *c = call->c;
    clattn_attention_desc *d = &call->desc;
    const double mode = case_number(c, "qk_matmul_output_mode", 0);
    d->has_scale = cJSON_IsNumber(case_attribute(c, "scale")) ? 1 : 0;
    d->scale = (float)case_number(c, "scale", 0);
    d->softcap = (float)case_number(c, "softcap", 0);
    d->causal = case_flag(c, "is_causal");
    set_window(c, d);
    if (d->causal || d->has_window)
        set_align(call, d);
    /* The modes of the operator are the library's stages. */
    if (call->slot[CLATTN_SLOT_SCORES].takes_part)
        d->score_stage = (clattn_score_stage)mode;
    return mode == CLATTN_SCORES_SCALED || mode == CLATTN_SCORES_CAPPED ||
           mode == CLATTN_SCORES_VISIBLE || mode == CLATTN_SCORES_WEIGHTS;
}

/* What the operator doesn't allow, and the library might. */
static const char *forbidden(const attention_call *call)
{
    const bool past = call->slot[CLATTN_SLOT_PAST_K].takes_part;
    if (past != call->slot[CLATTN_SLOT_PAST_V].takes_part)
        return "past_key and past_value belong together";
    if (past && call->slot[CLATTN_SLOT_KV_LENGTHS].takes_part)
        return "nonpad_kv_seqlen and past_key exclude each other";
    return NULL;
}

/* Modes 0 and 1 hold scores of all keys, those beyond nonpad_kv_seqlen included, which the library
 * leaves out: they are computed in a call of their own. */
static void run_scores_apart(attention_call *call)
{
    attention_call alone = {
        .context = call->context, .c = call->c, .r = call->r, .desc = call->desc};
    static const clattn_slot slots[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_V,
                                        CLATTN_SLOT_SCORES};
    const call_slot *scores = &call->slot[CLATTN_SLOT_SCORES];
    if (!scores->takes_part || !call->slot[CLATTN_SLOT_KV_LENGTHS].takes_part ||
        call->desc.score_stage > CLATTN_SCORES_CAPPED)
        return;
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        alone.slot[slots[i]] = call->slot[slots[i]];
    alone.desc.causal = alone.desc.has_window = 0;
    alone.desc.window_left = alone.desc.window_right = 0;
    alone.desc.align = CLATTN_ALIGN_NONE;
    attention_call_run(&alone);
    call->slot[CLATTN_SLOT_SCORES] = (call_slot){.takes_part = false};
    call->desc.score_stage = CLATTN_SCORES_SCALED;
}

static void run_with_mask(attention_call *call)
{
    const npy_array *mask = case_input(call->c, "attn_mask");
    const char *wrong = NULL;
    npy_array whole = {.rank = 0};
    clattn_slot slot;
    if (mask) {
        wrong = onnx_mask_read(mask, call->desc.n_past + call->desc.n_kv, &slot, &whole);
        if (!wrong)
            attention_call_give_array(call, slot, "attn_mask", &whole, LAYOUT_BROADCAST);
    }
    if (wrong)
        results_decline(call->c, call->r, "%s", wrong);
    else if (knows_all(call, attributes)) {
        run_scores_apart(call);
        attention_call_run(call);
    }
    npy_free(&whole);
}

void run_onnx(clattn_context *context, const test_case *c, results *r)
{
    attention_call call;
    const npy_array *q = case_input(c, "Q");
    attention_call_init(&call, context, c, r);
    give_tensors(&call, q && q->rank == 3 ? LAYOUT_PACKED : LAYOUT_PLAIN);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    const char *wrong = forbidden(&call);
    if (wrong)
        results_decline(c, r, "%s", wrong);
    else if (!set_extents(&call))
        results_decline(c, r, "Q, K and V must be there with 4 or 3 dimensions and fitting heads");
    else if (!set_attributes(&call))
        results_decline(c, r, "an attribute has an unknown value");
    else
        run_with_mask(&call);
}
