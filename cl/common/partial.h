/* Partial results over a split of the keys, and making them final. The splits are CLATTN_SPLIT keys
 * wide from key 0 on, whatever computes them, so that the order of every sum is fixed. */
#ifndef CLATTN_PARTIAL_H
#define CLATTN_PARTIAL_H

#include "common/score.h"

/* Where vector d / VEC of a row of `dim` elements, at least VEC of them, begins: the last one
 * overlaps the one before, so that no vector reaches beyond the row. */
INLINE int vector_begin(int d, int dim)
{
    return min(d, dim - VEC);
}

/* Elements of a row of partial results: its vectors, each complete, then maximum and sum. */
INLINE int partial_width(int value_dim)
{
    return (value_dim + VEC - 1) / VEC * VEC;
}

/* Row (batch, head, i, part) of CLATTN_T_PARTS. */
INLINE __global float *partial_row(__global float *parts, __global const clattn_problem_row *row,
                                   const clattn_base *base, int batch, int head, int i, int part)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_PARTS];
    return parts + tensor_begin(row, base, CLATTN_T_PARTS, batch, head) + i * t->stride[2] +
           part * t->stride[3];
}

/* Writes OUT and LSE of query i: o (width), weighted with exp(score - m), their sum l; the sink is
 * not in them yet. */
INLINE void write_final(const pairs *of, const clattn_base *base, int i, const float *o, float m,
                        float l, float sink, __global void *out, __global float *lse)
{
    __global const clattn_problem_row *row = of->row;
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_OUT];
    const int token = of->queries.first + i, dim = row->value_dim;
    if (of->flags & CLATTN_F_RAGGED && i >= of->queries.count)
        return;
    const softmax_end end = softmax_finish(m, l, sink);
    const long begin =
        tensor_begin(row, base, CLATTN_T_OUT, of->batch, of->head) + token * t->stride[2];
    for (int d = 0; d < dim; d += VEC) {
        const int at = vector_begin(d, dim);
        const vfloat x = load_vector(o + d) * end.factor;
        if (t->stride[3] == 1) {
            store_elements(x, out, begin + at, row->dtype[CLATTN_T_OUT]);
            continue;
        }
        float lane[VEC];
        store_vector(x, lane);
        for (int c = 0; c < VEC; c++)
            store_element(lane[c], out, begin + (at + c) * t->stride[3], row->dtype[CLATTN_T_OUT]);
    }
    if (of->flags & CLATTN_F_LSE)
        lse[tensor_begin(row, base, CLATTN_T_LSE, of->batch, of->head) +
            token * row->tensor[CLATTN_T_LSE].stride[2]] = softmax_lse(end.m, end.l);
}

#endif
