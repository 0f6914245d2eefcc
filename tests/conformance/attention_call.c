/* The call of attention_call.h: doubles to floats, clattn_run, floats to doubles. */
#include "attention_call.h"

#include <stdlib.h>
#include <string.h>

void attention_call_want(attention_call *call, const test_case *c, results *r, clattn_slot slot,
                         const char *name)
{
    result *found = results_find(c, r, name);
    if (!found)
        return;
    call->result[slot] = found;
    call->expected[slot] = &c->output[found - r->output].array;
}

/* Elements of each slot by the extents of the description. count: (ATTENTION_CALL_SLOTS) */
static void count_elements(const clattn_attention_desc *d, int64_t *count)
{
    const int64_t rows = d->batch * d->n_head * d->n_q;
    const int64_t keys = d->batch * d->n_kv_head * d->n_kv;
    count[CLATTN_SLOT_Q] = rows * d->head_dim;
    count[CLATTN_SLOT_K] = keys * d->head_dim;
    count[CLATTN_SLOT_V] = keys * d->value_dim;
    count[CLATTN_SLOT_OUT] = rows * d->value_dim;
    count[CLATTN_SLOT_LSE] = rows;
    count[CLATTN_SLOT_WEIGHTS] = rows * d->n_kv;
}

/* What the case gives for a slot: an input, or the expected output. */
static const npy_array *array_of(const attention_call *call, int slot)
{
    const npy_array *const input[] = {call->q, call->k, call->v};
    return slot < 3 ? input[slot] : call->expected[slot];
}

/* NULL if all arrays have the type and the size that the extents ask for. */
static const char *check_arrays(const attention_call *call, const int64_t *count)
{
    for (int slot = 0; slot < ATTENTION_CALL_SLOTS; slot++) {
        const npy_array *array = array_of(call, slot);
        if (slot < 3 && !array)
            return "an input is missing";
        if (array && strcmp(array->type, "f2") == 0)
            return "float16 is not supported yet";
        if (array && strcmp(array->type, "f4") != 0)
            return "an array is not of a floating-point type";
        if (array && array->count != count[slot])
            return "an array's shape does not fit the others";
    }
    return NULL;
}

static float *make_floats(const npy_array *array, int64_t count)
{
    float *value = malloc(((size_t)count + 1) * sizeof *value);
    for (int64_t i = 0; value && i < count; i++)
        value[i] = array ? (float)array->value[i] : 0;
    return value;
}

static void keep_result(attention_call *call, int slot, const float *value)
{
    result *r = call->result[slot];
    if (!r || !npy_alloc_like(call->expected[slot], &r->array))
        return;
    for (int64_t i = 0; i < r->array.count; i++)
        r->array.value[i] = (double)value[i];
    r->computed = true;
}

/* value: (ATTENTION_CALL_SLOTS), the memory of each slot, NULL where it takes no part */
static void compute(attention_call *call, clattn_context *context, const test_case *c, results *r,
                    float **value)
{
    clattn_host_binding bindings[ATTENTION_CALL_SLOTS];
    uint32_t bound = 0;
    call->desc.slots = 0;
    for (int slot = 0; slot < ATTENTION_CALL_SLOTS; slot++) {
        if (!value[slot])
            continue;
        bindings[bound++] = (clattn_host_binding){(clattn_slot)slot, 0, value[slot]};
        if (slot > CLATTN_SLOT_OUT)
            call->desc.slots |= CLATTN_SLOT_BIT(slot);
    }
    if (clattn_run(context, &call->desc, bindings, bound) != CLATTN_OK) {
        results_decline(c, r, "%s", clattn_error_message());
        return;
    }
    for (int slot = CLATTN_SLOT_OUT; slot < ATTENTION_CALL_SLOTS; slot++)
        keep_result(call, slot, value[slot]);
}

void attention_call_run(attention_call *call, clattn_context *context, const test_case *c,
                        results *r)
{
    int64_t count[ATTENTION_CALL_SLOTS];
    float *value[ATTENTION_CALL_SLOTS] = {NULL};
    bool good = true;
    count_elements(&call->desc, count);
    const char *why = check_arrays(call, count);
    if (why) {
        results_decline(c, r, "%s", why);
        return;
    }
    for (int slot = 0; slot < ATTENTION_CALL_SLOTS; slot++) {
        if (slot > CLATTN_SLOT_OUT && !call->result[slot])
            continue;
        value[slot] = make_floats(slot < 3 ? array_of(call, slot) : NULL, count[slot]);
        good = good && value[slot];
    }
    if (good)
        compute(call, context, c, r, value);
    else
        results_decline(c, r, "out of memory");
    for (int slot = 0; slot < ATTENTION_CALL_SLOTS; slot++)
        free(value[slot]);
}
