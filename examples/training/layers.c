/* Parameters, projections and the head. */
#include "layers.h"

#include <math.h>
#include <stdlib.h>

#include "random.h"
#include "stop.h"

/* ---- parameters ------------------------------------------------------------------------------ */

/* Each parameter begins at a multiple of 64 bytes, as memory that vectors are loaded from likes it.
 */
enum { ALIGNMENT = 16 };

size_t parameters_add(parameters *p, const char *name, size_t rows, size_t columns, size_t inputs)
{
    const size_t first = p->count, count = rows * columns;
    if (p->list_count == MOST_PARAMETERS)
        stop(name, "no room for more than %d parameters", (int)MOST_PARAMETERS);
    p->list[p->list_count++] = (parameter){name, first, count, inputs};
    p->count += (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return first;
}

void parameters_create(parameters *p, device *d, uint64_t seed)
{
    float *values = calloc(p->count, sizeof *values);
    if (!values)
        stop("memory", "no %zu parameters are left", p->count);
    for (size_t n = 0; n < p->list_count; n++) {
        const parameter *one = &p->list[n];
        const float reach = one->inputs ? sqrtf(3.0f / (float)one->inputs) : 0;
        for (size_t i = 0; i < one->count; i++)
            values[one->first + i] = reach * (2 * random_fraction(&seed) - 1);
    }
    p->value = NEW_TENSOR(d, p->count);
    p->gradient = NEW_TENSOR(d, p->count);
    p->average[0] = NEW_TENSOR(d, p->count);
    p->average[1] = NEW_TENSOR(d, p->count);
    tensor_write(d, &p->value, 0, values, p->count);
    free(values);
}

size_t parameters_number(const parameters *p)
{
    size_t number = 0;
    for (size_t n = 0; n < p->list_count; n++)
        number += p->list[n].count;
    return number;
}

void parameters_destroy(parameters *p, device *d)
{
    tensor_destroy(d, &p->value);
    tensor_destroy(d, &p->gradient);
    tensor_destroy(d, &p->average[0]);
    tensor_destroy(d, &p->average[1]);
}

clattn_layer_binding bind_parameter(clattn_layer_tensor role, const tensor *t, size_t first)
{
    return (clattn_layer_binding){
        .tensor = role, .buffer = t->buffer, .offset = first * sizeof(float)};
}

clattn_layer_binding bind_tensor(clattn_layer_tensor role, const tensor *t)
{
    return bind_parameter(role, t, 0);
}

/* ---- projections ----------------------------------------------------------------------------- */

void dense_create(dense *l, device *d, parameters *p, const char *name,
                  const clattn_linear_desc *desc, size_t inputs)
{
    const uint64_t w = CLATTN_SLOT_BIT(CLATTN_SLOT_W), b = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    *l = (dense){.device = d, .parameters = p, .has_bias = (desc->slots & b) != 0};
    l->w = parameters_add(p, name, (size_t)desc->out, (size_t)desc->in, inputs);
    if (l->has_bias)
        l->b = parameters_add(p, name, 1, (size_t)desc->out, 0);
    const uint64_t slots[] = {l->has_bias ? b : 0, 0, l->has_bias ? w | b : w};
    for (int pass = 0; pass < 3; pass++) {
        clattn_linear_desc of_pass = *desc;
        of_pass.pass = (clattn_linear_pass)pass;
        of_pass.slots = slots[pass];
        if (pass != CLATTN_LINEAR_FORWARD)
            of_pass.accumulate = 0;
        if (pass == CLATTN_LINEAR_GRADIENT_X && desc->tensor[CLATTN_SLOT_X].strided)
            continue;
        check(clattn_plan_linear(d->clattn, &of_pass, &l->plan[pass]));
    }
}

void dense_destroy(dense *l)
{
    for (int pass = 0; pass < 3; pass++)
        clattn_plan_destroy(l->plan[pass]);
}

/* A pass with its slots: w and b in the tensor of the parameters, or of their gradients. */
typedef struct dense_step {
    clattn_binding bindings[4];
    clattn_step step;
} dense_step;

static void prepare(dense_step *made, const dense *l, clattn_linear_pass pass, const tensor *x,
                    const tensor *y)
{
    const tensor *of =
        pass == CLATTN_LINEAR_GRADIENT_W ? &l->parameters->gradient : &l->parameters->value;
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_X, .buffer = x->buffer},
        {.slot = CLATTN_SLOT_Y, .buffer = y->buffer},
        {.slot = CLATTN_SLOT_W, .buffer = of->buffer, .offset = l->w * sizeof(float)},
        {.slot = CLATTN_SLOT_B, .buffer = of->buffer, .offset = l->b * sizeof(float)},
    };
    for (int i = 0; i < 4; i++)
        made->bindings[i] = bindings[i];
    made->step = (clattn_step){.plan = l->plan[pass], .bindings = made->bindings};
    made->step.binding_count = l->has_bias && pass != CLATTN_LINEAR_GRADIENT_X ? 4 : 3;
}

void dense_forward(const dense *l, const tensor *x, const tensor *y)
{
    dense_step forward;
    prepare(&forward, l, CLATTN_LINEAR_FORWARD, x, y);
    device_submit(l->device, &forward.step, 1);
}

void dense_backward(const dense *l, const tensor *x, const tensor *dy, const tensor *dx)
{
    dense_step by_w, by_x;
    device *d = l->device;
    prepare(&by_w, l, CLATTN_LINEAR_GRADIENT_W, x, dy);
    if (dx)
        prepare(&by_x, l, CLATTN_LINEAR_GRADIENT_X, dx, dy);
    const clattn_step steps[] = {by_w.step, dx ? by_x.step : by_w.step};
    device_submit(d, steps, dx ? 2 : 1);
}

/* ---- head ------------------------------------------------------------------------------------ */

static clattn_linear_desc describe(const head_shape *shape, int64_t in, int64_t out)
{
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = shape->batch;
    desc.rows = shape->outputs;
    desc.in = in;
    desc.out = out;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    return desc;
}

void head_create(head *h, device *d, parameters *p, const head_shape *shape)
{
    const clattn_linear_desc context = describe(shape, shape->context, shape->width);
    const clattn_linear_desc symbols = describe(shape, shape->width, shape->symbols);
    clattn_linear_desc position = describe(shape, shape->outputs, shape->width);
    position.slots = 0;
    position.accumulate = 1; /* onto what comes from the context */
    h->device = d;
    dense_create(&h->from_context, d, p, "head, of context", &context, (size_t)shape->context);
    dense_create(&h->from_position, d, p, "head, of position", &position, 1);
    dense_create(&h->to_symbols, d, p, "head, to symbols", &symbols, (size_t)shape->width);
    h->hidden = NEW_TENSOR(d, (size_t)shape->batch, (size_t)shape->outputs, (size_t)shape->width);
    h->grad_hidden = NEW_TENSOR(d, h->hidden.count);
}

void head_destroy(head *h)
{
    dense_destroy(&h->from_context);
    dense_destroy(&h->from_position);
    dense_destroy(&h->to_symbols);
    tensor_destroy(h->device, &h->hidden);
    tensor_destroy(h->device, &h->grad_hidden);
}

void head_forward(const head *h, const tensor *context, const tensor *position,
                  const tensor *logits)
{
    dense_forward(&h->from_context, context, &h->hidden);
    dense_forward(&h->from_position, position, &h->hidden);
    LAUNCH(h->device, KERNEL_TANH_FORWARD, h->hidden.count, TENSOR(&h->hidden));
    dense_forward(&h->to_symbols, &h->hidden, logits);
}

void head_backward(const head *h, const tensor *context, const tensor *position,
                   const tensor *grad_logits, const tensor *grad_context)
{
    dense_backward(&h->to_symbols, &h->hidden, grad_logits, &h->grad_hidden);
    LAUNCH(h->device, KERNEL_TANH_GRADIENT, h->hidden.count, TENSOR(&h->hidden),
           TENSOR(&h->grad_hidden));
    dense_backward(&h->from_position, position, &h->grad_hidden, NULL);
    dense_backward(&h->from_context, context, &h->grad_hidden, grad_context);
}
