/* One forward and backward pass of a layer on arrays of a case: the kinds say which array is which
 * tensor and make the layer; memory, the calls and the results are done here. */
#ifndef LAYER_CALL_H
#define LAYER_CALL_H

#include <clattn/layer.h>

#include "kinds.h"

#define LAYER_MOST_TENSORS 34 /* of clattn_layer_tensor */

/* Tables end with a name of NULL. */
typedef struct layer_name {
    const char *name;
    clattn_layer_tensor tensor;
} layer_name;

typedef struct layer_call {
    clattn_context *context;
    const test_case *c;
    results *r;
    clattn_layer *layer;                        /* the kind makes it, the call destroys it */
    uint64_t given;                             /* CLATTN_LAYER_BIT of inputs that the case has */
    uint64_t wanted;                            /* of its outputs that are wanted */
    const npy_array *array[LAYER_MOST_TENSORS]; /* input, or output as expected; borrowed */
    result *result[LAYER_MOST_TENSORS];
    clattn_buffer *buffer[LAYER_MOST_TENSORS]; /* owned */
    int32_t *lengths;                          /* owned */
} layer_call;

/* Finds the arrays of a case. false, and the outputs are declined, where it has an input or an
 * attribute that isn't in the tables; these could change the result. */
bool layer_call_init(layer_call *call, clattn_context *context, const test_case *c, results *r,
                     const layer_name *names, const char *const *attributes);

/* An input of this rank, NULL where there is none. */
const npy_array *layer_call_input(const layer_call *call, clattn_layer_tensor tensor,
                                  uint32_t rank);

/* Of the wanted outputs, the gradients. */
uint64_t layer_call_gradients(const layer_call *call);

/* Runs the layer, if `status`, of making it, is CLATTN_OK, and ends the call. */
void layer_call_run(layer_call *call, clattn_status status);

#endif
