/* Arrays of a case by name: the tables with which a kind says which input or output is which slot.
 */
#ifndef CALL_NAMES_H
#define CALL_NAMES_H

#include "attention_call.h"

/* Tables end with a name of NULL. */
typedef struct slot_name {
    const char *name;
    clattn_slot slot;
    layout layout;
} slot_name;

/* Gives and wants those that the case has. */
void give_inputs(attention_call *call, const slot_name *names);
void want_outputs(attention_call *call, const slot_name *names);

/* Runs the call and, where the case has `grad_out` and gradients are wanted, that for gradients;
 * `names` has grad_out and the gradients. */
void run_with_gradients(attention_call *call, const slot_name *grad_out, const slot_name *names);

/* The input of a slot, if it takes part and has the rank; else NULL. */
const npy_array *input_of_rank(const attention_call *call, clattn_slot slot, uint32_t rank);

/* false, and the outputs are declined, if the case has an attribute that is not in the list, or an
 * input that is no slot of the call: they could change the result. The list ends with NULL. */
bool knows_all(const attention_call *call, const char *const *attributes);

#endif
