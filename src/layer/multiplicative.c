/* Multiplicative attention with weights of its own: keys projected by W_SCORE, then attention with
 * scale 1. */
#include <stddef.h>

#include "layer/layer_rules.h"

typedef struct builder {
    clattn_layer *layer;
    clattn_multiplicative_desc d;
} builder;

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

static bool wants(const builder *b, uint32_t gradient)
{
    return (b->d.gradients & CLATTN_LAYER_BIT(gradient)) != 0;
}

static bool accumulates(const builder *b, uint32_t gradient)
{
    return (b->d.accumulate & CLATTN_LAYER_BIT(gradient)) != 0;
}

static bool needs_keys(const builder *b)
{
    return wants(b, CLATTN_LAYER_GRAD_KEY) || wants(b, CLATTN_LAYER_GRAD_W_SCORE);
}

/* LSE is in STATE, not the caller's. */
static bool has_own_lse(const builder *b)
{
    return (b->d.optional & BIT(LSE)) == 0;
}

/* Attention writes its gradients; where they are to be added, into scratch first. */
static uint32_t place_of(const builder *b, uint32_t gradient, uint32_t scratch)
{
    return accumulates(b, gradient) ? scratch : gradient;
}

static clattn_dtype type_of(const builder *b, uint32_t tensor)
{
    return tensor < CLATTN__LAYER_PUBLIC ? b->d.dtype : CLATTN_F32;
}

/* ---- the keys' projection -------------------------------------------------------------------- */

static clattn_linear_desc linear_of(const builder *b, clattn_linear_pass pass,
                                    const clattn__tensors *tensors)
{
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.pass = pass;
    desc.batch = b->d.batch;
    desc.rows = b->d.n_kv;
    desc.in = b->d.key_width;
    desc.out = b->d.width;
    for (uint32_t slot = CLATTN_SLOT_X; slot <= CLATTN_SLOT_Y; slot++)
        desc.tensor[slot].dtype = type_of(b, tensors->of[slot]);
    return desc;
}

static clattn_status project_keys(builder *b)
{
    const clattn__tensors tensors = {{
        [CLATTN_SLOT_X] = CLATTN_LAYER_KEY,
        [CLATTN_SLOT_W] = CLATTN_LAYER_W_SCORE,
        [CLATTN_SLOT_PACKED_W] = CLATTN__LAYER_PACKED_W_SCORE,
        [CLATTN_SLOT_Y] = CLATTN__LAYER_K,
    }};
    const clattn_linear_desc desc = linear_of(b, CLATTN_LINEAR_FORWARD, &tensors);
    return clattn__layer_add_linear(b->layer, CLATTN__PASS_FORWARD, &desc, &tensors);
}

static clattn_status project_keys_back(builder *b)
{
    const clattn__tensors by_key = {{
        [CLATTN_SLOT_X] = CLATTN_LAYER_GRAD_KEY,
        [CLATTN_SLOT_W] = CLATTN_LAYER_W_SCORE,
        [CLATTN_SLOT_PACKED_W] = CLATTN__LAYER_TURNED_W_SCORE,
        [CLATTN_SLOT_Y] = CLATTN__LAYER_GRAD_K,
    }};
    const clattn__tensors by_weights = {{
        [CLATTN_SLOT_X] = CLATTN_LAYER_KEY,
        [CLATTN_SLOT_W] = CLATTN_LAYER_GRAD_W_SCORE,
        [CLATTN_SLOT_Y] = CLATTN__LAYER_GRAD_K,
    }};
    if (wants(b, CLATTN_LAYER_GRAD_KEY)) {
        clattn_linear_desc desc = linear_of(b, CLATTN_LINEAR_GRADIENT_X, &by_key);
        desc.accumulate = accumulates(b, CLATTN_LAYER_GRAD_KEY);
        CLATTN__TRY(clattn__layer_add_linear(b->layer, CLATTN__PASS_BACKWARD, &desc, &by_key));
    }
    if (!wants(b, CLATTN_LAYER_GRAD_W_SCORE))
        return CLATTN_OK;
    clattn_linear_desc desc = linear_of(b, CLATTN_LINEAR_GRADIENT_W, &by_weights);
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    desc.accumulate = accumulates(b, CLATTN_LAYER_GRAD_W_SCORE);
    return clattn__layer_add_linear(b->layer, CLATTN__PASS_BACKWARD, &desc, &by_weights);
}

/* ---- attention ------------------------------------------------------------------------------- */

static clattn_attention_desc attention_of(const builder *b, const clattn__tensors *tensors)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = b->d.batch;
    desc.n_head = desc.n_kv_head = 1;
    desc.n_q = b->d.n_q;
    desc.n_kv = b->d.n_kv;
    desc.head_dim = b->d.width;
    desc.value_dim = b->d.value_width;
    desc.has_scale = 1;
    desc.scale = 1;
    for (uint32_t slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        desc.tensor[slot].dtype = type_of(b, tensors->of[slot]);
    desc.tensor[CLATTN_SLOT_MASK] = b->d.mask;
    desc.slots = clattn__layer_restrictions(b->d.optional);
    if (b->d.gradients || !has_own_lse(b))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    return desc;
}

static clattn__tensors tensors_of(const builder *b)
{
    return (clattn__tensors){{
        [CLATTN_SLOT_Q] = CLATTN_LAYER_X,
        [CLATTN_SLOT_K] = CLATTN__LAYER_K,
        [CLATTN_SLOT_V] = CLATTN_LAYER_VALUE,
        [CLATTN_SLOT_OUT] = CLATTN_LAYER_OUT,
        [CLATTN_SLOT_LSE] =
            (uint8_t)(has_own_lse(b) ? (int)CLATTN__LAYER_LSE : (int)CLATTN_LAYER_LSE),
        [CLATTN_SLOT_WEIGHTS] = CLATTN_LAYER_WEIGHTS,
        [CLATTN_SLOT_MASK] = CLATTN_LAYER_MASK,
        [CLATTN_SLOT_Q_LENGTHS] = CLATTN_LAYER_Q_LENGTHS,
        [CLATTN_SLOT_KV_LENGTHS] = CLATTN_LAYER_KV_LENGTHS,
        [CLATTN_SLOT_GRAD_OUT] = CLATTN_LAYER_GRAD_OUT,
        [CLATTN_SLOT_GRAD_Q] = (uint8_t)place_of(b, CLATTN_LAYER_GRAD_X, CLATTN__LAYER_GRAD_Q),
        [CLATTN_SLOT_GRAD_K] = CLATTN__LAYER_GRAD_K,
        [CLATTN_SLOT_GRAD_V] = (uint8_t)place_of(b, CLATTN_LAYER_GRAD_VALUE, CLATTN__LAYER_GRAD_V),
    }};
}

static clattn_status attend(builder *b)
{
    const clattn__tensors tensors = tensors_of(b);
    clattn_attention_desc desc = attention_of(b, &tensors);
    if (b->d.optional & BIT(WEIGHTS))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
    return clattn__layer_add_attention(b->layer, CLATTN__PASS_FORWARD, &desc, &tensors);
}

static clattn_status attend_back(builder *b)
{
    const clattn__tensors tensors = tensors_of(b);
    clattn_attention_desc desc = attention_of(b, &tensors);
    const bool wanted[] = {wants(b, CLATTN_LAYER_GRAD_X), needs_keys(b),
                           wants(b, CLATTN_LAYER_GRAD_VALUE)};
    desc.tensor[CLATTN_SLOT_GRAD_OUT].dtype = b->d.dtype;
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t slot = CLATTN_SLOT_GRAD_Q + i;
        desc.tensor[slot].dtype = type_of(b, tensors.of[slot]);
        if (wanted[i])
            desc.slots |= CLATTN_SLOT_BIT(slot);
    }
    return clattn__layer_add_attention(b->layer, CLATTN__PASS_BACKWARD, &desc, &tensors);
}

static clattn_status add_up(builder *b, uint32_t gradient, uint32_t scratch, int64_t elements)
{
    if (!accumulates(b, gradient))
        return CLATTN_OK;
    return clattn__layer_add_up(b->layer, b->d.dtype, gradient, scratch, elements);
}

/* ---- the passes ------------------------------------------------------------------------------ */

static void place_tensors(builder *b, int64_t queries, int64_t values)
{
    const clattn_layer_tensor kept = b->d.gradients ? CLATTN_LAYER_STATE : CLATTN_LAYER_SCRATCH;
    const int64_t keys = b->d.batch * b->d.n_kv * b->d.width;
    clattn__layer_place(b->layer, CLATTN__LAYER_K, kept, keys);
    if (b->d.gradients && has_own_lse(b))
        clattn__layer_place(b->layer, CLATTN__LAYER_LSE, CLATTN_LAYER_STATE, b->d.batch * b->d.n_q);
    if (needs_keys(b))
        clattn__layer_place(b->layer, CLATTN__LAYER_GRAD_K, CLATTN_LAYER_SCRATCH, keys);
    if (accumulates(b, CLATTN_LAYER_GRAD_X))
        clattn__layer_place(b->layer, CLATTN__LAYER_GRAD_Q, CLATTN_LAYER_SCRATCH, queries);
    if (accumulates(b, CLATTN_LAYER_GRAD_VALUE))
        clattn__layer_place(b->layer, CLATTN__LAYER_GRAD_V, CLATTN_LAYER_SCRATCH, values);
}

static clattn_status build(builder *b)
{
    const int64_t queries = b->d.batch * b->d.n_q * b->d.width;
    const int64_t values = b->d.batch * b->d.n_kv * b->d.value_width;
    place_tensors(b, queries, values);
    CLATTN__TRY(project_keys(b));
    CLATTN__TRY(attend(b));
    if (!b->d.gradients)
        return CLATTN_OK;
    CLATTN__TRY(attend_back(b));
    CLATTN__TRY(project_keys_back(b));
    CLATTN__TRY(add_up(b, CLATTN_LAYER_GRAD_X, CLATTN__LAYER_GRAD_Q, queries));
    return add_up(b, CLATTN_LAYER_GRAD_VALUE, CLATTN__LAYER_GRAD_V, values);
}

clattn_status clattn__multiplicative_create(clattn_context *context,
                                            const clattn_multiplicative_desc *desc,
                                            clattn_layer **layer)
{
    builder b = {.d = *desc};
    CLATTN__TRY(clattn__multiplicative_check(&b.d));
    CLATTN__TRY(clattn__layer_begin(context, &b.layer));
    const clattn_status status = build(&b);
    if (status == CLATTN_OK)
        *layer = b.layer;
    else
        clattn__layer_free(b.layer);
    return status;
}
