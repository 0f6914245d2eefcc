/* See attention_binding.h. */
#include "tool/attention_binding.h"

static const struct {
    tensor_dim dim;
    size_t field;
} extent_fields[] = {
    {DIM_BATCH, offsetof(clattn_attention_desc, batch)},
    {DIM_N_HEAD, offsetof(clattn_attention_desc, n_head)},
    {DIM_N_KV_HEAD, offsetof(clattn_attention_desc, n_kv_head)},
    {DIM_N_Q, offsetof(clattn_attention_desc, n_q)},
    {DIM_N_KV, offsetof(clattn_attention_desc, n_kv)},
    {DIM_N_PAST, offsetof(clattn_attention_desc, n_past)},
    {DIM_HEAD_DIM, offsetof(clattn_attention_desc, head_dim)},
    {DIM_VALUE_DIM, offsetof(clattn_attention_desc, value_dim)},
    {DIM_N_PARAMS, offsetof(clattn_attention_desc, n_params)},
    {DIM_TOTAL_Q, offsetof(clattn_attention_desc, total_q)},
    {DIM_TOTAL_KV, offsetof(clattn_attention_desc, total_kv)},
};

/* Strides of 0 in every dimension that the array lacks or has one of. */
static void broadcast(const tensor_option *option, const npy_array *array, clattn_tensor *tensor)
{
    int64_t step = 1;
    tensor->strided = 1;
    for (uint32_t i = array->rank; i-- > 0;) {
        tensor->stride[option->rank - array->rank + i] = array->shape[i] == 1 ? 0 : step;
        step *= array->shape[i];
    }
}

void binding_describe(const attention_tensors *tensors, const stored_type *type,
                      clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof extent_fields / sizeof extent_fields[0]; i++)
        memcpy((char *)desc + extent_fields[i].field, &tensors->extent[extent_fields[i].dim],
               sizeof(int64_t));
    desc->ragged = tensors->ragged;
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        if (!tensors_takes_part(tensors, row))
            continue;
        if (!tensor_option_is_required(option))
            desc->slots |= CLATTN_SLOT_BIT(option->slot);
        if (option->type == TYPE_STORED)
            desc->tensor[option->slot].dtype = type->dtype;
        if (option->form == FORM_BROADCAST && option->read)
            broadcast(option, &tensors->array[option->slot], &desc->tensor[option->slot]);
    }
}

/* Rows whose elements change, inputs and outputs alike. */
static void convert(attention_tensors *tensors, const stored_type *type,
                    void (*how)(const stored_type *type, void *data, int64_t count))
{
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const clattn_slot slot = tensor_option_get(row)->slot;
        if (tensor_option_get(row)->type != TYPE_STORED || !tensors_takes_part(tensors, row))
            continue;
        how(type, tensors->array[slot].data, tensors->array[slot].count);
        how(type, tensors->second[slot].data, tensors->second[slot].count);
    }
}

void binding_narrow(attention_tensors *tensors, const stored_type *type)
{
    convert(tensors, type, stored_type_narrow);
}

void binding_widen(attention_tensors *tensors, const stored_type *type)
{
    convert(tensors, type, stored_type_widen);
}

uint32_t binding_make(attention_tensors *tensors, const clattn_attention_desc *desc, uint64_t slots,
                      npy_array *outputs, clattn_host_binding bindings[TENSOR_OPTIONS_MOST])
{
    uint32_t count = 0;
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        const npy_array *array = option->read || tensors->between & CLATTN_SLOT_BIT(option->slot)
                                     ? &tensors->array[option->slot]
                                     : &outputs[option->slot];
        void *const data[] = {[TYPE_STORED] = array->data,
                              [TYPE_FLOAT] = array->data,
                              [TYPE_BOOL] = array->bools,
                              [TYPE_LENGTH] = tensors->lengths[option->slot],
                              [TYPE_INDEX] = array->data};
        if (tensors_takes_part(tensors, row) && slots & CLATTN_SLOT_BIT(option->slot))
            bindings[count++] = (clattn_host_binding){option->slot, 0, data[option->type]};
    }
    if (desc->dropout > 0 || desc->sample)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_SEED, 0, tensors->seed};
    return count;
}
