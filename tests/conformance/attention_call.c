/* The call of attention_call.h. Inputs are passed as the file has them; outputs are filled with NaN
 * beforehand and have guard bytes behind them. */
#include "attention_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_BYTES 64
#define GUARD       0xa5
#define NAN_BYTE    0xff /* every float of such bytes is a NaN */

void attention_call_init(attention_call *call, clattn_context *context, const test_case *c,
                         results *r)
{
    memset(call, 0, sizeof *call);
    call->context = context;
    call->c = c;
    call->r = r;
    clattn_attention_desc_init(&call->desc);
}

void attention_call_give_array(attention_call *call, clattn_slot slot, const char *name,
                               const npy_array *array, layout how)
{
    call->slot[slot] = (call_slot){.array = array, .layout = how, .name = name, .takes_part = true};
}

void attention_call_give(attention_call *call, clattn_slot slot, const char *name, layout how)
{
    const npy_array *array = case_input(call->c, name);
    if (array)
        attention_call_give_array(call, slot, name, array, how);
}

void attention_call_want(attention_call *call, clattn_slot slot, const char *name, layout how)
{
    result *found = results_find(call->c, call->r, name);
    if (!found)
        return;
    const npy_array *expected = &call->c->output[found - call->r->output].array;
    attention_call_give_array(call, slot, name, expected, how);
    call->slot[slot].result = found;
}

static bool is_output(const attention_call *call, clattn_slot slot)
{
    static const clattn_slot outputs[] = {
        CLATTN_SLOT_OUT,       CLATTN_SLOT_LSE,    CLATTN_SLOT_WEIGHTS, CLATTN_SLOT_PRESENT_K,
        CLATTN_SLOT_PRESENT_V, CLATTN_SLOT_SCORES, CLATTN_SLOT_INDICES};
    if (call->gradient)
        return slot >= CLATTN_SLOT_GRAD_Q;
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
        if (outputs[i] == slot)
            return true;
    return false;
}

static int64_t count_of(const slot_shape *shape)
{
    int64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++)
        count *= shape->extent[i];
    return count;
}

/* The .npy type of a slot's elements. An OUT that the case doesn't have is as Q; scores and weights
 * are F32 where the case has float16, whose tolerance then holds. */
static const char *element_type(const attention_call *call, clattn_slot index)
{
    const call_slot *slot = &call->slot[index];
    const char *memory,
        *type = slot->array ? slot->array->type : call->slot[CLATTN_SLOT_Q].array->type;
    clattn_dtype dtype;
    const bool widen = slot->result && strcmp(type, "f2") == 0;
    return widen && !slot_type_of(index, type, &dtype, &memory) ? "f4" : type;
}

static bool describe_slot(attention_call *call, clattn_slot index)
{
    call_slot *slot = &call->slot[index];
    clattn_tensor *tensor = &call->desc.tensor[index];
    char why[256] = "";
    slot_shape shape;
    const char *type = element_type(call, index);
    if (!slot_type_of(index, type, &tensor->dtype, &slot->memory))
        snprintf(why, sizeof why, "its elements are of type %s", type);
    else if (!slot_shape_of(&call->desc, index, &shape))
        snprintf(why, sizeof why, "its slot has no shape here");
    else if (!slot->array || layout_fit(slot->layout, slot->array, &shape, tensor, why, sizeof why))
        return true;
    results_decline(call->c, call->r, "%s: %s", slot->name, why);
    return false;
}

static unsigned char *integers_of(const npy_array *array)
{
    int32_t *data = malloc(((size_t)array->count + 1) * sizeof *data);
    for (int64_t i = 0; data && i < array->count; i++) {
        if (array->value[i] < INT32_MIN || array->value[i] > INT32_MAX) {
            free(data);
            return NULL;
        }
        data[i] = (int32_t)array->value[i];
    }
    return (unsigned char *)data;
}

static size_t output_size(const attention_call *call, clattn_slot index)
{
    slot_shape shape;
    if (!slot_shape_of(&call->desc, index, &shape))
        return 0;
    const npy_array *expected = call->slot[index].array; /* of GRAD_BIAS smaller than the slot */
    return (size_t)(expected ? expected->count : count_of(&shape)) *
           npy_type_size(call->slot[index].memory);
}

static unsigned char *output_memory(size_t size)
{
    unsigned char *data = malloc(size + GUARD_BYTES);
    if (data) {
        memset(data, NAN_BYTE, size);
        memset(data + size, GUARD, GUARD_BYTES);
    }
    return data;
}

static bool guard_is_whole(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (data[size + i] != GUARD)
            return false;
    return true;
}

static bool make_memory(attention_call *call, clattn_slot index)
{
    call_slot *slot = &call->slot[index];
    if (slot->is_given)
        return true;
    slot->owned = true;
    if (is_output(call, index)) {
        slot->data = output_memory(output_size(call, index));
    } else if (strcmp(slot->array->type, slot->memory) != 0) {
        slot->data = integers_of(slot->array);
    } else {
        slot->owned = false;
        slot->data = slot->array->bytes;
    }
    if (!slot->data)
        results_decline(call->c, call->r, "%s: no memory, or values beyond 32 bits", slot->name);
    return slot->data != NULL;
}

/* Every slot that takes part, described and with memory. */
static bool prepare(attention_call *call)
{
    call_slot *out = &call->slot[CLATTN_SLOT_OUT];
    if (!out->takes_part)
        *out = (call_slot){.name = "out", .takes_part = true};
    for (int i = CLATTN_SLOT_Q; i <= CLATTN_SLOT_V; i++) {
        if (call->slot[i].takes_part)
            continue;
        results_decline(call->c, call->r, "queries, keys or values are missing");
        return false;
    }
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].takes_part &&
            (!describe_slot(call, (clattn_slot)i) || !make_memory(call, (clattn_slot)i)))
            return false;
    return true;
}

static void keep_result(attention_call *call, clattn_slot index)
{
    call_slot *slot = &call->slot[index];
    if (!guard_is_whole(slot->data, output_size(call, index)))
        results_decline(call->c, call->r, "%s: was written beyond its end", slot->name);
    else if (slot->result)
        slot->result->computed =
            npy_from_bytes(slot->array, slot->memory, slot->data, &slot->result->array);
}

static bool compute(attention_call *call)
{
    clattn_host_binding bindings[CLATTN_SLOT_LIMIT];
    uint32_t bound = 0;
    call->desc.slots = 0;
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++) {
        if (!call->slot[i].takes_part)
            continue;
        bindings[bound++] = (clattn_host_binding){(clattn_slot)i, 0, call->slot[i].data};
        if (i > CLATTN_SLOT_OUT && i != CLATTN_SLOT_GRAD_OUT)
            call->desc.slots |= CLATTN_SLOT_BIT(i);
    }
    const clattn_status status =
        call->gradient ? clattn_run_gradient(call->context, &call->desc, bindings, bound)
                       : clattn_run(call->context, &call->desc, bindings, bound);
    if (status == CLATTN_ERR_UNSUPPORTED)
        results_decline_by_library(call->c, call->r);
    if (status != CLATTN_OK) {
        results_decline(call->c, call->r, "%s", clattn_error_message());
        return false;
    }
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].takes_part && is_output(call, (clattn_slot)i))
            keep_result(call, (clattn_slot)i);
    return true;
}

bool attention_call_run_forward(attention_call *call)
{
    call_slot *lse = &call->slot[CLATTN_SLOT_LSE];
    if (!lse->takes_part)
        *lse = (call_slot){.name = "lse", .takes_part = true};
    return prepare(call) && compute(call);
}

void attention_call_init_gradient(attention_call *call, const attention_call *forward)
{
    *call = *forward;
    call->gradient = true;
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++) {
        call_slot *slot = &call->slot[i];
        const bool is_read = i == CLATTN_SLOT_OUT || i == CLATTN_SLOT_LSE;
        if (is_output(forward, (clattn_slot)i) && !is_read)
            *slot = (call_slot){.takes_part = false};
        slot->result = NULL;
        slot->owned = false;
        slot->is_given = slot->takes_part;
    }
}

void attention_call_run(attention_call *call)
{
    if (prepare(call))
        compute(call);
    attention_call_finish(call);
}

void attention_call_finish(attention_call *call)
{
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].owned)
            free(call->slot[i].data);
}
