/* Arrays as the library takes them: the layouts of a description, and bindings. */
#ifndef CLATTN_TOOL_ATTENTION_BINDING_H
#define CLATTN_TOOL_ATTENTION_BINDING_H

#include "tool/attention_tensors.h"
#include "tool/stored_type.h"

/* Fills extents, optional slots and layouts. */
void binding_describe(const attention_tensors *tensors, const stored_type *type,
                      clattn_attention_desc *desc);

/* Arrays of TYPE_STORED rows change between floats and what the device stores. */
void binding_narrow(attention_tensors *tensors, const stored_type *type);
void binding_widen(attention_tensors *tensors, const stored_type *type);

/* Of `slots`, inputs and what is computed between, and outputs from `outputs` (tensors->array or
 * ->second); their number. */
uint32_t binding_make(attention_tensors *tensors, const clattn_attention_desc *desc, uint64_t slots,
                      npy_array *outputs, clattn_host_binding bindings[TENSOR_OPTIONS_MOST]);

#endif
