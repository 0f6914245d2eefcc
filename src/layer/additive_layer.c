/* Additive attention with its projections: queries by WQ and keys by WK, then additive attention,
 * whose bias by channel is BQ. */
#include <stddef.h>

#include "layer/layer_rules.h"

typedef struct builder {
    clattn_layer *layer;
    clattn_additive_layer_desc d;
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

static clattn_dtype type_of(const builder *b, uint32_t tensor)
{
    return tensor < CLATTN__LAYER_PUBLIC ? b->d.dtype : CLATTN_F32;
}

/* ---- projections ----------------------------------------------------------------------------- */

/* One of the two: its tensors, and what the backward pass wants of it. */
typedef struct projection {
    uint8_t x, w, packed, turned, y, grad_x, grad_w, grad_y;
} projection;

static const projection of_queries = {
    CLATTN_LAYER_X,  CLATTN_LAYER_WQ,     CLATTN__LAYER_PACKED_WQ, CLATTN__LAYER_TURNED_WQ,
    CLATTN__LAYER_Q, CLATTN_LAYER_GRAD_X, CLATTN_LAYER_GRAD_WQ,    CLATTN__LAYER_GRAD_Q,
};
static const projection of_keys = {
    CLATTN_LAYER_KEY, CLATTN_LAYER_WK,       CLATTN__LAYER_PACKED_WK, CLATTN__LAYER_TURNED_WK,
    CLATTN__LAYER_K,  CLATTN_LAYER_GRAD_KEY, CLATTN_LAYER_GRAD_WK,    CLATTN__LAYER_GRAD_K,
};

static bool needs(const builder *b, const projection *of)
{
    return wants(b, of->grad_x) || wants(b, of->grad_w);
}

static clattn_status add_linear(builder *b, const projection *of, clattn_linear_pass pass,
                                const clattn__tensors *tensors)
{
    const bool keys = of == &of_keys, forward = pass == CLATTN_LINEAR_FORWARD;
    const uint32_t written = tensors->of[pass == CLATTN_LINEAR_GRADIENT_X   ? CLATTN_SLOT_X
                                         : pass == CLATTN_LINEAR_GRADIENT_W ? CLATTN_SLOT_W
                                                                            : CLATTN_SLOT_Y];
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.pass = pass;
    desc.accumulate = !forward && accumulates(b, written);
    desc.slots = pass == CLATTN_LINEAR_GRADIENT_W ? CLATTN_SLOT_BIT(CLATTN_SLOT_W) : 0;
    desc.batch = b->d.batch;
    desc.rows = keys ? b->d.n_kv : b->d.n_q;
    desc.in = keys ? b->d.key_width : b->d.width;
    desc.out = b->d.channels;
    for (uint32_t slot = CLATTN_SLOT_X; slot <= CLATTN_SLOT_Y; slot++)
        desc.tensor[slot].dtype = type_of(b, tensors->of[slot]);
    return clattn__layer_add_linear(
        b->layer, forward ? CLATTN__PASS_FORWARD : CLATTN__PASS_BACKWARD, &desc, tensors);
}

static clattn_status project(builder *b, const projection *of)
{
    const clattn__tensors tensors = {{[CLATTN_SLOT_X] = of->x,
                                      [CLATTN_SLOT_W] = of->w,
                                      [CLATTN_SLOT_PACKED_W] = of->packed,
                                      [CLATTN_SLOT_Y] = of->y}};
    return add_linear(b, of, CLATTN_LINEAR_FORWARD, &tensors);
}

static clattn_status project_back(builder *b, const projection *of)
{
    const clattn__tensors by_x = {{[CLATTN_SLOT_X] = of->grad_x,
                                   [CLATTN_SLOT_W] = of->w,
                                   [CLATTN_SLOT_PACKED_W] = of->turned,
                                   [CLATTN_SLOT_Y] = of->grad_y}};
    const clattn__tensors by_w = {
        {[CLATTN_SLOT_X] = of->x, [CLATTN_SLOT_W] = of->grad_w, [CLATTN_SLOT_Y] = of->grad_y}};
    if (wants(b, of->grad_x))
        CLATTN__TRY(add_linear(b, of, CLATTN_LINEAR_GRADIENT_X, &by_x));
    if (wants(b, of->grad_w))
        CLATTN__TRY(add_linear(b, of, CLATTN_LINEAR_GRADIENT_W, &by_w));
    return CLATTN_OK;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Gradients that attention writes and the caller may want added: into scratch first. */
static const struct {
    uint8_t gradient, scratch, slot;
} added[] = {
    {CLATTN_LAYER_GRAD_VALUE, CLATTN__LAYER_GRAD_V, CLATTN_SLOT_GRAD_V},
    {CLATTN_LAYER_GRAD_W_SCORE, CLATTN__LAYER_GRAD_SCORE, CLATTN_SLOT_GRAD_W_SCORE},
    {CLATTN_LAYER_GRAD_BQ, CLATTN__LAYER_GRAD_BIAS, CLATTN_SLOT_GRAD_CHANNEL_BIAS},
};
enum { ADDED = sizeof added / sizeof added[0] };

static int64_t elements_of(const builder *b, size_t i)
{
    return i == 0 ? b->d.batch * b->d.n_kv * b->d.value_width : b->d.channels;
}

static clattn__tensors tensors_of(const builder *b)
{
    const bool own = (b->d.optional & BIT(LSE)) == 0;
    clattn__tensors tensors = {{
        [CLATTN_SLOT_Q] = CLATTN__LAYER_Q,
        [CLATTN_SLOT_K] = CLATTN__LAYER_K,
        [CLATTN_SLOT_V] = CLATTN_LAYER_VALUE,
        [CLATTN_SLOT_W_SCORE] = CLATTN_LAYER_W_SCORE,
        [CLATTN_SLOT_CHANNEL_BIAS] = CLATTN_LAYER_BQ,
        [CLATTN_SLOT_OUT] = CLATTN_LAYER_OUT,
        [CLATTN_SLOT_LSE] = (uint8_t)(own ? (int)CLATTN__LAYER_LSE : (int)CLATTN_LAYER_LSE),
        [CLATTN_SLOT_WEIGHTS] = CLATTN_LAYER_WEIGHTS,
        [CLATTN_SLOT_MASK] = CLATTN_LAYER_MASK,
        [CLATTN_SLOT_Q_LENGTHS] = CLATTN_LAYER_Q_LENGTHS,
        [CLATTN_SLOT_KV_LENGTHS] = CLATTN_LAYER_KV_LENGTHS,
        [CLATTN_SLOT_GRAD_OUT] = CLATTN_LAYER_GRAD_OUT,
        [CLATTN_SLOT_GRAD_Q] = CLATTN__LAYER_GRAD_Q,
        [CLATTN_SLOT_GRAD_K] = CLATTN__LAYER_GRAD_K,
    }};
    for (size_t i = 0; i < ADDED; i++)
        tensors.of[added[i].slot] =
            accumulates(b, added[i].gradient) ? added[i].scratch : added[i].gradient;
    return tensors;
}

/* The slots of the backward pass that are wanted. */
static uint64_t gradient_slots(const builder *b)
{
    uint64_t slots = 0;
    if (needs(b, &of_queries))
        slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q);
    if (needs(b, &of_keys))
        slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K);
    for (size_t i = 0; i < ADDED; i++)
        if (wants(b, added[i].gradient))
            slots |= CLATTN_SLOT_BIT(added[i].slot);
    return slots;
}

static const uint64_t of_their_own_type =
    CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS) |
    CLATTN_SLOT_BIT(CLATTN_SLOT_MASK) | CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS) |
    CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);

static clattn_status attend(builder *b, clattn__pass pass)
{
    const bool forward = pass == CLATTN__PASS_FORWARD;
    const clattn__tensors tensors = tensors_of(b);
    clattn__problem problem;
    clattn_additive_desc desc;
    clattn_additive_desc_init(&desc);
    desc.batch = b->d.batch;
    desc.n_head = 1;
    desc.n_q = b->d.n_q;
    desc.n_kv = b->d.n_kv;
    desc.channels = b->d.channels;
    desc.value_dim = b->d.value_width;
    for (uint32_t slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        if (tensors.of[slot] && !(of_their_own_type & CLATTN_SLOT_BIT(slot)))
            desc.tensor[slot].dtype = type_of(b, tensors.of[slot]);
    desc.tensor[CLATTN_SLOT_MASK] = b->d.mask;
    desc.slots = clattn__layer_restrictions(b->d.optional);
    if (b->d.optional & BIT(BQ))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_CHANNEL_BIAS);
    if (forward && b->d.optional & BIT(WEIGHTS))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
    if (forward && (b->d.gradients || b->d.optional & BIT(LSE)))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    desc.slots |= forward ? 0 : gradient_slots(b);
    CLATTN__TRY(clattn__problem_init_additive(
        &problem, &desc, forward ? CLATTN__ADDITIVE : CLATTN__ADDITIVE_GRADIENT));
    return clattn__layer_add(b->layer, pass, &problem, &tensors);
}

/* ---- the passes ------------------------------------------------------------------------------ */

static void place_tensors(builder *b)
{
    const clattn_layer_tensor kept = b->d.gradients ? CLATTN_LAYER_STATE : CLATTN_LAYER_SCRATCH;
    const int64_t queries = b->d.batch * b->d.n_q * b->d.channels;
    const int64_t keys = b->d.batch * b->d.n_kv * b->d.channels;
    clattn__layer_place(b->layer, CLATTN__LAYER_Q, kept, queries);
    clattn__layer_place(b->layer, CLATTN__LAYER_K, kept, keys);
    if (b->d.gradients && !(b->d.optional & BIT(LSE)))
        clattn__layer_place(b->layer, CLATTN__LAYER_LSE, CLATTN_LAYER_STATE, b->d.batch * b->d.n_q);
    if (needs(b, &of_queries))
        clattn__layer_place(b->layer, CLATTN__LAYER_GRAD_Q, CLATTN_LAYER_SCRATCH, queries);
    if (needs(b, &of_keys))
        clattn__layer_place(b->layer, CLATTN__LAYER_GRAD_K, CLATTN_LAYER_SCRATCH, keys);
    for (size_t i = 0; i < ADDED; i++)
        if (accumulates(b, added[i].gradient))
            clattn__layer_place(b->layer, added[i].scratch, CLATTN_LAYER_SCRATCH,
                                elements_of(b, i));
}

static clattn_status build(builder *b)
{
    place_tensors(b);
    CLATTN__TRY(project(b, &of_queries));
    CLATTN__TRY(project(b, &of_keys));
    CLATTN__TRY(attend(b, CLATTN__PASS_FORWARD));
    if (!b->d.gradients)
        return CLATTN_OK;
    CLATTN__TRY(attend(b, CLATTN__PASS_BACKWARD));
    CLATTN__TRY(project_back(b, &of_queries));
    CLATTN__TRY(project_back(b, &of_keys));
    for (size_t i = 0; i < ADDED; i++)
        if (accumulates(b, added[i].gradient))
            CLATTN__TRY(clattn__layer_add_up(b->layer, b->d.dtype, added[i].gradient,
                                             added[i].scratch, elements_of(b, i)));
    return CLATTN_OK;
}

clattn_status clattn__additive_layer_create(clattn_context *context,
                                            const clattn_additive_layer_desc *desc,
                                            clattn_layer **layer)
{
    builder b = {.d = *desc};
    CLATTN__TRY(clattn__additive_layer_check(&b.d));
    CLATTN__TRY(clattn__layer_begin(context, &b.layer));
    const clattn_status status = build(&b);
    if (status == CLATTN_OK)
        *layer = b.layer;
    else
        clattn__layer_free(b.layer);
    return status;
}
