/* Where returned weights and scores go. */
#ifndef CLATTN_SCORE_TARGET_H
#define CLATTN_SCORE_TARGET_H

#include "common/item.h"
#include "common/vector.h"

/* A score-shaped tensor at (batch, head, 0, 0). */
typedef struct target {
    __global float *memory; /* NULL: not wanted */
    long step, inner;
} target;

INLINE target target_of(__global const clattn_problem_row *row, const clattn_base *base, int tensor,
                        uint flag, __global float *memory, int batch, int head)
{
    target to;
    /* the mean has no head: (batch, n_q, n_kv) */
    const int mean = tensor == CLATTN_T_WEIGHTS_MEAN;
    to.memory =
        row->flags & flag ? memory + tensor_begin(row, base, tensor, batch, mean ? 0 : head) : 0;
    to.step = row->tensor[tensor].stride[mean ? 1 : 2];
    to.inner = row->tensor[tensor].stride[mean ? 2 : 3];
    return to;
}

#endif
