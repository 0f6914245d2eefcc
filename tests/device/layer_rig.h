/* A layer of a case on the device: memory for all its tensors, both passes, and the comparison with
 * what is expected. Everything that goes wrong fails the test. */
#ifndef TESTS_DEVICE_LAYER_RIG_H
#define TESTS_DEVICE_LAYER_RIG_H

#include <stddef.h>

#include "layer_oracle.h"

/* Bytes before each tensor in its buffer, and behind it, that nobody may write. */
#define LAYER_GUARD 64

/* A layer with memory for its tensors. */
typedef struct layer_stage {
    const layer_case *of;
    layer_values values; /* what goes in, and what is expected */
    clattn_layer *layer;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffer[LAYER_TENSORS];
    uint64_t guarded[LAYER_TENSORS]; /* bytes of the buffer with its guards; 0: it has none */
    clattn_layer_binding binding[LAYER_TENSORS];
    uint32_t count;
    clattn_context *context;
    double slack; /* times the usual bound of errors of gradients, 1 */
} layer_stage;

void layer_good(clattn_status status);

/* rig_say has the case's name. What is written holds NaN, and has guard bytes around it. */
void layer_begin(layer_stage *s, clattn_context *context, const layer_case *of);
/* Waits for what is in flight and looks at the guard bytes. */
void layer_end(layer_stage *s);

void layer_forward(layer_stage *s);
void layer_backward(layer_stage *s);

/* Compares results, with those of the backward pass or without. */
void layer_check(layer_stage *s, bool gradients);

/* Bytes of an element, and what one is. */
size_t layer_element_size(const layer_case *of, uint32_t tensor);
double layer_widen(const layer_case *of, uint32_t tensor, const void *from);

#endif
