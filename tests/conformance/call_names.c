/* The tables of call_names.h at work. */
#include "call_names.h"

#include <string.h>

void give_inputs(attention_call *call, const slot_name *names)
{
    for (; names->name; names++)
        attention_call_give(call, names->slot, names->name, names->layout);
}

void want_outputs(attention_call *call, const slot_name *names)
{
    for (; names->name; names++)
        attention_call_want(call, names->slot, names->name, names->layout);
}

static bool wants_any(const attention_call *call, const slot_name *names)
{
    for (; names->name; names++)
        if (results_find(call->c, call->r, names->name))
            return true;
    return false;
}

void run_with_gradients(attention_call *call, const slot_name *grad_out, const slot_name *names)
{
    attention_call gradient;
    if (!case_input(call->c, grad_out->name) || !wants_any(call, names)) {
        attention_call_run(call);
        return;
    }
    if (attention_call_run_forward(call)) {
        attention_call_init_gradient(&gradient, call);
        give_inputs(&gradient, grad_out);
        want_outputs(&gradient, names);
        attention_call_run(&gradient);
    }
    attention_call_finish(call);
}

const npy_array *input_of_rank(const attention_call *call, clattn_slot slot, uint32_t rank)
{
    const npy_array *array = call->slot[slot].array;
    return array && array->rank == rank ? array : NULL;
}

static bool is_listed(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static bool is_input(const attention_call *call, const char *name)
{
    if (strcmp(name, "grad_out") == 0) /* of the gradients alone */
        return true;
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].takes_part && strcmp(call->slot[i].name, name) == 0)
            return true;
    return false;
}

bool knows_all(const attention_call *call, const char *const *attributes)
{
    const cJSON *attribute;
    cJSON_ArrayForEach(attribute, call->c->attributes)
    {
        if (is_listed(attribute->string, attributes))
            continue;
        results_decline(call->c, call->r, "the attribute %s is not known", attribute->string);
        return false;
    }
    for (int i = 0; i < call->c->input_count; i++) {
        if (is_input(call, call->c->input[i].name))
            continue;
        results_decline(call->c, call->r, "the input %s is not known", call->c->input[i].name);
        return false;
    }
    return true;
}
