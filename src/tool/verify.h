/* --verify: compares results with a computation in double precision. */
#ifndef CLATTN_TOOL_VERIFY_H
#define CLATTN_TOOL_VERIFY_H

#include <clattn/clattn.h>

#include "tool/attention_tensors.h"
#include "tool/progress.h"

enum { VERIFIED_SLOTS = 3 };

/* One output compared. */
typedef struct verified {
    const tensor_option *option; /* NULL: was not computed */
    double error; /* largest |x - expected|; infinite where one is not finite alone */
    double allowed;
} verified;

/* Compares every output that was computed. `line` may be NULL. false: out of memory. */
bool verify_attention(const clattn_attention_desc *desc, const attention_tensors *tensors,
                      progress *line, verified results[VERIFIED_SLOTS]);

#endif
