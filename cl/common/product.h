/* A linear operation as a product of matrices, whichever of its tensors they are:
 *   result[b, i, j] = sum over pieces p and depth k of left[b, p, i, k] right[b, p, j, k]
 * Panels are the right matrix in parts of CLATTN_PANEL columns, (pieces, depth, CLATTN_PANEL), with
 * 0 beyond the last column. */
#ifndef CLATTN_PRODUCT_H
#define CLATTN_PRODUCT_H

#include "common/item.h"
#include "common/types.h"

/* Elements of a panel. */
static inline long panel_size(__global const clattn_problem_row *row)
{
    return (long)row->pieces * row->depth * CLATTN_PANEL;
}

/* Element (batch, i, j) of the result. */
static inline long result_at(__global const clattn_problem_row *row, const clattn_base *base,
                             int batch, int i, int j)
{
    return tensor_begin(row, base, CLATTN_T_RESULT, batch, i) +
           j * row->tensor[CLATTN_T_RESULT].stride[2];
}

/* Element `index` of B. */
static inline long addend_begin(__global const clattn_problem_row *row, const clattn_base *base,
                                int index)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_B];
    return base->offset[CLATTN_T_B] + t->offset + index * t->stride[0];
}

/* What B adds to a row or to a column, whichever it is. */
static inline float addend_at(__global const clattn_problem_row *row, const clattn_base *base,
                              __global const void *addend, int index)
{
    return load_element(addend, addend_begin(row, base, index), row->dtype[CLATTN_T_B]);
}

/* Writes element (batch, i, j) of the result: the sum with B added, to what is there, if asked to.
 */
static inline void write_sum(__global const clattn_problem_row *row, const clattn_base *base,
                             __global const void *addend, __global void *result, int batch, int i,
                             int j, float sum)
{
    const long at = result_at(row, base, batch, i, j);
    const uint dtype = row->dtype[CLATTN_T_RESULT];
    if (row->product & (CLATTN_P_OF_COLUMNS | CLATTN_P_OF_ROWS))
        sum += addend_at(row, base, addend, row->product & CLATTN_P_OF_ROWS ? i : j);
    if (row->product & CLATTN_P_ADD)
        sum += load_element(result, at, dtype);
    store_element(sum, result, at, dtype);
}

#endif
