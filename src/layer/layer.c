/* Building and running layers, whatever they compute. */
#include "layer/layer.h"

#include <inttypes.h>
#include <string.h>

static const char *const names[CLATTN__LAYER_PUBLIC] = {
    [CLATTN_LAYER_X] = "X",
    [CLATTN_LAYER_KEY] = "KEY",
    [CLATTN_LAYER_VALUE] = "VALUE",
    [CLATTN_LAYER_OUT] = "OUT",
    [CLATTN_LAYER_WQ] = "WQ",
    [CLATTN_LAYER_WK] = "WK",
    [CLATTN_LAYER_WV] = "WV",
    [CLATTN_LAYER_WO] = "WO",
    [CLATTN_LAYER_BQ] = "BQ",
    [CLATTN_LAYER_BK] = "BK",
    [CLATTN_LAYER_BV] = "BV",
    [CLATTN_LAYER_BO] = "BO",
    [CLATTN_LAYER_KV_LENGTHS] = "KV_LENGTHS",
    [CLATTN_LAYER_WEIGHTS] = "WEIGHTS",
    [CLATTN_LAYER_SEED] = "SEED",
    [CLATTN_LAYER_GRAD_OUT] = "GRAD_OUT",
    [CLATTN_LAYER_GRAD_X] = "GRAD_X",
    [CLATTN_LAYER_GRAD_KEY] = "GRAD_KEY",
    [CLATTN_LAYER_GRAD_VALUE] = "GRAD_VALUE",
    [CLATTN_LAYER_GRAD_WQ] = "GRAD_WQ",
    [CLATTN_LAYER_GRAD_WK] = "GRAD_WK",
    [CLATTN_LAYER_GRAD_WV] = "GRAD_WV",
    [CLATTN_LAYER_GRAD_WO] = "GRAD_WO",
    [CLATTN_LAYER_GRAD_BQ] = "GRAD_BQ",
    [CLATTN_LAYER_GRAD_BK] = "GRAD_BK",
    [CLATTN_LAYER_GRAD_BV] = "GRAD_BV",
    [CLATTN_LAYER_GRAD_BO] = "GRAD_BO",
    [CLATTN_LAYER_STATE] = "STATE",
    [CLATTN_LAYER_SCRATCH] = "SCRATCH",
    [CLATTN_LAYER_W_SCORE] = "W_SCORE",
    [CLATTN_LAYER_GRAD_W_SCORE] = "GRAD_W_SCORE",
    [CLATTN_LAYER_LSE] = "LSE",
    [CLATTN_LAYER_MASK] = "MASK",
    [CLATTN_LAYER_Q_LENGTHS] = "Q_LENGTHS",
};

const char *clattn__layer_tensor_name(uint32_t tensor)
{
    return tensor < CLATTN__LAYER_PUBLIC ? names[tensor] : NULL;
}

/* ---- building -------------------------------------------------------------------------------- */

clattn_status clattn__layer_begin(clattn_context *context, clattn_layer **layer)
{
    clattn_layer *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->context = context;
    clattn__context_hold(context);
    *layer = made;
    return CLATTN_OK;
}

void clattn__layer_free(clattn_layer *layer)
{
    clattn_context *context = layer->context;
    for (uint32_t pass = 0; pass < CLATTN__PASSES; pass++)
        for (uint32_t i = 0; i < layer->count[pass]; i++)
            clattn__plan_release(layer->operation[pass][i].plan);
    for (uint32_t i = 0; i < CLATTN__LAYER_TENSORS; i++) {
        clattn_buffer_destroy(layer->own[i].buffer);
        clattn__free(&context->env, layer->own[i].host);
    }
    clattn__free(&context->env, layer);
    clattn__context_drop(context);
}

void clattn__layer_place(clattn_layer *layer, uint32_t tensor, clattn_layer_tensor within,
                         int64_t elements)
{
    uint64_t *size = within == CLATTN_LAYER_STATE ? &layer->state : &layer->scratch;
    layer->own[tensor].within = (uint32_t)within;
    layer->own[tensor].offset = *size;
    *size += (sizeof(float) * (uint64_t)elements + 255) / 256 * 256;
}

/* The public tensor that a pass needs for one that a plan is bound to; 0 bits: none. */
static uint64_t public_bit(const clattn_layer *layer, uint32_t tensor)
{
    if (tensor < CLATTN__LAYER_PUBLIC)
        return CLATTN_LAYER_BIT(tensor);
    return layer->own[tensor].within ? CLATTN_LAYER_BIT(layer->own[tensor].within) : 0;
}

static clattn__pass packed_pass(clattn__pass pass)
{
    return pass == CLATTN__PASS_FORWARD ? CLATTN__PASS_FORWARD_PACKED
                                        : CLATTN__PASS_BACKWARD_PACKED;
}

clattn__pass clattn__layer_pass(const clattn_layer *layer, clattn__pass pass)
{
    return layer->packed ? packed_pass(pass) : pass;
}

/* To one pass alone. */
static clattn_status add_to(clattn_layer *layer, clattn__pass pass, const clattn__problem *problem,
                            const clattn__tensors *tensors)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__operation made = {.count = 0};
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const uint32_t tensor = tensors->of[slot];
        if (!clattn__problem_has(problem, (clattn_slot)slot))
            continue;
        made.pair[made.count++] = (clattn__pair){(uint8_t)slot, (uint8_t)tensor};
        layer->tensors |= public_bit(layer, tensor);
    }
    CLATTN__TRY(clattn__plan_create(layer->context, problem, &none, &made.plan));
    layer->operation[pass][layer->count[pass]++] = made;
    return CLATTN_OK;
}

/* The plan is shared. */
clattn_status clattn__layer_add(clattn_layer *layer, clattn__pass pass,
                                const clattn__problem *problem, const clattn__tensors *tensors)
{
    const clattn__pass packed = packed_pass(pass);
    CLATTN__TRY(add_to(layer, pass, problem, tensors));
    const clattn__operation *made = &layer->operation[pass][layer->count[pass] - 1];
    clattn__plan_retain(made->plan);
    layer->operation[packed][layer->count[packed]++] = *made;
    return CLATTN_OK;
}

clattn_status clattn__layer_add_attention(clattn_layer *layer, clattn__pass pass,
                                          const clattn_attention_desc *desc,
                                          const clattn__tensors *tensors)
{
    clattn__problem problem;
    if (pass == CLATTN__PASS_BACKWARD)
        CLATTN__TRY(clattn__problem_init_gradient(&problem, desc));
    else
        CLATTN__TRY(clattn__problem_init(&problem, desc));
    return clattn__layer_add(layer, pass, &problem, tensors);
}

clattn_status clattn__layer_add_linear(clattn_layer *layer, clattn__pass pass,
                                       const clattn_linear_desc *desc,
                                       const clattn__tensors *tensors)
{
    clattn__problem problem;
    CLATTN__TRY(clattn__problem_init_linear(&problem, desc, CLATTN__LINEAR));
    if (desc->pass == CLATTN_LINEAR_GRADIENT_W) /* which reads no weights */
        return clattn__layer_add(layer, pass, &problem, tensors);
    CLATTN__TRY(add_to(layer, pass, &problem, tensors));
    clattn_linear_desc packed = *desc;
    packed.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W);
    CLATTN__TRY(clattn__problem_init_linear(&problem, &packed, CLATTN__LINEAR));
    CLATTN__TRY(add_to(layer, packed_pass(pass), &problem, tensors));
    CLATTN__TRY(clattn__problem_init_linear(&problem, desc, CLATTN__LINEAR_PACK));
    return add_to(layer, CLATTN__PASS_PACK, &problem, tensors);
}

uint64_t clattn__layer_restrictions(uint64_t optional)
{
    static const struct {
        clattn_layer_tensor tensor;
        clattn_slot slot;
    } rows[] = {
        {CLATTN_LAYER_MASK, CLATTN_SLOT_MASK},
        {CLATTN_LAYER_Q_LENGTHS, CLATTN_SLOT_Q_LENGTHS},
        {CLATTN_LAYER_KV_LENGTHS, CLATTN_SLOT_KV_LENGTHS},
    };
    uint64_t slots = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (optional & CLATTN_LAYER_BIT(rows[i].tensor))
            slots |= CLATTN_SLOT_BIT(rows[i].slot);
    return slots;
}

/* As the sum over one row. */
clattn_status clattn__layer_add_up(clattn_layer *layer, clattn_dtype dtype, uint32_t gradient,
                                   uint32_t scratch, int64_t elements)
{
    clattn_linear_desc desc;
    clattn__tensors tensors = {{0}};
    if (elements == 0)
        return CLATTN_OK;
    clattn_linear_desc_init(&desc);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    desc.accumulate = 1;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    desc.batch = desc.rows = desc.in = 1;
    desc.out = elements;
    desc.tensor[CLATTN_SLOT_B].dtype = dtype;
    tensors.of[CLATTN_SLOT_X] = tensors.of[CLATTN_SLOT_Y] = (uint8_t)scratch;
    tensors.of[CLATTN_SLOT_B] = (uint8_t)gradient;
    return clattn__layer_add_linear(layer, CLATTN__PASS_BACKWARD, &desc, &tensors);
}

clattn_status clattn__layer_reserve_packed(clattn_layer *layer)
{
    for (uint32_t i = 0; i < layer->count[CLATTN__PASS_PACK]; i++) {
        const clattn__operation *operation = &layer->operation[CLATTN__PASS_PACK][i];
        for (uint32_t n = 0; n < operation->count; n++) {
            clattn__own *own = &layer->own[operation->pair[n].tensor];
            int64_t low, high;
            if (operation->pair[n].slot != CLATTN_SLOT_PACKED_W || own->buffer)
                continue;
            clattn__slot_span(&operation->plan->problem, CLATTN_SLOT_PACKED_W, &low, &high);
            CLATTN__TRY(clattn_buffer_create(layer->context, (uint64_t)high, &own->buffer));
        }
    }
    return CLATTN_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

/* The caller's tensors of a pass: by tensor; NULL: not bound. */
typedef struct bound {
    const clattn_layer_binding *tensor[CLATTN__LAYER_PUBLIC];
} bound;

static clattn_status take_binding(const clattn_layer *layer, const clattn_layer_binding *binding,
                                  bound *to)
{
    const char *name = clattn__layer_tensor_name((uint32_t)binding->tensor);
    if (!name)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: %d is no tensor of a layer",
                            (int)binding->tensor);
    if (!(layer->tensors & CLATTN_LAYER_BIT(binding->tensor)))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: has no part in this layer", name);
    if (to->tensor[binding->tensor])
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is bound twice", name);
    if (binding->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: reserved is %" PRIu32 ", must be 0", name,
                            binding->reserved);
    if ((binding->tensor == CLATTN_LAYER_STATE || binding->tensor == CLATTN_LAYER_SCRATCH) &&
        binding->offset % 64 != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: offset %" PRIu64 " is not a multiple of 64",
                            name, binding->offset);
    to->tensor[binding->tensor] = binding;
    return CLATTN_OK;
}

/* Where the tensor of a slot is. */
static clattn_status resolve(const clattn_layer *layer, const bound *from, clattn__pair pair,
                             clattn_binding *binding)
{
    const clattn__own *own = &layer->own[pair.tensor];
    *binding = (clattn_binding){.slot = (clattn_slot)pair.slot};
    if (own->buffer || own->host) {
        binding->buffer = own->buffer;
        binding->host = own->host;
        return CLATTN_OK;
    }
    const uint32_t tensor = own->within ? own->within : pair.tensor;
    const clattn_layer_binding *given = from->tensor[tensor];
    if (!given)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is not bound",
                            clattn__layer_tensor_name(tensor));
    binding->buffer = given->buffer;
    binding->host = given->host;
    binding->offset = given->offset + own->offset;
    return CLATTN_OK;
}

clattn_status clattn__layer_submit(clattn_layer *layer, clattn__pass pass,
                                   clattn_dispatcher *dispatcher,
                                   const clattn_layer_binding *bindings, uint32_t count,
                                   clattn_event **event)
{
    bound from = {{NULL}};
    clattn_step steps[CLATTN__MOST_OPERATIONS] = {{.plan = NULL}};
    clattn_binding resolved[CLATTN__MOST_OPERATIONS][CLATTN__MOST_PAIRS];
    clattn_submission submission;
    for (uint32_t i = 0; i < count; i++)
        CLATTN__TRY(take_binding(layer, &bindings[i], &from));
    for (uint32_t i = 0; i < layer->count[pass]; i++) {
        const clattn__operation *operation = &layer->operation[pass][i];
        for (uint32_t n = 0; n < operation->count; n++)
            CLATTN__TRY(resolve(layer, &from, operation->pair[n], &resolved[i][n]));
        steps[i].plan = operation->plan;
        steps[i].bindings = resolved[i];
        steps[i].binding_count = operation->count;
    }
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = layer->count[pass];
    return clattn__submit_layer(dispatcher, &submission, event);
}
