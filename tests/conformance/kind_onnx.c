/* Cases of the ONNX operator Attention, versions 23 to 25: 4-D tensors are (B, H, S, D), 3-D ones
 * (B, S, H * D). https://onnx.ai/onnx/operators/onnx__Attention.html */
#include "attention_call.h"

#include <stdint.h>

static const char *const inputs_to_come[] = {"attn_mask", "past_key", "past_value",
                                             "nonpad_kv_seqlen", NULL};

/* Values of qk_matmul_output_mode. */
enum { MODE_WEIGHTS = 3 };

static const char *option_to_come(const test_case *c)
{
    const char *input = first_input_of(c, inputs_to_come);
    if (input)
        return input;
    if (case_number(c, "softcap", 0) != 0)
        return "softcap";
    if (case_number(c, "left_window_size", -1) >= 0 || case_number(c, "right_window_size", -1) >= 0)
        return "window";
    return NULL;
}

/* Extents of one tensor, whatever its rank. */
typedef struct extents {
    int64_t batch, heads, length, dim;
} extents;

/* false: the array is neither 4-D nor 3-D with a fitting number of heads. */
static bool extents_of(const npy_array *array, double heads, extents *e)
{
    if (array && array->rank == 4) {
        *e = (extents){array->shape[0], array->shape[1], array->shape[2], array->shape[3]};
        return true;
    }
    if (!array || array->rank != 3 || heads < 1 || heads > INT32_MAX ||
        array->shape[2] % (int64_t)heads != 0)
        return false;
    *e = (extents){array->shape[0], (int64_t)heads, array->shape[1],
                   array->shape[2] / (int64_t)heads};
    return true;
}

static void set_packed_layout(clattn_tensor *tensor, extents e)
{
    const int64_t row = e.heads * e.dim;
    *tensor = (clattn_tensor){.strided = 1, .stride = {e.length * row, e.dim, row, 1}};
}

static bool describe(const test_case *c, attention_call *call)
{
    clattn_attention_desc *d = &call->desc;
    const double q_heads = case_number(c, "q_num_heads", 0);
    const double kv_heads = case_number(c, "kv_num_heads", 0);
    extents q, k, v;
    if (!extents_of(call->q, q_heads, &q) || !extents_of(call->k, kv_heads, &k) ||
        !extents_of(call->v, kv_heads, &v))
        return false;
    clattn_attention_desc_init(d);
    d->batch = q.batch;
    d->n_head = q.heads;
    d->n_q = q.length;
    d->head_dim = q.dim;
    d->n_kv_head = k.heads;
    d->n_kv = k.length;
    d->value_dim = v.dim;
    d->has_scale = case_attribute(c, "scale") != NULL;
    d->scale = (float)case_number(c, "scale", 0);
    d->causal = case_flag(c, "is_causal");
    d->align = CLATTN_ALIGN_TOP_LEFT; /* without past and nonpad_kv_seqlen */
    const extents out = {q.batch, q.heads, q.length, v.dim};
    const extents by_slot[] = {q, k, v, out};
    for (int slot = 0; slot <= CLATTN_SLOT_OUT && call->q->rank == 3; slot++)
        set_packed_layout(&d->tensor[slot], by_slot[slot]);
    return true;
}

void run_onnx(clattn_context *context, const test_case *c, results *r)
{
    attention_call call = {
        .q = case_input(c, "Q"), .k = case_input(c, "K"), .v = case_input(c, "V")};
    const char *missing = option_to_come(c);
    if (missing) {
        results_decline(c, r, "%s is not supported yet", missing);
        return;
    }
    if (!describe(c, &call)) {
        results_decline(c, r, "Q, K and V must be there with 4 or 3 dimensions and fitting heads");
        return;
    }
    attention_call_want(&call, c, r, CLATTN_SLOT_OUT, "Y");
    if (case_number(c, "qk_matmul_output_mode", 0) == MODE_WEIGHTS)
        attention_call_want(&call, c, r, CLATTN_SLOT_WEIGHTS, "qk_matmul_output");
    attention_call_run(&call, context, c, r);
    results_decline(c, r, "this output is not supported yet");
}
