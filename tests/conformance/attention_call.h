/* One call of clattn_run on arrays of a case. */
#ifndef ATTENTION_CALL_H
#define ATTENTION_CALL_H

#include "kinds.h"

#define ATTENTION_CALL_SLOTS 6

/* A slot of the call: an input of the case, or the result to fill; NULL: takes no part. OUT is
 * computed in any case. */
typedef struct attention_call {
    clattn_attention_desc desc; /* the caller sets extents, options and strides, but not `slots` */
    const npy_array *q, *k, *v;
    const npy_array *expected[ATTENTION_CALL_SLOTS]; /* by slot: gives the shape of the result */
    result *result[ATTENTION_CALL_SLOTS];            /* by slot */
} attention_call;

/* Asks for an output of the case as slot `slot`; nothing happens if it isn't wanted. */
void attention_call_want(attention_call *call, const test_case *c, results *r, clattn_slot slot,
                         const char *name);

/* Checks the arrays against the extents and computes; outputs that fail get the reason. */
void attention_call_run(attention_call *call, clattn_context *context, const test_case *c,
                        results *r);

#endif
