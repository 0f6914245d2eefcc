/* See layer_call.h. Outputs are filled with NaN beforehand. */
#include "layer_call.h"

#include <stdlib.h>
#include <string.h>

#define NAN_BYTE 0xff /* every float of such bytes is a NaN */

static bool is_known(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static const layer_name *find(const layer_name *names, const char *name)
{
    for (; names->name; names++)
        if (strcmp(names->name, name) == 0)
            return names;
    return NULL;
}

static bool take_inputs(layer_call *call, const layer_name *names)
{
    for (int i = 0; i < call->c->input_count; i++) {
        const layer_name *known = find(names, call->c->input[i].name);
        if (!known) {
            results_decline(call->c, call->r, "input %s is not known", call->c->input[i].name);
            return false;
        }
        call->array[known->tensor] = &call->c->input[i].array;
        call->given |= CLATTN_LAYER_BIT(known->tensor);
    }
    return true;
}

static void take_outputs(layer_call *call, const layer_name *names)
{
    for (; names->name; names++) {
        result *found = results_find(call->c, call->r, names->name);
        if (!found)
            continue;
        call->array[names->tensor] = &call->c->output[found - call->r->output].array;
        call->result[names->tensor] = found;
        call->wanted |= CLATTN_LAYER_BIT(names->tensor);
    }
}

bool layer_call_init(layer_call *call, clattn_context *context, const test_case *c, results *r,
                     const layer_name *names, const char *const *attributes)
{
    *call = (layer_call){.context = context, .c = c, .r = r};
    const cJSON *attribute;
    cJSON_ArrayForEach(attribute, c->attributes)
    {
        if (!is_known(attribute->string, attributes)) {
            results_decline(c, r, "attribute %s is not known", attribute->string);
            return false;
        }
    }
    take_outputs(call, names);
    if (!take_inputs(call, names))
        return false;
    if (!layer_call_gradients(call)) /* then it has no part */
        call->array[CLATTN_LAYER_GRAD_OUT] = NULL;
    return true;
}

const npy_array *layer_call_input(const layer_call *call, clattn_layer_tensor tensor, uint32_t rank)
{
    const npy_array *array = call->array[tensor];
    return array && !call->result[tensor] && array->rank == rank ? array : NULL;
}

uint64_t layer_call_gradients(const layer_call *call)
{
    const uint64_t range =
        CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_BO + 1) - CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_X);
    return call->wanted & (range | CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_W_SCORE));
}

static bool good(layer_call *call, clattn_status status)
{
    if (status == CLATTN_ERR_UNSUPPORTED)
        results_decline_by_library(call->c, call->r);
    else if (status != CLATTN_OK)
        results_decline(call->c, call->r, "%s", clattn_error_message());
    return status == CLATTN_OK;
}

static bool make_buffer(layer_call *call, uint32_t tensor, uint64_t size, const void *bytes)
{
    void *data;
    if (!good(call, clattn_buffer_create(call->context, size ? size : 1, &call->buffer[tensor])) ||
        !good(call, clattn_buffer_map(call->buffer[tensor], &data)))
        return false;
    if (bytes)
        memcpy(data, bytes, (size_t)size);
    else
        memset(data, NAN_BYTE, (size_t)size);
    return good(call, clattn_buffer_unmap(call->buffer[tensor]));
}

static bool make_lengths(layer_call *call)
{
    const npy_array *array = call->array[CLATTN_LAYER_KV_LENGTHS];
    call->lengths = malloc(((size_t)array->count + 1) * sizeof *call->lengths);
    for (int64_t i = 0; call->lengths && i < array->count; i++)
        call->lengths[i] = (int32_t)array->value[i];
    return call->lengths != NULL;
}

/* Memory for one tensor of the case; OUT has some in any case. */
static bool make_tensor(layer_call *call, uint32_t tensor)
{
    const npy_array *array = call->array[tensor];
    if (!array && tensor == CLATTN_LAYER_OUT)
        array = call->array[CLATTN_LAYER_GRAD_OUT];
    if (!array)
        return true;
    if (tensor == CLATTN_LAYER_KV_LENGTHS)
        return make_lengths(call);
    if (strcmp(array->type, "f4") != 0) {
        results_decline(call->c, call->r, "an array's elements are of type %s", array->type);
        return false;
    }
    const bool is_read = call->given & CLATTN_LAYER_BIT(tensor);
    return make_buffer(call, tensor, 4 * (uint64_t)array->count, is_read ? array->bytes : NULL);
}

static bool make_memory(layer_call *call)
{
    uint64_t state, scratch;
    if (!good(call, clattn_layer_sizes(call->layer, &state, &scratch)) ||
        (state && !make_buffer(call, CLATTN_LAYER_STATE, state, NULL)) ||
        (scratch && !make_buffer(call, CLATTN_LAYER_SCRATCH, scratch, NULL)))
        return false;
    for (uint32_t tensor = 0; tensor < LAYER_MOST_TENSORS; tensor++)
        if (!make_tensor(call, tensor))
            return false;
    return true;
}

static uint32_t bind(const layer_call *call, clattn_layer_binding *bindings)
{
    uint32_t count = 0;
    for (uint32_t tensor = 0; tensor < LAYER_MOST_TENSORS; tensor++)
        if (call->buffer[tensor])
            bindings[count++] = (clattn_layer_binding){.tensor = (clattn_layer_tensor)tensor,
                                                       .buffer = call->buffer[tensor]};
    if (call->lengths)
        bindings[count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_KV_LENGTHS, .host = call->lengths};
    return count;
}

static bool run_passes(layer_call *call, clattn_dispatcher *dispatcher)
{
    clattn_layer_binding bindings[LAYER_MOST_TENSORS];
    const uint32_t count = bind(call, bindings);
    if (!good(call, clattn_layer_forward(call->layer, dispatcher, bindings, count, NULL)))
        return false;
    if (layer_call_gradients(call) &&
        !good(call, clattn_layer_backward(call->layer, dispatcher, bindings, count, NULL)))
        return false;
    return good(call, clattn_dispatcher_finish(dispatcher));
}

static void keep_results(layer_call *call)
{
    for (uint32_t tensor = 0; tensor < LAYER_MOST_TENSORS; tensor++) {
        void *data;
        if (!call->result[tensor] || !good(call, clattn_buffer_map(call->buffer[tensor], &data)))
            continue;
        call->result[tensor]->computed =
            npy_from_bytes(call->array[tensor], "f4", data, &call->result[tensor]->array);
        clattn_buffer_unmap(call->buffer[tensor]);
    }
}

static void compute(layer_call *call)
{
    clattn_dispatcher *dispatcher;
    if (!make_memory(call) ||
        !good(call, clattn_dispatcher_create(call->context, NULL, &dispatcher)))
        return;
    if (run_passes(call, dispatcher))
        keep_results(call);
    clattn_dispatcher_destroy(dispatcher);
}

void layer_call_run(layer_call *call, clattn_status status)
{
    if (good(call, status))
        compute(call);
    results_decline(call->c, call->r, "no tensor is for this output");
    clattn_layer_destroy(call->layer);
    for (uint32_t tensor = 0; tensor < LAYER_MOST_TENSORS; tensor++)
        clattn_buffer_destroy(call->buffer[tensor]);
    free(call->lengths);
}
