/* --verify: compares results with a computation in double precision, or, where the caller's own
 * functions take part, which only a device can run, with those of the reference kernel. */
#ifndef CLATTN_TOOL_VERIFY_H
#define CLATTN_TOOL_VERIFY_H

#include "tool/attention_tensors.h"
#include "tool/progress.h"
#include "tool/stored_type.h"

/* One output compared. */
typedef struct verified {
    const tensor_option *option; /* NULL: was not computed */
    double error; /* largest |x - expected|; infinite where one is not finite alone */
    double allowed;
} verified;

/* What is verified: arrays of floats, of which `type` says how the device stored them. */
typedef struct verify_input {
    const clattn_attention_desc *desc;
    const attention_tensors *tensors;
    const stored_type *type;
} verify_input;

/* Compares every output that was computed. results: by row of the table. `line` may be NULL. false:
 * out of memory. */
bool verify_attention(const verify_input *input, progress *line,
                      verified results[TENSOR_OPTIONS_MOST]);

/* The same of gradients: verify_gradient.c. */
bool verify_gradients(const verify_input *input, progress *line,
                      verified results[TENSOR_OPTIONS_MOST]);

/* Compares with tensors->second. */
void verify_against_second(const verify_input *input, verified results[TENSOR_OPTIONS_MOST]);

#endif
