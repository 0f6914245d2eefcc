/* One call of clattn_run on arrays of a case: the kinds say which array is which slot, in which
 * layout; shapes, types, memory and the call itself are done here. */
#ifndef ATTENTION_CALL_H
#define ATTENTION_CALL_H

#include "kinds.h"
#include "layout.h"

/* A slot that takes part. */
typedef struct call_slot {
    const npy_array *array; /* the input, or the output as expected; borrowed */
    result *result;         /* of an output that is wanted, else NULL */
    layout layout;
    const char *name;   /* of the array in the case */
    const char *memory; /* the .npy type of the elements in `data` */
    unsigned char *data;
    bool owned;    /* `data` is not the array's own */
    bool is_given; /* `data` is that of another call */
    bool takes_part;
} call_slot;

typedef struct attention_call {
    clattn_context *context;
    const test_case *c;
    results *r;
    clattn_attention_desc
        desc; /* the caller sets extents and options; tensors and `slots` follow */
    call_slot slot[CLATTN_SLOT_LIMIT];
    bool gradient; /* clattn_run_gradient, in which OUT and LSE are inputs */
} attention_call;

void attention_call_init(attention_call *call, clattn_context *context, const test_case *c,
                         results *r);

/* The named input of the case is this slot; nothing happens if the case doesn't have it. */
void attention_call_give(attention_call *call, clattn_slot slot, const char *name, layout how);

/* An array that isn't in the case; borrowed until the call has run. */
void attention_call_give_array(attention_call *call, clattn_slot slot, const char *name,
                               const npy_array *array, layout how);

/* The named output of the case is this slot; nothing happens if it isn't wanted. */
void attention_call_want(attention_call *call, clattn_slot slot, const char *name, layout how);

/* Checks the arrays against the extents and computes; outputs that fail get the reason. OUT is
 * computed in any case. */
void attention_call_run(attention_call *call);

/* The same, but the memory stays, for the gradients; with LSE in any case. */
bool attention_call_run_forward(attention_call *call);
/* A call for the gradients of one that has run: its inputs, OUT and LSE; the rest is to be given
 * and wanted. */
void attention_call_init_gradient(attention_call *call, const attention_call *forward);
void attention_call_finish(attention_call *call);

#endif
