/* Memory of the gradients of additive attention in the simd family. A block of BLOCK_M queries has
 *    parameters (2, channels), strips of its queries, (BLOCK_M, 2, channels) rows of a and e^2x,
 *    (BLOCK_M, width) GRAD_OUT
 * and an item, with a block of BLOCK_N keys at a time,
 *    strips of its keys, (BLOCK_N, 2, channels) rows of b and e^2b, panels of values
 *    (value_dim, PANEL), and what it sums up: (BLOCK_N, channels) for keys, (BLOCK_N, width) for
 *    values. */
#ifndef CLATTN_ADDITIVE_GRADIENT_H
#define CLATTN_ADDITIVE_GRADIENT_H

#include "common/additive.h"

typedef struct query_block {
    int channels, width;
    long strip_step;
    __global float *parameters, *strips, *rows, *grads;
} query_block;

INLINE query_block query_block_at(__global const clattn_problem_row *row, const clattn_base *base,
                                  __global float *blocks, int batch, int head, int i)
{
    query_block x;
    x.channels = padded(row->head_dim);
    x.width = (row->value_dim + VEC - 1) / VEC * VEC;
    x.strip_step = strip_size(x.channels, ROWS);
    x.parameters = blocks + tensor_begin(row, base, CLATTN_T_ADDITIVE_ROWS, batch, head) +
                   i / BLOCK_M * row->tensor[CLATTN_T_ADDITIVE_ROWS].stride[2];
    x.strips = x.parameters + 2 * x.channels;
    x.rows = x.strips + BLOCK_M / ROWS * x.strip_step;
    x.grads = x.rows + (long)BLOCK_M * 2 * x.channels;
    return x;
}

#endif
