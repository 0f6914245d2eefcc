/* Register tiles of weights times rows of values, and where an item's own scratch memory is. */
#ifndef CLATTN_VALUE_TILE_H
#define CLATTN_VALUE_TILE_H

#include "common/simd_block.h"

/* VALUE_COLS: vectors of value dimensions of a register tile of P V. */
#ifndef VALUE_COLS
#define VALUE_COLS 2
#endif

/* o (ROWS, cols * VEC) += p (ROWS, keys) v (keys, cols * VEC); cols <= VALUE_COLS is a constant. */
INLINE void value_tile(const float *p, int keys, __global const float *v, long v_step, float *o,
                       const int cols)
{
    vfloat sum[ROWS][VALUE_COLS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < keys; j++) {
        vfloat x[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < cols; c++)
            x[c] = load_vector(v + j * v_step + c * VEC);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat w = p[r * SCORE_STEP + j];
#pragma unroll
            for (int c = 0; c < cols; c++)
                sum[r][c] = fma(w, x[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[r][c], o + r * DIM_MAX + c * VEC);
}

/* Where the own part of a scratch tensor begins of the item with this number. */
INLINE long own_begin(__global const clattn_problem_row *row, const clattn_base *base, int tensor,
                      int number)
{
    return base->offset[tensor] + row->tensor[tensor].offset +
           (long)number * row->tensor[tensor].stride[4];
}

#endif
