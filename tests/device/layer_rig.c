/* See layer_rig.h. */
#include "layer_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

void layer_good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

size_t layer_element_size(const layer_case *of, uint32_t tensor)
{
    return of->type == ORACLE_F32 || tensor == CLATTN_LAYER_WEIGHTS || tensor == CLATTN_LAYER_LSE
               ? 4
               : 2;
}

static void narrow(const layer_case *of, uint32_t tensor, float value, void *to)
{
    uint16_t half = of->type == ORACLE_F16 ? oracle_to_f16(value) : oracle_to_bf16(value);
    if (layer_element_size(of, tensor) == 4)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &half, sizeof half);
}

double layer_widen(const layer_case *of, uint32_t tensor, const void *from)
{
    uint16_t half;
    float value;
    if (layer_element_size(of, tensor) == 4) {
        memcpy(&value, from, sizeof value);
        return (double)value;
    }
    memcpy(&half, from, sizeof half);
    return (double)(of->type == ORACLE_F16 ? oracle_from_f16(half) : oracle_from_bf16(half));
}

/* Guard bytes lie before and behind each tensor, and are written as 0xa5. */
static void make_buffer(layer_stage *s, uint32_t tensor, uint64_t size)
{
    unsigned char *data;
    const uint64_t all = size + 2 * LAYER_GUARD;
    s->guarded[tensor] = all;
    layer_good(clattn_buffer_create(s->context, all, &s->buffer[tensor]));
    layer_good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    memset(data, 0xa5, all);
    data += LAYER_GUARD;
    memset(data, 0xff, size); /* NaN */
    const float *from = s->values.in[tensor];
    for (int64_t i = 0; from && i < s->values.count[tensor]; i++)
        narrow(s->of, tensor, from[i], data + (size_t)i * layer_element_size(s->of, tensor));
    layer_good(clattn_buffer_unmap(s->buffer[tensor]));
    s->binding[s->count++] = (clattn_layer_binding){
        .tensor = (clattn_layer_tensor)tensor, .buffer = s->buffer[tensor], .offset = LAYER_GUARD};
}

static void make_mask(layer_stage *s)
{
    const uint64_t size = (uint64_t)s->values.mask_count;
    clattn_buffer **buffer = &s->buffer[CLATTN_LAYER_MASK];
    layer_good(clattn_buffer_create(s->context, size + 1, buffer));
    layer_good(clattn_buffer_write(*buffer, 0, s->values.mask_in, size));
    s->binding[s->count++] = (clattn_layer_binding){.tensor = CLATTN_LAYER_MASK, .buffer = *buffer};
}

static void make_buffers(layer_stage *s)
{
    uint64_t size[2];
    layer_good(clattn_layer_sizes(s->layer, &size[0], &size[1]));
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (s->values.in[tensor] || s->values.expected[tensor])
            make_buffer(s, tensor,
                        (uint64_t)s->values.count[tensor] * layer_element_size(s->of, tensor));
    for (uint32_t i = 0; i < 2; i++)
        if (size[i])
            make_buffer(s, CLATTN_LAYER_STATE + i, size[i]);
    if (s->values.mask_in)
        make_mask(s);
    if (s->of->optional & BIT(KV_LENGTHS))
        s->binding[s->count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_KV_LENGTHS, .host = s->of->lengths};
    if (s->of->optional & BIT(Q_LENGTHS))
        s->binding[s->count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_Q_LENGTHS, .host = s->of->q_lengths};
    if (s->of->dropout > 0)
        s->binding[s->count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_SEED, .host = layer_seed};
}

static clattn_status create(clattn_context *context, const layer_case *of, clattn_layer **layer)
{
    if (of->kind == LAYER_ADDITIVE) {
        clattn_additive_layer_desc desc;
        layer_describe_additive(of, &desc);
        return clattn_layer_create_additive(context, &desc, layer);
    }
    if (of->kind == LAYER_GENERAL) {
        clattn_multiplicative_desc desc;
        layer_describe_general(of, &desc);
        return clattn_layer_create_multiplicative(context, &desc, layer);
    }
    clattn_multi_head_desc desc;
    layer_describe(of, &desc);
    return clattn_layer_create_multi_head(context, &desc, layer);
}

void layer_begin(layer_stage *s, clattn_context *context, const layer_case *of)
{
    *s = (layer_stage){.of = of, .context = context, .slack = 1};
    rig_say("%s", of->name);
    layer_values_make(of, &s->values);
    layer_good(create(context, of, &s->layer));
    layer_good(clattn_dispatcher_create(context, NULL, &s->dispatcher));
    make_buffers(s);
}

static void check_guard(layer_stage *s, uint32_t tensor, uint64_t begin)
{
    unsigned char guard[LAYER_GUARD];
    layer_good(clattn_buffer_read(s->buffer[tensor], begin, guard, sizeof guard));
    for (size_t i = 0; i < sizeof guard; i++)
        cr_assert_eq(guard[i], 0xa5, "%s: tensor %d: written %s", rig_said(), (int)tensor,
                     begin ? "beyond its end" : "before its beginning");
}

/* Of all tensors, STATE and SCRATCH too. */
static void check_guards(layer_stage *s)
{
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (s->guarded[tensor]) {
            check_guard(s, tensor, 0);
            check_guard(s, tensor, s->guarded[tensor] - LAYER_GUARD);
        }
}

void layer_end(layer_stage *s)
{
    layer_good(clattn_dispatcher_finish(s->dispatcher));
    check_guards(s);
    clattn_dispatcher_destroy(s->dispatcher);
    clattn_layer_destroy(s->layer);
    for (uint32_t i = 0; i < LAYER_TENSORS; i++)
        layer_good(clattn_buffer_destroy(s->buffer[i]));
    layer_values_free(&s->values);
}

void layer_forward(layer_stage *s)
{
    layer_good(clattn_layer_forward(s->layer, s->dispatcher, s->binding, s->count, NULL));
    layer_good(clattn_dispatcher_finish(s->dispatcher));
}

void layer_backward(layer_stage *s)
{
    clattn_event *event;
    layer_good(clattn_layer_backward(s->layer, s->dispatcher, s->binding, s->count, &event));
    layer_good(clattn_event_wait(event, UINT64_MAX));
    clattn_event_release(event);
}

static bool is_gradient(const layer_stage *s, uint32_t tensor)
{
    return s->of->gradients >> tensor & 1;
}

static void check_tensor(layer_stage *s, uint32_t tensor)
{
    unsigned char *data;
    const double *expected = s->values.expected[tensor];
    const int64_t count = s->values.count[tensor];
    const size_t size = layer_element_size(s->of, tensor);
    const double slack = is_gradient(s, tensor) ? s->slack : 1;
    double largest = 1;
    layer_good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    for (int64_t i = 0; i < count; i++)
        largest = isinf(expected[i]) ? largest : fmax(largest, fabs(expected[i]));
    const double bound = slack * largest * (3e-5 + (size == 2 ? 4 * oracle_ulp(s->of->type) : 0));
    for (int64_t i = 0; i < count; i++) {
        const double got = layer_widen(s->of, tensor, data + LAYER_GUARD + (size_t)i * size);
        cr_assert(got == expected[i] || fabs(got - expected[i]) <= bound,
                  "%s: tensor %d, element %d is %g, not %g", rig_said(), (int)tensor, (int)i, got,
                  expected[i]);
    }
    layer_good(clattn_buffer_unmap(s->buffer[tensor]));
}

void layer_check(layer_stage *s, bool gradients)
{
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (s->values.expected[tensor] && (gradients || !is_gradient(s, tensor)))
            check_tensor(s, tensor);
}
